//! Rollouts, followed through what the real controller has done.

use super::tracking::{Run, failure};
use super::*;
use crate::application::Application;
use crate::application::stream::Change;
use crate::application::tests::fixture_bytes;

/// The recorded life of an application, as if our rollout had set it off.
fn recorded(name: &str) -> Vec<Application> {
    let bytes = fixture_bytes("watch-events.jsonl");
    let lines = bytes.split(|byte| *byte == b'\n').filter(|l| !l.is_empty());
    lines
        .filter_map(|line| match Change::from_json(line).unwrap() {
            Change::Applied(app) if app.key.name == name => Some(*app),
            _ => None,
        })
        .map(|mut app| {
            app.last_command = Some("cmd-1".to_owned());
            app
        })
        .collect()
}

const FIRST: &str = "106c302141e46a056de8f570c9d152257672d7db";
const THIRD: &str = "327a9a7bfc2d220f61336381b91385c5eb3acb40";

fn rollout_to(revision: &str, images: &[&str]) -> Run {
    let kind = OrderKind::Rollout {
        revision: revision.to_owned(),
    };
    let applied = Applied {
        revision: Some(revision.to_owned()),
        from: Some(FIRST.to_owned()),
        hold: None,
    };
    Run::new(kind, &applied, images)
}

/// The first progress that is not `Pending`, and the version at which it came.
fn outcome(run: &mut Run, apps: &[Application]) -> (String, Progress) {
    apps.iter()
        .map(|app| (app.resource_version.clone(), run.sees_app(app)))
        .find(|(_, progress)| *progress != Progress::Pending)
        .unwrap_or((String::new(), Progress::Pending))
}

fn between(name: &str, from: &str, to: &str) -> Vec<Application> {
    let apps = recorded(name);
    let at = |version: &str| {
        apps.iter()
            .position(|app| app.resource_version == version)
            .unwrap()
    };
    apps[at(from)..=at(to)].to_vec()
}

#[test]
fn a_rollout_of_the_real_controller_succeeds() {
    let mut run = rollout_to(THIRD, &[]);
    // Synced and Healthy, with the operation still running, is not the end.
    assert_eq!(
        outcome(&mut run, &between("web", "357", "362")).1,
        Progress::Pending
    );
    assert_eq!(run.tracker.next_deadline(), None);
    assert_eq!(
        outcome(&mut run, &between("web", "363", "363")).1,
        Progress::Pending
    );
    // A commit that changes nothing here moves the revision, and is no other deploy.
    assert_eq!(
        outcome(&mut run, &between("web", "938", "938")).1,
        Progress::Pending
    );
    assert_eq!(run.tracker.next_deadline(), Some(Duration::from_secs(15)));
    assert_eq!(run.waits(), Progress::Succeeded);
    // Without auto-sync, by an operation.
    let mut run = rollout_to(THIRD, &["registry.local/web:1.0.0"]);
    assert_eq!(
        outcome(&mut run, &between("hookok", "369", "422")).1,
        Progress::Pending
    );
    assert_eq!(run.waits(), Progress::Succeeded);
}

#[test]
fn a_rollout_waits_for_its_images() {
    let digest = format!("sha256:{}", "a".repeat(64));
    let mut run = rollout_to(THIRD, &[&digest]);
    let mut last = between("web", "363", "363");
    assert_eq!(outcome(&mut run, &last).1, Progress::Pending);
    assert_eq!(run.tracker.next_deadline(), None);
    last[0].images.push(format!("registry.local/web@{digest}"));
    assert_eq!(outcome(&mut run, &last).1, Progress::Pending);
    assert_eq!(run.waits(), Progress::Succeeded);
}

#[test]
fn a_newer_revision_overtakes_a_rollout() {
    let second = between("web", "350", "350")[0].revision.clone().unwrap();
    let mut run = rollout_to(&second, &[]);
    let (version, progress) = outcome(&mut run, &between("web", "335", "363"));
    assert_eq!(version, "357");
    assert_eq!(
        progress,
        Progress::Superseded(format!("revision {THIRD} has overtaken it"))
    );
}

#[test]
fn without_auto_sync_the_operation_that_comes_after_it_replaces_it() {
    let mut run = rollout_to(THIRD, &[]);
    let ours = between("hookok", "369", "422");
    assert_eq!(outcome(&mut run, &ours).1, Progress::Pending);
    let mut theirs = ours[ours.len() - 1].clone();
    theirs.sync = crate::application::SyncStatus::OutOfSync;
    let operation = theirs.operation.as_mut().unwrap();
    operation.revision = Some(FIRST.to_owned());
    operation.command = None;
    assert_eq!(
        outcome(&mut run, &[theirs.clone()]).1,
        Progress::Superseded(format!("a sync to {FIRST} has replaced it"))
    );
    // One that was there before ours says nothing.
    let mut run = rollout_to(THIRD, &[]);
    assert_eq!(outcome(&mut run, &[theirs]).1, Progress::Pending);
}

#[test]
fn a_rollout_fails_with_its_check_once_that_is_given_up() {
    let mut run = rollout_to(THIRD, &[]);
    let (version, progress) = outcome(&mut run, &between("hookfail", "427", "521"));
    assert_eq!(version, "519");
    let why = failure(progress);
    assert!(
        why.starts_with("Job hookfail-precheck: Job has reached"),
        "{why}"
    );
    assert!(why.ends_with("(retried 2 times)."), "{why}");
}

#[test]
fn a_rollout_fails_when_it_degrades() {
    let mut run = rollout_to(THIRD, &[]);
    let (version, progress) = outcome(&mut run, &between("degraded", "527", "577"));
    assert_eq!(version, "562");
    assert!(failure(progress).contains("Degraded"));
}

#[test]
fn a_comparison_may_fail_for_a_while() {
    let mut run = rollout_to(THIRD, &[]);
    let broken = between("nopath", "566", "566");
    assert_eq!(outcome(&mut run, &broken).1, Progress::Pending);
    assert_eq!(
        outcome(&mut run, &between("web", "363", "363")).1,
        Progress::Pending
    );
    assert_eq!(outcome(&mut run, &broken).1, Progress::Pending);
    let mut reworded = broken;
    reworded[0].conditions[0].message.push_str(" (again)");
    assert_eq!(outcome(&mut run, &reworded).1, Progress::Pending);
    assert_eq!(run.tracker.next_deadline(), Some(Duration::from_secs(63)));
    assert!(failure(run.waits()).contains("app path does not exist (again)"));
}
