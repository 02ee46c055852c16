//! What follows from an event: the one place where things are decided.
//!
//! [`State::apply`] takes an [`Event`] and the time and returns the [`Effect`]s that it wants; it
//! does nothing itself. What only time brings about (a deadline, the end of a blinking) comes as
//! [`Event::Tick`] at the moment that [`State::next_deadline`] has named.

mod applications;
mod autonomy;
mod button;
mod commands;
mod culprits;
mod memory;
mod node;
mod notices;
mod refusals;
mod snapshot;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use wildmatch::WildMatch;

use crate::application::{ApplicationKey, DeployState, Rules};
use crate::clock::Now;
use crate::command::admission::Ledger;
use crate::discovery::{Device, Discovery};
use crate::event::{Effect, Event, Fact, Link, LinkStatus, OutboxStatus};
use crate::health::{Judge, KubernetesView, Thresholds};
use crate::indication::{Conditions, Indication};
use crate::retention::Class;
use crate::topic::{NodeName, Topic};
use crate::wire;

use applications::Applications;
use commands::Commands;
pub use memory::{Memory, Remembered};
use refusals::Refusals;

/// What does not change while the agent runs.
#[derive(Debug, Clone)]
pub struct Settings {
    pub node: NodeName,
    pub identity: wire::Identity,
    /// The kernel's boot id.
    pub boot: Option<String>,
    /// The namespaces that hold Applications; the first one's go by their plain name.
    pub namespaces: Vec<String>,
    pub rules: Rules,
    pub thresholds: Thresholds,
    /// The longest time between two publications of the health.
    pub report_every: Duration,
    /// Applications, by glob over their topic name, and whether a failed deploy is rolled back
    /// without being told to; the first that matches counts.
    pub auto_rollback: Vec<(WildMatch, bool)>,
    /// Names of the LEDs that show the indication.
    pub leds: Vec<String>,
    /// How long an application must stay healthy before a command counts as succeeded.
    pub settle: Duration,
    /// `None`: Home Assistant is told nothing, and nothing of before is taken back.
    pub discovery: Option<Discovery>,
}

/// Everything that the agent knows.
#[derive(Debug)]
pub struct State {
    settings: Settings,
    started: Timestamp,
    judge: Judge,
    health: Option<std::sync::Arc<wire::Health>>,
    /// When the health was last published, and what it said.
    /// What the API server said of this node last, and when.
    node_view: Option<(Duration, KubernetesView)>,
    published_health: Option<(Duration, std::sync::Arc<wire::Health>)>,
    /// The status that the last event told.
    reported_status: Option<wire::Status>,
    /// When an offline node last kept a sample.
    kept_sample: Option<Duration>,
    links: BTreeMap<Link, LinkEntry>,
    faults: BTreeMap<&'static str, String>,
    /// Until when the damage of the outbox is shown.
    damage_until: Option<Duration>,
    outbox: OutboxStatus,
    applications: Applications,
    /// How many times workloads were asked what is wrong.
    examinations: u64,
    commands: Commands,
    refusals: Refusals,
    identify_until: Option<Duration>,
    /// Until when unsigned commands are turned away.
    unsigned_pause: Option<Duration>,
    button: button::Pressed,
    indication: Indication,
    indication_since: Timestamp,
    /// Counts up with everything that a reader of the snapshot could see.
    version: u64,
}

#[derive(Debug, Clone)]
struct LinkEntry {
    status: LinkStatus,
    since: Timestamp,
    since_monotonic: Duration,
    /// Whether the last event said that it is up.
    reported_up: Option<bool>,
}

impl State {
    /// A state that knows nothing yet of the world. `ledger` is `None` when it could not be read:
    /// every command is then refused.
    #[must_use]
    pub fn new(
        settings: Settings,
        ledger: Option<Ledger>,
        remembered: Remembered,
        now: Now,
    ) -> Self {
        Self {
            judge: Judge::new(settings.thresholds.clone()),
            started: now.wall,
            health: None,
            node_view: None,
            published_health: None,
            reported_status: remembered.health,
            kept_sample: None,
            links: BTreeMap::new(),
            faults: BTreeMap::new(),
            damage_until: None,
            outbox: OutboxStatus::default(),
            applications: Applications::new(remembered.applications),
            examinations: 0,
            commands: Commands::new(ledger),
            refusals: Refusals::default(),
            identify_until: None,
            unsigned_pause: None,
            button: button::Pressed::default(),
            indication: Indication::Healthy,
            indication_since: now.wall,
            version: 0,
            settings,
        }
    }

