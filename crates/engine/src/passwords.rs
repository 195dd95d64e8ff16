//! First passwords: made when a create leaves, written to the target once, given to a receiver or to nobody, and kept
//! nowhere. A password that was lost on the way is no secret any more but a reset.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use muster_connector::{ExposeSecret as _, Operation, Outcome, SecretString, SecretValue};
use muster_model::pack::unpack_row;
use muster_model::{Key, Multiplicity, TargetCapabilities, ValueType};
use serde::Serialize;
use serde::ser::Serializer;

use crate::apply::Sent;
use crate::compile::{Compiled, Compiler, did_you_mean};
use crate::cycle::Engine;
use crate::error::EngineError;
use crate::prepare::Prepared;
use crate::report::Report;
use crate::rules::{Mode, PasswordHash, PasswordReceiver, PasswordRules};

/// The fewest and the most characters of a password. bcrypt reads 72 bytes.
pub const LENGTHS: std::ops::RangeInclusive<usize> = 12..=72;

/// Without characters that people take for each other.
const LETTERS: [&[u8]; 3] = [b"abcdefghijkmnpqrstuvwxyz", b"ABCDEFGHJKLMNPQRSTUVWXYZ", b"23456789"];
const SYMBOLS: &[u8] = b"!#%+-=?@_";

/// What a person reads in place of one.
pub(crate) const NEW_PASSWORD: &str = "(a new password)";

/// A password on its way to its receiver.
#[derive(Debug, Serialize)]
pub struct NewPassword {
    /// The sync.
    pub sync: String,
    /// The source object's key.
    pub source: String,
    /// The target object's key, where it is known.
    pub target: Option<String>,
    /// The values that were written, by target attribute.
    pub values: BTreeMap<String, String>,
    /// The password itself.
    #[serde(serialize_with = "exposed")]
    pub password: SecretString,
    /// The target confirmed the new object. Otherwise the answer was lost, and it may not have been made.
    pub confirmed: bool,
}

fn exposed<S: Serializer>(password: &SecretString, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(password.expose_secret())
}

/// Brings new passwords to whom the rules name. The errors are for a person and hold no password.
#[async_trait]
pub trait PasswordReceivers: Send + Sync {
    /// Whether a receiver can take passwords, before the first is made.
    async fn ready(&self, receiver: &PasswordReceiver) -> Result<(), String>;

    /// Hands passwords over.
    async fn hand_over(&self, receiver: &PasswordReceiver, passwords: &[NewPassword]) -> Result<(), String>;
}

/// Where nobody is to have them.
pub(crate) struct NoReceivers;

#[async_trait]
impl PasswordReceivers for NoReceivers {
    async fn ready(&self, _: &PasswordReceiver) -> Result<(), String> {
        Err("no receiver of passwords is known here".to_owned())
    }

    async fn hand_over(&self, receiver: &PasswordReceiver, _: &[NewPassword]) -> Result<(), String> {
        self.ready(receiver).await
    }
}

impl Compiler<'_> {
    /// Examines what the password is written to.
    pub(crate) fn password(&mut self, capabilities: &TargetCapabilities) {
        let Some(rules) = &self.rules.password else { return };
        let (setting, name) = ("password.attribute", rules.attribute.as_str());
        let Some(attribute) = self.target.attribute(name) else {
            let problem = format!("{}:{} has no attribute {name:?}", self.rules.target_connection, self.target.name);
            let known = format!("`muster schema {}` lists what it has", self.rules.target_connection);
            let fix = did_you_mean(name, self.target.attribute_names(), &known);
            return self.findings.error(setting, &problem, &fix);
        };
        let is_enabling = self.target.enabling.as_ref().is_some_and(|enabling| enabling.attribute == name);
        let is_used = self.columns.iter().any(|column| column.attribute.name == name);
        if is_used || is_enabling || self.target.anchor.attributes.iter().any(|anchor| anchor == name) {
            let problem = format!("{name} is used otherwise: a password is written once, and never read or compared");
            let fix = format!("remove {name} from map, match and scope, or choose another attribute for the password");
            return self.findings.error(setting, &problem, &fix);
        }
        let is_one_text = attribute.value_type == ValueType::Text && attribute.multiplicity == Multiplicity::Single;
        if !is_one_text || !attribute.creatable || !capabilities.writes_secrets {
            let problem = format!("a password cannot be written to {name}");
            return self.findings.error(setting, &problem, "choose a text attribute that can be written");
        }
        let needed = written_length(rules);
        if let Some(room) = attribute.max_length.filter(|room| (*room as usize) < needed) {
            let problem = format!("{name} has room for {room} characters, and what is written has {needed}");
            self.findings.error(setting, &problem, "make the attribute longer, or the password shorter");
        }
    }
}

