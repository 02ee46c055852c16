//! Ids that follow from what a command is for, so that who repeats it names the same command.

use super::encoding::to_hex;
use super::envelope::sha256;

/// Digits of the hash in an id: 128 bits, so that no two meet by chance.
const DIGITS: usize = 32;

/// The id for these parts, always the same and different for others: `<prefix>-<32 digits>`. The
/// prefix is for people; what an id cannot have is taken out of it, and it is cut to 31 bytes.
#[must_use]
pub fn derived_id(prefix: &str, parts: &[&str]) -> String {
    let mut bytes = Vec::new();
    for part in parts {
        // The length in front keeps ("ab", "c") and ("a", "bc") apart.
        bytes.extend_from_slice(format!("{} ", part.len()).as_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    let hash = to_hex(&sha256(&bytes));
    let prefix: String = prefix
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
        .take(31)
        .collect();
    format!("{prefix}-{}", hash.get(..DIGITS).unwrap_or(&hash))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::encoding::is_identifier;

    #[test]
    fn the_same_parts_give_the_same_id_and_others_another() {
        let id = |parts: &[&str]| derived_id("drone-42", parts);
        assert_eq!(id(&["a/b", "42", "step"]), id(&["a/b", "42", "step"]));
        assert!(id(&["a"]).starts_with("drone-42-"));
        assert_ne!(id(&["ab", "c"]), id(&["a", "bc"]));
        assert_ne!(id(&["a", ""]), id(&["a"]));
        for prefix in ["", "ä b/c", &"x".repeat(100)] {
            assert!(is_identifier(&derived_id(prefix, &["a"])), "{prefix}");
        }
    }
}
