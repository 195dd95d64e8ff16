//! The only place where names become SQL.

use std::fmt::{self, Write as _};

/// How an engine sets names off from words of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quote {
    /// As the SQL standard says (ISO 9075, delimited identifier).
    Double,
    /// As MySQL and MariaDB do, whose double quotes may also enclose texts.
    Backtick,
    /// As SQL Server does, whatever its QUOTED_IDENTIFIER says.
    Bracket,
}

/// A table's or column's name, quoted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    name: String,
    /// None for a word of our own, which is the same in every engine.
    quote: Option<Quote>,
}

impl Name {
    pub(crate) fn new(name: &str, quote: Quote) -> Self {
        Self { name: name.to_owned(), quote: Some(quote) }
    }

    pub(crate) fn plain(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Name {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (open, close) = match self.quote {
            Some(Quote::Double) => ('"', '"'),
            Some(Quote::Backtick) => ('`', '`'),
            Some(Quote::Bracket) => ('[', ']'),
            None => return formatter.write_str(&self.name),
        };
        formatter.write_char(open)?;
        for letter in self.name.chars() {
            if letter == close {
                formatter.write_char(close)?;
            }
            formatter.write_char(letter)?;
        }
        formatter.write_char(close)
    }
}

/// A table with its schema, or a query that stands in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TableName {
    pub(crate) schema: Option<Name>,
    pub(crate) table: Name,
    /// The administrator's own text.
    query: Option<String>,
}

impl TableName {
    pub(crate) fn new(schema: Option<Name>, table: Name) -> Self {
        Self { schema, table, query: None }
    }

    /// What a query answers, in place of a table, under a name for messages.
    pub(crate) fn of_query(name: &str, quote: Quote, query: &str) -> Self {
        Self { query: Some(query.to_owned()), ..Self::new(None, Name::new(name, quote)) }
    }

    pub(crate) fn is_query(&self) -> bool {
        self.query.is_some()
    }

    /// The name of one of its columns, quoted as its own.
    pub(crate) fn column(&self, name: &str) -> Name {
        Name { name: name.to_owned(), quote: self.table.quote }
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(query) = &self.query {
            // Its last line may be a comment.
            return write!(formatter, "({query}\n)");
        }
        if let Some(schema) = &self.schema {
            write!(formatter, "{schema}.")?;
        }
        write!(formatter, "{}", self.table)
    }
}

/// SQL text made of keywords and quoted names only: no value ever becomes part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sql(String);

impl Sql {
    /// Text of this crate's own making. Names go in as [`Name`] or [`TableName`], types as the database spelled them.
    pub(crate) fn new(text: fmt::Arguments<'_>) -> Self {
        Self(text.to_string())
    }

    pub(crate) fn into_safe(self) -> sqlx::AssertSqlSafe<String> {
        sqlx::AssertSqlSafe(self.0)
    }

    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

/// Builds [`Sql`] as `format!` does.
macro_rules! sql {
    // The block ends the life of the arguments, which must not be held across an await.
    ($($part:tt)*) => {{
        let sql = $crate::statement::Sql::new(format_args!($($part)*));
        sql
    }};
}
pub(crate) use sql;

/// Names or terms with a separator between them.
pub(crate) fn joined<T: fmt::Display>(terms: impl IntoIterator<Item = T>, separator: &str) -> String {
    let mut text = String::new();
    for term in terms {
        if !text.is_empty() {
            text.push_str(separator);
        }
        // Writing to a String cannot fail.
        text.push_str(&term.to_string());
    }
    text
}

/// The staging table of a transaction: a number for each row, a group, and columns of the target's own types.
#[derive(Debug, Clone)]
pub(crate) struct Stage {
    /// Where the engine keeps temporary tables: a schema, or a sign in front of the name. Always said, so that no table
    /// of the same name is taken for it.
    schema: Option<&'static str>,
    /// Column types as the database spells them; column `i` is named `v{i}`.
    pub(crate) types: Vec<String>,
}

impl Stage {
    /// The table's name, which the database's messages mention.
    pub(crate) const NAME: &'static str = "muster_stage";

    pub(crate) fn new(schema: Option<&'static str>, types: Vec<String>) -> Self {
        Self { schema, types }
    }

    pub(crate) fn column(&self, position: usize) -> Name {
        Name { name: format!("v{position}"), quote: None }
    }

    /// `n`, `g` and the columns with their types.
    pub(crate) fn columns_with_types(&self) -> String {
        let columns = self.types.iter().enumerate().map(|(position, kind)| format!("{} {kind}", self.column(position)));
        joined(["n integer".to_owned(), "g integer".to_owned()].into_iter().chain(columns), ", ")
    }
}

/// Inserts so many rows into a stage, with a `?` for each number, group and value of these columns.
pub(crate) fn insert_rows(stage: &Stage, columns: &[usize], rows: usize) -> Sql {
    let names = joined(columns.iter().map(|position| format!(", {}", stage.column(*position))), "");
    let row = format!("(?, ?{})", ", ?".repeat(columns.len()));
    let mut text = format!("INSERT INTO {stage} (n, g{names}) VALUES {row}");
    for _ in 1..rows {
        text.push_str(", ");
        text.push_str(&row);
    }
    Sql(text)
}

impl fmt::Display for Stage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.schema {
            Some("#") => write!(formatter, "#{}", Self::NAME),
            Some(schema) => write!(formatter, "{schema}.{}", Self::NAME),
            None => formatter.write_str(Self::NAME),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_escapes_its_quotes() {
        let cases = [
            ("plain", "\"plain\""),
            ("a\"; DROP TABLE x; --", "\"a\"\"; DROP TABLE x; --\""),
            ("Größe b", "\"Größe b\""),
        ];
        for (name, expected) in cases {
            assert_eq!(Name::new(name, Quote::Double).to_string(), expected);
        }
        let name = |name| Name::new(name, Quote::Double);
        let table = TableName::new(Some(name("s\"")), name("t.x"));
        assert_eq!(table.to_string(), "\"s\"\"\".\"t.x\"");
        let name = |name| Name::new(name, Quote::Backtick);
        let table = TableName::new(Some(name("a`; DROP TABLE x; --")), name("\"\\"));
        assert_eq!(table.to_string(), "`a``; DROP TABLE x; --`.`\"\\`");
        assert_eq!(table.column("b`").to_string(), "`b```");
        let name = |name| Name::new(name, Quote::Bracket);
        let table = TableName::new(Some(name("a]; DROP TABLE x; --")), name("x]y"));
        assert_eq!(table.to_string(), "[a]]; DROP TABLE x; --].[x]]y]");
        assert_eq!(table.column("[b\"").to_string(), "[[b\"]");
    }
}
