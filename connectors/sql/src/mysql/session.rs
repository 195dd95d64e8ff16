//! A transaction, and its stage filled by multi-row inserts.

use async_trait::async_trait;
use sqlx::mysql::{MySqlArguments, MySqlRow};
use sqlx::query::Query;
use sqlx::{Executor as _, MySql as Engine, Row as _, Transaction};
use std::borrow::Cow;

use super::{catalog, texts};
use crate::database::{BoundText, Insert, Session, StageRow, Statements, Text, used_columns};
use crate::direct::{Binding, in_turn};
use crate::error::{Class, Failure};
use crate::own_writing::{Bound, Ran};
use crate::statement::{Sql, Stage, insert_rows, sql};
use crate::text::unhex;

/// `2026-03-01T08:00:00.000000Z` as these servers read it.
pub(super) fn moment(text: &str) -> String {
    text.trim_end_matches('Z').replace('T', " ")
}

/// Where a server does not say how long a message may be.
pub(super) const SMALLEST_PACKET: usize = 1024 * 1024;

/// Rows in one insert into the stage.
const STAGED_TOGETHER: usize = 500;

/// Bytes of values in one insert, as long as the server takes as many.
const BYTES_TOGETHER: usize = 4 * 1024 * 1024;

/// Values in one statement; the protocol counts them in 16 bits.
const MOST_VALUES: usize = 60_000;

pub(super) struct MySqlSession {
    pub(super) transaction: Transaction<'static, Engine>,
    /// The most bytes of one message.
    pub(super) packet: usize,
    /// It knows `RETURNING`.
    pub(super) is_mariadb: bool,
    /// The stage is there.
    pub(super) staged: bool,
}

impl MySqlSession {
    /// `full`: as many rows as in other statements of the batch, so that the statement is worth keeping.
    async fn fill(&mut self, stage: &Stage, columns: &[usize], rows: &[StageRow], full: bool) -> Result<(), Failure> {
        let mut query = sqlx::query(insert_rows(stage, columns, rows.len()).into_safe()).persistent(full);
        for row in rows {
            query = query.bind(i64::try_from(row.number).ok()).bind(i64::try_from(row.group).ok());
            for position in columns {
                let value = row.values.get(*position).and_then(Option::as_deref);
                query = match (value, stage.types.get(*position).map_or("", String::as_str)) {
                    (Some(text), catalog::BINARY) => query.bind(unhex(text.trim_start_matches("\\x")).map(Vec::from)),
                    (Some(text), catalog::MOMENT) => query.bind(Some(moment(text))),
                    (value, _) => query.bind(value.map(str::to_owned)),
                };
            }
        }
        self.transaction.execute(query).await?;
        Ok(())
    }
}

/// A value that somebody's statement returned, which may be of any type; those that are no keys are left out.
fn text(row: &MySqlRow, index: usize) -> Text {
    let whole = || row.try_get::<Option<i64>, _>(index).ok().flatten().map(|number| number.to_string().into());
    let natural = || row.try_get::<Option<u64>, _>(index).ok().flatten().map(|number| number.to_string().into());
    let bytes = || {
        let bytes = row.try_get_unchecked::<Option<Vec<u8>>, _>(index).ok().flatten();
        bytes.map(|bytes| String::from_utf8_lossy(&bytes).into())
    };
    whole().or_else(natural).or_else(bytes)
}

fn bytes(row: &StageRow) -> usize {
    row.values.iter().flatten().map(|text| text.len() + 16).sum()
}

/// A failure while staging: the column named is the stage's own.
fn of_the_stage(mut failure: Failure) -> Failure {
    if let Class::Row { column, staged, .. } = &mut failure.class {
        *staged = column.take().and_then(|name| name.strip_prefix('v')?.parse().ok());
    }
    failure
}

#[async_trait]
impl Session for MySqlSession {
    async fn stage(&mut self, stage: &Stage, rows: &[StageRow]) -> Result<(), Failure> {
        // One that a transaction left that ended without its commit; a rollback does not take it away.
        self.execute(sql!("DROP TEMPORARY TABLE IF EXISTS {stage}")).await?;
        // Not of an engine without undo, however quick: whoever has written to such a table never gives way in a
        // deadlock, and the application would have to.
        self.execute(sql!("CREATE TEMPORARY TABLE {stage} ({})", stage.columns_with_types())).await?;
        self.staged = true;
        let most = self.packet.saturating_sub(64 * 1024);
        if let Some(row) = rows.iter().find(|row| bytes(row) > most) {
            let length = |position: &usize| row.values.get(*position).and_then(Option::as_deref).map_or(0, str::len);
            let staged = (0..row.values.len()).max_by_key(length);
            let message = format!("the server takes {} bytes in one message (max_allowed_packet)", self.packet);
            return Err(Failure::new(Class::Row { rule: "too_long", column: None, constraint: None, staged }, message));
        }
        let columns = used_columns(rows);
        let together = STAGED_TOGETHER.min(MOST_VALUES / (columns.len() + 2)).max(1);
        let mut start = 0;
        while start < rows.len() {
            let mut sum = 0;
            let fits = |row: &&StageRow| {
                sum += bytes(row);
                sum <= BYTES_TOGETHER.min(most)
            };
            let rest = rows.get(start..).unwrap_or_default();
            let count = rest.iter().take(together).take_while(fits).count().max(1);
            let some = rest.get(..count).unwrap_or_default();
            self.fill(stage, &columns, some, count == together).await.map_err(of_the_stage)?;
            start += count;
        }
        Ok(())
    }

