//! New entries.

use muster_connector::{Effect, Operation, Outcome};
use muster_model::{Key, Slot, Value};
use secrecy::{ExposeSecret as _, SecretString};

use crate::apply::{Context, applied};
use crate::connector::LdapConnector;
use crate::directory::root::Vendor;
use crate::entries::{CONTAINER, DN, ENABLED};
use crate::protocol::ber::Reader;
use crate::protocol::control::{Control, POST_READ};
use crate::protocol::dn::{Dn, Rdn};
use crate::protocol::message::{Code, LdapResult, entry};
use crate::protocol::request::{Bytes, How, Modification, Request, SET_PASSWORD};
use crate::refusal::{failed, outcome, rejected};
use crate::rows::key_of;
use crate::session::failure::Failure;

/// An entry to be made.
pub(crate) struct NewEntry {
    pub(crate) dn: Dn,
    attributes: Vec<(String, Vec<Bytes>)>,
    /// What says that it is enabled or disabled.
    switch: Option<(String, Vec<u8>)>,
    /// The first password, where it is set by an operation of its own (RFC 3062), so that the server hashes it.
    pub(crate) password: Option<(String, SecretString)>,
}

impl NewEntry {
    pub(crate) fn request(&self) -> Request {
        Request::Add { dn: self.dn.to_string(), attributes: self.attributes.clone() }
    }
}

impl Context<'_> {
    /// Where an entry belongs: what is mapped, or `otherwise`.
    pub(crate) fn container(&self, operation: &Operation, otherwise: &Dn) -> Result<Dn, Outcome> {
        let text = match self.slot(operation, CONTAINER) {
            Slot::One(value) => value.to_string(),
            _ => return Ok(otherwise.clone()),
        };
        let dn = Dn::parse(&text).map_err(|problem| {
            rejected(CONTAINER, "dn_syntax", format!("{text:?} is no name of an entry: {problem}"))
        })?;
        let is_inside = Dn::parse(&self.of.base).is_ok_and(|base| dn.is_within(&base));
        if is_inside {
            return Ok(dn);
        }
        let message =
            format!("{text:?} is not below the type's base {:?}, so that the entry would not be found", self.of.base);
        Err(rejected(CONTAINER, "outside_base", message))
    }

    pub(crate) fn new_entry(&self, operation: &Operation) -> Result<NewEntry, Outcome> {
        let of = self.of;
        let naming = match self.slot(operation, &of.rdn) {
            Slot::One(value) if !value.to_string().is_empty() => value.to_string(),
            _ => return Err(rejected(&of.rdn, "required", "it names the entry, and has no value")),
        };
        let rdn_field = of.field(&of.rdn).map_err(|error| rejected(&of.rdn, "unknown", error.to_string()))?;
        let dn = self.container(operation, &of.container)?.child(Rdn::one(&rdn_field.wire, &naming));
        let classes = of.classes.iter().map(|class| Bytes::Plain(class.clone().into_bytes())).collect();
        let mut new =
            NewEntry { dn, attributes: vec![("objectClass".to_owned(), classes)], switch: None, password: None };
        for (position, name) in self.batch.attributes.iter().enumerate() {
            if [DN, CONTAINER, ENABLED].contains(&name.as_str()) {
                continue;
            }
            let field = of.field(name).map_err(|error| rejected(name, "unknown", error.to_string()))?;
            let mut values = self.replacement(position, name, field, operation.row.slot(position))?.unwrap_or_default();
            for delta in operation.deltas.iter().filter(|delta| delta.attribute == position) {
                for value in &delta.add {
                    values.extend(self.bytes(position, name, field, value)?);
                }
            }
            let is_password = of.object_type.attribute(name).is_some_and(|attribute| !attribute.readable);
            let hidden = |value| if is_password { Bytes::Secret(value) } else { Bytes::Plain(value) };
            if !values.is_empty() {
                new.attributes.push((field.wire.clone(), values.into_iter().map(hidden).collect()));
            }
        }
        self.switched(operation, &mut new);
        self.placeheld(&mut new);
        self.secrets(operation, &mut new)?;
        Ok(new)
    }

    fn switched(&self, operation: &Operation, new: &mut NewEntry) {
        let Some(switch) = &self.of.switch else { return };
        let is_enabled = match self.slot(operation, ENABLED) {
            Slot::One(Value::Boolean(enabled)) => *enabled,
            _ => operation.enabling.unwrap_or(true),
        };
        new.switch = switch.of_new(is_enabled);
        new.attributes.extend(new.switch.clone().map(|(attribute, value)| (attribute, vec![Bytes::Plain(value)])));
    }

    /// Groups that must have a member get one that is none, until there are others.
    fn placeheld(&self, new: &mut NewEntry) {
        let Some(placeholder) = &self.of.placeholder else { return };
        if new.attributes.iter().any(|(name, _)| name.eq_ignore_ascii_case(&placeholder.attribute)) {
            return;
        }
        let member = placeholder.member.clone().unwrap_or_else(|| new.dn.to_string());
        new.attributes.push((placeholder.attribute.clone(), vec![Bytes::Plain(member.into_bytes())]));
    }

    fn secrets(&self, operation: &Operation, new: &mut NewEntry) -> Result<(), Outcome> {
        for (position, secret) in &operation.secrets {
            let Some(name) = self.batch.attributes.get(*position) else { continue };
            let root = &self.known.root;
            if name.eq_ignore_ascii_case("unicodePwd") {
                new.attributes.push((name.clone(), vec![Bytes::Secret(quoted(&secret.0))]));
            } else if name.eq_ignore_ascii_case("userPassword")
                && root.vendor != Vendor::Ds389
                && root.has_extension(SET_PASSWORD)
            {
                // A value in the add would be stored as it is, where the server is not told to hash it.
                new.password = Some((name.clone(), secret.0.clone()));
            } else {
                let field = self.of.field(name).map_err(|error| rejected(name, "unknown", error.to_string()))?;
                let value = Bytes::Secret(secret.0.expose_secret().as_bytes().to_vec());
                new.attributes.push((field.wire.clone(), vec![value]));
            }
        }
        Ok(())
    }
}

