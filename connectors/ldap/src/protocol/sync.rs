//! Content synchronisation (RFC 4533): what a server says of entries that changed and of those that are gone.

use super::ber::{BOOLEAN, ENUMERATED, Malformed, OCTETS, Reader, SEQUENCE, SET, Writer, within_context};
use super::control::Control;

/// The request (RFC 4533, section 2.2); a root entry that names it serves it.
pub(crate) const SYNC_REQUEST: &str = "1.3.6.1.4.1.4203.1.9.1.1";
const SYNC_STATE: &str = "1.3.6.1.4.1.4203.1.9.1.2";
const SYNC_DONE: &str = "1.3.6.1.4.1.4203.1.9.1.3";
/// The intermediate response (section 2.5).
pub(crate) const SYNC_INFO: &str = "1.3.6.1.4.1.4203.1.9.1.4";

/// How an entry stands (section 2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Present,
    /// Added, or in the searched part of the directory since.
    Added,
    Modified,
    Deleted,
}

/// An entry's identity for ever, as the server tells it.
pub(crate) type EntryUuid = [u8; 16];

/// Asks for what changed since the cookie (`refreshOnly`); for everything without one.
pub(crate) fn request(cookie: Option<&[u8]>) -> Control {
    let mut writer = Writer::default();
    writer.nested(SEQUENCE, |inner| {
        inner.integer(ENUMERATED, 1);
        if let Some(cookie) = cookie {
            inner.octets(OCTETS, cookie);
        }
    });
    Control { oid: SYNC_REQUEST.to_owned(), critical: true, value: Some(writer.into_bytes()) }
}

fn value<'a>(controls: &'a [Control], oid: &str) -> Option<&'a [u8]> {
    controls.iter().find(|one| one.oid == oid).and_then(|one| one.value.as_deref())
}

fn uuid(bytes: &[u8]) -> Result<EntryUuid, Malformed> {
    bytes.try_into().map_err(|_| Malformed("an entryUUID has not 16 bytes"))
}

/// What the control of an entry says of it.
pub(crate) fn state(controls: &[Control]) -> Result<Option<(State, EntryUuid)>, Malformed> {
    let Some(value) = value(controls, SYNC_STATE) else { return Ok(None) };
    let mut inner = Reader::new(value).within(SEQUENCE)?;
    let state = match inner.integer(ENUMERATED)? {
        0 => State::Present,
        1 => State::Added,
        2 => State::Modified,
        3 => State::Deleted,
        _ => return Err(Malformed("an entry is in an unknown state")),
    };
    Ok(Some((state, uuid(inner.expect(OCTETS)?)?)))
}

/// The cookie of the end of a refresh, if there is one.
pub(crate) fn done(controls: &[Control]) -> Result<Option<Vec<u8>>, Malformed> {
    let Some(value) = value(controls, SYNC_DONE) else { return Ok(None) };
    Ok(Reader::new(value).within(SEQUENCE)?.optional(OCTETS)?.map(<[u8]>::to_vec))
}

/// The entries that an intermediate response says are gone.
pub(crate) fn gone(info: &[u8]) -> Result<Vec<EntryUuid>, Malformed> {
    let mut reader = Reader::new(info);
    if reader.tag() != Some(within_context(3)) {
        // A cookie on the way, or the end of a phase. A refresh that is broken off begins again.
        reader.value()?;
        return Ok(Vec::new());
    }
    let mut set = reader.within(within_context(3))?;
    set.optional(OCTETS)?;
    let deletes = set.optional(BOOLEAN)?.is_some_and(|byte| byte != [0]);
    let mut uuids = set.within(SET)?;
    let mut gone = Vec::new();
    while !uuids.is_empty() {
        let one = uuid(uuids.expect(OCTETS)?)?;
        // Of those that are present nothing is said that is not known.
        if deletes {
            gone.push(one);
        }
    }
    Ok(gone)
}

#[cfg(test)]
mod tests {
    use super::super::ber::context;
    use super::*;

    fn control(oid: &str, build: impl FnOnce(&mut Writer)) -> Control {
        let mut writer = Writer::default();
        writer.nested(SEQUENCE, build);
        Control { oid: oid.to_owned(), critical: false, value: Some(writer.into_bytes()) }
    }

    fn set(deletes: Option<bool>, uuids: &[&[u8]]) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.nested(within_context(3), |inner| {
            inner.octets(OCTETS, b"a cookie");
            if let Some(deletes) = deletes {
                inner.boolean(BOOLEAN, deletes);
            }
            inner.nested(SET, |inner| uuids.iter().for_each(|uuid| inner.octets(OCTETS, uuid)));
        });
        writer.into_bytes()
    }

    #[test]
    fn what_a_server_says_is_understood() {
        let of = |number: i64| {
            control(SYNC_STATE, |inner| {
                inner.integer(ENUMERATED, number);
                inner.octets(OCTETS, &[7; 16]);
            })
        };
        for (number, expected) in [(0, State::Present), (1, State::Added), (2, State::Modified), (3, State::Deleted)] {
            assert_eq!(state(&[of(number)]), Ok(Some((expected, [7; 16]))));
        }
        assert!(state(&[of(4)]).is_err());
        assert_eq!(state(&[]), Ok(None));
        assert_eq!(done(&[control(SYNC_DONE, |inner| inner.octets(OCTETS, b"c"))]), Ok(Some(b"c".to_vec())));
        assert_eq!(done(&[control(SYNC_DONE, |inner| inner.boolean(BOOLEAN, true))]), Ok(None));
        assert_eq!(gone(&set(Some(true), &[&[1; 16], &[2; 16]])), Ok(vec![[1; 16], [2; 16]]));
        assert_eq!(gone(&set(None, &[&[1; 16]])), Ok(Vec::new()));
        let mut cookie = Writer::default();
        cookie.octets(context(0), b"a cookie");
        assert_eq!(gone(&cookie.into_bytes()), Ok(Vec::new()));
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(gone(&set(Some(true), &[&[1; 15]])).is_err());
        let whole = set(Some(true), &[&[1; 16], &[2; 16]]);
        for length in 0..whole.len() {
            assert!(gone(whole.get(..length).unwrap_or_default()).is_err(), "{length}");
        }
        let request = request(Some(b"cookie"));
        assert!(state(&[Control { oid: SYNC_STATE.to_owned(), ..request }]).is_err());
    }

    #[test]
    fn a_request_is_written_as_the_rfc_says() {
        for cookie in [None, Some(&b"x"[..])] {
            let request = request(cookie);
            assert!(request.critical);
            let value = request.value.unwrap();
            let mut inner = Reader::new(&value).within(SEQUENCE).unwrap();
            assert_eq!(inner.integer(ENUMERATED), Ok(1));
            assert_eq!(inner.optional(OCTETS), Ok(cookie));
            assert!(inner.is_empty());
        }
    }
}
