//! Settings files: faults are told, and what is accepted can be printed and read again.
#![no_main]

use std::path::Path;

use edge_agent::config::{Config, Environment};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let (path, environment) = (Path::new("/etc/edge-agent/agent.toml"), Environment::default());
    match Config::parse(text, path, &environment) {
        Ok(config) => {
            let printed = config.to_toml();
            let again = Config::parse(&printed, path, &environment);
            assert_eq!(again.as_ref().ok(), Some(&config), "{printed}");
        }
        Err(faults) => assert!(!faults.as_slice().is_empty()),
    }
});
