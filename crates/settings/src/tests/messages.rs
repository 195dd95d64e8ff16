//! Every kind of mistake, in the words that a person reads.

use super::{SAMPLE, messages, sample_with};

/// One replacement in the sample, and the messages it leads to.
fn check(piece: &str, replacement: &str, expected: &[&str]) {
    let found = messages(&sample_with(piece, replacement));
    assert_eq!(found, expected, "{piece} -> {replacement}");
}

#[test]
fn the_sample_has_no_fault() {
    assert_eq!(messages(SAMPLE), Vec::<String>::new());
}

#[test]
fn names() {
    check(
        "table = ",
        "tabel = ",
        &[r#"muster.toml:14: connections.hrapp.types.user.tabel: unknown setting; did you mean "table"?"#],
    );
    check(
        "state = ",
        "colour = ",
        &["muster.toml:2: colour: unknown setting; known here are \"state\""
            .replace("known here are \"state\"", "known here are \"log\", \"service\" and \"state\"")
            .as_str()],
    );
    check(
        "every = \"5m\"",
        "evry = \"5m\"",
        &[r#"muster.toml:20: syncs.staff.evry: unknown setting; did you mean "every"?"#],
    );
    check(
        "grace = ",
        "grce = ",
        &[r#"muster.toml:34: syncs.staff.removal.grce: unknown setting; did you mean "grace"?"#],
    );
    check(
        "percent = 2.5",
        "percnt = 2.5",
        &[r#"muster.toml:39: syncs.staff.guard.delete.percnt: unknown setting; did you mean "percent"?"#],
    );
    check(
        "when = ",
        "wehn = ",
        &[r#"muster.toml:28: syncs.staff.map.login.wehn: unknown setting; did you mean "when"?"#],
    );
    check(
        "table = \"app_user\"",
        "",
        &["muster.toml:13: connections.hrapp.types.user.table: this setting is missing; add table = … (The table)"],
    );
    check(
        "[syncs.again]",
        "[syncs.\"a b\"]",
        &["muster.toml:41: syncs.\"a b\": this name is not possible; use letters, digits, - and _"],
    );
}

#[test]
fn connectors_and_endpoints() {
    check(
        "connector = \"sql\"",
        "connector = \"sqll\"",
        &[
            r#"muster.toml:10: connections.hrapp.connector: unknown connector "sqll"; did you mean "sql"? known are "entra" and "sql""#,
        ],
    );
    check(
        "connector = \"sql\"",
        "",
        &[
            r#"muster.toml:9: connections.hrapp.connector: this setting is missing; add connector = …; known are "entra" and "sql""#,
        ],
    );
    check(
        "connector = \"sql\"",
        "connector = 5",
        &[
            r#"muster.toml:10: connections.hrapp.connector: expected text, found a whole number; possible are "entra" and "sql""#,
        ],
    );
    check(
        "\"entra:user\"",
        "\"entre:user\"",
        &[r#"muster.toml:18: syncs.staff.from: there is no connection "entre"; did you mean "entra:user"?"#],
    );
    check(
        "\"entra:user\"",
        "\"directory:user\"",
        &[
            r#"muster.toml:18: syncs.staff.from: there is no connection "directory"; add [connections.directory], or use one of "entra" and "hrapp""#,
        ],
    );
    check(
        "\"entra:user\"",
        "\"entra\"",
        &[r#"muster.toml:18: syncs.staff.from: the object type is missing; add the object type: "entra:TYPE""#],
    );
    check(
        "\"entra:user\"",
        "\"entra: user\"",
        &[
            r#"muster.toml:18: syncs.staff.from: this does not name a connection and an object type; write "CONNECTION:TYPE", such as "entra:user""#,
        ],
    );
    check(
        "\"entra:user\"",
        "\"hrapp:user\"",
        &["muster.toml:19: syncs.staff.to: it is read and written at once; name another connection or object type"],
    );
    check(
        "from = \"entra:user\"",
        "",
        &[
            "muster.toml:17: syncs.staff.from: this setting is missing; add from = … (What is read: the connection's name and the object type, such as `\"entra:user\"`)",
        ],
    );
}

#[test]
fn types_and_bounds() {
    check(
        "\"contoso.onmicrosoft.com\"",
        "5",
        &["muster.toml:6: connections.entra.tenant: expected text, found a whole number; write it in quotes: \"…\""],
    );
    check(
        "anchor = [\"id\"]",
        "anchor = \"id\"",
        &[
            "muster.toml:15: connections.hrapp.types.user.anchor: expected a list, found text; write it as a list: [\"…\", \"…\"]",
        ],
    );
    check(
        "anchor = [\"id\"]",
        "anchor = [1979-05-27]",
        &[
            "muster.toml:15: connections.hrapp.types.user.anchor[0]: expected text, found a date or time; write it in quotes: \"…\"",
        ],
    );
    check(
        "delete_adopted = true",
        "delete_adopted = \"yes\"",
        &[
            "muster.toml:36: syncs.staff.removal.delete_adopted: expected true or false, found text; write true or false, without quotes",
        ],
    );
    check(
        "percent = 2.5",
        "percent = 101",
        &["muster.toml:39: syncs.staff.guard.delete.percent: this number is out of range; 100 is the most"],
    );
    check(
        "percent = 2.5",
        "percent = nan",
        &["muster.toml:39: syncs.staff.guard.delete.percent: this is no number to calculate with; write one in digits"],
    );
    check(
        "min = 5",
        "min = -1",
        &["muster.toml:39: syncs.staff.guard.delete.min: this number is out of range; 0 is the least"],
    );
    check(
        "min = 5",
        "min = 1.5",
        &[
            "muster.toml:39: syncs.staff.guard.delete.min: expected a whole number, found a number with a fraction; write a whole number",
        ],
    );
    check(
        "min = 5",
        "min = 500",
        &["muster.toml:39: syncs.staff.guard.delete: min is 500 and max is 100; min must not be above max"],
    );
    check(
        "soft = \"disable\"",
        "soft = \"disabel\"",
        &["muster.toml:31: syncs.staff.removal.soft: this value is not known; did you mean \"disable\"?"],
    );
    check(
        "soft = \"disable\"",
        "soft = \"never\"",
        &[
            "muster.toml:31: syncs.staff.removal.soft: this value is not known; possible are \"keep\", \"disable\" and \"delete\"",
        ],
    );
    check(
        "tenant = ",
        "cloud = ",
        &[
            "muster.toml:6: connections.entra.cloud: this value is not known; possible are \"global\", \"us_gov\" and \"china\"",
        ],
    );
    check(
        "tenant = ",
        "timeout = ",
        &[
            "muster.toml:6: connections.entra.timeout: this text does not have the form that is needed here; A length of time such as \"30s\"",
        ],
    );
    check(
        "[syncs.staff.guard]",
        "[syncs.staff.x]",
        &[
            "muster.toml:38: syncs.staff.x: unknown setting; known here are \"create\", \"guard\", \"lifecycle\", \"mode\", \"password\", \"protect\", \"schedule\" and \"scope\"",
        ],
    );
}

#[test]
fn durations() {
    const FORM: &str = r#"write a number with its unit, such as "90s", "5m", "12h" or "30d""#;
    let form = |setting: &str, problem: &str| format!("muster.toml:{setting}: {problem}; {FORM}");
    let bad = "this text does not have the form that is needed here";
    check("\"5m\"", "\"5 minutes\"", &[&form("20: syncs.staff.every", bad)]);
    check("\"5m\"", "5", &[&form("20: syncs.staff.every", "expected text, found a whole number")]);
    check("\"30d\"", "\"-30d\"", &[&form("34: syncs.staff.removal.grace", bad)]);
    check(
        "\"30d\"",
        "\"999999999999999d\"",
        &[&form("34: syncs.staff.removal.grace", "this length of time is too long")],
    );
    check(
        "\"5m\"",
        "\"0s\"",
        &["muster.toml:20: syncs.staff.every: this pause is out of range; write 1s to 366d, or remove it"],
    );
}

#[test]
fn conditions_modes_and_limits() {
    let with = |line: &str| SAMPLE.replace("[syncs.staff.map]", &format!("{line}\n[syncs.staff.map]"));
    assert!(
        messages(&with("mode = \"observe\"\nprotect = ['[login] EQUALS \"root\" AND [level] IS NOT NULL']")).is_empty()
    );
    let cases = [
        ("mode = \"watch\"", "syncs.staff.mode: "),
        ("protect = ['[login] LIKE \"x\"']", "syncs.staff.protect[0]: expected an operator: EQUALS"),
        (
            "protect = ['[a] IS NULL', 'login']",
            "syncs.staff.protect[1]: expected an attribute, such as [department]; look at character 1 of the condition",
        ),
        ("scope = []", "syncs.staff.scope: no condition stands here; add a condition, or remove the setting"),
        ("protect = \"x\"", "syncs.staff.protect: expected a list, found text; write conditions in a list"),
    ];
    for (line, expected) in cases {
        let found = messages(&with(line));
        assert!(found.len() == 1 && found[0].contains(expected), "{line}: {found:?}");
    }
    for kind in ["delete", "disable", "clear", "member_removal", "missing"] {
        let text = SAMPLE
            .replace("delete = { percent = 2.5, min = 5, max = 100 }", &format!("{kind} = {{ min = 3, max = 2 }}"));
        let found = messages(&text);
        assert!(found.iter().any(|message| message.contains("min must not be above max")), "{kind}: {found:?}");
    }
}

#[test]
fn first_passwords() {
    let with = |lines: &str| {
        SAMPLE.replace("[syncs.staff.map]", &format!("[syncs.staff.password]\n{lines}\n[syncs.staff.map]"))
    };
    for (lines, problem) in [
        ("length = 20", "password.attribute: this setting is missing"),
        ("attribute = \"pw\"\nlength = 8", "password.length"),
        ("attribute = \"pw\"\nhash = \"md5\"", "password.hash"),
        ("attribute = \"pw\"\nreceiver = {}", "password.receiver: neither a file nor a program is named"),
        (
            "attribute = \"pw\"\nreceiver = { file = \"a\", command = [\"b\"] }",
            "password.receiver: a file and a program are named",
        ),
    ] {
        let found = messages(&with(lines));
        assert!(found.len() == 1 && found[0].contains(problem), "{lines}: {found:?}");
    }
}

#[test]
fn lifecycle_dates() {
    let with = |lines: &str| {
        SAMPLE.replace("[syncs.staff.map]", &format!("[syncs.staff.lifecycle]\n{lines}\n[syncs.staff.map]"))
    };
    let whole = "starts = \"[hired]\"\nends = '[left]'\ncreate_before = \"14d\"\ndelete_after = \"90d\"\n\
                 time_zone = \"Europe/Berlin\"\nend_day = \"excluded\"";
    assert_eq!(messages(&with(whole)), [""; 0]);
    let cases = [
        ("", "lifecycle: no date stands here; add starts = \"[…]\" or ends = \"[…]\", or remove it"),
        ("starts = \"[hired\"", "lifecycle.starts: "),
        ("starts = 5", "lifecycle.starts: expected text, found a whole number; write an expression in quotes"),
        (
            "starts = \"[a]\"\ndelete_after = \"1d\"",
            "lifecycle.delete_after: there is no `ends` that it could be counted from",
        ),
        ("ends = \"[a]\"\ncreate_before = \"1d\"", "lifecycle.create_before: there is no `starts` that it could be"),
        ("ends = \"[a]\"\ndelete_after = \"1w\"", "lifecycle.delete_after: this text does not have the form"),
        (
            "ends = \"[a]\"\ntime_zone = \"berlin\"",
            "time_zone: there is no time zone \"berlin\"; did you mean \"Europe/Berlin\"?",
        ),
        ("ends = \"[a]\"\ntime_zone = \"Europe/Berlni\"", "did you mean \"Europe/Berlin\"?"),
        ("ends = \"[a]\"\ntime_zone = \"Middle-earth/Bree\"", "write a name such as \"Europe/Berlin\""),
        ("ends = \"[a]\"\nend_day = \"last\"", "lifecycle.end_day: "),
        ("end = \"[a]\"\nstarts = \"[b]\"", "lifecycle.end: unknown setting; did you mean \"ends\"?"),
    ];
    for (lines, expected) in cases {
        let found = messages(&with(lines));
        assert!(found.len() == 1 && found[0].contains(expected), "{lines}: {found:?}");
    }
}

#[test]
fn expressions() {
    const HINT: &str = r#"write an expression in quotes: "[mail]" for an attribute, '"text"' for a text, "42" for a number, "True" for a truth value"#;
    check(
        "\"[displayName]\"",
        "\"[displayName\"",
        &[
            "muster.toml:26: syncs.staff.map.full_name: the attribute's closing ] is missing; look at character 1 of the expression",
        ],
    );
    check(
        "\"[displayName]\"",
        "\"[a] b\"",
        &[
            "muster.toml:26: syncs.staff.map.full_name: nothing was expected after the end, but found \"b\"; look at character 5 of the expression",
        ],
    );
    check(
        "\"[userPrincipalName]\"",
        "\"[]\"",
        &[
            "muster.toml:28: syncs.staff.map.login.value: the attribute's name is missing; look at character 2 of the expression",
        ],
    );
    check(
        "\"[employeeId]\", target",
        "\"\", target",
        &[
            "muster.toml:21: syncs.staff.match[0].source: the expression is empty; expected a function, [attribute], or a constant in double quotes; look at character 1 of the expression",
        ],
    );
    let wrong = [
        (
            "\"[mail]\"",
            "default: [mail] looks like an expression, and a default flows as it is; to fall back on another attribute, write value = 'Coalesce([one], [other])'",
        ),
        (
            "'\"none\"'",
            "default: \"none\" looks like an expression, and a default flows as it is; write it without the inner quotes",
        ),
    ];
    for (default, expected) in wrong {
        let mapping = format!("{{ value = \"True\", default = {default} }}");
        check("\"True\"", &mapping, &[&format!("muster.toml:27: syncs.staff.map.active.{expected}")]);
    }
    check(
        "\"True\"",
        "{ value = \"True\", null = \"leave\" }",
        &["muster.toml:27: syncs.staff.map.active.null: this value is not known; possible are \"clear\" and \"keep\""],
    );
    check(
        "\"True\"",
        "{ value = \"True\", default = [] }",
        &[
            "muster.toml:27: syncs.staff.map.active.default: expected text or a number or true or false, found a list; write a text such as \"Unknown\", a number, true or false",
        ],
    );
    check(
        "\"True\"",
        "true",
        &[&format!("muster.toml:27: syncs.staff.map.active: expected text or a table, found true or false; {HINT}")],
    );
    check(
        "\"True\"",
        "7",
        &[&format!("muster.toml:27: syncs.staff.map.active: expected text or a table, found a whole number; {HINT}")],
    );
    check(
        "\"True\"",
        "{ when = \"create\" }",
        &[
            "muster.toml:27: syncs.staff.map.active.value: this setting is missing; add value = … (The expression whose value flows)",
        ],
    );
    check(
        "\"create\"",
        "\"once\"",
        &[
            "muster.toml:28: syncs.staff.map.login.when: this value is not known; possible are \"always\" and \"create\"",
        ],
    );
}

#[test]
fn syncs() {
    check(
        "map.name = \"[displayName]\"",
        "",
        &["muster.toml:41: syncs.again.map: this table is missing; add [syncs.again.map] with its settings"],
    );
    check(
        "map.name = \"[displayName]\"",
        "map = {}",
        &["muster.toml:44: syncs.again.map: too little stands here; add at least one line to this table, or remove it"],
    );
    check(
        "\"jobTitle\"",
        "\"department\"",
        &["muster.toml:22: syncs.staff.read[1]: this stands in the list already; remove it"],
    );
    check(
        "}]",
        "},\n{ source = \"[employeeId]\", target = \"employee_no\" }]",
        &["muster.toml:22: syncs.staff.match[1]: this rule stands at [0] already; remove one of them"],
    );
    let form =
        "write { source = \"[employeeId]\", target = \"employee_no\" }, or { all = [ … ] } with several of these";
    let wrong = [
        ("{ source = \"[mail]\" }", format!("[1]: \"target\" is missing; {form}")),
        ("{}", format!("[1]: \"source\" is missing; {form}")),
        ("{ all = [] }", format!("[1].all: nothing is compared here; {form}")),
        (
            "{ all = [{ source = \"[a]\", target = \"a\" }], target = \"b\" }",
            "[1]: `all` stands beside `source` or `target`; put that comparison into `all` as well".to_owned(),
        ),
        (
            "{ all = [{ source = \"[a]\", target = \"a\" }, { source = \"[b]\", target = \"a\" }] }",
            "[1].all[1].target: \"a\" is compared twice; remove one of the comparisons".to_owned(),
        ),
        (
            "{ all = [{ source = \"[a\", target = \"a\" }] }",
            "[1].all[0].source: the attribute's closing ] is missing; look at character 1 of the expression".to_owned(),
        ),
        ("{ every = [] }", "[1].every: unknown setting; known here are \"all\", \"source\" and \"target\"".to_owned()),
    ];
    for (rule, expected) in wrong {
        check("}]", &format!("}},\n{rule}]"), &[&format!("muster.toml:22: syncs.staff.match{expected}")]);
    }
    check(
        "[{ source = \"[employeeId]\", target = \"employee_no\" }]",
        "[]",
        &[
            "muster.toml:21: syncs.staff.match: no rule stands here; add { source = \"[…]\", target = \"…\" }, or remove it",
        ],
    );
    check(
        "[{ source = \"[employeeId]\", target = \"employee_no\" }]",
        "{ source = \"[a]\", target = \"b\" }",
        &["muster.toml:21: syncs.staff.match: expected a list, found a table; write it as a list: [\"…\", \"…\"]"],
    );
}

#[test]
fn lines_that_are_no_toml() {
    check(
        "state = \"state/muster.db\"",
        "state = state/muster.db",
        &["muster.toml:2: a text stands here without quotes; write it in quotes: \"…\""],
    );
    check("every = \"5m\"", "every", &["muster.toml:20: a name stands here without a value; write it as name = value"]);
    check(
        "every = \"5m\"",
        "every = ",
        &["muster.toml:20: a name stands here without a value; write it as name = value"],
    );
    check(
        "every = \"5m\"",
        "to = \"hrapp:user\"",
        &["muster.toml:20: this name is given for the second time in its table; keep one of the two"],
    );
    check(
        "[syncs.again]",
        "[syncs.staff]",
        &["muster.toml:41: [syncs.staff] stands here for the second time, first in line 17; \
            put what is in both together under the first"],
    );
    check("[syncs.again]", "[syncs.again", &["muster.toml:41: the header is not closed; end it with ]"]);
    check("min = 5", "min = 05", &["muster.toml:39: a number begins with 0; remove the 0, or write a text in quotes"]);
    check(
        "max = 100 }",
        "max = 100",
        &["muster.toml:41: this cannot stand in a table in braces; end the table before it with }"],
    );
    check(
        "\"jobTitle\"]",
        "\"jobTitle\"",
        &["muster.toml:24: a comma or the closing bracket is missing before this; add it"],
    );
    check(
        "\"contoso.onmicrosoft.com\"",
        "\"C:\\data\"",
        &["muster.toml:6: a backslash means something special in double quotes; double it, or use single quotes: '…'"],
    );
    check(
        "\"contoso.onmicrosoft.com\"",
        "\"contoso",
        &["muster.toml:6: the text is not closed; end it with the quote it began with"],
    );
}

#[test]
fn all_problems_at_once_in_the_order_of_the_lines() {
    let text = SAMPLE
        .replacen("state = ", "stat = ", 1)
        .replacen("connector = \"entra\"", "connector = \"entr\"", 1)
        .replacen("table = ", "tabel = ", 1)
        .replacen("\"hrapp:user\"", "\"hrap:user\"", 1)
        .replacen("\"5m\"", "\"5x\"", 1)
        .replacen("\"[displayName]\"", "\"[displayName\"", 1)
        .replacen("percent = 2.5", "percent = \"a\"", 1);
    let places: Vec<String> =
        messages(&text).iter().map(|text| text.split(": ").take(2).collect::<Vec<_>>().join(" ")).collect();
    let expected = [
        "muster.toml:2 stat",
        "muster.toml:5 connections.entra.connector",
        "muster.toml:14 connections.hrapp.types.user.tabel",
        "muster.toml:19 syncs.staff.to",
        "muster.toml:20 syncs.staff.every",
        "muster.toml:26 syncs.staff.map.full_name",
        "muster.toml:39 syncs.staff.guard.delete.percent",
    ];
    assert_eq!(places, expected);
}

#[test]
fn an_empty_file_and_a_wrong_top() {
    assert_eq!(
        messages(""),
        ["muster.toml:1: connections: this table is missing; add [connections] with its settings"]
    );
    assert_eq!(
        messages("connections = 1"),
        ["muster.toml:1: connections: expected a table, found a whole number; write it as a table: { name = … }"]
    );
    assert_eq!(
        messages("[connections]\na = 1"),
        [
            "muster.toml:2: connections.a: expected a table, found a whole number; write it as a table with connector = …"
        ]
    );
}
