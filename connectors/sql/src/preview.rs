//! A batch as a person reads it: one statement for each operation, with its values.

use muster_connector::{Batch, Error, Kind, Operation};
use muster_model::{Key, Row, Value};

use crate::database::Database;
use crate::schema::TableType;
use crate::statement::{Name, joined};
use crate::text::{encode, encode_value};

/// The statement that has the operation's effect, alone.
pub(crate) fn statement(
    database: &dyn Database,
    table: &TableType,
    batch: &Batch,
    operation: &Operation,
) -> Result<String, Error> {
    let name = &table.table.name;
    Ok(match &operation.kind {
        Kind::Create => {
            let mut values = values(database, table, batch, &operation.row);
            for (column, value) in operation.key.iter().flat_map(|key| key_values(database, table, key)) {
                if !values.iter().any(|(known, _)| *known == column) {
                    values.push((column, value));
                }
            }
            let columns = joined(values.iter().map(|(column, _)| column), ", ");
            let values = joined(values.iter().map(|(_, value)| value), ", ");
            format!("INSERT INTO {name} ({columns}) VALUES ({values});")
        }
        Kind::Update | Kind::Put => {
            let key = condition(database, table, batch, operation)?;
            let values = values(database, table, batch, &operation.row);
            if values.is_empty() {
                return Ok(format!("-- {name} WHERE {key}: nothing changes"));
            }
            let changes = joined(values.iter().map(|(column, value)| format!("{column} = {value}")), ", ");
            format!("UPDATE {name} SET {changes} WHERE {key};")
        }
        Kind::Rename { to } => {
            let key = condition(database, table, batch, operation)?;
            let mut changes = key_values(database, table, to);
            let anchor = &table.object_type.anchor.attributes;
            let others = values(database, table, batch, &operation.row);
            changes
                .extend(others.into_iter().filter(|(column, _)| !anchor.iter().any(|name| Name::new(name) == *column)));
            let changes = joined(changes.iter().map(|(column, value)| format!("{column} = {value}")), ", ");
            format!("UPDATE {name} SET {changes} WHERE {key};")
        }
        Kind::Delete => format!("DELETE FROM {name} WHERE {};", condition(database, table, batch, operation)?),
    })
}

fn native<'a>(table: &'a TableType, column: &str) -> &'a str {
    table.table.column(column).map_or("", |column| column.native.as_str())
}

fn values(database: &dyn Database, table: &TableType, batch: &Batch, row: &Row) -> Vec<(Name, String)> {
    let known = batch.attributes.iter().zip(&row.0).filter(|(_, slot)| !slot.is_unknown());
    known.map(|(name, slot)| (Name::new(name), database.literal(&encode(slot), native(table, name)))).collect()
}

fn key_values(database: &dyn Database, table: &TableType, key: &Key) -> Vec<(Name, String)> {
    let anchor = &table.object_type.anchor.attributes;
    let literal = |name: &String, value: &Value| database.literal(&Some(encode_value(value)), native(table, name));
    anchor.iter().zip(&key.0).map(|(name, value)| (Name::new(name), literal(name, value))).collect()
}

fn condition(
    database: &dyn Database,
    table: &TableType,
    batch: &Batch,
    operation: &Operation,
) -> Result<String, Error> {
    let key = operation.key.as_ref().ok_or_else(|| Error::Bug(format!("operation {} has no key", operation.id)))?;
    let mut parts = key_values(database, table, key);
    parts.extend(operation.expected.as_ref().and_then(|(position, value)| {
        let name = batch.attributes.get(*position)?;
        Some((Name::new(name), database.literal(&Some(encode_value(value)), native(table, name))))
    }));
    Ok(joined(parts.iter().map(|(column, value)| format!("{column} = {value}")), " AND "))
}
