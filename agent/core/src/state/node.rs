//! The node itself: its health, its links, and the faults of the agent's own parts.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::{LinkEntry, State, retain, shorten};
use crate::clock::Now;
use crate::event::{Effect, Fact, Link, LinkStatus};
use crate::health::{self, KubernetesView, Sample};
use crate::retention::Class;
use crate::topic::Topic;
use crate::wire;

/// How often an offline node keeps a sample of its health.
const KEEP_SAMPLE_EVERY: Duration = Duration::from_secs(300);

/// How long the LEDs and the page tell that the outbox was damaged: nothing is left to be done about
/// it, and an event tells of it as well.
const SHOW_DAMAGE: Duration = Duration::from_secs(60);

/// The name of a damaged outbox among the faults.
const DAMAGED: &str = "outbox_damaged";

/// How long what the API server said of this node holds. It is asked every 30 s.
const VIEW_STALE_AFTER: Duration = Duration::from_secs(95);

/// The longest time that a watch may be down before the states that it told count as unknown.
const WATCH_STALE_AFTER: Duration = Duration::from_secs(90);

impl State {
    pub(super) fn sampled(&mut self, now: Now, mut sample: Sample, effects: &mut Vec<Effect>) {
        let fresh = |(at, _): &&(Duration, KubernetesView)| {
            now.monotonic.saturating_sub(*at) <= VIEW_STALE_AFTER
        };
        if let Some((_, view)) = self.node_view.as_ref().filter(fresh) {
            sample.k3s.kubernetes = view.clone();
        }
        let sample = &sample;
        let judgement = self.judge.judge(sample, now);
        let outbox = wire::Outbox {
            records: self.outbox.records,
            bytes: self.outbox.bytes,
            dropped: self.outbox.dropped,
        };
        let health = Arc::new(health::report(
            sample,
            &judgement,
            now,
            self.settings.boot.as_deref(),
            &self.settings.identity.agent,
            outbox,
        ));
        self.report_status(now, &health, effects);
        self.publish_health(now, &health, effects);
        self.keep_sample(now, &health, effects);
        self.health = Some(health);
        self.observe_clock(now, effects);
        self.reassess_applications(now, effects);
        self.tick_commands(now, effects);
    }

    /// Records an event when the status differs from the one told last.
    fn report_status(&mut self, now: Now, health: &wire::Health, effects: &mut Vec<Effect>) {
        let before = self.reported_status.replace(health.status);
        let unremarkable = before.is_none() && health.status == wire::Status::Ok;
        if before == Some(health.status) || unremarkable {
            return;
        }
        effects.push(Effect::Record(Fact {
            class: Class::HealthChange,
            kind: "edge.health.status".into(),
            subject: "health".into(),
            at: now.wall,
            data: json!({
                "status": health.status,
                "previous": before,
                "reasons": health.reasons,
            }),
        }));
    }

    fn publish_health(&mut self, now: Now, health: &Arc<wire::Health>, effects: &mut Vec<Effect>) {
        let due = self
            .published_health
            .as_ref()
            .is_none_or(|(at, published)| {
                now.monotonic.saturating_sub(*at) >= self.settings.report_every
                    || health::worth_publishing(published, health)
            });
        if due {
            self.published_health = Some((now.monotonic, Arc::clone(health)));
            retain(effects, Topic::Health, &**health);
        }
    }

    /// While the broker is away, keeps one sample in five minutes, so that the course of the health
    /// over the outage can be seen afterwards.
    fn keep_sample(&mut self, now: Now, health: &wire::Health, effects: &mut Vec<Effect>) {
        let down_since = match self.links.get(&Link::Broker) {
            Some(LinkEntry {
                status: LinkStatus::Down(_),
                since_monotonic,
                ..
            }) => *since_monotonic,
            _ => {
                self.kept_sample = None;
                return;
            }
        };
        let last = self.kept_sample.unwrap_or(down_since);
        if now.monotonic.saturating_sub(last) < KEEP_SAMPLE_EVERY {
            return;
        }
        self.kept_sample = Some(now.monotonic);
        let memory = &health.memory;
        effects.push(Effect::Record(Fact {
            class: Class::HealthSample,
            kind: "edge.health.sample".into(),
            subject: "health".into(),
            at: now.wall,
            data: json!({
                "status": health.status,
                "cpu_usage": health.cpu.usage,
                "load1": health.cpu.load1,
                "memory_available_bytes": memory.available_bytes,
                "temperature_celsius": health.temperature_celsius,
                "undervoltage": health.power.undervoltage,
                "throttled": health.power.throttled,
            }),
        }));
    }