    /// What is to be done first: tell who this is and that it has started, and find out what became
    /// of commands that were under way when the agent stopped.
    pub fn start(&mut self, now: Now) -> Vec<Effect> {
        let mut effects = Vec::new();
        retain(&mut effects, Topic::Identity, &self.settings.identity);
        effects.extend(self.device().iter().flat_map(Device::announce));
        effects.push(Effect::Record(Fact {
            class: Class::Agent,
            kind: "edge.agent.started".into(),
            subject: "agent".into(),
            at: now.wall,
            data: json!({
                "agent": self.settings.identity.agent,
                "boot": self.settings.boot,
            }),
        }));
        self.take_up_unfinished(now, &mut effects);
        self.indicate(now, &mut effects);
        effects
    }

    /// What follows from `event`, at `now`. The same events at the same times always give the same
    /// effects.
    pub fn apply(&mut self, now: Now, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        self.version += 1;
        match event {
            Event::Sampled(sample) => self.sampled(now, *sample, &mut effects),
            Event::NodeViewed(view) => self.node_view = Some((now.monotonic, view)),
            Event::ApplicationChanged(application) => {
                self.application_changed(now, *application, &mut effects);
            }
            Event::ApplicationDeleted(key) => self.application_deleted(now, &key, &mut effects),
            Event::ApplicationsListed { namespace, present } => {
                self.applications_listed(now, &namespace, &present, &mut effects);
            }
            Event::LinkChanged { link, status } => {
                self.link_changed(now, link, status, &mut effects);
            }
            Event::CommandReceived { delivery, command } => {
                self.command_received(now, delivery, *command, &mut effects);
            }
            Event::CommandRefused { delivery, refused } => {
                self.command_refused(now, delivery, &refused, &mut effects);
            }
            Event::UnsignedReceived { delivery, command } => {
                self.unsigned_received(now, delivery, &command, &mut effects);
            }
            Event::KeyringReceived { delivery, update } => {
                self.keyring_received(now, delivery, update, &mut effects);
            }
            Event::KeyringInstalled {
                delivery,
                update,
                result,
            } => self.keyring_installed(now, delivery, &update, result, &mut effects),
            Event::CommandUnauthenticated { delivery, refusal } => {
                effects.push(Effect::Acknowledge(delivery));
                self.refusals
                    .count(now, refusal.code, &refusal.message, &mut effects);
            }
            Event::Admitted { command, result } => {
                self.admitted(now, &command, result, &mut effects);
            }
            Event::Executed { command, outcome } => {
                self.executed(now, &command, outcome, &mut effects);
            }
            Event::Examined {
                number,
                application,
                culprit,
            } => self.examined(now, &application, number, culprit, &mut effects),
            Event::AnswersStored(commands) => self.answers_stored(&commands, &mut effects),
            Event::OutboxChanged(status) => self.outbox = status,
            Event::OutboxDamaged(what) => self.outbox_damaged(now, what, &mut effects),
            Event::Impaired { part, fault } => self.impaired(part, fault),
            Event::Button(gesture) => self.button(now, gesture, &mut effects),
            Event::Tick => self.tick(now, &mut effects),
            Event::Stopping => self.stopping(now, &mut effects),
        }
        self.indicate(now, &mut effects);
        effects
    }

