//! A personnel database as the source: whatever happens there arrives in the application's tables, whichever way changes
//! are noticed, whenever the program is killed.

use muster_testkit::{MariaDb, Postgres};
use serde_json::Value;

use crate::support::{Program, counts};

const TABLES: &str = "
    CREATE TABLE person (no integer PRIMARY KEY, name varchar(60) NOT NULL, boss integer, employed integer NOT NULL,
        version bigint NOT NULL);
    CREATE TABLE person_phone (person integer NOT NULL, number varchar(20) NOT NULL);
    CREATE TABLE team (code varchar(9) PRIMARY KEY, title varchar(40) NOT NULL, version bigint NOT NULL);
    CREATE TABLE in_team (team varchar(9) NOT NULL, person integer NOT NULL);
    CREATE TABLE seen_change (seq bigint NOT NULL PRIMARY KEY, person integer, team varchar(9));
    CREATE TABLE app_user (id {identity}, no integer NOT NULL UNIQUE, name varchar(60) NOT NULL, manager bigint,
        FOREIGN KEY (manager) REFERENCES app_user (id), is_active boolean NOT NULL);
    CREATE TABLE app_phone (user_id bigint NOT NULL, number varchar(20) NOT NULL, PRIMARY KEY (user_id, number),
        FOREIGN KEY (user_id) REFERENCES app_user (id) ON DELETE CASCADE);
    CREATE TABLE app_team (id {identity}, code varchar(9) NOT NULL UNIQUE, title varchar(40) NOT NULL);
    CREATE TABLE app_member (team_id bigint NOT NULL, user_id bigint NOT NULL, PRIMARY KEY (team_id, user_id),
        FOREIGN KEY (team_id) REFERENCES app_team (id) ON DELETE CASCADE,
        FOREIGN KEY (user_id) REFERENCES app_user (id) ON DELETE CASCADE);
    CREATE VIEW staff AS SELECT no, name, boss, employed, version FROM person WHERE no < 1000000";

const CONFIGURATION: &str = r#"
[connections.hr]
connector = "sql"
url = { env = "APP_URL" }
[connections.hr.types.person]
table = "staff"
anchor = ["no"]
enabled = "employed"
references = { boss = "person" }
multi.phones = { table = "person_phone", key = "person", value = "number" }
{person}
[connections.hr.types.team]
query = """
SELECT code, title, version FROM team
"""
anchor = ["code"]
multi.members = { table = "in_team", key = "team", value = "person", references = "person" }
{team}

[connections.app]
connector = "sql"
url = { env = "APP_URL" }
[connections.app.types.user]
table = "app_user"
enabled = "is_active"
multi.phones = { table = "app_phone", key = "user_id", value = "number" }
[connections.app.types.team]
table = "app_team"
multi.members = { table = "app_member", key = "team_id", value = "user_id" }

[syncs.people]
from = "hr:person"
to = "app:user"
match = [{ source = "[no]", target = "no" }]
guard = {guard}
[syncs.people.map]
no = "[no]"
name = "[name]"
manager = "[boss]"
phones = "[phones]"

[syncs.teams]
from = "hr:team"
to = "app:team"
match = [{ source = "[code]", target = "code" }]
removal = { soft = "delete", hard = "delete", grace = "0s" }
guard = {guard}
[syncs.teams.map]
code = "[code]"
title = "[title]"
members = "[members]"
"#;

const OPEN: &str = "{ delete = { min = 9999 }, disable = { min = 9999 }, clear = { min = 9999 }, \
                    member_removal = { min = 9999 }, missing = { min = 9999 } }";

/// How changes are noticed, for people and for teams.
const WAYS: [(&str, &str, &str); 3] = [
    ("all rows every time", "", ""),
    (
        "a column that grows",
        r#"changes = { column = "version", overlap = "1ms", keys_every = "1ms" }"#,
        r#"changes = { column = "version", overlap = "1ms", keys_every = "1ms" }"#,
    ),
    (
        "a table of changes",
        r#"changes = { table = "seen_change", sequence = "seq", key = "person", with_values = true, overlap = "1m" }"#,
        r#"changes = { table = "seen_change", sequence = "seq", key = "team", with_values = true, overlap = "1m" }"#,
    ),
];

