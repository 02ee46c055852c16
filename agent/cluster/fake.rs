//! A cluster that does what a test has written down beforehand.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use edge_agent_core::application::ApplicationKey;
use edge_agent_core::application::stream::{Change, Page};
use edge_agent_core::application::workload::{Complaint, Suspect};
use futures::stream::{self, StreamExt};
use serde_json::{Value, json};

use super::{Changes, Cluster, ClusterError};

/// What becomes of a write.
pub(super) enum Fate {
    Applied,
    /// Somebody else writes just before.
    Overtaken,
    /// It is applied, and Argo CD writes what it has in hand over the phase of the operation.
    Overwritten,
    /// It is applied, and the answer is lost.
    LostAfter,
    /// It is lost on the way.
    LostBefore,
    Failed(ClusterError),
}

#[derive(Default)]
pub(super) struct Script {
    /// Answers to lists; when they are used up, the server is unreachable.
    pub(super) lists: VecDeque<Result<Page, ClusterError>>,
    /// Answers to watches; when they are used up, a watch stays silent.
    pub(super) watches: VecDeque<Result<Vec<Result<Change, ClusterError>>, ClusterError>>,
    /// Whether a watch stays open behind its changes.
    pub(super) watches_stay_open: bool,
    pub(super) object: Option<Value>,
    /// Faults of reads, before the object is given.
    pub(super) gets: VecDeque<ClusterError>,
    /// What becomes of writes; afterwards they are applied.
    pub(super) fates: VecDeque<Fate>,
    /// Reads fail after a write was lost.
    pub(super) gone_after_loss: bool,
    pub(super) list_calls: Vec<Option<String>>,
    pub(super) watch_calls: Vec<String>,
    pub(super) get_calls: usize,
    pub(super) write_calls: usize,
    /// What the workloads of these names say; others are well.
    pub(super) complaints: BTreeMap<String, Result<Complaint, ClusterError>>,
    /// The workloads that were asked.
    pub(super) asked: Vec<String>,
    /// Writes that have changed the object.
    pub(super) writes: Vec<Value>,
}

#[derive(Clone, Default)]
pub(super) struct Fake(Arc<Mutex<Script>>);

impl Fake {
    pub(super) fn holding(object: Value) -> Self {
        let fake = Self::default();
        fake.script().object = Some(object);
        fake
    }

    pub(super) fn script(&self) -> MutexGuard<'_, Script> {
        self.0.lock().unwrap()
    }

    fn write(
        &self,
        change: impl FnOnce(&mut Value) -> Result<(), ClusterError>,
        what: &Value,
    ) -> Result<(), ClusterError> {
        let mut script = self.script();
        script.write_calls += 1;
        let fate = script.fates.pop_front().unwrap_or(Fate::Applied);
        let lost = || Err(ClusterError::Interrupted("connection reset".to_owned()));
        match fate {
            Fate::Failed(error) => return Err(error),
            Fate::LostBefore => return lost(),
            Fate::Overtaken => touch(script.object.as_mut().unwrap()),
            Fate::Applied | Fate::LostAfter | Fate::Overwritten => {}
        }
        let object = script.object.as_mut().ok_or(ClusterError::NotFound)?;
        change(object)?;
        touch(object);
        if matches!(fate, Fate::Overwritten) {
            object["status"]["operationState"]["phase"] = json!("Running");
        }
        script.writes.push(what.clone());
        if matches!(fate, Fate::LostAfter) {
            if script.gone_after_loss {
                script.gets = (0..1000).map(|_| unreachable()).collect();
            }
            return lost();
        }
        Ok(())
    }
}

pub(super) fn unreachable() -> ClusterError {
    ClusterError::Unreachable("connection refused".to_owned())
}

/// Gives an object its next version.
pub(super) fn touch(object: &mut Value) {
    let version = &mut object["metadata"]["resourceVersion"];
    let next = version.as_str().unwrap().parse::<u64>().unwrap() + 1;
    *version = json!(next.to_string());
}

fn apply(object: &mut Value, patch: &Value) -> Result<(), ClusterError> {
    for step in patch.as_array().unwrap() {
        let (parent, key) = step["path"].as_str().unwrap().rsplit_once('/').unwrap();
        let key = key.replace("~1", "/");
        let parent = object.pointer_mut(parent).unwrap().as_object_mut().unwrap();
        match step["op"].as_str().unwrap() {
            "test" if parent.get(&key) != Some(&step["value"]) => {
                return Err(ClusterError::Invalid("test failed".to_owned()));
            }
            "test" => {}
            "add" => drop(parent.insert(key, step["value"].clone())),
            "remove" => drop(parent.remove(&key).unwrap()),
            other => panic!("{other}"),
        }
    }
    Ok(())
}

impl Cluster for Fake {
    async fn list(&self, _: &str, next: Option<&str>) -> Result<Page, ClusterError> {
        let mut script = self.script();
        script.list_calls.push(next.map(str::to_owned));
        let answer = script.lists.pop_front();
        answer.unwrap_or_else(|| Err(unreachable()))
    }

    async fn watch(&self, _: &str, version: &str) -> Result<Changes, ClusterError> {
        let mut script = self.script();
        script.watch_calls.push(version.to_owned());
        let Some(answer) = script.watches.pop_front() else {
            return Ok(stream::pending().boxed());
        };
        let changes = stream::iter(answer?);
        if script.watches_stay_open {
            return Ok(changes.chain(stream::pending()).boxed());
        }
        Ok(changes.boxed())
    }

    async fn get(&self, _: &ApplicationKey) -> Result<Value, ClusterError> {
        // Long enough that several orders are under way at the same time.
        tokio::time::sleep(Duration::from_millis(10)).await;
        let mut script = self.script();
        script.get_calls += 1;
        match script.gets.pop_front() {
            Some(error) => Err(error),
            None => script.object.clone().ok_or(ClusterError::NotFound),
        }
    }

    async fn patch(&self, _: &ApplicationKey, patch: &Value) -> Result<(), ClusterError> {
        self.write(|object| apply(object, patch), patch)
    }

    async fn annotate(&self, _: &ApplicationKey, patch: &Value) -> Result<(), ClusterError> {
        let annotations = patch["metadata"]["annotations"].as_object().unwrap();
        let merge = |object: &mut Value| {
            for (name, value) in annotations {
                object["metadata"]["annotations"][name] = value.clone();
            }
            Ok(())
        };
        self.write(merge, patch)
    }

    async fn complaint(&self, suspect: &Suspect) -> Result<Option<Complaint>, ClusterError> {
        let mut script = self.script();
        script.asked.push(suspect.name.clone());
        script.complaints.get(&suspect.name).cloned().transpose()
    }
}
