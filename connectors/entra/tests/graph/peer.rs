//! A small HTTP/1.1 server that answers from a script, rightly or wrongly.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::world::World;

/// A request as it arrived, with the simulated time at which it did.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) at: Duration,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn form(&self, name: &str) -> Option<String> {
        url::form_urlencoded::parse(&self.body).find(|(found, _)| found == name).map(|(_, value)| value.into_owned())
    }

    pub(crate) fn is_for_a_token(&self) -> bool {
        self.target.contains("oauth2")
    }
}

/// What the peer does with one request.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    Answer {
        status: u16,
        headers: Vec<(String, String)>,
        body: Vec<u8>,
    },
    /// Promises the whole body and sends half of it.
    Cut(Vec<u8>),
    /// Sends the head and then nothing.
    Stall,
}

impl Reply {
    pub(crate) fn json(body: &str) -> Self {
        Self::status(200, body)
    }

    pub(crate) fn status(status: u16, body: &str) -> Self {
        Self::Answer { status, headers: Vec::new(), body: body.as_bytes().to_vec() }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        if let Self::Answer { headers, .. } = &mut self {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }

    pub(crate) fn error(status: u16, code: &str, message: &str) -> Self {
        Self::status(
            status,
            &format!(r#"{{"error":{{"code":"{code}","message":"{message}","innerError":{{"request-id":"r"}}}}}}"#),
        )
    }
}

type Script = Arc<Mutex<VecDeque<Reply>>>;

/// A running peer. Requests for tokens have a script of their own, which is endless by default.
pub(crate) struct Peer {
    pub(crate) address: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    graph: Script,
    tokens: Script,
}

impl Peer {
    pub(crate) async fn start(world: &Arc<World>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = Self {
            address: format!("http://{}", listener.local_addr().unwrap()),
            seen: Arc::default(),
            graph: Arc::default(),
            tokens: Arc::default(),
        };
        let (seen, graph, tokens, world) =
            (Arc::clone(&peer.seen), Arc::clone(&peer.graph), Arc::clone(&peer.tokens), Arc::clone(world));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, graph, tokens) = (Arc::clone(&seen), Arc::clone(&graph), Arc::clone(&tokens));
                tokio::spawn(serve(stream, seen, graph, tokens, Arc::clone(&world)));
            }
        });
        peer
    }

    /// Adds answers to the script; `{peer}` in a body stands for the peer's own address.
    pub(crate) fn answer(&self, replies: impl IntoIterator<Item = Reply>) {
        let address = self.address.clone();
        self.graph.lock().unwrap().extend(replies.into_iter().map(|reply| match reply {
            Reply::Answer { status, headers, body } => match String::from_utf8(body) {
                Ok(text) => {
                    let body = text.replace("{peer}", &address).into_bytes();
                    Reply::Answer { status, headers, body }
                }
                Err(bytes) => Reply::Answer { status, headers, body: bytes.into_bytes() },
            },
            other => other,
        }));
    }

    pub(crate) fn answer_tokens(&self, replies: impl IntoIterator<Item = Reply>) {
        self.tokens.lock().unwrap().extend(replies);
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn graph_calls(&self) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| !seen.is_for_a_token()).collect()
    }

    pub(crate) fn token_calls(&self) -> Vec<Seen> {
        self.seen().into_iter().filter(Seen::is_for_a_token).collect()
    }
}

async fn serve(stream: TcpStream, seen: Arc<Mutex<Vec<Seen>>>, graph: Script, tokens: Script, world: Arc<World>) {
    let mut stream = BufReader::new(stream);
    while let Some(request) = read(&mut stream, &world).await {
        let count = {
            let mut seen = seen.lock().unwrap();
            seen.push(request.clone());
            seen.iter().filter(|seen| seen.is_for_a_token()).count()
        };
        let reply = if request.is_for_a_token() {
            tokens.lock().unwrap().pop_front().unwrap_or_else(|| {
                let body = format!(r#"{{"token_type":"Bearer","expires_in":3599,"access_token":"token-{count}"}}"#);
                Reply::json(&body)
            })
        } else {
            graph.lock().unwrap().pop_front().unwrap_or_else(|| Reply::error(418, "NotScripted", &request.target))
        };
        if !write(&mut stream, reply).await {
            return;
        }
    }
}

async fn read(stream: &mut BufReader<TcpStream>, world: &World) -> Option<Seen> {
    let mut line = String::new();
    if stream.read_line(&mut line).await.ok()? == 0 {
        return None;
    }
    let mut words = line.split_whitespace();
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => headers.push((name.to_owned(), value.to_owned())),
            None => break,
        }
    }
    let mut seen = Seen { method, target, headers, body: Vec::new(), at: world.time() };
    let length = seen.header("content-length").map_or(0, |length| length.parse().unwrap());
    seen.body = vec![0; length];
    stream.read_exact(&mut seen.body).await.ok()?;
    Some(seen)
}

/// Whether the connection stays open.
async fn write(stream: &mut BufReader<TcpStream>, reply: Reply) -> bool {
    match reply {
        Reply::Answer { status, headers, body } => {
            let mut head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n", body.len());
            for (name, value) in headers {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
            head.push_str("\r\n");
            // A client that has seen enough hangs up.
            stream.write_all(head.as_bytes()).await.is_ok() && stream.write_all(&body).await.is_ok()
        }
        Reply::Cut(body) => {
            let head = format!("HTTP/1.1 200 X\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(&body[..body.len() / 2]).await.unwrap();
            false
        }
        Reply::Stall => {
            stream.write_all(b"HTTP/1.1 200 X\r\ncontent-length: 10\r\n\r\n{").await.unwrap();
            // Held open until the client gives up.
            let mut rest = [0; 1];
            drop(stream.read(&mut rest).await);
            false
        }
    }
}
