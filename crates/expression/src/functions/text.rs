//! Functions of one text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use muster_model::Value;

use super::{Expected, Function, Prepared, Takes, example, function, optional, required};
use crate::diacritics;
use crate::dotnet::casing::{self, Culture};
use crate::evaluate::{Call, Stop};
use crate::node::Node;
use crate::value::Datum;

const SOURCE: super::Parameter = required("source", Takes::Text);

const CULTURE_NOTE: &str = "culture: a name such as \"en-US\" or \"tr-TR\"; without it the invariant culture, which leaves ı and İ alone. Letters change one by one, so that ß stays ß.";

pub(super) const FUNCTIONS: &[Function] = &[
    Function {
        notes: &[
            "A null source gives null, so that a person without a name gets no address that is nothing but the suffix (our choice; Microsoft does not say). A null suffix adds nothing.",
        ],
        examples: &[
            example(
                "Append([userPrincipalName], \".test\")",
                &[("userPrincipalName", &["John.Doe@contoso.com"])],
                Expected::Text("John.Doe@contoso.com.test"),
            ),
            example("Append([mailNickname], \"@contoso.com\")", &[("mailNickname", &[])], Expected::Null),
        ],
        ..function("Append", &[SOURCE, required("suffix", Takes::Text)], "Puts a text behind another.", append)
    },
    Function {
        notes: &[CULTURE_NOTE],
        examples: &[
            example(
                "ToLower(Join(\"@\", NormalizeDiacritics(StripSpaces(Join(\".\", [PreferredFirstName], [PreferredLastName]))), \"contoso.com\"))",
                &[("PreferredFirstName", &["John"]), ("PreferredLastName", &["Smith"])],
                Expected::Text("john.smith@contoso.com"),
            ),
            example("ToLower([city], \"tr-TR\")", &[("city", &["IĞDIR"])], Expected::Text("ığdır")),
        ],
        prepare: Some(culture),
        ..function("ToLower", &[SOURCE, optional("culture", Takes::Text)], "Puts a text in lower case.", to_lower)
    },
    Function {
        notes: &[CULTURE_NOTE],
        examples: &[example("ToUpper([country])", &[("country", &["se"])], Expected::Text("SE"))],
        prepare: Some(culture),
        ..function("ToUpper", &[SOURCE, optional("culture", Takes::Text)], "Puts a text in upper case.", to_upper)
    },
    Function {
        notes: &[
            "Without separators words are those of .NET's ToTitleCase: they end at any space, punctuation or symbol but the apostrophe. With separators they end at these alone.",
            "Words that are all capitals are changed too.",
        ],
        examples: &[
            example(
                "PCase([name])",
                &[("name", &["PABLO GONSALVES (SECOND)"])],
                Expected::Text("Pablo Gonsalves (Second)"),
            ),
            example(
                "PCase([lastName], \" '-\")",
                &[("lastName", &["PINTO-DE'SILVA"])],
                Expected::Text("Pinto-De'Silva"),
            ),
            example(
                "PCase(Join(\" \", [givenName], [middleName]))",
                &[("givenName", &["GREGORY"]), ("middleName", &["JAMES"])],
                Expected::Text("Gregory James"),
            ),
        ],
        ..function(
            "PCase",
            &[SOURCE, optional("wordSeparators", Takes::Text)],
            "Begins each word with a capital, and puts all else in lower case.",
            proper_case,
        )
    },
    Function {
        notes: &["Removes the space (U+0020) alone, no other white space."],
        examples: &[example(
            "StripSpaces([displayName])",
            &[("displayName", &["John Smith"])],
            Expected::Text("JohnSmith"),
        )],
        ..function("StripSpaces", &[SOURCE], "Removes every space.", strip_spaces)
    },
    Function {
        notes: &["Not on Microsoft's page for application provisioning; known from cloud sync."],
        examples: &[example(
            "Trim([displayName])",
            &[("displayName", &[" John Smith "])],
            Expected::Text("John Smith"),
        )],
        ..function("Trim", &[required("value", Takes::Text)], "Removes white space at both ends.", trim)
    },
    Function {
        notes: &[
            "Marks are taken from the letters a c d e g i l n o r s t u y z, so that ä becomes a and å becomes a; æ becomes ae, ø oe, ß ss, ł l, ı i.",
            "Letters that Microsoft's table does not name pass unchanged: đ, ð, þ, œ, ħ, and k, h, w, j with their marks.",
        ],
        examples: &[example("NormalizeDiacritics([givenName])", &[("givenName", &["Zoë"])], Expected::Text("Zoe"))],
        ..function("NormalizeDiacritics", &[SOURCE], "Replaces letters with marks by plain ones.", normalize)
    },
    Function {
        notes: &["The value flows. Plans, explanations and traces show [Redact] in its place."],
        examples: &[example(
            "Redact([userPrincipalName])",
            &[("userPrincipalName", &["john@contoso.com"])],
            Expected::Text("john@contoso.com"),
        )],
        ..function("Redact", &[required("value", Takes::Any)], "Hides a value wherever people look at changes.", redact)
    },
    Function {
        notes: &[
            "Numbers as they are written, truth values as True and False, times as M/d/yyyy h:mm:ss tt, bytes in base64.",
        ],
        examples: &[example(
            "CStr([dn])",
            &[("dn", &["cn=Joe,dc=contoso,dc=com"])],
            Expected::Text("cn=Joe,dc=contoso,dc=com"),
        )],
        ..function("CStr", &[required("value", Takes::Text)], "Makes a text of a value.", to_text)
    },
    Function {
        notes: &["The bytes are those of UTF-16, little end first."],
        examples: &[example(
            "ConvertToBase64(\"Hello world!\")",
            &[],
            Expected::Text("SABlAGwAbABvACAAdwBvAHIAbABkACEA"),
        )],
        ..function("ConvertToBase64", &[SOURCE], "Writes a text's bytes in base64.", to_base64)
    },
    Function {
        notes: &["The inverse of ConvertToBase64. Known from cloud sync."],
        examples: &[
            example("ConvertFromBase64(\"SABlAGwAbABvACAAdwBvAHIAbABkACEA\")", &[], Expected::Text("Hello world!")),
            example("ConvertFromBase64([x])", &[("x", &["?"])], Expected::Fails("no UTF-16 in base64")),
        ],
        ..function("ConvertFromBase64", &[SOURCE], "Reads a text from base64.", from_base64)
    },
    Function {
        examples: &[example("ConvertToUTF8Hex(\"Hello world!\")", &[], Expected::Text("48656C6C6F20776F726C6421"))],
        ..function(
            "ConvertToUTF8Hex",
            &[SOURCE],
            "Writes the bytes of a text's UTF-8 in upper-case hexadecimal.",
            to_hex,
        )
    },
    Function {
        notes: &["Takes bytes, or their base64; an empty value gives null. Known from cloud sync."],
        examples: &[
            example(
                "StringFromSID([objectSid])",
                &[("objectSid", &["AQUAAAAAAAUVAAAA0GWSfYHGKpqHnGx49AEAAA=="])],
                Expected::Text("S-1-5-21-2106746320-2586494593-2020383879-500"),
            ),
            example("StringFromSID([objectSid])", &[("objectSid", &[""])], Expected::Null),
        ],
        ..function("StringFromSID", &[required("objectSid", Takes::Any)], "Writes a security identifier as text.", sid)
    },
    Function {
        notes: &[
            "Components are counted from the left, from 1. A number that there is not gives null. Known from Entra Connect.",
        ],
        examples: &[
            example("DNComponent([dn], 1)", &[("dn", &["cn=Joe,ou=Sales,dc=contoso"])], Expected::Text("Joe")),
            example("DNComponent([dn], 2)", &[("dn", &["cn=Doe\\, Joe,ou=Sales,dc=contoso"])], Expected::Text("Sales")),
            example(
                "DNComponent([dn], 1)",
                &[("dn", &["cn=J\\C3\\B6rg\\2C Dr.,dc=contoso"])],
                Expected::Text("Jörg, Dr."),
            ),
            example("DNComponent([dn], 9)", &[("dn", &["cn=Joe"])], Expected::Null),
        ],
        ..function(
            "DNComponent",
            &[required("dn", Takes::Text), required("ComponentNumber", Takes::Number)],
            "The value of one component of a distinguished name.",
            dn_component,
        )
    },
];

