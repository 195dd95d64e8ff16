//! 389's log of changes (its plug-in Retro Changelog, after draft-good-ldap-changelog): numbered records, each of one
//! change.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use muster_connector::{CheckReport, Error, Finding};
use serde::{Deserialize, Serialize};

use super::logged::{AllTouched, Round, Touched, bases, entry_search, may_matter};
use super::{Follow, MODIFIED, Mark, Way, expired};
use crate::config::wrong;
use crate::connector::{Known, LdapConnector};
use crate::directory::root::{Root, Vendor};
use crate::entries::EntryType;
use crate::protocol::dn::{Dn, Rdn};
use crate::protocol::filter::Filter;
use crate::protocol::message::Entry;
use crate::protocol::request::{Depth, Search};
use crate::session::connection::Connection;
use crate::session::failure::Failure;

const NUMBER: &str = "changeNumber";
/// The name of the entry that a record is about.
const TARGET: &str = "targetDn";

/// Where a record says which entry it is about, when the plug-in is told to say so.
fn target_id(root: &Root) -> &'static str {
    if root.vendor == Vendor::Ds389 { "targetUniqueId" } else { "targetEntryUuid" }
}

/// Up to where a log is known.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct LogMark {
    /// The identifier of the log itself: another server's is another one.
    log: String,
    number: u64,
    /// The identifier of the record of that number, where there was one.
    record: Option<String>,
    /// The greatest `modifyTimestamp` that entries show, as far as it is not ahead of our clock.
    #[serde(default)]
    changed: Option<String>,
}

/// A time in whole seconds, as `modifyTimestamp` is written.
fn timestamp(time: DateTime<Utc>) -> String {
    time.format("%Y%m%d%H%M%SZ").to_string()
}

/// After which time entries are asked for, where a log says nothing.
fn time_before(follow: &Follow) -> String {
    let now = Utc::now();
    let overlap = TimeDelta::from_std(follow.overlap).unwrap_or_default();
    timestamp(now.checked_sub_signed(overlap).unwrap_or(now))
}

#[derive(Debug)]
struct Record {
    number: u64,
    dn: String,
    /// The name after it, where that is another.
    after: Option<String>,
    id: Option<String>,
    is_delete: bool,
}

/// The names of entries that changed, as they are after all that a log tells.
#[derive(Debug, Default)]
struct Names(BTreeMap<Vec<String>, Dn>);

/// A name from the root down, so that what is below an entry stands behind it.
fn path(dn: &Dn) -> Vec<String> {
    dn.0.iter().rev().map(|rdn| Dn(vec![rdn.clone()]).folded()).collect()
}

impl Names {
    fn add(&mut self, dn: Dn) {
        self.0.insert(path(&dn), dn);
    }

    fn remove(&mut self, dn: &Dn) {
        self.0.remove(&path(dn));
    }

    /// Renames an entry and whatever is below it.
    fn rename(&mut self, from: &Dn, to: &Dn) {
        let first = path(from);
        let below = self.0.range(first.clone()..).map(|(path, _)| path).take_while(|path| path.starts_with(&first));
        for one in below.cloned().collect::<Vec<_>>() {
            let Some(dn) = self.0.remove(&one) else { continue };
            let own = dn.0.len().saturating_sub(from.0.len());
            self.add(Dn(dn.0.iter().take(own).chain(&to.0).cloned().collect()));
        }
    }
}

fn number_of(record: &Entry) -> Option<u64> {
    record.text(NUMBER)?.parse().ok()
}

/// What lets a user read the log.
const READABLE: &str = "let the user read it, by an `aci` in its first entry: (targetattr=\"*\")(version 3.0; acl \
                        \"muster\"; allow (read, search, compare) userdn=\"ldap:///…\";)";

fn unreadable(log: &str) -> Error {
    wrong("changes", format!("the log {log:?} is missing, or the connection's user may not read it"), READABLE)
}

/// Nobody knows whom a record is about that does not name the entry.
fn nameless(log: &str, number: u64) -> Error {
    let problem = format!("record {number} of the log {log:?} does not show its {TARGET} to the connection's user");
    wrong("changes", problem, READABLE)
}

