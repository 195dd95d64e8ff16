//! Writing: a batch is staged once and takes effect in one transaction, a statement for each kind and shape.
//!
//! A create inserts and never overwrites: rows that a unique key refuses are looked up as one set and answered one
//! by one. Any other refusal of a row undoes the whole batch, and the host splits it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use muster_connector::{Batch, Effect, Error, Kind, Operation, OperationId, Outcome};
use muster_model::{AssignedBy, Key, Slot};

use crate::connector::SqlConnector;
use crate::database::{Session, StageRow, Text};
use crate::error::{Class, Failure};
use crate::find::key;
use crate::schema::TableType;
use crate::statement::{Name, Stage, joined, sql};
use crate::text::{decode, encode, encode_value};

/// How often a transaction that lost against another one is tried again before the host pauses.
const ATTEMPTS: u32 = 5;

/// What is done with a group's rows, in the order in which groups take effect: what frees a value comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verb {
    Update,
    Rename,
    Create,
    Delete,
}

/// Operations that one statement carries out.
#[derive(Debug)]
struct Group {
    number: usize,
    verb: Verb,
    /// Positions of the attributes that are written.
    shape: Vec<usize>,
    /// Positions of the operations.
    members: BTreeSet<usize>,
}

struct Writing<'a> {
    connector: &'a SqlConnector,
    table: &'a TableType,
    batch: &'a Batch,
    stage: Stage,
    rows: Vec<StageRow>,
    groups: Vec<Group>,
    outcomes: BTreeMap<usize, Outcome>,
}

impl SqlConnector {
    pub(crate) async fn write(&self, batch: &Batch) -> Result<Vec<(OperationId, Outcome)>, Error> {
        let table = self.table_type(&batch.object_type).await?;
        let mut attempt = 0;
        loop {
            let mut writing = Writing::new(self, &table, batch)?;
            match writing.run().await {
                Ok(()) => {
                    let answered = writing.outcomes.into_iter();
                    return Ok(answered
                        .filter_map(|(position, outcome)| Some((batch.operations.get(position)?.id, outcome)))
                        .collect());
                }
                Err(Stop { failure, .. }) if failure.class == Class::Busy && attempt < ATTEMPTS => {
                    attempt += 1;
                    tokio::time::sleep(Duration::from_millis(50 << attempt)).await;
                }
                Err(Stop { failure, .. }) if failure.blames_a_row() && batch.operations.len() == 1 => {
                    let outcome = writing.blame(failure).await;
                    return Ok(batch.operations.iter().map(|operation| (operation.id, outcome.clone())).collect());
                }
                Err(Stop { failure, committing }) => return Err(failure.error(!committing)),
            }
        }
    }

    /// Does everything to a table that writing will do, on no rows, and undoes it.
    pub(crate) async fn rehearse(&self, table: &TableType) -> Result<(), Failure> {
        let anchor = &table.object_type.anchor.attributes;
        let writable = table.table.columns.iter().filter(|column| !column.generated).map(|column| column.quoted());
        let columns = joined(writable, ", ");
        let first = anchor.first().map(|name| Name::new(name)).unwrap_or(Name::new(""));
        let name = &table.table.name;
        let natives = anchor.iter().filter_map(|name| table.table.column(name)).map(|column| column.native.clone());
        let stage = Stage::new(natives.collect());
        let mut session = self.database.begin(true).await?;
        session.stage(&stage, &[]).await?;
        session.execute(sql!("INSERT INTO {name} ({columns}) SELECT {columns} FROM {name} WHERE 1 = 0")).await?;
        session.execute(sql!("UPDATE {name} SET {first} = {first} WHERE 1 = 0")).await?;
        session.execute(sql!("DELETE FROM {name} WHERE 1 = 0")).await?;
        Ok(())
    }
}

/// Why a transaction ended.
struct Stop {
    failure: Failure,
    /// While committing, so the effect is unknown unless the database said no.
    committing: bool,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self { failure, committing: false }
    }
}

