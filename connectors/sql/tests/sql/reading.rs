//! Tables, views and queries as sources: whole reads in the order of keys, and changes.

use std::collections::BTreeMap;

use muster_connector::page::{Next, Position};
use muster_connector::{
    Change, ChangePage, Entry, Error, Expired, ReadRequest, Removal, Severity, SourceObject, UsedType, Watermark,
};
use muster_model::{Key, Slot, Value};
use serde_json::json;

use crate::on_each;
use crate::world::{Connection, World, id, request, text};

const STAFF: &str = "
    CREATE TABLE staff (no integer PRIMARY KEY, name varchar(40), boss integer REFERENCES staff (no),
        changed_at {instant}, version bigint, gone integer);
    INSERT INTO staff (no, name, boss, changed_at, version, gone) VALUES
        (1, 'Ada', NULL, '2026-01-01 10:00:00', 101, NULL), (2, 'Bo', 1, '2026-01-01 10:00:01', 102, NULL),
        (3, 'Cy', 1, '2026-01-01 10:00:02', 103, NULL), (4, 'Di', 2, '2026-01-01 10:00:03', 104, NULL);
    CREATE TABLE phone (staff_no integer NOT NULL, kind varchar(9) NOT NULL, number varchar(20) NOT NULL);
    INSERT INTO phone (staff_no, kind, number) VALUES (1, 'mobile', '+1'), (1, 'mobile', '+2'), (2, 'desk', '+3'),
        (9, 'mobile', '+9');
    CREATE TABLE club (code varchar(9) PRIMARY KEY, title varchar(20));
    INSERT INTO club (code, title) VALUES ('chess', 'Chess'), ('run', 'Running'), ('void', 'Nobody');
    CREATE TABLE in_club (club varchar(9) NOT NULL, staff_no integer NOT NULL REFERENCES staff (no));
    INSERT INTO in_club (club, staff_no) VALUES ('chess', 1), ('chess', 2), ('run', 4), ('other', 3);
    CREATE TABLE log (seq {identity}, staff_no integer NOT NULL);";

const CLUBS: &str =
    r#"{ "table": "club", "multi": { "members": { "table": "in_club", "key": "club", "value": "staff_no" } } }"#;

fn staff(more: &serde_json::Value) -> serde_json::Value {
    let mut staff = json!({
        "table": "staff",
        "multi": { "phones": { "table": "phone", "key": "staff_no", "value": "number", "where": { "kind": "mobile" } } },
    });
    staff.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "types": { "staff": staff, "club": serde_json::from_str::<serde_json::Value>(CLUBS).unwrap() } })
}

async fn connect(world: &World, more: serde_json::Value) -> Connection {
    world.run(STAFF).await;
    world.connect_with(staff(&more))
}

/// All pages of a full read, and the watermark of the first.
async fn read(connection: &Connection, request: &ReadRequest) -> (Vec<SourceObject>, Option<Watermark>) {
    let source = connection.0.source().unwrap();
    let page = source.read(request, None).await.unwrap();
    let (mut objects, watermark, mut next) = (page.objects, page.watermark, page.next);
    while let Some(cursor) = next {
        let page = source.read(request, Some(&cursor)).await.unwrap();
        objects.extend(page.objects);
        next = page.next;
    }
    (objects, watermark)
}

/// All pages of a round of changes.
async fn changes(connection: &Connection, request: &ReadRequest, from: Watermark) -> (Vec<Entry>, Watermark) {
    let source = connection.0.source().unwrap();
    let (mut entries, mut position) = (Vec::new(), Position::Start(Some(from)));
    loop {
        let ChangePage { entries: more, next, .. } = source.changes(request, &position).await.unwrap();
        entries.extend(more);
        match next {
            Next::Page(cursor) => position = Position::Page(cursor),
            Next::Done(watermark) => return (entries, watermark),
        }
    }
}

/// What a round tells, by the key's first value: the name, or how it is gone.
fn told(entries: &[Entry]) -> BTreeMap<String, String> {
    let what = |entry: &Entry| match &entry.change {
        Change::Whole(row) => format!("{:?}", row.slot(0).value().and_then(Value::as_text).unwrap_or("-")),
        Change::Removed(Removal::Hard) => "gone".to_owned(),
        other => panic!("{other:?}"),
    };
    entries.iter().map(|entry| (entry.key.to_string(), what(entry))).collect()
}

fn tells(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, what)| ((*key).to_owned(), (*what).to_owned())).collect()
}

