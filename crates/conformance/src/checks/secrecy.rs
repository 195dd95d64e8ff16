//! Secrets appear nowhere.

use muster_connector::{ExposeSecret as _, SecretString, SecretValue, UsedType};
use muster_model::{Key, Value};
use uuid::Uuid;

use crate::bench::{Bench, Verdict, ensure, failed, is_success, skipped};
use crate::check::{Check, check};

pub(super) const CHECKS: &[Check] = &[
    check!(
        "secrecy.schema",
        Connection,
        schema,
        "No secret stands in the schema.",
        "The password of the system stands in the state and in every backup."
    ),
    check!(
        "secrecy.findings",
        Connection,
        findings,
        "No secret stands in what `check` finds.",
        "The password of the system stands on an administrator's screen and in tickets."
    ),
    check!(
        "secrecy.errors",
        Target,
        errors,
        "No secret stands in errors and answers.",
        "The password of the system stands in the log."
    ),
    check!(
        "secrecy.previews",
        Target,
        previews,
        "No secret stands in what `preview` tells.",
        "The password of the system stands in a plan that is sent around for approval."
    ),
    check!(
        "secrecy.log",
        Target,
        log,
        "No secret stands in what the connector logs.",
        "The password of the system stands in the log."
    ),
    check!(
        "secrecy.initial_password",
        Target,
        initial_password,
        "A value that nobody may see stands in no preview, answer or log.",
        "Everybody's first password can be read by those who may see a plan."
    ),
];

fn planted(bench: &Bench<'_>) -> Verdict {
    if bench.subject.planted_secrets().is_empty() { skipped("the subject was given no secret") } else { Ok(()) }
}

fn no_leak(bench: &Bench<'_>) -> Verdict {
    bench.leaks().into_iter().next().map_or(Ok(()), failed)
}

async fn schema(bench: &Bench<'_>) -> Verdict {
    planted(bench)?;
    let schema = bench.connector().await?.schema().await;
    bench.note("schema", &format!("{schema:?}"));
    no_leak(bench)
}

async fn findings(bench: &Bench<'_>) -> Verdict {
    planted(bench)?;
    let used = |name: &str, attribute: &str| UsedType {
        object_type: name.to_owned(),
        attributes: vec![attribute.to_owned()],
        named: Vec::new(),
        as_source: true,
        as_target: true,
    };
    for used in [vec![], vec![used(&bench.object_type.name, "no such attribute")], vec![used("no such type", "x")]] {
        let report = bench.connector().await?.check(&used).await;
        bench.note("check", &format!("{report:?}"));
    }
    no_leak(bench)
}

async fn errors(bench: &Bench<'_>) -> Verdict {
    planted(bench)?;
    bench.target()?;
    // What cannot be: keys of another shape, attributes and types that are not there.
    let connector = bench.connector().await?;
    let Some(target) = connector.target() else { return failed("there is no target side") };
    let mut request = bench.request();
    let odd = Key(vec![Value::text("no such key"), Value::text("of this shape")]);
    let answer = target.get(&request, std::slice::from_ref(&odd)).await;
    bench.note("get of a key of another shape", &format!("{answer:?}"));
    let answer = bench.raw(&bench.batch(vec![bench.delete(&odd)])).await?;
    drop(answer);
    let answer = target.find(&request, &["no such attribute".to_owned()], &[vec![Value::text("x")]]).await;
    bench.note("find by an attribute that is not there", &format!("{answer:?}"));
    request.object_type = "no such type".into();
    let answer = target.get(&request, &[odd]).await;
    bench.note("get of a type that is not there", &format!("{answer:?}"));
    no_leak(bench)
}

async fn previews(bench: &Bench<'_>) -> Verdict {
    planted(bench)?;
    let batch = bench.batch(vec![bench.create_operation(bench.new_row(&[])?)]);
    let connector = bench.connector().await?;
    let Some(target) = connector.target() else { return failed("there is no target side") };
    let told = target.preview(&batch).await;
    bench.note("preview", &format!("{told:?}"));
    no_leak(bench)
}

async fn log(bench: &Bench<'_>) -> Verdict {
    planted(bench)?;
    if bench.subject.log().is_none() {
        return skipped("the subject does not tell what the connector logs");
    }
    bench.create(&[]).await?;
    bench.kill().await;
    bench.connector().await?;
    let log = bench.subject.log().unwrap_or_default();
    for (path, secret) in bench.subject.planted_secrets() {
        ensure(!log.contains(secret.expose_secret()), || format!("the secret of setting `{path}` stands in the log"))?;
    }
    Ok(())
}

async fn initial_password(bench: &Bench<'_>) -> Verdict {
    if !bench.target()?.writes_secrets {
        return skipped("the schema says that a create brings no values that nobody may see");
    }
    let hidden =
        bench.object_type.attributes.iter().find(|one| !one.readable && one.creatable && one.unsupported.is_none());
    let Some(attribute) = hidden else {
        return skipped("the type has no attribute that can be written and not be read");
    };
    let position = bench.layout.iter().position(|name| *name == attribute.name).unwrap_or(usize::MAX);
    let plain = format!("Pw-{}", Uuid::new_v4().simple());
    let plain: String = plain.chars().take(attribute.max_length.map_or(40, |most| most as usize)).collect();
    let mut row = bench.new_row(&[])?;
    if let Some(slot) = row.0.get_mut(position) {
        *slot = muster_model::Slot::Unknown;
    }
    let mut operation = bench.create_operation(row);
    operation.secrets = vec![(position, SecretValue(SecretString::from(plain.clone())))];
    let batch = bench.batch(vec![operation]);
    let connector = bench.connector().await?;
    let Some(target) = connector.target() else { return failed("there is no target side") };
    let told = target.preview(&batch).await;
    ensure(!format!("{told:?}").contains(&plain), || "the initial password stands in the preview".to_owned())?;
    let answer = bench.raw(&batch).await?;
    ensure(!format!("{answer:?}").contains(&plain), || "the initial password stands in the answer".to_owned())?;
    let done = answer.is_ok_and(|answered| answered.iter().all(|(_, outcome)| is_success(outcome)));
    ensure(done, || "a create with an initial password is not taken".to_owned())?;
    // A second time it is refused, which is where values get into messages.
    let mut again = batch.operations.first().cloned();
    if let Some(again) = &mut again {
        again.id = muster_connector::OperationId(Uuid::now_v7());
    }
    let answer = bench.raw(&bench.batch(again.into_iter().collect())).await?;
    ensure(!format!("{answer:?}").contains(&plain), || {
        "the initial password stands in the answer to a second create".to_owned()
    })?;
    let log = bench.subject.log().unwrap_or_default();
    ensure(!log.contains(&plain), || "the initial password stands in the log".to_owned())
}
