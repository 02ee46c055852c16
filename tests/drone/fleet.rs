//! Agents around one broker, and steps of a pipeline against them.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use edge_agent::clock::SystemClock;
use edge_agent::config::{Config, Environment};
use edge_agent::health::SystemProbe;
use edge_agent::store::identity::NodeIdentity;
use edge_agent::supervisor::{self, Fault, Parts};
use edge_agent_core::command::envelope::{SigningKey, Unverified, seal_result};
use edge_agent_core::wire::{CommandResult, Presence, ResultState};
use rumqttc::{Publish, PublishOptions, QoS};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::broker::{Broker, topic};
use crate::support::cluster::{ApplicationSpec, Behaviour, ClusterDouble, Commit, Pace, sha};

/// How long one thing may take before a test has failed.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

const APPLICATION: &str = "shop";

/// A node with its cluster.
struct Node {
    cluster: ClusterDouble,
    config: Config,
    running: Option<(CancellationToken, JoinHandle<Result<(), Fault>>)>,
    key: String,
}

/// A broker and the nodes around it.
pub(crate) struct Fleet {
    pub(crate) broker: Broker,
    nodes: BTreeMap<String, Node>,
    secret: String,
    directory: tempfile::TempDir,
}

impl Fleet {
    pub(crate) async fn start(names: &[&str]) -> Self {
        Self::start_with(names, "").await
    }

    /// With more settings of the nodes.
    pub(crate) async fn start_with(names: &[&str], more: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let broker = Broker::start().await;
        let seed = [41; 32];
        let key = SigningKey::from_seed(&seed).unwrap();
        let keyring = directory.path().join("keyring.toml");
        let text = format!(
            "version = 1\n[[root]]\nid = \"root\"\npublic = \"{}\"\n[[key]]\nid = \"drone\"\npublic = \"{}\"\napplications = [\"*\"]\n\
             allow = [\"rollout\", \"rollback\", \"resume\", \"refresh\", \"ping\"]\n",
            root_key().public_base64(),
            key.public_base64()
        );
        std::fs::write(&keyring, text).unwrap();
        let mut fleet = Self {
            broker,
            nodes: BTreeMap::new(),
            secret: SigningKey::seed_to_text(&seed).unwrap(),
            directory,
        };
        for name in names {
            let cluster = ClusterDouble::start(Pace::with_unit(Duration::from_millis(50))).await;
            let first = Commit::new(sha(1), Behaviour::Healthy);
            cluster.create_application("argocd", APPLICATION, ApplicationSpec::automated(first));
            let own = fleet.directory.path().join(name);
            std::fs::create_dir(&own).unwrap();
            let config = settings(name, &own, (&fleet.broker.url(), more), &cluster, &keyring);
            // The key is made on the first start; here it is made a little earlier.
            std::fs::create_dir(&config.state_directory).unwrap();
            let key = NodeIdentity::load_or_create(&config.state_directory).unwrap();
            let node = Node {
                cluster,
                config,
                running: None,
                key: key.public_base64(),
            };
            fleet.nodes.insert((*name).to_owned(), node);
            let mut told = fleet.broker.record(&format!("edge/v1/{name}/event")).await;
            fleet.start_again(name).await;
            fleet.until_on(name, 1).await;
            // Only what has lasted is remembered as a revision that one may go back to.
            told.until("it has told that its application is well", |seen| {
                seen.iter().any(|event| {
                    let event: Value = serde_json::from_slice(&event.payload).unwrap();
                    event["type"] == "edge.app.state" && event["data"]["state"] == "Healthy"
                })
            })
            .await;
        }
        fleet
    }

    fn node(&self, name: &str) -> &Node {
        &self.nodes[name]
    }

    /// Starts the agent of a node and waits until it has said that its application is well.
    pub(crate) async fn start_again(&mut self, name: &str) {
        let mut recorder = self.broker.record(&format!("edge/v1/{name}/#")).await;
        let node = self.nodes.get_mut(name).unwrap();
        let parts = Parts {
            clock: Arc::new(SystemClock { trusted: true }),
            probe: Box::new(SystemProbe::new(Path::new("/"))),
            leds: (Vec::new(), Vec::new()),
            button: Ok(None),
            settle: Duration::from_millis(200),
        };
        let stop = CancellationToken::new();
        let running = supervisor::run(node.config.clone(), parts, stop.clone());
        node.running = Some((stop, tokio::spawn(running)));
        recorder.until("the node is online", is_online).await;
        let app = format!("edge/v1/{name}/app/{APPLICATION}");
        recorder
            .until("it tells of its application", |seen| {
                seen.iter().any(|it| topic(it) == app)
            })
            .await;
    }

