//! .NET's regular expressions, as far as an engine goes that needs no more time for a longer text than its length.

use regex::{Regex, RegexBuilder};

/// The largest compiled pattern, in bytes.
const LARGEST: usize = 1 << 20;

/// A pattern, compiled.
#[derive(Debug)]
pub(crate) struct Pattern {
    pub(crate) regex: Regex,
    /// The engine's number of each group, by .NET's number: .NET counts the named ones after all others.
    pub(crate) numbers: Vec<usize>,
}

impl Pattern {
    /// Compiles a pattern written for .NET.
    pub(crate) fn compile(pattern: &str) -> Result<Self, String> {
        let regex = built(&translated(pattern)?, false)?;
        let names: Vec<bool> = regex.capture_names().skip(1).map(|name| name.is_some()).collect();
        let numbered = |named: bool| {
            names.iter().enumerate().filter(move |(_, is_named)| **is_named == named).map(|(group, _)| group + 1)
        };
        let numbers = std::iter::once(0).chain(numbered(false)).chain(numbered(true)).collect();
        Ok(Self { regex, numbers })
    }
}

/// Compiles a pattern written for .NET that a text must match as a whole.
pub(crate) fn whole(pattern: &str, ignores_case: bool) -> Result<Regex, String> {
    let translated = translated(pattern)?;
    // On its own first, so that no bracket of ours hides one that is missing.
    built(&translated, ignores_case)?;
    built(&format!("^(?:{translated})$"), ignores_case)
}

fn translated(pattern: &str) -> Result<String, String> {
    if names_block(pattern) {
        let problem =
            "the pattern names a block of Unicode, and scripts alone are understood: \\p{Greek}, not \\p{IsGreek}";
        return Err(problem.to_owned());
    }
    Translator { letters: pattern.chars().collect(), at: 0, out: String::new() }.translate()
}

/// Whether a pattern names a block of Unicode, which the engine would take for a script of a like name, if at all.
fn names_block(pattern: &str) -> bool {
    let mut rest = pattern;
    while let Some((_, after)) = rest.split_once('\\') {
        let is_block = after.strip_prefix(['p', 'P']).and_then(|name| name.strip_prefix("{Is"));
        if is_block.is_some_and(|name| name.starts_with(|letter: char| letter.is_ascii_uppercase())) {
            return true;
        }
        let taken = after.chars().next().map_or(0, char::len_utf8);
        rest = after.get(taken..).unwrap_or("");
    }
    false
}

fn built(translated: &str, ignores_case: bool) -> Result<Regex, String> {
    let mut builder = RegexBuilder::new(translated);
    builder.case_insensitive(ignores_case).size_limit(LARGEST).nest_limit(100).build().map_err(|error| {
        let last = error.to_string();
        let last = last.lines().last().unwrap_or("").trim().trim_start_matches("error: ").to_owned();
        match error {
            regex::Error::CompiledTooBig(_) => "the pattern is too large when compiled".to_owned(),
            _ if last.contains("flag") => {
                format!("the pattern cannot be used: {last}; the options i, m, s and x are understood")
            }
            _ => format!("the pattern cannot be used: {last}"),
        }
    })
}

struct Translator {
    letters: Vec<char>,
    at: usize,
    out: String,
}

fn beyond(what: &str) -> Result<(), String> {
    Err(format!(
        "{what} is not supported: patterns are matched in linear time, without look-around, back-references and atomic groups"
    ))
}

