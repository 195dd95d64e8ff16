//! First passwords: written once, handed to their receiver and to nobody else.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::FutureExt as _;
use muster_connector::ExposeSecret as _;
use muster_model::Slot;

use super::world::{Fault, World, numbers};
use crate::passwords::{NewPassword, PasswordReceivers};
use crate::rules::{PasswordHash, PasswordReceiver, PasswordRules};
use crate::{CommitPoint, CycleOptions, EngineError, PlanOptions, Report, compile};

/// Notes what it gets: (source key, password, confirmed).
#[derive(Default)]
struct Received {
    passwords: Mutex<Vec<(String, String, bool)>>,
    /// Why it takes none.
    broken: Mutex<Option<&'static str>>,
    /// Why it is not ready.
    away: Mutex<Option<&'static str>>,
}

#[async_trait]
impl PasswordReceivers for Received {
    async fn ready(&self, _: &PasswordReceiver) -> Result<(), String> {
        self.away.lock().unwrap().map_or(Ok(()), |why| Err(why.to_owned()))
    }

    async fn hand_over(&self, _: &PasswordReceiver, passwords: &[NewPassword]) -> Result<(), String> {
        if let Some(why) = *self.broken.lock().unwrap() {
            return Err(why.to_owned());
        }
        for new in passwords {
            assert!(new.values.contains_key("login") && !new.values.contains_key("password"));
            let password = new.password.expose_secret().to_owned();
            self.passwords.lock().unwrap().push((new.source.clone(), password, new.confirmed));
        }
        Ok(())
    }
}

struct Passwords {
    world: World,
    received: Arc<Received>,
}

impl Passwords {
    fn new(hash: PasswordHash, receiver: bool) -> Self {
        let mut world = World::new();
        let receiver = receiver.then(|| PasswordReceiver::Command(vec!["post".to_owned()]));
        let attribute = "password".to_owned();
        world.rules.password = Some(PasswordRules { attribute, length: 16, symbols: true, hash, receiver });
        world.source.person("a", "Anna", "anna@x");
        world.source.person("b", "Bo", "bo@x");
        Self { world, received: Arc::default() }
    }

    async fn cycle(&self) -> Result<Report, EngineError> {
        self.cycle_with(&CycleOptions::default()).await
    }

    async fn cycle_with(&self, options: &CycleOptions) -> Result<Report, EngineError> {
        let mut engine = self.world.engine().await;
        engine.passwords = self.received.clone();
        engine.cycle(&self.world.rules, options).await
    }

    /// What stands in the row with a login.
    fn written(&self, login: &str) -> Option<String> {
        let state = self.world.target.state.lock().unwrap();
        let row = state.rows.values().find(|row| row.get("login") == Some(&Slot::text(login))).unwrap();
        row.get("password").and_then(Slot::value).map(ToString::to_string)
    }

    fn received(&self) -> Vec<(String, String, bool)> {
        let mut received = self.received.passwords.lock().unwrap().clone();
        received.sort();
        received
    }

    /// Whether a text stands anywhere in the state's files.
    fn is_in_the_state(&self, text: &str) -> bool {
        let files = std::fs::read_dir(self.world.folder.path()).unwrap();
        files.into_iter().any(|file| {
            let bytes = std::fs::read(file.unwrap().path()).unwrap_or_default();
            bytes.windows(text.len()).any(|window| window == text.as_bytes())
        })
    }
}

#[tokio::test]
async fn new_people_get_one_and_whoever_is_there_keeps_theirs() {
    let all = Passwords::new(PasswordHash::None, true);
    all.world.target.insert("bo@x", "Bo");
    let report = all.cycle().await.unwrap();
    assert_eq!((report.created, report.adopted), (1, 1));
    let password = all.written("anna@x").unwrap();
    assert_eq!(all.received(), [("a".to_owned(), password.clone(), true)]);
    assert_eq!((password.len(), all.written("bo@x")), (16, None));
    // Nothing is read back, compared or written again.
    all.world.source.set("a", "name", Slot::text("Anne"));
    assert_eq!(all.cycle().await.unwrap().updated, 1);
    let reconcile = CycleOptions { reconcile: true, ..CycleOptions::default() };
    all.cycle_with(&reconcile).await.unwrap();
    assert_eq!(numbers(&all.cycle().await.unwrap()), [0; 11]);
    assert_eq!((all.written("anna@x").unwrap(), all.received().len()), (password.clone(), 1));
    assert!(!all.is_in_the_state(&password), "the state holds it");
    assert!(all.is_in_the_state("anna@x"), "the search itself finds nothing");
}

