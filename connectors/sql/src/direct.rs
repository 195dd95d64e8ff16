//! Writing without a stage: values are bound into the statements that write them, where an engine is quicker at long
//! statements than at filling a table and joining it.
//!
//! It takes batches in which nothing is out of the ordinary. Where a row is refused, or a statement changes fewer rows
//! than it names, all of it is undone, and the stage finds out which operation is to blame.

use async_trait::async_trait;
use muster_connector::{Effect, Outcome};
use muster_model::{AssignedBy, Value};

use crate::apply::{Group, Verb, Writing};
use crate::database::{BoundText, Session, StageRow, Statements};
use crate::error::Failure;
use crate::relations::Child;
use crate::staging::WrittenRow;
use crate::statement::{Name, Sql, TableName, joined, sql};
use crate::text::spelled;

/// Rows in one statement: a few shapes, each prepared once. Longer ones gain nothing.
const SHAPES: [usize; 6] = [500, 250, 100, 20, 4, 1];

/// The most bytes of values in one statement: half of what every server takes whose limit nobody has lowered.
const MOST_BYTES: usize = 512 * 1024;

/// The most characters of a number, a date or an id.
const LONGEST_SCALAR: usize = 40;

impl<'a> Writing<'a> {
    /// Whether every operation can be written with its values in the statement.
    pub(crate) fn is_direct(&mut self) -> bool {
        self.longest_row = self.rows.iter().map(|row| self.bytes(row)).max().unwrap_or_default();
        let database = &self.connector.database;
        let anchor = &self.table.object_type.anchor;
        let table = &self.table.table;
        // Both statements count on the database to refuse what would be a second row.
        let plain = |name: &String| table.column(name).is_some_and(|column| database.binds_directly(&column.native));
        if !anchor.attributes.iter().all(plain) || !table.is_unique(&anchor.attributes) || !self.own.is_empty() {
            return false;
        }
        // SQLite names the columns of a list of values by itself, and an expression might mean a column of the table.
        let expressions = self.table.belonging.of_changed_rows();
        if !expressions.is_empty() && table.columns.iter().any(|column| column.name.starts_with("column")) {
            return false;
        }
        // One that is longer than a message is told from the others by the stage.
        if self.longest_row > MOST_BYTES {
            return false;
        }
        self.groups.iter().all(|group| {
            let written = || group.shape.iter().chain(&group.known_by).filter_map(|at| self.batch.attributes.get(*at));
            match group.verb {
                Verb::Create => {
                    anchor.assigned_by != AssignedBy::System
                        && written().all(plain)
                        && group.members.iter().all(|position| self.given_key(*position).is_some())
                }
                Verb::Update => written().all(plain),
                Verb::AddValues | Verb::RemoveValues => self.child(group).is_some_and(|(child, _)| {
                    let columns = || child.key.iter().chain([&child.value]);
                    let unique: Vec<String> = columns().cloned().collect();
                    let plain = |name: &String| {
                        child.table.column(name).is_some_and(|column| database.binds_directly(&column.native))
                    };
                    columns().all(plain) && child.table.is_unique(&unique)
                }),
                Verb::Rename | Verb::Delete => false,
            }
        })
    }

    /// Writes all groups; false where a statement changed another number of rows than it should.
    pub(crate) async fn write_directly(&mut self, session: &mut dyn Session) -> Result<bool, Failure> {
        let mut outcomes = Vec::with_capacity(self.batch.operations.len());
        if !self.connector.database.updates_directly() {
            // Groups follow one another, and so do their rows.
            let updates = |row: &&WrittenRow<'_>| self.groups.get(row.group).is_some_and(Group::changes_columns);
            let first = self.rows.iter().take_while(|row| !updates(row)).count();
            let rows = self.rows.get(first..).unwrap_or_default();
            let rows: Vec<StageRow> = rows.iter().take_while(updates).map(|row| self.staged_row(row)).collect();
            if !rows.is_empty() {
                session.stage(&self.stage, &rows).await?;
            }
        }
        for group in &self.groups {
            let is_written = match group.verb {
                Verb::Create => self.insert_directly(session, group).await?,
                Verb::Update => self.update_directly(session, group).await?,
                _ => match self.child(group) {
                    Some((child, _)) => self.change_values_directly(session, group, child).await?,
                    None => false,
                },
            };
            if !is_written {
                return Ok(false);
            }
            match group.verb {
                Verb::Create => {
                    let created = |position| Effect { key: self.given_key(position), ..Effect::default() };
                    outcomes.extend(group.members.iter().map(|position| (*position, created(*position))));
                }
                Verb::Update => outcomes.extend(group.members.iter().map(|position| (*position, Effect::default()))),
                _ => {}
            }
        }
        let refused = std::mem::take(&mut self.outcomes);
        let applied = outcomes.into_iter().map(|(position, effect)| (position, Outcome::Applied(effect)));
        self.outcomes = refused.into_iter().chain(applied).collect();
        Ok(true)
    }

