//! The workloads that an application is made of, and what each says of itself when it is not well.
//! Argo CD keeps neither the health of single resources in an Application nor a reason for Degraded.
//! Of the workloads it calls two Degraded that tell the reason themselves: a Deployment and a Job.

use serde::Deserialize;
use serde::de::SeqAccess;

use super::lenient::{Lenient, Object, Objects, Shape, Text};
use super::{MAX_OBJECT_BYTES, is_kubernetes_name};
use crate::wire;

/// Workloads of one application that are looked at.
pub const MAX_SUSPECTS: usize = 8;
/// Bytes of what a workload says of itself that are told.
const MAX_TEXT: usize = 512;

/// What runs an application's pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Workload {
    Deployment,
    Job,
}

impl Workload {
    /// The kind, as Kubernetes spells it.
    #[must_use]
    pub fn kind(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::Job => "Job",
        }
    }

    /// Group and version, and the name of its kind in a path.
    #[must_use]
    pub fn resource(self) -> (&'static str, &'static str) {
        match self {
            Self::Deployment => ("apps/v1", "deployments"),
            Self::Job => ("batch/v1", "jobs"),
        }
    }
}

/// A workload that may be why an application is Degraded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspect {
    pub workload: Workload,
    pub namespace: String,
    pub name: String,
}

impl Suspect {
    /// What is told of it.
    #[must_use]
    pub fn culprit(&self, complaint: Complaint) -> wire::Culprit {
        wire::Culprit {
            kind: self.workload.kind().to_owned(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            message: complaint.text,
        }
    }
}

/// What a workload says is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// Such as `Progressing=False ProgressDeadlineExceeded: …`; the worst condition first.
    pub text: String,
    /// It says that it has failed, and not only that it is not there yet.
    pub failed: bool,
}

impl Complaint {
    /// Reads a workload; `None` when nothing is wrong with it, or when it cannot be read.
    #[must_use]
    pub fn from_json(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MAX_OBJECT_BYTES {
            return None;
        }
        let raw: Object<RawWorkload> = serde_json::from_slice(bytes).ok()?;
        let conditions = raw.take().status.take().conditions;
        let mut bad: Vec<(u8, String)> = conditions
            .objects()
            .filter_map(|condition| Some((condition.rank()?, condition.text())))
            .take(MAX_SUSPECTS)
            .collect();
        bad.sort_by_key(|(rank, _)| *rank);
        let failed = bad.first()?.0 < UNAVAILABLE;
        let texts: Vec<String> = bad.into_iter().map(|(_, text)| text).collect();
        let mut text = texts.join("; ");
        if text.len() > MAX_TEXT {
            text.truncate(text.floor_char_boundary(MAX_TEXT));
            text.push('…');
        }
        Some(Self { text, failed })
    }
}

