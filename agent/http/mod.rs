//! The local page: what the agent knows, for a browser, a script and Prometheus. Read-only.
//!
//! | path | what it answers |
//! | --- | --- |
//! | `/` | one self-contained HTML page, kept current by `/events` |
//! | `/events` | server-sent events: the whole snapshot at every change, at most two a second |
//! | `/status.json` | the [`Snapshot`] |
//! | `/metrics` | Prometheus text, or OpenMetrics to who asks for it |
//! | `/healthz` | `ok` while the supervisor gives signs of life, else 503 |
//!
//! Where the settings ask for it, `/metrics` alone is served on another address as well, for a Prometheus
//! elsewhere: whatever it calls this machine.
//!
//! The page is open to whoever reaches the socket, so it listens on loopback unless configured
//! otherwise, changes nothing, answers only to names of this machine (DNS rebinding), and bounds
//! what a client can take: connections, header sizes, streams, and the time to send or read.

mod connection;
mod families;
mod hosts;
pub mod metrics;
mod router;
mod sse;

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod metrics_tests;
#[cfg(test)]
mod rhythm_tests;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use edge_agent_core::wire::Snapshot;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use hosts::page_for_others;
pub use metrics::Metrics;
use router::{Freshness, Site};

/// What the page needs to know besides what it shows.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Names of this machine, such as its host name; each is also good with `.local` behind it.
    /// `localhost` and the address that is listened on need not be named.
    pub hostnames: Vec<String>,
    /// How long the snapshot may stay unchanged before `/healthz` says 503. Give it several
    /// sampling intervals, 60 s at the least.
    pub stale_after: Duration,
    /// Serve `/metrics` and nothing else, to whoever asks.
    pub only_metrics: bool,
}

/// Why the page cannot be served.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {listen}: {source}. Is another edge-agent running?")]
pub struct BindError {
    listen: SocketAddr,
    source: std::io::Error,
}

/// Takes the address of the page, so that a busy port is known before anything else starts.
///
/// # Errors
/// When the address is taken or is not one of this machine.
pub async fn bind(listen: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(listen)
        .await
        .map_err(|source| BindError { listen, source })
}

/// Serves the page until `stop`, then lets answers under way end within [`Limits::drain`].
///
/// # Errors
/// When the other end of `snapshots` is gone before `stop`.
pub async fn serve(
    listener: TcpListener,
    settings: Settings,
    snapshots: watch::Receiver<Arc<Snapshot>>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    serve_within(
        Limits::default(),
        listener,
        settings,
        snapshots,
        metrics,
        stop,
    )
    .await
}

/// What a client can take.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Connections at a time; others wait to be accepted.
    connections: usize,
    /// Clients of `/events` at a time; others get 503.
    streams: usize,
    /// Least time between two events of one client.
    event_gap: Duration,
    /// Between two signs of life on a quiet event stream.
    keep_alive: Duration,
    /// For a client to send the head of a request, and for an idle connection to stay.
    read: Duration,
    /// For a client to take what was sent to it.
    write: Duration,
    /// For the answers under way to end after `stop`.
    drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 64,
            streams: 16,
            event_gap: Duration::from_millis(500),
            keep_alive: Duration::from_secs(25),
            read: Duration::from_secs(10),
            write: Duration::from_secs(20),
            drain: Duration::from_secs(1),
        }
    }
}

async fn serve_within(
    limits: Limits,
    listener: TcpListener,
    settings: Settings,
    mut snapshots: watch::Receiver<Arc<Snapshot>>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let freshness = Arc::new(Freshness::new(settings.stale_after));
    let hosts = if settings.only_metrics {
        hosts::Hosts::any()
    } else {
        hosts::Hosts::new(listener.local_addr()?, &settings.hostnames)
    };
    let site = Site {
        hosts: hosts.into(),
        snapshots: snapshots.clone(),
        metrics,
        freshness: Arc::clone(&freshness),
        streams: Arc::new(tokio::sync::Semaphore::new(limits.streams)),
        limits,
        stop: stop.clone(),
    };
    let router = if settings.only_metrics {
        router::metrics_alone(site)
    } else {
        router::router(site)
    };
    // The connections are driven from here and not spawned, so that none outlives this function.
    let mut connections = FuturesUnordered::new();
    loop {
        let free = connections.len() < limits.connections;
        tokio::select! {
            () = stop.cancelled() => break,
            changed = snapshots.changed() => {
                if changed.is_err() && !stop.is_cancelled() {
                    anyhow::bail!("nothing feeds the local page any more");
                }
                freshness.renew();
            }
            accepted = listener.accept(), if free => match accepted {
                Ok((stream, _)) => {
                    connections.push(connection::serve(stream, router.clone(), limits, stop.clone()));
                }
                Err(error) => connection::accept_failed(&error).await,
            },
            Some(()) = connections.next() => {}
        }
    }
    drop(listener);
    while connections.next().await.is_some() {}
    Ok(())
}
