//! The form of the configuration file. The comments on the fields are the user's reference.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

use crate::lifecycle::LifecycleForm;
use crate::passwords::PasswordForm;
use crate::span::TimeSpan;

/// The configuration of Muster.
#[derive(JsonSchema)]
#[schemars(rename = "Configuration", deny_unknown_fields)]
#[expect(dead_code, reason = "the form for the schema; it is read piece by piece, so that no mistake hides another")]
pub(crate) struct ConfigurationForm {
    /// The file that holds Muster's state. A relative path starts at the configuration file's folder.
    #[schemars(default = "default_state")]
    state: Option<String>,
    /// The service, `muster run`.
    service: Option<ServiceForm>,
    /// What is logged, and how.
    log: Option<LogSettings>,
    /// The systems that are read and written, by a name of your choice.
    connections: BTreeMap<String, ConnectionForm>,
    /// What flows from where to where, by a name of your choice.
    syncs: Option<BTreeMap<String, SyncForm>>,
}

/// The file of the state where the configuration names none.
pub(crate) const DEFAULT_STATE: &str = "muster.state.db";

fn default_state() -> &'static str {
    DEFAULT_STATE
}

/// The service, `muster run`.
#[derive(JsonSchema)]
#[schemars(rename = "Service", deny_unknown_fields)]
#[expect(dead_code, reason = "the form for the schema; it is read piece by piece, so that no mistake hides another")]
pub(crate) struct ServiceForm {
    /// Where `/health` and `/metrics` are answered: an address and a port, or `"off"`. `"127.0.0.1:9750"` by default;
    /// there is neither sign-in nor encryption, so that other addresses belong behind a proxy or a firewall.
    listen: Option<String>,
    /// How long a sync may fail before `/health` answers 503: `"15m"` by default.
    unhealthy_after: Option<TimeSpan>,
}

/// Where health and metrics are answered where the configuration does not say.
pub(crate) const DEFAULT_LISTEN: std::net::SocketAddr =
    std::net::SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9750);

/// What is logged, and how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename = "Log", deny_unknown_fields)]
pub struct LogSettings {
    /// How `muster run` writes its log to standard error: `"text"` by default. The variable `MUSTER_LOG_FORMAT` counts
    /// more, for all commands.
    pub format: Option<LogFormat>,
    /// How much `muster run` logs: `"info"` by default. The variable `MUSTER_LOG` counts more, for all commands.
    pub level: Option<LogLevel>,
}

/// How a log is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON document a line.
    Json,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// What needs a person.
    Error,
    /// And what is odd.
    Warn,
    /// And what was done: no names, mails or keys.
    #[default]
    Info,
    /// And how; may hold keys of objects.
    Debug,
}

impl LogLevel {
    /// The level's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

/// Stands for the connectors' own settings until they are known.
pub(crate) struct ConnectionForm;

impl JsonSchema for ConnectionForm {
    fn schema_name() -> Cow<'static, str> {
        "Connection".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({})
    }
}

