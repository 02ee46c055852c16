//! What has been sent, counted.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

/// Messages and bytes by the kind of topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally(BTreeMap<&'static str, (u64, u64)>);

const DAY: f64 = 86400.0;

impl Tally {
    pub(crate) fn count(&mut self, kind: &'static str, bytes: usize) {
        let entry = self.0.entry(kind).or_default();
        entry.0 += 1;
        entry.1 += u64::try_from(bytes).unwrap_or(0);
    }

    pub(crate) fn total(&self) -> (u64, u64) {
        let sum = |all: (u64, u64), one: &(u64, u64)| (all.0 + one.0, all.1 + one.1);
        self.0.values().fold((0, 0), sum)
    }

    /// A table of what a node sends in a day, if it goes on as in this time.
    pub(crate) fn of_a_day(&self, nodes: u32, over: Duration) -> String {
        let days = over.as_secs_f64() / DAY * f64::from(nodes.max(1));
        let mut text = "a node and day      messages       bytes\n".to_owned();
        let rows = self.0.iter().map(|(kind, count)| (*kind, *count));
        for (kind, (messages, bytes)) in rows.chain([("all", self.total())]) {
            let (messages, bytes) = (messages as f64 / days, bytes as f64 / days);
            let _ = writeln!(text, "{kind:<16} {messages:>11.1} {bytes:>11.0}");
        }
        text
    }
}
