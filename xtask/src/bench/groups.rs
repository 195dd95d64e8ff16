//! A group of many members: how long it takes to fill it, and to change one member in a hundred, beside the raw best of
//! the same pairs in the same run.

use std::io::Write;
use std::path::Path;

use anyhow::{Context as _, bail};
use muster_sandbox::{Oddities, Sandbox, SandboxOptions};
use serde_json::json;

use super::measure::{Measured, sync};
use super::target::{Place, Target};

const TABLES: [&str; 3] = [
    "CREATE TABLE app_user (id {identity}, entra_id varchar(40) NOT NULL UNIQUE, login text NOT NULL,
        manager_id bigint REFERENCES app_user (id), is_active boolean NOT NULL DEFAULT true)",
    "CREATE TABLE team (id {identity}, entra_id varchar(40) NOT NULL UNIQUE, name text NOT NULL)",
    "CREATE TABLE team_member (team_id bigint NOT NULL REFERENCES team (id),
        user_id bigint NOT NULL REFERENCES app_user (id), PRIMARY KEY (team_id, user_id))",
];

const SYNCS: &str = r#"
[connections.app.types.user]
table = "app_user"
enabled = "is_active"
[connections.app.types.team]
table = "team"
[connections.app.types.team.multi.members]
table = "team_member"
key = "team_id"
value = "user_id"
[syncs.staff]
from = "entra:user"
to = "app:user"
match = [{ source = "[id]", target = "entra_id" }]
[syncs.staff.map]
entra_id = "[id]"
login = "[userPrincipalName]"
manager_id = "[manager]"
[syncs.teams]
from = "entra:group"
to = "app:team"
match = [{ source = "[id]", target = "entra_id" }]
[syncs.teams.map]
entra_id = "[id]"
name = "[displayName]"
members = "[members]"
[syncs.teams.removal]
soft = "delete"
[syncs.teams.guard]
member_removal = { percent = 5 }
"#;

pub(crate) fn run(members: &[usize], output: &mut dyn Write) -> anyhow::Result<()> {
    let program = super::build()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    writeln!(
        output,
        "a group of so many members, and people with managers: sandbox → target, each the program from start to end\n\
         raw: the same pairs, in memory already, inserted by one transaction\n"
    )?;
    writeln!(
        output,
        "{:>9}  {:<12} {:>9} {:>7} {:>9} {:>6} {:>8} {:>7} {:>9}",
        "members", "target", "people s", "raw s", "members s", "ratio", "-1 % s", "idle s", "peak MiB"
    )?;
    for members in members {
        for target in [Target::PostgresNumbered, Target::Sqlite] {
            runtime.block_on(one(&program, *members, target, output))?;
        }
    }
    Ok(())
}

async fn one(program: &Path, members: usize, target: Target, output: &mut dyn Write) -> anyhow::Result<()> {
    let options = SandboxOptions { users: members, groups: 0, oddities: Oddities::none(), ..SandboxOptions::default() };
    let sandbox = Sandbox::start(options).await?;
    let refused = |refusal| anyhow::anyhow!("the sandbox refused a change: {refusal:?}");
    let directory = sandbox.directory();
    let body = json!({ "displayName": "Everybody", "mailNickname": "everybody", "mailEnabled": false, "securityEnabled": true });
    let group = directory.create_group(&body).map_err(refused)?;
    let people = directory.user_ids();
    for person in &people {
        directory.add_member(&group, person).map_err(refused)?;
    }
    let folder = tempfile::tempdir()?;
    let place = target.open(folder.path()).await?;
    let raw = place.raw_pairs(people.len()).await?;
    for table in TABLES {
        place.execute(&table.replace("{identity}", target.identity())).await?;
    }
    std::fs::write(folder.path().join("muster.toml"), super::connections(&sandbox, &place.url()) + SYNCS)?;
    let secret = sandbox.facts().client_secret;
    let run = |name: &str| sync(program, folder.path(), &secret, name);
    let filled = run("staff")?;
    let added = run("teams")?;
    expect(&added, "values_added", people.len())?;
    for person in people.iter().step_by(100) {
        directory.remove_member(&group, person).map_err(refused)?;
    }
    let removed = run("teams")?;
    expect(&removed, "values_removed", people.len().div_ceil(100))?;
    let idle = run("teams")?;
    expect(&idle, "values_removed", 0)?;
    check(&place, people.len() - people.len().div_ceil(100)).await?;
    let peak = [&filled, &added, &removed, &idle].into_iter().map(|one| one.peak_mib).fold(0.0, f64::max);
    writeln!(
        output,
        "{members:>9}  {:<12} {:>9.2} {raw:>7.2} {:>9.2} {:>6.2} {:>8.2} {:>7.2} {peak:>9.0}",
        target.name().split(',').next().unwrap_or_default(),
        filled.seconds,
        added.seconds,
        added.seconds / raw,
        removed.seconds,
        idle.seconds
    )?;
    output.flush()?;
    sandbox.stop().await;
    Ok(())
}

fn expect(measured: &Measured, counter: &str, wanted: usize) -> anyhow::Result<()> {
    if measured.report[counter] != json!(wanted) {
        bail!("{wanted} were to be {counter}: {}", measured.report);
    }
    Ok(())
}

async fn check(place: &Place, wanted: usize) -> anyhow::Result<()> {
    let there = place.count("team_member").await.context("the members cannot be counted")?;
    if there != wanted {
        bail!("{there} members are there, and not {wanted}");
    }
    Ok(())
}
