//! The applications: what each was last seen as, and what of it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::culprits::Cause;
use super::notices::Noticed;
use super::{State, retain};
use crate::application::{self, Application, ApplicationKey, DeployState};
use crate::clock::Now;
use crate::command::memory::Memory;
use crate::event::{Effect, Fact};
use crate::retention::Class;
use crate::topic::Topic;
use crate::wire;

/// How long a state must last before it is an event, so that the steps of an ordinary sync, each
/// of a fraction of a second, do not become a dozen of them.
const LASTING: Duration = Duration::from_secs(1);

/// The applications that the watch has told of.
#[derive(Debug)]
pub(super) struct Applications {
    entries: BTreeMap<ApplicationKey, Entry>,
    /// What was told of applications before the agent was restarted, until they are seen again.
    remembered: BTreeMap<String, (DeployState, Option<String>)>,
}

/// One application.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) application: Application,
    pub(super) state: DeployState,
    pub(super) report: Arc<wire::App>,
    /// The state and revision that the last event told.
    pub(super) told: Option<(DeployState, Option<String>)>,
    /// When the present state is to be told, if it lasts.
    pub(super) tell_at: Option<Duration>,
    /// How its revisions fared here.
    pub(super) memory: Memory,
    /// Why it is Degraded.
    pub(super) cause: Cause,
    /// What people were told last, if it has not been well since.
    pub(super) noticed: Option<Noticed>,
}

impl Applications {
    pub(super) fn new(remembered: BTreeMap<String, (DeployState, Option<String>)>) -> Self {
        Self {
            entries: BTreeMap::new(),
            remembered,
        }
    }

    pub(super) fn get(&self, key: &ApplicationKey) -> Option<&Entry> {
        self.entries.get(key)
    }

    pub(super) fn get_mut(&mut self, key: &ApplicationKey) -> Option<&mut Entry> {
        self.entries.get_mut(key)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&ApplicationKey, &mut Entry)> {
        self.entries.iter_mut()
    }

    pub(super) fn keys(&self) -> Vec<ApplicationKey> {
        self.entries.keys().cloned().collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&ApplicationKey, &Entry)> {
        self.entries.iter()
    }

    pub(super) fn states(&self) -> impl Iterator<Item = DeployState> + '_ {
        self.entries.values().map(|entry| entry.state)
    }

    pub(super) fn any_live(&self) -> bool {
        self.states().any(|state| state != DeployState::Offline)
    }

    pub(super) fn next_deadline(&self) -> Option<Duration> {
        self.entries
            .values()
            .flat_map(|entry| [entry.tell_at, entry.cause.deadline()])
            .flatten()
            .min()
    }
}

/// States that are told at once, because a person has to act on them. The others must last.
fn is_urgent(state: DeployState) -> bool {
    matches!(
        state,
        DeployState::SecurityCheckFailed | DeployState::SyncFailed
    )
}

/// Whether two reports say the same, whenever they were made.
fn same_report(a: &wire::App, b: &wire::App) -> bool {
    let timeless = |report: &wire::App| wire::App {
        at: jiff::Timestamp::UNIX_EPOCH,
        reconciled_at: None,
        ..report.clone()
    };
    timeless(a) == timeless(b)
}

/// What there is to tell of an application.
fn describe(application: &Application, state: DeployState, cause: &Cause, now: Now) -> wire::App {
    let mut report = application::report(application, state, now.wall);
    if let Some(culprit) = cause.culprit() {
        report.culprit = Some(culprit.clone());
    }
    report
}

/// Why it is in its new state, if that is not known already.
fn follow(
    cause: Cause,
    now: Now,
    application: &Application,
    state: DeployState,
    published: Option<&wire::App>,
) -> Cause {
    let lasts = published.is_some_and(|published| {
        published.state == state && published.revision == application.revision
    });
    cause.follow(now, state, lasts, !application.suspects.is_empty())
}

impl State {
    pub(super) fn application_changed(
        &mut self,
        now: Now,
        application: Application,
        effects: &mut Vec<Effect>,
    ) {
        let key = application.key.clone();
        if !self.settings.namespaces.contains(&key.namespace) {
            return;
        }
        let (told, memory, published, cause, noticed) = match self.applications.entries.remove(&key)
        {
            Some(old) => {
                let published = Some(old.report);
                (old.told, old.memory, published, old.cause, old.noticed)
            }
            None => {
                let told = self.applications.remembered.remove(&self.topic_name(&key));
                (told, self.memory_of(&key), None, Cause::None, None)
            }
        };
        let state = self.judge_application(now, &application);
        let cause = follow(cause, now, &application, state, published.as_deref());
        let report = Arc::new(describe(&application, state, &cause, now));
        let entry = Entry {
            application,
            state,
            report,
            told,
            tell_at: None,
            memory,
            cause,
            noticed,
        };
        self.applications.entries.insert(key.clone(), entry);
        if published.is_none() {
            let name = self.topic_name(&key);
            let device = self.device();
            effects.extend(device.iter().flat_map(|it| it.announce_application(&name)));
        }
        self.application_assessed(now, &key, published.as_deref(), effects);
        self.follow_command(now, &key, effects);
    }

    /// Judges every application afresh: their states depend on the time and on the link as well.
    pub(super) fn reassess_applications(&mut self, now: Now, effects: &mut Vec<Effect>) {
        for key in self.applications.keys() {
            let Some(entry) = self.applications.entries.get(&key) else {
                continue;
            };
            let state = self.judge_application(now, &entry.application);
            let due = entry.tell_at.is_some_and(|at| at <= now.monotonic);
            if state == entry.state && !due {
                continue;
            }
            let published = Arc::clone(&entry.report);
            if let Some(entry) = self.applications.entries.get_mut(&key)
                && state != entry.state
            {
                entry.state = state;
                let cause = std::mem::take(&mut entry.cause);
                entry.cause = follow(cause, now, &entry.application, state, Some(&published));
                entry.describe(now);
            }
            self.application_assessed(now, &key, Some(&published), effects);
        }
    }

