//! Starting the program, the tenant and databases; reading databases without the program's help.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use muster_sandbox::{Facts, Oddities, Sandbox, SandboxOptions};
use serde_json::Value;
use tempfile::TempDir;

/// A folder with a configuration, and the program to run on it.
pub(crate) struct Program {
    pub(crate) folder: TempDir,
    environment: BTreeMap<String, String>,
}

/// What a run printed.
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Program {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), environment: BTreeMap::new() }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.environment.insert(name.to_owned(), value.to_owned());
    }

    pub(crate) fn unset(&mut self, name: &str) {
        self.environment.remove(name);
    }

    /// Runs the program in the folder, with none of this process's own `MUSTER_…` variables.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Self::ran(self.command(arguments).output().unwrap())
    }

    /// The program in the folder, with none of this process's own `MUSTER_…` variables.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.prepared(Command::new(env!("CARGO_BIN_EXE_muster")), arguments)
    }

    /// The same, within limits that a shell sets, such as `ulimit -n 64`.
    pub(crate) fn limited(&self, limits: &str, arguments: &[&str]) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{limits}; exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_muster")]);
        self.prepared(shell, arguments)
    }

    fn prepared(&self, mut command: Command, arguments: &[&str]) -> Command {
        command.current_dir(self.folder.path()).args(arguments);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("MUSTER_")) {
            command.env_remove(name);
        }
        command.envs(&self.environment);
        command
    }

    /// Starts a command and kills it after a pause; how long it took, where it ended by itself before.
    pub(crate) fn kill_within(&self, pause: Duration, arguments: &[&str]) -> Option<Duration> {
        let mut child = self.command(arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let begun = Instant::now();
        while begun.elapsed() < pause && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_micros(500));
        }
        let ended = child.try_wait().unwrap().map(|_| begun.elapsed());
        drop(child.kill());
        child.wait().unwrap();
        ended
    }

    pub(crate) fn ran(output: Output) -> Ran {
        let Output { status, stdout, stderr } = output;
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ran { code: status.code(), out: text(stdout), err: text(stderr) }
    }

    /// Runs a command that must succeed.
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, Some(0), "muster {}\n{}{}", arguments.join(" "), ran.out, ran.err);
        ran.out
    }

    /// Runs a command that must fail with this code, and returns what it said.
    pub(crate) fn fails(&self, code: i32, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, Some(code), "muster {}\n{}{}", arguments.join(" "), ran.out, ran.err);
        format!("{}{}", ran.out, ran.err)
    }

    /// Runs a sync and returns its report.
    pub(crate) fn sync(&self, arguments: &[&str]) -> Value {
        let mut all = vec!["--output", "json", "sync"];
        all.extend(arguments);
        let out = self.ok(&all);
        assert_eq!(out.lines().count(), 1, "{out}");
        serde_json::from_str(&out).unwrap()
    }
}

/// The counts of a report that are not zero, in words.
pub(crate) fn counts(report: &Value) -> String {
    let names = [
        "created",
        "adopted",
        "updated",
        "enabled",
        "disabled",
        "deleted",
        "unchanged",
        "parked",
        "held",
        "waiting",
        "unknown",
    ];
    let number = |name: &str| report[name].as_u64().unwrap_or_else(|| panic!("the report has no {name}: {report}"));
    let done = names.iter().filter(|name| number(name) > 0).map(|name| format!("{} {name}", number(name)));
    done.collect::<Vec<_>>().join(", ")
}

/// A tenant of so many people.
pub(crate) async fn tenant(users: usize, groups: usize) -> Sandbox {
    let options = SandboxOptions { seed: 7, users, groups, oddities: Oddities::modest(), ..SandboxOptions::default() };
    Sandbox::start(options).await.unwrap()
}

/// The `[connections.entra]` of a tenant; its secret is in the variable `ENTRA_SECRET`.
pub(crate) fn entra(facts: &Facts) -> String {
    format!(
        "[connections.entra]\nconnector = \"entra\"\ntenant = {:?}\nclient_id = {:?}\nclient_secret = {{ env = \"ENTRA_SECRET\" }}\n\
         authority = {:?}\ngraph_url = {:?}\n\n",
        facts.tenant, facts.client_id, facts.authority, facts.graph_url
    )
}

/// The `[connections.app]` of an application's SQLite file with the table `app_user`.
pub(crate) const APP: &str = r#"
[connections.app]
connector = "sql"
url = "sqlite:app.db"
[connections.app.types.user]
table = "app_user"
enabled = "is_active"
"#;

/// The rows of a query on a SQLite file, every value as text.
pub(crate) async fn sqlite(path: &Path, query: &'static str) -> Vec<Vec<String>> {
    use sqlx::{ConnectOptions as _, Row as _};
    let mut connection = sqlx::sqlite::SqliteConnectOptions::new().filename(path).connect().await.unwrap();
    let rows = sqlx::query(query).fetch_all(&mut connection).await.unwrap();
    rows.iter()
        .map(|row| {
            (0..row.len()).map(|index| row.get_unchecked::<Option<String>, _>(index).unwrap_or_default()).collect()
        })
        .collect()
}
