//! Targets that take operations and say later what became of them: what is noted of an accepted operation, and what its
//! confirmation means for its link.

use std::collections::{HashMap, HashSet};

use muster_connector::{Kind, OperationId, Outcome, Resolution};
use muster_model::pack::{pack_row, unpack_row};
use muster_model::{Key, Slot, Value};
use muster_store::{BatchMember, BatchRecord, LinkId, LinkUpdate, LinkView, Removed};

use crate::apply::Sent;
use crate::commit::CommitPoint;
use crate::compile::{Column, Input};
use crate::cycle::Engine;
use crate::error::EngineError;
use crate::pass::{SLICE, unchanged};
use crate::prepare::Prepared;
use crate::quarantine::Reason;
use crate::report::Report;
use crate::rules::When;
use crate::sought::Sought;

/// Accepted operations asked for in one call.
const ASKED: usize = 5_000;

/// After how long what was refused is tried again by itself, in milliseconds. Such targets count calls, and do not
/// change by themselves.
const REFUSED_AGAIN: i64 = 86_400_000;

/// An operation that the target has taken, as its batch's record keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Taken {
    /// What to ask for.
    pub(crate) ticket: String,
    pub(crate) key: Key,
    pub(crate) enabling: Option<bool>,
    /// The object's values after a success, packed.
    pub(crate) after: Vec<u8>,
    pub(crate) disabled_after: Option<bool>,
    /// When its link is due by itself.
    pub(crate) due_at: Option<i64>,
    /// When it was taken, in milliseconds since 1970.
    pub(crate) since: i64,
    /// When to ask next.
    pub(crate) ask_at: i64,
}

impl Taken {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let truth = |truth: Option<bool>| Value::Integer(truth.map_or(-1, i64::from));
        let bytes = |bytes: Vec<u8>| Value::Binary(bytes.into_boxed_slice());
        let mut values = vec![
            Value::text(&self.ticket),
            bytes(self.key.encode()),
            truth(self.enabling),
            bytes(self.after.clone()),
            truth(self.disabled_after),
            Value::Integer(self.since),
            Value::Integer(self.ask_at),
        ];
        values.extend(self.due_at.map(Value::Integer));
        Key(values).encode()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Option<Self>, EngineError> {
        let Key(values) = Key::decode(bytes)?;
        let truth = |number: i64| (number >= 0).then_some(number > 0);
        let [
            Value::Text(ticket),
            Value::Binary(key),
            Value::Integer(enabling),
            Value::Binary(after),
            Value::Integer(disabled),
            Value::Integer(since),
            Value::Integer(ask_at),
            due_at @ ..,
        ] = values.as_slice()
        else {
            return Ok(None);
        };
        Ok(Some(Self {
            ticket: ticket.to_string(),
            key: Key::decode(key)?,
            enabling: truth(*enabling),
            after: after.to_vec(),
            disabled_after: truth(*disabled),
            due_at: match due_at {
                [Value::Integer(due_at)] => Some(*due_at),
                _ => None,
            },
            since: *since,
            ask_at: *ask_at,
        }))
    }

    /// The operation as it was sent, as far as recording its outcome needs it. What the link's source said later stays
    /// to be done.
    fn sent(&self, member: &BatchMember, view: &LinkView) -> Sent {
        let link = LinkView { dirty: member.revision, ..view.clone() };
        let mut sent = Sent::new(link, member.kind, Kind::Put, Some(self.key.clone()), muster_model::Row::default());
        sent.operation.id = OperationId(member.operation);
        sent.operation.enabling = self.enabling;
        sent.content = member.content;
        sent.after.clone_from(&self.after);
        sent.disabled_after = self.disabled_after;
        sent.due_at = self.due_at;
        sent
    }
}

/// What a member of an open batch came to.
pub(crate) enum Confirmed {
    /// Not known yet: asked for again at its time.
    Open(BatchMember, LinkUpdate),
    /// Recorded; whether it had the effect that the guard counted, and what it says of the sync, if anything.
    Closed { update: LinkUpdate, took_effect: bool, verdict: Option<Verdict> },
}

/// A success or a refusal that was told later.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) link: LinkId,
    /// When the target took the operation, in milliseconds since 1970.
    pub(crate) since: i64,
    pub(crate) refusal: Option<Reason>,
}

impl Engine {
    /// Asks what became of accepted operations that are due. An error keeps nothing else from going on.
    pub(crate) async fn confirmations(
        &self,
        prepared: &Prepared,
        batches: &[BatchRecord],
        report: &mut Report,
    ) -> Result<HashMap<OperationId, Resolution>, EngineError> {
        let now = self.clock.now();
        let mut due = Vec::new();
        for member in batches.iter().flat_map(|batch| &batch.members) {
            if let Sought::Taken(taken) = Sought::decode(&prepared.compiled, &member.sought)?
                && taken.ask_at <= now
            {
                due.push((OperationId(member.operation), taken.ticket));
            }
        }
        let mut known = HashMap::new();
        let Some(target) = prepared.target.connector.target() else { return Ok(known) };
        for some in due.chunks(ASKED) {
            match target.confirm(&prepared.target.request.object_type, some).await {
                Ok(told) => known.extend(told),
                Err(error) => {
                    tracing::warn!(sync = prepared.compiled.rules.name, %error, "what became of accepted operations is not known yet");
                    let left = due.len() - known.len().min(due.len());
                    report.notes.push(format!("what became of {left} accepted changes could not be asked: {error}"));
                    break;
                }
            }
        }
        Ok(known)
    }

