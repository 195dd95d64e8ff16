//! Changes of entries that are there: values, names, places, and their end.

use muster_connector::{Effect, Operation, Outcome};
use muster_model::{Key, Slot, Value};

use crate::apply::{Context, applied};
use crate::connector::LdapConnector;
use crate::entries::{CONTAINER, DN, ENABLED};
use crate::protocol::control::{Control, PERMISSIVE, TREE_DELETE};
use crate::protocol::dn::{Dn, Rdn};
use crate::protocol::filter::Filter;
use crate::protocol::message::{Code, Entry, LdapResult};
use crate::protocol::request::{Depth, How, Modification, Request, Search};
use crate::refusal::{ELSEWHERE, failed, outcome, rejected};
use crate::session::failure::Failure;

/// How an entry changes: its name first, then its values.
#[derive(Debug)]
pub(crate) struct Changes {
    pub(crate) to: Option<Dn>,
    /// What replaces values.
    pub(crate) replaced: Vec<Modification>,
    /// What comes to and goes from attributes of several values.
    pub(crate) deltas: Vec<Modification>,
}

/// How often the difference is taken anew, where somebody else changes the same values at the same time.
const ROUNDS: usize = 3;

impl Context<'_> {
    pub(crate) fn changes(&self, operation: &Operation, entry: &Entry) -> Result<Changes, Outcome> {
        let of = self.of;
        let current = Dn::parse(&entry.dn).map_err(|problem| rejected(DN, "dn_syntax", problem))?;
        let mut changes = Changes { to: self.renamed(operation, &current)?, replaced: Vec::new(), deltas: Vec::new() };
        for (position, name) in self.batch.attributes.iter().enumerate() {
            let is_in_name = *name == of.rdn && self.is_named_as_usual(&current);
            if is_in_name || [DN, CONTAINER].contains(&name.as_str()) {
                continue;
            }
            if name == ENABLED && of.switch.is_some() {
                if let (Some(switch), Slot::One(Value::Boolean(enabled))) = (&of.switch, operation.row.slot(position)) {
                    changes.replaced.extend(switch.change(entry, *enabled));
                }
                continue;
            }
            let field = of.field(name).map_err(|error| rejected(name, "unknown", error.to_string()))?;
            if let Some(values) = self.replacement(position, name, field, operation.row.slot(position))?
                && !is_same(entry.values(&field.wire), &values)
            {
                changes.replaced.push(Modification::new(How::Replace, &field.wire, values));
            }
            for delta in operation.deltas.iter().filter(|delta| delta.attribute == position) {
                for (how, values) in [(How::Delete, &delta.remove), (How::Add, &delta.add)] {
                    let mut bytes = Vec::with_capacity(values.len());
                    for value in values {
                        match self.bytes(position, name, field, value) {
                            Ok(value) => bytes.extend(value),
                            // Nobody who is not there is a member.
                            Err(Outcome::WaitsFor { .. }) if how == How::Delete => {}
                            Err(outcome) => return Err(outcome),
                        }
                    }
                    if !bytes.is_empty() {
                        changes.deltas.push(Modification::new(how, &field.wire, bytes));
                    }
                }
            }
        }
        Ok(changes)
    }

    /// The name that an entry should have, where that is another one. An entry that others named by another attribute
    /// keeps it.
    fn renamed(&self, operation: &Operation, current: &Dn) -> Result<Option<Dn>, Outcome> {
        let Some(named) = current.0.first() else { return Ok(None) };
        let container = self.container(operation, &current.parent())?;
        let rdn = match self.slot(operation, &self.of.rdn) {
            _ if !self.is_named_as_usual(current) => named.clone(),
            Slot::Unknown => named.clone(),
            Slot::One(value) if !value.to_string().is_empty() => {
                let value = value.to_string();
                let has = |pair: &(String, String)| self.is_naming(&pair.0) && pair.1 == value;
                match named.0.iter().any(has) {
                    true => named.clone(),
                    false => Rdn::one(&self.naming(), &value),
                }
            }
            _ => return Err(rejected(&self.of.rdn, "required", "it names the entry, and cannot be emptied")),
        };
        let stays = rdn == *named && container.is_same(&current.parent());
        Ok((!stays).then(|| container.child(rdn)))
    }

    fn naming(&self) -> String {
        self.of.fields.get(&self.of.rdn).map_or(self.of.rdn.clone(), |field| field.wire.clone())
    }

    fn is_naming(&self, attribute: &str) -> bool {
        attribute.eq_ignore_ascii_case(&self.naming())
    }

    fn is_named_as_usual(&self, dn: &Dn) -> bool {
        dn.0.first().is_some_and(|rdn| rdn.0.iter().any(|(attribute, _)| self.is_naming(attribute)))
    }
}

