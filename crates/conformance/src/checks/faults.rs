//! What is left when the connector dies between the effect and the answer.

use std::sync::PoisonError;

use chrono::TimeDelta;
use muster_connector::{Epoch, OperationId, Outcome, Resolution};
use muster_model::{Key, Once, Slot};
use uuid::Uuid;

use crate::bench::{Bench, Verdict, ensure, failed, is_success, skipped};
use crate::check::{Check, check};
use crate::subject::Fault;

pub(super) const CHECKS: &[Check] = &[
    check!(
        "faults.ledger_tells",
        Target,
        ledger_tells,
        "The id is stored in the same transaction as the effect: after a lost answer `outcomes` tells it, with the key.",
        "A person gets two accounts after a power cut."
    ),
    check!(
        "faults.ledger_never",
        Target,
        ledger_never,
        "Of an operation that was never sent the ledger says that it was never applied.",
        "A change that never arrived waits for ever."
    ),
    check!(
        "faults.ledger_kept",
        Target,
        ledger_kept,
        "A ledger keeps what was acknowledged for a while.",
        "A host restored from a backup cannot learn what it did."
    ),
    check!(
        "faults.ledger_epoch",
        Target,
        ledger_epoch,
        "A ledger refuses an older epoch than one it has seen.",
        "A host that was thought dead overwrites what its successor did."
    ),
    check!(
        "faults.natural_create",
        Target,
        natural_create,
        "After a lost answer a repeated create answers `exists` and there is one object.",
        "A person gets two accounts after a power cut."
    ),
    check!(
        "faults.repeat_update",
        Target,
        repeat_update,
        "After a lost answer a repeated update ends in the same state.",
        "A change is lost or done twice."
    ),
    check!(
        "faults.repeat_delete",
        Target,
        repeat_delete,
        "After a lost answer a repeated delete answers `missing`, and the object is gone.",
        "A leaver is deleted on paper only."
    ),
    check!(
        "faults.found_again",
        Target,
        found_again,
        "What a create made whose answer was lost is found by `find`.",
        "A person gets two accounts after a power cut."
    ),
    check!(
        "faults.cut_answer",
        Target,
        cut_answer,
        "An answer that is cut is an error or unknown, and never success of what is not there.",
        "Half an answer counts as a whole one."
    ),
    check!(
        "faults.given_up",
        Target,
        given_up,
        "A batch given up in the middle leaves each object whole or absent, and can be resolved.",
        "Half-written accounts that nobody repairs."
    ),
    check!(
        "faults.repeated_in_order",
        Target,
        repeated_in_order,
        "Changes repeated in their order end in the newest state.",
        "After a restart people end up with old values."
    ),
    check!(
        "faults.clock",
        Target,
        clock,
        "A clock that moves changes no answer.",
        "Changes vanish in the night when summer time ends."
    ),
];

fn told(known: &[(OperationId, Resolution)], id: OperationId) -> Option<&Resolution> {
    known.iter().find(|(other, _)| *other == id).map(|(_, resolution)| resolution)
}

async fn ledger_tells(bench: &Bench<'_>) -> Verdict {
    bench.level(Once::Ledger)?;
    let rows = (0..bench.target()?.max_batch.min(3)).map(|_| bench.new_row(&[])).collect::<Verdict<Vec<_>>>()?;
    let operations: Vec<_> = rows.iter().map(|row| bench.create_operation(row.clone())).collect();
    bench.lose_answer(operations.clone(), Fault::KillAfterEffect).await?;
    let ids: Vec<_> = operations.iter().map(|operation| operation.id).collect();
    let known = bench.outcomes(&ids).await?;
    for operation in &operations {
        let Some(Resolution::Known(Outcome::Applied(effect))) = told(&known, operation.id) else {
            return failed(format!("of a create that took effect the ledger tells {:?}", told(&known, operation.id)));
        };
        let Some(key) = effect.key.clone().or_else(|| operation.key.clone()) else {
            return failed("the ledger does not tell the key that the system assigned");
        };
        bench.will_clean(key.clone());
        ensure(bench.look(&key).await?.is_some(), || format!("the ledger tells of {key}, and nothing is there"))?;
    }
    let Ok((attribute, _, value)) = bench.changing() else { return Ok(()) };
    let (key, _) = bench.create(&[]).await?;
    let update = bench.update(&key, &[(&attribute.name, Slot::One(value.clone()))]);
    let id = update.id;
    bench.lose_answer(vec![update], Fault::KillAfterEffect).await?;
    let known = bench.outcomes(&[id]).await?;
    ensure(matches!(told(&known, id), Some(Resolution::Known(outcome)) if is_success(outcome)), || {
        format!("of an update that took effect the ledger tells {known:?}")
    })?;
    bench.expect(&key, &attribute.name, &Slot::One(value), "after the answer was lost").await
}

