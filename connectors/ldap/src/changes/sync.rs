//! Changes by content synchronisation (RFC 4533): the server says what changed since a cookie of its own.

use std::collections::HashMap;

use muster_connector::{ChangePage, Cursor, Entry, Error, Expired, Next, Position, ReadRequest, Watermark};
use muster_model::Key;
use uuid::Uuid;

use super::{Mark, expired, page, removed};
use crate::connector::{Known, LdapConnector};
use crate::entries::EntryType;
use crate::protocol::ber::Malformed;
use crate::protocol::message::{self as protocol, Answer, Code};
use crate::protocol::request::Search;
use crate::protocol::sync::{self, EntryUuid, SYNC_INFO, State};
use crate::rows::wanted;
use crate::session::connection::Searching;
use crate::session::failure::Failure;

/// Entries in a page.
const PAGE: usize = 1_000;

/// How servers say that they do not know what happened since a cookie: the code made for it, and OpenLDAP's for cookies
/// that are none, or of a time when the directory held more than now.
const FORGOTTEN: [Code; 3] = [Code::SYNC_REFRESH_REQUIRED, Code::PROTOCOL_ERROR, Code::UNWILLING];

/// Rounds under way at a time; any is given up for a further one.
const MOST: usize = 8;

/// Rounds of changes that are being handed over page by page, with the cookies that they began with.
#[derive(Debug, Default)]
pub(crate) struct Refreshes(HashMap<Uuid, (Searching, Vec<u8>)>);

fn nonsense(Malformed(what): Malformed) -> Error {
    Error::Bug(Malformed(what).to_string())
}

/// The anchor of an entry as its attribute would show it; none where the type's anchor is an attribute of another kind.
fn anchor_value(of: &EntryType, uuid: &EntryUuid) -> Option<Vec<u8>> {
    let uuid = Uuid::from_bytes(*uuid);
    match of.fields.get(&of.anchor)?.wire.to_ascii_lowercase().as_str() {
        "entryuuid" => Some(uuid.to_string().into_bytes()),
        // Of 389: the same bytes, written in groups of eight.
        "nsuniqueid" => {
            let digits = uuid.simple().to_string();
            let groups: Vec<&str> = (0..4).filter_map(|group| digits.get(group * 8..group * 8 + 8)).collect();
            Some(groups.join("-").into_bytes())
        }
        _ => None,
    }
}

/// The key of an entry of which only its identity is known.
fn key_of(of: &EntryType, uuid: &EntryUuid) -> Option<Key> {
    let value = anchor_value(of, uuid)?;
    of.fields.get(&of.anchor)?.form.read(&value).map(Key::one)
}

/// An entry with its anchor, which 389 does not show in what it synchronises.
fn with_anchor(of: &EntryType, mut entry: protocol::Entry, uuid: &EntryUuid) -> protocol::Entry {
    if let Some(field) = of.fields.get(&of.anchor)
        && entry.values(&field.wire).is_empty()
        && let Some(value) = anchor_value(of, uuid)
    {
        entry.attributes.push((field.wire.clone(), vec![value]));
    }
    entry
}

impl LdapConnector {
    async fn begin_refresh(&self, search: Search, cookie: Option<&[u8]>) -> Result<Searching, Error> {
        // Of its own: whoever does not take answers at once keeps a connection's other searches waiting.
        let connection = self.directory.dial().await.map_err(Failure::error)?;
        connection.begin_search(search, &[sync::request(cookie)]).map_err(|lost| Failure::from(lost).error())
    }

    /// Where changes go on after everything is read: at the end of a refresh of nothing but names.
    pub(super) async fn cookie_of_now(&self, of: &EntryType) -> Result<Watermark, Error> {
        let mut searching = self.begin_refresh(of.search(vec!["1.1".to_owned()]), None).await?;
        loop {
            let message = searching.next(self.directory.access.timeout).await;
            if let Answer::Result(result) = message.map_err(|lost| Failure::from(lost).error())?.answer {
                if result.code != Code::SUCCESS {
                    return Err(Failure::refused(format!("synchronising {}", of.base), result).error());
                }
                let cookie = sync::done(&result.controls).map_err(nonsense)?;
                let cookie = cookie.ok_or_else(|| Error::Bug("the server gives no cookie to go on with".to_owned()))?;
                return Ok(Mark::Sync { cookie }.watermark());
            }
        }
    }

    pub(super) async fn changed_by_sync(
        &self,
        known: &Known,
        of: &EntryType,
        request: &ReadRequest,
        position: &Position,
    ) -> Result<ChangePage, Error> {
        let (mut searching, cookie) = match position {
            Position::Page(Cursor(bytes)) => {
                let lost = || Error::Expired { expired: Expired::Cursor };
                let id = Uuid::from_slice(bytes).map_err(|_| lost())?;
                self.refreshes.lock().await.0.remove(&id).ok_or_else(lost)?
            }
            Position::Start(watermark) => {
                let Some(Mark::Sync { cookie }) = watermark.as_ref().map(Mark::read).transpose()? else {
                    return Err(expired());
                };
                let search = of.search(wanted(of, &request.attributes)?);
                (self.begin_refresh(search, Some(&cookie)).await?, cookie)
            }
        };
        let (mut changed, mut gone): (Vec<_>, Vec<Entry>) = (Vec::new(), Vec::new());
        let end = loop {
            if changed.len() + gone.len() >= PAGE {
                break None;
            }
            let message = match searching.next(self.directory.access.timeout).await {
                Ok(message) => message,
                Err(_) if matches!(position, Position::Page(_)) => {
                    return Err(Error::Expired { expired: Expired::Cursor });
                }
                Err(lost) => return Err(Failure::from(lost).error()),
            };
            match message.answer {
                Answer::Entry(entry) => match sync::state(&message.controls).map_err(nonsense)? {
                    Some((State::Deleted, uuid)) => gone.extend(key_of(of, &uuid).map(removed)),
                    Some((State::Present, _)) => {}
                    Some((_, uuid)) => changed.push(with_anchor(of, entry, &uuid)),
                    None => changed.push(entry),
                },
                Answer::Intermediate { oid, value } if oid == SYNC_INFO => {
                    let uuids = sync::gone(&value).map_err(nonsense)?;
                    gone.extend(uuids.iter().filter_map(|uuid| key_of(of, uuid)).map(removed));
                }
                Answer::Elsewhere(urls) => self.must_be_whole(known, of, &urls)?,
                Answer::Intermediate { .. } => {}
                Answer::Result(result) if result.code == Code::SUCCESS => {
                    break Some(sync::done(&result.controls).map_err(nonsense)?);
                }
                Answer::Result(result) if FORGOTTEN.contains(&result.code) => return Err(expired()),
                Answer::Result(result) => {
                    return Err(Failure::refused(format!("synchronising {}", of.base), result).error());
                }
            }
        };
        let mut entries = self.whole_entries(known, of, request, changed).await?;
        entries.extend(gone);
        match end {
            // OpenLDAP reads everything for a cookie that it cannot make out, and gives an empty one.
            Some(Some(new)) if new.is_empty() => Err(expired()),
            // Without a new cookie nothing happened.
            Some(new) => Ok(page(entries, Next::Done(Mark::Sync { cookie: new.unwrap_or(cookie) }.watermark()))),
            None => {
                let id = Uuid::new_v4();
                let mut refreshes = self.refreshes.lock().await;
                if refreshes.0.len() >= MOST {
                    refreshes.0.clear();
                }
                refreshes.0.insert(id, (searching, cookie));
                Ok(page(entries, Next::Page(Cursor(id.as_bytes().to_vec()))))
            }
        }
    }
}