#[tokio::test]
async fn a_hash_is_written_and_the_password_handed_over() {
    let all = Passwords::new(PasswordHash::Bcrypt, true);
    all.cycle().await.unwrap();
    let received = all.received();
    assert!(bcrypt::verify(&received[0].1, &all.written("anna@x").unwrap()).unwrap());
    assert!(bcrypt::verify(&received[1].1, &all.written("bo@x").unwrap()).unwrap());
    assert_ne!(received[0].1, received[1].1);
    assert!(!all.is_in_the_state("$2b$"));
}

#[tokio::test]
async fn without_a_receiver_nobody_gets_to_know_it() {
    let all = Passwords::new(PasswordHash::None, false);
    *all.received.away.lock().unwrap() = Some("nobody asks it");
    assert_eq!(all.cycle().await.unwrap().created, 2);
    assert!(all.written("anna@x").is_some() && all.received().is_empty());
}

#[tokio::test]
async fn a_lost_answer_is_told_and_no_second_password_is_made() {
    let all = Passwords::new(PasswordHash::None, true);
    all.world.fault(Fault::LostAnswers(1));
    all.cycle().await.err();
    let received = all.received();
    assert_eq!((received.len(), received[0].2), (2, false), "unconfirmed");
    for _ in 0..3 {
        all.world.wait(3_600_000);
        all.cycle().await.err();
    }
    assert_eq!(all.received(), received);
    assert_eq!(
        (all.written("anna@x").unwrap(), all.written("bo@x").unwrap()),
        (received[0].1.clone(), received[1].1.clone())
    );
}

#[tokio::test]
async fn a_kill_after_the_answer_loses_none_and_hands_none_over_twice() {
    let all = Passwords::new(PasswordHash::None, true);
    *all.world.killer.0.lock().unwrap() = Some((CommitPoint::BatchClosed, 1));
    assert!(std::panic::AssertUnwindSafe(all.cycle()).catch_unwind().await.is_err());
    *all.world.killer.0.lock().unwrap() = None;
    all.cycle().await.unwrap();
    let received = all.received();
    assert_eq!(received.len(), 2);
    assert_eq!(all.written("anna@x").unwrap(), received[0].1);
}

#[tokio::test]
async fn a_receiver_that_takes_none_stops_creates_or_is_told() {
    let all = Passwords::new(PasswordHash::None, true);
    *all.received.away.lock().unwrap() = Some("the folder is gone");
    let Err(error) = all.cycle().await else { panic!("it ran") };
    assert!(error.to_string().contains("nobody is created: the folder is gone"), "{error}");
    assert!(all.world.target.people().is_empty());
    *all.received.away.lock().unwrap() = None;
    *all.received.broken.lock().unwrap() = Some("the disk is full");
    let report = all.cycle().await.unwrap();
    assert_eq!(report.created, 2);
    let note = "the passwords of 2 new objects were not taken by their receiver (the disk is full) and are lost";
    assert!(report.notes.iter().any(|told| told.contains(note)), "{:?}", report.notes);
}

#[tokio::test]
async fn no_words_of_the_target_show_one() {
    let all = Passwords::new(PasswordHash::None, true);
    all.world.fault(Fault::RejectEverything);
    assert_eq!(all.cycle().await.unwrap().parked, 2);
    let explained = all.world.engine().await.explain(&all.world.rules, "a").await.unwrap();
    let told = format!("{explained:?}");
    assert!(told.contains("not today: Some(One(Text(\\\"[Redact]\\\"") && all.received().is_empty(), "{told}");
    // A plan says that there will be one.
    all.world.source.person("c", "Cy", "cy@x");
    let planned = all
        .world
        .engine()
        .await
        .plan(&all.world.rules, &PlanOptions { limit: 9, ..PlanOptions::default() })
        .await
        .unwrap();
    let told = format!("{planned:?}");
    assert!(told.contains("(a new password)"), "{told}");
}

#[tokio::test]
async fn what_cannot_hold_a_password_is_refused() {
    use muster_connector::Connector as _;
    let mut all = Passwords::new(PasswordHash::Argon2id, true);
    let (source, target) = (all.world.source.schema().await.unwrap(), all.world.target.schema().await.unwrap());
    let cases = [
        ("password", "has room for 60 characters, and what is written has 97"),
        ("pasword", "has no attribute \"pasword\""),
        ("name", "name is used otherwise"),
        ("key", "key is used otherwise"),
        ("level", "a password cannot be written to level"),
        ("roles", "a password cannot be written to roles"),
    ];
    for (attribute, problem) in cases {
        all.world.rules.password.as_mut().unwrap().attribute = attribute.to_owned();
        let Err(findings) = compile(&all.world.rules, &source, &target) else { panic!("{attribute} is taken") };
        assert!(findings[0].problem.contains(problem), "{:?}", findings[0]);
        assert_eq!(findings[0].setting, "syncs.staff.password.attribute");
    }
}
