//! A stage's way into the database: rows are loaded in bulk as texts, and one statement makes typed values of them.
//!
//! Whatever a text cannot become is found here, before it is sent: the server names no column, and some of its
//! conversions round, cut or replace in silence.

use std::borrow::Cow;

use chrono::{DateTime, Datelike as _, NaiveDate, Utc};
use uuid::Uuid;

use super::types::{DIGITS, numbers, word};
use crate::database::StageRow;
use crate::error::{Class, Failure};
use crate::statement::{Sql, Stage, joined, sql};
use crate::text::{instant, unhex};

/// The table that rows are loaded into: `n`, `g` and a text (bytes, where it is binary) for each column of the stage,
/// named `w0`, `w1` and so on.
pub(super) const LOADED: &str = "#muster_loaded";

/// Why a text is no value of a column: the rule, and the reason for a person.
type Refusal = (&'static str, &'static str);

/// A row on its way.
#[derive(Debug)]
pub(super) struct LoadedRow<'a> {
    pub(super) number: i32,
    pub(super) group: i32,
    pub(super) values: Vec<Loaded<'a>>,
}

/// A value on its way.
#[derive(Debug, PartialEq)]
pub(super) enum Loaded<'a> {
    Text(Option<Cow<'a, str>>),
    Bytes(Option<Vec<u8>>),
}

/// The rows as they are loaded.
pub(super) fn loaded<'a>(stage: &Stage, rows: &'a [StageRow]) -> Result<Vec<LoadedRow<'a>>, Failure> {
    let number = |number: usize| {
        i32::try_from(number).map_err(|_| Failure::new(Class::Bug, "more rows than a stage can number".to_owned()))
    };
    rows.iter()
        .map(|row| {
            let values = row.values.iter().zip(&stage.types).enumerate().map(|(position, (text, kind))| {
                let loaded = if is_binary(kind) {
                    text.as_deref().map(|text| bytes(text, kind)).transpose().map(Loaded::Bytes)
                } else {
                    text.as_deref().map(|text| value(text, kind)).transpose().map(Loaded::Text)
                };
                loaded.map_err(|(rule, why)| refused(rule, why, position))
            });
            Ok(LoadedRow {
                number: number(row.number)?,
                group: number(row.group)?,
                values: values.collect::<Result<_, Failure>>()?,
            })
        })
        .collect()
}

fn is_binary(kind: &str) -> bool {
    word(kind) == "varbinary"
}

/// The failure of a staged value.
pub(super) fn refused(rule: &'static str, why: &str, position: usize) -> Failure {
    let class = Class::Row { rule, column: None, constraint: None, staged: Some(position) };
    Failure::new(class, why.to_owned())
}

pub(super) fn create_loaded(stage: &Stage) -> Sql {
    let kind = |kind: &String| if is_binary(kind) { "varbinary(max)" } else { "nvarchar(max)" };
    let columns = stage.types.iter().enumerate().map(|(position, own)| format!("w{position} {}", kind(own)));
    let columns = ["n int".to_owned(), "g int".to_owned()].into_iter().chain(columns);
    sql!("CREATE TABLE {LOADED} ({})", joined(columns, ", "))
}

/// Whether the stage itself can be loaded: the server takes such values as they are, and all that do not fit have been
/// found. A code page may lack letters, of which nothing would be said.
pub(super) fn needs_no_conversion(stage: &Stage) -> bool {
    stage.types.iter().all(|kind| matches!(word(kind), "nvarchar" | "varbinary"))
}

/// Fills the stage, once the texts are loaded. A text that is too long is not converted but assigned, which refuses
/// to cut.
pub(super) fn fill(stage: &Stage) -> Sql {
    let values = stage.types.iter().enumerate().map(|(position, kind)| conversion(&format!("w{position}"), kind));
    let values = ["n".to_owned(), "g".to_owned()].into_iter().chain(values);
    sql!("INSERT INTO {stage} SELECT {} FROM {LOADED}", joined(values, ", "))
}

pub(super) fn conversion(column: &str, kind: &str) -> String {
    match word(kind) {
        "varchar" | "nvarchar" | "varbinary" => column.to_owned(),
        "date" => format!("CONVERT(date, {column}, 23)"),
        "datetime2" => format!("CONVERT({kind}, {column}, 126)"),
        _ => format!("CONVERT({kind}, {column})"),
    }
}

