//! Commands, each to its true end: the scenarios that are played with the real Argo CD
//! (`tests/e2e/argocd`) and, without anything but this process, with its double (`tests/on_double.rs`).

pub(crate) mod api;
pub(crate) mod holding;
mod racing;
mod refusing;
mod rolling_out;
pub(crate) mod scene;
pub(crate) mod shop;
pub(crate) mod version;

use std::time::{Duration, Instant};

use scene::Scene;

/// One story, with applications of its own.
pub(crate) type Scenario = (&'static str, fn(&dyn Scene));

pub(crate) const SCENARIOS: &[Scenario] = &[
    ("pin", holding::pin),
    ("pause", holding::pause),
    ("rollback_without_auto_sync", holding::without_auto_sync),
    ("rollback_by_revision_and_id", holding::by_revision_and_id),
    ("rollback_of_a_rollback", holding::of_a_rollback),
    ("rollback_while_a_check_fails", holding::while_a_check_fails),
    ("rollback_while_a_check_hangs", holding::while_a_check_hangs),
    (
        "rollback_while_an_operation_hangs",
        holding::while_an_operation_hangs,
    ),
    ("rollback_prunes", holding::prunes),
    ("rollout_with_auto_sync", rolling_out::with_auto_sync),
    ("rollout_without_auto_sync", rolling_out::without_auto_sync),
    ("rollout_superseded", rolling_out::superseded),
    (
        "rollout_superseded_at_once",
        rolling_out::superseded_at_once,
    ),
    ("rollout_images", rolling_out::images),
    ("rollout_fails", rolling_out::fails),
    (
        "rollout_fails_and_goes_back",
        rolling_out::fails_and_goes_back,
    ),
    ("rollout_times_out", rolling_out::times_out),
    ("rollout_check_fails", rolling_out::check_fails),
    ("refresh", rolling_out::refresh),
    ("refused_unknown", refusing::unknown_ones),
    ("refused_history", refusing::history),
    ("refused_in_progress", refusing::in_progress),
    ("refused_busy", refusing::busy),
    ("refused_untouchable", refusing::untouchable),
    ("refused_deleting", refusing::deleting),
    ("refused_hydrated", refusing::hydrated),
    ("race_many_writers", racing::many_writers),
    ("race_two_operations", racing::two_operations),
    ("race_sync_in_between", racing::a_sync_in_between),
];

/// Looks again and again until there is something.
///
/// # Panics
/// When `limit` is over.
pub(crate) fn wait<T>(limit: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {limit:?} for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Tells a figure of the scenario that is played.
#[allow(clippy::print_stdout, reason = "the suites tell figures")]
fn figure(name: &str, value: impl std::fmt::Display) {
    println!("    {name}: {value}");
}
