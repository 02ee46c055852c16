//! Watches: a stream of changes, one JSON object a line.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::Response;
use futures::stream;
use serde_json::{Value, json};
use tokio::sync::watch::Receiver;
use tokio::time::Instant;

use super::refusal::Refusal;
use super::server::{Query, refuse, respond};
use super::world::{Shared, World};

/// What a watch asks for and how far it is.
struct Watch {
    shared: Arc<Shared>,
    changes: Receiver<u64>,
    namespace: String,
    name: Option<String>,
    /// The last change that was sent, or skipped as not asked for.
    version: u64,
    bookmarks: bool,
    bookmark_at: Instant,
    /// `timeoutSeconds`.
    deadline: Option<Instant>,
    expired: u64,
    truncated: u64,
    lines: VecDeque<String>,
    /// After the lines the stream ends.
    last: bool,
}

/// Opens a watch.
pub(super) fn open(shared: &Arc<Shared>, namespace: &str, query: &Query) -> Response {
    let asked = query.get("resourceVersion").map_or("", String::as_str);
    let Ok(asked) = (if asked.is_empty() {
        Ok(0)
    } else {
        asked.parse::<u64>()
    }) else {
        return refuse(&Refusal::bad_request("resourceVersion is not a number"));
    };
    let now = Instant::now();
    let seconds = query
        .get("timeoutSeconds")
        .and_then(|text| text.parse().ok());
    let world = shared.read();
    let mut watch = Watch {
        shared: shared.clone(),
        changes: shared.changes(),
        namespace: namespace.to_owned(),
        name: query
            .get("fieldSelector")
            .and_then(|selector| selector.strip_prefix("metadata.name="))
            .map(str::to_owned),
        version: asked,
        bookmarks: query
            .get("allowWatchBookmarks")
            .is_some_and(|word| word == "true"),
        bookmark_at: now + bookmark_interval(shared),
        deadline: seconds.map(|seconds| now + Duration::from_secs(seconds)),
        expired: world.faults.expired,
        truncated: world.faults.truncated,
        lines: VecDeque::new(),
        last: false,
    };
    let initial = query
        .get("sendInitialEvents")
        .is_some_and(|word| word == "true");
    if asked == 0 || initial {
        watch.send_present(&world, initial);
    } else if asked < world.store.oldest() {
        watch.end_with(&Refusal::expired(asked, world.store.oldest()));
    }
    drop(world);
    let lines = stream::unfold(watch, |mut watch| async move {
        let line = watch.next().await?;
        Some((Ok::<_, io::Error>(Bytes::from(line)), watch))
    });
    respond(200, Body::from_stream(lines))
}

/// The real one sends a bookmark about once a minute.
fn bookmark_interval(shared: &Shared) -> Duration {
    shared.pace.resync()
}

impl Watch {
    /// The next line; `None` at the end of the stream.
    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Some(line);
            }
            if self.last {
                return None;
            }
            self.changes.borrow_and_update();
            self.collect(Instant::now());
            if !self.lines.is_empty() || self.last {
                continue;
            }
            let bookmark = self.bookmarks.then_some(self.bookmark_at);
            let wake = self.deadline.into_iter().chain(bookmark).min();
            let sleep = async {
                match wake {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = self.changes.changed() => changed.ok()?,
                () = sleep => {}
            }
        }
    }

    /// Takes in what has happened since.
    fn collect(&mut self, now: Instant) {
        let shared = self.shared.clone();
        let world = shared.read();
        let due = self.bookmark_at <= now;
        if due {
            self.bookmark_at = now + bookmark_interval(&shared);
        }
        if self.expired != world.faults.expired || self.deadline.is_some_and(|at| at <= now) {
            self.last = true;
            return;
        }
        if self.truncated != world.faults.truncated {
            self.lines
                .push_back(r#"{"type":"MODIFIED","object":{"apiVers"#.to_owned());
            self.last = true;
            return;
        }
        if world.faults.stalled {
            return;
        }
        let before = self.version;
        for entry in world.store.after(before) {
            self.version = entry.version;
            let (namespace, name) = &entry.key;
            if *namespace == self.namespace && self.name.as_ref().is_none_or(|own| own == name) {
                self.lines
                    .push_back(line(entry.change.word(), &entry.object));
            }
        }
        if self.lines.is_empty() && self.bookmarks && due {
            self.version = self.version.max(world.store.version());
            self.lines.push_back(bookmark(self.version, false));
        }
    }

    /// A watch from no version begins with everything that is there.
    fn send_present(&mut self, world: &World, marked: bool) {
        for (name, object) in world.store.list(&self.namespace) {
            if self.name.as_ref().is_none_or(|own| *own == name) {
                self.lines.push_back(line("ADDED", &object));
            }
        }
        self.version = world.store.version();
        if marked && self.bookmarks {
            self.lines.push_back(bookmark(self.version, true));
        }
    }

    fn end_with(&mut self, refusal: &Refusal) {
        self.lines.push_back(line("ERROR", &refusal.status()));
        self.last = true;
    }
}

fn line(word: &str, object: &Value) -> String {
    format!("{}\n", json!({"type": word, "object": object}))
}

fn bookmark(version: u64, initial_end: bool) -> String {
    let mut metadata = json!({"resourceVersion": version.to_string()});
    if initial_end {
        metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
    }
    let object = json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": metadata,
    });
    line("BOOKMARK", &object)
}
