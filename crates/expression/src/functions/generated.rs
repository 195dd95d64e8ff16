//! Values that come from nowhere.

use super::{Expected, Function, Prepared, Takes, example, function, optional, repeated, required};
use crate::evaluate::{Call, Stop};
use crate::generator::Generator;
use crate::node::{Kind, Node};
use crate::value::Datum;

const DIGITS: &str = "0123456789";
const CAPITALS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const SMALL: &str = "abcdefghijklmnopqrstuvwxyz";
const SPECIAL: &str = "!@#$%^&*()-_=+[]{};:,.<>?/";

/// The longest random text.
const LONGEST: i64 = 256;

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        volatile: true,
        notes: &[
            "In a mapping it follows from the sync's name and the object's key, so that a create that is tried again has the same value.",
        ],
        examples: &[example(
            "Guid()",
            &[],
            Expected::Like(
                "d7b9a1a4-5c0e-4f0a-9d7e-0b6c7f1f6a55",
                "^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$",
            ),
        )],
        ..function("Guid", &[], "A new identifier.", guid)
    },
    Function {
        volatile: true,
        notes: &[
            "Length is 256 at most, and at least the sum of the minimums. What the minimums leave is filled with the kinds whose minimum is not 0; where all are 0, with small letters and digits (our choice).",
            "In a mapping it follows from the sync's name and the object's key, so that a create that is tried again has the same value. Whoever knows both can know it: it is no password.",
        ],
        examples: &[
            example("RandomString(6, 3, 0, 0, 3)", &[], Expected::Like("1a73qt", "^[0-9a-z]{6}$")),
            example("RandomString(10, 2, 2, 2, 1, \"?,\")", &[], Expected::Like("1@!2BaRg53", "^[^?,]{10}$")),
            example("RandomString(3, 3, 0, 0, 0, )", &[], Expected::Like("041", "^[0-9]{3}$")),
        ],
        prepare: Some(random_checked),
        ..function(
            "RandomString",
            &[
                required("Length", Takes::Number),
                required("MinimumNumbers", Takes::Number),
                required("MinimumSpecialCharacters", Takes::Number),
                required("MinimumCapital", Takes::Number),
                required("MinimumLowerCase", Takes::Number),
                optional("CharactersToAvoid", Takes::Text),
            ],
            "A random text.",
            random_string,
        )
    },
    Function {
        volatile: true,
        notes: &[
            "Must be the outermost function. Null and empty candidates are passed over; where all are taken the object is parked.",
            "Not available in mappings yet: `muster check` says so. `muster expression` takes every candidate as free.",
        ],
        examples: &[example(
            "SelectUniqueValue(Join(\"@\", Join(\".\", [givenName], [surname]), \"contoso.com\"), Join(\"@\", Join(\".\", Mid([givenName], 1, 1), [surname]), \"contoso.com\"))",
            &[("givenName", &["John"]), ("surname", &["Smith"])],
            Expected::Text("John.Smith@contoso.com"),
        )],
        ..function(
            "SelectUniqueValue",
            &[required("rule1", Takes::Text), required("rule2", Takes::Text), repeated("rule3", Takes::Text)],
            "The first value that nobody in the target has.",
            select_unique,
        )
    },
    Function {
        notes: &["Not available in mappings: write the domain as a text. `muster check` says so."],
        examples: &[example(
            "Join(\"\", Replace([userName], , \"(?<Suffix>@(.)*)\", \"Suffix\", \"\", , ), RandomString(3, 3, 0, 0, 0, ), \"@\", DefaultDomain())",
            &[("userName", &["jsmith@old.example"])],
            Expected::Like("jsmith041@contoso.com", "^jsmith[0-9]{3}@contoso\\.com$"),
        )],
        ..function("DefaultDomain", &[], "The tenant's default domain.", default_domain)
    },
];

fn guid<'a>(call: &Call<'_, 'a>) -> Result<Datum<'a>, Stop> {
    let mut generator = call.run.generator.get();
    let number = u128::from(generator.next()) << 64 | u128::from(generator.next());
    call.run.generator.set(generator);
    let guid = uuid::Builder::from_random_bytes(number.to_be_bytes()).into_uuid();
    Ok(Datum::text(guid.to_string()))
}

