//! Topics that the broker refuses: left alone for a while, tried again, and told in a sentence.

use std::collections::BTreeMap;
use std::time::Duration;

use edge_agent_core::backoff::Backoff;
use tokio::time::Instant;

/// Topics that the broker refuses. Outlives a connection, so that a reconnect does not try them
/// sooner.
#[derive(Debug)]
pub(super) struct Refusals {
    topics: BTreeMap<String, Refused>,
    limits: (Duration, Duration),
    reported: Option<String>,
}

#[derive(Debug)]
struct Refused {
    /// `None` when it was lost and not refused.
    reason: Option<String>,
    backoff: Backoff,
    until: Instant,
}

impl Refusals {
    /// A topic is tried again after `min`, and after ever longer waits up to `max`.
    pub(super) fn new(min: Duration, max: Duration) -> Self {
        Self {
            topics: BTreeMap::new(),
            limits: (min, max),
            reported: None,
        }
    }

    /// Leaves a topic alone for a while; `reason` is what the broker said, if it said anything.
    pub(super) fn hold(&mut self, topic: &str, reason: Option<String>) {
        let (min, max) = self.limits;
        let refused = self
            .topics
            .entry(topic.to_owned())
            .or_insert_with(|| Refused {
                reason: None,
                backoff: Backoff::new(min, max),
                until: Instant::now(),
            });
        // What was in flight together is refused together: that is one refusal.
        if refused.until <= Instant::now() {
            refused.until = Instant::now() + refused.backoff.next(super::random());
        }
        refused.reason = reason.or(refused.reason.take());
    }

    /// The broker has taken something on this topic.
    pub(super) fn forgive(&mut self, topic: &str) {
        self.topics.remove(topic);
    }

    /// Until when a topic is held, if it is.
    pub(super) fn held_until(&self, topic: &str) -> Option<Instant> {
        let until = self.topics.get(topic)?.until;
        (until > Instant::now()).then_some(until)
    }

    /// The sentence for people, if it is another than was told last.
    pub(super) fn report(&mut self) -> Option<Option<String>> {
        let reasons: Vec<String> = self
            .topics
            .iter()
            .filter_map(|(topic, refused)| Some(format!("{topic} ({})", refused.reason.as_ref()?)))
            .collect();
        let sentence = (!reasons.is_empty()).then(|| {
            let shown = reasons[..reasons.len().min(3)].join(", ");
            let more = match reasons.len().saturating_sub(3) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            format!("the broker refuses what is published on {shown}{more}: check its access list and limits")
        });
        if sentence == self.reported {
            return None;
        }
        self.reported.clone_from(&sentence);
        Some(sentence)
    }
}
