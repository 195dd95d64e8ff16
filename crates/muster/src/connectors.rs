//! The one list of connectors.

use muster_connector::ConnectorKind;
use muster_connector_csv::CsvKind;
use muster_connector_entra::EntraKind;
use muster_connector_process::ProcessKind;
use muster_connector_sql::SqlKind;
use muster_settings::ConnectorSchema;

/// Every kind of connector that this program knows.
pub(crate) fn all() -> Vec<Box<dyn ConnectorKind>> {
    vec![Box::new(EntraKind), Box::new(SqlKind), Box::new(CsvKind), Box::new(ProcessKind)]
}

/// What the configuration of each kind looks like.
pub(crate) fn schemas() -> Vec<ConnectorSchema> {
    all()
        .iter()
        .map(|kind| {
            let description = kind.describe();
            ConnectorSchema { kind: description.kind, settings: description.settings }
        })
        .collect()
}
