//! What an answer leaves open, and is looked up before it becomes an outcome: whose name is taken, what is not there, what
//! is forbidden.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use muster_connector::{Batch, Error, Kind, Outcome, RetryScope};

use super::apply::{Job, MOST_LOOKS, SETTLING, Stop, UNSAID};
use super::draft::{Purpose, Request};
use super::verdict::retry;
use crate::connector::Entra;
use crate::error::Refusal;
use crate::permissions;
use crate::retry::own_pause;

impl Entra {
    /// A new user whose name is taken is one that is there.
    pub(super) async fn name_owners(&self, batch: &Batch, jobs: &mut [Job<'_>], requests: &[(usize, Request)]) {
        for (number, request) in requests.iter().filter(|(_, request)| request.purpose == Purpose::Create) {
            let Some(job) = jobs.get_mut(*number) else { continue };
            let Some(Outcome::Rejected { attribute, rule, .. }) = &job.failure else { continue };
            let about_name = attribute.as_deref().is_none_or(|name| name == "userPrincipalName");
            if rule != super::UNIQUE || !about_name {
                continue;
            }
            if let Some(key) = self.owner_of_name(&batch.object_type, request).await {
                job.failure = Some(Outcome::Exists { key });
            }
        }
    }

    /// Tells objects that are not there from references to what is not there.
    pub(super) async fn look_for(
        &self,
        batch: &Batch,
        jobs: &mut [Job<'_>],
        lost: Vec<(usize, Request)>,
        give_up: Duration,
    ) {
        let environment = &*self.session.environment;
        let mut pause = None;
        let mut rounds: HashMap<usize, u32> = HashMap::new();
        for (number, request) in lost {
            let Some(job) = jobs.get_mut(number) else { continue };
            let is_new = job.id.as_ref().is_some_and(|id| self.memory.is_new(id, environment.elapsed()));
            let attribute = match request.purpose {
                Purpose::Refer(name) | Purpose::Add(name) => Some(name),
                Purpose::Unrefer | Purpose::Remove => None,
                Purpose::Delete => {
                    job.failure = Some(Outcome::Missing);
                    continue;
                }
                Purpose::Create | Purpose::Change | Purpose::AddAll(..) => {
                    job.failure = Some(if is_new { not_settled() } else { Outcome::Missing });
                    continue;
                }
            };
            let look = *rounds.entry(number).or_insert_with(|| {
                job.looks += 1;
                job.looks
            });
            let attempt = own_pause(look, environment);
            let waits = job.operation.kind == Kind::Create && attribute.is_some() && look <= MOST_LOOKS;
            if waits && environment.elapsed() + attempt < give_up {
                job.open.push(request);
                pause = pause.max(Some(attempt));
                continue;
            }
            // Without a look nobody knows which of the two is missing.
            let is_there = match (&job.id, self.in_time(give_up)) {
                (Some(id), Ok(())) => self.is_there(&batch.object_type, id).await,
                (_, Err(stop)) => Err(stop.error),
                (None, Ok(())) => Ok(false),
            };
            job.failure = match (is_there, attribute) {
                (Ok(true), Some(attribute)) => Some(Outcome::WaitsFor { attribute: attribute.to_owned() }),
                (Ok(true), None) => continue,
                (Ok(false), _) if is_new => Some(not_settled()),
                (Ok(false), _) => Some(Outcome::Missing),
                (Err(error), _) => Some(retry(RetryScope::Target, UNSAID, error.to_string())),
            };
        }
        if let Some(pause) = pause {
            self.session.environment.sleep(pause).await;
        }
    }

    /// What may not be done: the app lacks a permission, or these objects are beyond it.
    pub(super) async fn forbid(
        &self,
        batch: &Batch,
        jobs: &mut [Job<'_>],
        forbidden: Vec<(usize, Refusal)>,
    ) -> Result<(), Stop> {
        let token = self.session.tokens.token().await;
        let roles = token.as_ref().ok().and_then(|token| token.hints().roles).filter(|roles| !roles.is_empty());
        let needs = permissions::to_write(&batch.object_type, &batch.attributes);
        let unmet = permissions::unmet(&needs, roles.as_deref());
        let blamed: BTreeSet<usize> = forbidden.iter().map(|(number, _)| *number).collect();
        let all = roles.is_none() && blamed.len() == jobs.len();
        // Roles of the app besides its permissions are not in the token: what was written before says more.
        if !self.memory.may_write(&batch.object_type) && (!unmet.is_empty() || all) {
            if let Ok(token) = &token {
                // A permission granted meanwhile takes effect with the next token.
                self.session.tokens.forget(token).await;
            }
            let unmet = if unmet.is_empty() { needs } else { unmet };
            let described = forbidden.first().map(|(_, refusal)| refusal.describe()).unwrap_or_default();
            return Err(Stop {
                error: Error::Credentials {
                    problem: format!("{} ({described})", permissions::problem(&unmet)),
                    fix: permissions::fix(self.has_managed_identity()),
                },
                after: UNSAID,
            });
        }
        for (number, refusal) in forbidden {
            let Some(job) = jobs.get_mut(number) else { continue };
            job.failure = Some(Outcome::Rejected {
                attribute: None,
                rule: "insufficient_privileges".to_owned(),
                message: format!(
                    "Microsoft Graph does not let the app change this object ({}): it has a role of administrators, or \
                     belongs to another system; leave it out by `scope`, or give the app's enterprise application the \
                     role that may",
                    refusal.describe()
                ),
            });
        }
        Ok(())
    }
}

/// Not all of Graph's servers know a new object yet.
fn not_settled() -> Outcome {
    retry(RetryScope::Object, SETTLING, "Microsoft Graph does not know the new object everywhere yet".to_owned())
}