/// Whether the same values stand there, in whatever order.
fn is_same(there: &[Vec<u8>], wanted: &[Vec<u8>]) -> bool {
    there.len() == wanted.len() && wanted.iter().all(|value| there.contains(value))
}

impl Changes {
    pub(crate) fn is_empty(&self) -> bool {
        self.to.is_none() && self.replaced.is_empty() && self.deltas.is_empty()
    }

    /// The requests, in order.
    pub(crate) fn requests(&self, dn: &str) -> Vec<Request> {
        let mut requests = Vec::new();
        let mut dn = dn.to_owned();
        if let Some(to) = &self.to {
            requests.push(rename_request(&dn, to));
            dn = to.to_string();
        }
        let modifications: Vec<Modification> = self.replaced.iter().chain(&self.deltas).cloned().collect();
        if !modifications.is_empty() {
            requests.push(Request::Modify { dn, modifications });
        }
        requests
    }
}

fn rename_request(dn: &str, to: &Dn) -> Request {
    let moves = Dn::parse(dn).is_ok_and(|current| !current.parent().is_same(&to.parent()));
    Request::ModifyDn {
        dn: dn.to_owned(),
        rdn: to.0.first().map(Rdn::to_string).unwrap_or_default(),
        superior: moves.then(|| to.parent().to_string()),
    }
}

impl LdapConnector {
    pub(crate) async fn change(&self, context: &Context<'_>, operation: &Operation, entry: &Entry) -> Outcome {
        let changes = match context.changes(operation, entry) {
            Ok(changes) => changes,
            Err(outcome) => return outcome,
        };
        if changes.is_empty() {
            return Outcome::AlreadySo(Effect::default());
        }
        let names = context.written_names(operation);
        let mut dn = entry.dn.clone();
        let mut touched = false;
        if let Some(to) = &changes.to {
            match self.move_to(context, entry, to, &names).await {
                Ok(()) => (dn, touched) = (to.to_string(), true),
                Err(outcome) => return outcome,
            }
        }
        if changes.replaced.is_empty() && changes.deltas.is_empty() {
            return applied();
        }
        match self.modify(context, entry.by.as_deref(), &dn, &changes).await {
            Ok(result) if result.code == Code::SUCCESS => applied(),
            // Half of it is done: whoever looks finds out which half.
            Ok(_) if touched => Outcome::Unknown,
            Ok(result) if result.code == Code::NO_SUCH_OBJECT => Outcome::Missing,
            // Somebody changed the flags between our look and our write.
            Ok(result) if result.code == Code::NO_SUCH_ATTRIBUTE => {
                crate::refusal::retry(muster_connector::RetryScope::Object, result.said())
            }
            Ok(result) => outcome(context.of, &names, &result),
            Err(failure) if touched => failed(failure, true),
            Err(failure) => self.lost(failure),
        }
    }

    async fn move_to(&self, context: &Context<'_>, entry: &Entry, to: &Dn, names: &[&str]) -> Result<(), Outcome> {
        // Servers look for the new place before they say that the entry is elsewhere.
        let (dn, by) = (entry.dn.as_str(), entry.by.as_deref());
        let request = rename_request(dn, to);
        if self.directory.keeps_silent() {
            let there = self.holder_of_new(&to.parent()).await.map_err(|failure| failed(failure, false))?;
            if there.as_deref() != by {
                return Err(rejected(CONTAINER, "referral", format!("{to} is on another server; {ELSEWHERE}")));
            }
        }
        let mut result = self.directory.call_at(by, &request, &[]).await.map_err(|failure| self.lost(failure))?;
        // Samba says "other" where the place is missing.
        if [Code::NO_SUCH_OBJECT, Code::OTHER].contains(&result.code) {
            let is_there =
                self.directory.entry(dn, &["1.1"]).await.map_err(|failure| failed(failure, false))?.is_some();
            if !is_there {
                return Err(Outcome::Missing);
            }
            let parent = to.parent().to_string();
            let place = self.directory.entry(&parent, &["1.1"]).await.map_err(|failure| failed(failure, false))?;
            if place.is_none() {
                result.code = Code::NO_SUCH_OBJECT;
            }
            if place.is_none() && context.of.create_containers {
                self.make_containers(context, &to.parent()).await?;
                result = self.directory.call_at(by, &request, &[]).await.map_err(|failure| self.lost(failure))?;
            }
        }
        match result.code {
            Code::SUCCESS => Ok(()),
            Code::EXISTS => {
                Err(rejected(&context.of.rdn, "unique", format!("there is another entry {to}: {}", result.said())))
            }
            _ => Err(outcome(context.of, names, &result)),
        }
    }

