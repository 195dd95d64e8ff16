//! Settings that cannot be used are refused by name.

use muster_connector::{ConnectorKind as _, Error};
use muster_connector_entra::{EntraKind, connect};
use serde_json::json;

use crate::world::{CLIENT, TENANT, World, settings};

#[test]
fn each_mistake_names_its_setting() {
    let good = json!({"tenant":TENANT,"client_id":CLIENT,"client_secret":{"env":"X"}});
    let cases = [
        (json!({"tenant":null}), "tenant"),
        (json!({"tenant":"common"}), "tenant"),
        (json!({"tenant":"a/b"}), "tenant"),
        (json!({"client_id":null}), "client_id"),
        (json!({"client_id":"my app"}), "client_id"),
        (json!({"client_secret":null}), "client_secret"),
        (json!({"managed_identity":{}}), "managed_identity"),
        (json!({"graph_url":"http://graph.example/v1.0"}), "graph_url"),
        (json!({"authority":"http://login.example"}), "authority"),
        (json!({"authority":"login.example"}), "authority"),
        (json!({"ca_file":"no/such.pem"}), "ca_file"),
        (json!({"proxy":"proxy.example"}), "proxy"),
        (json!({"proxy":"http://me:pw@proxy.example:8080"}), "proxy"),
        (json!({"proxy":"http://proxy.example:8080","graph_url":"http://127.0.0.1:1/v1.0"}), "proxy"),
        (json!({"proxy":"http://proxy.example","proxy_password":{"env":"P"}}), "proxy_password"),
        (json!({"extension_attributes":{"badge":"text"}}), "extension_attributes.badge"),
        (json!({"client_secret":null,"managed_identity":{"host":"app_service"}}), "managed_identity.host"),
        (
            json!({"client_secret":null,"managed_identity":{"endpoint":"http://10.0.0.1/t"}}),
            "managed_identity.endpoint",
        ),
    ];
    for (change, blamed) in cases {
        let mut values = good.clone();
        for (name, value) in change.as_object().unwrap() {
            match value {
                serde_json::Value::Null => drop(values.as_object_mut().unwrap().remove(name)),
                value => values[name] = value.clone(),
            }
        }
        match connect(&settings(values, &[("client_secret", "s")]), World::new()).map(drop) {
            Err(Error::Configuration { setting: Some(setting), problem, fix }) => {
                assert_eq!(setting, blamed, "{problem}");
                assert!(!fix.is_empty());
            }
            other => panic!("{change}: {other:?}"),
        }
    }
    assert!(connect(&settings(good.clone(), &[("client_secret", "s")]), World::new()).is_ok());
    assert!(connect(&settings(good, &[("client_secret", " ")]), World::new()).is_err(), "an empty secret");
}

#[test]
fn the_description_has_a_schema_with_marked_secrets() {
    let description = EntraKind.describe();
    assert_eq!(description.kind, "entra");
    let schema = description.settings.to_string();
    assert!(schema.contains("x-muster-secret"));
    assert!(schema.contains("\"additionalProperties\":false"));
}

#[test]
fn unknown_settings_are_refused() {
    let values = json!({"tenant":TENANT,"client_id":CLIENT,"client_secret":{"env":"X"},"tenat":"x"});
    assert!(EntraKind.connect(settings(values, &[("client_secret", "s")])).is_err());
}

/// The guide has a row for every setting, those within tables included.
#[test]
fn the_guide_names_every_setting() {
    let guides = [include_str!("../../../../docs/entra.md"), include_str!("../../../../docs/hr-to-entra.md")];
    let schema = EntraKind.describe().settings;
    let nested =
        ["CertificateSettings", "ManagedIdentitySettings", "InboundSettings"].map(|name| &schema["$defs"][name]);
    for table in [&schema].into_iter().chain(nested) {
        for name in table["properties"].as_object().unwrap().keys() {
            let mut rows = guides.iter().flat_map(|guide| guide.lines()).filter(|line| line.starts_with('|'));
            let named = rows.any(|row| row.contains(&format!("{name}`")) || row.contains(&format!("`{name}.")));
            assert!(named, "{name} is not in the guide");
        }
    }
}
