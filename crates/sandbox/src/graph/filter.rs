//! Reading `$filter`: `eq`, `ne` and `startswith`, joined by `and` and `or` without parentheses
//! (OData 4.01 §5.1.1; Microsoft Graph: filter query parameter).

use serde_json::Value;

use crate::refusal::Refusal;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Term {
    pub(crate) property: String,
    pub(crate) test: Test,
    pub(crate) value: Value,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Test {
    Equal,
    Different,
    Begins,
}

/// Any of these, each being all of those.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Filter {
    pub(crate) any: Vec<Vec<Term>>,
}

impl Filter {
    /// Whether an object passes; `value` gives its properties, `None` for those without a value.
    pub(crate) fn passes(&self, value: impl Fn(&str) -> Option<Value>) -> bool {
        self.any.iter().any(|all| all.iter().all(|term| term.passes(value(&term.property).unwrap_or(Value::Null))))
    }

    /// The value that a property must have, when there is no way around it.
    pub(crate) fn must_equal(&self, property: &str) -> Option<&str> {
        let [all] = self.any.as_slice() else { return None };
        let term = all.iter().find(|term| term.test == Test::Equal && term.property.eq_ignore_ascii_case(property))?;
        term.value.as_str()
    }

    pub(crate) fn properties(&self) -> impl Iterator<Item = &str> {
        self.any.iter().flatten().map(|term| term.property.as_str())
    }
}

impl Term {
    #[expect(clippy::needless_pass_by_value, reason = "the value was made for this call")]
    fn passes(&self, own: Value) -> bool {
        let same = match (&own, &self.value) {
            (Value::String(own), Value::String(wanted)) if self.test == Test::Begins => {
                return own.to_lowercase().starts_with(&wanted.to_lowercase());
            }
            // Graph compares without regard to case.
            (Value::String(own), Value::String(wanted)) => own.to_lowercase() == wanted.to_lowercase(),
            (own, wanted) => own == wanted,
        };
        match self.test {
            Test::Equal => same,
            Test::Different => !same,
            Test::Begins => false,
        }
    }
}

pub(crate) fn parse(text: &str) -> Result<Filter, Refusal> {
    let tokens = tokens(text).ok_or_else(refused)?;
    let any = tokens.split(|token| is_word(token, "or"));
    let any = any.map(|all| all.split(|token| is_word(token, "and")).map(term).collect()).collect::<Result<_, _>>()?;
    Ok(Filter { any })
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Sign(char),
}

fn is_word(token: &Token, wanted: &str) -> bool {
    matches!(token, Token::Word(word) if word.eq_ignore_ascii_case(wanted))
}

fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            ' ' => {}
            '(' | ')' | ',' => tokens.push(Token::Sign(letter)),
            '\'' => {
                let mut quoted = String::new();
                loop {
                    match letters.next()? {
                        // Doubled, a quote stands for itself.
                        '\'' if letters.peek() == Some(&'\'') => quoted.extend(letters.next()),
                        '\'' => break,
                        other => quoted.push(other),
                    }
                }
                tokens.push(Token::Text(quoted));
            }
            _ => {
                let mut word = String::from(letter);
                while let Some(next) = letters.next_if(|next| !" (),'".contains(*next)) {
                    word.push(next);
                }
                tokens.push(Token::Word(word));
            }
        }
    }
    Some(tokens)
}

fn term(tokens: &[Token]) -> Result<Term, Refusal> {
    match tokens {
        [Token::Word(property), Token::Word(test), value] => {
            let test = match test.to_lowercase().as_str() {
                "eq" => Test::Equal,
                "ne" => Test::Different,
                _ => return Err(refused()),
            };
            Ok(Term { property: property.clone(), test, value: literal(value)? })
        }
        [
            Token::Word(name),
            Token::Sign('('),
            Token::Word(property),
            Token::Sign(','),
            Token::Text(text),
            Token::Sign(')'),
        ] if name.eq_ignore_ascii_case("startswith") => {
            Ok(Term { property: property.clone(), test: Test::Begins, value: Value::from(text.as_str()) })
        }
        _ => Err(refused()),
    }
}

fn literal(token: &Token) -> Result<Value, Refusal> {
    match token {
        Token::Text(text) => Ok(Value::from(text.as_str())),
        Token::Word(word) => match word.as_str() {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            "null" => Ok(Value::Null),
            // Dates and numbers are written without quotes.
            other => Ok(Value::from(other)),
        },
        Token::Sign(_) => Err(refused()),
    }
}

fn refused() -> Refusal {
    Refusal::unsupported_query(
        "Unsupported or invalid query filter clause specified (the sandbox knows eq, ne and startswith, joined by and and or).",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_read_and_applied() {
        let own = |name: &str| match name {
            "displayName" => Some(Value::from("Eve O'Brien")),
            "accountEnabled" => Some(Value::from(true)),
            _ => None,
        };
        let check = |text: &str, passes: bool| assert_eq!(parse(text).unwrap().passes(own), passes, "{text}");
        check("displayName eq 'eve o''brien'", true);
        check("startswith(displayName,'Eve') and accountEnabled eq true", true);
        check("startsWith(displayName, 'Bob') or accountEnabled ne true", false);
        check("mail eq null", true);
        for bad in ["", "displayName", "displayName gt 'a'", "displayName eq 'a", "(a eq 'b')"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
