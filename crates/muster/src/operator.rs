//! What the operator's commands share: the state beside a running service, objects by name, times, events.

use std::path::Path;
use std::sync::Arc;

use chrono::DateTime;
use muster_engine::{Clock as _, Engine, HOLD_EXPIRES, SystemClock, Unobserved};
use muster_expression::{Context, Expression, Flow, Program};
use muster_model::pack::unpack_row;
use muster_model::{AttributeId, Key};
use muster_settings::{MatchSettings, Settings, SyncSettings};
use muster_store::{Decided, Decision, EventRecord, HoldRecord, LinkId, LinkView, SyncId};

use crate::exit::Failure;
use crate::world::{self, State};

/// A sync with its state, opened beside whatever runs.
pub(crate) struct Desk {
    pub(crate) settings: Settings,
    pub(crate) state: State,
}

impl Desk {
    pub(crate) async fn open(config: &Path) -> Result<Self, Failure> {
        let settings = world::settings(config)?;
        let state = world::state_to_read(&settings).await?;
        Ok(Self { settings, state })
    }

    /// The configured sync of that name, with its id; it must have run before.
    pub(crate) async fn sync(&self, name: &str) -> Result<(&SyncSettings, SyncId), Failure> {
        let sync = world::find_sync(&self.settings, name)?;
        let known = self.state.store.sync_names().await?;
        match known.into_iter().find(|(known, _)| known == name) {
            Some((_, id)) => Ok((sync, id)),
            None => Err(Failure::configuration(format!("sync {name:?} never ran, so nothing is known of it yet"))),
        }
    }

    /// The named sync, or all that have run, with their settings where they are configured.
    pub(crate) async fn syncs(&self, name: Option<&str>) -> Result<Vec<(String, SyncId)>, Failure> {
        match name {
            Some(name) => {
                let (sync, id) = self.sync(name).await?;
                Ok(vec![(sync.name.clone(), id)])
            }
            None => Ok(self.state.store.sync_names().await?),
        }
    }

    /// An engine, to ask the systems.
    pub(crate) async fn engine(&self, sync: &SyncSettings) -> Result<Engine, Failure> {
        world::engine(&self.settings, sync, &self.state, Arc::new(Unobserved)).await
    }

    /// The link of a source object named by its key, or by the value it is matched by.
    pub(crate) async fn link(&self, sync: &SyncSettings, id: SyncId, named: &str) -> Result<LinkView, Failure> {
        // By its key the state alone can tell, even while no system answers.
        if let Some(link) = self.state.store.link_of(id, &Key::text(named).encode()).await? {
            return Ok(link);
        }
        let engine = self.engine(sync).await?;
        let found = engine.find_link(&world::rules(sync), named).await;
        found.map_err(|error| Failure::engine(&error, &self.settings))
    }

    /// Records a decision over a link, notes it, and asks for a cycle.
    pub(crate) async fn decide(
        &self,
        sync: SyncId,
        link: &LinkView,
        decision: &Decision,
        code: &str,
    ) -> Result<(), Failure> {
        match self.state.store.decide(sync, link.id, decision).await? {
            Decided::Done => {}
            Decided::OnItsWay => return Err(on_its_way()),
            Decided::Owned(_) => {
                return Err(Failure::configuration("the target object belongs to another source object"));
            }
        }
        self.note(sync, Some(link.id), code, String::new()).await?;
        self.ask_for_a_cycle(sync).await
    }

    /// Writes an event.
    pub(crate) async fn note(
        &self,
        sync: SyncId,
        link: Option<LinkId>,
        code: &str,
        detail: String,
    ) -> Result<(), Failure> {
        let event = EventRecord { at: SystemClock.now(), sync, link, code: code.to_owned(), detail };
        Ok(self.state.store.add_events(&[event]).await?)
    }

    /// The one place where a command that changed something wakes a running service.
    pub(crate) async fn ask_for_a_cycle(&self, sync: SyncId) -> Result<(), Failure> {
        Ok(self.state.store.request_cycle(sync, SystemClock.now()).await?)
    }

