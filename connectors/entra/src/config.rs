//! The settings of an Entra connection. The comments on the fields are the user's reference.

use std::collections::BTreeMap;
use std::time::Duration;

use muster_connector::{Error, Secret, Span};
use muster_model::ValueType;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::error::setting;
use crate::inbound::settings::InboundSettings;

/// A connection to one Microsoft Entra ID tenant.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EntraSettings {
    /// The tenant: its id (best) or one of its verified domain names. Required except with `managed_identity`.
    pub tenant: Option<String>,
    /// The application (client) id of the app registration. Required except with `managed_identity`.
    pub client_id: Option<String>,
    /// A client secret of the app registration: its value, not its id.
    pub client_secret: Option<Secret>,
    /// A certificate of the app registration, instead of a secret.
    pub certificate: Option<CertificateSettings>,
    /// The identity that Azure gives to this machine or app, instead of a secret or certificate.
    pub managed_identity: Option<ManagedIdentitySettings>,
    /// The cloud that the tenant lives in.
    #[serde(default)]
    pub cloud: Cloud,
    /// Address of the sign-in service, where it is not the cloud's own. Plain http only on this machine.
    pub authority: Option<String>,
    /// Address of Microsoft Graph with its version, where it is not the cloud's own, such as
    /// `https://graph.microsoft.com/v1.0`. Plain http only on this machine.
    pub graph_url: Option<String>,
    /// A PEM file of certificate authorities to trust besides the system's own, such as that of an
    /// inspecting proxy.
    pub ca_file: Option<String>,
    /// The proxy for both services, such as `http://proxy.example:8080`. Without it the environment's
    /// `HTTPS_PROXY` and `NO_PROXY` count. Managed identities are never asked through a proxy.
    pub proxy: Option<String>,
    /// The user name at the proxy.
    pub proxy_user: Option<String>,
    /// The password at the proxy.
    pub proxy_password: Option<Secret>,
    /// How long connecting may take.
    #[serde(default = "connect_timeout")]
    pub connect_timeout: Span,
    /// How long an answer may pause before it counts as stalled.
    #[serde(default = "read_timeout")]
    pub read_timeout: Span,
    /// How long one request may take in all.
    #[serde(default = "request_timeout")]
    pub request_timeout: Span,
    /// Directory extensions to offer as attributes of users and groups, by their full name
    /// `extension_{application id without dashes}_{name}` (case counts), each with its type.
    #[serde(default)]
    pub extension_attributes: BTreeMap<String, ExtensionType>,
    /// API-driven inbound provisioning: people flow into Entra, as objects of the type `inbound_user`.
    pub inbound: Option<InboundSettings>,
}

/// A certificate and its private key, both PEM.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateSettings {
    /// A PEM file that holds the certificate uploaded to the app registration.
    pub certificate_file: String,
    /// The private key, PKCS#8 or PKCS#1 PEM without passphrase, as a secret.
    pub private_key: Option<Secret>,
    /// A file with the private key; may be the same file as `certificate_file`.
    pub private_key_file: Option<String>,
}

/// The identity that Azure gives to a machine or an app.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ManagedIdentitySettings {
    /// The client id of a user-assigned identity. Without it the system-assigned one is used.
    pub client_id: Option<String>,
    /// Where this runs. Found from the environment by default.
    #[serde(default)]
    pub host: ManagedIdentityHost,
    /// Address of the platform's token service, where it is not the usual one. Plain http only on this machine
    /// and at 169.254.169.254.
    pub endpoint: Option<String>,
    /// The folder of the Azure Arc agent's keys, where it is not the usual one. Keys elsewhere are not read.
    pub arc_key_folder: Option<String>,
}

/// The platform that hands out a managed identity's tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ManagedIdentityHost {
    /// Found from the environment: App Service, then Azure Arc, then a virtual machine.
    #[default]
    Auto,
    /// An Azure virtual machine (the instance metadata service).
    Vm,
    /// A server connected by Azure Arc.
    Arc,
    /// Azure App Service, Functions or Container Apps.
    AppService,
}

/// One of Microsoft's separate clouds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cloud {
    /// The worldwide cloud, GCC included.
    #[default]
    Global,
    /// US Government L4 (GCC High).
    UsGov,
    /// US Government L5 (DoD).
    Dod,
    /// China, operated by 21Vianet.
    China,
}

/// The type of a directory extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExtensionType {
    /// String.
    Text,
    /// Boolean.
    Boolean,
    /// Integer or LargeInteger.
    Integer,
    /// DateTime.
    Instant,
    /// Binary.
    Binary,
}

impl ExtensionType {
    pub(crate) fn value_type(self) -> ValueType {
        match self {
            Self::Text => ValueType::Text,
            Self::Boolean => ValueType::Boolean,
            Self::Integer => ValueType::Integer,
            Self::Instant => ValueType::Instant,
            Self::Binary => ValueType::Binary,
        }
    }
}

fn connect_timeout() -> Span {
    Span(Duration::from_secs(15))
}

