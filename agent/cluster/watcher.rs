//! Follows the Applications of the configured namespaces: a list, then watches from there on.
//! Nothing is kept here; what is seen goes to the supervisor at once.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use edge_agent_core::application::stream::Change;
use edge_agent_core::backoff::Backoff;
use edge_agent_core::event::{Event, Link, LinkStatus};
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{Cluster, ClusterError, KubeCluster, random};
use crate::config;

/// How long an answer may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a watch may be silent. It ends by itself before, so that silence means that nobody is
/// there any more.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// A watch that has ended sooner than this counts as failed, however it has ended.
const SHORT_WATCH: Duration = Duration::from_secs(5);
/// So many watches in a row that open, break soon and bring nothing, and the whole is listed: either it
/// comes that way, or the link is down.
const BARREN_WATCHES: u32 = 3;
const MIN_WAIT: Duration = Duration::from_secs(1);
const MAX_WAIT: Duration = Duration::from_secs(30);
/// How often it is looked whether there is a cluster by now.
const NOT_CONFIGURED_WAIT: Duration = Duration::from_secs(60);
/// The longest that the API server can ask us to wait.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(120);

/// The task that watches.
pub struct Watcher<C = KubeCluster> {
    cluster: C,
    /// Empty when the cluster is turned off.
    namespaces: Vec<String>,
}

/// The supervisor takes no more events.
#[derive(Debug)]
struct Closed;

impl<C: Cluster> Watcher<C> {
    /// Watches the namespaces of the settings.
    pub fn new(cluster: C, settings: &config::Cluster) -> Self {
        let namespaces = match settings.enabled {
            true => settings.namespaces.clone(),
            false => Vec::new(),
        };
        Self {
            cluster,
            namespaces,
        }
    }

    /// Runs until `stop`. Every fault is told as a link that is down, and tried again.
    ///
    /// # Errors
    /// None at present.
    pub async fn run(
        self,
        events: mpsc::Sender<Event>,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        if self.namespaces.is_empty() {
            let _ = events.send(link_changed(LinkStatus::Disabled)).await;
            stop.cancelled().await;
            return Ok(());
        }
        let board = Board::new(self.namespaces.len());
        let mut followers: FuturesUnordered<_> = (self.namespaces.iter().enumerate())
            .map(|(slot, namespace)| {
                let follower = Follower {
                    cluster: &self.cluster,
                    namespace,
                    slot,
                    board: &board,
                    events: &events,
                };
                follower.run()
            })
            .collect();
        tokio::select! {
            () = stop.cancelled() => {}
            _ = followers.next() => debug!("nobody takes events any more"),
        }
        Ok(())
    }
}

/// Follows one namespace.
struct Follower<'a, C> {
    cluster: &'a C,
    namespace: &'a str,
    slot: usize,
    board: &'a Board,
    events: &'a mpsc::Sender<Event>,
}

