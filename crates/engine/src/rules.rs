//! A sync's rules as configured: what is mapped, matched, removed and guarded.

use muster_expression::Expression;

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
    /// How an existing target object is recognised.
    pub matching: Option<MatchRule>,
    /// What happens to the target object when its source object goes.
    pub removal: RemovalRules,
    /// The limits of bulk changes.
    pub guard: GuardRules,
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
}

/// When a mapping flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// On create and on every change.
    Always,
    /// On create only.
    Create,
}

/// A match by one attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatchRule {
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
        Self { soft: None, hard: None, disabled: None, grace: 30 * DAY, absent_for: 30 * DAY, delete_adopted: false }
    }
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

/// The limits of a sync.
#[derive(Debug, Clone, PartialEq)]
pub struct GuardRules {
    /// Deletions.
    pub delete: Limit,
    /// Disables.
    pub disable: Limit,
    /// Objects missing from a complete full read.
    pub missing: Limit,
}

impl Default for GuardRules {
    fn default() -> Self {
        let limit = |percent| Limit { percent, min: 10, max: None };
        Self { delete: limit(5.0), disable: limit(10.0), missing: limit(20.0) }
    }
}
