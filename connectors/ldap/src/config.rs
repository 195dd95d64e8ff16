//! The settings of an LDAP connection.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use muster_connector::settings::{ConnectorSettings, ExposeSecret as _, Secret};
use muster_connector::{Error, Span};
use muster_tls::{ClientConfig, TlsError};
use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;

use crate::session::connect::{Access, Encryption, Server, SignIn};
use crate::session::referral::Protection;

/// A connection to an LDAP directory.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LdapSettings {
    /// Where the directory is: `ldaps://host`, or `ldap://host`, on which encryption is turned on by StartTLS. A list
    /// names several servers of the same directory, of which the first that answers is used.
    pub url: OneOrMore,
    /// Who Muster signs in as: the name of an entry, such as `cn=muster,ou=services,dc=example,dc=org`. Active Directory
    /// takes `muster@example.org` as well. Nobody signs in without it, unless there is a `certificate`.
    pub user: Option<String>,
    /// The password of `user`.
    pub password: Option<Secret>,
    /// A PEM file with the certificate that Muster shows in place of user and password (SASL EXTERNAL).
    pub certificate: Option<String>,
    /// The private key of `certificate`, as PEM.
    pub key: Option<Secret>,
    /// Whether the connection is encrypted and the server's certificate checked. By default it is, except for `ldap://` to
    /// this machine itself.
    pub tls: Option<TlsMode>,
    /// A PEM file of further certificate authorities to trust.
    pub ca_file: Option<String>,
    /// The entry below which everything is, such as `dc=example,dc=org`. By default what the server names.
    pub base: Option<String>,
    /// How many connections are kept open. Each carries many operations at a time. 4 by default.
    pub connections: Option<u8>,
    /// The longest time without an answer. `"30s"` by default.
    pub timeout: Option<Span>,
    /// What becomes of what another server holds (RFC 4511, sections 4.1.10 and 4.5.3). By default that is `report`.
    #[serde(default)]
    pub referrals: Referrals,
    /// How a source's changes are noticed. By default by `usn` in Active Directory, and elsewhere by `modify_timestamp`.
    #[serde(default)]
    pub changes: ChangesBy,
    /// With `modify_timestamp`: the longest time from an entry's change to its being seen on the server that is read, by
    /// replication for instance. What changed within it is read again. With `accesslog`: the longest time that a change
    /// takes on the server. `"10m"` by default.
    pub overlap: Option<Span>,
    /// How often the keys of all entries are read, to find what is gone or was moved, where changes do not tell. `"15m"`
    /// by default.
    pub keys_every: Option<Span>,
    /// The object types. Without any there are `user` and `group`, as the kind of directory suggests.
    #[serde(default)]
    pub types: BTreeMap<String, TypeSettings>,
}

/// How changes of a directory are noticed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChangesBy {
    /// By what the directory is sure to have.
    #[default]
    Auto,
    /// By `uSNChanged`, the number that each server of an Active Directory gives to its changes.
    Usn,
    /// By `modifyTimestamp`.
    ModifyTimestamp,
    /// By content synchronisation (RFC 4533), as OpenLDAP's overlay `syncprov` and 389's plug-in offer it:
    /// deletions are told at once.
    Sync,
    /// By Active Directory's DirSync control, on whichever of its servers.
    Dirsync,
    /// By the log that OpenLDAP's overlay `accesslog` keeps: deletions are told at once.
    Accesslog,
    /// By the log that 389's plug-in Retro Changelog keeps: deletions are told at once.
    Changelog,
    /// Everything is read every time.
    None,
}

/// What becomes of referrals.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Referrals {
    /// They are told with the server that they name, and nothing is sent there.
    #[default]
    Report,
    /// The server that they name is asked, signed in as here and no less encrypted.
    Follow,
}

/// How a connection is encrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TlsMode {
    /// Encrypted, with the server's certificate and name verified.
    Verify,
    /// Not encrypted.
    Off,
}

/// One, or several in order.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMore {
    /// One.
    One(String),
    /// Several.
    More(Vec<String>),
}