    /// Sends modifications. A value that is there already may be added and an absent one removed: where the server
    /// minds, the difference is taken anew.
    async fn modify(
        &self,
        context: &Context<'_>,
        by: Option<&str>,
        dn: &str,
        changes: &Changes,
    ) -> Result<LdapResult, Failure> {
        let mut deltas = changes.deltas.clone();
        if let Some(placeholder) = &context.of.placeholder
            && deltas.iter().any(|one| one.how == How::Add && one.attribute == placeholder.attribute)
        {
            let member = placeholder.member.clone().unwrap_or_else(|| dn.to_owned()).into_bytes();
            if self.has(dn, &placeholder.attribute, &member).await? {
                deltas.push(Modification::new(How::Delete, &placeholder.attribute, vec![member]));
            }
        }
        let controls = match context.known.root.has_control(PERMISSIVE) && !deltas.is_empty() {
            true => vec![Control::plain(PERMISSIVE, false)],
            false => Vec::new(),
        };
        for round in 0.. {
            let modifications: Vec<Modification> = changes.replaced.iter().chain(&deltas).cloned().collect();
            if modifications.is_empty() {
                break;
            }
            let request = Request::Modify { dn: dn.to_owned(), modifications };
            let result = self.directory.call_at(by, &request, &controls).await?;
            let is_difference = [Code::VALUE_EXISTS, Code::NO_SUCH_ATTRIBUTE, Code::EXISTS].contains(&result.code);
            // Active Directory is unwilling to remove who is no member.
            let may_be_difference =
                is_difference || (result.code == Code::UNWILLING && context.known.root.is_windows());
            if may_be_difference && !deltas.is_empty() && round < ROUNDS {
                let left = self.difference(dn, deltas.clone()).await?;
                if left == deltas {
                    return Ok(result);
                }
                deltas = left;
            } else if result.code == Code::OBJECT_CLASS && self.empties(context, &deltas) && round < ROUNDS {
                let Some(placeholder) = &context.of.placeholder else { return Ok(result) };
                let member = placeholder.member.clone().unwrap_or_else(|| dn.to_owned()).into_bytes();
                deltas.push(Modification::new(How::Add, &placeholder.attribute, vec![member]));
            } else {
                return Ok(result);
            }
        }
        Ok(LdapResult {
            code: Code::SUCCESS,
            matched: String::new(),
            text: String::new(),
            referrals: Vec::new(),
            controls: Vec::new(),
            by: None,
        })
    }

    /// Whether members are removed, and none come.
    fn empties(&self, context: &Context<'_>, deltas: &[Modification]) -> bool {
        let Some(placeholder) = &context.of.placeholder else { return false };
        let has = |how: How| deltas.iter().any(|one| one.how == how && one.attribute == placeholder.attribute);
        has(How::Delete) && !has(How::Add)
    }

    /// Leaves out of the deltas what is so already.
    async fn difference(&self, dn: &str, deltas: Vec<Modification>) -> Result<Vec<Modification>, Failure> {
        let mut left = Vec::new();
        for one in deltas {
            let mut values = Vec::new();
            for value in one.values {
                if self.has(dn, &one.attribute, value.exposed()).await? == (one.how == How::Delete) {
                    values.push(value);
                }
            }
            if !values.is_empty() {
                left.push(Modification { values, ..one });
            }
        }
        Ok(left)
    }

