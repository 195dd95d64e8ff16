//! A small connector over memory, as an example of `serve` and for the tests of the process connector.
//!
//! With an argument it misbehaves in the way that is named, without any help from `serve`.

use std::io::{BufRead as _, Write as _};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use muster_connector::{
    Batch, ChangePage, CheckReport, Connector, ConnectorKind, ConnectorSettings, Cursor, Description, Effect, Error,
    Expired, ExposeSecret as _, Finding, FoundObject, FoundPage, Kind, Next, OperationId, Outcome, Position, ReadPage,
    ReadRequest, Resolution, RetryScope, Secret, Source, SourceObject, Target, UsedType, Watermark,
};
use muster_model::{
    Anchor, AssignedBy, Attribute, Key, ObjectType, Once, Schema, SourceCapabilities, TargetCapabilities, Value,
    ValueType,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        None => muster_connector::serve(SampleKind),
        Some(mode) => {
            // The reader of a peer that misbehaves may be gone at any moment.
            drop(misbehave(mode));
            ExitCode::FAILURE
        }
    }
}

/// A connector over memory.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SampleSettings {
    /// The name of the system.
    #[serde(default)]
    name: String,
    /// A secret.
    #[serde(default)]
    password: Option<Secret>,
}

struct SampleKind;

struct Sample {
    name: String,
    password: Option<String>,
    objects: Mutex<Vec<FoundObject>>,
}

impl ConnectorKind for SampleKind {
    fn describe(&self) -> Description {
        Description {
            kind: "sample".to_owned(),
            summary: "a connector over memory".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            settings: schemars::schema_for!(SampleSettings).to_value(),
        }
    }

    fn connect(&self, given: ConnectorSettings) -> Result<Arc<dyn Connector>, Error> {
        let settings: SampleSettings = given.parse()?;
        if settings.name == "wrong" {
            return Err(Error::Configuration {
                setting: Some("name".to_owned()),
                problem: "this is no name".to_owned(),
                fix: "give another".to_owned(),
            });
        }
        let password = given.secret("password").map(|secret| secret.expose_secret().to_owned());
        let password = password.filter(|_| settings.password.is_some());
        Ok(Arc::new(Sample { name: settings.name, password, objects: Mutex::default() }))
    }
}

impl Sample {
    fn objects(&self) -> std::sync::MutexGuard<'_, Vec<FoundObject>> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One of every error, by the object type that is asked for.
    fn failing(&self, object_type: &str) -> Result<(), Error> {
        let problem = format!("no {}", self.password.as_deref().unwrap_or("password"));
        let fix = "change it".to_owned();
        Err(match object_type {
            "configuration" => Error::Configuration { setting: Some("name".to_owned()), problem, fix },
            "credentials" => Error::Credentials { problem, fix },
            "unreachable" => Error::Unreachable { problem, nothing_sent: true },
            "throttled" => Error::Throttled { problem, after: Duration::from_millis(1500) },
            "cursor" => Error::Expired { expired: Expired::Cursor },
            "watermark" => Error::Expired { expired: Expired::Watermark },
            "refused" => Error::Refused { problem },
            "unsupported" => Error::Unsupported("this".to_owned()),
            "bug" => Error::Bug(problem),
            "panic" => {
                #[expect(clippy::panic, reason = "what a panic looks like from outside is tested")]
                {
                    panic!("on purpose")
                }
            }
            _ => return Ok(()),
        })
    }
}

#[async_trait]
impl Connector for Sample {
    async fn check(&self, used: &[UsedType]) -> Result<CheckReport, Error> {
        let findings = used.iter().map(|used| Finding::warning(Some("name"), &used.object_type, "nothing"));
        let features = vec![self.name.clone(), format!("password: {}", self.password.as_deref().unwrap_or("none"))];
        Ok(CheckReport { findings: findings.collect(), features })
    }

    async fn schema(&self) -> Result<Schema, Error> {
        let target = TargetCapabilities {
            once: Once::Natural,
            readable: true,
            can_delete: true,
            can_rename: false,
            writes_secrets: true,
            ordered: false,
            max_batch: 1000,
            max_in_flight: 4,
        };
        let user = ObjectType {
            name: "user".to_owned(),
            anchor: Anchor { attributes: vec!["id".to_owned()], assigned_by: AssignedBy::Creator },
            alternate_keys: Vec::new(),
            attributes: vec![Attribute::new("id", ValueType::Text), Attribute::new("name", ValueType::Text)],
            enabling: None,
            source: Some(SourceCapabilities { changes: None, recycle_bin: false }),
            target: Some(target),
        };
        Ok(Schema { identity: format!("sample-{}", self.name), types: vec![user], setup: Vec::new() })
    }

