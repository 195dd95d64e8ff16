//! What every back end must do. Each function is one test; [`contract_tests!`] runs them all on a back end.

mod members;
mod operator;
mod values;

use muster_model::{AttributeId, Key, Multiplicity, Row, Slot, ValueType, pack};
use uuid::Uuid;

pub(crate) use crate::contract_service::*;
use crate::{
    AttributeSpec, BatchEnd, BatchId, BatchMember, BatchRecord, EdgeWrite, LinkId, LinkState, LinkUpdate, LinkView,
    ObjectWrite, OperationKind, Origin, Owner, PageCommit, ParkReason, Removed, Round, RoundWrite, SourceTypeId, Store,
    Sync, SyncDefinition, SyncId, TargetTypeId,
};

pub(crate) use members::*;
pub(crate) use operator::*;
pub(crate) use values::*;

pub(crate) const NOW: i64 = 1_800_000_000_000;

pub(crate) struct World<'a> {
    pub(crate) store: &'a dyn Store,
    pub(crate) source: SourceTypeId,
    pub(crate) target: TargetTypeId,
    pub(crate) mail: AttributeId,
    pub(crate) manager: AttributeId,
}

impl<'a> World<'a> {
    pub(crate) async fn new(store: &'a dyn Store) -> Self {
        let entra = store.connection("entra").await.unwrap().id;
        let app = store.connection("app").await.unwrap().id;
        let spec = |name: &str, value_type| AttributeSpec {
            name: name.to_owned(),
            value_type,
            multiplicity: Multiplicity::Single,
        };
        let specs = [spec("mail", ValueType::Text), spec("manager", ValueType::Reference)];
        let ids = store.attribute_ids(entra, "user", &specs).await.unwrap();
        Self {
            store,
            source: store.source_type(entra, "user").await.unwrap().id,
            target: store.target_type(app, "user").await.unwrap().id,
            mail: ids[0],
            manager: ids[1],
        }
    }

    pub(crate) async fn sync(&self, name: &str, rules: u8) -> Sync {
        let definition = SyncDefinition {
            name: name.to_owned(),
            source_type: self.source,
            target_type: self.target,
            fingerprint: [rules; 16],
            refers: true,
        };
        self.store.sync(&definition).await.unwrap()
    }

    fn object(&self, key: &str, mail: &str) -> ObjectWrite {
        let row = Row(vec![Slot::text(mail)]);
        ObjectWrite {
            known: None,
            anchor: Key::text(key).encode(),
            state: Some(pack::pack_row(&[self.mail], &row)),
            removed: Removed::No,
            removed_since: None,
            changed: true,
            came_or_went: false,
        }
    }

    /// These people, new at the source.
    pub(crate) async fn joiners(&self, keys: &[&str]) {
        let objects = keys.iter().map(|key| self.object(key, "mail")).collect();
        self.page(objects, Vec::new(), self.round(Round::Idle, 1)).await;
    }

    fn round(&self, round: Round, generation: i64) -> RoundWrite {
        RoundWrite {
            round,
            generation,
            unswept: false,
            watermark: Some(b"mark".to_vec()),
            cursor: Some(b"page 2".to_vec()),
            attributes: vec![self.mail, self.manager],
            keys_read: Some(NOW),
        }
    }

    async fn page(&self, mut objects: Vec<ObjectWrite>, edges: Vec<EdgeWrite>, round: RoundWrite) -> u64 {
        let anchors: Vec<_> = objects.iter().map(|object| object.anchor.clone()).collect();
        let stored = self.store.objects(self.source, &anchors).await.unwrap();
        for object in &mut objects {
            object.known = stored.get(&object.anchor).map(|stored| stored.id);
        }
        let page =
            PageCommit { source_type: self.source, objects, edges, complete: Vec::new(), unread: Vec::new(), round };
        self.store.commit_page(&page).await.unwrap().new
    }

    fn edge(&self, from: &str, to: &str, removed: bool) -> EdgeWrite {
        EdgeWrite {
            anchor: Key::text(from).encode(),
            attribute: self.manager,
            referenced_type: self.source,
            referenced: Key::text(to).encode(),
            removed,
            single: true,
        }
    }

    pub(crate) async fn dirty(&self, sync: SyncId) -> Vec<LinkView> {
        self.store.dirty_links(sync, LinkId(0), NOW, 100).await.unwrap()
    }
}

