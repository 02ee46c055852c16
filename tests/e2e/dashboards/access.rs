//! What the recommended access list lets nodes and Home Assistant do.

use std::time::Duration;

use serde_json::json;

use super::LIMIT;
use crate::agent::Setup;
use crate::broker::Broker;
use crate::mqtt::{Connection, Packet};
use crate::{Args, wait};

const ANNOUNCED: &str = "homeassistant/device/pi-01/node/config";

pub(super) fn suite(_: &Args) {
    let dir = tempfile::tempdir().unwrap();
    let clients = ["pi-01", "pi-02", "home-assistant"];
    let broker = Broker::recommended_for(dir.path(), &clients);
    let mut setup = Setup::new(dir.path(), broker.port);
    setup.mqtt = broker.settings(broker.port);
    setup.more = "[home_assistant]\n[commands]\nallow_unsigned = [\"identify\"]\n".to_owned();
    let mut agent = setup.start();
    agent.wait_up(LIMIT);

    let mut home = Connection::open(&broker.login("home-assistant")).unwrap();
    home.subscribe("homeassistant/device/#", 0).unwrap();
    let announced = |home: &mut Connection| {
        wait(LIMIT, "the node to be announced", || {
            let packet = home.read().unwrap();
            matches!(packet, Some(Packet::Publish { topic, .. }) if topic == ANNOUNCED)
                .then_some(())
        });
    };
    announced(&mut home);
    home.publish("homeassistant/status", b"online", 0, false)
        .unwrap();
    announced(&mut home);

    // Nobody announces for another.
    let mut other = Connection::open(&broker.login("pi-02")).unwrap();
    other.publish(ANNOUNCED, b"{}", 1, true).unwrap();
    wait(LIMIT, "the refusal", || match other.read().unwrap() {
        Some(Packet::PubAck { reason }) => {
            assert_eq!(reason, 0x87, "not authorized");
            Some(())
        }
        _ => None,
    });

    let now = jiff::Timestamp::now().as_second();
    let command = json!({
        "v": 1, "id": "unsigned-1", "aud": ["pi-01"], "seq": now, "iat": now, "exp": now + 60,
        "cmd": "identify", "args": {"seconds": 30},
    });
    let topic = "edge/v1/pi-01/command";
    home.publish(topic, command.to_string().as_bytes(), 1, false)
        .unwrap();
    let faults = agent.wait_status(LIMIT, "the board to blink", |status| {
        let blinks = status["indication"]["indication"] == "identify";
        blinks.then(|| status["faults"].clone())
    });
    assert_eq!(faults, json!({}));
    agent.terminate(Duration::from_secs(10));
}
