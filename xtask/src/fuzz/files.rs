//! What comes from outside as bytes: configuration files, and what a directory answers.

use std::path::PathBuf;
use std::sync::OnceLock;

use muster_settings::{ConnectorSchema, Environment, load};

use super::random::Random;

const SAMPLE: &str = include_str!("../../../config/muster.toml");

const PIECES: [&str; 34] = [
    "\"",
    "'",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "=",
    ".",
    ",",
    "#",
    "\n",
    "\\",
    "true",
    "-1",
    "1e999",
    "0x",
    "nan",
    "\"\"\"",
    "{}",
    "[]",
    "[syncs.staff.lifecycle]\nends = \"[a]\"\n",
    "time_zone = \"Europe/Berlin\"\n",
    "every = \"5m\"\n",
    "schedule = \"* * * * *\"\n",
    "mode = \"observe\"\n",
    "scope = ['[a] IS NULL']\n",
    "999999999999999999d",
    "2026-03-29",
    "07:32:00",
    "\u{0}",
    "å",
    "\"\"\"\n",
];

fn connectors() -> &'static [ConnectorSchema] {
    static CONNECTORS: OnceLock<Vec<ConnectorSchema>> = OnceLock::new();
    CONNECTORS.get_or_init(crate::connectors::schemas)
}

/// The folder of the configuration that is read, for as long as this thread tries.
fn folder() -> Result<PathBuf, String> {
    thread_local! {
        static FOLDER: Option<tempfile::TempDir> = tempfile::tempdir().ok();
    }
    FOLDER.with(|folder| Some(folder.as_ref()?.path().to_owned())).ok_or_else(|| "no temporary folder".to_owned())
}

/// A damaged configuration is read, or refused with what is wrong and where.
pub(crate) fn settings(random: &mut Random, input: &mut String) -> Result<(), String> {
    // What is switched off counts as well.
    let text = if random.one_in(2) { SAMPLE.replace("\n#", "\n") } else { SAMPLE.to_owned() };
    let bytes = match random.one_in(3) {
        true => random.damaged_bytes(text.as_bytes()),
        false => random.damaged(&text, &PIECES).into_bytes(),
    };
    input.push_str(&String::from_utf8_lossy(&bytes));
    let path = folder()?.join("muster.toml");
    std::fs::write(&path, &bytes).map_err(|error| error.to_string())?;
    match load(&path, &Environment::from_iter(Vec::<(String, String)>::new()), connectors()) {
        Ok(_) => Ok(()),
        Err(problems) => match problems.iter().all(|problem| !problem.problem.is_empty() && !problem.fix.is_empty()) {
            true => Ok(()),
            false => Err(format!("refused without a reason or a fix: {problems}")),
        },
    }
}

const PAGE: &str = r##"{"@odata.context":"https://graph.microsoft.com/v1.0/$metadata#users","value":[
{"id":"3f2504e0-4f89-41d3-9a0c-0305e82c3301","displayName":"Åsa \"x\" \u00e5\ud83d\ude00","mail":null,"accountEnabled":true,
"employeeHireDate":"2026-02-01T00:00:00Z","businessPhones":["1","2"],"manager@delta":[{"@odata.type":"#microsoft.graph.user",
"id":"3f2504e0-4f89-41d3-9a0c-0305e82c3302"}],"employeeOrgData":{"division":"a","costCenter":null},
"onPremisesExtensionAttributes":{"extensionAttribute1":"x"},"extension_0123456789abcdef0123456789abcdef_badge":7},
{"id":"3f2504e0-4f89-41d3-9a0c-0305e82c3303","@removed":{"reason":"changed"}},
{"id":"3f2504e0-4f89-41d3-9a0c-0305e82c3304","@removed":{"reason":"deleted"},"members@delta":[{"@odata.type":
"#microsoft.graph.group","id":"3f2504e0-4f89-41d3-9a0c-0305e82c3305","@removed":{"reason":"deleted"}}]}],
"@odata.nextLink":"https://graph.microsoft.com/v1.0/users/delta?$skiptoken=a"}"##;

/// A damaged page is read, or refused with a reason.
pub(crate) fn pages(random: &mut Random, input: &mut String) -> Result<(), String> {
    const PIECES: [&str; 22] = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "null",
        "true",
        "-1",
        "1e400",
        "99999999999999999999",
        "\"id\":",
        "\"@removed\":",
        "\"value\":",
        "\\ud800",
        "\\u0000",
        "\"reason\":\"x\"",
        "\"members@delta\":",
        "{\"a\":",
        "\"2026-02-30T00:00:00Z\"",
        "[[[[",
    ];
    let bytes = match random.one_in(2) {
        true => random.damaged_bytes(PAGE.as_bytes()),
        false => random.damaged(PAGE, &PIECES).into_bytes(),
    };
    input.push_str(&String::from_utf8_lossy(&bytes));
    for object_type in ["user", "group"] {
        match muster_connector_entra::examine_page(object_type, &bytes) {
            Ok(entries) if entries > bytes.len() => return Err(format!("{entries} entries of {} bytes", bytes.len())),
            Err(problem) if problem.is_empty() => return Err("refused without a reason".to_owned()),
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}
