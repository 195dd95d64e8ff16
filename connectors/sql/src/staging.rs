//! A batch as it is staged: whose rows go to which group, and what their columns are called there.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use muster_connector::{Batch, Error, ExposeSecret as _, Kind, Operation, Outcome};
use muster_model::{Key, Slot, Value};

use crate::apply::{Group, Verb, Writing, rejected};
use crate::connector::SqlConnector;
use crate::database::{StageRow, Text};
use crate::error::{Class, Failure};
use crate::find::{key, staged_column};
use crate::own_writing::purposes;
use crate::schema::TableType;
use crate::statement::{Name, Stage, joined};
use crate::text::{decode, encode_value};
use crate::values::changed;

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

/// What an operation writes: an object, or one of its values. Its texts are made when they are sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WrittenRow<'a> {
    pub(crate) number: usize,
    pub(crate) group: usize,
    operation: &'a Operation,
    /// The attribute and its value, where one is added or removed.
    single: Option<(usize, &'a Value)>,
}

impl<'a> WrittenRow<'a> {
    /// All that it may write, and by what it is found.
    pub(crate) fn values(&self) -> impl Iterator<Item = &'a Value> {
        let operation = self.operation;
        let (single, whole) = match self.single {
            Some((_, value)) => (Some(value), &[][..]),
            None => (None, operation.row.0.as_slice()),
        };
        let keys = operation.key.iter().flat_map(|key| &key.0).chain(new_key(operation));
        let expected = operation.expected.iter().map(|(_, value)| value);
        keys.chain(single).chain(whole.iter().filter_map(Slot::value)).chain(expected)
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

/// The values of the key that a rename gives.
fn new_key(operation: &Operation) -> &[Value] {
    match &operation.kind {
        Kind::Rename { to } => &to.0,
        _ => &[],
    }
}

fn identifying(operation: &Operation) -> Option<usize> {
    let applies = operation.kind != Kind::Create;
    operation.expected.as_ref().filter(|_| applies).map(|(position, _)| *position)
}

/// What one statement can carry out; in the order in which groups take effect.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct GroupKind {
    verb: Verb,
    shape: Vec<usize>,
    known_by: Option<usize>,
}

/// Positions of operations by what carries them out. Most operations are like one of the last.
#[derive(Default)]
struct Groups(Vec<(GroupKind, Vec<usize>)>);

impl Groups {
    /// Adds an operation; those of one batch come in the order of their positions.
    fn add(
        &mut self,
        verb: Verb,
        shape: &(impl Iterator<Item = usize> + Clone),
        known_by: Option<usize>,
        position: usize,
    ) {
        let is_it = |(kind, _): &(GroupKind, Vec<usize>)| {
            kind.verb == verb && kind.known_by == known_by && kind.shape.iter().copied().eq(shape.clone())
        };
        let at = self.0.iter().rposition(is_it).unwrap_or_else(|| {
            self.0.push((GroupKind { verb, shape: shape.clone().collect(), known_by }, Vec::new()));
            self.0.len() - 1
        });
        if let Some((_, members)) = self.0.get_mut(at)
            && members.last() != Some(&position)
        {
            members.push(position);
        }
    }

    fn in_order(mut self) -> impl Iterator<Item = (GroupKind, Vec<usize>)> {
        self.0.sort_unstable();
        self.0.into_iter()
    }
}

