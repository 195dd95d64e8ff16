//! One truthful answer for each operation.

use std::collections::BTreeSet;

use muster_connector::{Error, Kind, OperationId, Outcome};
use muster_model::{Slot, Value, ValueType};
use uuid::Uuid;

use crate::bench::{Bench, Verdict, ensure, failed, is_success, skipped};
use crate::check::{Check, check};

pub(super) const CHECKS: &[Check] = &[
    check!(
        "outcomes.one_each",
        Target,
        one_each,
        "Each operation id is answered exactly once.",
        "Changes hang as unknown, or one is counted twice."
    ),
    check!(
        "outcomes.no_foreign",
        Target,
        no_foreign,
        "No id is answered that was not sent.",
        "An answer counts for another person's change."
    ),
    check!(
        "outcomes.right_id",
        Target,
        right_id,
        "The outcome belongs to the operation whose id it carries.",
        "A failed change counts as done, and a done one is repeated."
    ),
    check!(
        "outcomes.rejected_alone",
        Target,
        rejected_alone,
        "One bad operation does not spoil the others, or the batch is refused and nothing of it was applied.",
        "One wrong value stops everybody."
    ),
    check!(
        "outcomes.empty",
        Target,
        empty,
        "A batch without operations is answered without outcomes.",
        "The connector dies of an empty batch."
    ),
    check!(
        "outcomes.unsupported",
        Target,
        unsupported,
        "What the connector cannot do is answered `unsupported` or rejected, and nothing is done.",
        "A delete is reported that never happened."
    ),
    check!(
        "outcomes.asked_only",
        Target,
        asked_only,
        "`outcomes` answers the ids that were asked, and nothing is known of an id that was never sent.",
        "A lost change counts as done."
    ),
    check!(
        "outcomes.confirmed_only",
        Target,
        confirmed_only,
        "`confirm` answers the ids that were asked, and confirms nothing by a ticket that was never given.",
        "People count as provisioned whom the system never took."
    ),
];

async fn answered(bench: &Bench<'_>) -> Verdict<(Vec<OperationId>, Vec<OperationId>)> {
    let count = (bench.target()?.max_batch as usize).min(5);
    let rows = (0..count).map(|_| bench.new_row(&[])).collect::<Verdict<Vec<_>>>()?;
    let batch = bench.batch(rows.into_iter().map(|row| bench.create_operation(row)).collect());
    let answer = bench.raw(&batch).await?.or_else(|error| failed(format!("`apply` fails: {error}")))?;
    let ids = batch.operations.iter().map(|operation| operation.id).collect();
    Ok((ids, answer.into_iter().map(|(id, _)| id).collect()))
}

async fn one_each(bench: &Bench<'_>) -> Verdict {
    let (sent, told) = answered(bench).await?;
    for id in sent {
        let times = told.iter().filter(|other| **other == id).count();
        ensure(times == 1, || format!("operation {id} is answered {times} times"))?;
    }
    Ok(())
}

async fn no_foreign(bench: &Bench<'_>) -> Verdict {
    let (sent, told) = answered(bench).await?;
    let foreign = told.iter().find(|id| !sent.contains(id));
    ensure(foreign.is_none(), || format!("operation {foreign:?} is answered and was never sent"))
}

async fn right_id(bench: &Bench<'_>) -> Verdict {
    bench.deletable()?;
    if bench.target()?.max_batch < 2 {
        return skipped("a batch has one operation only");
    }
    let (attribute, first, second) = bench.changing()?;
    let (gone, _) = bench.create(&[]).await?;
    let (there, _) = bench.create(&[]).await?;
    bench.one(bench.delete(&gone)).await?;
    for flip in [false, true] {
        let mut operations = vec![
            bench.update(&gone, &[(&attribute.name, Slot::One(first.clone()))]),
            bench.update(&there, &[(&attribute.name, Slot::One(if flip { first.clone() } else { second.clone() }))]),
        ];
        if flip {
            operations.reverse();
        }
        let keys: Vec<_> = operations.iter().map(|operation| operation.key.clone()).collect();
        let outcomes = bench.apply(operations).await?;
        for (key, outcome) in keys.iter().zip(&outcomes) {
            let right = if key.as_ref() == Some(&gone) { *outcome == Outcome::Missing } else { is_success(outcome) };
            ensure(right, || {
                format!("of an object that is there and one that is not, {key:?} is answered {outcome:?}")
            })?;
        }
    }
    Ok(())
}