fn keys(links: &[LinkView]) -> Vec<String> {
    links.iter().map(|link| Key::decode(&link.anchor).unwrap().to_string()).collect()
}

pub(crate) fn linked(view: &LinkView, key: &str) -> LinkUpdate {
    LinkUpdate {
        link: view.id,
        seen: view.dirty,
        evaluated: view.dirty,
        dirty_again: false,
        state: LinkState::Linked,
        origin: Origin::Created,
        target_key: Some(Key::text(key).encode()),
        fresh_key: true,
        written: Some(view.source.clone().unwrap_or_default()),
        due_at: None,
        not_before: None,
        attempts: 0,
        parked: None,
        values: Vec::new(),
    }
}

pub(crate) async fn names_are_made_once(store: &dyn Store) {
    let world = World::new(store).await;
    let again = World::new(store).await;
    assert_eq!((world.source, world.target, world.mail), (again.source, again.target, again.mail));
    let specs = store.attribute_specs(&[world.manager]).await.unwrap();
    assert_eq!(specs[&world.manager].value_type, ValueType::Reference);
    let entra = store.connection("entra").await.unwrap();
    assert_eq!(entra.identity, None);
    store.set_identity(entra.id, "tenant").await.unwrap();
    assert_eq!(store.connection("entra").await.unwrap().identity.as_deref(), Some("tenant"));
    // Another value type is another attribute: its old values must not be read as the new type.
    let other =
        AttributeSpec { name: "mail".to_owned(), value_type: ValueType::Integer, multiplicity: Multiplicity::Single };
    assert_ne!(store.attribute_ids(entra.id, "user", &[other]).await.unwrap()[0], world.mail);
}

pub(crate) async fn a_page_commits_objects_links_and_round_together(store: &dyn Store) {
    let world = World::new(store).await;
    let sync = world.sync("staff", 1).await.id;
    let objects = vec![world.object("a", "a@x"), world.object("b", "b@x")];
    assert_eq!(world.page(objects, vec![], world.round(Round::Full, 1)).await, 2);
    let entra = store.connection("entra").await.unwrap().id;
    let standing = store.source_type(entra, "user").await.unwrap();
    assert_eq!((standing.round, standing.generation), (Round::Full, 1));
    assert_eq!(standing.cursor.as_deref(), Some(b"page 2".as_slice()));
    assert_eq!(standing.attributes, [world.mail, world.manager]);
    assert_eq!(keys(&world.dirty(sync).await), ["a", "b"]);
    let stored = store.objects(world.source, &[Key::text("a").encode(), Key::text("z").encode()]).await.unwrap();
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[&Key::text("a").encode()].state, world.object("a", "a@x").state);
}

pub(crate) async fn only_what_changed_becomes_dirty_and_nothing_is_lost(store: &dyn Store) {
    let world = World::new(store).await;
    let sync = world.sync("staff", 1).await.id;
    world.page(vec![world.object("a", "1"), world.object("b", "1")], vec![], world.round(Round::Full, 1)).await;
    let seen = world.dirty(sync).await;
    // "a" changes again after it was read for evaluation and before the outcome is recorded.
    world.page(vec![world.object("a", "2")], vec![], world.round(Round::Delta, 1)).await;
    let updates: Vec<_> = seen.iter().zip(["k1", "k2"]).map(|(view, key)| linked(view, key)).collect();
    store.settle(sync, &updates, NOW).await.unwrap();
    assert_eq!(keys(&world.dirty(sync).await), ["a"]);
    assert_eq!(keys(&store.linked(sync, LinkId(0), 1).await.unwrap()), ["a"]);
    assert_eq!(keys(&store.linked(sync, seen[0].id, 9).await.unwrap()), ["b"]);
    let unchanged = ObjectWrite { changed: false, ..world.object("b", "1") };
    world.page(vec![unchanged], vec![], world.round(Round::Delta, 1)).await;
    assert_eq!(keys(&world.dirty(sync).await), ["a"]);
    let view = store.link_of(sync, &Key::text("a").encode()).await.unwrap().unwrap();
    assert_eq!(view.source, world.object("a", "2").state);
    assert_eq!(view.written, world.object("a", "1").state);
    assert_eq!((view.state, view.origin), (LinkState::Linked, Origin::Created));
}

