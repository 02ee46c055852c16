//! What waited in memory when the store could not be used any more: set aside in a plain file, which the
//! next life of the agent takes into the store. Each record keeps its id, so that one that had come to
//! the medium after all is not told as another one.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use edge_agent_core::event::Fact;
use edge_agent_core::retention::Class;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::opening::beside;
use super::record::NewRecord;
use crate::store::ledger::sync_directory;

/// More of the file is not read, bytes. What waits in memory is a quarter of that at most.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// One line of the file.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Line<'a> {
    Event {
        id: Ulid,
        class: u8,
        kind: Cow<'a, str>,
        subject: Cow<'a, str>,
        at: Timestamp,
        data: Cow<'a, serde_json::Value>,
    },
    Result {
        command: Cow<'a, str>,
        envelope: Cow<'a, [u8]>,
        at: Timestamp,
    },
}

/// Where it is: beside the store.
pub(super) fn path(store: &Path) -> PathBuf {
    beside(store, "rescued")
}

/// Sets records aside, behind those that are there already. They are on the medium when this returns.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn save<'r>(
    store: &Path,
    records: impl Iterator<Item = &'r NewRecord>,
) -> io::Result<()> {
    let path = path(store);
    let mut text = Vec::new();
    for record in records {
        serde_json::to_writer(&mut text, &Line::of(record))?;
        text.push(b'\n');
    }
    let mut file = File::options()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(&path)?;
    file.write_all(&text)?;
    file.sync_all()?;
    path.parent().map_or(Ok(()), sync_directory)
}

/// What was set aside, oldest first. A line that cannot be read, such as the last one when the power
/// went, is left out.
///
/// # Errors
/// When there is a file, and it cannot be read.
pub(super) fn load(store: &Path) -> io::Result<Vec<NewRecord>> {
    let file = match File::open(path(store)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut records = Vec::new();
    for line in BufReader::new(file.take(MAX_BYTES)).split(b'\n') {
        let line = line?;
        let read = serde_json::from_slice::<Line<'_>>(&line).ok();
        records.extend(read.and_then(Line::into_record));
    }
    Ok(records)
}

/// Forgets what was set aside: it is in the store.
///
/// # Errors
/// When the file cannot be removed.
pub(super) fn forget(store: &Path) -> io::Result<()> {
    match fs::remove_file(path(store)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl<'a> Line<'a> {
    fn of(record: &'a NewRecord) -> Self {
        match record {
            NewRecord::Event { id, fact } => Self::Event {
                id: *id,
                class: fact.class as u8,
                kind: Cow::Borrowed(&fact.kind),
                subject: Cow::Borrowed(&fact.subject),
                at: fact.at,
                data: Cow::Borrowed(&fact.data),
            },
            NewRecord::Result {
                command,
                envelope,
                at,
            } => Self::Result {
                command: Cow::Borrowed(command),
                envelope: Cow::Borrowed(envelope),
                at: *at,
            },
        }
    }

    fn into_record(self) -> Option<NewRecord> {
        Some(match self {
            Self::Event {
                id,
                class,
                kind,
                subject,
                at,
                data,
            } => NewRecord::Event {
                id,
                fact: Fact {
                    class: Class::from_byte(class)?,
                    kind: kind.into_owned().into(),
                    subject: subject.into_owned(),
                    at,
                    data: data.into_owned(),
                },
            },
            Self::Result {
                command,
                envelope,
                at,
            } => NewRecord::Result {
                command: command.into_owned(),
                envelope: envelope.into_owned(),
                at,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> Vec<NewRecord> {
        let at = "2026-11-25T06:00:00.5Z".parse().unwrap();
        vec![
            NewRecord::event(Fact {
                class: Class::DeployState,
                kind: "edge.app.state".into(),
                subject: "shop".to_owned(),
                at,
                data: serde_json::json!({"state": "Degraded", "text": "a\nb"}),
            }),
            NewRecord::Result {
                command: "c1".to_owned(),
                envelope: b"{\"payload\":\"\"}".to_vec(),
                at,
            },
        ]
    }

    #[test]
    fn what_is_set_aside_comes_back_as_it_was_and_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("outbox");
        assert_eq!(load(&store).unwrap(), []);
        let records = records();
        save(&store, records[..1].iter()).unwrap();
        save(&store, records[1..].iter()).unwrap();
        assert_eq!(load(&store).unwrap(), records);
        forget(&store).unwrap();
        forget(&store).unwrap();
        assert_eq!(load(&store).unwrap(), []);
    }

    #[test]
    fn a_torn_end_costs_no_more_than_itself() {
        let dir = tempfile::tempdir().unwrap();
        let store = dir.path().join("outbox");
        let records = records();
        save(&store, records.iter()).unwrap();
        let whole = fs::read(path(&store)).unwrap();
        fs::write(path(&store), &whole[..whole.len() - 5]).unwrap();
        assert_eq!(load(&store).unwrap(), records[..1]);
    }
}
