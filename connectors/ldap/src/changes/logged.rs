//! Changes by a log that the server keeps: it says which entries changed, and they are read whole by what identifies
//! them. Log and entries are read on one connection, since another server may be behind or ahead.

use std::collections::{HashMap, HashSet};

use muster_connector::{ChangePage, Cursor, Error, Expired, Next, Position, ReadRequest};
use muster_model::Key;
use uuid::Uuid;

use super::{Begun, Follow, Mark, Way, expired, page, removed};
use crate::config::ChangesBy;
use crate::connector::{Known, LdapConnector};
use crate::directory::root::Root;
use crate::entries::EntryType;
use crate::protocol::control::{Control, next_page};
use crate::protocol::dn::Dn;
use crate::protocol::filter::Filter;
use crate::protocol::message::{Code, Entry};
use crate::protocol::request::{Depth, Search};
use crate::rows::{key_of, wanted};
use crate::session::connection::{Connection, Found};
use crate::session::failure::{Failure, Lost};

/// Entries in a page.
const PAGE: usize = 1_000;

/// Records of a log in a page.
const RECORDS: u32 = 1_000;

/// Entries that one search asks for.
const TOGETHER: usize = 100;

/// Rounds under way at a time; any is given up for a further one.
const MOST: usize = 8;

/// An entry that a log speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Touched {
    /// By what identifies it for ever, as the directory writes it.
    Id(String),
    /// By its name, where the log says nothing else.
    Name(String),
}

/// Entries that a log speaks of, each once.
#[derive(Debug, Default)]
pub(super) struct AllTouched {
    seen: HashSet<Touched>,
    order: Vec<Touched>,
}

impl AllTouched {
    pub(super) fn add(&mut self, touched: Touched) {
        if self.seen.insert(touched.clone()) {
            self.order.push(touched);
        }
    }
}

#[cfg(test)]
impl AllTouched {
    pub(super) fn into_order(self) -> Vec<Touched> {
        self.order
    }
}

/// Entries that were read because a log speaks of them.
#[derive(Debug, Default)]
struct Reread {
    /// Those of the type.
    entries: Vec<Entry>,
    /// The keys of those that are gone from it.
    gone: Vec<Key>,
    /// A name at the type's place is nobody's.
    is_missing: bool,
}

/// What changed by what entries themselves show.
#[derive(Debug)]
pub(super) struct Besides {
    pub(super) touched: Vec<Touched>,
    /// The greatest value that any shows.
    pub(super) newest: String,
}

/// A round that is handed over page by page.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) connection: Connection,
    pub(super) touched: AllTouched,
    /// Up to where changes are known after it.
    pub(super) mark: Mark,
}

/// Rounds under way.
#[derive(Debug, Default)]
pub(crate) struct LogRounds(HashMap<Uuid, Round>);

/// The names below which a change may matter: a type may begin elsewhere than the connection.
pub(super) fn bases(known: &Known) -> Vec<Dn> {
    let all = known.types.iter().map(|of| &of.base).chain([&known.base]);
    all.filter_map(|base| Dn::parse(base).ok()).collect()
}

/// Whether an entry of that name may matter; what cannot be made out is looked up.
pub(super) fn may_matter(bases: &[Dn], name: &str) -> bool {
    Dn::parse(name).map_or(true, |dn| bases.iter().any(|base| dn.is_within(base)))
}

/// An answer that never came.
fn lost(lost: Lost) -> Error {
    Failure::from(lost).error()
}

pub(super) fn entry_search(dn: &str, attributes: &[&str]) -> Search {
    Search {
        base: dn.to_owned(),
        depth: Depth::Base,
        filter: Filter::anything(),
        attributes: attributes.iter().map(|&name| name.to_owned()).collect(),
        limit: 0,
    }
}

/// The entries that a look into a log shows. An answer that was refused says nothing of what is there.
fn shown(told: String, limit: u32, found: Found) -> Result<Vec<Entry>, Error> {
    match found.result.code {
        Code::SUCCESS | Code::NO_SUCH_OBJECT => Ok(found.entries),
        Code::SIZE_LIMIT if limit > 0 => Ok(found.entries),
        _ => Err(Failure::refused(told, found.result).error()),
    }
}

