//! What is done when the store does not come back.

use std::time::Duration;

use super::super::Outbox;
use super::Work;

/// How long it may take to set aside what waits: it is the disk that may be at fault.
const SET_ASIDE: Duration = Duration::from_secs(10);

impl Work {
    /// Sets aside what waits, and what a write has that does not return.
    pub(super) async fn set_aside(&mut self, outbox: &Outbox) {
        let mut records = self.group.to_vec();
        records.extend(self.ring.take(usize::MAX));
        let (outbox, count) = (outbox.clone(), records.len());
        let saved = tokio::task::spawn_blocking(move || outbox.set_aside(&records));
        let fault = match tokio::time::timeout(SET_ASIDE, saved).await {
            Ok(Ok(Ok(()))) => {
                tracing::warn!("{count} events are set aside for the next start");
                return;
            }
            Ok(Ok(Err(error))) => error.to_string(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the disk does not answer".to_owned(),
        };
        tracing::error!("{count} events that waited in memory are lost with this process: {fault}");
    }
}
