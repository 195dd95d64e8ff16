//! Single objects, twenty to a call, and the references that a plain GET does not bring along.
//!
//! Source: <https://learn.microsoft.com/graph/json-batching>.

use std::collections::BTreeMap;

use muster_connector::{Change, EdgeChange, Entry, Error, SourceObject};
use muster_model::Key;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::decode;
use crate::edges;
use crate::error::{Failure, Refusal};
use crate::http::Answer;
use crate::layout::Layout;
use crate::retry::{LONGEST_BELIEVED, retry_after};
use crate::session::{Ask, Doubt, Patience, Session};

/// The most requests in a `$batch`.
pub(crate) const MOST_REQUESTS: usize = 20;

/// The most pages of one object's references; Graph sends 999 references to a page.
const MOST_PAGES: usize = 10_000;

/// What brings a manager along with whoever reports to them.
pub(crate) const EXPAND_MANAGER: &str = "$expand=manager($select=id)";

/// One GET of a `$batch`.
pub(crate) struct Get {
    /// Below the Graph URL.
    pub(crate) url: String,
    /// It is an advanced query (<https://learn.microsoft.com/graph/aad-advanced-queries>).
    pub(crate) advanced: bool,
}

#[derive(Serialize)]
struct Request<'a> {
    id: String,
    method: &'static str,
    url: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    headers: BTreeMap<&'static str, &'static str>,
}

#[derive(Deserialize)]
pub(crate) struct Responses {
    pub(crate) responses: Vec<Response>,
}

#[derive(Deserialize)]
pub(crate) struct Response {
    pub(crate) id: String,
    pub(crate) status: u16,
    #[serde(default)]
    headers: BTreeMap<String, serde_json::Value>,
    body: Option<Box<RawValue>>,
}

impl Response {
    pub(crate) fn header(&self, wanted: &str) -> Option<String> {
        let (_, value) = self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted))?;
        Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    }

    pub(crate) fn body(&self) -> &[u8] {
        self.body.as_ref().map_or(b"", |body| body.get().as_bytes())
    }
}

/// The objects with these keys and their references, in order.
pub(crate) async fn get(
    session: &Session,
    layout: &Layout,
    collection: &str,
    keys: &[Key],
) -> Result<Vec<Option<SourceObject>>, Failure> {
    let mut found = get_plain(session, layout, collection, keys).await?;
    for (_, slot) in layout.references.iter().filter(|(name, _)| *name != "manager") {
        for place in &mut found {
            let Some(object) = place else { continue };
            match references(session, layout, collection, &object.key, *slot).await? {
                Some(edges) => object.edges.extend(edges),
                // Gone since the object was read.
                None => *place = None,
            }
        }
    }
    Ok(found)
}

/// The objects with these keys, in order, without the references that take a request each.
pub(crate) async fn get_plain(
    session: &Session,
    layout: &Layout,
    collection: &str,
    keys: &[Key],
) -> Result<Vec<Option<SourceObject>>, Failure> {
    let mut query = format!("?$select={}", layout.plain_select);
    if layout.references.iter().any(|(name, _)| *name == "manager") {
        query.push('&');
        query.push_str(EXPAND_MANAGER);
    }
    // An id of other characters names nothing in a directory, and would not be a path segment.
    let url = |key: &Key| Some(Get { url: format!("/{collection}/{}{query}", id_of(key)?), advanced: false });
    let gets: Vec<Option<Get>> = keys.iter().map(url).collect();
    let entries = get_all(session, &gets, |body| decode::object(body, layout)).await?;
    let object = |entry: Entry| match entry.change {
        Change::Partial(row) => Some(SourceObject { key: entry.key, row, edges: entry.edges, continues: false }),
        _ => None,
    };
    Ok(entries.into_iter().map(|entry| entry.and_then(object)).collect())
}

/// What each GET brings, in order; none where there is nothing to ask or nothing is found.
pub(crate) async fn get_all<T>(
    session: &Session,
    gets: &[Option<Get>],
    read: impl Fn(&[u8]) -> Result<T, serde_json::Error> + Sync,
) -> Result<Vec<Option<T>>, Failure> {
    let mut found: Vec<Option<T>> = gets.iter().map(|_| None).collect();
    let asked: Vec<(usize, &Get)> =
        gets.iter().enumerate().filter_map(|(position, get)| Some((position, get.as_ref()?))).collect();
    for open in asked.chunks(MOST_REQUESTS) {
        get_few(session, open, &read, &mut found).await?;
    }
    Ok(found)
}

