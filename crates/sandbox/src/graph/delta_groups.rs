//! `GET /groups/delta` (Microsoft Graph: group delta; a large group comes in slices, on pages that need not be
//! neighbours).

use std::collections::HashMap;

use super::delta::{self, DeltaMood, Entries, Source};
use super::delta_token::{Feed, Round};
use super::{delta_users, select};
use crate::directory::entity::type_annotation;
use crate::directory::groups::{Group, GroupChange, Member};
use crate::directory::property::{GroupProperty, Mask, RELATIONSHIP};
use crate::directory::tenant::Tenant;
use crate::directory::users::{Lifecycle, WHOLE};
use crate::http::reply::Reply;
use crate::http::request::Request;
use crate::random::Shuffle;
use crate::refusal::Refusal;
use crate::state::Shared;

/// How many slices' worth of members fit on one page.
const SLICES_PER_PAGE: usize = 4;

pub(crate) fn answer(shared: &Shared, request: &Request, mood: DeltaMood) -> Result<Reply, Refusal> {
    let tenant = shared.tenant();
    let selected = |text: Option<&str>| match text {
        Some(text) => select::groups_in_delta(text),
        // Without a selection members come along.
        None => Ok(GroupProperty::defaults() | RELATIONSHIP),
    };
    let extent = (tenant.groups.log.len() as u64, tenant.groups.total());
    let opening = delta::open(shared, request, Feed::Groups, selected, |id| tenant.groups.slot(id), extent)?;
    let round = &opening.round;
    let items = match round.since {
        None if round.only.is_empty() => (0..round.total).map(Item::first).collect(),
        None => round.only.iter().copied().filter(|&slot| slot < tenant.groups.total()).map(Item::first).collect(),
        Some(since) => changes(&tenant, round, since),
    };
    let order = delta_users::order(shared, round, items.len() as u64);
    let source = Groups { shared, tenant: &tenant, items, order };
    Ok(delta::page(shared, request, &tenant, opening, &source, mood))
}

/// One group that the round tells of, and what about it.
struct Item {
    slot: u32,
    first: bool,
    changed: Mask,
    links: Vec<(Member, bool)>,
}

impl Item {
    const fn first(slot: u32) -> Self {
        Self { slot, first: true, changed: WHOLE, links: Vec::new() }
    }
}

fn changes(tenant: &Tenant, round: &Round, since: u64) -> Vec<Item> {
    let mut places: HashMap<u32, usize> = HashMap::new();
    let mut links: HashMap<(u32, Member), usize> = HashMap::new();
    let mut all: Vec<Item> = Vec::new();
    for entry in tenant.groups.log.get(since as usize..round.end as usize).unwrap_or_default() {
        if !round.only.is_empty() && !round.only.contains(&entry.group) {
            continue;
        }
        let place = *places.entry(entry.group).or_insert_with(|| {
            all.push(Item { first: false, changed: 0, ..Item::first(entry.group) });
            all.len() - 1
        });
        match entry.change {
            GroupChange::Properties(changed) => all[place].changed |= changed,
            GroupChange::Link { member, added } => {
                // Of one membership only its last state is told.
                let own = &mut all[place].links;
                let link = *links.entry((entry.group, member)).or_insert(own.len());
                if link == own.len() {
                    own.push((member, added));
                } else {
                    own[link].1 = added;
                }
            }
        }
    }
    let members = round.select & RELATIONSHIP != 0;
    all.retain(|item| item.changed == WHOLE || item.changed & round.select != 0 || (members && !item.links.is_empty()));
    all
}

struct Groups<'a> {
    shared: &'a Shared,
    tenant: &'a Tenant,
    items: Vec<Item>,
    order: Option<Shuffle>,
}

/// A cursor is the number of the slice, then the place of the item: the second slices come after all first ones.
const fn cursor(slice: u64, place: u64) -> u64 {
    (slice << 32) | place
}

