//! Our side of the session that the broker keeps, which holds nothing.

use futures::future::BoxFuture;
use rumqttc::{
    PersistedAckMode, PersistedSession, SessionStore, SessionStoreError, SessionStoreKey,
};

use super::client::IN_FLIGHT;

/// The state of our side of the session, which is none: what was in flight is still in the outbox.
///
/// Without it rumqttc takes a session that the broker has kept for one that it does not know, and
/// then refuses every publish above QoS 0 for as long as the connection lasts.
#[derive(Debug)]
pub(super) struct EmptySession;

type StoreResult<'a, T> = BoxFuture<'a, Result<T, SessionStoreError>>;

impl SessionStore for EmptySession {
    fn load<'a>(&'a self, key: &'a SessionStoreKey) -> StoreResult<'a, Option<PersistedSession>> {
        let session = PersistedSession {
            format_version: 1,
            client_id: key.client_id().to_owned(),
            clean_start: false,
            // Only looked at by stores that keep something.
            session_expiry_interval: None,
            outgoing_inflight_upper_limit: Some(IN_FLIGHT),
            ack_mode: PersistedAckMode::Manual,
            last_pkid: 0,
            last_puback: 0,
            replay: Vec::new(),
            incoming_qos2: Vec::new(),
        };
        Box::pin(std::future::ready(Ok(Some(session))))
    }

    fn save<'a>(&'a self, _: &'a SessionStoreKey, _: &'a PersistedSession) -> StoreResult<'a, ()> {
        Box::pin(std::future::ready(Ok(())))
    }

    fn clear<'a>(&'a self, _: &'a SessionStoreKey) -> StoreResult<'a, ()> {
        Box::pin(std::future::ready(Ok(())))
    }
}
