//! `Replace`, by a text or by a pattern.

use std::borrow::Cow;

use regex::Captures;

use super::{Expected, Function, Prepared, Takes, blank, example, function, optional, required};
use crate::MAX_OUTPUT;
use crate::dotnet::pattern::Pattern;
use crate::evaluate::{Call, Stop};
use crate::node::{Kind, Node};
use crate::value::Datum;

/// What a call of `Replace` does.
#[derive(Debug)]
pub(crate) enum Replacing {
    /// The old text by the new one.
    Text,
    /// The old text, within the template, by the source.
    Template,
    /// What the pattern matches by the new text, which may name groups.
    Pattern(Pattern),
    /// The group alone by the new text.
    Group(Pattern, Box<str>),
    /// The source, or else the group's text in the other attribute.
    Extract(Pattern, Box<str>),
}

const SOURCE: usize = 0;
const OLD: usize = 1;
const PATTERN: usize = 2;
const GROUP: usize = 3;
const NEW: usize = 4;
const OTHER: usize = 5;
const TEMPLATE: usize = 6;

pub(super) const FUNCTIONS: &[Function] = &[Function {
    notes: &[
        "What it does depends on the arguments that are given. oldValue and replacementValue: every occurrence is replaced. oldValue and template: oldValue is replaced within the template by the source. regexPattern and replacementValue: whatever matches is replaced; ${name} and $1 in the replacement stand for groups. regexPattern, regexGroupName and replacementValue: the group alone is replaced. regexPattern, regexGroupName and replacementAttributeName: the source, or where it is empty the group's text in that attribute.",
        "Case counts. A null source gives null, but in the last form. In the last form, an attribute that does not match gives null (our choice).",
        "Patterns are .NET's, matched in linear time: look-around, back-references and atomic groups are refused when the expression is read. The pattern and the group must be constants. $ means the very end of the text, not also the place before a last line end.",
        "Within the expression's quotes a backslash of the pattern is written twice; alone it stands for itself where no backslash or quote follows.",
    ],
    examples: &[
        example(
            "Replace([jobTitle], \"Product Developer\", , , \"Software Engineer\", , )",
            &[("jobTitle", &["Product Developer"])],
            Expected::Text("Software Engineer"),
        ),
        example(
            "Replace([UserID], \"<username>\", , , , , \"<username>@contoso.com\")",
            &[("UserID", &["jsmith"])],
            Expected::Text("jsmith@contoso.com"),
        ),
        example(
            "Replace([phone], , \"\\\\+(?<isdCode>\\\\d* )(?<phoneNumber>\\\\d{10})\", , \"${phoneNumber}\", , )",
            &[("phone", &["+91 9998887777"])],
            Expected::Text("9998887777"),
        ),
        // Microsoft's page prints 19998887777, which its own pattern does not give.
        example(
            "Replace([phone], , \"[()\\\\s-]+\", , \"\", , )",
            &[("phone", &["+1 (999) 888-7777"])],
            Expected::Text("+19998887777"),
        ),
        example(
            "Replace([street], , \"(?<streetNumber>^\\\\d*)\", \"streetNumber\", \"888\", , )",
            &[("street", &["545 Tremont Street"])],
            Expected::Text("888 Tremont Street"),
        ),
        example(
            "Replace([mail], , \"(?<Suffix>@(.)*)\", \"Suffix\", \"\", , )",
            &[("mail", &["jsmith@contoso.com"])],
            Expected::Text("jsmith"),
        ),
        example(
            "Replace([phone], , \"\\\\+(?<isdCode>\\\\d* )(?<phoneNumber>\\\\d{10})\", \"phoneNumber\", , [mobile], )",
            &[("phone", &[]), ("mobile", &["+91 8887779999"])],
            Expected::Text("8887779999"),
        ),
        example("Replace([login], , \"[a-zA-Z_]*\", , \"\", , )", &[("login", &["john_doe72"])], Expected::Text("72")),
    ],
    prepare: Some(prepare),
    ..function(
        "Replace",
        &[
            required("source", Takes::Text),
            blank("oldValue", Takes::Text),
            optional("regexPattern", Takes::Text),
            optional("regexGroupName", Takes::Text),
            optional("replacementValue", Takes::Text),
            optional("replacementAttributeName", Takes::Text),
            optional("template", Takes::Text),
        ],
        "Replaces parts of a text.",
        replace,
    )
}];

