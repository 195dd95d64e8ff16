//! A call to Graph that ends with an answer worth having: what is asked again, when, and with which token.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use muster_connector::Error;
use muster_connector::settings::ExposeSecret as _;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION};
use reqwest::{Client, RequestBuilder};
use url::Url;

use crate::endpoints::{Endpoints, origin};
use crate::environment::Environment;
use crate::error::{Failure, Refusal, unreachable};
use crate::http::{Answer, Broken, MAX_PAGE, exchange};
use crate::retry::{Gate, LONGEST_PAUSE, MOST_ATTEMPTS, own_pause};
use crate::token::{Token, Tokens};

/// The connection to one tenant's Graph.
pub(crate) struct Session {
    pub(crate) client: Client,
    pub(crate) endpoints: Endpoints,
    pub(crate) tokens: Tokens,
    pub(crate) environment: Arc<dyn Environment>,
    pub(crate) gate: Gate,
}

impl fmt::Debug for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Session").field("endpoints", &self.endpoints).finish_non_exhaustive()
    }
}

/// One request, repeatable since it changes nothing.
#[derive(Debug)]
pub(crate) enum Ask {
    Get(Url),
    /// A `$batch` of reads.
    Batch(Url, Vec<u8>),
}

/// What a caller thinks of a body that came with 200.
pub(crate) enum Doubt {
    /// It is damaged or breaks the protocol; asking again may help.
    Again(String),
    /// Asking again would be wrong.
    Stop(Error),
}

/// An accepted body and the server's clock.
pub(crate) type Accepted<T> = (T, Option<DateTime<Utc>>);

/// What one exchange came to.
enum Verdict<T> {
    Done(Accepted<T>),
    /// The server is busy and may have said for how long.
    Busy {
        problem: String,
        after: Option<Duration>,
        limited: bool,
    },
    /// The token is no longer good.
    Unauthorised(Refusal),
    Failed(Failure),
}

/// How often and how long one call has been put off.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    failures: u32,
    throttles: u32,
    waited: Duration,
}

impl Session {
    /// Asks until the answer is accepted, refused for good, or patience ends.
    pub(crate) async fn ask<T>(
        &self,
        ask: &Ask,
        accept: impl Fn(&Answer) -> Result<T, Doubt> + Send + Sync,
    ) -> Result<Accepted<T>, Failure>
    where
        T: Send,
    {
        let mut patience = Patience::default();
        let mut renewed = false;
        loop {
            self.gate.pass("Microsoft Graph", &*self.environment).await?;
            let token = self.tokens.token().await?;
            match self.once(ask, &token, &accept).await {
                Verdict::Done(accepted) => return Ok(accepted),
                Verdict::Failed(Failure::Refused(refusal)) if refusal.status == 403 => {
                    // A permission granted meanwhile takes effect with the next token.
                    self.tokens.forget(&token).await;
                    return Err(Failure::Refused(refusal));
                }
                Verdict::Failed(failure) => return Err(failure),
                Verdict::Unauthorised(refusal) => {
                    self.tokens.forget(&token).await;
                    if renewed {
                        return Err(Failure::Host(not_accepted(&refusal)));
                    }
                    tracing::debug!("Graph no longer accepts the access token; asking for a new one");
                    renewed = true;
                }
                Verdict::Busy { problem, after, limited } => {
                    self.put_off(&mut patience, problem, after, limited).await?;
                }
            }
        }
    }

    /// Waits as asked or as long as seems wise, or gives up.
    pub(crate) async fn put_off(
        &self,
        patience: &mut Patience,
        problem: String,
        after: Option<Duration>,
        limited: bool,
    ) -> Result<(), Error> {
        let counter = if limited { &mut patience.throttles } else { &mut patience.failures };
        *counter += 1;
        let attempt = *counter;
        let pause = after.unwrap_or_else(|| own_pause(attempt, &*self.environment));
        if limited || after.is_some() {
            self.gate.close(pause, &*self.environment);
        }
        patience.waited += pause;
        let enough = patience.waited > LONGEST_PAUSE;
        if (limited || after.is_some()) && enough {
            return Err(Error::Throttled { problem, after: pause });
        }
        if enough || (!limited && attempt >= MOST_ATTEMPTS) {
            return Err(unreachable(problem));
        }
        tracing::debug!(problem, attempt, ?pause, "asking Graph again");
        if !limited && after.is_none() {
            self.environment.sleep(pause).await;
        }
        Ok(())
    }

