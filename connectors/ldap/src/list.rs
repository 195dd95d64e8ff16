//! All entries of a type, page by page (RFC 2696). A list goes on where it was begun: on the same connection, since
//! servers keep one list for each, and none for longer.

use std::collections::HashMap;

use muster_connector::{Cursor, Error, Expired, FoundPage, ReadRequest};
use uuid::Uuid;

use crate::config::wrong;
use crate::connector::LdapConnector;
use crate::entries::EntryType;
use crate::protocol::control::{Control, PAGED, next_page};
use crate::protocol::filter::Filter;
use crate::protocol::message::{Code, Entry, LdapResult};
use crate::protocol::request::{Depth, Search};
use crate::rows::{key_of, wanted};
use crate::session::connection::{Connection, Found};
use crate::session::failure::Failure;
use crate::session::following::{Journey, Stop, lost};

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
    /// What is asked: what the list was begun with, or what a reference makes of it.
    search: Search,
    journey: Journey,
    /// How many servers referred to each other before this one; 0 for the connection's own.
    hops: usize,
}

/// A page of entries, and what to ask next with.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) entries: Vec<Entry>,
    pub(crate) next: Option<Cursor>,
    /// Other servers that hold parts of what was searched.
    pub(crate) elsewhere: Vec<String>,
    /// The server that these entries are from, where a referral led there.
    pub(crate) by: Option<String>,
}

impl Page {
    /// Entries of another server that show no key would be left out without a word.
    pub(crate) fn shows_keys(&self, of: &EntryType) -> Result<(), Error> {
        let Some(server) = &self.by else { return Ok(()) };
        let Some(entry) = self.entries.iter().find(|entry| key_of(of, entry).is_none()) else { return Ok(()) };
        Err(wrong(
            &format!("types.{}.anchor", of.object_type.name),
            format!("the entry {:?} of {server}, to which a referral leads, does not show {}", entry.dn, of.anchor),
            "let the connection's user read it there, or name an attribute in `anchor` that all the servers have",
        ))
    }
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
        let mut list = match cursor {
            None => {
                let connection = match begun {
                    Some(connection) => connection,
                    None => self.directory.dial().await.map_err(Failure::error)?,
                };
                let journey = Journey::of(&connection, &search);
                List { connection, cookie: Vec::new(), begun: 0, search, journey, hops: 0 }
            }
            Some(Cursor(bytes)) => {
                let id = Uuid::from_slice(bytes).map_err(|_| Error::Bug("this is no cursor of a list".to_owned()))?;
                let list = self.lists.lock().await.open.remove(&id);
                list.ok_or(Error::Expired { expired: Expired::Cursor })?
            }
        };
        let mut all = controls.to_vec();
        if is_paged {
            all.push(Control::page(i64::from(PAGE), &list.cookie));
        }
        let by = (list.hops > 0).then(|| list.connection.server().to_string());
        let is_begun = list.cookie.is_empty();
        let mut found = match list.connection.search(list.search.clone(), &all, self.directory.access.timeout).await {
            Ok(found) => found,
            // Of a server that was just turned to, the name says more than that the list must begin again.
            Err(problem) if by.is_some() && is_begun => return Err(lost(&list.connection, &problem).error()),
            Err(_) if cursor.is_some() => return Err(Error::Expired { expired: Expired::Cursor }),
            Err(problem) => return Err(Failure::from(problem).error()),
        };
        found.result.by.clone_from(&by);
        if is_begun && found.result.code == Code::SUCCESS && found.entries.is_empty() && found.elsewhere.is_empty() {
            self.must_be_there(&list, &mut found).await?;
        }
        match found.result.code {
            Code::SUCCESS => {}
            Code::REFERRAL if self.directory.following.is_some() => {}
            // The server has forgotten where it was.
            Code::UNWILLING | Code::OTHER if !list.cookie.is_empty() => {
                return Err(Error::Expired { expired: Expired::Cursor });
            }
            _ => {
                let told = format!("listing the entries below {}", list.search.base);
                return Err(Failure::refused(told, found.result).error());
            }
        }
        let cookie = next_page(&found.result.controls).map_err(|malformed| Error::Bug(malformed.to_string()))?;
        list.cookie = cookie.unwrap_or_default();
        let mut is_over = list.cookie.is_empty();
        if let Some(following) = &self.directory.following {
            let told = list.journey.note(following, &mut found, &list.search, list.hops, true);
            found.elsewhere = vec![told];
            if is_over {
                let next =
                    self.directory.next_stop(following, &mut list.journey, true).await.map_err(Failure::error)?;
                is_over = next.is_none();
                if let Some(Stop { connection, search, hops, .. }) = next {
                    list = List { connection, search, hops, ..list };
                }
            }
        }
        let next = if is_over { None } else { Some(self.keep(list).await) };
        Ok(Page { entries: found.entries, next, elsewhere: found.elsewhere.concat(), by })
    }

    /// 389 answers a paged search below what is not there with success and nothing, which would count as "all are gone".
    async fn must_be_there(&self, list: &List, found: &mut Found) -> Result<(), Error> {
        let base = Search {
            depth: Depth::Base,
            filter: Filter::anything(),
            attributes: vec!["1.1".to_owned()],
            limit: 0,
            ..list.search.clone()
        };
        let looked = list.connection.search(base, &[], self.directory.access.timeout).await;
        let looked = looked.map_err(|problem| Failure::from(problem).error())?;
        let mut result = looked.result;
        if let Some(following) = &self.directory.following {
            let above = self.directory.with_referral_above(following, &list.connection, result).await;
            result = above.map_err(Failure::error)?;
        }
        if result.code != Code::SUCCESS {
            found.result = LdapResult { by: found.result.by.take(), ..result };
        } else if looked.entries.is_empty() && looked.elsewhere.is_empty() {
            // There, or not to be seen: who may not see the base sees nothing below it either.
            let told = format!("the entry {} is not shown", list.search.base);
            found.result = LdapResult { code: Code::NO_SUCH_OBJECT, text: told, ..result };
        }
        Ok(())
    }

    async fn keep(&self, list: List) -> Cursor {
        let id = Uuid::new_v4();
        let mut lists = self.lists.lock().await;
        lists.begun += 1;
        let begun = lists.begun;
        if lists.open.len() >= MOST
            && let Some(oldest) = lists.open.iter().min_by_key(|(_, list)| list.begun).map(|(id, _)| *id)
        {
            lists.open.remove(&oldest);
        }
        lists.open.insert(id, List { begun, ..list });
        Cursor(id.as_bytes().to_vec())
    }

    pub(crate) async fn list_page(&self, request: &ReadRequest, cursor: Option<&Cursor>) -> Result<FoundPage, Error> {
        let known = self.known().await?;
        let of = known.entry_type(&request.object_type)?;
        let page = self.page(of.search(wanted(of, &request.attributes)?), &[], cursor).await?;
        page.shows_keys(of)?;
        let objects = self.objects(&known, of, &request.attributes, page.entries).await?;
        Ok(FoundPage { objects, next: page.next })
    }
}
