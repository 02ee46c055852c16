//! The board and all that is behind it: what a team sets up when it follows the guide of `config/gitops`, with
//! the names of machines changed.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::super::Args;
use super::super::agent::{Agent, NODE, Setup};
use super::super::argocd::lab::Lab;
use super::super::broker::Broker;
use super::super::recorder::Recorder;
use super::super::support::drone::build::Build;
use super::super::wait;
use super::checks::Forge;
use super::copies::{Board, GITOPS, environment, make_key, pipeline, private};
use super::drone::{Drone, TOKEN};
use super::receiver::Receiver;
use super::registry::DEPLOY;
use super::sonarqube::PROJECT;
use crate::scenarios::api::{APPLICATIONS, Api, application_path};

pub(super) const NAMESPACE: &str = "/api/v1/namespaces/shop";
const PROJECTS: &str = "/apis/argoproj.io/v1alpha1/namespaces/argocd/appprojects";

/// How long an ordinary step may take.
pub(super) const LIMIT: Duration = Duration::from_secs(90);

/// How long a build of Drone may take that waits for the board.
pub(super) const BUILD: Duration = Duration::from_secs(200);

/// Everything that a story acts on.
pub(super) struct Stage<'f> {
    pub(super) forge: &'f mut Forge,
    pub(super) lab: Arc<Lab>,
    pub(super) broker: Broker,
    pub(super) setup: Setup,
    pub(super) agent: Agent,
    pub(super) drone: Drone,
    pub(super) people: Receiver,
    pub(super) recorder: Recorder,
    /// The environment repository, as GitLab has it.
    environment: PathBuf,
    /// Outlives what lies in it.
    _folder: tempfile::TempDir,
}

impl<'f> Stage<'f> {
    pub(super) fn set(args: &Args, forge: &'f mut Forge, board: &Board) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        let lab = Lab::get(board.lab, args.lab.as_deref());
        clear(&lab.api);
        let people = Receiver::start();
        let broker = Broker::recommended(&path);
        let recorder = Recorder::start(broker.login("dashboard"));
        recorder.wait_subscribed(0);

        let keyring = path.join("keyring.toml");
        fs::write(&keyring, make_key(&path)).unwrap();
        let hook = path.join("chat");
        fs::write(&hook, people.url("/hook/board")).unwrap();
        let mut setup = Setup::new(&path, broker.port);
        setup.mqtt = broker.settings(broker.port);
        setup.kubeconfig = Some(lab.folder.join("agent-kubeconfig"));
        // How this machine fares is no part of the stories.
        setup.more = format!(
            "[outbox]\nreserve_bytes = 0\n[commands]\nkeyring = {keyring:?}\ntrust_clock = true\n\
             [health]\ninterval_seconds = 3600\nreport_seconds = 3600\n\
             [health.thresholds.disk_used]\nwarning = 0.99\ncritical = 1.0\n\
             [notify.team]\nkind = \"slack\"\nurl_file = {hook:?}\n"
        );
        private(&hook);
        let agent = setup.start();
        let identity = recorder.wait_message("identity", LIMIT, |value| value["key"].is_string());
        let key = identity.json()["key"].as_str().unwrap().to_owned();

        let environment = environment(&path, &forge.registry.host(), board);
        let changes = [
            // It is not installed here.
            ("/usr/bin/edge-agent", env!("CARGO_BIN_EXE_edge-agent")),
            (
                "https://gitlab.example/acme/environments.git",
                &environment.display().to_string(),
            ),
            ("registry.gitlab.example", &forge.registry.host()),
            ("broker.example:8883", &format!("localhost:{}", broker.port)),
            (
                "/etc/edge-agent/broker-ca.pem",
                &broker.file("ca.crt").display().to_string(),
            ),
            // The broker that is recommended knows its clients by their certificates.
            (
                "PLUGIN_USERNAME: {from_secret: mqtt_username}",
                "PLUGIN_CLIENT_CERT: {from_secret: mqtt_client_cert}",
            ),
            (
                "PLUGIN_PASSWORD: {from_secret: mqtt_password}",
                "PLUGIN_CLIENT_KEY: {from_secret: mqtt_client_key}",
            ),
            ("PLUGIN_NODE: pi-01,pi-02,pi-03", "PLUGIN_NODE: pi-01"),
            (
                "--on-unreachable=fail",
                &format!(
                    "--on-unreachable=fail --timeout=10s --ca-file={}",
                    forge.registry.ca_file().display()
                ),
            ),
            ("PLUGIN_TTL: 10m", "PLUGIN_TTL: 2m"),
            ("PLUGIN_TIMEOUT: 15m", "PLUGIN_TIMEOUT: 2m"),
            // Here a person decides.
            ("PLUGIN_ON_FAILURE: rollback", "PLUGIN_ON_FAILURE: none"),
            (
                "--slack=env:CHAT_HOOK",
                &format!(
                    "--slack=env:CHAT_HOOK --gitlab={} --gitlab-project=acme/shop --gitlab-token=env:GITLAB_TOKEN",
                    people.url("")
                ),
            ),
            (
                "      CHAT_HOOK:",
                "      GITLAB_TOKEN: {from_secret: gitlab_token}\n      CHAT_HOOK:",
            ),
        ];
        let pipeline = pipeline(&[&changes[..], &board.pipeline].concat());
        let drone = Drone::start(&path.join("drone"), &pipeline);
        let text = |name: &str| fs::read_to_string(path.join(name)).unwrap();
        for (name, value) in [
            ("environment_token", "glpat-of-drone".to_owned()),
            ("edge_signing_key", text("drone-2026.key")),
            ("edge_node_keys", format!("{NODE}={key}")),
            ("mqtt_client_cert", text("drone.crt")),
            ("mqtt_client_key", text("drone.key")),
            ("registry_token", DEPLOY.1.to_owned()),
            ("gitlab_token", "glpat-of-the-notifier".to_owned()),
            ("chat_hook", people.url("/hook/team")),
        ] {
            drone.add_secret(name, &value);
        }
        let stage = Self {
            forge,
            lab,
            broker,
            setup,
            agent,
            drone,
            people,
            recorder,
            environment,
            _folder: folder,
        };
        stage.set_up_cluster();
        stage
    }

