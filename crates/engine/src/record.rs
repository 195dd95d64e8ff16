//! Recording: what each outcome means for its link. What a link last wrote changes only on a confirmed outcome.

use muster_connector::{Effect, Outcome, RetryScope};
use muster_model::pack::pack_row;
use muster_model::{Key, Slot, Value};
use muster_store::{BatchMember, LinkState, LinkUpdate, OperationKind, Origin, ParkReason};

use crate::apply::{Landed, Sent, content_hash};
use crate::commit::CommitPoint;
use crate::cycle::Engine;
use crate::error::EngineError;
use crate::guard::{DELETE, DISABLE};
use crate::pass::{Progress, linked_state, unchanged};
use crate::prepare::Prepared;
use crate::report::Report;

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
        progress: &mut Progress,
        report: &mut Report,
    ) -> Result<(), EngineError> {
        let now = self.clock.now();
        let mut updates = Vec::with_capacity(landed.sent.len());
        let mut open = Vec::new();
        let mut guarded = [(DELETE, 0), (DISABLE, 0)];
        let mut error = landed.error;
        for sent in landed.sent {
            if let Some(value) = &sent.match_value {
                progress.creating.remove(value);
            }
            let Some(outcome) = landed.outcomes.get(&sent.operation.id) else {
                // Never sent, so nothing happened and the link is as dirty as before.
                report.waiting += 1;
                continue;
            };
            if let Outcome::Retry { scope: RetryScope::Target, problem, .. } = outcome {
                error.get_or_insert(muster_connector::Error::Unreachable {
                    problem: problem.clone(),
                    nothing_sent: true,
                });
            }
            match self.judge(prepared, &sent, outcome, now, report)? {
                Some(update) => {
                    if matches!(outcome, Outcome::Applied(_)) {
                        match sent.kind {
                            OperationKind::Delete => guarded[0].1 += 1,
                            _ if sent.disables() => guarded[1].1 += 1,
                            _ => {}
                        }
                    }
                    if update.dirty_again || update.evaluated < sent.link.dirty {
                        progress.unsettled(&sent.link);
                    }
                    updates.push(update);
                }
                None => {
                    progress.open.insert(sent.link.id);
                    if let Some(value) = sent.match_value {
                        progress.creating.insert(value);
                    }
                    open.push(BatchMember {
                        operation: sent.operation.id.0,
                        link: sent.link.id,
                        kind: sent.kind,
                        revision: sent.link.dirty,
                        content: content_hash(&prepared.layout, &sent.operation.row),
                    });
                }
            }
        }
        self.store.close_batch(landed.batch, prepared.sync, &updates, &guarded, &open, now).await?;
        self.observer.passed(CommitPoint::BatchClosed);
        match error {
            Some(error) => Err(EngineError::connection(&prepared.target.name, error)),
            None => Ok(()),
        }
    }

    /// What an outcome means; `None` leaves the operation open.
    pub(crate) fn judge(
        &self,
        prepared: &Prepared,
        sent: &Sent,
        outcome: &Outcome,
        now: i64,
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
            due_at: Some(now + look_again(sent.disables() || sent.kind == OperationKind::Delete)),
            ..unchanged(link)
        };
        let again = |pause: i64| LinkUpdate {
            evaluated: 0,
            attempts: link.attempts + 1,
            not_before: Some(now + pause.max(backoff(link.attempts)).min(LONGEST_PAUSE.max(pause))),
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
                report.unchanged += u64::from(!sent.counted);
                success(prepared, sent, effect)?
            }
            Outcome::Missing if sent.kind == OperationKind::Delete => {
                report.unchanged += u64::from(!sent.counted);
                success(prepared, sent, &Effect::default())?
            }
            // Somebody removed it at the target; whoever should have one gets it again, by match or create.
            Outcome::Missing => LinkUpdate {
                evaluated: 0,
                state: LinkState::Candidate,
                origin: Origin::None,
                target_key: None,
                written: Some(Vec::new()),
                ..unchanged(link)
            },
            // The match rule may find it now; if it did not the first time around, it never will.
            Outcome::Exists { .. } if prepared.compiled.matching.is_some() && link.attempts == 0 => {
                LinkUpdate { evaluated: 0, attempts: 1, ..unchanged(link) }
            }
            Outcome::Exists { key } => {
                report.parked += 1;
                let names = prepared.compiled.target.anchor.attributes.join(", ");
                let message = format!("an object with {names} {key} exists already and does not match");
                parked("exists", prepared.compiled.target.anchor.attributes.first().map(String::as_str), message)
            }
            Outcome::Changed { .. } => {
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
            Outcome::Rejected { rule, .. } if rule == UNIQUE && link.attempts == 0 => {
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
            Outcome::Accepted { .. } | Outcome::Unknown => {
                report.unknown += 1;
                return Ok(None);
            }
        };
        Ok(Some(update))
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
    let mut row = sent.result(&prepared.layout)?;
    for (name, value) in &effect.values {
        let position = prepared.compiled.target_attributes.iter().position(|attribute| attribute == name);
        if let Some(slot) = position.and_then(|position| row.0.get_mut(position)) {
            *slot = value.clone();
        }
    }
    let created = sent.kind == OperationKind::Create;
    let renamed = match &sent.operation.kind {
        muster_connector::Kind::Rename { to } => Some(to),
        _ => None,
    };
    let key = effect.key.as_ref().or(renamed).or(sent.operation.key.as_ref()).map(Key::encode);
    let off = Slot::One(Value::Boolean(false));
    let disabled = prepared.compiled.enabling.is_some_and(|position| *row.slot(position) == off);
    Ok(LinkUpdate {
        state: linked_state(disabled),
        origin: if created { Origin::Created } else { link.origin },
        target_key: key,
        fresh_key: created && prepared.compiled.anchor.is_none(),
        written: Some(pack_row(&prepared.layout.target, &row)),
        due_at: sent.due_at,
        ..unchanged(link)
    })
}
