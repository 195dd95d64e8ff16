//! The connectors whose settings belong into the generated files.

use muster_connector::ConnectorKind;
use muster_connector_csv::CsvKind;
use muster_connector_entra::EntraKind;
use muster_connector_ldap::LdapKind;
use muster_connector_process::ProcessKind;
use muster_connector_sql::SqlKind;
use muster_settings::ConnectorSchema;

/// What each connector says of its settings.
pub(crate) fn schemas() -> Vec<ConnectorSchema> {
    let kinds: [&dyn ConnectorKind; 5] = [&EntraKind, &SqlKind, &LdapKind, &CsvKind, &ProcessKind];
    let described = kinds.into_iter().map(ConnectorKind::describe);
    described.map(|connector| ConnectorSchema { kind: connector.kind, settings: connector.settings }).collect()
}
