//! What a link's full current state calls for. Pure: state in, decision out; nothing is computed from "what changed".

use muster_model::pack::unpack_row;
use muster_model::{AttributeId, Key, PackError, Row, Slot, Value};
use muster_store::{LinkState, LinkView, OperationKind, Origin, ParkReason, Removed};

use crate::compile::{Compiled, Input};
use crate::computed::Subject;
use crate::lifecycle::by_dates;
use crate::nulls::flow_into;
use crate::recognition::{MatchValues, match_values};
use crate::references::referred;
use crate::rules::{Removal, When};
use crate::scope::Scoped;

/// The persistent ids of the compiled rules' attributes.
#[derive(Debug, Clone)]
pub struct Layout {
    /// In the order of [`Compiled::source_attributes`].
    pub source: Vec<AttributeId>,
    /// In the order of [`Compiled::target_attributes`].
    pub target: Vec<AttributeId>,
}

/// What a link calls for.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// What to do next.
    pub wanted: Wanted,
    /// When the link must be evaluated again by itself.
    pub due_at: Option<i64>,
    /// What the values of a linked object's multi-valued attributes flow from, where there are any.
    pub present: Option<Present>,
}

/// A source object whose target object should be there.
#[derive(Debug, Clone, PartialEq)]
pub struct Present {
    /// Its attributes.
    pub source: Row,
    /// Whether the target object should be enabled.
    pub enabled: bool,
}

/// What to do next for one link.
#[derive(Debug, Clone, PartialEq)]
pub enum Wanted {
    /// Nothing; the link is in this state.
    Nothing(LinkState),
    /// Not enough is known yet (an attribute that this generation has still to read).
    NotYet,
    /// A target object: by adoption if one matches, else by creation.
    Object {
        /// The desired values.
        row: Row,
        /// The values to match by, rule by rule; a rule that lacks one is left out.
        matches: Vec<MatchValues>,
        /// Whether one is created where none matches; outside its dates a person's object is only looked for.
        may_create: bool,
    },
    /// A change of the linked target object.
    Change(ChangeWanted),
    /// The linked target object's end.
    Delete,
    /// A value does not fit.
    Park(ParkReason),
}

/// A change of a linked target object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeWanted {
    /// The values that differ; unknown slots stay.
    pub row: Row,
    /// It enables or disables.
    pub enabling: Option<bool>,
    /// The anchor changes to this one.
    pub rename: Option<Key>,
}

impl ChangeWanted {
    /// What of it takes access away, where it writes more than that.
    pub(crate) fn alone(&self, compiled: &Compiled) -> Option<Self> {
        let position = compiled.enabling.filter(|_| self.enabling == Some(false) && self.rename.is_none())?;
        let mut row = Row::unknown(self.row.0.len());
        row.0.get_mut(position)?.clone_from(self.row.slot(position));
        (row != self.row).then_some(Self { row, enabling: self.enabling, rename: None })
    }
}

/// Decides what a link calls for.
///
/// # Errors
/// A stored row is damaged.
pub fn evaluate(compiled: &Compiled, layout: &Layout, link: &LinkView, now: i64) -> Result<Evaluation, PackError> {
    let settled = |state| Evaluation { wanted: Wanted::Nothing(state), due_at: None, present: None };
    if matches!(link.state, LinkState::Released | LinkState::Ignored) {
        return Ok(settled(link.state));
    }
    let linked = link.target_key.is_some();
    let source = match &link.source {
        Some(packed) => unpack_row(&layout.source, packed)?,
        None => return Ok(settled(link.state)),
    };
    let written = match &link.written {
        Some(packed) => unpack_row(&layout.target, packed)?,
        None => Row::unknown(layout.target.len()),
    };
    if link.removed == Removed::No && in_scope(compiled, link, &source).is_none() {
        return Ok(Evaluation { wanted: Wanted::NotYet, due_at: None, present: None });
    }
    let plan = match by_dates(compiled, link, &source, &written, now, removal(compiled, link, &source, now)) {
        Ok(plan) => plan,
        Err(evaluation) => return Ok(*evaluation),
    };
    let mut present = None;
    let wanted = match plan.action {
        Action::Leave => Wanted::Nothing(link.state),
        Action::Delete if linked => Wanted::Delete,
        Action::Delete | Action::Disable if !linked => Wanted::Nothing(link.state),
        Action::Delete => Wanted::Nothing(link.state),
        Action::Disable => disable(compiled, link, &written),
        Action::Ensure { .. } if (0..layout.source.len()).any(|position| source.slot(position).is_unknown()) => {
            Wanted::NotYet
        }
        Action::Ensure { enabled, may_create } => {
            let subject = Subject { sync: &compiled.rules.name, anchor: &link.anchor, source: &source, enabled, now };
            let wanted = ensure(compiled, layout, link, &subject, &written, may_create);
            present = (linked && !compiled.many.is_empty()).then(|| Present { source: source.clone(), enabled });
            wanted
        }
    };
    Ok(Evaluation { wanted, due_at: plan.due_at, present })
}

