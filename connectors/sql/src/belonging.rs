//! Which rows of a table belong to a type, and what the database itself fills in: those of one tenant, those that are
//! not marked as deleted, columns by expression.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::Utc;
use muster_connector::Error;
use muster_model::{Slot, Value, ValueType};

use crate::catalog::{Column, Table};
use crate::config::TypeSettings;
use crate::database::{Database, Text};
use crate::enabling::Word;
use crate::schema::{known_column, wrong};
use crate::statement::{Name, joined};
use crate::text::{decode, encode_value};

/// What a type says of its rows besides the attributes that are mapped.
#[derive(Debug, Clone, Default)]
pub(crate) struct Belonging {
    /// What all its rows have, as literals; new ones get it.
    constants: Vec<(Name, String)>,
    /// The same as they are bound.
    bound: Vec<(Name, Arc<str>)>,
    mark: Option<Mark>,
    on_create: Vec<(Name, String)>,
    on_update: Vec<(Name, String)>,
}

/// The column that says that a row is deleted.
#[derive(Debug, Clone)]
struct Mark {
    column: Name,
    native: String,
    /// What deleted rows have, as a literal; `None` where it is the moment of the deletion.
    literal: Option<String>,
    value_type: ValueType,
}

impl Belonging {
    pub(crate) fn new(
        type_name: &str,
        configured: &TypeSettings,
        table: &Table,
        database: &dyn Database,
    ) -> Result<Self, Error> {
        let setting = |name: &str| format!("types.{type_name}.{name}");
        let expressions = |name: &str, given: &BTreeMap<String, String>| -> Result<Vec<(Name, String)>, Error> {
            let mut found = Vec::with_capacity(given.len());
            for (column, expression) in given {
                let setting = format!("{}.{column}", setting(name));
                let known = known_column(table, &setting, column)?;
                if configured.rows.contains_key(column) || configured.enabled.as_ref() == Some(column) {
                    let problem = format!("column {column:?} has a setting of its own");
                    return Err(wrong(setting, problem, "remove it here".to_owned()));
                }
                if name == "on_update" && configured.deleted.as_ref() == Some(column) {
                    let problem =
                        format!("column {column:?} says whether a row is deleted, and no update may change that");
                    return Err(wrong(setting, problem, "remove it here".to_owned()));
                }
                if expression.trim().is_empty() {
                    let fix = "write an expression of the database, such as \"CURRENT_TIMESTAMP\"".to_owned();
                    return Err(wrong(setting, "the expression is empty".to_owned(), fix));
                }
                found.push((table.quoted(&known.name), format!("({expression})")));
            }
            Ok(found)
        };
        let (constants, bound) = constants(&setting("where"), &configured.rows, table, database)?;
        Ok(Self {
            constants,
            bound,
            mark: mark(&setting("deleted"), configured, table, database)?,
            on_create: expressions("on_create", &configured.on_create)?,
            on_update: expressions("on_update", &configured.on_update)?,
        })
    }

    /// What only the rows of a table of values have.
    pub(crate) fn of_values(
        setting: &str,
        given: &BTreeMap<String, Word>,
        table: &Table,
        database: &dyn Database,
    ) -> Result<Self, Error> {
        let (constants, bound) = constants(setting, given, table, database)?;
        Ok(Self { constants, bound, ..Self::default() })
    }

    /// What else must be true of a row of the table `alias`, each with `AND` before it. Without an alias the table is
    /// the only one.
    pub(crate) fn and(&self, alias: &str) -> String {
        let of = |column: &Name| if alias.is_empty() { column.to_string() } else { format!("{alias}.{column}") };
        let constants = self.constants.iter().map(|(column, literal)| format!(" AND {} = {literal}", of(column)));
        joined(constants.chain(self.mark.iter().map(|mark| format!(" AND {}", mark.is_absent(&of(&mark.column))))), "")
    }

