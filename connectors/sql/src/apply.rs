//! Writing: a batch is staged once and takes effect in one transaction, a statement for each kind and shape.
//!
//! Any refusal of a row that is not foreseen undoes the whole batch, and the host splits it. Creates are in
//! [`crate::create`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use muster_connector::{Batch, Effect, Error, ExposeSecret as _, OperationId, Outcome};
use tokio::time::Instant;

use crate::connector::SqlConnector;
use crate::database::{Session, Text};
use crate::error::{Class, Failure};
use crate::own::Purpose;
use crate::own_writing::has_secrets;
use crate::schema::TableType;
use crate::staging::{WrittenRow, as_stored};
use crate::statement::{Name, Stage, joined, sql};
use crate::values::only_attribute;

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

impl Group {
    /// Whether it changes columns of rows that are there, under keys that stay.
    pub(crate) fn changes_columns(&self) -> bool {
        self.verb == Verb::Update && !self.shape.is_empty()
    }
}

/// One batch on its way into a table.
pub(crate) struct Writing<'a> {
    pub(crate) connector: &'a SqlConnector,
    pub(crate) table: &'a TableType,
    pub(crate) batch: &'a Batch,
    pub(crate) stage: Stage,
    /// Positions of the attributes by which rows are known besides their keys, in the order of their staged columns.
    pub(crate) known_by: Vec<usize>,
    pub(crate) rows: Vec<WrittenRow<'a>>,
    pub(crate) groups: Vec<Group>,
    pub(crate) outcomes: BTreeMap<usize, Outcome>,
    /// Without a stage: see [`crate::direct`].
    pub(crate) direct: bool,
    /// About how many bytes the longest row has, where it is written without a stage.
    pub(crate) longest_row: usize,
    /// Positions of the operations that have statements of the administrator's own.
    pub(crate) own: Vec<(usize, Vec<Purpose>)>,
    /// The operations that bring secrets.
    pub(crate) secret: BTreeSet<OperationId>,
}

impl SqlConnector {
    pub(crate) async fn write(&self, batch: &Batch) -> Result<Vec<(OperationId, Outcome)>, Error> {
        let given = batch;
        let table = self.table_type(&given.object_type).await?;
        let stored = as_stored(&table, given);
        let batch = &stored;
        let started = Instant::now();
        let mut attempt = 0;
        let mut by_stage = false;
        loop {
            if self.settings.ledger {
                self.take_lease(&batch.object_type, batch.epoch).await?;
            }
            let mut writing = Writing::new(self, &table, batch)?;
            writing.secret = given.operations.iter().filter(|one| has_secrets(one)).map(|one| one.id).collect();
            writing.direct = !by_stage && writing.is_direct();
            match writing.run().await.map_err(|stop| stop.without_secrets(given)) {
                Ok(false) => by_stage = true,
                Err(Stop { failure, committing: false }) if writing.direct && failure.blames_a_row() => by_stage = true,
                Ok(true) => {
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

impl Writing<'_> {
    /// False where the stage is needed after all; nothing took effect then.
    async fn run(&mut self) -> Result<bool, Stop> {
        if self.rows.is_empty() && self.own.is_empty() {
            return Ok(true);
        }
        let mut session = self.connector.database.begin(true).await?;
        let changed = self.change(session.as_mut()).await;
        if !matches!(changed, Ok(true)) {
            session.rollback().await;
            return Ok(changed?);
        }
        session.commit().await.map_err(|failure| Stop { failure, committing: true })?;
        Ok(true)
    }

    async fn change(&mut self, session: &mut dyn Session) -> Result<bool, Failure> {
        let keeps_ledger = self.connector.settings.ledger;
        if keeps_ledger {
            self.hold_lease(session).await?;
        }
        self.run_own(session, false).await?;
        if self.direct {
            if !self.write_directly(session).await? {
                return Ok(false);
            }
        } else if !self.rows.is_empty() {
            self.change_together(session).await?;
        }
        self.run_own(session, true).await?;
        if keeps_ledger {
            self.enter(session).await?;
        }
        Ok(true)
    }

    async fn change_together(&mut self, session: &mut dyn Session) -> Result<(), Failure> {
        session.stage(&self.stage, &self.staged_rows()).await?;
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
        let changed = self.update_by_stage(session, group).await?;
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

    /// Changes the columns of a group's rows, and returns how many rows there were.
    pub(crate) async fn update_by_stage(&self, session: &mut dyn Session, group: &Group) -> Result<u64, Failure> {
        let anchor: Vec<Name> = self.anchor().collect();
        let mut changes: Vec<(Name, String)> = Vec::new();
        let staged = |(column, staged): (Name, Name)| (column, format!("s.{staged}"));
        if group.verb == Verb::Rename {
            changes.extend(anchor.iter().cloned().zip(self.new_key()).map(staged));
        }
        for position in &group.shape {
            let name = self.attribute(*position);
            if group.verb == Verb::Update || !anchor.contains(&name) {
                changes.push(staged((name, self.staged(*position))));
            }
        }
        if changes.is_empty() {
            return Ok(0);
        }
        changes.extend(self.table.belonging.of_changed_rows().iter().cloned());
        let rows = format!("{} AND s.g = {}", self.same_row(group), group.number);
        let (database, table) = (&self.connector.database, &self.table.table.name);
        session.execute(database.update_from_stage(table, &changes, &self.stage, &rows)).await
    }

    async fn delete(&mut self, session: &mut dyn Session, group: &Group) -> Result<(), Failure> {
        let members = self.unambiguous(session, group).await?;
        let members = self.known(session, group, members).await?;
        let missing = self.missing(session, group).await?;
        let (database, table, belonging) = (&self.connector.database, &self.table.table.name, &self.table.belonging);
        if let Some(marks) = belonging.of_deleted_rows(database.as_ref()) {
            let rows = format!("{} AND s.g = {}", self.same_row(group), group.number);
            session.execute(database.update_from_stage(table, &marks, &self.stage, &rows)).await?;
            self.done(&members, &missing);
            return Ok(());
        }
        self.clear_values(session, group).await?;
        let known_by = group.known_by.and_then(|position| Some((self.attribute(position), self.expected(position)?)));
        let keys = self.anchor().enumerate().map(|(position, name)| (name, self.stage.column(position)));
        let same: Vec<(Name, Name)> = keys.chain(known_by).collect();
        session.execute(database.delete_by_stage(table, &same, belonging, &self.stage, group.number)).await?;
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
        self.without_row(session, group, &self.same_key()).await
    }

    /// The members for which no row `t` of the table and staged row `s` are the same.
    pub(crate) async fn without_row(
        &self,
        session: &mut dyn Session,
        group: &Group,
        same: &str,
    ) -> Result<BTreeSet<usize>, Failure> {
        let (table, stage, number) = (&self.table.table.name, &self.stage, group.number);
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
                    session.stage(&fresh.stage, &fresh.staged_rows()).await?;
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
