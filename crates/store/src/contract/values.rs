//! References at the target, and values one by one.

use super::*;
use crate::{ObjectId, ReferencesOf, ReferredEnd, ValueWrite};

const ALL: u32 = 100;

fn key(text: &str) -> Vec<u8> {
    Key::text(text).encode()
}

async fn view(world: &World<'_>, sync: SyncId, anchor: &str) -> LinkView {
    world.store.link_of(sync, &key(anchor)).await.unwrap().unwrap()
}

async fn settle_all(world: &World<'_>, sync: SyncId) {
    let settled: Vec<_> = world
        .dirty(sync)
        .await
        .iter()
        .map(|view| LinkUpdate {
            target_key: view.target_key.clone(),
            fresh_key: false,
            state: view.state,
            ..linked(view, "-")
        })
        .collect();
    world.store.settle(sync, &settled, NOW).await.unwrap();
}

async fn ends(world: &World<'_>, of: &LinkView) -> Vec<ReferredEnd> {
    let found = world.store.referred(&[of.object], world.manager, &[world.target]).await.unwrap();
    found.into_iter().map(|referred| referred.end).collect()
}

pub(crate) async fn a_reference_leads_to_whatever_its_object_becomes(store: &dyn Store) {
    let world = World::new(store).await;
    let sync = world.sync("staff", 1).await.id;
    world.page(vec![world.object("a", "1")], vec![world.edge("a", "boss", false)], world.round(Round::Full, 1)).await;
    let a = view(&world, sync, "a").await;
    assert_eq!(ends(&world, &a).await, [ReferredEnd::Unread]);
    world.page(vec![], vec![], world.round(Round::Idle, 1)).await;
    assert_eq!(ends(&world, &a).await, [ReferredEnd::Absent]);
    world.page(vec![world.object("boss", "2")], vec![], world.round(Round::Idle, 1)).await;
    settle_all(&world, sync).await;
    // That the boss got none, and later one, are news for whoever refers to it.
    assert_eq!(keys(&world.dirty(sync).await), ["a"]);
    assert_eq!(ends(&world, &a).await, [ReferredEnd::None]);
    settle_all(&world, sync).await;
    assert!(world.dirty(sync).await.is_empty());
    let boss = view(&world, sync, "boss").await;
    store.settle(sync, &[linked(&boss, "91")], NOW).await.unwrap();
    assert_eq!(ends(&world, &a).await, [ReferredEnd::Object(key("91"))]);
    assert_eq!(keys(&world.dirty(sync).await), ["a"]);
    settle_all(&world, sync).await;
    // Nothing new about the boss is no news.
    store.settle(sync, &[LinkUpdate { fresh_key: false, ..linked(&boss, "91") }], NOW).await.unwrap();
    assert!(world.dirty(sync).await.is_empty());
    // The boss goes, comes back, and goes for good.
    let known = ObjectWrite { state: None, came_or_went: true, ..world.object("boss", "2") };
    let gone = ObjectWrite { removed: Removed::Soft, removed_since: Some(NOW), ..known.clone() };
    for (change, end) in [(gone.clone(), ReferredEnd::None), (known, ReferredEnd::Object(key("91")))] {
        world.page(vec![change], vec![], world.round(Round::Idle, 1)).await;
        assert!(keys(&world.dirty(sync).await).contains(&"a".to_owned()));
        assert_eq!(ends(&world, &a).await, [end]);
        settle_all(&world, sync).await;
    }
    let back = ObjectWrite { came_or_went: true, ..world.object("boss", "2") };
    world.page(vec![ObjectWrite { removed: Removed::Hard, ..gone }], vec![], world.round(Round::Idle, 1)).await;
    assert!(keys(&world.dirty(sync).await).contains(&"a".to_owned()));
    assert_eq!(ends(&world, &a).await, [ReferredEnd::None]);
    settle_all(&world, sync).await;
    // Under the same key somebody may be there again, and not every source tells anew who refers to them.
    world.page(vec![back], vec![], world.round(Round::Idle, 1)).await;
    assert!(keys(&world.dirty(sync).await).contains(&"a".to_owned()));
}

