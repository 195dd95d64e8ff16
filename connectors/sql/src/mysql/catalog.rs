//! What `information_schema` says, and what types mean.

use std::collections::BTreeMap;

use muster_model::ValueType;

use super::MySql;
use crate::catalog::{Catalog, Choices, Column, ForeignKey, Table};
use crate::database::Text;
use crate::error::Failure;
use crate::statement::{Name, Quote, TableName};

/// How a staged binary value is declared.
pub(super) const BINARY: &str = "longblob";

/// How a staged moment is declared.
pub(super) const MOMENT: &str = "datetime(6)";

const TABLES: &str = "SELECT table_schema, table_name, engine FROM information_schema.tables \
    WHERE table_schema = DATABASE() AND table_type IN ('BASE TABLE', 'SYSTEM VERSIONED', 'VIEW') ORDER BY table_name";

/// Storage engines with transactions. Views have none.
const UNDOING: [&str; 5] = ["InnoDB", "ndbcluster", "NDBCLUSTER", "ROCKSDB", "TokuDB"];

const COLUMNS: &str = "SELECT table_name, column_name, column_type, CAST(character_maximum_length AS CHAR), is_nullable, \
    column_default, extra, character_set_name, collation_name, data_type FROM information_schema.columns \
    WHERE table_schema = DATABASE() ORDER BY table_name, ordinal_position";

// A key over a part of a column, or over an expression, is no key over columns.
const KEYS: &str = "SELECT table_name, index_name, column_name, CAST(sub_part AS CHAR) FROM information_schema.statistics \
    WHERE table_schema = DATABASE() AND non_unique = 0 ORDER BY table_name, index_name, seq_in_index";

const FOREIGN_KEYS: &str = "SELECT table_name, min(column_name), min(referenced_table_schema), min(referenced_table_name), \
    min(referenced_column_name) FROM information_schema.key_column_usage \
    WHERE table_schema = DATABASE() AND referenced_table_name IS NOT NULL \
    GROUP BY table_name, constraint_name HAVING count(*) = 1 ORDER BY table_name, constraint_name";

/// The type's own word, of `int(10) unsigned`.
fn word(native: &str) -> &str {
    native.split(['(', ' ']).next().unwrap_or(native)
}

/// What a type means, as the database spells it.
pub(super) fn value_type(native: &str) -> Option<ValueType> {
    Some(match word(native) {
        // What `BOOLEAN` is declared as.
        "tinyint" if native == "tinyint(1)" => ValueType::Boolean,
        "bit" if native == "bit(1)" => ValueType::Boolean,
        "tinyint" | "smallint" | "mediumint" | "int" | "integer" | "bigint" | "year" => ValueType::Integer,
        "decimal" | "float" | "double" => ValueType::Decimal,
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "enum" | "set" | "json" => {
            ValueType::Text
        }
        "date" => ValueType::Date,
        "datetime" | "timestamp" => ValueType::Instant,
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => ValueType::Binary,
        "uuid" => ValueType::Uuid,
        _ => return None,
    })
}

/// A declaration that holds any value of the type, and compares it as the column does: texts of another collation
/// cannot be compared, and a text cut to fit would name another row.
fn stage_type(native: &str, charset: &str, collation: &str) -> String {
    match value_type(native) {
        Some(ValueType::Boolean) => "tinyint".to_owned(),
        Some(ValueType::Integer) => "bigint".to_owned(),
        Some(ValueType::Decimal) if word(native) == "decimal" => "decimal(65,30)".to_owned(),
        Some(ValueType::Decimal) => "double".to_owned(),
        Some(ValueType::Date) => "date".to_owned(),
        Some(ValueType::Instant) => MOMENT.to_owned(),
        Some(ValueType::Binary) => BINARY.to_owned(),
        Some(ValueType::Uuid) => "uuid".to_owned(),
        _ => {
            let is_word = |text: &str| {
                !text.is_empty() && text.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
            };
            let known = is_word(charset) && is_word(collation);
            let (charset, collation) = if known { (charset, collation) } else { ("utf8mb4", "utf8mb4_bin") };
            format!("longtext CHARACTER SET {charset} COLLATE {collation}")
        }
    }
}

