//! What happens in the cluster is told: the right state, revision, images and reason, within a second.

mod owned;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::super::Args;
use super::observed::relay;
use super::stage::{Scenario, Stage};
use crate::scenarios::api::application_path;
use crate::scenarios::scene::{LIMIT, Scene as _};
use crate::scenarios::shop::{Shop, Sync};
use crate::scenarios::version::{Version, image};
use crate::{figure, wait};

/// How long the relay of a change may take.
const PROMPT: Duration = Duration::from_secs(1);

const SCENARIOS: &[Scenario] = &[
    ("relay_life", life),
    ("relay_culprit", culprit),
    ("relay_culprit_untold", culprit_untold),
    ("relay_drift", drift),
    ("relay_drift_by_hand", drift_by_hand),
    ("relay_checks", checks),
    ("relay_given_up", given_up),
    ("relay_sync_error", sync_error),
    ("relay_bad_path", bad_path),
    ("relay_bad_yaml", bad_yaml),
    ("relay_suspended", suspended),
    ("relay_missing", missing),
    ("relay_deletion", deletion),
    ("relay_skip_reconcile", skip_reconcile),
    ("relay_sync_window", sync_window),
    ("relay_multi_source", multi_source),
    ("relay_hydrated", owned::hydrated),
    ("relay_of_a_set", owned::of_a_set),
    ("relay_app_of_apps", owned::app_of_apps),
];

pub(super) fn suite(args: &Args) {
    let stage = Stage::set(args);
    // What happens before the first list is not relayed, but listed.
    stage.wait_cluster_up(LIMIT);
    stage.play(args, SCENARIOS);
    std::thread::sleep(2 * PROMPT);
    all_was_prompt(&stage);
}

/// Every change that the suite's own watch has heard of was on the broker in time, unless the next
/// one came before that.
fn all_was_prompt(stage: &Stage) {
    let observed = stage.observed.lock().unwrap().clone();
    let messages = stage.recorder.messages();
    let names: std::collections::BTreeSet<&str> =
        observed.iter().map(|o| o.name.as_str()).collect();
    let (mut delays, mut overtaken, mut missed) = (Vec::new(), 0, Vec::new());
    for name in names {
        let found = relay(name, &observed, &messages, PROMPT);
        delays.extend(found.delays);
        overtaken += found.overtaken;
        missed.extend(
            found
                .missed
                .into_iter()
                .map(|missed| format!("{name}: {missed}")),
        );
    }
    delays.sort();
    let at = |part: usize| {
        delays
            .get((delays.len() * part / 100).min(delays.len() - 1))
            .unwrap()
    };
    figure(
        "changes relayed",
        format!(
            "{}, {overtaken} overtaken by the next; half within {:?}, 95 % within {:?}, all within {:?}",
            delays.len(),
            at(50),
            at(95),
            at(100)
        ),
    );
    assert!(delays.len() > 40, "too few changes: {}", delays.len());
    assert!(
        missed.is_empty(),
        "not relayed within {PROMPT:?}: {missed:#?}"
    );
}

fn life(stage: &Stage) {
    let shop = Shop::prepare(stage, "life", &Sync::Auto);
    let first = shop.commit(&Version::good("life-1"));
    shop.create();
    let app = shop.wait_state("Healthy", &first);
    assert_eq!(
        (&app["sync"], &app["health"]),
        (&json!("Synced"), &json!("Healthy"))
    );
    assert_eq!(app["images"], json!([image("life-1")]));
    assert_eq!(app["project"], "default");
    assert_eq!(app["operation"]["phase"], "Succeeded");
    let slow = shop.push(&Version::slow("life-2"));
    let app = shop.wait_state("Progressing", &slow);
    assert!(app["culprit"].is_null(), "{app:#}");
    let bad = shop.push(&Version::bad("life-3"));
    shop.wait_state("Degraded", &bad);
    told(stage, "life", "Degraded");
    let pushed = Instant::now();
    let fixed = shop.push(&Version::good("life-4"));
    shop.wait_state("Healthy", &fixed);
    figure(
        "from the push of a fix to its Healthy on the broker",
        format!("{:?}", pushed.elapsed()),
    );
    // The steps of an ordinary sync are no events.
    let events = stage.events("edge.app.state", "life");
    let told: Vec<&str> = events
        .iter()
        .filter_map(|e| e["data"]["state"].as_str())
        .collect();
    assert!(!told.contains(&"OutOfSync"), "{told:?}");
    assert!(told.len() <= 6, "{told:?}");
}

/// Waits until it is an event that the application has that state.
fn told(stage: &Stage, name: &str, state: &str) -> Value {
    wait(LIMIT, &format!("{state} of {name} to be an event"), || {
        let events = stage.events("edge.app.state", name);
        events
            .into_iter()
            .find(|event| event["data"]["state"] == state)
    })
}

