//! `muster demo`: the whole job on this machine, leaving everything there to look at.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use muster_connector::{Batch, Epoch, Kind, Operation, OperationId};
use muster_engine::{CycleOptions, PlanOptions};
use muster_model::{Row, Slot};
use muster_sandbox::{Facts, InboundOptions, Sandbox, SandboxOptions};
use serde_json::{Value, json};

use crate::cli::DemoArguments;
use crate::exit::Failure;
use crate::output::line;
use crate::progress::Progress;
use crate::{output, world};

/// The sandbox's port, so that the configuration left behind still fits when the sandbox is started again.
const PORT: u16 = 8471;
/// Says that a folder is a demo's, so that another demo may replace it and nothing else is ever removed.
const MARK: &str = ".muster-demo";
/// As long as the configuration says that Entra ID is left alone before it is asked.
const LOOK_AGAIN: Duration = Duration::from_millis(2_200);
/// So often it is asked at most.
const ASKED: u32 = 30;

pub(crate) async fn run(arguments: &DemoArguments) -> Result<(), Failure> {
    let folder = prepare(&arguments.dir)?;
    let people = people(arguments).await?;
    let sandbox = start(arguments).await?;
    let facts = sandbox.facts();
    write_configuration(&folder, &facts)?;
    let mut file = HrFile { path: folder.join("people.csv"), people };
    file.write()?;
    let app = folder.join("app.db");
    muster_connector_sql::script::run_script(&app, include_str!("../../demo/app.sql"))
        .await
        .map_err(Failure::unexpected)?;

    line(format!("1. A personnel department has {} people in {}.", file.people.len(), file.path.display()));
    line(format!("2. An Entra ID tenant, without people yet, runs at {}.", facts.graph_url));
    line(format!("3. An application's database is at {}; its table app_user has two rows already:", app.display()));
    line("     svc-backup, which is nobody's business, and one person with an outdated department.");
    let demo = Demo { config: folder.join("muster.toml") };
    if let Some(person) = file.people.first() {
        demo.insert_outdated(person).await?;
    }
    line("");
    line("4. What the file would bring into Entra ID (muster plan feed):");
    line("");
    demo.plan("feed", 1).await?;
    line("");
    line("5. People are uploaded, and Entra ID says later of each what became of it (muster sync feed, twice):");
    line("");
    demo.feed().await?;
    line("");
    line("6. What Entra ID would bring into the application (muster plan staff):");
    line("");
    demo.plan("staff", 1).await?;
    line("");
    line("7. The first sync (muster sync staff):");
    line("");
    demo.sync("staff").await?;
    line("");
    line("8. In the file somebody joins, somebody moves to another department, and somebody leaves:");
    line("");
    file.change()?;
    demo.feed().await?;
    demo.plan("staff", 3).await?;
    line("");
    demo.sync("staff").await?;
    line("");
    line("9. And once more, with nothing new:");
    line("");
    demo.sync("feed").await?;
    demo.sync("staff").await?;
    if arguments.stay {
        staying(&folder);
        let ended = tokio::signal::ctrl_c().await;
        sandbox.stop().await;
        return ended.map_err(|error| Failure::unexpected(format!("cannot wait for Ctrl-C: {error}")));
    }
    sandbox.stop().await;
    farewell(&folder, arguments);
    Ok(())
}

/// Makes the folder, or empties that of a former demo.
fn prepare(dir: &Path) -> Result<PathBuf, Failure> {
    let failed =
        |error: std::io::Error| Failure::unexpected(format!("cannot use the folder {}: {error}", dir.display()));
    if dir.join(MARK).is_file() {
        std::fs::remove_dir_all(dir).map_err(failed)?;
    } else if dir.exists() && std::fs::read_dir(dir).map_err(failed)?.next().is_some() {
        let message = format!("{} is not empty and no former demo's; name another folder with --dir", dir.display());
        return Err(Failure::configuration(message));
    }
    std::fs::create_dir_all(dir).map_err(failed)?;
    std::fs::write(dir.join(MARK), "").map_err(failed)?;
    std::path::absolute(dir).map_err(failed)
}

