//! Opens what the agent keeps, makes every task and wires them together.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use edge_agent_core::application::Rules;
use edge_agent_core::discovery::Discovery;
use edge_agent_core::event::{Event, Link, LinkStatus};
use edge_agent_core::indication::Indication;
use edge_agent_core::notice::Notice;
use edge_agent_core::state::{Settings, State};
use edge_agent_core::wire;
use tokio::sync::{mpsc, watch};

use super::dispatch::{Outlets, outlet};
use super::keyring;
use super::notify::ServiceNotifier;
use super::open::{Kept, Reports, open_state};
use super::outlet::Outlet;
use super::status_file::StatusFile;
use super::tasks::{Stage, Tasks};
use super::{Fault, Parts, Supervisor};
use crate::clock::Clock;
use crate::config::Config;
use crate::health::Probe;
use crate::http::Metrics;
use crate::led::{NamedLed, Wire};
use crate::store::identity::NodeIdentity;
use crate::store::ledger::LedgerFile;
use crate::store::ledger_writer::{self, LedgerWrite};
use crate::store::outbox::Outbox;
use crate::store::outbox::record::NewRecord;
use crate::store::outbox::writer::writer;
use crate::{cluster, health, http, led, mqtt, notify};

/// How many orders, acknowledgements and writes of the ledger may wait for their task.
pub(super) const ROOM: usize = 64;

/// Starts everything.
pub(super) async fn start(
    config: &Config,
    parts: Parts,
    events: mpsc::Sender<Event>,
    inbox: mpsc::Receiver<Event>,
) -> Result<Supervisor, Fault> {
    let now = parts.clock.now();
    let configured = keyring::configured(config)?;
    let reports = Reports(&events);
    let Kept {
        identity,
        ledger,
        outbox,
        remembered,
    } = open_state(config, now, &reports).await?;
    let (ledger_file, ledger) = ledger.unzip();
    let in_force = keyring::in_force(config, configured, &reports);
    let facts = health::identity(Path::new("/"));
    let metrics = Arc::new(Metrics::new());
    let (leds, missing) = parts.leds;
    reports.missing_leds(&missing);
    let names = leds.iter().map(|led| led.name().to_owned()).collect();
    let settings = settings(config, identity.as_deref(), &facts, names, parts.settle);
    let state = State::new(settings, ledger, remembered, now);
    let snapshots = watch::Sender::new(Arc::new(state.snapshot(now)));
    let indications = watch::Sender::new(state.indication());

    let mut tasks = Tasks::new();
    let broker = start_broker(
        (config, &facts),
        Arc::clone(&parts.clock),
        in_force.subscribe(),
        outbox.clone(),
        &mut tasks,
        &events,
    );
    let records = start_outbox(outbox, Arc::clone(&metrics), &mut tasks, &events);
    let mut outlets = Outlets {
        ledger: start_ledger(ledger_file, records.clone(), &mut tasks, &events),
        records: Outlet::new(records),
        broker,
        orders: Outlet::closed(),
        examinations: Outlet::closed(),
        keyrings: keyring::start(config, in_force, &mut tasks, &events),
        notices: start_notifier(config, &mut tasks),
        own: Outlet::new(events.clone()),
        identity,
        metrics: Arc::clone(&metrics),
    };
    start_cluster(config, &mut tasks, &mut outlets, &events, &reports);
    start_page(config, &mut tasks, &snapshots, metrics, &reports).await;
    start_sampler(config, parts.probe, &mut tasks, &events);
    start_leds(leds, &indications, &mut tasks, &events);
    start_button(parts.button, &parts.clock, &mut tasks, &events, &reports);
    Ok(Supervisor {
        state,
        clock: parts.clock,
        inbox,
        outlets,
        tasks,
        notifier: ServiceNotifier::new(),
        status_file: StatusFile::new(config.runtime_directory.as_deref()),
        snapshots,
        indications,
    })
}

fn start_outbox(
    outbox: Outbox,
    metrics: Arc<Metrics>,
    tasks: &mut Tasks,
    events: &mpsc::Sender<Event>,
) -> mpsc::Sender<NewRecord> {
    let (sender, writer) = writer(outbox, events.clone(), move |took, records| {
        metrics.observe_sync(
            took.as_secs_f64(),
            u64::try_from(records).unwrap_or(u64::MAX),
        );
    });
    tasks.spawn(Stage::Work, "outbox", writer.run());
    sender.into_channel()
}

fn start_ledger(
    file: Option<LedgerFile>,
    records: mpsc::Sender<NewRecord>,
    tasks: &mut Tasks,
    events: &mpsc::Sender<Event>,
) -> Outlet<LedgerWrite> {
    let Some(file) = file else {
        return Outlet::closed();
    };
    let (to_ledger, writes) = outlet(ROOM);
    tasks.spawn(
        Stage::Work,
        "ledger",
        ledger_writer::run(file, writes, records, events.clone()),
    );
    to_ledger
}

