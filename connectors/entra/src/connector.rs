//! The connector as the host sees it: from settings to a connection.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use muster_connector::{
    CheckReport, Connector, ConnectorKind, ConnectorSettings, Description, Error, ReadRequest, SecretString, Source,
    Target, UsedType,
};
use muster_model::Schema;
use serde::Deserialize;
use tokio::sync::OnceCell;
use url::Url;

use crate::certificate::Certificate;
use crate::config::{Chosen, EntraSettings, ExtensionType};
use crate::endpoints::Endpoints;
use crate::environment::{Environment, SystemEnvironment};
use crate::error::{Failure, Refusal, setting};
use crate::http;
use crate::inbound::{Inbound, attributes};
use crate::managed_identity::ManagedIdentity;
use crate::permissions;
use crate::schema;
use crate::session::{Ask, Doubt, Session};
use crate::token::{Grant, Tokens};
use crate::writing::memory::Memory;

/// Microsoft Entra ID, as it stands in the host's list of connectors.
#[derive(Debug, Clone, Copy, Default)]
pub struct EntraKind;

impl ConnectorKind for EntraKind {
    fn describe(&self) -> Description {
        Description {
            kind: "entra".to_owned(),
            summary: "Microsoft Entra ID: users and groups by Microsoft Graph delta query, and to it by API-driven provisioning or Microsoft Graph".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            settings: schemars::schema_for!(EntraSettings).to_value(),
        }
    }

    fn connect(&self, settings: ConnectorSettings) -> Result<Arc<dyn Connector>, Error> {
        connect(&settings, Arc::new(SystemEnvironment::default()))
    }
}

/// Makes one connection in a chosen environment, such as one of simulated time.
///
/// # Errors
/// [`Error::Configuration`] names the setting that cannot be used.
pub fn connect(settings: &ConnectorSettings, environment: Arc<dyn Environment>) -> Result<Arc<dyn Connector>, Error> {
    Ok(Arc::new(Entra::new(settings, environment)?))
}

/// One connection to a tenant.
#[derive(Debug)]
pub(crate) struct Entra {
    pub(crate) session: Session,
    pub(crate) extensions: BTreeMap<String, ExtensionType>,
    /// The target side, where it is configured.
    pub(crate) inbound: Option<Inbound>,
    pub(crate) memory: Memory,
    tenant: Option<String>,
    identity: OnceCell<String>,
}

impl Entra {
    fn new(connection: &ConnectorSettings, environment: Arc<dyn Environment>) -> Result<Self, Error> {
        let settings: EntraSettings = connection.parse()?;
        let tenant = settings.checked_tenant()?;
        let client_id = settings.checked_client_id()?;
        settings.check_extensions()?;
        let endpoints = Endpoints::new(settings.cloud, settings.authority.as_deref(), settings.graph_url.as_deref())?;
        let grant = grant(connection, &settings, endpoints.resource, &*environment)?;
        let ca_file: Option<PathBuf> = settings.ca_file.as_deref().map(|file| connection.path(file));
        let plain = endpoints.graph.scheme() == "http" || endpoints.authority.scheme() == "http";
        let password = resolved(connection, "proxy_password", settings.proxy_password.is_some())?;
        let client = http::client(&settings, ca_file.as_deref(), password, plain)?;
        let token_client = match &grant {
            Grant::ManagedIdentity(_) => http::local_client(&settings, ca_file.as_deref())?,
            Grant::Secret(_) | Grant::Certificate(_) => client.clone(),
        };
        let tokens = Tokens {
            client: token_client,
            endpoint: token_endpoint(&endpoints, tenant.as_deref()),
            client_id,
            scope: format!("{}/.default", endpoints.resource),
            grant,
            environment: Arc::clone(&environment),
            gate: Default::default(),
            cached: Default::default(),
        };
        Ok(Self {
            session: Session { client, endpoints, tokens, environment, gate: Default::default() },
            inbound: settings.inbound.as_ref().map(|inbound| Inbound::new(connection, inbound)).transpose()?,
            extensions: settings.extension_attributes,
            memory: Memory::default(),
            tenant,
            identity: OnceCell::new(),
        })
    }

    pub(crate) fn has_managed_identity(&self) -> bool {
        matches!(self.session.tokens.grant, Grant::ManagedIdentity(_))
    }

