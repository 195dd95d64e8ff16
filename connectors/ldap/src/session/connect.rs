//! Dialling, encrypting, signing in.

use std::sync::Arc;
use std::time::Duration;

use muster_tls::ClientConfig;
use secrecy::SecretString;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::protocol::ber;
use crate::protocol::message::{Answer, Code, Message};
use crate::protocol::request::Request;
use crate::session::connection::{Connection, Unattended};
use crate::session::failure::Failure;
use crate::session::referral::Protection;

/// A server, as the settings name it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Server {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) encryption: Encryption,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Encryption {
    /// From the first byte: `ldaps://`.
    Tls,
    /// Turned on before anything is said (RFC 4511, section 4.14).
    StartTls,
    Off,
}

/// Who we are.
#[derive(Debug, Clone)]
pub(crate) enum SignIn {
    Anonymous,
    Simple {
        user: String,
        password: SecretString,
    },
    /// By the certificate that TLS has shown.
    Certificate,
}

/// How servers are reached.
#[derive(Debug, Clone)]
pub(crate) struct Access {
    /// In the order in which they are tried.
    pub(crate) servers: Vec<Server>,
    pub(crate) tls: Option<Arc<ClientConfig>>,
    pub(crate) sign_in: SignIn,
    /// The longest silence.
    pub(crate) timeout: Duration,
    pub(crate) unattended: Unattended,
    /// Where referrals are followed: what connections to the servers that they name must be like.
    pub(crate) referrals: Option<Protection>,
}

/// How long dialling and the handshake may take together.
const DIAL: Duration = Duration::from_secs(10);

impl std::fmt::Display for Server {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.encryption == Encryption::Tls { "ldaps" } else { "ldap" };
        write!(formatter, "{scheme}://{}:{}", self.host, self.port)
    }
}

impl Access {
    /// A connection to a server on which we are known.
    pub(crate) async fn connect(&self, server: &Server) -> Result<Connection, Failure> {
        let within = DIAL.min(self.timeout);
        let connection = match tokio::time::timeout(within, self.dial(server)).await {
            Ok(dialled) => dialled?,
            Err(_) => return Err(unreachable(server, &format!("no answer within {} s", within.as_secs()))),
        };
        let request = match &self.sign_in {
            SignIn::Anonymous => return Ok(connection),
            SignIn::Simple { user, password } => Request::Bind { name: user.clone(), password: password.clone() },
            SignIn::Certificate => Request::BindExternal,
        };
        let result = connection.call(&request, &[], self.timeout).await;
        let result = result.map_err(|lost| unreachable(server, &lost.problem))?;
        if result.code == Code::SUCCESS { Ok(connection) } else { Err(Failure::SignIn(result)) }
    }

    async fn dial(&self, server: &Server) -> Result<Connection, Failure> {
        let host = server.host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((host, server.port)).await;
        let mut stream = stream.map_err(|error| unreachable(server, &error.to_string()))?;
        // Requests are small and wait for answers.
        stream.set_nodelay(true).map_err(|error| unreachable(server, &error.to_string()))?;
        match (server.encryption, &self.tls) {
            (Encryption::Off, _) => return Ok(Connection::over(stream, server.clone(), self.unattended.clone())),
            (Encryption::StartTls, _) => start_tls(&mut stream).await.map_err(|problem| match problem {
                Refusal::Broken(problem) => unreachable(server, &problem),
                Refusal::Refused(problem) => Failure::Insecure(format!("{server} does not turn on TLS: {problem}")),
            })?,
            (Encryption::Tls, _) => {}
        }
        let Some(tls) = &self.tls else { return Err(Failure::Insecure("TLS is not set up".to_owned())) };
        match muster_tls::stream::secure(tls.clone(), &server.host, stream).await {
            Ok(stream) => Ok(Connection::over(stream, server.clone(), self.unattended.clone())),
            Err(error) if muster_tls::stream::is_untrusted(&error) => {
                Err(Failure::Insecure(format!("{server}: {error}")))
            }
            Err(error) => Err(unreachable(server, &format!("the TLS handshake failed: {error}"))),
        }
    }
}

fn unreachable(server: &Server, problem: &str) -> Failure {
    Failure::Unreachable { problem: format!("{server} cannot be reached: {problem}"), sent: false }
}

enum Refusal {
    Broken(String),
    Refused(String),
}

/// Before anything else is said, so that nothing of a listener's can slip into what follows: bytes behind the answer
/// are refused.
async fn start_tls(stream: &mut TcpStream) -> Result<(), Refusal> {
    const LARGEST: usize = 16 << 10;
    let broken = |error: std::io::Error| Refusal::Broken(error.to_string());
    stream.write_all(&Request::StartTls.encode(1, &[])).await.map_err(broken)?;
    let mut bytes = Vec::new();
    loop {
        let length =
            ber::message_length(&bytes, LARGEST).map_err(|malformed| Refusal::Broken(malformed.to_string()))?;
        match length {
            Some(length) if bytes.len() == length => break,
            Some(length) if bytes.len() > length => {
                return Err(Refusal::Refused("the server says more than was asked".to_owned()));
            }
            _ => {}
        }
        if stream.read_buf(&mut bytes).await.map_err(broken)? == 0 {
            return Err(Refusal::Broken("the server closed the connection".to_owned()));
        }
    }
    match Message::read(&bytes).map_err(|malformed| Refusal::Broken(malformed.to_string()))?.answer {
        Answer::Result(result) if result.code == Code::SUCCESS => Ok(()),
        Answer::Result(result) => Err(Refusal::Refused(result.said())),
        _ => Err(Refusal::Broken("the server answers what was not asked".to_owned())),
    }
}
