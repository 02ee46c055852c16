//! From the JSON of the API server to an [`Application`].

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::hold::HoldNote;
use super::lenient::{Object, Objects, Text, Texts};
use super::raw::{
    Destination, OperationState, RawCondition, RawHistory, RawObject, RawResult, Source, SyncPolicy,
};
use super::{
    Application, ApplicationKey, Condition, HealthStatus, HistoryEntry, MAX_OBJECT_BYTES,
    Operation, Phase, ResourceFailure, SyncStatus,
};

/// Entries of a history that are kept.
const MAX_HISTORY: usize = 20;
/// Failed resources, and conditions, that are kept.
const MAX_FINDINGS: usize = 16;
/// Images that are kept.
const MAX_IMAGES: usize = 64;
/// Bytes of a message that are kept.
const MAX_MESSAGE: usize = 1024;

/// Argo CD's names for the cluster that it runs in: the address, and the name.
const IN_CLUSTER: (&str, &str) = ("https://kubernetes.default.svc", "in-cluster");

/// Why bytes are not an Application.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    #[error("the object has {0} bytes, and at most {MAX_OBJECT_BYTES} are read")]
    TooLarge(usize),
    #[error("the object is not JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the object has no metadata.name or no metadata.namespace")]
    Nameless,
}

impl Application {
    /// Reads an Application. Fields that are not needed, words that are not known and optional
    /// fields of an unexpected type are passed over.
    ///
    /// # Errors
    /// When it is larger than [`MAX_OBJECT_BYTES`], not JSON, or has no name.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ParseError> {
        if bytes.len() > MAX_OBJECT_BYTES {
            return Err(ParseError::TooLarge(bytes.len()));
        }
        let raw: Object<RawObject> = serde_json::from_slice(bytes)?;
        raw.take().application()
    }

    /// The same for an object that has been read already.
    ///
    /// # Errors
    /// When it has no name.
    pub fn from_value(object: &Value) -> Result<Self, ParseError> {
        let raw: Object<RawObject> = Object::deserialize(object)?;
        raw.take().application()
    }
}

impl RawObject {
    pub(super) fn key(&self) -> Result<ApplicationKey, ParseError> {
        let metadata = self.metadata.0.as_ref().ok_or(ParseError::Nameless)?;
        match (&metadata.name.0, &metadata.namespace.0) {
            (Some(name), Some(namespace)) if !name.is_empty() && !namespace.is_empty() => {
                Ok(ApplicationKey {
                    namespace: namespace.clone(),
                    name: name.clone(),
                })
            }
            _ => Err(ParseError::Nameless),
        }
    }

    pub(super) fn application(self) -> Result<Application, ParseError> {
        let key = self.key()?;
        let metadata = self.metadata.take();
        let annotations = metadata.annotations.take();
        let spec = self.spec.take();
        let status = self.status.take();
        let sync = status.sync.take();
        let health = status.health.take();
        let health_status = health_status(health.status.0.as_deref());
        // Kept for as long as it is of use: applications are many, and Degraded ones few.
        let suspects = match (health_status, spec.destination.take().here()) {
            (HealthStatus::Degraded, Some(namespace)) => status.resources.0.into_vec(namespace),
            _ => Vec::new(),
        };
        let auto_sync = spec.sync_policy.take().auto_sync();
        let tracked = tracked_revision(spec.source, spec.sources);
        let note = annotations
            .hold
            .0
            .and_then(|text| HoldNote::in_force(&text, &tracked, auto_sync));
        let mut history: Vec<_> = status
            .history
            .objects()
            .rev()
            .filter_map(RawHistory::entry)
            .take(MAX_HISTORY)
            .collect();
        history.reverse();
        Ok(Application {
            key,
            resource_version: metadata.resource_version.0.unwrap_or_default(),
            project: spec.project.0.unwrap_or_default(),
            deleting: metadata.deletion_timestamp.0.is_some(),
            sync: sync_status(sync.status.0.as_deref()),
            revision: joined(sync.revision, sync.revisions),
            health: health_status,
            health_message: health.message.0.map(clip),
            operation_requested: self.operation.0.is_some(),
            operation: status.operation_state.0.map(|state| state.operation()),
            images: (status.summary.take().images.texts())
                .take(MAX_IMAGES)
                .collect(),
            suspects,
            conditions: (status.conditions.objects())
                .filter_map(RawCondition::condition)
                .take(MAX_FINDINGS)
                .collect(),
            reconciled_at: timestamp(status.reconciled_at),
            history,
            hold: note.as_ref().map(HoldNote::hold),
            last_command: annotations.command.0,
            skip_reconcile: annotations.skip_reconcile.0.as_deref() == Some("true"),
            refresh_pending: annotations.refresh.0.is_some(),
            auto_sync,
        })
    }
}

