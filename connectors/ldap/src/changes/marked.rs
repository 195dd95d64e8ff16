//! Changes by an attribute that grows: entries in which it is greater than it was anywhere before.

use chrono::{NaiveDateTime, TimeDelta, Utc};
use muster_connector::{ChangePage, Cursor, Error, Expired, Marks, Next, Position, ReadRequest, Watermark};
use muster_model::Key;
use serde::{Deserialize, Serialize};

use super::{Begun, Follow, Mark, Way, expired, page, removed};
use crate::connector::{Known, LdapConnector};
use crate::directory::root::Root;
use crate::entries::EntryType;
use crate::protocol::control::{Control, SHOW_DELETED};
use crate::protocol::filter::Filter;
use crate::protocol::message::Entry;
use crate::protocol::request::{Depth, Search};
use crate::rows::{key_of, wanted};
use crate::session::connection::Connection;
use crate::session::failure::Failure;

pub(crate) const MODIFIED: &str = "modifyTimestamp";
const USN: &str = "uSNChanged";

/// GeneralizedTime in whole seconds of UTC, which all servers write and whose texts stand in the order of time.
const SECONDS: &str = "%Y%m%d%H%M%SZ";

/// Where a round goes on.
#[derive(Debug, Serialize, Deserialize)]
struct Turn {
    list: Option<Cursor>,
    /// What the attribute is at least; everything without it.
    least: Option<String>,
    mark: Mark,
    /// The greatest time seen in this round.
    greatest: Option<String>,
    /// When the round began, in milliseconds since 1970.
    begun: i64,
}

/// An entry's time, as [`SECONDS`] writes it.
fn modified(entry: &Entry) -> Option<String> {
    let text = entry.text(MODIFIED)?;
    let seconds = text.get(..14)?;
    NaiveDateTime::parse_from_str(seconds, "%Y%m%d%H%M%S").ok()?;
    Some(format!("{seconds}Z"))
}

fn shifted(time: &str, by: TimeDelta) -> Option<String> {
    let at = NaiveDateTime::parse_from_str(time, SECONDS).ok()?;
    Some(at.checked_add_signed(by)?.format(SECONDS).to_string())
}

/// The time from which on entries are read.
fn least(marks: &Marks, follow: &Follow) -> Option<String> {
    match marks.settled(follow.overlap) {
        // Nothing of that second can turn up any more.
        Some(settled) => shifted(settled, TimeDelta::seconds(1)),
        None => shifted(marks.first()?, -TimeDelta::from_std(follow.overlap).ok()?),
    }
}

/// The greatest time of entries, and of what was seen before. A server ahead of our clock, or one of several that a
/// referral leads to, must not hide what others write until then.
fn greatest(entries: &[Entry], before: Option<String>) -> Option<String> {
    let now = Utc::now().format(SECONDS).to_string();
    entries.iter().filter_map(modified).map(|at| at.min(now.clone())).chain(before).max()
}

impl Follow {
    /// The watermark that the first page of a full read carries. No server tells the greatest time of all, so that the
    /// page's own has to do: the first round of changes begins early.
    pub(crate) fn after_first_page(&self, entries: &[Entry]) -> Watermark {
        let mut marks = Marks::default();
        let now = Utc::now().timestamp_millis();
        marks.observe(greatest(entries, None).as_deref(), now, now, self.overlap);
        Mark::Modified(marks).watermark()
    }
}

impl LdapConnector {
    /// A connection, and how far the server behind it has counted.
    async fn counted(&self) -> Result<(Connection, String, u64), Error> {
        let connection = self.directory.dial().await.map_err(Failure::error)?;
        let within = self.directory.access.timeout;
        let entry = |dn: &str, attributes: &[&str]| Search {
            base: dn.to_owned(),
            depth: Depth::Base,
            filter: Filter::anything(),
            attributes: attributes.iter().map(|&name| name.to_owned()).collect(),
            limit: 0,
        };
        let lost = |lost| Failure::from(lost).error();
        let found =
            connection.search(entry("", &["highestCommittedUSN", "dsServiceName"]), &[], within).await.map_err(lost)?;
        let root = found.entries.first().map(Root::of);
        let (Some(service), Some(usn)) = root.map_or((None, None), |root| (root.service, root.usn)) else {
            return Err(Error::Bug("the root entry has no highestCommittedUSN and dsServiceName any more".to_owned()));
        };
        // Changes with every restore of the server, after which numbers are given again (MS-ADTS 3.1.1.1.9).
        let found = connection.search(entry(&service, &["invocationId"]), &[], within).await.map_err(lost)?;
        let invocation = found.entries.first().and_then(|entry| entry.values("invocationId").first().cloned());
        let invocation: String = invocation.into_iter().flatten().map(|byte| format!("{byte:02x}")).collect();
        Ok((connection, format!("{} {invocation}", service.to_lowercase()), usn))
    }

    /// A connection to read on, and how far the server behind it has counted before.
    pub(super) async fn counted_before_all(&self) -> Result<Begun, Error> {
        let (connection, server, usn) = self.counted().await?;
        let watermark = Some(Mark::Usn { server, usn }.watermark());
        Ok(Begun { connection: Some(connection), watermark, ..Begun::default() })
    }

