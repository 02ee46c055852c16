//! The fleet on a broker: in time, over a few connections, until it is to end.

use std::cell::RefCell;
use std::time::Duration;

use anyhow::{Context, bail};
use edge_agent::config;
use edge_agent::mqtt::Message;
use edge_agent::mqtt::bulk::publish_all;
use futures::future::try_join_all;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::node::ARRIVAL;
use super::tally::Tally;
use super::{Fleet, Shape};

/// Messages that may wait for one connection.
const WAITING: usize = 256;

/// How long the end may take: a broker that is gone cannot be cleared.
const END: Duration = Duration::from_secs(60);

/// When the beginning is over, in which every node tells everything: what comes after it is counted.
const BEGINNING: Duration = ARRIVAL.saturating_add(Duration::from_secs(20));

/// A fleet, and how it is to run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) shape: Shape,
    pub(crate) connections: usize,
    /// Seconds of the fleet in one of ours.
    pub(crate) speed: f64,
    /// Time of the fleet; `None` until it is stopped.
    pub(crate) duration: Option<Duration>,
    /// Leave the retained topics.
    pub(crate) keep: bool,
}

/// What has been sent.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Until everything had been told once.
    pub(crate) beginning: Tally,
    /// From then on, and over how much time of the fleet.
    pub(crate) after: Tally,
    pub(crate) over: Duration,
    /// Time of the fleet by which it was behind at the end, because the broker takes no more.
    pub(crate) behind: Duration,
    /// Topics that were cleared, if they were.
    pub(crate) cleared: Option<usize>,
}

impl Report {
    /// What a person wants to know of it.
    pub(crate) fn text(&self, nodes: u32) -> String {
        let (messages, bytes) = self.beginning.total();
        let mut text = format!("At the start {messages} messages with {bytes} bytes.\n");
        if self.over.is_zero() {
            text += "That was too short to say what a node sends in a day.\n";
        } else {
            let minutes = self.over.as_secs_f64() / 60.0;
            let day = self.after.of_a_day(nodes, self.over);
            text += &format!("Then, over {minutes:.1} minutes of the fleet");
            text += &format!("; bytes are those of topic and payload:\n\n{day}\n");
        }
        if self.behind > Duration::from_secs(5) {
            let behind = self.behind.as_secs();
            text += &format!("The fleet was {behind} s behind at the end");
            text += ": this machine or the broker is too slow.\n";
        }
        if let Some(cleared) = self.cleared {
            text += &format!("{cleared} retained topics are withdrawn.\n");
        }
        text
    }
}

/// Runs the fleet until its time is over or `stop` resolves, then withdraws it or lets it say
/// goodbye. `interrupted` is told when a connection is lost; it is made anew.
///
/// # Errors
/// When the broker cannot be reached in the first place, refuses a topic, or is gone at the end.
pub(crate) async fn run(
    mqtt: &config::Mqtt,
    plan: &Plan,
    stop: impl Future<Output = ()>,
    interrupted: impl Fn(String),
) -> anyhow::Result<Report> {
    let mut fleet = Fleet::new(&plan.shape)?;
    let connections = plan.connections.clamp(1, plan.shape.nodes.max(1));
    let (senders, receivers): (Vec<_>, Vec<_>) =
        (0..connections).map(|_| mpsc::channel(WAITING)).unzip();
    let links = receivers
        .into_iter()
        .map(|messages| publish_all(mqtt, messages, &interrupted));
    let mut links = std::pin::pin!(try_join_all(links));
    let report = RefCell::new(Report::default());
    let feed = feed(&mut fleet, plan, &senders, &report);
    tokio::select! {
        biased;
        ended = &mut links => bail!(ended.err().map_or_else(
            || "the connections ended".to_owned(),
            |error| error.to_string(),
        )),
        () = stop => {}
        () = feed => {}
    }
    let mut report = report.into_inner();
    let at = report.over;
    report.over = at.saturating_sub(BEGINNING);
    let last = fleet.end(at, plan.keep);
    report.cleared = (!plan.keep).then(|| last.iter().map(Vec::len).sum());
    let say = async {
        for (number, messages) in last.into_iter().enumerate() {
            for message in messages {
                // A connection that has ended has told its fault.
                let _ = senders[number % senders.len()].send(message).await;
            }
        }
        drop(senders);
        Ok(())
    };
    let end = async { tokio::try_join!(say, links) };
    let ended = tokio::time::timeout(END, end).await;
    ended.context("the broker did not take the end in time: retained topics are left there")??;
    Ok(report)
}

/// Sends what the nodes send, when they do.
async fn feed(
    fleet: &mut Fleet,
    plan: &Plan,
    senders: &[mpsc::Sender<Message>],
    report: &RefCell<Report>,
) {
    let began = Instant::now();
    loop {
        let next = fleet.next();
        if plan.duration.is_some_and(|duration| next > duration) {
            break;
        }
        let due = began + next.div_f64(plan.speed);
        tokio::time::sleep_until(due).await;
        let (number, sent) = fleet.step();
        {
            let mut report = report.borrow_mut();
            report.over = next;
            report.behind = due.elapsed().mul_f64(plan.speed);
            let tally = match next < BEGINNING {
                true => &mut report.beginning,
                false => &mut report.after,
            };
            for (kind, message) in &sent {
                tally.count(kind, message.topic.len() + message.payload.len());
            }
        }
        for (_, message) in sent {
            // A connection that has ended has told its fault.
            let _ = senders[number % senders.len()].send(message).await;
        }
    }
}
