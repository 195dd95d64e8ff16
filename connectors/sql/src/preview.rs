//! A batch as a person reads it: one statement for each operation, with its values.

use muster_connector::{Batch, Error, Kind, Operation};
use muster_model::{Key, Row, Value};

use crate::apply::Verb;
use crate::database::{Database, Text};
use crate::own::{Parameter, Purpose};
use crate::own_writing::purposes;
use crate::relations::Child;
use crate::schema::TableType;
use crate::statement::{Name, joined};
use crate::text::{encode, encode_value};
use crate::values::changed;

/// The most values of one operation that are shown.
const SHOWN: usize = 1_000;

/// The statements that have the operation's effect, alone.
pub(crate) fn statement(
    database: &dyn Database,
    table: &TableType,
    batch: &Batch,
    operation: &Operation,
) -> Result<String, Error> {
    let own = purposes(table, batch, operation);
    if !own.is_empty() {
        return Ok(own_statements(database, table, batch, operation, &own));
    }
    let mut lines = Vec::new();
    let key = operation.key.as_ref();
    if operation.kind == Kind::Delete && table.belonging.of_deleted_rows(database).is_none() {
        for child in table.children.values() {
            let owner = owner(database, child, key);
            let and = child.belonging.and("");
            lines.push(format!("DELETE FROM {} WHERE {}{and};", child.table.name, joined(pairs(&owner), " AND ")));
        }
    }
    let values = changed(operation).collect::<Vec<_>>();
    if values.is_empty() || operation.row.0.iter().any(|slot| !slot.is_unknown()) {
        lines.push(row_statement(database, table, batch, operation)?);
    }
    for (attribute, verb, value) in values.iter().take(SHOWN) {
        let name = batch.attributes.get(*attribute);
        let Some(child) = name.and_then(|name| table.children.get(name)) else { continue };
        let native = child.table.column(&child.value).map_or("", |column| column.native.as_str());
        let value = (child.table.quoted(&child.value), database.literal(&Some(encode_value(value)), native));
        let all: Vec<(Name, String)> = owner(database, child, key).into_iter().chain([value]).collect();
        lines.push(match verb {
            Verb::RemoveValues => {
                let and = child.belonging.and("");
                format!("DELETE FROM {} WHERE {}{and};", child.table.name, joined(pairs(&all), " AND "))
            }
            _ => {
                let all: Vec<&(Name, String)> = all.iter().chain(child.belonging.of_new_rows()).collect();
                format!(
                    "INSERT INTO {} ({}) VALUES ({});",
                    child.table.name,
                    joined(all.iter().map(|(column, _)| column), ", "),
                    joined(all.iter().map(|(_, value)| value), ", ")
                )
            }
        });
    }
    if values.len() > SHOWN {
        lines.push(format!("-- and {} more values", values.len() - SHOWN));
    }
    Ok(lines.join("\n"))
}

/// The statements of the administrator's own, with the values that are known before the row is looked at; others stay
/// as their parameters.
fn own_statements(
    database: &dyn Database,
    table: &TableType,
    batch: &Batch,
    operation: &Operation,
    purposes: &[Purpose],
) -> String {
    let value = |parameter: &Parameter| -> Option<Text> {
        let anchor = &table.object_type.anchor.attributes;
        let in_key = |key: &Key| {
            let position = anchor.iter().position(|name| *name == parameter.column)?;
            Some(Some(encode_value(key.0.get(position)?)))
        };
        let new_key = match &operation.kind {
            Kind::Rename { to } if !parameter.old => in_key(to),
            _ => None,
        };
        let attribute = batch.attributes.iter().position(|name| *name == parameter.column);
        let slot = attribute.map(|position| operation.row.slot(position)).filter(|slot| !slot.is_unknown());
        let written = slot.filter(|_| !parameter.old).map(encode);
        let constant =
            || Some(table.belonging.constant(&table.table.quoted(&parameter.column))).filter(Option::is_some);
        new_key
            .or(written)
            .or_else(|| operation.key.as_ref().and_then(in_key))
            .or_else(constant)
            .or_else(|| (operation.kind == Kind::Create).then_some(None))
    };
    let statements = purposes.iter().filter_map(|purpose| table.own.of(*purpose)).flatten();
    let shown = statements.map(|statement| {
        let (text, _) = statement.render(|_, parameter| match value(parameter) {
            Some(text) => database.literal(&text, native(table, &parameter.column)),
            None if parameter.old => format!(":old.{}", parameter.column),
            None => format!(":{}", parameter.column),
        });
        format!("{text};")
    });
    joined(shown, "\n")
}

