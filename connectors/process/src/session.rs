//! One running process: requests out, answers in, and an end that everyone who waits is told of.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use muster_connector::wire::{Call, FromConnector, Line, Reply, Request, Stop, ToConnector, encode};
use muster_connector::{Description, Error};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::Instant;

use crate::config::Command;
use crate::honest::{lie, misread};
use crate::start::{HEARTBEAT, Manners, Peer};

/// How long a process may take to end by itself.
const STOP_WITHIN: Duration = Duration::from_secs(5);

/// A connector that promised heartbeats is ended after so much silence.
const SILENCE: Duration = HEARTBEAT.saturating_mul(4);

/// How many cancelled requests may still be answered; an answer to an older one is a breach.
const CANCELLED: usize = 10_000;

/// Why a process is at its end.
#[derive(Debug, Clone)]
pub(crate) enum End {
    /// It broke the wire form, or lied.
    Breach(String),
    /// It ended or was ended.
    Gone(String),
    /// A trial killed it.
    Killed,
}

impl End {
    fn error(&self) -> Error {
        match self {
            Self::Breach(problem) => Error::Bug(problem.clone()),
            Self::Gone(problem) => Error::Unreachable { problem: problem.clone(), nothing_sent: false },
            Self::Killed => Error::Unreachable { problem: "killed on trial".to_owned(), nothing_sent: false },
        }
    }
}

#[derive(Debug, Default)]
struct Open {
    waiting: HashMap<u64, Waiting>,
    cancelled: HashSet<u64>,
    /// On trial: the next answer to `apply` is lost, and the process killed.
    lose: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Waiting {
    applies: bool,
    reply: oneshot::Sender<Reply>,
    progress: watch::Sender<Instant>,
}

#[derive(Debug)]
pub(crate) struct Session {
    out: mpsc::Sender<Vec<u8>>,
    open: Arc<Mutex<Open>>,
    end: watch::Sender<Option<End>>,
    next: AtomicU64,
    permits: Semaphore,
    limit: usize,
    answer_within: Duration,
    process: Option<u32>,
    description: Option<Description>,
    /// True once the process is no more.
    over: watch::Receiver<bool>,
}

impl Session {
    /// Takes over a process that has been configured. It is stopped when the last holder lets go.
    pub(crate) fn new(command: &Command, peer: Peer, manners: Manners) -> Arc<Self> {
        let Manners { limit, concurrent, heartbeats, description } = manners;
        let (out, outgoing) = mpsc::channel(64);
        let (done, over) = watch::channel(false);
        let session = Arc::new(Self {
            out,
            open: Arc::new(Mutex::new(Open { lose: command.lose_next_answer.clone(), ..Open::default() })),
            end: watch::Sender::new(None),
            next: AtomicU64::new(1),
            permits: Semaphore::new(concurrent as usize),
            limit,
            answer_within: command.answer_within,
            process: peer.child.id(),
            description,
            over,
        });
        let (open, end) = (session.open.clone(), session.end.clone());
        tokio::spawn(async move {
            attend(peer, outgoing, open, end, heartbeats).await;
            done.send_replace(true);
        });
        session
    }

    pub(crate) fn process(&self) -> Option<u32> {
        self.process
    }

    pub(crate) fn description(&self) -> Option<Description> {
        self.description.clone()
    }

    /// Kills the process and waits until it is no more.
    pub(crate) async fn kill(&self) {
        self.finish(End::Killed);
        let mut over = self.over.clone();
        drop(tokio::time::timeout(STOP_WITHIN, over.wait_for(|over| *over)).await);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.end.borrow().is_some()
    }

