//! Connectors in processes of their own: a good one, and each trouble that a process can make.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use muster_connector::{
    Batch, Connector, ConnectorKind as _, ConnectorSettings, Cursor, Effect, Epoch, Error, Expired, Kind, Next,
    Operation, OperationId, Outcome, Position, ReadRequest, Resolution, RetryScope, SecretString, SecretValue,
    UsedType, Watermark,
};
use muster_connector_process::ProcessKind;
use muster_model::{Decimal, Key, Reference, Row, Slot, Value};
use serde_json::{Value as Json, json};
use uuid::Uuid;

const SAMPLE: &str = env!("CARGO_BIN_EXE_muster-connector-sample");
/// Longer than anything takes that is not waited for on purpose.
const SOON: Duration = Duration::from_secs(60);

fn with(values: Json, secrets: &[(&str, &str)]) -> Result<Arc<dyn Connector>, Error> {
    let secrets = secrets.iter().map(|(path, secret)| (format!("secrets.{path}"), SecretString::from(*secret)));
    ProcessKind.connect(ConnectorSettings {
        connection: "hr".to_owned(),
        values,
        secrets: secrets.collect::<BTreeMap<_, _>>(),
        base_folder: Path::new(SAMPLE).parent().unwrap().to_owned(),
    })
}

fn good() -> Arc<dyn Connector> {
    with(json!({ "command": [SAMPLE], "settings": { "name": "n" } }), &[]).unwrap()
}

fn bad(mode: &str) -> Arc<dyn Connector> {
    with(json!({ "command": [SAMPLE, mode], "answer_within": "1s", "line_limit": 65536 }), &[]).unwrap()
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, future).await.expect("it takes too long")
}

fn request(object_type: &str, attributes: usize) -> ReadRequest {
    let attributes = (0..attributes).map(|position| format!("a{position}")).collect();
    ReadRequest { object_type: object_type.into(), attributes, named: Arc::new([]) }
}

fn operation(number: u128, row: Row) -> Operation {
    Operation {
        id: OperationId(Uuid::from_u128(number)),
        kind: Kind::Create,
        key: Some(Key(vec![Value::Integer(i64::try_from(number).unwrap()), Value::text("ö/\n")])),
        row,
        deltas: Vec::new(),
        enabling: None,
        expected_version: None,
        expected: None,
        depends_on: Vec::new(),
        secrets: vec![(0, SecretValue(SecretString::from("first")))],
    }
}

fn batch(object_type: &str, operations: Vec<Operation>) -> Batch {
    let width = operations.first().map_or(0, |operation| operation.row.0.len());
    let attributes = request(object_type, width).attributes;
    let deadline = Duration::from_secs(30);
    Batch { object_type: object_type.into(), attributes, operations, epoch: Epoch::default(), deadline }
}

fn every_slot() -> Vec<Slot> {
    let reference = Reference { object_type: Some("team".into()), key: Key::text("t") };
    let values = vec![
        Value::text("Åsa \"\u{1F600}\u{0}\n\u{2028}"),
        Value::text(""),
        Value::Integer(i64::MIN),
        Value::Integer(i64::MAX),
        Value::Decimal(Decimal::parse("-12345678901234567890.00000000001").unwrap()),
        Value::Boolean(false),
        Value::Date("0001-01-01".parse().unwrap()),
        Value::Instant("2026-11-23T10:05:00.123456Z".parse().unwrap()),
        Value::Uuid(Uuid::from_u128(7)),
        Value::Binary((0..=255).collect()),
        Value::Reference(Box::new(reference)),
        Value::Structure(BTreeMap::from([("home".into(), Value::Integer(1))])),
    ];
    let mut slots = vec![Slot::Unknown, Slot::Null, Slot::Many(values.clone())];
    slots.extend(values.into_iter().map(Slot::One));
    slots
}

