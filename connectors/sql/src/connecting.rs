//! How a server is spoken to: encryption, who shows which certificate, and what a refused connection means.

use std::path::PathBuf;
use std::time::Duration;

use muster_connector::Error;
use muster_connector::settings::{ConnectorSettings, ExposeSecret as _, SecretString};
use muster_tls::certificate::{CertificateError, Refusal, refusal, thumbprint_of_pair};
use sqlx::{ConnectOptions, Connection};

use crate::config::{SqlSettings, TlsMode, wrong};
use crate::error::{Class, Failure};

/// How long a server may take to answer the first time.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How the connections to a server are encrypted.
#[derive(Default)]
pub(crate) struct Encryption {
    pub(crate) tls: Option<TlsMode>,
    pub(crate) ca_file: Option<PathBuf>,
    /// What Muster shows, in place of a password or beside it.
    pub(crate) certificate: Option<ClientCertificate>,
}

/// A chain of certificates and the private key of the first of them, as PEM.
pub(crate) struct ClientCertificate {
    pub(crate) chain: Vec<u8>,
    pub(crate) key: SecretString,
}

/// Where a server listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// A socket file on this machine.
    Socket,
    /// An address of this machine.
    ThisMachine,
    Elsewhere,
}

impl Encryption {
    pub(crate) fn read(settings: &SqlSettings, given: &ConnectorSettings) -> Result<Self, Error> {
        let ca_file = settings.ca_file.as_deref().map(|path| given.path(path));
        if let Some(path) = ca_file.as_deref().filter(|path| !path.is_file()) {
            let problem = format!("there is no file {}", path.display());
            return Err(wrong("ca_file", problem, "give the path of a PEM file with the certificate authority"));
        }
        let certificate = ClientCertificate::read(settings, given)?;
        if certificate.is_some() && settings.tls == Some(TlsMode::Off) {
            let problem = "a certificate can be shown on encrypted connections only";
            return Err(wrong("tls", problem, "leave out `tls`, or `certificate` and `key`"));
        }
        Ok(Self { tls: settings.tls, ca_file, certificate })
    }

    /// Whether connections to a server at such a place are encrypted.
    pub(crate) fn mode(&self, place: Place) -> Result<TlsMode, Error> {
        if self.certificate.is_some() {
            if place == Place::Socket {
                let fix = "name the server by host and port in `url`, or leave out `certificate` and `key`";
                return Err(wrong("certificate", "no certificate is shown on a socket of this machine", fix));
            }
            return Ok(TlsMode::Verify);
        }
        Ok(self.tls.unwrap_or(if place == Place::Elsewhere { TlsMode::Verify } else { TlsMode::Off }))
    }
}

impl ClientCertificate {
    fn read(settings: &SqlSettings, given: &ConnectorSettings) -> Result<Option<Self>, Error> {
        let (file, key) = match (&settings.certificate, given.secret("key")) {
            (None, None) => return Ok(None),
            (Some(file), Some(key)) => (file, key),
            (Some(_), None) => {
                let fix = "set `key` to where it is: { file = \"PATH\" } or { env = \"NAME\" }";
                return Err(wrong("key", "the certificate has no private key", fix));
            }
            (None, Some(_)) => {
                let fix = "set `certificate` to the PEM file of the key's certificate, or leave out `key`";
                return Err(wrong("certificate", "there is a private key and no certificate", fix));
            }
        };
        let path = given.path(file);
        let chain = std::fs::read(&path).map_err(|error| {
            let fix = "check the path, which starts at the folder of the configuration file, and that Muster may \
                       read the file";
            wrong("certificate", format!("cannot read {}: {error}", path.display()), fix)
        })?;
        match thumbprint_of_pair(&chain, key.expose_secret().as_bytes()) {
            Ok(_) => Ok(Some(Self { chain, key: key.clone() })),
            Err(error) => Err(unfit(error, &path)),
        }
    }
}

fn unfit(error: CertificateError, path: &std::path::Path) -> Error {
    let (setting, fix) = match error {
        CertificateError::NoCertificate => {
            let fix = "name a PEM file; convert others: openssl x509 -inform DER -in FILE -out certificate.pem";
            return wrong("certificate", format!("{}: {error}", path.display()), fix);
        }
        CertificateError::NoKey => {
            ("key", "give a PEM key; take one out of a PFX file: openssl pkcs12 -in FILE -nodes -nocerts")
        }
        CertificateError::EncryptedKey => {
            ("key", "store it without passphrase (openssl pkey -in KEY -out key.pem), readable by Muster only")
        }
        CertificateError::Mismatch => {
            ("key", "give the key that the certificate was made from; that certificate must be the file's first")
        }
    };
    wrong(setting, error.to_string(), fix)
}

