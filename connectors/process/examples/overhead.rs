//! What the wire adds to an object. `cargo run --release -p muster-connector-process --example overhead -- COMMAND …`
//! with a command that serves the object type `user` with the attributes `id`, `name` and `mail` from memory or a file.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use muster_connector::{
    Batch, ConnectorKind as _, ConnectorSettings, Epoch, Kind, Operation, OperationId, ReadRequest,
};
use muster_connector_process::ProcessKind;
use muster_model::{Key, Row, Slot};
use serde_json::json;
use uuid::Uuid;

const OBJECTS: u32 = 20_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let command: Vec<String> = std::env::args().skip(1).collect();
    let folder = tempfile::tempdir()?;
    let settings = if command.len() > 1 { json!({ "file": "people.json" }) } else { json!({}) };
    let connector = ProcessKind.connect(ConnectorSettings {
        connection: "measured".to_owned(),
        values: json!({ "command": command, "settings": settings, "working_folder": std::env::current_dir()? }),
        secrets: BTreeMap::new(),
        base_folder: folder.path().to_owned(),
    })?;
    let target = connector.target().ok_or("no target")?;
    let source = connector.source().ok_or("no source")?;
    let attributes: Arc<[String]> = ["id", "name", "mail"].map(str::to_owned).into();
    let operations = (0..OBJECTS).map(|number| {
        let id = format!("{number:08}");
        let row = Row(vec![Slot::text(&id), Slot::text("Ada Lovelace"), Slot::text("ada.lovelace@example.org")]);
        Operation {
            id: OperationId(Uuid::from_u128(u128::from(number))),
            kind: Kind::Create,
            key: Some(Key::text(&id)),
            row,
            deltas: Vec::new(),
            enabling: None,
            expected_version: None,
            expected: None,
            depends_on: Vec::new(),
            secrets: Vec::new(),
        }
    });
    let batch = Batch {
        object_type: "user".into(),
        attributes: attributes.clone(),
        operations: operations.collect(),
        epoch: Epoch::default(),
        deadline: Duration::from_secs(60),
    };
    connector.schema().await?;
    let request = ReadRequest { object_type: "user".into(), attributes, named: Arc::new([]) };
    let mut output = std::io::stdout().lock();
    let begun = Instant::now();
    target.apply(&batch).await?;
    writeln!(output, "apply: {:?} an object", begun.elapsed() / OBJECTS)?;
    let (begun, mut cursor, mut read) = (Instant::now(), None, 0);
    loop {
        let page = source.read(&request, cursor.as_ref()).await?;
        read += u32::try_from(page.objects.len())?;
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    writeln!(output, "read: {:?} an object ({read} objects)", begun.elapsed() / read.max(1))?;
    Ok(())
}
