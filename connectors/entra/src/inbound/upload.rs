//! One upload: sent once, within the limits, and its answer understood.

use std::time::Duration;

use chrono::{DateTime, Utc};
use muster_connector::{Batch, Error, OperationId, Outcome};
use reqwest::header::CONTENT_TYPE;

use super::Inbound;
use super::attributes::MOST_OPERATIONS;
use super::calls::Sent;
use super::limiter::{Wait, grouped};
use super::ticket::Ticket;
use crate::connector::Entra;
use crate::error::{Refusal, setting};
use crate::http::{Answer, Broken, MAX_SMALL, exchange};
use crate::permissions;
use crate::session::{not_accepted, proxy_sign_in};

/// Graph refuses bodies of 4 MB and more.
const LARGEST: usize = 3_900_000;

/// Entra is left alone for so long when it does not say for how long.
const UNSAID: Duration = Duration::from_secs(60);

/// So long for the queue of uploads to be worked off (Microsoft: 5 to 10 minutes).
const BUCKET_FULL: Duration = Duration::from_secs(600);

/// Quotas are those of 24 hours, so no honest pause is longer.
const LONGEST_WAIT: Duration = Duration::from_secs(25 * 3_600);

/// What an upload came to.
enum Taken {
    /// All of it is taken.
    Yes { at: DateTime<Utc>, doubt: bool },
    /// Something in it is not what Entra takes.
    Malformed(Refusal),
}

impl Entra {
    pub(crate) async fn upload(&self, inbound: &Inbound, batch: &Batch) -> Result<Vec<(OperationId, Outcome)>, Error> {
        if batch.operations.len() > MOST_OPERATIONS as usize {
            let problem =
                format!("{} people are more than one upload takes ({MOST_OPERATIONS})", batch.operations.len());
            return Err(Error::Refused { problem });
        }
        let prepared = inbound.prepare(batch);
        if prepared.people.is_empty() {
            return Ok(prepared.outcomes);
        }
        let body = serde_json::to_vec(&prepared.request()).map_err(|error| Error::Bug(error.to_string()))?;
        let mut outcomes = prepared.outcomes;
        if body.len() > LARGEST {
            let problem = format!("an upload of {} bytes is more than Microsoft Graph takes (4 MB)", body.len());
            let [person] = prepared.people.as_slice() else { return Err(Error::Refused { problem }) };
            outcomes.push((person.id, rejected("too_long", problem)));
            return Ok(outcomes);
        }
        match self.post(inbound, &body, batch.deadline).await? {
            Taken::Yes { at, doubt } => {
                let accepted = prepared.people.into_iter().map(|person| {
                    let ticket = Ticket { external_id: person.external_id, at, job: inbound.job.clone(), doubt };
                    let outcome = Outcome::Accepted { ticket: ticket.write(), look_again_after: inbound.look_again };
                    (person.id, outcome)
                });
                outcomes.extend(accepted);
                Ok(outcomes)
            }
            Taken::Malformed(refusal) => {
                let problem = format!(
                    "Entra refused the upload ({}): a record in it is not what the provisioning API takes. If that \
                     happens with every record, something between here and Graph changes requests: the Content-Type \
                     must arrive as application/scim+json",
                    refusal.describe()
                );
                let [person] = prepared.people.as_slice() else { return Err(Error::Refused { problem }) };
                outcomes.push((person.id, rejected("invalid_data", problem)));
                Ok(outcomes)
            }
        }
    }

    async fn post(&self, inbound: &Inbound, body: &[u8], deadline: Duration) -> Result<Taken, Error> {
        let session = &self.session;
        let give_up = session.environment.elapsed() + deadline / 2;
        let url = session.endpoints.graph(&format!("{}/bulkUpload", inbound.job_path()), None);
        let mut renewed = false;
        loop {
            let token = session.tokens.token().await?;
            let sent = self.permit(inbound, give_up).await?;
            let request = session.client.post(url.clone()).header(CONTENT_TYPE, "application/scim+json");
            let request = session.authorised(request.body(body.to_vec()), &url, &token)?;
            let answer = match exchange(request, MAX_SMALL).await {
                Ok(answer) => answer,
                Err(Broken::Unsent(problem)) => {
                    inbound.calls.settle(&sent).await;
                    let problem = format!("Microsoft Graph cannot be reached: {problem}");
                    return Err(Error::Unreachable { problem, nothing_sent: true });
                }
                Err(Broken::Transient(problem)) => {
                    return Err(lost(format!("the answer to an upload was lost: {problem}")));
                }
                Err(Broken::TooLarge(limit)) => {
                    return Err(lost(format!("the answer to an upload has more than {limit} bytes")));
                }
            };
            if answer.status == 401 || answer.status == 403 {
                // A permission granted meanwhile takes effect with the next token.
                session.tokens.forget(&token).await;
            }
            if answer.status == 401 && !renewed {
                inbound.calls.settle(&sent).await;
                renewed = true;
                continue;
            }
            return self.judge_upload(inbound, &sent, &answer).await;
        }
    }

