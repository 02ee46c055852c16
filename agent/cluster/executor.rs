//! Carries out orders: reads the Application, makes the plan, and writes it under the test that
//! nobody else has written meanwhile. A command is never written a second time while it is unknown
//! what became of the first: every try begins with a look for its id.

use std::time::Duration;

use edge_agent_core::backoff::Backoff;
use edge_agent_core::command::payload::RollbackTarget;
use edge_agent_core::command::{Refusal, RefusalCode};
use edge_agent_core::event::Event;
use edge_agent_core::rollout::{
    Applied, Order, OrderKind, Outcome, Plan, annotations, plan, remainder, trace,
};
use futures::stream::{FuturesUnordered, StreamExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{Cluster, ClusterError, KubeCluster, random};
use crate::config;

/// Orders that are carried out at the same time.
const CONCURRENT: usize = 4;
/// How long an answer may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an order may wait for the API server, or for an operation to end.
const PATIENCE: Duration = Duration::from_secs(30);
/// The same, once a patch was sent of which it is not known whether it was applied.
const UNCERTAIN_PATIENCE: Duration = Duration::from_secs(120);
/// The same for a lookup: after a power cut the API server needs minutes, and there is no hurry.
const LOOKUP_PATIENCE: Duration = Duration::from_secs(600);
/// How long others may write the Application in between again and again. Argo CD itself writes several
/// times a second while an operation runs, so a number of tries would soon be used up.
const CONFLICT_PATIENCE: Duration = Duration::from_secs(15);
/// How often it is looked whether an operation has ended.
const ENDING_POLL: Duration = Duration::from_millis(500);
/// How long orders under way get when the agent stops. What is cut off is looked up after the start.
const DRAIN: Duration = Duration::from_secs(5);

/// The task that writes.
pub struct Executor<C = KubeCluster> {
    cluster: C,
    node: String,
    enabled: bool,
}

/// What one try has come to.
enum Step {
    Done(Outcome),
    /// Somebody else was faster, or (the message) the API server says that it is not valid.
    Moved(ClusterError),
    /// The operation that is in the way is ending.
    Ending,
    /// The API server could not be asked.
    Unavailable(ClusterError),
}

/// What is known of an order across its tries.
struct Attempt {
    started: Instant,
    backoff: Backoff,
    conflicts: u32,
    /// The version for which the last patch was made, if the API server has refused it.
    refused: Option<(String, ClusterError)>,
    /// Where a rollback goes, once that has been decided.
    target: Option<String>,
    /// The order is in the cluster, and the operation that it ends is not over yet.
    written: Option<Applied>,
    /// A patch was sent, and it is not known whether it was applied.
    sent: Option<Applied>,
}

impl<C: Cluster> Executor<C> {
    /// `node` is named in what is written.
    pub fn new(cluster: C, settings: &config::Cluster, node: &str) -> Self {
        Self {
            cluster,
            node: node.to_owned(),
            enabled: settings.enabled,
        }
    }

    /// Runs until `stop`, or until nobody can give orders any more.
    ///
    /// # Errors
    /// None at present.
    pub async fn run(
        self,
        mut orders: mpsc::Receiver<Order>,
        events: mpsc::Sender<Event>,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let mut running = FuturesUnordered::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                order = orders.recv(), if running.len() < CONCURRENT => match order {
                    Some(order) => running.push(self.execute(order)),
                    None => break,
                },
                Some(executed) = running.next(), if !running.is_empty() => {
                    if events.send(executed).await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
        let rest = async {
            while let Some(executed) = running.next().await {
                if events.send(executed).await.is_err() {
                    break;
                }
            }
        };
        if timeout(DRAIN, rest).await.is_err() {
            warn!("orders were cut off; they are looked up when the agent starts again");
        }
        Ok(())
    }

    async fn execute(&self, order: Order) -> Event {
        let outcome = self.carry_out(&order).await;
        let (command, application) = (&order.command, &order.application);
        info!(%command, %application, ?outcome, "order");
        Event::Executed {
            command: order.command,
            outcome,
        }
    }

    async fn carry_out(&self, order: &Order) -> Outcome {
        if !self.enabled {
            let message = "the cluster is turned off in the settings (cluster.enabled)";
            return refused(RefusalCode::ApiUnreachable, message);
        }
        let mut attempt = Attempt {
            started: Instant::now(),
            backoff: Backoff::new(Duration::from_millis(250), Duration::from_secs(5)),
            conflicts: 0,
            refused: None,
            target: None,
            written: None,
            sent: None,
        };
        let mut order = order.clone();
        loop {
            let step = self.try_once(&order, &mut attempt).await;
            if let Some(target) = attempt.target.take()
                && let OrderKind::Rollback { to, .. } = &mut order.kind
            {
                // What `previous` is must not change with the end of the operation that was in the way.
                *to = RollbackTarget::Revision(target);
            }
            match attempt.follow(&order, step) {
                Ok(wait) => sleep(wait).await,
                Err(outcome) => return outcome,
            }
        }
    }

    async fn try_once(&self, order: &Order, attempt: &mut Attempt) -> Step {
        let reading = self.cluster.get(&order.application);
        let object = match timeout(REQUEST_TIMEOUT, reading).await {
            Ok(Ok(object)) => object,
            Ok(Err(ClusterError::NotFound)) if order.kind == OrderKind::Lookup => {
                return Step::Done(Outcome::NoTrace);
            }
            Ok(Err(error)) => return unable(order, error),
            Err(_) => return Step::Unavailable(ClusterError::Unreachable(no_answer())),
        };
        if let Some(found) = trace(&object, &order.command) {
            // The plan knows more of it than what can be read back.
            let applied = attempt.sent.take().unwrap_or(found);
            let left = match order.kind {
                OrderKind::Lookup => None,
                _ => remainder(&object, &applied),
            };
            let Some(plan) = left else {
                return Step::Done(Outcome::Applied(applied));
            };
            attempt.written = Some(applied);
            return self.write(order, plan, version(&object), attempt).await;
        }
        if order.kind == OrderKind::Lookup {
            return Step::Done(Outcome::NoTrace);
        }
        let version = version(&object);
        if let Some((_, error)) = attempt
            .refused
            .take_if(|(made_for, _)| *made_for == version)
        {
            // Nobody has written since: it is the change itself that the API server does not take.
            let message = format!("{}: {error}", order.application);
            return Step::Done(refused(RefusalCode::Conflict, message));
        }
        match plan(&object, order, &self.node) {
            Ok(plan) => self.write(order, plan, version, attempt).await,
            Err(refusal) => Step::Done(Outcome::Refused(refusal)),
        }
    }

    async fn write(
        &self,
        order: &Order,
        plan: Plan,
        version: String,
        attempt: &mut Attempt,
    ) -> Step {
        let writing = async {
            if let Some(patch) = &plan.patch {
                self.cluster.patch(&order.application, patch).await?;
            }
            if let Some(hard) = plan.refresh {
                let patch = annotations(&order.command, hard);
                self.cluster.annotate(&order.application, &patch).await?;
            }
            Ok(())
        };
        let error = match timeout(REQUEST_TIMEOUT, writing).await {
            Ok(Ok(())) if plan.preparatory => {
                attempt.target = plan.applied.revision;
                return Step::Ending;
            }
            Ok(Ok(())) if ends_operation(&plan) => {
                attempt.written = Some(plan.applied);
                return Step::Ending;
            }
            Ok(Ok(())) => return Step::Done(Outcome::Applied(plan.applied)),
            Ok(Err(error)) => error,
            Err(_) => ClusterError::Interrupted(no_answer()),
        };
        match error {
            ClusterError::Conflict => Step::Moved(error),
            ClusterError::Invalid(_) => {
                attempt.refused = Some((version, error.clone()));
                Step::Moved(error)
            }
            ClusterError::Interrupted(_) | ClusterError::Other(_) if !plan.preparatory => {
                attempt.sent = Some(plan.applied);
                Step::Unavailable(error)
            }
            error => unable(order, error),
        }
    }
}

impl Attempt {
    /// How long to wait before the next try, or the outcome if there is to be none.
    fn follow(&mut self, order: &Order, step: Step) -> Result<Duration, Outcome> {
        let (application, command) = (&order.application, &order.command);
        let over = self.started.elapsed() > PATIENCE && !matches!(step, Step::Done(_));
        if let Some(applied) = self.written.take_if(|_| over) {
            // It is in the cluster, whatever became of what it was to end.
            return Err(Outcome::Applied(applied));
        }
        match step {
            Step::Done(outcome) => Err(match (outcome, self.written.take()) {
                (Outcome::Refused(_), Some(applied)) => Outcome::Applied(applied),
                (outcome, _) => outcome,
            }),
            Step::Moved(error) => {
                self.conflicts += 1;
                if self.written.is_none() && self.started.elapsed() > CONFLICT_PATIENCE {
                    let message = format!("{application}, {} times: {error}", self.conflicts);
                    return Err(refused(RefusalCode::Conflict, message));
                }
                debug!(%command, %error, "trying again");
                Ok(Duration::from_millis(20) + ENDING_POLL.mul_f64(random()))
            }
            Step::Ending if self.started.elapsed() > PATIENCE => {
                let message = format!(
                    "the operation that is in the way on {application} did not end within {} s",
                    PATIENCE.as_secs()
                );
                Err(refused(RefusalCode::Conflict, message))
            }
            Step::Ending => Ok(ENDING_POLL),
            Step::Unavailable(error) => {
                let patience = match (&order.kind, &self.sent) {
                    (OrderKind::Lookup, _) => LOOKUP_PATIENCE,
                    (_, Some(_)) => UNCERTAIN_PATIENCE,
                    (_, None) => PATIENCE,
                };
                let mut wait = self.backoff.next(random());
                if let ClusterError::TooManyRequests {
                    retry_after: Some(asked),
                } = error
                {
                    wait = wait.max(asked);
                }
                if self.started.elapsed().saturating_add(wait) <= patience {
                    debug!(%command, %error, "trying again");
                    return Ok(wait);
                }
                if let Some(applied) = self.written.take() {
                    return Err(Outcome::Applied(applied));
                }
                Err(match self.sent {
                    // It may have been applied, so that it would be wrong to call it refused.
                    Some(_) => Outcome::NoTrace,
                    None => refused(RefusalCode::ApiUnreachable, error.to_string()),
                })
            }
        }
    }
}

/// Whether the patch asks for the end of an operation, among other things.
fn ends_operation(plan: &Plan) -> bool {
    let steps = plan.patch.as_ref().and_then(serde_json::Value::as_array);
    steps.is_some_and(|steps| {
        (steps.iter()).any(|step| step["path"] == "/status/operationState/phase")
    })
}

/// Names the state of an object.
fn version(object: &serde_json::Value) -> String {
    let version = object.pointer("/metadata/resourceVersion");
    version
        .and_then(serde_json::Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// What a failure means that is certain to have changed nothing.
fn unable(order: &Order, error: ClusterError) -> Step {
    match error {
        ClusterError::NotFound => {
            let message = format!("there is no Application {}", order.application);
            Step::Done(refused(RefusalCode::ApplicationNotFound, message))
        }
        // Waiting does not help: somebody has to change something in the cluster first.
        ClusterError::Forbidden(_) | ClusterError::CrdMissing => {
            Step::Done(refused(RefusalCode::ApiUnreachable, error.to_string()))
        }
        error => Step::Unavailable(error),
    }
}

fn refused(code: RefusalCode, message: impl Into<String>) -> Outcome {
    Outcome::Refused(Refusal::new(code, message))
}

fn no_answer() -> String {
    format!("no answer within {} s", REQUEST_TIMEOUT.as_secs())
}
