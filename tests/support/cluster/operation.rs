//! How an operation is carried out: picked up, hook, applied, ended, retried, terminated.

use serde_json::{Value, json};
use tokio::time::Instant;

use super::controller::{HOOK_IMAGE, Stage, Step};
use super::repository::Manifests;
use super::scenario::Behaviour;
use super::timestamp;

const TASKS_FAILED: &str = "one or more synchronization tasks completed unsuccessfully";

impl Step<'_> {
    /// Brings the operation one write further, if it is due.
    pub(super) fn operate(&mut self) -> Option<Instant> {
        let object = self.object()?;
        let Some(operation) = object.get("operation") else {
            self.application.stage = Stage::Idle;
            self.application.pick_up_at = None;
            return None;
        };
        match object
            .pointer("/status/operationState/phase")
            .and_then(Value::as_str)
        {
            Some("Terminating") if self.application.overwrites > 0 => {
                // The state that was in hand is written, whatever was asked for meanwhile.
                self.application.overwrites -= 1;
                let mut object = (*object).clone();
                object["status"]["operationState"]["phase"] = json!("Running");
                self.write(object);
                return self.application.due;
            }
            Some("Terminating") => return self.terminate((*object).clone()),
            Some("Running") => {}
            _ => {
                // Until it is picked up, whoever writes another one takes its place.
                let later = self.now + self.pace.pick_up();
                let at = *self.application.pick_up_at.get_or_insert(later);
                if self.now < at {
                    return Some(at);
                }
                self.application.pick_up_at = None;
                return self.start((*object).clone(), operation.clone());
            }
        }
        if self.application.stage == Stage::Idle {
            self.enter(Stage::Begin, self.pace.step());
        }
        match self.application.due {
            Some(due) if due <= self.now => {}
            other => return other,
        }
        let object = (*object).clone();
        match self.application.stage {
            Stage::Idle => None,
            Stage::Begin => self.begin(object),
            Stage::Hook => self.end_hook(object),
            Stage::Apply => self.apply(object),
            Stage::Compare => {
                self.compare_while_running();
                self.enter(Stage::Finish, self.pace.step())
            }
            Stage::Finish => self.succeed(object),
            Stage::Backoff => self.retry(object),
        }
    }

    fn start(&mut self, mut object: Value, mut operation: Value) -> Option<Instant> {
        // The real controller writes the empty struct out, here and nowhere else.
        if operation["retry"].is_null() {
            operation["retry"] = json!({});
        }
        object["status"]["operationState"] = json!({
            "operation": operation,
            "phase": "Running",
            "startedAt": timestamp::now(),
        });
        self.write(object);
        self.enter(Stage::Begin, self.pace.step())
    }

    /// Resolves the revision, and starts the hook if there is one to run.
    fn begin(&mut self, mut object: Value) -> Option<Instant> {
        let Some(manifests) = self.manifests(&object) else {
            let revision = self.revision(&object);
            let message = format!("ComparisonError: {}", unknown_revision(&revision));
            return self.fail(object, "Error", &message);
        };
        let source = source_of(&object);
        let state = &mut object["status"]["operationState"];
        let sync = &state["operation"]["sync"];
        // As the real one: neither a sync of chosen resources nor one by `apply` runs hooks.
        let full = is_full(sync) && sync["syncStrategy"].get("apply").is_none();
        state["syncResult"] = json!({"revision": manifests.sha, "source": source});
        if !manifests.behaviour.has_hook() || !full {
            self.write(object);
            return self.enter(Stage::Apply, self.pace.step());
        }
        let hook = manifests.hook.clone();
        let hook = hook.unwrap_or_else(|| self.application.hook.clone());
        state["message"] = json!(format!("waiting for completion of hook batch/Job/{hook}"));
        state["syncResult"]["resources"] = json!([{
            "group": "batch",
            "hookPhase": "Running",
            "hookType": "PreSync",
            "images": [HOOK_IMAGE],
            "kind": "Job",
            "message": format!("job.batch/{hook} created"),
            "name": hook,
            "namespace": self.key.1,
            "status": "Synced",
            "syncPhase": "PreSync",
            "version": "v1",
        }]);
        self.application.live.start_hook(&hook);
        self.application.compare = true;
        self.write(object);
        let takes = manifests.hook_takes.unwrap_or_else(|| self.pace.hook());
        let wait = self.enter(Stage::Hook, takes);
        if manifests.behaviour == Behaviour::PreSyncHangs {
            self.application.due = None;
            return None;
        }
        wait
    }

    fn end_hook(&mut self, mut object: Value) -> Option<Instant> {
        let behaviour = self.manifests(&object)?.behaviour;
        let passed = !matches!(behaviour, Behaviour::PreSyncFails { .. });
        let (phase, message) = if passed {
            ("Succeeded", "Reached expected number of succeeded pods")
        } else {
            ("Failed", "Job has reached the specified backoff limit")
        };
        end_running_hooks(&mut object, phase, message);
        if passed {
            self.write(object);
            self.enter(Stage::Apply, self.pace.step())
        } else {
            self.fail(object, "Failed", TASKS_FAILED)
        }
    }

    fn apply(&mut self, mut object: Value) -> Option<Instant> {
        let manifests = self.manifests(&object)?;
        let name = &self.key.1;
        let refused = manifests.behaviour == Behaviour::SyncFails;
        let message = if refused {
            format!("Deployment.apps \"{name}\" is invalid: spec.template: Required value")
        } else {
            format!("deployment.apps/{name} configured")
        };
        let result = json!({
            "group": "apps",
            "hookPhase": if refused { "Failed" } else { "Running" },
            "images": manifests.images,
            "kind": "Deployment",
            "message": message,
            "name": name,
            "namespace": name,
            "status": if refused { "SyncFailed" } else { "Synced" },
            "syncPhase": "Sync",
            "version": "v1",
        });
        match &mut object["status"]["operationState"]["syncResult"]["resources"] {
            Value::Array(results) => results.push(result),
            empty => *empty = json!([result]),
        }
        if refused {
            let message = format!("one or more objects failed to apply, reason: {message}");
            return self.fail(object, "Failed", &message);
        }
        let sync = &object["status"]["operationState"]["operation"]["sync"];
        if sync["dryRun"] != true {
            self.application
                .live
                .apply(&manifests, sync["prune"] == true);
        }
        if is_full(sync) {
            add_history(&mut object);
        }
        self.write(object);
        self.enter(Stage::Compare, self.pace.step())
    }

    fn succeed(&mut self, object: Value) -> Option<Instant> {
        let operation = &object["status"]["operationState"]["operation"];
        // Seen on the real controller after a pin: its next comparison still has the objects from
        // before the sync, so that self-heal syncs once more and replaces the operation state.
        self.application.stale = operation["initiatedBy"]["automated"] != true
            && object["spec"]["syncPolicy"]["automated"]["selfHeal"] == true;
        self.finish(object, "Succeeded", "successfully synced (all tasks run)")
    }

    /// Ends the operation as failed, unless it has retries left.
    fn fail(&mut self, mut object: Value, phase: &str, message: &str) -> Option<Instant> {
        let state = &mut object["status"]["operationState"];
        let limit = state["operation"]["retry"]["limit"].as_i64().unwrap_or(0);
        let retries = state["retryCount"].as_i64().unwrap_or(0);
        if limit >= 0 && retries >= limit {
            let message = with_retries(message, retries);
            return self.finish(object, phase, &message);
        }
        let retry = retries + 1;
        let at = timestamp::kitchen();
        state["message"] = json!(format!("{message}. Retrying attempt #{retry} at {at}."));
        state["retryCount"] = json!(retry);
        state["finishedAt"] = json!(timestamp::now());
        self.write(object);
        self.enter(Stage::Backoff, self.pace.backoff(retry.unsigned_abs()))
    }

    fn retry(&mut self, mut object: Value) -> Option<Instant> {
        let state = &mut object["status"]["operationState"];
        let retry = state["retryCount"].clone();
        state["message"] = json!(format!("Retrying operation. Attempt #{retry}"));
        if let Some(state) = state.as_object_mut() {
            state.remove("finishedAt");
            state.remove("syncResult");
        }
        self.write(object);
        self.enter(Stage::Begin, self.pace.step())
    }

    fn terminate(&mut self, mut object: Value) -> Option<Instant> {
        end_running_hooks(&mut object, "Failed", "Terminated");
        let retries = object["status"]["operationState"]["retryCount"].as_i64();
        let message = with_retries("Operation terminated", retries.unwrap_or(0));
        self.finish(object, "Failed", &message)
    }

    fn finish(&mut self, mut object: Value, phase: &str, message: &str) -> Option<Instant> {
        let state = &mut object["status"]["operationState"];
        state["phase"] = json!(phase);
        state["message"] = json!(message);
        state["finishedAt"] = json!(timestamp::now());
        if let Some(fields) = object.as_object_mut() {
            fields.remove("operation");
        }
        self.write(object);
        self.application.stage = Stage::Idle;
        self.application.compare = true;
        self.application.live.begin_to_settle(self.now, self.pace);
        None
    }

    /// The revision that the operation under way asks for.
    fn revision(&self, object: &Value) -> String {
        object["status"]["operationState"]["operation"]["sync"]["revision"]
            .as_str()
            .or(object["spec"]["source"]["targetRevision"].as_str())
            .unwrap_or_default()
            .to_owned()
    }

    fn manifests(&self, object: &Value) -> Option<Manifests> {
        let revision = self.revision(object);
        self.application.repository.resolve(&revision).cloned()
    }
}

