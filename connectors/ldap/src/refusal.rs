//! What the refusal of one operation means (RFC 4511, section A.2).

use std::time::Duration;

use muster_connector::{Outcome, RetryScope};

use crate::entries::{CONTAINER, EntryType};
use crate::protocol::message::{Code, LdapResult};
use crate::session::failure::Failure;

/// The attributes that hold passwords.
const PASSWORDS: [&str; 2] = ["unicodePwd", "userPassword"];

pub(crate) const ELSEWHERE: &str =
    "entries are not moved from one server to another: make a connection to each of them";

/// A refusal of the connector's own, before anything is sent.
pub(crate) fn rejected(attribute: &str, rule: &str, message: impl Into<String>) -> Outcome {
    Outcome::Rejected { attribute: Some(attribute.to_owned()), rule: rule.to_owned(), message: message.into() }
}

pub(crate) fn retry(scope: RetryScope, problem: String) -> Outcome {
    Outcome::Retry { after: Duration::from_secs(5), scope, problem }
}

/// What became of an operation whose request failed. `touched`: something of it may have taken effect.
pub(crate) fn failed(failure: Failure, touched: bool) -> Outcome {
    match failure {
        _ if touched => Outcome::Unknown,
        Failure::Referral { problem, fix } => {
            Outcome::Rejected { attribute: None, rule: "referral".to_owned(), message: format!("{problem}; {fix}") }
        }
        Failure::Unreachable { problem, .. } => retry(RetryScope::Target, problem),
        other => retry(RetryScope::Target, other.error().to_string()),
    }
}

/// What a refused operation answers. `attributes`: those that it writes.
pub(crate) fn outcome(of: &EntryType, attributes: &[&str], result: &LdapResult) -> Outcome {
    let said = result.said();
    let refused = |rule: &str, message: String| Outcome::Rejected {
        attribute: blamed(of, attributes, &result.text),
        rule: rule.to_owned(),
        message,
    };
    let with = |advice: &str| format!("{said}; {advice}");
    let text = result.text.to_ascii_lowercase();
    match result.code {
        Code::BUSY | Code::UNAVAILABLE | Code::OPERATIONS_ERROR | Code::TIME_LIMIT => retry(RetryScope::Target, said),
        Code::MULTIPLE_SERVERS => refused("referral", with(ELSEWHERE)),
        Code::OTHER if text.contains("referral") => refused("referral", with(ELSEWHERE)),
        Code::OTHER => retry(RetryScope::Object, said),
        Code::CONSTRAINT if text.contains("not unique") || text.contains("already exists") => refused("unique", said),
        Code::CONSTRAINT | Code::UNWILLING if is_about_a_password(&text) => {
            let advice = "the directory's password policy refuses it: give new accounts a first password, as long and mixed as \
                          it asks for: [syncs.NAME.password]";
            let is_password = |name: &&&str| PASSWORDS.iter().any(|password| name.eq_ignore_ascii_case(password));
            let password = attributes.iter().find(is_password).map(|&name| name.to_owned());
            Outcome::Rejected {
                attribute: blamed(of, attributes, &result.text).or(password),
                rule: "password_policy".to_owned(),
                message: with(advice),
            }
        }
        Code::CONSTRAINT => refused("constraint", said),
        Code::SYNTAX | Code::DN_SYNTAX => refused("syntax", said),
        Code::UNDEFINED_TYPE => refused("undefined_attribute", with("the directory's schema lacks the attribute")),
        Code::OBJECT_CLASS if text.contains("requires attribute") || text.contains("missing required") => {
            refused("required", with("map the attribute"))
        }
        Code::OBJECT_CLASS => refused("object_class", with("see `classes` of the type")),
        Code::NAMING | Code::ON_RDN => refused("naming", said),
        Code::NON_LEAF => {
            refused("has_children", with("there are entries below it; `delete_subtree = true` deletes them, too"))
        }
        Code::ACCESS => refused("insufficient_access", with("give the connection's user the right to do this")),
        Code::NO_SUCH_OBJECT => Outcome::Rejected {
            attribute: Some(CONTAINER.to_owned()),
            rule: "no_such_parent".to_owned(),
            message: format!(
                "{said}; the entry above is missing (the nearest that is there: {:?}); make it, or set `create_containers = true`",
                result.matched
            ),
        },
        Code::EXISTS | Code::VALUE_EXISTS => refused("unique", said),
        Code::REFERRAL => {
            let message = format!(
                "{said}; another server takes this change: {}; name that one in `url`, or set referrals = \"follow\"",
                result.referrals.join(", ")
            );
            refused("referral", message)
        }
        Code::STRONGER_AUTH | Code::CONFIDENTIALITY => {
            refused("encryption_required", with("use ldaps://, or leave `tls` out so that ldap:// is encrypted"))
        }
        Code::UNWILLING => refused("unwilling", said),
        _ => refused("refused", said),
    }
}

/// Windows' codes for passwords that do not suit (0000052D), or that are missing.
fn is_about_a_password(text: &str) -> bool {
    text.contains("password") || text.contains("0000052d") || text.contains("unicodepwd")
}

/// The attribute that a server's text names, if it is one of the type's: those written come first.
fn blamed(of: &EntryType, attributes: &[&str], text: &str) -> Option<String> {
    let words: Vec<&str> = text.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | ';' | '_'))).collect();
    let is_named = |name: &str| words.iter().any(|word| word.eq_ignore_ascii_case(name));
    let wire = |name: &str| of.fields.get(name).map(|field| field.wire.clone()).filter(|wire| !wire.is_empty());
    let written =
        attributes.iter().find(|name| wire(name).is_some_and(|wire| is_named(&wire))).map(|&name| name.to_owned());
    // Words such as "name" are attributes of some schemas, too.
    let any = || {
        let quoted = |name: &str| text.contains(&format!("'{name}'")) || text.contains(&format!("\"{name}\""));
        of.fields.keys().find(|name| quoted(name)).cloned()
    };
    written.or_else(any)
}
