//! Rounds of delta: how they begin, go on and end (Microsoft Graph: delta query overview).

use super::delta_token::{Feed, Round, Step};
use crate::directory::property::{GroupProperty, Mask, OWNERS, RELATIONSHIP, UserProperty};
use crate::directory::tenant::Tenant;
use crate::faults::ExpiredForm;
use crate::http::reply::Reply;
use crate::http::request::Request;
use crate::random::draw;
use crate::refusal::Refusal;
use crate::state::Shared;

/// How a fault changes a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DeltaMood {
    Normal,
    /// The next link leads to this page again.
    Loop,
    /// Every entry comes twice.
    Replay,
    /// No entry, and no next page.
    Empty,
}

/// The entries of a page as they are written.
#[derive(Debug, Default)]
pub(crate) struct Entries {
    pub(crate) json: Vec<u8>,
    pub(crate) count: usize,
}

impl Entries {
    /// Begins the next entry.
    pub(crate) fn begin(&mut self, id: &str) {
        if self.count > 0 {
            self.json.push(b',');
        }
        self.count += 1;
        self.push("{\"id\":\"");
        self.push(id);
        self.push("\"");
    }

    pub(crate) fn push(&mut self, text: &str) {
        self.json.extend_from_slice(text.as_bytes());
    }

    /// An object that is gone: `changed` while it can be restored, `deleted` for good.
    pub(crate) fn removed(&mut self, id: &str, reason: &str) {
        self.begin(id);
        self.push(",\"@removed\":{\"reason\":\"");
        self.push(reason);
        self.push("\"}}");
    }
}

/// What users and groups do differently.
pub(crate) trait Source {
    /// Fills a page from the round's cursor; the next cursor, or `None` at the end, and where the last entry stood.
    fn fill(&self, round: &Round, entries: &mut Entries) -> (Option<u64>, u64);
    /// Writes the entry at a cursor once more.
    fn repeat(&self, round: &Round, cursor: u64, entries: &mut Entries);
    /// Whether anything is left at the round's cursor.
    fn is_done(&self, round: &Round) -> bool;
}

/// The round that a request begins or goes on with.
pub(crate) struct Opening {
    pub(crate) round: Round,
    /// `$deltatoken=latest`: from now on, without any data.
    latest: bool,
    /// The names in the context of a first page.
    selected: Option<String>,
}

/// Reads the options of a delta request; `select` reads a `$select`, `log_end` and `total` describe the collection.
pub(crate) fn open(
    shared: &Shared,
    request: &Request,
    feed: Feed,
    select: impl Fn(Option<&str>) -> Result<Mask, Refusal>,
    slots: impl Fn(&str) -> Option<u32>,
    (log_end, total): (u64, u32),
) -> Result<Opening, Refusal> {
    refuse_other_options(request)?;
    let now = shared.clock.now();
    let minimal = request.header("prefer").is_some_and(|prefer| prefer.to_lowercase().contains("return=minimal"));
    let (token, step) = match (request.option("skiptoken"), request.option("deltatoken")) {
        (Some(token), _) => (Some(token), Step::Page),
        (None, Some(token)) if !token.is_empty() && !token.eq_ignore_ascii_case("latest") => (Some(token), Step::Link),
        _ => (None, Step::Link),
    };
    let Some(token) = token else {
        let only = only(request.option("filter"), slots)?;
        let round = Round {
            feed,
            step: Step::Page,
            minimal,
            paused: false,
            select: select(request.option("select"))?,
            since: None,
            end: log_end,
            total: if only.is_empty() { total } else { only.len() as u32 },
            cursor: 0,
            last: 0,
            issued: now,
            only,
        };
        let latest = request.option("deltatoken").is_some_and(|token| token.eq_ignore_ascii_case("latest"));
        return Ok(Opening { round, latest, selected: request.option("select").map(str::to_owned) });
    };
    if request.option("select").is_some() || request.option("filter").is_some() {
        return Err(Refusal::unsupported_query(
            "$select and $filter cannot be combined with a delta link or next link.",
        ));
    }
    let round = Round::unpack(shared.options.seed, token).filter(|round| round.feed == feed && round.step == step);
    let mut round = round.ok_or_else(|| Refusal::new(400, "BadRequest", "The token in the link is malformed."))?;
    check_age(shared, &round, now)?;
    if round.end > log_end {
        // Made by a run of the sandbox that knew more changes.
        return Err(expired(ExpiredForm::Gone));
    }
    if step == Step::Link {
        round = Round {
            step: Step::Page,
            since: Some(round.end),
            end: log_end,
            cursor: 0,
            last: 0,
            paused: false,
            minimal,
            ..round
        };
    }
    round.minimal |= minimal;
    Ok(Opening { round, latest: false, selected: None })
}

fn refuse_other_options(request: &Request) -> Result<(), Refusal> {
    const KNOWN: [&str; 4] = ["select", "filter", "deltatoken", "skiptoken"];
    const REFUSED: [&str; 7] = ["expand", "top", "orderby", "count", "search", "skip", "apply"];
    match request.option_names().find(|name| !KNOWN.contains(name) && REFUSED.contains(name)) {
        Some(name) => Err(Refusal::unsupported_query(format!(
            "The query parameter ${name} is not supported by delta query for this resource."
        ))),
        None => Ok(()),
    }
}

