//! `NormalizeDiacritics`: letters without their marks, by Entra's own table.

use std::borrow::Cow;

use unicode_normalization::char::{decompose_canonical, is_combining_mark};

/// Letters that lose their marks; all others keep them.
const BARE: &str = "acdegilnorstuyz";

pub(crate) fn normalize(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.is_ascii() {
        return text;
    }
    let mut normal = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        // The base letter, and whether the letter has a mark in itself.
        let mut base = letter;
        let mut parts = 0;
        decompose_canonical(letter, |part| {
            if parts == 0 {
                base = part;
            }
            parts += 1;
        });
        let marked = parts > 1 || letters.peek().is_some_and(|next| is_combining_mark(*next));
        let bare = match base {
            'æ' => "ae",
            'Æ' => "AE",
            'ø' => "oe",
            'Ø' => "OE",
            'œ' if marked => "oe",
            'Œ' if marked => "OE",
            'ß' => "ss",
            'ł' => "l",
            'Ł' => "L",
            'ı' => "i",
            plain if BARE.contains(plain.to_ascii_lowercase()) => {
                normal.push(plain);
                ""
            }
            _ => {
                // Not in the table: as it is, marks included.
                normal.push(letter);
                continue;
            }
        };
        normal.push_str(bare);
        while letters.next_if(|next| is_combining_mark(*next)).is_some() {}
    }
    Cow::Owned(normal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_go_and_what_is_not_in_the_table_stays() {
        let cases = [
            ("Zoë", "Zoe"),
            ("Zoe\u{308}", "Zoe"),
            ("äöüÅÄÖ", "aouAAO"),
            ("æ ǣ ǽ Æ Ǣ", "ae ae ae AE AE"),
            ("ø ǿ Ø œ\u{304} Œ\u{304}", "oe oe OE oe OE"),
            ("straße Łódź ıİ", "strasse Lodz iI"),
            ("Nguyễn Thị Ánh", "Nguyen Thi Anh"),
            ("ţģķ", "tgķ"),
            ("đ ð þ œ ħ ķ ĥ ŵ ĵ", "đ ð þ œ ħ ķ ĥ ŵ ĵ"),
            ("h\u{302}k", "h\u{302}k"),
            ("東京 한국 emoji 😀", "東京 한국 emoji 😀"),
            ("", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(normalize(text.into()), expected, "{text}");
        }
    }
}
