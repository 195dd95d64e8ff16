//! Whole objects of a source: rows in the order of their keys, with the values of other tables and with references.

use std::collections::HashMap;
use std::sync::Arc;

use muster_connector::{Cursor, EdgeChange, Error, FoundObject, ReadRequest, SourceObject};
use muster_model::{Key, Slot, Value, ValueType};
use serde::{Deserialize, Serialize};

use crate::connector::SqlConnector;
use crate::database::{StageRow, Text};
use crate::error::Failure;
use crate::find::column;
use crate::list::{PAGE, Problem};
use crate::paging::Later;
use crate::relations::Child;
use crate::schema::TableType;
use crate::statement::{Name, Stage, joined, sql};
use crate::text::{decode, encode_value};

/// Where a full read goes on.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Place {
    /// Rows whose keys come after this one.
    Rows(Vec<u8>),
    /// References in a table of their own, by the attribute's name, after this owner and value.
    References { attribute: String, after: Option<(Vec<u8>, String)> },
}

impl Place {
    pub(crate) fn read(cursor: &Cursor) -> Result<Self, Error> {
        serde_json::from_slice(&cursor.0).map_err(|_| Error::Expired { expired: muster_connector::Expired::Cursor })
    }

    pub(crate) fn cursor(&self) -> Cursor {
        Cursor(serde_json::to_vec(self).unwrap_or_default())
    }
}

/// The attributes of a request that are references in tables of their own. They may be many.
fn of_references<'a>(
    table: &'a TableType,
    request: &'a ReadRequest,
) -> impl Iterator<Item = (usize, &'a str, &'a Child)> {
    children(table, request).filter(|(_, name, _)| refers(table, name))
}

fn children<'a>(table: &'a TableType, request: &'a ReadRequest) -> impl Iterator<Item = (usize, &'a str, &'a Child)> {
    (0..)
        .zip(request.attributes.iter())
        .filter_map(|(position, name)| Some((position, name.as_str(), table.children.get(name)?)))
}

fn refers(table: &TableType, name: &str) -> bool {
    table.object_type.attribute(name).is_some_and(|attribute| !attribute.references.is_empty())
}

impl SqlConnector {
    /// A page of a full read: rows first, then what they refer to in other tables.
    pub(crate) async fn read_page(
        &self,
        request: &ReadRequest,
        cursor: Option<&Cursor>,
    ) -> Result<(Vec<SourceObject>, Option<Cursor>), Error> {
        let table = self.table_type(&request.object_type).await?;
        match cursor.map(Place::read).transpose()? {
            Some(Place::References { attribute, after }) => {
                self.references_page(&table, request, &attribute, after).await.map_err(|problem| self.told(problem))
            }
            place => {
                let after = match place {
                    Some(Place::Rows(key)) => Some(
                        Key::decode(&key).map_err(|_| Error::Expired { expired: muster_connector::Expired::Cursor })?,
                    ),
                    _ => None,
                };
                let page = self.rows_after(&table, request, after).await.map_err(|problem| self.told(problem))?;
                let next = match page.next {
                    Some(Cursor(key)) => Some(Place::Rows(key)),
                    None => of_references(&table, request)
                        .next()
                        .map(|(_, name, _)| Place::References { attribute: name.to_owned(), after: None }),
                };
                let objects = self.whole(&table, request, page.objects, false).await?;
                Ok((objects, next.map(|place| place.cursor())))
            }
        }
    }

    /// Rows made whole: with their values of other tables, the references that they hold themselves, and, where asked
    /// for, those of other tables.
    pub(crate) async fn whole(
        &self,
        table: &TableType,
        request: &ReadRequest,
        rows: Vec<FoundObject>,
        with_references: bool,
    ) -> Result<Vec<SourceObject>, Error> {
        let mut objects: Vec<SourceObject> = rows
            .into_iter()
            .map(|found| SourceObject { key: found.key, row: found.row, edges: Vec::new(), continues: false })
            .collect();
        for (position, name) in (0..).zip(request.attributes.iter()) {
            if table.children.contains_key(name) || !refers(table, name) {
                continue;
            }
            let end = self.end(table, name).await?;
            for object in &mut objects {
                if let Some(Slot::One(value)) = object.row.0.get(position) {
                    object.edges.extend(end.edge(position, value));
                }
            }
        }
        let wanted: Vec<_> =
            children(table, request).filter(|(_, name, _)| with_references || !refers(table, name)).collect();
        if wanted.is_empty() || objects.is_empty() {
            return Ok(objects);
        }
        self.fill(table, &wanted, &mut objects).await.map_err(|problem| self.told(problem))?;
        Ok(objects)
    }

