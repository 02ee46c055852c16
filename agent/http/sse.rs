//! `/events`: the snapshot at every change, as server-sent events.
//!
//! Each client holds a receiver of the watch channel and nothing else: what it was too slow to see
//! is gone, and memory does not grow with it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use edge_agent_core::wire::Snapshot;
use futures::Stream;
use futures::stream;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Limits;

/// What a browser waits before it connects again.
const RETRY: Duration = Duration::from_secs(3);

/// The event stream of one client; `place` is given back when it ends.
pub(super) fn events(
    snapshots: watch::Receiver<Arc<Snapshot>>,
    limits: Limits,
    stop: CancellationToken,
    place: OwnedSemaphorePermit,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let feed = Feed {
        snapshots,
        gap: limits.event_gap,
        last: None,
        stop,
        _place: place,
    };
    Sse::new(stream::unfold(feed, Feed::next))
        .keep_alive(KeepAlive::new().interval(limits.keep_alive))
}

struct Feed {
    snapshots: watch::Receiver<Arc<Snapshot>>,
    gap: Duration,
    /// When the client last got something.
    last: Option<Instant>,
    stop: CancellationToken,
    _place: OwnedSemaphorePermit,
}

impl Feed {
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        if let Some(last) = self.last {
            let stop = self.stop.clone();
            tokio::select! {
                () = stop.cancelled() => return None,
                due = self.due(last + self.gap) => due?,
            }
        }
        let snapshot = Arc::clone(&self.snapshots.borrow_and_update());
        let json = match serde_json::to_string(&*snapshot) {
            Ok(json) => json,
            Err(error) => {
                tracing::error!(%error, "the snapshot cannot be written as JSON");
                return None;
            }
        };
        let first = self.last.replace(Instant::now()).is_none();
        let event = Event::default().data(json);
        let event = if first { event.retry(RETRY) } else { event };
        Some((Ok(event), self))
    }

    /// Waits for a change and for the gap to be over; `None` when there will be no more changes.
    async fn due(&mut self, gap_over: Instant) -> Option<()> {
        self.snapshots.changed().await.ok()?;
        tokio::time::sleep_until(gap_over).await;
        Some(())
    }
}
