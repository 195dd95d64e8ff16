//! What kept a request from being answered, or what the server answered in place of success.

use std::time::Duration;

use muster_connector::Error;

use crate::protocol::message::{Code, LdapResult};

/// The connection went before the answer came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) problem: String,
    /// The request may have left.
    pub(crate) sent: bool,
}

/// Why something could not be had from a directory.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    /// No server can be reached, or the connection to it went.
    Unreachable { problem: String, sent: bool },
    /// There is no encrypted connection to a server that can be trusted.
    Insecure(String),
    /// Sign-in was refused.
    SignIn(LdapResult),
    /// An operation was refused.
    Refused { what: String, result: LdapResult },
    /// A referral cannot be followed.
    Referral { problem: String, fix: String },
    /// The server says what makes no sense.
    Nonsense(String),
}

impl From<Lost> for Failure {
    fn from(lost: Lost) -> Self {
        Self::Unreachable { problem: lost.problem, sent: lost.sent }
    }
}

impl Failure {
    pub(crate) fn refused(what: impl Into<String>, result: LdapResult) -> Self {
        Self::Refused { what: what.into(), result }
    }

    /// Whether looking a name up failed because it names nobody here: the server does not take it as a name, does not show
    /// the entry, or leaves it to another server that nobody follows. What fails for the moment says nothing of the name.
    pub(crate) fn names_nobody(&self, follows: bool) -> bool {
        let Self::Refused { result, .. } = self else { return false };
        let passing = [Code::BUSY, Code::UNAVAILABLE, Code::TIME_LIMIT, Code::ADMIN_LIMIT, Code::SIZE_LIMIT];
        !passing.contains(&result.code) && (result.code != Code::REFERRAL || !follows)
    }

    /// What a call as a whole answers.
    pub(crate) fn error(self) -> Error {
        match self {
            Self::Unreachable { problem, sent } => Error::Unreachable { problem, nothing_sent: !sent },
            Self::Insecure(problem) => Error::Credentials {
                problem: format!("there is no encrypted connection to a server that can be trusted: {problem}"),
                fix: "set `ca_file` to a PEM file of the authority that signed the server's certificate, and name the \
                      server in `url` as its certificate does; `tls = \"off\"` only where nobody can listen"
                    .to_owned(),
            },
            Self::SignIn(result) => sign_in(&result),
            Self::Refused { what, result } => refused(&what, &result),
            Self::Referral { problem, fix } => {
                Error::Configuration { setting: Some("referrals".to_owned()), problem, fix }
            }
            Self::Nonsense(problem) => Error::Bug(problem),
        }
    }
}

fn sign_in(result: &LdapResult) -> Error {
    let problem = format!("the directory refused to sign in: {}", result.said());
    let fix = match result.code {
        Code::STRONGER_AUTH | Code::CONFIDENTIALITY => {
            "it wants an encrypted connection: use ldaps://, or leave `tls` out so that ldap:// is encrypted"
        }
        Code::CREDENTIALS => windows_reason(&result.text)
            .unwrap_or("check `user` and `password`; too many attempts may have locked the account"),
        Code::METHOD_NOT_SUPPORTED | Code::INAPPROPRIATE_AUTH => {
            "the server does not take this way to sign in: give `user` and `password`, or `certificate` and `key`"
        }
        Code::BUSY | Code::UNAVAILABLE => {
            return Error::Unreachable { problem, nothing_sent: true };
        }
        _ => "see the server's log",
    };
    Error::Credentials { problem, fix: fix.to_owned() }
}

/// What Active Directory hides in the text of `invalidCredentials`
/// (<https://learn.microsoft.com/windows/win32/debug/system-error-codes--1300-1699->, in hexadecimal).
fn windows_reason(text: &str) -> Option<&'static str> {
    let (_, code) = text.split_once("data ")?;
    Some(match code.split([',', ' ']).next()? {
        "525" => "there is no such user: check `user`",
        "52e" => "the password is wrong: check `password`",
        "530" => "the account may not sign in at this time: change its logon hours",
        "531" => "the account may not sign in from this machine: change its permitted workstations",
        "532" => "the account's password has expired: set a new one that does not expire",
        "533" => "the account is disabled: enable it",
        "701" => "the account has expired: extend it",
        "773" => "the account must change its password first: set one that need not be changed",
        "775" => "the account is locked: unlock it",
        _ => return None,
    })
}

fn refused(what: &str, result: &LdapResult) -> Error {
    let problem = format!("{what}: {}", result.said());
    match result.code {
        Code::BUSY | Code::TIME_LIMIT | Code::UNAVAILABLE | Code::OTHER | Code::OPERATIONS_ERROR => {
            Error::Throttled { problem, after: Duration::from_secs(5) }
        }
        Code::STRONGER_AUTH | Code::CONFIDENTIALITY => Error::Credentials {
            problem,
            fix: "the server wants an encrypted connection: use ldaps://, or leave `tls` out".to_owned(),
        },
        Code::ACCESS => Error::Credentials {
            problem,
            fix: "give the connection's user the right to read and write below the types' `base`".to_owned(),
        },
        Code::SIZE_LIMIT | Code::ADMIN_LIMIT => Error::Configuration {
            setting: None,
            problem,
            fix: "raise the server's limits for the connection's user, so that all entries can be read (OpenLDAP: \
                  `olcLimits`, `size=unlimited`; 389: `nsSizeLimit: -1` and `nsLookThroughLimit: -1` in the user's entry)"
                .to_owned(),
        },
        Code::NO_SUCH_OBJECT => Error::Configuration {
            setting: None,
            problem,
            fix: "check `base`; an entry that the connection's user may not see counts as missing, too".to_owned(),
        },
        Code::REFERRAL => Error::Configuration {
            setting: Some("url".to_owned()),
            problem: format!("{problem}; it names {}", result.referrals.join(", ")),
            fix: "name the server that holds these entries and takes changes, or set referrals = \"follow\" (with changes = \
                  \"modify_timestamp\" or \"none\" where they are a source)"
                .to_owned(),
        },
        _ => Error::Bug(problem),
    }
}
