//! Forms of files, and files with faults.

use muster_connector::{Error, Severity};
use muster_model::Key;
use serde_json::json;

use crate::world::{World, all, page, request, texts};

#[tokio::test]
async fn forms_of_files() {
    let wanted = [["7", "Åsa; Öberg", "<null>"], ["8", "Bo \"B\" Bok\nzwei", "x"]];
    let comma = "no,name,note\r\n7,Åsa; Öberg,\r\n8,\"Bo \"\"B\"\" Bok\nzwei\",x";
    let semicolon = "7;\"Åsa; Öberg\";NULL\n\n8;\"Bo \"\"B\"\" Bok\nzwei\"; x \n";
    let latin = encoded(semicolon);
    let utf16: Vec<u8> = [0xfeff].into_iter().chain(comma.encode_utf16()).flat_map(u16::to_be_bytes).collect();
    let without_header = json!({
        "delimiter": ";", "encoding": "windows-1252", "header": false, "names": ["no", "name", "note"], "null": ["NULL"],
    });
    let tabs = "no\tname\tnote\n7\tÅsa; Öberg\t\n8\t'Bo \"B\" Bok\nzwei'\tx\n";
    let forms = [
        (comma.as_bytes().to_vec(), json!({})),
        ([b"\xef\xbb\xbf", comma.as_bytes()].concat(), json!({})),
        (utf16, json!({})),
        (latin, without_header),
        (tabs.as_bytes().to_vec(), json!({ "delimiter": "tab", "quote": "'" })),
    ];
    for (content, form) in forms {
        let world = World::new();
        world.write("people.csv", content);
        let connector = world.people(form.clone());
        let found = all(&connector, &request("person", &["no", "name", "note"])).await;
        assert_eq!(texts(&found), wanted, "{form}");
        assert_eq!(found[1].key, Key::text("8"));
        assert!(connector.check(&[]).await.unwrap().findings.is_empty());
        let asked = [Key::text("8"), Key::text("nobody"), Key::text("7")];
        let got = connector.source().unwrap().get(&request("person", &["name"]), &asked).await.unwrap();
        assert_eq!((&got[0].as_ref().unwrap().key, got[1].is_none()), (&asked[0], true));
    }
}

fn encoded(text: &str) -> Vec<u8> {
    // Windows-1252 is Latin-1 where these letters are.
    text.chars().map(|letter| u8::try_from(u32::from(letter)).unwrap()).collect()
}

#[tokio::test]
async fn a_file_with_a_fault_is_read_by_no_half() {
    let faults = [
        ("no,name\n1,A\n2,B,C\n", "line 3 has 3 values, and there are 2 columns"),
        ("no,name\n1,A\n2\n", "line 3 has 1 values"),
        ("no,name\n\n\r\n1,\"A\nB\"\n\n2\n", "line 7 has 1 values"),
        ("no,name\n1,A\n2,\"B\n", "never closed by a quote: the file is cut off"),
        ("no,name\n1,A\n2,\"B \"\"C\"\"", "never closed by a quote: the file is cut off"),
        ("no,name\n1,A\n,B\n", "line 3 has no no"),
        ("no,name\n1,A\n2,B\n1,C\n", "no 1 stands in line 2 and in line 4"),
        ("no,no\n1,A\n", "two columns are called \"no\""),
        ("", "it is empty"),
        ("nr,name\n1,A\n", "no column \"no\", which `key` names"),
        ("no;name\n1;A\n", "is `delimiter` right?"),
    ];
    for (content, told) in faults {
        let world = World::new();
        world.write("people.csv", content);
        let connector = world.people(json!({}));
        let error = page(&connector, &request("person", &["name"]), None).await.unwrap_err();
        assert!(matches!(&error, Error::Unreachable { nothing_sent: true, .. }), "{content:?}: {error:?}");
        let said = error.to_string();
        assert!(said.contains(told) && said.contains("people.csv"), "{content:?}: {said}");
        let report = connector.check(&[]).await.unwrap();
        assert_eq!(report.findings[0].severity, Severity::Error);
        assert!(connector.schema().await.is_err());
    }
    // A quote within a value is none that opens.
    let world = World::new();
    world.write("people.csv", "no,name\n1,5\" x\n2,\"A \"\"B\"\"\"\n3,C\"\n");
    let found = texts(&all(&world.people(json!({})), &request("person", &["name"])).await);
    assert_eq!(found, [["5\" x"], ["A \"B\""], ["C\""]]);
    let world = World::new();
    world.write("people.csv", "no,name\n1,A\n,total 1\n");
    let connector = world.people(json!({ "skip_without_key": true }));
    assert_eq!(texts(&all(&connector, &request("person", &["no"])).await), [["1"]]);
}

