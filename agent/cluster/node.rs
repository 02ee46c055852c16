//! Asks the API server now and then about itself and about the node that the agent runs on.
//!
//! The rights for it are optional (`config/k3s/edge-agent-node.yaml`): what the agent may not see stays
//! unknown, and is not asked for again for a while.

use std::future::Future;
use std::time::Duration;

use edge_agent_core::event::Event;
use edge_agent_core::health::{KubernetesView, Pods};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{ClusterError, KubeCluster};

/// How often it is asked.
const EVERY: Duration = Duration::from_secs(30);

/// How long an answer may take. A busy board answers late, and that is not yet a fault.
const LIMIT: Duration = Duration::from_secs(10);

/// So many bad answers in a row are believed: one may come while the server is being replaced.
const BELIEVED: u32 = 2;

/// How long something is left alone that the agent has no right to, or that is not there.
const DENIED_FOR: Duration = Duration::from_secs(600);

/// Bytes of `/readyz` that are read.
const MAX_READY: usize = 4 * 1024;

/// Bytes of a node that are read: with the names of all its images it has some tens of kilobytes.
const MAX_NODE: usize = 512 * 1024;

/// Bytes of the table of pods that are read: a row has about 200.
const MAX_PODS: usize = 512 * 1024;

const JSON: &str = "application/json";

/// As `kubectl get` asks: a row for each pod instead of all that it is made of.
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

/// What is needed of an API server here.
pub trait NodeApi: Send + Sync {
    /// The answer to GET of a path, of at most so many bytes.
    fn read(
        &self,
        path: &str,
        accept: &'static str,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<u8>, ClusterError>> + Send;
}

/// The task that asks.
pub struct NodeViewer<A = KubeCluster> {
    api: A,
    node: Option<String>,
    failures: u32,
    node_denied: Denied,
    pods_denied: Denied,
}

/// Until when something is left alone.
#[derive(Default)]
struct Denied(Option<Instant>);

impl<A: NodeApi> NodeViewer<A> {
    /// Asks about the node of this name in Kubernetes; without one only about the API server.
    pub fn new(api: A, node: Option<&str>) -> Self {
        Self {
            api,
            node: node.map(str::to_owned),
            failures: 0,
            node_denied: Denied::default(),
            pods_denied: Denied::default(),
        }
    }

