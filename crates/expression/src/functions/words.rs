//! Parts of texts, and texts put together.

use std::borrow::Cow;

use super::{Expected, Function, Prepared, Takes, example, function, optional, repeated, required};
use crate::MAX_OUTPUT;
use crate::evaluate::{Call, Stop};
use crate::node::Node;
use crate::value::{Datum, Scalar};

const LETTERS_NOTE: &str = "Counts whole characters; .NET counts letters outside the basic plane, such as 😀, as two.";

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        notes: &["0 gives an empty text, a negative number the whole text, a null text an empty one.", LETTERS_NOTE],
        examples: &[
            example("Left(\"John Doe\", 3)", &[], Expected::Text("Joh")),
            example("Left([name], 0)", &[("name", &["John"])], Expected::Text("")),
            example("Left([name], -1)", &[("name", &["John"])], Expected::Text("John")),
            example("Left([name], 3)", &[("name", &[])], Expected::Text("")),
        ],
        ..function(
            "Left",
            &[required("String", Takes::Text), required("NumChars", Takes::Number)],
            "The first characters of a text.",
            left,
        )
    },
    Function {
        notes: &[
            "The first character is number 1. A length beyond the end is cut to what there is, a start beyond it gives an empty text, as does a null source.",
            LETTERS_NOTE,
        ],
        examples: &[
            example(
                "Append(Mid([givenName], 1, 3), Mid([surname], 1, 5))",
                &[("givenName", &["John"]), ("surname", &["Doe"])],
                Expected::Text("JohDoe"),
            ),
            example("Mid([givenName], 9, 3)", &[("givenName", &["John"])], Expected::Text("")),
        ],
        prepare: Some(mid_checked),
        ..function(
            "Mid",
            &[required("source", Takes::Text), required("start", Takes::Number), required("length", Takes::Number)],
            "Characters from the middle of a text.",
            mid,
        )
    },
    Function {
        notes: &[
            "The first character is number 1; 0 means that it is not there (our choice for null texts too).",
            "compareType: vbBinaryCompare, the default, or vbTextCompare, which has no regard to case.",
        ],
        examples: &[
            example("InStr(\"The quick brown fox\", \"quick\")", &[], Expected::Text("5")),
            example("InStr(\"repEated\", \"e\", 3, vbBinaryCompare)", &[], Expected::Text("7")),
            example("InStr(\"repEated\", \"e\", 3, vbTextCompare)", &[], Expected::Text("4")),
            example("InStr([mail], \"@\")", &[("mail", &[])], Expected::Text("0")),
        ],
        prepare: Some(compare_type),
        ..function(
            "InStr",
            &[
                required("value1", Takes::Text),
                required("value2", Takes::Text),
                optional("start", Takes::Number),
                optional("compareType", Takes::Text),
            ],
            "Where a text begins within another.",
            in_str,
        )
    },
    Function {
        notes: &[
            "Each character of Delimiters separates; several in a row separate once (our choice; Microsoft does not say).",
            "A number below 1, a null text, or too few words give an empty text.",
        ],
        examples: &[
            example("Word(\"The quick brown fox\", 3, \" \")", &[], Expected::Text("brown")),
            example("Word(\"This,string!has&many separators\", 3, \",!&#\")", &[], Expected::Text("has")),
            example(
                "Word([userPrincipalName], 1, \"@\")",
                &[("userPrincipalName", &["john@contoso.com"])],
                Expected::Text("john"),
            ),
            example(
                "Word([userPrincipalName], 0, \"@\")",
                &[("userPrincipalName", &["john@contoso.com"])],
                Expected::Text(""),
            ),
        ],
        ..function(
            "Word",
            &[
                required("String", Takes::Text),
                required("WordNumber", Takes::Number),
                required("Delimiters", Takes::Text),
            ],
            "One word of a text.",
            word,
        )
    },
    Function {
        notes: &[
            "White space at the ends of each part is removed, as in Microsoft's example; empty parts are left out (our choice).",
        ],
        examples: &[example(
            "Split([extensionAttribute5], \",\")",
            &[("extensionAttribute5", &["PermissionSetOne, PermissionSetTwo"])],
            Expected::Values(&["PermissionSetOne", "PermissionSetTwo"]),
        )],
        ..function(
            "Split",
            &[required("source", Takes::Text), required("delimiter", Takes::Text)],
            "Makes several values of one text.",
            split,
        )
    },
    Function {
        notes: &[
            "Sources with several values give all of them. Empty and null sources are left out, their separator too.",
            "Where all sources are empty the result is null (our choice), so that it counts as an emptied value.",
        ],
        examples: &[
            example(
                "Join(\", \", \"\", [surname], [givenName])",
                &[("surname", &["Doe"]), ("givenName", &["John"])],
                Expected::Text("Doe, John"),
            ),
            example(
                "Join(\" \", [givenName], [surname])",
                &[("givenName", &[]), ("surname", &["Doe"])],
                Expected::Text("Doe"),
            ),
            example("Join(\";\", [roles])", &[("roles", &["a", "b"])], Expected::Text("a;b")),
            example("Join(\" \", [givenName], [surname])", &[("givenName", &[]), ("surname", &[])], Expected::Null),
        ],
        ..function(
            "Join",
            &[
                super::blank("separator", Takes::Text),
                super::blank("source1", Takes::Any),
                repeated("source2", Takes::Any),
            ],
            "Puts texts together, with a separator between them.",
            join,
        )
    },
];

