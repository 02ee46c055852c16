use super::*;
use crate::application::tests::rules;
use crate::application::{Application, DeployState, deploy_state};

const SETTLE: Duration = Duration::from_secs(10);

/// Follows a command through objects, one a second.
pub(super) struct Run {
    pub(super) tracker: Tracker,
    seconds: u64,
}

impl Run {
    pub(super) fn new(kind: OrderKind, applied: &Applied, images: &[&str]) -> Self {
        let images: Vec<_> = images.iter().map(|image| (*image).to_owned()).collect();
        let tracker = Tracker::new(&order(kind), applied, &images, SETTLE, now(0));
        Self {
            tracker,
            seconds: 0,
        }
    }

    pub(super) fn sees(&mut self, object: &Value) -> Progress {
        self.sees_app(&app(object))
    }

    pub(super) fn sees_app(&mut self, app: &Application) -> Progress {
        self.seconds += 1;
        let state = deploy_state(
            app,
            &rules("*-precheck"),
            app.reconciled_at.unwrap_or_default(),
        );
        self.tracker.observe(app, state, now(self.seconds * 1000))
    }

    /// Lets the deadline pass that the tracker names; there has to be one.
    pub(super) fn waits(&mut self) -> Progress {
        let deadline = self.tracker.next_deadline().unwrap();
        let deadline = u64::try_from(deadline.as_millis()).unwrap();
        assert_eq!(self.tracker.tick(now(deadline - 1)), Progress::Pending);
        self.seconds = deadline / 1000;
        self.tracker.tick(now(deadline))
    }
}

pub(super) fn failure(progress: Progress) -> String {
    match progress {
        Progress::Failed(why) => why,
        other => panic!("{other:?}"),
    }
}

pub(super) fn superseded(progress: &Progress) -> bool {
    matches!(progress, Progress::Superseded(_))
}

/// What the controller makes of a pin: the objects after the patch, in their order.
fn pin_sequence() -> (Applied, Vec<Value>) {
    let (patched, applied) = carried_out(&degraded(), rollback(None));
    let mut running = patched.clone();
    let operation = running["operation"].clone();
    let state =
        json!({"phase": "Running", "startedAt": "2026-11-24T19:30:51Z", "operation": operation});
    set(&mut running, "/status/operationState", state);
    let mut synced = running.clone();
    set(
        &mut synced,
        "/status/sync",
        json!({"status": "Synced", "revision": GOOD}),
    );
    set(&mut synced, "/status/health/status", json!("Healthy"));
    let mut done = synced.clone();
    done.as_object_mut().unwrap().remove("operation");
    set(
        &mut done,
        "/status/operationState/phase",
        json!("Succeeded"),
    );
    set(
        &mut done,
        "/status/operationState/finishedAt",
        json!("2026-11-24T19:30:51Z"),
    );
    (applied, vec![patched, running, synced, done])
}

/// The object after the self-heal that follows at once and replaces the operation's state.
fn self_healed(done: &Value) -> Value {
    let mut healed = done.clone();
    let state = fixture("pinned-healthy")["status"]["operationState"].clone();
    set(&mut healed, "/status/operationState", state);
    healed
}

#[test]
fn a_pin_succeeds_after_the_settle_window() {
    let (applied, sequence) = pin_sequence();
    let mut run = Run::new(rollback(None), &applied, &[]);
    // The watch may lag behind the patch: what was there before says nothing.
    let mut before = fixture("pinned-healthy");
    assert_eq!(run.sees(&before), Progress::Pending);
    assert_eq!(run.tracker.next_deadline(), None);
    before = degraded();
    assert_eq!(run.sees(&before), Progress::Pending);
    for object in &sequence[..3] {
        assert_eq!(run.sees(object), Progress::Pending);
        assert_eq!(run.tracker.next_deadline(), None);
    }
    let done = &sequence[3];
    assert_eq!(run.sees(done), Progress::Pending);
    assert_eq!(run.tracker.next_deadline(), Some(Duration::from_secs(16)));
    // A self-heal to the same revision is a continuation that starts the window afresh.
    let healed = self_healed(done);
    let mut healing = healed.clone();
    set(
        &mut healing,
        "/status/operationState/phase",
        json!("Running"),
    );
    assert_eq!(run.sees(&healing), Progress::Pending);
    assert_eq!(run.tracker.next_deadline(), None);
    assert_eq!(run.sees(&healed), Progress::Pending);
    assert_eq!(run.waits(), Progress::Succeeded);
    // The end is the end.
    assert_eq!(run.sees(&degraded()), Progress::Succeeded);
}

