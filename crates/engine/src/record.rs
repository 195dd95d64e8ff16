//! Recording: what each outcome means for its link. What a link last wrote changes only on a confirmed outcome.

use muster_connector::{Effect, OperationId, Outcome, RetryScope};
use muster_model::pack::{pack_row, unpack_row};
use muster_model::{Key, Slot, Value};
use muster_store::{BatchEnd, BatchMember, LinkState, LinkUpdate, OperationKind, Origin, ParkReason};

use crate::accepted::taken;
use crate::apply::{Landed, Sent, charges};
use crate::closing::{Closing, Ended};
use crate::cycle::Engine;
use crate::error::EngineError;
use crate::identity::{Doubtful, lost};
use crate::pass::{Progress, linked_state, unchanged};
use crate::prepare::Prepared;
use crate::report::Report;
use crate::send::forgets;

/// The rule that connectors name when a unique value is taken.
const UNIQUE: &str = "unique";

/// The longest pause between attempts, in milliseconds.
const LONGEST_PAUSE: i64 = 3_600_000;

impl Engine {
    /// Records a batch's outcomes. An error of the target is returned after everything is recorded.
    pub(crate) async fn landed(
        &self,
        prepared: &Prepared,
        landed: Landed,
        closing: &mut Closing,
        progress: &mut Progress,
        report: &mut Report,
    ) -> Result<(), EngineError> {
        let now = self.clock.now();
        let mut updates = Vec::with_capacity(landed.sent.len());
        let mut open = Vec::new();
        let mut without_effect = Vec::new();
        let mut others = Vec::new();
        let mut refused = false;
        let mut error = landed.error;
        let mut landed_sent = landed.sent;
        let outcome = |sent: &Sent| landed.outcomes.get(&sent.operation.id).cloned();
        self.hand_over(prepared, &mut landed_sent, outcome, report).await?;
        let mut settled = Vec::new();
        for sent in landed_sent {
            let others_settled = settled.len();
            settled.extend(sent.matches.iter().cloned());
            let Some(outcome) = landed.outcomes.get(&sent.operation.id) else {
                // Never sent, so nothing happened and the link is as dirty as before.
                without_effect.push(sent);
                report.waiting += 1;
                continue;
            };
            if let Outcome::Retry { scope: RetryScope::Target, problem, .. } = outcome {
                error.get_or_insert(muster_connector::Error::Unreachable {
                    problem: problem.clone(),
                    nothing_sent: true,
                });
            }
            progress.gone.note(sent.kind, outcome);
            if sent.blind && is_taken(outcome) {
                progress.blind.no_more(sent.link.id);
            }
            if *outcome == Outcome::OtherObject {
                others.push(sent);
                continue;
            }

            if let Some(update) = progress.values.refused(&sent, outcome) {
                if let Some(reason) =
                    progress.values.refusal(sent.link.id).filter(|reason| reason.operation == Some(sent.operation.id.0))
                {
                    progress.refused += 1;
                    progress.window.note(sent.link.id, Some((reason.rule.clone(), reason.attribute.clone())));
                }
                updates.push(update);
                without_effect.push(sent);
                continue;
            }
            match self.judge(prepared, &sent, outcome, now, progress.arriving, report)? {
                Some(mut update) => {
                    let succeeded = matches!(outcome, Outcome::Applied(_) | Outcome::AlreadySo(_));
                    if succeeded && sent.rest {
                        update.evaluated = 0;
                    }
                    if succeeded && sent.values.is_some() {
                        progress.values.succeeded(&sent);
                        report.updated += u64::from(progress.values.counted.insert(sent.link.id));
                    }
                    if succeeded {
                        progress.succeeded += 1;
                        progress.window.note(sent.link.id, None);
                    } else if let Some(reason) = &update.parked {
                        refused = true;
                        progress.refused += 1;
                        progress.window.note(sent.link.id, Some((reason.rule.clone(), reason.attribute.clone())));
                    }
                    if update.attempts > 0 && sent.disables_and_more && matches!(outcome, Outcome::Rejected { .. }) {
                        progress.refused_with_more.push(sent.link.id);
                    }
                    progress.note_parked(&update);
                    // Values follow one another until there are none left, however many there are.
                    let goes_on = succeeded && sent.values.is_some();
                    if !goes_on && (update.dirty_again || update.evaluated < sent.link.dirty) {
                        progress.unsettled(&sent.link);
                    }
                    updates.push(update);
                    if !matches!(outcome, Outcome::Applied(_)) {
                        without_effect.push(sent);
                    }
                }
                None => {
                    progress.open.insert(sent.link.id);
                    settled.truncate(others_settled);
                    let accepted = match outcome {
                        Outcome::Accepted { ticket, look_again_after } => {
                            let pause = i64::try_from(look_again_after.as_millis()).unwrap_or(i64::MAX / 2);
                            let ask_at = now.saturating_add(pause);
                            // It stays as dirty as it is, and wakes its sync when it is time to ask.
                            updates.push(LinkUpdate { evaluated: 0, due_at: Some(ask_at), ..unchanged(&sent.link) });
                            taken(&sent, ticket, ask_at, now)
                        }
                        _ => None,
                    };
                    open.push(BatchMember {
                        operation: sent.operation.id.0,
                        link: sent.link.id,
                        kind: sent.kind,
                        revision: sent.link.dirty,
                        content: sent.content,
                        sought: accepted.unwrap_or_else(|| sent.sought(&prepared.compiled)),
                    });
                }
            }
        }
        match self.others(prepared, &others, report).await {
            Ok(decided) => {
                for (sent, update) in others.iter().zip(decided) {
                    if let Some(reason) = &update.parked {
                        refused = true;
                        progress.refused += 1;
                        progress.window.note(sent.link.id, Some((reason.rule.clone(), reason.attribute.clone())));
                    }
                    progress.note_parked(&update);
                    progress.unsettled(&sent.link);
                    updates.push(update);
                }
            }
            // Nothing was written to them, so their links are as dirty as before.
            Err(EngineError::Connection { source, .. }) => drop(error.get_or_insert(source)),
            Err(other) => return Err(other),
        }
        without_effect.append(&mut others);
        let returned = charges(prepared, &without_effect);
        let answered = landed.outcomes.iter().filter(|(_, outcome)| !matches!(outcome, Outcome::Unknown));
        let answered: Vec<OperationId> = answered.map(|(id, _)| *id).collect();
        let forgotten = forgets(&prepared.compiled.capabilities);
        let end = BatchEnd { batch: landed.batch, updates, returned, open, forgotten };
        self.close(prepared, Ended { end, answered, matches: settled }, closing, progress).await?;
        if refused {
            self.perhaps_quarantine(prepared, landed.blamed, progress, report).await?;
        }
        match error {
            Some(error) => Err(EngineError::connection(&prepared.target.name, error)),
            None => Ok(()),
        }
    }

