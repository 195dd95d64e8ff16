//! How directories say that an entry is disabled.

use muster_connector::Error;

use crate::config::{EnabledValues, TypeSettings, wrong};
use crate::directory::root::{Root, Vendor};
use crate::directory::subschema::Subschema;
use crate::protocol::message::Entry;
use crate::protocol::request::{How, Modification};

/// What says that an entry is disabled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Switch {
    /// A bit of Active Directory's `userAccountControl`.
    AccountControl,
    /// An attribute that has one value while enabled and another, or none, while disabled.
    Values { attribute: String, enabled: Option<String>, disabled: Option<String> },
}

const ACCOUNT_CONTROL: &str = "userAccountControl";
/// `ADS_UF_ACCOUNTDISABLE`
/// (<https://learn.microsoft.com/windows/win32/adschema/a-useraccountcontrol>).
const DISABLED: i64 = 0x2;
/// `ADS_UF_NORMAL_ACCOUNT`.
const NORMAL: i64 = 0x200;
/// Locked by an administrator, until one unlocks it (draft-behera-ldap-password-policy, section 5.3.3).
const LOCKED_FOR_GOOD: &str = "000001010000Z";

impl Switch {
    /// What the settings name, or what the directory offers for people.
    pub(crate) fn choose(
        name: &str,
        one: &TypeSettings,
        classes: &[String],
        root: &Root,
        schema: &Subschema,
    ) -> Result<Option<Self>, Error> {
        let setting = format!("types.{name}.enabled");
        if one.enabled.is_none() && one.enabled_values.is_some() {
            return Err(wrong(&setting, "no attribute is named that `enabled_values` could stand in", "set it"));
        }
        let is_group = classes.iter().any(|class| class.to_ascii_lowercase().contains("group"));
        let usual = match root.vendor {
            _ if is_group => "",
            Vendor::ActiveDirectory => ACCOUNT_CONTROL,
            Vendor::Lightweight => "msDS-UserAccountDisabled",
            Vendor::Ds389 => "nsAccountLock",
            Vendor::OpenLdap | Vendor::Other if schema.attribute("pwdAccountLockedTime").is_some() => {
                "pwdAccountLockedTime"
            }
            Vendor::OpenLdap | Vendor::Other => "",
        };
        let attribute = one.enabled.as_deref().unwrap_or(usual);
        if attribute.is_empty() {
            return Ok(None);
        }
        if schema.attribute(attribute).is_none() {
            let fix = "name one that it knows, or \"\" for none";
            return Err(wrong(&setting, format!("the directory knows no attribute {attribute:?}"), fix));
        }
        let values = |enabled: Option<&str>, disabled: Option<&str>| Self::Values {
            attribute: attribute.to_owned(),
            enabled: enabled.map(str::to_owned),
            disabled: disabled.map(str::to_owned),
        };
        let lower = attribute.to_ascii_lowercase();
        if let Some(EnabledValues { enabled, disabled }) = &one.enabled_values {
            if enabled == disabled {
                let setting = format!("types.{name}.enabled_values");
                return Err(wrong(
                    &setting,
                    "enabled and disabled entries have the same",
                    "give at least one of them a value",
                ));
            }
            return Ok(Some(values(enabled.as_deref(), disabled.as_deref())));
        }
        match lower.as_str() {
            "useraccountcontrol" if root.is_windows() => Ok(Some(Self::AccountControl)),
            "msds-useraccountdisabled" => Ok(Some(values(Some("FALSE"), Some("TRUE")))),
            "nsaccountlock" => Ok(Some(values(None, Some("true")))),
            "pwdaccountlockedtime" => Ok(Some(values(None, Some(LOCKED_FOR_GOOD)))),
            _ => {
                let problem = format!("nothing says which value of {attribute:?} means disabled");
                let fix = "add enabled_values = { enabled = \"…\", disabled = \"…\" }";
                Err(wrong(&format!("types.{name}.enabled_values"), problem, fix))
            }
        }
    }

    pub(crate) fn attribute(&self) -> &str {
        match self {
            Self::AccountControl => ACCOUNT_CONTROL,
            Self::Values { attribute, .. } => attribute,
        }
    }

    /// Whether an entry is enabled, where it shows the attribute.
    pub(crate) fn read(&self, entry: &Entry) -> bool {
        match self {
            Self::AccountControl => control(entry) & DISABLED == 0,
            Self::Values { attribute, enabled, disabled } => {
                let mut values = entry.texts(attribute);
                match (enabled, disabled) {
                    (_, Some(disabled)) => !values.any(|value| value.eq_ignore_ascii_case(disabled)),
                    (Some(enabled), None) => values.any(|value| value.eq_ignore_ascii_case(enabled)),
                    (None, None) => true,
                }
            }
        }
    }

