//! Whether an order that is in the cluster has come to its end.
//!
//! Argo CD shows Synced, even Healthy, while its operation is still running, Succeeded while the
//! comparison is still the old one, and the health of before the sync right after it. So nothing is
//! believed until the application shows the patch itself, and success only when sync, health and
//! operation have agreed for a settle window.

mod rollback;

use std::time::Duration;

use jiff::Timestamp;

use super::evidence::{
    degraded, failed_comparison, failed_operation, is_compared_since, is_deployed_since,
    operation_command, operation_failure, standing,
};
use super::verdict::{Verdict, superseded};
use super::{Applied, Order, OrderKind};
use crate::application::{Application, DeployState, HealthStatus, Phase, SyncStatus};
use crate::clock::Now;
use crate::command::payload::{HoldMode, image_digest};

/// How long a comparison may fail before the order counts as failed: the repository may be out of
/// reach for a moment.
const COMPARISON_GRACE: Duration = Duration::from_secs(60);

/// How far an order has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    Pending,
    Succeeded,
    /// It has failed, and why.
    Failed(String),
    /// Something else has taken its place, and what.
    Superseded(String),
}

/// Follows an application until an order on it has come to its end. How long that may take is the
/// caller's to decide.
#[derive(Debug, Clone)]
pub struct Tracker {
    command: String,
    goal: Goal,
    target: Option<String>,
    /// Where it was; not known after a restart.
    from: Option<String>,
    ordered_at: Timestamp,
    /// `sha256:` digests, or whole references, that have to run.
    images: Vec<String>,
    settle: Duration,
    /// The patch was seen in the cluster.
    visible: bool,
    /// The application was on the target, or an operation to it was seen.
    reached: bool,
    /// An operation to the target was seen.
    operated: bool,
    /// It was on the target and not Degraded.
    was_well: bool,
    /// It was Degraded when we came to it. A Deployment says so of the revision before until the new
    /// one makes progress, in between looks Progressing, and then Degraded once more.
    found_degraded: bool,
    verdict: Verdict,
    /// When the verdict became what it is, monotonic.
    since: Duration,
}

/// What the order is to bring about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Goal {
    /// A comparison.
    Refresh,
    /// What git says, whatever that is.
    Resume,
    /// A revision that git says.
    Rollout,
    /// A revision that the source is fixed on.
    Pin,
    /// A revision that git does not say, with auto-sync off: because of us, or (`false`) anyway.
    Aside { paused: bool },
}

impl Tracker {
    /// Starts to follow an order. `images` are digests, or references with one, that have to run in
    /// the end; `settle` is how long it has to stay well.
    #[must_use]
    pub fn new(
        order: &Order,
        applied: &Applied,
        images: &[String],
        settle: Duration,
        now: Now,
    ) -> Self {
        let aside = |hold: Option<HoldMode>| match hold {
            Some(HoldMode::Pin) => Goal::Pin,
            hold => Goal::Aside {
                paused: hold.is_some(),
            },
        };
        let goal = match &order.kind {
            OrderKind::Refresh { .. } => Goal::Refresh,
            OrderKind::Resume => Goal::Resume,
            OrderKind::Rollout { .. } => Goal::Rollout,
            OrderKind::Rollback { .. } => aside(applied.hold),
            OrderKind::Lookup => match (&applied.revision, applied.hold) {
                (_, Some(hold)) => aside(Some(hold)),
                (Some(_), None) => Goal::Aside { paused: false },
                (None, None) => Goal::Resume,
            },
        };
        Self {
            command: order.command.clone(),
            goal,
            target: applied.revision.clone(),
            from: applied.from.clone(),
            ordered_at: order.at,
            images: images
                .iter()
                .map(|image| image_digest(image).to_owned())
                .collect(),
            settle,
            visible: false,
            reached: false,
            operated: false,
            was_well: false,
            found_degraded: false,
            verdict: Verdict::Wait,
            since: now.monotonic,
        }
    }

