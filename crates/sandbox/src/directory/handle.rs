//! The handle by which tests and demonstrations in the same process change and read the directory.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::groups::Member;
use super::property::UserProperty;
use super::tenant::Tenant;
use super::{churn, entity, person};
use crate::provisioning;
use crate::refusal::Refusal;
use crate::state::Shared;

/// A cloneable handle on the directory of a running sandbox.
///
/// Changes made here appear in delta rounds exactly as those made over HTTP. Bodies are what Graph takes;
/// users are named by id or principal name, groups by id.
#[derive(Debug, Clone)]
pub struct Directory {
    shared: Arc<Shared>,
}

impl Directory {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    fn read<T>(&self, look: impl FnOnce(&Tenant) -> T) -> T {
        provisioning::catch_up(&self.shared);
        look(&self.shared.tenant())
    }

    fn write<T>(&self, change: impl FnOnce(&mut Tenant) -> T) -> T {
        provisioning::catch_up(&self.shared);
        change(&mut self.shared.tenant_mut())
    }

    /// Creates a user from a body as `POST /users` takes it; returns the id.
    ///
    /// # Errors
    /// The body is refused as Graph refuses it.
    pub fn create_user(&self, body: &Value) -> Result<String, Refusal> {
        let (body, now) = (object(body)?, self.shared.clock.timestamp());
        self.write(|tenant| tenant.create_user(body, now).map(|slot| tenant.users.id(slot).to_string()))
    }

    /// Adds the next person the seed has; returns the id.
    pub fn join(&self) -> String {
        self.write(|tenant| {
            let slot = tenant.users.generate();
            tenant.users.id(slot).to_string()
        })
    }

    /// Changes properties as `PATCH /users/{key}` does.
    ///
    /// # Errors
    /// There is no such user, or the body is refused as Graph refuses it.
    pub fn patch_user(&self, key: &str, body: &Value) -> Result<(), Refusal> {
        let body = object(body)?;
        self.write(|tenant| tenant.live_user(key).and_then(|slot| tenant.patch_user(slot, body)))
    }

    /// Moves a user to the recycle bin.
    ///
    /// # Errors
    /// There is no such user.
    pub fn delete_user(&self, key: &str) -> Result<(), Refusal> {
        let now = self.shared.clock.timestamp();
        self.write(|tenant| tenant.live_user(key).map(|slot| tenant.users.delete(slot, now)))
    }

    /// Brings a user back from the recycle bin.
    ///
    /// # Errors
    /// There is no such user in the bin, or its principal name was given to somebody else.
    pub fn restore_user(&self, id: &str) -> Result<(), Refusal> {
        self.write(|tenant| tenant.deleted_user(id).and_then(|slot| tenant.users.restore(slot)))
    }

    /// Deletes a user of the recycle bin for good.
    ///
    /// # Errors
    /// There is no such user in the bin.
    pub fn purge_user(&self, id: &str) -> Result<(), Refusal> {
        self.write(|tenant| tenant.deleted_user(id).map(|slot| tenant.purge_user(slot)))
    }

    /// Sets or takes away a user's manager.
    ///
    /// # Errors
    /// One of the two does not exist.
    pub fn set_manager(&self, key: &str, manager: Option<&str>) -> Result<(), Refusal> {
        self.write(|tenant| {
            let slot = tenant.live_user(key)?;
            let manager = manager.map(|manager| tenant.live_user(manager)).transpose()?;
            tenant.set_manager(slot, manager)
        })
    }

    /// Creates a group from a body as `POST /groups` takes it; returns the id.
    ///
    /// # Errors
    /// The body is refused as Graph refuses it.
    pub fn create_group(&self, body: &Value) -> Result<String, Refusal> {
        let (body, now) = (object(body)?, self.shared.clock.timestamp());
        self.write(|tenant| tenant.create_group(body, now).map(|slot| tenant.groups.id(slot).to_string()))
    }

    /// Changes properties as `PATCH /groups/{id}` does.
    ///
    /// # Errors
    /// There is no such group, or the body is refused as Graph refuses it.
    pub fn patch_group(&self, id: &str, body: &Value) -> Result<(), Refusal> {
        let body = object(body)?;
        self.write(|tenant| tenant.live_group(id).and_then(|slot| tenant.patch_group(slot, body)))
    }

    /// Deletes a group: Microsoft 365 groups go to the recycle bin, others are gone.
    ///
    /// # Errors
    /// There is no such group.
    pub fn delete_group(&self, id: &str) -> Result<(), Refusal> {
        self.write(|tenant| tenant.live_group(id).map(|slot| tenant.delete_group(slot)))
    }

    /// Makes a user or group a member.
    ///
    /// # Errors
    /// One of the two does not exist, or it is a member already.
    pub fn add_member(&self, group: &str, member: &str) -> Result<(), Refusal> {
        self.write(|tenant| {
            let (group, member) = (tenant.live_group(group)?, tenant.live_member(member)?);
            tenant.add_member(group, member)
        })
    }

    /// Ends a membership.
    ///
    /// # Errors
    /// One of the two does not exist, or there is no such membership.
    pub fn remove_member(&self, group: &str, member: &str) -> Result<(), Refusal> {
        self.write(|tenant| {
            let (group, member) = (tenant.live_group(group)?, tenant.live_member(member)?);
            tenant.remove_member(group, member)
        })
    }

    /// Adds an enterprise application with app roles; returns its id.
    pub fn add_application(&self, name: &str, roles: &[&str]) -> String {
        self.write(|tenant| tenant.applications.add(name, roles).to_string())
    }

