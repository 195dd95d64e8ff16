//! The one list of connectors.

use std::sync::OnceLock;

use muster_connector::ConnectorKind;
use muster_connector_csv::CsvKind;
use muster_connector_entra::EntraKind;
use muster_connector_ldap::LdapKind;
use muster_connector_process::ProcessKind;
use muster_connector_sql::SqlKind;
use muster_settings::ConnectorSchema;

/// Those that a program of somebody's own brings along.
static FURTHER: OnceLock<Vec<Box<dyn ConnectorKind>>> = OnceLock::new();

/// Takes further connectors into the list, before anything is read from it.
///
/// # Errors
/// Two are called alike, or there is a list already.
pub(crate) fn add(further: Vec<Box<dyn ConnectorKind>>) -> Result<(), String> {
    let own: [&dyn ConnectorKind; 5] = [&EntraKind, &SqlKind, &LdapKind, &CsvKind, &ProcessKind];
    let mut names: Vec<String> = own.iter().map(|kind| kind.describe().kind).collect();
    for kind in &further {
        let name = kind.describe().kind;
        if names.contains(&name) {
            return Err(format!("two connectors are called {name:?}; give yours another name"));
        }
        names.push(name);
    }
    FURTHER.set(further).map_err(|_| "the program was started twice in one process".to_owned())
}

/// Every kind of connector that this program knows.
pub(crate) fn all() -> Vec<&'static dyn ConnectorKind> {
    let mut all: Vec<&'static dyn ConnectorKind> = vec![&EntraKind, &SqlKind, &LdapKind, &CsvKind, &ProcessKind];
    all.extend(FURTHER.get().into_iter().flatten().map(|kind| &**kind));
    all
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use muster_connector::{Connector, ConnectorSettings, Description, Error};
    use serde_json::json;

    use super::*;

    struct Named(&'static str);

    impl ConnectorKind for Named {
        fn describe(&self) -> Description {
            let (summary, version) = ("ours".to_owned(), "1".to_owned());
            Description { kind: self.0.to_owned(), summary, version, settings: json!({ "type": "object" }) }
        }

        fn connect(&self, _: ConnectorSettings) -> Result<Arc<dyn Connector>, Error> {
            Err(Error::Unsupported("connecting".to_owned()))
        }
    }

    #[test]
    fn a_connector_of_ones_own_is_one_of_all() {
        assert!(add(vec![Box::new(Named("sql"))]).unwrap_err().contains("two connectors are called \"sql\""));
        assert!(add(vec![Box::new(Named("crm")), Box::new(Named("crm"))]).is_err());
        add(vec![Box::new(Named("crm"))]).unwrap();
        let kinds: Vec<String> = schemas().into_iter().map(|schema| schema.kind).collect();
        assert_eq!(kinds, ["entra", "sql", "ldap", "csv", "process", "crm"]);
        assert!(add(Vec::new()).unwrap_err().contains("started twice"));
    }
}
