//! What the node does with the pods of the shop where kwok plays the node: the gate really runs, as a process
//! of this machine with what the Pod gives it, and its exit code is the end of the Pod. A pod of the shop is
//! ready at once, unless its image is one that crashes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::super::argocd::lab::Kind;
use super::copies::{Board, DEPLOYMENT};
use super::stage::NAMESPACE;
use crate::scenarios::api::Api;

/// It. Dropping it ends it.
pub(super) struct Kubelet {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    api: Api,
    stop: AtomicBool,
    gates_wait: AtomicBool,
    crashing: Mutex<BTreeSet<String>>,
    gates: Mutex<Vec<Gate>>,
}

/// A gate that has run.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    pub(super) code: i32,
    pub(super) message: String,
}

impl Kubelet {
    /// Where it plays the node: kwok is to keep its hands off these pods.
    pub(super) fn board() -> Board {
        let by_hand = "lab.edge-agent.test/pod: by-hand";
        let gate = format!("  annotations:\n    {by_hand}\n");
        let shop = format!("    metadata:\n      annotations: {{{by_hand}}}\n      labels:");
        Board {
            lab: Kind::Usual,
            environment: vec![
                ("apps/shop/base/gate.yaml", "  annotations:\n", gate),
                (DEPLOYMENT, "    metadata:\n      labels:", shop),
                (
                    DEPLOYMENT,
                    "progressDeadlineSeconds: 300",
                    "progressDeadlineSeconds: 15".to_owned(),
                ),
            ],
            pipeline: Vec::new(),
        }
    }

