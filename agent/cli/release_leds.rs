//! `edge-agent release-leds`: what the unit runs after the agent has ended, however it has.

use super::{ConfigFile, Exit};
use crate::config::Environment;
use crate::led;

/// Give the LEDs back after the agent was killed
#[derive(Debug, clap::Args)]
#[command(after_help = "\
LEDs of the kernel go back to their triggers, and pins are let go. After an agent that ended by itself there is
nothing to do. Not for while it runs. The unit of systemd does this by itself (ExecStopPost=).

Example:
  edge-agent release-leds --config ./agent.toml")]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigFile,
}

/// # Errors
/// A file of settings that cannot be read. Nothing else that is wrong in it keeps an LED lit.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let environment = Environment::from_process();
    let leds = args.config.load_leds(&environment)?;
    led::release(&leds, environment.default_runtime_directory().as_deref());
    Ok(Exit::Done)
}
