//! Orders of the node's own: written down like a command before they are carried out, and told like
//! one.

use super::execution::DEADLINE;
use super::{Active, Identity, Step};
use crate::application::ApplicationKey;
use crate::clock::Now;
use crate::command::memory::Memory;
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
}

impl State {
    /// Takes on a rollback of the node's own, to leave the revision `bad`. False when it did so once
    /// already, or could not keep that over a restart.
    pub(in crate::state) fn give_own_order(
        &mut self,
        now: Now,
        (id, key): (String, ApplicationKey),
        bad: &str,
        (kind, cause): (OrderKind, String),
        effects: &mut Vec<Effect>,
    ) -> bool {
        let Some(ledger) = &mut self.commands.ledger else {
            return false;
        };
        let application = key.to_string();
        if !ledger.admit_own(now, (&id, "rollback"), (&application, bad), &cause) {
            return false;
        }
        effects.push(Effect::Admit {
            command: id.clone(),
            record: Box::new(ledger.record()),
        });
        self.commands.own.insert(id, Own { key, kind, cause });
        true
    }

    /// An order of the node's own is on the medium, or could not be written.
    pub(super) fn own_admitted(
        &mut self,
        now: Now,
        id: &str,
        result: Result<(), String>,
        effects: &mut Vec<Effect>,
    ) {
        let Some(Own { key, kind, cause }) = self.commands.own.remove(id) else {
            return;
        };
        let identity = Identity {
            id: id.to_owned(),
            digest: None,
            cmd: Some("rollback".into()),
            application: Some(key.to_string()),
            keys: Vec::new(),
            cause: Some(cause.clone()),
        };
        let because = format!("the node rolls back by itself: {cause}");
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
