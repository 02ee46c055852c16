//! Finds out why an application is Degraded, by asking its workloads. The right to do so is optional.

use std::collections::BTreeSet;
use std::time::Duration;

use edge_agent_core::application::workload::Workload;
use edge_agent_core::event::{Event, Examination};
use edge_agent_core::wire::Culprit;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};

use super::{Cluster, ClusterError, KubeCluster};

/// How long all workloads of one application may take together.
const DEADLINE: Duration = Duration::from_secs(10);
/// Namespaces, by kind, of which it is remembered that they may not be read.
const MAX_DENIED: usize = 256;

/// The task that asks.
pub struct Examiner<C = KubeCluster> {
    cluster: C,
    /// What may not be read in which namespace, so that it is told once.
    denied: BTreeSet<(Workload, String)>,
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

    /// The first workload that has failed, else the first that has too few pods. Those that may not be
    /// read are passed over: a right that was given before Jobs were asked, too, is for Deployments only.
    async fn examine(&mut self, examination: &Examination) -> Option<Culprit> {
        let mut found = None;
        let mut refused = BTreeSet::new();
        for suspect in &examination.suspects {
            let what = (suspect.workload, suspect.namespace.clone());
            if refused.contains(&what) {
                continue;
            }
            match self.cluster.complaint(suspect).await {
                Ok(complaint) => {
                    self.denied.remove(&what);
                    let Some(complaint) = complaint else { continue };
                    if complaint.failed {
                        return Some(suspect.culprit(complaint));
                    }
                    found.get_or_insert_with(|| suspect.culprit(complaint));
                }
                Err(ClusterError::Forbidden(_)) => {
                    if self.denied.len() < MAX_DENIED && self.denied.insert(what.clone()) {
                        info!(
                            application = %examination.application,
                            namespace = what.1,
                            kind = what.0.kind(),
                            "the agent may not read this kind here, so it is not told which one is at \
                             fault; config/k3s/edge-agent-culprit.yaml gives the right"
                        );
                    }
                    refused.insert(what);
                }
                Err(ClusterError::NotFound) => {}
                Err(error) => {
                    debug!(application = %examination.application, %error, "cannot ask workloads");
                    return found;
                }
            }
        }
        found
    }
}