    /// Reads the values of these objects from other tables.
    async fn fill(
        &self,
        table: &TableType,
        wanted: &[(usize, &str, &Child)],
        objects: &mut [SourceObject],
    ) -> Result<(), Problem> {
        let anchor = &table.object_type.anchor.attributes;
        let types = anchor
            .iter()
            .map(|name| column(table, name).map(|column| column.stage_type.clone()))
            .collect::<Result<Vec<_>, _>>()?;
        let stage = Stage::new(self.database.temporary_schema(), types);
        let row = |(number, object): (usize, &SourceObject)| StageRow {
            number,
            group: 0,
            values: object.key.0.iter().map(|value| Some(encode_value(value))).collect(),
        };
        let rows: Vec<StageRow> = objects.iter().enumerate().map(row).collect();
        let mut ends = Vec::with_capacity(wanted.len());
        for (position, name, child) in wanted {
            let end = if refers(table, name) { Some(self.end(table, name).await?) } else { None };
            ends.push((*position, *name, *child, end));
        }
        let mut session = self.database.begin(false).await?;
        session.stage(&stage, &rows).await?;
        for (position, name, child, end) in ends {
            let Some(value) = child.table.column(&child.value) else { continue };
            let quoted = child.table.quoted(&child.value);
            let same = child
                .key
                .iter()
                .enumerate()
                .map(|(at, key)| format!("t.{} = s.{}", child.table.quoted(key), stage.column(at)));
            let same = joined(same, " AND ");
            let (number, text) = (
                self.database.read_number("s.n"),
                self.database.read_expression(&format!("t.{quoted}"), &value.native),
            );
            let (from, and) = (&child.table.name, child.belonging.and("t"));
            let found = session
                .query(sql!(
                    "SELECT {number}, {text} FROM {stage} AS s JOIN {from} AS t ON {same} WHERE t.{quoted} IS NOT NULL{and} \
                     ORDER BY s.n, t.{quoted}"
                ))
                .await?;
            let kind = value_type(table, name);
            let mut values: HashMap<usize, Vec<Value>> = HashMap::new();
            for row in found {
                let mut row = row.into_iter();
                let number = row.next().flatten().and_then(|number| number.parse::<usize>().ok());
                // Something the type has no word for must not hide its neighbours.
                let value = row.next().and_then(|text| decode(text, kind).ok());
                if let (Some(number), Some(Slot::One(value))) = (number, value) {
                    values.entry(number).or_default().push(value);
                }
            }
            for (number, object) in objects.iter_mut().enumerate() {
                let mut own = values.remove(&number).unwrap_or_default();
                match &end {
                    Some(end) => object.edges.extend(own.iter().filter_map(|value| end.edge(position, value))),
                    None => {
                        own.dedup();
                        if let Some(slot) = object.row.0.get_mut(position) {
                            *slot = Slot::many(own);
                        }
                    }
                }
            }
        }
        session.commit().await?;
        Ok(())
    }

