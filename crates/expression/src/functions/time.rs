//! Dates and times.

use chrono::NaiveTime;
use muster_model::Value;

use super::{Expected, Function, Prepared, Takes, blank, example, function, required};
use crate::dotnet::dates::{from_file_time, to_file_time};
use crate::dotnet::format::{Format, Kind};
use crate::dotnet::intervals::{INTERVALS, Interval, add, between};
use crate::dotnet::reading::Styles;
use crate::evaluate::{Call, Stop};
use crate::node::Node;
use crate::value::{Datum, Scalar};

const HIRED: &[(&str, &[&str])] = &[("hired", &["2012-03-16-07:00"])];
const PERIOD: &[(&str, &[&str])] = &[("from", &["8/25/2021 5:41:18 PM"]), ("to", &["2012-03-16-07:00"])];

const INTERVAL_NOTE: &str =
    "Intervals: yyyy years, q quarters, m months, d or y days, w and ww weeks, h hours, n minutes, s seconds.";

/// The formats of a call, as far as they are constants.
#[derive(Debug, Default)]
pub(crate) struct Formats {
    styles: Option<Styles>,
    input: Option<Format>,
    output: Option<Format>,
}

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        notes: &[
            "Reads what .NET reads by itself in the invariant culture: 2020-03-16, 3/16/2020 7:00 AM, 16 March 2020, RFC 1123; with an offset or, without one, in UTC.",
            "The result is in UTC; as a text it is M/d/yyyy h:mm:ss tt, and it fits columns for dates and times as it is. Null gives null.",
        ],
        examples: &[
            example("CDate([start])", &[("start", &["2020-03-16-07:00"])], Expected::Text("3/16/2020 7:00:00 AM")),
            example("CDate([start])", &[("start", &["2021-06-30+08:00"])], Expected::Text("6/29/2021 4:00:00 PM")),
            example(
                "CDate([start])",
                &[("start", &["2009-06-15T01:45:30-07:00"])],
                Expected::Text("6/15/2009 8:45:30 AM"),
            ),
            example("CDate([start])", &[("start", &["next week"])], Expected::Fails("no date or time")),
        ],
        ..function("CDate", &[required("expression", Takes::Time)], "Makes a time of a text.", to_date)
    },
    Function {
        notes: &[
            INTERVAL_NOTE,
            "value may be negative. Months and years keep the day where the month has it, and otherwise end at the month's last.",
        ],
        examples: &[
            example("DateAdd(\"d\", 7, CDate([hired]))", HIRED, Expected::Text("3/23/2012 7:00:00 AM")),
            example("DateAdd(\"d\", -10, CDate([hired]))", HIRED, Expected::Text("3/6/2012 7:00:00 AM")),
            example("DateAdd(\"ww\", 2, CDate([hired]))", HIRED, Expected::Text("3/30/2012 7:00:00 AM")),
            example("DateAdd(\"m\", 10, CDate([hired]))", HIRED, Expected::Text("1/16/2013 7:00:00 AM")),
            example("DateAdd(\"yyyy\", 2, CDate([hired]))", HIRED, Expected::Text("3/16/2014 7:00:00 AM")),
        ],
        prepare: Some(interval),
        ..function(
            "DateAdd",
            &[required("interval", Takes::Text), required("value", Takes::Number), required("dateTime", Takes::Time)],
            "A time so much later.",
            date_add,
        )
    },
    Function {
        notes: &[
            "date2 less date1, with its sign, as Visual Basic counts: whole elapsed d, h, n, s and w, but boundaries passed for yyyy, q, m, and for ww, whose weeks begin on Sunday.",
            INTERVAL_NOTE,
        ],
        examples: &[
            example("DateDiff(\"d\", \"2021-08-18+08:00\", \"2021-08-31+08:00\")", &[], Expected::Text("13")),
            example("DateDiff(\"d\", CDate([from]), CDate([to]))", PERIOD, Expected::Text("-3449")),
            example("DateDiff(\"ww\", CDate([from]), CDate([to]))", PERIOD, Expected::Text("-493")),
            example("DateDiff(\"m\", CDate([from]), CDate([to]))", PERIOD, Expected::Text("-113")),
            example("DateDiff(\"yyyy\", CDate([from]), CDate([to]))", PERIOD, Expected::Text("-9")),
            example("DateDiff(\"h\", \"2021-08-24\", \"2021-08-25\")", &[], Expected::Text("24")),
            example("DateDiff(\"n\", \"2021-08-24\", \"2021-08-25\")", &[], Expected::Text("1440")),
            example("DateDiff(\"s\", \"2021-08-24\", \"2021-08-25\")", &[], Expected::Text("86400")),
            example("DateDiff(\"d\", \"2021-08-24\", \"2021-08-24\")", &[], Expected::Text("0")),
        ],
        prepare: Some(interval),
        ..function(
            "DateDiff",
            &[required("interval", Takes::Text), required("date1", Takes::Time), required("date2", Takes::Time)],
            "How far two times lie apart.",
            date_diff,
        )
    },
    Function {
        notes: &["A file time counts 100 nanoseconds from 1601, as Active Directory keeps them."],
        examples: &[example(
            "DateFromNum([accountExpires])",
            &[("accountExpires", &["129699324000000000"])],
            Expected::Text("1/1/2012 11:00:00 PM"),
        )],
        ..function("DateFromNum", &[required("value", Takes::Number)], "The time of a file time.", date_from_num)
    },
    Function {
        notes: &["The inverse of DateFromNum."],
        examples: &[example("NumFromDate(\"2020-12-31 23:59:59-08:00\")", &[], Expected::Text("132539615990000000"))],
        ..function("NumFromDate", &[required("value", Takes::Time)], "The file time of a time.", num_from_date)
    },
    Function {
        notes: &[
            "Formats are .NET's, custom ones or single letters for the standard ones, in the invariant culture. All times are in UTC.",
            "dateTimeStyles: names of .NET's DateTimeStyles with commas between them, such as \"AllowWhiteSpaces\"; without it white space at both ends is passed over.",
            "A source that is a time already needs no inputFormat; one without inputFormat is read as CDate does. A source that is not of the inputFormat is an error. An empty source gives null.",
        ],
        examples: &[
            example(
                "FormatDateTime([extensionAttribute1], , \"yyyyMMddHHmmss.fZ\", \"yyyy-MM-dd\")",
                &[("extensionAttribute1", &["20150123105347.1Z"])],
                Expected::Text("2015-01-23"),
            ),
            example(
                "FormatDateTime([d], , \"yyyy-MM-dd\", \"D\")",
                &[("d", &["2015-01-23"])],
                Expected::Text("Friday, 23 January 2015"),
            ),
            example(
                "FormatDateTime([d], , \"yyyy-MM-dd\", \"dd.MM.yyyy\")",
                &[("d", &["1/23/2015"])],
                Expected::Fails("not of the format"),
            ),
        ],
        prepare: Some(formats),
        ..function(
            "FormatDateTime",
            &[
                required("source", Takes::Text),
                blank("dateTimeStyles", Takes::Text),
                blank("inputFormat", Takes::Text),
                required("outputFormat", Takes::Text),
            ],
            "Writes a date in another form.",
            format_date_time,
        )
    },
    Function {
        volatile: true,
        notes: &["In UTC, as M/d/yyyy h:mm:ss tt."],
        examples: &[example(
            "Now()",
            &[],
            Expected::Like("7/2/2021 3:33:38 PM", r"^\d{1,2}/\d{1,2}/\d{4} \d{1,2}:\d\d:\d\d [AP]M$"),
        )],
        ..function("Now", &[], "The present time.", now)
    },
];

