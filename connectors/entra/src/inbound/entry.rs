//! What one line of the provisioning log says.
//!
//! Source: <https://learn.microsoft.com/graph/api/resources/provisioningobjectsummary>.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use super::attributes::EXTERNAL_ID;
use crate::error::shorten;

/// A page of the log.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    /// Read one by one: one line that cannot be read keeps no other from being read.
    value: Vec<Value>,
    #[serde(rename = "@odata.nextLink")]
    pub(super) next: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Summary {
    id: Option<String>,
    activity_date_time: Option<String>,
    job_id: Option<String>,
    source_identity: Option<Identity>,
    provisioning_status_info: Option<StatusInformation>,
    provisioning_steps: Option<Vec<Step>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Identity {
    id: Option<String>,
    details: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct StatusInformation {
    status: Option<String>,
    error_information: Option<ErrorInformation>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ErrorInformation {
    error_code: Option<String>,
    reason: Option<String>,
    additional_details: Option<String>,
    error_category: Option<String>,
    recommended_action: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Step {
    provisioning_step_type: Option<String>,
    status: Option<String>,
    description: Option<String>,
    details: Value,
}

/// A final line about one person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) id: String,
    pub(super) at: DateTime<Utc>,
    /// What the person is called in it; more than one where the log says it twice.
    pub(super) about: Vec<String>,
    pub(super) verdict: Verdict,
}

/// What became of the person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Applied,
    AlreadySo,
    Rejected {
        rule: String,
        attribute: Option<&'static str>,
        message: String,
    },
    /// The provisioning service failed, not the record.
    Passing(String),
}

impl Page {
    /// The final entries of a job.
    pub(super) fn entries(self, job: &str) -> (Vec<Entry>, Option<String>) {
        let entries = self.value.into_iter().filter_map(|line| {
            let summary: Summary = serde_json::from_value(line).ok()?;
            // The filter has said so already; a log that ignores filters must not confirm another job's work.
            let ours = summary.job_id.as_deref().is_none_or(|found| found.eq_ignore_ascii_case(job));
            if ours { summary.entry() } else { None }
        });
        (entries.collect(), self.next)
    }
}

impl Summary {
    fn entry(self) -> Option<Entry> {
        let at = DateTime::parse_from_rfc3339(self.activity_date_time.as_deref()?).ok()?.to_utc();
        let identity = self.source_identity.unwrap_or_default();
        let mut about: Vec<String> = detail(&identity.details, EXTERNAL_ID).into_iter().collect();
        about.extend(identity.id.filter(|id| !id.is_empty()));
        about.dedup();
        let steps = self.provisioning_steps.unwrap_or_default();
        let verdict = verdict(&self.provisioning_status_info?, &steps)?;
        // An entry without an id is told from others by its time.
        let id = self.id.unwrap_or_else(|| format!("{at} {}", about.join(" ")));
        (!about.is_empty()).then_some(Entry { id, at, about, verdict })
    }
}

/// A member of `details`, whose names vary in case and which is an object or a list of names and values.
fn detail(details: &Value, name: &str) -> Option<String> {
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    match details {
        Value::Object(members) => {
            members.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).and_then(|(_, value)| text(value))
        }
        Value::Array(pairs) => {
            let of = |pair: &Value| {
                let own = pair.get("key").or_else(|| pair.get("name"))?.as_str()?;
                own.eq_ignore_ascii_case(name).then(|| pair.get("value").and_then(text)).flatten()
            };
            pairs.iter().find_map(of)
        }
        _ => None,
    }
}

/// `None` while it is not final.
fn verdict(information: &StatusInformation, steps: &[Step]) -> Option<Verdict> {
    let nothing = ErrorInformation::default();
    let error = information.error_information.as_ref().unwrap_or(&nothing);
    match information.status.as_deref()?.to_ascii_lowercase().as_str() {
        // What was written with a warning was written.
        "success" | "warning" => Some(Verdict::Applied),
        "skipped" => Some(skipped(error, steps)),
        "failure" => Some(failed(error, steps)),
        _ => None,
    }
}

fn skipped(error: &ErrorInformation, steps: &[Step]) -> Verdict {
    let reason = steps.iter().find_map(|step| detail(&step.details, "SkipReason"));
    let code = reason.or_else(|| error.error_code.clone().filter(|code| !code.is_empty()));
    let is = |step: &&Step, status: &str| step.status.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(status));
    let scoping = steps.iter().find(|step| {
        let kind = step.provisioning_step_type.as_deref().unwrap_or_default();
        kind.eq_ignore_ascii_case("scoping") && !is(step, "success")
    });
    match (code, scoping) {
        (Some(code), None) if code.eq_ignore_ascii_case("RedundantExport") => Verdict::AlreadySo,
        (None, None) => Verdict::AlreadySo,
        (code, scoping) => {
            let step = scoping.or_else(|| steps.iter().find(|step| is(step, "skipped")));
            let description = step.and_then(|step| step.description.clone());
            let message = [error.reason.clone(), description].into_iter().flatten().next().unwrap_or_default();
            Verdict::Rejected {
                rule: code.map_or_else(|| "out_of_scope".to_owned(), |code| shorten(&code)),
                attribute: None,
                message: shorten(&format!(
                    "Entra skipped the person: {message}. Look at the scoping filters of the application's attribute mapping"
                )),
            }
        }
    }
}