    async fn insert_directly(&self, session: &mut dyn Session, group: &Group) -> Result<bool, Failure> {
        let (names, columns): (Vec<Name>, Vec<usize>) = self.new_columns(group).into_iter().unzip();
        if names.is_empty() {
            return Ok(false);
        }
        let others = self.table.belonging.of_new_rows().cloned().collect();
        self.insert_rows(session, group, &Inserted { table: &self.table.table.name, names, columns, others }).await
    }

    async fn insert_rows(
        &self,
        session: &mut dyn Session,
        group: &Group,
        inserted: &Inserted<'_>,
    ) -> Result<bool, Failure> {
        let Inserted { table, names, columns, others } = inserted;
        let names = joined(names.iter().chain(others.iter().map(|(name, _)| name)), ", ");
        let others = others.iter().map(|(_, term)| format!(", {term}")).collect::<String>();
        let or = self.connector.database.where_all_is_undone();
        let statement = |rows| sql!("INSERT {or}INTO {table} ({names}) VALUES {}", marks(rows, columns.len(), &others));
        let changed = self.send(session, group, columns, statement, false).await?;
        Ok(changed == self.rows_of(group).count() as u64)
    }

    async fn update_directly(&self, session: &mut dyn Session, group: &Group) -> Result<bool, Failure> {
        let mut names: Vec<Name> = self.anchor().collect();
        let mut columns: Vec<usize> = (0..names.len()).collect();
        if let Some(known_by) = group.known_by {
            names.push(self.attribute(known_by));
            columns.extend(self.expected_position(known_by));
        }
        let (table, and) = (&self.table.table.name, self.table.belonging.and("t"));
        if group.shape.is_empty() {
            let names = joined(names.iter().map(|name| format!("t.{name}")), ", ");
            let database = &self.connector.database;
            let among = |rows| database.among(&names, &marks(rows, columns.len(), ""));
            let statement = |rows| sql!("SELECT count(*) FROM {table} AS t WHERE {}{and}", among(rows));
            let found = self.send(session, group, &columns, statement, true).await?;
            return Ok(found == group.members.len() as u64);
        }
        if !self.connector.database.updates_directly() {
            return self.update_by_stage(session, group).await.map(|changed| changed == group.members.len() as u64);
        }
        let same = names;
        let mut changes: Vec<(Name, String)> = Vec::new();
        for position in &group.shape {
            columns.push(self.key_width() + position);
            changes.push((self.attribute(*position), values_column(columns.len())));
        }
        changes.extend(self.table.belonging.of_changed_rows().iter().cloned());
        let changes = joined(changes.iter().map(|(column, term)| format!("{column} = {term}")), ", ");
        let same = same.iter().enumerate().map(|(at, name)| format!("t.{name} = {}", values_column(at + 1)));
        let same = joined(same, " AND ");
        let (width, or) = (columns.len(), self.connector.database.where_all_is_undone());
        let statement = |rows| {
            let marks = marks(rows, width, "");
            sql!("UPDATE {or}{table} AS t SET {changes} FROM (VALUES {marks}) AS s WHERE {same}{and}")
        };
        self.send(session, group, &columns, statement, false).await.map(|changed| changed == group.members.len() as u64)
    }

    async fn change_values_directly(
        &self,
        session: &mut dyn Session,
        group: &Group,
        child: &Child,
    ) -> Result<bool, Failure> {
        let Some(position) = group.shape.first() else { return Ok(false) };
        let names = child.key.iter().chain([&child.value]).map(|name| child.table.quoted(name));
        let names: Vec<Name> = names.collect();
        let columns: Vec<usize> = (0..child.key.len()).chain([self.key_width() + position]).collect();
        let table = &child.table.name;
        if group.verb == Verb::AddValues {
            let others = child.belonging.of_new_rows().cloned().collect();
            return self.insert_rows(session, group, &Inserted { table, names, columns, others }).await;
        }
        let (names, and) = (joined(names, ", "), child.belonging.and(""));
        let database = &self.connector.database;
        let statement = |rows| {
            let among = database.among(&names, &marks(rows, columns.len(), ""));
            sql!("DELETE FROM {table} WHERE {among}{and}")
        };
        self.send(session, group, &columns, statement, false).await.map(|_| true)
    }

