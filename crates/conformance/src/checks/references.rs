//! References between objects of one type.

use muster_connector::{Error, Outcome, ValueDelta};
use muster_model::value::Reference;
use muster_model::{Attribute, Key, Multiplicity, Slot, Value, ValueType};

use crate::bench::{Bench, Verdict, ensure, failed, is_success, skipped};
use crate::check::{Check, check};

pub(super) const CHECKS: &[Check] = &[
    check!(
        "references.set",
        Target,
        set,
        "A reference to an object that is there is taken and held.",
        "Nobody has a manager, and groups have no members."
    ),
    check!(
        "references.cycle",
        Target,
        cycle,
        "Objects may refer to each other and to themselves.",
        "Two managers who stand in for each other keep the sync from ending."
    ),
    check!(
        "references.missing",
        Target,
        missing,
        "A reference to what is not there waits for it or is rejected, and nothing is written.",
        "A manager who does not exist, or the one who gets that number next."
    ),
    check!(
        "references.removed",
        Target,
        removed,
        "A reference that is taken away is gone, and the others stay.",
        "People keep the rights of groups that they have left."
    ),
];

struct Tie<'a> {
    attribute: &'a Attribute,
    position: usize,
}

fn tie<'a>(bench: &Bench<'a>) -> Verdict<Tie<'a>> {
    bench.readable()?;
    let own = |one: &&Attribute| {
        one.references.contains(&bench.object_type.name)
            && one.updatable
            && one.unsupported.is_none()
            && !bench.is_key(&one.name)
    };
    let Some(attribute) = bench.object_type.attributes.iter().find(own) else {
        return skipped("the type has no reference to its own type that can be changed");
    };
    let position = bench.layout.iter().position(|name| *name == attribute.name).unwrap_or(usize::MAX);
    Ok(Tie { attribute, position })
}

impl Tie<'_> {
    fn value(&self, bench: &Bench<'_>, key: &Key) -> Verdict<Value> {
        if self.attribute.value_type == ValueType::Reference {
            let object_type = Some(bench.object_type.name.as_str().into());
            return Ok(Value::Reference(Box::new(Reference { object_type, key: key.clone() })));
        }
        match key.0.as_slice() {
            [one] if one.value_type() == self.attribute.value_type => Ok(one.clone()),
            _ => skipped("the reference's value is not the anchor of its type"),
        }
    }

    async fn change(&self, bench: &Bench<'_>, key: &Key, to: &Key, there: bool) -> Verdict<Result<Outcome, Error>> {
        let value = self.value(bench, to)?;
        let mut operation = bench.update(key, &[]);
        if self.attribute.multiplicity == Multiplicity::Single {
            let slot = if there { Slot::One(value) } else { Slot::Null };
            operation = bench.update(key, &[(&self.attribute.name, slot)]);
        } else {
            let (add, remove) = if there { (vec![value], vec![]) } else { (vec![], vec![value]) };
            operation.deltas = vec![ValueDelta { attribute: self.position, add, remove }];
        }
        let answer = bench.raw(&bench.batch(vec![operation])).await?;
        Ok(answer.map(|mut answered| answered.pop().map_or(Outcome::Unknown, |(_, outcome)| outcome)))
    }

    async fn must(&self, bench: &Bench<'_>, key: &Key, to: &Key, there: bool) -> Verdict {
        let answer = self.change(bench, key, to, there).await?;
        ensure(answer.as_ref().is_ok_and(is_success), || {
            format!("changing the reference {} is answered {answer:?}", self.attribute.name)
        })
    }

    async fn holds(&self, bench: &Bench<'_>, key: &Key, to: &Key) -> Verdict<bool> {
        let value = self.value(bench, to)?;
        let connector = bench.connector().await?;
        let Some(target) = connector.target() else { return failed("there is no target side") };
        let answer = target.holds(&bench.request(), &self.attribute.name, &[(key.clone(), value.clone())]).await;
        bench.note(&format!("holds {} {key} {value:?}", self.attribute.name), &format!("{answer:?}"));
        match answer {
            Ok(held) => Ok(held == [true]),
            Err(Error::Unsupported(_)) => {
                let Some(found) = bench.look(key).await? else { return failed("the object is gone") };
                match bench.read(&found, &self.attribute.name) {
                    Slot::One(read) => Ok(*read == value),
                    Slot::Many(all) => Ok(all.contains(&value)),
                    Slot::Null => Ok(false),
                    Slot::Unknown => skipped("the reference can neither be asked for nor read back"),
                }
            }
            Err(error) => failed(format!("`holds` fails: {error}")),
        }
    }
}

async fn set(bench: &Bench<'_>) -> Verdict {
    let tie = tie(bench)?;
    let (key, _) = bench.create(&[]).await?;
    let (to, _) = bench.create(&[]).await?;
    tie.must(bench, &key, &to, true).await?;
    ensure(tie.holds(bench, &key, &to).await?, || {
        format!("{key} does not refer to {to} after that was answered with success")
    })
}

async fn cycle(bench: &Bench<'_>) -> Verdict {
    let tie = tie(bench)?;
    let (first, _) = bench.create(&[]).await?;
    let (second, _) = bench.create(&[]).await?;
    for (from, to) in [(&first, &second), (&second, &first)] {
        tie.must(bench, from, to, true).await?;
    }
    for (from, to) in [(&first, &second), (&second, &first)] {
        ensure(tie.holds(bench, from, to).await?, || format!("{from} does not refer to {to}"))?;
    }
    // So that both can be deleted again.
    for (from, to) in [(&first, &second), (&second, &first)] {
        tie.must(bench, from, to, false).await?;
    }
    Ok(())
}

async fn missing(bench: &Bench<'_>) -> Verdict {
    let tie = tie(bench)?;
    bench.deletable()?;
    let (key, _) = bench.create(&[]).await?;
    let (gone, _) = bench.create(&[]).await?;
    bench.one(bench.delete(&gone)).await?;
    let before = bench.look(&key).await?;
    match tie.change(bench, &key, &gone, true).await? {
        Ok(Outcome::WaitsFor { .. } | Outcome::Rejected { .. } | Outcome::Retry { .. })
        | Err(Error::Refused { .. }) => {}
        other => return failed(format!("a reference to what is not there is answered {other:?}")),
    }
    let after = bench.look(&key).await?;
    ensure(before == after, || "a refused reference changes the object".to_owned())
}

async fn removed(bench: &Bench<'_>) -> Verdict {
    let tie = tie(bench)?;
    let (key, _) = bench.create(&[]).await?;
    let (first, _) = bench.create(&[]).await?;
    let (second, _) = bench.create(&[]).await?;
    tie.must(bench, &key, &first, true).await?;
    if tie.attribute.multiplicity == Multiplicity::Single {
        if tie.attribute.required {
            return skipped("the reference is required");
        }
        tie.must(bench, &key, &first, false).await?;
        return ensure(!tie.holds(bench, &key, &first).await?, || "the reference is still there".to_owned());
    }
    tie.must(bench, &key, &second, true).await?;
    tie.must(bench, &key, &first, false).await?;
    ensure(!tie.holds(bench, &key, &first).await?, || "the reference is still there".to_owned())?;
    ensure(tie.holds(bench, &key, &second).await?, || "another reference is gone as well".to_owned())
}