    /// Takes in what the application looks like now.
    pub fn observe(&mut self, app: &Application, state: DeployState, now: Now) -> Progress {
        if !matches!(self.verdict, Verdict::Ended(_)) {
            let verdict = self.judge(app, state);
            if !verdict.continues(&self.verdict) {
                self.since = now.monotonic;
            }
            self.verdict = verdict;
        }
        self.tick(now)
    }

    /// Takes in that time has passed.
    pub fn tick(&mut self, now: Now) -> Progress {
        let due = self
            .next_deadline()
            .is_some_and(|deadline| now.monotonic >= deadline);
        match &self.verdict {
            Verdict::Good if due => self.verdict = Verdict::Ended(Progress::Succeeded),
            Verdict::Bad(why, _) if due => {
                self.verdict = Verdict::Ended(Progress::Failed(why.clone()));
            }
            _ => {}
        }
        match &self.verdict {
            Verdict::Ended(progress) => progress.clone(),
            _ => Progress::Pending,
        }
    }

    /// What the order still waits for, in a person's words, as the application looks now.
    #[must_use]
    pub fn waits_for(&self, app: &Application) -> String {
        let missing: Vec<&str> = (self.images.iter().map(String::as_str))
            .filter(|wanted| {
                !app.images
                    .iter()
                    .any(|image| image_digest(image) == *wanted)
            })
            .collect();
        if app.health == HealthStatus::Healthy && !missing.is_empty() {
            return format!("no pod runs the image {}", missing.join(" or "));
        }
        match &self.verdict {
            Verdict::Bad(why, _) => why.clone(),
            _ if !self.visible => "the watch has not shown the order yet".to_owned(),
            _ => standing(app),
        }
    }

