//! What most commands start with: the configuration, open connections, the state, an engine.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use muster_connector::{Connector, ConnectorSettings, Error as ConnectorError, UsedType};
use muster_engine::{
    Clock as _, EndDay, Engine, GuardRules, LifecycleClock, LifecycleRules, Limit, MappingRule, MatchPart, MatchRule,
    Mode, Observer, PasswordHash, PasswordReceiver, PasswordRules, Removal, RemovalRules, SyncRules, SystemClock, When,
};
use muster_expression::Operator;
use muster_settings::{ConnectionSettings, Environment, LimitSettings, Settings, SyncSettings};
use muster_store::{SqliteStore, StateLock, Store, StoreError};

use crate::exit::Failure;
use crate::passwords::Receivers;
use crate::{connectors, output};

/// Reads the configuration.
pub(crate) fn settings(path: &Path) -> Result<Settings, Failure> {
    Ok(muster_settings::load(path, &Environment::of_process(), &connectors::schemas())?)
}

/// Reads the configuration from its files alone, whatever the environment says.
pub(crate) fn settings_of_files(path: &Path) -> Result<Settings, Failure> {
    Ok(muster_settings::load(path, &Environment::default(), &connectors::schemas())?)
}

/// The sync of that name.
pub(crate) fn find_sync<'a>(settings: &'a Settings, name: &str) -> Result<&'a SyncSettings, Failure> {
    settings.sync(name).ok_or_else(|| {
        let known: Vec<&str> = settings.syncs.iter().map(|sync| sync.name.as_str()).collect();
        Failure::configuration(unknown("sync", name, &known))
    })
}

/// The connection of that name.
pub(crate) fn find_connection<'a>(settings: &'a Settings, name: &str) -> Result<&'a ConnectionSettings, Failure> {
    settings.connections.get(name).ok_or_else(|| {
        let known: Vec<&str> = settings.connections.keys().map(String::as_str).collect();
        Failure::configuration(unknown("connection", name, &known))
    })
}

fn unknown(what: &str, name: &str, known: &[&str]) -> String {
    match muster_model::nearest(name, known.iter().copied()) {
        Some(near) => format!("there is no {what} {name:?} in the configuration; did you mean {near:?}?"),
        None if known.is_empty() => format!("there is no {what} {name:?}: the configuration has none at all"),
        None => format!("there is no {what} {name:?} in the configuration; there are: {}", known.join(", ")),
    }
}

/// Makes one connection's connector. Nothing is connected yet.
pub(crate) fn connect(settings: &Settings, connection: &ConnectionSettings) -> Result<Arc<dyn Connector>, Failure> {
    let kinds = connectors::all();
    let kind = kinds.iter().find(|kind| kind.describe().kind == connection.connector);
    let Some(kind) = kind else {
        return Err(Failure::unexpected(format!("no connector is called {:?}", connection.connector)));
    };
    let given = ConnectorSettings {
        connection: connection.name.clone(),
        values: connection.section.clone(),
        secrets: connection.resolve_secrets(&Environment::of_process())?,
        base_folder: settings.folder.clone(),
    };
    kind.connect(given).map_err(|error| connector_failure(settings, &connection.name, &error))
}

/// A connector's refusal, with the place of the setting to blame.
pub(crate) fn connector_failure(settings: &Settings, connection: &str, error: &ConnectorError) -> Failure {
    let path = |setting: &Option<String>| match setting {
        Some(setting) => format!("connections.{connection}.{setting}"),
        None => format!("connections.{connection}"),
    };
    match error {
        ConnectorError::Configuration { setting, problem, fix } => {
            Failure::configuration(output::placed(settings, &path(setting), problem, fix))
        }
        other => Failure::connection(format!("connection {connection:?}: {other}")),
    }
}

/// The open state with the right to run syncs on it.
pub(crate) struct State {
    pub(crate) store: Arc<dyn Store>,
    _lock: Option<StateLock>,
}

