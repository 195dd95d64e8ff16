//! What people see and decide.

use muster_model::pack::pack_row;
use muster_model::{Key, Row, Slot};

use super::{LONG, NOW, World, batch, end, keys, linked};
use crate::{
    Approval, Decided, Decision, EventRecord, HeldChange, HoldRecord, LinkId, LinkState, LinkUpdate, LinkView,
    ObjectWrite, OperationKind, Origin, ParkReason, QuarantineRecord, Retry, Round, RoundWrite, Store, SyncId,
};

const HOUR: i64 = 3_600_000;

/// Two objects linked to the target objects k1 and k2, and a third without one.
async fn three(world: &World<'_>) -> (SyncId, Vec<LinkView>) {
    let sync = world.sync("staff", 1).await.id;
    let objects = ["a", "b", "c"].map(|key| world.object(key, "1")).to_vec();
    world.page(objects, vec![], world.round(Round::Full, 1)).await;
    let seen = world.dirty(sync).await;
    let updates: Vec<_> = seen.iter().zip(["k1", "k2"]).map(|(view, key)| linked(view, key)).collect();
    world.store.settle(sync, &updates, NOW).await.unwrap();
    let ids: Vec<LinkId> = seen.iter().map(|view| view.id).collect();
    (sync, world.store.links(&ids).await.unwrap())
}

fn hold(sync: SyncId, digest: u8, links: &[LinkView]) -> HoldRecord {
    HoldRecord {
        sync,
        kind: "clear".to_owned(),
        attribute: Some("mail".to_owned()),
        digest: [digest; 16],
        created_at: NOW,
        expires_at: NOW + HOUR,
        wanted: links.len() as u64,
        allowed: 1,
        base: 9,
        approved: false,
        items: links.iter().map(|link| HeldChange { link: link.id, value: [link.id.0 as u8; 16] }).collect(),
    }
}

pub(crate) async fn a_hold_keeps_its_times_until_it_expires(store: &dyn Store) {
    let world = World::new(store).await;
    let (sync, links) = three(&world).await;
    let first = hold(sync, 1, &links);
    let kinds = ["clear", "disable"];
    let fresh = store.set_holds(sync, &kinds, std::slice::from_ref(&first), NOW).await.unwrap();
    assert_eq!(fresh, std::slice::from_ref(&first));
    let later = HoldRecord { created_at: NOW + 5, expires_at: NOW + 5 + HOUR, allowed: 2, ..first.clone() };
    assert_eq!(store.set_holds(sync, &kinds, std::slice::from_ref(&later), NOW + 5).await.unwrap(), []);
    assert_eq!(store.holds(sync).await.unwrap(), [HoldRecord { allowed: 2, ..first.clone() }]);
    assert_eq!(store.counts(sync, NOW).await.unwrap().held, 3);
    // Other kinds have their own holds.
    store.set_holds(sync, &["missing"], &[], NOW).await.unwrap();
    assert_eq!(store.holds(sync).await.unwrap().len(), 1);
    let anew = HoldRecord { created_at: NOW + HOUR, expires_at: NOW + 2 * HOUR, ..first };
    store.set_holds(sync, &kinds, std::slice::from_ref(&anew), NOW + HOUR).await.unwrap();
    assert_eq!(store.holds(sync).await.unwrap(), [anew]);
    store.set_holds(sync, &kinds, &[], NOW).await.unwrap();
    assert_eq!(store.holds(sync).await.unwrap(), []);
}

pub(crate) async fn an_approval_grants_until_it_is_used_or_expires(store: &dyn Store) {
    let world = World::new(store).await;
    let (sync, links) = three(&world).await;
    let held = hold(sync, 1, &links[..2]);
    store.set_holds(sync, &["clear"], std::slice::from_ref(&held), NOW).await.unwrap();
    assert_eq!(store.approve(sync, &[9; 16], NOW, NOW + HOUR).await.unwrap(), Approval::Unknown);
    assert_eq!(store.approve(sync, &[1; 16], NOW + HOUR, NOW + 2 * HOUR).await.unwrap(), Approval::Expired);
    assert!(store.grants(sync, NOW).await.unwrap().is_empty());
    let before = world.dirty(sync).await.len();
    let approved = store.approve(sync, &[1; 16], NOW, NOW + HOUR).await.unwrap();
    assert_eq!(approved, Approval::Recorded(HoldRecord { approved: true, ..held }));
    assert_eq!(world.dirty(sync).await.len(), before + 2);
    let grants = store.grants(sync, NOW).await.unwrap();
    assert_eq!(grants.len(), 2);
    assert_eq!((grants[0].kind.as_str(), grants[0].attribute.as_str()), ("clear", "mail"));
    assert_eq!(grants[0].value, [grants[0].link.0 as u8; 16]);
    assert!(store.grants(sync, NOW + HOUR).await.unwrap().is_empty());
    // What is still to do keeps its grant; what is settled has used it, or does not want it any more.
    let views = store.links(&[links[0].id, links[1].id]).await.unwrap();
    let unsettled = LinkUpdate { evaluated: 0, ..linked(&views[0], "k1") };
    store.settle(sync, &[unsettled, linked(&views[1], "k2")], NOW).await.unwrap();
    let left: Vec<LinkId> = store.grants(sync, NOW).await.unwrap().into_iter().map(|grant| grant.link).collect();
    assert_eq!(left, [links[0].id]);
    store.forget_grants(sync, "clear").await.unwrap();
    assert!(store.grants(sync, NOW).await.unwrap().is_empty());
}

