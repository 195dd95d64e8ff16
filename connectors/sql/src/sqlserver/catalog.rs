//! What the catalogue says.

use std::collections::BTreeMap;

use muster_model::ValueType;

use super::SqlServer;
use super::types::{stage_type, value_type, word};
use crate::catalog::{Catalog, Column, ForeignKey, Table};
use crate::database::Text;
use crate::error::Failure;
use crate::statement::{Name, Quote, TableName};

const TABLES: &str = "SELECT TABLE_SCHEMA, TABLE_NAME, CASE WHEN TABLE_SCHEMA = SCHEMA_NAME() THEN '1' ELSE '0' END \
    FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_TYPE IN ('BASE TABLE', 'VIEW') ORDER BY TABLE_SCHEMA, TABLE_NAME";

// An identity column is given no values; `GeneratedAlwaysType` is that of the columns of a temporal table.
const COLUMNS: &str = "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, DATA_TYPE, \
    CONVERT(nvarchar(20), CHARACTER_MAXIMUM_LENGTH), CONVERT(nvarchar(20), NUMERIC_PRECISION), \
    CONVERT(nvarchar(20), NUMERIC_SCALE), CONVERT(nvarchar(20), DATETIME_PRECISION), IS_NULLABLE, \
    CASE WHEN COLUMN_DEFAULT IS NULL THEN '0' ELSE '1' END, COLLATION_NAME, \
    CONVERT(nvarchar(20), COLUMNPROPERTY(OBJECT_ID(QUOTENAME(TABLE_SCHEMA) + '.' + QUOTENAME(TABLE_NAME)), COLUMN_NAME, 'IsIdentity')), \
    CONVERT(nvarchar(20), COLUMNPROPERTY(OBJECT_ID(QUOTENAME(TABLE_SCHEMA) + '.' + QUOTENAME(TABLE_NAME)), COLUMN_NAME, 'IsComputed')), \
    CONVERT(nvarchar(20), COLUMNPROPERTY(OBJECT_ID(QUOTENAME(TABLE_SCHEMA) + '.' + QUOTENAME(TABLE_NAME)), COLUMN_NAME, 'GeneratedAlwaysType')) \
    FROM INFORMATION_SCHEMA.COLUMNS ORDER BY TABLE_SCHEMA, TABLE_NAME, ORDINAL_POSITION";

const KEYS: &str = "SELECT s.name, o.name, CONVERT(nvarchar(20), i.index_id), \
    CASE WHEN i.is_primary_key = 1 THEN '1' ELSE '0' END, c.name, \
    CASE WHEN i.has_filter = 1 THEN i.filter_definition END \
    FROM sys.indexes AS i JOIN sys.objects AS o ON o.object_id = i.object_id \
    JOIN sys.schemas AS s ON s.schema_id = o.schema_id \
    JOIN sys.index_columns AS k ON k.object_id = i.object_id AND k.index_id = i.index_id \
    JOIN sys.columns AS c ON c.object_id = k.object_id AND c.column_id = k.column_id \
    WHERE i.is_unique = 1 AND i.is_disabled = 0 AND i.is_hypothetical = 0 \
    AND k.is_included_column = 0 AND o.is_ms_shipped = 0 \
    ORDER BY s.name, o.name, i.index_id, k.key_ordinal";

const FOREIGN_KEYS: &str = "SELECT s.name, o.name, c.name, q.name, p.name, d.name \
    FROM sys.foreign_keys AS f JOIN sys.foreign_key_columns AS k ON k.constraint_object_id = f.object_id \
    JOIN sys.objects AS o ON o.object_id = f.parent_object_id JOIN sys.schemas AS s ON s.schema_id = o.schema_id \
    JOIN sys.columns AS c ON c.object_id = k.parent_object_id AND c.column_id = k.parent_column_id \
    JOIN sys.objects AS p ON p.object_id = f.referenced_object_id JOIN sys.schemas AS q ON q.schema_id = p.schema_id \
    JOIN sys.columns AS d ON d.object_id = k.referenced_object_id AND d.column_id = k.referenced_column_id \
    WHERE (SELECT count(*) FROM sys.foreign_key_columns AS a WHERE a.constraint_object_id = f.object_id) = 1 \
    ORDER BY s.name, o.name, f.name";

