//! What types mean, how their values are read as text, and how they are written as literals.

use muster_model::ValueType;

use crate::database::Text;
use crate::text::instant;

/// The type's own word, of `nvarchar(40)`.
pub(super) fn word(native: &str) -> &str {
    native.split('(').next().unwrap_or(native)
}

/// The numbers of `decimal(10,2)`; none of `nvarchar(max)`.
pub(super) fn numbers(native: &str) -> impl Iterator<Item = usize> {
    let inner = native.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map_or("", |(inner, _)| inner);
    inner.split(',').filter_map(|number| number.trim().parse().ok())
}

/// What a type means, as the database spells it.
pub(super) fn value_type(native: &str) -> Option<ValueType> {
    Some(match word(native) {
        "bit" => ValueType::Boolean,
        "tinyint" | "smallint" | "int" | "bigint" => ValueType::Integer,
        "decimal" | "numeric" | "money" | "smallmoney" | "float" | "real" => ValueType::Decimal,
        "char" | "varchar" | "text" | "nchar" | "nvarchar" | "ntext" => ValueType::Text,
        "date" => ValueType::Date,
        "datetime" | "smalldatetime" | "datetime2" | "datetimeoffset" => ValueType::Instant,
        "uniqueidentifier" => ValueType::Uuid,
        "binary" | "varbinary" | "image" | "timestamp" => ValueType::Binary,
        _ => return None,
    })
}

/// The most digits of a decimal number.
pub(super) const DIGITS: usize = 38;

/// How a staged amount of money is declared.
const MONEY: &str = "decimal(38,19)";

/// A declaration for values on their way to a column. Texts keep the column's length and collation: longer ones are
/// refused, never cut, and those of another collation could not be compared. Decimals get all the digits that there
/// are, for one rounded to fit would name another row.
pub(super) fn stage_type(native: &str, collation: &str) -> String {
    let is_word =
        !collation.is_empty() && collation.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_');
    let collate = if is_word { format!(" COLLATE {collation}") } else { String::new() };
    let sized = |kind: &str| match numbers(native).next() {
        Some(length) => format!("{kind}({length})"),
        None => format!("{kind}(max)"),
    };
    match (word(native), value_type(native)) {
        ("decimal" | "numeric", _) => {
            let mut numbers = numbers(native);
            let (precision, scale) = (numbers.next().unwrap_or(18), numbers.next().unwrap_or(0));
            format!("decimal({DIGITS},{})", DIGITS.saturating_sub(precision.saturating_sub(scale)))
        }
        ("money" | "smallmoney", _) => MONEY.to_owned(),
        ("char" | "varchar" | "text", _) => format!("{}{collate}", sized("varchar")),
        (_, Some(ValueType::Text)) => format!("{}{collate}", sized("nvarchar")),
        ("timestamp", _) => "varbinary(8)".to_owned(),
        (_, Some(ValueType::Binary)) => sized("varbinary"),
        ("datetimeoffset", _) => "datetimeoffset(7)".to_owned(),
        (_, Some(ValueType::Instant)) => "datetime2(7)".to_owned(),
        // What cannot be written is not staged either; it only has to be a type.
        (_, None) => "nvarchar(max)".to_owned(),
        (word, _) => word.to_owned(),
    }
}

/// An expression whose text form [`crate::text::decode`] understands.
pub(super) fn read_expression(column: &str, native: &str) -> String {
    match word(native) {
        "bit" => format!("CONVERT(nvarchar(1), {column})"),
        "tinyint" | "smallint" | "int" | "bigint" => format!("CONVERT(nvarchar(20), {column})"),
        "decimal" | "numeric" => format!("CONVERT(nvarchar(41), {column})"),
        // Its own text form has two digits after the point.
        "money" | "smallmoney" => format!("CONVERT(nvarchar(41), CONVERT(decimal(19,4), {column}))"),
        // There is no text form with just the digits that tell it from its neighbours: it is written here.
        "float" | "real" => column.to_owned(),
        // Filled up with blanks.
        "char" | "nchar" => format!("CONVERT(nvarchar(max), RTRIM({column}))"),
        "date" => format!("CONVERT(nvarchar(10), {column}, 23)"),
        "datetime" | "smalldatetime" | "datetime2" => {
            format!("CONVERT(nvarchar(33), CONVERT(datetime2(7), {column}), 126)")
        }
        "datetimeoffset" => {
            format!("CONVERT(nvarchar(33), CONVERT(datetime2(7), SWITCHOFFSET({column}, '+00:00')), 126)")
        }
        "uniqueidentifier" => format!("CONVERT(nvarchar(36), {column})"),
        "binary" | "varbinary" | "timestamp" | "image" => format!("CONVERT(varbinary(max), {column})"),
        _ => format!("CONVERT(nvarchar(max), {column})"),
    }
}

/// A text as a literal. A backslash at the end of a line would swallow the line's end.
pub(super) fn quoted(text: &str) -> String {
    let text = text.replace('\'', "''").replace("\\\r\n", "\\' + N'\r\n").replace("\\\n", "\\' + N'\n");
    if text.contains("' + N'") { format!("(N'{text}')") } else { format!("N'{text}'") }
}

