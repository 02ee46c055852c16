//! The lab, brought up once for all suites, and what can be done to it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::scenarios::api::Api;

/// The program.
const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/lab/lab");

/// The lab that is up.
static CURRENT: Mutex<Option<Arc<Lab>>> = Mutex::new(None);

/// What a lab is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The newer Argo CD, and a node that kwok plays: no pod runs.
    Usual,
    /// The same with the older Argo CD.
    Older,
    /// The newer Argo CD, and a node with a kubelet and containers that run.
    RealNode,
}

impl Kind {
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Usual => &["up"],
            Self::Older => &["up", "--argocd", "3.2"],
            Self::RealNode => &["up", "--real-node"],
        }
    }
}

/// A lab that is up. The last one who has it ends it.
pub(crate) struct Lab {
    pub(crate) folder: PathBuf,
    pub(crate) api: Api,
    kind: Kind,
    /// Somebody else's: it stays.
    keep: bool,
}

impl Lab {
    /// The lab of that kind; one of another kind is ended first.
    pub(crate) fn get(kind: Kind, folder: Option<&Path>) -> Arc<Self> {
        let mut current = CURRENT
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(lab) = current.as_ref().filter(|lab| lab.kind == kind) {
            lab.up();
            return Arc::clone(lab);
        }
        drop(current.take());
        let lab = Arc::new(Self::start(kind, folder));
        *current = Some(Arc::clone(&lab));
        lab
    }

    /// Ends what is up.
    pub(crate) fn end() {
        let mut current = CURRENT
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        drop(current.take());
    }

    fn start(kind: Kind, folder: Option<&Path>) -> Self {
        let keep = folder.is_some();
        let folder = folder.map_or_else(default_folder, Path::to_owned);
        // Argo CD 3.5 goes with either node, and the suite of a real node says so if there is none.
        if keep && kind == Kind::Older {
            panic!("--lab names a lab of another version than this suite needs");
        }
        if !keep {
            // What a run that was killed has left behind.
            run(&folder, &["down"]);
        }
        run(&folder, if keep { &["up"] } else { kind.arguments() });
        let api = Api::of(&folder.join("kubeconfig"));
        let lab = Self {
            folder,
            api,
            kind,
            keep,
        };
        lab.agent_kubeconfig();
        lab
    }

    /// Brings back what does not run.
    pub(crate) fn up(&self) {
        run(&self.folder, &["up"]);
    }

    /// Kills a component.
    pub(crate) fn stop(&self, component: &str) {
        run(&self.folder, &["stop", "--now", component]);
    }

    /// Makes an image with that content and gives it to the real node; returns its reference.
    pub(crate) fn image(&self, name: &str, content: &str) -> String {
        run(&self.folder, &["image", name, content])
    }

    /// Writes the agent's kubeconfig and token afresh.
    pub(crate) fn agent_kubeconfig(&self) -> PathBuf {
        run(&self.folder, &["kubeconfig-for", "edge-agent"]);
        self.folder.join("agent-kubeconfig")
    }

    pub(crate) fn signal(&self, component: &str, signal: Signal) {
        let note = self.folder.join("run").join(format!("{component}.pid"));
        let pid: i32 = fs::read_to_string(note).unwrap().trim().parse().unwrap();
        kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
    }

    /// The port of the API server.
    pub(crate) fn port(&self) -> u16 {
        u16::try_from(self.record()["ports"]["apiserver"].as_u64().unwrap()).unwrap()
    }

    /// The folder of a part that was built for it.
    pub(crate) fn program(&self, part: &str) -> PathBuf {
        PathBuf::from(self.record()["programs"][part].as_str().unwrap())
    }

    fn record(&self) -> Value {
        serde_json::from_slice(&fs::read(self.folder.join("lab.json")).unwrap()).unwrap()
    }

    /// What the agent's account has asked for since the mark, one entry a request.
    pub(crate) fn requests(&self, since: usize) -> Vec<Value> {
        let text = fs::read_to_string(self.folder.join("logs/audit.log")).unwrap_or_default();
        let parsed = text.lines().skip(since).map(serde_json::from_str::<Value>);
        let mut requests: Vec<Value> = parsed.filter_map(Result::ok).collect();
        // A watch is told of twice, at its start and at its end.
        requests.retain(|r| r["verb"] != "watch" || r["stage"] == "ResponseStarted");
        requests
    }

    /// Where the log of requests has come to.
    pub(crate) fn mark(&self) -> usize {
        let text = fs::read_to_string(self.folder.join("logs/audit.log")).unwrap_or_default();
        text.lines().count()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if !self.keep {
            run(&self.folder, &["down"]);
        }
    }
}

/// One for each checkout, so that a run finds and ends what a killed one has left behind.
fn default_folder() -> PathBuf {
    let sum = (env!("CARGO_MANIFEST_DIR").bytes()).fold(0_u32, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(u32::from(byte))
    });
    std::env::temp_dir().join(format!("edge-agent-e2e-{sum:08x}"))
}

/// Runs a command of the lab; returns what it says.
fn run(folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(PROGRAM);
    command
        .arg(arguments[0])
        .arg("--dir")
        .arg(folder)
        .args(&arguments[1..]);
    let begun = std::time::Instant::now();
    let done = command
        .output()
        .unwrap_or_else(|error| panic!("{PROGRAM} cannot be started (it needs Python): {error}"));
    assert!(
        done.status.success(),
        "`lab {}` failed:\n{}{}",
        arguments.join(" "),
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
    if begun.elapsed() > Duration::from_secs(60) {
        println!(
            "    lab {} took {} s",
            arguments[0],
            begun.elapsed().as_secs()
        );
    }
    String::from_utf8_lossy(&done.stdout).trim().to_owned()
}
