//! `edge-agent run`: the agent itself, until it is told to stop.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{ConfigFile, Exit};
use crate::clock::SystemClock;
use crate::config::Config;
use crate::health::SystemProbe;
use crate::supervisor::{self, Fault, Parts};
use crate::{led, logging};

/// Run the agent
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Runs until SIGTERM or SIGINT. Exit code: 0 stopped; 64 wrong arguments; 78 wrong settings, which a
restart will not mend; 70 a fault while running.

Example:
  edge-agent run --config ./agent.toml")]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigFile,
}

/// # Errors
/// The faults of the settings, or why the agent could not go on.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let config = args.config.load()?;
    logging::init(config.log.level)?;
    let parts = Parts {
        clock: Arc::new(SystemClock {
            trusted: config.commands.trust_clock,
        }),
        probe: Box::new(SystemProbe::new(Path::new("/"))),
        leds: led::open(&config.led),
        settle: supervisor::SETTLE,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Only short file operations go to threads, and most of the time none does.
        .max_blocking_threads(4)
        .build()
        .context("the runtime could not be made")?;
    let outcome = runtime.block_on(until_signal(config, parts))?;
    // A thread that hangs on a dead mount must not keep the process.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => Ok(Exit::Done),
        Err(Fault::Running(error)) => Err(error),
        Err(Fault::Settings(error)) => {
            tracing::error!("{error:#}");
            super::output::complain(&format!("edge-agent: {error:#}"));
            Ok(Exit::RunConfiguration)
        }
    }
}

/// Runs the agent, and tells it to stop at SIGTERM or SIGINT.
async fn until_signal(config: Config, parts: Parts) -> anyhow::Result<Result<(), Fault>> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be handled")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be handled")?;
    let stop = CancellationToken::new();
    let agent = supervisor::run(config, parts, stop.clone());
    tokio::pin!(agent);
    tokio::select! {
        outcome = &mut agent => return Ok(outcome),
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    stop.cancel();
    Ok(agent.await)
}