/// The name of an entry after it was renamed.
fn renamed(record: &Entry, dn: &str) -> Option<String> {
    let rdn = Dn::parse(record.text("newRdn")?).ok()?;
    let [rdn] = <[Rdn; 1]>::try_from(rdn.0).ok()?;
    let above = match record.text("newSuperior") {
        Some(above) => Dn::parse(above).ok()?,
        None => Dn::parse(dn).ok()?.parent(),
    };
    Some(above.child(rdn).to_string())
}

impl Record {
    /// `id`: where it says which entry it is about.
    fn of(log: &str, record: &Entry, id: &str) -> Result<Option<Self>, Error> {
        let Some(number) = number_of(record) else { return Ok(None) };
        let dn = record.text(TARGET).ok_or_else(|| nameless(log, number))?.to_owned();
        let kind = record.text("changeType").unwrap_or_default().to_ascii_lowercase();
        let after = if kind == "modrdn" { renamed(record, &dn) } else { None };
        let id = record.text(id).map(str::to_owned);
        Ok(Some(Self { number, dn, after, id, is_delete: kind == "delete" }))
    }
}

/// Whom records are about, in the order of their numbers. `bases`: whatever is below one of them is of interest.
fn touched(records: Vec<Record>, bases: &[Dn]) -> Result<AllTouched, Error> {
    let (mut touched, mut names) = (AllTouched::default(), Names::default());
    let parsed = |name: &str| Dn::parse(name).map_err(|_| expired());
    for record in records {
        let is_ours = |name: &String| may_matter(bases, name);
        let is_ours = is_ours(&record.dn) || record.after.as_ref().is_some_and(is_ours);
        if let Some(after) = &record.after {
            names.rename(&parsed(&record.dn)?, &parsed(after)?);
        }
        match record.id {
            Some(id) if is_ours => touched.add(Touched::Id(id)),
            // Who it was that had this name is found with the keys.
            None if is_ours && record.is_delete => names.remove(&parsed(&record.dn)?),
            None if is_ours => names.add(parsed(record.after.as_ref().unwrap_or(&record.dn))?),
            _ => {}
        }
    }
    names.0.into_values().for_each(|dn| touched.add(Touched::Name(dn.to_string())));
    Ok(touched)
}

impl LdapConnector {
    pub(super) async fn changelog(&self, root: &Root) -> Result<String, Error> {
        let Some(log) = root.changelog.clone() else {
            return Err(wrong(
                "changes",
                "this server keeps no changelog (its root entry names none)",
                "389: enable the plug-in Retro Changelog, with `nsslapd-attribute: nsuniqueid:targetUniqueId`, and restart the \
                 server; or leave `changes` out",
            ));
        };
        if self.directory.entry(&log, &["1.1"]).await.map_err(Failure::error)?.is_some() {
            return Ok(log);
        }
        Err(unreadable(&log))
    }

    /// The identifier of a log, and the number of its last record.
    async fn log_end(&self, connection: &Connection, known: &Known, log: &str) -> Result<(String, u64), Error> {
        let root = self.look(connection, entry_search("", &["lastChangeNumber"])).await?;
        let last = root.first().and_then(|root| root.text("lastChangeNumber")?.parse().ok());
        let found = self.look(connection, entry_search(log, &[known.root.anchor()])).await?;
        let id = found.first().and_then(|entry| entry.text(known.root.anchor())).map(str::to_owned);
        match (id, last) {
            (Some(id), Some(last)) => Ok((id, last)),
            _ => {
                let id = known.root.anchor();
                let problem = format!("the log {log:?} does not show its {id}, or the root entry no lastChangeNumber");
                Err(wrong("changes", problem, "let the connection's user read both"))
            }
        }
    }

    async fn numbered(
        &self,
        connection: &Connection,
        known: &Known,
        log: &str,
        numbers: [u64; 2],
    ) -> Result<Vec<Entry>, Error> {
        let any = numbers.map(|number| Filter::equals(NUMBER, number.to_string().as_bytes()));
        let search = Search {
            depth: Depth::Subtree,
            filter: Filter::Or(any.into()),
            ..entry_search(log, &[NUMBER, "changeTime", TARGET, known.root.anchor(), target_id(&known.root)])
        };
        self.look(connection, search).await
    }

