//! What can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Muster keeps the users of your own databases and directories as Entra ID says they should be.
///
/// Try `muster demo` first: it needs no account and no server.
#[derive(Debug, Parser)]
#[command(name = "muster", version, propagate_version = true, max_term_width = 100)]
pub(crate) struct Cli {
    /// The configuration file.
    #[arg(short, long, global = true, env = "MUSTER_CONFIG", default_value = "muster.toml", value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// How results are printed.
    #[arg(long, global = true, env = "MUSTER_OUTPUT", default_value = "table", value_name = "FORM")]
    pub(crate) output: OutputChoice,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputChoice {
    /// For people.
    Table,
    /// One JSON document, for programs.
    Json,
    /// JUnit's XML, for CI servers: of `connector test` only.
    Junit,
}

/// How all commands can print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OutputForm {
    /// For people.
    Table,
    /// One JSON document, for programs.
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Shows the whole job on this machine in seconds: a personnel file, a tenant, an application's database.
    Demo(DemoArguments),
    /// Examines configuration, connections, permissions and mappings, and says what to change.
    Check(CheckArguments),
    /// Lists what a connection holds.
    Schema(SchemaArguments),
    /// Says what a sync would do, and does nothing of it.
    Plan(PlanArguments),
    /// Runs a sync once, now.
    Sync(SyncArguments),
    /// Runs all syncs, each at its time, until it is ended: the service.
    Run,
    /// Keeps a sync from sending anything; its source is read all the same.
    Pause(PauseArguments),
    /// Ends a pause, and runs the sync soon where the service runs.
    Resume(ResumeArguments),
    /// Copies Muster's own state, and takes a copy back.
    State(StateArguments),
    /// Writes a configuration to start from, by asking a few questions.
    Init(InitArguments),
    /// Says how the syncs stand and what waits for a person.
    Status,
    /// Lists the changes that the guard holds.
    Held(HeldArguments),
    /// Lets held changes go.
    Approve(ApproveArguments),
    /// Lists the objects that were refused, and why.
    Parked(ParkedArguments),
    /// Tries refused objects again with the next cycle.
    Retry(RetryArguments),
    /// Leaves a source object alone for good.
    Ignore(ObjectArguments),
    /// Takes back an `ignore` or an `unlink`: the object is matched again.
    Unignore(ObjectArguments),
    /// Links a source object to a target object by hand.
    Link(LinkArguments),
    /// Separates a source object from its target object, which stays as it is.
    Unlink(ObjectArguments),
    /// Says why an object looks as it does, and what would happen next.
    Explain(ObjectArguments),
    /// Tries a mapping expression on values from a file.
    Expression(ExpressionArguments),
    /// Helps to write a connector: something to start from, and the proof that it is right.
    Connector(ConnectorArguments),
    /// Runs an Entra ID tenant on this machine, to try things against.
    Sandbox(SandboxArguments),
}