    pub(super) fn link_changed(
        &mut self,
        now: Now,
        link: Link,
        status: LinkStatus,
        effects: &mut Vec<Effect>,
    ) {
        let entry = self.links.entry(link).or_insert_with(|| LinkEntry {
            status: LinkStatus::Connecting,
            since: now.wall,
            since_monotonic: now.monotonic,
            reported_up: None,
        });
        let condition = |status: &LinkStatus| std::mem::discriminant(status);
        if condition(&entry.status) != condition(&status) {
            entry.since = now.wall;
            entry.since_monotonic = now.monotonic;
        }
        let (up, reason) = match &status {
            LinkStatus::Up => (Some(true), None),
            LinkStatus::Down(reason) => (Some(false), Some(reason.clone())),
            LinkStatus::Disabled | LinkStatus::Connecting => (None, None),
        };
        entry.status = status;
        if up.is_some() && entry.reported_up != up {
            entry.reported_up = up;
            effects.push(Effect::Record(Fact {
                class: Class::LinkChange,
                kind: "edge.link.changed".into(),
                subject: link.as_str().into(),
                at: now.wall,
                data: json!({ "link": link.as_str(), "up": up, "reason": reason }),
            }));
        }
        if link == Link::Cluster {
            self.reassess_applications(now, effects);
        }
    }

    /// Whether what the watch told may be out of date.
    pub(super) fn watch_is_stale(&self, now: Now) -> bool {
        self.links.get(&Link::Cluster).is_some_and(|entry| {
            matches!(entry.status, LinkStatus::Down(_))
                && now.monotonic.saturating_sub(entry.since_monotonic) >= self.stale_after()
        })
    }

    /// When the watch becomes stale, if it is down and applications depend on it. Once it is stale
    /// every application says so, and there is nothing left to wait for.
    pub(super) fn stale_deadline(&self) -> Option<Duration> {
        let entry = self.links.get(&Link::Cluster)?;
        let waiting = matches!(entry.status, LinkStatus::Down(_)) && self.applications.any_live();
        waiting.then(|| entry.since_monotonic + self.stale_after())
    }

    fn stale_after(&self) -> Duration {
        self.settings.rules.stale_after.min(WATCH_STALE_AFTER)
    }

    /// What waited in the outbox is gone, nobody knows how much. An empty one is in use.
    pub(super) fn outbox_damaged(&mut self, now: Now, what: String, effects: &mut Vec<Effect>) {
        effects.push(Effect::Record(Fact {
            class: Class::Agent,
            kind: "edge.outbox.dropped".into(),
            subject: "outbox".into(),
            at: now.wall,
            data: json!({
                "class": null,
                "count": null,
                "oldest": null,
                "newest": null,
                "reason": "damaged",
                "message": shorten(&what, 1024),
            }),
        }));
        self.faults.insert(DAMAGED, what);
        self.damage_until = Some(now.monotonic + SHOW_DAMAGE);
    }

    pub(super) fn forget_damage(&mut self, now: Now) {
        if self
            .damage_until
            .is_some_and(|until| until <= now.monotonic)
        {
            self.damage_until = None;
            self.faults.remove(DAMAGED);
        }
    }

    pub(super) fn impaired(&mut self, part: &'static str, fault: Option<String>) {
        match fault {
            Some(fault) => self.faults.insert(part, fault),
            None => self.faults.remove(part),
        };
    }
}
