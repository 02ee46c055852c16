//! What a person reads in the log of the step.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::iter;

use edge_agent_core::clock::format_timestamp;
use edge_agent_core::columns::columns;
use edge_agent_core::topic::NodeName;
use jiff::Timestamp;

use super::fleet::{Member, Outcome, Standing};
use crate::cli::Exit;

/// A number of nodes, for a person.
pub(super) fn nodes(count: usize) -> String {
    match count {
        1 => "1 node".to_owned(),
        count => format!("{count} nodes"),
    }
}

/// One transition: time, node, what, and what the node says of it.
pub(super) fn line(at: Timestamp, node: &str, word: &str, message: &str) -> String {
    let text = format!(
        "{}  {node:<12}  {word:<11}  {message}",
        format_timestamp(at)
    );
    format!("{}\n", text.trim_end())
}

/// The end of the log: a row for each order, and what was written in the names of nodes.
pub(super) fn table(members: &[Member], forged: &BTreeMap<NodeName, u32>) -> String {
    let head = ["NODE", "WAVE", "OUTCOME", "AFTER", "REVISION", "MESSAGE"].map(str::to_owned);
    let shown = members
        .iter()
        .filter(|it| !it.undoes || it.standing != Standing::Pending)
        .map(row);
    let rows: Vec<_> = iter::once(head).chain(shown).collect();
    let mut text = format!("\n{}", columns(&rows));
    for (node, count) in forged {
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{node}: {count} results on its topic were not signed by it and were ignored; somebody \
             else writes there, check the broker's access list"
        );
    }
    text
}

fn row(member: &Member) -> [String; 6] {
    let after = match (member.began, member.ended) {
        (Some(began), Some(ended)) => {
            format!("{:.1} s", ended.duration_since(began).as_secs_f64())
        }
        _ => "-".to_owned(),
    };
    let wave = match (member.undoes, member.wave) {
        (true, _) => "undo".to_owned(),
        (false, Some(wave)) => (wave + 1).to_string(),
        (false, None) => "-".to_owned(),
    };
    let revision = member.revision.as_deref().unwrap_or("-");
    [
        member.node.as_str().to_owned(),
        wave,
        member.word.clone(),
        after,
        revision.chars().take(12).collect(),
        member.message.clone(),
    ]
}

/// What the step ends with: the worst that happened.
pub(super) fn exit(members: &[Member]) -> Exit {
    let any = |wanted: Outcome| members.iter().any(|it| it.outcome() == Some(wanted));
    if any(Outcome::Failed) {
        Exit::Failed
    } else if any(Outcome::Refused) {
        Exit::Refused
    } else if any(Outcome::TimedOut) {
        Exit::Timeout
    } else if members
        .iter()
        .any(|it| !it.undoes && it.outcome().is_none())
    {
        // Cannot be: a wave that is not begun follows one that failed.
        Exit::Failed
    } else {
        Exit::Done
    }
}
