//! The source side of the contract.

use std::collections::HashSet;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{TimeDelta, Utc};
use muster_connector::{
    Change, ChangePage, Cursor, Entry, Error, Expired, Marks, Next, Position, ReadPage, ReadRequest, Removal, Source,
    SourceObject, Watermark,
};
use muster_model::{Key, Value, ValueType};
use serde::{Deserialize, Serialize};

use crate::catalog::{Column, Table};
use crate::connector::SqlConnector;
use crate::database::{Session, StageRow, Text};
use crate::error::Failure;
use crate::find::{column, read_object, wanted, with_gaps};
use crate::follow::{ChangeTable, Follow, Way};
use crate::list::{PAGE, Problem};
use crate::marks;
use crate::paging::Later;
use crate::schema::TableType;
use crate::statement::{Name, Stage, joined, sql};
use crate::text::encode_value;

/// A time further ahead than any zone can put it is a mistake, which must not hide what comes before it.
const AHEAD: TimeDelta = TimeDelta::hours(26);

/// Where a round of changes goes on.
#[derive(Debug, Serialize, Deserialize)]
struct Turn {
    /// Where the next round starts.
    next: Watermark,
    /// What this one started after.
    start: Option<String>,
    /// Rows without a value in the column that grows come last, since nobody knows when they changed.
    undated: bool,
    /// The texts by which the last row was ordered.
    last: Option<Vec<String>>,
}

impl Turn {
    fn read(cursor: &Cursor) -> Result<Self, Error> {
        serde_json::from_slice(&cursor.0).map_err(|_| Error::Expired { expired: Expired::Cursor })
    }

    fn cursor(&self) -> Cursor {
        Cursor(serde_json::to_vec(self).unwrap_or_default())
    }
}

/// What tells of changed keys, ordered by its columns.
struct Told<'a> {
    /// What stands after `FROM`.
    from: String,
    columns: Vec<&'a Column>,
    /// The columns' names there.
    names: Vec<Name>,
    /// How many of the columns come before those of the key.
    before_key: usize,
    /// The texts of the first columns after which the page begins.
    after: Option<Vec<String>>,
}

#[async_trait]
impl Source for SqlConnector {
    async fn read(&self, request: &ReadRequest, cursor: Option<&Cursor>) -> Result<ReadPage, Error> {
        let table = self.table_type(&request.object_type).await?;
        let watermark = match (&table.follow, cursor) {
            (Some(follow), None) => {
                let marks =
                    self.looked_at(&table, follow, Marks::default()).await.map_err(|problem| self.told(problem))?;
                Some(marks.watermark())
            }
            _ => None,
        };
        let (objects, next) = self.read_page(request, cursor).await?;
        Ok(ReadPage { objects, next, watermark, source_time: None })
    }

    async fn changes(&self, request: &ReadRequest, position: &Position) -> Result<ChangePage, Error> {
        let table = self.table_type(&request.object_type).await?;
        let Some(follow) = table.follow.clone() else {
            return Err(Error::Unsupported(format!("changes of {} without `changes`", request.object_type)));
        };
        let turn = match position {
            Position::Page(cursor) => Turn::read(cursor)?,
            Position::Start(watermark) => {
                let marks = watermark.as_ref().map(Marks::read).transpose()?.unwrap_or_default();
                self.begin_turn(&table, &follow, marks).await?
            }
        };
        let page = match &follow.way {
            Way::Column(column) => self.changed_rows(&table, column, request, turn).await,
            Way::Table(changes) => self.told_by_table(&table, changes, request, turn).await,
            Way::Tracking => self.tracked(&table, request, turn).await,
        };
        let (entries, next) = page.map_err(|problem| self.told(problem))?;
        Ok(ChangePage { entries, next, source_time: None })
    }

    async fn get(&self, request: &ReadRequest, keys: &[Key]) -> Result<Vec<Option<SourceObject>>, Error> {
        let table = self.table_type(&request.object_type).await?;
        let anchor = table.object_type.anchor.attributes.clone();
        let tuples: Vec<Vec<Value>> = keys.iter().map(|key| key.0.clone()).collect();
        if tuples.iter().any(|tuple| tuple.len() != anchor.len()) {
            return Err(Error::Bug(format!("a key of {} needs {} values", request.object_type, anchor.len())));
        }
        let found = self.look_up(request, &anchor, &tuples).await?;
        let is_there: Vec<bool> = found.iter().map(|objects| !objects.is_empty()).collect();
        let rows = found.into_iter().filter_map(|objects| objects.into_iter().next()).collect();
        let mut objects = self.whole(&table, request, rows, true).await?.into_iter();
        // What was asked for by this key is told by it, however the database spells it.
        let told = keys.iter().zip(is_there).map(|(key, is_there)| {
            is_there.then(|| objects.next()).flatten().map(|object| SourceObject { key: key.clone(), ..object })
        });
        Ok(told.collect())
    }
}

