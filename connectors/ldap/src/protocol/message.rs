//! What a server answers (RFC 4511, section 4).

use super::ber::{ENUMERATED, INTEGER, Malformed, OCTETS, Reader, SEQUENCE, SET, context, within_context};
use super::control::Control;

/// One message of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) id: i32,
    pub(crate) answer: Answer,
    pub(crate) controls: Vec<Control>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Entry(Entry),
    /// Parts of a search are at these other servers.
    Elsewhere(Vec<String>),
    /// An intermediate response, such as RFC 4533's.
    Intermediate {
        oid: String,
        value: Vec<u8>,
    },
    Result(LdapResult),
}

/// An entry, or part of one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) dn: String,
    /// In the order and with the spelling of the server, options such as `;binary` included.
    pub(crate) attributes: Vec<(String, Vec<Vec<u8>>)>,
    pub(crate) controls: Vec<Control>,
    /// The server that holds it, where it is not the connection's own.
    pub(crate) by: Option<String>,
}

impl Entry {
    /// The values of an attribute, by its name in any case.
    pub(crate) fn values(&self, name: &str) -> &[Vec<u8>] {
        let found = self.attributes.iter().find(|(attribute, _)| attribute.eq_ignore_ascii_case(name));
        found.map_or(&[], |(_, values)| values.as_slice())
    }

    /// The first value of an attribute as text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.values(name).first().and_then(|value| std::str::from_utf8(value).ok())
    }

    /// All values of an attribute that are text.
    pub(crate) fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        self.values(name).iter().filter_map(|value| std::str::from_utf8(value).ok())
    }
}

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LdapResult {
    pub(crate) code: Code,
    /// The nearest entry above the one asked for, where that is missing.
    pub(crate) matched: String,
    pub(crate) text: String,
    pub(crate) referrals: Vec<String>,
    pub(crate) controls: Vec<Control>,
    /// The server that said so, where it is not the connection's own.
    pub(crate) by: Option<String>,
}

/// A result code (RFC 4511, section 4.1.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Code(pub(crate) u32);

#[rustfmt::skip]
impl Code {
    pub(crate) const SUCCESS: Self = Self(0);
    /// RFC 4533, section 2.6.
    pub(crate) const SYNC_REFRESH_REQUIRED: Self = Self(4096);
    pub(crate) const OPERATIONS_ERROR: Self = Self(1);
    pub(crate) const PROTOCOL_ERROR: Self = Self(2);
    pub(crate) const TIME_LIMIT: Self = Self(3);
    pub(crate) const SIZE_LIMIT: Self = Self(4);
    pub(crate) const COMPARE_FALSE: Self = Self(5);
    pub(crate) const COMPARE_TRUE: Self = Self(6);
    pub(crate) const METHOD_NOT_SUPPORTED: Self = Self(7);
    pub(crate) const STRONGER_AUTH: Self = Self(8);
    pub(crate) const REFERRAL: Self = Self(10);
    pub(crate) const ADMIN_LIMIT: Self = Self(11);
    pub(crate) const UNAVAILABLE_CRITICAL_EXTENSION: Self = Self(12);
    pub(crate) const CONFIDENTIALITY: Self = Self(13);
    pub(crate) const NO_SUCH_ATTRIBUTE: Self = Self(16);
    pub(crate) const UNDEFINED_TYPE: Self = Self(17);
    pub(crate) const CONSTRAINT: Self = Self(19);
    pub(crate) const VALUE_EXISTS: Self = Self(20);
    pub(crate) const SYNTAX: Self = Self(21);
    pub(crate) const NO_SUCH_OBJECT: Self = Self(32);
    pub(crate) const DN_SYNTAX: Self = Self(34);
    pub(crate) const INAPPROPRIATE_AUTH: Self = Self(48);
    pub(crate) const CREDENTIALS: Self = Self(49);
    pub(crate) const ACCESS: Self = Self(50);
    pub(crate) const BUSY: Self = Self(51);
    pub(crate) const UNAVAILABLE: Self = Self(52);
    pub(crate) const UNWILLING: Self = Self(53);
    pub(crate) const NAMING: Self = Self(64);
    pub(crate) const OBJECT_CLASS: Self = Self(65);
    pub(crate) const NON_LEAF: Self = Self(66);
    pub(crate) const ON_RDN: Self = Self(67);
    pub(crate) const EXISTS: Self = Self(68);
    /// affectsMultipleDSAs.
    pub(crate) const MULTIPLE_SERVERS: Self = Self(71);
    pub(crate) const OTHER: Self = Self(80);

