//! A transaction, and its stage in a temporary table.

use async_trait::async_trait;

use super::loading::{
    LOADED, Loaded, bindable, conversion, create_loaded, fill, loaded, lost_letter, lost_letters, needs_no_conversion,
    refused, variable_type,
};
use super::pool::{Answers, Lease};
use crate::database::{Insert, Session, StageRow, Text};
use crate::error::{Class, Failure};
use crate::own_writing::{Bound, Ran};
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
    async fn say(&mut self, sql: &str) -> Result<Answers, Failure> {
        self.say_with(sql, &[]).await
    }

    async fn say_with(&mut self, sql: &str, values: &[Loaded<'_>]) -> Result<Answers, Failure> {
        let connection = &mut self.lease.connection;
        let said = if values.is_empty() { connection.run(sql).await } else { connection.run_with(sql, values).await };
        if let Err(failure) = &said {
            self.failed = Some(failure.clone());
        }
        said
    }
}

/// Why a text is refused.
const LOST: &str = "the column's code page lacks a letter; only an nvarchar column holds all";

/// A statement, and the number of rows that it changed. Triggers count rows as well, so the server is asked.
fn counting(statement: &str) -> String {
    format!("{statement}\n;SELECT CONVERT(nvarchar(20), ROWCOUNT_BIG())")
}

/// The number in the last of the answers.
fn counted(answers: &mut Answers) -> Result<u64, Failure> {
    let count = answers.pop().and_then(|rows| rows.into_iter().next()?.into_iter().next()?);
    count.and_then(|text| text.parse().ok()).ok_or_else(|| Failure::new(Class::Bug, "no number of changed rows"))
}

