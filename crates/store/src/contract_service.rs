//! What every back end must do for a service: requests, pauses, due dates, the clock's mark.

use muster_model::Key;

use crate::contract::{NOW, World};
use crate::{LinkUpdate, LinkView, Store};

pub(crate) async fn requests_and_pauses_are_seen_by_one_query(store: &dyn Store) {
    let world = World::new(store).await;
    let sync = world.sync("staff", 1).await.id;
    let other = world.sync("guests", 1).await.id;
    let standing = async |wanted| {
        let standings = store.standings().await.unwrap();
        assert_eq!(standings.len(), 2);
        standings.into_iter().find(|standing| standing.id == wanted).unwrap()
    };
    assert_eq!((standing(sync).await.wake_at, standing(sync).await.paused), (None, None));
    store.request_cycle(sync, NOW).await.unwrap();
    let seen = standing(sync).await.wake_at.unwrap();
    assert_eq!(seen, NOW);
    // A second request of the same moment is another one, and survives the first one's end.
    store.request_cycle(sync, NOW).await.unwrap();
    store.clear_request(sync, seen).await.unwrap();
    let later = standing(sync).await.wake_at.unwrap();
    assert!(later > seen);
    store.clear_request(sync, later).await.unwrap();
    assert_eq!(standing(sync).await.wake_at, None);
    store.set_paused(sync, Some("holidays")).await.unwrap();
    assert_eq!(standing(sync).await.paused.as_deref(), Some("holidays"));
    assert_eq!(world.sync("staff", 1).await.paused.as_deref(), Some("holidays"));
    assert_eq!(standing(other).await.paused, None);
    store.set_paused(sync, None).await.unwrap();
    assert_eq!(world.sync("staff", 1).await.paused, None);
}

pub(crate) async fn reconciliation_is_required_of_all_and_ends_for_one(store: &dyn Store) {
    let world = World::new(store).await;
    let sync = world.sync("staff", 1).await;
    world.sync("guests", 1).await;
    assert!(!sync.reconcile);
    store.require_reconciliation(None).await.unwrap();
    assert!(world.sync("staff", 1).await.reconcile);
    store.reconciled(sync.id).await.unwrap();
    assert!(!world.sync("staff", 1).await.reconcile);
    assert!(world.sync("guests", 1).await.reconcile);
    store.require_reconciliation(Some(sync.id)).await.unwrap();
    assert!(world.sync("staff", 1).await.reconcile);
    store.reconciled(sync.id).await.unwrap();
}

pub(crate) async fn the_clocks_mark_never_falls(store: &dyn Store) {
    let mark = store.facts().await.unwrap().clock_high_water;
    store.raise_clock_mark(mark + 5).await.unwrap();
    store.raise_clock_mark(mark - 5).await.unwrap();
    assert_eq!(store.facts().await.unwrap().clock_high_water, mark + 5);
}

pub(crate) async fn what_is_due_next_is_known(store: &dyn Store) {
    let world = World::new(store).await;
    let sync = world.sync("staff", 1).await.id;
    world.joiners(&["a", "b", "c"]).await;
    assert_eq!(store.next_due(sync, NOW).await.unwrap(), None);
    let link = async |key: &str| store.link_of(sync, &Key::text(key).encode()).await.unwrap().unwrap();
    let update = |link: &LinkView, due_at, not_before: Option<i64>| LinkUpdate {
        values: Vec::new(),
        link: link.id,
        seen: link.dirty,
        evaluated: if not_before.is_some() { 0 } else { link.dirty },
        dirty_again: not_before.is_some(),
        state: link.state,
        origin: link.origin,
        target_key: None,
        fresh_key: false,
        written: None,
        due_at,
        not_before,
        attempts: 0,
        parked: None,
    };
    let [a, b, c] = [link("a").await, link("b").await, link("c").await];
    let settle = async |updates: Vec<LinkUpdate>| store.settle(sync, &updates, NOW).await.unwrap();
    settle(vec![update(&a, Some(NOW + 90), None), update(&b, Some(NOW + 70), None), update(&c, None, Some(NOW + 80))])
        .await;
    assert_eq!(store.next_due(sync, NOW).await.unwrap(), Some(NOW + 70));
    assert_eq!(store.next_due(sync, NOW + 70).await.unwrap(), Some(NOW + 80));
    assert_eq!(store.next_due(sync, NOW + 80).await.unwrap(), Some(NOW + 90));
    assert_eq!(store.next_due(sync, NOW + 90).await.unwrap(), None);
}
