//! The link against a real broker: what reaches it, in which order, through every kind of trouble.

mod node;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use edge_agent::store::outbox::record::NewRecord;
use edge_agent_core::command::RefusalCode;
use edge_agent_core::command::envelope::{SigningKey, seal_result};
use edge_agent_core::event::{Event, LinkStatus};
use edge_agent_core::topic::{NodeName, Topic};
use edge_agent_core::wire::{CommandResult, ResultState};
use jiff::Timestamp;
use rumqttc::{Publish, PublishOptions};

use crate::support::broker::{Broker, LIMIT, Recorder, topic};
use node::{Node, envelope, mqtt, settings};

const COMMAND: &str = "edge/v1/pi-01/command";

fn json(publish: &Publish) -> serde_json::Value {
    serde_json::from_slice(&publish.payload).unwrap_or_default()
}

fn last<'a>(seen: &'a [Publish], wanted: &str) -> Option<&'a Publish> {
    seen.iter().rev().find(|it| topic(it) == wanted)
}

fn presence(seen: &[Publish]) -> Option<String> {
    let message = last(seen, "edge/v1/pi-01/presence")?;
    Some(json(message)["reason"].as_str()?.to_owned())
}

/// The subjects of the events, each the first time that it came.
fn subjects(seen: &[Publish]) -> Vec<u32> {
    let mut ids = std::collections::BTreeSet::new();
    seen.iter()
        .filter(|it| topic(it) == "edge/v1/pi-01/event")
        .map(json)
        .filter(|event| ids.insert(event["id"].to_string()))
        .map(|event| event["subject"].as_str().unwrap().parse().unwrap())
        .collect()
}

async fn has_events(recorder: &mut Recorder, count: u32) {
    recorder
        .until("all events arrive", |seen| {
            subjects(seen).len() >= count as usize
        })
        .await;
}

#[tokio::test]
async fn presence_is_retained_lost_with_the_connection_and_stopped_at_the_end() {
    let broker = Broker::start().await;
    let mut recorder = broker.record("edge/v1/#").await;
    let mut node = Node::start(settings(broker.port()));
    node.up().await;
    let is =
        |wanted: &'static str| move |seen: &[Publish]| presence(seen).as_deref() == Some(wanted);
    recorder.until("presence is started", is("started")).await;
    assert_eq!(
        topic(&recorder.seen()[0]),
        "edge/v1/pi-01/presence",
        "before all else"
    );

    broker.proxy().cut();
    recorder.until("the will is published", is("lost")).await;
    broker.proxy().restore();
    node.up().await;
    recorder
        .until("presence is started again", is("started"))
        .await;

    node.stop().await;
    recorder.until("presence is stopped", is("stopped")).await;
    let mut late = broker.record("edge/v1/#").await;
    late.until("it is retained", is("stopped")).await;
    assert!(late.seen()[0].retain);
}

#[tokio::test]
async fn a_broker_that_forgot_everything_gets_every_retained_value_again() {
    let mut broker = Broker::start().await;
    let mut node = Node::start(settings(broker.port()));
    node.handle.retain(&Topic::Health, b"1".to_vec());
    node.handle
        .retain(&Topic::Application("shop".into()), b"2".to_vec());
    node.handle
        .retain(&Topic::Application("gone".into()), b"3".to_vec());
    node.up().await;
    node.handle
        .retain(&Topic::Application("gone".into()), Vec::new());
    node.handle.retain(&Topic::Health, b"4".to_vec());
    let complete = |seen: &[Publish]| {
        let value = |topic| last(seen, topic).map(|it| it.payload.to_vec());
        value("edge/v1/pi-01/health") == Some(b"4".to_vec())
            && value("edge/v1/pi-01/app/shop") == Some(b"2".to_vec())
            && presence(seen).as_deref() == Some("started")
    };
    let mut recorder = broker.record("edge/v1/#").await;
    recorder.until("all values are there", complete).await;

    broker.restart().await;
    node.down().await;
    node.up().await;
    let mut recorder = broker.record("edge/v1/#").await;
    recorder.until("all values are there again", complete).await;
    node.stop().await;
}

