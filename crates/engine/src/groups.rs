//! Scopes that ask for groups: `[memberOf] EQUALS "Sales team"`. The groups are objects of another type whose reference
//! attribute names the sync's objects, so they are read before anybody is evaluated, and who came or went is compared
//! with who was there.

use std::collections::HashMap;
use std::sync::Arc;

use muster_expression::{Comparison, Operator};
use muster_model::pack::unpack_row;
use muster_model::{Inverse, Key, ObjectType, Schema, Slot};
use muster_store::{LinkView, ObjectId, Round, ScopeGroup};

use crate::compile::{Compiler, did_you_mean};
use crate::cycle::Engine;
use crate::error::EngineError;
use crate::prepare::{Prepared, SourceSide};
use crate::report::Report;
use crate::rules::SyncRules;

/// In front of the inverse's name, in its own spelling: members of member groups count too.
const TRANSITIVE: &str = "transitive";

/// Objects looked through together.
const PAGE: u32 = 2_000;

/// The groups that a scope names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeGroups {
    /// The groups' object type.
    pub object_type: String,
    /// Their reference attribute.
    pub members: String,
    /// The attribute that they are called by.
    pub called_by: String,
    /// As the scope says them, each with whether members of member groups count.
    pub named: Vec<(String, bool)>,
}

impl ScopeGroups {
    /// The position of the group that a comparison asks for, and whether the object must not be in it.
    pub(crate) fn position(&self, comparison: &Comparison) -> Option<(usize, bool)> {
        let (named, negated) = match &comparison.operator {
            Operator::Equals(named) => (named, false),
            Operator::NotEquals(named) => (named, true),
            _ => return None,
        };
        let transitive = comparison.attribute.starts_with(TRANSITIVE);
        let is_it = |(known, through): &(String, bool)| known == named && *through == transitive;
        Some((self.named.iter().position(is_it)?, negated))
    }
}

/// What a scope asks for under a name that is no attribute: who refers to the object.
pub(crate) struct Asked<'a> {
    object_type: &'a ObjectType,
    members: &'a str,
    inverse: &'a Inverse,
    transitive: bool,
}

/// Finds what a name stands for that an object type shows of those who refer to it.
pub(crate) fn asked<'a>(schema: &'a Schema, object_type: &str, name: &str) -> Option<Asked<'a>> {
    schema.types.iter().find_map(|other| {
        other.attributes.iter().find_map(|attribute| {
            let inverse = attribute.inverse.as_ref()?;
            let is_about = attribute.references.iter().any(|referenced| referenced == object_type);
            let transitive = name.len() > inverse.attribute.len();
            let plain = match name.strip_prefix(TRANSITIVE).filter(|_| transitive) {
                Some(rest) => rest.eq_ignore_ascii_case(&inverse.attribute),
                None => name == inverse.attribute,
            };
            (is_about && plain).then_some(Asked { object_type: other, members: &attribute.name, inverse, transitive })
        })
    })
}

/// The attributes of a type that scopes of these syncs need, so that one reading serves them all.
pub(crate) fn needed_by_scopes(
    syncs: &[&SyncRules],
    schema: &Schema,
    connection: &str,
    object_type: &str,
) -> Vec<String> {
    let mut names = Vec::new();
    for sync in syncs.iter().filter(|sync| sync.source_connection == connection) {
        for name in sync.scope.iter().flat_map(muster_expression::Condition::attributes) {
            let is_own = schema.object_type(&sync.source_type).is_some_and(|own| own.attribute(name).is_some());
            if let Some(asked) = asked(schema, &sync.source_type, name).filter(|_| !is_own)
                && asked.object_type.name == object_type
            {
                names.extend([asked.members.to_owned(), asked.inverse.called_by.clone()]);
            }
        }
    }
    names
}

