//! Opens what the agent keeps, makes every task and wires them together.

use std::io::Read as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use edge_agent_core::application::Rules;
use edge_agent_core::clock::Now;
use edge_agent_core::command::admission::Ledger;
use edge_agent_core::command::envelope::{self, NotVerified};
use edge_agent_core::command::keyring::{Keyring, MAX_KEYRING_BYTES};
use edge_agent_core::event::{Event, Link, LinkStatus};
use edge_agent_core::state::{Remembered, Settings, State};
use edge_agent_core::wire;
use tokio::sync::{mpsc, watch};
use tracing::{error, warn};

use super::dispatch::{Outlets, outlet};
use super::notify::ServiceNotifier;
use super::outlet::Outlet;
use super::status_file::StatusFile;
use super::tasks::{Stage, Tasks};
use super::{Fault, Parts, Supervisor};
use crate::clock::{Clock, RELEASED};
use crate::config::Config;
use crate::http::Metrics;
use crate::store::identity::{IdentityError, NodeIdentity};
use crate::store::ledger::LedgerFile;
use crate::store::ledger_writer;
use crate::store::outbox::writer::writer;
use crate::store::outbox::{Outbox, OutboxError};
use crate::{cluster, health, http, led, mqtt};

/// The longest time that opening the outbox may take; a damaged store can keep sled busy for ever.
const OPEN_OUTBOX: Duration = Duration::from_secs(20);

/// How many orders, acknowledgements and writes of the ledger may wait for their task.
const ROOM: usize = 64;

/// What is kept in the state directory.
struct Kept {
    identity: Option<Arc<NodeIdentity>>,
    ledger: Option<(LedgerFile, Ledger)>,
    outbox: Outbox,
    remembered: Remembered,
}

/// Faults that do not keep the agent from running, told as events.
struct Reports<'a>(&'a mpsc::Sender<Event>);

impl Reports<'_> {
    fn impaired(&self, part: &'static str, fault: &str) {
        error!(part, fault, "impaired");
        self.event(Event::Impaired {
            part,
            fault: Some(fault.to_owned()),
        });
    }

    /// The channel is empty at the start, so there is room for what little there is to tell.
    fn event(&self, event: Event) {
        let _ = self.0.try_send(event);
    }
}

/// Starts everything.
pub(super) async fn start(
    config: &Config,
    parts: Parts,
    events: mpsc::Sender<Event>,
    inbox: mpsc::Receiver<Event>,
    notifier: ServiceNotifier,
) -> Result<Supervisor, Fault> {
    let now = parts.clock.now();
    let keyring = read_keyring(config).map_err(Fault::Settings)?;
    let reports = Reports(&events);
    let Kept {
        identity,
        ledger,
        outbox,
        remembered,
    } = open_state(config, now, &reports).await?;
    let (ledger_file, ledger) = ledger.unzip();
    let facts = health::identity(Path::new("/"));
    let metrics = Arc::new(Metrics::new());
    let (leds, missing) = parts.leds;
    for (name, fault) in &missing {
        reports.impaired("leds", &format!("{name}: {fault}"));
    }
    let names = leds.iter().map(|led| led.name().to_owned()).collect();
    let settings = settings(config, identity.as_deref(), &facts, names, parts.settle);
    let state = State::new(settings, ledger, remembered, now);
    let snapshots = watch::Sender::new(Arc::new(state.snapshot(now)));
    let indications = watch::Sender::new(state.indication());

    let mut tasks = Tasks::new();
    let (sender, writer) = {
        let metrics = Arc::clone(&metrics);
        writer(outbox.clone(), events.clone(), move |took, records| {
            metrics.observe_sync(
                took.as_secs_f64(),
                u64::try_from(records).unwrap_or(u64::MAX),
            );
        })
    };
    tasks.spawn(Stage::Work, "outbox", writer.run());
    let broker = start_broker(
        config,
        &facts,
        &parts.clock,
        keyring,
        outbox,
        &mut tasks,
        &events,
    );
    let mut outlets = Outlets {
        records: Outlet::new(sender.into_channel()),
        broker,
        orders: Outlet::closed(),
        ledger: Outlet::closed(),
        own: Outlet::new(events.clone()),
        identity,
        metrics: Arc::clone(&metrics),
    };
    if let Some(file) = ledger_file {
        let (to_ledger, writes) = outlet(ROOM);
        outlets.ledger = to_ledger;
        tasks.spawn(
            Stage::Work,
            "ledger",
            ledger_writer::run(file, writes, events.clone()),
        );
    }
    start_cluster(config, &mut tasks, &mut outlets, &events, &reports);
    start_page(config, &mut tasks, &snapshots, metrics, &reports).await;
    let interval = Duration::from_secs(config.health.interval_seconds);
    let stop = tasks.stop_token(Stage::Source);
    tasks.spawn(
        Stage::Source,
        "sampler",
        health::run(parts.probe, interval, events.clone(), stop),
    );
    let stop = tasks.stop_token(Stage::Display);
    tasks.spawn(
        Stage::Display,
        "leds",
        led::run(leds, indications.subscribe(), events.clone(), stop),
    );
    Ok(Supervisor {
        state,
        clock: parts.clock,
        inbox,
        outlets,
        tasks,
        notifier,
        status_file: StatusFile::new(config.runtime_directory.as_deref()),
        snapshots,
        indications,
    })
}

