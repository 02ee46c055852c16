//! The scenarios of the suites with the real Argo CD, played with its double: the whole agent in this
//! process, a broker, and no waiting for anything real.

mod button;
#[allow(dead_code, reason = "the suites use more of it")]
#[path = "e2e/mqtt.rs"]
mod mqtt;
#[allow(dead_code, reason = "the suites use more of it")]
#[path = "e2e/recorder.rs"]
mod recorder;

use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use edge_agent::clock::SystemClock;
use edge_agent::config::{Config, Environment};
use edge_agent::health::SystemProbe;
use edge_agent::supervisor::{self, Parts};
use edge_agent_core::wire::ResultState;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::scenarios::api::{Api, application_path};
use crate::scenarios::scene::{Issuer, LIMIT, Place, Scene, Told};
use crate::scenarios::shop::{Shop, Sync};
use crate::scenarios::version::{FOR_EVER, Version, hex};
use crate::scenarios::{SCENARIOS, wait};
use crate::support::broker::Broker;
use crate::support::cluster::{Behaviour, ClusterDouble, Commit, Pace};
use crate::support::port;
use agent::NODE;
use mqtt::{Login, publish_command};
use recorder::Recorder;

/// What the recorder wants to know of the agent.
mod agent {
    pub(super) const NODE: &str = "pi-01";
}

/// How long an application has to stay well.
const SETTLE: Duration = Duration::from_millis(300);

/// About how long a rollout takes.
const UNIT: Duration = Duration::from_millis(20);

/// Scenarios at the same time.
const AT_ONCE: usize = 10;

/// Everything that a scenario acts on. Dropping it ends it.
struct Double {
    cluster: Arc<ClusterDouble>,
    broker: u16,
    page: u16,
    api: Api,
    issuer: Issuer,
    recorder: Recorder,
    senders: AtomicU64,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
    _directory: tempfile::TempDir,
}

impl Double {
    fn start() -> Self {
        Self::start_with(parts)
    }

    /// One of whose agent something is not as usual.
    fn start_with(parts: impl FnOnce() -> Parts + Send + 'static) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let issuer = Issuer::new();
        std::fs::write(directory.path().join("keyring.toml"), issuer.keyring()).unwrap();
        let page = port::reserve();
        let stop = CancellationToken::new();
        let (sender, started) = mpsc::channel();
        let (folder, told) = (directory.path().to_owned(), stop.clone());
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let broker = Broker::start().await;
                let pace = Pace::with_unit(UNIT).with_cache(Duration::from_secs(1));
                let cluster = Arc::new(ClusterDouble::start(pace).await);
                let config = settings(&folder, &broker, &cluster, page);
                sender.send((broker.port(), Arc::clone(&cluster))).unwrap();
                supervisor::run(config, parts(), told).await.unwrap();
            });
        });
        let (broker, cluster) = started.recv().unwrap();
        let api = Api::of(&directory.path().join("kubeconfig.yaml"));
        let recorder = Recorder::start(Login::plain(broker, "recorder"));
        recorder.wait_subscribed(0);
        recorder.wait_message("identity", LIMIT, |value| value["key"].is_string());
        Self {
            cluster,
            broker,
            page,
            api,
            issuer,
            recorder,
            senders: AtomicU64::new(0),
            stop,
            thread: Some(thread),
            _directory: directory,
        }
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // If it has panicked, that is on the screen already.
            let _ = thread.join();
        }
    }
}

fn parts() -> Parts {
    Parts {
        clock: Arc::new(SystemClock { trusted: true }),
        probe: Box::new(SystemProbe::new(Path::new("/"))),
        leds: (Vec::new(), Vec::new()),
        button: Ok(None),
        settle: SETTLE,
    }
}

fn settings(folder: &Path, broker: &Broker, cluster: &ClusterDouble, page: u16) -> Config {
    let kubeconfig = cluster.write_kubeconfig(folder);
    let text = format!(
        "node = {NODE:?}\nstate_directory = {:?}\n[mqtt]\nurl = {:?}\n[cluster]\nkubeconfig = \
         {kubeconfig:?}\n[commands]\nkeyring = {:?}\n[http]\nlisten = \"127.0.0.1:{page}\"\n[outbox]\n\
         reserve_bytes = 0\n",
        folder.join("state"),
        broker.url(),
        folder.join("keyring.toml"),
    );
    Config::parse(&text, &folder.join("agent.toml"), &Environment::default()).unwrap()
}

/// The repository of an application of the double, which deploys to a namespace of its own name.
struct DoublePlace {
    cluster: Arc<ClusterDouble>,
    name: String,
}

impl Place for DoublePlace {
    fn url(&self) -> String {
        format!("file:///srv/git/{}.git", self.name)
    }

    fn namespace(&self) -> String {
        self.name.clone()
    }

    fn deployment(&self) -> String {
        self.name.clone()
    }

    fn commit(&self, version: &Version) -> String {
        assert!(version.files.is_empty(), "the double reads no manifests");
        let of = format!("{} {}", self.name, version.tag);
        let digest = ring::digest::digest(&ring::digest::SHA256, of.as_bytes());
        let sha = hex(&digest.as_ref()[..20]);
        let commit = Commit {
            sha: sha.clone(),
            images: vec![version.image()],
            behaviour: behaviour(version),
            hook: version.check.as_ref().map(|check| check.name.to_owned()),
            hook_takes: version.check.as_ref().map(|check| match check.passes {
                // Long enough to be seen from outside.
                true => Duration::from_millis(500),
                false => UNIT,
            }),
            config_maps: version
                .config_maps
                .iter()
                .map(|&it| it.to_owned())
                .collect(),
        };
        self.cluster.push_commit("argocd", &self.name, commit);
        sha
    }
}

