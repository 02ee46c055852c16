//! The task that writes the outbox. What arrives while a write is on its way goes down together
//! with the next one, so that a burst costs one sync and not one for each record; what the disk
//! refuses waits in memory, within bounds, and is written when the disk is back. When the store itself
//! does not come back, what waits is set aside for the next life of the agent.

mod report;
mod ring;
mod set_aside;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use edge_agent_core::backoff::Backoff;
use edge_agent_core::event::{Event, Fact, OutboxStatus};
use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::dropped::{count, merge};
use super::record::NewRecord;
use super::{Appended, Dropped, Outbox, OutboxError};
use report::answered;
use ring::Ring;

/// Records that may wait between the senders and the writer.
const CHANNEL: usize = 256;

/// Records that go down in one write.
const GROUP: usize = 256;

/// The shortest time between two `edge.outbox.dropped`: each takes room itself.
const DROPPED_EVERY: Duration = Duration::from_secs(60);

/// A write that takes this long is told.
const SLOW: Duration = Duration::from_secs(15);

/// A write that takes this long does not come back any more: sled waits for ever for a thread of its
/// own whose write has failed. Nothing but a new process helps then.
const HUNG: Duration = Duration::from_secs(60);

/// Where records are handed in. Clones feed the same writer.
#[derive(Debug, Clone)]
pub struct OutboxSender(mpsc::Sender<NewRecord>);

impl OutboxSender {
    /// The channel itself, for a sender that must not wait.
    #[must_use]
    pub fn into_channel(self) -> mpsc::Sender<NewRecord> {
        self.0
    }

    /// Hands in a fact for the topic `event`. Waits only while the writer has not taken the last
    /// few hundred, and it takes them also while the disk is slow. After the writer has ended the
    /// fact is lost, which is logged.
    pub async fn record(&self, fact: Fact) {
        self.send(NewRecord::event(fact)).await;
    }

    /// Hands in the sealed answer to a command, for the topic `result/<command>`.
    pub async fn answer(&self, command: String, envelope: Vec<u8>, at: Timestamp) {
        self.send(NewRecord::Result {
            command,
            envelope,
            at,
        })
        .await;
    }

    async fn send(&self, record: NewRecord) {
        if let Err(error) = self.0.send(record).await {
            tracing::error!(record = ?error.0, "the outbox has been closed; this is lost");
        }
    }
}

/// The task itself; [`Writer::run`] is to be spawned.
pub struct Writer<F> {
    outbox: Outbox,
    records: mpsc::Receiver<NewRecord>,
    events: mpsc::Sender<Event>,
    on_sync: F,
}

/// Joins a sender and the writer. `on_sync` is told of every write that reached the medium: how long
/// it took and how many records it held.
pub fn writer<F>(
    outbox: Outbox,
    events: mpsc::Sender<Event>,
    on_sync: F,
) -> (OutboxSender, Writer<F>)
where
    F: Fn(Duration, usize) + Send,
{
    let (sender, records) = mpsc::channel(CHANNEL);
    let writer = Writer {
        outbox,
        records,
        events,
        on_sync,
    };
    (OutboxSender(sender), writer)
}

type Write = Pin<Box<dyn Future<Output = WriteResult> + Send>>;