/// Ends last, so that what the end of the others brings about is still told if there is time.
fn start_notifier(config: &Config, tasks: &mut Tasks) -> Outlet<Notice> {
    if config.notify.is_empty() {
        return Outlet::closed();
    }
    let (to_notifier, notices) = outlet(ROOM);
    let stop = tasks.stop_token(Stage::Display);
    let node = config.node.as_str().to_owned();
    let subscribers = notify::subscribers(config);
    tasks.spawn(
        Stage::Display,
        "notifier",
        notify::run(node, subscribers, notices, stop),
    );
    to_notifier
}

fn start_sampler(
    config: &Config,
    probe: Box<dyn Probe + Send>,
    tasks: &mut Tasks,
    events: &mpsc::Sender<Event>,
) {
    let interval = Duration::from_secs(config.health.interval_seconds);
    let stop = tasks.stop_token(Stage::Source);
    tasks.spawn(
        Stage::Source,
        "sampler",
        health::run(probe, interval, events.clone(), stop),
    );
}

fn start_leds(
    leds: Vec<NamedLed>,
    indications: &watch::Sender<Indication>,
    tasks: &mut Tasks,
    events: &mpsc::Sender<Event>,
) {
    let stop = tasks.stop_token(Stage::Display);
    let shown = indications.subscribe();
    tasks.spawn(
        Stage::Display,
        "leds",
        led::run(leds, shown, events.clone(), stop),
    );
}

/// What cannot be had is told, and everything else goes on.
fn start_button(
    button: Result<Option<Box<dyn Wire>>, String>,
    clock: &Arc<dyn Clock>,
    tasks: &mut Tasks,
    events: &mpsc::Sender<Event>,
    reports: &Reports<'_>,
) {
    match button {
        Ok(None) => {}
        Ok(Some(wire)) => {
            let stop = tasks.stop_token(Stage::Source);
            let watched = led::button::run(wire, Arc::clone(clock), events.clone(), stop);
            tasks.spawn(Stage::Source, "button", watched);
        }
        Err(fault) => reports.impaired("button", &fault),
    }
}

/// The connection to the broker takes no more commands when the sources stop, and ends after the
/// outbox has been written.
fn start_broker(
    (config, facts): (&Config, &health::NodeFacts),
    clock: Arc<dyn Clock>,
    in_force: keyring::InForce,
    outbox: Outbox,
    tasks: &mut Tasks,
    events: &mpsc::Sender<Event>,
) -> mqtt::Handle {
    let unsigned = &config.commands.allow_unsigned;
    let discovery = config.home_assistant.as_ref().filter(|it| it.discovery);
    let settings = mqtt::Settings {
        mqtt: config.mqtt.clone(),
        node: config.node.clone(),
        presence: presence(facts.boot.clone(), Arc::clone(&clock)),
        verify: (config.commands.keyring.is_some() || !unsigned.is_empty()).then(|| {
            keyring::verify(
                in_force,
                Duration::from_secs(config.commands.max_ttl_seconds),
                unsigned.clone(),
                clock,
            )
        }),
        allow_unsigned: !unsigned.is_empty(),
        discovery_prefix: discovery.map(|it| it.prefix.clone()),
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

    let viewer = cluster::NodeViewer::new(api.clone(), config.cluster.node_name.as_deref());
    let stop = tasks.stop_token(Stage::Source);
    tasks.spawn(Stage::Source, "node", viewer.run(events.clone(), stop));

    let (to_examiner, examinations) = outlet(ROOM);
    outlets.examinations = to_examiner;
    let examiner = cluster::Examiner::new(api.clone());
    let stop = tasks.stop_token(Stage::Source);
    tasks.spawn(
        Stage::Source,
        "examiner",
        examiner.run(examinations, events.clone(), stop),
    );

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
    let addresses = [
        ("page", "listen", config.http.listen),
        ("metrics", "metrics_listen", config.http.metrics_listen),
    ];
    for (part, setting, listen) in addresses {
        let Some(listen) = listen else { continue };
        let listener = match http::bind(listen).await {
            Ok(listener) => listener,
            Err(error) => {
                let remedy = "a free address of this machine, or to \"\" to do without";
                let fault = format!("{error} Set [http] {setting} to {remedy}");
                reports.impaired(part, &fault);
                continue;
            }
        };
        let interval = Duration::from_secs(config.health.interval_seconds);
        let settings = http::Settings {
            hostnames: vec![config.node.as_str().to_owned()],
            stale_after: Duration::from_secs(60).max(interval * 3),
            only_metrics: part == "metrics",
        };
        let (snapshots, metrics) = (snapshots.subscribe(), Arc::clone(&metrics));
        let stop = tasks.stop_token(Stage::Display);
        let serving = http::serve(listener, settings, snapshots, metrics, stop);
        tasks.spawn(Stage::Display, part, serving);
    }
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
        discovery: config.home_assistant.as_ref().map(|it| Discovery {
            enabled: it.discovery,
            prefix: it.prefix.clone(),
            single_component: it.single_component,
            page: config
                .http
                .listen
                .and_then(|listen| http::page_for_others(listen, config.node.as_str())),
            identify: config
                .commands
                .allow_unsigned
                .iter()
                .any(|it| it == "identify"),
        }),
    }
}
