//! A sync's rules as configured: what is mapped, matched, removed and guarded.

use chrono_tz::Tz;
use muster_expression::{Condition, Expression};
use muster_model::Value;

/// The rules of one sync.
#[derive(Debug, Clone, PartialEq)]
pub struct SyncRules {
    /// The sync's name.
    pub name: String,
    /// The connection that is read.
    pub source_connection: String,
    /// Its object type.
    pub source_type: String,
    /// The connection that is written.
    pub target_connection: String,
    /// Its object type.
    pub target_type: String,
    /// The mappings, by target attribute.
    pub mappings: Vec<MappingRule>,
    /// Further source attributes to keep in the state.
    pub also_read: Vec<String>,
    /// How an existing target object is recognised: tried in this order, until one of them finds something.
    pub matching: Vec<MatchRule>,
    /// Whether a target object is made where none matches.
    pub creates: bool,
    /// What happens to the target object when its source object goes.
    pub removal: RemovalRules,
    /// From when until when a person has access.
    pub lifecycle: Option<LifecycleRules>,
    /// What new objects get as their first password.
    pub password: Option<PasswordRules>,
    /// The limits of bulk changes.
    pub guard: GuardRules,
    /// Whether the target is written.
    pub mode: Mode,
    /// The source objects that belong to the sync: those for which one of these holds, or all where there is none.
    pub scope: Vec<Condition>,
    /// Target objects for which one of these holds are never touched.
    pub protect: Vec<Condition>,
}

/// Whether a sync writes its target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// It does.
    #[default]
    Apply,
    /// It says what it would do, and writes nothing.
    Observe,
}

impl SyncRules {
    /// Whether the mapping of a target attribute chooses a value that no other object has.
    pub(crate) fn chooses(&self, target: &str) -> bool {
        let chooses = |mapping: &MappingRule| {
            mapping.value.functions().iter().any(|function| function.name == "SelectUniqueValue")
        };
        self.mappings.iter().any(|mapping| mapping.target == target && chooses(mapping))
    }
}

/// How new objects get their first password: made when they are created, and kept nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswordRules {
    /// The target attribute.
    pub attribute: String,
    /// How many characters it has.
    pub length: usize,
    /// Whether it has symbols, besides letters and digits.
    pub symbols: bool,
    /// What is written of it.
    pub hash: PasswordHash,
    /// Who gets to know it; nobody where there is none.
    pub receiver: Option<PasswordReceiver>,
}

/// What is written of a password.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PasswordHash {
    /// The password itself, for systems that hash it.
    #[default]
    None,
    /// Its bcrypt hash, such as `$2b$12$…`.
    Bcrypt,
    /// Its Argon2id hash, such as `$argon2id$v=19$…`.
    Argon2id,
}

/// Who gets to know new passwords.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PasswordReceiver {
    /// A file, to which a line of JSON is added for each.
    File(std::path::PathBuf),
    /// A program with its arguments, which reads a line of JSON for each.
    Command(Vec<String>),
}

/// One mapping.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MappingRule {
    /// The target attribute.
    pub target: String,
    /// What flows into it.
    pub value: Expression,
    /// When it flows.
    pub when: When,
    /// What flows where the value is null.
    pub default: Option<Value>,
    /// A null leaves what an object has that is there already.
    pub keeps: bool,
}

/// When a mapping flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// On create and on every change.
    Always,
    /// On create only.
    Create,
}

/// A match by attributes that must all be equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatchRule {
    /// What is compared; never empty.
    pub all: Vec<MatchPart>,
}

impl MatchRule {
    /// A match by one attribute.
    #[must_use]
    pub fn one(source: Expression, target: &str) -> Self {
        Self { all: vec![MatchPart { source, target: target.to_owned() }] }
    }
}

/// One comparison of a match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatchPart {
    /// The source's value.
    pub source: Expression,
    /// The target attribute that equals it.
    pub target: String,
}

/// What to do with a target object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// Leave it as it is.
    Keep,
    /// Disable it.
    Disable,
    /// Delete it.
    Delete,
}

impl Removal {
    /// The word in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Disable => "disable",
            Self::Delete => "delete",
        }
    }
}

