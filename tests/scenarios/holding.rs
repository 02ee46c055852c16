//! Rollback, the two ways of holding it, and resume.

use std::time::Duration;

use edge_agent_core::command::payload::{Action, HoldMode, RollbackTarget};
use edge_agent_core::wire::ResultState::{Executing, Succeeded, Superseded};
use serde_json::{Value, json};

use super::scene::{LIMIT, Scene};
use super::shop::{Shop, Sync};
use super::version::{FOR_EVER, Version, image};
use super::{figure, wait};

pub(super) fn pin(stage: &dyn Scene) {
    let (shop, good) = Shop::open(stage, "pin", Sync::Auto);
    let bad = shop.push(&Version::bad("pin-2"));
    shop.wait_state("Degraded", &bad);

    let sent = std::time::Instant::now();
    let id = stage.order(shop.previous());
    let app = shop.wait_state("RolledBack", &good);
    figure(
        "pin: from the order to RolledBack",
        format!("{} ms", sent.elapsed().as_millis()),
    );
    let held = json!({"mode": "pin", "from": bad, "to": good, "command": id});
    for (key, value) in held.as_object().unwrap() {
        assert_eq!(&app["hold"][key], value, "{app:#}");
    }
    let result = stage.expect(&id, Succeeded, LIMIT);
    assert_eq!(result.revision.as_deref(), Some(good.as_str()));
    assert_eq!(
        result.deploy_state.unwrap().to_string_on_wire(),
        "RolledBack"
    );
    assert_eq!(shop.running(), image("pin-1"));
    assert_eq!(
        shop.object()["spec"]["source"]["targetRevision"],
        json!(good)
    );

    // Drift is healed, to the revision that it is held on.
    let path = &shop.deployment();
    let two = json!({"spec": {"replicas": 2}});
    stage.api().merge(path, &two);
    wait(LIMIT, "the drift to be healed", || {
        (stage.api().get(path)["spec"]["replicas"] == 1).then_some(())
    });
    // A new commit changes nothing.
    let fixed = shop.push(&Version::good("pin-3"));
    wait(LIMIT, "the comparison", || {
        let annotations = &shop.object()["metadata"]["annotations"];
        annotations["argocd.argoproj.io/refresh"]
            .is_null()
            .then_some(())
    });
    shop.wait_state("RolledBack", &good);
    assert_eq!(shop.running(), image("pin-1"));
    held_everywhere(stage, "pin");

    let id = stage.order(shop.resume());
    stage.expect(&id, Succeeded, LIMIT);
    let app = shop.wait_state("Healthy", &fixed);
    assert!(app["hold"].is_null(), "{app:#}");
    assert_eq!(shop.running(), image("pin-3"));
    assert_eq!(shop.object()["spec"]["source"]["targetRevision"], "main");
}

/// On the page as well.
pub(crate) fn held_everywhere(stage: &dyn Scene, name: &str) {
    wait(LIMIT, "the hold to be on the page", || {
        let app = &stage.page()["applications"][name];
        (app["state"] == "RolledBack" && app["hold"]["mode"].is_string()).then_some(())
    });
}

pub(super) fn pause(stage: &dyn Scene) {
    let (shop, good) = Shop::open(stage, "pause", Sync::Auto);
    let bad = shop.push(&Version::bad("pause-2"));
    shop.wait_state("Degraded", &bad);

    let id = stage.order(shop.rollback(RollbackTarget::Previous, Some(HoldMode::Pause)));
    let result = stage.expect(&id, Succeeded, LIMIT);
    assert_eq!(result.revision.as_deref(), Some(good.as_str()));
    let app = shop.wait_any("RolledBack");
    assert_eq!(app["sync"], "OutOfSync");
    assert_eq!(app["hold"]["mode"], "pause");
    assert_eq!(shop.running(), image("pause-1"));
    let policy = &shop.object()["spec"]["syncPolicy"];
    assert_eq!(
        policy["automated"],
        json!({"enabled": false, "prune": true, "selfHeal": true})
    );
    assert_eq!(policy["syncOptions"], json!(["CreateNamespace=true"]));

    // The branch moves on, and nothing happens until it is given back.
    let fixed = shop.push(&Version::good("pause-3"));
    shop.wait_state("RolledBack", &fixed);
    assert_eq!(shop.running(), image("pause-1"));
    let id = stage.order(shop.resume());
    stage.expect(&id, Succeeded, LIMIT);
    shop.wait_state("Healthy", &fixed);
    assert_eq!(shop.running(), image("pause-3"));
    let automated = &shop.object()["spec"]["syncPolicy"]["automated"];
    assert_eq!(automated, &json!({"prune": true, "selfHeal": true}));
}