/// A sync: which objects of one connection keep which objects of another up to date, and how.
#[derive(JsonSchema)]
#[schemars(rename = "Sync", deny_unknown_fields)]
#[expect(dead_code, reason = "the form for the schema; it is read piece by piece, so that no mistake hides another")]
pub(crate) struct SyncForm {
    /// What is read: the connection's name and the object type, such as `"entra:user"`.
    from: String,
    /// What is written: the connection's name and the object type, such as `"hrapp:user"`.
    to: String,
    /// How often `muster run` runs the sync, such as `"5m"`. With neither `every` nor `schedule` it runs on command
    /// only.
    every: Option<TimeSpan>,
    /// When `muster run` runs the sync, instead of `every`: the five fields of cron, such as `"*/15 6-20 * * 1-5"`, in
    /// this machine's time zone (the service's variable `TZ` names another).
    schedule: Option<String>,
    /// How an existing target object is recognised: rules such as `{ source = "[employeeId]", target = "employee_no" }`,
    /// tried in this order until one finds something. Needed where the target assigns its own keys.
    r#match: Option<Vec<MatchForm>>,
    /// Whether the sync makes target objects, which is so by default. With `false` it only changes values of objects that
    /// others make, such as when logins flow back to where people come from: it makes, enables, disables and deletes
    /// nothing, and looks each hour for what was not there.
    create: Option<bool>,
    /// What flows into which target attribute: the attribute's name, and an expression such as `"[mail]"` or a table
    /// with `value`, `when`, `default` and `null`.
    #[schemars(extend("minProperties" = 1))]
    map: BTreeMap<String, MappingForm>,
    /// Whether the target is written. With `"observe"` the sync reads and says what it would do, and writes nothing:
    /// the way to take over a target that is filled already.
    mode: Option<Mode>,
    /// Which source objects belong to the sync: a list of conditions such as `'[department] EQUALS "Sales"'`, any of
    /// which suffices. Without it all do. Who falls out of scope is disabled, unless `removal.out_of_scope` says
    /// otherwise.
    #[schemars(extend("x-muster-hint" = CONDITION_HINT))]
    scope: Option<Vec<String>>,
    /// Target objects that are never touched: not adopted, changed, disabled or deleted. A list of conditions such as
    /// `'[employee_no] EQUALS "0001"'`, any of which suffices.
    #[schemars(extend("x-muster-hint" = CONDITION_HINT))]
    protect: Option<Vec<String>>,
    /// Further source attributes to read and keep in the state, besides those that the mappings use.
    #[schemars(extend("uniqueItems" = true))]
    read: Option<Vec<String>>,
    /// What happens to a target object when its source object goes.
    removal: Option<RemovalSettings>,
    /// From when until when a person has access, by dates that the source keeps.
    lifecycle: Option<LifecycleForm>,
    /// What new target objects get as their first password.
    password: Option<PasswordForm>,
    /// How many changes of a dangerous kind are let through without asking.
    guard: Option<GuardSettings>,
}

/// How an existing target object is recognised: by one attribute (`source` and `target`), or by several together (`all`).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename = "Match", deny_unknown_fields)]
pub(crate) struct MatchForm {
    /// The source's value: an expression such as `"[employeeId]"`. An object without the value is not looked for by
    /// this rule.
    #[schemars(with = "Option<ExpressionForm>")]
    pub(crate) source: Option<String>,
    /// The target attribute that equals it.
    pub(crate) target: Option<String>,
    /// Instead of `source` and `target`: several of them, which must all be equal, such as
    /// `[{ source = "[givenName]", target = "first_name" }, { source = "[surname]", target = "last_name" }]`.
    pub(crate) all: Option<Vec<MatchPartForm>>,
}

/// One attribute of several that must be equal.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename = "MatchPart", deny_unknown_fields)]
pub(crate) struct MatchPartForm {
    /// The source's value: an expression such as `"[employeeId]"`.
    #[schemars(with = "ExpressionForm")]
    pub(crate) source: String,
    /// The target attribute that equals it.
    pub(crate) target: String,
}

/// A text that is an expression.
pub(crate) struct ExpressionForm;

/// How conditions are written, for messages.
pub(crate) const CONDITION_HINT: &str =
    "write conditions in a list: ['[employee_no] EQUALS \"0001\"', '[is_service] IS TRUE']";

/// How expressions are written, for messages.
const EXPRESSION_HINT: &str = "write an expression in quotes: \"[mail]\" for an attribute, '\"text\"' for a text, \"42\" for a number, \"True\" for a truth value";

impl JsonSchema for ExpressionForm {
    fn schema_name() -> Cow<'static, str> {
        "Expression".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "An expression in Entra's notation: `[attribute]`, a constant such as `\"text\"`, `42` or `True`, or functions of them such as `Join(\" \", [givenName], [surname])`.",
            "type": "string",
            "x-muster-hint": EXPRESSION_HINT
        })
    }
}

/// What flows into one target attribute.
pub(crate) struct MappingForm {
    pub(crate) value: String,
    pub(crate) when: When,
    pub(crate) default: Option<serde_json::Value>,
    pub(crate) null: WhenNull,
}

/// A mapping with more to say than its expression.
#[derive(Deserialize, JsonSchema)]
#[serde(rename = "MappingTable", deny_unknown_fields)]
struct MappingTable {
    /// The expression whose value flows.
    #[schemars(with = "ExpressionForm")]
    value: String,
    /// When it flows.
    #[serde(default)]
    when: When,
    /// What flows where the value is null: a text, a number or a truth value, such as `"Unknown"`.
    #[schemars(with = "Option<ConstantForm>")]
    default: Option<serde_json::Value>,
    /// What a value that is null does to an object that is there already.
    #[serde(default)]
    null: WhenNull,
}

