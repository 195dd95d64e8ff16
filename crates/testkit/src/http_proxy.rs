//! A forwarding HTTP/1.1 proxy that does to single requests what networks, gateways and servers do to them.
//!
//! It stands in front of one server without TLS. The client speaks to [`HttpProxy::port`] as if it were the server; the
//! `Host` that it sends is passed on, so that a server that builds links from it leads back here. Each request travels
//! on a connection of its own. What happens to it is decided by the first [`Rule`] that matches its method and its
//! target (path and query), has let pass as many as it should, and has not struck as often as it may:
//!
//! ```no_run
//! # use muster_testkit::http_proxy::{Action, HttpProxy, Rule};
//! let proxy = HttpProxy::start(8080);
//! // The third page arrives in part, once.
//! proxy.add(Rule::on("GET", "/users/delta").after(2).times(1), Action::CutBody(300));
//! // The token is issued, and its answer lost.
//! proxy.add(Rule::on("POST", "/token").times(1), Action::DropAnswer);
//! ```
//!
//! Requests have a `Content-Length` or no body; chunked ones are answered 411. Answers are read whole before anything is
//! done to them, and sent with their length, so that [`Action::CutBody`] counts bytes of the body as the server encoded
//! it (compressed, if so) and not of the transfer.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// The longest head of a request or an answer.
const LONGEST_HEAD: usize = 256 * 1024;

/// Which requests something happens to.
#[derive(Debug, Clone)]
pub struct Rule {
    method: String,
    part: String,
    after: u32,
    times: u32,
}

impl Rule {
    /// Requests of this method (any, where it is empty) whose path and query contain this.
    #[must_use]
    pub fn on(method: &str, part: &str) -> Self {
        Self { method: method.to_owned(), part: part.to_owned(), after: 0, times: u32::MAX }
    }

    /// Lets this many of them pass first.
    #[must_use]
    pub fn after(self, requests: u32) -> Self {
        Self { after: requests, ..self }
    }

    /// Strikes so often and no more.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { times, ..self }
    }
}

/// What happens to a request.
#[derive(Debug, Clone)]
pub enum Action {
    /// It is answered here, and the server does not see it.
    Answer {
        /// The status, such as 502.
        status: u16,
        /// Further headers.
        headers: Vec<(String, String)>,
        /// The body.
        body: Vec<u8>,
    },
    /// It is forwarded so much later.
    Delay(Duration),
    /// The connection ends after so many bytes of the answer's body, whose whole length was announced.
    CutBody(usize),
    /// The second half of the answer's body is turned over bit by bit: gzip no longer holds, and neither does JSON.
    Corrupt,
    /// The server answers, and the connection ends before the answer: the effect is done, and nobody knows.
    DropAnswer,
    /// The server sees it twice; the client gets the second answer.
    Duplicate,
}

#[derive(Debug)]
struct Standing {
    rule: Rule,
    action: Action,
    matched: u32,
    struck: u32,
}

#[derive(Debug, Default)]
struct State {
    rules: Vec<Standing>,
    seen: Vec<String>,
}

/// A proxy on loopback in front of one server.
#[derive(Debug)]
pub struct HttpProxy {
    port: u16,
    state: Arc<Mutex<State>>,
}

