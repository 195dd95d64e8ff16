//! What only some operating systems have: signals, and systemd's notifications.
//!
//! Source of the protocol: `sd_notify(3)`.

/// What the system asks of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// End.
    End,
    /// Read the configuration again.
    Reload,
}

/// The signals that concern the service.
#[cfg(unix)]
pub(crate) struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    pub(crate) fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    pub(crate) async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::End,
            _ = self.interrupt.recv() => Signal::End,
            _ = self.hang_up.recv() => Signal::Reload,
        }
    }
}

#[cfg(not(unix))]
pub(crate) struct Signals;

#[cfg(not(unix))]
impl Signals {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    pub(crate) async fn next(&mut self) -> Signal {
        match tokio::signal::ctrl_c().await {
            Ok(()) => Signal::End,
            Err(_) => std::future::pending().await,
        }
    }
}

/// Whoever started the service and wants to know how it is.
#[derive(Debug, Default)]
pub(crate) struct Supervisor {
    #[cfg(unix)]
    socket: Option<std::os::unix::net::UnixDatagram>,
}

impl Supervisor {
    /// The one that the environment names, if any.
    #[cfg(unix)]
    pub(crate) fn of_environment() -> Self {
        let named = std::env::var_os("NOTIFY_SOCKET");
        Self { socket: named.and_then(|name| connected(&name).ok()) }
    }

    #[cfg(not(unix))]
    pub(crate) fn of_environment() -> Self {
        Self::default()
    }

    /// Tells it something, such as `READY=1`. Nobody need listen.
    #[cfg(unix)]
    pub(crate) fn tell(&self, state: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(state.as_bytes())
        {
            tracing::debug!(%error, "the supervisor cannot be told");
        }
    }

    #[cfg(not(unix))]
    pub(crate) fn tell(&self, _state: &str) {}
}

#[cfg(unix)]
fn connected(name: &std::ffi::OsStr) -> std::io::Result<std::os::unix::net::UnixDatagram> {
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::net::UnixDatagram;
    let socket = UnixDatagram::unbound()?;
    // A service must never wait for whoever watches it.
    socket.set_nonblocking(true)?;
    match name.as_bytes().strip_prefix(b"@") {
        #[cfg(target_os = "linux")]
        Some(rest) => {
            use std::os::linux::net::SocketAddrExt as _;
            socket.connect_addr(&std::os::unix::net::SocketAddr::from_abstract_name(rest)?)?;
        }
        _ => socket.connect(std::path::Path::new(name))?,
    }
    Ok(socket)
}
