//! A broker, a recorder and the agent, with the lab's Argo CD behind it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use edge_agent_core::application::Rules;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::super::agent::{Agent, NODE, Setup};
use super::super::broker::Broker;
use super::super::mqtt::{Login, publish_command};
use super::super::recorder::Recorder;
use super::super::{Args, wait};
use super::lab::{Kind, Lab};
use super::observed::{Observed, observe, story};
use super::repository::Repository;
use crate::scenarios::api::{APPLICATIONS, Api};
use crate::scenarios::scene::{Issuer, LIMIT, Place, Scene, Told};
use crate::scenarios::version::Version;

/// Numbers that go up in the whole process: of commands, and of stages.
static COUNTER: AtomicU64 = AtomicU64::new(0);

/// What the namespaces that are deployed to begin with.
const NAMESPACES: &str = "e2e-";

/// Scenarios that run at the same time; mostly they wait.
const AT_ONCE: usize = 8;

/// One part of a suite of the lab alone, with applications of its own.
pub(crate) type Scenario = (&'static str, fn(&Stage));

/// A git repository, and a namespace of its own.
struct LabPlace {
    repository: Repository,
    namespace: String,
}

impl Place for LabPlace {
    fn url(&self) -> String {
        self.repository.url()
    }

    fn namespace(&self) -> String {
        self.namespace.clone()
    }

    fn deployment(&self) -> String {
        "web".to_owned()
    }

    fn commit(&self, version: &Version) -> String {
        self.repository.commit(version)
    }
}

/// Everything that a scenario acts on.
pub(crate) struct Stage {
    pub(crate) lab: Arc<Lab>,
    pub(crate) broker: Broker,
    pub(crate) recorder: Recorder,
    pub(crate) setup: Setup,
    /// What the suite's own watch has heard.
    pub(crate) observed: Arc<Mutex<Vec<Observed>>>,
    agent: Mutex<Agent>,
    issuer: Issuer,
    pub(crate) directory: TempDir,
    number: u64,
}

impl Stage {
    /// Brings up what is needed, with Argo CD 3.5.
    pub(crate) fn set(args: &Args) -> Self {
        Self::with(args, Kind::Usual, "", |_| {})
    }

    /// The same in another kind of lab, with more lines of `[cluster]`, and whatever else is to be different.
    pub(crate) fn with(
        args: &Args,
        kind: Kind,
        cluster: &str,
        change: impl FnOnce(&mut Setup),
    ) -> Self {
        let lab = Lab::get(kind, args.lab.as_deref());
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
        let issuer = Issuer::new();
        let mut setup = Setup::new(directory.path(), broker.port);
        let keyring = directory.path().join("keyring.toml");
        std::fs::write(&keyring, issuer.keyring()).unwrap();
        setup.kubeconfig = Some(lab.folder.join("agent-kubeconfig"));
        setup.cluster = cluster.to_owned();
        setup.more = format!(
            "[outbox]\nreserve_bytes = 0\n[commands]\nkeyring = {keyring:?}\ntrust_clock = true\n"
        );
        change(&mut setup);
        let hooks = ["*scan*", "*security*", "*gate*"].map(str::to_owned);
        let rules = Rules::new(Duration::from_secs(600), &hooks);
        let observed = observe(&lab.api, rules);
        let agent = Mutex::new(setup.start());
        let stage = Self {
            lab,
            broker,
            recorder,
            setup,
            observed,
            agent,
            issuer,
            directory,
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

    /// Plays scenarios, several at once; fails with the names of those that did not hold.
    pub(crate) fn play<'s, F>(&'s self, args: &Args, scenarios: &[(&'static str, F)])
    where
        F: Fn(&'s Self) + Sync,
    {
        let wanted: Vec<&(&str, F)> = scenarios
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

impl Scene for Stage {
    fn node(&self) -> &str {
        NODE
    }

    fn api(&self) -> &Api {
        &self.lab.api
    }

    fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    fn publish(&self, envelope: &[u8]) {
        let client = format!("sender-{}", COUNTER.fetch_add(1, Ordering::SeqCst));
        publish_command(&Login::plain(self.broker.port, &client), NODE, envelope);
    }

    fn messages(&self) -> Vec<Told> {
        let messages = self.recorder.messages().into_iter();
        messages.map(Told::from).collect()
    }

    fn page(&self) -> Value {
        self.agent().status().unwrap_or_default()
    }

    fn place(&self, name: &str) -> Box<dyn Place> {
        let folder = self.directory.path().join("git").join(name);
        Box::new(LabPlace {
            repository: Repository::new(folder),
            namespace: self.namespace(name),
        })
    }

    fn seconds(&self, on_the_lab: u64) -> u64 {
        on_the_lab
    }

    fn story(&self, application: &str, command: &str) -> String {
        let log = self.setup.log();
        let about: Vec<&str> = log.lines().filter(|line| line.contains(command)).collect();
        let observed = self.observed.lock().unwrap_or_else(PoisonError::into_inner);
        format!("{}\n{}", about.join("\n"), story(application, &observed))
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
    let every = |api: &Api| api.find("/apis/argoproj.io/v1alpha1/applications");
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