impl<C: Cluster> Follower<'_, C> {
    async fn run(self) -> Closed {
        let mut backoff = Backoff::new(MIN_WAIT, MAX_WAIT);
        loop {
            let error = match self.list().await {
                Ok(Ok(version)) => match self.watch_from(version, &mut backoff).await {
                    Ok(()) => ClusterError::Gone,
                    Err(closed) => return closed,
                },
                Ok(Err(error)) => {
                    if self.down(&error).await.is_err() {
                        return Closed;
                    }
                    error
                }
                Err(closed) => return closed,
            };
            sleep(wait_after(&error, &mut backoff)).await;
        }
    }

    /// Lists the whole namespace, and gives the version to watch from.
    async fn list(&self) -> Result<Result<String, ClusterError>, Closed> {
        let mut present = BTreeSet::new();
        let mut next: Option<String> = None;
        loop {
            let request = self.cluster.list(self.namespace, next.as_deref());
            let page = match timeout(REQUEST_TIMEOUT, request).await {
                Ok(Ok(page)) => page,
                Ok(Err(error)) => return Ok(Err(error)),
                Err(_) => return Ok(Err(no_answer())),
            };
            if page.unreadable > 0 {
                let (count, namespace) = (page.unreadable, self.namespace);
                warn!(count, namespace, "Applications without a name");
            }
            for app in page.applications {
                present.insert(app.key.clone());
                self.tell(Event::ApplicationChanged(Box::new(app))).await?;
            }
            // A server that names the same page again would keep us here for ever.
            if page.next.is_none() || page.next == next {
                let namespace = self.namespace.to_owned();
                self.tell(Event::ApplicationsListed { namespace, present })
                    .await?;
                self.report(LinkStatus::Up).await?;
                return Ok(Ok(page.resource_version));
            }
            next = page.next;
        }
    }

    /// Watches for as long as the API server remembers where we were, and watches bring something.
    async fn watch_from(&self, mut version: String, backoff: &mut Backoff) -> Result<(), Closed> {
        let mut barren = 0;
        loop {
            let (started, before) = (Instant::now(), version.clone());
            let mut opened = false;
            let ended = self.watch(&mut version, &mut opened).await?;
            let lasted = started.elapsed() >= SHORT_WATCH;
            if lasted {
                backoff.reset();
            }
            if lasted || version != before {
                barren = 0;
            } else if opened && ended.is_err() {
                barren += 1;
            }
            if barren >= BARREN_WATCHES {
                debug!(namespace = self.namespace, "watches bring nothing, listing");
                return Ok(());
            }
            match ended {
                Ok(()) if lasted => continue,
                Ok(()) => {}
                Err(ClusterError::Gone) => {
                    debug!(
                        namespace = self.namespace,
                        "watch is too old, listing again"
                    );
                    return Ok(());
                }
                Err(error) => {
                    debug!(namespace = self.namespace, %error, "watch has ended");
                    sleep(wait_after(&error, backoff)).await;
                    continue;
                }
            }
            sleep(backoff.next(random())).await;
        }
    }

    /// One watch, from its opening to its end. A watch that breaks is opened again before the link
    /// counts as down; one that cannot be opened means that it is.
    async fn watch(
        &self,
        version: &mut String,
        opened: &mut bool,
    ) -> Result<Result<(), ClusterError>, Closed> {
        let opening = self.cluster.watch(self.namespace, version);
        let mut changes = match timeout(REQUEST_TIMEOUT, opening).await {
            Ok(Ok(changes)) => changes,
            Ok(Err(ClusterError::Gone)) => return Ok(Err(ClusterError::Gone)),
            Ok(Err(error)) => {
                self.down(&error).await?;
                return Ok(Err(error));
            }
            Err(_) => {
                let error = no_answer();
                self.down(&error).await?;
                return Ok(Err(error));
            }
        };
        *opened = true;
        self.report(LinkStatus::Up).await?;
        loop {
            let change = match timeout(IDLE_TIMEOUT, changes.next()).await {
                Ok(Some(Ok(change))) => change,
                Ok(Some(Err(error))) => return Ok(Err(error)),
                Ok(None) => return Ok(Ok(())),
                Err(_) => {
                    let silent = "the watch has gone silent".to_owned();
                    return Ok(Err(ClusterError::Interrupted(silent)));
                }
            };
            match change {
                Change::Applied(app) => {
                    version.clone_from(&app.resource_version);
                    self.tell(Event::ApplicationChanged(app)).await?;
                }
                Change::Deleted(key, at) => {
                    *version = at;
                    self.tell(Event::ApplicationDeleted(key)).await?;
                }
                Change::Bookmark(at) => *version = at,
                Change::Failed { code: 410, .. } => return Ok(Err(ClusterError::Gone)),
                Change::Failed { code, message } => {
                    let message = format!("status {code}: {message}");
                    return Ok(Err(ClusterError::Other(message)));
                }
                Change::Unreadable => {
                    warn!(namespace = self.namespace, "a change that cannot be read");
                }
            }
        }
    }

    async fn down(&self, error: &ClusterError) -> Result<(), Closed> {
        let about_all = matches!(
            error,
            ClusterError::NotConfigured(_)
                | ClusterError::Unreachable(_)
                | ClusterError::Unauthorized(_)
                | ClusterError::CrdMissing
        );
        let why = match about_all {
            true => error.to_string(),
            false => format!("namespace {}: {error}", self.namespace),
        };
        self.report(LinkStatus::Down(why)).await
    }

    async fn report(&self, status: LinkStatus) -> Result<(), Closed> {
        match self.board.set(self.slot, status) {
            Some(status) => {
                match &status {
                    LinkStatus::Down(reason) => warn!(%reason, "the cluster is down"),
                    _ => info!(?status, "the cluster"),
                }
                self.tell(link_changed(status)).await
            }
            None => Ok(()),
        }
    }

    async fn tell(&self, event: Event) -> Result<(), Closed> {
        self.events.send(event).await.map_err(|_| Closed)
    }
}

/// The one status of the link, from those of all namespaces.
struct Board {
    inner: Mutex<(Vec<LinkStatus>, LinkStatus)>,
}

impl Board {
    fn new(slots: usize) -> Self {
        Self {
            inner: Mutex::new((vec![LinkStatus::Connecting; slots], LinkStatus::Connecting)),
        }
    }

    /// Notes the status of one namespace; gives the status of the link if it has changed by that.
    fn set(&self, slot: usize, status: LinkStatus) -> Option<LinkStatus> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let (slots, last) = &mut *inner;
        *slots.get_mut(slot)? = status;
        let worst = slots
            .iter()
            .find(|status| matches!(status, LinkStatus::Down(_)))
            .or_else(|| slots.iter().find(|s| **s == LinkStatus::Connecting))
            .unwrap_or(&LinkStatus::Up)
            .clone();
        (worst != *last).then(|| {
            *last = worst.clone();
            worst
        })
    }
}

fn link_changed(status: LinkStatus) -> Event {
    Event::LinkChanged {
        link: Link::Cluster,
        status,
    }
}

fn no_answer() -> ClusterError {
    let seconds = REQUEST_TIMEOUT.as_secs();
    ClusterError::Unreachable(format!("no answer within {seconds} s"))
}

fn wait_after(error: &ClusterError, backoff: &mut Backoff) -> Duration {
    let wait = backoff.next(random());
    match error {
        ClusterError::NotConfigured(_) => NOT_CONFIGURED_WAIT,
        ClusterError::TooManyRequests {
            retry_after: Some(asked),
        } => wait.max((*asked).min(MAX_RETRY_AFTER)),
        _ => wait,
    }
}