impl LdapConnector {
    /// A look into a log, at few of its entries.
    pub(super) async fn look(&self, connection: &Connection, search: Search) -> Result<Vec<Entry>, Error> {
        let told = format!("reading the log, {:?} for {}", search.base, search.filter);
        let limit = search.limit;
        let found = connection.search(search, &[], self.directory.access.timeout).await.map_err(lost)?;
        shown(told, limit, found)
    }

    /// Whether a log is not said to be empty, and shows no record. `named_by`: what every record has.
    pub(super) async fn hides_all(&self, connection: &Connection, log: &str, named_by: &str) -> Result<bool, Error> {
        let any = Filter::Present(named_by.to_owned());
        let search = Search { depth: Depth::Subtree, filter: any, limit: 1, ..entry_search(log, &["1.1"]) };
        if !self.look(connection, search).await?.is_empty() {
            return Ok(false);
        }
        let root = self.look(connection, entry_search(log, &["hasSubordinates"])).await?;
        let is_empty =
            |root: &Entry| root.text("hasSubordinates").is_some_and(|text| text.eq_ignore_ascii_case("false"));
        Ok(!root.first().is_some_and(is_empty))
    }

    /// The log that changes are to be read from; what is missing otherwise.
    pub(crate) async fn log(&self, root: &Root, base: &str) -> Result<Option<String>, Error> {
        match self.settings.changes {
            ChangesBy::Accesslog => self.accesslog(root, base).await.map(Some),
            ChangesBy::Changelog => self.changelog(root).await.map(Some),
            _ => Ok(None),
        }
    }

    /// Every record of a log that a filter is true of, page by page.
    pub(super) async fn records(
        &self,
        connection: &Connection,
        search: &Search,
        each: impl FnMut(Entry),
    ) -> Result<(), Error> {
        self.all_pages(connection, search, &format!("reading the log {}", search.base), each).await
    }

    async fn all_pages(
        &self,
        connection: &Connection,
        search: &Search,
        told: &str,
        mut each: impl FnMut(Entry),
    ) -> Result<(), Error> {
        let mut cookie = Vec::new();
        loop {
            let controls = [Control::page(i64::from(RECORDS), &cookie)];
            let found =
                connection.search(search.clone(), &controls, self.directory.access.timeout).await.map_err(lost)?;
            match found.result.code {
                Code::SUCCESS => {}
                _ => return Err(Failure::refused(told, found.result).error()),
            }
            let next = next_page(&found.result.controls).map_err(|malformed| Error::Bug(malformed.to_string()))?;
            found.entries.into_iter().for_each(&mut each);
            cookie = next.unwrap_or_default();
            if cookie.is_empty() {
                return Ok(());
            }
        }
    }

    /// The entries at a type's place in which an attribute is greater than it was anywhere: what was written while the
    /// log was full or off, was imported, or was changed by the server itself has no record.
    pub(super) async fn changed_besides(
        &self,
        connection: &Connection,
        known: &Known,
        of: &EntryType,
        attribute: &str,
        since: &str,
    ) -> Result<Besides, Error> {
        let identity = known.root.anchor();
        // Whoever is no longer what the type's filter asks for is told as gone.
        let filter = Filter::AtLeast(attribute.to_owned(), since.as_bytes().to_vec());
        let search = Search { filter, ..of.search([identity, attribute].map(str::to_owned).into()) };
        let mut besides = Besides { touched: Vec::new(), newest: since.to_owned() };
        let told = format!("listing the entries below {}", of.base);
        // 389 answers a search by pages with success where there is no entry to begin at.
        let place = connection.search(entry_search(&of.base, &["1.1"]), &[], self.directory.access.timeout).await;
        let place = place.map_err(lost)?;
        if place.result.code == Code::NO_SUCH_OBJECT {
            return Err(Failure::refused(told, place.result).error());
        }
        self.all_pages(connection, &search, &told, |entry| {
            let (Some(id), Some(value)) = (entry.text(identity), entry.text(attribute)) else { return };
            if value > since {
                besides.touched.push(Touched::Id(id.to_owned()));
            }
            if value > besides.newest.as_str() {
                value.clone_into(&mut besides.newest);
            }
        })
        .await?;
        Ok(besides)
    }

