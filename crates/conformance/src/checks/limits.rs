//! What a connector may take of the host.

use futures::future::join_all;
use muster_connector::Error;
use muster_model::Slot;

use crate::bench::{Bench, Verdict, ensure, failed, is_success, skipped};
use crate::check::{Check, check};

pub(super) const CHECKS: &[Check] = &[
    check!(
        "limits.full_batch",
        Target,
        full_batch,
        "A batch of the declared size is taken.",
        "The first large run fails as a whole."
    ),
    check!(
        "limits.in_flight",
        Target,
        in_flight,
        "As many batches as declared may be on their way at the same time.",
        "Under load operations fail or are mixed up."
    ),
    check!(
        "limits.cancel",
        Target,
        cancel,
        "A call may be given up at any time; the connector stays usable.",
        "After one timeout nothing works until a restart."
    ),
    check!(
        "limits.pages",
        Target,
        pages,
        "A long list comes in pages.",
        "The host runs out of memory on the first large customer."
    ),
    check!(
        "limits.memory",
        Target,
        memory,
        "Memory does not grow with the number of objects.",
        "The connector is killed after a week."
    ),
];

/// Enough for a connector that keeps something, little enough for a slow system.
const MOST: u32 = 1_000;

async fn full_batch(bench: &Bench<'_>) -> Verdict {
    let count = bench.target()?.max_batch.min(MOST);
    let rows = (0..count).map(|_| bench.new_row(&[])).collect::<Verdict<Vec<_>>>()?;
    let keys = bench.create_all(rows).await?;
    ensure(keys.len() == count as usize, || format!("of {count} creates {} are answered", keys.len()))
}

async fn in_flight(bench: &Bench<'_>) -> Verdict {
    let (attribute, ..) = bench.changing()?;
    let rows =
        (0..bench.target()?.max_in_flight.clamp(1, 8)).map(|_| bench.new_row(&[])).collect::<Verdict<Vec<_>>>()?;
    let keys = bench.create_all(rows).await?;
    let values: Vec<_> = keys.iter().filter_map(|_| bench.value(attribute)).collect();
    let calls = keys
        .iter()
        .zip(&values)
        .map(|(key, value)| bench.one(bench.update(key, &[(&attribute.name, Slot::One(value.clone()))])));
    for outcome in join_all(calls).await {
        let outcome = outcome?;
        ensure(is_success(&outcome), || format!("of {} batches at a time one is answered {outcome:?}", keys.len()))?;
    }
    for (key, value) in keys.iter().zip(values) {
        bench.expect(key, &attribute.name, &Slot::One(value), "after batches at the same time").await?;
    }
    Ok(())
}

async fn cancel(bench: &Bench<'_>) -> Verdict {
    let (attribute, first, second) = bench.changing()?;
    let (key, _) = bench.create(&[]).await?;
    for turns in 0..4 {
        bench.cancel(vec![bench.update(&key, &[(&attribute.name, Slot::One(first.clone()))])], turns).await?;
        // The same connector: what it left behind must not be in the way.
        let outcome = bench.one(bench.update(&key, &[(&attribute.name, Slot::One(second.clone()))])).await?;
        ensure(is_success(&outcome), || format!("after a call was given up an update is answered {outcome:?}"))?;
        bench
            .expect(
                &key,
                &attribute.name,
                &Slot::One(second.clone()),
                "after a call was given up and another change followed",
            )
            .await?;
    }
    Ok(())
}

async fn fill(bench: &Bench<'_>) -> Verdict {
    let rows = (0..bench.options.many).map(|_| bench.new_row(&[])).collect::<Verdict<Vec<_>>>()?;
    bench.create_all(rows).await.map(drop)
}

/// Lists everything and answers how long the longest page was.
async fn listed(bench: &Bench<'_>) -> Verdict<usize> {
    let connector = bench.connector().await?;
    let Some(target) = connector.target() else { return failed("there is no target side") };
    let mut cursor = None;
    let mut longest = 0;
    loop {
        let page = match target.list(&bench.request(), cursor.as_ref()).await {
            Err(Error::Unsupported(_)) => return skipped("the connector does not list objects"),
            page => page.or_else(|error| failed(format!("`list` fails: {error}")))?,
        };
        bench.note("list", &format!("{} objects", page.objects.len()));
        longest = longest.max(page.objects.len());
        match page.next {
            Some(next) if Some(&next) == cursor.as_ref() => return failed("the same cursor comes again"),
            Some(next) => cursor = Some(next),
            None => return Ok(longest),
        }
    }
}

async fn pages(bench: &Bench<'_>) -> Verdict {
    bench.deletable()?;
    fill(bench).await?;
    let longest = listed(bench).await?;
    let most = bench.options.largest_page;
    ensure(longest <= most, || format!("a page has {longest} objects, more than {most}"))
}

async fn memory(bench: &Bench<'_>) -> Verdict {
    bench.deletable()?;
    bench.connector().await?;
    let Some(before) = bench.subject.memory() else {
        return skipped("the subject does not measure the connector's memory");
    };
    fill(bench).await?;
    for _ in 0..2 {
        match listed(bench).await {
            Ok(_) | Err(crate::bench::Stop::Skipped(_)) => {}
            Err(stop) => return Err(stop),
        }
    }
    let grown = bench.subject.memory().unwrap_or(before).saturating_sub(before);
    let most = bench.options.largest_growth;
    ensure(grown <= most, || {
        format!("over {} objects the connector grows by {grown} bytes, more than {most}", bench.options.many)
    })
}
