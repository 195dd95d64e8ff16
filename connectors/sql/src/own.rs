//! Statements of the administrator's own in place of Muster's: stored procedures and parameterised SQL for single
//! operations. Parameters are bound, never written into the text.

use muster_connector::{Error, Kind, Operation};
use muster_model::nearest;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::catalog::Table;
use crate::config::OneOrMore;
use crate::schema::wrong;

/// Statements to run instead of Muster's own, for each kind of operation: one, or several in order, in the transaction
/// of the operation. `:column` stands for a column's value after the operation, `:old.column` for the one before.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StatementSettings {
    /// Makes a row. Where the database assigns the key, the first row that a statement returns must begin with it,
    /// unless another unique column is written.
    pub create: Option<OneOrMore>,
    /// Writes a row's secrets, such as a first password, right after `create`.
    pub password: Option<OneOrMore>,
    /// Changes a row.
    pub update: Option<OneOrMore>,
    /// Enables a row. Without it, `update` does.
    pub enable: Option<OneOrMore>,
    /// Disables a row. Without it, `update` does.
    pub disable: Option<OneOrMore>,
    /// Changes a row's key: `:old.column` is the former one.
    pub rename: Option<OneOrMore>,
    /// Deletes a row.
    pub delete: Option<OneOrMore>,
}

/// What a statement of an operation is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Purpose {
    Create,
    Password,
    Update,
    Enable,
    Disable,
    Rename,
    Delete,
}

impl Purpose {
    const ALL: [Self; 7] =
        [Self::Create, Self::Password, Self::Update, Self::Enable, Self::Disable, Self::Rename, Self::Delete];

    /// The setting's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Password => "password",
            Self::Update => "update",
            Self::Enable => "enable",
            Self::Disable => "disable",
            Self::Rename => "rename",
            Self::Delete => "delete",
        }
    }
}

/// The statements of a type.
#[derive(Debug, Clone, Default)]
pub(crate) struct OwnStatements(Vec<(Purpose, Vec<OwnStatement>)>);

/// One statement, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OwnStatement {
    pieces: Vec<Piece>,
    /// It says how many rows it changed, and returns none.
    pub(crate) counts: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Sql(String),
    Parameter(Parameter),
}

/// A value that a statement asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parameter {
    pub(crate) column: String,
    /// As it is before the operation.
    pub(crate) old: bool,
}

impl OwnStatements {
    pub(crate) fn new(type_name: &str, given: &StatementSettings, table: &Table) -> Result<Self, Error> {
        let of = |purpose: Purpose| match purpose {
            Purpose::Create => &given.create,
            Purpose::Password => &given.password,
            Purpose::Update => &given.update,
            Purpose::Enable => &given.enable,
            Purpose::Disable => &given.disable,
            Purpose::Rename => &given.rename,
            Purpose::Delete => &given.delete,
        };
        let mut all = Vec::new();
        for purpose in Purpose::ALL {
            let Some(texts) = of(purpose) else { continue };
            let setting = format!("types.{type_name}.statements.{}", purpose.name());
            let mut statements = Vec::new();
            for text in texts.columns() {
                statements.push(checked(&setting, purpose, &text, table)?);
            }
            if statements.is_empty() {
                return Err(wrong(setting, "there is no statement".to_owned(), "write one, or remove it".to_owned()));
            }
            all.push((purpose, statements));
        }
        let has = |purpose| all.iter().any(|(known, _)| *known == purpose);
        if has(Purpose::Password) && !has(Purpose::Create) {
            let fix = "add `create` as well: a password is written right after it".to_owned();
            let setting = format!("types.{type_name}.statements.password");
            return Err(wrong(setting, "rows are made without a statement of your own".to_owned(), fix));
        }
        Ok(Self(all))
    }

    pub(crate) fn of(&self, purpose: Purpose) -> Option<&[OwnStatement]> {
        self.0.iter().find(|(known, _)| *known == purpose).map(|(_, statements)| statements.as_slice())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|(_, statements)| statements.is_empty())
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = (Purpose, &OwnStatement)> {
        self.0.iter().flat_map(|(purpose, statements)| statements.iter().map(|statement| (*purpose, statement)))
    }