pub(crate) async fn a_decision_stands_against_what_was_computed_before_it(store: &dyn Store) {
    let world = World::new(store).await;
    let (sync, links) = three(&world).await;
    let view = |at: usize| links[at].id;
    assert_eq!(store.decide(sync, view(0), &Decision::Release).await.unwrap(), Decided::Done);
    // An evaluation, and a batch, that began before the decision.
    store.settle(sync, &[linked(&links[0], "k1")], NOW).await.unwrap();
    let released = &store.links(&[view(0)]).await.unwrap()[0];
    assert_eq!((released.state, &released.target_key, &released.written), (LinkState::Released, &None, &None));
    let opened = store.open_batch(&batch(sync, world.target, &links[0])).await.unwrap();
    assert_eq!(opened.withdrawn, [view(0)]);
    assert_eq!(store.open_batches(sync).await.unwrap()[0].members, []);
    assert_eq!(store.sent_since(sync, "disable", 0).await.unwrap(), 0);
    store.close_batches(sync, &[end(opened.batch, &[linked(&links[0], "k1")], &[], &[])], NOW).await.unwrap();
    assert_eq!(store.links(&[view(0)]).await.unwrap()[0].state, LinkState::Released);
    // What is evaluated after it counts.
    assert!(keys(&world.dirty(sync).await).contains(&"a".to_owned()));
    let settled = LinkUpdate { state: LinkState::Released, target_key: None, written: None, ..linked(released, "-") };
    store.settle(sync, &[settled], NOW).await.unwrap();
    assert!(!keys(&world.dirty(sync).await).contains(&"a".to_owned()));
    // While an operation is on its way its outcome comes first.
    let sent = store.open_batch(&batch(sync, world.target, &links[1])).await.unwrap();
    assert!(store.link_facts(sync, view(1)).await.unwrap().unwrap().on_its_way);
    assert_eq!(store.decide(sync, view(1), &Decision::Ignore).await.unwrap(), Decided::OnItsWay);
    store.close_batches(sync, &[end(sent.batch, &[], &[], &[])], NOW).await.unwrap();
    assert_eq!(store.decide(sync, view(1), &Decision::Ignore).await.unwrap(), Decided::Done);
    assert_eq!(store.links(&[view(1)]).await.unwrap()[0].state, LinkState::Ignored);
    assert_eq!(store.decide(sync, view(1), &Decision::Return).await.unwrap(), Decided::Done);
    assert_eq!(store.links(&[view(1)]).await.unwrap()[0].state, LinkState::Candidate);
}

pub(crate) async fn a_link_by_hand_takes_nobodys_object(store: &dyn Store) {
    let world = World::new(store).await;
    let (sync, links) = three(&world).await;
    let to = |key: &str| Decision::Link {
        state: LinkState::Disabled,
        target_key: Key::text(key).encode(),
        written: vec![1, 0],
    };
    assert_eq!(store.decide(sync, links[2].id, &to("k1")).await.unwrap(), Decided::Owned(links[0].id));
    assert_eq!(store.decide(sync, links[2].id, &to(LONG)).await.unwrap(), Decided::Done);
    assert_eq!(store.decide(sync, links[1].id, &to(LONG)).await.unwrap(), Decided::Owned(links[2].id));
    let view = &store.links(&[links[2].id]).await.unwrap()[0];
    assert_eq!(
        (view.state, view.origin, view.written.as_deref()),
        (LinkState::Disabled, Origin::Adopted, Some([1, 0].as_slice()))
    );
    // Its own object again: it stays the one that was created.
    assert_eq!(store.decide(sync, links[0].id, &to("k1")).await.unwrap(), Decided::Done);
    assert_eq!(store.links(&[links[0].id]).await.unwrap()[0].origin, Origin::Created);
    assert_eq!(keys(&store.all_links(sync, links[0].id, 9).await.unwrap()), ["b", "c"]);
}

