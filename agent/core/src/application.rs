//! The part of an Argo CD Application that we read, and the one deploy state that it reduces to.

mod deploy;
pub(crate) mod hold;
mod lenient;
mod parse;
mod raw;
pub mod stream;
#[cfg(test)]
pub(crate) mod tests;
pub mod workload;

use std::fmt;

use jiff::Timestamp;

pub use deploy::{Rules, culprit, deploy_state, report};
pub use hold::{COMMAND_ANNOTATION, HOLD_ANNOTATION};
pub use parse::ParseError;

/// Argo CD's annotation that asks for a new comparison, `normal` or `hard`; removed when it is done.
pub const REFRESH_ANNOTATION: &str = "argocd.argoproj.io/refresh";

/// Argo CD's annotation that makes its controller leave an Application alone.
pub const SKIP_RECONCILE_ANNOTATION: &str = "argocd.argoproj.io/skip-reconcile";

/// An Application, or a line of a watch, beyond this many bytes is not read. The API server itself
/// stores no object above 1.5 MiB.
pub const MAX_OBJECT_BYTES: usize = 4 * 1024 * 1024;

/// Names one Application in the cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApplicationKey {
    /// Kubernetes namespace of the Application object (not of what it deploys).
    pub namespace: String,
    /// Name of the Application object.
    pub name: String,
}

impl ApplicationKey {
    /// Reads `name` (in `default_namespace`) or `namespace/name`; `None` when a part is not a
    /// Kubernetes name.
    #[must_use]
    pub fn parse(text: &str, default_namespace: &str) -> Option<Self> {
        let (namespace, name) = text.split_once('/').unwrap_or((default_namespace, text));
        (is_kubernetes_name(namespace) && is_kubernetes_name(name)).then(|| Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }

    /// The name on the broker: `name` in the first configured namespace, `<namespace>_<name>` in
    /// the others. Unambiguous, because no Kubernetes name has an underscore.
    #[must_use]
    pub fn topic_name(&self, first_namespace: &str) -> String {
        if self.namespace == first_namespace {
            self.name.clone()
        } else {
            format!("{}_{}", self.namespace, self.name)
        }
    }
}

/// Whether a text is a DNS subdomain name, as Kubernetes wants of names and (more strictly) of
/// namespaces. The check keeps whatever a command says out of the path of a request.
#[must_use]
pub fn is_kubernetes_name(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    (1..=253).contains(&text.len())
        && text
            .bytes()
            .all(|byte| inner(byte) || byte == b'-' || byte == b'.')
        && text.bytes().next().is_some_and(inner)
        && text.bytes().last().is_some_and(inner)
}

impl fmt::Display for ApplicationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What we read of an Application. Made by [`Application::from_json`]; everything else of the
/// object is forgotten, so that memory follows the number of applications and not their size.
#[derive(Debug, Clone, PartialEq)]
pub struct Application {
    pub key: ApplicationKey,
    pub resource_version: String,
    pub project: String,
    /// `metadata.deletionTimestamp` is set.
    pub deleting: bool,
    /// `status.sync.status`.
    pub sync: SyncStatus,
    /// `status.sync.revision`, or the revisions of all sources joined by `,`.
    pub revision: Option<String>,
    /// `status.health.status`.
    pub health: HealthStatus,
    /// `status.health.message`, where Argo CD still gives one.
    pub health_message: Option<String>,
    /// `operation` is set: asked for and not picked up yet.
    pub operation_requested: bool,
    /// `status.operationState`.
    pub operation: Option<Operation>,
    /// `status.summary.images`.
    pub images: Vec<String>,
    /// The workloads that may be why it is Degraded, the likeliest first, at most
    /// [`workload::MAX_SUSPECTS`]; empty while it is not Degraded, or deploys to another cluster.
    pub suspects: Vec<workload::Suspect>,
    /// `status.conditions`, warnings left out.
    pub conditions: Vec<Condition>,
    /// `status.reconciledAt`.
    pub reconciled_at: Option<Timestamp>,
    /// The newest entries of `status.history`, oldest first, at most 20.
    pub history: Vec<HistoryEntry>,
    /// How we hold the application, as our annotation tells.
    pub hold: Option<Hold>,
    /// The id of the last command that we carried out on it, as our annotation tells.
    pub last_command: Option<String>,
    /// `argocd.argoproj.io/skip-reconcile` is `true`.
    pub skip_reconcile: bool,
    /// The refresh annotation is set: asked for and not acknowledged yet.
    pub refresh_pending: bool,
    /// `spec.syncPolicy.automated` is set and not disabled.
    pub auto_sync: bool,
}

impl Application {
    /// The operation is under way or asked for. A failed attempt that waits for its retry counts.
    #[must_use]
    pub fn operation_in_progress(&self) -> bool {
        self.operation_requested
            || self
                .operation
                .as_ref()
                .is_some_and(|operation| operation.phase.is_open())
    }