/// A type as it is declared, from the parts that the catalogue tells.
pub(super) fn native(
    kind: &str,
    length: Option<&str>,
    precision: Option<&str>,
    scale: Option<&str>,
    second: Option<&str>,
) -> String {
    match (kind, length, precision, scale, second) {
        ("char" | "varchar" | "nchar" | "nvarchar" | "binary" | "varbinary", Some("-1"), ..) => format!("{kind}(max)"),
        ("char" | "varchar" | "nchar" | "nvarchar" | "binary" | "varbinary", Some(length), ..) => {
            format!("{kind}({length})")
        }
        ("decimal" | "numeric", _, Some(precision), Some(scale), _) => format!("{kind}({precision},{scale})"),
        ("datetime2" | "datetimeoffset" | "time", .., Some(digits)) => format!("{kind}({digits})"),
        _ => kind.to_owned(),
    }
}

fn read_column(row: &[Text]) -> Option<Column> {
    let text = |position: usize| row.get(position).and_then(Option::as_deref);
    let is = |position: usize| text(position).is_some_and(|flag| flag != "0");
    let name = text(2)?.to_owned();
    let kind = text(3)?.to_ascii_lowercase();
    let native = native(&kind, text(4), text(5), text(6), text(7));
    let value_type = value_type(&native);
    let collation = text(10).unwrap_or_default();
    let identity = is(11);
    // A version of the row, which every change gives a new value.
    let versions = word(&native) == "timestamp";
    let has_length = matches!(word(&native), "char" | "varchar" | "nchar" | "nvarchar");
    Some(Column {
        stage_type: stage_type(&native, collation),
        max_length: text(4).filter(|_| has_length).and_then(|length| length.parse().ok()),
        nullable: text(8) == Some("YES"),
        has_default: is(9) || identity,
        counted: identity,
        generated: identity || versions || is(12) || is(13),
        case_insensitive: value_type == Some(ValueType::Text) && collation.to_ascii_lowercase().contains("_ci"),
        choices: None,
        value_type,
        name,
        native,
    })
}

/// The tables so far, found under the names that different parts of the catalogue spell differently.
#[derive(Default)]
struct Tables {
    tables: Vec<Table>,
    exact: BTreeMap<(String, String), usize>,
    alike: BTreeMap<(String, String), usize>,
}

impl Tables {
    fn add(&mut self, schema: &str, table: &str, is_default_schema: bool) {
        let quoted = |name: &str| Name::new(name, Quote::Bracket);
        let position = self.tables.len();
        self.exact.insert((schema.to_owned(), table.to_owned()), position);
        self.alike.entry((schema.to_lowercase(), table.to_lowercase())).or_insert(position);
        self.tables.push(Table {
            name: TableName::new(Some(quoted(schema)), quoted(table)),
            columns: Vec::new(),
            primary_key: Vec::new(),
            unique: Vec::new(),
            foreign_keys: Vec::new(),
            without_undo: None,
            is_default_schema,
        });
    }

    fn position(&self, schema: &str, table: &str) -> Option<usize> {
        let exact = self.exact.get(&(schema.to_owned(), table.to_owned()));
        exact.or_else(|| self.alike.get(&(schema.to_lowercase(), table.to_lowercase()))).copied()
    }

    fn get(&self, row: &[Text], schema: usize) -> Option<&Table> {
        let text = |position: usize| row.get(position).and_then(Option::as_deref);
        self.tables.get(self.position(text(schema)?, text(schema + 1)?)?)
    }

    fn get_mut(&mut self, row: &[Text]) -> Option<&mut Table> {
        let text = |position: usize| row.get(position).and_then(Option::as_deref);
        let position = self.position(text(0)?, text(1)?)?;
        self.tables.get_mut(position)
    }
}

/// The column as its table spells it.
fn spelled(table: &Table, name: &str) -> Option<String> {
    let exact = table.columns.iter().find(|column| column.name == name);
    let alike = || table.columns.iter().find(|column| column.name.to_lowercase() == name.to_lowercase());
    exact.or_else(alike).map(|column| column.name.clone())
}

/// Whether an index leaves out rows with nulls alone, as in `([login] IS NOT NULL)`: to SQL Server one null is another's
/// equal, so that is how a unique column admits many. A key over any other part of the rows is no key.
fn only_skips_nulls(filter: &str) -> bool {
    let filter = filter.trim().strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).unwrap_or(filter);
    filter.split(" AND ").all(|term| {
        let name = term.trim().strip_suffix(" IS NOT NULL").and_then(|name| name.strip_prefix('[')?.strip_suffix(']'));
        name.is_some_and(|name| !name.replace("]]", "").contains([']', '(']))
    })
}

