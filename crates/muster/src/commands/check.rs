//! `muster check`: everything that keeps the syncs from running, each with its fix.

use std::collections::BTreeMap;
use std::path::Path;

use muster_connector::{Error as ConnectorError, Finding, Severity};
use muster_engine::{compile, unwritten_references};
use muster_model::Schema;
use muster_settings::Settings;
use serde_json::json;

use crate::cli::{CheckArguments, OutputForm};
use crate::exit::Failure;
use crate::{output, passwords, world};

struct Line {
    severity: Severity,
    text: String,
}

pub(crate) async fn run(config: &Path, form: OutputForm, arguments: &CheckArguments) -> Result<(), Failure> {
    let settings = world::settings(config)?;
    if let Some(name) = &arguments.accept_system {
        return accept(&settings, name).await;
    }
    let mut lines = Vec::new();
    let mut features = Vec::new();
    let mut schemas = BTreeMap::new();
    for name in settings.connections.keys() {
        match examine(&settings, name, &mut features).await {
            Ok((schema, findings)) => {
                lines.extend(findings);
                schemas.extend(schema.map(|schema| (name.as_str(), schema)));
            }
            Err(text) => lines.push(Line { severity: Severity::Error, text }),
        }
    }
    for sync in &settings.syncs {
        let sides = (schemas.get(sync.from.connection.as_str()), schemas.get(sync.to.connection.as_str()));
        let (Some(source), Some(target)) = sides else {
            let text = format!(
                "sync {:?} was not examined, because one of its connections cannot be used (see above)",
                sync.name
            );
            lines.push(Line { severity: Severity::Warning, text });
            continue;
        };
        let findings = match compile(&world::rules(sync), source, target) {
            Ok((compiled, mut findings)) => {
                let all: Vec<_> = settings.syncs.iter().map(world::rules).collect();
                findings.extend(unwritten_references(&compiled, &all));
                findings
            }
            Err(findings) => findings,
        };
        lines.extend(
            findings
                .iter()
                .map(|finding| Line { severity: finding.severity, text: output::rule_finding(finding, &settings) }),
        );
    }
    lines.extend(rivals(&settings));
    for sync in &settings.syncs {
        let Some(receiver) = world::rules(sync).password.and_then(|password| password.receiver) else { continue };
        if let Err(problem) = passwords::examine(&receiver).await {
            let at = format!("syncs.{}.password.receiver", sync.name);
            let text = output::placed(&settings, &at, &problem, "nobody is created before it can take their passwords");
            lines.push(Line { severity: Severity::Error, text });
        }
    }
    lines.extend(crate::zone::problem(&settings).map(|text| Line { severity: Severity::Warning, text }));
    print(form, &lines, &features)?;
    let errors = lines.iter().filter(|line| line.severity == Severity::Error).count();
    match errors {
        0 => Ok(()),
        1 => Err(Failure::configuration("one thing keeps a sync from running")),
        many => Err(Failure::configuration(format!("{many} things keep syncs from running"))),
    }
}

/// Syncs that write the same object type: an object belongs to one of them, and the other parks whoever matches it.
fn rivals(settings: &Settings) -> Vec<Line> {
    let mut lines = Vec::new();
    for (position, sync) in settings.syncs.iter().enumerate() {
        if let Some(first) = settings.syncs.iter().take(position).find(|first| first.to == sync.to) {
            let problem =
                format!("sync {:?} writes {} too, and each object can belong to one sync only", first.name, sync.to);
            let fix = "see that no person is in both";
            let text = output::placed(settings, &format!("syncs.{}.to", sync.name), &problem, fix);
            lines.push(Line { severity: Severity::Warning, text });
        }
    }
    lines
}

fn print(form: OutputForm, lines: &[Line], features: &[String]) -> Result<(), Failure> {
    if form == OutputForm::Json {
        let findings: Vec<_> = lines
            .iter()
            .map(|line| json!({ "severity": output::severity(line.severity), "text": line.text }))
            .collect();
        return output::json(&json!({ "findings": findings, "features": features }));
    }
    for feature in features {
        output::line(feature);
    }
    for line in lines {
        output::line(format!("{}: {}", output::severity(line.severity), line.text));
    }
    if lines.is_empty() {
        output::line("everything is in order");
    }
    Ok(())
}

type Examined = (Option<Schema>, Vec<Line>);

/// Examines one connection. The error is what kept it from being examined.
async fn examine(settings: &Settings, name: &str, features: &mut Vec<String>) -> Result<Examined, String> {
    let connection = world::find_connection(settings, name).map_err(Failure::into_message)?;
    let connector = world::connect(settings, connection).map_err(Failure::into_message)?;
    let failed = |error: &ConnectorError| world::connector_failure(settings, name, error).into_message();
    let report = connector.check(&world::used(settings, name)).await.map_err(|error| failed(&error))?;
    features.extend(report.features.iter().map(|feature| format!("{name}: {feature}")));
    let mut lines: Vec<Line> = report.findings.iter().map(|finding| placed(settings, name, finding)).collect();
    if lines.iter().any(|line| line.severity == Severity::Error) {
        // The schema would fail for the same reason, in other words.
        return Ok((connector.schema().await.ok(), lines));
    }
    match connector.schema().await {
        Ok(schema) => Ok((Some(schema), lines)),
        Err(error) => {
            lines.push(Line { severity: Severity::Error, text: failed(&error) });
            Ok((None, lines))
        }
    }
}

fn placed(settings: &Settings, connection: &str, finding: &Finding) -> Line {
    let setting = match &finding.setting {
        Some(setting) => format!("connections.{connection}.{setting}"),
        None => format!("connections.{connection}"),
    };
    Line { severity: finding.severity, text: output::placed(settings, &setting, &finding.problem, &finding.fix) }
}

/// Takes the system that answers now for the connection's own.
async fn accept(settings: &Settings, name: &str) -> Result<(), Failure> {
    let connection = world::find_connection(settings, name)?;
    let schema = world::connect(settings, connection)?.schema().await;
    let schema = schema.map_err(|error| world::connector_failure(settings, name, &error))?;
    let state = world::state(settings).await?;
    let known = state.store.connection(name).await?;
    state.store.set_identity(known.id, &schema.identity).await?;
    let before = known.identity.unwrap_or_else(|| "nothing".to_owned());
    output::line(format!("{name} now leads to {} (before: {before})", schema.identity));
    Ok(())
}
