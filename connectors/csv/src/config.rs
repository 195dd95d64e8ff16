//! The settings of a CSV connection. The comments on the fields are the user's reference.

use std::collections::BTreeMap;

use muster_connector::Span;
use schemars::JsonSchema;
use serde::Deserialize;

/// Files of comma-separated values.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CsvSettings {
    /// The object types, each in a file or folder of its own.
    pub(crate) types: BTreeMap<String, TypeSettings>,
}

/// One object type.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "CsvType")]
pub(crate) struct TypeSettings {
    /// The file. It is read as a whole each time, and holds everybody.
    pub(crate) file: Option<String>,
    /// In place of a file, a folder in which each new file holds everybody: the newest is read.
    pub(crate) folder: Option<String>,
    /// With `folder`: which files are meant, with `*` for any characters and `?` for one: `"*.csv"` by default.
    pub(crate) pattern: Option<String>,
    /// With `folder`: how the newest file is found.
    #[serde(default)]
    pub(crate) newest_by: NewestBy,
    /// With `folder`: where older files are moved once a newer one has been read. Without it they stay.
    pub(crate) archive: Option<String>,
    /// How long a file must have been left alone before it is read: `"2s"` by default. A younger one is waited for.
    pub(crate) settle: Option<Span>,
    /// The columns that identify a row and never change.
    #[schemars(length(min = 1))]
    pub(crate) key: Vec<String>,
    /// What stands between the values: one character, or `"tab"`; a comma by default.
    pub(crate) delimiter: Option<String>,
    /// What stands around values that hold delimiters or line ends: one character, or `"none"`; `"` by default. Within
    /// such a value it is written twice.
    pub(crate) quote: Option<String>,
    /// How the file's characters are written, by a name of the WHATWG Encoding Standard such as `"windows-1252"`,
    /// `"iso-8859-15"` or `"utf-16le"`. By default the byte order mark at its beginning decides, and without one it is
    /// UTF-8.
    pub(crate) encoding: Option<String>,
    /// Whether the first row holds the names of the columns, which is so by default.
    pub(crate) header: Option<bool>,
    /// Without a header: the names of the columns, in order.
    #[serde(default)]
    pub(crate) names: Vec<String>,
    /// Values that mean that there is none, besides an empty one: such as `["NULL", "-"]`.
    #[serde(default)]
    pub(crate) null: Vec<String>,
    /// Whether white space around values is cut off, which is so by default.
    pub(crate) trim: Option<bool>,
    /// Rows without a key are left out, such as a line of totals. By default the file is refused then.
    #[serde(default)]
    pub(crate) skip_without_key: bool,
    /// The largest file in bytes that is read: 536870912 by default.
    pub(crate) largest_file: Option<u64>,
    /// Which rows are of people who are enabled. Without it all are.
    pub(crate) enabled: Option<EnabledSettings>,
    /// Columns that are more than one text, by name.
    #[serde(default)]
    pub(crate) columns: BTreeMap<String, ColumnSettings>,
}

/// How the newest file of a folder is found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum NewestBy {
    /// The last name, as sorted by characters: names that hold the date, largest part first.
    #[default]
    Name,
    /// The time at which it was changed last.
    Modified,
}

/// Which rows are of people who are enabled; told by the attribute `enabled`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EnabledSettings {
    /// The column.
    pub(crate) column: String,
    /// The values with which a row is enabled, in any case, such as `["active", "on leave"]`. With any other it is
    /// disabled, with none too.
    #[schemars(length(min = 1))]
    pub(crate) values: Vec<String>,
}

/// A column that is more than one text.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ColumnSettings {
    /// It holds several values, with this between them.
    pub(crate) separator: Option<String>,
    /// It names objects of this type of the connection, by their key, such as a manager.
    pub(crate) references: Option<String>,
}