/// Whether a text bound for a column of that type becomes the same there as in a column of [`stage_type`].
pub(super) fn binds_directly(native: &str) -> bool {
    const TYPES: [&str; 19] = [
        "char",
        "varchar",
        "tinytext",
        "text",
        "mediumtext",
        "longtext",
        "tinyint",
        "smallint",
        "mediumint",
        "int",
        "bigint",
        "decimal",
        "date",
        "datetime",
        "timestamp",
        "uuid",
        "binary",
        "varbinary",
        "blob",
    ];
    TYPES.contains(&word(native))
}

/// The texts of `enum('a','it''s')`.
fn choices(native: &str) -> Option<Choices> {
    let several = word(native) == "set";
    if !several && word(native) != "enum" {
        return None;
    }
    let list = native.split_once('(')?.1.strip_suffix(')')?;
    let mut texts = Vec::new();
    let mut rest = list.strip_prefix('\'');
    while let Some(open) = rest {
        let mut text = String::new();
        let mut letters = open.char_indices().peekable();
        let mut end = open.len();
        while let Some((at, letter)) = letters.next() {
            if letter != '\'' {
                text.push(letter);
            } else if letters.next_if(|(_, next)| *next == '\'').is_some() {
                text.push('\'');
            } else {
                end = at + 1;
                break;
            }
        }
        texts.push(text);
        rest = open.get(end..).and_then(|rest| rest.strip_prefix(",'"));
    }
    Some(Choices { texts, several })
}

/// A row of `SHOW FULL COLUMNS`, of a query's answer.
pub(super) fn shown_column(row: &[Text]) -> Option<Column> {
    let text = |position: usize| row.get(position).and_then(Option::as_deref);
    let (name, native, collation) = (text(0)?, text(1)?.to_owned(), text(2).unwrap_or_default());
    let charset = collation.split('_').next().unwrap_or_default();
    let value_type = value_type(&native);
    Some(Column {
        stage_type: stage_type(&native, charset, collation),
        case_insensitive: value_type == Some(ValueType::Text) && collation.ends_with("_ci"),
        nullable: text(3) == Some("YES"),
        value_type,
        ..Column::answered(name, native)
    })
}

fn read_column(row: &[Text]) -> Option<Column> {
    let text = |position: usize| row.get(position).and_then(Option::as_deref);
    let name = text(1)?.to_owned();
    let native = text(2)?.to_owned();
    let value_type = value_type(&native);
    let extra = text(6).unwrap_or_default().to_ascii_lowercase();
    let collation = text(8).unwrap_or_default();
    let counted = extra.contains("auto_increment");
    // Of a text without a declared length the catalogue tells bytes.
    let has_length = matches!(text(9), Some("char" | "varchar"));
    Some(Column {
        stage_type: stage_type(&native, text(7).unwrap_or_default(), collation),
        max_length: text(3).filter(|_| has_length).and_then(|length| length.parse().ok()),
        nullable: text(4) == Some("YES"),
        // MariaDB spells out that there is none.
        has_default: counted || text(5).is_some_and(|default| default != "NULL"),
        // Not "DEFAULT_GENERATED", which is a default that is an expression.
        generated: ["virtual generated", "stored generated", "persistent generated"]
            .iter()
            .any(|kind| extra.contains(kind)),
        case_insensitive: value_type == Some(ValueType::Text) && collation.ends_with("_ci"),
        choices: choices(&native),
        counted,
        value_type,
        name,
        native,
    })
}