#[tokio::test]
async fn settings_that_cannot_be_are_refused() {
    let world = World::new();
    let wrong = [
        (json!({ "key": ["no"] }), "file", "set one of `file` and `folder`"),
        (json!({ "key": ["no"], "file": "a", "folder": "b" }), "file", "set one of"),
        (json!({ "key": ["no"], "file": "a", "archive": "b" }), "folder", "set `folder`"),
        (json!({ "key": ["no"], "file": "a", "delimiter": "::" }), "delimiter", "not one character"),
        (json!({ "key": ["no"], "file": "a", "delimiter": "\"" }), "quote", "the delimiter too"),
        (json!({ "key": ["no"], "file": "a", "encoding": "latin-77" }), "encoding", "is not known"),
        (json!({ "key": ["no"], "file": "a", "header": false }), "names", "named here"),
        (json!({ "key": ["no"], "file": "a", "names": ["no"] }), "names", "named here"),
        (json!({ "key": ["no"], "file": "a", "header": false, "names": ["no", "no"] }), "names", "there twice"),
        (
            json!({ "key": ["no"], "file": "a", "columns": { "m": { "references": "team" } } }),
            "references",
            "no type \"team\"",
        ),
        (json!({ "key": ["no"], "file": "a", "columns": { "m": { "separator": "" } } }), "separator", "is empty"),
    ];
    for (settings, setting, told) in wrong {
        let error = world.connect(json!({ "person": settings })).err().unwrap();
        let Error::Configuration { setting: Some(found), .. } = &error else { panic!("{settings}: {error:?}") };
        assert!(found.starts_with("types.person.") && found.ends_with(setting), "{settings}: {found}");
        assert!(error.to_string().contains(told), "{settings}: {error}");
    }
}

#[tokio::test]
async fn references_several_values_and_who_is_enabled() {
    let world = World::new();
    world.write("people.csv", "no,boss,phones,status\n1,,\"5, 6,5\",Active\n2,1,,LEFT\n3,1,7,\n");
    world.write("teams.csv", "id,members\na,1|3\nb,\n");
    let connector = world
        .connect(json!({
            "person": {
                "file": "people.csv", "key": ["no"], "enabled": { "column": "status", "values": ["active", "on leave"] },
                "columns": { "boss": { "references": "person" }, "phones": { "separator": "," } },
            },
            "team": {
                "file": "teams.csv", "key": ["id"],
                "columns": { "members": { "references": "person", "separator": "|" } },
            },
        }))
        .unwrap();
    let people = all(&connector, &request("person", &["boss", "phones", "enabled", "status"])).await;
    assert_eq!(
        texts(&people),
        [["<null>", "5+6", "true", "Active"], ["1", "<null>", "false", "LEFT"], ["1", "7", "false", "<null>"]]
    );
    assert_eq!((people[0].edges.len(), &people[1].edges[0].referenced), (0, &Key::text("1")));
    let teams = all(&connector, &request("team", &["members"])).await;
    let members: Vec<String> = teams[0].edges.iter().map(|edge| edge.referenced.to_string()).collect();
    assert_eq!((members, teams[1].edges.len()), (vec!["1".to_owned(), "3".to_owned()], 0));
    let schema = connector.schema().await.unwrap();
    assert_eq!(schema.types[0].enabling.as_ref().unwrap().attribute, "enabled");
    assert_eq!(schema.types[1].attribute("members").unwrap().references, ["person"]);

    let typo = json!({ "person": { "file": "people.csv", "key": ["no"], "columns": { "bos": { "separator": "," } } } });
    let report = world.connect(typo).unwrap().check(&[]).await.unwrap();
    assert!(report.findings[0].problem.contains("did you mean \"boss\"?"), "{report:?}");
}

