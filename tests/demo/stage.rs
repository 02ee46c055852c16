//! The stage: broker, cluster double, keys, and the real agent between them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use edge_agent::clock::SystemClock;
use edge_agent::config::{self, Config, Environment};
use edge_agent::health::{Probe, SystemProbe};
use edge_agent::led::NamedLed;
use edge_agent::supervisor::{self, Fault, Parts};
use edge_agent_core::command::envelope::SigningKey;
use edge_agent_core::health::{K3s, Power, Sample};
use edge_agent_core::indication::Rgb;
use edge_agent_core::wire::Snapshot;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::broker::{Broker, Recorder};
use crate::support::cluster::{ClusterDouble, Pace};

/// The node of the demo.
pub(crate) const NODE: &str = "demo-pi";

/// Everything that the story is played with.
pub(crate) struct Stage {
    pub(crate) broker: Broker,
    pub(crate) cluster: ClusterDouble,
    pub(crate) recorder: Recorder,
    /// The key that the node obeys.
    pub(crate) key: SigningKey,
    /// How the agent reaches the broker, and whoever sends a command.
    pub(crate) mqtt: config::Mqtt,
    pub(crate) page: String,
    pub(crate) colour: watch::Receiver<Rgb>,
    pub(crate) snapshots: watch::Receiver<Option<Snapshot>>,
    stop: CancellationToken,
    agent: JoinHandle<Result<(), Fault>>,
    watcher: JoinHandle<()>,
    _directory: tempfile::TempDir,
}

impl Stage {
    /// Starts it all; `settle` is how long an application must stay healthy.
    pub(crate) async fn set(pace: Pace, port: u16, settle: Duration) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir().context("no temporary directory")?;
        let broker = Broker::start().await;
        let recorder = broker.record("edge/v1/#").await;
        let cluster = ClusterDouble::start(pace).await;
        let key = SigningKey::from_seed(&ulid_seed())?;
        let port = free_port(port).await?;
        let config = settings(directory.path(), &broker, &cluster, &key, port)?;
        let mqtt = config.mqtt.clone();
        let led = NamedLed::simulated("deploy");
        let colour = led.colours().context("the simulated LED shows nothing")?;
        let parts = Parts {
            clock: Arc::new(SystemClock { trusted: true }),
            probe: Box::new(Calm(SystemProbe::new(Path::new("/")))),
            leds: (vec![led], Vec::new()),
            button: Ok(None),
            settle,
        };
        let stop = CancellationToken::new();
        let agent = tokio::spawn(supervisor::run(config, parts, stop.clone()));
        let (sender, snapshots) = watch::channel(None);
        let watcher = tokio::spawn(watch_page(port, sender));
        Ok(Self {
            broker,
            cluster,
            recorder,
            key,
            mqtt,
            page: format!("http://127.0.0.1:{port}"),
            colour,
            snapshots,
            stop,
            agent,
            watcher,
            _directory: directory,
        })
    }

    /// Stops the agent as systemd would, and says how it ended.
    pub(crate) async fn strike(self) -> anyhow::Result<()> {
        self.stop.cancel();
        let ended = self.agent.await.context("the agent panicked")?;
        self.watcher.abort();
        ended.map_err(|fault| anyhow!(fault))
    }
}

/// This machine, as if all were well with it: the story is told by the deploys, and a full disk or a
/// warm room where it is played must not have the LEDs say something else.
struct Calm(SystemProbe);

impl Probe for Calm {
    fn sample(&mut self) -> Sample {
        let mut sample = self.0.sample();
        sample.cpu_usage = sample.cpu_usage.map(|usage| usage.min(0.5));
        sample.temperature_celsius = sample.temperature_celsius.map(|it| it.min(60.0));
        sample.memory_available = sample
            .memory_available
            .max(sample.memory_total.map(|it| it / 2));
        for disk in &mut sample.disks {
            disk.available = disk.available.max(disk.total / 2);
            disk.inodes = None;
            disk.read_only = false;
        }
        for interface in &mut sample.network {
            interface.errors = None;
            interface.up = Some(true);
        }
        Sample {
            power: Power::default(),
            k3s: K3s::default(),
            clock_synchronized: None,
            storage_life_used: None,
            memory_pressure: None,
            oom_kills: None,
            reboot_required: None,
            ..sample
        }
    }
}

fn settings(
    directory: &Path,
    broker: &Broker,
    cluster: &ClusterDouble,
    key: &SigningKey,
    port: u16,
) -> anyhow::Result<Config> {
    let keyring = directory.join("keyring.toml");
    std::fs::write(
        &keyring,
        format!(
            "[[key]]\nid = \"demo\"\npublic = \"{}\"\napplications = [\"*\"]\n\
             allow = [\"rollout\", \"rollback\", \"resume\", \"refresh\", \"identify\", \"ping\"]\n",
            key.public_base64()
        ),
    )?;
    let kubeconfig = cluster.write_kubeconfig(directory);
    let text = format!(
        "node = \"{NODE}\"\nstate_directory = \"{state}\"\n\
         [mqtt]\nurl = \"{url}\"\nkeep_alive_seconds = 5\n\
         [cluster]\nkubeconfig = \"{kubeconfig}\"\n\
         [commands]\nkeyring = \"{keyring}\"\n\
         [http]\nlisten = \"127.0.0.1:{port}\"\n\
         [outbox]\nreserve_bytes = 0\n",
        state = directory.join("state").display(),
        url = broker.url(),
        kubeconfig = kubeconfig.display(),
        keyring = keyring.display(),
    );
    Ok(Config::parse(
        &text,
        &directory.join("agent.toml"),
        &Environment::default(),
    )?)
}

/// 32 bytes for a key that lives as long as the demo.
fn ulid_seed() -> [u8; 32] {
    let mut seed = [0; 32];
    seed[..16].copy_from_slice(&ulid::Ulid::generate().to_bytes());
    seed[16..].copy_from_slice(&ulid::Ulid::generate().to_bytes());
    seed
}

/// The wanted port, or any other when it is busy.
async fn free_port(wanted: u16) -> anyhow::Result<u16> {
    for port in [wanted, 0] {
        if let Ok(listener) = tokio::net::TcpListener::bind(("127.0.0.1", port)).await {
            return Ok(listener.local_addr()?.port());
        }
    }
    Err(anyhow!("no port is free for the page"))
}

/// Follows the page as a browser does: every snapshot that it streams is handed on.
async fn watch_page(port: u16, snapshots: watch::Sender<Option<Snapshot>>) {
    loop {
        // The agent may not listen yet; each try is short, and the story has limits of its own.
        let _ = stream_events(port, &snapshots).await;
        if snapshots.is_closed() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn stream_events(
    port: u16,
    snapshots: &watch::Sender<Option<Snapshot>>,
) -> std::io::Result<()> {
    let mut connection = TcpStream::connect(("127.0.0.1", port)).await?;
    let request = format!("GET /events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n");
    connection.write_all(request.as_bytes()).await?;
    let mut lines = BufReader::new(connection).lines();
    while let Some(line) = lines.next_line().await? {
        if let Some(json) = line.strip_prefix("data:")
            && let Ok(snapshot) = serde_json::from_str(json)
        {
            snapshots.send_replace(Some(snapshot));
        }
    }
    Ok(())
}
