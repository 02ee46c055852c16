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
        told("an image that nobody has", || {
            let none = format!("sha256:{}", "0".repeat(64));
            stops_at_the_gate(
                &mut stage,
                (&commit, &none),
                &digest,
                "has nothing under this digest",
            );
        });
        told("an image of another commit", || {
            stops_at_the_gate(&mut stage, (&bad, &digest), &digest, "it was built from");
        });
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
    stage.team_hears(number, "success");
    let gates = stage.kubelet.gates();
    let gate = gates.last().unwrap();
    assert_eq!(
        (gate.code, gate.message.as_str()),
        (0, "gate passed: 5 checks")
    );
    number
}

/// What runs goes on, the board says why, and the build is red.
fn stops_at_the_gate(stage: &mut Stage<'_>, (commit, digest): (&str, &str), runs: &str, why: &str) {
    let number = stage.ask_drone(commit, digest);
    let app = stage.board_says("SecurityCheckFailed");
    let said = app["operation"]["message"].as_str().unwrap_or_default();
    assert!(said.contains(why) || said.contains("retried"), "{app:#}");
    stage.leds_say("gate_failed");
    stage.runs(runs);
    stage.build_ends(number, Some("rollout"));
    stage.runs(runs);
    stage.team_hears(number, "failure");
    let told = stage.people.next("/hook/board", LIMIT);
    figure("the board tells", &told["text"]);
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
    stage.team_hears(number, "failure");

    let rollback = stage.drone.roll_back(back);
    stage.build_ends(rollback, None);
    let app = stage.board_says("RolledBack");
    assert_eq!(app["hold"]["to"], stage.written_by(back), "{app:#}");
    stage.leds_say("held");
    stage.runs(runs);
    stage.team_hears(rollback, "success");
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
    stage.team_hears(build, "success");
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

/// The registry does not answer the gate: nothing is deployed until it does.
fn registry_away(stage: &mut Stage<'_>, number: u64, digest: &str) {
    let ran = stage.kubelet.gates().len();
    stage.forge.registry.stop();
    let build = stage.drone.promote(number);
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
    stage.team_hears(build, "failure");
    let gate = stage.kubelet.gates().pop().unwrap();
    assert!(
        gate.code == 3 && gate.message.contains("sonarqube"),
        "{gate:?}"
    );
}
