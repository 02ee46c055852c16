//! Topics: what is made can be read, and stays below the node's own root.
#![no_main]

use edge_agent_core::topic::{NodeName, Topic};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Some((node, topic)) = Topic::parse(text) {
        assert_eq!(topic.format(&node), text);
    }
    if let Ok(node) = NodeName::new("pi-01") {
        for topic in [Topic::Application(text.to_owned()), Topic::Result(text.to_owned())] {
            let made = topic.format(&node);
            assert!(made.starts_with("edge/v1/pi-01/") && !made.contains(['+', '#']));
        }
    }
});