async fn get_few<T>(
    session: &Session,
    asked: &[(usize, &Get)],
    read: &(impl Fn(&[u8]) -> Result<T, serde_json::Error> + Sync),
    found: &mut [Option<T>],
) -> Result<(), Failure> {
    let mut open: Vec<usize> = (0..asked.len()).collect();
    let mut patience = Patience::default();
    while !open.is_empty() {
        let mut later = Vec::new();
        let mut pause = None;
        let mut problem = String::new();
        let mut limited = false;
        for response in send(session, asked, &open).await? {
            let number = response.id.parse().ok().filter(|number| open.contains(number));
            let Some((number, (position, _))) = number.and_then(|number| Some((number, asked.get(number)?))) else {
                continue;
            };
            match response.status {
                200 => match read(response.body()) {
                    Ok(value) => {
                        if let Some(place) = found.get_mut(*position) {
                            *place = Some(value);
                        }
                    }
                    Err(error) => {
                        problem = format!("Microsoft Graph sent a damaged object: {error}");
                        later.push(number);
                    }
                },
                404 => {}
                429 | 500 | 502..=504 => {
                    let asked = response.header("retry-after");
                    let asked = retry_after(asked.as_deref(), None, session.environment.now(), LONGEST_BELIEVED);
                    pause = pause.max(asked);
                    limited |= response.status == 429;
                    problem = format!("Microsoft Graph puts us off ({})", response.status);
                    later.push(number);
                }
                status => {
                    let request_id = response.header("request-id");
                    return Err(Failure::Refused(Refusal::read(status, response.body(), request_id.as_deref())));
                }
            }
        }
        if !later.is_empty() {
            session.put_off(&mut patience, problem, pause, limited).await?;
        }
        open = later;
    }
    Ok(())
}

/// Sends one `$batch`; an answer that leaves a request out is not taken.
async fn send(session: &Session, asked: &[(usize, &Get)], open: &[usize]) -> Result<Vec<Response>, Failure> {
    let requests: Vec<Request<'_>> = open
        .iter()
        .filter_map(|number| Some((number, asked.get(*number)?.1)))
        .map(|(number, get)| Request {
            id: number.to_string(),
            method: "GET",
            url: &get.url,
            headers: get.advanced.then_some(("ConsistencyLevel", "eventual")).into_iter().collect(),
        })
        .collect();
    let body = serde_json::to_vec(&BTreeMap::from([("requests", requests)]))
        .map_err(|error| Error::Bug(format!("the batch cannot be written: {error}")))?;
    let accept = |answer: &Answer| {
        let responses = serde_json::from_slice::<Responses>(&answer.body)
            .map_err(|error| Doubt::Again(format!("Microsoft Graph sent a damaged batch: {error}")))?
            .responses;
        let answered = |number: &usize| responses.iter().any(|response| response.id == number.to_string());
        if open.iter().all(answered) {
            Ok(responses)
        } else {
            Err(Doubt::Again("Microsoft Graph left out a part of a batch".to_owned()))
        }
    };
    let url = session.endpoints.graph("$batch", None);
    Ok(session.ask(&Ask::Batch(url, body), accept).await?.0)
}

/// All references of one kind of one object; `None` when the object is gone.
pub(crate) async fn references(
    session: &Session,
    layout: &Layout,
    collection: &str,
    key: &Key,
    slot: usize,
) -> Result<Option<Vec<EdgeChange>>, Failure> {
    let name = layout.references.iter().find(|(_, of)| *of == slot).map_or("members", |(name, _)| *name);
    let Some(id) = id_of(key) else { return Ok(None) };
    let mut url = session.endpoints.graph(&format!("{collection}/{id}/{name}"), Some("$select=id&$top=999"));
    let mut edges = Vec::new();
    for _ in 0..MOST_PAGES {
        let accept = |answer: &Answer| {
            edges::page(&answer.body, layout, slot)
                .map_err(|error| Doubt::Again(format!("Microsoft Graph sent a damaged page of {name}: {error}")))
        };
        let (found, next) = match session.ask(&Ask::Get(url), accept).await {
            Ok((page, _)) => page,
            Err(Failure::Refused(refusal)) if refusal.status == 404 => return Ok(None),
            Err(failure) => return Err(failure),
        };
        edges.extend(found);
        match next {
            Some(next) => url = session.endpoints.follow(next.as_bytes())?,
            None => return Ok(Some(edges)),
        }
    }
    Err(Failure::Host(Error::Bug(format!("the {name} of {id} do not end"))))
}

/// The key as a path segment.
pub(crate) fn id_of(key: &Key) -> Option<String> {
    let [value] = key.0.as_slice() else { return None };
    let id = value.to_string();
    let plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    (plain && !id.is_empty()).then_some(id)
}
