//! Choices and tests.

use std::cmp::Ordering;

use muster_model::{Decimal, Value};

use super::{Expected, Function, Prepared, Takes, blank, example, function, repeated, required};
use crate::evaluate::{Call, Stop};
use crate::node::{Comparator, Node};
use crate::value::{Datum, Scalar};

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        notes: &[
            "The condition is a comparison (= <> > >= < <=), or a value as CBool takes it. There is no AND and no OR: nest one IIF in another.",
            "**Where an attribute in the condition is null or empty the condition fails**, so IsNull, IsNullOrEmpty and = \"\" have no use there, and `[a] <> \"x\"` does not hold for a null a. What Coalesce chooses among need not all be there.",
            "Texts compare letter by letter with regard to case. If both sides are numbers or times, < and > compare them as such.",
            "Only the value that is chosen is evaluated.",
        ],
        examples: &[
            example(
                "IIF([country]=\"USA\", [country], [department])",
                &[("country", &["USA"]), ("department", &["Sales"])],
                Expected::Text("USA"),
            ),
            example(
                "IIF([country] <> \"USA\", \"abroad\", \"at home, or nobody knows\")",
                &[("country", &[])],
                Expected::Text("at home, or nobody knows"),
            ),
            example(
                "IIF(DateDiff(\"d\", [hired], \"2021-01-08\") >= 7, \"old\", \"new\")",
                &[("hired", &["2021-01-01"])],
                Expected::Text("old"),
            ),
        ],
        ..function(
            "IIF",
            &[
                required("condition", Takes::Condition),
                blank("valueIfTrue", Takes::Any),
                blank("valueIfFalse", Takes::Any),
            ],
            "One of two values, as a condition says.",
            iif,
        )
    },
    Function {
        notes: &[
            "The first key that equals the source, with regard to case, gives the value; otherwise the default, which may be left empty. The key \"\" stands for an empty or missing source.",
            "Always evaluated from the object's whole state. In Entra itself a Switch may come out null when its source did not change.",
        ],
        examples: &[
            example(
                "Switch([state], \"Australia/Sydney\", \"NSW\", \"Australia/Sydney\", \"QLD\", \"Australia/Brisbane\", \"SA\", \"Australia/Adelaide\")",
                &[("state", &["QLD"])],
                Expected::Text("Australia/Brisbane"),
            ),
            example(
                "Switch([statusFlag], \"Default Value\", \"true\", \"1\", \"\", \"0\")",
                &[("statusFlag", &[])],
                Expected::Text("0"),
            ),
            example(
                "Switch([accountEnabled], , \"False\", \"True\")",
                &[("accountEnabled", &["True"])],
                Expected::Null,
            ),
        ],
        prepare: Some(even),
        ..function(
            "Switch",
            &[
                required("source", Takes::Text),
                blank("defaultValue", Takes::Any),
                required("key1", Takes::Text),
                blank("value1", Takes::Any),
                repeated("key2, value2", Takes::Any),
            ],
            "The value that belongs to a key.",
            switch,
        )
    },
    Function {
        notes: &[
            "An empty text is not null. If all are null, so is the result; the last one may be a constant for that case.",
        ],
        examples: &[
            example(
                "Coalesce([mail], [userPrincipalName])",
                &[("mail", &[]), ("userPrincipalName", &["john@contoso.com"])],
                Expected::Text("john@contoso.com"),
            ),
            example(
                "Coalesce([mail], [userPrincipalName])",
                &[("mail", &[]), ("userPrincipalName", &[])],
                Expected::Null,
            ),
        ],
        ..function(
            "Coalesce",
            &[required("source1", Takes::Any), repeated("source2", Takes::Any)],
            "The first value that is not null.",
            coalesce,
        )
    },
    Function {
        examples: &[
            example("IsNull([displayName])", &[("displayName", &[])], Expected::Text("True")),
            example("IsNull([displayName])", &[("displayName", &[""])], Expected::Text("False")),
        ],
        ..function("IsNull", &[required("Expression", Takes::Any)], "Whether there is no value.", is_null)
    },
    Function {
        examples: &[
            example("IsNullOrEmpty([displayName])", &[("displayName", &[""])], Expected::Text("True")),
            example("IsNullOrEmpty([displayName])", &[("displayName", &["x"])], Expected::Text("False")),
        ],
        ..function(
            "IsNullOrEmpty",
            &[required("Expression", Takes::Any)],
            "Whether there is no value, or an empty text.",
            is_blank,
        )
    },
    Function {
        notes: &["In Switch, its answer is the text True or False."],
        examples: &[
            example("IsPresent([directManager])", &[("directManager", &["m1"])], Expected::Text("True")),
            example("IsPresent([directManager])", &[("directManager", &[""])], Expected::Text("False")),
        ],
        ..function(
            "IsPresent",
            &[required("Expression", Takes::Any)],
            "Whether there is a value that is not empty.",
            is_present,
        )
    },
    Function {
        notes: &["Whether CStr would succeed: one value that is no bytes and has no parts of its own."],
        examples: &[
            example("IsString([displayName])", &[("displayName", &["x"])], Expected::Text("True")),
            example("IsString([displayName])", &[("displayName", &[])], Expected::Text("False")),
        ],
        ..function("IsString", &[required("Expression", Takes::Any)], "Whether a value can be a text.", is_string)
    },
    Function {
        notes: &[
            "True, in any case of letters and with spaces around it, becomes False; anything else, null included, becomes True.",
        ],
        examples: &[
            example("Not([accountEnabled])", &[("accountEnabled", &["True"])], Expected::Text("False")),
            example("Not([accountEnabled])", &[("accountEnabled", &["x"])], Expected::Text("True")),
        ],
        ..function("Not", &[required("source", Takes::Text)], "The opposite of a truth value.", not)
    },
    Function {
        notes: &[
            "A comparison, True or False, or a number, which is true unless it is 0. Null and an empty text are false; any other text is an error.",
        ],
        examples: &[
            example(
                "CBool([attribute1] = [attribute2])",
                &[("attribute1", &["x"]), ("attribute2", &["x"])],
                Expected::Text("True"),
            ),
            example("CBool(0)", &[], Expected::Text("False")),
            example("CBool([x])", &[("x", &["maybe"])], Expected::Fails("neither true nor false")),
        ],
        ..function("CBool", &[required("Expression", Takes::Condition)], "Makes a truth value.", to_truth)
    },
    Function {
        notes: &[
            "The target keeps what it has, and a new object gets nothing, also when it stands within another function.",
        ],
        examples: &[
            example("IgnoreFlowIfNullOrEmpty([department])", &[("department", &[""])], Expected::Nothing),
            example("IgnoreFlowIfNullOrEmpty([department])", &[("department", &["Sales"])], Expected::Text("Sales")),
        ],
        ..function(
            "IgnoreFlowIfNullOrEmpty",
            &[required("expression", Takes::Any)],
            "Lets a value flow only if there is one.",
            ignore_flow,
        )
    },
    Function {
        notes: &["The object is parked with this text. Known from Entra Connect."],
        examples: &[example(
            "IIF([country]=\"USA\", [country], Error(\"only people in the USA\"))",
            &[("country", &["SE"])],
            Expected::Fails("only people in the USA"),
        )],
        ..function("Error", &[required("message", Takes::Text)], "Refuses the object.", error)
    },
];

