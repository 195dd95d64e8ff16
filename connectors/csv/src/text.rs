//! From the bytes of a file to its characters.

use encoding_rs::{Encoding, UTF_8};

/// The encoding of that name.
pub(crate) fn encoding(name: &str) -> Option<&'static Encoding> {
    Encoding::for_label(name.trim().as_bytes())
}

/// The characters of a file, or what is wrong with it, for a person. Without an encoding the byte order mark decides.
pub(crate) fn decode(bytes: &[u8], given: Option<&'static Encoding>) -> Result<String, String> {
    let marked = Encoding::for_bom(bytes);
    let (encoding, bytes) = match (given, marked) {
        // The mark is no part of the text; another encoding's mark than the configured one is the truth.
        (_, Some((encoding, length))) => (encoding, bytes.get(length..).unwrap_or_default()),
        (Some(encoding), None) => (encoding, bytes),
        (None, None) => (UTF_8, bytes),
    };
    if encoding == UTF_8 {
        return match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(error) => {
                let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
                let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
                Err(format!(
                    "line {line} is not UTF-8; set `encoding`: \"windows-1252\" is what spreadsheets in western Europe \
                     write"
                ))
            }
        };
    }
    match encoding.decode_without_bom_handling_and_without_replacement(bytes) {
        Some(text) => Ok(text.into_owned()),
        None => Err(format!("it is not {}; correct `encoding`", encoding.name())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_and_names_decide() {
        assert_eq!(decode("\u{feff}Åsa".as_bytes(), None).unwrap(), "Åsa");
        let utf16: Vec<u8> = [0xfeff].into_iter().chain("Åsa".encode_utf16()).flat_map(u16::to_le_bytes).collect();
        assert_eq!(decode(&utf16, None).unwrap(), "Åsa");
        assert_eq!(decode(&utf16, encoding("windows-1252")).unwrap(), "Åsa");
        let big: Vec<u8> = "Åsa".encode_utf16().flat_map(u16::to_be_bytes).collect();
        assert_eq!(decode(&big, encoding("utf-16be")).unwrap(), "Åsa");
        assert_eq!(decode(b"\xc5sa \x80", encoding("windows-1252")).unwrap(), "Åsa €");
        let refused = decode(b"name\nBo\n\xc5sa\n", None).unwrap_err();
        assert!(refused.contains("line 3 is not UTF-8") && refused.contains("windows-1252"), "{refused}");
        assert!(decode(b"\x00\xd8\x00", encoding("utf-16le")).is_err());
        assert!(encoding("latin-77").is_none());
    }
}