/// The ids of `id eq '…' or id eq '…'`, the only filter delta knows, at most 50 of them.
fn only(filter: Option<&str>, slots: impl Fn(&str) -> Option<u32>) -> Result<Vec<u32>, Refusal> {
    let Some(filter) = filter else { return Ok(Vec::new()) };
    let refused =
        || Refusal::unsupported_query("Delta query supports only filters of the form id eq '{value}', joined by or.");
    let mut only = Vec::new();
    let terms: Vec<&str> = filter.split(" or ").collect();
    if terms.len() > 50 {
        return Err(Refusal::unsupported_query("Delta query supports at most 50 ids in a filter."));
    }
    for term in terms {
        let words: Vec<&str> = term.trim().trim_matches(['(', ')']).split_whitespace().collect();
        let [name, "eq", value] = words.as_slice() else { return Err(refused()) };
        if !name.eq_ignore_ascii_case("id") {
            return Err(refused());
        }
        // An id that this tenant never had matches nothing.
        only.push(slots(value.trim_matches('\'')).unwrap_or(u32::MAX));
    }
    Ok(only)
}

fn check_age(shared: &Shared, round: &Round, now: u64) -> Result<(), Refusal> {
    let age = now.saturating_sub(round.issued);
    match round.step {
        Step::Page if age > shared.options.page_token_minutes.saturating_mul(60) => Err(expired(ExpiredForm::Page)),
        Step::Link if age > shared.options.delta_days.saturating_mul(86_400) => {
            Err(expired(shared.options.expired_form))
        }
        _ => Ok(()),
    }
}

/// The ways in which a link is refused as too old.
pub(crate) fn expired(form: ExpiredForm) -> Refusal {
    match form {
        ExpiredForm::Gone => {
            Refusal::new(410, "resyncRequired", "Resync required. Replace any local items with the server's version.")
        }
        ExpiredForm::NotFound => Refusal::new(
            400,
            "syncStateNotFound",
            "The sync state generation is not found. The delta token is expired; perform a full synchronization.",
        ),
        ExpiredForm::Older => Refusal::unsupported_query("DeltaLink older than 30 days is not supported."),
        ExpiredForm::Page => {
            Refusal::new(400, "Directory_ExpiredPageToken", "The specified page token value has expired.")
        }
    }
}

/// Where a client starts again: the first call, with an empty `$deltatoken`.
pub(crate) fn restart_link(shared: &Shared, request: &Request) -> String {
    let collection = request.segments.get(1).map_or("users", String::as_str);
    let token = request.option("deltatoken").or_else(|| request.option("skiptoken")).unwrap_or_default();
    let select =
        Round::unpack(shared.options.seed, token).map(|round| names_of(&round)).filter(|names| !names.is_empty());
    let select = select.map_or(String::new(), |names| format!("$select={}&", names.join(",")));
    format!("{}/{collection}/delta?{select}$deltatoken=", request.root())
}

fn names_of(round: &Round) -> Vec<&'static str> {
    let relationship = |mask, name| (round.select & mask != 0).then_some(name);
    match round.feed {
        Feed::Users => {
            let own = UserProperty::ALL.iter().filter(|property| round.select & property.bit() != 0);
            own.map(|property| property.name()).chain(relationship(RELATIONSHIP, "manager")).collect()
        }
        Feed::Groups => {
            let own = GroupProperty::ALL.iter().filter(|property| round.select & property.bit() != 0);
            let related = relationship(RELATIONSHIP, "members").into_iter().chain(relationship(OWNERS, "owners"));
            own.map(|property| property.name()).chain(related).collect()
        }
    }
}

/// Writes one page of the round.
pub(crate) fn page(
    shared: &Shared,
    request: &Request,
    tenant: &Tenant,
    opening: Opening,
    source: &impl Source,
    mood: DeltaMood,
) -> Reply {
    let round = opening.round;
    let mut entries = Entries::default();
    let next = if opening.latest || mood == DeltaMood::Empty {
        None
    } else if !round.paused
        && !source.is_done(&round)
        && chance(tenant, &round, 1, shared.options.oddities.empty_pages_percent)
    {
        Some(Round { paused: true, ..round.clone() })
    } else {
        if round.cursor > 0 && chance(tenant, &round, 2, shared.options.oddities.repeats_percent) {
            source.repeat(&round, round.last, &mut entries);
        }
        let (cursor, last) = source.fill(&round, &mut entries);
        cursor.map(|cursor| Round { cursor, last, paused: false, ..round.clone() })
    };
    if mood == DeltaMood::Replay && entries.count > 0 {
        let once = entries.json.clone();
        entries.json.push(b',');
        entries.json.extend_from_slice(&once);
    }
    let next = if mood == DeltaMood::Loop { Some(round.clone()) } else { next };

    let collection = if round.feed == Feed::Users { "users" } else { "groups" };
    let root = request.root();
    let context = match &opening.selected {
        Some(names) => format!("{collection}({names})"),
        None => collection.to_owned(),
    };
    // A loop is one and the same link, however long somebody goes round in it.
    let issued = if mood == DeltaMood::Loop { round.issued } else { shared.clock.now() };
    let (name, option, token) = match next {
        Some(next) => ("nextLink", "skiptoken", Round { issued, ..next }),
        None => ("deltaLink", "deltatoken", Round { step: Step::Link, minimal: false, issued, ..round }),
    };
    let mut body = Vec::with_capacity(entries.json.len() + 1_024);
    let head = format!(
        "{{\"@odata.context\":{},\"@odata.{name}\":\"{root}/{collection}/delta?${option}={}\",\"value\":[",
        serde_json::Value::from(format!("{root}/$metadata#{context}")),
        token.pack(shared.options.seed),
    );
    body.extend_from_slice(head.as_bytes());
    body.append(&mut entries.json);
    body.extend_from_slice(b"]}");
    Reply::graph(200, body)
}

fn chance(tenant: &Tenant, round: &Round, stream: u64, percent: u32) -> bool {
    draw(tenant.seed ^ round.end, 0xde_00 + stream, round.cursor) % 100 < u64::from(percent)
}
