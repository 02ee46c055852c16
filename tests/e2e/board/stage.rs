//! The board with all that it talks to: mosquitto, the cluster double, and who commands.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use edge_agent::store::identity::write_private_key;
use edge_agent_core::command::envelope::SigningKey;
use serde_json::Value;

use super::super::agent::NODE;
use super::super::broker::{Broker, make_certificate};
use super::super::record::Events;
use super::super::recorder::Recorder;
use super::super::support::cluster::{
    ApplicationSpec, Behaviour, ClusterDouble, Commit, Pace, TOKEN, sha,
};
use super::LIMIT;
use super::machine::{self, Machine};
use super::{figure, package};

pub(super) const SEED: [u8; 32] = [77; 32];

pub(super) struct Stage {
    pub(super) machine: Machine,
    pub(super) broker: Broker,
    pub(super) recorder: Recorder,
    cluster: Arc<ClusterDouble>,
    folder: PathBuf,
    _alive: mpsc::Sender<()>,
}

/// The double in a thread of its own; it ends with the sender.
fn cluster() -> (Arc<ClusterDouble>, mpsc::Sender<()>) {
    let (ready, is_ready) = mpsc::channel();
    let (alive, ended) = mpsc::channel::<()>();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let double = ClusterDouble::start(Pace::with_unit(Duration::from_millis(500))).await;
            double.require_token(TOKEN);
            let first = Commit::new(sha(1), Behaviour::Healthy);
            double.create_application("argocd", "shop", ApplicationSpec::automated(first));
            ready.send(Arc::new(double)).unwrap();
            let _ = tokio::task::spawn_blocking(move || ended.recv()).await;
        });
    });
    (is_ready.recv().unwrap(), alive)
}

impl Stage {
    /// Makes the package, and boots a board with it on its card.
    pub(super) fn set(folder: &Path) -> Self {
        let parts = machine::parts();
        let package = package::make();
        let broker = Broker::plain(folder, "");
        let recorder = Recorder::start(broker.login("recorder"));
        recorder.wait_subscribed(0);
        let (cluster, alive) = cluster();
        write_private_key(&folder.join("drone.key"), &SEED).unwrap();
        let units = package::units(folder);
        let files = [package::next(&package, folder), package, units];
        let mut machine = Machine::new(&parts, folder, &files);
        figure("boot", format!("{:.0} s", machine.boot().as_secs_f64()));
        Self {
            machine,
            broker,
            recorder,
            cluster,
            folder: folder.to_owned(),
            _alive: alive,
        }
    }

