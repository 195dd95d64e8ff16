//! Whose target object it is. An anchor that the system assigns may be given again to somebody else's object after its
//! own was deleted, so such an object is known by the value it was matched by as well.

use muster_connector::FoundObject;
use muster_model::pack::{pack_row, unpack_row};
use muster_model::{AssignedBy, Row, Slot, Value};
use muster_store::{LinkState, LinkUpdate, LinkView, OperationKind, ParkReason};

use crate::compile::Compiled;
use crate::cycle::Engine;
use crate::error::EngineError;
use crate::pass::{linked_state, parked, unchanged};
use crate::prepare::Prepared;

/// The rule by which a link is parked whose key names an object that may be somebody else's.
const OTHER_OBJECT: &str = "other_object";

/// The position of the target attribute whose value an object keeps, where its key alone does not tell whose it is.
pub(crate) fn known_by(compiled: &Compiled) -> Option<usize> {
    let anchor = &compiled.target.anchor;
    if anchor.assigned_by != AssignedBy::System {
        return None;
    }
    compiled.recognising().find_map(|(_, matching)| {
        let [compared] = matching.all.as_slice() else { return None };
        let column = compiled.columns.get(compared.target)?;
        (!anchor.attributes.contains(&column.attribute.name)).then_some(compared.target)
    })
}

/// A link whose key names an object with another value than the one it was known by.
pub(crate) struct Doubtful {
    pub(crate) link: LinkView,
    /// What was written or seen last, packed.
    pub(crate) written: Vec<u8>,
    /// The value it was known by.
    pub(crate) known: Value,
    /// The value it should have from now on, where that changes.
    pub(crate) becomes: Option<Value>,
    /// What the key names now.
    pub(crate) object: Option<FoundObject>,
}

impl Engine {
    /// Decides over links whose keys name objects with other values: where the value stands in another object now the
    /// link follows it; where the object is certainly the same, what it holds is recorded; otherwise a person decides.
    pub(crate) async fn identify(
        &self,
        prepared: &Prepared,
        doubtful: Vec<Doubtful>,
    ) -> Result<Vec<LinkUpdate>, EngineError> {
        let Some(position) = known_by(&prepared.compiled) else { return Ok(Vec::new()) };
        let known = doubtful.iter().map(|doubtful| vec![doubtful.known.clone()]).collect();
        let found = self.find(prepared, &[position], known).await?;
        let mut updates = Vec::with_capacity(doubtful.len());
        for (doubtful, objects) in doubtful.into_iter().zip(found) {
            let link = &doubtful.link;
            let base = LinkUpdate { evaluated: 0, dirty_again: true, due_at: link.due_at, ..unchanged(link) };
            updates.push(match (objects.as_slice(), &doubtful.object) {
                ([object], _) => {
                    let target_key = Some(object.key.encode());
                    LinkUpdate { target_key, fresh_key: true, ..recorded(prepared, base, object) }
                }
                ([], None) => lost(base),
                ([], Some(object)) if is_the_same(prepared, position, &doubtful, &object.row)? => {
                    recorded(prepared, base, object)
                }
                _ => {
                    // What else was written is no longer known of the object, so that no evaluation finds all as it
                    // should be, and the next one asks the target again.
                    let mut known = Row::unknown(prepared.layout.target.len());
                    if let Some(slot) = known.0.get_mut(position) {
                        *slot = Slot::One(doubtful.known.clone());
                    }
                    let written = Some(pack_row(&prepared.layout.target, &known));
                    let waits = parked(link, self.reason(prepared, position, &doubtful), self.clock.now());
                    LinkUpdate { written, ..waits }
                }
            });
        }
        Ok(updates)
    }

    fn reason(&self, prepared: &Prepared, position: usize, doubtful: &Doubtful) -> ParkReason {
        let name = prepared.compiled.target_attributes.get(position).cloned().unwrap_or_default();
        let anchor = prepared.compiled.target.anchor.attributes.join(", ");
        let key = doubtful.link.target_key.as_deref().and_then(|key| muster_model::Key::decode(key).ok());
        let key = key.map_or_else(String::new, |key| key.to_string());
        let known = &doubtful.known;
        let sync = &prepared.compiled.rules.name;
        let message = format!(
            "the object with {anchor} {key} no longer has {name} {known}, so it may be somebody else's, and nothing was \
             written to it; if it is the same, `muster link {sync} {known} {key}` says so; if not, `muster unlink {sync} \
             {known}` and `muster unignore {sync} {known}` have one found or made"
        );
        ParkReason {
            operation: None,
            kind: OperationKind::Update,
            rule: OTHER_OBJECT.to_owned(),
            attribute: Some(name),
            message,
        }
    }
}

/// The target object is gone; whoever should have one gets it again, by match or create.
pub(crate) fn lost(base: LinkUpdate) -> LinkUpdate {
    LinkUpdate { state: LinkState::Candidate, target_key: None, written: Some(Vec::new()), ..base }
}

/// A link that knows what its object holds now.
pub(crate) fn recorded(prepared: &Prepared, base: LinkUpdate, object: &FoundObject) -> LinkUpdate {
    let off = Slot::One(Value::Boolean(false));
    let disabled = prepared.compiled.enabling.is_some_and(|position| *object.row.slot(position) == off);
    LinkUpdate { state: linked_state(disabled), written: Some(pack_row(&prepared.layout.target, &object.row)), ..base }
}

/// Whether an object is the one meant although its value is another: the target spelled the value its own way, it is
/// the value the object was to get, or another unique value stands as it was left.
fn is_the_same(prepared: &Prepared, position: usize, doubtful: &Doubtful, found: &Row) -> Result<bool, EngineError> {
    let now = found.slot(position).value();
    if now.is_some_and(|now| spelled_alike(now, &doubtful.known)) || (now.is_some() && now == doubtful.becomes.as_ref())
    {
        return Ok(true);
    }
    let written = unpack_row(&prepared.layout.target, &doubtful.written)?;
    let type_of = &prepared.compiled.target;
    let is_unique = |name: &str| {
        let alone = |key: &Vec<String>| matches!(key.as_slice(), [only] if only == name);
        type_of.alternate_keys.iter().any(alone) || type_of.attribute(name).is_some_and(|attribute| attribute.unique)
    };
    let names = prepared.compiled.target_attributes.iter().enumerate();
    Ok(names.filter(|(other, name)| *other != position && is_unique(name)).any(|(other, _)| {
        let value = written.slot(other).value();
        value.is_some() && value == found.slot(other).value()
    }))
}

pub(crate) fn spelled_alike(one: &Value, other: &Value) -> bool {
    let plain = |value: &Value| value.to_string().trim().to_lowercase();
    plain(one) == plain(other)
}
