//! Operations that have statements of the administrator's own: row by row, each with its effect looked at before it
//! counts.

use muster_connector::{Batch, Effect, ExposeSecret as _, Kind, Operation, Outcome};
use muster_model::{AssignedBy, Key, Slot, Value};

use crate::apply::{Writing, rejected};
use crate::catalog::Column;
use crate::database::{Session, Text};
use crate::error::{Class, Failure};
use crate::own::{OwnStatement, Parameter, Purpose};
use crate::schema::TableType;
use crate::statement::{joined, sql};
use crate::text::{decode, encode_value};

/// The rule that a statement breaks that does nothing.
pub(crate) const NO_EFFECT: &str = "no_effect";

/// A value to bind, with the type that its column is staged as.
pub(crate) type Bound = (Text, String);

/// What a statement brought.
#[derive(Debug, Default)]
pub(crate) struct Ran {
    /// How many rows it changed, where it says so.
    pub(crate) changed: Option<u64>,
    /// The rows that it returned, as texts.
    pub(crate) rows: Vec<Vec<Text>>,
}

impl Writing<'_> {
    /// Carries out the operations with statements of their own: creates, or all others.
    pub(crate) async fn run_own(&mut self, session: &mut dyn Session, creates: bool) -> Result<(), Failure> {
        let own = self.own.clone();
        for (position, purposes) in &own {
            let Some(operation) = self.batch.operations.get(*position) else { continue };
            if (operation.kind == Kind::Create) != creates {
                continue;
            }
            session.savepoint().await?;
            let outcome = match self.carry_out(session, operation, purposes).await {
                Ok(outcome) => outcome,
                // Its values in other tables are written apart, and must not be there without it.
                Err(failure) if failure.blames_a_row() && operation.deltas.is_empty() => {
                    session.return_to_savepoint().await?;
                    match failure.class {
                        Class::Unique { .. } => rejected(None, "unique", &failure.message),
                        _ => failure.outcome(),
                    }
                }
                Err(failure) => return Err(failure),
            };
            session.release_savepoint().await?;
            self.outcomes.insert(*position, outcome);
        }
        Ok(())
    }

    async fn carry_out(
        &self,
        session: &mut dyn Session,
        operation: &Operation,
        purposes: &[Purpose],
    ) -> Result<Outcome, Failure> {
        let columns = self.columns_of(purposes);
        if operation.kind == Kind::Create {
            return self.create_own(session, operation, purposes, &columns).await;
        }
        let Some(key) = &operation.key else {
            return Err(Failure::new(Class::Bug, format!("operation {} has no key", operation.id)));
        };
        let rows = self.read_by_key(session, key, &columns).await?;
        let [before] = rows.as_slice() else {
            return Ok(match rows.len() {
                0 => Outcome::Missing,
                _ => rejected(
                    self.table.object_type.anchor.attributes.first(),
                    "ambiguous_key",
                    "several rows have this key",
                ),
            });
        };
        if !self.is_meant(session, operation, key).await? {
            return Ok(Outcome::OtherObject);
        }
        if purposes.iter().all(|purpose| matches!(purpose, Purpose::Enable | Purpose::Disable)) {
            self.change_others(session, operation, key).await?;
        }
        for purpose in purposes {
            for statement in self.table.own.of(*purpose).unwrap_or_default() {
                self.run_one(session, operation, (*purpose, statement), &columns, Some(before)).await?;
            }
        }
        let after_key = match &operation.kind {
            Kind::Rename { to } => to,
            _ => key,
        };
        let after = self.read_by_key(session, after_key, &columns).await?;
        let is_gone = operation.kind == Kind::Delete;
        match after.first() {
            Some(_) if is_gone => Err(without_effect(
                "the row is still there after the statements; if they mark it, name the column in `deleted`",
            )),
            None if !is_gone => {
                Err(without_effect("the row is not there any more, or not under the key it was to get"))
            }
            Some(after) if after == before && self.wants_change(operation, &columns, before) => {
                Err(without_effect("the statements changed nothing of the row"))
            }
            _ => Ok(Outcome::Applied(Effect::default())),
        }
    }

    async fn create_own(
        &self,
        session: &mut dyn Session,
        operation: &Operation,
        purposes: &[Purpose],
        columns: &[&Column],
    ) -> Result<Outcome, Failure> {
        let anchor = &self.table.object_type.anchor;
        let given = operation.key.clone().or_else(|| {
            let value = |name: &String| self.slot(operation, name)?.value().cloned();
            anchor.attributes.iter().map(value).collect::<Option<Vec<_>>>().map(Key)
        });
        if let Some(key) = &given
            && !self.read_by_key(session, key, columns).await?.is_empty()
        {
            return Ok(Outcome::Exists { key: key.clone() });
        }
        let has_secrets = self.secret.contains(&operation.id);
        let password = self.table.own.of(Purpose::Password).filter(|_| has_secrets).unwrap_or_default();
        let mut returned = None;
        for statement in self.statements(purposes) {
            let rows = self.run_one(session, operation, (Purpose::Create, statement), columns, None).await?;
            returned = returned.or_else(|| rows.into_iter().next());
        }
        let key = match given {
            Some(key) => key,
            None => self.new_key_of(session, operation, returned).await?,
        };
        for statement in password {
            self.run_one(session, operation, (Purpose::Password, statement), columns, None).await?;
        }
        if self.read_by_key(session, &key, columns).await?.is_empty() {
            return Err(without_effect(&format!("there is no row with the key {key} after the statements")));
        }
        let assigned = anchor.assigned_by == AssignedBy::System;
        Ok(Outcome::Applied(Effect {
            key: Some(key).filter(|_| assigned || operation.key.is_none()),
            ..Effect::default()
        }))
    }

    /// The key of a row that statements made: what they returned, or that of the row with a unique value.
    async fn new_key_of(
        &self,
        session: &mut dyn Session,
        operation: &Operation,
        returned: Option<Vec<Text>>,
    ) -> Result<Key, Failure> {
        let width = self.table.object_type.anchor.attributes.len();
        if let Some(mut row) = returned.filter(|row| row.len() >= width && row.iter().take(width).all(Option::is_some))
        {
            row.truncate(width);
            return self.decode_key(row);
        }
        for columns in &self.table.table.unique {
            let value = |name: &String| Some((self.table.table.column(name)?, self.slot(operation, name)?.value()?));
            let Some(values) = columns.iter().map(value).collect::<Option<Vec<_>>>() else { continue };
            let (condition, bound) = self.equal(values.into_iter(), 0);
            let (table, and) = (&self.table.table.name, self.table.belonging.and("t"));
            let query = sql!("SELECT {} FROM {table} AS t WHERE {condition}{and}", self.read_key("t."));
            let found = session.run(query, &bound, true).await?;
            if let Some(row) = found.rows.into_iter().next() {
                return self.decode_key(row);
            }
        }
        Err(without_effect(
            "nothing tells the new row's key: let the last statement of `create` return it, as in `… RETURNING id`",
        ))
    }

    /// The columns that matter to an operation: what its statements ask for, and what is written.
    fn columns_of(&self, purposes: &[Purpose]) -> Vec<&Column> {
        let statements = self.statements(purposes);
        let asked =
            statements.into_iter().flat_map(OwnStatement::parameters).map(|parameter| parameter.column.as_str());
        let written = self.batch.attributes.iter().map(String::as_str);
        let mut columns: Vec<&Column> = Vec::new();
        for column in asked.chain(written).filter_map(|name| self.table.table.column(name)) {
            if !columns.iter().any(|known| known.name == column.name) {
                columns.push(column);
            }
        }
        columns
    }

    fn statements(&self, purposes: &[Purpose]) -> Vec<&OwnStatement> {
        let mut all = Vec::new();
        for purpose in purposes {
            all.extend(self.table.own.of(*purpose).unwrap_or_default());
        }
        all
    }

    fn slot<'s>(&self, operation: &'s Operation, name: &str) -> Option<&'s Slot> {
        let position = self.batch.attributes.iter().position(|attribute| attribute == name)?;
        Some(operation.row.slot(position))
    }

    /// `t.column = value` for each, with the values to bind, numbered from after those bound before.
    fn equal<'v>(&self, values: impl Iterator<Item = (&'v Column, &'v Value)>, before: usize) -> (String, Vec<Bound>) {
        let database = &self.connector.database;
        let mut bound = Vec::new();
        let mut parts = Vec::new();
        for (column, value) in values {
            bound.push((Some(encode_value(value)), column.stage_type.clone()));
            let mark = database.mark(before + bound.len(), &column.stage_type);
            parts.push(format!("t.{} = {mark}", self.table.table.quoted(&column.name)));
        }
        (joined(parts, " AND "), bound)
    }

    /// `t.key = value` for the columns of the anchor, among the type's own rows.
    fn by_key(&self, key: &Key, before: usize) -> (String, Vec<Bound>) {
        let anchor = &self.table.object_type.anchor.attributes;
        let columns = anchor.iter().filter_map(|name| self.table.table.column(name));
        let (condition, bound) = self.equal(columns.zip(&key.0), before);
        (condition + &self.table.belonging.and("t"), bound)
    }

    async fn read_by_key(
        &self,
        session: &mut dyn Session,
        key: &Key,
        columns: &[&Column],
    ) -> Result<Vec<Vec<Text>>, Failure> {
        let (database, table) = (&self.connector.database, &self.table.table);
        let read = columns
            .iter()
            .map(|column| database.read_expression(&format!("t.{}", table.quoted(&column.name)), &column.native));
        let (condition, bound) = self.by_key(key, 0);
        let query = sql!("SELECT {} FROM {} AS t WHERE {condition}", joined(read, ", "), table.name);
        Ok(session.run(query, &bound, true).await?.rows)
    }

    /// Whether the row has the value by which it is known.
    async fn is_meant(&self, session: &mut dyn Session, operation: &Operation, key: &Key) -> Result<bool, Failure> {
        let Some((position, value)) = &operation.expected else { return Ok(true) };
        let name = self.batch.attributes.get(*position);
        let Some(column) = name.and_then(|name| self.table.table.column(name)) else { return Ok(true) };
        let (condition, mut bound) = self.by_key(key, 0);
        let (same, more) = self.equal(std::iter::once((column, value)), bound.len());
        bound.extend(more);
        let read = self.read_key("t.");
        let query = sql!("SELECT {read} FROM {} AS t WHERE {condition} AND {same}", self.table.table.name);
        Ok(!session.run(query, &bound, true).await?.rows.is_empty())
    }

    /// What an operation changes besides enabling or disabling, where no statement says how.
    async fn change_others(&self, session: &mut dyn Session, operation: &Operation, key: &Key) -> Result<(), Failure> {
        let enabling = self.table.object_type.enabling.as_ref().map(|enabling| &enabling.attribute);
        let known = self.batch.attributes.iter().zip(&operation.row.0);
        let known = known.filter(|(name, slot)| !slot.is_unknown() && Some(*name) != enabling);
        let database = &self.connector.database;
        let mut bound: Vec<Bound> = Vec::new();
        let mut changes = Vec::new();
        for (column, slot) in known.filter_map(|(name, slot)| Some((self.table.table.column(name)?, slot))) {
            bound.push((slot.value().map(encode_value), column.stage_type.clone()));
            changes.push((self.table.table.quoted(&column.name), database.mark(bound.len(), &column.stage_type)));
        }
        if changes.is_empty() {
            return Ok(());
        }
        changes.extend(self.table.belonging.of_changed_rows().iter().cloned());
        let (condition, more) = self.by_key(key, bound.len());
        bound.extend(more);
        session.run(database.update_one(&self.table.table.name, &changes, &condition), &bound, false).await.map(drop)
    }

    async fn run_one(
        &self,
        session: &mut dyn Session,
        operation: &Operation,
        (purpose, statement): (Purpose, &OwnStatement),
        columns: &[&Column],
        before: Option<&Vec<Text>>,
    ) -> Result<Vec<Vec<Text>>, Failure> {
        let database = &self.connector.database;
        let column = |parameter: &Parameter| self.table.table.column(&parameter.column);
        let stage_type =
            |parameter: &Parameter| column(parameter).map_or(String::new(), |column| column.stage_type.clone());
        let (text, parameters) = statement.render(|number, parameter| database.mark(number, &stage_type(parameter)));
        let value = |parameter: &&Parameter| -> Bound {
            let stored = || {
                let position = columns.iter().position(|column| column.name == parameter.column)?;
                as_staged(columns.get(position)?, before?.get(position)?.clone())
            };
            let text =
                if parameter.old { stored() } else { self.given(operation, &parameter.column).unwrap_or_else(stored) };
            (text, stage_type(parameter))
        };
        let bound: Vec<Bound> = parameters.iter().map(value).collect();
        let ran = session.run(sql!("{text}"), &bound, !statement.counts).await;
        let ran = ran.map_err(|failure| match failure.class {
            Class::Bug | Class::NotThere => {
                let setting = format!("types.{}.statements.{}", self.table.object_type.name, purpose.name());
                Failure { class: Class::Statement { setting }, ..failure }
            }
            _ => failure,
        })?;
        if statement.counts && ran.changed == Some(0) {
            return Err(without_effect("a statement changed no row"));
        }
        Ok(ran.rows)
    }

    /// What an operation says of a column; `None` where it leaves it as it is.
    fn given(&self, operation: &Operation, name: &str) -> Option<Text> {
        let anchor = &self.table.object_type.anchor.attributes;
        let known = self.slot(operation, name).filter(|slot| !slot.is_unknown());
        let position = anchor.iter().position(|column| column == name);
        let in_key = |key: Option<&Key>| position.and_then(|position| Some(Some(encode_value(key?.0.get(position)?))));
        match &operation.kind {
            Kind::Rename { to } if position.is_some() => in_key(Some(to)),
            Kind::Create => known
                .map(|slot| slot.value().map(encode_value))
                .or_else(|| in_key(operation.key.as_ref()))
                .or_else(|| Some(self.table.belonging.constant(&self.table.table.quoted(name)))),
            _ => known.map(|slot| slot.value().map(encode_value)),
        }
    }

    /// Whether a row lacks what the operation writes.
    fn wants_change(&self, operation: &Operation, columns: &[&Column], before: &[Text]) -> bool {
        columns.iter().zip(before).any(|(column, before)| {
            let wanted = self.given(operation, &column.name);
            wanted.is_some_and(|wanted| wanted != as_staged(column, before.clone()))
        })
    }
}