/// A value as a literal.
pub(super) fn literal(text: &Text, native: &str) -> String {
    let Some(text) = text else { return "NULL".to_owned() };
    match value_type(native) {
        Some(ValueType::Integer | ValueType::Boolean | ValueType::Decimal) => text.to_string(),
        Some(ValueType::Binary) => format!("0x{}", text.trim_start_matches("\\x")),
        Some(ValueType::Date | ValueType::Uuid) => format!("'{}'", text.replace('\'', "''")),
        Some(ValueType::Instant) => match instant(text) {
            // The older types know three digits after the point and no zone.
            Some(moment) if matches!(word(native), "datetime" | "smalldatetime") => {
                format!("'{}'", moment.format("%Y-%m-%dT%H:%M:%S%.3f"))
            }
            Some(moment) if word(native) == "datetimeoffset" => {
                format!("'{}'", moment.format("%Y-%m-%dT%H:%M:%S%.6f+00:00"))
            }
            Some(moment) => format!("'{}'", moment.format("%Y-%m-%dT%H:%M:%S%.6f")),
            None => quoted(text),
        },
        _ => quoted(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_by_their_declarations() {
        let cases = [
            ("bit", Some(ValueType::Boolean), "bit"),
            ("tinyint", Some(ValueType::Integer), "tinyint"),
            ("bigint", Some(ValueType::Integer), "bigint"),
            ("decimal(10,2)", Some(ValueType::Decimal), "decimal(38,30)"),
            ("numeric(38,0)", Some(ValueType::Decimal), "decimal(38,0)"),
            ("money", Some(ValueType::Decimal), "decimal(38,19)"),
            ("float", Some(ValueType::Decimal), "float"),
            ("real", Some(ValueType::Decimal), "real"),
            ("varchar(20)", Some(ValueType::Text), "varchar(20) COLLATE Latin1_General_CI_AS"),
            ("char(3)", Some(ValueType::Text), "varchar(3) COLLATE Latin1_General_CI_AS"),
            ("nvarchar(max)", Some(ValueType::Text), "nvarchar(max) COLLATE Latin1_General_CI_AS"),
            ("ntext", Some(ValueType::Text), "nvarchar(max) COLLATE Latin1_General_CI_AS"),
            ("date", Some(ValueType::Date), "date"),
            ("time(7)", None, "nvarchar(max)"),
            ("datetime", Some(ValueType::Instant), "datetime2(7)"),
            ("datetimeoffset(3)", Some(ValueType::Instant), "datetimeoffset(7)"),
            ("uniqueidentifier", Some(ValueType::Uuid), "uniqueidentifier"),
            ("binary(16)", Some(ValueType::Binary), "varbinary(16)"),
            ("varbinary(max)", Some(ValueType::Binary), "varbinary(max)"),
            ("timestamp", Some(ValueType::Binary), "varbinary(8)"),
            ("xml", None, "nvarchar(max)"),
            ("sql_variant", None, "nvarchar(max)"),
        ];
        for (native, expected, staged) in cases {
            assert_eq!(value_type(native), expected, "{native}");
            assert_eq!(stage_type(native, "Latin1_General_CI_AS"), staged, "{native}");
        }
        assert_eq!(stage_type("nvarchar(3)", "x; DROP TABLE y"), "nvarchar(3)");
    }

    #[test]
    fn values_are_read_as_texts_that_lose_nothing() {
        let cases = [
            ("bit", "CONVERT(nvarchar(1), [c])"),
            ("int", "CONVERT(nvarchar(20), [c])"),
            ("decimal(38,10)", "CONVERT(nvarchar(41), [c])"),
            ("money", "CONVERT(nvarchar(41), CONVERT(decimal(19,4), [c]))"),
            ("float", "[c]"),
            ("nchar(4)", "CONVERT(nvarchar(max), RTRIM([c]))"),
            ("date", "CONVERT(nvarchar(10), [c], 23)"),
            ("datetime2(3)", "CONVERT(nvarchar(33), CONVERT(datetime2(7), [c]), 126)"),
            ("datetimeoffset(7)", "CONVERT(nvarchar(33), CONVERT(datetime2(7), SWITCHOFFSET([c], '+00:00')), 126)"),
            ("uniqueidentifier", "CONVERT(nvarchar(36), [c])"),
            ("binary(16)", "CONVERT(varbinary(max), [c])"),
            ("nvarchar(20)", "CONVERT(nvarchar(max), [c])"),
        ];
        for (native, expected) in cases {
            assert_eq!(read_expression("[c]", native), expected);
        }
    }

    #[test]
    fn no_value_escapes_its_literal() {
        let cases = [
            ("O'Brien", "nvarchar(20)", "N'O''Brien'"),
            ("Ł", "varchar(20)", "N'Ł'"),
            ("a\\\nb", "nvarchar(20)", "(N'a\\' + N'\nb')"),
            ("a\\b\n", "nvarchar(20)", "N'a\\b\n'"),
            ("-12.50", "decimal(10,2)", "-12.50"),
            ("1", "bit", "1"),
            ("\\x00ff", "varbinary(9)", "0x00ff"),
            ("2024-02-29", "date", "'2024-02-29'"),
            ("2026-03-01T08:00:00.123456Z", "datetime", "'2026-03-01T08:00:00.123'"),
            ("2026-03-01T08:00:00.123456Z", "datetime2(7)", "'2026-03-01T08:00:00.123456'"),
            ("2026-03-01T08:00:00.000000Z", "datetimeoffset(7)", "'2026-03-01T08:00:00.000000+00:00'"),
            ("x', 1); DROP TABLE y; --", "uniqueidentifier", "'x'', 1); DROP TABLE y; --'"),
        ];
        for (text, native, expected) in cases {
            assert_eq!(literal(&Some(text.into()), native), expected, "{native}");
        }
        assert_eq!(literal(&None, "int"), "NULL");
    }
}
