//! The life of a command with a crash at every step: the process ends before or after any effect is
//! carried out, starts again with what is on the medium, and is told again what the broker has not
//! seen acknowledged.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;

use super::*;
use crate::command::admission::LedgerRecord;
use crate::command::payload::HoldMode;
use crate::rollout::{Applied, OrderKind, Outcome};
use crate::wire::{CommandResult, ResultState};

/// How wrong the clock is.
#[derive(Debug, Clone, Copy)]
struct Skew {
    seconds: i64,
    synchronized: bool,
}

const RIGHT: Skew = Skew {
    seconds: 0,
    synchronized: true,
};

/// Everything outside of the process; a crash does not touch it.
struct World {
    state: Option<State>,
    /// The ledger on the medium.
    medium: Option<LedgerRecord>,
    /// What the broker has not seen acknowledged, by the number of its delivery.
    unacknowledged: BTreeMap<u64, VerifiedCommand>,
    delivered: u64,
    /// How often the cluster was patched for a command, and on which command it was last.
    executions: BTreeMap<String, u32>,
    annotated: Option<String>,
    /// The outbox: every answer that was stored.
    answers: Vec<CommandResult>,
    /// Events on their way to the process; a crash loses them.
    inbox: VecDeque<Event>,
    /// Seconds since the beginning, and when the process started.
    seconds: f64,
    started: f64,
    skew: Skew,
    /// What each start of the clock is like; the last one stays.
    skews: VecDeque<Skew>,
    /// Steps until the process ends, for each start.
    crashes: VecDeque<usize>,
    steps: usize,
}