    /// Ends the agent of a node as systemd would.
    pub(crate) async fn stop(&mut self, name: &str) {
        let (stop, running) = self.nodes.get_mut(name).unwrap().running.take().unwrap();
        stop.cancel();
        running.await.unwrap().unwrap();
    }

    /// Somebody pushes a commit to the repositories of these nodes; their auto-sync picks it up when
    /// it looks, or when it is told to.
    pub(crate) fn push(&self, names: &[&str], digit: u8, behaviour: Behaviour) {
        for name in names {
            let commit = Commit::new(sha(digit), behaviour);
            self.node(name)
                .cluster
                .push_commit("argocd", APPLICATION, commit);
        }
    }

    pub(crate) fn revision(&self, name: &str) -> String {
        let object = self.node(name).cluster.get("argocd", APPLICATION);
        object["status"]["sync"]["revision"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Waits until the application of a node is on a commit, and well.
    pub(crate) async fn until_on(&self, name: &str, digit: u8) {
        let holds = |object: &Value| {
            object["status"]["sync"]["revision"] == sha(digit).as_str()
                && object["status"]["health"]["status"] == "Healthy"
        };
        let cluster = &self.node(name).cluster;
        cluster
            .wait_until("argocd", APPLICATION, holds, LIMIT)
            .await;
    }

    /// For the benches.
    #[allow(
        dead_code,
        reason = "the benches and the tests each use their own part"
    )]
    pub(crate) fn cluster(&self, name: &str) -> &ClusterDouble {
        &self.node(name).cluster
    }

    /// How often the application of a node was patched.
    pub(crate) fn patches(&self, name: &str) -> usize {
        let requests = self.node(name).cluster.requests();
        requests.iter().filter(|it| it.method == "PATCH").count()
    }

    pub(crate) async fn say(&self, topic: &str, payload: Vec<u8>) {
        let options = PublishOptions::new(QoS::AtLeastOnce);
        self.broker.publish(topic, payload, options).await;
    }

    pub(crate) fn secret(&self) -> &str {
        &self.secret
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.directory
            .path()
            .join(name)
            .to_str()
            .unwrap()
            .to_owned()
    }

    /// The public keys of the nodes, as the plugin takes them.
    pub(crate) fn node_keys(&self) -> String {
        let keys = self
            .nodes
            .iter()
            .map(|(name, node)| format!("{name}={}", node.key));
        keys.collect::<Vec<_>>().join(",")
    }

    /// A step of a build with this event on this commit: the environment of the exec runner.
    pub(crate) fn step(&self, event: &str, digit: u8) -> Step {
        let names: Vec<&str> = self.nodes.keys().map(String::as_str).collect();
        let keys = self.node_keys();
        let mut step = Step::default();
        for (name, value) in [
            ("CI", "true"),
            ("DRONE", "true"),
            ("DRONE_REPO", "acme/shop"),
            ("DRONE_BUILD_NUMBER", "42"),
            ("DRONE_BUILD_EVENT", event),
            ("DRONE_BUILD_PARENT", "41"),
            ("DRONE_BUILD_LINK", "http://drone.example/acme/shop/42"),
            ("DRONE_COMMIT_SHA", &sha(digit)),
            ("DRONE_DEPLOY_TO", "kitchen"),
            ("DRONE_STAGE_NUMBER", "1"),
            ("DRONE_STEP_NAME", "deploy"),
            ("PLUGIN_BROKER", &self.broker.url()),
            ("PLUGIN_SIGNING_KEY", &self.secret),
            ("PLUGIN_KEY_ID", "drone"),
            ("PLUGIN_NODE", &names.join(",")),
            (
                "PLUGIN_NODE_KEYS",
                if keys.is_empty() { STRANGER } else { &keys },
            ),
            ("PLUGIN_APPLICATION", APPLICATION),
            ("PLUGIN_TTL", "30s"),
            ("PLUGIN_TIMEOUT", "20s"),
        ] {
            step.set(name, value);
        }
        step
    }
}

/// A public key of nobody here.
const STRANGER: &str = "VstUxHZNGNEMnJ9GyJJHb6Ti9hYwyJzjA5bsiDSyUXg=";

