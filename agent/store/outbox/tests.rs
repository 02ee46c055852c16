use std::fs;

use edge_agent_core::application::DeployState;
use edge_agent_core::event::Fact;
use edge_agent_core::retention::Class;
use edge_agent_core::wire::Status;
use jiff::Timestamp;

use super::opening::beside;
use super::*;

mod model;

const NO_LIMITS: config::Outbox = config::Outbox {
    max_bytes: 1 << 30,
    max_records: 1 << 30,
    reserve_bytes: 0,
};

fn event(class: Class, subject: &str) -> NewRecord {
    NewRecord::event(Fact {
        class,
        kind: "edge.test".into(),
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
    for _ in 0..5 {
        let batch = [
            event(Class::DeployState, "shop"),
            event(Class::HealthSample, "node"),
        ];
        outbox.append(&batch).unwrap();
    }
    let dropped = outbox.store.lock().contents.untold.clone();
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

fn told(kind: &'static str, subject: &str, data: serde_json::Value) -> NewRecord {
    NewRecord::event(Fact {
        class: Class::DeployState,
        kind: kind.into(),
        subject: subject.to_owned(),
        at: Timestamp::UNIX_EPOCH,
        data,
    })
}

#[test]
fn what_was_told_is_remembered_with_the_event_that_tells_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox");
    let state =
        |state: &str, revision: &str| serde_json::json!({"state": state, "revision": revision});
    let outbox = open(&path, &NO_LIMITS);
    let batch = [
        told("edge.app.state", "shop", state("Healthy", "a")),
        told("edge.app.state", "cart", state("Healthy", "a")),
        told(
            "edge.health.status",
            "health",
            serde_json::json!({"status": "warning"}),
        ),
        told("edge.app.state", "shop", state("Degraded", "b")),
        told("edge.app.deleted", "cart", serde_json::Value::Null),
    ];
    outbox.append(&batch).unwrap();
    outbox.remove(&[1, 2, 3, 4, 5]).unwrap();
    drop(outbox);
    let remembered = try_open(&path, &NO_LIMITS).unwrap().remembered;
    let shop = (DeployState::Degraded, Some("b".to_owned()));
    assert_eq!(remembered.applications, [("shop".to_owned(), shop)].into());
    assert_eq!(remembered.health, Some(Status::Warning));
}

#[test]
fn what_is_remembered_survives_damage_that_is_found_while_running() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox");
    let outbox = open(&path, &NO_LIMITS);
    let health = serde_json::json!({"status": "critical"});
    outbox
        .append(&[told("edge.health.status", "health", health)])
        .unwrap();
    outbox.fail_for_test();
    fs::write(path.join("db"), vec![1; 70_000]).unwrap();
    spoil_snapshots(&path);
    outbox.append(&[event(Class::Agent, "a")]).unwrap();
    assert!(outbox.damage().unwrap().contains("outbox.damaged-1"));
    assert_eq!(outbox.damage(), None);
    drop(outbox);
    let opened = try_open(&path, &NO_LIMITS).unwrap();
    assert_eq!(opened.remembered.health, Some(Status::Critical));
}

#[test]
fn what_was_dropped_is_told_once_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox");
    let limits = config::Outbox {
        max_records: 3,
        ..NO_LIMITS
    };
    let outbox = open(&path, &limits);
    for _ in 0..5 {
        outbox
            .append(&[event(Class::LinkChange, "broker")])
            .unwrap();
    }
    assert!(outbox.has_untold());
    drop(outbox);
    let outbox = open(&path, &limits);
    assert!(outbox.has_untold());
    outbox.append_and_tell(&[]).unwrap();
    let last: serde_json::Value =
        serde_json::from_slice(&outbox.peek(0, 9).unwrap()[2].payload).unwrap();
    assert_eq!(last["type"], "edge.outbox.dropped");
    assert_eq!(last["data"]["count"], 2);
    assert_eq!(last["data"]["class"], "link_change");
    drop(outbox);
    // The event itself had to make room: that one is told next, and nothing else.
    let outbox = open(&path, &limits);
    let untold = outbox.store.lock().contents.untold.clone();
    assert_eq!((untold.len(), untold[0].count), (1, 1));
}

#[test]
fn room_on_the_medium_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox");
    let outbox = open(&path, &NO_LIMITS);
    let size = |outbox: &Outbox| outbox.store.lock().size_on_medium();
    let batch: Vec<NewRecord> = (0..64)
        .map(|i: u32| NewRecord::Result {
            command: i.to_string(),
            envelope: vec![7; 16 * 1024],
            at: Timestamp::UNIX_EPOCH,
        })
        .collect();
    while size(&outbox) <= 2 * store::SLACK {
        outbox.append(&batch).unwrap();
    }
    let all = sequences(&outbox);
    let (last, others) = all.split_last().unwrap();
    outbox.remove(others).unwrap();
    outbox.append(&[event(Class::Agent, "a")]).unwrap();
    assert!(size(&outbox) < 2 * 1024 * 1024, "{}", size(&outbox));
    assert_eq!(sequences(&outbox), [*last, last + 1]);
    assert!(!beside(&path, "fresh").exists());
    drop(outbox);
    assert_eq!(sequences(&open(&path, &NO_LIMITS)), [*last, last + 1]);
}

#[test]
fn a_file_where_the_directory_belongs_is_moved_aside() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox");
    for _ in 0..3 {
        fs::write(&path, b"foreign").unwrap();
        let opened = try_open(&path, &NO_LIMITS).unwrap();
        assert!(opened.damaged.unwrap().contains("not a directory"));
        opened.outbox.append(&[result("1")]).unwrap();
        drop(opened.outbox);
        fs::remove_dir_all(&path).unwrap();
    }
    assert_eq!(fs::read(beside(&path, "damaged-2")).unwrap(), b"foreign");
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
fn a_snapshot_that_was_never_finished_costs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox");
    open(&path, &NO_LIMITS).append(&[result("1")]).unwrap();
    for unfinished in [b"".as_slice(), b"not all of it"] {
        fs::write(path.join("snap.00000000000F0000.generating"), unfinished).unwrap();
        assert_eq!(sequences(&open(&path, &NO_LIMITS)), [1]);
    }
}

#[test]
fn attempts_that_never_ended_count_and_too_many_move_the_store_aside() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("outbox");
    open(&path, &NO_LIMITS)
        .append(&[event(Class::Agent, "a")])
        .unwrap();
    let marker = beside(&path, "opening");

    for killed in 1..5 {
        fs::write(&marker, vec![b'.'; killed]).unwrap();
        assert_eq!(
            sequences(&open(&path, &NO_LIMITS)),
            [1],
            "the power may just have gone"
        );
        assert!(!marker.exists());
    }

    // Two attempts that the deadline ended.
    fs::write(&marker, b".").unwrap();
    super::opening::note_hung(&path);
    fs::write(
        &marker,
        [fs::read(&marker).unwrap(), b".".to_vec()].concat(),
    )
    .unwrap();
    super::opening::note_hung(&path);
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