/// The connection to the broker takes no more commands when the sources stop, and ends after the
/// outbox has been written.
fn start_broker(
    config: &Config,
    facts: &health::NodeFacts,
    clock: &Arc<dyn Clock>,
    keyring: Keyring,
    outbox: Outbox,
    tasks: &mut Tasks,
    events: &mpsc::Sender<Event>,
) -> mqtt::Handle {
    let settings = mqtt::Settings {
        mqtt: config.mqtt.clone(),
        node: config.node.clone(),
        presence: presence(facts.boot.clone(), Arc::clone(clock)),
        verify: config.commands.keyring.is_some().then(|| {
            verify(
                keyring,
                Duration::from_secs(config.commands.max_ttl_seconds),
                Arc::clone(clock),
            )
        }),
        timing: mqtt::Timing::default(),
    };
    let (handle, session) = mqtt::session(settings, outbox, events.clone());
    let stop = mqtt::Stop {
        intake: tasks.stop_token(Stage::Source),
        all: tasks.stop_token(Stage::Broker),
    };
    tasks.spawn(Stage::Broker, "broker", session.run(stop));
    handle
}

/// Makes the payload of `presence`.
fn presence(boot: Option<String>, clock: Arc<dyn Clock>) -> mqtt::Presence {
    Arc::new(move |reason| {
        let presence = wire::Presence {
            v: wire::VERSION,
            online: reason == wire::PresenceReason::Started,
            since: clock.now().wall,
            reason,
            boot: boot.clone(),
            agent: env!("CARGO_PKG_VERSION").to_owned(),
        };
        // These types always serialize; an empty payload would clear the topic, which is the
        // nearest to the truth that is left.
        serde_json::to_vec(&presence).unwrap_or_default()
    })
}

/// Holds an envelope against the keyring. The age of a key is judged by a time that no clock can be
/// behind of.
fn verify(keyring: Keyring, max_ttl: Duration, clock: Arc<dyn Clock>) -> mqtt::Verify {
    Arc::new(move |bytes| {
        match envelope::verify(bytes, &keyring, max_ttl, clock.now().wall.max(RELEASED)) {
            Ok(command) => mqtt::Verified::Command(Box::new(command)),
            Err(NotVerified::Refused(refused)) => mqtt::Verified::Refused(refused),
            Err(NotVerified::Unauthenticated(refusal)) => mqtt::Verified::Unauthenticated(refusal),
        }
    })
}

fn start_cluster(
    config: &Config,
    tasks: &mut Tasks,
    outlets: &mut Outlets,
    events: &mpsc::Sender<Event>,
    reports: &Reports<'_>,
) {
    if !config.cluster.enabled {
        let status = LinkStatus::Disabled;
        reports.event(Event::LinkChanged {
            link: Link::Cluster,
            status,
        });
        return;
    }
    let api = cluster::connect(&config.cluster);
    let watcher = cluster::Watcher::new(api.clone(), &config.cluster);
    let stop = tasks.stop_token(Stage::Source);
    tasks.spawn(Stage::Source, "watcher", watcher.run(events.clone(), stop));

    let (to_executor, orders) = outlet(ROOM);
    outlets.orders = to_executor;
    let executor = cluster::Executor::new(api, &config.cluster, config.node.as_str());
    // Orders are given by commands, and no command comes in once the sources have stopped.
    let stop = tasks.stop_token(Stage::Source);
    tasks.spawn(
        Stage::Source,
        "executor",
        executor.run(orders, events.clone(), stop),
    );
}

