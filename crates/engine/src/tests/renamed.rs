//! A rename whose answer was lost is found under its new key or its former one, and never in somebody else's row.

use futures::FutureExt as _;
use muster_expression::Expression;
use muster_model::{Key, Slot};
use muster_store::Store as _;

use super::world::{World, numbers};
use crate::CommitPoint;
use crate::rules::MatchRule;

/// The key is the login. People are matched by it or, which tells more, by their name.
async fn world(by_name: bool) -> World {
    let mut world = World::new();
    world.target.login_is_key.store(true, std::sync::atomic::Ordering::Relaxed);
    if by_name {
        world.rules.matching = vec![MatchRule::one(Expression::parse("[name]").unwrap(), "name")];
    }
    for (id, name) in [("a", "Anna"), ("b", "Bo"), ("c", "Cy")] {
        world.source.person(id, name, &format!("{id}@x"));
    }
    world.cycle().await.unwrap();
    world
}

/// The number and the login of the row that each is linked to.
async fn linked(world: &World) -> Vec<(i64, String)> {
    let store = world.store().await;
    let (_, sync) = store.sync_names().await.unwrap().remove(0);
    let mut rows = Vec::new();
    for id in ["a", "b", "c"] {
        let view = store.link_of(sync, &Key::text(id).encode()).await.unwrap().unwrap();
        let login = Key::decode(&view.target_key.unwrap()).unwrap().to_string();
        let state = world.target.state.lock().unwrap();
        let row = state.rows.iter().find(|(_, row)| row.get("login") == Some(&Slot::text(&login)));
        rows.push((*row.unwrap().0, login));
    }
    rows
}

/// A cycle that ends at a point, once it has passed it.
async fn killed(world: &World, point: CommitPoint) {
    *world.killer.0.lock().unwrap() = Some((point, 1));
    let killed = std::panic::AssertUnwindSafe(world.cycle()).catch_unwind().await;
    assert!(killed.is_err(), "{point} was not passed");
    *world.killer.0.lock().unwrap() = None;
}

async fn comes_to_rest(world: &World) {
    for _ in 0..4 {
        world.wait(2 * 3_600_000);
        if numbers(&world.cycle().await.unwrap()) == [0; 11] {
            return;
        }
    }
    panic!("it does not come to rest: {:?}", world.target.people());
}

fn row(login: &str, name: &str) -> (String, String, bool) {
    (login.to_owned(), name.to_owned(), true)
}

#[tokio::test]
async fn a_key_that_another_took_meanwhile_crosses_no_links() {
    for by_name in [false, true] {
        for point in [CommitPoint::BatchOpened, CommitPoint::BatchFlushed, CommitPoint::BatchAnswered] {
            let world = world(by_name).await;
            world.source.set("a", "mail", Slot::text("z@x"));
            world.source.set("b", "mail", Slot::text("a@x"));
            world.source.set("c", "mail", Slot::text("b@x"));
            killed(&world, point).await;
            comes_to_rest(&world).await;
            let expected = [(1, "z@x".to_owned()), (2, "a@x".to_owned()), (3, "b@x".to_owned())];
            assert_eq!(linked(&world).await, expected, "by name: {by_name}, after {point}");
            assert_eq!(world.target.people(), [row("a@x", "Bo"), row("b@x", "Cy"), row("z@x", "Anna")]);
        }
    }
}

#[tokio::test]
async fn a_new_persons_row_under_a_former_key_is_the_new_persons() {
    for by_name in [false, true] {
        let world = world(by_name).await;
        world.source.set("a", "mail", Slot::text("z@x"));
        killed(&world, CommitPoint::BatchAnswered).await;
        // Whoever comes next gets the key, and that answer is lost as well.
        world.source.person("n", "Nina", "a@x");
        killed(&world, CommitPoint::BatchAnswered).await;
        comes_to_rest(&world).await;
        assert_eq!(linked(&world).await[0], (1, "z@x".to_owned()), "by name: {by_name}");
        assert!(world.target.people().contains(&row("a@x", "Nina")));
    }
}

#[tokio::test]
async fn a_strangers_row_under_either_key_is_left_alone() {
    for by_name in [false, true] {
        // Renamed, and a stranger took the former key.
        let world = self::world(by_name).await;
        world.source.set("a", "mail", Slot::text("z@x"));
        killed(&world, CommitPoint::BatchAnswered).await;
        world.target.insert("a@x", "Stranger");
        world.source.set("a", "name", Slot::text("Anne"));
        comes_to_rest(&world).await;
        assert_eq!(linked(&world).await[0], (1, "z@x".to_owned()), "by name: {by_name}");
        assert!(world.target.people().contains(&row("a@x", "Stranger")));
        assert!(world.target.people().contains(&row("z@x", "Anne")));

        // Not renamed, and a stranger has the new key.
        let world = self::world(by_name).await;
        world.source.set("a", "mail", Slot::text("z@x"));
        killed(&world, CommitPoint::BatchOpened).await;
        world.target.insert("z@x", "Stranger");
        let report = world.cycle().await.unwrap();
        assert_eq!(report.parked, 1);
        assert_eq!(linked(&world).await[0], (1, "a@x".to_owned()), "by name: {by_name}");
        assert!(world.target.people().contains(&row("z@x", "Stranger")));
    }
}

#[tokio::test]
async fn whoever_gets_another_name_with_another_key_is_recognised() {
    for by_name in [false, true] {
        for point in [CommitPoint::BatchOpened, CommitPoint::BatchFlushed, CommitPoint::BatchAnswered] {
            let world = world(by_name).await;
            world.source.set("a", "mail", Slot::text("z@x"));
            world.source.set("a", "name", Slot::text("Anna Married"));
            killed(&world, point).await;
            world.source.set("a", "name", Slot::text("Anna Double"));
            comes_to_rest(&world).await;
            assert_eq!(linked(&world).await[0], (1, "z@x".to_owned()), "by name: {by_name}, after {point}");
            assert_eq!(world.target.people().len(), 3);
            assert!(world.target.people().contains(&row("z@x", "Anna Double")));
        }
    }
}

#[tokio::test]
async fn a_row_that_others_changed_stays_the_linked_one() {
    for by_name in [false, true] {
        let world = world(by_name).await;
        world.source.set("a", "mail", Slot::text("z@x"));
        killed(&world, CommitPoint::BatchOpened).await;
        world.target.state.lock().unwrap().rows.get_mut(&1).unwrap().insert("name".to_owned(), Slot::text("By hand"));
        comes_to_rest(&world).await;
        assert_eq!(linked(&world).await[0], (1, "z@x".to_owned()), "by name: {by_name}");
        assert_eq!(world.target.people().len(), 3);
    }
}
