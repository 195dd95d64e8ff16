//! How fast a sync is, beside the raw best of the same rows into the same target in the same run.
//!
//! Ratios of one run are good to about 15 %: both sides share the machine with the tenant that is read.

pub(crate) mod apply;
pub(crate) mod groups;
pub(crate) mod ldap;
mod measure;
mod sending;
mod sqlserver;
mod target;

use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use muster_sandbox::{Oddities, Sandbox, SandboxOptions};
use serde_json::{Value, json};

use measure::{Measured, Service, sync};
use target::{MAPPINGS, Target};

pub(crate) fn run(users: &[usize], output: &mut dyn Write) -> anyhow::Result<()> {
    let program = build()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    writeln!(
        output,
        "sandbox → target, {} mapped attributes, matching on, state durable, PostgreSQL with fsync\n\
         full: the program from start to end; raw: the same rows, in memory already, staged, upserted and swept,\n\
         before and twice after the program, of which the median counts\n\
         delta and idle: cycles of a running service, in seconds of their own report\n",
        MAPPINGS.len()
    )?;
    writeln!(
        output,
        "{:>9}  {:<26} {:>7} {:>7} {:>6} {:>8} {:>9} {:>9} {:>9} {:>10}",
        "users", "target", "raw s", "full s", "ratio", "1 % s", "idle s", "peak MiB", "run MiB", "state MiB"
    )?;
    for users in users {
        for target in Target::ALL {
            runtime.block_on(one(&program, *users, target, output))?;
        }
    }
    Ok(())
}

fn build() -> anyhow::Result<PathBuf> {
    let status = Command::new(env!("CARGO")).args(["build", "--profile", "dist", "--package", "muster"]).status()?;
    if !status.success() {
        bail!("the build failed");
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("no workspace")?;
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    Ok(target.join("dist").join("muster"))
}

async fn one(program: &Path, users: usize, target: Target, output: &mut dyn Write) -> anyhow::Result<()> {
    let options = SandboxOptions { users, groups: 0, oddities: Oddities::none(), ..SandboxOptions::default() };
    let sandbox = Sandbox::start(options).await?;
    let people = sandbox.directory().users();
    let folder = tempfile::tempdir()?;
    let place = target.open(folder.path()).await?;
    let mut raw = vec![place.raw(&people).await?];
    place.make_table().await?;
    configure(folder.path(), &sandbox, &place.url())?;
    let secret = sandbox.facts().client_secret;
    let full = sync(program, folder.path(), &secret, "staff")?;
    if full.report["created"] != json!(people.len()) {
        bail!("not everybody was created: {}", full.report);
    }
    let state = std::fs::metadata(folder.path().join("muster.state.db"))?.len() as f64 / 1_048_576.0;

    let mut service = Service::start(program, folder.path(), &secret)?;
    service.cycle()?;
    change(&sandbox, &people)?;
    let delta = service.cycle()?;
    if delta["updated"] != json!(changed(&people)) {
        bail!("not every change arrived: {delta}");
    }
    let idle = service.cycle()?;
    if idle["updated"] != json!(0) {
        bail!("an idle delta wrote: {idle}");
    }
    let resident = service.peak_mib();
    drop(service);
    for _ in 0..2 {
        raw.push(place.raw(&people).await?);
    }
    let raw = measure::median(raw);
    let Measured { seconds, peak_mib, .. } = full;
    let own = |report: &Value| report["seconds"].as_f64().unwrap_or_default();
    writeln!(
        output,
        "{users:>9}  {:<26} {raw:>7.2} {seconds:>7.2} {:>6.2} {:>8.3} {:>9.4} {peak_mib:>9.0} {resident:>9.0} {state:>10.0}",
        target.name(),
        seconds / raw,
        own(&delta),
        own(&idle)
    )?;
    output.flush()?;
    sandbox.stop().await;
    Ok(())
}

fn changed(people: &[Value]) -> usize {
    (people.len() / 100).max(1)
}

/// One person in a hundred moves to another department.
fn change(sandbox: &Sandbox, people: &[Value]) -> anyhow::Result<()> {
    let directory = sandbox.directory();
    for person in people.iter().step_by(100).take(changed(people)) {
        let id = person["id"].as_str().context("a user without id")?;
        let refused = |refusal| anyhow::anyhow!("the sandbox refused a change: {refusal:?}");
        directory.patch_user(id, &json!({ "department": "Somewhere else" })).map_err(refused)?;
    }
    Ok(())
}

/// The part of a configuration that says where the tenant and the target are.
fn connections(sandbox: &Sandbox, url: &str) -> String {
    let facts = sandbox.facts();
    format!(
        "[service]\nlisten = \"off\"\n\
         [connections.entra]\nconnector = \"entra\"\ntenant = {:?}\nclient_id = {:?}\nclient_secret = {{ env = \"BENCH_SECRET\" }}\n\
         authority = {:?}\ngraph_url = {:?}\n[connections.app]\nconnector = \"sql\"\nurl = {url:?}\n",
        facts.tenant, facts.client_id, facts.authority, facts.graph_url,
    )
}

fn configure(folder: &Path, sandbox: &Sandbox, url: &str) -> anyhow::Result<()> {
    let mut text = connections(sandbox, url);
    text.push_str(
        "[connections.app.types.user]\ntable = \"app_user\"\nenabled = \"is_active\"\n\
         [syncs.staff]\nfrom = \"entra:user\"\nto = \"app:user\"\n\
         match = [{ source = \"[userPrincipalName]\", target = \"login\" }]\n[syncs.staff.map]\n",
    );
    for (column, attribute) in MAPPINGS {
        writeln!(text, "{column} = \"[{attribute}]\"")?;
    }
    std::fs::write(folder.join("muster.toml"), text)?;
    Ok(())
}
