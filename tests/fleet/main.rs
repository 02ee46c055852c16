//! `cargo run --release --example fleet -- --nodes 1000`: load for brokers and dashboards.
//!
//! What the nodes do is told in [`fleet`].

#[path = "mod.rs"]
mod fleet;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Parser;
use edge_agent::cli::send::BrokerArgs;
use edge_agent_core::topic::NodeName;
use fleet::{Plan, Shape};
use jiff::{SignedDuration, Timestamp};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Play a fleet of nodes on a broker, and say what they send
#[derive(Debug, Parser)]
#[command(name = "fleet", after_help = HELP)]
struct Args {
    /// How many nodes
    #[arg(long, default_value_t = 100, value_name = "COUNT",
        value_parser = clap::value_parser!(u32).range(1..=100_000))]
    nodes: u32,
    /// How many connections speak for them
    #[arg(long, default_value_t = 10, value_name = "COUNT",
        value_parser = clap::value_parser!(u16).range(1..=1000))]
    connections: u16,
    /// The same number gives the same fleet
    #[arg(long, default_value_t = 1, value_name = "NUMBER")]
    seed: u64,
    /// Let time pass so many times faster; the times in the messages run ahead then
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR", value_parser = speed)]
    speed: f64,
    /// End after this time on your watch [default: at Ctrl-C]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    duration: Option<Duration>,
    /// The beginning of the names: fleet gives fleet-0001 and so on
    #[arg(long, default_value = "fleet", value_name = "NAME", value_parser = prefix)]
    prefix: String,
    /// Leave the retained topics at the end, with every node stopped
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    broker: BrokerArgs,
}

const HELP: &str = "\
The user needs to write on edge/v1/<name>/… of every node. The topics are withdrawn at the end.
Exit code: 0 done; 1 the broker cannot be reached or refuses; 2 wrong arguments.

Example:
  cargo run --release --example fleet -- --nodes 1000
  cargo run --release --example fleet -- --nodes 50 --speed 60 --duration 10m";

fn speed(text: &str) -> Result<f64, String> {
    let speed = text.parse().ok();
    speed
        .filter(|speed| (0.01..=10_000.0).contains(speed))
        .ok_or_else(|| "a number from 0.01 to 10000".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed = text.parse::<SignedDuration>().ok();
    let positive = parsed.and_then(|it| Duration::try_from(it).ok());
    positive
        .filter(|it| !it.is_zero() && it.as_secs() <= 366 * 86400)
        .ok_or_else(|| "a number with a unit, such as 90s, 10m or 2h".to_owned())
}

fn prefix(text: &str) -> Result<String, String> {
    // Room for the number of the node.
    NodeName::new(&format!("{text}-100000")).map_err(|fault| fault.to_string())?;
    Ok(text.to_owned())
}

fn main() -> ExitCode {
    let args = Args::parse();
    match play(&args) {
        Ok(told) => {
            say(&told);
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&format!("fleet: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn play(args: &Args) -> anyhow::Result<String> {
    let mqtt = args.broker.resolve(None)?;
    let nodes = usize::try_from(args.nodes)?;
    let plan = Plan {
        shape: Shape {
            nodes,
            prefix: args.prefix.clone(),
            seed: args.seed,
            started: Timestamp::now(),
        },
        connections: usize::from(args.connections),
        speed: args.speed,
        duration: args.duration.map(|it| it.mul_f64(args.speed)),
        keep: args.keep,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime could not be made")?;
    runtime.block_on(async {
        let (pressed, presses) = watch::channel(0);
        let asked = |times: u32| {
            let mut presses = presses.clone();
            async move { drop(presses.wait_for(|count| *count >= times).await) }
        };
        let (host, port) = (&mqtt.host, mqtt.port);
        complain(&format!(
            "{nodes} nodes on {host}:{port}; Ctrl-C ends them."
        ));
        let fleet = fleet::run(&mqtt, &plan, asked(1), |reason| complain(&reason));
        tokio::select! {
            report = fleet => report.map(|it| it.text(args.nodes)),
            () = asked(2) => bail!("stopped at once; retained topics are left at the broker"),
            error = count_signals(&pressed) => Err(error),
        }
    })
}

/// Counts how often somebody wants the end. Ends only with an error.
async fn count_signals(pressed: &watch::Sender<u32>) -> anyhow::Error {
    let (interrupt, terminate) = (SignalKind::interrupt(), SignalKind::terminate());
    let (mut interrupted, mut terminated) = match (signal(interrupt), signal(terminate)) {
        (Ok(interrupted), Ok(terminated)) => (interrupted, terminated),
        (Err(error), _) | (_, Err(error)) => {
            return anyhow::Error::new(error).context("signals cannot be handled");
        }
    };
    loop {
        tokio::select! {
            _ = interrupted.recv() => {}
            _ = terminated.recv() => {}
        }
        pressed.send_modify(|count| *count += 1);
        if *pressed.borrow() == 1 {
            complain("The fleet ends; Ctrl-C once more leaves its topics where they are.");
        }
    }
}

/// Without a reader there is nobody to tell.
fn say(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn complain(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
