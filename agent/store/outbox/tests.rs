use std::fs;

use edge_agent_core::event::Fact;
use jiff::Timestamp;
use proptest::prelude::*;

use super::opening::beside;
use super::*;

const NO_LIMITS: config::Outbox = config::Outbox {
    max_bytes: 1 << 30,
    max_records: 1 << 30,
    reserve_bytes: 0,
};

fn event(class: Class, subject: &str) -> NewRecord {
    NewRecord::event(Fact {
        class,
        kind: "edge.test",
        subject: subject.to_owned(),
        at: "2026-11-24T20:31:28Z".parse().unwrap(),
        data: serde_json::json!({"n": 1}),
    })
}

fn result(command: &str) -> NewRecord {
    NewRecord::Result {
        command: command.to_owned(),
        envelope: b"{}".to_vec(),
        at: Timestamp::UNIX_EPOCH,
    }
}

fn try_open(dir: &Path, limits: &config::Outbox) -> Result<Opened, OutboxError> {
    Outbox::open(dir, &NodeName::new("pi-01").unwrap(), limits)
}

fn open(dir: &Path, limits: &config::Outbox) -> Outbox {
    let opened = try_open(dir, limits).unwrap();
    assert_eq!((opened.damaged, opened.unavailable), (None, None));
    opened.outbox
}

fn sequences(outbox: &Outbox) -> Vec<u64> {
    let records = outbox.peek(0, usize::MAX).unwrap();
    records.iter().map(|record| record.sequence).collect()
}

#[test]
fn records_come_back_in_order_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox");
    let outbox = open(&path, &NO_LIMITS);
    outbox
        .append(&[event(Class::Agent, "a"), result("1")])
        .unwrap();
    outbox.append(&[event(Class::Agent, "b")]).unwrap();
    let before = outbox.peek(0, 9).unwrap();
    let status = outbox.status();
    drop(outbox);

    let outbox = open(&path, &NO_LIMITS);
    assert_eq!(outbox.peek(0, 9).unwrap(), before);
    assert_eq!(outbox.status(), status);
    assert_eq!(sequences(&outbox), [1, 2, 3]);
    assert_eq!(outbox.peek(1, 1).unwrap()[0].sequence, 2);
    assert_eq!(outbox.peek(u64::MAX, 9).unwrap(), []);
}

#[test]
fn sequences_grow_also_after_everything_was_sent_and_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox");
    let outbox = open(&path, &NO_LIMITS);
    outbox
        .append(&[event(Class::Agent, "a"), event(Class::Agent, "b")])
        .unwrap();
    outbox.remove(&[1, 2]).unwrap();
    assert_eq!(outbox.status().records, 0);
    assert_eq!(outbox.status().bytes, 0);
    drop(outbox);
    let outbox = open(&path, &NO_LIMITS);
    outbox.append(&[event(Class::Agent, "c")]).unwrap();
    assert_eq!(sequences(&outbox), [3]);
}

#[test]
fn the_newest_state_and_the_results_survive_a_full_outbox() {
    let dir = tempfile::tempdir().unwrap();
    let limits = config::Outbox {
        max_records: 3,
        ..NO_LIMITS
    };
    let outbox = open(&dir.path().join("outbox"), &limits);
    outbox
        .append(&[result("1"), event(Class::DeployState, "shop")])
        .unwrap();
    let mut dropped = Vec::new();
    for _ in 0..5 {
        let batch = [
            event(Class::DeployState, "shop"),
            event(Class::HealthSample, "node"),
        ];
        dropped.extend(outbox.append(&batch).unwrap().dropped);
    }
    let kept = outbox.peek(0, 9).unwrap();
    assert_eq!(kept.len(), 3);
    assert_eq!(kept[0].class, Class::CommandResult);
    assert_eq!(
        kept[2].sequence, 11,
        "the newest state is the one before the last sample"
    );
    let count = |class| {
        let drops = dropped.iter().filter(|drop| drop.class == class);
        drops.map(|drop| drop.count).sum::<u64>()
    };
    assert_eq!(count(Class::HealthSample), 5);
    assert_eq!(count(Class::DeployState), 4);
    assert_eq!(outbox.status().dropped, 9);
}

#[test]
fn results_are_stored_beyond_the_limit_rather_than_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let limits = config::Outbox {
        max_records: 2,
        ..NO_LIMITS
    };
    let outbox = open(&dir.path().join("outbox"), &limits);
    for i in 0..5 {
        outbox.append(&[result(&i.to_string())]).unwrap();
    }
    let appended = outbox.append(&[event(Class::Agent, "late")]).unwrap();
    assert_eq!(appended.stored, 0);
    assert_eq!(sequences(&outbox), [1, 2, 3, 4, 5]);
}

