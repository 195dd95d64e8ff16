//! The sample configurations for directories, as their files say, against the directories themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use muster_sandbox::{Oddities, Sandbox, SandboxOptions};
use muster_testkit::Directory;
use serde_json::{Value, json};

use crate::support::{APP, Program, counts, sqlite};

/// A sample, and what its attributes are called.
struct Sample {
    file: &'static str,
    url: &'static str,
    person: &'static str,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The last part of a name's entry, such as `cn=x`, in small letters.
fn own(dn: &str) -> String {
    dn.to_lowercase()
}

async fn followed(server: Directory, sample: Sample) {
    let options = SandboxOptions { users: 80, groups: 6, oddities: Oddities::none(), ..SandboxOptions::default() };
    let sandbox = Sandbox::start(options).await.unwrap();
    let facts = sandbox.facts();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/ldap").join(sample.file);
    let given = std::fs::read_to_string(file).unwrap();
    for replaced in ["http://127.0.0.1:9460", sample.url, "# ca_file = \"/etc/ssl/certs/our-own-authority.pem\""] {
        assert!(given.contains(replaced), "the sample has no {replaced} now");
    }
    let ca_file = format!("ca_file = \"{}\"", server.ca_file().display());
    let given = given
        .replace("http://127.0.0.1:9460", &facts.authority)
        .replace(sample.url, &server.tls_url())
        .replace("# ca_file = \"/etc/ssl/certs/our-own-authority.pem\"", &ca_file);
    let mut program = Program::new();
    program.write("muster.toml", &given);
    program.set("SANDBOX_SECRET", &facts.client_secret);
    program.set("LDAP_PASSWORD", server.password());
    let told = program.ok(&["check"]);
    assert!(told.contains("everything is in order") || told.contains("nothing in the target keeps"), "{told}");

    // The plan is LDIF for one person, and changes nothing.
    let plan = program.ok(&["plan", "staff", "--sql"]);
    assert!(plan.contains("changetype: add") && plan.contains("objectClass: "), "{plan}");
    let people = || server.search(sample.person, &["employeeNumber", "manager", "title", "cn", "uid"]);
    assert!(people().is_empty());

    program.sync(&["staff"]);
    program.sync(&["teams"]);
    let directory = sandbox.directory();
    let users = directory.users();
    let found = people();
    assert_eq!(found.len(), users.len());
    let by_id: BTreeMap<&str, &muster_testkit::ldap::Entry> =
        found.iter().map(|entry| (entry.get("employeeNumber"), entry)).collect();
    for user in &users {
        let id = text(&user["id"]);
        let entry = by_id[id.as_str()];
        assert_eq!(entry.get("title"), text(&user["jobTitle"]), "{entry:?}");
        let in_sales = own(&entry.dn).contains("ou=sales,");
        assert_eq!(in_sales, user["department"] == json!("Sales"), "{entry:?}");
        let manager = directory.manager(&id).map(|id| own(&by_id[id.as_str()].dn)).unwrap_or_default();
        assert_eq!(own(entry.get("manager")), manager);
    }
    let mut members = 0;
    for group in directory.groups() {
        let id = text(&group["id"]);
        let entry = server.one(&format!("(description={id})"), &["member"]);
        let wanted: BTreeSet<String> = directory
            .members(&id)
            .unwrap()
            .iter()
            .filter_map(|id| by_id.get(id.as_str()))
            .map(|one| own(&one.dn))
            .collect();
        let there: BTreeSet<String> =
            entry.all("member").into_iter().map(own).filter(|dn| *dn != own(&entry.dn)).collect();
        assert_eq!(there, wanted);
        members += wanted.len();
    }
    assert!(members > 0);
    assert_eq!(counts(&program.sync(&["staff"])), "");
    assert_eq!(counts(&program.sync(&["teams"])), "");

    // First passwords open the door, but to those who are disabled at Entra.
    let passwords = std::fs::read_to_string(program.path("new-passwords.jsonl")).unwrap();
    let lines: Vec<Value> = passwords.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), users.len());
    let is_enabled =
        |id: &str| users.iter().any(|user| user["id"] == json!(id) && user["accountEnabled"] == json!(true));
    let line = lines.iter().find(|line| is_enabled(&text(&line["source"]))).unwrap();
    let (id, password) = (text(&line["source"]), text(&line["password"]));
    let dn_of = |id: &str| server.one(&format!("(employeeNumber={id})"), &[]).dn;
    assert!(server.admits(&dn_of(&id), &password));
    assert!(
        lines
            .iter()
            .filter(|line| !is_enabled(&text(&line["source"])))
            .all(|line| { !server.admits(&dn_of(&text(&line["source"])), &text(&line["password"])) })
    );

    // A mover moves, a leaver is locked out, and a member leaves a group.
    let department = if users.iter().any(|user| user["id"] == json!(id) && user["department"] == json!("Sales")) {
        "Legal"
    } else {
        "Sales"
    };
    let before = dn_of(&id);
    directory.patch_user(&id, &json!({ "department": department })).unwrap();
    program.sync(&["staff"]);
    let after = dn_of(&id);
    assert_ne!(own(&before), own(&after));
    assert_eq!(own(&after).contains("ou=sales,"), department == "Sales");
    assert!(server.admits(&after, &password));
    assert_eq!(counts(&program.sync(&["teams"])), "", "members are found wherever they are");
    directory.patch_user(&id, &json!({ "accountEnabled": false })).unwrap();
    program.sync(&["staff"]);
    assert!(!server.admits(&after, &password));
    assert_eq!(counts(&program.sync(&["staff"])), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sample_for_openldap_works() {
    let (file, url) = ("openldap.toml", "ldaps://ldap.example.org");
    let sample = Sample { file, url, person: "(objectClass=inetOrgPerson)" };
    followed(Directory::slapd(), sample).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sample_for_389_works() {
    let (file, url) = ("389ds.toml", "ldaps://ldap.example.org");
    let sample = Sample { file, url, person: "(objectClass=inetOrgPerson)" };
    followed(Directory::ds389(), sample).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sample_for_active_directory_works_with_samba() {
    let (file, url) = ("active-directory.toml", "ldaps://dc1.ad.test");
    let sample = Sample { file, url, person: "(employeeNumber=*)" };
    followed(Directory::samba(), sample).await;
}

/// People of a directory, in an application: who leaves the directory is disabled there, and half of them do not leave
/// at once without somebody's word.
#[tokio::test(flavor = "multi_thread")]
async fn people_of_slapd_flow_into_an_application() {
    let server = Directory::slapd();
    let person = |number: usize| {
        format!(
            "dn: uid=p{number},ou=people,dc=example,dc=org\nobjectClass: inetOrgPerson\nuid: p{number}\n\
             cn: Åsa {number}\nsn: Berg\nmanager: uid=p0,ou=people,dc=example,dc=org\n\n"
        )
    };
    server.ldif(&(0..40).map(person).collect::<String>());
    let mut program = Program::new();
    let table = "CREATE TABLE app_user (id TEXT PRIMARY KEY, login TEXT UNIQUE, full_name TEXT NOT NULL, \
                 manager TEXT REFERENCES app_user (id), is_active BOOLEAN NOT NULL DEFAULT 1)";
    muster_connector_sql::script::run_script(&program.path("app.db"), table).await.unwrap();
    program.set("LDAP_PASSWORD", server.password());
    program.write(
        "muster.toml",
        &format!(
            r#"
[connections.directory]
connector = "ldap"
url = "{}"
user = "{}"
password = {{ env = "LDAP_PASSWORD" }}
changes = "sync"
[connections.directory.types.user]
base = "ou=people,dc=example,dc=org"
{APP}
[syncs.staff]
from = "directory:user"
to = "app:user"
match = [{{ source = "[entryUUID]", target = "id" }}]
[syncs.staff.map]
id = "[entryUUID]"
login = "[uid]"
full_name = "[cn]"
manager = "[manager]"
"#,
            server.url(),
            server.admin()
        ),
    );
    program.ok(&["check"]);
    program.sync(&["staff"]);
    let rows = |what: &'static str| {
        let path = program.path("app.db");
        async move { sqlite(&path, what).await }
    };
    let people =
        "SELECT u.login, u.full_name, m.login FROM app_user u JOIN app_user m ON m.id = u.manager WHERE u.is_active";
    let found = rows(people).await;
    assert_eq!(found.len(), 40);
    assert!(found.contains(&vec!["p7".to_owned(), "Åsa 7".to_owned(), "p0".to_owned()]), "{found:?}");
    assert_eq!(counts(&program.sync(&["staff"])), "");

    // One is renamed and stays the same, one leaves.
    server.ldif("dn: uid=p1,ou=people,dc=example,dc=org\nchangetype: modrdn\nnewrdn: uid=renamed\ndeleteoldrdn: 1\n");
    server.ldif("dn: uid=p2,ou=people,dc=example,dc=org\nchangetype: delete\n");
    program.sync(&["staff"]);
    assert_eq!(rows("SELECT login FROM app_user WHERE NOT is_active").await, [["p2"]]);
    assert_eq!(rows("SELECT count(*) FROM app_user WHERE login = 'renamed'").await, [["1"]]);
    // Half of them are gone.
    let gone = |number: usize| format!("dn: uid=p{number},ou=people,dc=example,dc=org\nchangetype: delete\n\n");
    server.ldif(&(20..40).map(gone).collect::<String>());
    program.run(&["sync", "staff"]);
    assert_eq!(rows("SELECT count(*) FROM app_user WHERE is_active").await, [["39"]]);
    assert!(program.run(&["held"]).out.contains("20"));
}
