//! What is asked of the fleet: the same each time, at the rates of real nodes, and gone at the end.

use std::collections::{BTreeMap, BTreeSet};

use edge_agent::cli::send::BrokerArgs;
use edge_agent_core::application::DeployState;
use edge_agent_core::command::envelope::open_result;
use edge_agent_core::command::key::public_from_base64;
use edge_agent_core::topic::{NodeName, Topic};
use edge_agent_core::wire::{self, CloudEvent, CommandResult, ResultState};
use tokio::sync::watch;

use super::tally::Tally;
use super::*;
use crate::support::broker::{Broker, topic};

const HOUR: Duration = Duration::from_secs(3600);

fn shape(nodes: usize, seed: u64) -> Shape {
    Shape {
        nodes,
        prefix: "fleet".to_owned(),
        seed,
        started: "2026-11-24T20:00:00Z".parse().unwrap(),
    }
}

/// Everything that a fleet sends within a time.
fn played(shape: &Shape, until: Duration) -> Vec<(Duration, Kind, Message)> {
    let mut fleet = Fleet::new(shape).unwrap();
    let mut all = Vec::new();
    while fleet.next() <= until {
        let at = fleet.next();
        let (_, sent) = fleet.step();
        all.extend(sent.into_iter().map(|(kind, message)| (at, kind, message)));
    }
    all
}

/// Everything that one topic of the contract may hold, read by its own type.
#[derive(Debug, Default)]
struct Reader {
    keys: BTreeMap<NodeName, [u8; 32]>,
    events: Vec<CloudEvent>,
    results: Vec<CommandResult>,
    states: BTreeSet<DeployState>,
    statuses: BTreeSet<wire::Status>,
}

