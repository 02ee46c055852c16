//! Slots of the ledger file as a damaged medium may give them back, and the record in them.
#![no_main]

use edge_agent::store::ledger::read_slot;
use edge_agent_core::command::admission::{Ledger, LedgerRecord};
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some((_, record)) = read_slot(bytes) {
        assert!(record.len() < bytes.len());
    }
    // The checksum keeps a fuzzer out, so the record is also tried without it.
    let Ok(record) = LedgerRecord::from_bytes(bytes) else {
        return;
    };
    let again = LedgerRecord::from_bytes(&record.to_bytes());
    if let Ok(again) = again {
        assert_eq!(again, record);
    }
    let floor = Ledger::restore(record, Timestamp::UNIX_EPOCH).floor();
    assert!(floor >= Timestamp::UNIX_EPOCH);
});
