//! The service's memory and its decisions.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::Local;
use muster_connector::Connector;
use muster_engine::{Clock as _, Engine, ErrorClass, LifecycleClock, Stop, SyncRules, SystemClock};
use muster_settings::{Settings, SyncSettings};
use muster_store::SyncId;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::backoff;
use super::board::{Board, Failing, Follower};
use super::job::{self, Ended, Job, Trouble};
use super::platform::Supervisor;
use super::schedule::{Decision, Mode, Plan, Standing, decide};
use super::told::Told;
use super::upkeep::Upkeep;
use crate::exit::Failure;
use crate::passwords::Receivers;
use crate::world::{self, State};

/// Cycles at the same time.
const MOST_AT_ONCE: usize = 4;

/// The service.
pub(crate) struct Service {
    config: PathBuf,
    settings: Arc<Settings>,
    state: State,
    clock: Arc<LifecycleClock>,
    stop: Stop,
    board: Arc<Board>,
    supervisor: Supervisor,
    connections: HashMap<String, Arc<dyn Connector>>,
    /// Connections that could not be reached: how often in a row, and until when they are left alone.
    down: BTreeMap<String, (u32, i64)>,
    syncs: BTreeMap<String, Sync>,
    jobs: JoinSet<Ended>,
    /// What running cycles have to themselves, and which sync's cycle it is.
    in_use: HashMap<String, String>,
    upkeep: Upkeep,
}

/// A sync between cycles.
struct Sync {
    settings: SyncSettings,
    rules: SyncRules,
    plan: Plan,
    id: Option<SyncId>,
    is_running: bool,
    started: Option<i64>,
    started_wall: i64,
    request: Option<i64>,
    paused: Option<String>,
    due: Option<i64>,
    failed: Option<Failed>,
    has_counts: bool,
    notes: Told,
}

struct Failed {
    trouble: Trouble,
    times: u32,
    retry_at: Option<i64>,
}

impl Sync {
    fn new(settings: &SyncSettings, now_wall: i64) -> Self {
        Self {
            settings: settings.clone(),
            rules: world::rules(settings),
            plan: Plan::of(settings),
            id: None,
            is_running: false,
            started: None,
            started_wall: now_wall,
            request: None,
            paused: None,
            due: None,
            failed: None,
            has_counts: false,
            notes: Told::default(),
        }
    }

    fn claims(&self, mode: Mode) -> Vec<String> {
        let mut claims = vec![format!("source {}", self.settings.from)];
        let asked = self.settings.scope.iter().flat_map(|condition| condition.attributes());
        for (name, _) in asked.flat_map(world::asked_by_scope) {
            claims.push(format!("source {}:{name}", self.settings.from.connection));
        }
        if mode == Mode::Whole {
            claims.push(format!("target {}", self.settings.to));
        }
        claims
    }
}

impl Service {
    pub(crate) async fn new(config: &Path, settings: Settings) -> Result<Self, Failure> {
        let state = world::state(&settings).await?;
        let clock = world::clock(&state).await?;
        let board = Arc::new(Board::new(clock.clone(), settings.service.unhealthy_after.milliseconds()));
        let mut service = Self {
            config: config.to_owned(),
            settings: Arc::new(settings),
            state,
            clock,
            stop: Stop::default(),
            board,
            supervisor: Supervisor::of_environment(),
            connections: HashMap::new(),
            down: BTreeMap::new(),
            syncs: BTreeMap::new(),
            jobs: JoinSet::new(),
            in_use: HashMap::new(),
            upkeep: Upkeep::default(),
        };
        service.adopt();
        service.recall().await?;
        Ok(service)
    }

    pub(crate) fn board(&self) -> Arc<Board> {
        Arc::clone(&self.board)
    }

    pub(crate) fn ready(&self) {
        let syncs: Vec<&str> = self.syncs.keys().map(String::as_str).collect();
        tracing::info!(version = env!("CARGO_PKG_VERSION"), syncs = syncs.join(","), state = %self.settings.state.display(), "muster runs");
        if self.clock.is_doubtful() {
            tracing::warn!(
                "this machine's clock is more than 24 hours ahead of the last time that was confirmed; nothing is done for the sake of time alone until a source's clock confirms it, or `muster resume`"
            );
        }
        if let Some(problem) = crate::zone::problem(&self.settings) {
            tracing::warn!(problem, "a person should know");
        }
        self.supervisor.tell("READY=1");
    }

