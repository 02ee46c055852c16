//! An Application that is made up, and what Argo CD would show of it while it goes from one revision
//! to the next.

use std::time::Duration;

use edge_agent_core::application::{
    Application, ApplicationKey, HealthStatus, HistoryEntry, Hold, Operation, Phase,
    ResourceFailure, SyncStatus,
};
use edge_agent_core::command::payload::HoldMode;
use edge_agent_core::command::{Refusal, RefusalCode};
use edge_agent_core::rollout::{Applied, Order, OrderKind, Outcome};
use jiff::Timestamp;

use super::dice::Dice;

/// What becomes of a revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Healthy,
    Degraded,
    /// A security check fails before anything is changed.
    Stopped,
    SyncFails,
}

/// A step that Argo CD takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// It compares, and finds nothing new.
    Compare,
    /// It finds a commit in git.
    Find { revision: String, fate: Fate },
    /// It starts to sync; the command that asked for it, if git did not.
    Sync(Fate, Option<String>),
    /// The sync is over.
    Synced(Fate),
    /// What runs now is well, or is not.
    Settled(Fate),
}

/// How often things are when nobody is in a hurry.
pub(crate) const COMPARES: Duration = Duration::from_secs(180);
pub(crate) const DEPLOYS: Duration = Duration::from_secs(6 * 3600);

const NAMES: [&str; 8] = [
    "shop",
    "camera",
    "kiosk",
    "sensor-hub",
    "label-printer",
    "scale",
    "turnstile",
    "signage",
];

/// A few different applications.
pub(crate) fn applications(dice: &mut Dice, now: Timestamp) -> Vec<Application> {
    let first = dice.below(NAMES.len());
    let count = 1 + dice.below(4);
    let names = NAMES.iter().cycle().skip(first).take(count);
    names.map(|name| application(name, dice, now)).collect()
}

fn application(name: &str, dice: &mut Dice, now: Timestamp) -> Application {
    let ago = |seconds: f64| now - Duration::from_secs_f64(seconds);
    let deployed = ago(dice.between(600.0, 20.0 * 86400.0));
    let before = HistoryEntry {
        id: 1,
        revision: dice.sha(),
        deployed_at: Some(deployed - Duration::from_secs(86400)),
    };
    let revision = dice.sha();
    let last = HistoryEntry {
        id: 2,
        revision: revision.clone(),
        deployed_at: Some(deployed),
    };
    Application {
        key: ApplicationKey {
            namespace: "argocd".to_owned(),
            name: name.to_owned(),
        },
        resource_version: "1".to_owned(),
        project: "default".to_owned(),
        deleting: false,
        sync: SyncStatus::Synced,
        revision: Some(revision.clone()),
        health: HealthStatus::Healthy,
        health_message: None,
        operation_requested: false,
        operation: Some(Operation {
            finished_at: Some(deployed),
            ..operation(Phase::Succeeded, &revision, deployed)
        }),
        images: vec![image(name, dice)],
        suspects: Vec::new(),
        conditions: Vec::new(),
        reconciled_at: Some(now),
        history: vec![before, last],
        hold: None,
        last_command: None,
        skip_reconcile: false,
        refresh_pending: false,
        auto_sync: true,
    }
}

fn image(name: &str, dice: &mut Dice) -> String {
    format!("registry.example/acme/{name}@sha256:{}", dice.digest())
}

fn operation(phase: Phase, revision: &str, at: Timestamp) -> Operation {
    Operation {
        phase,
        message: None,
        started_at: Some(at),
        finished_at: None,
        retry: 0,
        revision: Some(revision.to_owned()),
        command: None,
        automated: true,
        failures: Vec::new(),
    }
}

/// What becomes of most commits, and of some.
pub(crate) fn fate(dice: &mut Dice) -> Fate {
    match dice.share() {
        share if share < 0.90 => Fate::Healthy,
        share if share < 0.95 => Fate::Degraded,
        share if share < 0.98 => Fate::Stopped,
        _ => Fate::SyncFails,
    }
}

/// Takes a step; returns what comes next, and after how long.
pub(crate) fn take(
    app: &mut Application,
    step: Step,
    dice: &mut Dice,
    now: Timestamp,
) -> Option<(Duration, Step)> {
    app.reconciled_at = Some(now);
    app.refresh_pending = false;
    match step {
        Step::Compare => None,
        Step::Find { revision, fate } => {
            app.revision = Some(revision);
            app.sync = SyncStatus::OutOfSync;
            Some((dice.seconds(0.3, 2.0), Step::Sync(fate, None)))
        }
        Step::Sync(fate, command) => {
            let revision = app.revision.clone().unwrap_or_default();
            app.operation = Some(Operation {
                automated: command.is_none(),
                command,
                ..operation(Phase::Running, &revision, now)
            });
            app.sync = SyncStatus::OutOfSync;
            let takes = match fate {
                Fate::Healthy | Fate::Degraded => dice.seconds(2.0, 8.0),
                Fate::Stopped => dice.seconds(15.0, 60.0),
                Fate::SyncFails => dice.seconds(1.0, 4.0),
            };
            Some((takes, Step::Synced(fate)))
        }
        Step::Synced(fate) => synced(app, fate, dice, now),
        Step::Settled(fate) => {
            app.health = HealthStatus::Healthy;
            app.health_message = None;
            if fate == Fate::Degraded {
                app.health = HealthStatus::Degraded;
                let name = &app.key.name;
                app.health_message = Some(format!(
                    "Deployment \"{name}\" exceeded its progress deadline"
                ));
            }
            None
        }
    }
}

