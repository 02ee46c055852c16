//! From the medium to the cluster: orders are given, followed, and come to an end.

use std::time::Duration;

use super::{Active, Identity, Step, short};
use crate::application::ApplicationKey;
use crate::clock::Now;
use crate::command::admission::RolloutTerms;
use crate::command::envelope::VerifiedCommand;
use crate::command::payload::Action;
use crate::command::{Refusal, RefusalCode};
use crate::event::Effect;
use crate::rollout::{Applied, Order, OrderKind, Outcome, Progress, Tracker};
use crate::state::{State, snapshot};
use crate::wire::ResultState;

/// How long a command other than a rollout may take, from execution to its end.
pub(super) const DEADLINE: Duration = Duration::from_secs(15 * 60);
/// How long a refresh may take.
const REFRESH_DEADLINE: Duration = Duration::from_secs(2 * 60);

impl State {
    pub(super) fn begin(&mut self, now: Now, command: &VerifiedCommand, effects: &mut Vec<Effect>) {
        match &command.command().action {
            Action::Ping => {
                let message = self.self_description();
                self.finish_at_once(now, command, message, effects);
            }
            Action::Identify { seconds } => {
                self.identify_until =
                    Some(now.monotonic + Duration::from_secs(u64::from(*seconds)));
                let message = format!("blinking for {seconds} s");
                self.finish_at_once(now, command, message, effects);
            }
            action => match self.order_for(now, command, action) {
                Ok((order, active)) => self.give(now, order, active, effects),
                Err(refusal) => {
                    self.finish(
                        now,
                        &Identity::of(command),
                        Step::rejected(2, &refusal),
                        effects,
                    );
                }
            },
        }
    }

    fn self_description(&self) -> String {
        let links: Vec<String> = self
            .links
            .iter()
            .map(|(link, entry)| format!("{} {}", link.as_str(), snapshot::describe(&entry.status)))
            .collect();
        format!(
            "edge-agent {}; {}",
            self.settings.identity.agent,
            links.join(", ")
        )
    }

    fn order_for(
        &self,
        now: Now,
        command: &VerifiedCommand,
        action: &Action,
    ) -> Result<(Order, Active), Refusal> {
        let name = action.application().unwrap_or_default();
        let key = self
            .key(name)
            .filter(|key| self.settings.namespaces.contains(&key.namespace))
            .ok_or_else(|| {
                let message = format!("{name}: not in a namespace that this node watches");
                Refusal::new(RefusalCode::ApplicationNotFound, message)
            })?;
        if let Some(other) = self.commands.active_for(&key)
            && !matches!(action, Action::Rollback { .. })
        {
            let message = format!("{key}: command {other} is still being carried out");
            return Err(Refusal::new(RefusalCode::Busy, message));
        }
        let seen_healthy = self
            .applications
            .get(&key)
            .map(|entry| entry.memory.healthy.clone());
        let (kind, deadline) = order_kind(action, seen_healthy.unwrap_or_default());
        let order = Order {
            command: command.command().id.clone(),
            application: key.clone(),
            kind: kind.clone(),
            at: now.wall,
            cause: None,
        };
        let active = Active {
            identity: Identity::of(command),
            key,
            kind,
            at: now.wall,
            rollout: RolloutTerms::of(action),
            deadline: now.monotonic + deadline,
            n: 1,
            tracker: None,
            revision: None,
        };
        Ok((order, active))
    }

    /// Hands an order to the executor. A rollback takes the place of what is under way for the
    /// application, because that is when people need it.
    pub(super) fn give(
        &mut self,
        now: Now,
        order: Order,
        active: Active,
        effects: &mut Vec<Effect>,
    ) {
        while let Some(other) = self.commands.active_for(&active.key) {
            let message = format!("command {} took its place", order.command);
            self.conclude(now, &other, ResultState::Superseded, None, message, effects);
        }
        self.commands.active.insert(order.command.clone(), active);
        effects.push(Effect::Execute(Box::new(order)));
    }

    pub(in crate::state) fn executed(
        &mut self,
        now: Now,
        id: &str,
        outcome: Outcome,
        effects: &mut Vec<Effect>,
    ) {
        match outcome {
            Outcome::Applied(applied) => self.applied(now, id, &applied, effects),
            Outcome::Refused(refusal) => {
                let reason = Some(refusal.code);
                self.conclude(
                    now,
                    id,
                    ResultState::Rejected,
                    reason,
                    refusal.message,
                    effects,
                );
            }
            Outcome::NoTrace => {
                let message = "the agent was restarted, and nothing in the cluster tells that the \
                               command was carried out"
                    .to_owned();
                self.conclude(now, id, ResultState::Interrupted, None, message, effects);
            }
        }
    }

