//! A connector in a process of its own, as the host sees it: like any other.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use muster_connector::wire::{Call, Reply};
use muster_connector::{
    Batch, ChangePage, CheckReport, Connector, ConnectorKind, ConnectorSettings, Cursor, Description, Error,
    FoundObject, FoundPage, OperationId, Outcome, Position, ReadPage, ReadRequest, Resolution, Source, SourceObject,
    Target, UsedType,
};
use muster_model::{Key, Schema, Value};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::config::{Command, ProcessSettings};
use crate::session::Session;
use crate::start::start;

/// The pause before the first restart; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// A pause up to this is waited for; during a longer one calls are refused, so that the sync backs off.
const PATIENCE: Duration = Duration::from_secs(5);

/// Connectors in processes of their own.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessKind;

impl ConnectorKind for ProcessKind {
    fn describe(&self) -> Description {
        Description {
            kind: "process".to_owned(),
            summary: "a connector in a process of its own, in any language".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            settings: schemars::schema_for!(ProcessSettings).to_value(),
        }
    }

    fn connect(&self, given: ConnectorSettings) -> Result<Arc<dyn Connector>, Error> {
        Ok(Arc::new(ProcessConnector::new(Arc::new(Command::new(given)?))))
    }
}

#[derive(Debug, Default)]
struct Running {
    session: Option<Arc<Session>>,
    /// Ends and failed starts since the last good answer.
    failures: u32,
    /// No start before.
    not_before: Option<Instant>,
}

impl Running {
    fn failed(&mut self) {
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(16)).min(LONGEST_PAUSE);
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(Instant::now() + pause);
        self.session = None;
    }
}

#[derive(Debug)]
pub(crate) struct ProcessConnector {
    command: Arc<Command>,
    running: Mutex<Running>,
}

impl ProcessConnector {
    pub(crate) fn new(command: Arc<Command>) -> Self {
        Self { command, running: Mutex::default() }
    }

    /// The running process, if there is one and nobody is about to start another.
    pub(crate) fn running_session(&self) -> Option<Arc<Session>> {
        self.running.try_lock().ok()?.session.clone()
    }

    /// The running process, started if there is none.
    pub(crate) async fn session(&self) -> Result<Arc<Session>, Error> {
        let mut running = self.running.lock().await;
        if let Some(session) = &running.session {
            if !session.is_over() {
                return Ok(session.clone());
            }
            running.failed();
        }
        if let Some(not_before) = running.not_before {
            let left = not_before.saturating_duration_since(Instant::now());
            if left > PATIENCE {
                let problem = format!(
                    "the connector's process failed {} times in a row and is started again in {} s",
                    running.failures,
                    left.as_secs().max(1)
                );
                return Err(Error::Unreachable { problem, nothing_sent: true });
            }
            tokio::time::sleep_until(not_before).await;
        }
        match start(&self.command).await {
            Ok(session) => {
                running.session = Some(session.clone());
                Ok(session)
            }
            Err(error) => {
                running.failed();
                Err(self.told(error))
            }
        }
    }

    async fn ask(&self, call: Call) -> Result<Reply, Error> {
        let session = self.session().await?;
        let answered = session.ask(call).await;
        let mut running = self.running.lock().await;
        if session.is_over() {
            // Those who waited together fail together, and count once.
            if running.session.as_ref().is_some_and(|known| Arc::ptr_eq(known, &session)) {
                running.failed();
            }
        } else if running.failures > 0 && answered.is_ok() {
            running.failures = 0;
        }
        drop(running);
        answered.map_err(|error| self.told(error))
    }

    /// Keeps secrets out of what a connector says.
    fn clean(&self, text: &mut String) {
        *text = crate::logged::redact(std::mem::take(text), &self.command.hidden);
    }

    /// Says which connection it was, and keeps secrets out of what a connector says.
    fn told(&self, error: Error) -> Error {
        let clean = |text: String| crate::logged::redact(text, &self.command.hidden);
        let name = &self.command.connection;
        match error {
            Error::Bug(problem) => {
                Error::Bug(format!("connection {name:?}: {}; report it to the connector's author", clean(problem)))
            }
            Error::Unreachable { problem, nothing_sent } => {
                Error::Unreachable { problem: format!("connection {name:?}: {}", clean(problem)), nothing_sent }
            }
            Error::Configuration { setting, problem, fix } => {
                Error::Configuration { setting, problem: clean(problem), fix: clean(fix) }
            }
            Error::Credentials { problem, fix } => Error::Credentials { problem: clean(problem), fix: clean(fix) },
            Error::Throttled { problem, after } => Error::Throttled { problem: clean(problem), after },
            Error::Refused { problem } => Error::Refused { problem: clean(problem) },
            Error::Unsupported(what) => Error::Unsupported(clean(what)),
            Error::Expired { expired } => Error::Expired { expired },
        }
    }
}

/// The reply of that name; [`crate::honest::lie`] has seen to it that it is no other.
macro_rules! ask {
    ($this:expr, $call:expr, $reply:pat => $value:expr) => {
        match $this.ask($call).await {
            Ok($reply) => Ok($value),
            Ok(_) => Err(Error::Bug("the answer belongs to another call".to_owned())),
            Err(error) => Err(error),
        }
    };
}