impl<F: Fn(Duration, usize) + Send> Writer<F> {
    /// Runs until every [`OutboxSender`] is gone and what they handed in is written; what cannot be
    /// written then is tried once more, and given up.
    ///
    /// # Errors
    /// When a write does not return: the process is to be started anew.
    pub async fn run(mut self) -> anyhow::Result<()> {
        let mut work = Work::new(&self.outbox);
        let mut open = true;
        loop {
            work.start_write(&self.outbox, open);
            work.notice_slow_write();
            if !open && work.is_done() {
                break;
            }
            let report = work.next_report();
            let (wake, hung_at) = (work.next_wake(), work.hung_at());
            tokio::select! {
                biased;
                record = self.records.recv(), if open => match record {
                    Some(record) => work.take(record, &self.outbox),
                    None => open = false,
                },
                result = wait(&mut work.write) => {
                    work.written(result, &self.outbox, &self.on_sync);
                }
                permit = self.events.reserve(), if report.is_some() => match (permit, report) {
                    (Ok(permit), Some(report)) => permit.send(work.reported(report)),
                    // The supervisor has gone: there is nobody to tell any more.
                    _ => work.silent = true,
                },
                () = tokio::time::sleep_until(hung_at.unwrap_or(wake)), if hung_at.is_some() => {
                    work.set_aside(&self.outbox).await;
                    let seconds = HUNG.as_secs();
                    anyhow::bail!("a write of the outbox has not returned for {seconds} s");
                }
                _ = work.changes.changed() => work.look(&self.outbox),
                () = tokio::time::sleep_until(wake) => {}
            }
        }
        if work.ring.len() > 0 {
            let fault = work.fault.clone().unwrap_or_default();
            tracing::error!("not all could be written at the end: {fault}");
            work.set_aside(&self.outbox).await;
        }
        Ok(())
    }
}

/// Waits for the write that is on its way, or for ever.
async fn wait(write: &mut Option<(Instant, Write)>) -> (Duration, WriteResult) {
    match write {
        Some((started, future)) => {
            let result = future.await;
            (started.elapsed(), result)
        }
        None => std::future::pending().await,
    }
}

type WriteResult = Result<Appended, OutboxError>;

struct Work {
    ring: Ring,
    write: Option<(Instant, Write)>,
    /// What the write that is on its way writes.
    group: Arc<Vec<NewRecord>>,
    /// An earlier life has set something aside.
    rescues: bool,
    backoff: Backoff,
    retry_at: Instant,
    fault: Option<String>,
    reported_fault: Option<String>,
    changes: watch::Receiver<u64>,
    status: OutboxStatus,
    reported_status: OutboxStatus,
    report_at: Instant,
    /// Why a store was moved aside, until that is told.
    damaged: Option<String>,
    /// Answers that were stored, by their commands, until that is told.
    answered: Vec<String>,
    /// What the ring had to let go.
    dropped: Vec<Dropped>,
    /// The outbox itself has dropped something that is not told yet.
    untold: bool,
    dropped_at: Instant,
    last_try: bool,
    told_at_end: bool,
    silent: bool,
}

impl Work {
    fn new(outbox: &Outbox) -> Self {
        let now = Instant::now();
        Self {
            ring: Ring::default(),
            write: None,
            group: Arc::default(),
            rescues: outbox.has_set_aside(),
            backoff: Backoff::new(Duration::from_millis(250), Duration::from_secs(30)),
            retry_at: now,
            fault: None,
            reported_fault: None,
            changes: outbox.changes(),
            status: outbox.status(),
            reported_status: OutboxStatus::default(),
            report_at: now,
            damaged: None,
            answered: Vec::new(),
            dropped: Vec::new(),
            untold: outbox.has_untold(),
            dropped_at: now,
            last_try: false,
            told_at_end: false,
            silent: false,
        }
    }

    fn take(&mut self, record: NewRecord, outbox: &Outbox) {
        let dropped = self.ring.push(record);
        self.account(outbox, &dropped);
    }

    /// Counts what the ring had to let go.
    fn account(&mut self, outbox: &Outbox, dropped: &[Dropped]) {
        outbox.count_dropped(count(dropped));
        merge(&mut self.dropped, dropped);
        self.look(outbox);
    }

    fn look(&mut self, outbox: &Outbox) {
        self.status = outbox.status();
        self.untold = outbox.has_untold();
        self.damaged = outbox.damage().or(self.damaged.take());
    }

    /// Whether there are drops to be told.
    fn has_dropped(&self) -> bool {
        self.untold || !self.dropped.is_empty()
    }

