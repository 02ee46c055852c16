//! The life of a command with a crash at every step: the process ends before or after any effect is
//! carried out, starts again with what is on the medium, and is told again what the broker has not
//! seen acknowledged. The ledger and the outbox are written by tasks of their own, in any order
//! against each other, and what waits for them is lost with the process.

mod world;

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::wire::ResultState;
use world::{RIGHT, SCHEDULES, Schedule, Skew, World};

/// Runs one command with these crashes; returns how many steps the last start took.
fn run(crashes: &[usize], skews: &[Skew]) -> World {
    run_as(SCHEDULES[0], crashes, skews)
}

fn run_as(schedule: Schedule, crashes: &[usize], skews: &[Skew]) -> World {
    let mut world = World::new(crashes, skews);
    world.schedule = schedule;
    world.publish(command(json!({})));
    world.settle();
    world
}

#[test]
fn a_crash_at_every_step() {
    let mut ends = BTreeMap::new();
    for (index, schedule) in SCHEDULES.into_iter().enumerate() {
        let whole = run_as(schedule, &[], &[]);
        whole.check(&["c1"], "without a crash");
        assert_eq!(whole.last_word("c1").unwrap().state, ResultState::Succeeded);
        assert!(whole.steps > 20, "there are steps to crash at");
        for first in 0..whole.steps {
            let world = run_as(schedule, &[first], &[]);
            world.check(&["c1"], &format!("{schedule:?}, crash at {first}"));
            *ends
                .entry(world.last_word("c1").unwrap().state.as_str())
                .or_insert(0) += 1;
            // Two crashes at every pair of steps take their time: half of the orders are enough.
            let seconds = if index % 2 == 0 { world.steps } else { 0 };
            for second in 0..seconds {
                let world = run_as(schedule, &[first, second], &[]);
                let how = format!("{schedule:?}, crashes at {first} and {second}");
                world.check(&["c1"], &how);
            }
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
            world.ledger_turn();
            world.outbox_turn();
            world.supervisor_turn();
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

/// Three commands, one of them given twice.
fn run_several(schedule: Schedule, crashes: &[usize], skews: &[Skew]) -> World {
    let mut world = World::new(crashes, skews);
    world.schedule = schedule;
    let later = |id: &str, seq: u64| {
        let until = at(0.0).unix_seconds() + 80_000;
        command(json!({"id": id, "seq": seq, "exp": until}))
    };
    world.publish(command(json!({})));
    world.publish(later("c2", 2));
    world.settle();
    world.publish(later("c3", 3));
    // The same again: one execution, the same answer.
    world.publish(command(json!({})));
    world.settle();
    world
}

/// What must hold of [`run_several`].
fn check_several(world: &World, how: &str) {
    for id in ["c1", "c2", "c3"] {
        let executed = world.executions.get(id).copied().unwrap_or_default();
        assert!(executed <= 1, "{id} was executed {executed} times, {how}");
        let result = world
            .last_word(id)
            .unwrap_or_else(|| panic!("nobody was told of {id}, {how}"));
        assert!(result.state.is_final(), "{id}: {result:?}, {how}");
        match result.state {
            ResultState::Succeeded => assert_eq!(executed, 1, "{id}: {how}"),
            ResultState::Rejected => assert_eq!(executed, 0, "{id}: {how}"),
            _ => {}
        }
    }
    assert!(world.unacknowledged.is_empty(), "{how}");
}

/// A node without a clock that starts in 1970 gives commands up after it has waited: also then a
/// crash in between loses no answer.
#[test]
fn a_crash_at_every_step_of_a_node_without_a_clock() {
    for seconds in [-SINCE_1970, 0, YEAR] {
        let skew = Skew {
            seconds,
            synchronized: false,
        };
        for crash in 0..60 {
            let world = run_several(SCHEDULES[0], &[crash], &[skew]);
            check_several(&world, &format!("{skew:?}, crash at {crash}"));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_crashes_with_several_commands(
        crashes in prop::collection::vec(0_usize..80, 0..6),
        skews in prop::collection::vec(
            (prop::sample::select(WRONG.to_vec()), any::<bool>())
                .prop_map(|(seconds, synchronized)| Skew { seconds, synchronized }),
            0..4,
        ),
        seed in any::<u64>(),
    ) {
        let world = run_several(Schedule::Drawn(seed), &crashes, &skews);
        check_several(&world, "as above");
    }
}
