//! Somebody else writes at the same moment.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use edge_agent_core::command::RefusalCode;
use edge_agent_core::command::payload::RollbackTarget;
use edge_agent_core::wire::ResultState::{Rejected, Succeeded};
use serde_json::json;

use super::scene::{LIMIT, Scene};
use super::shop::{Shop, Sync};
use super::version::{FOR_EVER, Version, image};
use super::{figure, wait};

/// Somebody annotates the application again and again while it is rolled back.
pub(super) fn many_writers(stage: &dyn Scene) {
    let (shop, first) = Shop::open(stage, "crowded", Sync::Auto);
    let second = shop.push(&Version::good("crowded-2"));
    shop.wait_state("Healthy", &second);
    let stop = AtomicBool::new(false);
    let written = std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut written = 0_u32;
            while !stop.load(Ordering::SeqCst) {
                shop.merge(&json!({"metadata": {"labels": {"count": written.to_string()}}}));
                written += 1;
                std::thread::sleep(Duration::from_millis(60));
            }
            written
        });
        let id = stage.order(shop.previous());
        let held = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            stage.expect(&id, Succeeded, LIMIT);
        }));
        stop.store(true, Ordering::SeqCst);
        let written = writer.join().unwrap();
        assert!(held.is_ok(), "the rollback among other writers");
        written
    });
    shop.wait_state("RolledBack", &first);
    assert_eq!(
        shop.object()["metadata"]["labels"]["count"],
        (written - 1).to_string()
    );
    assert_eq!(shop.running(), image("crowded-1"));
}

/// A person's sync and our rollout at the same moment, again and again: whoever's the API server
/// takes is executed, whole and once.
pub(super) fn two_operations(stage: &dyn Scene) {
    let shop = Shop::prepare(stage, "contended", &Sync::Manual);
    // Room for all that is going to happen.
    shop.with_spec(|spec| spec["revisionHistoryLimit"] = json!(50));
    let first = shop.commit(&Version::good("contended-1"));
    shop.create();
    shop.sync_by_hand(&first);
    shop.wait_state("Healthy", &first);
    let second = shop.commit(&Version::good("contended-2"));
    let (mut ours, mut theirs) = (0, 0);
    for round in 0..6_u64 {
        let before = shop.history().len();
        let (our_target, their_target) = if round % 2 == 0 {
            (&second, &first)
        } else {
            (&first, &second)
        };
        let (id, taken) = std::thread::scope(|scope| {
            let person = scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(15 * round));
                shop.request_sync(their_target, "person")
            });
            let id = stage.order(shop.rollout(our_target));
            (id, person.join().unwrap())
        });
        let refused = is_refused(stage, &id);
        let expected = before + usize::from(taken) + usize::from(!refused);
        wait(
            LIMIT,
            "every operation that was taken to be executed",
            || {
                let object = shop.object();
                let idle = object["operation"].is_null();
                (idle && shop.history().len() >= expected).then_some(())
            },
        );
        let new = shop.history().split_off(before);
        assert_eq!(new.len(), expected - before, "{new:?}");
        for (revision, by) in &new {
            let (target, count) = match by.as_str() {
                "person" => (their_target, &mut theirs),
                _ => (our_target, &mut ours),
            };
            assert_eq!(revision, target, "{by}'s operation was altered");
            *count += 1;
        }
        if !refused {
            // Theirs may have come right after ours, and then ours was replaced.
            let result = stage.result(&id, LIMIT);
            let last = &new.last().unwrap().1;
            assert!(
                result.state == Succeeded || last == "person",
                "{result:?} {new:?}"
            );
        }
    }
    figure(
        "operations at the same moment that were executed",
        format!("{ours} ours, {theirs} theirs"),
    );
}

/// Waits until our order is taken or refused. It may be refused for nothing else than the other one.
fn is_refused(stage: &dyn Scene, id: &str) -> bool {
    let end = wait(LIMIT, "our order to be taken or refused", || {
        let answers = stage.answers(id);
        answers
            .into_iter()
            .map(|(_, answer)| answer)
            .find(|answer| answer.n > 1)
    });
    let refused = end.state == Rejected;
    if refused {
        let codes = [RefusalCode::OperationInProgress, RefusalCode::Conflict];
        assert!(codes.contains(&end.reason.unwrap()), "{end:?}");
    }
    refused
}

/// A person begins to sync while a rollback is on its way.
pub(super) fn a_sync_in_between(stage: &dyn Scene) {
    let (shop, first) = Shop::open(stage, "in-between", Sync::Manual);
    let second = shop.commit(&Version::good("in-between-2"));
    shop.sync_by_hand(&second);
    shop.wait_state("Healthy", &second);
    let third = shop.commit(&Version::good("in-between-3").with_check("database", FOR_EVER));
    let id = std::thread::scope(|scope| {
        scope.spawn(|| shop.request_sync(&third, "person"));
        stage.order(shop.rollback(RollbackTarget::Revision(first.clone()), None))
    });
    // A rollback ends what runs: its own end is the one that counts, unless the person came after it.
    let result = stage.result(&id, Duration::from_secs(60));
    let running = shop.running();
    match result.state {
        Succeeded => assert_eq!(running, image("in-between-1")),
        _ => assert!(result.message.contains(&third), "{result:?}"),
    }
}
