//! What is to be written for an order, or why nothing is. The ground for the forms of the patches
//! is what was measured on the real controller: a new operation written while one runs is lost, an
//! operation to an older revision under auto-sync is undone at once, and a pin is not.

use serde_json::{Map, Value, json};

use super::ending;
use super::object::{Following, Subject, annotation};
use super::patch::Patch;
use super::target::{self, Entry};
use super::{Applied, Order, OrderKind, Plan, refresh_word};
use crate::application::hold::HoldNote;
use crate::application::{COMMAND_ANNOTATION, HOLD_ANNOTATION, REFRESH_ANNOTATION};
use crate::command::payload::{HoldMode, RollbackTarget};
use crate::command::{Refusal, RefusalCode};

/// How often Argo CD's auto-sync tries again where the Application does not say.
const AUTO_SYNC_RETRIES: u32 = 5;

/// Makes the plan for an order, on the object as the API server gave it. `node` goes into
/// `initiatedBy` of an operation.
///
/// # Errors
/// The refusal, when the order cannot be carried out on this object.
pub fn plan(object: &Value, order: &Order, node: &str) -> Result<Plan, Refusal> {
    let subject = Subject::read(object)?;
    if order.kind != OrderKind::Lookup {
        refuse_untouchable(&subject)?;
    }
    let planner = Planner {
        subject: &subject,
        order,
        node,
    };
    match &order.kind {
        OrderKind::Lookup => Ok(Plan {
            patch: None,
            refresh: None,
            preparatory: false,
            applied: trace(object, &order.command).unwrap_or_else(nothing_to_wait_for),
        }),
        OrderKind::Refresh { hard } => Ok(Plan {
            patch: None,
            refresh: Some(*hard),
            preparatory: false,
            applied: nothing_to_wait_for(),
        }),
        OrderKind::Rollout { revision } => planner.rollout(revision),
        OrderKind::Resume => Ok(planner.resume()),
        OrderKind::Rollback {
            to,
            hold,
            prune,
            allow_managed,
            seen_healthy,
        } => planner.rollback(&Rollback {
            to,
            hold: *hold,
            prune: *prune,
            allow_managed: *allow_managed,
            seen_healthy,
        }),
    }
}

/// Whether the object shows that a command was carried out on it, and what there is to wait for.
#[must_use]
pub fn trace(object: &Value, order: &str) -> Option<Applied> {
    let subject = Subject::read(object).ok()?;
    let ours = |id: Option<&str>| id == Some(order);
    let annotated = || ours(annotation(object, COMMAND_ANNOTATION));
    // A hold of the node's own names no command, but the annotation beside it does.
    let is_hold = |note: &HoldNote| match &note.command {
        Some(command) => command == order,
        None => annotated(),
    };
    if let Some(note) = subject.note.filter(is_hold) {
        return Some(Applied {
            revision: Some(note.to),
            from: note.from,
            hold: Some(note.mode),
        });
    }
    let requested = || {
        let info = object.pointer("/operation/info")?.as_array()?;
        let has_id = info.iter().any(|entry| {
            entry.get("name").and_then(Value::as_str) == Some(COMMAND_ANNOTATION)
                && ours(entry.get("value").and_then(Value::as_str))
        });
        has_id.then(|| {
            let revision = object.pointer("/operation/sync/revision");
            revision.and_then(Value::as_str).map(str::to_owned)
        })
    };
    let started = || {
        let operation = subject.app.operation.as_ref();
        operation
            .filter(|operation| ours(operation.command.as_deref()))
            .map(|operation| operation.revision.clone())
    };
    let revision = requested()
        .or_else(started)
        .or_else(|| annotated().then_some(None))?;
    Some(Applied {
        revision,
        ..nothing_to_wait_for()
    })
}

fn nothing_to_wait_for() -> Applied {
    Applied {
        revision: None,
        from: None,
        hold: None,
    }
}

fn refuse_untouchable(subject: &Subject<'_>) -> Result<(), Refusal> {
    let key = &subject.app.key;
    if subject.app.deleting {
        let message = format!("{key} is being deleted");
        return Err(Refusal::new(RefusalCode::ApplicationDeleting, message));
    }
    if subject.app.skip_reconcile {
        let message = format!(
            "{key} carries argocd.argoproj.io/skip-reconcile, so Argo CD would not act on it; \
             take the annotation away first"
        );
        return Err(Refusal::new(RefusalCode::SkipReconcile, message));
    }
    Ok(())
}