impl Reader {
    /// Fails the test when a payload is not valid.
    fn read(&mut self, topic: &str, payload: &[u8]) {
        let (node, topic) = Topic::parse(topic).unwrap();
        fn json<T: serde::de::DeserializeOwned>(payload: &[u8]) -> T {
            serde_json::from_slice(payload).unwrap()
        }
        match topic {
            Topic::Presence => assert_eq!(json::<wire::Presence>(payload).v, wire::VERSION),
            Topic::Identity => {
                let identity: wire::Identity = json(payload);
                assert_eq!(identity.node, node.as_str());
                let key = public_from_base64(&identity.key.unwrap()).unwrap();
                self.keys.insert(node, key);
            }
            Topic::Health => drop(self.statuses.insert(json::<wire::Health>(payload).status)),
            Topic::Application(name) => {
                let app: wire::App = json(payload);
                assert_eq!(app.application, name);
                self.states.insert(app.state);
            }
            Topic::Indication => drop(json::<wire::IndicationReport>(payload)),
            Topic::Event => {
                let event: CloudEvent = json(payload);
                assert_eq!(event.source, node.source());
                self.events.push(event);
            }
            Topic::Result(command) => {
                let result = open_result(payload, &[self.keys[&node]]).unwrap();
                assert_eq!(result.command, command);
                self.results.push(result);
            }
            Topic::Command => panic!("the fleet publishes no command"),
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_fleet() {
    let first = played(&shape(5, 7), HOUR);
    assert!(first == played(&shape(5, 7), HOUR), "a second run differs");
    assert!(
        first != played(&shape(5, 8), HOUR),
        "the seed changes nothing"
    );
}

#[test]
fn a_node_is_the_same_in_a_larger_fleet() {
    let of_first = |nodes| {
        let mut all = played(&shape(nodes, 7), HOUR / 4);
        all.retain(|(_, _, message)| message.topic.starts_with("edge/v1/fleet-0001/"));
        all
    };
    assert!(of_first(1) == of_first(3));
}

#[test]
fn the_rates_are_those_of_nodes() {
    let (nodes, day) = (6, 24 * HOUR);
    let mut counts = BTreeMap::<Kind, u32>::new();
    for (_, kind, _) in played(&shape(nodes, 1), day) {
        *counts.entry(kind).or_default() += 1;
    }
    // Messages a node and day, from and to. The health at the latest every five minutes is 288.
    let wanted = BTreeMap::from([
        ("presence", (1.0, 8.0)),
        ("identity", (1.0, 8.0)),
        ("health", (288.0, 2500.0)),
        ("app", (10.0, 2500.0)),
        ("indication", (8.0, 300.0)),
        ("event", (20.0, 300.0)),
        ("result", (4.0, 30.0)),
    ]);
    let kinds = counts.keys().collect::<Vec<_>>();
    assert_eq!(kinds, wanted.keys().collect::<Vec<_>>());
    for (kind, (from, to)) in wanted {
        let rate = f64::from(counts[kind]) / 6.0;
        assert!((from..=to).contains(&rate), "{kind}: {rate} a node and day");
    }
}

#[test]
fn deploys_roll_and_commands_end() {
    let mut reader = Reader::default();
    for (_, _, message) in played(&shape(10, 3), 24 * HOUR) {
        reader.read(&message.topic, &message.payload);
    }
    use DeployState as D;
    let wanted = [
        D::OutOfSync,
        D::Syncing,
        D::Progressing,
        D::Healthy,
        D::Degraded,
    ];
    let wanted = wanted
        .into_iter()
        .chain([D::RolledBack, D::SecurityCheckFailed]);
    let missing: Vec<_> = wanted.filter(|it| !reader.states.contains(it)).collect();
    assert!(
        missing.is_empty(),
        "never {missing:?}, but {:?}",
        reader.states
    );
    assert!(reader.statuses.contains(&wire::Status::Ok));

    let finals: Vec<_> = reader
        .results
        .iter()
        .filter(|it| it.state.is_final())
        .collect();
    let of = |state| finals.iter().filter(|it| it.state == state).count();
    let (good, refused) = (of(ResultState::Succeeded), of(ResultState::Rejected));
    assert!(refused > 0, "nobody mistyped a name");
    assert!(
        good * 10 >= finals.len() * 7,
        "{good} of {} succeeded",
        finals.len()
    );

    let ids: BTreeSet<_> = reader.events.iter().map(|it| &it.id).collect();
    assert_eq!(ids.len(), reader.events.len(), "an id twice");
}

#[test]
fn what_is_told_of_a_day_is_scaled() {
    let mut tally = Tally::default();
    for _ in 0..4 {
        tally.count("health", 500);
    }
    tally.count("event", 100);
    assert_eq!(tally.total(), (5, 2100));
    let text = tally.of_a_day(2, Duration::from_secs(43_200));
    let rows: Vec<Vec<&str>> = text
        .lines()
        .map(|it| it.split_whitespace().collect())
        .collect();
    assert_eq!(
        rows[1..],
        [
            ["event", "1.0", "100"],
            ["health", "4.0", "2000"],
            ["all", "5.0", "2100"],
        ]
    );
}

fn plan(duration: Option<Duration>) -> Plan {
    Plan {
        shape: shape(20, 1),
        connections: 3,
        speed: 1000.0,
        duration,
        keep: false,
    }
}

fn settings(url: &str) -> edge_agent::config::Mqtt {
    let args = BrokerArgs {
        broker: Some(url.to_owned()),
        username: None,
        password_file: None,
        ca_file: None,
        cert_file: None,
        key_file: None,
    };
    args.resolve(None).unwrap()
}

/// The topics that hold something after these messages. Not every broker tells in what it passes on at
/// once that it is retained.
fn standing(seen: &[rumqttc::Publish]) -> BTreeSet<&str> {
    let mut standing = BTreeSet::new();
    for publish in seen.iter().filter(|it| !topic(it).ends_with("/event")) {
        match publish.payload.is_empty() {
            true => standing.remove(topic(publish)),
            false => standing.insert(topic(publish)),
        };
    }
    standing
}

#[tokio::test]
async fn twenty_nodes_appear_and_are_withdrawn() {
    let broker = Broker::start().await;
    let mut recorder = broker.record("edge/v1/#").await;
    let mqtt = settings(&broker.url());
    let never = std::future::pending();
    let report = run(&mqtt, &plan(Some(HOUR)), never, |reason| panic!("{reason}"))
        .await
        .unwrap();
    assert!(report.after.total().0 > 0);
    let text = report.text(20);
    assert!(
        text.contains("59.5 minutes") && text.contains("withdrawn"),
        "{text}"
    );
    let cleared = report.cleared.unwrap();
    let is_cleared = |seen: &[rumqttc::Publish]| {
        seen.iter().filter(|it| it.payload.is_empty()).count() == cleared
    };
    recorder.until("all is withdrawn", is_cleared).await;
    let mut reader = Reader::default();
    for publish in recorder.seen().iter().filter(|it| !it.payload.is_empty()) {
        reader.read(topic(publish), &publish.payload);
    }
    assert_eq!(reader.keys.len(), 20);
    assert!(reader.events.len() >= 20, "each tells its start");
    let mut late = broker.record("edge/v1/#").await;
    assert_eq!(standing(late.seen_so_far()), BTreeSet::new());
}

#[tokio::test]
async fn a_broker_that_has_forgotten_is_told_again() {
    let mut broker = Broker::start().await;
    let mut recorder = broker.record("edge/v1/+/identity").await;
    let mqtt = settings(&broker.url());
    let (stop, mut stopped) = watch::channel(false);
    let mut plan = plan(None);
    plan.speed = 100.0;
    let end = async move { drop(stopped.wait_for(|it| *it).await) };
    let running = run(&mqtt, &plan, end, |_| {});
    let story = async {
        recorder
            .until("all are there", |seen| standing(seen).len() == 20)
            .await;
        broker.restart().await;
        let mut recorder = broker.record("edge/v1/+/identity").await;
        recorder
            .until("all are there again", |seen| standing(seen).len() == 20)
            .await;
        stop.send(true).unwrap();
        recorder
    };
    let (report, mut recorder) = tokio::join!(running, story);
    assert!(report.unwrap().cleared.unwrap() >= 20);
    recorder
        .until("all are gone", |seen| standing(seen).is_empty())
        .await;
}

#[tokio::test]
async fn a_fleet_that_is_kept_says_goodbye() {
    let broker = Broker::start().await;
    let mqtt = settings(&broker.url());
    let mut plan = plan(Some(HOUR / 10));
    plan.keep = true;
    let never = std::future::pending();
    let report = run(&mqtt, &plan, never, |_| {}).await.unwrap();
    assert_eq!(report.cleared, None);
    let mut recorder = broker.record("edge/v1/+/presence").await;
    recorder
        .until("all are stopped", |seen| {
            let stopped = seen.iter().filter(|it| {
                let presence: wire::Presence = serde_json::from_slice(&it.payload).unwrap();
                presence.reason == wire::PresenceReason::Stopped && !presence.online
            });
            stopped.count() == 20
        })
        .await;
}

#[tokio::test]
async fn without_a_broker_there_is_one_clear_line() {
    let port = crate::support::port::reserve();
    let mqtt = settings(&format!("mqtt://127.0.0.1:{port}"));
    let never = std::future::pending();
    let error = run(&mqtt, &plan(None), never, |_| {}).await.unwrap_err();
    let line = format!("{error:#}");
    assert!(
        line.contains(&port.to_string()) && !line.contains('\n'),
        "{line}"
    );
}