impl SqlConnector {
    /// Notes the greatest value of now.
    async fn looked_at(&self, table: &TableType, follow: &Follow, mut marks: Marks) -> Result<Marks, Problem> {
        let now = Utc::now();
        let mut session = self.database.begin(false).await?;
        let value = match &follow.way {
            Way::Column(column) => {
                let rows = table.belonging.and_constants("t");
                self.greatest(session.as_mut(), &table.table, column, &rows, now + AHEAD).await?
            }
            Way::Table(changes) => {
                self.greatest(session.as_mut(), &changes.table, &changes.sequence, "", now + AHEAD).await?
            }
            Way::Tracking => session
                .query(sql!("SELECT {}", self.database.tracking_version()))
                .await?
                .pop()
                .and_then(|mut row| row.pop()?),
        };
        session.commit().await?;
        let overlap = if matches!(follow.way, Way::Tracking) { Duration::ZERO } else { follow.overlap };
        marks.observe(value.as_deref(), now.timestamp_millis(), now.timestamp_millis(), overlap);
        Ok(marks)
    }

    async fn greatest(
        &self,
        session: &mut dyn Session,
        table: &Table,
        column: &Column,
        rows: &str,
        latest: chrono::DateTime<Utc>,
    ) -> Result<Text, Failure> {
        let name = table.quoted(&column.name);
        let text = self.database.read_expression(&format!("max(t.{name})"), &column.native);
        let first = |rows: Vec<Vec<Text>>| rows.into_iter().next().and_then(|row| row.into_iter().next()).flatten();
        let from = &table.name;
        let greatest =
            first(session.query(sql!("SELECT {text} FROM {from} AS t WHERE t.{name} IS NOT NULL{rows}")).await?);
        let value_type = column.value_type.unwrap_or(ValueType::Text);
        let limit = match value_type {
            ValueType::Instant => Value::Instant(latest),
            ValueType::Date => Value::Date(latest.date_naive()),
            _ => return Ok(greatest),
        };
        let decoded = greatest.clone().and_then(|text| crate::text::decode(Some(text), value_type).ok());
        let is_ahead = match decoded {
            Some(muster_model::Slot::One(Value::Instant(at))) => at > latest,
            Some(muster_model::Slot::One(Value::Date(day))) => day > latest.date_naive(),
            // Something like `infinity`.
            _ => greatest.is_some(),
        };
        if !is_ahead {
            return Ok(greatest);
        }
        let stage = Stage::new(self.database.temporary_schema(), vec![column.stage_type.clone()]);
        session.stage(&stage, &[StageRow { number: 0, group: 0, values: vec![Some(encode_value(&limit))] }]).await?;
        let staged = stage.column(0);
        let query = sql!("SELECT {text} FROM {from} AS t CROSS JOIN {stage} AS s WHERE t.{name} <= s.{staged}{rows}");
        Ok(first(session.query(query).await?))
    }

    async fn begin_turn(&self, table: &TableType, follow: &Follow, marks: Marks) -> Result<Turn, Error> {
        let known = marks.last().map(str::to_owned);
        if let Some(known) = &known
            && !self.is_kept(table, follow, known).await.map_err(|problem| self.told(problem))?
        {
            return Err(Error::Expired { expired: Expired::Watermark });
        }
        let as_text = self.database.times_are_texts();
        let from = |column: &Column| {
            marks::start(&marks, follow.overlap, column.value_type.unwrap_or(ValueType::Text), as_text)
        };
        let start = match &follow.way {
            Way::Column(column) => from(column),
            Way::Table(changes) => from(&changes.sequence),
            Way::Tracking => known,
        };
        let next = self.looked_at(table, follow, marks).await.map_err(|problem| self.told(problem))?.watermark();
        Ok(Turn { next, start, undated: false, last: None })
    }

