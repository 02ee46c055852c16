//! How the command line speaks with nodes over the broker: what is said next depends on what was
//! heard. The other side of two channels decides, and the talk ends when it has nothing more to say.

use std::sync::Arc;
use std::time::Duration;

use edge_agent_core::backoff::Backoff;
use rumqttc::QoS;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::aside::{End, TalkError, Terms, connected};
use super::client::{Client, Received};
use super::publisher::{Answer, Message, Publish};
use crate::config;

/// What may arrive in one packet, in bytes: a result with its envelope, or any retained value.
const MAX_INCOMING: u32 = 64 * 1024;

/// Messages that may wait to be heard: the retained values of a whole fleet come at once.
pub(super) const WAITING: usize = 16 * 1024;

/// How long a node may be silent before an envelope is said to it again; then twice as long, and so
/// on. A node that is flooded looks at a part of what arrives only, and first at what it has had to
/// leave out before; to one that has it, a repetition is nothing new.
const AGAIN: Duration = Duration::from_secs(2);

/// How often an envelope is said again: over about two minutes. A node that is away finds each of
/// them in the broker's queue.
const REPETITIONS: u32 = 6;

/// An envelope on its way out, with QoS 1 and not retained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saying {
    pub topic: String,
    pub payload: Vec<u8>,
    /// After so many seconds the broker need not deliver it any more.
    pub expiry_seconds: Option<u32>,
    /// Said again until something is heard on this topic, which must be among those that are
    /// subscribed to.
    pub until: Option<String>,
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
) -> Result<(), TalkError> {
    let mut talk = Talk {
        mqtt: Arc::new(mqtt.clone()),
        subscribe,
        sayings: &mut sayings,
        unsaid: None,
        unanswered: Vec::new(),
        told: &told,
        met: false,
    };
    let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(10));
    loop {
        let Err(end) = talk.connect().await else {
            return Ok(());
        };
        let reason = end.interruption(talk.met)?;
        // Nobody listens any more only when the end was ordered.
        let _ = told.send(Told::Interrupted(reason)).await;
        tokio::time::sleep(backoff.next(super::random())).await;
    }
}

/// What the broker has and its node has said nothing to.
struct Unanswered {
    saying: Saying,
    again_at: Instant,
    wait: Duration,
    left: u32,
}

struct Talk<'a> {
    mqtt: Arc<config::Mqtt>,
    subscribe: &'a [String],
    sayings: &'a mut mpsc::Receiver<Saying>,
    /// What the broker has not acknowledged yet.
    unsaid: Option<Saying>,
    unanswered: Vec<Unanswered>,
    told: &'a mpsc::Sender<Told>,
    /// A connection has been made once.
    met: bool,
}

impl Talk<'_> {
    async fn connect(&mut self) -> Result<(), End> {
        let mqtt = Arc::clone(&self.mqtt);
        let terms = Terms {
            client: "edge-agent-cli",
            max_incoming: MAX_INCOMING,
            waiting: WAITING,
        };
        let work = async |client: &Client, received| {
            self.met = true;
            self.talk(client, received).await
        };
        connected(&mqtt, terms, work).await
    }

    async fn talk(
        &mut self,
        client: &Client,
        mut received: mpsc::Receiver<Received>,
    ) -> Result<(), End> {
        for topic in self.subscribe {
            let subscribed = client.subscribe(topic, true, QoS::AtLeastOnce).await;
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
            let again_at = self.unanswered.iter().map(|it| it.again_at).min();
            tokio::select! {
                Some(message) = received.recv() => self.hear(client, message).await,
                saying = self.sayings.recv() => match saying {
                    Some(saying) => self.unsaid = Some(saying),
                    None => return Ok(()),
                },
                () = sleep_until(again_at) => self.say_again(client).await?,
            }
        }
    }

    /// Publishes what is not with the broker yet.
    async fn say(&mut self, client: &Client, saying: Saying) -> Result<(), End> {
        let (topic, payload) = (saying.topic.clone(), saying.payload.clone());
        let anyone = publish(client, topic.clone(), payload, saying.expiry_seconds).await?;
        self.unsaid = None;
        if saying.until.is_some() {
            self.unanswered.push(Unanswered {
                saying,
                again_at: Instant::now() + AGAIN,
                wait: AGAIN,
                left: REPETITIONS,
            });
        }
        self.tell(Told::Delivered { topic, anyone }).await;
        Ok(())
    }

    /// Says again what is due. That is not told: it is the same order.
    async fn say_again(&mut self, client: &Client) -> Result<(), End> {
        let now = Instant::now();
        for it in self.unanswered.iter_mut().filter(|it| it.again_at <= now) {
            it.left = it.left.saturating_sub(1);
            it.wait *= 2;
            it.again_at = now + it.wait;
            let (topic, payload) = (it.saying.topic.clone(), it.saying.payload.clone());
            publish(client, topic, payload, it.saying.expiry_seconds).await?;
        }
        self.unanswered.retain(|it| it.left > 0);
        Ok(())
    }

    async fn hear(&mut self, client: &Client, message: Received) {
        let topic = String::from_utf8_lossy(&message.topic).into_owned();
        self.unanswered
            .retain(|it| it.saying.until.as_ref() != Some(&topic));
        let payload = message.payload;
        self.tell(Told::Message { topic, payload }).await;
        client.acknowledge(message.ack);
    }

    /// The other side takes everything in for as long as it has something to say.
    async fn tell(&self, told: Told) {
        let _ = self.told.send(told).await;
    }
}

/// Publishes one envelope; says whether anyone subscribes to its topic.
async fn publish(
    client: &Client,
    topic: String,
    payload: Vec<u8>,
    expiry_seconds: Option<u32>,
) -> Result<bool, End> {
    let message = Message {
        topic: topic.clone(),
        payload,
        retain: false,
        expiry_seconds,
        content_type: Some("application/vnd.dsse.envelope.v1+json"),
    };
    match client.publish(message).await {
        Answer::Accepted { anyone } => Ok(anyone),
        Answer::Refused(reason) => Err(End::Refused { topic, reason }),
        // The end of the connection follows, and tells why.
        Answer::Lost => std::future::pending().await,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
