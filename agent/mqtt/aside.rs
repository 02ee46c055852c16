//! One connection beside the agent's own, for work that has an end: the command line and the load
//! generator speak over such.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::client::{self, Client, Received, Setup};
use super::fault::Fault;
use crate::config;

/// How long DISCONNECT may take.
pub(super) const GOODBYE: Duration = Duration::from_secs(1);

/// Why there is no talk.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TalkError {
    /// The broker cannot be reached, or does not let us.
    #[error("{0}")]
    Unreachable(String),
    /// The broker refuses a topic.
    #[error(
        "the broker refuses {topic}: {reason}; check the access list for the user that you connect as"
    )]
    Refused { topic: String, reason: String },
}

/// Why one connection ended early.
pub(super) enum End {
    Lost(Fault),
    Refused { topic: String, reason: String },
}

impl End {
    /// Why the connection was lost, if it is worth another try: one that was never made is not.
    pub(super) fn interruption(self, met: bool) -> Result<String, TalkError> {
        match self {
            Self::Refused { topic, reason } => Err(TalkError::Refused { topic, reason }),
            Self::Lost(fault) if met => Ok(fault.sentence),
            Self::Lost(fault) => Err(TalkError::Unreachable(fault.sentence)),
        }
    }
}

/// How a connection is made.
pub(super) struct Terms {
    /// The beginning of the client id.
    pub(super) client: &'static str,
    /// What may arrive in one packet, in bytes.
    pub(super) max_incoming: u32,
    /// Messages that may wait to be heard.
    pub(super) waiting: usize,
}

/// Connects, does `work` once the broker has accepted, and says goodbye.
pub(super) async fn connected(
    mqtt: &Arc<config::Mqtt>,
    terms: Terms,
    work: impl AsyncFnOnce(&Client, mpsc::Receiver<Received>) -> Result<(), End>,
) -> Result<(), End> {
    let setup = Setup {
        client_id: format!("{}-{}", terms.client, ulid::Ulid::generate()),
        will: None,
        clean_start: true,
        max_incoming: terms.max_incoming,
    };
    let (mut client, event_loop) = client::build_aside(mqtt, setup)
        .await
        .map_err(|error| End::Lost(Fault::new(format!("{error:#}"))))?;
    let (accepted, said) = oneshot::channel();
    let (sender, received) = mpsc::channel(terms.waiting);
    let drive = client::drive(event_loop, mqtt, accepted, sender, || {});
    let mut drive = std::pin::pin!(drive);
    let working = async {
        let Ok(accepted) = said.await else {
            // The fault of the connection tells why.
            return std::future::pending().await;
        };
        client.accept(accepted);
        let ended = work(&client, received).await;
        client.disconnect(GOODBYE);
        ended
    };
    let ended = tokio::select! {
        biased;
        ended = working => ended,
        fault = &mut drive => return Err(End::Lost(fault)),
    };
    // Everything is said; whether the goodbye is heard changes nothing.
    let _ = tokio::time::timeout(GOODBYE, drive).await;
    ended
}