fn interval(arguments: &[Node]) -> Result<Prepared, (usize, String)> {
    match arguments.first().and_then(Node::text) {
        Some(name) if Interval::named(name).is_none() => {
            Err((0, format!("{name:?} is no interval; expected {INTERVALS}")))
        }
        _ => Ok(Prepared::Nothing),
    }
}

fn interval_of(call: &Call<'_, '_>) -> Result<Interval, Stop> {
    let name = call.text(0)?.unwrap_or_default();
    Interval::named(&name).ok_or_else(|| call.fail(format!("{name:?} is no interval; expected {INTERVALS}")))
}

fn formats(arguments: &[Node]) -> Result<Prepared, (usize, String)> {
    let format = |position: usize| {
        let text = arguments.get(position).and_then(Node::text).filter(|text| !text.is_empty());
        text.map(Format::parse).transpose().map_err(|problem| (position, problem))
    };
    let styles =
        arguments.get(1).and_then(Node::text).map(Styles::parse).transpose().map_err(|problem| (1, problem))?;
    let input = format(2)?;
    // What a text leaves out would be today's, so that the value changed by itself from one day or year to the next.
    if input.as_ref().is_some_and(|format| !format.has_year()) {
        return Err((2, "the input format has no year, so that the date would be this year's or today's".to_owned()));
    }
    Ok(Prepared::Formats(Formats { styles, input, output: format(3)? }))
}