    /// What a confirmation means for the link of an accepted operation.
    pub(crate) fn confirmed(
        &self,
        prepared: &Prepared,
        member: &BatchMember,
        view: &LinkView,
        taken: &Taken,
        told: Option<&Resolution>,
        report: &mut Report,
    ) -> Result<Confirmed, EngineError> {
        let now = self.clock.now();
        let waits = |ask_at: i64| {
            let sought = Sought::Taken(Taken { ask_at, ..taken.clone() }).encode();
            // It stays as dirty as it is, and wakes its sync when it is time to ask.
            let update = LinkUpdate { evaluated: 0, due_at: Some(ask_at), ..unchanged(view) };
            Confirmed::Open(BatchMember { sought, ..member.clone() }, update)
        };
        let outcome = match told {
            None => return Ok(waits(taken.ask_at.max(now))),
            Some(Resolution::Pending { look_again_after }) => {
                let pause = i64::try_from(look_again_after.as_millis()).unwrap_or(i64::MAX / 2).max(1_000);
                return Ok(waits(now.saturating_add(pause)));
            }
            // Nobody will ever know: the whole state goes out again, under a new name.
            Some(Resolution::NeverApplied | Resolution::NotRecorded) => {
                let update = LinkUpdate { evaluated: 0, ..unchanged(view) };
                return Ok(Confirmed::Closed { update, took_effect: false, verdict: None });
            }
            Some(Resolution::Known(outcome)) => outcome,
        };
        let sent = taken.sent(member, view);
        let Some(mut update) = self.judge(prepared, &sent, outcome, now, false, report)? else {
            return Ok(waits(now.saturating_add(60_000)));
        };
        if update.parked.is_some() {
            update.due_at = [Some(now.saturating_add(REFUSED_AGAIN)), taken.due_at].into_iter().flatten().min();
        }
        let refusal = update.parked.as_ref().map(|reason| (reason.rule.clone(), reason.attribute.clone()));
        let is_success = matches!(outcome, Outcome::Applied(_) | Outcome::AlreadySo(_));
        let verdict =
            (is_success || refusal.is_some()).then_some(Verdict { link: view.id, since: taken.since, refusal });
        Ok(Confirmed::Closed { update, took_effect: matches!(outcome, Outcome::Applied(_)), verdict })
    }
}

impl Engine {
    /// Where nothing can be read, nobody knows whether the target is as Muster left it: everybody who is there is sent
    /// once more. Links with an open operation are left alone. Returns how many.
    pub(crate) async fn say_again(&self, prepared: &Prepared, open: &HashSet<LinkId>) -> Result<u64, EngineError> {
        let compiled = &prepared.compiled;
        let flows = |(position, column): &(usize, &Column)| {
            let is_key = compiled.anchor.iter().flatten().any(|part| part == position);
            column.when == When::Always
                && column.input != Input::None
                && !is_key
                && compiled.enabling != Some(*position)
        };
        let flowing = || compiled.columns.iter().enumerate().filter(flows);
        // One value that counts as never written makes the whole record go out.
        let chosen = flowing().find(|(_, column)| !column.attribute.required).or_else(|| flowing().next());
        let Some((chosen, _)) = chosen else { return Ok(0) };
        let mut after = LinkId(0);
        let mut again = 0;
        loop {
            self.stop.check()?;
            let links = self.store.linked(prepared.sync, after, SLICE).await?;
            let Some(last) = links.last() else { return Ok(again) };
            after = last.id;
            let mut updates = Vec::new();
            for link in links.iter().filter(|link| link.removed == Removed::No && !open.contains(&link.id)) {
                let mut written = unpack_row(&prepared.layout.target, link.written.as_deref().unwrap_or_default())?;
                if let Some(slot) = written.0.get_mut(chosen) {
                    *slot = Slot::Unknown;
                }
                let written = Some(pack_row(&prepared.layout.target, &written));
                let base = LinkUpdate { evaluated: 0, dirty_again: true, due_at: link.due_at, ..unchanged(link) };
                updates.push(LinkUpdate { written, ..base });
            }
            again += updates.len() as u64;
            self.store.settle(prepared.sync, &updates, self.clock.now()).await?;
            self.observer.passed(CommitPoint::Settled);
        }
    }
}

/// What is noted of an operation that the target has just taken.
pub(crate) fn taken(sent: &Sent, ticket: &str, ask_at: i64, now: i64) -> Option<Vec<u8>> {
    let taken = Taken {
        ticket: ticket.to_owned(),
        key: sent.operation.key.clone()?,
        enabling: sent.operation.enabling,
        after: sent.after.clone(),
        disabled_after: sent.disabled_after,
        due_at: sent.due_at,
        since: now,
        ask_at,
    };
    Some(Sought::Taken(taken).encode())
}

/// What a target has taken and not confirmed yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unconfirmed {
    /// How many operations.
    pub operations: u64,
    /// When the oldest was taken, in milliseconds since 1970.
    pub since: Option<i64>,
    /// When the next is asked for, in milliseconds since 1970.
    pub ask_at: Option<i64>,
}

impl Unconfirmed {
    /// Counts those of a sync's open batches.
    #[must_use]
    pub fn of(batches: &[BatchRecord]) -> Self {
        let mut all = Self::default();
        for (_, taken) in waiting(batches) {
            all.operations += 1;
            all.since = [all.since, Some(taken.since)].into_iter().flatten().min();
            all.ask_at = [all.ask_at, Some(taken.ask_at)].into_iter().flatten().min();
        }
        all
    }
}

/// The links whose operations the target has taken.
pub(crate) fn waiting(batches: &[BatchRecord]) -> impl Iterator<Item = (LinkId, Taken)> + '_ {
    let members = batches.iter().flat_map(|batch| &batch.members);
    members.filter_map(|member| Some((member.link, Sought::taken(&member.sought)?)))
}
