//! What a target must hold, told by the tenant itself and by a journal that the target's own triggers keep:
//! nothing here asks the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use muster_sandbox::{Directory, Oddities, Sandbox, SandboxOptions};
use muster_testkit::Postgres;
use serde_json::{Value, json};

use crate::support::{Program, Ran, counts, entra};

/// The table of people in SQLite, with a journal of everything that happens to it, and two rows of strangers.
const SQLITE: &str = "
    PRAGMA journal_mode = WAL;
    CREATE TABLE app_user (id INTEGER PRIMARY KEY, entra_id TEXT UNIQUE, login TEXT NOT NULL, full_name TEXT NOT NULL,
        department TEXT, title TEXT, is_active BOOLEAN NOT NULL DEFAULT 1, remark TEXT NOT NULL DEFAULT '');
    CREATE TABLE journal (number INTEGER PRIMARY KEY, what TEXT NOT NULL, id INTEGER NOT NULL, person TEXT);
    CREATE TRIGGER inserted AFTER INSERT ON app_user BEGIN
        INSERT INTO journal (what, id, person) VALUES ('insert', NEW.id, NEW.entra_id); END;
    CREATE TRIGGER updated AFTER UPDATE ON app_user BEGIN
        INSERT INTO journal (what, id, person) VALUES (CASE
            WHEN OLD.is_active AND NOT NEW.is_active THEN 'disable'
            WHEN NEW.is_active AND NOT OLD.is_active THEN 'enable'
            WHEN (OLD.entra_id, OLD.login, OLD.full_name, OLD.department, OLD.title, OLD.remark)
              IS (NEW.entra_id, NEW.login, NEW.full_name, NEW.department, NEW.title, NEW.remark) THEN 'repeat'
            ELSE 'update' END, NEW.id, NEW.entra_id); END;
    CREATE TRIGGER removed AFTER DELETE ON app_user BEGIN
        INSERT INTO journal (what, id, person) VALUES ('delete', OLD.id, OLD.entra_id); END;";

/// The same in PostgreSQL.
const POSTGRES: &str = "
    CREATE TABLE app_user (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, entra_id text UNIQUE, login text NOT NULL,
        full_name text NOT NULL, department text, title text, is_active boolean NOT NULL DEFAULT true,
        remark text NOT NULL DEFAULT '');
    CREATE TABLE journal (number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, what text NOT NULL, id bigint NOT NULL,
        person text);
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF TG_OP = 'INSERT' THEN INSERT INTO journal (what, id, person) VALUES ('insert', NEW.id, NEW.entra_id);
        ELSIF TG_OP = 'DELETE' THEN INSERT INTO journal (what, id, person) VALUES ('delete', OLD.id, OLD.entra_id);
        ELSE INSERT INTO journal (what, id, person) VALUES (CASE
            WHEN OLD.is_active AND NOT NEW.is_active THEN 'disable'
            WHEN NEW.is_active AND NOT OLD.is_active THEN 'enable'
            WHEN OLD.* IS NOT DISTINCT FROM NEW.* THEN 'repeat'
            ELSE 'update' END, NEW.id, NEW.entra_id);
        END IF; RETURN NULL; END $$;
    CREATE TRIGGER noted AFTER INSERT OR UPDATE OR DELETE ON app_user FOR EACH ROW EXECUTE FUNCTION note();";

const STRANGERS: &str = "INSERT INTO app_user (entra_id, login, full_name, remark) VALUES \
                         (NULL, 'backup', 'A service', 'foreign'), ('not-of-this-tenant', 'root', 'Another', 'foreign');";

const SYNC: &str = r#"
[connections.app.types.user]
table = "app_user"
enabled = "is_active"

[syncs.staff]
from = "entra:user"
to = "app:user"
every = "1s"
match = [{ source = "[id]", target = "entra_id" }]
# The sweep's own guard is under test, not this one.
guard = { disable = { percent = 100 } }
[syncs.staff.map]
entra_id = "[id]"
login = "[userPrincipalName]"
full_name = "[displayName]"
department = "[department]"
title = "[jobTitle]"
"#;

/// Where the people are written to.
pub(crate) enum Target<'a> {
    Sqlite(PathBuf),
    Postgres { server: &'a Postgres, database: String },
}