#[async_trait]
impl Connector for ProcessConnector {
    async fn check(&self, used: &[UsedType]) -> Result<CheckReport, Error> {
        let call = Call::Check { used: used.to_vec() };
        let mut report: CheckReport = ask!(self, call, Reply::Check(report) => report)?;
        let texts = report.findings.iter_mut().flat_map(|finding| [&mut finding.problem, &mut finding.fix]);
        texts.chain(&mut report.features).for_each(|text| self.clean(text));
        Ok(report)
    }

    async fn schema(&self) -> Result<Schema, Error> {
        ask!(self, Call::Schema {}, Reply::Schema(schema) => schema)
    }

    // Which sides there are is known only from the schema; a call to one that is missing is refused as unsupported.
    fn source(&self) -> Option<&dyn Source> {
        Some(self)
    }

    fn target(&self) -> Option<&dyn Target> {
        Some(self)
    }
}

#[async_trait]
impl Source for ProcessConnector {
    async fn read(&self, request: &ReadRequest, cursor: Option<&Cursor>) -> Result<ReadPage, Error> {
        let call = Call::Read { request: request.clone(), cursor: cursor.cloned() };
        ask!(self, call, Reply::Read(page) => page)
    }

    async fn changes(&self, request: &ReadRequest, position: &Position) -> Result<ChangePage, Error> {
        let call = Call::Changes { request: request.clone(), position: position.clone() };
        ask!(self, call, Reply::Changes(page) => page)
    }

    async fn get(&self, request: &ReadRequest, keys: &[Key]) -> Result<Vec<Option<SourceObject>>, Error> {
        let call = Call::Get { request: request.clone(), keys: keys.to_vec() };
        ask!(self, call, Reply::Get(found) => found)
    }
}

#[async_trait]
impl Target for ProcessConnector {
    async fn get(&self, request: &ReadRequest, keys: &[Key]) -> Result<Vec<Option<FoundObject>>, Error> {
        let call = Call::TargetGet { request: request.clone(), keys: keys.to_vec() };
        ask!(self, call, Reply::TargetGet(found) => found)
    }

    async fn find(
        &self,
        request: &ReadRequest,
        by: &[String],
        values: &[Vec<Value>],
    ) -> Result<Vec<Vec<FoundObject>>, Error> {
        let call = Call::Find { request: request.clone(), by: by.to_vec(), values: values.to_vec() };
        ask!(self, call, Reply::Find(found) => found)
    }

    async fn holds(&self, request: &ReadRequest, attribute: &str, pairs: &[(Key, Value)]) -> Result<Vec<bool>, Error> {
        let call = Call::Holds { request: request.clone(), attribute: attribute.to_owned(), pairs: pairs.to_vec() };
        ask!(self, call, Reply::Holds(found) => found)
    }

    async fn list(&self, request: &ReadRequest, cursor: Option<&Cursor>) -> Result<FoundPage, Error> {
        let call = Call::List { request: request.clone(), cursor: cursor.cloned() };
        ask!(self, call, Reply::List(page) => page)
    }

    async fn preview(&self, batch: &Batch) -> Result<Vec<String>, Error> {
        ask!(self, Call::Preview(batch.clone()), Reply::Preview(texts) => texts)
    }

    async fn apply(&self, batch: &Batch) -> Result<Vec<(OperationId, Outcome)>, Error> {
        let call = Call::Apply(batch.clone());
        let mut outcomes: Vec<(OperationId, Outcome)> = ask!(self, call, Reply::Apply(outcomes) => outcomes)?;
        for (_, outcome) in &mut outcomes {
            match outcome {
                Outcome::Rejected { message: text, .. } | Outcome::Retry { problem: text, .. } => self.clean(text),
                _ => {}
            }
        }
        Ok(outcomes)
    }

    async fn outcomes(&self, ids: &[OperationId]) -> Result<Vec<(OperationId, Resolution)>, Error> {
        match ask!(self, Call::Outcomes { ids: ids.to_vec() }, Reply::Outcomes(found) => found) {
            // It keeps no record, and need not know the call.
            Err(Error::Unsupported(_)) => Ok(ids.iter().map(|id| (*id, Resolution::NotRecorded)).collect()),
            answered => answered,
        }
    }

    async fn confirm(
        &self,
        object_type: &str,
        accepted: &[(OperationId, String)],
    ) -> Result<Vec<(OperationId, Resolution)>, Error> {
        let call = Call::Confirm { object_type: object_type.to_owned(), accepted: accepted.to_vec() };
        match ask!(self, call, Reply::Confirm(found) => found) {
            Err(Error::Unsupported(_)) => Ok(accepted.iter().map(|(id, _)| (*id, Resolution::NotRecorded)).collect()),
            answered => answered,
        }
    }

    async fn effort(&self, object_type: &str, operations: u64) -> Result<Option<String>, Error> {
        let call = Call::Effort { object_type: object_type.to_owned(), operations };
        match ask!(self, call, Reply::Effort(told) => told) {
            Err(Error::Unsupported(_)) => Ok(None),
            Ok(Some(mut told)) => {
                self.clean(&mut told);
                Ok(Some(told))
            }
            answered => answered,
        }
    }

    async fn acknowledge(&self, ids: &[OperationId]) -> Result<(), Error> {
        match ask!(self, Call::Acknowledge { ids: ids.to_vec() }, Reply::Acknowledge {} => ()) {
            Err(Error::Unsupported(_)) => Ok(()),
            answered => answered,
        }
    }
}