/// A value to bind. Its variable is of a type that cuts nothing.
pub(super) fn bindable<'a>(text: &'a str, kind: &str) -> Result<Loaded<'a>, Failure> {
    let loaded = if is_binary(kind) {
        bytes(text, kind).map(|bytes| Loaded::Bytes(Some(bytes)))
    } else {
        value(text, kind).map(|text| Loaded::Text(Some(text)))
    };
    let class = |rule| Class::Row { rule, column: None, constraint: None, staged: None };
    loaded.map_err(|(rule, why)| Failure::new(class(rule), why))
}

/// What a variable for values of a staged type is declared as.
pub(super) fn variable_type(kind: &str) -> &str {
    match (word(kind), numbers(kind).next()) {
        // In letters there may be fewer than in bytes.
        ("varchar", Some(_)) => "varchar(8000)",
        ("", _) => "nvarchar(max)",
        _ => kind.split(" COLLATE").next().unwrap_or(kind),
    }
}

/// The same for a single text, which is the query's only value.
pub(super) fn lost_letter<'a>(text: &'a str, kind: &str) -> Option<(String, Loaded<'a>)> {
    if word(kind) != "varchar" || text.is_ascii() {
        return None;
    }
    let query = format!("SELECT CONVERT(nvarchar(1), '1') WHERE {}", loses("@P1", kind));
    Some((query, Loaded::Text(Some(text.into()))))
}

/// The condition that a code page lacks a letter. As bytes, for to a collation different letters may be the same.
fn loses(term: &str, kind: &str) -> String {
    let collate = kind.split_once(')').map_or("", |(_, collate)| collate);
    format!(
        "CONVERT(varbinary(max), {term}) <> \
         CONVERT(varbinary(max), CONVERT(nvarchar(max), CONVERT(varchar(max), {term}{collate})))"
    )
}

/// Whether a column's code page has all letters of what is on its way there: the server replaces those that it lacks.
/// The query answers with a row if one is lost. `None` where nothing can be.
pub(super) fn lost_letters(stage: &Stage, rows: &[LoadedRow<'_>], position: usize) -> Option<Sql> {
    let kind = stage.types.get(position).filter(|kind| word(kind) == "varchar")?;
    let is_plain = |row: &LoadedRow<'_>| match row.values.get(position) {
        Some(Loaded::Text(Some(text))) => text.is_ascii(),
        _ => true,
    };
    if rows.iter().all(is_plain) {
        return None;
    }
    let loses = loses(&format!("w{position}"), kind);
    Some(sql!("SELECT TOP 1 CONVERT(nvarchar(1), '1') FROM {LOADED} WHERE {loses}"))
}

/// A text as the server converts it without loss.
fn value<'a>(text: &'a str, kind: &str) -> Result<Cow<'a, str>, Refusal> {
    let length = numbers(kind).next();
    match word(kind) {
        "bit" => whole(text, 0, 1),
        "tinyint" => whole(text, 0, 255),
        "smallint" => whole(text, i16::MIN.into(), i16::MAX.into()),
        "int" => whole(text, i32::MIN.into(), i32::MAX.into()),
        "bigint" => whole(text, i64::MIN, i64::MAX),
        "decimal" => decimal(text, kind),
        "float" | "real" => {
            let number: f64 = text.parse().map_err(|_| NO_NUMBER)?;
            if number.is_finite() { Ok(Cow::Borrowed(text)) } else { Err(NO_NUMBER) }
        }
        "date" => match text.parse::<NaiveDate>() {
            Ok(date) if is_year(date.year()) => Ok(Cow::Owned(date.format("%Y-%m-%d").to_string())),
            Ok(_) => Err(NO_YEAR),
            Err(_) => Err(("refused", "not a date")),
        },
        "datetime2" => moment(text).map(|moment| moment.format("%Y-%m-%dT%H:%M:%S%.6f").to_string().into()),
        "datetimeoffset" => moment(text).map(|moment| moment.format("%Y-%m-%dT%H:%M:%S%.6f+00:00").to_string().into()),
        "uniqueidentifier" => match Uuid::try_parse(text) {
            Ok(uuid) => Ok(uuid.hyphenated().to_string().into()),
            Err(_) => Err(("refused", "not a UUID")),
        },
        // A code page may need several bytes for a letter, and the server counts those.
        "varchar" if length.is_some_and(|length| text.chars().count() > length) => Err(TOO_LONG),
        "nvarchar" if length.is_some_and(|length| text.encode_utf16().count() > length) => Err(TOO_LONG),
        _ => Ok(Cow::Borrowed(text)),
    }
}