/// A password as Active Directory takes it: in quotation marks, in UTF-16
/// (<https://learn.microsoft.com/openspecs/windows_protocols/ms-adts/6e803168-f140-4d23-b2d3-c3a8ab5917d2>).
fn quoted(password: &SecretString) -> Vec<u8> {
    let units = "\"".encode_utf16().chain(password.expose_secret().encode_utf16()).chain("\"".encode_utf16());
    units.flat_map(u16::to_le_bytes).collect()
}

impl LdapConnector {
    pub(crate) async fn create(&self, context: &Context<'_>, operation: &Operation) -> Outcome {
        let new = match context.new_entry(operation) {
            Ok(new) => new,
            Err(outcome) => return outcome,
        };
        let request = new.request();
        let anchor = match context.of.anchor_field() {
            Ok(field) => field.wire.clone(),
            Err(error) => return rejected(&context.of.anchor, "unknown", error.to_string()),
        };
        let controls = match context.known.root.has_control(POST_READ) {
            true => vec![Control::post_read(&[&anchor])],
            false => Vec::new(),
        };
        let by = match self.holder_of_new(&new.dn.parent()).await {
            Ok(by) => by,
            Err(failure) => return failed(failure, false),
        };
        let mut result = match self.directory.call_at(by.as_deref(), &request, &controls).await {
            Ok(result) => result,
            Err(failure) => return self.lost(failure),
        };
        if result.code == Code::NO_SUCH_OBJECT && context.of.create_containers {
            if let Err(outcome) = self.make_containers(context, &new.dn.parent()).await {
                return outcome;
            }
            result = match self.directory.call_at(by.as_deref(), &request, &controls).await {
                Ok(result) => result,
                Err(failure) => return self.lost(failure),
            };
        }
        match result.code {
            Code::SUCCESS => {}
            Code::EXISTS | Code::VALUE_EXISTS => return self.exists(context, operation, &new, &result).await,
            _ => return outcome(context.of, &context.written_names(operation), &result),
        }
        if let Some((attribute, password)) = &new.password
            && let Err(outcome) = self.set_password(context, &new, attribute, password, result.by.as_deref()).await
        {
            return outcome;
        }
        match self.key_of_new(context, &new, &result, &anchor).await {
            Some(key) => Outcome::Applied(Effect { key: Some(key), ..Effect::default() }),
            None if operation.key.is_some() => applied(),
            // It is there; who it is will be asked by what it is matched by.
            None => Outcome::Unknown,
        }
    }

    /// The server that new entries at a place belong to, where the connection's own would take them and should not.
    pub(crate) async fn holder_of_new(&self, above: &Dn) -> Result<Option<String>, Failure> {
        let mut above = above.clone();
        while self.directory.keeps_silent() && !above.0.is_empty() {
            if let Some(entry) = self.directory.entry(&above.to_string(), &["1.1"]).await? {
                return Ok(entry.by);
            }
            above = above.parent();
        }
        Ok(None)
    }

    /// The connection went: a request that certainly did not leave did nothing.
    pub(crate) fn lost(&self, failure: Failure) -> Outcome {
        let touched = matches!(failure, Failure::Unreachable { sent: true, .. });
        failed(failure, touched)
    }

    async fn key_of_new(
        &self,
        context: &Context<'_>,
        new: &NewEntry,
        result: &LdapResult,
        anchor: &str,
    ) -> Option<Key> {
        let control = result.controls.iter().find(|control| control.oid == POST_READ);
        let read = control.and_then(|control| control.value.as_ref()).and_then(|value| {
            // A search result entry without its own tag, or with it: servers differ.
            let mut reader = Reader::new(value);
            let (_, content) = reader.value().ok()?;
            entry(&mut Reader::new(content)).ok()
        });
        if let Some(key) = read.and_then(|entry| key_of(context.of, &entry)) {
            return Some(key);
        }
        let entry = self.directory.entry(&new.dn.to_string(), &[anchor]).await.ok().flatten()?;
        key_of(context.of, &entry)
    }