#[test]
fn a_pin_that_has_ended_an_operation_succeeds_although_that_one_has_failed() {
    let (patched, applied) = carried_out(&retrying(), rollback(None));
    let mut run = Run::new(rollback(None), &applied, &[]);
    assert_eq!(run.sees(&patched), Progress::Pending);
    let mut ended = patched;
    ended.as_object_mut().unwrap().remove("operation");
    set(&mut ended, "/status/operationState/phase", json!("Failed"));
    set(
        &mut ended,
        "/status/operationState/message",
        json!("Operation terminated (retried 1 times)."),
    );
    assert_eq!(run.sees(&ended), Progress::Pending);
    set(
        &mut ended,
        "/status/sync",
        json!({"status": "Synced", "revision": GOOD}),
    );
    let state = deploy_state(
        &app(&ended),
        &rules("*-precheck"),
        "2026-11-24T19:30:51Z".parse().unwrap(),
    );
    assert_eq!(state, DeployState::RolledBack);
    assert_eq!(run.sees(&ended), Progress::Pending);
    assert_eq!(run.waits(), Progress::Succeeded);
}

#[test]
fn a_degraded_of_before_gets_time_and_a_new_one_does_not() {
    let (applied, sequence) = pin_sequence();
    let mut degraded = sequence[3].clone();
    set(&mut degraded, "/status/health/status", json!("Degraded"));
    let mut run = Run::new(rollback(None), &applied, &[]);
    assert_eq!(run.sees(&degraded), Progress::Pending);
    assert!(failure(run.waits()).contains("Degraded"));

    let mut run = Run::new(rollback(None), &applied, &[]);
    assert_eq!(run.sees(&degraded), Progress::Pending);
    assert_eq!(run.sees(&sequence[3]), Progress::Pending);
    assert!(failure(run.sees(&degraded)).contains("Degraded"));
}

#[test]
fn a_degraded_that_comes_back_before_the_new_revision_makes_progress_gets_time_too() {
    let (applied, sequence) = pin_sequence();
    let with = |health: &str| {
        let mut object = sequence[3].clone();
        set(&mut object, "/status/health/status", json!(health));
        object
    };
    let mut run = Run::new(rollback(None), &applied, &[]);
    for health in ["Degraded", "Progressing", "Degraded", "Healthy"] {
        assert_eq!(run.sees(&with(health)), Progress::Pending, "{health}");
    }
    assert_eq!(run.waits(), Progress::Succeeded);
    // One that was well before is believed at once.
    let mut run = Run::new(rollback(None), &applied, &[]);
    assert_eq!(run.sees(&with("Progressing")), Progress::Pending);
    assert!(failure(run.sees(&with("Degraded"))).contains("Degraded"));
}

