//! Rows after a key.

use crate::connector::SqlConnector;
use crate::database::{After, Session, StageRow, Text};
use crate::error::Failure;
use crate::own_writing::Bound;
use crate::statement::{Name, Sql, Stage};

/// What rows of the table `t` must meet to come after a key.
pub(crate) struct Later {
    pub(crate) condition: String,
    pub(crate) bound: Vec<Bound>,
}

impl Later {
    /// Runs a query with that condition.
    pub(crate) async fn query(&self, session: &mut dyn Session, query: Sql) -> Result<Vec<Vec<Text>>, Failure> {
        match self.bound.is_empty() {
            true => session.query(query).await,
            false => Ok(session.run(query, &self.bound, true).await?.rows),
        }
    }

    /// Rows that meet any condition.
    pub(crate) fn anything(condition: String) -> Self {
        Self { condition, bound: Vec::new() }
    }

    /// The same rows, as far as they also meet another condition.
    pub(crate) fn and(self, condition: &str) -> Self {
        Self { condition: format!("({}) AND {condition}", self.condition), ..self }
    }
}

impl SqlConnector {
    /// The rows whose columns come after these texts, which are values of these types.
    pub(crate) async fn later(
        &self,
        session: &mut dyn Session,
        names: &[Name],
        types: Vec<String>,
        after: Vec<Text>,
    ) -> Result<Later, Failure> {
        let stage = Stage::new(self.database.temporary_schema(), types);
        match self.database.after(names, &stage) {
            After::Bound(condition) => Ok(Later { condition, bound: after.into_iter().zip(stage.types).collect() }),
            After::Remembered(first, condition) => {
                session.stage(&stage, &[StageRow { number: 0, group: 0, values: after }]).await?;
                session.execute(first).await?;
                Ok(Later { condition, bound: Vec::new() })
            }
        }
    }
}