impl<'a> Writing<'a> {
    pub(crate) fn new(connector: &'a SqlConnector, table: &'a TableType, batch: &'a Batch) -> Result<Self, Error> {
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
            direct: false,
            longest_row: 0,
            own: Vec::new(),
            secret: BTreeSet::new(),
        };
        let mut groups = Groups::default();
        let plain = writing.plain();
        for (position, operation) in batch.operations.iter().enumerate() {
            let verb = verb(operation)?;
            let is_plain = || plain.iter().zip(&operation.row.0).all(|(plain, slot)| writing.is_plain(*plain, slot));
            let is_fit = operation.deltas.is_empty() && writing.has_plain_keys(operation) && is_plain();
            debug_assert!(!is_fit || writing.unfit(operation).is_none(), "what is plain is fit");
            if !is_fit && let Some(outcome) = writing.unfit(operation) {
                writing.outcomes.insert(position, outcome);
                continue;
            }
            let known = |(position, slot): (usize, &Slot)| (!slot.is_unknown()).then_some(position);
            let written = operation.row.0.iter().take(if verb == Verb::Delete { 0 } else { usize::MAX });
            let own = purposes(table, batch, operation);
            if own.is_empty() {
                groups.add(verb, &written.enumerate().filter_map(known), identifying(operation), position);
            } else {
                writing.own.push((position, own));
            }
            for (attribute, verb, _) in changed(operation) {
                groups.add(verb, &std::iter::once(attribute), None, position);
            }
        }
        for (number, (kind, members)) in groups.in_order().enumerate() {
            let GroupKind { verb, shape, known_by } = kind;
            for position in &members {
                let Some(operation) = batch.operations.get(*position) else { continue };
                writing.check_keys(operation)?;
                let row = WrittenRow { number: *position, group: number, operation, single: None };
                if matches!(verb, Verb::AddValues | Verb::RemoveValues) {
                    let values = changed(operation).filter(|(of, does, _)| *does == verb && shape.first() == Some(of));
                    let single = |(of, _, value)| WrittenRow { single: Some((of, value)), ..row };
                    writing.rows.extend(values.map(single));
                } else {
                    writing.rows.push(row);
                }
            }
            // In order, so that the set is made at once.
            writing.groups.push(Group { number, verb, shape, known_by, members: members.into_iter().collect() });
        }
        Ok(writing)
    }

    /// Of each attribute whether any one value can be staged that the engine stores.
    fn plain(&self) -> Vec<bool> {
        let is_plain = |name: &String| {
            let choices = self.table.table.column(name).and_then(|column| column.choices.as_ref());
            choices.is_none() && !self.table.children.contains_key(name)
        };
        self.batch.attributes.iter().map(is_plain).collect()
    }

    fn is_plain(&self, plain: bool, slot: &Slot) -> bool {
        match slot {
            Slot::Unknown => true,
            Slot::Null => plain,
            Slot::One(value) => plain && self.connector.database.refuses(value).is_none(),
            Slot::Many(_) => false,
        }
    }

    fn has_plain_keys(&self, operation: &Operation) -> bool {
        let key = operation.key.iter().flat_map(|key| &key.0);
        key.chain(new_key(operation)).all(|value| self.connector.database.refuses(value).is_none())
    }

    /// What an operation is answered that cannot be staged as it is. Most are told to be fit by less.
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
        let anchor = &self.table.object_type.anchor.attributes;
        let keys = anchor.iter().cycle().zip(key.chain(new_key(operation)));
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

    fn check_keys(&self, operation: &Operation) -> Result<(), Error> {
        if operation.key.is_none() && operation.kind != Kind::Create {
            return Err(Error::Bug(format!("operation {} has no key", operation.id)));
        }
        let new_key = match &operation.kind {
            Kind::Rename { to } => Some(to),
            _ => None,
        };
        let width = self.key_width();
        if operation.key.iter().chain(new_key).any(|key| key.0.len() != width) {
            return Err(Error::Bug(format!("operation {}: a key needs {width} values", operation.id)));
        }
        Ok(())
    }

    /// What a row has in a column of the stage: its key, its attributes, its new key, and by what it is known besides.
    pub(crate) fn cell(&self, row: &WrittenRow<'a>, column: usize) -> Option<&'a Value> {
        let (width, attributes) = (self.key_width(), self.batch.attributes.len());
        let operation = row.operation;
        let Some(attribute) = column.checked_sub(width) else { return operation.key.as_ref()?.0.get(column) };
        match (row.single, attribute.checked_sub(attributes), &operation.kind) {
            (Some((of, value)), ..) => (of == attribute).then_some(value),
            (None, None, _) => operation.row.slot(attribute).value(),
            (None, Some(part), Kind::Rename { to }) if part < width => to.0.get(part),
            (None, Some(part), _) => {
                let known_by = self.known_by.get(part.checked_sub(width)?)?;
                let (attribute, value) = operation.expected.as_ref()?;
                (attribute == known_by).then_some(value)
            }
        }
    }

    pub(crate) fn staged_row(&self, row: &WrittenRow<'a>) -> StageRow {
        let columns = 0..self.stage.types.len();
        let values = columns.map(|column| self.cell(row, column).map(encode_value)).collect();
        StageRow { number: row.number, group: row.group, values }
    }

    pub(crate) fn staged_rows(&self) -> Vec<StageRow> {
        self.rows.iter().map(|row| self.staged_row(row)).collect()
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

    /// `t.key = s.key` for all columns of the anchor, among the type's own rows.
    pub(crate) fn same_key(&self) -> String {
        let same = self.anchor().enumerate();
        let same = same.map(|(position, name)| format!("t.{name} = s.{}", self.stage.column(position)));
        joined(same, " AND ") + &self.table.belonging.and("t")
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
        let attribute = group.shape.iter().copied().find(is_it).map(|position| self.staged(position));
        attribute.or_else(|| {
            let given = group.verb == Verb::Create && self.gives_keys(group);
            let position = self.table.object_type.anchor.attributes.iter().position(|name| name == column)?;
            given.then(|| self.stage.column(position))
        })
    }

    /// Whether the new rows of a group come with keys of their own, beside their attributes.
    pub(crate) fn gives_keys(&self, group: &Group) -> bool {
        let first = group.members.first().and_then(|position| self.batch.operations.get(*position));
        first.is_some_and(|operation| operation.key.is_some())
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
}
