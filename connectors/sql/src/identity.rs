//! Rows are known by their keys and, where the database assigns those, by one more value: a key may be given again
//! to somebody else's row.

use std::collections::BTreeSet;

use muster_connector::Outcome;

use crate::apply::{Group, Writing, number_of};
use crate::database::Session;
use crate::error::Failure;
use crate::statement::{Name, joined, sql};

impl Writing<'_> {
    /// The staged column of the values by which rows are known in an attribute.
    pub(crate) fn expected(&self, attribute: usize) -> Option<Name> {
        self.expected_position(attribute).map(|position| self.stage.column(position))
    }

    pub(crate) fn expected_position(&self, attribute: usize) -> Option<usize> {
        let position = self.known_by.iter().position(|known| *known == attribute)?;
        Some(2 * self.key_width() + self.batch.attributes.len() + position)
    }

    /// `t.attribute = s.expected` for a group's rows.
    fn same_value(&self, group: &Group) -> Option<String> {
        let attribute = group.known_by?;
        Some(format!("t.{} = s.{}", self.attribute(attribute), self.expected(attribute)?))
    }

    /// What makes a row of the table `t` the one that a row of the stage `s` means.
    pub(crate) fn same_row(&self, group: &Group) -> String {
        joined(std::iter::once(self.same_key()).chain(self.same_value(group)), " AND ")
    }

    /// The members whose rows are the ones meant, or not there at all. The others are answered and taken off the stage.
    pub(crate) async fn known(
        &mut self,
        session: &mut dyn Session,
        group: &Group,
        mut members: BTreeSet<usize>,
    ) -> Result<BTreeSet<usize>, Failure> {
        let Some(same) = self.same_value(group) else { return Ok(members) };
        let (table, stage, number, key) = (&self.table.table.name, &self.stage, group.number, self.same_key());
        let read = self.connector.database.read_number("s.n");
        let rows = session
            .query(sql!(
                "SELECT {read} FROM {stage} AS s JOIN {table} AS t ON {key} WHERE s.g = {number} \
                 AND CASE WHEN {same} THEN 1 ELSE 0 END = 0"
            ))
            .await?;
        let others: Vec<usize> = rows.iter().filter_map(|row| number_of(row)).collect();
        self.unstage(session, &others).await?;
        for position in others {
            members.remove(&position);
            self.outcomes.insert(position, Outcome::OtherObject);
        }
        Ok(members)
    }
}