#[test]
fn an_operation_that_fails_has_failed_although_something_else_is_in_sync() {
    let mut object = fixture("pinned-healthy");
    let target = "0123456789012345678901234567890123456789";
    set(&mut object, "/spec/syncPolicy", json!({}));
    let kind = || OrderKind::Rollout {
        revision: target.to_owned(),
    };
    let mut plain = object.clone();
    plain["metadata"]["annotations"] = json!({});
    let (mut patched, applied) = carried_out(&plain, kind());
    let operation = patched.as_object_mut().unwrap().remove("operation");
    let annotations = patched["metadata"]["annotations"].as_object_mut();
    annotations.unwrap().remove(REFRESH_ANNOTATION);
    let message = "ComparisonError: unable to resolve it to a commit SHA";
    let state = json!({"phase": "Error", "message": message, "operation": operation});
    set(&mut patched, "/status/operationState", state);
    let mut run = Run::new(kind(), &applied, &[]);
    assert_eq!(failure(run.sees(&patched)), message);
}

#[test]
fn it_is_told_what_is_waited_for() {
    let (applied, sequence) = pin_sequence();
    let mut run = Run::new(rollback(None), &applied, &["sha256:12"]);
    assert!(
        run.tracker
            .waits_for(&app(&degraded()))
            .contains("not shown")
    );
    run.sees(&sequence[1]);
    let waits = run.tracker.waits_for(&app(&sequence[1]));
    assert!(waits.contains("operation under way"), "{waits}");
    run.sees(&sequence[3]);
    let waits = run.tracker.waits_for(&app(&sequence[3]));
    assert_eq!(waits, "no pod runs the image sha256:12");
}

#[test]
fn a_pin_whose_operation_fails_has_failed() {
    let (applied, sequence) = pin_sequence();
    let mut run = Run::new(rollback(None), &applied, &[]);
    let mut failed = sequence[3].clone();
    set(&mut failed, "/status/operationState/phase", json!("Error"));
    set(
        &mut failed,
        "/status/operationState/message",
        json!("no such namespace"),
    );
    assert_eq!(failure(run.sees(&failed)), "no such namespace");
}

#[test]
fn others_can_take_the_place_of_a_pin() {
    let (applied, sequence) = pin_sequence();
    let run = || {
        let mut run = Run::new(rollback(None), &applied, &[]);
        assert_eq!(run.sees(&sequence[3]), Progress::Pending);
        run
    };
    let mut unpinned = sequence[3].clone();
    set(&mut unpinned, "/spec/source/targetRevision", json!("main"));
    assert!(superseded(&run().sees(&unpinned)));
    let mut other = sequence[3].clone();
    set(
        &mut other,
        "/metadata/annotations/edge-agent.io~1command",
        json!("cmd-2"),
    );
    assert!(superseded(&run().sees(&other)));
    let mut deleting = sequence[3].clone();
    set(
        &mut deleting,
        "/metadata/deletionTimestamp",
        json!("2026-11-24T19:30:00Z"),
    );
    assert!(superseded(&run().sees(&deleting)));
    // An application that nobody compares any more is not known to be well.
    let mut run = run();
    let app = app(&sequence[3]);
    assert_eq!(
        run.tracker.observe(&app, DeployState::Offline, now(60_000)),
        Progress::Pending
    );
    assert_eq!(run.tracker.next_deadline(), None);
}

fn paused_done(kind: OrderKind, before: &Value) -> (Applied, Value, Value) {
    let (patched, applied) = carried_out(before, kind);
    let mut done = patched.clone();
    let operation = done.as_object_mut().unwrap().remove("operation").unwrap();
    let state = json!({
        "phase": "Succeeded", "startedAt": "2026-11-24T19:30:51Z", "operation": operation,
        "finishedAt": "2026-11-24T19:30:51Z",
    });
    set(&mut done, "/status/operationState", state);
    set(&mut done, "/status/sync/status", json!("OutOfSync"));
    set(&mut done, "/status/health/status", json!("Healthy"));
    let history = fixture("pinned-healthy")["status"]["history"].clone();
    set(&mut done, "/status/history", history);
    (applied, patched, done)
}

