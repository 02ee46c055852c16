//! What the node does by itself: go back, once, when a deploy fails and it was told beforehand
//! that it may.

use super::State;
use crate::application::{ApplicationKey, DeployState};
use crate::clock::Now;
use crate::command::payload::{HoldMode, RollbackTarget};
use crate::event::Effect;
use crate::rollout::OrderKind;

impl State {
    /// Starts a rollback if the application is configured for it and has just failed.
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
        let failed = matches!(entry.state, DeployState::Degraded | DeployState::SyncFailed);
        if !allowed || !failed || self.commands.is_active(key) {
            return;
        }
        let reason = format!("{name} is {:?}", entry.state);
        self.roll_back_alone(now, key, &reason, effects);
    }

    /// Rolls back to the newest revision that this node saw healthy; never twice for one revision,
    /// never onto one that failed here, never while the application is held already. Returns whether
    /// a rollback was started.
    pub(super) fn roll_back_alone(
        &mut self,
        now: Now,
        key: &ApplicationKey,
        reason: &str,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let Some(entry) = self.applications.get(key) else {
            return false;
        };
        if entry.application.hold.is_some() {
            return false;
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
        let Some(bad) = bad else { return false };
        let target = entry
            .seen_healthy
            .iter()
            .find(|revision| **revision != bad && !entry.seen_failed.contains(*revision))
            .cloned();
        let Some(target) = target else { return false };
        let id = own_command_id(key, &bad);
        if self.commands.was_given(&id) {
            return false;
        }
        let kind = OrderKind::Rollback {
            to: RollbackTarget::Revision(target),
            hold: Some(HoldMode::Pin),
            prune: false,
            allow_managed: false,
            seen_healthy: entry.seen_healthy.clone(),
        };
        self.give_own_order(now, key.clone(), id, kind, reason, effects);
        true
    }
}

/// The id of the one rollback that the node orders by itself for a failed revision: made from both,
/// so that there cannot be a second.
fn own_command_id(key: &ApplicationKey, bad_revision: &str) -> String {
    let short = |text: &str, limit: usize| -> String {
        text.chars()
            .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'))
            .take(limit)
            .collect()
    };
    format!("auto-{}-{}", short(&key.name, 40), short(bad_revision, 12))
}
