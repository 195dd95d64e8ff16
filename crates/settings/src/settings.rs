//! The settings as the program uses them.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use muster_expression::{Condition, Expression};
use muster_model::Value;
use secrecy::SecretString;

use crate::environment::Environment;
use crate::form::{GuardSettings, LogSettings, Mode, RemovalSettings, When, WhenNull};
use crate::lifecycle::LifecycleSettings;
use crate::passwords::PasswordSettings;
use crate::place::{Place, Problems};
use crate::schedule::Schedule;
use crate::secrets::{self, SecretReference};
use crate::span::TimeSpan;

/// A configuration without a fault, its secrets still references.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The configuration file's folder, absolute; relative paths start here.
    pub folder: PathBuf,
    /// The file of the state, absolute.
    pub state: PathBuf,
    /// The connections by name.
    pub connections: BTreeMap<String, ConnectionSettings>,
    /// The service.
    pub service: ServiceSettings,
    /// The log.
    pub log: LogSettings,
    /// The syncs in the order of the file.
    pub syncs: Vec<SyncSettings>,
    pub(crate) places: BTreeMap<String, Place>,
}

/// The service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceSettings {
    /// Where health and metrics are answered; nowhere when `None`.
    pub listen: Option<SocketAddr>,
    /// How long a sync may fail before the service is unhealthy.
    pub unhealthy_after: TimeSpan,
}

impl Settings {
    /// The sync of this name.
    #[must_use]
    pub fn sync(&self, name: &str) -> Option<&SyncSettings> {
        self.syncs.iter().find(|sync| sync.name == name)
    }

    /// Where a setting stands, by its dotted path, such as `syncs.staff.map.mail`; for one that is not given, where
    /// the table stands that would hold it. For findings that only the systems themselves can bring up.
    #[must_use]
    pub fn place(&self, setting: &str) -> Option<&Place> {
        let mut path = setting;
        loop {
            if let Some(place) = self.places.get(path) {
                return Some(place);
            }
            path = path.rsplit_once(['.', '['])?.0;
        }
    }
}

/// One connection.
#[derive(Clone)]
pub struct ConnectionSettings {
    /// Its name.
    pub name: String,
    /// The kind of its connector.
    pub connector: String,
    /// The connector's own settings, without `connector`; secrets are references here.
    pub section: serde_json::Value,
    /// The settings that refer to secrets.
    pub secrets: Vec<SecretReference>,
    /// Where it stands.
    pub place: Place,
}

/// Without the section's values, some of which are nobody else's business.
impl fmt::Debug for ConnectionSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("ConnectionSettings");
        shown.field("name", &self.name).field("connector", &self.connector).field("secrets", &self.secrets);
        shown.finish_non_exhaustive()
    }
}

impl ConnectionSettings {
    /// Fetches the secrets that the section refers to, by the dotted path of their setting in the section.
    ///
    /// A step of its own, so that a command needs the secrets of those connections only that it speaks to.
    ///
    /// # Errors
    /// Every variable or file that is missing, empty, unreadable or too large.
    pub fn resolve_secrets(&self, environment: &Environment) -> Result<BTreeMap<String, SecretString>, Problems> {
        secrets::resolve(&self.name, &self.secrets, environment)
    }
}

/// One sync.
#[derive(Debug, Clone, PartialEq)]
pub struct SyncSettings {
    /// Its name.
    pub name: String,
    /// What is read.
    pub from: Endpoint,
    /// What is written.
    pub to: Endpoint,
    /// How often the service runs it.
    pub every: Option<TimeSpan>,
    /// When the service runs it, instead of `every`. With neither it runs on command only.
    pub schedule: Option<Schedule>,
    /// How an existing target object is recognised: rules in the order in which they are tried.
    pub matching: Vec<MatchSettings>,
    /// Whether a target object is made where none matches.
    pub creates: bool,
    /// What flows where, in the order of the file. Never empty.
    pub map: Vec<MappingSettings>,
    /// Further source attributes to keep in the state.
    pub read: Vec<String>,
    /// What happens when a source object goes.
    pub removal: RemovalSettings,
    /// From when until when a person has access.
    pub lifecycle: Option<LifecycleSettings>,
    /// What new target objects get as their first password.
    pub password: Option<PasswordSettings>,
    /// The limits of bulk changes.
    pub guard: GuardSettings,
    /// Whether the target is written.
    pub mode: Mode,
    /// The source objects that belong to the sync: those for which one of these holds, or all where there is none.
    pub scope: Vec<Condition>,
    /// Target objects for which one of these holds are never touched.
    pub protect: Vec<Condition>,
    /// Where it stands.
    pub place: Place,
}

/// An object type of a connection, `connection:type`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The connection's name, which is configured.
    pub connection: String,
    /// The object type.
    pub object_type: String,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.connection, self.object_type)
    }
}

/// A match by attributes that must all be equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatchSettings {
    /// What is compared. Never empty.
    pub all: Vec<MatchPartSettings>,
}

/// One comparison of a match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatchPartSettings {
    /// The source's value.
    pub source: Expression,
    /// The target attribute that equals it.
    pub target: String,
}

/// One mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappingSettings {
    /// The target attribute.
    pub target: String,
    /// What flows into it.
    pub value: Expression,
    /// When it flows.
    pub when: When,
    /// What flows where the value is null.
    pub default: Option<Value>,
    /// What a null does to an object that is there already.
    pub null: WhenNull,
    /// Where it stands.
    pub place: Place,
}
