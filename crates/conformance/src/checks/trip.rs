//! What is written is there, once, and goes again.

use muster_connector::Error;
use muster_model::{Key, Slot};

use crate::bench::{Bench, Verdict, ensure, failed, is_success, skipped};
use crate::check::{Check, check};

pub(super) const CHECKS: &[Check] = &[
    check!(
        "trip.create_get",
        Target,
        create_get,
        "`applied` means that it took effect: a new object reads as it was written.",
        "An account is reported as made, and its owner cannot sign in."
    ),
    check!(
        "trip.find",
        Target,
        find,
        "`find` answers all objects whose attributes equal the values.",
        "People get a second account, because the first is not found."
    ),
    check!(
        "trip.find_bulk",
        Target,
        find_bulk,
        "`find` and `get` answer in the order of what was asked, none where there is none.",
        "One person's account is taken for another's."
    ),
    check!(
        "trip.update_one_difference",
        Target,
        update_one_difference,
        "An update changes the known slots and nothing else.",
        "A change of a phone number blanks the department."
    ),
    check!(
        "trip.second_apply",
        Target,
        second_apply,
        "The same update again changes nothing.",
        "Every run writes everything, and other people's triggers fire for nothing."
    ),
    check!("trip.delete", Target, delete, "A deleted object is gone.", "People who left keep their access."),
    check!(
        "trip.list",
        Target,
        list,
        "`list` answers every object exactly once.",
        "The report of accounts that belong to nobody has holes."
    ),
    check!(
        "trip.preview",
        Target,
        preview,
        "`preview` tells each operation and changes nothing.",
        "Looking at a plan would carry it out."
    ),
];

async fn create_get(bench: &Bench<'_>) -> Verdict {
    bench.readable()?;
    let mut values = Vec::new();
    for attribute in bench.changeable().into_iter().filter(|one| one.creatable) {
        values.extend(bench.value(attribute).map(|value| (attribute.name.as_str(), Slot::One(value))));
    }
    let (key, row) = bench.create(&values).await?;
    let Some(found) = bench.look(&key).await? else { return failed(format!("{key} was created and is not there")) };
    ensure(found.key == key, || format!("`get` of {key} answers {}", found.key))?;
    for name in bench.layout.iter() {
        let (written, read) = (bench.slot(&row, name), bench.read(&found, name));
        let comparable = bench.attribute(name).is_some_and(|one| one.readable && !one.is_reference());
        if comparable && matches!(written, Slot::One(_)) {
            ensure(written == read, || format!("{name} of the new object reads {read:?} instead of {written:?}"))?;
        }
    }
    Ok(())
}

async fn find(bench: &Bench<'_>) -> Verdict {
    let by = bench.match_by()?;
    let (key, row) = bench.create(&[]).await?;
    let found = bench.find(&by, &[bench.tuple(&row, &by)]).await?;
    let keys: Vec<&Key> = found.iter().flatten().map(|one| &one.key).collect();
    ensure(keys == [&key], || format!("{key} was created, and `find` by {by:?} answers {keys:?}"))
}

async fn find_bulk(bench: &Bench<'_>) -> Verdict {
    let by = bench.match_by()?;
    let (first, first_row) = bench.create(&[]).await?;
    let (second, second_row) = bench.create(&[]).await?;
    let nobody = bench.tuple(&bench.new_row(&[])?, &by);
    let asked = [bench.tuple(&second_row, &by), nobody, bench.tuple(&first_row, &by)];
    let found = bench.find(&by, &asked).await?;
    let keys: Vec<Vec<&Key>> = found.iter().map(|some| some.iter().map(|one| &one.key).collect()).collect();
    ensure(keys == [vec![&second], vec![], vec![&first]], || format!("`find` answers {keys:?}"))?;
    let found = bench.get(&[second.clone(), first.clone(), second.clone()]).await?;
    let keys: Vec<Option<&Key>> = found.iter().map(|one| one.as_ref().map(|one| &one.key)).collect();
    ensure(keys == [Some(&second), Some(&first), Some(&second)], || format!("`get` answers {keys:?}"))
}

