//! What is ordered of each node: the settings that say it, and the signed command.

use std::time::Duration;

use edge_agent_core::command::envelope::{COMMAND_TYPE, SigningKey, seal};
use edge_agent_core::command::payload::{Action, Command, OnFailure, RollbackTarget};
use edge_agent_core::topic::NodeName;
use jiff::Timestamp;

use super::build::Build;
use super::variables::Variables;

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Work {
    pub(super) target: Target,
    pub(super) application: String,
    images: Vec<String>,
    pub(super) on_failure: OnFailure,
    timeout: Duration,
}

/// Where an application is to go.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Target {
    Rollout(String),
    Rollback(RollbackTarget),
    Resume,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Auto,
    Rollout,
    Rollback,
    Resume,
}

impl Target {
    /// Reads the settings that say what is to be done.
    pub(super) fn read(variables: &mut Variables<'_>, build: Option<&Build>) -> Option<Work> {
        let kind = variables.choice(
            "action",
            &[
                ("auto", Kind::Auto),
                ("rollout", Kind::Rollout),
                ("rollback", Kind::Rollback),
                ("resume", Kind::Resume),
            ],
        );
        let application = variables.needed("application").map(str::to_owned);
        let revision = revision(variables);
        let images = images(variables);
        let on_failure = variables.choice(
            "on_failure",
            &[("none", OnFailure::None), ("rollback", OnFailure::Rollback)],
        );
        let on_failure = on_failure.unwrap_or_default();
        let build = build?;
        let (kind, images, on_failure) = match kind.unwrap_or(Kind::Auto) {
            // One step for all events says what it wants of its rollouts, too.
            Kind::Auto => match by_event(variables, &build.event)? {
                Kind::Rollout => (Kind::Rollout, images, on_failure),
                kind => (kind, Vec::new(), OnFailure::None),
            },
            kind => (kind, images, on_failure),
        };
        if kind != Kind::Rollout && on_failure == OnFailure::Rollback {
            variables.fault("on_failure", "belongs to a rollout");
        }
        if kind != Kind::Rollout && !images.is_empty() {
            variables.fault("images", "belong to a rollout");
        }
        let target = match (kind, revision.or(build.commit.clone())) {
            (Kind::Resume, _) => Self::Resume,
            (Kind::Rollback, Some(revision)) if revision == "previous" => {
                Self::Rollback(RollbackTarget::Previous)
            }
            (Kind::Rollback, Some(revision)) => Self::Rollback(RollbackTarget::Revision(revision)),
            (_, Some(revision)) => Self::Rollout(revision),
            (_, None) => {
                variables.fault("revision", "is missing, and DRONE_COMMIT_SHA is not set");
                return None;
            }
        };
        let work = Work {
            target,
            application: application?,
            images,
            on_failure,
            timeout: Duration::from_secs(1),
        };
        // What no node would take is told before anything is sent.
        if let Err(refusal) = work
            .command("check", "node", 0, Duration::from_secs(1), &work.action())
            .check()
        {
            variables.fault("settings", refusal.message);
        }
        Some(work)
    }
}

impl Target {
    /// What is done, and the commit that was asked for.
    pub(super) fn words(&self) -> (&'static str, Option<String>) {
        match self {
            Self::Rollout(revision) => ("rollout", Some(revision.clone())),
            Self::Rollback(RollbackTarget::Revision(revision)) => {
                ("rollback", Some(revision.clone()))
            }
            Self::Rollback(_) => ("rollback", None),
            Self::Resume => ("resume", None),
        }
    }
}

fn by_event(variables: &mut Variables<'_>, event: &str) -> Option<Kind> {
    match event {
        "promote" | "custom" | "push" => Some(Kind::Rollout),
        "rollback" => Some(Kind::Rollback),
        other => {
            let other: String = other.chars().take(40).collect();
            variables.fault(
                "action",
                format!(
                    "does not follow from the event `{other}`: say rollout, rollback or resume"
                ),
            );
            None
        }
    }
}

fn revision(variables: &mut Variables<'_>) -> Option<String> {
    let given = variables
        .text("revision")
        .map(|text| text.trim().to_owned());
    let from_file = variables.lines_of_file("revision_file");
    match (given, from_file) {
        (Some(_), Some(_)) => {
            variables.fault("revision_file", "and revision exclude each other");
            None
        }
        (given, None) => given,
        (None, Some(lines)) => {
            if lines.len() != 1 {
                variables.fault("revision_file", "must have exactly one line");
            }
            lines.into_iter().next()
        }
    }
}

fn images(variables: &mut Variables<'_>) -> Vec<String> {
    let mut images: Vec<String> = variables
        .list("images")
        .into_iter()
        .map(str::to_owned)
        .collect();
    images.extend(variables.lines_of_file("images_file").unwrap_or_default());
    images
}

impl Work {
    pub(super) fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// What a node is told to do.
    pub(super) fn action(&self) -> Action {
        let application = self.application.clone();
        match &self.target {
            Target::Rollout(revision) => Action::Rollout {
                application,
                revision: revision.clone(),
                images: self.images.clone(),
                timeout: self.timeout,
                on_failure: self.on_failure,
            },
            Target::Rollback(to) => Action::Rollback {
                application,
                to: to.clone(),
                hold: None,
                prune: false,
                allow_managed: false,
            },
            Target::Resume => Action::Resume { application },
        }
    }

    /// What a node is told that was changed before another one failed.
    pub(super) fn undoing(&self) -> Action {
        Action::Rollback {
            application: self.application.clone(),
            to: RollbackTarget::Previous,
            hold: None,
            prune: false,
            allow_managed: false,
        }
    }

    /// The revision that the application is to reach, where it is known beforehand.
    pub(super) fn revision(&self) -> Option<&str> {
        match &self.target {
            Target::Rollout(revision) | Target::Rollback(RollbackTarget::Revision(revision)) => {
                Some(revision)
            }
            _ => None,
        }
    }

    /// For a person.
    pub(super) fn title(&self) -> String {
        let to = self
            .revision()
            .map_or(String::new(), |to| format!(" to {to}"));
        format!("{} of {}{to}", self.action().name(), self.application)
    }

    fn command(
        &self,
        id: &str,
        node: &str,
        milliseconds: i64,
        ttl: Duration,
        action: &Action,
    ) -> Command {
        let issued_at = milliseconds.div_euclid(1000);
        Command {
            id: id.to_owned(),
            audience: vec![node.to_owned()],
            sequence: u64::try_from(milliseconds).unwrap_or_default(),
            issued_at,
            expires_at: issued_at.saturating_add(i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX)),
            action: action.clone(),
        }
    }

    /// The envelope of a command.
    pub(super) fn envelope(
        &self,
        (id, node): (&str, &NodeName),
        action: &Action,
        (now, ttl): (Timestamp, Duration),
        (key_id, key): (&str, &SigningKey),
    ) -> Vec<u8> {
        let command = self.command(id, node.as_str(), now.as_millisecond(), ttl, action);
        seal(COMMAND_TYPE, &command.to_json(), &[(key_id, key)])
    }
}
