//! The JSON of an Application, as far as it is read. Every field may be missing or of another type.

use serde::Deserialize;

use super::lenient::{Flag, Lenient, Number, Object, Objects, Text, Texts};
use super::workload::Suspects;

/// As much of an object in a list or a watch as is read: of an Application, and of the `Status`
/// that takes its place when something is wrong.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RawObject {
    pub(super) metadata: Object<Metadata>,
    pub(super) spec: Object<Spec>,
    pub(super) operation: Object<Empty>,
    pub(super) status: Object<Status>,
    pub(super) code: Number,
    pub(super) message: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Metadata {
    pub(super) name: Text,
    pub(super) namespace: Text,
    pub(super) resource_version: Text,
    pub(super) deletion_timestamp: Text,
    pub(super) annotations: Object<Annotations>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Annotations {
    #[serde(rename = "edge-agent.io/hold")]
    pub(super) hold: Text,
    #[serde(rename = "edge-agent.io/command")]
    pub(super) command: Text,
    #[serde(rename = "argocd.argoproj.io/refresh")]
    pub(super) refresh: Text,
    #[serde(rename = "argocd.argoproj.io/skip-reconcile")]
    pub(super) skip_reconcile: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Spec {
    pub(super) project: Text,
    pub(super) destination: Object<Destination>,
    pub(super) source: Object<Source>,
    pub(super) sources: Objects<Source>,
    pub(super) sync_policy: Object<SyncPolicy>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Destination {
    pub(super) server: Text,
    pub(super) name: Text,
    pub(super) namespace: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Source {
    pub(super) target_revision: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SyncPolicy {
    pub(super) automated: Object<Automated>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Automated {
    pub(super) enabled: Flag,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Empty {}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Status {
    pub(super) sync: Object<Sync>,
    pub(super) health: Object<Health>,
    pub(super) operation_state: Object<OperationState>,
    pub(super) summary: Object<Summary>,
    pub(super) resources: Lenient<Suspects>,
    pub(super) conditions: Objects<RawCondition>,
    pub(super) reconciled_at: Text,
    pub(super) history: Objects<RawHistory>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Sync {
    pub(super) status: Text,
    pub(super) revision: Text,
    pub(super) revisions: Texts,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Health {
    pub(super) status: Text,
    pub(super) message: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct OperationState {
    pub(super) phase: Text,
    pub(super) message: Text,
    pub(super) started_at: Text,
    pub(super) finished_at: Text,
    pub(super) retry_count: Number,
    pub(super) operation: Object<RawOperation>,
    pub(super) sync_result: Object<SyncResult>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RawOperation {
    pub(super) info: Objects<Info>,
    pub(super) initiated_by: Object<InitiatedBy>,
    pub(super) sync: Object<Sync>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Info {
    pub(super) name: Text,
    pub(super) value: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct InitiatedBy {
    pub(super) automated: Flag,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct SyncResult {
    pub(super) revision: Text,
    pub(super) revisions: Texts,
    pub(super) resources: Objects<RawResult>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RawResult {
    pub(super) kind: Text,
    pub(super) namespace: Text,
    pub(super) name: Text,
    pub(super) message: Text,
    pub(super) status: Text,
    pub(super) hook_type: Text,
    pub(super) hook_phase: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Summary {
    pub(super) images: Texts,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RawCondition {
    #[serde(rename = "type")]
    pub(super) kind: Text,
    pub(super) message: Text,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RawHistory {
    pub(super) id: Number,
    pub(super) revision: Text,
    pub(super) revisions: Texts,
    pub(super) deployed_at: Text,
}