pub(crate) async fn other_rules_mark_every_link(store: &dyn Store) {
    let world = World::new(store).await;
    let sync = world.sync("staff", 1).await;
    assert!(!sync.rules_changed);
    world.page(vec![world.object("a", "1")], vec![], world.round(Round::Full, 1)).await;
    let seen = world.dirty(sync.id).await;
    store.settle(sync.id, &[linked(&seen[0], "k")], NOW).await.unwrap();
    assert!(world.dirty(sync.id).await.is_empty());
    assert!(!world.sync("staff", 1).await.rules_changed);
    assert!(world.dirty(sync.id).await.is_empty());
    assert!(world.sync("staff", 2).await.rules_changed);
    assert_eq!(world.dirty(sync.id).await.len(), 1);
}

pub(crate) async fn a_sync_keeps_its_types(store: &dyn Store) {
    let world = World::new(store).await;
    world.sync("staff", 1).await;
    let connection = store.connection("entra").await.unwrap().id;
    let definition = SyncDefinition {
        name: "staff".to_owned(),
        source_type: store.source_type(connection, "group").await.unwrap().id,
        target_type: world.target,
        fingerprint: [1; 16],
        refers: false,
    };
    let error = store.sync(&definition).await.unwrap_err().to_string();
    assert!(error.contains("\"staff\"") && error.contains("another name"), "{error}");
}

pub(crate) async fn a_later_sync_is_filled_in_slices(store: &dyn Store) {
    let world = World::new(store).await;
    let objects = (0..25).map(|number| world.object(&format!("u{number}"), "x")).collect();
    world.page(objects, vec![], world.round(Round::Full, 1)).await;
    let sync = world.sync("late", 1).await.id;
    let mut slices = 1;
    while store.fill_candidates(sync, 10).await.unwrap() {
        slices += 1;
    }
    assert_eq!(slices, 3);
    assert_eq!(world.dirty(sync).await.len(), 25);
    assert!(!store.fill_candidates(sync, 10).await.unwrap());
}

pub(crate) async fn references_may_come_before_their_objects(store: &dyn Store) {
    let world = World::new(store).await;
    let sync = world.sync("staff", 1).await.id;
    let a = Key::text("a").encode();
    world.page(vec![world.object("a", "1")], vec![world.edge("a", "boss", false)], world.round(Round::Full, 1)).await;
    assert_eq!(store.edges(world.source, &a).await.unwrap(), [(world.manager, Key::text("boss").encode())]);
    // The placeholder is no object yet: nobody provisions it.
    assert_eq!(keys(&world.dirty(sync).await), ["a"]);
    assert_eq!(store.live_objects(world.source).await.unwrap(), (1, 1));
    world.page(vec![world.object("boss", "2")], vec![], world.round(Round::Full, 1)).await;
    assert_eq!(keys(&world.dirty(sync).await), ["a", "boss"]);
    // A single-valued reference is replaced, and removing another one than the present changes nothing.
    let change = ObjectWrite { changed: false, state: None, ..world.object("a", "1") };
    world.page(vec![change.clone()], vec![world.edge("a", "chief", false)], world.round(Round::Delta, 1)).await;
    world.page(vec![change.clone()], vec![world.edge("a", "boss", true)], world.round(Round::Delta, 1)).await;
    assert_eq!(store.edges(world.source, &a).await.unwrap(), [(world.manager, Key::text("chief").encode())]);
    // Within one page: replaced, and replaced again.
    let boss = ObjectWrite { changed: false, state: None, ..world.object("boss", "2") };
    let edges = [("a", "x"), ("boss", "x"), ("a", "y")].map(|(from, to)| world.edge(from, to, false)).to_vec();
    world.page(vec![change.clone(), boss], edges, world.round(Round::Delta, 1)).await;
    assert_eq!(store.edges(world.source, &a).await.unwrap(), [(world.manager, Key::text("y").encode())]);
    let of_boss = store.edges(world.source, &Key::text("boss").encode()).await.unwrap();
    assert_eq!(of_boss, [(world.manager, Key::text("x").encode())]);
    world.page(vec![change], vec![world.edge("a", "y", true)], world.round(Round::Delta, 1)).await;
    assert_eq!(store.edges(world.source, &a).await.unwrap(), []);
}

