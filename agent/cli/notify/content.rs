//! What the message says: from the arguments, from the result of `edge-agent drone`, and from the variables
//! of Drone, in this order.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::ValueEnum;
use edge_agent_core::gate::is_commit;
use jiff::Timestamp;

use crate::cli::drone::outcome::{NodeResult, StepResult};
use crate::gate::secret;
use crate::notify::message::{Message, Node, Outcome, short};

/// The largest result that is read, bytes: a thousand nodes with their messages.
const MAX_RESULT: u64 = 4 * 1024 * 1024;

/// What is told.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "What is told")]
pub(super) struct ContentArgs {
    /// The result that `edge-agent drone` wrote; where the step did not come so far, there is none
    #[arg(long, value_name = "FILE")]
    pub(super) result: Option<PathBuf>,
    /// How it ended [default: by the result and DRONE_BUILD_STATUS]
    #[arg(long, value_enum)]
    pub(super) status: Option<Status>,
    /// The first line [default: made of the others]
    #[arg(long, value_name = "TEXT")]
    pub(super) title: Option<String>,
    /// Why, or what it is about [default: DRONE_COMMIT_MESSAGE]
    #[arg(long, value_name = "TEXT")]
    pub(super) message: Option<String>,
    /// File that says why it failed, such as the one that `edge-agent gate --termination-log` fills; where
    /// the pipeline did not come so far, there is none
    #[arg(long, value_name = "FILE")]
    pub(super) reason_file: Option<PathBuf>,
    /// Application [default: by the result, or DRONE_REPO_NAME]
    #[arg(long, value_name = "NAME")]
    pub(super) application: Option<String>,
    /// Environment, group or node [default: DRONE_DEPLOY_TO]
    #[arg(long = "where", value_name = "PLACE")]
    pub(super) place: Option<String>,
    /// Commit [default: by the result, or DRONE_COMMIT_SHA]
    #[arg(long, value_name = "SHA")]
    pub(super) revision: Option<String>,
    /// File that has it; where the pipeline did not come so far, there is none
    #[arg(long, value_name = "FILE", conflicts_with = "revision")]
    pub(super) revision_file: Option<PathBuf>,
    /// Address of the commit [default: DRONE_COMMIT_LINK, or made of DRONE_REPO_LINK]
    #[arg(long, value_name = "URL")]
    pub(super) revision_link: Option<String>,
    /// Branch or tag of the commit [default: DRONE_TAG, or DRONE_COMMIT_BRANCH]
    #[arg(long = "ref", value_name = "NAME")]
    pub(super) reference: Option<String>,
    /// Where more is to be read [default: DRONE_BUILD_LINK]
    #[arg(long, value_name = "URL")]
    pub(super) link: Option<String>,
    /// Who did it [default: DRONE_BUILD_TRIGGER, or DRONE_COMMIT_AUTHOR_NAME]
    #[arg(long, value_name = "NAME")]
    pub(super) who: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Status {
    Success,
    Failure,
}

/// Gives the value of a variable that is set and not empty.
type Variable<'v> = &'v dyn Fn(&str) -> Option<String>;

impl ContentArgs {
    /// # Errors
    /// When the result cannot be read, or nothing says how it ended.
    pub(super) fn message(
        &self,
        variable: Variable<'_>,
        now: Timestamp,
    ) -> anyhow::Result<Message> {
        let result = self.read_result()?;
        let outcome = self.outcome(result.as_ref(), variable)?;
        let asked = result.as_ref().and_then(|it| it.revision.clone());
        let revision = self.given_revision()?.or(asked);
        let revision = revision.or_else(|| variable("DRONE_COMMIT_SHA"));
        let application = self.application.clone();
        let application = application
            .or_else(|| result.as_ref().map(|it| it.application.clone()))
            .or_else(|| variable("DRONE_REPO_NAME"));
        let place = self.place.clone().or_else(|| variable("DRONE_DEPLOY_TO"));
        let action = action(result.as_ref(), variable);
        let title = self.title.clone().unwrap_or_else(|| {
            title(
                application.as_deref(),
                &action,
                place.as_deref(),
                revision.as_deref(),
                outcome,
            )
        });
        let started = variable("DRONE_BUILD_CREATED").and_then(|it| it.parse::<i64>().ok());
        let started = started.filter(|it| *it > 0);
        Ok(Message {
            outcome,
            title,
            application,
            place,
            revision_link: self.revision_link(revision.as_deref(), variable),
            revision,
            reference: first(
                &self.reference,
                &["DRONE_TAG", "DRONE_COMMIT_BRANCH"],
                variable,
            ),
            link: first(&self.link, &["DRONE_BUILD_LINK"], variable),
            who: self.who(variable),
            seconds: started.and_then(|it| u64::try_from(now.as_second() - it).ok()),
            text: self.text(outcome, result.as_ref(), variable)?,
            nodes: nodes(result),
            at: now,
        })
    }

    fn read_result(&self) -> anyhow::Result<Option<StepResult>> {
        let Some(text) = read_if_there("--result", self.result.as_deref())? else {
            return Ok(None);
        };
        StepResult::parse(&text)
            .map(Some)
            .map_err(|why| anyhow::anyhow!("--result: the file {why}"))
    }

