use std::os::unix::fs::PermissionsExt as _;

use edge_agent_core::command::admission::{LedgerEntry, LedgerState};
use proptest::prelude::*;

use super::*;

fn record(number: i64) -> LedgerRecord {
    LedgerRecord {
        synchronized_at: number,
        entries: vec![LedgerEntry {
            id: format!("id-{number}"),
            digest: [7; 32],
            expires_at: number,
            cmd: "resume".to_owned(),
            application: Some("argocd/shop".to_owned()),
            rollout: None,
            state: LedgerState::Admitted,
            n: 0,
            message: String::new(),
            reason: None,
            told: false,
            key_ids: vec!["a".to_owned()],
            at: jiff::Timestamp::UNIX_EPOCH,
        }],
        ..LedgerRecord::default()
    }
}

fn read(directory: &Path) -> Result<Option<LedgerRecord>, LedgerError> {
    LedgerFile::open(directory).map(|(_, record)| record)
}

/// A directory whose ledger was written this often.
fn written(times: i64) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    let (mut file, _) = LedgerFile::open(directory.path()).unwrap();
    for number in 1..=times {
        file.write(&record(number)).unwrap();
    }
    directory
}

fn contents(directory: &Path) -> Vec<u8> {
    std::fs::read(directory.join(FILE_NAME)).unwrap()
}

#[test]
fn a_fresh_node_has_a_ledger_that_was_never_written() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(read(directory.path()).unwrap(), None);
    assert_eq!(read(directory.path()).unwrap(), None, "nor the second time");
    let metadata = std::fs::metadata(directory.path().join(FILE_NAME)).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    assert_eq!(metadata.len(), (SLOTS * SLOT_BYTES) as u64);
}

#[test]
fn the_newest_record_is_read_however_often_it_was_written() {
    for times in 1..=5 {
        let directory = written(times);
        assert_eq!(read(directory.path()).unwrap(), Some(record(times)));
        let (mut file, _) = LedgerFile::open(directory.path()).unwrap();
        file.write(&record(99)).unwrap();
        drop(file);
        assert_eq!(read(directory.path()).unwrap(), Some(record(99)));
    }
}

#[test]
fn a_creation_that_was_cut_off_leaves_a_fresh_node() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("ledger.new"), [0; 100]).unwrap();
    assert_eq!(read(directory.path()).unwrap(), None);
}

/// A write that is cut off after any number of its bytes leaves either the record before or, when
/// all that matters had arrived, the new one. Also for the very first write.
#[test]
fn a_write_torn_at_any_byte_leaves_the_older_record() {
    for times in 0..=3 {
        let directory = written(times);
        let path = directory.path().join(FILE_NAME);
        let before = contents(directory.path());
        let (mut file, old) = LedgerFile::open(directory.path()).unwrap();
        file.write(&record(1000)).unwrap();
        let target = file.newest * SLOT_BYTES;
        drop(file);
        let after = contents(directory.path());
        let length = encode(0, &record(1000).to_bytes()).len();
        for torn_at in 0..=length {
            let mut torn = before.clone();
            let slot = target..target + torn_at;
            torn[slot.clone()].copy_from_slice(&after[slot]);
            let complete = torn == after;
            std::fs::write(&path, &torn).unwrap();
            let expected = if complete {
                Some(record(1000))
            } else {
                old.clone()
            };
            let (mut file, found) = LedgerFile::open(directory.path()).unwrap();
            assert_eq!(found, expected, "{times} writes, torn at {torn_at}");
            if torn_at % 50 == 0 {
                file.write(&record(1001)).unwrap();
                drop(file);
                assert_eq!(read(directory.path()).unwrap(), Some(record(1001)));
            }
        }
    }
}

#[test]
fn a_flipped_byte_in_one_slot_leaves_the_other() {
    let directory = written(4);
    let path = directory.path().join(FILE_NAME);
    let whole = contents(directory.path());
    let length = encode(0, &record(4).to_bytes()).len();
    let newest = decode(&whole[..SLOT_BYTES]).unwrap().generation == 4;
    let (new_slot, old_slot) = if newest { (0, 1) } else { (1, 0) };
    for at in 0..length {
        for (slot, left) in [(new_slot, 3), (old_slot, 4)] {
            let mut bytes = whole.clone();
            bytes[slot * SLOT_BYTES + at] ^= 0x40;
            std::fs::write(&path, &bytes).unwrap();
            assert_eq!(read(directory.path()).unwrap(), Some(record(left)), "{at}");
        }
    }
}