fn verb(operation: &Operation) -> Result<Verb, Error> {
    Ok(match operation.kind {
        Kind::Create => Verb::Create,
        Kind::Update => Verb::Update,
        Kind::Rename { .. } => Verb::Rename,
        Kind::Delete => Verb::Delete,
        Kind::Put => return Err(Error::Unsupported("put".to_owned())),
    })
}

impl<'a> Writing<'a> {
    fn new(connector: &'a SqlConnector, table: &'a TableType, batch: &'a Batch) -> Result<Self, Error> {
        let anchor = &table.object_type.anchor.attributes;
        let native = |name: &String| {
            table.table.column(name).map(|column| column.native.clone()).ok_or_else(|| {
                Failure::new(Class::NotThere, format!("table {} has no column {name:?}", table.table.name)).error(true)
            })
        };
        let keys: Vec<String> = anchor.iter().map(native).collect::<Result<_, _>>()?;
        let mut types = keys.clone();
        types.extend(batch.attributes.iter().map(native).collect::<Result<Vec<_>, _>>()?);
        // The new key of a rename.
        types.extend(keys);
        let mut writing = Self {
            connector,
            table,
            batch,
            stage: Stage::new(types),
            rows: Vec::with_capacity(batch.operations.len()),
            groups: Vec::new(),
            outcomes: BTreeMap::new(),
        };
        let mut groups: BTreeMap<(Verb, Vec<usize>), BTreeSet<usize>> = BTreeMap::new();
        for (position, operation) in batch.operations.iter().enumerate() {
            let verb = verb(operation)?;
            let known = |(position, slot): (usize, &Slot)| (!slot.is_unknown()).then_some(position);
            let shape = operation.row.0.iter().enumerate().filter_map(known).collect();
            groups.entry((verb, if verb == Verb::Delete { Vec::new() } else { shape })).or_default().insert(position);
        }
        for (number, ((verb, shape), members)) in groups.into_iter().enumerate() {
            for position in &members {
                if let Some(operation) = batch.operations.get(*position) {
                    writing.rows.push(StageRow {
                        number: *position,
                        group: number,
                        values: writing.values(operation)?,
                    });
                }
            }
            writing.groups.push(Group { number, verb, shape, members });
        }
        Ok(writing)
    }

    fn values(&self, operation: &Operation) -> Result<Vec<Text>, Error> {
        let width = self.key_width();
        let key = |key: Option<&Key>| -> Result<Vec<Text>, Error> {
            match key {
                None => Ok(vec![None; width]),
                Some(key) if key.0.len() == width => Ok(key.0.iter().map(|value| Some(encode_value(value))).collect()),
                Some(_) => Err(Error::Bug(format!("operation {}: a key needs {width} values", operation.id))),
            }
        };
        if operation.key.is_none() && operation.kind != Kind::Create {
            return Err(Error::Bug(format!("operation {} has no key", operation.id)));
        }
        let mut values = key(operation.key.as_ref())?;
        values.extend((0..self.batch.attributes.len()).map(|position| encode(operation.row.slot(position))));
        values.extend(match &operation.kind {
            Kind::Rename { to } => key(Some(to))?,
            _ => key(None)?,
        });
        Ok(values)
    }

    fn key_width(&self) -> usize {
        self.table.object_type.anchor.attributes.len()
    }

