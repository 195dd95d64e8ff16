//! Managers, groups, nested groups and their members in an application's own tables, compared with what the tenant
//! itself says.

use std::collections::BTreeSet;

use muster_sandbox::{Oddities, Sandbox, SandboxOptions};
use muster_testkit::Postgres;
use serde_json::{Value, json};

use crate::oracle::Target;
use crate::support::{Program, counts, entra};

const TABLES: &str = "
    CREATE TABLE app_user (id {identity}, entra_id varchar(40) NOT NULL UNIQUE, login text NOT NULL,
        manager_id bigint REFERENCES app_user (id), is_active boolean NOT NULL DEFAULT {true});
    CREATE TABLE team (id {identity}, entra_id varchar(40) NOT NULL UNIQUE, name text NOT NULL);
    CREATE TABLE team_member (team_id bigint NOT NULL REFERENCES team (id), user_id bigint NOT NULL REFERENCES app_user (id),
        added_by text NOT NULL DEFAULT 'muster', PRIMARY KEY (team_id, user_id));
    CREATE TABLE team_part (team_id bigint NOT NULL REFERENCES team (id), part_id bigint NOT NULL REFERENCES team (id),
        PRIMARY KEY (team_id, part_id));";

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
[connections.app.types.team.multi.parts]
table = "team_part"
key = "team_id"
value = "part_id"

[syncs.staff]
from = "entra:user"
to = "app:user"
match = [{ source = "[id]", target = "entra_id" }]
guard = { disable = { percent = 100 }, clear = { percent = 100 } }
[syncs.staff.removal]
hard = "delete"
grace = "0s"
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
parts = "[members]"
[syncs.teams.removal]
soft = "delete"
[syncs.teams.guard]
member_removal = { percent = 30 }
"#;

struct World<'a> {
    sandbox: Sandbox,
    program: Program,
    target: Target<'a>,
}

type Pairs = BTreeSet<(String, String)>;

