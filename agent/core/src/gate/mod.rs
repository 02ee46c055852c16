//! The security gate: what is asked of an image and of the analysis of its source before it is rolled
//! out, and what the answers of a registry and of SonarQube mean.
//!
//! Everything here is a function of bytes that somebody else sent: it decides and never panics. The
//! asking is done by `agent/gate`.

pub mod challenge;
pub mod digest;
pub mod image;
pub mod policy;
pub mod reference;
pub mod report;
pub mod signature;
pub mod sonarqube;
#[cfg(test)]
mod tests;

/// The longest text of the outside that goes into a reason, in characters.
const MAX_QUOTED: usize = 200;

/// A text of the outside in a reason: bounded, and without anything that moves a cursor or begins a
/// line of its own.
#[must_use]
pub fn quoted(text: &str) -> String {
    let open = |c: &char| !c.is_control();
    let mut chars = text.chars().filter(open);
    let mut quoted: String = chars.by_ref().take(MAX_QUOTED).collect();
    if chars.next().is_some() {
        quoted.push('…');
    }
    quoted
}

/// Whether a text is a full commit SHA, of SHA-1 or of SHA-256.
#[must_use]
pub fn is_commit(text: &str) -> bool {
    let hexadecimal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    matches!(text.len(), 40 | 64) && text.bytes().all(hexadecimal)
}