/// The unique keys of a table, each with whether it is the primary one.
type Keys = BTreeMap<usize, Vec<(String, bool, Option<Vec<String>>)>>;

fn keys(tables: &Tables, rows: &[Vec<Text>]) -> Keys {
    let mut keys = Keys::new();
    for row in rows {
        let text = |position: usize| row.get(position).and_then(Option::as_deref).unwrap_or_default();
        let Some(position) = tables.position(text(0), text(1)) else { continue };
        let Some(table) = tables.tables.get(position) else { continue };
        let filter = row.get(5).and_then(Option::as_deref);
        let (index, column) = (text(2), spelled(table, text(4)).filter(|_| filter.is_none_or(only_skips_nulls)));
        let of = keys.entry(position).or_default();
        match of.last_mut().filter(|(known, ..)| known == index) {
            Some((.., columns)) => match column.zip(columns.as_mut()) {
                Some((one, all)) => all.push(one),
                None => *columns = None,
            },
            None => of.push((index.to_owned(), text(3) == "1", column.map(|column| vec![column]))),
        }
    }
    keys
}

fn build(tables: &[Vec<Text>], columns: &[Vec<Text>], keyed: &[Vec<Text>], foreign: &[Vec<Text>]) -> Catalog {
    let mut found = Tables::default();
    for row in tables {
        let [Some(schema), Some(table), is_default] = row.as_slice() else { continue };
        found.add(schema, table, is_default.as_deref() == Some("1"));
    }
    for row in columns {
        let Some(table) = found.get_mut(row) else { continue };
        table.columns.extend(read_column(row));
    }
    for (position, keys) in keys(&found, keyed) {
        let Some(table) = found.tables.get_mut(position) else { continue };
        for (_, is_primary, columns) in keys {
            match columns {
                Some(columns) if is_primary => table.primary_key = columns,
                Some(columns) => table.unique.push(columns),
                None => {}
            }
        }
    }
    for row in foreign {
        let text = |position: usize| row.get(position).and_then(Option::as_deref).unwrap_or_default();
        let Some(other) = found.get(row, 3) else { continue };
        let (name, Some(referenced)) = (other.name.clone(), spelled(other, text(5))) else { continue };
        let Some(table) = found.get_mut(row) else { continue };
        let Some(column) = spelled(table, text(2)) else { continue };
        table.foreign_keys.push(ForeignKey { column, table: name, referenced });
    }
    Catalog { tables: found.tables, ..Catalog::default() }
}

