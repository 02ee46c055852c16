//! What a watch of the suite's own has heard, to compare with what the agent relays.

use std::fmt::Write;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use edge_agent_core::application::{Application, DeployState, Rules, deploy_state};
use futures::{AsyncBufReadExt, StreamExt};
use http::Request;
use serde_json::Value;

use super::super::recorder::Message;
use crate::scenarios::api::{APPLICATIONS, Api, driver};

/// One event of the watch.
#[derive(Debug, Clone)]
pub(crate) struct Observed {
    pub(crate) at: Instant,
    pub(crate) name: String,
    /// `None` when it was deleted.
    pub(crate) shown: Option<Shown>,
    /// The same in words, with more of it.
    line: String,
}

/// What of an Application a reader of its topic can tell apart.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shown {
    pub(crate) state: DeployState,
    sync: String,
    health: String,
    revision: Option<String>,
    phase: Option<String>,
    images: Vec<String>,
}

impl Observed {
    pub(crate) fn read(line: &str, rules: &Rules, at: Instant) -> Option<Self> {
        let event: Value = serde_json::from_str(line).ok()?;
        let app = Application::from_value(event.get("object")?).ok()?;
        let state = deploy_state(&app, rules, jiff::Timestamp::now());
        let shown = (event["type"] != "DELETED").then(|| Shown {
            state,
            sync: app.sync.as_str().to_owned(),
            health: app.health.as_str().to_owned(),
            revision: app.revision.clone(),
            phase: app.operation.as_ref().map(|o| o.phase.as_str().to_owned()),
            images: app.images.clone(),
        });
        let line = format!(
            "{state:?}: {:?} {:?} on {}, operation {}, last of {} in history {}, command {}",
            app.sync,
            app.health,
            short(app.revision.as_deref()),
            app.operation.as_ref().map_or("-".to_owned(), |operation| {
                format!(
                    "{:?} to {}",
                    operation.phase,
                    short(operation.revision.as_deref())
                )
            }),
            app.history.len(),
            short(app.history.last().map(|entry| entry.revision.as_str())),
            app.last_command.as_deref().unwrap_or("-"),
        );
        let name = app.key.name;
        Some(Self {
            at,
            name,
            shown,
            line,
        })
    }
}

impl Shown {
    fn of_message(message: &Message) -> Option<Self> {
        let value = message.json();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Some(Self {
            state: serde_json::from_value(value["state"].clone()).ok()?,
            sync: text(&value["sync"])?,
            health: text(&value["health"])?,
            revision: text(&value["revision"]),
            phase: text(&value["operation"]["phase"]),
            images: serde_json::from_value(value["images"].clone()).ok()?,
        })
    }
}

fn short(revision: Option<&str>) -> String {
    revision.unwrap_or("-").chars().take(8).collect()
}

/// Every change of an application, one a line, with the seconds since the first: for a person who
/// wants to know why something did not hold.
pub(crate) fn story(name: &str, observed: &[Observed]) -> String {
    let mut lines = String::new();
    let mut events = observed
        .iter()
        .filter(|event| event.name == name)
        .peekable();
    let Some(first) = events.peek().map(|event| event.at) else {
        return format!("nothing was heard of {name}");
    };
    let mut last = None;
    for event in events.filter(|event| last.replace(&event.line) != Some(&event.line)) {
        let at = event.at.duration_since(first).as_secs_f64();
        let gone = if event.shown.is_none() {
            "gone; was "
        } else {
            ""
        };
        let _ = writeln!(lines, "{at:8.3} {gone}{}", event.line);
    }
    lines
}

/// Watches all Applications until the end of the process, and notes when it has heard what.
pub(crate) fn observe(api: &Api, rules: Rules) -> Arc<Mutex<Vec<Observed>>> {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (client, log) = (api.client.clone(), Arc::clone(&seen));
    driver().spawn(async move {
        let weak = Arc::downgrade(&log);
        drop(log);
        while weak.strong_count() > 0 {
            let uri = format!("{APPLICATIONS}?watch=true&timeoutSeconds=600");
            let request = Request::get(uri).body(Vec::new()).unwrap();
            let Ok(stream) = client.request_stream(request).await else {
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            };
            let mut lines = Box::pin(stream).lines();
            while let Some(Ok(line)) = lines.next().await {
                let Some(log) = weak.upgrade() else { return };
                if let Some(observed) = Observed::read(&line, &rules, Instant::now()) {
                    log.lock().unwrap().push(observed);
                }
            }
        }
    });
    seen
}

/// How the relay of one application went.
#[derive(Debug, Default)]
pub(crate) struct Relay {
    /// From the watch event to the message, for each change that was relayed.
    pub(crate) delays: Vec<Duration>,
    /// Changes that were not relayed although they were not overtaken within the limit.
    pub(crate) missed: Vec<String>,
    /// How many changes were overtaken by the next one before they were relayed.
    pub(crate) overtaken: usize,
}

/// Follows the changes of an application, and finds the message of each.
///
/// The two watches hear the same in the same order, but not at the same moment: on a busy machine the
/// suite's own may be the later one by any amount. So a message belongs to a change by its place in the
/// order; a change that was heard after its message was told took no time.
pub(crate) fn relay(
    name: &str,
    observed: &[Observed],
    messages: &[Message],
    limit: Duration,
) -> Relay {
    let topic = format!("edge/v1/{}/app/{name}", super::super::agent::NODE);
    let mut changes: Vec<&Observed> = Vec::new();
    for event in observed.iter().filter(|event| event.name == name) {
        if changes.last().is_none_or(|last| last.shown != event.shown) {
            changes.push(event);
        }
    }
    // What a reader cannot tell apart is one message, that of the first.
    let mut told: Vec<(Instant, Option<Shown>)> = Vec::new();
    for message in messages.iter().filter(|message| message.topic == topic) {
        let shown = Shown::of_message(message);
        if told.last().is_none_or(|(_, last)| *last != shown) {
            told.push((message.at, shown));
        }
    }
    let mut relay = Relay::default();
    let mut from = 0;
    for (index, change) in changes.iter().enumerate() {
        let next = changes.get(index + 1).map(|next| next.at);
        let found = told[from..]
            .iter()
            .position(|(_, shown)| *shown == change.shown)
            .map(|place| (from + place, told[from + place].0));
        let overtaken = next.is_some_and(|next| next.duration_since(change.at) < limit);
        match found {
            Some((place, at)) if at.saturating_duration_since(change.at) <= limit => {
                relay.delays.push(at.saturating_duration_since(change.at));
                from = place + 1;
            }
            _ if overtaken => relay.overtaken += 1,
            late => relay.missed.push(format!(
                "{:?}, {:?}",
                change.shown,
                late.map(|(_, at)| at.saturating_duration_since(change.at)),
            )),
        }
    }
    relay
}