    /// Takes over the syncs of the settings; what is known of those that stay is kept.
    fn adopt(&mut self) {
        let wall = SystemClock.now();
        let mut former = std::mem::take(&mut self.syncs);
        for settings in &self.settings.syncs {
            let fresh = Sync::new(settings, wall);
            let sync = match former.remove(&settings.name) {
                Some(known) => Sync {
                    settings: fresh.settings,
                    rules: fresh.rules,
                    // What failed may be what was changed.
                    started: known.started.filter(|_| fresh.plan == known.plan && known.failed.is_none()),
                    plan: fresh.plan,
                    ..known
                },
                None => fresh,
            };
            self.syncs.insert(settings.name.clone(), sync);
        }
        let mut board = self.board.lock();
        board.syncs.retain(|name, _| self.syncs.contains_key(name));
        for name in self.syncs.keys() {
            board.syncs.entry(name.clone()).or_default();
        }
    }

    /// What the state knows of former runs, so that a time missed while nobody ran is made up for.
    async fn recall(&mut self) -> Result<(), Failure> {
        for standing in self.state.store.standings().await? {
            let Some(sync) = self.syncs.get_mut(&standing.name) else { continue };
            if let Some(run) = self.state.store.runs(standing.id, 1).await?.into_iter().next() {
                sync.started_wall = sync.started_wall.min(run.started_at);
                let success = run.finished_at.filter(|_| run.outcome.as_deref() == Some("ok"));
                self.board.update(&standing.name, |board| board.last_success = success);
            }
        }
        Ok(())
    }

    /// Reads the configuration again; one with a fault changes nothing.
    pub(crate) fn reload(&mut self) {
        let settings = match world::settings(&self.config) {
            Ok(settings) => settings,
            Err(failure) => {
                tracing::error!(
                    problem = failure.into_message(),
                    "the configuration has a fault; the former one stays in force"
                );
                return;
            }
        };
        if settings.state != self.settings.state || settings.service != self.settings.service {
            tracing::warn!("another state, or other settings of the service, count from the next start only");
        }
        self.settings = Arc::new(settings);
        // Addresses and secrets may be others now.
        self.connections.clear();
        self.down.clear();
        self.adopt();
        tracing::info!(syncs = self.syncs.len(), "the configuration was read again");
    }

    /// Looks at everything once and starts what is to start. Returns how long nothing more will be.
    pub(crate) async fn tick(&mut self) -> Duration {
        self.supervisor.tell("WATCHDOG=1");
        self.look().await;
        self.keep_mark().await;
        let now = self.clock.lifecycle();
        if self.upkeep.is_due(now)
            && let Err(error) = self.state.store.prune_runs(self.clock.now()).await
        {
            tracing::warn!(error = crate::exit::with_causes(&error), "old runs cannot be forgotten");
        }
        let wall = Local::now();
        let mut earliest = i64::MAX;
        let names: Vec<String> = self.syncs.keys().cloned().collect();
        for name in names {
            let Some(sync) = self.syncs.get(&name) else { continue };
            match decide(&sync.plan, &self.standing(sync), now, &wall) {
                Decision::Run(mode) => self.start(&name, mode, now),
                Decision::WaitUntil(time) => earliest = earliest.min(time),
                Decision::Wait => {}
            }
        }
        Duration::from_millis(u64::try_from(earliest.saturating_sub(now)).unwrap_or(0).max(1))
    }

    fn standing(&self, sync: &Sync) -> Standing {
        let until = |connection: &str| self.down.get(connection).map(|(_, until)| *until);
        let is_taken = sync.claims(Mode::Whole).iter().any(|claim| self.in_use.contains_key(claim));
        Standing {
            is_busy: sync.is_running || is_taken || self.jobs.len() >= MOST_AT_ONCE,
            started: sync.started,
            started_wall: sync.started_wall,
            is_requested: sync.request.is_some(),
            is_paused: sync.paused.is_some(),
            due: sync.due,
            retry_at: sync.failed.as_ref().and_then(|failed| failed.retry_at),
            has_failed: sync.failed.is_some(),
            source_down_until: until(&sync.settings.from.connection),
            target_down_until: until(&sync.settings.to.connection),
        }
    }

    /// What people asked for since. One query, which writes nothing.
    async fn look(&mut self) {
        let standings = match self.state.store.standings().await {
            Ok(standings) => standings,
            Err(error) => return self.state_fails(&crate::exit::with_causes(&error)),
        };
        let mut is_new = false;
        for standing in standings {
            let Some(sync) = self.syncs.get_mut(&standing.name) else { continue };
            sync.id = Some(standing.id);
            if sync.paused != standing.paused {
                match &standing.paused {
                    Some(reason) => tracing::info!(sync = standing.name, reason, "paused"),
                    None => tracing::info!(sync = standing.name, "resumed"),
                }
                sync.paused.clone_from(&standing.paused);
                self.board.update(&standing.name, |board| board.paused.clone_from(&standing.paused));
            }
            is_new |= sync.request.is_none() && standing.wake_at.is_some();
            sync.request = standing.wake_at;
        }
        // With a request the time may have been confirmed.
        if is_new && let Ok(facts) = self.state.store.facts().await {
            self.clock.accept(facts.clock_high_water);
        }
    }

