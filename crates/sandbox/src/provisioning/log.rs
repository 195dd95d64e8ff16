//! The provisioning log: what became of each person, for readers who come later.
//!
//! Source: <https://learn.microsoft.com/graph/api/resources/provisioningobjectsummary>.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::clock;
use crate::random::draw;
use crate::state::Shared;

/// How long things take, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delays {
    /// From the first call that waits to the run that works on it.
    pub(crate) processing: u64,
    /// From the run to the moment at which its entries can be read.
    pub(crate) log: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Create,
    Update,
    Disable,
    Other,
}

impl Action {
    const fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Disable => "disable",
            Self::Other => "other",
        }
    }
}

/// What became of one person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Success,
    /// Nothing was done, and that is no failure.
    Skipped {
        reason: &'static str,
        step: &'static str,
        description: String,
    },
    Failure {
        code: &'static str,
        step: &'static str,
        reason: String,
        recommended: &'static str,
    },
}

/// One line of the log.
#[derive(Debug, Clone)]
pub(crate) struct LogEntry {
    /// When it happened, in milliseconds since 1970.
    pub(crate) at: u64,
    /// When readers see it.
    pub(crate) visible_at: u64,
    /// Its number, from which its ids are made.
    pub(crate) number: u64,
    pub(crate) run: u64,
    pub(crate) action: Action,
    pub(crate) verdict: Verdict,
    pub(crate) external_id: String,
    pub(crate) display_name: String,
    /// Id and principal name of the user, where there is one.
    pub(crate) target: Option<(String, String)>,
    /// Property, old value, new value.
    pub(crate) modified: Vec<(String, Option<String>, Option<String>)>,
}

impl LogEntry {
    /// As Graph shows it.
    pub(crate) fn json(&self, shared: &Shared) -> Value {
        let facts = &shared.facts;
        let id = |stream: u64, number: u64| {
            let bits = u128::from(draw(shared.options.seed, stream, number)) << 64
                | u128::from(draw(shared.options.seed, stream << 8, number));
            uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid().to_string()
        };
        let (status, information, step) = self.verdict.parts();
        let application = json!({"id": facts.service_principal, "displayName": super::APPLICATION});
        let target = self.target.as_ref().map_or_else(
            || json!({"id": "", "displayName": "", "identityType": "User", "details": {}}),
            |(id, name)| {
                json!({"id": id, "displayName": self.display_name, "identityType": "User", "details": {
                    "UserPrincipalName": name, "odatatype": "User",
                }})
            },
        );
        let modified = |(name, old, new): &(String, Option<String>, Option<String>)| json!({"displayName": name, "oldValue": old, "newValue": new});
        json!({
            "id": id(0xb0_01, self.number),
            "activityDateTime": clock::timestamp_with_millis(self.at),
            "tenantId": facts.tenant,
            "jobId": facts.job,
            "cycleId": id(0xb0_02, self.run),
            "changeId": id(0xb0_03, self.number),
            "provisioningAction": self.action.word(),
            "durationInMilliseconds": 100 + self.number % 900,
            "initiatedBy": {"id": "", "displayName": "Azure AD Provisioning Service", "initiatorType": "system"},
            "servicePrincipal": application,
            "sourceSystem": {"id": id(0xb0_04, 0), "displayName": "API", "details": {}},
            "targetSystem": {"id": id(0xb0_05, 0), "displayName": "Microsoft Entra ID", "details": {
                "ApplicationId": Uuid::nil().to_string(),
                "ServicePrincipalId": facts.service_principal,
                "ServicePrincipalDisplayName": super::APPLICATION,
            }},
            "sourceIdentity": {
                "id": self.external_id, "displayName": self.display_name, "identityType": "User",
                "details": {"externalId": self.external_id, "odatatype": "User"},
            },
            "targetIdentity": target,
            "provisioningStatusInfo": {"status": status, "errorInformation": information},
            "provisioningSteps": [
                {
                    "name": "EntryImport", "provisioningStepType": "import", "status": "success",
                    "description": format!("Received User '{}' change from API", self.external_id), "details": {},
                },
                step,
            ],
            "modifiedProperties": self.modified.iter().map(modified).collect::<Vec<_>>(),
        })
    }
}

impl Verdict {
    /// The status, `errorInformation`, and the step at which it was decided.
    fn parts(&self) -> (&'static str, Value, Value) {
        let step = |kind: &str, status: &str, description: &str, details: Value| {
            let name = if kind == "scoping" { "EntrySynchronizationScoping" } else { "EntryExport" };
            json!({
                "name": name, "provisioningStepType": kind, "status": status, "description": description,
                "details": details,
            })
        };
        let nothing = json!({
            "errorCode": null, "reason": null, "additionalDetails": null, "errorCategory": "success",
            "recommendedAction": null,
        });
        match self {
            Self::Success => ("success", nothing, step("export", "success", "The user was written", json!({}))),
            Self::Skipped { reason, step: kind, description } => {
                ("skipped", nothing, step(kind, "skipped", description, json!({"SkipReason": reason})))
            }
            Self::Failure { code, step: kind, reason, recommended } => (
                "failure",
                json!({
                    "errorCode": code, "reason": reason, "additionalDetails": null, "errorCategory": "nonServiceFailure",
                    "recommendedAction": recommended,
                }),
                step(kind, "failure", reason, json!({"ErrorCode": code})),
            ),
        }
    }
}