#[test]
fn the_limit_in_bytes_holds() {
    let dir = tempfile::tempdir().unwrap();
    let limits = config::Outbox {
        max_bytes: 4096,
        ..NO_LIMITS
    };
    let outbox = open(&dir.path().join("outbox"), &limits);
    for i in 0..40 {
        outbox
            .append(&[event(Class::LinkChange, &i.to_string())])
            .unwrap();
        assert!(outbox.status().bytes <= 4096);
    }
    let left = sequences(&outbox);
    assert!(left.len() > 3 && left.len() < 40);
    assert_eq!(left.last(), Some(&40));
}

#[test]
fn the_reserve_of_the_disk_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let limits = config::Outbox {
        reserve_bytes: u64::MAX,
        ..NO_LIMITS
    };
    let outbox = open(&dir.path().join("outbox"), &limits);
    let error = outbox.append(&[event(Class::Agent, "a")]).unwrap_err();
    assert!(matches!(error, OutboxError::NoSpace { .. }));
    assert_eq!(outbox.status().records, 0);
    assert_eq!(sequences(&outbox), [] as [u64; 0]);
}

#[test]
fn a_second_process_is_told_that_it_is_the_second() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox");
    let _first = open(&path, &NO_LIMITS);
    let error = try_open(&path, &NO_LIMITS).unwrap_err();
    assert!(matches!(error, OutboxError::Locked(_)));
    assert!(error.to_string().contains("already running"));
}

#[test]
fn what_is_damaged_is_moved_aside_and_two_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox");
    let mut highest = 0;
    for round in 0..3 {
        let outbox = try_open(&path, &NO_LIMITS).unwrap().outbox;
        outbox.append(&[event(Class::Agent, "a")]).unwrap();
        let sequence = sequences(&outbox)[0];
        assert!(sequence > highest, "{sequence} after {highest}");
        highest = sequence;
        drop(outbox);
        fs::write(path.join("db"), vec![round + 1; 70_000]).unwrap();
        spoil_snapshots(&path);
        let opened = try_open(&path, &NO_LIMITS).unwrap();
        assert!(opened.damaged.unwrap().contains("outbox.damaged-1"));
        assert_eq!(sequences(&opened.outbox), [] as [u64; 0]);
    }
    assert_eq!(
        fs::read(beside(&path, "damaged-1").join("db")).unwrap()[0],
        3
    );
    assert_eq!(
        fs::read(beside(&path, "damaged-2").join("db")).unwrap()[0],
        2
    );
    assert!(!beside(&path, "opening").exists());
}

fn spoil_snapshots(path: &Path) {
    for entry in fs::read_dir(path).unwrap() {
        let name = entry.unwrap().file_name();
        if name.to_string_lossy().starts_with("snap.") {
            fs::write(path.join(name), b"not a snapshot").unwrap();
        }
    }
}

#[test]
fn no_way_of_damaging_the_files_keeps_the_outbox_from_opening() {
    type Damage = fn(&Path);
    let ways: [(&str, Damage); 6] = [
        ("an empty data file", |path| {
            fs::write(path.join("db"), b"").unwrap()
        }),
        ("a short data file", |path| {
            let bytes = fs::read(path.join("db")).unwrap();
            fs::write(path.join("db"), &bytes[..100]).unwrap();
        }),
        ("zeros", |path| {
            let length = fs::read(path.join("db")).unwrap().len();
            fs::write(path.join("db"), vec![0; length]).unwrap();
        }),
        ("flipped bits", |path| {
            let mut bytes = fs::read(path.join("db")).unwrap();
            bytes.iter_mut().step_by(97).for_each(|byte| *byte ^= 0x10);
            fs::write(path.join("db"), bytes).unwrap();
        }),
        ("snapshots of nothing", spoil_snapshots),
        ("a spoiled configuration", |path| {
            fs::write(path.join("conf"), b"segment_size: 3\nversion: 9.9").unwrap();
        }),
    ];
    for (name, damage) in ways {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("outbox");
        let outbox = open(&path, &NO_LIMITS);
        outbox
            .append(&[event(Class::Agent, "a"), result("1")])
            .unwrap();
        drop(outbox);
        damage(&path);
        let opened = try_open(&path, &NO_LIMITS).unwrap();
        // Either it is all there, or it is told that it is not.
        let kept = sequences(&opened.outbox);
        assert!(
            opened.damaged.is_some() || kept == [1, 2],
            "{name}: {kept:?}"
        );
        assert_eq!(opened.unavailable, None, "{name}");
        opened.outbox.append(&[result("2")]).unwrap();
        assert!(sequences(&opened.outbox).last() > Some(&2), "{name}");
    }
}

