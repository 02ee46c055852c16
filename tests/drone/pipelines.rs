//! The pipelines to copy, from the gate to the message: what is not in the registry is not signed for, and
//! people hear how it ended. Names of machines are changed in them, and nothing else. What is in them of
//! git is tried by the suite `gitops_digest`.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};

use super::files::PIPELINES;
use super::fleet::Fleet;
use crate::double::{Double, Reply};
use crate::support::broker::topic;
use crate::support::cluster::{Behaviour, Commit, sha};
use crate::support::drone::build::Build;
use crate::support::drone::pipeline::Pipeline;
use crate::support::drone::runner::Runner;

const NODES: [&str; 3] = ["pi-01", "pi-02", "pi-03"];

/// The commit that the image was built from, and another one.
const SOURCE: &str = "25a5d246488dfd358d1e0de9aaf92778210d66fa";
const OTHER: &str = "0123456789abcdef0123456789abcdef01234567";

/// Everything around the runner.
struct Desk {
    fleet: Fleet,
    registry: Double,
    chat: Double,
    folder: tempfile::TempDir,
    image: String,
}

impl Desk {
    /// With a chat that answers so.
    async fn set(chat: u16) -> Self {
        let config = json!({"architecture": "arm64", "os": "linux", "config": {"Labels":
            {"org.opencontainers.image.revision": SOURCE}}});
        let (config, config_digest) = content(&config);
        let (manifest, digest) = content(&json!({"schemaVersion": 2, "layers": [],
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": config_digest, "size": 1}}));
        let paths = [
            format!("/v2/acme/shop/manifests/{digest}"),
            format!("/v2/acme/shop/blobs/{config_digest}"),
        ];
        let registry = Double::start(move |seen, _| {
            // As by `--registry-username` with what Drone has as the secret.
            let login = "Basic Z2l0bGFiK2RlcGxveS10b2tlbi0xOmRlcGxveS10b2tlbg==";
            match paths.iter().position(|path| *path == seen.path) {
                _ if seen.header("authorization") != Some(login) => {
                    Reply::status(401).with("www-authenticate", "Basic realm=\"registry\"")
                }
                Some(0) => Reply::new(
                    200,
                    "application/vnd.oci.image.manifest.v1+json",
                    manifest.clone(),
                ),
                Some(_) => Reply::new(200, "application/octet-stream", config.clone()),
                None => Reply::status(404),
            }
        })
        .await;
        let chat = Double::start(move |_, _| Reply::new(chat, "text/plain", "ok")).await;
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("rollout")).unwrap();
        fs::write(folder.path().join("rollout/ca.pem"), authority()).unwrap();
        Self {
            fleet: Fleet::start(&NODES).await,
            image: format!("{}/acme/shop@{digest}", host(&registry)),
            registry,
            chat,
            folder,
        }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join("rollout").join(name)
    }

    /// Runs the pipeline without the steps that need git, for the second commit of the environment; `source` is
    /// the commit that the image is said to be from. After the event can stand ` to ` and a target.
    async fn run(&self, text: &str, event: &str, source: &str) -> Build {
        fs::write(self.file("image"), format!("{}\n", self.image)).unwrap();
        fs::write(self.file("source"), format!("{source}\n")).unwrap();
        fs::write(self.file("revision"), format!("{}\n", sha(2))).unwrap();
        fs::write(self.file("reason"), "").unwrap();
        let mut pipeline = Pipeline::read(&self.put(text)).unwrap().remove(0);
        pipeline
            .steps
            .retain(|step| !["image", "revision"].contains(&step.name.as_str()));
        let secrets = BTreeMap::from([
            ("chat_hook", format!("{}/services/hunter2", self.chat.url())),
            ("edge_node_keys", self.fleet.node_keys()),
            ("edge_signing_key", self.fleet.secret().to_owned()),
            ("mqtt_username", "drone".to_owned()),
            ("mqtt_password", "password".to_owned()),
            ("registry_token", "deploy-token".to_owned()),
        ]);
        let secrets = secrets
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        let agent = env!("CARGO_BIN_EXE_edge-agent").to_owned();
        let images = BTreeMap::from([
            (
                "registry.example/edge-agent".to_owned(),
                vec![agent.clone()],
            ),
            (
                "registry.example/edge-agent-drone".to_owned(),
                vec![agent, "drone".to_owned()],
            ),
        ]);
        let workspace = self.folder.path().to_owned();
        let (event, target) = event.split_once(" to ").unwrap_or((event, ""));
        let mut build = Build {
            event: event.to_owned(),
            target: target.to_owned(),
            // An order of its own for either kind.
            ..Build::pushed(42 + text.len() as u64, SOURCE)
        };
        let running = tokio::task::spawn_blocking(move || {
            let runner = Runner {
                repository: "acme/shop",
                secrets: &secrets,
                images: &images,
                logs: workspace.join("logs"),
                workspace: &workspace,
            };
            runner.run(&pipeline, &mut build);
            build
        });
        running.await.unwrap()
    }

    /// The text with the machines of this desk.
    fn put(&self, text: &str) -> String {
        let ours = [
            (
                "registry.gitlab.example/acme",
                format!("{}/acme", host(&self.registry)),
            ),
            ("mqtts://broker.example:8883", self.fleet.broker.url()),
            ("drone-2026", "drone".to_owned()),
            (
                "/usr/bin/edge-agent",
                env!("CARGO_BIN_EXE_edge-agent").to_owned(),
            ),
            // The broker of this desk speaks without TLS.
            ("      ca_cert: {from_secret: mqtt_ca}\n", String::new()),
            (
                "      PLUGIN_CA_CERT: /etc/edge-agent/broker-ca.pem\n",
                String::new(),
            ),
        ];
        ours.iter()
            .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
    }

    fn log(&self, step: &str) -> String {
        fs::read_to_string(self.folder.path().join(format!("logs/{step}.log"))).unwrap()
    }

    /// What the chat was told last.
    fn told(&self) -> String {
        let seen = self.chat.seen();
        let message: Value = seen.last().unwrap().json();
        message.to_string()
    }
}

/// Bytes and their digest.
fn content(value: &Value) -> (Vec<u8>, String) {
    let bytes = value.to_string().into_bytes();
    let digest = edge_agent_core::gate::digest::Digest::of(&bytes).to_string();
    (bytes, digest)
}

fn host(server: &Double) -> String {
    server.url().trim_start_matches("http://").to_owned()
}

/// A certificate to trust; the servers of a desk have none.
fn authority() -> String {
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap())
        .unwrap()
        .pem()
}

fn ended(build: &Build) -> Vec<(&str, &str)> {
    let steps = build.steps.iter();
    steps
        .map(|step| (step.name.as_str(), step.status.as_str()))
        .collect()
}

#[tokio::test]
async fn what_the_gate_lets_pass_is_rolled_out_and_told() {
    let desk = Desk::set(200).await;
    for (index, (kind, text)) in PIPELINES.into_iter().enumerate() {
        if index == 0 {
            for node in NODES {
                let mut commit = Commit::new(sha(2), Behaviour::Healthy);
                commit.images = vec![desk.image.clone()];
                desk.fleet
                    .cluster(node)
                    .push_commit("argocd", "shop", commit);
            }
        }
        let build = desk.run(text, "custom", SOURCE).await;
        let all = [
            ("gate", "success"),
            ("rollout", "success"),
            ("tell", "success"),
        ];
        assert_eq!(
            ended(&build),
            all,
            "{kind}: {}{}",
            desk.log("gate"),
            desk.log("rollout")
        );
        assert!(
            desk.log("gate").contains("revision"),
            "{kind}: {}",
            desk.log("gate")
        );
        let told = desk.told();
        let title = format!("shop {}: rollout succeeded", &SOURCE[..12]);
        for part in [title.as_str(), "pi-01", "pi-03"] {
            assert!(told.contains(part), "{kind}: {part}: {told}");
        }
        assert!(!desk.log("tell").contains("hunter2"), "{kind}");
    }
}

#[tokio::test]
async fn what_the_gate_stops_is_not_signed_for_and_told() {
    let desk = Desk::set(200).await;
    let mut orders = desk.fleet.broker.record("edge/v1/+/command").await;
    for (kind, text) in PIPELINES {
        let build = desk.run(text, "promote", OTHER).await;
        let all = [
            ("gate", "failure"),
            ("rollout", "skipped"),
            ("tell", "success"),
        ];
        assert_eq!(ended(&build), all, "{kind}");
        assert_eq!(build.status, "failure", "{kind}");
        let log = desk.log("gate");
        assert!(log.contains(SOURCE) && log.contains(OTHER), "{kind}: {log}");
        let told = desk.told();
        for part in [
            "failed",
            "Failed: gate",
            "gate not passed",
            "it was built from",
        ] {
            assert!(told.contains(part), "{kind}: {part}: {told}");
        }
    }
    assert!(orders.seen_so_far().is_empty());
}

/// With the lines for targets, a promote to one of them is for its boards alone, and to none that is not known.
#[tokio::test]
async fn a_promote_to_a_target_is_for_its_boards() {
    let desk = Desk::set(200).await;
    for node in NODES {
        let mut commit = Commit::new(sha(2), Behaviour::Healthy);
        commit.images = vec![desk.image.clone()];
        desk.fleet
            .cluster(node)
            .push_commit("argocd", "shop", commit);
    }
    let mut orders = desk.fleet.broker.record("edge/v1/+/command").await;
    for (kind, text) in PIPELINES {
        let with_targets = text
            .replace("# targets: ", "targets: ")
            .replace("# PLUGIN_TARGETS: ", "PLUGIN_TARGETS: ")
            .replace("pi-04", "pi-02")
            .replace(", pi-05", "")
            .replace(", \"pi-05\"", "");
        let build = desk.run(&with_targets, "promote to kitchen", SOURCE).await;
        assert_eq!(build.status, "success", "{kind}: {}", desk.log("rollout"));
        let build = desk.run(&with_targets, "promote to kichen", SOURCE).await;
        assert_eq!(build.step("rollout").exit_code, Some(2), "{kind}");
        assert!(desk.log("rollout").contains("has no `kichen`"), "{kind}");
    }
    let topics: Vec<&str> = orders.seen_so_far().iter().map(topic).collect();
    assert_eq!(topics, ["edge/v1/pi-02/command"; 2]);
}

/// A rollback needs no registry, and a chat that refuses makes it no failure.
#[tokio::test]
async fn a_rollback_waits_for_no_registry_and_a_message_that_is_lost_fails_nothing() {
    let desk = Desk::set(404).await;
    for (index, (kind, text)) in PIPELINES.into_iter().enumerate() {
        if index == 0 {
            // Where it is to go back to, it has to have been.
            desk.fleet.push(&NODES, 2, Behaviour::Healthy);
            for node in NODES {
                desk.fleet.until_on(node, 2).await;
            }
        }
        let build = desk.run(text, "rollback", SOURCE).await;
        let all = [("rollback", "success"), ("tell", "success")];
        assert_eq!(ended(&build), all, "{kind}: {}", desk.log("rollback"));
        assert_eq!(build.status, "success", "{kind}");
        assert!(
            desk.log("tell").contains("not told: it answers 404"),
            "{kind}: {}",
            desk.log("tell")
        );
    }
    assert!(desk.registry.seen().is_empty());
}

/// The same when the secret is missing, which is a fault of the settings: the step is red, the build is not.
#[test]
fn a_missing_secret_of_the_chat_fails_no_build() {
    for (kind, text) in PIPELINES {
        let pipeline = Pipeline::read(text).unwrap().remove(0);
        let tell = pipeline.steps.last().unwrap();
        assert!(tell.name == "tell" && tell.ignores_failure, "{kind}");
    }
}
