//! Types that are part of a table: the rows of one tenant, rows that are marked when they are deleted, and columns that
//! the database fills by expressions.

use muster_connector::{Error, Kind, Operation, Outcome, UsedType, ValueDelta};
use muster_model::{AssignedBy, Key, Value};
use serde_json::{Value as Json, json};

use crate::on_each;
use crate::world::{
    Connection, World, batch, create, delete, id, is_applied, key_of, operation, rejection, rename, request, text,
    update,
};

const TENANTS: &str = "
    CREATE TABLE client (id {identity}, tenant_id integer NOT NULL, mail varchar(40), badge varchar(9) UNIQUE,
        UNIQUE (tenant_id, mail));
    INSERT INTO client (tenant_id, mail, badge) VALUES (7, 'a@x', 'B1'), (8, 'a@x', 'B2'), (8, 'b@x', 'B3');
    CREATE TABLE part (tenant varchar(9) NOT NULL, no integer NOT NULL, name varchar(20), PRIMARY KEY (tenant, no));
    INSERT INTO part (tenant, no, name) VALUES ('acme', 1, 'one'), ('evil', 1, 'theirs'), ('evil', 2, 'theirs');
    CREATE TABLE phone (no integer NOT NULL, kind varchar(9) NOT NULL, line varchar(20) NOT NULL,
        PRIMARY KEY (no, kind, line));
    INSERT INTO phone (no, kind, line) VALUES (1, 'fax', '11'), (1, 'mobile', '22'), (2, 'fax', '11');";

fn tenants() -> Json {
    json!({ "types": {
        "client": { "table": "client", "where": { "tenant_id": 7 } },
        "part": { "table": "part", "where": { "tenant": "acme" }, "multi": {
            "mobiles": { "table": "phone", "key": "no", "value": "line", "where": { "kind": "mobile" } },
        } },
    } })
}

async fn keys(connection: &Connection, object_type: &str, attribute: &str) -> Vec<Key> {
    let page = connection.0.target().unwrap().list(&request(object_type, &[attribute]), None).await.unwrap();
    page.objects.into_iter().map(|object| object.key).collect()
}

async fn others_are_out_of_reach(world: World) {
    world.run(TENANTS).await;
    let connection = world.connect_with(tenants());
    let schema = connection.0.schema().await.unwrap();
    let client = schema.object_type("client").unwrap();
    let tenant = client.attribute("tenant_id").unwrap();
    assert!(!tenant.required && !tenant.creatable && !tenant.updatable);
    assert!(client.attribute("mail").unwrap().unique, "a mail is unique among the tenant's own");
    assert_eq!(keys(&connection, "client", "mail").await, [id(1)]);
    assert_eq!(connection.get("client", &["mail"], &[id(1), id(2), id(3)]).await.iter().flatten().count(), 1);
    let by_mail = vec![vec![Value::text("a@x")], vec![Value::text("b@x")]];
    let found = connection.find("client", &["mail"], &["mail"], by_mail).await;
    assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [1, 0]);

    let row = |mail: &str, badge: &str| vec![text(mail), text(badge)];
    let twice = connection.send("client", &["mail", "badge"], vec![create(row("a@x", "B5"))]).await;
    assert_eq!(rejection(&twice[0]).1, "unique", "{twice:?}");
    let sent = vec![
        create(row("b@x", "B4")),
        create(row("c@x", "B3")),
        update(id(2), row("stolen@x", "B6")),
        update(id(1), row("b2@x", "B1")),
        delete(id(3)),
    ];
    let outcomes = connection.send("client", &["mail", "badge"], sent).await;
    let new = key_of(&outcomes[0]);
    let Outcome::Rejected { attribute, rule, message } = &outcomes[1] else { panic!("{outcomes:?}") };
    assert_eq!((attribute.as_deref(), rule.as_str()), (Some("badge"), "unique"));
    assert!(message.contains("does not belong"), "{message}");
    assert!(is_applied(&outcomes[3]));
    assert_eq!([&outcomes[2], &outcomes[4]], [&Outcome::Missing, &Outcome::Missing]);
    let rows = world.rows("SELECT tenant_id, mail, badge FROM client ORDER BY badge").await;
    assert_eq!(rows, [["7", "b2@x", "B1"], ["8", "a@x", "B2"], ["8", "b@x", "B3"], ["7", "b@x", "B4"]]);
    assert!(is_applied(&connection.send("client", &[], vec![delete(new)]).await[0]));
    assert_eq!(world.rows("SELECT count(*) FROM client").await, [["3"]]);
}