    /// An entry of that name, or one that has a value which no two may have.
    async fn exists(
        &self,
        context: &Context<'_>,
        operation: &Operation,
        new: &NewEntry,
        result: &LdapResult,
    ) -> Outcome {
        let Ok(anchor) = context.of.anchor_field() else { return Outcome::Missing };
        match self.directory.entry(&new.dn.to_string(), &[anchor.wire.as_str()]).await {
            Ok(Some(entry)) => match key_of(context.of, &entry) {
                Some(key) => Outcome::Exists { key },
                None => rejected(
                    &context.of.rdn,
                    "unique",
                    format!("{}; {} is there, and shows no {}", result.said(), new.dn, anchor.wire),
                ),
            },
            Ok(None) => match outcome(context.of, &context.written_names(operation), result) {
                Outcome::Rejected { attribute: None, rule, message } => {
                    let attribute =
                        context.of.fields.contains_key("sAMAccountName").then(|| "sAMAccountName".to_owned());
                    Outcome::Rejected { attribute, rule, message }
                }
                other => other,
            },
            Err(failure) => failed(failure, false),
        }
    }

    /// A first password by RFC 3062. Where it is refused the entry goes again, so that nothing of the create stays. `by`:
    /// the server that made the entry, where it is not the connection's own.
    async fn set_password(
        &self,
        context: &Context<'_>,
        new: &NewEntry,
        attribute: &str,
        password: &SecretString,
        by: Option<&str>,
    ) -> Result<(), Outcome> {
        let dn = new.dn.to_string();
        let request = Request::SetPassword { dn: dn.clone(), password: password.clone() };
        let result = self.directory.call_at(by, &request, &[]).await.map_err(|_| Outcome::Unknown)?;
        if result.code == Code::SUCCESS {
            return self.lock_again(new, by).await;
        }
        let undone = self.directory.call_at(by, &Request::Delete { dn }, &[]).await;
        if !undone.is_ok_and(|result| result.code == Code::SUCCESS) {
            return Err(Outcome::Unknown);
        }
        Err(match outcome(context.of, &[attribute], &result) {
            Outcome::Rejected { rule, message, .. } => {
                let rule = if rule == "constraint" { "password_policy".to_owned() } else { rule };
                Outcome::Rejected { attribute: Some(attribute.to_owned()), rule, message }
            }
            other => other,
        })
    }

    /// A new password lifts locks (draft-behera-ldap-password-policy, section 7.4), and one of them was ours.
    async fn lock_again(&self, new: &NewEntry, by: Option<&str>) -> Result<(), Outcome> {
        let Some((attribute, value)) = &new.switch else { return Ok(()) };
        let modifications = vec![Modification::new(How::Replace, attribute, vec![value.clone()])];
        let request = Request::Modify { dn: new.dn.to_string(), modifications };
        let result = self.directory.call_at(by, &request, &[]).await.map_err(|_| Outcome::Unknown)?;
        if result.code == Code::SUCCESS { Ok(()) } else { Err(Outcome::Unknown) }
    }

    /// Makes the entries above a new or moved one, from the top.
    pub(crate) async fn make_containers(&self, context: &Context<'_>, dn: &Dn) -> Result<(), Outcome> {
        let base = Dn::parse(&context.of.base).unwrap_or_default();
        let mut missing = Vec::new();
        let mut at = dn.clone();
        while at.is_within(&base) && !at.is_same(&base) {
            match self.directory.entry(&at.to_string(), &["1.1"]).await {
                Ok(Some(_)) => break,
                Ok(None) => missing.push(at.clone()),
                Err(failure) => return Err(failed(failure, false)),
            }
            at = at.parent();
        }
        for dn in missing.iter().rev() {
            let class = match dn.0.first().map(|rdn| rdn.0.as_slice()) {
                Some([(attribute, _)]) if attribute.eq_ignore_ascii_case("ou") => "organizationalUnit",
                Some([(attribute, _)]) if attribute.eq_ignore_ascii_case("cn") && context.known.root.is_windows() => {
                    "container"
                }
                _ => {
                    let message =
                        format!("{dn} is missing, and only organizational units (ou=…) are made: make it by hand");
                    return Err(rejected(CONTAINER, "no_such_parent", message));
                }
            };
            let Some((attribute, value)) = dn.0.first().and_then(|rdn| rdn.0.first()) else { continue };
            let plain = |text: &str| vec![Bytes::Plain(text.as_bytes().to_vec())];
            let attributes = vec![("objectClass".to_owned(), plain(class)), (attribute.clone(), plain(value))];
            let request = Request::Add { dn: dn.to_string(), attributes };
            let by = self.holder_of_new(&dn.parent()).await.map_err(|failure| failed(failure, false))?;
            let result = self.directory.call_at(by.as_deref(), &request, &[]).await;
            let result = result.map_err(|failure| failed(failure, false))?;
            // Somebody else may have been faster.
            if ![Code::SUCCESS, Code::EXISTS].contains(&result.code) {
                return Err(rejected(CONTAINER, "no_such_parent", format!("{dn} cannot be made: {}", result.said())));
            }
        }
        Ok(())
    }
}
