//! Reading the provisioning log: paced, page by page, and no page twice without need.
//!
//! Sources: <https://learn.microsoft.com/graph/api/provisioningobjectsummary-list>,
//! <https://learn.microsoft.com/graph/throttling-limits> (reports: 5 requests in 10 seconds).

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use muster_connector::Error;
use tokio::sync::Mutex;
use url::Url;

use super::Inbound;
use super::entry::{Entry, Page};
use crate::connector::Entra;
use crate::error::{Refusal, setting, unreachable};
use crate::http::{Answer, Broken, MAX_PAGE, exchange};
use crate::permissions;
use crate::retry::{MOST_ATTEMPTS, own_pause};
use crate::session::{not_accepted, proxy_sign_in};

/// Calls in [`RATE_SPAN`]: a second more than the limit's ten, since calls do not all travel equally long.
const RATE: usize = 5;
const RATE_SPAN: Duration = Duration::from_secs(11);

/// Entries appear 5 to 10 minutes late, so each reading begins so long before the last one did.
const OVERLAP: TimeDelta = TimeDelta::minutes(30);

/// What appears later still is found by reading everything anew, so often.
const WHOLE_AGAIN: Duration = Duration::from_secs(3_600);

/// So many pages are read in one call of the host; the next one goes on from there.
const MOST_PAGES: usize = 10;

const PAGE_SIZE: usize = 999;

/// The longest pause that is waited out in place.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What is known of the log.
#[derive(Debug, Default)]
pub(super) struct LogReader(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// By what a person is called, in the order of their times.
    entries: HashMap<String, Vec<Entry>>,
    seen: HashSet<String>,
    /// From here on everything was read that had appeared.
    covered_from: Option<DateTime<Utc>>,
    /// When the last finished reading began, by Entra's clock and by ours.
    finished: Option<(DateTime<Utc>, Duration)>,
    /// When everything was last read, by our clock.
    whole: Option<Duration>,
    under_way: Option<UnderWay>,
    calls: VecDeque<Duration>,
    closed_until: Duration,
    /// Entra's clock, and ours at that moment.
    clock: Option<(DateTime<Utc>, Duration)>,
}

#[derive(Debug, Clone)]
struct UnderWay {
    next: Url,
    from: DateTime<Utc>,
    began: Option<(DateTime<Utc>, Duration)>,
    whole: bool,
}

/// What the log says, for one answer to the host.
#[derive(Debug)]
pub(super) struct Reading {
    entries: HashMap<String, Vec<Entry>>,
    /// Entra's time.
    pub(super) now: DateTime<Utc>,
    /// Everything asked for was read to its end.
    pub(super) complete: bool,
}

impl Reading {
    /// The entries about a person from `since` on, oldest first.
    pub(super) fn about(&self, person: &str, since: DateTime<Utc>) -> Vec<&Entry> {
        self.entries.get(person).into_iter().flatten().filter(|entry| entry.at >= since).collect()
    }
}

impl State {
    /// What to read next, or nothing if the last reading is fresh enough.
    fn plan(&mut self, entra: &Entra, inbound: &Inbound, oldest: DateTime<Utc>) -> Option<UnderWay> {
        let elapsed = entra.session.environment.elapsed();
        if let Some(under_way) = self.under_way.clone().filter(|under_way| under_way.from <= oldest) {
            return Some(under_way);
        }
        let covered = self.covered_from.filter(|from| *from <= oldest);
        let recent = |since: Duration, span: Duration| elapsed.saturating_sub(since) < span;
        let (from, whole) = match (covered, self.finished, self.whole) {
            (Some(_), Some((_, ended)), _) if recent(ended, inbound.look_again.min(Duration::from_secs(60))) => {
                return None;
            }
            (Some(covered), Some((began, _)), Some(whole)) if recent(whole, WHOLE_AGAIN) => {
                (covered.max(began - OVERLAP), false)
            }
            (Some(covered), ..) => {
                // What nobody waits for any more need not be read again.
                let reach =
                    TimeDelta::from_std(inbound.confirm_within).unwrap_or(TimeDelta::days(1)) + TimeDelta::hours(1);
                (covered.max(self.now(entra) - reach).min(oldest), true)
            }
            (None, ..) => (oldest, true),
        };
        // `ge` is not documented for the log, `gt` is.
        let since = (from - TimeDelta::seconds(1)).to_rfc3339_opts(SecondsFormat::Secs, true);
        let filter = format!("jobId eq '{}' and activityDateTime gt {since}", inbound.job);
        let mut next = entra.session.endpoints.graph("auditLogs/provisioning", None);
        next.query_pairs_mut()
            .append_pair("$filter", &filter)
            .append_pair("$orderby", "activityDateTime")
            .append_pair("$top", &PAGE_SIZE.to_string());
        Some(UnderWay { next, from, began: None, whole })
    }

