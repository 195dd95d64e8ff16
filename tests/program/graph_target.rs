//! People and teams of a personnel database flow into Entra ID by Microsoft Graph itself: accounts, managers, groups and
//! members, whatever happens to the requests and to the program.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use muster_sandbox::{Sandbox, SandboxOptions};
use muster_testkit::{Action, HttpProxy, Rule};
use serde_json::Value;

use crate::support::{Program, counts, entra, sqlite};

const TABLES: &str = "
    CREATE TABLE person (no TEXT PRIMARY KEY NOT NULL, login TEXT NOT NULL, name TEXT NOT NULL, department TEXT,
        cost_centre TEXT, boss TEXT, employed BOOLEAN NOT NULL);
    CREATE TABLE team (code TEXT PRIMARY KEY NOT NULL, title TEXT NOT NULL);
    CREATE TABLE in_team (team TEXT NOT NULL, person TEXT NOT NULL, PRIMARY KEY (team, person));";

const SYNCS: &str = r#"
[connections.hr]
connector = "sql"
url = "sqlite:hr.db"
[connections.hr.types.person]
table = "person"
enabled = "employed"
references = { boss = "person" }
[connections.hr.types.team]
table = "team"
multi.members = { table = "in_team", key = "team", value = "person", references = "person" }

[syncs.people]
from = "hr:person"
to = "entra:user"
match = [{ source = "[no]", target = "employeeId" }, { source = "[login]", target = "userPrincipalName" }]
removal = { soft = "disable", hard = "delete", grace = "0s" }
guard = { disable = { min = 200 }, delete = { min = 200 }, clear = { min = 200 }, missing = { min = 200 } }
[syncs.people.password]
attribute = "passwordProfile.password"
hash = "none"
receiver = { file = "passwords.jsonl" }
[syncs.people.map]
employeeId = "[no]"
userPrincipalName = "[login]"
mailNickname = 'Word([login], 1, "@")'
displayName = "[name]"
department = "[department]"
"employeeOrgData.costCenter" = "[cost_centre]"
"passwordProfile.forceChangePasswordNextSignIn" = { value = 'CBool("false")', when = "create" }
usageLocation = { value = '"DE"', when = "create" }
manager = "[boss]"

[syncs.teams]
from = "hr:team"
to = "entra:group"
match = [{ source = "[code]", target = "uniqueName" }]
removal = { soft = "delete", hard = "delete", grace = "0s" }
guard = { delete = { min = 200 }, member_removal = { min = 200 }, missing = { min = 200 } }
[syncs.teams.map]
uniqueName = "[code]"
mailNickname = "[code]"
displayName = "[title]"
mailEnabled = 'CBool(Switch([code], "false", "t2", "true"))'
securityEnabled = 'CBool(Switch([code], "true", "t2", "false"))'
members = "[members]"
"#;

struct Company {
    program: Program,
    sandbox: Sandbox,
    proxy: HttpProxy,
    /// Who was in the tenant before, and is nobody's.
    strangers: BTreeMap<String, Value>,
}

fn all(directory: &muster_sandbox::Directory) -> BTreeMap<String, Value> {
    directory.users().into_iter().map(|user| (user["id"].as_str().unwrap().to_owned(), user)).collect()
}

impl Company {
    async fn new(people: usize, teams: usize) -> Self {
        let options = SandboxOptions { users: 5, groups: 2, ..SandboxOptions::default() };
        let sandbox = Sandbox::start(options).await.unwrap();
        let facts = sandbox.facts();
        let server: u16 = facts.authority.rsplit(':').next().unwrap().parse().unwrap();
        let proxy = HttpProxy::start(server);
        let mut program = Program::new();
        program.set("ENTRA_SECRET", &facts.client_secret);
        let connection = entra(&facts).replace(&format!(":{server}"), &format!(":{}", proxy.port()));
        program.write("muster.toml", &format!("{connection}{SYNCS}"));
        let strangers = all(&sandbox.directory());
        let company = Self { program, sandbox, proxy, strangers };
        company.hr(TABLES).await;
        for no in 1..=people {
            let boss = if no < 5 { "NULL".to_owned() } else { format!("'{}'", no / 5) };
            let row = format!(
                "INSERT INTO person VALUES ('{no}', 'p{no}@sandbox.example', 'Öberg O''Neil {no}', 'D{}', 'C{}', {boss}, true)",
                no % 3,
                no % 7
            );
            company.hr(&row).await;
            company.hr(&format!("INSERT INTO in_team SELECT 't{}', '{no}'", no % teams)).await;
        }
        for team in 0..teams {
            company.hr(&format!("INSERT INTO team VALUES ('t{team}', 'Team {team}')")).await;
        }
        company
    }

