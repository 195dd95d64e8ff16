//! Object ids that carry their own slot, so that a million ids need no index.

use uuid::Uuid;

use crate::random::{Shuffle, draw};

/// The kinds of object that have an id of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    User,
    Group,
    /// Objects that were purged before anybody looked; they appear in rounds as removed, and nowhere else.
    Phantom,
}

impl Kind {
    const fn stream(self) -> u64 {
        match self {
            Self::User => 0x1d_01,
            Self::Group => 0x1d_02,
            Self::Phantom => 0x1d_03,
        }
    }
}

/// The id of the object in `slot`: looks random, is the same for the same seed.
pub(crate) fn object_id(seed: u64, kind: Kind, slot: u32) -> Uuid {
    let high = draw(seed, kind.stream(), u64::from(slot));
    let low = draw(seed, kind.stream() << 8, u64::from(slot));
    let carried = slots(seed, kind).at(u64::from(slot));
    uuid::Builder::from_random_bytes(
        ((u128::from(high) << 64) | u128::from((low & !0xffff_ffff) | carried)).to_be_bytes(),
    )
    .into_uuid()
}

/// The slot of an id, if this tenant could have given it out.
pub(crate) fn slot_of(seed: u64, kind: Kind, id: Uuid) -> Option<u32> {
    let carried = (id.as_u128() & 0xffff_ffff) as u64;
    let slot = u32::try_from(slots(seed, kind).position_of(carried)).ok()?;
    (object_id(seed, kind, slot) == id).then_some(slot)
}

fn slots(seed: u64, kind: Kind) -> Shuffle {
    Shuffle::new(1 << 32, draw(seed, kind.stream(), u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_names_its_slot_and_foreign_ids_name_none() {
        for slot in [0, 1, 999_999] {
            let id = object_id(7, Kind::User, slot);
            assert_eq!(slot_of(7, Kind::User, id), Some(slot));
            assert_eq!(slot_of(7, Kind::Group, id), None);
            assert_eq!(slot_of(8, Kind::User, id), None);
            assert_eq!(id.get_version_num(), 4);
        }
    }
}
