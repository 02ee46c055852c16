//! Everything around the process, and the tasks in it that write.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::super::*;
use crate::command::admission::LedgerRecord;
use crate::command::payload::HoldMode;
use crate::rollout::{Applied, OrderKind, Outcome};
use crate::wire::{CommandResult, ResultState};

/// How wrong the clock is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Skew {
    pub(super) seconds: i64,
    pub(super) synchronized: bool,
}

pub(super) const RIGHT: Skew = Skew {
    seconds: 0,
    synchronized: true,
};

/// What waits for the task of the ledger.
enum ToLedger {
    Save(LedgerRecord, Option<String>),
    Then(CommandResult),
}

/// A task that can do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Supervisor,
    Ledger,
    Outbox,
}

/// Which task goes first when several could.
#[derive(Debug, Clone, Copy)]
pub(super) enum Schedule {
    Always([Turn; 3]),
    /// Drawn anew each time, from this.
    Drawn(u64),
}

use Turn::{Ledger as L, Outbox as O, Supervisor as S};

/// Every order in which the tasks may be favoured.
pub(super) const SCHEDULES: [Schedule; 6] = [
    Schedule::Always([L, O, S]),
    Schedule::Always([O, L, S]),
    Schedule::Always([S, L, O]),
    Schedule::Always([S, O, L]),
    Schedule::Always([L, S, O]),
    Schedule::Always([O, S, L]),
];

impl Schedule {
    fn next(&mut self, can: impl Fn(Turn) -> bool) -> Option<Turn> {
        let order = match self {
            Self::Always(order) => *order,
            Self::Drawn(seed) => {
                *seed = seed
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                let mut order = [S, L, O];
                order.rotate_left(usize::try_from((*seed >> 33) % 3).unwrap());
                order
            }
        };
        order.into_iter().find(|turn| can(*turn))
    }
}

/// Everything outside of the process; a crash does not touch it.
pub(super) struct World {
    state: Option<State>,
    /// The ledger on the medium.
    pub(super) medium: Option<LedgerRecord>,
    /// What the broker has not seen acknowledged, by the number of its delivery.
    pub(super) unacknowledged: BTreeMap<u64, VerifiedCommand>,
    delivered: u64,
    /// How often the cluster was patched for a command, and on which command it was last.
    pub(super) executions: BTreeMap<String, u32>,
    annotated: Option<String>,
    /// The outbox: every answer that was stored.
    answers: Vec<CommandResult>,
    /// Events on their way to the process; a crash loses them.
    inbox: VecDeque<Event>,
    /// What waits for the medium; a crash loses it.
    to_ledger: VecDeque<ToLedger>,
    to_outbox: VecDeque<CommandResult>,
    pub(super) schedule: Schedule,
    /// Seconds since the beginning, and when the process started.
    seconds: f64,
    started: f64,
    pub(super) skew: Skew,
    /// What each start of the clock is like; the last one stays.
    skews: VecDeque<Skew>,
    /// Steps until the process ends, for each start.
    crashes: VecDeque<usize>,
    pub(super) steps: usize,
}

impl World {
    pub(super) fn new(crashes: &[usize], skews: &[Skew]) -> Self {
        let mut skews: VecDeque<Skew> = skews.iter().copied().collect();
        Self {
            state: None,
            medium: None,
            unacknowledged: BTreeMap::new(),
            delivered: 0,
            executions: BTreeMap::new(),
            annotated: None,
            answers: Vec::new(),
            inbox: VecDeque::new(),
            to_ledger: VecDeque::new(),
            to_outbox: VecDeque::new(),
            schedule: SCHEDULES[0],
            seconds: 0.0,
            started: 0.0,
            skew: skews.pop_front().unwrap_or(RIGHT),
            skews,
            crashes: crashes.iter().copied().collect(),
            steps: 0,
        }
    }

    pub(super) fn now(&self) -> Now {
        let right = at(self.seconds);
        let wall = right.wall.as_second().saturating_add(self.skew.seconds);
        Now {
            wall: jiff::Timestamp::from_second(wall).unwrap(),
            monotonic: Duration::from_secs_f64(self.seconds - self.started),
            synchronized: self.skew.synchronized,
        }
    }

