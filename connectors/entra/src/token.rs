//! Access tokens: the client-credentials grant and managed identities, cached and refreshed in time.
//!
//! Source: <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow>.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use muster_connector::settings::ExposeSecret as _;
use muster_connector::{Error, SecretString};
use reqwest::Client;
use serde::{Deserialize, Deserializer};
use tokio::sync::Mutex;
use url::Url;
use uuid::Uuid;

use crate::aadsts::{self, Meaning};
use crate::certificate::Certificate;
use crate::environment::Environment;
use crate::error::{shorten, unreachable};
use crate::http::{Answer, Broken, MAX_SMALL, exchange};
use crate::managed_identity::{Failed, ManagedIdentity};
use crate::retry::{Gate, LONGEST_PAUSE, MOST_ATTEMPTS, own_pause};

/// How long before its end a token is replaced.
const MARGIN: Duration = Duration::from_secs(300);

/// A token that is good for less than this is not used when a fresh one cannot be had.
const LAST_MOMENT: Duration = Duration::from_secs(30);

/// How we prove who we are.
#[derive(Debug)]
pub(crate) enum Grant {
    Secret(SecretString),
    Certificate(Box<Certificate>),
    ManagedIdentity(ManagedIdentity),
}

/// Hands out the current token, one request at a time for a new one.
pub(crate) struct Tokens {
    pub(crate) client: Client,
    pub(crate) endpoint: Url,
    pub(crate) client_id: String,
    pub(crate) scope: String,
    pub(crate) grant: Grant,
    pub(crate) environment: Arc<dyn Environment>,
    pub(crate) gate: Gate,
    pub(crate) cached: Mutex<Option<Token>>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Tokens").field("grant", &self.grant).finish_non_exhaustive()
    }
}

/// A token and its lifetime on our own monotonic clock.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) secret: SecretString,
    /// Tells tokens apart without comparing secrets.
    serial: Uuid,
    refresh_at: Duration,
    expires_at: Duration,
}

#[derive(Deserialize)]
struct Success {
    access_token: String,
    #[serde(deserialize_with = "number_or_text")]
    expires_in: u64,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Refusal {
    error: String,
    error_description: String,
    error_codes: Vec<u32>,
    trace_id: Option<String>,
}

/// What a token may tell of itself. Graph's tokens are opaque to clients, so these are hints for messages only.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Hints {
    pub(crate) roles: Option<Vec<String>>,
    pub(crate) tid: Option<String>,
}

/// What became of one attempt.
enum Attempt {
    Token(Token),
    Again { problem: String, pause: Option<Duration> },
    Failed(Error),
}

impl Tokens {
    /// The current token, or a new one when its end is near.
    pub(crate) async fn token(&self) -> Result<Token, Error> {
        // Held while asking, so that many callers make one request.
        let mut cached = self.cached.lock().await;
        let now = self.environment.elapsed();
        if let Some(token) = cached.as_ref().filter(|token| now < token.refresh_at) {
            return Ok(token.clone());
        }
        match self.acquire().await {
            Ok(token) => {
                *cached = Some(token.clone());
                Ok(token)
            }
            Err(error) => {
                let passing = matches!(error, Error::Unreachable { .. } | Error::Throttled { .. });
                match cached.as_ref() {
                    Some(token) if passing && self.environment.elapsed() + LAST_MOMENT < token.expires_at => {
                        tracing::warn!(%error, "no new access token; going on with the old one");
                        Ok(token.clone())
                    }
                    _ => Err(error),
                }
            }
        }
    }

    /// Forgets `refused`, unless somebody has replaced it already.
    pub(crate) async fn forget(&self, refused: &Token) {
        let mut cached = self.cached.lock().await;
        if cached.as_ref().is_some_and(|token| token.serial == refused.serial) {
            *cached = None;
        }
    }

    async fn acquire(&self) -> Result<Token, Error> {
        let mut waited = Duration::ZERO;
        let mut attempt = 1;
        loop {
            self.gate.pass("the sign-in service", &*self.environment).await?;
            let (problem, asked) = match self.attempt().await {
                Attempt::Token(token) => return Ok(token),
                Attempt::Failed(error) => return Err(error),
                Attempt::Again { problem, pause } => (problem, pause),
            };
            let pause = asked.unwrap_or_else(|| own_pause(attempt, &*self.environment));
            tracing::debug!(problem, attempt, ?pause, "no access token yet");
            if asked.is_some() {
                self.gate.close(pause, &*self.environment);
            }
            waited += pause;
            if attempt >= MOST_ATTEMPTS || waited > LONGEST_PAUSE {
                return Err(match asked {
                    Some(after) => Error::Throttled { problem, after },
                    None => unreachable(problem),
                });
            }
            if asked.is_none() {
                self.environment.sleep(pause).await;
            }
            attempt += 1;
        }
    }

