//! TLS over a connection that is there already, for protocols that turn it on in the middle of a conversation.

use std::io;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
pub use tokio_rustls::client::TlsStream;

/// Encrypts `stream`, on which the server's certificate must be for `host`: a name or an IP address.
///
/// # Errors
/// `host` is neither, or the handshake fails; the error says what the server's certificate lacks.
pub async fn secure<S: AsyncRead + AsyncWrite + Unpin>(
    config: Arc<ClientConfig>,
    host: &str,
    stream: S,
) -> io::Result<TlsStream<S>> {
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(host).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    tokio_rustls::TlsConnector::from(config).connect(name, stream).await
}

/// Whether an error of [`secure`] says that the other side cannot be trusted, or speaks no TLS, rather than that it
/// cannot be reached.
#[must_use]
pub fn is_untrusted(error: &io::Error) -> bool {
    error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>)
}