    /// Runs until `stop`.
    ///
    /// # Errors
    /// None at present.
    pub async fn run(
        mut self,
        events: mpsc::Sender<Event>,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let ask = async {
            loop {
                let view = self.look().await;
                if events.send(Event::NodeViewed(view)).await.is_err() {
                    return;
                }
                sleep(EVERY).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = ask => {}
        }
        Ok(())
    }

    async fn look(&mut self) -> KubernetesView {
        let api = self.ready().await;
        if api != Some(true) {
            return KubernetesView {
                api,
                ..KubernetesView::default()
            };
        }
        let Some(node) = self.node.clone() else {
            return KubernetesView {
                api,
                ..KubernetesView::default()
            };
        };
        KubernetesView {
            pods: self.pods(&node).await,
            ..self.conditions(&node).await
        }
    }

    async fn ready(&mut self) -> Option<bool> {
        let answer = timeout(LIMIT, self.api.read("/readyz", JSON, MAX_READY)).await;
        let bad = match answer {
            Ok(Ok(_)) => false,
            Ok(Err(
                ClusterError::NotConfigured(_)
                | ClusterError::Unauthorized(_)
                | ClusterError::Forbidden(_),
            )) => {
                self.failures = 0;
                return None;
            }
            Ok(Err(_)) | Err(_) => true,
        };
        self.failures = if bad { self.failures + 1 } else { 0 };
        match self.failures {
            0 => Some(true),
            count if count < BELIEVED => None,
            _ => Some(false),
        }
    }

    /// The view without pods, from the node's own conditions.
    async fn conditions(&mut self, node: &str) -> KubernetesView {
        let path = format!("/api/v1/nodes/{node}");
        let read = self.api.read(&path, JSON, MAX_NODE);
        let bytes = self.node_denied.ask("the node", read).await;
        let node = bytes.and_then(|bytes| serde_json::from_slice::<Node>(&bytes).ok());
        let condition = |kind: &str| {
            let mut conditions = node.as_ref()?.status.conditions.iter();
            let found = conditions.find(|condition| condition.kind == kind)?;
            match found.status.as_str() {
                "True" => Some(true),
                "False" => Some(false),
                _ => None,
            }
        };
        let reported = node.is_some();
        KubernetesView {
            api: Some(true),
            // Unknown is what the server says of a kubelet that it has not heard of.
            node_ready: reported.then(|| condition("Ready") == Some(true)),
            memory_pressure: condition("MemoryPressure"),
            disk_pressure: condition("DiskPressure"),
            pods: None,
        }
    }

    async fn pods(&mut self, node: &str) -> Option<Pods> {
        let path = format!(
            "/api/v1/pods?fieldSelector=spec.nodeName%3D{node}%2Cstatus.phase%21%3DSucceeded%2C\
             status.phase%21%3DFailed&includeObject=None&resourceVersion=0"
        );
        let read = self.api.read(&path, TABLE, MAX_PODS);
        let bytes = self.pods_denied.ask("the pods", read).await?;
        serde_json::from_slice::<Table>(&bytes).ok()?.pods()
    }
}

impl Denied {
    /// Asks unless it is in vain. Whatever goes wrong leaves the answer unknown.
    async fn ask(
        &mut self,
        what: &str,
        read: impl Future<Output = Result<Vec<u8>, ClusterError>>,
    ) -> Option<Vec<u8>> {
        if self.0.is_some_and(|until| Instant::now() < until) {
            return None;
        }
        let known = self.0.take().is_some();
        match timeout(LIMIT, read).await.ok()? {
            Ok(bytes) => Some(bytes),
            Err(error @ (ClusterError::Forbidden(_) | ClusterError::NotFound)) => {
                self.0 = Some(Instant::now() + DENIED_FOR);
                if !known {
                    let why = match error {
                        ClusterError::NotFound => {
                            "there is none of this name, see cluster.node_name"
                        }
                        _ => "the optional config/k3s/edge-agent-node.yaml would allow it",
                    };
                    info!("Kubernetes does not tell about {what}: {why}");
                }
                None
            }
            Err(_) => None,
        }
    }
}

#[derive(Deserialize)]
struct Node {
    #[serde(default)]
    status: NodeStatus,
}

#[derive(Default, Deserialize)]
struct NodeStatus {
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

/// `meta.k8s.io/v1`, Table.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Table {
    column_definitions: Vec<Column>,
    #[serde(default)]
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Column {
    name: String,
}

#[derive(Deserialize)]
struct Row {
    cells: Vec<serde_json::Value>,
}

impl Table {
    /// `None` when it is no table of pods.
    fn pods(&self) -> Option<Pods> {
        let column = |name| {
            let mut columns = self.column_definitions.iter();
            columns.position(|column| column.name == name)
        };
        let (name, ready) = (column("Name")?, column("Ready")?);
        let mut unready = self.rows.iter().filter(|row| {
            let text = row.text(ready).and_then(|text| text.split_once('/'));
            text.is_some_and(|(ready, of)| ready != of)
        });
        let example = unready.next();
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Some(Pods {
            count: count(self.rows.len()),
            not_ready: count(unready.count() + usize::from(example.is_some())),
            example: example
                .and_then(|row| row.text(name))
                .map(|name| name.chars().take(253).collect()),
        })
    }
}

impl Row {
    fn text(&self, column: usize) -> Option<&str> {
        self.cells.get(column)?.as_str()
    }
}

#[cfg(test)]
mod tests;