#[tokio::test]
async fn a_file_that_changes_between_pages_starts_the_round_again() {
    let world = World::new();
    let people = |number: usize| (0..number).fold("no,name\n".to_owned(), |text, no| text + &format!("{no},N{no}\n"));
    world.write("people.csv", people(4_500));
    let connector = world.people(json!({}));
    let request = request("person", &["name"]);
    let first = page(&connector, &request, None).await.unwrap();
    // Another process goes on where the first one ended.
    let other = world.people(json!({}));
    let second = page(&other, &request, first.next.as_ref()).await.unwrap();
    assert_eq!(texts(&second.objects)[0], ["N2000"]);
    // The file of a round that has begun is held on to.
    world.write("people.csv", people(4_000));
    assert_eq!(page(&connector, &request, first.next.as_ref()).await.unwrap().objects.len(), 2_000);
    assert!(matches!(page(&world.people(json!({})), &request, first.next.as_ref()).await, Err(Error::Expired { .. })));
    assert_eq!(all(&connector, &request).await.len(), 4_000);
}

#[tokio::test]
async fn the_newest_of_a_folder_is_read_and_the_rest_archived() {
    let world = World::new();
    std::fs::create_dir(world.folder.path().join("in")).unwrap();
    let types = json!({ "person": { "folder": "in", "pattern": "hr-*.csv", "archive": "done", "key": ["no"] } });
    let connector = world.connect(types).unwrap();
    let error = connector.schema().await.unwrap_err().to_string();
    assert!(error.contains("there is no file hr-*.csv in"), "{error}");
    world.write("in/hr-01.csv", "no\n1\n");
    world.write("in/hr-02.csv", "no\n1\n2\n");
    assert!(connector.check(&[]).await.unwrap().findings.is_empty());
    assert!(world.folder.path().join("in/hr-01.csv").exists(), "looking moves nothing");
    assert_eq!(all(&connector, &request("person", &[])).await.len(), 2);
    let there = |name: &str| world.folder.path().join(name).exists();
    assert!(there("done/hr-01.csv") && !there("in/hr-01.csv") && there("in/hr-02.csv"));
    // A file with a fault moves nothing and hides nobody.
    world.write("in/hr-03.csv", "no\n1,2\n");
    assert!(page(&connector, &request("person", &[]), None).await.is_err());
    assert!(there("in/hr-02.csv"));
}

#[tokio::test]
async fn a_column_that_vanished_is_told_and_empties_nothing() {
    let world = World::new();
    world.write("people.csv", "no,name,status\n1,A,active\n");
    let connector = world.people(json!({ "enabled": { "column": "status", "values": ["active"] } }));
    assert_eq!(texts(&all(&connector, &request("person", &["name", "enabled"])).await), [["A", "true"]]);
    world.write("people.csv", "no,title\n1,A\n");
    for asked in ["name", "enabled"] {
        let error = page(&connector, &request("person", &[asked]), None).await.unwrap_err().to_string();
        assert!(error.contains("has no column") && error.contains("any more"), "{error}");
    }
    let report = connector.check(&[]).await.unwrap();
    assert!(report.findings[0].problem.contains("no column \"status\""), "{report:?}");
}
