//! What is said of a command: to its issuer, signed; in the ledger; as an event; on the page.

use std::collections::{BTreeSet, VecDeque};

use serde_json::json;

use super::{Identity, Step};
use crate::clock::Now;
use crate::command::RefusalCode;
use crate::command::admission::{LedgerEntry, LedgerState};
use crate::command::envelope::VerifiedCommand;
use crate::command::payload::OnFailure;
use crate::event::{Delivery, Effect, Fact};
use crate::retention::Class;
use crate::state::{State, notices, shorten};
use crate::wire::{self, ResultState};

/// Deliveries of one command that wait for one answer: more than the broker gives without an
/// acknowledgement. Older ones are of connections that have ended.
const MAX_DELIVERIES: usize = 64;

/// What is on its way to the outbox about one command.
///
/// There are never many: what was taken on is in the ledger, which is bounded, and what was refused
/// is not acknowledged until it is answered, so the broker gives no more.
#[derive(Debug, Default)]
pub(super) struct Telling {
    /// How many answers.
    answers: u32,
    /// The last of them: whose digest it carries, and what it says.
    says: Option<(Option<[u8; 32]>, ResultState)>,
    /// What is to be acknowledged when they are there.
    acknowledge: VecDeque<Delivery>,
}

impl State {
    /// Ends an active command.
    pub(super) fn conclude(
        &mut self,
        now: Now,
        id: &str,
        state: ResultState,
        reason: Option<RefusalCode>,
        message: String,
        effects: &mut Vec<Effect>,
    ) {
        let Some(active) = self.commands.active.remove(id) else {
            return;
        };
        let deploy_state = self.applications.get(&active.key).map(|entry| entry.state);
        let step = Step {
            reason,
            revision: active.revision.clone(),
            deploy_state,
            ..Step::new(active.n + 1, state, message)
        };
        self.finish(now, &active.identity, step, effects);
        let failed = matches!(state, ResultState::Failed | ResultState::TimedOut);
        if failed && active.on_failure() == OnFailure::Rollback {
            let reason = format!("command {id} {}", state.as_str());
            self.roll_back_alone(now, &active.key, &reason, effects);
        } else if state.is_final() && active.identity.cause.is_none() {
            // Its failure may have been told while the command was under way.
            self.consider_auto_rollback(now, &active.key, effects);
        }
    }

    pub(super) fn finish_at_once(
        &mut self,
        now: Now,
        command: &VerifiedCommand,
        message: String,
        effects: &mut Vec<Effect>,
    ) {
        let step = Step::new(2, ResultState::Succeeded, message);
        self.finish(now, &Identity::of(command), step, effects);
    }

    /// The last answer to a command: in the ledger, on its topic, and as an event.
    pub(super) fn finish(
        &mut self,
        now: Now,
        identity: &Identity,
        step: Step,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(code) = step.reason {
            self.refusals.count(now, code, &step.message, effects);
        }
        self.button
            .ended(now, &identity.id, step.state == ResultState::Succeeded);
        effects.extend(self.complete(&identity.id, &step));
        self.answer(now, identity, step, effects);
    }

    /// Notes a result in the ledger. A restart at this moment would lose an answer that is on its
    /// way to the outbox, so the ledger keeps what it says until it is there.
    pub(super) fn complete(&mut self, id: &str, step: &Step) -> Option<Effect> {
        let ledger = self.commands.ledger.as_mut()?;
        ledger.entry(id)?;
        ledger.complete_with(id, (step.state, step.reason, &step.message), step.n);
        Some(Effect::SaveLedger(Box::new(ledger.record())))
    }

    /// After a restart: the final results that may not have come to the outbox, once more.
    pub(super) fn tell_untold(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let Some(ledger) = &self.commands.ledger else {
            return;
        };
        let untold: Vec<LedgerEntry> = ledger.untold().cloned().collect();
        for entry in untold {
            if let LedgerState::Done(state) = entry.state {
                let step = Step {
                    reason: entry.reason,
                    ..Step::new(entry.n, state, entry.message.clone())
                };
                self.answer(now, &Identity::of_entry(&entry), step, effects);
            }
        }
    }

