//! Search filters (RFC 4511, section 4.5.1.7; RFC 4515 for their text). Values get in as bytes, never as text that is
//! joined, so that nothing in a value can change what is asked.

use std::fmt;

use super::ber::{OCTETS, SEQUENCE, Writer, context, within_context};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Filter {
    And(Vec<Self>),
    Or(Vec<Self>),
    Not(Box<Self>),
    Equals(String, Vec<u8>),
    AtLeast(String, Vec<u8>),
    AtMost(String, Vec<u8>),
    Approximately(String, Vec<u8>),
    Present(String),
    Substrings { attribute: String, initial: Option<Vec<u8>>, any: Vec<Vec<u8>>, last: Option<Vec<u8>> },
    Extensible { attribute: Option<String>, rule: Option<String>, value: Vec<u8>, dn: bool },
}

/// How deep filters of the configuration may nest.
const DEEPEST: usize = 50;

impl Filter {
    pub(crate) fn equals(attribute: &str, value: &[u8]) -> Self {
        Self::Equals(attribute.to_owned(), value.to_vec())
    }

    pub(crate) fn anything() -> Self {
        Self::Present("objectClass".to_owned())
    }

    /// Both, where there are two.
    pub(crate) fn and(self, other: Option<Self>) -> Self {
        match (self, other) {
            (one, None) => one,
            (Self::And(mut all), Some(other)) => {
                all.push(other);
                Self::And(all)
            }
            (one, Some(other)) => Self::And(vec![one, other]),
        }
    }

    /// The attributes that it looks at, some twice.
    pub(crate) fn attributes(&self) -> Vec<String> {
        match self {
            Self::And(all) | Self::Or(all) => all.iter().flat_map(Self::attributes).collect(),
            Self::Not(one) => one.attributes(),
            Self::Equals(attribute, _)
            | Self::AtLeast(attribute, _)
            | Self::AtMost(attribute, _)
            | Self::Approximately(attribute, _)
            | Self::Present(attribute)
            | Self::Substrings { attribute, .. } => vec![attribute.clone()],
            Self::Extensible { attribute, .. } => attribute.iter().cloned().collect(),
        }
    }

    /// Reads the text of RFC 4515. What is wrong is told with its place, in characters from 1.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parser = Parser { text: text.trim(), at: 0 };
        let filter = parser.filter(0)?;
        if parser.at < parser.text.len() { Err(parser.wrong("nothing more")) } else { Ok(filter) }
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        let assertion = |writer: &mut Writer, number, attribute: &str, value: &[u8]| {
            writer.nested(within_context(number), |inner| {
                inner.octets(OCTETS, attribute.as_bytes());
                inner.octets(OCTETS, value);
            });
        };
        match self {
            Self::And(all) => writer.nested(within_context(0), |inner| all.iter().for_each(|one| one.write(inner))),
            Self::Or(any) => writer.nested(within_context(1), |inner| any.iter().for_each(|one| one.write(inner))),
            Self::Not(one) => writer.nested(within_context(2), |inner| one.write(inner)),
            Self::Equals(attribute, value) => assertion(writer, 3, attribute, value),
            Self::Substrings { attribute, initial, any, last } => writer.nested(within_context(4), |inner| {
                inner.octets(OCTETS, attribute.as_bytes());
                inner.nested(SEQUENCE, |parts| {
                    initial.iter().for_each(|part| parts.octets(context(0), part));
                    any.iter().for_each(|part| parts.octets(context(1), part));
                    last.iter().for_each(|part| parts.octets(context(2), part));
                });
            }),
            Self::AtLeast(attribute, value) => assertion(writer, 5, attribute, value),
            Self::AtMost(attribute, value) => assertion(writer, 6, attribute, value),
            Self::Present(attribute) => writer.octets(context(7), attribute.as_bytes()),
            Self::Approximately(attribute, value) => assertion(writer, 8, attribute, value),
            Self::Extensible { attribute, rule, value, dn } => writer.nested(within_context(9), |inner| {
                rule.iter().for_each(|rule| inner.octets(context(1), rule.as_bytes()));
                attribute.iter().for_each(|attribute| inner.octets(context(2), attribute.as_bytes()));
                inner.octets(context(3), value);
                if *dn {
                    inner.boolean(context(4), true);
                }
            }),
        }
    }
}

