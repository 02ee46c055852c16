//! The commands with the second version of Argo CD: every day those that hold, which is where the two
//! differ, and with `--long` all of them.

use super::super::Args;
use super::lab::Kind;
use super::stage::Stage;
use super::staged;
use crate::scenarios::{SCENARIOS, Scenario};

pub(super) fn suite(args: &Args) {
    // A lab that was named has the newer one.
    let args = Args {
        lab: None,
        ..args.clone()
    };
    let holding = SCENARIOS.iter().copied().filter(|(name, _)| {
        let holds = ["pin", "pause"].contains(name) || name.starts_with("rollback");
        args.long || args.scenario.is_some() || holds
    });
    let scenarios: Vec<Scenario> = holding.collect();
    Stage::with(&args, Kind::Older, "", |_| {}).play(&args, &staged(&scenarios));
}
