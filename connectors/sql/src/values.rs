//! Attributes of several values: rows added to and removed from a table of their own, in the transaction of the
//! object that they belong to.

use muster_connector::{Batch, Error, Operation};
use muster_model::{Key, Value};

use crate::apply::{Group, Verb, Writing, number_of};
use crate::connector::SqlConnector;
use crate::database::{Session, StageRow};
use crate::error::Failure;
use crate::relations::Child;
use crate::schema::TableType;
use crate::statement::{Name, Stage, joined, sql};
use crate::text::encode_value;

/// The values that an operation changes: the attribute, what is done, and the value.
pub(crate) fn changed(operation: &Operation) -> impl Iterator<Item = (usize, Verb, &Value)> {
    operation.deltas.iter().flat_map(|delta| {
        let removed = delta.remove.iter().map(|value| (delta.attribute, Verb::RemoveValues, value));
        removed.chain(delta.add.iter().map(|value| (delta.attribute, Verb::AddValues, value)))
    })
}

impl Writing<'_> {
    pub(crate) fn child(&self, group: &Group) -> Option<(&Child, Name)> {
        let position = *group.shape.first()?;
        Some((self.table.children.get(self.batch.attributes.get(position)?)?, self.staged(position)))
    }

    /// Adds or removes a group's values. One that is there already, or absent already, is as it should be.
    pub(crate) async fn change_values(&self, session: &mut dyn Session, group: &Group) -> Result<(), Failure> {
        let Some((child, staged)) = self.child(group) else { return Ok(()) };
        let (name, value, stage, number) =
            (&child.table.name, child.table.quoted(&child.value), &self.stage, group.number);
        let keys: Vec<Name> = child.key.iter().map(|key| child.table.quoted(key)).collect();
        let same =
            keys.iter().enumerate().map(|(position, key)| format!("c.{key} = s.{}", self.stage.column(position)));
        let same = joined(same.chain([format!("c.{value} = s.{staged}")]), " AND ") + &child.belonging.and("c");
        let constants = || child.belonging.of_new_rows();
        let columns = joined(keys.iter().chain([&value]).chain(constants().map(|(column, _)| column)), ", ");
        let staged_keys = (0..keys.len()).map(|position| format!("s.{}", self.stage.column(position)));
        let terms = staged_keys.chain([format!("s.{staged}")]).chain(constants().map(|(_, literal)| literal.clone()));
        let terms = joined(terms, ", ");
        let statement = match group.verb {
            Verb::RemoveValues => {
                let owner = keys.iter().enumerate().map(|(position, key)| (key.clone(), stage.column(position)));
                let same: Vec<(Name, Name)> = owner.chain([(value, staged)]).collect();
                self.connector.database.delete_by_stage(name, &same, &child.belonging, stage, number)
            }
            _ => {
                let (owner, own) = (&self.table.table.name, self.same_key());
                sql!(
                    "INSERT INTO {name} ({columns}) SELECT DISTINCT {terms} FROM {stage} AS s \
                     WHERE s.g = {number} AND EXISTS (SELECT 1 FROM {owner} AS t WHERE {own}) \
                     AND NOT EXISTS (SELECT 1 FROM {name} AS c WHERE {same})"
                )
            }
        };
        session.execute(statement).await.map(drop)
    }

    /// Lets the values of renamed rows follow their new keys, where no foreign key does that already.
    pub(crate) async fn move_values(&self, session: &mut dyn Session, group: &Group) -> Result<(), Failure> {
        for child in self.table.children.values() {
            let keys = || child.key.iter().map(|key| child.table.quoted(key));
            let changes: Vec<(Name, String)> = keys().zip(self.new_key().map(|name| format!("s.{name}"))).collect();
            let same = keys().enumerate().map(|(position, key)| format!("t.{key} = s.{}", self.stage.column(position)));
            let rows = joined(same.chain([format!("s.g = {}", group.number)]), " AND ") + &child.belonging.and("t");
            let (database, name) = (&self.connector.database, &child.table.name);
            session.execute(database.update_from_stage(name, &changes, &self.stage, &rows)).await?;
        }
        Ok(())
    }

    /// Removes all values of rows that are to be deleted.
    pub(crate) async fn clear_values(&self, session: &mut dyn Session, group: &Group) -> Result<(), Failure> {
        for child in self.table.children.values() {
            let keys = child.key.iter().enumerate();
            let same: Vec<(Name, Name)> =
                keys.map(|(position, key)| (child.table.quoted(key), self.stage.column(position))).collect();
            let (database, name) = (&self.connector.database, &child.table.name);
            session.execute(database.delete_by_stage(name, &same, &child.belonging, &self.stage, group.number)).await?;
        }
        Ok(())
    }
}

impl SqlConnector {
    /// For each pair, whether the row with that key has the value.
    pub(crate) async fn hold(
        &self,
        table: &TableType,
        attribute: &str,
        pairs: &[(Key, Value)],
    ) -> Result<Vec<bool>, Error> {
        let Some(child) = table.children.get(attribute) else {
            return Err(Error::Bug(format!("{attribute:?} of {} holds no several values", table.object_type.name)));
        };
        let names: Vec<&String> = child.key.iter().chain([&child.value]).collect();
        let columns = names.iter().filter_map(|name| child.table.column(name));
        let types = columns.map(|column| column.stage_type.clone()).collect();
        let stage = Stage::new(self.database.temporary_schema(), types);
        let row = |(number, (key, value)): (usize, &(Key, Value))| StageRow {
            number,
            group: 0,
            values: key.0.iter().chain([value]).map(|value| Some(encode_value(value))).collect(),
        };
        let rows: Vec<StageRow> = pairs.iter().enumerate().map(row).collect();
        if rows.iter().any(|row| row.values.len() != names.len()) {
            return Err(Error::Bug(format!("a key of {} needs {} values", table.object_type.name, child.key.len())));
        }
        let same = names.iter().enumerate();
        let same =
            same.map(|(position, name)| format!("c.{} = s.{}", child.table.quoted(name), stage.column(position)));
        let (name, same) = (&child.table.name, joined(same, " AND ") + &child.belonging.and("c"));
        let read = self.database.read_number("s.n");
        let query = sql!("SELECT {read} FROM {stage} AS s WHERE EXISTS (SELECT 1 FROM {name} AS c WHERE {same})");
        let answer = async {
            let mut session = self.database.begin(false).await?;
            session.stage(&stage, &rows).await?;
            let answer = session.query(query).await?;
            session.commit().await?;
            Ok(answer)
        };
        let answer: Result<_, Failure> = answer.await;
        let mut held = vec![false; pairs.len()];
        for row in answer.map_err(|failure| self.failed(failure))? {
            if let Some(held) = number_of(&row).and_then(|number| held.get_mut(number)) {
                *held = true;
            }
        }
        Ok(held)
    }
}

/// The attribute whose values an operation changes, where it changes no others.
pub(crate) fn only_attribute<'a>(batch: &'a Batch, operation: &Operation) -> Option<&'a String> {
    match operation.deltas.as_slice() {
        [only] => batch.attributes.get(only.attribute),
        _ => None,
    }
}
