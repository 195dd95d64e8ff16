//! All groups and who is in them.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::{Value, json};
use uuid::Uuid;

use super::identity::{Kind, object_id, slot_of};
use super::names::GROUP_TOPICS;
use super::person::DOMAIN;
use super::property::{GroupProperty, Mask};
use super::users::{Lifecycle, WHOLE};
use crate::random::{Shuffle, draw};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Member {
    User(u32),
    Group(u32),
}

/// One line of the log from which delta rounds are made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GroupEntry {
    pub(crate) group: u32,
    pub(crate) change: GroupChange,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum GroupChange {
    Properties(Mask),
    Link { member: Member, added: bool },
}

/// One group. Its generated members are a shuffle of all users up to a size; changes are kept beside it, in
/// places that never move, so that a round can stop and go on at a place.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) lifecycle: Lifecycle,
    pub(crate) values: BTreeMap<GroupProperty, Value>,
    generated: u32,
    shuffle: Shuffle,
    dropped: HashSet<u32>,
    extra: Vec<Option<Member>>,
    extra_places: HashMap<Member, usize>,
}

impl Group {
    fn empty(values: BTreeMap<GroupProperty, Value>) -> Self {
        Self {
            lifecycle: Lifecycle::Live,
            values,
            generated: 0,
            shuffle: Shuffle::new(1, 0),
            dropped: HashSet::new(),
            extra: Vec::new(),
            extra_places: HashMap::new(),
        }
    }

    /// How many places there are; some may be empty.
    pub(crate) fn places(&self) -> usize {
        self.generated as usize + self.extra.len()
    }

    pub(crate) fn member_at(&self, place: usize) -> Option<Member> {
        match u32::try_from(place) {
            Ok(place) if place < self.generated => {
                (!self.dropped.contains(&place)).then(|| Member::User(self.shuffle.at(u64::from(place)) as u32))
            }
            _ => self.extra.get(place - self.generated as usize).copied().flatten(),
        }
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = Member> {
        (0..self.places()).filter_map(|place| self.member_at(place))
    }

    fn generated_place(&self, member: Member) -> Option<u32> {
        let Member::User(slot) = member else { return None };
        if self.generated == 0 || !self.shuffle.holds(u64::from(slot)) {
            return None;
        }
        u32::try_from(self.shuffle.position_of(u64::from(slot))).ok().filter(|&place| place < self.generated)
    }

    pub(crate) fn contains(&self, member: Member) -> bool {
        match self.generated_place(member) {
            Some(place) => !self.dropped.contains(&place),
            None => self.extra_places.contains_key(&member),
        }
    }

    fn add(&mut self, member: Member) -> bool {
        if self.contains(member) {
            return false;
        }
        if let Some(place) = self.generated_place(member) {
            return self.dropped.remove(&place);
        }
        self.extra_places.insert(member, self.extra.len());
        self.extra.push(Some(member));
        true
    }

    fn remove(&mut self, member: Member) -> bool {
        if let Some(place) = self.generated_place(member) {
            return self.dropped.insert(place);
        }
        match self.extra_places.remove(&member) {
            Some(place) => {
                self.extra[place] = None;
                true
            }
            None => false,
        }
    }

    /// Microsoft 365 groups go to a recycle bin, security groups are gone at once.
    pub(crate) fn is_unified(&self) -> bool {
        self.values.get(&GroupProperty::GroupTypes).is_some_and(|types| types.to_string().contains("\"Unified\""))
    }
}

#[derive(Debug)]
pub(crate) struct Groups {
    seed: u64,
    all: Vec<Group>,
    pub(crate) log: Vec<GroupEntry>,
}

impl Groups {
    pub(crate) fn new(seed: u64, count: u32, users: u32) -> Self {
        let all = (0..count).map(|slot| generate(seed, slot, users)).collect();
        Self { seed, all, log: Vec::new() }
    }

    pub(crate) fn total(&self) -> u32 {
        self.all.len() as u32
    }

    pub(crate) fn live(&self) -> impl Iterator<Item = u32> {
        (0..self.total()).filter(|&slot| self.is_live(slot))
    }

    pub(crate) fn id(&self, slot: u32) -> Uuid {
        object_id(self.seed, Kind::Group, slot)
    }

    pub(crate) fn slot(&self, id: &str) -> Option<u32> {
        slot_of(self.seed, Kind::Group, Uuid::try_parse(id).ok()?).filter(|&slot| slot < self.total())
    }

    pub(crate) fn get(&self, slot: u32) -> Option<&Group> {
        self.all.get(slot as usize)
    }

    pub(crate) fn is_live(&self, slot: u32) -> bool {
        self.get(slot).is_some_and(|group| group.lifecycle == Lifecycle::Live)
    }

    pub(crate) fn find(&self, id: &str) -> Option<u32> {
        self.slot(id).filter(|&slot| self.is_live(slot))
    }

