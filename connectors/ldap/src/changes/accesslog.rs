//! OpenLDAP's log of changes (slapo-accesslog(5)): a record for each write, named by when it began. A record is written
//! when its operation ends, so that one that began earlier may come later: the last while is looked at again, and what
//! was seen there before is remembered.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, NaiveDateTime, TimeDelta, Utc};
use muster_connector::Error;
use serde::{Deserialize, Serialize};

use super::logged::{AllTouched, Round, Touched, bases, entry_search, may_matter};
use super::{Follow, Mark, Way, expired};
use crate::config::wrong;
use crate::connector::{Known, LdapConnector};
use crate::directory::root::Root;
use crate::entries::EntryType;
use crate::protocol::dn::Dn;
use crate::protocol::filter::Filter;
use crate::protocol::message::Entry;
use crate::protocol::request::{Depth, Search};
use crate::session::connection::Connection;
use crate::session::failure::Failure;

/// When a record's operation began; texts stand in the order of time.
const START: &str = "reqStart";
const RECORDS: [&str; 4] = ["auditAdd", "auditModify", "auditModRDN", "auditDelete"];

/// How far back the newest record is looked for, in seconds, before the whole log is looked through.
const WINDOWS: [i64; 3] = [3_600, 86_400, 30 * 86_400];

/// Records remembered one by one; older ones are counted.
const ONE_BY_ONE: usize = 500;

/// Up to where a log is known.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct LogMark {
    server: String,
    /// The newest record, by its name and its own identifier; none where the log held none.
    newest: Option<(String, String)>,
    /// The greatest change sequence number in the log, or that was purged from it where it holds nothing.
    csn: Option<String>,
    seen: Seen,
    /// The greatest change sequence number that entries show, as far as it is not ahead of our clock.
    #[serde(default)]
    changed: Option<String>,
}

const CSN: &str = "entryCSN";

/// The change sequence number of a time (draft-chu-ldap-csn).
fn csn_of(time: DateTime<Utc>) -> String {
    time.format("%Y%m%d%H%M%S.%6fZ#000000#000#000000").to_string()
}

/// After which change sequence number entries are asked for, where a log says nothing.
fn csn_before(follow: &Follow) -> String {
    let now = Utc::now();
    let overlap = TimeDelta::from_std(follow.overlap).unwrap_or_default();
    csn_of(now.checked_sub_signed(overlap).unwrap_or(now))
}

/// Which records of the last while are known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    /// The newest ones.
    newest: BTreeSet<String>,
    /// How many there are of each second before.
    older: BTreeMap<String, usize>,
}

fn second(start: &str) -> &str {
    start.get(..14).unwrap_or(start)
}

impl Seen {
    fn of(starts: &[String], least: &str) -> Self {
        // As text, a second's fractions stand before the second without any.
        let mut sorted: Vec<&String> = starts.iter().filter(|start| second(start) >= second(least)).collect();
        sorted.sort();
        let older = sorted.len().saturating_sub(ONE_BY_ONE);
        let mut seen = Self::default();
        for (number, start) in sorted.into_iter().enumerate() {
            if number < older {
                *seen.older.entry(second(start).to_owned()).or_default() += 1;
            } else {
                seen.newest.insert(start.clone());
            }
        }
        seen
    }

    /// Whether each of these records is known. Where one of a second is not, all of that second may be told again.
    fn knows(&self, starts: &[String]) -> Vec<bool> {
        let first = self.newest.first();
        let is_older = |start: &String| first.is_some_and(|first| start < first);
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for start in starts.iter().filter(|start| is_older(start)) {
            *counts.entry(second(start)).or_default() += 1;
        }
        let knows = |start: &String| match is_older(start) {
            true => self.older.get(second(start)) == counts.get(second(start)),
            false => self.newest.contains(start),
        };
        starts.iter().map(knows).collect()
    }
}

