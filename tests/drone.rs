//! The Drone plugin as Drone's runners start it, against a broker and real agents, each with an Argo
//! CD double of its own.

mod double;
mod fields;
mod files;
pub(crate) mod fleet;
mod guide;
mod pipelines;

use edge_agent_core::topic::{NodeName, Topic};
use serde_json::Value;

use crate::support::cluster::{Behaviour, sha};
use fleet::{Fleet, Run};

/// The commit that is well.
const GOOD: u8 = 2;

#[tokio::test]
async fn a_promote_rolls_out_and_the_step_again_orders_nothing() {
    let fleet = Fleet::start(&["pi-01", "pi-02"]).await;
    fleet.push(&["pi-01", "pi-02"], GOOD, Behaviour::Healthy);
    let run = fleet.step("promote", GOOD).run().await;
    assert_eq!(run.code, Some(0), "{run}");
    for node in ["pi-01", "pi-02"] {
        for word in ["sent", "accepted", "executing", "succeeded"] {
            run.line(node, word);
        }
        assert_eq!(fleet.revision(node), sha(GOOD));
    }
    assert!(run.output.contains("NODE   WAVE  OUTCOME"), "{run}");
    assert!(!run.output.contains(fleet.secret()), "{run}");

    let patches = fleet.patches("pi-01");
    let again = fleet.step("promote", GOOD).run().await;
    assert_eq!(again.code, Some(0), "{again}");
    assert!(again.output.contains("this step ran before"), "{again}");
    assert_eq!(fleet.patches("pi-01"), patches, "executed once");
    // A restart of the build has a number of its own, and is an order of its own.
    let mut restart = fleet.step("promote", GOOD);
    restart.set("DRONE_BUILD_NUMBER", "43");
    let restart = restart.run().await;
    assert_eq!(restart.code, Some(0), "{restart}");
    assert!(!restart.output.contains("ran before"), "{restart}");
}

#[tokio::test]
async fn a_rollback_of_a_build_goes_back_to_its_commit() {
    let fleet = Fleet::start(&["pi-01"]).await;
    fleet.push(&["pi-01"], GOOD, Behaviour::Healthy);
    assert_eq!(fleet.step("custom", GOOD).run().await.code, Some(0));
    let mut step = fleet.step("rollback", 1);
    step.set("DRONE_BUILD_NUMBER", "43");
    let run = step.run().await;
    assert_eq!(run.code, Some(0), "{run}");
    assert_eq!(fleet.revision("pi-01"), sha(1));
}

#[tokio::test]
async fn a_failed_rollout_is_1_and_a_timeout_is_3() {
    let fleet = Fleet::start(&["pi-01"]).await;
    fleet.push(&["pi-01"], 2, Behaviour::Degraded);
    let run = fleet.step("custom", 2).run().await;
    assert_eq!(run.code, Some(1), "{run}");
    assert!(run.line("pi-01", "failed").contains("Degraded"), "{run}");

    fleet.push(&["pi-01"], 3, Behaviour::ProgressingForever);
    let mut step = fleet.step("custom", 3);
    step.set("DRONE_BUILD_NUMBER", "43");
    step.set("PLUGIN_TIMEOUT", "3s");
    let run = step.run().await;
    assert_eq!(run.code, Some(3), "{run}");
    run.line("pi-01", "timed_out");
}

#[tokio::test]
async fn a_refusal_is_4_with_its_reason() {
    let fleet = Fleet::start(&["pi-01"]).await;
    let mut step = fleet.step("custom", GOOD);
    step.set("PLUGIN_APPLICATION", "other");
    let run = step.run().await;
    assert_eq!(run.code, Some(4), "{run}");
    assert!(
        run.line("pi-01", "rejected")
            .contains("application_not_found"),
        "{run}"
    );
}

#[tokio::test]
async fn wrong_settings_are_2_and_nothing_is_sent() {
    let fleet = Fleet::start(&["pi-01"]).await;
    let mut recorder = fleet.broker.record("edge/v1/+/command").await;
    let mut step = fleet.step("custom", GOOD);
    step.set("PLUGIN_SIGNING_KEY", "");
    step.set("PLUGIN_WAIT", "for ever");
    let run = step.run().await;
    assert_eq!(run.code, Some(2), "{run}");
    assert!(
        run.complaints.contains("signing_key: is set and empty"),
        "{run}"
    );
    assert!(run.complaints.contains("wait: "), "{run}");
    assert!(recorder.seen_so_far().is_empty());
}

