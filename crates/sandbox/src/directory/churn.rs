//! People join, move, leave and come back. The sequence depends on the seed alone.

use serde_json::json;

use super::groups::Member;
use super::names::{DEPARTMENTS, JOB_TITLES, PLACES};
use super::property::UserProperty;
use super::tenant::Tenant;
use crate::random::draw;

const TRIES: u64 = 50;

/// Makes the next change of the sequence; `now` is written as the time of deletions.
pub(crate) fn step(tenant: &mut Tenant, now: &str) {
    let luck = draw(tenant.seed, 0xc4_01, tenant.churned);
    tenant.churned += 1;
    match luck % 100 {
        0..12 => {
            tenant.users.generate();
        }
        12..50 => mover(tenant, luck),
        50..60 => {
            if let Some(slot) = live_user(tenant, luck) {
                tenant.users.delete(slot, now.to_owned());
            }
        }
        60..66 => come_back(tenant, luck),
        66..69 => {
            if let Some(slot) = oldest_deleted(tenant) {
                tenant.purge_user(slot);
            }
        }
        69..78 => new_manager(tenant, luck),
        _ => membership(tenant, luck),
    }
}

fn mover(tenant: &mut Tenant, luck: u64) {
    let Some(slot) = live_user(tenant, luck) else { return };
    let department = ((luck >> 8) % 10) as usize;
    let titles = JOB_TITLES[department];
    let place = &PLACES[(luck >> 16) as usize % PLACES.len()];
    let values = match (luck >> 24) % 6 {
        0 => vec![(UserProperty::City, json!(place.city)), (UserProperty::Country, json!(place.country))],
        1 => vec![(UserProperty::MobilePhone, json!(format!("{} 0100 {:06}", place.dial, (luck >> 30) % 1_000_000)))],
        2 => vec![(UserProperty::OfficeLocation, json!(null))],
        3 => vec![(UserProperty::AccountEnabled, json!((luck >> 30).is_multiple_of(2)))],
        _ => vec![
            (UserProperty::Department, json!(DEPARTMENTS[department])),
            (UserProperty::JobTitle, json!(titles[(luck >> 32) as usize % titles.len()])),
        ],
    };
    // Names of principals are not among the values, so nothing can be taken already.
    drop(tenant.users.patch(slot, values));
}

fn come_back(tenant: &mut Tenant, luck: u64) {
    let bin = tenant.users.recycle_bin();
    let chosen = bin.iter().nth(luck as usize % bin.len().clamp(1, 16)).copied();
    if let Some(slot) = chosen {
        // Refused when somebody else has the name by now; then they stay away.
        drop(tenant.users.restore(slot));
    }
}

fn oldest_deleted(tenant: &Tenant) -> Option<u32> {
    tenant.users.recycle_bin().first().copied()
}

fn new_manager(tenant: &mut Tenant, luck: u64) {
    let Some(slot) = live_user(tenant, luck).filter(|&slot| slot > 0) else { return };
    let candidate = draw(tenant.seed, 0xc4_03, luck) as u32 % slot;
    // Only somebody of a lower slot can lead, which keeps the tree free of cycles.
    if tenant.users.is_live(candidate) {
        tenant.users.set_manager(slot, Some(candidate));
    }
}

fn membership(tenant: &mut Tenant, luck: u64) {
    let Some(user) = live_user(tenant, luck) else { return };
    if tenant.groups.total() == 0 {
        return;
    }
    let group = (luck >> 40) as u32 % tenant.groups.total();
    if tenant.groups.is_live(group) && !tenant.groups.add_member(group, Member::User(user)) {
        tenant.groups.remove_member(group, Member::User(user));
    }
}

fn live_user(tenant: &Tenant, luck: u64) -> Option<u32> {
    let total = u64::from(tenant.users.total().max(1));
    (0..TRIES).map(|attempt| (draw(luck, 0xc4_02, attempt) % total) as u32).find(|&slot| tenant.users.is_live(slot))
}
