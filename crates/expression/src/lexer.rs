//! The words and signs of an expression.

use muster_model::{Decimal, Value};

use crate::ExpressionError;
use crate::node::{Comparator, Span};

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Token {
    Open,
    Close,
    Comma,
    /// What stands in square brackets, trimmed.
    Attribute(String),
    Text(String),
    Number(Value),
    /// A name without quotes or brackets.
    Name(String),
    Comparator(Comparator),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Lexeme {
    pub(crate) token: Token,
    pub(crate) span: Span,
}

/// Splits a text; what is none of the language is reported and left out.
pub(crate) fn split(text: &str, errors: &mut Vec<ExpressionError>) -> Vec<Lexeme> {
    let mut lexer = Lexer { rest: text, at: 0, errors };
    let mut lexemes = Vec::new();
    while lexer.skip() {
        let start = lexer.at;
        if let Some(token) = lexer.token() {
            lexemes.push(Lexeme { token, span: Span { start, length: lexer.at - start } });
        }
    }
    lexemes
}

struct Lexer<'a, 'e> {
    rest: &'a str,
    /// Characters read.
    at: usize,
    errors: &'e mut Vec<ExpressionError>,
}

impl<'a> Lexer<'a, '_> {
    /// Passes white space; false at the end.
    fn skip(&mut self) -> bool {
        let space = self.rest.chars().take_while(|letter| letter.is_whitespace()).map(char::len_utf8).sum();
        self.take(space);
        !self.rest.is_empty()
    }

    fn take(&mut self, bytes: usize) -> &'a str {
        let Some((taken, rest)) = self.rest.split_at_checked(bytes) else { return "" };
        self.at += taken.chars().count();
        self.rest = rest;
        taken
    }

    fn fail(&mut self, at: usize, problem: impl Into<String>) -> Option<Token> {
        let length = (self.at - at).max(1);
        self.errors.push(ExpressionError { at, length, problem: problem.into() });
        None
    }

    fn token(&mut self) -> Option<Token> {
        let start = self.at;
        let first = self.rest.chars().next()?;
        match first {
            '(' => self.sign(1, Token::Open),
            ')' => self.sign(1, Token::Close),
            ',' => self.sign(1, Token::Comma),
            '=' | '<' | '>' => self.comparator(),
            '[' => self.attribute(),
            '"' => self.text(),
            '&' | '-' | '.' | '0'..='9' => self.number(),
            letter if letter.is_alphabetic() || letter == '_' => {
                let end = self.rest.find(|letter: char| !letter.is_alphanumeric() && !"_.@-".contains(letter));
                let name = self.take(end.unwrap_or(self.rest.len()));
                Some(Token::Name(name.to_owned()))
            }
            '\u{201c}' | '\u{201d}' | '\u{201e}' | '\u{ab}' | '\u{bb}' | '\'' | '\u{2018}' | '\u{2019}' => {
                // Whatever stands between them would only be blamed for what the quotes are to blame for.
                let closing = ['\u{201c}', '\u{201d}', '\u{ab}', '\u{bb}', '\'', '\u{2018}', '\u{2019}'];
                let inside = self.rest.get(first.len_utf8()..).unwrap_or("");
                let end = inside.char_indices().find(|(_, letter)| closing.contains(letter));
                let used = end.map_or(0, |(position, letter)| position + letter.len_utf8());
                self.take(first.len_utf8() + used);
                self.fail(start, format!("texts stand in straight double quotes (\"), not in {first}"));
                Some(Token::Text(String::new()))
            }
            '+' => {
                self.take(1);
                self.fail(start, "texts are joined by Join or Append, not by +")
            }
            odd => {
                self.take(odd.len_utf8());
                self.fail(start, format!("{odd:?} has no meaning here"))
            }
        }
    }

    fn sign(&mut self, bytes: usize, token: Token) -> Option<Token> {
        self.take(bytes);
        Some(token)
    }

    fn comparator(&mut self) -> Option<Token> {
        let signs = [
            ("<>", Comparator::NotEqual),
            (">=", Comparator::GreaterOrEqual),
            ("<=", Comparator::LessOrEqual),
            ("==", Comparator::Equal),
            ("=", Comparator::Equal),
            (">", Comparator::Greater),
            ("<", Comparator::Less),
        ];
        let (sign, comparator) = signs.into_iter().find(|(sign, _)| self.rest.starts_with(sign))?;
        let start = self.at;
        self.take(sign.len());
        if sign == "==" {
            self.fail(start, "equality is written with one =");
        }
        Some(Token::Comparator(comparator))
    }

    /// An attribute's name may itself hold brackets, as in `[emails[type eq "work"].value]`.
    fn attribute(&mut self) -> Option<Token> {
        let start = self.at;
        let mut depth = 0_usize;
        let mut end = None;
        for (position, letter) in self.rest.char_indices() {
            match letter {
                '[' => depth += 1,
                ']' => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                end = Some(position);
                break;
            }
        }
        let Some(end) = end else {
            // What follows is most likely meant as further arguments.
            self.take(self.rest.find([',', ')']).unwrap_or(self.rest.len()));
            self.errors.push(ExpressionError {
                at: start,
                length: 1,
                problem: "the attribute's closing ] is missing".to_owned(),
            });
            return Some(Token::Attribute(String::new()));
        };
        let name = self.take(end + 1).get(1..end).unwrap_or("").trim().to_owned();
        if name.is_empty() {
            self.errors.push(ExpressionError {
                at: start + 1,
                length: 1,
                problem: "the attribute's name is missing".to_owned(),
            });
        }
        Some(Token::Attribute(name))
    }

    fn text(&mut self) -> Option<Token> {
        let start = self.at;
        if let Some((text, used)) = self.rest.get(1..).and_then(unquote) {
            self.take(used + 1);
            return Some(Token::Text(text));
        }
        self.take(self.rest.len());
        let problem = "the text's closing double quote is missing".to_owned();
        self.errors.push(ExpressionError { at: start, length: 1, problem });
        Some(Token::Text(String::new()))
    }

    fn number(&mut self) -> Option<Token> {
        let start = self.at;
        let end = self.rest.char_indices().skip(1).find(|(position, letter)| {
            let before = self.rest.get(..*position).unwrap_or("");
            let in_exponent = matches!(letter, '+' | '-') && before.ends_with(['e', 'E']) && !before.starts_with('&');
            !letter.is_alphanumeric() && *letter != '.' && !in_exponent
        });
        let written = self.take(end.map_or(self.rest.len(), |(position, _)| position));
        let value = match written.get(..2) {
            Some("&H" | "&h") => {
                let digits = written.get(2..).unwrap_or("");
                let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
                i64::from_str_radix(digits, 16).ok().filter(|_| plain).map(Value::Integer)
            }
            _ => {
                Decimal::parse(written).map(|number| number.to_integer().map_or(Value::Decimal(number), Value::Integer))
            }
        };
        match value {
            Some(value) => Some(Token::Number(value)),
            None if written == "&" => self.fail(start, "texts are joined by Join or Append, not by &"),
            None => {
                self.fail(start, format!("{written:?} is no number; texts stand in double quotes"));
                Some(Token::Number(Value::Integer(0)))
            }
        }
    }
}

/// Reads what follows an opening double quote: the text, and how many bytes it takes with its closing quote. `None`
/// when that is missing.
pub(crate) fn unquote(inside: &str) -> Option<(String, usize)> {
    let mut text = String::new();
    let mut letters = inside.char_indices();
    while let Some((position, letter)) = letters.next() {
        match letter {
            '\\' => match letters.next() {
                Some((_, escaped @ ('\\' | '"'))) => text.push(escaped),
                // As in Entra, a lone backslash stands for itself.
                Some((_, other)) => text.extend(['\\', other]),
                None => text.push('\\'),
            },
            '"' => return Some((text, position + 1)),
            other => text.push(other),
        }
    }
    None
}
