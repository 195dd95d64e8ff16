//! All users: generated ones by their slot, and what was changed about them since.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::Value;
use uuid::Uuid;

use super::identity::{Kind, object_id, slot_of};
use super::person::{self, Person};
use super::property::{Mask, RELATIONSHIP, UserProperty};
use crate::refusal::Refusal;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lifecycle {
    Live,
    /// In the recycle bin: can be restored, keeps its memberships.
    Deleted,
    Purged,
}

/// Everything was touched: created, deleted, restored or purged.
pub(crate) const WHOLE: Mask = Mask::MAX;

/// One line of the log from which delta rounds are made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UserEntry {
    pub(crate) slot: u32,
    pub(crate) changed: Mask,
    pub(crate) former_manager: Option<u32>,
}

#[derive(Debug)]
struct Change {
    generated: bool,
    lifecycle: Lifecycle,
    values: BTreeMap<UserProperty, Value>,
    manager: Option<Option<u32>>,
    /// Who the manager was when it was purged.
    lost_manager: Option<u32>,
}

#[derive(Debug)]
pub(crate) struct Users {
    seed: u64,
    generated: u32,
    total: u32,
    changes: HashMap<u32, Change>,
    principal_names: HashMap<String, u32>,
    /// Who was ever given a manager other than the generated one, by manager.
    appointed: HashMap<u32, BTreeSet<u32>>,
    recycle_bin: BTreeSet<u32>,
    purged: usize,
    pub(crate) log: Vec<UserEntry>,
}

impl Users {
    pub(crate) fn new(seed: u64, generated: u32) -> Self {
        Self {
            seed,
            generated,
            total: generated,
            changes: HashMap::new(),
            principal_names: HashMap::new(),
            appointed: HashMap::new(),
            recycle_bin: BTreeSet::new(),
            purged: 0,
            log: Vec::new(),
        }
    }

    pub(crate) fn total(&self) -> u32 {
        self.total
    }

    pub(crate) fn live_count(&self) -> usize {
        self.total as usize - self.recycle_bin.len() - self.purged
    }

    pub(crate) fn recycle_bin(&self) -> &BTreeSet<u32> {
        &self.recycle_bin
    }

    pub(crate) fn id(&self, slot: u32) -> Uuid {
        object_id(self.seed, Kind::User, slot)
    }

    /// The slot of an id that exists or existed.
    pub(crate) fn slot(&self, id: &str) -> Option<u32> {
        slot_of(self.seed, Kind::User, Uuid::try_parse(id).ok()?).filter(|&slot| slot < self.total)
    }

    pub(crate) fn lifecycle(&self, slot: u32) -> Lifecycle {
        self.changes.get(&slot).map_or(Lifecycle::Live, |change| change.lifecycle)
    }

    pub(crate) fn is_live(&self, slot: u32) -> bool {
        slot < self.total && self.lifecycle(slot) == Lifecycle::Live
    }

    /// The live user with this id or principal name.
    pub(crate) fn find(&self, key: &str) -> Option<u32> {
        self.slot(key).or_else(|| self.with_principal_name(key)).filter(|&slot| self.is_live(slot))
    }

    pub(crate) fn with_principal_name(&self, name: &str) -> Option<u32> {
        let lower = name.to_lowercase();
        if let Some(&slot) = self.principal_names.get(&lower) {
            return Some(slot).filter(|&slot| self.is_live(slot));
        }
        let slot = person::slot_of_address(&lower).filter(|&slot| self.is_live(slot))?;
        (self.text(slot, UserProperty::UserPrincipalName)?.to_lowercase() == lower).then_some(slot)
    }

    /// The users about whom anything was changed or who came later.
    pub(crate) fn changed(&self) -> impl Iterator<Item = u32> {
        self.changes.keys().copied()
    }

    fn person(&self, slot: u32) -> Option<Person> {
        let generated = slot < self.generated || self.changes.get(&slot).is_some_and(|change| change.generated);
        generated.then(|| Person::new(self.seed, slot))
    }

