//! Handing over rows.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use muster_connector::{
    ChangePage, Cursor, EdgeChange, Error, Expired, Position, ReadPage, ReadRequest, Source, SourceObject,
};
use muster_model::{Key, Row, Slot, Value};

use crate::config::TypeSettings;
use crate::connector::{CsvConnector, unreachable};
use crate::schema::ENABLED;
use crate::snapshot::{Cells, Snapshot};

/// How many rows a page has.
const PAGE: usize = 2_000;

#[async_trait]
impl Source for CsvConnector {
    async fn read(&self, request: &ReadRequest, cursor: Option<&Cursor>) -> Result<ReadPage, Error> {
        let settings = self.settings_of(&request.object_type)?;
        let (snapshot, first) = match cursor {
            None => (self.snapshot(&request.object_type, true).await?, 0),
            Some(Cursor(token)) => {
                let expired = || Error::Expired { expired: Expired::Cursor };
                let token = std::str::from_utf8(token).map_err(|_| expired())?;
                let (fingerprint, row) = token.split_once(' ').ok_or_else(expired)?;
                let snapshot = match self.kept(&request.object_type, fingerprint) {
                    Some(snapshot) => snapshot,
                    None => self.snapshot(&request.object_type, false).await?,
                };
                // Another content is another list of people: the round begins again.
                if snapshot.fingerprint != fingerprint {
                    return Err(expired());
                }
                (snapshot, row.parse::<usize>().map_err(|_| expired())?)
            }
        };
        let last = first.saturating_add(PAGE).min(snapshot.len());
        let layout = Layout::new(settings, &snapshot, request)?;
        let objects = (first..last).filter_map(|number| layout.object(&snapshot, &snapshot.row(number)?));
        let objects = objects.collect();
        let next = (last < snapshot.len()).then(|| Cursor(format!("{} {last}", snapshot.fingerprint).into_bytes()));
        match &next {
            Some(_) => self.keep(&request.object_type, &snapshot),
            None => self.forget(&request.object_type),
        }
        Ok(ReadPage { objects, next, watermark: None, source_time: None })
    }

    async fn changes(&self, _: &ReadRequest, _: &Position) -> Result<ChangePage, Error> {
        Err(Error::Unsupported("changes of a file, which is read as a whole and compared".to_owned()))
    }

    async fn get(&self, request: &ReadRequest, keys: &[Key]) -> Result<Vec<Option<SourceObject>>, Error> {
        let settings = self.settings_of(&request.object_type)?;
        let snapshot = self.snapshot(&request.object_type, false).await?;
        let layout = Layout::new(settings, &snapshot, request)?;
        Ok(keys.iter().map(|key| layout.object(&snapshot, &snapshot.find(key)?)).collect())
    }
}

/// What to make of a row's cells, for each attribute that was asked for.
struct Layout<'a> {
    wanted: Vec<Wanted<'a>>,
}

enum Wanted<'a> {
    /// A column's position, what stands between its values, and the type that they name.
    Column(usize, Option<&'a str>, Option<Arc<str>>),
    /// Enabled with these values of the column, in lower case.
    Enabled(usize, Vec<String>),
}

impl<'a> Layout<'a> {
    /// A column that is not there is told, and not taken for empty: what is empty is cleared, or enabled.
    fn new(settings: &'a TypeSettings, snapshot: &Snapshot, request: &ReadRequest) -> Result<Self, Error> {
        let position = |name: &str| {
            let found = snapshot.names.iter().position(|column| column == name);
            found.ok_or_else(|| {
                unreachable(format!("the file of {} has no column {name:?} any more", request.object_type))
            })
        };
        let wanted = request.attributes.iter().map(|name| {
            if let Some(enabled) = settings.enabled.as_ref().filter(|_| name == ENABLED) {
                let values = enabled.values.iter().map(|value| value.trim().to_lowercase()).collect();
                return Ok(Wanted::Enabled(position(&enabled.column)?, values));
            }
            let more = settings.columns.get(name);
            let separator = more.and_then(|more| more.separator.as_deref());
            let references = more.and_then(|more| more.references.as_deref()).map(Arc::from);
            Ok(Wanted::Column(position(name)?, separator, references))
        });
        Ok(Self { wanted: wanted.collect::<Result<_, Error>>()? })
    }

    fn object(&self, snapshot: &Snapshot, cells: &Cells) -> Option<SourceObject> {
        let cell = |at: &usize| cells.get(*at).and_then(Option::as_deref);
        let mut edges = Vec::new();
        let slots = self.wanted.iter().enumerate().map(|(attribute, wanted)| match wanted {
            Wanted::Enabled(at, values) => {
                let value = cell(at).map(|text| text.trim().to_lowercase());
                Slot::One(Value::Boolean(value.is_some_and(|value| values.contains(&value))))
            }
            Wanted::Column(at, separator, references) => {
                let texts: BTreeSet<&str> = match (cell(at), separator) {
                    (None, _) => BTreeSet::new(),
                    (Some(text), None) => [text].into(),
                    (Some(text), Some(separator)) => {
                        text.split(separator).map(str::trim).filter(|part| !part.is_empty()).collect()
                    }
                };
                if let Some(object_type) = references {
                    edges.extend(texts.iter().map(|text| EdgeChange {
                        attribute,
                        object_type: object_type.clone(),
                        referenced: Key::text(text),
                        removed: false,
                    }));
                }
                match (separator, cell(at)) {
                    (Some(_), _) => Slot::many(texts.iter().map(|text| Value::text(text)).collect()),
                    (None, Some(text)) => Slot::text(text),
                    (None, None) => Slot::Null,
                }
            }
        });
        let row = Row(slots.collect());
        Some(SourceObject { key: snapshot.key(cells)?, row, edges, continues: false })
    }
}

impl CsvConnector {
    fn settings_of(&self, object_type: &str) -> Result<&TypeSettings, Error> {
        let missing = || unreachable(format!("there is no object type {object_type:?}"));
        self.settings.types.get(object_type).ok_or_else(missing)
    }
}