    /// Asks and waits. Whoever drops the future cancels the request.
    pub(crate) async fn ask(&self, call: Call) -> Result<Reply, Error> {
        let deadline = match &call {
            Call::Apply(batch) => Some(batch.deadline),
            _ => None,
        };
        let Ok(_permit) = self.permits.acquire().await else {
            return Err(Error::Bug("the process takes no more requests".to_owned()));
        };
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let message = ToConnector::Request(Request { id, call });
        let Some(line) = encode(&message, self.limit) else {
            let problem = format!("the request is longer than the {} bytes that the connector takes", self.limit);
            return Err(Error::Refused { problem });
        };
        let ToConnector::Request(Request { call, .. }) = message else {
            return Err(Error::Bug("a request is a request".to_owned()));
        };
        let applies = matches!(call, Call::Apply(_));
        let (reply, mut answered) = oneshot::channel();
        let (progress, mut last) = watch::channel(Instant::now());
        self.open().waiting.insert(id, Waiting { applies, reply, progress });
        let guard = Asked { session: self, id };
        let mut ended = self.end.subscribe();
        let begun = Instant::now();
        if self.out.send(line).await.is_err() {
            return Err(self.over(&mut ended).await);
        }
        loop {
            let until = match deadline {
                Some(deadline) => begun + deadline,
                None => *last.borrow_and_update() + self.answer_within,
            };
            tokio::select! {
                biased;
                reply = &mut answered => match reply {
                    Ok(reply) => {
                        drop(guard);
                        return self.judged(&call, reply);
                    }
                    Err(_) => return Err(self.over(&mut ended).await),
                },
                () = at_end(&mut ended) => return Err(self.over(&mut ended).await),
                Ok(()) = last.changed() => {}
                () = tokio::time::sleep_until(until) => {
                    let seconds = begun.elapsed().as_secs_f64();
                    let problem =
                        format!("the connector did not answer {} within {seconds:.1} s; its process was ended", call.name());
                    self.finish(End::Gone(problem));
                    return Err(self.over(&mut ended).await);
                }
            }
        }
    }

    fn judged(&self, call: &Call, reply: Reply) -> Result<Reply, Error> {
        if let Some(lie) = lie(call, &reply) {
            let problem = format!("the connector's answer to {} cannot be right: {lie}", call.name());
            self.finish(End::Breach(problem.clone()));
            return Err(Error::Bug(problem));
        }
        match reply {
            Reply::Error(error) => Err(error),
            reply => Ok(reply),
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        lock(&self.open)
    }

    fn finish(&self, end: End) {
        finish(&self.end, end);
    }

    /// Why it is at its end; the one who reads has it first.
    async fn over(&self, ended: &mut watch::Receiver<Option<End>>) -> Error {
        let told = tokio::time::timeout(STOP_WITHIN, ended.wait_for(Option::is_some)).await;
        match told {
            Ok(Ok(end)) => end.as_ref().map_or_else(|| gone().error(), End::error),
            _ => gone().error(),
        }
    }
}

fn gone() -> End {
    End::Gone("the connector's process ended".to_owned())
}

fn lock(open: &Mutex<Open>) -> MutexGuard<'_, Open> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for the end, without holding what was read.
async fn at_end(ended: &mut watch::Receiver<Option<End>>) {
    drop(ended.wait_for(Option::is_some).await);
}

/// The first end counts.
fn finish(end: &watch::Sender<Option<End>>, found: End) {
    end.send_if_modified(|held| {
        let first = held.is_none();
        if first {
            *held = Some(found);
        }
        first
    });
}

/// A request that is cancelled when nobody waits for it any more.
struct Asked<'a> {
    session: &'a Session,
    id: u64,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        let mut open = self.session.open();
        if open.waiting.remove(&self.id).is_none() {
            return;
        }
        if open.cancelled.len() < CANCELLED {
            open.cancelled.insert(self.id);
        }
        drop(open);
        // Where there is no room the connector works in vain, which does no harm.
        if let Some(line) = encode(&ToConnector::Cancel(self.id), self.session.limit) {
            drop(self.session.out.try_send(line));
        }
    }
}

