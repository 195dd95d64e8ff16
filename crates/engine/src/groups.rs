//! Scopes that ask for groups: `[memberOf] EQUALS "Sales team"`. The groups are objects of another type whose reference
//! attribute names the sync's objects, so they are read before anybody is evaluated, and who came or went is compared
//! with who was there.

use std::collections::HashMap;
use std::sync::Arc;

use muster_expression::{Comparison, Operator};
use muster_model::pack::unpack_row;
use muster_model::{Attribute, Inverse, Key, Multiplicity, ObjectType, Schema, Slot};
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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScopeGroups {
    /// The kinds of groups that it asks for.
    pub kinds: Vec<GroupKind>,
    /// As the scope says them.
    pub named: Vec<NamedGroup>,
}

/// A type whose objects have the sync's objects as members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupKind {
    /// The object type.
    pub object_type: String,
    /// Its reference attribute.
    pub members: String,
    /// The attribute that its objects are called by.
    pub called_by: String,
    /// Other types among its members whose objects stand for their own members, with their reference attributes: a
    /// group that is assigned to an application.
    pub through: Vec<(String, String)>,
}

/// A group as a scope says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedGroup {
    /// The position of its kind.
    pub kind: usize,
    /// The name under which its members know it.
    pub asked: String,
    /// Its name or id.
    pub named: String,
    /// Whether members of member groups count.
    pub transitive: bool,
}

impl ScopeGroups {
    /// The position of the group that a comparison asks for, and whether the object must not be in it.
    pub(crate) fn position(&self, comparison: &Comparison) -> Option<(usize, bool)> {
        let (named, negated) = match &comparison.operator {
            Operator::Equals(named) => (named, false),
            Operator::NotEquals(named) => (named, true),
            _ => return None,
        };
        let is_it = |group: &NamedGroup| group.named == *named && group.asked == comparison.attribute;
        Some((self.named.iter().position(is_it)?, negated))
    }

    /// The types with members, each with its reference attribute, and the attribute that its objects are called by
    /// where the scope names some of them.
    fn types(&self) -> Vec<(&str, &str, Option<&str>)> {
        let mut types: Vec<(&str, &str, Option<&str>)> = Vec::new();
        for kind in &self.kinds {
            types.push((&kind.object_type, &kind.members, Some(&kind.called_by)));
        }
        for (object_type, members) in self.kinds.iter().flat_map(|kind| &kind.through) {
            if !types.iter().any(|(known, ..)| known == object_type) {
                types.push((object_type, members, None));
            }
        }
        types
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

impl Asked<'_> {
    /// See [`GroupKind::through`].
    fn through<'a>(&self, schema: &'a Schema, source_type: &str) -> Vec<(&'a str, &'a str)> {
        let members = self.object_type.attribute(self.members).map(|attribute| attribute.references.as_slice());
        let others = members.unwrap_or_default().iter().filter(|name| **name != self.object_type.name);
        let others = others.filter(|name| *name != source_type).filter_map(|name| schema.object_type(name));
        let of = |other: &'a ObjectType| {
            let has_members = |attribute: &&Attribute| {
                attribute.inverse.is_some()
                    && attribute.multiplicity == Multiplicity::Set
                    && attribute.references.iter().any(|referenced| referenced == source_type)
            };
            Some((other.name.as_str(), other.attributes.iter().find(has_members)?.name.as_str()))
        };
        others.filter_map(of).collect()
    }
}