/// What happens when a source object goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovalRules {
    /// After a soft removal; `None` when the configuration does not say.
    pub soft: Option<Removal>,
    /// After a hard removal.
    pub hard: Option<Removal>,
    /// For a source object that is disabled at the source.
    pub disabled: Option<Removal>,
    /// For a source object that is there and out of scope.
    pub out_of_scope: Option<Removal>,
    /// How long after a hard removal the deletion follows, in milliseconds.
    pub grace: i64,
    /// After how long a soft removal becomes hard by itself, in milliseconds.
    pub absent_for: i64,
    /// Whether adopted objects may be deleted.
    pub delete_adopted: bool,
}

impl Default for RemovalRules {
    fn default() -> Self {
        const DAY: i64 = 86_400_000;
        Self {
            soft: None,
            hard: None,
            disabled: None,
            out_of_scope: None,
            grace: 30 * DAY,
            absent_for: 30 * DAY,
            delete_adopted: false,
        }
    }
}

/// From when until when a person has access, by dates that the source keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LifecycleRules {
    /// The first day, or the moment from which on a person has access.
    pub starts: Option<Expression>,
    /// The last day, or the moment from which on a person has access no more.
    pub ends: Option<Expression>,
    /// How long before the start the target object is created, disabled, in milliseconds; `None`: at any time.
    pub create_before: Option<i64>,
    /// How long after the end the target object is deleted, in milliseconds; `None`: never for its date alone.
    pub delete_after: Option<i64>,
    /// Where days begin.
    pub time_zone: Tz,
    /// Whether the day of an end date still counts.
    pub end_day: EndDay,
}

/// Whether the day of an end date without a time is the last day of access, or the first one without.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EndDay {
    /// The last day of access.
    #[default]
    Included,
    /// The first day without.
    Excluded,
}

/// The limit of one kind of guarded change.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limit {
    /// Percent of the base.
    pub percent: f64,
    /// Never lower than this.
    pub min: u64,
    /// Never higher than this.
    pub max: Option<u64>,
}

impl Limit {
    /// How many changes are let through.
    #[must_use]
    pub fn of(&self, base: u64) -> u64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "a share of a count: no fraction, never negative, exact far beyond any population"
        )]
        let share = (base as f64 * self.percent / 100.0).floor() as u64;
        share.max(self.min).min(self.max.unwrap_or(u64::MAX))
    }
}

/// A kind of change that is counted, and held above its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum GuardKind {
    /// A target object is disabled.
    Disable,
    /// A target object is deleted.
    Delete,
    /// A value that was there becomes null; counted for each attribute by itself.
    Clear,
    /// A member is removed from a group. Nothing writes memberships yet.
    MemberRemoval,
    /// A source object was not in a complete read, and so counts as removed.
    Missing,
}

impl GuardKind {
    /// The word in configuration, state and messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Delete => "delete",
            Self::Clear => "clear",
            Self::MemberRemoval => "member_removal",
            Self::Missing => "missing",
        }
    }
}

/// The limits of a sync.
#[derive(Debug, Clone, PartialEq)]
pub struct GuardRules {
    /// Deletions, of all linked objects.
    pub delete: Limit,
    /// Disables, of all linked objects.
    pub disable: Limit,
    /// Values that become null, of the linked objects that have one, for each attribute.
    pub clear: Limit,
    /// Memberships removed, of those that the sync wrote.
    pub member_removal: Limit,
    /// Objects missing from a complete full read.
    pub missing: Limit,
}

impl GuardRules {
    /// The limit of one kind.
    #[must_use]
    pub fn limit(&self, kind: GuardKind) -> Limit {
        match kind {
            GuardKind::Disable => self.disable,
            GuardKind::Delete => self.delete,
            GuardKind::Clear => self.clear,
            GuardKind::MemberRemoval => self.member_removal,
            GuardKind::Missing => self.missing,
        }
    }
}

impl Default for GuardRules {
    fn default() -> Self {
        let limit = |percent| Limit { percent, min: 10, max: None };
        Self {
            delete: limit(5.0),
            disable: limit(10.0),
            clear: limit(10.0),
            member_removal: limit(20.0),
            missing: limit(20.0),
        }
    }
}