    async fn hr(&self, statement: &str) {
        use sqlx::{AssertSqlSafe, ConnectOptions as _};
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(self.program.path("hr.db"));
        let mut connection = options.create_if_missing(true).connect().await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await.unwrap();
    }

    /// The tenant holds what the personnel database says, and of others what it held before.
    async fn assert_right(&self, context: &str) {
        let hr = self.program.path("hr.db");
        let directory = self.sandbox.directory();
        let mut users = all(&directory);
        for (id, before) in &self.strangers {
            assert_eq!(users.remove(id).as_ref(), Some(before), "{context}: a stranger was touched");
        }
        let text = |user: &Value, name: &str| user[name].as_str().unwrap_or_default().to_owned();
        let mut numbers = BTreeMap::new();
        let mut found: BTreeSet<Vec<String>> = BTreeSet::new();
        for (id, user) in &users {
            let boss = directory.manager(id).and_then(|boss| users.get(&boss)).map(|boss| text(boss, "employeeId"));
            assert!(numbers.insert(text(user, "employeeId"), id.clone()).is_none(), "{context}: twice: {user}");
            let centre = user["employeeOrgData"]["costCenter"].as_str().unwrap_or_default().to_owned();
            found.insert(vec![
                text(user, "employeeId"),
                text(user, "userPrincipalName"),
                text(user, "displayName"),
                text(user, "department"),
                centre,
                boss.unwrap_or_default(),
                u8::from(user["accountEnabled"] == true).to_string(),
            ]);
        }
        let rows = sqlite(
            &hr,
            "SELECT no, login, name, coalesce(department, ''), coalesce(cost_centre, ''), coalesce(boss, ''), employed FROM person",
        )
        .await;
        assert_eq!(found, rows.into_iter().collect(), "{context}");
        let mut members: BTreeSet<(String, String)> = BTreeSet::new();
        let mut titles: BTreeSet<Vec<String>> = BTreeSet::new();
        for group in directory.groups().iter().filter(|group| !group["uniqueName"].is_null()) {
            titles.insert(vec![text(group, "uniqueName"), text(group, "displayName")]);
            for member in directory.members(group["id"].as_str().unwrap()).unwrap_or_default() {
                let number = users.get(&member).map(|user| text(user, "employeeId")).unwrap_or_default();
                members.insert((text(group, "uniqueName"), number));
            }
        }
        let rows = sqlite(&hr, "SELECT code, title FROM team").await;
        assert_eq!(titles, rows.into_iter().collect(), "{context}");
        let held = "SELECT m.team, m.person FROM in_team m JOIN team t ON t.code = m.team \
                    JOIN person p ON p.no = m.person";
        let rows = sqlite(&hr, held).await;
        let wanted = rows.into_iter().map(|row| (row[0].clone(), row[1].clone())).collect();
        assert_eq!(members, wanted, "{context}");
    }

