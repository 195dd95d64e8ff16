//! What a connector says of itself and of its system.

use muster_connector::UsedType;
use muster_model::ValueType;
use serde_json::Value as Json;

use crate::bench::{Bench, Verdict, ensure, failed, skipped};
use crate::check::{Check, check};

pub(super) const CHECKS: &[Check] = &[
    check!(
        "shape.starts",
        Connection,
        starts,
        "A configured connection starts, its `check` finds no error and its schema can be read.",
        "Nothing else can be proved, and no sync would run."
    ),
    check!(
        "shape.schema_stable",
        Connection,
        schema_stable,
        "The schema is what the system holds, the same as long as the system is the same.",
        "Every start would look like another system, and mappings would be refused at random."
    ),
    check!(
        "shape.identity",
        Connection,
        identity,
        "The schema names the system itself.",
        "Another server that answers under the same address would receive changes meant for the first."
    ),
    check!(
        "shape.sides",
        Connection,
        sides,
        "A type that is a source or a target has that side at the connector.",
        "A sync would be accepted and fail on its first call."
    ),
    check!(
        "shape.keys_known",
        Connection,
        keys_known,
        "Anchors and alternate keys name attributes of their type.",
        "Matching by them would fail when people already wait for their accounts."
    ),
    check!(
        "shape.references_known",
        Connection,
        references_known,
        "References name types of the schema.",
        "A manager or a membership would lead nowhere."
    ),
    check!(
        "shape.enabling_known",
        Connection,
        enabling_known,
        "Enabling is a boolean attribute that can be changed.",
        "People who leave could not be disabled."
    ),
    check!(
        "shape.limits_given",
        Connection,
        limits_given,
        "The most operations of a batch and batches at a time are at least one.",
        "A sync would never send anything."
    ),
    check!(
        "shape.check_clean",
        Connection,
        check_clean,
        "Each finding says what is wrong and what to change.",
        "An administrator would be told that it fails and not what to do."
    ),
    check!(
        "shape.secrets_marked",
        Connection,
        secrets_marked,
        "Secrets carry `x-muster-secret` in the schema of the settings.",
        "The secret would be written into the configuration, into plans and into backups."
    ),
    check!(
        "shape.unknown_refused",
        Connection,
        unknown_refused,
        "The schema of the settings refuses a setting that it does not know.",
        "A typing error would silently leave a guard at its default."
    ),
];

async fn starts(bench: &Bench<'_>) -> Verdict {
    bench.connector().await.map(drop)
}

async fn schema_stable(bench: &Bench<'_>) -> Verdict {
    for turn in ["a second time", "after a restart"] {
        let schema = bench.connector().await?.schema().await;
        bench.note("schema", &format!("{schema:?}"));
        let schema = schema.or_else(|error| failed(format!("`schema` fails: {error}")))?;
        ensure(schema == *bench.schema, || format!("asked {turn}, the schema is another one"))?;
        bench.kill().await;
    }
    Ok(())
}

async fn identity(bench: &Bench<'_>) -> Verdict {
    ensure(!bench.schema.identity.trim().is_empty(), || "the schema's identity is empty".to_owned())
}

async fn sides(bench: &Bench<'_>) -> Verdict {
    let connector = bench.connector().await?;
    for found in &bench.schema.types {
        ensure(found.source.is_none() || connector.source().is_some(), || {
            format!("type {} is a source, and the connector has no source side", found.name)
        })?;
        ensure(found.target.is_none() || connector.target().is_some(), || {
            format!("type {} is a target, and the connector has no target side", found.name)
        })?;
    }
    Ok(())
}

async fn keys_known(bench: &Bench<'_>) -> Verdict {
    for (position, found) in bench.schema.types.iter().enumerate() {
        ensure(bench.schema.types.iter().skip(position + 1).all(|other| other.name != found.name), || {
            format!("two types are called {}", found.name)
        })?;
        ensure(!found.anchor.attributes.is_empty(), || format!("type {} has no anchor", found.name))?;
        let keys = std::iter::once(&found.anchor.attributes).chain(&found.alternate_keys);
        for name in keys.flatten() {
            ensure(found.attribute(name).is_some(), || {
                format!("type {} has a key of an unknown attribute {name:?}", found.name)
            })?;
        }
        for (position, attribute) in found.attributes.iter().enumerate() {
            let again = found.attributes.iter().skip(position + 1).any(|other| other.name == attribute.name);
            ensure(!again, || format!("type {} has two attributes {:?}", found.name, attribute.name))?;
        }
    }
    Ok(())
}

