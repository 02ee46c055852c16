//! `edge-agent run`: the agent itself, until it is told to stop.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use nix::sys::signal::{SigSet, Signal};
use tokio::signal::unix::{Signal as Signals, SignalKind, signal};
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
Runs until SIGTERM or SIGINT. On SIGHUP it reads the settings and the keyring again and starts afresh
with them, in the same process; settings with a fault are told in the log, and nothing changes.

Exit code: 0 stopped; 64 wrong arguments; 78 wrong settings, which a restart will not mend; 70 a fault
while running.

Example:
  edge-agent run --config ./agent.toml")]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigFile,
}

/// # Errors
/// The faults of the settings, or why the agent could not go on.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    without_huge_pages();
    let config = args.config.load()?;
    logging::init(config.log.level)?;
    let parts = Parts {
        clock: Arc::new(SystemClock {
            trusted: config.commands.trust_clock,
        }),
        probe: Box::new(SystemProbe::new(Path::new("/"))),
        leds: led::open(&config),
        button: led::open_button(&config),
        settle: supervisor::SETTLE,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        // Only short file operations go to threads, and most of the time none does.
        .max_blocking_threads(4)
        // Signals are for the first thread, which keeps them back while the agent replaces itself.
        .on_thread_start(|| {
            let _ = heeded().thread_block();
        })
        .build()
        .context("the runtime could not be made")?;
    let ended = runtime.block_on(until_signal(config, parts, &args.config))?;
    // A thread that hangs on a dead mount must not keep the process.
    runtime.shutdown_background();
    match ended {
        Ended::Stopped => Ok(Exit::Done),
        Ended::ToReload => Err(start_afresh()),
        Ended::Fault(Fault::Running(error)) => Err(error),
        Ended::Fault(Fault::Settings(error)) => {
            tracing::error!("{error:#}");
            super::output::complain(&format!("edge-agent: {error:#}"));
            Ok(Exit::RunConfiguration)
        }
    }
}

/// Keeps the memory of this process in pages of the usual size. Where the kernel gives huge ones to everybody, as
/// Debian's does, the stack of every thread takes 2 MiB as soon as it is touched, and the agent three times its memory.
fn without_huge_pages() {
    // A kernel that cannot has none to give.
    let _ = nix::sys::prctl::set_thp_disable(true);
}

/// How long it takes at most until a signal that has come is heard.
const LAST_CALL: std::time::Duration = std::time::Duration::from_millis(10);

/// How a life of the agent has ended.
enum Ended {
    Stopped,
    /// Everything is put in order, and the settings are to be read again.
    ToReload,
    Fault(Fault),
}

/// Runs the agent, and tells it to stop at SIGTERM or SIGINT, and at SIGHUP if the settings hold.
async fn until_signal(config: Config, parts: Parts, file: &ConfigFile) -> anyhow::Result<Ended> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be handled")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be handled")?;
    let mut hang_up = signal(SignalKind::hangup()).context("SIGHUP cannot be handled")?;
    // They were kept back while nobody listened; see `replace_process`.
    heeded().thread_unblock()?;
    let stop = CancellationToken::new();
    let agent = supervisor::run(config, parts, stop.clone());
    tokio::pin!(agent);
    let mut to_reload = false;
    let outcome = loop {
        tokio::select! {
            outcome = &mut agent => break outcome,
            () = either(&mut terminate, &mut interrupt) => {
                to_reload = false;
                if !stop.is_cancelled() {
                    supervisor::announce_stop();
                }
                stop.cancel();
            }
            _ = hang_up.recv(), if !stop.is_cancelled() => if settings_hold(file) {
                to_reload = true;
                supervisor::announce_reload();
                stop.cancel();
            }
        }
    };
    if let Err(fault) = outcome {
        return Ok(Ended::Fault(fault));
    }
    if to_reload {
        // From here on signals wait for the next life. One that came just before is still heard.
        heeded().thread_block()?;
        let asked = either(&mut terminate, &mut interrupt);
        to_reload = tokio::time::timeout(LAST_CALL, asked).await.is_err();
    }
    Ok(match to_reload {
        true => Ended::ToReload,
        false => Ended::Stopped,
    })
}

/// One of two signals.
async fn either(one: &mut Signals, other: &mut Signals) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}

/// Whether the agent could run with what the files say now. What is wrong goes to the log.
fn settings_hold(file: &ConfigFile) -> bool {
    let faults = match file.load() {
        Ok(config) => match supervisor::check(&config) {
            Ok(()) => return true,
            Err(fault) => format!("{fault:#}"),
        },
        Err(faults) => faults.to_string(),
    };
    for fault in faults.lines() {
        tracing::error!("not reloaded, the settings stay as they were: {fault}");
    }
    false
}

/// Replaces this process by one that begins anew, with the same arguments and the same id: nothing of
/// the old settings is left over, and a new version of the program is taken up.
fn start_afresh() -> anyhow::Error {
    let mut arguments = std::env::args_os();
    // The name by which it was called leads to the new version after an upgrade, where the path of
    // the running program does not any more.
    let called = arguments.next().map(PathBuf::from);
    let program = match called.filter(|path| path.is_absolute()) {
        Some(path) => path,
        None => match std::env::current_exe() {
            Ok(path) => path,
            Err(error) => return anyhow::Error::new(error).context("no path to this program"),
        },
    };
    replace_process(&program, arguments.collect())
        .context("the agent could not be started afresh")
        .err()
        .unwrap_or_else(|| anyhow::anyhow!("the agent was started afresh, and is still here"))
}

/// The new program knows no signals at first, and a SIGHUP would end it; so they wait until the program
/// listens. `until_signal` has blocked them: what is blocked stays so over `exec`, and what waits goes on waiting. Not by way of
/// `std::process::Command`, which unblocks all.
fn replace_process(program: &Path, arguments: Vec<OsString>) -> anyhow::Result<()> {
    let text = |text: &OsStr| CString::new(text.as_bytes());
    let program = text(program.as_os_str())?;
    let mut all = vec![program.clone()];
    for argument in &arguments {
        all.push(text(argument)?);
    }
    let error = nix::unistd::execv(&program, &all);
    // Nobody else is there who would.
    let _ = heeded().thread_unblock();
    error?;
    Ok(())
}

/// The signals that the agent listens to.
fn heeded() -> SigSet {
    SigSet::from_iter([Signal::SIGHUP, Signal::SIGTERM, Signal::SIGINT])
}
