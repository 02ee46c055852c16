//! The double of Drone does what the real one was seen to do, and the pipelines that the project has
//! to copy run on it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::support::cluster::sha;
use crate::support::drone::build::{Build, Ran};
use crate::support::drone::pipeline::{Kind, Pipeline};
use crate::support::drone::runner::Runner;

/// Settings, as the compiler of the docker runner turned them into variables.
const SETTINGS: &str = r#"kind: pipeline
type: docker
name: default
steps:
- name: plugin
  image: plugin
  environment: {PLUGIN_SNAKE_CASE: weaker}
  settings:
    snake_case: v1
    camelCase: v2
    "yes": true
    truth: yes
    text: "true"
    number: 12345678901
    cut: 1.10
    octal: 0755
    exponent: 1e3
    day: 2024-01-02
    empty: ""
    nothing:
    tilde: ~
    list: [a, b, c]
    comma: ["a,b", c]
    mixed: [1, true, x]
    nested: [[a, b], [c]]
    map: {key: value, nested: {deep: [1, 2]}, camelKey: true}
    inner: {inner: {from_secret: known}}
    lines: |
      one
      two
    waves: 1,50%,100%
    secret: {from_secret: Known}
    missing: {from_secret: unknown}
"#;

const WANTED: [(&str, Option<&str>); 23] = [
    ("SNAKE_CASE", Some("v1")),
    ("CAMELCASE", Some("v2")),
    ("YES", Some("true")),
    ("TRUTH", Some("true")),
    ("TEXT", Some("true")),
    ("NUMBER", Some("12345678901")),
    ("CUT", Some("1.1")),
    ("OCTAL", Some("493")),
    ("EXPONENT", Some("1e3")),
    ("DAY", Some("2024-01-02")),
    ("EMPTY", Some("")),
    ("NOTHING", None),
    ("TILDE", None),
    ("LIST", Some("a,b,c")),
    ("COMMA", Some("a,b,c")),
    ("MIXED", Some("1,true,x")),
    ("NESTED", Some(r#"[["a","b"],["c"]]"#)),
    (
        "MAP",
        Some(r#"{"camelKey":true,"key":"value","nested":{"deep":[1,2]}}"#),
    ),
    ("INNER", Some(r#"{"inner":{"from_secret":"known"}}"#)),
    ("LINES", Some("one\ntwo\n")),
    ("WAVES", Some("1,50%,100%")),
    ("SECRET", Some("a secret\n")),
    ("MISSING", Some("")),
];

fn one(text: &str) -> Pipeline {
    let mut pipelines = Pipeline::read(text).unwrap();
    assert_eq!(pipelines.len(), 1);
    pipelines.remove(0)
}

fn promotion() -> Build {
    Build {
        number: 43,
        event: "promote".to_owned(),
        parent: 41,
        target: "production".to_owned(),
        ..Build::pushed(43, &sha(2))
    }
}

/// Runs a pipeline in a folder.
fn run(text: &str, folder: &Path, mut build: Build) -> Build {
    let secrets = BTreeMap::from([("known".to_owned(), "a secret\n".to_owned())]);
    let agent = env!("CARGO_BIN_EXE_edge-agent").to_owned();
    let plugin = vec![agent, "drone".to_owned()];
    let images = BTreeMap::from([("registry.example/edge-agent-drone".to_owned(), plugin)]);
    let runner = Runner {
        repository: "acme/shop",
        secrets: &secrets,
        images: &images,
        workspace: folder,
        logs: folder.join("logs"),
    };
    runner.run(&one(text), &mut build);
    build
}

#[test]
fn settings_become_the_variables_that_the_compiler_makes_of_them() {
    let pipeline = one(SETTINGS);
    let (secrets, images) = (
        BTreeMap::from([("known".to_owned(), "a secret\n".to_owned())]),
        BTreeMap::new(),
    );
    let folder = tempfile::tempdir().unwrap();
    let runner = Runner {
        repository: "acme/shop",
        secrets: &secrets,
        images: &images,
        workspace: folder.path(),
        logs: folder.path().to_owned(),
    };
    let mut build = promotion();
    for (name, value) in [("PLUGIN_SNAKE_CASE", "x"), ("PLUGIN_LEFT_OUT", "y")] {
        build.parameters.insert(name.to_owned(), value.to_owned());
    }
    build
        .parameters
        .insert("DRONE_COMMIT_SHA".to_owned(), "evil".to_owned());
    let (variables, _) = runner.environment(&pipeline, &build, (1, &pipeline.steps[0]));
    for (name, value) in WANTED {
        let found = variables.get(&format!("PLUGIN_{name}"));
        assert_eq!(found.map(String::as_str), value, "{name}");
    }
    // What the YAML leaves unset, a parameter fills; the build is not overridden.
    assert_eq!(variables["PLUGIN_LEFT_OUT"], "y");
    assert_eq!(variables["DRONE_COMMIT_SHA"], sha(2));
    for (name, value) in [
        ("DRONE_BUILD_EVENT", "promote"),
        ("DRONE_BUILD_PARENT", "41"),
        ("DRONE_DEPLOY_TO", "production"),
        ("DRONE_REPO", "acme/shop"),
        ("DRONE_STEP_NAME", "plugin"),
    ] {
        assert_eq!(variables[name], value, "{name}");
    }
}

#[test]
fn exit_codes_end_builds_as_they_do() {
    for (code, status, steps) in [
        (0, "success", ["success", "success", "skipped", "success"]),
        (1, "failure", ["failure", "skipped", "success", "success"]),
        (2, "failure", ["failure", "skipped", "success", "success"]),
        // A green build that did nothing more: the reason why the plugin never ends so.
        (78, "success", ["success", "skipped", "skipped", "skipped"]),
    ] {
        let text = format!(
            "kind: pipeline\ntype: exec\nname: x\nsteps:\n\
             - {{name: code, commands: ['exit {code}']}}\n\
             - {{name: after, commands: ['true']}}\n\
             - {{name: onfailure, commands: ['true'], when: {{status: [failure]}}}}\n\
             - {{name: notify, commands: ['true'], when: {{status: [success, failure]}}}}\n"
        );
        let folder = tempfile::tempdir().unwrap();
        let build = run(&text, folder.path(), promotion());
        let ended: Vec<&str> = build.steps.iter().map(|it| it.status.as_str()).collect();
        assert_eq!(ended, steps, "{code}");
        assert_eq!(build.status, status, "{code}");
    }
}

#[test]
fn secrets_are_masked_and_steps_share_a_folder() {
    let text = "kind: pipeline\ntype: docker\nname: x\nsteps:\n\
                - name: one\n  image: alpine\n  environment: {S: {from_secret: known}}\n  \
                commands: ['echo \"it is $S\"', 'echo $DRONE_BUILD_PARENT > .revision']\n\
                - name: two\n  image: alpine\n  commands: ['test 41 = \"$(cat .revision)\"']\n";
    let folder = tempfile::tempdir().unwrap();
    let build = run(text, folder.path(), promotion());
    assert_eq!(build.status, "success");
    assert_eq!(build.step("one").masked, 1);
    let log = fs::read_to_string(folder.path().join("logs/one.log")).unwrap();
    assert!(log.contains("it is ******"), "{log}");
}

#[test]
fn the_pipelines_to_copy_are_pipelines() {
    let docker = one(include_str!("../../config/gitops/drone/docker/.drone.yml"));
    let exec = one(include_str!("../../config/gitops/drone/exec/.drone.yml"));
    assert_eq!((docker.kind, exec.kind), (Kind::Docker, Kind::Exec));
    for pipeline in [&docker, &exec] {
        for event in ["custom", "promote", "rollback"] {
            assert!(pipeline.is_for(event));
        }
        assert!(!pipeline.is_for("push"));
        let last = pipeline.steps.last().unwrap();
        assert!(last.runs_after("success") && last.runs_after("failure"));
    }
    for pipeline in [&docker, &exec] {
        let names = |event: &str| -> Vec<String> {
            let steps = pipeline.steps.iter().filter(|step| step.is_for(event));
            steps.map(|step| step.name.clone()).collect()
        };
        for event in ["custom", "promote"] {
            assert_eq!(
                names(event),
                ["image", "gate", "revision", "rollout", "tell"]
            );
        }
        assert_eq!(names("rollback"), ["image", "rollback", "tell"]);
    }
}

/// The steps of the shipped pipelines without any secret: the plugin names each that is missing, and
/// nothing else is wrong with its settings.
#[test]
fn the_steps_to_copy_fail_closed_without_secrets_and_for_no_other_reason() {
    let text = include_str!("../../config/gitops/drone/docker/.drone.yml");
    let at = text.find("  - name: rollout").unwrap();
    let end = text.find("  # Runs whatever became").unwrap();
    let steps = format!(
        "kind: pipeline\ntype: docker\nname: deploy\nsteps:\n{}",
        &text[at..end]
    );
    for (event, name) in [("promote", "rollout"), ("rollback", "rollback")] {
        let folder = tempfile::tempdir().unwrap();
        let rollout = folder.path().join("rollout");
        fs::create_dir(&rollout).unwrap();
        fs::write(rollout.join("revision"), format!("{}\n", sha(2))).unwrap();
        let image = format!("registry.example/shop@sha256:{}\n", "a".repeat(64));
        fs::write(rollout.join("image"), image).unwrap();
        let build = Build {
            event: event.to_owned(),
            ..promotion()
        };
        let build = run(&steps, folder.path(), build);
        let wanted = Ran {
            name: name.to_owned(),
            status: "failure".to_owned(),
            exit_code: Some(2),
            masked: 0,
        };
        assert_eq!(build.steps, [wanted]);
        let log = fs::read_to_string(folder.path().join(format!("logs/{name}.log"))).unwrap();
        let mut faults = log.lines();
        assert!(
            faults.all(|line| line.contains("is set and empty")),
            "{log}"
        );
        for secret in [
            "username",
            "password",
            "ca_cert",
            "signing_key",
            "node_keys",
        ] {
            assert!(
                log.contains(&format!("{secret}: is set and empty")),
                "{log}"
            );
        }
    }
}
