//! The real Home Assistant shows a node, its applications and what becomes of them, and nothing is left
//! of what goes.

mod instance;

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use super::{HERE, LIMIT, program, run};
use crate::agent::{Agent, Setup};
use crate::broker::Broker;
use crate::fence;
use crate::mqtt::{Connection, Login, Packet};
use crate::recorder::Recorder;
use crate::source::Hosted;
use crate::support::cluster::{ApplicationSpec, Behaviour, Commit, Pace, sha};
use crate::{Args, figure};
use instance::Instance;

const NAMESPACE: &str = "argocd";

const DISCOVERY: &str = "[home_assistant]\n[commands]\nallow_unsigned = [\"identify\"]\n";

pub(super) fn suite(_: &Args) {
    let home_assistant = program("home-assistant");
    let node = program("node");
    fence::fenced("dashboards_home_assistant", || {
        shown(&home_assistant, &node);
    });
}

fn shown(program: &Path, node: &Path) {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::plain(dir.path(), "");
    let recorder = Recorder::start(Login::plain(broker.port, "recorder"));
    recorder.wait_subscribed(0);
    let cluster = Hosted::start(dir.path(), Pace::fast());
    let healthy = Commit::new(sha(1), Behaviour::Healthy);
    for name in ["shop", "sensors"] {
        let spec = ApplicationSpec::automated(healthy.clone());
        cluster.double.create_application(NAMESPACE, name, spec);
    }
    let mut setup = Setup::new(dir.path(), broker.port);
    setup.kubeconfig = Some(cluster.kubeconfig());
    DISCOVERY.clone_into(&mut setup.more);
    let mut agent = setup.start();
    let started = std::time::Instant::now();
    let home = Instance::start(program, &dir.path().join("home-assistant"), broker.port);
    home.wait_state("sensor.pi_01_shop", |state| state == "Healthy");
    let took = started.elapsed().as_secs_f64();
    figure(
        "from its start to the state of an application",
        format!("{took:.1} s"),
    );

    everything_is_there(&home);
    cluster
        .double
        .push_commit(NAMESPACE, "shop", Commit::new(sha(2), Behaviour::Degraded));
    let shop = home.wait_state("sensor.pi_01_shop", |state| state == "Degraded");
    assert_eq!(shop["attributes"]["revision"], sha(2));
    home.wait_state("sensor.pi_01_leds", |state| state == "deploy_failed");
    picture(&home, node, dir.path());
    a_button_makes_it_blink(&home, &recorder);
    lost_and_found(&home, &mut agent);
    told_again_when_it_starts(&broker);

    cluster.double.delete_application(NAMESPACE, "shop");
    home.wait_gone("sensor.pi_01_shop");
    assert!(home.state("sensor.pi_01_sensors").is_some());
    let left = announced(&broker);
    assert!(left.iter().all(|topic| !topic.contains("shop")), "{left:?}");
    assert_eq!(left.len(), 2, "{left:?}");
    in_the_other_form_and_withdrawn(&home, &broker, agent);
    let complaints = home.complaints();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

fn everything_is_there(home: &Instance) {
    let known = |state: &str| state != "unknown" && state != "unavailable";
    for entity in ["cpu", "memory", "disk", "outbox", "last_boot"] {
        let state = home.wait_state(&format!("sensor.pi_01_{entity}"), known);
        if ["cpu", "memory", "disk"].contains(&entity) {
            assert_eq!(state["attributes"]["unit_of_measurement"], "%");
            assert_eq!(state["attributes"]["state_class"], "measurement");
            let share: f64 = state["state"].as_str().unwrap().parse().unwrap();
            assert!((0.0..=100.0).contains(&share), "{entity}: {share}");
        }
    }
    let health = home.wait_state("sensor.pi_01_health", |state| {
        ["ok", "warning", "critical"].contains(&state)
    });
    assert!(health["attributes"]["reasons"].is_array(), "{health}");
    let boot = home.state("sensor.pi_01_last_boot").unwrap();
    let boot: jiff::Timestamp = boot["state"].as_str().unwrap().parse().unwrap();
    let uptime = std::fs::read_to_string("/proc/uptime").unwrap();
    let uptime: f64 = uptime.split('.').next().unwrap().parse().unwrap();
    let age = jiff::Timestamp::now().duration_since(boot).as_secs_f64();
    assert!((age - uptime).abs() < 120.0, "{age} {uptime}");
    let broker = home.wait_state("binary_sensor.pi_01_broker", |state| state == "on");
    assert_eq!(broker["attributes"]["reason"], "started");
    home.wait_state("binary_sensor.pi_01_kubernetes_api", |state| state == "on");
    assert_eq!(
        home.entities(),
        [
            "binary_sensor.pi_01_broker",
            "binary_sensor.pi_01_k3s",
            "binary_sensor.pi_01_kubernetes_api",
            "binary_sensor.pi_01_throttled",
            "binary_sensor.pi_01_undervoltage",
            "button.pi_01_identify",
            "sensor.pi_01_cpu",
            "sensor.pi_01_disk",
            "sensor.pi_01_health",
            "sensor.pi_01_last_boot",
            "sensor.pi_01_leds",
            "sensor.pi_01_memory",
            "sensor.pi_01_outbox",
            "sensor.pi_01_sensors",
            "sensor.pi_01_shop",
            "sensor.pi_01_temperature",
        ]
    );
    let of = |entity: &str, what: &str| {
        home.template(&format!("{{{{ device_attr('{entity}', '{what}') }}}}"))
    };
    assert_eq!(of("sensor.pi_01_health", "name"), "pi-01");
    assert_eq!(
        of("sensor.pi_01_health", "sw_version"),
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(
        of("sensor.pi_01_health", "id"),
        of("sensor.pi_01_shop", "id")
    );
}

fn a_button_makes_it_blink(home: &Instance, recorder: &Recorder) {
    let button = json!({"entity_id": "button.pi_01_identify"});
    home.post("/api/services/button/press", &button);
    home.wait_state("sensor.pi_01_leds", |state| state == "identify");
    let result = recorder.wait(LIMIT, "a signed result", |messages| {
        let result = |topic: &str| topic.starts_with("edge/v1/pi-01/result/unsigned-");
        let found = messages.iter().find(|message| result(&message.topic));
        found.map(crate::recorder::Message::json)
    });
    assert_eq!(
        result["signatures"].as_array().map(Vec::len),
        Some(1),
        "{result}"
    );
}

/// The broker speaks for a node that is gone, and the node for itself when it is back.
fn lost_and_found(home: &Instance, agent: &mut Agent) {
    agent.kill();
    let broker = home.wait_state("binary_sensor.pi_01_broker", |state| state == "off");
    assert_eq!(broker["attributes"]["reason"], "lost");
    for entity in [
        "sensor.pi_01_health",
        "sensor.pi_01_shop",
        "button.pi_01_identify",
    ] {
        home.wait_state(entity, |state| state == "unavailable");
    }
    *agent = agent.setup.start();
    home.wait_state("binary_sensor.pi_01_broker", |state| state == "on");
    home.wait_state("sensor.pi_01_shop", |state| state == "Degraded");
}

fn told_again_when_it_starts(broker: &Broker) {
    let mut connection = Connection::open(&Login::plain(broker.port, "starts")).unwrap();
    connection.subscribe("homeassistant/device/#", 0).unwrap();
    connection
        .publish("homeassistant/status", b"online", 0, false)
        .unwrap();
    crate::wait(LIMIT, "the node to be announced again", || {
        let packet = connection.read().unwrap();
        matches!(packet, Some(Packet::Publish { topic, retain: false, .. })
            if topic == "homeassistant/device/pi-01/node/config")
        .then_some(())
    });
}

fn in_the_other_form_and_withdrawn(home: &Instance, broker: &Broker, mut agent: Agent) {
    let again = |agent: &mut Agent, more: &str| {
        agent.terminate(Duration::from_secs(10));
        more.clone_into(&mut agent.setup.more);
        *agent = agent.setup.start();
    };
    let known = |state: &str| state != "unavailable" && state != "unknown";
    again(&mut agent, "[home_assistant]\nsingle_component = true\n");
    home.wait_gone("button.pi_01_identify");
    home.wait_state("sensor.pi_01_cpu", known);
    home.wait_state("sensor.pi_01_sensors", |state| state == "Healthy");
    crate::wait(LIMIT, "one message an entity", || {
        let topics = announced(broker);
        let single = topics.iter().all(|topic| !topic.contains("/device/"));
        (single && topics.len() == 14).then_some(())
    });
    assert_eq!(home.entities().len(), 14);
    again(&mut agent, "[home_assistant]\n");
    crate::wait(LIMIT, "one message again", || {
        (announced(broker).len() == 2).then_some(())
    });
    home.wait_state("sensor.pi_01_cpu", known);
    home.wait_state("sensor.pi_01_sensors", |state| state == "Healthy");
    again(&mut agent, "[home_assistant]\ndiscovery = false\n");
    crate::wait(LIMIT, "everything to be withdrawn", || {
        home.entities().is_empty().then_some(())
    });
    assert_eq!(announced(broker), [] as [String; 0]);
}

/// The topics under which something is announced.
fn announced(broker: &Broker) -> Vec<String> {
    let mut connection = Connection::open(&Login::plain(broker.port, "announced")).unwrap();
    connection.subscribe("homeassistant/#", 0).unwrap();
    // What is retained comes at once, and before anything else.
    connection.subscribe("edge/v1/pi-01/presence", 0).unwrap();
    let mut topics = Vec::new();
    crate::wait(LIMIT, "the end of what is retained", || {
        match connection.read().unwrap() {
            Some(Packet::Publish { topic, retain, .. }) if topic.starts_with("homeassistant/") => {
                if retain {
                    topics.push(topic);
                }
                None
            }
            Some(Packet::Publish { .. }) => Some(()),
            _ => None,
        }
    });
    topics
}

/// The page of the device as Chromium shows it.
fn picture(home: &Instance, node: &Path, directory: &Path) {
    let device = home.template("{{ device_id('sensor.pi_01_health') }}");
    let url = format!("{}/config/devices/device/{device}", home.base);
    let file = std::env::var("EDGE_AGENT_PICTURES").map_or_else(
        |_| directory.join("home-assistant.png"),
        |pictures| Path::new(&pictures).join("home-assistant.png"),
    );
    let file = file.to_string_lossy();
    let script = format!("{HERE}/home_assistant/look.mjs");
    let tokens = home.tokens.to_string();
    let arguments = [
        script.as_str(),
        &node.to_string_lossy(),
        &url,
        &tokens,
        &file,
    ];
    let (held, said) = run(Path::new("node"), &arguments, b"");
    assert!(held, "{said}");
    for words in ["pi-01", "shop", "Degraded", "Health", "Identify"] {
        assert!(said.contains(words), "{words:?} is not on the page: {said}");
    }
}