    pub(super) fn publish(&mut self, command: VerifiedCommand) {
        self.delivered += 1;
        self.unacknowledged.insert(self.delivered, command);
        if self.state.is_some() {
            self.deliver(self.delivered);
        }
    }

    fn deliver(&mut self, delivery: u64) {
        let command = Box::new(self.unacknowledged[&delivery].clone());
        self.inbox
            .push_back(Event::CommandReceived { delivery, command });
    }

    /// The process ends here if it is its time. What it knew is gone.
    fn crashes_here(&mut self) -> bool {
        self.steps += 1;
        if self.crashes.front().is_none_or(|at| self.steps <= *at) {
            return false;
        }
        self.crashes.pop_front();
        self.state = None;
        self.inbox.clear();
        self.to_ledger.clear();
        self.to_outbox.clear();
        true
    }

    pub(super) fn start(&mut self) {
        self.steps = 0;
        self.started = self.seconds;
        if let Some(skew) = self.skews.pop_front() {
            self.skew = skew;
        }
        let built = "2026-01-01T00:00:00Z".parse().unwrap();
        let ledger = match &self.medium {
            // As it is read back from the file.
            Some(record) => {
                let record = LedgerRecord::from_bytes(&record.to_bytes()).unwrap();
                Ledger::restore(record, built)
            }
            None => Ledger::new(built),
        };
        let now = self.now();
        let mut state = State::new(settings(), Some(ledger), Remembered::default(), now);
        let effects = state.start(now);
        self.state = Some(state);
        if !self.carry_out(effects) {
            return;
        }
        // The sampler looks at once, and the ledger keeps what time it is.
        self.inbox.push_back(Event::Sampled(Box::new(sample())));
        self.inbox.push_back(self.application());
        // The broker gives again what it has not seen acknowledged, under new numbers.
        let waiting: Vec<VerifiedCommand> = std::mem::take(&mut self.unacknowledged)
            .into_values()
            .collect();
        for command in waiting {
            self.publish(command);
        }
    }

    fn application(&self) -> Event {
        let Some(id) = &self.annotated else {
            return application("shop", BAD, "Degraded", |_| {});
        };
        application("shop", GOOD, "Healthy", |object| {
            object["spec"]["source"]["targetRevision"] = GOOD.into();
            let hold = json!({"mode": "pin", "from": BAD, "to": GOOD, "command": id});
            object["metadata"]["annotations"] = json!({
                "edge-agent.io/hold": hold.to_string(), "edge-agent.io/command": id,
            });
        })
    }

    /// False when the process has ended.
    fn carry_out(&mut self, effects: Vec<Effect>) -> bool {
        for effect in effects {
            if self.crashes_here() {
                return false;
            }
            self.carry_out_one(effect);
            if self.crashes_here() {
                return false;
            }
        }
        true
    }

    fn carry_out_one(&mut self, effect: Effect) {
        match effect {
            Effect::Admit { command, record } => {
                let write = ToLedger::Save(*record, Some(command));
                self.to_ledger.push_back(write);
            }
            Effect::SaveLedger(record) => {
                self.to_ledger.push_back(ToLedger::Save(*record, None));
            }
            Effect::Acknowledge(delivery) => {
                self.unacknowledged.remove(&delivery);
            }
            Effect::Answer(result) => self.to_ledger.push_back(ToLedger::Then(*result)),
            Effect::Execute(order) => {
                let applied = Outcome::Applied(Applied {
                    revision: Some(GOOD.into()),
                    from: Some(BAD.into()),
                    hold: Some(HoldMode::Pin),
                });
                let known = self.annotated.as_ref() == Some(&order.command);
                let outcome = match order.kind {
                    OrderKind::Lookup if known => applied,
                    OrderKind::Lookup => Outcome::NoTrace,
                    _ => {
                        *self.executions.entry(order.command.clone()).or_default() += 1;
                        self.annotated = Some(order.command.clone());
                        applied
                    }
                };
                self.inbox.push_back(Event::Executed {
                    command: order.command.clone(),
                    outcome,
                });
                self.inbox.push_back(self.application());
            }
            _ => {}
        }
    }