pub(super) async fn read(database: &SqlServer) -> Result<Catalog, Failure> {
    let tables = database.ask(TABLES).await?;
    let columns = database.ask(COLUMNS).await?;
    let keyed = database.ask(KEYS).await?;
    let foreign = database.ask(FOREIGN_KEYS).await?;
    Ok(build(&tables, &columns, &keyed, &foreign))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[&[Option<&str>]]) -> Vec<Vec<Text>> {
        rows.iter().map(|row| row.iter().map(|text| text.map(Into::into)).collect()).collect()
    }

    #[test]
    fn a_catalogue_that_spells_names_differently_is_one() {
        let yes = Some("YES");
        let (zero, one) = (Some("0"), Some("1"));
        let (schema, ci) = (Some("dbo"), Some("SQL_Latin1_General_CP1_CI_AS"));
        let catalog = build(
            &rows(&[
                &[schema, Some("Dept"), one],
                &[schema, Some("App_User"), one],
                &[Some("old"), Some("Dept"), zero],
            ]),
            &rows(&[
                &[
                    schema,
                    Some("Dept"),
                    Some("Id"),
                    Some("int"),
                    None,
                    Some("10"),
                    zero,
                    None,
                    Some("NO"),
                    zero,
                    None,
                    one,
                    zero,
                    zero,
                ],
                &[
                    schema,
                    Some("App_User"),
                    Some("No"),
                    Some("nvarchar"),
                    Some("20"),
                    None,
                    None,
                    None,
                    Some("NO"),
                    zero,
                    ci,
                    zero,
                    zero,
                    None,
                ],
                &[
                    schema,
                    Some("App_User"),
                    Some("Dept_Id"),
                    Some("int"),
                    None,
                    Some("10"),
                    zero,
                    None,
                    yes,
                    zero,
                    None,
                    zero,
                    zero,
                    zero,
                ],
                &[
                    schema,
                    Some("App_User"),
                    Some("Pay"),
                    Some("decimal"),
                    None,
                    Some("10"),
                    Some("2"),
                    None,
                    yes,
                    one,
                    None,
                    zero,
                    zero,
                    zero,
                ],
                &[
                    schema,
                    Some("App_User"),
                    Some("Since"),
                    Some("datetime2"),
                    None,
                    None,
                    None,
                    Some("3"),
                    yes,
                    zero,
                    None,
                    zero,
                    one,
                    zero,
                ],
                &[
                    schema,
                    Some("App_User"),
                    Some("Photo"),
                    Some("varbinary"),
                    Some("-1"),
                    None,
                    None,
                    None,
                    yes,
                    zero,
                    None,
                    zero,
                    zero,
                    zero,
                ],
                &[
                    schema,
                    Some("App_User"),
                    Some("Version"),
                    Some("timestamp"),
                    None,
                    None,
                    None,
                    None,
                    Some("NO"),
                    zero,
                    None,
                    zero,
                    zero,
                    zero,
                ],
                &[
                    schema,
                    Some("App_User"),
                    Some("Until"),
                    Some("datetime2"),
                    None,
                    None,
                    None,
                    Some("7"),
                    Some("NO"),
                    zero,
                    None,
                    zero,
                    zero,
                    one,
                ],
            ]),
            &rows(&[
                &[schema, Some("app_user"), one, one, Some("no"), None],
                &[
                    schema,
                    Some("app_user"),
                    Some("2"),
                    zero,
                    Some("dept_id"),
                    Some("([dept_id] IS NOT NULL AND [Pay] IS NOT NULL)"),
                ],
                &[
                    schema,
                    Some("app_user"),
                    Some("2"),
                    zero,
                    Some("pay"),
                    Some("([dept_id] IS NOT NULL AND [Pay] IS NOT NULL)"),
                ],
                &[schema, Some("app_user"), Some("3"), zero, Some("gone"), None],
                &[schema, Some("app_user"), Some("4"), zero, Some("pay"), Some("([pay]>(0))")],
                &[schema, Some("dept"), one, one, Some("id"), None],
            ]),
            &rows(&[&[schema, Some("app_user"), Some("dept_id"), schema, Some("dept"), Some("id")]]),
        );
        let [dept, user, _] = catalog.tables.as_slice() else { panic!("{catalog:?}") };
        assert_eq!(user.name.to_string(), "[dbo].[App_User]");
        assert_eq!(user.primary_key, ["No"]);
        assert_eq!(user.unique, [["Dept_Id", "Pay"]]);
        let [key] = user.foreign_keys.as_slice() else { panic!("{user:?}") };
        assert_eq!((key.column.as_str(), &key.table, key.referenced.as_str()), ("Dept_Id", &dept.name, "Id"));
        let natives: Vec<&str> = user.columns.iter().map(|column| column.native.as_str()).collect();
        assert_eq!(
            natives,
            ["nvarchar(20)", "int", "decimal(10,2)", "datetime2(3)", "varbinary(max)", "timestamp", "datetime2(7)"]
        );
        let column = |name: &str| user.column(name).unwrap();
        assert_eq!((column("No").max_length, column("No").case_insensitive), (Some(20), true));
        assert!(!column("No").nullable && column("Dept_Id").nullable && column("Pay").has_default);
        let generated = user.columns.iter().filter(|column| column.generated).map(|column| column.name.as_str());
        assert_eq!(generated.collect::<Vec<_>>(), ["Since", "Version", "Until"]);
        let id = dept.column("Id").unwrap();
        assert!(id.counted && id.generated && id.has_default);
    }

    #[test]
    fn an_index_without_nulls_is_a_key() {
        for filter in ["([login] IS NOT NULL)", "([a] IS NOT NULL AND [b c]]d] IS NOT NULL)"] {
            assert!(only_skips_nulls(filter), "{filter}");
        }
        for filter in ["([login]>(3))", "([deleted]=(0) AND [a] IS NOT NULL)", "", "([a]='x' IS NOT NULL)"] {
            assert!(!only_skips_nulls(filter), "{filter}");
        }
    }

    #[test]
    fn tables_that_differ_in_case_only_are_two() {
        let mut tables = Tables::default();
        tables.add("dbo", "Person", true);
        tables.add("dbo", "person", true);
        assert_eq!(tables.position("dbo", "person"), Some(1));
        assert_eq!(tables.position("dbo", "Person"), Some(0));
        assert_eq!(tables.position("DBO", "PERSON"), Some(0));
        assert_eq!(tables.position("dbo", "persons"), None);
    }
}
