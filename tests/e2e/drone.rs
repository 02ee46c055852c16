//! The Drone plugin against mosquitto as the project ships it: TLS, a certificate for each client,
//! its access list; the agent with an Argo CD double.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use edge_agent::store::identity::{NodeIdentity, write_private_key};
use edge_agent_core::command::envelope::SigningKey;

use super::agent::{NODE, Setup};
use super::broker::Broker;
use super::support::cluster::{ApplicationSpec, Behaviour, ClusterDouble, Commit, Pace, sha};
use super::{Args, Suite, figure};

pub(crate) const SUITES: &[Suite] = &[
    ("drone_rolls_out_and_back", rolls_out_and_back),
    ("drone_node_away", node_away),
];

const LIMIT: Duration = Duration::from_secs(20);
const SEED: [u8; 32] = [61; 32];

/// A cluster in a thread of its own, with `shop` on `sha(1)` and `sha(2)` in git. It ends when the
/// sender is dropped.
fn cluster(directory: &Path) -> mpsc::Sender<()> {
    let (ready, is_ready) = mpsc::channel();
    let (alive, ended) = mpsc::channel::<()>();
    let directory = directory.to_owned();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let double = ClusterDouble::start(Pace::with_unit(Duration::from_millis(50))).await;
            let first = Commit::new(sha(1), Behaviour::Healthy);
            double.create_application("argocd", "shop", ApplicationSpec::automated(first));
            let on_first =
                |object: &serde_json::Value| object["status"]["health"]["status"] == "Healthy";
            double.wait_until("argocd", "shop", on_first, LIMIT).await;
            double.push_commit("argocd", "shop", Commit::new(sha(2), Behaviour::Healthy));
            double.write_kubeconfig(&directory);
            ready.send(()).unwrap();
            let _ = tokio::task::spawn_blocking(move || ended.recv()).await;
        });
    });
    is_ready.recv().unwrap();
    alive
}

struct Scene {
    directory: tempfile::TempDir,
    broker: Broker,
    setup: Setup,
    _cluster: mpsc::Sender<()>,
}

impl Scene {
    fn set() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let broker = Broker::recommended(directory.path());
        let alive = cluster(directory.path());
        let key = SigningKey::from_seed(&SEED).unwrap();
        let keyring = directory.path().join("keyring.toml");
        let text = format!(
            "[[key]]\nid = \"drone\"\npublic = \"{}\"\nallow = [\"rollout\", \"rollback\"]\n\
             applications = [\"shop\"]\n",
            key.public_base64()
        );
        std::fs::write(&keyring, text).unwrap();
        let mut setup = Setup::new(directory.path(), broker.port);
        setup.mqtt = broker.settings(broker.port);
        setup.kubeconfig = Some(directory.path().join("kubeconfig.yaml"));
        setup.more = format!(
            "[commands]\nkeyring = {keyring:?}\ntrust_clock = true\n[outbox]\nreserve_bytes = 0\n"
        );
        std::fs::create_dir(&setup.state).unwrap();
        let key_file = directory.path().join("drone.signing");
        write_private_key(&key_file, &SEED).unwrap();
        Self {
            directory,
            broker,
            setup,
            _cluster: alive,
        }
    }

    /// A step with nothing of the outside but what Drone gives it.
    fn step(&self, number: &str, event: &str, digit: u8, ttl: &str) -> Command {
        let text = |name: &str| std::fs::read_to_string(self.broker.file(name)).unwrap();
        let identity = NodeIdentity::load_or_create(&self.setup.state).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_edge-agent"));
        command
            .arg("drone")
            .env_clear()
            .env("DRONE_REPO", "acme/shop")
            .env("DRONE_BUILD_NUMBER", number)
            .env("DRONE_BUILD_EVENT", event)
            .env("DRONE_STEP_NAME", "deploy")
            .env("DRONE_COMMIT_SHA", sha(digit))
            .env(
                "PLUGIN_BROKER",
                format!("mqtts://localhost:{}", self.broker.port),
            )
            .env("PLUGIN_CA_CERT", text("ca.crt"))
            .env("PLUGIN_CLIENT_CERT", text("drone.crt"))
            .env("PLUGIN_CLIENT_KEY", text("drone.key"))
            .env("PLUGIN_SIGNING_KEY", text("drone.signing"))
            .env("PLUGIN_KEY_ID", "drone")
            .env("PLUGIN_NODE", NODE)
            .env("PLUGIN_NODE_KEYS", identity.public_base64())
            .env("PLUGIN_APPLICATION", "shop")
            .env("PLUGIN_TTL", ttl)
            .env("PLUGIN_TIMEOUT", "60s")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }
}

fn check(output: &Output, code: i32, words: &[&str]) {
    let text = String::from_utf8_lossy(&output.stdout);
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}\n{complaints}");
    for word in words {
        assert!(text.contains(word), "no {word}: {text}\n{complaints}");
    }
}

fn rolls_out_and_back(_: &Args) {
    let scene = Scene::set();
    let mut agent = scene.setup.start();
    agent.wait_up(LIMIT);
    let began = std::time::Instant::now();
    let rolled = scene.step("1", "promote", 2, "30s").output().unwrap();
    check(&rolled, 0, &["accepted", "executing", "succeeded"]);
    figure(
        "a rollout, with 10 s of settling",
        format!("{:.1} s", began.elapsed().as_secs_f64()),
    );
    let back = scene.step("2", "rollback", 1, "30s").output().unwrap();
    check(&back, 0, &["succeeded"]);
    // The same step again: the broker still has the result, and the node is not asked again.
    let again = scene.step("2", "rollback", 1, "30s").output().unwrap();
    check(&again, 0, &["this step ran before"]);
}

fn node_away(_: &Args) {
    let scene = Scene::set();
    // The node must have subscribed once, or the broker keeps nothing for it.
    let mut agent = scene.setup.start();
    agent.wait_up(LIMIT);
    agent.terminate(LIMIT);
    let waiting = scene.step("1", "promote", 2, "60s").spawn().unwrap();
    super::wait(LIMIT, "the broker to have the order", || {
        let log = scene.broker.log();
        log.contains("edge-agent-cli-").then_some(())
    });
    let mut agent = scene.setup.start();
    agent.wait_up(LIMIT);
    check(&waiting.wait_with_output().unwrap(), 0, &["succeeded"]);
    agent.terminate(LIMIT);

    let late = scene.step("2", "rollback", 1, "1s").output().unwrap();
    check(&late, 3, &["it is offline", "will not carry it out"]);
    let mut agent = scene.setup.start();
    agent.wait_up(LIMIT);
    let log = std::fs::read_to_string(scene.setup.log_file()).unwrap();
    assert_eq!(log.matches("command=drone-2-").count(), 0, "{log}");
    assert!(scene.directory.path().exists());
}
