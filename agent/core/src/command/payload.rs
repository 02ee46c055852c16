//! The payload of a command: a closed set of orders, every field checked.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::encoding::{is_identifier, to_hex};
use super::envelope::MAX_PAYLOAD_BYTES;
use super::{Refusal, RefusalCode};
use crate::topic::NodeName;

/// The version that payloads carry in `v`.
pub(super) const VERSION: u64 = 1;

/// Every command name, in the order of the documentation.
pub const COMMAND_NAMES: [&str; 6] = [
    "rollout", "rollback", "resume", "refresh", "identify", "ping",
];

/// How long a rollout may take when its payload does not say.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// The scope of the sequence of commands that concern the node and no application.
pub const NODE_SCOPE: &str = "-";

/// The largest sequence: the largest integer that every JSON reader keeps exactly.
pub const MAX_SEQUENCE: u64 = (1 << 53) - 1;

const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);
const MAX_IDENTIFY_SECONDS: u32 = 600;
const MAX_IMAGES: usize = 16;
const MAX_IMAGE_BYTES: usize = 512;
const MAX_AUDIENCE: usize = 64;
/// The last second of the year 9999: later times have no RFC 3339 form.
const MAX_TIME: i64 = 253_402_300_799;

/// A command as its issuer wrote it.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// `[A-Za-z0-9._-]{1,64}`.
    pub id: String,
    /// Names of the nodes that are meant.
    pub audience: Vec<String>,
    /// Grows strictly for each key and scope; at most 2^53 − 1.
    pub sequence: u64,
    /// Issued at, seconds since 1970.
    pub issued_at: i64,
    /// Not to be accepted from this second on.
    pub expires_at: i64,
    pub action: Action,
}

/// A payload that is no command, with what could be told of it all the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadError {
    /// The id, if the payload has a valid one.
    pub id: Option<String>,
    /// The command name, if the payload has one that may be shown.
    pub cmd: Option<String>,
    /// The application, if the payload names one in a valid form.
    pub application: Option<String>,
    /// `malformed`, `too_large`, `unknown_command` or `invalid_arguments`.
    pub refusal: Refusal,
}

impl Command {
    /// Reads a payload: exactly the fields that the contract has, each once, each in range.
    ///
    /// # Errors
    /// What is wrong, with the id and name that the payload has, so that it can be answered.
    pub fn parse(payload: &[u8]) -> Result<Self, PayloadError> {
        super::parse::command(payload)
    }

    /// The payload for a signer. Two calls give the same bytes.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        super::parse::to_json(self)
    }

    /// The name, as in the field `cmd`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.action.name()
    }

    /// Checks every range of the contract, for payloads that were read as for those that are about
    /// to be signed.
    ///
    /// # Errors
    /// `invalid_arguments`, and which field is wrong; `too_large` when the payload would not fit.
    pub fn check(&self) -> Result<(), Refusal> {
        ensure(is_identifier(&self.id), || {
            "`id` has 1 to 64 characters out of A-Z a-z 0-9 . _ -".to_owned()
        })?;
        ensure((1..=MAX_AUDIENCE).contains(&self.audience.len()), || {
            format!("`aud` names 1 to {MAX_AUDIENCE} nodes")
        })?;
        for node in &self.audience {
            NodeName::new(node).map_err(|fault| {
                invalid(format!("`aud` has a name that no node can have: {fault}"))
            })?;
        }
        ensure(self.sequence <= MAX_SEQUENCE, || {
            format!("`seq` is at most {MAX_SEQUENCE}")
        })?;
        ensure((0..=MAX_TIME).contains(&self.issued_at), || {
            "`iat` is in seconds since 1970 and before the year 10000".to_owned()
        })?;
        ensure((0..=MAX_TIME).contains(&self.expires_at), || {
            "`exp` is in seconds since 1970 and before the year 10000".to_owned()
        })?;
        ensure(self.expires_at > self.issued_at, || {
            "`exp` must be later than `iat`".to_owned()
        })?;
        self.action.check()?;
        if self.to_json().len() > MAX_PAYLOAD_BYTES {
            return Err(Refusal::new(
                RefusalCode::TooLarge,
                format!("the payload has more than {MAX_PAYLOAD_BYTES} bytes"),
            ));
        }
        Ok(())
    }
}

/// What is ordered.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    Rollout {
        /// `name` or `namespace/name`.
        application: String,
        /// Full commit SHA, 40 or 64 hexadecimal digits.
        revision: String,
        /// Digests (`sha256:…`) or references with digest that must run in the end.
        images: Vec<String>,
        /// How long the rollout may take; 1 s to 24 h, 15 min by default.
        timeout: Duration,
        on_failure: OnFailure,
    },
    Rollback {
        application: String,
        to: RollbackTarget,
        /// `None`: pin under auto-sync, plain operation without.
        hold: Option<HoldMode>,
        prune: bool,
        allow_managed: bool,
    },
    Resume {
        application: String,
    },
    Refresh {
        application: String,
        hard: bool,
    },
    /// Seconds, 1 to 600.
    Identify {
        seconds: u32,
    },
    Ping,
}

