//! What only somebody between Muster and the tenant can do to a request: lose the answer of one that had its effect, cut
//! or turn over a body on its way, answer instead of the tenant, send twice.

use std::time::Duration;

use muster_sandbox::Sandbox;
use muster_testkit::{Action, HttpProxy, Rule};
use serde_json::json;

use crate::oracle::small;
use crate::support::{APP, Program, counts, entra, sqlite};

const TABLE: &str = "CREATE TABLE app_user (id INTEGER PRIMARY KEY, login TEXT NOT NULL UNIQUE, full_name TEXT, \
                     is_active BOOLEAN NOT NULL DEFAULT 1)";

const SYNC: &str = r#"
[syncs.staff]
from = "entra:user"
to = "app:user"
match = [{ source = "[userPrincipalName]", target = "login" }]
[syncs.staff.map]
login = "[userPrincipalName]"
full_name = "[displayName]"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_on_the_way_to_the_tenant_everybody_arrives_once() {
    const TOKEN: &str = "oauth2/v2.0/token";
    const PAGE: &str = "/users/delta";
    let portal = Action::Answer {
        status: 200,
        headers: vec![("Content-Type".to_owned(), "text/html".to_owned())],
        body: b"<html>Please sign in to the guest network</html>".to_vec(),
    };
    let gateway = Action::Answer { status: 502, headers: Vec::new(), body: b"Bad Gateway".to_vec() };
    let scenarios: Vec<(&str, Rule, Action)> = vec![
        ("the token's answer is lost", Rule::on("POST", TOKEN), Action::DropAnswer),
        ("the token arrives in part", Rule::on("POST", TOKEN), Action::CutBody(40)),
        ("the first page's answer is lost", Rule::on("GET", PAGE), Action::DropAnswer),
        ("a page in the middle arrives in part", Rule::on("GET", PAGE).after(1), Action::CutBody(300)),
        ("a page in the middle is turned over", Rule::on("GET", PAGE).after(1), Action::Corrupt),
        ("a page is asked for twice", Rule::on("GET", PAGE).after(1), Action::Duplicate),
        ("a page comes late", Rule::on("GET", PAGE), Action::Delay(Duration::from_millis(300))),
        ("a portal answers", Rule::on("GET", PAGE).after(1), portal),
        ("a gateway answers", Rule::on("GET", PAGE).after(1), gateway),
    ];
    for (name, rule, action) in scenarios {
        let sandbox = Sandbox::start(small(80)).await.unwrap();
        let facts = sandbox.facts();
        let server: u16 = facts.authority.rsplit(':').next().unwrap().parse().unwrap();
        let proxy = HttpProxy::start(server);
        proxy.add(rule.times(1), action);
        let mut program = Program::new();
        program.set("ENTRA_SECRET", &facts.client_secret);
        muster_connector_sql::script::run_script(&program.path("app.db"), TABLE).await.unwrap();
        let connection = entra(&facts).replace(&format!(":{server}"), &format!(":{}", proxy.port()));
        program.write("muster.toml", &format!("{connection}{APP}{SYNC}"));

        program.sync(&["staff"]);
        assert_eq!(proxy.struck(), [1], "{name}");
        // All links lead through the proxy, so the pages did too.
        let pages = proxy.seen().iter().filter(|request| request.contains(PAGE)).count();
        assert!(pages >= 4, "{name}: {:?}", proxy.seen());
        let mut expected: Vec<String> = sandbox
            .directory()
            .users()
            .iter()
            .map(|user| user["userPrincipalName"].as_str().unwrap_or_default().to_owned())
            .collect();
        expected.sort();
        let rows = sqlite(&program.path("app.db"), "SELECT login FROM app_user ORDER BY login").await;
        let mut arrived: Vec<String> = rows.into_iter().flatten().collect();
        arrived.sort();
        assert_eq!(arrived, expected, "{name}");
        assert_eq!(counts(&program.sync(&["staff"])), "", "{name}");

        // The next change arrives as well, and nobody else is touched.
        let id = sandbox.directory().user_ids().remove(0);
        sandbox.directory().patch_user(&id, &json!({ "displayName": "Somebody Else" })).unwrap();
        assert_eq!(counts(&program.sync(&["staff"])), "1 updated", "{name}");
        assert_eq!(sandbox.directory().violations(), [""; 0], "{name}");
    }
}