    /// The state is written about once a minute, so that one that cannot be written is noticed.
    async fn keep_mark(&self) {
        if let Some(mark) = self.clock.take_mark() {
            match self.state.store.raise_clock_mark(mark).await {
                Ok(()) => self.state_works(),
                Err(error) => self.state_fails(&crate::exit::with_causes(&error)),
            }
        }
    }

    fn state_fails(&self, problem: &str) {
        let mut board = self.board.lock();
        if board.state.as_deref() != Some(problem) {
            tracing::error!(problem, "the state cannot be used; see that its disk is there and not full");
            board.state = Some(problem.to_owned());
        }
    }

    fn state_works(&self) {
        if self.board.lock().state.take().is_some() {
            tracing::info!("the state can be used again");
        }
    }

    fn start(&mut self, name: &str, mode: Mode, now: i64) {
        let Some(sync) = self.syncs.get(name) else { return };
        let sides = [sync.settings.from.connection.clone(), sync.settings.to.connection.clone()];
        let engine = match self.engine(name, sides) {
            Ok(engine) => engine,
            Err(failure) => {
                let trouble = Trouble::configuration(failure.into_message());
                if let Some(sync) = self.syncs.get_mut(name) {
                    sync.started = Some(now);
                    sync.started_wall = SystemClock.now();
                    sync.request = None;
                }
                return self.failed(name, trouble);
            }
        };
        let Some(sync) = self.syncs.get_mut(name) else { return };
        self.in_use.extend(sync.claims(mode).into_iter().map(|claim| (claim, name.to_owned())));
        sync.is_running = true;
        sync.started = Some(now);
        sync.started_wall = SystemClock.now();
        self.board.update(name, |board| board.is_running = true);
        let job = Job {
            engine,
            rules: sync.rules.clone(),
            mode,
            wants_counts: !sync.has_counts || sync.request.is_some(),
            request: sync.id.zip(sync.request.take()),
        };
        self.jobs.spawn(job::run(job));
    }

    /// An engine of the sync's own, over connections that stay open.
    fn engine(&mut self, name: &str, sides: [String; 2]) -> Result<Engine, Failure> {
        let source = sides[0].clone();
        let mut connections = HashMap::new();
        for side in sides {
            let connector = match self.connections.get(&side) {
                Some(open) => Arc::clone(open),
                None => {
                    let connection = world::find_connection(&self.settings, &side)?;
                    let fresh = world::connect(&self.settings, connection)?;
                    self.connections.insert(side.clone(), Arc::clone(&fresh));
                    fresh
                }
            };
            connections.insert(side, connector);
        }
        let rules = self.syncs.values().map(|sync| sync.rules.clone()).collect();
        let follower = Follower { board: Arc::clone(&self.board), sync: name.to_owned(), source };
        let store = Arc::clone(&self.state.store);
        let mut engine = Engine::new(store, connections, rules, self.clock.clone(), Arc::new(follower));
        engine.stop = self.stop.clone();
        engine.host = world::host();
        engine.passwords = Arc::new(Receivers);
        Ok(engine)
    }

    /// Waits for a cycle to end, and takes note of it.
    pub(crate) async fn job_ended(&mut self) {
        match self.jobs.join_next().await {
            Some(Ok(ended)) => self.ended(ended),
            // The cycle itself is a task within the job; a job does nothing that could break off.
            Some(Err(error)) => tracing::error!(%error, "a cycle's end was lost"),
            None => std::future::pending().await,
        }
    }

