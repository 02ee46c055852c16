//! The stories of the whole way, one after the other on one board.

use std::time::Instant;

use rustix::process::Signal;

use super::super::{Args, figure};
use super::checks::Forge;
use super::stage::{LIMIT, Stage};

pub(super) fn suite(args: &Args) {
    Forge::with(args, |forge| {
        let (commit, digest) = forge.good.clone();
        let bad = forge.bad.clone();
        let mut stage = Stage::set(args, forge);
        let first = told("a good commit", || {
            a_good_commit(&mut stage, &commit, &digest)
        });
        let none = format!("sha256:{}", "0".repeat(64));
        for (story, image, why) in [
            (
                "an image that nobody has",
                (commit.as_str(), none.as_str()),
                "has nothing under this digest",
            ),
            (
                "an image of another commit",
                (bad.as_str(), digest.as_str()),
                "it was built from",
            ),
        ] {
            told(story, || stops_at_the_gate(&mut stage, image, &digest, why));
        }
        let (second, newer) = told("a version that degrades", || {
            degrades(&mut stage, first, &digest)
        });
        told("a board that is away", || away(&mut stage, second, &newer));
        told("the broker goes", || {
            broker_goes(&mut stage, first, &digest)
        });
        told("the registry is away", || {
            registry_away(&mut stage, second, &newer)
        });
        told("SonarQube is away", || {
            sonarqube_away(&mut stage, first, &newer)
        });
    });
}

fn told<T>(story: &str, act: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let end = act();
    figure(story, format!("{:.0} s", begun.elapsed().as_secs_f64()));
    end
}

/// It comes to the board, and everybody hears of it.
fn a_good_commit(stage: &mut Stage<'_>, commit: &str, digest: &str) -> u64 {
    let number = stage.ask_drone(commit, digest);
    stage.build_ends(number, None);
    let app = stage.board_says("Healthy");
    assert_eq!(app["revision"], stage.head());
    assert_eq!(stage.head(), stage.written_by(number));
    stage.leds_say("healthy");
    stage.runs(digest);
    stage.team_hears(number, "succeeded");
    let gates = stage.kubelet.gates();
    let gate = gates.last().unwrap();
    assert_eq!(
        (gate.code, gate.message.as_str()),
        (0, "gate passed: 5 checks")
    );
    number
}

/// Drone signs no rollout of it; and written past Drone it comes as far as the board, which says why not.
fn stops_at_the_gate(stage: &mut Stage<'_>, (commit, digest): (&str, &str), runs: &str, why: &str) {
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
    let gate = stage.kubelet.gates().pop().unwrap();
    assert!(gate.code == 1 && gate.message.contains(why), "{gate:?}");
}

/// A commit goes the whole way, and does not run on the board; somebody goes back to an earlier build.
fn degrades(stage: &mut Stage<'_>, back: u64, runs: &str) -> (u64, String) {
    let commit = stage.forge.project.commit("another version");
    let (project, drone) = (&*stage.forge, &stage.drone);
    // Nobody knows yet that it crashes: the image is not there before the pipeline has made it.
    stage.kubelet.hold_gates(true);
    let pipeline = project.pipeline(drone);
    assert!(pipeline.passed, "{}", pipeline.text);
    let digest = pipeline.digest();
    let number = drone.last();
    stage.kubelet.crash(&digest, true);
    stage.kubelet.hold_gates(false);
    let build = stage.build_ends(number, Some("rollout"));
    assert_eq!(build.commit, commit);
    stage.board_says("Degraded");
    stage.leds_say("deploy_failed");
    // The pod of before stays until the new one is ready.
    stage.serves(runs);
    stage.team_hears(number, "failed");

    let rollback = stage.drone.roll_back(back);
    stage.build_ends(rollback, None);
    let app = stage.board_says("RolledBack");
    assert_eq!(app["hold"]["to"], stage.written_by(back), "{app:#}");
    stage.leds_say("held");
    stage.runs(runs);
    stage.team_hears(rollback, "succeeded");
    stage.kubelet.crash(&digest, false);
    (number, digest)
}

/// The whole board is without power when Drone sends the rollout.
fn away(stage: &mut Stage<'_>, number: u64, digest: &str) {
    stage.agent.kill();
    stage
        .lab
        .signal("argocd-application-controller", Signal::STOP);
    let build = stage.drone.promote(number);
    super::super::wait(LIMIT, "Drone to wait for the board", || {
        stage
            .drone
            .log(build, "rollout")
            .contains("sent")
            .then_some(())
    });
    stage
        .lab
        .signal("argocd-application-controller", Signal::CONT);
    stage.agent = stage.setup.start();
    arrives(stage, build, digest);
}

/// A build ends well, and its image runs.
fn arrives(stage: &mut Stage<'_>, build: u64, digest: &str) {
    stage.build_ends(build, None);
    stage.board_says("Healthy");
    stage.leds_say("healthy");
    stage.runs(digest);
    stage.team_hears(build, "succeeded");
}

/// The broker is killed while the gate is asked, and comes back.
fn broker_goes(stage: &mut Stage<'_>, number: u64, digest: &str) {
    stage.kubelet.hold_gates(true);
    let build = stage.drone.promote(number);
    stage.leds_say("rolling_out");
    stage.broker.kill();
    stage.kubelet.hold_gates(false);
    stage.agent.wait_down(LIMIT, &[]);
    stage.broker.start();
    arrives(stage, build, digest);
}

/// The registry goes: nothing is signed without it, and what was signed before waits until it is back.
fn registry_away(stage: &mut Stage<'_>, number: u64, digest: &str) {
    stage.forge.registry.stop();
    let before = stage.head();
    let build = stage.drone.promote(number);
    stage.build_ends(build, Some("gate"));
    stage.team_hears(build, "failed");
    assert_eq!(stage.head(), before, "it was written");

    stage.forge.registry.begin();
    stage.kubelet.hold_gates(true);
    let ran = stage.kubelet.gates().len();
    let build = stage.drone.promote(number);
    stage.leds_say("rolling_out");
    stage.forge.registry.stop();
    stage.kubelet.hold_gates(false);
    stage.board_says("SecurityCheckFailed");
    stage.leds_say("gate_failed");
    stage.forge.registry.begin();
    let gate = stage.kubelet.gates()[ran].clone();
    assert!(
        gate.code == 3 && gate.message.contains("no answer"),
        "{gate:?}"
    );
    arrives(stage, build, digest);
}

/// SonarQube is gone, and stays so: nothing passes, neither in GitLab CI nor on the board.
fn sonarqube_away(stage: &mut Stage<'_>, number: u64, runs: &str) {
    stage.forge.sonarqube.stop();
    stage
        .forge
        .project
        .commit("a version that nobody has analysed");
    let last = stage.drone.last();
    let pipeline = stage.forge.pipeline(&stage.drone);
    assert!(
        !pipeline.passed && pipeline.ended("sonarqube", "FAIL"),
        "{}",
        pipeline.text
    );
    assert!(!pipeline.began("build-image"), "{}", pipeline.text);
    assert_eq!(stage.drone.last(), last, "Drone has heard of it");

    let build = stage.drone.promote(number);
    stage.board_says("SecurityCheckFailed");
    stage.leds_say("gate_failed");
    stage.build_ends(build, Some("rollout"));
    stage.runs(runs);
    stage.team_hears(build, "failed");
    let gate = stage.kubelet.gates().pop().unwrap();
    assert!(
        gate.code == 3 && gate.message.contains("sonarqube"),
        "{gate:?}"
    );
}
