//! Finds out why an application is Degraded, by asking its Deployments. The right to do so is optional.

use std::collections::BTreeSet;
use std::time::Duration;

use edge_agent_core::event::{Event, Examination};
use edge_agent_core::wire::Culprit;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::{Cluster, ClusterError, KubeCluster};

/// How long all Deployments of one application may take together.
const DEADLINE: Duration = Duration::from_secs(10);
/// Namespaces of which it is remembered that they may not be read.
const MAX_DENIED: usize = 256;

/// The task that asks.
pub struct Examiner<C = KubeCluster> {
    cluster: C,
    /// Namespaces whose Deployments may not be read, so that it is told once.
    denied: BTreeSet<String>,
}

impl<C: Cluster> Examiner<C> {
    /// Asks the API server of `cluster`.
    pub fn new(cluster: C) -> Self {
        Self {
            cluster,
            denied: BTreeSet::new(),
        }
    }

    /// Runs until `stop`. Nothing waits for it: whatever is wrong, the answer is that nothing was found.
    ///
    /// # Errors
    /// None at present.
    pub async fn run(
        mut self,
        mut examinations: mpsc::Receiver<Examination>,
        events: mpsc::Sender<Event>,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        loop {
            let next = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                next = examinations.recv() => next,
            };
            let Some(examination) = next else {
                stop.cancelled().await;
                return Ok(());
            };
            let culprit = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                found = timeout(DEADLINE, self.examine(&examination)) => found.unwrap_or_default(),
            };
            let event = Event::Examined {
                number: examination.number,
                application: examination.application,
                culprit,
            };
            if events.send(event).await.is_err() {
                debug!("nobody takes events any more");
            }
        }
    }

    /// The first Deployment that has failed, else the first that has too few pods.
    async fn examine(&mut self, examination: &Examination) -> Option<Culprit> {
        let mut found = None;
        for suspect in &examination.suspects {
            let namespace = &suspect.namespace;
            match self.cluster.complaint(suspect).await {
                Ok(complaint) => {
                    self.denied.remove(namespace);
                    let Some(complaint) = complaint else { continue };
                    if complaint.failed {
                        return Some(suspect.culprit(complaint));
                    }
                    found.get_or_insert_with(|| suspect.culprit(complaint));
                }
                Err(ClusterError::Forbidden(_)) => {
                    if self.denied.len() < MAX_DENIED && self.denied.insert(namespace.clone()) {
                        info!(
                            application = %examination.application,
                            namespace,
                            "it is not told which Deployment is at fault, because the agent may not \
                             read them; config/k3s/edge-agent-culprit.yaml gives the right"
                        );
                    }
                    return found;
                }
                Err(ClusterError::NotFound) => {}
                Err(error) => {
                    debug!(application = %examination.application, %error, "cannot ask Deployments");
                    return found;
                }
            }
        }
        found
    }
}
