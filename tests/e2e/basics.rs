//! The contract, as a subscriber sees it, and the ends of a process.

use std::fs;
use std::time::Duration;

use serde_json::Value;

use super::agent::Setup;
use super::broker::Broker;
use super::mqtt::Login;
use super::record::Events;
use super::recorder::Recorder;
use super::{Args, Suite, figure};

pub(crate) const SUITES: &[Suite] = &[
    ("basics_topics_and_goodbye", topics_and_goodbye),
    ("basics_will", will),
    ("basics_second_agent", second_agent),
    ("basics_damaged_store", damaged_store),
];

const LIMIT: Duration = Duration::from_secs(20);

fn topics_and_goodbye(_: &Args) {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::plain(dir.path(), "");
    let recorder = Recorder::start(Login::plain(broker.port, "recorder"));
    recorder.wait_subscribed(0);
    let mut agent = Setup::new(dir.path(), broker.port).start();

    let presence = |reason: &'static str| move |value: &Value| value["reason"] == reason;
    let started = recorder.wait_message("presence", LIMIT, presence("started"));
    assert_eq!(started.json()["online"], true);
    let identity = recorder.wait_message("identity", LIMIT, |value| value["node"] == "pi-01");
    assert!(identity.json()["key"].is_string());
    recorder.wait_message("health", LIMIT, |value| value["v"] == 1);
    recorder.wait_message("indication", LIMIT, |value| value["v"] == 1);
    let event = recorder.wait_message("event", LIMIT, |value| {
        value["type"] == "edge.agent.started"
    });
    assert_eq!(event.json()["specversion"], "1.0");
    assert!(!event.retain);

    let (status, took) = agent.terminate(Duration::from_secs(10));
    assert!(status.success(), "{status}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    figure("SIGTERM to exit 0", format!("{} ms", took.as_millis()));
    recorder.wait_message("presence", LIMIT, presence("stopped"));
    recorder.wait_message("event", LIMIT, |value| {
        value["type"] == "edge.agent.stopped"
    });
    let events = Events::of(&recorder.messages());
    events.assert_complete();
    assert_eq!(events.repeated, 0);
    // What is retained is there for who comes later.
    let late = Recorder::start(Login::plain(broker.port, "late"));
    for topic in ["presence", "identity", "health", "indication"] {
        let message = late.wait_message(topic, LIMIT, |_| true);
        assert!(message.retain, "{topic}");
    }
}

fn will(_: &Args) {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::plain(dir.path(), "");
    let recorder = Recorder::start(Login::plain(broker.port, "recorder"));
    recorder.wait_subscribed(0);
    let mut agent = Setup::new(dir.path(), broker.port).start();
    recorder.wait_message("presence", LIMIT, |value| value["online"] == true);
    agent.kill();
    let lost = recorder.wait_message("presence", LIMIT, |value| value["reason"] == "lost");
    assert_eq!(lost.json()["online"], false);
}

fn second_agent(_: &Args) {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::plain(dir.path(), "");
    let setup = Setup::new(dir.path(), broker.port);
    let mut first = setup.start();
    first.wait_up(LIMIT);
    let other = tempfile::tempdir().unwrap();
    let mut second = Setup::new(other.path(), broker.port);
    second.state.clone_from(&setup.state);
    let status = second.start().wait_exit(LIMIT);
    assert_eq!(status.code(), Some(78));
    let log = second.log();
    assert!(log.contains("already running"), "{log}");
    assert!(first.status().is_some(), "the first one goes on");
}

/// Starts the agent on stores with these kinds of damage, and sees it go on and say so.
fn damaged_store(args: &Args) {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::plain(dir.path(), "");
    let recorder = Recorder::start(Login::plain(broker.port, "recorder"));
    recorder.wait_subscribed(0);
    let setup = Setup::new(dir.path(), broker.port);
    let store = setup.state.join("outbox");
    let ways: [(&str, &dyn Fn()); 4] = [
        ("zeros", &|| {
            let length = fs::metadata(store.join("db")).unwrap().len();
            fs::write(store.join("db"), vec![0; usize::try_from(length).unwrap()]).unwrap();
        }),
        ("flipped bits", &|| {
            let mut bytes = fs::read(store.join("db")).unwrap();
            bytes.iter_mut().step_by(97).for_each(|byte| *byte ^= 0x10);
            fs::write(store.join("db"), bytes).unwrap();
        }),
        ("a foreign file", &|| {
            fs::remove_dir_all(&store).unwrap();
            fs::write(&store, b"#!/bin/sh\n").unwrap();
        }),
        ("a directory where a file belongs", &|| {
            fs::remove_file(store.join("db")).unwrap();
            fs::create_dir(store.join("db")).unwrap();
        }),
    ];
    let mut agent = setup.start();
    agent.wait_up(LIMIT);
    for (name, damage) in ways {
        agent.kill();
        damage();
        let before = recorder.messages().len();
        agent = setup.start();
        let fault = agent.wait_status(LIMIT, name, |status| {
            status["faults"]["outbox_damaged"]
                .as_str()
                .map(str::to_owned)
        });
        assert!(fault.contains("outbox.damaged-1"), "{name}: {fault}");
        let indication = agent.wait_status(LIMIT, name, |status| {
            status["indication"]["indication"]
                .as_str()
                .map(str::to_owned)
        });
        assert_eq!(indication, "fault", "{name}");
        recorder.wait(LIMIT, "an event that tells of it", |messages| {
            messages[before..].iter().find(|message| {
                let event = message.json();
                event["type"] == "edge.outbox.dropped" && event["data"]["reason"] == "damaged"
            })?;
            Some(())
        });
        assert!(setup.state.join("outbox.damaged-1").exists(), "{name}");
    }
    assert_eq!(kept(&setup), 2);
    if !args.long {
        return;
    }
    // The LEDs and the page say so for a minute.
    agent.wait_status(Duration::from_secs(70), "the fault to be over", |status| {
        (status["faults"]["outbox_damaged"].is_null() && status["v"] == 1).then_some(())
    });
}

/// How many damaged stores there are beside the one in use.
fn kept(setup: &Setup) -> usize {
    let entries = fs::read_dir(&setup.state).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name());
    names
        .filter(|name| name.to_string_lossy().contains(".damaged-"))
        .count()
}
