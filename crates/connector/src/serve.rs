//! A connector in Rust as a process of its own.
//!
//! ```ignore
//! fn main() -> std::process::ExitCode {
//!     muster_connector::serve(MyKind)
//! }
//! ```

use std::collections::{BTreeMap, HashMap};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinSet};

use crate::connector::{Connector, ConnectorKind, Source, Target};
use crate::error::Error;
use crate::settings::ConnectorSettings;
use crate::wire::{
    Accepted, Answer, Call, Configure, Configured, FromConnector, LINE_LIMIT, Line, Lines, Reply, Request,
    SMALLEST_LINE_LIMIT, ToConnector, VERSION, encode,
};

/// The most requests that are worked on at a time.
const CONCURRENT: u32 = 16;

/// How long open requests may go on when Muster has gone without a word.
const GRACE: Duration = Duration::from_secs(5);

/// Speaks for the connector on standard input and output until Muster ends it. Whatever the connector writes to
/// standard error is its log; nothing else may be written to standard output.
#[must_use]
pub fn serve(kind: impl ConnectorKind + 'static) -> ExitCode {
    let ended = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => {
            let ended = runtime.block_on(serve_over(Arc::new(kind), tokio::io::stdin(), tokio::io::stdout()));
            // Standard input is read by a thread that nothing but more input would wake.
            runtime.shutdown_background();
            ended
        }
        Err(error) => Err(format!("no runtime: {error}")),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            use std::io::Write as _;
            // Nobody is left to be told if even that fails.
            drop(writeln!(std::io::stderr(), "{problem}"));
            ExitCode::FAILURE
        }
    }
}

/// The same on any pair of streams.
///
/// # Errors
/// The other side does not speak the wire form.
pub async fn serve_over(
    kind: Arc<dyn ConnectorKind>,
    input: impl AsyncRead + Unpin,
    output: impl AsyncWrite + Unpin + Send + 'static,
) -> Result<(), String> {
    let (out, outgoing) = mpsc::channel(64);
    let writer = tokio::spawn(write(output, outgoing));
    let mut tasks = JoinSet::new();
    let ended = Server { kind, out, limit: LINE_LIMIT, connector: None, open: Open::default() }
        .run(Incoming { input, lines: Lines::new(LINE_LIMIT), buffer: vec![0; 64 * 1024] }, &mut tasks)
        .await;
    let within = *ended.as_ref().unwrap_or(&Duration::ZERO);
    let finished = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(within, finished).await.is_err() {
        tasks.shutdown().await;
    }
    // A reader that has gone may leave the writer waiting for ever.
    drop(tokio::time::timeout(GRACE, writer).await);
    ended.map(drop)
}

async fn write(mut output: impl AsyncWrite + Unpin, mut outgoing: mpsc::Receiver<Vec<u8>>) {
    while let Some(line) = outgoing.recv().await {
        let written = async {
            output.write_all(&line).await?;
            output.flush().await
        };
        if written.await.is_err() {
            return;
        }
    }
}

struct Incoming<R> {
    input: R,
    lines: Lines,
    buffer: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Incoming<R> {
    /// The next message; `None` at the end of the input.
    async fn message(&mut self) -> Result<Option<ToConnector>, String> {
        loop {
            match self.lines.line() {
                Some(Line::Whole(line)) => {
                    let message = serde_json::from_slice(&line);
                    // The error's text could show what the message holds.
                    return message.map(Some).map_err(|error| {
                        format!("a message from Muster was not understood (column {})", error.column())
                    });
                }
                Some(Line::TooLong) => return Err("a line from Muster is too long".to_owned()),
                None => {}
            }
            match self.input.read(&mut self.buffer).await {
                Ok(0) | Err(_) => return Ok(None),
                Ok(length) => self.lines.push(self.buffer.get(..length).unwrap_or_default()),
            }
        }
    }
}

type Open = Arc<Mutex<HashMap<u64, AbortHandle>>>;

struct Server {
    kind: Arc<dyn ConnectorKind>,
    out: mpsc::Sender<Vec<u8>>,
    limit: usize,
    connector: Option<Arc<dyn Connector>>,
    open: Open,
}

impl Server {
    /// Until the end; answers how long open requests may still take.
    async fn run<R: AsyncRead + Unpin>(
        mut self,
        mut incoming: Incoming<R>,
        tasks: &mut JoinSet<()>,
    ) -> Result<Duration, String> {
        let Some(ToConnector::Hello(hello)) = incoming.message().await? else {
            return Err("this is a connector for Muster, which starts it; it begins with a hello".to_owned());
        };
        self.limit = hello.line_limit.max(SMALLEST_LINE_LIMIT);
        let accepted =
            Accepted { version: VERSION, line_limit: Some(LINE_LIMIT), concurrent: Some(CONCURRENT), heartbeats: true };
        send(&self.out, self.limit, &FromConnector::Hello(accepted)).await;
        let (oldest, newest) = hello.versions;
        if !(oldest..=newest).contains(&VERSION) {
            return Err(format!("Muster speaks the versions {oldest} to {newest}, this connector {VERSION}"));
        }
        let every = Duration::from_millis((hello.heartbeat_ms / 2).max(50));
        let mut beat = tokio::time::interval(every);
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let permits = Arc::new(Semaphore::new(CONCURRENT as usize));
        loop {
            let message = tokio::select! {
                message = incoming.message() => message?,
                _ = beat.tick() => {
                    // When there is no room other messages are on their way.
                    if let Some(line) = encode(&FromConnector::Heartbeat {}, self.limit) {
                        drop(self.out.try_send(line));
                    }
                    continue;
                }
                Some(_) = tasks.join_next() => continue,
            };
            match message {
                None => return Ok(GRACE),
                Some(ToConnector::Stop(stop)) => return Ok(Duration::from_millis(stop.within_ms)),
                Some(ToConnector::Hello(_)) => return Err("Muster said hello twice".to_owned()),
                Some(ToConnector::Configure(given)) => {
                    let error = self.configure(given).err();
                    send(&self.out, self.limit, &FromConnector::Configured(Configured { error })).await;
                }
                Some(ToConnector::Request(request)) => self.begin(request, &permits, tasks),
                Some(ToConnector::Cancel(id)) => {
                    if let Some(handle) = lock(&self.open).remove(&id) {
                        handle.abort();
                    }
                }
            }
        }
    }