    /// The secrets of the board, and what the guide has one apply.
    fn set_up_cluster(&self) {
        let api = &self.lab.api;
        api.apply(
            NAMESPACE,
            &json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}),
        );
        let object = |kind: &str, name: &str| json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}});
        let mut registry = object("Secret", "registry");
        registry["type"] = json!("kubernetes.io/dockerconfigjson");
        let login = self.forge.registry.pull_secret().to_string();
        registry["stringData"] = json!({".dockerconfigjson": login});
        api.apply(&format!("{NAMESPACE}/secrets/registry"), &registry);
        let mut secret = object("Secret", "gate");
        let authority = fs::read_to_string(self.forge.registry.ca_file()).unwrap();
        secret["stringData"] = json!({"sonar": self.forge.sonarqube.reader, "ca.crt": authority});
        api.apply(&format!("{NAMESPACE}/secrets/gate"), &secret);
        let mut settings = object("ConfigMap", "gate");
        settings["data"] = json!({
            "GATE_SONAR_URL": self.forge.sonarqube.url(), "GATE_SONAR_PROJECT": PROJECT,
            "GATE_SONAR_TOKEN_FILE": "/secrets/sonar", "GATE_CA_FILE": "/secrets/ca.crt",
            "GATE_TIMEOUT": "10s",
        });
        api.apply(&format!("{NAMESPACE}/configmaps/gate"), &settings);
        for (path, file) in [
            (format!("{PROJECTS}/edge"), "argocd/project.yaml"),
            (application_path("shop"), "argocd/shop.yaml"),
        ] {
            let text = super::git(&self.environment, &["show", &format!("main:{file}")]);
            api.apply_yaml(&path, &text);
        }
    }

    /// What the job `notify-drone` does for an image of a commit; returns the number of the build.
    pub(super) fn ask_drone(&self, commit: &str, digest: &str) -> u64 {
        let done = Command::new(format!("{GITOPS}/application/.ci/notify-drone"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("DRONE_SERVER", self.drone.url())
            .envs([("DRONE_TOKEN", TOKEN), ("CI_PROJECT_PATH", "acme/shop")])
            .envs([("CI_COMMIT_BRANCH", "main"), ("CI_COMMIT_SHA", commit)])
            .env("IMAGE_DIGEST", digest)
            .output()
            .unwrap();
        super::held("notify-drone", &done);
        self.drone.last()
    }

    /// Waits for the end of a build; `None`: of one that went well. Else the step that failed.
    pub(super) fn build_ends(&self, number: u64, fails: Option<&str>) -> Build {
        let build = self.drone.ended(number, BUILD);
        let failed = build.steps.iter().find(|step| step.status == "failure");
        let failed = failed.map(|step| step.name.as_str());
        let log = |step: &str| self.drone.log(number, step);
        assert_eq!(
            failed,
            fails,
            "build {number}: {:?}\n{}\n{}\n{}\nagent: {}",
            build.steps,
            log("gate"),
            log("rollout"),
            log("rollback"),
            self.setup.log()
        );
        build
    }

    /// Somebody writes an image into the environment repository, past GitLab CI and Drone.
    pub(super) fn write_by_hand(&self, commit: &str, digest: &str) {
        let folder = tempfile::tempdir().unwrap();
        let from = self.environment.display().to_string();
        super::git(folder.path(), &["clone", "--quiet", &from, "."]);
        let file = folder.path().join("apps/shop/image/kustomization.yaml");
        let text = fs::read_to_string(&file).unwrap();
        let lines = text.lines().map(|line| {
            let (name, _) = line.split_once(": ").unwrap_or((line, ""));
            match name.trim() {
                "digest" => format!("{name}: {digest}\n"),
                "org.opencontainers.image.revision" => format!("{name}: \"{commit}\"\n"),
                _ => format!("{line}\n"),
            }
        });
        fs::write(&file, lines.collect::<String>()).unwrap();
        super::git(
            folder.path(),
            &["commit", "--quiet", "--all", "--message", "by hand"],
        );
        super::git(folder.path(), &["push", "--quiet", "origin", "main"]);
    }

    /// The commit that the environment repository is at.
    pub(super) fn head(&self) -> String {
        super::git(&self.environment, &["rev-parse", "main"])
    }

    /// The commit that a build has written.
    pub(super) fn written_by(&self, number: u64) -> String {
        let grep = format!("--grep=^Drone-Build: acme/shop {number}$");
        super::git(
            &self.environment,
            &["log", "-1", "--format=%H", &grep, "main"],
        )
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let kept = std::env::temp_dir().join("edge-agent-e2e-agent.log");
            let _ = fs::write(&kept, self.setup.log());
        }
        clear(&self.lab.api);
    }
}

/// Takes everything away that the stories have put into the cluster.
fn clear(api: &Api) {
    let list = api.find(APPLICATIONS).unwrap_or_default();
    for object in list["items"].as_array().into_iter().flatten() {
        let path = application_path(object["metadata"]["name"].as_str().unwrap());
        let none = json!({"metadata": {"finalizers": null}});
        let _ = api.try_send("PATCH", &path, "application/merge-patch+json", &none);
        api.delete(&path);
    }
    // Argo CD does not come back to the hooks of an Application that is gone.
    let none = json!({"metadata": {"finalizers": null}});
    let gate = format!("{NAMESPACE}/pods/gate");
    let _ = api.try_send("PATCH", &gate, "application/merge-patch+json", &none);
    api.delete(NAMESPACE);
    wait(LIMIT, "the namespace to go", || {
        api.find(NAMESPACE).is_none().then_some(())
    });
    api.delete(&format!("{PROJECTS}/edge"));
}