    /// Notes a call, waiting a moment if need be.
    async fn permit(&self, inbound: &Inbound, give_up: Duration) -> Result<Sent, Error> {
        let environment = &self.session.environment;
        loop {
            let refused = match inbound.calls.take(environment.now()).await? {
                Ok(sent) => return Ok(sent),
                Err(refused) => refused,
            };
            let (problem, after) = match refused {
                Wait::Soon(wait) if environment.elapsed() + wait < give_up => {
                    environment.sleep(wait).await;
                    continue;
                }
                Wait::Soon(wait) => ("Entra takes 40 uploads in 5 seconds".to_owned(), wait),
                Wait::Closed(wait) => ("Entra asked for a pause before the next upload".to_owned(), wait),
                Wait::UsedUp(wait) => {
                    let quota = grouped(u64::from(inbound.calls.quota));
                    let licence = inbound.licence.name();
                    (format!("the {quota} uploads that {licence} allows in 24 hours are used up"), wait)
                }
            };
            return Err(Error::Throttled { problem, after });
        }
    }

    async fn judge_upload(&self, inbound: &Inbound, sent: &Sent, answer: &Answer) -> Result<Taken, Error> {
        let calls = &inbound.calls;
        let now = self.session.environment.now();
        let refusal = Refusal::read(answer.status, &answer.body, answer.header("request-id"));
        let pause = answer.retry_after_within(now, LONGEST_WAIT);
        let queue_full = answer.status == 500 && refusal.message.to_ascii_lowercase().contains("bucket");
        // Whatever is no clear answer leaves the call open: it may have had its effect.
        let clear = answer.status == 202 || (300..500).contains(&answer.status) && answer.status != 408 || queue_full;
        if clear {
            calls.settle(sent).await;
        }
        match answer.status {
            202 => {
                // Truncated to its second, so never later than Entra's log says.
                let at = answer.date().unwrap_or(now);
                Ok(Taken::Yes { at, doubt: calls.in_doubt(sent).await })
            }
            400 | 413 | 422 => Ok(Taken::Malformed(refusal)),
            401 => Err(not_accepted(&refusal)),
            403 => Err(Error::Credentials {
                problem: format!("{} ({})", permissions::problem(&[permissions::UPLOAD]), refusal.describe()),
                fix: permissions::fix(self.has_managed_identity()),
            }),
            404 => Err(no_such_job(inbound, &refusal)),
            407 => Err(proxy_sign_in()),
            429 => {
                let after = pause.unwrap_or(UNSAID);
                calls.close(now, after).await;
                Err(Error::Throttled { problem: format!("Entra limits our uploads ({})", refusal.describe()), after })
            }
            500 if queue_full => {
                let after = pause.unwrap_or(BUCKET_FULL);
                calls.close(now, after).await;
                let problem = format!(
                    "Entra's queue of uploads is full ({}): look in the Entra admin center whether the job is paused or in \
                     quarantine",
                    refusal.describe()
                );
                Err(Error::Throttled { problem, after })
            }
            300..=399 => Err(self.session.redirected(answer)),
            status if status >= 500 || status == 408 => {
                if let Some(pause) = pause {
                    calls.close(now, pause).await;
                }
                Err(lost(format!("Microsoft Graph failed during an upload ({})", refusal.describe())))
            }
            200..=299 => Err(lost(format!(
                "the answer to an upload is {} instead of 202; check whether a proxy or sign-in page stands in between",
                answer.status
            ))),
            _ => Err(setting(
                "graph_url",
                format!("Microsoft Graph refused the upload's address ({})", refusal.describe()),
                "correct or remove graph_url; it ends in the version, such as /v1.0",
            )),
        }
    }
}

/// The application or its job is not there.
pub(super) fn no_such_job(inbound: &Inbound, refusal: &Refusal) -> Error {
    setting(
        "inbound.job",
        format!(
            "Entra knows no enterprise application {} with the job {} ({})",
            inbound.service_principal,
            inbound.job,
            refusal.describe()
        ),
        "compare inbound.service_principal and inbound.job with the Provisioning API Endpoint: in the Entra admin center, \
         Enterprise applications > API-driven provisioning to Microsoft Entra ID > Provisioning > Overview > View \
         technical information",
    )
}

fn lost(problem: String) -> Error {
    Error::Unreachable { problem, nothing_sent: false }
}

fn rejected(rule: &str, message: String) -> Outcome {
    Outcome::Rejected { attribute: None, rule: rule.to_owned(), message }
}