impl World<'_> {
    async fn new<'a>(program: Program, target: Target<'a>, url: &str, words: [&str; 2]) -> World<'a> {
        let options = SandboxOptions {
            seed: 5,
            users: 60,
            groups: 8,
            page_size: 10,
            oddities: Oddities::modest(),
            ..SandboxOptions::default()
        };
        let sandbox = Sandbox::start(options).await.unwrap();
        target.execute(&TABLES.replace("{identity}", words[0]).replace("{true}", words[1])).await;
        let mut program = program;
        program.set("ENTRA_SECRET", &sandbox.facts().client_secret);
        let app = format!("[connections.app]\nconnector = \"sql\"\n{url}\n");
        program.write("muster.toml", &format!("{}{app}{SYNCS}", entra(&sandbox.facts())));
        World { sandbox, program, target }
    }

    fn sync(&self, arguments: &[&str]) -> Value {
        tokio::task::block_in_place(|| self.program.sync(arguments))
    }

    fn until_quiet(&self) {
        for _ in 0..6 {
            let done = ["teams", "staff"].map(|name| counts(&self.sync(&[name])));
            if done.iter().all(String::is_empty) {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    async fn pairs(&self, query: &str) -> Pairs {
        self.target.rows(query).await.into_iter().map(|row| (row[0].clone(), row[1].clone())).collect()
    }

    /// Managers and members are those that the tenant lists, as far as they are people or groups that are there.
    async fn assert_right(&self) {
        let directory = self.sandbox.directory();
        let text = |value: &Value| value["id"].as_str().unwrap().to_owned();
        let people: BTreeSet<String> = directory.users().iter().map(text).collect();
        let groups: BTreeSet<String> = directory.groups().iter().map(text).collect();
        let managers: Pairs = people
            .iter()
            .filter_map(|person| Some((person.clone(), directory.manager(person)?)))
            .filter(|(_, manager)| people.contains(manager))
            .collect();
        let held =
            "SELECT u.entra_id, m.entra_id FROM app_user u JOIN app_user m ON m.id = u.manager_id WHERE u.is_active";
        let active = |pairs: Pairs| -> Pairs {
            let enabled =
                |person: &String| directory.user(person).is_some_and(|user| user["accountEnabled"] == json!(true));
            pairs.into_iter().filter(|(person, _)| enabled(person)).collect()
        };
        assert_eq!(active(self.pairs(held).await), active(managers), "managers");
        let of = |kind: &BTreeSet<String>| -> Pairs {
            let members = |group: &String| {
                let members = directory.members(group).unwrap_or_default();
                members
                    .into_iter()
                    .filter(|member| kind.contains(member))
                    .map(|member| (group.clone(), member))
                    .collect::<Pairs>()
            };
            groups.iter().flat_map(members).collect()
        };
        let members = "SELECT t.entra_id, u.entra_id FROM team_member m JOIN team t ON t.id = m.team_id JOIN app_user u ON u.id = m.user_id WHERE m.added_by = 'muster'";
        assert_eq!(self.pairs(members).await, of(&people), "members");
        let parts = "SELECT t.entra_id, p.entra_id FROM team_part m JOIN team t ON t.id = m.team_id JOIN team p ON p.id = m.part_id";
        assert_eq!(self.pairs(parts).await, of(&groups), "nested groups");
    }
}

async fn story(world: World<'_>) {
    let directory = world.sandbox.directory();
    let ids =
        |values: Vec<Value>| values.iter().map(|value| value["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let (people, groups) = (directory.user_ids(), ids(directory.groups()));
    directory.set_manager(&people[3], Some(&people[4])).unwrap();
    directory.set_manager(&people[4], Some(&people[3])).unwrap();
    for (group, member) in [(0, &groups[1]), (1, &groups[2]), (2, &groups[0]), (0, &people[9]), (0, &people[10])] {
        // Whoever is a member already stays one.
        drop(directory.add_member(&groups[group], member));
    }
    // The groups come before any of their members.
    let first = world.sync(&["teams"]);
    assert_eq!((first["parked"].as_u64(), world.target.number("SELECT count(*) FROM team_member").await), (Some(0), 0));
    world.until_quiet();
    world.assert_right().await;
    assert!(world.target.number("SELECT count(*) FROM team_member").await > 10);
    assert!(world.target.number("SELECT count(manager_id) FROM app_user").await > 2);

    // Somebody's own entry in a managed group stays theirs.
    let outside = |group: &String| {
        let members = directory.members(group).unwrap_or_default();
        people.iter().find(|person| !members.contains(person)).map(|person| (group.clone(), person.clone()))
    };
    let (group, outsider) = groups[..7].iter().rev().find_map(outside).unwrap();
    let by_hand = format!(
        "INSERT INTO team_member (team_id, user_id, added_by) SELECT t.id, u.id, 'hand' FROM team t, app_user u \
         WHERE t.entra_id = '{group}' AND u.entra_id = '{outsider}'"
    );
    world.target.execute(&by_hand).await;

    // Movers, leavers, a group that goes, a nested one that leaves, and one who comes back.
    directory.remove_member(&groups[0], &groups[1]).unwrap();
    directory.remove_member(&groups[0], &people[9]).unwrap();
    directory.set_manager(&people[3], Some(&people[5])).unwrap();
    directory.set_manager(&people[4], None).unwrap();
    directory.delete_user(&people[10]).unwrap();
    directory.delete_group(&groups[7]).unwrap();
    let joiner = directory.join();
    directory.add_member(&groups[2], &joiner).unwrap();
    directory.set_manager(&joiner, Some(&people[5])).unwrap();
    world.until_quiet();
    world.assert_right().await;
    let explained = tokio::task::block_in_place(|| world.program.ok(&["explain", "teams", &groups[0]]));
    assert!(explained.contains("members ← [members]") && explained.contains("nothing to add or remove"), "{explained}");
    directory.restore_user(&people[10]).unwrap();
    world.until_quiet();
    world.assert_right().await;
    directory.delete_user(&people[11]).unwrap();
    directory.purge_user(&people[11]).unwrap();
    world.until_quiet();
    world.assert_right().await;
    let left = format!("SELECT count(*) FROM app_user WHERE entra_id = '{}'", people[11]);
    assert_eq!(world.target.number(&left).await, 0, "a person who is gone leaves all groups before their row goes");
    assert_eq!(world.target.number("SELECT count(*) FROM team_member WHERE added_by = 'hand'").await, 1);

    // A group that loses most of its members at once is held, and shown before.
    for member in directory.members(&groups[0]).unwrap().into_iter().filter(|member| people.contains(member)) {
        directory.remove_member(&groups[0], &member).unwrap();
    }
    for group in &groups[1..7] {
        for member in directory.members(group).unwrap().into_iter().filter(|member| people.contains(member)) {
            directory.remove_member(group, &member).unwrap();
        }
    }
    let before = world.target.number("SELECT count(*) FROM team_member").await;
    let plan = tokio::task::block_in_place(|| world.program.ok(&["plan", "teams", "--sql"]));
    assert!(plan.contains("members") && plan.contains("DELETE FROM") && plan.contains("member_removal"), "{plan}");
    let report = world.sync(&["teams"]);
    assert!(report["held"].as_u64().unwrap() > 10, "{report}");
    assert_eq!(world.target.number("SELECT count(*) FROM team_member").await, before);
    let held = tokio::task::block_in_place(|| world.program.ok(&["--output", "json", "held", "teams"]));
    let held: Value = serde_json::from_str(held.lines().next().unwrap()).unwrap();
    let changes: Vec<u64> = held["held"][0]["objects"]
        .as_array()
        .unwrap()
        .iter()
        .map(|object| object["changes"].as_u64().unwrap())
        .collect();
    assert_eq!(Some(changes.iter().sum()), held["held"][0]["wanted"].as_u64(), "{held}");
    let digest = held["held"][0]["digest"].as_str().unwrap_or_else(|| panic!("{held}"));
    tokio::task::block_in_place(|| world.program.ok(&["approve", "teams", digest]));
    world.until_quiet();
    world.assert_right().await;
    assert_eq!(directory.violations(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_and_managers_reach_sqlite() {
    let program = Program::new();
    let target = Target::Sqlite(program.path("app.db"));
    story(World::new(program, target, "url = \"sqlite:app.db\"", ["INTEGER PRIMARY KEY", "1"]).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_and_managers_reach_postgresql() {
    let server = Postgres::start();
    let mut program = Program::new();
    program.set("APP_URL", &server.create_database("groups"));
    let target = Target::Postgres { server: &server, database: "groups".to_owned() };
    let identity = "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY";
    story(World::new(program, target, "url = { env = \"APP_URL\" }", [identity, "true"]).await).await;
}

const SCOPED: &str = r#"
[connections.app.types.user]
table = "app_user"
enabled = "is_active"
[syncs.staff]
from = "entra:user"
to = "app:user"
scope = ['[transitiveMemberOf] EQUALS "{group}"']
match = [{ source = "[id]", target = "entra_id" }]
guard = { disable = { percent = 100 } }
[syncs.staff.map]
entra_id = "[id]"
login = "[userPrincipalName]"
"#;

/// Who is in a group, through its groups as well.
fn everybody_in(world: &World<'_>, group: &str, seen: &mut BTreeSet<String>) -> BTreeSet<String> {
    let directory = world.sandbox.directory();
    let mut people = BTreeSet::new();
    if !seen.insert(group.to_owned()) {
        return people;
    }
    for member in directory.members(group).unwrap_or_default() {
        match directory.user(&member) {
            Some(user) if user["accountEnabled"] == json!(true) => drop(people.insert(member)),
            Some(_) => {}
            None => people.extend(everybody_in(world, &member, seen)),
        }
    }
    people
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scope_follows_a_group_and_the_groups_in_it() {
    let program = Program::new();
    let target = Target::Sqlite(program.path("app.db"));
    let world = World::new(program, target, "url = \"sqlite:app.db\"", ["INTEGER PRIMARY KEY", "1"]).await;
    let directory = world.sandbox.directory();
    let people = directory.user_ids();
    let group = |name: &str| {
        let body = json!({ "displayName": name, "mailEnabled": false, "mailNickname": name, "securityEnabled": true });
        directory.create_group(&body).unwrap()
    };
    let (outer, inner) = (group("application-users"), group("office"));
    for (to, member) in [(&outer, &inner), (&outer, &people[0]), (&inner, &people[1]), (&inner, &people[2])] {
        directory.add_member(to, member).unwrap();
    }
    let head = std::fs::read_to_string(world.program.path("muster.toml")).unwrap();
    let head = head.split("[connections.app.types.user]").next().unwrap();
    let configure =
        |group: &str| world.program.write("muster.toml", &format!("{head}{}", SCOPED.replace("{group}", group)));
    let run = |arguments: &[&str]| tokio::task::block_in_place(|| world.program.run(arguments));
    configure("application-users");
    assert_eq!(run(&["check"]).code, Some(0));
    let assert_right = async |context: &str| {
        let active = world.target.rows("SELECT entra_id FROM app_user WHERE is_active").await;
        let active: BTreeSet<String> = active.into_iter().map(|mut row| row.remove(0)).collect();
        assert_eq!(active, everybody_in(&world, &outer, &mut BTreeSet::new()), "{context}");
    };
    world.sync(&["staff"]);
    assert_right("at first").await;
    assert!(counts(&world.sync(&["staff"])).is_empty());
    // Somebody leaves the inner group, somebody comes, and the inner group leaves and comes back.
    directory.remove_member(&inner, &people[1]).unwrap();
    directory.add_member(&inner, &people[3]).unwrap();
    world.sync(&["staff"]);
    assert_right("movers").await;
    directory.remove_member(&outer, &inner).unwrap();
    world.sync(&["staff"]);
    assert_right("without the inner group").await;
    directory.add_member(&outer, &inner).unwrap();
    world.sync(&["staff", "--full"]);
    assert_right("with it again").await;
    let explained = tokio::task::block_in_place(|| world.program.ok(&["explain", "staff", &people[3]]));
    assert!(explained.contains("[transitiveMemberOf] EQUALS \"application-users\": holds"), "{explained}");
    // A group that nobody knows disables nobody.
    configure("aplication-users");
    let ran = run(&["sync", "staff"]);
    assert_eq!(ran.code, Some(2), "{}", ran.err);
    assert!(ran.err.contains("syncs.staff.scope") && ran.err.contains("no group is called"), "{}", ran.err);
    assert_right("a wrong name").await;
}
