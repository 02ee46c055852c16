//! After a restart: what was under way when the agent stopped.

use super::execution::DEADLINE;
use super::{Active, Identity, Step};
use crate::clock::Now;
use crate::command::admission::LedgerEntry;
use crate::command::payload::OnFailure;
use crate::event::Effect;
use crate::rollout::{Order, OrderKind};
use crate::state::State;
use crate::wire::ResultState;

impl State {
    /// Looks up what became of the commands that have no result, and gives the results again that
    /// may have been lost on their way to the outbox.
    pub(in crate::state) fn take_up_unfinished(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.tell_untold(now, effects);
        let Some(ledger) = &self.commands.ledger else {
            return;
        };
        let unfinished: Vec<LedgerEntry> = ledger.unfinished().cloned().collect();
        for entry in unfinished {
            // `accepted` may have been told without a trace in the ledger.
            let n = entry.n.max(1);
            let identity = Identity::of_entry(&entry);
            let key = entry.application.as_deref().and_then(|name| self.key(name));
            let Some(key) = key else {
                let message = "the agent was restarted before the command had ended";
                let step = Step::new(n + 1, ResultState::Interrupted, message);
                self.finish(now, &identity, step, effects);
                continue;
            };
            let order = Order {
                command: entry.id.clone(),
                application: key.clone(),
                kind: OrderKind::Lookup,
                at: now.wall,
                cause: identity.cause.clone(),
            };
            let active = Active {
                identity,
                key,
                // The cluster keeps no trace of where auto-sync was to go.
                kind: match &entry.revision {
                    Some(revision) => OrderKind::Rollout {
                        revision: revision.clone(),
                    },
                    None => OrderKind::Lookup,
                },
                at: entry.at,
                images: Vec::new(),
                on_failure: OnFailure::None,
                deadline: now.monotonic + DEADLINE,
                n,
                tracker: None,
                revision: None,
            };
            self.commands.active.insert(entry.id.clone(), active);
            effects.push(Effect::Execute(Box::new(order)));
        }
    }
}
