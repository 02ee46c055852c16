//! A desk, a Drone, and nodes around mosquitto as the project ships it, each node with a double of
//! Argo CD.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::agent::{Agent, Setup};
use super::broker::Broker;
use super::recorder::{Message, Recorder};
use super::support::cluster::{ApplicationSpec, Behaviour, ClusterDouble, Commit, Pace, sha};
use super::support::drone::program::{SERVER, Server};

/// The first argument of a process that is to be the program `drone`.
pub(crate) const DRONE: &str = "--drone";

pub(crate) const LIMIT: Duration = Duration::from_secs(30);

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// One node.
pub(crate) struct Node {
    pub(crate) name: &'static str,
    pub(crate) setup: Setup,
    pub(crate) agent: Option<Agent>,
    pub(crate) cluster: Arc<ClusterDouble>,
    /// The file that its settings name.
    pub(crate) keyring: PathBuf,
}

/// All of it. The desk is a folder in which a person works.
pub(crate) struct Fleet {
    pub(crate) nodes: Vec<Node>,
    pub(crate) recorder: Recorder,
    pub(crate) broker: Broker,
    pub(crate) drone: Server,
    pub(crate) desk: PathBuf,
    end: CancellationToken,
    // Removed at the end.
    _directory: tempfile::TempDir,
}

/// `edge-agent` and `drone` as a person finds them on the path.
pub(crate) fn programs(desk: &Path) {
    let folder = desk.join("bin");
    fs::create_dir(&folder).unwrap();
    let agent = env!("CARGO_BIN_EXE_edge-agent");
    std::os::unix::fs::symlink(agent, folder.join("edge-agent")).unwrap();
    let this = std::env::current_exe().unwrap();
    let script = format!("#!/bin/sh\nexec {this:?} {DRONE} \"$@\"\n");
    let drone = folder.join("drone");
    fs::write(&drone, script).unwrap();
    fs::set_permissions(&drone, fs::Permissions::from_mode(0o755)).unwrap();
}