    /// A refusal that is not about the position, as the host's error. `first` says that the request was made
    /// from the mapping alone.
    pub(crate) async fn explain(&self, refusal: &Refusal, request: &ReadRequest, first: bool) -> Error {
        match refusal.status {
            403 => {
                let roles = match self.session.tokens.token().await {
                    Ok(token) => token.hints().roles,
                    Err(_) => None,
                };
                let missing = permissions::missing(&request.object_type, &request.attributes, roles.as_deref());
                Error::Credentials {
                    problem: format!("{} ({})", permissions::problem(&missing), refusal.describe()),
                    fix: permissions::fix(self.has_managed_identity()),
                }
            }
            // A link that Graph itself made: the address is right, and the next run tries again.
            404 if !first => Error::Unreachable {
                problem: format!("Microsoft Graph does not find a page that it named itself ({})", refusal.describe()),
                nothing_sent: true,
            },
            404 => setting(
                "graph_url",
                format!("there is no Microsoft Graph at this address ({})", refusal.describe()),
                "correct or remove graph_url; it ends in the version, such as /v1.0",
            ),
            400 | 501 if first => Error::Configuration {
                setting: None,
                problem: format!("Microsoft Graph does not deliver these attributes: {}", refusal.describe()),
                fix: "remove the attribute that it names from the mapping, or correct extension_attributes".to_owned(),
            },
            _ => Error::Bug(format!("Microsoft Graph refused a request: {}", refusal.describe())),
        }
    }

    /// The tenant's id, so that another tenant under the same settings is noticed. Always an id where one can be
    /// had, since a domain may move to another tenant.
    pub(crate) async fn identity(&self) -> Result<&str, Error> {
        let identity = self.identity.get_or_try_init(|| async {
            match &self.tenant {
                Some(tenant) if uuid::Uuid::parse_str(tenant).is_ok() => return Ok(tenant.clone()),
                _ => {}
            }
            if let Some(id) = self.organization().await? {
                return Ok(id);
            }
            // Without the permission to ask, the token is the next best witness; it is not relied on for access.
            let hint = self.session.tokens.token().await?.hints().tid;
            hint.filter(|id| uuid::Uuid::parse_str(id).is_ok())
                .map(|id| id.to_ascii_lowercase())
                .or_else(|| self.tenant.clone())
                .ok_or_else(|| {
                    setting(
                        "tenant",
                        "the tenant's id cannot be found out",
                        "set tenant to the directory (tenant) id on the Overview page of Microsoft Entra ID",
                    )
                })
        });
        identity.await.map(String::as_str)
    }

    /// `GET /organization`, which not every app may ask.
    async fn organization(&self) -> Result<Option<String>, Error> {
        #[derive(Deserialize)]
        struct Organizations {
            value: Vec<Organization>,
        }
        #[derive(Deserialize)]
        struct Organization {
            id: uuid::Uuid,
        }
        let url = self.session.endpoints.graph("organization", Some("$select=id"));
        let accept = |answer: &http::Answer| {
            serde_json::from_slice::<Organizations>(&answer.body)
                .map_err(|error| Doubt::Again(format!("Microsoft Graph sent no organization: {error}")))
        };
        match self.session.ask(&Ask::Get(url), accept).await {
            Ok((organizations, _)) => Ok(organizations.value.first().map(|found| found.id.to_string())),
            Err(Failure::Refused(_)) => Ok(None),
            Err(Failure::Host(error)) => Err(error),
        }
    }
}

#[async_trait]
impl Connector for Entra {
    async fn check(&self, used: &[UsedType]) -> Result<CheckReport, Error> {
        Ok(crate::check::run(self, used).await)
    }

    async fn schema(&self) -> Result<Schema, Error> {
        let identity = self.identity().await?.to_owned();
        let mut schema = schema::schema(identity, &self.extensions);
        schema.types.extend(self.inbound.as_ref().map(|inbound| attributes::object_type(&inbound.extensions)));
        Ok(schema)
    }

    fn source(&self) -> Option<&dyn Source> {
        Some(self)
    }

    fn target(&self) -> Option<&dyn Target> {
        Some(self)
    }
}

fn grant(
    connection: &ConnectorSettings,
    settings: &EntraSettings,
    resource: &str,
    environment: &dyn Environment,
) -> Result<Grant, Error> {
    Ok(match settings.credential()? {
        Chosen::Secret => {
            let secret = resolved(connection, "client_secret", true)?;
            Grant::Secret(secret.cloned().unwrap_or_default())
        }
        Chosen::Certificate(certificate) => Grant::Certificate(Box::new(Certificate::load(connection, certificate)?)),
        Chosen::ManagedIdentity(identity) => {
            Grant::ManagedIdentity(ManagedIdentity::new(identity, resource, environment)?)
        }
    })
}

/// A secret that the host must have resolved when it is set.
fn resolved<'a>(connection: &'a ConnectorSettings, name: &str, set: bool) -> Result<Option<&'a SecretString>, Error> {
    use muster_connector::settings::ExposeSecret as _;
    if !set {
        return Ok(None);
    }
    match connection.secret(name) {
        Some(secret) if !secret.expose_secret().trim().is_empty() => Ok(Some(secret)),
        _ => Err(setting(name, format!("{name} is empty"), "check the variable or file that it names")),
    }
}

fn token_endpoint(endpoints: &Endpoints, tenant: Option<&str>) -> Url {
    let mut url = endpoints.authority.clone();
    url.set_path(&format!("{}{}/oauth2/v2.0/token", endpoints.authority.path(), tenant.unwrap_or("common")));
    url
}
