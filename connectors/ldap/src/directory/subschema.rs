//! Object classes and attribute types, as servers describe them (RFC 4512, section 4.1).

use std::collections::{BTreeMap, BTreeSet};

use crate::protocol::message::Entry;

#[derive(Debug, Clone, Default)]
pub(crate) struct Subschema {
    /// By name in lower case; an attribute with several names stands under each.
    attributes: BTreeMap<String, AttributeType>,
    classes: BTreeMap<String, ObjectClass>,
    /// Auxiliary classes and further attributes that entries of a structural class have without naming them
    /// (Active Directory's content rules), by the class's identifier.
    rules: BTreeMap<String, ObjectClass>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct AttributeType {
    /// The name that comes first.
    pub(crate) name: String,
    superior: Option<String>,
    equality: Option<String>,
    syntax: Option<String>,
    pub(crate) single: bool,
    /// Only the server writes it.
    pub(crate) read_only: bool,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct ObjectClass {
    oid: String,
    pub(crate) name: String,
    superiors: Vec<String>,
    auxiliaries: Vec<String>,
    must: Vec<String>,
    may: Vec<String>,
}

/// What entries of some classes hold.
#[derive(Debug, Clone, Default)]
pub(crate) struct Allowed {
    /// In lower case.
    pub(crate) must: BTreeSet<String>,
    pub(crate) may: BTreeSet<String>,
}

/// How far superiors are followed.
const DEEPEST: usize = 32;

impl Subschema {
    pub(crate) fn of(entry: &Entry) -> Self {
        let mut all = Self::default();
        for text in entry.texts("attributeTypes") {
            let definition = Definition::parse(text);
            let attribute = AttributeType {
                name: definition.first("NAME").unwrap_or(&definition.oid).to_owned(),
                superior: definition.first("SUP").map(str::to_ascii_lowercase),
                equality: definition.first("EQUALITY").map(str::to_owned),
                syntax: definition.first("SYNTAX").map(|syntax| syntax.split('{').next().unwrap_or(syntax).to_owned()),
                single: definition.has("SINGLE-VALUE"),
                read_only: definition.has("NO-USER-MODIFICATION"),
            };
            for name in definition.all("NAME").chain([definition.oid.as_str()]) {
                all.attributes.insert(name.to_ascii_lowercase(), attribute.clone());
            }
        }
        for text in entry.texts("objectClasses") {
            let class = ObjectClass::of(&Definition::parse(text));
            for name in Definition::parse(text).all("NAME") {
                all.classes.insert(name.to_ascii_lowercase(), class.clone());
            }
        }
        for text in entry.texts("dITContentRules") {
            let rule = ObjectClass::of(&Definition::parse(text));
            all.rules.insert(rule.oid.clone(), rule);
        }
        all
    }

    pub(crate) fn class(&self, name: &str) -> Option<&ObjectClass> {
        self.classes.get(&name.to_ascii_lowercase())
    }

    pub(crate) fn class_names(&self) -> impl Iterator<Item = &str> {
        self.classes.values().map(|class| class.name.as_str())
    }

    pub(crate) fn attribute(&self, name: &str) -> Option<&AttributeType> {
        let base = name.split(';').next().unwrap_or(name);
        self.attributes.get(&base.to_ascii_lowercase())
    }

    fn inherited<'a>(
        &'a self,
        of: &'a AttributeType,
        what: impl Fn(&'a AttributeType) -> Option<&'a str>,
    ) -> Option<&'a str> {
        let mut attribute = of;
        for _ in 0..DEEPEST {
            if let Some(found) = what(attribute) {
                return Some(found);
            }
            attribute = self.attributes.get(attribute.superior.as_ref()?)?;
        }
        None
    }

    /// The identifier of an attribute's syntax (RFC 4517, section 3.3).
    pub(crate) fn syntax<'a>(&'a self, of: &'a AttributeType) -> Option<&'a str> {
        self.inherited(of, |attribute| attribute.syntax.as_deref())
    }

    /// Whether values that differ in case only are the same: the matching rule says so.
    pub(crate) fn ignores_case(&self, of: &AttributeType) -> bool {
        let rule = self.inherited(of, |attribute| attribute.equality.as_deref());
        rule.is_some_and(|rule| rule.to_ascii_lowercase().contains("ignore") || rule == "telephoneNumberMatch")
    }

    /// What entries of these classes must and may hold, by the classes' superiors as well.
    pub(crate) fn allowed(&self, classes: &[String]) -> Allowed {
        let mut allowed = Allowed::default();
        let mut seen = BTreeSet::new();
        let mut open: Vec<String> = classes.iter().map(|name| name.to_ascii_lowercase()).collect();
        while let Some(name) = open.pop() {
            let Some(class) = self.classes.get(&name).filter(|_| seen.insert(name.clone())) else { continue };
            let rule = self.rules.get(&class.oid);
            for part in std::iter::once(class).chain(rule) {
                let names = |list: &[String]| list.iter().map(|name| self.canonical(name)).collect::<Vec<_>>();
                allowed.must.extend(names(&part.must));
                allowed.may.extend(names(&part.may));
                open.extend(part.superiors.iter().chain(&part.auxiliaries).map(|name| name.to_ascii_lowercase()));
            }
        }
        allowed.may.retain(|name| !allowed.must.contains(name));
        allowed
    }

    fn canonical(&self, name: &str) -> String {
        self.attribute(name).map_or(name, |attribute| attribute.name.as_str()).to_ascii_lowercase()
    }
}

impl ObjectClass {
    fn of(definition: &Definition) -> Self {
        let list = |keyword: &str| definition.all(keyword).map(str::to_owned).collect();
        Self {
            oid: definition.oid.clone(),
            name: definition.first("NAME").unwrap_or(&definition.oid).to_owned(),
            superiors: list("SUP"),
            auxiliaries: list("AUX"),
            must: list("MUST"),
            may: list("MAY"),
        }
    }
}

/// A definition taken apart: keywords with what follows them.
#[derive(Debug, Default)]
struct Definition {
    oid: String,
    parts: BTreeMap<String, Vec<String>>,
}

impl Definition {
    fn parse(text: &str) -> Self {
        let mut definition = Self::default();
        let mut keyword = String::new();
        for (position, token) in tokens(text).into_iter().enumerate() {
            match token {
                Token::Word(word) if position == 0 => definition.oid = word,
                Token::Word(word) if is_keyword(&word) => {
                    definition.parts.entry(word.clone()).or_default();
                    keyword = word;
                }
                Token::Word(word) | Token::Quoted(word) => {
                    definition.parts.entry(keyword.clone()).or_default().push(word);
                }
            }
        }
        definition
    }

