//! Reading.

use async_trait::async_trait;
use muster_connector::{
    Change, ChangePage, Cursor, Entry, Error, Expired, Next, Position, ReadPage, ReadRequest, Removal, Source,
    SourceObject, Watermark,
};
use muster_model::Key;
use reqwest::Method;
use serde_json::Value as Json;

use crate::People;
use crate::schema::{id, key, row};
use crate::service::Answer;

const PAGE: usize = 500;

#[async_trait]
impl Source for People {
    async fn read(&self, request: &ReadRequest, cursor: Option<&Cursor>) -> Result<ReadPage, Error> {
        let (after, watermark) = match cursor {
            Some(cursor) => (number(&cursor.0, "after ", Expired::Cursor)?, None),
            // Taken before the first page, so that what changes while the pages are read is read again.
            None => {
                let latest = latest(&self.service.done("/changes?limit=0").await?);
                (0, Some(Watermark(token("change ", latest))))
            }
        };
        let people = self.service.people(&format!("after={after}&limit={PAGE}")).await?;
        let last = people.last().and_then(|person| person.get("id")?.as_i64()).filter(|_| people.len() == PAGE);
        let objects = people.iter().filter_map(|person| found(person, request));
        Ok(ReadPage {
            objects: objects.collect(),
            next: last.map(|id| Cursor(token("after ", id))),
            watermark,
            source_time: None,
        })
    }

    async fn changes(&self, request: &ReadRequest, position: &Position) -> Result<ChangePage, Error> {
        let (given, expired) = match position {
            Position::Start(Some(Watermark(given))) => (given.as_slice(), Expired::Watermark),
            Position::Start(None) => (&[][..], Expired::Watermark),
            Position::Page(Cursor(given)) => (given.as_slice(), Expired::Cursor),
        };
        let after = number(given, "change ", expired)?;
        let path = format!("/changes?after={after}&limit={PAGE}");
        let page = match self.service.ask(Method::GET, &path, None).await? {
            Answer::Done(page) => page,
            _ => return Err(Error::Expired { expired }),
        };
        let changes = page.get("changes").and_then(Json::as_array).cloned().unwrap_or_default();
        let last = changes.last().and_then(|change| change.get("number")?.as_i64()).unwrap_or(after);
        let follows = token("change ", last);
        let more = last < latest(&page) && !changes.is_empty();
        let entry = |change: &Json| {
            let removed = Change::Removed(Removal::Hard);
            let person = change.get("person").filter(|person| !person.is_null());
            let change_of = person.map_or(removed, |person| Change::Whole(row(person, &request.attributes)));
            Some(Entry { key: key(change.get("id")?.as_i64()?), change: change_of, edges: Vec::new() })
        };
        Ok(ChangePage {
            entries: changes.iter().filter_map(entry).collect(),
            next: if more { Next::Page(Cursor(follows)) } else { Next::Done(Watermark(follows)) },
            source_time: None,
        })
    }

    async fn get(&self, request: &ReadRequest, keys: &[Key]) -> Result<Vec<Option<SourceObject>>, Error> {
        let mut objects = Vec::with_capacity(keys.len());
        for key in keys {
            objects.push(self.person(key).await?.and_then(|person| found(&person, request)));
        }
        Ok(objects)
    }
}

impl People {
    /// The person with the key.
    pub(crate) async fn person(&self, key: &Key) -> Result<Option<Json>, Error> {
        let Some(id) = id(key) else { return Ok(None) };
        match self.service.ask(Method::GET, &format!("/people/{id}"), None).await? {
            Answer::Done(person) => Ok(Some(person)),
            _ => Ok(None),
        }
    }
}

fn found(person: &Json, request: &ReadRequest) -> Option<SourceObject> {
    let key = key(person.get("id")?.as_i64()?);
    Some(SourceObject { key, row: row(person, &request.attributes), edges: Vec::new(), continues: false })
}

fn latest(page: &Json) -> i64 {
    page.get("latest").and_then(Json::as_i64).unwrap_or(0)
}

fn token(start: &str, number: i64) -> Vec<u8> {
    format!("{start}{number}").into_bytes()
}

/// The number in a watermark or cursor of ours.
fn number(token: &[u8], start: &str, expired: Expired) -> Result<i64, Error> {
    let digits = std::str::from_utf8(token).ok().and_then(|text| text.strip_prefix(start));
    digits.and_then(|digits| digits.parse().ok()).ok_or(Error::Expired { expired })
}
