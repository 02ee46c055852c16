mod states;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use expect_test::expect;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::stream::{Change, Page};
use super::*;
use crate::clock::format_timestamp;

const FIXTURES: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../tests/fixtures/argocd-3.5.7/"
);

pub(crate) fn fixture_bytes(name: &str) -> Vec<u8> {
    std::fs::read(format!("{FIXTURES}{name}")).unwrap()
}

/// An object of the real controller.
pub(crate) fn fixture(name: &str) -> Value {
    serde_json::from_slice(&fixture_bytes(&format!("{name}.json"))).unwrap()
}

pub(crate) fn application(object: &Value) -> Application {
    Application::from_value(object).unwrap()
}

pub(crate) fn rules(hooks: &str) -> Rules {
    Rules::new(Duration::from_secs(600), &[hooks.to_owned()])
}

/// The state at the moment of the last comparison.
fn state(app: &Application, rules: &Rules) -> DeployState {
    let now = app.reconciled_at.unwrap_or(Timestamp::UNIX_EPOCH);
    deploy_state(app, rules, now)
}

#[test]
fn every_object_of_the_real_controller_has_its_state() {
    use DeployState::*;
    let table = [
        // Without and with its PreSync hook counted as a security check.
        (
            "auto-presync-failed-15s-later",
            SyncFailed,
            SecurityCheckFailed,
        ),
        (
            "auto-presync-failed-gave-up",
            SyncFailed,
            SecurityCheckFailed,
        ),
        ("comparison-error-bad-yaml", Unknown, Unknown),
        ("comparison-error", Unknown, Unknown),
        ("op-running-presync", Syncing, Syncing),
        ("op-succeeded-healthy", Healthy, Healthy),
        (
            "op-succeeded-progressing-or-healthy",
            Progressing,
            Progressing,
        ),
        ("operation-overwritten-while-running", Syncing, Syncing),
        ("operation-terminated", SyncFailed, SyncFailed),
        ("outofsync-missing", Missing, Missing),
        ("pinned-healthy", Healthy, Healthy),
        ("presync-failed-gave-up", SyncFailed, SecurityCheckFailed),
        ("presync-failed-retrying-1", Retrying, SecurityCheckFailed),
        ("presync-failed-retrying-2", Retrying, SecurityCheckFailed),
        ("presync-hook-waiting", Syncing, Syncing),
        ("presync-running", Syncing, Syncing),
        ("real-node-auto-synced-healthy", Healthy, Healthy),
        (
            "real-node-presync-failed-no-retry",
            SyncFailed,
            SecurityCheckFailed,
        ),
        ("real-node-synced-healthy", Healthy, Healthy),
        ("synced-degraded", Degraded, Degraded),
        ("synced-healthy", Healthy, Healthy),
        ("synced-progressing", Progressing, Progressing),
    ];
    let mut names: Vec<_> = std::fs::read_dir(FIXTURES)
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter_map(|name| name.strip_suffix(".json").map(str::to_owned))
        .collect();
    names.sort_unstable();
    assert_eq!(names.len(), table.len(), "{names:?}");
    for (name, plain, checked) in table {
        let bytes = fixture_bytes(&format!("{name}.json"));
        let app = Application::from_json(&bytes).unwrap();
        assert_eq!(app, application(&fixture(name)), "{name}");
        assert_eq!(state(&app, &rules("*scan*")), plain, "{name}");
        assert_eq!(state(&app, &rules("*-precheck")), checked, "{name}");
    }
}