async fn part_of_a_key(world: World) {
    world.run(TENANTS).await;
    let connection = world.connect_with(tenants());
    let schema = connection.0.schema().await.unwrap();
    let anchor = &schema.object_type("part").unwrap().anchor;
    assert_eq!((anchor.attributes.as_slice(), anchor.assigned_by), (["no".to_owned()].as_slice(), AssignedBy::Creator));
    let named = |number: i64, name: &str| operation(Kind::Create, Some(id(number)), vec![text(name)]);
    let outcomes =
        connection.send("part", &["name"], vec![named(2, "two"), named(1, "again"), named(3, "three")]).await;
    assert!(is_applied(&outcomes[0]) && is_applied(&outcomes[2]));
    assert_eq!(outcomes[1], Outcome::Exists { key: id(1) });
    let moved = vec![rename(id(3), id(4), vec![text("four")]), update(id(1), vec![text("1")]), delete(id(2))];
    assert!(connection.send("part", &["name"], moved).await.iter().all(is_applied));
    let rows = world.rows("SELECT tenant, no, name FROM part ORDER BY tenant, no").await;
    assert_eq!(rows, [["acme", "1", "1"], ["acme", "4", "four"], ["evil", "1", "theirs"], ["evil", "2", "theirs"]]);
}

async fn values_of_one_kind(world: World) {
    world.run(TENANTS).await;
    let connection = world.connect_with(tenants());
    let lines = |texts: &[&str]| texts.iter().map(|text| Value::text(text)).collect::<Vec<_>>();
    let delta = ValueDelta { attribute: 0, add: lines(&["11", "33"]), remove: lines(&["22"]) };
    let change = Operation { deltas: vec![delta], ..operation(Kind::Update, Some(id(1)), Vec::new()) };
    let sent = batch("part", &["mobiles"], vec![change]);
    let planned = connection.0.target().unwrap().preview(&sent).await.unwrap();
    assert!(connection.apply(&sent).await.iter().all(is_applied));
    let read = "SELECT no, kind, line FROM phone ORDER BY no, kind, line";
    let now = world.rows(read).await;
    assert_eq!(now, [["1", "fax", "11"], ["1", "mobile", "11"], ["1", "mobile", "33"], ["2", "fax", "11"]]);
    let pairs: Vec<(Key, Value)> = lines(&["11", "22"]).into_iter().map(|line| (id(1), line)).collect();
    let target = connection.0.target().unwrap();
    assert_eq!(target.holds(&request("part", &["mobiles"]), "mobiles", &pairs).await.unwrap(), [true, false]);
    assert!(connection.send("part", &["mobiles"], vec![delete(id(1))]).await.iter().all(is_applied));
    assert_eq!(world.rows(read).await, [["1", "fax", "11"], ["2", "fax", "11"]]);
    // What the preview says has the same effect.
    world.run("DELETE FROM phone; DELETE FROM part").await;
    world.run("INSERT INTO part VALUES ('acme', 1, 'one'); INSERT INTO phone VALUES (1, 'fax', '11'), (1, 'mobile', '22'), (2, 'fax', '11')").await;
    world.run(&planned.join("\n")).await;
    assert_eq!(world.rows(read).await, now);
}

