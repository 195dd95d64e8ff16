//! `GET /users/delta` (Microsoft Graph: user delta).

use std::collections::HashMap;
use std::sync::Arc;

use super::delta::{self, DeltaMood, Entries, Source};
use super::delta_token::{Feed, Round};
use super::select;
use crate::directory::identity::{Kind, object_id};
use crate::directory::property::{Mask, RELATIONSHIP, UserProperty};
use crate::directory::tenant::Tenant;
use crate::directory::users::{Lifecycle, WHOLE};
use crate::http::reply::Reply;
use crate::http::request::Request;
use crate::random::{Shuffle, draw};
use crate::refusal::Refusal;
use crate::state::Shared;

pub(crate) fn answer(shared: &Shared, request: &Request, mood: DeltaMood) -> Result<Reply, Refusal> {
    let tenant = shared.tenant();
    let selected = |text: Option<&str>| match text {
        Some(text) => select::users_in_delta(shared, text),
        None => Ok(UserProperty::defaults()),
    };
    let extent = (tenant.users.log.len() as u64, tenant.users.total());
    let opening = delta::open(shared, request, Feed::Users, selected, |id| tenant.users.slot(id), extent)?;
    let source = match opening.round.since {
        None => {
            Users::First { shared, tenant: &tenant, order: order(shared, &opening.round, opening.round.total.into()) }
        }
        Some(since) => {
            let changes = remembered(shared, &tenant, &opening.round, since);
            let order = order(shared, &opening.round, changes.len() as u64);
            Users::Next { shared, tenant: &tenant, changes, order }
        }
    };
    Ok(delta::page(shared, request, &tenant, opening, &source, mood))
}

/// No order is promised; this is one that nobody can mistake for a promise.
pub(crate) fn order(shared: &Shared, round: &Round, size: u64) -> Option<Shuffle> {
    shared.options.oddities.reorder.then(|| Shuffle::new(size, draw(shared.options.seed, 0x0d_e7, round.end)))
}

/// The changes of one round, kept from page to page: the log they come from only grows.
#[derive(Debug)]
pub(crate) struct Gathered {
    since: u64,
    end: u64,
    select: Mask,
    only: Vec<u32>,
    changes: Arc<Vec<Changed>>,
}

fn remembered(shared: &Shared, tenant: &Tenant, round: &Round, since: u64) -> Arc<Vec<Changed>> {
    let mut last = shared.gathered();
    let fits = |last: &&Gathered| {
        last.since == since && last.end == round.end && last.select == round.select && last.only == round.only
    };
    if let Some(known) = last.as_ref().filter(fits) {
        return Arc::clone(&known.changes);
    }
    let changes = Arc::new(changes(tenant, round, since));
    let (end, select, only) = (round.end, round.select, round.only.clone());
    *last = Some(Gathered { since, end, select, only, changes: Arc::clone(&changes) });
    changes
}

/// What happened to one user since the round before.
#[derive(Debug)]
pub(crate) struct Changed {
    slot: u32,
    changed: Mask,
    former_manager: Option<u32>,
}

fn changes(tenant: &Tenant, round: &Round, since: u64) -> Vec<Changed> {
    let mut places: HashMap<u32, usize> = HashMap::new();
    let mut all: Vec<Changed> = Vec::new();
    for entry in tenant.users.log.get(since as usize..round.end as usize).unwrap_or_default() {
        if !round.only.is_empty() && !round.only.contains(&entry.slot) {
            continue;
        }
        let place = *places.entry(entry.slot).or_insert_with(|| {
            all.push(Changed { slot: entry.slot, changed: 0, former_manager: None });
            all.len() - 1
        });
        all[place].changed |= entry.changed;
        all[place].former_manager = entry.former_manager.or(all[place].former_manager);
    }
    // A change of what was not selected is no change.
    all.retain(|change| change.changed == WHOLE || change.changed & round.select != 0);
    all
}

enum Users<'a> {
    First { shared: &'a Shared, tenant: &'a Tenant, order: Option<Shuffle> },
    Next { shared: &'a Shared, tenant: &'a Tenant, changes: Arc<Vec<Changed>>, order: Option<Shuffle> },
}