/// The states that each application of a recorded run goes through; those that repeat are told once.
#[test]
fn a_recorded_run_replays() {
    let rules = rules("*-precheck");
    let mut seen: BTreeMap<String, Vec<DeployState>> = BTreeMap::new();
    let bytes = fixture_bytes("watch-events.jsonl");
    for line in bytes.split(|byte| *byte == b'\n').filter(|l| !l.is_empty()) {
        let Change::Applied(app) = Change::from_json(line).unwrap() else {
            panic!("a line that is not an application");
        };
        let states = seen.entry(app.key.name.clone()).or_default();
        let state = state(&app, &rules);
        if states.last() != Some(&state) {
            states.push(state);
        }
    }
    let mut text = String::new();
    for (name, states) in seen {
        writeln!(text, "{name}: {states:?}").unwrap();
    }
    expect![[r#"
        degraded: [Unknown, Syncing, Missing, Progressing, Degraded, Progressing, Healthy]
        hookfail: [Unknown, Missing, Syncing, SecurityCheckFailed, Syncing, SecurityCheckFailed, Syncing, SecurityCheckFailed]
        hookok: [Unknown, Missing, Syncing, Missing, Progressing, Healthy, Progressing, Healthy]
        nopath: [Unknown]
        realfail: [Unknown, Missing, Syncing, SecurityCheckFailed]
        realhang: [Unknown, Missing, Syncing, Terminating, SyncFailed]
        realok: [Unknown, Missing, Syncing, Missing, Progressing, Healthy]
        web: [Unknown, Syncing, Missing, OutOfSync, Progressing, Healthy, Syncing, Healthy, Syncing, Healthy, Progressing, Healthy]
    "#]].assert_eq(&text);
}

#[test]
fn the_projection_keeps_what_is_told() {
    let app = application(&fixture("presync-failed-retrying-2"));
    assert_eq!(app.key.to_string(), "argocd/hookfail");
    let operation = app.operation.as_ref().unwrap();
    assert_eq!((operation.phase, operation.retry), (Phase::Running, 2));
    let report = report(&app, state(&app, &rules("*")), app.reconciled_at.unwrap());
    let culprit = report.culprit.unwrap();
    assert_eq!(
        (culprit.kind.as_str(), culprit.name.as_str()),
        ("Job", "hookfail-precheck")
    );
    assert_eq!(
        culprit.message,
        "Job has reached the specified backoff limit"
    );
    assert_eq!(report.sync, "OutOfSync");
    assert_eq!(report.operation.unwrap().phase, "Running");
    assert_eq!(format_timestamp(report.at), "2026-11-24T19:05:47.000Z");

    let app = application(&fixture("comparison-error"));
    let culprit = culprit_of(&app);
    assert!(culprit.starts_with("Application nopath ComparisonError: Failed to load"));
    let healthy = application(&fixture("synced-healthy"));
    assert_eq!(super::culprit(&healthy), None);
    assert_eq!(healthy.history.len(), 1);
    assert!(healthy.auto_sync);
}

fn culprit_of(app: &Application) -> String {
    let culprit = culprit(app).unwrap();
    format!("{} {} {}", culprit.kind, culprit.name, culprit.message)
}

/// A healthy application, changed at JSON pointers.
fn changed(changes: &[(&str, Value)]) -> Application {
    let mut object = fixture("synced-healthy");
    for (pointer, value) in changes {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let parent = object.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        parent.insert(key.replace("~1", "/"), value.clone());
    }
    application(&object)
}

#[test]
fn a_hold_counts_while_it_is_in_force() {
    let hold = |note: &str| ("/metadata/annotations", json!({"edge-agent.io/hold": note}));
    let pin = hold(r#"{"mode":"pin","to":"abc"}"#);
    let pause = hold(r#"{"mode":"pause","to":"abc","since":"2026-11-24T19:00:00.000Z"}"#);
    let pinned = ("/spec/source/targetRevision", json!("abc"));
    let off = ("/spec/syncPolicy/automated/enabled", json!(false));
    assert_eq!(changed(&[pin.clone(), pinned]).hold.unwrap().to, "abc");
    assert_eq!(changed(&[pin]).hold, None);
    assert!(changed(&[pause.clone(), off]).hold.unwrap().since.is_some());
    assert_eq!(changed(&[pause]).hold, None);
    assert_eq!(changed(&[hold("not JSON")]).hold, None);
    assert_eq!(
        changed(&[hold(r#"{"mode":"glue","to":"main"}"#)]).hold,
        None
    );
}

#[test]
fn several_sources_have_several_revisions() {
    let app = changed(&[
        ("/status/sync/revisions", json!(["aaa", "bbb"])),
        (
            "/status/history",
            json!([{"id": 7, "revisions": ["1", "2"]}, {"id": "x", "revision": "3"}]),
        ),
    ]);
    assert_eq!(app.revision.as_deref(), Some("aaa,bbb"));
    assert_eq!(app.history.len(), 1);
    assert_eq!(app.history[0].revision, "1,2");
}

#[test]
fn fields_of_the_wrong_type_count_as_absent() {
    let app = changed(&[
        ("/status/sync", json!("Synced")),
        ("/status/health", json!(["Healthy"])),
        ("/status/operationState", json!(17)),
        ("/status/history", json!({"id": 1})),
        ("/status/summary/images", json!(["a", 1, null, ["b"]])),
        (
            "/status/conditions",
            json!([true, {"type": 1}, {"type": "SyncError"}]),
        ),
        ("/status/reconciledAt", json!("yesterday")),
        ("/spec/source", json!(false)),
    ]);
    assert_eq!(app.sync, SyncStatus::Unknown);
    assert_eq!(app.operation, None);
    assert_eq!(app.images, ["a"]);
    assert_eq!(app.conditions.len(), 1);
    assert_eq!(app.reconciled_at, None);
    assert!(Application::from_json(br#"{"metadata":{"name":"x"}}"#).is_err());
    assert!(Application::from_json(b"[]").is_err());
    let large = vec![b' '; MAX_OBJECT_BYTES + 1];
    assert!(matches!(
        Application::from_json(&large),
        Err(ParseError::TooLarge(_))
    ));
}

#[test]
fn pages_and_watch_lines() {
    let item = fixture("synced-healthy");
    let page =
        json!({"metadata": {"resourceVersion": "9", "continue": "more"}, "items": [item, {}]});
    let page = Page::from_json(page.to_string().as_bytes()).unwrap();
    assert_eq!((page.applications.len(), page.unreadable), (1, 1));
    assert_eq!(
        (page.next.as_deref(), page.resource_version.as_str()),
        (Some("more"), "9")
    );
    let line = |kind: &str, object: &Value| {
        Change::from_json(
            json!({"type": kind, "object": object})
                .to_string()
                .as_bytes(),
        )
        .unwrap()
    };
    assert!(
        matches!(line("DELETED", &item), Change::Deleted(key, v) if key.name == "web" && v == "335")
    );
    let bookmark = json!({"kind": "Application", "metadata": {"resourceVersion": "12"}});
    assert_eq!(
        line("BOOKMARK", &bookmark),
        Change::Bookmark("12".to_owned())
    );
    let gone = json!({"kind": "Status", "code": 410, "message": "too old", "status": "Failure"});
    assert!(
        matches!(line("ERROR", &gone), Change::Failed { code: 410, message } if message == "too old")
    );
    assert_eq!(line("NEW", &item), Change::Unreadable);
    assert_eq!(line("ADDED", &json!(3)), Change::Unreadable);
}

#[test]
fn names_of_applications() {
    let key = ApplicationKey::parse("shop", "argocd").unwrap();
    assert_eq!(key.topic_name("argocd"), "shop");
    let other = ApplicationKey::parse("team-a/shop", "argocd").unwrap();
    assert_eq!(other.topic_name("argocd"), "team-a_shop");
    for bad in [
        "", "/", "a/", "/a", "a/b/c", "../x", "a b", "Shop", "a_b", "a/..", "-a",
    ] {
        assert_eq!(ApplicationKey::parse(bad, "argocd"), None, "{bad:?}");
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop_oneof!["Synced", "Running", "Failed", "2026-11-24T19:05:14Z", ".*"]
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(field(), inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn field() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "metadata",
        "name",
        "namespace",
        "annotations",
        "edge-agent.io/hold",
        "spec",
        "source",
        "sources",
        "targetRevision",
        "syncPolicy",
        "automated",
        "operation",
        "status",
        "sync",
        "revision",
        "revisions",
        "history",
        "id",
        "operationState",
        "phase",
        "syncResult",
        "resources",
        "hookPhase",
        "conditions",
        "type",
        "object",
        "items",
        "reconciledAt",
    ])
    .prop_map(str::to_owned)
}

proptest! {
    #[test]
    fn arbitrary_json_never_panics(mut object in any_json(), rest in any_json()) {
        let bytes = object.to_string();
        let _ = Application::from_json(bytes.as_bytes());
        let _ = Page::from_json(bytes.as_bytes());
        let _ = Change::from_json(bytes.as_bytes());
        // Whatever the rest looks like, a named object is an application.
        if let Some(map) = object.as_object_mut() {
            map.insert("metadata".into(), json!({"name": "a", "namespace": "b", "annotations": rest}));
            let app = Application::from_json(object.to_string().as_bytes()).unwrap();
            let _ = report(&app, state(&app, &rules("*")), Timestamp::UNIX_EPOCH);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let _ = Application::from_json(&bytes);
        let _ = Change::from_json(&bytes);
        let _ = Page::from_json(&bytes);
    }

    #[test]
    fn long_messages_are_cut(text in "\\PC{0,3000}") {
        let app = changed(&[("/status/operationState/message", json!(text))]);
        prop_assert!(app.operation.unwrap().message.unwrap().len() <= 1024 + '…'.len_utf8());
    }
}