    fn ended(&mut self, ended: Ended) {
        // Also when the sync has left the configuration meanwhile.
        self.in_use.retain(|_, holder| *holder != ended.sync);
        let Some(sync) = self.syncs.get_mut(&ended.sync) else { return };
        sync.is_running = false;
        sync.due = ended.due;
        sync.has_counts |= ended.counts.is_some();
        let now = self.clock.now();
        self.board.update(&ended.sync, |board| {
            board.is_running = false;
            if let Some(counts) = ended.counts {
                board.counts = counts;
            }
        });
        match ended.result {
            Ok(report) => {
                self.down.remove(&sync.settings.from.connection);
                let Some(report) = report else {
                    // Reading alone heals what only reading, or nothing but reading, can show.
                    let source = Some(sync.settings.from.connection.as_str());
                    let heals =
                        |failed: &mut Failed| sync.paused.is_some() || failed.trouble.connection.as_deref() == source;
                    if sync.failed.take_if(heals).is_some() {
                        tracing::info!(sync = ended.sync, "its source is read again");
                        self.board.update(&ended.sync, |board| board.failing = None);
                    }
                    return;
                };
                self.down.remove(&sync.settings.to.connection);
                if sync.failed.take().is_some() {
                    tracing::info!(sync = ended.sync, "runs again");
                }
                self.board.update(&ended.sync, |board| {
                    board.failing = None;
                    board.last_success = Some(now);
                    board.cycles[0] += 1;
                });
                if report.visited() > 0 || ended.is_served {
                    tracing::info!(
                        sync = ended.sync,
                        read = report.read,
                        created = report.created,
                        adopted = report.adopted,
                        updated = report.updated,
                        enabled = report.enabled,
                        disabled = report.disabled,
                        deleted = report.deleted,
                        values_added = report.values_added,
                        values_removed = report.values_removed,
                        unchanged = report.unchanged,
                        parked = report.parked,
                        held = report.held,
                        waiting = report.waiting,
                        unknown = report.unknown,
                        seconds = (report.seconds * 1_000.0).round() / 1_000.0,
                        "cycle"
                    );
                }
                for note in sync.notes.news(report.notes, now) {
                    tracing::warn!(sync = ended.sync, note, "a person should know");
                }
                self.state_works();
            }
            Err(Trouble { class: ErrorClass::Stopped, .. }) => {
                self.board.update(&ended.sync, |board| board.cycles[2] += 1);
            }
            // Paused while it was about to begin: the next look sees it.
            Err(Trouble { class: ErrorClass::Paused, .. }) => {}
            Err(trouble) => self.failed(&ended.sync, trouble),
        }
    }

    fn failed(&mut self, name: &str, trouble: Trouble) {
        let (now, lifecycle) = (self.clock.now(), self.clock.lifecycle());
        let Some(sync) = self.syncs.get_mut(name) else { return };
        let is_told = sync.failed.as_ref().is_some_and(|failed| {
            failed.trouble.class == trouble.class && failed.trouble.connection == trouble.connection
        });
        let times = sync.failed.as_ref().map_or(0, |failed| failed.times) + 1;
        let most = match sync.plan {
            Plan::Every(period) => period,
            Plan::Calendar(_) | Plan::OnRequest => backoff::LONGEST,
        };
        let retry_at = match (trouble.class, &trouble.connection) {
            // Nothing but a person ends it, so only the schedule tries again.
            (ErrorClass::Configuration | ErrorClass::Credentials, connection) => {
                // Secrets are fetched anew with the next attempt.
                if let Some(connection) = connection {
                    self.connections.remove(connection);
                }
                None
            }
            (ErrorClass::Unreachable, Some(connection)) => {
                let (failures, until) = self.down.entry(connection.clone()).or_default();
                *failures += 1;
                *until = lifecycle + backoff::pause(*failures, most, chance()).max(trouble.pause);
                Some(*until)
            }
            _ => Some(lifecycle + backoff::pause(times, most, chance())),
        };
        if trouble.class == ErrorClass::State {
            self.state_fails(&trouble.problem);
        }
        let Some(sync) = self.syncs.get_mut(name) else { return };
        let class = trouble.class.name();
        if is_told {
            tracing::debug!(sync = name, class, times, "fails still");
        } else if retry_at.is_some() {
            tracing::warn!(sync = name, class, problem = trouble.problem, "failed, and is tried again by itself");
        } else {
            tracing::error!(
                sync = name,
                class,
                problem = trouble.problem,
                "failed, and needs a person; tried again on schedule"
            );
        }
        self.board.update(name, |board| {
            board.cycles[1] += 1;
            let since = board.failing.as_ref().map_or(now, |failing| failing.since);
            board.failing = Some(Failing { since, class, problem: trouble.problem.clone() });
        });
        sync.failed = Some(Failed { trouble, times, retry_at });
    }

    /// Lets what is in flight land, for so long.
    pub(crate) async fn end(mut self, landing: Duration) {
        self.supervisor.tell("STOPPING=1");
        tracing::info!(running = self.jobs.len(), "ending");
        self.stop.ask();
        let all = async {
            while let Some(ended) = self.jobs.join_next().await {
                if let Ok(ended) = ended {
                    let unknown = matches!(&ended.result, Err(trouble) if trouble.class != ErrorClass::Stopped);
                    tracing::debug!(sync = ended.sync, failed = unknown, "ended");
                }
            }
        };
        if tokio::time::timeout(landing, all).await.is_err() {
            tracing::warn!("not everything has landed in time; the next start asks the targets what became of it");
        }
        self.state.tidy().await;
        tracing::info!("ended");
    }
}

/// A random number between 0 and 1.
fn chance() -> f64 {
    f64::from((Uuid::new_v4().as_u128() & 0xffff) as u16) / f64::from(u16::MAX)
}
