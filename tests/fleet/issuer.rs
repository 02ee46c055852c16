//! Who commands the fleet: one key that every node knows, made from the seed.

use std::time::Duration;

use anyhow::anyhow;
use edge_agent_core::application::Application;
use edge_agent_core::command::envelope::{COMMAND_TYPE, seal, verify};
use edge_agent_core::command::key::SigningKey;
use edge_agent_core::command::keyring::Keyring;
use edge_agent_core::command::payload::{
    Action, Command, DEFAULT_TIMEOUT, OnFailure, RollbackTarget,
};
use edge_agent_core::event::Event;
use jiff::Timestamp;

use super::dice::Dice;

/// How long a command may be on its way.
const TIME_TO_LIVE: Duration = Duration::from_secs(600);

/// The id of the key.
const KEY_ID: &str = "fleet";

pub(crate) struct Issuer {
    key: SigningKey,
    keyring: Keyring,
}

impl Issuer {
    /// # Errors
    /// When the keyring cannot be made.
    pub(crate) fn new(seed: u64) -> anyhow::Result<Self> {
        let key = SigningKey::from_seed(&Dice::new(seed, 0).bytes::<32>())?;
        let public = key.public_base64();
        let text = format!(
            "[[key]]\nid = \"{KEY_ID}\"\npublic = \"{public}\"\n\
             allow = [\"rollout\", \"rollback\", \"resume\", \"refresh\", \"identify\", \"ping\"]\n\
             applications = [\"*\"]\n"
        );
        let keyring = Keyring::parse(&text).map_err(|faults| anyhow!(faults.join("; ")))?;
        let keyring = keyring.with_default_namespace("argocd");
        Ok(Self { key, keyring })
    }

    /// What somebody might want of a node with this application.
    pub(crate) fn choose(app: &Application, dice: &mut Dice) -> Action {
        let application = app.key.name.clone();
        match dice.share() {
            share if share < 0.25 => Action::Rollout {
                application,
                revision: dice.sha(),
                images: Vec::new(),
                timeout: DEFAULT_TIMEOUT,
                on_failure: OnFailure::None,
            },
            share if share < 0.35 => Action::Rollback {
                application,
                to: RollbackTarget::Previous,
                hold: None,
                prune: false,
                allow_managed: false,
            },
            share if share < 0.65 => Action::Refresh {
                application,
                hard: dice.chance(0.2),
            },
            share if share < 0.75 => Action::Identify { seconds: 30 },
            share if share < 0.95 => Action::Ping,
            // Somebody mistypes a name: the node refuses.
            _ => Action::Refresh {
                application: format!("{application}-old"),
                hard: false,
            },
        }
    }

    pub(crate) fn resume(app: &Application) -> Action {
        Action::Resume {
            application: app.key.name.clone(),
        }
    }

    /// Signs a command (its id, node, number and time), and verifies it as the node does.
    pub(crate) fn command(
        &self,
        (id, node, sequence, now): (String, &str, u64, Timestamp),
        action: Action,
    ) -> Option<Event> {
        let command = Command {
            id,
            audience: vec![node.to_owned()],
            sequence,
            issued_at: now.as_second(),
            expires_at: (now + TIME_TO_LIVE).as_second(),
            action,
        };
        let envelope = seal(COMMAND_TYPE, &command.to_json(), &[(KEY_ID, &self.key)]);
        let command = verify(&envelope, &self.keyring, TIME_TO_LIVE, now).ok()?;
        Some(Event::CommandReceived {
            delivery: sequence,
            command: Box::new(command),
        })
    }
}