    /// Both syncs until neither has anything to do.
    fn until_quiet(&self, context: &str) {
        for _ in 0..12 {
            let done = ["people", "teams"].map(|sync| counts(&self.program.sync(&[sync])));
            if done.iter().all(String::is_empty) {
                return;
            }
        }
        panic!("{context}: never comes to rest");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_and_teams_arrive_and_follow_what_happens() {
    let company = Company::new(60, 5).await;
    company.program.ok(&["check"]);
    let plan = company.program.ok(&["plan", "people", "--sql"]);
    assert!(plan.contains("\"forceChangePasswordNextSignIn\": false"), "{plan}");
    assert!(plan.contains("POST /users") && plan.contains("\"password\": \"…\""), "{plan}");
    assert_eq!(counts(&company.program.sync(&["people"])).split(',').next(), Some("60 created"));
    assert_eq!(counts(&company.program.sync(&["teams"])).split(',').next(), Some("5 created"));
    company.until_quiet("first load");
    company.assert_right("first load").await;
    let passwords = std::fs::read_to_string(company.program.path("passwords.jsonl")).unwrap();
    assert_eq!(passwords.lines().count(), 60);
    let groups = company.sandbox.directory().groups();
    let team = |code: &str| groups.iter().find(|group| group["uniqueName"] == code).unwrap();
    let kind = |code: &str| (team(code)["groupTypes"].to_string(), team(code)["securityEnabled"].clone());
    assert_eq!((kind("t1").0.as_str(), kind("t1").1), ("[]", true.into()));
    assert_eq!((kind("t2").0.as_str(), kind("t2").1), ("[\"Unified\"]", false.into()));

    // A joiner, movers, a leaver, and who is nobody any more.
    company.hr("INSERT INTO person VALUES ('900', 'new@sandbox.example', 'New', NULL, NULL, '1', true)").await;
    company.hr("UPDATE person SET department = 'Legal', cost_centre = NULL, boss = '900' WHERE no = '20'").await;
    company.hr("UPDATE person SET boss = NULL WHERE no = '21'").await;
    company.hr("UPDATE person SET login = 'married@sandbox.example' WHERE no = '22'").await;
    company.hr("UPDATE person SET employed = false WHERE no = '23'").await;
    company.hr("DELETE FROM in_team WHERE person = '24'").await;
    company.hr("INSERT INTO in_team VALUES ('t0', '900'), ('t1', '900'), ('t0', '24')").await;
    company.hr("DELETE FROM in_team WHERE team = 't4'").await;
    company.hr("DELETE FROM team WHERE code = 't4'").await;
    company.hr("UPDATE team SET title = 'The crew' WHERE code = 't3'").await;
    company.until_quiet("a day");
    company.assert_right("a day").await;

    // A name that somebody has waits, named, and heals.
    company.hr("UPDATE person SET login = 'p31@sandbox.example' WHERE no = '30'").await;
    company.program.sync(&["people"]);
    let parked: Value = serde_json::from_str(&company.program.ok(&["--output", "json", "parked", "people"])).unwrap();
    assert_eq!(parked["parked"][0]["attribute"], "userPrincipalName", "{parked}");
    company.hr("UPDATE person SET login = 'p31b@sandbox.example' WHERE no = '30'").await;
    company.until_quiet("healed");
    company.assert_right("healed").await;

    // Somebody who is in the tenant already, by name, is taken over and not made twice.
    let found = company.sandbox.directory().user(company.strangers.keys().next().unwrap()).unwrap();
    let name = found["userPrincipalName"].as_str().unwrap();
    company.hr(&format!("INSERT INTO person VALUES ('901', '{name}', 'Old hand', 'D', 'C', NULL, true)")).await;
    assert_eq!(company.program.sync(&["people"])["created"], 0);
    let id = found["id"].as_str().unwrap();
    assert_eq!(company.sandbox.directory().user(id).unwrap()["displayName"], "Old hand");
    company.sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_answers_and_refused_moments_make_nobody_twice() {
    let answer = |status: u16, headers: &[(&str, &str)]| Action::Answer {
        status,
        headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        body: b"{\"error\":{\"code\":\"X\",\"message\":\"x\"}}".to_vec(),
    };
    let scenarios: Vec<(&str, Action)> = vec![
        ("the answer is lost", Action::DropAnswer),
        ("the answer arrives in part", Action::CutBody(60)),
        ("the answer is turned over", Action::Corrupt),
        ("a gateway answers", answer(502, &[])),
        ("Graph is limited", answer(429, &[("Retry-After", "1")])),
        ("the token ran out", answer(401, &[])),
    ];
    for (name, action) in scenarios {
        let company = Company::new(50, 3).await;
        // Of the batches some are searches and some are changes.
        for after in [0, 2, 3] {
            company.proxy.add(Rule::on("POST", "$batch").after(after).times(1), action.clone());
        }
        for _ in 0..3 {
            company.program.run(&["sync", "people"]);
            company.program.run(&["sync", "teams"]);
        }
        assert!(company.proxy.struck().iter().all(|struck| *struck == 1), "{name}: {:?}", company.proxy.struck());
        company.until_quiet(name);
        company.assert_right(name).await;
        company.sandbox.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_it_writes_the_tenant_equals_the_database() {
    let company = Company::new(60, 4).await;
    let mut chance: u64 = 31;
    let mut longest = Duration::from_millis(500);
    let mut killed = 0;
    for round in 0..24_u64 {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let no = 1 + (chance >> 40) % 60;
        company
            .hr(&format!("UPDATE person SET department = 'R{round}', boss = '{}' WHERE no = '{no}'", 1 + no / 7))
            .await;
        company
            .hr(&format!(
                "INSERT INTO person VALUES ('{0}', 'k{0}@sandbox.example', 'K', NULL, NULL, '1', true)",
                1_000 + round
            ))
            .await;
        company.hr(&format!("INSERT INTO in_team VALUES ('t{}', '{}')", round % 4, 1_000 + round)).await;
        for sync in ["people", "teams"] {
            let pause = longest.mul_f64(((chance >> 33) % 1_000) as f64 / 1_000.0);
            match company.program.kill_within(pause, &["sync", sync]) {
                Some(whole) => longest = whole,
                None => killed += 1,
            }
        }
    }
    assert!(killed > 0, "no kill came before the program's own end");
    company.until_quiet("kills");
    company.assert_right("kills").await;
    company.sandbox.stop().await;
}