    /// What of an operation has statements of its own. `enabling`: it changes whether the row is enabled, and nothing
    /// else of it when `alone`.
    pub(crate) fn purposes(&self, operation: &Operation, alone: bool) -> Vec<Purpose> {
        let has = |purpose: &Purpose| self.of(*purpose).is_some();
        let enabling = operation.enabling.map(|on| if on { Purpose::Enable } else { Purpose::Disable });
        let candidates = match (&operation.kind, enabling.filter(has)) {
            (Kind::Create, _) => vec![Purpose::Create],
            (Kind::Rename { .. }, _) => vec![Purpose::Rename],
            (Kind::Delete, _) => vec![Purpose::Delete],
            (_, Some(enabling)) if alone => vec![enabling],
            (_, Some(enabling)) => vec![Purpose::Update, enabling],
            (_, None) => vec![Purpose::Update],
        };
        candidates.into_iter().filter(has).collect()
    }
}

impl OwnStatement {
    /// The text with the marks of an engine, and the parameters in the order of their marks.
    pub(crate) fn render(&self, mut mark: impl FnMut(usize, &Parameter) -> String) -> (String, Vec<&Parameter>) {
        let mut text = String::new();
        let mut parameters = Vec::new();
        for piece in &self.pieces {
            match piece {
                Piece::Sql(part) => text.push_str(part),
                Piece::Parameter(parameter) => {
                    parameters.push(parameter);
                    text.push_str(&mark(parameters.len(), parameter));
                }
            }
        }
        (text, parameters)
    }

    pub(crate) fn parameters(&self) -> impl Iterator<Item = &Parameter> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Parameter(parameter) => Some(parameter),
            Piece::Sql(_) => None,
        })
    }
}

fn checked(setting: &str, purpose: Purpose, text: &str, table: &Table) -> Result<OwnStatement, Error> {
    let statement = parse(text);
    if text.trim().is_empty() {
        return Err(wrong(
            setting.to_owned(),
            "the statement is empty".to_owned(),
            "write one, or remove it".to_owned(),
        ));
    }
    for Parameter { column, old } in statement.parameters() {
        if table.column(column).is_none() {
            let fix = match nearest(column, table.columns.iter().map(|column| column.name.as_str())) {
                Some(near) => format!("did you mean :{near}?"),
                None => format!("parameters are the columns of {}", table.display_name()),
            };
            return Err(wrong(setting.to_owned(), format!("there is no column for the parameter :{column}"), fix));
        }
        if *old && matches!(purpose, Purpose::Create | Purpose::Password) {
            let problem = format!("a new row has no former value for :old.{column}");
            return Err(wrong(setting.to_owned(), problem, format!("write :{column}")));
        }
    }
    Ok(statement)
}

