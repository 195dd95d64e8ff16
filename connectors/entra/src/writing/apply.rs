//! Carrying out a batch: what is about different objects travels together, what is about one object comes in order.

use std::collections::HashMap;
use std::time::Duration;

use muster_connector::{Batch, Effect, Error, Kind, Operation, OperationId, Outcome, RetryScope};
use muster_model::Key;

use super::call::{Sent, call};
use super::draft::{Draft, Purpose, Request, Tie};
use super::verdict::{Verdict, refused, retry, taken, verdict};
use crate::batch::{MOST_REQUESTS, Response, id_of};
use crate::connector::Entra;
use crate::permissions;
use crate::retry::{LONGEST_BELIEVED, own_pause, retry_after};

/// Left alone for so long where nobody says for how long.
const UNSAID: Duration = Duration::from_secs(30);

/// A new object may not be known everywhere at once: its references are tried so often.
const MOST_LOOKS: u32 = 4;

/// An operation on its way.
struct Job<'a> {
    operation: &'a Operation,
    /// The object's id, once it is known.
    id: Option<String>,
    open: Vec<Request>,
    ties: Vec<Tie>,
    /// Something of it took effect.
    touched: bool,
    looks: u32,
    /// What will be its outcome if nothing took effect.
    failure: Option<Outcome>,
    outcome: Option<Outcome>,
}

impl<'a> Job<'a> {
    fn new(operation: &'a Operation, draft: Result<Draft, Outcome>) -> Self {
        let mut job = Self {
            operation,
            id: operation.key.as_ref().and_then(id_of),
            open: Vec::new(),
            ties: Vec::new(),
            touched: false,
            looks: 0,
            failure: None,
            outcome: None,
        };
        match draft {
            Ok(draft) => {
                job.open.extend(draft.object);
                job.ties = draft.ties;
            }
            Err(outcome) => job.outcome = Some(outcome),
        }
        job
    }

    fn is_settled(&self) -> bool {
        self.outcome.is_some()
    }

    /// Goes on to what comes next, or ends.
    fn advance(&mut self, entra: &Entra, object_type: &str) {
        if self.is_settled() || !self.open.is_empty() {
            return;
        }
        if let Some(failure) = self.failure.take() {
            // Half of it is done: whoever looks finds out which half.
            self.outcome = Some(if self.touched { Outcome::Unknown } else { failure });
            return;
        }
        let ties = std::mem::take(&mut self.ties);
        match &self.id {
            Some(id) if !ties.is_empty() => {
                self.open = ties.iter().map(|tie| entra.tie(object_type, id, tie)).collect();
            }
            _ => {
                let made = self.operation.kind == Kind::Create;
                let key = self.id.as_deref().filter(|_| made).map(Key::text);
                let effect = Effect { key, ..Effect::default() };
                self.outcome = Some(if self.touched { Outcome::Applied(effect) } else { Outcome::AlreadySo(effect) });
            }
        }
    }

    /// Whether it takes a name that another object of the batch may be giving up.
    fn takes_name(&self, names: &[usize]) -> bool {
        self.operation.kind == Kind::Create || self.names_itself(names)
    }

    fn names_itself(&self, names: &[usize]) -> bool {
        names.iter().any(|position| !self.operation.row.slot(*position).is_unknown())
    }
}

/// Why the rest of a batch is not sent.
struct Stop {
    error: Error,
    after: Duration,
}