    /// The same, whether or not a row is marked as deleted.
    pub(crate) fn and_constants(&self, alias: &str) -> String {
        joined(self.constants.iter().map(|(column, literal)| format!(" AND {alias}.{column} = {literal}")), "")
    }

    /// What is true of a row that is not marked as deleted, where rows are marked.
    pub(crate) fn unmarked(&self, alias: &str) -> Option<String> {
        self.mark.as_ref().map(|mark| mark.is_absent(&format!("{alias}.{}", mark.column)))
    }

    /// The same as a condition of its own.
    pub(crate) fn condition(&self, alias: &str) -> Option<String> {
        self.and(alias).strip_prefix(" AND ").map(str::to_owned)
    }

    /// What a new row gets: columns, and terms that are no values of the source.
    pub(crate) fn of_new_rows(&self) -> impl Iterator<Item = &(Name, String)> {
        self.constants.iter().chain(&self.on_create)
    }

    /// What a changed row gets.
    pub(crate) fn of_changed_rows(&self) -> &[(Name, String)] {
        &self.on_update
    }

    /// What the row of a deleted object gets, where rows are marked and stay.
    pub(crate) fn of_deleted_rows(&self, database: &dyn Database) -> Option<Vec<(Name, String)>> {
        let mark = self.mark.as_ref()?;
        let now = || match mark.value_type {
            ValueType::Date => Value::Date(Utc::now().date_naive()),
            _ => Value::Instant(Utc::now()),
        };
        let literal = || database.literal(&Some(encode_value(&now())), &mark.native);
        let marked = (mark.column.clone(), mark.literal.clone().unwrap_or_else(literal));
        Some(std::iter::once(marked).chain(self.on_update.iter().cloned()).collect())
    }

    /// Whether no mapping may write a column.
    pub(crate) fn keeps(&self, column: &Name) -> bool {
        let named = self.of_new_rows().chain(&self.on_update).map(|(name, _)| name);
        named.chain(self.mark.iter().map(|mark| &mark.column)).any(|name| name == column)
    }

    /// Whether all rows of the type have the same value in a column.
    pub(crate) fn is_constant(&self, column: &Name) -> bool {
        self.constants.iter().any(|(name, _)| name == column)
    }

    /// What all rows of the type have in a column.
    pub(crate) fn constant(&self, column: &Name) -> Text {
        self.bound.iter().find(|(name, _)| name == column).map(|(_, value)| value.clone())
    }

    /// Whether every row of the table belongs to the type.
    pub(crate) fn is_everything(&self) -> bool {
        self.constants.is_empty() && self.mark.is_none()
    }

    /// The expressions that the configuration gives, with their settings and columns.
    pub(crate) fn expressions(&self) -> impl Iterator<Item = (String, String)> {
        let named = |setting: &'static str| {
            move |(column, expression): &'_ (Name, String)| {
                (format!("{setting}.{}", column.plain()), expression.clone())
            }
        };
        let created = self.on_create.iter().map(named("on_create"));
        created.chain(self.on_update.iter().map(named("on_update")))
    }
}

impl Mark {
    fn is_absent(&self, column: &str) -> String {
        match &self.literal {
            None => format!("{column} IS NULL"),
            Some(literal) => format!("({column} IS NULL OR {column} <> {literal})"),
        }
    }
}

/// A configured value as a literal of a column's type.
fn value(setting: &str, column: &Column, word: &Word, database: &dyn Database) -> Result<Value, Error> {
    let value = match (word, column.value_type) {
        (word, Some(kind)) if word.value(kind).is_some() => word.value(kind),
        // Dates, UUIDs and exact numbers are written as texts.
        (Word::Text(text), Some(kind)) => match decode(Some(text.as_str().into()), kind) {
            Ok(Slot::One(value)) => Some(value),
            _ => None,
        },
        (Word::Number(number), Some(ValueType::Decimal)) => {
            match decode(Some(number.to_string().into()), ValueType::Decimal) {
                Ok(Slot::One(value)) => Some(value),
                _ => None,
            }
        }
        _ => None,
    };
    let Some(value) = value else {
        let problem = format!("{} is no value of column {:?}, which is {}", word.shown(), column.name, column.native);
        return Err(wrong(setting.to_owned(), problem, "write it as the column's rows have it".to_owned()));
    };
    if let Some((_, why)) = database.refuses(&value) {
        return Err(wrong(setting.to_owned(), why.to_owned(), "write another value".to_owned()));
    }
    Ok(value)
}