/// Takes a statement apart. What stands in quotes, comments and dollar quotes, and `::`, is no parameter.
fn parse(text: &str) -> OwnStatement {
    let letters: Vec<char> = text.trim().trim_end_matches(';').chars().collect();
    let at = |position: usize| letters.get(position).copied();
    let is_first = |letter: char| letter.is_alphabetic() || letter == '_';
    let is_name = |letter: char| letter.is_alphanumeric() || letter == '_';
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut position = 0;
    // Copies up to and with the end of something, or to the end of the text.
    let until = |from: usize, end: &str| -> usize {
        let end: Vec<char> = end.chars().collect();
        let found = (from..letters.len()).find(|start| letters.get(*start..*start + end.len()) == Some(end.as_slice()));
        found.map_or(letters.len(), |start| start + end.len())
    };
    while let Some(letter) = at(position) {
        let skipped = match (letter, at(position + 1)) {
            ('\'' | '"' | '`', _) => Some(until(position + 1, &letter.to_string())),
            ('-', Some('-')) => Some(until(position + 2, "\n")),
            ('/', Some('*')) => Some(until(position + 2, "*/")),
            ('$', _) => {
                let end = (position + 1..letters.len()).find(|end| !at(*end).is_some_and(is_name));
                end.filter(|end| at(*end) == Some('$') && !at(position + 1).is_some_and(char::is_numeric)).map(|end| {
                    let tag: String = letters.get(position..=end).unwrap_or_default().iter().collect();
                    until(end + 1, &tag)
                })
            }
            (':', Some(':' | '=')) => Some(position + 2),
            _ => None,
        };
        if let Some(end) = skipped {
            plain.extend(letters.get(position..end).unwrap_or_default());
            position = end;
            continue;
        }
        if letter != ':' || !at(position + 1).is_some_and(|next| is_first(next) || next == '"') {
            plain.push(letter);
            position += 1;
            continue;
        }
        let name_at = |from: usize| -> (String, usize) {
            if at(from) == Some('"') {
                let end = until(from + 1, "\"");
                (letters.get(from + 1..end - 1).unwrap_or_default().iter().collect(), end)
            } else {
                let end = (from..letters.len()).find(|end| !at(*end).is_some_and(is_name)).unwrap_or(letters.len());
                (letters.get(from..end).unwrap_or_default().iter().collect(), end)
            }
        };
        let (name, end) = name_at(position + 1);
        let is_old =
            name == "old" && at(end) == Some('.') && at(end + 1).is_some_and(|next| is_first(next) || next == '"');
        let (column, end) = if is_old { name_at(end + 1) } else { (name, end) };
        pieces.push(Piece::Sql(std::mem::take(&mut plain)));
        pieces.push(Piece::Parameter(Parameter { column, old: is_old }));
        position = end;
    }
    pieces.push(Piece::Sql(plain));
    let words: Vec<String> = text.split(|letter: char| !letter.is_alphabetic()).map(str::to_uppercase).collect();
    let first = words.iter().find(|word| !word.is_empty()).map_or("", String::as_str);
    let changes = matches!(first, "INSERT" | "UPDATE" | "DELETE" | "MERGE" | "REPLACE");
    let counts = changes && !words.iter().any(|word| word == "RETURNING" || word == "OUTPUT");
    OwnStatement { pieces, counts }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> (String, Vec<String>) {
        let statement = parse(text);
        let (text, parameters) = statement.render(|position, _| format!("${position}"));
        let parameters = parameters
            .into_iter()
            .map(|parameter| format!("{}{}", if parameter.old { "old " } else { "" }, parameter.column));
        (text, parameters.collect())
    }

    #[test]
    fn parameters_are_told_from_all_else() {
        let cases: [(&str, &str, &[&str]); 9] = [
            ("CALL f(:a, :b_2);", "CALL f($1, $2)", &["a", "b_2"]),
            (
                "UPDATE t SET k = :login WHERE k = :old.login",
                "UPDATE t SET k = $1 WHERE k = $2",
                &["login", "old login"],
            ),
            (
                "SELECT ':no', \":no\", `:no`, 'it''s :no' || :yes",
                "SELECT ':no', \":no\", `:no`, 'it''s :no' || $1",
                &["yes"],
            ),
            ("SELECT :a::text, x::int", "SELECT $1::text, x::int", &["a"]),
            ("SELECT $$ :no $$, $f$ :no $$ $f$, $1, :y", "SELECT $$ :no $$, $f$ :no $$ $f$, $1, $1", &["y"]),
            ("-- :no\nSELECT /* :no */ :y -- :no", "-- :no\nSELECT /* :no */ $1 -- :no", &["y"]),
            ("SELECT :\"Größe b\", :old.\"x y\", :größe", "SELECT $1, $2, $3", &["Größe b", "old x y", "größe"]),
            ("SET @x := 5; SELECT 1:2, :", "SET @x := 5; SELECT 1:2, :", &[]),
            ("SELECT 'open :no", "SELECT 'open :no", &[]),
        ];
        for (given, text, parameters) in cases {
            let parameters: Vec<String> = parameters.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(shown(given), (text.to_owned(), parameters), "{given}");
        }
    }

    #[test]
    fn statements_that_count_are_known() {
        for (text, counts) in [
            ("update t set x = 1", true),
            ("INSERT INTO t VALUES (1) RETURNING id", false),
            ("INSERT INTO t OUTPUT inserted.id VALUES (1)", false),
            ("CALL f()", false),
            ("  delete from t", true),
            ("WITH x AS (SELECT 1) SELECT f()", false),
        ] {
            assert_eq!(parse(text).counts, counts, "{text}");
        }
    }
}
