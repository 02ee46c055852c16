//! Keyring files: a text with a fault lets nobody in, and none breaks the reader.
#![no_main]

use edge_agent_core::command::key::is_small_order;
use edge_agent_core::command::keyring::{Keyring, MAX_KEYS, MAX_ROOTS};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    match Keyring::parse(text) {
        Ok(keyring) => {
            assert!(keyring.len() <= MAX_KEYS && keyring.roots().count() <= MAX_ROOTS);
            assert!(keyring.keys().all(|key| !is_small_order(key.public())));
            assert!(keyring.roots().all(|root| !is_small_order(root.public())));
        }
        Err(faults) => assert!(!faults.is_empty()),
    }
});
