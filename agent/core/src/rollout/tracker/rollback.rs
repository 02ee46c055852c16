//! Whether a rollback has come to its end: held by a pin, or on a revision that git does not say.

use super::super::evidence::{failed_comparison, is_compared_since, operation_failure};
use super::super::verdict::{Verdict, superseded};
use super::{COMPARISON_GRACE, Progress, Tracker};
use crate::application::{Application, SyncStatus};
use crate::command::payload::HoldMode;

impl Tracker {
    pub(super) fn judge_pin(&mut self, app: &Application) -> Verdict {
        match &app.hold {
            Some(hold) if hold.mode == HoldMode::Pin && self.is_target_text(&hold.to) => {}
            _ => return superseded("somebody has ended the hold".to_owned()),
        }
        if app.operation_in_progress() {
            return Verdict::Wait;
        }
        let to_target = app.operation.as_ref().filter(|operation| {
            self.is_target(&operation.revision) || operation.command.as_ref() == Some(&self.command)
        });
        if let Some(failed) = to_target.and_then(operation_failure) {
            return Verdict::Ended(Progress::Failed(failed));
        }
        if let Some(why) = failed_comparison(app) {
            return Verdict::Bad(why, COMPARISON_GRACE);
        }
        if app.sync == SyncStatus::Synced && self.is_target(&app.revision) {
            return self.judge_health(app);
        }
        Verdict::Wait
    }

    pub(super) fn judge_aside(&mut self, app: &Application, paused: bool) -> Verdict {
        if paused && app.auto_sync {
            return if self.reached {
                superseded("somebody has turned auto-sync on again".to_owned())
            } else {
                Verdict::Ended(Progress::Failed(
                    "auto-sync is still on: Argo CD before 3.1 does not know \
                     syncPolicy.automated.enabled; roll back with a pin instead"
                        .to_owned(),
                ))
            };
        }
        self.reached |= paused;
        if app.operation_requested {
            return Verdict::Wait;
        }
        let Some(operation) = app.operation.as_ref() else {
            return Verdict::Wait;
        };
        if !self.is_target(&operation.revision) {
            let replaced = self.reached && !operation.phase.is_failure();
            return match &operation.revision {
                Some(next) if replaced => superseded(format!("a sync to {next} has replaced it")),
                _ => Verdict::Wait,
            };
        }
        self.reached = true;
        if operation.phase.is_open() {
            return Verdict::Wait;
        }
        if let Some(failed) = operation_failure(operation) {
            return Verdict::Ended(Progress::Failed(failed));
        }
        let synced = app.sync == SyncStatus::Synced && self.is_target(&app.revision);
        if (synced || self.is_deployed(app)) && is_compared_since(app) {
            return self.judge_health(app);
        }
        Verdict::Wait
    }
}
