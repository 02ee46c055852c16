//! The task that tells people what the node did by itself, or saw.
//!
//! A notice is tried for an hour, so that it survives a line that is down for a while. It may be lost:
//! when the agent stops, or when more wait than there is room for. The event of the same thing is in the
//! outbox and is not.

use std::path::PathBuf;
use std::time::Duration;

use edge_agent_core::notice::{Notice, NoticeKind};
use futures::future::join_all;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Receiver;
use super::message::{Message, Outcome};
use crate::config::{Config, Notify, NotifyKind};
use crate::gate::secret::Source;
use crate::gate::web::{Timing, Web};

/// How many notices may wait for one receiver.
const ROOM: usize = 32;

/// How patient the task is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// How long a notice is tried.
    pub(super) total: Duration,
    pub(super) timing: Timing,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            total: Duration::from_secs(3600),
            timing: Timing {
                min_wait: Duration::from_secs(5),
                max_wait: Duration::from_secs(300),
                ..Timing::default()
            },
        }
    }
}

/// Somebody who is told of some things.
#[derive(Debug, Clone)]
pub(crate) struct Subscriber {
    /// The name in the settings.
    pub(super) name: String,
    pub(super) receiver: Receiver,
    pub(super) on: Vec<NoticeKind>,
    pub(super) ca_file: Option<PathBuf>,
}

/// Those whom the settings name.
pub(crate) fn subscribers(config: &Config) -> Vec<Subscriber> {
    let subscriber = |(name, own): (&String, &Notify)| {
        let url = Source::File(own.url_file.clone());
        let token = own.token_file.clone().map(Source::File);
        Subscriber {
            name: name.clone(),
            receiver: match own.kind {
                NotifyKind::Slack => Receiver::Slack { url },
                NotifyKind::Ntfy => Receiver::Ntfy { url, token },
                NotifyKind::Json => Receiver::Json { url, token },
            },
            on: own.on.clone(),
            ca_file: own.ca_file.clone(),
        }
    };
    config.notify.iter().map(subscriber).collect()
}

/// Tells each notice to those who want to know of it, until `stop`. One receiver that does not answer
/// keeps no other waiting.
///
/// # Errors
/// Never: what receivers do is logged.
pub(crate) async fn run(
    node: String,
    subscribers: Vec<Subscriber>,
    notices: mpsc::Receiver<Notice>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    run_patiently(node, subscribers, Patience::default(), notices, stop).await;
    Ok(())
}

pub(super) async fn run_patiently(
    node: String,
    subscribers: Vec<Subscriber>,
    patience: Patience,
    notices: mpsc::Receiver<Notice>,
    stop: CancellationToken,
) {
    let (queues, waiting): (Vec<_>, Vec<_>) =
        subscribers.iter().map(|_| mpsc::channel(ROOM)).unzip();
    let loops = subscribers.iter().zip(waiting);
    let loops = loops.map(|(subscriber, waiting)| serve(subscriber, patience, waiting));
    let telling = futures::future::join(
        distribute(&node, &subscribers, queues, patience, notices),
        join_all(loops),
    );
    tokio::select! {
        () = stop.cancelled() => {}
        _ = telling => stop.cancelled().await,
    }
}

async fn distribute(
    node: &str,
    subscribers: &[Subscriber],
    queues: Vec<mpsc::Sender<(Message, Instant)>>,
    patience: Patience,
    mut notices: mpsc::Receiver<Notice>,
) {
    while let Some(notice) = notices.recv().await {
        let until = Instant::now() + patience.total;
        for (subscriber, queue) in subscribers.iter().zip(&queues) {
            if !subscriber.on.contains(&notice.kind) {
                continue;
            }
            if queue.try_send((message(node, &notice), until)).is_err() {
                let name = &subscriber.name;
                warn!(notify = %name, title = %notice.title, "too much waits to be told; left out");
            }
        }
    }
}

async fn serve(
    subscriber: &Subscriber,
    patience: Patience,
    mut waiting: mpsc::Receiver<(Message, Instant)>,
) {
    while let Some((message, until)) = waiting.recv().await {
        let name = &subscriber.name;
        match tell(subscriber, patience, &message, until).await {
            Ok(()) => info!(notify = %name, title = %message.heading(), "told"),
            Err(why) => warn!(notify = %name, title = %message.heading(), %why, "not told"),
        }
    }
}

async fn tell(
    subscriber: &Subscriber,
    patience: Patience,
    message: &Message,
    until: Instant,
) -> Result<(), String> {
    // Made for each notice: they are rare, certificates take memory, and may have been renewed.
    let ca_file = subscriber.ca_file.clone();
    let made = tokio::task::spawn_blocking(move || Web::new(ca_file.as_deref(), patience.timing));
    let web = match made.await {
        Ok(Ok(web)) => web,
        Ok(Err(error)) => return Err(format!("{error:#}")),
        Err(_) => return Err("the client could not be made".to_owned()),
    };
    subscriber.receiver.tell(message, &web, until).await
}

fn message(node: &str, notice: &Notice) -> Message {
    let who = match notice.who.as_slice() {
        [] => format!("{node}, by itself"),
        keys => keys.join(", "),
    };
    Message {
        outcome: match notice.good {
            true => Outcome::Succeeded,
            false => Outcome::Failed,
        },
        title: format!("{} on {node}", notice.title),
        application: notice.application.clone(),
        place: Some(node.to_owned()),
        revision: notice.revision.clone(),
        revision_link: None,
        reference: None,
        link: None,
        who: Some(who),
        seconds: None,
        text: Some(notice.message.clone()),
        nodes: Vec::new(),
        at: notice.at,
    }
}