    /// Whether changes after this value can all still be told.
    async fn is_kept(&self, table: &TableType, follow: &Follow, known: &str) -> Result<bool, Problem> {
        match &follow.way {
            // Whoever removes old rows of a table of changes may have removed some that were not read.
            Way::Table(changes) => {
                let mut session = self.database.begin(false).await?;
                let stage = Stage::new(self.database.temporary_schema(), vec![changes.sequence.stage_type.clone()]);
                session.stage(&stage, &[StageRow { number: 0, group: 0, values: vec![Some(known.into())] }]).await?;
                let (sequence, from) = (changes.table.quoted(&changes.sequence.name), &changes.table.name);
                let (text, staged) = (
                    self.database.read_expression(&format!("t.{sequence}"), &changes.sequence.native),
                    stage.column(0),
                );
                let limit = self.database.limit(1);
                let earlier = session
                    .query(sql!(
                        "SELECT {text} FROM {from} AS t CROSS JOIN {stage} AS s WHERE t.{sequence} <= s.{staged} \
                         ORDER BY t.{sequence} {limit}"
                    ))
                    .await?;
                session.commit().await?;
                Ok(!earlier.is_empty())
            }
            Way::Tracking => {
                let mut session = self.database.begin(false).await?;
                let oldest = session.query(sql!("SELECT {}", self.database.tracking_begins(&table.table.name))).await?;
                session.commit().await?;
                let number = |text: &str| text.parse::<i64>().ok();
                let oldest = oldest.first().and_then(|row| number(row.first()?.as_deref()?));
                Ok(oldest.zip(number(known)).is_some_and(|(oldest, known)| known >= oldest))
            }
            Way::Column(_) => Ok(true),
        }
    }

    /// A page of rows whose column grew.
    async fn changed_rows(
        &self,
        table: &TableType,
        growing: &Column,
        request: &ReadRequest,
        mut turn: Turn,
    ) -> Result<(Vec<Entry>, Next), Problem> {
        let wanted = wanted(table, request)?;
        let anchor = &table.object_type.anchor.attributes;
        let keys = anchor.iter().map(|name| column(table, name)).collect::<Result<Vec<_>, _>>()?;
        let grows = table.table.quoted(&growing.name);
        // A marked row tells that its object is gone.
        let mark = match table.belonging.unmarked("t") {
            Some(unmarked) => self.database.read_number(&format!("CASE WHEN {unmarked} THEN 0 ELSE 1 END")),
            None => self.database.read_number("0"),
        };
        let value = self.database.read_expression(&format!("t.{grows}"), &growing.native);
        let texts = self.texts(table, &wanted);
        let mut order: Vec<&Column> = if turn.undated { Vec::new() } else { vec![growing] };
        order.extend(keys);
        let names: Vec<Name> = order.iter().map(|column| table.table.quoted(&column.name)).collect();
        let after = turn.last.clone().or_else(|| turn.start.clone().filter(|_| !turn.undated).map(|start| vec![start]));
        let mut session = self.database.begin(false).await?;
        let is_dated = format!("t.{grows} IS {}NULL", if turn.undated { "" } else { "NOT " });
        let mut later = Later::anything(is_dated.clone());
        if let Some(after) = after {
            let types = order.iter().take(after.len()).map(|column| column.stage_type.clone()).collect();
            let names: Vec<Name> = names.iter().take(after.len()).cloned().collect();
            later = self.later(session.as_mut(), &names, types, texts_of(after)).await?.and(&is_dated);
        }
        let (name, limit, rows) =
            (&table.table.name, self.database.limit(PAGE), table.belonging.and_constants("t") + &table.and_has_key());
        let order = joined(names.iter().map(|name| format!("t.{name}")), ", ");
        let condition = &later.condition;
        let query =
            sql!("SELECT {mark}, {value}, {texts} FROM {name} AS t WHERE {condition}{rows} ORDER BY {order} {limit}");
        let found = later.query(session.as_mut(), query).await?;
        session.commit().await?;
        let is_full = found.len() >= PAGE;
        let (mut gone, mut there, mut last) = (Vec::new(), Vec::new(), None);
        for mut row in found {
            let mut texts = row.split_off(2);
            let value = row.pop().flatten();
            let is_gone = row.pop().flatten().as_deref() == Some("1");
            let key = self.key_of(table, texts.iter().take(anchor.len()).cloned().collect())?;
            let ordered = value.filter(|_| !turn.undated).into_iter().map(|value| value.to_string());
            last = Some(ordered.chain(key.0.iter().map(|value| encode_value(value).to_string())).collect::<Vec<_>>());
            if is_gone {
                gone.push(Entry { key, change: Change::Removed(Removal::Hard), edges: Vec::new() });
            } else {
                let object = read_object(table, &wanted, std::mem::take(&mut texts))?;
                there.push(with_gaps(table, request, object));
            }
        }
        let mut entries: Vec<Entry> = self.whole(table, request, there, true).await?.into_iter().map(entry).collect();
        entries.append(&mut gone);
        let next = if is_full {
            turn.last = last;
            Next::Page(turn.cursor())
        } else if !turn.undated && growing.nullable {
            (turn.undated, turn.last) = (true, None);
            Next::Page(turn.cursor())
        } else {
            Next::Done(turn.next)
        };
        Ok((entries, next))
    }

