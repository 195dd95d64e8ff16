//! The contract suite on SQLite, and what only a file can get wrong.

use std::path::{Path, PathBuf};

use muster_model::{AttributeId, Key};
use sqlx::{ConnectOptions as _, Connection as _};
use tempfile::TempDir;

use crate::contract::{LONG, NOW, World, batch, contract_tests, end, linked};
use crate::{
    BatchEnd, LinkId, ObjectId, OperatorStore as _, ReferencesOf, SqliteStore, StateLock, Store as _, StoreError,
    ValueStore as _,
};

async fn fresh() -> (SqliteStore, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (SqliteStore::open(&folder.path().join("state.db"), NOW).await.unwrap(), folder)
}

contract_tests!(fresh());

async fn refusal(path: &Path) -> String {
    SqliteStore::open(path, NOW).await.map(drop).unwrap_err().to_string()
}

async fn execute(path: &Path, sql: &'static str) {
    let mut connection = sqlx::sqlite::SqliteConnectOptions::new().filename(path).connect().await.unwrap();
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

/// A state that an older version wrote.
async fn written(script: &'static str) -> (PathBuf, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    std::fs::File::create(&path).unwrap();
    execute(&path, script).await;
    (path, folder)
}

#[tokio::test]
async fn a_state_is_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("deep/er/state.db");
    let store = SqliteStore::open(&path, NOW).await.unwrap();
    World::new(&store).await;
    let facts = store.facts().await.unwrap();
    drop(store);
    let store = SqliteStore::open(&path, NOW + 5).await.unwrap();
    assert_eq!(store.facts().await.unwrap(), facts);
    let files: Vec<_> =
        std::fs::read_dir(path.parent().unwrap()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert!(!files.iter().any(|name| name.to_string_lossy().ends_with(".new")), "{files:?}");
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_may_read_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let (store, _folder) = fresh().await;
    World::new(&store).await;
    for suffix in ["", "-wal", "-shm"] {
        let path = format!("{}{suffix}", store.path().display());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{path}");
    }
}

#[tokio::test]
async fn foreign_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text");
    std::fs::write(&text, "x".repeat(5_000)).unwrap();
    assert!(refusal(&text).await.contains("is not a Muster state (it is no SQLite database)"));
    let short = folder.path().join("short");
    std::fs::write(&short, "hello").unwrap();
    assert!(refusal(&short).await.contains("is not a Muster state (it is a file of 5 bytes)"));
    let other = folder.path().join("other.db");
    std::fs::File::create(&other).unwrap();
    execute(&other, "CREATE TABLE t (x)").await;
    let message = refusal(&other).await;
    assert!(message.contains("another application's SQLite database"), "{message}");
    assert_eq!(std::fs::read(&text).unwrap().len(), 5_000);
}

#[tokio::test]
async fn a_newer_state_is_refused() {
    let (store, _folder) = fresh().await;
    let path = store.path().to_owned();
    drop(store);
    execute(&path, "PRAGMA user_version = 999").await;
    let message = refusal(&path).await;
    assert!(message.contains("state format 999") && message.contains("install the version that wrote it"), "{message}");
}

#[tokio::test]
async fn a_torn_state_is_refused_and_never_read_as_empty() {
    let (store, folder) = fresh().await;
    World::new(&store).await;
    let path = store.path().to_owned();
    drop(store);
    execute(&path, "PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = DELETE").await;
    let whole = std::fs::read(&path).unwrap();
    for length in [0, 50, 512, whole.len() / 2, whole.len() - 1] {
        let torn = folder.path().join(format!("torn-{length}.db"));
        std::fs::write(&torn, &whole[..length]).unwrap();
        let error = SqliteStore::open(&torn, NOW).await.map(drop).unwrap_err();
        assert!(
            matches!(error, StoreError::Damaged { .. } | StoreError::Foreign { .. }),
            "{length} of {} bytes: {error}",
            whole.len()
        );
    }
    let mut scribbled = whole.clone();
    let middle = whole.len() / 2;
    scribbled[middle..middle + 8_192].fill(0x5a);
    let path = folder.path().join("scribbled.db");
    std::fs::write(&path, scribbled).unwrap();
    assert!(refusal(&path).await.contains("is damaged"));
}