async fn rejected_alone(bench: &Bench<'_>) -> Verdict {
    bench.readable()?;
    let limited = bench.changeable().into_iter().find_map(|one| {
        let most = one.max_length.filter(|most| one.value_type == ValueType::Text && *most < 4_000)?;
        Some((one, most as usize))
    });
    let Some((attribute, most)) = limited else { return skipped("no text that can be changed has a limit below 4000") };
    if bench.target()?.max_batch < 3 {
        return skipped("a batch has fewer than three operations");
    }
    let rows = (0..3).map(|_| bench.new_row(&[])).collect::<Verdict<Vec<_>>>()?;
    let keys = bench.create_all(rows).await?;
    let good: Vec<Value> = keys.iter().filter_map(|_| bench.value(attribute)).collect();
    let bad = Value::text(&"z".repeat(most + 1));
    let before = bench.get(&keys).await?;
    let values = [good.first(), Some(&bad), good.get(2)];
    let slots: Vec<Slot> = values.into_iter().flatten().cloned().map(Slot::One).collect();
    let operations = keys.iter().zip(&slots).map(|(key, slot)| bench.update(key, &[(&attribute.name, slot.clone())]));
    let batch = bench.batch(operations.collect());
    let answer = bench.raw(&batch).await?;
    let after = bench.get(&keys).await?;
    let answered = match answer {
        Err(Error::Refused { .. }) => {
            return ensure(before == after, || "the batch was refused, and some of it was applied".to_owned());
        }
        answer => answer.or_else(|error| failed(format!("one bad operation fails the whole batch: {error}")))?,
    };
    for ((operation, slot), (was, is)) in batch.operations.iter().zip(&slots).zip(before.iter().zip(&after)) {
        let outcome = answered.iter().find(|(id, _)| *id == operation.id).map(|(_, outcome)| outcome);
        let (Some(outcome), Some(was), Some(is)) = (outcome, was, is) else {
            return failed("an object or an answer is missing");
        };
        if is_success(outcome) {
            let read = bench.read(is, &attribute.name);
            ensure(read == slot, || format!("answered {outcome:?}, and {} reads {read:?}", attribute.name))?;
        } else {
            ensure(was == is, || format!("answered {outcome:?}, and the object changed all the same"))?;
            ensure(*slot == Slot::One(bad.clone()), || {
                format!("a good operation is answered {outcome:?} beside a bad one")
            })?;
        }
    }
    Ok(())
}

async fn empty(bench: &Bench<'_>) -> Verdict {
    bench.target()?;
    let answer = bench.raw(&bench.batch(Vec::new())).await?;
    ensure(answer.as_ref().is_ok_and(Vec::is_empty), || format!("an empty batch is answered {answer:?}"))
}

async fn unsupported(bench: &Bench<'_>) -> Verdict {
    let target = bench.readable()?;
    if target.can_delete && target.can_rename {
        return skipped("the type can delete and rename");
    }
    let (key, _) = bench.create(&[]).await?;
    let before = bench.look(&key).await?;
    let mut operations = Vec::new();
    if !target.can_delete {
        operations.push(bench.delete(&key));
    }
    if !target.can_rename
        && let Some(to) = bench.key_of(&bench.new_row(&[])?)
    {
        operations.push(bench.operation(Kind::Rename { to }, Some(key.clone()), bench.row(&[])));
    }
    if operations.is_empty() {
        return skipped("the system assigns the anchor, and the type can delete");
    }
    for operation in operations {
        let kind = operation.kind.clone();
        let answer = bench.raw(&bench.batch(vec![operation])).await?;
        let done = answer.is_ok_and(|answered| answered.iter().any(|(_, outcome)| is_success(outcome)));
        ensure(!done, || format!("{kind:?} is answered with success, and the schema says that the type cannot"))?;
    }
    let after = bench.look(&key).await?;
    ensure(before == after, || "what the type cannot do changes the object".to_owned())
}

async fn confirmed_only(bench: &Bench<'_>) -> Verdict {
    bench.target()?;
    let connector = bench.connector().await?;
    let Some(target) = connector.target() else { return failed("there is no target side") };
    let made_up = |number: u64| (OperationId(Uuid::now_v7()), format!("no ticket of yours {number}"));
    let asked: Vec<(OperationId, String)> = (0..3).map(made_up).collect();
    let answer = target.confirm(&bench.object_type.name, &asked).await;
    bench.note("confirm of 3 tickets that were never given", &format!("{answer:?}"));
    // A ticket that is none may as well be refused.
    let told = answer.unwrap_or_default();
    let ids: BTreeSet<&OperationId> = told.iter().map(|(id, _)| id).collect();
    ensure(ids.len() == told.len() && ids.iter().all(|id| asked.iter().any(|(known, _)| known == *id)), || {
        format!("of {asked:?} `confirm` tells {told:?}")
    })?;
    let known = told.iter().find(
        |(_, resolution)| matches!(resolution, muster_connector::Resolution::Known(outcome) if is_success(outcome)),
    );
    ensure(known.is_none(), || format!("a ticket that was never given is confirmed: {known:?}"))
}

async fn asked_only(bench: &Bench<'_>) -> Verdict {
    bench.target()?;
    let asked: BTreeSet<OperationId> = (0..3).map(|_| OperationId(Uuid::now_v7())).collect();
    let ids: Vec<OperationId> = asked.iter().copied().collect();
    let told = bench.outcomes(&ids).await?;
    let told_ids: Vec<OperationId> = told.iter().map(|(id, _)| *id).collect();
    ensure(
        told_ids.iter().collect::<BTreeSet<_>>().len() == told_ids.len()
            && told_ids.iter().all(|id| asked.contains(id)),
        || format!("of {ids:?} `outcomes` tells {told_ids:?}"),
    )?;
    let known = told.iter().find(
        |(_, resolution)| matches!(resolution, muster_connector::Resolution::Known(outcome) if is_success(outcome)),
    );
    ensure(known.is_none(), || format!("an operation that was never sent has the outcome {known:?}"))
}