fn settings(
    name: &str,
    directory: &Path,
    (broker, more): (&str, &str),
    cluster: &ClusterDouble,
    keyring: &Path,
) -> Config {
    let kubeconfig = cluster.write_kubeconfig(directory);
    let text = format!(
        "node = \"{name}\"\nstate_directory = \"{}\"\n[mqtt]\nurl = \"{broker}\"\n\
         keep_alive_seconds = 5\n[cluster]\nkubeconfig = \"{}\"\n[commands]\nkeyring = \"{}\"\n\
         [http]\nlisten = \"\"\n[outbox]\nreserve_bytes = 0\n{more}",
        directory.join("state").display(),
        kubeconfig.display(),
        keyring.display(),
    );
    Config::parse(
        &text,
        &directory.join("agent.toml"),
        &Environment::default(),
    )
    .unwrap()
}

/// One run of the plugin to be.
#[derive(Debug, Clone, Default)]
pub(crate) struct Step(BTreeMap<String, String>);

/// One run of the plugin that was.
#[derive(Debug)]
pub(crate) struct Run {
    /// `None`: killed.
    pub(crate) code: Option<i32>,
    pub(crate) output: String,
    pub(crate) complaints: String,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "exit {:?}\n{}\n{}",
            self.code, self.output, self.complaints
        )
    }
}

impl Run {
    /// The line of a transition.
    pub(crate) fn line(&self, node: &str, word: &str) -> &str {
        let mut lines = self.output.lines();
        let is_it = |line: &&str| {
            let rest = line.split_once("Z  ").map(|(_, rest)| rest);
            rest.is_some_and(|rest| {
                rest.starts_with(node) && rest[node.len()..].trim_start().starts_with(word)
            })
        };
        lines
            .find(is_it)
            .unwrap_or_else(|| panic!("no line `{word}` of {node}: {self}"))
    }
}

impl Step {
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_owned(), value.to_owned());
    }

    pub(crate) fn unset(&mut self, name: &str) {
        self.0.remove(name);
    }

    /// Runs it to its end.
    pub(crate) async fn run(self) -> Run {
        self.run_until(|_| false).await
    }

    /// Runs it, and kills it at a line of its output, as Drone does to cancel.
    pub(crate) async fn run_until(self, kill_at: fn(&str) -> bool) -> Run {
        let blocking = tokio::task::spawn_blocking(move || {
            let mut process = Command::new(env!("CARGO_BIN_EXE_edge-agent"))
                .arg("drone")
                .env_clear()
                .envs(&self.0)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let mut output = String::new();
            let lines = BufReader::new(process.stdout.take().unwrap()).lines();
            for line in lines.map_while(Result::ok) {
                output.push_str(&line);
                output.push('\n');
                if kill_at(&line) {
                    process.kill().unwrap();
                }
            }
            let mut complaints = String::new();
            let mut errors = process.stderr.take().unwrap();
            errors.read_to_string(&mut complaints).unwrap();
            Run {
                code: process.wait().unwrap().code(),
                output,
                complaints,
            }
        });
        let run = tokio::time::timeout(LIMIT, blocking);
        run.await.expect("the step ends").unwrap()
    }
}

/// The payload of an envelope.
pub(crate) fn payload(envelope: &Value) -> Value {
    let bytes = STANDARD
        .decode(envelope["payload"].as_str().unwrap())
        .unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

/// Whether the last presence that was seen says that the node is online.
pub(crate) fn is_online(seen: &[Publish]) -> bool {
    let presences = seen.iter().filter(|it| topic(it).ends_with("/presence"));
    let last = presences.filter_map(|it| serde_json::from_slice::<Presence>(&it.payload).ok());
    last.last().is_some_and(|presence| presence.online)
}

/// The states of the results that were seen.
pub(crate) fn states(seen: &[Publish]) -> Vec<&'static str> {
    let results = seen.iter().filter(|it| topic(it).contains("/result/"));
    results
        .filter_map(|it| {
            let envelope = Unverified::read(&it.payload).ok()?;
            let result: CommandResult = serde_json::from_slice(&envelope.payload).ok()?;
            Some(result.state.as_str())
        })
        .collect()
}

/// The root key of the keyrings.
pub(crate) fn root_key() -> SigningKey {
    SigningKey::from_seed(&[43; 32]).unwrap()
}

fn forger() -> SigningKey {
    SigningKey::from_seed(&[66; 32]).unwrap()
}

pub(crate) fn forged_key() -> String {
    forger().public_base64()
}

/// A result that says that all went well, by somebody who is not the node.
pub(crate) fn forged_result(node: &str, id: &str) -> Vec<u8> {
    let result = CommandResult {
        v: 1,
        node: node.to_owned(),
        command: id.to_owned(),
        digest: None,
        n: 9,
        state: ResultState::Succeeded,
        reason: None,
        message: "all is well".to_owned(),
        application: None,
        revision: None,
        deploy_state: None,
        at: jiff::Timestamp::UNIX_EPOCH,
    };
    seal_result(&result, node, &forger())
}