/// Whether a comparison holds; a side that is null counts as an empty text.
pub(crate) fn compare(comparator: Comparator, left: Option<&Scalar<'_>>, right: Option<&Scalar<'_>>) -> bool {
    let is_blank = |side: Option<&Scalar<'_>>| side.is_none_or(Scalar::is_empty);
    match comparator {
        Comparator::Equal => equal(left, right),
        Comparator::NotEqual => !equal(left, right),
        _ if is_blank(left) || is_blank(right) => false,
        _ => {
            let (Some(left), Some(right)) = (left, right) else { return false };
            let order = order(left, right);
            match comparator {
                Comparator::Greater => order == Ordering::Greater,
                Comparator::GreaterOrEqual => order != Ordering::Less,
                Comparator::Less => order == Ordering::Less,
                _ => order != Ordering::Greater,
            }
        }
    }
}

fn equal(left: Option<&Scalar<'_>>, right: Option<&Scalar<'_>>) -> bool {
    let (Some(one), Some(other)) = (left, right) else {
        return left.or(right).is_none_or(Scalar::is_empty);
    };
    let is_number =
        |side: &Scalar<'_>| matches!(side, Scalar::Integer(_)) || matches!(side.other(), Some(Value::Decimal(_)));
    let text = one.text();
    let other_text = other.text();
    if text == other_text {
        return true;
    }
    if matches!(one, Scalar::Boolean(_)) || matches!(other, Scalar::Boolean(_)) {
        return text.eq_ignore_ascii_case(&other_text);
    }
    if is_number(one) || is_number(other) {
        let number = |text: &str| Decimal::parse(text.trim());
        return number(&text).is_some_and(|value| number(&other_text) == Some(value));
    }
    match (one, other) {
        (Scalar::Instant(_), _) | (_, Scalar::Instant(_)) => {
            one.instant().is_some_and(|at| other.instant() == Some(at))
        }
        _ => false,
    }
}