async fn are_read_whole(world: World) {
    let connection = connect(&world, json!({ "where": { "version": 101 } })).await;
    let (objects, watermark) = read(&connection, &request("staff", &["name", "phones", "boss"])).await;
    assert_eq!((objects.len(), watermark), (1, None), "only what belongs to the type, without a watermark");
    let connection = world.connect_with(staff(&json!({})));
    let (objects, _) = read(&connection, &request("staff", &["name", "phones", "boss"])).await;
    let keys: Vec<_> = objects.iter().map(|object| object.key.clone()).collect();
    assert_eq!(keys, [1, 2, 3, 4].map(id));
    let phones = |numbers: &[&str]| Slot::many(numbers.iter().map(|number| Value::text(number)).collect());
    assert_eq!(objects[0].row.0, [text("Ada"), phones(&["+1", "+2"]), Slot::Null]);
    // The column is a value and a reference at once.
    assert_eq!(objects[1].row.0, [text("Bo"), Slot::Null, Slot::One(Value::Integer(1))]);
    assert_eq!(objects[0].edges, []);
    let edge = &objects[1].edges[0];
    assert_eq!(
        (edge.attribute, edge.object_type.as_ref(), &edge.referenced, edge.removed),
        (2, "staff", &id(1), false)
    );
    let (keys_only, _) = read(&connection, &request("staff", &[])).await;
    assert_eq!(keys_only.iter().map(|object| object.row.0.len()).sum::<usize>(), 0);
    assert_eq!(keys_only.len(), 4);
}

async fn bring_references_of_other_tables_in_pieces(world: World) {
    let connection = connect(&world, json!({})).await;
    let (objects, _) = read(&connection, &request("club", &["title", "members"])).await;
    let of = |object: &SourceObject| {
        let ends =
            object.edges.iter().map(|edge| format!("{}:{}:{}", edge.attribute, edge.object_type, edge.referenced));
        format!("{} {} {}", object.key, object.continues, ends.collect::<Vec<_>>().join(","))
    };
    let all: Vec<_> = objects.iter().map(of).collect();
    // Nobody owns the members of "other".
    assert_eq!(
        all,
        ["chess false ", "run false ", "void false ", "chess true 1:staff:1,1:staff:2", "run true 1:staff:4"]
    );
    let source = connection.0.source().unwrap();
    let keys = ["void", "run", "nil"].map(Key::text);
    let found = source.get(&request("club", &["title", "members"]), &keys).await.unwrap();
    let found: Vec<_> = found.iter().map(|object| object.as_ref().map(of)).collect();
    assert_eq!(found, [Some("void false ".to_owned()), Some("run false 1:staff:4".to_owned()), None]);
}

/// Inserts rows with these numbers.
async fn fill(world: &World, table: &str, numbers: impl Iterator<Item = u32>) {
    let numbers: Vec<u32> = numbers.collect();
    for some in numbers.chunks(900) {
        let rows: Vec<String> = some.iter().map(|n| format!("('{n:06}', {n}, 'p{n}')")).collect();
        world.run(&format!("INSERT INTO {table} (site, n, name) VALUES {}", rows.join(", "))).await;
    }
}

async fn skip_nobody_while_rows_come_and_go(world: World) {
    world.run("CREATE TABLE seat (site varchar(9), n integer, name varchar(9), PRIMARY KEY (site, n))").await;
    fill(&world, "seat", (0..24_000).filter(|n| n % 2 == 0)).await;
    let connection = world.connect();
    let source = connection.0.source().unwrap();
    let request = request("seat", &["name"]);
    let (mut seen, mut cursor, mut page_number) = (Vec::new(), None, 0);
    loop {
        let page = source.read(&request, cursor.as_ref()).await.unwrap();
        seen.extend(page.objects.into_iter().map(|object| object.key));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
        page_number += 1;
        // Before, at and after the place where reading stands.
        world.run(&format!("DELETE FROM seat WHERE n IN ({}, 9998, 19998)", page_number * 10)).await;
        fill(&world, "seat", [page_number * 2 + 1, 15_001 + page_number * 2].into_iter()).await;
    }
    assert!(page_number >= 2);
    let mut sorted = seen.clone();
    sorted.sort_by_key(Key::encode);
    sorted.dedup();
    assert_eq!(sorted.len(), seen.len(), "each once");
    let seen: std::collections::HashSet<i64> = seen
        .iter()
        .map(|key| match &key.0[1] {
            Value::Integer(n) => *n,
            other => panic!("{other:?}"),
        })
        .collect();
    let gone = [10, 20, 30, 40, 9998, 19998];
    for n in (0..24_000).filter(|n| n % 2 == 0 && !gone.contains(n)) {
        assert!(seen.contains(&n), "{n} was there all the time");
    }
}

