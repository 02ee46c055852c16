//! Orders of the node's own: written down like a command before they are carried out, and told like
//! one.

use super::execution::DEADLINE;
use super::{Active, Identity, Step};
use crate::application::ApplicationKey;
use crate::clock::Now;
use crate::command::memory::Memory;
use crate::command::{Refusal, RefusalCode};
use crate::event::Effect;
use crate::rollout::{Order, OrderKind};
use crate::state::State;
use crate::wire::ResultState;

/// An order that waits for the medium.
#[derive(Debug)]
pub(super) struct Own {
    pub(super) key: ApplicationKey,
    kind: OrderKind,
    cause: String,
    /// Nobody was there.
    alone: bool,
}

impl State {
    /// Takes on a rollback of the node's own; with `left` at most one to leave that revision.
    ///
    /// # Errors
    /// When it did so once already, or could not keep that over a restart.
    pub(in crate::state) fn give_own_order(
        &mut self,
        now: Now,
        (id, key): (&str, &ApplicationKey),
        left: Option<&str>,
        (kind, cause): (OrderKind, String),
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refusal> {
        let Some(ledger) = &mut self.commands.ledger else {
            let message = "the ledger is not to be had, so nothing could be kept over a restart";
            return Err(Refusal::new(RefusalCode::LedgerUnavailable, message));
        };
        let application = key.to_string();
        if !ledger.admit_own(now, (id, "rollback"), (&application, left), &cause) {
            let message = format!("{key}: done once already, or too many commands are kept");
            return Err(Refusal::new(RefusalCode::Busy, message));
        }
        effects.push(Effect::Admit {
            command: id.to_owned(),
            record: Box::new(ledger.record()),
        });
        let own = Own {
            key: key.clone(),
            kind,
            cause,
            alone: left.is_some(),
        };
        self.commands.own.insert(id.to_owned(), own);
        Ok(())
    }

    /// Tells that an order of the node's own is not given, as the refusal of a command is told.
    pub(in crate::state) fn refuse_own(
        &mut self,
        now: Now,
        (id, key): (String, Option<ApplicationKey>),
        cause: String,
        refusal: &Refusal,
        effects: &mut Vec<Effect>,
    ) {
        let identity = own_identity(&id, key.as_ref(), &cause);
        let step = Step {
            message: format!("{cause}; {}", refusal.message),
            ..Step::rejected(1, refusal)
        };
        self.finish(now, &identity, step, effects);
    }

    /// An order of the node's own is on the medium, or could not be written.
    pub(super) fn own_admitted(
        &mut self,
        now: Now,
        id: &str,
        result: Result<(), String>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(own) = self.commands.own.remove(id) else {
            return;
        };
        let Own {
            key,
            kind,
            cause,
            alone,
        } = own;
        let identity = own_identity(id, Some(&key), &cause);
        let by_itself = if alone { " by itself" } else { "" };
        let because = format!("the node rolls back{by_itself}: {cause}");
        let refused = match result {
            Err(fault) => Some((ResultState::Failed, format!("not written down: {fault}"))),
            Ok(()) if self.commands.is_active(&key) => {
                let message = "a command for the application came first".to_owned();
                Some((ResultState::Superseded, message))
            }
            Ok(()) => None,
        };
        if let Some((state, message)) = refused {
            let step = Step::new(1, state, format!("{because}; {message}"));
            self.finish(now, &identity, step, effects);
            return;
        }
        let accepted = Step::new(1, ResultState::Accepted, because);
        self.answer(now, &identity, accepted, effects);
        let order = Order {
            command: id.to_owned(),
            application: key.clone(),
            kind: kind.clone(),
            at: now.wall,
            cause: Some(cause),
        };
        let active = Active {
            identity,
            key,
            kind,
            at: now.wall,
            rollout: None,
            deadline: now.monotonic + DEADLINE,
            n: 1,
            tracker: None,
            revision: None,
        };
        self.give(now, order, active, effects);
    }

    /// What is known of an application from before a restart.
    pub(in crate::state) fn memory_of(&self, key: &ApplicationKey) -> Memory {
        let name = key.to_string();
        let ledger = self.commands.ledger.as_ref();
        let known = ledger.and_then(|ledger| ledger.memory(&name));
        known.cloned().unwrap_or_else(|| Memory::new(&name))
    }

    /// Keeps what is known of an application over a restart.
    pub(in crate::state) fn remember(&mut self, memory: Memory, effects: &mut Vec<Effect>) {
        if let Some(ledger) = &mut self.commands.ledger {
            // From where the node went back by itself is known to the ledger alone.
            let left = ledger
                .memory(&memory.application)
                .map(|known| known.left.clone())
                .unwrap_or_default();
            ledger.remember(Memory { left, ..memory });
            effects.push(Effect::SaveLedger(Box::new(ledger.record())));
        }
    }
}

fn own_identity(id: &str, key: Option<&ApplicationKey>, cause: &str) -> Identity {
    Identity {
        id: id.to_owned(),
        digest: None,
        cmd: Some("rollback".into()),
        application: key.map(ToString::to_string),
        keys: Vec::new(),
        cause: Some(cause.to_owned()),
    }
}