fn synced(
    app: &mut Application,
    fate: Fate,
    dice: &mut Dice,
    now: Timestamp,
) -> Option<(Duration, Step)> {
    let operation = app.operation.as_mut()?;
    operation.finished_at = Some(now);
    let name = app.key.name.clone();
    let failure = |kind: &str, name: String, message: &str, pre_sync_hook| ResourceFailure {
        kind: kind.to_owned(),
        namespace: "shop".to_owned(),
        name,
        message: message.to_owned(),
        pre_sync_hook,
    };
    match fate {
        Fate::Healthy | Fate::Degraded => {
            operation.phase = Phase::Succeeded;
            operation.message = Some("successfully synced (all tasks run)".to_owned());
            app.sync = SyncStatus::Synced;
            app.health = HealthStatus::Progressing;
            app.images = vec![image(&name, dice)];
            let id = app.history.last().map_or(0, |entry| entry.id) + 1;
            app.history.push(HistoryEntry {
                id,
                revision: app.revision.clone().unwrap_or_default(),
                deployed_at: Some(now),
            });
            let old = app.history.len().saturating_sub(10);
            app.history.drain(..old);
            let waits = match fate {
                Fate::Healthy => dice.seconds(5.0, 45.0),
                _ => dice.seconds(60.0, 120.0),
            };
            return Some((waits, Step::Settled(fate)));
        }
        Fate::Stopped => {
            operation.failures = vec![failure(
                "Job",
                format!("{name}-security-gate"),
                "the quality gate is failed",
                true,
            )];
        }
        Fate::SyncFails => {
            operation.failures = vec![failure(
                "Deployment",
                name,
                "spec.template.spec.containers[0].image: Required value",
                false,
            )];
        }
    }
    operation.phase = Phase::Failed;
    operation.message = Some("one or more synchronization tasks are not valid".to_owned());
    None
}

/// Carries an order out, as far as Argo CD accepts it, and says what comes next.
pub(crate) fn obey(
    app: &mut Application,
    order: &Order,
    dice: &mut Dice,
    now: Timestamp,
) -> (Outcome, Option<(Duration, Step)>) {
    let from = app.revision.clone();
    let soon = dice.seconds(0.3, 2.0);
    let (revision, hold, step) = match &order.kind {
        OrderKind::Rollback { .. } => {
            let Some(previous) = previous(app) else {
                let why = "the history has no other revision";
                let refusal = Refusal::new(RefusalCode::NothingToRollBackTo, why);
                return (Outcome::Refused(refusal), None);
            };
            app.hold = Some(Hold {
                mode: HoldMode::Pin,
                from: from.clone(),
                to: previous.clone(),
                command: Some(order.command.clone()),
                reason: None,
                since: Some(now),
            });
            let step = Step::Sync(Fate::Healthy, Some(order.command.clone()));
            (Some(previous), Some(HoldMode::Pin), step)
        }
        OrderKind::Rollout { revision } => {
            let step = Step::Find {
                revision: revision.clone(),
                fate: Fate::Healthy,
            };
            (Some(revision.clone()), None, step)
        }
        OrderKind::Resume => match app.hold.take().and_then(|hold| hold.from) {
            Some(revision) => {
                let fate = Fate::Healthy;
                (None, None, Step::Find { revision, fate })
            }
            None => (None, None, Step::Compare),
        },
        OrderKind::Refresh { .. } | OrderKind::Lookup => (None, None, Step::Compare),
    };
    app.last_command = Some(order.command.clone());
    if hold.is_some() {
        app.revision.clone_from(&revision);
        app.sync = SyncStatus::OutOfSync;
    } else {
        app.refresh_pending = true;
    }
    let applied = Applied {
        revision,
        from,
        hold,
    };
    (Outcome::Applied(applied), Some((soon, step)))
}

/// The revision before this one.
fn previous(app: &Application) -> Option<String> {
    let older = app.history.iter().rev().map(|entry| &entry.revision);
    older
        .into_iter()
        .find(|revision| Some(*revision) != app.revision.as_ref())
        .cloned()
}
