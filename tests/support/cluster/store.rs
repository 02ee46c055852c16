//! The objects, their versions and the log of changes: what etcd is to the API server.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use serde_json::{Value, json};

use super::refusal::Refusal;
use super::schema;
use super::timestamp;

/// Namespace and name.
pub(super) type Key = (String, String);

/// So many changes are kept; a watch from before them is told 410.
const LOG_LENGTH: usize = 20_000;

/// How a change shows in a watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Added,
    Modified,
    Deleted,
}

impl Change {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Added => "ADDED",
            Self::Modified => "MODIFIED",
            Self::Deleted => "DELETED",
        }
    }
}

/// One change.
#[derive(Debug, Clone)]
pub(super) struct Logged {
    pub(super) version: u64,
    pub(super) change: Change,
    pub(super) key: Key,
    pub(super) object: Arc<Value>,
}

/// The two kinds of patch that the agent may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PatchKind {
    Merge,
    Json,
    /// No patch, but the whole object (PUT).
    Whole,
}

#[derive(Debug)]
pub(super) struct Store {
    objects: BTreeMap<Key, Arc<Value>>,
    log: VecDeque<Logged>,
    version: u64,
    /// A watch from a version below this one gets 410.
    oldest: u64,
    /// The CRD is of Argo CD 3.1 or newer.
    pub(super) knows_enabled: bool,
}

impl Store {
    pub(super) fn new() -> Self {
        Self {
            objects: BTreeMap::new(),
            log: VecDeque::new(),
            version: 289,
            oldest: 0,
            knows_enabled: true,
        }
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    pub(super) fn oldest(&self) -> u64 {
        self.oldest
    }

    pub(super) fn get(&self, key: &Key) -> Option<Arc<Value>> {
        self.objects.get(key).cloned()
    }

    pub(super) fn keys(&self) -> Vec<Key> {
        self.objects.keys().cloned().collect()
    }

    /// The objects of a namespace, by name.
    pub(super) fn list(&self, namespace: &str) -> Vec<(String, Arc<Value>)> {
        self.objects
            .iter()
            .filter(|((ns, _), _)| ns == namespace)
            .map(|((_, name), object)| (name.clone(), object.clone()))
            .collect()
    }

    /// The changes after `version`, oldest first.
    pub(super) fn after(&self, version: u64) -> impl Iterator<Item = &Logged> {
        let start = self.log.partition_point(|entry| entry.version <= version);
        self.log.range(start..)
    }

    /// Forgets every change so far, as etcd's compaction does.
    pub(super) fn compact(&mut self) {
        self.version += 1;
        self.oldest = self.version;
    }

    pub(super) fn create(&mut self, namespace: &str, mut object: Value) -> Result<Value, Refusal> {
        schema::check(&object)?;
        schema::prune(&mut object, self.knows_enabled);
        let Some(name) = object["metadata"]["name"].as_str().map(str::to_owned) else {
            return Err(Refusal::bad_request("name or generateName is required"));
        };
        let key = (namespace.to_owned(), name);
        if self.objects.contains_key(&key) {
            return Err(Refusal::already_exists(&key.1));
        }
        let created = timestamp::now();
        let metadata = &mut object["metadata"];
        metadata["namespace"] = json!(namespace);
        metadata["creationTimestamp"] = json!(created);
        metadata["generation"] = json!(1);
        metadata["uid"] = json!(format!("f15698ac-8c65-4506-96e8-{:012x}", self.version));
        metadata["managedFields"] = json!([{
            "apiVersion": "argoproj.io/v1alpha1",
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:spec": {"f:destination": {}, "f:project": {}, "f:source": {}}},
            "manager": "double",
            "operation": "Apply",
            "time": created,
        }]);
        Ok(self.record(Change::Added, key, object))
    }

    /// Writes as the controller does: no schema, no check for conflicts. Writing what is there
    /// already is no change.
    pub(super) fn write(&mut self, key: &Key, object: Value) -> Option<Value> {
        let old = self.get(key)?;
        self.replace(key, &old, object)
    }

    pub(super) fn patch(
        &mut self,
        key: &Key,
        kind: PatchKind,
        body: &[u8],
    ) -> Result<Value, Refusal> {
        let old = self.get(key).ok_or_else(|| Refusal::not_found(&key.1))?;
        let mut new = (*old).clone();
        apply(kind, body, &mut new)?;
        if new["metadata"]["name"] != key.1.as_str()
            || new["metadata"]["namespace"] != key.0.as_str()
        {
            return Err(Refusal::bad_request(
                "the name or namespace of the object does not match the URL",
            ));
        }
        let asked = &new["metadata"]["resourceVersion"];
        if !asked.is_null() && *asked != old["metadata"]["resourceVersion"] {
            return Err(Refusal::conflict(&key.1));
        }
        schema::check(&new)?;
        schema::prune(&mut new, self.knows_enabled);
        for field in [
            "uid",
            "creationTimestamp",
            "deletionTimestamp",
            "generation",
        ] {
            restore(&mut new, &old, field);
        }
        Ok(self
            .replace(key, &old, new)
            .unwrap_or_else(|| (*old).clone()))
    }

    /// Deletes at once, or marks as deleted what has finalizers.
    pub(super) fn delete(&mut self, key: &Key) -> Result<Value, Refusal> {
        let old = self.get(key).ok_or_else(|| Refusal::not_found(&key.1))?;
        let mut object = (*old).clone();
        if has_finalizers(&object) {
            let at = timestamp::now();
            object["metadata"]["deletionTimestamp"] = json!(at);
            object["metadata"]["deletionGracePeriodSeconds"] = json!(0);
            return Ok(self
                .replace(key, &old, object)
                .unwrap_or_else(|| (*old).clone()));
        }
        self.record(Change::Deleted, key.clone(), object);
        Ok(json!({
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": {
                "name": key.1,
                "group": "argoproj.io",
                "kind": "applications",
                "uid": old["metadata"]["uid"],
            },
        }))
    }

