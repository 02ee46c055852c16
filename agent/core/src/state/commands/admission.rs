//! From the broker to the medium: whether a command is taken on.

use std::time::Duration;

use super::{Identity, Parked, Pending, Step};
use crate::application::ApplicationKey;
use crate::clock::Now;
use crate::command::admission::{Admission, LedgerEntry, LedgerState};
use crate::command::envelope::{RefusedCommand, VerifiedCommand};
use crate::command::{Refusal, RefusalCode};
use crate::event::{Delivery, Effect};
use crate::state::State;
use crate::wire::ResultState;

/// How long a command waits for the clock to be synchronized.
const PARK_LIMIT: Duration = Duration::from_secs(10 * 60);
/// How many commands wait for the clock at once.
const PARKED_LIMIT: usize = 16;
/// The scope of commands that are about the node and not about an application.
const NODE_SCOPE: &str = "-";

impl State {
    pub(in crate::state) fn command_received(
        &mut self,
        now: Now,
        delivery: Delivery,
        command: VerifiedCommand,
        effects: &mut Vec<Effect>,
    ) {
        let id = command.command().id.clone();
        if let Some(pending) = self.commands.pending.get_mut(&id)
            && pending.command.digest() == command.digest()
        {
            // Delivered again while the first delivery is being written down: the connection was
            // lost in between, so only the new one can still be acknowledged.
            pending.delivery = delivery;
            return;
        }
        let scope = self.scope(command.command().action.application());
        let Some(ledger) = &mut self.commands.ledger else {
            let refusal = Refusal::new(
                RefusalCode::LedgerUnavailable,
                "the node cannot read its ledger, so it could not tell a replay; see its log",
            );
            self.refuse(now, delivery, &Identity::of(&command), &refusal, effects);
            return;
        };
        match ledger.consider(now, &self.settings.node, &command, &scope) {
            Admission::Admit => {
                let record = Box::new(ledger.record());
                self.commands
                    .pending
                    .insert(id.clone(), Pending { delivery, command });
                effects.push(Effect::Admit {
                    command: id,
                    record,
                });
            }
            Admission::Park => self.park(now, delivery, command, effects),
            Admission::Repeat(entry) => self.answer_again(now, delivery, &entry, effects),
            Admission::Refuse(refusal) => {
                self.reject(now, delivery, &command, &refusal, effects);
            }
        }
    }

    /// What the ledger and the refusals go by: the application's full name, or the node.
    fn scope(&self, application: Option<&str>) -> String {
        match application {
            None => NODE_SCOPE.to_owned(),
            Some(text) => self
                .key(text)
                .map_or_else(|| text.to_owned(), |key| key.to_string()),
        }
    }

    pub(super) fn key(&self, application: &str) -> Option<ApplicationKey> {
        let first = self.settings.namespaces.first()?;
        ApplicationKey::parse(application, first)
    }

    fn park(
        &mut self,
        now: Now,
        delivery: Delivery,
        command: VerifiedCommand,
        effects: &mut Vec<Effect>,
    ) {
        let same = self
            .commands
            .parked
            .iter_mut()
            .find(|parked| parked.command == command);
        if let Some(parked) = same {
            parked.delivery = delivery;
            return;
        }
        if self.commands.parked.len() >= PARKED_LIMIT {
            let refusal = Refusal::new(
                RefusalCode::Busy,
                "too many commands wait for the node's clock to be synchronized",
            );
            self.reject(now, delivery, &command, &refusal, effects);
            return;
        }
        let until = now.monotonic + PARK_LIMIT;
        self.commands.parked.push(Parked {
            delivery,
            command,
            until,
        });
    }

    /// Takes parked commands up again once the clock is synchronized, and refuses those that have
    /// waited too long.
    pub(super) fn unpark(&mut self, now: Now, effects: &mut Vec<Effect>) {
        for parked in std::mem::take(&mut self.commands.parked) {
            if now.synchronized {
                self.command_received(now, parked.delivery, parked.command, effects);
            } else if parked.until <= now.monotonic {
                let refusal = Refusal::new(
                    RefusalCode::ClockUnsynchronized,
                    "the node's clock was not synchronized in time to judge whether the command \
                     had expired",
                );
                self.reject(now, parked.delivery, &parked.command, &refusal, effects);
            } else {
                self.commands.parked.push(parked);
            }
        }
    }