async fn are_followed_by_a_time_of_change(world: World) {
    let settings =
        json!({ "changes": { "column": "changed_at", "overlap": "5s" }, "deleted": "gone", "deleted_value": 1 });
    let connection = connect(&world, settings).await;
    let wanted = request("staff", &["name", "phones", "boss"]);
    let (objects, watermark) = read(&connection, &wanted).await;
    assert_eq!(objects.len(), 4);
    let watermark = watermark.unwrap();
    // Within the overlap it is read again, since a transaction may have been open.
    let (entries, watermark) = changes(&connection, &wanted, watermark).await;
    assert_eq!(told(&entries), tells(&[("1", "\"Ada\""), ("2", "\"Bo\""), ("3", "\"Cy\""), ("4", "\"Di\"")]));
    world
        .run(
            "UPDATE staff SET name = 'Bob', boss = 4, changed_at = '2026-01-02 08:00:00' WHERE no = 2; \
             UPDATE staff SET gone = 1, changed_at = '2026-01-02 08:00:01' WHERE no = 3; \
             INSERT INTO staff (no, name, changed_at) VALUES (5, 'Ed', '2026-01-02 08:00:02'), (6, 'Fi', NULL)",
        )
        .await;
    let (entries, watermark) = changes(&connection, &wanted, watermark).await;
    let news = tells(&[("2", "\"Bob\""), ("3", "gone"), ("5", "\"Ed\""), ("6", "\"Fi\"")]);
    let mut all = told(&entries);
    for (key, what) in &news {
        assert_eq!(all.remove(key).as_ref(), Some(what), "{key}");
    }
    let bob = entries.iter().find(|entry| entry.key == id(2)).unwrap();
    assert_eq!(bob.edges[0].referenced, id(4));
    // A row that shows late what it was given early, and a time that somebody typed.
    world
        .run(
            "INSERT INTO staff (no, name, changed_at) VALUES (7, 'Gil', '2026-01-02 07:59:59'); \
             UPDATE staff SET changed_at = '2099-12-31 00:00:00' WHERE no = 1",
        )
        .await;
    let (entries, watermark) = changes(&connection, &wanted, watermark).await;
    assert_eq!(told(&entries).get("7").map(String::as_str), Some("\"Gil\""));
    world.run("UPDATE staff SET name = 'Dina', changed_at = '2026-01-02 09:00:00' WHERE no = 4").await;
    let (entries, _) = changes(&connection, &wanted, watermark).await;
    assert_eq!(told(&entries).get("4").map(String::as_str), Some("\"Dina\""), "nothing hides behind a time far ahead");
    let error =
        connection.0.source().unwrap().changes(&wanted, &Position::Start(Some(Watermark(b"no".to_vec())))).await;
    assert!(matches!(error, Err(Error::Expired { expired: Expired::Watermark })), "{error:?}");
}

async fn are_followed_by_a_number(world: World) {
    world.run("CREATE TABLE seat (site varchar(9), n integer, name varchar(9), PRIMARY KEY (site, n))").await;
    fill(&world, "seat", 0..6_000).await;
    let settings = json!({ "types": { "seat": { "table": "seat", "changes": { "column": "n", "overlap": "1ms" } } } });
    let connection = world.connect_with(settings);
    let wanted = request("seat", &["name"]);
    let (_, watermark) = read(&connection, &wanted).await;
    let longer_than_the_overlap = || {
        let before = chrono::Utc::now();
        while chrono::Utc::now() - before < chrono::TimeDelta::milliseconds(3) {
            std::thread::yield_now();
        }
    };
    // What came to be seen since the full read was seen by nobody, so a little is read again.
    longer_than_the_overlap();
    let (entries, watermark) = changes(&connection, &wanted, watermark.unwrap()).await;
    assert_eq!((entries.len(), told(&entries).contains_key("005000/5000")), (1_000, true));
    // Looked at twice, longer apart than the overlap: only what is new.
    longer_than_the_overlap();
    let (entries, watermark) = changes(&connection, &wanted, watermark).await;
    assert_eq!(told(&entries), tells(&[]));
    // More than a page.
    fill(&world, "seat", 6_000..17_500).await;
    let (entries, watermark) = changes(&connection, &wanted, watermark).await;
    assert_eq!((told(&entries).len(), entries.len()), (11_500, 11_500));
    let (entries, _) = changes(&connection, &wanted, watermark).await;
    assert!(entries.len() <= 11_500, "{}", entries.len());
}

