//! Reading objects back, asked for in bulk through the staging table.

use muster_connector::{Error, FoundObject, ReadRequest};
use muster_model::{Key, Row, Slot, Value, ValueType};

use crate::catalog::Column;
use crate::connector::SqlConnector;
use crate::database::{StageRow, Text};
use crate::error::{Class, Failure};
use crate::schema::TableType;
use crate::statement::{Stage, joined, sql};
use crate::text::{decode, encode_value};

/// Found objects for each tuple asked for.
pub(crate) type Found = Vec<Vec<FoundObject>>;

impl SqlConnector {
    /// For each tuple, at most two objects whose columns `by` equal it.
    pub(crate) async fn look_up(
        &self,
        request: &ReadRequest,
        by: &[String],
        tuples: &[Vec<Value>],
    ) -> Result<Found, Error> {
        let table = self.table_type(&request.object_type).await?;
        let wanted = wanted(&table, request)?;
        let columns = by.iter().map(|name| column(&table, name)).collect::<Result<Vec<_>, _>>()?;
        let mut found: Found = Vec::with_capacity(tuples.len());
        let mut rest: Vec<&[Vec<Value>]> = vec![tuples];
        while let Some(some) = rest.pop() {
            match self.look_up_together(&table, &wanted, &columns, some).await {
                Ok(objects) => found.extend(objects.into_iter().map(|objects| {
                    objects.into_iter().map(|object| with_gaps(&table, request, object)).collect::<Vec<_>>()
                })),
                // What a column cannot even hold is in no row. Which tuple it is, is found by halves.
                Err(failure) if failure.blames_a_row() && some.len() > 1 => {
                    let (first, second) = some.split_at(some.len() / 2);
                    rest.push(second);
                    rest.push(first);
                }
                Err(failure) if failure.blames_a_row() => found.push(Vec::new()),
                Err(failure) => return Err(self.failed(failure)),
            }
        }
        Ok(found)
    }

    async fn look_up_together(
        &self,
        table: &TableType,
        wanted: &[(&Column, ValueType)],
        columns: &[&Column],
        tuples: &[Vec<Value>],
    ) -> Result<Found, Failure> {
        let types = columns.iter().map(|column| column.stage_type.clone()).collect();
        let stage = Stage::new(self.database.temporary_schema(), types);
        let mut found: Found = vec![Vec::new(); tuples.len()];
        // A text that cannot be stored cannot be found either.
        let storable = |values: &&Vec<Value>| values.iter().all(|value| self.database.refuses(value).is_none());
        let rows: Vec<StageRow> = tuples
            .iter()
            .enumerate()
            .filter(|(_, values)| storable(values))
            .map(|(number, values)| {
                let values = values.iter().map(|value| Some(encode_value(value))).collect();
                StageRow { number, group: 0, values }
            })
            .collect();
        if rows.is_empty() {
            return Ok(found);
        }
        let read = joined(
            wanted.iter().enumerate().map(|(position, (column, _))| {
                let text =
                    self.database.read_expression(&format!("t.{}", table.table.quoted(&column.name)), &column.native);
                format!("{text} AS c{position}")
            }),
            ", ",
        );
        let same = joined(
            columns.iter().enumerate().map(|(position, column)| {
                format!("t.{} = s.{}", table.table.quoted(&column.name), stage.column(position))
            }),
            " AND ",
        ) + &table.belonging.and("t");
        let names = joined((0..wanted.len()).map(|position| format!("d.c{position}")), ", ");
        let number = self.database.read_number("d.n");
        let query = sql!(
            "SELECT {number}, {names} FROM (SELECT s.n AS n, row_number() OVER (PARTITION BY s.n ORDER BY s.n) AS r, {read} \
             FROM {stage} AS s JOIN {} AS t ON {same}) AS d WHERE d.r <= 2",
            table.table.name
        );
        let mut session = self.database.begin(false).await?;
        session.stage(&stage, &rows).await?;
        if table.table.has_key(columns.iter().map(|column| column.name.as_str())) {
            session.join_by_index().await?;
        }
        let answer = session.query(query).await?;
        session.commit().await?;
        for mut row in answer {
            let values = row.split_off(1);
            let number = row.first().and_then(|number| number.as_deref()?.parse::<usize>().ok());
            let object = read_object(table, wanted, values)?;
            if let Some(objects) = number.and_then(|number| found.get_mut(number)) {
                objects.push(object);
            }
        }
        Ok(found)
    }
}

pub(crate) fn column<'a>(table: &'a TableType, name: &str) -> Result<&'a Column, Error> {
    table.table.column(name).ok_or_else(|| {
        Failure::new(Class::NotThere, format!("table {} has no column {name:?}", table.table.name)).error(true)
    })
}

/// The column that an attribute's values are staged for: its own, or that of the table of its values.
pub(crate) fn staged_column<'a>(table: &'a TableType, name: &str) -> Result<&'a Column, Error> {
    let child = table.children.get(name).and_then(|child| child.table.column(&child.value));
    child.map_or_else(|| column(table, name), Ok)
}

/// Puts an unknown slot where an attribute of several values was asked for, which no row holds.
pub(crate) fn with_gaps(table: &TableType, request: &ReadRequest, mut object: FoundObject) -> FoundObject {
    if table.children.is_empty() {
        return object;
    }
    let mut found = std::mem::take(&mut object.row.0).into_iter();
    let slots = request.attributes.iter().map(|name| match table.children.contains_key(name) {
        true => Slot::Unknown,
        false => found.next().unwrap_or_default(),
    });
    object.row = Row(slots.collect());
    object
}

/// The anchor's columns, then those asked for that hold one value, with the types that Muster takes them for.
pub(crate) fn wanted<'a>(table: &'a TableType, request: &ReadRequest) -> Result<Vec<(&'a Column, ValueType)>, Error> {
    let single = request.attributes.iter().filter(|name| !table.children.contains_key(*name));
    let names = table.object_type.anchor.attributes.iter().chain(single);
    names
        .map(|name| {
            let own = table.words.as_ref().filter(|words| words.column == *name).map(|words| words.value_type);
            let shown = || table.object_type.attribute(name).map_or(ValueType::Text, |attribute| attribute.value_type);
            Ok((column(table, name)?, own.unwrap_or_else(shown)))
        })
        .collect()
}

pub(crate) fn read_object(
    table: &TableType,
    wanted: &[(&Column, ValueType)],
    values: Vec<Text>,
) -> Result<FoundObject, Failure> {
    let width = table.object_type.anchor.attributes.len();
    let mut slots = Vec::with_capacity(values.len());
    for (position, ((column, value_type), value)) in wanted.iter().zip(values).enumerate() {
        match decode(value, *value_type) {
            Ok(slot) => slots.push(match table.words.as_ref().filter(|words| words.column == column.name) {
                Some(words) => words.read(&slot),
                None => slot,
            }),
            // Something the type has no word for, such as `infinity`: one odd value must not hide its neighbours.
            Err(_) if position >= width => slots.push(Slot::Unknown),
            Err(problem) => {
                let message = format!("table {}, column {:?}: {problem}", table.table.name, column.name);
                return Err(Failure::new(Class::Bug, message));
            }
        }
    }
    let row = slots.split_off(width);
    Ok(FoundObject { key: key(slots), row: Row(row), version: None })
}

pub(crate) fn key(slots: Vec<Slot>) -> Key {
    let values = slots.into_iter().filter_map(|slot| match slot {
        Slot::One(value) => Some(value),
        _ => None,
    });
    Key(values.collect())
}