impl HttpProxy {
    /// A proxy in front of the server at this port of 127.0.0.1.
    #[must_use]
    pub fn start(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the proxy needs a port");
        let port = listener.local_addr().unwrap().port();
        let state = Arc::<Mutex<State>>::default();
        let accepting = Arc::clone(&state);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let state = Arc::clone(&accepting);
                std::thread::spawn(move || drop(serve(client, server, &state)));
            }
        });
        Self { port, state }
    }

    /// Where the proxy listens, on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on this happens to requests that match, unless an earlier rule has its way with them.
    pub fn add(&self, rule: Rule, action: Action) {
        lock(&self.state).rules.push(Standing { rule, action, matched: 0, struck: 0 });
    }

    /// Everything passes again.
    pub fn heal(&self) {
        lock(&self.state).rules.clear();
    }

    /// How often each rule has struck, in the order in which they were added.
    #[must_use]
    pub fn struck(&self) -> Vec<u32> {
        lock(&self.state).rules.iter().map(|standing| standing.struck).collect()
    }

    /// The requests of the clients so far, as `METHOD TARGET`.
    #[must_use]
    pub fn seen(&self) -> Vec<String> {
        lock(&self.state).seen.clone()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A request or an answer: its first line, its headers without those of the transfer, and its body.
struct Message {
    line: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Message {
    fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// As bytes, with its length; `Connection: close`, because each travels alone.
    fn write(&self) -> (Vec<u8>, usize) {
        let mut head = format!("{}\r\n", self.line);
        for (name, value) in &self.headers {
            let of_transfer = ["connection", "content-length", "transfer-encoding", "keep-alive"];
            if !of_transfer.contains(&name.to_ascii_lowercase().as_str()) {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        head.push_str(&format!("Content-Length: {}\r\nConnection: close\r\n\r\n", self.body.len()));
        let length = head.len();
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        (bytes, length)
    }
}

fn serve(mut client: TcpStream, server: u16, state: &Mutex<State>) -> std::io::Result<()> {
    let Some(request) = read(&mut client, false)? else { return Ok(()) };
    if request.header("transfer-encoding").is_some() {
        let refusal =
            Message { line: "HTTP/1.1 411 Length Required".to_owned(), headers: Vec::new(), body: Vec::new() };
        return client.write_all(&refusal.write().0);
    }
    let action = decide(&request, state);
    match &action {
        Some(Action::Answer { status, headers, body }) => {
            let answer =
                Message { line: format!("HTTP/1.1 {status} Answered"), headers: headers.clone(), body: body.clone() };
            return client.write_all(&answer.write().0);
        }
        Some(Action::Delay(pause)) => std::thread::sleep(*pause),
        Some(Action::Duplicate) => drop(forward(&request, server)?),
        _ => {}
    }
    let Some(mut answer) = forward(&request, server)? else { return Ok(()) };
    if matches!(action, Some(Action::Corrupt)) {
        let half = answer.body.len() / 2;
        answer.body.iter_mut().skip(half).for_each(|byte| *byte = !*byte);
    }
    let (bytes, head) = answer.write();
    let length = match action {
        Some(Action::DropAnswer) => 0,
        Some(Action::CutBody(kept)) => bytes.len().min(head + kept),
        _ => bytes.len(),
    };
    client.write_all(&bytes[..length])?;
    client.shutdown(Shutdown::Both)
}

/// What happens to a request.
fn decide(request: &Message, state: &Mutex<State>) -> Option<Action> {
    let mut words = request.line.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut state = lock(state);
    state.seen.push(format!("{method} {target}"));
    state.rules.iter_mut().find_map(|standing| {
        let rule = &standing.rule;
        if !(rule.method.is_empty() || rule.method == method) || !target.contains(&rule.part) {
            return None;
        }
        standing.matched += 1;
        let strikes = standing.matched > rule.after && standing.struck < rule.times;
        standing.struck += u32::from(strikes);
        strikes.then(|| standing.action.clone())
    })
}

fn forward(request: &Message, server: u16) -> std::io::Result<Option<Message>> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server))?;
    stream.write_all(&request.write().0)?;
    read(&mut stream, true)
}

/// Reads a message; an answer without a length ends with its connection. `None` where nothing comes.
fn read(stream: &mut TcpStream, is_answer: bool) -> std::io::Result<Option<Message>> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end;
        }
        if bytes.len() > LONGEST_HEAD || more(stream, &mut bytes)? == 0 {
            return Ok(None);
        }
    };
    let mut body = bytes.split_off(end + 4);
    let head = String::from_utf8_lossy(&bytes).into_owned();
    let mut lines = head.trim_end().split("\r\n");
    let line = lines.next().unwrap_or_default().to_owned();
    let split = |line: &str| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
    let mut message = Message { line, headers: lines.filter_map(split).collect(), body: Vec::new() };
    let length = message.header("content-length").and_then(|length| length.parse::<usize>().ok());
    let is_chunked = message.header("transfer-encoding").is_some();
    match length {
        Some(length) if !is_chunked => {
            while body.len() < length && more(stream, &mut body)? > 0 {}
            body.truncate(length);
        }
        // Its connection is closed after it, as was asked for.
        _ if is_answer => while more(stream, &mut body)? > 0 {},
        _ => {}
    }
    message.body = if is_chunked && is_answer { whole(&body) } else { body };
    Ok(Some(message))
}

