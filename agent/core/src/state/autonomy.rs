//! What the node does by itself: go back, once, when a deploy fails and it was told beforehand
//! that it may.

use super::State;
use crate::application::{Application, ApplicationKey, DeployState, Phase};
use crate::clock::Now;
use crate::command::derive::derived_id;
use crate::command::payload::{HoldMode, RollbackTarget};
use crate::command::{Refusal, RefusalCode};
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

    /// Rolls back, never twice for one revision. Works without any network but the cluster's.
    pub(super) fn roll_back_alone(
        &mut self,
        now: Now,
        key: &ApplicationKey,
        cause: &str,
        effects: &mut Vec<Effect>,
    ) {
        let Ok((bad, kind)) = self.way_back(key) else {
            return;
        };
        // Made from both, so that there cannot be a second for the same revision.
        let id = derived_id(&format!("auto-{}", key.name), &[&key.to_string(), &bad]);
        let cause = format!("{cause} on {bad}");
        // It went back from there already, or could not keep that over a restart.
        let _ = self.give_own_order(now, (&id, key), Some(&bad), (kind, cause), effects);
    }

    /// The order that leads back to the newest revision that this node saw healthy, and the revision
    /// that it leaves. Never onto one that failed here, never while a command is under way or the
    /// application is held already.
    pub(super) fn way_back(&self, key: &ApplicationKey) -> Result<(String, OrderKind), Refusal> {
        let Some(entry) = self.applications.get(key) else {
            let message = format!("{key} is not there");
            return Err(Refusal::new(RefusalCode::ApplicationNotFound, message));
        };
        if let Some(hold) = &entry.application.hold {
            let message = format!("{key} is held on {} already", hold.to);
            return Err(Refusal::new(RefusalCode::NothingToRollBackTo, message));
        }
        if self.commands.is_active(key) {
            let message = format!("{key}: a command is being carried out");
            return Err(Refusal::new(RefusalCode::Busy, message));
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
        let target = bad.as_deref().and_then(|bad| entry.memory.way_back(bad));
        let (Some(bad), Some(target)) = (bad.clone(), target) else {
            let message = format!("{key}: this node has seen no other revision Healthy");
            return Err(Refusal::new(RefusalCode::NothingToRollBackTo, message));
        };
        let kind = OrderKind::Rollback {
            to: RollbackTarget::Revision(target.to_owned()),
            hold: Some(HoldMode::Pin),
            prune: false,
            allow_managed: false,
            seen_healthy: entry.memory.healthy.clone(),
        };
        Ok((bad, kind))
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