    fn has(&self, keyword: &str) -> bool {
        self.parts.contains_key(keyword)
    }

    fn all(&self, keyword: &str) -> impl Iterator<Item = &str> {
        self.parts.get(keyword).into_iter().flatten().map(String::as_str)
    }

    fn first(&self, keyword: &str) -> Option<&str> {
        self.all(keyword).next()
    }
}

fn is_keyword(word: &str) -> bool {
    const KEYWORDS: [&str; 20] = [
        "NAME",
        "DESC",
        "OBSOLETE",
        "SUP",
        "EQUALITY",
        "ORDERING",
        "SUBSTR",
        "SYNTAX",
        "SINGLE-VALUE",
        "COLLECTIVE",
        "NO-USER-MODIFICATION",
        "USAGE",
        "ABSTRACT",
        "STRUCTURAL",
        "AUXILIARY",
        "MUST",
        "MAY",
        "AUX",
        "NOT",
        "FORM",
    ];
    KEYWORDS.contains(&word) || word.starts_with("X-")
}

enum Token {
    Word(String),
    Quoted(String),
}

/// Parentheses and dollars only separate; what stands between apostrophes is one token. Some servers write numbers of
/// syntaxes between apostrophes as well.
fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | '$'));
        if rest.is_empty() {
            return tokens;
        }
        if let Some(quoted) = rest.strip_prefix('\'') {
            let (inside, after) = quoted.split_once('\'').unwrap_or((quoted, ""));
            tokens.push(Token::Quoted(inside.to_owned()));
            rest = after;
        } else {
            let end =
                rest.find(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | '$' | '\'')).unwrap_or(rest.len());
            let (word, after) = rest.split_at_checked(end).unwrap_or((rest, ""));
            tokens.push(Token::Word(word.to_owned()));
            rest = after;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema() -> Subschema {
        let values = |all: &[&str]| all.iter().map(|text| text.as_bytes().to_vec()).collect();
        let attributes = values(&[
            "( 2.5.4.41 NAME 'name' EQUALITY caseIgnoreMatch SUBSTR caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15{32768} )",
            "( 2.5.4.4 NAME ( 'sn' 'surname' ) DESC 'RFC2256: last (family) name(s)' SUP name )",
            "( 1.3.6.1.1.16.4 NAME 'entryUUID' DESC 'it''s' EQUALITY UUIDMatch SYNTAX 1.3.6.1.1.16.1 SINGLE-VALUE NO-USER-MODIFICATION USAGE directoryOperation )",
            "( 9.9 NAME 'loop' SUP loop )",
        ]);
        let classes = values(&[
            "( 2.5.6.0 NAME 'top' ABSTRACT MUST objectClass )",
            "( 2.5.6.6 NAME 'person' SUP top STRUCTURAL MUST ( surname $ cn ) MAY ( userPassword $ seeAlso ) )",
            "( 9.1 NAME 'round' SUP round MAY sn )",
        ]);
        let rules = values(&["( 2.5.6.6 NAME 'person' AUX ( round ) MAY ( extra ) )"]);
        Subschema::of(&Entry {
            attributes: vec![
                ("attributeTypes".to_owned(), attributes),
                ("objectClasses".to_owned(), classes),
                ("dITContentRules".to_owned(), rules),
            ],
            ..Entry::default()
        })
    }

    #[test]
    fn syntax_and_case_rule_are_inherited() {
        let schema = schema();
        let surname = schema.attribute("SURNAME;lang-de").unwrap();
        assert_eq!((surname.name.as_str(), surname.single), ("sn", false));
        assert_eq!(schema.syntax(surname), Some("1.3.6.1.4.1.1466.115.121.1.15"));
        assert!(schema.ignores_case(surname));
        let uuid = schema.attribute("entryuuid").unwrap();
        assert!(uuid.single && uuid.read_only && !schema.ignores_case(uuid));
        assert_eq!(schema.syntax(schema.attribute("loop").unwrap()), None);
    }

    #[test]
    fn classes_bring_what_their_superiors_and_rules_allow() {
        let allowed = schema().allowed(&["Person".to_owned()]);
        let list = |set: &BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>().join(" ");
        assert_eq!(list(&allowed.must), "cn objectclass sn");
        assert_eq!(list(&allowed.may), "extra seealso userpassword");
    }

    #[test]
    fn nonsense_is_survived() {
        for text in ["", "(", "( 1.2", "'", "( 1 NAME ' )", "( $ $ )", "NAME NAME", "( 1 NAME ( 'a' "] {
            let _definition = Definition::parse(text);
        }
    }
}
