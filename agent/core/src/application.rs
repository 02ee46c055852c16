//! The part of an Argo CD Application that we read, and the one deploy state that it reduces to.

use std::fmt;

use jiff::Timestamp;

/// Names one Application in the cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ApplicationKey {
    /// Kubernetes namespace of the Application object (not of what it deploys).
    pub namespace: String,
    /// Name of the Application object.
    pub name: String,
}

impl fmt::Display for ApplicationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What we read of an Application. Made by [`Application::from_object`]; everything else of the
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

/// `status.sync.status`. Unknown words read as [`SyncStatus::Unknown`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncStatus {
    Synced,
    OutOfSync,
    Unknown,
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
