//! Rollout and refresh.

use std::time::Duration;

use edge_agent_core::command::payload::{Action, OnFailure};
use edge_agent_core::wire::ResultState::{Executing, Failed, Succeeded, Superseded, TimedOut};
use serde_json::json;

use super::scene::{LIMIT, Scene};
use super::shop::{Shop, Sync};
use super::version::{Version, image};
use super::wait;

pub(super) fn with_auto_sync(stage: &dyn Scene) {
    let (shop, first) = Shop::open(stage, "auto", Sync::Auto);
    let second = shop.commit(&Version::good("auto-2"));
    let id = stage.order(shop.rollout(&second));
    let result = stage.expect(&id, Succeeded, LIMIT);
    assert_eq!(result.revision.as_deref(), Some(second.as_str()));
    shop.wait_state("Healthy", &second);
    assert_eq!(shop.running(), image("auto-2"));
    let object = shop.object();
    assert_eq!(object["spec"]["source"]["targetRevision"], "main");
    assert!(object["metadata"]["annotations"]["edge-agent.io/hold"].is_null());
    // Auto-sync has done it; nothing of ours is in the history.
    let history: Vec<String> = shop
        .history()
        .into_iter()
        .map(|(revision, _)| revision)
        .collect();
    assert_eq!(history, [first, second.clone()]);

    // What runs already is a success too.
    let id = stage.order(shop.rollout(&second));
    stage.expect(&id, Succeeded, LIMIT);
}

pub(super) fn without_auto_sync(stage: &dyn Scene) {
    let (shop, _) = Shop::open(stage, "manual", Sync::Manual);
    let second = shop.commit(&Version::good("manual-2").with_check("image-scan", "1s"));
    let third = shop.commit(&Version::good("manual-3"));
    // Not what the branch has, but what is asked for.
    let id = stage.order(shop.rollout(&second));
    stage.wait_answer(&id, Executing);
    shop.wait_any("Syncing");
    stage.expect(&id, Succeeded, LIMIT);
    assert_eq!(shop.running(), image("manual-2"));
    assert_eq!(
        shop.history().last().unwrap(),
        &(second, "edge-agent:pi-01".to_owned())
    );
    // The hooks have run: a rollout is no rollback.
    let job = format!(
        "/apis/batch/v1/namespaces/{}/jobs/image-scan",
        shop.namespace
    );
    assert!(stage.api().find(&job).is_some());
    let id = stage.order(shop.rollout(&third));
    stage.expect(&id, Succeeded, LIMIT);
    shop.wait_state("Healthy", &third);
}

pub(super) fn superseded(stage: &dyn Scene) {
    let (shop, _) = Shop::open(stage, "overtaken", Sync::Auto);
    let second = shop.commit(&Version::slow("overtaken-2"));
    let id = stage.order(shop.rollout(&second));
    shop.wait_state("Progressing", &second);
    let third = shop.push(&Version::good("overtaken-3"));
    let result = stage.expect(&id, Superseded, LIMIT);
    assert!(result.message.contains(&third), "{result:?}");
    shop.wait_state("Healthy", &third);
}

pub(super) fn superseded_at_once(stage: &dyn Scene) {
    let (shop, _) = Shop::open(stage, "skipped", Sync::Auto);
    let second = shop.commit(&Version::good("skipped-2"));
    let third = shop.commit(&Version::good("skipped-3"));
    let id = stage.order(shop.rollout(&second));
    let result = stage.expect(&id, Superseded, LIMIT);
    assert!(result.message.contains(&third), "{result:?}");
    shop.wait_state("Healthy", &third);
}