/// Whether a link's source object belongs to the sync; nothing where that is not known yet.
pub(crate) fn in_scope(compiled: &Compiled, link: &LinkView, source: &Row) -> Option<bool> {
    compiled.scope.includes(Scoped { source, member_of: link.member_of.as_deref() })
}

/// What is to become of a link's target object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Leave,
    Ensure { enabled: bool, may_create: bool },
    Disable,
    Delete,
}

/// The same, and when it changes for the sake of time alone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) action: Action,
    pub(crate) due_at: Option<i64>,
}

/// Whether a link's object may be deleted at all.
pub(crate) fn may_delete(compiled: &Compiled, link: &LinkView) -> bool {
    compiled.capabilities.can_delete && (link.origin != Origin::Adopted || compiled.rules.removal.delete_adopted)
}

fn removal(compiled: &Compiled, link: &LinkView, source: &Row, now: i64) -> Plan {
    let rules = &compiled.rules.removal;
    let can_disable = compiled.enabling.is_some();
    let default = if can_disable { Removal::Disable } else { Removal::Keep };
    let may_delete = may_delete(compiled, link);
    let now_and = |action| Plan { action, due_at: None };
    let disable = || if can_disable { Action::Disable } else { Action::Leave };
    let disabled =
        compiled.source_enabling.is_some_and(|position| *source.slot(position) == Slot::One(Value::Boolean(false)));
    if !compiled.rules.creates {
        // Others make these objects and end them.
        let flows = link.removed == Removed::No && in_scope(compiled, link, source) != Some(false);
        return now_and(if flows { Action::Ensure { enabled: true, may_create: false } } else { Action::Leave });
    }
    match link.removed {
        Removed::No if in_scope(compiled, link, source) == Some(false) => match rules.out_of_scope.unwrap_or(default) {
            // A leaver loses access wherever the account is.
            Removal::Keep if disabled && rules.disabled.unwrap_or(default) != Removal::Keep => now_and(disable()),
            Removal::Keep => now_and(Action::Leave),
            Removal::Delete if may_delete => now_and(Action::Delete),
            Removal::Disable | Removal::Delete => now_and(disable()),
        },
        Removed::No => match (disabled, rules.disabled.unwrap_or(default)) {
            (false, _) | (true, Removal::Keep) => now_and(Action::Ensure { enabled: true, may_create: true }),
            (true, Removal::Disable) => now_and(Action::Ensure { enabled: false, may_create: true }),
            (true, Removal::Delete) if may_delete => now_and(Action::Delete),
            (true, Removal::Delete) => now_and(disable()),
        },
        Removed::Soft => match rules.soft.unwrap_or(default) {
            Removal::Keep => now_and(Action::Leave),
            Removal::Delete if may_delete => now_and(Action::Delete),
            Removal::Disable | Removal::Delete => now_and(disable()),
        },
        Removed::Hard => match rules.hard.unwrap_or(Removal::Delete) {
            Removal::Keep => now_and(Action::Leave),
            Removal::Delete if may_delete => {
                // Where even a soft removal deletes, a final one need not wait.
                let grace = if rules.soft == Some(Removal::Delete) { 0 } else { rules.grace };
                let deadline = link.removed_since.unwrap_or(now).saturating_add(grace);
                if now >= deadline {
                    now_and(Action::Delete)
                } else {
                    let due_at = link.target_key.is_some().then_some(deadline);
                    Plan { action: disable(), due_at }
                }
            }
            Removal::Disable | Removal::Delete => now_and(disable()),
        },
    }
}

pub(crate) fn disable(compiled: &Compiled, link: &LinkView, written: &Row) -> Wanted {
    let off = Slot::One(Value::Boolean(false));
    match compiled.enabling {
        Some(position) if link.target_key.is_some() && *written.slot(position) != off => {
            let mut row = Row::unknown(compiled.columns.len());
            if let Some(slot) = row.0.get_mut(position) {
                *slot = off;
            }
            Wanted::Change(ChangeWanted { row, enabling: Some(false), rename: None })
        }
        _ => Wanted::Nothing(if link.target_key.is_some() { LinkState::Disabled } else { link.state }),
    }
}

