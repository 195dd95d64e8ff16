//! Object types over the tables of a catalogue.

use std::collections::BTreeMap;

use muster_connector::Error;
use muster_model::{
    Anchor, AssignedBy, Attribute, CaseRule, Enabling, ObjectType, Once, SourceCapabilities, TargetCapabilities,
    ValueType, nearest,
};

use crate::belonging::Belonging;
use crate::catalog::{Catalog, Column, Table};
use crate::config::{SqlSettings, TypeSettings};
use crate::database::Database;
use crate::enabling::Words;
use crate::follow::{Follow, follow};
use crate::ledger;
use crate::own::OwnStatements;
use crate::relations::{Child, relate};
use crate::statement::joined;

/// An object type with the table behind it.
#[derive(Debug, Clone)]
pub(crate) struct TableType {
    pub(crate) object_type: ObjectType,
    pub(crate) table: Table,
    /// The tables of its attributes of several values, by attribute.
    pub(crate) children: BTreeMap<String, Child>,
    /// What its `enabled` column says in words of its own.
    pub(crate) words: Option<Words>,
    /// Which rows belong to it. The table's keys are told without the columns that are the same in all of them.
    pub(crate) belonging: Belonging,
    /// The table's keys that hold for its other rows as well.
    pub(crate) keys_of_all: Vec<Vec<String>>,
    /// What is run in place of Muster's own statements.
    pub(crate) own: OwnStatements,
    /// How changes of its rows are noticed.
    pub(crate) follow: Option<Follow>,
}

impl TableType {
    /// What must be true of a row of the table `t` so that it has a key, each with `AND` before it. Views may answer
    /// rows that have none, and nobody can tell those apart.
    pub(crate) fn and_has_key(&self) -> String {
        let anchor = self.object_type.anchor.attributes.iter().filter_map(|name| self.table.column(name));
        let may_lack = anchor.filter(|column| column.nullable);
        joined(may_lack.map(|column| format!(" AND t.{} IS NOT NULL", self.table.quoted(&column.name))), "")
    }
}

/// Rows in one transaction: beyond this larger sets were not measured to be faster.
const MAX_BATCH: u32 = 5_000;

/// The configured types, then every other table under its own name.
pub(crate) fn types(
    settings: &SqlSettings,
    catalog: &Catalog,
    database: &dyn Database,
) -> Result<Vec<TableType>, Error> {
    let mut types = Vec::new();
    for (name, configured) in &settings.types {
        types.push(configured_type(name, configured, catalog, database)?);
    }
    for table in &catalog.tables {
        let name = table.display_name();
        let taken = settings.types.contains_key(&name)
            || settings.types.values().any(|configured| table.is_called(&configured.table));
        let is_own = [ledger::OPERATIONS, ledger::LEASES].contains(&table.name.table.plain());
        if !taken && !is_own && !table.primary_key.is_empty() {
            let anchor = table.primary_key.clone();
            types.push(build(&name, table, anchor, None, Belonging::default(), database));
        }
    }
    relate(settings, catalog, database, &mut types)?;
    if settings.ledger {
        types
            .iter_mut()
            .filter_map(|found| found.object_type.target.as_mut())
            .for_each(|target| target.once = Once::Ledger);
    }
    Ok(types)
}

pub(crate) fn wrong(setting: String, problem: String, fix: String) -> Error {
    Error::Configuration { setting: Some(setting), problem, fix }
}