pub(crate) async fn a_page_may_name_all_references_and_a_generation_leave_some_out(store: &dyn Store) {
    let world = World::new(store).await;
    let sync = world.sync("staff", 1).await.id;
    let many = |to: &str| EdgeWrite { single: false, ..world.edge("a", to, false) };
    let objects = ["a", "b", "c"].map(|key| world.object(key, "1")).to_vec();
    world.page(objects, vec![many("b"), many("c")], world.round(Round::Full, 1)).await;
    let seen = world.dirty(sync).await;
    let updates: Vec<_> = seen.iter().zip(["1", "2", "3"]).map(|(view, key)| linked(view, key)).collect();
    store.settle(sync, &updates, NOW).await.unwrap();
    let a = Key::text("a").encode();
    let known = |key: &str, id| ObjectWrite { known: Some(id), changed: false, state: None, ..world.object(key, "1") };
    let page = |objects, edges, complete, unread, round| PageCommit {
        source_type: world.source,
        objects,
        edges,
        complete,
        unread,
        round,
    };
    let complete = vec![(a.clone(), world.manager)];
    let of_a =
        page(vec![known("a", seen[0].object)], vec![many("c")], complete.clone(), vec![], world.round(Round::Delta, 1));
    store.commit_page(&of_a).await.unwrap();
    assert_eq!(store.edges(world.source, &a).await.unwrap(), [(world.manager, Key::text("c").encode())]);
    assert_eq!(keys(&world.dirty(sync).await), ["a"]);
    // A generation of keys alone keeps the references, and sweeps "b", which it did not see.
    let live = store.live_anchors(world.source, seen[0].object, 1).await.unwrap();
    assert_eq!(live, [(seen[1].object, Key::text("b").encode())]);
    assert_eq!(store.live_anchors(world.source, seen[2].object, 9).await.unwrap(), []);
    let round = RoundWrite { unswept: true, keys_read: Some(NOW + 7), ..world.round(Round::Keys, 2) };
    let objects = vec![known("a", seen[0].object), known("c", seen[2].object)];
    store.commit_page(&page(objects, vec![], vec![], vec![world.manager], round)).await.unwrap();
    let entra = store.connection("entra").await.unwrap().id;
    let standing = store.source_type(entra, "user").await.unwrap();
    assert_eq!((standing.round, standing.keys_read), (Round::Keys, Some(NOW + 7)));
    while store.sweep(world.source, NOW, 10).await.unwrap() > 0 {}
    assert_eq!(store.edges(world.source, &a).await.unwrap(), [(world.manager, Key::text("c").encode())]);
    assert_eq!(keys(&world.dirty(sync).await), ["a", "b"]);
    // Naming none is naming all, too.
    let none = page(vec![known("a", seen[0].object)], vec![], complete, vec![], world.round(Round::Delta, 2));
    store.commit_page(&none).await.unwrap();
    assert_eq!(store.edges(world.source, &a).await.unwrap(), []);
}

pub(crate) async fn a_complete_generation_sweeps_what_it_did_not_see(store: &dyn Store) {
    let world = World::new(store).await;
    let sync = world.sync("staff", 1).await.id;
    let objects = ["a", "b", "c"].map(|key| world.object(key, "1")).to_vec();
    world.page(objects, vec![world.edge("a", "b", false)], world.round(Round::Full, 1)).await;
    let seen = world.dirty(sync).await;
    let updates: Vec<_> = seen.iter().zip(["1", "2", "3"]).map(|(view, key)| linked(view, key)).collect();
    store.settle(sync, &updates, NOW).await.unwrap();
    let same = ObjectWrite { changed: false, ..world.object("a", "1") };
    world.page(vec![same], vec![], RoundWrite { unswept: true, ..world.round(Round::Idle, 2) }).await;
    assert_eq!(store.live_objects(world.source).await.unwrap(), (3, 1));
    let entra = store.connection("entra").await.unwrap().id;
    assert!(store.source_type(entra, "user").await.unwrap().unswept);
    assert_eq!(store.sweep(world.source, NOW, 1).await.unwrap(), 1);
    assert_eq!(store.sweep(world.source, NOW, 10).await.unwrap(), 1);
    assert_eq!(store.sweep(world.source, NOW, 10).await.unwrap(), 0);
    assert!(!store.source_type(entra, "user").await.unwrap().unswept);
    // "a" lost its reference, "b" and "c" are gone.
    let dirty = world.dirty(sync).await;
    assert_eq!(keys(&dirty), ["a", "b", "c"]);
    assert_eq!(dirty[1].removed, Removed::Soft);
    assert_eq!(dirty[1].removed_since, Some(NOW));
    assert_eq!(store.harden_removals(world.source, NOW - 1, NOW + 9).await.unwrap(), 0);
    assert_eq!(store.harden_removals(world.source, NOW, NOW + 9).await.unwrap(), 2);
    let hard = &world.dirty(sync).await[1];
    assert_eq!((hard.removed, hard.removed_since), (Removed::Hard, Some(NOW + 9)));
}