    fn anchor(&self) -> impl Iterator<Item = Name> + '_ {
        self.table.object_type.anchor.attributes.iter().map(|name| Name::new(name))
    }

    fn staged(&self, attribute: usize) -> Name {
        self.stage.column(self.key_width() + attribute)
    }

    fn attribute(&self, position: usize) -> Name {
        Name::new(self.batch.attributes.get(position).map_or("", String::as_str))
    }

    /// `t.key = s.key` for all columns of the anchor.
    fn same_key(&self) -> String {
        joined(
            self.anchor().enumerate().map(|(position, name)| format!("t.{name} = s.{}", self.stage.column(position))),
            " AND ",
        )
    }

    /// The anchor's columns of `t` as text.
    fn read_key(&self) -> String {
        let columns = self.table.object_type.anchor.attributes.iter().filter_map(|name| self.table.table.column(name));
        joined(
            columns.map(|column| {
                self.connector.database.read_expression(&format!("t.{}", column.quoted()), &column.native)
            }),
            ", ",
        )
    }

    fn decode_key(&self, values: Vec<Text>) -> Result<Key, Failure> {
        let mut slots = Vec::with_capacity(values.len());
        for (name, value) in self.table.object_type.anchor.attributes.iter().zip(values) {
            let value_type = self.table.object_type.attribute(name).map(|attribute| attribute.value_type);
            let slot = decode(value, value_type.unwrap_or(muster_model::ValueType::Text))
                .map_err(|problem| Failure::new(Class::Bug, format!("column {name:?}: {problem}")))?;
            slots.push(slot);
        }
        Ok(key(slots))
    }

    async fn run(&mut self) -> Result<(), Stop> {
        let mut session = self.connector.database.begin(true).await?;
        session.stage(&self.stage, &self.rows).await?;
        for group in std::mem::take(&mut self.groups) {
            match group.verb {
                Verb::Create => self.create(session.as_mut(), &group).await?,
                Verb::Update | Verb::Rename => self.update(session.as_mut(), &group).await?,
                Verb::Delete => self.delete(session.as_mut(), &group).await?,
            }
        }
        session.commit().await.map_err(|failure| Stop { failure, committing: true })
    }

    async fn update(&mut self, session: &mut dyn Session, group: &Group) -> Result<(), Failure> {
        let anchor: Vec<Name> = self.anchor().collect();
        let mut changes: Vec<String> = Vec::new();
        if group.verb == Verb::Rename {
            let first = self.key_width() + self.batch.attributes.len();
            changes.extend(
                anchor
                    .iter()
                    .enumerate()
                    .map(|(position, name)| format!("{name} = s.{}", self.stage.column(first + position))),
            );
        }
        for position in &group.shape {
            let name = self.attribute(*position);
            if group.verb == Verb::Update || !anchor.contains(&name) {
                changes.push(format!("{name} = s.{}", self.staged(*position)));
            }
        }
        let table = &self.table.table.name;
        let stage = &self.stage.name;
        let wanted = group.members.len() as u64;
        let changed = if changes.is_empty() {
            0
        } else {
            let changes = joined(changes, ", ");
            let same = self.same_key();
            let number = group.number;
            session
                .execute(sql!("UPDATE {table} AS t SET {changes} FROM {stage} AS s WHERE {same} AND s.g = {number}"))
                .await?
        };
        let missing = if changed == wanted || group.verb == Verb::Rename && changed > 0 && wanted == 1 {
            BTreeSet::new()
        } else {
            self.missing(session, group).await?
        };
        for position in &group.members {
            let outcome =
                if missing.contains(position) { Outcome::Missing } else { Outcome::Applied(Effect::default()) };
            self.outcomes.insert(*position, outcome);
        }
        Ok(())
    }

    async fn delete(&mut self, session: &mut dyn Session, group: &Group) -> Result<(), Failure> {
        let missing = self.missing(session, group).await?;
        let keys = joined(self.anchor().map(|name| format!("t.{name}")), ", ");
        let staged = joined((0..self.key_width()).map(|position| self.stage.column(position)), ", ");
        let (table, stage, number) = (&self.table.table.name, &self.stage.name, group.number);
        session
            .execute(sql!(
                "DELETE FROM {table} AS t WHERE ({keys}) IN (SELECT {staged} FROM {stage} WHERE g = {number})"
            ))
            .await?;
        for position in &group.members {
            let outcome =
                if missing.contains(position) { Outcome::Missing } else { Outcome::Applied(Effect::default()) };
            self.outcomes.insert(*position, outcome);
        }
        Ok(())
    }

    /// The members whose rows are not there.
    async fn missing(&self, session: &mut dyn Session, group: &Group) -> Result<BTreeSet<usize>, Failure> {
        let mut same = self.same_key();
        if group.verb == Verb::Rename {
            // After the rename its row stands under the new key.
            let first = self.key_width() + self.batch.attributes.len();
            same = joined(
                self.anchor()
                    .enumerate()
                    .map(|(position, name)| format!("t.{name} = s.{}", self.stage.column(first + position))),
                " AND ",
            );
        }
        let (table, stage, number) = (&self.table.table.name, &self.stage.name, group.number);
        let rows = session
            .query(sql!(
                "SELECT CAST(s.n AS text) FROM {stage} AS s WHERE s.g = {number} \
                 AND NOT EXISTS (SELECT 1 FROM {table} AS t WHERE {same})"
            ))
            .await?;
        Ok(rows.iter().filter_map(|row| number_of(row)).collect())
    }

    async fn create(&mut self, session: &mut dyn Session, group: &Group) -> Result<(), Failure> {
        let identity = self.identifying(group);
        let mut members = group.members.clone();
        let mut rounds = 0;
        loop {
            session.savepoint().await?;
            match self.insert(session, group, &members, identity.as_deref()).await {
                Ok(()) => return Ok(()),
                Err(failure) if matches!(failure.class, Class::Unique { .. }) && rounds < 3 => {
                    rounds += 1;
                    session.return_to_savepoint().await?;
                    let conflicts = self.conflicts(session, group).await?;
                    if conflicts.is_empty() {
                        return Err(failure);
                    }
                    let numbers = joined(conflicts.keys(), ", ");
                    session.execute(sql!("DELETE FROM {} WHERE n IN ({numbers})", self.stage.name)).await?;
                    members.retain(|position| !conflicts.contains_key(position));
                    self.outcomes.extend(conflicts);
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    /// A unique key among the written attributes, by which new rows are recognised when the database assigns the anchor.
    fn identifying(&self, group: &Group) -> Option<Vec<usize>> {
        let position = |name: &String| {
            group.shape.iter().copied().find(|position| self.batch.attributes.get(*position) == Some(name))
        };
        self.table.table.unique.iter().find_map(|columns| columns.iter().map(position).collect())
    }

    async fn insert(
        &mut self,
        session: &mut dyn Session,
        group: &Group,
        members: &BTreeSet<usize>,
        identity: Option<&[usize]>,
    ) -> Result<(), Failure> {
        if members.is_empty() {
            return Ok(());
        }
        let assigned = self.table.object_type.anchor.assigned_by == AssignedBy::System;
        let columns = joined(group.shape.iter().map(|position| self.attribute(*position)), ", ");
        let values = joined(group.shape.iter().map(|position| format!("s.{}", self.staged(*position))), ", ");
        let (table, stage, number) = (self.table.table.name.clone(), self.stage.name.clone(), group.number);
        // Without a complete unique key a row can only be recognised while it is inserted, alone.
        let is_alone = |position: &usize| {
            let row = self.batch.operations.get(*position).map(|operation| &operation.row);
            assigned
                && identity.is_none_or(|identity| {
                    identity.iter().any(|attribute| row.is_none_or(|row| row.slot(*attribute).value().is_none()))
                })
        };
        let (alone, together): (Vec<usize>, Vec<usize>) = members.iter().partition(|position| is_alone(position));
        if !together.is_empty() {
            let but =
                if alone.is_empty() { String::new() } else { format!(" AND s.n NOT IN ({})", joined(&alone, ", ")) };
            session
                .execute(sql!("INSERT INTO {table} ({columns}) SELECT {values} FROM {stage} AS s WHERE s.g = {number}{but} ORDER BY s.n"))
                .await?;
            let keys = match identity {
                Some(identity) if assigned => self.assigned_keys(session, group, identity).await?,
                _ => BTreeMap::new(),
            };
            for position in together {
                let given = self.batch.operations.get(position).and_then(|operation| operation.key.clone());
                let key = keys.get(&position).cloned().or(given);
                if key.is_none() {
                    return Err(Failure::new(Class::Bug, "a new row was not found again by its unique key"));
                }
                self.outcomes.insert(position, Outcome::Applied(Effect { key, ..Effect::default() }));
            }
        }
        let returning = self.read_key().replace("t.", "");
        for position in alone {
            let rows = session
                .query(sql!("INSERT INTO {table} ({columns}) SELECT {values} FROM {stage} AS s WHERE s.n = {position} RETURNING {returning}"))
                .await?;
            let key = rows.into_iter().next().map(|row| self.decode_key(row)).transpose()?;
            self.outcomes.insert(position, Outcome::Applied(Effect { key, ..Effect::default() }));
        }
        Ok(())
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
        );
        self.keys_where(session, group, &same).await.map(|found| found.into_iter().collect())
    }

    async fn keys_where(
        &self,
        session: &mut dyn Session,
        group: &Group,
        same: &str,
    ) -> Result<Vec<(usize, Key)>, Failure> {
        let (table, stage, number) = (&self.table.table.name, &self.stage.name, group.number);
        let read = self.read_key();
        let rows = session
            .query(sql!(
                "SELECT CAST(s.n AS text), {read} FROM {stage} AS s JOIN {table} AS t ON {same} WHERE s.g = {number}"
            ))
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
    async fn conflicts(&self, session: &mut dyn Session, group: &Group) -> Result<BTreeMap<usize, Outcome>, Failure> {
        let mut conflicts = BTreeMap::new();
        let table = &self.table.table;
        let anchor = &self.table.object_type.anchor.attributes;
        for columns in std::iter::once(&table.primary_key).chain(&table.unique).chain(std::iter::once(anchor)) {
            let position = |name: &String| {
                group.shape.iter().copied().find(|position| self.batch.attributes.get(*position) == Some(name))
            };
            let Some(positions) = columns.iter().map(position).collect::<Option<Vec<_>>>() else { continue };
            if positions.is_empty() {
                continue;
            }
            let same = joined(
                positions
                    .iter()
                    .map(|position| format!("t.{} = s.{}", self.attribute(*position), self.staged(*position))),
                " AND ",
            );
            let own = self.same_key();
            let others = if group.verb == Verb::Create { same } else { format!("{same} AND NOT ({own})") };
            for (position, key) in self.keys_where(session, group, &others).await? {
                let outcome = if columns == anchor && group.verb == Verb::Create {
                    Outcome::Exists { key }
                } else {
                    taken(columns, &format!("the object with key {key} has the same value"))
                };
                conflicts.entry(position).or_insert(outcome);
            }
            let staged = joined(positions.iter().map(|position| self.staged(*position)), ", ");
            let filled =
                joined(positions.iter().map(|position| format!("{} IS NOT NULL", self.staged(*position))), " AND ");
            let (stage, number) = (&self.stage.name, group.number);
            let twins = session
                .query(sql!(
                    "SELECT CAST(n AS text) FROM (SELECT n, row_number() OVER (PARTITION BY {staged} ORDER BY n) AS r \
                     FROM {stage} WHERE g = {number} AND {filled}) AS d WHERE r > 1"
                ))
                .await?;
            for position in twins.iter().filter_map(|row| number_of(row)) {
                conflicts.entry(position).or_insert_with(|| taken(columns, "another new object has the same value"));
            }
        }
        Ok(conflicts)
    }

    /// What a single refused operation is answered; for a unique key, which attribute is to blame.
    async fn blame(&mut self, failure: Failure) -> Outcome {
        if !matches!(failure.class, Class::Unique { .. }) {
            return failure.outcome();
        }
        let found = async {
            let fresh = Self::new(self.connector, self.table, self.batch)
                .map_err(|error| Failure::new(Class::Bug, error.to_string()))?;
            let mut session = self.connector.database.begin(false).await?;
            session.stage(&fresh.stage, &fresh.rows).await?;
            match fresh.groups.first() {
                Some(group) => fresh.conflicts(session.as_mut(), group).await,
                None => Ok(BTreeMap::new()),
            }
        };
        let found: Result<_, Failure> = found.await;
        found.ok().and_then(|conflicts| conflicts.into_values().next()).unwrap_or_else(|| failure.outcome())
    }
}

fn number_of(row: &[Text]) -> Option<usize> {
    row.first()?.as_deref()?.parse().ok()
}

fn taken(columns: &[String], why: &str) -> Outcome {
    Outcome::Rejected {
        attribute: columns.first().cloned(),
        rule: "unique".to_owned(),
        message: format!("{} must be unique, and {why}", columns.join(", ")),
    }
}