/// The text of RFC 4515, for messages.
impl fmt::Display for Filter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let escaped = |value: &[u8]| {
            let mut text = String::new();
            for character in String::from_utf8_lossy(value).chars() {
                match character {
                    '*' | '(' | ')' | '\\' | '\0' => text.push_str(&format!("\\{:02x}", u32::from(character))),
                    other => text.push(other),
                }
            }
            text
        };
        match self {
            Self::And(all) | Self::Or(all) => {
                formatter.write_str(if matches!(self, Self::And(_)) { "(&" } else { "(|" })?;
                all.iter().try_for_each(|one| one.fmt(formatter))?;
                formatter.write_str(")")
            }
            Self::Not(one) => write!(formatter, "(!{one})"),
            Self::Equals(attribute, value) => write!(formatter, "({attribute}={})", escaped(value)),
            Self::AtLeast(attribute, value) => write!(formatter, "({attribute}>={})", escaped(value)),
            Self::AtMost(attribute, value) => write!(formatter, "({attribute}<={})", escaped(value)),
            Self::Approximately(attribute, value) => write!(formatter, "({attribute}~={})", escaped(value)),
            Self::Present(attribute) => write!(formatter, "({attribute}=*)"),
            Self::Substrings { attribute, initial, any, last } => {
                write!(formatter, "({attribute}={}*", initial.as_deref().map(escaped).unwrap_or_default())?;
                any.iter().try_for_each(|part| write!(formatter, "{}*", escaped(part)))?;
                write!(formatter, "{})", last.as_deref().map(escaped).unwrap_or_default())
            }
            Self::Extensible { attribute, rule, value, dn } => {
                let rule = rule.as_ref().map(|rule| format!(":{rule}")).unwrap_or_default();
                let dn = if *dn { ":dn" } else { "" };
                write!(formatter, "({}{dn}{rule}:={})", attribute.as_deref().unwrap_or_default(), escaped(value))
            }
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn wrong(&self, expected: &str) -> String {
        let place = self.text.get(..self.at).unwrap_or_default().chars().count() + 1;
        match self.rest().chars().next() {
            Some(found) => format!("at character {place}: expected {expected}, found {found:?}"),
            None => format!("it ends at character {place}, where {expected} is expected"),
        }
    }

    fn take(&mut self, expected: char) -> Result<(), String> {
        if self.rest().starts_with(expected) {
            self.at += expected.len_utf8();
            return Ok(());
        }
        Err(self.wrong(&format!("{expected:?}")))
    }

    fn filter(&mut self, depth: usize) -> Result<Filter, String> {
        if depth > DEEPEST {
            return Err(format!("it is nested more than {DEEPEST} deep"));
        }
        self.take('(')?;
        let filter = match self.rest().chars().next() {
            Some('&') => Filter::And(self.list(depth)?),
            Some('|') => Filter::Or(self.list(depth)?),
            Some('!') => {
                self.at += 1;
                Filter::Not(Box::new(self.filter(depth + 1)?))
            }
            _ => self.item()?,
        };
        self.take(')')?;
        Ok(filter)
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Filter>, String> {
        self.at += 1;
        let mut all = Vec::new();
        while self.rest().starts_with('(') {
            all.push(self.filter(depth + 1)?);
        }
        if all.is_empty() { Err(self.wrong("'('")) } else { Ok(all) }
    }

    fn item(&mut self) -> Result<Filter, String> {
        let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ';' | '_');
        let attribute = self.word(named);
        if attribute.is_empty() && !self.rest().starts_with(':') {
            return Err(self.wrong("an attribute's name"));
        }
        if self.rest().starts_with(':') {
            return self.extensible(attribute);
        }
        for (sign, make) in [
            (">=", Filter::AtLeast as fn(String, Vec<u8>) -> Filter),
            ("<=", Filter::AtMost),
            ("~=", Filter::Approximately),
        ] {
            if self.rest().starts_with(sign) {
                self.at += sign.len();
                let parts = self.parts()?;
                let [value] = parts.as_slice() else { return Err(self.wrong("a value without *")) };
                return Ok(make(attribute, value.clone()));
            }
        }
        self.take('=')?;
        let mut parts = self.parts()?;
        if parts.len() == 1 {
            return Ok(Filter::Equals(attribute, parts.pop().unwrap_or_default()));
        }
        let last = parts.pop().filter(|part| !part.is_empty());
        let initial = Some(parts.remove(0)).filter(|part| !part.is_empty());
        if parts.is_empty() && initial.is_none() && last.is_none() {
            return Ok(Filter::Present(attribute));
        }
        let any: Vec<Vec<u8>> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        Ok(Filter::Substrings { attribute, initial, any, last })
    }

    fn extensible(&mut self, attribute: String) -> Result<Filter, String> {
        let mut dn = false;
        let mut rule = None;
        while !self.rest().starts_with(":=") {
            self.take(':')?;
            let word = self.word(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'));
            match word.as_str() {
                "" => return Err(self.wrong("a matching rule, or :=")),
                "dn" if !dn && rule.is_none() => dn = true,
                _ if rule.is_none() => rule = Some(word),
                _ => return Err(self.wrong(":=")),
            }
        }
        self.at += 2;
        let parts = self.parts()?;
        let [value] = parts.as_slice() else { return Err(self.wrong("a value without *")) };
        let attribute = Some(attribute).filter(|name| !name.is_empty());
        if attribute.is_none() && rule.is_none() {
            return Err(self.wrong("an attribute or a matching rule before it"));
        }
        Ok(Filter::Extensible { attribute, rule, value: value.clone(), dn })
    }

    fn word(&mut self, belongs: impl Fn(char) -> bool) -> String {
        let word: String = self.rest().chars().take_while(|c| belongs(*c)).collect();
        self.at += word.len();
        word
    }

    /// What stands before, between and after asterisks, unescaped.
    fn parts(&mut self) -> Result<Vec<Vec<u8>>, String> {
        let mut parts = vec![Vec::new()];
        loop {
            let Some(next) = self.rest().chars().next().filter(|c| *c != ')') else { return Ok(parts) };
            match next {
                '*' => parts.push(Vec::new()),
                '(' | '\0' => return Err(self.wrong("a value; write \\28 for a parenthesis")),
                '\\' => {
                    let byte = self.rest().get(1..3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
                    let byte = byte.ok_or_else(|| self.wrong("two hexadecimal digits after \\"))?;
                    parts.last_mut().into_iter().for_each(|part| part.push(byte));
                    self.at += 2;
                }
                other => {
                    let mut buffer = [0; 4];
                    let bytes = other.encode_utf8(&mut buffer).as_bytes();
                    parts.last_mut().into_iter().for_each(|part| part.extend_from_slice(bytes));
                }
            }
            self.at += next.len_utf8();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_and_written_again() {
        for text in [
            "(uid=jane)",
            "(&(objectClass=person)(!(nsAccountLock=true)))",
            "(|(a=1)(b>=2)(c<=3)(d~=4))",
            "(mail=*)",
            "(cn=a*b*c)",
            "(cn=*b*)",
            "(cn=x\\2ay\\28z\\29\\5c\\00)",
            "(memberOf:1.2.840.113556.1.4.1941:=cn=x,dc=y)",
            "(ou:dn:caseIgnoreMatch:=Sales)",
            "(:caseExactMatch:=Åsa)",
        ] {
            assert_eq!(Filter::parse(text).map(|filter| filter.to_string()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let cases = [
            ("uid=jane", "at character 1: expected '(', found 'u'"),
            ("(uid=jane", "it ends at character 10, where ')' is expected"),
            ("(uid=a)(uid=b)", "at character 8: expected nothing more, found '('"),
            ("(&)", "at character 3: expected '(', found ')'"),
            ("(=x)", "at character 2: expected an attribute's name, found '='"),
            ("(uid=a\\zz)", "at character 7: expected two hexadecimal digits after \\, found '\\\\'"),
            ("(uid>=a*)", "at character 9: expected a value without *, found ')'"),
            ("", "it ends at character 1, where '(' is expected"),
        ];
        for (text, told) in cases {
            assert_eq!(Filter::parse(text).unwrap_err(), told, "{text}");
        }
        assert!(Filter::parse(&"(!".repeat(10_000)).is_err());
    }

    #[test]
    fn values_cannot_change_what_is_asked() {
        let filter = Filter::equals("uid", b"*)(uid=*");
        assert_eq!(filter.to_string(), "(uid=\\2a\\29\\28uid=\\2a)");
        assert_eq!(Filter::parse(&filter.to_string()), Ok(filter));
    }
}
