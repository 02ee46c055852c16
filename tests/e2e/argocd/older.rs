//! The commands with the second version of Argo CD.

use super::super::Args;
use super::commands::SCENARIOS;
use super::stage::Stage;

/// What 3.2 is tried with.
const VERSION: &str = "3.2";

pub(super) fn suite(args: &Args) {
    // A lab that was named has the newer one.
    let args = Args {
        lab: None,
        ..args.clone()
    };
    Stage::with(&args, VERSION, "", |_| {}).play(&args, SCENARIOS);
}