async fn ledger_never(bench: &Bench<'_>) -> Verdict {
    bench.level(Once::Ledger)?;
    // The first batch opens the ledger.
    bench.create(&[]).await?;
    let id = OperationId(Uuid::now_v7());
    let known = bench.outcomes(&[id]).await?;
    ensure(told(&known, id) == Some(&Resolution::NeverApplied), || {
        format!("of an operation that was never sent the ledger tells {known:?}")
    })
}

async fn ledger_kept(bench: &Bench<'_>) -> Verdict {
    bench.level(Once::Ledger)?;
    let operation = bench.create_operation(bench.new_row(&[])?);
    let id = operation.id;
    let outcome = bench.one(operation).await?;
    ensure(is_success(&outcome), || format!("the create is answered {outcome:?}"))?;
    let connector = bench.connector().await?;
    let Some(target) = connector.target() else { return failed("there is no target side") };
    let answer = target.acknowledge(&[id]).await;
    bench.note("acknowledge", &format!("{answer:?}"));
    answer.or_else(|error| failed(format!("`acknowledge` fails: {error}")))?;
    let known = bench.outcomes(&[id]).await?;
    ensure(matches!(told(&known, id), Some(Resolution::Known(outcome)) if is_success(outcome)), || {
        format!("right after it was acknowledged the ledger tells {known:?}")
    })
}

async fn ledger_epoch(bench: &Bench<'_>) -> Verdict {
    bench.level(Once::Ledger)?;
    let (attribute, first, second) = bench.changing()?;
    let set = |epoch: Epoch| *bench.epoch.lock().unwrap_or_else(PoisonError::into_inner) = epoch;
    let old = *bench.epoch.lock().unwrap_or_else(PoisonError::into_inner);
    let (key, _) = bench.create(&[]).await?;
    let new = Epoch { counter: old.counter + 1, ..old };
    set(new);
    let outcome = bench.one(bench.update(&key, &[(&attribute.name, Slot::One(first.clone()))])).await?;
    ensure(is_success(&outcome), || format!("an update of a newer epoch is answered {outcome:?}"))?;
    set(old);
    let batch = bench.batch(vec![bench.update(&key, &[(&attribute.name, Slot::One(second))])]);
    let answer = bench.raw(&batch).await?;
    set(new);
    let taken = answer.is_ok_and(|answered| answered.iter().any(|(_, outcome)| is_success(outcome)));
    ensure(!taken, || "an update of an older epoch is answered with success".to_owned())?;
    bench.expect(&key, &attribute.name, &Slot::One(first), "after an update of an older epoch").await
}

async fn natural_create(bench: &Bench<'_>) -> Verdict {
    bench.level(Once::Natural)?;
    let by = bench.match_by()?;
    let row = bench.new_row(&[])?;
    bench.lose_answer(vec![bench.create_operation(row.clone())], Fault::KillAfterEffect).await?;
    let outcome = bench.one(bench.create_operation(row.clone())).await?;
    let found = bench.find(&by, &[bench.tuple(&row, &by)]).await?;
    for found in found.iter().flatten() {
        bench.will_clean(found.key.clone());
    }
    let keys: Vec<&Key> = found.iter().flatten().map(|found| &found.key).collect();
    ensure(keys.len() == 1, || format!("after a repeated create there are {} objects", keys.len()))?;
    match &outcome {
        Outcome::Exists { key } => ensure(keys == [key], || format!("`exists` names {key} instead of {keys:?}")),
        other => failed(format!("a create repeated after a lost answer is answered {other:?}")),
    }
}

async fn repeat_update(bench: &Bench<'_>) -> Verdict {
    let (attribute, _, value) = bench.changing()?;
    let (key, _) = bench.create(&[]).await?;
    let values = [(attribute.name.as_str(), Slot::One(value.clone()))];
    bench.lose_answer(vec![bench.update(&key, &values)], Fault::KillAfterEffect).await?;
    bench.expect(&key, &attribute.name, &Slot::One(value.clone()), "after the answer was lost").await?;
    let outcome = bench.one(bench.update(&key, &values)).await?;
    ensure(is_success(&outcome), || format!("an update repeated after a lost answer is answered {outcome:?}"))?;
    bench.expect(&key, &attribute.name, &Slot::One(value), "after the repeated update").await
}

async fn repeat_delete(bench: &Bench<'_>) -> Verdict {
    bench.deletable()?;
    let (key, _) = bench.create(&[]).await?;
    bench.lose_answer(vec![bench.delete(&key)], Fault::KillAfterEffect).await?;
    let outcome = bench.one(bench.delete(&key)).await?;
    ensure(matches!(outcome, Outcome::Missing | Outcome::AlreadySo(_)), || {
        format!("a delete repeated after a lost answer is answered {outcome:?}")
    })?;
    ensure(bench.look(&key).await?.is_none(), || "the deleted object is still there".to_owned())
}