    fn now(&self, entra: &Entra) -> DateTime<Utc> {
        let environment = &entra.session.environment;
        match self.clock {
            Some((time, at)) => time + (environment.elapsed().saturating_sub(at)),
            None => environment.now(),
        }
    }

    fn absorb(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            if !self.seen.insert(entry.id.clone()) {
                continue;
            }
            for name in &entry.about {
                let known = self.entries.entry(name.clone()).or_default();
                let place = known.partition_point(|other| other.at <= entry.at);
                known.insert(place, entry.clone());
            }
        }
    }

    fn finish(&mut self, under_way: &UnderWay, elapsed: Duration) {
        self.under_way = None;
        self.covered_from = Some(self.covered_from.map_or(under_way.from, |known| known.min(under_way.from)));
        self.finished = under_way.began.map(|(began, _)| (began, elapsed));
        if under_way.whole {
            self.whole = Some(elapsed);
        }
    }

    /// Forgets what is older than anybody may still ask for.
    fn forget_before(&mut self, time: DateTime<Utc>) {
        let mut gone = HashSet::new();
        self.entries.retain(|_, entries| {
            entries.retain(|entry| {
                let kept = entry.at >= time;
                if !kept {
                    gone.insert(entry.id.clone());
                }
                kept
            });
            !entries.is_empty()
        });
        self.seen.retain(|id| !gone.contains(id));
        if !gone.is_empty() {
            self.covered_from = self.covered_from.map(|from| from.max(time));
        }
    }
}

impl Entra {
    /// Reads on in the log and says what it holds about these people since `oldest`.
    pub(super) async fn read_log(
        &self,
        inbound: &Inbound,
        people: &HashSet<&str>,
        oldest: DateTime<Utc>,
    ) -> Result<Reading, Error> {
        let mut state = inbound.log.0.lock().await;
        for _ in 0..MOST_PAGES {
            let Some(mut under_way) = state.plan(self, inbound, oldest) else { break };
            let answer = self.log_page(&mut state, &under_way.next).await?;
            let elapsed = self.session.environment.elapsed();
            let server = answer.date().unwrap_or_else(|| self.session.environment.now());
            state.clock = Some((server, elapsed));
            under_way.began = under_way.began.or(Some((server, elapsed)));
            let page: Page = serde_json::from_slice(&answer.body).map_err(|error| {
                unreachable(format!("Microsoft Graph sent no page of the provisioning log: {error}"))
            })?;
            let (entries, next) = page.entries(&inbound.job);
            state.absorb(entries);
            match next {
                Some(link) => {
                    let next = self.session.endpoints.follow(link.as_bytes())?;
                    if next == under_way.next {
                        state.under_way = None;
                        return Err(unreachable("the provisioning log names the same page as the next one"));
                    }
                    state.under_way = Some(UnderWay { next, ..under_way });
                }
                None => {
                    state.finish(&under_way, elapsed);
                    break;
                }
            }
        }
        let now = state.now(self);
        let entries = people
            .iter()
            .filter_map(|person| Some(((*person).to_owned(), state.entries.get(*person)?.clone())))
            .collect();
        let complete = state.under_way.is_none();
        let reach = TimeDelta::from_std(inbound.confirm_within).unwrap_or(TimeDelta::days(1)) + TimeDelta::days(1);
        state.forget_before(oldest.min(now - reach));
        Ok(Reading { entries, now, complete })
    }

