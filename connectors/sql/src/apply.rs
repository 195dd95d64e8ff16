//! Writing: a batch is staged once and takes effect in one transaction, a statement for each kind and shape.
//!
//! Any refusal of a row that is not foreseen undoes the whole batch, and the host splits it. Creates are in
//! [`crate::create`].

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use muster_connector::{Batch, Effect, Error, ExposeSecret as _, Kind, Operation, OperationId, Outcome};
use muster_model::{Key, Slot, Value};
use tokio::time::Instant;

use crate::connector::SqlConnector;
use crate::database::{Session, StageRow, Text};
use crate::error::{Class, Failure};
use crate::find::{key, staged_column};
use crate::schema::TableType;
use crate::statement::{Name, Stage, joined, sql};
use crate::text::{decode, encode, encode_value};
use crate::values::{changed, only_attribute};

/// How often a transaction that lost against another one is tried again before the host pauses.
const ATTEMPTS: u32 = 5;

/// What is done with a group's rows, in the order in which groups take effect: what frees a value comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verb {
    Update,
    Rename,
    RemoveValues,
    AddValues,
    Delete,
    Create,
}

/// Operations that one statement carries out.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) number: usize,
    pub(crate) verb: Verb,
    /// Positions of the attributes that are written.
    pub(crate) shape: Vec<usize>,
    /// The attribute by which the rows are known besides their keys.
    pub(crate) known_by: Option<usize>,
    /// Positions of the operations.
    pub(crate) members: BTreeSet<usize>,
}

/// One batch on its way into a table.
pub(crate) struct Writing<'a> {
    pub(crate) connector: &'a SqlConnector,
    pub(crate) table: &'a TableType,
    pub(crate) batch: &'a Batch,
    pub(crate) stage: Stage,
    /// Positions of the attributes by which rows are known besides their keys, in the order of their staged columns.
    pub(crate) known_by: Vec<usize>,
    rows: Vec<StageRow>,
    groups: Vec<Group>,
    pub(crate) outcomes: BTreeMap<usize, Outcome>,
}