/// One object type over the entries of a directory.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TypeSettings {
    /// The object classes that new entries get. Those of the first are the type's entries. `["inetOrgPerson"]` for a type
    /// `user`, `["groupOfNames"]` for `group`; in Active Directory `["user"]` and `["group"]`.
    #[serde(default)]
    pub classes: Vec<String>,
    /// The entry below which the type's entries are. The connection's `base` by default.
    pub base: Option<String>,
    /// Which entries belong to the type besides their class, as a search filter: `(employeeType=staff)`.
    pub filter: Option<String>,
    /// The attribute that names entries: the first part of their distinguished names. `uid` for people, `cn` for all else
    /// and in Active Directory.
    pub rdn: Option<String>,
    /// Where new entries go, unless `container` is mapped: the name of an entry within `base`. `base` itself by default.
    pub container: Option<String>,
    /// Whether organizational units and containers that are missing above a new or moved entry are made.
    #[serde(default)]
    pub create_containers: bool,
    /// Whether a delete takes all entries below an entry with it. Without it such a delete is refused.
    #[serde(default)]
    pub delete_subtree: bool,
    /// The attribute that identifies an entry for ever. By default the directory's own: `entryUUID`, `nsUniqueId` or
    /// `objectGUID`.
    pub anchor: Option<String>,
    /// What says that an entry is disabled: `userAccountControl` (Active Directory), `msDS-UserAccountDisabled` (AD LDS),
    /// `nsAccountLock` (389), `pwdAccountLockedTime` (OpenLDAP's password policy), or any attribute, with
    /// `enabled_values`. By default what the directory offers for people; `""` for nothing.
    pub enabled: Option<String>,
    /// What stands in that attribute, where it is one of your own.
    pub enabled_values: Option<EnabledValues>,
    /// Attributes whose values are added and removed one by one, as far as they are not references: `["mail"]`. All others
    /// have one value for Muster, which replaces whatever was there.
    #[serde(default)]
    pub multi: Vec<String>,
    /// Which types an attribute's values name, by attribute: `{ member = ["user", "group"] }`. By default attributes that
    /// hold distinguished names may name all types of the connection; `[]` makes one a text.
    #[serde(default)]
    pub references: BTreeMap<String, Vec<String>>,
    /// References that are not distinguished names, by attribute: the attribute of the referenced entries whose value is
    /// written. `memberUid` of `posixGroup` names `uid`.
    #[serde(default)]
    pub references_by: BTreeMap<String, String>,
    /// What stands in a mandatory attribute of members while there are none: the name of an entry. The group itself by
    /// default.
    pub placeholder_member: Option<String>,
    /// Further attributes, as far as the classes do not allow them: operational ones, or with options (`cn;lang-de`).
    #[serde(default)]
    pub attributes: Vec<String>,
}

/// What stands in an attribute that says whether an entry is enabled.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnabledValues {
    /// What enabled entries have; without it they have no value.
    pub enabled: Option<String>,
    /// What disabled entries have; without it they have no value.
    pub disabled: Option<String>,
}

/// A chain of certificates and the key of the first of them, as PEM.
type Identity = (Vec<u8>, Vec<u8>);

pub(crate) fn wrong(setting: &str, problem: impl Into<String>, fix: impl Into<String>) -> Error {
    Error::Configuration { setting: Some(setting.to_owned()), problem: problem.into(), fix: fix.into() }
}