fn culture(arguments: &[Node]) -> Result<Prepared, (usize, String)> {
    match arguments.get(1).and_then(Node::text) {
        Some(name) if Culture::named(name).is_none() => {
            Err((1, format!("{name:?} is no name of a culture, such as \"en-US\"")))
        }
        _ => Ok(Prepared::Nothing),
    }
}

fn append<'a>(call: &Call<'_, 'a>) -> Result<Datum<'a>, Stop> {
    let Some(source) = call.text(0)? else { return Ok(Datum::Null) };
    let suffix = call.text(1)?.unwrap_or_default();
    Ok(if suffix.is_empty() { Datum::text(source) } else { Datum::text(source + suffix) })
}

fn cased<'a>(
    call: &Call<'_, 'a>,
    change: for<'t> fn(std::borrow::Cow<'t, str>, Culture) -> std::borrow::Cow<'t, str>,
) -> Result<Datum<'a>, Stop> {
    let Some(source) = call.text(0)? else { return Ok(Datum::Null) };
    let name = call.text(1)?.unwrap_or_default();
    let culture = Culture::named(&name)
        .ok_or_else(|| call.fail(format!("{name:?} is no name of a culture, such as \"en-US\"")))?;
    Ok(Datum::text(change(source, culture)))
}

fn to_lower<'a>(call: &Call<'_, 'a>) -> Result<Datum<'a>, Stop> {
    cased(call, casing::lower)
}