impl Target<'_> {
    /// The rows of a query, every value as text; null is empty.
    pub(crate) async fn rows(&self, query: &str) -> Vec<Vec<String>> {
        match self {
            Self::Sqlite(path) => {
                use sqlx::{ConnectOptions as _, Row as _};
                let mut file = sqlx::sqlite::SqliteConnectOptions::new().filename(path).connect().await.unwrap();
                let rows = sqlx::query(sqlx::AssertSqlSafe(query.to_owned())).fetch_all(&mut file).await.unwrap();
                let text = |row: &sqlx::sqlite::SqliteRow, index| {
                    row.get_unchecked::<Option<String>, _>(index).unwrap_or_default()
                };
                rows.iter().map(|row| (0..row.len()).map(|index| text(row, index)).collect()).collect()
            }
            Self::Postgres { server, database } => {
                let plain = |value: String| if value == muster_testkit::NULL { String::new() } else { value };
                let rows = server.psql_in(database, query);
                rows.into_iter().map(|row| row.into_iter().map(plain).collect()).collect()
            }
        }
    }

    /// Runs statements.
    pub(crate) async fn execute(&self, statements: &str) {
        match self {
            Self::Sqlite(path) => {
                use sqlx::ConnectOptions as _;
                let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true);
                let mut file = options.connect().await.unwrap();
                sqlx::raw_sql(sqlx::AssertSqlSafe(statements.to_owned())).execute(&mut file).await.unwrap();
            }
            Self::Postgres { server, database } => drop(server.psql_in(database, statements)),
        }
    }

    pub(crate) async fn number(&self, query: &str) -> usize {
        self.rows(query).await[0][0].parse().unwrap()
    }

    /// The last line of the journal.
    pub(crate) async fn journal_end(&self) -> usize {
        self.number("SELECT coalesce(max(number), 0) FROM journal").await
    }

    async fn strangers(&self) -> Vec<Vec<String>> {
        let version = if matches!(self, Self::Postgres { .. }) { ", xmin" } else { "" };
        self.rows(&format!("SELECT app_user.*{version} FROM app_user WHERE remark = 'foreign' ORDER BY id")).await
    }
}

/// A tenant, a target and the program between them.
pub(crate) struct World<'a> {
    pub(crate) sandbox: Sandbox,
    pub(crate) program: Program,
    pub(crate) target: Target<'a>,
    strangers: Vec<Vec<String>>,
    said: String,
}

/// A tenant of a few pages.
pub(crate) fn small(users: usize) -> SandboxOptions {
    SandboxOptions {
        seed: 11,
        users,
        groups: 0,
        page_size: 25,
        oddities: Oddities::modest(),
        ..SandboxOptions::default()
    }
}

impl<'a> World<'a> {
    /// A tenant that is written to a SQLite file. `settings` are further settings of the connection to the tenant.
    pub(crate) async fn sqlite(options: SandboxOptions, settings: &str) -> Self {
        let program = Program::new();
        let target = Target::Sqlite(program.path("app.db"));
        target.execute(SQLITE).await;
        Self::new(options, settings, program, target, "url = \"sqlite:app.db\"").await
    }

    /// A tenant that is written to a database of its own on this server, which is reached at this port.
    pub(crate) async fn postgres(options: SandboxOptions, server: &'a Postgres, database: &str, port: u16) -> Self {
        let mut program = Program::new();
        let url = server.create_database(database).replace(&format!(":{}/", server.port()), &format!(":{port}/"));
        program.set("APP_URL", &url);
        let target = Target::Postgres { server, database: database.to_owned() };
        target.execute(POSTGRES).await;
        Self::new(options, "", program, target, "url = { env = \"APP_URL\" }").await
    }

    async fn new(options: SandboxOptions, settings: &str, mut program: Program, target: Target<'a>, url: &str) -> Self {
        let sync = SYNC;
        let sandbox = Sandbox::start(options).await.unwrap();
        target.execute(STRANGERS).await;
        // Somebody is there already and is to be taken over.
        let known = sandbox.directory().user_ids()[1].clone();
        let adopted = format!("INSERT INTO app_user (entra_id, login, full_name) VALUES ('{known}', 'old', 'Old')");
        target.execute(&adopted).await;
        program.set("ENTRA_SECRET", &sandbox.facts().client_secret);
        program.set("MUSTER_LOG", "debug");
        let text = format!(
            "service = {{ listen = \"127.0.0.1:0\" }}\n{}\n{settings}\n[connections.app]\nconnector = \"sql\"\n{url}\n{sync}",
            entra(&sandbox.facts()).trim_end()
        );
        program.write("muster.toml", &text);
        let strangers = target.strangers().await;
        Self { sandbox, program, target, strangers, said: String::new() }
    }