pub(super) async fn read(database: &MySql) -> Result<Catalog, Failure> {
    let mut tables: BTreeMap<String, Table> = BTreeMap::new();
    let quoted = |name: &str| Name::new(name, Quote::Backtick);
    let named = |schema: &str, table: &str| TableName::new(Some(quoted(schema)), quoted(table));
    for row in database.ask(TABLES).await? {
        let [Some(schema), Some(table), engine] = row.as_slice() else { continue };
        let found = Table {
            name: named(schema, table),
            columns: Vec::new(),
            primary_key: Vec::new(),
            unique: Vec::new(),
            foreign_keys: Vec::new(),
            without_undo: engine.as_deref().filter(|engine| !UNDOING.contains(engine)).map(str::to_owned),
            is_default_schema: true,
        };
        tables.insert(table.to_string(), found);
    }
    let of = |row: &[Text]| row.first().cloned().flatten().unwrap_or_default().to_string();
    for row in database.ask(COLUMNS).await? {
        let Some(table) = tables.get_mut(&of(&row)) else { continue };
        table.columns.extend(read_column(&row));
    }
    let mut keys: Vec<(String, String, Option<Vec<String>>)> = Vec::new();
    for row in database.ask(KEYS).await? {
        let text = |position: usize| row.get(position).and_then(Option::as_deref).map(str::to_owned);
        let (table, index) = (of(&row), text(1).unwrap_or_default());
        let column = text(2).filter(|_| text(3).is_none());
        match keys.last_mut().filter(|(of, name, _)| *of == table && *name == index) {
            Some((.., columns)) => match column.zip(columns.as_mut()) {
                Some((one, all)) => all.push(one),
                None => *columns = None,
            },
            None => keys.push((table, index, column.map(|column| vec![column]))),
        }
    }
    for (table, index, columns) in keys {
        let (Some(table), Some(columns)) = (tables.get_mut(&table), columns) else { continue };
        if index == "PRIMARY" {
            table.primary_key = columns;
        } else {
            table.unique.push(columns);
        }
    }
    for row in database.ask(FOREIGN_KEYS).await? {
        let [_, Some(column), Some(schema), Some(other), Some(referenced)] = row.as_slice() else { continue };
        let Some(table) = tables.get_mut(&of(&row)) else { continue };
        let (column, referenced) = (column.to_string(), referenced.to_string());
        table.foreign_keys.push(ForeignKey { column, table: named(schema, other), referenced });
    }
    let mut catalog = Catalog::default();
    catalog.tables.extend(tables.into_values());
    Ok(catalog)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_by_their_declarations() {
        let cases = [
            ("tinyint(1)", Some(ValueType::Boolean)),
            ("tinyint(1) unsigned", Some(ValueType::Integer)),
            ("tinyint(4)", Some(ValueType::Integer)),
            ("bit(1)", Some(ValueType::Boolean)),
            ("bit(8)", None),
            ("bigint(20) unsigned", Some(ValueType::Integer)),
            ("timestamp(6)", Some(ValueType::Instant)),
            ("time", None),
            ("enum('a','b')", Some(ValueType::Text)),
            ("binary(16)", Some(ValueType::Binary)),
            ("point", None),
        ];
        for (native, expected) in cases {
            assert_eq!(value_type(native), expected, "{native}");
        }
        assert_eq!(stage_type("varchar(3)", "latin1; DROP", "x"), "longtext CHARACTER SET utf8mb4 COLLATE utf8mb4_bin");
    }

    #[test]
    fn a_number_is_no_choice_unless_it_is_listed() {
        let found = choices("enum('low','it''s, so','7','')").unwrap();
        assert_eq!(found.texts, ["low", "it's, so", "7", ""]);
        assert!(
            found.admit("7") && found.admit("low") && found.admit("wrong") && !found.admit("1") && !found.admit(" 2 ")
        );
        let found = choices("set('1','2','x')").unwrap();
        assert!(found.admit("1,2") && found.admit("x") && !found.admit("3"));
        assert!(choices("varchar(3)").is_none());
    }
}
