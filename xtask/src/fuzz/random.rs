//! Numbers that follow from a seed, and what is made of them: texts, bytes, damage.

/// splitmix64.
pub(crate) struct Random(u64);

/// Pieces that have broken parsers before: brackets, signs, ends of ranges, letters of several bytes.
const PIECES: [&str; 34] = [
    "",
    " ",
    "\n",
    "\t",
    "\u{0}",
    "\"",
    "'",
    "\\",
    "[",
    "]",
    "(",
    ")",
    "{",
    "}",
    ",",
    ".",
    ":",
    ";",
    "-",
    "+",
    "=",
    "$1",
    "${n}",
    "\u{feff}",
    "\u{202e}",
    "å",
    "ß",
    "ı",
    "東",
    "😀",
    "e\u{301}",
    "9223372036854775808",
    "-0",
    "1e999",
];

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of the first `bound` numbers; 0 for none.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound.max(1)).unwrap_or(1)).unwrap_or(0)
    }

    pub(crate) fn one_in(&mut self, chance: usize) -> bool {
        self.below(chance) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    pub(crate) fn seed(&mut self) -> [u8; 16] {
        let mut seed = [0; 16];
        seed[..8].copy_from_slice(&self.next().to_le_bytes());
        seed[8..].copy_from_slice(&self.next().to_le_bytes());
        seed
    }

    /// A text of pieces, words and digits.
    pub(crate) fn text(&mut self) -> String {
        let mut text = String::new();
        for _ in 0..self.below(7) {
            match self.below(4) {
                0 => text.push_str(&self.below(10_000).to_string()),
                1 => text.push_str(self.pick(&["John", "van der", "AB", "x", "true", "2026-03-29", "12:30", "@x.de"])),
                2 => text.extend(char::from_u32(u32::try_from(self.next() % 0x11_0000).unwrap_or(0))),
                _ => text.push_str(self.pick(&PIECES)),
            }
        }
        text
    }

    /// The text with a few letters taken out, doubled, exchanged or put in.
    pub(crate) fn damaged(&mut self, text: &str, pieces: &[&str]) -> String {
        let mut letters: Vec<char> = text.chars().collect();
        for _ in 0..=self.below(3) {
            let at = self.below(letters.len() + 1);
            let end = (at + self.below(6)).min(letters.len());
            let part: Vec<char> = match self.below(4) {
                0 => Vec::new(),
                1 => self.pick(pieces).chars().collect(),
                2 => self.pick(&PIECES).chars().collect(),
                _ => letters[at..end].repeat(1 + self.below(3)),
            };
            letters.splice(at..end, part);
        }
        letters.into_iter().collect()
    }

    /// The bytes with a few of them changed, taken out, doubled or put in.
    pub(crate) fn damaged_bytes(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            let end = (at + self.below(5)).min(bytes.len());
            let part: Vec<u8> = match self.below(4) {
                0 => Vec::new(),
                1 => vec![self.pick(&[0, 1, 0x7f, 0x80, 0xff, b'"', b'{', b'\\'])],
                2 => self.next().to_le_bytes()[..self.below(9)].to_vec(),
                _ => bytes[at..end].repeat(1 + self.below(3)),
            };
            bytes.splice(at..end, part);
        }
        bytes
    }
}