async fn start(arguments: &DemoArguments) -> Result<Sandbox, Failure> {
    let options = SandboxOptions {
        seed: arguments.seed,
        users: 0,
        groups: 0,
        port: PORT,
        // What takes Entra ID minutes.
        inbound: InboundOptions { processing_seconds: 1, log_seconds: 0, ..InboundOptions::default() },
        ..SandboxOptions::default()
    };
    match Sandbox::start(options.clone()).await {
        Ok(sandbox) => Ok(sandbox),
        // Somebody else has the port; any other is as good, apart from a second look later.
        Err(_) => Ok(Sandbox::start(SandboxOptions { port: 0, ..options }).await?),
    }
}

/// The people of another tenant, as a personnel department knows them.
async fn people(arguments: &DemoArguments) -> Result<Vec<Value>, Failure> {
    // Not everybody in a tenant has a personnel number.
    let users = arguments.users.saturating_add(arguments.users / 4).saturating_add(20);
    let options = SandboxOptions { seed: arguments.seed, users, groups: 0, ..SandboxOptions::default() };
    let elsewhere = Sandbox::start(options).await?;
    let directory = elsewhere.directory();
    let mut people: Vec<Value> = directory.users().into_iter().filter(|user| user["employeeId"].is_string()).collect();
    people.truncate(arguments.users);
    let numbers: HashSet<String> = people.iter().map(|person| text(person, "employeeId").to_owned()).collect();
    for person in &mut people {
        let boss = directory.manager(text(person, "id")).and_then(|id| directory.user(&id));
        let boss = boss.map(|boss| text(&boss, "employeeId").to_owned()).filter(|boss| numbers.contains(boss));
        person["boss"] = json!(boss);
        person["status"] = json!("active");
    }
    elsewhere.stop().await;
    Ok(people)
}

/// The columns of the file, and the attributes of a person that stand there.
const COLUMNS: [(&str, &str); 10] = [
    ("no", "employeeId"),
    ("login", "userPrincipalName"),
    ("given_name", "givenName"),
    ("family_name", "surname"),
    ("display_name", "displayName"),
    ("department", "department"),
    ("job", "jobTitle"),
    ("city", "city"),
    ("boss", "boss"),
    ("status", "status"),
];

/// What the personnel department exports.
struct HrFile {
    path: PathBuf,
    people: Vec<Value>,
}

impl HrFile {
    fn write(&self) -> Result<(), Failure> {
        let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
        let row = |cells: Vec<String>| cells.join(",") + "\n";
        let mut all = row(COLUMNS.map(|(column, _)| column.to_owned()).to_vec());
        for person in &self.people {
            all += &row(COLUMNS.map(|(_, attribute)| quoted(text(person, attribute))).to_vec());
        }
        std::fs::write(&self.path, all)
            .map_err(|error| Failure::unexpected(format!("{} cannot be written: {error}", self.path.display())))
    }

    /// A joiner, a mover and a leaver.
    fn change(&mut self) -> Result<(), Failure> {
        let [first, mover, leaver, ..] = self.people.as_mut_slice() else { return Ok(()) };
        let mut joiner = first.clone();
        for (attribute, value) in [
            ("employeeId", "N00001"),
            ("userPrincipalName", "new.joiner@sandbox.example"),
            ("givenName", "New"),
            ("surname", "Joiner"),
            ("displayName", "New Joiner"),
        ] {
            joiner[attribute] = json!(value);
        }
        joiner["boss"] = first["employeeId"].clone();
        line("     joiner: New Joiner");
        let former = text(mover, "department").to_owned();
        let department = if former == "Legal" { "Sales" } else { "Legal" };
        mover["department"] = json!(department);
        line(format!("     mover:  {}, from {former} to {department}", text(mover, "displayName")));
        leaver["status"] = json!("left");
        line(format!("     leaver: {}", text(leaver, "displayName")));
        line("");
        self.people.push(joiner);
        self.write()
    }
}

fn write_configuration(folder: &Path, facts: &Facts) -> Result<(), Failure> {
    let text = include_str!("../../demo/muster.toml")
        .replace("{tenant}", &facts.tenant)
        .replace("{client_id}", &facts.client_id)
        .replace("{authority}", &facts.authority)
        .replace("{graph_url}", &facts.graph_url)
        .replace("{service_principal}", &facts.service_principal)
        .replace("{job}", &facts.job);
    let failed =
        |error: std::io::Error| Failure::unexpected(format!("cannot write into {}: {error}", folder.display()));
    std::fs::write(folder.join("muster.toml"), text).map_err(failed)?;
    let secret = folder.join("entra.secret");
    std::fs::write(&secret, &facts.client_secret).map_err(failed)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
    }
    Ok(())
}

