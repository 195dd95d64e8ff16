//! `muster demo`: the whole job on this machine, leaving everything there to look at.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use muster_connector::{Batch, Epoch, Kind, Operation, OperationId};
use muster_engine::{CycleOptions, PlanOptions};
use muster_model::{Row, Slot};
use muster_sandbox::{Directory, Facts, Sandbox, SandboxOptions};
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
const GROUPS: usize = 40;

pub(crate) async fn run(arguments: &DemoArguments) -> Result<(), Failure> {
    let folder = prepare(&arguments.dir)?;
    let sandbox = start(arguments).await?;
    let facts = sandbox.facts();
    write_configuration(&folder, &facts)?;
    let app = folder.join("app.db");
    muster_connector_sql::script::run_script(&app, include_str!("../../demo/app.sql"))
        .await
        .map_err(Failure::unexpected)?;

    line(format!("1. An Entra ID tenant with {} users runs at {}.", arguments.users, facts.graph_url));
    line(format!("2. An application's database is at {}; its table app_user has two rows already:", app.display()));
    line("     svc-backup, which is nobody's business, and one person with an outdated department.");
    let directory = sandbox.directory();
    let people = staff(&directory);
    let demo = Demo { config: folder.join("muster.toml") };
    if let Some(person) = people.first() {
        demo.insert_outdated(person).await?;
    }
    line("");
    line("3. What a sync would do (muster plan staff):");
    line("");
    demo.plan(1).await?;
    line("");
    line("4. The first sync (muster sync staff):");
    line("");
    demo.sync().await?;
    line("");
    line("5. At the source somebody joins, somebody moves to another department, and somebody leaves:");
    line("");
    change(&directory, &people)?;
    demo.plan(3).await?;
    line("");
    demo.sync().await?;
    line("");
    line("6. And once more, with nothing new:");
    line("");
    demo.sync().await?;
    sandbox.stop().await;
    farewell(&folder, arguments, &facts);
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
        users: arguments.users,
        groups: GROUPS,
        port: PORT,
        ..SandboxOptions::default()
    };
    match Sandbox::start(options.clone()).await {
        Ok(sandbox) => Ok(sandbox),
        // Somebody else has the port; any other is as good, apart from a second look later.
        Err(_) => Ok(Sandbox::start(SandboxOptions { port: 0, ..options }).await?),
    }
}

fn write_configuration(folder: &Path, facts: &Facts) -> Result<(), Failure> {
    let text = include_str!("../../demo/muster.toml")
        .replace("{tenant}", &facts.tenant)
        .replace("{client_id}", &facts.client_id)
        .replace("{authority}", &facts.authority)
        .replace("{graph_url}", &facts.graph_url);
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

/// Enabled members, who make good examples.
fn staff(directory: &Directory) -> Vec<Value> {
    let is_staff = |user: &Value| {
        user["accountEnabled"] == json!(true) && user["userType"] == json!("Member") && user["department"].is_string()
    };
    directory.users().into_iter().filter(is_staff).take(40).collect()
}

fn text<'a>(user: &'a Value, attribute: &str) -> &'a str {
    user[attribute].as_str().unwrap_or_default()
}

/// A joiner, a mover and a leaver.
fn change(directory: &Directory, people: &[Value]) -> Result<(), Failure> {
    let refused = |refusal| Failure::unexpected(format!("the sandbox refused a change: {refusal:?}"));
    let joiner = directory.join();
    if let Some(user) = directory.user(&joiner) {
        line(format!("     joiner: {}", text(&user, "displayName")));
    }
    let [_, mover, leaver, ..] = people else { return Ok(()) };
    let other = people.iter().map(|user| text(user, "department")).find(|name| *name != text(mover, "department"));
    let department = other.unwrap_or("Legal");
    directory.patch_user(text(mover, "id"), &json!({ "department": department })).map_err(refused)?;
    line(format!("     mover:  {}, from {} to {department}", text(mover, "displayName"), text(mover, "department")));
    directory.delete_user(text(leaver, "id")).map_err(refused)?;
    line(format!("     leaver: {}", text(leaver, "displayName")));
    line("");
    Ok(())
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

    async fn plan(&self, limit: usize) -> Result<(), Failure> {
        let settings = world::settings_of_files(&self.config)?;
        let sync = world::find_sync(&settings, "staff")?;
        let state = world::state(&settings).await?;
        let progress = Arc::new(Progress::new(true));
        let engine = world::engine(&settings, sync, &state, progress.clone()).await?;
        let planned = engine.plan(&world::rules(sync), &PlanOptions { limit, ..PlanOptions::default() }).await;
        progress.finish();
        output::plan(&planned.map_err(|error| Failure::engine(&error, &settings))?);
        Ok(())
    }

    async fn sync(&self) -> Result<(), Failure> {
        let settings = world::settings_of_files(&self.config)?;
        let sync = world::find_sync(&settings, "staff")?;
        let state = world::state(&settings).await?;
        let progress = Arc::new(Progress::new(true));
        let engine = world::engine(&settings, sync, &state, progress.clone()).await?;
        let result = engine.cycle(&world::rules(sync), &CycleOptions::default()).await;
        progress.finish();
        output::report(&result.map_err(|error| Failure::engine(&error, &settings))?);
        Ok(())
    }
}

fn farewell(folder: &Path, arguments: &DemoArguments, facts: &Facts) {
    let config = folder.join("muster.toml");
    let port = facts.graph_url.rsplit(':').next().and_then(|rest| rest.split('/').next()).unwrap_or_default();
    line("");
    line(format!("Everything is still in {}:", folder.display()));
    line("  muster.toml      the configuration: connections, one sync, its mappings and guard");
    line("  app.db           the application's database; look into it with");
    line(format!(
        "                   sqlite3 {} 'SELECT login, department, is_active FROM app_user LIMIT 10'",
        folder.join("app.db").display()
    ));
    line("  muster.state.db  what Muster knows of both sides");
    line("");
    line("What to try next:");
    line(format!("  muster -c {} status", config.display()));
    line(format!("  muster -c {} schema app", config.display()));
    line("  and, with the tenant running again in another terminal");
    line(format!(
        "    muster sandbox --port {port} --seed {} --users {} --groups {GROUPS} --churn 2",
        arguments.seed, arguments.users
    ));
    line(format!("    muster -c {} plan staff --sql", config.display()));
    line(
        "  (the tenant starts anew: it knows nothing of the joiner, the mover and the leaver, so the plan takes them back)",
    );
    line("");
    line("From here to your own tenant: docs/getting-started.md");
}
