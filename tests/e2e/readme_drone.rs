//! "Roll back from Drone in five minutes", as it stands in the README: its commands are typed, its
//! step runs as Drone's docker runner runs it, on three nodes. Nothing but names of machines, paths and
//! what a person pastes is put in the place of something else: see [`Places`].

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::time::Instant;

use serde_json::Value;

use super::fleet::{Fleet, LIMIT};
use super::readme::Section;
use super::support::cluster::sha;
use super::support::drone::build::Build;
use super::{Args, Suite, figure};

pub(crate) const SUITES: &[Suite] = &[("readme_drone", rolls_back_in_five_minutes)];

const TITLE: &str = "### Roll back from Drone in five minutes";
const NODES: [&str; 3] = ["pi-01", "pi-02", "pi-03"];

/// The step before: it knows which commit each build has deployed.
const BEFORE: &str = r#"kind: pipeline
type: docker
name: deploy
steps:
- name: revision
  image: alpine/git:2.47.2
  commands:
  - sed -n "s/^$DRONE_BUILD_PARENT //p" deployed > .revision
  - test -s .revision
"#;

/// What stands for what the README names.
struct Places(Vec<(String, String)>);

impl Places {
    fn of(fleet: &Fleet) -> Self {
        let port = fleet.broker.port;
        let pids: Vec<String> = fleet
            .nodes
            .iter()
            .filter_map(|node| Some(node.agent.as_ref()?.child.id().to_string()))
            .collect();
        let table = [
            ("broker.example:8883", format!("localhost:{port}")),
            (
                "-h broker.example -p 8883",
                format!("-h localhost -p {port}"),
            ),
            // There is no systemd here; this is what its unit does.
            (
                "systemctl reload edge-agent",
                format!("kill -HUP {}", pids.join(" ")),
            ),
        ];
        Self(table.map(|(from, to)| (from.to_owned(), to)).to_vec())
    }

    fn put(&self, text: &str) -> String {
        self.0
            .iter()
            .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
    }
}

fn rolls_back_in_five_minutes(_: &Args) {
    let mut section = Section::named(TITLE);
    let mut fleet = Fleet::set(&NODES);
    fleet.start_all();
    let places = Places::of(&fleet);

    make_key(&mut section, &mut fleet, &places);
    hand_over_secrets(&mut section, &fleet, &places);
    let keys = read_node_keys(&mut section, &fleet, &places);
    make_pipeline(&section, &fleet, &places, &keys);

    promote(&fleet);
    roll_back(&mut section, &mut fleet, &places);
    refused(&fleet);
    withdraw(&mut section, &mut fleet, &places);
    assert!(section.left().is_empty(), "not done: {:?}", section.left());
}

fn make_key(section: &mut Section, fleet: &mut Fleet, places: &Places) {
    let block = fleet.types(&section.next("edge-agent keygen "));
    assert!(section.says("the printed block into `/etc/edge-agent/keyring.toml`"));
    for node in &fleet.nodes {
        let text = fs::read_to_string(&node.keyring).unwrap();
        fs::write(&node.keyring, format!("{text}\n{block}")).unwrap();
    }
    reload(section, fleet, places);
}

/// Types the command that the README has for it, and waits until every node has done it.
fn reload(section: &mut Section, fleet: &mut Fleet, places: &Places) {
    let line = section.next("systemctl reload edge-agent");
    let before: Vec<usize> = fleet.nodes.iter().map(|node| node.lives()).collect();
    fleet.types(&places.put(&line));
    for (node, before) in fleet.nodes.iter_mut().zip(before) {
        node.wait_life_after(before);
    }
}

fn hand_over_secrets(section: &mut Section, fleet: &Fleet, places: &Places) {
    fleet.types(&places.put(&section.next("DIRECTORY=certificates ")));
    for _ in 0..4 {
        fleet.types(&section.next("drone secret add "));
    }
    let secrets = fleet.drone.secrets();
    let key = fs::read_to_string(fleet.desk.join("drone.key")).unwrap();
    assert_eq!(secrets["signing_key"], key, "as it is, with its newline");
    assert!(section.says("Then delete `drone.key` from your desk"));
    fs::remove_file(fleet.desk.join("drone.key")).unwrap();
}