fn to_upper<'a>(call: &Call<'_, 'a>) -> Result<Datum<'a>, Stop> {
    cased(call, casing::upper)
}

fn proper_case<'a>(call: &Call<'_, 'a>) -> Result<Datum<'a>, Stop> {
    let Some(source) = call.text(0)? else { return Ok(Datum::Null) };
    Ok(Datum::text(match call.text(1)? {
        Some(separators) => casing::title_between(&source, &separators),
        None => casing::title(&source),
    }))
}

fn strip_spaces<'a>(call: &Call<'_, 'a>) -> Result<Datum<'a>, Stop> {
    Ok(Datum::maybe(call.text(0)?.map(|text| if text.contains(' ') { text.replace(' ', "").into() } else { text })))
}

fn trim<'a>(call: &Call<'_, 'a>) -> Result<Datum<'a>, Stop> {
    Ok(Datum::maybe(call.text(0)?.map(|text| text.trim().to_owned().into())))
}

fn normalize<'a>(call: &Call<'_, 'a>) -> Result<Datum<'a>, Stop> {
    Ok(Datum::maybe(call.text(0)?.map(diacritics::normalize)))
}

fn redact<'a>(call: &Call<'_, 'a>) -> Result<Datum<'a>, Stop> {
    call.value(0)
}

fn to_text<'a>(call: &Call<'_, 'a>) -> Result<Datum<'a>, Stop> {
    Ok(Datum::maybe(call.text(0)?))
}

fn to_base64<'a>(call: &Call<'_, 'a>) -> Result<Datum<'a>, Stop> {
    let Some(text) = call.text(0)? else { return Ok(Datum::Null) };
    let bytes: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    Ok(Datum::text(STANDARD.encode(bytes)))
}