fn pairs(values: &[(Name, String)]) -> Vec<String> {
    values.iter().map(|(column, value)| format!("{column} = {value}")).collect()
}

/// The columns that say to which row a value belongs, with their values.
fn owner(database: &dyn Database, child: &Child, key: Option<&Key>) -> Vec<(Name, String)> {
    let values = key.iter().flat_map(|key| &key.0);
    let native = |name: &String| child.table.column(name).map_or("", |column| column.native.as_str());
    let literal = |(name, value): (&String, &Value)| {
        (child.table.quoted(name), database.literal(&Some(encode_value(value)), native(name)))
    };
    child.key.iter().zip(values).map(literal).collect()
}

fn row_statement(
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
            values.extend(table.belonging.of_new_rows().cloned());
            let columns = joined(values.iter().map(|(column, _)| column), ", ");
            let values = joined(values.iter().map(|(_, value)| value), ", ");
            format!("INSERT INTO {name} ({columns}) VALUES ({values});")
        }
        Kind::Update | Kind::Put => {
            let key = condition(database, table, batch, operation)?;
            let mut values = values(database, table, batch, &operation.row);
            if values.is_empty() {
                return Ok(format!("-- {name} WHERE {key}: nothing changes"));
            }
            values.extend(table.belonging.of_changed_rows().iter().cloned());
            let changes = joined(values.iter().map(|(column, value)| format!("{column} = {value}")), ", ");
            format!("UPDATE {name} SET {changes} WHERE {key};")
        }
        Kind::Rename { to } => {
            let key = condition(database, table, batch, operation)?;
            let mut changes = key_values(database, table, to);
            let anchor = &table.object_type.anchor.attributes;
            let others = values(database, table, batch, &operation.row);
            changes.extend(
                others.into_iter().filter(|(column, _)| !anchor.iter().any(|name| table.table.quoted(name) == *column)),
            );
            changes.extend(table.belonging.of_changed_rows().iter().cloned());
            let changes = joined(changes.iter().map(|(column, value)| format!("{column} = {value}")), ", ");
            format!("UPDATE {name} SET {changes} WHERE {key};")
        }
        Kind::Delete => {
            let key = condition(database, table, batch, operation)?;
            match table.belonging.of_deleted_rows(database) {
                Some(marks) => format!("UPDATE {name} SET {} WHERE {key};", joined(pairs(&marks), ", ")),
                None => format!("DELETE FROM {name} WHERE {key};"),
            }
        }
    })
}

fn native<'a>(table: &'a TableType, column: &str) -> &'a str {
    table.table.column(column).map_or("", |column| column.native.as_str())
}

fn values(database: &dyn Database, table: &TableType, batch: &Batch, row: &Row) -> Vec<(Name, String)> {
    let known = batch.attributes.iter().zip(&row.0).filter(|(_, slot)| !slot.is_unknown());
    known.map(|(name, slot)| (table.table.quoted(name), database.literal(&encode(slot), native(table, name)))).collect()
}

fn key_values(database: &dyn Database, table: &TableType, key: &Key) -> Vec<(Name, String)> {
    let anchor = &table.object_type.anchor.attributes;
    let literal = |name: &String, value: &Value| database.literal(&Some(encode_value(value)), native(table, name));
    anchor.iter().zip(&key.0).map(|(name, value)| (table.table.quoted(name), literal(name, value))).collect()
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
        Some((table.table.quoted(name), database.literal(&Some(encode_value(value)), native(table, name))))
    }));
    Ok(joined(pairs(&parts), " AND ") + &table.belonging.and(""))
}