impl Users<'_> {
    fn size(&self, round: &Round) -> u64 {
        match self {
            Self::First { .. } => round.total.into(),
            Self::Next { changes, .. } => changes.len() as u64,
        }
    }

    fn write(&self, round: &Round, cursor: u64, entries: &mut Entries) {
        match self {
            Self::First { shared, tenant, order } => {
                let place = order.map_or(cursor, |order| order.at(cursor)) as u32;
                let slot = if round.only.is_empty() { Some(place) } else { round.only.get(place as usize).copied() };
                let Some(slot) = slot.filter(|&slot| slot < tenant.users.total()) else { return };
                match tenant.users.lifecycle(slot) {
                    Lifecycle::Live => write_user(tenant, slot, round.select, None, entries),
                    Lifecycle::Deleted if shared.options.oddities.removed_in_first_round => {
                        entries.removed(&tenant.users.id(slot).to_string(), "changed");
                    }
                    Lifecycle::Deleted | Lifecycle::Purged => {}
                }
            }
            Self::Next { tenant, changes, order, .. } => {
                let place = order.map_or(cursor, |order| order.at(cursor)) as usize;
                let Some(change) = changes.get(place) else { return };
                let id = || tenant.users.id(change.slot).to_string();
                match tenant.users.lifecycle(change.slot) {
                    Lifecycle::Deleted => entries.removed(&id(), "changed"),
                    Lifecycle::Purged => entries.removed(&id(), "deleted"),
                    Lifecycle::Live => {
                        let properties = if round.minimal { round.select & change.changed } else { round.select };
                        let mask = (properties & !RELATIONSHIP) | (round.select & change.changed & RELATIONSHIP);
                        write_user(tenant, change.slot, mask, change.former_manager, entries);
                    }
                }
            }
        }
    }
}

impl Source for Users<'_> {
    fn fill(&self, round: &Round, entries: &mut Entries) -> (Option<u64>, u64) {
        let (Self::First { shared, tenant, .. } | Self::Next { shared, tenant, .. }) = self;
        if matches!(self, Self::First { .. }) && round.only.is_empty() {
            write_phantom(shared, tenant, round, entries);
        }
        let (size, full) = (self.size(round), entries.count + shared.options.page_size);
        let mut cursor = round.cursor;
        while cursor < size && entries.count < full {
            self.write(round, cursor, entries);
            cursor += 1;
        }
        ((cursor < size).then_some(cursor), cursor.saturating_sub(1))
    }

    fn repeat(&self, round: &Round, cursor: u64, entries: &mut Entries) {
        self.write(round, cursor, entries);
    }

    fn is_done(&self, round: &Round) -> bool {
        round.cursor >= self.size(round)
    }
}

/// Somebody who was purged before the round began may be told of all the same.
fn write_phantom(shared: &Shared, tenant: &Tenant, round: &Round, entries: &mut Entries) {
    let luck = draw(tenant.seed, 0x9a_07, round.cursor);
    if shared.options.oddities.removed_in_first_round && (round.cursor == 0 || luck.is_multiple_of(3)) {
        entries.removed(&object_id(tenant.seed, Kind::Phantom, luck as u32 >> 8).to_string(), "deleted");
    }
}

/// Writes the properties that were ever set; one that was cleared is `null`, one that never was is absent.
fn write_user(tenant: &Tenant, slot: u32, mask: Mask, former_manager: Option<u32>, entries: &mut Entries) {
    entries.begin(&tenant.users.id(slot).to_string());
    let reader = tenant.users.reader(slot);
    let mut left = mask & !RELATIONSHIP;
    while left != 0 {
        let property = UserProperty::ALL[left.trailing_zeros() as usize];
        left &= left - 1;
        let before = entries.json.len();
        entries.push(",\"");
        entries.push(property.name());
        entries.push("\":");
        if property == UserProperty::PasswordProfile || !reader.write(property, &mut entries.json) {
            entries.json.truncate(before);
        }
    }
    if mask & RELATIONSHIP != 0 {
        write_manager(tenant, slot, former_manager, entries);
    }
    entries.push("}");
}

fn write_manager(tenant: &Tenant, slot: u32, former: Option<u32>, entries: &mut Entries) {
    let (manager, removed) = match tenant.users.manager(slot) {
        Some(manager) => (manager, false),
        None => match former {
            Some(former) => (former, true),
            None => return,
        },
    };
    entries.push(",\"manager@delta\":[{\"@odata.type\":\"#microsoft.graph.user\",\"id\":\"");
    entries.push(&tenant.users.id(manager).to_string());
    entries.push(if removed { "\",\"@removed\":{\"reason\":\"deleted\"}}]" } else { "\"}]" });
}