    /// Whether the application has since come to another revision than its last operation was for,
    /// so that what became of that operation says nothing about it any more.
    #[must_use]
    pub fn operation_overtaken(&self) -> bool {
        let Some(tried) = self.operation.as_ref().and_then(|o| o.revision.as_ref()) else {
            return false;
        };
        self.sync == SyncStatus::Synced && self.revision.as_ref().is_some_and(|is| is != tried)
    }
}

/// `status.sync.status`. Unknown words read as [`SyncStatus::Unknown`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncStatus {
    Synced,
    OutOfSync,
    Unknown,
}

impl SyncStatus {
    /// The word that Argo CD has for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Synced => "Synced",
            Self::OutOfSync => "OutOfSync",
            Self::Unknown => "Unknown",
        }
    }
}

/// `status.health.status`. Unknown words read as [`HealthStatus::Unknown`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthStatus {
    Healthy,
    Progressing,
    Suspended,
    Degraded,
    Missing,
    Unknown,
}

impl HealthStatus {
    /// The word that Argo CD has for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "Healthy",
            Self::Progressing => "Progressing",
            Self::Suspended => "Suspended",
            Self::Degraded => "Degraded",
            Self::Missing => "Missing",
            Self::Unknown => "Unknown",
        }
    }
}

/// `status.operationState`.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    pub phase: Phase,
    pub message: Option<String>,
    pub started_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
    /// `retryCount`.
    pub retry: u32,
    /// `syncResult.revision`, or those of all sources joined by `,`; else the revision asked for.
    pub revision: Option<String>,
    /// The command id in `operation.info`, if the operation is ours.
    pub command: Option<String>,
    /// `operation.initiatedBy.automated`.
    pub automated: bool,
    /// The resources and hooks of `syncResult.resources` that failed.
    pub failures: Vec<ResourceFailure>,
}

/// `status.operationState.phase`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    Running,
    Terminating,
    Succeeded,
    Failed,
    Error,
    /// A word that this version does not know.
    Unknown,
}

impl Phase {
    /// The word that Argo CD has for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "Running",
            Self::Terminating => "Terminating",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Error => "Error",
            Self::Unknown => "Unknown",
        }
    }

    /// The operation is not over: it runs, waits for its retry, or is being ended.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, Self::Running | Self::Terminating)
    }

    /// The operation is over and did not do what it was to do.
    #[must_use]
    pub fn is_failure(self) -> bool {
        matches!(self, Self::Failed | Self::Error)
    }
}

/// A resource or hook that Argo CD could not bring where it should be.
#[derive(Debug, Clone, PartialEq)]
pub struct ResourceFailure {
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub message: String,
    /// It is a hook of the PreSync phase.
    pub pre_sync_hook: bool,
}

/// An entry of `status.conditions`.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// `ComparisonError`, `InvalidSpecError`, `SyncError`, `DeletionError`, `UnknownError`, ….
    pub kind: String,
    pub message: String,
}

/// An entry of `status.history`: a sync that was applied (which says nothing of its health).
#[derive(Debug, Clone, PartialEq)]
pub struct HistoryEntry {
    pub id: u64,
    /// The revision, or those of all sources joined by `,`.
    pub revision: String,
    pub deployed_at: Option<Timestamp>,
}

/// How we hold an application after a rollback, as our annotation on it says.
#[derive(Debug, Clone, PartialEq)]
pub struct Hold {
    pub mode: crate::command::payload::HoldMode,
    /// The revision that it was on before.
    pub from: Option<String>,
    /// The revision that it is held on.
    pub to: String,
    /// The command that ordered it; `None` when the node did so by itself.
    pub command: Option<String>,
    /// Why the node did so by itself.
    pub reason: Option<String>,
    pub since: Option<Timestamp>,
}

/// What an application is reduced to; the first rule of the table that matches (design, section 7).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub enum DeployState {
    Offline,
    Deleting,
    Terminating,
    Syncing,
    SecurityCheckFailed,
    Retrying,
    SyncFailed,
    Unknown,
    Degraded,
    Missing,
    Progressing,
    Suspended,
    RolledBack,
    OutOfSync,
    Healthy,
}

impl DeployState {
    /// Every state, in the order in which the first that applies is taken.
    pub const ALL: [Self; 15] = [
        Self::Offline,
        Self::Deleting,
        Self::Terminating,
        Self::Syncing,
        Self::SecurityCheckFailed,
        Self::Retrying,
        Self::SyncFailed,
        Self::Unknown,
        Self::Degraded,
        Self::Missing,
        Self::Progressing,
        Self::Suspended,
        Self::RolledBack,
        Self::OutOfSync,
        Self::Healthy,
    ];
}
