//! How the controller compares git with the cluster, and what auto-sync makes of it.

use serde_json::{Value, json};

use super::controller::{Live, REFRESH, Step};
use super::operation::unknown_revision;
use super::repository::Manifests;
use super::scenario::Behaviour;
use super::timestamp;

/// What auto-sync does after a comparison.
enum AutoSync {
    Nothing,
    Sync(Value),
    /// The last attempt on this revision failed, and is not repeated.
    GaveUp(String),
}

impl Step<'_> {
    /// Compares, if anything asks for it.
    pub(super) fn compare(&mut self) {
        let Some(object) = self.object() else { return };
        let asked = !object["metadata"]["annotations"][REFRESH].is_null();
        let compared = &object["status"]["sync"]["comparedTo"]["source"];
        let respecified = !compared.is_null() && *compared != object["spec"]["source"];
        let resync = self.application.resync_at <= self.now;
        if !(asked || respecified || resync || self.application.compare) {
            return;
        }
        let expired = (self.pace.cache())
            .is_some_and(|age| self.application.repository.has_unseen(age, self.now));
        if asked || respecified || compared.is_null() || expired {
            self.application.repository.fetch();
        }
        self.application.compare = false;
        self.application.resync_at = self.now + self.pace.resync();
        let mut object = (*object).clone();
        // The real one asks for the sync first and writes the comparison afterwards.
        let auto_sync = self.auto_sync(&object);
        if let AutoSync::Sync(operation) = &auto_sync {
            object["operation"] = operation.clone();
            remove(&mut object, "/status", "operationState");
            self.write(object.clone());
        }
        remove(&mut object, "/metadata/annotations", REFRESH);
        if object["metadata"]["annotations"] == json!({}) {
            remove(&mut object, "/metadata", "annotations");
        }
        self.fill_in(&mut object, &auto_sync);
        self.write(object);
    }

    /// The comparison that shows an operation's work before the operation shows as ended. The health
    /// is still the one from before.
    pub(super) fn compare_while_running(&mut self) {
        let Some(object) = self.object() else { return };
        let mut object = (*object).clone();
        let health = object["status"]["health"].clone();
        self.fill_in(&mut object, &AutoSync::Nothing);
        if !health.is_null() {
            object["status"]["health"] = health;
        }
        self.write(object);
        self.application.compare = true;
    }

    fn target(&self, object: &Value) -> Result<&Manifests, String> {
        let revision = object["spec"]["source"]["targetRevision"]
            .as_str()
            .unwrap_or("HEAD");
        let found = self.application.repository.resolve(revision);
        found.ok_or_else(|| revision.to_owned())
    }

    fn auto_sync(&mut self, object: &Value) -> AutoSync {
        let automated = &object["spec"]["syncPolicy"]["automated"];
        let stale = std::mem::take(&mut self.application.stale);
        if !automated.is_object() || automated["enabled"] == false {
            return AutoSync::Nothing;
        }
        let Ok(target) = self.target(object) else {
            return AutoSync::Nothing;
        };
        if object.get("operation").is_some()
            || (is_synced(&self.application.live, target) && !stale)
        {
            return AutoSync::Nothing;
        }
        let state = &object["status"]["operationState"];
        let result = &state["syncResult"];
        let attempted = result["revision"] == target.sha.as_str()
            && result["source"] == object["spec"]["source"];
        if !attempted {
            // A comparison that is stale and nothing else asks for no sync of another revision.
            return if is_synced(&self.application.live, target) {
                AutoSync::Nothing
            } else {
                AutoSync::Sync(automated_operation(object, target))
            };
        }
        if state["phase"] != "Succeeded" {
            let message = state["message"].as_str().unwrap_or_default();
            return AutoSync::GaveUp(format!(
                "Failed last sync attempt to [{}]: {message}",
                target.sha
            ));
        }
        if automated["selfHeal"] != true {
            return AutoSync::Nothing;
        }
        let mut operation = automated_operation(object, target);
        let before = state["operation"]["sync"]["autoHealAttemptsCount"].as_u64();
        operation["sync"]["autoHealAttemptsCount"] = json!(before.unwrap_or(0) + 1);
        operation["sync"]["resources"] =
            json!([{"group": "apps", "kind": "Deployment", "name": self.key.1}]);
        AutoSync::Sync(operation)
    }

    fn fill_in(&self, object: &mut Value, auto_sync: &AutoSync) {
        let target = self.target(object).cloned();
        let now = timestamp::now();
        let spec = object["spec"].clone();
        let status = &mut object["status"];
        status["controllerNamespace"] = json!(self.key.0);
        status["resourceHealthSource"] = json!("appTree");
        status["reconciledAt"] = json!(now);
        status["sync"]["comparedTo"] =
            json!({"destination": spec["destination"], "source": spec["source"]});
        let (condition, health) = match &target {
            Ok(manifests) => {
                self.fill_in_cluster(status, &spec, manifests);
                let condition = match auto_sync {
                    AutoSync::GaveUp(message) => Some(("SyncError", message.clone())),
                    _ => None,
                };
                (condition, self.application.live.health.unwrap_or("Missing"))
            }
            Err(revision) => {
                status["sync"]["status"] = json!("Unknown");
                status["sync"]["revision"] = json!(revision);
                for field in ["resources", "summary", "sourceType"] {
                    remove(status, "", field);
                }
                let message = unknown_revision(revision);
                (Some(("ComparisonError", message)), "Healthy")
            }
        };
        if status["health"]["status"] != health {
            status["health"] = json!({"lastTransitionTime": now, "status": health});
        }
        set_condition(status, condition, &now);
    }

    fn fill_in_cluster(&self, status: &mut Value, spec: &Value, manifests: &Manifests) {
        let live = &self.application.live;
        let word = if is_synced(live, manifests) {
            "Synced"
        } else {
            "OutOfSync"
        };
        status["sync"]["status"] = json!(word);
        status["sync"]["revision"] = json!(manifests.sha);
        status["sourceType"] = json!("Directory");
        if spec["syncPolicy"]["automated"].is_object() {
            status["sourceHydrator"] = json!({});
        }
        let mut resources = vec![json!({
            "group": "apps",
            "kind": "Deployment",
            "name": self.key.1,
            "namespace": self.key.1,
            "status": word,
            "version": "v1",
        })];
        if let Some(hook) = &live.hook {
            resources.push(json!({
                "group": "batch",
                "hook": true,
                "kind": "Job",
                "name": hook,
                "namespace": self.key.1,
                "requiresPruning": true,
                "version": "v1",
            }));
        }
        status["resources"] = json!(resources);
        if live.images.is_empty() {
            status["summary"] = json!({});
        } else {
            status["summary"] = json!({"images": live.images});
        }
    }
}

