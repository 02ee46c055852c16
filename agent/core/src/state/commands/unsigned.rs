//! What comes without a signature: obeyed now or not at all.

use std::time::Duration;

use super::{Identity, Step};
use crate::clock::Now;
use crate::command::unsigned::UnsignedCommand;
use crate::command::{Refusal, RefusalCode};
use crate::event::{Delivery, Effect};
use crate::state::State;
use crate::wire::ResultState;

/// The shortest time between two: each leaves a result on the broker for a day, and anybody may send
/// them.
const PAUSE: Duration = Duration::from_secs(5);

/// What stands where the keys of a signed command are named. No key can have this id.
const UNSIGNED: &str = "(unsigned)";

impl State {
    pub(in crate::state) fn unsigned_received(
        &mut self,
        now: Now,
        delivery: Delivery,
        unsigned: &UnsignedCommand,
        effects: &mut Vec<Effect>,
    ) {
        if let Err(refusal) = self.judge_unsigned(now, unsigned) {
            // Nobody is known who could be told.
            effects.push(Effect::Acknowledge(delivery));
            self.refusals
                .count(now, refusal.code, &refusal.message, effects);
            return;
        }
        let seconds = unsigned.seconds();
        self.unsigned_pause = Some(now.monotonic + PAUSE);
        self.identify_until = Some(now.monotonic + Duration::from_secs(seconds.into()));
        let command = unsigned.command();
        let identity = Identity {
            id: command.id.clone(),
            digest: Some(unsigned.digest()),
            cmd: Some(command.name().to_owned()),
            application: None,
            keys: vec![UNSIGNED.to_owned()],
            cause: None,
        };
        let message = format!("blinking for {seconds} s");
        let step = Step::new(1, ResultState::Succeeded, message);
        self.answer_delivery(now, delivery, &identity, step, effects);
    }

    fn judge_unsigned(&mut self, now: Now, unsigned: &UnsignedCommand) -> Result<(), Refusal> {
        if self
            .unsigned_pause
            .is_some_and(|until| until > now.monotonic)
        {
            let what = format!(
                "a command without a signature is taken once in {} s",
                PAUSE.as_secs()
            );
            return Err(Refusal::new(RefusalCode::Busy, what));
        }
        let Some(ledger) = &mut self.commands.ledger else {
            let what = "the node cannot read its ledger, so it does not know what time it is";
            return Err(Refusal::new(RefusalCode::LedgerUnavailable, what));
        };
        ledger.judge_unsigned(now, &self.settings.node, unsigned)
    }
}
