//! Tokens of the identity that Azure gives to a machine or an app.
//!
//! Sources: virtual machines
//! <https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token>,
//! Azure Arc <https://learn.microsoft.com/azure/azure-arc/servers/managed-identity-authentication>, App Service
//! <https://learn.microsoft.com/azure/app-service/overview-managed-identity>.

use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use muster_connector::settings::ExposeSecret as _;
use muster_connector::{Error, SecretString};
use reqwest::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Client, RequestBuilder};
use url::{Host, Url};

use crate::config::{ManagedIdentityHost, ManagedIdentitySettings};
use crate::endpoints::is_loopback;
use crate::environment::Environment;
use crate::error::setting;
use crate::http::{Answer, Broken, MAX_SMALL, exchange};

/// The largest key file that the Arc agent writes.
const MAX_ARC_KEY: u64 = 4_096;

/// Where a managed identity's tokens come from.
pub(crate) struct ManagedIdentity {
    form: Form,
    url: Url,
}

enum Form {
    Vm,
    Arc { key_folder: PathBuf },
    AppService { header: SecretString },
}

impl fmt::Debug for ManagedIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ManagedIdentity").field("form", &self.name()).finish_non_exhaustive()
    }
}

impl ManagedIdentity {
    pub(crate) fn new(
        settings: &ManagedIdentitySettings,
        resource: &str,
        environment: &dyn Environment,
    ) -> Result<Self, Error> {
        let announced = environment.variable("IDENTITY_ENDPOINT");
        let host = match settings.host {
            ManagedIdentityHost::Auto if announced.is_some() && environment.variable("IDENTITY_HEADER").is_some() => {
                ManagedIdentityHost::AppService
            }
            ManagedIdentityHost::Auto if announced.is_some() && environment.variable("IMDS_ENDPOINT").is_some() => {
                ManagedIdentityHost::Arc
            }
            ManagedIdentityHost::Auto => ManagedIdentityHost::Vm,
            chosen => chosen,
        };
        let (form, usual, version) = match host {
            ManagedIdentityHost::AppService => {
                let header = environment.variable("IDENTITY_HEADER").map(SecretString::from).ok_or_else(|| {
                    setting(
                        "managed_identity.host",
                        "this is not App Service: IDENTITY_HEADER is not set",
                        "switch the app's identity on in the portal, or choose vm or arc",
                    )
                })?;
                (Form::AppService { header }, announced, "2019-08-01")
            }
            ManagedIdentityHost::Arc => {
                let usual =
                    announced.or_else(|| Some("http://localhost:40342/metadata/identity/oauth2/token".to_owned()));
                let key_folder =
                    settings.arc_key_folder.as_ref().map_or_else(|| usual_key_folder(environment), PathBuf::from);
                (Form::Arc { key_folder }, usual, "2019-11-01")
            }
            ManagedIdentityHost::Auto | ManagedIdentityHost::Vm => {
                let usual = Some("http://169.254.169.254/metadata/identity/oauth2/token".to_owned());
                (Form::Vm, usual, "2018-02-01")
            }
        };
        let mut url = checked(settings.endpoint.clone().or(usual))?;
        url.query_pairs_mut().append_pair("api-version", version).append_pair("resource", resource);
        if let Some(client_id) = &settings.client_id {
            url.query_pairs_mut().append_pair("client_id", client_id);
        }
        Ok(Self { form, url })
    }