/// Owns the process until its end.
async fn attend(
    peer: Peer,
    outgoing: mpsc::Receiver<Vec<u8>>,
    open: Arc<Mutex<Open>>,
    end: watch::Sender<Option<End>>,
    heartbeats: bool,
) {
    let Peer { mut child, input, output, lines } = peer;
    let mut ended = end.subscribe();
    let mut reading = std::pin::pin!(read(output, lines, &open, heartbeats));
    let mut writing = tokio::spawn(write(input, outgoing));
    let mut stopped = None;
    let found = tokio::select! {
        found = &mut reading => Some(found),
        // Somebody waited too long or was lied to.
        () = at_end(&mut ended) => None,
        _ = &mut writing => {
            // Either everyone let go, or it reads no more: it has a while to end.
            let until = Instant::now() + STOP_WITHIN;
            stopped = Some(until);
            drop(tokio::time::timeout_at(until, &mut reading).await);
            Some(gone())
        }
    };
    if let Some(found) = found {
        finish(&end, with_status(found, &mut child).await);
    }
    writing.abort();
    // Also those who wait are told, by the loss of their senders.
    lock(&open).waiting.clear();
    if tokio::time::timeout_at(stopped.unwrap_or_else(Instant::now), child.wait()).await.is_err() {
        drop(child.kill().await);
    }
}

async fn with_status(end: End, child: &mut Child) -> End {
    let End::Gone(problem) = end else { return end };
    match tokio::time::timeout(Duration::from_millis(500), child.wait()).await {
        Ok(Ok(status)) => End::Gone(format!("{problem} ({status}); see the log at debug for what it said")),
        _ => End::Gone(problem),
    }
}

async fn write(mut input: ChildStdin, mut outgoing: mpsc::Receiver<Vec<u8>>) {
    while let Some(line) = outgoing.recv().await {
        if input.write_all(&line).await.is_err() {
            return;
        }
    }
    let within_ms = u64::try_from(STOP_WITHIN.as_millis()).unwrap_or(5000);
    if let Some(line) = encode(&ToConnector::Stop(Stop { within_ms }), usize::MAX) {
        // A process that is gone needs no farewell.
        drop(tokio::time::timeout(STOP_WITHIN, input.write_all(&line)).await);
    }
}

/// Reads until there is a reason to end.
async fn read(
    mut output: tokio::process::ChildStdout,
    mut lines: muster_connector::wire::Lines,
    open: &Mutex<Open>,
    heartbeats: bool,
) -> End {
    let mut buffer = vec![0; 256 * 1024];
    loop {
        while let Some(line) = lines.line() {
            let end = match line {
                Line::TooLong => {
                    Some(End::Breach("the connector sent a line that is longer than the limit".to_owned()))
                }
                Line::Whole(line) => match serde_json::from_slice(&line) {
                    Ok(message) => take(message, open),
                    Err(error) => Some(End::Breach(misread(&error))),
                },
            };
            if let Some(end) = end {
                return end;
            }
        }
        let reading = output.read(&mut buffer);
        let read = match heartbeats {
            true => match tokio::time::timeout(SILENCE, reading).await {
                Ok(read) => read,
                Err(_) => {
                    let seconds = SILENCE.as_secs();
                    return End::Gone(format!("the connector was silent for {seconds} s and was ended"));
                }
            },
            false => reading.await,
        };
        match read {
            Ok(0) | Err(_) => return gone(),
            Ok(length) => lines.push(buffer.get(..length).unwrap_or_default()),
        }
    }
}

/// Takes a message in; answers why it is the last.
fn take(message: FromConnector, open: &Mutex<Open>) -> Option<End> {
    match message {
        FromConnector::Heartbeat {} => None,
        FromConnector::Progress(progress) => {
            if let Some(waiting) = lock(open).waiting.get(&progress.id) {
                waiting.progress.send_replace(Instant::now());
            }
            None
        }
        FromConnector::Answer(answer) => {
            let mut open = lock(open);
            match open.waiting.remove(&answer.id) {
                Some(Waiting { applies: true, .. }) if open.lose.swap(false, Ordering::Relaxed) => Some(End::Killed),
                Some(waiting) => {
                    // Nobody waits any more: the answer came together with the cancellation.
                    drop(waiting.reply.send(answer.reply));
                    None
                }
                None if open.cancelled.remove(&answer.id) => None,
                None => {
                    let problem = "the connector answered a request that is not open: twice, or one never asked";
                    Some(End::Breach(problem.to_owned()))
                }
            }
        }
        FromConnector::Hello(_) | FromConnector::Configured(_) => {
            Some(End::Breach("the connector shook hands again in the midst of its work".to_owned()))
        }
    }
}
