//! Enterprise applications, their roles, and who is assigned to them (Microsoft Graph: servicePrincipal,
//! appRoleAssignment).

use uuid::Uuid;

use super::groups::Member;
use crate::random::draw;

/// The role of whoever is assigned without any (Microsoft Graph: appRoleAssignment, `appRoleId`).
pub(crate) const DEFAULT_ROLE: Uuid = Uuid::nil();

#[derive(Debug, Clone)]
pub(crate) struct Role {
    pub(crate) id: Uuid,
    pub(crate) value: String,
}

#[derive(Debug, Clone)]
pub(crate) struct Assignment {
    pub(crate) id: Uuid,
    pub(crate) role: Uuid,
    pub(crate) member: Member,
}

#[derive(Debug, Clone)]
pub(crate) struct Application {
    pub(crate) id: Uuid,
    pub(crate) app_id: Uuid,
    pub(crate) name: String,
    pub(crate) roles: Vec<Role>,
    /// In the order in which they were made.
    pub(crate) assigned: Vec<Assignment>,
}

#[derive(Debug)]
pub(crate) struct Applications {
    seed: u64,
    /// How many ids were given out.
    given: u64,
    all: Vec<Application>,
}

impl Applications {
    /// One application with roles, assigned to a few people and a group, and one for everybody.
    pub(crate) fn new(seed: u64, users: u32, groups: u32) -> Self {
        let mut applications = Self { seed, given: 0, all: Vec::new() };
        let payroll = applications.add("Payroll", &["Approver", "Clerk"]);
        let intranet = applications.add("Intranet", &[]);
        for slot in 0..users.min(3) {
            applications.assign(payroll, Some("Approver"), Member::User(slot));
        }
        if groups > 2 {
            applications.assign(payroll, Some("Clerk"), Member::Group(2));
            applications.assign(intranet, None, Member::Group(0));
        }
        applications
    }

    fn fresh(&mut self) -> Uuid {
        self.given += 1;
        let half = |stream| u128::from(draw(self.seed, stream, self.given));
        uuid::Builder::from_random_bytes(((half(0xa9_01) << 64) | half(0xa9_02)).to_be_bytes()).into_uuid()
    }

    pub(crate) fn all(&self) -> &[Application] {
        &self.all
    }

    pub(crate) fn find(&self, id: &str) -> Option<&Application> {
        self.position(Uuid::try_parse(id).ok()?).and_then(|position| self.all.get(position))
    }

    fn position(&self, id: Uuid) -> Option<usize> {
        self.all.iter().position(|application| application.id == id)
    }

    pub(crate) fn add(&mut self, name: &str, roles: &[&str]) -> Uuid {
        let (id, app_id) = (self.fresh(), self.fresh());
        let roles = roles.iter().map(|value| Role { id: self.fresh(), value: (*value).to_owned() }).collect();
        self.all.push(Application { id, app_id, name: name.to_owned(), roles, assigned: Vec::new() });
        id
    }

    pub(crate) fn remove(&mut self, id: Uuid) -> bool {
        let position = self.position(id);
        position.map(|position| self.all.remove(position)).is_some()
    }

    fn role(&self, id: Uuid, role: Option<&str>) -> Option<(usize, Uuid)> {
        let position = self.position(id)?;
        let roles = &self.all.get(position)?.roles;
        let role = match role {
            None => DEFAULT_ROLE,
            Some(value) => roles.iter().find(|role| role.value == value)?.id,
        };
        Some((position, role))
    }

    /// False where there is no such application or role, or the assignment is there already.
    pub(crate) fn assign(&mut self, id: Uuid, role: Option<&str>, member: Member) -> bool {
        let Some((position, role)) = self.role(id, role) else { return false };
        let id = self.fresh();
        let Some(application) = self.all.get_mut(position) else { return false };
        if application.assigned.iter().any(|known| known.role == role && known.member == member) {
            return false;
        }
        application.assigned.push(Assignment { id, role, member });
        true
    }

    /// False where there is no such assignment.
    pub(crate) fn unassign(&mut self, id: Uuid, role: Option<&str>, member: Member) -> bool {
        let Some((position, role)) = self.role(id, role) else { return false };
        let Some(application) = self.all.get_mut(position) else { return false };
        let before = application.assigned.len();
        application.assigned.retain(|known| known.role != role || known.member != member);
        application.assigned.len() < before
    }

    /// Ends the assignments of an object that is gone for good.
    pub(crate) fn forget(&mut self, member: Member) {
        for application in &mut self.all {
            application.assigned.retain(|known| known.member != member);
        }
    }
}
