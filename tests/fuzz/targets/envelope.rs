//! Envelopes as they come from the broker: nothing that nobody has signed is ever believed.
#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use edge_agent_core::command::envelope::{
    MAX_ENVELOPE_BYTES, SigningKey, countersign, open_result, verify,
};
use edge_agent_core::command::keyring::Keyring;
use edge_agent_core::command::update::verify_update;
use jiff::Timestamp;
use libfuzzer_sys::fuzz_target;

static KEY: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::from_seed(&[1; 32]).expect("a seed"));

static KEYRING: LazyLock<Keyring> = LazyLock::new(|| {
    let stranger = SigningKey::from_seed(&[99; 32]).expect("a seed");
    let root = SigningKey::from_seed(&[98; 32]).expect("a seed");
    let text = format!(
        "version = 1\n[[root]]\nid = \"root\"\npublic = \"{}\"\n[[key]]\nid = \"ci\"\npublic = \"{}\"\n\
         allow = [\"ping\"]\n",
        root.public_base64(),
        stranger.public_base64()
    );
    Keyring::parse(&text).expect("a keyring")
});

fuzz_target!(|bytes: &[u8]| {
    let today = Timestamp::UNIX_EPOCH;
    // Nobody has the private halves of these keys but this target, which does not use them.
    assert!(verify(bytes, &KEYRING, Duration::from_secs(86_400), today).is_err());
    assert!(verify_update(bytes, &KEYRING).is_err());
    assert!(open_result(bytes, &[[7; 32]]).is_err());
    if let Ok(signed) = countersign(bytes, "ci", &KEY) {
        assert!(signed.len() <= 2 * MAX_ENVELOPE_BYTES);
    }
});