/// The rank of a Deployment that has too few pods, which a running rollout has too.
const UNAVAILABLE: u8 = 2;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawWorkload {
    status: Object<RawStatus>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawStatus {
    conditions: Objects<RawCondition>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawCondition {
    #[serde(rename = "type")]
    kind: Text,
    status: Text,
    reason: Text,
    message: Text,
}

impl RawCondition {
    /// How bad it is, the worst first; `None` when it is as it should be.
    fn rank(&self) -> Option<u8> {
        match (self.kind.0.as_deref()?, self.status.0.as_deref()?) {
            ("Progressing", "False") | ("Failed", "True") => Some(0),
            ("ReplicaFailure", "True") => Some(1),
            ("Available", "False") => Some(UNAVAILABLE),
            _ => None,
        }
    }

    fn text(&self) -> String {
        let word = |text: &Text| text.0.clone().unwrap_or_default();
        let head = format!("{}={}", word(&self.kind), word(&self.status));
        match (word(&self.reason), word(&self.message)) {
            (reason, message) if message.is_empty() => format!("{head} {reason}"),
            (reason, message) => format!("{head} {reason}: {message}"),
        }
    }
}

/// The workloads of `status.resources`, those that Argo CD calls Degraded first. It says so where
/// `controller.resource.health.persist` is set, which is no longer the default.
#[derive(Debug, Default)]
pub(super) struct Suspects(Vec<(bool, Suspect)>);

impl Suspects {
    /// In the namespace that the application deploys to, where the list names none.
    pub(super) fn into_vec(self, destination: Option<String>) -> Vec<Suspect> {
        let mut all = self.0;
        all.sort_by_key(|(degraded, _)| !degraded);
        all.into_iter()
            .map(|(_, suspect)| suspect)
            .filter_map(|suspect| match suspect.namespace.is_empty() {
                true => destination.clone().map(|namespace| Suspect {
                    namespace,
                    ..suspect
                }),
                false => Some(suspect),
            })
            .filter(|suspect| is_kubernetes_name(&suspect.namespace))
            .filter(|suspect| is_kubernetes_name(&suspect.name))
            .collect()
    }

    fn take_in(&mut self, resource: RawResource) {
        let workload = match (resource.group.0.0, resource.kind.0.0) {
            (Some("apps"), Some("Deployment")) => Workload::Deployment,
            (Some("batch"), Some("Job")) => Workload::Job,
            _ => return,
        };
        let Some(name) = resource.name.0 else {
            return;
        };
        let degraded = resource.health.take().status.0.0 == Some("Degraded");
        if self.0.len() >= MAX_SUSPECTS {
            // One that is known to be Degraded takes the place of one of which nothing is known.
            match self.0.iter().position(|(known, _)| degraded && !known) {
                Some(place) => drop(self.0.remove(place)),
                None => return,
            }
        }
        let suspect = Suspect {
            workload,
            namespace: resource.namespace.0.unwrap_or_default(),
            name,
        };
        self.0.push((degraded, suspect));
    }
}

impl Shape for Suspects {
    fn list<'de, A: SeqAccess<'de>>(mut items: A) -> Result<Self, A::Error> {
        let mut all = Self::default();
        while let Some(item) = items.next_element::<Object<RawResource>>()? {
            if let Some(resource) = item.0 {
                all.take_in(*resource);
            }
        }
        Ok(all)
    }
}

/// An entry of `status.resources`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawResource {
    group: Lenient<Word>,
    kind: Lenient<Word>,
    namespace: Text,
    name: Text,
    health: Object<RawHealth>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawHealth {
    status: Lenient<Word>,
}

/// The words of a resource that mean something here.
const WORDS: [&str; 5] = ["apps", "batch", "Deployment", "Job", "Degraded"];

/// Which of [`WORDS`] a text is. Nothing else is kept of it: an application may have hundreds of
/// resources, and is read again with every change.
#[derive(Debug, Default)]
struct Word(Option<&'static str>);

impl Shape for Word {
    fn text(text: &str) -> Self {
        Self(WORDS.into_iter().find(|word| *word == text))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::application::Application;

    fn complaint(conditions: Value) -> Option<Complaint> {
        let object = json!({"status": {"conditions": conditions}});
        Complaint::from_json(object.to_string().as_bytes())
    }

    #[test]
    fn the_worst_condition_comes_first() {
        let said = complaint(json!([
            {"type": "Available", "status": "False", "reason": "MinimumReplicasUnavailable",
             "message": "Deployment does not have minimum availability."},
            {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
             "message": "ReplicaSet \"web-1\" has timed out progressing."},
        ]));
        let text = "Progressing=False ProgressDeadlineExceeded: ReplicaSet \"web-1\" has timed out \
                    progressing.; Available=False MinimumReplicasUnavailable: Deployment does not have \
                    minimum availability.";
        assert_eq!(
            said,
            Some(Complaint {
                text: text.to_owned(),
                failed: true
            })
        );
    }

    #[test]
    fn one_that_is_not_there_yet_has_not_failed() {
        let said = complaint(json!([
            {"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated"},
            {"type": "Available", "status": "False", "reason": "MinimumReplicasUnavailable"},
        ]));
        let said = said.unwrap();
        assert!(!said.failed);
        assert_eq!(said.text, "Available=False MinimumReplicasUnavailable");
    }

    #[test]
    fn a_job_that_has_failed_says_so() {
        // As the Job controller writes it, when `backoffLimit` is reached.
        let reason = "BackoffLimitExceeded";
        let message = "Job has reached the specified backoff limit";
        let said = complaint(json!([
            {"type": "FailureTarget", "status": "True", "reason": reason, "message": message},
            {"type": "Failed", "status": "True", "reason": reason, "message": message},
        ]));
        let text = format!("Failed=True {reason}: {message}");
        assert_eq!(said, Some(Complaint { text, failed: true }));
        let complete = json!([{"type": "Complete", "status": "True"}]);
        assert_eq!(complaint(complete), None);
    }

    #[test]
    fn one_that_is_well_says_nothing() {
        let well = json!([{"type": "Available", "status": "True", "reason": "Fine"}]);
        for conditions in [well, json!([]), json!("odd"), Value::Null] {
            assert_eq!(complaint(conditions), None);
        }
        assert_eq!(Complaint::from_json(b"no JSON"), None);
    }

    #[test]
    fn a_long_message_is_cut_at_a_character() {
        let said = complaint(json!([{
            "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
            "message": "ü".repeat(4000),
        }]));
        let text = said.unwrap().text;
        assert!(text.len() <= MAX_TEXT + '…'.len_utf8(), "{}", text.len());
        assert!(text.starts_with("ReplicaFailure=True FailedCreate: ü"));
    }

    fn suspects(health: &str, server: &str, resources: Value) -> Vec<Suspect> {
        let object = json!({
            "metadata": {"name": "shop", "namespace": "argocd"},
            "spec": {"destination": {"server": server, "namespace": "shop"}},
            "status": {"health": {"status": health}, "resources": resources},
        });
        Application::from_json(object.to_string().as_bytes())
            .unwrap()
            .suspects
    }

    fn deployment(name: &str, namespace: Option<&str>, health: Option<&str>) -> Value {
        json!({
            "group": "apps", "kind": "Deployment", "name": name, "namespace": namespace,
            "health": {"status": health},
        })
    }

    const HERE: &str = "https://kubernetes.default.svc";

    #[test]
    fn only_workloads_of_a_degraded_application_in_this_cluster_are_suspects() {
        let resources = json!([
            {"kind": "Service", "name": "web", "namespace": "shop"},
            {"group": "batch", "kind": "Job", "name": "load", "namespace": "data"},
            {"group": "apps", "kind": "Job", "name": "odd", "namespace": "data"},
            deployment("web", None, None),
            deployment("../../secrets", None, None),
            "odd",
        ]);
        let found = suspects("Degraded", HERE, resources.clone());
        let suspect = |workload, namespace: &str, name: &str| Suspect {
            workload,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        let job = suspect(Workload::Job, "data", "load");
        let web = suspect(Workload::Deployment, "shop", "web");
        assert_eq!(found, [job, web]);
        assert_eq!(suspects("Healthy", HERE, resources.clone()), []);
        assert_eq!(suspects("Degraded", "https://elsewhere", resources), []);
    }

    #[test]
    fn what_argo_cd_calls_degraded_comes_first_and_few_are_kept() {
        let mut resources: Vec<Value> = (0..300)
            .map(|index| deployment(&format!("part-{index}"), Some("other"), Some("Healthy")))
            .collect();
        resources[250] = deployment("bad", Some("other"), Some("Degraded"));
        let found = suspects("Degraded", HERE, json!(resources));
        assert_eq!(found.len(), MAX_SUSPECTS);
        assert_eq!(
            (found[0].namespace.as_str(), found[0].name.as_str()),
            ("other", "bad")
        );
    }
}