    pub(in crate::state) fn observe_clock(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if let Some(ledger) = &mut self.commands.ledger
            && ledger.observe(now)
        {
            effects.push(Effect::SaveLedger(Box::new(ledger.record())));
        }
        self.unpark(now, effects);
    }

    /// Answers a command of a known issuer that may not be obeyed. It is not noted in the ledger: a key
    /// that may order nothing must not be able to fill it. So if the same bytes come again before they
    /// expire, they are judged by the keyring of that moment.
    pub(in crate::state) fn command_refused(
        &mut self,
        now: Now,
        delivery: Delivery,
        refused: &RefusedCommand,
        effects: &mut Vec<Effect>,
    ) {
        let identity = Identity {
            id: refused.id.clone(),
            digest: Some(refused.digest),
            cmd: refused.cmd.clone(),
            application: refused.application.clone(),
            keys: refused.key_ids.clone(),
            cause: None,
        };
        self.refuse(now, delivery, &identity, &refused.refusal, effects);
    }

    /// Refuses a verified command. What time alone may make acceptable is noted in the ledger first:
    /// if the broker delivers it again, because the acknowledgement was lost, it stays refused.
    fn reject(
        &mut self,
        now: Now,
        delivery: Delivery,
        command: &VerifiedCommand,
        refusal: &Refusal,
        effects: &mut Vec<Effect>,
    ) {
        use RefusalCode::{Busy, ClockUnsynchronized, NotYetValid};
        if matches!(refusal.code, Busy | ClockUnsynchronized | NotYetValid)
            && let Some(ledger) = &mut self.commands.ledger
            && ledger.reject(now, command, refusal)
        {
            effects.push(Effect::SaveLedger(Box::new(ledger.record())));
        }
        self.refuse(now, delivery, &Identity::of(command), refusal, effects);
    }

    pub(super) fn refuse(
        &mut self,
        now: Now,
        delivery: Delivery,
        identity: &Identity,
        refusal: &Refusal,
        effects: &mut Vec<Effect>,
    ) {
        self.refusals
            .count(now, refusal.code, &refusal.message, effects);
        // An id that is reused has a result of its own, which an answer to the impostor would
        // replace.
        if refusal.code == RefusalCode::IdReused {
            effects.push(Effect::Acknowledge(delivery));
        } else {
            let step = Step::rejected(1, refusal);
            self.answer_delivery(now, delivery, identity, step, effects);
        }
    }

    /// The same command again: the answer that it has had already.
    fn answer_again(
        &mut self,
        now: Now,
        delivery: Delivery,
        entry: &LedgerEntry,
        effects: &mut Vec<Effect>,
    ) {
        let reports = &self.commands.recent;
        let step = match reports.iter().find(|report| report.id == entry.id) {
            Some(report) => Step {
                reason: report.reason,
                ..Step::new(entry.n, report.state, report.message.clone())
            },
            None => match entry.state {
                LedgerState::Done(state) => Step {
                    reason: entry.reason,
                    ..Step::new(entry.n, state, entry.message.clone())
                },
                LedgerState::Admitted => Step::new(entry.n, ResultState::Accepted, ""),
            },
        };
        if step.state.is_final() {
            self.answer_delivery(now, delivery, &Identity::of_entry(entry), step, effects);
        } else {
            effects.push(Effect::Acknowledge(delivery));
        }
    }

    pub(in crate::state) fn admitted(
        &mut self,
        now: Now,
        id: &str,
        result: Result<(), String>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(Pending { delivery, command }) = self.commands.pending.remove(id) else {
            self.own_admitted(now, id, result, effects);
            return;
        };
        if let Err(fault) = result {
            let message = format!("the node could not write its ledger: {fault}");
            let refusal = Refusal::new(RefusalCode::LedgerUnavailable, message);
            self.complete(id, &Step::rejected(1, &refusal));
            self.refuse(now, delivery, &Identity::of(&command), &refusal, effects);
            return;
        }
        effects.push(Effect::Acknowledge(delivery));
        let accepted = Step::new(1, ResultState::Accepted, "admitted");
        self.answer(now, &Identity::of(&command), accepted, effects);
        self.begin(now, &command, effects);
    }
}