/// Where the last while begins. A record that a clock ahead of ours named would hide what comes after that clock is set
/// right.
fn earlier(start: &str, now: DateTime<Utc>, follow: &Follow) -> Option<String> {
    let at = NaiveDateTime::parse_from_str(second(start), "%Y%m%d%H%M%S").ok()?.min(now.naive_utc());
    let overlap = TimeDelta::from_std(follow.overlap).ok()?;
    Some(at.checked_sub_signed(overlap)?.format("%Y%m%d%H%M%SZ").to_string())
}

/// The records that a search found.
#[derive(Debug, Default)]
struct Scan {
    starts: Vec<String>,
    /// Whom each record is about, as far as that is of interest.
    about: Vec<Option<Touched>>,
    newest: Option<(String, String)>,
    csn: Option<String>,
    /// The least change sequence number.
    first_csn: Option<String>,
}

impl Scan {
    /// `bases`: whatever is below one of them is of interest.
    fn add(&mut self, record: &Entry, bases: &[Dn]) {
        let text = |name: &str| record.text(name).map(str::to_owned);
        let Some(start) = text(START) else { return };
        let newer = self.newest.as_ref().is_none_or(|(newest, _)| *newest < start);
        if newer {
            self.newest = Some((start.clone(), text("entryUUID").unwrap_or_default()));
        }
        let csn = text(CSN);
        self.first_csn = self.first_csn.take().into_iter().chain(csn.clone()).min();
        self.csn = self.csn.take().max(csn);
        self.starts.push(start);
        // The name before, and the one after.
        let names = || ["reqDN", "reqNewDN"].into_iter().filter_map(|name| record.text(name));
        let touched = match record.text("reqEntryUUID") {
            Some(id) => Some(Touched::Id(id.to_owned())),
            None => names().next_back().map(|name| Touched::Name(name.to_owned())),
        };
        self.about.push(touched.filter(|_| names().any(|name| may_matter(bases, name))));
    }
}

fn unreadable(log: &str) -> Error {
    wrong(
        "changes",
        format!("the log {log:?} is missing, or the connection's user may not read it and what is below it"),
        "let the user read it: in the log's database, `access to * by dn.exact=\"…\" read` and \
         `limits dn.exact=\"…\" size=unlimited time=unlimited`",
    )
}

impl LdapConnector {
    pub(super) async fn accesslog(&self, root: &Root, base: &str) -> Result<String, Error> {
        let within = |context: &&String| {
            Dn::parse(base).ok().zip(Dn::parse(context).ok()).is_some_and(|(base, context)| base.is_within(&context))
        };
        let suffix = root.contexts.iter().filter(within).max_by_key(|context| context.len());
        let suffix = suffix.map_or(base, String::as_str);
        let entry = self.directory.entry(suffix, &["auditContext"]).await.map_err(Failure::error)?;
        match entry.and_then(|entry| entry.text("auditContext").map(str::to_owned)) {
            Some(log) => {
                let is_there = self.directory.entry(&log, &["1.1"]).await.map_err(Failure::error)?.is_some();
                if is_there { Ok(log) } else { Err(unreadable(&log)) }
            }
            None => Err(wrong(
                "changes",
                format!("the database of {suffix:?} keeps no accesslog (its first entry shows no auditContext)"),
                "OpenLDAP: add a database cn=accesslog and the overlay accesslog to the database of the entries \
                 (olcAccessLogDB: cn=accesslog, olcAccessLogOps: writes, olcAccessLogSuccess: TRUE), or leave `changes` out",
            )),
        }
    }

    /// Refuses to follow a type of whose changes another log tells, or none.
    pub(crate) async fn must_be_logged(&self, known: &Known, of: &EntryType) -> Result<(), Error> {
        let (Some(log), Some(Way::Accesslog)) = (&known.log, known.follow.map(|follow| follow.way)) else {
            return Ok(());
        };
        let own = self.accesslog(&known.root, &of.base).await?;
        let is_same = Dn::parse(&own).ok().zip(Dn::parse(log).ok()).is_some_and(|(own, log)| own.is_same(&log));
        if is_same {
            return Ok(());
        }
        let problem = format!(
            "what changes below {:?} stands in the log {own:?}, and the connection's `base` {:?} is followed by {log:?}",
            of.base, known.base
        );
        let fix = "make a connection to each of the databases, with a `base` in it, or let them have one log \
                   (olcAccessLogDB)";
        Err(wrong(&format!("types.{}.base", of.object_type.name), problem, fix))
    }