    /// The name in RFC 4511, for messages.
    pub(crate) fn name(self) -> &'static str {
        match self.0 {
            0 => "success", 1 => "operationsError", 2 => "protocolError", 3 => "timeLimitExceeded",
            4 => "sizeLimitExceeded", 5 => "compareFalse", 6 => "compareTrue", 7 => "authMethodNotSupported",
            8 => "strongerAuthRequired", 10 => "referral", 11 => "adminLimitExceeded",
            12 => "unavailableCriticalExtension", 13 => "confidentialityRequired", 16 => "noSuchAttribute",
            17 => "undefinedAttributeType", 18 => "inappropriateMatching", 19 => "constraintViolation",
            20 => "attributeOrValueExists", 21 => "invalidAttributeSyntax", 32 => "noSuchObject",
            33 => "aliasProblem", 34 => "invalidDNSyntax", 48 => "inappropriateAuthentication",
            49 => "invalidCredentials", 50 => "insufficientAccessRights", 51 => "busy", 52 => "unavailable",
            53 => "unwillingToPerform", 54 => "loopDetect", 64 => "namingViolation", 65 => "objectClassViolation",
            66 => "notAllowedOnNonLeaf", 67 => "notAllowedOnRDN", 68 => "entryAlreadyExists",
            69 => "objectClassModsProhibited", 71 => "affectsMultipleDSAs", 80 => "other",
            _ => "unknown result",
        }
    }
}

impl LdapResult {
    /// What the server said, for a person.
    pub(crate) fn said(&self) -> String {
        let text = self.text.trim().trim_end_matches('\0');
        let by = self.by.as_ref().map(|server| format!(" from {server}")).unwrap_or_default();
        let told = format!("{} ({}){by}", self.code.name(), self.code.0);
        if text.is_empty() { told } else { format!("{told}: {text}") }
    }
}

impl Message {
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut message = Reader::new(bytes).within(SEQUENCE)?;
        let id = i32::try_from(message.integer(INTEGER)?).map_err(|_| Malformed("a message id is too large"))?;
        let (tag, content) = message.value()?;
        let mut inner = Reader::new(content);
        let mut answer = match tag {
            0x64 => Answer::Entry(entry(&mut inner)?),
            0x73 => Answer::Elsewhere(urls(&mut inner)?),
            0x79 => Answer::Intermediate {
                oid: inner
                    .optional(context(0))?
                    .map(|oid| String::from_utf8_lossy(oid).into_owned())
                    .unwrap_or_default(),
                value: inner.optional(context(1))?.unwrap_or_default().to_vec(),
            },
            // Bind, search done, modify, add, delete, modify DN, compare, extended.
            0x61 | 0x65 | 0x67 | 0x69 | 0x6b | 0x6d | 0x6f | 0x78 => Answer::Result(result(&mut inner)?),
            _ => return Err(Malformed("an answer is of an unknown kind")),
        };
        let mut controls = Vec::new();
        // Active Directory puts something else here into its notice of disconnection; only controls are of interest.
        if let Some(list) = message.optional(within_context(0))? {
            let mut list = Reader::new(list);
            while !list.is_empty() {
                controls.push(Control::read(&mut list)?);
            }
        }
        match &mut answer {
            Answer::Entry(entry) => entry.controls.clone_from(&controls),
            Answer::Result(result) => result.controls.clone_from(&controls),
            _ => {}
        }
        Ok(Self { id, answer, controls })
    }
}

/// The URLs of a referral.
fn urls(reader: &mut Reader<'_>) -> Result<Vec<String>, Malformed> {
    let mut urls = Vec::new();
    while !reader.is_empty() {
        urls.push(without_user(reader.text(OCTETS)?));
    }
    Ok(urls)
}

