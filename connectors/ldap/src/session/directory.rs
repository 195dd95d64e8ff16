//! A few connections to the first server that answers, shared by all operations.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::protocol::control::Control;
use crate::protocol::filter::Filter;
use crate::protocol::message::{Code, Entry, LdapResult};
use crate::protocol::request::{Depth, Request, Search};
use crate::session::connect::Access;
use crate::session::connection::{Connection, Found};
use crate::session::failure::{Failure, Lost};
use crate::session::following::Following;

/// After a failure nobody dials for so long: a server that is down is not hammered.
pub(super) const PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Directory {
    pub(crate) access: Access,
    slots: Vec<Mutex<Option<Connection>>>,
    next: AtomicUsize,
    dialling: Mutex<Dialling>,
    /// Where referrals are followed.
    pub(crate) following: Option<Following>,
}

#[derive(Debug, Default)]
struct Dialling {
    /// The server that answered last.
    server: usize,
    failed: Option<(Instant, Failure)>,
}

impl Directory {
    pub(crate) fn new(access: Access, connections: usize) -> Self {
        let slots = (0..connections.max(1)).map(|_| Mutex::default()).collect();
        let following = access.referrals.map(Following::new);
        Self { access, slots, next: AtomicUsize::new(0), dialling: Mutex::default(), following }
    }

    /// A connection, each of them in turn.
    pub(crate) async fn connection(&self) -> Result<Connection, Failure> {
        let slots = self.slots.len();
        let Some(slot) = self.slots.get(self.next.fetch_add(1, Ordering::Relaxed) % slots) else {
            return Err(Failure::Nonsense("there is no place for a connection".to_owned()));
        };
        let mut slot = slot.lock().await;
        if let Some(connection) = slot.as_ref().filter(|connection| connection.broken().is_none()) {
            return Ok(connection.clone());
        }
        let connection = self.dial().await?;
        *slot = Some(connection.clone());
        Ok(connection)
    }

    /// A connection of one's own.
    pub(crate) async fn dial(&self) -> Result<Connection, Failure> {
        let mut dialling = self.dialling.lock().await;
        if let Some((when, failure)) = &dialling.failed
            && when.elapsed() < PAUSE
        {
            return Err(failure.clone());
        }
        let servers = &self.access.servers;
        let mut failed = Failure::Nonsense("no server is named".to_owned());
        for offset in 0..servers.len() {
            let at = (dialling.server + offset) % servers.len();
            let Some(server) = servers.get(at) else { continue };
            match self.access.connect(server).await {
                Ok(connection) => {
                    if offset > 0 {
                        tracing::warn!(server = %server, "another directory server is used, since the one before does not answer");
                    }
                    dialling.server = at;
                    dialling.failed = None;
                    return Ok(connection);
                }
                // Wrong credentials are wrong everywhere, and trying them again locks accounts.
                Err(failure @ Failure::SignIn(_)) => {
                    failed = failure;
                    break;
                }
                Err(failure) => failed = failure,
            }
        }
        dialling.failed = Some((Instant::now(), failed.clone()));
        Err(failed)
    }

    /// Waits until whatever was sent by calls that were given up is answered, so that it cannot take effect later.
    pub(crate) async fn settled(&self) {
        let mut unattended = self.access.unattended.subscribe();
        // The sender is ours, so that there always is one.
        drop(unattended.wait_for(|count| *count == 0).await);
    }

    /// One operation that changes something.
    pub(crate) async fn call(&self, request: &Request, controls: &[Control]) -> Result<LdapResult, Failure> {
        let connection = self.connection().await?;
        let result = connection.call(request, controls, self.access.timeout).await?;
        let Some(following) = &self.following else { return Ok(result) };
        let result = self.with_referral_above(following, &connection, result).await?;
        self.forwarded(following, &connection, request, controls, result).await
    }

    /// A search for few entries, here and, where referrals are followed, wherever they lead.
    pub(crate) async fn search(&self, search: Search, controls: &[Control]) -> Result<Found, Failure> {
        let (connection, mut found) = self.search_here(search.clone(), controls).await?;
        let Some(following) = &self.following else { return Ok(found) };
        found.result = self.with_referral_above(following, &connection, found.result).await?;
        if found.result.code != Code::REFERRAL && found.elsewhere.is_empty() {
            return Ok(found);
        }
        self.gathered(following, &connection, &search, controls, found).await
    }

    /// What the connection's own server answers, and who that is. Asked once more where the connection went: reading
    /// twice does no harm.
    pub(crate) async fn search_here(
        &self,
        search: Search,
        controls: &[Control],
    ) -> Result<(Connection, Found), Failure> {
        let connection = self.connection().await?;
        match connection.search(search.clone(), controls, self.access.timeout).await {
            Ok(found) => Ok((connection, found)),
            Err(Lost { .. }) => {
                let connection = self.connection().await?;
                let again = connection.search(search, controls, self.access.timeout).await;
                let found = again.map_err(|lost| Failure::Unreachable { problem: lost.problem, sent: false })?;
                Ok((connection, found))
            }
        }
    }

    /// The entry of that name, if there is one that may be seen.
    pub(crate) async fn entry(&self, dn: &str, attributes: &[&str]) -> Result<Option<Entry>, Failure> {
        let search = Search {
            base: dn.to_owned(),
            depth: Depth::Base,
            filter: Filter::anything(),
            attributes: attributes.iter().map(|&name| name.to_owned()).collect(),
            limit: 0,
        };
        let found = self.search(search, &[]).await?;
        match found.result.code {
            Code::SUCCESS => Ok(found.entries.into_iter().next()),
            Code::NO_SUCH_OBJECT => Ok(None),
            _ => Err(Failure::refused(format!("the entry {dn:?} cannot be read"), found.result)),
        }
    }
}
