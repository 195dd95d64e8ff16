//! Referrals (RFC 4511, section 4.1.10) and continuation references (section 4.5.3) that are followed: what a server
//! does not hold is asked of the one that it names. A name means the same entry everywhere, since whoever is found is
//! asked for by name again.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::protocol::control::Control;
use crate::protocol::dn::Dn;
use crate::protocol::message::{Code, Entry, LdapResult};
use crate::protocol::request::{Depth, Search};
use crate::session::connect::Server;
use crate::session::connection::{Connection, Found};
use crate::session::directory::{Directory, PAUSE};
use crate::session::failure::{Failure, Lost};
use crate::session::referral::{Place, Protection};

/// The longest chain of servers that refer to each other.
const HOPS: usize = 5;

/// The most places that one operation is taken to.
const MOST_PLACES: usize = 256;

/// Servers that a connection is kept to; all are given up for a further one.
const MOST_SERVERS: usize = 32;

/// How referrals are followed, and the connections to the servers that they lead to.
#[derive(Debug)]
pub(crate) struct Following {
    pub(super) protection: Protection,
    pub(super) servers: Mutex<HashMap<Server, Arc<Mutex<Link>>>>,
    /// Names that references lead to and nobody follows.
    left_out: RwLock<HashSet<String>>,
    /// The server does not say what is below a referral.
    keeps_silent: AtomicBool,
}

#[derive(Debug, Default)]
pub(super) struct Link {
    connection: Option<Connection>,
    failed: Option<(Instant, Failure)>,
}

/// One operation's way from server to server.
#[derive(Debug, Default)]
pub(crate) struct Journey {
    /// Server, name, depth, and what a referral narrows the search to.
    asked: HashSet<(Server, String, Depth, String)>,
    left: VecDeque<Leg>,
}

/// What is to be asked elsewhere.
#[derive(Debug)]
pub(super) struct Leg {
    /// Any of them will do.
    pub(super) urls: Vec<String>,
    pub(super) search: Search,
    pub(super) hops: usize,
    /// The very entry asked for is elsewhere, and not only a part of what is below it.
    pub(super) is_all: bool,
    /// What it answers stands for the whole operation.
    pub(super) replaces: bool,
}

/// A server to which a reference leads, and what to ask it.
#[derive(Debug)]
pub(crate) struct Stop {
    pub(crate) connection: Connection,
    pub(crate) search: Search,
    pub(crate) hops: usize,
    replaces: bool,
}

fn folded(dn: &str) -> String {
    Dn::parse(dn).map_or_else(|_| dn.to_lowercase(), |dn| dn.folded())
}

fn wrong(problem: String, fix: &str) -> Failure {
    Failure::Referral { problem, fix: fix.to_owned() }
}

pub(super) fn circle(urls: &[String], dn: &str) -> Failure {
    wrong(
        format!(
            "servers refer to each other in a circle: none of them holds {dn:?} (the last one names {})",
            told(urls)
        ),
        "correct the referrals, so that one of the servers holds the entry",
    )
}

fn told(urls: &[String]) -> String {
    if urls.is_empty() { "no server".to_owned() } else { urls.join(", ") }
}

/// An answer that never came, with the server that owes it.
pub(crate) fn lost(connection: &Connection, lost: &Lost) -> Failure {
    let problem = format!("{}, to which a referral leads: {}", connection.server(), lost.problem);
    Failure::Unreachable { problem, sent: lost.sent }
}

impl Journey {
    /// Begins with what this server was asked.
    pub(crate) fn of(connection: &Connection, search: &Search) -> Self {
        let mut journey = Self::default();
        journey.asked.insert((connection.server().clone(), folded(&search.base), search.depth, String::new()));
        journey
    }

    /// Notes what an answer says to be elsewhere, and tells it.
    pub(crate) fn note(
        &mut self,
        following: &Following,
        found: &mut Found,
        search: &Search,
        hops: usize,
        replaces: bool,
    ) -> Vec<String> {
        let leg = |urls, is_all, replaces| Leg { urls, search: search.clone(), hops: hops + 1, is_all, replaces };
        let mut told = Vec::new();
        if found.result.code == Code::REFERRAL {
            told.clone_from(&found.result.referrals);
            // Also of a part: what nobody holds would be missing without a word.
            self.left.push_front(leg(std::mem::take(&mut found.result.referrals), true, replaces));
        }
        for urls in std::mem::take(&mut found.elsewhere) {
            if !following.leaves_out(&urls) {
                told.extend(urls.iter().cloned());
                self.left.push_back(leg(urls, false, false));
            }
        }
        told
    }
}

impl Following {
    pub(crate) fn new(protection: Protection) -> Self {
        Self {
            protection,
            servers: Mutex::default(),
            left_out: RwLock::default(),
            keeps_silent: AtomicBool::new(false),
        }
    }

