//! Distinguished names (RFC 4514): parsed, compared and written by type, so that a comma within a value never makes
//! another name.

use std::fmt;

/// A name, from the entry up to the root.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Dn(pub(crate) Vec<Rdn>);

/// The part of a name that is an entry's own: one naming value, seldom several.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Rdn(pub(crate) Vec<(String, String)>);

/// The longest name that is read, in bytes.
const LONGEST: usize = 16 << 10;

impl Dn {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > LONGEST {
            return Err(format!("it is longer than {LONGEST} bytes"));
        }
        let mut rdns = Vec::new();
        let mut rest = text.trim_start_matches(' ');
        if rest.is_empty() {
            return Ok(Self(rdns));
        }
        loop {
            let mut pairs = Vec::new();
            let separator = loop {
                let (pair, end, after) = pair(rest)?;
                pairs.push(pair);
                rest = after.trim_start_matches(' ');
                if end != Some('+') {
                    break end;
                }
            };
            rdns.push(Rdn(pairs));
            if separator.is_none() {
                return Ok(Self(rdns));
            }
        }
    }

    /// The entry above.
    pub(crate) fn parent(&self) -> Self {
        Self(self.0.iter().skip(1).cloned().collect())
    }

    /// An entry below this one.
    pub(crate) fn child(&self, rdn: Rdn) -> Self {
        Self(std::iter::once(rdn).chain(self.0.iter().cloned()).collect())
    }

    /// A form in which equal names are equal: case and blanks as most matching rules take them.
    pub(crate) fn folded(&self) -> String {
        Self(self.0.iter().map(Rdn::folded).collect()).to_string()
    }

    /// Whether this entry is `above`, or is somewhere below it.
    pub(crate) fn is_within(&self, above: &Self) -> bool {
        let Some(skipped) = self.0.len().checked_sub(above.0.len()) else { return false };
        self.0.iter().skip(skipped).map(Rdn::folded).eq(above.0.iter().map(Rdn::folded))
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.folded() == other.folded()
    }
}

impl Rdn {
    pub(crate) fn one(attribute: &str, value: &str) -> Self {
        Self(vec![(attribute.to_owned(), value.to_owned())])
    }

    fn folded(&self) -> Self {
        let mut pairs: Vec<(String, String)> = self
            .0
            .iter()
            .map(|(attribute, value)| {
                let value = value.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
                (attribute.to_lowercase(), value.to_lowercase())
            })
            .collect();
        pairs.sort();
        Self(pairs)
    }
}

/// One `attribute=value`, the separator after it, and what follows that.
#[expect(clippy::type_complexity, reason = "used in one place")]
fn pair(text: &str) -> Result<((String, String), Option<char>, &str), String> {
    let (attribute, rest) = text.split_once('=').ok_or_else(|| format!("{text:?} lacks attribute="))?;
    let attribute = attribute.trim_matches(' ');
    let is_named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if attribute.is_empty() || !attribute.chars().all(is_named) {
        return Err(format!("{attribute:?} is no attribute's name; a comma within a value is written \\,"));
    }
    let rest = rest.trim_start_matches(' ');
    let mut value: Vec<u8> = Vec::new();
    // Blanks at the end do not count, unless they are escaped.
    let mut kept = 0;
    let mut characters = rest.char_indices().peekable();
    let mut buffer = [0; 4];
    while let Some((at, character)) = characters.next() {
        match character {
            ',' | ';' | '+' => {
                value.truncate(kept);
                let after = rest.get(at + 1..).unwrap_or_default();
                if after.trim_matches(' ').is_empty() {
                    return Err(format!("it ends with {character:?}"));
                }
                return Ok(((attribute.to_owned(), decoded(value)?), Some(character), after));
            }
            '"' | '<' | '>' => return Err(format!("{character:?} within a value is written \\{character}")),
            '\\' => {
                let (_, first) = characters.next().ok_or("it ends with \\")?;
                match (first.to_digit(16), characters.peek().and_then(|(_, second)| second.to_digit(16))) {
                    (Some(high), Some(low)) => {
                        characters.next();
                        value.push(u8::try_from(high * 16 + low).unwrap_or_default());
                    }
                    _ => value.extend_from_slice(first.encode_utf8(&mut buffer).as_bytes()),
                }
                kept = value.len();
            }
            other => {
                value.extend_from_slice(other.encode_utf8(&mut buffer).as_bytes());
                if other != ' ' {
                    kept = value.len();
                }
            }
        }
    }
    value.truncate(kept);
    Ok(((attribute.to_owned(), decoded(value)?), None, ""))
}

fn decoded(value: Vec<u8>) -> Result<String, String> {
    if value.is_empty() {
        return Err("a value is empty".to_owned());
    }
    String::from_utf8(value).map_err(|_| "a value is not text".to_owned())
}

impl fmt::Display for Dn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, rdn) in self.0.iter().enumerate() {
            if position > 0 {
                formatter.write_str(",")?;
            }
            rdn.fmt(formatter)?;
        }
        Ok(())
    }
}

impl fmt::Display for Rdn {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (attribute, value)) in self.0.iter().enumerate() {
            if position > 0 {
                formatter.write_str("+")?;
            }
            write!(formatter, "{attribute}=")?;
            let last = value.chars().count().saturating_sub(1);
            for (at, character) in value.chars().enumerate() {
                match character {
                    ',' | '+' | '"' | '\\' | '<' | '>' | ';' | '=' => write!(formatter, "\\{character}")?,
                    '#' | ' ' if at == 0 => write!(formatter, "\\{character}")?,
                    ' ' if at == last => formatter.write_str("\\ ")?,
                    control if u32::from(control) < 0x20 || control == '\u{7f}' => {
                        write!(formatter, "\\{:02X}", u32::from(control))?;
                    }
                    other => write!(formatter, "{other}")?,
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_value_names_exactly_one_entry() {
        let base = Dn::parse("ou=People, dc=example , dc=org").unwrap();
        assert_eq!(base.to_string(), "ou=People,dc=example,dc=org");
        for value in ["Doe, Jane", " x ", "#5", "a+b=c", "q\"<>;\\", "\u{0}\n", "Åsa Öberg", "=", " ", "日本"] {
            let dn = base.child(Rdn::one("cn", value));
            let read = Dn::parse(&dn.to_string()).unwrap();
            assert_eq!(read, dn, "{dn}");
            assert_eq!(read.parent(), base);
        }
        // As Active Directory and others write it.
        assert_eq!(Dn::parse("CN=Doe\\, Jane\\0ACNF:1,DC=x").unwrap().0[0].0[0].1, "Doe, Jane\nCNF:1");
        assert_eq!(Dn::parse("cn=\\C3\\85sa;dc=x").unwrap().to_string(), "cn=Åsa,dc=x");
        assert_eq!(Dn::parse("cn=a+sn=b,dc=x").unwrap().0[0].0.len(), 2);
        assert_eq!(Dn::parse("").unwrap(), Dn::default());
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in
            ["x", "=x", "cn=", "cn=a,", "cn=a,b", "cn=a\"b", "cn=a\\", "c n=a", "cn=Doe, Jane,dc=x", "cn=a,,dc=x"]
        {
            assert!(Dn::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn case_and_blanks_do_not_make_another_name() {
        let one = Dn::parse("UID=Jane  Doe, OU=people,DC=X").unwrap();
        let other = Dn::parse("uid=jane doe,ou=People,dc=x").unwrap();
        assert!(one.is_same(&other) && one.is_within(&Dn::parse("ou=PEOPLE,dc=x").unwrap()));
        assert!(!Dn::parse("dc=x").unwrap().is_within(&one));
    }
}
