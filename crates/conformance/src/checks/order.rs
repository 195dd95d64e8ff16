//! What comes later counts.

use muster_connector::{Outcome, Resolution};
use muster_model::{AssignedBy, Once, Slot};

use crate::bench::{Bench, Verdict, ensure, failed, is_success, skipped};
use crate::check::{Check, check};

pub(super) const CHECKS: &[Check] = &[
    check!(
        "order.two_batches",
        Target,
        two_batches,
        "Of two changes of an object both arrive, the later one last.",
        "A person who moves twice in a day ends up in the first place."
    ),
    check!(
        "order.many",
        Target,
        many,
        "Changes of many objects keep each object's order.",
        "Under load people end up with old values."
    ),
    check!(
        "order.within_batch",
        Target,
        within_batch,
        "Operations of a batch take effect in their order.",
        "A login that one person gives up and another gets is refused."
    ),
    check!(
        "order.after_restart",
        Target,
        after_restart,
        "What was answered before the connector died stays, and what follows comes after it.",
        "A restart brings back old values."
    ),
];

async fn two_batches(bench: &Bench<'_>) -> Verdict {
    let (attribute, first, second) = bench.changing()?;
    let (key, _) = bench.create(&[]).await?;
    for value in [&first, &second] {
        let outcome = bench.one(bench.update(&key, &[(&attribute.name, Slot::One(value.clone()))])).await?;
        ensure(is_success(&outcome), || format!("the update is answered {outcome:?}"))?;
    }
    bench.expect(&key, &attribute.name, &Slot::One(second), "after two changes").await
}

async fn many(bench: &Bench<'_>) -> Verdict {
    let (attribute, ..) = bench.changing()?;
    let rows = (0..12).map(|_| bench.new_row(&[])).collect::<Verdict<Vec<_>>>()?;
    let keys = bench.create_all(rows).await?;
    let mut last = Vec::new();
    for _ in 0..3 {
        last = keys.iter().filter_map(|_| bench.value(attribute)).collect();
        let updates = keys
            .iter()
            .zip(&last)
            .map(|(key, value)| bench.update(key, &[(&attribute.name, Slot::One(value.clone()))]));
        let outcomes = bench.apply(updates.collect()).await?;
        ensure(outcomes.iter().all(is_success), || format!("updates are answered {outcomes:?}"))?;
    }
    for ((key, value), found) in keys.iter().zip(&last).zip(bench.get(&keys).await?) {
        let Some(found) = found else { return failed(format!("{key} is not there")) };
        let read = bench.read(&found, &attribute.name);
        ensure(*read == Slot::One(value.clone()), || {
            format!("after three rounds {} of {key} is {read:?} instead of {value:?}", attribute.name)
        })?;
    }
    Ok(())
}

async fn within_batch(bench: &Bench<'_>) -> Verdict {
    bench.deletable()?;
    if bench.target()?.max_batch < 2 {
        return skipped("a batch has one operation only");
    }
    let by = bench.match_by()?;
    if bench.object_type.anchor.assigned_by == AssignedBy::Creator {
        return skipped("operations of a batch are on distinct objects, and the creator chooses the anchor");
    }
    let (key, row) = bench.create(&[]).await?;
    let tuple = bench.tuple(&row, &by);
    let operations = vec![bench.delete(&key), bench.create_operation(row)];
    let batch = bench.batch(operations);
    let answered = bench.raw(&batch).await?.or_else(|error| failed(format!("`apply` fails: {error}")))?;
    ensure(answered.iter().all(|(_, outcome)| is_success(outcome)), || {
        format!("an object is deleted and another made with the same values, in one batch: {answered:?}")
    })?;
    let found = bench.find(&by, &[tuple]).await?;
    // A system may give the key of the one to the other.
    let new = found.iter().flatten().count();
    ensure(new == 1, || format!("of the new object there are {new}"))
}

async fn after_restart(bench: &Bench<'_>) -> Verdict {
    let (attribute, first, second) = bench.changing()?;
    let (key, _) = bench.create(&[]).await?;
    let early = bench.update(&key, &[(&attribute.name, Slot::One(first.clone()))]);
    let early_id = early.id;
    let outcome = bench.one(early).await?;
    ensure(is_success(&outcome), || format!("the update is answered {outcome:?}"))?;
    bench.kill().await;
    bench.expect(&key, &attribute.name, &Slot::One(first), "after a restart").await?;
    if bench.target()?.once == Once::Ledger {
        let known = bench.outcomes(&[early_id]).await?;
        let tells = matches!(known.as_slice(), [(id, Resolution::Known(Outcome::Applied(_) | Outcome::AlreadySo(_)))] if *id == early_id);
        ensure(tells, || format!("the ledger tells {known:?} of an update that took effect"))?;
    }
    let outcome = bench.one(bench.update(&key, &[(&attribute.name, Slot::One(second.clone()))])).await?;
    ensure(is_success(&outcome), || format!("the update is answered {outcome:?}"))?;
    bench.kill().await;
    bench.expect(&key, &attribute.name, &Slot::One(second), "after another restart").await
}