    /// A page of what a table of changes tells.
    async fn told_by_table(
        &self,
        table: &TableType,
        changes: &ChangeTable,
        request: &ReadRequest,
        turn: Turn,
    ) -> Result<(Vec<Entry>, Next), Problem> {
        let columns: Vec<&Column> = [&changes.sequence].into_iter().chain(&changes.key).collect();
        let told = Told {
            from: changes.table.name.to_string(),
            names: columns.iter().map(|column| changes.table.quoted(&column.name)).collect(),
            columns,
            before_key: 1,
            after: turn.last.clone().or_else(|| turn.start.clone().map(|start| vec![start])),
        };
        self.told_keys(table, told, request, turn).await
    }

    /// A page of what SQL Server's change tracking tells.
    async fn tracked(
        &self,
        table: &TableType,
        request: &ReadRequest,
        turn: Turn,
    ) -> Result<(Vec<Entry>, Next), Problem> {
        let anchor = &table.object_type.anchor.attributes;
        let columns = anchor.iter().map(|name| column(table, name)).collect::<Result<Vec<_>, _>>()?;
        // It was a number when it was read, and nothing else becomes SQL.
        let since: i64 = turn.start.as_deref().and_then(|start| start.parse().ok()).unwrap_or(0);
        let told = Told {
            from: format!("CHANGETABLE(CHANGES {}, {since})", table.table.name),
            names: columns.iter().map(|column| table.table.quoted(&column.name)).collect(),
            columns,
            before_key: 0,
            after: turn.last.clone(),
        };
        self.told_keys(table, told, request, turn).await
    }

    /// A page of keys that something tells, with what there is now of them.
    async fn told_keys(
        &self,
        table: &TableType,
        told: Told<'_>,
        request: &ReadRequest,
        mut turn: Turn,
    ) -> Result<(Vec<Entry>, Next), Problem> {
        let Told { from, columns, names, before_key, after } = told;
        let read = columns.iter().zip(&names);
        let read = read.map(|(column, name)| self.database.read_expression(&format!("t.{name}"), &column.native));
        let texts = joined(read, ", ");
        let given = joined(names.iter().map(|name| format!("t.{name} IS NOT NULL")), " AND ");
        let mut session = self.database.begin(false).await?;
        let mut later = Later::anything(given.clone());
        if let Some(after) = after {
            let types = columns.iter().take(after.len()).map(|column| column.stage_type.clone()).collect();
            let names: Vec<Name> = names.iter().take(after.len()).cloned().collect();
            later = self.later(session.as_mut(), &names, types, texts_of(after)).await?.and(&given);
        }
        let (limit, condition) = (self.database.limit(PAGE), &later.condition);
        let order = joined(names.iter().map(|name| format!("t.{name}")), ", ");
        let query = sql!("SELECT {texts} FROM {from} AS t WHERE {condition} ORDER BY {order} {limit}");
        let found = later.query(session.as_mut(), query).await?;
        session.commit().await?;
        let is_full = found.len() >= PAGE;
        let last =
            found.last().map(|row| row.iter().map(|text| text.as_deref().unwrap_or_default().to_owned()).collect());
        let keys = found
            .into_iter()
            .map(|mut row| self.key_of(table, row.split_off(before_key)))
            .collect::<Result<Vec<_>, _>>()?;
        let entries = self.now_of(request, keys).await?;
        if is_full {
            turn.last = last;
            return Ok((entries, Next::Page(turn.cursor())));
        }
        Ok((entries, Next::Done(turn.next)))
    }

    /// What there is now of these keys.
    async fn now_of(&self, request: &ReadRequest, mut keys: Vec<Key>) -> Result<Vec<Entry>, Error> {
        let mut known = HashSet::with_capacity(keys.len());
        keys.retain(|key| known.insert(key.encode()));
        let objects = self.get(request, &keys).await?;
        let gone = |key| Entry { key, change: Change::Removed(Removal::Hard), edges: Vec::new() };
        Ok(keys.into_iter().zip(objects).map(|(key, object)| object.map_or_else(|| gone(key), entry)).collect())
    }
}

fn texts_of(values: Vec<String>) -> Vec<Text> {
    values.into_iter().map(|value| Some(value.into())).collect()
}

fn entry(object: SourceObject) -> Entry {
    Entry { key: object.key, change: Change::Whole(object.row), edges: object.edges }
}
