//! One connection that carries many operations at a time (RFC 4511, section 4.1.1.1). A task of its own reads and one
//! writes; whatever a server sends that is no LDAP ends the connection, and nothing else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;

use crate::protocol::ber;
use crate::protocol::control::Control;
use crate::protocol::message::{Answer, Entry, LdapResult, Message};
use crate::protocol::request::{Request, Search};
use crate::session::connect::Server;
use crate::session::failure::Lost;

/// The largest message of a server, in bytes.
pub(crate) const LARGEST_MESSAGE: usize = 64 << 20;

/// The most bytes of entries that one search may bring.
const LARGEST_SEARCH: usize = 256 << 20;

/// Answers that wait to be taken, for each search. While nobody takes them the server has to wait, and so have the
/// connection's other operations.
const UNREAD: usize = 512;

/// Anything that bytes travel over.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for S {}

/// How many requests were sent by calls that were given up since, and are not answered yet.
pub(crate) type Unattended = Arc<watch::Sender<usize>>;

/// A connection; its clones are the same one. It ends with the last of them.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    open: Arc<Mutex<Open>>,
    outgoing: mpsc::UnboundedSender<Vec<u8>>,
    unattended: Unattended,
    server: Server,
    reading: AbortHandle,
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The writer says goodbye once its queue is empty and nobody can fill it any more.
        let _gone = self.outgoing.send(Request::Unbind.encode(i32::MAX, &[]));
        self.reading.abort();
    }
}

/// Operations that are not answered yet.
#[derive(Debug, Default)]
struct Open {
    last: i32,
    waiting: HashMap<i32, Waiting>,
    /// Why the connection is over.
    broken: Option<String>,
}

#[derive(Debug)]
enum Waiting {
    Result(oneshot::Sender<LdapResult>),
    Search(mpsc::Sender<Message>),
}

/// What a search found.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) entries: Vec<Entry>,
    /// Other servers that hold parts of what was searched, each part with those that hold it.
    pub(crate) elsewhere: Vec<Vec<String>>,
    pub(crate) result: LdapResult,
}

