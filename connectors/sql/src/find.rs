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
        let stage = Stage::new(columns.iter().map(|column| column.native.clone()).collect());
        let mut rows = Vec::with_capacity(tuples.len());
        for (number, values) in tuples.iter().enumerate() {
            let values = values.iter().map(|value| Some(encode_value(value))).collect();
            rows.push(StageRow { number, group: 0, values });
        }
        let read = joined(
            wanted
                .iter()
                .map(|(column, _)| self.database.read_expression(&format!("t.{}", column.quoted()), &column.native)),
            ", ",
        );
        let same = joined(
            columns
                .iter()
                .enumerate()
                .map(|(position, column)| format!("t.{} = s.{}", column.quoted(), stage.column(position))),
            " AND ",
        );
        let query = sql!(
            "SELECT CAST(s.n AS text), {read} FROM {} AS s JOIN {} AS t ON {same} ORDER BY s.n",
            stage.name,
            table.table.name
        );
        let answer = async {
            let mut session = self.database.begin(false).await?;
            session.stage(&stage, &rows).await?;
            let answer = session.query(query).await?;
            session.commit().await?;
            Ok(answer)
        };
        let answer = answer.await.map_err(|failure: Failure| self.failed(failure))?;
        let mut found: Found = vec![Vec::new(); tuples.len()];
        for mut row in answer {
            let values = row.split_off(1);
            let number = row.first().and_then(|number| number.as_deref()?.parse::<usize>().ok());
            let object = read_object(&table, &wanted, values)?;
            if let Some(objects) = number.and_then(|number| found.get_mut(number)).filter(|objects| objects.len() < 2) {
                objects.push(object);
            }
        }
        Ok(found)
    }
}

fn column<'a>(table: &'a TableType, name: &str) -> Result<&'a Column, Error> {
    table.table.column(name).ok_or_else(|| {
        Failure::new(Class::NotThere, format!("table {} has no column {name:?}", table.table.name)).error(true)
    })
}

/// The anchor's columns, then those asked for, with the types that Muster takes them for.
fn wanted<'a>(table: &'a TableType, request: &ReadRequest) -> Result<Vec<(&'a Column, ValueType)>, Error> {
    let names = table.object_type.anchor.attributes.iter().chain(request.attributes.iter());
    names
        .map(|name| {
            let value_type =
                table.object_type.attribute(name).map_or(ValueType::Text, |attribute| attribute.value_type);
            Ok((column(table, name)?, value_type))
        })
        .collect()
}

fn read_object(table: &TableType, wanted: &[(&Column, ValueType)], values: Vec<Text>) -> Result<FoundObject, Error> {
    let mut slots = Vec::with_capacity(values.len());
    for ((column, value_type), value) in wanted.iter().zip(values) {
        let slot = decode(value, *value_type).map_err(|problem| {
            Error::Bug(format!("table {}, column {:?}: {problem}", table.table.name, column.name))
        })?;
        slots.push(slot);
    }
    let row = slots.split_off(table.object_type.anchor.attributes.len());
    Ok(FoundObject { key: key(slots), row: Row(row), version: None })
}

pub(crate) fn key(slots: Vec<Slot>) -> Key {
    let values = slots.into_iter().filter_map(|slot| match slot {
        Slot::One(value) => Some(value),
        _ => None,
    });
    Key(values.collect())
}
