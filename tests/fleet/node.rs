//! One node of the fleet: the agent's real core, with a board and applications that are made up.

mod duties;
mod settings;

use std::collections::BTreeMap;
use std::time::Duration;

use edge_agent::mqtt::Message;
use edge_agent_core::application::Application;
use edge_agent_core::clock::Now;
use edge_agent_core::command::admission::Ledger;
use edge_agent_core::command::key::SigningKey;
use edge_agent_core::event::{Event, Link, LinkStatus};
use edge_agent_core::state::{Remembered, State};
use edge_agent_core::topic::{NodeName, Topic};
use edge_agent_core::wire::PresenceReason;
use jiff::Timestamp;

use super::argo::{self, COMPARES, DEPLOYS, Fate, Step};
use super::board::Board;
use super::dice::Dice;
use super::issuer::Issuer;
use settings::settings;

/// How often a sample is taken: the agent's own default.
const SAMPLES: Duration = Duration::from_secs(10);

/// Mean times between what happens by itself to one node.
const COMMANDS: Duration = Duration::from_secs(6 * 3600);
const OUTAGES: Duration = Duration::from_secs(5 * 86400);
const CLUSTER_OUTAGES: Duration = Duration::from_secs(10 * 86400);

/// All nodes come up within this time.
pub(crate) const ARRIVAL: Duration = Duration::from_secs(10);

/// The kinds of topics, as they are counted.
pub(crate) type Kind = &'static str;

/// What is on the agenda.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Deed {
    Start,
    Sample,
    /// Argo CD takes a step with the application of this number.
    Argo(usize, Step),
    /// Argo CD compares, as it does every three minutes.
    Compare(usize),
    /// Somebody pushes to git.
    Push(usize),
    /// Somebody commands something.
    Command,
    /// Somebody ends the hold of this application.
    Resume(usize),
    LinkDown(Link),
    LinkUp(Link),
}

/// What all nodes share.
pub(crate) struct Ground {
    pub(crate) seed: u64,
    /// The beginning of the names.
    pub(crate) prefix: String,
    pub(crate) started: Timestamp,
    pub(crate) issuer: Issuer,
}

/// A node, and what it would have sent.
pub(crate) struct Node {
    name: NodeName,
    key: SigningKey,
    started: Timestamp,
    state: State,
    dice: Dice,
    board: Board,
    applications: Vec<Application>,
    agenda: BTreeMap<(Duration, u64), Deed>,
    /// Deeds that were put on the agenda.
    planned: u64,
    /// When the state was last told that time has passed.
    ticked: Duration,
    boot: String,
    online: bool,
    /// The latest values, as the broker has them or is to have them.
    retained: BTreeMap<String, (Kind, Message)>,
    /// Events and results that wait for the broker.
    outbox: Vec<(Kind, Message)>,
    /// The number of the last event.
    sequence: u64,
    commands: u64,
    sent: Vec<(Kind, Message)>,
}

impl Node {
    /// The node of a number, counted from 1, in a fleet of so many.
    ///
    /// # Errors
    /// When the prefix cannot begin the name of a node.
    pub(crate) fn new(ground: &Ground, number: usize, of: usize) -> anyhow::Result<Self> {
        let width = of.to_string().len().max(4);
        let name = NodeName::new(&format!("{}-{number:0width$}", ground.prefix))?;
        let mut dice = Dice::new(ground.seed, u64::try_from(number)?);
        let key = SigningKey::from_seed(&dice.bytes::<32>())?;
        let boot = dice.uuid();
        let started = ground.started;
        let now = at(started, Duration::ZERO);
        let settings = settings(&name, &key, &boot, &mut dice);
        let ledger = Some(Ledger::new(started));
        let mut node = Self {
            state: State::new(settings, ledger, Remembered::default(), now),
            board: Board::new(&mut dice),
            applications: argo::applications(&mut dice, started),
            name,
            key,
            started,
            dice,
            agenda: BTreeMap::new(),
            planned: 0,
            ticked: Duration::ZERO,
            boot,
            online: false,
            retained: BTreeMap::new(),
            outbox: Vec::new(),
            sequence: 0,
            commands: 0,
            sent: Vec::new(),
        };
        let arrival = node.dice.seconds(0.0, ARRIVAL.as_secs_f64());
        node.plan(arrival, Deed::Start);
        Ok(node)
    }

