//! Values arrive as they were sent.

use muster_connector::{Outcome, ValueDelta};
use muster_model::{Attribute, CaseRule, Multiplicity, Slot, Value, ValueType};

use crate::bench::{Bench, Verdict, ensure, failed, is_success, skipped};
use crate::check::{Check, check};
use crate::sample;

pub(super) const CHECKS: &[Check] = &[
    check!(
        "values.unicode",
        Target,
        unicode,
        "Text arrives as the characters that were sent.",
        "Names outside English are damaged."
    ),
    check!(
        "values.injection",
        Target,
        injection,
        "No value is part of a statement, filter or format.",
        "A value from a web form runs as a command in the target."
    ),
    check!("values.case", Target, case, "Text keeps its case.", "Names are written in capitals over and over."),
    check!(
        "values.space",
        Target,
        space,
        "Text keeps its spaces and line ends.",
        "Each run finds a difference and writes it again."
    ),
    check!(
        "values.length",
        Target,
        length,
        "A text of the declared length is taken whole.",
        "Names are cut off without a word."
    ),
    check!(
        "values.too_long",
        Target,
        too_long,
        "What is too long is rejected, not cut.",
        "Names are cut off without a word."
    ),
    check!(
        "values.number",
        Target,
        number,
        "Numbers, truths and identifiers arrive exactly.",
        "Large personnel numbers lose their last digits."
    ),
    check!("values.time", Target, time, "Days and instants are the same in any zone.", "Contracts end a day early."),
    check!("values.binary", Target, binary, "Bytes arrive as they were sent.", "Photos and certificates are damaged."),
    check!(
        "values.null_clears",
        Target,
        null_clears,
        "Null clears the value.",
        "A phone number that was withdrawn stays in the directory."
    ),
    check!(
        "values.required",
        Target,
        required,
        "A create without a required attribute is refused.",
        "Half an account is made."
    ),
    check!(
        "values.set_delta",
        Target,
        set_delta,
        "Deltas add and remove single values and leave the others.",
        "Somebody else's group memberships vanish."
    ),
    check!(
        "values.set_repeat",
        Target,
        set_repeat,
        "Adding a value that is there and removing one that is not are no errors.",
        "A repeated change fails for ever."
    ),
    check!(
        "values.enabling",
        Target,
        enabling,
        "Disabling and enabling read back as false and true.",
        "People who left can still sign in."
    ),
];

/// Writes each delicate value of the group to each attribute that takes its type.
async fn kept(bench: &Bench<'_>, group: &str) -> Verdict {
    bench.readable()?;
    let mut tried = 0;
    let mut taken = 0;
    for attribute in bench.changeable() {
        if bench.options.samples.contains_key(&format!("{}.{}", bench.object_type.name, attribute.name)) {
            continue;
        }
        let mut values = sample::delicate(attribute);
        values.retain(|(of, _)| *of == group);
        if values.is_empty() {
            continue;
        }
        let (key, _) = bench.create(&[]).await?;
        for (_, value) in values {
            tried += 1;
            let slot = Slot::One(value);
            match bench.one(bench.update(&key, &[(&attribute.name, slot.clone())])).await? {
                // A system may refuse a value, as long as it says so.
                Outcome::Rejected { .. } => continue,
                Outcome::Applied(_) | Outcome::AlreadySo(_) => taken += 1,
                other => return failed(format!("writing {slot:?} to {} is answered {other:?}", attribute.name)),
            }
            bench.expect(&key, &attribute.name, &slot, "after a write that was answered with success").await?;
        }
    }
    if tried == 0 {
        return skipped("no attribute that can be changed and read back has such values");
    }
    ensure(taken > 0, || format!("none of {tried} values is taken"))
}

async fn unicode(bench: &Bench<'_>) -> Verdict {
    kept(bench, "unicode").await
}

async fn injection(bench: &Bench<'_>) -> Verdict {
    kept(bench, "injection").await?;
    // Only the very object is found by such a value.
    let by = bench.match_by()?;
    let [name] = by.as_slice() else { return Ok(()) };
    let Some(attribute) = bench.attribute(name).filter(|one| one.value_type == ValueType::Text) else { return Ok(()) };
    bench.create(&[]).await?;
    for (_, value) in sample::delicate(attribute).into_iter().filter(|(group, _)| *group == "injection") {
        let found = bench.find(&by, &[vec![value.clone()]]).await?;
        ensure(found.iter().all(Vec::is_empty), || {
            format!("`find` of {value:?} finds objects that have another value")
        })?;
    }
    Ok(())
}