impl Entra {
    pub(crate) async fn write(&self, batch: &Batch) -> Result<Vec<(OperationId, Outcome)>, Error> {
        let give_up = self.session.environment.elapsed() + batch.deadline / 2;
        let drafts = self.drafts(batch).await?;
        let mut jobs: Vec<Job<'_>> =
            batch.operations.iter().zip(drafts).map(|(operation, draft)| Job::new(operation, draft)).collect();
        let mut stop = None;
        while stop.is_none() && jobs.iter().any(|job| !job.is_settled()) {
            let wave = wave(batch, &mut jobs);
            stop = self.run(batch, &mut jobs, &wave, give_up).await;
        }
        if let Some(Stop { error, after }) = stop {
            let is_unknown = |job: &Job<'_>| matches!(job.outcome, Some(Outcome::Unknown));
            if jobs.iter().all(|job| !job.touched && !is_unknown(job)) || jobs.iter().all(is_unknown) {
                return Err(error);
            }
            for job in jobs.iter_mut().filter(|job| !job.is_settled()) {
                job.outcome = Some(match job.touched {
                    true => Outcome::Unknown,
                    false => retry(RetryScope::Target, after, error.to_string()),
                });
            }
        }
        Ok(jobs.into_iter().map(|job| (job.operation.id, job.outcome.unwrap_or(Outcome::Unknown))).collect())
    }