pub(super) fn images(stage: &dyn Scene) {
    let (shop, _) = Shop::open(stage, "images", Sync::Auto);
    let second = shop.commit(&Version::good("images-2"));
    let runs = image("images-2");
    let digest = runs.split_once('@').unwrap().1.to_owned();
    let id = stage.order(shop.rollout_with(&second, &[digest, runs.clone()], 60, OnFailure::None));
    stage.expect(&id, Succeeded, LIMIT);
    let app = shop.wait_state("Healthy", &second);
    assert_eq!(app["images"], json!([runs]));

    // The commit has another image than its issuer thinks.
    let third = shop.commit(&Version::good("images-3"));
    let other = image("something else");
    let id = stage.order(shop.rollout_with(&third, &[other], stage.seconds(20), OnFailure::None));
    let result = stage.expect(&id, TimedOut, LIMIT);
    assert!(result.message.contains("image"), "{result:?}");
    shop.wait_state("Healthy", &third);
}

pub(super) fn fails(stage: &dyn Scene) {
    let (shop, _) = Shop::open(stage, "fails", Sync::Auto);
    let second = shop.commit(&Version::bad("fails-2"));
    let id = stage.order(shop.rollout(&second));
    let result = stage.expect(&id, Failed, LIMIT);
    assert!(result.message.contains("Degraded"), "{result:?}");
    shop.wait_state("Degraded", &second);

    // A revision that git does not have: Argo CD tries it again as the retry policy says.
    let unknown = "0123456789012345678901234567890123456789";
    let (shop, _) = Shop::open(stage, "unknown", Sync::Manual);
    let id = stage.order(shop.rollout(unknown));
    let result = stage.expect(&id, Failed, LIMIT);
    assert!(result.message.contains(unknown), "{result:?}");
}

pub(super) fn fails_and_goes_back(stage: &dyn Scene) {
    let (shop, good) = Shop::open(stage, "goes-back", Sync::Auto);
    shop.wait_told(&good);
    let second = shop.commit(&Version::bad("goes-back-2"));
    let id = stage.order(shop.rollout_with(&second, &[], 60, OnFailure::Rollback));
    stage.expect(&id, Failed, LIMIT);
    shop.wait_state("RolledBack", &good);
    let own = shop.object()["metadata"]["annotations"]["edge-agent.io/command"].clone();
    let own = own.as_str().unwrap();
    assert!(own.starts_with("auto-goes-back-"), "{own}");
    wait(LIMIT, "the node's own rollback to end well", || {
        let events = stage.events("edge.command.result", own);
        events
            .iter()
            .any(|event| event["data"]["state"] == "succeeded")
            .then_some(())
    });
    assert_eq!(shop.running(), image("goes-back-1"));
}

pub(super) fn times_out(stage: &dyn Scene) {
    let (shop, _) = Shop::open(stage, "too-short", Sync::Auto);
    let second = shop.commit(&Version::slow("too-short-2"));
    let id = stage.order(shop.rollout_with(&second, &[], stage.seconds(5), OnFailure::None));
    let result = stage.expect(&id, TimedOut, Duration::from_secs(15));
    assert!(result.message.contains("Progressing"), "{result:?}");
    shop.wait_state("Progressing", &second);
}

pub(super) fn check_fails(stage: &dyn Scene) {
    let (shop, _) = Shop::open(stage, "gated", Sync::Manual);
    let second = shop.commit(&Version::good("gated-2").with_failing_check("image-scan"));
    let id = stage.order(shop.rollout(&second));
    let result = stage.expect(&id, Failed, Duration::from_secs(60));
    assert!(result.message.contains("image-scan"), "{result:?}");
    let app = shop.wait_any("SecurityCheckFailed");
    assert_eq!(app["culprit"]["name"], "image-scan");
    assert_eq!(shop.running(), image("gated-1"));
}

pub(super) fn refresh(stage: &dyn Scene) {
    let (shop, _) = Shop::open(stage, "refreshed", Sync::Auto);
    let second = shop.commit(&Version::good("refreshed-2"));
    for hard in [false, true] {
        let id = stage.order(Action::Refresh {
            application: shop.name.clone(),
            hard,
        });
        stage.expect(&id, Succeeded, LIMIT);
    }
    shop.wait_state("Healthy", &second);
}
