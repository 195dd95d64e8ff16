//! How fast a sync is, beside the raw best of the same rows into the same server in the same run.
//!
//! Raw: rows in memory, one `COPY` into a temporary table, one upsert, one delete, in one transaction, by the
//! server's own client; it neither reads a source nor keeps a state. Ratios of one run are good to about 15 %.

use std::fmt::Write as _;
use std::io::{Read as _, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use muster_sandbox::{Oddities, Sandbox, SandboxOptions};
use muster_testkit::Postgres;
use serde_json::{Value, json};

const TABLE: &str = "(
    login varchar(160) PRIMARY KEY, full_name varchar(256), first_name text, last_name text, email text,
    department text, title text, company text, city text, country text, office text, phone text,
    employee_no text, kind text, hired_on date, is_active boolean NOT NULL DEFAULT true)";

/// Target column and source attribute.
const MAPPINGS: [(&str, &str); 15] = [
    ("login", "userPrincipalName"),
    ("full_name", "displayName"),
    ("first_name", "givenName"),
    ("last_name", "surname"),
    ("email", "mail"),
    ("department", "department"),
    ("title", "jobTitle"),
    ("company", "companyName"),
    ("city", "city"),
    ("country", "country"),
    ("office", "officeLocation"),
    ("phone", "mobilePhone"),
    ("employee_no", "employeeId"),
    ("kind", "userType"),
    ("hired_on", "employeeHireDate"),
];

/// One measured run of the program.
struct Measured {
    seconds: f64,
    peak_mib: f64,
    report: Value,
}

pub(crate) fn run(users: &[usize], output: &mut dyn Write) -> anyhow::Result<()> {
    let program = build()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    writeln!(
        output,
        "sandbox → PostgreSQL (fsync on), {} mapped attributes, natural key, matching on",
        MAPPINGS.len()
    )?;
    writeln!(
        output,
        "{:>9}  {:<12} {:>8} {:>8} {:>7} {:>9} {:>10}",
        "users", "what", "raw s", "muster s", "ratio", "peak MiB", "state MiB"
    )?;
    for users in users {
        runtime.block_on(one(&program, *users, output))?;
    }
    Ok(())
}

