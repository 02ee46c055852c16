//! The tasks, by the order in which they are to end.

use std::future::Future;

use anyhow::anyhow;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::give_up;

/// When a task is told to stop. Those of one stage stop together, before the next stage is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// What brings events in: the sampler, the watcher, the intake of commands.
    Source,
    /// What carries orders out and writes things down. It ends when its channel closes.
    Work,
    /// The connection to the broker, which sends what is on the medium for as long as there is time.
    Broker,
    /// What shows: the page and the LEDs.
    Display,
}

/// How a task ended, under its name.
type Ended = (&'static str, anyhow::Result<()>);

/// The tasks of one stage.
struct Group {
    stage: Stage,
    set: JoinSet<Ended>,
    stop: CancellationToken,
}

/// Every task of the agent.
pub(super) struct Tasks {
    groups: Vec<Group>,
    /// The first task that ended before it was told to, where that was seen while shutting down.
    fault: Option<anyhow::Error>,
}

impl Tasks {
    pub(super) fn new() -> Self {
        let stages = [Stage::Source, Stage::Work, Stage::Broker, Stage::Display];
        let groups = stages
            .into_iter()
            .map(|stage| Group {
                stage,
                set: JoinSet::new(),
                stop: CancellationToken::new(),
            })
            .collect();
        Self {
            groups,
            fault: None,
        }
    }

    /// The token that tells the tasks of a stage to stop.
    pub(super) fn stop_token(&self, stage: Stage) -> CancellationToken {
        self.group(stage)
            .map(|group| group.stop.clone())
            .unwrap_or_default()
    }

    /// Starts a task.
    pub(super) fn spawn<F>(&mut self, stage: Stage, name: &'static str, task: F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        if let Some(group) = self.groups.iter_mut().find(|group| group.stage == stage) {
            group.set.spawn(async move { (name, task.await) });
        }
    }

    /// Waits for a task to end, which none should, and says why it is a fault that it did.
    pub(super) async fn first_to_end(&mut self) -> anyhow::Error {
        let joins = self
            .groups
            .iter_mut()
            .filter(|group| !group.set.is_empty())
            .map(|group| {
                Box::pin(async {
                    match group.set.join_next().await {
                        Some(ended) => ended,
                        None => std::future::pending().await,
                    }
                })
            });
        let (ended, _, _) = futures::future::select_all(joins).await;
        early_end(ended)
    }

    pub(super) fn stop_sources(&self) {
        if let Some(group) = self.group(Stage::Source) {
            group.stop.cancel();
        }
    }

    pub(super) fn sources_ended(&self) -> bool {
        self.group(Stage::Source)
            .is_none_or(|group| group.set.is_empty())
    }

    /// Waits until one more of the sources has ended; for ever, when all have.
    pub(super) async fn source_ended(&mut self) {
        let group = self
            .groups
            .iter_mut()
            .find(|group| group.stage == Stage::Source);
        let Some(group) = group else {
            return std::future::pending().await;
        };
        match group.set.join_next().await {
            Some(ended) => self.note(ended),
            None => std::future::pending().await,
        }
    }

    /// Stops stage after stage. What has not ended at the deadline is given up.
    ///
    /// # Errors
    /// When a task ended with an error.
    pub(super) async fn stop_in_order(mut self, deadline: Instant) -> anyhow::Result<()> {
        for mut group in std::mem::take(&mut self.groups) {
            group.stop.cancel();
            while !group.set.is_empty() {
                match timeout_at(deadline, group.set.join_next()).await {
                    Ok(Some(ended)) => self.note(ended),
                    Ok(None) => break,
                    Err(_elapsed) => {
                        give_up(&format!("{:?}", group.stage));
                        group.set.abort_all();
                        break;
                    }
                }
            }
        }
        self.fault.map_or(Ok(()), Err)
    }

    fn group(&self, stage: Stage) -> Option<&Group> {
        self.groups.iter().find(|group| group.stage == stage)
    }

    fn note(&mut self, ended: Result<Ended, JoinError>) {
        let fault = match ended {
            Ok((_, Ok(()))) => return,
            Ok((name, Err(error))) => error.context(format!("the task {name} failed")),
            Err(error) => anyhow::Error::new(error).context("a task panicked"),
        };
        error!("{fault:#}");
        self.fault.get_or_insert(fault);
    }
}

/// The fault that an end before time is.
fn early_end(ended: Result<Ended, JoinError>) -> anyhow::Error {
    match ended {
        Ok((name, Ok(()))) => anyhow!("the task {name} ended before it was told to"),
        Ok((name, Err(error))) => error.context(format!("the task {name} failed")),
        Err(error) => anyhow::Error::new(error).context("a task panicked"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn stages_stop_one_after_the_other() {
        let mut tasks = Tasks::new();
        let order = Arc::new(Mutex::new(Vec::new()));
        for (stage, name) in [
            (Stage::Display, "page"),
            (Stage::Source, "sampler"),
            (Stage::Broker, "mqtt"),
        ] {
            let (stop, order) = (tasks.stop_token(stage), Arc::clone(&order));
            tasks.spawn(stage, name, async move {
                stop.cancelled().await;
                order.lock().unwrap().push(name);
                Ok(())
            });
        }
        let deadline = Instant::now() + Duration::from_secs(5);
        tasks.stop_in_order(deadline).await.unwrap();
        assert_eq!(*order.lock().unwrap(), ["sampler", "mqtt", "page"]);
    }

    #[tokio::test]
    async fn a_task_that_ends_early_is_a_fault_with_its_name() {
        let mut tasks = Tasks::new();
        tasks.spawn(Stage::Source, "sampler", async { Ok(()) });
        tasks.spawn(Stage::Broker, "mqtt", std::future::pending());
        let fault = tasks.first_to_end().await;
        assert!(fault.to_string().contains("sampler"), "{fault:#}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_end_is_given_up_at_the_deadline() {
        let mut tasks = Tasks::new();
        tasks.spawn(Stage::Work, "stuck", std::future::pending());
        let deadline = Instant::now() + Duration::from_secs(5);
        tasks.stop_in_order(deadline).await.unwrap();
        assert_eq!(Instant::now(), deadline);
    }
}
