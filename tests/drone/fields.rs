//! The pipelines to copy have nothing in them that Drone's documentation does not know
//! (docs.drone.io/yaml, the pages of docker and exec). Drone itself is silent: what it does not know, it
//! leaves out, and a secret that is not there it hands over as nothing.

#![allow(dead_code, reason = "that fields can be read is what is asked for")]

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

use super::files::{GUIDE, PIPELINES};
use crate::support::drone::yaml;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Docker {
    kind: String,
    r#type: String,
    name: String,
    platform: Option<Platform>,
    workspace: Option<Workspace>,
    clone: Option<Clone>,
    concurrency: Option<Concurrency>,
    depends_on: Option<Vec<String>>,
    environment: Option<BTreeMap<String, Value>>,
    steps: Vec<DockerStep>,
    services: Option<Vec<DockerStep>>,
    volumes: Option<Vec<Value>>,
    node: Option<BTreeMap<String, String>>,
    trigger: Option<Conditions>,
    image_pull_secrets: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Exec {
    kind: String,
    r#type: String,
    name: String,
    platform: Option<Platform>,
    workspace: Option<Workspace>,
    clone: Option<Clone>,
    concurrency: Option<Concurrency>,
    depends_on: Option<Vec<String>>,
    node: Option<BTreeMap<String, String>>,
    steps: Vec<ExecStep>,
    trigger: Option<Conditions>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DockerStep {
    name: String,
    image: String,
    command: Option<Vec<String>>,
    commands: Option<Vec<String>>,
    detach: Option<bool>,
    entrypoint: Option<Vec<String>>,
    environment: Option<BTreeMap<String, Value>>,
    failure: Option<Failure>,
    network_mode: Option<String>,
    privileged: Option<bool>,
    pull: Option<Pull>,
    settings: Option<BTreeMap<String, Value>>,
    user: Option<String>,
    volumes: Option<Vec<Value>>,
    when: Option<Conditions>,
    depends_on: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExecStep {
    name: String,
    commands: Vec<String>,
    environment: Option<BTreeMap<String, Value>>,
    failure: Option<Failure>,
    when: Option<Conditions>,
    depends_on: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Conditions {
    action: Option<Constraint<String>>,
    branch: Option<Constraint<String>>,
    cron: Option<Constraint<String>>,
    event: Option<Constraint<Event>>,
    instance: Option<Constraint<String>>,
    r#ref: Option<Constraint<String>>,
    repo: Option<Constraint<String>>,
    status: Option<Constraint<Status>>,
    target: Option<Constraint<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Constraint<T> {
    One(T),
    Any(Vec<T>),
    Patterns(Patterns<T>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Patterns<T> {
    include: Option<Vec<T>>,
    exclude: Option<Vec<T>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Event {
    Cron,
    Custom,
    Promote,
    PullRequest,
    Push,
    Rollback,
    Tag,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Failure,
    Success,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Failure {
    Always,
    Ignore,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Pull {
    Always,
    Never,
    IfNotExists,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Platform {
    os: Option<Os>,
    arch: Option<Arch>,
    variant: Option<String>,
    version: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Os {
    Darwin,
    Dragonfly,
    Freebsd,
    Linux,
    Netbsd,
    Openbsd,
    Solaris,
    Windows,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Arch {
    #[serde(rename = "386")]
    I386,
    Amd64,
    Arm64,
    Arm,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Workspace {
    path: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Clone {
    depth: Option<u32>,
    disable: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Concurrency {
    limit: u32,
}

/// A step as far as both kinds have the same to say of it.
struct Step<'s> {
    name: &'s str,
    depends_on: &'s [String],
    /// `environment` and `settings`.
    values: Vec<(&'s String, &'s Value)>,
}

/// Everything that is wrong with a `.drone.yml` whose secrets the guide is to name.
fn faults(text: &str, guide: &str) -> Vec<String> {
    let documents = match yaml::documents(text) {
        Ok(documents) => documents,
        Err(error) => return vec![error],
    };
    let names: BTreeSet<&str> = documents
        .iter()
        .filter_map(|it| it["name"].as_str())
        .collect();
    let mut faults = Vec::new();
    for document in &documents {
        let found = match document["type"].as_str() {
            Some("docker") => Docker::deserialize(document).map(|it| it.faults(&names, guide)),
            Some("exec") => Exec::deserialize(document).map(|it| it.faults(&names, guide)),
            other => Ok(vec![format!("no runner here for the type {other:?}")]),
        };
        if document["kind"] != "pipeline" {
            faults.push(format!("{} is no pipeline", document["kind"]));
        }
        faults.extend(found.unwrap_or_else(|error| vec![error.to_string()]));
    }
    faults
}

impl Docker {
    fn faults(&self, pipelines: &BTreeSet<&str>, guide: &str) -> Vec<String> {
        let steps: Vec<Step<'_>> = self.steps.iter().map(DockerStep::outline).collect();
        let mut faults = of_pipeline(self.depends_on.as_deref(), pipelines, &steps, guide);
        for secret in self.image_pull_secrets.iter().flatten() {
            faults.extend(unnamed(secret, guide));
        }
        faults
    }
}

impl Exec {
    fn faults(&self, pipelines: &BTreeSet<&str>, guide: &str) -> Vec<String> {
        let steps: Vec<Step<'_>> = self.steps.iter().map(ExecStep::outline).collect();
        of_pipeline(self.depends_on.as_deref(), pipelines, &steps, guide)
    }
}

impl DockerStep {
    fn outline(&self) -> Step<'_> {
        let maps = [self.environment.as_ref(), self.settings.as_ref()];
        Step {
            name: &self.name,
            depends_on: self.depends_on.as_deref().unwrap_or_default(),
            values: maps.into_iter().flatten().flatten().collect(),
        }
    }
}

impl ExecStep {
    fn outline(&self) -> Step<'_> {
        Step {
            name: &self.name,
            depends_on: self.depends_on.as_deref().unwrap_or_default(),
            values: self.environment.iter().flatten().collect(),
        }
    }
}

fn of_pipeline(
    depends_on: Option<&[String]>,
    pipelines: &BTreeSet<&str>,
    steps: &[Step<'_>],
    guide: &str,
) -> Vec<String> {
    let mut faults = Vec::new();
    for name in depends_on.unwrap_or_default() {
        if !pipelines.contains(name.as_str()) {
            faults.push(format!("there is no pipeline {name}"));
        }
    }
    for (index, step) in steps.iter().enumerate() {
        let sound = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
        if step.name.is_empty() || !step.name.chars().all(sound) {
            faults.push(format!("{:?} is no name of a step", step.name));
        }
        if steps.iter().skip(index + 1).any(|it| it.name == step.name) {
            faults.push(format!("two steps are called {}", step.name));
        }
        for before in step.depends_on {
            if !steps.iter().any(|it| it.name == before) {
                faults.push(format!("{}: there is no step {before}", step.name));
            }
        }
        for (name, value) in &step.values {
            let fault = secret_fault(value, guide);
            faults.extend(fault.map(|fault| format!("{}: {name}: {fault}", step.name)));
        }
    }
    faults
}

fn unnamed(secret: &str, guide: &str) -> Option<String> {
    let named = guide.contains(&format!("`{secret}`"));
    (!named).then(|| format!("the guide does not name the secret {secret}"))
}

/// What is wrong with the secrets of a value: Drone looks for them at its top alone.
fn secret_fault(value: &Value, guide: &str) -> Option<String> {
    match (value.as_object(), value.get("from_secret")) {
        (Some(map), Some(Value::String(secret))) if map.len() == 1 => unnamed(secret, guide),
        _ => {
            let nested = value.to_string().contains("from_secret");
            nested.then(|| "Drone does not look for a secret there".to_owned())
        }
    }
}

#[test]
fn the_pipelines_to_copy_have_only_what_drone_knows() {
    for (kind, text) in PIPELINES {
        assert_eq!(faults(text, GUIDE), [""; 0], "{kind}");
    }
}

/// Where each of the two stands in [`PIPELINES`].
const DOCKER: usize = 0;
const EXEC: usize = 1;

/// A pipeline, what is written in it in the place of what, and what is said of that.
const MISTAKES: &[(usize, &str, &str, &str)] = &[
    (
        DOCKER,
        "    settings:",
        "    setting:",
        "unknown field `setting`",
    ),
    (DOCKER, "trigger:", "triggers:", "unknown field `triggers`"),
    (DOCKER, "[registry_login]", "[login]", "the secret login"),
    (DOCKER, "    image: ", "    img: ", "unknown field `img`"),
    (
        DOCKER,
        "  limit: 1",
        "  limits: 1",
        "unknown field `limits`",
    ),
    (
        DOCKER,
        "event: [custom, promote]",
        "event: [custom, promotion]",
        "Constraint",
    ),
    (
        DOCKER,
        "event: [rollback]",
        "events: [rollback]",
        "unknown field `events`",
    ),
    (
        DOCKER,
        "status: [success, failure]",
        "status: [success, failed]",
        "Constraint",
    ),
    (
        DOCKER,
        "event: [rollback]",
        "event: {includes: [rollback]}",
        "Constraint",
    ),
    (DOCKER, "type: docker", "type: dockre", "no runner"),
    (
        DOCKER,
        "kind: pipeline",
        "kind: pipelines",
        "is no pipeline",
    ),
    (
        DOCKER,
        "- name: rollback",
        "- name: rollout",
        "two steps are called rollout",
    ),
    (
        DOCKER,
        "- name: rollback",
        "- name: roll back",
        "is no name of a step",
    ),
    (
        DOCKER,
        "    settings:",
        "    depends_on: [revisions]\n    settings:",
        "there is no step revisions",
    ),
    (
        DOCKER,
        "name: deploy\n",
        "name: deploy\ndepends_on: [build]\n",
        "no pipeline build",
    ),
    (
        DOCKER,
        "from_secret: mqtt_username",
        "from_secret: mqtt_user",
        "the guide does not name the secret mqtt_user",
    ),
    (
        DOCKER,
        "username: {from_secret: mqtt_username}",
        "username: [{from_secret: mqtt_username}]",
        "does not look for a secret there",
    ),
    (
        DOCKER,
        "{from_secret: mqtt_ca}",
        "{from_secrets: mqtt_ca}",
        "does not look",
    ),
    (
        EXEC,
        "    environment:",
        "    settings:",
        "unknown field `settings`",
    ),
    (
        EXEC,
        "    environment:",
        "    image: x\n    environment:",
        "unknown field `image`",
    ),
    (
        EXEC,
        "arch: amd64",
        "arch: x86_64",
        "unknown variant `x86_64`",
    ),
    (
        EXEC,
        "    commands:",
        "    command:",
        "unknown field `command`",
    ),
];

#[test]
fn what_drone_does_not_know_is_found() {
    for (pipeline, from, to, why) in MISTAKES {
        let (_, text) = PIPELINES[*pipeline];
        assert!(text.contains(from), "{from}");
        let found = faults(&text.replacen(from, to, 1), GUIDE);
        assert!(found.iter().any(|it| it.contains(why)), "{to}: {found:?}");
    }
}