/// What Argo CD says of a revision that git does not know.
pub(super) fn unknown_revision(revision: &str) -> String {
    format!(
        "Failed to load target state: failed to generate manifest for source 1 of 1: rpc error: \
         code = Unknown desc = unable to resolve '{revision}' to a commit SHA"
    )
}

fn with_retries(message: &str, retries: i64) -> String {
    if retries > 0 {
        format!("{message} (retried {retries} times).")
    } else {
        message.to_owned()
    }
}

/// All resources, and for real.
fn is_full(sync: &Value) -> bool {
    let chosen = sync["resources"]
        .as_array()
        .is_some_and(|list| !list.is_empty());
    !chosen && sync["dryRun"] != true
}

fn source_of(object: &Value) -> Value {
    match &object["status"]["operationState"]["operation"]["sync"]["source"] {
        Value::Null => object["spec"]["source"].clone(),
        source => source.clone(),
    }
}

fn end_running_hooks(object: &mut Value, phase: &str, message: &str) {
    let Some(results) = object.pointer_mut("/status/operationState/syncResult/resources") else {
        return;
    };
    for result in results.as_array_mut().into_iter().flatten() {
        if result["hookType"] == "PreSync" && result["hookPhase"] == "Running" {
            result["hookPhase"] = json!(phase);
            result["message"] = json!(message);
        }
    }
}

fn add_history(object: &mut Value) {
    let limit = object["spec"]["revisionHistoryLimit"]
        .as_u64()
        .unwrap_or(10);
    let state = &object["status"]["operationState"];
    let mut history = object["status"]["history"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let id = history
        .last()
        .map_or(0, |newest| newest["id"].as_u64().unwrap_or(0) + 1);
    history.push(json!({
        "deployStartedAt": state["startedAt"],
        "deployedAt": timestamp::now(),
        "id": id,
        "initiatedBy": state["operation"]["initiatedBy"],
        "revision": state["syncResult"]["revision"],
        "source": state["syncResult"]["source"],
    }));
    let surplus = history
        .len()
        .saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX));
    history.drain(..surplus);
    object["status"]["history"] = json!(history);
}