/// The same random numbers in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

struct Hr<'a> {
    rows: &'a dyn Fn(&str) -> Vec<Vec<String>>,
    chance: Chance,
    version: u64,
}

impl Hr<'_> {
    /// One change that somebody makes, and what triggers would note of it.
    fn change(&mut self) {
        self.version += 1;
        let (version, person, other) = (self.version, self.chance.below(60), self.chance.below(60));
        let team = format!("t{}", self.chance.below(5));
        let touched =
            |table: &str, condition: &str| format!("UPDATE {table} SET version = {version} WHERE {condition}");
        let of_person = format!("no = {person}");
        let of_team = format!("code = '{team}'");
        let employed = u64::from(self.chance.below(8) > 0);
        let (statements, is_person) = match self.chance.below(12) {
            0..=2 => (
                vec![
                    format!("DELETE FROM person WHERE no = {person}"),
                    format!(
                        "INSERT INTO person VALUES ({person}, 'P{person}-{version}', {other}, {employed}, {version})"
                    ),
                ],
                true,
            ),
            3 => (vec![format!("UPDATE person SET boss = NULL, version = {version} WHERE {of_person}")], true),
            4 => (vec![format!("DELETE FROM person WHERE {of_person}")], true),
            5 => (vec![format!("INSERT INTO person_phone VALUES ({person}, '+{version}')")], true),
            6 => (vec![format!("DELETE FROM person_phone WHERE person = {person}")], true),
            7 => (vec![format!("INSERT INTO in_team VALUES ('{team}', {person})")], false),
            8 => (vec![format!("DELETE FROM in_team WHERE team = '{team}' AND person > {person}")], false),
            9 => (vec![format!("DELETE FROM team WHERE {of_team}")], false),
            _ => (
                vec![
                    format!("DELETE FROM team WHERE {of_team}"),
                    format!("INSERT INTO team VALUES ('{team}', 'T{version}', {version})"),
                ],
                false,
            ),
        };
        statements.iter().for_each(|statement| drop((self.rows)(statement)));
        // Some applications touch the row when only its values changed, some do not.
        if self.chance.below(2) == 0 {
            (self.rows)(&if is_person { touched("person", &of_person) } else { touched("team", &of_team) });
        }
        (self.rows)(&match is_person {
            true => format!("INSERT INTO seen_change VALUES ({version}, {person}, NULL)"),
            false => format!("INSERT INTO seen_change VALUES ({version}, NULL, '{team}')"),
        });
    }

    /// What the application must hold, by queries on the personnel tables.
    fn wanted(&self) -> [Vec<Vec<String>>; 4] {
        let rows = |sql| (self.rows)(sql);
        [
            rows(
                "SELECT p.no, p.name, b.no FROM person p LEFT JOIN person b ON b.no = p.boss WHERE p.employed <> 0 ORDER BY p.no",
            ),
            rows(
                "SELECT DISTINCT n.person, n.number FROM person_phone n JOIN person p ON p.no = n.person \
                 WHERE p.employed <> 0 ORDER BY n.person, n.number",
            ),
            rows("SELECT code, title FROM team ORDER BY code"),
            rows(
                "SELECT DISTINCT m.team, m.person FROM in_team m JOIN team t ON t.code = m.team \
                 JOIN person p ON p.no = m.person ORDER BY m.team, m.person",
            ),
        ]
    }

    fn held(&self) -> [Vec<Vec<String>>; 4] {
        let rows = |sql| (self.rows)(sql);
        [
            rows(
                "SELECT u.no, u.name, m.no FROM app_user u LEFT JOIN app_user m ON m.id = u.manager WHERE u.is_active ORDER BY u.no",
            ),
            rows(
                "SELECT u.no, n.number FROM app_phone n JOIN app_user u ON u.id = n.user_id WHERE u.is_active ORDER BY u.no, n.number",
            ),
            rows("SELECT code, title FROM app_team ORDER BY code"),
            rows(
                "SELECT t.code, u.no FROM app_member m JOIN app_team t ON t.id = m.team_id JOIN app_user u ON u.id = m.user_id \
                 ORDER BY t.code, u.no",
            ),
        ]
    }
}