/// What the Deployment says of itself is told with Degraded, and asked for once.
fn culprit(stage: &Stage) {
    let (shop, _) = Shop::open(stage, "culprit", Sync::Auto);
    shop.let_be_read();
    let mark = stage.lab.mark();
    shop.push(&Version::bad("culprit-2"));
    let app = stage.wait_app("culprit", "to have a culprit", LIMIT, &|app| {
        app["state"] == "Degraded" && app["culprit"].is_object()
    });
    let said = &app["culprit"];
    assert_eq!(
        (&said["kind"], &said["name"], &said["namespace"]),
        (&json!("Deployment"), &json!("web"), &json!(shop.namespace))
    );
    let message = said["message"].as_str().unwrap();
    assert!(
        message.starts_with("Progressing=False ProgressDeadlineExceeded: "),
        "{message}"
    );
    let event = told(stage, "culprit", "Degraded");
    assert_eq!(event["data"]["culprit"], *said);
    assert_eq!(readings(stage, &shop, mark), [200]);
    shop.push(&Version::good("culprit-3"));
    let app = shop.wait_any("Healthy");
    assert!(app["culprit"].is_null(), "{app:#}");
}

/// Without the right, everything else is told; it is tried once, and said once.
fn culprit_untold(stage: &Stage) {
    let (shop, _) = Shop::open(stage, "culprit-untold", Sync::Auto);
    let mark = stage.lab.mark();
    for round in 2..4 {
        let bad = shop.push(&Version::bad(&format!("culprit-untold-{round}")));
        shop.wait_state("Degraded", &bad);
        let event = wait(LIMIT, "Degraded to be told", || {
            let events = stage.events("edge.app.state", "culprit-untold");
            let told = |event: &Value| {
                event["data"]["state"] == "Degraded" && event["data"]["revision"] == bad
            };
            events.into_iter().find(told)
        });
        assert!(event["data"]["culprit"].is_null(), "{event:#}");
        let fixed = shop.push(&Version::good(&format!("culprit-untold-{round}-fixed")));
        shop.wait_state("Healthy", &fixed);
    }
    assert_eq!(
        readings(stage, &shop, mark),
        [403, 403],
        "one for each time"
    );
    let log = stage.setup.log();
    let said = log
        .lines()
        .filter(|line| line.contains("which one is at fault") && line.contains(&shop.name))
        .count();
    assert_eq!(said, 1, "it is said once");
}

/// How the agent's requests for the Deployments of an application were answered.
fn readings(stage: &Stage, shop: &Shop<'_>, mark: usize) -> Vec<u64> {
    let requests = stage.lab.requests(mark);
    requests
        .iter()
        .filter(|request| {
            let about = &request["objectRef"];
            about["resource"] == "deployments" && about["namespace"] == json!(shop.namespace)
        })
        .map(|request| request["responseStatus"]["code"].as_u64().unwrap())
        .collect()
}

fn drift(stage: &Stage) {
    let (shop, first) = Shop::open(stage, "drift", Sync::Auto);
    let two = json!({"spec": {"replicas": 2}});
    stage.lab.api.merge(&shop.deployment(), &two);
    wait(LIMIT, "self-heal", || {
        let deployment = stage.lab.api.get(&shop.deployment());
        (deployment["spec"]["replicas"] == 1).then_some(())
    });
    shop.wait_state("Healthy", &first);
}

fn drift_by_hand(stage: &Stage) {
    let (shop, first) = Shop::open(stage, "drift-stays", Sync::Manual);
    let two = json!({"spec": {"replicas": 2}});
    stage.lab.api.merge(&shop.deployment(), &two);
    shop.wait_state("OutOfSync", &first);
    told(stage, "drift-stays", "OutOfSync");
    let next = shop.push(&Version::good("drift-stays-2"));
    shop.wait_state("OutOfSync", &next);
}

fn checks(stage: &Stage) {
    let (shop, _) = Shop::open(stage, "checks", Sync::Auto);
    shop.push(&Version::good("checks-2").with_check("image-scan", "3s"));
    stage.wait_app("checks", "to wait for its check", LIMIT, &|app| {
        let message = app["operation"]["message"].as_str().unwrap_or_default();
        app["state"] == "Syncing" && message.contains("hook batch/Job/image-scan")
    });
    shop.wait_any("Healthy");
    let bad = shop.push(&Version::good("checks-3").with_failing_check("image-scan"));
    let app = shop.wait_state("SecurityCheckFailed", &bad);
    assert_eq!(app["culprit"]["kind"], "Job");
    assert_eq!(app["culprit"]["name"], "image-scan");
    assert!(
        app["culprit"]["message"]
            .as_str()
            .unwrap()
            .contains("backoff limit")
    );
    assert_eq!(
        app["operation"]["phase"], "Running",
        "it will be tried again"
    );
    let event = told(stage, "checks", "SecurityCheckFailed");
    assert_eq!(event["data"]["culprit"]["name"], "image-scan");
    assert_eq!(shop.running(), image("checks-2"));
    // One that is no security check.
    let (shop, _) = Shop::open(stage, "other-checks", Sync::Auto);
    shop.push(&Version::good("other-checks-2").with_failing_check("database"));
    let app = shop.wait_any("Retrying");
    assert_eq!(app["culprit"]["name"], "database");
}

