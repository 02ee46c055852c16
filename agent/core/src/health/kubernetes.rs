//! Judges K3s: the service, its API server, and what that says of the node.

use std::time::Duration;

use super::limits::reason;
use super::recent::Recent;
use super::{K3s, Pods};
use crate::wire::{Reason, Status};

/// Uptime, in seconds, up to which a K3s that does not answer is taken to be starting.
const GRACE_SECONDS: u64 = 300;

/// How long pods may be on their way: an image is pulled over a slow line, a rollout replaces them.
const PODS_GRACE: Duration = Duration::from_secs(300);

/// What is remembered of K3s.
#[derive(Debug, Clone, Default)]
pub(super) struct K3sMemory {
    pods_since: Option<Duration>,
    oom_kills: Recent,
}

impl K3sMemory {
    pub(super) fn judge(&mut self, k3s: &K3s, uptime: Option<u64>, now: Duration) -> Vec<Reason> {
        let view = &k3s.kubernetes;
        let kills = self.oom_kills.step(k3s.oom_kills, now);
        let mut reasons: Vec<Reason> = Vec::new();
        reasons.extend(kills.and_then(killed));
        let pods = self.judge_pods(view.pods.as_ref(), now);
        let broken = judge_service(k3s, uptime);
        if broken.is_some() {
            // Nothing that it says of pods is news then.
            reasons.extend(broken);
            return reasons;
        }
        reasons.extend(pressure("memory", view.memory_pressure));
        reasons.extend(pressure("disk", view.disk_pressure));
        reasons.extend(pods);
        reasons
    }

    fn judge_pods(&mut self, pods: Option<&Pods>, now: Duration) -> Option<Reason> {
        let Some(pods) = pods.filter(|pods| pods.not_ready > 0) else {
            self.pods_since = None;
            return None;
        };
        let since = *self.pods_since.get_or_insert(now);
        if now.saturating_sub(since) < PODS_GRACE {
            return None;
        }
        let subject = match (pods.not_ready, &pods.example) {
            (1, Some(pod)) => format!("the pod {pod} is not ready"),
            (1, None) => "one pod is not ready".to_owned(),
            (count, Some(pod)) => format!("{count} pods are not ready, {pod} among them"),
            (count, None) => format!("{count} pods are not ready"),
        };
        reason("k3s:pods", Status::Warning, |_| {
            format!("{subject}, and so it has been for more than 5 minutes")
        })
    }
}

/// Only the first cause: without the service there is no API server, and without that no node.
fn judge_service(k3s: &K3s, uptime_seconds: Option<u64>) -> Option<Reason> {
    let cause = if k3s.service == Some(false) {
        "K3s is not running"
    } else if k3s.kubernetes.api == Some(false) {
        "the API server of K3s is not ready"
    } else if k3s.kubernetes.node_ready == Some(false) {
        "K3s says that this node is not ready"
    } else {
        return None;
    };
    let starting = uptime_seconds.is_some_and(|uptime| uptime < GRACE_SECONDS);
    let (status, suffix) = if starting {
        (Status::Warning, "; the board has only just started")
    } else {
        (Status::Critical, "")
    };
    reason("k3s", status, |_| format!("{cause}{suffix}"))
}

fn killed(count: u64) -> Option<Reason> {
    reason("k3s:oom", Status::Warning, |_| {
        format!(
            "the kernel killed {} of K3s itself for want of memory within the last hour",
            processes(count)
        )
    })
}

/// `one process`, `2 processes`.
pub(super) fn processes(count: u64) -> String {
    match count {
        1 => "one process".to_owned(),
        count => format!("{count} processes"),
    }
}

fn pressure(what: &str, present: Option<bool>) -> Option<Reason> {
    let status = match present {
        Some(true) => Status::Critical,
        _ => Status::Ok,
    };
    reason(&format!("k3s:{what}_pressure"), status, |_| {
        format!("K3s evicts pods from this node, because {what} is short")
    })
}
