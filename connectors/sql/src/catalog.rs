//! What a database's own catalogue says, in one form for all engines.

use std::collections::{BTreeMap, BTreeSet};

use muster_model::ValueType;

use crate::statement::{Name, TableName};

/// All tables of a database.
#[derive(Debug, Clone, Default)]
pub(crate) struct Catalog {
    pub(crate) tables: Vec<Table>,
    /// What the queries of the settings answer, by the type's name.
    pub(crate) queries: BTreeMap<String, Table>,
}

/// One table or view.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pub(crate) name: TableName,
    pub(crate) columns: Vec<Column>,
    /// The primary key's columns, in order.
    pub(crate) primary_key: Vec<String>,
    /// Further unique keys over plain columns.
    pub(crate) unique: Vec<Vec<String>>,
    /// Foreign keys of one column.
    pub(crate) foreign_keys: Vec<ForeignKey>,
    /// What keeps its rows, where that cannot undo a change.
    pub(crate) without_undo: Option<String>,
    /// It stands in the search path's first schema, so its name needs no schema in front.
    pub(crate) is_default_schema: bool,
}

/// A column whose values are keys of another table's rows.
#[derive(Debug, Clone)]
pub(crate) struct ForeignKey {
    pub(crate) column: String,
    pub(crate) table: TableName,
    pub(crate) referenced: String,
}

/// One column.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// The type as the database spells it, fit for a declaration.
    pub(crate) native: String,
    /// The type of a staged value: the base type without a length, since a key cut to fit would name another row,
    /// and a domain that forbids null would refuse what is not written at all.
    pub(crate) stage_type: String,
    /// What Muster takes it for; `None` when it cannot handle the type.
    pub(crate) value_type: Option<ValueType>,
    pub(crate) max_length: Option<u32>,
    pub(crate) nullable: bool,
    /// Filled by the database when nothing is given.
    pub(crate) has_default: bool,
    /// An `AUTO_INCREMENT` of MySQL or MariaDB, an `IDENTITY` of SQL Server.
    pub(crate) counted: bool,
    /// Computed by the database, or an identity that is always its own.
    pub(crate) generated: bool,
    /// Texts that differ in case only are equal.
    pub(crate) case_insensitive: bool,
    /// The only texts it holds, where the database would take a number for the position of one.
    pub(crate) choices: Option<Choices>,
}

impl Column {
    /// A column of a query's answer, which is only read.
    pub(crate) fn answered(name: &str, native: String) -> Self {
        Self {
            name: name.to_owned(),
            native,
            stage_type: String::new(),
            value_type: None,
            max_length: None,
            nullable: true,
            has_default: false,
            counted: false,
            generated: true,
            case_insensitive: false,
            choices: None,
        }
    }
}

/// The texts of an enumeration.
#[derive(Debug, Clone)]
pub(crate) struct Choices {
    pub(crate) texts: Vec<String>,
    /// Several of them at once, with commas between.
    pub(crate) several: bool,
}

impl Choices {
    /// Whether a text is what it says, and not the number of something else.
    pub(crate) fn admit(&self, text: &str) -> bool {
        let is_number = text.trim().parse::<f64>().is_ok();
        let is_known = |part: &str| self.texts.iter().any(|known| known == part);
        !is_number || is_known(text) || (self.several && text.split(',').all(is_known))
    }
}

impl Table {
    /// A table without keys that is only read.
    pub(crate) fn of_query(name: TableName, columns: Vec<Column>) -> Self {
        Self {
            name,
            columns,
            primary_key: Vec::new(),
            unique: Vec::new(),
            foreign_keys: Vec::new(),
            without_undo: None,
            is_default_schema: true,
        }
    }

    /// Whether no two rows can have the same values of these columns.
    pub(crate) fn is_unique(&self, columns: &[String]) -> bool {
        let within = |key: &&Vec<String>| !key.is_empty() && key.iter().all(|name| columns.contains(name));
        std::iter::once(&self.primary_key).chain(&self.unique).any(|key| within(&key))
    }

    /// Whether these columns are a key, and so have an index.
    pub(crate) fn has_key<'a>(&self, columns: impl Iterator<Item = &'a str>) -> bool {
        let columns: BTreeSet<&str> = columns.collect();
        let is_same = |key: &Vec<String>| key.iter().map(String::as_str).collect::<BTreeSet<_>>() == columns;
        is_same(&self.primary_key) || self.unique.iter().any(is_same)
    }

    pub(crate) fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The name of a column, quoted.
    pub(crate) fn quoted(&self, column: &str) -> Name {
        self.name.column(column)
    }

    /// The column that the database numbers by itself, of which a table of MySQL has one at most.
    pub(crate) fn counted(&self) -> Option<&Column> {
        self.columns.iter().find(|column| column.counted)
    }

    /// The name as configuration spells it.
    pub(crate) fn display_name(&self) -> String {
        match &self.name.schema {
            Some(schema) if !self.is_default_schema => format!("{}.{}", schema.plain(), self.name.table.plain()),
            _ => self.name.table.plain().to_owned(),
        }
    }

    /// Whether `configured` names this table.
    pub(crate) fn is_called(&self, configured: &str) -> bool {
        let with_schema =
            self.name.schema.as_ref().map(|schema| format!("{}.{}", schema.plain(), self.name.table.plain()));
        with_schema.as_deref() == Some(configured) || (self.is_default_schema && self.name.table.plain() == configured)
    }
}