    /// Carries out the jobs of a wave, each its requests in order and all side by side.
    async fn run(&self, batch: &Batch, jobs: &mut [Job<'_>], wave: &[usize], give_up: Duration) -> Option<Stop> {
        loop {
            for &number in wave {
                if let Some(job) = jobs.get_mut(number) {
                    job.advance(self, &batch.object_type);
                }
            }
            let mut open: Vec<(usize, Request)> = Vec::new();
            for (number, job) in jobs.iter_mut().enumerate().filter(|(number, _)| wave.contains(number)) {
                if !job.is_settled() {
                    open.extend(job.open.drain(..).map(|request| (number, request)));
                }
            }
            if open.is_empty() {
                return None;
            }
            let mut calls = open.chunks(MOST_REQUESTS);
            while let Some(requests) = calls.next() {
                if let Err(stop) = self.send(batch, jobs, requests, give_up).await {
                    // What was not sent is left undone.
                    put_back(jobs, calls.flatten());
                    return Some(stop);
                }
            }
        }
    }

    /// Sends one call and records what came of each request.
    async fn send(
        &self,
        batch: &Batch,
        jobs: &mut [Job<'_>],
        requests: &[(usize, Request)],
        give_up: Duration,
    ) -> Result<(), Stop> {
        let parts: Vec<&Request> = requests.iter().map(|(_, request)| request).collect();
        let responses = match call(&self.session, &parts).await {
            Sent::Answered(responses) => responses,
            Sent::Lost(problem) => {
                for (number, _) in requests {
                    if let Some(job) = jobs.get_mut(*number) {
                        job.outcome = Some(Outcome::Unknown);
                    }
                }
                return Err(Stop { error: Error::Unreachable { problem, nothing_sent: false }, after: UNSAID });
            }
            Sent::Later(after, problem) => {
                put_back(jobs, requests.iter());
                return self.put_off_writing(after, problem, give_up);
            }
            Sent::Failed(error) => {
                put_back(jobs, requests.iter());
                return Err(Stop { error, after: UNSAID });
            }
        };
        self.record(batch, jobs, requests, responses, give_up).await
    }

    async fn record(
        &self,
        batch: &Batch,
        jobs: &mut [Job<'_>],
        requests: &[(usize, Request)],
        responses: Vec<Response>,
        give_up: Duration,
    ) -> Result<(), Stop> {
        let responses: HashMap<String, Response> =
            responses.into_iter().map(|response| (response.id.clone(), response)).collect();
        let mut not_found = Vec::new();
        let mut forbidden = Vec::new();
        let mut later: Option<(Option<Duration>, String)> = None;
        let mut unauthorised = None;
        for (position, (number, request)) in requests.iter().enumerate() {
            let Some(job) = jobs.get_mut(*number) else { continue };
            let Some(response) = responses.get(&position.to_string()) else {
                job.outcome = Some(Outcome::Unknown);
                continue;
            };
            match verdict(&request.purpose, response) {
                Verdict::Done { id } => {
                    job.touched = true;
                    job.id = id.or_else(|| job.id.take());
                }
                Verdict::AlreadySo => {}
                Verdict::Apart => job.open.extend(self.apart(&batch.object_type, job.id.as_deref(), request)),
                Verdict::NotFound => not_found.push((*number, request.clone())),
                Verdict::Later { after, problem } => {
                    let environment = &self.session.environment;
                    let after = retry_after(after.as_deref(), None, environment.now(), LONGEST_BELIEVED);
                    let longest = after.max(later.and_then(|(longest, _)| longest));
                    later = Some((longest, problem));
                    job.open.push(request.clone());
                }
                Verdict::Taken(refusal) => {
                    let written = written(batch, job.operation);
                    job.failure = Some(taken(&batch.object_type, &written, &refusal));
                }
                Verdict::Refused(refusal) => {
                    let written = written(batch, job.operation);
                    job.failure = Some(refused(&batch.object_type, &written, &refusal));
                }
                Verdict::Forbidden(refusal) => forbidden.push((*number, refusal)),
                Verdict::Unauthorised(refusal) => {
                    job.open.push(request.clone());
                    unauthorised = Some(refusal);
                }
                Verdict::Unknown(refusal) => {
                    tracing::debug!(refusal = refusal.describe(), "nobody knows what became of a request to Graph");
                    job.outcome = Some(Outcome::Unknown);
                }
            }
        }
        self.name_owners(batch, jobs, requests).await;
        self.look_for(batch, jobs, not_found, give_up).await;
        if !forbidden.is_empty() {
            self.forbid(batch, jobs, forbidden).await?;
        }
        if let Some(refusal) = unauthorised {
            if let Ok(token) = self.session.tokens.token().await {
                self.session.tokens.forget(&token).await;
            }
            return Err(Stop { error: crate::session::not_accepted(&refusal), after: UNSAID });
        }
        match later {
            Some((after, problem)) => self.put_off_writing(after, problem, give_up),
            None => Ok(()),
        }
    }

    /// The references of a request, one by one.
    fn apart(&self, object_type: &str, id: Option<&str>, request: &Request) -> Vec<Request> {
        let (Purpose::AddAll(name, others), Some(id)) = (&request.purpose, id) else { return Vec::new() };
        others.iter().map(|other| self.tie(object_type, id, &Tie::Add(name, vec![other.clone()]))).collect()
    }

    /// A new user whose name is taken is one that is there.
    async fn name_owners(&self, batch: &Batch, jobs: &mut [Job<'_>], requests: &[(usize, Request)]) {
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
    async fn look_for(&self, batch: &Batch, jobs: &mut [Job<'_>], lost: Vec<(usize, Request)>, give_up: Duration) {
        let mut pause = None;
        for (number, request) in lost {
            let Some(job) = jobs.get_mut(number) else { continue };
            let attribute = match request.purpose {
                Purpose::Refer(name) | Purpose::Add(name) => Some(name),
                Purpose::Unrefer | Purpose::Remove => None,
                Purpose::Create | Purpose::Change | Purpose::Delete | Purpose::AddAll(..) => {
                    job.failure = Some(Outcome::Missing);
                    continue;
                }
            };
            let is_new = job.operation.kind == Kind::Create;
            let attempt = own_pause(job.looks + 1, &*self.session.environment);
            if is_new && job.looks < MOST_LOOKS && self.session.environment.elapsed() + attempt < give_up {
                job.looks += 1;
                job.open.push(request);
                pause = pause.max(Some(attempt));
                continue;
            }
            let is_there = match &job.id {
                Some(id) => self.is_there(&batch.object_type, id).await,
                None => Ok(false),
            };
            job.failure = match (is_there, attribute) {
                (Ok(true), Some(attribute)) => Some(Outcome::WaitsFor { attribute: attribute.to_owned() }),
                (Ok(true), None) => continue,
                (Ok(false), _) => Some(Outcome::Missing),
                (Err(error), _) => Some(retry(RetryScope::Target, UNSAID, error.to_string())),
            };
        }
        if let Some(pause) = pause {
            self.session.environment.sleep(pause).await;
        }
    }

    /// What may not be done: the app lacks a permission, or these objects are beyond it.
    async fn forbid(
        &self,
        batch: &Batch,
        jobs: &mut [Job<'_>],
        forbidden: Vec<(usize, crate::error::Refusal)>,
    ) -> Result<(), Stop> {
        let token = self.session.tokens.token().await;
        let roles = token.as_ref().ok().and_then(|token| token.hints().roles).filter(|roles| !roles.is_empty());
        let needs = permissions::to_write(&batch.object_type, &batch.attributes);
        let unmet = permissions::unmet(&needs, roles.as_deref());
        let all = roles.is_none() && forbidden.len() == jobs.len();
        if !unmet.is_empty() || all {
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

    /// Nobody asks before the time that Graph asked for; whether this batch waits for it.
    fn put_off_writing(&self, after: Option<Duration>, problem: String, give_up: Duration) -> Result<(), Stop> {
        let environment = &*self.session.environment;
        let after = after.unwrap_or(UNSAID);
        self.session.gate.close(after, environment);
        match environment.elapsed() + after < give_up {
            true => Ok(()),
            false => Err(Stop { error: Error::Throttled { problem, after }, after }),
        }
    }
}

/// Requests that are still to be sent.
fn put_back<'r>(jobs: &mut [Job<'_>], requests: impl Iterator<Item = &'r (usize, Request)>) {
    for (number, request) in requests {
        if let Some(job) = jobs.get_mut(*number) {
            job.open.push(request.clone());
        }
    }
}

/// The jobs that can run side by side now; those whose predecessors failed end here.
fn wave(batch: &Batch, jobs: &mut [Job<'_>]) -> Vec<usize> {
    let names: Vec<usize> = ["userPrincipalName", "mailNickname", "mail"]
        .iter()
        .filter_map(|name| batch.attributes.iter().position(|other| other == name))
        .collect();
    let done: HashMap<OperationId, Option<bool>> = jobs
        .iter()
        .map(|job| {
            let success = |outcome: &Outcome| matches!(outcome, Outcome::Applied(_) | Outcome::AlreadySo(_));
            (job.operation.id, job.outcome.as_ref().map(success))
        })
        .collect();
    let mut wave = Vec::new();
    let mut keys: Vec<&Key> = Vec::new();
    let mut gives_up = false;
    for (number, job) in jobs.iter_mut().enumerate().filter(|(_, job)| job.outcome.is_none()) {
        let operation = job.operation;
        let before = |wanted: bool| {
            operation.depends_on.iter().any(|id| match done.get(id) {
                Some(Some(success)) => wanted && !success,
                Some(None) => !wanted,
                None => false,
            })
        };
        if before(true) {
            let problem = "what it depends on did not take effect".to_owned();
            job.outcome = Some(retry(RetryScope::Object, UNSAID, problem));
            continue;
        }
        let same = operation.key.as_ref().is_some_and(|key| keys.contains(&key));
        if before(false) || same || gives_up && job.takes_name(&names) {
            // What follows stays behind it.
            break;
        }
        gives_up |= operation.kind == Kind::Delete || operation.kind == Kind::Update && job.names_itself(&names);
        keys.extend(&operation.key);
        wave.push(number);
    }
    if wave.is_empty()
        && let Some(job) = jobs.iter_mut().find(|job| job.outcome.is_none())
    {
        let problem = "operations depend on each other".to_owned();
        job.outcome = Some(retry(RetryScope::Object, UNSAID, problem));
    }
    wave
}

/// The attributes that an operation writes, for blaming one.
fn written<'a>(batch: &'a Batch, operation: &Operation) -> Vec<&'a str> {
    let is_written = |position: usize| {
        !operation.row.slot(position).is_unknown()
            || operation.deltas.iter().any(|delta| delta.attribute == position)
            || operation.secrets.iter().any(|(other, _)| *other == position)
    };
    let names = batch.attributes.iter().enumerate();
    names.filter(|(position, _)| is_written(*position)).map(|(_, name)| name.as_str()).collect()
}
