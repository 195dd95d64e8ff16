//! Changes by Active Directory's DirSync control (MS-ADTS 3.1.1.3.4.1.3): the server says whose attributes changed since
//! a cookie of its own, which all servers of the directory understand. What it says of whom is read from the entries.

use std::collections::HashMap;

use muster_connector::{ChangePage, Cursor, Error, Expired, Next, Position, ReadRequest, Watermark};
use muster_model::Key;

use super::{Mark, expired, page, removed};
use crate::connector::{Known, LdapConnector};
use crate::entries::EntryType;
use crate::protocol::control::{Control, synchronised};
use crate::protocol::filter::Filter;
use crate::protocol::message::{Code, Entry};
use crate::protocol::request::{Depth, Search};
use crate::rows::{key_of, wanted};
use crate::session::failure::Failure;

/// Keys in one search.
const TOGETHER: usize = 100;

/// How servers refuse a cookie that is none, or of another time or directory; Samba says that it has not the control.
const FORGOTTEN: [Code; 4] =
    [Code::UNWILLING, Code::PROTOCOL_ERROR, Code::OPERATIONS_ERROR, Code::UNAVAILABLE_CRITICAL_EXTENSION];

/// What a server says at a time.
struct Told {
    entries: Vec<Entry>,
    more: bool,
    cookie: Vec<u8>,
}

impl LdapConnector {
    async fn told_by_dirsync(
        &self,
        known: &Known,
        of: &EntryType,
        attributes: Vec<String>,
        cookie: &[u8],
    ) -> Result<Told, Error> {
        let class = of.classes.first().map(String::as_bytes).unwrap_or_default();
        let search = Search {
            // Nothing but the root of a naming context is taken.
            base: known.root.contexts.first().cloned().unwrap_or_default(),
            depth: Depth::Subtree,
            filter: Filter::equals("objectClass", class),
            attributes,
            limit: 0,
        };
        let what = format!("asking for the changes of {}", search.base);
        let found = self.directory.search(search, &[Control::dir_sync(cookie)]).await.map_err(Failure::error)?;
        match found.result.code {
            Code::SUCCESS => {}
            code if FORGOTTEN.contains(&code) && !cookie.is_empty() => return Err(expired()),
            _ => return Err(Failure::refused(what, found.result).error()),
        }
        let answer = synchronised(&found.result.controls).map_err(|malformed| Error::Bug(malformed.to_string()))?;
        let (more, cookie) = answer.ok_or_else(|| Error::Bug("the server gives no cookie to go on with".to_owned()))?;
        Ok(Told { entries: found.entries, more, cookie })
    }

    /// Where changes go on after everything is read: at the end of all names.
    pub(super) async fn dirsync_of_now(&self, known: &Known, of: &EntryType) -> Result<Watermark, Error> {
        let mut cookie = Vec::new();
        loop {
            let attributes = vec![of.anchor_field()?.wire.clone()];
            let told = self.told_by_dirsync(known, of, attributes, &cookie).await?;
            if !told.more {
                return Ok(Mark::Dirsync { cookie: told.cookie }.watermark());
            }
            cookie = told.cookie;
        }
    }

    pub(super) async fn changed_by_dirsync(
        &self,
        known: &Known,
        of: &EntryType,
        request: &ReadRequest,
        position: &Position,
    ) -> Result<ChangePage, Error> {
        let cookie = match position {
            Position::Page(Cursor(cookie)) => cookie.clone(),
            Position::Start(watermark) => match watermark.as_ref().map(Mark::read).transpose()? {
                Some(Mark::Dirsync { cookie }) => cookie,
                _ => return Err(expired()),
            },
        };
        let mut attributes = wanted(of, &request.attributes)?;
        let asked = attributes.clone();
        // Their changes are told, too: a new name, another place, an entry that the type's filter is to see or not.
        attributes.extend(["name", "isDeleted", "parentGUID"].map(str::to_owned));
        attributes.extend(of.filter.attributes());
        let told = match self.told_by_dirsync(known, of, attributes, &cookie).await {
            Err(Error::Expired { .. }) if matches!(position, Position::Page(_)) => {
                return Err(Error::Expired { expired: Expired::Cursor });
            }
            other => other?,
        };
        let is_deleted = |entry: &&Entry| entry.text("isDeleted") == Some("TRUE");
        let keys = |deleted: bool| {
            let some = told.entries.iter().filter(move |entry| is_deleted(entry) == deleted);
            some.filter_map(|entry| key_of(of, entry)).collect::<Vec<_>>()
        };
        let changed = keys(false);
        let mut found = self.of_type(of, &changed, &asked).await?;
        // Whoever changed and is out of the type's sight is gone from it.
        let gone = changed.iter().filter(|key| !found.contains_key(*key)).cloned().chain(keys(true));
        let gone: Vec<_> = gone.map(removed).collect();
        let entries = changed.iter().filter_map(|key| found.remove(key)).collect();
        let mut entries = self.whole_entries(known, of, request, entries).await?;
        entries.extend(gone);
        let next = match told.more {
            true => Next::Page(Cursor(told.cookie)),
            false => Next::Done(Mark::Dirsync { cookie: told.cookie }.watermark()),
        };
        Ok(page(entries, next))
    }

    /// The entries with these keys that the type sees.
    async fn of_type(&self, of: &EntryType, keys: &[Key], attributes: &[String]) -> Result<HashMap<Key, Entry>, Error> {
        let field = of.anchor_field()?;
        let mut all = HashMap::new();
        for keys in keys.chunks(TOGETHER) {
            let values = keys.iter().filter_map(|key| field.form.write(key.0.first()?).ok());
            let any = values.map(|value| Filter::equals(&field.wire, &value)).collect();
            let filter = of.filter.clone().and(Some(Filter::Or(any)));
            let found = self.find_all(Search { filter, ..of.search(attributes.to_vec()) }).await?;
            all.extend(found.into_iter().filter_map(|entry| Some((key_of(of, &entry)?, entry))));
        }
        Ok(all)
    }
}
