//! Commands: who may order what, and whether this one is to be obeyed.
//!
//! An envelope travels `envelope` (signature over the bytes received) → `payload` (typed, closed)
//! → `keyring` (authority) → `admission` (audience, time, sequence). Only what has passed the first
//! three is a [`envelope::VerifiedCommand`]; only what has passed all is executed.

pub mod admission;
pub mod derive;
mod dsse;
mod encoding;
pub mod envelope;
pub mod key;
pub mod keyring;
mod keyring_file;
mod label;
pub mod memory;
mod object;
mod parse;
pub mod payload;
pub mod record;
mod result;
pub mod unsigned;
pub mod update;

use serde::{Deserialize, Serialize};

/// Why a command was refused. The names are stable: pipelines match on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalCode {
    /// Not a DSSE envelope, or its payload is not the JSON that its type promises.
    Malformed,
    /// Envelope, payload or number of signatures beyond the limit.
    TooLarge,
    /// A payload type that this node does not accept.
    UnsupportedType,
    /// No signature is by a key of the keyring.
    UnknownKey,
    /// A signature that does not verify.
    BadSignature,
    /// Fewer valid signatures by different keys than this command needs.
    ThresholdNotMet,
    /// Addressed to other nodes.
    WrongAudience,
    /// Its time is over.
    Expired,
    /// Issued in the future of a synchronized clock.
    NotYetValid,
    /// The clock was not synchronized in time to judge the expiry.
    ClockUnsynchronized,
    /// Its sequence is not above the highest one accepted from this key for this scope.
    Replayed,
    /// A known id with other bytes.
    IdReused,
    /// The key may not order this, or not for this application.
    NotPermitted,
    /// A command name that this node does not know.
    UnknownCommand,
    /// Arguments missing, of the wrong type, out of range, or unknown.
    InvalidArguments,
    /// Another command for the application is still running, or too many wait.
    Busy,
    /// The ledger could not be read or written, so a replay could not be told apart.
    LedgerUnavailable,
    /// Delivered as a retained message.
    Retained,
    /// No such Application, or not in a configured namespace.
    ApplicationNotFound,
    /// The Application is being deleted.
    ApplicationDeleting,
    /// An operation is running (rollout only).
    OperationInProgress,
    /// The Application is written by an ApplicationSet or another Application.
    ManagedByParent,
    /// The wanted revision or id is not in the Application's history.
    NotInHistory,
    /// The history holds nothing but the current revision.
    NothingToRollBackTo,
    /// The Application's source is hydrated, so its revision cannot be pinned.
    HydratedSource,
    /// The Application carries the skip-reconcile annotation, so nothing would happen.
    SkipReconcile,
    /// The Kubernetes API server could not be reached.
    ApiUnreachable,
    /// Somebody else kept writing the Application at the same moment.
    Conflict,
}

impl RefusalCode {
    /// Every code.
    pub const ALL: [Self; 28] = [
        Self::Malformed,
        Self::TooLarge,
        Self::UnsupportedType,
        Self::UnknownKey,
        Self::BadSignature,
        Self::ThresholdNotMet,
        Self::WrongAudience,
        Self::Expired,
        Self::NotYetValid,
        Self::ClockUnsynchronized,
        Self::Replayed,
        Self::IdReused,
        Self::NotPermitted,
        Self::UnknownCommand,
        Self::InvalidArguments,
        Self::Busy,
        Self::LedgerUnavailable,
        Self::Retained,
        Self::ApplicationNotFound,
        Self::ApplicationDeleting,
        Self::OperationInProgress,
        Self::ManagedByParent,
        Self::NotInHistory,
        Self::NothingToRollBackTo,
        Self::HydratedSource,
        Self::SkipReconcile,
        Self::ApiUnreachable,
        Self::Conflict,
    ];

    /// The stable name, as in payloads and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::UnsupportedType => "unsupported_type",
            Self::UnknownKey => "unknown_key",
            Self::BadSignature => "bad_signature",
            Self::ThresholdNotMet => "threshold_not_met",
            Self::WrongAudience => "wrong_audience",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::ClockUnsynchronized => "clock_unsynchronized",
            Self::Replayed => "replayed",
            Self::IdReused => "id_reused",
            Self::NotPermitted => "not_permitted",
            Self::UnknownCommand => "unknown_command",
            Self::InvalidArguments => "invalid_arguments",
            Self::Busy => "busy",
            Self::LedgerUnavailable => "ledger_unavailable",
            Self::Retained => "retained",
            Self::ApplicationNotFound => "application_not_found",
            Self::ApplicationDeleting => "application_deleting",
            Self::OperationInProgress => "operation_in_progress",
            Self::ManagedByParent => "managed_by_parent",
            Self::NotInHistory => "not_in_history",
            Self::NothingToRollBackTo => "nothing_to_roll_back_to",
            Self::HydratedSource => "hydrated_source",
            Self::SkipReconcile => "skip_reconcile",
            Self::ApiUnreachable => "api_unreachable",
            Self::Conflict => "conflict",
        }
    }
}

impl std::fmt::Display for RefusalCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A command that is not obeyed: the stable code, and a sentence for a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    /// The stable code.
    pub code: RefusalCode,
    /// What is wrong and, where there is something to do, what to do.
    pub message: String,
}

impl Refusal {
    /// Joins a code and its sentence.
    pub fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}
