//! A double of a K3s API server with Argo CD on it, in this process, over plain HTTP.
//!
//! It holds `Application` objects, serves lists, watches and patches as the API server does, and runs
//! a small controller that behaves as the one of Argo CD 3.5.7 was measured to. Tests say what is in
//! git and what goes wrong; the agent under test is given the kubeconfig and knows no difference.
//!
//! ```text
//! scenario    what tests say: pace, commits, behaviours
//! server      routes, lists, patches        watch     watches        node   nodes and pods
//! store       objects, versions, the log    schema    what the CRD refuses and drops
//! controller  operation, compare            the small Argo CD, synchronous
//! world       all state behind one lock     listener  a port that can be cut and come back
//! deployed    what runs: Deployments, Jobs and ConfigMaps, as far as anybody asks
//! faults      what goes wrong on order
//! client      a small HTTP client for the tests of the double itself
//! ```

pub(crate) mod client;
mod compare;
mod controller;
mod deployed;
mod faults;
mod listener;
mod node;
mod operation;
mod refusal;
mod repository;
mod scenario;
mod schema;
mod server;
mod store;
mod timestamp;
mod watch;
mod world;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::net::TcpSocket;
use tokio::sync::{Mutex, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) use scenario::{ApplicationSpec, Behaviour, Commit, Pace, sha};
pub(crate) use world::Recorded;

use controller::Application;
use store::{Change, Key, PatchKind};
use world::Shared;

/// The token in the kubeconfig. Nobody else's.
pub(crate) const TOKEN: &str = "token-of-the-cluster-double";

/// The double. Dropping it ends the server, the controller and every connection.
#[derive(Debug)]
pub(crate) struct ClusterDouble {
    shared: Arc<Shared>,
    port: u16,
    server: Mutex<Server>,
}

/// The listener, or what holds its place.
#[derive(Debug, Default)]
struct Server {
    /// What cuts it, and what tells that the port is free.
    up: Option<(CancellationToken, oneshot::Receiver<()>)>,
    /// Keeps the port while the server is down, so that whoever connects is refused.
    held: Option<TcpSocket>,
}

impl Drop for ClusterDouble {
    fn drop(&mut self) {
        self.shared.end.cancel();
    }
}

impl ClusterDouble {
    /// Starts the API server on a free port of the loopback interface, and the controller.
    pub(crate) async fn start(pace: Pace) -> Self {
        let shared = Arc::new(Shared::new(pace));
        let socket = super::port::hold(0).expect("a free loopback port");
        let port = socket.local_addr().expect("a bound socket").port();
        let controlled = shared.clone();
        tokio::spawn(async move { controlled.control().await });
        let double = Self {
            shared,
            port,
            server: Mutex::new(Server {
                up: None,
                held: Some(socket),
            }),
        };
        double.resume().await;
        double
    }

    /// `http://127.0.0.1:<port>`.
    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Writes `kubeconfig.yaml` into `directory`, for the user that holds [`TOKEN`].
    pub(crate) fn write_kubeconfig(&self, directory: &Path) -> PathBuf {
        let path = directory.join("kubeconfig.yaml");
        let url = self.url();
        let text = format!(
            "apiVersion: v1\n\
             kind: Config\n\
             clusters:\n\
             - name: double\n\
             \x20 cluster:\n\
             \x20   server: {url}\n\
             users:\n\
             - name: edge-agent\n\
             \x20 user:\n\
             \x20   token: {TOKEN}\n\
             contexts:\n\
             - name: double\n\
             \x20 context:\n\
             \x20   cluster: double\n\
             \x20   user: edge-agent\n\
             \x20   namespace: argocd\n\
             current-context: double\n"
        );
        std::fs::write(&path, text).expect("the kubeconfig can be written");
        path
    }

    /// Creates an Application and its git repository with the first commit.
    pub(crate) fn create_application(&self, namespace: &str, name: &str, spec: ApplicationSpec) {
        let object = spec.object(name);
        self.shared.change(|world| {
            let created = world.store.create(namespace, object);
            created.unwrap_or_else(|refusal| panic!("{namespace}/{name}: {refusal:?}"));
            let mut application = Application::new(spec.hook, Instant::now());
            application.repository.push(spec.first_commit, None);
            world.applications.insert(key(namespace, name), application);
        });
    }

    /// Pushes a commit to the branch of the application. The controller sees it after the polling
    /// interval of the pace, or at a refresh.
    pub(crate) fn push_commit(&self, namespace: &str, name: &str, commit: Commit) {
        let poll_at = self.poll_at();
        self.application(namespace, name, |application| {
            application.repository.push(commit, poll_at);
        });
    }

    /// Pushes a commit that brings back the content of the commit `of`, as `git revert` does.
    pub(crate) fn push_revert(&self, namespace: &str, name: &str, sha: &str, of: &str) {
        let poll_at = self.poll_at();
        let known = self.application(namespace, name, |application| {
            application.repository.push_revert(sha, of, poll_at)
        });
        assert!(known, "{namespace}/{name} has no commit {of}");
    }

    /// Changes a live object by hand, as `kubectl edit` does.
    pub(crate) fn drift(&self, namespace: &str, name: &str) {
        self.application(namespace, name, Application::drift);
    }

    /// Deletes the Application, as `kubectl delete` does.
    pub(crate) fn delete_application(&self, namespace: &str, name: &str) {
        let deleted = self
            .shared
            .change(|world| world.store.delete(&key(namespace, name)));
        deleted.unwrap_or_else(|refusal| panic!("{namespace}/{name}: {refusal:?}"));
    }

