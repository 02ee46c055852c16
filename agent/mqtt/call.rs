//! One question and its answers: how the command line speaks with nodes over the broker.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use edge_agent_core::backoff::Backoff;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::client::{self, Client, Received, Setup};
use super::fault::Fault;
use super::publisher::{Answer, Message, Publish};
use crate::config;

/// What may arrive in one packet, in bytes: a result with its envelope, or any retained value.
const MAX_INCOMING: u32 = 64 * 1024;

/// Messages that may wait to be heard.
const WAITING: usize = 256;

/// How long DISCONNECT may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// What is asked.
#[derive(Debug, Clone, Default)]
pub struct Question {
    /// Topics to subscribe to, retained values included, before anything is published.
    pub subscribe: Vec<String>,
    /// Topics and payloads to publish, once each, with QoS 1, not retained.
    pub publish: Vec<(String, Vec<u8>)>,
}

/// What is heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard<'a> {
    /// The broker has what was published on a topic; `anyone` is false if it says that nobody
    /// subscribes to it.
    Delivered { topic: &'a str, anyone: bool },
    /// A message on a topic that was subscribed to.
    Message { topic: &'a str, payload: &'a [u8] },
    /// The connection was lost, for this reason; it is made anew.
    Interrupted(&'a str),
}

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The broker cannot be reached, or does not let us.
    #[error("{0}")]
    Unreachable(String),
    /// The broker refuses a topic.
    #[error(
        "the broker refuses {topic}: {reason}; check the access list for the user that you connect as"
    )]
    Refused { topic: String, reason: String },
    /// The time is over.
    #[error("no answer within {} s{}", .limit.as_secs(), .fault.as_ref().map(|fault| format!("; {fault}")).unwrap_or_default())]
    TimedOut {
        limit: Duration,
        /// Why the connection was lost in the meantime, if it was and is not back.
        fault: Option<String>,
    },
}

/// Subscribes, publishes, and hands what is heard to `hear` until that breaks or `limit` is over. A
/// connection that is lost later is made anew; one that cannot be made at all is an error at once,
/// because somebody waits.
///
/// # Errors
/// See [`CallError`].
pub async fn call<T>(
    mqtt: &config::Mqtt,
    question: Question,
    limit: Duration,
    mut hear: impl FnMut(Heard<'_>) -> ControlFlow<T>,
) -> Result<T, CallError> {
    let mqtt = Arc::new(mqtt.clone());
    let mut fault = None;
    let attempts = async {
        let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(10));
        let mut left: VecDeque<_> = question.publish.into();
        let mut met = false;
        loop {
            let ended = connect(&mqtt, &question.subscribe, &mut left, &mut met, &mut hear).await;
            match ended {
                Ok(answer) => return Ok(answer),
                Err(End::Refused { topic, reason }) => {
                    return Err(CallError::Refused { topic, reason });
                }
                Err(End::Lost(reason)) if !met => {
                    return Err(CallError::Unreachable(reason.sentence));
                }
                Err(End::Lost(reason)) => {
                    if let ControlFlow::Break(answer) = hear(Heard::Interrupted(&reason.sentence)) {
                        return Ok(answer);
                    }
                    fault = Some(reason.sentence);
                }
            }
            tokio::time::sleep(backoff.next(super::random())).await;
        }
    };
    let outcome = tokio::time::timeout_at(Instant::now() + limit, attempts).await;
    outcome.unwrap_or(Err(CallError::TimedOut { limit, fault }))
}

/// Why one connection ended without an answer.
enum End {
    Lost(Fault),
    Refused { topic: String, reason: String },
}

async fn connect<T>(
    mqtt: &Arc<config::Mqtt>,
    subscribe: &[String],
    left: &mut VecDeque<(String, Vec<u8>)>,
    met: &mut bool,
    hear: &mut impl FnMut(Heard<'_>) -> ControlFlow<T>,
) -> Result<T, End> {
    let setup = Setup {
        client_id: format!("edge-agent-send-{}", ulid::Ulid::generate()),
        will: None,
        clean_start: true,
        max_incoming: MAX_INCOMING,
    };
    let (mut client, event_loop) = client::build_aside(mqtt, setup)
        .await
        .map_err(|error| End::Lost(Fault::new(format!("{error:#}"))))?;
    let (accepted, said) = oneshot::channel();
    let (sender, received) = mpsc::channel(WAITING);
    let drive = client::drive(event_loop, mqtt, accepted, sender, || {});
    let mut drive = std::pin::pin!(drive);
    let talk = async {
        let Ok(accepted) = said.await else {
            // The fault of the connection tells why.
            return std::future::pending().await;
        };
        *met = true;
        client.accept(accepted);
        let talked = talk(&client, subscribe, left, received, hear).await;
        client.disconnect(GOODBYE);
        talked
    };
    let talked = tokio::select! {
        biased;
        talked = talk => talked,
        fault = &mut drive => return Err(End::Lost(fault)),
    };
    // The answer is there; whether the goodbye is heard changes nothing.
    let _ = tokio::time::timeout(GOODBYE, drive).await;
    talked
}

async fn talk<T>(
    client: &Client,
    subscribe: &[String],
    left: &mut VecDeque<(String, Vec<u8>)>,
    mut received: mpsc::Receiver<Received>,
    hear: &mut impl FnMut(Heard<'_>) -> ControlFlow<T>,
) -> Result<T, End> {
    for topic in subscribe {
        let subscribed = client.subscribe(topic, true).await;
        subscribed.map_err(|reason| End::Refused {
            topic: topic.clone(),
            reason,
        })?;
    }
    while let Some((topic, payload)) = left.front().cloned() {
        let message = Message {
            topic: topic.clone(),
            payload,
            retain: false,
            expiry_seconds: None,
            content_type: Some("application/vnd.dsse.envelope.v1+json"),
        };
        let anyone = match client.publish(message).await {
            Answer::Accepted { anyone } => anyone,
            Answer::Refused(reason) => return Err(End::Refused { topic, reason }),
            // The end of the connection follows, and tells why.
            Answer::Lost => return std::future::pending().await,
        };
        left.pop_front();
        let heard = Heard::Delivered {
            topic: &topic,
            anyone,
        };
        if let ControlFlow::Break(answer) = hear(heard) {
            return Ok(answer);
        }
    }
    while let Some(message) = received.recv().await {
        let topic = String::from_utf8_lossy(&message.topic);
        let heard = Heard::Message {
            topic: &topic,
            payload: &message.payload,
        };
        let flow = hear(heard);
        client.acknowledge(message.ack);
        if let ControlFlow::Break(answer) = flow {
            return Ok(answer);
        }
    }
    std::future::pending().await
}
