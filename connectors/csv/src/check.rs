//! What an administrator should know before the first sync.

use muster_connector::{CheckReport, Finding, UsedType};

use crate::connector::CsvConnector;
use crate::snapshot::Snapshot;

impl CsvConnector {
    /// Looks at the files of the types that are used, or of all where none is.
    pub(crate) async fn examined(&self, used: &[UsedType]) -> CheckReport {
        let mut report = CheckReport::default();
        for (name, settings) in &self.settings.types {
            if !used.is_empty() && !used.iter().any(|one| one.object_type == *name) {
                continue;
            }
            let setting = format!("types.{name}");
            let snapshot = match self.snapshot(name, false).await {
                Ok(snapshot) => snapshot,
                Err(error) => {
                    let fix = "correct the file, or how it is described here";
                    report.findings.push(Finding::error(Some(&setting), error.to_string(), fix));
                    continue;
                }
            };
            report.features.push(format!("{name}: {} rows, {} columns", snapshot.len(), snapshot.names.len()));
            let columns = settings.columns.keys().map(|column| (column, format!("{setting}.columns.{column}")));
            let enabled = settings.enabled.iter().map(|enabled| (&enabled.column, format!("{setting}.enabled.column")));
            for (column, setting) in columns.chain(enabled).filter(|(column, _)| !snapshot.names.contains(column)) {
                let near = muster_model::nearest(column, snapshot.names.iter().map(String::as_str));
                let hint = near.map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
                let problem = format!("the file has no column {column:?}{hint}");
                report.findings.push(Finding::error(Some(&setting), problem, "name a column of the file"));
            }
            report.findings.extend(other_delimiter(&setting, &snapshot));
        }
        report
    }
}

/// A file that is one wide column was probably written with another delimiter.
fn other_delimiter(setting: &str, snapshot: &Snapshot) -> Option<Finding> {
    let [only] = snapshot.names.as_slice() else { return None };
    let other = [';', '\t', '|', ','].into_iter().find(|other| only.contains(*other))?;
    let name = if other == '\t' { "tab".to_owned() } else { other.to_string() };
    Some(Finding::warning(
        Some(&format!("{setting}.delimiter")),
        format!("the file has one column only, {only:?}"),
        format!("set delimiter = {name:?} if that is what stands between the values"),
    ))
}