    /// Merges `patch` into the Application, as somebody else than the agent.
    pub(crate) fn merge(&self, namespace: &str, name: &str, patch: &Value) -> Value {
        let body = patch.to_string();
        let key = key(namespace, name);
        self.shared
            .change(|world| world.store.patch(&key, PatchKind::Merge, body.as_bytes()))
            .unwrap_or_else(|refusal| panic!("{namespace}/{name}: {refusal:?}"))
    }

    /// The Application as it is; null if there is none.
    pub(crate) fn get(&self, namespace: &str, name: &str) -> Value {
        let found = self.shared.read().store.get(&key(namespace, name));
        found.map_or(Value::Null, |object| (*object).clone())
    }

    /// Every version of the Application that there was, oldest first, without its deletion.
    pub(crate) fn versions(&self, namespace: &str, name: &str) -> Vec<Value> {
        let key = key(namespace, name);
        let world = self.shared.read();
        let changes = world.store.after(0);
        changes
            .filter(|entry| entry.key == key && entry.change != Change::Deleted)
            .map(|entry| (*entry.object).clone())
            .collect()
    }

    /// Waits until `holds` is true of the Application: of the present version or of any later one,
    /// even if that was there for a moment only.
    ///
    /// # Panics
    /// When `limit` is over, with the last version.
    pub(crate) async fn wait_until(
        &self,
        namespace: &str,
        name: &str,
        holds: impl Fn(&Value) -> bool,
        limit: Duration,
    ) -> Value {
        let present = self.get(namespace, name);
        if !present.is_null() && holds(&present) {
            return present;
        }
        let now = self.shared.read().store.version();
        self.wait_after(now, (namespace, name), holds, limit).await
    }

    /// As [`ClusterDouble::wait_until`], but a version that is over already counts as well: for what
    /// may have passed while the test waited for an answer.
    ///
    /// # Panics
    /// When `limit` is over, with the last version.
    pub(crate) async fn wait_seen(
        &self,
        namespace: &str,
        name: &str,
        holds: impl Fn(&Value) -> bool,
        limit: Duration,
    ) -> Value {
        self.wait_after(0, (namespace, name), holds, limit).await
    }

    async fn wait_after(
        &self,
        mut seen: u64,
        (namespace, name): (&str, &str),
        holds: impl Fn(&Value) -> bool,
        limit: Duration,
    ) -> Value {
        let key = key(namespace, name);
        let found = self.wait(limit, |shared| {
            let world = shared.read();
            for entry in world.store.after(seen) {
                let ours = entry.key == key && entry.change != Change::Deleted;
                if ours && holds(&entry.object) {
                    return Some((*entry.object).clone());
                }
            }
            seen = world.store.version();
            None
        });
        found.await.unwrap_or_else(|| {
            let last = self.get(namespace, name);
            panic!("{namespace}/{name} did not get there within {limit:?}; it is {last:#}")
        })
    }

    /// Waits until there is no such Application.
    ///
    /// # Panics
    /// When `limit` is over.
    pub(crate) async fn wait_deleted(&self, namespace: &str, name: &str, limit: Duration) {
        let key = key(namespace, name);
        let gone = self.wait(limit, |shared| {
            shared.read().store.get(&key).is_none().then_some(())
        });
        assert!(
            gone.await.is_some(),
            "{namespace}/{name} is still there after {limit:?}"
        );
    }

    /// Waits for a request, past or to come, of which `is` is true.
    ///
    /// # Panics
    /// When `limit` is over, with all requests so far.
    pub(crate) async fn wait_for_request(
        &self,
        is: impl Fn(&Recorded) -> bool,
        limit: Duration,
    ) -> Recorded {
        let found = self.wait(limit, |shared| {
            let world = shared.read();
            world.requests.iter().find(|request| is(request)).cloned()
        });
        found.await.unwrap_or_else(|| {
            let requests = self.requests();
            panic!("no such request within {limit:?}; there were {requests:#?}")
        })
    }

    /// Every request so far, oldest first.
    pub(crate) fn requests(&self) -> Vec<Recorded> {
        self.shared.read().requests.clone()
    }

    /// Forgets the requests so far.
    pub(crate) fn forget_requests(&self) {
        self.shared.change(|world| world.requests.clear());
    }

    fn poll_at(&self) -> Option<Instant> {
        self.shared.pace.poll().map(|wait| Instant::now() + wait)
    }

    fn application<R>(
        &self,
        namespace: &str,
        name: &str,
        write: impl FnOnce(&mut Application) -> R,
    ) -> R {
        let hook = "security-gate".to_owned();
        self.shared.change(|world| {
            let application = world.applications.entry(key(namespace, name));
            write(application.or_insert_with(|| Application::new(hook, Instant::now())))
        })
    }

    /// Looks again after every change until there is something to see; `None` after `limit`.
    async fn wait<T>(
        &self,
        limit: Duration,
        mut look: impl FnMut(&Shared) -> Option<T>,
    ) -> Option<T> {
        let mut changes = self.shared.changes();
        let seen = async {
            loop {
                changes.borrow_and_update();
                if let Some(found) = look(&self.shared) {
                    return Some(found);
                }
                changes.changed().await.ok()?;
            }
        };
        tokio::time::timeout(limit, seen).await.ok().flatten()
    }
}

fn key(namespace: &str, name: &str) -> Key {
    (namespace.to_owned(), name.to_owned())
}