#[tokio::test]
async fn an_outage_loses_nothing_and_keeps_the_order() {
    let broker = Broker::start().await;
    let mut recorder = broker.record("edge/v1/#").await;
    let mut node = Node::start(settings(broker.port()));
    node.up().await;
    node.facts(0..20);
    has_events(&mut recorder, 20).await;
    broker.proxy().cut();
    node.down().await;
    node.facts(20..200);
    assert_eq!(subjects(recorder.seen()).len(), 20);
    broker.proxy().restore();
    has_events(&mut recorder, 200).await;
    assert_eq!(subjects(recorder.seen()), (0..200).collect::<Vec<_>>());
    node.emptied().await;
    node.stop().await;
}

#[tokio::test]
async fn a_link_that_flaps_in_the_middle_of_a_replay_loses_nothing() {
    let broker = Broker::start().await;
    let mut recorder = broker.record("edge/v1/#").await;
    let mut node = Node::start(settings(broker.port()));
    node.up().await;
    node.facts(0..300);
    for seen in [40, 120, 200] {
        has_events(&mut recorder, seen).await;
        broker.proxy().cut();
        node.down().await;
        broker.proxy().restore();
        node.up().await;
    }
    node.emptied().await;
    has_events(&mut recorder, 300).await;
    assert_eq!(subjects(recorder.seen()), (0..300).collect::<Vec<_>>());
    node.stop().await;
}

#[tokio::test]
async fn a_restarted_agent_goes_on_with_the_session_that_the_broker_kept() {
    let broker = Broker::start().await;
    let mut recorder = broker.record("edge/v1/#").await;
    let mut node = Node::start(settings(broker.port()));
    node.up().await;
    node.facts(0..5);
    has_events(&mut recorder, 5).await;
    let dir = node.stop().await;

    // What is ordered while the agent is away waits in the broker; what happens, in the outbox.
    let valid = PublishOptions::at_least_once();
    broker.publish(COMMAND, envelope("valid-1"), valid).await;
    let mut node = Node::start_in(dir, settings(broker.port()));
    node.facts(5..10);
    let (delivery, id) = node.command().await;
    assert_eq!(id, "valid-1");
    node.handle.acknowledge(delivery);
    has_events(&mut recorder, 10).await;
    node.emptied().await;
    assert_eq!(subjects(recorder.seen()), (0..10).collect::<Vec<_>>());
    node.stop().await;
}

#[tokio::test]
async fn commands_arrive_also_after_the_broker_has_forgotten_the_subscription() {
    let mut broker = Broker::start().await;
    let mut node = Node::start(settings(broker.port()));
    for round in 0..2 {
        node.up().await;
        // The subscription is confirmed by this.
        node.subscribed().await;
        let payload = envelope(&format!("valid-{round}"));
        broker
            .publish(COMMAND, payload, PublishOptions::at_least_once())
            .await;
        let (delivery, id) = node.command().await;
        assert_eq!(id, format!("valid-{round}"));
        node.handle.acknowledge(delivery);
        broker.restart().await;
    }
    node.stop().await;
}

#[tokio::test]
async fn an_oversized_or_retained_command_wedges_nothing() {
    let broker = Broker::start().await;
    let retained = PublishOptions::at_least_once().retained();
    broker
        .publish(COMMAND, vec![b'x'; 20 * 1024], retained.clone())
        .await;
    let mut node = Node::start(settings(broker.port()));
    node.subscribed().await;
    // Also one that is not retained, and the same again.
    broker
        .publish(
            COMMAND,
            vec![b'x'; 20 * 1024],
            PublishOptions::at_least_once(),
        )
        .await;
    broker
        .publish(COMMAND, vec![b'x'; 20 * 1024], retained)
        .await;
    broker
        .publish(
            COMMAND,
            envelope("valid-1"),
            PublishOptions::at_least_once(),
        )
        .await;
    assert_eq!(node.command().await.1, "valid-1");
    node.facts(0..3);
    node.emptied().await;
    node.stop().await;
}