    /// From now on no reference to these names is followed.
    pub(crate) fn leave_out(&self, names: &[String]) {
        let names = names.iter().map(|name| folded(name)).collect();
        *self.left_out.write().unwrap_or_else(PoisonError::into_inner) = names;
    }

    /// From now on what is not there is looked for where a referral object above it leads.
    pub(crate) fn ask_above(&self) {
        self.keeps_silent.store(true, Ordering::Relaxed);
    }

    pub(super) fn asks_above(&self) -> bool {
        self.keeps_silent.load(Ordering::Relaxed)
    }

    /// Whether a reference is one of those that are not followed.
    pub(crate) fn leaves_out(&self, urls: &[String]) -> bool {
        let left_out = self.left_out.read().unwrap_or_else(PoisonError::into_inner);
        let dn = |url: &String| Place::parse(url, self.protection).ok()?.dn;
        // Of every domain of a forest, its child domains included.
        let is_zones =
            |dn: &str| ["dc=domaindnszones,", "dc=forestdnszones,"].iter().any(|zones| dn.starts_with(zones));
        let is_left_out = |dn: String| left_out.contains(&dn) || is_zones(&dn);
        !left_out.is_empty() && urls.iter().filter_map(dn).any(|dn| is_left_out(folded(&dn)))
    }

    /// As far as these URLs name places; why none of them does otherwise.
    fn places(&self, urls: &[String]) -> Result<Vec<Place>, String> {
        let mut places = Vec::new();
        let mut problems = Vec::new();
        for url in urls {
            match Place::parse(url, self.protection) {
                Ok(place) => places.push(place),
                Err(problem) => problems.push(format!("{url:?}: {problem}")),
            }
        }
        match (places.is_empty(), problems.is_empty()) {
            (false, _) => Ok(places),
            (true, true) => Err("no server is named".to_owned()),
            (true, false) => Err(problems.join("; ")),
        }
    }
}

impl Directory {
    /// The connection that is kept to a referred server, or a new one.
    pub(super) async fn referred(&self, following: &Following, server: &Server) -> Result<Connection, Failure> {
        let link = {
            let mut servers = following.servers.lock().await;
            if servers.len() >= MOST_SERVERS && !servers.contains_key(server) {
                servers.clear();
            }
            servers.entry(server.clone()).or_default().clone()
        };
        let mut link = link.lock().await;
        if let Some(connection) = link.connection.as_ref().filter(|connection| connection.broken().is_none()) {
            return Ok(connection.clone());
        }
        if let Some((when, failure)) = &link.failed
            && when.elapsed() < PAUSE
        {
            return Err(failure.clone());
        }
        let dialled = self.dial_referred(server).await;
        match &dialled {
            Ok(connection) => *link = Link { connection: Some(connection.clone()), failed: None },
            Err(failure) => *link = Link { connection: None, failed: Some((Instant::now(), failure.clone())) },
        }
        dialled
    }

    async fn dial_referred(&self, server: &Server) -> Result<Connection, Failure> {
        self.access.connect(server).await.map_err(|failure| match failure {
            Failure::SignIn(result) => Failure::SignIn(LdapResult { by: Some(server.to_string()), ..result }),
            other => other,
        })
    }

    /// The first of the places named that can be reached, with a connection; none where it was asked already.
    /// `is_own`: the connection is nobody else's.
    pub(super) async fn reach(
        &self,
        following: &Following,
        journey: &mut Journey,
        leg: &Leg,
        is_own: bool,
    ) -> Result<Option<(Place, Connection)>, Failure> {
        let (base, depth) = (&leg.search.base, leg.search.depth);
        if leg.hops > HOPS {
            let problem = format!(
                "more than {HOPS} servers refer to each other for {base:?} (the last one names {})",
                told(&leg.urls)
            );
            return Err(wrong(problem, "let referrals name the server that holds the entries"));
        }
        if journey.asked.len() > MOST_PLACES {
            let problem = format!("the entries below {base:?} are in more than {MOST_PLACES} places");
            return Err(wrong(problem, "make connections of their own to the servers that hold them"));
        }
        let places = following.places(&leg.urls).map_err(|problem| {
            let fix = "correct the referral in the directory: ldaps://host/dn, or ldap://host/dn";
            wrong(format!("the referral for {base:?} cannot be followed: {problem}"), fix)
        })?;
        let asked = |place: &Place| {
            let dn = place.dn.as_deref().unwrap_or(base);
            let narrowed = place.filter.as_ref().map(ToString::to_string).unwrap_or_default();
            (place.server.clone(), folded(dn), narrower(depth, place.depth), narrowed)
        };
        // Whoever was asked for a part has told it, whatever else holds it as well.
        if !leg.is_all && places.iter().any(|place| journey.asked.contains(&asked(place))) {
            return Ok(None);
        }
        let mut failed = None;
        for place in places {
            let key = asked(&place);
            if journey.asked.contains(&key) {
                continue;
            }
            if let Some(dn) = &place.dn
                && !is_place_of(dn, base, leg.is_all)
            {
                let problem = format!(
                    "a referral for {base:?} leads to {}, where the entries have other names: {dn:?}",
                    place.server
                );
                failed = Some(wrong(problem, "make a connection of its own to that server, with its `base`"));
                continue;
            }
            let connection = match is_own {
                true => self.dial_referred(&place.server).await,
                false => self.referred(following, &place.server).await,
            };
            match connection {
                Ok(connection) => {
                    journey.asked.insert(key);
                    return Ok(Some((place, connection)));
                }
                // Trying them everywhere locks accounts.
                Err(failure @ Failure::SignIn(_)) => return Err(failure),
                Err(failure) => failed = Some(failure),
            }
        }
        failed.map_or(Ok(None), Err)
    }