    /// Starts a write if there is something to write and nothing in the way.
    fn start_write(&mut self, outbox: &Outbox, open: bool) {
        let now = Instant::now();
        if self.write.is_some() || (now < self.retry_at && open) || self.last_try {
            return;
        }
        // At the end once more, and only once: what tells of the loss may cost another record.
        let due = now >= self.dropped_at || (!open && !self.told_at_end);
        let tell = self.has_dropped() && due && self.fault.is_none();
        if tell {
            self.dropped_at = now + DROPPED_EVERY;
            self.told_at_end = !open;
            for drop in std::mem::take(&mut self.dropped) {
                let dropped = self.ring.push(NewRecord::event(drop.fact()));
                self.account(outbox, &dropped);
            }
        }
        let group = self.ring.take(GROUP);
        if group.is_empty() && !tell && !self.rescues {
            return;
        }
        self.last_try = !open && self.fault.is_some();
        self.group = Arc::new(group);
        let (outbox, group) = (outbox.clone(), Arc::clone(&self.group));
        let rescues = self.rescues;
        // Started here and now: the records are on their way whatever the loop does next.
        let task = tokio::task::spawn_blocking(move || {
            if rescues {
                outbox.take_in()?;
            }
            if group.is_empty() && !tell {
                return Ok(Appended::default());
            }
            match tell {
                true => outbox.append_and_tell(&group),
                false => outbox.append(&group),
            }
        });
        let write = async move {
            task.await.unwrap_or_else(|error| {
                let reason = format!("the write ended early: {error}");
                Err(OutboxError::Unavailable(reason))
            })
        };
        self.write = Some((now, Box::pin(write)));
    }

    fn written(
        &mut self,
        (took, result): (Duration, WriteResult),
        outbox: &Outbox,
        on_sync: &impl Fn(Duration, usize),
    ) {
        self.write = None;
        let group = Arc::unwrap_or_clone(std::mem::take(&mut self.group));
        match result {
            Ok(Appended { stored, last, .. }) => {
                self.rescues = false;
                if stored > 0 {
                    on_sync(took, stored);
                }
                self.answered.extend(group.into_iter().filter_map(answered));
                tracing::debug!(stored, last, "events are on the medium");
                if self.fault.take().is_some() {
                    tracing::info!("the outbox can be written again");
                }
                self.backoff.reset();
                self.last_try = false;
                self.look(outbox);
            }
            Err(error) => {
                let fault = format!("{error}; events wait in memory");
                if self.fault.is_none() {
                    tracing::error!("{fault}");
                }
                self.fault = Some(fault);
                self.retry_at = Instant::now() + self.backoff.next(0.5);
                let dropped = self.ring.put_back(group);
                self.account(outbox, &dropped);
            }
        }
    }

    /// Nothing is left to do, or what is left has been tried for the last time.
    fn is_done(&self) -> bool {
        self.write.is_none() && (self.ring.len() == 0 || self.last_try)
    }

    /// When the write that is on its way counts as hung.
    fn hung_at(&self) -> Option<Instant> {
        self.write.as_ref().map(|(started, _)| *started + HUNG)
    }

    /// When the write that is on its way is to be told as slow.
    fn slow_at(&self) -> Option<Instant> {
        let (started, _) = self.write.as_ref()?;
        self.fault.is_none().then(|| *started + SLOW)
    }

    fn notice_slow_write(&mut self) {
        if self.slow_at().is_some_and(|at| at <= Instant::now()) {
            let seconds = SLOW.as_secs();
            let fault = format!("a write has not returned for {seconds} s; events wait in memory");
            tracing::error!("{fault}");
            self.fault = Some(fault);
        }
    }

    /// When there is something to do although nothing happens.
    fn next_wake(&self) -> Instant {
        let far = Instant::now() + Duration::from_secs(3600);
        let retry = (self.write.is_none() && self.ring.len() > 0).then_some(self.retry_at);
        let report =
            (!self.silent && self.status != self.reported_status).then_some(self.report_at);
        let dropped = (self.has_dropped() && self.fault.is_none()).then_some(self.dropped_at);
        let wakes = [retry, report, dropped, self.slow_at()]
            .into_iter()
            .flatten();
        wakes
            .filter(|at| *at > Instant::now())
            .fold(far, Instant::min)
    }
}

#[cfg(test)]
mod tests;