/// What the README has to look at the topics `identity`, until it has shown every node.
fn read_node_keys(section: &mut Section, fleet: &Fleet, places: &Places) -> Vec<String> {
    let line = places.put(&section.next("mosquitto_sub "));
    let mut process = fleet.typed(&format!("exec {line}")).spawn().unwrap();
    let mut keys: [Option<String>; NODES.len()] = Default::default();
    for line in BufReader::new(process.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let (topic, payload) = line.split_once(' ').unwrap();
        let node = NODES
            .iter()
            .position(|node| topic == format!("edge/v1/{node}/identity"));
        let identity: Value = serde_json::from_str(payload).unwrap();
        keys[node.unwrap()] = Some(identity["key"].as_str().unwrap().to_owned());
        if keys.iter().all(Option::is_some) {
            break;
        }
    }
    // As by a person with Ctrl-C.
    process.kill().unwrap();
    let output = process.wait_with_output().unwrap();
    let keys: Vec<String> = keys.into_iter().flatten().collect();
    assert_eq!(keys.len(), NODES.len(), "{output:?}");
    keys
}

fn make_pipeline(section: &Section, fleet: &Fleet, places: &Places, keys: &[String]) {
    let mut step = places.put(&section.block("yaml"));
    for (node, key) in NODES.iter().zip(keys) {
        let place = format!("{node}=<key>");
        assert!(step.contains(&place), "{step}");
        step = step.replace(&place, &format!("{node}={key}"));
    }
    assert!(!step.contains("${"), "{step}");
    fleet.drone.set_pipeline(&format!("{BEFORE}{step}"));
    // The image's entry point: see cross/image.
    let plugin = [env!("CARGO_BIN_EXE_edge-agent"), "drone"];
    let image = "registry.example/edge-agent-drone";
    assert!(step.contains(image), "{step}");
    fleet.drone.add_image(image, &plugin);
    let deployed = format!("41 {}\n42 {}\n", sha(1), sha(2));
    fs::write(fleet.drone.workspace().join("deployed"), deployed).unwrap();
    // The commits of the builds are of the application's repository, and no revision of Argo CD's.
    for (number, digit) in [(41, 8), (42, 9)] {
        fleet.drone.add_build(Build::pushed(number, &sha(digit)));
    }
}

/// Holds the last build against what is expected; returns what its step has printed.
fn ended(fleet: &Fleet, code: i32) -> String {
    let build = fleet.drone.last_build();
    let log = fleet.drone.log(build.number, "rollout");
    assert_eq!(build.step("revision").exit_code, Some(0), "{log}");
    let step = build.step("rollout");
    assert_eq!(step.exit_code, Some(code), "{log}");
    let status = if code == 0 { "success" } else { "failure" };
    assert_eq!(build.status, status);
    assert_eq!(step.masked, 0, "a secret was printed: {log}");
    log
}

/// Which line tells that a node has come so far.
fn line_of(log: &str, node: &str, word: &str) -> usize {
    let is_it = |line: &str| {
        let rest = line.split_once("Z  ").map_or("", |(_, rest)| rest);
        let mut words = rest.split_whitespace();
        words.next() == Some(node) && words.next() == Some(word)
    };
    let line = log.lines().position(is_it);
    line.unwrap_or_else(|| panic!("no line `{word}` of {node}:\n{log}"))
}

fn assert_in_waves(log: &str) {
    for pair in NODES.windows(2) {
        let (done, next) = (
            line_of(log, pair[0], "succeeded"),
            line_of(log, pair[1], "sent"),
        );
        assert!(done < next, "{} before {}:\n{log}", pair[1], pair[0]);
    }
}

fn promote(fleet: &Fleet) {
    let began = Instant::now();
    fleet.types("drone build promote acme/shop 42 production");
    let log = ended(fleet, 0);
    figure(
        "promoted on three nodes in three waves",
        format!("{:.1} s", began.elapsed().as_secs_f64()),
    );
    assert_in_waves(&log);
    for node in &fleet.nodes {
        assert_eq!(node.revision(), sha(2), "{}", node.name);
    }
}

/// The last of the nodes is away, and comes back when its wave has begun.
fn roll_back(section: &mut Section, fleet: &mut Fleet, places: &Places) {
    let line = places.put(&section.next("drone build rollback "));
    let number = fleet.drone.last_build().number + 1;
    fleet.nodes[2].stop();
    let began = Instant::now();
    let mut typed = fleet.typed(&line).spawn().unwrap();
    super::wait(LIMIT * 3, "the last wave to begin", || {
        let log = fleet.drone.log(number, "rollout");
        let is_sent = |line: &str| line.contains("  pi-03  ") && line.contains("sent");
        assert!(typed.try_wait().unwrap().is_none(), "it has ended:\n{log}");
        log.lines().any(is_sent).then_some(())
    });
    fleet.nodes[2].start();
    assert!(typed.wait().unwrap().success());
    let log = ended(fleet, 0);
    figure(
        "rolled back on three nodes, one of them away",
        format!("{:.1} s", began.elapsed().as_secs_f64()),
    );
    assert_in_waves(&log);
    assert!(log.contains("NODE   WAVE  OUTCOME"), "{log}");
    for node in &fleet.nodes {
        assert_eq!(node.revision(), sha(1), "{}", node.name);
        let app = fleet.wait_told(node.name, "app/shop", |app| app["state"] == "RolledBack");
        let app = app.json();
        assert_eq!(app["hold"]["mode"], "pin", "{app}");
        assert_eq!(app["hold"]["to"], sha(1), "{app}");
    }
}

