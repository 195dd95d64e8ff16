//! Who is in the groups that a scope names.

use super::*;
use crate::{ObjectId, ScopeGroup};

pub(crate) async fn members_are_compared_and_their_links_marked(store: &dyn Store) {
    let world = World::new(store).await;
    let sync = world.sync("staff", 1).await.id;
    let entra = store.connection("entra").await.unwrap().id;
    let groups = store.source_type(entra, "group").await.unwrap().id;
    let edge = |from: &str, to: &str, kind, removed| EdgeWrite {
        referenced_type: kind,
        single: false,
        ..world.edge(from, to, removed)
    };
    let page = |objects: Vec<ObjectWrite>, edges| PageCommit {
        source_type: groups,
        objects,
        edges,
        complete: Vec::new(),
        unread: Vec::new(),
        round: world.round(Round::Idle, 1),
    };
    // The groups come first: outer holds inner and "a", inner holds "b".
    let fresh = ["outer", "inner"].map(|name| world.object(name, name)).to_vec();
    let edges = vec![
        edge("outer", "inner", groups, false),
        edge("outer", "a", world.source, false),
        edge("inner", "b", world.source, false),
    ];
    store.commit_page(&page(fresh, edges)).await.unwrap();
    world.joiners(&["a", "b", "c"]).await;
    let people = world.dirty(sync).await;
    let present = store.present_objects(groups, ObjectId(0), 10).await.unwrap();
    assert_eq!(present.len(), 2);
    let of = |name: &str, transitive| {
        let anchor = Key::text(name).encode();
        let (object, ..) = present.iter().find(|(_, known, _)| *known == anchor).unwrap();
        let asked = if transitive { "transitiveMemberOf" } else { "memberOf" };
        ScopeGroup { asked: asked.to_owned(), named: name.to_owned(), transitive, object: *object }
    };
    let settle = || async {
        let settled: Vec<_> = world
            .dirty(sync)
            .await
            .iter()
            .map(|view| linked(view, "-"))
            .map(|update| LinkUpdate { target_key: None, fresh_key: false, state: LinkState::Candidate, ..update })
            .collect();
        store.settle(sync, &settled, NOW).await.unwrap();
    };
    settle().await;
    let (direct, nested) = (of("outer", false), of("outer", true));
    let both = [direct.clone(), nested.clone()];
    assert_eq!(store.compare_members(sync, &[(groups, world.manager)], &both).await.unwrap(), 2);
    assert_eq!(keys(&world.dirty(sync).await), ["a", "b"]);
    let ids: Vec<ObjectId> = people.iter().map(|view| view.object).collect();
    let mut found = store.members_of(sync, &ids).await.unwrap();
    found.sort_unstable();
    assert_eq!(found, [(ids[0], direct.number()), (ids[0], nested.number()), (ids[1], nested.number())]);
    assert_eq!(store.scope_groups(sync).await.unwrap().len(), 2);
    settle().await;
    // Nothing moved, nothing is compared; then one leaves the inner group, and another one joins it.
    assert_eq!(store.compare_members(sync, &[(groups, world.manager)], &both).await.unwrap(), 0);
    let inner = ObjectWrite {
        known: Some(of("inner", false).object),
        state: None,
        changed: false,
        ..world.object("inner", "")
    };
    let edges = vec![edge("inner", "b", world.source, true), edge("inner", "c", world.source, false)];
    store.commit_page(&page(vec![inner], edges)).await.unwrap();
    assert_eq!(store.compare_members(sync, &[(groups, world.manager)], &both).await.unwrap(), 2);
    assert_eq!(keys(&world.dirty(sync).await), ["b", "c"]);
    settle().await;
    // Another choice of groups.
    assert_eq!(
        store.compare_members(sync, &[(groups, world.manager)], std::slice::from_ref(&direct)).await.unwrap(),
        2
    );
    assert_eq!(store.members_of(sync, &ids).await.unwrap(), [(ids[0], direct.number())]);
    // The inner group goes for good, and its members with it.
    assert_eq!(store.compare_members(sync, &[(groups, world.manager)], &both).await.unwrap(), 2);
    let gone = ObjectWrite {
        known: Some(of("inner", false).object),
        removed: Removed::Hard,
        removed_since: Some(NOW),
        came_or_went: true,
        ..world.object("inner", "")
    };
    store.commit_page(&page(vec![gone], vec![])).await.unwrap();
    settle().await;
    assert_eq!(store.compare_members(sync, &[(groups, world.manager)], &both).await.unwrap(), 1);
    assert_eq!(keys(&world.dirty(sync).await), ["c"]);
}