impl Compiled {
    /// The attributes of the rows that are sent: what is read as well, and the password.
    pub(crate) fn sent_attributes(&self) -> Arc<[String]> {
        match &self.rules.password {
            None => Arc::clone(&self.target_attributes),
            Some(rules) => self.target_attributes.iter().chain([&rules.attribute]).cloned().collect(),
        }
    }
}

impl Engine {
    /// Whether whoever is to have new passwords can take them.
    pub(crate) async fn receiver_is_ready(&self, prepared: &Prepared) -> Result<(), EngineError> {
        let rules = &prepared.compiled.rules;
        let receiver = rules.password.as_ref().and_then(|password| password.receiver.as_ref());
        let Some(receiver) = receiver.filter(|_| rules.mode == Mode::Apply) else { return Ok(()) };
        let refused = |problem| EngineError::PasswordReceiver { sync: rules.name.clone(), problem };
        self.passwords.ready(receiver).await.map_err(refused)
    }

    /// Makes the password of a new object.
    pub(crate) async fn give_password(
        &self,
        prepared: &Prepared,
        sent: &mut Sent,
        operation: &mut Operation,
    ) -> Result<(), EngineError> {
        let Some(rules) = &prepared.compiled.rules.password else { return Ok(()) };
        self.stop.check()?;
        let failed = |problem: String| EngineError::Password { sync: prepared.compiled.rules.name.clone(), problem };
        let password = generate(rules).map_err(failed)?;
        let (kind, plain) = (rules.hash, password.clone());
        // Hashes take long on purpose.
        let written = match kind {
            PasswordHash::None => plain,
            _ => tokio::task::spawn_blocking(move || hashed(kind, &plain))
                .await
                .map_err(|error| error.to_string())
                .and_then(|hashed| hashed)
                .map_err(failed)?,
        };
        operation.secrets.push((prepared.compiled.target_attributes.len(), SecretValue(written)));
        sent.password = rules.receiver.is_some().then_some(password);
        Ok(())
    }

    /// Hands over the passwords of objects that were made, before it is recorded that they were: a kill in between
    /// loses none.
    pub(crate) async fn hand_over(
        &self,
        prepared: &Prepared,
        sent: &mut [Sent],
        outcome: impl Fn(&Sent) -> Option<Outcome>,
        report: &mut Report,
    ) -> Result<(), EngineError> {
        let rules = &prepared.compiled.rules;
        let Some(receiver) = rules.password.as_ref().and_then(|password| password.receiver.as_ref()) else {
            return Ok(());
        };
        let mut passwords = Vec::new();
        for sent in sent {
            let Some(password) = sent.password.take() else { continue };
            let (confirmed, key) = match outcome(sent) {
                Some(Outcome::Applied(effect)) => (true, effect.key),
                Some(Outcome::Unknown) => (false, None),
                _ => continue,
            };
            let row = unpack_row(&prepared.layout.target, &sent.after)?;
            let names = prepared.compiled.target_attributes.iter().enumerate();
            let value =
                |(position, name): (usize, &String)| Some((name.clone(), row.slot(position).value()?.to_string()));
            passwords.push(NewPassword {
                sync: rules.name.clone(),
                source: Key::decode(&sent.link.anchor)?.to_string(),
                target: key.or_else(|| sent.operation.key.clone()).map(|key| key.to_string()),
                values: names.filter_map(value).collect(),
                password,
                confirmed,
            });
        }
        if !passwords.is_empty()
            && let Err(problem) = self.passwords.hand_over(receiver, &passwords).await
        {
            let many = passwords.len();
            tracing::error!(many, %problem, "new passwords were not taken by their receiver");
            report.notes.push(format!(
                "the passwords of {many} new objects were not taken by their receiver ({problem}) and are lost: set \
                 others at the target"
            ));
        }
        Ok(())
    }
}

/// How many characters are written.
fn written_length(rules: &PasswordRules) -> usize {
    match rules.hash {
        PasswordHash::None => rules.length,
        PasswordHash::Bcrypt => 60,
        PasswordHash::Argon2id => 97,
    }
}