impl Destination {
    /// The namespace to deploy to, if any is given; `None` when it is in another cluster.
    fn here(self) -> Option<Option<String>> {
        let is = |text: &Text, word: &str| text.0.as_deref() == Some(word);
        let here = is(&self.server, IN_CLUSTER.0) || is(&self.name, IN_CLUSTER.1);
        here.then_some(self.namespace.0)
    }
}

impl SyncPolicy {
    fn auto_sync(self) -> bool {
        self.automated
            .0
            .is_some_and(|automated| automated.enabled.0 != Some(false))
    }
}

impl OperationState {
    fn operation(self) -> Operation {
        let asked = self.operation.take();
        let result = self.sync_result.take();
        let wanted = asked.sync.take();
        Operation {
            phase: phase(self.phase.0.as_deref()),
            message: self.message.0.map(clip),
            started_at: timestamp(self.started_at),
            finished_at: timestamp(self.finished_at),
            retry: u32::try_from(self.retry_count.0.unwrap_or(0)).unwrap_or(u32::MAX),
            revision: joined(result.revision, result.revisions)
                .or_else(|| joined(wanted.revision, wanted.revisions)),
            command: (asked.info.objects())
                .find(|info| info.name.0.as_deref() == Some(super::COMMAND_ANNOTATION))
                .and_then(|info| info.value.0),
            automated: asked.initiated_by.take().automated.0 == Some(true),
            failures: (result.resources.objects())
                .filter_map(RawResult::failure)
                .take(MAX_FINDINGS)
                .collect(),
        }
    }
}

impl RawResult {
    /// Hook results carry a `status` too, despite what Argo CD's types say, so a hook is judged by
    /// its phase alone.
    fn failure(self) -> Option<ResourceFailure> {
        let hook_failed = matches!(self.hook_phase.0.as_deref(), Some("Failed" | "Error"));
        let is_hook = self.hook_type.0.as_deref().is_some_and(|t| !t.is_empty());
        let sync_failed = !is_hook && self.status.0.as_deref() == Some("SyncFailed");
        (hook_failed || sync_failed).then(|| ResourceFailure {
            kind: self.kind.0.unwrap_or_default(),
            namespace: self.namespace.0.unwrap_or_default(),
            name: self.name.0.unwrap_or_default(),
            message: clip(self.message.0.unwrap_or_default()),
            pre_sync_hook: self.hook_type.0.as_deref() == Some("PreSync"),
        })
    }
}

impl RawCondition {
    fn condition(self) -> Option<Condition> {
        let kind = self.kind.0?;
        (!kind.ends_with("Warning")).then(|| Condition {
            kind,
            message: clip(self.message.0.unwrap_or_default()),
        })
    }
}

impl RawHistory {
    fn entry(self) -> Option<HistoryEntry> {
        Some(HistoryEntry {
            id: self.id.0?,
            revision: joined(self.revision, self.revisions)?,
            deployed_at: timestamp(self.deployed_at),
        })
    }
}

/// The revision of a single source, or those of all sources joined by commas.
fn joined(revision: Text, revisions: Texts) -> Option<String> {
    let all: Vec<String> = revisions.texts().collect();
    if all.is_empty() {
        revision.0.filter(|text| !text.is_empty())
    } else {
        Some(all.join(","))
    }
}

/// What `spec` follows, in the form of [`joined`].
fn tracked_revision(source: Object<Source>, sources: Objects<Source>) -> String {
    let all: Vec<String> = sources
        .objects()
        .map(|source| source.target_revision.0.unwrap_or_default())
        .collect();
    if all.is_empty() {
        source.take().target_revision.0.unwrap_or_default()
    } else {
        all.join(",")
    }
}

fn timestamp(text: Text) -> Option<Timestamp> {
    text.0?.parse().ok()
}

/// Cuts a message at a character boundary.
fn clip(mut text: String) -> String {
    if text.len() > MAX_MESSAGE {
        let mut end = MAX_MESSAGE;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text
}

fn sync_status(word: Option<&str>) -> SyncStatus {
    match word {
        Some("Synced") => SyncStatus::Synced,
        Some("OutOfSync") => SyncStatus::OutOfSync,
        _ => SyncStatus::Unknown,
    }
}

fn health_status(word: Option<&str>) -> HealthStatus {
    match word {
        Some("Healthy") => HealthStatus::Healthy,
        Some("Progressing") => HealthStatus::Progressing,
        Some("Suspended") => HealthStatus::Suspended,
        Some("Degraded") => HealthStatus::Degraded,
        Some("Missing") => HealthStatus::Missing,
        _ => HealthStatus::Unknown,
    }
}

fn phase(word: Option<&str>) -> Phase {
    match word {
        Some("Running") => Phase::Running,
        Some("Terminating") => Phase::Terminating,
        Some("Succeeded") => Phase::Succeeded,
        Some("Failed") => Phase::Failed,
        Some("Error") => Phase::Error,
        _ => Phase::Unknown,
    }
}