/// LDAP URLs have no place for users and passwords (RFC 4516, section 2); whoever puts them there should not read them in
/// a message.
fn without_user(url: String) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url };
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    match authority.rsplit_once('@') {
        Some((user, _)) => format!("{scheme}://…{}", rest.get(user.len()..).unwrap_or_default()),
        None => url,
    }
}

/// An entry as search results and read controls (RFC 4527) hold it.
pub(crate) fn entry(reader: &mut Reader<'_>) -> Result<Entry, Malformed> {
    let dn = reader.text(OCTETS)?;
    let mut list = reader.within(SEQUENCE)?;
    let mut attributes = Vec::new();
    while !list.is_empty() {
        let mut one = list.within(SEQUENCE)?;
        let name = one.text(OCTETS)?;
        let mut set = one.within(SET)?;
        let mut values = Vec::new();
        while !set.is_empty() {
            values.push(set.expect(OCTETS)?.to_vec());
        }
        attributes.push((name, values));
    }
    Ok(Entry { dn, attributes, controls: Vec::new(), by: None })
}

fn result(reader: &mut Reader<'_>) -> Result<LdapResult, Malformed> {
    let code = u32::try_from(reader.integer(ENUMERATED)?).map_err(|_| Malformed("a result code is negative"))?;
    let (matched, text) = (reader.text(OCTETS)?, reader.text(OCTETS)?);
    let referrals = match reader.optional(within_context(3))? {
        Some(list) => urls(&mut Reader::new(list))?,
        None => Vec::new(),
    };
    // SASL credentials, names and values of extended answers: nothing here needs them.
    Ok(LdapResult { code: Code(code), matched, text, referrals, controls: Vec::new(), by: None })
}

#[cfg(test)]
mod tests {
    use super::super::ber::Writer;
    use super::*;

    fn message(tag: u8, content: impl FnOnce(&mut Writer)) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.nested(SEQUENCE, |message| {
            message.integer(INTEGER, 7);
            message.nested(tag, content);
        });
        writer.into_bytes()
    }

    #[test]
    fn entries_and_results_are_read() {
        let bytes = message(0x64, |entry| {
            entry.octets(OCTETS, b"uid=a,dc=x");
            entry.nested(SEQUENCE, |list| {
                list.nested(SEQUENCE, |one| {
                    one.octets(OCTETS, b"mail");
                    one.nested(SET, |set| set.octets(OCTETS, b"a@x"));
                });
            });
        });
        let Message { id: 7, answer: Answer::Entry(entry), .. } = Message::read(&bytes).unwrap() else { panic!() };
        assert_eq!((entry.dn.as_str(), entry.text("MAIL")), ("uid=a,dc=x", Some("a@x")));
        let bytes = message(0x6b, |result| {
            result.integer(ENUMERATED, 32);
            result.octets(OCTETS, b"dc=x");
            result.octets(OCTETS, b"gone");
        });
        let Answer::Result(result) = Message::read(&bytes).unwrap().answer else { panic!() };
        assert_eq!(result.said(), "noSuchObject (32): gone");
    }

    /// Every prefix of valid messages, and every single byte of them changed to every value: an error or an answer.
    #[test]
    fn no_bytes_make_it_panic() {
        let entry = message(0x64, |entry| {
            entry.octets(OCTETS, b"uid=a");
            entry.nested(SEQUENCE, |list| {
                list.nested(SEQUENCE, |one| {
                    one.octets(OCTETS, b"m");
                    one.nested(SET, |set| set.octets(OCTETS, b"v"));
                });
            });
        });
        let result = message(0x78, |result| {
            result.integer(ENUMERATED, 10);
            result.octets(OCTETS, b"");
            result.octets(OCTETS, b"");
            result.nested(within_context(3), |list| list.octets(OCTETS, b"ldap://x"));
        });
        let mut read = 0;
        for whole in [entry, result] {
            assert!(Message::read(&whole).is_ok());
            for end in 0..whole.len() {
                assert!(Message::read(whole.get(..end).unwrap()).is_err());
            }
            for at in 0..whole.len() {
                for byte in 0..=255 {
                    let mut changed = whole.clone();
                    *changed.get_mut(at).unwrap() = byte;
                    read += usize::from(Message::read(&changed).is_ok());
                }
            }
        }
        assert!(read > 0);
    }
}