    /// Sends all rows of a group in statements of few shapes, and returns how many rows they changed, or count.
    async fn send(
        &self,
        session: &mut dyn Session,
        group: &Group,
        columns: &[usize],
        statement: impl Fn(usize) -> Sql + Send + Sync,
        counts: bool,
    ) -> Result<u64, Failure> {
        let rows: Vec<&WrittenRow<'_>> = self.rows_of(group).collect();
        let mut rest = rows.as_slice();
        let mut made: Option<(usize, Sql)> = None;
        // One after the other, so that each is made ready while the one before runs.
        let mut statements = std::iter::from_fn(|| {
            let (piece, others) = rest.split_at_checked(self.piece(rest, columns.len()))?;
            rest = others;
            if piece.is_empty() {
                return None;
            }
            let sql = match made.take() {
                Some((length, sql)) if length == piece.len() => sql,
                _ => statement(piece.len()),
            };
            made = Some((piece.len(), sql.clone()));
            Some((sql, self.bound(piece, columns)))
        });
        session.run_bound(&mut statements, counts).await
    }

    fn rows_of(&self, group: &Group) -> impl Iterator<Item = &WrittenRow<'a>> {
        let number = group.number;
        self.rows.iter().filter(move |row| row.group == number)
    }

    /// The values of rows, each with the type that its column would be staged as.
    fn bound(&self, rows: &[&WrittenRow<'a>], columns: &[usize]) -> Vec<BoundText<'_>> {
        let value = |row: &WrittenRow<'a>, column: usize| {
            let kind = self.stage.types.get(column).map_or("", String::as_str);
            (self.cell(row, column).map(spelled), kind)
        };
        rows.iter().flat_map(|row| columns.iter().map(move |column| value(row, *column))).collect()
    }

    /// How many of these rows go into the next statement: one of few numbers, so that statements are prepared once.
    fn piece(&self, rows: &[&WrittenRow<'a>], width: usize) -> usize {
        let most_values = self.connector.database.most_values();
        let fits = |length: &usize| {
            let some = rows.get(..*length).filter(|_| length * width <= most_values);
            some.is_some_and(|rows| {
                // Mostly there is no need to look at each.
                length * self.longest_row <= MOST_BYTES
                    || rows.iter().map(|row| self.bytes(row)).sum::<usize>() <= MOST_BYTES
            })
        };
        SHAPES.into_iter().find(fits).unwrap_or(1).min(rows.len())
    }

    /// About how long a row's texts are.
    fn bytes(&self, row: &WrittenRow<'a>) -> usize {
        let length = |value: &Value| match value {
            Value::Text(text) => text.len(),
            Value::Binary(bytes) => 2 * bytes.len(),
            Value::Structure(_) | Value::Decimal(_) | Value::Reference(_) => spelled(value).len(),
            _ => LONGEST_SCALAR,
        };
        row.values().map(length).sum()
    }
}

/// A session of an engine that writes without a stage.
#[async_trait]
pub(crate) trait Binding {
    /// A statement with its values, as their columns hold them.
    type Ready: Send;

    fn ready(sql: Sql, values: Vec<BoundText<'_>>) -> Self::Ready;

    /// How many rows a statement changes or, where it counts, the number that it answers.
    async fn run_ready(&mut self, ready: Self::Ready, counts: bool) -> Result<u64, Failure>;
}

/// Runs statements one after the other, each made ready while the one before runs, and sums up what they answer.
pub(crate) async fn in_turn<S: Binding>(
    session: &mut S,
    statements: &mut Statements<'_>,
    counts: bool,
) -> Result<u64, Failure> {
    let ready = |(sql, values)| S::ready(sql, values);
    let mut sum = 0;
    let mut next = statements.next().map(ready);
    while let Some(statement) = next {
        let following = async { statements.next().map(ready) };
        let (ran, following) = tokio::join!(session.run_ready(statement, counts), following);
        sum += ran?;
        next = following;
    }
    Ok(sum)
}

/// What is inserted where.
struct Inserted<'a> {
    table: &'a TableName,
    /// The columns with bound values, and where those are staged.
    names: Vec<Name>,
    columns: Vec<usize>,
    /// Columns with terms of the database.
    others: Vec<(Name, String)>,
}

/// What SQLite calls a column of a list of values, the first being number 1 (SQLite, "SELECT", the VALUES clause).
fn values_column(number: usize) -> String {
    format!("s.column{number}")
}

/// `(?, ?, others), (?, ?, others)` for so many rows.
fn marks(rows: usize, width: usize, others: &str) -> String {
    let row = format!("({}{others})", joined(std::iter::repeat_n("?", width), ", "));
    joined(std::iter::repeat_n(row, rows), ", ")
}
