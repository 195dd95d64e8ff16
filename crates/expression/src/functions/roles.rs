//! Application roles.

use std::collections::BTreeMap;

use muster_model::Value;

use super::{Expected, Function, Takes, example, function, required};
use crate::evaluate::{Call, Stop};
use crate::value::{Datum, Scalar};

const ROLES: &[(&str, &[&str])] = &[("appRoleAssignments", &["Admin", "Reader"])];

const ARGUMENT: &[super::Parameter] = &[required("[appRoleAssignments]", Takes::Any)];

const NOTE: &str = "Takes names of roles, or values with `value` or `displayName`. Muster compares what the target holds with what it should hold, so that the two functions for many roles, which differ in Entra in what they take away, are one here.";

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        notes: &["Of several roles it is the first; Microsoft leaves open which."],
        examples: &[example("SingleAppRoleAssignment([appRoleAssignments])", ROLES, Expected::Text("Admin"))],
        ..function("SingleAppRoleAssignment", ARGUMENT, "The name of a user's only role.", single)
    },
    Function {
        notes: &[NOTE],
        examples: &[example("Count(AppRoleAssignmentsComplex([appRoleAssignments]))", ROLES, Expected::Text("2"))],
        ..function(
            "AppRoleAssignmentsComplex",
            ARGUMENT,
            "All of a user's roles, each with value, display, type and primary.",
            complex,
        )
    },
    Function {
        notes: &[NOTE],
        examples: &[example(
            "Count(AssertiveAppRoleAssignmentsComplex([appRoleAssignments]))",
            ROLES,
            Expected::Text("2"),
        )],
        ..function(
            "AssertiveAppRoleAssignmentsComplex",
            ARGUMENT,
            "All of a user's roles, each with value, display, type and primary.",
            complex,
        )
    },
];

fn role(value: &Scalar<'_>) -> (String, String) {
    let Some(Value::Structure(members)) = value.other() else {
        let name = value.text().into_owned();
        return (name.clone(), name);
    };
    let member = |name: &str| members.get(name).map(|value| crate::as_text(value).into_owned());
    let name = member("value").or_else(|| member("displayName")).unwrap_or_default();
    let display = member("displayName").unwrap_or_else(|| name.clone());
    (name, display)
}

fn single<'a>(call: &Call<'_, 'a>) -> Result<Datum<'a>, Stop> {
    let first = call.value(0)?.into_values().into_iter().next();
    Ok(first.map_or(Datum::Null, |value| Datum::text(role(&value).0)))
}

fn complex<'a>(call: &Call<'_, 'a>) -> Result<Datum<'a>, Stop> {
    let values = call.value(0)?.into_values();
    Ok(Datum::many(
        values
            .iter()
            .map(|value| {
                let (name, display) = role(value);
                let members: BTreeMap<Box<str>, Value> = BTreeMap::from([
                    ("display".into(), Value::text(&display)),
                    ("primary".into(), Value::Boolean(false)),
                    ("type".into(), Value::text("WindowsAzureActiveDirectoryRole")),
                    ("value".into(), Value::text(&name)),
                ]);
                Scalar::Made(Box::new(Value::Structure(members)))
            })
            .collect(),
    ))
}