    /// The record of the last number; a log whose records nobody shows is not an empty one.
    async fn last_shown(
        &self,
        connection: &Connection,
        known: &Known,
        log: &str,
        number: u64,
    ) -> Result<Vec<Entry>, Error> {
        let found = self.numbered(connection, known, log, [number, number]).await?;
        match found.first() {
            Some(record) if record.text(TARGET).is_none() => Err(nameless(log, number)),
            None if number > 0 && self.hides_all(connection, log, NUMBER).await? => Err(unreadable(log)),
            _ => Ok(found),
        }
    }

    pub(super) async fn changelog_now(
        &self,
        connection: &Connection,
        known: &Known,
        of: &EntryType,
        log: &str,
        follow: &Follow,
    ) -> Result<LogMark, Error> {
        let (id, number) = self.log_end(connection, known, log).await?;
        let found = self.last_shown(connection, known, log, number).await?;
        let record = found.first().and_then(|record| record.text(known.root.anchor())).map(str::to_owned);
        let since = found.first().and_then(|record| record.text("changeTime")).map(str::to_owned);
        let since = since.unwrap_or_else(|| time_before(follow));
        let besides = self.changed_besides(connection, known, of, MODIFIED, &since).await?;
        let changed = Some(besides.newest.min(timestamp(Utc::now())));
        Ok(LogMark { log: id, number, record, changed })
    }

    pub(super) async fn changelog_since(
        &self,
        connection: Connection,
        (known, of): (&Known, &EntryType),
        log: &str,
        follow: &Follow,
        mark: LogMark,
    ) -> Result<Round, Error> {
        let (id, last) = self.log_end(&connection, known, log).await?;
        let next = mark.number.saturating_add(1);
        let found = self.numbered(&connection, known, log, [mark.number, next]).await?;
        let numbered = |number: u64| found.iter().find(|record| number_of(record) == Some(number));
        let is_continued = match (numbered(mark.number).map(|record| record.text(known.root.anchor())), &mark.record) {
            (Some(found), Some(before)) => found == Some(before.as_str()),
            // Numbers were given again.
            (Some(_), None) => false,
            (None, _) => numbered(next).is_some() || last == mark.number,
        };
        if id != mark.log || last < mark.number || !is_continued {
            return Err(expired());
        }
        let target = target_id(&known.root);
        let search = Search {
            depth: Depth::Subtree,
            filter: Filter::AtLeast(NUMBER.to_owned(), next.to_string().into_bytes()),
            ..entry_search(log, &[NUMBER, TARGET, "changeType", "newRdn", "newSuperior", target])
        };
        let (mut records, mut failed) = (Vec::new(), None);
        self.records(&connection, &search, |record| match Record::of(log, &record, target) {
            Ok(record) => records.extend(record),
            Err(error) => failed = Some(error),
        })
        .await?;
        if let Some(error) = failed {
            return Err(error);
        }
        records.sort_by_key(|record| record.number);
        records.retain(|record| record.number > mark.number);
        let number = records.last().map_or(mark.number, |record| record.number);
        let mut touched = touched(records, &bases(known))?;
        let record = match number == mark.number {
            true => mark.record,
            false => {
                let found = self.numbered(&connection, known, log, [number, number]).await?;
                found.first().and_then(|record| record.text(known.root.anchor())).map(str::to_owned)
            }
        };
        let since = mark.changed.unwrap_or_else(|| time_before(follow));
        let besides = self.changed_besides(&connection, known, of, MODIFIED, &since).await?;
        besides.touched.into_iter().for_each(|one| touched.add(one));
        let changed = Some(besides.newest.min(timestamp(Utc::now())));
        Ok(Round { connection, touched, mark: Mark::Changelog(LogMark { log: id, number, record, changed }) })
    }

