//! One run of the job: match, scope, write, and only then managers, who may come later in the same run.
//!
//! Sources: <https://learn.microsoft.com/entra/identity/app-provisioning/inbound-provisioning-api-concepts>,
//! <https://learn.microsoft.com/entra/identity/app-provisioning/inbound-provisioning-api-issues>. Codes that Microsoft
//! does not document are the sandbox's own; docs/sandbox.md says which.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use super::bulk::Record;
use super::log::{Action, Delays, LogEntry, Verdict};
use super::mapping;
use crate::directory::person;
use crate::directory::property::UserProperty;
use crate::directory::tenant::Tenant;
use crate::refusal::Refusal;
use crate::state::Shared;

const MAPPING_HELP: &str =
    "Correct the value at the source, or the attribute mapping of the application, and send the user again.";

pub(super) struct Run<'a> {
    pub(super) shared: &'a Shared,
    /// In milliseconds since 1970.
    pub(super) begins: u64,
    pub(super) number: u64,
    pub(super) delays: Delays,
}

/// Who has which `employeeId`, the attribute that `externalId` is matched with.
struct Directory {
    changed: HashMap<String, Vec<u32>>,
}

impl Directory {
    fn new(tenant: &Tenant) -> Self {
        let mut changed: HashMap<String, Vec<u32>> = HashMap::new();
        for slot in tenant.users.changed().filter(|&slot| tenant.users.is_live(slot)) {
            if let Some(number) = tenant.users.text(slot, UserProperty::EmployeeId) {
                changed.entry(number).or_default().push(slot);
            }
        }
        Self { changed }
    }

    fn find(&self, tenant: &Tenant, external_id: &str) -> Vec<u32> {
        let mut found = self.changed.get(external_id).cloned().unwrap_or_default();
        let has = |&slot: &u32| {
            tenant.users.is_live(slot)
                && tenant.users.text(slot, UserProperty::EmployeeId).as_deref() == Some(external_id)
        };
        found.retain(has);
        // The numbers of generated people are computed, and stand in no list.
        if let Some(slot) = person::slot_of_employee_id(external_id).filter(has)
            && !found.contains(&slot)
        {
            found.push(slot);
        }
        found
    }

    fn add(&mut self, external_id: &str, slot: u32) {
        self.changed.entry(external_id.to_owned()).or_default().push(slot);
    }
}

/// What writing one person came to, before managers are looked at.
struct Written {
    slot: Option<u32>,
    action: Action,
    verdict: Verdict,
    modified: Vec<(String, Option<String>, Option<String>)>,
}