impl Action {
    /// The name, as in the field `cmd`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Rollout { .. } => "rollout",
            Self::Rollback { .. } => "rollback",
            Self::Resume { .. } => "resume",
            Self::Refresh { .. } => "refresh",
            Self::Identify { .. } => "identify",
            Self::Ping => "ping",
        }
    }

    /// The application as the payload names it: `name` or `namespace/name`. `None` for commands
    /// that concern the node.
    #[must_use]
    pub fn application(&self) -> Option<&str> {
        match self {
            Self::Rollout { application, .. }
            | Self::Rollback { application, .. }
            | Self::Resume { application }
            | Self::Refresh { application, .. } => Some(application),
            Self::Identify { .. } | Self::Ping => None,
        }
    }

    /// What the sequence counts for: `namespace/name` of the application, or [`NODE_SCOPE`]. An
    /// application without a namespace is in `default_namespace`, so that both ways to write it
    /// share one sequence.
    #[must_use]
    pub fn scope(&self, default_namespace: &str) -> String {
        self.application().map_or_else(
            || NODE_SCOPE.to_owned(),
            |application| {
                let (namespace, name) = split_application(application, default_namespace);
                format!("{namespace}/{name}")
            },
        )
    }

    fn check(&self) -> Result<(), Refusal> {
        if let Some(application) = self.application() {
            ensure(is_application(application), || {
                "`application` is `name` or `namespace/name`, each in lower-case letters, digits, \
                 - and ."
                    .to_owned()
            })?;
        }
        match self {
            Self::Rollout {
                revision,
                images,
                timeout,
                ..
            } => {
                ensure(is_revision(revision), || REVISION_FAULT.to_owned())?;
                ensure(images.len() <= MAX_IMAGES, || {
                    format!("`images` has at most {MAX_IMAGES} entries")
                })?;
                ensure(images.iter().all(|image| is_image(image)), || {
                    "`images` has digests (`sha256:` and 64 hexadecimal digits) or references that \
                     end in `@` and such a digest"
                        .to_owned()
                })?;
                let whole = timeout.subsec_nanos() == 0;
                let range = Duration::from_secs(1)..=MAX_TIMEOUT;
                ensure(whole && range.contains(timeout), || {
                    format!("`timeout_s` is 1 to {}", MAX_TIMEOUT.as_secs())
                })
            }
            Self::Rollback {
                to: RollbackTarget::Revision(revision),
                ..
            } => ensure(is_revision(revision), || REVISION_FAULT.to_owned()),
            Self::Identify { seconds } => {
                ensure((1..=MAX_IDENTIFY_SECONDS).contains(seconds), || {
                    format!("`seconds` is 1 to {MAX_IDENTIFY_SECONDS}")
                })
            }
            _ => Ok(()),
        }
    }
}

const REVISION_FAULT: &str =
    "`revision` is a full commit SHA: 40 or 64 hexadecimal digits in lower case";

fn invalid(message: String) -> Refusal {
    Refusal::new(RefusalCode::InvalidArguments, message)
}

fn ensure(holds: bool, fault: impl FnOnce() -> String) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(invalid(fault())) }
}

/// Splits `namespace/name`; a name alone is in the default namespace.
pub(super) fn split_application<'a>(
    application: &'a str,
    default_namespace: &'a str,
) -> (&'a str, &'a str) {
    application
        .split_once('/')
        .unwrap_or((default_namespace, application))
}

/// `name` or `namespace/name`, each a DNS-1123 subdomain.
pub(super) fn is_application(text: &str) -> bool {
    match text.split_once('/') {
        Some((namespace, name)) => is_subdomain(namespace) && is_subdomain(name),
        None => is_subdomain(text),
    }
}

/// A DNS-1123 subdomain, as Kubernetes has it: 1 to 253 characters, labels of lower-case letters,
/// digits and `-` that begin and end with a letter or digit, joined by `.`.
fn is_subdomain(text: &str) -> bool {
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

fn is_lower_hex(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn is_revision(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && is_lower_hex(text)
}

/// `sha256:…`, or a reference that ends in `@sha256:…`.
fn is_image(text: &str) -> bool {
    let digest = text.rsplit_once('@').map_or(text, |(_, digest)| digest);
    let has_name = !text.starts_with('@');
    let is_digest = digest
        .strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && is_lower_hex(hex));
    let printable = text.bytes().all(|byte| byte.is_ascii_graphic());
    text.len() <= MAX_IMAGE_BYTES && printable && has_name && is_digest
}

/// The digest of an image that is named by its digest, or by a reference with one; else the whole name.
#[must_use]
pub fn image_digest(image: &str) -> &str {
    match image.rfind("sha256:") {
        Some(at) => &image[at..],
        None => image,
    }
}

/// A digest as results carry it: `sha256:` and 64 hexadecimal digits.
#[must_use]
pub fn digest_text(digest: &[u8; 32]) -> String {
    format!("sha256:{}", to_hex(digest))
}

/// What the agent does by itself when a rollout fails.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    #[default]
    None,
    Rollback,
}

/// Where a rollback goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RollbackTarget {
    /// The newest entry of the history with another revision and source, one that this node saw
    /// Healthy before others.
    Previous,
    /// A commit SHA of the history.
    Revision(String),
    /// The id of a history entry.
    History(u64),
}

/// How a rollback is kept from being undone by auto-sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldMode {
    /// The good revision is written into `spec.source`; auto-sync and self-heal go on.
    Pin,
    /// Auto-sync is turned off.
    Pause,
}
