//! The object that a plan is made for, seen both ways: reduced, and whole.

use serde_json::Value;

use crate::application::hold::HoldNote;
use crate::application::{Application, HOLD_ANNOTATION, Phase};
use crate::command::payload::HoldMode;
use crate::command::{Refusal, RefusalCode};

/// An Application as the API server gave it.
pub(super) struct Subject<'a> {
    pub(super) object: &'a Value,
    pub(super) app: Application,
    /// The hold that is in force, with what it has replaced.
    pub(super) note: Option<HoldNote>,
}

impl<'a> Subject<'a> {
    pub(super) fn read(object: &'a Value) -> Result<Self, Refusal> {
        let app = Application::from_value(object)
            .map_err(|e| Refusal::new(RefusalCode::ApplicationNotFound, e.to_string()))?;
        let note = app.hold.as_ref().and_then(|_| {
            let text = annotation(object, HOLD_ANNOTATION)?;
            serde_json::from_str(text).ok()
        });
        Ok(Self { object, app, note })
    }

    /// The part of the spec that a hold changes.
    pub(super) fn following(&self) -> Following {
        let at = |pointer| self.object.pointer(pointer).cloned();
        Following {
            source: at("/spec/source").filter(Value::is_object),
            sources: at("/spec/sources")
                .filter(|list| list.as_array().is_some_and(|list| !list.is_empty())),
            automated: at("/spec/syncPolicy/automated").filter(Value::is_object),
        }
    }

    /// An operation was started and is not over.
    pub(super) fn operation_runs(&self) -> bool {
        self.app
            .operation
            .as_ref()
            .is_some_and(|operation| operation.phase.is_open())
    }

    pub(super) fn operation_is_ending(&self) -> bool {
        self.app
            .operation
            .as_ref()
            .is_some_and(|operation| operation.phase == Phase::Terminating)
    }

    /// Who writes this Application, if it is not a person: an ApplicationSet, or the Application
    /// that it is a resource of.
    pub(super) fn parent(&self) -> Option<String> {
        let owners = self.object.pointer("/metadata/ownerReferences");
        let owner = owners.and_then(Value::as_array).and_then(|owners| {
            owners.iter().find_map(|owner| {
                let kind = owner.get("kind")?.as_str()?;
                let name = owner.get("name").and_then(Value::as_str).unwrap_or("");
                matches!(kind, "ApplicationSet" | "Application").then(|| format!("{kind} {name}"))
            })
        });
        let tracked = || {
            let id = annotation(self.object, "argocd.argoproj.io/tracking-id")?;
            let parent = id.split(':').next().filter(|name| !name.is_empty())?;
            Some(format!("Application {parent}"))
        };
        let labelled = || {
            let label = self.object.pointer("/metadata/labels")?;
            let parent = label.get("app.kubernetes.io/instance")?.as_str()?;
            (!parent.is_empty() && parent != self.app.key.name)
                .then(|| format!("Application {parent}"))
        };
        owner.or_else(tracked).or_else(labelled)
    }
}

pub(super) fn annotation<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.pointer("/metadata/annotations")?.get(name)?.as_str()
}

/// What an Application follows, and whether it does so by itself.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Following {
    pub(super) source: Option<Value>,
    pub(super) sources: Option<Value>,
    pub(super) automated: Option<Value>,
}

impl Following {
    /// As it was before the hold.
    pub(super) fn before(mut self, note: Option<&HoldNote>) -> Self {
        let Some(note) = note else { return self };
        let original = note.original.clone();
        match note.mode {
            HoldMode::Pin if original.source.is_some() || original.sources.is_some() => {
                self.source = original.source;
                self.sources = original.sources;
            }
            HoldMode::Pause if original.automated.is_some() => {
                self.automated = original.automated;
            }
            HoldMode::Pin | HoldMode::Pause => {}
        }
        self
    }

    pub(super) fn auto_sync(&self) -> bool {
        self.automated
            .as_ref()
            .is_some_and(|automated| automated.get("enabled") != Some(&Value::Bool(false)))
    }

    pub(super) fn prunes(&self) -> bool {
        self.automated
            .as_ref()
            .is_some_and(|automated| automated.get("prune") == Some(&Value::Bool(true)))
    }
}