    /// What becomes of links whose keys name other objects now.
    async fn others(
        &self,
        prepared: &Prepared,
        others: &[Sent],
        report: &mut Report,
    ) -> Result<Vec<LinkUpdate>, EngineError> {
        if others.is_empty() {
            return Ok(Vec::new());
        }
        let side = &prepared.target;
        let Some(target) = side.connector.target() else { return Err(EngineError::NoConnection(side.name.clone())) };
        let keys: Vec<Key> = others.iter().filter_map(|sent| sent.operation.key.clone()).collect();
        let found =
            target.get(&side.request, &keys).await.map_err(|error| EngineError::connection(&side.name, error))?;
        let doubtful = others.iter().zip(found).filter_map(|(sent, object)| {
            let (_, known) = sent.operation.expected.clone()?;
            let (link, becomes) = (sent.link.clone(), sent.becomes.clone());
            Some(Doubtful { link, written: sent.after.clone(), known, becomes, object })
        });
        let updates = self.identify(prepared, doubtful.collect()).await?;
        for update in &updates {
            *if update.parked.is_some() { &mut report.parked } else { &mut report.waiting } += 1;
        }
        Ok(updates)
    }

    /// What an outcome means; `None` leaves the operation open.
    pub(crate) fn judge(
        &self,
        prepared: &Prepared,
        sent: &Sent,
        outcome: &Outcome,
        now: i64,
        arriving: bool,
        report: &mut Report,
    ) -> Result<Option<LinkUpdate>, EngineError> {
        let link = &sent.link;
        let parked = |rule: &str, attribute: Option<&str>, message: String| LinkUpdate {
            parked: Some(ParkReason {
                operation: Some(sent.operation.id.0),
                kind: sent.kind,
                rule: rule.to_owned(),
                attribute: attribute.map(str::to_owned),
                message,
            }),
            due_at: [Some(now + look_again(sent.disables() || sent.kind == OperationKind::Delete)), sent.due_at]
                .into_iter()
                .flatten()
                .min(),
            ..unchanged(link)
        };
        // Before everything is read, a refusal may be over by the end of the cycle and costs no chance.
        let second_chance =
            LinkUpdate { evaluated: 0, attempts: i64::from(!arriving), due_at: sent.due_at, ..unchanged(link) };
        let again = |pause: i64| LinkUpdate {
            evaluated: 0,
            attempts: link.attempts + 1,
            not_before: Some(now + pause.max(backoff(link.attempts)).min(LONGEST_PAUSE.max(pause))),
            // No pause outlasts the date at which access ends.
            due_at: sent.due_at,
            ..unchanged(link)
        };
        let update = match outcome {
            Outcome::Applied(effect) => {
                if !sent.counted {
                    count(report, sent);
                }
                success(prepared, sent, effect)?
            }
            Outcome::AlreadySo(effect) => {
                report.unchanged += u64::from(!sent.counted && sent.values.is_none());
                success(prepared, sent, effect)?
            }
            Outcome::Missing if sent.kind == OperationKind::Delete => {
                report.unchanged += u64::from(!sent.counted);
                success(prepared, sent, &Effect::default())?
            }
            // Somebody removed it at the target; whoever should have one gets it again, by match or create.
            Outcome::Missing => lost(LinkUpdate { evaluated: 0, origin: Origin::None, ..unchanged(link) }),
            // The match rule may find it now; if it did not the first time around, it never will.
            // Somebody took the chosen key meanwhile, so another one is chosen.
            Outcome::Exists { .. } if !prepared.compiled.unique_choices.is_empty() && link.attempts == 0 => {
                second_chance
            }
            Outcome::Exists { .. } if !prepared.compiled.matching.is_empty() && link.attempts == 0 => second_chance,
            Outcome::Exists { key } => {
                report.parked += 1;
                let names = prepared.compiled.target.anchor.attributes.join(", ");
                let message = format!("an object with {names} {key} exists already and does not match");
                parked("exists", prepared.compiled.target.anchor.attributes.first().map(String::as_str), message)
            }
            Outcome::Changed { .. } | Outcome::OtherObject => {
                report.waiting += 1;
                again(0)
            }
            Outcome::WaitsFor { .. } => {
                report.waiting += 1;
                again(60_000)
            }
            Outcome::Retry { after, .. } => {
                report.waiting += 1;
                again(i64::try_from(after.as_millis()).unwrap_or(LONGEST_PAUSE))
            }
            // Perhaps its holder is giving the value up in this very cycle: the second pass knows.
            Outcome::Rejected { rule, .. } if rule == UNIQUE && link.attempts == 0 => second_chance,
            // What takes access away is tried without the rest.
            Outcome::Rejected { .. } if sent.disables_and_more && link.attempts == 0 => {
                LinkUpdate { evaluated: 0, attempts: 1, ..unchanged(link) }
            }
            Outcome::Rejected { attribute, rule, message } => {
                report.parked += 1;
                parked(rule, attribute.as_deref(), message.clone())
            }
            Outcome::Unsupported { what } => {
                report.parked += 1;
                parked("unsupported", None, format!("the target cannot do this: {what}"))
            }
            Outcome::Accepted { .. } => {
                report.accepted += 1;
                return Ok(None);
            }
            Outcome::Unknown => {
                report.unknown += 1;
                return Ok(None);
            }
        };
        Ok(Some(update))
    }
}