    fn source(&self) -> Option<&dyn Source> {
        Some(self)
    }

    fn target(&self) -> Option<&dyn Target> {
        Some(self)
    }
}

#[async_trait]
impl Source for Sample {
    async fn read(&self, request: &ReadRequest, cursor: Option<&Cursor>) -> Result<ReadPage, Error> {
        self.failing(&request.object_type)?;
        let whole =
            |found: FoundObject| SourceObject { key: found.key, row: found.row, edges: Vec::new(), continues: false };
        let all = self.objects().iter().cloned().map(whole).collect();
        // A second, empty page whose cursor is no text.
        let next = cursor.is_none().then(|| Cursor(vec![0, 255]));
        let objects = if cursor.is_none() { all } else { Vec::new() };
        Ok(ReadPage { objects, next, watermark: Some(Watermark(b"later".to_vec())), source_time: None })
    }

    async fn changes(&self, request: &ReadRequest, _: &Position) -> Result<ChangePage, Error> {
        self.failing(&request.object_type)?;
        Ok(ChangePage { entries: Vec::new(), next: Next::Done(Watermark(vec![200])), source_time: None })
    }

    async fn get(&self, _: &ReadRequest, keys: &[Key]) -> Result<Vec<Option<SourceObject>>, Error> {
        Ok(keys.iter().map(|_| None).collect())
    }
}

#[async_trait]
impl Target for Sample {
    async fn get(&self, request: &ReadRequest, keys: &[Key]) -> Result<Vec<Option<FoundObject>>, Error> {
        if &*request.object_type == "slow" {
            tokio::time::sleep(Duration::from_secs(3600)).await;
        }
        let objects = self.objects();
        Ok(keys.iter().map(|key| objects.iter().find(|object| object.key == *key).cloned()).collect())
    }

    async fn find(&self, _: &ReadRequest, _: &[String], values: &[Vec<Value>]) -> Result<Vec<Vec<FoundObject>>, Error> {
        let objects = self.objects();
        let of = |wanted: &Vec<Value>| objects.iter().filter(|object| object.key.0 == *wanted).cloned().collect();
        Ok(values.iter().map(of).collect())
    }

    async fn list(&self, _: &ReadRequest, _: Option<&Cursor>) -> Result<FoundPage, Error> {
        Ok(FoundPage { objects: self.objects().clone(), next: None })
    }

    async fn preview(&self, batch: &Batch) -> Result<Vec<String>, Error> {
        Ok(batch.operations.iter().map(|operation| format!("{:?} {}", operation.kind, operation.id)).collect())
    }

    async fn apply(&self, batch: &Batch) -> Result<Vec<(OperationId, Outcome)>, Error> {
        self.failing(&batch.object_type)?;
        let mut objects = self.objects();
        let mut outcomes = Vec::new();
        for (position, operation) in batch.operations.iter().enumerate() {
            let key = operation.key.clone().unwrap_or_else(|| Key::text(&operation.id.to_string()));
            let effect = Effect { key: Some(key.clone()), values: Vec::new(), version: Some(vec![1, 255]) };
            let outcome = if &*batch.object_type == "outcomes" {
                every_outcome(&key).into_iter().nth(position).unwrap_or(Outcome::Unknown)
            } else if objects.last().is_some_and(|object| object.key == key) && operation.kind == Kind::Create {
                Outcome::Exists { key }
            } else {
                objects.push(FoundObject { key, row: operation.row.clone(), version: Some(vec![1, 255]) });
                Outcome::Applied(effect)
            };
            outcomes.push((operation.id, outcome));
        }
        Ok(outcomes)
    }

    async fn outcomes(&self, ids: &[OperationId]) -> Result<Vec<(OperationId, Resolution)>, Error> {
        let known = [
            Resolution::Known(Outcome::Missing),
            Resolution::NeverApplied,
            Resolution::Pending { look_again_after: Duration::from_secs(9) },
            Resolution::NotRecorded,
        ];
        Ok(ids.iter().copied().zip(known).collect())
    }
}