fn configured_type(
    name: &str,
    configured: &TypeSettings,
    catalog: &Catalog,
    database: &dyn Database,
) -> Result<TableType, Error> {
    let table = match (catalog.queries.get(name), configured.table.is_empty()) {
        (Some(query), true) => query,
        (None, false) => find_table(catalog, &format!("types.{name}.table"), &configured.table)?,
        (query, _) => {
            let problem = match query {
                Some(_) => "`table` and `query` are both given",
                None => "neither `table` nor `query` is given",
            };
            let fix = "say which table holds the rows, or which query answers them".to_owned();
            return Err(wrong(format!("types.{name}.table"), problem.to_owned(), fix));
        }
    };
    let known = |setting: &str, column: &str| known_column(table, &format!("types.{name}.{setting}"), column).map(drop);
    for column in &configured.anchor {
        known("anchor", column)?;
        typed(table, &format!("types.{name}.anchor"), column)?;
    }
    let belonging = Belonging::new(name, configured, table, database)?;
    let anchor = if configured.anchor.is_empty() { &table.primary_key } else { &configured.anchor };
    let is_constant = |column: &&String| belonging.is_constant(&table.quoted(column));
    if let Some(column) = configured.anchor.iter().find(is_constant) {
        let problem = format!("column {column:?} is the same in all rows of the type");
        return Err(wrong(format!("types.{name}.anchor"), problem, "name the other columns of the key".to_owned()));
    }
    let anchor: Vec<String> = anchor.iter().filter(|column| !is_constant(column)).cloned().collect();
    if anchor.is_empty() {
        let problem = match table.primary_key.is_empty() {
            true => format!("table {:?} has no primary key", configured.table),
            false => "all columns of the primary key are the same in all rows of the type".to_owned(),
        };
        let fix = "name the columns that identify a row: anchor = [\"…\"]".to_owned();
        return Err(wrong(format!("types.{name}.anchor"), problem, fix));
    }
    let mut words = None;
    match (&configured.enabled, &configured.enabled_values) {
        (Some(enabled), given) => {
            let column = known_column(table, &format!("types.{name}.enabled"), enabled)?;
            words = Words::new(name, column, given.as_ref())?;
        }
        (None, Some(_)) => {
            let problem = "no column is named that these values could stand in".to_owned();
            return Err(wrong(format!("types.{name}.enabled_values"), problem, "add enabled = \"COLUMN\"".to_owned()));
        }
        (None, None) => {}
    }
    let own = OwnStatements::new(name, &configured.statements, table)?;
    let found = TableType { words, own, ..build(name, table, anchor, configured.enabled.clone(), belonging, database) };
    let found = if table.name.is_query() { only_read(name, configured, found)? } else { found };
    match &configured.changes {
        Some(changes) => follow(name, changes, catalog, found, database),
        None => Ok(found),
    }
}

/// A type whose rows are the answer to a query.
fn only_read(name: &str, configured: &TypeSettings, mut found: TableType) -> Result<TableType, Error> {
    let writing = [
        ("statements", !found.own.is_empty()),
        ("on_create", !configured.on_create.is_empty()),
        ("on_update", !configured.on_update.is_empty()),
    ];
    if let Some((setting, _)) = writing.iter().find(|(_, given)| *given) {
        let problem = "it says how rows are written, and a query is only read".to_owned();
        return Err(wrong(format!("types.{name}.{setting}"), problem, "remove it, or name a table".to_owned()));
    }
    found.object_type.target = None;
    Ok(found)
}

/// The table of that name, or the finding that there is none.
pub(crate) fn find_table<'a>(catalog: &'a Catalog, setting: &str, name: &str) -> Result<&'a Table, Error> {
    if let Some(table) = catalog.tables.iter().find(|table| table.is_called(name)) {
        return Ok(table);
    }
    let names: Vec<String> = catalog.tables.iter().map(Table::display_name).collect();
    let fix = match nearest(name, names.iter().map(String::as_str)) {
        Some(near) => format!("did you mean {near:?}?"),
        None if names.is_empty() => "the database has no tables that the connection's user may see".to_owned(),
        None => format!("the database has: {}", names.join(", ")),
    };
    Err(wrong(setting.to_owned(), format!("the database has no table {name:?}"), fix))
}

/// The column of that name, or the finding that there is none.
pub(crate) fn known_column<'a>(table: &'a Table, setting: &str, name: &str) -> Result<&'a Column, Error> {
    if let Some(column) = table.column(name) {
        return Ok(column);
    }
    let fix = match nearest(name, table.columns.iter().map(|column| column.name.as_str())) {
        Some(near) => format!("did you mean {near:?}?"),
        None => format!("it has: {}", column_names(table)),
    };
    Err(wrong(setting.to_owned(), format!("table {:?} has no column {name:?}", table.display_name()), fix))
}

