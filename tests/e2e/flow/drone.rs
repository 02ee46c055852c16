//! The part of Drone's server that the flow needs: its API, and a runner behind it. It answers as a real
//! server (2.25.0) was seen to.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::super::support::drone::build::Build;
use super::super::support::drone::pipeline::Pipeline;
use super::super::support::drone::runner::Runner;
use super::super::wait;
use super::web::{self, Reply, Request};

/// A token of somebody who may start builds.
pub(super) const TOKEN: &str = "drone-token-of-a-person";

const REPOSITORY: &str = "acme/shop";

/// The server.
pub(super) struct Drone {
    shared: Arc<Shared>,
    address: SocketAddr,
}

struct Shared {
    /// Workspaces and logs.
    folder: PathBuf,
    pipelines: Vec<Pipeline>,
    secrets: Mutex<BTreeMap<String, String>>,
    builds: Mutex<Vec<Entry>>,
    /// One build at a time, as the pipelines ask for.
    turn: Mutex<()>,
}

struct Entry {
    build: Build,
    /// As the API tells it; the build itself tells its steps something else while it runs.
    status: String,
}

impl Drone {
    /// A server with that as the `.drone.yml` of the project.
    pub(super) fn start(folder: &Path, pipeline: &str) -> Self {
        fs::create_dir_all(folder).unwrap();
        let shared = Arc::new(Shared {
            folder: folder.to_owned(),
            pipelines: Pipeline::read(pipeline).unwrap(),
            secrets: Mutex::default(),
            builds: Mutex::default(),
            turn: Mutex::default(),
        });
        let server = Arc::clone(&shared);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let address = web::serve(address, None, move |request| server.answer(request));
        Self { shared, address }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// As `drone secret add` does.
    pub(super) fn add_secret(&self, name: &str, value: &str) {
        lock(&self.shared.secrets).insert(name.to_owned(), value.to_owned());
    }

    /// As `drone build rollback` does; returns the number of the build.
    pub(super) fn roll_back(&self, number: u64) -> u64 {
        self.deploy(number, "rollback")
    }

    /// As `drone build promote` does; returns the number of the build.
    pub(super) fn promote(&self, number: u64) -> u64 {
        self.deploy(number, "promote")
    }

    fn deploy(&self, number: u64, event: &str) -> u64 {
        let path = format!("/api/repos/{REPOSITORY}/builds/{number}/{event}");
        let request = Request {
            method: "POST".to_owned(),
            path,
            query: vec![("target".to_owned(), "production".to_owned())],
            headers: [("authorization".to_owned(), format!("Bearer {TOKEN}"))].into(),
            body: Vec::new(),
        };
        let (status, answer) = self.shared.answer(&request);
        assert_eq!(status, 200, "{answer}");
        answer["number"].as_u64().unwrap()
    }

    /// The number of the last build; 0: none.
    pub(super) fn last(&self) -> u64 {
        let builds = lock(&self.shared.builds);
        builds.last().map_or(0, |entry| entry.build.number)
    }

    /// Waits for the end of a build.
    pub(super) fn ended(&self, number: u64, limit: Duration) -> Build {
        wait(limit, &format!("build {number} to end"), || {
            let builds = lock(&self.shared.builds);
            let entry = builds.iter().find(|entry| entry.build.number == number)?;
            let runs = ["pending", "running"].contains(&entry.status.as_str());
            (!runs).then(|| entry.build.clone())
        })
    }

    /// What a step has printed so far.
    pub(super) fn log(&self, number: u64, step: &str) -> String {
        let path = self.shared.logs(number).join(format!("{step}.log"));
        fs::read_to_string(path).unwrap_or_default()
    }
}

impl Shared {
    fn logs(&self, number: u64) -> PathBuf {
        self.folder.join(format!("logs-{number}"))
    }

