//! After a restart: what was under way when the agent stopped.

use std::time::Duration;

use super::execution::DEADLINE;
use super::{Active, Identity, Step};
use crate::clock::Now;
use crate::command::admission::LedgerEntry;
use crate::event::Effect;
use crate::rollout::{Order, OrderKind};
use crate::state::State;
use crate::wire::ResultState;

/// How long a command that was interrupted may take at least: K3s needs some minutes after a boot
/// before it can tell what became of it.
const LOOKUP_DEADLINE: Duration = Duration::from_secs(5 * 60);

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
                kind: match &entry.rollout {
                    Some(terms) => OrderKind::Rollout {
                        revision: terms.revision.clone(),
                    },
                    None => OrderKind::Lookup,
                },
                at: entry.at,
                deadline: now.monotonic + time_left(now, &entry),
                rollout: entry.rollout,
                n,
                tracker: None,
                revision: None,
            };
            self.commands.active.insert(entry.id.clone(), active);
            effects.push(Effect::Execute(Box::new(order)));
        }
    }
}

/// How long a command may still take. A board that has no clock of its own wakes up in the past; then
/// the time that has gone by cannot be told, and does not count.
fn time_left(now: Now, entry: &LedgerEntry) -> Duration {
    let terms = entry.rollout.as_ref();
    let whole = terms.map_or(DEADLINE, |terms| Duration::from_secs(terms.timeout_s));
    let gone = Duration::try_from(now.wall.duration_since(entry.at)).unwrap_or_default();
    whole.saturating_sub(gone).max(LOOKUP_DEADLINE)
}
