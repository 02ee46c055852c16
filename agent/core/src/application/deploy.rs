//! The one deploy state of an application, what stands in its way, and what is told of it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use wildmatch::WildMatch;

use super::{
    Application, Condition, DeployState, HealthStatus, Operation, Phase, ResourceFailure,
    SyncStatus,
};
use crate::wire;

/// What the deploy state depends on beside the application.
#[derive(Debug, Clone)]
pub struct Rules {
    /// An application that was not compared for longer than this has no known state.
    pub stale_after: Duration,
    /// Names of PreSync hooks that are security checks.
    pub security_hooks: Vec<WildMatch>,
}

impl Rules {
    /// From the globs of the settings.
    #[must_use]
    pub fn new(stale_after: Duration, security_hooks: &[String]) -> Self {
        Self {
            stale_after,
            security_hooks: security_hooks.iter().map(|g| WildMatch::new(g)).collect(),
        }
    }

    fn is_security_failure(&self, failure: &ResourceFailure) -> bool {
        // A hook that was ended together with its operation has not judged anything.
        failure.pre_sync_hook
            && failure.message != "Terminated"
            && self.security_hooks.iter().any(|g| g.matches(&failure.name))
    }
}

/// Reduces an application to its deploy state: the first rule of the table that matches. The other
/// half of [`DeployState::Offline`], a watch that is stale, is the caller's to know.
#[must_use]
pub fn deploy_state(app: &Application, rules: &Rules, now: Timestamp) -> DeployState {
    if is_stale(app, rules, now) {
        return DeployState::Offline;
    }
    if app.deleting {
        return DeployState::Deleting;
    }
    operation_state(app, rules).unwrap_or_else(|| compared_state(app))
}

fn is_stale(app: &Application, rules: &Rules, now: Timestamp) -> bool {
    let limit = SignedDuration::try_from(rules.stale_after).unwrap_or(SignedDuration::MAX);
    app.reconciled_at
        .is_some_and(|at| now.duration_since(at) > limit)
}

/// The rules that look at the operation.
fn operation_state(app: &Application, rules: &Rules) -> Option<DeployState> {
    let operation = app.operation.as_ref();
    // Argo CD leaves `operation` set while it waits to retry, so that it does not mean that one is
    // under way.
    let retrying = operation.is_some_and(is_waiting_to_retry);
    match operation.map(|operation| operation.phase) {
        Some(Phase::Terminating) => return Some(DeployState::Terminating),
        Some(Phase::Running) if !retrying => return Some(DeployState::Syncing),
        _ if app.operation_requested && !retrying => return Some(DeployState::Syncing),
        _ => {}
    }
    let overtaken = app.operation_overtaken();
    let failed = operation.is_some_and(|operation| operation.phase.is_failure());
    let check_failed = operation.is_some_and(|operation| {
        (failed || retrying)
            && (operation.failures.iter()).any(|failure| rules.is_security_failure(failure))
    });
    if check_failed && !overtaken {
        Some(DeployState::SecurityCheckFailed)
    } else if retrying {
        Some(DeployState::Retrying)
    } else if (failed || has_condition(app, "SyncError")) && !overtaken {
        Some(DeployState::SyncFailed)
    } else {
        None
    }
}

/// The rules that look at the comparison and the health.
fn compared_state(app: &Application) -> DeployState {
    if app.sync == SyncStatus::Unknown
        || has_condition(app, "ComparisonError")
        || has_condition(app, "InvalidSpecError")
    {
        return DeployState::Unknown;
    }
    match app.health {
        HealthStatus::Degraded => DeployState::Degraded,
        HealthStatus::Missing => DeployState::Missing,
        HealthStatus::Progressing => DeployState::Progressing,
        HealthStatus::Suspended => DeployState::Suspended,
        HealthStatus::Unknown => DeployState::Unknown,
        HealthStatus::Healthy if app.hold.is_some() => DeployState::RolledBack,
        HealthStatus::Healthy if app.sync == SyncStatus::OutOfSync => DeployState::OutOfSync,
        HealthStatus::Healthy => DeployState::Healthy,
    }
}

/// Between two attempts an operation keeps the phase Running, and has a time at which it ended.
fn is_waiting_to_retry(operation: &Operation) -> bool {
    operation.phase == Phase::Running && operation.finished_at.is_some()
}

fn has_condition(app: &Application, kind: &str) -> bool {
    app.conditions
        .iter()
        .any(|condition| condition.kind == kind)
}

/// What keeps the application from being well: the failed hook, else the failed resource, else the
/// application itself with the message of its condition or of its health.
#[must_use]
pub fn culprit(app: &Application) -> Option<wire::Culprit> {
    let operation = (app.operation.as_ref())
        .filter(|operation| operation.phase != Phase::Succeeded && !app.operation_overtaken());
    let failures = operation.map_or(&[][..], |operation| &operation.failures);
    let failure = failures
        .iter()
        .find(|failure| failure.pre_sync_hook)
        .or(failures.first());
    if let Some(failure) = failure {
        return Some(wire::Culprit {
            kind: failure.kind.clone(),
            namespace: failure.namespace.clone(),
            name: failure.name.clone(),
            message: failure.message.clone(),
        });
    }
    let unhealthy = matches!(app.health, HealthStatus::Degraded | HealthStatus::Missing);
    let message = worst_condition(app)
        .map(|condition| format!("{}: {}", condition.kind, condition.message))
        .or_else(|| {
            operation
                .filter(|operation| operation.phase.is_failure())
                .and_then(|operation| operation.message.clone())
        })
        .or_else(|| app.health_message.clone().filter(|_| unhealthy))?;
    Some(wire::Culprit {
        kind: "Application".to_owned(),
        namespace: app.key.namespace.clone(),
        name: app.key.name.clone(),
        message,
    })
}

/// A failed comparison explains a failed sync, and not the other way round.
fn worst_condition(app: &Application) -> Option<&Condition> {
    let is_sync_error = |condition: &&Condition| condition.kind == "SyncError";
    app.conditions
        .iter()
        .find(|condition| !is_sync_error(condition))
        .or_else(|| {
            app.conditions
                .iter()
                .find(is_sync_error)
                .filter(|_| !app.operation_overtaken())
        })
}

/// What is told of an application on the broker.
#[must_use]
pub fn report(app: &Application, state: DeployState, at: Timestamp) -> wire::App {
    wire::App {
        v: wire::VERSION,
        at,
        application: app.key.name.clone(),
        namespace: app.key.namespace.clone(),
        project: app.project.clone(),
        state,
        sync: app.sync.as_str().to_owned(),
        health: app.health.as_str().to_owned(),
        revision: app.revision.clone(),
        images: app.images.clone(),
        operation: app.operation.as_ref().map(|operation| wire::AppOperation {
            phase: operation.phase.as_str().to_owned(),
            message: operation.message.clone(),
            started_at: operation.started_at,
            finished_at: operation.finished_at,
            retry: operation.retry,
        }),
        culprit: culprit(app),
        hold: app.hold.as_ref().map(|hold| wire::AppHold {
            mode: hold.mode,
            from: hold.from.clone(),
            to: hold.to.clone(),
            command: hold.command.clone(),
            reason: hold.reason.clone(),
            since: hold.since,
        }),
        reconciled_at: app.reconciled_at,
    }
}