async fn found_again(bench: &Bench<'_>) -> Verdict {
    let by = bench.match_by()?;
    let row = bench.new_row(&[])?;
    bench.lose_answer(vec![bench.create_operation(row.clone())], Fault::KillAfterEffect).await?;
    let found = bench.find(&by, &[bench.tuple(&row, &by)]).await?;
    for found in found.iter().flatten() {
        bench.will_clean(found.key.clone());
    }
    let count = found.iter().flatten().count();
    ensure(count == 1, || format!("a create whose answer was lost is found {count} times"))
}

async fn cut_answer(bench: &Bench<'_>) -> Verdict {
    let (attribute, _, value) = bench.changing()?;
    let (key, _) = bench.create(&[]).await?;
    let update = bench.update(&key, &[(&attribute.name, Slot::One(value.clone()))]);
    if !bench.lose_answer(vec![update], Fault::CutAnswer).await? {
        return skipped("the subject cannot cut an answer");
    }
    bench.expect(&key, &attribute.name, &Slot::One(value), "after the answer was cut").await
}

async fn given_up(bench: &Bench<'_>) -> Verdict {
    let by = bench.match_by()?;
    let once = bench.target()?.once;
    let changing = bench.changing().ok().filter(|(attribute, ..)| attribute.creatable);
    let values: Vec<(&str, Slot)> =
        changing.iter().map(|(one, value, _)| (one.name.as_str(), Slot::One(value.clone()))).collect();
    for turns in 0..6 {
        let rows =
            (0..bench.target()?.max_batch.min(4)).map(|_| bench.new_row(&values)).collect::<Verdict<Vec<_>>>()?;
        let operations: Vec<_> = rows.iter().map(|row| bench.create_operation(row.clone())).collect();
        bench.cancel(operations.clone(), turns).await?;
        bench.kill().await;
        let ids: Vec<_> = operations.iter().map(|operation| operation.id).collect();
        let known = if once == Once::Ledger { bench.outcomes(&ids).await? } else { Vec::new() };
        let tuples: Vec<_> = rows.iter().map(|row| bench.tuple(row, &by)).collect();
        let found = bench.find(&by, &tuples).await?;
        for (operation, found) in operations.iter().zip(&found) {
            ensure(found.len() <= 1, || format!("a create that was given up made {} objects", found.len()))?;
            for found in found {
                bench.will_clean(found.key.clone());
                for (name, slot) in &values {
                    let read = bench.read(found, name);
                    ensure(read == slot, || {
                        format!("a create that was given up left {name} as {read:?} instead of {slot:?}")
                    })?;
                }
            }
            if once == Once::Ledger {
                let told = told(&known, operation.id);
                let says = match told {
                    Some(Resolution::Known(outcome)) => Some(is_success(outcome)),
                    Some(Resolution::NeverApplied) => Some(false),
                    // It may still be on its way; the host asks again.
                    Some(Resolution::Pending { .. }) => None,
                    other => return failed(format!("of a create that was given up the ledger tells {other:?}")),
                };
                ensure(says.is_none_or(|says| says != found.is_empty()), || {
                    format!("the ledger tells {told:?}, and there are {} objects", found.len())
                })?;
            }
        }
    }
    Ok(())
}

async fn repeated_in_order(bench: &Bench<'_>) -> Verdict {
    let (attribute, first, second) = bench.changing()?;
    let (key, _) = bench.create(&[]).await?;
    for _ in 0..2 {
        for value in [&first, &second] {
            bench
                .lose_answer(
                    vec![bench.update(&key, &[(&attribute.name, Slot::One(value.clone()))])],
                    Fault::KillAfterEffect,
                )
                .await?;
        }
    }
    bench.expect(&key, &attribute.name, &Slot::One(second), "after both changes were repeated in their order").await
}

async fn clock(bench: &Bench<'_>) -> Verdict {
    let (attribute, first, second) = bench.changing()?;
    let (key, _) = bench.create(&[]).await?;
    if !bench.subject.move_clock(TimeDelta::days(-400)).await {
        return skipped("the subject cannot move the connector's clock");
    }
    let back = bench.one(bench.update(&key, &[(&attribute.name, Slot::One(first.clone()))])).await?;
    let read = bench.expect(&key, &attribute.name, &Slot::One(first), "while the clock is behind").await;
    bench.subject.move_clock(TimeDelta::days(800)).await;
    let ahead = bench.one(bench.update(&key, &[(&attribute.name, Slot::One(second.clone()))])).await?;
    let later = bench.expect(&key, &attribute.name, &Slot::One(second), "while the clock is ahead").await;
    bench.subject.move_clock(TimeDelta::days(-400)).await;
    read?;
    later?;
    ensure(is_success(&back) && is_success(&ahead), || {
        format!("with a moved clock updates are answered {back:?} and {ahead:?}")
    })
}