#[tokio::test]
async fn without_a_broker_it_fails_and_says_why() {
    let fleet = Fleet::start(&[]).await;
    let mut step = fleet.step("custom", GOOD);
    step.set("PLUGIN_NODE", "pi-01");
    step.set("PLUGIN_BROKER", "mqtt://127.0.0.1:1");
    let run = step.run().await;
    assert_eq!(run.code, Some(1), "{run}");
    assert!(run.complaints.contains("refuses connections"), "{run}");
}

#[tokio::test]
async fn a_node_that_is_away_does_it_when_it_is_back() {
    let mut fleet = Fleet::start(&["pi-01"]).await;
    fleet.push(&["pi-01"], GOOD, Behaviour::Healthy);
    fleet.stop("pi-01").await;
    let mut said = fleet.broker.record("edge/v1/pi-01/command").await;
    let running = tokio::spawn(fleet.step("custom", GOOD).run());
    said.until("the order is with the broker", |seen| !seen.is_empty())
        .await;
    fleet.start_again("pi-01").await;
    let run = running.await.unwrap();
    assert_eq!(run.code, Some(0), "{run}");
    run.line("pi-01", "succeeded");
    assert_eq!(fleet.revision("pi-01"), sha(GOOD));
}

#[tokio::test]
async fn a_node_that_is_away_for_too_long_refuses_it() {
    let mut fleet = Fleet::start(&["pi-01"]).await;
    fleet.push(&["pi-01"], GOOD, Behaviour::Healthy);
    fleet.stop("pi-01").await;
    let mut step = fleet.step("custom", GOOD);
    step.set("PLUGIN_TTL", "1s");
    let run = step.run().await;
    assert_eq!(run.code, Some(3), "{run}");
    assert!(
        run.line("pi-01", "no answer")
            .contains("will not carry it out"),
        "{run}"
    );
    let patches = fleet.patches("pi-01");
    let mut results = fleet.broker.record("edge/v1/pi-01/#").await;
    fleet.start_again("pi-01").await;
    // The broker may have dropped it, as it may; if not, the node refuses what has expired.
    results
        .until("the node is back and has seen what waited for it", |seen| {
            fleet::states(seen).contains(&"rejected") || fleet::is_online(seen)
        })
        .await;
    assert_eq!(fleet.patches("pi-01"), patches);
}

#[tokio::test]
async fn a_failure_in_the_second_wave_stops_and_takes_back() {
    let nodes = ["pi-01", "pi-02", "pi-03"];
    let fleet = Fleet::start(&nodes).await;
    fleet.push(&["pi-01", "pi-03"], GOOD, Behaviour::Healthy);
    fleet.push(&["pi-02"], GOOD, Behaviour::Degraded);
    let mut step = fleet.step("promote", GOOD);
    step.set("PLUGIN_WAVES", "1,2,3");
    step.set("PLUGIN_ON_FAILURE", "rollback");
    let run = step.run().await;
    assert_eq!(run.code, Some(1), "{run}");
    run.line("pi-01", "succeeded");
    run.line("pi-02", "failed");
    assert!(
        run.output.contains("the waves that are left are not begun"),
        "{run}"
    );
    assert!(
        !run.output
            .lines()
            .any(|line| line.contains("pi-03  ") && line.contains("sent")),
        "{run}"
    );
    let undone = run
        .output
        .lines()
        .any(|line| line.starts_with("pi-01") && line.contains("undo"));
    assert!(undone, "{run}");
    // The first went back because it was told to, the second by itself.
    for node in ["pi-01", "pi-02"] {
        fleet.until_on(node, 1).await;
    }
}