fn more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> std::io::Result<usize> {
    let mut buffer = vec![0; 64 * 1024];
    let length = stream.read(&mut buffer)?;
    bytes.extend_from_slice(&buffer[..length]);
    Ok(length)
}

/// A chunked body in one piece, as far as it goes.
fn whole(mut chunked: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = chunked.windows(2).position(|window| window == b"\r\n") {
        let size = String::from_utf8_lossy(&chunked[..end]);
        let Ok(size @ 1..) = usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16) else {
            break;
        };
        let rest = &chunked[end + 2..];
        body.extend_from_slice(&rest[..size.min(rest.len())]);
        chunked = rest.get(size + 2..).unwrap_or_default();
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server that says how many requests it has had, in chunks, and what it was told.
    fn counting() -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for (number, mut stream) in (1..).zip(listener.incoming().flatten()) {
                let request = read(&mut stream, false).unwrap().unwrap();
                let said = format!("request {number} says {}", String::from_utf8_lossy(&request.body));
                let (one, two) = said.split_at(5);
                let chunks = format!("{:x}\r\n{one}\r\n{:x};x=y\r\n{two}\r\n0\r\n\r\n", one.len(), two.len());
                drop(write!(stream, "HTTP/1.1 200 OK\r\nX-Kept: yes\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"));
            }
        });
        port
    }

    /// What a client gets to see: all of it.
    fn ask(proxy: &HttpProxy, line: &str, body: &str) -> String {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).unwrap();
        write!(stream, "{line} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        let mut all = Vec::new();
        drop(stream.read_to_end(&mut all));
        String::from_utf8_lossy(&all).into_owned()
    }

    #[test]
    fn what_no_rule_names_passes_with_its_headers_and_body() {
        let proxy = HttpProxy::start(counting());
        let answer = ask(&proxy, "POST /a?b=c", "hello");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\nX-Kept: yes\r\n"), "{answer}");
        assert!(answer.ends_with("Content-Length: 20\r\nConnection: close\r\n\r\nrequest 1 says hello"), "{answer}");
        assert_eq!(proxy.seen(), ["POST /a?b=c"]);
    }

    #[test]
    fn rules_strike_by_method_target_and_number() {
        let proxy = HttpProxy::start(counting());
        let teapot =
            Action::Answer { status: 418, headers: vec![("A".to_owned(), "b".to_owned())], body: b"no".to_vec() };
        proxy.add(Rule::on("GET", "/page").after(1).times(1), teapot);
        for (line, expected) in [
            ("GET /page", "200"),
            ("POST /page", "200"),
            ("GET /other", "200"),
            ("GET /page?2", "418"),
            ("GET /page", "200"),
        ] {
            assert!(ask(&proxy, line, "").starts_with(&format!("HTTP/1.1 {expected}")), "{line}");
        }
        assert_eq!(proxy.struck(), [1]);
        // What was answered here never reached the server.
        assert!(ask(&proxy, "GET /page", "").ends_with("request 5 says "));
        proxy.heal();
        assert!(proxy.struck().is_empty());
    }

    #[test]
    fn each_action_does_what_it_says() {
        let proxy = HttpProxy::start(counting());
        proxy.add(Rule::on("", "/cut"), Action::CutBody(7));
        proxy.add(Rule::on("", "/lost"), Action::DropAnswer);
        proxy.add(Rule::on("", "/twice"), Action::Duplicate);
        proxy.add(Rule::on("", "/bad"), Action::Corrupt);
        proxy.add(Rule::on("", "/late"), Action::Delay(Duration::from_millis(50)));
        let cut = ask(&proxy, "GET /cut", "");
        assert!(cut.contains("Content-Length: 15") && cut.ends_with("\r\n\r\nrequest"), "{cut}");
        assert_eq!(ask(&proxy, "GET /lost", ""), "");
        assert!(ask(&proxy, "GET /twice", "x").ends_with("request 4 says x"));
        let bad = ask(&proxy, "GET /bad", "");
        assert!(bad.contains("\r\n\r\nrequest") && !bad.contains("says"), "{bad}");
        let begun = std::time::Instant::now();
        assert!(ask(&proxy, "GET /late", "").ends_with("request 6 says "));
        assert!(begun.elapsed() >= Duration::from_millis(50));
    }

    #[test]
    fn a_request_in_chunks_is_refused() {
        let proxy = HttpProxy::start(counting());
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).unwrap();
        stream.write_all(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 411"), "{answer}");
    }
}
