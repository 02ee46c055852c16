//! All the state of the double behind one lock, and the one signal that something in it changed.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::controller::{Application, Step};
use super::scenario::Pace;
use super::store::{Key, Store};

/// One request that the double was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recorded {
    pub(crate) method: String,
    /// Without the query.
    pub(crate) path: String,
    /// As sent, without the question mark; empty if there is none.
    pub(crate) query: String,
    pub(crate) content_type: Option<String>,
    pub(crate) body: String,
}

impl Recorded {
    /// It asks for a watch.
    pub(crate) fn is_watch(&self) -> bool {
        self.query
            .split('&')
            .any(|part| part == "watch=true" || part == "watch=1")
    }
}

/// What goes wrong on purpose.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// So many requests more are answered with this status.
    pub(super) fail: Option<(u32, u16)>,
    /// Before so many patches more, somebody else writes the object.
    pub(super) conflicts: u32,
    /// Watches opened before this count was raised are over.
    pub(super) expired: u64,
    /// Watches opened before this count was raised are cut in the middle of an event.
    pub(super) truncated: u64,
    /// Watches stay open and say nothing.
    pub(super) stalled: bool,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) store: Store,
    pub(super) applications: BTreeMap<Key, Application>,
    pub(super) faults: Faults,
    pub(super) requests: Vec<Recorded>,
    /// The bearer token that requests must carry, if any.
    pub(super) token: Option<String>,
    pub(super) node_ready: bool,
    pub(super) pods: usize,
    /// The controller is down.
    pub(super) frozen: bool,
    /// The agent has no right to read Deployments.
    pub(super) deployments_denied: bool,
}

/// What the server, the watches and the controller share.
#[derive(Debug)]
pub(super) struct Shared {
    world: Mutex<World>,
    changed: watch::Sender<u64>,
    pub(super) pace: Pace,
    /// The double is dropped.
    pub(super) end: CancellationToken,
}

impl Shared {
    pub(super) fn new(pace: Pace) -> Self {
        Self {
            world: Mutex::new(World {
                store: Store::new(),
                applications: BTreeMap::new(),
                faults: Faults::default(),
                requests: Vec::new(),
                token: None,
                node_ready: true,
                pods: 7,
                frozen: false,
                deployments_denied: false,
            }),
            changed: watch::Sender::new(0),
            pace,
            end: CancellationToken::new(),
        }
    }

    /// For reading. A test that panicked while it held the lock spoils nothing.
    pub(super) fn read(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For writing: everybody who waits looks again afterwards.
    pub(super) fn change<R>(&self, write: impl FnOnce(&mut World) -> R) -> R {
        let result = write(&mut self.read());
        self.notify();
        result
    }

    pub(super) fn notify(&self) {
        self.changed.send_modify(|count| *count += 1);
    }

    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Runs the controller until the double is dropped.
    pub(super) async fn control(&self) {
        let mut changes = self.changes();
        loop {
            changes.borrow_and_update();
            let wake = self.step();
            let sleep = async {
                match wake {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.end.cancelled() => return,
                _ = changes.changed() => {}
                () = sleep => {}
            }
        }
    }

    /// Lets the controller look at every application once.
    fn step(&self) -> Option<Instant> {
        let mut world = self.read();
        let world = &mut *world;
        if world.frozen {
            return None;
        }
        let before = world.store.version();
        let now = Instant::now();
        let mut wake: Option<Instant> = None;
        let keys = world.store.keys();
        world
            .applications
            .retain(|key, application| keys.contains(key) || !application.created);
        for key in &keys {
            let application = world
                .applications
                .entry(key.clone())
                .or_insert_with(|| Application::new("security-gate".to_owned(), now));
            application.created = true;
            let step = Step {
                store: &mut world.store,
                application,
                key,
                pace: self.pace,
                now,
            };
            wake = wake.into_iter().chain(step.take()).min();
        }
        if world.store.version() != before {
            self.notify();
        }
        wake
    }
}