async fn deleted_rows_stay(world: World) {
    let cases = [
        ("gone", json!(null), world.each("true", "1", "1")),
        ("gone_on", json!(null), "20"),
        ("state", json!("deleted"), "deleted"),
        ("grade", json!(null), "1"),
        ("grade", json!(-5), "-5"),
    ];
    world
        .run(
            "CREATE TABLE staff (login varchar(9) PRIMARY KEY, mail varchar(20) UNIQUE, gone boolean NOT NULL DEFAULT {false}, \
             gone_on {instant} NULL, state varchar(9) DEFAULT 'new', grade integer, touched integer NOT NULL DEFAULT 0); \
             CREATE TABLE alias (login varchar(9), name varchar(9))",
        )
        .await;
    for (column, value, held) in cases {
        world.run("DELETE FROM staff; DELETE FROM alias").await;
        world.run("INSERT INTO staff (login, mail) VALUES ('anna', 'a@x'), ('bo', 'b@x'); INSERT INTO alias VALUES ('anna', 'nan')").await;
        let mut staff = json!({ "table": "staff", "deleted": column, "on_update": { "touched": "touched + 1" },
            "multi": { "names": { "table": "alias", "key": "login", "value": "name" } } });
        if !value.is_null() {
            staff["deleted_value"] = value;
        }
        let connection = world.connect_with(json!({ "types": { "staff": staff } }));
        let gone = || vec![delete(Key::text("anna"))];
        let planned = connection.0.target().unwrap().preview(&batch("staff", &[], gone())).await.unwrap();
        assert!(planned[0].starts_with("UPDATE"), "{planned:?}");
        assert!(connection.send("staff", &[], gone()).await.iter().all(is_applied), "{column}");
        let query = format!("SELECT CAST({column} AS char(20)), touched FROM staff WHERE login = 'anna'");
        let row = world.rows(&query).await;
        assert!(row[0][0].starts_with(held) && row[0][1] == "1", "{column}: {row:?}");
        assert_eq!(world.rows("SELECT count(*) FROM alias").await, [["1"]], "marked, and all of it stays");
        // What is marked is not there.
        assert_eq!(keys(&connection, "staff", "mail").await, [Key::text("bo")]);
        assert_eq!(connection.send("staff", &[], gone()).await, [Outcome::Missing]);
        assert_eq!(connection.get("staff", &["mail"], &[Key::text("anna")]).await, [None]);
        let again = operation(Kind::Create, Some(Key::text("anna")), vec![text("new@x")]);
        let other = operation(Kind::Create, Some(Key::text("cy")), vec![text("a@x")]);
        let outcomes = connection.send("staff", &["mail"], vec![again, other]).await;
        assert_eq!(rejection(&outcomes[0]), (Some("login"), "unique"));
        assert_eq!(rejection(&outcomes[1]), (Some("mail"), "unique"));
        // The preview does the same as the operation.
        world
            .run("DELETE FROM staff WHERE login = 'anna'; INSERT INTO staff (login, mail) VALUES ('anna', 'a@x')")
            .await;
        world.run(&planned[0]).await;
        assert!(world.rows(&query).await[0][0].starts_with(held));
        world.run(&planned[0]).await;
        assert_eq!(world.rows(&query).await[0][1], "1", "once");
    }
}