    fn judge_application(&self, now: Now, application: &Application) -> DeployState {
        if self.watch_is_stale(now) {
            return DeployState::Offline;
        }
        application::deploy_state(application, &self.settings.rules, now.wall)
    }

    /// Publishes what has changed of an application, and sees to its event.
    pub(super) fn application_assessed(
        &mut self,
        now: Now,
        key: &ApplicationKey,
        published: Option<&wire::App>,
        effects: &mut Vec<Effect>,
    ) {
        let name = self.topic_name(key);
        let Some(entry) = self.applications.entries.get_mut(key) else {
            return;
        };
        if published.is_none_or(|published| !same_report(published, &entry.report)) {
            retain(effects, Topic::Application(name.clone()), &*entry.report);
        }
        let current = (entry.state, entry.report.revision.clone());
        if entry.told.as_ref() == Some(&current) {
            entry.tell_at = None;
            self.learn(key, effects);
        } else if is_urgent(entry.state) || entry.tell_at.is_some_and(|at| at <= now.monotonic) {
            effects.push(entry.tell(now, &name));
            effects.extend(entry.notice(now, &name));
            self.learn(key, effects);
            self.consider_auto_rollback(now, key, effects);
        } else {
            let due = now.monotonic + LASTING;
            // The clock starts anew with each change: only what lasts is told.
            let changed = published.is_none_or(|published| {
                published.state != entry.state || published.revision != entry.report.revision
            });
            if changed || entry.tell_at.is_none() {
                entry.tell_at = Some(due);
            }
        }
    }

    /// Takes note of how a revision fares, and writes it down when that is new.
    fn learn(&mut self, key: &ApplicationKey, effects: &mut Vec<Effect>) {
        let entry = self.applications.entries.get_mut(key);
        let learnt = entry.and_then(|entry| entry.learn().then(|| entry.memory.clone()));
        if let Some(memory) = learnt {
            self.remember(memory, effects);
        }
    }

    pub(super) fn application_deleted(
        &mut self,
        now: Now,
        key: &ApplicationKey,
        effects: &mut Vec<Effect>,
    ) {
        let Some(entry) = self.applications.entries.remove(key) else {
            return;
        };
        let name = self.topic_name(key);
        self.clear_application(&name, effects);
        effects.push(Effect::Record(Fact {
            class: Class::DeployState,
            kind: "edge.app.deleted".into(),
            subject: name,
            at: now.wall,
            data: json!({
                "application": key.name,
                "namespace": key.namespace,
                "previous": entry.told.map(|(state, _)| state),
            }),
        }));
        self.command_lost_application(now, key, effects);
    }

    /// Nothing is left of an application on the broker.
    fn clear_application(&self, name: &str, effects: &mut Vec<Effect>) {
        let device = self.device();
        effects.extend(device.iter().flat_map(|it| it.withdraw_application(name)));
        effects.push(Effect::Retain {
            topic: Topic::Application(name.to_owned()),
            payload: Vec::new(),
        });
    }

    pub(super) fn applications_listed(
        &mut self,
        now: Now,
        namespace: &str,
        present: &BTreeSet<ApplicationKey>,
        effects: &mut Vec<Effect>,
    ) {
        for key in self.applications.keys() {
            if key.namespace == namespace && !present.contains(&key) {
                self.application_deleted(now, &key, effects);
            }
        }
        self.forget_remembered(now, namespace, effects);
    }

    /// An application that was told of before the restart and is not there any more was deleted in
    /// the meantime; its retained topic must go.
    fn forget_remembered(&mut self, now: Now, namespace: &str, effects: &mut Vec<Effect>) {
        let first = self
            .settings
            .namespaces
            .first()
            .is_some_and(|first| first == namespace);
        let prefix = format!("{namespace}_");
        let belongs = |name: &String| {
            name.strip_prefix(&prefix)
                .map_or(first && !name.contains('_'), |_| !first)
        };
        let gone: Vec<String> = self
            .applications
            .remembered
            .keys()
            .filter(|name| belongs(name))
            .cloned()
            .collect();
        for name in gone {
            let previous = self
                .applications
                .remembered
                .remove(&name)
                .map(|(state, _)| state);
            self.clear_application(&name, effects);
            let application = name.strip_prefix(&prefix).unwrap_or(&name).to_owned();
            effects.push(Effect::Record(Fact {
                class: Class::DeployState,
                kind: "edge.app.deleted".into(),
                subject: name,
                at: now.wall,
                data: json!({
                    "application": application,
                    "namespace": namespace,
                    "previous": previous,
                }),
            }));
        }
    }
}

impl Entry {
    /// Makes the report afresh.
    pub(super) fn describe(&mut self, now: Now) {
        self.report = Arc::new(describe(&self.application, self.state, &self.cause, now));
    }

    /// Takes note of how a revision fares here. True when that is new. Only of a state that is told,
    /// because it has lasted: right after a sync the health of before shows on the new revision for
    /// a moment.
    fn learn(&mut self) -> bool {
        let Some(revision) = &self.report.revision else {
            return false;
        };
        match self.state {
            DeployState::Healthy | DeployState::RolledBack => self.memory.note_healthy(revision),
            DeployState::Degraded => self.memory.note_failed(revision),
            _ => false,
        }
    }
}