fn is_this_machine(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl LdapSettings {
    pub(crate) fn access(&self, given: &ConnectorSettings) -> Result<Access, Error> {
        let urls = match &self.url {
            OneOrMore::One(url) => std::slice::from_ref(url),
            OneOrMore::More(urls) => urls.as_slice(),
        };
        if urls.is_empty() {
            return Err(wrong("url", "no server is named", "write ldaps://host"));
        }
        let servers = urls.iter().map(|url| server(url, self.tls)).collect::<Result<Vec<_>, _>>()?;
        let encrypted = servers.iter().any(|server| server.encryption != Encryption::Off);
        let certificate = self.certificate(given)?;
        let referrals =
            (self.referrals == Referrals::Follow).then_some(Protection { tls: self.tls, may_be_clear: !encrypted });
        // Another server may be an encrypted one.
        let tls = match encrypted || referrals.is_some() {
            _ if !encrypted && certificate.is_some() => {
                let fix = "use ldaps://, or leave `tls` out";
                return Err(wrong("certificate", "a certificate can be shown on encrypted connections only", fix));
            }
            true => Some(self.tls_config(given, certificate)?),
            false => None,
        };
        let timeout = self.timeout.map_or(Duration::from_secs(30), |span| span.0);
        Ok(Access { servers, tls, sign_in: self.sign_in(given)?, timeout, unattended: Arc::default(), referrals })
    }

    fn sign_in(&self, given: &ConnectorSettings) -> Result<SignIn, Error> {
        match (&self.user, given.secret("password"), self.certificate.is_some()) {
            (None, None, false) => Ok(SignIn::Anonymous),
            (None, None, true) => Ok(SignIn::Certificate),
            (Some(_), Some(_), true) => {
                let fix = "leave out `certificate` and `key`, or `user` and `password`";
                Err(wrong("user", "there are two ways to sign in", fix))
            }
            // An empty password signs in as nobody at many servers (RFC 4513, section 5.1.2).
            (Some(_), Some(password), false) if password.expose_secret().is_empty() => {
                Err(wrong("password", "the password is empty", "put the user's password there"))
            }
            (Some(user), Some(password), false) => {
                Ok(SignIn::Simple { user: user.clone(), password: password.clone() })
            }
            (Some(_), None, _) => Err(wrong("password", "the user has no password", "set `password`")),
            (None, Some(_), _) => Err(wrong("user", "there is a password and no user", "set `user`")),
        }
    }

    fn certificate(&self, given: &ConnectorSettings) -> Result<Option<Identity>, Error> {
        let (file, key) = match (&self.certificate, given.secret("key")) {
            (None, None) => return Ok(None),
            (Some(file), Some(key)) => (file, key),
            (Some(_), None) => return Err(wrong("key", "the certificate has no private key", "set `key`")),
            (None, Some(_)) => return Err(wrong("certificate", "there is a key and no certificate", "set it")),
        };
        let path = given.path(file);
        let chain = std::fs::read(&path).map_err(|error| {
            wrong("certificate", format!("cannot read {}: {error}", path.display()), "give the path of a PEM file")
        })?;
        Ok(Some((chain, key.expose_secret().as_bytes().to_vec())))
    }

    fn tls_config(&self, given: &ConnectorSettings, certificate: Option<Identity>) -> Result<Arc<ClientConfig>, Error> {
        let ca_file = self.ca_file.as_deref().map(|path| given.path(path));
        let ca_file: Option<&Path> = ca_file.as_deref();
        let config = match certificate {
            None => muster_tls::client_config(ca_file),
            Some((chain, key)) => muster_tls::client_config_with_certificate(ca_file, &chain, &key),
        };
        config.map_err(|error| {
            let setting = if matches!(error, TlsError::Certificate(_)) { "certificate" } else { "ca_file" };
            wrong(setting, error.to_string(), "give PEM files")
        })
    }
}

pub(crate) fn server(text: &str, tls: Option<TlsMode>) -> Result<Server, Error> {
    const FORMS: &str = "write ldaps://host, or ldap://host";
    let url =
        Url::parse(text.trim()).map_err(|error| wrong("url", format!("{text:?} is no address ({error})"), FORMS))?;
    let host = url.host_str().filter(|host| !host.is_empty());
    let host = host.ok_or_else(|| wrong("url", format!("{text:?} names no host"), FORMS))?.to_owned();
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("url", "the address holds a user or a password", "use `user` and `password`"));
    }
    if !matches!(url.path(), "" | "/") || url.query().is_some() {
        return Err(wrong(
            "url",
            format!("{text:?} has more than host and port"),
            "use `base` for the entry to begin at",
        ));
    }
    let (encryption, port) = match (url.scheme(), tls) {
        ("ldaps", Some(TlsMode::Off)) => {
            return Err(wrong("tls", "ldaps:// is always encrypted", "write ldap://, or leave `tls` out"));
        }
        ("ldaps", _) => (Encryption::Tls, 636),
        ("ldap", Some(TlsMode::Verify)) => (Encryption::StartTls, 389),
        ("ldap", Some(TlsMode::Off)) => (Encryption::Off, 389),
        ("ldap", None) if is_this_machine(&host) => (Encryption::Off, 389),
        ("ldap", None) => (Encryption::StartTls, 389),
        (other, _) => return Err(wrong("url", format!("{other}:// is not spoken here"), FORMS)),
    };
    Ok(Server { host, port: url.port().unwrap_or(port), encryption })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_spoken_to_in_the_clear_on_this_machine_only() {
        let of = |url: &str, tls| server(url, tls).map(|server| (server.to_string(), server.encryption)).ok();
        let is = |url: &str, encryption| Some((url.to_owned(), encryption));
        assert_eq!(of("ldaps://a.example", None), is("ldaps://a.example:636", Encryption::Tls));
        assert_eq!(of("ldap://a.example", None), is("ldap://a.example:389", Encryption::StartTls));
        assert_eq!(of("ldap://127.0.0.1:1389/", None), is("ldap://127.0.0.1:1389", Encryption::Off));
        assert_eq!(of("ldap://[::1]", None), is("ldap://[::1]:389", Encryption::Off));
        assert_eq!(of("ldap://localhost", Some(TlsMode::Verify)), is("ldap://localhost:389", Encryption::StartTls));
        assert_eq!(of("ldap://a.example", Some(TlsMode::Off)), is("ldap://a.example:389", Encryption::Off));
        for wrong in ["a.example", "http://a", "ldap://", "ldap://u:p@a", "ldap://a/dc=x", "ldap://a??sub"] {
            assert!(server(wrong, None).is_err(), "{wrong}");
        }
        assert!(server("ldaps://a", Some(TlsMode::Off)).is_err());
    }
}