pub(crate) async fn parked_objects_are_tried_again_by_their_reason(store: &dyn Store) {
    let world = World::new(store).await;
    let (sync, links) = three(&world).await;
    let parked = |view: &LinkView, attribute: Option<&str>| LinkUpdate {
        parked: Some(ParkReason {
            operation: None,
            kind: OperationKind::Update,
            rule: "too_long".to_owned(),
            attribute: attribute.map(str::to_owned),
            message: "no".to_owned(),
        }),
        not_before: Some(NOW + HOUR),
        ..linked(view, "-")
    };
    let updates = [
        LinkUpdate { target_key: links[0].target_key.clone(), ..parked(&links[0], Some("mail")) },
        LinkUpdate { target_key: links[1].target_key.clone(), ..parked(&links[1], None) },
        LinkUpdate { target_key: None, ..parked(&links[2], Some("mail")) },
    ];
    store.settle(sync, &updates, NOW).await.unwrap();
    assert_eq!(store.parked_links(sync, "too_long", Some("mail"), 9).await.unwrap(), [links[0].id, links[2].id]);
    assert_eq!(store.parked_links(sync, "too_long", None, 9).await.unwrap(), [links[1].id]);
    let facts = store.link_facts(sync, links[0].id).await.unwrap().unwrap();
    assert_eq!(facts.parked.unwrap().message.as_deref(), Some("no"));
    assert_eq!(facts.not_before, Some(NOW + HOUR));
    let rule = |rule: &str, attribute: Option<&str>| Retry::Rule {
        rule: rule.to_owned(),
        attribute: attribute.map(str::to_owned),
    };
    assert_eq!(store.retry(sync, &rule("required", None)).await.unwrap(), 0);
    assert_eq!(store.retry(sync, &rule("too_long", Some("mail"))).await.unwrap(), 2);
    assert_eq!(keys(&world.dirty(sync).await), ["a", "c"]);
    assert_eq!(store.retry(sync, &Retry::Links(vec![links[1].id])).await.unwrap(), 1);
    assert_eq!(store.retry(sync, &Retry::All).await.unwrap(), 3);
}

pub(crate) async fn a_quarantine_and_its_outcomes_are_kept_and_forgotten_together(store: &dyn Store) {
    let world = World::new(store).await;
    let (sync, _) = three(&world).await;
    assert_eq!(store.quarantine(sync).await.unwrap(), None);
    let record = QuarantineRecord {
        sync,
        rule: "unique".to_owned(),
        attribute: Some("login".to_owned()),
        since: NOW,
        probes: 0,
        next_probe_at: NOW + 60_000,
    };
    store.set_quarantine(&record).await.unwrap();
    let next = QuarantineRecord { probes: 1, attribute: None, ..record };
    store.set_quarantine(&next).await.unwrap();
    // A service wakes for the next probe.
    assert_eq!(store.next_due(sync, NOW).await.unwrap(), Some(NOW + 60_000));
    store.set_outcome_window(sync, b"outcomes").await.unwrap();
    assert_eq!(store.quarantine(sync).await.unwrap(), Some(next));
    assert_eq!(store.outcome_window(sync).await.unwrap(), b"outcomes");
    assert!(store.end_quarantine(sync).await.unwrap());
    assert!(!store.end_quarantine(sync).await.unwrap());
    assert_eq!(store.quarantine(sync).await.unwrap(), None);
    assert!(store.outcome_window(sync).await.unwrap().is_empty());
}

pub(crate) async fn events_are_kept_for_a_while(store: &dyn Store) {
    let world = World::new(store).await;
    let (sync, links) = three(&world).await;
    let event = |at: i64, link: Option<LinkId>, code: &str| EventRecord {
        at,
        sync,
        link,
        code: code.to_owned(),
        detail: "2 disable".to_owned(),
    };
    let old = event(NOW, None, "held");
    let linked = event(NOW + HOUR, Some(links[0].id), "linked");
    store.add_events(&[old.clone(), linked.clone()]).await.unwrap();
    assert_eq!(store.events(sync, None, 9).await.unwrap(), [linked.clone(), old]);
    assert_eq!(store.events(sync, Some(links[0].id), 9).await.unwrap(), std::slice::from_ref(&linked));
    let late = event(NOW + 90 * 24 * HOUR + 1, None, "held");
    store.add_events(std::slice::from_ref(&late)).await.unwrap();
    assert_eq!(store.events(sync, None, 9).await.unwrap(), [late, linked]);
}

pub(crate) async fn populations_are_counted(store: &dyn Store) {
    let world = World::new(store).await;
    let (sync, links) = three(&world).await;
    let row = |slot: Slot| Some(pack_row(&[world.mail], &Row(vec![slot])));
    let updates = [
        LinkUpdate { written: row(Slot::text("x")), ..linked(&links[0], "k1") },
        LinkUpdate { written: row(Slot::Null), ..linked(&links[1], "k2") },
        LinkUpdate {
            written: row(Slot::text("y")),
            target_key: None,
            state: LinkState::Gone,
            ..linked(&links[2], "-")
        },
    ];
    store.settle(sync, &updates, NOW).await.unwrap();
    assert_eq!(store.links_with_value(sync, world.mail).await.unwrap(), 1);
    assert_eq!(store.links_with_value(sync, world.manager).await.unwrap(), 0);
    let same = ObjectWrite { changed: false, ..world.object("b", "1") };
    world.page(vec![same], vec![], RoundWrite { unswept: true, ..world.round(Round::Idle, 2) }).await;
    let unseen: Vec<LinkId> =
        store.unseen_objects(world.source, sync).await.unwrap().into_iter().map(|(_, link)| link).collect();
    assert_eq!(unseen, [links[0].id, links[2].id]);
}