/// Whoever should lose access loses it, whatever else of the object cannot be written.
fn must_go(compiled: &Compiled, link: &LinkView, subject: &Subject<'_>, written: &Row) -> bool {
    !subject.enabled && matches!(disable(compiled, link, written), Wanted::Change(_))
}

fn ensure(
    compiled: &Compiled,
    layout: &Layout,
    link: &LinkView,
    subject: &Subject<'_>,
    written: &Row,
    may_create: bool,
) -> Wanted {
    let linked = link.target_key.is_some();
    let mut row = Row::unknown(compiled.columns.len());
    for ((slot, column), position) in row.0.iter_mut().zip(&compiled.columns).zip(0..) {
        if column.input == Input::None || (linked && column.when == When::Create) {
            continue;
        }
        // A mapped enabling attribute can only disable further: an object that should be disabled is not enabled by a
        // mapping.
        if Some(position) == compiled.enabling && !subject.enabled {
            *slot = Slot::One(Value::Boolean(false));
            continue;
        }
        let flows = match column.input {
            Input::Reference(_) => referred(compiled, layout, link, position, linked),
            _ => flow_into(column, subject, linked),
        };
        match flows {
            Ok(fitted) => *slot = fitted,
            Err(_) if must_go(compiled, link, subject, written) => return disable(compiled, link, written),
            Err(misfit) => {
                let kind = if linked { OperationKind::Update } else { OperationKind::Create };
                return park(kind, misfit.rule, Some(&column.attribute.name), misfit.message);
            }
        }
    }
    if !linked {
        return match match_values(compiled, subject) {
            Ok(matches) => Wanted::Object { row, matches, may_create },
            Err(reason) => *reason,
        };
    }
    let rename = match renamed(compiled, link, &row) {
        Ok(rename) => rename,
        Err(_) if must_go(compiled, link, subject, written) => return disable(compiled, link, written),
        Err(reason) => return *reason,
    };
    for (position, slot) in row.0.iter_mut().enumerate() {
        if *slot == *written.slot(position) {
            *slot = Slot::Unknown;
        }
    }
    let enabling = compiled.enabling.and_then(|position| match row.slot(position) {
        Slot::One(Value::Boolean(enabled)) => Some(*enabled),
        _ => None,
    });
    if rename.is_none() && row.0.iter().all(Slot::is_unknown) {
        let is_off =
            compiled.enabling.is_some_and(|position| *written.slot(position) == Slot::One(Value::Boolean(false)));
        return Wanted::Nothing(if is_off { LinkState::Disabled } else { LinkState::Linked });
    }
    Wanted::Change(ChangeWanted { row, enabling, rename })
}

/// The new anchor, when a mapped anchor attribute's value is no longer the one of the linked object.
fn renamed(compiled: &Compiled, link: &LinkView, row: &Row) -> Result<Option<Key>, Box<Wanted>> {
    let (Some(positions), Some(present)) = (&compiled.anchor, &link.target_key) else { return Ok(None) };
    let mut values = Vec::with_capacity(positions.len());
    for position in positions {
        match row.slot(*position) {
            Slot::One(value) => values.push(value.clone()),
            // Mapped on create only: the anchor stays what it was.
            Slot::Unknown => return Ok(None),
            Slot::Null | Slot::Many(_) => {
                let name = compiled.columns.get(*position).map(|column| column.attribute.name.as_str());
                let message = "the key's value is empty".to_owned();
                return Err(Box::new(park(OperationKind::Rename, "required", name, message)));
            }
        }
    }
    let wanted = Key(values);
    if wanted.encode() == *present {
        return Ok(None);
    }
    if compiled.capabilities.can_rename {
        return Ok(Some(wanted));
    }
    let name = compiled.target.anchor.attributes.first().map(String::as_str);
    let message = format!("the key would have to change to {wanted}, which the target cannot do");
    Err(Box::new(park(OperationKind::Rename, "anchor_changed", name, message)))
}

/// The decision to park a link.
#[must_use]
pub fn park(kind: OperationKind, rule: &str, attribute: Option<&str>, message: String) -> Wanted {
    Wanted::Park(ParkReason {
        operation: None,
        kind,
        rule: rule.to_owned(),
        attribute: attribute.map(str::to_owned),
        message,
    })
}