pub(super) fn without_auto_sync(stage: &dyn Scene) {
    let (shop, good) = Shop::open(stage, "by-hand", Sync::Manual);
    let bad = shop.commit(&Version::bad("by-hand-2"));
    shop.sync_by_hand(&bad);
    shop.wait_state("Degraded", &bad);

    let id = stage.order(shop.previous());
    let result = stage.expect(&id, Succeeded, LIMIT);
    assert_eq!(result.revision.as_deref(), Some(good.as_str()));
    assert_eq!(shop.running(), image("by-hand-1"));
    // Exactly what `argocd app rollback` does: the spec stays, so that git says something else.
    let object = shop.object();
    assert_eq!(object["spec"]["source"]["targetRevision"], "main");
    assert!(object["spec"]["syncPolicy"]["automated"].is_null());
    let app = shop.wait_any("OutOfSync");
    assert!(app["hold"].is_null(), "{app:#}");
    assert_eq!(
        shop.history().last().unwrap(),
        &(good.clone(), "edge-agent:pi-01".to_owned())
    );

    // A pin is possible here too, and resume takes it back. Not to the bad one: Kubernetes does not always
    // give up a Deployment a second time that has come back to pods which it has given up before.
    let id =
        stage.order(shop.rollback(RollbackTarget::Revision(good.clone()), Some(HoldMode::Pin)));
    stage.expect(&id, Succeeded, LIMIT);
    shop.wait_state("RolledBack", &good);
    let id = stage.order(shop.resume());
    stage.expect(&id, Succeeded, LIMIT);
    assert_eq!(shop.object()["spec"]["source"]["targetRevision"], "main");
}

pub(super) fn by_revision_and_id(stage: &dyn Scene) {
    let (shop, first) = Shop::open(stage, "by-name", Sync::Auto);
    let second = shop.push(&Version::good("by-name-2"));
    shop.wait_told(&second);
    let third = shop.push(&Version::good("by-name-3"));
    shop.wait_state("Healthy", &third);

    let id = stage.order(shop.rollback(RollbackTarget::Revision(first.clone()), None));
    stage.expect(&id, Succeeded, LIMIT);
    shop.wait_state("RolledBack", &first);
    assert_eq!(shop.running(), image("by-name-1"));

    let history = shop.object()["status"]["history"].clone();
    let entries = history.as_array().unwrap();
    let entry = entries
        .iter()
        .find(|entry| entry["revision"] == json!(second))
        .unwrap();
    let id =
        stage.order(shop.rollback(RollbackTarget::History(entry["id"].as_u64().unwrap()), None));
    stage.expect(&id, Succeeded, LIMIT);
    let app = shop.wait_state("RolledBack", &second);
    assert_eq!(app["hold"]["from"], json!(first));
    assert_eq!(shop.running(), image("by-name-2"));
}

pub(super) fn of_a_rollback(stage: &dyn Scene) {
    let (shop, first) = Shop::open(stage, "twice", Sync::Auto);
    let second = shop.push(&Version::good("twice-2"));
    shop.wait_told(&second);
    let bad = shop.push(&Version::bad("twice-3"));
    shop.wait_state("Degraded", &bad);

    let one = stage.order(shop.previous());
    stage.wait_answer(&one, Executing);
    shop.wait_state("RolledBack", &second);
    // Before the first one has come to its end: the second one takes its place.
    let two = stage.order(shop.previous());
    stage.expect(&one, Superseded, LIMIT);
    stage.expect(&two, Succeeded, LIMIT);
    shop.wait_state("RolledBack", &first);
    assert_eq!(shop.running(), image("twice-1"));

    // Back to git, which has moved on in the meantime.
    let fixed = shop.commit(&Version::good("twice-4"));
    let id = stage.order(shop.resume());
    stage.expect(&id, Succeeded, LIMIT);
    shop.wait_state("Healthy", &fixed);
    assert_eq!(shop.object()["spec"]["source"]["targetRevision"], "main");
}

pub(super) fn while_a_check_fails(stage: &dyn Scene) {
    let (shop, good) = Shop::open(stage, "check-fails", Sync::Auto);
    shop.push(&Version::good("check-fails-2").with_failing_check("image-scan"));
    shop.wait_any("SecurityCheckFailed");

    let id = stage.order(shop.previous());
    shop.wait_state("RolledBack", &good);
    stage.expect(&id, Succeeded, LIMIT);
    assert_eq!(shop.running(), image("check-fails-1"));
    assert_not_trying(&shop);
}

