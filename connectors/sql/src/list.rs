//! All rows of a table, page by page in the order of their keys.

use muster_connector::{Cursor, Error, FoundPage, ReadRequest};
use muster_model::{Key, ValueType};

use crate::catalog::Column;
use crate::connector::SqlConnector;
use crate::error::Failure;
use crate::find::{column, read_object, wanted, with_gaps};
use crate::paging::Later;
use crate::schema::TableType;
use crate::statement::{Name, joined, sql};
use crate::text::encode_value;

/// Rows in one page.
pub(crate) const PAGE: usize = 5_000;

impl SqlConnector {
    pub(crate) async fn list_page(&self, request: &ReadRequest, cursor: Option<&Cursor>) -> Result<FoundPage, Error> {
        let table = self.table_type(&request.object_type).await?;
        let after = match cursor {
            Some(Cursor(bytes)) => {
                Some(Key::decode(bytes).map_err(|_| Error::Bug("this is no cursor of a list".to_owned()))?)
            }
            None => None,
        };
        self.rows_after(&table, request, after).await.map_err(|problem| self.told(problem))
    }

    /// A problem outside any batch: nothing was sent.
    pub(crate) fn told(&self, problem: Problem) -> Error {
        match problem {
            Problem::Error(error) => error,
            Problem::Failure(failure) => self.failed(failure),
        }
    }

    /// What reads columns of the table `t` as texts.
    pub(crate) fn texts(&self, table: &TableType, wanted: &[(&Column, ValueType)]) -> String {
        let names =
            wanted.iter().map(|(column, _)| (format!("t.{}", table.table.quoted(&column.name)), &column.native));
        joined(names.map(|(name, native)| self.database.read_expression(&name, native)), ", ")
    }

    pub(crate) async fn rows_after(
        &self,
        table: &TableType,
        request: &ReadRequest,
        after: Option<Key>,
    ) -> Result<FoundPage, Problem> {
        let wanted = wanted(table, request)?;
        let anchor = &table.object_type.anchor.attributes;
        let keys = anchor.iter().map(|name| column(table, name)).collect::<Result<Vec<_>, _>>()?;
        let texts = self.texts(table, &wanted);
        let order = joined(keys.iter().map(|column| format!("t.{}", table.table.quoted(&column.name))), ", ");
        let mut session = self.database.begin(false).await?;
        let (name, limit) = (&table.table.name, self.database.limit(PAGE));
        let and = table.belonging.and("t") + &table.and_has_key();
        let later = match after {
            None => {
                let rows = and.strip_prefix(" AND ").map_or(String::new(), |rows| format!(" WHERE {rows}"));
                Later::anything(rows)
            }
            Some(key) => {
                let names: Vec<Name> = keys.iter().map(|column| table.table.quoted(&column.name)).collect();
                let types = keys.iter().map(|column| column.stage_type.clone()).collect();
                let values = key.0.iter().map(|value| Some(encode_value(value))).collect();
                let later = self.later(session.as_mut(), &names, types, values).await?;
                Later { condition: format!(" WHERE ({}){and}", later.condition), ..later }
            }
        };
        let rows = &later.condition;
        let query = sql!("SELECT {texts} FROM {name} AS t{rows} ORDER BY {order} {limit}");
        let rows = later.query(session.as_mut(), query).await?;
        session.commit().await?;
        let is_full = rows.len() >= PAGE;
        let objects = rows
            .into_iter()
            .map(|row| Ok(with_gaps(table, request, read_object(table, &wanted, row)?)))
            .collect::<Result<Vec<_>, Failure>>()?;
        let next = objects.last().filter(|_| is_full).map(|last| Cursor(last.key.encode()));
        Ok(FoundPage { objects, next })
    }
}

/// What keeps rows from being read.
pub(crate) enum Problem {
    Error(Error),
    Failure(Failure),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}
