//! Bytes as text: base64 in both alphabets, hexadecimal, and texts of bounded length.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

const INDIFFERENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, INDIFFERENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, INDIFFERENT);

/// Reads base64 in either alphabet, with or without padding, as DSSE asks of a receiver. A text
/// that mixes the alphabets is no base64.
pub(super) fn from_base64(text: &str) -> Option<Vec<u8>> {
    let engine = if text.contains(['-', '_']) {
        &URL_SAFE
    } else {
        &STANDARD
    };
    engine.decode(text).ok()
}

/// Standard alphabet, with padding.
pub(super) fn to_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

pub(super) fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

/// Cuts a text to at most `limit` bytes, at a character, and says so with an ellipsis. What an
/// issuer wrote finds its way into messages; this bounds it.
pub(super) fn shorten(text: &str, limit: usize) -> String {
    const ELLIPSIS: char = '…';
    if text.len() <= limit {
        return text.to_owned();
    }
    let mut end = limit.saturating_sub(ELLIPSIS.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut short = text[..end].to_owned();
    short.push(ELLIPSIS);
    short
}

/// `[A-Za-z0-9._-]{1,64}`: the ids of commands and keys, and the names of nodes.
pub(super) fn is_identifier(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_alphabets_with_and_without_padding() {
        let bytes = [0xfb, 0xff, 0xbf, 0x3e];
        for text in ["+/+/Pg==", "-_-_Pg==", "+/+/Pg", "-_-_Pg"] {
            assert_eq!(from_base64(text).as_deref(), Some(&bytes[..]), "{text}");
        }
        // A mixture, white space, and bits left over are refused.
        for text in ["+_+_Pg", "+/+/Pg==\n", "+/+/ Pg==", "+/+/Ph==", "="] {
            assert_eq!(from_base64(text), None, "{text:?}");
        }
    }

    #[test]
    fn texts_are_cut_at_a_character() {
        assert_eq!(shorten("abc", 3), "abc");
        assert_eq!(shorten("ääää", 7), "ää…");
        assert!(shorten("ääää", 6).len() <= 6);
        assert_eq!(shorten("abcdef", 0), "…");
    }

    #[test]
    fn hexadecimal_is_lower_case() {
        assert_eq!(to_hex(&[0, 0x1f, 0xff]), "001fff");
    }
}
