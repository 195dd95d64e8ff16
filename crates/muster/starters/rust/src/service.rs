//! The REST service: requests, and which of its answers means what.

use std::error::Error as _;
use std::time::Duration;

use muster_connector::{Error, ExposeSecret as _, SecretString};
use reqwest::{Client, Method, StatusCode};
use serde_json::Value as Json;

/// The service behind a connection.
pub(crate) struct Service {
    url: String,
    token: Option<SecretString>,
    client: Client,
}

/// What the service says of one object.
pub(crate) enum Answer {
    Done(Json),
    /// 404
    Missing,
    /// 409, and who is there
    Taken(Json),
    /// 410
    Gone,
    /// 422, and why
    Rejected(Json),
}

impl Service {
    pub(crate) fn new(url: &str, token: Option<SecretString>) -> Result<Self, Error> {
        let wrong = || Error::Configuration {
            setting: Some("url".to_owned()),
            problem: "this is no address of a service".to_owned(),
            fix: "write it as http://HOST:PORT".to_owned(),
        };
        let address = reqwest::Url::parse(url).map_err(|_| wrong())?;
        if !matches!(address.scheme(), "http" | "https") {
            return Err(wrong());
        }
        let client = Client::builder().timeout(Duration::from_secs(30)).build();
        let client = client.map_err(|error| Error::Bug(format!("no HTTP client: {error}")))?;
        Ok(Self { url: url.trim_end_matches('/').to_owned(), token, client })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The people of a query.
    pub(crate) async fn people(&self, query: &str) -> Result<Vec<Json>, Error> {
        let answer = self.done(&format!("/people?{query}")).await?;
        Ok(answer.get("people").and_then(Json::as_array).cloned().unwrap_or_default())
    }

    /// What must be there.
    pub(crate) async fn done(&self, path: &str) -> Result<Json, Error> {
        match self.ask(Method::GET, path, None).await? {
            Answer::Done(json) => Ok(json),
            _ => Err(unreachable(format!("{}{path} is not there: is this the right service?", self.url))),
        }
    }

    pub(crate) async fn ask(&self, method: Method, path: &str, body: Option<&Json>) -> Result<Answer, Error> {
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose_secret());
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.map_err(|error| Error::Unreachable {
            nothing_sent: error.is_connect(),
            problem: format!("{}: {}", self.url, deepest(&error)),
        })?;
        let status = answer.status();
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(Error::Credentials {
                problem: format!("the service refuses the token ({status})"),
                fix: "set a valid `token`".to_owned(),
            }),
            StatusCode::TOO_MANY_REQUESTS => {
                let pause = answer.headers().get("retry-after").and_then(|value| value.to_str().ok()?.parse().ok());
                let after = Duration::from_secs(pause.unwrap_or(5));
                Err(Error::Throttled { problem: "the service asks for a pause".to_owned(), after })
            }
            StatusCode::NOT_FOUND => Ok(Answer::Missing),
            StatusCode::GONE => Ok(Answer::Gone),
            StatusCode::CONFLICT => Ok(Answer::Taken(self.json(answer).await?)),
            StatusCode::UNPROCESSABLE_ENTITY => Ok(Answer::Rejected(self.json(answer).await?)),
            _ if status.is_success() => Ok(Answer::Done(self.json(answer).await?)),
            _ => Err(unreachable(format!("{} answers {status}", self.url))),
        }
    }

    async fn json(&self, answer: reqwest::Response) -> Result<Json, Error> {
        let broke_off = |error: reqwest::Error| unreachable(format!("{} broke off: {}", self.url, deepest(&error)));
        answer.json().await.map_err(broke_off)
    }
}

fn unreachable(problem: String) -> Error {
    Error::Unreachable { problem, nothing_sent: false }
}

/// What really happened: the outer errors only say that something did.
fn deepest(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    let mut text = error.to_string();
    while let Some(inner) = cause {
        text = inner.to_string();
        cause = inner.source();
    }
    text
}
