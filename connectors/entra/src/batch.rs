//! Single objects, twenty to a call, and the references that a plain GET does not bring along.
//!
//! Source: <https://learn.microsoft.com/graph/json-batching>.

use std::collections::BTreeMap;

use muster_connector::{Change, EdgeChange, Error, SourceObject};
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
const MOST_REQUESTS: usize = 20;

/// The most pages of one object's references; Graph sends 999 references to a page.
const MOST_PAGES: usize = 10_000;

#[derive(Serialize)]
struct Request<'a> {
    id: String,
    method: &'static str,
    url: &'a str,
}

#[derive(Deserialize)]
struct Responses {
    responses: Vec<Response>,
}

#[derive(Deserialize)]
struct Response {
    id: String,
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, serde_json::Value>,
    body: Option<Box<RawValue>>,
}

impl Response {
    fn header(&self, wanted: &str) -> Option<String> {
        let (_, value) = self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted))?;
        Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    }

    fn body(&self) -> &[u8] {
        self.body.as_ref().map_or(b"", |body| body.get().as_bytes())
    }
}

/// The objects with these keys, in order.
pub(crate) async fn get(
    session: &Session,
    layout: &Layout,
    collection: &str,
    keys: &[Key],
) -> Result<Vec<Option<SourceObject>>, Failure> {
    let mut found = Vec::with_capacity(keys.len());
    for keys in keys.chunks(MOST_REQUESTS) {
        found.extend(get_few(session, layout, collection, keys).await?);
    }
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

async fn get_few(
    session: &Session,
    layout: &Layout,
    collection: &str,
    keys: &[Key],
) -> Result<Vec<Option<SourceObject>>, Failure> {
    let mut found: Vec<Option<SourceObject>> = keys.iter().map(|_| None).collect();
    let mut query = format!("?$select={}", layout.plain_select);
    if layout.references.iter().any(|(name, _)| *name == "manager") {
        query.push_str("&$expand=manager($select=id)");
    }
    // An id of other characters names nothing in a directory, and would not be a path segment.
    let mut open: Vec<(usize, String)> = keys
        .iter()
        .enumerate()
        .filter_map(|(position, key)| Some((position, id_of(key)?)))
        .map(|(position, id)| (position, format!("/{collection}/{id}{query}")))
        .collect();
    let mut patience = Patience::default();
    while !open.is_empty() {
        let mut later = Vec::new();
        let mut pause = None;
        let mut problem = String::new();
        let mut limited = false;
        for response in send(session, &open).await? {
            let Some((position, url)) =
                response.id.parse().ok().and_then(|id: usize| open.iter().find(|(position, _)| *position == id))
            else {
                continue;
            };
            match response.status {
                200 => match decode::object(response.body(), layout) {
                    Ok(entry) => {
                        if let (Some(place), Change::Partial(row)) = (found.get_mut(*position), entry.change) {
                            *place = Some(SourceObject { key: entry.key, row, edges: entry.edges, continues: false });
                        }
                    }
                    Err(error) => {
                        problem = format!("Microsoft Graph sent a damaged object: {error}");
                        later.push((*position, url.clone()));
                    }
                },
                404 => {}
                429 | 500 | 502..=504 => {
                    let asked = response.header("retry-after");
                    let asked = retry_after(asked.as_deref(), None, session.environment.now(), LONGEST_BELIEVED);
                    pause = pause.max(asked);
                    limited |= response.status == 429;
                    problem = format!("Microsoft Graph puts us off ({})", response.status);
                    later.push((*position, url.clone()));
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
    Ok(found)
}

/// Sends one `$batch`; an answer that leaves a request out is not taken.
async fn send(session: &Session, open: &[(usize, String)]) -> Result<Vec<Response>, Failure> {
    let requests: Vec<Request<'_>> =
        open.iter().map(|(position, url)| Request { id: position.to_string(), method: "GET", url }).collect();
    let body = serde_json::to_vec(&BTreeMap::from([("requests", requests)]))
        .map_err(|error| Error::Bug(format!("the batch cannot be written: {error}")))?;
    let accept = |answer: &Answer| {
        let responses = serde_json::from_slice::<Responses>(&answer.body)
            .map_err(|error| Doubt::Again(format!("Microsoft Graph sent a damaged batch: {error}")))?
            .responses;
        let answered = |position: &usize| responses.iter().any(|response| response.id == position.to_string());
        if open.iter().all(|(position, _)| answered(position)) {
            Ok(responses)
        } else {
            Err(Doubt::Again("Microsoft Graph left out a part of a batch".to_owned()))
        }
    };
    let url = session.endpoints.graph("$batch", None);
    Ok(session.ask(&Ask::Batch(url, body), accept).await?.0)
}

/// All references of one kind of one object; `None` when the object is gone.
async fn references(
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
fn id_of(key: &Key) -> Option<String> {
    let [value] = key.0.as_slice() else { return None };
    let id = value.to_string();
    let plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    (plain && !id.is_empty()).then_some(id)
}
