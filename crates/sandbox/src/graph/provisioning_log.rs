//! `GET /auditLogs/provisioning` (Microsoft Graph: list provisioningObjectSummary).

use chrono::DateTime;

use super::{jobs, listing};
use crate::http::reply::Reply;
use crate::http::request::Request;
use crate::provisioning::log::LogEntry;
use crate::refusal::Refusal;
use crate::state::Shared;

/// One comparison of `$filter`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Term {
    Job(String),
    /// In microseconds since 1970.
    Time(Order, i64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    After,
    From,
    Before,
    Until,
}

impl Term {
    fn passes(&self, entry: &LogEntry, job: &str) -> bool {
        match self {
            Self::Job(wanted) => wanted == job,
            Self::Time(order, time) => {
                let at = i64::try_from(entry.at).unwrap_or(i64::MAX).saturating_mul(1_000);
                match order {
                    Order::After => at > *time,
                    Order::From => at >= *time,
                    Order::Before => at < *time,
                    Order::Until => at <= *time,
                }
            }
        }
    }
}

pub(crate) fn list(shared: &Shared, request: &Request) -> Result<Reply, Refusal> {
    let now = shared.clock.now_millis();
    let admitted = shared.provisioning().limits.read(now);
    if let Err(excess) = admitted {
        return Ok(jobs::too_many(shared, request, &excess.what, excess.wait));
    }
    listing::refuse_other_options(request, &["filter", "orderby", "top", "skiptoken"])?;
    let terms = request.option("filter").map(terms).transpose()?.unwrap_or_default();
    let oldest_first = oldest_first(request.option("orderby"))?;
    let from = listing::start(request)?;
    let provisioning = shared.provisioning();
    let passes = |(_, entry): &(u64, &LogEntry)| terms.iter().all(|term| term.passes(entry, &shared.facts.job));
    let found = provisioning.visible(now).filter(passes);
    let write = |entry: &LogEntry, out: &mut Vec<u8>| {
        out.extend_from_slice(entry.json(shared).to_string().as_bytes());
    };
    let context = "auditLogs/provisioning";
    if oldest_first {
        return listing::page(request, context, None, found.filter(|(place, _)| *place >= from), write);
    }
    // Places are counted from the end, so that what appears meanwhile shifts no page.
    let found = found.rev().map(|(place, entry)| (u64::MAX - place, entry));
    listing::page(request, context, None, found.filter(|(place, _)| *place >= from), write)
}

fn oldest_first(order: Option<&str>) -> Result<bool, Refusal> {
    match order.map(|order| order.split_whitespace().collect::<Vec<_>>()).as_deref() {
        None | Some(["activityDateTime", "desc"]) => Ok(false),
        Some(["activityDateTime"] | ["activityDateTime", "asc"]) => Ok(true),
        Some(_) => Err(Refusal::unsupported_query("The sandbox orders by activityDateTime only.")),
    }
}

fn terms(filter: &str) -> Result<Vec<Term>, Refusal> {
    filter.split(" and ").map(|text| term(text).ok_or_else(|| refused(text))).collect()
}

fn term(text: &str) -> Option<Term> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let &[name, order, value] = words.as_slice() else { return None };
    if name.eq_ignore_ascii_case("jobId") && order == "eq" {
        return value.strip_prefix('\'')?.strip_suffix('\'').map(|job| Term::Job(job.to_owned()));
    }
    let order = match order {
        "gt" => Order::After,
        "ge" => Order::From,
        "lt" => Order::Before,
        "le" => Order::Until,
        _ => return None,
    };
    if name != "activityDateTime" {
        return None;
    }
    Some(Term::Time(order, DateTime::parse_from_rfc3339(value).ok()?.timestamp_micros()))
}

fn refused(text: &str) -> Refusal {
    Refusal::unsupported_query(format!(
        "Unsupported filter clause '{text}' (the sandbox knows jobId eq '…' and activityDateTime with gt, ge, lt and le, \
         joined by and)."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read() {
        let terms = terms("jobId eq 'API2AAD.x' and activityDateTime ge 1970-01-01T00:00:01Z").unwrap();
        assert_eq!(terms, [Term::Job("API2AAD.x".into()), Term::Time(Order::From, 1_000_000)]);
        for bad in ["", "jobId ne 'x'", "sourceIdentity/id eq 'x'", "activityDateTime gt yesterday", "jobId eq x"] {
            assert!(super::terms(bad).is_err(), "{bad}");
        }
    }
}
