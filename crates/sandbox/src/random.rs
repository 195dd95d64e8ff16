//! Randomness without state: every value is a function of the seed and a number.
//!
//! The directory is never stored, it is computed when read. So nothing here may ever change its result for
//! the same input, or tenants of the same seed would differ between versions.

/// Spreads the bits of a number (the finaliser of SplitMix64).
pub(crate) const fn mix(number: u64) -> u64 {
    let mut x = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The `number`-th value of one of the seed's independent streams.
pub(crate) const fn draw(seed: u64, stream: u64, number: u64) -> u64 {
    mix(mix(seed ^ mix(stream)) ^ number)
}

/// A shuffle of `0..size` that can be walked in both directions without holding it in memory.
///
/// A Feistel network over the next power of four; results outside the range are walked on until they fall inside.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shuffle {
    size: u64,
    half_bits: u32,
    key: u64,
}

const ROUNDS: u64 = 4;

impl Shuffle {
    pub(crate) fn new(size: u64, key: u64) -> Self {
        let bits = 64 - size.saturating_sub(1).leading_zeros();
        Self { size, half_bits: bits.div_ceil(2).max(1), key }
    }

    pub(crate) fn holds(&self, element: u64) -> bool {
        element < self.size
    }

    /// Which element stands at `position`.
    pub(crate) fn at(&self, position: u64) -> u64 {
        let mut x = position;
        loop {
            x = self.forward(x);
            if x < self.size || self.size == 0 {
                return x;
            }
        }
    }

    /// At which position `element` stands.
    pub(crate) fn position_of(&self, element: u64) -> u64 {
        let mut x = element;
        loop {
            x = self.backward(x);
            if x < self.size || self.size == 0 {
                return x;
            }
        }
    }

    fn forward(&self, x: u64) -> u64 {
        let (mut left, mut right) = self.split(x);
        for round in 0..ROUNDS {
            (left, right) = (right, left ^ self.scramble(round, right));
        }
        (left << self.half_bits) | right
    }

    fn backward(&self, x: u64) -> u64 {
        let (mut left, mut right) = self.split(x);
        for round in (0..ROUNDS).rev() {
            (left, right) = (right ^ self.scramble(round, left), left);
        }
        (left << self.half_bits) | right
    }

    fn split(&self, x: u64) -> (u64, u64) {
        (x >> self.half_bits, x & self.mask())
    }

    fn mask(&self) -> u64 {
        (1 << self.half_bits) - 1
    }

    fn scramble(&self, round: u64, half: u64) -> u64 {
        mix(self.key ^ (round << 56) ^ half) & self.mask()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shuffle_holds_every_element_once() {
        for size in [1, 2, 3, 10, 255, 1000] {
            let shuffle = Shuffle::new(size, 7);
            let mut seen: Vec<u64> = (0..size).map(|position| shuffle.at(position)).collect();
            assert!((0..size).all(|position| shuffle.position_of(shuffle.at(position)) == position));
            seen.sort_unstable();
            assert_eq!(seen, (0..size).collect::<Vec<_>>());
        }
    }
}