/// A password with characters of every kind, all of which are equally likely.
fn generate(rules: &PasswordRules) -> Result<SecretString, String> {
    let symbols = rules.symbols.then_some(SYMBOLS);
    let kinds: Vec<&[u8]> = LETTERS.into_iter().chain(symbols).collect();
    let all: Vec<u8> = kinds.concat();
    let length = rules.length.clamp(*LENGTHS.start(), *LENGTHS.end());
    loop {
        let mut password = String::with_capacity(length);
        while password.len() < length {
            let mut random = [0; 64];
            getrandom::fill(&mut random).map_err(|error| format!("this machine gives no random numbers: {error}"))?;
            // What does not divide evenly is left out, so that no character is likelier than another.
            let even = 256 - 256 % all.len();
            let usable = random.into_iter().map(usize::from).filter(|number| *number < even);
            let characters = usable.filter_map(|number| all.get(number % all.len()));
            password.extend(characters.take(length - password.len()).map(|character| char::from(*character)));
        }
        if kinds.iter().all(|kind| password.bytes().any(|character| kind.contains(&character))) {
            return Ok(SecretString::from(password));
        }
    }
}

fn hashed(kind: PasswordHash, password: &SecretString) -> Result<SecretString, String> {
    use argon2::PasswordHasher as _;
    let password = password.expose_secret();
    let hash = match kind {
        PasswordHash::None => password.to_owned(),
        PasswordHash::Bcrypt => bcrypt::hash(password, bcrypt::DEFAULT_COST).map_err(|error| error.to_string())?,
        PasswordHash::Argon2id => {
            let hash = argon2::Argon2::default().hash_password(password.as_bytes());
            hash.map_err(|error| error.to_string())?.to_string()
        }
    };
    Ok(SecretString::from(hash))
}

/// A target's words without the secrets that were sent to it.
pub(crate) fn hide(text: String, operations: &[Operation]) -> String {
    let secrets = operations.iter().flat_map(|operation| &operation.secrets);
    secrets.fold(text, |text, (_, secret)| match secret.0.expose_secret() {
        "" => text,
        secret => text.replace(secret, crate::explain::REDACTED),
    })
}

/// An outcome whose words hold no secret that was sent.
pub(crate) fn without_secrets(outcome: Outcome, operations: &[Operation]) -> Outcome {
    match outcome {
        Outcome::Rejected { attribute, rule, message } => {
            Outcome::Rejected { attribute, rule, message: hide(message, operations) }
        }
        Outcome::Retry { after, scope, problem } => Outcome::Retry { after, scope, problem: hide(problem, operations) },
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(length: usize, symbols: bool, hash: PasswordHash) -> PasswordRules {
        PasswordRules { attribute: "password".to_owned(), length, symbols, hash, receiver: None }
    }

    #[test]
    fn passwords_are_as_long_as_wanted_with_characters_of_every_kind() {
        let mut seen = std::collections::HashSet::new();
        for (length, symbols) in [(12, true), (20, true), (72, false)] {
            for _ in 0..200 {
                let password = generate(&rules(length, symbols, PasswordHash::None)).unwrap();
                let text = password.expose_secret();
                assert_eq!(text.len(), length);
                for kind in LETTERS {
                    assert!(text.bytes().any(|character| kind.contains(&character)), "{text}");
                }
                assert_eq!(text.bytes().any(|character| SYMBOLS.contains(&character)), symbols, "{text}");
                assert!(seen.insert(text.to_owned()), "the same one twice");
            }
        }
        assert!(
            !format!("{:?}", generate(&rules(12, true, PasswordHash::None)).unwrap()).contains(LETTERS[0][0] as char)
        );
    }

    #[test]
    fn hashes_are_as_long_as_said_and_verify() {
        use argon2::PasswordVerifier as _;
        let password = SecretString::from("correct horse battery");
        let bcrypted = hashed(PasswordHash::Bcrypt, &password).unwrap();
        assert!(bcrypt::verify("correct horse battery", bcrypted.expose_secret()).unwrap());
        assert_eq!(bcrypted.expose_secret().len(), written_length(&rules(20, true, PasswordHash::Bcrypt)));
        let argon = hashed(PasswordHash::Argon2id, &password).unwrap();
        let parsed = argon2::PasswordHash::new(argon.expose_secret()).unwrap();
        argon2::Argon2::default().verify_password(b"correct horse battery", &parsed).unwrap();
        assert!(argon2::Argon2::default().verify_password(b"another", &parsed).is_err());
        assert_eq!(argon.expose_secret().len(), written_length(&rules(20, true, PasswordHash::Argon2id)));
    }
}