fn build() -> anyhow::Result<PathBuf> {
    let status = Command::new(env!("CARGO")).args(["build", "--release", "--package", "muster"]).status()?;
    if !status.success() {
        bail!("the release build failed");
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no workspace")?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    Ok(target.join("release").join("muster"))
}

async fn one(program: &Path, users: usize, output: &mut dyn Write) -> anyhow::Result<()> {
    let options = SandboxOptions { users, groups: 0, oddities: Oddities::none(), ..SandboxOptions::default() };
    let sandbox = Sandbox::start(options).await?;
    let postgres = Postgres::durable();
    let people = sandbox.directory().users();
    let raw = raw(&postgres, &people)?;

    let folder = tempfile::tempdir()?;
    postgres.psql(&format!("CREATE TABLE app_user {TABLE}"));
    configure(folder.path(), &sandbox, &postgres)?;
    let secret = sandbox.facts().client_secret;
    let full = measure(program, folder.path(), &secret)?;
    if full.report["created"] != json!(people.len()) {
        bail!("not everybody was created: {}", full.report);
    }
    let state = std::fs::metadata(folder.path().join("muster.state.db"))?.len() as f64 / 1_048_576.0;
    let mut row = |what: &str, raw: Option<f64>, measured: &Measured| {
        let (raw_text, ratio) = match raw {
            Some(raw) => (format!("{raw:.2}"), format!("{:.2}", measured.seconds / raw)),
            None => ("-".to_owned(), "-".to_owned()),
        };
        let seconds = measured.seconds;
        writeln!(
            output,
            "{users:>9}  {what:<12} {raw_text:>8} {seconds:>8.2} {ratio:>7} {:>9.0} {state:>10.0}",
            measured.peak_mib
        )
    };
    row("full", Some(raw), &full)?;
    let directory = sandbox.directory();
    let changed = (people.len() / 100).max(1);
    for person in people.iter().step_by(100).take(changed) {
        let id = person["id"].as_str().context("a user without id")?;
        let refused = |refusal| anyhow::anyhow!("the sandbox refused a change: {refusal:?}");
        directory.patch_user(id, &json!({ "department": "Somewhere else" })).map_err(refused)?;
    }
    let delta = measure(program, folder.path(), &secret)?;
    row("1 % delta", None, &delta)?;
    let idle = measure(program, folder.path(), &secret)?;
    row("idle delta", None, &idle)?;
    if idle.report["updated"] != json!(0) {
        bail!("an idle delta wrote: {}", idle.report);
    }
    sandbox.stop().await;
    Ok(())
}

fn configure(folder: &Path, sandbox: &Sandbox, postgres: &Postgres) -> anyhow::Result<()> {
    let facts = sandbox.facts();
    let mut text = format!(
        "[connections.entra]\nconnector = \"entra\"\ntenant = {:?}\nclient_id = {:?}\nclient_secret = {{ env = \"BENCH_SECRET\" }}\n\
         authority = {:?}\ngraph_url = {:?}\n[connections.app]\nconnector = \"sql\"\nurl = {:?}\n\
         [connections.app.types.user]\ntable = \"app_user\"\nenabled = \"is_active\"\n\
         [syncs.staff]\nfrom = \"entra:user\"\nto = \"app:user\"\n\
         match = [{{ source = \"[userPrincipalName]\", target = \"login\" }}]\n[syncs.staff.map]\n",
        facts.tenant,
        facts.client_id,
        facts.authority,
        facts.graph_url,
        postgres.url()
    );
    for (column, attribute) in MAPPINGS {
        writeln!(text, "{column} = \"[{attribute}]\"")?;
    }
    std::fs::write(folder.join("muster.toml"), text)?;
    Ok(())
}

/// Runs a sync and watches how much memory the program takes at most.
fn measure(program: &Path, folder: &Path, secret: &str) -> anyhow::Result<Measured> {
    let started = Instant::now();
    let mut child = Command::new(program)
        .args(["--output", "json", "sync", "staff"])
        .current_dir(folder)
        .env("BENCH_SECRET", secret)
        .stdout(Stdio::piped())
        .spawn()?;
    let status_file = format!("/proc/{}/status", child.id());
    let mut peak_kib = 0.0_f64;
    let status = loop {
        if let Ok(text) = std::fs::read_to_string(&status_file) {
            let line = text.lines().find(|line| line.starts_with("VmHWM:"));
            let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0.0);
            peak_kib = peak_kib.max(kib);
        }
        if let Some(status) = child.try_wait()? {
            break status;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let seconds = started.elapsed().as_secs_f64();
    let mut text = String::new();
    child.stdout.take().context("no output")?.read_to_string(&mut text)?;
    if !status.success() {
        bail!("muster sync failed: {text}");
    }
    Ok(Measured { seconds, peak_mib: peak_kib / 1_024.0, report: serde_json::from_str(&text)? })
}

/// The raw best of the same rows, by the server's own client.
fn raw(postgres: &Postgres, people: &[Value]) -> anyhow::Result<f64> {
    let columns: Vec<&str> = MAPPINGS.iter().map(|(column, _)| *column).collect();
    let columns = columns.join(", ");
    let updates: Vec<String> =
        MAPPINGS.iter().skip(1).map(|(column, _)| format!("{column} = excluded.{column}")).collect();
    postgres.psql(&format!("CREATE TABLE raw_user {TABLE}"));
    let mut script = format!(
        "BEGIN;\nCREATE TEMPORARY TABLE stage (LIKE raw_user) ON COMMIT DROP;\nCOPY stage ({columns}, is_active) FROM STDIN;\n"
    );
    for person in people {
        for (_, attribute) in MAPPINGS {
            match person[attribute].as_str() {
                Some(text) => script.push_str(&text.replace('\\', "\\\\")),
                None => script.push_str("\\N"),
            }
            script.push('\t');
        }
        script.push_str(if person["accountEnabled"] == json!(true) { "t\n" } else { "f\n" });
    }
    script.push_str("\\.\n");
    writeln!(
        script,
        "INSERT INTO raw_user SELECT * FROM stage ON CONFLICT (login) DO UPDATE SET {}, is_active = excluded.is_active;\n\
         DELETE FROM raw_user WHERE NOT EXISTS (SELECT 1 FROM stage WHERE stage.login = raw_user.login);\nCOMMIT;",
        updates.join(", ")
    )?;
    let started = Instant::now();
    let mut child = Command::new("psql")
        .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", &postgres.url()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .context("psql is missing; scripts/test installs it")?;
    child.stdin.take().context("no input")?.write_all(script.as_bytes())?;
    if !child.wait()?.success() {
        bail!("the raw load failed");
    }
    Ok(started.elapsed().as_secs_f64())
}