    fn given_revision(&self) -> anyhow::Result<Option<String>> {
        let text = read_if_there("--revision-file", self.revision_file.as_deref())?;
        let in_file = text.map(|text| text.trim().to_owned());
        Ok(self
            .revision
            .clone()
            .or(in_file)
            .filter(|it| !it.is_empty()))
    }

    fn outcome(
        &self,
        result: Option<&StepResult>,
        variable: Variable<'_>,
    ) -> anyhow::Result<Outcome> {
        let build = variable("DRONE_BUILD_STATUS").map(|it| it == "success");
        let step = result.map(|it| it.outcome == "succeeded");
        // A result that was asked for and is not there: the step did not come so far.
        let lost = self.result.is_some() && result.is_none() && build.is_none();
        match (self.status, build, step) {
            (Some(Status::Success), _, _) => Ok(Outcome::Succeeded),
            (Some(Status::Failure), _, _) | (None, Some(false), _) | (None, _, Some(false)) => {
                Ok(Outcome::Failed)
            }
            (None, None, None) if lost => Ok(Outcome::Failed),
            (None, None, None) => bail!(
                "--status: is missing: there is neither a --result nor DRONE_BUILD_STATUS to tell it"
            ),
            (None, _, _) => Ok(Outcome::Succeeded),
        }
    }

    /// The page of the commit: GitLab's, where Drone gives none.
    fn revision_link(&self, revision: Option<&str>, variable: Variable<'_>) -> Option<String> {
        let same = variable("DRONE_COMMIT_SHA").as_deref() == revision;
        let known = variable("DRONE_COMMIT_LINK").filter(|_| same);
        self.revision_link.clone().or(known).or_else(|| {
            let commit = revision.filter(|it| is_commit(it))?;
            let repository = variable("DRONE_REPO_LINK")?;
            let repository = repository.trim_end_matches('/');
            Some(format!("{repository}/-/commit/{commit}"))
        })
    }

    fn who(&self, variable: Variable<'_>) -> Option<String> {
        // Builds of a push are by `@hook`, which is nobody.
        let person = variable("DRONE_BUILD_TRIGGER").filter(|it| !it.starts_with('@'));
        let who = self.who.clone().or(person);
        who.or_else(|| variable("DRONE_COMMIT_AUTHOR_NAME"))
    }

    /// Why it failed, as a step has written it down.
    fn reason(&self, outcome: Outcome) -> anyhow::Result<Option<String>> {
        let path = self.reason_file.as_deref();
        let path = path.filter(|_| outcome == Outcome::Failed);
        let text = read_if_there("--reason-file", path)?.unwrap_or_default();
        let text = text.trim();
        Ok((!text.is_empty()).then(|| text.to_owned()))
    }

    fn text(
        &self,
        outcome: Outcome,
        result: Option<&StepResult>,
        variable: Variable<'_>,
    ) -> anyhow::Result<Option<String>> {
        let commit = variable("DRONE_COMMIT_MESSAGE");
        let text = self.message.clone().or(commit);
        let failed = variable("DRONE_FAILED_STEPS").map(|steps| format!("Failed: {steps}"));
        let forged = result.filter(|it| !it.forged.is_empty()).map(|it| {
            let names: Vec<&str> = it.forged.keys().map(String::as_str).collect();
            format!(
                "Somebody else answered in the names of {}",
                names.join(", ")
            )
        });
        let parts = [failed, self.reason(outcome)?, forged, text];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        Ok((!parts.is_empty()).then(|| parts.join("\n")))
    }
}

/// A file that a step before this one has left, unless it failed too early: that is what is to be told then.
fn read_if_there(option: &str, path: Option<&Path>) -> anyhow::Result<Option<String>> {
    let Some(path) = path else { return Ok(None) };
    match secret::read(path, MAX_RESULT) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("{option}: {}", path.display())),
    }
}

fn first(given: &Option<String>, names: &[&str], variable: Variable<'_>) -> Option<String> {
    given
        .clone()
        .or_else(|| names.iter().find_map(|name| variable(name)))
}

fn action(result: Option<&StepResult>, variable: Variable<'_>) -> String {
    let by_event = || match variable("DRONE_BUILD_EVENT").as_deref() {
        Some("rollback") => "rollback".to_owned(),
        _ => "rollout".to_owned(),
    };
    result.map_or_else(by_event, |it| it.action.clone())
}

/// Such as `shop 25a5d246488d: rollout to production succeeded`.
fn title(
    application: Option<&str>,
    action: &str,
    place: Option<&str>,
    revision: Option<&str>,
    outcome: Outcome,
) -> String {
    let application = application.unwrap_or("application");
    let revision = revision.map(|it| format!(" {}", short(it)));
    let place = place.map(|it| format!(" on {it}"));
    format!(
        "{application}{}: {action}{} {}",
        revision.unwrap_or_default(),
        place.unwrap_or_default(),
        outcome.as_str()
    )
}

fn nodes(result: Option<StepResult>) -> Vec<Node> {
    let node = |it: NodeResult| Node {
        outcome: match it.undoes {
            true => format!("undo: {}", it.outcome),
            false => it.outcome,
        },
        node: it.node,
        seconds: it.seconds,
        revision: it.revision,
        message: it.message,
    };
    let nodes = result.map(|it| it.nodes).unwrap_or_default();
    nodes.into_iter().map(node).collect()
}

#[cfg(test)]
mod tests;
