//! What differs between engines.

use std::sync::Arc;

use async_trait::async_trait;
use muster_model::Value;

use crate::catalog::Catalog;
use crate::error::Failure;
use crate::statement::{Sql, Stage};

/// A value as the database reads and writes it: its text form, or null.
pub(crate) type Text = Option<Arc<str>>;

/// One row for a stage: its number, its group, and its values.
#[derive(Debug, Clone)]
pub(crate) struct StageRow {
    pub(crate) number: usize,
    pub(crate) group: usize,
    pub(crate) values: Vec<Text>,
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

    /// A transaction; it ends without effect unless committed. `writes` tells an engine that locks early.
    async fn begin(&self, writes: bool) -> Result<Box<dyn Session>, Failure>;

    /// The schema of temporary tables.
    fn temporary_schema(&self) -> &'static str;

    /// Why a value cannot be stored without loss: the rule's name, and the reason for a person.
    fn refuses(&self, value: &Value) -> Option<(&'static str, &'static str)>;

    /// An expression whose text form [`crate::text::decode`] understands.
    fn read_expression(&self, column: &str, native: &str) -> String;

    /// A value as a literal, for a person.
    fn literal(&self, text: &Text, native: &str) -> String;

    /// The most batches at the same time.
    fn max_in_flight(&self) -> u32;
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

    /// Marks a point to return to.
    async fn savepoint(&mut self) -> Result<(), Failure>;

    /// Undoes what happened since the savepoint.
    async fn return_to_savepoint(&mut self) -> Result<(), Failure>;

    /// Makes everything durable. A failure here leaves the effect unknown, unless the database said no.
    async fn commit(self: Box<Self>) -> Result<(), Failure>;
}
