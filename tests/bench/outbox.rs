//! Events stored durably, side by side in one run: the outbox, a bare append with `fdatasync` of the
//! same bytes (the limit of the medium), and SQLite in WAL mode at `synchronous=FULL`.
//!
//! ```text
//! cargo run --release --manifest-path tests/bench/Cargo.toml [DIRECTORY]
//! ```
//!
//! The directory should lie on the medium that is meant, not on a memory file system, and on a block
//! device of its own: what is written is what the device counts, with the journal of the file system,
//! and with whatever anybody else writes there. An image will do:
//!
//! ```text
//! truncate -s 2G image && mkfs.ext4 -q image && mkdir on && sudo mount -o loop image on
//! ```

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use edge_agent::config;
use edge_agent::store::outbox::Outbox;
use edge_agent::store::outbox::record::NewRecord;
use edge_agent_core::event::Fact;
use edge_agent_core::retention::Class;
use edge_agent_core::topic::NodeName;
use jiff::Timestamp;

/// How long each is measured.
const FOR: Duration = Duration::from_secs(5);

/// Events that go down together.
const GROUPS: [usize; 3] = [1, 16, 256];

type Failure = Box<dyn std::error::Error>;

/// What was measured.
struct Measure {
    per_second: f64,
    bytes_per_event: f64,
}

fn main() -> Result<(), Failure> {
    let parent = std::env::args()
        .nth(1)
        .map_or_else(|| PathBuf::from("."), PathBuf::from);
    let dir = tempfile::tempdir_in(parent)?;
    let payload = payload(dir.path())?;
    println!(
        "an event of {} bytes, {} s each",
        payload.len(),
        FOR.as_secs()
    );
    println!(
        "{:>5}  {:<22} {:>12} {:>14} {:>9}",
        "group", "", "events/s", "bytes/event", "ratio"
    );
    for group in GROUPS {
        let home = dir.path().join(group.to_string());
        fs::create_dir(&home)?;
        let ways: [(&str, Measure); 3] = [
            ("append and fdatasync", bare(&home, &payload, group)?),
            ("outbox", outbox(&home, group)?),
            ("SQLite, WAL, FULL", sqlite(&home, &payload, group)?),
        ];
        let limit = ways[0].1.per_second;
        for (name, it) in &ways {
            println!(
                "{group:>5}  {name:<22} {:>12.0} {:>14.0} {:>8.2}x",
                it.per_second,
                it.bytes_per_event,
                it.per_second / limit
            );
        }
    }
    Ok(())
}

fn event(number: u64) -> NewRecord {
    NewRecord::event(Fact {
        class: Class::DeployState,
        kind: "edge.app.state".into(),
        subject: format!("shop-{}", number % 10),
        at: Timestamp::UNIX_EPOCH,
        data: serde_json::json!({
            "application": "shop", "namespace": "argocd", "state": "Healthy", "previous": "Progressing",
            "revision": format!("{number:040x}"), "images": ["registry.local/shop:1234567"],
        }),
    })
}

fn open(dir: &Path) -> Result<Outbox, Failure> {
    let limits = config::Outbox {
        max_bytes: 1 << 40,
        max_records: 100_000_000,
        reserve_bytes: 0,
    };
    Ok(Outbox::open(dir, &NodeName::new("pi-01")?, &limits)?.outbox)
}

/// The bytes of one event, as the outbox gives them to the broker.
fn payload(dir: &Path) -> Result<Vec<u8>, Failure> {
    let outbox = open(&dir.join("one"))?;
    outbox.append(&[event(1)])?;
    let records = outbox.peek(0, 1)?;
    Ok(records
        .first()
        .map(|record| record.payload.clone())
        .unwrap_or_default())
}

/// Calls `write` for groups of events until the time is over.
fn measure(
    home: &Path,
    group: usize,
    mut write: impl FnMut(u64) -> Result<(), Failure>,
) -> Result<Measure, Failure> {
    let (before, begun) = (written(home)?, Instant::now());
    let mut events = 0;
    while begun.elapsed() < FOR {
        write(events)?;
        events += group as u64;
    }
    let seconds = begun.elapsed().as_secs_f64();
    Ok(Measure {
        per_second: events as f64 / seconds,
        bytes_per_event: (written(home)? - before) as f64 / events as f64,
    })
}

/// Bytes that the device below a directory has written until now, everything outstanding included:
/// field 7 of the kernel's `Documentation/block/stat.rst`, in sectors of 512 bytes.
fn written(home: &Path) -> Result<u64, Failure> {
    let directory = File::open(home)?;
    rustix::fs::syncfs(&directory)?;
    let device = directory.metadata()?.dev();
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let path = format!("/sys/dev/block/{major}:{minor}/stat");
    let stat = fs::read_to_string(&path)
        .map_err(|error| format!("{path}: {error}; the directory must lie on a block device"))?;
    let sectors: u64 = stat
        .split_whitespace()
        .nth(6)
        .ok_or("a short line")?
        .parse()?;
    Ok(sectors * 512)
}

fn outbox(home: &Path, group: usize) -> Result<Measure, Failure> {
    let outbox = open(&home.join("outbox"))?;
    measure(home, group, |first| {
        let batch: Vec<NewRecord> = (0..group as u64).map(|i| event(first + i)).collect();
        outbox.append(&batch)?;
        Ok(())
    })
}

fn bare(home: &Path, payload: &[u8], group: usize) -> Result<Measure, Failure> {
    let mut file = File::create(home.join("bare"))?;
    let bytes = payload.repeat(group);
    measure(home, group, |_| {
        file.write_all(&bytes)?;
        file.sync_data()?;
        Ok(())
    })
}

fn sqlite(home: &Path, payload: &[u8], group: usize) -> Result<Measure, Failure> {
    let mut db = rusqlite::Connection::open(home.join("sqlite"))?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.execute(
        "CREATE TABLE events (sequence INTEGER PRIMARY KEY, payload BLOB NOT NULL)",
        [],
    )?;
    measure(home, group, |first| {
        let transaction = db.transaction()?;
        {
            let mut insert = transaction
                .prepare_cached("INSERT INTO events (sequence, payload) VALUES (?1, ?2)")?;
            for i in 0..group as u64 {
                insert.execute((i64::try_from(first + i)?, payload))?;
            }
        }
        transaction.commit()?;
        Ok(())
    })
}