    /// A page of references in a table of their own, of rows that belong to the type.
    async fn references_page(
        &self,
        table: &TableType,
        request: &ReadRequest,
        name: &str,
        after: Option<(Vec<u8>, String)>,
    ) -> Result<(Vec<SourceObject>, Option<Cursor>), Problem> {
        let gone = || Error::Expired { expired: muster_connector::Expired::Cursor };
        let (position, _, child) =
            of_references(table, request).find(|(_, known, _)| *known == name).ok_or_else(gone)?;
        let value = child.table.column(&child.value).ok_or_else(gone)?;
        let end = self.end(table, name).await?;
        let anchor = &table.object_type.anchor.attributes;
        let owners = anchor.iter().map(|name| column(table, name)).collect::<Result<Vec<_>, _>>()?;
        let keys: Vec<Name> = child.key.iter().chain([&child.value]).map(|column| child.table.quoted(column)).collect();
        let order = joined(keys.iter().map(|key| format!("t.{key}")), ", ");
        let owner_texts = owners
            .iter()
            .map(|column| (format!("o.{}", table.table.quoted(&column.name)), &column.native))
            .map(|(name, native)| self.database.read_expression(&name, native));
        let value_text =
            self.database.read_expression(&format!("t.{}", child.table.quoted(&child.value)), &value.native);
        let texts = joined(owner_texts.chain([value_text]), ", ");
        let same = joined(
            anchor
                .iter()
                .zip(&child.key)
                .map(|(own, key)| format!("o.{} = t.{}", table.table.quoted(own), child.table.quoted(key))),
            " AND ",
        );
        let mut session = self.database.begin(false).await?;
        let is_given = format!("t.{} IS NOT NULL", child.table.quoted(&child.value));
        let mut later = Later::anything(is_given.clone());
        if let Some((owner, value_after)) = after {
            let owner = Key::decode(&owner).map_err(|_| gone())?;
            let types =
                owners.iter().map(|column| column.stage_type.clone()).chain([value.stage_type.clone()]).collect();
            let values = owner.0.iter().map(encode_value).chain([Arc::from(value_after.as_str())]).map(Some).collect();
            later = self.later(session.as_mut(), &keys, types, values).await?.and(&is_given);
        }
        let (limit, ands) = (self.database.limit(PAGE), child.belonging.and("t") + &table.belonging.and("o"));
        let (values_of, own) = (&child.table.name, &table.table.name);
        let condition = &later.condition;
        let query = sql!(
            "SELECT {texts} FROM {values_of} AS t JOIN {own} AS o ON {same} WHERE {condition}{ands} ORDER BY {order} {limit}"
        );
        let rows = later.query(session.as_mut(), query).await?;
        session.commit().await?;
        let is_full = rows.len() >= PAGE;
        let mut objects: Vec<SourceObject> = Vec::new();
        let mut last = None;
        for mut row in rows {
            let Some(text) = row.pop().flatten() else { continue };
            let key = self.key_of(table, row)?;
            if let Ok(Slot::One(value)) = decode(Some(text.clone()), value_type(table, name))
                && let Some(edge) = end.edge(position, &value)
            {
                match objects.last_mut().filter(|object| object.key == key) {
                    Some(object) => object.edges.push(edge),
                    None => objects.push(SourceObject {
                        key: key.clone(),
                        row: muster_model::Row::default(),
                        edges: vec![edge],
                        continues: true,
                    }),
                }
            }
            last = Some((key.encode(), text.to_string()));
        }
        let next = match last.filter(|_| is_full) {
            Some(last) => Some(Place::References { attribute: name.to_owned(), after: Some(last) }),
            None => of_references(table, request)
                .skip_while(|(_, known, _)| *known != name)
                .nth(1)
                .map(|(_, name, _)| Place::References { attribute: name.to_owned(), after: None }),
        };
        Ok((objects, next.map(|place| place.cursor())))
    }

    /// The anchor that these texts are.
    pub(crate) fn key_of(&self, table: &TableType, texts: Vec<Text>) -> Result<Key, Failure> {
        let anchor = &table.object_type.anchor.attributes;
        let mut values = Vec::with_capacity(anchor.len());
        for (name, text) in anchor.iter().zip(texts) {
            match decode(text, value_type(table, name)) {
                Ok(Slot::One(value)) => values.push(value),
                _ => {
                    let message = format!("table {}: a row has no usable {name:?} in its key", table.table.name);
                    return Err(Failure::new(crate::error::Class::Bug, message));
                }
            }
        }
        Ok(Key(values))
    }

    /// What an attribute's values name.
    async fn end(&self, table: &TableType, name: &str) -> Result<End, Error> {
        let referenced = table.object_type.attribute(name).and_then(|attribute| attribute.references.first());
        let Some(referenced) = referenced else {
            return Err(Error::Bug(format!("{name:?} refers to nothing")));
        };
        let other = self.table_type(referenced).await?;
        let anchor = other.object_type.anchor.attributes.first().cloned().unwrap_or_default();
        Ok(End { object_type: referenced.as_str().into(), value_type: value_type(&other, &anchor) })
    }
}

fn value_type(table: &TableType, name: &str) -> ValueType {
    table.object_type.attribute(name).map_or(ValueType::Text, |attribute| attribute.value_type)
}

/// The type that a reference leads to, and the type of its key.
struct End {
    object_type: Arc<str>,
    value_type: ValueType,
}

impl End {
    /// The key is spelled as the other table spells it, since objects are told apart by their keys' bytes.
    fn edge(&self, attribute: usize, value: &Value) -> Option<EdgeChange> {
        let Ok(Slot::One(value)) = decode(Some(encode_value(value)), self.value_type) else { return None };
        let (object_type, referenced) = (self.object_type.clone(), Key(vec![value]));
        Some(EdgeChange { attribute, object_type, referenced, removed: false })
    }
}
