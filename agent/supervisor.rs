//! Starts the tasks, owns the [`State`], turns events into effects, and orders the shutdown.
//!
//! This is the one place that spawns. Every task gets its ends of bounded channels and a token that
//! tells it to stop; a task that ends before it was told to is a fault, and ends the agent, so that
//! systemd starts it afresh.
//!
//! The order of the shutdown: sources and intake first, so that nothing new begins; then what is
//! under way in the cluster; then the outbox, so that every event is on the medium; then the broker
//! connection, which says `offline` and goes; the page and the LEDs last. All of it ends within
//! [`SHUTDOWN`].

mod dispatch;
mod keyring;
mod notify;
mod open;
mod outlet;
mod start;
mod status_file;
mod tasks;

use std::sync::Arc;
use std::time::Duration;

use edge_agent_core::clock::Now;
use edge_agent_core::event::Event;
use edge_agent_core::indication::Indication;
use edge_agent_core::state::State;
use edge_agent_core::wire::Snapshot;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::clock::Clock;
use crate::config::Config;
use crate::health::Probe;
use crate::led::{NamedLed, Wire};

use dispatch::Outlets;
use notify::ServiceNotifier;
pub use notify::{announce_reload, announce_stop};
use status_file::StatusFile;
use tasks::Tasks;

/// From the request to stop until the process ends; below `TimeoutStopSec=` of the unit.
pub const SHUTDOWN: Duration = Duration::from_secs(5);

/// How many events may wait for the supervisor. A task that finds it full waits.
const EVENTS: usize = 256;

/// How many events are taken in before the snapshot is made again.
const BATCH: usize = 64;

/// How long an application must stay healthy before a command counts as succeeded.
pub const SETTLE: Duration = Duration::from_secs(10);

/// What the agent is made of, besides its settings: the ends that a test or the demo replaces.
pub struct Parts {
    pub clock: Arc<dyn Clock>,
    pub probe: Box<dyn Probe + Send>,
    /// The LEDs, and those of the settings that could not be had, with the reason.
    pub leds: (Vec<NamedLed>, Vec<(String, String)>),
    /// The button, or why that of the settings cannot be had.
    pub button: Result<Option<Box<dyn Wire>>, String>,
    /// See [`SETTLE`].
    pub settle: Duration,
}

/// Why the agent does not run.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Something that a restart will not mend: the settings, or a file that they name.
    #[error("{0:#}")]
    Settings(anyhow::Error),
    /// Something that a restart may mend.
    #[error("{0:#}")]
    Running(anyhow::Error),
}

/// Runs the agent until `stop`.
///
/// # Errors
/// When it cannot start, or when one of its tasks ends before it was told to.
pub async fn run(config: Config, parts: Parts, stop: CancellationToken) -> Result<(), Fault> {
    let (events, inbox) = mpsc::channel(EVENTS);
    let supervisor = start::start(&config, parts, events, inbox).await?;
    supervisor.turn(stop).await
}

/// Whether the files that the settings name can be used, as far as that keeps the agent from running.
///
/// # Errors
/// [`Fault::Settings`].
pub fn check(config: &Config) -> Result<(), Fault> {
    keyring::configured(config).map(drop)
}

/// Everything that the loop needs.
struct Supervisor {
    state: State,
    clock: Arc<dyn Clock>,
    inbox: mpsc::Receiver<Event>,
    outlets: Outlets,
    tasks: Tasks,
    notifier: ServiceNotifier,
    status_file: StatusFile,
    snapshots: watch::Sender<Arc<Snapshot>>,
    indications: watch::Sender<Indication>,
}

impl Supervisor {
    async fn turn(mut self, stop: CancellationToken) -> Result<(), Fault> {
        let now = self.clock.now();
        let effects = self.state.start(now);
        self.outlets.hand_out(effects);
        self.show(now);
        self.notifier.ready();
        info!("edge-agent runs");
        let outcome = self.until_stopped(&stop).await;
        info!("stopping");
        let deadline = Instant::now() + SHUTDOWN;
        let stopped = self.shut_down(deadline).await;
        outcome.and(stopped).map_err(Fault::Running)
    }

    /// The loop. Every event is followed by its effects; the snapshot is made once for a batch.
    async fn until_stopped(&mut self, stop: &CancellationToken) -> anyhow::Result<()> {
        let mut watchdog = ServiceNotifier::watchdog_interval().map(tokio::time::interval);
        loop {
            let deadline = self.state.next_deadline();
            let now = self.clock.now();
            let wait = deadline.map(|deadline| deadline.saturating_sub(now.monotonic));
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                fault = self.tasks.first_to_end() => return Err(fault),
                () = alive(watchdog.as_mut()) => self.notifier.alive(),
                () = self.outlets.flush() => {}
                Some(event) = self.inbox.recv() => {
                    self.take_in(event);
                    for _ in 1..BATCH {
                        let Ok(event) = self.inbox.try_recv() else { break };
                        self.take_in(event);
                    }
                    self.show(self.clock.now());
                }
                () = self.status_file.due() => {
                    let snapshot = Arc::clone(&self.snapshots.borrow());
                    self.status_file.write(&snapshot);
                }
                () = sleep(wait) => {
                    self.take_in(Event::Tick);
                    self.show(self.clock.now());
                }
            }
        }
    }

    fn take_in(&mut self, event: Event) {
        let effects = self.state.apply(self.clock.now(), event);
        self.outlets.hand_out(effects);
    }

    /// Lets everyone who watches see the present state.
    fn show(&mut self, now: Now) {
        let snapshot = Arc::new(self.state.snapshot(now));
        self.notifier.status(&snapshot);
        self.status_file.write(&snapshot);
        self.snapshots.send_replace(snapshot);
        let indication = self.state.indication();
        self.indications.send_if_modified(|shown| {
            let changed = *shown != indication;
            *shown = indication;
            changed
        });
    }

    async fn shut_down(mut self, deadline: Instant) -> anyhow::Result<()> {
        self.tasks.stop_sources();
        self.take_in(Event::Stopping);
        // What is under way in the cluster may still end and be told.
        let grace = deadline.min(Instant::now() + SHUTDOWN / 4);
        let _ = timeout_at(grace, self.drain()).await;
        self.show(self.clock.now());
        self.outlets.close();
        self.status_file.remove();
        self.tasks.stop_in_order(deadline).await
    }

    /// Takes in events until every source has ended and nothing is on its way out.
    async fn drain(&mut self) {
        loop {
            while let Ok(event) = self.inbox.try_recv() {
                self.take_in(event);
            }
            if self.tasks.sources_ended() && self.outlets.is_empty() && self.inbox.is_empty() {
                return;
            }
            tokio::select! {
                () = self.outlets.flush() => {}
                Some(event) = self.inbox.recv() => self.take_in(event),
                () = self.tasks.source_ended() => {}
            }
        }
    }
}

/// Sleeps for as long as is asked; without a time, for ever.
async fn sleep(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}

/// The next time at which the watchdog wants to hear; never, without one.
async fn alive(watchdog: Option<&mut tokio::time::Interval>) {
    match watchdog {
        Some(interval) => {
            interval.tick().await;
        }
        None => std::future::pending().await,
    }
}

/// Says what could not be ended in time, in one line.
fn give_up(what: &str) {
    warn!("{what} did not end in time and was given up");
}
