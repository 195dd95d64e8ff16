//! All entries of a type, page by page (RFC 2696). A list goes on where it was begun: on the same connection, since
//! servers keep one list for each, and none for longer.

use std::collections::HashMap;

use muster_connector::{Cursor, Error, Expired, FoundPage, ReadRequest};
use uuid::Uuid;

use crate::connector::LdapConnector;
use crate::protocol::control::{Control, PAGED, next_page};
use crate::protocol::message::{Code, Entry};
use crate::protocol::request::Search;
use crate::rows::wanted;
use crate::session::connection::Connection;
use crate::session::failure::Failure;

/// Entries in a page; Active Directory gives no more.
const PAGE: u32 = 1_000;

/// Lists under way at a time; the oldest is given up for a further one.
const MOST: usize = 16;

/// Lists under way.
#[derive(Debug, Default)]
pub(crate) struct Lists {
    open: HashMap<Uuid, List>,
    begun: u64,
}

#[derive(Debug)]
struct List {
    connection: Connection,
    cookie: Vec<u8>,
    begun: u64,
}

/// A page of entries, and what to ask next with.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) entries: Vec<Entry>,
    pub(crate) next: Option<Cursor>,
    /// Other servers that hold parts of what was searched.
    pub(crate) elsewhere: Vec<String>,
}

impl LdapConnector {
    /// A page of what a search finds. `controls`: what is asked for besides.
    pub(crate) async fn page(
        &self,
        search: Search,
        controls: &[Control],
        cursor: Option<&Cursor>,
    ) -> Result<Page, Error> {
        self.page_on(None, search, controls, cursor).await
    }

    /// The same, begun on a connection that there is already.
    pub(crate) async fn page_on(
        &self,
        begun: Option<Connection>,
        search: Search,
        controls: &[Control],
        cursor: Option<&Cursor>,
    ) -> Result<Page, Error> {
        let is_paged = self.known().await?.root.has_control(PAGED);
        let (connection, cookie) = match cursor {
            None => match begun {
                Some(connection) => (connection, Vec::new()),
                None => (self.directory.dial().await.map_err(Failure::error)?, Vec::new()),
            },
            Some(Cursor(bytes)) => {
                let id = Uuid::from_slice(bytes).map_err(|_| Error::Bug("this is no cursor of a list".to_owned()))?;
                let list = self.lists.lock().await.open.remove(&id);
                let list = list.ok_or(Error::Expired { expired: Expired::Cursor })?;
                (list.connection, list.cookie)
            }
        };
        let mut all = controls.to_vec();
        if is_paged {
            all.push(Control::page(i64::from(PAGE), &cookie));
        }
        let told = format!("listing the entries below {}", search.base);
        let found = match connection.search(search, &all, self.directory.access.timeout).await {
            Ok(found) => found,
            Err(_) if cursor.is_some() => return Err(Error::Expired { expired: Expired::Cursor }),
            Err(lost) => return Err(Failure::from(lost).error()),
        };
        match found.result.code {
            Code::SUCCESS => {}
            // The server has forgotten where it was.
            Code::UNWILLING | Code::OTHER if cursor.is_some() => {
                return Err(Error::Expired { expired: Expired::Cursor });
            }
            _ => return Err(Failure::refused(told, found.result).error()),
        }
        let cookie = next_page(&found.result.controls).map_err(|malformed| Error::Bug(malformed.to_string()))?;
        let next = match cookie.filter(|cookie| !cookie.is_empty()) {
            Some(cookie) => Some(self.keep(connection, cookie).await),
            None => None,
        };
        Ok(Page { entries: found.entries, next, elsewhere: found.elsewhere })
    }

    async fn keep(&self, connection: Connection, cookie: Vec<u8>) -> Cursor {
        let id = Uuid::new_v4();
        let mut lists = self.lists.lock().await;
        lists.begun += 1;
        let begun = lists.begun;
        if lists.open.len() >= MOST
            && let Some(oldest) = lists.open.iter().min_by_key(|(_, list)| list.begun).map(|(id, _)| *id)
        {
            lists.open.remove(&oldest);
        }
        lists.open.insert(id, List { connection, cookie, begun });
        Cursor(id.as_bytes().to_vec())
    }

    pub(crate) async fn list_page(&self, request: &ReadRequest, cursor: Option<&Cursor>) -> Result<FoundPage, Error> {
        let known = self.known().await?;
        let of = known.entry_type(&request.object_type)?;
        let page = self.page(of.search(wanted(of, &request.attributes)?), &[], cursor).await?;
        let objects = self.objects(&known, of, &request.attributes, page.entries).await?;
        Ok(FoundPage { objects, next: page.next })
    }
}
