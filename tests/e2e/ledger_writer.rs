//! A process that does nothing but admit commands: the ledger of the agent with a loop around it, for
//! the suite that takes the power away. `admitted N` is said when [`LedgerFile::write`] has returned
//! for the command with the sequence N.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use edge_agent::store::ledger::LedgerFile;
use edge_agent_core::clock::Now;
use edge_agent_core::command::admission::{Admission, Ledger};
use edge_agent_core::command::envelope::{COMMAND_TYPE, SigningKey, VerifiedCommand, seal, verify};
use edge_agent_core::command::keyring::Keyring;
use edge_agent_core::command::payload::{Action, Command};
use edge_agent_core::topic::NodeName;
use edge_agent_core::wire::ResultState;
use jiff::Timestamp;

/// The first argument of a process that is to be a writer of the ledger.
pub(crate) const LEDGER_WRITER: &str = "--ledger-writer";

/// How long a command may wait for the node, in seconds.
const TTL: i64 = 600;

fn start() -> Timestamp {
    "2026-11-24T12:00:00Z".parse().unwrap()
}

/// Twenty seconds between two commands, so that old ones expire and make room.
fn time(sequence: u64) -> Now {
    let elapsed = Duration::from_millis(sequence * 20_000);
    Now {
        wall: start() + elapsed,
        monotonic: elapsed,
        synchronized: true,
    }
}

fn id(sequence: u64) -> String {
    format!("c-{sequence}")
}

fn command(keyring: &Keyring, key: &SigningKey, sequence: u64) -> VerifiedCommand {
    let now = time(sequence);
    let command = Command {
        id: id(sequence),
        audience: vec!["pi-01".to_owned()],
        sequence,
        issued_at: now.unix_seconds(),
        expires_at: now.unix_seconds() + TTL,
        action: Action::Ping,
    };
    let bytes = seal(COMMAND_TYPE, &command.to_json(), &[("ci", key)]);
    verify(&bytes, keyring, Duration::from_secs(3600), now.wall).unwrap()
}

/// Is the writer: `--ledger-writer DIRECTORY`. It goes on until it is killed.
pub(crate) fn main(arguments: &[String]) -> ExitCode {
    let directory = PathBuf::from(&arguments[0]);
    let key = SigningKey::from_seed(&[9; 32]).unwrap();
    let keyring = Keyring::parse(&format!(
        "[[key]]\nid = \"ci\"\npublic = \"{}\"\nallow = [\"ping\"]\n",
        STANDARD.encode(key.public())
    ))
    .unwrap();
    let (mut file, _) = LedgerFile::open(&directory).unwrap();
    let mut ledger = Ledger::new(start());
    let node = NodeName::new("pi-01").unwrap();
    for sequence in 1.. {
        let verified = command(&keyring, &key, sequence);
        let admission = ledger.consider(time(sequence), &node, &verified, "-");
        assert_eq!(admission, Admission::Admit, "{sequence}");
        file.write(&ledger.record()).unwrap();
        let mut out = std::io::stdout().lock();
        // The other end may have gone; so has the reason to speak, then.
        let _ = writeln!(out, "admitted {sequence}").and_then(|()| out.flush());
        // Its end is noted as well, and the write of that is not waited for by anybody.
        ledger.complete(&id(sequence), ResultState::Succeeded, 2);
        ledger.tell_those(|it| it == id(sequence));
        file.write(&ledger.record()).unwrap();
    }
    ExitCode::SUCCESS
}

/// The last command that was said to be admitted; the last line may be cut off.
pub(crate) fn admitted(text: &str) -> u64 {
    let lines = text
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'));
    lines
        .filter_map(|line| line.trim_end().strip_prefix("admitted ")?.parse().ok())
        .next_back()
        .unwrap_or(0)
}

/// What a ledger after the cut does not know of what was said.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Forgotten {
    /// Why it did not open.
    pub(crate) unopened: Option<String>,
    /// By how much the sequence went back.
    pub(crate) sequence: u64,
    /// Commands that had not expired.
    pub(crate) commands: u64,
}

/// Opens the ledger and holds it against the last command that was said to be admitted.
pub(crate) fn judge(directory: &Path, said: u64) -> Forgotten {
    let record = match LedgerFile::open(directory) {
        Ok((_, record)) => record.unwrap_or_default(),
        Err(error) => {
            return Forgotten {
                unopened: Some(error.to_string()),
                ..Forgotten::default()
            };
        }
    };
    let mark = record.highwater.iter().map(|mark| mark.sequence).max();
    let mark = mark.unwrap_or(0);
    // One more may be on the medium than was said. What had expired when the last came may be
    // forgotten.
    let now = time(mark.max(said)).unix_seconds();
    let living = (1..=said).filter(|it| time(*it).unix_seconds() + TTL > now);
    let unknown = living.filter(|it| !record.entries.iter().any(|entry| entry.id == id(*it)));
    Forgotten {
        unopened: None,
        sequence: said.saturating_sub(mark),
        commands: u64::try_from(unknown.count()).unwrap(),
    }
}
