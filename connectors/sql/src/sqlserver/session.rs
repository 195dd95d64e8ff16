//! A transaction, and its stage in a temporary table.

use async_trait::async_trait;

use super::loading::{LOADED, create_loaded, fill, loaded, lost_letters, refused};
use super::pool::{Answers, Lease};
use crate::database::{Insert, Session, StageRow, Text};
use crate::error::{Class, Failure};
use crate::statement::{Sql, Stage, joined, sql};

/// A connection with a transaction. It is used again only after its commit: an error, a time-out or a call that was
/// given up may leave anything behind.
pub(super) struct SqlServerSession {
    pub(super) lease: Lease,
    pub(super) staged: bool,
    /// What failed last: where the server undid the whole transaction, that is the reason.
    pub(super) failed: Option<Failure>,
}

impl SqlServerSession {
    async fn run(&mut self, sql: &str) -> Result<Answers, Failure> {
        let ran = self.lease.connection.run(sql).await;
        if let Err(failure) = &ran {
            self.failed = Some(failure.clone());
        }
        ran
    }
}

/// A statement, and the number of rows that it changed. Triggers count rows as well, so the server is asked.
fn counting(statement: &Sql) -> String {
    format!("{}\nSELECT CONVERT(nvarchar(20), ROWCOUNT_BIG())", statement.text())
}

/// An insert of one row that tells its key, even where a trigger or a default made it. What a table with triggers
/// inserted can only be had by way of another table.
fn inserting(insert: &Insert<'_>) -> String {
    let Insert { table, columns, select, key, read, .. } = insert;
    let declared = joined(key.iter().map(|(name, kind)| format!("{name} {kind}")), ", ");
    let inserted = joined(key.iter().map(|(name, _)| format!("inserted.{name}")), ", ");
    format!(
        "DECLARE @muster_keys TABLE ({declared})\nINSERT INTO {table} ({columns}) OUTPUT {inserted} INTO @muster_keys \
         {}\nSELECT {read} FROM @muster_keys",
        select.text()
    )
}

#[async_trait]
impl Session for SqlServerSession {
    async fn stage(&mut self, stage: &Stage, rows: &[StageRow]) -> Result<(), Failure> {
        let rows = loaded(stage, rows)?;
        self.run(sql!("CREATE TABLE {stage} ({})", stage.columns_with_types()).text()).await?;
        self.staged = true;
        if rows.is_empty() {
            return Ok(());
        }
        self.run(create_loaded(stage).text()).await?;
        self.lease.connection.load(LOADED, &rows).await?;
        for position in 0..stage.types.len() {
            let Some(query) = lost_letters(stage, &rows, position) else { continue };
            if !self.query(query).await?.is_empty() {
                let why = "the column's code page lacks a letter; only an nvarchar column holds all";
                return Err(refused("refused", why, position));
            }
        }
        self.run(fill(stage).text()).await?;
        self.run(&format!("DROP TABLE {LOADED}")).await.map(drop)
    }

    async fn execute(&mut self, sql: Sql) -> Result<u64, Failure> {
        let answers = self.run(&counting(&sql)).await?;
        let count = answers.into_iter().next_back().and_then(|rows| rows.into_iter().next()?.into_iter().next()?);
        count.and_then(|text| text.parse().ok()).ok_or_else(|| Failure::new(Class::Bug, "no number of changed rows"))
    }

    async fn query(&mut self, sql: Sql) -> Result<Vec<Vec<Text>>, Failure> {
        Ok(self.run(sql.text()).await?.into_iter().next_back().unwrap_or_default())
    }

    async fn insert_one(&mut self, insert: Insert<'_>) -> Result<Vec<Vec<Text>>, Failure> {
        Ok(self.run(&inserting(&insert)).await?.into_iter().next_back().unwrap_or_default())
    }

    async fn savepoint(&mut self) -> Result<(), Failure> {
        self.run("SAVE TRANSACTION muster").await.map(drop)
    }

    async fn return_to_savepoint(&mut self) -> Result<(), Failure> {
        let before = self.failed.take();
        // An error inside a trigger ends the whole transaction: then that is what there is to say.
        self.run("ROLLBACK TRANSACTION muster").await.map(drop).map_err(|failure| before.unwrap_or(failure))
    }

    async fn rollback(mut self: Box<Self>) {
        // Where it cannot be said, the end of the connection says it.
        drop(self.run("IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION").await);
    }

    async fn commit(mut self: Box<Self>) -> Result<(), Failure> {
        if self.staged {
            self.run(&format!("DROP TABLE #{}", Stage::NAME)).await?;
        }
        self.run("COMMIT TRANSACTION").await?;
        self.lease.give_back();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statement::{Name, Quote, TableName};

    #[test]
    fn statements_tell_what_they_did() {
        assert_eq!(counting(&sql!("DELETE FROM [t]")), "DELETE FROM [t]\nSELECT CONVERT(nvarchar(20), ROWCOUNT_BIG())");
        let name = |name| Name::new(name, Quote::Bracket);
        let table = TableName { schema: Some(name("dbo")), table: name("visit") };
        let insert = Insert {
            table: &table,
            columns: "[who]",
            select: sql!("SELECT s.v1 FROM #muster_stage AS s WHERE s.n = 3"),
            key: vec![(name("id"), "bigint".to_owned()), (name("a]b"), "nvarchar(3) COLLATE x".to_owned())],
            read: "CONVERT(nvarchar(20), [id]), CONVERT(nvarchar(max), [a]]b])",
            counted: None,
        };
        assert_eq!(
            inserting(&insert),
            "DECLARE @muster_keys TABLE ([id] bigint, [a]]b] nvarchar(3) COLLATE x)\nINSERT INTO [dbo].[visit] ([who]) \
             OUTPUT inserted.[id], inserted.[a]]b] INTO @muster_keys SELECT s.v1 FROM #muster_stage AS s WHERE s.n = 3\n\
             SELECT CONVERT(nvarchar(20), [id]), CONVERT(nvarchar(max), [a]]b]) FROM @muster_keys"
        );
    }
}