fn behaviour(version: &Version) -> Behaviour {
    match &version.check {
        Some(check) if !check.passes => Behaviour::PreSyncFails { retries: 5 },
        Some(check) if check.lasts == FOR_EVER => Behaviour::PreSyncHangs,
        Some(_) => Behaviour::PreSyncPasses,
        None if !version.stuck => Behaviour::Healthy,
        None if version.deadline < 60 => Behaviour::Degraded,
        None => Behaviour::ProgressingForever,
    }
}

impl Scene for Double {
    fn node(&self) -> &str {
        NODE
    }

    fn api(&self) -> &Api {
        &self.api
    }

    fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    fn publish(&self, envelope: &[u8]) {
        let number = self.senders.fetch_add(1, Ordering::SeqCst);
        let login = Login::plain(self.broker, &format!("sender-{number}"));
        publish_command(&login, NODE, envelope);
    }

    fn messages(&self) -> Vec<Told> {
        let messages = self.recorder.messages().into_iter();
        messages.map(Told::from).collect()
    }

    fn page(&self) -> Value {
        use std::io::{Read as _, Write as _};
        let mut connection = std::net::TcpStream::connect(("127.0.0.1", self.page)).unwrap();
        let request = format!(
            "GET /status.json HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n\r\n",
            self.page
        );
        connection.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        serde_json::from_str(body).unwrap()
    }

    fn place(&self, name: &str) -> Box<dyn Place> {
        Box::new(DoublePlace {
            cluster: Arc::clone(&self.cluster),
            name: name.to_owned(),
        })
    }

    fn seconds(&self, on_the_lab: u64) -> u64 {
        on_the_lab.div_ceil(5)
    }

    fn story(&self, application: &str, _: &str) -> String {
        let versions = self.cluster.versions("argocd", application);
        let line = |object: &Value| {
            let status = &object["status"];
            json!([
                status["sync"]["status"],
                status["sync"]["revision"],
                status["health"]["status"],
                status["operationState"]["phase"],
                object["operation"]["sync"]["revision"],
                object["metadata"]["annotations"]["edge-agent.io/command"],
            ])
        };
        let mut lines: Vec<String> = versions.iter().map(|it| line(it).to_string()).collect();
        lines.dedup();
        lines.join("\n")
    }
}

/// What 3.2.11 does now and then, and cannot be brought about there.
#[test]
fn a_rollback_ends_an_operation_although_its_end_is_written_over() {
    let double = Double::start();
    let (shop, good) = Shop::open(&double, "overwritten", Sync::Auto);
    shop.push(&Version::good("overwritten-2").with_check("image-scan", FOR_EVER));
    double.wait_app(&shop.name, "to run its check", LIMIT, &|app| {
        app["state"] == "Syncing" && app["operation"]["phase"] == "Running"
    });
    double
        .cluster
        .overwrite_terminations("argocd", &shop.name, 2);
    let id = double.order(shop.previous());
    shop.wait_state("RolledBack", &good);
    double.expect(&id, ResultState::Succeeded, LIMIT);
    let terminations = double.cluster.requests();
    let terminations = terminations
        .iter()
        .filter(|request| request.method == "PATCH" && request.body.contains("\"Terminating\""));
    assert_eq!(terminations.count(), 3);
}

/// The culprit is named where the agent may read it, and nothing else changes where it may not.
#[test]
fn a_degraded_application_names_its_deployment() {
    let double = Double::start();
    let (shop, _) = Shop::open(&double, "blamed", Sync::Auto);
    let readings = || {
        let requests = double.cluster.requests();
        let readings = requests
            .iter()
            .filter(|it| it.path.contains("/deployments/"));
        readings.count()
    };
    let bad = shop.push(&Version::bad("blamed-2"));
    let app = double.wait_app(&shop.name, "to name its Deployment", LIMIT, &|app| {
        app["state"] == "Degraded" && app["culprit"]["kind"] == "Deployment"
    });
    assert_eq!(app["culprit"]["name"], "blamed");
    let message = app["culprit"]["message"].as_str().unwrap();
    assert!(message.starts_with("Progressing=False ProgressDeadlineExceeded: "));
    let told = |revision: &str| {
        wait(LIMIT, "Degraded to be told", || {
            let events = double.events("edge.app.state", "blamed");
            events.into_iter().find(|event| {
                event["data"]["state"] == "Degraded" && event["data"]["revision"] == revision
            })
        })
    };
    assert_eq!(told(&bad)["data"]["culprit"], app["culprit"]);
    assert_eq!(readings(), 1);

    double.cluster.deny_deployments(true);
    let fixed = shop.push(&Version::good("blamed-3"));
    shop.wait_state("Healthy", &fixed);
    let bad = shop.push(&Version::bad("blamed-4"));
    assert_eq!(told(&bad)["data"]["culprit"], Value::Null);
    assert_eq!(readings(), 2);
}

#[test]
fn what_the_real_argo_cd_does_its_double_does_too() {
    let double = Double::start();
    let (next, failed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some((name, scenario)) =
                    SCENARIOS.get(next.fetch_add(1, Ordering::SeqCst))
                {
                    let play = std::panic::AssertUnwindSafe(|| scenario(&double));
                    if std::panic::catch_unwind(play).is_err() {
                        failed.lock().unwrap().push(*name);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "did not hold: {failed:?}");
    assert!(double.api.find(&application_path("pin")).is_some());
}