const MODES: &str = "expected oldValue with replacementValue or template, or regexPattern with replacementValue, or regexPattern and regexGroupName with replacementValue or replacementAttributeName";

fn prepare(arguments: &[Node]) -> Result<Prepared, (usize, String)> {
    let given = |position: usize| arguments.get(position).is_some_and(|argument| !argument.is_empty());
    // An empty text to look for is as good as none.
    let looked_for = |position: usize| given(position) && !arguments.get(position).is_some_and(|node| node.is_text(""));
    let pattern = || match arguments.get(PATTERN).map(|argument| (&argument.kind, argument.text())) {
        Some((_, Some(text))) => Pattern::compile(text).map_err(|problem| (PATTERN, problem)),
        // Reported already, for a reason of its own.
        Some((Kind::Attribute(name), _)) if name.is_empty() => {
            Pattern::compile("").map_err(|problem| (PATTERN, problem))
        }
        _ => Err((PATTERN, "regexPattern must be a text in quotes, so that it can be examined beforehand".to_owned())),
    };
    let group = |pattern: &Pattern| -> Result<Box<str>, (usize, String)> {
        let Some(name) = arguments.get(GROUP).and_then(Node::text) else {
            return Err((GROUP, "regexGroupName must be a text in quotes".to_owned()));
        };
        if pattern.regex.capture_names().flatten().any(|known| known == name) {
            return Ok(name.into());
        }
        Err((GROUP, format!("the pattern has no group {name:?}; it is written (?<{name}>…)")))
    };
    let replacing = match (looked_for(OLD), looked_for(PATTERN), looked_for(GROUP)) {
        (true, false, false) if given(NEW) => Replacing::Text,
        (true, false, false) if given(TEMPLATE) => Replacing::Template,
        (false, true, false) if given(NEW) => Replacing::Pattern(pattern()?),
        (false, true, true) if given(NEW) => {
            let pattern = pattern()?;
            let group = group(&pattern)?;
            Replacing::Group(pattern, group)
        }
        (false, true, true) if given(OTHER) => {
            let pattern = pattern()?;
            let group = group(&pattern)?;
            Replacing::Extract(pattern, group)
        }
        _ => return Err((arguments.len(), format!("these arguments of Replace do not belong together; {MODES}"))),
    };
    Ok(Prepared::Replacing(Box::new(replacing)))
}

fn replace<'a>(call: &Call<'_, 'a>) -> Result<Datum<'a>, Stop> {
    let Prepared::Replacing(replacing) = &call.step.prepared else { return Ok(Datum::Null) };
    let source = call.text(SOURCE)?;
    if let Replacing::Extract(pattern, group) = replacing.as_ref() {
        if let Some(source) = source.filter(|source| !source.is_empty()) {
            return Ok(Datum::text(source));
        }
        let Some(other) = call.text(OTHER)? else { return Ok(Datum::Null) };
        let found = pattern.regex.captures(&other).and_then(|captures| captures.name(group));
        return Ok(Datum::maybe(found.map(|found| found.as_str().to_owned().into())));
    }
    let Some(source) = source else { return Ok(Datum::Null) };
    match replacing.as_ref() {
        Replacing::Text => {
            literally(call, source, &call.text(OLD)?.unwrap_or_default(), &call.text(NEW)?.unwrap_or_default())
        }
        Replacing::Template => {
            let template = call.text(TEMPLATE)?.unwrap_or_default();
            literally(call, template, &call.text(OLD)?.unwrap_or_default(), &source)
        }
        Replacing::Pattern(pattern) => {
            let new = call.text(NEW)?.unwrap_or_default();
            let has_groups = new.contains('$');
            each_match(call, &source, pattern, |captures, text| {
                text.push_str(captures.prefix);
                if has_groups { expand(&new, pattern, captures, text) } else { text.push_str(&new) }
            })
        }
        Replacing::Group(pattern, group) => {
            let new = call.text(NEW)?.unwrap_or_default();
            each_match(call, &source, pattern, |found, text| {
                text.push_str(found.prefix);
                let (Some(whole), Some(part)) = (found.captures.get(0), found.captures.name(group)) else {
                    text.push_str(found.captures.get(0).map_or("", |whole| whole.as_str()));
                    return;
                };
                text.push_str(found.source.get(whole.start()..part.start()).unwrap_or(""));
                text.push_str(&new);
                text.push_str(found.source.get(part.end()..whole.end()).unwrap_or(""));
            })
        }
        Replacing::Extract(..) => Ok(Datum::Null),
    }
}

