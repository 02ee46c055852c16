//! Somebody with the password of the broker floods the topic of commands.

use std::time::{Duration, Instant};

use edge_agent::cli::send::{BrokerArgs, Order, Outcome, Wait, send_envelope};
use edge_agent::config;
use edge_agent_core::command::envelope::Unverified;
use edge_agent_core::command::payload;
use edge_agent_core::topic::NodeName;

use super::{COMMAND, end_of, ping};
use crate::drone::fleet::{Fleet, states};
use crate::support::broker::Broker;

/// Envelopes of a flood.
const JUNK: usize = 3000;

/// How long a command may take to get through.
const STATED: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_command_gets_through_a_flood_of_junk() {
    let fleet = Fleet::start(&["pi-01"]).await;
    let mut recorder = fleet.broker.record("edge/v1/pi-01/result/#").await;
    let signed = String::from_utf8(ping("junk", 77)).unwrap();
    let junk = [
        b"junk".to_vec(),
        signed.replace("command.v1", "other.v1").into_bytes(),
        format!("{signed} ")
            .replace("\"sig\":\"", "\"sig\":\"*")
            .into_bytes(),
        vec![b'['; 4000],
    ];
    let began = Instant::now();
    let flood = fleet.broker.flood(COMMAND, &junk, JUNK);
    let valid = async {
        // Once, because what is not even of the form takes no place of it.
        fleet.say(COMMAND, ping("valid", 41)).await;
        let result = end_of(&mut recorder, "valid").await;
        (result, began.elapsed())
    };
    let (flooded, (result, answered)) = tokio::join!(flood, valid);
    assert_eq!(result.state.as_str(), "succeeded");
    assert!(
        answered < STATED / 2,
        "answered after {answered:?}, flooded for {flooded:?}"
    );
    assert_eq!(states(recorder.seen()), ["accepted", "succeeded"]);
}

/// The settings of somebody who sends over this broker.
pub(super) fn broker_settings(broker: &Broker) -> config::Mqtt {
    let nobody = BrokerArgs {
        broker: Some(broker.url()),
        username: None,
        password_file: None,
        ca_file: None,
        cert_file: None,
        key_file: None,
    };
    nobody.resolve(None).unwrap()
}

/// An order to pi-01.
pub(super) fn one(envelope: Vec<u8>, timeout: Duration) -> Order {
    let payload = Unverified::read(&envelope).unwrap().payload;
    Order {
        nodes: vec![NodeName::new("pi-01").unwrap()],
        command: payload::Command::parse(&payload).unwrap().id,
        envelope,
        wait: Wait::Finished,
        timeout,
        node_keys: Vec::new(),
    }
}

/// Everything about them is right but the signature, and no two are the same.
#[tokio::test]
async fn a_command_gets_through_a_flood_of_forged_commands() {
    let fleet = Fleet::start(&["pi-01"]).await;
    let junk: Vec<Vec<u8>> = (0..JUNK)
        .map(|number| ping(&format!("forged-{number}"), 77))
        .collect();
    let settings = broker_settings(&fleet.broker);
    let began = Instant::now();
    let flood = fleet.broker.flood(COMMAND, &junk, JUNK);
    let valid = async {
        let order = one(ping("valid", 41), STATED);
        let outcome = send_envelope(&settings, order, &mut |_| {}).await;
        (outcome.unwrap(), began.elapsed())
    };
    let (flooded, (outcome, answered)) = tokio::join!(flood, valid);
    assert_eq!(outcome, Outcome::Succeeded, "flooded for {flooded:?}");
    assert!(
        answered < STATED,
        "answered after {answered:?}, flooded for {flooded:?}"
    );
}