    /// The records since a time, or all of them. `bases`: about whom they are matters below these.
    async fn scan(&self, connection: &Connection, log: &str, least: Option<&str>, bases: &[Dn]) -> Result<Scan, Error> {
        let classes = RECORDS.iter().map(|class| Filter::equals("objectClass", class.as_bytes())).collect();
        let mut all = vec![Filter::Or(classes), Filter::equals("reqResult", b"0")];
        all.extend(least.map(|least| Filter::AtLeast(START.to_owned(), least.as_bytes().to_vec())));
        let attributes = [START, "reqDN", "reqNewDN", "reqEntryUUID", "entryUUID", CSN];
        let search = Search {
            base: log.to_owned(),
            depth: Depth::Subtree,
            filter: Filter::And(all),
            attributes: attributes.map(str::to_owned).into(),
            limit: 0,
        };
        let mut scan = Scan::default();
        self.records(connection, &search, |record| scan.add(&record, bases)).await?;
        Ok(scan)
    }

    /// The newest change that is no longer in the log.
    async fn purged(&self, connection: &Connection, log: &str) -> Result<Option<String>, Error> {
        match self.look(connection, entry_search(log, &["minCSN"])).await?.first() {
            Some(entry) => Ok(entry.texts("minCSN").max().map(str::to_owned)),
            None => Err(unreadable(log)),
        }
    }

    /// A log whose records nobody shows is not an empty one.
    pub(super) async fn accesslog_shows(&self, connection: &Connection, log: &str) -> Result<(), Error> {
        if self.hides_all(connection, log, START).await? { Err(unreadable(log)) } else { Ok(()) }
    }

    pub(super) async fn accesslog_now(
        &self,
        connection: &Connection,
        known: &Known,
        of: &EntryType,
        log: &str,
        follow: &Follow,
    ) -> Result<LogMark, Error> {
        let mark = self.log_now(connection, log, follow).await?;
        let since = mark.csn.clone().unwrap_or_else(|| csn_before(follow));
        let besides = self.changed_besides(connection, known, of, CSN, &since).await?;
        let changed = besides.newest.min(csn_of(Utc::now()));
        Ok(LogMark { changed: Some(changed), ..mark })
    }

    async fn log_now(&self, connection: &Connection, log: &str, follow: &Follow) -> Result<LogMark, Error> {
        let server = connection.server().to_string();
        let mut scan = Scan::default();
        for window in WINDOWS.map(Some).into_iter().chain([None]) {
            let least = window.and_then(|window| Utc::now().checked_sub_signed(TimeDelta::seconds(window)));
            let least = least.map(|least| least.format("%Y%m%d%H%M%SZ").to_string());
            scan = self.scan(connection, log, least.as_deref(), &[]).await?;
            if scan.newest.is_some() {
                break;
            }
        }
        let Some((newest, _)) = &scan.newest else {
            self.accesslog_shows(connection, log).await?;
            let csn = self.purged(connection, log).await?;
            return Ok(LogMark { server, csn, ..LogMark::default() });
        };
        let Some(least) = earlier(newest, Utc::now(), follow) else {
            return Err(Error::Bug(format!("the log names a record {newest:?}, which is no time")));
        };
        let last_while = self.scan(connection, log, Some(&least), &[]).await?;
        // What was added between the two looks is read with everything else.
        let seen = Seen::of(&last_while.starts, &least);
        Ok(LogMark {
            server,
            csn: scan.csn.max(last_while.csn),
            newest: last_while.newest.or(scan.newest),
            seen,
            changed: None,
        })
    }