fn too_long(call: &Call<'_, '_>) -> Stop {
    call.fail(format!("the text is longer than {MAX_OUTPUT} bytes"))
}

fn literally<'a>(call: &Call<'_, 'a>, text: Cow<'a, str>, old: &str, new: &str) -> Result<Datum<'a>, Stop> {
    if old.is_empty() {
        return Err(call.fail("oldValue is empty"));
    }
    let times = text.matches(old).count();
    if times == 0 {
        return Ok(Datum::text(text));
    }
    if times.saturating_mul(new.len()).saturating_add(text.len()) > MAX_OUTPUT {
        return Err(too_long(call));
    }
    Ok(Datum::text(text.replace(old, new)))
}

/// One match, and the text between it and the one before.
struct Found<'t> {
    source: &'t str,
    prefix: &'t str,
    captures: Captures<'t>,
}

/// Replaces match after match. As in .NET an empty match may follow another one at its very end.
fn each_match<'a>(
    call: &Call<'_, 'a>,
    source: &str,
    pattern: &Pattern,
    mut put: impl FnMut(&Found<'_>, &mut String),
) -> Result<Datum<'a>, Stop> {
    let mut text = String::with_capacity(source.len());
    let mut copied = 0;
    let mut next = 0;
    while let Some(captures) = (next <= source.len()).then(|| pattern.regex.captures_at(source, next)).flatten() {
        let Some((from, to)) = captures.get(0).map(|whole| (whole.start(), whole.end())) else { break };
        let prefix = source.get(copied..from).unwrap_or("");
        put(&Found { source, prefix, captures }, &mut text);
        if text.len() > MAX_OUTPUT {
            return Err(too_long(call));
        }
        copied = to;
        next = if to > from {
            to
        } else {
            to + source.get(to..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8)
        };
    }
    text.push_str(source.get(copied..).unwrap_or(""));
    Ok(Datum::text(text))
}

/// .NET's replacement patterns: `$1`, `${1}`, `${name}`, `$&`, `$$`, `$_`, `` $` ``, `$'`, `$+`; whatever names no group stands for itself.
fn expand(new: &str, pattern: &Pattern, found: &Found<'_>, text: &mut String) {
    let mut rest = new;
    while let Some((before, after)) = rest.split_once('$') {
        text.push_str(before);
        let (name, tail) = match after.strip_prefix('{').and_then(|inside| inside.split_once('}')) {
            Some((name, tail)) => (name, tail),
            None if after.starts_with(['$', '&', '_', '`', '\'', '+']) => after.split_at(1),
            None => after.split_at(after.bytes().take_while(u8::is_ascii_digit).count()),
        };
        let numbered = |number: usize| pattern.numbers.get(number).map(|group| found.captures.get(*group));
        let group = match (name, name.parse::<usize>()) {
            ("$", _) => {
                text.push('$');
                rest = tail;
                continue;
            }
            ("&", _) => numbered(0),
            ("_" | "`" | "'" | "+", _) => {
                let whole = found.captures.get(0).map_or(0..0, |whole| whole.range());
                let last = || found.captures.iter().skip(1).flatten().last().map_or("", |group| group.as_str());
                text.push_str(match name {
                    "_" => found.source,
                    "`" => found.source.get(..whole.start).unwrap_or(""),
                    "'" => found.source.get(whole.end..).unwrap_or(""),
                    _ => last(),
                });
                rest = tail;
                continue;
            }
            (_, Ok(number)) => numbered(number),
            (name, Err(_)) => {
                let is_known = pattern.regex.capture_names().flatten().any(|known| known == name);
                is_known.then(|| found.captures.name(name))
            }
        };
        match group {
            Some(group) => {
                text.push_str(group.map_or("", |group| group.as_str()));
                rest = tail;
            }
            None => {
                text.push('$');
                rest = after;
            }
        }
    }
    text.push_str(rest);
}
