//! Files over files.

use super::{Files, SAMPLE, environment, settings};
use crate::{Place, load};

#[test]
fn later_files_win_and_tables_are_merged() {
    let first = "[connections.entra]\ntenant = \"first\"\npage_size = 5\n[syncs.staff.map]\nnew = \"[a]\"\nfull_name = \"[b]\"\n";
    let second = "[connections.entra]\ntenant = \"second\"\n[syncs.late]\nfrom = \"entra:user\"\nto = \"hrapp:x\"\nmap.a = \"[b]\"";
    let files = [
        ("muster.toml", SAMPLE),
        ("conf.d/20-second.toml", second),
        ("conf.d/10-first.toml", first),
        ("conf.d/ignored.txt", "]"),
        ("conf.d/.hidden.toml", "]"),
    ];
    let settings = settings(&files, &[]);
    let entra = &settings.connections["entra"].section;
    assert_eq!(entra["tenant"], "second");
    assert_eq!(entra["page_size"], 5);
    let names: Vec<&str> = settings.syncs.iter().map(|sync| sync.name.as_str()).collect();
    assert_eq!(names, ["staff", "again", "late"]);
    let map: Vec<String> =
        settings.syncs[0].map.iter().map(|mapping| format!("{}={}", mapping.target, mapping.value)).collect();
    assert_eq!(
        map,
        ["employee_no=[employeeId]", "full_name=[b]", "active=True", "login=[userPrincipalName]", "new=[a]"]
    );
    let place = settings.place("connections.entra.tenant").unwrap().to_string();
    assert!(place.ends_with("conf.d/20-second.toml:2"), "{place}");
}

#[test]
fn problems_name_the_file_they_stand_in() {
    let files = Files::new(&[
        ("muster.toml", &SAMPLE.replacen("every = \"5m\"", "evry = \"5m\"", 1)),
        ("conf.d/10.toml", "[connections.entra]\n\ntenent = \"a\"\n[syncs.staff]\nfrom = \"nowhere:user\"\n"),
    ]);
    let expected = [
        r#"muster.toml:20: syncs.staff.evry: unknown setting; did you mean "every"?"#,
        r#"conf.d/10.toml:3: connections.entra.tenent: unknown setting; did you mean "tenant"?"#,
        r#"conf.d/10.toml:5: syncs.staff.from: there is no connection "nowhere"; add [connections.nowhere], or use one of "entra" and "hrapp""#,
    ];
    assert_eq!(files.load(&[]).unwrap_err(), expected);
    let broken = Files::new(&[("muster.toml", "a = ["), ("conf.d/1.toml", "x"), ("conf.d/2.toml", "y = 1")]);
    let places: Vec<String> =
        broken.load(&[]).unwrap_err().iter().map(|text| text.split(": ").next().unwrap().to_owned()).collect();
    assert_eq!(places, ["muster.toml:1", "conf.d/1.toml:1"]);
}

#[test]
fn a_later_layer_may_take_a_secret_from_elsewhere() {
    let settings = settings(
        &[("muster.toml", SAMPLE), ("conf.d/a.toml", "[connections.entra.client_secret]\nfile = \"secret\"\n")],
        &[],
    );
    assert_eq!(settings.connections["entra"].section["client_secret"], serde_json::json!({ "file": "secret" }));
}

#[test]
fn files_that_cannot_be_read() {
    let nothing = Files::new(&[]);
    assert_eq!(
        nothing.load(&[]).unwrap_err(),
        [
            "muster.toml: there is no such file; `muster init` writes one; one that stands elsewhere is named with -c FILE"
        ]
    );
    let binary = Files::new(&[("muster.toml", "")]);
    super::write(&binary.path(), b"state = \"a\"\n# \xff\n");
    assert_eq!(binary.load(&[]).unwrap_err(), ["muster.toml:2: the file is not UTF-8 text; save it as UTF-8"]);
    super::write(&binary.path(), &vec![b'#'; 4 * 1024 * 1024 + 1]);
    assert_eq!(
        binary.load(&[]).unwrap_err(),
        ["muster.toml: the file is larger than 4 MiB; give the path of a configuration file"]
    );
    let folder = Files::new(&[("muster.toml/x", "")]);
    let message = folder.load(&[]).unwrap_err().join("");
    assert!(message.starts_with("muster.toml: the file cannot be read ("), "{message}");
}

#[test]
fn columns_are_counted_in_characters() {
    let files = Files::new(&[("muster.toml", &SAMPLE.replacen("{ percent = 2.5", "{ \"åä\" = 1, percent = 2.5", 1))]);
    let problems = load(&files.path(), &environment(&[]), &super::connectors()).unwrap_err();
    let places: Vec<_> = problems.iter().map(|problem| (&problem.place, problem.setting.as_str())).collect();
    assert!(
        matches!(places.as_slice(), [(Place::Line { line: 39, column: 12, .. }, "syncs.staff.guard.delete.\"åä\"")]),
        "{places:?}"
    );
    let later = Files::new(&[("muster.toml", &SAMPLE.replacen("percent = 2.5", "\"åä\" = 1, percent = 200", 1))]);
    let problems = load(&later.path(), &environment(&[]), &super::connectors()).unwrap_err();
    let last = problems.iter().last().map(|problem| problem.place.clone());
    assert!(matches!(last, Some(Place::Line { line: 39, column: 32, .. })), "{last:?}");
}

#[test]
fn nesting_has_an_end() {
    for text in [
        format!("a = {}{}", "[".repeat(100_000), "]".repeat(100_000)),
        format!("a{} = 1", ".a".repeat(100_000)),
        format!("[a{}]", ".a".repeat(100_000)),
        format!("a = {{ a{} = 1 }}", ".a".repeat(100_000)),
        format!("a = {}1{}", "{ a = ".repeat(100_000), " }".repeat(100_000)),
    ] {
        assert_eq!(super::messages(&text).len(), 1);
    }
    let name = format!("MUSTER{}", "_A_".repeat(100_000));
    assert!(Files::new(&[("muster.toml", SAMPLE)]).load(&[(&name, "1")]).is_err());
}