#[derive(Debug, Args)]
pub(crate) struct DemoArguments {
    /// The folder that the demo leaves everything in; a former demo there is replaced.
    #[arg(long, default_value = "muster-demo", value_name = "DIR")]
    pub(crate) dir: PathBuf,
    /// How many people there are.
    #[arg(long, default_value_t = 1_000, value_name = "NUMBER")]
    pub(crate) users: usize,
    /// Which people: the same number gives the same ones.
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    pub(crate) seed: u64,
    /// Keep the tenant running at the end, until Ctrl-C, to try things.
    #[arg(long)]
    pub(crate) stay: bool,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArguments {
    /// Accept that this connection leads to another system than before. Its links are kept, so the new system must
    /// hold the same objects, such as a restored or moved database.
    #[arg(long, value_name = "CONNECTION")]
    pub(crate) accept_system: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct SchemaArguments {
    /// The connection's name.
    pub(crate) connection: String,
    /// Only this object type.
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) object_type: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArguments {
    /// The sync's name.
    pub(crate) sync: String,
    /// Print the statements that would be run.
    #[arg(long)]
    pub(crate) sql: bool,
    /// Read everything from the source anew.
    #[arg(long)]
    pub(crate) full: bool,
    /// Read all keys of the target, and say how target and source fit. Done by itself before the first sync.
    #[arg(long)]
    pub(crate) takeover: bool,
    /// How many changes of each kind are listed.
    #[arg(long, default_value_t = 10, value_name = "NUMBER")]
    pub(crate) limit: usize,
    /// Wait for whoever runs syncs on this state to end: so long (such as `5m`), or for ever.
    #[arg(long, value_name = "DURATION", num_args = 0..=1, default_missing_value = "36500d", value_parser = time_span)]
    pub(crate) wait: Option<std::time::Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct SyncArguments {
    /// The sync's name.
    pub(crate) sync: String,
    /// Read everything from the source anew.
    #[arg(long)]
    pub(crate) full: bool,
    /// Read every linked object of the target again, and mend what others changed there: after the target was
    /// restored, imported anew or edited by hand.
    #[arg(long)]
    pub(crate) reconcile: bool,
    /// Evaluate only the source object with this key.
    #[arg(long, value_name = "KEY")]
    pub(crate) only: Option<String>,
    /// Wait for whoever runs syncs on this state to end: so long (such as `5m`), or for ever.
    #[arg(long, value_name = "DURATION", num_args = 0..=1, default_missing_value = "36500d", value_parser = time_span)]
    pub(crate) wait: Option<std::time::Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct PauseArguments {
    /// The sync's name.
    pub(crate) sync: String,
    /// Why, for whoever looks at it later.
    #[arg(long, default_value = "paused by hand", value_name = "TEXT")]
    pub(crate) reason: String,
}

#[derive(Debug, Args)]
pub(crate) struct ResumeArguments {
    /// The sync's name.
    pub(crate) sync: String,
}

#[derive(Debug, Args)]
pub(crate) struct StateArguments {
    #[command(subcommand)]
    pub(crate) action: StateAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StateAction {
    /// Writes a copy of the state to a new file, while syncs go on.
    Backup {
        /// The file, which must not exist yet.
        file: PathBuf,
    },
    /// Puts a copy in the place of the state. The former state is kept beside it.
    Restore {
        /// The file that `muster state backup` wrote.
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct InitArguments {
    /// The Entra tenant: its id, or one of its verified domains.
    #[arg(long, value_name = "TENANT")]
    pub(crate) tenant: Option<String>,
    /// The application (client) id of the app registration.
    #[arg(long, value_name = "ID")]
    pub(crate) client_id: Option<String>,
    /// The environment variable that holds the client secret.
    #[arg(long, value_name = "NAME")]
    pub(crate) secret_env: Option<String>,
    /// A file that holds the client secret.
    #[arg(long, value_name = "FILE", conflicts_with = "secret_env")]
    pub(crate) secret_file: Option<PathBuf>,
    /// A file that holds the database's address, such as `postgres://user:password@host:5432/database`.
    #[arg(long, value_name = "FILE")]
    pub(crate) database_url_file: Option<PathBuf>,
    /// The database's address where it holds no password, such as `sqlite:app.db`.
    #[arg(long, value_name = "URL", conflicts_with = "database_url_file")]
    pub(crate) database_url: Option<String>,
    /// The table of the users.
    #[arg(long, value_name = "TABLE")]
    pub(crate) table: Option<String>,
}

/// A length of time as the configuration writes it.
fn time_span(text: &str) -> Result<std::time::Duration, String> {
    let span = muster_settings::TimeSpan::parse(text)
        .ok_or("write a number with its unit, such as \"90s\", \"5m\" or \"12h\"")?;
    Ok(std::time::Duration::from_millis(u64::try_from(span.milliseconds()).unwrap_or(0)))
}

#[derive(Debug, Args)]
pub(crate) struct HeldArguments {
    /// The sync's name; all of them without it.
    pub(crate) sync: Option<String>,
    /// How many objects of each hold are listed.
    #[arg(long, default_value_t = 10, value_name = "NUMBER")]
    pub(crate) limit: usize,
}

#[derive(Debug, Args)]
pub(crate) struct ApproveArguments {
    /// The sync's name.
    pub(crate) sync: String,
    /// The first characters of the hold's digest, as `muster held` shows it.
    pub(crate) digest: String,
    /// How many of the approved objects are listed.
    #[arg(long, default_value_t = 10, value_name = "NUMBER")]
    pub(crate) limit: usize,
}

#[derive(Debug, Args)]
pub(crate) struct ParkedArguments {
    /// The sync's name; all of them without it.
    pub(crate) sync: Option<String>,
    /// How many objects of each sync are listed.
    #[arg(long, default_value_t = 50, value_name = "NUMBER")]
    pub(crate) limit: u32,
}

#[derive(Debug, Args)]
pub(crate) struct RetryArguments {
    /// The sync's name.
    pub(crate) sync: String,
    /// Source objects, by key or by the value they are matched by.
    #[arg(value_name = "KEY", conflicts_with_all = ["rule", "all"], required_unless_present_any = ["rule", "all"])]
    pub(crate) keys: Vec<String>,
    /// All that this rule refused.
    #[arg(long, value_name = "RULE", conflicts_with = "all")]
    pub(crate) rule: Option<String>,
    /// With --rule: only where this attribute is to blame.
    #[arg(long, value_name = "ATTRIBUTE", requires = "rule")]
    pub(crate) attribute: Option<String>,
    /// All of the sync.
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ObjectArguments {
    /// The sync's name.
    pub(crate) sync: String,
    /// The source object's key, or the value it is matched by.
    pub(crate) key: String,
}

#[derive(Debug, Args)]
pub(crate) struct LinkArguments {
    /// The sync's name.
    pub(crate) sync: String,
    /// The source object's key, or the value it is matched by.
    pub(crate) key: String,
    /// The target object's key; the parts of a compound key with a slash between them.
    pub(crate) target: String,
}

#[derive(Debug, Args)]
pub(crate) struct ExpressionArguments {
    /// The expression in Entra's notation, such as 'Join(" ", [givenName], [surname])'.
    #[arg(allow_hyphen_values = true)]
    pub(crate) expression: String,
    /// A JSON object of attributes and values; - for standard input. Attributes that are not in it are null.
    #[arg(long, value_name = "FILE")]
    pub(crate) with: Option<PathBuf>,
    /// Show what each part came to.
    #[arg(long)]
    pub(crate) trace: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ConnectorArguments {
    #[command(subcommand)]
    pub(crate) action: ConnectorAction,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConnectorAction {
    /// Writes a small, whole connector to start from, with tests and a service to try it against.
    New(ConnectorNewArguments),
    /// Proves that a connector keeps the contract, or shows where it does not. It writes to the system behind it.
    Test(ConnectorTestArguments),
}

#[derive(Debug, Args)]
pub(crate) struct ConnectorNewArguments {
    /// The connector's name, such as `crm`: lower-case letters, digits and hyphens.
    pub(crate) name: String,
    /// The language to write it in.
    #[arg(long, value_name = "LANGUAGE")]
    pub(crate) lang: Language,
    /// The folder to write, which must not exist yet; by default one of the connector's name.
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// Of a connector in Rust: the folder that holds Muster's sources, which it is built with.
    #[arg(long, value_name = "DIR")]
    pub(crate) sources: Option<PathBuf>,
}

/// A language that there is something to start from in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Language {
    /// Rust.
    Rust,
    /// Python 3.9 or newer, with its standard library alone.
    Python,
    /// JavaScript for Node.js 18 or newer, with its standard library alone.
    Node,
}

#[derive(Debug, Args)]
pub(crate) struct ConnectorTestArguments {
    /// With --config: the connection to test, where the configuration has several.
    #[arg(long, value_name = "NAME")]
    pub(crate) connection: Option<String>,
    /// Only this object type; may be repeated.
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) types: Vec<String>,
    /// Only checks whose id begins so, such as `identity.`; may be repeated.
    #[arg(long, value_name = "ID")]
    pub(crate) only: Vec<String>,
    /// A check that is known not to hold, and why, which the report repeats; may be repeated.
    #[arg(long, value_name = "ID[:TYPE]=REASON", value_parser = exception)]
    pub(crate) except: Vec<(String, String, String)>,
    /// A JSON file of values for attributes that do not take made-up ones: `{"user.country": ["CH", "DE"]}`.
    #[arg(long, value_name = "FILE")]
    pub(crate) samples: Option<PathBuf>,
    /// How many objects make a long list.
    #[arg(long, default_value_t = 1_000, value_name = "NUMBER")]
    pub(crate) many: usize,
    /// How long a check may take.
    #[arg(long, default_value = "1m", value_name = "DURATION", value_parser = time_span)]
    pub(crate) patience: std::time::Duration,
    /// The connector's program and its arguments, after two hyphens.
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,
}

/// A check that is known not to hold.
fn exception(text: &str) -> Result<(String, String, String), String> {
    let wrong = "write the check's id, the object type if it is for one, and why: identity.rename:user=\"…\"";
    let (check, reason) = text.split_once('=').ok_or(wrong)?;
    let (id, object_type) = check.split_once(':').unwrap_or((check, ""));
    if reason.trim().is_empty() {
        return Err(wrong.to_owned());
    }
    match muster_conformance::all().any(|known| known.id == id) {
        true => Ok((id.to_owned(), object_type.to_owned(), reason.to_owned())),
        false => Err(match muster_model::nearest(id, muster_conformance::all().map(|known| known.id)) {
            Some(near) => format!("there is no check {id:?}; did you mean {near:?}?"),
            None => format!("there is no check {id:?}"),
        }),
    }
}

#[derive(Debug, Args)]
pub(crate) struct SandboxArguments {
    /// The port on 127.0.0.1; without it any that is free.
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    pub(crate) port: u16,
    /// Which tenant: the same seed, users and groups give the same ids and values.
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    pub(crate) seed: u64,
    /// How many users.
    #[arg(long, default_value_t = 1_000, value_name = "NUMBER")]
    pub(crate) users: usize,
    /// How many groups.
    #[arg(long, default_value_t = 50, value_name = "NUMBER")]
    pub(crate) groups: usize,
    /// Changes per second that happen by themselves.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) churn: Option<f64>,
    /// Serve HTTPS on localhost, with a certificate authority whose certificate is written to this folder.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) tls_dir: Option<PathBuf>,
    /// Something that goes wrong, such as `throttle:path=users/delta,times=3,retry-after=2`; may be repeated.
    #[arg(long, value_name = "SPEC")]
    pub(crate) fault: Vec<muster_sandbox::Fault>,
}
