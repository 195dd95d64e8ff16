//! Which object is which.

use muster_connector::{Kind, Outcome};
use muster_model::{AssignedBy, Key, Slot, Value, ValueType};

use crate::bench::{Bench, Verdict, ensure, failed, is_success, skipped};
use crate::check::{Check, check};

pub(super) const CHECKS: &[Check] = &[
    check!(
        "identity.create_twice",
        Target,
        create_twice,
        "A create of what is there answers `exists` with its key, or is rejected as not unique; there is one object.",
        "A person has two accounts."
    ),
    check!(
        "identity.never_overwrites",
        Target,
        never_overwrites,
        "A create never overwrites an object.",
        "A new employee takes over the account of another of the same name."
    ),
    check!(
        "identity.delete_twice",
        Target,
        delete_twice,
        "A delete of what is not there answers `missing`, or that it is so already.",
        "A leaver who is already gone is reported as an error for ever, or as deleted when nothing was."
    ),
    check!(
        "identity.update_missing",
        Target,
        update_missing,
        "An update of what is not there answers `missing` and makes nothing.",
        "Changes to accounts that somebody deleted are reported as done."
    ),
    check!(
        "identity.rename",
        Target,
        rename,
        "A rename keeps the object and gives it the new key.",
        "A person who marries loses the account and gets an empty one."
    ),
    check!(
        "identity.rename_taken",
        Target,
        rename_taken,
        "A rename onto another object's key changes neither.",
        "One account swallows another."
    ),
    check!(
        "identity.generated_key",
        Target,
        generated_key,
        "A key that the system assigns comes back with the create, each its own.",
        "The account can never be changed again, since nobody knows its key."
    ),
    check!(
        "identity.composite_key",
        Target,
        composite_key,
        "All parts of a key count.",
        "People of different sites with the same number share an account."
    ),
    check!(
        "identity.odd_keys",
        Target,
        odd_keys,
        "Keys may hold any characters of their type.",
        "O'Brien cannot be changed, or everybody is."
    ),
    check!(
        "identity.other_object",
        Target,
        other_object,
        "An object without the value that it is known by is left alone: `other_object`.",
        "A number given to a new employee carries over the rights of the old one."
    ),
];

async fn create_twice(bench: &Bench<'_>) -> Verdict {
    let by = bench.match_by()?;
    let (key, row) = bench.create(&[]).await?;
    let outcome = bench.one(bench.create_operation(row.clone())).await?;
    match &outcome {
        Outcome::Exists { key: told } => ensure(*told == key, || format!("`exists` names {told} instead of {key}"))?,
        Outcome::Rejected { rule, .. } if rule == "unique" => {}
        other => return failed(format!("a create of what is there is answered {other:?}")),
    }
    let found = bench.find(&by, &[bench.tuple(&row, &by)]).await?;
    let count = found.iter().flatten().count();
    ensure(count == 1, || format!("after a second create of the same there are {count} objects"))
}

async fn never_overwrites(bench: &Bench<'_>) -> Verdict {
    bench.match_by()?;
    let (attribute, first, second) = bench.changing()?;
    if !attribute.creatable {
        return skipped(format!("{} cannot be written by a create", attribute.name));
    }
    let (key, row) = bench.create(&[(&attribute.name, Slot::One(first.clone()))]).await?;
    let mut again = row;
    for (name, slot) in bench.layout.iter().zip(&mut again.0) {
        if *name == attribute.name {
            *slot = Slot::One(second.clone());
        }
    }
    bench.one(bench.create_operation(again)).await?;
    bench.expect(&key, &attribute.name, &Slot::One(first), "after a create with the same key").await
}

async fn delete_twice(bench: &Bench<'_>) -> Verdict {
    bench.deletable()?;
    let (key, _) = bench.create(&[]).await?;
    let outcome = bench.one(bench.delete(&key)).await?;
    ensure(is_success(&outcome), || format!("the delete is answered {outcome:?}"))?;
    let again = bench.one(bench.delete(&key)).await?;
    ensure(matches!(again, Outcome::Missing | Outcome::AlreadySo(_)), || {
        format!("the second delete is answered {again:?}")
    })
}