async fn start_page(
    config: &Config,
    tasks: &mut Tasks,
    snapshots: &watch::Sender<Arc<wire::Snapshot>>,
    metrics: Arc<Metrics>,
    reports: &Reports<'_>,
) {
    let Some(listen) = config.http.listen else {
        return;
    };
    let listener = match http::bind(listen).await {
        Ok(listener) => listener,
        Err(error) => return reports.impaired("page", &error.to_string()),
    };
    let interval = Duration::from_secs(config.health.interval_seconds);
    let settings = http::Settings {
        hostnames: vec![config.node.as_str().to_owned()],
        stale_after: Duration::from_secs(60).max(interval * 3),
    };
    let stop = tasks.stop_token(Stage::Display);
    tasks.spawn(
        Stage::Display,
        "page",
        http::serve(listener, settings, snapshots.subscribe(), metrics, stop),
    );
}

fn settings(
    config: &Config,
    identity: Option<&NodeIdentity>,
    facts: &health::NodeFacts,
    leds: Vec<String>,
    settle: Duration,
) -> Settings {
    let stale_after = Duration::from_secs(config.cluster.stale_after_seconds);
    Settings {
        node: config.node.clone(),
        identity: wire::Identity {
            v: wire::VERSION,
            node: config.node.as_str().to_owned(),
            key: identity.map(NodeIdentity::public_base64),
            model: facts.model.clone(),
            os: facts.os.clone(),
            arch: std::env::consts::ARCH.to_owned(),
            agent: env!("CARGO_PKG_VERSION").to_owned(),
        },
        boot: facts.boot.clone(),
        namespaces: config.cluster.namespaces.clone(),
        rules: Rules::new(stale_after, &config.cluster.security_hooks),
        thresholds: config.health.thresholds.clone(),
        report_every: Duration::from_secs(config.health.report_seconds),
        auto_rollback: config.auto_rollback(),
        leds,
        settle,
    }
}

/// Reads who may command. No file configured: nobody may.
fn read_keyring(config: &Config) -> anyhow::Result<Keyring> {
    let Some(path) = &config.commands.keyring else {
        return Ok(Keyring::empty());
    };
    let file = std::fs::File::open(path).with_context(|| format!("{}", path.display()))?;
    let limit = u64::try_from(MAX_KEYRING_BYTES).unwrap_or(u64::MAX);
    let mut text = String::new();
    file.take(limit + 1)
        .read_to_string(&mut text)
        .with_context(|| format!("{}", path.display()))?;
    if text.len() > MAX_KEYRING_BYTES {
        return Err(anyhow!(
            "{}: larger than {MAX_KEYRING_BYTES} bytes",
            path.display()
        ));
    }
    let keyring = Keyring::parse(&text)
        .map_err(|faults| anyhow!("{}: {}", path.display(), faults.join("; ")))?;
    Ok(match config.cluster.namespaces.first() {
        Some(namespace) => keyring.with_default_namespace(namespace),
        None => keyring,
    })
}

/// Opens the state directory. What is damaged or cannot be written impairs the agent; what a person
/// has to mend first, because going on would be wrong, keeps it from starting.
async fn open_state(config: &Config, now: Now, reports: &Reports<'_>) -> Result<Kept, Fault> {
    let directory = &config.state_directory;
    if let Err(error) = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
    {
        warn!(directory = %directory.display(), %error, "the state directory cannot be made");
    }
    let identity = match NodeIdentity::load_or_create(directory) {
        Ok(identity) => Some(Arc::new(identity)),
        Err(error @ (IdentityError::Exposed { .. } | IdentityError::Key { .. })) => {
            return Err(Fault::Settings(error.into()));
        }
        Err(error) => {
            reports.impaired("identity", &error.to_string());
            None
        }
    };
    let ledger = match LedgerFile::open(directory) {
        Ok((file, Some(record))) => Some((file, Ledger::restore(record, RELEASED))),
        Ok((file, None)) => Some((file, Ledger::new(RELEASED.max(floor_of(now))))),
        Err(error) => {
            reports.impaired("ledger", &error.to_string());
            None
        }
    };
    let opened = Outbox::open_within(
        &directory.join("outbox"),
        &config.node,
        &config.outbox,
        OPEN_OUTBOX,
    )
    .await
    .map_err(|error| match error {
        OutboxError::Locked(_) => Fault::Settings(error.into()),
        error => Fault::Running(error.into()),
    })?;
    if let Some(damage) = opened.damaged {
        reports.event(Event::OutboxDamaged(damage));
    }
    // The first event is about to be written, and its writer tells the page.
    if let Some(why) = &opened.unavailable {
        warn!("{why}");
    }
    Ok(Kept {
        identity,
        ledger,
        outbox: opened.outbox,
        remembered: opened.remembered,
    })
}

/// A fresh node trusts its clock only when it has been synchronized.
fn floor_of(now: Now) -> jiff::Timestamp {
    if now.synchronized { now.wall } else { RELEASED }
}
