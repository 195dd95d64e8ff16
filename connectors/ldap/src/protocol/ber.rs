//! The Basic Encoding Rules as far as LDAP uses them (RFC 4511, section 5.1): definite lengths, tags of one byte.

/// What a server sent is no LDAP.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the server's answer is malformed: {0}")]
pub(crate) struct Malformed(pub(crate) &'static str);

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const OCTETS: u8 = 0x04;
pub(crate) const ENUMERATED: u8 = 0x0a;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

/// A primitive tag of class context.
pub(crate) const fn context(number: u8) -> u8 {
    0x80 | number
}

/// A constructed tag of class context.
pub(crate) const fn within_context(number: u8) -> u8 {
    0xa0 | number
}

/// Writes values one after the other.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    pub(crate) fn octets(&mut self, tag: u8, content: &[u8]) {
        self.bytes.push(tag);
        match u8::try_from(content.len()) {
            Ok(length) if length < 0x80 => self.bytes.push(length),
            _ => self.long(content.len()),
        }
        self.bytes.extend_from_slice(content);
    }

    pub(crate) fn boolean(&mut self, tag: u8, truth: bool) {
        self.octets(tag, &[if truth { 0xff } else { 0 }]);
    }

    pub(crate) fn integer(&mut self, tag: u8, number: i64) {
        let bytes = number.to_be_bytes();
        // The shortest form in two's complement: leading bytes that only repeat the sign go.
        let sign = if number < 0 { 0xff } else { 0 };
        let superfluous = bytes
            .windows(2)
            .take_while(|pair| matches!(pair, [first, second] if *first == sign && (second & 0x80) == (sign & 0x80)))
            .count();
        self.octets(tag, bytes.get(superfluous..).unwrap_or_default());
    }

    /// A value made of values. Its length is written in five bytes, which the rules allow, so that nothing moves.
    pub(crate) fn nested(&mut self, tag: u8, content: impl FnOnce(&mut Self)) {
        self.bytes.push(tag);
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[0x84, 0, 0, 0, 0]);
        let start = self.bytes.len();
        content(self);
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX).to_be_bytes();
        if let Some(place) = self.bytes.get_mut(at + 1..start) {
            place.copy_from_slice(&length);
        }
    }

    fn long(&mut self, length: usize) {
        self.bytes.push(0x84);
        self.bytes.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    }
}

/// Reads values one after the other.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The tag of the next value.
    pub(crate) fn tag(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// The next value, whatever it is.
    pub(crate) fn value(&mut self) -> Result<(u8, &'a [u8]), Malformed> {
        let (header, length) = header(self.rest)?.ok_or(Malformed("it ends within a value"))?;
        let (tag, rest) = self.rest.split_first().ok_or(Malformed("it ends within a value"))?;
        let content =
            rest.get(header - 1..header - 1 + length).ok_or(Malformed("a value is longer than the answer"))?;
        self.rest = rest.get(header - 1 + length..).unwrap_or_default();
        Ok((*tag, content))
    }

    /// The next value, which must have this tag.
    pub(crate) fn expect(&mut self, tag: u8) -> Result<&'a [u8], Malformed> {
        match self.value()? {
            (found, content) if found == tag => Ok(content),
            _ => Err(Malformed("a value is not of the expected kind")),
        }
    }

    /// The next value, if it has this tag.
    pub(crate) fn optional(&mut self, tag: u8) -> Result<Option<&'a [u8]>, Malformed> {
        if self.tag() == Some(tag) { self.expect(tag).map(Some) } else { Ok(None) }
    }

    pub(crate) fn within(&mut self, tag: u8) -> Result<Self, Malformed> {
        self.expect(tag).map(Self::new)
    }

    pub(crate) fn integer(&mut self, tag: u8) -> Result<i64, Malformed> {
        integer(self.expect(tag)?)
    }

    pub(crate) fn text(&mut self, tag: u8) -> Result<String, Malformed> {
        Ok(String::from_utf8_lossy(self.expect(tag)?).into_owned())
    }
}

/// A whole number in two's complement.
pub(crate) fn integer(content: &[u8]) -> Result<i64, Malformed> {
    let negative = content.first().ok_or(Malformed("a number has no digits"))? & 0x80 != 0;
    if content.len() > 8 {
        return Err(Malformed("a number is too large"));
    }
    let start = if negative { -1 } else { 0 };
    Ok(content.iter().fold(start, |number: i64, byte| (number << 8) | i64::from(*byte)))
}