fn text<'a>(user: &'a Value, attribute: &str) -> &'a str {
    user[attribute].as_str().unwrap_or_default()
}

struct Demo {
    config: PathBuf,
}

impl Demo {
    /// Puts a row into the application that is somebody's already, with a department that is not.
    async fn insert_outdated(&self, person: &Value) -> Result<(), Failure> {
        let settings = world::settings_of_files(&self.config)?;
        let connector = world::connect(&settings, world::find_connection(&settings, "app")?)?;
        let Some(target) = connector.target() else { return Ok(()) };
        let slots = [text(person, "userPrincipalName"), text(person, "displayName"), "Old department"].map(Slot::text);
        let batch = Batch {
            object_type: "user".into(),
            attributes: ["login", "full_name", "department"].map(str::to_owned).into(),
            operations: vec![Operation {
                id: OperationId(uuid::Uuid::now_v7()),
                kind: Kind::Create,
                key: None,
                row: Row(slots.to_vec()),
                deltas: Vec::new(),
                enabling: None,
                expected_version: None,
                expected: None,
                depends_on: Vec::new(),
                secrets: Vec::new(),
            }],
            epoch: Epoch::default(),
            deadline: Duration::from_secs(30),
        };
        let applied = target.apply(&batch).await.map_err(|error| world::connector_failure(&settings, "app", &error))?;
        drop(applied);
        Ok(())
    }

    async fn plan(&self, sync: &str, limit: usize) -> Result<(), Failure> {
        let settings = world::settings_of_files(&self.config)?;
        let sync = world::find_sync(&settings, sync)?;
        let state = world::state(&settings).await?;
        let progress = Arc::new(Progress::new(true));
        let engine = world::engine(&settings, sync, &state, progress.clone()).await?;
        let planned = engine.plan(&world::rules(sync), &PlanOptions { limit, ..PlanOptions::default() }).await;
        progress.finish();
        output::plan(&planned.map_err(|error| Failure::engine(&error, &settings))?);
        Ok(())
    }

    /// Uploads what is new, and asks until all of it is confirmed.
    async fn feed(&self) -> Result<(), Failure> {
        let mut left = self.sync("feed").await?;
        for _ in 0..ASKED {
            if left == 0 {
                break;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
            left = self.sync("feed").await?;
        }
        Ok(())
    }

    /// Runs a sync, and answers how many of its changes are not confirmed yet.
    async fn sync(&self, sync: &str) -> Result<u64, Failure> {
        let settings = world::settings_of_files(&self.config)?;
        let sync = world::find_sync(&settings, sync)?;
        let state = world::state(&settings).await?;
        let progress = Arc::new(Progress::new(true));
        let engine = world::engine(&settings, sync, &state, progress.clone()).await?;
        let result = engine.cycle(&world::rules(sync), &CycleOptions::default()).await;
        progress.finish();
        let report = result.map_err(|error| Failure::engine(&error, &settings))?;
        output::report(&report);
        Ok(report.accepted)
    }
}

fn staying(folder: &Path) {
    let config = folder.join("muster.toml");
    line("");
    line("The tenant stays until Ctrl-C. In another terminal, change people.csv and see it arrive:");
    line(format!("  muster -c {} plan feed", config.display()));
    line(format!(
        "  muster -c {} sync feed    (and once more some seconds later, to see it confirmed)",
        config.display()
    ));
    line(format!("  muster -c {} sync staff", config.display()));
}

fn farewell(folder: &Path, arguments: &DemoArguments) {
    let config = folder.join("muster.toml");
    line("");
    line(format!("Everything is still in {}:", folder.display()));
    line("  people.csv       the personnel department's file");
    line("  muster.toml      the configuration: connections, two syncs, their mappings and guards");
    line("  app.db           the application's database; look into it with");
    line(format!(
        "                   sqlite3 {} 'SELECT login, department, is_active FROM app_user LIMIT 10'",
        folder.join("app.db").display()
    ));
    line("  muster.state.db  what Muster knows of all sides");
    line("");
    line("What to try next:");
    line(format!("  muster -c {} status", config.display()));
    line(format!("  muster -c {} schema hr", config.display()));
    line(format!("  muster demo --dir {} --stay", arguments.dir.display()));
    line("    does the same again and keeps the tenant running, so that you can change people.csv yourself");
    line("");
    line("From here to your own tenant: docs/getting-started.md, and docs/hr-to-entra.md for the way in");
}
