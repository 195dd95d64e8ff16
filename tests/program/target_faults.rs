//! Everything that a database may do wrong while it is written to: everybody arrives once, and who cannot is named.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use muster_testkit::{Fault, Postgres, Proxy};
use serde_json::{Value, json};

use crate::oracle::{Target, World, small};
use crate::running::Running;
use crate::support::counts;

/// Everybody's department becomes this.
fn reorganise(world: &World<'_>, department: &str) {
    let directory = world.directory();
    for id in directory.user_ids() {
        directory.patch_user(&id, &json!({ "department": department })).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 6)]
async fn connections_to_postgresql_that_fail_anywhere_lose_and_repeat_nothing() {
    let server = Postgres::start();
    let proxy = Proxy::start(server.port());
    let faults = [
        ("refused", Fault::Refuse),
        ("slow", Fault::Delay(Duration::from_millis(15))),
        ("cut before the insert", Fault::CutBefore(b"INSERT INTO \"public\"".to_vec())),
        ("cut after the insert", Fault::CutAfter(b"INSERT INTO \"public\"".to_vec())),
        ("cut before the update", Fault::CutBefore(b"UPDATE \"public\"".to_vec())),
        ("cut after the update", Fault::CutAfter(b"UPDATE \"public\"".to_vec())),
        ("cut before the commit", Fault::CutBefore(b"COMMIT".to_vec())),
        ("cut after the commit", Fault::CutAfter(b"COMMIT".to_vec())),
        ("cut at sign-in", Fault::CutAfterAnswered(10)),
        ("cut among the answers", Fault::CutAfterAnswered(4_000)),
        ("cut later among the answers", Fault::CutAfterAnswered(5_500)),
    ];
    for (number, (what, fault)) in faults.into_iter().enumerate() {
        let mut world = World::postgres(small(150), &server, &format!("fault_{number}"), proxy.port()).await;
        let mut struck = 0;
        for stage in ["the first load", "changes"] {
            let context = format!("{what}, {stage}");
            let cuts = proxy.cuts();
            proxy.set(fault.clone());
            let ran = world.run(&["sync", "staff"]);
            // A cut may be mended within the cycle; whatever is not is the connection's fault.
            match &fault {
                Fault::Delay(_) => assert_eq!(ran.code, Some(0), "{context}: {}{}", ran.out, ran.err),
                Fault::Refuse => {
                    assert_eq!(ran.code, Some(3), "{context}: {}{}", ran.out, ran.err);
                    assert!(ran.err.contains("connection \"app\""), "{context}: {}", ran.err);
                }
                _ => assert!(matches!(ran.code, Some(0 | 3)), "{context}: {:?} {}{}", ran.code, ran.out, ran.err),
            }
            struck += proxy.cuts() - cuts;
            proxy.heal();
            world.until_quiet(&context);
            world.assert_right(&context).await;
            world.directory().churn(60);
            reorganise(&world, &context);
        }
        world.until_quiet(what);
        world.assert_right(what).await;
        assert!(struck > 0 || matches!(fault, Fault::Refuse | Fault::Delay(_)), "{what} never struck");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 6)]
async fn while_postgresql_is_away_the_source_is_read_and_connections_are_few() {
    let server = Postgres::start();
    let proxy = Proxy::start(server.port());
    let world = World::postgres(small(80), &server, "away", proxy.port()).await;
    let mut service = Running::start(&world.program, "log").await;
    let rows = "SELECT count(*) FROM app_user WHERE remark <> 'foreign'";
    let all = world.directory().user_count();
    service.until("everybody is there", async |_| world.target.number(rows).await == all).await;
    for (what, fault) in [("refused", Fault::Refuse), ("half open", Fault::Hang)] {
        let read = service.measured("muster_source_objects_total{connection=\"entra\"}");
        proxy.set(fault);
        if what == "refused" {
            proxy.cut();
        }
        let (begun, before) = (Instant::now(), proxy.connections());
        for _ in 0..5 {
            world.directory().join();
        }
        service
            .until("the joiners are read", async |service| {
                service.measured("muster_source_objects_total{connection=\"entra\"}") >= read + 5.0
            })
            .await;
        service.until("time passes", async |_| begun.elapsed() > Duration::from_secs(4)).await;
        let (attempts, seconds) = (proxy.connections() - before, begun.elapsed().as_secs_f64());
        assert!(f64::from(attempts) <= seconds + 1.0, "{what}: {attempts} connections in {seconds} s");
        proxy.heal();
        if what == "half open" {
            // What hung is gone for good, as after a firewall has forgotten it.
            proxy.cut();
        }
        let all = world.directory().user_count();
        service.until("the joiners arrive", async |_| world.target.number(rows).await == all).await;
        world.assert_right(what).await;
    }
    let log = service.end();
    world.assert_no_secret("the service's log", &log);
}

