//! Tells people how a rollout ended: from the end of a pipeline, and from a node by itself.
//!
//! A message is made once ([`message::Message`]) and told in the words of each receiver. What a receiver
//! does never decides about a rollout.

mod gitlab;
pub(crate) mod message;
mod ntfy;
mod slack;
mod task;
#[cfg(test)]
mod tests;

use serde_json::Value;
use tokio::time::Instant;

use edge_agent_core::gate::quoted;

pub(crate) use gitlab::Gitlab;
use message::Message;
pub(crate) use task::{run, subscribers};

use crate::gate::secret::Source;
use crate::gate::web::{self, Answer, Ask, Url, Web};

/// The longest answer that is read, bytes: receivers answer with a word.
const MAX_ANSWER: usize = 64 * 1024;

/// Who is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Receiver {
    /// A webhook that takes what Slack's takes: Slack, Mattermost, Rocket.Chat, Discord (with `/slack`).
    Slack { url: Source },
    /// A topic of ntfy, such as `https://ntfy.sh/topic`.
    Ntfy { url: Source, token: Option<Source> },
    /// The status of the commit, and where that is named, a deployment.
    Gitlab(Gitlab),
    /// Whoever takes the message as JSON.
    Json { url: Source, token: Option<Source> },
}

impl Receiver {
    /// The kind, for a person.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Slack { .. } => "slack",
            Self::Ntfy { .. } => "ntfy",
            Self::Gitlab(_) => "gitlab",
            Self::Json { .. } => "json",
        }
    }

    /// Tells the message, again and again until the deadline if need be. It may come twice, where an
    /// answer was lost.
    ///
    /// # Errors
    /// Why it was not told. The text holds no secret.
    pub(crate) async fn tell(
        &self,
        message: &Message,
        web: &Web,
        until: Instant,
    ) -> Result<(), String> {
        let post = match self {
            Self::Slack { url } => {
                Ask::post(secret_address(url)?, &slack::body(message), MAX_ANSWER)
            }
            Self::Ntfy { url, token } => {
                let (server, topic) = ntfy::topic(secret_address(url)?)?;
                let ask = Ask::post(server, &ntfy::body(message, &topic), MAX_ANSWER);
                with_token(ask, token.as_ref())?
            }
            Self::Json { url, token } => {
                let ask = Ask::post(secret_address(url)?, &message.json(), MAX_ANSWER);
                with_token(ask, token.as_ref())?
            }
            Self::Gitlab(gitlab) => return gitlab.tell(message, web, until).await,
        };
        let answer = web
            .ask(&post, until)
            .await
            .map_err(|fault| fault.to_string())?;
        accepted(&answer)
    }
}

/// An address that is a secret.
fn secret_address(source: &Source) -> Result<Url, String> {
    let secret = source.read()?;
    web::address(secret.reveal()).map_err(|why| format!("the address {why}"))
}

fn with_token(ask: Ask, token: Option<&Source>) -> Result<Ask, String> {
    Ok(match token {
        Some(token) => {
            let token = token.read()?;
            ask.secret("authorization", &format!("Bearer {}", token.reveal()))
        }
        None => ask,
    })
}

fn accepted(answer: &Answer) -> Result<(), String> {
    if answer.is_success() {
        return Ok(());
    }
    Err(format!("it answers {}{}", answer.status, said(answer)))
}

/// What a receiver says of a message that it does not take, such as `: invalid_payload`.
fn said(answer: &Answer) -> String {
    let text = match serde_json::from_slice::<Value>(&answer.body) {
        Ok(json) => json
            .get("message")
            .or(json.get("error"))
            .map_or_else(|| json.to_string(), ToString::to_string),
        Err(_) => String::from_utf8_lossy(&answer.body).into_owned(),
    };
    match quoted(text.trim()) {
        empty if empty.is_empty() => String::new(),
        text => format!(": {text}"),
    }
}