    fn applied(&mut self, now: Now, id: &str, applied: &Applied, effects: &mut Vec<Effect>) {
        let settle = self.settings.settle;
        let Some(active) = self.commands.active.get_mut(id) else {
            return;
        };
        let order = Order {
            command: id.to_owned(),
            application: active.key.clone(),
            kind: active.kind.clone(),
            at: active.at,
            cause: active.identity.cause.clone(),
        };
        let mut applied = applied.clone();
        if let OrderKind::Rollout { revision } = &order.kind {
            applied.revision.get_or_insert_with(|| revision.clone());
        }
        active.tracker = Some(Tracker::new(&order, &applied, active.images(), settle, now));
        active.revision.clone_from(&applied.revision);
        active.n += 1;
        let target = match applied.revision.as_deref() {
            Some(revision) => format!(" on {}", short(revision)),
            None => String::new(),
        };
        let step = Step {
            revision: applied.revision.clone(),
            ..Step::new(
                active.n,
                ResultState::Executing,
                format!("Argo CD has the order; waiting for {}{target}", active.key),
            )
        };
        let (identity, key) = (active.identity.clone(), active.key.clone());
        // Written down first, so that the numbers go on from here after a restart.
        effects.extend(self.complete(id, &step));
        self.answer(now, &identity, step, effects);
        self.follow_command(now, &key, effects);
    }

    /// Looks at an application for the sake of the command that is being carried out on it.
    pub(in crate::state) fn follow_command(
        &mut self,
        now: Now,
        key: &ApplicationKey,
        effects: &mut Vec<Effect>,
    ) {
        let Some(id) = self.commands.active_for(key) else {
            return;
        };
        let Some(entry) = self.applications.get(key) else {
            return;
        };
        let Some(active) = self.commands.active.get_mut(&id) else {
            return;
        };
        let Some(tracker) = &mut active.tracker else {
            return;
        };
        let progress = tracker.observe(&entry.application, entry.state, now);
        self.progress(now, &id, progress, effects);
    }

    fn progress(&mut self, now: Now, id: &str, progress: Progress, effects: &mut Vec<Effect>) {
        match progress {
            Progress::Pending => {}
            Progress::Succeeded => {
                let message = self
                    .commands
                    .active
                    .get(id)
                    .map(Active::success)
                    .unwrap_or_default();
                self.conclude(now, id, ResultState::Succeeded, None, message, effects);
            }
            Progress::Failed(message) => {
                let key = self.commands.active.get(id).map(|active| &active.key);
                let message = match key.and_then(|key| self.cause_in_words(key)) {
                    Some(cause) => format!("{message}; {cause}"),
                    None => message,
                };
                self.conclude(now, id, ResultState::Failed, None, message, effects);
            }
            Progress::Superseded(message) => {
                self.conclude(now, id, ResultState::Superseded, None, message, effects);
            }
        }
    }

    pub(in crate::state) fn tick_commands(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if !self.commands.parked.is_empty() {
            self.unpark(now, effects);
        }
        let ids: Vec<String> = self.commands.active.keys().cloned().collect();
        for id in ids {
            let Some(active) = self.commands.active.get_mut(&id) else {
                continue;
            };
            if let Some(tracker) = &mut active.tracker {
                let progress = tracker.tick(now);
                self.progress(now, &id, progress, effects);
            }
            let Some(active) = self.commands.active.get(&id) else {
                continue;
            };
            if active.deadline <= now.monotonic {
                let message = self.overdue(&id);
                self.conclude(now, &id, ResultState::TimedOut, None, message, effects);
            }
        }
    }

    /// What a command whose time is over was still waiting for.
    fn overdue(&self, id: &str) -> String {
        let late = "it did not come to its end in time";
        let Some(active) = self.commands.active.get(id) else {
            return late.to_owned();
        };
        match (&active.tracker, self.applications.get(&active.key)) {
            (None, _) => format!("{late}: the API server has not taken the order"),
            (Some(tracker), Some(entry)) => {
                format!("{late}: {}", tracker.waits_for(&entry.application))
            }
            (Some(_), None) => format!("{late}: nothing is known of {}", active.key),
        }
    }

    pub(in crate::state) fn command_lost_application(
        &mut self,
        now: Now,
        key: &ApplicationKey,
        effects: &mut Vec<Effect>,
    ) {
        while let Some(id) = self.commands.active_for(key) {
            let message = format!("{key} was deleted");
            self.conclude(now, &id, ResultState::Failed, None, message, effects);
        }
    }
}

/// What the executor is to do for an action on an application, and how long that may take.
fn order_kind(action: &Action, seen_healthy: Vec<String>) -> (OrderKind, Duration) {
    match action {
        Action::Rollout {
            revision, timeout, ..
        } => (
            OrderKind::Rollout {
                revision: revision.clone(),
            },
            *timeout,
        ),
        Action::Rollback {
            to,
            hold,
            prune,
            allow_managed,
            ..
        } => {
            let kind = OrderKind::Rollback {
                to: to.clone(),
                hold: *hold,
                prune: *prune,
                allow_managed: *allow_managed,
                seen_healthy,
            };
            (kind, DEADLINE)
        }
        Action::Refresh { hard, .. } => (OrderKind::Refresh { hard: *hard }, REFRESH_DEADLINE),
        Action::Resume { .. } => (OrderKind::Resume, DEADLINE),
        // These two are about the node and never become an order.
        Action::Identify { .. } | Action::Ping => (OrderKind::Lookup, Duration::ZERO),
    }
}
