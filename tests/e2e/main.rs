//! The suites against real services: the built agent, Debian's mosquitto, real file systems, power
//! that goes. They need root, and what `tests/e2e/run` installs.
//!
//! ```text
//! tests/e2e/run                          all suites, shortened for every day
//! tests/e2e/run --long                   with a soak of 10 minutes and more of everything
//! tests/e2e/run --soak 14400 soak        only the soak, for four hours
//! tests/e2e/run power                    the suites with "power" in their name
//! ```
//!
//! | suite | what it proves |
//! | --- | --- |
//! | `basics` | every topic of the contract; the goodbye; the will; a second agent; a damaged store |
//! | `idle` | online and idle, nothing is written; nothing is told twice after a restart |
//! | `faults` | every write, sync, rename and open of the store fails in turn |
//! | `disk` | a disk that is full, read-only or broken, and comes back |
//! | `power` | the power goes: no event that was stored and no admitted command is lost, and the syncs are why |
//! | `kill` | the agent is killed again and again |
//! | `session` | what a network and a broker can do |
//! | `drain` | how fast what has waited goes out |
//! | `drone` | the Drone plugin through the shipped access list; a node that is away |
//! | `readme` | what the README says of Drone, command by command as it stands there |
//! | `session_forged_commands` | a command gets through a flood of forged ones: 2,000 a second, with `--long` 10,000 |
//! | `keyring` | a keyring over the air, by the command line |
//! | `soak` | nothing grows |
//! | `gitops` | what teams copy from `config/gitops`: tests, scripts, images, the job that asks Drone; `gitops_manifests` with the real Argo CD |
//! | `dashboards_fleet_page` | the fleet page in Chromium, with two agents and with a thousand nodes |
//! | `dashboards_node_red` | the flow for Node-RED, in a real one with Dashboard 2 |
//! | `flow_checks` | a commit's way through GitLab CI, SonarQube and the registry, and the gate that asks them |
//! | `flow_stories` | the whole way to the board's LEDs and the team's chat, and what can go wrong on it |
//! | `flow_real_node` | with `--long`: the same where pods run: the gate as its image, the shop on its port, a program that crashes |
//! | `board_` | the package on an emulated Raspberry Pi: installed, sandboxed, commanded, seen on its pins |
//! | `package_` | the list of what is in the binary; with `--long`, that two builds of a commit are the same |
//! | `dashboards` | Home Assistant, Prometheus and Telegraf, real ones, on what agents say |
//! | `argocd` | relay, rollout and rollback with the real Argo CD (`lab/`); needs Go once |
//! | `real_node` | the same story where pods run: containerd and the kubelet instead of kwok |

#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends")]
#![allow(clippy::print_stdout, reason = "the suites tell figures")]
#![allow(
    clippy::too_many_lines,
    reason = "a scenario is told from beginning to end"
)]

mod agent;
mod argocd;
mod basics;
mod board;
mod broker;
mod dashboards;
mod disk;
mod drain;
mod drone;
mod faults;
mod fence;
mod fleet;
mod fleet_page;
mod flow;
mod forged;
mod git;
mod gitops;
mod image;
mod keyring;
mod kill;
mod ledger_writer;
#[path = "../fleet/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "what it says at its end, and its own tests, are those of the load generator"
)]
mod load;
mod mqtt;
mod node_red;
mod package;
mod power;
mod proxy;
mod readme;
mod readme_drone;
mod record;
mod recorder;
mod refusal;
#[path = "../scenarios/mod.rs"]
mod scenarios;
mod session;
mod soak;
mod source;
#[path = "../support/mod.rs"]
mod support;
mod writer;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use scenarios::wait;

use clap::Parser;

/// The suites against real services.
#[derive(Debug, Clone, Parser)]
#[command(name = "tests/e2e/run")]
struct Args {
    /// Only suites with one of these in their name
    filters: Vec<String>,
    /// Name the suites and end
    #[arg(long)]
    list: bool,
    /// More of everything, and a soak of 10 minutes
    #[arg(long)]
    long: bool,
    /// How often the agent is killed
    #[arg(long, value_name = "TIMES")]
    kills: Option<usize>,
    /// How often the power goes
    #[arg(long, value_name = "TIMES")]
    cuts: Option<usize>,
    /// How long the soak lasts
    #[arg(long, value_name = "SECONDS")]
    soak: Option<u64>,
    /// Of the suites with Argo CD, only scenarios with this in their name
    #[arg(long, value_name = "WORD")]
    scenario: Option<String>,
    /// Use the lab in this folder, and leave it up
    #[arg(long, value_name = "FOLDER")]
    lab: Option<std::path::PathBuf>,
}

impl Args {
    fn kills(&self) -> usize {
        self.kills.unwrap_or(if self.long { 1000 } else { 200 })
    }

    fn cuts(&self) -> usize {
        self.cuts.unwrap_or(if self.long { 120 } else { 24 })
    }

    fn soak(&self) -> Duration {
        let seconds = self.soak.unwrap_or(if self.long { 600 } else { 90 });
        Duration::from_secs(seconds)
    }
}

type Suite = (&'static str, fn(&Args));

const SUITES: &[&[Suite]] = &[
    basics::SUITES,
    faults::SUITES,
    power::SUITES,
    kill::SUITES,
    session::SUITES,
    refusal::SUITES,
    forged::SUITES,
    gitops::SUITES,
    disk::SUITES,
    drain::SUITES,
    soak::SUITES,
    drone::SUITES,
    readme_drone::SUITES,
    keyring::SUITES,
    fleet_page::SUITES,
    node_red::SUITES,
    board::SUITES,
    package::SUITES,
    dashboards::SUITES,
    flow::SUITES,
    argocd::SUITES,
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some((writer::WRITER, rest)) = arguments
        .split_first()
        .map(|(first, rest)| (first.as_str(), rest))
    {
        return writer::main(rest);
    }
    if let Some((ledger_writer::LEDGER_WRITER, rest)) = arguments
        .split_first()
        .map(|(first, rest)| (first.as_str(), rest))
    {
        return ledger_writer::main(rest);
    }
    if let Some((fleet::DRONE, rest)) = arguments
        .split_first()
        .map(|(first, rest)| (first.as_str(), rest))
    {
        return support::drone::program::main(rest);
    }
    let args = Args::parse();
    let wanted = |name: &str| {
        args.filters.is_empty()
            || args
                .filters
                .iter()
                .any(|filter| name.contains(filter.as_str()))
    };
    let suites: Vec<Suite> = SUITES
        .concat()
        .into_iter()
        .filter(|(name, _)| wanted(name))
        .collect();
    if args.list {
        suites.iter().for_each(|(name, _)| println!("{name}"));
        return ExitCode::SUCCESS;
    }
    let started = Instant::now();
    let mut failed = Vec::new();
    for (name, suite) in &suites {
        let begun = Instant::now();
        println!("{name} ...");
        let held = catch_unwind(AssertUnwindSafe(|| suite(&args))).is_ok();
        let verdict = if held { "ok" } else { "FAILED" };
        println!("{name} {verdict} ({:.1} s)", begun.elapsed().as_secs_f64());
        if !held {
            failed.push(*name);
        }
    }
    flow::end();
    argocd::end();
    let total = started.elapsed().as_secs();
    println!(
        "{} of {} suites held, {total} s",
        suites.len() - failed.len(),
        suites.len()
    );
    if failed.is_empty() && !suites.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!("failed: {failed:?}");
    ExitCode::FAILURE
}

/// Tells a figure of the suite that runs.
fn figure(name: &str, value: impl std::fmt::Display) {
    println!("    {name}: {value}");
}