fn every_outcome(key: &Key) -> Vec<Outcome> {
    let text = str::to_owned;
    let second = Duration::from_secs(1);
    let effect = Effect {
        key: Some(key.clone()),
        values: vec![("name".to_owned(), muster_model::Slot::Null)],
        version: Some(b"v2".to_vec()),
    };
    vec![
        Outcome::Applied(effect),
        Outcome::AlreadySo(Effect::default()),
        Outcome::Accepted { ticket: text("t"), look_again_after: second },
        Outcome::Exists { key: key.clone() },
        Outcome::Missing,
        Outcome::Changed { actual: Some(vec![255]) },
        Outcome::OtherObject,
        Outcome::WaitsFor { attribute: text("manager") },
        Outcome::Retry { after: second, scope: RetryScope::Target, problem: text("busy") },
        Outcome::Rejected { attribute: None, rule: text("unique"), message: text("twice") },
        Outcome::Unsupported { what: text("that") },
        Outcome::Unknown,
    ]
}

/// Shakes hands as it should, unless the mode says otherwise, and then answers every request as the mode says.
fn misbehave(mode: &str) -> std::io::Result<()> {
    let (mut input, mut output) = (std::io::stdin().lock(), std::io::stdout().lock());
    let mut line = String::new();
    if mode == "exits" {
        writeln!(std::io::stderr(), "the license has expired; the password was hunter22")?;
        return Ok(());
    }
    while input.read_line(&mut line)? > 0 {
        let message: serde_json::Value = serde_json::from_str(&line)?;
        line.clear();
        let id = &message["request"]["id"];
        let call = &message["request"]["call"];
        let mut say = |text: String| output.write_all(format!("{text}\n").as_bytes()).and_then(|()| output.flush());
        if message.get("hello").is_some() {
            let version = if mode == "version" { 99 } else { 1 };
            let heartbeats = mode == "silent";
            say(json!({ "hello": { "version": version, "heartbeats": heartbeats, "surprise": 1 } }).to_string())?;
        } else if message.get("configure").is_some() {
            say(json!({ "configured": {} }).to_string())?;
        } else if call.get("describe").is_some() {
            let error = json!({ "error": { "unsupported": "describe" } });
            say(json!({ "answer": { "id": id, "reply": error } }).to_string())?;
        } else if message.get("stop").is_some() && mode == "stays" {
            loop {
                std::fs::OpenOptions::new().create(true).append(true).open("alive")?.write_all(b".")?;
                std::thread::sleep(Duration::from_millis(20));
            }
        } else if message.get("request").is_some() {
            let schema = json!({ "answer": { "id": id, "reply": { "schema": { "identity": "m", "types": [] } } } });
            let ids: Vec<_> =
                call["apply"]["operations"].as_array().into_iter().flatten().map(|one| &one["id"]).collect();
            let applied = |ids: Vec<&serde_json::Value>| {
                let pairs: Vec<_> = ids.into_iter().map(|id| json!([id, "missing"])).collect();
                json!({ "answer": { "id": id, "reply": { "apply": pairs } } }).to_string()
            };
            match mode {
                "dies" => return Ok(()),
                "endless" => loop {
                    output.write_all(&[b'x'; 65536])?;
                },
                "garbage" => say("Connected to person@example.org!".to_owned())?,
                "form" => {
                    let reply = json!({ "schema": "person@example.org" });
                    say(json!({ "answer": { "id": id, "reply": reply } }).to_string())?;
                }
                "unasked" => say(json!({ "answer": { "id": 4711, "reply": { "acknowledge": {} } } }).to_string())?,
                "twice" => {
                    say(schema.to_string())?;
                    say(schema.to_string())?;
                }
                "foreign" => {
                    let foreign = json!("00000000-0000-0000-0000-000000004711");
                    say(applied(ids.into_iter().chain([&foreign]).collect()))?;
                }
                "repeats" => say(applied(ids.iter().chain(ids.iter()).copied().collect()))?,
                "forgets" => say(applied(ids.into_iter().skip(1).collect()))?,
                "circle" => {
                    let page = json!({ "objects": [], "next": "again", "watermark": null });
                    say(json!({ "answer": { "id": id, "reply": { "read": page } } }).to_string())?;
                }
                "flood" => {
                    let mut log = std::io::stderr().lock();
                    for _ in 0..20_000 {
                        log.write_all(&[b'e'; 1000])?;
                    }
                    say(schema.to_string())?;
                }
                "stays" => say(schema.to_string())?,
                _ => {}
            }
        }
    }
    Ok(())
}