fn given_up(stage: &Stage) {
    let shop = Shop::prepare(stage, "given-up", &Sync::Auto);
    shop.with_spec(|spec| {
        spec["syncPolicy"]["retry"] = json!({"limit": 1, "backoff": {"duration": "1s"}})
    });
    shop.commit(&Version::good("given-up-1"));
    shop.create();
    shop.wait_any("Healthy");
    shop.push(&Version::good("given-up-2").with_failing_check("database"));
    let app = shop.wait_any("SyncFailed");
    assert_eq!(app["operation"]["phase"], "Failed");
    assert_eq!(app["operation"]["retry"], 1);
    assert_eq!(app["culprit"]["name"], "database");
    told(stage, "given-up", "SyncFailed");
}

fn sync_error(stage: &Stage) {
    let shop = Shop::prepare(stage, "sync-error", &Sync::Auto);
    shop.with_spec(|spec| spec["syncPolicy"]["retry"] = json!({"limit": 0}));
    shop.commit(&Version::good("sync-error-1"));
    shop.create();
    shop.wait_any("Healthy");
    let invalid =
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\nspec:\n  ports: [{port: 99999}]\n";
    shop.push(&Version::good("sync-error-2").with("service.yaml", invalid));
    let app = shop.wait_any("SyncFailed");
    let message = app["culprit"]["message"].as_str().unwrap();
    assert!(message.contains("99999"), "{app:#}");
    assert_eq!(app["culprit"]["kind"], "Service");
}

fn bad_path(stage: &Stage) {
    let shop = Shop::prepare(stage, "bad-path", &Sync::Auto);
    shop.commit(&Version::good("bad-path-1"));
    shop.with_spec(|spec| spec["source"]["path"] = json!("nowhere"));
    shop.create();
    let app = shop.wait_any("Unknown");
    let app = match app["culprit"].is_null() {
        true => stage.wait_app("bad-path", "to have a culprit", LIMIT, &|app| {
            app["culprit"].is_object()
        }),
        false => app,
    };
    assert!(
        app["culprit"]["message"]
            .as_str()
            .unwrap()
            .contains("nowhere"),
        "{app:#}"
    );
    told(stage, "bad-path", "Unknown");
}

