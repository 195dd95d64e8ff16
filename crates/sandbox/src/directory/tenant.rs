//! The whole directory: what touches users and groups together.

use serde_json::{Map, Value};

use super::applications::Applications;
use super::groups::{Groups, Member};
use super::property::{GroupProperty, UserProperty};
use super::users::{Lifecycle, Users};
use super::validation;
use crate::refusal::Refusal;

#[derive(Debug)]
pub(crate) struct Tenant {
    pub(crate) seed: u64,
    pub(crate) users: Users,
    pub(crate) groups: Groups,
    pub(crate) applications: Applications,
    /// How many changes churn has made; the next one is drawn with this number.
    pub(crate) churned: u64,
}

impl Tenant {
    pub(crate) fn new(seed: u64, users: u32, groups: u32) -> Self {
        Self {
            seed,
            users: Users::new(seed, users),
            groups: Groups::new(seed, groups, users),
            applications: Applications::new(seed, users, groups),
            churned: 0,
        }
    }

    pub(crate) fn live_user(&self, key: &str) -> Result<u32, Refusal> {
        self.users.find(key).ok_or_else(|| Refusal::not_found(key))
    }

    pub(crate) fn live_group(&self, key: &str) -> Result<u32, Refusal> {
        self.groups.find(key).ok_or_else(|| Refusal::not_found(key))
    }

    pub(crate) fn live_member(&self, id: &str) -> Result<Member, Refusal> {
        let user = self.users.slot(id).filter(|&slot| self.users.is_live(slot)).map(Member::User);
        user.or_else(|| self.groups.find(id).map(Member::Group)).ok_or_else(|| Refusal::not_found(id))
    }

    pub(crate) fn deleted_user(&self, id: &str) -> Result<u32, Refusal> {
        let slot = self.users.slot(id).filter(|&slot| self.users.lifecycle(slot) == Lifecycle::Deleted);
        slot.ok_or_else(|| Refusal::not_found(id))
    }

    pub(crate) fn deleted_group(&self, id: &str) -> Result<u32, Refusal> {
        let deleted = |slot: &u32| self.groups.get(*slot).is_some_and(|group| group.lifecycle == Lifecycle::Deleted);
        self.groups.slot(id).filter(deleted).ok_or_else(|| Refusal::not_found(id))
    }

    pub(crate) fn member_id(&self, member: Member) -> String {
        match member {
            Member::User(slot) => self.users.id(slot).to_string(),
            Member::Group(slot) => self.groups.id(slot).to_string(),
        }
    }

    pub(crate) fn is_live(&self, member: Member) -> bool {
        match member {
            Member::User(slot) => self.users.is_live(slot),
            Member::Group(slot) => self.groups.is_live(slot),
        }
    }

    pub(crate) fn create_user(&mut self, body: &Map<String, Value>, now: String) -> Result<u32, Refusal> {
        let mut values = validation::user_values(body, true)?;
        values.push((UserProperty::CreatedDateTime, Value::String(now)));
        self.users.create(values)
    }

    pub(crate) fn patch_user(&mut self, slot: u32, body: &Map<String, Value>) -> Result<(), Refusal> {
        let mut values = validation::user_values(body, false)?;
        for (property, value) in &mut values {
            self.merge_object(slot, *property, value);
        }
        self.users.patch(slot, values)
    }

    /// A PATCH of a complex value touches only the members it names.
    fn merge_object(&self, slot: u32, property: UserProperty, value: &mut Value) {
        if let (Value::Object(new), Some(Value::Object(mut merged))) = (&*value, self.users.value(slot, property)) {
            merged.extend(new.clone());
            *value = Value::Object(merged);
        }
    }

    pub(crate) fn purge_user(&mut self, slot: u32) {
        self.users.purge(slot);
        self.groups.forget(Member::User(slot));
        self.applications.forget(Member::User(slot));
    }

    pub(crate) fn set_manager(&mut self, slot: u32, manager: Option<u32>) -> Result<(), Refusal> {
        if manager == Some(slot) {
            return Err(Refusal::bad_request("A user cannot be their own manager."));
        }
        self.users.set_manager(slot, manager);
        Ok(())
    }

    pub(crate) fn create_group(&mut self, body: &Map<String, Value>, now: String) -> Result<u32, Refusal> {
        let mut values = validation::group_values(body, true)?;
        values.push((GroupProperty::CreatedDateTime, Value::String(now)));
        Ok(self.groups.create(values))
    }

    pub(crate) fn patch_group(&mut self, slot: u32, body: &Map<String, Value>) -> Result<(), Refusal> {
        self.groups.patch(slot, validation::group_values(body, false)?);
        Ok(())
    }

    pub(crate) fn delete_group(&mut self, slot: u32) {
        let unified = self.groups.get(slot).is_some_and(super::groups::Group::is_unified);
        if unified {
            self.groups.set_lifecycle(slot, Lifecycle::Deleted);
        } else {
            self.purge_group(slot);
        }
    }

    pub(crate) fn purge_group(&mut self, slot: u32) {
        self.groups.set_lifecycle(slot, Lifecycle::Purged);
        self.groups.forget(Member::Group(slot));
        self.applications.forget(Member::Group(slot));
    }

    pub(crate) fn add_member(&mut self, group: u32, member: Member) -> Result<(), Refusal> {
        self.refuse_as_member(group, member)?;
        self.groups.add_member(group, member);
        Ok(())
    }

    /// Why an object cannot become a member.
    pub(crate) fn refuse_as_member(&self, group: u32, member: Member) -> Result<(), Refusal> {
        if member == Member::Group(group) {
            return Err(Refusal::bad_request("A group cannot be a member of itself."));
        }
        match self.groups.get(group).is_some_and(|group| group.contains(member)) {
            true => Err(Refusal::bad_request(
                "One or more added object references already exist for the following modified properties: 'members'.",
            )),
            false => Ok(()),
        }
    }

    pub(crate) fn remove_member(&mut self, group: u32, member: Member) -> Result<(), Refusal> {
        let removed = self.groups.remove_member(group, member);
        if removed { Ok(()) } else { Err(Refusal::not_found(&self.member_id(member))) }
    }
}
