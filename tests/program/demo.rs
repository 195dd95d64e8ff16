//! The first minute.

use serde_json::Value;

use crate::support::{Program, sqlite};

#[tokio::test]
async fn the_demo_ends_in_a_filled_database_and_a_summary() {
    let program = Program::new();
    let out = program.ok(&["demo", "--dir", "try", "--users", "300"]);
    for expected in [
        "A personnel department has 300 people",
        "feed: 300 to create",
        "6 calls, less than a day",
        "feed: 300 taken and not confirmed yet",
        "feed: 300 created",
        "feed: 1 created, 1 updated, 1 disabled",
        "staff: 299 to create, 1 to adopt",
        "Old department →",
        "staff: 299 created, 1 adopted",
        "joiner: ",
        "is_active  true → false",
        "staff: 1 created, 1 updated, 1 disabled",
        "staff: nothing to do",
        "What to try next:",
    ] {
        assert!(out.contains(expected), "{expected:?} is missing from:\n{out}");
    }
    let app = program.path("try/app.db");
    let rows = sqlite(
        &app,
        "SELECT count(*), count(DISTINCT login), sum(full_name = ''), sum(department = 'Old department') FROM app_user",
    )
    .await;
    assert_eq!(rows, [["302", "302", "0", "0"]]);
    let foreign =
        sqlite(&app, "SELECT login, full_name, theme, is_active FROM app_user WHERE login = 'svc-backup'").await;
    assert_eq!(foreign, [["svc-backup", "Backup service", "dark", "1"]]);

    // What it leaves behind works.
    let config = ["-c", "try/muster.toml"];
    let status: Value =
        serde_json::from_str(&program.ok(&[&config[..], &["--output", "json", "status"]].concat())).unwrap();
    let of = |name: &str| status["syncs"].as_array().unwrap().iter().find(|sync| sync["sync"] == name).unwrap();
    assert_eq!(of("feed")["last_run"]["outcome"], "ok");
    assert_eq!(of("staff")["last_run"]["outcome"], "ok");
    assert_eq!(of("staff")["parked"], serde_json::json!([]));
    let schema: Value =
        serde_json::from_str(&program.ok(&[&config[..], &["--output", "json", "schema", "app"]].concat())).unwrap();
    assert_eq!(schema["types"][0]["name"], "user");
    assert!(program.ok(&[&config[..], &["status"]].concat()).contains("staff"));

    // A second demo replaces the first and nothing else.
    program.ok(&["demo", "--dir", "try", "--users", "50"]);
    assert_eq!(sqlite(&app, "SELECT count(*) FROM app_user").await, [["52"]]);
    std::fs::create_dir(program.path("mine")).unwrap();
    program.write("mine/precious", "x");
    let refusal = program.fails(2, &["demo", "--dir", "mine"]);
    assert!(refusal.contains("not empty and no former demo's"), "{refusal}");
    assert!(program.path("mine/precious").exists());
}
