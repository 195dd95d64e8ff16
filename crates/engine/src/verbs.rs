//! What a person does to one link, beside a running service: the state is changed in one transaction, and the next
//! cycle acts on it.

use muster_model::pack::{pack_row, unpack_row};
use muster_model::{Key, Slot, Value};
use muster_store::{Decided, Decision, LinkId, LinkView, Owner};

use crate::computed::Subject;
use crate::convert::fit;
use crate::cycle::Engine;
use crate::error::EngineError;
use crate::pass::{SLICE, linked_state};
use crate::prepare::Prepared;
use crate::rules::SyncRules;

/// What became of a link made by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Linking {
    /// It stands.
    Done {
        /// The source object's link.
        link: LinkId,
        /// The target object's key.
        target: String,
    },
    /// The target has no object with that key.
    NoObject,
    /// The object is protected.
    Protected,
    /// The object belongs to this source object, of this sync.
    Owned {
        /// The sync.
        sync: String,
        /// The source object's key.
        source: String,
    },
    /// An operation for the link is on its way.
    OnItsWay,
}

impl Engine {
    /// The link of the source object that a person names: by its key, or by the value it is matched by.
    ///
    /// # Errors
    /// There is no such source object.
    pub async fn find_link(&self, rules: &SyncRules, named: &str) -> Result<LinkView, EngineError> {
        let prepared = self.prepare(rules, false).await?;
        self.named(&prepared, named).await
    }

    pub(crate) async fn named(&self, prepared: &Prepared, named: &str) -> Result<LinkView, EngineError> {
        if let Some(link) = self.store.link_of(prepared.sync, &Key::text(named).encode()).await? {
            return Ok(link);
        }
        if let Some(link) = self.owner_by_value(prepared, named).await? {
            return Ok(link);
        }
        // Without a target object only the source knows the value, and nothing in the state is sorted by it.
        let mut after = LinkId(0);
        loop {
            let links = self.store.all_links(prepared.sync, after, SLICE).await?;
            let Some(last) = links.last() else { break };
            after = last.id;
            for link in links {
                if self.match_names(prepared, &link)?.iter().any(|name| name == named) {
                    return Ok(link);
                }
            }
        }
        Err(EngineError::NoObject { key: named.to_owned() })
    }

    /// The link whose target object has the value to match by.
    async fn owner_by_value(&self, prepared: &Prepared, named: &str) -> Result<Option<LinkView>, EngineError> {
        for matching in &prepared.compiled.matching {
            let [compared] = matching.all.as_slice() else { continue };
            let Some(column) = prepared.compiled.columns.get(compared.target) else { continue };
            let Some(value) = parsed(named, &column.attribute) else { continue };
            let found = self.find(prepared, &[compared.target], vec![vec![value]]).await?;
            let keys: Vec<Vec<u8>> = found.into_iter().flatten().map(|object| object.key.encode()).collect();
            let owners = self.store.owners(prepared.target.id, &keys).await?;
            let owner = owners.values().find(|owner| owner.sync == prepared.sync);
            if let Some(Owner { link, .. }) = owner {
                return Ok(self.store.links(&[*link]).await?.into_iter().next());
            }
        }
        Ok(None)
    }

    /// What people may call a link's source object: the source's values to match by, rule by rule.
    pub(crate) fn match_names(&self, prepared: &Prepared, link: &LinkView) -> Result<Vec<String>, EngineError> {
        let Some(packed) = &link.source else { return Ok(Vec::new()) };
        let source = unpack_row(&prepared.layout.source, packed)?;
        let sync = &prepared.compiled.rules.name;
        let now = self.clock.lifecycle();
        let subject = Subject { sync, anchor: &link.anchor, source: &source, enabled: true, now };
        let rules = 0..prepared.compiled.matching.len();
        let values = rules.filter_map(|rule| prepared.compiled.rule_values(rule, &subject).ok().flatten());
        Ok(values.map(|matched| matched.text()).collect())
    }

    /// Links a source object to a target object, after a look at the target.
    ///
    /// # Errors
    /// The target cannot be asked, or there is no such source object.
    pub async fn link(&self, rules: &SyncRules, source: &str, target: &str) -> Result<Linking, EngineError> {
        let prepared = self.prepare(rules, false).await?;
        let compiled = &prepared.compiled;
        let link = self.named(&prepared, source).await?;
        let side = &prepared.target;
        let Some(connector) = side.connector.target() else { return Err(EngineError::NoConnection(side.name.clone())) };
        let Some(key) = target_key(&prepared, target) else { return Ok(Linking::NoObject) };
        let found = connector.get(&side.request, std::slice::from_ref(&key)).await;
        let found = found.map_err(|error| EngineError::connection(&side.name, error))?;
        let Some(object) = found.into_iter().next().flatten() else { return Ok(Linking::NoObject) };
        if !compiled.rules.protect.is_empty() && compiled.protects(&object.row) {
            return Ok(Linking::Protected);
        }
        let off = Slot::One(Value::Boolean(false));
        let disabled = compiled.enabling.is_some_and(|position| *object.row.slot(position) == off);
        let decision = Decision::Link {
            state: linked_state(disabled),
            target_key: object.key.encode(),
            written: pack_row(&prepared.layout.target, &object.row),
        };
        match self.store.decide(prepared.sync, link.id, &decision).await? {
            Decided::Done => Ok(Linking::Done { link: link.id, target: object.key.to_string() }),
            Decided::OnItsWay => Ok(Linking::OnItsWay),
            Decided::Owned(owner) => self.owned(owner, &object.key).await,
        }
    }

    async fn owned(&self, owner: LinkId, key: &Key) -> Result<Linking, EngineError> {
        let views = self.store.links(&[owner]).await?;
        let source = match views.first() {
            Some(view) => Key::decode(&view.anchor)?.to_string(),
            None => key.to_string(),
        };
        for (name, sync) in self.store.sync_names().await? {
            if self.store.link_facts(sync, owner).await?.is_some() {
                return Ok(Linking::Owned { sync: name, source });
            }
        }
        Ok(Linking::Owned { sync: String::new(), source })
    }
}

/// A typed text as a value of an attribute.
fn parsed(text: &str, attribute: &muster_model::Attribute) -> Option<Value> {
    use muster_model::ValueType;
    let slot = match attribute.value_type {
        ValueType::Integer => Slot::One(Value::Integer(text.trim().parse().ok()?)),
        ValueType::Decimal => Slot::One(Value::Decimal(muster_model::Decimal::parse(text.trim())?)),
        ValueType::Boolean => Slot::One(Value::Boolean(text.trim().parse().ok()?)),
        _ => fit(&Slot::text(text), attribute).ok()?,
    };
    slot.value().cloned()
}

/// A target key as people type it: the values of the anchor, with a slash between them.
fn target_key(prepared: &Prepared, text: &str) -> Option<Key> {
    let target = &prepared.compiled.target;
    let names = &target.anchor.attributes;
    let parts: Vec<&str> = if names.len() == 1 { vec![text] } else { text.split('/').collect() };
    if parts.len() != names.len() {
        return None;
    }
    let value = |(name, part): (&String, &str)| parsed(part, target.attribute(name)?);
    names.iter().zip(parts).map(value).collect::<Option<Vec<_>>>().map(Key)
}