fn failed(error: &ErrorInformation, steps: &[Step]) -> Verdict {
    let code = error.error_code.clone().unwrap_or_default();
    let described = steps
        .iter()
        .rev()
        .filter(|step| step.status.as_deref().is_some_and(|status| status.eq_ignore_ascii_case("failure")));
    let described = described.filter_map(|step| step.description.clone());
    let said = [error.reason.clone(), error.additional_details.clone()].into_iter().flatten();
    let reason = said.chain(described).find(|text| !text.is_empty()).unwrap_or_default();
    let service = error.error_category.as_deref().is_some_and(|category| category.eq_ignore_ascii_case("failure"));
    if service || is_passing(&code) {
        // Its reason may hold personal values, which have no place in what is said of a passing failure.
        return Verdict::Passing(shorten(&format!("Entra's provisioning failed by itself ({code})")));
    }
    let attribute = blamed(&code).or_else(|| blamed(&reason));
    let action = error.recommended_action.clone().filter(|action| !action.is_empty());
    let action = action.map(|action| format!(" ({action})")).unwrap_or_default();
    Verdict::Rejected {
        rule: if code.is_empty() { "failure".to_owned() } else { shorten(&code) },
        attribute,
        message: shorten(&format!("{reason}{action}")),
    }
}

/// Codes of failures that go by themselves, whatever their category.
fn is_passing(code: &str) -> bool {
    let code = code.to_ascii_lowercase();
    ["timeout", "throttl", "toomanyrequests", "serviceunavailable", "transient", "temporar", "internalerror"]
        .iter()
        .any(|sign| code.contains(sign))
}

/// The attribute that a code or a reason clearly names, under its name here.
fn blamed(text: &str) -> Option<&'static str> {
    const SIGNS: &[(&str, &str)] = &[
        ("userprincipalname", "userName"),
        ("domain does not exist", "userName"),
        ("mailnickname", "userName"),
        ("manager", "manager"),
        ("employeeid", EXTERNAL_ID),
        ("'displayname'", "displayName"),
        ("'jobtitle'", "title"),
        ("'department'", "department"),
        ("'givenname'", "givenName"),
        ("'surname'", "familyName"),
        ("'preferredlanguage'", "preferredLanguage"),
    ];
    let text = text.to_ascii_lowercase();
    SIGNS.iter().find(|(sign, _)| text.contains(sign)).map(|(_, attribute)| *attribute)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn one(status: &str, error: &Value, steps: &Value) -> Option<Verdict> {
        let line = json!({
            "id": "1", "activityDateTime": "2026-11-22T12:00:00.123Z", "jobId": "J",
            "sourceIdentity": {"id": "E1", "details": {}},
            "provisioningStatusInfo": {"status": status, "errorInformation": error}, "provisioningSteps": steps,
        });
        let page: Page = serde_json::from_value(json!({"value": [7, line, {"id": "2"}]})).unwrap();
        page.entries("J").0.into_iter().next().map(|entry| entry.verdict)
    }

    #[test]
    fn every_kind_of_end_is_told() {
        assert_eq!(one("success", &Value::Null, &Value::Null), Some(Verdict::Applied));
        assert_eq!(one("warning", &Value::Null, &Value::Null), Some(Verdict::Applied));
        assert_eq!(one("inProgress", &Value::Null, &Value::Null), None);
        let export = json!([{"provisioningStepType": "export", "status": "skipped", "details": {"SkipReason": "RedundantExport"}}]);
        assert_eq!(one("skipped", &Value::Null, &export), Some(Verdict::AlreadySo));
        assert_eq!(one("skipped", &Value::Null, &json!([])), Some(Verdict::AlreadySo));
        assert_eq!(one("Skipped", &json!({"errorCode": "RedundantExport"}), &Value::Null), Some(Verdict::AlreadySo));
        let scoping = json!([{"provisioningStepType": "scoping", "status": "skipped", "description": "not in scope",
            "details": [{"key": "skipReason", "value": "NotEffectivelyEntitled"}]}]);
        let Some(Verdict::Rejected { rule, message, .. }) = one("skipped", &Value::Null, &scoping) else { panic!() };
        assert_eq!(rule, "NotEffectivelyEntitled");
        assert!(message.contains("not in scope") && message.contains("scoping filters"), "{message}");
    }

    #[test]
    fn failures_blame_what_they_name() {
        for (code, reason, attribute) in [
            ("AzureActiveDirectoryInvalidUserPrincipalName", "taken", Some("userName")),
            ("Other", "The domain does not exist", Some("userName")),
            ("UnresolvedReference", "The manager 'x' cannot be resolved", Some("manager")),
            ("Other", "Property 'jobTitle' is too long", Some("title")),
            ("Other", "no", None),
        ] {
            let error = json!({"errorCode": code, "reason": reason, "recommendedAction": "Do this.", "errorCategory": "nonServiceFailure"});
            let message = format!("{reason} (Do this.)");
            let expected = Verdict::Rejected { rule: code.to_owned(), attribute, message };
            assert_eq!(one("failure", &error, &Value::Null), Some(expected));
        }
        let passing = json!({"errorCode": "X", "reason": "later", "errorCategory": "failure"});
        assert!(matches!(one("failure", &passing, &Value::Null), Some(Verdict::Passing(_))));
        let timeout = json!({"errorCode": "GatewayTimeout", "errorCategory": "nonServiceFailure"});
        assert!(matches!(one("failure", &timeout, &Value::Null), Some(Verdict::Passing(_))));
    }

    #[test]
    fn people_are_known_by_either_name_and_other_jobs_are_not_ours() {
        let line = |job: &str| {
            json!({
                "activityDateTime": "2026-11-22T12:00:00Z", "jobId": job,
                "sourceIdentity": {"id": "guid", "details": {"ExternalId": "E1"}},
                "provisioningStatusInfo": {"status": "success"},
            })
        };
        let page: Page = serde_json::from_value(json!({"value": [line("J"), line("K")]})).unwrap();
        let (entries, next) = page.entries("J");
        assert_eq!((entries.len(), next), (1, None));
        assert_eq!(entries[0].about, ["E1", "guid"]);
    }
}