fn from_base64<'a>(call: &Call<'_, 'a>) -> Result<Datum<'a>, Stop> {
    let Some(text) = call.text(0)? else { return Ok(Datum::Null) };
    let read = || {
        let bytes = STANDARD.decode(text.trim()).ok()?;
        let units: Vec<u16> = bytes
            .chunks(2)
            .map(|pair| <[u8; 2]>::try_from(pair).map(u16::from_le_bytes))
            .collect::<Result<_, _>>()
            .ok()?;
        String::from_utf16(&units).ok()
    };
    read().map(Datum::text).ok_or_else(|| call.fail("the source is no UTF-16 in base64"))
}

fn to_hex<'a>(call: &Call<'_, 'a>) -> Result<Datum<'a>, Stop> {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let Some(text) = call.text(0)? else { return Ok(Datum::Null) };
    let digit = |number: u8| char::from(DIGITS.get(usize::from(number)).copied().unwrap_or(b'0'));
    Ok(Datum::text(text.bytes().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect::<String>()))
}

fn sid<'a>(call: &Call<'_, 'a>) -> Result<Datum<'a>, Stop> {
    let Some(value) = call.scalar(0)?.filter(|value| !value.is_empty()) else { return Ok(Datum::Null) };
    let bytes = match value.other() {
        Some(Value::Binary(bytes)) => Some(bytes.to_vec()),
        _ => STANDARD.decode(value.text().trim()).ok(),
    };
    let text = bytes.and_then(|bytes| sid_text(&bytes));
    text.map(Datum::text).ok_or_else(|| call.unfit(0, &value, "no security identifier"))
}

/// Revision, number of parts, six bytes of authority with the big end first, and the parts with the little end first.
fn sid_text(bytes: &[u8]) -> Option<String> {
    let (head, rest) = bytes.split_at_checked(8)?;
    let [revision, count, authority @ ..] = head else { return None };
    let authority = authority.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    if rest.len() != usize::from(*count) * 4 {
        return None;
    }
    let mut text = format!("S-{revision}-{authority}");
    for part in rest.chunks(4) {
        text.push_str(&format!("-{}", u32::from_le_bytes(part.try_into().ok()?)));
    }
    Some(text)
}

fn dn_component<'a>(call: &Call<'_, 'a>) -> Result<Datum<'a>, Stop> {
    let (Some(dn), Some(number)) = (call.text(0)?, call.integer(1)?) else { return Ok(Datum::Null) };
    let Some(position) = usize::try_from(number).ok().and_then(|number| number.checked_sub(1)) else {
        return Err(call.fail("components are counted from 1"));
    };
    let component = components(&dn).into_iter().nth(position);
    Ok(Datum::maybe(component.map(|component| {
        let value = component.split_once('=').map_or(component.as_str(), |(_, value)| value);
        unescape(value.trim()).into()
    })))
}

/// The parts of a distinguished name: a comma behind a backslash or between quotes is none between parts.
fn components(dn: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let (mut is_escaped, mut is_quoted) = (false, false);
    for letter in dn.chars() {
        match letter {
            ',' | ';' if !is_escaped && !is_quoted => {
                parts.push(String::new());
                continue;
            }
            '"' if !is_escaped => is_quoted = !is_quoted,
            _ => {}
        }
        is_escaped = letter == '\\' && !is_escaped;
        if let Some(part) = parts.last_mut() {
            part.push(letter);
        }
    }
    parts
}

/// RFC 4514: a backslash stands before a letter that means itself, or before two digits that are a byte of UTF-8.
fn unescape(value: &str) -> String {
    let inside = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    let mut bytes = Vec::with_capacity(inside.len());
    let mut rest = inside;
    while let Some((before, after)) = rest.split_once('\\') {
        bytes.extend_from_slice(before.as_bytes());
        let byte = after.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        let taken = match byte.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                2
            }
            None => {
                let letter = after.chars().next().unwrap_or('\\');
                bytes.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                letter.len_utf8()
            }
        };
        rest = after.get(taken..).unwrap_or("");
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}