async fn are_followed_by_a_table_of_changes(world: World) {
    let settings = json!({ "changes": { "table": "log", "sequence": "seq", "key": "staff_no", "with_values": true, "overlap": "1h" } });
    let connection = connect(&world, settings).await;
    let schema = connection.0.schema().await.unwrap();
    let source = schema.object_type("staff").unwrap().source.clone().unwrap();
    assert!(source.changes.as_ref().unwrap().deletes_visible && !source.recycle_bin);
    assert!(schema.object_type("staff").unwrap().attribute("phones").unwrap().in_changes);
    let wanted = request("staff", &["name", "phones"]);
    let (_, watermark) = read(&connection, &wanted).await;
    world
        .run(
            "UPDATE staff SET name = 'Bob' WHERE no = 2; UPDATE staff SET boss = NULL WHERE no = 4; \
             DELETE FROM in_club WHERE staff_no = 4; DELETE FROM staff WHERE no = 4; \
             INSERT INTO log (staff_no) VALUES (2), (4), (2), (77)",
        )
        .await;
    let (entries, watermark) = changes(&connection, &wanted, watermark.unwrap()).await;
    assert_eq!(told(&entries), tells(&[("2", "\"Bob\""), ("4", "gone"), ("77", "gone")]));
    // Whoever removes rows that were read may have removed others.
    world.run("INSERT INTO log (staff_no) VALUES (1); DELETE FROM log WHERE staff_no <> 1").await;
    let expired = connection.0.source().unwrap().changes(&wanted, &Position::Start(Some(watermark))).await;
    assert!(matches!(expired, Err(Error::Expired { expired: Expired::Watermark })), "{expired:?}");
}

/// The statements that the documentation gives for an engine.
fn documented(world: &World) -> Vec<String> {
    let guide = include_str!("../../../../docs/sql-sources.md");
    if world.is_sqlserver() {
        let table = "CREATE TABLE person_change (seq bigint IDENTITY PRIMARY KEY, no integer NOT NULL)";
        let (_, trigger) = guide.split_once("In SQL Server: `").unwrap();
        return vec![table.to_owned(), trigger.split('`').next().unwrap().to_owned()];
    }
    let heading = world.each("\nPostgreSQL:\n", "\nMySQL and MariaDB:\n", "\nSQLite (without");
    let (_, rest) = guide.split_once(heading).unwrap();
    vec![rest.split("```sql").nth(1).unwrap().split("```").next().unwrap().to_owned()]
}

async fn bring_more_references_than_a_page_holds(world: World) {
    world.run("CREATE TABLE crew (code varchar(9) PRIMARY KEY, title varchar(20))").await;
    world.run("INSERT INTO crew (code, title) VALUES ('a', 'A'), ('b', 'B')").await;
    world.run("CREATE TABLE in_crew (site varchar(9) NOT NULL, n integer NOT NULL, name varchar(9) NOT NULL)").await;
    fill(&world, "in_crew", 0..12_500).await;
    world.run("UPDATE in_crew SET site = CASE WHEN n < 7000 THEN 'a' ELSE 'b' END").await;
    world.run("CREATE TABLE sailor (no integer PRIMARY KEY)").await;
    let connection = world.connect_with(json!({ "types": { "sailor": { "table": "sailor" }, "crew": { "table": "crew",
        "multi": { "crew": { "table": "in_crew", "key": "site", "value": "n", "references": "sailor" } } } } }));
    // What cannot be written, for want of a value that it requires, can be read.
    let schema = connection.0.schema().await.unwrap();
    let members = schema.object_type("crew").unwrap().attribute("crew").unwrap();
    assert!(!members.creatable && members.native_type.contains("requires name as well"), "{}", members.native_type);
    let (objects, _) = read(&connection, &request("crew", &["crew"])).await;
    let mut seen = BTreeMap::new();
    for object in objects {
        let ends: &mut Vec<String> = seen.entry(object.key.to_string()).or_default();
        ends.extend(object.edges.iter().map(|edge| edge.referenced.to_string()));
    }
    for (code, count) in [("a", 7_000), ("b", 5_500)] {
        let mut ends = seen.remove(code).unwrap();
        assert_eq!(ends.len(), count, "{code}");
        ends.sort();
        ends.dedup();
        assert_eq!(ends.len(), count, "{code}: each once");
    }
}