async fn update_missing(bench: &Bench<'_>) -> Verdict {
    bench.deletable()?;
    let (attribute, _, value) = bench.changing()?;
    let (key, _) = bench.create(&[]).await?;
    bench.one(bench.delete(&key)).await?;
    let outcome = bench.one(bench.update(&key, &[(&attribute.name, Slot::One(value))])).await?;
    ensure(outcome == Outcome::Missing, || format!("an update of what is not there is answered {outcome:?}"))?;
    let found = bench.look(&key).await?;
    ensure(found.is_none(), || "an update of what is not there makes an object".to_owned())
}

fn renamable(bench: &Bench<'_>) -> Verdict {
    if bench.readable()?.can_rename { Ok(()) } else { skipped("the schema says that the anchor cannot be changed") }
}

fn new_key(bench: &Bench<'_>) -> Verdict<Key> {
    let row = bench.new_row(&[])?;
    bench.key_of(&row).map_or_else(|| skipped("the system assigns the anchor"), Ok)
}

async fn rename(bench: &Bench<'_>) -> Verdict {
    renamable(bench)?;
    let changing = bench.changing().ok().filter(|(attribute, ..)| attribute.creatable);
    let values: Vec<(&str, Slot)> =
        changing.iter().map(|(one, value, _)| (one.name.as_str(), Slot::One(value.clone()))).collect();
    let (key, _) = bench.create(&values).await?;
    let to = new_key(bench)?;
    let operation = bench.operation(Kind::Rename { to: to.clone() }, Some(key.clone()), bench.row(&[]));
    let outcome = bench.one(operation).await?;
    ensure(is_success(&outcome), || format!("the rename is answered {outcome:?}"))?;
    let found = bench.get(&[key.clone(), to.clone()]).await?;
    ensure(matches!(found.first(), Some(None)), || format!("{key} is still there after its rename"))?;
    ensure(matches!(found.get(1), Some(Some(_))), || format!("{to} is not there after the rename"))?;
    for (name, slot) in values {
        bench.expect(&to, name, &slot, "after the rename").await?;
    }
    Ok(())
}

async fn rename_taken(bench: &Bench<'_>) -> Verdict {
    renamable(bench)?;
    let (first, _) = bench.create(&[]).await?;
    let (second, _) = bench.create(&[]).await?;
    let before = bench.get(&[first.clone(), second.clone()]).await?;
    let operation = bench.operation(Kind::Rename { to: second.clone() }, Some(first.clone()), bench.row(&[]));
    let answer = bench.raw(&bench.batch(vec![operation])).await?;
    let taken = answer.is_ok_and(|answered| answered.iter().any(|(_, outcome)| is_success(outcome)));
    ensure(!taken, || "a rename onto another object's key is answered with success".to_owned())?;
    let after = bench.get(&[first, second]).await?;
    ensure(before == after, || "a rename that was refused changes objects".to_owned())
}

async fn generated_key(bench: &Bench<'_>) -> Verdict {
    bench.readable()?;
    if bench.object_type.anchor.assigned_by == AssignedBy::Creator {
        return skipped("the creator chooses the anchor");
    }
    let rows = (0..4).map(|_| bench.new_row(&[])).collect::<Verdict<Vec<_>>>()?;
    let keys = bench.create_all(rows.clone()).await?;
    for (position, key) in keys.iter().enumerate() {
        ensure(!keys.iter().skip(position + 1).any(|other| other == key), || {
            format!("two new objects are told to have key {key}")
        })?;
        let Some(found) = bench.look(key).await? else {
            return failed(format!("a create tells the key {key}, and nothing is there"));
        };
        for name in bench.layout.iter() {
            let written = rows.get(position).map_or(&Slot::Unknown, |row| bench.slot(row, name));
            let readable = bench.attribute(name).is_some_and(|one| one.readable && !one.refers());
            if readable && matches!(written, Slot::One(_)) {
                let read = bench.read(&found, name);
                ensure(read == written, || {
                    format!("key {key} leads to another object: {name} is {read:?} instead of {written:?}")
                })?;
            }
        }
    }
    Ok(())
}

async fn composite_key(bench: &Bench<'_>) -> Verdict {
    bench.readable()?;
    let anchor = &bench.object_type.anchor;
    if anchor.attributes.len() < 2 || anchor.assigned_by == AssignedBy::System {
        return skipped("the anchor is a single attribute or assigned by the system");
    }
    let (key, row) = bench.create(&[]).await?;
    for name in &anchor.attributes {
        let others: Vec<(&str, Slot)> = anchor
            .attributes
            .iter()
            .filter(|other| *other != name)
            .map(|other| (other.as_str(), bench.slot(&row, other).clone()))
            .collect();
        let (twin, _) = bench.create(&others).await?;
        ensure(twin != key, || format!("objects that differ in {name} have the same key"))?;
        let found = bench.get(&[key.clone(), twin.clone()]).await?;
        let keys: Vec<Option<&Key>> = found.iter().map(|one| one.as_ref().map(|one| &one.key)).collect();
        ensure(keys == [Some(&key), Some(&twin)], || format!("`get` of {key} and {twin} answers {keys:?}"))?;
    }
    Ok(())
}