    /// Goes to the next place; none when all were asked.
    pub(crate) async fn next_stop(
        &self,
        following: &Following,
        journey: &mut Journey,
        is_own: bool,
    ) -> Result<Option<Stop>, Failure> {
        while let Some(leg) = journey.left.pop_front() {
            let Some((place, connection)) = self.reach(following, journey, &leg, is_own).await? else {
                if leg.is_all {
                    return Err(circle(&leg.urls, &leg.search.base));
                }
                continue;
            };
            // A referral says where to ask, and never for more than was asked for.
            let search = Search {
                base: place.dn.unwrap_or(leg.search.base),
                depth: narrower(leg.search.depth, place.depth),
                filter: leg.search.filter.and(place.filter),
                ..leg.search
            };
            return Ok(Some(Stop { connection, search, hops: leg.hops, replaces: leg.replaces }));
        }
        Ok(None)
    }

    /// What a search finds here and wherever its answer leads.
    pub(super) async fn gathered(
        &self,
        following: &Following,
        connection: &Connection,
        search: &Search,
        controls: &[Control],
        mut whole: Found,
    ) -> Result<Found, Failure> {
        let mut journey = Journey::of(connection, search);
        journey.note(following, &mut whole, search, 0, true);
        let mut names: HashSet<String> = whole.entries.iter().map(|entry| folded(&entry.dn)).collect();
        let is_enough = |count: usize| search.limit > 0 && count >= usize::try_from(search.limit).unwrap_or(usize::MAX);
        while let Some(stop) = self.next_stop(following, &mut journey, false).await? {
            let mut found = self.search_at(following, &stop, controls).await?;
            found.result.by = Some(stop.connection.server().to_string());
            journey.note(following, &mut found, &stop.search, stop.hops, stop.replaces);
            let new = found.entries.into_iter().filter(|entry| names.insert(folded(&entry.dn)));
            whole.entries.extend(new.map(|entry| Entry { by: found.result.by.clone(), ..entry }));
            match found.result.code {
                Code::REFERRAL => {}
                _ if stop.replaces => whole.result = found.result,
                Code::SUCCESS => {}
                Code::SIZE_LIMIT if search.limit > 0 => {}
                _ => return Err(Failure::refused(format!("searching {}", stop.search.base), found.result)),
            }
            if is_enough(whole.entries.len()) {
                break;
            }
        }
        Ok(whole)
    }

    /// Asked once more where the connection went: reading twice does no harm.
    async fn search_at(&self, following: &Following, stop: &Stop, controls: &[Control]) -> Result<Found, Failure> {
        let within = self.access.timeout;
        match stop.connection.search(stop.search.clone(), controls, within).await {
            Ok(found) => Ok(found),
            Err(_) => {
                let again = self.referred(following, stop.connection.server()).await?;
                let found = again.search(stop.search.clone(), controls, within).await;
                found.map_err(|problem| lost(&again, &Lost { sent: false, ..problem }))
            }
        }
    }
}

/// How deep a place is searched: as deep as was asked, where the entry alone was asked for, and else as it says itself.
fn narrower(asked: Depth, said: Option<Depth>) -> Depth {
    match asked {
        Depth::Base => Depth::Base,
        asked => said.unwrap_or(asked),
    }
}

/// Whether a place may hold what was asked for: that very entry, or something below it.
fn is_place_of(dn: &str, base: &str, is_all: bool) -> bool {
    match (Dn::parse(dn), Dn::parse(base)) {
        (Ok(dn), Ok(base)) if is_all => dn.is_same(&base),
        (Ok(dn), Ok(base)) => dn.is_within(&base),
        _ => false,
    }
}
