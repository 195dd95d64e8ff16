//! Changes that happen by themselves, at a rate that can be set while running.

use std::sync::Weak;
use std::time::Duration;

use tokio::sync::watch;

use crate::directory::churn;
use crate::provisioning;
use crate::state::Shared;

const FASTEST: f64 = 100_000.0;
/// Above so many changes a second several are made at once.
const TICKS_PER_SECOND: f64 = 50.0;

/// Makes changes until the sandbox is gone.
pub(crate) async fn follow(shared: Weak<Shared>, mut rate: watch::Receiver<f64>) {
    let mut owed = 0.0;
    loop {
        let per_second = *rate.borrow_and_update();
        if per_second <= 0.0 {
            if rate.changed().await.is_err() {
                return;
            }
            continue;
        }
        let per_second = per_second.min(FASTEST);
        let ticks = per_second.min(TICKS_PER_SECOND);
        tokio::time::sleep(Duration::from_secs_f64(1.0 / ticks)).await;
        let Some(shared) = shared.upgrade() else { return };
        provisioning::catch_up(&shared);
        owed += per_second / ticks;
        let now = shared.clock.timestamp();
        let mut tenant = shared.tenant_mut();
        while owed >= 1.0 {
            churn::step(&mut tenant, &now);
            owed -= 1.0;
        }
    }
}