#[test]
fn a_pause_succeeds_out_of_sync() {
    let kind = || rollback(Some(HoldMode::Pause));
    let (applied, patched, done) = paused_done(kind(), &degraded());
    let mut run = Run::new(kind(), &applied, &[]);
    assert_eq!(run.sees(&patched), Progress::Pending);
    assert_eq!(run.sees(&done), Progress::Pending);
    assert_eq!(run.waits(), Progress::Succeeded);

    let mut run = Run::new(kind(), &applied, &[]);
    assert_eq!(run.sees(&done), Progress::Pending);
    let mut on_again = done.clone();
    set(&mut on_again, "/spec/syncPolicy/automated", json!({}));
    assert!(superseded(&run.sees(&on_again)));

    // An Application definition of before 3.1 drops `enabled`.
    let mut dropped = patched;
    set(
        &mut dropped,
        "/spec/syncPolicy/automated",
        json!({"prune": true}),
    );
    let mut run = Run::new(kind(), &applied, &[]);
    assert!(failure(run.sees(&dropped)).contains("3.1"));
}

#[test]
fn a_plain_rollback_succeeds_and_can_be_replaced() {
    let mut manual = degraded();
    set(&mut manual, "/spec/syncPolicy", json!({}));
    let (applied, patched, done) = paused_done(rollback(None), &manual);
    let mut run = Run::new(rollback(None), &applied, &[]);
    assert_eq!(run.sees(&patched), Progress::Pending);
    assert_eq!(run.sees(&done), Progress::Pending);
    assert_eq!(run.waits(), Progress::Succeeded);

    let mut run = Run::new(rollback(None), &applied, &[]);
    assert_eq!(run.sees(&done), Progress::Pending);
    let mut other = done;
    set(
        &mut other,
        "/status/operationState",
        json!({"phase": "Running", "operation": {"sync": {"revision": BAD}}}),
    );
    assert!(superseded(&run.sees(&other)));
}

#[test]
fn a_refresh_ends_when_argo_cd_takes_its_annotation_away() {
    let kind = OrderKind::Refresh { hard: false };
    let applied = plan_for(&degraded(), kind.clone()).unwrap().applied;
    let mut run = Run::new(kind, &applied, &[]);
    assert_eq!(run.sees(&degraded()), Progress::Pending);
    let mut object = degraded();
    let wanted = annotations("cmd-1", false)["metadata"]["annotations"].clone();
    set(&mut object, "/metadata/annotations", wanted);
    assert_eq!(run.sees(&object), Progress::Pending);
    object["metadata"]["annotations"]
        .as_object_mut()
        .unwrap()
        .remove(REFRESH_ANNOTATION);
    assert_eq!(run.sees(&object), Progress::Succeeded);
}

#[test]
fn a_resume_ends_with_what_git_says() {
    let (held, _) = carried_out(&degraded(), rollback(None));
    let (mut resumed, applied) = carried_out(&held, OrderKind::Resume);
    resumed.as_object_mut().unwrap().remove("operation");
    let mut run = Run::new(OrderKind::Resume, &applied, &[]);
    assert_eq!(run.sees(&resumed), Progress::Pending);
    resumed["metadata"]["annotations"]
        .as_object_mut()
        .unwrap()
        .remove(REFRESH_ANNOTATION);
    set(&mut resumed, "/status/health/status", json!("Healthy"));
    let mut run_well = run;
    assert_eq!(run_well.sees(&resumed), Progress::Pending);
    assert_eq!(run_well.waits(), Progress::Succeeded);

    let mut run = Run::new(OrderKind::Resume, &applied, &[]);
    assert_eq!(run.sees(&resumed), Progress::Pending);
    set(&mut resumed, "/status/health/status", json!("Degraded"));
    assert!(failure(run.sees(&resumed)).contains("Degraded"));
    set(&mut resumed, "/spec/syncPolicy", json!({}));
    let mut run = Run::new(OrderKind::Resume, &applied, &[]);
    assert_eq!(run.sees(&resumed), Progress::Succeeded);
}
