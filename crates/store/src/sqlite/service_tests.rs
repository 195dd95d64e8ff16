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