    /// Another key, where whoever creates entries chooses it.
    pub(crate) async fn rename(&self, context: &Context<'_>, entry: &Entry, to: &Key) -> Outcome {
        let of = context.of;
        let (Ok(field), [value]) = (of.anchor_field(), to.0.as_slice()) else {
            return rejected(&of.anchor, "wrong_type", "a key has one value");
        };
        let bytes = match field.form.write(value) {
            Ok(bytes) => bytes,
            Err(problem) => return rejected(&of.anchor, "wrong_type", problem),
        };
        if entry.values(&field.wire) == [bytes.clone()] {
            return Outcome::AlreadySo(Effect { key: Some(to.clone()), ..Effect::default() });
        }
        let done = Outcome::Applied(Effect { key: Some(to.clone()), ..Effect::default() });
        if of.anchor == of.rdn {
            let Ok(current) = Dn::parse(&entry.dn) else { return rejected(DN, "dn_syntax", "its name cannot be read") };
            let wanted = current.parent().child(Rdn::one(&field.wire, &value.to_string()));
            return self
                .move_to(context, entry, &wanted, &[&of.anchor])
                .await
                .map_or_else(|outcome| outcome, |()| done);
        }
        let modifications = vec![Modification::new(How::Replace, &field.wire, vec![bytes])];
        let request = Request::Modify { dn: entry.dn.clone(), modifications };
        match self.directory.call_at(entry.by.as_deref(), &request, &[]).await {
            Ok(result) if result.code == Code::SUCCESS => done,
            Ok(result) if result.code == Code::NO_SUCH_OBJECT => Outcome::Missing,
            Ok(result) => outcome(of, &[&of.anchor], &result),
            Err(failure) => self.lost(failure),
        }
    }

    pub(crate) async fn delete(&self, context: &Context<'_>, entry: &Entry) -> Outcome {
        let has_control = context.known.root.has_control(TREE_DELETE);
        let controls = match context.of.delete_subtree && has_control {
            true => vec![Control::plain(TREE_DELETE, true)],
            false => Vec::new(),
        };
        let request = Request::Delete { dn: entry.dn.clone() };
        let result = match self.directory.call_at(entry.by.as_deref(), &request, &controls).await {
            Ok(result) => result,
            Err(failure) => return self.lost(failure),
        };
        match result.code {
            Code::SUCCESS => applied(),
            Code::NO_SUCH_OBJECT => Outcome::Missing,
            Code::NON_LEAF if context.of.delete_subtree && !has_control => self.delete_tree(context, entry).await,
            _ => outcome(context.of, &[], &result),
        }
    }

    /// Deletes what is below first, the deepest first.
    async fn delete_tree(&self, context: &Context<'_>, entry: &Entry) -> Outcome {
        let search = Search {
            base: entry.dn.clone(),
            depth: Depth::Subtree,
            filter: Filter::anything(),
            attributes: vec!["1.1".to_owned()],
            limit: 0,
        };
        let later =
            |failure: Failure| crate::refusal::retry(muster_connector::RetryScope::Object, failure.error().to_string());
        let found = match self.directory.search(search, &[]).await {
            Ok(found) if found.result.code == Code::SUCCESS => found,
            Ok(found) => return later(Failure::refused(format!("searching below {}", entry.dn), found.result)),
            Err(failure) => return later(failure),
        };
        // What is on another server is not this entry's to take along.
        let is_elsewhere = |one: &Entry| one.by != entry.by;
        if !found.elsewhere.is_empty() || found.entries.iter().any(is_elsewhere) {
            let message =
                format!("what is below {} leads to another server, where nothing is deleted along with it", entry.dn);
            return Outcome::Rejected { attribute: None, rule: "referral".to_owned(), message };
        }
        let depth = |entry: &Entry| Dn::parse(&entry.dn).map_or(0, |dn| dn.0.len());
        let mut below: Vec<(usize, String)> =
            found.entries.into_iter().map(|entry| (depth(&entry), entry.dn)).collect();
        below.sort_by(|one, other| other.cmp(one));
        let mut touched = false;
        for (_, dn) in below {
            match self.directory.call_at(entry.by.as_deref(), &Request::Delete { dn }, &[]).await {
                Ok(result) if [Code::SUCCESS, Code::NO_SUCH_OBJECT].contains(&result.code) => touched = true,
                Ok(_) if touched => return Outcome::Unknown,
                Ok(result) => return outcome(context.of, &[], &result),
                Err(failure) => return failed(failure, touched),
            }
        }
        applied()
    }
}
