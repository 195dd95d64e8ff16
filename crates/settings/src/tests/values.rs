//! What a configuration without a fault becomes.

use serde_json::{Value, json};

use super::{SAMPLE, connectors, settings};
use crate::{LimitSettings, Removal, When, WhenNull, schema};

#[test]
fn everything_that_a_sync_says() {
    let settings = settings(&[("muster.toml", SAMPLE)], &[]);
    assert!(settings.folder.is_absolute());
    assert_eq!(settings.state, settings.folder.join("state/muster.db"));
    let staff = &settings.syncs[0];
    assert_eq!(
        (staff.name.as_str(), staff.from.to_string(), staff.to.to_string()),
        ("staff", "entra:user".into(), "hrapp:user".into())
    );
    let map: Vec<(String, String, When)> =
        staff.map.iter().map(|mapping| (mapping.target.clone(), mapping.value.to_string(), mapping.when)).collect();
    let expected = [
        ("employee_no", "[employeeId]", When::Always),
        ("full_name", "[displayName]", When::Always),
        ("active", "True", When::Always),
        ("login", "[userPrincipalName]", When::Create),
    ];
    assert_eq!(map, expected.map(|(target, value, when)| (target.to_owned(), value.to_owned(), when)));
    let matching = &staff.matching[0].all[0];
    assert_eq!((matching.source.to_string().as_str(), matching.target.as_str()), ("[employeeId]", "employee_no"));
    assert_eq!(staff.read, ["department", "jobTitle"]);
    let removal = &staff.removal;
    assert_eq!(
        (removal.soft, removal.hard, removal.disabled),
        (Some(Removal::Disable), Some(Removal::Delete), Some(Removal::Keep))
    );
    assert_eq!(removal.grace.map(crate::TimeSpan::milliseconds), Some(2_592_000_000));
    assert_eq!(removal.absent_for.map(crate::TimeSpan::milliseconds), Some(43_200_000));
    assert_eq!(removal.delete_adopted, Some(true));
    assert_eq!(staff.guard.delete, Some(LimitSettings { percent: Some(2.5), min: Some(5), max: Some(100) }));
    assert_eq!((staff.guard.disable, staff.guard.missing), (None, None));

    let again = settings.sync("again").unwrap();
    assert_eq!(
        (again.every, again.matching.is_empty(), &again.removal),
        (None, true, &crate::RemovalSettings::default())
    );
    assert!(settings.sync("none").is_none());

    let hrapp = &settings.connections["hrapp"];
    assert_eq!(hrapp.connector, "sql");
    assert_eq!(
        hrapp.section,
        json!({ "url": { "file": "hrapp.url" }, "types": { "user": { "table": "app_user", "anchor": ["id"] } } })
    );
}

#[test]
fn dates_have_defaults() {
    let lines = "[syncs.staff.lifecycle]\nends = \"[left]\"\ntime_zone = \"Europe/Berlin\"\n[syncs.staff.map]";
    let text = SAMPLE.replace("[syncs.staff.map]", lines);
    let settings = settings(&[("muster.toml", &text)], &[]);
    let dates = settings.sync("staff").unwrap().lifecycle.clone().unwrap();
    assert_eq!((dates.starts, dates.ends.unwrap().to_string()), (None, "[left]".to_owned()));
    assert_eq!((dates.create_before, dates.delete_after), (None, None));
    assert_eq!((dates.time_zone.name(), dates.end_day), ("Europe/Berlin", crate::EndDay::Included));
    assert!(settings.sync("again").unwrap().lifecycle.is_none());
}

#[test]
fn match_rules_keep_their_order_and_may_compare_several_attributes() {
    let text = SAMPLE.replace(
        "match = [{ source = \"[employeeId]\", target = \"employee_no\" }]",
        "match = [\n\
         { source = \"[employeeId]\", target = \"employee_no\" },\n\
         { all = [{ source = \"[givenName]\", target = \"first\" }, { source = 'ToLower([surname])', target = \"last\" }] },\n\
         ]",
    );
    let settings = settings(&[("muster.toml", &text)], &[]);
    let rules = &settings.sync("staff").unwrap().matching;
    let shown: Vec<Vec<String>> = rules
        .iter()
        .map(|rule| rule.all.iter().map(|part| format!("{} = {}", part.target, part.source)).collect())
        .collect();
    let expected = [vec!["employee_no = [employeeId]"], vec!["first = [givenName]", "last = ToLower([surname])"]];
    assert_eq!(shown, expected);
}