    async fn attempt(&self) -> Attempt {
        let asked_at = self.environment.elapsed();
        let answer = match &self.grant {
            Grant::ManagedIdentity(identity) => match identity.ask(&self.client).await {
                Ok(answer) => Ok(answer),
                Err(Failed::Broken(broken)) => Err(broken),
                Err(Failed::Host(error)) => return Attempt::Failed(error),
            },
            Grant::Secret(_) | Grant::Certificate(_) => match self.form() {
                Ok(form) => exchange(self.client.post(self.endpoint.clone()).form(&form), MAX_SMALL).await,
                Err(error) => return Attempt::Failed(error),
            },
        };
        match answer {
            Ok(answer) if answer.status == 200 => self.accept(&answer.body, asked_at),
            Ok(answer) => self.refusal(&answer),
            Err(Broken::Unsent(problem) | Broken::Transient(problem)) => {
                let place = match &self.grant {
                    Grant::ManagedIdentity(_) => String::new(),
                    Grant::Secret(_) | Grant::Certificate(_) => {
                        format!(" at {}", self.endpoint.origin().ascii_serialization())
                    }
                };
                let problem = format!(
                    "{}{place} cannot be reached: {problem}; check the network, a proxy (HTTPS_PROXY) and the setting `authority`",
                    self.asked()
                );
                Attempt::Again { problem, pause: None }
            }
            Err(Broken::TooLarge(limit)) => {
                Attempt::Failed(Error::Bug(format!("{} sent more than {limit} bytes", self.asked())))
            }
        }
    }

    /// For messages: who was asked.
    fn asked(&self) -> &'static str {
        match &self.grant {
            Grant::ManagedIdentity(identity) => identity.name(),
            Grant::Secret(_) | Grant::Certificate(_) => "the sign-in service",
        }
    }

    fn form(&self) -> Result<Vec<(&'static str, String)>, Error> {
        let mut form = vec![
            ("client_id", self.client_id.clone()),
            ("grant_type", "client_credentials".to_owned()),
            ("scope", self.scope.clone()),
        ];
        match &self.grant {
            Grant::Secret(secret) => form.push(("client_secret", secret.expose_secret().to_owned())),
            Grant::Certificate(certificate) => {
                let assertion = certificate.assertion(&self.client_id, self.endpoint.as_str(), &*self.environment)?;
                form.push((
                    "client_assertion_type",
                    "urn:ietf:params:oauth:client-assertion-type:jwt-bearer".to_owned(),
                ));
                form.push(("client_assertion", assertion.expose_secret().to_owned()));
            }
            Grant::ManagedIdentity(_) => {}
        }
        Ok(form)
    }

    fn accept(&self, body: &[u8], asked_at: Duration) -> Attempt {
        // The parser's own message could quote the token.
        let Some(success) =
            serde_json::from_slice::<Success>(body).ok().filter(|success| !success.access_token.is_empty())
        else {
            let problem = format!("{} answered with something other than a token", self.asked());
            return Attempt::Again { problem, pause: None };
        };
        let lifetime = Duration::from_secs(success.expires_in.min(86_400 * 2));
        Attempt::Token(Token {
            secret: SecretString::from(success.access_token),
            serial: self.environment.id(),
            // A short-lived token is used for half its life, so that it is not asked for at every call.
            refresh_at: asked_at + lifetime.saturating_sub(MARGIN).max(lifetime / 2),
            expires_at: asked_at + lifetime,
        })
    }

    fn refusal(&self, answer: &Answer) -> Attempt {
        let refusal = serde_json::from_slice::<Refusal>(&answer.body).unwrap_or_default();
        let pause = answer.retry_after(self.environment.now());
        let again = |problem: String| Attempt::Again { problem, pause };
        if (300..400).contains(&answer.status) {
            return again(format!("{} answers with a redirect, which is not followed", self.asked()));
        }
        // The metadata service answers 404 and 410 while it is being updated.
        let updating = matches!(self.grant, Grant::ManagedIdentity(_)) && matches!(answer.status, 404 | 410);
        let known = aadsts::meaning(&refusal.error_codes);
        let busy = answer.status == 429 || answer.status >= 500 || known == Some(Meaning::Transient);
        if busy || updating || refusal.error == "temporarily_unavailable" {
            let codes = refusal.error_codes.first().map(|code| format!(", AADSTS{code}")).unwrap_or_default();
            return again(format!("{} is busy ({}{codes})", self.asked(), answer.status));
        }
        if let Grant::ManagedIdentity(identity) = &self.grant {
            return Attempt::Failed(Error::Credentials {
                problem: format!("{} refused a token ({} {})", identity.name(), answer.status, shorten(&refusal.error)),
                fix: identity.fix().to_owned(),
            });
        }
        if refusal.error.is_empty() {
            return again(format!("{} answered {} without a reason", self.asked(), answer.status));
        }
        let description = self.without_secret(&refusal.error_description);
        let description = description.split("Trace ID").next().unwrap_or_default().trim_end();
        Attempt::Failed(aadsts::explain(&refusal.error_codes, &refusal.error, description, refusal.trace_id.as_deref()))
    }

    /// A text from outside, in which nobody quotes our secret back.
    fn without_secret(&self, text: &str) -> String {
        match &self.grant {
            Grant::Secret(secret) if !secret.expose_secret().is_empty() => text.replace(secret.expose_secret(), "…"),
            _ => text.to_owned(),
        }
    }
}

impl Token {
    /// What the token says of itself, where it is a JWT at all.
    pub(crate) fn hints(&self) -> Hints {
        let claims = self.secret.expose_secret().split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
        claims.and_then(|claims| serde_json::from_slice(&claims).ok()).unwrap_or_default()
    }
}

/// Managed identities write numbers as texts.
fn number_or_text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    struct Either;
    impl serde::de::Visitor<'_> for Either {
        type Value = u64;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a number of seconds")
        }

        fn visit_u64<E>(self, number: u64) -> Result<u64, E> {
            Ok(number)
        }

        fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<u64, E> {
            if (0.0..1e9).contains(&number) {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the range above")]
                return Ok(number as u64);
            }
            Err(E::custom("out of range"))
        }

        fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<u64, E> {
            text.trim().parse().map_err(E::custom)
        }
    }
    deserializer.deserialize_any(Either)
}