#[test]
fn a_ledger_without_a_good_slot_is_damaged() {
    let directory = written(4);
    let path = directory.path().join(FILE_NAME);
    let whole = contents(directory.path());
    let mut both = whole.clone();
    both[30] ^= 1;
    both[SLOT_BYTES + 30] ^= 1;
    for bytes in [both, vec![0; whole.len()], Vec::new(), whole[..30].to_vec()] {
        std::fs::write(&path, &bytes).unwrap();
        let error = read(directory.path()).unwrap_err();
        assert!(matches!(error, LedgerError::Damaged { .. }), "{error}");
        assert!(
            error.to_string().contains("commands are refused"),
            "{error}"
        );
        // It is not repaired behind anybody's back.
        assert_eq!(contents(directory.path()), bytes);
    }
}

#[test]
fn a_file_that_was_cut_off_gives_what_is_left_of_it() {
    let directory = written(4);
    let whole = contents(directory.path());
    let first = decode(&whole[..SLOT_BYTES]).unwrap();
    let path = directory.path().join(FILE_NAME);
    std::fs::write(&path, &whole[..SLOT_BYTES + 40]).unwrap();
    let expected = LedgerRecord::from_bytes(&first.record).unwrap();
    assert_eq!(read(directory.path()).unwrap(), Some(expected));
}

#[test]
fn a_record_of_another_version_is_not_passed_over() {
    let directory = written(3);
    let (file, _) = LedgerFile::open(directory.path()).unwrap();
    let slot = (file.newest + 1) % SLOTS;
    let newer = encode(file.generation + 1, br#"{"v":9}"#);
    file.file.write_all_at(&newer, offset(slot)).unwrap();
    drop(file);
    let error = read(directory.path()).unwrap_err();
    assert!(matches!(error, LedgerError::Foreign { .. }), "{error}");
}

#[test]
fn two_processes_cannot_have_it() {
    let directory = written(1);
    let _held = LedgerFile::open(directory.path()).unwrap();
    let error = read(directory.path()).unwrap_err();
    assert!(matches!(error, LedgerError::InUse { .. }), "{error}");
}

#[test]
fn a_missing_directory_is_told_with_its_path() {
    let error = read(Path::new("/nonexistent/state")).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/state"), "{error}");
}

#[test]
fn after_a_failed_write_the_older_record_stands_and_writing_goes_on() {
    let directory = written(3);
    let (mut ledger, _) = LedgerFile::open(directory.path()).unwrap();
    let before = contents(directory.path());
    let writable = std::mem::replace(
        &mut ledger.file,
        File::open(directory.path().join(FILE_NAME)).unwrap(),
    );
    let error = ledger.write(&record(4)).unwrap_err();
    assert!(error.to_string().contains("cannot write"), "{error}");
    assert_eq!(contents(directory.path()), before);
    ledger.file = writable;
    ledger.write(&record(5)).unwrap();
    drop(ledger);
    assert_eq!(read(directory.path()).unwrap(), Some(record(5)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// Writes that complete, writes that a power cut tears, and restarts, in any order: what is
    /// read is always the last record whose write was reported as done, or a later one that was
    /// complete on the medium.
    #[test]
    fn the_ledger_never_goes_back(
        steps in proptest::collection::vec((0_u8..3, any::<proptest::sample::Index>()), 1..12),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE_NAME);
        let (mut file, mut last) = LedgerFile::open(directory.path()).unwrap();
        for (number, (step, at)) in (1..).zip(steps) {
            if step == 0 {
                drop(file);
            } else {
                let before = contents(directory.path());
                file.write(&record(number)).unwrap();
                if step == 1 {
                    last = Some(record(number));
                    continue;
                }
                let target = file.newest * SLOT_BYTES;
                drop(file);
                let after = contents(directory.path());
                let torn_at = at.index(encode(0, &record(number).to_bytes()).len());
                let mut torn = before;
                torn[target..target + torn_at].copy_from_slice(&after[target..target + torn_at]);
                std::fs::write(&path, &torn).unwrap();
            }
            let (reopened, found) = LedgerFile::open(directory.path()).unwrap();
            file = reopened;
            let reached = found.as_ref().map_or(0, |record| record.synchronized_at);
            let reported = last.as_ref().map_or(0, |record| record.synchronized_at);
            prop_assert!(reached >= reported, "{} came back as {}", reported, reached);
            last = found;
        }
    }
}

proptest! {
    #[test]
    fn no_slot_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes);
    }

    #[test]
    fn no_changed_slot_panics(length in any::<u32>(), generation in any::<u64>()) {
        let mut slot = encode(generation, b"{}");
        slot[16..20].copy_from_slice(&length.to_le_bytes());
        prop_assert_eq!(decode(&slot).is_some(), length == 2);
    }
}