fn read_timeout() -> Span {
    Span(Duration::from_secs(60))
}

fn request_timeout() -> Span {
    Span(Duration::from_secs(300))
}

/// Which of the three credentials the settings choose.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Chosen<'a> {
    Secret,
    Certificate(&'a CertificateSettings),
    ManagedIdentity(&'a ManagedIdentitySettings),
}

impl EntraSettings {
    /// The one credential given.
    pub(crate) fn credential(&self) -> Result<Chosen<'_>, Error> {
        match (&self.client_secret, &self.certificate, &self.managed_identity) {
            (Some(_), None, None) => Ok(Chosen::Secret),
            (None, Some(certificate), None) => Ok(Chosen::Certificate(certificate)),
            (None, None, Some(identity)) => Ok(Chosen::ManagedIdentity(identity)),
            (None, None, None) => Err(setting(
                "client_secret",
                "no credential is given",
                "set one of client_secret, certificate and managed_identity",
            )),
            _ => {
                let given = [
                    ("client_secret", self.client_secret.is_some()),
                    ("certificate", self.certificate.is_some()),
                    ("managed_identity", self.managed_identity.is_some()),
                ];
                let given: Vec<&str> = given.iter().filter(|(_, set)| *set).map(|(name, _)| *name).collect();
                Err(setting(
                    given.last().copied().unwrap_or("client_secret"),
                    format!("more than one credential is given: {}", given.join(" and ")),
                    "keep one of them and remove the others",
                ))
            }
        }
    }

    /// The tenant in the form that goes into addresses; `None` only with a managed identity.
    pub(crate) fn checked_tenant(&self) -> Result<Option<String>, Error> {
        const FIX: &str = "set tenant to the directory (tenant) id on the Overview page of Microsoft Entra ID, or to one of the tenant's verified domains";
        let Some(tenant) = self.tenant.as_deref().map(str::trim) else {
            if self.managed_identity.is_some() {
                return Ok(None);
            }
            return Err(setting("tenant", "tenant is missing", FIX));
        };
        // The client-credentials grant needs one tenant (AADSTS9001023).
        if ["common", "organizations", "consumers"].contains(&tenant.to_ascii_lowercase().as_str()) {
            return Err(setting("tenant", format!("{tenant:?} does not name one tenant"), FIX));
        }
        let plain = tenant.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
        if tenant.is_empty() || !plain {
            return Err(setting("tenant", format!("{tenant:?} is neither a tenant id nor a domain name"), FIX));
        }
        Ok(Some(tenant.to_ascii_lowercase()))
    }

    /// The client id; empty with a managed identity.
    pub(crate) fn checked_client_id(&self) -> Result<String, Error> {
        const FIX: &str = "set client_id to the application (client) id on the Overview page of the app registration";
        match self.client_id.as_deref().map(str::trim) {
            Some(id) if uuid::Uuid::parse_str(id).is_ok() => Ok(id.to_owned()),
            Some(id) => Err(setting("client_id", format!("{id:?} is not an application id"), FIX)),
            None if self.managed_identity.is_some() => Ok(String::new()),
            None => Err(setting("client_id", "client_id is missing", FIX)),
        }
    }

    /// Refuses names of extensions that Graph could not know.
    pub(crate) fn check_extensions(&self) -> Result<(), Error> {
        for name in self.extension_attributes.keys() {
            let well_formed = name.strip_prefix("extension_").and_then(|rest| rest.split_once('_')).is_some_and(
                |(application, own)| {
                    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
                    application.len() == 32
                        && application.bytes().all(|byte| byte.is_ascii_hexdigit())
                        && !own.is_empty()
                        && own.bytes().all(plain)
                },
            );
            if !well_formed {
                return Err(setting(
                    &format!("extension_attributes.{name}"),
                    format!("{name:?} is not the full name of a directory extension"),
                    "write it as extension_{application id without dashes}_{name}, as Graph shows it",
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_one_credential() {
        let settings = |json: &str| serde_json::from_str::<EntraSettings>(json).unwrap();
        for (json, setting_to_blame) in [
            ("{}", "client_secret"),
            (r#"{"client_secret":{"env":"A"},"managed_identity":{}}"#, "managed_identity"),
            (r#"{"client_secret":{"env":"A"},"certificate":{"certificate_file":"a"}}"#, "certificate"),
        ] {
            let Err(Error::Configuration { setting, .. }) = settings(json).credential() else {
                panic!("{json} was accepted");
            };
            assert_eq!(setting.as_deref(), Some(setting_to_blame));
        }
        assert!(settings(r#"{"managed_identity":{}}"#).credential().is_ok());
    }

    #[test]
    fn every_setting_is_explained() {
        let schema = schemars::schema_for!(EntraSettings).to_value();
        for (name, property) in schema["properties"].as_object().unwrap() {
            assert!(property.get("description").is_some() || property.get("$ref").is_some(), "{name}");
        }
        assert_eq!(schema["additionalProperties"], false);
    }
}