struct Rollback<'a> {
    to: &'a RollbackTarget,
    hold: Option<HoldMode>,
    prune: bool,
    allow_managed: bool,
    seen_healthy: &'a [String],
}

struct Planner<'a> {
    subject: &'a Subject<'a>,
    order: &'a Order,
    node: &'a str,
}

impl Planner<'_> {
    fn rollout(&self, revision: &str) -> Result<Plan, Refusal> {
        let app = &self.subject.app;
        let is = self.subject.following();
        let base = is.clone().before(self.subject.note.as_ref());
        let applied = Applied {
            revision: Some(revision.to_owned()),
            from: app.revision.clone(),
            hold: None,
        };
        // Auto-sync does not try a revision again that has failed; whoever orders it wants that.
        let failed_before = !app.operation_in_progress()
            && app.operation.as_ref().is_some_and(|operation| {
                operation.phase.is_failure() && operation.revision.as_deref() == Some(revision)
            });
        let operates = !base.auto_sync() || (failed_before && self.subject.note.is_none());
        if !operates && self.subject.note.is_none() {
            return Ok(Plan {
                patch: None,
                refresh: Some(false),
                preparatory: false,
                applied,
            });
        }
        let mut patch = self.patch();
        self.give_back(&mut patch, &base, &is);
        if operates {
            if app.operation_in_progress() {
                return Err(self.operation_in_progress());
            }
            patch.operate(self.sync_operation(&base, revision));
        }
        Ok(one_patch(patch, applied))
    }

    fn resume(&self) -> Plan {
        let applied = Applied {
            revision: None,
            from: self.subject.app.revision.clone(),
            hold: None,
        };
        let is = self.subject.following();
        let base = is.clone().before(self.subject.note.as_ref());
        let mut patch = self.patch();
        self.give_back(&mut patch, &base, &is);
        one_patch(patch, applied)
    }

    fn rollback(&self, wanted: &Rollback<'_>) -> Result<Plan, Refusal> {
        let subject = self.subject;
        if subject.object.pointer("/spec/sourceHydrator").is_some() {
            let message = format!(
                "{} has a hydrated source, whose revision cannot be chosen; revert in git",
                subject.app.key
            );
            return Err(Refusal::new(RefusalCode::HydratedSource, message));
        }
        let is = subject.following();
        let base = is.clone().before(subject.note.as_ref());
        let mode = self.hold_mode(wanted.hold, &base);
        if mode.is_some() && !wanted.allow_managed {
            self.refuse_managed()?;
        }
        let entry = target::select(subject, wanted.to, wanted.seen_healthy)?;
        let applied = Applied {
            revision: Some(entry.revision()),
            from: target::current_revision(subject),
            hold: mode,
        };
        let follows_pin = mode == Some(HoldMode::Pin) && base.auto_sync();
        // Auto-sync does not try again what it sees ended, so an operation to the target itself has to
        // make room for ours too.
        let tries_target = (subject.app.operation.as_ref())
            .is_some_and(|operation| operation.revision == applied.revision);
        let runs = subject.operation_runs();
        // One that is asked for is somebody's, and may be in the hands of Argo CD already.
        let is_awaited = subject.app.operation_requested && !runs;
        if is_awaited || (runs && (!follows_pin || tries_target)) {
            // An operation that would be written now is lost, so the one under way has to end first.
            return Ok(ending::end_operation(subject, applied));
        }
        let held = match mode {
            Some(HoldMode::Pin) => target::pinned(&base, &entry),
            Some(HoldMode::Pause) => target::paused(&base),
            None => base.clone(),
        };
        let mut patch = self.patch();
        patch.follow(&held, &is);
        let note = self.note(&base, &applied, mode)?;
        patch.annotate(HOLD_ANNOTATION, note.as_deref());
        if subject.operation_runs() {
            // Auto-sync follows the pin by itself as soon as the operation is over.
            if !subject.operation_is_ending() {
                patch.terminate();
            }
        } else {
            let entry = match mode {
                Some(HoldMode::Pin) => entry.pinned(),
                _ => entry,
            };
            let prune = wanted.prune || (follows_pin && base.prunes());
            patch.operate(self.rollback_operation(&entry, &base, prune));
        }
        Ok(one_patch(patch, applied))
    }

    /// A hold that is on stays of its kind; one that would have nothing to do is none.
    fn hold_mode(&self, wanted: Option<HoldMode>, base: &Following) -> Option<HoldMode> {
        match wanted {
            Some(HoldMode::Pin) => Some(HoldMode::Pin),
            Some(HoldMode::Pause) => base.auto_sync().then_some(HoldMode::Pause),
            None => match &self.subject.note {
                Some(note) => Some(note.mode),
                None => base.auto_sync().then_some(HoldMode::Pin),
            },
        }
    }

    fn note(
        &self,
        base: &Following,
        applied: &Applied,
        mode: Option<HoldMode>,
    ) -> Result<Option<String>, Refusal> {
        let Some(mode) = mode else { return Ok(None) };
        let note = HoldNote {
            mode,
            from: applied.from.clone(),
            to: applied.revision.clone().unwrap_or_default(),
            command: self
                .order
                .cause
                .is_none()
                .then(|| self.order.command.clone()),
            reason: self.order.cause.clone(),
            since: Some(self.order.at),
            original: target::original(base, mode),
        };
        target::note_text(&note).map(Some)
    }

    fn patch(&self) -> Patch<'_> {
        let mut patch = Patch::of(self.subject);
        patch.annotate(COMMAND_ANNOTATION, Some(&self.order.command));
        patch
    }

    /// Ends our hold, and has Argo CD compare with what is followed then.
    fn give_back(&self, patch: &mut Patch<'_>, base: &Following, is: &Following) {
        patch.follow(base, is);
        patch.annotate(HOLD_ANNOTATION, None);
        patch.annotate(REFRESH_ANNOTATION, Some(refresh_word(false)));
    }

    fn rollback_operation(&self, entry: &Entry, base: &Following, prune: bool) -> Value {
        let mut sync = Map::new();
        if let Some(sources) = entry.sources() {
            sync.insert("sources".to_owned(), sources);
            sync.insert("revisions".to_owned(), json!(entry.revisions));
        } else {
            sync.insert("source".to_owned(), json!(entry.source()));
            sync.insert("revision".to_owned(), json!(entry.revision()));
        }
        // As `argocd app rollback` does: hooks do not run, so that no check of today keeps back
        // what passed it before.
        sync.insert("syncStrategy".to_owned(), json!({"apply": {}}));
        // Auto-sync would try again too, and does not take up an operation of ours that has failed:
        // an API server that is away for a moment must not end an emergency.
        let retry = base
            .auto_sync()
            .then(|| json!({"limit": AUTO_SYNC_RETRIES}));
        self.operation(sync, prune, retry)
    }

    fn sync_operation(&self, base: &Following, revision: &str) -> Value {
        let mut sync = Map::new();
        if let Some(sources) = &base.sources {
            // One revision cannot say where several sources are to go: each goes to what it follows.
            sync.insert("sources".to_owned(), sources.clone());
        } else {
            sync.insert("source".to_owned(), json!(base.source));
            sync.insert("revision".to_owned(), json!(revision));
        }
        self.operation(sync, base.prunes(), None)
    }

    /// `retry` says how often it is tried again when the Application does not.
    fn operation(&self, mut sync: Map<String, Value>, prune: bool, retry: Option<Value>) -> Value {
        if prune {
            sync.insert("prune".to_owned(), Value::Bool(true));
        }
        if let Some(options) = self.subject.object.pointer("/spec/syncPolicy/syncOptions") {
            sync.insert("syncOptions".to_owned(), options.clone());
        }
        let mut operation = json!({
            "initiatedBy": {"username": format!("edge-agent:{}", self.node)},
            "info": [{"name": COMMAND_ANNOTATION, "value": self.order.command}],
            "sync": sync,
        });
        let policy = self
            .subject
            .object
            .pointer("/spec/syncPolicy/retry")
            .cloned();
        if let Some(retry) = policy.or(retry) {
            operation["retry"] = retry;
        }
        operation
    }

    fn refuse_managed(&self) -> Result<(), Refusal> {
        let Some(parent) = self.subject.parent() else {
            return Ok(());
        };
        let message = format!(
            "{} is written by {parent}, which would undo the hold; set ignoreApplicationDifferences \
             (or ignoreDifferences) there for /spec/source and /spec/syncPolicy, and order it with \
             allow_managed",
            self.subject.app.key
        );
        Err(Refusal::new(RefusalCode::ManagedByParent, message))
    }

    fn operation_in_progress(&self) -> Refusal {
        let message = format!(
            "an operation on {} is under way, and Argo CD takes no other one meanwhile; \
             wait for its end, or roll back, which ends it",
            self.subject.app.key
        );
        Refusal::new(RefusalCode::OperationInProgress, message)
    }
}

fn one_patch(patch: Patch<'_>, applied: Applied) -> Plan {
    Plan {
        patch: Some(patch.finish()),
        refresh: None,
        preparatory: false,
        applied,
    }
}