/// The beginning of a text, of so many characters.
fn head(text: Cow<'_, str>, count: usize) -> Cow<'_, str> {
    match text.char_indices().nth(count) {
        None => text,
        Some((end, _)) => part(text, 0, end),
    }
}

fn part(text: Cow<'_, str>, from: usize, to: usize) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.get(from..to).unwrap_or("")),
        Cow::Owned(text) => Cow::Owned(text.get(from..to).unwrap_or("").to_owned()),
    }
}

fn left<'a>(call: &Call<'_, 'a>) -> Result<Datum<'a>, Stop> {
    let text = call.text(0)?.unwrap_or_default();
    let Some(count) = call.integer(1)? else { return Ok(Datum::Null) };
    Ok(Datum::text(match usize::try_from(count) {
        Ok(count) => head(text, count),
        // Negative, or beyond any text.
        Err(_) => text,
    }))
}

fn mid_checked(arguments: &[Node]) -> Result<Prepared, (usize, String)> {
    let number = |position: usize| arguments.get(position).map(crate::print::to_text);
    let is_negative = |text: &String| text.starts_with('-');
    if number(1).is_some_and(|start| start == "0" || is_negative(&start)) {
        return Err((1, "characters are counted from 1".to_owned()));
    }
    if number(2).is_some_and(|length| is_negative(&length)) {
        return Err((2, "the length must not be negative".to_owned()));
    }
    Ok(Prepared::Nothing)
}

fn mid<'a>(call: &Call<'_, 'a>) -> Result<Datum<'a>, Stop> {
    let text = call.text(0)?.unwrap_or_default();
    let (Some(start), Some(length)) = (call.integer(1)?, call.integer(2)?) else { return Ok(Datum::Null) };
    let (Ok(start), Ok(length)) = (usize::try_from(start), usize::try_from(length)) else {
        return Err(call.fail("start and length must not be negative"));
    };
    let Some(skipped) = start.checked_sub(1) else { return Err(call.fail("characters are counted from 1")) };
    let from = text.char_indices().nth(skipped).map_or(text.len(), |(from, _)| from);
    let tail = text.get(from..).unwrap_or("");
    let to = tail.char_indices().nth(length).map_or(text.len(), |(end, _)| from + end);
    Ok(Datum::text(part(text, from, to)))
}

fn compare_type(arguments: &[Node]) -> Result<Prepared, (usize, String)> {
    match arguments.get(3).filter(|argument| !argument.is_empty()) {
        Some(argument) if argument.text().and_then(ignores_case).is_none() => {
            Err((3, "compareType must be vbBinaryCompare or vbTextCompare".to_owned()))
        }
        _ => Ok(Prepared::Nothing),
    }
}

fn ignores_case(name: &str) -> Option<bool> {
    match name {
        name if name.eq_ignore_ascii_case("vbBinaryCompare") => Some(false),
        name if name.eq_ignore_ascii_case("vbTextCompare") => Some(true),
        _ => None,
    }
}