    /// One page, asked for again while that may help.
    async fn log_page(&self, state: &mut State, url: &Url) -> Result<Answer, Error> {
        let environment = &self.session.environment;
        let mut renewed = false;
        let mut failures = 0;
        loop {
            let token = self.session.tokens.token().await?;
            self.pace(state).await?;
            let request = self.session.authorised(self.session.client.get(url.clone()), url, &token)?;
            let answer = match exchange(request, MAX_PAGE).await {
                Ok(answer) if answer.status == 200 => return Ok(answer),
                Ok(answer) => Ok(answer),
                Err(Broken::Unsent(problem) | Broken::Transient(problem)) => Err(problem),
                Err(Broken::TooLarge(limit)) => {
                    return Err(Error::Bug(format!("the provisioning log sent more than {limit} bytes at once")));
                }
            };
            let problem = match answer {
                Err(problem) => format!("the provisioning log cannot be read: {problem}"),
                Ok(answer) => {
                    let refusal = Refusal::read(answer.status, &answer.body, answer.header("request-id"));
                    let pause = answer.retry_after(environment.now());
                    match answer.status {
                        401 if !renewed => {
                            self.session.tokens.forget(&token).await;
                            renewed = true;
                            continue;
                        }
                        401 => return Err(not_accepted(&refusal)),
                        403 => {
                            self.session.tokens.forget(&token).await;
                            return Err(self.log_refused(&refusal));
                        }
                        407 => return Err(proxy_sign_in()),
                        300..=399 => return Err(self.session.redirected(&answer)),
                        429 => {
                            let pause = pause.unwrap_or(RATE_SPAN);
                            state.closed_until = environment.elapsed() + pause;
                            failures += 1;
                            let problem = format!("Microsoft Graph limits reading the log ({})", refusal.describe());
                            if pause > LONGEST_PAUSE || failures >= MOST_ATTEMPTS {
                                return Err(Error::Throttled { problem, after: pause });
                            }
                            continue;
                        }
                        // A link to a page that is too old begins anew.
                        400 | 404 | 410 if state.under_way.is_some() => {
                            state.under_way = None;
                            return Err(unreachable(format!(
                                "a page of the provisioning log is no longer there ({})",
                                refusal.describe()
                            )));
                        }
                        status if status >= 500 || status == 408 => {
                            if let Some(pause) = pause {
                                state.closed_until = environment.elapsed() + pause;
                            }
                            format!("the provisioning log fails ({})", refusal.describe())
                        }
                        _ => {
                            return Err(setting(
                                "graph_url",
                                format!("the provisioning log cannot be asked ({})", refusal.describe()),
                                "correct or remove graph_url; it ends in the version, such as /v1.0",
                            ));
                        }
                    }
                }
            };
            failures += 1;
            if failures >= MOST_ATTEMPTS {
                return Err(unreachable(problem));
            }
            environment.sleep(own_pause(failures, &**environment)).await;
        }
    }

    /// Waits until the log may be asked again.
    async fn pace(&self, state: &mut State) -> Result<(), Error> {
        let environment = &self.session.environment;
        loop {
            let now = environment.elapsed();
            while state.calls.front().is_some_and(|call| now.saturating_sub(*call) >= RATE_SPAN) {
                state.calls.pop_front();
            }
            let full = state.calls.len().checked_sub(RATE).and_then(|over| state.calls.get(over));
            let free_at = full.map_or(Duration::ZERO, |call| *call + RATE_SPAN).max(state.closed_until);
            let wait = free_at.saturating_sub(now);
            if wait.is_zero() {
                state.calls.push_back(now);
                return Ok(());
            }
            if wait > LONGEST_PAUSE {
                let problem = "Microsoft Graph asked for a pause before the log is read again".to_owned();
                return Err(Error::Throttled { problem, after: wait });
            }
            environment.sleep(wait).await;
        }
    }

    /// The log may not be read.
    pub(super) fn log_refused(&self, refusal: &Refusal) -> Error {
        Error::Credentials {
            problem: format!("{} ({})", permissions::problem(&[permissions::READ_LOG]), refusal.describe()),
            fix: permissions::fix(self.has_managed_identity()),
        }
    }

    /// Asks the log for one line, to see whether it may be read.
    pub(super) async fn probe_log(&self, inbound: &Inbound) -> Result<(), Error> {
        let mut state = inbound.log.0.lock().await;
        let mut url = self.session.endpoints.graph("auditLogs/provisioning", None);
        let filter = format!("jobId eq '{}'", inbound.job);
        url.query_pairs_mut().append_pair("$filter", &filter).append_pair("$top", "1");
        self.log_page(&mut state, &url).await.map(drop)
    }
}