#[tokio::test]
async fn every_value_goes_to_a_process_and_comes_back_as_it_was() {
    let connector = good();
    let row = Row(every_slot());
    let (wanted, request) = (batch("user", vec![operation(1, row.clone())]), request("user", row.0.len()));
    let target = connector.target().unwrap();
    let id = wanted.operations[0].id;
    let key = wanted.operations[0].key.clone().unwrap();
    let outcomes = soon(target.apply(&wanted)).await.unwrap();
    let effect = Effect { key: Some(key.clone()), values: Vec::new(), version: Some(vec![1, 255]) };
    assert_eq!(outcomes, [(id, Outcome::Applied(effect))]);

    let found = soon(target.get(&request, &[Key::text("nobody"), key.clone()])).await.unwrap();
    assert_eq!(found[0], None);
    let object = found[1].clone().unwrap();
    assert_eq!((&object.key, &object.row, object.version.as_deref()), (&key, &row, Some(&[1, 255][..])));
    let by = ["a".to_owned(), "b".to_owned()];
    assert_eq!(
        soon(target.find(&request, &by, &[vec![], key.0.clone()])).await.unwrap(),
        [vec![], vec![object.clone()]]
    );
    assert_eq!(soon(target.list(&request, None)).await.unwrap().objects, [object]);
    assert!(soon(target.preview(&wanted)).await.unwrap()[0].contains(&id.to_string()));
    soon(target.acknowledge(&[id])).await.unwrap();
    let refused = soon(target.holds(&request, "a", &[])).await.unwrap_err();
    assert_eq!(refused, Error::Unsupported("asking for single values".to_owned()));

    let source = connector.source().unwrap();
    let page = soon(source.read(&request, None)).await.unwrap();
    assert_eq!((&page.objects[0].key, &page.objects[0].row), (&key, &row));
    assert_eq!((page.next.clone(), page.watermark), (Some(Cursor(vec![0, 255])), Some(Watermark(b"later".to_vec()))));
    assert_eq!(soon(source.read(&request, page.next.as_ref())).await.unwrap().next, None);
    let changes = soon(source.changes(&request, &Position::Start(Some(Watermark(vec![200]))))).await.unwrap();
    assert_eq!(changes.next, Next::Done(Watermark(vec![200])));
    assert_eq!(soon(source.get(&request, &[key])).await.unwrap(), [None]);

    let schema = soon(connector.schema()).await.unwrap();
    assert_eq!((schema.identity.as_str(), schema.types[0].attributes.len()), ("sample-n", 2));
    let used = UsedType {
        object_type: "user".to_owned(),
        attributes: Vec::new(),
        named: Vec::new(),
        as_source: true,
        as_target: false,
    };
    let report = soon(connector.check(&[used])).await.unwrap();
    assert_eq!((report.findings.len(), report.features), (1, vec!["n".to_owned(), "password: none".to_owned()]));
}

#[tokio::test]
async fn every_outcome_and_resolution_comes_as_it_is() {
    let connector = good();
    let target = connector.target().unwrap();
    let wanted = batch("outcomes", (1..=12).map(|number| operation(number, Row::default())).collect());
    let key = wanted.operations[0].key.clone().unwrap();
    let answered = soon(target.apply(&wanted)).await.unwrap();
    let second = Duration::from_secs(1);
    let effect =
        Effect { key: Some(key), values: vec![("name".to_owned(), Slot::Null)], version: Some(b"v2".to_vec()) };
    let text = str::to_owned;
    let expected = [
        Outcome::Applied(effect),
        Outcome::AlreadySo(Effect::default()),
        Outcome::Accepted { ticket: text("t"), look_again_after: second },
        Outcome::Exists { key: wanted.operations[3].key.clone().unwrap() },
        Outcome::Missing,
        Outcome::Changed { actual: Some(vec![255]) },
        Outcome::OtherObject,
        Outcome::WaitsFor { attribute: text("manager") },
        Outcome::Retry { after: second, scope: RetryScope::Target, problem: text("busy") },
        Outcome::Rejected { attribute: None, rule: text("unique"), message: text("twice") },
        Outcome::Unsupported { what: text("that") },
        Outcome::Unknown,
    ];
    let ids: Vec<_> = wanted.operations.iter().map(|operation| operation.id).collect();
    assert_eq!(answered, ids.iter().copied().zip(expected).collect::<Vec<_>>());
    let resolutions = [
        Resolution::Known(Outcome::Missing),
        Resolution::NeverApplied,
        Resolution::Pending { look_again_after: Duration::from_secs(9) },
        Resolution::NotRecorded,
    ];
    let answered = soon(target.outcomes(&ids[..4])).await.unwrap();
    assert_eq!(answered, ids[..4].iter().copied().zip(resolutions).collect::<Vec<_>>());
}

