//! A small Argo CD application controller: one synchronous step at a time, each with the moment at
//! which it wants to be called again. What it does and in which order was taken from the real one
//! (3.5.7): see the fixtures.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::repository::{Manifests, Repository};
use super::scenario::{Behaviour, Pace};
use super::store::{Key, Store};

/// The annotation by which anybody asks for a comparison.
pub(super) const REFRESH: &str = "argocd.argoproj.io/refresh";
const SKIP_RECONCILE: &str = "argocd.argoproj.io/skip-reconcile";

/// Argo CD's own finalizer.
const RESOURCES_FINALIZER: &str = "resources-finalizer.argocd.argoproj.io";

/// What the PreSync hooks run.
pub(super) const HOOK_IMAGE: &str = "registry.local/check:1.0.0";

/// How far the running operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Idle,
    /// Picked up; the revision is to be resolved and the hook, if any, to be started.
    Begin,
    /// The PreSync hook runs.
    Hook,
    /// The manifests are to be applied.
    Apply,
    /// Applied; the comparison is to be written while the operation still shows as running.
    Compare,
    /// The end of the operation is to be written.
    Finish,
    /// Failed; waiting for the next attempt.
    Backoff,
}

/// What runs in the cluster.
#[derive(Debug, Default)]
pub(super) struct Live {
    /// The content that is applied; `None`: nothing.
    pub(super) content: Option<String>,
    /// Somebody changed the live objects by hand.
    pub(super) drifted: bool,
    pub(super) health: Option<&'static str>,
    /// What the health becomes after the operation.
    outcome: Option<&'static str>,
    /// When it does, once the operation has ended.
    pub(super) settles_at: Option<Instant>,
    /// It was Degraded before it was applied to. Its Deployment says so once more before the new pods
    /// make progress.
    was_degraded: bool,
    /// When it says so.
    pub(super) relapses_at: Option<Instant>,
    /// The images of the pods, the old ones too until the new ones are healthy.
    pub(super) images: Vec<String>,
    /// The newest images alone.
    pub(super) new_images: Vec<String>,
    /// The Job of the last hook, which is in the cluster.
    pub(super) hook: Option<String>,
    pub(super) config_maps: BTreeSet<String>,
    /// Of the Deployment.
    pub(super) replicas: u64,
}

impl Live {
    /// Applies manifests; with `prune`, takes away what is not among them.
    pub(super) fn apply(&mut self, manifests: &Manifests, prune: bool) {
        if prune {
            self.config_maps.clear();
        }
        self.config_maps
            .extend(manifests.config_maps.iter().cloned());
        self.replicas = 1;
        let same = self.content.as_deref() == Some(manifests.content.as_str());
        if same && !self.drifted {
            return;
        }
        self.content = Some(manifests.content.clone());
        self.drifted = false;
        self.was_degraded = self.health.replace("Progressing") == Some("Degraded");
        self.relapses_at = None;
        self.settles_at = None;
        self.outcome = match manifests.behaviour {
            Behaviour::ProgressingForever => None,
            Behaviour::Degraded => Some("Degraded"),
            _ => Some("Healthy"),
        };
        self.new_images.clone_from(&manifests.images);
        self.add_images(&manifests.images);
    }

    /// The Job of the hook, and its pod.
    pub(super) fn start_hook(&mut self, name: &str) {
        self.hook = Some(name.to_owned());
        self.add_images(&[HOOK_IMAGE.to_owned()]);
    }

    fn add_images(&mut self, images: &[String]) {
        self.images.extend_from_slice(images);
        self.images.sort();
        self.images.dedup();
    }

    /// The operation has ended: from now on the health settles.
    pub(super) fn begin_to_settle(&mut self, now: Instant, pace: Pace) {
        if self.outcome.is_some() && self.settles_at.is_none() {
            self.settles_at = Some(now + pace.health());
            self.relapses_at = std::mem::take(&mut self.was_degraded)
                .then(|| now + pace.health().saturating_sub(pace.step()));
        }
    }

