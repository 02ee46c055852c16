//! What the node does by itself: go back, once, when a deploy fails and it was told beforehand
//! that it may.

use super::State;
use crate::application::{Application, ApplicationKey, DeployState, Phase};
use crate::clock::Now;
use crate::command::derive::derived_id;
use crate::command::payload::{HoldMode, RollbackTarget};
use crate::event::Effect;
use crate::rollout::OrderKind;

impl State {
    /// Starts a rollback if the application is configured for it and has failed.
    pub(super) fn consider_auto_rollback(
        &mut self,
        now: Now,
        key: &ApplicationKey,
        effects: &mut Vec<Effect>,
    ) {
        let name = self.topic_name(key);
        let allowed = self
            .settings
            .auto_rollback
            .iter()
            .find(|(glob, _)| glob.matches(&name))
            .is_some_and(|(_, allowed)| *allowed);
        let Some(entry) = self.applications.get(key) else {
            return;
        };
        if allowed && has_failed_for_good(&entry.application, entry.state) {
            let cause = format!("{name} is {:?}", entry.state);
            self.roll_back_alone(now, key, &cause, effects);
        }
    }

    /// Rolls back to the newest revision that this node saw healthy; never twice for one revision,
    /// never onto one that failed here, never while a command or an operation is under way or the
    /// application is held already. Works without any network but the cluster's.
    pub(super) fn roll_back_alone(
        &mut self,
        now: Now,
        key: &ApplicationKey,
        cause: &str,
        effects: &mut Vec<Effect>,
    ) {
        let Some(entry) = self.applications.get(key) else {
            return;
        };
        if entry.application.hold.is_some() || self.commands.is_active(key) {
            return;
        }
        let failed_operation = entry
            .application
            .operation
            .as_ref()
            .and_then(|operation| operation.revision.clone());
        let bad = match entry.state {
            DeployState::SyncFailed | DeployState::SecurityCheckFailed => failed_operation,
            _ => entry.application.revision.clone(),
        };
        let Some(bad) = bad else { return };
        let Some(target) = entry.memory.way_back(&bad).map(str::to_owned) else {
            return;
        };
        let kind = OrderKind::Rollback {
            to: RollbackTarget::Revision(target.clone()),
            hold: Some(HoldMode::Pin),
            prune: false,
            allow_managed: false,
            seen_healthy: entry.memory.healthy.clone(),
        };
        // Made from both, so that there cannot be a second for the same revision.
        let id = derived_id(&format!("auto-{}", key.name), &[&key.to_string(), &bad]);
        let cause = format!("{cause} on {bad}");
        self.give_own_order(now, (id, key.clone()), &bad, (kind, cause), effects);
    }
}

/// Degraded, or its sync has failed and Argo CD does not try again.
fn has_failed_for_good(application: &Application, state: DeployState) -> bool {
    match state {
        DeployState::Degraded | DeployState::SyncFailed => true,
        DeployState::SecurityCheckFailed => {
            let phase = application.operation.as_ref().map(|it| it.phase);
            matches!(phase, Some(Phase::Failed | Phase::Error))
        }
        _ => false,
    }
}
