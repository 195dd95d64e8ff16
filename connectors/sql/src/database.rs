//! What differs between engines.

use std::borrow::Cow;
use std::sync::Arc;

use async_trait::async_trait;
use muster_model::Value;

use crate::belonging::Belonging;
use crate::catalog::{Catalog, Column};
use crate::error::{Class, Failure};
use crate::own_writing::{Bound, Ran};
use crate::statement::{Name, Quote, Sql, Stage, TableName, joined, sql};

/// A value as the database reads and writes it: its text form, or null.
pub(crate) type Text = Option<Arc<str>>;

/// A value of a statement of many rows, with the type that its column is staged as.
pub(crate) type BoundText<'a> = (Option<Cow<'a, str>>, &'a str);

/// Statements with their values.
pub(crate) type Statements<'a> = dyn Iterator<Item = (Sql, Vec<BoundText<'a>>)> + Send + 'a;

/// One row for a stage: its number, its group, and its values.
#[derive(Debug, Clone)]
pub(crate) struct StageRow {
    pub(crate) number: usize,
    pub(crate) group: usize,
    pub(crate) values: Vec<Text>,
}

/// The positions of the staged columns in which any row has a value: the others need not be sent.
pub(crate) fn used_columns(rows: &[StageRow]) -> Vec<usize> {
    let width = rows.iter().map(|row| row.values.len()).max().unwrap_or_default();
    let is_used = |position: &usize| rows.iter().any(|row| row.values.get(*position).is_some_and(Option::is_some));
    (0..width).filter(is_used).collect()
}

/// A row to insert, and what is wanted of it afterwards.
pub(crate) struct Insert<'a> {
    pub(crate) table: &'a TableName,
    /// The columns that are written.
    pub(crate) columns: &'a str,
    /// The query for their values.
    pub(crate) select: Sql,
    /// The columns of the row's key, with types that hold their values.
    pub(crate) key: Vec<(Name, String)>,
    /// The key as it is read.
    pub(crate) read: &'a str,
    /// The column that the database numbers by itself.
    pub(crate) counted: Option<Name>,
}

impl Insert<'_> {
    /// The statement, as long as nothing is wanted of the row.
    pub(crate) fn statement(&self) -> Sql {
        let Self { table, columns, select, .. } = self;
        sql!("INSERT INTO {table} ({columns}) {}", select.text())
    }
}

/// A deletion by a join, as MySQL and SQL Server spell it: see [`Database::delete_by_stage`].
pub(crate) fn delete_by_join(
    table: &TableName,
    same: &[(Name, Name)],
    belonging: &Belonging,
    stage: &Stage,
    group: usize,
) -> Sql {
    let same = joined(same.iter().map(|(column, staged)| format!("t.{column} = s.{staged}")), " AND ");
    let and = belonging.and("t");
    sql!("DELETE t FROM {table} AS t JOIN {stage} AS s ON {same} WHERE s.g = {group}{and}")
}

/// The condition that a key of `t` comes after another one, whose parts are these terms, spelled column by column.
pub(crate) fn later_keys(keys: &[Name], term: impl Fn(usize) -> String) -> String {
    let parts = keys.iter().enumerate().map(|(position, key)| {
        let before = keys.iter().take(position).enumerate();
        let same = before.map(|(position, key)| format!("t.{key} = {}", term(position)));
        format!("({})", joined(same.chain([format!("t.{key} > {}", term(position))]), " AND "))
    });
    joined(parts, " OR ")
}

/// How the rows after a key are asked for, in the order of their keys. The key is bound, or known to the session, since
/// a planner that compares with a staged one reads the table from its beginning.
pub(crate) enum After {
    /// A condition on the table `t` with marks for the key's values.
    Bound(String),
    /// The key is staged and remembered by a statement before; the condition refers to that.
    Remembered(Sql, String),
}

/// One engine with its pool of connections.
#[async_trait]
pub(crate) trait Database: Send + Sync {
    /// The engine's name, for messages.
    fn engine(&self) -> &'static str;

    /// Who this database is, whatever address it answers under.
    async fn identity(&self) -> Result<String, Failure>;

