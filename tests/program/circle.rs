//! The whole circle on one machine: an HR file feeds Entra ID through its provisioning API, what became of each person is
//! read from its log, and Entra ID fills an application's database.

use std::collections::HashMap;
use std::time::Duration;

use muster_sandbox::{InboundOptions, Sandbox, SandboxOptions};
use muster_testkit::Postgres;
use serde_json::{Value, json};

use crate::support::{APP, Program, counts, entra, sqlite};

const TABLE: &str = "CREATE TABLE app_user (id INTEGER PRIMARY KEY, employee_no TEXT NOT NULL UNIQUE, login TEXT NOT NULL, \
    full_name TEXT, department TEXT, manager INTEGER REFERENCES app_user (id), is_active BOOLEAN NOT NULL)";

const SYNCS: &str = r#"
[connections.hr]
connector = "csv"
[connections.hr.types.person]
file = "people.csv"
key = ["no"]
settle = "1ms"
enabled = { column = "status", values = ["active"] }

[syncs.feed]
from = "hr:person"
to = "entra:inbound_user"
guard = { disable = { min = 20 } }
[syncs.feed.map]
externalId = "[no]"
userName = "[login]"
displayName = 'Join(" ", [given], [family])'
givenName = "[given]"
familyName = "[family]"
department = "[department]"
manager = "[boss]"

[syncs.staff]
from = "entra:user"
to = "app:user"
scope = ['[employeeId] IS NOT NULL']
match = [{ source = "[employeeId]", target = "employee_no" }]
[syncs.staff.map]
employee_no = "[employeeId]"
login = "[userPrincipalName]"
full_name = "[displayName]"
department = "[department]"
manager = "[manager]"
"#;

struct Circle {
    program: Program,
    sandbox: Sandbox,
    people: Vec<[String; 7]>,
}

impl Circle {
    async fn new(people: usize) -> Self {
        let circle = Self::into(people, APP).await;
        muster_connector_sql::script::run_script(&circle.program.path("app.db"), TABLE).await.unwrap();
        circle
    }

    /// Into the application of this configuration.
    async fn into(people: usize, app: &str) -> Self {
        let inbound = InboundOptions { processing_seconds: 1, log_seconds: 0, ..InboundOptions::default() };
        let options = SandboxOptions { users: 2, groups: 0, inbound, ..SandboxOptions::default() };
        let sandbox = Sandbox::start(options).await.unwrap();
        let facts = sandbox.facts();
        let mut program = Program::new();
        program.set("ENTRA_SECRET", &facts.client_secret);
        let inbound = format!(
            "[connections.entra.inbound]\nservice_principal = {:?}\njob = {:?}\nlook_again = \"1ms\"\n",
            facts.service_principal, facts.job
        );
        program.write("muster.toml", &format!("{}{inbound}{app}{SYNCS}", entra(&facts)));
        let person = |no: usize| {
            let boss = if no < 10 { String::new() } else { format!("E{}", no / 10) };
            let department = ["Sales", "Legal", "IT"][no % 3];
            [
                format!("E{no}"),
                format!("e{no}@sandbox.example"),
                format!("G{no}"),
                "Öberg".to_owned(),
                department.to_owned(),
                boss,
                "active".to_owned(),
            ]
        };
        let circle = Self { program, sandbox, people: (1..=people).map(person).collect() };
        circle.export();
        circle
    }

    fn export(&self) {
        let lines: String = self.people.iter().map(|person| person.join(",") + "\n").collect();
        self.program.write("people.csv", &format!("no,login,given,family,department,boss,status\n{lines}"));
    }

    /// Feeds until everything is confirmed; what all runs together did.
    fn fed(&self) -> Value {
        let mut all = json!({});
        for _ in 0..60 {
            // Its log tells the time of an upload in whole seconds.
            self.sandbox.advance_clock(Duration::from_secs(2));
            let report = self.program.sync(&["feed"]);
            for counter in ["created", "updated", "enabled", "disabled", "unchanged", "parked", "held"] {
                let sum = all[counter].as_u64().unwrap_or(0) + report[counter].as_u64().unwrap();
                all[counter] = json!(sum);
            }
            if report["accepted"] == 0 {
                return all;
            }
        }
        panic!("never confirmed: {all}");
    }

