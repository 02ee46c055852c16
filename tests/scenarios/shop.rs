//! An application of a scenario: its repository, its Application, and what runs of it.

use std::sync::Mutex;
use std::time::Duration;

use edge_agent_core::command::payload::{Action, HoldMode, OnFailure, RollbackTarget};
use serde_json::{Value, json};

use super::api::{application_path, refresh};
use super::scene::{LIMIT, Place, Scene};
use super::version::Version;
use super::wait;

/// An application. What it deploys to is a namespace of its own, new in every run.
pub(crate) struct Shop<'s> {
    pub(crate) stage: &'s dyn Scene,
    pub(crate) name: String,
    pub(crate) namespace: String,
    place: Box<dyn Place>,
    spec: Mutex<Value>,
}

/// How an application is synced.
pub(crate) enum Sync {
    Manual,
    /// Auto-sync, with prune and self-heal.
    Auto,
}

impl<'s> Shop<'s> {
    /// One that is not in the cluster yet.
    pub(crate) fn prepare(stage: &'s dyn Scene, name: &str, sync: &Sync) -> Self {
        let place = stage.place(name);
        let namespace = place.namespace();
        let mut policy = json!({
            "syncOptions": ["CreateNamespace=true"],
            "retry": {"limit": 5, "backoff": {"duration": "2s", "factor": 1, "maxDuration": "2s"}},
        });
        if matches!(sync, Sync::Auto) {
            policy["automated"] = json!({"prune": true, "selfHeal": true});
        }
        let spec = json!({
            "project": "default",
            "source": {"repoURL": place.url(), "path": "app", "targetRevision": "main"},
            "destination": {"server": "https://kubernetes.default.svc", "namespace": namespace},
            "syncPolicy": policy,
        });
        Self {
            stage,
            name: name.to_owned(),
            namespace,
            place,
            spec: Mutex::new(spec),
        }
    }

    /// One that runs a first version, Healthy; returns its revision too.
    pub(crate) fn open(stage: &'s dyn Scene, name: &str, sync: Sync) -> (Self, String) {
        let shop = Self::prepare(stage, name, &sync);
        let first = shop.commit(&Version::good(&format!("{name}-1")));
        shop.create();
        if matches!(sync, Sync::Manual) {
            shop.sync_by_hand(&first);
        }
        shop.wait_state("Healthy", &first);
        (shop, first)
    }

    /// Changes the spec that [`Shop::create`] will write.
    pub(crate) fn with_spec(&self, change: impl FnOnce(&mut Value)) {
        change(&mut self.spec.lock().unwrap());
    }

    /// Writes the Application.
    pub(crate) fn create(&self) {
        self.create_with(json!({}));
    }

    /// The same with this in its metadata.
    pub(crate) fn create_with(&self, metadata: Value) {
        let mut metadata = metadata;
        metadata["name"] = json!(self.name);
        metadata["namespace"] = json!("argocd");
        let object = json!({
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Application",
            "metadata": metadata,
            "spec": *self.spec.lock().unwrap(),
        });
        let path = application_path("");
        let path = path.trim_end_matches('/');
        self.stage
            .api()
            .send("POST", path, "application/json", &object);
    }

    /// Commits a version; Argo CD is not told of it.
    pub(crate) fn commit(&self, version: &Version) -> String {
        self.place.commit(version)
    }

    /// Commits a version and has Argo CD look.
    pub(crate) fn push(&self, version: &Version) -> String {
        let revision = self.commit(version);
        self.refresh();
        revision
    }

    /// Has Argo CD look at the repository.
    pub(crate) fn refresh(&self) {
        self.merge(&refresh("normal"));
    }

    pub(crate) fn merge(&self, patch: &Value) {
        self.stage.api().merge(&application_path(&self.name), patch);
    }

    pub(crate) fn object(&self) -> Value {
        self.stage.api().get(&application_path(&self.name))
    }

    /// An operation as `argocd app sync` writes it: with the test that nobody has written meanwhile.
    /// Says whether the API server has taken it.
    pub(crate) fn request_sync(&self, revision: &str, by: &str) -> bool {
        let mut object = self.object();
        if object["operation"].is_object() {
            return false;
        }
        object["operation"] = json!({
            "initiatedBy": {"username": by},
            "info": [{"name": "by", "value": by}],
            "sync": {"revision": revision, "syncOptions": ["CreateNamespace=true"]},
        });
        if let Some(status) = object["status"].as_object_mut() {
            status.remove("operationState");
        }
        let path = application_path(&self.name);
        let answer = self
            .stage
            .api()
            .try_send("PUT", &path, "application/json", &object);
        matches!(answer, Ok((200, _)))
    }