/// A value as read, in the form in which it is written.
fn as_staged(column: &Column, text: Text) -> Text {
    match decode(text.clone(), column.value_type.unwrap_or(muster_model::ValueType::Text)) {
        Ok(slot) => slot.value().map(encode_value),
        Err(_) => text,
    }
}

fn without_effect(why: &str) -> Failure {
    let class = Class::Row { rule: NO_EFFECT, column: None, constraint: None, staged: None };
    Failure::new(class, why)
}

/// What of an operation has statements of its own; nothing where it changes values in other tables alone.
pub(crate) fn purposes(table: &TableType, batch: &Batch, operation: &Operation) -> Vec<Purpose> {
    let known = batch.attributes.iter().zip(&operation.row.0).filter(|(_, slot)| !slot.is_unknown());
    let known: Vec<&String> = known.map(|(name, _)| name).collect();
    if operation.kind == Kind::Update && known.is_empty() {
        return Vec::new();
    }
    let enabling = table.object_type.enabling.as_ref().map(|enabling| &enabling.attribute);
    table.own.purposes(operation, known.into_iter().all(|name| Some(name) == enabling))
}

/// Whether an operation brings values that nobody may see.
pub(crate) fn has_secrets(operation: &Operation) -> bool {
    operation.secrets.iter().any(|(_, secret)| !secret.0.expose_secret().is_empty())
}