    /// A connection to read everything on, with the watermark of the log behind it.
    pub(super) async fn log_before_all(&self, known: &Known, of: &EntryType, follow: &Follow) -> Result<Begun, Error> {
        let log = log_of(known)?;
        self.must_be_logged(known, of).await?;
        let connection = self.directory.dial().await.map_err(Failure::error)?;
        let mark = match follow.way {
            Way::Accesslog => Mark::Accesslog(self.accesslog_now(&connection, known, of, log, follow).await?),
            _ => Mark::Changelog(self.changelog_now(&connection, known, of, log, follow).await?),
        };
        Ok(Begun { connection: Some(connection), watermark: Some(mark.watermark()), ..Begun::default() })
    }

    pub(super) async fn changed_by_log(
        &self,
        known: &Known,
        of: &EntryType,
        follow: &Follow,
        request: &ReadRequest,
        position: &Position,
    ) -> Result<ChangePage, Error> {
        let mut round = match position {
            Position::Page(Cursor(bytes)) => {
                let forgotten = || Error::Expired { expired: Expired::Cursor };
                let id = Uuid::from_slice(bytes).map_err(|_| forgotten())?;
                self.log_rounds.lock().await.0.remove(&id).ok_or_else(forgotten)?
            }
            Position::Start(watermark) => {
                let log = log_of(known)?;
                let mark = watermark.as_ref().map(Mark::read).transpose()?;
                let connection = self.directory.dial().await.map_err(Failure::error)?;
                match (mark, follow.way) {
                    (Some(Mark::Accesslog(mark)), Way::Accesslog) => {
                        self.accesslog_since(connection, (known, of), log, follow, mark).await?
                    }
                    (Some(Mark::Changelog(mark)), Way::Changelog) => {
                        self.changelog_since(connection, (known, of), log, follow, mark).await?
                    }
                    _ => return Err(expired()),
                }
            }
        };
        let some: Vec<Touched> = round.touched.order.drain(..round.touched.order.len().min(PAGE)).collect();
        let reread = match self.read_touched(known, of, request, &round.connection, &some).await {
            Err(Error::Unreachable { .. }) if matches!(position, Position::Page(_)) => {
                return Err(Error::Expired { expired: Expired::Cursor });
            }
            other => other?,
        };
        // The log told of no deletion, so that whoever had that name has another one, which nobody told.
        if reread.is_missing && follow.way == Way::Changelog {
            return Err(expired());
        }
        let mut entries = self.whole_entries(known, of, request, reread.entries).await?;
        entries.extend(reread.gone.into_iter().map(removed));
        if round.touched.order.is_empty() {
            return Ok(page(entries, Next::Done(round.mark.watermark())));
        }
        let id = Uuid::new_v4();
        let mut rounds = self.log_rounds.lock().await;
        if rounds.0.len() >= MOST {
            rounds.0.clear();
        }
        rounds.0.insert(id, round);
        Ok(page(entries, Next::Page(Cursor(id.as_bytes().to_vec()))))
    }