impl World {
    fn new(crashes: &[usize], skews: &[Skew]) -> Self {
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
            seconds: 0.0,
            started: 0.0,
            skew: skews.pop_front().unwrap_or(RIGHT),
            skews,
            crashes: crashes.iter().copied().collect(),
            steps: 0,
        }
    }

    fn now(&self) -> Now {
        let right = at(self.seconds);
        let wall = right.wall.as_second().saturating_add(self.skew.seconds);
        Now {
            wall: jiff::Timestamp::from_second(wall).unwrap(),
            monotonic: Duration::from_secs_f64(self.seconds - self.started),
            synchronized: self.skew.synchronized,
        }
    }

    fn publish(&mut self, command: VerifiedCommand) {
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
        true
    }

    fn start(&mut self) {
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
                self.medium = Some(*record);
                self.inbox.push_back(admitted(&command));
            }
            Effect::SaveLedger(record) => self.medium = Some(*record),
            Effect::Acknowledge(delivery) => {
                self.unacknowledged.remove(&delivery);
            }
            Effect::Answer(result) => self.answers.push(*result),
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

    /// Lets everything happen that is going to, with restarts after each crash.
    fn settle(&mut self) {
        for _ in 0..2000 {
            if self.state.is_none() {
                self.seconds += 1.0;
                self.start();
                continue;
            }
            let now = self.now();
            let event = match self.inbox.pop_front() {
                Some(event) => event,
                None => match self.state.as_ref().and_then(State::next_deadline) {
                    Some(deadline) => {
                        let wait = deadline.saturating_sub(now.monotonic);
                        self.seconds += wait.as_secs_f64() + 0.001;
                        Event::Tick
                    }
                    None => return,
                },
            };
            let now = self.now();
            let effects = self.state.as_mut().unwrap().apply(now, event);
            self.carry_out(effects);
        }
        panic!("it never comes to rest");
    }

    /// What the issuer of a command believes in the end: the first final result, in the order of
    /// their numbers.
    fn last_word(&self, id: &str) -> Option<&CommandResult> {
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
    fn check(&self, ids: &[&str], how: &str) {
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

/// Runs one command with these crashes; returns how many steps the last start took.
fn run(crashes: &[usize], skews: &[Skew]) -> World {
    let mut world = World::new(crashes, skews);
    world.publish(command(json!({})));
    world.settle();
    world
}

#[test]
fn a_crash_at_every_step() {
    let whole = run(&[], &[]);
    whole.check(&["c1"], "without a crash");
    assert_eq!(whole.last_word("c1").unwrap().state, ResultState::Succeeded);
    assert!(whole.steps > 20, "there are steps to crash at");
    let mut ends = BTreeMap::new();
    for first in 0..whole.steps {
        let world = run(&[first], &[]);
        world.check(&["c1"], &format!("crash at {first}"));
        *ends
            .entry(world.last_word("c1").unwrap().state.as_str())
            .or_insert(0) += 1;
        for second in 0..world.steps {
            let world = run(&[first, second], &[]);
            world.check(&["c1"], &format!("crashes at {first} and {second}"));
        }
    }
    let ends: Vec<&str> = ends.into_keys().collect();
    assert_eq!(ends, ["interrupted", "succeeded"]);
}

/// The seconds that a clock may be off: 1970, 2038, a year either way, two years back.
const YEAR: i64 = 365 * 24 * 60 * 60;
const SINCE_1970: i64 = 1_795_521_600;
const WRONG: [i64; 6] = [
    -SINCE_1970,
    2_147_483_647 - SINCE_1970 + 1,
    -YEAR,
    YEAR,
    -2 * YEAR,
    0,
];

#[test]
fn a_wrong_clock_at_every_start_never_makes_it_happen_twice() {
    let skews = || {
        WRONG.into_iter().flat_map(|seconds| {
            [true, false].map(|synchronized| Skew {
                seconds,
                synchronized,
            })
        })
    };
    for first in skews() {
        for second in skews() {
            for crash in [2, 5, 9, 14, 19] {
                let how = format!("{first:?}, then {second:?}, crash at {crash}");
                // The first start of the process takes the first, and so on.
                let world = run(&[crash], &[RIGHT, first, second]);
                world.check(&["c1"], &how);
            }
        }
    }
}

#[test]
fn a_clock_that_is_stepped_back_two_years_half_way_changes_nothing() {
    for steps in 0..30 {
        let mut world = World::new(&[], &[]);
        world.publish(command(json!({})));
        world.start();
        for _ in 0..steps {
            let Some(event) = world.inbox.pop_front() else {
                break;
            };
            let now = world.now();
            let effects = world.state.as_mut().unwrap().apply(now, event);
            world.carry_out(effects);
        }
        world.skew.seconds = -2 * YEAR;
        world.settle();
        world.check(&["c1"], &format!("stepped back after {steps}"));
        // And an old command does not come back to life with the old time.
        let issued = at(0.0).unix_seconds();
        world.publish(command(
            json!({"id": "old", "seq": 1, "iat": issued - 100, "exp": issued + 100}),
        ));
        world.settle();
        let refused = world.last_word("old").unwrap();
        assert_eq!(refused.state, ResultState::Rejected);
        assert_eq!(world.executions.get("old"), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_crashes_with_several_commands(
        crashes in prop::collection::vec(0_usize..60, 0..6),
        skews in prop::collection::vec(
            (prop::sample::select(WRONG.to_vec()), any::<bool>())
                .prop_map(|(seconds, synchronized)| Skew { seconds, synchronized }),
            0..4,
        ),
    ) {
        let mut world = World::new(&crashes, &skews);
        world.publish(command(json!({})));
        world.publish(command(json!({"id": "c2", "seq": 2, "exp": at(0.0).unix_seconds() + 80_000})));
        world.settle();
        world.publish(command(json!({"id": "c3", "seq": 3, "exp": at(0.0).unix_seconds() + 80_000})));
        // The same again: one execution, the same answer.
        world.publish(command(json!({})));
        world.settle();
        for id in ["c1", "c2", "c3"] {
            let executed = world.executions.get(id).copied().unwrap_or_default();
            prop_assert!(executed <= 1, "{} was executed {} times", id, executed);
            let result = world.last_word(id);
            prop_assert!(result.is_some_and(|result| result.state.is_final()), "{id}: {result:?}");
            if result.is_some_and(|result| result.state == ResultState::Succeeded) {
                prop_assert_eq!(executed, 1);
            }
            if result.is_some_and(|result| result.state == ResultState::Rejected) {
                prop_assert_eq!(executed, 0);
            }
        }
        prop_assert!(world.unacknowledged.is_empty());
    }
}
