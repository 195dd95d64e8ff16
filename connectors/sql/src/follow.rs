//! How changes of a type's rows are noticed: what the settings say, held against the tables.

use std::time::Duration;

use muster_connector::{Error, Span};
use muster_model::{Changes, Precision, ValueType};

use crate::catalog::{Catalog, Column, Table};
use crate::config::ChangeSettings;
use crate::database::Database;
use crate::schema::{TableType, find_table, known_column, typed, wrong};

/// What tells of changes.
#[derive(Debug, Clone)]
pub(crate) struct Follow {
    pub(crate) way: Way,
    /// The longest time from numbering a row to the end of its transaction.
    pub(crate) overlap: Duration,
    keys_every: Duration,
}

/// Where changes are told.
#[derive(Debug, Clone)]
pub(crate) enum Way {
    /// A column of the row itself, which grows.
    Column(Column),
    /// A table with a row for each change.
    Table(Box<ChangeTable>),
    /// SQL Server's change tracking.
    Tracking,
}

/// A table with a row for each change.
#[derive(Debug, Clone)]
pub(crate) struct ChangeTable {
    pub(crate) table: Table,
    pub(crate) sequence: Column,
    /// The columns that hold the type's anchor, in its order.
    pub(crate) key: Vec<Column>,
    with_values: bool,
}

impl Follow {
    /// Whether changes in tables of values are told as well.
    pub(crate) fn shows_values(&self) -> bool {
        matches!(&self.way, Way::Table(table) if table.with_values)
    }

    fn capabilities(&self) -> Changes {
        let deletes_visible = !matches!(self.way, Way::Column(_));
        Changes {
            starts_full: false,
            precision: Precision::Round,
            deletes_visible,
            keys_every: self.keys_every.as_secs(),
        }
    }
}

const OVERLAP: Span = Span(Duration::from_secs(600));
const KEYS_EVERY: Span = Span(Duration::from_secs(900));

/// Adds to a type how its changes are noticed.
pub(crate) fn follow(
    name: &str,
    configured: &ChangeSettings,
    catalog: &Catalog,
    mut found: TableType,
    database: &dyn Database,
) -> Result<TableType, Error> {
    let setting = |part: &str| format!("types.{name}.changes.{part}");
    let only_with = |part: &str, given: bool, with: &str| match given {
        true => Err(wrong(setting(part), format!("it belongs to `{with}`"), "remove it".to_owned())),
        false => Ok(()),
    };
    if configured.table.is_none() {
        only_with("sequence", configured.sequence.is_some(), "table")?;
        only_with("key", configured.key.is_some(), "table")?;
        only_with("with_values", configured.with_values, "table")?;
    }
    let way = match (&configured.column, &configured.table, configured.tracking) {
        (Some(column), None, false) => {
            let column = known_column(&found.table, &setting("column"), column)?;
            typed(&found.table, &setting("column"), &column.name)?;
            Way::Column(growing(&setting("column"), column)?.clone())
        }
        (None, Some(table), false) => {
            let table = find_table(catalog, &setting("table"), table)?;
            Way::Table(Box::new(change_table(configured, table, &found, &setting)?))
        }
        (None, None, true) if database.tracks_changes() => {
            let anchor = &found.object_type.anchor.attributes;
            let mut key = found.table.primary_key.clone();
            key.sort();
            let mut named = anchor.clone();
            named.sort();
            if key != named || found.table.primary_key.is_empty() {
                let problem = "change tracking tells of primary keys, and `anchor` names other columns".to_owned();
                let fix = "remove `anchor`, or notice changes by a `column`".to_owned();
                return Err(wrong(setting("tracking"), problem, fix));
            }
            Way::Tracking
        }
        (None, None, true) => {
            let problem = format!("{} has no change tracking", database.engine());
            let fix = "name a `column` that grows, or a `table` that triggers fill".to_owned();
            return Err(wrong(setting("tracking"), problem, fix));
        }
        (None, None, false) | (Some(_), _, _) | (_, Some(_), _) => {
            let problem = "one of `column`, `table` and `tracking` says how changes are noticed".to_owned();
            let fix = "give exactly one of them".to_owned();
            return Err(wrong(format!("types.{name}.changes"), problem, fix));
        }
    };
    let follow = Follow {
        way,
        overlap: configured.overlap.unwrap_or(OVERLAP).0,
        keys_every: configured.keys_every.unwrap_or(KEYS_EVERY).0,
    };
    if let Some(source) = &mut found.object_type.source {
        source.changes = Some(follow.capabilities());
    }
    found.follow = Some(follow);
    Ok(found)
}

fn change_table(
    configured: &ChangeSettings,
    table: &Table,
    found: &TableType,
    setting: &dyn Fn(&str) -> String,
) -> Result<ChangeTable, Error> {
    let Some(sequence) = &configured.sequence else {
        let problem = format!("it does not say which column of {} grows with each row", table.name);
        return Err(wrong(setting("sequence"), problem, "add sequence = \"COLUMN\"".to_owned()));
    };
    let sequence = known_column(table, &setting("sequence"), sequence)?;
    typed(table, &setting("sequence"), &sequence.name)?;
    let anchor = &found.object_type.anchor.attributes;
    let names = configured.key.as_ref().map_or_else(|| anchor.clone(), crate::config::OneOrMore::columns);
    if names.len() != anchor.len() {
        let problem = format!("it names {} columns, and the key has {}", names.len(), anchor.len());
        let fix = format!("name the columns that hold {}, in that order", anchor.join(", "));
        return Err(wrong(setting("key"), problem, fix));
    }
    let key = names
        .iter()
        .map(|column| known_column(table, &setting("key"), column).cloned())
        .collect::<Result<Vec<_>, _>>()?;
    Ok(ChangeTable {
        table: table.clone(),
        sequence: growing(&setting("sequence"), sequence)?.clone(),
        key,
        with_values: configured.with_values,
    })
}

/// A column whose order can be that of time.
fn growing<'a>(setting: &str, column: &'a Column) -> Result<&'a Column, Error> {
    let can_grow = matches!(
        column.value_type,
        Some(
            ValueType::Integer
                | ValueType::Decimal
                | ValueType::Instant
                | ValueType::Date
                | ValueType::Text
                | ValueType::Binary
        )
    );
    if can_grow {
        return Ok(column);
    }
    let problem = format!("column {:?} is {}, which does not grow", column.name, column.native);
    let fix = "name a time, a date or a number that is greater after each change".to_owned();
    Err(wrong(setting.to_owned(), problem, fix))
}