    /// When [`Tracker::tick`] can say something new, monotonic.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Duration> {
        match &self.verdict {
            Verdict::Good => Some(self.since.saturating_add(self.settle)),
            Verdict::Bad(_, grace) => Some(self.since.saturating_add(*grace)),
            Verdict::Wait | Verdict::Ended(_) => None,
        }
    }

    fn judge(&mut self, app: &Application, state: DeployState) -> Verdict {
        if state == DeployState::Offline {
            return Verdict::Wait;
        }
        if app.deleting {
            return superseded("the application is being deleted".to_owned());
        }
        if let Some(other) = self.overruled(app) {
            return superseded(format!("command {other} has taken its place"));
        }
        self.found_degraded |= !self.was_well && app.health == HealthStatus::Degraded;
        if !self.visible {
            return Verdict::Wait;
        }
        match self.goal {
            Goal::Refresh if app.refresh_pending => Verdict::Wait,
            Goal::Refresh => Verdict::Ended(Progress::Succeeded),
            Goal::Resume => self.judge_resume(app),
            Goal::Rollout => self.judge_rollout(app),
            Goal::Pin => self.judge_pin(app),
            Goal::Aside { paused } => self.judge_aside(app, paused),
        }
    }

    /// Notes that our patch can be seen, and finds the command that has come after it.
    fn overruled(&mut self, app: &Application) -> Option<String> {
        match app.last_command.as_deref() {
            Some(last) if last == self.command => self.visible = true,
            Some(last) if self.visible => return Some(last.to_owned()),
            _ => self.visible |= operation_command(app) == Some(&self.command),
        }
        None
    }

    fn judge_resume(&mut self, app: &Application) -> Verdict {
        if app.refresh_pending || app.operation_in_progress() {
            return Verdict::Wait;
        }
        if !app.auto_sync {
            return Verdict::Ended(Progress::Succeeded);
        }
        if let Some(failed) = failed_operation(app) {
            return Verdict::Bad(failed, self.settle);
        }
        if let Some(why) = failed_comparison(app) {
            return Verdict::Bad(why, COMPARISON_GRACE);
        }
        if app.sync == SyncStatus::Synced {
            self.judge_health(app)
        } else {
            Verdict::Wait
        }
    }

    fn judge_rollout(&mut self, app: &Application) -> Verdict {
        if app.refresh_pending {
            return Verdict::Wait;
        }
        let tried = app
            .operation
            .as_ref()
            .filter(|o| self.is_target(&o.revision));
        let compared = self.is_target(&app.revision);
        self.reached |= compared || tried.is_some();
        self.operated |= tried.is_some();
        if let Some(why) = failed_comparison(app) {
            return Verdict::Bad(why, COMPARISON_GRACE);
        }
        if let Some(next) = self.overtaking(app) {
            return superseded(format!("revision {next} has overtaken it"));
        }
        let other = app.operation.as_ref().filter(|_| tried.is_none());
        if let Some(next) = other.and_then(|operation| operation.revision.as_ref())
            && self.operated
            && !app.auto_sync
        {
            return superseded(format!("a sync to {next} has replaced it"));
        }
        if app.operation_in_progress() {
            return Verdict::Wait;
        }
        if let Some(failed) = tried.and_then(operation_failure) {
            return Verdict::Ended(Progress::Failed(failed));
        }
        let synced = compared && app.sync == SyncStatus::Synced;
        if (synced || self.is_deployed(app)) && is_compared_since(app) {
            return self.judge_health(app);
        }
        Verdict::Wait
    }

    /// On the target, with nothing under way: now the health decides. A Degraded that was there
    /// when the target was reached may be that of the revision before, and gets time to pass.
    fn judge_health(&mut self, app: &Application) -> Verdict {
        self.reached = true;
        match app.health {
            HealthStatus::Degraded => {
                let why = degraded(app);
                return if self.was_well {
                    Verdict::Ended(Progress::Failed(why))
                } else {
                    Verdict::Bad(why, self.settle)
                };
            }
            HealthStatus::Healthy => self.was_well = true,
            HealthStatus::Progressing => self.was_well |= !self.found_degraded,
            _ => {}
        }
        if app.health == HealthStatus::Healthy && self.images_run(app) {
            Verdict::Good
        } else {
            Verdict::Wait
        }
    }

    /// The target is what was deployed last, although git may say something else by now: a commit
    /// that changes nothing here, or, without auto-sync, one that nobody has ordered.
    fn is_deployed(&self, app: &Application) -> bool {
        let by_operation = app.operation.as_ref().is_some_and(|operation| {
            operation.phase == Phase::Succeeded && self.is_target(&operation.revision)
        });
        let newest = app.history.last();
        let agrees = match app.sync {
            SyncStatus::Synced => true,
            SyncStatus::OutOfSync => !app.auto_sync && !self.is_target(&app.revision),
            SyncStatus::Unknown => false,
        };
        by_operation && agrees && newest.is_some_and(|entry| self.is_target_text(&entry.revision))
    }

    /// The revision that auto-sync goes to instead of the target. If the target was never seen, it
    /// has to have come there, from another one than we started from.
    fn overtaking(&self, app: &Application) -> Option<String> {
        let revision = app.revision.as_ref()?;
        let differs = !self.is_target(&app.revision);
        let arrived = app.sync == SyncStatus::Synced && !app.operation_in_progress();
        let came = match &self.from {
            Some(from) => revision != from,
            None => is_deployed_since(app, revision, self.ordered_at),
        };
        let moved = self.reached || (arrived && came);
        // Without auto-sync, and while the comparison fails, this is not where it is going.
        let is_course = app.auto_sync && app.sync != SyncStatus::Unknown;
        (differs && moved && is_course && !self.is_deployed(app)).then(|| revision.clone())
    }

    fn images_run(&self, app: &Application) -> bool {
        self.images
            .iter()
            .all(|wanted| app.images.iter().any(|image| image_digest(image) == wanted))
    }

    fn is_target(&self, revision: &Option<String>) -> bool {
        revision.as_deref().is_some_and(|r| self.is_target_text(r))
    }

    /// A target of one revision is met by any of several sources; one of several by just those.
    fn is_target_text(&self, revision: &str) -> bool {
        self.target.as_deref().is_some_and(|target| {
            revision == target || revision.split(',').any(|part| part == target)
        })
    }
}