fn program(url: &str, (person, team): (&str, &str), guard: &str) -> Program {
    let mut program = Program::new();
    program.set("APP_URL", url);
    let text = CONFIGURATION.replace("{person}", person).replace("{team}", team).replace("{guard}", guard);
    program.write("muster.toml", &text);
    program
}

fn whatever_happens_arrives(url: &str, rows: &dyn Fn(&str) -> Vec<Vec<String>>, way: &(&str, &str, &str), seed: u64) {
    let (name, person, team) = *way;
    let mut program = program(url, (person, team), OPEN);
    let mut hr = Hr { rows, chance: Chance(seed), version: 0 };
    (0..150).for_each(|_| hr.change());
    program.ok(&["check"]);
    let kills = ["page_merged:1", "page_merged:2", "round_finished:1", "swept:1", "batch_answered:1", "batch_noted:1"];
    for round in 0..10 {
        let context = format!("{name}, seed {seed}, round {round}");
        (0..15).for_each(|_| hr.change());
        if round % 3 == 1 {
            let kill = kills[usize::try_from(hr.chance.below(kills.len() as u64)).unwrap()];
            program.set("CRASH_MUSTER_AT", kill);
            for sync in ["people", "teams"] {
                program.run(&["sync", sync]);
                hr.change();
            }
            program.unset("CRASH_MUSTER_AT");
        }
        program.sync(&["people"]);
        program.sync(&["teams"]);
        // People who came late are members by now, and leads.
        program.sync(&["people"]);
        let (wanted, held) = (hr.wanted(), hr.held());
        for (wanted, held) in wanted.iter().zip(&held) {
            let missed =
                wanted.iter().find(|row| !held.contains(row)).map(|row| program.ok(&["explain", "people", &row[0]]));
            assert_eq!(held, wanted, "{context}{}", missed.unwrap_or_default());
        }
        for sync in ["people", "teams"] {
            assert_eq!(counts(&program.sync(&[sync])), "", "{context}: a second run changes nothing");
        }
    }
}

fn on_postgres(way: usize, seed: u64) {
    let postgres = Postgres::start();
    let url = postgres.create_database("hr");
    let rows = |sql: &str| postgres.psql_in("hr", sql);
    rows(&TABLES.replace("{identity}", "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY"));
    whatever_happens_arrives(&url, &rows, &WAYS[way], seed);
}

#[test]
fn a_source_without_changes_is_read_in_full_every_time() {
    on_postgres(0, 1);
}

#[test]
fn a_source_is_followed_by_a_column_and_its_keys() {
    on_postgres(1, 2);
}

#[test]
fn a_source_is_followed_by_a_table_of_changes() {
    on_postgres(2, 3);
}

#[test]
fn a_source_in_mariadb_is_followed_too() {
    let mariadb = MariaDb::start();
    let rows = |sql: &str| mariadb.sql(sql);
    rows(&TABLES.replace("{identity}", "bigint AUTO_INCREMENT PRIMARY KEY"));
    whatever_happens_arrives(&mariadb.url(), &rows, &WAYS[1], 4);
}

