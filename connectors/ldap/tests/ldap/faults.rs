//! Servers that die, hang or speak nonsense.

use std::time::Duration;

use muster_connector::{Error, Kind, Outcome};
use muster_model::{Row, Slot};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::world::{Connection, World, batch, operation};

#[tokio::test]
async fn a_killed_slapd_leaves_no_doubt_that_cannot_be_resolved() {
    let world = World::slapd();
    let directory = world.connect_with(&json!({ "timeout": "10s" }));
    directory.created("user", &world.person("first")).await;
    let attributes = ["uid", "cn", "sn"];
    let creates = (0..400)
        .map(|number| {
            let mut create = operation(Kind::Create, None);
            let name = Slot::text(&format!("p{number}"));
            create.row = Row(vec![name.clone(), name, Slot::text("Berg")]);
            create
        })
        .collect();
    let creates = batch("user", &attributes, creates);
    let target = directory.target();
    let (outcomes, ()) = tokio::join!(target.apply(&creates), async {
        while world.server.search("(uid=p*)", &["1.1"]).len() < 20 {
            tokio::task::yield_now().await;
        }
        world.server.kill();
    });
    world.server.restart();
    // Whoever failed to reach a server leaves it alone for a second; a new connection need not.
    let directory = world.connect();
    let Ok(outcomes) = outcomes else { return };
    let count = |wanted: fn(&Outcome) -> bool| outcomes.iter().filter(|(_, outcome)| wanted(outcome)).count();
    let (done, unknown) =
        (count(|one| matches!(one, Outcome::Applied(_))), count(|one| matches!(one, Outcome::Unknown)));
    let never = count(|one| matches!(one, Outcome::Retry { .. }));
    assert_eq!(done + unknown + never, 400);
    // What was answered is there; what certainly was not sent is not.
    for ((_, outcome), operation) in
        outcomes.iter().map(|one| (one, creates.operations.iter().find(|other| other.id == one.0).unwrap()))
    {
        let Slot::One(name) = operation.row.slot(0) else { panic!() };
        let there = directory.find("user", "uid", &name.to_string(), &[]).await.len();
        match outcome {
            Outcome::Applied(_) => assert_eq!(there, 1, "{name}"),
            Outcome::Retry { .. } => assert_eq!(there, 0, "{name}"),
            _ => assert!(there <= 1),
        }
    }
}

#[tokio::test]
async fn a_slapd_that_answers_nothing_is_given_up_and_another_is_taken() {
    let (world, spare) = (World::slapd(), World::slapd());
    let alone = world.connect_with(&json!({ "timeout": "1s" }));
    alone.0.schema().await.unwrap();
    world.server.freeze(true);
    let outcome = alone
        .target()
        .apply(&batch(
            "user",
            &[],
            vec![operation(Kind::Delete, Some(&muster_model::Key::one(muster_model::Value::Uuid(uuid::Uuid::nil()))))],
        ))
        .await;
    assert!(matches!(outcome, Err(Error::Unreachable { nothing_sent: true, .. })), "{outcome:?}");
    world.server.freeze(false);
    world.server.stop();
    let both = world.connect_with(&json!({ "url": [world.server.url(), spare.server.url()], "timeout": "5s" }));
    both.created("user", &spare.person("elsewhere")).await;
    assert_eq!(spare.server.search("(uid=elsewhere)", &[]).len(), 1);
}

/// Answers whatever it is asked with bytes of a seed, after which nothing may hang, panic or end the process.
#[tokio::test]
async fn nonsense_of_a_server_ends_the_connection_and_nothing_else() {
    let bind = [0x30, 12, 2, 1, 1, 0x61, 7, 0x0a, 1, 0, 4, 0, 4, 0];
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let mut failed = 0;
    for round in 0..300_u32 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut noise: Vec<u8> = (0..random() % 200).map(|_| u8::try_from(random() % 256).unwrap()).collect();
        match round % 4 {
            // Something that begins as a message does.
            0 => noise.splice(0..0, [0x30, 0x84, 0, 0, 0, 60, 2, 1, 2]).for_each(drop),
            // A valid answer with a byte or a few changed.
            1 => {
                noise = vec![0x30, 12, 2, 1, 2, 0x65, 7, 0x0a, 1, 0, 4, 0, 4, 0];
                for _ in 0..=random() % 3 {
                    let at = usize::try_from(random() % 14).unwrap();
                    noise[at] = u8::try_from(random() % 256).unwrap();
                }
            }
            // Nested as deep as a message can be.
            2 => noise = [0x30, 0x80].repeat(50_000),
            _ => {}
        }
        let server = tokio::spawn(async move {
            // Whoever is told nonsense may dial again.
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut buffer = [0; 4096];
                drop(stream.read(&mut buffer).await);
                drop(stream.write_all(&bind).await);
                drop(stream.read(&mut buffer).await);
                drop(stream.write_all(&noise).await);
                drop(stream.shutdown().await);
            }
        });
        let settings = json!({ "url": format!("ldap://127.0.0.1:{port}"), "user": "cn=x", "timeout": "2s" });
        let connection = connect(settings);
        let answer = tokio::time::timeout(Duration::from_mins(1), connection.0.schema()).await.unwrap();
        failed += u32::from(answer.is_err());
        server.abort();
    }
    assert_eq!(failed, 300);
}

fn connect(settings: serde_json::Value) -> Connection {
    Connection(
        muster_connector::ConnectorKind::connect(
            &muster_connector_ldap::LdapKind,
            muster_connector::ConnectorSettings {
                connection: "directory".to_owned(),
                values: settings,
                secrets: [("password".to_owned(), muster_connector::settings::SecretString::from("x".to_owned()))]
                    .into(),
                base_folder: "/".into(),
            },
        )
        .unwrap(),
    )
}