fn bytes(text: &str, kind: &str) -> Result<Vec<u8>, Refusal> {
    match unhex(text.trim_start_matches("\\x")) {
        None => Err(("refused", "not a binary value")),
        Some(bytes) if numbers(kind).next().is_some_and(|length| bytes.len() > length) => Err(TOO_LONG),
        Some(bytes) => Ok(bytes.into()),
    }
}

const NO_NUMBER: Refusal = ("refused", "not a number");
const NO_YEAR: Refusal = ("out_of_range", "the column holds the years 1 to 9999");
const TOO_LONG: Refusal = ("too_long", "longer than the column");
const TOO_BIG: Refusal = ("out_of_range", "the number is too big for the column");

fn whole(text: &str, least: i64, most: i64) -> Result<Cow<'_, str>, Refusal> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(("refused", "not a whole number"));
    }
    match text.parse::<i64>() {
        Ok(number) if (least..=most).contains(&number) => Ok(Cow::Borrowed(text)),
        _ => Err(TOO_BIG),
    }
}

fn decimal<'a>(text: &'a str, kind: &str) -> Result<Cow<'a, str>, Refusal> {
    let scale = numbers(kind).nth(1).unwrap_or(0);
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() || !whole.bytes().chain(part.bytes()).all(|digit| digit.is_ascii_digit()) {
        return Err(NO_NUMBER);
    }
    if whole.trim_start_matches('0').len() > DIGITS.saturating_sub(scale) {
        return Err(TOO_BIG);
    }
    if part.trim_end_matches('0').len() > scale {
        return Err(("too_precise", "the number has more digits after the point than SQL Server keeps"));
    }
    Ok(Cow::Borrowed(text))
}

fn moment(text: &str) -> Result<DateTime<Utc>, Refusal> {
    match instant(text) {
        Some(moment) if is_year(moment.year()) => Ok(moment),
        Some(_) => Err(NO_YEAR),
        None => Err(("refused", "not a date with a time")),
    }
}

