//! How tables hang together: columns that name rows of other types, and attributes of several values, which are rows
//! of a table of their own.

use std::collections::BTreeMap;

use muster_connector::Error;
use muster_model::{Attribute, Multiplicity, nearest};

use crate::belonging::Belonging;
use crate::catalog::{Catalog, Table};
use crate::config::{ManySettings, SqlSettings};
use crate::database::Database;
use crate::schema::{TableType, attribute, find_table, known_column, wrong};

/// The table that holds an attribute's values, one a row.
#[derive(Debug, Clone)]
pub(crate) struct Child {
    pub(crate) table: Table,
    /// The columns that hold the owner's anchor, in its order.
    pub(crate) key: Vec<String>,
    /// The column that holds the value.
    pub(crate) value: String,
    /// Which of its rows are meant.
    pub(crate) belonging: Belonging,
}

/// Adds to the types what refers from one to another, and their attributes of several values.
pub(crate) fn relate(
    settings: &SqlSettings,
    catalog: &Catalog,
    database: &dyn Database,
    types: &mut [TableType],
) -> Result<(), Error> {
    // What a foreign key can name: a type by its table and its only anchor column.
    let ends: Vec<(String, Table, String)> = types
        .iter()
        .filter_map(|found| match found.object_type.anchor.attributes.as_slice() {
            [anchor] => Some((found.object_type.name.clone(), found.table.clone(), anchor.clone())),
            _ => None,
        })
        .collect();
    let named = |table: &Table, column: &str| -> Vec<String> {
        let keys = table.foreign_keys.iter().filter(|key| key.column == column);
        let ends = keys.flat_map(|key| {
            ends.iter().filter(|(_, table, anchor)| table.name == key.table && *anchor == key.referenced)
        });
        let mut names: Vec<String> = ends.map(|(name, ..)| name.clone()).collect();
        names.dedup();
        names
    };
    let checked = |setting: String, wanted: &String| -> Result<Vec<String>, Error> {
        if ends.iter().any(|(name, ..)| name == wanted) {
            return Ok(vec![wanted.clone()]);
        }
        let names: Vec<&str> = ends.iter().map(|(name, ..)| name.as_str()).collect();
        let fix = match nearest(wanted, names.iter().copied()) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("name one of: {}", names.join(", ")),
        };
        Err(wrong(setting, format!("there is no object type {wanted:?} with a key of one column"), fix))
    };
    for found in types {
        let name = found.object_type.name.clone();
        let configured = settings.types.get(&name);
        for attribute in &mut found.object_type.attributes {
            attribute.references = named(&found.table, &attribute.name);
        }
        for (column, wanted) in configured.iter().flat_map(|configured| &configured.references) {
            let setting = format!("types.{name}.references.{column}");
            known_column(&found.table, &setting, column)?;
            let references = checked(setting, wanted)?;
            if let Some(attribute) = found.object_type.attributes.iter_mut().find(|known| known.name == *column) {
                attribute.references = references;
            }
        }
        let mut children = BTreeMap::new();
        for (attribute_name, many) in configured.iter().flat_map(|configured| &configured.multi) {
            let setting = format!("types.{name}.multi.{attribute_name}");
            let (child, mut attribute) = child(catalog, database, found, attribute_name, many, &setting)?;
            attribute.in_changes = found.follow.as_ref().is_none_or(|follow| follow.shows_values());
            attribute.references = match &many.references {
                Some(wanted) => checked(format!("{setting}.references"), wanted)?,
                None => named(&child.table, &child.value),
            };
            found.object_type.attributes.push(attribute);
            children.insert(attribute_name.clone(), child);
        }
        found.children = children;
    }
    Ok(())
}

fn child(
    catalog: &Catalog,
    database: &dyn Database,
    owner: &TableType,
    name: &str,
    many: &ManySettings,
    setting: &str,
) -> Result<(Child, Attribute), Error> {
    if owner.table.column(name).is_some() {
        let problem = format!("{} has a column {name:?} already", owner.table.name);
        return Err(wrong(setting.to_owned(), problem, "give the attribute another name".to_owned()));
    }
    let table = find_table(catalog, &format!("{setting}.table"), &many.table)?;
    let key = many.key.columns();
    for column in &key {
        known_column(table, &format!("{setting}.key"), column)?;
    }
    let value = known_column(table, &format!("{setting}.value"), &many.value)?;
    let anchor = &owner.object_type.anchor.attributes;
    if key.len() != anchor.len() {
        let problem =
            format!("it names {} columns, and the key of {} has {}", key.len(), owner.object_type.name, anchor.len());
        let fix = format!("name the columns that hold {}, in that order", anchor.join(", "));
        return Err(wrong(format!("{setting}.key"), problem, fix));
    }
    let belonging = Belonging::of_values(&format!("{setting}.where"), &many.rows, table, database)?;
    if let Some(column) = many.rows.keys().find(|name| **name == many.value || key.contains(name)) {
        let problem = format!("column {column:?} holds the key or the value");
        return Err(wrong(format!("{setting}.where.{column}"), problem, "remove it here".to_owned()));
    }
    let others = table.columns.iter().filter(|column| column.name != many.value && !key.contains(&column.name));
    let others = others.filter(|column| !many.rows.contains_key(&column.name));
    let lacking: Vec<&str> = others
        .filter(|column| !column.nullable && !column.has_default && !column.generated)
        .map(|column| column.name.as_str())
        .collect();
    // Such a table can be read all the same.
    let native_type = match lacking.is_empty() {
        true => format!("{}.{}", table.display_name(), many.value),
        false => format!(
            "{} requires {} as well, which nothing fills: give it a default in the database, or a value in `where`",
            table.display_name(),
            lacking.join(", ")
        ),
    };
    let attribute = Attribute {
        name: name.to_owned(),
        multiplicity: Multiplicity::Set,
        required: false,
        creatable: !value.generated && lacking.is_empty(),
        updatable: !value.generated && lacking.is_empty(),
        unique: false,
        native_type,
        ..attribute(table, value, false)
    };
    Ok((Child { table: table.clone(), key, value: many.value.clone(), belonging }, attribute))
}