    /// Answers are with the outbox. A command whose last answer is there need not be told again
    /// after a restart.
    pub(in crate::state) fn answers_stored(
        &mut self,
        commands: &[String],
        effects: &mut Vec<Effect>,
    ) {
        let mut told = BTreeSet::new();
        for id in commands {
            let Some(telling) = self.commands.telling.get_mut(id) else {
                continue;
            };
            telling.answers -= 1;
            if telling.answers == 0
                && let Some(telling) = self.commands.telling.remove(id)
            {
                told.insert(id.as_str());
                let acknowledged = telling.acknowledge.into_iter();
                effects.extend(acknowledged.map(Effect::Acknowledge));
            }
        }
        if let Some(ledger) = &mut self.commands.ledger
            && ledger.tell_those(|id| told.contains(id))
        {
            effects.push(Effect::SaveLedger(Box::new(ledger.record())));
        }
    }

    /// Answers a delivery, and acknowledges it when the answer is on the medium: whatever happens in
    /// between, the broker delivers it again and it is answered again.
    pub(super) fn answer_delivery(
        &mut self,
        now: Now,
        delivery: Delivery,
        identity: &Identity,
        step: Step,
        effects: &mut Vec<Effect>,
    ) {
        let known = self.commands.telling.get(&identity.id);
        if known.is_none_or(|known| known.says != Some((identity.digest, step.state))) {
            self.answer(now, identity, step, effects);
        }
        if let Some(telling) = self.commands.telling.get_mut(&identity.id) {
            telling.acknowledge.push_back(delivery);
            if telling.acknowledge.len() > MAX_DELIVERIES {
                telling.acknowledge.pop_front();
            }
        }
    }

    /// What people are told of the end of a command.
    fn notice_of(
        &self,
        now: Now,
        identity: &Identity,
        step: &Step,
        message: &str,
    ) -> Option<Effect> {
        if !step.state.is_final() {
            return None;
        }
        let named = |name: &String| match self.key(name) {
            Some(key) => self.topic_name(&key),
            None => name.clone(),
        };
        let application = identity.application.as_ref().map(named);
        notices::of_command(
            now,
            (
                identity.cmd.as_deref(),
                application.as_ref(),
                &identity.keys,
            ),
            identity.cause.as_ref(),
            (step.state, step.revision.as_ref(), message),
        )
    }

    pub(super) fn answer(
        &mut self,
        now: Now,
        identity: &Identity,
        step: Step,
        effects: &mut Vec<Effect>,
    ) {
        let message = shorten(&step.message, 1024).to_owned();
        self.commands.remember(wire::CommandReport {
            id: identity.id.clone(),
            cmd: identity.cmd.clone(),
            application: identity.application.clone(),
            keys: identity.keys.clone(),
            state: step.state,
            reason: step.reason,
            message: message.clone(),
            at: now.wall,
        });
        if step.state.is_final() {
            effects.push(Effect::Record(Fact {
                class: Class::CommandResult,
                kind: "edge.command.result".into(),
                subject: identity.id.clone(),
                at: now.wall,
                data: json!({
                    // The node's own orders are nobody's command.
                    "command": identity.cause.is_none().then_some(&identity.id),
                    "cause": identity.cause,
                    "cmd": identity.cmd,
                    "application": identity.application,
                    "keys": identity.keys,
                    "state": step.state,
                    "reason": step.reason,
                    "message": message,
                    "revision": step.revision,
                }),
            }));
        }
        effects.extend(self.notice_of(now, identity, &step, &message));
        let telling = self.commands.telling.entry(identity.id.clone());
        let telling = telling.or_default();
        telling.answers += 1;
        telling.says = Some((identity.digest, step.state));
        effects.push(Effect::Answer(Box::new(wire::CommandResult {
            v: wire::VERSION,
            node: self.settings.node.as_str().to_owned(),
            command: identity.id.clone(),
            digest: identity.digest.as_ref().map(digest_text),
            n: step.n,
            state: step.state,
            reason: step.reason,
            message,
            application: identity.application.clone(),
            revision: step.revision,
            deploy_state: step.deploy_state,
            at: now.wall,
        })));
    }
}

/// `sha256:` and the digest in hexadecimal.
fn digest_text(digest: &[u8; 32]) -> String {
    use std::fmt::Write;
    digest
        .iter()
        .fold(String::from("sha256:"), |mut text, byte| {
            // Writing to a string cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}
