//! GitLab: the status of a commit, and a deployment to an environment.

use serde_json::{Value, json};
use tokio::time::Instant;

use super::message::{Message, Outcome};
use super::{MAX_ANSWER, accepted, said};
use crate::gate::secret::{Secret, Source};
use crate::gate::web::{self, Ask, Url, Web};

/// A project in a GitLab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Gitlab {
    pub(crate) url: Url,
    /// Its path, `group/project`, or its number.
    pub(crate) project: String,
    /// A token with the scope `api`.
    pub(crate) token: Source,
    /// Where the deployment is noted; `None`: only the status of the commit is set.
    pub(crate) environment: Option<String>,
}

impl Gitlab {
    pub(super) async fn tell(
        &self,
        message: &Message,
        web: &Web,
        until: Instant,
    ) -> Result<(), String> {
        let Some(revision) = message.revision.as_deref() else {
            return Err("no commit is known whose status could be set".to_owned());
        };
        let token = self.token.read()?;
        let state = match message.outcome {
            Outcome::Succeeded => "success",
            Outcome::Failed => "failed",
        };
        let status = self.status(message, state);
        let post = (web, until, &token);
        self.post(&["statuses", revision], &status, post)
            .await
            .map_err(|why| format!("the status of the commit: {why}"))?;
        if let Some(environment) = &self.environment {
            let Some(reference) = message.reference.as_deref() else {
                return Err("the deployment: no branch is known; name it".to_owned());
            };
            let deployment = json!({
                "environment": environment,
                "sha": revision,
                "ref": reference,
                "tag": false,
                "status": state,
            });
            self.post(&["deployments"], &deployment, post)
                .await
                .map_err(|why| format!("the deployment: {why}"))?;
        }
        Ok(())
    }

    fn status(&self, message: &Message, state: &str) -> Value {
        let place = self.environment.as_deref().or(message.place.as_deref());
        let place = place.or(message.application.as_deref());
        let description: String = message.heading().chars().take(255).collect();
        json!({
            "state": state,
            "name": format!("edge-agent/{}", place.unwrap_or("rollout")),
            "description": description,
            "target_url": message.link,
        })
    }

    async fn post(
        &self,
        path: &[&str],
        body: &Value,
        (web, until, token): (&Web, Instant, &Secret),
    ) -> Result<(), String> {
        let mut parts = vec!["api", "v4", "projects", self.project.as_str()];
        parts.extend(path);
        let url = web::below(&self.url, &parts);
        let ask = Ask::post(url, body, MAX_ANSWER).secret("private-token", token.reveal());
        let answer = web
            .ask(&ask, until)
            .await
            .map_err(|fault| fault.to_string())?;
        // A state that it has already, because this was told before.
        let told = answer.status == 400 && said(&answer).contains("Cannot transition status");
        if told { Ok(()) } else { accepted(&answer) }
    }
}