    pub(super) fn start(api: &Api) -> Self {
        let shared = Arc::new(Shared {
            api: api.clone(),
            stop: AtomicBool::new(false),
            gates_wait: AtomicBool::new(false),
            crashing: Mutex::default(),
            gates: Mutex::default(),
        });
        let node = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            while !node.stop.load(Ordering::SeqCst) {
                let pods = node
                    .api
                    .find(&format!("{NAMESPACE}/pods"))
                    .unwrap_or_default();
                for pod in pods["items"].as_array().into_iter().flatten() {
                    node.see_to(pod);
                }
                std::thread::sleep(Duration::from_millis(200));
            }
        });
        Self {
            shared,
            thread: Some(thread),
        }
    }

    /// Whether gates wait to be started.
    pub(super) fn hold_gates(&self, hold: bool) {
        self.shared.gates_wait.store(hold, Ordering::SeqCst);
    }

    /// Whether pods of an image crash.
    pub(super) fn crash(&self, digest: &str, crashes: bool) {
        let mut crashing = self.shared.crashing.lock().unwrap();
        match crashes {
            true => crashing.insert(digest.to_owned()),
            false => crashing.remove(digest),
        };
    }

    /// The gates that have run so far.
    pub(super) fn gates(&self) -> Vec<Gate> {
        self.shared.gates.lock().unwrap().clone()
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn see_to(&self, pod: &Value) {
        let is_new = pod["status"]["phase"] == "Pending" && pod["spec"]["nodeName"].is_string();
        if !is_new || pod["metadata"]["deletionTimestamp"].is_string() {
            return;
        }
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let container = &pod["spec"]["containers"][0];
        let status = if name == "gate" {
            if self.gates_wait.load(Ordering::SeqCst) {
                return;
            }
            let gate = self.run_gate(pod);
            let status = ended(container, &gate);
            self.gates.lock().unwrap().push(gate);
            status
        } else {
            let image = container["image"].as_str().unwrap_or_default();
            let crashing = self.crashing.lock().unwrap();
            running(
                container,
                !crashing
                    .iter()
                    .any(|digest| image.ends_with(digest.as_str())),
            )
        };
        let path = format!("{NAMESPACE}/pods/{name}/status");
        // It may be gone by now.
        let _ = self.api.try_send(
            "PATCH",
            &path,
            "application/merge-patch+json",
            &json!({ "status": status }),
        );
    }

    /// Runs what the Pod says, with its variables and with its secrets as files.
    fn run_gate(&self, pod: &Value) -> Gate {
        let folder = tempfile::tempdir().unwrap();
        let container = &pod["spec"]["containers"][0];
        let mut variables = BTreeMap::new();
        for source in items(&container["envFrom"]) {
            let name = source["configMapRef"]["name"].as_str().unwrap();
            let map = self.api.find(&format!("{NAMESPACE}/configmaps/{name}"));
            let data = map.unwrap_or_default()["data"].as_object().cloned();
            variables.extend(data.into_iter().flatten());
        }
        for variable in items(&container["env"]) {
            let name = variable["name"].as_str().unwrap().to_owned();
            variables.insert(name, variable["value"].clone());
        }
        for mount in items(&container["volumeMounts"]) {
            let at = mount["mountPath"].as_str().unwrap();
            let mut volumes = items(&pod["spec"]["volumes"]);
            let volume = volumes
                .find(|volume| volume["name"] == mount["name"])
                .unwrap();
            if volume["secret"].is_object() {
                self.write_secret(
                    &volume["secret"],
                    &folder.path().join(at.trim_start_matches('/')),
                );
            }
        }
        let here = folder.path().display().to_string();
        let log = folder.path().join("termination-log");
        fs::write(&log, "").unwrap();
        let argv: Vec<&str> = items(&container["command"])
            .filter_map(Value::as_str)
            .collect();
        assert_eq!(argv[0], "/edge-agent");
        let mut command = Command::new(env!("CARGO_BIN_EXE_edge-agent"));
        command
            .env_clear()
            .args(&argv[1..])
            .arg("--termination-log")
            .arg(&log);
        for (name, value) in variables {
            let value = value.as_str().unwrap_or_default();
            let is_ours = value.starts_with("/auth/") || value.starts_with("/secrets/");
            let value = if is_ours {
                format!("{here}{value}")
            } else {
                value.to_owned()
            };
            command.env(name, value);
        }
        let done = command.output().unwrap();
        let message = fs::read_to_string(&log).unwrap();
        let errors = String::from_utf8_lossy(&done.stderr);
        Gate {
            code: done.status.code().unwrap_or(137),
            message: if message.is_empty() {
                errors.into_owned()
            } else {
                message
            },
        }
    }

    fn write_secret(&self, source: &Value, folder: &Path) {
        fs::create_dir_all(folder).unwrap();
        let name = source["secretName"].as_str().unwrap();
        let secret = self
            .api
            .find(&format!("{NAMESPACE}/secrets/{name}"))
            .unwrap_or_default();
        let paths: BTreeMap<&str, &str> = items(&source["items"])
            .filter_map(|item| Some((item["key"].as_str()?, item["path"].as_str()?)))
            .collect();
        for (key, value) in secret["data"].as_object().into_iter().flatten() {
            let file = paths.get(key.as_str()).copied().unwrap_or(key);
            let value = STANDARD.decode(value.as_str().unwrap()).unwrap();
            fs::write(folder.join(file), value).unwrap();
        }
    }
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn condition(kind: &str, holds: bool) -> Value {
    let now = jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string();
    json!({"type": kind, "status": if holds { "True" } else { "False" }, "lastTransitionTime": now})
}

fn conditions(ready: bool) -> Value {
    let all = [
        ("PodScheduled", true),
        ("Initialized", true),
        ("Ready", ready),
        ("ContainersReady", ready),
    ];
    all.map(|(kind, holds)| condition(kind, holds)).into()
}

fn running(container: &Value, well: bool) -> Value {
    let state = match well {
        true => json!({"running": {}}),
        false => {
            json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container"}})
        }
    };
    json!({
        "phase": "Running",
        "conditions": conditions(well),
        "containerStatuses": [{
            "name": container["name"], "image": container["image"], "imageID": container["image"],
            "ready": well, "started": well, "restartCount": if well { 0 } else { 5 }, "state": state,
        }],
    })
}

fn ended(container: &Value, gate: &Gate) -> Value {
    let well = gate.code == 0;
    json!({
        "phase": if well { "Succeeded" } else { "Failed" },
        "conditions": conditions(false),
        "containerStatuses": [{
            "name": container["name"], "image": container["image"], "imageID": container["image"],
            "ready": false, "started": false, "restartCount": 0,
            "state": {"terminated": {
                "exitCode": gate.code, "message": gate.message,
                "reason": if well { "Completed" } else { "Error" },
            }},
        }],
    })
}
