//! The life of a command: received, admitted, acknowledged, executed, answered.
//!
//! A command is on the medium before it is acknowledged, and acknowledged before it is executed;
//! what is found unfinished after a restart is looked up, never run again.

mod admission;
mod answers;
mod execution;
mod keyring;
mod own;
mod restart;
mod unsigned;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;

use crate::application::{ApplicationKey, DeployState};
use crate::command::admission::{Ledger, LedgerEntry, RolloutTerms};
use crate::command::envelope::VerifiedCommand;
use crate::command::payload::OnFailure;
use crate::command::update::{KeyringUpdate, UPDATE_NAME};
use crate::command::{Refusal, RefusalCode};
use crate::event::Delivery;
use crate::rollout::{OrderKind, Tracker};
use crate::wire::{self, ResultState};

/// How many reports the page shows.
const RECENT: usize = 20;

/// The commands that the node knows of.
#[derive(Debug)]
pub(super) struct Commands {
    /// `None` when the ledger cannot be trusted: every command is refused.
    ledger: Option<Ledger>,
    /// Admitted in memory, waiting for the medium.
    pending: BTreeMap<String, Pending>,
    /// Orders of the node's own, admitted in memory, waiting for the medium.
    own: BTreeMap<String, own::Own>,
    /// Answers that are on their way to the outbox, by command.
    telling: BTreeMap<String, answers::Telling>,
    /// Waiting for a synchronized clock.
    parked: Vec<Parked>,
    /// Being carried out, by id.
    active: BTreeMap<String, Active>,
    /// The last reports, newest first.
    recent: VecDeque<wire::CommandReport>,
}

#[derive(Debug)]
struct Pending {
    delivery: Delivery,
    command: VerifiedCommand,
}

#[derive(Debug)]
struct Parked {
    delivery: Delivery,
    command: VerifiedCommand,
    until: Duration,
}

/// A command between its admission and its end.
#[derive(Debug)]
struct Active {
    identity: Identity,
    key: ApplicationKey,
    kind: OrderKind,
    /// When it was ordered.
    at: Timestamp,
    /// What it is to bring about, if it is a rollout.
    rollout: Option<RolloutTerms>,
    deadline: Duration,
    /// The number of the last result.
    n: u32,
    /// Set once Argo CD has taken the order.
    tracker: Option<Tracker>,
    revision: Option<String>,
}

impl Active {
    /// Digests of the images that must run in the end.
    fn images(&self) -> &[String] {
        self.rollout.as_ref().map_or(&[], |terms| &terms.images)
    }

    fn on_failure(&self) -> OnFailure {
        let terms = self.rollout.as_ref();
        terms.map_or(OnFailure::None, |terms| terms.on_failure)
    }

    /// What has come true, in a sentence.
    fn success(&self) -> String {
        let (key, on) = (
            &self.key,
            self.revision.as_deref().map_or("its revision", short),
        );
        match &self.kind {
            OrderKind::Rollout { .. } => format!("{key} is Synced and Healthy on {on}"),
            OrderKind::Rollback { .. } => format!("{key} is back on {on}, and Healthy"),
            OrderKind::Resume => format!("{key} follows git again"),
            OrderKind::Refresh { .. } => format!("Argo CD has compared {key} with git"),
            OrderKind::Lookup => {
                format!("{key} is Healthy on {on}; the agent was restarted in between")
            }
        }
    }
}

/// As much of a commit SHA as a person needs; several, or a branch, stay whole.
fn short(revision: &str) -> &str {
    let is_sha = revision.len() >= 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit());
    revision.get(..12).filter(|_| is_sha).unwrap_or(revision)
}

/// What a result and a report say of the command itself.
#[derive(Debug, Clone)]
struct Identity {
    id: String,
    /// `None` for what the node ordered by itself.
    digest: Option<[u8; 32]>,
    cmd: Option<String>,
    application: Option<String>,
    keys: Vec<String>,
    /// Why the node ordered it by itself.
    cause: Option<String>,
}

/// One step in the life of a command, as it is answered.
struct Step {
    n: u32,
    state: ResultState,
    reason: Option<RefusalCode>,
    message: String,
    revision: Option<String>,
    deploy_state: Option<DeployState>,
}

impl Step {
    fn new(n: u32, state: ResultState, message: impl Into<String>) -> Self {
        Self {
            n,
            state,
            reason: None,
            message: message.into(),
            revision: None,
            deploy_state: None,
        }
    }

    fn rejected(n: u32, refusal: &Refusal) -> Self {
        Self {
            reason: Some(refusal.code),
            ..Self::new(n, ResultState::Rejected, refusal.message.clone())
        }
    }
}

impl Identity {
    fn of(command: &VerifiedCommand) -> Self {
        Self {
            id: command.command().id.clone(),
            digest: Some(command.digest()),
            cmd: Some(command.command().name().to_owned()),
            application: command.command().action.application().map(str::to_owned),
            keys: command.key_ids().to_vec(),
            cause: None,
        }
    }

    fn of_update(update: &KeyringUpdate) -> Self {
        Self {
            id: update.id().to_owned(),
            digest: Some(update.digest()),
            cmd: Some(UPDATE_NAME.to_owned()),
            application: None,
            keys: update.root_ids().to_vec(),
            cause: None,
        }
    }

    fn of_entry(entry: &LedgerEntry) -> Self {
        Self {
            id: entry.id.clone(),
            digest: (!entry.is_own()).then_some(entry.digest),
            cmd: Some(entry.cmd.clone()),
            application: entry.application.clone(),
            keys: entry.key_ids.clone(),
            cause: entry.is_own().then(|| entry.message.clone()),
        }
    }
}

impl Commands {
    pub(super) fn new(ledger: Option<Ledger>) -> Self {
        Self {
            ledger,
            pending: BTreeMap::new(),
            own: BTreeMap::new(),
            telling: BTreeMap::new(),
            parked: Vec::new(),
            active: BTreeMap::new(),
            recent: VecDeque::new(),
        }
    }

    pub(super) fn any_active(&self) -> bool {
        !self.active.is_empty()
    }

    pub(super) fn is_active(&self, key: &ApplicationKey) -> bool {
        self.active.values().any(|active| active.key == *key)
            || self.own.values().any(|own| own.key == *key)
    }

    pub(super) fn recent(&self) -> impl Iterator<Item = &wire::CommandReport> {
        self.recent.iter()
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        let active = self.active.values().flat_map(|active| {
            let tracked = active.tracker.as_ref().and_then(Tracker::next_deadline);
            [Some(active.deadline), tracked].into_iter().flatten()
        });
        active
            .chain(self.parked.iter().map(|parked| parked.until))
            .min()
    }

    fn active_for(&self, key: &ApplicationKey) -> Option<String> {
        self.active
            .iter()
            .find(|(_, active)| active.key == *key)
            .map(|(id, _)| id.clone())
    }

    fn remember(&mut self, report: wire::CommandReport) {
        self.recent.retain(|known| known.id != report.id);
        self.recent.push_front(report);
        self.recent.truncate(RECENT);
    }
}