    /// Writes the settings and what they name onto the board.
    pub(super) fn configure(&self) {
        let key = SigningKey::from_seed(&SEED).unwrap();
        let port = self.cluster.url();
        let port = port.rsplit(':').next().unwrap();
        let settings = format!(
            "[mqtt]\nurl = \"mqtt://broker.example:{}\"\nkeep_alive_seconds = 5\n\
             username = \"pi-01\"\npassword_file = \"credential:mqtt-password\"\n\
             [commands]\nkeyring = \"/etc/edge-agent/keyring.toml\"\ntrust_clock = true\n\
             [health]\ninterval_seconds = 2\n\
             [led.deploy]\nkind = \"rgb\"\nred = 17\ngreen = 27\nblue = 22\n",
            self.broker.port
        );
        let keyring = format!(
            "[[key]]\nid = \"drone\"\npublic = \"{}\"\napplications = [\"shop\"]\n\
             allow = [\"rollout\", \"rollback\", \"resume\", \"identify\", \"ping\"]\n",
            key.public_base64()
        );
        let kubeconfig = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: edge-agent\n\
             contexts: [{{name: edge-agent, context: {{cluster: k3s, user: edge-agent}}}}]\n\
             clusters: [{{name: k3s, cluster: {{server: \"http://k3s.example:{port}\", \
             certificate-authority: /etc/edge-agent/k3s-ca.crt}}}}]\n\
             users: [{{name: edge-agent, user: {{tokenFile: /etc/edge-agent/token}}}}]\n"
        );
        let write = |name: &str, text: &str| {
            self.machine
                .must(&format!("cat >/etc/edge-agent/{name} <<'EOF'\n{text}EOF"));
        };
        write("agent.toml", &settings);
        write("keyring.toml", &keyring);
        write("kubeconfig", &kubeconfig);
        // The double speaks plain HTTP; on a real board the API server is held against it.
        make_certificate(&self.folder, &["ca"]);
        let ca = fs::read_to_string(self.folder.join("ca.crt")).unwrap();
        write("k3s-ca.crt", &ca);
        self.machine
            .must(&format!("printf %s {TOKEN} >/etc/edge-agent/token"));
        // For root alone; systemd hands it over, as the unit says in its comment.
        write("mqtt-password", "secret\n");
        self.machine.must(
            "cd /etc/edge-agent && chown root:edge-agent token && chmod 640 token && \
             chmod 600 mqtt-password && mkdir -p /etc/systemd/system/edge-agent.service.d && \
             printf '[Service]\\nLoadCredential=mqtt-password:/etc/edge-agent/mqtt-password\\n' \
             >/etc/systemd/system/edge-agent.service.d/credential.conf && \
             systemctl daemon-reload && systemctl restart edge-agent",
        );
    }

    /// A kubeconfig for an agent on this machine.
    pub(super) fn kubeconfig(&self) -> PathBuf {
        self.cluster.write_kubeconfig(&self.folder)
    }

    /// Takes other settings up: those of [`Stage::configure`], and `more`.
    pub(super) fn reload_with(&self, more: &str) {
        self.machine.must(&format!(
            "cd /etc/edge-agent && {{ [ -e /tmp/agent.toml ] || cp agent.toml /tmp; }} && \
             {{ cat /tmp/agent.toml; cat <<'EOF'\n{more}EOF\n}} >agent.toml && systemctl reload edge-agent"
        ));
    }

    /// A commit in the repository of `shop`.
    pub(super) fn push(&self, digit: u8, behaviour: Behaviour) {
        let commit = Commit::new(sha(digit), behaviour);
        self.cluster.push_commit("argocd", "shop", commit);
    }

    /// Changes the Application, as its owner does.
    pub(super) fn merge(&self, patch: &Value) {
        self.cluster.merge("argocd", "shop", patch);
    }

    /// Gives the application back to git, which has a good commit by now.
    pub(super) fn resume(&self) {
        self.push(3, Behaviour::Healthy);
        let sent = self.send(&["--cmd", "resume", "--application", "shop"]);
        assert_eq!(sent.0, Some(0), "{}", sent.1);
    }

    fn agent(&self, subcommand: &str, arguments: &[&str]) -> (Option<i32>, String) {
        let out = Command::new(env!("CARGO_BIN_EXE_edge-agent"))
            .arg(subcommand)
            .args(arguments)
            .current_dir(&self.folder)
            .output()
            .unwrap();
        let said = [out.stdout, out.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        (out.status.code(), said)
    }

    fn to_broker<'a>(url: &'a str, more: &[&'a str]) -> Vec<&'a str> {
        [&["--broker", url, "--wait-timeout", "60s"], more].concat()
    }

    fn order<'a>(more: &[&'a str]) -> Vec<&'a str> {
        let key = ["--key", "drone.key", "--key-id", "drone", "--node", NODE];
        [&key, more].concat()
    }

    /// `edge-agent send` on this machine: its exit code and what it says.
    pub(super) fn send(&self, order: &[&str]) -> (Option<i32>, String) {
        let url = format!("mqtt://127.0.0.1:{}", self.broker.port);
        self.agent("send", &Self::to_broker(&url, &Self::order(order)))
    }

    /// Signs a rollback of `shop`, and keeps it.
    pub(super) fn sign_rollback(&self) {
        let order = Self::order(&["--cmd", "rollback", "--application", "shop"]);
        let (code, envelope) = self.agent("sign", &order);
        assert_eq!(code, Some(0), "{envelope}");
        fs::write(self.folder.join("rollback.json"), envelope).unwrap();
    }

    /// Sends what was signed.
    pub(super) fn send_signed(&self) -> (Option<i32>, String) {
        let url = format!("mqtt://127.0.0.1:{}", self.broker.port);
        self.agent(
            "send",
            &Self::to_broker(&url, &["--envelope", "rollback.json"]),
        )
    }

    /// Every result was signed by the key that the node has published.
    pub(super) fn assert_results_are_signed(&self) {
        let identity = self.recorder.wait_message("identity", LIMIT, |_| true);
        let key = identity.json()["key"].as_str().unwrap().to_owned();
        let file = self.folder.join("result.json");
        let messages = self.recorder.messages();
        let results: Vec<_> = messages
            .iter()
            .filter(|it| it.topic.contains("/result/"))
            .collect();
        assert!(!results.is_empty(), "{} results", results.len());
        for result in results {
            fs::write(&file, &result.payload).unwrap();
            let (code, said) = self.agent("verify", &["--node-key", &key, "result.json"]);
            assert_eq!(code, Some(0), "{said}");
        }
    }

    /// Waits for an event that comes after so many messages.
    pub(super) fn wait_event(&self, after: usize, is: impl Fn(&Value) -> bool) {
        self.recorder.wait(LIMIT, "the event", |messages| {
            let fresh = messages.iter().skip(after);
            fresh
                .filter(|message| message.topic.ends_with("/event"))
                .any(|message| is(&message.json()))
                .then_some(())
        });
    }

    /// Since the agent was installed no event was lost: every sequence is there, as an event or as one of
    /// the results, which are kept in the same outbox.
    pub(super) fn assert_all_arrived(&self) {
        let messages = self.recorder.messages();
        let events = Events::of(&messages);
        let (first, last) = events.range();
        assert_eq!(first, 1);
        let results: BTreeSet<&[u8]> = messages
            .iter()
            .filter(|it| it.topic.contains("/result/") && !it.payload.is_empty())
            .map(|it| it.payload.as_slice())
            .collect();
        let (seen, results) = (events.by_sequence.len(), results.len());
        let arrived = u64::try_from(seen + results).unwrap();
        assert_eq!(arrived, last, "{seen} events and {results} results");
        figure(
            "events",
            format!("{last}, none lost, {} repeated", events.repeated),
        );
    }

    /// How often the cluster was written to.
    pub(super) fn patches(&self) -> usize {
        let requests = self.cluster.requests();
        requests.iter().filter(|it| it.method == "PATCH").count()
    }
}