/// SQLite tells no type of what a view or query computes, and compares a text with a number by its kind alone.
pub(crate) fn typed(table: &Table, setting: &str, name: &str) -> Result<(), Error> {
    if table.column(name).is_none_or(|column| !column.native.is_empty()) {
        return Ok(());
    }
    let problem = format!("column {name:?} has no type, so its values have no order that can be relied on");
    let fix = format!("declare one, or write CAST(… AS INTEGER) AS {name} (or TEXT) in the view or query");
    Err(wrong(setting.to_owned(), problem, fix))
}

fn column_names(table: &Table) -> String {
    table.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ")
}

fn build(
    name: &str,
    table: &Table,
    anchor: Vec<String>,
    enabled: Option<String>,
    belonging: Belonging,
    database: &dyn Database,
) -> TableType {
    let keys_of_all = keys_of_all(table, &belonging);
    let table = &among(table, &belonging);
    let assigned =
        anchor.iter().all(|name| table.column(name).is_some_and(|column| column.has_default || column.generated));
    let attributes = table.columns.iter().map(|column| {
        let is_enabling = enabled.as_deref() == Some(&column.name);
        let is_kept = !is_enabling && belonging.keeps(&table.quoted(&column.name));
        let attribute = attribute(table, column, is_enabling);
        if is_kept { Attribute { required: false, creatable: false, updatable: false, ..attribute } } else { attribute }
    });
    let attributes = attributes.collect();
    let object_type = ObjectType {
        name: name.to_owned(),
        anchor: Anchor {
            attributes: anchor,
            assigned_by: if assigned { AssignedBy::System } else { AssignedBy::Creator },
        },
        alternate_keys: table.unique.clone(),
        attributes,
        enabling: enabled.map(|attribute| Enabling { attribute }),
        source: Some(SourceCapabilities { changes: None, recycle_bin: false }),
        target: Some(TargetCapabilities {
            once: Once::Natural,
            readable: true,
            can_delete: true,
            can_rename: true,
            writes_secrets: true,
            ordered: false,
            max_batch: MAX_BATCH,
            max_in_flight: database.max_in_flight(),
        }),
    };
    TableType {
        object_type,
        table: table.clone(),
        children: BTreeMap::new(),
        words: None,
        belonging,
        keys_of_all,
        own: OwnStatements::default(),
        follow: None,
    }
}

/// A table as a type sees it: among its own rows, a key needs no column that is the same in all of them.
fn among(table: &Table, belonging: &Belonging) -> Table {
    let mut seen = table.clone();
    let varies = |column: &String| !belonging.is_constant(&table.quoted(column));
    seen.primary_key.retain(varies);
    seen.unique.iter_mut().for_each(|key| key.retain(varies));
    seen.unique.retain(|key| !key.is_empty());
    seen
}

/// The keys that a row shares with rows of no concern to the type.
fn keys_of_all(table: &Table, belonging: &Belonging) -> Vec<Vec<String>> {
    if belonging.is_everything() {
        return Vec::new();
    }
    let is_shared =
        |key: &&Vec<String>| !key.is_empty() && !key.iter().any(|column| belonging.is_constant(&table.quoted(column)));
    std::iter::once(&table.primary_key).chain(&table.unique).filter(is_shared).cloned().collect()
}

pub(crate) fn attribute(table: &Table, column: &Column, is_enabling: bool) -> Attribute {
    let is_key = |key: &Vec<String>| matches!(key.as_slice(), [only] if *only == column.name);
    // Whatever says whether a row is enabled is a boolean towards Muster.
    let value_type = if is_enabling { Some(ValueType::Boolean) } else { column.value_type };
    Attribute {
        required: !column.nullable && !column.has_default && !column.generated,
        creatable: !column.generated,
        updatable: !column.generated,
        unique: is_key(&table.primary_key) || table.unique.iter().any(is_key),
        case: if column.case_insensitive { CaseRule::Insensitive } else { CaseRule::Sensitive },
        max_length: column.max_length,
        native_type: column.native.clone(),
        unsupported: value_type.is_none().then(|| format!("columns of type {} are not supported", column.native)),
        ..Attribute::new(&column.name, value_type.unwrap_or(ValueType::Text))
    }
}
