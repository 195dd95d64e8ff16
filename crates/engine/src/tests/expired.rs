//! Reads that the source makes begin again.

use muster_connector::Expired;
use muster_model::Slot;

use super::world::{World, numbers};

#[tokio::test]
async fn expired_positions_start_again_without_losing_anything() {
    let world = World::new();
    for number in 0..8 {
        world.source.person(&format!("p{number}"), "P", &format!("p{number}@x"));
    }
    world.source.state.lock().unwrap().expire = vec![Expired::Cursor, Expired::Watermark];
    assert_eq!(world.cycle().await.unwrap().created, 8);
    world.source.set("p0", "name", Slot::text("Q"));
    // In a delta an expired page starts the round again, an expired watermark everything.
    world.source.state.lock().unwrap().expire = vec![Expired::Watermark];
    assert_eq!(numbers(&world.cycle().await.unwrap()), [0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    world.source.state.lock().unwrap().expire = vec![Expired::Watermark; 20];
    let error = world.cycle().await.unwrap_err().to_string();
    assert!(error.contains("\"hr\""), "{error}");
}

#[tokio::test]
async fn what_a_first_read_saw_before_it_began_again_is_gone_where_it_did_not_come_again() {
    let world = World::new();
    for number in 0..20 {
        world.source.person(&format!("p{number:02}"), "P", &format!("p{number:02}@x"));
    }
    {
        let mut source = world.source.state.lock().unwrap();
        source.expire = vec![Expired::Watermark];
        // The whole first page, so that nobody comes twice.
        source.hidden_after_expiry = ["p00", "p01", "p02"].map(str::to_owned).to_vec();
    }
    world.cycle().await.unwrap();
    let enabled = world.target.people().into_iter().filter(|(_, _, enabled)| *enabled).count();
    assert_eq!(enabled, 17);
}