/// What the scopes of syncs ask for besides attributes of their own type, each with the name or id of the group.
fn asked_by<'a>(
    syncs: &'a [&SyncRules],
    schema: &'a Schema,
    connection: &'a str,
) -> impl Iterator<Item = (Asked<'a>, &'a str, Option<&'a str>)> {
    let all = syncs.iter().filter(move |sync| sync.source_connection == connection);
    all.flat_map(move |sync| {
        let comparisons = sync.scope.iter().flat_map(|condition| &condition.comparisons);
        comparisons.filter_map(move |comparison| {
            let is_own = |own: &ObjectType| own.attribute(&comparison.attribute).is_some();
            if schema.object_type(&sync.source_type).is_some_and(is_own) {
                return None;
            }
            let named = match &comparison.operator {
                Operator::Equals(named) | Operator::NotEquals(named) => Some(named.as_str()),
                _ => None,
            };
            Some((asked(schema, &sync.source_type, &comparison.attribute)?, sync.source_type.as_str(), named))
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
    for (asked, source_type, _) in asked_by(syncs, schema, connection) {
        if asked.object_type.name == object_type {
            names.extend([asked.members.to_owned(), asked.inverse.called_by.clone()]);
        }
        let through = asked.through(schema, source_type).into_iter().filter(|(name, _)| *name == object_type);
        names.extend(through.map(|(_, members)| members.to_owned()));
    }
    names
}

/// The objects of a type that are needed for scopes alone; empty where all of them are.
fn only_named(syncs: &[&SyncRules], schema: &Schema, connection: &str, object_type: &str) -> Vec<String> {
    let is_read = syncs.iter().any(|sync| sync.source_connection == connection && sync.source_type == object_type);
    // Whichever of them is a member of a group may be needed for its own members.
    let refers = |attribute: &Attribute| {
        attribute.inverse.is_some() && attribute.references.iter().any(|referenced| referenced == object_type)
    };
    if is_read || schema.types.iter().flat_map(|other| &other.attributes).any(refers) {
        return Vec::new();
    }
    let about_it = asked_by(syncs, schema, connection).filter(|(asked, ..)| asked.object_type.name == object_type);
    let mut names: Vec<String> = about_it.filter_map(|(_, _, named)| named.map(str::to_owned)).collect();
    names.sort();
    names.dedup();
    names
}

impl Compiler<'_> {
    /// Notes the group that a comparison asks for; false where it asks for none.
    pub(crate) fn group_asked(&mut self, setting: &str, name: &str, operator: &Operator) -> bool {
        let Some(asked) = asked(self.schema, &self.source.name, name) else { return false };
        let named = match operator {
            Operator::Equals(named) | Operator::NotEquals(named) => named.clone(),
            _ => {
                let kind = &asked.object_type.name;
                let problem = format!("[{name}] can only be asked for one {kind}");
                let fix = format!(
                    "write [{name}] EQUALS \"{}\", or NOT EQUALS, with the {kind}'s {} or id",
                    kind.to_uppercase(),
                    asked.inverse.called_by
                );
                self.findings.error(setting, &problem, &fix);
                return true;
            }
        };
        let through = asked.through(self.schema, &self.source.name).into_iter();
        let kind = GroupKind {
            object_type: asked.object_type.name.clone(),
            members: asked.members.to_owned(),
            called_by: asked.inverse.called_by.clone(),
            through: through.map(|(name, members)| (name.to_owned(), members.to_owned())).collect(),
        };
        let groups = self.groups.get_or_insert_default();
        let known = groups.kinds.iter().position(|known| *known == kind);
        let position = known.unwrap_or(groups.kinds.len());
        if known.is_none() {
            groups.kinds.push(kind);
        }
        let group = NamedGroup { kind: position, asked: name.to_owned(), named, transitive: asked.transitive };
        if !groups.named.contains(&group) {
            groups.named.push(group);
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
        let mut sides = Vec::new();
        let mut members = Vec::new();
        for (object_type, attribute, _) in groups.types() {
            let side = self.group_side(prepared, object_type).await?;
            self.read_type(prepared, &side, full, report).await?;
            if let Some(id) = self.attribute_id(&side, attribute).await? {
                members.push((side.id, id));
            }
            sides.push(side);
        }
        let mut found = Vec::with_capacity(groups.named.len());
        for (position, kind) in groups.kinds.iter().enumerate() {
            let named: Vec<&NamedGroup> = groups.named.iter().filter(|group| group.kind == position).collect();
            if let Some(side) = sides.iter().find(|side| side.object_type.name == kind.object_type) {
                found.extend(self.find_groups(prepared, kind, &named, side).await?);
            }
        }
        let moved = self.store.compare_members(prepared.sync, &members, &found).await?;
        if moved > 0 {
            tracing::info!(moved, "people came to or left groups of the scope");
        }
        Ok(())
    }

    /// Reads one type that has members.
    async fn read_type(
        &self,
        prepared: &Prepared,
        side: &Arc<SourceSide>,
        full: bool,
        report: &mut Report,
    ) -> Result<(), EngineError> {
        self.importer(side, None).run(full).await?;
        let standing = self.store.source_type(side.connection, &side.object_type.name).await?;
        if standing.unswept && standing.round == Round::Idle {
            let (all, seen) = self.store.live_objects(side.id).await?;
            let allowed = prepared.compiled.rules.guard.missing.of(all);
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
        Ok(())
    }

    async fn group_side(&self, prepared: &Prepared, object_type: &str) -> Result<Arc<SourceSide>, EngineError> {
        let rules = &prepared.compiled.rules;
        let (connector, schema) = self.open(&rules.source_connection).await?;
        let connection = prepared.source.connection;
        let Some(object_type) = schema.object_type(object_type) else {
            return Err(EngineError::NoConnection(object_type.to_owned()));
        };
        let standing = self.store.source_type(connection, &object_type.name).await?;
        let wanted = self.wanted_of(&schema, rules, object_type, Vec::new());
        let references = self.reference_types(connection, &object_type.attributes).await?;
        let others = self.syncs.iter().filter(|other| other.name != rules.name);
        let syncs: Vec<&SyncRules> = others.chain([rules]).collect();
        let named = only_named(&syncs, &schema, &rules.source_connection, &object_type.name);
        Ok(Arc::new(SourceSide {
            name: rules.source_connection.clone(),
            connector,
            connection,
            object_type: object_type.clone(),
            id: standing.id,
            wanted,
            named: named.into(),
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

    /// The groups of one kind by their ids or by what they are called.
    async fn find_groups(
        &self,
        prepared: &Prepared,
        kind: &GroupKind,
        groups: &[&NamedGroup],
        side: &SourceSide,
    ) -> Result<Vec<ScopeGroup>, EngineError> {
        let Some(name) = self.attribute_id(side, &kind.called_by).await? else { return Ok(Vec::new()) };
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
                for NamedGroup { named, .. } in groups {
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
        let resolved = groups.iter().map(|group| {
            let named = &group.named;
            match found.get(named.as_str()).map(Vec::as_slice) {
                Some([object]) => Ok(ScopeGroup {
                    asked: group.asked.clone(),
                    named: named.clone(),
                    transitive: group.transitive,
                    object: *object,
                }),
                other => Err(EngineError::ScopeGroup {
                    sync: prepared.compiled.rules.name.clone(),
                    kind: kind.object_type.clone(),
                    named: named.clone(),
                    many: other.map_or(0, <[ObjectId]>::len),
                }),
            }
        });
        resolved.collect()
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
        let is_it = |one: &NamedGroup, group: &ScopeGroup| one.named == group.named && one.asked == group.asked;
        if groups.named.iter().any(|one| !known.iter().any(|group| is_it(one, group))) {
            return Ok(links);
        }
        let mut positions: HashMap<i64, Vec<usize>> = HashMap::new();
        for group in &known {
            let position = groups.named.iter().position(|one| is_it(one, group));
            positions.entry(group.number()).or_default().extend(position);
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
