//! What is asked of a server (RFC 4511, section 4).

use secrecy::{ExposeSecret as _, SecretString};

use super::ber::{BOOLEAN, ENUMERATED, INTEGER, OCTETS, SEQUENCE, SET, Writer, context, within_context};
use super::control::Control;
use super::filter::Filter;

/// Where a search looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Depth {
    Base,
    /// What is right below, as a referral may ask for.
    OneLevel,
    Subtree,
}

#[derive(Debug, Clone)]
pub(crate) struct Search {
    pub(crate) base: String,
    pub(crate) depth: Depth,
    pub(crate) filter: Filter,
    pub(crate) attributes: Vec<String>,
    /// The most entries, 0 for as many as the server gives.
    pub(crate) limit: u32,
}

/// How a modification changes one attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    Add,
    Delete,
    Replace,
}

/// A modification of one attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Modification {
    pub(crate) how: How,
    pub(crate) attribute: String,
    pub(crate) values: Vec<Bytes>,
}

impl Modification {
    pub(crate) fn new(how: How, attribute: &str, values: Vec<Vec<u8>>) -> Self {
        let values = values.into_iter().map(Bytes::Plain).collect();
        Self { how, attribute: attribute.to_owned(), values }
    }
}

/// One value to write.
#[derive(Clone)]
pub(crate) enum Bytes {
    Plain(Vec<u8>),
    /// Shown nowhere.
    Secret(Vec<u8>),
}

impl Bytes {
    pub(crate) fn exposed(&self) -> &[u8] {
        match self {
            Self::Plain(bytes) | Self::Secret(bytes) => bytes,
        }
    }
}

impl PartialEq for Bytes {
    fn eq(&self, other: &Self) -> bool {
        self.exposed() == other.exposed()
    }
}

impl Eq for Bytes {}

impl std::fmt::Debug for Bytes {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Plain(bytes) => write!(formatter, "{:?}", String::from_utf8_lossy(bytes)),
            Self::Secret(_) => formatter.write_str("…"),
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Request {
    /// A simple bind (RFC 4513, section 5.1).
    Bind {
        name: String,
        password: SecretString,
    },
    /// A SASL bind with what TLS has proved (RFC 4422, appendix A).
    BindExternal,
    Search(Search),
    Modify {
        dn: String,
        modifications: Vec<Modification>,
    },
    Add {
        dn: String,
        attributes: Vec<(String, Vec<Bytes>)>,
    },
    Delete {
        dn: String,
    },
    /// A new name, below another entry where `superior` is given; the old naming value goes.
    ModifyDn {
        dn: String,
        rdn: String,
        superior: Option<String>,
    },
    Compare {
        dn: String,
        attribute: String,
        value: Vec<u8>,
    },
    StartTls,
    /// RFC 3062.
    SetPassword {
        dn: String,
        password: SecretString,
    },
    Abandon {
        id: i32,
    },
    Unbind,
}

/// RFC 4511, section 4.14.1.
const START_TLS: &str = "1.3.6.1.4.1.1466.20037";
/// RFC 3062, section 2.
pub(crate) const SET_PASSWORD: &str = "1.3.6.1.4.1.4203.1.11.1";

impl Request {
    /// The message with this id.
    pub(crate) fn encode(&self, id: i32, controls: &[Control]) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.nested(SEQUENCE, |message| {
            message.integer(INTEGER, i64::from(id));
            self.write(message);
            if !controls.is_empty() {
                message.nested(within_context(0), |inner| controls.iter().for_each(|control| control.write(inner)));
            }
        });
        writer.into_bytes()
    }

    /// The entry that it is about, where it is about one.
    pub(crate) fn dn(&self) -> Option<&str> {
        match self {
            Self::Modify { dn, .. }
            | Self::Add { dn, .. }
            | Self::Delete { dn }
            | Self::ModifyDn { dn, .. }
            | Self::Compare { dn, .. }
            | Self::SetPassword { dn, .. } => Some(dn),
            Self::Bind { .. }
            | Self::BindExternal
            | Self::Search(_)
            | Self::StartTls
            | Self::Abandon { .. }
            | Self::Unbind => None,
        }
    }