async fn references_known(bench: &Bench<'_>) -> Verdict {
    for found in &bench.schema.types {
        for attribute in &found.attributes {
            for name in &attribute.references {
                ensure(bench.schema.object_type(name).is_some(), || {
                    format!("{}.{} refers to an unknown type {name:?}", found.name, attribute.name)
                })?;
            }
        }
    }
    Ok(())
}

async fn enabling_known(bench: &Bench<'_>) -> Verdict {
    let mut any = false;
    for found in &bench.schema.types {
        let Some(enabling) = &found.enabling else { continue };
        any = true;
        let name = &enabling.attribute;
        let Some(attribute) = found.attribute(name) else {
            return failed(format!("type {} is enabled by an unknown attribute {name:?}", found.name));
        };
        ensure(attribute.value_type == ValueType::Boolean, || format!("{}.{name} is not boolean", found.name))?;
        ensure(found.target.is_none() || attribute.updatable, || format!("{}.{name} cannot be changed", found.name))?;
    }
    if any { Ok(()) } else { skipped("no type can be enabled and disabled") }
}

async fn limits_given(bench: &Bench<'_>) -> Verdict {
    for found in &bench.schema.types {
        let Some(target) = &found.target else { continue };
        ensure(target.max_batch > 0 && target.max_in_flight > 0, || format!("type {} has a limit of 0", found.name))?;
    }
    Ok(())
}

async fn check_clean(bench: &Bench<'_>) -> Verdict {
    let used: Vec<UsedType> = bench
        .schema
        .types
        .iter()
        .map(|found| UsedType {
            object_type: found.name.clone(),
            attributes: found
                .attributes
                .iter()
                .filter(|one| one.unsupported.is_none())
                .map(|one| one.name.clone())
                .collect(),
            named: Vec::new(),
            as_source: found.source.is_some(),
            as_target: found.target.is_some(),
        })
        .collect();
    let report = bench.connector().await?.check(&used).await;
    bench.note("check", &format!("{report:?}"));
    let report = report.or_else(|error| failed(format!("`check` fails: {error}")))?;
    for finding in &report.findings {
        let told = !finding.problem.trim().is_empty() && !finding.fix.trim().is_empty();
        ensure(told, || format!("a finding lacks what is wrong or what to change: {finding:?}"))?;
    }
    let worst_first = report.findings.windows(2).all(|two| two[0].severity >= two[1].severity);
    ensure(worst_first, || "the findings are not ordered worst first".to_owned())?;
    Ok(())
}

/// The schema that a reference leads to.
fn resolved<'a>(root: &'a Json, schema: &'a Json) -> &'a Json {
    let mut schema = schema;
    for _ in 0..8 {
        let target = schema.get("$ref").and_then(Json::as_str).and_then(|path| path.strip_prefix('#'));
        match target.and_then(|path| root.pointer(path)) {
            Some(next) => schema = next,
            None => break,
        }
    }
    schema
}

fn is_marked(root: &Json, schema: &Json) -> bool {
    let schema = resolved(root, schema);
    let inner = ["anyOf", "oneOf", "allOf"].into_iter().filter_map(|word| schema.get(word)?.as_array()).flatten();
    schema.get("x-muster-secret") == Some(&Json::Bool(true)) || inner.into_iter().any(|one| is_marked(root, one))
}

async fn secrets_marked(bench: &Bench<'_>) -> Verdict {
    let Some(description) = bench.subject.description() else { return skipped("the subject gives no description") };
    let secrets = bench.subject.planted_secrets();
    let root = &description.settings;
    for (path, _) in &secrets {
        let mut schema = Some(root);
        for part in path.split('.') {
            schema = schema.and_then(|schema| resolved(root, schema).get("properties")?.get(part));
        }
        let Some(schema) = schema else { return failed(format!("the settings' schema has no `{path}`")) };
        ensure(is_marked(root, schema), || format!("setting `{path}` holds a secret and is not marked"))?;
    }
    if secrets.is_empty() { skipped("the subject was given no secret") } else { Ok(()) }
}

async fn unknown_refused(bench: &Bench<'_>) -> Verdict {
    let Some(description) = bench.subject.description() else { return skipped("the subject gives no description") };
    let schema = resolved(&description.settings, &description.settings);
    let closed = ["additionalProperties", "unevaluatedProperties"]
        .into_iter()
        .any(|word| schema.get(word) == Some(&Json::Bool(false)));
    ensure(closed, || "the settings' schema lacks \"additionalProperties\": false".to_owned())
}
