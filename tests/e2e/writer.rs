//! A process that does nothing but store events: the outbox of the agent with a loop around it, for
//! the suites that take the medium away from under it. What it says on standard output it says after
//! the fact: `stored N` when [`Outbox::append`] has returned for the events up to N; and what it is
//! about to take out it says before: `removing N`.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use edge_agent::config;
use edge_agent::store::outbox::record::NewRecord;
use edge_agent::store::outbox::{Opened, Outbox, OutboxError};
use edge_agent_core::event::Fact;
use edge_agent_core::retention::Class;
use edge_agent_core::topic::NodeName;
use jiff::Timestamp;
use serde_json::Value;

/// The first argument of a process that is to be a writer.
pub(crate) const WRITER: &str = "--writer";

/// How often one batch is tried.
const TRIES: usize = 40;

/// How much a writer takes out: everything up to so many events before the last.
const KEEP: u64 = 400;

const LIMITS: config::Outbox = config::Outbox {
    max_bytes: 1 << 30,
    max_records: 1 << 30,
    reserve_bytes: 0,
};

pub(crate) fn open(directory: &Path) -> Result<Opened, OutboxError> {
    let node = NodeName::new(super::agent::NODE).unwrap();
    Outbox::open(directory, &node, &LIMITS)
}

/// Is the writer: `--writer DIRECTORY ROUNDS`. With rounds it closes and opens the outbox once in
/// the middle, and ends; with 0 it writes until it is killed.
pub(crate) fn main(arguments: &[String]) -> ExitCode {
    let directory = PathBuf::from(&arguments[0]);
    let rounds: u64 = arguments[1].parse().unwrap();
    let mut outbox = None;
    let mut last = 0;
    for round in 1.. {
        let size = 1 + round % 5;
        let batch: Vec<NewRecord> = (1..=size).map(|i| event(last + i)).collect();
        if let Err(error) = store(&mut outbox, &directory, &batch) {
            say(&format!("gave up: {error}"));
            return ExitCode::FAILURE;
        }
        last += size;
        say(&format!("stored {last}"));
        if rounds == 0 && round % 64 == 0 && last > KEEP {
            remove(outbox.as_ref().unwrap(), last - KEEP);
        }
        if round == rounds / 2 {
            remove(outbox.as_ref().unwrap(), 3);
            outbox = None;
        }
        if round == rounds {
            break;
        }
    }
    ExitCode::SUCCESS
}

/// Puts so many events into a store.
pub(crate) fn fill(directory: &Path, count: u64) {
    let outbox = open(directory).unwrap().outbox;
    let all: Vec<NewRecord> = (1..=count).map(event).collect();
    for batch in all.chunks(256) {
        outbox.append(batch).unwrap();
    }
}

fn event(number: u64) -> NewRecord {
    NewRecord::event(Fact {
        class: Class::Agent,
        kind: "edge.test".into(),
        subject: number.to_string(),
        at: Timestamp::UNIX_EPOCH,
        data: serde_json::json!({ "text": "x".repeat(200) }),
    })
}

/// Stores a batch, as often as it takes.
fn store(
    outbox: &mut Option<Outbox>,
    directory: &Path,
    batch: &[NewRecord],
) -> Result<(), OutboxError> {
    let mut outcome = Ok(());
    for _ in 0..TRIES {
        let outbox = match &mut *outbox {
            Some(outbox) => outbox,
            none => match open(directory) {
                Ok(opened) => none.insert(opened.outbox),
                Err(error) => {
                    outcome = Err(error);
                    std::thread::sleep(Duration::from_millis(10));
                    continue;
                }
            },
        };
        outcome = outbox.append(batch).map(drop);
        if let Some(damage) = outbox.damage() {
            say(&format!("damaged: {damage}"));
        }
        match &outcome {
            Ok(()) => return Ok(()),
            Err(error) => say(&format!("failed: {error}")),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    outcome
}

fn remove(outbox: &Outbox, up_to: u64) {
    let Ok(records) = outbox.peek(0, usize::MAX) else {
        return;
    };
    let wanted = records
        .iter()
        .filter(|record| number(&record.payload) <= up_to);
    let sequences: Vec<u64> = wanted.map(|record| record.sequence).collect();
    say(&format!("removing {up_to}"));
    if let Err(error) = outbox.remove(&sequences) {
        say(&format!("failed: {error}"));
    }
}

fn number(payload: &[u8]) -> u64 {
    let event: Value = serde_json::from_slice(payload).unwrap();
    event["subject"].as_str().unwrap().parse().unwrap()
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // The other end may have gone; so has the reason to speak, then.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// What a writer has said.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Said {
    pub(crate) stored: u64,
    pub(crate) removing: u64,
    pub(crate) failed: usize,
    pub(crate) damaged: usize,
}

impl Said {
    /// Reads its lines; the last may be cut off.
    pub(crate) fn of(text: &str) -> Self {
        let mut said = Self::default();
        for line in text
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
        {
            let (word, rest) = line.trim_end().split_once(' ').unwrap_or((line, ""));
            match word {
                "stored" => said.stored = rest.parse().unwrap(),
                "removing" => said.removing = rest.parse().unwrap(),
                "failed:" => said.failed += 1,
                "damaged:" => said.damaged += 1,
                _ => {}
            }
        }
        said
    }
}

/// What became of what a writer said.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    /// Why the store did not open, if it did not.
    pub(crate) unopened: Option<String>,
    /// Events that were reported as stored and are not there.
    pub(crate) lost: u64,
}

/// Opens the store and holds it against what was said.
///
/// # Panics
/// When the store holds what cannot be: an event that is there twice, or out of order.
pub(crate) fn judge(directory: &Path, said: Said) -> Verdict {
    let opened = open(directory).unwrap();
    if let Some(why) = opened.damaged.or(opened.unavailable) {
        return Verdict {
            unopened: Some(why),
            lost: said.stored - said.removing,
        };
    }
    let records = opened.outbox.peek(0, usize::MAX).unwrap();
    let mut ids: BTreeMap<u64, Value> = BTreeMap::new();
    let mut before = 0;
    for record in records {
        let event: Value = serde_json::from_slice(&record.payload).unwrap();
        let number = number(&record.payload);
        // A batch that was tried again may be there twice, under the ids that it had.
        match ids.insert(number, event["id"].clone()) {
            Some(id) => assert_eq!(id, event["id"], "{number} is there as two events"),
            None => assert!(number > before, "{number} after {before}"),
        }
        before = before.max(number);
    }
    let expected = said.removing + 1..=said.stored;
    let lost = expected.filter(|number| !ids.contains_key(number)).count();
    Verdict {
        unopened: None,
        lost: lost as u64,
    }
}