    /// For messages.
    pub(crate) fn name(&self) -> &'static str {
        match self.form {
            Form::Vm => "the virtual machine's metadata service",
            Form::Arc { .. } => "the Azure Arc agent",
            Form::AppService { .. } => "App Service",
        }
    }

    /// What to do when the platform refuses.
    pub(crate) fn fix(&self) -> &'static str {
        match self.form {
            Form::Vm => {
                "switch the identity on under the virtual machine's Identity page; for a user-assigned one set managed_identity.client_id"
            }
            Form::Arc { .. } => {
                "check that the server is connected (azcmagent show) and that Muster's user is in the group himds"
            }
            Form::AppService { .. } => "switch the identity on under the app's Identity page",
        }
    }

    /// Asks once for a token; the Arc agent takes two exchanges for that.
    pub(crate) async fn ask(&self, client: &Client) -> Result<Answer, Failed> {
        match &self.form {
            Form::Vm => Ok(exchange(self.request(client, true), MAX_SMALL).await?),
            Form::AppService { header } => {
                let request = self.request(client, false).header("X-IDENTITY-HEADER", secret_header(header)?);
                Ok(exchange(request, MAX_SMALL).await?)
            }
            Form::Arc { key_folder } => {
                let challenge = exchange(self.request(client, true), MAX_SMALL).await?;
                if challenge.status != 401 {
                    return Ok(challenge);
                }
                let key = arc_key(challenge.header(WWW_AUTHENTICATE), key_folder)?;
                let credential = SecretString::from(format!("Basic {}", key.expose_secret()));
                let request = self.request(client, true).header(AUTHORIZATION, secret_header(&credential)?);
                Ok(exchange(request, MAX_SMALL).await?)
            }
        }
    }

    fn request(&self, client: &Client, metadata: bool) -> RequestBuilder {
        let request = client.get(self.url.clone());
        if metadata { request.header("Metadata", "true") } else { request }
    }
}

/// Why the platform could not be asked.
pub(crate) enum Failed {
    Broken(Broken),
    Host(Error),
}

impl From<Broken> for Failed {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Host(error)
    }
}

fn secret_header(secret: &SecretString) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::from_str(secret.expose_secret())
        .map_err(|_| Error::Bug("the platform's secret does not fit into a header".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

fn checked(endpoint: Option<String>) -> Result<Url, Error> {
    const NAME: &str = "managed_identity.endpoint";
    let text = endpoint.ok_or_else(|| {
        setting(NAME, "IDENTITY_ENDPOINT is not set", "switch the app's identity on in the portal, or choose vm or arc")
    })?;
    let url = Url::parse(&text)
        .map_err(|error| setting(NAME, format!("the endpoint is not a URL: {error}"), "correct or remove it"))?;
    let link_local = matches!(url.host(), Some(Host::Ipv4(address)) if address.is_link_local());
    if url.scheme() == "https" || (url.scheme() == "http" && (is_loopback(&url) || link_local)) {
        return Ok(url);
    }
    Err(setting(NAME, "the endpoint would show tokens to the network", "use https, or an address of this machine"))
}

/// Where the Arc agent keeps its keys unless told otherwise.
fn usual_key_folder(environment: &dyn Environment) -> PathBuf {
    match environment.variable("ProgramData") {
        Some(folder) if cfg!(windows) => Path::new(&folder).join("AzureConnectedMachineAgent").join("Tokens"),
        _ => PathBuf::from("/var/opt/azcmagent/tokens"),
    }
}

/// The key that the Arc agent's challenge names, proof that we may read this machine's protected files. Nothing
/// outside the agent's folder is read, whatever the challenge says.
fn arc_key(challenge: Option<&str>, folder: &Path) -> Result<SecretString, Error> {
    let refused = |what: &str| Error::Credentials {
        problem: format!("the Azure Arc agent's challenge {what}"),
        fix: "check the endpoint, and that Muster's user is in the group himds".to_owned(),
    };
    let path = challenge
        .and_then(|text| text.split_once("realm="))
        .map(|(_, path)| Path::new(path.trim().trim_matches('"')))
        .ok_or_else(|| refused("names no key file"))?;
    let inside = path.parent() == Some(folder) && path.extension().is_some_and(|extension| extension == "key");
    if !inside {
        return Err(refused("names a file outside the agent's folder"));
    }
    let readable = std::fs::symlink_metadata(path).is_ok_and(|file| file.is_file() && file.len() <= MAX_ARC_KEY);
    if !readable {
        return Err(refused("names a file that is missing or too large"));
    }
    std::fs::read(path)
        .map(|key| SecretString::from(key_text(&key)))
        .map_err(|error| refused(&format!("names a file that cannot be read ({error})")))
}

/// The key goes out as it stands when it is text, and in Base64 otherwise.
fn key_text(key: &[u8]) -> String {
    match std::str::from_utf8(key) {
        Ok(text) if text.trim().bytes().all(|byte| byte.is_ascii_graphic()) => text.trim().to_owned(),
        _ => STANDARD.encode(key),
    }
}
