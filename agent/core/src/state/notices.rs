//! What is told of an application and of commands: the event of a state, and besides it the few things
//! that people are told, each once.

use serde_json::json;

use super::applications::Entry;
use super::shorten;
use crate::application::DeployState;
use crate::clock::Now;
use crate::event::{Effect, Fact};
use crate::notice::{Notice, NoticeKind};
use crate::retention::Class;
use crate::wire::ResultState;

/// The longest text of a notice, bytes.
const MAX_TEXT: usize = 1024;

/// What a notice said of an application: the state, and the revision that it is about.
pub(super) type Noticed = (DeployState, Option<String>);

impl Entry {
    /// The event that tells the present state; its sizes are bounded, because an event that is too
    /// large for the outbox would be lost.
    pub(super) fn tell(&mut self, now: Now, name: &str) -> Effect {
        let previous = self
            .told
            .replace((self.state, self.report.revision.clone()));
        self.tell_at = None;
        let report = &self.report;
        let message = report
            .operation
            .as_ref()
            .and_then(|operation| operation.message.as_deref())
            .map(|message| shorten(message, 1024));
        let culprit = report.culprit.as_ref().map(|culprit| {
            json!({
                "kind": shorten(&culprit.kind, 128),
                "namespace": shorten(&culprit.namespace, 128),
                "name": shorten(&culprit.name, 256),
                "message": shorten(&culprit.message, 1024),
            })
        });
        let images: Vec<&str> = report
            .images
            .iter()
            .take(8)
            .map(|image| shorten(image, 256))
            .collect();
        Effect::Record(Fact {
            class: Class::DeployState,
            kind: "edge.app.state".into(),
            subject: name.to_owned(),
            at: now.wall,
            data: json!({
                "application": report.application,
                "namespace": report.namespace,
                "state": self.state,
                "previous": previous.map(|(state, _)| state),
                "revision": report.revision,
                "images": images,
                "message": message,
                "culprit": culprit,
                "hold": report.hold,
            }),
        })
    }

    /// That a deploy went wrong. Told once for a revision, and again only when the application was well
    /// in between: one that wavers is not to fill a channel.
    pub(super) fn notice(&mut self, now: Now, name: &str) -> Option<Effect> {
        let (kind, what) = match self.state {
            DeployState::SecurityCheckFailed => (
                NoticeKind::GateFailed,
                "a security check stopped the deploy",
            ),
            DeployState::SyncFailed => (NoticeKind::DeployFailed, "the sync failed"),
            DeployState::Degraded => (NoticeKind::DeployFailed, "it is Degraded"),
            DeployState::Healthy | DeployState::RolledBack => {
                self.noticed = None;
                return None;
            }
            _ => return None,
        };
        let operation = self.report.operation.as_ref();
        let attempted = self.application.operation.as_ref();
        let revision = match self.state {
            // What runs is still the revision before.
            DeployState::Degraded => self.report.revision.clone(),
            _ => attempted.and_then(|it| it.revision.clone()),
        };
        let noticed = Some((self.state, revision.clone()));
        if self.noticed == noticed {
            return None;
        }
        self.noticed = noticed;
        let message = match &self.report.culprit {
            Some(it) => format!("{} {}: {}", it.kind, it.name, it.message),
            None => operation
                .and_then(|it| it.message.clone())
                .unwrap_or_default(),
        };
        Some(Effect::Notify(Box::new(Notice {
            kind,
            good: false,
            title: format!("{name}: {what}"),
            application: Some(name.to_owned()),
            revision,
            who: Vec::new(),
            message: shorten(&message, MAX_TEXT).to_owned(),
            at: now.wall,
        })))
    }
}

/// How a command, or a rollback of the node's own (which has a cause), came to its end. Nothing for
/// what changes no application, and for refusals: those are answered to whoever commanded.
pub(super) fn of_command(
    now: Now,
    (cmd, application, keys): (Option<&str>, Option<&String>, &[String]),
    cause: Option<&String>,
    (state, revision, message): (ResultState, Option<&String>, &str),
) -> Option<Effect> {
    let application = application?;
    let good = state == ResultState::Succeeded;
    let (kind, title) = match (cause, cmd) {
        (Some(_), _) if good => (
            NoticeKind::RolledBack,
            "the node rolled back by itself".to_owned(),
        ),
        (Some(_), _) => (
            NoticeKind::RolledBack,
            format!(
                "the node could not roll back by itself ({})",
                state.as_str()
            ),
        ),
        (None, Some(cmd @ ("rollout" | "rollback" | "resume")))
            if state != ResultState::Rejected =>
        {
            (NoticeKind::Command, format!("{cmd} {}", state.as_str()))
        }
        _ => return None,
    };
    let message = match cause {
        Some(cause) => format!("{cause}; {message}"),
        None => message.to_owned(),
    };
    Some(Effect::Notify(Box::new(Notice {
        kind,
        good,
        title: format!("{application}: {title}"),
        application: Some(application.clone()),
        revision: revision.cloned(),
        who: keys.to_vec(),
        message: shorten(&message, MAX_TEXT).to_owned(),
        at: now.wall,
    })))
}