fn lock(open: &Mutex<Open>) -> std::sync::MutexGuard<'_, Open> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Connection {
    pub(crate) fn over<S: Stream>(stream: S, server: Server, unattended: Unattended) -> Self {
        let (reader, writer) = tokio::io::split(stream);
        let open = Arc::new(Mutex::new(Open::default()));
        let (outgoing, queue) = mpsc::unbounded_channel();
        tokio::spawn(write(writer, queue, open.clone()));
        let reading = tokio::spawn(read(reader, open.clone())).abort_handle();
        Self { inner: Arc::new(Inner { open, outgoing, unattended, server, reading }) }
    }

    /// Who is at the other end.
    pub(crate) fn server(&self) -> &Server {
        &self.inner.server
    }

    /// Why it cannot be used any more, once that is so.
    pub(crate) fn broken(&self) -> Option<String> {
        lock(&self.inner.open).broken.clone()
    }

    /// Ends it for everybody who uses it.
    pub(crate) fn give_up(&self, why: &str) {
        end(&self.inner.open, why.to_owned());
    }

    fn send(&self, request: &Request, controls: &[Control], waiting: Waiting) -> Result<i32, Lost> {
        let mut open = lock(&self.inner.open);
        if let Some(problem) = &open.broken {
            return Err(Lost { problem: problem.clone(), sent: false });
        }
        let id = loop {
            open.last = if open.last >= i32::MAX - 1 { 1 } else { open.last + 1 };
            if !open.waiting.contains_key(&open.last) {
                break open.last;
            }
        };
        // Under the lock, so that nothing is queued behind the end of the connection.
        let queued = self.inner.outgoing.send(request.encode(id, controls));
        queued.map_err(|_| Lost { problem: "the connection was closed".to_owned(), sent: false })?;
        open.waiting.insert(id, waiting);
        Ok(id)
    }

    fn abandon(&self, id: i32) {
        lock(&self.inner.open).waiting.remove(&id);
        let _closed = self.inner.outgoing.send(Request::Abandon { id }.encode(i32::MAX - 1, &[]));
    }

    fn lost(&self) -> Lost {
        let problem = self.broken().unwrap_or_else(|| "the connection was closed".to_owned());
        Lost { problem, sent: true }
    }

    fn silent(&self, id: i32, within: Duration) -> Lost {
        self.abandon(id);
        let problem = format!("no answer within {} s", within.as_secs_f32());
        // A server that answers nothing for so long is not asked anything else.
        self.give_up(&problem);
        Lost { problem, sent: true }
    }

    /// One operation with one answer.
    pub(crate) async fn call(
        &self,
        request: &Request,
        controls: &[Control],
        within: Duration,
    ) -> Result<LdapResult, Lost> {
        let (sender, answer) = oneshot::channel();
        let id = self.send(request, controls, Waiting::Result(sender))?;
        let mut attended = Attended { connection: self, id, within, answer: Some(answer) };
        let Some(answer) = &mut attended.answer else { return Err(self.lost()) };
        let answered = tokio::time::timeout(within, answer).await;
        attended.answer = None;
        match answered {
            Ok(Ok(result)) => Ok(result),
            Ok(Err(_)) => Err(self.lost()),
            Err(_) => Err(self.silent(id, within)),
        }
    }

    /// A search whose entries are handed over as they come.
    pub(crate) fn begin_search(&self, search: Search, controls: &[Control]) -> Result<Searching, Lost> {
        let (sender, answers) = mpsc::channel(UNREAD);
        let id = self.send(&Request::Search(search), controls, Waiting::Search(sender))?;
        Ok(Searching { connection: self.clone(), id, answers, done: false })
    }

    /// A search whose entries are few enough for memory. `within`: the longest silence.
    pub(crate) async fn search(&self, search: Search, controls: &[Control], within: Duration) -> Result<Found, Lost> {
        let mut searching = self.begin_search(search, controls)?;
        let (mut entries, mut elsewhere, mut size) = (Vec::new(), Vec::new(), 0);
        loop {
            match searching.next(within).await?.answer {
                Answer::Entry(entry) => {
                    size += entry.size();
                    if size > LARGEST_SEARCH {
                        let problem = "a search brought more than 256 MiB, though few entries were asked for";
                        return Err(Lost { problem: problem.to_owned(), sent: true });
                    }
                    entries.push(entry);
                }
                Answer::Elsewhere(urls) => elsewhere.push(urls),
                Answer::Intermediate { .. } => {}
                Answer::Result(result) => return Ok(Found { entries, elsewhere, result }),
            }
        }
    }
}

/// A request whose answer somebody waits for. Where the call is given up its answer is waited for all the same, so
/// that what follows can come after it.
struct Attended<'a> {
    connection: &'a Connection,
    id: i32,
    within: Duration,
    answer: Option<oneshot::Receiver<LdapResult>>,
}

impl Drop for Attended<'_> {
    fn drop(&mut self) {
        let Some(answer) = self.answer.take() else { return };
        let (connection, id, within) = (self.connection.clone(), self.id, self.within);
        connection.inner.unattended.send_modify(|count| *count += 1);
        tokio::spawn(async move {
            if tokio::time::timeout(within, answer).await.is_err() {
                drop(connection.silent(id, within));
            }
            connection.inner.unattended.send_modify(|count| *count = count.saturating_sub(1));
        });
    }
}

impl Entry {
    fn size(&self) -> usize {
        let values = self.attributes.iter().flat_map(|(name, values)| {
            std::iter::once(name.len()).chain(values.iter().map(|value| value.len() + size_of::<Vec<u8>>()))
        });
        self.dn.len() + values.sum::<usize>()
    }
}

/// A search on its way. Dropped, it is abandoned.
#[derive(Debug)]
pub(crate) struct Searching {
    connection: Connection,
    id: i32,
    answers: mpsc::Receiver<Message>,
    done: bool,
}