#[tokio::test]
async fn what_leaves_is_on_disk_and_what_is_found_out_again_need_not_be() {
    const UNSYNCED: i64 = 1;
    const SYNCED: i64 = 2;
    let (store, _folder) = fresh().await;
    let world = World::new(&store).await;
    let sync = world.sync("staff", 1).await.id;
    assert_eq!(store.writer.last().await, UNSYNCED, "names get their numbers again, with all that goes by them");
    world.joiners(&["a"]).await;
    assert_eq!(store.writer.last().await, UNSYNCED, "a page is read again");
    store.fill_candidates(sync, 10).await.unwrap();
    let view = world.dirty(sync).await.remove(0);
    let sent = batch(sync, world.target, &view);
    for (open, synced) in [(sent.members.as_slice(), SYNCED), (&[], UNSYNCED)] {
        let opened = store.open_batch(&sent).await.unwrap();
        assert_eq!(store.writer.last().await, UNSYNCED, "it is flushed before it leaves");
        store.flush().await.unwrap();
        store.close_batches(sync, &[end(opened.batch, &[linked(&view, "k")], &[], open)], NOW).await.unwrap();
        assert_eq!(store.writer.last().await, synced, "only tickets cannot be asked for");
    }
    let opened = store.open_batch(&sent).await.unwrap();
    let ended = BatchEnd { forgotten: true, ..end(opened.batch, &[], &[], &[]) };
    store.close_batches(sync, &[ended], NOW).await.unwrap();
    assert_eq!(store.writer.last().await, SYNCED, "nobody else will know");
    store.set_paused(sync, Some("a person said so")).await.unwrap();
    assert_eq!(store.writer.last().await, SYNCED, "what people decide is kept");
    store.settle(sync, &[linked(&view, "k")], NOW).await.unwrap();
    assert_eq!(store.writer.last().await, UNSYNCED);
}

#[tokio::test]
async fn what_is_urgent_waits_for_one_transaction_and_for_nobody_who_waits() {
    let (store, _folder) = fresh().await;
    let order = std::sync::Mutex::new(Vec::new());
    let held = store.writer.synced().await.unwrap();
    let ordinary = async {
        let _writer = store.writer.unsynced().await.unwrap();
        order.lock().unwrap().push("ordinary");
    };
    let urgent = async {
        let _writer = store.writer.urgent(false).await.unwrap();
        order.lock().unwrap().push("urgent");
    };
    // They ask in this order, and then it is given back.
    tokio::join!(ordinary, urgent, async { drop(held) });
    assert_eq!(*order.lock().unwrap(), ["urgent", "ordinary"]);
}

#[tokio::test]
async fn no_note_goes_ahead_of_a_key_given_anew() {
    let (store, _folder) = fresh().await;
    let world = World::new(&store).await;
    world.joiners(&["a", "b"]).await;
    let sync = world.sync("staff", 1).await.id;
    while store.fill_candidates(sync, 10).await.unwrap() {}
    let views = world.dirty(sync).await;
    // The key is the first one's, whose object is gone; the second one's object has it now.
    store.settle(sync, &[linked(&views[0], "5")], NOW).await.unwrap();
    let first = store.link_of(sync, &views[0].anchor).await.unwrap().unwrap();
    let sent = store.open_batch(&batch(sync, world.target, &views[1])).await.unwrap();
    let held = store.writer.synced().await.unwrap();
    let ended = [end(sent.batch, &[linked(&views[1], "5")], &[], &[])];
    let waiting = async { store.settle(sync, &[], NOW).await.unwrap() };
    let closed = async { store.close_batches(sync, &ended, NOW).await.unwrap() };
    let to_the_first = batch(sync, world.target, &first);
    let noted = async { store.open_batch(&to_the_first).await.unwrap().withdrawn };
    let (.., withdrawn, ()) = tokio::join!(waiting, closed, noted, async { drop(held) });
    assert_eq!(withdrawn, [first.id]);
}

/// SQLite undoes a transaction by itself where its commit fails, as on a full disk; the driver does not notice.
#[tokio::test]
async fn a_commit_that_failed_keeps_no_later_one_from_being_made() {
    let (store, _folder) = fresh().await;
    let world = World::new(&store).await;
    {
        let mut writer = store.writer.unsynced().await.unwrap();
        let mut transaction = writer.begin_with("BEGIN IMMEDIATE").await.unwrap();
        sqlx::raw_sql("ROLLBACK").execute(&mut *transaction).await.unwrap();
        assert!(transaction.commit().await.is_err());
    }
    world.joiners(&["a"]).await;
    let sync = world.sync("staff", 1).await.id;
    store.set_paused(sync, Some("while it is looked at")).await.unwrap();
    assert_eq!(store.writer.last().await, 2);
    assert_eq!(store.live_objects(world.source).await.unwrap().0, 1);
}

/// Version 1, the first: what it wrote must be readable by every later version.
#[tokio::test]
async fn a_state_of_version_1_is_still_read() {
    let (path, _folder) = written(include_str!("../../testdata/state-v1.sql")).await;
    let store = SqliteStore::open(&path, NOW).await.unwrap();
    let world = World::new(&store).await;
    assert_eq!(store.live_objects(world.source).await.unwrap(), (2, 2));
    let (name, sync) = store.sync_names().await.unwrap().remove(0);
    assert_eq!(name, "staff");
    let counts = store.counts(sync, NOW).await.unwrap();
    assert_eq!((counts.linked, counts.dirty, counts.links), (1, 1, 2));
}