/// Whether a create was refused because of what is there already.
fn is_taken(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Exists { .. } => true,
        Outcome::Rejected { rule, .. } => rule == UNIQUE,
        _ => false,
    }
}

/// After how long a parked object is tried again by itself, in milliseconds: what refused it may have changed at
/// the target, where nobody tells. Whoever should lose access does not wait long.
pub(crate) fn look_again(takes_away: bool) -> i64 {
    if takes_away { 60_000 } else { 3_600_000 }
}

/// The pause after so many failed attempts, in milliseconds: 10 s, doubled each time.
fn backoff(attempts: i64) -> i64 {
    10_000_i64.saturating_mul(1 << attempts.clamp(0, 9)).min(LONGEST_PAUSE)
}

fn count(report: &mut Report, sent: &Sent) {
    if let Some(values) = &sent.values {
        report.values_added += values.write.added.len() as u64;
        report.values_removed += values.write.removed.len() as u64;
        return;
    }
    let counter = match (sent.kind, sent.operation.enabling) {
        (OperationKind::Create, _) => &mut report.created,
        (OperationKind::Delete, _) => &mut report.deleted,
        (_, Some(true)) => &mut report.enabled,
        (_, Some(false)) => &mut report.disabled,
        _ => &mut report.updated,
    };
    *counter += 1;
}

