//! Drives any connector and proves, or disproves, that it keeps the contract.
//!
//! A [`Subject`] makes the connector, kills it and, where it can, works on the system behind it. [`run`] performs all
//! checks that apply to what the schema declares; what does not apply is reported with its reason. A failure carries
//! the calls that lead to it.
//!
//! The kit writes: give it a system with nothing in it that anybody needs.

mod bench;
mod catalogue;
mod check;
mod checks;
mod report;
mod sample;
mod subject;
mod transcript;
mod world;

pub use catalogue::markdown;
pub use check::{Check, Scope, all};
pub use report::{CheckResult, Report, Status};
pub use subject::{Fault, Options, Subject, World};

use std::panic::AssertUnwindSafe;

use futures::FutureExt as _;
use muster_connector::Severity;
use muster_model::{ObjectType, Schema};

use crate::bench::{Bench, Stop, Verdict};

/// Performs all checks, one after another, on every object type that the options leave in.
///
/// Nothing is assumed of the system but that it takes objects with made-up values; [`Options::samples`] names values
/// where it does not. What a check creates it deletes again where the type can delete.
pub async fn run(subject: &dyn Subject, options: &Options) -> Report {
    run_and_tell(subject, options, &mut |_| {}).await
}

/// As [`run`], and tells each result as soon as it is found.
pub async fn run_and_tell(
    subject: &dyn Subject,
    options: &Options,
    tell: &mut (dyn FnMut(&CheckResult) + Send),
) -> Report {
    let mut report = Report::default();
    let mut found = |report: &mut Report, id: &str, object_type: Option<String>, status: Status| {
        let result = CheckResult { id: id.to_owned(), object_type, status };
        tell(&result);
        report.results.push(result);
    };
    let schema = match started(subject).await {
        Ok(schema) => schema,
        Err(problem) => {
            found(&mut report, "shape.starts", None, never_started(subject, &problem).status);
            return report;
        }
    };
    found(&mut report, "shape.starts", None, Status::Passed);
    let is_chosen = |name: &str| options.types.is_empty() || options.types.iter().any(|chosen| chosen == name);
    let types: Vec<_> =
        schema.types.iter().filter(|found| is_chosen(&found.name)).map(|found| chosen(found, options)).collect();
    for check in all().filter(|check| check.id != "shape.starts" && options.wants(check.id)) {
        let targets: Vec<_> = match check.scope {
            Scope::Connection => types.iter().take(1).collect(),
            Scope::Source | Scope::Target => types.iter().collect(),
        };
        if targets.is_empty() {
            let why = "the schema has no object type that was chosen".to_owned();
            let status = Status::NotApplicable { why };
            found(&mut report, check.id, None, status);
        }
        for object_type in targets {
            let name = (check.scope != Scope::Connection).then(|| object_type.name.clone());
            let excepted = options.exceptions.iter().find(|(id, kind, _)| {
                id == check.id && name.as_deref().is_none_or(|name| kind.is_empty() || kind == name)
            });
            let status = if let Some((_, _, why)) = excepted {
                Status::NotApplicable { why: format!("excepted: {why}") }
            } else {
                let bench = Bench::new(subject, options, &schema, object_type);
                let verdict = performed(check, &bench).await;
                bench.clean().await;
                bench.status(verdict)
            };
            found(&mut report, check.id, name, status);
        }
    }
    report
}

/// The result for a connector that does not start, without its secrets.
#[must_use]
pub fn never_started(subject: &dyn Subject, problem: &str) -> CheckResult {
    let problem = transcript::redacted(problem, &subject.planted_secrets());
    let status = Status::Failed { problem, transcript: Vec::new() };
    CheckResult { id: "shape.starts".to_owned(), object_type: None, status }
}

/// The type without the attributes that the options leave out.
fn chosen(object_type: &ObjectType, options: &Options) -> ObjectType {
    let mut object_type = object_type.clone();
    if let Some(chosen) = options.attributes.get(&object_type.name) {
        let anchor = &object_type.anchor.attributes;
        object_type.attributes.retain(|one| anchor.contains(&one.name) || chosen.contains(&one.name));
    }
    object_type
}

async fn started(subject: &dyn Subject) -> Result<Schema, String> {
    let connector = subject.start().await.map_err(|error| format!("the connector does not start: {error}"))?;
    let report = connector.check(&[]).await.map_err(|error| format!("`check` fails: {error}"))?;
    if let Some(finding) = report.findings.iter().find(|finding| finding.severity == Severity::Error) {
        return Err(format!("`check` finds: {}; {}", finding.problem, finding.fix));
    }
    connector.schema().await.map_err(|error| format!("`schema` fails: {error}"))
}

async fn performed(check: &Check, bench: &Bench<'_>) -> Verdict {
    let applies = match check.scope {
        Scope::Connection => Ok(()),
        Scope::Source => bench.object_type.source.as_ref().map(drop).ok_or("the type is no source"),
        Scope::Target => bench.object_type.target.as_ref().map(drop).ok_or("the type is no target"),
    };
    applies.map_err(|why| Stop::Skipped(why.to_owned()))?;
    let call = AssertUnwindSafe((check.run)(bench)).catch_unwind();
    match tokio::time::timeout(bench.options.patience, call).await {
        Ok(Ok(verdict)) => verdict,
        Ok(Err(_)) => Err(Stop::Failed("the connector panicked".to_owned())),
        Err(_) => {
            let seconds = bench.options.patience.as_secs();
            Err(Stop::Failed(format!("no answer within {seconds} s; the last call of the transcript hangs")))
        }
    }
}