/// How many bytes stand before the content of the value that begins here, and how long the content is; nothing while
/// that is not known yet.
fn header(bytes: &[u8]) -> Result<Option<(usize, usize)>, Malformed> {
    let [tag, rest @ ..] = bytes else { return Ok(None) };
    if tag & 0x1f == 0x1f {
        return Err(Malformed("a tag has several bytes"));
    }
    let [first, rest @ ..] = rest else { return Ok(None) };
    if *first < 0x80 {
        return Ok(Some((2, usize::from(*first))));
    }
    let count = usize::from(first & 0x7f);
    if count == 0 || count > 8 {
        return Err(Malformed("a length is not definite or too large"));
    }
    let Some(digits) = rest.get(..count) else { return Ok(None) };
    let length = digits.iter().try_fold(0_u64, |length, digit| {
        length.checked_mul(256).map(|length| length | u64::from(*digit)).filter(|length| *length <= u64::from(u32::MAX))
    });
    let length = length.and_then(|length| usize::try_from(length).ok()).ok_or(Malformed("a length is too large"))?;
    Ok(Some((2 + count, length)))
}

/// The length of the message that `bytes` begin with, header included; nothing while too few are there to tell.
///
/// # Errors
/// It is no message, or longer than `largest`.
pub(crate) fn message_length(bytes: &[u8], largest: usize) -> Result<Option<usize>, Malformed> {
    if bytes.first().is_some_and(|tag| *tag != SEQUENCE) {
        return Err(Malformed("it does not begin with a message; is this an LDAP server, and is TLS expected?"));
    }
    match header(bytes)? {
        None => Ok(None),
        Some((_, length)) if length > largest => Err(Malformed("a message is larger than 64 MiB")),
        Some((header, length)) => Ok(Some(header + length)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_the_shortest_form() {
        let cases: [(i64, &[u8]); 9] = [
            (0, &[2, 1, 0]),
            (127, &[2, 1, 127]),
            (128, &[2, 2, 0, 128]),
            (255, &[2, 2, 0, 255]),
            (-1, &[2, 1, 0xff]),
            (-128, &[2, 1, 0x80]),
            (-129, &[2, 2, 0xff, 0x7f]),
            (-2_147_483_648, &[2, 4, 0x80, 0, 0, 0]),
            (i64::MAX, &[2, 8, 0x7f, 255, 255, 255, 255, 255, 255, 255]),
        ];
        for (number, bytes) in cases {
            let mut writer = Writer::default();
            writer.integer(INTEGER, number);
            assert_eq!(writer.into_bytes(), bytes, "{number}");
            assert_eq!(Reader::new(bytes).integer(INTEGER), Ok(number));
        }
    }

    #[test]
    fn what_was_written_is_read() {
        let mut writer = Writer::default();
        let long = vec![7; 70_000];
        writer.nested(SEQUENCE, |inner| {
            inner.octets(OCTETS, b"short");
            inner.nested(SET, |inner| inner.octets(OCTETS, &long));
            inner.boolean(BOOLEAN, true);
        });
        let bytes = writer.into_bytes();
        assert_eq!(message_length(&bytes, 1 << 20), Ok(Some(bytes.len())));
        let mut reader = Reader::new(&bytes).within(SEQUENCE).unwrap();
        assert_eq!(reader.expect(OCTETS).unwrap(), b"short");
        assert_eq!(reader.within(SET).unwrap().expect(OCTETS).unwrap(), long);
        assert_eq!(reader.optional(OCTETS).unwrap(), None);
        assert_eq!(reader.expect(BOOLEAN).unwrap(), [0xff]);
        assert!(reader.is_empty());
    }

    #[test]
    fn lengths_that_lie_are_refused() {
        for bytes in [&[0x30, 0x80, 0, 0][..], &[0x30, 0x89, 1, 1, 1, 1, 1, 1, 1, 1, 1], &[0x30, 0x85, 1, 0, 0, 0, 0]] {
            assert!(message_length(bytes, 1 << 20).is_err(), "{bytes:?}");
        }
        assert!(message_length(b"HTTP/1.1", 1 << 20).is_err());
        assert!(message_length(&[0x30, 0x84, 0x7f, 0, 0, 0], 1 << 20).is_err());
        assert_eq!(message_length(&[0x30, 0x84, 0], 1 << 20), Ok(None));
        assert!(Reader::new(&[4, 5, 1]).value().is_err());
    }
}