    pub(crate) fn directory(&self) -> Directory {
        self.sandbox.directory()
    }

    /// Runs the program; what it says is kept, to be searched for secrets.
    pub(crate) fn run(&mut self, arguments: &[&str]) -> Ran {
        let mut all = vec!["--output", "json"];
        all.extend(arguments);
        let ran = tokio::task::block_in_place(|| self.program.run(&all));
        self.said.push_str(&ran.out);
        self.said.push_str(&ran.err);
        ran
    }

    /// One cycle that must go well.
    pub(crate) fn sync(&mut self, context: &str, arguments: &[&str]) -> Value {
        let mut all = vec!["sync", "staff"];
        all.extend(arguments);
        let ran = self.run(&all);
        assert_eq!(ran.code, Some(0), "{context}: {}{}", ran.out, ran.err);
        serde_json::from_str(&ran.out).unwrap()
    }

    /// Cycles until one does nothing, however the others ended.
    pub(crate) fn until_quiet(&mut self, context: &str) {
        let mut last = String::new();
        for _ in 0..8 {
            let ran = self.run(&["sync", "staff"]);
            if ran.code == Some(0) {
                last = counts(&serde_json::from_str(&ran.out).unwrap());
                if last.is_empty() {
                    return;
                }
            }
        }
        panic!("{context}: it does not come to rest: {last}");
    }

    /// The target holds what the tenant says; nothing was done twice, early or to strangers; no secret was told.
    pub(crate) async fn assert_right(&self, context: &str) {
        self.assert_equal(context).await;
        let repeated = self.target.rows("SELECT what, id, person FROM journal WHERE what = 'repeat'").await;
        assert_eq!(repeated, Vec::<Vec<String>>::new(), "{context}: done twice");
    }

    /// The same, where what was sent last may have been forgotten, so that it is sent again to the same effect.
    pub(crate) async fn assert_equal(&self, context: &str) {
        let expected = expected(&self.directory());
        let query = "SELECT entra_id, login, full_name, department, title, CASE WHEN is_active THEN 1 ELSE 0 END \
                     FROM app_user WHERE remark <> 'foreign'";
        let mut held: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for mut row in self.target.rows(query).await {
            let person = row.remove(0);
            assert_eq!(held.insert(person.clone(), row), None, "{context}: {person} is there twice");
        }
        for (person, values) in &expected {
            assert_eq!(held.get(person), Some(values), "{context}: {person}");
        }
        let active: BTreeSet<&String> = held
            .iter()
            .filter(|(person, row)| row[4] == "1" && !expected.contains_key(*person))
            .map(|(person, _)| person)
            .collect();
        assert!(active.is_empty(), "{context}: gone from the tenant and active all the same: {active:?}");
        assert_eq!(self.target.strangers().await, self.strangers, "{context}: strangers were touched");
        let wrong = self.target.rows(
            "SELECT what, id, person FROM journal WHERE what = 'delete' UNION ALL \
             SELECT 'inserts', count(*), person FROM journal WHERE what = 'insert' GROUP BY person HAVING count(*) > 1",
        );
        assert_eq!(wrong.await, Vec::<Vec<String>>::new(), "{context}: made twice, or deleted");
        assert_eq!(self.directory().violations(), Vec::<String>::new(), "{context}");
        self.assert_no_secret(context, &self.said);
    }

    pub(crate) fn assert_no_secret(&self, context: &str, said: &str) {
        let secret = self.sandbox.facts().client_secret;
        for secret in [secret.as_str(), "Bearer ", "eyJ"] {
            assert!(!said.contains(secret), "{context}: {secret:?} was told");
        }
    }
}

/// What the tenant says the rows should hold: person → login, name, department, title, active.
pub(crate) fn expected(directory: &Directory) -> BTreeMap<String, Vec<String>> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let names = ["userPrincipalName", "displayName", "department", "jobTitle"];
    let row = |user: &Value| {
        let mut row: Vec<String> = names.iter().map(|name| text(&user[name])).collect();
        row.push(if user["accountEnabled"] == json!(true) { "1" } else { "0" }.to_owned());
        row
    };
    directory.users().iter().map(|user| (text(&user["id"]), row(user))).collect()
}
