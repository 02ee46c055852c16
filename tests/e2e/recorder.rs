//! What the broker has been given: a subscriber that writes down everything, and connects again at
//! once whenever the broker comes back.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::mqtt::{Connection, Login, Packet};
use crate::scenarios::scene::Told;

/// One message.
#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) retain: bool,
    pub(crate) at: Instant,
}

impl Message {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.payload).unwrap_or(Value::Null)
    }
}

impl From<Message> for Told {
    fn from(message: Message) -> Self {
        Self {
            at: message.at,
            topic: message.topic,
            payload: message.payload,
        }
    }
}

#[derive(Default)]
struct Shared {
    messages: Mutex<Vec<Message>>,
    arrived: Condvar,
    stop: AtomicBool,
    subscribed: AtomicBool,
    subscriptions: AtomicU64,
}

/// The recorder. Dropping it ends it.
pub(crate) struct Recorder {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Recorder {
    /// Records everything below `edge/v1/`.
    pub(crate) fn start(login: Login) -> Self {
        let shared = Arc::new(Shared::default());
        let thread = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                while !shared.stop.load(Ordering::SeqCst) {
                    // Its end is expected: the suites end brokers.
                    let _ = record(&login, &shared);
                    shared.subscribed.store(false, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(5));
                }
            }
        });
        Self {
            shared,
            thread: Some(thread),
        }
    }

    /// How often it has subscribed so far.
    pub(crate) fn subscriptions(&self) -> u64 {
        self.shared.subscriptions.load(Ordering::SeqCst)
    }

    /// Waits until it has subscribed more often than `before`, and is still connected.
    pub(crate) fn wait_subscribed(&self, before: u64) {
        super::wait(Duration::from_secs(20), "the recorder to subscribe", || {
            let again = self.subscriptions() > before;
            (again && self.shared.subscribed.load(Ordering::SeqCst)).then_some(())
        });
    }

    /// A copy of everything so far, in the order of arrival.
    pub(crate) fn messages(&self) -> Vec<Message> {
        self.shared.messages.lock().unwrap().clone()
    }

    /// Waits until something can be found in the record.
    pub(crate) fn wait<T>(
        &self,
        limit: Duration,
        what: &str,
        find: impl Fn(&[Message]) -> Option<T>,
    ) -> T {
        let deadline = Instant::now() + limit;
        let mut messages = self.shared.messages.lock().unwrap();
        loop {
            if let Some(found) = find(&messages) {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let count = messages.len();
                drop(messages);
                panic!("waited {limit:?} for {what}; {count} messages were recorded");
            }
            messages = self.shared.arrived.wait_timeout(messages, left).unwrap().0;
        }
    }

    /// Waits for a message on a topic below `edge/v1/<node>/` of whose content something is true.
    pub(crate) fn wait_message(
        &self,
        topic: &str,
        limit: Duration,
        is: impl Fn(&Value) -> bool,
    ) -> Message {
        let full = format!("edge/v1/{}/{topic}", super::agent::NODE);
        self.wait(limit, topic, |messages| {
            let found = messages
                .iter()
                .rev()
                .find(|message| message.topic == full && is(&message.json()));
            found.cloned()
        })
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn record(login: &Login, shared: &Shared) -> std::io::Result<()> {
    let mut connection = Connection::open(login)?;
    connection.subscribe("edge/v1/#", 0)?;
    let mut pinged = Instant::now();
    while !shared.stop.load(Ordering::SeqCst) {
        match connection.read()? {
            Some(Packet::Publish {
                topic,
                payload,
                retain,
                id,
            }) => {
                if id > 0 {
                    connection.acknowledge(id)?;
                }
                shared.messages.lock().unwrap().push(Message {
                    topic,
                    payload,
                    retain,
                    at: Instant::now(),
                });
                shared.arrived.notify_all();
            }
            Some(Packet::SubAck { reason }) if reason < 0x80 => {
                shared.subscribed.store(true, Ordering::SeqCst);
                shared.subscriptions.fetch_add(1, Ordering::SeqCst);
            }
            Some(Packet::SubAck { reason }) => {
                return Err(std::io::Error::other(format!("SUBACK {reason:#x}")));
            }
            _ => {}
        }
        if pinged.elapsed() > Duration::from_secs(10) {
            pinged = Instant::now();
            connection.ping()?;
        }
    }
    Ok(())
}
