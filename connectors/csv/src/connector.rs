//! The CSV connector as the host sees it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use muster_connector::{
    CheckReport, Connector, ConnectorKind, ConnectorSettings, Description, Error, Source, Target, UsedType,
};
use muster_model::Schema;

use crate::config::{CsvSettings, TypeSettings};
use crate::pick::{Place, settled};
use crate::schema::object_type;
use crate::snapshot::{Form, Snapshot};
use crate::text;

/// How long a file must have been left alone before it is read.
const SETTLE: Duration = Duration::from_secs(2);
/// The largest file.
const LARGEST: u64 = 512 << 20;

/// Files of comma-separated values.
#[derive(Debug, Clone, Copy, Default)]
pub struct CsvKind;

impl ConnectorKind for CsvKind {
    fn describe(&self) -> Description {
        Description {
            kind: "csv".to_owned(),
            summary: "files of comma-separated values".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            settings: schemars::schema_for!(CsvSettings).to_value(),
        }
    }

    fn connect(&self, given: ConnectorSettings) -> Result<Arc<dyn Connector>, Error> {
        let settings: CsvSettings = given.parse()?;
        let mut readings = HashMap::new();
        for (name, one) in &settings.types {
            readings.insert(name.clone(), Reading::new(name, one, &settings, &given)?);
        }
        Ok(Arc::new(CsvConnector { settings, readings, kept: Mutex::default() }))
    }
}

/// How a type is read.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    pub(crate) place: Place,
    pub(crate) form: Form,
    encoding: Option<&'static encoding_rs::Encoding>,
    settle: Duration,
    largest: u64,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct CsvConnector {
    pub(crate) settings: CsvSettings,
    pub(crate) readings: HashMap<String, Reading>,
    /// Files that are being handed over page by page.
    kept: Mutex<HashMap<String, Arc<Snapshot>>>,
}

/// The file cannot be read now; nobody is to blame but the file.
pub(crate) fn unreachable(problem: String) -> Error {
    Error::Unreachable { problem, nothing_sent: true }
}

fn wrong(name: &str, setting: &str, problem: &str, fix: &str) -> Error {
    Error::Configuration {
        setting: Some(format!("types.{name}.{setting}")),
        problem: problem.to_owned(),
        fix: fix.to_owned(),
    }
}

/// One byte that separates or quotes.
fn symbol(name: &str, setting: &str, text: &str) -> Result<u8, Error> {
    match text.as_bytes() {
        b"tab" => Ok(b'\t'),
        [byte] if byte.is_ascii() && !matches!(byte, b'\r' | b'\n') => Ok(*byte),
        _ => Err(wrong(
            name,
            setting,
            &format!("{text:?} is not one character"),
            "write a character such as \";\", or \"tab\"",
        )),
    }
}