async fn are_followed_by_the_documented_triggers(world: World) {
    world.run("CREATE TABLE person_of_hr (no integer PRIMARY KEY, name varchar(20))").await;
    world.run("INSERT INTO person_of_hr (no, name) VALUES (1, 'Ada'), (2, 'Bo'), (3, 'Cy')").await;
    for statements in documented(&world) {
        world.run(&statements.replace("ON person", "ON person_of_hr")).await;
    }
    let changes_of = json!({ "table": "person_change", "sequence": "seq" });
    let settings = json!({ "types": { "person": { "table": "person_of_hr", "changes": changes_of } } });
    let connection = world.connect_with(settings);
    let wanted = request("person", &["name"]);
    let (_, watermark) = read(&connection, &wanted).await;
    world.run("UPDATE person_of_hr SET name = 'Bob' WHERE no = 2").await;
    world.run("UPDATE person_of_hr SET no = 9 WHERE no = 3").await;
    world.run("DELETE FROM person_of_hr WHERE no = 1").await;
    world.run("INSERT INTO person_of_hr (no, name) VALUES (4, 'Di')").await;
    let (entries, _) = changes(&connection, &wanted, watermark.unwrap()).await;
    let news = [("1", "gone"), ("2", "\"Bob\""), ("3", "gone"), ("4", "\"Di\""), ("9", "\"Cy\"")];
    assert_eq!(told(&entries), tells(&news));
}

async fn may_be_views_and_queries(world: World) {
    world.run(STAFF).await;
    world.run("CREATE VIEW led AS SELECT s.no, s.name, b.name AS boss_name, s.version FROM staff s JOIN staff b ON b.no = s.boss").await;
    let query = format!(
        "SELECT s.no AS no, s.name AS name, count(p.number) AS phones, CAST(max(s.version) AS {}) AS version
        FROM staff s LEFT JOIN phone p ON p.staff_no = s.no GROUP BY s.no, s.name; -- all of them",
        world.sqlserver_or("bigint", world.each("bigint", "signed", "integer"))
    );
    let settings = |query: &str| {
        json!({ "types": {
            "led": { "table": "led", "anchor": ["no"], "changes": { "column": "version" } },
            "caller": { "query": query, "anchor": ["no"], "changes": { "column": "version", "overlap": "1h" } },
        } })
    };
    // What ends a statement does not belong into a query, but for its very end.
    let connection = world.connect_with(settings(query.trim_end_matches("; -- all of them")));
    let schema = connection.0.schema().await.unwrap();
    assert!(schema.object_type("caller").unwrap().target.is_none());
    let (objects, watermark) = read(&connection, &request("caller", &["name", "phones"])).await;
    let row = |object: &SourceObject| object.row.0.clone();
    assert_eq!(row(&objects[0])[0], text("Ada"));
    assert_eq!(row(&objects[0])[1].value().map(ToString::to_string).as_deref(), Some("2"));
    assert_eq!(objects.len(), 4);
    world.run("UPDATE staff SET version = 500, name = 'Adele' WHERE no = 1").await;
    let (entries, _) = changes(&connection, &request("caller", &["name"]), watermark.unwrap()).await;
    assert_eq!(told(&entries).get("1").map(String::as_str), Some("\"Adele\""));
    let (objects, _) = read(&connection, &request("led", &["boss_name"])).await;
    assert_eq!(objects.iter().map(row).collect::<Vec<_>>()[0], [text("Adele")]);
    let found = connection.0.source().unwrap().get(&request("caller", &["name"]), &[id(2), id(99)]).await.unwrap();
    assert_eq!(found.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false]);
    if matches!(world.server, crate::world::Server::Sqlite { .. }) {
        let untyped = settings("SELECT no, max(version) AS version FROM staff GROUP BY no");
        let Err(Error::Configuration { setting, fix, .. }) = world.connect_with(untyped).0.schema().await else {
            panic!("its values would be compared by their kind")
        };
        assert_eq!(setting.as_deref(), Some("types.caller.changes.column"));
        assert!(fix.contains("CAST(… AS INTEGER) AS version"), "{fix}");
    }
    for (query, said) in [("SELECT nothing FROM staff", "does not take it"), ("  ; ", "empty")] {
        let connection = world.connect_with(settings(query));
        let Err(Error::Configuration { setting, problem, fix }) = connection.0.schema().await else {
            panic!("{query}")
        };
        assert_eq!(setting.as_deref(), Some("types.caller.query"));
        assert!(problem.contains(said) && !fix.is_empty(), "{problem}");
    }
}