    /// The entries of a type that were deleted since, as far as the server shows them: Active Directory lets hardly
    /// anybody but administrators see them. Whoever is left out is found with the keys.
    async fn deleted_since(&self, known: &Known, of: &EntryType, connection: &Connection, usn: &str) -> Vec<Key> {
        let Ok(anchor) = of.anchor_field() else { return Vec::new() };
        let class = of.classes.first().map_or("top", String::as_str);
        let search = Search {
            base: known.root.contexts.first().cloned().unwrap_or_default(),
            depth: Depth::Subtree,
            filter: Filter::And(vec![
                Filter::equals("isDeleted", b"TRUE"),
                Filter::equals("objectClass", class.as_bytes()),
                Filter::AtLeast(USN.to_owned(), usn.as_bytes().to_vec()),
            ]),
            attributes: vec![anchor.wire.clone()],
            limit: 0,
        };
        let controls = [Control::plain(SHOW_DELETED, true)];
        match connection.search(search, &controls, self.directory.access.timeout).await {
            Ok(found) => found.entries.iter().filter_map(|entry| key_of(of, entry)).collect(),
            Err(lost) => {
                tracing::debug!(problem = lost.problem, "deleted entries cannot be read");
                Vec::new()
            }
        }
    }

    pub(super) async fn changed_by_mark(
        &self,
        known: &Known,
        of: &EntryType,
        follow: &Follow,
        request: &ReadRequest,
        position: &Position,
    ) -> Result<ChangePage, Error> {
        let (mut turn, connection) = match position {
            Position::Page(cursor) => {
                let turn = serde_json::from_slice(&cursor.0);
                (turn.map_err(|_| Error::Expired { expired: Expired::Cursor })?, None)
            }
            Position::Start(None) => return Err(expired()),
            Position::Start(Some(watermark)) => match (Mark::read(watermark)?, follow.way) {
                (Mark::Usn { server, usn }, Way::Usn) => {
                    let (connection, now_at, now) = self.counted().await?;
                    // Another server counts by itself, and one that was restored counts again.
                    if now_at != server || now < usn {
                        return Err(expired());
                    }
                    let mark = Mark::Usn { server, usn: now };
                    if now == usn {
                        return Ok(page(Vec::new(), Next::Done(mark.watermark())));
                    }
                    let least = Some((usn + 1).to_string());
                    (Turn { list: None, least, mark, greatest: None, begun: 0 }, Some(connection))
                }
                (Mark::Modified(marks), Way::Modified) => {
                    let (least, begun) = (least(&marks, follow), Utc::now().timestamp_millis());
                    (Turn { list: None, least, mark: Mark::Modified(marks), greatest: None, begun }, None)
                }
                _ => return Err(expired()),
            },
        };
        let name = if follow.way == Way::Usn { USN } else { MODIFIED };
        let grown = turn.least.as_ref().map(|least| Filter::AtLeast(name.to_owned(), least.clone().into_bytes()));
        let mut attributes = wanted(of, &request.attributes)?;
        if follow.way == Way::Modified {
            attributes.push(MODIFIED.to_owned());
        }
        let search = Search { filter: of.filter.clone().and(grown), ..of.search(attributes) };
        let mut gone = Vec::new();
        if let (Some(connection), Some(usn)) = (&connection, &turn.least) {
            gone = self.deleted_since(known, of, connection, usn).await;
        }
        let found = self.page_on(connection, search, &[], turn.list.as_ref()).await?;
        found.shows_keys(of)?;
        self.must_be_whole(known, of, &found.elsewhere)?;
        turn.greatest = greatest(&found.entries, turn.greatest);
        let mut entries = self.whole_entries(known, of, request, found.entries).await?;
        entries.extend(gone.into_iter().map(removed));
        if found.next.is_some() {
            turn.list = found.next;
            let cursor = serde_json::to_vec(&turn).map_err(|error| Error::Bug(error.to_string()))?;
            return Ok(page(entries, Next::Page(Cursor(cursor))));
        }
        if let Mark::Modified(marks) = &mut turn.mark {
            let last = marks.last().map(str::to_owned);
            let greatest = turn.greatest.into_iter().chain(last).max();
            marks.observe(greatest.as_deref(), turn.begun, Utc::now().timestamp_millis(), follow.overlap);
        }
        Ok(page(entries, Next::Done(turn.mark.watermark())))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_compared_in_whole_seconds() {
        let entry = |text: &str| Entry {
            attributes: vec![(MODIFIED.to_owned(), vec![text.as_bytes().to_vec()])],
            ..Entry::default()
        };
        assert_eq!(modified(&entry("20211124093000Z")).as_deref(), Some("20211124093000Z"));
        assert_eq!(modified(&entry("20211124093000.25Z")).as_deref(), Some("20211124093000Z"));
        assert_eq!(modified(&entry("20211324093000Z")), None);
        assert_eq!(modified(&entry("soon")), None);
        let some = [entry("20211124093000Z"), entry("x"), entry("20211124093001Z")];
        assert_eq!(greatest(&some, Some("20201124093001Z".to_owned())).as_deref(), Some("20211124093001Z"));
    }

    #[test]
    fn reading_begins_early_until_nothing_can_turn_up_any_more() {
        let follow = Follow { way: Way::Modified, overlap: Duration::from_secs(600), keys_every: Duration::ZERO };
        let mut marks = Marks::default();
        assert_eq!(least(&marks, &follow), None);
        for (at, expected) in [(0, "20251231235000Z"), (599_000, "20251231235000Z"), (600_000, "20260101000001Z")] {
            marks.observe(Some("20260101000000Z"), at, at, follow.overlap);
            assert_eq!(least(&marks, &follow).as_deref(), Some(expected), "{at}");
        }
    }
}
