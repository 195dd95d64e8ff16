//! What a referral names (RFC 4511, section 4.1.10): LDAP URLs (RFC 4516) as places to ask.

use crate::config::{self, TlsMode};
use crate::protocol::filter::Filter;
use crate::protocol::request::Depth;
use crate::session::connect::{Encryption, Server};

/// What connections to referred servers must be like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Protection {
    pub(crate) tls: Option<TlsMode>,
    /// The connection's own servers are spoken to in the clear, all of them.
    pub(crate) may_be_clear: bool,
}

/// Where an operation goes on, and with what in place of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) server: Server,
    pub(crate) dn: Option<String>,
    pub(crate) depth: Option<Depth>,
    pub(crate) filter: Option<Filter>,
}

impl Place {
    /// Credentials are never less protected on their way there than on the connection itself.
    pub(crate) fn parse(url: &str, protection: Protection) -> Result<Self, String> {
        let (scheme, rest) = url.trim().split_once("://").ok_or("it is no LDAP URL")?;
        let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let server = config::server(&format!("{}://{authority}", scheme.to_ascii_lowercase()), protection.tls);
        let mut server = server.or_else(|error| match (scheme.eq_ignore_ascii_case("ldaps"), &error) {
            // Better protected than was asked for.
            (true, _) => config::server(&format!("ldaps://{authority}"), None),
            (false, _) => Err(error),
        });
        if let Ok(server) = &mut server
            && server.encryption == Encryption::Off
            && !protection.may_be_clear
        {
            server.encryption = Encryption::StartTls;
        }
        let server = server.map_err(|error| problem_of(&error))?;
        let mut parts = rest.strip_prefix('/').unwrap_or(rest).splitn(5, '?').map(decoded);
        let mut part = || parts.next().unwrap_or_else(|| Ok(String::new()));
        let (dn, _attributes, scope, filter, extensions) = (part()?, part()?, part()?, part()?, part()?);
        if let Some(critical) = extensions.split(',').find(|one| one.trim_start().starts_with('!')) {
            return Err(format!("it wants the extension {critical}, which is unknown here"));
        }
        let depth = match scope.to_ascii_lowercase().as_str() {
            "" => None,
            "base" => Some(Depth::Base),
            "one" => Some(Depth::OneLevel),
            "sub" => Some(Depth::Subtree),
            _ => return Err(format!("its scope {scope:?} is unknown here")),
        };
        let filter = Some(filter).filter(|filter| !filter.is_empty());
        let filter = filter.map(|filter| Filter::parse(&filter)).transpose()?;
        Ok(Self { server, dn: Some(dn).filter(|dn| !dn.is_empty()), depth, filter })
    }
}

fn problem_of(error: &muster_connector::Error) -> String {
    match error {
        muster_connector::Error::Configuration { problem, .. } => problem.clone(),
        other => other.to_string(),
    }
}

/// A part of a URL without its percent signs (RFC 3986, section 2.1).
fn decoded(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err("a percent sign in it has no two digits behind it".to_owned());
        };
        bytes.extend(u8::try_from(high * 16 + low));
    }
    String::from_utf8(bytes).map_err(|_| "it is no UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLEAR: Protection = Protection { tls: None, may_be_clear: true };
    const ENCRYPTED: Protection = Protection { tls: None, may_be_clear: false };

    fn place(url: &str) -> Place {
        Place::parse(url, CLEAR).unwrap_or_else(|problem| panic!("{url}: {problem}"))
    }

    #[test]
    fn urls_say_where_to_go_on_and_with_what() {
        let whole = place("LDAP://b.example:1389/ou=a%20%2C%C3%A5,dc=x?cn?SUB?(uid=a%3f)?x-a=1");
        assert_eq!(whole.server.to_string(), "ldap://b.example:1389");
        assert_eq!((whole.dn.as_deref(), whole.depth), (Some("ou=a ,å,dc=x"), Some(Depth::Subtree)));
        assert_eq!(whole.filter, Some(Filter::equals("uid", b"a?")));
        let bare = place("ldaps://b.example");
        assert_eq!((bare.server.port, bare.dn, bare.depth, bare.filter), (636, None, None, None));
        assert_eq!(place("ldap://b.example/??base").depth, Some(Depth::Base));
        assert_eq!(place("ldap://b.example??one").depth, Some(Depth::OneLevel));
        for nonsense in [
            "",
            "b.example",
            "http://b.example/dc=x",
            "ldap:///dc=x",
            "ldap://u:p@b.example/dc=x",
            "ldap://…@b.example/dc=x",
            "ldap://b.example:99999/",
            "ldap://b.example/dc=%4",
            "ldap://b.example/dc=%zz",
            "ldap://b.example/dc=%ff",
            "ldap://b.example/dc=x??tree",
            "ldap://b.example/dc=x??sub?(uid=",
            "ldap://b.example/dc=x????!1.2.3=4",
        ] {
            assert!(Place::parse(nonsense, CLEAR).is_err(), "{nonsense}");
        }
    }

    #[test]
    fn no_referral_weakens_the_encryption() {
        let of = |url: &str, protection| Place::parse(url, protection).map(|place| place.server.encryption).ok();
        assert_eq!(of("ldap://127.0.0.1", CLEAR), Some(Encryption::Off));
        assert_eq!(of("ldap://127.0.0.1", ENCRYPTED), Some(Encryption::StartTls));
        assert_eq!(of("ldap://b.example", CLEAR), Some(Encryption::StartTls));
        let chosen = Protection { tls: Some(TlsMode::Off), may_be_clear: true };
        assert_eq!(of("ldap://b.example", chosen), Some(Encryption::Off));
        assert_eq!(of("ldaps://b.example", chosen), Some(Encryption::Tls));
        let chosen = Protection { may_be_clear: false, ..chosen };
        assert_eq!(of("ldap://b.example", chosen), Some(Encryption::StartTls));
    }
}
