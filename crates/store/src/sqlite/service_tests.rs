//! Backups, restores, and what the service's questions cost.

use std::path::Path;

use sqlx::Row as _;

use crate::contract::{NOW, World};
use crate::{SqliteStore, StateLock, Store as _};

async fn state(path: &Path) -> SqliteStore {
    SqliteStore::open(path, NOW).await.unwrap()
}

#[tokio::test]
async fn what_is_due_is_found_by_an_index_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = state(&folder.path().join("state.db")).await;
    let plan = sqlx::query(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", super::service::NEXT_DUE)))
        .bind(1)
        .bind(NOW)
        .fetch_all(&store.readers)
        .await
        .unwrap();
    let steps: Vec<String> = plan.iter().map(|row| row.get::<String, _>("detail")).collect();
    let searches: Vec<&String> = steps.iter().filter(|step| step.contains("link")).collect();
    assert_eq!(searches.len(), 2, "{steps:?}");
    assert!(searches[0].contains("SEARCH") && searches[0].contains("link_due"), "{steps:?}");
    assert!(searches[1].contains("SEARCH") && searches[1].contains("link_waiting"), "{steps:?}");
    assert!(!steps.iter().any(|step| step.contains("ORDER BY")), "{steps:?}");
}

#[tokio::test]
async fn a_backup_is_whole_private_and_never_overwrites() {
    let folder = tempfile::tempdir().unwrap();
    let store = state(&folder.path().join("state.db")).await;
    let world = World::new(&store).await;
    let sync = world.sync("staff", 1).await.id;
    world.joiners(&["a", "b"]).await;
    let backup = folder.path().join("backup.db");
    store.backup(&backup).await.unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&backup).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let before = std::fs::read(&backup).unwrap();
    assert!(store.backup(&backup).await.unwrap_err().to_string().contains("backup.db"));
    assert_eq!(std::fs::read(&backup).unwrap(), before);
    // What comes after the backup is not in it.
    world.joiners(&["c"]).await;
    let copy = state(&backup).await;
    assert_eq!(copy.counts(sync, NOW).await.unwrap().links, 2);
    assert_eq!(store.counts(sync, NOW).await.unwrap().links, 3);
}

#[tokio::test]
async fn a_restore_keeps_the_former_state_and_rises_above_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let store = state(&path).await;
    let world = World::new(&store).await;
    let sync = world.sync("staff", 1).await.id;
    world.joiners(&["a"]).await;
    let backup = folder.path().join("backup.db");
    store.backup(&backup).await.unwrap();
    world.joiners(&["b"]).await;
    store.raise_clock_mark(NOW + 77).await.unwrap();
    let former = store.facts().await.unwrap();
    drop(store);

    let lock = StateLock::take(&path, "restore").unwrap();
    // A clock that stands behind everything must not lower the epochs.
    let restored = SqliteStore::restore(&path, &backup, NOW - 1_000, &lock).await.unwrap();
    let now = state(&path).await;
    let facts = now.facts().await.unwrap();
    assert!(facts.incarnation != former.incarnation && facts.created_at > former.created_at);
    assert_eq!(facts.clock_high_water, NOW + 77);
    assert_eq!(now.counts(sync, NOW).await.unwrap().links, 1);
    assert!(World::new(&now).await.sync("staff", 1).await.reconcile);
    let former = state(restored.former.as_ref().unwrap()).await;
    assert_eq!(former.counts(sync, NOW).await.unwrap().links, 2);

    // Again within the same second: what was kept aside stays.
    drop((now, former));
    let again = SqliteStore::restore(&path, &backup, NOW - 1_000, &lock).await.unwrap();
    assert_ne!(again.former, restored.former);
    let former = state(&restored.former.unwrap()).await;
    assert_eq!(former.counts(sync, NOW).await.unwrap().links, 2);
    assert_eq!(state(&again.former.unwrap()).await.counts(sync, NOW).await.unwrap().links, 1);

    // What is no backup changes nothing, the state itself included.
    let before = std::fs::read(&path).unwrap();
    std::fs::write(folder.path().join("text"), "x".repeat(5_000)).unwrap();
    let torn = folder.path().join("torn.db");
    std::fs::write(&torn, &std::fs::read(&backup).unwrap()[..30_000]).unwrap();
    for bad in ["text", "torn.db", "nowhere", "state.db"] {
        let error = SqliteStore::restore(&path, &folder.path().join(bad), NOW, &lock).await.unwrap_err();
        assert!(format!("{error:?}").contains(bad), "{error:?}");
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }
    let mut left: Vec<String> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|name| name.contains(".restored"))
        .collect();
    left.sort();
    assert_eq!(left, [""; 0]);
}

#[tokio::test]
async fn old_runs_are_forgotten_and_those_that_did_something_remembered_for_a_month() {
    let folder = tempfile::tempdir().unwrap();
    let store = state(&folder.path().join("state.db")).await;
    let world = World::new(&store).await;
    let sync = world.sync("staff", 1).await.id;
    let other = world.sync("guests", 1).await.id;
    let day = 86_400_000;
    let run = async |sync, at: i64, report: &str| {
        let run = store.begin_run(sync, at).await.unwrap();
        store.finish_run(run, at, "ok", report).await.unwrap();
    };
    run(other, NOW - 900 * day, "").await;
    run(sync, NOW - 31 * day, r#"{"created":5}"#).await;
    for report in [r#"{"created":0,"updated":2}"#, r#"{"created":0,"read":3,"seconds":0.5}"#, "", "no report"] {
        run(sync, NOW - 29 * day, report).await;
    }
    for _ in 0..super::runs::KEPT {
        run(sync, NOW, r#"{"created":0}"#).await;
    }
    assert_eq!(store.prune_runs(NOW).await.unwrap(), 4);
    assert_eq!(store.prune_runs(NOW).await.unwrap(), 0);
    let left = store.runs(sync, u32::MAX).await.unwrap();
    assert_eq!(left.len() as i64, super::runs::KEPT + 1);
    assert_eq!(left.last().unwrap().report.as_deref(), Some(r#"{"created":0,"updated":2}"#));
    assert_eq!(store.runs(other, u32::MAX).await.unwrap().len(), 1);
}

#[tokio::test]
async fn with_its_log_merged_the_file_alone_is_the_state() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let store = state(&path).await;
    let world = World::new(&store).await;
    let sync = world.sync("staff", 1).await.id;
    world.joiners(&["a", "b"]).await;
    store.merge_log().await.unwrap();
    let copy = folder.path().join("copy.db");
    std::fs::copy(&path, &copy).unwrap();
    assert_eq!(state(&copy).await.counts(sync, NOW).await.unwrap().links, 2);
}
