//! Which entry of the history a rollback goes to.

use serde_json::Value;

use super::object::{Following, Subject};
use crate::application::hold::{HoldNote, Original};
use crate::command::payload::{HoldMode, RollbackTarget};
use crate::command::{Refusal, RefusalCode};

/// An entry of `status.history` that an application can be brought back to.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) id: u64,
    /// One for each source.
    pub(super) revisions: Vec<String>,
    /// One for each revision; a single one came from `source`, others from `sources`.
    sources: Vec<Value>,
    several: bool,
}

impl Entry {
    fn read(value: &Value) -> Option<Self> {
        let text = |v: &Value| v.as_str().filter(|t| !t.is_empty()).map(str::to_owned);
        let id = value.get("id")?.as_u64()?;
        let list = |name| {
            let list = value.get(name).and_then(Value::as_array);
            list.filter(|list| !list.is_empty())
        };
        if let Some(sources) = list("sources") {
            let revisions: Vec<_> = list("revisions")?.iter().filter_map(text).collect();
            return (revisions.len() == sources.len()).then(|| Self {
                id,
                revisions,
                sources: sources.clone(),
                several: true,
            });
        }
        Some(Self {
            id,
            revisions: vec![text(value.get("revision")?)?],
            sources: vec![value.get("source").filter(|s| has_repository(s))?.clone()],
            several: false,
        })
    }

    /// The revisions, joined as everywhere else.
    pub(super) fn revision(&self) -> String {
        self.revisions.join(",")
    }

    /// The source as the history has it, for an operation.
    pub(super) fn source(&self) -> Option<Value> {
        (!self.several).then(|| self.sources.first().cloned())?
    }

    /// The sources as the history has them, for an operation.
    pub(super) fn sources(&self) -> Option<Value> {
        self.several.then(|| Value::from(self.sources.clone()))
    }

    /// The same entry with every source fixed on its revision.
    pub(super) fn pinned(&self) -> Self {
        let mut pinned = self.clone();
        for (source, revision) in pinned.sources.iter_mut().zip(&self.revisions) {
            if let Some(source) = source.as_object_mut() {
                source.insert("targetRevision".to_owned(), Value::from(revision.clone()));
            }
        }
        pinned
    }

    /// Deploys the same thing as the other: what the source follows does not matter.
    fn is_same_deploy(&self, other: &Self) -> bool {
        let bare = |entry: &Self| {
            let mut sources = entry.sources.clone();
            for source in sources.iter_mut().filter_map(Value::as_object_mut) {
                source.remove("targetRevision");
            }
            sources
        };
        self.revisions == other.revisions && bare(self) == bare(other)
    }

    fn is_at(&self, revision: &str) -> bool {
        self.revision() == revision || self.revisions.iter().any(|r| r == revision)
    }
}

fn has_repository(source: &Value) -> bool {
    source
        .get("repoURL")
        .and_then(Value::as_str)
        .is_some_and(|url| !url.is_empty())
}

/// What an application is on: what it tried last, if that failed or goes on; else what was deployed
/// last. Not `status.sync.revision`, which moves with every commit even if nothing changes by it.
pub(super) fn current_revision(subject: &Subject<'_>) -> Option<String> {
    let app = &subject.app;
    let tried = app.operation.as_ref().filter(|operation| {
        // What the comparison says while an operation is under way can be from before it.
        operation.phase.is_open() || (operation.phase.is_failure() && !app.operation_overtaken())
    });
    tried
        .and_then(|operation| operation.revision.clone())
        .or_else(|| app.history.last().map(|entry| entry.revision.clone()))
        .or_else(|| app.revision.clone())
}

/// Finds the entry that `to` names.
pub(super) fn select(
    subject: &Subject<'_>,
    to: &RollbackTarget,
    seen_healthy: &[String],
) -> Result<Entry, Refusal> {
    let history = subject.object.pointer("/status/history");
    let raw = history.and_then(Value::as_array).map_or(&[][..], |h| h);
    let entries: Vec<Entry> = raw.iter().rev().filter_map(Entry::read).collect();
    let missing = |what: String| {
        let message = format!(
            "{what} is not in the history of {}, or has no source there; \
             spec.revisionHistoryLimit says how many deploys are kept",
            subject.app.key
        );
        Refusal::new(RefusalCode::NotInHistory, message)
    };
    match to {
        RollbackTarget::Previous => previous(subject, &entries, seen_healthy),
        RollbackTarget::Revision(revision) => entries
            .into_iter()
            .find(|entry| entry.is_at(revision))
            .ok_or_else(|| missing(format!("revision {revision}"))),
        RollbackTarget::History(id) => entries
            .into_iter()
            .find(|entry| entry.id == *id)
            .ok_or_else(|| missing(format!("entry {id}"))),
    }
}

/// The newest entry that is another deploy than the current one, and one that was seen Healthy
/// before others. What a hold was put on to get away from is no candidate unless it was seen Healthy.
fn previous(
    subject: &Subject<'_>,
    newest_first: &[Entry],
    seen_healthy: &[String],
) -> Result<Entry, Refusal> {
    let current = current_revision(subject);
    let deployed = newest_first.first();
    let fled = subject.note.as_ref().and_then(|note| note.from.as_deref());
    let is_current = |entry: &Entry| match deployed {
        Some(deployed) if Some(deployed.revision()) == current => entry.is_same_deploy(deployed),
        _ => Some(entry.revision()) == current,
    };
    let was_healthy = |entry: &Entry| seen_healthy.contains(&entry.revision());
    let candidates = || newest_first.iter().filter(|entry| !is_current(entry));
    candidates()
        .find(|entry| was_healthy(entry))
        .or_else(|| candidates().find(|entry| Some(entry.revision().as_str()) != fled))
        .cloned()
        .ok_or_else(|| {
            let message = format!(
                "the history of {} holds no deploy other than the current one",
                subject.app.key
            );
            Refusal::new(RefusalCode::NothingToRollBackTo, message)
        })
}

/// What a pinned application follows.
pub(super) fn pinned(base: &Following, entry: &Entry) -> Following {
    let pinned = entry.pinned();
    Following {
        source: pinned.source(),
        sources: pinned.sources(),
        automated: base.automated.clone(),
    }
}

/// What a paused application follows: the same as before, but not by itself.
pub(super) fn paused(base: &Following) -> Following {
    let mut paused = base.clone();
    if let Some(automated) = paused.automated.as_mut().and_then(Value::as_object_mut) {
        automated.insert("enabled".to_owned(), Value::Bool(false));
    }
    paused
}

/// What of `base` the hold replaces, to be put back by `resume`.
pub(super) fn original(base: &Following, mode: HoldMode) -> Original {
    match mode {
        HoldMode::Pin => Original {
            source: base.source.clone(),
            sources: base.sources.clone(),
            automated: None,
        },
        HoldMode::Pause => Original {
            automated: base.automated.clone(),
            ..Original::default()
        },
    }
}

/// The note that a rollback leaves.
pub(super) fn note_text(note: &HoldNote) -> Result<String, Refusal> {
    serde_json::to_string(note)
        .map_err(|e| Refusal::new(RefusalCode::Conflict, format!("cannot write the hold: {e}")))
}