    /// The server's version, for a person.
    async fn version(&self) -> Result<String, Failure>;

    /// All tables.
    async fn catalog(&self) -> Result<Catalog, Failure>;

    /// How names are set off.
    fn quote(&self) -> Quote;

    /// The columns that a query answers.
    async fn query_columns(&self, query: &str) -> Result<Vec<Column>, Failure>;

    /// A transaction; it ends without effect unless committed. `writes` tells an engine that locks early.
    async fn begin(&self, writes: bool) -> Result<Box<dyn Session>, Failure>;

    /// The schema of temporary tables, where they have one, or the sign "#" in front of their names.
    fn temporary_schema(&self) -> Option<&'static str>;

    /// The right to make temporary tables.
    fn temporary_right(&self) -> &'static str {
        "TEMPORARY"
    }

    /// What gives it.
    fn temporary_grant(&self) -> String {
        "GRANT TEMPORARY ON DATABASE … TO the user".to_owned()
    }

    /// Why a value cannot be stored without loss: the rule's name, and the reason for a person.
    fn refuses(&self, value: &Value) -> Option<(&'static str, &'static str)>;

    /// An expression whose text form [`crate::text::decode`] understands.
    fn read_expression(&self, column: &str, native: &str) -> String;

    /// The type of texts of any length.
    fn long_text(&self) -> String {
        "text".to_owned()
    }

    /// How a query locks the rows that it reads until its transaction ends, so that nobody changes them, or
    /// (`exclusive`) also waits for all who hold them: the table as it stands after `FROM`, and the end of the query.
    fn locked(&self, table: &str, exclusive: bool) -> (String, &'static str) {
        (table.to_owned(), if exclusive { " FOR UPDATE" } else { " FOR SHARE" })
    }

    /// The text form of a whole number.
    fn read_number(&self, column: &str) -> String {
        self.read_expression(column, "integer")
    }

    /// Changes the rows of `table`, called `t`, that meet `condition` together with a row of the stage, called `s`:
    /// each column becomes its term.
    fn update_from_stage(&self, table: &TableName, changes: &[(Name, String)], stage: &Stage, condition: &str) -> Sql {
        let changes = joined(changes.iter().map(|(column, term)| format!("{column} = {term}")), ", ");
        sql!("UPDATE {table} AS t SET {changes} FROM {stage} AS s WHERE {condition}")
    }

    /// Where a value is bound, the first being number 1, as a value of the type that its column is staged as.
    fn mark(&self, number: usize, stage_type: &str) -> String;

    /// Whether a text bound for a column of that type becomes the same there as by way of a stage.
    fn binds_directly(&self, _native: &str) -> bool {
        false
    }

    /// Whether it changes rows by a list of values in the place of a table quicker than by a stage.
    fn updates_directly(&self) -> bool {
        false
    }

    /// That columns equal one of the rows of a list of values.
    fn among(&self, columns: &str, rows: &str) -> String {
        format!("({columns}) IN ({rows})")
    }

    /// Changes the rows of `table`, called `t`, that meet a condition.
    fn update_one(&self, table: &TableName, changes: &[(Name, String)], condition: &str) -> Sql {
        let changes = joined(changes.iter().map(|(column, term)| format!("{column} = {term}")), ", ");
        sql!("UPDATE {table} AS t SET {changes} WHERE {condition}")
    }

    /// What an `INSERT` or `UPDATE` says first, with a blank, where a refusal undoes the whole transaction, so that the
    /// statement need not be undone alone.
    fn where_all_is_undone(&self) -> &'static str {
        ""
    }

    /// Deletes the rows of `table` whose columns equal the staged ones of a group, of those that belong to the type.
    fn delete_by_stage(
        &self,
        table: &TableName,
        same: &[(Name, Name)],
        belonging: &Belonging,
        stage: &Stage,
        group: usize,
    ) -> Sql {
        let and = belonging.and("t");
        let columns = joined(same.iter().map(|(column, _)| column), ", ");
        let staged = joined(same.iter().map(|(_, staged)| format!("s.{staged}")), ", ");
        sql!(
            "DELETE FROM {table} AS t WHERE ({columns}) IN (SELECT {staged} FROM {stage} AS s WHERE s.g = {group}){and}"
        )
    }

    /// The rows of a table, called `t`, whose keys come after one with values of the stage's types.
    fn after(&self, keys: &[Name], stage: &Stage) -> After {
        let marks = stage.types.iter().enumerate().map(|(position, kind)| self.mark(position + 1, kind));
        let order = joined(keys.iter().map(|key| format!("t.{key}")), ", ");
        After::Bound(format!("({order}) > ({})", joined(marks, ", ")))
    }

    /// What ends a query so that it answers with so many rows at most. It has an order.
    fn limit(&self, rows: usize) -> String {
        format!("LIMIT {rows}")
    }

    /// Whether it keeps a record of changed keys by itself, as SQL Server does.
    fn tracks_changes(&self) -> bool {
        false
    }

    /// The version of that record now, as text.
    fn tracking_version(&self) -> &'static str {
        "NULL"
    }

    /// The oldest version after which the record of a table is complete, as text.
    fn tracking_begins(&self, _table: &TableName) -> String {
        "NULL".to_owned()
    }

    /// Whether times are kept, and compared, as texts.
    fn times_are_texts(&self) -> bool {
        false
    }

    /// A value as a literal, for a person.
    fn literal(&self, text: &Text, native: &str) -> String;

    /// The most batches at the same time.
    fn max_in_flight(&self) -> u32;

    /// The most values in one statement with rows in it. MySQL counts 65,535.
    fn most_values(&self) -> usize {
        32_000
    }
}

