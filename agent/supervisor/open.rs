//! Opens what the agent keeps over a restart.

use std::os::unix::fs::DirBuilderExt as _;
use std::sync::Arc;
use std::time::Duration;

use edge_agent_core::clock::Now;
use edge_agent_core::command::admission::Ledger;
use edge_agent_core::event::Event;
use edge_agent_core::state::Remembered;
use tokio::sync::mpsc;
use tracing::{error, warn};

use super::Fault;
use crate::clock::RELEASED;
use crate::config::Config;
use crate::store::identity::{IdentityError, NodeIdentity};
use crate::store::ledger::LedgerFile;
use crate::store::outbox::{Outbox, OutboxError};

/// The longest time that opening the outbox may take; a damaged store can keep sled busy for ever.
const OPEN_OUTBOX: Duration = Duration::from_secs(20);

/// What is kept in the state directory.
pub(super) struct Kept {
    pub(super) identity: Option<Arc<NodeIdentity>>,
    pub(super) ledger: Option<(LedgerFile, Ledger)>,
    pub(super) outbox: Outbox,
    pub(super) remembered: Remembered,
}

/// Faults that do not keep the agent from running, told as events.
pub(super) struct Reports<'a>(pub(super) &'a mpsc::Sender<Event>);

impl Reports<'_> {
    pub(super) fn impaired(&self, part: &'static str, fault: &str) {
        error!(part, fault, "impaired");
        self.event(Event::Impaired {
            part,
            fault: Some(fault.to_owned()),
        });
    }

    /// LEDs of the settings that could not be had, by name, with the reason.
    pub(super) fn missing_leds(&self, missing: &[(String, String)]) {
        if !missing.is_empty() {
            let faults: Vec<_> = missing
                .iter()
                .map(|(name, fault)| format!("{name}: {fault}"))
                .collect();
            self.impaired("led_missing", &faults.join("; "));
        }
    }

    /// The channel is empty at the start, so there is room for what little there is to tell.
    pub(super) fn event(&self, event: Event) {
        let _ = self.0.try_send(event);
    }
}

/// Opens the state directory. What is damaged or cannot be written impairs the agent; what a person
/// has to mend first, because going on would be wrong, keeps it from starting.
pub(super) async fn open_state(
    config: &Config,
    now: Now,
    reports: &Reports<'_>,
) -> Result<Kept, Fault> {
    let directory = &config.state_directory;
    if let Err(error) = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
    {
        warn!(directory = %directory.display(), %error, "the state directory cannot be made");
    }
    let identity = match NodeIdentity::load_or_create(directory) {
        Ok(identity) => Some(Arc::new(identity)),
        Err(error @ (IdentityError::Exposed { .. } | IdentityError::Key { .. })) => {
            return Err(Fault::Settings(error.into()));
        }
        Err(error) => {
            reports.impaired("identity", &error.to_string());
            None
        }
    };
    let ledger = match LedgerFile::open(directory) {
        Ok((file, Some(record))) => Some((file, Ledger::restore(record, RELEASED))),
        Ok((file, None)) => Some((file, Ledger::new(RELEASED.max(floor_of(now))))),
        Err(error) => {
            reports.impaired("ledger", &error.to_string());
            None
        }
    };
    let opened = Outbox::open_within(
        &directory.join("outbox"),
        &config.node,
        &config.outbox,
        OPEN_OUTBOX,
    )
    .await
    .map_err(|error| match error {
        OutboxError::Locked(_) => Fault::Settings(error.into()),
        error => Fault::Running(error.into()),
    })?;
    if let Some(damage) = opened.damaged {
        reports.event(Event::OutboxDamaged(damage));
    }
    // The first event is about to be written, and its writer tells the page.
    if let Some(why) = &opened.unavailable {
        warn!("{why}");
    }
    Ok(Kept {
        identity,
        ledger,
        outbox: opened.outbox,
        remembered: opened.remembered,
    })
}

/// A fresh node trusts its clock only when it has been synchronized.
fn floor_of(now: Now) -> jiff::Timestamp {
    if now.synchronized { now.wall } else { RELEASED }
}