fn random_checked(arguments: &[Node]) -> Result<Prepared, (usize, String)> {
    let numbers: Option<Vec<i64>> = arguments
        .iter()
        .take(5)
        .map(|argument| match &argument.kind {
            Kind::Constant(muster_model::Value::Integer(number)) => Some(*number),
            _ => None,
        })
        .collect();
    // Where one of them comes from an attribute, evaluation will tell.
    let Some(numbers) = numbers else { return Ok(Prepared::Nothing) };
    lengths(&numbers).map(|_| Prepared::Nothing).map_err(|problem| (0, problem))
}

/// The whole length, and the least of each kind.
fn lengths(numbers: &[i64]) -> Result<(usize, Vec<usize>), String> {
    let Some((length, least)) = numbers.split_first() else { return Err("the length is missing".to_owned()) };
    if numbers.iter().any(|number| *number < 0) {
        return Err("lengths must not be negative".to_owned());
    }
    if *length > LONGEST {
        return Err(format!("Length is {length}, and at most {LONGEST} is possible"));
    }
    let sum = least.iter().fold(0_i64, |sum, number| sum.saturating_add(*number));
    if sum > *length {
        return Err(format!("Length is {length}, but the minimums need {sum}"));
    }
    let size = |number: i64| usize::try_from(number).unwrap_or(0);
    Ok((size(*length), least.iter().copied().map(size).collect()))
}

fn random_string<'a>(call: &Call<'_, 'a>) -> Result<Datum<'a>, Stop> {
    let mut numbers = Vec::with_capacity(5);
    for position in 0..5 {
        let Some(number) = call.integer(position)? else { return Err(call.fail("a length is missing")) };
        numbers.push(number);
    }
    let (length, least) = lengths(&numbers).map_err(|problem| call.fail(problem))?;
    let avoided = call.text(5)?.unwrap_or_default();
    let kinds: Vec<Vec<char>> = [DIGITS, SPECIAL, CAPITALS, SMALL]
        .iter()
        .map(|kind| kind.chars().filter(|letter| !avoided.contains(*letter)).collect())
        .collect();
    let mut generator = call.run.generator.get();
    let mut text: Vec<char> = Vec::with_capacity(length);
    let mut fill: Vec<char> = Vec::new();
    for (kind, least) in kinds.iter().zip(&least) {
        for _ in 0..*least {
            text.extend(pick(kind, &mut generator));
        }
        if *least > 0 {
            fill.extend(kind);
        }
    }
    if fill.is_empty() {
        fill = kinds
            .iter()
            .enumerate()
            .filter(|(kind, _)| matches!(kind, 0 | 3))
            .flat_map(|(_, kind)| kind)
            .copied()
            .collect();
    }
    let minimums = least.iter().sum::<usize>();
    if text.len() < minimums || (fill.is_empty() && length > 0) {
        return Err(call.fail("no characters are left that are not to be avoided"));
    }
    while text.len() < length {
        text.extend(pick(&fill, &mut generator));
    }
    // So that the kinds do not stand in order.
    for position in (1..text.len()).rev() {
        text.swap(position, generator.below(position + 1));
    }
    call.run.generator.set(generator);
    Ok(Datum::text(text.into_iter().collect::<String>()))
}

fn pick(letters: &[char], generator: &mut Generator) -> Option<char> {
    letters.get(generator.below(letters.len())).copied()
}

fn select_unique<'a>(call: &Call<'_, 'a>) -> Result<Datum<'a>, Stop> {
    for position in 0..call.count() {
        let Some(candidate) = call.text(position)?.filter(|candidate| !candidate.is_empty()) else { continue };
        if !call.run.context.is_taken.is_some_and(|is_taken| is_taken(&candidate)) {
            return Ok(Datum::text(candidate));
        }
    }
    Err(call.fail("all candidates are taken"))
}

fn default_domain<'a>(call: &Call<'_, 'a>) -> Result<Datum<'a>, Stop> {
    let domain = call.run.context.default_domain;
    domain.map(Datum::text).ok_or_else(|| call.fail("no default domain is known; write it as a text"))
}