fn to_date<'a>(call: &Call<'_, 'a>) -> Result<Datum<'a>, Stop> {
    Ok(call.instant(0)?.map_or(Datum::Null, |instant| Datum::One(Scalar::Instant(instant))))
}

fn date_add<'a>(call: &Call<'_, 'a>) -> Result<Datum<'a>, Stop> {
    let interval = interval_of(call)?;
    let (Some(number), Some(date)) = (call.integer(1)?, call.instant(2)?) else { return Ok(Datum::Null) };
    let sum = add(interval, number, date).ok_or_else(|| call.fail("no calendar reaches that far"))?;
    Ok(Datum::One(Scalar::Instant(sum)))
}

fn date_diff<'a>(call: &Call<'_, 'a>) -> Result<Datum<'a>, Stop> {
    let interval = interval_of(call)?;
    let (Some(from), Some(to)) = (call.instant(1)?, call.instant(2)?) else { return Ok(Datum::Null) };
    Ok(Datum::One(Scalar::Integer(between(interval, from, to))))
}

fn date_from_num<'a>(call: &Call<'_, 'a>) -> Result<Datum<'a>, Stop> {
    let Some(number) = call.integer(0)? else { return Ok(Datum::Null) };
    let instant = from_file_time(number).ok_or_else(|| call.fail(format!("{number} is the file time of no date")))?;
    Ok(Datum::One(Scalar::Instant(instant)))
}

fn num_from_date<'a>(call: &Call<'_, 'a>) -> Result<Datum<'a>, Stop> {
    let Some(instant) = call.instant(0)? else { return Ok(Datum::Null) };
    let number = to_file_time(instant).ok_or_else(|| call.fail("no file time reaches that far"))?;
    Ok(Datum::One(Scalar::Integer(number)))
}

fn now<'a>(call: &Call<'_, 'a>) -> Result<Datum<'a>, Stop> {
    Ok(Datum::One(Scalar::Instant(call.run.context.now)))
}

fn format_date_time<'a>(call: &Call<'_, 'a>) -> Result<Datum<'a>, Stop> {
    let Prepared::Formats(ready) = &call.step.prepared else { return Ok(Datum::Null) };
    let Some(source) = call.scalar(0)?.filter(|source| !source.is_empty()) else { return Ok(Datum::Null) };
    let own;
    let output = match &ready.output {
        Some(output) => output,
        None => {
            own = Format::parse(&call.text(3)?.unwrap_or_default()).map_err(|problem| call.fail(problem))?;
            &own
        }
    };
    let (time, kind) = match (&source, source.other()) {
        (Scalar::Instant(instant), _) => (instant.naive_utc(), Kind::Utc),
        (_, Some(Value::Date(date))) => (date.and_time(NaiveTime::MIN), Kind::Unspecified),
        _ => read(call, &source, ready)?,
    };
    Ok(Datum::text(output.write(time, kind)))
}

fn read(call: &Call<'_, '_>, source: &Scalar<'_>, ready: &Formats) -> Result<(chrono::NaiveDateTime, Kind), Stop> {
    let styles = match ready.styles {
        Some(styles) => styles,
        None => Styles::parse(&call.text(1)?.unwrap_or_default()).map_err(|problem| call.fail(problem))?,
    };
    let format = call.text(2)?.unwrap_or_default();
    if format.is_empty() {
        let instant = source.instant().ok_or_else(|| call.unfit(0, source, "no date or time that can be read"))?;
        return Ok((instant.naive_utc(), Kind::Unspecified));
    }
    let own;
    let input = match &ready.input {
        Some(input) => input,
        None => {
            own = Format::parse(&format).map_err(|problem| call.fail(problem))?;
            &own
        }
    };
    let read = input.read(&source.text(), styles, call.run.context.now);
    read.ok_or_else(|| call.unfit(0, source, &format!("not of the format {format:?}")))
}
