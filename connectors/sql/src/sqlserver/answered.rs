//! What a query would answer, asked for without running it.

use muster_model::ValueType;

use super::catalog::native;
use super::types::{stage_type, value_type};
use crate::catalog::Column;
use crate::database::Text;
use crate::statement::{Sql, sql};

/// Asks for the columns of a query. The procedure rather than the function of the same purpose, which servers that only
/// speak the protocol need not have. Source: Microsoft Learn, "sp_describe_first_result_set (Transact-SQL)".
pub(super) fn described(query: &str) -> Sql {
    let query = query.replace('\'', "''");
    sql!("EXEC sp_describe_first_result_set @tsql = N'{query}'")
}

/// A row of the procedure's answer. `None` for one that is hidden, or has no name or type.
pub(super) fn described_column(row: &[Text]) -> Option<Column> {
    let text = |position: usize| row.get(position).and_then(Option::as_deref);
    let [is_hidden, name, is_nullable, kind] = [0, 2, 3, 5].map(text);
    if is_hidden == Some("1") {
        return None;
    }
    let (name, kind, collation) = (name?, kind?.to_ascii_lowercase(), text(9).unwrap_or_default());
    let native = if kind.contains('(') { kind } else { completed(&kind, [6, 7, 8].map(text)) };
    let value_type = value_type(&native);
    Some(Column {
        stage_type: stage_type(&native, collation),
        case_insensitive: value_type == Some(ValueType::Text) && collation.to_ascii_lowercase().contains("_ci"),
        nullable: is_nullable != Some("0"),
        value_type,
        ..Column::answered(name, native)
    })
}

/// A type that comes without its length, which stands beside it, in bytes.
fn completed(kind: &str, [bytes, precision, scale]: [Option<&str>; 3]) -> String {
    let letters = match (kind, bytes.and_then(|bytes| bytes.parse::<i32>().ok())) {
        ("nchar" | "nvarchar", Some(bytes)) if bytes > 0 => Some((bytes / 2).to_string()),
        (_, bytes) => bytes.map(|bytes| bytes.to_string()),
    };
    native(kind, letters.as_deref(), precision, scale, scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_described_by_its_text() {
        assert_eq!(
            described("SELECT no FROM staff WHERE kind = 'a'").text(),
            "EXEC sp_describe_first_result_set @tsql = N'SELECT no FROM staff WHERE kind = ''a'''"
        );
    }

    #[test]
    fn types_are_told_with_their_lengths_or_beside_them() {
        let ci = Some("SQL_Latin1_General_CP1_CI_AS");
        let row = |name, kind, bytes, precision, scale, collation| -> Vec<Text> {
            let row = [Some("0"), Some("1"), name, Some("1"), Some("231"), kind, bytes, precision, scale, collation];
            row.iter().map(|text| text.map(Into::into)).collect()
        };
        let zero = Some("0");
        let cases = [
            (row(Some("a"), Some("nvarchar(40)"), Some("80"), zero, zero, ci), "nvarchar(40)"),
            (row(Some("a"), Some("nvarchar"), Some("80"), zero, zero, ci), "nvarchar(40)"),
            (row(Some("a"), Some("varchar"), Some("9"), zero, zero, ci), "varchar(9)"),
            (row(Some("a"), Some("nvarchar"), Some("-1"), zero, zero, ci), "nvarchar(max)"),
            (row(Some("a"), Some("decimal"), Some("9"), Some("10"), Some("2"), None), "decimal(10,2)"),
            (row(Some("a"), Some("datetime2"), Some("7"), Some("23"), Some("3"), None), "datetime2(3)"),
            (row(Some("a"), Some("INT"), Some("4"), Some("10"), zero, None), "int"),
        ];
        for (row, expected) in cases {
            let column = described_column(&row).unwrap();
            assert_eq!(column.native, expected);
            assert_eq!(column.case_insensitive, row[9].is_some(), "{expected}");
        }
        assert!(described_column(&row(None, Some("int"), None, None, None, None)).is_none());
        let mut hidden = row(Some("a"), Some("int"), None, None, None, None);
        hidden[0] = Some("1".into());
        assert!(described_column(&hidden).is_none());
    }
}
