//! What the agent costs a board: size, start-up time, memory and CPU, with a broker and 20
//! applications; one line a figure.
//!
//! ```sh
//! cargo build --release && EDGE_AGENT=target/release/edge-agent \
//!   cargo bench --profile dev --bench footprint
//! ```
#![allow(clippy::print_stdout)] // The figures are what this is for.
#![allow(clippy::unwrap_used, reason = "a measurement that cannot go on ends")]

mod process;
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use process::{cpu_ticks, rollup};
use support::broker::{Broker, topic};
use support::cluster::{ApplicationSpec, Behaviour, ClusterDouble, Commit, Pace};

const APPLICATIONS: u32 = 20;
/// From the last application until memory is read, and then once more for the CPU.
const QUIET: Duration = Duration::from_secs(30);

struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(measure());
}

#[expect(
    clippy::too_many_lines,
    reason = "one measurement, from its beginning to its end"
)]
async fn measure() {
    let measured = std::env::var("EDGE_AGENT");
    let binary = Path::new(
        measured
            .as_deref()
            .unwrap_or(env!("CARGO_BIN_EXE_edge-agent")),
    );
    println!(
        "binary             {:>9} bytes",
        binary.metadata().unwrap().len()
    );
    let broker = Broker::start().await;
    let cluster = ClusterDouble::start(Pace::with_unit(Duration::from_millis(100))).await;
    for number in 0..APPLICATIONS {
        let commit = Commit::new(format!("{number:08x}").repeat(5), Behaviour::Healthy);
        let spec = ApplicationSpec::automated(commit);
        cluster.create_application("argocd", &format!("shop-{number:02}"), spec);
    }
    let directory = tempfile::tempdir().unwrap();
    let kubeconfig = cluster.write_kubeconfig(directory.path());
    let settings = format!(
        "node = \"bench\"\nstate_directory = \"{}\"\n[mqtt]\nurl = \"{}\"\n\
         [cluster]\nkubeconfig = \"{}\"\n[http]\nlisten = \"127.0.0.1:0\"\n",
        directory.path().join("state").display(),
        broker.url(),
        kubeconfig.display(),
    );
    let file = directory.path().join("agent.toml");
    std::fs::write(&file, settings).unwrap();
    let mut recorder = broker.record("edge/v1/#").await;
    let started = Instant::now();
    let agent = Agent(
        Command::new(binary)
            .args(["run", "--config"])
            .arg(&file)
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );
    recorder
        .until("it is online", |seen| {
            seen.iter()
                .any(|publish| topic(publish).ends_with("/presence"))
        })
        .await;
    println!("online after       {:>9} ms", started.elapsed().as_millis());
    recorder
        .until("every application is healthy", |seen| {
            let healthy = seen.iter().filter(|publish| {
                topic(publish).contains("/app/")
                    && String::from_utf8_lossy(&publish.payload).contains("\"Healthy\",\"sync\"")
            });
            let names: std::collections::BTreeSet<&str> = healthy.map(topic).collect();
            names.len() == APPLICATIONS as usize
        })
        .await;
    println!("20 healthy after   {:>9} ms", started.elapsed().as_millis());
    tokio::time::sleep(QUIET).await;
    let before = cpu_ticks(agent.0.id());
    for field in ["Rss", "Pss", "Private_Dirty"] {
        println!("{field:<18} {:>9} KiB", rollup(agent.0.id(), field));
    }
    tokio::time::sleep(QUIET).await;
    let ticks = cpu_ticks(agent.0.id()) - before;
    println!(
        "CPU while idle     {:>9} ms in {} s",
        ticks * 10,
        QUIET.as_secs()
    );
}