#[tokio::test]
async fn a_retained_command_is_never_obeyed() {
    let broker = Broker::start().await;
    let retained = PublishOptions::at_least_once().retained();
    broker.publish(COMMAND, envelope("valid-0"), retained).await;
    let mut node = Node::start(settings(broker.port()));
    node.subscribed().await;
    broker
        .publish(
            COMMAND,
            envelope("valid-1"),
            PublishOptions::at_least_once(),
        )
        .await;
    // A broker that honours what the subscription asks for does not even deliver it; this one does.
    let id = node.next_command_among_junk(RefusalCode::Retained).await;
    assert_eq!(id, "valid-1");
    node.stop().await;
}

#[tokio::test]
async fn a_flood_of_junk_breaks_no_connection_and_holds_up_neither_commands_nor_events() {
    let broker = Broker::start().await;
    let mut node = Node::start(settings(broker.port()));
    node.subscribed().await;
    node.facts(0..50);
    let flood = async {
        let junk = || vec![(COMMAND, envelope("junk")); 200];
        broker
            .publish_all(junk(), PublishOptions::at_most_once())
            .await;
        broker
            .publish_all(junk(), PublishOptions::at_least_once())
            .await;
        // In a flood any one may be left out, by lot; whoever gives an order says it again.
        let mut again = tokio::time::interval(Duration::from_secs(2));
        loop {
            again.tick().await;
            let valid = vec![(COMMAND, envelope("valid-1"))];
            broker
                .publish_all(valid, PublishOptions::at_least_once())
                .await;
        }
    };
    let command = node.next_command_among_junk(RefusalCode::UnknownKey);
    let id = tokio::select! {
        id = command => id,
        () = flood => unreachable!(),
    };
    assert_eq!(id, "valid-1");
    node.emptied().await;
    assert!(node.handle.ignored() > 0);
    node.stop().await;
}

#[tokio::test]
async fn a_wrong_password_is_told_once_and_a_right_one_needs_no_restart() {
    let broker = Broker::start_with(Some(("pi-01", "right"))).await;
    let dir = tempfile::tempdir().unwrap();
    let password = dir.path().join("password");
    std::fs::write(&password, "wrong\n").unwrap();
    let mut settings = settings(broker.port());
    settings.mqtt.username = Some("pi-01".to_owned());
    settings.mqtt.password_file = Some(password.clone());
    let mut node = Node::start(settings);
    let reason = node.down().await;
    assert!(reason.contains("password"), "{reason}");
    std::fs::write(&password, "right\n").unwrap();
    node.event("the link comes up", |event| match event {
        Event::LinkChanged { status, .. } => {
            assert_eq!(status, LinkStatus::Up, "told once");
            Some(())
        }
        _ => None,
    })
    .await;
    node.stop().await;
}

#[tokio::test]
async fn a_link_that_has_gone_silent_is_given_up_after_the_keep_alive() {
    let broker = Broker::start().await;
    let mut settings = settings(broker.port());
    settings.mqtt.keep_alive_seconds = 1;
    let mut node = Node::start(settings);
    node.up().await;
    broker.proxy().black_hole();
    node.facts(0..3);
    let reason = node.down().await;
    assert!(reason.contains("keep-alive"), "{reason}");
    broker.proxy().restore();
    node.up().await;
    node.emptied().await;
    node.stop().await;
}