impl Translator {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.letters.get(self.at + ahead).copied()
    }

    fn follows(&self, text: &str) -> bool {
        text.chars().enumerate().all(|(ahead, letter)| self.peek(ahead) == Some(letter))
    }

    fn pass(&mut self, from: &str, to: &str) {
        self.at += from.chars().count();
        self.out.push_str(to);
    }

    fn translate(mut self) -> Result<String, String> {
        while let Some(letter) = self.peek(0) {
            match letter {
                '\\' => self.escape(false)?,
                '[' => self.class()?,
                '(' => self.group()?,
                '{' if !self.is_count() => self.pass("{", "\\{"),
                other => {
                    self.out.push(other);
                    self.at += 1;
                }
            }
        }
        Ok(self.out)
    }

    /// Whether a brace begins a number of repetitions.
    fn is_count(&self) -> bool {
        let inside: String = self.letters.iter().skip(self.at + 1).take_while(|letter| **letter != '}').collect();
        let closed = self.letters.iter().skip(self.at + 1).any(|letter| *letter == '}');
        let (least, most) = inside.split_once(',').unwrap_or((&inside, ""));
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        closed && !least.is_empty() && digits(least) && digits(most)
    }

    fn escape(&mut self, in_class: bool) -> Result<(), String> {
        let Some(letter) = self.peek(1) else { return Err("a backslash stands at the end of the pattern".to_owned()) };
        match letter {
            '1'..='9' if !in_class => return beyond(&format!("the back-reference \\{letter}")),
            'k' if !in_class => return beyond("a back-reference"),
            'G' if !in_class => return beyond("\\G"),
            '0'..='9' => return Err(format!("the octal escape \\{letter} is not supported; write \\x and two digits")),
            'Z' if !in_class => self.pass("\\Z", "\\z"),
            'b' if in_class => self.pass("\\b", "\\x08"),
            'e' => self.pass("\\e", "\\x1B"),
            'c' => {
                let code =
                    self.peek(2).filter(char::is_ascii_alphabetic).map(|letter| letter.to_ascii_uppercase() as u8);
                let Some(code) = code else { return Err("\\c must be followed by a letter".to_owned()) };
                self.pass("\\cX", &format!("\\x{:02X}", code - b'@'));
            }
            // Letters with a meaning of their own in the engine alone.
            '<' | '>' => {
                self.at += 2;
                self.out.push(letter);
            }
            letter if letter.is_ascii() => {
                self.at += 2;
                self.out.push('\\');
                self.out.push(letter);
            }
            letter => {
                self.at += 2;
                self.out.push(letter);
            }
        }
        Ok(())
    }

    fn group(&mut self) -> Result<(), String> {
        for (opening, what) in [
            ("(?=", "the look-ahead (?=…)"),
            ("(?!", "the look-ahead (?!…)"),
            ("(?<=", "the look-behind (?<=…)"),
            ("(?<!", "the look-behind (?<!…)"),
            ("(?>", "the atomic group (?>…)"),
            ("(?(", "the condition (?(…)…)"),
        ] {
            if self.follows(opening) {
                return beyond(what);
            }
        }
        if self.follows("(?#") {
            let rest = self.letters.iter().skip(self.at).position(|letter| *letter == ')');
            self.at += rest.map_or(self.letters.len() - self.at, |end| end + 1);
            return Ok(());
        }
        if self.follows("(?<") || self.follows("(?'") {
            let closing = if self.peek(2) == Some('<') { '>' } else { '\'' };
            let name: String = self.letters.iter().skip(self.at + 3).take_while(|letter| **letter != closing).collect();
            if name.contains('-') {
                return beyond("the balancing group (?<…-…>…)");
            }
            if name.starts_with(|letter: char| letter.is_ascii_digit()) {
                return Err(format!("the group {name:?} must have a name that does not begin with a digit"));
            }
            self.at += name.chars().count() + 4;
            self.out.push_str(&format!("(?P<{name}>"));
            return Ok(());
        }
        self.pass("(", "(");
        Ok(())
    }

    fn class(&mut self) -> Result<(), String> {
        self.pass("[", "[");
        if self.peek(0) == Some('^') {
            self.pass("^", "^");
        }
        if self.peek(0) == Some(']') {
            self.pass("]", "\\]");
        }
        while let Some(letter) = self.peek(0) {
            match letter {
                ']' => {
                    self.pass("]", "]");
                    return Ok(());
                }
                '\\' => self.escape(true)?,
                '-' if self.peek(1) == Some('[') => {
                    // What is taken away from the class.
                    self.pass("-", "--");
                    self.class()?;
                }
                '[' => self.pass("[", "\\["),
                '&' | '~' => {
                    self.out.push('\\');
                    self.out.push(letter);
                    self.at += 1;
                }
                '-' if self.out.ends_with('-') => self.pass("-", "\\-"),
                other => {
                    self.out.push(other);
                    self.at += 1;
                }
            }
        }
        Err("the closing ] of a class is missing in the pattern".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_in_net() {
        let cases = [
            (r"^(?<streetNumber>\d+)", "545 Tremont", Some("545")),
            (r"(?'name'a+)", "baa", Some("aa")),
            (r"[()\s-]+", "1 (999)", Some(" (")),
            (r"[[a]+", "x[a", Some("[a")),
            (r"[]a]+", "x]a", Some("]a")),
            (r"[a-z-[aeiou]]+", "aebcd", Some("bcd")),
            (r"[&&~~]+", "a&~", Some("&~")),
            (r"\<x\>", "a<x>", Some("<x>")),
            (r"{x}", "a{x}", Some("{x}")),
            (r"a{2}", "aaa", Some("aa")),
            (r"\@\-\_?", "a@-", Some("@-")),
            (r"a(?#note)b", "ab", Some("ab")),
            (r"\u00e5\é", "åé", Some("åé")),
            (r"(?i)ABC\Z", "xabc", Some("abc")),
            (r"\d", "٣", Some("٣")),
            (r"[\b]", "a", None),
        ];
        for (pattern, text, expected) in cases {
            let pattern = Pattern::compile(pattern).unwrap_or_else(|problem| panic!("{pattern}: {problem}"));
            assert_eq!(pattern.regex.find(text).map(|found| found.as_str()), expected, "{pattern:?}");
        }
    }

    #[test]
    fn patterns_beyond_linear_time_are_refused() {
        let cases = [
            (r"(?=a)", "look-ahead"),
            (r"a(?!b)", "look-ahead"),
            (r"(?<=a)b", "look-behind"),
            (r"(?<!a)b", "look-behind"),
            (r"(a)\1", "back-reference"),
            (r"(?<n>a)\k<n>", "back-reference"),
            (r"(?>a)", "atomic"),
            (r"(?<a-b>x)", "balancing"),
            (r"(a", "cannot be used"),
            (r"\p{IsGreek}", "scripts alone are understood"),
            (r"[\P{IsCyrillic}]", "scripts alone are understood"),
            (r"(?n:a)", "the options i, m, s and x are understood"),
            (r"[a", "closing ]"),
            (r"a\", "backslash"),
            (r"(a{1000}){1000}", "too large"),
            (r"\G", "not supported"),
        ];
        for (pattern, expected) in cases {
            let problem = Pattern::compile(pattern).unwrap_err();
            assert!(problem.contains(expected), "{pattern}: {problem}");
        }
    }

    #[test]
    fn named_groups_are_counted_last() {
        assert_eq!(Pattern::compile("(?<n>a)(b)(?<m>c)(d)").unwrap().numbers, [0, 2, 4, 1, 3]);
    }
}