    fn uploads(&self) -> u64 {
        let requests = self.sandbox.directory().requests();
        requests.iter().filter(|(path, _)| path.contains("bulkUpload")).map(|(_, number)| number).sum()
    }

    /// The tenant has exactly the people of the file, as the file says.
    fn tenant_is_right(&self) {
        let directory = self.sandbox.directory();
        let users = directory.users();
        let mut known: HashMap<&str, Vec<&Value>> = HashMap::new();
        for user in &users {
            known.entry(user["employeeId"].as_str().unwrap_or_default()).or_default().push(user);
        }
        for person in &self.people {
            let [no, login, given, family, department, boss, status] = person.each_ref().map(String::as_str);
            let found = known.get(no).map(Vec::as_slice).unwrap_or_default();
            let [user] = found else { panic!("{no} is there {} times", found.len()) };
            let name = format!("{given} {family}");
            assert_eq!(
                (&user["userPrincipalName"], &user["displayName"], &user["department"], &user["accountEnabled"]),
                (&json!(login), &json!(name), &json!(department), &json!(status == "active"))
            );
            let manager = directory.manager(user["id"].as_str().unwrap()).and_then(|id| directory.user(&id));
            assert_eq!(manager.map_or(json!(""), |user| user["employeeId"].clone()), json!(boss), "manager of {no}");
        }
        assert_eq!(directory.violations(), Vec::<String>::new());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_of_a_file_arrive_in_the_tenant_and_in_the_application() {
    let mut circle = Circle::new(600).await;
    circle.program.ok(&["check"]);
    let plan = circle.program.ok(&["plan", "feed"]);
    assert!(plan.contains("12 calls"), "{plan}");
    assert_eq!(circle.fed()["created"], 600);
    assert_eq!(circle.uploads(), 12);
    circle.tenant_is_right();
    assert_eq!(counts(&circle.program.sync(&["staff"])).split(',').next(), Some("602 created"));
    // A second run sends nothing.
    assert_eq!(counts(&circle.program.sync(&["feed"])), "");
    assert_eq!((circle.uploads(), counts(&circle.program.sync(&["staff"]))), (12, String::new()));

    // A joiner, a mover and a leaver.
    circle.people.push(["E9000", "new@sandbox.example", "New", "Joiner", "IT", "E1", "active"].map(str::to_owned));
    circle.people[10][4] = "Board".to_owned();
    circle.people[11][6] = "left".to_owned();
    circle.export();
    let fed = circle.fed();
    assert_eq!((&fed["created"], &fed["updated"], &fed["disabled"]), (&json!(1), &json!(1), &json!(1)), "{fed}");
    circle.tenant_is_right();
    assert_eq!(counts(&circle.program.sync(&["staff"])), "1 created, 1 updated, 1 disabled");
    let query = "SELECT u.employee_no, u.department, u.is_active, m.employee_no FROM app_user u \
                 JOIN app_user m ON m.id = u.manager WHERE u.employee_no IN ('E11', 'E12', 'E9000') ORDER BY length(u.employee_no), u.employee_no";
    let rows = sqlite(&circle.program.path("app.db"), query).await;
    assert_eq!(rows, [["E11", "Board", "1", "E1"], ["E12", "Sales", "0", "E1"], ["E9000", "IT", "1", "E1"]]);

    // Half of the file is missing.
    let all = circle.people.clone();
    circle.people.truncate(300);
    circle.export();
    let uploads = circle.uploads();
    circle.fed();
    assert_eq!(circle.uploads(), uploads);
    let held = circle.program.ok(&["held", "feed"]);
    assert!(held.contains("301 × missing held"), "{held}");
    circle.people = all;
    circle.tenant_is_right();
    circle.sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_people_arrive_once() {
    let server = Postgres::start();
    server.psql(&TABLE.replace("INTEGER PRIMARY KEY", "integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY"));
    let app = APP.replace("url = \"sqlite:app.db\"", "url = { env = \"APP_URL\" }");
    let mut circle = Circle::into(10_000, &app).await;
    circle.program.set("APP_URL", &server.url());
    assert_eq!(circle.fed()["created"], 10_000);
    circle.tenant_is_right();
    assert_eq!(circle.uploads(), 200);
    assert_eq!(circle.program.sync(&["staff"])["created"], 10_002);
    let count =
        "SELECT count(*), count(DISTINCT employee_no), count(manager) FROM app_user WHERE employee_no LIKE 'E%'";
    assert_eq!(server.psql(count), [["10000", "10000", "9991"]]);
    for sync in ["feed", "staff"] {
        assert_eq!(counts(&circle.program.sync(&[sync])), "");
    }
    assert_eq!(circle.uploads(), 200);
    circle.sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_entra_refuses_is_named_and_heals_when_the_file_is_corrected() {
    let mut circle = Circle::new(20).await;
    let right = circle.people.clone();
    circle.people[4][1] = "e4@sandbox.example".to_owned();
    circle.people[5][1] = "e6@nowhere.example".to_owned();
    circle.people[15][5] = "E777".to_owned();
    circle.export();
    // Taken, and told by `status` until it is confirmed.
    assert_eq!(circle.program.sync(&["feed"])["accepted"], 20);
    let status: Value = serde_json::from_str(&circle.program.ok(&["--output", "json", "status"])).unwrap();
    assert_eq!(status["syncs"][0]["unconfirmed"]["operations"], 20, "{status}");
    assert!(circle.program.ok(&["status"]).contains("20 changes were taken by the target"));
    let why = circle.program.ok(&["explain", "feed", "E6"]);
    assert!(why.contains("the target took a change at"), "{why}");
    let fed = circle.fed();
    assert_eq!((&fed["created"], &fed["parked"]), (&json!(17), &json!(3)), "{fed}");
    let parked: Value = serde_json::from_str(&circle.program.ok(&["--output", "json", "parked", "feed"])).unwrap();
    let parked = parked["parked"].as_array().unwrap();
    let told = |no: &str| {
        let one =
            parked.iter().find(|one| one["source"] == no).unwrap_or_else(|| panic!("{no} is not parked: {parked:?}"));
        (
            one["attribute"].as_str().unwrap_or_default().to_owned(),
            one["message"].as_str().unwrap_or_default().to_owned(),
        )
    };
    assert_eq!(
        (told("E5").0.as_str(), told("E6").0.as_str(), told("E16").0.as_str()),
        ("userName", "userName", "manager")
    );
    assert!(told("E6").1.to_lowercase().contains("domain"), "{parked:?}");
    let why = circle.program.ok(&["explain", "feed", "E6"]);
    assert!(why.to_lowercase().contains("domain"), "{why}");
    assert_eq!(counts(&circle.program.sync(&["feed"])), "", "what was refused is not sent again by itself");
    circle.people = right;
    circle.export();
    let fed = circle.fed();
    assert_eq!((&fed["created"], &fed["parked"]), (&json!(3), &json!(0)), "{fed}");
    circle.tenant_is_right();
    circle.sandbox.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_while_people_are_sent_the_tenant_equals_the_file() {
    let mut circle = Circle::new(120).await;
    let mut longest = Duration::from_millis(400);
    let mut killed = 0;
    let mut chance: u64 = 77;
    for round in 0..24_usize {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        for no in [round * 5, round * 3 + 1, round] {
            let department = &mut circle.people[no % 120][4];
            *department = format!("Team {round}");
        }
        circle.export();
        let pause = longest.mul_f64(((chance >> 33) % 1_000) as f64 / 1_000.0);
        match circle.program.kill_within(pause, &["sync", "feed"]) {
            Some(whole) => longest = whole,
            None => killed += 1,
        }
    }
    assert!(killed > 0, "no kill came before the program's own end");
    // An upload whose answer was lost is not believed by a single entry for an hour.
    for _ in 0..40 {
        circle.sandbox.advance_clock(Duration::from_secs(4_000));
        let report = circle.program.sync(&["feed"]);
        if counts(&report).is_empty() && report["accepted"] == 0 {
            break;
        }
    }
    assert_eq!(counts(&circle.program.sync(&["feed"])), "");
    circle.tenant_is_right();
    circle.sandbox.stop().await;
}