fn is_synced(live: &Live, target: &Manifests) -> bool {
    live.content.as_deref() == Some(target.content.as_str()) && !live.drifted
}

fn automated_operation(object: &Value, target: &Manifests) -> Value {
    let policy = &object["spec"]["syncPolicy"];
    let mut retry = match &policy["retry"] {
        Value::Null => json!({"limit": 5}),
        retry => retry.clone(),
    };
    if let Behaviour::PreSyncFails { retries } = target.behaviour {
        retry["limit"] = json!(retries);
    }
    let mut sync = json!({"revision": target.sha, "source": object["spec"]["source"]});
    if policy["automated"]["prune"] == true {
        sync["prune"] = json!(true);
    }
    if let Some(options) = policy.get("syncOptions") {
        sync["syncOptions"] = options.clone();
    }
    json!({"initiatedBy": {"automated": true}, "retry": retry, "sync": sync})
}

/// Sets the one condition, and keeps the time of one that was there before.
fn set_condition(status: &mut Value, condition: Option<(&str, String)>, now: &str) {
    let Some((kind, message)) = condition else {
        remove(status, "", "conditions");
        return;
    };
    let before = status.pointer("/conditions/0").cloned().unwrap_or_default();
    let since = if before["type"] == kind && before["message"] == message.as_str() {
        before["lastTransitionTime"].clone()
    } else {
        json!(now)
    };
    status["conditions"] = json!([{"lastTransitionTime": since, "message": message, "type": kind}]);
}

fn remove(value: &mut Value, at: &str, field: &str) {
    if let Some(fields) = value.pointer_mut(at).and_then(Value::as_object_mut) {
        fields.remove(field);
    }
}