    /// Says where the log shows nothing, or does not tell who was deleted.
    pub(crate) async fn examine_log(&self, known: &Known, report: &mut CheckReport) -> Result<(), Error> {
        let Some(log) = &known.log else { return Ok(()) };
        let connection = self.directory.dial().await.map_err(Failure::error)?;
        if known.follow.is_none_or(|follow| follow.way != Way::Changelog) {
            return self.accesslog_shows(&connection, log).await;
        }
        let (_, number) = self.log_end(&connection, known, log).await?;
        let found = self.last_shown(&connection, known, log, number).await?;
        if found.first().is_some_and(|record| record.text(target_id(&known.root)).is_none()) {
            let problem = format!(
                "the log {log:?} names entries, and does not say who they are: whoever is deleted is found \
                                   with the keys only"
            );
            let fix = "add `nsslapd-attribute: nsuniqueid:targetUniqueId` to the plug-in Retro Changelog, and restart the server";
            report.findings.push(Finding::warning(Some("changes"), problem, fix));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(attributes: &[(&str, &str)]) -> Result<Option<Record>, Error> {
        let attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), vec![value.as_bytes().to_vec()]));
        let entry = Entry { attributes: attributes.collect(), ..Entry::default() };
        Record::of("cn=changelog", &entry, "targetUniqueId")
    }

    /// Whom records are about, each without its number.
    fn told(records: &[&[(&str, &str)]]) -> Vec<Touched> {
        let numbered = records.iter().map(|record| [&[("changeNumber", "7")], *record].concat());
        let records = numbered.map(|record| read(&record).unwrap().unwrap()).collect();
        touched(records, &[Dn::parse("ou=p,dc=x").unwrap()]).unwrap().into_order()
    }

    fn name(name: &str) -> Touched {
        Touched::Name(name.to_owned())
    }

    const DN: (&str, &str) = ("targetDn", "uid=a,ou=p,dc=x");
    const MODIFY: (&str, &str) = ("changeType", "modify");
    const DELETE: (&str, &str) = ("changeType", "delete");
    const RENAME: (&str, &str) = ("changeType", "modrdn");

    #[test]
    fn records_say_whom_they_are_about() {
        assert_eq!(told(&[&[DN, DELETE, ("targetUniqueId", "1-2")]]), [Touched::Id("1-2".to_owned())]);
        assert_eq!(told(&[&[DN, DELETE]]), []);
        assert_eq!(told(&[&[DN, RENAME, ("newRdn", "uid=b")]]), [name("uid=b,ou=p,dc=x")]);
        let moved = [DN, RENAME, ("newRdn", "uid=b"), ("newSuperior", "ou=q,dc=x")];
        assert_eq!(told(&[&moved]), [name("uid=b,ou=q,dc=x")]);
        assert_eq!(told(&[&[("targetDn", "uid=a,dc=x"), MODIFY]]), []);
        assert_eq!(told(&[&[DN, RENAME, ("newRdn", "=")]]), [name("uid=a,ou=p,dc=x")]);
        assert!(read(&[DN]).unwrap().is_none() && read(&[("changeNumber", "x"), DN]).unwrap().is_none());
        let error = read(&[("changeNumber", "7"), MODIFY]).unwrap_err();
        assert!(error.to_string().contains("targetDn"), "{error}");
    }

    /// Whoever changed before his unit was renamed has another name by now.
    #[test]
    fn names_follow_what_is_renamed_and_deleted_afterwards() {
        let place = ("targetDn", "OU=North,ou=p,dc=x");
        let person = ("targetDn", "uid=a,ou=north,ou=p,dc=x");
        let other = ("targetDn", "uid=b,ou=northern,ou=p,dc=x");
        let moved = [place, RENAME, ("newRdn", "ou=south")];
        let expected = [name("ou=south,ou=p,dc=x"), name("uid=a,ou=south,ou=p,dc=x")];
        assert_eq!(told(&[&[person, MODIFY], &moved]), expected);
        let by_id = [&moved[..], &[("targetUniqueId", "1-2")]].concat();
        let expected = [Touched::Id("1-2".to_owned()), name("uid=b,ou=northern,ou=p,dc=x"), expected[1].clone()];
        assert_eq!(told(&[&[person, MODIFY], &[other, MODIFY], &by_id]), expected);
        assert_eq!(told(&[&[DN, MODIFY], &[("targetDn", "UID=a, ou=p, dc=x"), DELETE]]), []);
        assert_eq!(told(&[&[DN, DELETE], &[DN, ("changeType", "add")]]), [name("uid=a,ou=p,dc=x")]);
    }
}