#[tokio::test]
async fn every_error_comes_as_it_is_and_none_shows_a_secret() {
    let values = json!({ "command": [SAMPLE] });
    let connector = with(values, &[("password", "hunter22")]).unwrap();
    let source = connector.source().unwrap();
    let problem = "no (secret)".to_owned();
    let fix = "change it".to_owned();
    let after = Duration::from_millis(1500);
    let expected = [
        (
            "configuration",
            Error::Configuration { setting: Some("name".to_owned()), problem: problem.clone(), fix: fix.clone() },
        ),
        ("credentials", Error::Credentials { problem: problem.clone(), fix }),
        ("unreachable", Error::Unreachable { problem: format!("connection \"hr\": {problem}"), nothing_sent: true }),
        ("throttled", Error::Throttled { problem: problem.clone(), after }),
        ("cursor", Error::Expired { expired: Expired::Cursor }),
        ("watermark", Error::Expired { expired: Expired::Watermark }),
        ("refused", Error::Refused { problem }),
        ("unsupported", Error::Unsupported("this".to_owned())),
    ];
    for (name, error) in expected {
        assert_eq!(soon(source.read(&request(name, 0), None)).await.unwrap_err(), error);
    }
    for (name, said) in [("bug", "no (secret)"), ("panic", "panicked")] {
        let error = soon(source.read(&request(name, 0), None)).await.unwrap_err();
        assert!(matches!(&error, Error::Bug(problem) if problem.contains(said)), "{error:?}");
    }
    // None of that ended the process.
    let report = soon(connector.check(&[])).await.unwrap();
    assert_eq!(report.features[1], "password: (secret)");
}

/// What the first request to a misbehaving process ends in.
async fn schema_of(mode: &str) -> Error {
    let error = soon(bad(mode).schema()).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("\"hr\""), "{mode}: {text}");
    assert!(!text.contains("person@example.org"), "{mode}: {text}");
    error
}

#[tokio::test]
async fn a_breach_of_the_wire_form_is_a_bug_that_is_told_once() {
    let breaches =
        [("endless", "longer than the limit"), ("garbage", "no JSON"), ("form", "no message"), ("unasked", "not open")];
    for (mode, said) in breaches {
        let error = schema_of(mode).await;
        assert!(matches!(&error, Error::Bug(problem) if problem.contains(said)), "{mode}: {error:?}");
    }
}

#[tokio::test]
async fn an_answer_given_twice_ends_the_process_and_the_next_request_has_a_new_one() {
    let connector = bad("twice");
    let first = soon(connector.schema()).await.unwrap();
    assert_eq!(first.identity, "m");
    // The second answer may be seen before or while the next request is open; a process of its own serves it then.
    let mut answered = 0;
    for _ in 0..4 {
        match soon(connector.schema()).await {
            Ok(_) => answered += 1,
            Err(Error::Bug(problem)) => assert!(problem.contains("twice"), "{problem}"),
            Err(other) => panic!("{other:?}"),
        }
    }
    assert!(answered > 0);
}

#[tokio::test]
async fn lies_about_operations_and_pages_are_bugs_and_a_forgotten_one_is_unknown() {
    let wanted = batch("user", vec![operation(1, Row::default()), operation(2, Row::default())]);
    for mode in ["foreign", "repeats"] {
        let connector = bad(mode);
        let error = soon(connector.target().unwrap().apply(&wanted)).await.unwrap_err();
        assert!(matches!(&error, Error::Bug(problem) if problem.contains("operation twice")), "{mode}: {error:?}");
    }
    let connector = bad("forgets");
    let outcomes = soon(connector.target().unwrap().apply(&wanted)).await.unwrap();
    assert_eq!(outcomes, [(wanted.operations[1].id, Outcome::Missing)]);

    let connector = bad("circle");
    let source = connector.source().unwrap();
    let next = soon(source.read(&request("user", 0), None)).await.unwrap().next;
    let error = soon(source.read(&request("user", 0), next.as_ref())).await.unwrap_err();
    assert!(matches!(&error, Error::Bug(problem) if problem.contains("without end")), "{error:?}");
    let error = soon(connector.schema()).await.unwrap_err();
    assert!(matches!(&error, Error::Bug(problem) if problem.contains("another call")), "{error:?}");
}