impl State {
    /// At a clean end: old runs are forgotten, and the file alone holds everything, whoever copies it by hand. Neither
    /// is worth failing for.
    pub(crate) async fn tidy(&self) {
        let pruned = self.store.prune_runs(SystemClock.now()).await;
        if let Err(error) = pruned.map(drop).and(self.store.merge_log().await) {
            tracing::warn!(error = crate::exit::with_causes(&error), "the state cannot be tidied up");
        }
    }
}

/// Opens the state to write it, which one process at a time may do.
pub(crate) async fn state(settings: &Settings) -> Result<State, Failure> {
    let lock = lock(settings)?;
    let store = SqliteStore::open(&settings.state, SystemClock.now()).await?;
    Ok(State { store: Arc::new(store), _lock: Some(lock) })
}

/// The same, after waiting for whoever has it; `None` waits for nobody.
pub(crate) async fn state_after(settings: &Settings, wait: Option<Duration>) -> Result<State, Failure> {
    let until = wait.and_then(|wait| Instant::now().checked_add(wait));
    loop {
        match lock(settings) {
            Ok(lock) => {
                let store = SqliteStore::open(&settings.state, SystemClock.now()).await?;
                return Ok(State { store: Arc::new(store), _lock: Some(lock) });
            }
            Err(StoreError::Held { .. }) if wait.is_some() && until.is_none_or(|until| Instant::now() < until) => {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            Err(error @ StoreError::Held { .. }) => {
                let hint = if wait.is_some() { "it did not end in time" } else { "--wait waits for it" };
                return Err(Failure::state(format!("{error} ({hint})")));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// The right to run syncs on the state.
pub(crate) fn lock(settings: &Settings) -> Result<StateLock, StoreError> {
    StateLock::take(&settings.state, &holder())
}

fn holder() -> String {
    let now = SystemClock.now();
    let since =
        chrono::DateTime::from_timestamp_millis(now).map(|time| time.format("%Y-%m-%d %H:%M:%S UTC").to_string());
    format!("on {}, process {}, since {}", host(), std::process::id(), since.unwrap_or_default())
}

/// The machine's clock, held against the latest time that the state knows to be confirmed.
pub(crate) async fn clock(state: &State) -> Result<Arc<LifecycleClock>, Failure> {
    let facts = state.store.facts().await?;
    let clock = LifecycleClock::new(Arc::new(SystemClock), facts.clock_high_water);
    clock.reached(facts.clock_reached);
    Ok(Arc::new(clock))
}

/// Opens the state to look at it, beside whatever runs.
pub(crate) async fn state_to_read(settings: &Settings) -> Result<State, Failure> {
    Ok(State { store: Arc::new(store_beside(settings).await?), _lock: None })
}

/// The state's file, opened beside whatever runs.
pub(crate) async fn store_beside(settings: &Settings) -> Result<SqliteStore, Failure> {
    if !settings.state.exists() {
        return Err(Failure::state(format!(
            "there is no state yet at {}; the first `muster sync` makes it",
            settings.state.display()
        )));
    }
    Ok(SqliteStore::open_beside(&settings.state, SystemClock.now(), &holder()).await?)
}

/// This machine's name.
pub(crate) fn host() -> String {
    let named = std::fs::read_to_string("/proc/sys/kernel/hostname").ok().map(|name| name.trim().to_owned());
    named
        .or_else(|| std::env::var("HOSTNAME").ok())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "this host".to_owned())
}

/// An engine for one sync, over its two connections.
pub(crate) async fn engine(
    settings: &Settings,
    sync: &SyncSettings,
    state: &State,
    observer: Arc<dyn Observer>,
) -> Result<Engine, Failure> {
    let names: BTreeSet<&str> = [sync.from.connection.as_str(), sync.to.connection.as_str()].into();
    let mut connections: HashMap<String, Arc<dyn Connector>> = HashMap::new();
    for name in names {
        connections.insert(name.to_owned(), connect(settings, find_connection(settings, name)?)?);
    }
    let rules = settings.syncs.iter().map(rules).collect();
    let mut engine = Engine::new(Arc::clone(&state.store), connections, rules, clock(state).await?, observer);
    engine.host = host();
    engine.passwords = Arc::new(Receivers);
    Ok(engine)
}

/// A sync's settings as the engine's rules.
pub(crate) fn rules(sync: &SyncSettings) -> SyncRules {
    let removal = |choice: Option<muster_settings::Removal>| {
        choice.map(|choice| match choice {
            muster_settings::Removal::Keep => Removal::Keep,
            muster_settings::Removal::Disable => Removal::Disable,
            muster_settings::Removal::Delete => Removal::Delete,
        })
    };
    let limit = |given: &Option<LimitSettings>, default: Limit| match given {
        None => default,
        Some(given) => Limit {
            percent: given.percent.unwrap_or(default.percent),
            min: given.min.unwrap_or(default.min),
            max: given.max.or(default.max),
        },
    };
    let removals = RemovalRules::default();
    let guards = GuardRules::default();
    SyncRules {
        name: sync.name.clone(),
        source_connection: sync.from.connection.clone(),
        source_type: sync.from.object_type.clone(),
        target_connection: sync.to.connection.clone(),
        target_type: sync.to.object_type.clone(),
        mappings: sync
            .map
            .iter()
            .map(|mapping| MappingRule {
                target: mapping.target.clone(),
                value: mapping.value.clone(),
                when: match mapping.when {
                    muster_settings::When::Always => When::Always,
                    muster_settings::When::Create => When::Create,
                },
                default: mapping.default.clone(),
                keeps: mapping.null == muster_settings::WhenNull::Keep,
            })
            .collect(),
        also_read: sync.read.clone(),
        matching: sync
            .matching
            .iter()
            .map(|rule| MatchRule {
                all: rule
                    .all
                    .iter()
                    .map(|part| MatchPart { source: part.source.clone(), target: part.target.clone() })
                    .collect(),
            })
            .collect(),
        creates: sync.creates,
        removal: RemovalRules {
            soft: removal(sync.removal.soft),
            hard: removal(sync.removal.hard),
            disabled: removal(sync.removal.disabled),
            out_of_scope: removal(sync.removal.out_of_scope),
            grace: sync.removal.grace.map_or(removals.grace, muster_settings::TimeSpan::milliseconds),
            absent_for: sync.removal.absent_for.map_or(removals.absent_for, muster_settings::TimeSpan::milliseconds),
            delete_adopted: sync.removal.delete_adopted.unwrap_or(removals.delete_adopted),
        },
        lifecycle: sync.lifecycle.as_ref().map(|given| LifecycleRules {
            starts: given.starts.clone(),
            ends: given.ends.clone(),
            create_before: given.create_before.map(muster_settings::TimeSpan::milliseconds),
            delete_after: given.delete_after.map(muster_settings::TimeSpan::milliseconds),
            time_zone: given.time_zone,
            end_day: match given.end_day {
                muster_settings::EndDay::Included => EndDay::Included,
                muster_settings::EndDay::Excluded => EndDay::Excluded,
            },
        }),
        password: sync.password.as_ref().map(|given| PasswordRules {
            attribute: given.attribute.clone(),
            length: given.length as usize,
            symbols: given.symbols,
            hash: match given.hash {
                muster_settings::PasswordHash::None => PasswordHash::None,
                muster_settings::PasswordHash::Bcrypt => PasswordHash::Bcrypt,
                muster_settings::PasswordHash::Argon2id => PasswordHash::Argon2id,
            },
            receiver: given.receiver.as_ref().map(|receiver| match receiver {
                muster_settings::PasswordReceiver::File(file) => PasswordReceiver::File(file.clone()),
                muster_settings::PasswordReceiver::Command(command) => PasswordReceiver::Command(command.clone()),
            }),
        }),
        guard: GuardRules {
            delete: limit(&sync.guard.delete, guards.delete),
            disable: limit(&sync.guard.disable, guards.disable),
            clear: limit(&sync.guard.clear, guards.clear),
            member_removal: limit(&sync.guard.member_removal, guards.member_removal),
            missing: limit(&sync.guard.missing, guards.missing),
        },
        mode: match sync.mode {
            muster_settings::Mode::Apply => Mode::Apply,
            muster_settings::Mode::Observe => Mode::Observe,
        },
        scope: sync.scope.clone(),
        protect: sync.protect.clone(),
    }
}

/// What a scope's attribute asks for besides the person, each type with the reference attribute that is read: groups, as
/// Microsoft Graph calls it, or enterprise applications, to which groups may be assigned.
pub(crate) fn asked_by_scope(attribute: &str) -> &'static [(&'static str, &'static str)] {
    match attribute {
        "memberOf" | "transitiveMemberOf" => &[("group", "members")],
        "assignedTo" | "transitiveAssignedTo" => &[("application", "assigned"), ("group", "members")],
        _ => &[],
    }
}

/// What the syncs use of a connection.
pub(crate) fn used(settings: &Settings, connection: &str) -> Vec<UsedType> {
    let mut types: BTreeMap<&str, UsedType> = BTreeMap::new();
    let fresh = |name: &str| UsedType {
        object_type: name.to_owned(),
        attributes: Vec::new(),
        named: Vec::new(),
        as_source: false,
        as_target: false,
    };
    for sync in &settings.syncs {
        if sync.from.connection == connection {
            let name = sync.from.object_type.as_str();
            let used = types.entry(name).or_insert_with(|| fresh(name));
            used.as_source = true;
            let expressions = sync
                .map
                .iter()
                .map(|mapping| &mapping.value)
                .chain(sync.matching.iter().flat_map(|rule| &rule.all).map(|part| &part.source))
                .chain(sync.lifecycle.iter().flat_map(|dates| [&dates.starts, &dates.ends]).flatten());
            used.attributes.extend(expressions.flat_map(muster_expression::Expression::attributes).map(str::to_owned));
            let asked = sync.scope.iter().flat_map(|condition| condition.attributes());
            let (others, own): (Vec<&str>, Vec<&str>) = asked.partition(|name| !asked_by_scope(name).is_empty());
            used.attributes.extend(own.into_iter().map(str::to_owned));
            used.attributes.extend(sync.read.iter().cloned());
            for (name, members) in others.into_iter().flat_map(asked_by_scope) {
                let used = types.entry(name).or_insert_with(|| fresh(name));
                used.as_source = true;
                used.attributes.extend(["displayName", members].map(str::to_owned));
            }
            for comparison in sync.scope.iter().flat_map(|condition| &condition.comparisons) {
                let (Operator::Equals(named) | Operator::NotEquals(named)) = &comparison.operator else { continue };
                if let Some((name, _)) = asked_by_scope(&comparison.attribute).first() {
                    types.entry(name).or_insert_with(|| fresh(name)).named.push(named.clone());
                }
            }
        }
        if sync.to.connection == connection {
            let name = sync.to.object_type.as_str();
            let used = types.entry(name).or_insert_with(|| fresh(name));
            used.as_target = true;
            used.attributes.extend(sync.map.iter().map(|mapping| mapping.target.clone()));
            used.attributes.extend(sync.matching.iter().flat_map(|rule| &rule.all).map(|part| part.target.clone()));
        }
    }
    types
        .into_values()
        .map(|mut used| {
            used.attributes.sort();
            used.attributes.dedup();
            used.named.sort();
            used.named.dedup();
            used
        })
        .collect()
}
