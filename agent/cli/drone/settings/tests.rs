use edge_agent_core::command::payload::{Action, RollbackTarget};

use super::*;

const SHA: &str = "25a5d246488dfd358d1e0de9aaf92778210d66fa";
const OTHER: &str = "0123456789abcdef0123456789abcdef01234567";

fn key_text() -> String {
    SigningKey::seed_to_text(&[3; 32]).unwrap()
}

fn public() -> String {
    SigningKey::from_seed(&[4; 32]).unwrap().public_base64()
}

/// The environment of a step as the runners make it, with a complete set of settings; `more`
/// replaces or adds, and takes away what is `None`.
fn environment(more: &[(&str, Option<&str>)]) -> Vec<(String, String)> {
    let (key, public) = (key_text(), public());
    let mut all: Vec<(String, String)> = [
        ("CI", "true"),
        ("PATH", "/usr/bin:/bin"),
        ("DRONE_REPO", "acme/edge-app"),
        ("DRONE_BUILD_NUMBER", "42"),
        ("DRONE_BUILD_EVENT", "promote"),
        ("DRONE_BUILD_PARENT", "41"),
        ("DRONE_COMMIT_SHA", SHA),
        ("DRONE_STAGE_NUMBER", "1"),
        ("DRONE_STEP_NAME", "rollout"),
        ("PLUGIN_BROKER", "mqtt://127.0.0.1:1883"),
        ("PLUGIN_SIGNING_KEY", &key),
        ("PLUGIN_NODE", "pi-01,pi-02"),
        ("PLUGIN_APPLICATION", "shop"),
        ("PLUGIN_NODE_KEYS", &public),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec();
    for (name, value) in more {
        all.retain(|(known, _)| known != name);
        all.extend(value.map(|value| ((*name).to_owned(), value.to_owned())));
    }
    all
}

fn read(more: &[(&str, Option<&str>)]) -> Settings {
    Settings::read(&environment(more)).unwrap()
}

fn faults(more: &[(&str, Option<&str>)]) -> String {
    Settings::read(&environment(more)).unwrap_err().join("\n")
}

#[test]
fn the_event_says_what_is_to_be_done() {
    for event in ["promote", "custom", "push"] {
        let settings = read(&[("DRONE_BUILD_EVENT", Some(event))]);
        assert_eq!(
            settings.work.target,
            Target::Rollout(SHA.to_owned()),
            "{event}"
        );
    }
    let back = read(&[("DRONE_BUILD_EVENT", Some("rollback"))]);
    let to = RollbackTarget::Revision(SHA.to_owned());
    assert_eq!(back.work.target, Target::Rollback(to));
    for event in ["pull_request", "cron", "tag"] {
        let faults = faults(&[("DRONE_BUILD_EVENT", Some(event))]);
        assert!(faults.contains("action: does not follow"), "{faults}");
    }
    let told = read(&[
        ("DRONE_BUILD_EVENT", Some("cron")),
        ("PLUGIN_ACTION", Some("rollback")),
        ("PLUGIN_REVISION", Some("previous")),
    ]);
    assert_eq!(told.work.target, Target::Rollback(RollbackTarget::Previous));
}

#[test]
fn a_secret_that_does_not_exist_fails_by_its_name() {
    for name in [
        "signing_key",
        "username",
        "password",
        "ca_cert",
        "client_cert",
        "client_key",
        "key_id",
        "node_keys",
        "broker",
        "node",
        "application",
        "revision",
        "images",
    ] {
        let variable = format!("PLUGIN_{}", name.to_uppercase());
        for empty in ["", "  ", "\n"] {
            let faults = faults(&[(variable.as_str(), Some(empty))]);
            assert!(
                faults.contains(&format!("{name}: is set and empty")),
                "{faults}"
            );
        }
    }
}

#[test]
fn what_is_missing_is_told_all_at_once() {
    let environment = [("CI".to_owned(), "true".to_owned())];
    let faults = Settings::read(&environment).unwrap_err().join("\n");
    for name in [
        "DRONE_REPO",
        "DRONE_BUILD_NUMBER",
        "DRONE_STEP_NAME",
        "broker",
        "signing_key",
        "node",
        "application",
        "node_keys",
    ] {
        assert!(faults.contains(&format!("{name}: is")), "{name}: {faults}");
    }
}

#[test]
fn settings_that_do_not_fit_are_told() {
    for (name, value, wanted) in [
        ("PLUGIN_BROKER", "broker:1883", "broker: "),
        ("PLUGIN_NODE", "a/b", "node: "),
        ("PLUGIN_NODE", "pi,pi", "names pi twice"),
        ("PLUGIN_APPLICATION", "Shop", "settings: `application`"),
        (
            "PLUGIN_REVISION",
            "main",
            "settings: `revision` is a full commit SHA",
        ),
        ("PLUGIN_IMAGES", "shop:latest", "settings: `images`"),
        ("PLUGIN_TTL", "600", "ttl: a duration"),
        ("PLUGIN_TIMEOUT", "0s", "timeout: "),
        ("PLUGIN_WAIT", "forever", "wait: is one of none, accepted"),
        ("PLUGIN_ACTION", "restart", "action: is one of auto"),
        ("PLUGIN_WAVES", "half", "waves: "),
        ("PLUGIN_CA_CERT", "cert", "ca_cert: is neither PEM"),
        ("PLUGIN_PASSWORD", "x", "username: is missing"),
        ("PLUGIN_CLIENT_KEY", "-----BEGIN", "belong together"),
        ("PLUGIN_CA_CERT", "-----BEGIN", "must begin with mqtts://"),
        ("PLUGIN_PINS", "pins", "exclude each other"),
        ("PLUGIN_GROUP", "/no/such/file", "group: /no/such/file"),
        (
            "PLUGIN_ON_FALIURE",
            "rollback",
            "did you mean `on_failure`?",
        ),
        ("PLUGIN_KEY-ID", "x", "did you mean `key_id`?"),
    ] {
        let faults = faults(&[(name, Some(value))]);
        assert!(faults.contains(wanted), "{name}={value}: {faults}");
    }
    let both = faults(&[
        ("PLUGIN_WAVES", Some("1")),
        ("PLUGIN_WAIT", Some("accepted")),
    ]);
    assert!(both.contains("waves: each begins"), "{both}");
    let rollback = [
        ("PLUGIN_ACTION", Some("rollback")),
        ("PLUGIN_ON_FAILURE", Some("rollback")),
    ];
    assert!(faults(&rollback).contains("on_failure: belongs to a rollout"));
}

/// As the README has it: the step of a rollback is that of the rollouts.
#[test]
fn one_step_for_all_events_may_say_what_it_wants_of_rollouts() {
    let image = format!("sha256:{}", "a".repeat(64));
    let step = |event| {
        read(&[
            ("DRONE_BUILD_EVENT", Some(event)),
            ("PLUGIN_ACTION", Some("auto")),
            ("PLUGIN_ON_FAILURE", Some("rollback")),
            ("PLUGIN_IMAGES", Some(&image)),
        ])
        .work
    };
    let Action::Rollout {
        images, on_failure, ..
    } = step("promote").action()
    else {
        panic!("no rollout")
    };
    assert_eq!((images.len(), on_failure), (1, OnFailure::Rollback));
    let back = step("rollback");
    assert_eq!(
        back.target,
        Target::Rollback(RollbackTarget::Revision(SHA.to_owned()))
    );
    assert_eq!(back.on_failure, OnFailure::None);
}

#[test]
fn a_target_has_nodes_of_its_own_and_a_mistyped_one_has_none() {
    let targets = ("PLUGIN_TARGETS", Some(r#"{"kitchen":["pi-04","pi-05"]}"#));
    let names = |target: Option<&str>| {
        let settings = read(&[targets, ("DRONE_DEPLOY_TO", target)]);
        let names: Vec<String> = settings.nodes.iter().map(ToString::to_string).collect();
        names.join(",")
    };
    assert_eq!(names(Some("kitchen")), "pi-04,pi-05");
    // A custom build has no target.
    for none in [None, Some("")] {
        assert_eq!(names(none), "pi-01,pi-02");
    }
    let mistyped = faults(&[targets, ("DRONE_DEPLOY_TO", Some("kichen"))]);
    assert_eq!(mistyped, "targets: has no `kichen`, only kitchen");
    for odd in [r#"{"kitchen":"pi-04"}"#, "kitchen", "[]"] {
        let faults = faults(&[("PLUGIN_TARGETS", Some(odd))]);
        assert!(faults.contains("targets: is no map"), "{odd}: {faults}");
    }
    let nobody = [
        ("PLUGIN_TARGETS", Some(r#"{"kitchen":[]}"#)),
        ("DRONE_DEPLOY_TO", Some("kitchen")),
    ];
    assert!(faults(&nobody).contains("node: is missing"));
}

#[test]
fn the_signing_key_is_never_repeated() {
    let whole = key_text();
    let cut = &whole[..whole.len() - 8];
    let changed = whole.replace("edge-agent-private-key-1:", "");
    for text in [cut, changed.as_str(), "two\nlines"] {
        let faults = faults(&[("PLUGIN_SIGNING_KEY", Some(text))]);
        assert!(faults.contains("signing_key: "), "{faults}");
        assert!(!faults.contains(&text[text.len() / 2..]), "{faults}");
    }
    let shown = format!("{:?}", read(&[]));
    assert!(!shown.contains(&whole[40..80]), "{shown}");
}

#[test]
fn secrets_in_memory_and_files_by_path() {
    let settings = read(&[
        ("PLUGIN_BROKER", Some("mqtts://broker.example")),
        ("PLUGIN_USERNAME", Some("drone")),
        ("PLUGIN_PASSWORD", Some("/hunter2")),
        ("PLUGIN_CA_CERT", Some("-----BEGIN CERTIFICATE-----\nx\n")),
        ("PLUGIN_CLIENT_CERT", Some("/etc/edge-agent/drone.pem")),
        (
            "PLUGIN_CLIENT_KEY",
            Some("-----BEGIN PRIVATE KEY-----\ny\n"),
        ),
    ]);
    let text = |path: Option<PathBuf>| std::fs::read_to_string(path.unwrap()).unwrap();
    assert_eq!(text(settings.mqtt.password_file.clone()), "/hunter2");
    assert!(text(settings.mqtt.ca_file.clone()).starts_with("-----BEGIN CERT"));
    let certificate = settings.mqtt.cert_file.clone().unwrap();
    assert_eq!(certificate, PathBuf::from("/etc/edge-agent/drone.pem"));
    assert!(!format!("{settings:?}").contains("hunter2"));
}

#[test]
fn files_for_what_only_an_earlier_step_knows() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (group, revision) = (
        write("kitchen", "# kitchen\npi-01\n\npi-03\n"),
        write("revision", &format!("{OTHER}\n")),
    );
    let settings = read(&[
        ("PLUGIN_NODE", None),
        ("PLUGIN_GROUP", Some(&group)),
        ("PLUGIN_REVISION_FILE", Some(&revision)),
    ]);
    let names: Vec<&str> = settings.nodes.iter().map(NodeName::as_str).collect();
    assert_eq!(names, ["pi-01", "pi-03"]);
    assert_eq!(settings.work.revision(), Some(OTHER));
    let both = [
        ("PLUGIN_REVISION", Some(SHA)),
        ("PLUGIN_REVISION_FILE", Some(revision.as_str())),
    ];
    assert!(faults(&both).contains("exclude each other"));
}

#[test]
fn an_id_is_for_one_node_of_one_step_of_one_build() {
    let id = |more: &[(&str, Option<&str>)], node: &str| read(more).build.command_id(node, "work");
    let first = id(&[], "pi-01");
    assert!(
        first.starts_with("drone-42-") && first.len() <= 64,
        "{first}"
    );
    // The step again, on another day with another sequence: the same order.
    assert_eq!(id(&[("PLUGIN_TTL", Some("1m"))], "pi-01"), first);
    assert_ne!(id(&[], "pi-02"), first);
    for other in [
        ("DRONE_BUILD_NUMBER", Some("43")),
        ("DRONE_REPO", Some("acme/other")),
        ("DRONE_STEP_NAME", Some("rollout-2")),
        ("DRONE_STAGE_NUMBER", Some("2")),
    ] {
        assert_ne!(id(&[other], "pi-01"), first, "{other:?}");
    }
}
