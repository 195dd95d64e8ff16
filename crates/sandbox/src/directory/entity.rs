//! Objects as the ordinary reading endpoints show them: every selected property, unset ones as null.

use serde_json::Value;

use super::groups::Member;
use super::property::{GroupProperty, Mask, Shape, UserProperty};
use super::tenant::Tenant;

/// Appends `{"id":…,…}` of one user; `extra` goes in front and must end in a comma when it is not empty.
pub(crate) fn write_user(tenant: &Tenant, slot: u32, select: Mask, extra: &str, out: &mut Vec<u8>) {
    begin(out, extra, &tenant.users.id(slot).to_string());
    let reader = tenant.users.reader(slot);
    for &property in UserProperty::ALL {
        if select & property.bit() != 0 {
            key(out, property.name());
            if property == UserProperty::PasswordProfile || !reader.write(property, out) {
                unset(out, property.facts().shape);
            }
        }
    }
    out.push(b'}');
}

/// Appends `{"id":…,…}` of one group.
pub(crate) fn write_group(tenant: &Tenant, slot: u32, select: Mask, extra: &str, out: &mut Vec<u8>) {
    begin(out, extra, &tenant.groups.id(slot).to_string());
    for &property in GroupProperty::ALL {
        if select & property.bit() != 0 {
            key(out, property.name());
            match tenant.groups.get(slot).and_then(|group| group.values.get(&property)) {
                Some(value) => out.extend_from_slice(value.to_string().as_bytes()),
                None => unset(out, property.facts().shape),
            }
        }
    }
    out.push(b'}');
}

/// A member of a group, with its type.
pub(crate) fn write_member(tenant: &Tenant, member: Member, users: Mask, groups: Mask, out: &mut Vec<u8>) {
    let extra = type_annotation(member);
    match member {
        Member::User(slot) => write_user(tenant, slot, users, extra, out),
        Member::Group(slot) => write_group(tenant, slot, groups, extra, out),
    }
}

pub(crate) const fn type_annotation(member: Member) -> &'static str {
    match member {
        Member::User(_) => "\"@odata.type\":\"#microsoft.graph.user\",",
        Member::Group(_) => "\"@odata.type\":\"#microsoft.graph.group\",",
    }
}

/// One user with every property that has a value, for callers in the same process.
pub(crate) fn user_value(tenant: &Tenant, slot: u32) -> Value {
    parse(|out| write_user(tenant, slot, everything(UserProperty::ALL.len()), "", out))
}

/// One group with every property, for callers in the same process.
pub(crate) fn group_value(tenant: &Tenant, slot: u32) -> Value {
    parse(|out| write_group(tenant, slot, everything(GroupProperty::ALL.len()), "", out))
}

fn everything(count: usize) -> Mask {
    (1 << count) - 1
}

fn parse(write: impl FnOnce(&mut Vec<u8>)) -> Value {
    let mut out = Vec::new();
    write(&mut out);
    serde_json::from_slice(&out).unwrap_or(Value::Null)
}

fn begin(out: &mut Vec<u8>, extra: &str, id: &str) {
    out.push(b'{');
    out.extend_from_slice(extra.as_bytes());
    out.extend_from_slice(b"\"id\":\"");
    out.extend_from_slice(id.as_bytes());
    out.push(b'"');
}

fn key(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn unset(out: &mut Vec<u8>, shape: Shape) {
    let empty: &[u8] = if matches!(shape, Shape::Texts | Shape::Objects) { b"[]" } else { b"null" };
    out.extend_from_slice(empty);
}