    /// The monotonic time at which [`Event::Tick`] is due; `None` when nothing waits for time.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Duration> {
        [
            self.identify_until,
            self.damage_until,
            self.applications.next_deadline(),
            self.commands.next_deadline(),
            self.refusals.next_deadline(),
            self.button.next_deadline(),
            self.stale_deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// What the LEDs say.
    #[must_use]
    pub fn indication(&self) -> Indication {
        self.indication
    }

    /// Counts up with every event, so that a reader can tell whether a snapshot is out of date.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether a command is still on its way to its end.
    #[must_use]
    pub fn has_active_commands(&self) -> bool {
        self.commands.any_active()
    }

    fn tick(&mut self, now: Now, effects: &mut Vec<Effect>) {
        if self
            .identify_until
            .is_some_and(|until| until <= now.monotonic)
        {
            self.identify_until = None;
        }
        self.button.tick(now);
        self.forget_damage(now);
        self.refusals.tick(now, effects);
        self.reassess_applications(now, effects);
        self.examine_due(now, effects);
        self.tick_commands(now, effects);
    }

    fn stopping(&mut self, now: Now, effects: &mut Vec<Effect>) {
        self.refusals.flush(now, effects);
        effects.push(Effect::Record(Fact {
            class: Class::Agent,
            kind: "edge.agent.stopped".into(),
            subject: "agent".into(),
            at: now.wall,
            data: json!({ "agent": self.settings.identity.agent, "reason": "stopped" }),
        }));
    }

    /// Publishes the indication when it has changed, and once at the start.
    fn indicate(&mut self, now: Now, effects: &mut Vec<Effect>) {
        let indication = Indication::of(&self.conditions());
        if indication == self.indication && self.version > 0 {
            return;
        }
        if indication != self.indication {
            self.indication = indication;
            self.indication_since = now.wall;
        }
        retain(effects, Topic::Indication, &self.indication_report());
    }

    fn indication_report(&self) -> wire::IndicationReport {
        wire::IndicationReport {
            v: wire::VERSION,
            indication: self.indication,
            since: self.indication_since,
            leds: self.settings.leds.clone(),
        }
    }

    fn conditions(&self) -> Conditions {
        let states: BTreeSet<DeployState> = self.applications.states().collect();
        let any = |wanted: &[DeployState]| wanted.iter().any(|state| states.contains(state));
        use DeployState as D;
        Conditions {
            countdown: self.button.is_counting(),
            refused: self.button.is_refused(),
            identify: self.identify_until.is_some(),
            fault: !self.faults.is_empty(),
            gate_failed: any(&[D::SecurityCheckFailed]),
            deploy_failed: any(&[D::SyncFailed, D::Degraded, D::Missing]),
            rolling_out: any(&[D::Syncing, D::Retrying, D::Progressing, D::Terminating])
                || self.commands.any_active(),
            node: self
                .health
                .as_ref()
                .map_or(wire::Status::Ok, |health| health.status),
            held: any(&[D::RolledBack]),
            offline: any(&[D::Offline])
                || self
                    .links
                    .values()
                    .any(|link| matches!(link.status, LinkStatus::Down(_))),
            out_of_sync: any(&[D::OutOfSync, D::Suspended, D::Unknown]),
        }
    }

    /// What Home Assistant is told of, if it is told anything.
    fn device(&self) -> Option<Device<'_>> {
        let settings = &self.settings;
        settings.discovery.as_ref().map(|discovery| Device {
            discovery,
            node: &settings.node,
            identity: &settings.identity,
            report_every: settings.report_every,
        })
    }

    fn topic_name(&self, key: &ApplicationKey) -> String {
        let first = self
            .settings
            .namespaces
            .first()
            .map_or("argocd", String::as_str);
        key.topic_name(first)
    }
}

/// Asks for `payload` to be the latest value of `topic`. A payload that cannot be serialized cannot
/// occur with the types of [`wire`]; it would be left out rather than published empty, because an
/// empty payload deletes.
fn retain<T: serde::Serialize>(effects: &mut Vec<Effect>, topic: Topic, payload: &T) {
    if let Ok(payload) = serde_json::to_vec(payload) {
        effects.push(Effect::Retain { topic, payload });
    }
}

/// Shortens a text of the outside to at most `limit` bytes, at a character boundary.
fn shorten(text: &str, limit: usize) -> &str {
    if text.len() <= limit {
        return text;
    }
    let end = (0..=limit)
        .rev()
        .find(|&end| text.is_char_boundary(end))
        .unwrap_or(0);
    &text[..end]
}