/// What was looked up before may be stored by the time it is written.
pub(crate) async fn an_object_that_is_there_by_now_undoes_its_page(store: &dyn Store) {
    let world = World::new(store).await;
    world.joiners(&["b"]).await;
    let page = PageCommit {
        source_type: world.source,
        objects: vec![world.object("a", "mail"), world.object("b", "another")],
        edges: Vec::new(),
        complete: Vec::new(),
        unread: Vec::new(),
        round: world.round(Round::Full, 7),
    };
    assert!(store.commit_page(&page).await.unwrap().collided);
    assert_eq!(store.live_objects(world.source).await.unwrap().0, 1);
    let entra = store.connection("entra").await.unwrap().id;
    assert_eq!(store.source_type(entra, "user").await.unwrap().generation, 1);
}

pub(crate) fn end(
    batch: BatchId,
    updates: &[LinkUpdate],
    returned: &[(String, u64)],
    open: &[BatchMember],
) -> BatchEnd {
    BatchEnd { batch, updates: updates.to_vec(), returned: returned.to_vec(), open: open.to_vec(), forgotten: false }
}

pub(crate) fn batch(sync: SyncId, target_type: TargetTypeId, view: &LinkView) -> BatchRecord {
    BatchRecord {
        id: BatchId(0),
        sync,
        target_type,
        epoch: (1, 2),
        host: "here".to_owned(),
        sent_at: NOW,
        members: vec![BatchMember {
            operation: Uuid::from_u128(9),
            link: view.id,
            kind: OperationKind::Disable,
            revision: view.dirty,
            content: [3; 16],
            sought: b"its key".to_vec(),
        }],
        guarded: vec![(view.id, "disable".to_owned()); 2],
        values: Vec::new(),
    }
}

pub(crate) async fn a_batch_is_open_until_its_outcomes_are_recorded(store: &dyn Store) {
    let world = World::new(store).await;
    let sync = world.sync("staff", 1).await.id;
    world.page(vec![world.object("a", "1")], vec![], world.round(Round::Full, 1)).await;
    let view = world.dirty(sync).await.remove(0);
    let sent = batch(sync, world.target, &view);
    let opened = store.open_batch(&sent).await.unwrap();
    assert!(opened.withdrawn.is_empty());
    let id = opened.batch;
    // Counted before it leaves: no end of the process can send what is not counted.
    assert_eq!(store.sent_since(sync, "disable", NOW - 86_400_000).await.unwrap(), 2);
    assert_eq!(store.open_batches(sync).await.unwrap(), [BatchRecord { id, ..sent.clone() }]);
    let returned = [("disable".to_owned(), 1), ("delete".to_owned(), 0)];
    store.close_batches(sync, &[end(id, &[], &[], &sent.members)], NOW).await.unwrap();
    assert_eq!(store.open_batches(sync).await.unwrap(), [BatchRecord { id, ..sent }]);
    store.close_batches(sync, &[end(id, &[linked(&view, "k")], &returned, &[])], NOW + 60_000).await.unwrap();
    assert_eq!(store.open_batches(sync).await.unwrap(), []);
    assert_eq!(store.sent_since(sync, "disable", NOW - 86_400_000).await.unwrap(), 1);
    assert_eq!(store.sent_since(sync, "disable", NOW + 60_000).await.unwrap(), 0);
    assert_eq!(store.sent_since(sync, "delete", 0).await.unwrap(), 0);
    let owners = store.owners(world.target, &[Key::text("k").encode()]).await.unwrap();
    let owner = Owner { sync, link: view.id, removed: Removed::No };
    assert_eq!(owners[&Key::text("k").encode()], owner);
}

/// Longer than what the index over keys holds of a key.
pub(crate) const LONG: &str = "somebody.with.a.long.name@a.long.domain.example";