#[test]
fn a_mapping_says_what_a_null_does() {
    let text = SAMPLE.replace(
        "active = \"True\"",
        "active = { value = \"[accountEnabled]\", default = false }\n\
         a = { value = \"[a]\", default = \"Unknown\", null = \"keep\" }\n\
         b = { value = \"[b]\", default = 7, null = \"clear\" }\nc = { value = \"[c]\", default = 1.5 }",
    );
    let settings = settings(&[("muster.toml", &text)], &[]);
    let map = &settings.sync("staff").unwrap().map;
    let shown: Vec<(&str, Option<String>, WhenNull)> = map
        .iter()
        .filter(|mapping| mapping.default.is_some())
        .map(|mapping| (mapping.target.as_str(), mapping.default.as_ref().map(ToString::to_string), mapping.null))
        .collect();
    let some = |text: &str| Some(text.to_owned());
    let expected = [
        ("active", some("false"), WhenNull::Clear),
        ("a", some("Unknown"), WhenNull::Keep),
        ("b", some("7"), WhenNull::Clear),
        ("c", some("1.5"), WhenNull::Clear),
    ];
    assert_eq!(shown, expected);
}

#[test]
fn defaults_and_places() {
    let text = "[connections]\n";
    let settings = settings(&[("muster.toml", text)], &[]);
    assert_eq!(settings.state, settings.folder.join("muster.state.db"));
    assert!(settings.connections.is_empty() && settings.syncs.is_empty());

    let settings = super::settings(&[("muster.toml", SAMPLE)], &[]);
    let line =
        |setting: &str| settings.place(setting).map(|place| place.to_string().rsplit(':').next().unwrap().to_owned());
    assert_eq!(line("syncs.staff.map.full_name").as_deref(), Some("26"));
    assert_eq!(line("syncs.staff.map.missing").as_deref(), Some("24"));
    assert_eq!(line("syncs.staff.match[0].source").as_deref(), Some("21"));
    assert_eq!(line("connections.hrapp.password").as_deref(), Some("9"));
    assert_eq!(line("nothing"), None);
}

#[test]
fn the_schema_holds_every_connector_once_and_refers_to_nothing_missing() {
    let whole = schema(&connectors());
    assert_eq!(whole.to_string(), schema(&connectors()).to_string());
    let mut references = Vec::new();
    collect(&whole, &mut references);
    assert!(references.len() > 10);
    for reference in references {
        assert!(whole.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
    }
    let definitions = whole["$defs"].as_object().unwrap();
    for name in ["connector-entra", "connector-entra.Secret", "connector-sql", "connector-sql.Secret", "Sync", "Guard"]
    {
        assert!(definitions.contains_key(name), "{name}");
    }
    assert_eq!(definitions["connector-sql"]["properties"]["connector"]["const"], "sql");
}

fn collect<'a>(schema: &'a Value, found: &mut Vec<&'a str>) {
    match schema {
        Value::Object(keywords) => {
            found.extend(keywords.get("$ref").and_then(Value::as_str));
            keywords.values().for_each(|value| collect(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| collect(value, found)),
        _ => {}
    }
}

#[test]
fn every_setting_is_explained() {
    let whole = schema(&[]);
    let mut tables = vec![("the file", &whole)];
    tables.extend(whole["$defs"].as_object().unwrap().iter().map(|(name, table)| (name.as_str(), table)));
    for (name, table) in tables {
        for (property, schema) in table.get("properties").and_then(Value::as_object).into_iter().flatten() {
            assert!(schema.get("description").is_some(), "{name}.{property}");
        }
    }
}