impl Run<'_> {
    /// Brings the people into the directory, in the order in which they came.
    pub(super) fn work(&self, tenant: &mut Tenant, records: Vec<Record>) -> Vec<LogEntry> {
        let mut directory = Directory::new(tenant);
        let mut written: Vec<Written> =
            records.iter().map(|record| self.write(tenant, &mut directory, record)).collect();
        for (record, outcome) in records.iter().zip(&mut written) {
            self.appoint(tenant, &directory, record, outcome);
        }
        let first = self.number.saturating_mul(1 << 32);
        let entry = |(place, (record, outcome)): (usize, (Record, Written))| {
            // People are worked on one after the other, a few a millisecond.
            let at = self.begins + place as u64 / 8;
            let display_name = record.data.get("displayName").and_then(Value::as_str).unwrap_or_default().to_owned();
            LogEntry {
                at,
                visible_at: at.saturating_add(self.delays.log.saturating_mul(1_000)),
                number: first + place as u64,
                run: self.number,
                action: outcome.action,
                verdict: outcome.verdict,
                external_id: record.external_id,
                display_name,
                target: outcome.slot.map(|slot| {
                    let name = tenant.users.text(slot, UserProperty::UserPrincipalName).unwrap_or_default();
                    (tenant.users.id(slot).to_string(), name)
                }),
                modified: outcome.modified,
            }
        };
        records.into_iter().zip(written).enumerate().map(entry).collect()
    }

    fn write(&self, tenant: &mut Tenant, directory: &mut Directory, record: &Record) -> Written {
        let decided = |slot, verdict| Written { slot, action: Action::Other, verdict, modified: Vec::new() };
        let wanted = mapping::properties(record);
        let department = wanted.iter().find(|(name, _)| *name == "department").and_then(|(_, value)| value.clone());
        let outside = &self.shared.options.inbound.departments_out_of_scope;
        if let Some(Value::String(department)) = department
            && outside.contains(&department)
        {
            let description = format!("The department '{department}' is excluded by a scoping filter");
            return decided(None, Verdict::Skipped { reason: "NotEffectivelyEntitled", step: "scoping", description });
        }
        match directory.find(tenant, &record.external_id).as_slice() {
            [] => self.create(tenant, directory, record, wanted),
            [slot] => self.update(tenant, *slot, record, wanted),
            _ => decided(
                None,
                Verdict::Failure {
                    code: "DuplicateTargetEntries",
                    step: "matching",
                    reason: format!("More than one user has the employeeId '{}'.", record.external_id),
                    recommended: "Make employeeId unique in the directory.",
                },
            ),
        }
    }

    fn create(
        &self,
        tenant: &mut Tenant,
        directory: &mut Directory,
        record: &Record,
        wanted: mapping::Mapped,
    ) -> Written {
        let mut body: Map<String, Value> =
            wanted.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
        for (name, value) in mapping::extensions(record, &self.shared.options.inbound.extensions) {
            body.extend(value.map(|value| (name.to_owned(), value)));
        }
        let principal_name = body.get("userPrincipalName").and_then(Value::as_str).unwrap_or_default();
        let nickname = principal_name.split('@').next().unwrap_or_default().to_owned();
        let display_name = [body.get("givenName"), body.get("surname")].into_iter().flatten().filter_map(Value::as_str);
        let display_name = display_name.collect::<Vec<_>>().join(" ");
        let name = if display_name.is_empty() { nickname.clone() } else { display_name };
        body.entry("displayName").or_insert_with(|| name.into());
        body.entry("accountEnabled").or_insert(Value::Bool(true));
        body.insert("mailNickname".to_owned(), nickname.into());
        body.insert("employeeId".to_owned(), record.external_id.as_str().into());
        // The service makes one that nobody learns.
        body.insert("passwordProfile".to_owned(), json!({"password": format!("Aa1!{}", uuid::Uuid::new_v4())}));
        let modified = body.iter().filter(|(name, _)| *name != "passwordProfile");
        let modified = modified.map(|(name, value)| (name.clone(), None, Some(shown(value)))).collect();
        match tenant.create_user(&body, crate::clock::timestamp_of(self.begins)) {
            Ok(slot) => {
                directory.add(&record.external_id, slot);
                Written { slot: Some(slot), action: Action::Create, verdict: Verdict::Success, modified }
            }
            Err(refusal) => {
                let verdict = refused(&refusal, &body);
                Written { slot: None, action: Action::Create, verdict, modified: Vec::new() }
            }
        }
    }

    fn update(&self, tenant: &mut Tenant, slot: u32, record: &Record, wanted: mapping::Mapped) -> Written {
        let options = &self.shared.options.inbound;
        let extensions = mapping::extensions(record, &options.extensions);
        let mut body = Map::new();
        let mut modified = Vec::new();
        for (name, value) in wanted.into_iter().chain(extensions) {
            let Some(property) = UserProperty::named(name) else { continue };
            let old = tenant.users.value(slot, property).filter(|old| !old.is_null());
            // What never flows empty: the directory wants these.
            let kept = ["userPrincipalName", "displayName", "accountEnabled"].contains(&name);
            let new = match value {
                Some(value) => value,
                None if !options.flow_nulls || kept || old.is_none() => continue,
                None if name == "businessPhones" => json!([]),
                None => Value::Null,
            };
            if old.as_ref() == Some(&new) {
                continue;
            }
            modified.push((name.to_owned(), old.as_ref().map(shown), (!new.is_null()).then(|| shown(&new))));
            body.insert(name.to_owned(), new);
        }
        let disables = body.get("accountEnabled") == Some(&Value::Bool(false));
        let action = if disables { Action::Disable } else { Action::Update };
        if body.is_empty() {
            return Written { slot: Some(slot), action: Action::Other, verdict: redundant(), modified };
        }
        match tenant.patch_user(slot, &body) {
            Ok(()) => Written { slot: Some(slot), action, verdict: Verdict::Success, modified },
            Err(refusal) => {
                Written { slot: Some(slot), action, verdict: refused(&refusal, &body), modified: Vec::new() }
            }
        }
    }

    /// Gives a person the manager, now that everybody of the run is there.
    fn appoint(&self, tenant: &mut Tenant, directory: &Directory, record: &Record, written: &mut Written) {
        let settled = matches!(written.verdict, Verdict::Success) || written.verdict == redundant();
        let Some(slot) = written.slot.filter(|_| settled) else { return };
        let old = tenant.users.manager(slot);
        let Some(wanted) = mapping::manager(record) else {
            if self.shared.options.inbound.flow_nulls && old.is_some() {
                // Taking a manager away cannot be refused.
                drop(tenant.set_manager(slot, None));
                note_manager(tenant, written, old, None);
            }
            return;
        };
        let manager = match directory.find(tenant, &wanted).as_slice() {
            [manager] => *manager,
            _ => {
                written.verdict = unresolved(&wanted);
                return;
            }
        };
        if old == Some(manager) {
            return;
        }
        match tenant.set_manager(slot, Some(manager)) {
            Ok(()) => note_manager(tenant, written, old, Some(manager)),
            Err(_) => written.verdict = unresolved(&wanted),
        }
    }
}