/// Years that dates can have here.
pub(super) fn is_year(year: i32) -> bool {
    (1..=9999).contains(&year)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(types: &[&str]) -> Stage {
        Stage::new(Some("#"), types.iter().map(|kind| (*kind).to_owned()).collect())
    }

    #[test]
    fn one_statement_makes_values_of_the_texts() {
        let stage = stage(&[
            "bigint",
            "nvarchar(20) COLLATE Latin1_General_CI_AS",
            "decimal(38,30)",
            "date",
            "datetime2(7)",
            "datetimeoffset(7)",
            "varbinary(max)",
            "uniqueidentifier",
        ]);
        assert_eq!(
            create_loaded(&stage).text(),
            "CREATE TABLE #muster_loaded (n int, g int, w0 nvarchar(max), w1 nvarchar(max), w2 nvarchar(max), \
             w3 nvarchar(max), w4 nvarchar(max), w5 nvarchar(max), w6 varbinary(max), w7 nvarchar(max))"
        );
        assert_eq!(
            fill(&stage).text(),
            "INSERT INTO #muster_stage SELECT n, g, CONVERT(bigint, w0), w1, CONVERT(decimal(38,30), w2), \
             CONVERT(date, w3, 23), CONVERT(datetime2(7), w4, 126), CONVERT(datetimeoffset(7), w5), \
             w6, CONVERT(uniqueidentifier, w7) FROM #muster_loaded"
        );
    }

    #[test]
    fn what_a_column_cannot_hold_is_refused_before_it_is_sent() {
        let cases = [
            ("5", "bit", Err("out_of_range")),
            ("yes", "bit", Err("refused")),
            ("255", "tinyint", Ok("255")),
            ("256", "tinyint", Err("out_of_range")),
            ("-1", "tinyint", Err("out_of_range")),
            ("-9223372036854775808", "bigint", Ok("-9223372036854775808")),
            ("9223372036854775808", "bigint", Err("out_of_range")),
            ("1.0", "int", Err("refused")),
            ("12.5", "decimal(38,30)", Ok("12.5")),
            ("00000000012.5", "decimal(38,30)", Ok("00000000012.5")),
            ("123456789", "decimal(38,30)", Err("out_of_range")),
            ("0.1234567890", "decimal(38,9)", Ok("0.1234567890")),
            ("0.1234567891", "decimal(38,9)", Err("too_precise")),
            ("1e5", "decimal(38,9)", Err("refused")),
            ("1e400", "float", Err("refused")),
            ("2024-02-29", "date", Ok("2024-02-29")),
            ("2024-02-30", "date", Err("refused")),
            ("+12024-02-29", "date", Err("out_of_range")),
            ("2026-03-01T08:00:00.123456Z", "datetime2(7)", Ok("2026-03-01T08:00:00.123456")),
            ("2026-03-01T10:00:00+02:00", "datetimeoffset(7)", Ok("2026-03-01T08:00:00.000000+00:00")),
            ("soon", "datetime2(7)", Err("refused")),
            ("0000-01-01T00:00:00Z", "datetime2(7)", Err("out_of_range")),
            ("6F9619FF8B86D011B42D00CF4FC964FF", "uniqueidentifier", Ok("6f9619ff-8b86-d011-b42d-00cf4fc964ff")),
            ("me", "uniqueidentifier", Err("refused")),
            ("abc", "varchar(3) COLLATE Latin1_General_CI_AS", Ok("abc")),
            ("abcd", "varchar(3) COLLATE Latin1_General_CI_AS", Err("too_long")),
            // A letter of two units.
            ("a\u{1F600}", "nvarchar(2)", Err("too_long")),
            ("a\u{1F600}", "nvarchar(3)", Ok("a\u{1F600}")),
            ("a\u{1F600}", "nvarchar(max)", Ok("a\u{1F600}")),
        ];
        for (text, kind, expected) in cases {
            let found = value(text, kind);
            assert_eq!(found.as_deref().map_err(|(rule, _)| *rule), expected, "{text} as {kind}");
        }
        assert_eq!(bytes("\\x00ff", "varbinary(2)"), Ok([0, 255].into()));
        assert_eq!(bytes("\\x00ff00", "varbinary(2)"), Err(TOO_LONG));
        assert!(bytes("\\x00ff00", "varbinary(max)").is_ok() && bytes("Ada", "varbinary(max)").is_err());
        let row = StageRow { number: 7, group: 0, values: vec![None, Some("x".into())] };
        let failure = loaded(&stage(&["int", "int"]), std::slice::from_ref(&row)).unwrap_err();
        let expected = Class::Row { rule: "refused", column: None, constraint: None, staged: Some(1) };
        assert_eq!(failure.class, expected);
    }

    #[test]
    fn only_what_every_column_takes_as_it_is_goes_straight_into_the_stage() {
        let ci = "nvarchar(9) COLLATE Latin1_General_CI_AS";
        assert!(needs_no_conversion(&stage(&[ci, "nvarchar(max)", "varbinary(8)"])));
        for other in ["varchar(9) COLLATE Latin1_General_CI_AS", "int", "decimal(38,2)", "date", "bit"] {
            assert!(!needs_no_conversion(&stage(&[ci, other])), "{other}");
        }
    }

    #[test]
    fn only_letters_that_a_code_page_may_lack_are_asked_about() {
        let stage = stage(&["varchar(9) COLLATE Latin1_General_CI_AS", "nvarchar(9)"]);
        let row = |first: &'static str| {
            let values = [first, "Ł"].map(|text| Loaded::Text(Some(Cow::Borrowed(text)))).into();
            LoadedRow { number: 0, group: 0, values }
        };
        assert!(lost_letters(&stage, &[row("plain")], 0).is_none());
        assert!(lost_letters(&stage, &[row("plain")], 1).is_none(), "this one is no code page's");
        let query = lost_letters(&stage, &[row("plain"), row("Ł")], 0).unwrap();
        assert_eq!(
            query.text(),
            "SELECT TOP 1 CONVERT(nvarchar(1), '1') FROM #muster_loaded WHERE CONVERT(varbinary(max), w0) <> \
             CONVERT(varbinary(max), CONVERT(nvarchar(max), CONVERT(varchar(max), w0 COLLATE Latin1_General_CI_AS)))"
        );
    }
}
