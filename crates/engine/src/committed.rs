//! Which objects a first read has committed: looking for each one in the state would mostly be in vain.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// In 64-bit words: once it holds a hundred thousand objects, one in three thousand others is looked for in vain; once
/// it holds a million, one in eight.
const WORDS: usize = 1 << 16;

/// Bits for each object.
const BITS: u32 = 3;

/// A Bloom filter over anchors: what it does not hold was certainly not committed.
pub(crate) struct Committed {
    words: Box<[u64]>,
}

impl Default for Committed {
    fn default() -> Self {
        Self { words: vec![0; WORDS].into_boxed_slice() }
    }
}

impl Committed {
    pub(crate) fn hold(&mut self, anchor: &[u8]) {
        for (word, bit) in places(anchor) {
            self.words[word] |= bit;
        }
    }

    pub(crate) fn may_hold(&self, anchor: &[u8]) -> bool {
        places(anchor).all(|(word, bit)| self.words[word] & bit != 0)
    }
}

fn places(anchor: &[u8]) -> impl Iterator<Item = (usize, u64)> {
    let mut hasher = DefaultHasher::new();
    anchor.hash(&mut hasher);
    let hash = hasher.finish();
    (0..BITS).map(move |part| {
        let part = (hash >> (part * 21)) as usize;
        ((part >> 6) % WORDS, 1 << (part % 64))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_committed_is_looked_for_and_little_else() {
        let anchor = |number: u32| [b"\x02\x0auser", number.to_be_bytes().as_slice()].concat();
        let mut committed = Committed::default();
        (0..100_000).for_each(|number| committed.hold(&anchor(number)));
        assert!((0..100_000).all(|number| committed.may_hold(&anchor(number))));
        let in_vain = (100_000..200_000).filter(|number| committed.may_hold(&anchor(*number))).count();
        assert!(in_vain < 100, "{in_vain}");
    }
}