async fn settings_are_held_against_the_tables(world: World) {
    world.run(STAFF).await;
    for (more, setting, said) in [
        (json!({}), "changes", "one of"),
        (json!({ "column": "changed_at", "table": "log" }), "changes", "one of"),
        (json!({ "column": "changed" }), "changes.column", "no column"),
        (json!({ "table": "logg", "sequence": "seq" }), "changes.table", "no table"),
        (json!({ "table": "log" }), "changes.sequence", "which column"),
        (json!({ "table": "log", "sequence": "seq" }), "changes.key", "no column"),
        (json!({ "table": "log", "sequence": "seq", "key": ["staff_no", "seq"] }), "changes.key", "2 columns"),
        (json!({ "column": "changed_at", "with_values": true }), "changes.with_values", "belongs to"),
        (json!({ "tracking": true }), "changes.tracking", "change tracking"),
    ] {
        if setting == "changes.tracking" && world.is_sqlserver() {
            continue;
        }
        let connection = world.connect_with(staff(&json!({ "changes": more })));
        let Err(Error::Configuration { setting: blamed, problem, fix }) = connection.0.schema().await else {
            panic!("{more} is taken")
        };
        assert_eq!(blamed, Some(format!("types.staff.{setting}")));
        assert!(problem.contains(said) && !fix.is_empty(), "{problem}");
    }
    let both = json!({ "types": { "x": { "table": "staff", "query": "SELECT no AS a FROM staff", "anchor": ["a"] } } });
    let neither = json!({ "types": { "x": { "anchor": ["a"] } } });
    let written = json!({ "types": { "x": { "query": "SELECT no AS a FROM staff", "anchor": ["a"], "on_update": { "a": "1" } } } });
    for (settings, blamed) in [(both, "types.x.table"), (neither, "types.x.table"), (written, "types.x.on_update")] {
        let Err(Error::Configuration { setting, .. }) = world.connect_with(settings.clone()).0.schema().await else {
            panic!("{settings} is taken")
        };
        assert_eq!(setting.as_deref(), Some(blamed));
    }
}

async fn check_tells_what_would_go_unnoticed(world: World) {
    let connection = connect(&world, json!({ "anchor": ["boss"], "changes": { "column": "version" } })).await;
    world.run("UPDATE staff SET version = NULL WHERE no IN (1, 2)").await;
    let used = |name: &str| UsedType {
        object_type: name.to_owned(),
        attributes: vec!["name".to_owned(), "phones".to_owned()],
        named: Vec::new(),
        as_source: true,
        as_target: false,
    };
    let report = connection.0.check(&[used("staff")]).await.unwrap();
    let said: Vec<_> = report
        .findings
        .iter()
        .map(|finding| (finding.severity, finding.setting.clone().unwrap(), finding.problem.clone()))
        .collect();
    let has = |severity, setting: &str, words: &str| {
        said.iter().any(|(is, at, problem)| *is == severity && at == setting && problem.contains(words))
    };
    assert!(has(Severity::Error, "types.staff.anchor", "1 rows have no value in boss"), "{said:?}");
    assert!(has(Severity::Error, "types.staff.anchor", "1 values of boss stand in several rows"), "{said:?}");
    assert!(has(Severity::Warning, "types.staff.changes.column", "2 rows have no value in \"version\""), "{said:?}");
    // A row without a key hides no other.
    let (objects, watermark) = read(&connection, &request("staff", &["name"])).await;
    assert_eq!(objects.iter().map(|object| object.key.clone()).collect::<Vec<_>>(), [1, 1, 2].map(id));
    let (entries, _) = changes(&connection, &request("staff", &["name"]), watermark.unwrap()).await;
    assert!(!entries.is_empty());
    let good = world.connect_with(staff(&json!({ "changes": { "column": "changed_at" } })));
    assert_eq!(good.0.check(&[used("staff"), used("club")]).await.unwrap().findings, []);
}

on_each!(
    are_read_whole,
    bring_references_of_other_tables_in_pieces,
    skip_nobody_while_rows_come_and_go,
    are_followed_by_a_time_of_change,
    are_followed_by_a_number,
    are_followed_by_a_table_of_changes,
    are_followed_by_the_documented_triggers,
    bring_more_references_than_a_page_holds,
    may_be_views_and_queries,
    settings_are_held_against_the_tables,
    check_tells_what_would_go_unnoticed,
);
