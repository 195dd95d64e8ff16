//! Upper and lower case, letter by letter as .NET does it: the length in letters never changes.

use std::borrow::Cow;

use unicode_normalization::char::is_combining_mark;

/// Whose rules of case hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Culture {
    /// Nobody's in particular: the dotless ı and the dotted İ stay as they are.
    Invariant,
    /// Turkish and Azerbaijani: i and İ, ı and I belong together.
    Turkic,
    /// Any other.
    Other,
}

impl Culture {
    /// The culture of that name, such as `en-US`; `None` where this is no name of one.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let name = name.trim();
        let mut parts = name.split(['-', '_']);
        let language = parts.next().unwrap_or("");
        if name.is_empty() {
            return Some(Self::Invariant);
        }
        let is_language = (2..=3).contains(&language.len()) && language.bytes().all(|byte| byte.is_ascii_alphabetic());
        let well_formed =
            |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !is_language || !parts.all(well_formed) {
            return None;
        }
        let is_turkic = language.eq_ignore_ascii_case("tr") || language.eq_ignore_ascii_case("az");
        Some(if is_turkic { Self::Turkic } else { Self::Other })
    }
}

pub(crate) fn upper_letter(letter: char, culture: Culture) -> char {
    match (letter, culture) {
        ('i', Culture::Turkic) => return 'İ',
        ('ı', Culture::Invariant) => return 'ı',
        _ => {}
    }
    let mut mapped = letter.to_uppercase();
    match (mapped.next(), mapped.next()) {
        (Some(one), None) => one,
        // The full mapping is longer; these have a single letter all the same.
        _ => match u32::from(letter) {
            code @ (0x1f80..=0x1f87 | 0x1f90..=0x1f97 | 0x1fa0..=0x1fa7) => char::from_u32(code + 8).unwrap_or(letter),
            0x1fb3 => '\u{1fbc}',
            0x1fc3 => '\u{1fcc}',
            0x1ff3 => '\u{1ffc}',
            _ => letter,
        },
    }
}

pub(crate) fn lower_letter(letter: char, culture: Culture) -> char {
    match (letter, culture) {
        ('I', Culture::Turkic) => return 'ı',
        ('İ', Culture::Invariant) => return 'İ',
        ('İ', _) => return 'i',
        _ => {}
    }
    let mut mapped = letter.to_lowercase();
    match (mapped.next(), mapped.next()) {
        (Some(one), None) => one,
        _ => letter,
    }
}

pub(crate) fn upper(text: Cow<'_, str>, culture: Culture) -> Cow<'_, str> {
    change(text, culture, upper_letter)
}

pub(crate) fn lower(text: Cow<'_, str>, culture: Culture) -> Cow<'_, str> {
    change(text, culture, lower_letter)
}

fn change(text: Cow<'_, str>, culture: Culture, letter: fn(char, Culture) -> char) -> Cow<'_, str> {
    if text.chars().all(|one| letter(one, culture) == one) {
        return text;
    }
    Cow::Owned(text.chars().map(|one| letter(one, culture)).collect())
}

/// The first letter of a word.
fn title_letter(letter: char) -> char {
    match letter {
        'ǆ' | 'Ǆ' => 'ǅ',
        'ǉ' | 'Ǉ' => 'ǈ',
        'ǌ' | 'Ǌ' => 'ǋ',
        'ǳ' | 'Ǳ' => 'ǲ',
        other => upper_letter(other, Culture::Invariant),
    }
}

/// Each word with a capital, all else in lower case: words as `ToTitleCase` has them.
pub(crate) fn title(text: &str) -> String {
    let mut in_word = false;
    text.chars()
        .map(|letter| {
            if letter.is_alphabetic() {
                let changed = if in_word { lower_letter(letter, Culture::Invariant) } else { title_letter(letter) };
                in_word = true;
                return changed;
            }
            // An apostrophe within a word belongs to it, as do digits and marks.
            in_word = in_word && (letter == '\'' || letter.is_numeric() || is_combining_mark(letter));
            letter
        })
        .collect()
}

/// Each word with a capital, all else in lower case: words end at the separators alone.
pub(crate) fn title_between(text: &str, separators: &str) -> String {
    let mut at_start = true;
    text.chars()
        .map(|letter| {
            if separators.contains(letter) {
                at_start = true;
                return letter;
            }
            let changed = if at_start { title_letter(letter) } else { lower_letter(letter, Culture::Invariant) };
            at_start = false;
            changed
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_change_one_by_one() {
        let cases = [
            ("straße ŉ ﬁ", "", "STRAßE ŉ ﬁ", "straße ŉ ﬁ"),
            ("Iıİi", "", "IıİI", "iıİi"),
            ("Iıİi", "tr-TR", "IIİİ", "ııii"),
            ("Iıİi", "az", "IIİİ", "ııii"),
            ("Iıİi", "en-US", "IIİI", "iıii"),
            ("ΟΔΟΣ ᾳ", "el-GR", "ΟΔΟΣ ᾼ", "οδοσ ᾳ"),
            ("ÅÉ東京", "sv-SE", "ÅÉ東京", "åé東京"),
        ];
        for (text, culture, up, down) in cases {
            let culture = Culture::named(culture).unwrap();
            assert_eq!(upper(text.into(), culture), up, "{text}");
            assert_eq!(lower(text.into(), culture), down, "{text}");
        }
        assert_eq!(Culture::named("klingon, please"), None);
        assert_eq!(Culture::named("x"), None);
    }

    #[test]
    fn words_get_capitals() {
        let cases = [
            ("o'neil VAN-DER 1st a_b", "O'neil Van-Der 1St A_B"),
            ("ǆABC ÉCOLE", "ǅabc École"),
            ("(second) «x»", "(Second) «X»"),
        ];
        for (text, expected) in cases {
            assert_eq!(title(text), expected);
        }
        assert_eq!(title_between("PINTO-DE'SILVA x_y", " '-"), "Pinto-De'Silva X_y");
        assert_eq!(title_between("ABC", ""), "Abc");
    }
}