    fn configure(&mut self, given: Configure) -> Result<(), Error> {
        let mut values = given.settings;
        for path in given.secrets.keys() {
            // A secret's own type reads a reference, whose target no longer matters.
            place(&mut values, path);
        }
        let secrets: BTreeMap<_, _> = given.secrets.into_iter().map(|(path, secret)| (path, secret.0)).collect();
        let (connection, base_folder) = (given.connection, given.folder.into());
        self.connector = Some(self.kind.connect(ConnectorSettings { connection, values, secrets, base_folder })?);
        Ok(())
    }

    fn begin(&self, request: Request, permits: &Arc<Semaphore>, tasks: &mut JoinSet<()>) {
        let Request { id, call } = request;
        let (kind, connector, permits) = (self.kind.clone(), self.connector.clone(), permits.clone());
        let work = tokio::spawn(async move {
            let _permit = permits.acquire_owned().await;
            reply(kind.as_ref(), connector.as_deref(), call).await.unwrap_or_else(Reply::Error)
        });
        lock(&self.open).insert(id, work.abort_handle());
        let (open, out, limit) = (self.open.clone(), self.out.clone(), self.limit);
        tasks.spawn(async move {
            let done = work.await;
            // Whoever cancelled it took it out.
            if lock(&open).remove(&id).is_none() {
                return;
            }
            let reply = done.unwrap_or_else(|_| Reply::Error(Error::Bug("the connector panicked".to_owned())));
            send(&out, limit, &FromConnector::Answer(Answer { id, reply })).await;
        });
    }
}

fn lock(open: &Open) -> std::sync::MutexGuard<'_, HashMap<u64, AbortHandle>> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

fn place(values: &mut Json, path: &str) {
    let mut at = values;
    for name in path.split('.') {
        if !at.is_object() {
            *at = json!({});
        }
        let Json::Object(table) = at else { return };
        at = table.entry(name).or_insert(Json::Null);
    }
    if at.is_null() {
        *at = json!({ "env": "GIVEN_BY_MUSTER" });
    }
}

async fn send(out: &mpsc::Sender<Vec<u8>>, limit: usize, message: &FromConnector) {
    let line = encode(message, limit).or_else(|| {
        let FromConnector::Answer(Answer { id, .. }) = message else { return None };
        let problem = format!("the answer is longer than a line of {limit} bytes; answer smaller pages");
        encode(&FromConnector::Answer(Answer { id: *id, reply: Reply::Error(Error::Bug(problem)) }), limit)
    });
    if let Some(line) = line {
        // Muster has gone; the end of the input follows.
        drop(out.send(line).await);
    }
}

async fn reply(kind: &dyn ConnectorKind, connector: Option<&dyn Connector>, call: Call) -> Result<Reply, Error> {
    if let Call::Describe {} = call {
        return Ok(Reply::Describe(kind.describe()));
    }
    let connector =
        connector.ok_or_else(|| Error::Bug(format!("{} was asked before the settings were given", call.name())))?;
    let source = || -> Result<&dyn Source, Error> {
        connector.source().ok_or_else(|| Error::Unsupported("being a source".to_owned()))
    };
    let target = || -> Result<&dyn Target, Error> {
        connector.target().ok_or_else(|| Error::Unsupported("being a target".to_owned()))
    };
    Ok(match call {
        Call::Describe {} => Reply::Describe(kind.describe()),
        Call::Check { used } => Reply::Check(connector.check(&used).await?),
        Call::Schema {} => Reply::Schema(connector.schema().await?),
        Call::Read { request, cursor } => Reply::Read(source()?.read(&request, cursor.as_ref()).await?),
        Call::Changes { request, position } => Reply::Changes(source()?.changes(&request, &position).await?),
        Call::Get { request, keys } => Reply::Get(source()?.get(&request, &keys).await?),
        Call::TargetGet { request, keys } => Reply::TargetGet(target()?.get(&request, &keys).await?),
        Call::Find { request, by, values } => Reply::Find(target()?.find(&request, &by, &values).await?),
        Call::Holds { request, attribute, pairs } => Reply::Holds(target()?.holds(&request, &attribute, &pairs).await?),
        Call::List { request, cursor } => Reply::List(target()?.list(&request, cursor.as_ref()).await?),
        Call::Preview(batch) => Reply::Preview(target()?.preview(&batch).await?),
        Call::Apply(batch) => Reply::Apply(target()?.apply(&batch).await?),
        Call::Outcomes { ids } => Reply::Outcomes(target()?.outcomes(&ids).await?),
        Call::Confirm { object_type, accepted } => Reply::Confirm(target()?.confirm(&object_type, &accepted).await?),
        Call::Effort { object_type, operations } => Reply::Effort(target()?.effort(&object_type, operations).await?),
        Call::Acknowledge { ids } => {
            target()?.acknowledge(&ids).await?;
            Reply::Acknowledge {}
        }
    })
}
