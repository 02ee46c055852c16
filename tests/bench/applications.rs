//! What an Application costs that is watched, and a change of it: the agent beside a kube-rs reflector of
//! whole objects, on the same cluster double. Applications of 200 resources, 1, 20 and 500 of them.
//!
//! `cargo bench --bench applications` builds both; `EDGE_AGENT` and `REFLECTOR` name others.
#![allow(clippy::print_stdout)] // The figures are what this is for.
#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on ends")]

mod process;
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use process::{cpu_ticks, rollup};
use support::broker::Broker;
use support::cluster::client::TestClient;
use support::cluster::{ClusterDouble, Pace};

const RESOURCES: u32 = 200;
/// Changes that are sent for one figure.
const CHANGES: u32 = 2000;
const APPLICATIONS: &str = "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications";

/// A program that watches. Dropping it ends it.
struct Watching(Child);

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What one program has cost at one number of applications.
struct Cost {
    /// KiB.
    resident: u64,
    /// Of the processor, microseconds, for a change that says nothing new, and for one that does.
    idle_change: f64,
    told_change: f64,
}

/// The program to compare with, which is no part of this workspace, built as the agent is.
fn build_reflector() -> String {
    let root = env!("CARGO_MANIFEST_DIR");
    let target = format!("{root}/target/reflector");
    let built = Command::new(env!("CARGO"))
        .args(["build", "--release", "--locked", "--target-dir", &target])
        .args([
            "--manifest-path",
            &format!("{root}/tests/bench/reflector/Cargo.toml"),
        ])
        .status()
        .unwrap();
    assert!(built.success(), "the reflector cannot be built");
    format!("{target}/release/reflector")
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let agent = std::env::var("EDGE_AGENT");
        let agent = agent.unwrap_or_else(|_| env!("CARGO_BIN_EXE_edge-agent").to_owned());
        let reflector = std::env::var("REFLECTOR").unwrap_or_else(|_| build_reflector());
        println!(
            "                   resident        a change that says nothing   one that is told"
        );
        for count in [1, 20, 500] {
            let ours = measure(count, &|folder, broker| {
                let mut command = Command::new(&agent);
                command.args(["run", "--config"]);
                command.arg(settings(folder, broker));
                command
            })
            .await;
            let theirs = measure(count, &|folder, _| {
                let mut command = Command::new(&reflector);
                command.env("KUBECONFIG", folder.join("kubeconfig.yaml"));
                command
            })
            .await;
            for (name, cost) in [("agent", &ours), ("reflector", &theirs)] {
                println!(
                    "{count:>4} {name:<12} {:>9} KiB   {:>17.0} µs   {:>20.0} µs",
                    cost.resident, cost.idle_change, cost.told_change
                );
            }
            println!(
                "     ratio        {:>9.2}       {:>17.2}      {:>20.2}",
                share(ours.resident, theirs.resident),
                ours.idle_change / theirs.idle_change,
                ours.told_change / theirs.told_change,
            );
        }
    });
}

#[expect(clippy::cast_precision_loss, reason = "for a person")]
fn share(ours: u64, theirs: u64) -> f64 {
    ours as f64 / theirs as f64
}

/// Lets a program watch so many applications, and change by change.
async fn measure(count: u32, command: &dyn Fn(&Path, &Broker) -> Command) -> Cost {
    let broker = Broker::start().await;
    let cluster = ClusterDouble::start(Pace::with_unit(Duration::from_millis(100))).await;
    let directory = tempfile::tempdir().unwrap();
    let kubeconfig = cluster.write_kubeconfig(directory.path());
    let client = TestClient::from_kubeconfig(&kubeconfig).await.unwrap();
    for number in 0..count {
        let body = application(number).to_string();
        let sent = client.send("POST", APPLICATIONS, "application/json", body);
        assert_eq!(sent.await.unwrap().0, 201);
    }
    let mut command = command(directory.path(), &broker);
    let watching = Watching(
        command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    let process = watching.0.id();
    cluster
        .wait_for_request(
            support::cluster::Recorded::is_watch,
            Duration::from_secs(60),
        )
        .await;
    let before = rest(process).await;
    let resident = rollup(process, "Rss");
    let idle = change(
        &cluster,
        count,
        |number| json!({"status": {"reconciledAt": format!("2026-11-25T00:{:02}:{:02}Z", number / 60 % 60, number % 60)}}),
    );
    idle.await;
    let after_idle = rest(process).await;
    let told = change(
        &cluster,
        count,
        |number| json!({"status": {"summary": {"images": [format!("example.test/web:{number}")]}}}),
    );
    told.await;
    let after_told = rest(process).await;
    let each = |ticks: u64| {
        // A tick is a hundredth of a second.
        let microseconds = u32::try_from(ticks * 10_000).unwrap();
        f64::from(microseconds) / f64::from(CHANGES)
    };
    Cost {
        resident,
        idle_change: each(after_idle - before),
        told_change: each(after_told - after_idle),
    }
}

/// Changes one application after the other.
async fn change(cluster: &ClusterDouble, count: u32, patch: impl Fn(u32) -> Value) {
    for number in 0..CHANGES {
        let name = format!("many-{}", number % count);
        cluster.merge("argocd", &name, &patch(number));
        // Lets the double send it: each is to be an event of its own.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Waits until a program has nothing to do any more; gives the processor time that it has used, ticks.
async fn rest(process: u32) -> u64 {
    let mut last = cpu_ticks(process);
    loop {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let now = cpu_ticks(process);
        if now <= last + 1 {
            return now;
        }
        last = now;
    }
}

fn application(number: u32) -> Value {
    let resources: Vec<Value> = (0..RESOURCES)
        .map(|resource| {
            json!({
                "group": "apps", "kind": "Deployment", "name": format!("part-{resource}"),
                "namespace": "many", "status": "Synced", "version": "v1",
            })
        })
        .collect();
    let source = json!({"repoURL": "file:///nowhere", "path": "app", "targetRevision": "main"});
    json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {
            "name": format!("many-{number}"),
            // The double's Argo CD leaves them alone.
            "annotations": {"argocd.argoproj.io/skip-reconcile": "true"},
        },
        "spec": {
            "project": "default",
            "source": source,
            "destination": {"server": "https://kubernetes.default.svc", "namespace": "many"},
        },
        "status": {
            "sync": {"status": "Synced", "revision": format!("{number:040x}")},
            "health": {"status": "Healthy"},
            "resources": resources,
            "summary": {"images": [format!("example.test/web:{number}")]},
        },
    })
}

fn settings(folder: &Path, broker: &Broker) -> std::path::PathBuf {
    let text = format!(
        "node = \"bench\"\nstate_directory = {:?}\n[mqtt]\nurl = {:?}\n[cluster]\nkubeconfig = {:?}\n\
         stale_after_seconds = 86400\n[http]\nlisten = \"127.0.0.1:0\"\n[outbox]\nreserve_bytes = 0\n",
        folder.join("state"),
        broker.url(),
        folder.join("kubeconfig.yaml"),
    );
    let file = folder.join("agent.toml");
    std::fs::write(&file, text).unwrap();
    file
}
