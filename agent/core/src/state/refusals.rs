//! Refused commands: counted always, told at a bounded rate, because anybody who reaches the broker
//! can cause them.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::shorten;
use crate::clock::Now;
use crate::command::RefusalCode;
use crate::event::{Effect, Fact};
use crate::retention::Class;

/// The shortest time between two events about one code.
const REPORT_EVERY: Duration = Duration::from_secs(60);

/// Counts of refusals by code.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    by_code: BTreeMap<RefusalCode, Tally>,
}

#[derive(Debug, Default)]
struct Tally {
    total: u64,
    unreported: u64,
    message: String,
    quiet_until: Option<Duration>,
}

impl Refusals {
    /// Counts one refusal, and tells it unless its code was told within the last minute.
    pub(super) fn count(
        &mut self,
        now: Now,
        code: RefusalCode,
        message: &str,
        effects: &mut Vec<Effect>,
    ) {
        let tally = self.by_code.entry(code).or_default();
        tally.total += 1;
        tally.unreported += 1;
        tally.message = shorten(message, 512).to_owned();
        if tally.quiet_until.is_none() {
            tally.report(now, code, effects);
        }
    }

    pub(super) fn tick(&mut self, now: Now, effects: &mut Vec<Effect>) {
        for (code, tally) in &mut self.by_code {
            if tally
                .quiet_until
                .is_some_and(|until| until <= now.monotonic)
            {
                tally.quiet_until = None;
                if tally.unreported > 0 {
                    tally.report(now, *code, effects);
                }
            }
        }
    }

    /// Tells what has not been told yet, because the agent stops.
    pub(super) fn flush(&mut self, now: Now, effects: &mut Vec<Effect>) {
        for (code, tally) in &mut self.by_code {
            if tally.unreported > 0 {
                tally.report(now, *code, effects);
            }
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.by_code
            .values()
            .filter_map(|tally| tally.quiet_until)
            .min()
    }

    pub(super) fn totals(&self) -> BTreeMap<String, u64> {
        self.by_code
            .iter()
            .map(|(code, tally)| (code.to_string(), tally.total))
            .collect()
    }
}

impl Tally {
    fn report(&mut self, now: Now, code: RefusalCode, effects: &mut Vec<Effect>) {
        let count = std::mem::take(&mut self.unreported);
        self.quiet_until = Some(now.monotonic + REPORT_EVERY);
        effects.push(Effect::Record(Fact {
            class: Class::Agent,
            kind: "edge.command.refused".into(),
            subject: code.as_str().into(),
            at: now.wall,
            data: json!({ "reason": code, "message": self.message, "count": count, "total": self.total }),
        }));
    }
}
