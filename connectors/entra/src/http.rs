//! One exchange over HTTP: no redirects, bounded in time and in bytes.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};
use flate2::write::MultiGzDecoder;
use muster_connector::settings::ExposeSecret as _;
use muster_connector::{Error, SecretString};
use reqwest::header::{ACCEPT_ENCODING, CONTENT_ENCODING, DATE, HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, NoProxy, Proxy, RequestBuilder};
use url::Url;

use crate::config::EntraSettings;
use crate::error::{describe, setting};
use crate::retry::{LONGEST_BELIEVED, http_date, retry_after};

/// The most bytes of a page, on the wire and unpacked.
pub(crate) const MAX_PAGE: usize = 64 << 20;

/// The most bytes of a token or of an error.
pub(crate) const MAX_SMALL: usize = 1 << 20;

/// An answer whose body has arrived whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

/// Why an exchange brought no whole answer.
#[derive(Debug)]
pub(crate) enum Broken {
    /// There was no connection, so nothing left.
    Unsent(String),
    /// It may go better next time.
    Transient(String),
    /// The body is larger than anything legitimate.
    TooLarge(usize),
}

impl Answer {
    pub(crate) fn header(&self, name: impl reqwest::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The server's own clock.
    pub(crate) fn date(&self) -> Option<DateTime<Utc>> {
        self.header(DATE).and_then(http_date)
    }

    /// The pause that the server asks for.
    pub(crate) fn retry_after(&self, now: DateTime<Utc>) -> Option<Duration> {
        self.retry_after_within(now, LONGEST_BELIEVED)
    }

    /// The same where a longer pause than usual may be meant.
    pub(crate) fn retry_after_within(&self, now: DateTime<Utc>, longest: Duration) -> Option<Duration> {
        retry_after(self.header(RETRY_AFTER), self.date(), now, longest)
    }
}

/// The client for both services. `plain` says that one of them is reached without TLS on this machine.
pub(crate) fn client(
    settings: &EntraSettings,
    ca_file: Option<&Path>,
    proxy_password: Option<&SecretString>,
    plain: bool,
) -> Result<Client, Error> {
    let mut builder = bounded(settings);
    match &settings.proxy {
        Some(_) if plain => {
            return Err(setting(
                "proxy",
                "a proxy would see the access token of a service without TLS",
                "remove proxy, or use https:// in authority and graph_url",
            ));
        }
        Some(address) => {
            builder = builder.proxy(proxy(address, settings.proxy_user.as_deref(), proxy_password)?);
        }
        // The environment's proxy is for the world outside.
        None if plain => builder = builder.no_proxy(),
        None => {}
    }
    build(builder.tls_backend_preconfigured(trust(ca_file, plain)?))
}

/// The client for the platform's own token service, which lives on this machine or next to it.
pub(crate) fn local_client(settings: &EntraSettings, ca_file: Option<&Path>) -> Result<Client, Error> {
    build(bounded(settings).no_proxy().tls_backend_preconfigured(trust(ca_file, true)?))
}

/// Whom to trust; where there is no TLS to speak, a machine without any roots will do.
fn trust(ca_file: Option<&Path>, plain: bool) -> Result<muster_tls::ClientConfig, Error> {
    match muster_tls::http_client_config(ca_file) {
        Ok(config) => Ok(config),
        Err(muster_tls::TlsError::NoRoots) if plain => Ok(muster_tls::trusting_nobody()),
        Err(error) => {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            let fix = "name a readable PEM file of certificate authorities";
            Err(setting("ca_file", format!("{error}{cause}"), fix))
        }
    }
}

fn bounded(settings: &EntraSettings) -> reqwest::ClientBuilder {
    Client::builder()
        .user_agent(concat!("muster/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .referer(false)
        .no_gzip()
        .connect_timeout(settings.connect_timeout.0)
        .read_timeout(settings.read_timeout.0)
        .timeout(settings.request_timeout.0)
        .pool_idle_timeout(Duration::from_secs(60))
        .pool_max_idle_per_host(4)
}

fn build(builder: reqwest::ClientBuilder) -> Result<Client, Error> {
    builder.build().map_err(|error| Error::Bug(format!("no HTTP client: {}", describe(error))))
}

fn proxy(address: &str, user: Option<&str>, password: Option<&SecretString>) -> Result<Proxy, Error> {
    let fix = "write it like \"http://proxy.example:8080\"";
    let url = Url::parse(address).map_err(|error| setting("proxy", format!("proxy is not a URL: {error}"), fix))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(setting(
            "proxy",
            "proxy holds a user name or password",
            "move them to proxy_user and proxy_password, which keeps the password out of this file",
        ));
    }
    if !["http", "https"].contains(&url.scheme()) {
        return Err(setting("proxy", format!("a proxy of the kind {:?} is not supported", url.scheme()), fix));
    }
    let mut proxy = Proxy::all(url)
        .map_err(|error| setting("proxy", format!("proxy cannot be used: {}", describe(error)), fix))?
        .no_proxy(NoProxy::from_env());
    if let Some(user) = user {
        proxy = proxy.basic_auth(user, password.map_or("", |password| password.expose_secret()));
    }
    Ok(proxy)
}

/// Sends a request and takes in its answer, of at most `limit` bytes both on the wire and unpacked.
pub(crate) async fn exchange(request: RequestBuilder, limit: usize) -> Result<Answer, Broken> {
    let request = request.header(ACCEPT_ENCODING, "gzip");
    let unsent = |error: reqwest::Error| match error.is_connect() {
        true => Broken::Unsent(describe(error)),
        false => Broken::Transient(describe(error)),
    };
    let mut response = request.send().await.map_err(unsent)?;
    let status = response.status();
    // What is no success is an error's few lines or somebody else's page.
    let limit = if status.is_success() { limit } else { limit.min(MAX_SMALL) };
    let headers = std::mem::take(response.headers_mut());
    let encoding = headers.get(CONTENT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut sink = match encoding.trim().to_ascii_lowercase().as_str() {
        "" | "identity" => Sink::Plain(Bounded::new(limit)),
        "gzip" | "x-gzip" => Sink::Gzip(Box::new(MultiGzDecoder::new(Bounded::new(limit)))),
        other => return Err(Broken::Transient(format!("the answer is packed as {other:?}"))),
    };
    let mut received = 0;
    loop {
        let chunk = response.chunk().await.map_err(|error| Broken::Transient(describe(error)))?;
        let Some(chunk) = chunk else { break };
        received += chunk.len();
        let taken = if received > limit { Err(Broken::TooLarge(limit)) } else { sink.write(&chunk, limit) };
        match taken {
            Err(_) if !status.is_success() => return Ok(Answer { status: status.as_u16(), headers, body: Vec::new() }),
            other => other?,
        }
    }
    match sink.finish(limit) {
        Ok(body) => Ok(Answer { status: status.as_u16(), headers, body }),
        // The status says enough; a proxy's endless or damaged error page says nothing.
        Err(_) if !status.is_success() => Ok(Answer { status: status.as_u16(), headers, body: Vec::new() }),
        Err(broken) => Err(broken),
    }
}

enum Sink {
    Plain(Bounded),
    Gzip(Box<MultiGzDecoder<Bounded>>),
}

impl Sink {
    fn write(&mut self, chunk: &[u8], limit: usize) -> Result<(), Broken> {
        let (written, full) = match self {
            Self::Plain(bounded) => (bounded.write_all(chunk), bounded.full),
            Self::Gzip(decoder) => (decoder.write_all(chunk), decoder.get_ref().full),
        };
        written.map_err(|error| if full { Broken::TooLarge(limit) } else { broken_gzip(&error) })
    }

    fn finish(self, limit: usize) -> Result<Vec<u8>, Broken> {
        match self {
            Self::Plain(bounded) => Ok(bounded.bytes),
            Self::Gzip(mut decoder) => {
                let finished = decoder.try_finish();
                if decoder.get_ref().full {
                    return Err(Broken::TooLarge(limit));
                }
                finished.map_err(|error| broken_gzip(&error))?;
                Ok(std::mem::take(&mut decoder.get_mut().bytes))
            }
        }
    }
}

fn broken_gzip(error: &std::io::Error) -> Broken {
    Broken::Transient(format!("the answer is damaged (gzip): {error}"))
}

/// Collects bytes up to a limit.
struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
    full: bool,
}

impl Bounded {
    fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), limit, full: false }
    }
}

impl Write for Bounded {
    fn write(&mut self, chunk: &[u8]) -> std::io::Result<usize> {
        if self.bytes.len() + chunk.len() > self.limit {
            self.full = true;
            return Err(std::io::Error::other("too large"));
        }
        self.bytes.extend_from_slice(chunk);
        Ok(chunk.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