pub(super) fn while_a_check_hangs(stage: &dyn Scene) {
    let (shop, good) = Shop::open(stage, "check-hangs", Sync::Auto);
    shop.push(&Version::good("check-hangs-2").with_check("image-scan", FOR_EVER));
    shop.wait_any("Syncing");
    let app = stage.wait_app("check-hangs", "to wait for its check", LIMIT, &|app| {
        let message = app["operation"]["message"].as_str().unwrap_or_default();
        message.contains("waiting for completion of hook batch/Job/image-scan")
    });
    assert_eq!(app["operation"]["phase"], "Running");

    let id = stage.order(shop.previous());
    shop.wait_state("RolledBack", &good);
    stage.expect(&id, Succeeded, LIMIT);
    assert_eq!(shop.running(), image("check-hangs-1"));
    assert_not_trying(&shop);
}

pub(super) fn while_an_operation_hangs(stage: &dyn Scene) {
    let (shop, first) = Shop::open(stage, "hangs", Sync::Manual);
    let second = shop.commit(&Version::good("hangs-2"));
    shop.sync_by_hand(&second);
    shop.wait_told(&second);
    let third = shop.commit(&Version::good("hangs-3").with_check("database", FOR_EVER));
    shop.sync_by_hand(&third);
    stage.wait_app("hangs", "to wait for its check", LIMIT, &|app| {
        let message = app["operation"]["message"].as_str().unwrap_or_default();
        message.contains("waiting for completion of hook")
    });

    // What runs is the second one, and the third is being tried: `previous` is the second one.
    let id = stage.order(shop.previous());
    let result = stage.expect(&id, Succeeded, LIMIT);
    assert_eq!(result.revision.as_deref(), Some(second.as_str()));
    assert_eq!(shop.running(), image("hangs-2"));
    let id = stage.order(shop.rollback(RollbackTarget::Revision(first), None));
    stage.expect(&id, Succeeded, LIMIT);
    assert_eq!(shop.running(), image("hangs-1"));
    assert_not_trying(&shop);
}

pub(super) fn prunes(stage: &dyn Scene) {
    let (shop, good) = Shop::open(stage, "prunes", Sync::Auto);
    let second = shop.push(&Version::good("prunes-2").with_config_map("added"));
    shop.wait_state("Healthy", &second);
    assert!(shop.has_config_map("added"));
    // Auto-sync prunes, so the pin does.
    let id = stage.order(shop.previous());
    stage.expect(&id, Succeeded, LIMIT);
    shop.wait_state("RolledBack", &good);
    assert!(!shop.has_config_map("added"));

    let (shop, _) = Shop::open(stage, "prunes-not", Sync::Manual);
    let second = shop.commit(&Version::good("prunes-not-2").with_config_map("added"));
    shop.sync_by_hand(&second);
    shop.wait_state("Healthy", &second);
    let id = stage.order(shop.previous());
    stage.expect(&id, Succeeded, LIMIT);
    assert!(shop.has_config_map("added"), "nobody has asked to prune");
    let third = shop.commit(&Version::good("prunes-not-3").with_config_map("added"));
    shop.sync_by_hand(&third);
    shop.wait_state("Healthy", &third);
    let history = shop.history();
    let first = history.first().unwrap().0.clone();
    let id = stage.order(Action::Rollback {
        application: shop.name.clone(),
        to: RollbackTarget::Revision(first),
        hold: None,
        prune: true,
        allow_managed: false,
    });
    stage.expect(&id, Succeeded, LIMIT);
    assert!(!shop.has_config_map("added"), "asked to prune");
}

/// No operation is under way, and none begins.
fn assert_not_trying(shop: &Shop<'_>) {
    for _ in 0..15 {
        let object = shop.object();
        assert!(object["operation"].is_null(), "{}", object["operation"]);
        let phase = &object["status"]["operationState"]["phase"];
        assert!(phase != "Running" && phase != "Terminating", "{phase}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

trait Word {
    fn to_string_on_wire(&self) -> String;
}

impl Word for edge_agent_core::application::DeployState {
    fn to_string_on_wire(&self) -> String {
        match serde_json::to_value(self) {
            Ok(Value::String(word)) => word,
            other => panic!("{other:?}"),
        }
    }
}