pub(crate) fn success(prepared: &Prepared, sent: &Sent, effect: &Effect) -> Result<LinkUpdate, EngineError> {
    let link = &sent.link;
    if sent.kind == OperationKind::Delete {
        return Ok(LinkUpdate {
            state: LinkState::Gone,
            target_key: None,
            written: Some(Vec::new()),
            ..unchanged(link)
        });
    }
    let names = &prepared.compiled.target_attributes;
    let position = |name: &String| names.iter().position(|attribute| attribute == name);
    let set: Vec<(usize, Slot)> =
        effect.values.iter().filter_map(|(name, value)| Some((position(name)?, value.clone()))).collect();
    let written = match set.as_slice() {
        [] => sent.after.clone(),
        set => {
            let mut after = unpack_row(&prepared.layout.target, &sent.after)?;
            for (position, value) in set {
                if let Some(slot) = after.0.get_mut(*position) {
                    slot.clone_from(value);
                }
            }
            pack_row(&prepared.layout.target, &after)
        }
    };
    let created = sent.kind == OperationKind::Create;
    let renamed = match &sent.operation.kind {
        muster_connector::Kind::Rename { to } => Some(to),
        _ => None,
    };
    let key = effect.key.as_ref().or(renamed).or(sent.operation.key.as_ref()).map(Key::encode);
    let off = Slot::One(Value::Boolean(false));
    let set_off = set.iter().rev().find(|(position, _)| prepared.compiled.enabling == Some(*position));
    let disabled = match (set_off, sent.disabled_after) {
        (Some((_, slot)), _) => *slot == off,
        (None, Some(disabled)) => disabled,
        (None, None) => !created && link.state == LinkState::Disabled,
    };
    Ok(LinkUpdate {
        state: linked_state(disabled),
        origin: if created { Origin::Created } else { link.origin },
        target_key: key,
        fresh_key: created && prepared.compiled.anchor.is_none(),
        written: Some(written),
        due_at: sent.due_at,
        values: sent.values.iter().map(|values| values.write.clone()).collect(),
        ..unchanged(link)
    })
}