fn order(left: &Scalar<'_>, right: &Scalar<'_>) -> Ordering {
    if let (Some(left), Some(right)) = (left.integer(), right.integer()) {
        return left.cmp(&right);
    }
    let text = (left.text(), right.text());
    let number = |text: &str| Decimal::parse(text.trim()).and_then(|number| number.as_str().parse::<f64>().ok());
    if let (Some(left), Some(right)) = (number(&text.0), number(&text.1)) {
        return left.total_cmp(&right);
    }
    if let (Some(left), Some(right)) = (left.instant(), right.instant()) {
        return left.cmp(&right);
    }
    text.0.cmp(&text.1)
}

fn iif<'a>(call: &Call<'_, 'a>) -> Result<Datum<'a>, Stop> {
    for guard in &call.step.guards {
        if call.run.value(guard)?.is_blank() {
            return call.value(2);
        }
    }
    let holds = call.truth(0)?.unwrap_or(false);
    call.value(if holds { 1 } else { 2 })
}

fn even(arguments: &[Node]) -> Result<Prepared, (usize, String)> {
    if arguments.len().is_multiple_of(2) {
        return Ok(Prepared::Nothing);
    }
    Err((arguments.len() - 1, "Switch takes keys and values in pairs, and this one has no partner".to_owned()))
}

fn switch<'a>(call: &Call<'_, 'a>) -> Result<Datum<'a>, Stop> {
    let source = call.text(0)?.unwrap_or_default();
    for key in (2..call.count()).step_by(2) {
        if call.text(key)?.unwrap_or_default() == source {
            return call.value(key + 1);
        }
    }
    call.value(1)
}

fn coalesce<'a>(call: &Call<'_, 'a>) -> Result<Datum<'a>, Stop> {
    for position in 0..call.count() {
        let value = call.value(position)?;
        if !value.is_null() {
            return Ok(value);
        }
    }
    Ok(Datum::Null)
}

fn is_null<'a>(call: &Call<'_, 'a>) -> Result<Datum<'a>, Stop> {
    Ok(Datum::truth(call.value(0)?.is_null()))
}

fn is_blank<'a>(call: &Call<'_, 'a>) -> Result<Datum<'a>, Stop> {
    Ok(Datum::truth(call.value(0)?.is_blank()))
}

fn is_present<'a>(call: &Call<'_, 'a>) -> Result<Datum<'a>, Stop> {
    Ok(Datum::truth(!call.value(0)?.is_blank()))
}

fn is_string<'a>(call: &Call<'_, 'a>) -> Result<Datum<'a>, Stop> {
    Ok(Datum::truth(match call.value(0)? {
        Datum::One(value) => !matches!(value.other(), Some(Value::Binary(_) | Value::Structure(_))),
        Datum::Null | Datum::Many(_) => false,
    }))
}

fn not<'a>(call: &Call<'_, 'a>) -> Result<Datum<'a>, Stop> {
    let is_true = call.text(0)?.is_some_and(|text| text.trim().eq_ignore_ascii_case("true"));
    Ok(Datum::truth(!is_true))
}

fn to_truth<'a>(call: &Call<'_, 'a>) -> Result<Datum<'a>, Stop> {
    Ok(Datum::truth(call.truth(0)?.unwrap_or(false)))
}

fn ignore_flow<'a>(call: &Call<'_, 'a>) -> Result<Datum<'a>, Stop> {
    let value = call.value(0)?;
    if value.is_blank() { Err(Stop::Nothing) } else { Ok(value) }
}

fn error<'a>(call: &Call<'_, 'a>) -> Result<Datum<'a>, Stop> {
    let message = call.text(0)?.unwrap_or_default();
    Err(call.fail(message))
}
