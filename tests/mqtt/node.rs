//! The link of one node, as the supervisor would run it, and what a test waits for.

use std::sync::Arc;
use std::time::Duration;

use edge_agent::config;
use edge_agent::mqtt::{Handle, Settings, Stop, Timing, Verified, session};
use edge_agent::store::outbox::Outbox;
use edge_agent::store::outbox::record::NewRecord;
use edge_agent_core::command::envelope::{
    COMMAND_TYPE, RefusedCommand, SigningKey, Unverified, seal,
};
use edge_agent_core::command::{Refusal, RefusalCode};
use edge_agent_core::event::{Delivery, Event, Fact, Link, LinkStatus};
use edge_agent_core::retention::Class;
use edge_agent_core::topic::NodeName;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::broker::LIMIT;

/// The link of one node, as the supervisor would run it.
pub(super) struct Node {
    dir: tempfile::TempDir,
    pub(super) outbox: Outbox,
    pub(super) handle: Handle,
    events: mpsc::Receiver<Event>,
    stop: Stop,
    task: JoinHandle<anyhow::Result<()>>,
}

pub(super) fn mqtt(port: u16) -> config::Mqtt {
    config::Mqtt {
        host: "127.0.0.1".to_owned(),
        port,
        tls: false,
        ca_file: None,
        cert_file: None,
        key_file: None,
        username: None,
        password_file: None,
        keep_alive_seconds: 5,
        session_expiry_seconds: 3600,
    }
}

pub(super) fn settings(port: u16) -> Settings {
    Settings {
        mqtt: mqtt(port),
        node: NodeName::new("pi-01").unwrap(),
        presence: Arc::new(|reason| {
            let online = reason == edge_agent_core::wire::PresenceReason::Started;
            serde_json::to_vec(&serde_json::json!({"online": online, "reason": reason})).unwrap()
        }),
        verify: Some(Arc::new(verify)),
        allow_unsigned: false,
        discovery_prefix: None,
        timing: Timing {
            backoff_min: Duration::from_millis(10),
            backoff_max: Duration::from_millis(50),
            contested: Duration::from_millis(300),
            will_delay: Duration::ZERO,
            ..Timing::default()
        },
    }
}

/// An envelope of this payload.
pub(super) fn envelope(payload: &str) -> Vec<u8> {
    let key = SigningKey::from_seed(&[5; 32]).unwrap();
    seal(COMMAND_TYPE, payload.as_bytes(), &[("a", &key)])
}

/// Envelopes whose payload begins with `valid` are by known keys.
fn verify(bytes: &[u8]) -> Verified {
    let refusal = Refusal::new(RefusalCode::UnknownKey, "no known key");
    let payload = Unverified::read(bytes).unwrap().payload;
    if !payload.starts_with(b"valid") {
        return Verified::Unauthenticated(refusal);
    }
    Verified::Refused(Box::new(RefusedCommand {
        id: String::from_utf8_lossy(&payload).into_owned(),
        digest: [0; 32],
        key_ids: Vec::new(),
        cmd: None,
        application: None,
        refusal,
    }))
}

impl Node {
    pub(super) fn start(settings: Settings) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self::start_in(dir, settings)
    }

    pub(super) fn start_in(dir: tempfile::TempDir, settings: Settings) -> Self {
        let limits = config::Outbox {
            max_bytes: 1 << 24,
            max_records: 10_000,
            reserve_bytes: 0,
        };
        let path = dir.path().join("outbox");
        let outbox = Outbox::open(&path, &settings.node, &limits).unwrap().outbox;
        let (sender, events) = mpsc::channel(16);
        let (handle, session) = session(settings, outbox.clone(), sender);
        let stop = Stop {
            intake: CancellationToken::new(),
            all: CancellationToken::new(),
        };
        Self {
            dir,
            outbox,
            handle,
            events,
            task: tokio::spawn(session.run(stop.clone())),
            stop,
        }
    }

    pub(super) fn facts(&self, numbers: std::ops::Range<u32>) {
        let facts: Vec<_> = numbers.map(fact).collect();
        for group in facts.chunks(100) {
            self.outbox.append(group).unwrap();
        }
    }

    /// Waits for an event that `pick` picks; others are let go.
    pub(super) async fn event<T>(&mut self, what: &str, pick: impl Fn(Event) -> Option<T>) -> T {
        let wait = async {
            loop {
                let event = self.events.recv().await.expect("the session runs");
                if let Some(picked) = pick(event) {
                    return picked;
                }
            }
        };
        let waited = tokio::time::timeout(LIMIT, wait).await;
        waited.unwrap_or_else(|_| panic!("never: {what}"))
    }

    pub(super) async fn up(&mut self) {
        self.event("the link comes up", |event| {
            matches!(
                event,
                Event::LinkChanged {
                    link: Link::Broker,
                    status: LinkStatus::Up
                }
            )
            .then_some(())
        })
        .await;
    }

    pub(super) async fn down(&mut self) -> String {
        self.event("the link goes down", |event| match event {
            Event::LinkChanged {
                status: LinkStatus::Down(reason),
                ..
            } => Some(reason),
            _ => None,
        })
        .await
    }

    pub(super) async fn subscribed(&mut self) {
        self.event("the subscription is confirmed", |event| {
            let part = "commands";
            matches!(event, Event::Impaired { part: it, fault: None } if it == part).then_some(())
        })
        .await;
    }

    pub(super) async fn command(&mut self) -> (Delivery, String) {
        self.event("a command arrives", |event| match event {
            Event::CommandRefused { delivery, refused } => Some((delivery, refused.id)),
            _ => None,
        })
        .await
    }

    /// Acknowledges everything, as the supervisor does, until a command by known keys is there. The
    /// link must hold, and what is refused must be so for `code`, for its QoS, or for want of time.
    pub(super) async fn next_command_among_junk(&mut self, code: RefusalCode) -> String {
        let handle = self.handle.clone();
        self.event("a command among the junk", |event| match event {
            Event::CommandRefused { delivery, refused } => {
                handle.acknowledge(delivery);
                Some(refused.id)
            }
            Event::CommandUnauthenticated { delivery, refusal } => {
                handle.acknowledge(delivery);
                assert!(
                    [code, RefusalCode::Malformed, RefusalCode::Busy].contains(&refusal.code),
                    "{refusal}"
                );
                None
            }
            Event::LinkChanged {
                status: LinkStatus::Down(reason),
                ..
            } => panic!("{reason}"),
            _ => None,
        })
        .await
    }

    pub(super) async fn emptied(&self) {
        let mut changes = self.outbox.changes();
        let wait = async {
            while self.outbox.status().records > 0 {
                changes.changed().await.unwrap();
            }
        };
        tokio::time::timeout(LIMIT, wait)
            .await
            .expect("the outbox is emptied");
    }

    pub(super) async fn stop(self) -> tempfile::TempDir {
        self.stop.intake.cancel();
        self.stop.all.cancel();
        let ended = tokio::time::timeout(LIMIT, self.task).await;
        ended
            .expect("in time")
            .expect("no panic")
            .expect("no fault");
        self.dir
    }
}

fn fact(n: u32) -> NewRecord {
    NewRecord::event(Fact {
        class: Class::Agent,
        kind: "edge.test".into(),
        subject: n.to_string(),
        at: Timestamp::UNIX_EPOCH,
        data: serde_json::Value::Null,
    })
}
