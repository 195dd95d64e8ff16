//! The source side.

use std::collections::BTreeMap;

use async_trait::async_trait;
use muster_connector::{
    Change, ChangePage, Cursor, Entry, Error, Expired, Next, Position, ReadPage, ReadRequest, Removal, Source,
    SourceObject, Watermark,
};
use muster_model::{Key, Row, Slot};

use crate::connector::Memory;
use crate::mutants::Mutant;
use crate::system::Fields;

const PAGE: usize = 5;

pub(crate) fn row(request: &ReadRequest, fields: &Fields) -> Row {
    let slot = |name: &String| fields.get(name).cloned().unwrap_or(Slot::Null);
    Row(request.attributes.iter().map(slot).collect())
}

/// Generation and position of a token.
fn parts(token: &[u8]) -> Option<(u32, String)> {
    let text = std::str::from_utf8(token).ok()?;
    let (generation, position) = text.split_once(':')?;
    Some((generation.parse().ok()?, position.to_owned()))
}

fn hex(key: &Key) -> String {
    key.encode().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Key> {
    let byte = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..text.len()).step_by(2).map(byte).collect();
    Key::decode(&bytes?).ok()
}

#[async_trait]
impl Source for Memory {
    async fn read(&self, request: &ReadRequest, cursor: Option<&Cursor>) -> Result<ReadPage, Error> {
        self.alive()?;
        self.known(&request.object_type)?;
        let mut system = self.system();
        let generation = system.generation;
        let expired = Error::Expired { expired: Expired::Cursor };
        let position = cursor.map(|cursor| parts(&cursor.0).ok_or(expired.clone())).transpose()?;
        let table = system.table(&request.object_type);
        let head = table.changes.len();
        let rows: Vec<(&Key, &Fields)> = table.rows.iter().collect();
        let start = match &position {
            None => 0,
            Some((_, at)) if self.is(Mutant::PagesByOffset) => at.parse().map_err(|_| expired)?,
            // Counted from the end, so that what is added pushes others out.
            Some((_, at)) if self.is(Mutant::PagesByRest) => {
                rows.len().saturating_sub(at.parse().map_err(|_| expired)?)
            }
            Some((_, at)) => {
                let after = unhex(at).ok_or(expired)?;
                rows.iter().position(|(key, _)| **key > after).unwrap_or(rows.len())
            }
        };
        let page: Vec<_> = rows.iter().skip(start).take(PAGE).collect();
        let mut objects: Vec<SourceObject> = page
            .iter()
            .map(|(key, fields)| SourceObject {
                key: (*key).clone(),
                row: row(request, fields),
                edges: Vec::new(),
                continues: false,
            })
            .collect();
        let end = start + objects.len();
        let next = (end < rows.len()).then(|| match page.last() {
            _ if self.is(Mutant::PagesByOffset) => end.to_string(),
            _ if self.is(Mutant::PagesByRest) => (rows.len() - end).to_string(),
            Some((key, _)) => hex(key),
            None => String::new(),
        });
        if self.is(Mutant::LastRowForgotten) && next.is_none() {
            objects.pop();
        }
        if next.is_none() {
            system.late = head;
        }
        let mark = if self.is(Mutant::WatermarkAfterData) { "late".to_owned() } else { head.to_string() };
        let token = |position: String| format!("{generation}:{position}").into_bytes();
        Ok(ReadPage {
            objects,
            next: next.map(|next| Cursor(token(next))),
            watermark: cursor.is_none().then(|| Watermark(token(mark))),
            source_time: None,
        })
    }

    async fn changes(&self, request: &ReadRequest, position: &Position) -> Result<ChangePage, Error> {
        self.alive()?;
        self.known(&request.object_type)?;
        let mut system = self.system();
        let generation = system.generation;
        let token = match position {
            Position::Start(None) => return Err(Error::Unsupported("a full round of changes".to_owned())),
            Position::Start(Some(Watermark(token))) | Position::Page(Cursor(token)) => token,
        };
        let expired = Error::Expired { expired: Expired::Watermark };
        let parsed = parts(token);
        let (of, at) = match parsed {
            Some(parsed) => parsed,
            None if self.is(Mutant::ForeignTokenTaken) => (generation, "0".to_owned()),
            None => return Err(expired),
        };
        if of != generation && !self.is(Mutant::ExpiredHonoured) {
            return Err(expired);
        }
        let mut from: usize = if at == "late" { system.late } else { at.parse().map_err(|_| expired.clone())? };
        if self.is(Mutant::ReadOnceOnly) {
            from = from.max(system.served);
        }
        let table = system.table(&request.object_type);
        let head = table.changes.len();
        if from > head {
            if !self.is(Mutant::FutureHonoured) {
                return Err(expired);
            }
            from = head;
        }
        let until = (from + PAGE).min(head);
        let mut last: BTreeMap<Key, bool> = BTreeMap::new();
        for (key, removed) in &table.changes[from..until] {
            last.insert(key.clone(), *removed);
        }
        let mut entries: Vec<Entry> = Vec::new();
        for (key, removed) in last {
            let change = match table.rows.get(&key) {
                Some(fields) => Change::Whole(row(request, fields)),
                None => Change::Removed(Removal::Hard),
            };
            let left_out = removed && self.is(Mutant::DeletesInvisible);
            if !left_out {
                entries.push(Entry { key, change, edges: Vec::new() });
            }
        }
        if self.is(Mutant::ChangeForgotten) {
            entries.pop();
        }
        let more = until < head && !self.is(Mutant::SameInstantCut);
        let end = if self.is(Mutant::GapBetweenRounds) { head + 1 } else { head };
        let next = if more {
            Next::Page(Cursor(format!("{generation}:{until}").into_bytes()))
        } else {
            system.served = system.served.max(head);
            Next::Done(Watermark(
                format!("{generation}:{}", if self.is(Mutant::GapBetweenRounds) { end } else { head }).into_bytes(),
            ))
        };
        Ok(ChangePage { entries, next, source_time: None })
    }

    async fn get(&self, request: &ReadRequest, keys: &[Key]) -> Result<Vec<Option<SourceObject>>, Error> {
        self.alive()?;
        self.known(&request.object_type)?;
        let mut system = self.system();
        let table = system.table(&request.object_type);
        let of = |key: &Key| {
            let fields = table.rows.get(key)?;
            Some(SourceObject { key: key.clone(), row: row(request, fields), edges: Vec::new(), continues: false })
        };
        let mut found: Vec<_> = keys.iter().map(of).collect();
        if self.is(Mutant::SourceGetSorted) {
            found.sort_by_key(|one| one.as_ref().map(|one| one.key.clone()));
        }
        Ok(found)
    }
}
