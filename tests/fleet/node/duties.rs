//! What the tasks of the agent do for its core: send, store, and carry out what was ordered.

use std::collections::VecDeque;
use std::time::Duration;

use edge_agent::mqtt::{Message, RESULT_EXPIRY};
use edge_agent_core::application::Application;
use edge_agent_core::command::envelope::seal_result;
use edge_agent_core::command::{Refusal, RefusalCode};
use edge_agent_core::event::{Effect, Event, Fact};
use edge_agent_core::rollout::{Order, OrderKind, Outcome};
use edge_agent_core::topic::Topic;
use edge_agent_core::wire::{self, CloudEvent, CommandResult, PresenceReason};
use jiff::Timestamp;
use ulid::Ulid;

use super::super::argo;
use super::{Deed, Kind, Node, VERSION, at};

impl Node {
    /// Does what the tasks of the agent do, and tells the core at once that it is done.
    pub(super) fn carry_out(&mut self, when: Duration, effects: Vec<Effect>) {
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.pop_front() {
            let done = match effect {
                Effect::Record(fact) => {
                    self.record(&fact);
                    continue;
                }
                Effect::Retain { topic, payload } => {
                    self.retain(&topic, payload);
                    continue;
                }
                Effect::Answer(result) => self.answer(&result),
                Effect::Admit { command, .. } => Event::Admitted {
                    command,
                    result: Ok(()),
                },
                Effect::Execute(order) => self.execute(when, &order),
                Effect::Examine(examination) => Event::Examined {
                    number: examination.number,
                    application: examination.application,
                    culprit: None,
                },
                // No medium, no keyring over the air, and nobody to be told.
                Effect::SaveLedger(_)
                | Effect::RetainAt { .. }
                | Effect::InstallKeyring { .. }
                | Effect::Acknowledge(_)
                | Effect::Notify(_) => continue,
            };
            effects.extend(self.state.apply(at(self.started, when), done));
        }
    }

    fn execute(&mut self, when: Duration, order: &Order) -> Event {
        let command = order.command.clone();
        let meant = |app: &Application| app.key == order.application;
        let Some(number) = self.applications.iter().position(meant) else {
            let why = format!("there is no application {}", order.application);
            let outcome = Outcome::Refused(Refusal::new(RefusalCode::ApplicationNotFound, why));
            return Event::Executed { command, outcome };
        };
        let now = at(self.started, when).wall;
        let app = &mut self.applications[number];
        let (outcome, next) = argo::obey(app, order, &mut self.dice, now);
        if let Some((wait, step)) = next {
            self.plan(when + wait, Deed::Argo(number, step));
            if matches!(order.kind, OrderKind::Rollback { .. }) {
                let held = self.dice.seconds(1800.0, 4.0 * 3600.0);
                self.plan(when + held, Deed::Resume(number));
            }
        }
        Event::Executed { command, outcome }
    }

    fn answer(&mut self, result: &CommandResult) -> Event {
        let message = Message {
            topic: Topic::Result(result.command.clone()).format(&self.name),
            payload: seal_result(result, &result.node, &self.key),
            retain: true,
            expiry_seconds: Some(RESULT_EXPIRY),
            content_type: Some("application/vnd.dsse.envelope.v1+json"),
        };
        self.sequence += 1;
        self.retained
            .insert(message.topic.clone(), ("result", message.clone()));
        self.send_stored("result", message);
        Event::AnswersStored(vec![result.command.clone()])
    }

    fn record(&mut self, fact: &Fact) {
        self.sequence += 1;
        let event = CloudEvent {
            specversion: "1.0".to_owned(),
            id: self.ulid(fact.at).to_string(),
            source: self.name.source(),
            kind: fact.kind.clone().into_owned(),
            subject: fact.subject.clone(),
            time: fact.at,
            datacontenttype: "application/json".to_owned(),
            sequence: format!("{:020}", self.sequence),
            data: fact.data.clone(),
        };
        let message = Message {
            topic: Topic::Event.format(&self.name),
            payload: serde_json::to_vec(&event).unwrap_or_default(),
            retain: false,
            expiry_seconds: None,
            content_type: Some("application/cloudevents+json"),
        };
        self.send_stored("event", message);
    }

    /// Sends what the outbox would keep.
    fn send_stored(&mut self, kind: Kind, message: Message) {
        if self.online {
            self.sent.push((kind, message));
        } else {
            self.outbox.push((kind, message));
        }
    }

    pub(super) fn tell_presence(&mut self, when: Duration, reason: PresenceReason) {
        let presence = wire::Presence {
            v: wire::VERSION,
            online: reason == PresenceReason::Started,
            since: at(self.started, when).wall,
            reason,
            boot: Some(self.boot.clone()),
            agent: VERSION.to_owned(),
        };
        let payload = serde_json::to_vec(&presence).unwrap_or_default();
        self.retain(&Topic::Presence, payload);
    }

    fn retain(&mut self, topic: &Topic, payload: Vec<u8>) {
        let kind = match topic {
            Topic::Presence => "presence",
            Topic::Identity => "identity",
            Topic::Health => "health",
            Topic::Application(_) => "app",
            Topic::Indication => "indication",
            Topic::Event | Topic::Command | Topic::Result(_) => "other",
        };
        let message = Message {
            topic: topic.format(&self.name),
            payload,
            retain: true,
            expiry_seconds: None,
            content_type: Some("application/json"),
        };
        if self.online {
            self.sent.push((kind, message.clone()));
        }
        self.retained.insert(message.topic.clone(), (kind, message));
    }

    pub(super) fn ulid(&mut self, now: Timestamp) -> Ulid {
        let milliseconds = u64::try_from(now.as_millisecond()).unwrap_or(0);
        Ulid::from_parts(milliseconds, u128::from_be_bytes(self.dice.bytes()))
    }
}
