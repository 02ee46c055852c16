//! The git repository of one application, and what the controller has seen of it.

use std::time::Duration;

use tokio::time::Instant;

use super::scenario::{Behaviour, Commit};

/// A commit and what its manifests hold: two commits with the same content need no sync between
/// them.
#[derive(Debug, Clone)]
pub(super) struct Manifests {
    pub(super) sha: String,
    /// The SHA of the commit that first had this content.
    pub(super) content: String,
    pub(super) images: Vec<String>,
    pub(super) behaviour: Behaviour,
    pub(super) hook: Option<String>,
    pub(super) hook_takes: Option<Duration>,
    pub(super) config_maps: Vec<String>,
}

#[derive(Debug, Default)]
pub(super) struct Repository {
    commits: Vec<Manifests>,
    /// How many of the commits the controller's branch cache knows.
    seen: usize,
    /// When the controller looks at the branch by itself.
    pub(super) poll_at: Option<Instant>,
    /// When the newest commit was made.
    pushed_at: Option<Instant>,
}

impl Repository {
    pub(super) fn push(&mut self, commit: Commit, poll_at: Option<Instant>) {
        self.commits.push(Manifests {
            content: commit.sha.clone(),
            sha: commit.sha,
            images: commit.images,
            behaviour: commit.behaviour,
            hook: commit.hook,
            hook_takes: commit.hook_takes,
            config_maps: commit.config_maps,
        });
        self.poll_at = poll_at;
        self.pushed_at = Some(Instant::now());
    }

    /// Commits the content of `of` again, as `git revert` does. False if there is no such commit.
    pub(super) fn push_revert(&mut self, sha: &str, of: &str, poll_at: Option<Instant>) -> bool {
        let Some(mut manifests) = self.commit(of).cloned() else {
            return false;
        };
        sha.clone_into(&mut manifests.sha);
        self.commits.push(manifests);
        self.poll_at = poll_at;
        true
    }

    /// Whether there is a commit that is older than that and was not seen yet.
    pub(super) fn has_unseen(&self, age: Duration, now: Instant) -> bool {
        let old = self.pushed_at.is_some_and(|at| at + age <= now);
        old && self.seen < self.commits.len()
    }

    /// Drops the branch cache: what was pushed is seen now.
    pub(super) fn fetch(&mut self) {
        self.seen = self.commits.len();
        self.poll_at = None;
    }

    /// What a `targetRevision` stands for; `None` if git does not know it.
    pub(super) fn resolve(&self, revision: &str) -> Option<&Manifests> {
        match revision {
            "main" | "HEAD" | "" => self.commits[..self.seen].last(),
            sha => self.commit(sha),
        }
    }

    fn commit(&self, sha: &str) -> Option<&Manifests> {
        self.commits.iter().rev().find(|commit| commit.sha == sha)
    }
}