/// Version 2: holds by attribute, grants, quarantine, and what was counted with a batch.
#[tokio::test]
async fn a_state_of_version_2_is_still_read() {
    let (path, _folder) = written(include_str!("../../testdata/state-v2.sql")).await;
    let store = SqliteStore::open(&path, NOW).await.unwrap();
    let (_, sync) = store.sync_names().await.unwrap().remove(0);
    let holds = store.holds(sync).await.unwrap();
    assert_eq!((holds[0].attribute.as_deref(), holds[0].base), (Some("mail"), 9));
    assert_eq!((holds[0].items[0].link.0, holds[0].items[0].value), (1, [7; 16]));
    assert_eq!(store.grants(sync, NOW).await.unwrap()[0].value, [8; 16]);
    assert_eq!(store.quarantine(sync).await.unwrap().unwrap().probes, 3);
    assert_eq!(store.open_batches(sync).await.unwrap()[0].guarded[0].1, "disable");
}

/// Version 9: its index held keys as they are.
#[tokio::test]
async fn keys_of_a_state_of_version_9_are_found_again() {
    let (path, _folder) = written(include_str!("../../testdata/state-v1.sql")).await;
    let keys = ["k", LONG].map(|key| Key::text(key).encode());
    {
        let mut connection = sqlx::sqlite::SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
        for (version, migration) in (1..).zip(&super::open::MIGRATIONS[..9]).skip(1) {
            sqlx::raw_sql(*migration).execute(&mut connection).await.unwrap();
            let script = format!("PRAGMA user_version = {version}");
            sqlx::raw_sql(sqlx::AssertSqlSafe(script)).execute(&mut connection).await.unwrap();
        }
        sqlx::query("UPDATE link SET target_key = ? WHERE id = 2")
            .bind(&keys[1])
            .execute(&mut connection)
            .await
            .unwrap();
        // In more than one piece, of which one has nothing long.
        for value in keys.iter().cloned().chain(["a", "b", "c"].map(|key| Key::text(key).encode())) {
            let insert = "INSERT INTO written_value (link, attribute, value, state) VALUES (1, 2, ?, 1)";
            sqlx::query(insert).bind(value).execute(&mut connection).await.unwrap();
        }
        connection.close().await.unwrap();
    }
    let store = SqliteStore::open(&path, NOW).await.unwrap();
    let world = World::new(&store).await;
    let (_, sync) = store.sync_names().await.unwrap().remove(0);
    let owners = store.owners(world.target, &keys).await.unwrap();
    assert_eq!(keys.each_ref().map(|key| owners[key].link.0), [1, 2]);
    // Both are of this sync, and nobody refers to them any more.
    let of = ReferencesOf {
        link: LinkId(1),
        object: ObjectId(1),
        source_attribute: AttributeId(2),
        target_attribute: AttributeId(2),
        target_types: vec![world.target],
    };
    let to_remove = store.references_to_remove(&of, b"", 9).await.unwrap();
    assert_eq!(to_remove, ["a", "b", "c", "k", LONG].map(|key| Key::text(key).encode()));
    let mut connection = sqlx::sqlite::SqliteConnectOptions::new().filename(&path).connect().await.unwrap();
    let refer = "INSERT INTO edge (object, attribute, referenced, generation) VALUES (1, 2, 1, 3), (1, 2, 2, 3)";
    sqlx::query(refer).execute(&mut connection).await.unwrap();
    assert_eq!(store.references_to_remove(&of, b"", 9).await.unwrap(), to_remove[..3]);
    // Whoever is given the key anew takes it from who had it.
    let view = store.link_of(sync, &Key::text("a").encode()).await.unwrap().unwrap();
    store.settle(sync, &[linked(&view, LONG)], NOW).await.unwrap();
    assert_eq!(store.owners(world.target, &keys).await.unwrap()[&keys[1]].link.0, 1);
}

#[tokio::test]
async fn an_older_state_is_upgraded_only_while_nobody_runs_on_it() {
    let (path, _folder) = written(include_str!("../../testdata/state-v1.sql")).await;
    let held = StateLock::take(&path, "on host a, process 1").unwrap();
    let error = SqliteStore::open_beside(&path, NOW, "me").await.map(drop).unwrap_err().to_string();
    assert!(error.contains("older version") && error.contains("on host a, process 1"), "{error}");
    assert!(super::open::is_older(&path).await.unwrap(), "it is as it was");
    drop(held);
    drop(SqliteStore::open_beside(&path, NOW, "me").await.unwrap());
    let _held = StateLock::take(&path, "on host a, process 2").unwrap();
    SqliteStore::open_beside(&path, NOW, "me").await.unwrap();
}

#[tokio::test]
async fn whoever_is_slower_finds_an_older_state_upgraded() {
    for _ in 0..5 {
        let (path, _folder) = written(include_str!("../../testdata/state-v1.sql")).await;
        let (one, other) = tokio::join!(SqliteStore::open(&path, NOW), SqliteStore::open(&path, NOW));
        one.unwrap();
        other.unwrap();
    }
}

#[test]
fn a_second_process_hears_who_runs() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state.db");
    let held = StateLock::take(&state, "on host a, process 1").unwrap();
    let error = StateLock::take(&state, "on host a, process 2").unwrap_err().to_string();
    assert!(error.contains("on host a, process 1"), "{error}");
    drop(held);
    StateLock::take(&state, "on host a, process 2").unwrap();
}
