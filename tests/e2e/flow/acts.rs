//! What happens in the stories of either node, and what everybody sees of it.

use std::time::Instant;

use super::super::figure;
use super::stage::{LIMIT, Stage};

pub(super) fn told<T>(story: &str, act: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let end = act();
    figure(story, format!("{:.0} s", begun.elapsed().as_secs_f64()));
    end
}

/// A build of Drone comes to the board, and everybody hears of it.
pub(super) fn arrives(stage: &mut Stage<'_>, number: u64, digest: &str) {
    stage.build_ends(number, None);
    let app = stage.board_says("Healthy");
    assert_eq!(app["revision"], stage.head());
    assert_eq!(stage.head(), stage.written_by(number));
    stage.leds_say("healthy");
    stage.runs(digest);
    stage.team_hears(number, "succeeded");
    let gate = stage.gate();
    assert_eq!(
        (gate.code, gate.message.as_str()),
        (0, "gate passed: 5 checks")
    );
}

/// Drone signs no rollout of it; and written past Drone it comes as far as the board, which says why not.
pub(super) fn stops_at_the_gate(
    stage: &mut Stage<'_>,
    (commit, digest): (&str, &str),
    runs: &str,
    why: &str,
) {
    let before = stage.head();
    let number = stage.ask_drone(commit, digest);
    stage.build_ends(number, Some("gate"));
    assert!(stage.drone.log(number, "gate").contains(why));
    let chat = stage.team_hears(number, "failed");
    assert!(chat.contains(why), "{chat}");
    assert_eq!(stage.head(), before, "it was written");

    stage.write_by_hand(commit, digest);
    stage.board_says_why(why);
    stage.leds_say("gate_failed");
    stage.runs(runs);
    stage.given_up();
    stage.board_says_why(why);
    stage.runs(runs);
    let told = stage.people.next("/hook/board", LIMIT).to_string();
    assert!(told.contains("shop"), "{told}");
    let gate = stage.gate();
    assert!(gate.code == 1 && gate.message.contains(why), "{gate:?}");
}

/// The build of a commit whose program does not run; the pods of the version before serve on.
pub(super) fn does_not_run(stage: &mut Stage<'_>, number: u64, runs: &str) {
    stage.build_ends(number, Some("rollout"));
    stage.board_says("Degraded");
    stage.leds_say("deploy_failed");
    // The pod of before stays until the new one is ready.
    stage.serves(runs);
    stage.team_hears(number, "failed");
}

/// Somebody goes back to the build of an earlier version, which is held there.
pub(super) fn goes_back(stage: &mut Stage<'_>, back: u64, runs: &str) {
    let rollback = stage.drone.roll_back(back);
    stage.build_ends(rollback, None);
    let app = stage.board_says("RolledBack");
    assert_eq!(app["hold"]["to"], stage.written_by(back), "{app:#}");
    stage.leds_say("held");
    stage.runs(runs);
    stage.team_hears(rollback, "succeeded");
}
