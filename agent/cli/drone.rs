//! `drone`: a plugin for Drone that rolls an application out on a fleet, or back, and ends as the
//! nodes say that it ended.

mod build;
mod fleet;
mod keys;
mod order;
pub(super) mod outcome;
mod report;
mod run;
mod secret;
mod settings;
mod talk;
mod variables;
mod waves;

use jiff::Timestamp;

use super::{Exit, output};
use settings::Settings;

/// Roll an application out on nodes, or back, from a step of a Drone pipeline
///
/// Everything is read from the environment: what the step sets as PLUGIN_<SETTING> (by `settings:` in
/// a docker pipeline, by `environment:` in an exec pipeline, where `settings:` is ignored), and the
/// build as DRONE_*.
///
/// Settings, comma-joined where there are several:
///   broker         mqtts://broker.example:8883 (required)
///   username, password
///   ca_cert, client_cert, client_key   PEM, or the path of a file that begins with /
///   signing_key    the one line that `edge-agent keygen` wrote (required); key_id: its name
///   node, nodes    names of nodes; or group: a file with one name a line (one of them is required)
///   targets        nodes by target, in their place for a build with one (DRONE_DEPLOY_TO, as in `drone
///                  build promote … kitchen`): {kitchen: [pi-04, pi-05]}; another target is refused
///   application    name or namespace/name (required)
///   action         auto (by the event: promote, custom, push: rollout; rollback: rollback), rollout,
///                  rollback, resume
///   revision       full commit SHA [default: DRONE_COMMIT_SHA], or for a rollback `previous`;
///                  or revision_file: a file that has it
///   images         digests that must run in the end; or images_file: one a line
///   node_keys      public keys of the nodes, NODE=KEY or KEY; or pins: a file in which the key of a
///                  node is kept when it first answers (one of them is required, unless wait is none)
///   ttl            how long the order may wait for a node [default: 10m]
///   timeout        how long a node may take from then on [default: 15m]
///   wait           healthy (default), synced, accepted, none
///   waves          how many nodes at once, such as 1,50%,100% (of all, adding up) [default: 100%]
///   on_failure     of a rollout: none (default), rollback: also of the nodes that were changed before
///   result_file    where to write what became of each node, as JSON, for `edge-agent notify`
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
#[command(after_help = "\
Exit code: 0 done; 1 failed on a node; 2 wrong settings; 3 a node did not answer or end in time; 4 a
node refused. Never 78, which Drone takes for success.

Example:
  edge-agent drone")]
pub(super) struct Args {}

/// # Errors
/// When standard output cannot be written, or the system gives no runtime.
pub(super) fn run(_: &Args, now: &dyn Fn() -> Timestamp) -> anyhow::Result<Exit> {
    let environment: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| {
            let name = name.into_string().ok()?;
            Some((name, value.to_string_lossy().into_owned()))
        })
        .collect();
    let settings = match Settings::read(&environment) {
        Ok(settings) => settings,
        Err(faults) => {
            for fault in faults {
                output::complain(&format!("edge-agent drone: {fault}"));
            }
            return Ok(Exit::Usage);
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(run::carry_out(&settings, now, &mut |text| {
        // Without a reader the exit code still tells.
        let _ = output::print(text);
    }))
}