pub(crate) async fn a_key_given_anew_leaves_its_former_link(store: &dyn Store) {
    let world = World::new(store).await;
    let sync = world.sync("staff", 1).await.id;
    world.page(vec![world.object("a", "1"), world.object("b", "1")], vec![], world.round(Round::Full, 1)).await;
    let seen = world.dirty(sync).await;
    store.settle(sync, &[linked(&seen[0], LONG)], NOW).await.unwrap();
    store.settle(sync, &[linked(&seen[1], LONG)], NOW).await.unwrap();
    let former = store.link_of(sync, &seen[0].anchor).await.unwrap().unwrap();
    assert_eq!((former.state, former.target_key), (LinkState::Gone, None));
    assert_eq!(keys(&world.dirty(sync).await), ["a"]);
}

pub(crate) async fn a_key_that_one_link_gives_up_is_another_ones_in_the_same_transaction(store: &dyn Store) {
    let world = World::new(store).await;
    let sync = world.sync("staff", 1).await.id;
    world.joiners(&["a", "b"]).await;
    let views = world.dirty(sync).await;
    let natural = |view: &LinkView, key: &str, origin| LinkUpdate { fresh_key: false, origin, ..linked(view, key) };
    store.settle(sync, &[natural(&views[0], "aa", Origin::Created)], NOW).await.unwrap();
    // The one that takes the key is written before the one that gives it up, and after it.
    let moved = [natural(&views[0], LONG, Origin::Adopted), natural(&views[1], "aa", Origin::Created)];
    store.settle(sync, &moved, NOW).await.unwrap();
    let back = [natural(&views[0], "aa", Origin::Created), natural(&views[1], LONG, Origin::Adopted)];
    store.settle(sync, &back, NOW).await.unwrap();
    let owners = store.owners(world.target, &["aa", LONG].map(|key| Key::text(key).encode())).await.unwrap();
    assert_eq!(owners[&Key::text("aa").encode()].link, views[0].id);
    assert_eq!(owners[&Key::text(LONG).encode()].link, views[1].id);
}

pub(crate) async fn parked_objects_heal_with_their_next_success(store: &dyn Store) {
    let world = World::new(store).await;
    let sync = world.sync("staff", 1).await.id;
    world.page(vec![world.object("a", "1")], vec![], world.round(Round::Full, 1)).await;
    let view = world.dirty(sync).await.remove(0);
    let reason = ParkReason {
        operation: Some(Uuid::from_u128(1)),
        kind: OperationKind::Create,
        rule: "too_long".to_owned(),
        attribute: Some("mail".to_owned()),
        message: "value too long: a@x".to_owned(),
    };
    let update =
        LinkUpdate { state: LinkState::Candidate, target_key: None, parked: Some(reason), ..linked(&view, "-") };
    store.settle(sync, &[update], NOW).await.unwrap();
    assert!(world.dirty(sync).await.is_empty());
    let parked = store.parked(sync, 10).await.unwrap();
    assert_eq!((parked[0].rule.as_str(), parked[0].attribute.as_deref()), ("too_long", Some("mail")));
    assert_eq!(parked[0].message.as_deref(), Some("value too long: a@x"));
    assert!(store.link_of(sync, &view.anchor).await.unwrap().unwrap().parked);
    assert_eq!(store.retry_parked(sync).await.unwrap(), 1);
    assert_eq!(world.dirty(sync).await.len(), 1);
    world.page(vec![world.object("a", "2")], vec![], world.round(Round::Delta, 1)).await;
    let view = world.dirty(sync).await.remove(0);
    store.settle(sync, &[linked(&view, "k")], NOW).await.unwrap();
    assert!(store.parked(sync, 10).await.unwrap().is_empty());
    assert_eq!(store.counts(sync, NOW).await.unwrap().parked, 0);
}