impl Reading {
    fn new(name: &str, one: &TypeSettings, all: &CsvSettings, given: &ConnectorSettings) -> Result<Self, Error> {
        let place = match (&one.file, &one.folder) {
            (Some(file), None) => Place::File(given.path(file)),
            (None, Some(folder)) => Place::Folder {
                folder: given.path(folder),
                pattern: one.pattern.clone().unwrap_or_else(|| "*.csv".to_owned()),
                newest_by: one.newest_by,
                archive: one.archive.as_deref().map(|path| given.path(path)),
            },
            _ => {
                return Err(wrong(
                    name,
                    "file",
                    "either a file or a folder is needed",
                    "set one of `file` and `folder`",
                ));
            }
        };
        if one.file.is_some() && (one.pattern.is_some() || one.archive.is_some()) {
            let problem = "`pattern` and `archive` belong to a folder";
            return Err(wrong(name, "folder", problem, "set `folder` in place of `file`"));
        }
        let delimiter = symbol(name, "delimiter", one.delimiter.as_deref().unwrap_or(","))?;
        let quote = match one.quote.as_deref() {
            Some("none") => None,
            quote => Some(symbol(name, "quote", quote.unwrap_or("\""))?),
        };
        if quote == Some(delimiter) {
            return Err(wrong(name, "quote", "it is the delimiter too", "give them different characters"));
        }
        let encoding = match one.encoding.as_deref() {
            None => None,
            Some(label) => Some(text::encoding(label).ok_or_else(|| {
                let fix = "use a name of the WHATWG Encoding Standard, such as \"windows-1252\" or \"utf-16le\"";
                wrong(name, "encoding", &format!("{label:?} is not known"), fix)
            })?),
        };
        let has_header = one.header.unwrap_or(true);
        if has_header != one.names.is_empty() {
            let fix = "set `names` where there is no header, and only there";
            return Err(wrong(name, "names", "a file has a header, or its columns are named here", fix));
        }
        if let Some(twice) =
            one.names.iter().enumerate().find(|(at, name)| one.names.iter().take(*at).any(|other| other == *name))
        {
            let problem = format!("{:?} stands there twice", twice.1);
            return Err(wrong(name, "names", &problem, "give each column a name of its own"));
        }
        for (column, more) in &one.columns {
            let setting = |what: &str| format!("columns.{column}.{what}");
            if more.separator.as_deref() == Some("") {
                return Err(wrong(name, &setting("separator"), "it is empty", "write what stands between the values"));
            }
            let Some(other) = &more.references else { continue };
            match all.types.get(other) {
                None => {
                    let known: Vec<&str> = all.types.keys().map(String::as_str).collect();
                    let problem =
                        format!("there is no type {other:?} in the connection; there are: {}", known.join(", "));
                    return Err(wrong(name, &setting("references"), &problem, "name one of them"));
                }
                Some(other) if other.key.len() != 1 => {
                    let problem = "that type's key has several columns, and one value cannot name it";
                    return Err(wrong(name, &setting("references"), problem, "leave `references` out"));
                }
                Some(_) => {}
            }
        }
        Ok(Self {
            place,
            form: Form {
                delimiter,
                quote,
                trim: one.trim.unwrap_or(true),
                names: (!has_header).then(|| one.names.clone()),
                null: one.null.clone(),
                key: one.key.clone(),
                skip_without_key: one.skip_without_key,
            },
            encoding,
            settle: one.settle.map_or(SETTLE, |span| span.0),
            largest: one.largest_file.unwrap_or(LARGEST),
        })
    }

    /// Reads the file, which takes a thread for a while.
    fn read(&self) -> Result<(PathBuf, Snapshot), String> {
        let path = self.place.newest()?;
        let told = |problem: String| format!("{}: {problem}", path.display());
        let bytes = settled(&path, self.settle, self.largest, std::thread::sleep)?;
        let text = text::decode(&bytes, self.encoding).map_err(told)?;
        drop(bytes);
        let snapshot = Snapshot::read(text, &self.form).map_err(told)?;
        Ok((path, snapshot))
    }
}

impl CsvConnector {
    /// The type's rows as they are now. `archives`: what is older is moved away.
    pub(crate) async fn snapshot(&self, object_type: &str, archives: bool) -> Result<Arc<Snapshot>, Error> {
        let reading = self.readings.get(object_type).cloned();
        let reading = reading.ok_or_else(|| unreachable(format!("there is no object type {object_type:?}")))?;
        let read = tokio::task::spawn_blocking(move || {
            let (path, snapshot) = reading.read()?;
            if archives {
                reading.place.archive(&path);
            }
            Ok::<_, String>(snapshot)
        });
        let read = read.await.map_err(|_| Error::Bug("the file could not be read".to_owned()))?;
        read.map(Arc::new).map_err(unreachable)
    }

    pub(crate) fn kept(&self, object_type: &str, fingerprint: &str) -> Option<Arc<Snapshot>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(object_type).filter(|snapshot| snapshot.fingerprint == fingerprint).cloned()
    }

    pub(crate) fn keep(&self, object_type: &str, snapshot: &Arc<Snapshot>) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).insert(object_type.to_owned(), snapshot.clone());
    }

    pub(crate) fn forget(&self, object_type: &str) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).remove(object_type);
    }
}

#[async_trait]
impl Connector for CsvConnector {
    async fn check(&self, used: &[UsedType]) -> Result<CheckReport, Error> {
        Ok(self.examined(used).await)
    }

    async fn schema(&self) -> Result<Schema, Error> {
        let mut types = Vec::new();
        let mut places = Vec::new();
        for (name, settings) in &self.settings.types {
            let snapshot = self.snapshot(name, false).await?;
            types.push(object_type(name, settings, &snapshot.names));
            let place = self.readings.get(name).map(|reading| match &reading.place {
                Place::File(path) | Place::Folder { folder: path, .. } => path.display().to_string(),
            });
            places.extend(place);
        }
        Ok(Schema { identity: places.join(", "), types, setup: Vec::new() })
    }

    fn source(&self) -> Option<&dyn Source> {
        Some(self)
    }

    fn target(&self) -> Option<&dyn Target> {
        None
    }
}
