//! A folder with files, and a connection to it.

use std::sync::Arc;

use muster_connector::{
    Connector, ConnectorKind as _, ConnectorSettings, Cursor, Error, ReadPage, ReadRequest, SourceObject,
};
use muster_connector_csv::CsvKind;
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) struct World {
    pub(crate) folder: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.folder.path().join(name), content).unwrap();
    }

    /// A connection whose types need not say how long a file must be left alone.
    pub(crate) fn connect(&self, mut types: Value) -> Result<Arc<dyn Connector>, Error> {
        for one in types.as_object_mut().unwrap().values_mut() {
            one.as_object_mut().unwrap().entry("settle").or_insert(json!("1ms"));
        }
        CsvKind.connect(ConnectorSettings {
            connection: "hr".to_owned(),
            values: json!({ "types": types }),
            secrets: std::collections::BTreeMap::new(),
            base_folder: self.folder.path().to_owned(),
        })
    }

    /// One type, `person`, in `people.csv`.
    pub(crate) fn people(&self, more: Value) -> Arc<dyn Connector> {
        let mut person = json!({ "file": "people.csv", "key": ["no"] });
        person.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.connect(json!({ "person": person })).unwrap()
    }
}

pub(crate) fn request(object_type: &str, attributes: &[&str]) -> ReadRequest {
    ReadRequest {
        object_type: object_type.into(),
        attributes: attributes.iter().map(|&name| name.to_owned()).collect(),
        named: Arc::new([]),
    }
}

pub(crate) async fn page(
    connector: &Arc<dyn Connector>,
    request: &ReadRequest,
    cursor: Option<&Cursor>,
) -> Result<ReadPage, Error> {
    connector.source().unwrap().read(request, cursor).await
}

/// All objects, page by page.
pub(crate) async fn all(connector: &Arc<dyn Connector>, request: &ReadRequest) -> Vec<SourceObject> {
    let mut objects = Vec::new();
    let mut cursor = None;
    loop {
        let page = page(connector, request, cursor.as_ref()).await.unwrap();
        objects.extend(page.objects);
        match page.next {
            Some(next) => cursor = Some(next),
            None => return objects,
        }
    }
}

/// The values of each object, as text.
pub(crate) fn texts(objects: &[SourceObject]) -> Vec<Vec<String>> {
    let slot = |slot: &muster_model::Slot| match slot {
        muster_model::Slot::Null => "<null>".to_owned(),
        muster_model::Slot::One(value) => value.to_string(),
        muster_model::Slot::Many(values) => values.iter().map(ToString::to_string).collect::<Vec<_>>().join("+"),
        muster_model::Slot::Unknown => "<unknown>".to_owned(),
    };
    objects.iter().map(|object| object.row.0.iter().map(slot).collect()).collect()
}