async fn the_database_computes(world: World) {
    world
        .run(
            "CREATE TABLE doc (id {identity}, name varchar(20), made_by varchar(20) NOT NULL, made_at {instant} NOT NULL, \
             version_no integer NOT NULL DEFAULT 1, changed_at {instant} NULL)",
        )
        .await;
    let settings = json!({ "types": { "doc": { "table": "doc",
        "on_create": { "made_by": "lower('MUSTER')", "made_at": "CURRENT_TIMESTAMP" },
        "on_update": { "version_no": "version_no + 1", "changed_at": "CURRENT_TIMESTAMP" } } } });
    let connection = world.connect_with(settings);
    let schema = connection.0.schema().await.unwrap();
    let made_by = schema.object_type("doc").unwrap().attribute("made_by").unwrap();
    assert!(!made_by.required && !made_by.creatable && !made_by.updatable);
    let used = UsedType {
        object_type: "doc".to_owned(),
        attributes: vec!["name".to_owned()],
        as_target: true,
        named: Vec::new(),
        as_source: false,
    };
    assert_eq!(connection.0.check(&[used]).await.unwrap().findings, []);
    let outcomes = connection.send("doc", &["name"], vec![create(vec![text("a")]), create(vec![text("b")])]).await;
    let (a, b) = (key_of(&outcomes[0]), key_of(&outcomes[1]));
    for _ in 0..2 {
        assert!(is_applied(&connection.send("doc", &["name"], vec![update(a.clone(), vec![text("c")])]).await[0]));
    }
    let read = "SELECT name, made_by, version_no, CASE WHEN changed_at IS NULL THEN 'never' ELSE 'once' END FROM doc ORDER BY name";
    assert_eq!(world.rows(read).await, [["b", "muster", "1", "never"], ["c", "muster", "3", "once"]]);
    let sent = batch("doc", &["name"], vec![create(vec![text("d")]), update(b, vec![text("e")])]);
    for statement in connection.0.target().unwrap().preview(&sent).await.unwrap() {
        world.run(&statement).await;
    }
    let rows = world.rows(read).await;
    assert_eq!(rows, [["c", "muster", "3", "once"], ["d", "muster", "1", "never"], ["e", "muster", "2", "once"]]);
}

async fn slips_are_told(world: World) {
    world.run(TENANTS).await;
    world
        .run("CREATE TABLE staff (login varchar(9) PRIMARY KEY, gone_on date NOT NULL, left_on date, state varchar(9), active integer)")
        .await;
    let part = |more: Json| json!({ "part": merged(json!({ "table": "part" }), more) });
    let staff = |more: Json| json!({ "staff": merged(json!({ "table": "staff" }), more) });
    let cases = [
        (part(json!({ "where": { "tennant": "acme" } })), "types.part.where.tennant", "\"tenant\""),
        (part(json!({ "where": { "no": "one" } })), "types.part.where.no", "as the column's rows have it"),
        (part(json!({ "where": { "no": 1 }, "anchor": ["no"] })), "types.part.anchor", "the other columns"),
        (part(json!({ "where": { "no": 1, "tenant": "x" } })), "types.part.anchor", "anchor ="),
        (
            part(json!({ "where": { "tenant": "x" }, "on_create": { "tenant": "'y'" } })),
            "types.part.on_create.tenant",
            "remove",
        ),
        (part(json!({ "on_update": { "name": " " } })), "types.part.on_update.name", "CURRENT_TIMESTAMP"),
        (staff(json!({ "deleted": "gone_on" })), "types.staff.deleted", "may be null"),
        (staff(json!({ "deleted": "state" })), "types.staff.deleted", "deleted_value"),
        (staff(json!({ "deleted": "left_on", "deleted_value": "x" })), "types.staff.deleted", "without deleted_value"),
        (staff(json!({ "deleted_value": "x" })), "types.staff.deleted_value", "deleted ="),
        (
            staff(json!({ "deleted": "left_on", "on_update": { "left_on": "CURRENT_DATE" } })),
            "types.staff.on_update.left_on",
            "remove it here",
        ),
        (staff(json!({ "deleted": "active", "enabled": "active" })), "types.staff.deleted", "another column"),
        (
            staff(json!({ "deleted": "state", "deleted_value": "off", "enabled": "state",
                "enabled_values": { "on": ["on"], "off": ["off"] } })),
            "types.staff.deleted",
            "another column",
        ),
        (staff(json!({ "deleted": "left_on", "enabled": "left_on" })), "types.staff.deleted", "remove `enabled`"),
        (
            staff(json!({ "deleted": "state", "deleted_value": "x", "where": { "state": "y" } })),
            "types.staff.deleted",
            "`where`",
        ),
        (
            part(
                json!({ "where": { "tenant": "x" }, "multi": { "m": { "table": "phone", "key": "no", "value": "line", "where": { "line": "x" } } } }),
            ),
            "types.part.multi.m.where.line",
            "remove",
        ),
    ];
    for (types, at, hint) in cases {
        let connection = world.connect_with(json!({ "types": types.clone() }));
        let Err(Error::Configuration { setting, fix, .. }) = connection.0.schema().await else { panic!("{types}") };
        assert_eq!(setting.as_deref(), Some(at));
        assert!(fix.contains(hint), "{fix}");
    }
    let both = staff(json!({ "deleted": "state", "deleted_value": "gone", "enabled": "state",
        "enabled_values": { "on": ["on"], "off": ["off"] } }));
    world.connect_with(json!({ "types": both })).0.schema().await.unwrap();
    // The database's own word on its expressions is told by check, and nothing is written.
    for (setting, expression) in [("on_create", "no_such_function()"), ("on_update", "nme + 1")] {
        let connection = world.connect_with(json!({ "types": part(json!({ setting: { "name": expression } })) }));
        let used = UsedType {
            object_type: "part".to_owned(),
            attributes: vec!["no".to_owned()],
            as_target: true,
            named: Vec::new(),
            as_source: false,
        };
        let findings = connection.0.check(&[used]).await.unwrap().findings;
        let at = format!("types.part.{setting}.name");
        assert!(findings.iter().any(|finding| finding.setting.as_deref() == Some(&at)), "{findings:?}");
    }
}

