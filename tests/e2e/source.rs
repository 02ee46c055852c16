//! Where events come from: Applications of the cluster double that fail to sync, again and again,
//! each time with another revision. The agent tells every one of them at once.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::support::cluster::{ApplicationSpec, Behaviour, ClusterDouble, Commit, Pace, sha};

const NAMESPACE: &str = "argocd";

/// How many applications take turns.
const APPLICATIONS: u64 = 10;

/// A cluster double in a runtime of its own. Dropping it ends it.
pub(crate) struct Hosted {
    pub(crate) double: Arc<ClusterDouble>,
    kubeconfig: PathBuf,
    /// Ends the runtime that the double lives in.
    end: CancellationToken,
}

impl Hosted {
    /// One whose kubeconfig lies in `directory`.
    pub(crate) fn start(directory: &Path, pace: Pace) -> Self {
        let (sender, receiver) = std::sync::mpsc::channel();
        let end = CancellationToken::new();
        let ended = end.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                sender.send(ClusterDouble::start(pace).await).unwrap();
                ended.cancelled().await;
            });
        });
        let double = receiver.recv().unwrap();
        Self {
            kubeconfig: double.write_kubeconfig(directory),
            double: Arc::new(double),
            end,
        }
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig.clone()
    }
}

impl Drop for Hosted {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

/// The source. Dropping it ends the cluster double.
pub(crate) struct Source {
    cluster: Hosted,
    count: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Source {
    /// A source whose kubeconfig lies in `directory`. Nothing happens until [`Source::run`].
    pub(crate) fn start(directory: &Path) -> Self {
        let cluster = Hosted::start(directory, Pace::fast());
        let double = &cluster.double;
        double.freeze_controller(true);
        for index in 0..APPLICATIONS {
            let commit = Commit::new(sha(1), Behaviour::Healthy);
            double.create_application(NAMESPACE, &name(index), ApplicationSpec::manual(commit));
        }
        Self {
            cluster,
            count: Arc::default(),
            stop: Arc::default(),
            thread: None,
        }
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.cluster.kubeconfig()
    }

    /// Lets one application fail once more; returns its name and the revision.
    pub(crate) fn fail_once(&self) -> (String, String) {
        fail(
            &self.cluster.double,
            self.count.fetch_add(1, Ordering::SeqCst),
        )
    }

    /// Lets them fail so many times a second from now on.
    pub(crate) fn run(&mut self, per_second: u32) {
        let (double, count) = (Arc::clone(&self.cluster.double), Arc::clone(&self.count));
        let stop = Arc::clone(&self.stop);
        stop.store(false, Ordering::SeqCst);
        self.thread = Some(std::thread::spawn(move || {
            let mut next = Instant::now();
            while !stop.load(Ordering::SeqCst) {
                fail(&double, count.fetch_add(1, Ordering::SeqCst));
                next += Duration::from_secs(1) / per_second;
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
        }));
    }

    /// Ends [`Source::run`]; returns how many failures there have been.
    pub(crate) fn pause(&mut self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        self.count.load(Ordering::SeqCst)
    }

    /// The revision that an application failed with last, of those that have.
    pub(crate) fn last_revisions(&self) -> Vec<(String, String)> {
        let count = self.count.load(Ordering::SeqCst);
        (count.saturating_sub(APPLICATIONS)..count)
            .map(|number| (name(number), revision(number)))
            .collect()
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.pause();
    }
}

fn name(number: u64) -> String {
    format!("app-{}", number % APPLICATIONS)
}

/// Grows with the number, as text too.
pub(crate) fn revision(number: u64) -> String {
    format!("{number:040x}")
}

fn fail(double: &ClusterDouble, number: u64) -> (String, String) {
    let (name, revision) = (name(number), revision(number));
    let at = "2026-11-24T12:00:00Z";
    double.merge(
        NAMESPACE,
        &name,
        &json!({"status": {
            "sync": {"status": "OutOfSync", "revision": revision},
            "health": {"status": "Healthy"},
            "reconciledAt": null,
            "operationState": {
                "operation": {"sync": {"revision": revision}},
                "phase": "Failed",
                "message": "one or more objects failed to apply",
                "startedAt": at,
                "finishedAt": at,
                "syncResult": {"revision": revision},
            },
        }}),
    );
    (name, revision)
}