/// A transaction.
#[async_trait]
pub(crate) trait Session: Send {
    /// Makes and fills the transaction's staging table, which is gone when the transaction ends. Once a transaction.
    async fn stage(&mut self, stage: &Stage, rows: &[StageRow]) -> Result<(), Failure>;

    /// Tells the planner that the stage is joined by a key with an index. Nothing is known of a fresh stage's size,
    /// and a planner that guesses too high reads the whole table for every batch.
    async fn join_by_index(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    /// Runs a statement and returns the number of rows it changed.
    async fn execute(&mut self, sql: Sql) -> Result<u64, Failure>;

    /// Runs a query whose columns are all text.
    async fn query(&mut self, sql: Sql) -> Result<Vec<Vec<Text>>, Failure>;

    /// Runs a statement with bound values, and returns its rows as texts (`returns`), or how many it changed.
    async fn run(&mut self, sql: Sql, bound: &[Bound], returns: bool) -> Result<Ran, Failure>;

    /// Runs statements of few shapes one after the other, each made ready while the one before runs, and returns how
    /// many rows they changed or, for queries that answer with one number each, their sum.
    async fn run_bound(&mut self, _statements: &mut Statements<'_>, _counts: bool) -> Result<u64, Failure> {
        Err(Failure::new(Class::Bug, "this engine writes by a stage"))
    }

    /// Lets the database read a statement with bound values of these types, without running it.
    async fn examine(&mut self, sql: Sql, bound: &[String]) -> Result<(), Failure>;

    /// Inserts one row and returns its key.
    async fn insert_one(&mut self, insert: Insert<'_>) -> Result<Vec<Vec<Text>>, Failure> {
        self.query(sql!("{} RETURNING {}", insert.statement().text(), insert.read)).await
    }

    /// Marks a point to return to.
    async fn savepoint(&mut self) -> Result<(), Failure>;

    /// Undoes what happened since the savepoint.
    async fn return_to_savepoint(&mut self) -> Result<(), Failure>;

    /// Forgets the savepoint; what happened since belongs to the transaction. Thousands within one another are slow.
    async fn release_savepoint(&mut self) -> Result<(), Failure> {
        self.execute(sql!("RELEASE SAVEPOINT muster")).await.map(drop)
    }

    /// Undoes everything now, and not only when the connection is looked at again: others may wait for its locks.
    async fn rollback(self: Box<Self>);

    /// Makes everything durable. A failure here leaves the effect unknown, unless the database said no.
    async fn commit(self: Box<Self>) -> Result<(), Failure>;
}