impl Searching {
    /// The next answer; the last one is the result.
    pub(crate) async fn next(&mut self, within: Duration) -> Result<Message, Lost> {
        match tokio::time::timeout(within, self.answers.recv()).await {
            Ok(Some(message)) => {
                self.done = matches!(message.answer, Answer::Result(_));
                Ok(message)
            }
            Ok(None) => Err(self.connection.lost()),
            Err(_) => Err(self.connection.silent(self.id, within)),
        }
    }
}

impl Drop for Searching {
    fn drop(&mut self) {
        if !self.done {
            self.connection.abandon(self.id);
        }
    }
}

fn end(open: &Mutex<Open>, why: String) {
    let mut open = lock(open);
    open.broken.get_or_insert(why);
    open.waiting.clear();
}

async fn write<W: AsyncWrite + Unpin>(
    mut writer: W,
    mut queue: mpsc::UnboundedReceiver<Vec<u8>>,
    open: Arc<Mutex<Open>>,
) {
    while let Some(mut bytes) = queue.recv().await {
        while bytes.len() < 64 << 10
            && let Ok(more) = queue.try_recv()
        {
            bytes.extend_from_slice(&more);
        }
        let written = async {
            writer.write_all(&bytes).await?;
            writer.flush().await
        };
        if let Err(error) = written.await {
            return end(&open, format!("the connection broke: {error}"));
        }
    }
    // The other side may be gone before us, which is as well.
    let _gone = writer.shutdown().await;
}

async fn read<R: AsyncRead + Unpin>(mut reader: R, open: Arc<Mutex<Open>>) {
    let why = match take_answers(&mut reader, &open).await {
        Ok(()) => "the server closed the connection".to_owned(),
        Err(problem) => problem,
    };
    end(&open, why);
}

async fn take_answers<R: AsyncRead + Unpin>(reader: &mut R, open: &Mutex<Open>) -> Result<(), String> {
    let mut buffer: Vec<u8> = Vec::with_capacity(16 << 10);
    let mut start = 0;
    loop {
        while let Some(length) = ber::message_length(buffer.get(start..).unwrap_or_default(), LARGEST_MESSAGE)
            .map_err(|malformed| malformed.to_string())?
        {
            let Some(bytes) = buffer.get(start..start + length) else { break };
            let message = Message::read(bytes).map_err(|malformed| malformed.to_string())?;
            start += length;
            dispatch(message, open).await?;
        }
        if start > 0 {
            buffer.drain(..start);
            start = 0;
        }
        match reader.read_buf(&mut buffer).await {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(format!("the connection broke: {error}")),
        }
    }
}

async fn dispatch(message: Message, open: &Mutex<Open>) -> Result<(), String> {
    if message.id == 0 {
        // An unsolicited notification (RFC 4511, section 4.4): the server says goodbye.
        return Err(match message.answer {
            Answer::Result(result) => format!("the server ends the connection: {}", result.said()),
            _ => "the server ends the connection".to_owned(),
        });
    }
    let is_last = matches!(message.answer, Answer::Result(_));
    let search = {
        let mut open = lock(open);
        match open.waiting.get(&message.id) {
            // What was abandoned may still be answered.
            None => return Ok(()),
            Some(Waiting::Result(_)) if !is_last => return Err("the server answers what was not asked".to_owned()),
            Some(Waiting::Search(sender)) => {
                let sender = sender.clone();
                if is_last {
                    open.waiting.remove(&message.id);
                }
                sender
            }
            Some(Waiting::Result(_)) => {
                if let (Some(Waiting::Result(sender)), Answer::Result(result)) =
                    (open.waiting.remove(&message.id), message.answer)
                {
                    // Whoever asked may have given up.
                    let _given_up = sender.send(result);
                }
                return Ok(());
            }
        }
    };
    // Whoever asked may have given up here as well, and abandons the search then.
    let _given_up = search.send(message).await;
    Ok(())
}