    /// What a new entry gets.
    pub(crate) fn of_new(&self, is_enabled: bool) -> Option<(String, Vec<u8>)> {
        match self {
            Self::AccountControl => {
                let flags = if is_enabled { NORMAL } else { NORMAL | DISABLED };
                Some((ACCOUNT_CONTROL.to_owned(), flags.to_string().into_bytes()))
            }
            Self::Values { attribute, enabled, disabled } => {
                let value = if is_enabled { enabled } else { disabled };
                value.as_ref().map(|value| (attribute.clone(), value.clone().into_bytes()))
            }
        }
    }

    /// What makes an entry, as it was read, enabled or disabled. Nothing where it is so.
    pub(crate) fn change(&self, entry: &Entry, is_enabled: bool) -> Vec<Modification> {
        if self.read(entry) == is_enabled && (matches!(self, Self::AccountControl) || !is_enabled) {
            return Vec::new();
        }
        match self {
            // One value goes and another comes, so that flags that somebody sets meanwhile are not lost.
            Self::AccountControl => {
                let flags = control(entry);
                let wanted = if is_enabled { flags & !DISABLED } else { flags | DISABLED };
                let value = |flags: i64| vec![flags.to_string().into_bytes()];
                vec![
                    Modification::new(How::Delete, ACCOUNT_CONTROL, value(flags)),
                    Modification::new(How::Add, ACCOUNT_CONTROL, value(wanted)),
                ]
            }
            Self::Values { attribute, enabled, disabled } => {
                let there: Vec<&str> = entry.texts(attribute).collect();
                let value = if is_enabled { enabled } else { disabled };
                match value {
                    Some(value) if there == [value.as_str()] => Vec::new(),
                    None if there.is_empty() => Vec::new(),
                    // A lock that the server has set itself ends by itself; it is not ours to lift.
                    None if is_enabled && self.read(entry) => Vec::new(),
                    _ => {
                        let values = value.iter().map(|value| value.clone().into_bytes()).collect();
                        vec![Modification::new(How::Replace, attribute, values)]
                    }
                }
            }
        }
    }
}

fn control(entry: &Entry) -> i64 {
    entry.text(ACCOUNT_CONTROL).and_then(|text| text.trim().parse().ok()).unwrap_or(NORMAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(attribute: &str, value: &str) -> Entry {
        let values = if value.is_empty() { Vec::new() } else { vec![value.as_bytes().to_vec()] };
        Entry { attributes: vec![(attribute.to_owned(), values)], ..Entry::default() }
    }

    fn shown(modifications: &[Modification]) -> String {
        let one = |one: &Modification| {
            let values: Vec<String> =
                one.values.iter().map(|value| String::from_utf8_lossy(value.exposed()).into_owned()).collect();
            format!("{:?} {}", one.how, values.join(","))
        };
        modifications.iter().map(one).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn active_directory_keeps_its_other_flags() {
        let switch = Switch::AccountControl;
        let expires_never = entry(ACCOUNT_CONTROL, "66048");
        assert!(switch.read(&expires_never));
        assert_eq!(shown(&switch.change(&expires_never, false)), "Delete 66048; Add 66050");
        assert_eq!(shown(&switch.change(&entry(ACCOUNT_CONTROL, "66050"), true)), "Delete 66050; Add 66048");
        assert_eq!(shown(&switch.change(&expires_never, true)), "");
        assert_eq!(switch.of_new(false).unwrap().1, b"514");
    }

    #[test]
    fn a_lock_of_the_password_policy_is_not_a_disabled_account() {
        let attribute = "pwdAccountLockedTime";
        let switch = Switch::Values {
            attribute: attribute.to_owned(),
            enabled: None,
            disabled: Some(LOCKED_FOR_GOOD.to_owned()),
        };
        let locked = entry(attribute, "20260101000000Z");
        assert!(switch.read(&locked));
        assert_eq!(shown(&switch.change(&locked, true)), "");
        assert_eq!(shown(&switch.change(&locked, false)), format!("Replace {LOCKED_FOR_GOOD}"));
        assert_eq!(shown(&switch.change(&entry(attribute, LOCKED_FOR_GOOD), true)), "Replace ");
        assert_eq!(shown(&switch.change(&entry(attribute, ""), true)), "");
        assert_eq!(switch.of_new(true), None);
    }

    #[test]
    fn values_of_ones_own_are_written_both_ways() {
        let switch = Switch::Values {
            attribute: "status".to_owned(),
            enabled: Some("active".to_owned()),
            disabled: Some("inactive".to_owned()),
        };
        assert_eq!(shown(&switch.change(&entry("status", "ACTIVE"), false)), "Replace inactive");
        assert_eq!(shown(&switch.change(&entry("status", ""), true)), "Replace active");
        assert_eq!(shown(&switch.change(&entry("status", "active"), true)), "");
        assert_eq!(switch.of_new(true).unwrap().1, b"active");
    }
}