    pub(crate) fn with_unique_name(&self, name: &str) -> Option<u32> {
        let own = |slot: &u32| self.get(*slot).and_then(|group| group.values.get(&GroupProperty::UniqueName));
        self.live().find(|slot| own(slot).is_some_and(|own| own == name))
    }

    pub(crate) fn set_unique_name(&mut self, slot: u32, name: &str) {
        self.patch(slot, vec![(GroupProperty::UniqueName, json!(name))]);
    }

    pub(crate) fn create(&mut self, values: Vec<(GroupProperty, Value)>) -> u32 {
        let slot = self.total();
        self.all.push(Group::empty(values.into_iter().collect()));
        self.record(slot, WHOLE);
        slot
    }

    pub(crate) fn patch(&mut self, slot: u32, values: Vec<(GroupProperty, Value)>) {
        let Some(group) = self.all.get_mut(slot as usize) else { return };
        let mut changed = 0;
        for (property, value) in values {
            let old = group.values.get(&property);
            if old == Some(&value) || (old.is_none() && value.is_null()) {
                continue;
            }
            group.values.insert(property, value);
            changed |= property.bit();
        }
        if changed != 0 {
            self.record(slot, changed);
        }
    }

    pub(crate) fn set_lifecycle(&mut self, slot: u32, lifecycle: Lifecycle) {
        if let Some(group) = self.all.get_mut(slot as usize) {
            group.lifecycle = lifecycle;
            self.record(slot, WHOLE);
        }
    }

    pub(crate) fn add_member(&mut self, slot: u32, member: Member) -> bool {
        let added = self.all.get_mut(slot as usize).is_some_and(|group| group.add(member));
        if added {
            self.log.push(GroupEntry { group: slot, change: GroupChange::Link { member, added: true } });
        }
        added
    }

    pub(crate) fn remove_member(&mut self, slot: u32, member: Member) -> bool {
        let removed =
            self.all.get_mut(slot as usize).is_some_and(|group| group.contains(member) && group.remove(member));
        if removed {
            self.log.push(GroupEntry { group: slot, change: GroupChange::Link { member, added: false } });
        }
        removed
    }

    /// Ends the memberships of an object that is gone for good.
    pub(crate) fn forget(&mut self, member: Member) {
        for slot in 0..self.total() {
            self.remove_member(slot, member);
        }
    }

    fn record(&mut self, group: u32, changed: Mask) {
        self.log.push(GroupEntry { group, change: GroupChange::Properties(changed) });
    }
}

fn generate(seed: u64, slot: u32, users: u32) -> Group {
    let luck = draw(seed, 0x6e_01, u64::from(slot));
    let unified = slot % 3 == 1;
    let topic = GROUP_TOPICS[slot as usize % GROUP_TOPICS.len()];
    let round = slot as usize / GROUP_TOPICS.len();
    let shown = match (slot, round) {
        (0, _) => "Everyone".to_owned(),
        (_, 0) => topic.to_owned(),
        _ => format!("{topic} {}", round + 1),
    };
    let nickname = format!("group{slot}");
    let mut values = BTreeMap::from([
        (GroupProperty::DisplayName, json!(shown)),
        (GroupProperty::MailNickname, json!(nickname)),
        (GroupProperty::MailEnabled, json!(unified)),
        (GroupProperty::SecurityEnabled, json!(!unified)),
        (GroupProperty::GroupTypes, if unified { json!(["Unified"]) } else { json!([]) }),
        (GroupProperty::CreatedDateTime, json!(format!("20{:02}-{:02}-15T10:00:00Z", 12 + luck % 14, 1 + luck % 12))),
    ]);
    if unified {
        values.insert(GroupProperty::Mail, json!(format!("{nickname}@{DOMAIN}")));
        values.insert(GroupProperty::Visibility, json!(if luck.is_multiple_of(2) { "Private" } else { "Public" }));
    }
    if !luck.is_multiple_of(4) {
        values.insert(GroupProperty::Description, json!(format!("Everybody who has to do with {shown}")));
    }
    let mut group = Group::empty(values);
    group.generated = size(slot, users, luck);
    group.shuffle = Shuffle::new(u64::from(users.max(1)), luck);
    // Security groups only, and always of a lower slot: nesting has no cycles.
    if slot % 9 == 6 {
        for nested in [slot - 1, slot - 3].into_iter().filter(|nested| nested % 3 != 1) {
            group.add(Member::Group(nested));
        }
    }
    group
}

/// One group of everybody, two large ones, and a long tail down to none at all.
fn size(slot: u32, users: u32, luck: u64) -> u32 {
    let wanted = match slot {
        0 => users,
        1 => users / 100 * 40 + users % 100 * 40 / 100,
        2 => users / 10,
        _ if slot % 13 == 12 => 0,
        _ => users / (8 * (slot + 1)) + (luck % 17) as u32,
    };
    wanted.min(users)
}