/// An order that the node refuses; what it answers is the end of the step, and no other is asked.
fn refused(fleet: &Fleet) {
    let cluster = &fleet.nodes[0].cluster;
    cluster.delete_application("argocd", "shop");
    let gone = |value: &Value| value.is_null();
    fleet.wait_told("pi-01", "app/shop", gone);
    fleet.types("drone build promote acme/shop 42 production");
    let log = ended(fleet, 4);
    assert!(log.contains("application_not_found"), "{log}");
    assert!(!log.contains("  pi-02  sent"), "{log}");
    shows(
        fleet,
        &[
            "rollback shop",
            "succeeded",
            "drone-2026",
            "rejected",
            "application_not_found",
        ],
    );
    assert_eq!(fleet.nodes[1].revision(), sha(1));
}

/// What a person sees on the first node of its last commands.
fn shows(fleet: &Fleet, words: &[&str]) {
    let file = fleet.nodes[0].setup.directory.join("run/status.json");
    let line = format!("edge-agent status --file {file:?}");
    super::wait(LIMIT, "the status to tell of all commands", || {
        // Its exit code is the health of the node.
        let output = fleet.typed(&line).output().unwrap();
        let shown = String::from_utf8(output.stdout).unwrap();
        words.iter().all(|word| shown.contains(word)).then_some(())
    });
}

fn withdraw(section: &mut Section, fleet: &mut Fleet, places: &Places) {
    let block = fleet.types(&section.next("edge-agent keygen --root "));
    assert!(
        section.says("put `version = 1` at the top of the file and the printed block at its end")
    );
    for node in &fleet.nodes {
        let text = fs::read_to_string(&node.keyring).unwrap();
        fs::write(&node.keyring, format!("version = 1\n{text}\n{block}")).unwrap();
    }
    fleet.reload_all();
    fs::copy(&fleet.nodes[0].keyring, fleet.desk.join("keyring.toml")).unwrap();
    let revoked = fleet.types(&section.next("edge-agent keyring revoke "));
    assert!(revoked.contains("version 2"), "{revoked}");
    fleet.types(&section.next("edge-agent keyring sign "));
    fleet.types(&places.put(&section.next("mosquitto_pub ")));
    let settings = fleet.nodes[0].settings();
    let show = format!("edge-agent keyring show --config {settings:?}");
    super::wait(LIMIT, "the new keyring to be in force", || {
        fleet.types(&show).contains("version 2").then_some(())
    });

    // The same order by the key that is withdrawn: nothing is done, and nobody is answered.
    let number = fleet.drone.last_build().number + 1;
    fleet.types("drone build rollback -p PLUGIN_TTL=2s acme/shop 41 production");
    let log = ended(fleet, 3);
    assert!(log.contains("does its keyring have this key?"), "{log}");
    let agent = fleet.nodes[0].agent.as_mut().unwrap();
    agent.wait_status(LIMIT, "the refusal to be counted", |status| {
        status["refused"]["unknown_key"].as_u64()
    });
    let log = fleet.nodes[0].setup.log();
    assert!(!log.contains(&format!("command=drone-{number}-")), "{log}");

    // The others with the command for many nodes.
    let line = section.next("edge-agent send --envelope update.json --node pi-01");
    let broker = format!(
        "--broker mqtts://localhost:{} --ca-file certificates/ca.crt --cert-file \
         certificates/drone.crt --key-file certificates/drone.key",
        fleet.broker.port
    );
    let sent = fleet.types(&format!("{line} --node pi-02 --node pi-03 {broker}"));
    assert_eq!(sent.matches("succeeded").count(), 3, "{sent}");
    let shown = fleet.types(&section.next("edge-agent keyring show keyring.toml"));
    assert!(shown.contains("nobody may command"), "{shown}");
    let node_has = format!(
        "edge-agent keyring show --config {:?}",
        fleet.nodes[2].settings()
    );
    assert!(fleet.types(&node_has).contains("version 2"));

    let added = section.next("edge-agent keyring add");
    let made = fleet.types("edge-agent keygen --out drone-2027.key --id drone-2027");
    let public = made.lines().find_map(|line| line.strip_prefix("public = "));
    let add = format!(
        "{added} keyring.toml --id drone-2027 --public {} --application 'shop'",
        public.unwrap()
    );
    assert!(fleet.types(&add).contains("version 3"));

    // What a person sees on the node.
    shows(fleet, &["keyring", "root-1", "succeeded", "unknown_key"]);
}
