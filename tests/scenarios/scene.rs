//! What a scenario acts on: an API server with Argo CD behind it, a broker, and the agent between them.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use edge_agent_core::command::envelope::{COMMAND_TYPE, SigningKey, open_result, seal};
use edge_agent_core::command::key::public_from_base64;
use edge_agent_core::command::payload::{Action, Command};
use edge_agent_core::wire::{CommandResult, ResultState};
use serde_json::Value;

use super::api::{Api, application_path};
use super::version::Version;
use super::wait;

/// How long an ordinary step may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(40);

/// One message on the broker.
pub(crate) struct Told {
    pub(crate) at: Instant,
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
}

impl Told {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.payload).unwrap_or(Value::Null)
    }
}

/// Where an application comes from, and where it goes to.
pub(crate) trait Place: Send + Sync {
    /// The URL of its repository.
    fn url(&self) -> String;
    /// The namespace that it is deployed to.
    fn namespace(&self) -> String;
    /// The name of its Deployment.
    fn deployment(&self) -> String;
    /// Commits a version to the branch `main`, of which Argo CD is not told; returns its revision.
    fn commit(&self, version: &Version) -> String;
}

/// Signs orders.
pub(crate) struct Issuer {
    key: SigningKey,
    sequence: AtomicU64,
}

impl Issuer {
    pub(crate) fn new() -> Self {
        let seed = ring::digest::digest(&ring::digest::SHA256, b"edge-agent e2e");
        Self {
            key: SigningKey::from_seed(seed.as_ref()).unwrap(),
            sequence: AtomicU64::new(now_ms()),
        }
    }

    /// A keyring that lets it order everything.
    pub(crate) fn keyring(&self) -> String {
        format!(
            "[[key]]\nid = \"suite\"\npublic = \"{}\"\nallow = [\"rollout\", \"rollback\", \
             \"resume\", \"refresh\", \"identify\", \"ping\"]\napplications = [\"*\"]\n",
            self.key.public_base64()
        )
    }

    fn sign(&self, node: &str, action: Action) -> (String, Vec<u8>) {
        let sequence = self.sequence.fetch_add(1, Ordering::SeqCst);
        let id = format!("e2e-{}-{sequence}", std::process::id());
        let now = i64::try_from(now_ms() / 1000).unwrap();
        let command = Command {
            id: id.clone(),
            audience: vec![node.to_owned()],
            sequence,
            issued_at: now,
            expires_at: now + 600,
            action,
        };
        command.check().unwrap();
        let envelope = seal(COMMAND_TYPE, &command.to_json(), &[("suite", &self.key)]);
        (id, envelope)
    }
}

/// See above. The lab has one, and so has the double.
pub(crate) trait Scene: Sync {
    /// The name of the node.
    fn node(&self) -> &str;
    /// The API server, with every right.
    fn api(&self) -> &Api;
    fn issuer(&self) -> &Issuer;
    /// Publishes a command.
    fn publish(&self, envelope: &[u8]);
    /// What was on the broker so far, in the order of arrival.
    fn messages(&self) -> Vec<Told>;
    /// What the agent's page says.
    fn page(&self) -> Value;
    /// A place for an application of that name.
    fn place(&self, name: &str) -> Box<dyn Place>;
    /// How long something takes here that takes so many seconds on the lab.
    fn seconds(&self, on_the_lab: u64) -> u64;
    /// What happened, for a person: what the cluster said of an application, and the agent of a command.
    fn story(&self, application: &str, command: &str) -> String;

    /// Signs an order and sends it; returns the id of the command.
    fn order(&self, action: Action) -> String {
        let (id, envelope) = self.issuer().sign(self.node(), action);
        self.publish(&envelope);
        id
    }