async fn case(bench: &Bench<'_>) -> Verdict {
    kept(bench, "case").await?;
    // And the declared rule is the one by which values are found.
    let Ok(by) = bench.match_by() else { return Ok(()) };
    let [name] = by.as_slice() else { return Ok(()) };
    let Some(attribute) = bench.attribute(name).filter(|one| one.value_type == ValueType::Text) else { return Ok(()) };
    let (_, row) = bench.create(&[]).await?;
    let tuple = bench.tuple(&row, &by);
    let upper: Vec<Value> =
        tuple.iter().filter_map(Value::as_text).map(|text| Value::text(&text.to_uppercase())).collect();
    if upper == tuple || upper.is_empty() {
        return Ok(());
    }
    let found = bench.find(&by, &[upper]).await?;
    let is_found = found.iter().any(|some| !some.is_empty());
    ensure(is_found == (attribute.case == CaseRule::Insensitive), || {
        format!(
            "the schema calls {name} {:?}, and another case of its value finds {}",
            attribute.case,
            if is_found { "it" } else { "nothing" }
        )
    })
}

async fn space(bench: &Bench<'_>) -> Verdict {
    kept(bench, "space").await
}

async fn length(bench: &Bench<'_>) -> Verdict {
    kept(bench, "length").await
}

async fn number(bench: &Bench<'_>) -> Verdict {
    kept(bench, "number").await
}

async fn time(bench: &Bench<'_>) -> Verdict {
    kept(bench, "time").await
}

async fn binary(bench: &Bench<'_>) -> Verdict {
    kept(bench, "binary").await
}

async fn too_long(bench: &Bench<'_>) -> Verdict {
    bench.readable()?;
    let limited = bench.changeable().into_iter().find_map(|one| {
        let most = one.max_length.filter(|most| one.value_type == ValueType::Text && *most < 4_000)?;
        Some((one, most as usize))
    });
    let Some((attribute, most)) = limited else { return skipped("no text that can be changed has a limit below 4000") };
    let (key, _) = bench.create(&[]).await?;
    let before = bench.look(&key).await?;
    let slot = Slot::One(Value::text(&"y".repeat(most + 1)));
    let batch = bench.batch(vec![bench.update(&key, &[(&attribute.name, slot.clone())])]);
    // One alone is rejected, or refused with its batch.
    let taken = bench.raw(&batch).await?.ok().and_then(|mut answered| answered.pop());
    if taken.is_some_and(|(_, outcome)| is_success(&outcome)) {
        // A limit may be below the truth; what is taken must be whole.
        return bench.expect(&key, &attribute.name, &slot, "after too long a text was answered with success").await;
    }
    let after = bench.look(&key).await?;
    ensure(before.map(|one| one.row) == after.map(|one| one.row), || "a rejected update changes the object".to_owned())
}

async fn null_clears(bench: &Bench<'_>) -> Verdict {
    bench.readable()?;
    let mut cleared = 0;
    let mut refused = Vec::new();
    for attribute in bench.changeable().into_iter().filter(|one| !one.required) {
        let Some(value) = bench.value(attribute) else { continue };
        let (key, _) = bench.create(&[]).await?;
        let outcome = bench.one(bench.update(&key, &[(&attribute.name, Slot::One(value))])).await?;
        ensure(is_success(&outcome), || format!("writing {} is answered {outcome:?}", attribute.name))?;
        match bench.one(bench.update(&key, &[(&attribute.name, Slot::Null)])).await? {
            Outcome::Rejected { rule, .. } => refused.push(format!("{}: {rule}", attribute.name)),
            outcome if is_success(&outcome) => {
                cleared += 1;
                bench.expect(&key, &attribute.name, &Slot::Null, "after null was written").await?;
            }
            other => return failed(format!("writing null to {} is answered {other:?}", attribute.name)),
        }
    }
    if cleared == 0 && refused.is_empty() {
        return skipped("every attribute that can be changed and read back is required");
    }
    ensure(cleared > 0, || format!("no optional attribute takes null: {refused:?}"))
}

async fn required(bench: &Bench<'_>) -> Verdict {
    let by = bench.match_by()?;
    let needed = bench.object_type.attributes.iter().find(|one| {
        one.required
            && one.creatable
            && one.unsupported.is_none()
            && !bench.is_key(&one.name)
            && !by.contains(&one.name)
    });
    let Some(attribute) = needed else { return skipped("no attribute besides those that identify is required") };
    let mut row = bench.new_row(&[])?;
    for (name, slot) in bench.layout.iter().zip(&mut row.0) {
        if *name == attribute.name {
            *slot = Slot::Unknown;
        }
    }
    let tuple = bench.tuple(&row, &by);
    let batch = bench.batch(vec![bench.create_operation(row)]);
    let taken = bench.raw(&batch).await?.is_ok_and(|answered| answered.iter().any(|(_, outcome)| is_success(outcome)));
    ensure(!taken, || format!("a create without {}, which is required, is answered with success", attribute.name))?;
    let found = bench.find(&by, &[tuple]).await?;
    ensure(found.iter().all(Vec::is_empty), || "a refused create makes the object".to_owned())
}