    /// Lets the health settle. True if it has.
    fn settle(&mut self, now: Instant) -> bool {
        if self.relapses_at.take_if(|at| *at <= now).is_some() {
            self.health = Some("Degraded");
            return true;
        }
        if self.settles_at.is_none_or(|at| at > now) {
            return false;
        }
        self.settles_at = None;
        let Some(health) = self.outcome.take() else {
            return false;
        };
        self.health = Some(health);
        if health == "Healthy" {
            self.images.clone_from(&self.new_images);
        }
        true
    }
}

/// All that the double knows of one application beside its object.
#[derive(Debug)]
pub(super) struct Application {
    pub(super) repository: Repository,
    /// The name of the PreSync hook's Job.
    pub(super) hook: String,
    pub(super) live: Live,
    pub(super) stage: Stage,
    /// When the stage is to be left; `None`: only when the operation is terminated.
    pub(super) due: Option<Instant>,
    /// A comparison was asked for.
    pub(super) compare: bool,
    pub(super) resync_at: Instant,
    /// The next comparison still sees the objects from before the sync.
    pub(super) stale: bool,
    /// When a deleted object's finalizer is removed.
    gone_at: Option<Instant>,
    /// Its object has been there. Before that there is perhaps a repository.
    pub(super) created: bool,
    /// When an operation that is asked for is picked up.
    pub(super) pick_up_at: Option<Instant>,
    /// So many requests to end an operation are written over.
    pub(super) overwrites: u32,
}

impl Application {
    pub(super) fn new(hook: String, now: Instant) -> Self {
        Self {
            repository: Repository::default(),
            hook,
            live: Live::default(),
            stage: Stage::Idle,
            due: None,
            compare: true,
            resync_at: now,
            stale: false,
            gone_at: None,
            created: false,
            pick_up_at: None,
            overwrites: 0,
        }
    }

    /// A live object was changed by hand.
    pub(super) fn drift(&mut self) {
        self.live.drifted = true;
        self.compare = true;
    }
}

/// One look at one application.
pub(super) struct Step<'a> {
    pub(super) store: &'a mut Store,
    pub(super) application: &'a mut Application,
    pub(super) key: &'a Key,
    pub(super) pace: Pace,
    pub(super) now: Instant,
}

impl Step<'_> {
    /// Does what is due. Answers when to be called again if nothing happens.
    pub(super) fn take(mut self) -> Option<Instant> {
        let object = self.object()?;
        // Applications with several sources are left alone: nothing here can render them.
        if object["metadata"]["annotations"][SKIP_RECONCILE] == "true"
            || object["spec"]["source"].is_null()
        {
            return None;
        }
        if !object["metadata"]["deletionTimestamp"].is_null() {
            return self.finalize(&object);
        }
        if self.application.live.settle(self.now) {
            self.application.compare = true;
        }
        let repository = &mut self.application.repository;
        if repository.poll_at.is_some_and(|at| at <= self.now) {
            repository.fetch();
            self.application.compare = true;
        }
        let operation = self.operate();
        self.compare();
        [
            operation,
            self.application.live.relapses_at,
            self.application.live.settles_at,
            self.application.repository.poll_at,
            Some(self.application.resync_at),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    pub(super) fn object(&self) -> Option<Arc<Value>> {
        self.store.get(self.key)
    }

    pub(super) fn write(&mut self, object: Value) {
        self.store.write(self.key, object);
    }

    /// Makes the next stage due after a while.
    pub(super) fn enter(&mut self, stage: Stage, after: Duration) -> Option<Instant> {
        self.application.stage = stage;
        self.application.due = Some(self.now + after);
        self.application.due
    }

    /// Removes the finalizer of a deleted object after a while.
    fn finalize(&mut self, object: &Value) -> Option<Instant> {
        let later = self.now + self.pace.health();
        let at = *self.application.gone_at.get_or_insert(later);
        if self.now < at {
            return Some(at);
        }
        let mut object = object.clone();
        // Those of others are for others to take away.
        if let Some(finalizers) = object["metadata"]["finalizers"].as_array_mut() {
            finalizers.retain(|finalizer| finalizer != RESOURCES_FINALIZER);
            if !finalizers.is_empty() {
                self.write(object);
                return None;
            }
        }
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("finalizers");
        }
        self.write(object);
        None
    }
}