/// Runs statements in a session of its own, in a thread.
fn elsewhere(server: &Postgres, database: &str, statements: String) -> std::thread::JoinHandle<Result<(), String>> {
    let url = server.url_for("app", database);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            use sqlx::{Connection as _, Executor as _};
            let mut connection = sqlx::PgConnection::connect(&url).await.map_err(|error| error.to_string())?;
            connection
                .execute(sqlx::raw_sql(sqlx::AssertSqlSafe(statements)))
                .await
                .map(drop)
                .map_err(|error| error.to_string())
        })
    })
}

async fn until(what: &str, target: &Target<'_>, query: &str) {
    let begun = Instant::now();
    while target.number(query).await == 0 {
        assert!(begun.elapsed() < Duration::from_secs(30), "{what} does not come true");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

const SLEEPS: &str =
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()";

#[tokio::test(flavor = "multi_thread", worker_threads = 6)]
async fn locks_and_deadlocks_with_others_are_waited_out() {
    let server = Postgres::start();
    let mut world = World::postgres(small(150), &server, "locks", server.port()).await;
    world.sync("the first load", &[]);
    reorganise(&world, "Waiting");
    let held = "BEGIN; SELECT id FROM app_user ORDER BY id LIMIT 40 FOR UPDATE; SELECT pg_sleep(3); COMMIT";
    let other = elsewhere(&server, "locks", held.to_owned());
    until("the rows are locked", &world.target, SLEEPS).await;
    world.sync("locked rows", &[]);
    other.join().unwrap().unwrap();
    world.assert_right("locked rows").await;

    // Each has what the other wants. Whoever waited longer is chosen to lose, which shall be Muster once at least.
    let (mut mine, mut theirs) = (0, 0);
    for number in 0..10 {
        if mine > 0 {
            break;
        }
        let context = format!("deadlock {number}");
        reorganise(&world, &context);
        let rows = world.target.number("SELECT max(id) FROM app_user").await;
        // The last row first, the others while Muster waits for it.
        let last = if number % 2 == 0 { "DESC" } else { "ASC" };
        let crossing = format!(
            "SET deadlock_timeout = '10s'; BEGIN; SELECT id FROM app_user ORDER BY id {last} LIMIT {} FOR UPDATE; \
             SELECT pg_sleep(1); SELECT id FROM app_user ORDER BY id FOR UPDATE; COMMIT",
            1 + rows / 50
        );
        let other = elsewhere(&server, "locks", crossing);
        until("the rows are locked", &world.target, SLEEPS).await;
        let before = world.target.number("SELECT deadlocks FROM pg_stat_database WHERE datname = 'locks'").await;
        world.sync(&context, &[]);
        let other = other.join().unwrap();
        theirs += usize::from(other.is_err());
        world.until_quiet(&context);
        world.assert_right(&context).await;
        let begun = Instant::now();
        // The server counts with some delay.
        while other.is_ok() && mine == 0 && begun.elapsed() < Duration::from_secs(2) {
            let after = world.target.number("SELECT deadlocks FROM pg_stat_database WHERE datname = 'locks'").await;
            mine += after - before;
        }
    }
    assert!(mine > 0, "Muster never lost a deadlock (the other side lost {theirs})");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 6)]
async fn a_server_that_restarts_in_the_middle_of_a_load_gets_everybody_once() {
    let server = Postgres::start();
    for (number, how) in ["stopped", "killed"].into_iter().enumerate() {
        let mut world = World::postgres(small(1_000), &server, &format!("restart_{number}"), server.port()).await;
        // Slow enough that there is a middle.
        world
            .target
            .execute(
                "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS \
                 $$ BEGIN PERFORM pg_sleep(0.003); RETURN NEW; END $$; \
                 CREATE TRIGGER slow BEFORE INSERT ON app_user FOR EACH ROW EXECUTE FUNCTION slow()",
            )
            .await;
        let child = world.program.command(&["sync", "staff"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
        until("rows are being inserted", &world.target, SLEEPS).await;
        if how == "killed" {
            server.kill();
        }
        server.restart();
        let output = tokio::task::block_in_place(|| child.wait_with_output().unwrap());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        // It is back at once, so the cycle may have gone on with it.
        assert!(matches!(output.status.code(), Some(0 | 3)), "{how}: {said}");
        world.assert_no_secret(how, &said);
        world.target.execute("DROP TRIGGER slow ON app_user").await;
        world.until_quiet(how);
        world.assert_right(how).await;
    }
}

const POISONED: &str = "
    CREATE TYPE size AS ENUM ('s', 'm', 'l');
    CREATE DOMAIN language AS text CHECK (VALUE <> 'xx');
    CREATE TABLE unit (name text PRIMARY KEY);
    CREATE TABLE picky (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, entra_id text NOT NULL UNIQUE,
        full_name text NOT NULL, is_active boolean NOT NULL,
        city varchar(40), country_code text NOT NULL, nickname text UNIQUE, kind text CHECK (kind <> 'forbidden'),
        unit text REFERENCES unit (name), state text, left_on date, size size, street text, spoken language,
        employee_no text UNIQUE DEFERRABLE INITIALLY DEFERRED,
        postal_code text, number smallint GENERATED ALWAYS AS
            (CASE WHEN postal_code LIKE '!%' THEN substr(postal_code, 2)::int ELSE 0 END) STORED,
        office text, share int GENERATED ALWAYS AS (100 / CASE office WHEN 'zero' THEN 0 ELSE 1 END) STORED);
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.street = 'nowhere' THEN RAISE EXCEPTION 'nobody lives there'; END IF; RETURN NEW; END $$;
    CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON picky FOR EACH ROW EXECUTE FUNCTION refuse();";

const PICKY: &str = r#"
[connections.app.types.picky]
table = "picky"
enabled = "is_active"

[syncs.picky]
from = "entra:user"
to = "app:picky"
match = [{ source = "[id]", target = "entra_id" }]
[syncs.picky.map]
entra_id = "[id]"
full_name = "[displayName]"
city = "[city]"
country_code = "[usageLocation]"
nickname = "[mailNickname]"
kind = "[employeeType]"
unit = "[department]"
state = "[state]"
left_on = "[faxNumber]"
size = "[preferredDataLocation]"
street = "[streetAddress]"
spoken = "[preferredLanguage]"
employee_no = "[employeeId]"
postal_code = "[postalCode]"
office = "[officeLocation]"
"#;

/// What is wrong with one person: the property, its value, the rule (a database's own name for it, where there
/// is one) and the attribute that are to be named.
fn poisons() -> Vec<(&'static str, Value, &'static str, Option<&'static str>)> {
    vec![
        ("city", json!("x".repeat(41)), "too_long", Some("city")),
        ("usageLocation", json!(null), "required", Some("country_code")),
        ("mailNickname", json!("taken"), "unique", Some("nickname")),
        ("employeeType", json!("forbidden"), "picky_kind_check", None),
        ("department", json!("Nowhere"), "picky_unit_fkey", None),
        ("state", json!("a\u{0}b"), "nul_character", Some("state")),
        ("faxNumber", json!("not a date"), "wrong_type", Some("left_on")),
        ("preferredDataLocation", json!("xl"), "refused", Some("size")),
        ("streetAddress", json!("nowhere"), "refused", None),
        ("preferredLanguage", json!("xx"), "language_check", None),
        ("employeeId", json!("taken"), "unique", Some("employee_no")),
        ("postalCode", json!("!99999"), "out_of_range", None),
        ("officeLocation", json!("zero"), "refused", None),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 6)]
async fn each_poisoned_object_parks_alone_and_says_why() {
    let server = Postgres::start();
    let mut options = small(2_000);
    options.page_size = 500;
    let mut world = World::postgres(options, &server, "poison", server.port()).await;
    let directory = world.directory();
    let units: std::collections::BTreeSet<String> =
        directory.users().iter().filter_map(|user| user["department"].as_str().map(str::to_owned)).collect();
    let units: Vec<String> = units.iter().map(|unit| format!("('{unit}')")).collect();
    world.target.execute(POISONED).await;
    world
        .target
        .execute(&format!(
            "INSERT INTO unit VALUES {}; INSERT INTO picky (entra_id, full_name, is_active, country_code, nickname, employee_no) \
             VALUES ('stranger', 'A stranger', true, 'XX', 'taken', 'taken')",
            units.join(", ")
        ))
        .await;
    let text = std::fs::read_to_string(world.program.path("muster.toml")).unwrap();
    world.program.write("muster.toml", &format!("{text}{PICKY}"));
    let people = directory.users();
    let members: Vec<&Value> = people.iter().filter(|user| user["userType"] == json!("Member")).collect();
    let poisons = poisons();
    let mut expected = BTreeMap::new();
    let mut good = Vec::new();
    for (number, (property, value, rule, attribute)) in poisons.iter().enumerate() {
        let person = members[100 + number * 130];
        let id = person["id"].as_str().unwrap().to_owned();
        directory.patch_user(&id, &json!({ *property: value })).unwrap();
        expected.insert(id.clone(), ((*rule).to_owned(), attribute.map(str::to_owned)));
        good.push((id, json!({ *property: person[*property] })));
    }
    let present = "SELECT count(*) FROM picky WHERE entra_id <> 'stranger'";
    let version = world.target.rows("SELECT *, xmin FROM picky WHERE entra_id = 'stranger'").await;
    for stage in ["created", "again"] {
        let ran = world.run(&["sync", "picky", if stage == "again" { "--full" } else { "--wait" }]);
        assert_eq!(ran.code, Some(0), "{stage}: {}", ran.err);
        let status: Value = serde_json::from_str(&world.run(&["status"]).out).unwrap();
        let sync = status["syncs"].as_array().unwrap().iter().find(|sync| sync["sync"] == "picky").unwrap();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let parked: BTreeMap<_, _> = sync["parked"]
            .as_array()
            .unwrap()
            .iter()
            .map(|parked| {
                (text(&parked["source"]).unwrap(), (text(&parked["rule"]).unwrap(), text(&parked["attribute"])))
            })
            .collect();
        assert_eq!(parked, expected, "{stage}: {sync}");
        assert_eq!(world.target.number(present).await, people.len() - poisons.len(), "{stage}");
    }
    for (id, body) in &good {
        directory.patch_user(id, body).unwrap();
    }
    let ran = world.run(&["sync", "picky"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(counts(&serde_json::from_str(&ran.out).unwrap()), format!("{} created", poisons.len()));
    assert_eq!(world.target.number(present).await, people.len());
    // The same once more, as changes of people who are there already.
    for (number, (property, value, ..)) in poisons.iter().enumerate() {
        directory.patch_user(&good[number].0, &json!({ *property: value })).unwrap();
    }
    let mover = members[7]["id"].as_str().unwrap();
    directory.patch_user(mover, &json!({ "officeLocation": "moved" })).unwrap();
    let ran = world.run(&["sync", "picky"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert_eq!(counts(&serde_json::from_str(&ran.out).unwrap()), format!("1 updated, {} parked", poisons.len()));
    assert_eq!(world.target.rows("SELECT *, xmin FROM picky WHERE entra_id = 'stranger'").await, version);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_sqlite_file_that_others_lock_is_waited_for() {
    let mut world = World::sqlite(small(150), "").await;
    for context in ["the first load", "changes"] {
        let path = world.program.path("app.db");
        let (locked, is_locked) = std::sync::mpsc::channel();
        let other = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                use sqlx::{ConnectOptions as _, Executor as _};
                let mut file = sqlx::sqlite::SqliteConnectOptions::new().filename(path).connect().await.unwrap();
                file.execute("BEGIN EXCLUSIVE").await.unwrap();
                locked.send(()).unwrap();
                tokio::time::sleep(Duration::from_secs(3)).await;
                file.execute("COMMIT").await.unwrap();
            });
        });
        is_locked.recv().unwrap();
        let ran = world.run(&["sync", "staff"]);
        assert_eq!(ran.code, Some(0), "{context}: {}", ran.err);
        other.join().unwrap();
        world.until_quiet(context);
        world.assert_right(context).await;
        world.directory().churn(60);
    }
}
