//! Functions of several values.

use std::collections::HashSet;

use super::{Expected, Function, Prepared, Takes, example, function, required};
use crate::evaluate::{Call, Stop};
use crate::node::{Kind, Node};
use crate::value::{Datum, Scalar};

const VALUES: &[(&str, &[&str])] = &[("proxyAddresses", &["SMTP:a@x.se", "smtp:b@x.se", "SMTP:a@x.se"])];

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        notes: &["Null gives 0, a single value 1."],
        examples: &[
            example("Count([proxyAddresses])", VALUES, Expected::Text("3")),
            example("Count([proxyAddresses])", &[("proxyAddresses", &[])], Expected::Text("0")),
        ],
        ..function("Count", &[required("attribute", Takes::Any)], "How many values there are.", count)
    },
    Function {
        notes: &["The first value is number 1. A number beyond the last gives null; one below 1 is an error."],
        examples: &[
            example("Item([proxyAddresses], 1)", VALUES, Expected::Text("SMTP:a@x.se")),
            example("Item([proxyAddresses], 9)", VALUES, Expected::Null),
        ],
        prepare: Some(from_one),
        ..function(
            "Item",
            &[required("attribute", Takes::Any), required("index", Takes::Number)],
            "One of several values.",
            item,
        )
    },
    Function {
        notes: &["The first of equal values stays. Texts that differ in case are not equal (our choice)."],
        examples: &[example(
            "RemoveDuplicates([proxyAddresses])",
            VALUES,
            Expected::Values(&["SMTP:a@x.se", "smtp:b@x.se"]),
        )],
        ..function("RemoveDuplicates", &[required("attribute", Takes::Any)], "Each value once.", remove_duplicates)
    },
];

fn count<'a>(call: &Call<'_, 'a>) -> Result<Datum<'a>, Stop> {
    let count = i64::try_from(call.value(0)?.count()).unwrap_or(i64::MAX);
    Ok(Datum::One(Scalar::Integer(count)))
}

fn from_one(arguments: &[Node]) -> Result<Prepared, (usize, String)> {
    match arguments.get(1).map(|argument| &argument.kind) {
        Some(Kind::Constant(muster_model::Value::Integer(index))) if *index < 1 => {
            Err((1, "values are counted from 1".to_owned()))
        }
        _ => Ok(Prepared::Nothing),
    }
}

fn item<'a>(call: &Call<'_, 'a>) -> Result<Datum<'a>, Stop> {
    let values = call.value(0)?.into_values();
    let Some(index) = call.integer(1)? else { return Ok(Datum::Null) };
    let Some(position) = usize::try_from(index).ok().and_then(|index| index.checked_sub(1)) else {
        return Err(call.fail("values are counted from 1"));
    };
    Ok(values.into_iter().nth(position).map_or(Datum::Null, Datum::One))
}

fn remove_duplicates<'a>(call: &Call<'_, 'a>) -> Result<Datum<'a>, Stop> {
    let value = call.value(0)?;
    let Datum::Many(values) = value else { return Ok(value) };
    let mut seen = HashSet::new();
    Ok(Datum::many(values.into_iter().filter(|value| seen.insert(value.text().into_owned())).collect()))
}
