//! What a database says of its tables.

use muster_connector::{Error, UsedType};
use muster_model::{AssignedBy, ValueType};
use serde_json::json;

use crate::on_each;
use crate::world::World;

async fn tables_types_and_keys(world: World) {
    world.run("CREATE VIEW names AS SELECT id, full_name FROM app_user").await;
    world.run("CREATE TABLE no_key (a text)").await;
    let schema = world.connect().0.schema().await.unwrap();
    let names: Vec<&str> = schema.types.iter().map(|found| found.name.as_str()).collect();
    assert_eq!(names, ["app_user", "badge", "dept", "person", "visit"]);
    let user = schema.object_type("app_user").unwrap();
    assert_eq!(user.anchor.attributes, ["id"]);
    assert_eq!(user.anchor.assigned_by, AssignedBy::System);
    assert_eq!(user.alternate_keys, [["employee_no"], ["login"]]);
    let attribute = |name: &str| user.attribute(name).unwrap();
    assert_eq!(attribute("id").creatable, world.sqlserver_or(false, !world.is_postgres()));
    assert_eq!(attribute("employee_no").max_length, Some(20));
    assert!(attribute("employee_no").required && attribute("employee_no").unique);
    assert!(!attribute("login").required && attribute("login").unique);
    assert!(!attribute("is_active").required && !attribute("full_name").unique);
    let types = ["id", "login", "dept_id", "is_active"].map(|name| attribute(name).value_type);
    assert_eq!(types, [ValueType::Integer, ValueType::Text, ValueType::Integer, ValueType::Boolean]);
    let badge = schema.object_type("badge").unwrap();
    assert_eq!(
        (badge.anchor.attributes.as_slice(), badge.anchor.assigned_by),
        (["site".to_owned(), "number".to_owned()].as_slice(), AssignedBy::Creator)
    );
    assert!(!badge.attribute("site").unwrap().unique);
    let again = world.connect().0.schema().await.unwrap();
    assert_eq!(schema.identity, again.identity);
}

async fn configured_types(world: World) {
    world.run("CREATE VIEW names AS SELECT id, full_name FROM app_user").await;
    let connection = world.connect_with(json!({ "types": {
        "user": { "table": "app_user", "anchor": ["employee_no"], "enabled": "is_active" },
        "name": { "table": "names", "anchor": ["id"] },
    } }));
    let schema = connection.0.schema().await.unwrap();
    let user = schema.object_type("user").unwrap();
    assert_eq!((user.anchor.attributes[0].as_str(), user.anchor.assigned_by), ("employee_no", AssignedBy::Creator));
    assert!(schema.object_type("app_user").is_none() && schema.object_type("name").is_some());
}

async fn slips_of_the_pen(world: World) {
    let cases = [
        (json!({ "table": "app_usr" }), "types.user.table", "\"app_user\""),
        (json!({ "table": "zzzzzzzz" }), "types.user.table", "app_user, badge"),
        (json!({ "table": "app_user", "anchor": ["employe_no"] }), "types.user.anchor", "\"employee_no\""),
        (json!({ "table": "app_user", "enabled": "is_activ" }), "types.user.enabled", "\"is_active\""),
        (json!({ "table": "app_user", "enabled": "full_name" }), "types.user.enabled", "enabled_values"),
    ];
    for (wrong, at, hint) in cases {
        let connection = world.connect_with(json!({ "types": { "user": wrong } }));
        let Err(Error::Configuration { setting, fix, .. }) = connection.0.schema().await else { panic!("{at}") };
        assert_eq!(setting.as_deref(), Some(at));
        assert!(fix.contains(hint), "{fix}");
        let report = connection.0.check(&[] as &[UsedType]).await.unwrap();
        assert_eq!(report.findings.len(), 1);
        assert_eq!(report.findings[0].setting.as_deref(), Some(at));
    }
    world.run("CREATE TABLE no_key (a text)").await;
    let connection = world.connect_with(json!({ "types": { "user": { "table": "no_key" } } }));
    assert!(connection.0.schema().await.unwrap_err().to_string().contains("primary key"));
}

on_each!(tables_types_and_keys, configured_types, slips_of_the_pen);

#[tokio::test]
async fn row_numbers_of_sqlite() {
    let world = World::sqlite().await;
    world.run("CREATE TABLE a (id INTEGER PRIMARY KEY) WITHOUT ROWID; CREATE TABLE b (id INT PRIMARY KEY); CREATE TABLE c (id INTEGER PRIMARY KEY AUTOINCREMENT)").await;
    let schema = world.connect().0.schema().await.unwrap();
    let assigned = ["a", "b", "c"].map(|name| schema.object_type(name).unwrap().anchor.assigned_by);
    assert_eq!(assigned, [AssignedBy::Creator, AssignedBy::Creator, AssignedBy::System]);
}