fn merged(mut one: Json, other: Json) -> Json {
    let Json::Object(other) = other else { panic!("no settings") };
    for (name, value) in other {
        one[name] = value;
    }
    one
}

/// What the configuration says of rows is written as literals, which must not end early.
async fn values_stay_values(world: World) {
    world.run("CREATE TABLE odd (tenant varchar(60) NOT NULL, no integer NOT NULL, name varchar(9), PRIMARY KEY (tenant, no))").await;
    for tenant in ["it's \"x\" `y`", "a\\' OR 1=1 -- ", "x'; DROP TABLE odd; --", "50% {0} $1 ?"] {
        world.run("DELETE FROM odd; INSERT INTO odd (tenant, no, name) VALUES ('other', 1, 'theirs')").await;
        let connection =
            world.connect_with(json!({ "types": { "odd": { "table": "odd", "where": { "tenant": tenant } } } }));
        let made = operation(Kind::Create, Some(id(1)), vec![text("mine")]);
        assert!(connection.send("odd", &["name"], vec![made]).await.iter().all(is_applied), "{tenant}");
        assert_eq!(connection.get("odd", &["name"], &[id(1)]).await[0].as_ref().unwrap().0, [text("mine")]);
        let rows = world.rows("SELECT tenant, name FROM odd ORDER BY name").await;
        assert_eq!(rows, [[tenant, "mine"], ["other", "theirs"]]);
        assert!(connection.send("odd", &[], vec![delete(id(1))]).await.iter().all(is_applied));
        assert_eq!(world.rows("SELECT name FROM odd").await, [["theirs"]]);
        assert_eq!(connection.get("odd", &["name"], &[id(1)]).await, [None], "{tenant}");
    }
    let null = json!({ "types": { "odd": { "table": "odd", "where": { "tenant": "a\u{0}b" } } } });
    let told = world.connect_with(null).0.schema().await;
    assert_eq!(told.is_err(), world.sqlserver_or(true, world.each(true, false, true)), "{told:?}");
}

on_each!(
    others_are_out_of_reach,
    part_of_a_key,
    values_of_one_kind,
    deleted_rows_stay,
    the_database_computes,
    slips_are_told,
    values_stay_values,
);
