//! Numbers that look random and follow from a seed alone, so that an evaluation can be repeated.

/// xoroshiro128++ over a seed from outside.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Generator {
    state: [u64; 2],
}

impl Generator {
    pub(crate) fn new(seed: [u8; 16]) -> Self {
        let number = u128::from_le_bytes(seed);
        #[expect(clippy::cast_possible_truncation, reason = "the two halves")]
        let halves = [number as u64, (number >> 64) as u64];
        // The state must not be all zero, and seeds that differ little should not give alike beginnings.
        let mut generator = Self { state: [halves[0] ^ 0x9e37_79b9_7f4a_7c15, halves[1] ^ 0xbf58_476d_1ce4_e5b9] };
        for _ in 0..8 {
            generator.next();
        }
        generator
    }

    pub(crate) fn next(&mut self) -> u64 {
        let [first, second] = self.state;
        let result = first.wrapping_add(second).rotate_left(17).wrapping_add(first);
        let mixed = second ^ first;
        self.state = [first.rotate_left(49) ^ mixed ^ (mixed << 21), mixed.rotate_left(28)];
        result
    }

    /// One of the first `count` numbers; 0 for none.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        let wide = u128::from(self.next()) * count as u128;
        usize::try_from(wide >> 64).unwrap_or(0)
    }
}