impl Compiler<'_> {
    /// Notes the group that a comparison asks for; false where it asks for none.
    pub(crate) fn group_asked(&mut self, setting: &str, name: &str, operator: &Operator) -> bool {
        let Some(asked) = asked(self.schema, &self.source.name, name) else { return false };
        let named = match operator {
            Operator::Equals(named) | Operator::NotEquals(named) => named.clone(),
            _ => {
                let problem = format!("[{name}] can only be asked for a group");
                let fix = format!(
                    "write [{name}] EQUALS \"GROUP\", or NOT EQUALS, with the group's {} or id",
                    asked.inverse.called_by
                );
                self.findings.error(setting, &problem, &fix);
                return true;
            }
        };
        let wanted = (named, asked.transitive);
        let groups = self.groups.get_or_insert_with(|| ScopeGroups {
            object_type: asked.object_type.name.clone(),
            members: asked.members.to_owned(),
            called_by: asked.inverse.called_by.clone(),
            named: Vec::new(),
        });
        if !groups.named.contains(&wanted) {
            groups.named.push(wanted);
        }
        true
    }

    /// The finding that a scope asks for an attribute that is not there.
    pub(crate) fn no_such_attribute(&mut self, setting: &str, name: &str) {
        let problem = format!("{}:{} has no attribute {name:?}", self.rules.source_connection, self.source.name);
        let known = format!("`muster schema {}` lists what it has", self.rules.source_connection);
        let inverse: Vec<String> = inverses(self.schema, &self.source.name);
        let names = self.source.attribute_names().chain(inverse.iter().map(String::as_str));
        let fix = did_you_mean(name, names, &known);
        self.findings.error(setting, &problem, &fix);
    }
}

/// The names under which a type shows who refers to it.
fn inverses(schema: &Schema, object_type: &str) -> Vec<String> {
    let attributes = schema.types.iter().flat_map(|other| &other.attributes);
    let of = attributes.filter(|attribute| attribute.references.iter().any(|referenced| referenced == object_type));
    of.filter_map(|attribute| attribute.inverse.as_ref()).map(|inverse| inverse.attribute.clone()).collect()
}

impl Engine {
    /// Reads the groups that a sync's scope names, and marks the links of whoever came or went. Before anything is
    /// evaluated: until it is known who is in them, nobody is out of scope.
    pub(crate) async fn read_groups(
        &self,
        prepared: &Prepared,
        full: bool,
        report: &mut Report,
    ) -> Result<(), EngineError> {
        let Some(groups) = &prepared.compiled.scope.groups else { return Ok(()) };
        let side = self.group_side(prepared, groups).await?;
        let rules = &prepared.compiled.rules;
        self.importer(&side, None).run(full).await?;
        let standing = self.store.source_type(side.connection, &side.object_type.name).await?;
        if standing.unswept && standing.round == Round::Idle {
            let (all, seen) = self.store.live_objects(side.id).await?;
            let allowed = rules.guard.missing.of(all);
            if all - seen <= allowed {
                while self.store.sweep(side.id, self.clock.now(), PAGE).await? > 0 {
                    self.stop.check()?;
                }
            } else {
                report.notes.push(format!(
                    "the source returned {seen} {}s where {all} were known; the missing ones count as before",
                    side.object_type.name
                ));
            }
        }
        let found = self.find_groups(prepared, groups, &side).await?;
        let Some(members) = self.attribute_id(&side, &groups.members).await? else { return Ok(()) };
        let moved = self.store.compare_members(prepared.sync, members, &found).await?;
        if moved > 0 {
            tracing::info!(moved, "people came to or left groups of the scope");
        }
        Ok(())
    }

    async fn group_side(&self, prepared: &Prepared, groups: &ScopeGroups) -> Result<Arc<SourceSide>, EngineError> {
        let rules = &prepared.compiled.rules;
        let (connector, schema) = self.open(&rules.source_connection).await?;
        let connection = prepared.source.connection;
        let Some(object_type) = schema.object_type(&groups.object_type) else {
            return Err(EngineError::NoConnection(groups.object_type.clone()));
        };
        let standing = self.store.source_type(connection, &object_type.name).await?;
        let wanted = self.wanted_of(&schema, rules, object_type, Vec::new());
        let references = self.reference_types(connection, &object_type.attributes).await?;
        Ok(Arc::new(SourceSide {
            name: rules.source_connection.clone(),
            connector,
            connection,
            object_type: object_type.clone(),
            id: standing.id,
            wanted,
            references,
        }))
    }

