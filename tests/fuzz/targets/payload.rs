//! Payloads that known keys have signed: what is read is in range, and reads the same again.
#![no_main]

use edge_agent_core::command::envelope::{COMMAND_TYPE, SigningKey, seal, verify};
use edge_agent_core::command::keyring::Keyring;
use edge_agent_core::command::payload::Command;
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use std::time::Duration;

static KEY: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::from_seed(&[1; 32]).expect("a seed"));

static KEYRING: LazyLock<Keyring> = LazyLock::new(|| {
    let text = format!(
        "[[key]]\nid = \"ci\"\npublic = \"{}\"\nallow = [\"rollback\", \"ping\"]\n\
         applications = [\"shop-*\"]\n",
        KEY.public_base64()
    );
    Keyring::parse(&text).expect("a keyring")
});

fuzz_target!(|bytes: &[u8]| {
    if let Ok(command) = Command::parse(bytes) {
        command.check().expect("what was read is in range");
        let again = Command::parse(&command.to_json()).expect("what was written can be read");
        assert_eq!(again, command);
    }
    let envelope = seal(COMMAND_TYPE, bytes, &[("ci", &KEY)]);
    let verified = verify(
        &envelope,
        &KEYRING,
        Duration::from_secs(86_400),
        Timestamp::UNIX_EPOCH,
    );
    if let Ok(verified) = verified {
        let name = verified.command().name();
        assert!(["rollback", "ping"].contains(&name), "{name} is not permitted");
    }
});
