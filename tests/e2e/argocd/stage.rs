//! A broker, a recorder and the agent, with the lab's Argo CD behind it.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use edge_agent_core::application::Rules;
use edge_agent_core::command::envelope::{COMMAND_TYPE, SigningKey, open_result, seal};
use edge_agent_core::command::key::public_from_base64;
use edge_agent_core::command::payload::{Action, Command};
use edge_agent_core::wire::{CommandResult, ResultState};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::super::agent::{Agent, NODE, Setup};
use super::super::broker::Broker;
use super::super::mqtt::{Connection, Login};
use super::super::recorder::{Message, Recorder};
use super::super::{Args, wait};
use super::api::{APPLICATIONS, application_path};
use super::lab::Lab;
use super::observed::{Observed, story};

/// How long an ordinary step may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(40);

/// Numbers that go up in the whole process: of commands, and of stages.
static COUNTER: AtomicU64 = AtomicU64::new(0);

/// What the namespaces that are deployed to begin with.
const NAMESPACES: &str = "e2e-";

/// Scenarios that run at the same time; mostly they wait.
const AT_ONCE: usize = 8;

/// One part of a suite, with applications of its own.
pub(crate) type Scenario = (&'static str, fn(&Stage));

/// Everything that a scenario acts on.
pub(crate) struct Stage {
    pub(crate) lab: Arc<Lab>,
    pub(crate) broker: Broker,
    pub(crate) recorder: Recorder,
    pub(crate) setup: Setup,
    /// What the suite's own watch has heard.
    pub(crate) observed: Arc<Mutex<Vec<Observed>>>,
    agent: Mutex<Agent>,
    key: SigningKey,
    sequence: AtomicU64,
    pub(crate) directory: TempDir,
    pub(crate) long: bool,
    number: u64,
}

impl Stage {
    /// Brings up what is needed, with Argo CD 3.5.
    pub(crate) fn set(args: &Args) -> Self {
        Self::with(args, "3.5", "", |_| {})
    }

    /// The same with another version, more lines of `[cluster]`, and whatever else is to be different.
    pub(crate) fn with(
        args: &Args,
        version: &'static str,
        cluster: &str,
        change: impl FnOnce(&mut Setup),
    ) -> Self {
        let lab = Lab::get(version, args.lab.as_deref());
        clear(&lab);
        wait(LIMIT, "what earlier suites have deployed to go", || {
            let left = deployed(&lab);
            left.iter()
                .for_each(|namespace| release_hooks(&lab, namespace));
            left.is_empty().then_some(())
        });
        let directory = tempfile::tempdir().unwrap();
        let broker = Broker::plain(directory.path(), "");
        let recorder = Recorder::start(Login::plain(broker.port, "recorder"));
        recorder.wait_subscribed(0);
        let seed = ring::digest::digest(&ring::digest::SHA256, b"edge-agent e2e");
        let key = SigningKey::from_seed(seed.as_ref()).unwrap();
        let mut setup = Setup::new(directory.path(), broker.port);
        let keyring = directory.path().join("keyring.toml");
        let text = format!(
            "[[key]]\nid = \"suite\"\npublic = \"{}\"\nallow = [\"rollout\", \"rollback\", \
             \"resume\", \"refresh\", \"identify\", \"ping\"]\napplications = [\"*\"]\n",
            key.public_base64()
        );
        std::fs::write(&keyring, text).unwrap();
        setup.kubeconfig = Some(lab.folder.join("agent-kubeconfig"));
        setup.cluster = cluster.to_owned();
        setup.more = format!(
            "[outbox]\nreserve_bytes = 0\n[commands]\nkeyring = {keyring:?}\ntrust_clock = true\n"
        );
        change(&mut setup);
        let hooks = ["*scan*", "*security*", "*gate*"].map(str::to_owned);
        let observed = lab
            .api
            .observe(Rules::new(Duration::from_secs(600), &hooks));
        let agent = Mutex::new(setup.start());
        let stage = Self {
            lab,
            broker,
            recorder,
            setup,
            observed,
            agent,
            key,
            sequence: AtomicU64::new(now_ms()),
            directory,
            long: args.long,
            number: COUNTER.fetch_add(1, Ordering::SeqCst),
        };
        stage
            .recorder
            .wait_message("identity", LIMIT, |value| value["key"].is_string());
        stage
    }

    /// The agent. Whoever has it keeps others from it.
    pub(crate) fn agent(&self) -> MutexGuard<'_, Agent> {
        self.agent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the agent again after it was killed.
    pub(crate) fn start_agent(&self) {
        *self.agent() = self.setup.start();
    }

    /// Waits until the link to the API server is up.
    pub(crate) fn wait_cluster_up(&self, limit: Duration) {
        self.agent()
            .wait_status(limit, "the cluster link to be up", |status| {
                (status["links"]["cluster"]["state"] == "up").then_some(())
            });
    }

    /// Waits until the link to the API server is down, for a reason with this in it; returns it.
    pub(crate) fn wait_cluster_down(&self, limit: Duration, word: &str) -> String {
        let what = format!("the cluster link to be down because of {word:?}");
        self.agent().wait_status(limit, &what, |status| {
            let link = &status["links"]["cluster"];
            let reason = link["reason"].as_str().unwrap_or_default();
            (link["state"] == "down" && reason.contains(word)).then(|| reason.to_owned())
        })
    }

    /// The namespace that an application of this stage deploys to.
    pub(crate) fn namespace(&self, name: &str) -> String {
        format!("{NAMESPACES}{name}-{}-{}", std::process::id(), self.number)
    }

    /// Signs an order and sends it; returns the id of the command.
    pub(crate) fn order(&self, action: Action) -> String {
        let id = format!(
            "e2e-{}-{}",
            std::process::id(),
            COUNTER.fetch_add(1, Ordering::SeqCst)
        );
        let sequence = self.sequence.fetch_add(1, Ordering::SeqCst);
        let now = i64::try_from(now_ms() / 1000).unwrap();
        let command = Command {
            id: id.clone(),
            audience: vec![NODE.to_owned()],
            sequence,
            issued_at: now,
            expires_at: now + 600,
            action,
        };
        command.check().unwrap();
        let envelope = seal(COMMAND_TYPE, &command.to_json(), &[("suite", &self.key)]);
        self.publish(&envelope);
        id
    }

    fn publish(&self, envelope: &[u8]) {
        let client = format!("sender-{}", COUNTER.fetch_add(1, Ordering::SeqCst));
        let mut connection = Connection::open(&Login::plain(self.broker.port, &client)).unwrap();
        let topic = format!("edge/v1/{NODE}/command");
        connection.publish(&topic, envelope, 1, false).unwrap();
        wait(LIMIT, "the broker to take the command", || {
            connection.read().unwrap()
        });
    }

    /// The answers to a command so far, each with when it came. All must be signed by the node, and
    /// be numbered without going back.
    pub(crate) fn answers(&self, id: &str) -> Vec<(Instant, CommandResult)> {
        let messages = self.recorder.messages();
        let keys = self.node_keys(&messages);
        let topic = format!("edge/v1/{NODE}/result/{id}");
        let answers: Vec<(Instant, CommandResult)> = messages
            .iter()
            .filter(|message| message.topic == topic && !message.payload.is_empty())
            .map(|message| (message.at, open_result(&message.payload, &keys).unwrap()))
            .collect();
        assert!(
            answers.is_sorted_by_key(|(_, result)| result.n),
            "{answers:#?}"
        );
        answers
    }

    fn node_keys(&self, messages: &[Message]) -> Vec<[u8; 32]> {
        let topic = format!("edge/v1/{NODE}/identity");
        let identities = messages.iter().filter(|message| message.topic == topic);
        identities
            .filter_map(|message| public_from_base64(message.json()["key"].as_str()?).ok())
            .collect()
    }

    /// Waits for an answer with that state; returns it with when it came.
    pub(crate) fn wait_answer(&self, id: &str, state: ResultState) -> (Instant, CommandResult) {
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
    pub(crate) fn result(&self, id: &str, limit: Duration) -> CommandResult {
        let deadline = Instant::now() + limit;
        loop {
            let answers = self.answers(id);
            if let Some((_, last)) = answers.last().filter(|(_, result)| result.state.is_final()) {
                return last.clone();
            }
            if Instant::now() > deadline {
                let log = self.setup.log();
                let about: Vec<&str> = log.lines().filter(|line| line.contains(id)).collect();
                let name = answers
                    .last()
                    .and_then(|(_, answer)| answer.application.clone());
                let story = self.story(&name.unwrap_or_default());
                panic!(
                    "waited {limit:?} for the result of {id}; {answers:#?}\n{}\n{story}",
                    about.join("\n")
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for the last answer, which has to be that.
    pub(crate) fn expect(&self, id: &str, state: ResultState, limit: Duration) -> CommandResult {
        let result = self.result(id, limit);
        if result.state != state {
            let name = result.application.clone().unwrap_or_default();
            panic!(
                "{id} is not {state:?}, but {result:#?}\n{}",
                self.story(&name)
            );
        }
        result
    }

    /// What the topic of an application holds now; null when it holds nothing.
    pub(crate) fn app(&self, name: &str) -> Value {
        let topic = format!("edge/v1/{NODE}/app/{name}");
        let messages = self.recorder.messages();
        let last = messages.iter().rev().find(|message| message.topic == topic);
        last.map_or(Value::Null, Message::json)
    }

    /// Waits until the topic of an application holds something of which that is true.
    pub(crate) fn wait_app(
        &self,
        name: &str,
        what: &str,
        limit: Duration,
        is: impl Fn(&Value) -> bool,
    ) -> Value {
        let deadline = Instant::now() + limit;
        loop {
            let app = self.app(name);
            if is(&app) {
                return app;
            }
            if Instant::now() > deadline {
                let object = self
                    .lab
                    .api
                    .find(&application_path(name))
                    .unwrap_or_default();
                panic!(
                    "waited {limit:?} for {name} {what}; the topic has {app:#}, the cluster spec {}, \
                     annotations {}, operation {}, status {}\n{}",
                    object["spec"],
                    object["metadata"]["annotations"],
                    object["operation"],
                    object["status"],
                    self.story(name),
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What the cluster said of an application, in the order in which it did.
    pub(crate) fn story(&self, name: &str) -> String {
        story(
            name,
            &self.observed.lock().unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// The events of a type about a subject, as a consumer has them.
    pub(crate) fn events(&self, kind: &str, subject: &str) -> Vec<Value> {
        let messages = self.recorder.messages();
        let mut ids = BTreeSet::new();
        messages
            .iter()
            .filter(|message| message.topic.ends_with("/event"))
            .map(Message::json)
            .filter(|event| event["type"] == kind && event["subject"] == subject)
            .filter(|event| ids.insert(event["id"].to_string()))
            .collect()
    }

    /// Plays scenarios, several at once; fails with the names of those that did not hold.
    pub(crate) fn play(&self, args: &Args, scenarios: &[Scenario]) {
        let wanted: Vec<&Scenario> = scenarios
            .iter()
            .filter(|(name, _)| {
                args.scenario
                    .as_ref()
                    .is_none_or(|word| name.contains(word.as_str()))
            })
            .collect();
        let next = AtomicUsize::new(0);
        let failed = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..AT_ONCE.min(wanted.len()) {
                scope.spawn(|| {
                    while let Some((name, scenario)) =
                        wanted.get(next.fetch_add(1, Ordering::SeqCst))
                    {
                        let begun = Instant::now();
                        let held = catch_unwind(AssertUnwindSafe(|| scenario(self))).is_ok();
                        let verdict = if held { "ok" } else { "FAILED" };
                        println!(
                            "    {name} {verdict} ({:.1} s)",
                            begun.elapsed().as_secs_f64()
                        );
                        if !held {
                            failed.lock().unwrap().push(*name);
                        }
                    }
                });
            }
        });
        let failed = failed.into_inner().unwrap();
        assert!(failed.is_empty(), "did not hold: {failed:?}");
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let kept = std::env::temp_dir().join("edge-agent-e2e-agent.log");
            let _ = std::fs::write(&kept, self.setup.log());
            println!("    the agent's log is in {}", kept.display());
        }
        clear(&self.lab);
    }
}

/// Takes all Applications away, and the namespaces that they have deployed to.
fn clear(lab: &Lab) {
    let every = |api: &super::api::Api| api.find("/apis/argoproj.io/v1alpha1/applications");
    let Some(list) = every(&lab.api) else { return };
    for object in list["items"].as_array().into_iter().flatten() {
        let metadata = &object["metadata"];
        let path = APPLICATIONS.replace(
            "argocd/",
            &format!("{}/", metadata["namespace"].as_str().unwrap()),
        );
        let path = format!("{path}/{}", metadata["name"].as_str().unwrap());
        if metadata["finalizers"].is_array() {
            let none = json!({"metadata": {"finalizers": null}});
            let _ = lab
                .api
                .try_send("PATCH", &path, "application/merge-patch+json", &none);
        }
        lab.api.delete(&path);
    }
    for namespace in deployed(lab) {
        lab.api.delete(&format!("/api/v1/namespaces/{namespace}"));
    }
}

/// Argo CD keeps the Jobs of its hooks from going, and does not come back to those whose Application
/// is gone.
fn release_hooks(lab: &Lab, namespace: &str) {
    let path = format!("/apis/batch/v1/namespaces/{namespace}/jobs");
    let jobs = lab.api.find(&path).unwrap_or_default();
    for job in jobs["items"].as_array().into_iter().flatten() {
        let path = format!(
            "{path}/{}",
            job["metadata"]["name"].as_str().unwrap_or_default()
        );
        let none = json!({"metadata": {"finalizers": null}});
        let _ = lab
            .api
            .try_send("PATCH", &path, "application/merge-patch+json", &none);
    }
}

/// The namespaces that were deployed to and are still there.
fn deployed(lab: &Lab) -> Vec<String> {
    let namespaces = lab.api.find("/api/v1/namespaces").unwrap_or_default();
    let items = namespaces["items"].as_array().into_iter().flatten();
    items
        .filter_map(|object| object["metadata"]["name"].as_str())
        .filter(|name| name.starts_with(NAMESPACES))
        .map(str::to_owned)
        .collect()
}

fn now_ms() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap()
}
