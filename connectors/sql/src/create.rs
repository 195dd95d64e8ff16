//! Creates: a row is inserted and none is ever overwritten. Rows that a unique key refuses are looked up as one set
//! and answered one by one, so that they do not keep their neighbours out.

use std::collections::{BTreeMap, BTreeSet};

use muster_connector::{Effect, Outcome};
use muster_model::{AssignedBy, Key, Value};

use crate::apply::{Group, Verb, Writing, number_of, rejected};
use crate::database::{Insert, Session};
use crate::error::{Class, Failure};
use crate::own_writing::NO_EFFECT;
use crate::statement::{Name, joined, sql};

/// How often refused rows are looked for; more than once only when somebody else inserts at the same time.
const ROUNDS: u32 = 3;

impl Writing<'_> {
    pub(crate) async fn create(&mut self, session: &mut dyn Session, group: &Group) -> Result<(), Failure> {
        let mut members = group.members.clone();
        if self.columns_and_values(group).0.is_empty() {
            // No engine but one has a statement for several rows of nothing but defaults.
            let message = "a new row needs at least one value: map an attribute that is never unknown";
            let refused = members.iter().map(|position| (*position, rejected(None, "required", message)));
            self.outcomes.extend(refused);
            return Ok(());
        }
        if !self.table.table.is_unique(&self.table.object_type.anchor.attributes) {
            // Nothing in the database would refuse a second row with the same key.
            let conflicts = self.conflicts(session, group).await?;
            self.answer(session, &mut members, conflicts).await?;
        }
        let mut identity = self.identifying(group);
        let mut rounds = 0;
        loop {
            session.savepoint().await?;
            match self.insert(session, group, &members, identity.as_deref()).await {
                Ok(true) => return Ok(()),
                Ok(false) => {
                    // A trigger changed the values by which the new rows were to be found again.
                    session.return_to_savepoint().await?;
                    identity = None;
                }
                Err(failure) if matches!(failure.class, Class::Unique { .. }) && rounds < ROUNDS => {
                    rounds += 1;
                    session.return_to_savepoint().await?;
                    let conflicts = self.conflicts(session, group).await?;
                    if conflicts.is_empty() {
                        return Err(failure);
                    }
                    self.answer(session, &mut members, conflicts).await?;
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    /// Takes refused rows off the stage.
    async fn answer(
        &mut self,
        session: &mut dyn Session,
        members: &mut BTreeSet<usize>,
        conflicts: BTreeMap<usize, Outcome>,
    ) -> Result<(), Failure> {
        let positions: Vec<usize> = conflicts.keys().copied().collect();
        self.unstage(session, &positions).await?;
        members.retain(|position| !conflicts.contains_key(position));
        self.outcomes.extend(conflicts);
        Ok(())
    }

    /// A unique key among the written attributes, by which new rows are recognised when the database assigns the
    /// anchor: the anchor itself, when it is given all the same, else the first other one.
    fn identifying(&self, group: &Group) -> Option<Vec<usize>> {
        let position = |name: &String| {
            group.shape.iter().copied().find(|position| self.batch.attributes.get(*position) == Some(name))
        };
        let anchor = &self.table.object_type.anchor.attributes;
        std::iter::once(anchor)
            .chain(&self.table.table.unique)
            .find_map(|columns| columns.iter().map(position).collect::<Option<Vec<_>>>())
    }

    /// The key of a new row that its creator chose.
    pub(crate) fn given_key(&self, position: usize) -> Option<Key> {
        let operation = self.batch.operations.get(position)?;
        if operation.key.is_some() {
            return operation.key.clone();
        }
        let value = |name: &String| -> Option<Value> {
            let attribute = self.batch.attributes.iter().position(|attribute| attribute == name)?;
            operation.row.slot(attribute).value().cloned()
        };
        self.table.object_type.anchor.attributes.iter().map(value).collect::<Option<Vec<_>>>().map(Key)
    }

    /// Whether a new row's values in the identifying attributes are all there.
    fn is_identified(&self, position: usize, identity: &[usize]) -> bool {
        let row = self.batch.operations.get(position).map(|operation| &operation.row);
        row.is_some_and(|row| identity.iter().all(|attribute| row.slot(*attribute).value().is_some()))
    }

    /// Inserts the members; false when a new row was not found again.
    async fn insert(
        &mut self,
        session: &mut dyn Session,
        group: &Group,
        members: &BTreeSet<usize>,
        identity: Option<&[usize]>,
    ) -> Result<bool, Failure> {
        if members.is_empty() {
            return Ok(true);
        }
        let assigned = self.table.object_type.anchor.assigned_by == AssignedBy::System;
        let (columns, values) = self.columns_and_values(group);
        let (table, stage, number) = (&self.table.table.name, &self.stage, group.number);
        // Without a complete unique key a row can only be recognised while it is inserted, alone.
        let is_alone = |position: &usize| {
            if assigned {
                identity.is_none_or(|identity| !self.is_identified(*position, identity))
            } else {
                self.given_key(*position).is_none()
            }
        };
        let (alone, together): (Vec<usize>, Vec<usize>) = members.iter().copied().partition(is_alone);
        if !together.is_empty() {
            let but =
                if alone.is_empty() { String::new() } else { format!(" AND s.n NOT IN ({})", joined(&alone, ", ")) };
            let inserted = session
                .execute(sql!(
                    "INSERT INTO {table} ({columns}) SELECT {values} FROM {stage} AS s \
                     WHERE s.g = {number}{but} ORDER BY s.n"
                ))
                .await?;
            let lost = match inserted < together.len() as u64 && !assigned {
                true => self.not_inserted(session, group).await?,
                false => BTreeSet::new(),
            };
            let mut keys = match identity {
                Some(identity) if assigned => self.assigned_keys(session, group, identity).await?,
                _ => BTreeMap::new(),
            };
            for position in together {
                if lost.contains(&position) {
                    self.outcomes.insert(position, not_kept());
                    continue;
                }
                let key = if assigned { keys.remove(&position) } else { self.given_key(position) };
                if key.is_none() {
                    return Ok(false);
                }
                self.outcomes.insert(position, Outcome::Applied(Effect { key, ..Effect::default() }));
            }
        }
        let read = self.read_key("");
        for position in alone {
            let insert = Insert {
                table,
                columns: &columns,
                select: sql!("SELECT {values} FROM {stage} AS s WHERE s.n = {position}"),
                key: self.anchor().zip(stage.types.iter().cloned()).collect(),
                read: &read,
                counted: self.table.table.counted().map(|column| self.table.table.quoted(&column.name)),
            };
            let rows = session.insert_one(insert).await?;
            let outcome = match rows.into_iter().next() {
                Some(row) => Outcome::Applied(Effect { key: Some(self.decode_key(row)?), ..Effect::default() }),
                None => not_kept(),
            };
            self.outcomes.insert(position, outcome);
        }
        Ok(true)
    }

    /// The members whose rows are not there, though nothing refused them.
    async fn not_inserted(&self, session: &mut dyn Session, group: &Group) -> Result<BTreeSet<usize>, Failure> {
        let anchor = &self.table.object_type.anchor.attributes;
        let key = anchor.iter().map(|name| Some((self.table.table.quoted(name), self.written(group, name)?)));
        let Some(key) = key.collect::<Option<Vec<_>>>() else { return Ok(BTreeSet::new()) };
        let same = joined(key.iter().map(|(name, staged)| format!("t.{name} = s.{staged}")), " AND ");
        self.without_row(session, group, &same).await
    }

    /// What is written: the known attributes, and the key where it is given beside them.
    fn columns_and_values(&self, group: &Group) -> (String, String) {
        let columns = self.new_columns(group);
        let others = || self.table.belonging.of_new_rows();
        let values = columns.iter().map(|(_, position)| format!("s.{}", self.stage.column(*position)));
        let terms = values.chain(others().map(|(_, term)| term.clone()));
        let names = columns.iter().map(|(name, _)| name).chain(others().map(|(name, _)| name));
        (joined(names, ", "), joined(terms, ", "))
    }

    /// The columns of a new row that get values of the source, and where those are staged.
    pub(crate) fn new_columns(&self, group: &Group) -> Vec<(Name, usize)> {
        let staged = |position: &usize| (self.attribute(*position), self.key_width() + position);
        let mut columns: Vec<(Name, usize)> = group.shape.iter().map(staged).collect();
        let gives_keys = self.gives_keys(group);
        for (position, name) in self.anchor().enumerate().filter(|_| gives_keys) {
            if !columns.iter().any(|(known, _)| *known == name) {
                columns.push((name, position));
            }
        }
        columns
    }

    async fn assigned_keys(
        &self,
        session: &mut dyn Session,
        group: &Group,
        identity: &[usize],
    ) -> Result<BTreeMap<usize, Key>, Failure> {
        let same = joined(
            identity.iter().map(|position| format!("t.{} = s.{}", self.attribute(*position), self.staged(*position))),
            " AND ",
        ) + &self.table.belonging.and("t");
        self.keys_where(session, group, &same).await.map(|found| found.into_iter().collect())
    }

    async fn keys_where(
        &self,
        session: &mut dyn Session,
        group: &Group,
        same: &str,
    ) -> Result<Vec<(usize, Key)>, Failure> {
        let (table, stage, number) = (&self.table.table.name, &self.stage, group.number);
        let (numbered, read) = (self.connector.database.read_number("s.n"), self.read_key("t."));
        let rows = session
            .query(sql!("SELECT {numbered}, {read} FROM {stage} AS s JOIN {table} AS t ON {same} WHERE s.g = {number}"))
            .await?;
        let mut found = Vec::with_capacity(rows.len());
        for mut row in rows {
            let values = row.split_off(1);
            if let Some(position) = number_of(&row) {
                found.push((position, self.decode_key(values)?));
            }
        }
        Ok(found)
    }

    /// The members that a unique key refuses, and what each is answered.
    pub(crate) async fn conflicts(
        &self,
        session: &mut dyn Session,
        group: &Group,
    ) -> Result<BTreeMap<usize, Outcome>, Failure> {
        let mut conflicts = BTreeMap::new();
        let table = &self.table.table;
        let anchor = &self.table.object_type.anchor.attributes;
        // The anchor first: that the object itself is there says more than that one of its values is taken.
        let own = std::iter::once(anchor).chain(std::iter::once(&table.primary_key)).chain(&table.unique);
        let own = own.map(|columns| (columns, true));
        for (columns, is_own) in own.chain(self.table.keys_of_all.iter().map(|columns| (columns, false))) {
            let written = columns.iter().map(|name| Some((table.quoted(name), self.written(group, name)?)));
            let Some(written) = written.collect::<Option<Vec<_>>>().filter(|written| !written.is_empty()) else {
                continue;
            };
            let same = joined(written.iter().map(|(name, staged)| format!("t.{name} = s.{staged}")), " AND ");
            let same = if is_own { same + &self.table.belonging.and("t") } else { same };
            let others = match group.verb {
                Verb::Create => same,
                _ => format!("{same} AND NOT ({})", self.same_key()),
            };
            for (position, key) in self.keys_where(session, group, &others).await? {
                let outcome = if columns == anchor && is_own && group.verb == Verb::Create {
                    Outcome::Exists { key }
                } else if !is_own {
                    taken(columns, "a row of the table that does not belong to the object type has the same value")
                } else {
                    taken(columns, &format!("the object with key {key} has the same value"))
                };
                conflicts.entry(position).or_insert(outcome);
            }
            let staged = joined(written.iter().map(|(_, staged)| staged), ", ");
            let filled = joined(written.iter().map(|(_, staged)| format!("{staged} IS NOT NULL")), " AND ");
            let (stage, number) = (&self.stage, group.number);
            let read = self.connector.database.read_number("d.n");
            let twins = session
                .query(sql!(
                    "SELECT {read} FROM (SELECT n, row_number() OVER (PARTITION BY {staged} ORDER BY n) AS r \
                     FROM {stage} WHERE g = {number} AND {filled}) AS d WHERE r > 1"
                ))
                .await?;
            for position in twins.iter().filter_map(|row| number_of(row)) {
                conflicts.entry(position).or_insert_with(|| taken(columns, "another new object has the same value"));
            }
        }
        Ok(conflicts)
    }
}

/// A trigger may leave a row out without a word.
fn not_kept() -> Outcome {
    let message = "the database took the new row and did not keep it: look at the triggers and rules of the table";
    rejected(None, NO_EFFECT, message)
}

fn taken(columns: &[String], why: &str) -> Outcome {
    rejected(columns.first(), "unique", &format!("{} must be unique, and {why}", columns.join(", ")))
}