pub(crate) async fn pauses_and_due_dates_hide_and_wake_links(store: &dyn Store) {
    let world = World::new(store).await;
    let sync = world.sync("staff", 1).await.id;
    world.page(vec![world.object("a", "1"), world.object("b", "1")], vec![], world.round(Round::Full, 1)).await;
    let seen = world.dirty(sync).await;
    let paused = LinkUpdate {
        evaluated: 0,
        not_before: Some(NOW + 10),
        attempts: 1,
        state: LinkState::Candidate,
        target_key: None,
        ..linked(&seen[0], "-")
    };
    let due = LinkUpdate { due_at: Some(NOW + 20), not_before: Some(NOW + 100), ..linked(&seen[1], "k") };
    store.settle(sync, &[paused, due], NOW).await.unwrap();
    assert!(world.dirty(sync).await.is_empty());
    assert_eq!(store.counts(sync, NOW).await.unwrap().waiting, 1);
    assert_eq!(keys(&store.dirty_links(sync, LinkId(0), NOW + 10, 10).await.unwrap()), ["a"]);
    assert_eq!(store.mark_due(sync, NOW + 19).await.unwrap(), 0);
    assert_eq!(store.facts().await.unwrap().clock_reached, 0);
    assert_eq!(store.mark_due(sync, NOW + 20).await.unwrap(), 1);
    assert_eq!(store.facts().await.unwrap().clock_reached, NOW + 20);
    // What is due waits for no pause between attempts.
    assert_eq!(keys(&world.dirty(sync).await), ["b"]);
    // News from the source end the pause.
    world.page(vec![world.object("a", "2")], vec![], world.round(Round::Delta, 1)).await;
    assert_eq!(keys(&world.dirty(sync).await), ["a", "b"]);
}

pub(crate) async fn runs_and_epochs_are_kept(store: &dyn Store) {
    let world = World::new(store).await;
    let sync = world.sync("staff", 1).await.id;
    let run = store.begin_run(sync, NOW).await.unwrap();
    store.begin_run(sync, NOW + 1).await.unwrap();
    store.finish_run(run, NOW + 5, "ok", "{}").await.unwrap();
    let runs = store.runs(sync, 10).await.unwrap();
    assert_eq!((runs[0].finished_at, runs[1].finished_at), (None, Some(NOW + 5)));
    let first = store.next_epoch(world.target).await.unwrap();
    assert_eq!(store.next_epoch(world.target).await.unwrap(), first + 1);
    let before = store.facts().await.unwrap();
    store.renew_incarnation(Uuid::from_u128(5), before.created_at - 100).await.unwrap();
    let after = store.facts().await.unwrap();
    assert_eq!(after.incarnation, Uuid::from_u128(5));
    // Even with a clock that went back a new incarnation's epochs are above the old ones.
    assert!(after.created_at > before.created_at);
    assert_eq!(store.sync_names().await.unwrap(), [("staff".to_owned(), sync)]);
}

/// Runs the contract suite on a back end. `$open` is an async expression that yields (store, guard).
macro_rules! contract_tests {
    ($open:expr; $($name:ident)*) => {$(
        #[tokio::test]
        async fn $name() {
            let (store, _guard) = $open.await;
            crate::contract::$name(&store).await;
        }
    )*};
    ($open:expr) => {
        contract_tests! { $open;
            names_are_made_once
            a_page_commits_objects_links_and_round_together
            an_object_that_is_there_by_now_undoes_its_page
            only_what_changed_becomes_dirty_and_nothing_is_lost
            other_rules_mark_every_link
            a_sync_keeps_its_types
            a_later_sync_is_filled_in_slices
            references_may_come_before_their_objects
            a_page_may_name_all_references_and_a_generation_leave_some_out
            a_complete_generation_sweeps_what_it_did_not_see
            a_batch_is_open_until_its_outcomes_are_recorded
            a_key_given_anew_leaves_its_former_link
            a_key_that_one_link_gives_up_is_another_ones_in_the_same_transaction
            parked_objects_heal_with_their_next_success
            pauses_and_due_dates_hide_and_wake_links
            a_hold_keeps_its_times_until_it_expires
            an_approval_grants_until_it_is_used_or_expires
            a_decision_stands_against_what_was_computed_before_it
            a_link_by_hand_takes_nobodys_object
            parked_objects_are_tried_again_by_their_reason
            a_reference_leads_to_whatever_its_object_becomes
            values_are_known_one_by_one
            members_are_compared_and_their_links_marked
            a_quarantine_and_its_outcomes_are_kept_and_forgotten_together
            events_are_kept_for_a_while
            populations_are_counted
            runs_and_epochs_are_kept
            requests_and_pauses_are_seen_by_one_query
            reconciliation_is_required_of_all_and_ends_for_one
            the_clocks_mark_never_falls
            what_is_due_next_is_known
        }
    };
}
pub(crate) use contract_tests;