    fn answer(self: &Arc<Self>, request: &Request) -> Reply {
        let message = |status: u16, text: &str| (status, json!({"message": text}));
        if request.header("authorization") != format!("Bearer {TOKEN}") {
            return message(401, "Unauthorized");
        }
        let root = format!("/api/repos/{REPOSITORY}/builds");
        let Some(rest) = request.path.strip_prefix(&root) else {
            return message(404, "Not Found");
        };
        let parts: Vec<&str> = rest.split('/').skip(1).collect();
        let known = parts.first().map(|number| {
            let builds = lock(&self.builds);
            let mut found = builds.iter();
            let found = found.find(|entry| entry.build.number.to_string() == *number);
            found.map(|entry| (entry.build.clone(), told(entry)))
        });
        match (request.method.as_str(), known, parts.get(1)) {
            (_, Some(None), _) => message(404, "sql: no rows in result set"),
            ("GET", Some(Some((_, told))), None) => (200, told),
            ("POST", None, _) => {
                let commit = request.parameter("commit").unwrap_or_default();
                self.create(Build {
                    event: "custom".to_owned(),
                    parameters: parameters(request),
                    ..Build::pushed(0, commit)
                })
            }
            ("POST", Some(Some((parent, _))), Some(event @ (&"promote" | &"rollback"))) => {
                let Some(target) = request.parameter("target") else {
                    return message(400, "Missing target environment");
                };
                let mut all = parent.parameters.clone();
                all.extend(parameters(request));
                self.create(Build {
                    event: (*event).to_owned(),
                    parent: parent.number,
                    target: target.to_owned(),
                    parameters: all,
                    ..Build::pushed(0, &parent.commit)
                })
            }
            _ => message(404, "Not Found"),
        }
    }

    /// Queues a build. The answer is `null` when no pipeline is for it.
    fn create(self: &Arc<Self>, mut build: Build) -> Reply {
        let mut pipelines = self.pipelines.clone();
        pipelines.retain(|pipeline| pipeline.is_for(&build.event));
        if pipelines.is_empty() {
            return (200, Value::Null);
        }
        let mut builds = lock(&self.builds);
        build.number = builds.last().map_or(1, |entry| entry.build.number + 1);
        let entry = Entry {
            build: build.clone(),
            status: "pending".to_owned(),
        };
        let answer = told(&entry);
        builds.push(entry);
        drop(builds);
        let server = Arc::clone(self);
        std::thread::spawn(move || {
            let _turn = lock(&server.turn);
            server.run(&pipelines, build);
        });
        (200, answer)
    }

    fn run(&self, pipelines: &[Pipeline], mut build: Build) {
        let number = build.number;
        self.note(&build, "running");
        let workspace = self.folder.join(format!("build-{number}"));
        // The pipelines here do without a checkout.
        fs::create_dir(&workspace).unwrap();
        let runner = Runner {
            repository: REPOSITORY,
            secrets: &lock(&self.secrets).clone(),
            images: &BTreeMap::new(),
            workspace: &workspace,
            logs: self.logs(number),
        };
        for pipeline in pipelines {
            runner.run(pipeline, &mut build);
        }
        let status = build.status.clone();
        self.note(&build, &status);
    }

    fn note(&self, build: &Build, status: &str) {
        let mut builds = lock(&self.builds);
        let entry = builds
            .iter_mut()
            .find(|entry| entry.build.number == build.number);
        *entry.unwrap() = Entry {
            build: build.clone(),
            status: status.to_owned(),
        };
    }
}

/// A build as the API has it.
fn told(entry: &Entry) -> Value {
    let build = &entry.build;
    json!({
        "number": build.number, "status": entry.status, "event": build.event, "parent": build.parent,
        "after": build.commit, "deploy_to": build.target, "params": build.parameters,
    })
}

/// Those of the query that become variables of the steps.
fn parameters(request: &Request) -> BTreeMap<String, String> {
    let own = ["branch", "commit", "target", "access_token"];
    let others = request
        .query
        .iter()
        .filter(|(name, _)| !own.contains(&name.as_str()));
    others.cloned().collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