impl Fleet {
    /// Nodes with `shop` Healthy on `sha(1)` and `sha(2)` in git, which nobody rolls out by himself.
    /// The agents are not started, and their keyrings are the file that the project ships.
    pub(crate) fn set(names: &[&'static str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let desk = directory.path().join("desk");
        let certificates = desk.join("certificates");
        fs::create_dir_all(&certificates).unwrap();
        std::os::unix::fs::symlink(format!("{ROOT}/config"), desk.join("config")).unwrap();
        let clients = [names, &["dashboard"]].concat();
        let broker = Broker::recommended_for(&certificates, &clients);
        let recorder = Recorder::start(broker.login("dashboard"));
        recorder.wait_subscribed(0);
        let end = CancellationToken::new();
        let clusters = clusters(names.len(), end.clone());
        let nodes = names
            .iter()
            .zip(clusters)
            .map(|(name, cluster)| node(name, &directory.path().join(name), cluster, &broker))
            .collect();
        let drone = Server::new(&directory.path().join("drone"));
        let fleet = Self {
            nodes,
            recorder,
            broker,
            drone,
            desk,
            end,
            _directory: directory,
        };
        programs(&fleet.desk);
        fleet
    }

    /// A line that a person types at the desk.
    pub(crate) fn typed(&self, line: &str) -> Command {
        let mut command = Command::new("/bin/bash");
        let path = format!("{}:/usr/bin:/bin", self.desk.join("bin").display());
        command
            .args(["-c", line])
            .current_dir(&self.desk)
            .env_clear()
            .env("PATH", path)
            .env("HOME", &self.desk)
            .env(SERVER, self.drone.folder())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Types a line, which is to do what it says; returns what it printed.
    pub(crate) fn types(&self, line: &str) -> String {
        let output = self.typed(line).output().unwrap();
        assert!(output.status.success(), "`{line}`: {}", told(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Types a line, which is to end so; returns all that it printed.
    pub(crate) fn types_in_vain(&self, line: &str, code: i32) -> String {
        let output = self.typed(line).output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(code),
            "`{line}`: {}",
            told(&output)
        );
        told(&output)
    }

    pub(crate) fn start_all(&mut self) {
        for node in &mut self.nodes {
            node.start();
        }
    }

    /// `systemctl reload edge-agent` on every node.
    pub(crate) fn reload_all(&mut self) {
        for node in &mut self.nodes {
            node.reload();
        }
    }

    /// Waits for a message of a node on a topic below its own.
    pub(crate) fn wait_told(
        &self,
        node: &str,
        topic: &str,
        is: impl Fn(&Value) -> bool,
    ) -> Message {
        let topic = format!("edge/v1/{node}/{topic}");
        self.recorder.wait(LIMIT, &topic, |messages| {
            let mut latest = messages.iter().rev();
            latest
                .find(|message| message.topic == topic && is(&message.json()))
                .cloned()
        })
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

impl Node {
    pub(crate) fn start(&mut self) {
        let agent = self.agent.insert(self.setup.start());
        agent.wait_up(LIMIT);
        agent.wait_status(LIMIT, "shop to be known", |status| {
            let known = status.to_string().contains("\"shop\"");
            known.then_some(())
        });
    }

    /// As systemd ends it.
    pub(crate) fn stop(&mut self) {
        let (status, _) = self.agent.take().unwrap().terminate(LIMIT);
        assert!(status.success(), "{}: {status}", self.name);
    }

    pub(crate) fn reload(&mut self) {
        let before = self.lives();
        self.agent.as_ref().unwrap().signal(Signal::HUP);
        self.wait_life_after(before);
    }

    /// How often its agent has begun.
    pub(crate) fn lives(&self) -> usize {
        self.setup.log().matches("edge-agent runs").count()
    }

    pub(crate) fn wait_life_after(&mut self, before: usize) {
        super::wait(LIMIT, "the agent to begin anew", || {
            (self.lives() > before).then_some(())
        });
        self.agent.as_mut().unwrap().wait_up(LIMIT);
    }

    /// The revision that its `shop` is on.
    pub(crate) fn revision(&self) -> String {
        let object = self.cluster.get("argocd", "shop");
        let revision = object["status"]["sync"]["revision"].as_str();
        revision.unwrap_or_default().to_owned()
    }

    /// The settings file of the agent.
    pub(crate) fn settings(&self) -> PathBuf {
        self.setup.directory.join("agent.toml")
    }
}

pub(crate) fn told(output: &Output) -> String {
    format!(
        "{}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn node(
    name: &'static str,
    directory: &Path,
    cluster: Arc<ClusterDouble>,
    broker: &Broker,
) -> Node {
    fs::create_dir(directory).unwrap();
    let keyring = directory.join("keyring.toml");
    fs::copy(format!("{ROOT}/config/keyring.toml"), &keyring).unwrap();
    let mut setup = Setup::new(directory, broker.port);
    name.clone_into(&mut setup.node);
    setup.mqtt = broker.settings_of(name, broker.port);
    setup.kubeconfig = Some(cluster.write_kubeconfig(directory));
    setup.more = format!(
        "[commands]\nkeyring = {keyring:?}\ntrust_clock = true\n[outbox]\nreserve_bytes = 0\n"
    );
    Node {
        name,
        setup,
        agent: None,
        cluster,
        keyring,
    }
}

/// Clusters in a thread of their own, until the end.
fn clusters(count: usize, end: CancellationToken) -> Vec<Arc<ClusterDouble>> {
    let (ready, are_ready) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let pace = Pace::with_unit(Duration::from_millis(50)).without_polling();
            let mut clusters = Vec::new();
            for _ in 0..count {
                let double = ClusterDouble::start(pace).await;
                let first = Commit::new(sha(1), Behaviour::Healthy);
                double.create_application("argocd", "shop", ApplicationSpec::automated(first));
                let is_well = |object: &Value| object["status"]["health"]["status"] == "Healthy";
                double.wait_until("argocd", "shop", is_well, LIMIT).await;
                double.push_commit("argocd", "shop", Commit::new(sha(2), Behaviour::Healthy));
                clusters.push(Arc::new(double));
            }
            ready.send(clusters).unwrap();
            end.cancelled().await;
        });
    });
    are_ready.recv().unwrap()
}