    async fn read_touched(
        &self,
        known: &Known,
        of: &EntryType,
        request: &ReadRequest,
        connection: &Connection,
        touched: &[Touched],
    ) -> Result<Reread, Error> {
        let identity = known.root.anchor();
        let anchor = of.anchor_field()?;
        let mut attributes = wanted(of, &request.attributes)?;
        attributes.push(identity.to_owned());
        let Reread { mut entries, mut gone, mut is_missing } = Reread::default();
        let ids: Vec<&String> =
            touched.iter().filter_map(|one| if let Touched::Id(id) = one { Some(id) } else { None }).collect();
        for ids in ids.chunks(TOGETHER) {
            let any =
                |ids: &[&String]| Filter::Or(ids.iter().map(|id| Filter::equals(identity, id.as_bytes())).collect());
            let search = Search { filter: of.filter.clone().and(Some(any(ids))), ..of.search(attributes.clone()) };
            let found = self.search_log_entries(known, of, connection, search).await?;
            let there: HashSet<String> =
                found.iter().filter_map(|entry| Some(entry.text(identity)?.to_lowercase())).collect();
            entries.extend(found);
            let missing: Vec<&String> = ids.iter().filter(|id| !there.contains(&id.to_lowercase())).copied().collect();
            if anchor.wire.eq_ignore_ascii_case(identity) {
                gone.extend(missing.iter().filter_map(|id| anchor.form.read(id.as_bytes()).map(Key::one)));
            } else if !missing.is_empty() {
                let is_below = Dn::parse(&of.base)
                    .ok()
                    .zip(Dn::parse(&known.base).ok())
                    .is_none_or(|(base, above)| base.is_within(&above));
                for base in [&known.base, &of.base].into_iter().take(if is_below { 1 } else { 2 }) {
                    let search = Search {
                        base: base.clone(),
                        depth: Depth::Subtree,
                        filter: any(&missing),
                        attributes: vec![anchor.wire.clone()],
                        limit: 0,
                    };
                    let found = self.search_log_entries(known, of, connection, search).await?;
                    gone.extend(found.iter().filter_map(|entry| key_of(of, entry)));
                }
            }
        }
        for name in touched.iter().filter_map(|one| if let Touched::Name(name) = one { Some(name) } else { None }) {
            let is_below =
                Dn::parse(name).ok().zip(Dn::parse(&of.base).ok()).is_some_and(|(dn, base)| dn.is_within(&base));
            let search = Search { base: name.clone(), depth: Depth::Base, ..of.search(attributes.clone()) };
            let found =
                if is_below { self.search_log_entries(known, of, connection, search).await? } else { Vec::new() };
            if found.is_empty() {
                let out_of_sight = entry_search(name, &[anchor.wire.as_str()]);
                let found = self.search_log_entries(known, of, connection, out_of_sight).await?;
                is_missing |= is_below && found.is_empty();
                gone.extend(found.iter().filter_map(|entry| key_of(of, entry)));
            }
            // By its identifier it may have been read already.
            let is_new = |entry: &Entry| {
                let id = entry.text(identity);
                id.is_none() || !entries.iter().any(|one: &Entry| one.text(identity) == id)
            };
            let found: Vec<Entry> = found.into_iter().filter(is_new).collect();
            entries.extend(found);
        }
        Ok(Reread { entries, gone, is_missing })
    }

    async fn search_log_entries(
        &self,
        known: &Known,
        of: &EntryType,
        connection: &Connection,
        search: Search,
    ) -> Result<Vec<Entry>, Error> {
        let told = format!("listing the entries below {}", search.base);
        // A name that is nobody's is no news. A place that cannot be seen says nothing of those who are there.
        let is_one_name = search.depth == Depth::Base;
        let found: Found = connection.search(search, &[], self.directory.access.timeout).await.map_err(lost)?;
        match found.result.code {
            Code::SUCCESS => {}
            Code::NO_SUCH_OBJECT if is_one_name => {}
            _ => return Err(Failure::refused(told, found.result).error()),
        }
        self.must_be_whole(known, of, &found.elsewhere.concat())?;
        Ok(found.entries)
    }
}

fn log_of(known: &Known) -> Result<&str, Error> {
    known.log.as_deref().ok_or_else(|| Error::Bug("no log was looked for".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::message::LdapResult;

    #[test]
    fn a_refused_look_is_not_an_empty_log() {
        let look = |code: Code, limit: u32| {
            let result = LdapResult {
                code,
                matched: String::new(),
                text: String::new(),
                referrals: Vec::new(),
                controls: Vec::new(),
                by: None,
            };
            shown("x".to_owned(), limit, Found { entries: Vec::new(), elsewhere: Vec::new(), result })
        };
        assert_eq!(look(Code::SUCCESS, 0).unwrap(), []);
        assert_eq!(look(Code::NO_SUCH_OBJECT, 0).unwrap(), []);
        assert_eq!(look(Code::SIZE_LIMIT, 1).unwrap(), []);
        assert!(matches!(look(Code::BUSY, 0), Err(Error::Throttled { .. })));
        assert!(matches!(look(Code::ADMIN_LIMIT, 0), Err(Error::Configuration { .. })));
        assert!(matches!(look(Code::SIZE_LIMIT, 0), Err(Error::Configuration { .. })));
    }
}