#[test]
fn an_attempt_that_never_ended_counts_and_the_second_moves_the_store_aside() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox");
    open(&path, &NO_LIMITS)
        .append(&[event(Class::Agent, "a")])
        .unwrap();
    let marker = beside(&path, "opening");

    fs::write(&marker, b".").unwrap();
    assert_eq!(
        sequences(&open(&path, &NO_LIMITS)),
        [1],
        "the power may just have gone"
    );
    assert!(!marker.exists());

    fs::write(&marker, b"..").unwrap();
    let opened = try_open(&path, &NO_LIMITS).unwrap();
    assert!(opened.damaged.unwrap().contains("did not come to an end"));
    assert_eq!(sequences(&opened.outbox), [] as [u64; 0]);
    assert!(!marker.exists());
}

#[test]
fn a_disk_that_cannot_be_used_keeps_nobody_from_starting() {
    let dir = tempfile::tempdir().unwrap();
    // Where the directory belongs there is a file; nothing of it may be moved.
    fs::write(dir.path().join("state"), b"").unwrap();
    let opened = try_open(&dir.path().join("state/outbox"), &NO_LIMITS).unwrap();
    assert!(opened.unavailable.unwrap().contains("state"));
    assert!(opened.outbox.append(&[result("1")]).is_err());
    fs::remove_file(dir.path().join("state")).unwrap();
    opened.outbox.append(&[result("1")]).unwrap();
    assert_eq!(opened.outbox.status().records, 1);
}

#[tokio::test]
async fn opening_has_a_deadline() {
    use rustix::fs::{CWD, FileType, Mode, mknodat};
    let dir = tempfile::tempdir().unwrap();
    let node = NodeName::new("pi-01").unwrap();
    let path = dir.path().join("outbox");
    // Nobody ever writes into this pipe, so reading it does not return.
    let pipe = beside(&path, "opening");
    mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let limit = Duration::from_millis(50);
    let hung = Outbox::open_within(&path, &node, &NO_LIMITS, limit).await;
    assert!(matches!(hung, Err(OutboxError::Hung { .. })), "{hung:?}");
}

/// What a model and the outbox are both told.
#[derive(Debug, Clone)]
enum Step {
    Append(Vec<(u8, u8)>),
    /// Removes every record whose place among those that are there is in the mask.
    Remove(u8),
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => proptest::collection::vec((0u8..6, 0u8..3), 1..5).prop_map(Step::Append),
        2 => any::<u8>().prop_map(Step::Remove),
        1 => Just(Step::Reopen),
    ];
    proptest::collection::vec(step, 1..25)
}

/// An outbox that is obviously right.
#[derive(Default)]
struct Model {
    records: Vec<(u64, Class, u8)>,
    highest: u64,
    dropped: u64,
}

impl Model {
    fn append(&mut self, batch: &[(u8, u8)], max: usize) {
        for (class, subject) in batch {
            self.highest += 1;
            let class = Class::from_byte(*class).unwrap();
            self.records.push((self.highest, class, *subject));
        }
        while self.records.len() > max {
            let rank = |record: &(u64, Class, u8)| {
                let newest = record.1 == Class::DeployState
                    && !self.records.iter().any(|other| {
                        other.1 == record.1 && other.2 == record.2 && other.0 > record.0
                    });
                (newest, record.1, record.0)
            };
            let droppable = self
                .records
                .iter()
                .filter(|it| it.1 != Class::CommandResult);
            let Some(first) = droppable.min_by_key(|it| rank(it)).copied() else {
                break;
            };
            self.records.retain(|record| record.0 != first.0);
            self.dropped += 1;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_outbox_does_what_the_model_does(steps in steps(), max in 3usize..12) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("outbox");
        let limits = config::Outbox { max_records: max as u64, ..NO_LIMITS };
        let mut outbox = open(&path, &limits);
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Append(batch) => {
                    let records: Vec<NewRecord> = batch
                        .iter()
                        .map(|(class, subject)| match Class::from_byte(*class).unwrap() {
                            Class::CommandResult => result(&subject.to_string()),
                            class => event(class, &subject.to_string()),
                        })
                        .collect();
                    outbox.append(&records).unwrap();
                    model.append(&batch, max);
                }
                Step::Remove(mask) => {
                    let gone: Vec<u64> = (0..8)
                        .filter(|bit| mask & (1 << bit) != 0)
                        .filter_map(|bit: usize| model.records.get(bit).map(|it| it.0))
                        .collect();
                    outbox.remove(&gone).unwrap();
                    // A newest state whose turn came is not replaced by an older one.
                    model.records.retain(|record| !gone.contains(&record.0));
                }
                Step::Reopen => {
                    drop(outbox);
                    outbox = open(&path, &limits);
                    model.dropped = 0;
                }
            }
            let expected: Vec<u64> = model.records.iter().map(|it| it.0).collect();
            prop_assert_eq!(sequences(&outbox), expected);
            prop_assert_eq!(outbox.status().records, model.records.len() as u64);
            prop_assert_eq!(outbox.status().dropped, model.dropped);
        }
    }
}