    fn write(&self, message: &mut Writer) {
        match self {
            Self::Bind { name, password } => message.nested(0x60, |bind| {
                bind.integer(INTEGER, 3);
                bind.octets(OCTETS, name.as_bytes());
                bind.octets(context(0), password.expose_secret().as_bytes());
            }),
            Self::BindExternal => message.nested(0x60, |bind| {
                bind.integer(INTEGER, 3);
                bind.octets(OCTETS, b"");
                bind.nested(within_context(3), |sasl| {
                    sasl.octets(OCTETS, b"EXTERNAL");
                    sasl.octets(OCTETS, b"");
                });
            }),
            Self::Unbind => message.octets(0x42, b""),
            Self::Search(search) => message.nested(0x63, |inner| search.write(inner)),
            Self::Modify { dn, modifications } => message.nested(0x66, |modify| {
                modify.octets(OCTETS, dn.as_bytes());
                modify.nested(SEQUENCE, |list| {
                    for one in modifications {
                        list.nested(SEQUENCE, |change| {
                            change.integer(ENUMERATED, one.how as i64);
                            values(change, &one.attribute, &one.values);
                        });
                    }
                });
            }),
            Self::Add { dn, attributes } => message.nested(0x68, |add| {
                add.octets(OCTETS, dn.as_bytes());
                add.nested(SEQUENCE, |list| attributes.iter().for_each(|(name, all)| values(list, name, all)));
            }),
            Self::Delete { dn } => message.octets(0x4a, dn.as_bytes()),
            Self::ModifyDn { dn, rdn, superior } => message.nested(0x6c, |inner| {
                inner.octets(OCTETS, dn.as_bytes());
                inner.octets(OCTETS, rdn.as_bytes());
                inner.boolean(BOOLEAN, true);
                if let Some(superior) = superior {
                    inner.octets(context(0), superior.as_bytes());
                }
            }),
            Self::Compare { dn, attribute, value } => message.nested(0x6e, |compare| {
                compare.octets(OCTETS, dn.as_bytes());
                compare.nested(SEQUENCE, |assertion| {
                    assertion.octets(OCTETS, attribute.as_bytes());
                    assertion.octets(OCTETS, value);
                });
            }),
            Self::StartTls => message.nested(0x77, |inner| inner.octets(context(0), START_TLS.as_bytes())),
            Self::SetPassword { dn, password } => message.nested(0x77, |inner| {
                inner.octets(context(0), SET_PASSWORD.as_bytes());
                let mut value = Writer::default();
                value.nested(SEQUENCE, |value| {
                    value.octets(context(0), dn.as_bytes());
                    value.octets(context(2), password.expose_secret().as_bytes());
                });
                inner.octets(context(1), &value.into_bytes());
            }),
            Self::Abandon { id } => message.integer(0x50, i64::from(*id)),
        }
    }
}

impl Search {
    fn write(&self, writer: &mut Writer) {
        writer.octets(OCTETS, self.base.as_bytes());
        let depth = match self.depth {
            Depth::Base => 0,
            Depth::OneLevel => 1,
            Depth::Subtree => 2,
        };
        writer.integer(ENUMERATED, depth);
        // Aliases are never followed: what they lead to has an entry of its own.
        writer.integer(ENUMERATED, 0);
        writer.integer(INTEGER, i64::from(self.limit));
        writer.integer(INTEGER, 0);
        writer.boolean(BOOLEAN, false);
        self.filter.write(writer);
        writer.nested(SEQUENCE, |list| self.attributes.iter().for_each(|name| list.octets(OCTETS, name.as_bytes())));
    }
}

fn values(writer: &mut Writer, attribute: &str, values: &[Bytes]) {
    writer.nested(SEQUENCE, |inner| {
        inner.octets(OCTETS, attribute.as_bytes());
        inner.nested(SET, |set| values.iter().for_each(|value| set.octets(OCTETS, value.exposed())));
    });
}
