//! Ordinary collections: options, paging and links (Microsoft Graph: query parameters, paging).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use crate::http::reply::Reply;
use crate::http::request::Request;
use crate::refusal::Refusal;

const DEFAULT_TOP: usize = 100;
const MOST_TOP: usize = 999;

/// Refuses what a collection does not support rather than ignoring it.
pub(crate) fn refuse_other_options(request: &Request, supported: &[&str]) -> Result<(), Refusal> {
    const KNOWN: [&str; 9] = ["select", "top", "filter", "count", "skiptoken", "orderby", "search", "expand", "skip"];
    match request.option_names().find(|name| KNOWN.contains(name) && !supported.contains(name)) {
        Some(name) => Err(Refusal::unsupported_query(format!("The sandbox does not support ${name} here."))),
        None => Ok(()),
    }
}

/// What Graph answers as advanced queries only, and what those cannot do (Microsoft Graph: advanced query capabilities).
pub(crate) fn refuse_plain_query(request: &Request, filter: &super::filter::Filter) -> Result<(), Refusal> {
    const ADVANCED: [&str; 4] = ["companyName", "employeeType", "businessPhones", "description"];
    let is_counted = is_advanced(request) && wants_count(request);
    match filter.properties().find(|name| !is_counted && ADVANCED.contains(name)) {
        Some(name) => Err(Refusal::unsupported_query(format!(
            "Filtering by '{name}' takes the header ConsistencyLevel: eventual and $count=true."
        ))),
        None => Ok(()),
    }
}

/// Advanced queries expand nothing.
pub(crate) fn refuse_expanded_count(request: &Request) -> Result<(), Refusal> {
    match wants_count(request) && request.option("expand").is_some() {
        true => Err(Refusal::unsupported_query("$expand is not supported with advanced query parameters.")),
        false => Ok(()),
    }
}

pub(crate) fn top(request: &Request) -> Result<usize, Refusal> {
    let Some(text) = request.option("top") else { return Ok(DEFAULT_TOP) };
    match text.parse() {
        Ok(top @ 1..=MOST_TOP) => Ok(top),
        _ => Err(Refusal::bad_request(format!(
            "Invalid page size specified: '{text}'. Must be between 1 and {MOST_TOP} inclusive."
        ))),
    }
}

pub(crate) fn start(request: &Request) -> Result<u64, Refusal> {
    let Some(token) = request.option("skiptoken") else { return Ok(0) };
    let bytes = URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| <[u8; 8]>::try_from(bytes).ok());
    bytes.map(u64::from_be_bytes).ok_or_else(|| Refusal::new(400, "Request_BadRequest", "The page token is malformed."))
}

/// Counting is an advanced query: without the header it is ignored.
pub(crate) fn wants_count(request: &Request) -> bool {
    request.option("count").is_some_and(|count| count.eq_ignore_ascii_case("true")) && is_advanced(request)
}

pub(crate) fn is_advanced(request: &Request) -> bool {
    request.header("consistencylevel").is_some_and(|level| level.eq_ignore_ascii_case("eventual"))
}

/// Writes one page: `items` are the matching ones from the start on with the places after them, `write` appends one.
pub(crate) fn page<T>(
    request: &Request,
    context: &str,
    count: Option<usize>,
    items: impl Iterator<Item = (u64, T)>,
    mut write: impl FnMut(T, &mut Vec<u8>),
) -> Result<Reply, Refusal> {
    let top = top(request)?;
    let mut json = Vec::new();
    let mut next = None;
    for (written, (place, item)) in items.enumerate() {
        if written == top {
            next = Some(place);
            break;
        }
        if written > 0 {
            json.push(b',');
        }
        write(item, &mut json);
    }
    let mut head = format!("{{\"@odata.context\":{}", Value::from(format!("{}/$metadata#{context}", request.root())));
    if let Some(count) = count {
        head.push_str(&format!(",\"@odata.count\":{count}"));
    }
    if let Some(place) = next {
        head.push_str(&format!(",\"@odata.nextLink\":{}", Value::from(next_link(request, place))));
    }
    let mut body = head.into_bytes();
    body.extend_from_slice(b",\"value\":[");
    body.append(&mut json);
    body.extend_from_slice(b"]}");
    Ok(Reply::graph(200, body))
}

fn next_link(request: &Request, place: u64) -> String {
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let path: Vec<String> = request.segments.iter().skip(1).map(|segment| encode(segment)).collect();
    let mut link = format!("{}/{}?", request.root(), path.join("/"));
    for name in ["select", "expand", "filter", "orderby", "top", "count"] {
        if let Some(value) = request.option(name) {
            link.push_str(&format!("${name}={}&", encode(value)));
        }
    }
    link.push_str(&format!("$skiptoken={}", URL_SAFE_NO_PAD.encode(place.to_be_bytes())));
    link
}