fn literal(setting: &str, column: &Column, word: &Word, database: &dyn Database) -> Result<String, Error> {
    let value = value(setting, column, word, database)?;
    Ok(database.literal(&Some(encode_value(&value)), &column.native))
}

type Constants = (Vec<(Name, String)>, Vec<(Name, Arc<str>)>);

fn constants(
    setting: &str,
    given: &BTreeMap<String, Word>,
    table: &Table,
    database: &dyn Database,
) -> Result<Constants, Error> {
    let (mut constants, mut bound) = (Vec::new(), Vec::new());
    for (name, word) in given {
        let setting = format!("{setting}.{name}");
        let column = known_column(table, &setting, name)?;
        let text = encode_value(&value(&setting, column, word, database)?);
        constants.push((table.quoted(name), database.literal(&Some(text.clone()), &column.native)));
        bound.push((table.quoted(name), text));
    }
    Ok((constants, bound))
}

fn mark(
    setting: &str,
    configured: &TypeSettings,
    table: &Table,
    database: &dyn Database,
) -> Result<Option<Mark>, Error> {
    let Some(name) = &configured.deleted else {
        if configured.deleted_value.is_some() {
            let problem = "no column is named that this value could stand in".to_owned();
            return Err(wrong(format!("{setting}_value"), problem, "add deleted = \"COLUMN\"".to_owned()));
        }
        return Ok(None);
    };
    let column = known_column(table, setting, name)?;
    if configured.rows.contains_key(name) {
        let problem = format!("column {name:?} is the same in all rows of the type");
        return Err(wrong(setting.to_owned(), problem, "remove it from `where`".to_owned()));
    }
    let value_setting = format!("{setting}_value");
    let written = match (column.value_type, &configured.deleted_value) {
        (Some(ValueType::Date | ValueType::Instant), None) if column.nullable => None,
        (Some(ValueType::Boolean), None) => Some(literal(&value_setting, column, &Word::Truth(true), database)?),
        (Some(ValueType::Integer), None) => Some(literal(&value_setting, column, &Word::Number(1), database)?),
        (Some(ValueType::Date | ValueType::Instant), Some(_)) | (_, None) => {
            let problem =
                format!("column {name:?} is {} and cannot say by itself that a row is deleted", column.native);
            let fix =
                "name a boolean, a whole number, a date or time that may be null (then without deleted_value), or \
                       another column with deleted_value = \"…\""
                    .to_owned();
            return Err(wrong(setting.to_owned(), problem, fix));
        }
        (_, Some(word)) => Some(literal(&value_setting, column, word, database)?),
    };
    if configured.enabled.as_ref() == Some(name) {
        let (words, value) = (configured.enabled_values.as_ref(), configured.deleted_value.as_ref());
        let apart =
            words.zip(value).is_some_and(|(words, value)| !words.on.iter().chain(&words.off).any(|one| one == value));
        if !apart {
            let problem = format!("column {name:?} says whether a row is enabled");
            let fix =
                "one column can say both only with enabled_values and a deleted_value of its own: remove `enabled`, \
                       or `deleted`, or name another column"
                    .to_owned();
            return Err(wrong(setting.to_owned(), problem, fix));
        }
    }
    Ok(Some(Mark {
        column: table.quoted(name),
        native: column.native.clone(),
        literal: written,
        value_type: column.value_type.unwrap_or(ValueType::Text),
    }))
}