fn in_str<'a>(call: &Call<'_, 'a>) -> Result<Datum<'a>, Stop> {
    use crate::dotnet::casing::{Culture, lower};
    let (Some(mut text), Some(mut wanted)) = (call.text(0)?, call.text(1)?) else {
        return Ok(Datum::One(Scalar::Integer(0)));
    };
    let start = match call.integer(2)? {
        None => 1,
        Some(start) => usize::try_from(start)
            .ok()
            .filter(|start| *start > 0)
            .ok_or_else(|| call.fail("start must be at least 1"))?,
    };
    if call.text(3)?.and_then(|name| ignores_case(&name)).unwrap_or(false) {
        text = lower(text, Culture::Other);
        wanted = lower(wanted, Culture::Other);
    }
    let from = text.char_indices().nth(start - 1).map(|(from, _)| from);
    let found = from.and_then(|from| Some(from + text.get(from..)?.find(wanted.as_ref())?));
    let position = found.map_or(0, |at| text.get(..at).unwrap_or("").chars().count() + 1);
    Ok(Datum::One(Scalar::Integer(i64::try_from(position).unwrap_or(0))))
}

fn word<'a>(call: &Call<'_, 'a>) -> Result<Datum<'a>, Stop> {
    let text = call.text(0)?.unwrap_or_default();
    let (Some(number), delimiters) = (call.integer(1)?, call.text(2)?.unwrap_or_default()) else {
        return Ok(Datum::text(""));
    };
    let Some(position) = usize::try_from(number).ok().and_then(|number| number.checked_sub(1)) else {
        return Ok(Datum::text(""));
    };
    let (from, to) = nth_word(&text, position, &delimiters).unwrap_or((0, 0));
    Ok(Datum::text(part(text, from, to)))
}

/// Where a word begins and ends.
fn nth_word(text: &str, position: usize, delimiters: &str) -> Option<(usize, usize)> {
    let mut begins = None;
    let mut before = 0;
    let ends = text.char_indices().map(|(at, letter)| (at, delimiters.contains(letter)));
    for (at, is_end) in ends.chain([(text.len(), true)]) {
        match (is_end, begins) {
            (true, Some(from)) if before == position => return Some((from, at)),
            (true, Some(_)) => {
                before += 1;
                begins = None;
            }
            (false, None) => begins = Some(at),
            _ => {}
        }
    }
    None
}

fn split<'a>(call: &Call<'_, 'a>) -> Result<Datum<'a>, Stop> {
    let (Some(text), Some(delimiter)) = (call.text(0)?, call.text(1)?) else { return Ok(Datum::Null) };
    if delimiter.is_empty() {
        return Err(call.fail("the delimiter is empty"));
    }
    let parts = text.split(delimiter.as_ref()).map(str::trim).filter(|part| !part.is_empty());
    Ok(Datum::many(parts.map(|part| Scalar::Text(part.to_owned().into())).take(crate::MAX_VALUES + 1).collect()))
}

fn join<'a>(call: &Call<'_, 'a>) -> Result<Datum<'a>, Stop> {
    let separator = call.text(0)?.unwrap_or_default();
    let mut joined: Option<Cow<'a, str>> = None;
    let add = |joined: &mut Option<Cow<'a, str>>, value: Scalar<'a>| -> Result<(), Stop> {
        let text = value.into_text();
        match joined {
            _ if text.is_empty() => {}
            None => *joined = Some(text),
            Some(before) if before.len() + separator.len() + text.len() > MAX_OUTPUT => {
                return Err(call.fail(format!("the texts are longer than {MAX_OUTPUT} bytes together")));
            }
            Some(before) => {
                let before = before.to_mut();
                before.push_str(&separator);
                before.push_str(&text);
            }
        }
        Ok(())
    };
    for position in 1..call.count() {
        match call.value(position)? {
            Datum::Null => {}
            Datum::One(value) => add(&mut joined, value)?,
            Datum::Many(values) => {
                for value in values {
                    add(&mut joined, value)?;
                }
            }
        }
    }
    Ok(Datum::maybe(joined))
}