fn note_manager(tenant: &Tenant, written: &mut Written, old: Option<u32>, new: Option<u32>) {
    let id = |slot: u32| tenant.users.id(slot).to_string();
    written.modified.push(("manager".to_owned(), old.map(id), new.map(id)));
    if written.verdict == redundant() {
        written.verdict = Verdict::Success;
        written.action = Action::Update;
    }
}

fn redundant() -> Verdict {
    let description = "The state of the entry in both the source and target systems already match. No change to the \
                       entry currently needs to be made."
        .to_owned();
    Verdict::Skipped { reason: "RedundantExport", step: "export", description }
}

fn unresolved(manager: &str) -> Verdict {
    Verdict::Failure {
        code: "UnresolvedReference",
        step: "referenceResolution",
        reason: format!("The manager '{manager}' cannot be resolved: no user has that employeeId."),
        recommended: "Send the manager too, or correct the manager's externalId at the source.",
    }
}

/// A refusal of the directory in the words of the provisioning service.
fn refused(refusal: &Refusal, body: &Map<String, Value>) -> Verdict {
    let name = body.get("userPrincipalName").and_then(Value::as_str).unwrap_or_default();
    let (code, reason, recommended) = if refusal.message.contains("domain portion") {
        let domain = name.rsplit_once('@').map_or("", |(_, domain)| domain);
        (
            "AzureActiveDirectoryInvalidUserPrincipalName",
            format!("The userPrincipalName '{name}' cannot be set: domain does not exist ('{domain}')."),
            "Add and verify the domain, or map userPrincipalName to a domain of the tenant, such as DefaultDomain().",
        )
    } else if refusal.message.contains("userPrincipalName") {
        (
            "AzureActiveDirectoryInvalidUserPrincipalName",
            format!("The userPrincipalName '{name}' cannot be set: {}", refusal.message),
            "Make userPrincipalName unique, for instance with RandomString in its mapping.",
        )
    } else {
        ("AzureActiveDirectoryInvalidValue", refusal.message.clone(), MAPPING_HELP)
    };
    Verdict::Failure { code, step: "export", reason, recommended }
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