    /// What the task of the ledger does next.
    pub(super) fn ledger_turn(&mut self) {
        match self.to_ledger.pop_front() {
            Some(ToLedger::Save(record, command)) => {
                self.medium = Some(record);
                if self.crashes_here() {
                    return;
                }
                self.inbox.extend(command.as_deref().map(admitted));
            }
            Some(ToLedger::Then(result)) => self.to_outbox.push_back(result),
            None => {}
        }
    }

    /// What the task of the outbox does next.
    pub(super) fn outbox_turn(&mut self) {
        if let Some(result) = self.to_outbox.pop_front() {
            let stored = Event::AnswersStored(vec![result.command.clone()]);
            self.answers.push(result);
            if !self.crashes_here() {
                self.inbox.push_back(stored);
            }
        }
    }

    pub(super) fn supervisor_turn(&mut self) {
        let Some(event) = self.inbox.pop_front() else {
            return;
        };
        let now = self.now();
        let effects = self.state.as_mut().unwrap().apply(now, event);
        self.carry_out(effects);
    }

    /// Lets everything happen that is going to, with restarts after each crash.
    pub(super) fn settle(&mut self) {
        for _ in 0..4000 {
            if self.state.is_none() {
                self.seconds += 1.0;
                self.start();
                continue;
            }
            let mut schedule = self.schedule;
            let turn = schedule.next(|turn| match turn {
                Turn::Supervisor => !self.inbox.is_empty(),
                Turn::Ledger => !self.to_ledger.is_empty(),
                Turn::Outbox => !self.to_outbox.is_empty(),
            });
            self.schedule = schedule;
            match turn {
                Some(Turn::Supervisor) => self.supervisor_turn(),
                Some(Turn::Ledger) => self.ledger_turn(),
                Some(Turn::Outbox) => self.outbox_turn(),
                None => match self.state.as_ref().and_then(State::next_deadline) {
                    Some(deadline) => {
                        let wait = deadline.saturating_sub(self.now().monotonic);
                        self.seconds += wait.as_secs_f64() + 0.001;
                        self.inbox.push_back(Event::Tick);
                    }
                    None => return,
                },
            }
        }
        panic!("it never comes to rest");
    }

    /// What the issuer of a command believes in the end: the first final result, in the order of
    /// their numbers.
    pub(super) fn last_word(&self, id: &str) -> Option<&CommandResult> {
        let mut seen = 0;
        let mut last = None;
        for result in self.answers.iter().filter(|result| result.command == id) {
            if result.n > seen {
                seen = result.n;
                last = Some(result);
                if result.state.is_final() {
                    break;
                }
            }
        }
        last
    }

    /// What must hold at the end, whatever happened.
    pub(super) fn check(&self, ids: &[&str], how: &str) {
        for id in ids {
            let executed = self.executions.get(*id).copied().unwrap_or_default();
            assert!(executed <= 1, "{id} was executed {executed} times, {how}");
            let result = self
                .last_word(id)
                .unwrap_or_else(|| panic!("nobody was told of {id}, {how}"));
            assert!(
                result.state.is_final(),
                "{id} ends as {:?}, {how}",
                result.state
            );
            // Every final result says the same: readers of the retained one and of the stream agree.
            let finals: BTreeSet<&str> = self
                .answers
                .iter()
                .filter(|it| it.command == *id && it.state.is_final())
                .map(|it| it.state.as_str())
                .collect();
            assert_eq!(finals.len(), 1, "{id}: {finals:?}, {how}");
            match result.state {
                // With a clock far ahead, what Argo CD says looks too old to be believed.
                ResultState::Succeeded | ResultState::Superseded | ResultState::TimedOut => {
                    assert_eq!(executed, 1, "{id}: {:?}, {how}", result.state);
                }
                ResultState::Interrupted | ResultState::Rejected => {
                    assert_eq!(executed, 0, "{id}: {:?}, {how}", result.state);
                }
                other => panic!("{id} ends as {other:?}, {how}"),
            }
        }
        assert!(self.unacknowledged.is_empty(), "{how}");
    }
}