const LONGER: &str = "somebody.with.a.longer.name@a.long.domain.example";

pub(crate) async fn values_are_known_one_by_one(store: &dyn Store) {
    let world = World::new(store).await;
    let sync = world.sync("groups", 1).await.id;
    let many = |to: &str, removed| EdgeWrite { single: false, ..world.edge("group", to, removed) };
    let objects = ["group", "x", "y", "z"].map(|name| world.object(name, "1")).to_vec();
    world.page(objects, ["x", "y", "z"].map(|to| many(to, false)).to_vec(), world.round(Round::Idle, 1)).await;
    let updates: Vec<_> =
        world.dirty(sync).await.iter().zip(["g", "1", LONG, "3"]).map(|(view, key)| linked(view, key)).collect();
    store.settle(sync, &updates, NOW).await.unwrap();
    let group = view(&world, sync, "group").await;
    let of = ReferencesOf {
        link: group.id,
        object: group.object,
        source_attribute: world.manager,
        target_attribute: world.mail,
        target_types: vec![world.target],
    };
    let to_add = |after| {
        let of = of.clone();
        async move {
            let found = store.references_to_add(&of, after, ALL).await.unwrap();
            found.into_iter().map(|(_, value)| value).collect::<Vec<_>>()
        }
    };
    let to_remove = || async { store.references_to_remove(&of, b"", ALL).await.unwrap() };
    assert_eq!(to_add(ObjectId(0)).await, [key("1"), key(LONG), key("3")]);
    let x = view(&world, sync, "x").await.object;
    assert_eq!(to_add(x).await, [key(LONG), key("3")]);
    // Sent, and the answer was lost: it may be there, so it is neither certain nor forgotten.
    let added = |values: &[&str]| ValueWrite {
        attribute: world.mail,
        added: values.iter().map(|value| key(value)).collect(),
        removed: Vec::new(),
    };
    let sent = BatchRecord { values: vec![(group.id, added(&["1", LONG]))], ..batch(sync, world.target, &group) };
    store.open_batch(&sent).await.unwrap();
    assert_eq!(to_add(ObjectId(0)).await.len(), 3);
    world
        .page(
            vec![ObjectWrite { changed: false, state: None, ..world.object("group", "1") }],
            vec![many("x", true)],
            world.round(Round::Idle, 1),
        )
        .await;
    assert_eq!(to_remove().await, [key("1")]);
    let kept = LinkUpdate { fresh_key: false, ..linked(&group, "g") };
    store.settle(sync, &[LinkUpdate { values: vec![added(&[LONG, "3"])], ..kept.clone() }], NOW).await.unwrap();
    assert!(to_add(ObjectId(0)).await.is_empty());
    assert_eq!(
        store.written_values(group.id, world.mail, b"", ALL).await.unwrap(),
        [(key("1"), false), (key("3"), true), (key(LONG), true)]
    );
    let removed = ValueWrite { attribute: world.mail, added: vec![], removed: vec![key("1")] };
    store.settle(sync, &[LinkUpdate { values: vec![removed], ..kept.clone() }], NOW).await.unwrap();
    assert!(to_remove().await.is_empty());
    assert_eq!(store.count_written_values(sync).await.unwrap(), 2);
    assert_eq!(store.referenced(group.object, world.manager, 1).await.unwrap(), [key("y")]);
    // A member that has another key now is added under it and removed under the former.
    let y = view(&world, sync, "y").await;
    store.settle(sync, &[LinkUpdate { fresh_key: false, ..linked(&y, LONGER) }], NOW).await.unwrap();
    assert_eq!((to_add(ObjectId(0)).await, to_remove().await), (vec![key(LONGER)], vec![key(LONG)]));
    // Without a target object there are no values; a new one begins with none.
    store.settle(sync, &[LinkUpdate { target_key: None, ..kept }], NOW).await.unwrap();
    assert_eq!(store.count_written_values(sync).await.unwrap(), 0);
}