impl Groups<'_> {
    fn item(&self, place: u64) -> Option<&Item> {
        self.items.get(self.order.map_or(place, |order| order.at(place)) as usize)
    }

    fn slice_size(&self) -> usize {
        self.shared.options.member_slice
    }

    fn slices(&self, round: &Round, item: &Item) -> u64 {
        let live = self.tenant.groups.is_live(item.slot);
        if !live || round.select & RELATIONSHIP == 0 {
            return 1;
        }
        let links = item.links.len();
        let places = match self.tenant.groups.get(item.slot) {
            Some(group) if item.changed == WHOLE => group.places().max(links),
            _ => links,
        };
        (places.div_ceil(self.slice_size()) as u64).max(1)
    }

    /// Writes one slice of one group; how many members it had.
    fn write(&self, round: &Round, item: &Item, slice: u64, entries: &mut Entries) -> usize {
        let Some(group) = self.tenant.groups.get(item.slot) else { return 0 };
        let id = self.tenant.groups.id(item.slot).to_string();
        match group.lifecycle {
            Lifecycle::Live => {}
            // Of the past a first round tells only when it wants to be difficult.
            _ if item.first && !self.shared.options.oddities.removed_in_first_round => return 0,
            Lifecycle::Deleted => {
                entries.removed(&id, "changed");
                return 0;
            }
            Lifecycle::Purged => {
                entries.removed(&id, "deleted");
                return 0;
            }
        }
        entries.begin(&id);
        let properties = if round.minimal && !item.first { round.select & item.changed } else { round.select };
        write_properties(group, properties, entries);
        let count = if round.select & RELATIONSHIP == 0 { 0 } else { self.write_slice(item, group, slice, entries) };
        entries.push("}");
        count
    }

    fn write_slice(&self, item: &Item, group: &Group, slice: u64, entries: &mut Entries) -> usize {
        let from = slice as usize * self.slice_size();
        let until = from + self.slice_size();
        let own_links = item.links.iter().skip(from).take(self.slice_size()).copied();
        let before = entries.json.len();
        entries.push(",\"members@delta\":[");
        let mut count = 0;
        let mut write = |member: Member, added: bool| {
            entries.push(if count > 0 { ",{" } else { "{" });
            entries.push(type_annotation(member));
            entries.push("\"id\":\"");
            entries.push(&self.tenant.member_id(member));
            entries.push(if added { "\"}" } else { "\",\"@removed\":{\"reason\":\"deleted\"}}" });
            count += 1;
        };
        if item.changed == WHOLE {
            (from..until.min(group.places()))
                .filter_map(|place| group.member_at(place))
                .for_each(|member| write(member, true));
            own_links.filter(|(_, added)| !added).for_each(|(member, _)| write(member, false));
        } else {
            own_links.for_each(|(member, added)| write(member, added));
        }
        if count == 0 {
            entries.json.truncate(before);
        } else {
            entries.push("]");
        }
        count
    }
}

impl Source for Groups<'_> {
    fn fill(&self, round: &Round, entries: &mut Entries) -> (Option<u64>, u64) {
        let full = entries.count + self.shared.options.group_page_size;
        let last_slice = self.items.iter().map(|item| self.slices(round, item)).max().unwrap_or(0);
        let (mut slice, mut place) = (round.cursor >> 32, round.cursor & 0xffff_ffff);
        let (mut members, mut last) = (0, round.cursor);
        while slice < last_slice {
            if place >= self.items.len() as u64 {
                (slice, place) = (slice + 1, 0);
                continue;
            }
            if entries.count >= full || members >= SLICES_PER_PAGE * self.slice_size() {
                return (Some(cursor(slice, place)), last);
            }
            if let Some(item) = self.item(place).filter(|item| slice < self.slices(round, item)) {
                members += self.write(round, item, slice, entries);
                last = cursor(slice, place);
            }
            place += 1;
        }
        (None, last)
    }

    fn repeat(&self, round: &Round, cursor: u64, entries: &mut Entries) {
        if let Some(item) = self.item(cursor & 0xffff_ffff) {
            self.write(round, item, cursor >> 32, entries);
        }
    }

    fn is_done(&self, round: &Round) -> bool {
        self.items.len() as u64 <= (round.cursor & 0xffff_ffff)
    }
}

fn write_properties(group: &Group, mask: Mask, entries: &mut Entries) {
    for (&property, value) in group.values.iter().filter(|(property, _)| mask & property.bit() != 0) {
        entries.push(",\"");
        entries.push(property.name());
        entries.push("\":");
        entries.push(&value.to_string());
    }
}