async fn update_one_difference(bench: &Bench<'_>) -> Verdict {
    let (attribute, first, second) = bench.changing()?;
    let mut values = Vec::new();
    for other in bench.changeable().into_iter().filter(|one| one.creatable && one.name != attribute.name) {
        values.extend(bench.value(other).map(|value| (other.name.as_str(), Slot::One(value))));
    }
    values.push((attribute.name.as_str(), Slot::One(first)));
    let (key, _) = bench.create(&values).await?;
    let (bystander, _) = bench.create(&values).await?;
    let before = bench.get(&[key.clone(), bystander.clone()]).await?;
    let outcome = bench.one(bench.update(&key, &[(&attribute.name, Slot::One(second.clone()))])).await?;
    ensure(is_success(&outcome), || format!("the update is answered {outcome:?}"))?;
    bench.expect(&key, &attribute.name, &Slot::One(second), "after the update").await?;
    let after = bench.get(&[key, bystander]).await?;
    let (Some(Some(was)), Some(Some(is))) = (before.first(), after.first()) else {
        return failed("the object is gone");
    };
    for other in bench.changeable().into_iter().filter(|other| other.name != attribute.name) {
        let (was, is) = (bench.read(was, &other.name), bench.read(is, &other.name));
        ensure(was == is, || {
            format!("the update of {} changes {} from {was:?} to {is:?}", attribute.name, other.name)
        })?;
    }
    ensure(before.get(1) == after.get(1), || "the update changes another object".to_owned())
}

async fn second_apply(bench: &Bench<'_>) -> Verdict {
    let (attribute, first, second) = bench.changing()?;
    let (key, _) = bench.create(&[(&attribute.name, Slot::One(first))]).await?;
    let values = [(attribute.name.as_str(), Slot::One(second))];
    let outcome = bench.one(bench.update(&key, &values)).await?;
    ensure(is_success(&outcome), || format!("the update is answered {outcome:?}"))?;
    let before = bench.look(&key).await?;
    let outcome = bench.one(bench.update(&key, &values)).await?;
    ensure(is_success(&outcome), || format!("the same update again is answered {outcome:?}"))?;
    let after = bench.look(&key).await?;
    let same = before.as_ref().map(|one| (&one.key, &one.row)) == after.as_ref().map(|one| (&one.key, &one.row));
    ensure(same, || format!("the same update again changes {before:?} to {after:?}"))
}

async fn delete(bench: &Bench<'_>) -> Verdict {
    bench.deletable()?;
    let (key, _) = bench.create(&[]).await?;
    let (other, _) = bench.create(&[]).await?;
    let outcome = bench.one(bench.delete(&key)).await?;
    ensure(is_success(&outcome), || format!("the delete is answered {outcome:?}"))?;
    let left = bench.get(&[key, other]).await?;
    ensure(matches!(left.first(), Some(None)), || "the deleted object is still there".to_owned())?;
    ensure(matches!(left.get(1), Some(Some(_))), || "another object was deleted as well".to_owned())
}

async fn list(bench: &Bench<'_>) -> Verdict {
    bench.readable()?;
    let mut made = Vec::new();
    for _ in 0..7 {
        made.push(bench.create(&[]).await?.0);
    }
    let connector = bench.connector().await?;
    let Some(target) = connector.target() else { return failed("there is no target side") };
    let mut listed = Vec::new();
    let mut cursor = None;
    loop {
        let page = target.list(&bench.request(), cursor.as_ref()).await;
        bench.note("list", &format!("{page:?}"));
        let page = match page {
            Err(Error::Unsupported(_)) if listed.is_empty() => return skipped("the connector does not list objects"),
            page => page.or_else(|error| failed(format!("`list` fails: {error}")))?,
        };
        listed.extend(page.objects.into_iter().map(|one| one.key));
        ensure(page.next.is_none() || page.next != cursor, || "the same cursor comes again".to_owned())?;
        match page.next {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    for key in &made {
        let times = listed.iter().filter(|listed| *listed == key).count();
        ensure(times == 1, || format!("{key} is listed {times} times"))?;
    }
    Ok(())
}

async fn preview(bench: &Bench<'_>) -> Verdict {
    let by = bench.match_by()?;
    let row = bench.new_row(&[])?;
    let tuple = bench.tuple(&row, &by);
    let batch = bench.batch(vec![bench.create_operation(row)]);
    let connector = bench.connector().await?;
    let Some(target) = connector.target() else { return failed("there is no target side") };
    let told = target.preview(&batch).await;
    bench.note("preview of a create", &format!("{told:?}"));
    let told = told.or_else(|error| failed(format!("`preview` fails: {error}")))?;
    ensure(!told.is_empty() && told.iter().all(|text| !text.trim().is_empty()), || {
        "`preview` tells nothing".to_owned()
    })?;
    let found = bench.find(&by, &[tuple]).await?;
    ensure(found.iter().all(Vec::is_empty), || "`preview` of a create makes the object".to_owned())?;
    Ok(())
}