    /// The answers to a command so far, each with when it came first. All must be signed by the node,
    /// and be numbered without going back; one that is said once more, because the agent was killed
    /// before it knew that the broker had it, must be said in the same words.
    fn answers(&self, id: &str) -> Vec<(Instant, CommandResult)> {
        let messages = self.messages();
        let root = format!("edge/v1/{}", self.node());
        let (identity, result) = (format!("{root}/identity"), format!("{root}/result/{id}"));
        let keys: Vec<[u8; 32]> = messages
            .iter()
            .filter(|told| told.topic == identity)
            .filter_map(|told| public_from_base64(told.json()["key"].as_str()?).ok())
            .collect();
        let mut answers: Vec<(Instant, CommandResult)> = Vec::new();
        for told in messages
            .iter()
            .filter(|told| told.topic == result && !told.payload.is_empty())
        {
            let answer = open_result(&told.payload, &keys).unwrap();
            if !answers.iter().any(|(_, known)| *known == answer) {
                answers.push((told.at, answer));
            }
        }
        let in_order = answers.is_sorted_by_key(|(_, result)| result.n);
        assert!(in_order, "{answers:#?}");
        answers
    }

    /// Waits for an answer with that state; returns it with when it came.
    fn wait_answer(&self, id: &str, state: ResultState) -> (Instant, CommandResult) {
        wait(LIMIT, &format!("{id} to be {state:?}"), || {
            let answers = self.answers(id);
            if let Some((_, end)) = answers
                .iter()
                .find(|(_, r)| r.state.is_final() && r.state != state)
            {
                panic!("{id} is not {state:?}, but {end:?}");
            }
            answers
                .into_iter()
                .find(|(_, result)| result.state == state)
        })
    }

    /// Waits for the last answer to a command.
    fn result(&self, id: &str, limit: Duration) -> CommandResult {
        let deadline = Instant::now() + limit;
        loop {
            let answers = self.answers(id);
            if let Some((_, last)) = answers.last().filter(|(_, result)| result.state.is_final()) {
                return last.clone();
            }
            if Instant::now() > deadline {
                let name = answers
                    .last()
                    .and_then(|(_, last)| last.application.clone());
                let story = self.story(&name.unwrap_or_default(), id);
                panic!("waited {limit:?} for the result of {id}; {answers:#?}\n{story}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for the last answer, which has to be that.
    fn expect(&self, id: &str, state: ResultState, limit: Duration) -> CommandResult {
        let result = self.result(id, limit);
        if result.state != state {
            let name = result.application.clone().unwrap_or_default();
            let story = self.story(&name, id);
            panic!("{id} is not {state:?}, but {result:#?}\n{story}");
        }
        result
    }

    /// What the topic of an application holds now; null when it holds nothing.
    fn app(&self, name: &str) -> Value {
        let topic = format!("edge/v1/{}/app/{name}", self.node());
        let messages = self.messages();
        let last = messages.iter().rev().find(|told| told.topic == topic);
        last.map_or(Value::Null, Told::json)
    }

    /// Waits until the topic of an application holds something of which that is true.
    fn wait_app(
        &self,
        name: &str,
        what: &str,
        limit: Duration,
        is: &dyn Fn(&Value) -> bool,
    ) -> Value {
        let deadline = Instant::now() + limit;
        loop {
            let app = self.app(name);
            if is(&app) {
                return app;
            }
            if Instant::now() > deadline {
                let object = self.api().find(&application_path(name)).unwrap_or_default();
                panic!(
                    "waited {limit:?} for {name} {what}; the topic has {app:#}, the cluster spec {}, \
                     annotations {}, operation {}, status {}\n{}",
                    object["spec"],
                    object["metadata"]["annotations"],
                    object["operation"],
                    object["status"],
                    self.story(name, "-"),
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The events of a type about a subject, as a consumer has them.
    fn events(&self, kind: &str, subject: &str) -> Vec<Value> {
        let mut ids = BTreeSet::new();
        self.messages()
            .iter()
            .filter(|told| told.topic.ends_with("/event"))
            .map(Told::json)
            .filter(|event| event["type"] == kind && event["subject"] == subject)
            .filter(|event| ids.insert(event["id"].to_string()))
            .collect()
    }
}

pub(crate) fn now_ms() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap()
}