    async fn execute(&mut self, sql: Sql) -> Result<u64, Failure> {
        Ok(self.transaction.execute(sqlx::raw_sql(sql.into_safe())).await?.rows_affected())
    }

    async fn query(&mut self, sql: Sql) -> Result<Vec<Vec<Text>>, Failure> {
        let rows = self.transaction.fetch_all(sqlx::raw_sql(sql.into_safe())).await?;
        rows.iter().map(texts).collect()
    }

    async fn run(&mut self, sql: Sql, bound: &[Bound], returns: bool) -> Result<Ran, Failure> {
        let mut query = sqlx::query(sql.into_safe());
        for (value, kind) in bound {
            query = match (value, kind.as_str()) {
                (Some(text), catalog::BINARY) => query.bind(unhex(text.trim_start_matches("\\x")).map(Vec::from)),
                (Some(text), catalog::MOMENT) => query.bind(Some(moment(text))),
                (value, _) => query.bind(value.as_deref().map(str::to_owned)),
            };
        }
        if !returns {
            let changed = self.transaction.execute(query).await?.rows_affected();
            return Ok(Ran { changed: Some(changed), rows: Vec::new() });
        }
        let rows = self.transaction.fetch_all(query).await?;
        let texts = |row: &MySqlRow| (0..row.len()).map(|index| text(row, index)).collect();
        Ok(Ran { changed: None, rows: rows.iter().map(texts).collect() })
    }

    async fn run_bound(&mut self, statements: &mut Statements<'_>, counts: bool) -> Result<u64, Failure> {
        if self.packet < SMALLEST_PACKET {
            // The stage is filled by messages of any size.
            let class = Class::Row { rule: "too_long", column: None, constraint: None, staged: None };
            return Err(Failure::new(class, "the server takes short messages only"));
        }
        in_turn(self, statements, counts).await
    }

    async fn examine(&mut self, sql: Sql, _bound: &[String]) -> Result<(), Failure> {
        use sqlx::SqlSafeStr as _;
        Ok((*self.transaction).prepare(sql.into_safe().into_sql_str()).await.map(drop)?)
    }

    async fn insert_one(&mut self, insert: Insert<'_>) -> Result<Vec<Vec<Text>>, Failure> {
        let (table, read) = (insert.table, insert.read);
        if self.is_mariadb {
            return self.query(sql!("{} RETURNING {read}", insert.statement().text())).await;
        }
        let Some(counted) = &insert.counted else {
            let class = Class::Row { rule: "refused", column: None, constraint: None, staged: None };
            let message =
                "MySQL does not tell the key of a new row unless AUTO_INCREMENT made it; write a unique column";
            return Err(Failure::new(class, message));
        };
        self.execute(insert.statement()).await?;
        // The number of the one row just inserted: with several rows in a statement it would be the first one's only.
        self.query(sql!("SELECT {read} FROM {table} WHERE {counted} = LAST_INSERT_ID()")).await
    }

    async fn savepoint(&mut self) -> Result<(), Failure> {
        self.execute(sql!("SAVEPOINT muster")).await.map(drop)
    }

    async fn return_to_savepoint(&mut self) -> Result<(), Failure> {
        self.execute(sql!("ROLLBACK TO SAVEPOINT muster")).await.map(drop)
    }

    async fn rollback(mut self: Box<Self>) {
        // A rollback leaves temporary tables. Where it cannot be said, the connection is lost, and all of it with it.
        if self.staged && self.execute(sql!("DROP TEMPORARY TABLE IF EXISTS {}", Stage::NAME)).await.is_err() {
            return;
        }
        drop(self.transaction.rollback().await);
    }

    async fn commit(mut self: Box<Self>) -> Result<(), Failure> {
        if self.staged {
            self.execute(sql!("DROP TEMPORARY TABLE IF EXISTS {}", Stage::NAME)).await?;
        }
        Ok(self.transaction.commit().await?)
    }
}

#[async_trait]
impl Binding for MySqlSession {
    type Ready = Query<'static, Engine, MySqlArguments>;

    fn ready(sql: Sql, values: Vec<BoundText<'_>>) -> Self::Ready {
        values.into_iter().fold(sqlx::query(sql.into_safe()), |query, (value, kind)| match (value, kind) {
            (Some(text), catalog::BINARY) => query.bind(unhex(text.trim_start_matches("\\x")).map(Vec::from)),
            (Some(text), catalog::MOMENT) => query.bind(Some(moment(&text))),
            (value, _) => query.bind(value.map(Cow::into_owned)),
        })
    }

    async fn run_ready(&mut self, ready: Self::Ready, counts: bool) -> Result<u64, Failure> {
        if !counts {
            return Ok(self.transaction.execute(ready).await?.rows_affected());
        }
        let row = self.transaction.fetch_one(ready).await?;
        Ok(u64::try_from(row.try_get::<i64, _>(0)?).unwrap_or_default())
    }
}
