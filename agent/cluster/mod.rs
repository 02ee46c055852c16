//! The cluster: Argo CD's Applications are watched and, for commands, written.
//!
//! [`Watcher`], [`Executor`] and [`Examiner`] are the tasks; all speak to the API server through the
//! port [`Cluster`], and [`connect`] makes the one that stands for a real API server. [`NodeViewer`] asks
//! it about the node.

mod examiner;
mod executor;
#[cfg(test)]
mod fake;
mod kube;
mod lines;
mod node;
#[cfg(test)]
mod tests;
mod token;
mod watcher;

use std::future::Future;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

use edge_agent_core::application::ApplicationKey;
use edge_agent_core::application::stream::{Change, Page};
use edge_agent_core::application::workload::{Complaint, Suspect};
use futures::stream::BoxStream;
use serde_json::Value;

pub use self::examiner::Examiner;
pub use self::executor::Executor;
pub use self::kube::{KubeCluster, connect};
pub use self::node::{NodeApi, NodeViewer};
pub use self::watcher::Watcher;

/// The changes that a watch delivers, until the API server or the network ends it.
pub type Changes = BoxStream<'static, Result<Change, ClusterError>>;

/// What the agent needs of a Kubernetes API server with Argo CD.
pub trait Cluster: Send + Sync {
    /// One page of the Applications of a namespace; `next` is that of the page before.
    fn list(
        &self,
        namespace: &str,
        next: Option<&str>,
    ) -> impl Future<Output = Result<Page, ClusterError>> + Send;

    /// The changes in a namespace from a resource version on, for less than a minute.
    fn watch(
        &self,
        namespace: &str,
        resource_version: &str,
    ) -> impl Future<Output = Result<Changes, ClusterError>> + Send;

    /// The whole object.
    fn get(
        &self,
        application: &ApplicationKey,
    ) -> impl Future<Output = Result<Value, ClusterError>> + Send;

    /// Applies a JSON Patch.
    fn patch(
        &self,
        application: &ApplicationKey,
        patch: &Value,
    ) -> impl Future<Output = Result<(), ClusterError>> + Send;

    /// Applies a merge patch, which is to hold annotations only.
    fn annotate(
        &self,
        application: &ApplicationKey,
        patch: &Value,
    ) -> impl Future<Output = Result<(), ClusterError>> + Send;

    /// What a workload says is wrong with it.
    fn complaint(
        &self,
        suspect: &Suspect,
    ) -> impl Future<Output = Result<Option<Complaint>, ClusterError>> + Send;
}

/// Why the cluster did not do what was asked; a sentence for a person each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClusterError {
    /// There is nothing to connect to, or what there is cannot be used.
    #[error("no cluster configured: {0}")]
    NotConfigured(String),
    /// The request was not sent.
    #[error("cannot reach the API server: {0}")]
    Unreachable(String),
    /// The request may have been sent and carried out, but there was no answer to it.
    #[error("the API server did not answer: {0}")]
    Interrupted(String),
    #[error(
        "the API server does not accept the agent's token ({0}); \
         see whether the timer that renews it runs"
    )]
    Unauthorized(String),
    #[error("the agent's ServiceAccount lacks a right, apply its Role again: {0}")]
    Forbidden(String),
    #[error("there is no such Application")]
    NotFound,
    #[error("the Application was written by somebody else at the same moment")]
    Conflict,
    /// The test of a patch did not hold, or the result would not be valid.
    #[error("the API server refuses the change: {0}")]
    Invalid(String),
    /// The resource version or the page is too old to go on from.
    #[error("the API server has forgotten where we were")]
    Gone,
    #[error("the API server has too much to do")]
    TooManyRequests {
        /// How long it wants to be left alone.
        retry_after: Option<Duration>,
    },
    #[error("Argo CD is not installed: the API server knows no applications.argoproj.io/v1alpha1")]
    CrdMissing,
    #[error("unexpected answer of the API server: {0}")]
    Other(String),
}

/// A random number from 0 to 1, to spread retries; nothing secret depends on it.
fn random() -> f64 {
    let bits = u32::try_from(RandomState::new().build_hasher().finish() >> 32).unwrap_or(0);
    f64::from(bits) / f64::from(u32::MAX)
}
