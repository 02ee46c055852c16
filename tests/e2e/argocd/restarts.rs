//! The agent, or the API server, is killed while commands are on their way: each is executed at most
//! once, and what is said of it in the end is true.

use std::time::Duration;

use edge_agent_core::command::payload::{Action, HoldMode, RollbackTarget};
use edge_agent_core::wire::ResultState::{Interrupted, Rejected, Succeeded};
use edge_agent_core::wire::{CommandResult, ResultState};
use serde_json::Value;

use super::super::Args;
use super::stage::Stage;
use crate::figure;
use crate::scenarios::holding::held_everywhere;
use crate::scenarios::scene::{LIMIT, Scene as _};
use crate::scenarios::shop::{Shop, Sync};
use crate::scenarios::version::{Version, image};

/// How many applications get a command at the same time.
const SHOPS: usize = 6;

/// What is killed, and when.
enum Kill {
    /// The agent, that long after the commands were sent.
    AgentAfter(u64),
    /// The agent, as soon as a command is answered so.
    AgentAt(ResultState),
    /// The API server, that long after the commands were sent.
    ServerAfter(u64),
}

pub(super) fn agent_killed(args: &Args) {
    let stage = Stage::set(args);
    let mut kills = vec![
        Kill::AgentAt(ResultState::Accepted),
        Kill::AgentAt(ResultState::Executing),
        Kill::AgentAfter(0),
        Kill::AgentAfter(12),
    ];
    if args.long {
        kills.push(Kill::AgentAfter(2500));
        kills.extend((0..40).map(|round| Kill::AgentAfter(round * 7)));
    }
    rounds(&stage, &kills);
    // A hold is shown again after an orderly start, too.
    let (shop, first) = Shop::open(&stage, "held", Sync::Auto);
    let id =
        stage.order(shop.rollback(RollbackTarget::Revision(first.clone()), Some(HoldMode::Pin)));
    stage.expect(&id, Succeeded, LIMIT);
    let (status, _) = stage.agent().terminate(LIMIT);
    assert!(status.success(), "{status}");
    stage.start_agent();
    held_everywhere(&stage, "held");
}

pub(super) fn server_killed(args: &Args) {
    let stage = Stage::set(args);
    let mut kills = vec![Kill::ServerAfter(15), Kill::ServerAfter(200)];
    if args.long {
        kills.extend((0..20).map(|round| Kill::ServerAfter(round * 10)));
    }
    rounds(&stage, &kills);
}

/// Rolls all back and forth, with something killed in between each time.
fn rounds(stage: &Stage, kills: &[Kill]) {
    let shops: Vec<(Shop<'_>, String, String)> = std::thread::scope(|scope| {
        let opened: Vec<_> = (0..SHOPS)
            .map(|index| {
                scope.spawn(move || {
                    let name = format!("killed-{index}");
                    let (shop, first) = Shop::open(stage, &name, Sync::Auto);
                    let second = shop.push(&Version::good(&format!("{name}-2")));
                    shop.wait_state("Healthy", &second);
                    (shop, first, second)
                })
            })
            .collect();
        opened
            .into_iter()
            .map(|shop| shop.join().unwrap())
            .collect()
    });
    let mut ends = std::collections::BTreeMap::<String, usize>::new();
    for kill in kills {
        let mark = stage.lab.mark();
        let held: Vec<bool> = shops.iter().map(|(shop, _, _)| is_held(shop)).collect();
        let orders: Vec<Action> = shops
            .iter()
            .zip(&held)
            .map(|(shop, held)| order(shop, *held))
            .collect();
        let commands: Vec<String> = orders.into_iter().map(|order| stage.order(order)).collect();
        strike(stage, kill, &commands);
        for ((id, shop), held) in commands.iter().zip(&shops).zip(&held) {
            let result = stage.result(id, Duration::from_secs(90));
            is_true(stage, mark, shop, !held, &result);
            let end = format!("{:?}", result.state);
            *ends.entry(end).or_default() += 1;
        }
    }
    figure("commands by how they ended", format!("{ends:?}"));
}

fn is_held(shop: &Shop<'_>) -> bool {
    shop.object()["metadata"]["annotations"]["edge-agent.io/hold"].is_string()
}

/// To the first version, or back to git.
fn order((shop, first, _): &(Shop<'_>, String, String), held: bool) -> Action {
    if held {
        shop.resume()
    } else {
        shop.rollback(RollbackTarget::Revision(first.clone()), None)
    }
}

fn strike(stage: &Stage, kill: &Kill, commands: &[String]) {
    match kill {
        Kill::AgentAt(state) => {
            stage.wait_answer(&commands[SHOPS / 2], *state);
        }
        Kill::AgentAfter(ms) | Kill::ServerAfter(ms) => {
            std::thread::sleep(Duration::from_millis(*ms));
        }
    }
    if let Kill::ServerAfter(_) = kill {
        stage.lab.stop("kube-apiserver");
        std::thread::sleep(Duration::from_millis(500));
        stage.lab.up();
        stage.wait_cluster_up(LIMIT);
        return;
    }
    stage.agent().kill();
    stage.start_agent();
}

/// The result is what the API server's own log and the cluster say. `back` is whether it was to go to
/// the first version.
fn is_true(
    stage: &Stage,
    mark: usize,
    (shop, first, second): &(Shop<'_>, String, String),
    back: bool,
    result: &CommandResult,
) {
    let requests = stage.lab.requests(mark);
    let taken = writes(&requests, &result.command, 200);
    // The one who asked was gone before the answer: it may have been carried out or not.
    let perhaps = writes(&requests, &result.command, 504);
    assert!(taken <= 1, "{} was executed {taken} times", result.command);
    match result.state {
        Succeeded => {
            assert!(taken + perhaps > 0, "{result:?}");
            let (state, target, tag) = match back {
                true => ("RolledBack", first, "1"),
                false => ("Healthy", second, "2"),
            };
            shop.wait_state(state, target);
            assert_eq!(shop.running(), image(&format!("{}-{tag}", shop.name)));
        }
        Interrupted | Rejected => {
            assert_eq!(taken, 0, "{result:?}");
            assert_eq!(is_held(shop), !back, "{result:?}");
        }
        other => panic!("{other:?}: {result:?}"),
    }
}

/// How often the API server has given that answer to a change that carries the id of the command.
fn writes(requests: &[Value], command: &str, code: u16) -> usize {
    requests
        .iter()
        .filter(|request| request["verb"] == "patch" && request["responseStatus"]["code"] == code)
        .filter(|request| {
            let steps = request["requestObject"].as_array();
            steps.into_iter().flatten().any(|step| {
                step["path"] == "/metadata/annotations/edge-agent.io~1command"
                    && step["value"] == command
                    || step["path"] == "/metadata/annotations"
                        && step["value"]["edge-agent.io/command"] == command
            })
        })
        .count()
}