    async fn once<T>(
        &self,
        ask: &Ask,
        token: &Token,
        accept: &(impl Fn(&Answer) -> Result<T, Doubt> + Send + Sync),
    ) -> Verdict<T> {
        let request = match self.request(ask, token) {
            Ok(request) => request,
            Err(error) => return Verdict::Failed(Failure::Host(error)),
        };
        match exchange(request, MAX_PAGE).await {
            Ok(answer) if answer.status == 200 => match accept(&answer) {
                Ok(value) => Verdict::Done((value, answer.date())),
                Err(Doubt::Again(problem)) => Verdict::Busy { problem, after: None, limited: false },
                Err(Doubt::Stop(error)) => Verdict::Failed(Failure::Host(error)),
            },
            Ok(answer) => self.judge(&answer),
            Err(Broken::Unsent(problem) | Broken::Transient(problem)) => {
                let problem = format!("Microsoft Graph cannot be read: {problem}");
                Verdict::Busy { problem, after: None, limited: false }
            }
            Err(Broken::TooLarge(limit)) => {
                let problem = format!("Microsoft Graph sent more than {limit} bytes at once; the page was not taken");
                Verdict::Failed(Failure::Host(Error::Bug(problem)))
            }
        }
    }

    fn request(&self, ask: &Ask, token: &Token) -> Result<RequestBuilder, Error> {
        let url = match ask {
            Ask::Get(url) | Ask::Batch(url, _) => url,
        };
        let request = match ask {
            Ask::Get(url) => self.client.get(url.clone()),
            Ask::Batch(url, body) => {
                self.client.post(url.clone()).header(CONTENT_TYPE, "application/json").body(body.clone())
            }
        };
        self.authorised(request, url, token)
    }

    /// A request to `url` with the token and what every request to Graph carries.
    pub(crate) fn authorised(
        &self,
        request: RequestBuilder,
        url: &Url,
        token: &Token,
    ) -> Result<RequestBuilder, Error> {
        // Every address is checked where it comes from; this is the last door before the token leaves.
        self.endpoints.follow(url.as_str().as_bytes())?;
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", token.secret.expose_secret()))
            .map_err(|_| Error::Bug("the access token does not fit into a header".to_owned()))?;
        bearer.set_sensitive(true);
        Ok(request
            .header(AUTHORIZATION, bearer)
            .header(ACCEPT, "application/json")
            .header("client-request-id", self.environment.id().to_string()))
    }

    /// What an answer other than 200 means.
    fn judge<T>(&self, answer: &Answer) -> Verdict<T> {
        let refusal = Refusal::read(answer.status, &answer.body, answer.header("request-id"));
        let after = answer.retry_after(self.environment.now());
        match answer.status {
            401 => Verdict::Unauthorised(refusal),
            429 => Verdict::Busy {
                problem: format!("Microsoft Graph limits our requests ({})", refusal.describe()),
                after,
                limited: true,
            },
            // A property that cannot be read: no passing failure.
            501 => Verdict::Failed(Failure::Refused(refusal)),
            status if status >= 500 || status == 408 => Verdict::Busy {
                problem: format!("Microsoft Graph fails ({})", refusal.describe()),
                after,
                limited: false,
            },
            300..=399 => Verdict::Failed(Failure::Host(self.redirected(answer))),
            200..=299 => Verdict::Busy {
                problem: format!("Microsoft Graph answered {} instead of 200", answer.status),
                after: None,
                limited: false,
            },
            407 => Verdict::Failed(Failure::Host(proxy_sign_in())),
            _ => Verdict::Failed(Failure::Refused(refusal)),
        }
    }

    /// A redirect, which is never followed.
    pub(crate) fn redirected(&self, answer: &Answer) -> Error {
        let target = answer.header(LOCATION).and_then(|text| Url::parse(text).ok());
        let target = target.map_or_else(|| "elsewhere".to_owned(), |url| format!("to {}", origin(&url)));
        unreachable(format!(
            "{} answers with a redirect {target}, which is not followed since the access token would go along; check \
             graph_url, and whether a proxy or sign-in page stands in between",
            origin(&self.endpoints.graph)
        ))
    }
}

/// The proxy refuses us.
pub(crate) fn proxy_sign_in() -> Error {
    crate::error::setting("proxy_user", "the proxy wants us to sign in", "set proxy, proxy_user and proxy_password")
}

pub(crate) fn not_accepted(refusal: &Refusal) -> Error {
    Error::Credentials {
        problem: format!("Microsoft Graph does not accept a fresh access token ({})", refusal.describe()),
        fix: "check that cloud, authority and graph_url belong to the same cloud, and this machine's clock".to_owned(),
    }
}