#[tokio::test]
async fn a_process_that_dies_in_a_batch_leaves_it_unknown_and_is_started_again_after_growing_pauses() {
    let connector = bad("dies");
    let wanted = batch("user", vec![operation(1, Row::default())]);
    let begun = Instant::now();
    for _ in 0..4 {
        let error = soon(connector.target().unwrap().apply(&wanted)).await.unwrap_err();
        assert!(matches!(error, Error::Unreachable { nothing_sent: false, .. }), "{error:?}");
    }
    // 250, 500 and 1000 ms.
    assert!(begun.elapsed() >= Duration::from_millis(1750), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_process_that_says_nothing_is_ended() {
    let connector = bad("mute");
    let error = soon(connector.schema()).await.unwrap_err();
    assert!(
        matches!(&error, Error::Unreachable { problem, nothing_sent: false } if problem.contains("did not answer schema")),
        "{error:?}"
    );
    let mut wanted = batch("user", vec![operation(1, Row::default())]);
    wanted.deadline = Duration::from_millis(200);
    let error = soon(connector.target().unwrap().apply(&wanted)).await.unwrap_err();
    assert!(
        matches!(&error, Error::Unreachable { problem, .. } if problem.contains("did not answer apply")),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_broken_promise_of_heartbeats_ends_the_process_before_the_answer_is_due() {
    let connector = with(json!({ "command": [SAMPLE, "silent"], "answer_within": "1h" }), &[]).unwrap();
    let error = soon(connector.schema()).await.unwrap_err();
    assert!(matches!(&error, Error::Unreachable { problem, .. } if problem.contains("silent")), "{error:?}");
}

#[tokio::test]
async fn a_flood_on_standard_error_holds_nothing_up() {
    assert_eq!(soon(bad("flood").schema()).await.unwrap().identity, "m");
}

#[tokio::test]
async fn whoever_waits_no_longer_cancels_and_others_are_served() {
    let connector = good();
    let target = connector.target().unwrap();
    for _ in 0..40 {
        let slow = request("slow", 0);
        let waited = tokio::time::timeout(Duration::from_millis(20), target.get(&slow, &[])).await;
        assert!(waited.is_err());
    }
    // Only sixteen are worked on at a time, so that all forty were given up.
    assert_eq!(soon(connector.schema()).await.unwrap().identity, "sample-n");
}

#[tokio::test]
async fn what_keeps_a_process_from_starting_is_said_with_what_to_change() {
    let error =
        soon(with(json!({ "command": [SAMPLE, "exits"] }), &[("password", "hunter22")]).unwrap().schema()).await;
    let text = error.unwrap_err().to_string();
    assert!(text.contains("license has expired; the password was (secret)"), "{text}");

    let error = soon(bad("version").schema()).await.unwrap_err();
    assert!(matches!(&error, Error::Configuration { problem, .. } if problem.contains("version 99")), "{error:?}");

    let missing = with(json!({ "command": ["./nothing-here"] }), &[]).err().unwrap();
    assert!(missing.to_string().contains("there is no file"), "{missing}");
    let missing = with(json!({ "command": ["muster-no-such-program"] }), &[]).err().unwrap();
    assert!(missing.to_string().contains("in PATH"), "{missing}");

    let wrong = "00".repeat(32);
    let connector = with(json!({ "command": [SAMPLE], "sha256": wrong }), &[]).unwrap();
    let error = soon(connector.schema()).await.unwrap_err().to_string();
    assert!(error.contains("is not the file that was pinned"), "{error}");
    let found = error.split("SHA-256 is ").nth(1).unwrap().split(';').next().unwrap().to_owned();
    let connector = with(json!({ "command": [SAMPLE], "sha256": found }), &[]).unwrap();
    soon(connector.schema()).await.unwrap();

    let cases = [
        (json!({ "nam": "x" }), "settings.nam", "did you mean \"name\"?"),
        (json!({ "password": "x" }), "settings.password", "move it"),
        (json!({ "name": "wrong" }), "settings.name", "give another"),
    ];
    for (settings, setting, said) in cases {
        let connector = with(json!({ "command": [SAMPLE], "settings": settings }), &[]).unwrap();
        let error = soon(connector.schema()).await.unwrap_err();
        assert!(
            matches!(&error, Error::Configuration { setting: Some(found), fix, .. } if found == setting && fix.contains(said)),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_process_that_ignores_the_end_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let connector = with(json!({ "command": [SAMPLE, "stays"], "working_folder": folder.path() }), &[]).unwrap();
    soon(connector.schema()).await.unwrap();
    drop(connector);
    let alive = folder.path().join("alive");
    let size = || std::fs::metadata(&alive).map(|about| about.len()).ok();
    // It notes every 20 ms that it lives, from when it was told to stop.
    soon(async {
        let mut before = None;
        loop {
            let now = size();
            if now.is_some() && now == before {
                break;
            }
            before = now;
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    })
    .await;
}
