//! Requests as LDIF (RFC 2849), which `ldapmodify` takes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::protocol::request::{Bytes, How, Request};

/// Requests of one operation. Values that nobody may see are left out, which a comment says.
pub(crate) fn shown(requests: &[Request]) -> String {
    requests.iter().map(record).collect::<Vec<_>>().join("\n")
}

fn record(request: &Request) -> String {
    let mut lines = Vec::new();
    match request {
        Request::Add { dn, attributes } => {
            lines.push(line("dn", dn.as_bytes()));
            lines.push("changetype: add".to_owned());
            attributes.iter().for_each(|(name, all)| values(&mut lines, name, all));
        }
        Request::Modify { dn, modifications } => {
            lines.push(line("dn", dn.as_bytes()));
            lines.push("changetype: modify".to_owned());
            for one in modifications {
                let how = match one.how {
                    How::Add => "add",
                    How::Delete => "delete",
                    How::Replace => "replace",
                };
                lines.push(format!("{how}: {}", one.attribute));
                values(&mut lines, &one.attribute, &one.values);
                lines.push("-".to_owned());
            }
        }
        Request::ModifyDn { dn, rdn, superior } => {
            lines.push(line("dn", dn.as_bytes()));
            lines.push(format!("changetype: {}", if superior.is_some() { "moddn" } else { "modrdn" }));
            lines.push(line("newrdn", rdn.as_bytes()));
            lines.push("deleteoldrdn: 1".to_owned());
            lines.extend(superior.iter().map(|superior| line("newsuperior", superior.as_bytes())));
        }
        Request::Delete { dn } => {
            lines.push(line("dn", dn.as_bytes()));
            lines.push("changetype: delete".to_owned());
        }
        Request::SetPassword { dn, .. } => lines.push(format!("# then a first password by RFC 3062: ldappasswd {dn}")),
        _ => {}
    }
    lines.push(String::new());
    lines.join("\n")
}

fn values(lines: &mut Vec<String>, name: &str, values: &[Bytes]) {
    for value in values {
        lines.push(match value {
            Bytes::Plain(bytes) => line(name, bytes),
            Bytes::Secret(_) => format!("# {name}: a value that is shown nowhere"),
        });
    }
}

/// One line, folded nowhere: readers take any length.
fn line(name: &str, value: &[u8]) -> String {
    let is_safe = value.iter().all(|byte| (0x20..0x7f).contains(byte))
        && !value.first().is_some_and(|first| matches!(first, b' ' | b':' | b'<'))
        && value.last() != Some(&b' ');
    match std::str::from_utf8(value) {
        Ok(text) if is_safe => format!("{name}: {text}"),
        _ => format!("{name}:: {}", STANDARD.encode(value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::request::Modification;

    #[test]
    fn any_value_stands_on_one_line() {
        let plain = |text: &str| Bytes::Plain(text.as_bytes().to_vec());
        let add = Request::Add {
            dn: "cn=Åsa,dc=x".to_owned(),
            attributes: vec![
                ("cn".to_owned(), vec![plain("Åsa"), plain(" x"), plain("a\nb"), plain("plain")]),
                ("userPassword".to_owned(), vec![Bytes::Secret(b"hidden".to_vec())]),
            ],
        };
        let remove = Modification::new(How::Delete, "member", vec![b"cn=b".to_vec()]);
        let modify = Request::Modify { dn: "cn=a".to_owned(), modifications: vec![remove] };
        let rename = Request::ModifyDn { dn: "cn=a".to_owned(), rdn: "cn=b".to_owned(), superior: None };
        assert_eq!(
            shown(&[add, modify, rename]),
            "dn:: Y249w4VzYSxkYz14\nchangetype: add\ncn:: w4VzYQ==\ncn:: IHg=\ncn:: YQpi\ncn: plain\n\
             # userPassword: a value that is shown nowhere\n\n\
             dn: cn=a\nchangetype: modify\ndelete: member\nmember: cn=b\n-\n\n\
             dn: cn=a\nchangetype: modrdn\nnewrdn: cn=b\ndeleteoldrdn: 1\n"
        );
    }
}
