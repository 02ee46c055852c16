//! A longer talk with nodes over the broker: what is said next depends on what was heard.
//!
//! [`super::call`] is for one question. Here the other side of two channels decides, and the talk
//! ends when it has nothing more to say.

use std::sync::Arc;
use std::time::Duration;

use edge_agent_core::backoff::Backoff;
use tokio::sync::{mpsc, oneshot};

use super::call::CallError;
use super::client::{self, Client, Received, Setup};
use super::fault::Fault;
use super::publisher::{Answer, Message, Publish};
use crate::config;

/// What may arrive in one packet, in bytes: a result with its envelope, or any retained value.
const MAX_INCOMING: u32 = 64 * 1024;

/// Messages that may wait to be heard: the retained values of a whole fleet come at once.
const WAITING: usize = 16 * 1024;

/// How long DISCONNECT may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// An envelope on its way out, with QoS 1 and not retained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saying {
    pub topic: String,
    pub payload: Vec<u8>,
    /// After so many seconds the broker need not deliver it any more.
    pub expiry_seconds: u32,
}

/// What is heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// Everything is subscribed to, on a new connection, and the retained values of every topic but
    /// the last have been told.
    Listening,
    /// The broker has what was said on a topic; `anyone` is false if it says that nobody subscribes
    /// to it.
    Delivered { topic: String, anyone: bool },
    /// A message on a topic that was subscribed to.
    Message { topic: String, payload: Vec<u8> },
    /// The connection was lost, for this reason; it is made anew.
    Interrupted(String),
}

/// Subscribes, then says what comes over `sayings` and tells what is heard, until `sayings` closes
/// and all of it is with the broker. A connection that is lost is made anew, and what the broker has
/// not acknowledged is said again: nodes know a repeated command by its id.
///
/// # Errors
/// When the broker cannot be reached in the first place, or refuses a topic.
pub async fn converse(
    mqtt: &config::Mqtt,
    subscribe: &[String],
    mut sayings: mpsc::Receiver<Saying>,
    told: mpsc::Sender<Told>,
) -> Result<(), CallError> {
    let mut talk = Talk {
        mqtt: Arc::new(mqtt.clone()),
        subscribe,
        sayings: &mut sayings,
        unsaid: None,
        told: &told,
        met: false,
    };
    let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(10));
    loop {
        match talk.connect().await {
            Ok(()) => return Ok(()),
            Err(End::Refused { topic, reason }) => {
                return Err(CallError::Refused { topic, reason });
            }
            Err(End::Lost(reason)) if !talk.met => {
                return Err(CallError::Unreachable(reason.sentence));
            }
            Err(End::Lost(reason)) => {
                // Nobody listens any more only when the end was ordered.
                let _ = told.send(Told::Interrupted(reason.sentence)).await;
            }
        }
        tokio::time::sleep(backoff.next(super::random())).await;
    }
}

/// Why one connection ended early.
enum End {
    Lost(Fault),
    Refused { topic: String, reason: String },
}

struct Talk<'a> {
    mqtt: Arc<config::Mqtt>,
    subscribe: &'a [String],
    sayings: &'a mut mpsc::Receiver<Saying>,
    /// What the broker has not acknowledged yet.
    unsaid: Option<Saying>,
    told: &'a mpsc::Sender<Told>,
    /// A connection has been made once.
    met: bool,
}

impl Talk<'_> {
    async fn connect(&mut self) -> Result<(), End> {
        let setup = Setup {
            client_id: format!("edge-agent-drone-{}", ulid::Ulid::generate()),
            will: None,
            clean_start: true,
            max_incoming: MAX_INCOMING,
        };
        let mqtt = Arc::clone(&self.mqtt);
        let (mut client, event_loop) = client::build_aside(&mqtt, setup)
            .await
            .map_err(|error| End::Lost(Fault::new(format!("{error:#}"))))?;
        let (accepted, said) = oneshot::channel();
        let (sender, received) = mpsc::channel(WAITING);
        let drive = client::drive(event_loop, &mqtt, accepted, sender, || {});
        let mut drive = std::pin::pin!(drive);
        let talk = async {
            let Ok(accepted) = said.await else {
                // The fault of the connection tells why.
                return std::future::pending().await;
            };
            self.met = true;
            client.accept(accepted);
            let talked = self.talk(&client, received).await;
            client.disconnect(GOODBYE);
            talked
        };
        let talked = tokio::select! {
            biased;
            talked = talk => talked,
            fault = &mut drive => return Err(End::Lost(fault)),
        };
        // Everything is said; whether the goodbye is heard changes nothing.
        let _ = tokio::time::timeout(GOODBYE, drive).await;
        talked
    }

    async fn talk(
        &mut self,
        client: &Client,
        mut received: mpsc::Receiver<Received>,
    ) -> Result<(), End> {
        for topic in self.subscribe {
            let subscribed = client.subscribe(topic, true).await;
            subscribed.map_err(|reason| End::Refused {
                topic: topic.clone(),
                reason,
            })?;
        }
        // The retained values of all but the last topic have come before its acknowledgement.
        while let Ok(message) = received.try_recv() {
            self.hear(client, message).await;
        }
        self.tell(Told::Listening).await;
        loop {
            if let Some(saying) = self.unsaid.clone() {
                self.say(client, saying).await?;
            }
            tokio::select! {
                Some(message) = received.recv() => self.hear(client, message).await,
                saying = self.sayings.recv() => match saying {
                    Some(saying) => self.unsaid = Some(saying),
                    None => return Ok(()),
                },
            }
        }
    }

    /// Publishes what is not with the broker yet.
    async fn say(&mut self, client: &Client, saying: Saying) -> Result<(), End> {
        let message = Message {
            topic: saying.topic.clone(),
            payload: saying.payload,
            retain: false,
            expiry_seconds: Some(saying.expiry_seconds),
            content_type: Some("application/vnd.dsse.envelope.v1+json"),
        };
        let topic = saying.topic;
        let anyone = match client.publish(message).await {
            Answer::Accepted { anyone } => anyone,
            Answer::Refused(reason) => return Err(End::Refused { topic, reason }),
            // The end of the connection follows, and tells why.
            Answer::Lost => return std::future::pending().await,
        };
        self.unsaid = None;
        self.tell(Told::Delivered { topic, anyone }).await;
        Ok(())
    }

    async fn hear(&self, client: &Client, message: Received) {
        let told = Told::Message {
            topic: String::from_utf8_lossy(&message.topic).into_owned(),
            payload: message.payload,
        };
        self.tell(told).await;
        client.acknowledge(message.ack);
    }

    /// The other side takes everything in for as long as it has something to say.
    async fn tell(&self, told: Told) {
        let _ = self.told.send(told).await;
    }
}