impl SqlConnector {
    pub(crate) async fn write(&self, batch: &Batch) -> Result<Vec<(OperationId, Outcome)>, Error> {
        let given = batch;
        let table = self.table_type(&given.object_type).await?;
        let stored = as_stored(&table, given);
        let batch = &stored;
        let started = Instant::now();
        let mut attempt = 0;
        loop {
            let mut writing = Writing::new(self, &table, batch)?;
            match writing.run().await.map_err(|stop| stop.without_secrets(given)) {
                Ok(()) => {
                    let answered = writing.outcomes.into_iter();
                    return Ok(answered
                        .filter_map(|(position, outcome)| Some((batch.operations.get(position)?.id, outcome)))
                        .collect());
                }
                Err(Stop { failure, .. })
                    if failure.class == Class::Busy && attempt < ATTEMPTS && started.elapsed() < batch.deadline / 4 =>
                {
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
}

/// A batch as it is stored: its rows hold its secrets as well, for as long as it is written, and say whether they are
/// enabled in the column's own words.
pub(crate) fn as_stored<'a>(table: &TableType, batch: &'a Batch) -> Cow<'a, Batch> {
    let words = table
        .words
        .as_ref()
        .and_then(|words| Some((words, batch.attributes.iter().position(|attribute| *attribute == words.column)?)));
    if words.is_none() && batch.operations.iter().all(|operation| operation.secrets.is_empty()) {
        return Cow::Borrowed(batch);
    }
    let mut stored = batch.clone();
    for operation in &mut stored.operations {
        for (position, secret) in std::mem::take(&mut operation.secrets) {
            if operation.row.0.len() <= position {
                operation.row.0.resize(position + 1, Slot::Unknown);
            }
            if let Some(slot) = operation.row.0.get_mut(position) {
                *slot = Slot::text(secret.0.expose_secret());
            }
        }
        if let Some((words, slot)) = words.and_then(|(words, at)| Some((words, operation.row.0.get_mut(at)?))) {
            *slot = words.write(std::mem::take(slot));
        }
    }
    Cow::Owned(stored)
}

/// Why a transaction ended.
struct Stop {
    failure: Failure,
    /// While committing, so the effect is unknown unless the database said no.
    committing: bool,
}

impl Stop {
    /// Databases like to repeat the value that they refuse.
    fn without_secrets(mut self, batch: &Batch) -> Self {
        for (_, secret) in batch.operations.iter().flat_map(|operation| &operation.secrets) {
            let secret = secret.0.expose_secret();
            if !secret.is_empty() && self.failure.message.contains(secret) {
                self.failure.message = self.failure.message.replace(secret, "…");
            }
        }
        self
    }
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

fn identifying(operation: &Operation) -> Option<usize> {
    let applies = operation.kind != Kind::Create;
    operation.expected.as_ref().filter(|_| applies).map(|(position, _)| *position)
}

impl<'a> Writing<'a> {
    fn new(connector: &'a SqlConnector, table: &'a TableType, batch: &'a Batch) -> Result<Self, Error> {
        let anchor = &table.object_type.anchor.attributes;
        let stage_type =
            |name: &String| -> Result<String, Error> { Ok(staged_column(table, name)?.stage_type.clone()) };
        let keys: Vec<String> = anchor.iter().map(stage_type).collect::<Result<_, _>>()?;
        let mut types = keys.clone();
        types.extend(batch.attributes.iter().map(stage_type).collect::<Result<Vec<_>, _>>()?);
        // The new key of a rename.
        types.extend(keys);
        let known_by: BTreeSet<usize> = batch.operations.iter().filter_map(identifying).collect();
        let names = known_by.iter().filter_map(|position| batch.attributes.get(*position));
        types.extend(names.map(stage_type).collect::<Result<Vec<_>, _>>()?);
        let mut writing = Self {
            connector,
            table,
            batch,
            stage: Stage::new(connector.database.temporary_schema(), types),
            known_by: known_by.into_iter().collect(),
            rows: Vec::with_capacity(batch.operations.len()),
            groups: Vec::new(),
            outcomes: BTreeMap::new(),
        };
        let mut groups: BTreeMap<(Verb, Vec<usize>, Option<usize>), BTreeSet<usize>> = BTreeMap::new();
        for (position, operation) in batch.operations.iter().enumerate() {
            let verb = verb(operation)?;
            if let Some(outcome) = writing.unfit(operation) {
                writing.outcomes.insert(position, outcome);
                continue;
            }
            let known = |(position, slot): (usize, &Slot)| (!slot.is_unknown()).then_some(position);
            let shape = operation.row.0.iter().enumerate().filter_map(known).collect();
            let shape = if verb == Verb::Delete { Vec::new() } else { shape };
            groups.entry((verb, shape, identifying(operation))).or_default().insert(position);
            for (attribute, verb, _) in changed(operation) {
                groups.entry((verb, vec![attribute], None)).or_default().insert(position);
            }
        }
        for (number, ((verb, shape, known_by), members)) in groups.into_iter().enumerate() {
            for position in &members {
                let Some(operation) = batch.operations.get(*position) else { continue };
                if matches!(verb, Verb::AddValues | Verb::RemoveValues) {
                    let keys = writing.values(operation)?;
                    let values = changed(operation).filter(|(of, does, _)| *does == verb && shape.first() == Some(of));
                    let rows = values.map(|(of, _, value)| writing.value_row(*position, number, of, value, &keys));
                    let rows: Vec<StageRow> = rows.collect();
                    writing.rows.extend(rows);
                } else {
                    writing.rows.push(StageRow {
                        number: *position,
                        group: number,
                        values: writing.values(operation)?,
                    });
                }
            }
            writing.groups.push(Group { number, verb, shape, known_by, members });
        }
        Ok(writing)
    }

    /// What an operation is answered that cannot be staged as it is.
    fn unfit(&self, operation: &Operation) -> Option<Outcome> {
        if !operation.deltas.is_empty() && operation.kind != Kind::Update {
            let what = "changes of single values together with anything but an update".to_owned();
            return Some(Outcome::Unsupported { what });
        }
        for (attribute, _, value) in changed(operation) {
            let name = self.batch.attributes.get(attribute);
            if name.is_none_or(|name| !self.table.children.contains_key(name)) {
                return Some(rejected(name, "several_values", "a column holds one value"));
            }
            if let Some((rule, why)) = self.connector.database.refuses(value) {
                return Some(rejected(name, rule, why));
            }
        }
        let holds_several = |name: &String| self.table.children.contains_key(name);
        let whole = self.batch.attributes.iter().zip(&operation.row.0);
        if let Some((name, _)) = whole.into_iter().find(|(name, slot)| holds_several(name) && !slot.is_unknown()) {
            return Some(rejected(Some(name), "several_values", "its values are written one by one"));
        }
        let key = operation.key.iter().flat_map(|key| &key.0);
        let new_key = match &operation.kind {
            Kind::Rename { to } => to.0.as_slice(),
            _ => &[],
        };
        let anchor = &self.table.object_type.anchor.attributes;
        let keys = anchor.iter().cycle().zip(key.chain(new_key));
        let slots = self.batch.attributes.iter().zip(&operation.row.0);
        let number = |(name, slot): &(&String, &Slot)| {
            let choices = self.table.table.column(name).and_then(|column| column.choices.as_ref());
            choices.zip(slot.value().and_then(Value::as_text)).is_some_and(|(choices, text)| !choices.admit(text))
        };
        if let Some((name, _)) = slots.clone().find(number) {
            return Some(rejected(Some(name), "refused", "the number would be taken for the position of a text"));
        }
        let several = slots.clone().find(|(_, slot)| matches!(slot, Slot::Many(values) if values.len() > 1));
        if let Some((name, _)) = several {
            return Some(rejected(Some(name), "several_values", "a column holds one value"));
        }
        let values = slots.filter_map(|(name, slot)| Some((name, slot.value()?)));
        values.chain(keys).find_map(|(name, value)| {
            let (rule, why) = self.connector.database.refuses(value)?;
            Some(rejected(Some(name), rule, why))
        })
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
        let expected = operation.expected.as_ref();
        values.extend(self.known_by.iter().map(|position| {
            let here = expected.filter(|(attribute, _)| attribute == position);
            here.map(|(_, value)| encode_value(value))
        }));
        Ok(values)
    }

    pub(crate) fn key_width(&self) -> usize {
        self.table.object_type.anchor.attributes.len()
    }

    pub(crate) fn anchor(&self) -> impl Iterator<Item = Name> + '_ {
        self.table.object_type.anchor.attributes.iter().map(|name| self.table.table.quoted(name))
    }

    pub(crate) fn staged(&self, attribute: usize) -> Name {
        self.stage.column(self.key_width() + attribute)
    }

    pub(crate) fn attribute(&self, position: usize) -> Name {
        self.table.table.quoted(self.batch.attributes.get(position).map_or("", String::as_str))
    }

    /// `t.key = s.key` for all columns of the anchor.
    pub(crate) fn same_key(&self) -> String {
        joined(
            self.anchor().enumerate().map(|(position, name)| format!("t.{name} = s.{}", self.stage.column(position))),
            " AND ",
        )
    }

    /// The staged values of the new key of a rename.
    pub(crate) fn new_key(&self) -> impl Iterator<Item = Name> + '_ {
        let first = self.key_width() + self.batch.attributes.len();
        (first..first + self.key_width()).map(|position| self.stage.column(position))
    }

    /// The staged column of what a group writes to a column, if it writes to it.
    pub(crate) fn written(&self, group: &Group, column: &str) -> Option<Name> {
        if group.verb == Verb::Rename {
            let anchor = &self.table.object_type.anchor.attributes;
            if let Some(position) = anchor.iter().position(|name| name == column) {
                return self.new_key().nth(position);
            }
        }
        let is_it = |position: &usize| self.batch.attributes.get(*position).is_some_and(|name| name == column);
        group.shape.iter().copied().find(is_it).map(|position| self.staged(position))
    }

    /// The anchor's columns as text, those of `t` with `alias` "t.".
    pub(crate) fn read_key(&self, alias: &str) -> String {
        let columns = self.table.object_type.anchor.attributes.iter().filter_map(|name| self.table.table.column(name));
        joined(
            columns.map(|column| {
                let name = self.table.table.quoted(&column.name);
                self.connector.database.read_expression(&format!("{alias}{name}"), &column.native)
            }),
            ", ",
        )
    }

    pub(crate) fn decode_key(&self, values: Vec<Text>) -> Result<Key, Failure> {
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
        if self.rows.is_empty() {
            return Ok(());
        }
        let mut session = self.connector.database.begin(true).await?;
        if let Err(failure) = self.change(session.as_mut()).await {
            session.rollback().await;
            return Err(failure.into());
        }
        session.commit().await.map_err(|failure| Stop { failure, committing: true })
    }

    async fn change(&mut self, session: &mut dyn Session) -> Result<(), Failure> {
        session.stage(&self.stage, &self.rows).await?;
        if self.table.table.has_key(self.table.object_type.anchor.attributes.iter().map(String::as_str)) {
            session.join_by_index().await?;
        }
        for group in std::mem::take(&mut self.groups) {
            match group.verb {
                Verb::Create => self.create(session, &group).await?,
                Verb::Update | Verb::Rename => self.update(session, &group).await?,
                Verb::AddValues | Verb::RemoveValues => self.change_values(session, &group).await?,
                Verb::Delete => self.delete(session, &group).await?,
            }
        }
        Ok(())
    }

    async fn update(&mut self, session: &mut dyn Session, group: &Group) -> Result<(), Failure> {
        let members = self.unambiguous(session, group).await?;
        let members = self.known(session, group, members).await?;
        // A rename moves its row away from the key by which it would be missed.
        let before = match group.verb {
            Verb::Rename => Some(self.missing(session, group).await?),
            _ => None,
        };
        let anchor: Vec<Name> = self.anchor().collect();
        let mut changes: Vec<(Name, Name)> = Vec::new();
        if group.verb == Verb::Rename {
            changes.extend(anchor.iter().cloned().zip(self.new_key()));
        }
        for position in &group.shape {
            let name = self.attribute(*position);
            if group.verb == Verb::Update || !anchor.contains(&name) {
                changes.push((name, self.staged(*position)));
            }
        }
        let changed = if changes.is_empty() {
            0
        } else {
            let rows = format!("{} AND s.g = {}", self.same_row(group), group.number);
            let (database, table) = (&self.connector.database, &self.table.table.name);
            session.execute(database.update_from_stage(table, &changes, &self.stage, &rows)).await?
        };
        if group.verb == Verb::Rename {
            self.move_values(session, group).await?;
        }
        let missing = match before {
            Some(missing) => missing,
            None if changed == members.len() as u64 => BTreeSet::new(),
            None => self.missing(session, group).await?,
        };
        self.done(&members, &missing);
        Ok(())
    }

    async fn delete(&mut self, session: &mut dyn Session, group: &Group) -> Result<(), Failure> {
        let members = self.unambiguous(session, group).await?;
        let members = self.known(session, group, members).await?;
        let missing = self.missing(session, group).await?;
        self.clear_values(session, group).await?;
        let known_by = group.known_by.and_then(|position| Some((self.attribute(position), self.expected(position)?)));
        let keys = self.anchor().enumerate().map(|(position, name)| (name, self.stage.column(position)));
        let same: Vec<(Name, Name)> = keys.chain(known_by).collect();
        let (database, table) = (&self.connector.database, &self.table.table.name);
        session.execute(database.delete_by_stage(table, &same, &self.stage, group.number)).await?;
        self.done(&members, &missing);
        Ok(())
    }

    fn done(&mut self, members: &BTreeSet<usize>, missing: &BTreeSet<usize>) {
        self.outcomes.extend(members.iter().map(|position| {
            let is_missing = missing.contains(position);
            (*position, if is_missing { Outcome::Missing } else { Outcome::Applied(Effect::default()) })
        }));
    }

    /// The members whose keys name one row at most. Only where nothing in the database sees to that, others are
    /// rejected and taken off the stage.
    async fn unambiguous(&mut self, session: &mut dyn Session, group: &Group) -> Result<BTreeSet<usize>, Failure> {
        let mut members = group.members.clone();
        let anchor = &self.table.object_type.anchor.attributes;
        if self.table.table.is_unique(anchor) {
            return Ok(members);
        }
        let (table, stage, number, same) = (&self.table.table.name, &self.stage, group.number, self.same_key());
        let read = self.connector.database.read_number("s.n");
        let rows = session
            .query(sql!(
                "SELECT {read} FROM {stage} AS s JOIN {table} AS t ON {same} WHERE s.g = {number} \
                 GROUP BY s.n HAVING count(*) > 1"
            ))
            .await?;
        let ambiguous: Vec<usize> = rows.iter().filter_map(|row| number_of(row)).collect();
        self.unstage(session, &ambiguous).await?;
        for position in ambiguous {
            members.remove(&position);
            let outcome = rejected(anchor.first(), "ambiguous_key", "several rows have this key");
            self.outcomes.insert(position, outcome);
        }
        Ok(members)
    }

    /// Takes rows off the stage.
    pub(crate) async fn unstage(&self, session: &mut dyn Session, positions: &[usize]) -> Result<(), Failure> {
        if positions.is_empty() {
            return Ok(());
        }
        let numbers = joined(positions, ", ");
        session.execute(sql!("DELETE FROM {} WHERE n IN ({numbers})", self.stage)).await.map(drop)
    }

    /// The members whose rows are not there.
    async fn missing(&self, session: &mut dyn Session, group: &Group) -> Result<BTreeSet<usize>, Failure> {
        let (table, stage, number, same) = (&self.table.table.name, &self.stage, group.number, self.same_key());
        let read = self.connector.database.read_number("s.n");
        let rows = session
            .query(sql!(
                "SELECT {read} FROM {stage} AS s WHERE s.g = {number} \
                 AND NOT EXISTS (SELECT 1 FROM {table} AS t WHERE {same})"
            ))
            .await?;
        Ok(rows.iter().filter_map(|row| number_of(row)).collect())
    }

    /// What a single refused operation is answered: which attribute is to blame, as far as that can be found out.
    async fn blame(&self, failure: Failure) -> Outcome {
        match &failure.class {
            Class::Unique { .. } => {
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
            Class::Row { column: None, staged: Some(position), rule, .. } => {
                rejected(self.staged_from(*position), rule, &failure.message)
            }
            Class::Row { column: None, rule, .. } if self.values_of().is_some() => {
                rejected(self.values_of(), rule, &failure.message)
            }
            Class::Row { column: None, constraint: None, rule: "too_long", .. } => {
                rejected(self.too_long(), "too_long", &failure.message)
            }
            _ => failure.outcome(),
        }
    }

    /// The attribute whose values the only operation changes.
    fn values_of(&self) -> Option<&String> {
        only_attribute(self.batch, self.batch.operations.first()?)
    }

    /// The attribute whose value was staged there.
    fn staged_from(&self, position: usize) -> Option<&String> {
        let (width, attributes) = (self.key_width(), self.batch.attributes.len());
        let anchor = &self.table.object_type.anchor.attributes;
        match position.checked_sub(width) {
            None => anchor.get(position),
            Some(attribute) if attribute < attributes => self.batch.attributes.get(attribute),
            Some(further) => anchor.get(further - attributes),
        }
    }

    /// The first attribute whose value is longer than its column.
    fn too_long(&self) -> Option<&String> {
        let row = &self.batch.operations.first()?.row;
        self.batch.attributes.iter().zip(&row.0).find_map(|(name, slot)| {
            let limit = self.table.table.column(name)?.max_length?;
            let length = slot.value()?.as_text()?.chars().count();
            (length > limit as usize).then_some(name)
        })
    }
}

pub(crate) fn number_of(row: &[Text]) -> Option<usize> {
    row.first()?.as_deref()?.parse().ok()
}

pub(crate) fn rejected(attribute: Option<&String>, rule: &str, message: &str) -> Outcome {
    Outcome::Rejected { attribute: attribute.cloned(), rule: rule.to_owned(), message: message.to_owned() }
}