#[tokio::test]
async fn a_forged_result_is_ignored_and_told() {
    let mut fleet = Fleet::start(&["pi-01"]).await;
    fleet.push(&["pi-01"], GOOD, Behaviour::Healthy);
    fleet.stop("pi-01").await;
    let mut said = fleet.broker.record("edge/v1/pi-01/command").await;
    let mut step = fleet.step("custom", GOOD);
    step.set("PLUGIN_TTL", "4s");
    let running = tokio::spawn(step.run());
    said.until("the order is with the broker", |seen| !seen.is_empty())
        .await;
    let envelope: Value = serde_json::from_slice(&said.seen()[0].payload).unwrap();
    let id = fleet::payload(&envelope)["id"].as_str().unwrap().to_owned();
    for forged in [fleet::forged_result("pi-01", &id), b"junk".to_vec()] {
        let topic = Topic::Result(id.clone()).format(&NodeName::new("pi-01").unwrap());
        fleet.say(&topic, forged).await;
    }
    let run = running.await.unwrap();
    assert_eq!(run.code, Some(3), "{run}");
    assert!(
        run.line("pi-01", "IGNORED").contains("not the node's"),
        "{run}"
    );
    assert!(
        run.output
            .contains("pi-01: 2 results on its topic were not signed by it"),
        "{run}"
    );
}

#[tokio::test]
async fn a_key_is_pinned_when_a_node_first_answers_and_another_one_is_not_believed() {
    let fleet = Fleet::start(&["pi-01"]).await;
    fleet.push(&["pi-01"], GOOD, Behaviour::Healthy);
    let pins = fleet.path("pins");
    let with_pins = |number: &str| {
        let mut step = fleet.step("custom", GOOD);
        step.set("DRONE_BUILD_NUMBER", number);
        step.unset("PLUGIN_NODE_KEYS");
        step.set("PLUGIN_PINS", &pins);
        step
    };
    let run = with_pins("50").run().await;
    assert_eq!(run.code, Some(0), "{run}");
    assert!(
        run.line("pi-01", "pinned").contains("on the broker's word"),
        "{run}"
    );
    let run = with_pins("51").run().await;
    assert_eq!(run.code, Some(0), "{run}");
    assert!(!run.output.contains("pinned"), "{run}");
    let other = fleet::forged_key();
    std::fs::write(&pins, format!("pi-01 {other}\n")).unwrap();
    let mut step = with_pins("52");
    step.set("PLUGIN_TTL", "3s");
    let run = step.run().await;
    assert_eq!(run.code, Some(3), "{run}");
    run.line("pi-01", "IGNORED");
}

#[tokio::test]
async fn a_cancel_kills_the_step_and_not_the_order() {
    let fleet = Fleet::start(&["pi-01"]).await;
    fleet.push(&["pi-01"], GOOD, Behaviour::Healthy);
    let mut results = fleet.broker.record("edge/v1/pi-01/result/#").await;
    let step = fleet.step("custom", GOOD);
    let killed: Run = step.run_until(|line| line.contains("accepted")).await;
    // As Drone does it: SIGKILL, so there is neither a code nor a table.
    assert_eq!(killed.code, None, "{killed}");
    assert!(!killed.output.contains("OUTCOME"), "{killed}");
    results
        .until("the node ends what it took on, and says so", |seen| {
            fleet::states(seen).contains(&"succeeded")
        })
        .await;
}

#[tokio::test]
async fn what_is_waited_for_is_what_was_asked_for() {
    let fleet = Fleet::start(&["pi-01"]).await;
    fleet.push(&["pi-01"], 2, Behaviour::ProgressingForever);
    for (number, wait, word) in [("60", "none", "sent"), ("61", "accepted", "accepted")] {
        let mut step = fleet.step("custom", 2);
        step.set("DRONE_BUILD_NUMBER", number);
        step.set("PLUGIN_WAIT", wait);
        let run = step.run().await;
        let sent_only = run.output.contains("succeeded") || run.output.contains("synced");
        let fine = run.code == Some(0) || run.output.contains("busy");
        assert!(fine && !sent_only, "{run}");
        run.line("pi-01", word);
    }
    let fleet = Fleet::start(&["pi-02"]).await;
    fleet.push(&["pi-02"], 2, Behaviour::ProgressingForever);
    let mut step = fleet.step("custom", 2);
    step.set("PLUGIN_WAIT", "synced");
    let run = step.run().await;
    assert_eq!(run.code, Some(0), "{run}");
    run.line("pi-02", "synced");
}