fn bad_yaml(stage: &Stage) {
    let (shop, _) = Shop::open(stage, "bad-yaml", Sync::Auto);
    shop.push(&Version::good("bad-yaml-2").with(
        "broken.yaml",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: [\n",
    ));
    let app = stage.wait_app("bad-yaml", "to be Unknown for a reason", LIMIT, &|app| {
        app["state"] == "Unknown" && app["culprit"].is_object()
    });
    assert!(
        app["culprit"]["message"]
            .as_str()
            .unwrap()
            .contains("ComparisonError"),
        "{app:#}"
    );
    let fixed = shop.push(&Version::good("bad-yaml-3"));
    let app = shop.wait_state("Healthy", &fixed);
    assert!(app["culprit"].is_null(), "{app:#}");
}

fn suspended(stage: &Stage) {
    let (shop, first) = Shop::open(stage, "suspended", Sync::Manual);
    let paused = json!({"spec": {"paused": true}});
    stage.lab.api.merge(&shop.deployment(), &paused);
    let app = shop.wait_any("Suspended");
    assert_eq!(app["revision"], json!(first));
}

fn missing(stage: &Stage) {
    let shop = Shop::prepare(stage, "missing", &Sync::Manual);
    let first = shop.commit(&Version::good("missing-1"));
    shop.create();
    let app = shop.wait_state("Missing", &first);
    assert_eq!(app["sync"], "OutOfSync");
    told(stage, "missing", "Missing");
}

fn deletion(stage: &Stage) {
    let shop = Shop::prepare(stage, "deletion", &Sync::Auto);
    let first = shop.commit(&Version::good("deletion-1"));
    shop.create_with(json!({"finalizers": ["resources-finalizer.argocd.argoproj.io"]}));
    shop.wait_state("Healthy", &first);
    stage.lab.api.delete(&application_path("deletion"));
    let object = || stage.lab.api.find(&application_path("deletion"));
    wait(LIMIT, "Argo CD to delete it", || {
        object().is_none().then_some(())
    });
    stage.wait_app(
        "deletion",
        "to be gone",
        Duration::from_secs(2),
        &Value::is_null,
    );
    wait(LIMIT, "the deletion to be an event", || {
        (stage.events("edge.app.deleted", "deletion").len() == 1).then_some(())
    });
    assert_eq!(shop.running(), "");
}

fn skip_reconcile(stage: &Stage) {
    let (shop, first) = Shop::open(stage, "skipped-ones", Sync::Auto);
    shop.merge(
        &json!({"metadata": {"annotations": {"argocd.argoproj.io/skip-reconcile": "true"}}}),
    );
    // Argo CD looks at the annotation when it puts an application into its queue, not when it takes it
    // out: what was in there before is still compared. Only when it leaves a refresh alone, the queue
    // has run dry.
    wait(LIMIT, "Argo CD to leave it alone", || {
        shop.refresh();
        std::thread::sleep(Duration::from_secs(2));
        let annotations = &shop.object()["metadata"]["annotations"];
        annotations["argocd.argoproj.io/refresh"]
            .is_string()
            .then_some(())
    });
    shop.push(&Version::bad("skipped-ones-2"));
    std::thread::sleep(Duration::from_secs(2));
    shop.wait_state("Healthy", &first);
    assert!(!shop.request_sync(&first, "person") || shop.wait_any("Syncing")["state"] == "Syncing");
}

fn sync_window(stage: &Stage) {
    let project = "/apis/argoproj.io/v1alpha1/namespaces/argocd/appprojects/closed";
    stage.lab.api.apply(project, &json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AppProject",
        "metadata": {"name": "closed", "namespace": "argocd"},
        "spec": {
            "sourceRepos": ["*"],
            "destinations": [{"server": "*", "namespace": "*"}],
            "clusterResourceWhitelist": [{"group": "*", "kind": "*"}],
            "syncWindows": [{
                "kind": "deny", "schedule": "* * * * *", "duration": "1h", "applications": ["*"],
            }],
        },
    }));
    let shop = Shop::prepare(stage, "window", &Sync::Auto);
    shop.with_spec(|spec| spec["project"] = json!("closed"));
    let first = shop.commit(&Version::good("window-1"));
    shop.create();
    let app = shop.wait_state("Missing", &first);
    assert_eq!(app["project"], "closed");
    // A sync that is asked for waits for the window, and says so.
    shop.sync_by_hand(&first);
    let app = shop.wait_any("Syncing");
    let app = match app["operation"]["message"].is_string() {
        true => app,
        false => stage.wait_app("window", "to say why it waits", LIMIT, &|app| {
            app["operation"]["message"].is_string()
        }),
    };
    let message = app["operation"]["message"].as_str().unwrap();
    assert!(message.contains("sync window"), "{app:#}");
    stage.lab.api.delete(&application_path("window"));
    stage.wait_app("window", "to be gone", LIMIT, &Value::is_null);
    stage.lab.api.delete(project);
}

fn multi_source(stage: &Stage) {
    let shop = Shop::prepare(stage, "sources", &Sync::Auto);
    shop.commit(&Version::good("sources-1"));
    let text = crate::scenarios::version::config_map("second");
    let other = super::repository::Repository::new(stage.directory.path().join("git/sources-2"));
    let of_other = other.commit_plain("second.yaml", &text);
    shop.with_spec(|spec| {
        let first = spec.as_object_mut().unwrap().remove("source").unwrap();
        spec["sources"] = json!([first, {
            "repoURL": other.url(), "path": ".", "targetRevision": "main",
        }]);
    });
    shop.create();
    let app = shop.wait_any("Healthy");
    let revision = app["revision"].as_str().unwrap().to_owned();
    assert!(revision.ends_with(&format!(",{of_other}")), "{revision}");
    assert!(shop.has_config_map("second"));
    // Back and forth with both.
    let bad = shop.push(&Version::bad("sources-2"));
    stage.wait_app("sources", "to be Degraded", LIMIT, &|app| {
        app["state"] == "Degraded" && app["revision"] == format!("{bad},{of_other}")
    });
    let id = stage.order(shop.previous());
    stage.expect(&id, edge_agent_core::wire::ResultState::Succeeded, LIMIT);
    let app = shop.wait_state("RolledBack", &revision);
    assert_eq!(app["hold"]["to"], json!(revision));
    assert_eq!(shop.running(), image("sources-1"));
    let fixed = shop.commit(&Version::good("sources-3"));
    let id = stage.order(shop.resume());
    stage.expect(&id, edge_agent_core::wire::ResultState::Succeeded, LIMIT);
    shop.wait_state("Healthy", &format!("{fixed},{of_other}"));
}
