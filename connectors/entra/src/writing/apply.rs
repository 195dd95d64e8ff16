//! Carrying out a batch: what is about different objects travels together, what is about one object comes in order.

use std::collections::HashMap;
use std::time::Duration;

use muster_connector::{Batch, Effect, Error, Kind, Operation, OperationId, Outcome, RetryScope};
use muster_model::Key;

use super::call::{Sent, call};
use super::draft::{Draft, Purpose, Request, Tie, guid_of};
use super::verdict::{Verdict, refused, retry, taken, verdict};
use crate::batch::{MOST_REQUESTS, Response};
use crate::connector::Entra;
use crate::retry::{LONGEST_BELIEVED, retry_after};

/// Left alone for so long where nobody says for how long.
pub(super) const UNSAID: Duration = Duration::from_secs(30);

/// A new object may not be known everywhere at once: its references are tried in so many rounds.
pub(super) const MOST_LOOKS: u32 = 4;

/// After so long it is asked for again in another batch.
pub(super) const SETTLING: Duration = Duration::from_secs(15);

/// An operation on its way.
pub(super) struct Job<'a> {
    pub(super) operation: &'a Operation,
    /// The object's id, once it is known.
    pub(super) id: Option<String>,
    pub(super) open: Vec<Request>,
    pub(super) ties: Vec<Tie>,
    /// Something of it took effect.
    pub(super) touched: bool,
    pub(super) looks: u32,
    /// What will be its outcome if nothing took effect.
    pub(super) failure: Option<Outcome>,
    pub(super) outcome: Option<Outcome>,
}

impl<'a> Job<'a> {
    fn new(operation: &'a Operation, draft: Result<Draft, Outcome>) -> Self {
        let mut job = Self {
            operation,
            id: operation.key.as_ref().and_then(guid_of),
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
pub(super) struct Stop {
    pub(super) error: Error,
    pub(super) after: Duration,
}

impl Entra {
    pub(crate) async fn write(&self, batch: &Batch) -> Result<Vec<(OperationId, Outcome)>, Error> {
        let give_up = self.session.environment.elapsed() + batch.deadline / 2;
        let drafts = self.drafts(batch).await?;
        self.in_time(give_up).map_err(|stop| stop.error)?;
        let mut jobs: Vec<Job<'_>> =
            batch.operations.iter().zip(drafts).map(|(operation, draft)| Job::new(operation, draft)).collect();
        let mut stop = None;
        while stop.is_none() && jobs.iter().any(|job| !job.is_settled()) {
            let wave = wave(batch, &mut jobs);
            stop = self.run(batch, &mut jobs, &wave, give_up).await;
        }
        if let Some(Stop { error, after }) = stop {
            // What was done to its end has its outcome all the same.
            for job in &mut jobs {
                job.advance(self, &batch.object_type);
            }
            let is_unknown = |job: &Job<'_>| matches!(job.outcome, Some(Outcome::Unknown));
            let is_lost = matches!(error, Error::Unreachable { nothing_sent: false, .. });
            let untouched = jobs.iter().all(|job| !job.touched && !is_unknown(job));
            if untouched && !is_lost || is_lost && jobs.iter().all(is_unknown) {
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
        if let Err(stop) = self.in_time(give_up) {
            put_back(jobs, requests.iter());
            return Err(stop);
        }
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
            Sent::Refused(problem) => {
                put_back(jobs, requests.iter());
                let error = Error::Refused { problem };
                return Err(Stop { error, after: UNSAID });
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
        self.close_gate(responses.values());
        let mut not_found = Vec::new();
        let (mut denied, mut forbidden) = (Vec::new(), Vec::new());
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
                    self.memory.note_writable(&batch.object_type);
                    if let Some(id) = &id {
                        self.memory.note_made(id, self.session.environment.elapsed());
                    }
                    job.id = id.or_else(|| job.id.take());
                    if let (Purpose::Delete, Some(id)) = (&request.purpose, &job.id) {
                        self.memory.note_gone(id);
                    }
                }
                Verdict::AlreadySo => {}
                Verdict::Apart => job.open.extend(self.apart(&batch.object_type, job.id.as_deref(), request)),
                Verdict::NotFound => not_found.push((*number, request.clone())),
                Verdict::Later => job.open.push(request.clone()),
                Verdict::Taken(refusal) => {
                    let written = written(batch, job.operation);
                    job.failure = Some(taken(&batch.object_type, &written, &refusal));
                }
                Verdict::Refused(refusal) => {
                    let written = written(batch, job.operation);
                    job.failure = Some(refused(&batch.object_type, &written, &refusal));
                }
                Verdict::Forbidden(refusal) => {
                    denied.push((*number, request.clone()));
                    forbidden.push((*number, refusal));
                }
                Verdict::Unauthorised(refusal) => {
                    job.open.push(request.clone());
                    unauthorised = Some(refusal);
                }
                Verdict::Unknown(refusal) => {
                    let (status, code) = (refusal.status, &refusal.code);
                    tracing::debug!(status, code, "nobody knows what became of a request to Graph");
                    job.outcome = Some(Outcome::Unknown);
                }
            }
        }
        if !forbidden.is_empty()
            && let Err(stop) = self.forbid(batch, jobs, forbidden).await
        {
            // Of these nothing was done, and nothing more is looked up.
            put_back(jobs, denied.iter().chain(&not_found));
            return Err(stop);
        }
        // Both ask Graph, which waits until it may be asked.
        if self.in_time(give_up).is_ok() {
            self.name_owners(batch, jobs, requests).await;
        }
        self.look_for(batch, jobs, not_found, give_up).await;
        if let Some(refusal) = unauthorised {
            if let Ok(token) = self.session.tokens.token().await {
                self.session.tokens.forget(&token).await;
            }
            return Err(Stop { error: crate::session::not_accepted(&refusal), after: UNSAID });
        }
        Ok(())
    }

    /// The references of a request, one by one.
    fn apart(&self, object_type: &str, id: Option<&str>, request: &Request) -> Vec<Request> {
        let (Purpose::AddAll(name, others), Some(id)) = (&request.purpose, id) else { return Vec::new() };
        others.iter().map(|other| self.tie(object_type, id, &Tie::Add(name, vec![other.clone()]))).collect()
    }

    /// Whether there is time left, also for the pause that Graph asked for.
    pub(super) fn in_time(&self, give_up: Duration) -> Result<(), Stop> {
        let environment = &*self.session.environment;
        let left = self.session.gate.left(environment);
        if environment.elapsed() + left < give_up {
            return Ok(());
        }
        let problem = "Microsoft Graph takes no more within the time of one batch".to_owned();
        let after = left.max(Duration::from_secs(1));
        Err(Stop { error: Error::Throttled { problem, after }, after })
    }

    /// Whatever part of a call asks for a pause, all of the connection keep it.
    fn close_gate<'r>(&self, responses: impl Iterator<Item = &'r Response>) {
        let environment = &*self.session.environment;
        let asked = |response: &Response| {
            let header = response.header("retry-after");
            let pause = retry_after(header.as_deref(), None, environment.now(), LONGEST_BELIEVED);
            pause.or_else(|| (response.status == 429).then_some(UNSAID))
        };
        if let Some(longest) = responses.filter(|response| response.status >= 400).filter_map(asked).max() {
            self.session.gate.close(longest, environment);
        }
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
