//! Many messages over one connection, for whoever speaks for many nodes at once: the load generator.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use edge_agent_core::backoff::Backoff;
use futures::StreamExt;
use futures::stream::FuturesOrdered;
use tokio::sync::mpsc;

use super::aside::{End, TalkError, Terms, connected};
use super::client::{Client, IN_FLIGHT};
use super::publisher::{Answer, Message, Publish};
use crate::config;

/// What may arrive in one packet, in bytes. Nothing is subscribed to.
const MAX_INCOMING: u32 = 1024;

/// Publishes what comes over `messages`, in its order, until that closes and all of it is with the
/// broker. A connection that is lost is made anew, and `interrupted` is told why; what the broker has
/// not acknowledged is sent again, and so is the latest value of every retained topic, because the
/// broker may have forgotten it.
///
/// # Errors
/// When the broker cannot be reached in the first place, or refuses a topic.
pub async fn publish_all(
    mqtt: &config::Mqtt,
    mut messages: mpsc::Receiver<Message>,
    interrupted: impl Fn(String),
) -> Result<(), TalkError> {
    let mut stream = Stream {
        mqtt: Arc::new(mqtt.clone()),
        messages: &mut messages,
        again: VecDeque::new(),
        unanswered: VecDeque::new(),
        retained: BTreeMap::new(),
        met: false,
    };
    let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(10));
    loop {
        let Err(end) = stream.connect().await else {
            return Ok(());
        };
        interrupted(end.interruption(stream.met)?);
        stream.take_up();
        tokio::time::sleep(backoff.next(super::random())).await;
    }
}

struct Stream<'a> {
    mqtt: Arc<config::Mqtt>,
    messages: &'a mut mpsc::Receiver<Message>,
    /// What is sent first, because an earlier connection was lost.
    again: VecDeque<Message>,
    /// What the broker has not acknowledged, in its order.
    unanswered: VecDeque<Message>,
    /// The latest values, those left out that the broker is to forget by itself.
    retained: BTreeMap<String, Message>,
    /// A connection has been made once.
    met: bool,
}

impl Stream<'_> {
    /// What the next connection begins with: all values as they are, then what was under way.
    fn take_up(&mut self) {
        let unsent = std::mem::take(&mut self.again);
        let values = self.retained.values().cloned();
        let under_way = self.unanswered.drain(..);
        self.again = values.chain(under_way).chain(unsent).collect();
    }

    async fn connect(&mut self) -> Result<(), End> {
        let mqtt = Arc::clone(&self.mqtt);
        let terms = Terms {
            client: "edge-agent-bulk",
            max_incoming: MAX_INCOMING,
            waiting: 1,
        };
        let work = async |client: &Client, _received| {
            self.met = true;
            self.work(client).await
        };
        connected(&mqtt, terms, work).await
    }

    async fn work(&mut self, client: &Client) -> Result<(), End> {
        let mut answers = FuturesOrdered::new();
        let mut open = true;
        loop {
            let room = answers.len() < usize::from(IN_FLIGHT);
            if room && let Some(message) = self.again.pop_front() {
                answers.push_back(self.send(client, message));
                continue;
            }
            tokio::select! {
                Some(answer) = answers.next() => match answer {
                    Answer::Accepted { .. } => drop(self.unanswered.pop_front()),
                    Answer::Refused(reason) => {
                        let refused = self.unanswered.pop_front();
                        let topic = refused.map_or_else(String::new, |message| message.topic);
                        return Err(End::Refused { topic, reason });
                    }
                    // The end of the connection follows, and tells why.
                    Answer::Lost => std::future::pending().await,
                },
                message = self.messages.recv(), if room && open => match message {
                    Some(message) => answers.push_back(self.send(client, message)),
                    None => open = false,
                },
                else => return Ok(()),
            }
        }
    }

    fn send(
        &mut self,
        client: &Client,
        message: Message,
    ) -> futures::future::BoxFuture<'static, Answer> {
        self.unanswered.push_back(message.clone());
        if message.retain && message.payload.is_empty() {
            self.retained.remove(&message.topic);
        } else if message.retain && message.expiry_seconds.is_none() {
            self.retained.insert(message.topic.clone(), message.clone());
        }
        client.publish(message)
    }
}