    /// When something happens next, since the start of the fleet.
    pub(crate) fn next(&self) -> Duration {
        let planned = self.agenda.keys().next().map(|(when, _)| *when);
        // A deadline that stays where it is must not keep the fleet at one moment.
        let due = self.state.next_deadline();
        let due = due.map(|due| due.max(self.ticked + Duration::from_millis(1)));
        [planned, due.filter(|_| self.is_started())]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or(Duration::MAX)
    }

    /// Nothing but the start is planned before it.
    fn is_started(&self) -> bool {
        self.planned > 1
    }

    /// Lets happen what comes next, and gives what is sent.
    pub(crate) fn step(&mut self, ground: &Ground) -> Vec<(Kind, Message)> {
        let when = self.next();
        let first = self.agenda.first_entry().filter(|it| it.key().0 <= when);
        match first.map(|entry| entry.remove()) {
            Some(deed) => self.act(when, deed, ground),
            None => self.apply(when, Event::Tick),
        }
        self.ticked = when;
        std::mem::take(&mut self.sent)
    }

    /// What clears every topic that the node has left at the broker.
    pub(crate) fn withdraw(&mut self) -> Vec<Message> {
        let cleared = |(_, message): (Kind, Message)| Message {
            payload: Vec::new(),
            expiry_seconds: None,
            content_type: None,
            ..message
        };
        let retained = std::mem::take(&mut self.retained);
        retained.into_values().map(cleared).collect()
    }

    /// The goodbye of an agent that is stopped.
    pub(crate) fn stop(&mut self, when: Duration) -> Vec<Message> {
        if !self.is_started() {
            return Vec::new();
        }
        self.apply(when, Event::Stopping);
        self.tell_presence(when, PresenceReason::Stopped);
        let sent = std::mem::take(&mut self.sent).into_iter();
        sent.map(|(_, message)| message).collect()
    }

    fn plan(&mut self, when: Duration, deed: Deed) {
        self.planned += 1;
        self.agenda.insert((when, self.planned), deed);
    }

    fn plan_in(&mut self, when: Duration, mean: Duration, deed: Deed) {
        let wait = self.dice.wait(mean);
        self.plan(when + wait, deed);
    }

    fn act(&mut self, when: Duration, deed: Deed, ground: &Ground) {
        match deed {
            Deed::Start => self.start(when),
            Deed::Sample => {
                let rolls_out = self
                    .applications
                    .iter()
                    .any(|it| it.operation_in_progress());
                let sample = self.board.read(&mut self.dice, when, rolls_out);
                self.apply(when, Event::Sampled(Box::new(sample)));
                self.plan(when + SAMPLES, Deed::Sample);
            }
            Deed::Argo(number, step) => self.take(when, number, step),
            Deed::Compare(number) => {
                self.take(when, number, Step::Compare);
                self.plan(when + COMPARES, Deed::Compare(number));
            }
            Deed::Push(number) => self.push(when, number),
            Deed::Command => {
                self.command(when, ground, None);
                self.plan_in(when, COMMANDS, Deed::Command);
            }
            Deed::Resume(number) => self.command(when, ground, Some(number)),
            Deed::LinkDown(link) => {
                self.link_down(when, link);
                let back = self.dice.seconds(20.0, 1800.0);
                self.plan(when + back, Deed::LinkUp(link));
            }
            Deed::LinkUp(link) => {
                self.link_up(when, link);
                let mean = match link {
                    Link::Broker => OUTAGES,
                    Link::Cluster => CLUSTER_OUTAGES,
                };
                self.plan_in(when, mean, Deed::LinkDown(link));
            }
        }
    }