/// Connects once and closes the connection again. A pool keeps trying in silence while a server refuses, and then
/// tells nothing but that time is up.
pub(crate) async fn try_to_connect<C: Connection>(
    options: &impl ConnectOptions<Connection = C>,
    address: (&str, u16),
    shows_certificate: bool,
) -> Result<(), Failure> {
    let failure = match tokio::time::timeout(CONNECT_TIMEOUT, options.connect()).await {
        Ok(Ok(connection)) => {
            // It has served its purpose; whether the server hears of it makes no difference.
            drop(connection.close().await);
            return Ok(());
        }
        Ok(Err(error)) => while_connecting(&error, shows_certificate),
        Err(_) => Failure::new(Class::Unreachable, format!("no answer within {} s", CONNECT_TIMEOUT.as_secs())),
    };
    if failure.class != Class::Unreachable {
        return Err(failure);
    }
    let (host, port) = address;
    Err(Failure { message: format!("{host}:{port}: {}", failure.message), ..failure })
}

const OTHER_SUBJECT: &str = "the certificate must name the user of `url`: by its common name (CN) in PostgreSQL, unless \
    pg_ident.conf says otherwise, and in MySQL and MariaDB as the account's REQUIRE says. The server must know the \
    certificate's authority (ssl_ca_file of PostgreSQL, ssl_ca of MySQL and MariaDB) and admit this machine. If it \
    wants a password as well, check `password`";

/// What it means that no connection came about.
pub(crate) fn while_connecting(error: &sqlx::Error, shows_certificate: bool) -> Failure {
    use std::io::ErrorKind;
    let failure = Failure::driver(error);
    match error {
        sqlx::Error::Io(error) => match (refusal(error), error.kind()) {
            (Some(refusal), _) => refused(refusal, shows_certificate, error),
            // The TLS library reports a certificate that it refuses as data that is wrong.
            (None, ErrorKind::InvalidData) => Failure::new(Class::Insecure, error.to_string()),
            (None, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof)
                if shows_certificate =>
            {
                let hint = "a server that does not accept the certificate of `certificate` may end a connection so; \
                            its log tells";
                Failure { message: format!("{} ({hint})", failure.message), ..failure }
            }
            _ => failure,
        },
        _ if shows_certificate && failure.class == Class::SignIn => {
            let message = format!("the database refused the connection: {}", failure.message);
            Failure::new(Class::Certificate { fix: OTHER_SUBJECT }, message)
        }
        _ => failure,
    }
}

fn refused(refusal: Refusal, shows_certificate: bool, error: &std::io::Error) -> Failure {
    if !shows_certificate {
        let fix = "set `certificate` and `key` to one that the server accepts";
        return Failure::new(
            Class::Certificate { fix },
            format!("the server wants a certificate of Muster's: {error}"),
        );
    }
    let (what, fix) = match refusal {
        Refusal::Expired => {
            ("has expired", "have its authority issue a new one, and put it and its key where both settings point")
        }
        Refusal::UnknownAuthority => (
            "comes from an authority that the server does not trust",
            "name one whose authority the server trusts (ssl_ca_file of PostgreSQL, ssl_ca of MySQL and MariaDB), or \
             name that authority there; certificates between the two go into the file of `certificate`, after the first",
        ),
        Refusal::Revoked => ("was revoked", "have its authority issue another one"),
        Refusal::Missing | Refusal::Other => (
            "is not accepted by the server",
            "see the server's log; the certificate must be valid already and made for clients (clientAuth)",
        ),
    };
    Failure::new(Class::Certificate { fix }, format!("the certificate of `certificate` {what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_connection_may_mean_a_refused_certificate() {
        let cut = || sqlx::Error::Io(std::io::ErrorKind::ConnectionReset.into());
        let failure = while_connecting(&cut(), true);
        assert_eq!(failure.class, Class::Unreachable);
        assert!(failure.message.contains("does not accept the certificate"), "{}", failure.message);
        assert!(!while_connecting(&cut(), false).message.contains("certificate"));
    }

    #[test]
    fn a_server_that_misses_a_certificate_says_what_to_set() {
        let error = std::io::ErrorKind::InvalidData.into();
        let failure = refused(Refusal::Missing, false, &error);
        let Class::Certificate { fix } = failure.class else { panic!("{failure:?}") };
        assert!(fix.contains("set `certificate` and `key`"), "{fix}");
    }
}