    /// A reader of one user's properties; computes what they share only once.
    pub(crate) fn reader(&self, slot: u32) -> Reader<'_> {
        Reader { person: self.person(slot), values: self.changes.get(&slot).map(|change| &change.values) }
    }

    pub(crate) fn value(&self, slot: u32, property: UserProperty) -> Option<Value> {
        let mut json = Vec::new();
        self.reader(slot).write(property, &mut json).then(|| serde_json::from_slice(&json).unwrap_or(Value::Null))
    }

    pub(crate) fn text(&self, slot: u32, property: UserProperty) -> Option<String> {
        match self.value(slot, property) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// Who the user reports to; somebody in the recycle bin still counts, somebody purged does not.
    pub(crate) fn manager(&self, slot: u32) -> Option<u32> {
        let own = match self.changes.get(&slot) {
            Some(Change { manager: Some(manager), .. }) => *manager,
            _ => self.person(slot).and_then(|_| person::manager_slot(slot)),
        };
        own.filter(|&manager| self.lifecycle(manager) != Lifecycle::Purged)
    }

    fn change(&mut self, slot: u32) -> &mut Change {
        self.changes.entry(slot).or_insert_with(|| Change {
            generated: false,
            lifecycle: Lifecycle::Live,
            values: BTreeMap::new(),
            manager: None,
            lost_manager: None,
        })
    }

    fn record(&mut self, slot: u32, changed: Mask, former_manager: Option<u32>) {
        self.log.push(UserEntry { slot, changed, former_manager });
    }

    fn refuse_taken_name(&self, values: &[(UserProperty, Value)], own: Option<u32>) -> Result<(), Refusal> {
        let name = values.iter().find(|(property, _)| *property == UserProperty::UserPrincipalName);
        let Some((_, Value::String(name))) = name else { return Ok(()) };
        match self.with_principal_name(name) {
            Some(slot) if Some(slot) != own => Err(Refusal::conflict("userPrincipalName")),
            _ => Ok(()),
        }
    }

    pub(crate) fn create(&mut self, values: Vec<(UserProperty, Value)>) -> Result<u32, Refusal> {
        self.refuse_taken_name(&values, None)?;
        let slot = self.next_slot();
        self.store(slot, values);
        self.record(slot, WHOLE, None);
        Ok(slot)
    }

    /// A joiner as the seed has it.
    pub(crate) fn generate(&mut self) -> u32 {
        let slot = self.next_slot();
        self.change(slot).generated = true;
        self.record(slot, WHOLE, None);
        slot
    }

    fn next_slot(&mut self) -> u32 {
        let slot = self.total;
        self.total += 1;
        slot
    }

    fn store(&mut self, slot: u32, values: Vec<(UserProperty, Value)>) {
        for (property, value) in values {
            if property == UserProperty::UserPrincipalName {
                if let Some(old) = self.text(slot, property) {
                    self.principal_names.remove(&old.to_lowercase());
                }
                if let Value::String(name) = &value {
                    self.principal_names.insert(name.to_lowercase(), slot);
                }
            }
            self.change(slot).values.insert(property, value);
        }
    }

    /// Writes only what differs, so that a repeated update is no change.
    pub(crate) fn patch(&mut self, slot: u32, values: Vec<(UserProperty, Value)>) -> Result<(), Refusal> {
        self.refuse_taken_name(&values, Some(slot))?;
        let different: Vec<_> = values
            .into_iter()
            .filter(|(property, value)| match self.value(slot, *property) {
                None => !value.is_null(),
                Some(old) => old != *value,
            })
            .collect();
        let changed = different.iter().fold(0, |mask, (property, _)| mask | property.bit());
        if changed != 0 {
            self.store(slot, different);
            self.record(slot, changed, None);
        }
        Ok(())
    }

    pub(crate) fn set_manager(&mut self, slot: u32, manager: Option<u32>) {
        let former = self.manager(slot);
        if former != manager {
            self.change(slot).manager = Some(manager);
            if let Some(manager) = manager {
                self.appointed.entry(manager).or_default().insert(slot);
            }
            self.record(slot, RELATIONSHIP, former);
        }
    }

    pub(crate) fn delete(&mut self, slot: u32, now: String) {
        let change = self.change(slot);
        change.lifecycle = Lifecycle::Deleted;
        change.values.insert(UserProperty::DeletedDateTime, Value::String(now));
        self.recycle_bin.insert(slot);
        self.record(slot, WHOLE, None);
    }

    pub(crate) fn restore(&mut self, slot: u32) -> Result<(), Refusal> {
        if let Some(name) = self.text(slot, UserProperty::UserPrincipalName)
            && self.with_principal_name(&name).is_some()
        {
            return Err(Refusal::conflict("userPrincipalName"));
        }
        let change = self.change(slot);
        change.lifecycle = Lifecycle::Live;
        change.values.remove(&UserProperty::DeletedDateTime);
        // A manager purged meanwhile went unnoticed: of deleted users only the deletion is told.
        let lost = change.lost_manager;
        self.recycle_bin.remove(&slot);
        self.record(slot, WHOLE, lost);
        Ok(())
    }

    /// Ends the user for good and takes it from those who reported to it.
    pub(crate) fn purge(&mut self, slot: u32) {
        let reports: Vec<u32> = person::report_slots(slot)
            .chain(self.appointed.remove(&slot).unwrap_or_default())
            .filter(|&report| report < self.total && self.manager(report) == Some(slot))
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect();
        let name = self.text(slot, UserProperty::UserPrincipalName).map(|name| name.to_lowercase());
        if let Some(name) = name
            && self.principal_names.get(&name) == Some(&slot)
        {
            self.principal_names.remove(&name);
        }
        let change = self.change(slot);
        change.lifecycle = Lifecycle::Purged;
        change.values.clear();
        self.recycle_bin.remove(&slot);
        self.purged += 1;
        self.record(slot, WHOLE, None);
        for report in reports {
            let change = self.change(report);
            change.manager = Some(None);
            change.lost_manager = Some(slot);
            self.record(report, RELATIONSHIP, Some(slot));
        }
    }
}

/// Reads properties of one user.
pub(crate) struct Reader<'a> {
    person: Option<Person>,
    values: Option<&'a BTreeMap<UserProperty, Value>>,
}

impl Reader<'_> {
    /// Appends the property's JSON value; `false` (and nothing appended) when it was never set. A value that was
    /// cleared is `null`: Graph tells the two apart.
    pub(crate) fn write(&self, property: UserProperty, out: &mut Vec<u8>) -> bool {
        if let Some(value) = self.values.and_then(|values| values.get(&property)) {
            out.extend_from_slice(value.to_string().as_bytes());
            return true;
        }
        self.person.as_ref().is_some_and(|person| person.write(property, out))
    }
}
