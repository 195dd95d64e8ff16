//! Starting and stopping.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum_server::Handle;
use axum_server::tls_rustls::{RustlsConfig, from_tcp_rustls};
use muster_tls::certificate::CertificateError;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::certificates;
use crate::churning;
use crate::directory::Directory;
use crate::directory::tenant::Tenant;
use crate::faults::Faults;
use crate::http::entry;
use crate::options::SandboxOptions;
use crate::provisioning;
use crate::random::draw;
use crate::sign_in::RegisteredCertificate;
use crate::state::{Facts, Shared};

/// Ids carry their slot in 32 bits, and people may join; this leaves room for both.
const MOST_USERS: usize = 50_000_000;
const MOST_GROUPS: usize = 1_000_000;
/// Requests under way when the sandbox stops may end within this time.
const GRACE: Duration = Duration::from_secs(1);

/// Why a sandbox did not start.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// A number is out of range.
    #[error("{option} = {value} is out of range ({range})")]
    Option {
        /// The option.
        option: &'static str,
        /// What was given.
        value: String,
        /// What would do.
        range: &'static str,
    },
    /// The port cannot be had.
    #[error("cannot listen on 127.0.0.1:{port}; end what uses this port, or choose another one with --port")]
    Listen {
        /// The wanted port.
        port: u16,
        /// Why the system refused it.
        #[source]
        source: io::Error,
    },
    /// The authority's certificate cannot be written.
    #[error("cannot write {}", path.display())]
    CaFile {
        /// The wanted file.
        path: PathBuf,
        /// Why the system refused it.
        #[source]
        source: io::Error,
    },
    /// The certificates cannot be made.
    #[error("cannot make the server's certificate")]
    Certificate(#[source] rcgen::Error),
    /// The certificates cannot be used.
    #[error("cannot serve TLS")]
    Tls(#[source] CertificateError),
    /// The client's certificate cannot be used.
    #[error("cannot use the client certificate: {0}")]
    ClientCertificate(String),
}

/// A running tenant. It ends with [`Sandbox::stop`], or hard when dropped.
#[derive(Debug)]
pub struct Sandbox {
    shared: Arc<Shared>,
    handle: Handle<SocketAddr>,
    serving: JoinHandle<io::Result<()>>,
    churning: JoinHandle<()>,
}

impl Sandbox {
    /// Starts a tenant on 127.0.0.1; it answers when this returns.
    ///
    /// # Errors
    /// The options make no sense, the port is taken, or the certificate files cannot be written or read.
    pub async fn start(options: SandboxOptions) -> Result<Self, SandboxError> {
        let users = in_range("users", options.users, 0, MOST_USERS, "at most 50 million")?;
        let groups = in_range("groups", options.groups, 0, MOST_GROUPS, "at most 1 million")?;
        in_range("page_size", options.page_size, 1, 100_000, "1 to 100000")?;
        in_range("group_page_size", options.group_page_size, 1, 100_000, "1 to 100000")?;
        in_range("member_slice", options.member_slice, 1, 100_000, "1 to 100000")?;

        let certificate = options.client_certificate_pem.as_deref().map(RegisteredCertificate::read).transpose()?;
        let tls = options.tls.as_ref().map(|tls| certificates::issue(&tls.ca_folder)).transpose()?;
        let (listener, address) = listen(options.port)?;
        let ca_file = tls.as_ref().map(|(_, path)| path.display().to_string());
        let mut tenant = Tenant::new(options.seed, users, groups);
        let service_principal = tenant.applications.add(provisioning::APPLICATION, &[]);
        let facts = facts(options.seed, address.port(), service_principal, ca_file);
        let shared = Arc::new(Shared::new(options, facts, tenant, certificate));

        let handle = Handle::new();
        let app = Router::new().fallback(entry::receive).with_state(Arc::clone(&shared)).into_make_service();
        let refused = |source| SandboxError::Listen { port: address.port(), source };
        let serving = match tls {
            Some((config, _)) => {
                let server = from_tcp_rustls(listener, RustlsConfig::from_config(config)).map_err(refused)?;
                tokio::spawn(server.handle(handle.clone()).serve(app))
            }
            None => {
                let server = axum_server::from_tcp(listener).map_err(refused)?;
                tokio::spawn(server.handle(handle.clone()).serve(app))
            }
        };
        let churning = tokio::spawn(churning::follow(Arc::downgrade(&shared), shared.churn.subscribe()));
        Ok(Self { shared, handle, serving, churning })
    }

    /// What a client has to know.
    pub fn facts(&self) -> Facts {
        self.shared.facts.clone()
    }

    /// A handle to read and change the directory.
    pub fn directory(&self) -> Directory {
        Directory::new(Arc::clone(&self.shared))
    }

    /// A handle to set what goes wrong.
    pub fn faults(&self) -> Faults {
        Faults::new(Arc::clone(&self.shared))
    }

    /// Sets the sandbox's clock forward: tokens and links grow older by so much.
    pub fn advance_clock(&self, by: Duration) {
        self.shared.clock.advance(by.as_secs());
    }

    /// Ends the service; requests under way may end within a second.
    pub async fn stop(mut self) {
        self.churning.abort();
        self.handle.graceful_shutdown(Some(GRACE));
        // The task ends with the last connection. One that has only just begun may miss the call to end; dropping
        // ends it all the same.
        drop(tokio::time::timeout(GRACE * 2, &mut self.serving).await);
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.churning.abort();
        self.serving.abort();
    }
}

fn in_range(
    option: &'static str,
    value: usize,
    least: usize,
    most: usize,
    range: &'static str,
) -> Result<u32, SandboxError> {
    match u32::try_from(value) {
        Ok(number) if (least..=most).contains(&value) => Ok(number),
        _ => Err(SandboxError::Option { option, value: value.to_string(), range }),
    }
}

/// Loopback only: the tenant's secrets are no secrets.
fn listen(port: u16) -> Result<(TcpListener, SocketAddr), SandboxError> {
    let refused = |source| SandboxError::Listen { port, source };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    Ok((listener, address))
}

fn facts(seed: u64, port: u16, service_principal: Uuid, ca_file: Option<String>) -> Facts {
    // Browsers and SDKs want a name in a certificate.
    let authority = match &ca_file {
        Some(_) => format!("https://localhost:{port}"),
        None => format!("http://127.0.0.1:{port}"),
    };
    let id = |stream| {
        let bits = (u128::from(draw(seed, stream, 0)) << 64) | u128::from(draw(seed, stream, 1));
        uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid().to_string()
    };
    let tenant = id(0xfa_01);
    let secret: Uuid = uuid::Builder::from_random_bytes(u128::from(draw(seed, 0xfa_03, 0)).to_be_bytes()).into_uuid();
    Facts {
        graph_url: format!("{authority}/v1.0"),
        authority,
        // A job's id carries the tenant's.
        job: format!("API2AAD.{}.{}", tenant.replace('-', ""), id(0xfa_04)),
        tenant,
        client_id: id(0xfa_02),
        client_secret: format!("sandbox-{}", secret.simple()),
        service_principal: service_principal.to_string(),
        ca_file,
    }
}