/// The variables that a statement's values stand in, for the arguments of a procedure may be nothing else.
fn declared(bound: &[Bound]) -> Result<(String, Vec<Loaded<'_>>), Failure> {
    let mut values = Vec::new();
    let mut variables = Vec::new();
    for (number, (text, kind)) in bound.iter().enumerate() {
        let variable = format!("@muster_{} {}", number + 1, variable_type(kind));
        variables.push(match text.as_deref() {
            Some(text) => {
                values.push(bindable(text, kind)?);
                format!("{variable} = {}", conversion(&format!("@P{}", values.len()), kind))
            }
            None => variable,
        });
    }
    let variables = joined(variables, ", ");
    Ok((if variables.is_empty() { variables } else { format!("DECLARE {variables}\n;") }, values))
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
        self.say(sql!("CREATE TABLE {stage} ({})", stage.columns_with_types()).text()).await?;
        self.staged = true;
        if rows.is_empty() {
            return Ok(());
        }
        if needs_no_conversion(stage) {
            return self.lease.connection.load(&stage.to_string(), &rows).await;
        }
        self.say(create_loaded(stage).text()).await?;
        self.lease.connection.load(LOADED, &rows).await?;
        for position in 0..stage.types.len() {
            let Some(query) = lost_letters(stage, &rows, position) else { continue };
            if !self.query(query).await?.is_empty() {
                return Err(refused("refused", LOST, position));
            }
        }
        self.say(fill(stage).text()).await?;
        self.say(&format!("DROP TABLE {LOADED}")).await.map(drop)
    }

    async fn execute(&mut self, sql: Sql) -> Result<u64, Failure> {
        let mut answers = self.say(&counting(sql.text())).await?;
        counted(&mut answers)
    }

    async fn query(&mut self, sql: Sql) -> Result<Vec<Vec<Text>>, Failure> {
        Ok(self.say(sql.text()).await?.into_iter().next_back().unwrap_or_default())
    }

    async fn run(&mut self, sql: Sql, bound: &[Bound], returns: bool) -> Result<Ran, Failure> {
        for (text, kind) in bound {
            let Some((query, value)) = text.as_deref().and_then(|text| lost_letter(text, kind)) else { continue };
            if self.say_with(&query, &[value]).await?.pop().is_some_and(|rows| !rows.is_empty()) {
                let class = Class::Row { rule: "refused", column: None, constraint: None, staged: None };
                return Err(Failure::new(class, LOST));
            }
        }
        let (declare, values) = declared(bound)?;
        let statement = format!("{declare}{}", sql.text());
        if returns {
            let rows = self.say_with(&statement, &values).await?.pop().unwrap_or_default();
            return Ok(Ran { changed: None, rows });
        }
        let mut answers = self.say_with(&counting(&statement), &values).await?;
        Ok(Ran { changed: Some(counted(&mut answers)?), rows: Vec::new() })
    }

    async fn examine(&mut self, sql: Sql, bound: &[String]) -> Result<(), Failure> {
        let variables = bound.iter().enumerate();
        let variables = variables.map(|(number, kind)| format!("@muster_{} {}", number + 1, variable_type(kind)));
        let values = [sql.text().into(), joined(variables, ", ").into()].map(|text| Loaded::Text(Some(text)));
        let described = self.say_with("EXEC sp_describe_first_result_set @tsql = @P1, @params = @P2", &values).await;
        match described {
            // It says no more than that the columns of the answer cannot be told, as of a procedure with tables of its own.
            Err(failure) if failure.blames_a_row() => Ok(()),
            described => described.map(drop),
        }
    }

    async fn insert_one(&mut self, insert: Insert<'_>) -> Result<Vec<Vec<Text>>, Failure> {
        Ok(self.say(&inserting(&insert)).await?.into_iter().next_back().unwrap_or_default())
    }

    async fn savepoint(&mut self) -> Result<(), Failure> {
        self.say("SAVE TRANSACTION muster").await.map(drop)
    }

    async fn return_to_savepoint(&mut self) -> Result<(), Failure> {
        let before = self.failed.take();
        // An error inside a trigger ends the whole transaction: then that is what there is to say.
        self.say("ROLLBACK TRANSACTION muster").await.map(drop).map_err(|failure| before.unwrap_or(failure))
    }

    /// Another one of the same name takes its place.
    async fn release_savepoint(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    async fn rollback(mut self: Box<Self>) {
        // Where it cannot be said, the end of the connection says it.
        drop(self.say("IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION").await);
    }

    async fn commit(mut self: Box<Self>) -> Result<(), Failure> {
        if self.staged {
            self.say(&format!("DROP TABLE #{}", Stage::NAME)).await?;
        }
        self.say("COMMIT TRANSACTION").await?;
        self.lease.give_back();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statement::{Name, Quote, TableName};

    #[test]
    fn values_stand_in_variables() {
        let bound = |text: Option<&str>, kind: &str| -> Bound { (text.map(Into::into), kind.to_owned()) };
        let all = [
            bound(Some("ada"), "varchar(20) COLLATE Latin1_General_CI_AS"),
            bound(None, "date"),
            bound(Some("2024-02-29"), "date"),
            bound(Some("\\x00ff"), "varbinary(9)"),
        ];
        let (text, values) = declared(&all).unwrap();
        assert_eq!(
            text,
            "DECLARE @muster_1 varchar(8000) = @P1, @muster_2 date, @muster_3 date = CONVERT(date, @P2, 23), \
             @muster_4 varbinary(9) = @P3\n;"
        );
        assert_eq!(values.len(), 3);
        assert!(declared(&[bound(Some("soon"), "date")]).is_err_and(|failure| failure.blames_a_row()));
        assert_eq!(declared(&[]).unwrap().0, "");
    }

    #[test]
    fn statements_tell_what_they_did() {
        assert_eq!(counting("DELETE FROM [t]"), "DELETE FROM [t]\n;SELECT CONVERT(nvarchar(20), ROWCOUNT_BIG())");
        let name = |name| Name::new(name, Quote::Bracket);
        let table = TableName::new(Some(name("dbo")), name("visit"));
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