    pub(super) async fn accesslog_since(
        &self,
        connection: Connection,
        (known, of): (&Known, &EntryType),
        log: &str,
        follow: &Follow,
        mut mark: LogMark,
    ) -> Result<Round, Error> {
        let server = connection.server().to_string();
        let now = Utc::now();
        let least = match &mark.newest {
            Some((newest, _)) => Some(earlier(newest, now, follow).ok_or_else(expired)?),
            None => None,
        };
        let scan = self.scan(&connection, log, least.as_deref(), &bases(known)).await?;
        // What is purged goes before what is newer, and names the last change that went.
        let purged = self.purged(&connection, log).await?;
        let is_continued = match &mark.newest {
            Some((newest, id)) => match self.is_record(&connection, log, newest, id).await? {
                true => true,
                // Nothing happened for so long that even the record of the last change is gone.
                false if server == mark.server && scan.newest.is_none() && purged.is_some() && purged == mark.csn => {
                    mark = LogMark { newest: None, seen: Seen::default(), ..mark };
                    true
                }
                false => false,
            },
            None => {
                // The very first record of a log is named as if it had gone.
                let is_first = mark.csn.is_none() && purged == scan.first_csn;
                server == mark.server && (purged == mark.csn || is_first)
            }
        };
        if !is_continued {
            return Err(expired());
        }
        let mut touched = AllTouched::default();
        for (about, is_known) in scan.about.into_iter().zip(mark.seen.knows(&scan.starts)) {
            if let Some(one) = about.filter(|_| !is_known) {
                touched.add(one);
            }
        }
        let since = mark.changed.or_else(|| mark.csn.clone()).unwrap_or_else(|| csn_before(follow));
        let besides = self.changed_besides(&connection, known, of, CSN, &since).await?;
        besides.touched.into_iter().for_each(|one| touched.add(one));
        let newest_csn = scan.csn.clone().into_iter().chain([besides.newest]).max().unwrap_or(since);
        let changed = Some(newest_csn.min(csn_of(Utc::now())));
        let newest = scan.newest.or(mark.newest);
        let least = newest.as_ref().and_then(|(newest, _)| earlier(newest, now, follow)).unwrap_or_default();
        let seen = Seen::of(&scan.starts, &least);
        let mark = LogMark { server, newest, csn: scan.csn.max(mark.csn), seen, changed };
        Ok(Round { connection, touched, mark: Mark::Accesslog(mark) })
    }

    /// Whether the log still holds this very record; another server's has another identifier.
    async fn is_record(&self, connection: &Connection, log: &str, start: &str, id: &str) -> Result<bool, Error> {
        let search = Search {
            depth: Depth::Subtree,
            filter: Filter::equals(START, start.as_bytes()),
            ..entry_search(log, &["entryUUID"])
        };
        let found = self.look(connection, search).await?;
        Ok(found.iter().any(|entry| entry.text("entryUUID").unwrap_or_default() == id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(numbers: std::ops::Range<usize>) -> Vec<String> {
        numbers.map(|number| format!("202611241000{:02}.{:06}Z", number / 100, number % 100)).collect()
    }

    #[test]
    fn what_comes_late_is_not_taken_for_known() {
        let all = starts(0..2_000);
        let seen = Seen::of(&all, "20261124100000Z");
        assert_eq!((seen.newest.len(), seen.older.len()), (500, 15));
        assert!(seen.knows(&all).into_iter().all(|known| known));
        let mut more = all;
        more.push("20261124100003.000500Z".to_owned());
        more.push("20261124100018.000500Z".to_owned());
        more.push("20261124100020.000000Z".to_owned());
        let unknown = more.iter().zip(seen.knows(&more)).filter(|(_, known)| !known).map(|(start, _)| second(start));
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        unknown.for_each(|second| *counts.entry(second).or_default() += 1);
        let expected = [("20261124100003", 101), ("20261124100018", 1), ("20261124100020", 1)];
        assert_eq!(counts.into_iter().collect::<Vec<_>>(), expected);
        let first = ["20261124100000.000001Z".to_owned(), "20261124095959.999999Z".to_owned()];
        assert_eq!(Seen::of(&first, "20261124100000Z").knows(&first), [true, false]);
        assert_eq!(Seen::default().knows(&starts(0..1)), [false]);
    }
}