    /// A person's sync.
    pub(crate) fn sync_by_hand(&self, revision: &str) {
        wait(LIMIT, "the sync by hand to be taken", || {
            self.request_sync(revision, "person").then_some(())
        });
    }

    /// Waits until the topic of the application has that state on that revision.
    pub(crate) fn wait_state(&self, state: &str, revision: &str) -> Value {
        let what = format!("to be {state} on {revision}");
        self.stage.wait_app(&self.name, &what, LIMIT, &|app| {
            app["state"] == state && app["revision"] == revision
        })
    }

    /// Waits until it is Healthy on that revision, and the agent has told so: what was Healthy for a
    /// moment only has not been seen Healthy.
    pub(crate) fn wait_told(&self, revision: &str) {
        wait(LIMIT, "Healthy to be told", || {
            let events = self.stage.events("edge.app.state", &self.name);
            let told = |event: &Value| {
                event["data"]["state"] == "Healthy" && event["data"]["revision"] == revision
            };
            events.iter().any(told).then_some(())
        });
    }

    /// Waits until the topic of the application has that state.
    pub(crate) fn wait_any(&self, state: &str) -> Value {
        let what = format!("to be {state}");
        self.stage
            .wait_app(&self.name, &what, LIMIT, &|app| app["state"] == state)
    }

    /// The image that the Deployment asks for.
    pub(crate) fn running(&self) -> String {
        let deployment = self
            .stage
            .api()
            .find(&self.deployment())
            .unwrap_or_default();
        let image = &deployment["spec"]["template"]["spec"]["containers"][0]["image"];
        image.as_str().unwrap_or_default().to_owned()
    }

    /// The path of the Deployment.
    pub(crate) fn deployment(&self) -> String {
        format!(
            "/apis/apps/v1/namespaces/{}/deployments/{}",
            self.namespace,
            self.place.deployment()
        )
    }

    /// Lets the agent read the Deployments, as `config/k3s/edge-agent-culprit.yaml` does.
    pub(crate) fn let_be_read(&self) {
        let base = "/apis/rbac.authorization.k8s.io/v1";
        let paths = [
            format!("{base}/clusterroles/edge-agent-culprit"),
            format!(
                "{base}/namespaces/{}/rolebindings/edge-agent-culprit",
                self.namespace
            ),
        ];
        let file = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/config/k3s/edge-agent-culprit.yaml"
        );
        let text = std::fs::read_to_string(file).unwrap();
        let text = text.replace("namespace: shop", &format!("namespace: {}", self.namespace));
        for (path, document) in paths.iter().zip(text.split("\n---\n")) {
            self.stage.api().apply_yaml(path, document);
        }
    }

    /// Whether there is a ConfigMap of that name.
    pub(crate) fn has_config_map(&self, name: &str) -> bool {
        let path = format!("/api/v1/namespaces/{}/configmaps/{name}", self.namespace);
        self.stage.api().find(&path).is_some()
    }

    /// The history: revision and who began it.
    pub(crate) fn history(&self) -> Vec<(String, String)> {
        let object = self.object();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let entries = object["status"]["history"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        entries
            .iter()
            .map(|entry| {
                (
                    text(&entry["revision"]),
                    text(&entry["initiatedBy"]["username"]),
                )
            })
            .collect()
    }

    pub(crate) fn rollout(&self, revision: &str) -> Action {
        self.rollout_with(revision, &[], 120, OnFailure::None)
    }

    pub(crate) fn rollout_with(
        &self,
        revision: &str,
        images: &[String],
        seconds: u64,
        on_failure: OnFailure,
    ) -> Action {
        Action::Rollout {
            application: self.name.clone(),
            revision: revision.to_owned(),
            images: images.to_vec(),
            timeout: Duration::from_secs(seconds),
            on_failure,
        }
    }

    pub(crate) fn rollback(&self, to: RollbackTarget, hold: Option<HoldMode>) -> Action {
        Action::Rollback {
            application: self.name.clone(),
            to,
            hold,
            prune: false,
            allow_managed: false,
        }
    }

    pub(crate) fn previous(&self) -> Action {
        self.rollback(RollbackTarget::Previous, None)
    }

    pub(crate) fn resume(&self) -> Action {
        Action::Resume {
            application: self.name.clone(),
        }
    }
}