    fn replace(&mut self, key: &Key, old: &Value, mut new: Value) -> Option<Value> {
        restore(&mut new, old, "resourceVersion");
        if new == *old {
            return None;
        }
        if !new["metadata"]["deletionTimestamp"].is_null() && !has_finalizers(&new) {
            return Some(self.record(Change::Deleted, key.clone(), new));
        }
        let beside_metadata = |value: &Value| {
            let mut rest = value.clone();
            if let Some(map) = rest.as_object_mut() {
                map.remove("metadata");
            }
            rest
        };
        if beside_metadata(&new) != beside_metadata(old) {
            let generation = old["metadata"]["generation"].as_u64().unwrap_or_default();
            new["metadata"]["generation"] = json!(generation + 1);
        }
        Some(self.record(Change::Modified, key.clone(), new))
    }

    fn record(&mut self, change: Change, key: Key, mut object: Value) -> Value {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let shared = Arc::new(object.clone());
        if change == Change::Deleted {
            self.objects.remove(&key);
        } else {
            self.objects.insert(key.clone(), shared.clone());
        }
        self.log.push_back(Logged {
            version: self.version,
            change,
            key,
            object: shared,
        });
        if self.log.len() > LOG_LENGTH
            && let Some(forgotten) = self.log.pop_front()
        {
            self.oldest = self.oldest.max(forgotten.version);
        }
        object
    }
}

fn apply(kind: PatchKind, body: &[u8], object: &mut Value) -> Result<(), Refusal> {
    let malformed =
        |error: serde_json::Error| Refusal::bad_request(format!("error decoding patch: {error}"));
    match kind {
        PatchKind::Merge => {
            let patch: Value = serde_json::from_slice(body).map_err(malformed)?;
            if !patch.is_object() {
                return Err(Refusal::bad_request("Invalid JSON Merge Patch"));
            }
            json_patch::merge(object, &patch);
            Ok(())
        }
        PatchKind::Json => {
            let patch: json_patch::Patch = serde_json::from_slice(body).map_err(malformed)?;
            json_patch::patch(object, &patch).map_err(|_| Refusal::patch_does_not_apply())
        }
        PatchKind::Whole => {
            *object = serde_json::from_slice(body).map_err(malformed)?;
            Ok(())
        }
    }
}

fn has_finalizers(object: &Value) -> bool {
    object["metadata"]["finalizers"]
        .as_array()
        .is_some_and(|finalizers| !finalizers.is_empty())
}

fn restore(new: &mut Value, old: &Value, field: &str) {
    match old["metadata"].get(field) {
        Some(value) => new["metadata"][field] = value.clone(),
        None => {
            if let Some(metadata) = new["metadata"].as_object_mut() {
                metadata.remove(field);
            }
        }
    }
}
