//! Who may command: read at the start, replaced over the air while the agent runs.

use std::sync::Arc;
use std::time::Duration;

use edge_agent_core::command::envelope::{self, KEYRING_TYPE, NotVerified, Unverified};
use edge_agent_core::command::keyring::Keyring;
use edge_agent_core::command::unsigned::UnsignedCommand;
use edge_agent_core::command::update::verify_update;
use edge_agent_core::event::Event;
use tokio::sync::{mpsc, watch};
use tracing::info;

use super::Fault;
use super::dispatch::outlet;
use super::open::Reports;
use super::outlet::Outlet;
use super::start::ROOM;
use super::tasks::{Stage, Tasks};
use crate::clock::{Clock, RELEASED};
use crate::config::Config;
use crate::mqtt;
use crate::store::keyring::{self, Install};

/// The keyring in force, for those who verify.
pub(super) type InForce = watch::Receiver<Arc<Keyring>>;

/// Reads the keyring of the settings. `None`: nobody may command.
pub(super) fn configured(config: &Config) -> Result<Option<keyring::InForce>, Fault> {
    config
        .commands
        .keyring
        .as_deref()
        .map(keyring::configured)
        .transpose()
        .map_err(|error| Fault::Settings(error.into()))
}

/// The keyring in force: the configured one, or a newer one of the state directory. If that cannot
/// be read, nobody may command.
pub(super) fn in_force(
    config: &Config,
    configured: Option<keyring::InForce>,
    reports: &Reports<'_>,
) -> watch::Sender<Arc<Keyring>> {
    let keyring = match configured {
        None => Keyring::empty(),
        Some(configured) => match keyring::newest(configured, &config.state_directory) {
            Ok(keyring::InForce { keyring, path }) => {
                let (version, keys) = (keyring.version(), keyring.len());
                info!(path = %path.display(), version, keys, "keyring");
                keyring
            }
            Err(error) => {
                let fault = format!(
                    "{error}; nobody may command until it is mended, or removed by somebody who \
                     knows that the configured one has no revoked key"
                );
                reports.impaired("keyring", &fault);
                Keyring::empty()
            }
        },
    };
    let keyring = match config.cluster.namespaces.first() {
        Some(namespace) => keyring.with_default_namespace(namespace),
        None => keyring,
    };
    watch::Sender::new(Arc::new(keyring))
}

/// Starts the task that puts new keyrings in force.
pub(super) fn start(
    config: &Config,
    in_force: watch::Sender<Arc<Keyring>>,
    tasks: &mut Tasks,
    events: &mpsc::Sender<Event>,
) -> Outlet<Install> {
    let (to_keyring, installs) = outlet(ROOM);
    tasks.spawn(
        Stage::Work,
        "keyring",
        keyring::run(
            config.state_directory.clone(),
            in_force,
            installs,
            events.clone(),
        ),
    );
    to_keyring
}

/// Holds an envelope against the keyring in force. The age of a key is judged by a time that no
/// clock can be behind of. What comes without an envelope is one of `unsigned`, or is not obeyed.
pub(super) fn verify(
    in_force: InForce,
    max_ttl: Duration,
    unsigned: Vec<String>,
    clock: Arc<dyn Clock>,
) -> mqtt::Verify {
    Arc::new(move |bytes| {
        if !unsigned.is_empty() && UnsignedCommand::is_meant(bytes) {
            return match UnsignedCommand::read(bytes, &unsigned) {
                Ok(command) => mqtt::Verified::Unsigned(Box::new(command)),
                Err(refusal) => mqtt::Verified::Unauthenticated(refusal),
            };
        }
        let keyring = Arc::clone(&in_force.borrow());
        let is_update =
            Unverified::read(bytes).is_ok_and(|envelope| envelope.payload_type == KEYRING_TYPE);
        let verified = if is_update {
            verify_update(bytes, &keyring).map(|update| mqtt::Verified::Keyring(Box::new(update)))
        } else {
            envelope::verify(bytes, &keyring, max_ttl, clock.now().wall.max(RELEASED))
                .map(|command| mqtt::Verified::Command(Box::new(command)))
        };
        verified.unwrap_or_else(|error| match error {
            NotVerified::Refused(refused) => mqtt::Verified::Refused(refused),
            NotVerified::Unauthenticated(refusal) => mqtt::Verified::Unauthenticated(refusal),
        })
    })
}