/// A constant of the configuration, which is no expression.
struct ConstantForm;

impl JsonSchema for ConstantForm {
    fn schema_name() -> Cow<'static, str> {
        "Constant".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A text, a number or a truth value, as it is.",
            "type": ["string", "number", "boolean"],
            "x-muster-hint": "write a text such as \"Unknown\", a number, true or false"
        })
    }
}

/// What a value that is null does to an object that is there already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhenNull {
    /// It flows like any other: the default, if there is one, or else the target's value becomes null.
    #[default]
    Clear,
    /// The target keeps the value that it has.
    Keep,
}

impl<'de> Deserialize<'de> for MappingForm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(value) => {
                Ok(Self { value, when: When::default(), default: None, null: WhenNull::default() })
            }
            other => {
                let MappingTable { value, when, default, null } =
                    MappingTable::deserialize(other).map_err(serde::de::Error::custom)?;
                Ok(Self { value, when, default, null })
            }
        }
    }
}

impl JsonSchema for MappingForm {
    fn schema_name() -> Cow<'static, str> {
        "Mapping".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "An expression, or a table with `value`, `when`, `default` and `null`.",
            "anyOf": [generator.subschema_for::<ExpressionForm>(), generator.subschema_for::<MappingTable>()],
            "x-muster-hint": EXPRESSION_HINT
        })
    }
}

/// When a mapping flows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// When the target object is created, and on every change.
    #[default]
    Always,
    /// When the target object is created, and never again.
    Create,
}

/// Whether a sync writes its target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// It does.
    #[default]
    Apply,
    /// It says what it would do, and writes nothing.
    Observe,
}

/// What happens to a target object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Removal {
    /// It stays as it is.
    Keep,
    /// It is disabled.
    Disable,
    /// It is deleted.
    Delete,
}

/// What happens to a target object when its source object goes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename = "RemovalRules", deny_unknown_fields)]
pub struct RemovalSettings {
    /// When the source object is in the source's recycle bin, or missing from a complete read: `disable` by default.
    /// Must be given where the target cannot disable.
    pub soft: Option<Removal>,
    /// When the source object is gone for good: by default the target object is disabled, and deleted after `grace`.
    pub hard: Option<Removal>,
    /// When the source object is disabled at the source: `disable` by default. Must be given where the target cannot
    /// disable.
    pub disabled: Option<Removal>,
    /// When the source object is there and out of `scope`: `disable` by default. Must be given where there is a scope
    /// and the target cannot disable.
    pub out_of_scope: Option<Removal>,
    /// How long after the source object is gone for good the target object is deleted: `"30d"` by default, at once
    /// where `soft` is `"delete"`.
    pub grace: Option<TimeSpan>,
    /// After how long in the recycle bin a source object counts as gone for good: `"30d"` by default, as in Entra.
    pub absent_for: Option<TimeSpan>,
    /// Whether target objects that Muster found and did not create may be deleted too: `false` by default.
    pub delete_adopted: Option<bool>,
}

/// How many changes of a dangerous kind are let through in 24 hours without asking; above its limit all changes of the
/// kind wait for `muster approve`. What was approved does not count.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename = "Guard", deny_unknown_fields)]
pub struct GuardSettings {
    /// Deletions, in percent of all linked objects: 5 by default, and 10 at least.
    pub delete: Option<LimitSettings>,
    /// Disabled objects, in percent of all linked objects: 10 by default, and 10 at least.
    pub disable: Option<LimitSettings>,
    /// Values that become empty, for each attribute in percent of the linked objects that have one: 10 by default, and
    /// 10 at least.
    pub clear: Option<LimitSettings>,
    /// Members removed from groups, in percent of the members written: 20 by default, and 10 at least.
    pub member_removal: Option<LimitSettings>,
    /// Objects missing from a complete read, in percent of those of the read before: 20 by default, and 10 at least.
    pub missing: Option<LimitSettings>,
}

/// A limit: a share, and its bounds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename = "Limit", deny_unknown_fields)]
pub struct LimitSettings {
    /// The share in percent, 0 to 100.
    #[schemars(range(min = 0, max = 100))]
    pub percent: Option<f64>,
    /// So many are always let through, however small the share: 10 by default.
    pub min: Option<u64>,
    /// More than this are never let through, however large the share. No bound by default.
    pub max: Option<u64>,
}