    async fn attribute_id(
        &self,
        side: &SourceSide,
        name: &str,
    ) -> Result<Option<muster_model::AttributeId>, EngineError> {
        Ok(self.ids(side.connection, &side.object_type, &[name.to_owned()]).await?.pop())
    }

    /// The groups by their ids or by what they are called.
    async fn find_groups(
        &self,
        prepared: &Prepared,
        groups: &ScopeGroups,
        side: &SourceSide,
    ) -> Result<Vec<ScopeGroup>, EngineError> {
        let Some(name) = self.attribute_id(side, &groups.called_by).await? else { return Ok(Vec::new()) };
        let mut found: HashMap<&str, Vec<ObjectId>> = HashMap::new();
        let mut after = ObjectId(0);
        loop {
            self.stop.check()?;
            let objects = self.store.present_objects(side.id, after, PAGE).await?;
            let Some((last, ..)) = objects.last() else { break };
            after = *last;
            for (id, anchor, state) in objects {
                let anchor = Key::decode(&anchor)?.to_string();
                let row = unpack_row(&[name], &state)?;
                let called = row.slot(0).value().and_then(|value| value.as_text());
                for (named, _) in &groups.named {
                    // Ids are pasted in either case.
                    if named.eq_ignore_ascii_case(&anchor) || called == Some(named) {
                        let ids = found.entry(named.as_str()).or_default();
                        if !ids.contains(&id) {
                            ids.push(id);
                        }
                    }
                }
            }
        }
        let sync = &prepared.compiled.rules.name;
        let mut resolved = Vec::with_capacity(groups.named.len());
        for (named, transitive) in &groups.named {
            match found.get(named.as_str()).map(Vec::as_slice) {
                Some([object]) => {
                    resolved.push(ScopeGroup { named: named.clone(), transitive: *transitive, object: *object });
                }
                other => {
                    let many = other.map_or(0, <[ObjectId]>::len);
                    let kind = &groups.object_type;
                    return Err(EngineError::ScopeGroup {
                        sync: sync.clone(),
                        kind: kind.clone(),
                        named: named.clone(),
                        many,
                    });
                }
            }
        }
        Ok(resolved)
    }

    /// Looks up in which groups of the scope the objects of these links are.
    pub(crate) async fn with_groups(
        &self,
        prepared: &Prepared,
        mut links: Vec<LinkView>,
    ) -> Result<Vec<LinkView>, EngineError> {
        let Some(groups) = &prepared.compiled.scope.groups else { return Ok(links) };
        let known = self.store.scope_groups(prepared.sync).await?;
        // Never compared, or with other groups: nobody knows yet who is in them.
        let position = |group: &ScopeGroup| {
            groups.named.iter().position(|(named, transitive)| *named == group.named && *transitive == group.transitive)
        };
        let positions: HashMap<i64, Vec<usize>> = known.iter().fold(HashMap::new(), |mut all, group| {
            all.entry(group.number()).or_insert_with(Vec::new).extend(position(group));
            all
        });
        if groups.named.iter().any(|(named, transitive)| {
            !known.iter().any(|group| group.named == *named && group.transitive == *transitive)
        }) {
            return Ok(links);
        }
        let objects: Vec<ObjectId> = links.iter().map(|link| link.object).collect();
        let mut of: HashMap<ObjectId, Vec<usize>> = HashMap::new();
        for (object, number) in self.store.members_of(prepared.sync, &objects).await? {
            of.entry(object).or_default().extend(positions.get(&number).into_iter().flatten());
        }
        for link in &mut links {
            link.member_of = Some(of.remove(&link.object).unwrap_or_default());
        }
        Ok(links)
    }
}

/// A slot that says whether an object is in a group, for a person.
pub(crate) fn shown_membership(is_member: Option<bool>) -> String {
    match is_member {
        Some(true) => "a member".to_owned(),
        Some(false) => "no member".to_owned(),
        None => crate::takeover::shown_slot(&Slot::Unknown),
    }
}