    /// Removes an enterprise application; false where there is none.
    pub fn remove_application(&self, application: &str) -> bool {
        let id = uuid::Uuid::try_parse(application);
        id.is_ok_and(|id| self.write(|tenant| tenant.applications.remove(id)))
    }

    /// Assigns a user or group to an enterprise application, with one of its roles or without any.
    ///
    /// # Errors
    /// One of them does not exist, or the assignment does already.
    pub fn assign(&self, application: &str, role: Option<&str>, principal: &str) -> Result<(), Refusal> {
        self.assignment(application, principal, |tenant, id, member| tenant.applications.assign(id, role, member))
    }

    /// Ends an assignment.
    ///
    /// # Errors
    /// There is no such assignment.
    pub fn unassign(&self, application: &str, role: Option<&str>, principal: &str) -> Result<(), Refusal> {
        self.assignment(application, principal, |tenant, id, member| tenant.applications.unassign(id, role, member))
    }

    fn assignment(
        &self,
        application: &str,
        principal: &str,
        change: impl FnOnce(&mut Tenant, uuid::Uuid, Member) -> bool,
    ) -> Result<(), Refusal> {
        self.write(|tenant| {
            let id = tenant.applications.find(application).map(|found| found.id);
            let id = id.ok_or_else(|| Refusal::not_found(application))?;
            let member = tenant.live_member(principal)?;
            if change(tenant, id, member) {
                return Ok(());
            }
            Err(Refusal::bad_request("Permission being assigned already exists on the object, or there is none."))
        })
    }

    /// The enterprise applications: id and name.
    pub fn applications(&self) -> Vec<(String, String)> {
        self.read(|tenant| {
            let all = tenant.applications.all().iter();
            all.map(|application| (application.id.to_string(), application.name.clone())).collect()
        })
    }

    /// Makes that many changes of the seed's own sequence of joiners, movers, leavers and so on.
    pub fn churn(&self, changes: usize) {
        let now = self.shared.clock.timestamp();
        self.write(|tenant| (0..changes).for_each(|_| churn::step(tenant, &now)));
    }

    /// One live user by id or principal name, with all its properties (unset ones are null).
    pub fn user(&self, key: &str) -> Option<Value> {
        self.read(|tenant| tenant.users.find(key).map(|slot| entity::user_value(tenant, slot)))
    }

    /// All live users with all their properties. Meant for small tenants.
    pub fn users(&self) -> Vec<Value> {
        self.read(|tenant| live_users(tenant).map(|slot| entity::user_value(tenant, slot)).collect())
    }

    /// The ids of all live users.
    pub fn user_ids(&self) -> Vec<String> {
        self.read(|tenant| live_users(tenant).map(|slot| tenant.users.id(slot).to_string()).collect())
    }

    /// How many users are live.
    pub fn user_count(&self) -> usize {
        self.read(|tenant| tenant.users.live_count())
    }

    /// The id of the live user with this employee number.
    pub fn id_by_employee_id(&self, employee_id: &str) -> Option<String> {
        self.read(|tenant| {
            let has = |slot: &u32| {
                tenant.users.is_live(*slot)
                    && tenant.users.text(*slot, UserProperty::EmployeeId).as_deref() == Some(employee_id)
            };
            let guess = person::slot_of_employee_id(employee_id).filter(has);
            guess.or_else(|| live_users(tenant).find(has)).map(|slot| tenant.users.id(slot).to_string())
        })
    }

    /// The id of a user's manager.
    pub fn manager(&self, key: &str) -> Option<String> {
        self.read(|tenant| {
            let manager = tenant.users.manager(tenant.users.find(key)?)?;
            Some(tenant.users.id(manager).to_string())
        })
    }

    /// The ids of the users in the recycle bin.
    pub fn deleted_user_ids(&self) -> Vec<String> {
        self.read(|tenant| tenant.users.recycle_bin().iter().map(|&slot| tenant.users.id(slot).to_string()).collect())
    }

    /// All live groups with all their properties.
    pub fn groups(&self) -> Vec<Value> {
        self.read(|tenant| tenant.groups.live().map(|slot| entity::group_value(tenant, slot)).collect())
    }

    /// The ids of a live group's direct members, those in the recycle bin included.
    pub fn members(&self, group: &str) -> Option<Vec<String>> {
        self.read(|tenant| {
            let group = tenant.groups.get(tenant.groups.find(group)?)?;
            Some(group.members().map(|member| tenant.member_id(member)).collect())
        })
    }

    /// What inbound provisioning holds and has counted, as `GET /sandbox/state` shows it under `inbound`.
    pub fn inbound(&self) -> Value {
        provisioning::catch_up(&self.shared);
        self.shared.provisioning().state()
    }

    /// How often each path was asked for; ids in paths are replaced by `{id}`.
    pub fn requests(&self) -> BTreeMap<String, u64> {
        self.shared.traffic().requests()
    }

    /// What a client did that Graph's rules forbid, such as calling before a `Retry-After` had passed.
    pub fn violations(&self) -> Vec<String> {
        self.shared.traffic().violations()
    }
}

fn live_users(tenant: &Tenant) -> impl Iterator<Item = u32> {
    (0..tenant.users.total()).filter(|&slot| tenant.users.is_live(slot))
}

fn object(body: &Value) -> Result<&Map<String, Value>, Refusal> {
    body.as_object().ok_or_else(|| Refusal::bad_request("Empty Payload. JSON content expected."))
}
