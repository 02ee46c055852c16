//! What networks and brokers do. The broker is set up with the files of `config/mosquitto`; a proxy
//! stands between it and the node.
//!
//! In every case the record holds exactly the events that were stored, in order within an
//! application, and the agent is back within twice the keep-alive and the wait of its backoff.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::agent::{Agent, Setup};
use super::broker::Broker;
use super::mqtt::{Connection, Login};
use super::proxy::{Mode, Proxy};
use super::record::Events;
use super::recorder::Recorder;
use super::source::Source;
use super::{Args, Suite, figure};

pub(crate) const SUITES: &[Suite] = &[
    ("session_broker_restarted", broker_restarted),
    (
        "session_broker_restarted_without_persistence",
        broker_forgets,
    ),
    ("session_broker_killed", broker_killed),
    ("session_broker_stopped", broker_stopped),
    ("session_connection_reset", connection_reset),
    ("session_half_open", half_open),
    ("session_taken_over", taken_over),
];

const LIMIT: Duration = Duration::from_secs(30);

/// Of the agents here, in seconds.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Twice the keep-alive, and the longest wait of the first few tries.
const BACK_WITHIN: Duration = Duration::from_secs(10 + 16);

/// Everything around one agent, with 20 events a second.
pub(crate) struct Stage {
    pub(crate) agent: Agent,
    pub(crate) proxy: Proxy,
    pub(crate) recorder: Recorder,
    pub(crate) broker: Broker,
    source: Source,
    // Removed at the end.
    _directory: tempfile::TempDir,
}

impl Stage {
    pub(crate) fn new(make: impl FnOnce(&std::path::Path) -> Broker) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let broker = make(directory.path());
        let recorder = Recorder::start(broker.login("dashboard"));
        recorder.wait_subscribed(0);
        let proxy = Proxy::start(broker.port);
        let mut source = Source::start(directory.path());
        let mut setup = Setup::new(directory.path(), proxy.port);
        setup.mqtt = broker.settings(proxy.port);
        setup.kubeconfig = Some(source.kubeconfig());
        let mut agent = setup.start();
        agent.wait_up(LIMIT);
        source.run(20);
        let stage = Self {
            agent,
            proxy,
            recorder,
            broker,
            source,
            _directory: directory,
        };
        stage.wait_more_events(10);
        stage
    }

    fn wait_more_events(&self, count: usize) {
        let before = self.recorder.messages().len();
        self.recorder.wait(LIMIT, "more events", |messages| {
            (messages.len() >= before + count).then_some(())
        });
    }

    /// Lets no new connection through until the recorder listens to the broker that comes back:
    /// what nobody listens to is not in the record.
    fn restart_broker(&mut self, stop: impl FnOnce(&mut Broker)) {
        let subscribed = self.recorder.subscriptions();
        self.proxy.set(Mode::Shut);
        stop(&mut self.broker);
        self.agent.wait_down(LIMIT, &[]);
        self.broker.start();
        self.recorder.wait_subscribed(subscribed);
        self.proxy.set(Mode::Open);
    }

    /// Waits until the agent is back, and lets some more happen; then holds the record against the
    /// promise.
    fn conclude(mut self, since: Instant) {
        self.agent.wait_up(BACK_WITHIN);
        figure(
            "back after",
            format!("{:.1} s", since.elapsed().as_secs_f64()),
        );
        self.wait_more_events(10);
        self.source.pause();
        for (application, revision) in self.source.last_revisions() {
            self.recorder.wait(LIMIT, &application, |messages| {
                let told = Events::of(messages).revisions(&application);
                (told.last() == Some(&revision)).then_some(())
            });
        }
        self.agent.wait_status(LIMIT, "an empty outbox", |status| {
            (status["outbox"]["records"] == 0).then_some(())
        });
        let resident = self.agent.resident_bytes();
        let (status, _) = self.agent.terminate(Duration::from_secs(10));
        assert!(status.success(), "{status}");
        self.recorder.wait_message("event", LIMIT, |event| {
            event["type"] == "edge.agent.stopped"
        });
        let events = Events::of(&self.recorder.messages());
        events.assert_complete();
        events.assert_ordered();
        assert_eq!(events.range().0, 1);
        figure("events", events.by_sequence.len());
        figure("deliveries repeated", events.repeated);
        figure("resident", format!("{} MiB", resident >> 20));
        assert!(resident < 100 << 20, "{resident} bytes are resident");
    }
}

