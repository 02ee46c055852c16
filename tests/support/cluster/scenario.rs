//! What a test or the demo tells the double: how fast time goes, what is in git, how it behaves.

use std::time::Duration;

use serde_json::{Value, json};

/// How fast the double goes. Every delay is a multiple of one unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    unit: Duration,
    polls_git: bool,
    cache: Option<Duration>,
}

impl Pace {
    /// A delay is a few milliseconds: for tests.
    pub(crate) fn fast() -> Self {
        Self::with_unit(Duration::from_millis(4))
    }

    /// A delay is about a second: for people who watch.
    pub(crate) fn story() -> Self {
        Self::with_unit(Duration::from_secs(1))
    }

    /// Any other pace; `unit` is about the time that a rollout takes to become healthy.
    pub(crate) fn with_unit(unit: Duration) -> Self {
        Self {
            unit,
            polls_git: true,
            cache: None,
        }
    }

    /// A new commit is seen only when somebody asks for a refresh, as on a controller whose branch
    /// cache (3 minutes) is still warm.
    pub(crate) fn without_polling(self) -> Self {
        Self {
            polls_git: false,
            ..self
        }
    }

    /// A new commit is seen by the first comparison that is made so long after it.
    pub(crate) fn with_cache(self, cache: Duration) -> Self {
        Self {
            polls_git: false,
            cache: Some(cache),
            ..self
        }
    }

    /// How old a commit has to be until any comparison sees it; `None`: that is not enough.
    pub(super) fn cache(self) -> Option<Duration> {
        self.cache
    }

    /// From an operation that is asked for until it is picked up.
    pub(super) fn pick_up(self) -> Duration {
        self.unit / 4
    }

    /// From one write of the controller to its next.
    pub(super) fn step(self) -> Duration {
        self.unit / 4
    }

    /// How long a PreSync hook takes.
    pub(super) fn hook(self) -> Duration {
        self.unit
    }

    /// From applied to Healthy or Degraded.
    pub(super) fn health(self) -> Duration {
        self.unit * 2
    }

    /// The wait before retry `n` (from 1): doubled each time, at most four units.
    pub(super) fn backoff(self, n: u64) -> Duration {
        self.unit * (1 << n.saturating_sub(1).min(2))
    }

    /// From a push until the controller sees it by itself; `None`: never.
    pub(super) fn poll(self) -> Option<Duration> {
        self.polls_git.then_some(self.unit / 2)
    }

    /// From one comparison to the next when nothing happens. Never under a second, because
    /// `reconciledAt` has no finer resolution.
    pub(super) fn resync(self) -> Duration {
        (self.unit * 10).max(Duration::from_secs(1))
    }
}

/// What comes of a commit when it is rolled out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// Progressing, then Healthy.
    Healthy,
    /// Progressing, then Degraded.
    Degraded,
    /// Progressing, and nothing else.
    ProgressingForever,
    /// A PreSync hook runs and passes; then as [`Behaviour::Healthy`].
    PreSyncPasses,
    /// The PreSync hook fails every time. An automated sync is retried `retries` times and then given
    /// up; one that somebody else asked for is retried as its own `operation.retry.limit` says.
    PreSyncFails { retries: u32 },
    /// The PreSync hook runs until the operation is terminated.
    PreSyncHangs,
    /// The API server refuses the Deployment.
    SyncFails,
}

impl Behaviour {
    pub(super) fn has_hook(self) -> bool {
        matches!(
            self,
            Self::PreSyncPasses | Self::PreSyncFails { .. } | Self::PreSyncHangs
        )
    }
}

/// A commit in the git repository of one application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Commit {
    /// The full SHA.
    pub(crate) sha: String,
    /// The images of its Deployment.
    pub(crate) images: Vec<String>,
    pub(crate) behaviour: Behaviour,
    /// The name of the PreSync hook's Job; `None`: as the application is set up.
    pub(crate) hook: Option<String>,
    /// How long that hook takes; `None`: as the pace says.
    pub(crate) hook_takes: Option<Duration>,
    /// The names of its ConfigMaps.
    pub(crate) config_maps: Vec<String>,
}

impl Commit {
    /// A commit with one image, whose tag is the beginning of the SHA.
    pub(crate) fn new(sha: impl Into<String>, behaviour: Behaviour) -> Self {
        let sha = sha.into();
        let tag: String = sha.chars().take(7).collect();
        Self {
            images: vec![format!("registry.local/shop:{tag}")],
            sha,
            behaviour,
            hook: None,
            hook_takes: None,
            config_maps: Vec::new(),
        }
    }
}

/// A full SHA for tests: `digit` (0 to 15), forty times.
pub(crate) fn sha(digit: u8) -> String {
    format!("{:x}", digit & 0xf).repeat(40)
}

/// How an application is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApplicationSpec {
    /// `spec.syncPolicy.automated`; without it the first commit is OutOfSync and Missing.
    pub(crate) auto_sync: bool,
    /// `spec.syncPolicy.automated.selfHeal`.
    pub(crate) self_heal: bool,
    /// `spec.syncPolicy.automated.prune`.
    pub(crate) prune: bool,
    /// What is on the branch at first.
    pub(crate) first_commit: Commit,
    /// `spec.syncPolicy.retry.limit`; `None` is Argo CD's own default of 5 for automated syncs.
    pub(crate) retry_limit: Option<u32>,
    /// The name of the PreSync hook's Job, of commits that have one.
    pub(crate) hook: String,
    /// The resources finalizer: a deletion takes a while, and shows as `deletionTimestamp`.
    pub(crate) finalizer: bool,
}

impl ApplicationSpec {
    /// Auto-sync with prune and self-heal, as most people have it.
    pub(crate) fn automated(first_commit: Commit) -> Self {
        Self {
            auto_sync: true,
            self_heal: true,
            prune: true,
            first_commit,
            retry_limit: None,
            hook: "security-gate".to_owned(),
            finalizer: false,
        }
    }

    /// No auto-sync: somebody has to ask for every sync.
    pub(crate) fn manual(first_commit: Commit) -> Self {
        Self {
            auto_sync: false,
            self_heal: false,
            prune: false,
            ..Self::automated(first_commit)
        }
    }

    /// The Application object, as `kubectl apply` is given it.
    pub(super) fn object(&self, name: &str) -> Value {
        let mut policy = json!({"syncOptions": ["CreateNamespace=true"]});
        if self.auto_sync {
            // As `kubectl apply` leaves it: what is false is not there.
            policy["automated"] = json!({});
            if self.prune {
                policy["automated"]["prune"] = json!(true);
            }
            if self.self_heal {
                policy["automated"]["selfHeal"] = json!(true);
            }
        }
        if let Some(limit) = self.retry_limit {
            policy["retry"] = json!({
                "backoff": {"duration": "5s", "factor": 2, "maxDuration": "3m"},
                "limit": limit,
            });
        }
        let mut object = json!({
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Application",
            "metadata": {"name": name},
            "spec": {
                "destination": {"namespace": name, "server": "https://kubernetes.default.svc"},
                "project": "default",
                "source": {
                    "path": name,
                    "repoURL": "file:///srv/git/environment.git",
                    "targetRevision": "main",
                },
                "syncPolicy": policy,
            },
        });
        if self.finalizer {
            object["metadata"]["finalizers"] = json!(["resources-finalizer.argocd.argoproj.io"]);
        }
        object
    }
}
