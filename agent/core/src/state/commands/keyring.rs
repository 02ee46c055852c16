//! A new keyring: written down and put in force while the agent runs, and answered like a command.

use super::{Identity, Step};
use crate::clock::Now;
use crate::command::update::KeyringUpdate;
use crate::command::{Refusal, RefusalCode};
use crate::event::{Delivery, Effect, KeyringFault};
use crate::state::State;
use crate::wire::ResultState;

impl State {
    pub(in crate::state) fn keyring_received(
        &mut self,
        now: Now,
        delivery: Delivery,
        update: Box<KeyringUpdate>,
        effects: &mut Vec<Effect>,
    ) {
        if update.is_for(&self.settings.node) {
            effects.push(Effect::InstallKeyring { delivery, update });
            return;
        }
        let refusal = Refusal::new(
            RefusalCode::WrongAudience,
            format!("not for {}", self.settings.node.as_str()),
        );
        let identity = Identity::of_update(&update);
        self.refuse(now, delivery, &identity, &refusal, effects);
    }

    pub(in crate::state) fn keyring_installed(
        &mut self,
        now: Now,
        delivery: Delivery,
        update: &KeyringUpdate,
        result: Result<(), KeyringFault>,
        effects: &mut Vec<Effect>,
    ) {
        let identity = Identity::of_update(update);
        let version = update.keyring().version();
        let step = match result {
            Ok(()) => {
                self.drop_parked_of_revoked(now, update, effects);
                let keys = update.keyring().len();
                Step::new(
                    1,
                    ResultState::Succeeded,
                    format!("keyring version {version} is in force, with {keys} keys"),
                )
            }
            Err(KeyringFault::Refused(refusal)) => {
                self.refuse(now, delivery, &identity, &refusal, effects);
                return;
            }
            Err(KeyringFault::NotWritten(fault)) => Step::new(
                1,
                ResultState::Failed,
                format!("keyring version {version} could not be written down: {fault}"),
            ),
        };
        self.answer_delivery(now, delivery, &identity, step, effects);
    }

    /// What waits for the clock was let in by the keyring that is gone; a key that is not in the new
    /// one orders nothing any more.
    fn drop_parked_of_revoked(
        &mut self,
        now: Now,
        update: &KeyringUpdate,
        effects: &mut Vec<Effect>,
    ) {
        let in_force: Vec<String> = update.keyring().keys().map(|key| key.counter()).collect();
        let holds = |counters: &[String]| counters.iter().all(|key| in_force.contains(key));
        let (kept, revoked) = std::mem::take(&mut self.commands.parked)
            .into_iter()
            .partition(|parked| holds(parked.command.counters()));
        self.commands.parked = kept;
        for parked in revoked {
            let refusal = Refusal::new(
                RefusalCode::UnknownKey,
                "a key that signed it was taken out of the keyring while it waited for the clock",
            );
            let identity = Identity::of(&parked.command);
            self.refuse(now, parked.delivery, &identity, &refusal, effects);
        }
    }
}