fn broker_restarted(_: &Args) {
    let mut stage = Stage::new(Broker::recommended);
    stage.restart_broker(Broker::stop);
    stage.conclude(Instant::now());
}

fn broker_forgets(_: &Args) {
    let mut stage = Stage::new(Broker::recommended);
    stage.restart_broker(|broker| {
        broker.kill();
        // With its store goes every session and every retained value.
        let _ = std::fs::remove_file(broker.file("mosquitto.db"));
    });
    let since = Instant::now();
    stage.agent.wait_up(BACK_WITHIN);
    // What is retained is there again.
    let late = Recorder::start(Login {
        client_id: "late".to_owned(),
        ..stage.broker.login("dashboard")
    });
    for topic in ["presence", "identity", "health", "indication", "app/app-3"] {
        late.wait_message(topic, LIMIT, |_| true);
    }
    stage.conclude(since);
}

fn broker_killed(_: &Args) {
    let mut stage = Stage::new(Broker::recommended);
    for _ in 0..3 {
        stage.restart_broker(Broker::kill);
        stage.agent.wait_up(BACK_WITHIN);
        stage.wait_more_events(5);
    }
    stage.conclude(Instant::now());
}

/// Longer than the broker's own one and a half keep-alives, so that both sides give up.
fn broker_stopped(_: &Args) {
    let mut stage = Stage::new(Broker::recommended);
    stage.broker.signal(Signal::STOP);
    let stopped = Instant::now();
    stage.agent.wait_down(
        KEEP_ALIVE * 3,
        &["has not answered within twice the keep-alive"],
    );
    figure(
        "noticed after",
        format!("{:.1} s", stopped.elapsed().as_secs_f64()),
    );
    stage.broker.signal(Signal::CONT);
    stage.conclude(Instant::now());
}

fn connection_reset(_: &Args) {
    let stage = Stage::new(Broker::recommended);
    for _ in 0..4 {
        let before = stage.proxy.resets();
        stage.proxy.set(Mode::Reset);
        super::wait(LIMIT, "a reset in the middle of a packet", || {
            (stage.proxy.resets() > before).then_some(())
        });
        stage.wait_more_events(5);
    }
    stage.conclude(Instant::now());
}

fn half_open(_: &Args) {
    let mut stage = Stage::new(Broker::recommended);
    let connections = stage.proxy.connections();
    stage.proxy.set(Mode::Swallow);
    let swallowed = Instant::now();
    stage.agent.wait_down(KEEP_ALIVE * 3, &["has not answered"]);
    let noticed = swallowed.elapsed();
    figure("noticed after", format!("{:.1} s", noticed.as_secs_f64()));
    assert!(
        noticed <= KEEP_ALIVE * 2 + Duration::from_secs(2),
        "{noticed:?}"
    );
    stage.proxy.set(Mode::Open);
    let since = Instant::now();
    stage.agent.wait_up(BACK_WITHIN);
    assert!(stage.proxy.connections() > connections);
    stage.conclude(since);
}

/// A second client under the same id, which takes the session back whenever it loses it: told, and
/// not fought. Debian's mosquitto does not tell why it closes the connection then.
fn taken_over(_: &Args) {
    let mut stage = Stage::new(Broker::recommended);
    let login = Login {
        client_id: format!("edge-agent-{}", super::agent::NODE),
        ..stage.broker.login(super::agent::NODE)
    };
    let fights = Arc::new(AtomicBool::new(true));
    let second = std::thread::spawn({
        let fights = Arc::clone(&fights);
        move || {
            while fights.load(Ordering::SeqCst) {
                // It waits for a moment before it tries again, as every client does.
                std::thread::sleep(Duration::from_millis(300));
                let Ok(mut connection) = Connection::open(&login) else {
                    continue;
                };
                while fights.load(Ordering::SeqCst) && connection.read().is_ok() {}
            }
        }
    });
    let reason = stage
        .agent
        .wait_down(LIMIT * 2, &["second agent", "the same node name"]);
    figure("said", reason);
    let lost = Instant::now();
    let connections = stage.proxy.connections();
    super::wait(Duration::from_secs(120), "the agent to come back", || {
        (stage.proxy.connections() > connections).then_some(())
    });
    let away = lost.elapsed();
    figure("kept away for", format!("{:.1} s", away.as_secs_f64()));
    assert!(
        away > Duration::from_secs(25),
        "it fights: back after {away:?}"
    );
    fights.store(false, Ordering::SeqCst);
    second.join().unwrap();
    stage.agent.wait_up(Duration::from_secs(125));
    stage.conclude(Instant::now());
}