    /// How the objects of a sync are named, from the state alone.
    pub(crate) async fn names(&self, sync: &str) -> Result<Names, Failure> {
        Names::of(&self.state, self.settings.sync(sync)).await
    }
}

/// The refusal of a decision over a link whose operation is being sent.
pub(crate) fn on_its_way() -> Failure {
    Failure::state("an operation for this object is on its way; try again when the cycle is over")
}

/// What people know an object by that has no value to match by, such as a guest.
pub(crate) const OTHER_NAMES: [&str; 3] = ["displayName", "userPrincipalName", "mail"];

/// Names objects by what people know them by: the value they are matched by, or what else says who it is.
pub(crate) struct Names {
    /// What the match rules compare, rule by rule.
    by: Vec<Vec<(Program, Vec<AttributeId>)>>,
    others: Vec<AttributeId>,
}

impl Names {
    pub(crate) async fn of(state: &State, sync: Option<&SyncSettings>) -> Result<Self, Failure> {
        let Some(sync) = sync else { return Ok(Self { by: Vec::new(), others: Vec::new() }) };
        let connection = state.store.connection(&sync.from.connection).await?;
        let standing = state.store.source_type(connection.id, &sync.from.object_type).await?;
        let specs = state.store.attribute_specs(&standing.attributes).await?;
        let known = |name: &str| {
            standing.attributes.iter().copied().find(|id| specs.get(id).is_some_and(|spec| spec.name == name))
        };
        let part = |source: &Expression| {
            let names = source.attributes();
            let ids: Option<Vec<AttributeId>> = names.iter().map(|name| known(name)).collect();
            source.resolve(&names).ok().zip(ids)
        };
        let rule = |rule: &MatchSettings| rule.all.iter().map(|compared| part(&compared.source)).collect();
        let by = sync.matching.iter().filter_map(rule).collect();
        Ok(Self { by, others: OTHER_NAMES.into_iter().filter_map(known).collect() })
    }

    /// The value a link's source object is matched by, or another name of it, where it has one.
    pub(crate) fn name(&self, link: &LinkView) -> Option<String> {
        let packed = link.source.as_deref()?;
        self.matched_by(packed).or_else(|| {
            let row = unpack_row(&self.others, packed).ok()?;
            row.0.iter().find_map(|slot| slot.value()).map(ToString::to_string)
        })
    }

    fn matched_by(&self, packed: &[u8]) -> Option<String> {
        let context = Context { now: DateTime::default(), seed: [0; 16], default_domain: None, is_taken: None };
        let value = |(program, ids): &(Program, Vec<AttributeId>)| {
            let row = unpack_row(ids, packed).ok()?;
            match program.evaluate(&row, &context) {
                Ok(Flow::Value(slot)) => slot.value().map(ToString::to_string),
                _ => None,
            }
        };
        self.by
            .iter()
            .find_map(|rule| rule.iter().map(value).collect::<Option<Vec<_>>>())
            .map(|values| values.join(" "))
    }
}

/// A source object as lists show it: name and key.
pub(crate) fn titled(names: &Names, link: &LinkView) -> (Option<String>, String) {
    (names.name(link), key(&link.anchor))
}

/// An encoded key as commands show it.
pub(crate) fn key(encoded: &[u8]) -> String {
    Key::decode(encoded).map(|key| key.to_string()).unwrap_or_default()
}

/// A point in time for a person.
pub(crate) fn time(milliseconds: i64) -> String {
    DateTime::from_timestamp_millis(milliseconds)
        .map(|time| time.format("%Y-%m-%d %H:%M:%S UTC").to_string())
        .unwrap_or_default()
}

/// A whole digest.
pub(crate) fn digest(digest: &[u8; 16]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The kind of a hold with its attribute.
pub(crate) fn kind(hold: &HoldRecord) -> String {
    match &hold.attribute {
        Some(attribute) => format!("{} {attribute}", hold.kind),
        None => hold.kind.clone(),
    }
}

/// When a grant given now ends.
pub(crate) fn grant_expires(now: i64) -> i64 {
    now.saturating_add(HOLD_EXPIRES)
}
