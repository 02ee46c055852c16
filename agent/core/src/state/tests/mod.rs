mod applications;
mod autonomy;
mod button;
mod commands;
mod crash;
mod culprits;
mod determinism;
mod discovery;
mod keyring;
mod node;
mod notices;
mod restart;
mod unsigned;

use std::time::Duration;

use serde_json::{Value, json};
use wildmatch::WildMatch;

use super::{Memory, Remembered, Settings, State};
use crate::application::{Application, ApplicationKey, Rules};
use crate::clock::Now;
use crate::command::admission::Ledger;
use crate::command::envelope::{COMMAND_TYPE, SigningKey, VerifiedCommand, seal, verify};
use crate::command::keyring::Keyring;
use crate::event::{Effect, Event, Link, LinkStatus};
use crate::health::{Sample, Thresholds};
use crate::topic::{NodeName, Topic};
use crate::wire;

const GOOD: &str = "1111111111111111111111111111111111111111";
const BAD: &str = "2222222222222222222222222222222222222222";

/// Noon of a day in 2026, and `seconds` later.
fn at(seconds: f64) -> Now {
    let start: jiff::Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
    let elapsed = Duration::from_secs_f64(seconds);
    Now {
        wall: start + elapsed,
        monotonic: elapsed,
        synchronized: true,
    }
}

fn settings() -> Settings {
    Settings {
        node: NodeName::new("pi-01").unwrap(),
        identity: wire::Identity {
            v: 1,
            node: "pi-01".into(),
            key: None,
            model: None,
            os: None,
            arch: "aarch64".into(),
            agent: "0.1.0".into(),
        },
        boot: None,
        namespaces: vec!["argocd".into()],
        rules: Rules::new(Duration::from_secs(600), &["*scan*".into()]),
        thresholds: Thresholds::DEFAULT,
        report_every: Duration::from_secs(300),
        auto_rollback: vec![(WildMatch::new("auto-*"), true)],
        leds: vec!["deploy".into()],
        settle: Duration::from_secs(10),
        discovery: None,
    }
}

/// A state with an empty ledger, started at noon, its starting effects forgotten.
fn started() -> State {
    let ledger = Ledger::new("2026-01-01T00:00:00Z".parse().unwrap());
    let mut state = State::new(settings(), Some(ledger), Remembered::default(), at(0.0));
    state.start(at(0.0));
    state
}

/// An Application as Argo CD would show it; `edit` changes the object.
fn application(name: &str, revision: &str, health: &str, edit: impl FnOnce(&mut Value)) -> Event {
    let mut object = json!({
        "metadata": {"name": name, "namespace": "argocd", "resourceVersion": "1"},
        "spec": {
            "project": "default",
            "source": {"repoURL": "file:///git", "path": "app", "targetRevision": "main"},
            "syncPolicy": {"automated": {"selfHeal": true}},
        },
        "status": {
            "sync": {"status": "Synced", "revision": revision},
            "health": {"status": health},
            "reconciledAt": "2026-11-24T12:00:00Z",
        },
    });
    edit(&mut object);
    let bytes = serde_json::to_vec(&object).unwrap();
    Event::ApplicationChanged(Box::new(Application::from_json(&bytes).unwrap()))
}

/// The answers among these effects come to the outbox.
fn stored(state: &mut State, now: Now, effects: &[Effect]) -> Vec<Effect> {
    let answered = answers(effects).into_iter().map(|it| it.command.clone());
    let event = Event::AnswersStored(answered.collect());
    state.apply(now, event)
}

fn key(name: &str) -> ApplicationKey {
    ApplicationKey {
        namespace: "argocd".into(),
        name: name.into(),
    }
}

fn link(link: Link, status: LinkStatus) -> Event {
    Event::LinkChanged { link, status }
}

fn down() -> LinkStatus {
    LinkStatus::Down("refused".into())
}

fn signing_key() -> SigningKey {
    SigningKey::from_seed(&[7; 32]).unwrap()
}

/// A verified command; `payload` overrides fields of a rollback of `shop` that is in order.
fn command(payload: Value) -> VerifiedCommand {
    use base64::Engine;
    let public = base64::engine::general_purpose::STANDARD.encode(signing_key().public());
    let keyring = Keyring::parse(&format!(
        "[[key]]\nid = \"ci\"\npublic = \"{public}\"\n\
         allow = [\"rollout\", \"rollback\", \"resume\", \"refresh\", \"identify\", \"ping\"]\n\
         applications = [\"*\"]\n"
    ))
    .unwrap();
    let issued = at(0.0).unix_seconds();
    let mut whole = json!({
        "v": 1, "id": "c1", "aud": ["pi-01"], "seq": 1, "iat": issued, "exp": issued + 600,
        "cmd": "rollback", "args": {"application": "shop", "to": "previous"},
    });
    for (field, value) in payload.as_object().unwrap() {
        whole[field] = value.clone();
    }
    let bytes = serde_json::to_vec(&whole).unwrap();
    let envelope = seal(COMMAND_TYPE, &bytes, &[("ci", &signing_key())]);
    verify(
        &envelope,
        &keyring,
        Duration::from_secs(86400),
        at(0.0).wall,
    )
    .unwrap()
}

fn received(delivery: u64, payload: Value) -> Event {
    Event::CommandReceived {
        delivery,
        command: Box::new(command(payload)),
    }
}

fn admitted(id: &str) -> Event {
    Event::Admitted {
        command: id.into(),
        result: Ok(()),
    }
}

/// Reports the writes of the ledger that the effects ask for as done, and gives what follows.
fn written(state: &mut State, now: Now, effects: &[Effect]) -> Vec<Effect> {
    let ids = effects.iter().filter_map(|effect| match effect {
        Effect::Admit { command, .. } => Some(command.clone()),
        _ => None,
    });
    ids.flat_map(|id| state.apply(now, admitted(&id))).collect()
}

/// The orders that the effects give.
fn orders(effects: &[Effect]) -> Vec<&crate::rollout::Order> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Execute(order) => Some(&**order),
            _ => None,
        })
        .collect()
}

/// The ledger as the effects last ask for it to be written.
fn ledger_of(effects: &[Effect]) -> Option<crate::command::admission::LedgerRecord> {
    effects.iter().rev().find_map(|effect| match effect {
        Effect::Admit { record, .. } | Effect::SaveLedger(record) => Some((**record).clone()),
        _ => None,
    })
}

/// The events that the effects record: their type and subject.
fn facts(effects: &[Effect]) -> Vec<(&str, &str)> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Record(fact) => Some((fact.kind.as_ref(), fact.subject.as_str())),
            _ => None,
        })
        .collect()
}

/// The results that the effects answer.
fn answers(effects: &[Effect]) -> Vec<&wire::CommandResult> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Answer(result) => Some(&**result),
            _ => None,
        })
        .collect()
}

fn retained<'a>(effects: &'a [Effect], wanted: &Topic) -> Option<&'a [u8]> {
    effects.iter().rev().find_map(|effect| match effect {
        Effect::Retain { topic, payload } if topic == wanted => Some(payload.as_slice()),
        _ => None,
    })
}

fn sample() -> Sample {
    Sample {
        temperature_celsius: Some(50.0),
        cpu_usage: Some(0.1),
        ..Sample::default()
    }
}
