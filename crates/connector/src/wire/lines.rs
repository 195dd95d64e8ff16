//! Messages as lines: one JSON document each, never longer than a limit.

use serde::Serialize;

/// The longest line in bytes, without its end, that either side takes unless it says less in its hello.
pub const LINE_LIMIT: usize = 8 * 1024 * 1024;

/// The least that a side may ask for as the longest line.
pub const SMALLEST_LINE_LIMIT: usize = 64 * 1024;

/// Writes a message as a line, its end included. `None` if it would be longer than `limit`, or cannot be written.
#[must_use]
pub fn encode(message: &impl Serialize, limit: usize) -> Option<Vec<u8>> {
    let mut line = serde_json::to_vec(message).ok()?;
    if line.len() > limit {
        return None;
    }
    line.push(b'\n');
    Some(line)
}

/// Cuts bytes into lines as they come, and keeps at most one line's limit of them.
#[derive(Debug)]
pub struct Lines {
    limit: usize,
    held: Vec<u8>,
    /// How much of `held` has been handed out.
    taken: usize,
    /// How far `held` was searched for a line's end.
    searched: usize,
    skipping: bool,
}

/// What [`Lines`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// A line without its end.
    Whole(Vec<u8>),
    /// A line was longer than the limit; it is skipped up to its end.
    TooLong,
}

impl Lines {
    /// Lines of at most `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, held: Vec::new(), taken: 0, searched: 0, skipping: false }
    }

    /// Takes another limit for the lines to come.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Takes bytes in. Call [`Self::line`] until it has no more.
    pub fn push(&mut self, bytes: &[u8]) {
        self.held.drain(..self.taken);
        self.searched -= self.taken;
        self.taken = 0;
        self.held.extend_from_slice(bytes);
    }

    /// The next line, if there is one.
    pub fn line(&mut self) -> Option<Line> {
        loop {
            let rest = self.held.get(self.searched..).unwrap_or_default();
            let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
                self.searched = self.held.len();
                if self.skipping {
                    self.forget();
                    return None;
                }
                if self.held.len() - self.taken <= self.limit {
                    return None;
                }
                self.skipping = true;
                self.forget();
                return Some(Line::TooLong);
            };
            let end = self.searched + end;
            let line = self.held.get(self.taken..end).unwrap_or_default();
            let line = line.strip_suffix(b"\r").unwrap_or(line).to_vec();
            (self.taken, self.searched) = (end + 1, end + 1);
            if std::mem::take(&mut self.skipping) {
                continue;
            }
            if line.len() > self.limit {
                return Some(Line::TooLong);
            }
            if !line.iter().all(u8::is_ascii_whitespace) {
                return Some(Line::Whole(line));
            }
        }
    }

    fn forget(&mut self) {
        self.held.clear();
        (self.taken, self.searched) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(lines: &mut Lines) -> Vec<Line> {
        std::iter::from_fn(|| lines.line()).collect()
    }

    fn whole(text: &str) -> Line {
        Line::Whole(text.as_bytes().to_vec())
    }

    #[test]
    fn lines_are_cut_wherever_the_bytes_are() {
        let text = "{\"a\":1}\r\n\n  \n{\"b\":2}\nrest";
        for size in 1..=text.len() {
            let mut lines = Lines::new(100);
            let mut found = Vec::new();
            for part in text.as_bytes().chunks(size) {
                lines.push(part);
                found.extend(all(&mut lines));
            }
            assert_eq!(found, [whole("{\"a\":1}"), whole("{\"b\":2}")], "in parts of {size}");
        }
    }

    #[test]
    fn a_line_without_end_takes_no_more_memory_than_the_limit_and_the_next_one_is_read() {
        let mut lines = Lines::new(10);
        let mut found = Vec::new();
        for _ in 0..1000 {
            lines.push(&[b'x'; 7]);
            found.extend(all(&mut lines));
            assert!(lines.held.len() <= 17, "{} bytes are held", lines.held.len());
        }
        lines.push(b"\n0123456789\n01234567890\nok\n");
        found.extend(all(&mut lines));
        assert_eq!(found, [Line::TooLong, whole("0123456789"), Line::TooLong, whole("ok")]);
    }
}
