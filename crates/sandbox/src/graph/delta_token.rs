//! What a next link or delta link remembers, packed so that nobody is tempted to read it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::directory::property::Mask;
use crate::random::{draw, mix};

/// Which collection a round is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Feed {
    Users,
    Groups,
}

/// Whether a token goes on with a round or begins the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Page,
    Link,
}

/// One round of delta, from its first page to the link that begins the next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Round {
    pub(crate) feed: Feed,
    pub(crate) step: Step,
    /// Begun with `Prefer: return=minimal`.
    pub(crate) minimal: bool,
    /// An empty page was sent in front of the next one.
    pub(crate) paused: bool,
    pub(crate) select: Mask,
    /// The place in the log at which the round before ended; a first round has none.
    pub(crate) since: Option<u64>,
    /// The place in the log at which this round ends.
    pub(crate) end: u64,
    /// How many objects there were when a first round began.
    pub(crate) total: u32,
    pub(crate) cursor: u64,
    /// Where the last object of the page before stood.
    pub(crate) last: u64,
    /// The second in which the token was made.
    pub(crate) issued: u64,
    /// Only these objects; empty means all.
    pub(crate) only: Vec<u32>,
}

/// Real tokens are long; clients that cut them off should notice here.
const FILLER: usize = 64;
const MOST_ONLY: usize = 50;

impl Round {
    pub(crate) fn pack(&self, seed: u64) -> String {
        let mut bytes = Vec::with_capacity(160);
        let flags = u8::from(self.feed == Feed::Groups)
            | u8::from(self.step == Step::Link) << 1
            | u8::from(self.minimal) << 2
            | u8::from(self.paused) << 3
            | u8::from(self.since.is_some()) << 4;
        bytes.push(flags);
        bytes.extend_from_slice(&self.select.to_be_bytes());
        for number in [self.since.unwrap_or(0), self.end, u64::from(self.total), self.cursor, self.last, self.issued] {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        self.only.iter().for_each(|slot| bytes.extend_from_slice(&slot.to_be_bytes()));
        let sum = checksum(seed, &bytes);
        bytes.extend((0..FILLER).map(|number| draw(sum, 1, number as u64) as u8));
        scramble(sum, &mut bytes);
        bytes.extend_from_slice(&sum.to_be_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The round, if this sandbox made the token.
    pub(crate) fn unpack(seed: u64, token: &str) -> Option<Self> {
        let mut bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let sum = u64::from_be_bytes(bytes.split_off(bytes.len().checked_sub(8)?).try_into().ok()?);
        scramble(sum, &mut bytes);
        bytes.truncate(bytes.len().checked_sub(FILLER)?);
        if checksum(seed, &bytes) != sum {
            return None;
        }
        let (flags, rest) = bytes.split_first()?;
        let (select, rest) = rest.split_first_chunk::<16>()?;
        let mut numbers = [0; 6];
        let (fixed, only) = rest.split_at_checked(48)?;
        for (number, chunk) in numbers.iter_mut().zip(fixed.chunks_exact(8)) {
            *number = u64::from_be_bytes(chunk.try_into().ok()?);
        }
        let [since, end, total, cursor, last, issued] = numbers;
        let only = only.chunks_exact(4).filter_map(|chunk| Some(u32::from_be_bytes(chunk.try_into().ok()?)));
        Some(Self {
            feed: if flags & 1 != 0 { Feed::Groups } else { Feed::Users },
            step: if flags & 2 != 0 { Step::Link } else { Step::Page },
            minimal: flags & 4 != 0,
            paused: flags & 8 != 0,
            select: Mask::from_be_bytes(*select),
            since: (flags & 16 != 0).then_some(since),
            end,
            total: u32::try_from(total).ok()?,
            cursor,
            last,
            issued,
            only: only.take(MOST_ONLY).collect(),
        })
    }
}

fn checksum(seed: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(mix(seed ^ 0xde17a), |sum, &byte| mix(sum ^ u64::from(byte)))
}

fn scramble(key: u64, bytes: &mut [u8]) {
    for (number, byte) in bytes.iter_mut().enumerate() {
        *byte ^= draw(key, 2, number as u64) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_gives_back_the_round_and_only_to_its_tenant() {
        let round = Round {
            feed: Feed::Groups,
            step: Step::Link,
            minimal: true,
            paused: false,
            select: 1 << 127 | 5,
            since: Some(7),
            end: 9,
            total: 10,
            cursor: 1 << 40,
            last: 3,
            issued: 1_800_000_000,
            only: vec![1, 2],
        };
        let token = round.pack(1);
        assert_eq!(Round::unpack(1, &token), Some(round));
        assert_eq!(Round::unpack(2, &token), None);
        assert_eq!(Round::unpack(1, &token.replacen(char::is_alphabetic, "0", 1)), None);
        assert_eq!(Round::unpack(1, ""), None);
    }
}