/// Another object whose key begins in the same way; none where the system refuses such keys.
async fn neighbour(bench: &Bench<'_>, name: &str, text: &str) -> Verdict<Option<Key>> {
    let operation = bench.create_operation(bench.new_row(&[(name, Slot::One(Value::text(text)))])?);
    let key = operation.key.clone();
    match bench.one(operation).await? {
        Outcome::Rejected { .. } => Ok(None),
        outcome if is_success(&outcome) => Ok(key),
        other => failed(format!("a create with the key {key:?} is answered {other:?}")),
    }
}

async fn odd_keys(bench: &Bench<'_>) -> Verdict {
    bench.deletable()?;
    let anchor = &bench.object_type.anchor;
    let text = anchor
        .attributes
        .iter()
        .filter_map(|name| bench.attribute(name))
        .find(|one| one.value_type == ValueType::Text && one.max_length.is_none_or(|most| most >= 10));
    let Some(attribute) = text.filter(|_| anchor.assigned_by == AssignedBy::Creator) else {
        return skipped("the anchor holds no text that a creator chooses");
    };
    for odd in ["O'Brien", "a\"b", "a\\b%_", "a/b?c#d", "a,b=c+d", "Åß漢", "a;b--"] {
        let number = bench.number() % 1_000;
        let slot = Slot::One(Value::text(&format!("{odd}{number}")));
        let row = bench.new_row(&[(&attribute.name, slot.clone())])?;
        let operation = bench.create_operation(row);
        let Some(key) = operation.key.clone() else { return skipped("no key can be made up") };
        let Some(bystander) = neighbour(bench, &attribute.name, &format!("{odd}{number}x")).await? else { continue };
        match bench.one(operation).await? {
            Outcome::Rejected { .. } => continue,
            outcome if is_success(&outcome) => {}
            other => return failed(format!("a create with the key {key} is answered {other:?}")),
        }
        let found = bench.look(&key).await?;
        ensure(found.is_some_and(|found| found.key == key), || format!("{key} was created and is not there"))?;
        let outcome = bench.one(bench.delete(&key)).await?;
        ensure(is_success(&outcome), || format!("the delete of {key} is answered {outcome:?}"))?;
        let left = bench.get(&[key.clone(), bystander]).await?;
        ensure(matches!(left.as_slice(), [None, Some(_)]), || format!("after the delete of {key} there are {left:?}"))?;
    }
    Ok(())
}

async fn other_object(bench: &Bench<'_>) -> Verdict {
    let (attribute, first, second) = bench.changing()?;
    let (key, row) = bench.create(&[(&attribute.name, Slot::One(first.clone()))]).await?;
    let known = bench.layout.iter().enumerate().find_map(|(position, name)| {
        let found = bench.attribute(name)?;
        let plain = found.readable && !found.refers() && !bench.is_key(name) && *name != attribute.name;
        bench.slot(&row, name).value().filter(|_| plain).map(|value| (position, found, value.clone()))
    });
    let Some((position, found, value)) = known else {
        return skipped("no other attribute of a new object can be read");
    };
    let Some(wrong) = bench.value(found).filter(|wrong| *wrong != value) else {
        return skipped("no other value can be made up");
    };
    let mut operation = bench.update(&key, &[(&attribute.name, Slot::One(second.clone()))]);
    operation.expected = Some((position, wrong));
    let outcome = bench.one(operation).await?;
    ensure(outcome == Outcome::OtherObject, || {
        format!("an update of an object known by another value is answered {outcome:?}")
    })?;
    bench.expect(&key, &attribute.name, &Slot::One(first), "after `other_object`").await?;
    let mut operation = bench.update(&key, &[(&attribute.name, Slot::One(second.clone()))]);
    operation.expected = Some((position, value));
    let outcome = bench.one(operation).await?;
    ensure(is_success(&outcome), || format!("an update of the very object is answered {outcome:?}"))?;
    bench.expect(&key, &attribute.name, &Slot::One(second), "after the update").await
}