fn set<'a>(bench: &Bench<'a>) -> Verdict<&'a Attribute> {
    bench.readable()?;
    let is_set = |one: &&Attribute| {
        one.multiplicity == Multiplicity::Set && one.updatable && one.unsupported.is_none() && !one.refers()
    };
    bench
        .object_type
        .attributes
        .iter()
        .find(is_set)
        .map_or_else(|| skipped("the type has no attribute with several values"), Ok)
}

async fn change_set(
    bench: &Bench<'_>,
    key: &muster_model::Key,
    name: &str,
    add: &[Value],
    remove: &[Value],
) -> Verdict {
    let attribute = bench.layout.iter().position(|other| other == name).unwrap_or(usize::MAX);
    let mut operation = bench.update(key, &[]);
    operation.deltas = vec![ValueDelta { attribute, add: add.to_vec(), remove: remove.to_vec() }];
    let outcome = bench.one(operation).await?;
    ensure(is_success(&outcome), || {
        format!("adding {add:?} to and removing {remove:?} from {name} is answered {outcome:?}")
    })
}

async fn has(bench: &Bench<'_>, key: &muster_model::Key, name: &str, all: &[Value], wanted: &[bool]) -> Verdict {
    let connector = bench.connector().await?;
    let Some(target) = connector.target() else { return failed("there is no target side") };
    let pairs: Vec<_> = all.iter().map(|value| (key.clone(), value.clone())).collect();
    let held = match target.holds(&bench.request(), name, &pairs).await {
        Ok(held) => held,
        Err(muster_connector::Error::Unsupported(_)) => {
            let Some(found) = bench.look(key).await? else { return failed("the object is gone") };
            let values = match bench.read(&found, name) {
                Slot::Many(values) => values.clone(),
                Slot::One(value) => vec![value.clone()],
                _ => Vec::new(),
            };
            all.iter().map(|value| values.contains(value)).collect()
        }
        Err(error) => return failed(format!("`holds` fails: {error}")),
    };
    bench.note(&format!("holds {name} {all:?}"), &format!("{held:?}"));
    ensure(held == wanted, || format!("of {all:?} {name} holds {held:?} instead of {wanted:?}"))
}

async fn set_delta(bench: &Bench<'_>) -> Verdict {
    let name = &set(bench)?.name;
    let attribute = set(bench)?;
    let values: Vec<Value> = (0..4).filter_map(|_| bench.value(attribute)).collect();
    let (key, _) = bench.create(&[]).await?;
    change_set(bench, &key, name, values.get(..3).unwrap_or_default(), &[]).await?;
    has(bench, &key, name, &values, &[true, true, true, false]).await?;
    change_set(bench, &key, name, values.get(3..).unwrap_or_default(), values.get(..1).unwrap_or_default()).await?;
    has(bench, &key, name, &values, &[false, true, true, true]).await
}

async fn set_repeat(bench: &Bench<'_>) -> Verdict {
    let attribute = set(bench)?;
    let values: Vec<Value> = (0..2).filter_map(|_| bench.value(attribute)).collect();
    let [first, second] = values.as_slice() else { return skipped("no values can be made up") };
    let (key, _) = bench.create(&[]).await?;
    for _ in 0..2 {
        change_set(bench, &key, &attribute.name, std::slice::from_ref(first), std::slice::from_ref(second)).await?;
    }
    has(bench, &key, &attribute.name, &values, &[true, false]).await
}

async fn enabling(bench: &Bench<'_>) -> Verdict {
    bench.readable()?;
    let Some(enabling) = &bench.object_type.enabling else { return skipped("the type cannot be enabled and disabled") };
    let (key, _) = bench.create(&[]).await?;
    for enabled in [false, true, false] {
        let slot = Slot::One(Value::Boolean(enabled));
        let mut operation = bench.update(&key, &[(&enabling.attribute, slot.clone())]);
        operation.enabling = Some(enabled);
        let outcome = bench.one(operation).await?;
        ensure(is_success(&outcome), || format!("enabling = {enabled} is answered {outcome:?}"))?;
        bench.expect(&key, &enabling.attribute, &slot, "after enabling or disabling").await?;
    }
    Ok(())
}
