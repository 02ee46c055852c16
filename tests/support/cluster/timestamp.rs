//! Times as Kubernetes writes them: UTC, whole seconds.

use jiff::Timestamp;

pub(super) fn now() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The wall time in the message of a retry, as Argo CD words it (`7:05PM`).
pub(super) fn kitchen() -> String {
    Timestamp::now().strftime("%-I:%M%p").to_string()
}
