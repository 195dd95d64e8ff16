//! What `ldapsearch` prints (RFC 2849).

use std::collections::BTreeMap;

/// An entry, as text; what is no text is shown as far as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entry {
    /// The entry's name.
    pub dn: String,
    /// Its values by attribute, sorted.
    pub attributes: BTreeMap<String, Vec<String>>,
}

impl Entry {
    /// The values of an attribute, sorted.
    #[must_use]
    pub fn all(&self, attribute: &str) -> Vec<&str> {
        self.attributes.get(attribute).into_iter().flatten().map(String::as_str).collect()
    }

    /// The only value of an attribute; empty where there is none.
    #[must_use]
    pub fn get(&self, attribute: &str) -> &str {
        match self.all(attribute).as_slice() {
            [] => "",
            [only] => only,
            several => panic!("{}: {attribute} has several values: {several:?}", self.dn),
        }
    }
}

pub(super) fn read(text: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    for block in text.split("\n\n") {
        let mut entry = Entry::default();
        for line in block.lines().filter(|line| !line.starts_with('#')) {
            let Some((name, rest)) = line.split_once(':') else { continue };
            let value = match rest.strip_prefix(':') {
                Some(encoded) => String::from_utf8_lossy(&decode(encoded.trim())).into_owned(),
                None => rest.trim_start().to_owned(),
            };
            match name {
                "dn" => entry.dn = value,
                _ => entry.attributes.entry(name.to_owned()).or_default().push(value),
            }
        }
        entry.attributes.values_mut().for_each(|values| values.sort());
        if !entry.dn.is_empty() {
            entries.push(entry);
        }
    }
    entries.sort_by(|one, other| one.dn.cmp(&other.dn));
    entries
}

/// Base64 (RFC 4648).
fn decode(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let (mut bits, mut held) = (0_u32, 0);
    for letter in text.bytes().filter(|letter| *letter != b'=') {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'+' => 62,
            _ => 63,
        };
        bits = (bits << 6) | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from((bits >> held) & 0xff).unwrap());
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_client_prints_is_read() {
        let entries = read("dn: cn=b\ncn: b\nmail: z@x\nmail: a@x\n\ndn:: Y249w4U=\ncn:: w4U=\n\n# refldap://x\n");
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[0].all("mail"), ["a@x", "z@x"]);
        assert_eq!((entries[1].dn.as_str(), entries[1].get("cn"), entries[1].get("sn")), ("cn=Å", "Å", ""));
    }
}