#[test]
fn a_table_that_lost_half_its_rows_takes_nobodys_access() {
    let postgres = Postgres::start();
    let url = postgres.create_database("hr");
    let rows = |sql: &str| postgres.psql_in("hr", sql);
    rows(&TABLES.replace("{identity}", "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY"));
    rows("INSERT INTO person SELECT n, 'P' || n, NULL, 1, n FROM generate_series(1, 200) n");
    for (_, person, team) in &WAYS[..2] {
        rows("TRUNCATE app_user CASCADE");
        let program = program(&url, (person, team), "{ delete = { percent = 5 } }");
        assert_eq!(program.sync(&["people"])["created"], 200);
        rows("CREATE TABLE kept AS SELECT * FROM person; DELETE FROM person WHERE no > 100");
        let report = program.sync(&["people"]);
        assert_eq!(counts(&report), "", "{report}");
        let notes: Vec<&str> = report["notes"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let held = notes.iter().any(|note| note.contains("100 missing ones") && note.contains("muster approve people"));
        assert!(held, "{notes:?}");
        assert_eq!(rows("SELECT count(*) FROM app_user WHERE is_active"), [["200"]]);
        // Whoever is missing is named.
        let listed = program.ok(&["held", "people"]);
        assert!(listed.contains("101") && listed.contains("missing"), "{listed}");
        rows("DELETE FROM person; INSERT INTO person SELECT * FROM kept; DROP TABLE kept");
        assert_eq!(counts(&program.sync(&["people"])), "");
        assert!(!program.ok(&["held", "people"]).contains("missing"));
    }
}

#[test]
fn what_is_read_is_checked_shown_and_explained() {
    let postgres = Postgres::start();
    let url = postgres.create_database("hr");
    let rows = |sql: &str| postgres.psql_in("hr", sql);
    rows(&TABLES.replace("{identity}", "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY"));
    rows("INSERT INTO person VALUES (7, 'Åsa', NULL, 1, 1), (8, 'Bo', 7, 1, 2)");
    let program = program(&url, (WAYS[1].1, WAYS[1].2), OPEN);
    program.ok(&["check"]);
    let planned = program.ok(&["plan", "people"]);
    assert!(planned.contains("Åsa"), "{planned}");
    program.sync(&["people"]);
    assert_eq!(rows("SELECT u.name FROM app_user u JOIN app_user m ON m.id = u.manager"), [["Bo"]]);
    let explained = program.ok(&["explain", "people", "8"]);
    assert!(explained.contains("Bo") && explained.contains("[boss]"), "{explained}");
    let shown = program.ok(&["schema", "hr"]);
    assert!(["person", "team", "phones", "members"].iter().all(|name| shown.contains(name)), "{shown}");
    // A query is only read.
    let configuration = CONFIGURATION.replace("{person}", "").replace("{team}", "").replace("{guard}", OPEN);
    program.write(
        "muster.toml",
        &configuration.replace("from = \"hr:team\"\nto = \"app:team\"", "from = \"hr:person\"\nto = \"hr:team\""),
    );
    let told = program.fails(2, &["check"]);
    assert!(told.contains("cannot be written"), "{told}");
}

#[test]
fn keys_alone_tell_who_is_gone_and_who_came_unnoticed() {
    let postgres = Postgres::start();
    let url = postgres.create_database("hr");
    let rows = |sql: &str| postgres.psql_in("hr", sql);
    rows(&TABLES.replace("{identity}", "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY"));
    rows("INSERT INTO person SELECT n, 'P' || n, NULL, 1, n FROM generate_series(1, 12000) n");
    let program = program(&url, (WAYS[1].1, WAYS[1].2), OPEN);
    let configuration = std::fs::read_to_string(program.path("muster.toml")).unwrap();
    program.write("muster.toml", &configuration.replace("phones = \"[phones]\"\n", ""));
    assert_eq!(program.sync(&["people"])["created"], 12_000);
    // As many as before, and none of it by a greater number.
    rows("DELETE FROM person WHERE no = 7777; INSERT INTO person VALUES (0, 'Late', 5, 1, 3)");
    let report = program.sync(&["people"]);
    assert_eq!((&report["created"], &report["disabled"]), (&1.into(), &1.into()), "{report}");
    assert_eq!(rows("SELECT no FROM app_user WHERE NOT is_active"), [["7777"]]);
    assert_eq!(counts(&program.sync(&["people"])), "");
    // Back again as it was, which no delta tells.
    rows("INSERT INTO person VALUES (7777, 'Back', NULL, 1, 5)");
    assert_eq!(program.sync(&["people"])["enabled"], 1);
    assert_eq!(rows("SELECT name FROM app_user WHERE no = 7777"), [["Back"]]);
    assert_eq!(counts(&program.sync(&["people"])), "");
}