    fn start(&mut self, when: Duration) {
        let effects = self.state.start(at(self.started, when));
        self.carry_out(when, effects);
        self.act_links_up(when);
        self.plan(when, Deed::Sample);
        for number in 0..self.applications.len() {
            let first = self.dice.seconds(0.0, COMPARES.as_secs_f64());
            self.take(when, number, Step::Compare);
            self.plan(when + first, Deed::Compare(number));
            self.plan_in(when, DEPLOYS, Deed::Push(number));
        }
        self.plan_in(when, COMMANDS, Deed::Command);
    }

    fn act_links_up(&mut self, when: Duration) {
        for (link, mean) in [(Link::Broker, OUTAGES), (Link::Cluster, CLUSTER_OUTAGES)] {
            self.link_up(when, link);
            self.plan_in(when, mean, Deed::LinkDown(link));
        }
    }

    fn link_down(&mut self, when: Duration, link: Link) {
        let reason = match link {
            Link::Broker => {
                // What the broker says of a node that went without a word.
                self.tell_presence(when, PresenceReason::Lost);
                self.online = false;
                "the broker is silent"
            }
            Link::Cluster => "the API server cannot be reached: connection refused",
        };
        let status = LinkStatus::Down(reason.to_owned());
        self.apply(when, Event::LinkChanged { link, status });
    }

    fn link_up(&mut self, when: Duration, link: Link) {
        if link == Link::Broker {
            self.online = true;
            self.tell_presence(when, PresenceReason::Started);
            let presence = Topic::Presence.format(&self.name);
            let others = self
                .retained
                .iter()
                .filter(|(topic, it)| **topic != presence && it.1.expiry_seconds.is_none());
            self.sent.extend(others.map(|(_, it)| it.clone()));
            self.sent.append(&mut self.outbox);
        }
        let status = LinkStatus::Up;
        self.apply(when, Event::LinkChanged { link, status });
    }

    fn push(&mut self, when: Duration, number: usize) {
        let app = &self.applications[number];
        // A pin holds against git, and a sync under way is finished first.
        let free = app.hold.is_none() && !app.operation_in_progress();
        let well = free.then(|| argo::fate(&mut self.dice));
        if let Some(fate) = well {
            let revision = self.dice.sha();
            self.take(when, number, Step::Find { revision, fate });
        }
        if well.is_some_and(|fate| fate != Fate::Healthy) {
            // Somebody sees it, and pushes a remedy.
            let seen = self.dice.seconds(300.0, 2400.0);
            self.plan(when + seen, Deed::Push(number));
        } else {
            self.plan_in(when, DEPLOYS, Deed::Push(number));
        }
    }

    /// Argo CD takes a step, and the watch tells of it.
    fn take(&mut self, when: Duration, number: usize, step: Step) {
        let now = at(self.started, when).wall;
        let app = &mut self.applications[number];
        if let Some((wait, next)) = argo::take(app, step, &mut self.dice, now) {
            self.plan(when + wait, Deed::Argo(number, next));
        }
        self.tell_application(when, number);
    }

    fn tell_application(&mut self, when: Duration, number: usize) {
        let app = Box::new(self.applications[number].clone());
        self.apply(when, Event::ApplicationChanged(app));
    }

    /// Somebody signs a command and sends it, as the pipeline or `edge-agent send` does.
    fn command(&mut self, when: Duration, ground: &Ground, resume: Option<usize>) {
        if !self.online {
            return;
        }
        self.commands += 1;
        let now = at(self.started, when).wall;
        let of = self.dice.below(self.applications.len());
        let (id, number) = (self.ulid(now), self.commands);
        let apps = &self.applications;
        let action = match resume {
            Some(number) => Issuer::resume(&apps[number]),
            None => Issuer::choose(&apps[of], &mut self.dice),
        };
        let order = (id.to_string(), self.name.as_str(), number, now);
        if let Some(event) = ground.issuer.command(order, action) {
            self.apply(when, event);
        }
    }

    fn apply(&mut self, when: Duration, event: Event) {
        let effects = self.state.apply(at(self.started, when), event);
        self.carry_out(when, effects);
    }
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn at(started: Timestamp, since: Duration) -> Now {
    Now {
        wall: started + since,
        monotonic: since,
        synchronized: true,
    }
}
