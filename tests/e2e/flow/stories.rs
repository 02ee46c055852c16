//! The stories of the whole way, one after the other on one board.

use rustix::process::Signal;

use super::super::Args;
use super::acts::{arrives, does_not_run, goes_back, stops_at_the_gate, told};
use super::checks::Forge;
use super::kubelet::Kubelet;
use super::stage::{LIMIT, Stage};

pub(super) fn suite(args: &Args) {
    Forge::with(args, |forge| {
        let (commit, digest) = forge.good.clone();
        let bad = forge.bad.clone();
        let mut stage = Stage::set(args, forge, &Kubelet::board());
        let node = Kubelet::start(&stage.lab.api);
        let first = told("a good commit", || {
            let number = stage.ask_drone(&commit, &digest);
            arrives(&mut stage, number, &digest);
            number
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
            degrades(&mut stage, &node, first, &digest)
        });
        told("a board that is away", || away(&mut stage, second, &newer));
        told("the broker goes", || {
            broker_goes(&mut stage, &node, first, &digest)
        });
        told("the registry is away", || {
            registry_away(&mut stage, &node, second, &newer)
        });
        told("SonarQube is away", || {
            sonarqube_away(&mut stage, &node, first, &newer)
        });
    });
}

/// A commit goes the whole way, and does not run on the board; somebody goes back to an earlier build.
fn degrades(stage: &mut Stage<'_>, node: &Kubelet, back: u64, runs: &str) -> (u64, String) {
    let commit = stage.forge.project.commit("another version");
    let (project, drone) = (&*stage.forge, &stage.drone);
    // Nobody knows yet that it crashes: the image is not there before the pipeline has made it.
    node.hold_gates(true);
    let pipeline = project.pipeline(drone);
    assert!(pipeline.passed, "{}", pipeline.text);
    let digest = pipeline.digest();
    let number = drone.last();
    node.crash(&digest, true);
    node.hold_gates(false);
    does_not_run(stage, number, runs);
    assert_eq!(stage.build_ends(number, Some("rollout")).commit, commit);
    goes_back(stage, back, runs);
    node.crash(&digest, false);
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

/// The broker is killed while the gate is asked, and comes back.
fn broker_goes(stage: &mut Stage<'_>, node: &Kubelet, number: u64, digest: &str) {
    node.hold_gates(true);
    let build = stage.drone.promote(number);
    stage.leds_say("rolling_out");
    stage.broker.kill();
    node.hold_gates(false);
    stage.agent.wait_down(LIMIT, &[]);
    stage.broker.start();
    arrives(stage, build, digest);
}

/// The registry goes: nothing is signed without it, and what was signed before waits until it is back.
fn registry_away(stage: &mut Stage<'_>, node: &Kubelet, number: u64, digest: &str) {
    stage.forge.registry.stop();
    let before = stage.head();
    let build = stage.drone.promote(number);
    stage.build_ends(build, Some("gate"));
    stage.team_hears(build, "failed");
    assert_eq!(stage.head(), before, "it was written");

    stage.forge.registry.begin();
    node.hold_gates(true);
    let ran = node.gates().len();
    let build = stage.drone.promote(number);
    stage.leds_say("rolling_out");
    stage.forge.registry.stop();
    node.hold_gates(false);
    stage.board_says("SecurityCheckFailed");
    stage.leds_say("gate_failed");
    stage.forge.registry.begin();
    let gate = node.gates()[ran].clone();
    assert!(
        gate.code == 3 && gate.message.contains("no answer"),
        "{gate:?}"
    );
    arrives(stage, build, digest);
}

/// SonarQube is gone, and stays so: nothing passes, neither in GitLab CI nor on the board.
fn sonarqube_away(stage: &mut Stage<'_>, node: &Kubelet, number: u64, runs: &str) {
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
    let gate = node.gates().pop().unwrap();
    assert!(
        gate.code == 3 && gate.message.contains("sonarqube"),
        "{gate:?}"
    );
}
