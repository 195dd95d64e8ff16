//! What Graph accepts in the body of a POST or PATCH (Microsoft Graph: create user, update user, create group).

use serde_json::{Map, Value};

use super::person::{DOMAIN, INITIAL_DOMAIN};
use super::property::{Facts, GroupProperty, Shape, UserProperty};
use crate::refusal::Refusal;

const USER: &str = "User";
const GROUP: &str = "Group";

/// The values of a user's body; passwords are checked and forgotten.
pub(crate) fn user_values(body: &Map<String, Value>, create: bool) -> Result<Vec<(UserProperty, Value)>, Refusal> {
    if create {
        require(body, &["accountEnabled", "displayName", "mailNickname", "userPrincipalName"], USER)?;
        check_password(body.get("passwordProfile").unwrap_or(&Value::Null))?;
    }
    let mut values = Vec::new();
    for (name, value) in annotations_aside(body) {
        let property = UserProperty::named(name).ok_or_else(|| unknown(name))?;
        check(property.facts(), value, USER)?;
        match property {
            UserProperty::PasswordProfile => {
                check_password(value)?;
                continue;
            }
            UserProperty::UserPrincipalName => check_principal_name(value)?,
            UserProperty::DisplayName | UserProperty::AccountEnabled | UserProperty::MailNickname
                if value.is_null() =>
            {
                return Err(Refusal::invalid_value(name, USER));
            }
            _ => {}
        }
        values.push((property, value.clone()));
    }
    if create && !body.contains_key("userType") {
        values.push((UserProperty::UserType, Value::from("Member")));
    }
    Ok(values)
}

/// The values of a group's body.
pub(crate) fn group_values(body: &Map<String, Value>, create: bool) -> Result<Vec<(GroupProperty, Value)>, Refusal> {
    if create {
        require(body, &["displayName", "mailEnabled", "mailNickname", "securityEnabled"], GROUP)?;
    }
    let mut values = Vec::new();
    for (name, value) in annotations_aside(body) {
        let property = GroupProperty::named(name).ok_or_else(|| unknown(name))?;
        check(property.facts(), value, GROUP)?;
        if value.is_null() && matches!(property, GroupProperty::DisplayName | GroupProperty::MailNickname) {
            return Err(Refusal::invalid_value(name, GROUP));
        }
        values.push((property, value.clone()));
    }
    if create && !body.contains_key("groupTypes") {
        values.push((GroupProperty::GroupTypes, Value::Array(Vec::new())));
    }
    Ok(values)
}

fn annotations_aside(body: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    body.iter().filter(|(name, _)| !name.starts_with('@'))
}

fn unknown(name: &str) -> Refusal {
    if name.eq_ignore_ascii_case("id") {
        return Refusal::bad_request("Property 'id' is read-only and cannot be set.");
    }
    Refusal::bad_request(format!("Invalid property '{name}'."))
}

fn require(body: &Map<String, Value>, names: &[&str], resource: &str) -> Result<(), Refusal> {
    match names.iter().find(|&&name| body.get(name).is_none_or(Value::is_null)) {
        Some(name) => {
            Err(Refusal::bad_request(format!("A value is required for property '{name}' of resource '{resource}'.")))
        }
        None => Ok(()),
    }
}

fn check(facts: &Facts, value: &Value, resource: &str) -> Result<(), Refusal> {
    if !facts.writable {
        return Err(Refusal::bad_request(format!("Property '{}' is read-only and cannot be set.", facts.name)));
    }
    let good = value.is_null() || fits(facts.shape, value);
    if good { Ok(()) } else { Err(Refusal::invalid_value(facts.name, resource)) }
}

fn fits(shape: Shape, value: &Value) -> bool {
    match (shape, value) {
        // Graph takes null to clear a value and refuses the empty string.
        (Shape::Text(longest), Value::String(text)) => !text.is_empty() && text.encode_utf16().count() <= longest,
        (Shape::Choice(choices), Value::String(text)) => choices.iter().any(|choice| choice.eq_ignore_ascii_case(text)),
        (Shape::Time, Value::String(text)) => chrono::DateTime::parse_from_rfc3339(text).is_ok(),
        (Shape::Flag, Value::Bool(_)) | (Shape::Object, Value::Object(_)) => true,
        (Shape::Texts, Value::Array(items)) => items.iter().all(Value::is_string),
        (Shape::Objects, Value::Array(items)) => items.iter().all(Value::is_object),
        _ => false,
    }
}

fn check_principal_name(value: &Value) -> Result<(), Refusal> {
    let text = value.as_str().unwrap_or_default();
    let Some((local, domain)) = text.rsplit_once('@') else {
        return Err(Refusal::invalid_value("userPrincipalName", USER));
    };
    if local.is_empty() || text.contains(char::is_whitespace) {
        return Err(Refusal::invalid_value("userPrincipalName", USER));
    }
    if [DOMAIN, INITIAL_DOMAIN].iter().any(|own| own.eq_ignore_ascii_case(domain)) {
        return Ok(());
    }
    Err(Refusal::bad_request(
        "The domain portion of the userPrincipalName property is invalid. You must use one of the verified domain \
         names in your organization.",
    ))
}

fn check_password(profile: &Value) -> Result<(), Refusal> {
    let password = profile.get("password").and_then(Value::as_str).unwrap_or_default();
    if password.is_empty() {
        return Err(Refusal::bad_request("A password must be specified to create a new user."));
    }
    let kinds = [
        password.contains(|letter: char| letter.is_lowercase()),
        password.contains(|letter: char| letter.is_uppercase()),
        password.contains(|letter: char| letter.is_ascii_digit()),
        password.contains(|letter: char| !letter.is_alphanumeric()),
    ];
    if password.chars().count() >= 8 && kinds.iter().filter(|&&kind| kind).count() >= 3 {
        return Ok(());
    }
    Err(Refusal::bad_request(
        "The specified password does not comply with password complexity requirements. Please provide a different \
         password.",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::tenant::Tenant;

    #[test]
    fn every_generated_value_is_one_that_graph_would_take() {
        let tenant = Tenant::new(3, 3_000, 40);
        let mut longest = 0;
        for slot in 0..3_000 {
            let reader = tenant.users.reader(slot);
            for &property in UserProperty::ALL {
                let mut json = Vec::new();
                if reader.write(property, &mut json) {
                    let value: Value = serde_json::from_slice(&json).unwrap();
                    assert!(fits(property.facts().shape, &value), "{} = {value}", property.name());
                    longest = longest.max(value.as_str().map_or(0, |text| text.encode_utf16().count()));
                }
            }
        }
        assert_eq!(longest, 128, "somebody has a job title as long as can be");
        for slot in 0..40 {
            for (property, value) in &tenant.groups.get(slot).unwrap().values {
                assert!(fits(property.facts().shape, value), "{} = {value}", property.name());
            }
        }
    }

    #[test]
    fn a_seed_means_the_same_tenant_for_ever() {
        let tenant = Tenant::new(1, 100, 1);
        assert_eq!(tenant.users.id(42).to_string(), "a965d587-74bb-4262-93a5-3c78fee2fa18");
        let name = tenant.users.text(42, UserProperty::UserPrincipalName);
        assert_eq!(name.as_deref(), Some("lukasz.dvorak42@sandbox.example"));
    }
}
