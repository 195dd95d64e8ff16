//! `muster connector test`: the conformance kit from the command line.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use muster_conformance::{CheckResult, Options, Report, Subject, never_started, run_and_tell};
use muster_model::{Schema, Value};

use super::subject::subject;
use crate::cli::{ConnectorTestArguments, OutputChoice};
use crate::exit::Failure;
use crate::output;

pub(crate) async fn run(
    config: Option<&Path>,
    form: OutputChoice,
    arguments: &ConnectorTestArguments,
) -> Result<(), Failure> {
    for start in &arguments.only {
        if !muster_conformance::all().any(|check| check.id.starts_with(start.as_str())) {
            let groups: BTreeSet<&str> = muster_conformance::all()
                .filter_map(|check| check.id.split_once('.'))
                .map(|(group, _)| group)
                .collect();
            let groups: Vec<&str> = groups.into_iter().collect();
            let message = format!("no check's id begins with {start:?}; there are: {}", groups.join(", "));
            return Err(Failure::configuration(message));
        }
    }
    let subject = subject(config, arguments)?;
    let samples = match &arguments.samples {
        Some(file) => samples(file)?,
        None => BTreeMap::new(),
    };
    // Where it does not start, it need not be tried a second time to be told.
    let started = subject.start().await;
    if let Ok(connector) = &started
        && let Ok(schema) = connector.schema().await
    {
        known(&schema, arguments, &samples)?;
    }
    let options = Options {
        types: arguments.types.clone(),
        only: arguments.only.clone(),
        samples,
        exceptions: arguments.except.clone(),
        patience: arguments.patience,
        many: arguments.many,
        ..Options::default()
    };
    let report = match started {
        Ok(connector) => {
            drop(connector);
            tested(subject.as_ref(), &options, form).await
        }
        Err(error) => unstarted(subject.as_ref(), &error, form),
    };
    match form {
        OutputChoice::Table => output::line(report.summary()),
        OutputChoice::Json => output::json(&report)?,
        OutputChoice::Junit => output::line(report.to_junit().trim_end()),
    }
    match report.failed().count() {
        0 if report.passed() => Ok(()),
        0 => Err(Failure::configuration("no check was performed: see --only and --type")),
        1 => Err(Failure::unexpected("the connector does not keep the contract: 1 check failed")),
        number => Err(Failure::unexpected(format!("the connector does not keep the contract: {number} checks failed"))),
    }
}

/// The one result of a connector that does not start.
fn unstarted(subject: &dyn Subject, error: &muster_connector::Error, form: OutputChoice) -> Report {
    let result = never_started(subject, &format!("the connector does not start: {error}"));
    tell(&result, form);
    Report { results: vec![result] }
}

fn tell(result: &CheckResult, form: OutputChoice) {
    if form == OutputChoice::Table {
        let text = result.to_string();
        text.lines().for_each(|line| output::line(output::visible(line)));
    }
}

async fn tested(subject: &dyn Subject, options: &Options, form: OutputChoice) -> Report {
    run_and_tell(subject, options, &mut |result| tell(result, form)).await
}

fn samples(file: &Path) -> Result<BTreeMap<String, Vec<Value>>, Failure> {
    let wrong = |problem: String| Failure::configuration(format!("{}: {problem}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| wrong(format!("it cannot be read: {}", error.kind())))?;
    serde_json::from_str(&text).map_err(|error| {
        wrong(format!("{error}; write lists of values by type and attribute, such as {{\"user.country\": [\"CH\"]}}"))
    })
}

/// Refuses names that the schema lacks: a check that tried nothing must not look like one that held.
fn known(
    schema: &Schema,
    arguments: &ConnectorTestArguments,
    samples: &BTreeMap<String, Vec<Value>>,
) -> Result<(), Failure> {
    let types: Vec<&str> = schema.types.iter().map(|one| one.name.as_str()).collect();
    let excepted = arguments.except.iter().map(|(_, object_type, _)| object_type).filter(|name| !name.is_empty());
    for name in arguments.types.iter().chain(excepted) {
        if !types.contains(&name.as_str()) {
            let message = format!("the connector has no object type {name:?}; it has: {}", types.join(", "));
            return Err(Failure::configuration(message));
        }
    }
    for (path, values) in samples {
        let found = path.split_once('.').and_then(|(name, attribute)| schema.object_type(name)?.attribute(attribute));
        if found.is_none() {
            let message = format!("the connector has no attribute {path:?} to take samples for; write TYPE.ATTRIBUTE");
            return Err(Failure::configuration(message));
        }
        if values.is_empty() {
            return Err(Failure::configuration(format!("the samples of {path:?} are none; name at least one value")));
        }
    }
    Ok(())
}