#[tokio::test]
async fn a_session_that_others_want_is_not_fought_for() {
    let broker = Broker::start().await;
    let mut node = Node::start(settings(broker.port()));
    // This broker says nothing when another client takes the session, as many do not.
    for _ in 0..4 {
        node.up().await;
        broker.proxy().cut();
        let reason = node.down().await;
        assert!(!reason.contains("second agent"), "{reason}");
        broker.proxy().restore();
    }
    node.up().await;
    broker.proxy().cut();
    let reason = node.down().await;
    assert!(reason.contains("second agent"), "{reason}");
    broker.proxy().restore();
    let gave_way = tokio::time::Instant::now();
    node.up().await;
    assert!(gave_way.elapsed() >= Duration::from_millis(250));
    node.stop().await;
}

#[tokio::test]
async fn a_broker_that_is_not_there_keeps_nobody_from_stopping() {
    let broker = Broker::start().await;
    broker.proxy().black_hole();
    let node = Node::start(settings(broker.port()));
    node.facts(0..3);
    let started = tokio::time::Instant::now();
    node.stop().await;
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_result_is_retained_until_it_expires() {
    let broker = Broker::start().await;
    let mut node = Node::start(settings(broker.port()));
    let result = NewRecord::Result {
        command: "01J0".to_owned(),
        envelope: b"{\"payload\":\"\"}".to_vec(),
        at: Timestamp::UNIX_EPOCH,
    };
    node.outbox.append(&[result]).unwrap();
    node.up().await;
    node.emptied().await;
    let mut late = broker.record("edge/v1/pi-01/result/#").await;
    late.until("the result is retained", |seen| seen.len() == 1)
        .await;
    let result = &late.seen()[0];
    assert_eq!(topic(result), "edge/v1/pi-01/result/01J0");
    assert_eq!(&result.payload[..], b"{\"payload\":\"\"}");
    let properties = result.properties.clone().unwrap();
    assert!(properties.message_expiry_interval.unwrap() <= 86_400);
    node.stop().await;
}

#[tokio::test]
async fn send_follows_a_command_to_its_end() {
    use edge_agent::cli::send::{Order, Outcome, Wait, send_envelope};
    let broker = Broker::start().await;
    let mut node = Node::start(settings(broker.port()));
    node.subscribed().await;
    let key = SigningKey::from_seed(&[5; 32]).unwrap();
    let order = Order {
        nodes: vec![NodeName::new("pi-01").unwrap()],
        command: "01J0".to_owned(),
        envelope: envelope("valid-01J0"),
        wait: Wait::Finished,
        timeout: LIMIT,
        node_keys: vec![key.public_base64()],
    };
    let lines = AtomicUsize::new(0);
    let mqtt = mqtt(broker.port());
    let mut tell = |_: &edge_agent::cli::send::Line| {
        lines.fetch_add(1, Ordering::Relaxed);
    };
    let send = send_envelope(&mqtt, order, &mut tell);
    let answer = async {
        let (delivery, id) = node.command().await;
        assert_eq!(id, "valid-01J0");
        node.handle.acknowledge(delivery);
        for (n, state) in [(1, ResultState::Accepted), (2, ResultState::Rejected)] {
            let result = CommandResult {
                v: 1,
                node: "pi-01".to_owned(),
                command: "01J0".to_owned(),
                digest: None,
                n,
                state,
                reason: None,
                message: String::new(),
                application: None,
                revision: None,
                deploy_state: None,
                at: Timestamp::UNIX_EPOCH,
            };
            let record = NewRecord::Result {
                command: "01J0".to_owned(),
                envelope: seal_result(&result, "pi-01", &key),
                at: Timestamp::UNIX_EPOCH,
            };
            node.outbox.append(&[record]).unwrap();
        }
    };
    let (outcome, ()) = tokio::join!(send, answer);
    assert_eq!(outcome.unwrap(), Outcome::Rejected);
    assert!(
        lines.load(Ordering::Relaxed) >= 2,
        "published, and the end at least"
    );
    node.stop().await;
}
