//! `edge-agent notify`: tells people how a rollout ended.

mod content;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use edge_agent_core::clock::format_timestamp;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::order::duration;
use super::{Exit, output};
use crate::gate::secret::Source;
use crate::gate::web::{self, Timing, Web};
use crate::notify::message::Message;
use crate::notify::{Gitlab, Receiver};
use content::ContentArgs;

const HELP: &str = "\
A SOURCE is where a secret stands, never the secret itself: env:NAME (a variable, such as one that Drone
fills by from_secret), file:PATH, or a path that begins with /.

What is told comes from the arguments, from the result that `edge-agent drone` writes (its setting
result_file), and from the variables that Drone gives to a step. Without an argument --status, it
succeeded when both say so.

Exit code: 0 told, or not told and said why on standard error: that nobody heard of it must not make a
rollout fail; 1 not told, with --strict; 2 wrong arguments.

Example:
  edge-agent notify --slack env:SLACK_WEBHOOK --result result.json
  edge-agent notify --gitlab https://gitlab.example --gitlab-project acme/shop --gitlab-token env:GITLAB_TOKEN --gitlab-environment production --strict
  edge-agent notify --ntfy file:/run/secrets/ntfy --application shop --status failure --dry-run";

/// Tell people how a rollout ended: a chat, ntfy, GitLab, or whoever takes JSON
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Args {
    /// Webhook of Slack, Mattermost, Rocket.Chat, or of Discord with /slack at its end; repeat it for
    /// several
    #[arg(long, value_name = "SOURCE", help_heading = "Who is told")]
    slack: Vec<Source>,
    /// Address of a topic of ntfy
    #[arg(long, value_name = "SOURCE", help_heading = "Who is told")]
    ntfy: Vec<Source>,
    /// Token for ntfy
    #[arg(
        long,
        value_name = "SOURCE",
        requires = "ntfy",
        help_heading = "Who is told"
    )]
    ntfy_token: Option<Source>,
    /// Address that takes the message as JSON
    #[arg(long, value_name = "SOURCE", help_heading = "Who is told")]
    webhook: Vec<Source>,
    /// Token for it
    #[arg(
        long,
        value_name = "SOURCE",
        requires = "webhook",
        help_heading = "Who is told"
    )]
    webhook_token: Option<Source>,
    #[command(flatten)]
    gitlab: GitlabArgs,
    #[command(flatten)]
    content: ContentArgs,
    /// CA certificates that are trusted beside those of the system, PEM
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// How long to try
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "30s")]
    timeout: SignedDuration,
    /// Fail when somebody could not be told
    #[arg(long)]
    strict: bool,
    /// Print the message and tell nobody
    #[arg(long)]
    dry_run: bool,
}

/// GitLab: the status of the commit, and a deployment.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "GitLab")]
struct GitlabArgs {
    /// Address of GitLab
    #[arg(long, value_name = "URL", requires_all = ["gitlab_project", "gitlab_token"])]
    gitlab: Option<String>,
    /// Project, GROUP/PROJECT or its number
    #[arg(long, value_name = "PROJECT", requires = "gitlab")]
    gitlab_project: Option<String>,
    /// Token with the scope api
    #[arg(long, value_name = "SOURCE", requires = "gitlab")]
    gitlab_token: Option<Source>,
    /// Environment in which a deployment is noted; else only the status of the commit is set
    #[arg(long, value_name = "NAME", requires = "gitlab")]
    gitlab_environment: Option<String>,
}

/// # Errors
/// When standard output cannot be written, or the system gives no runtime.
pub(super) fn run(args: &Args, now: Timestamp) -> anyhow::Result<Exit> {
    let unusable = |error: &anyhow::Error| {
        output::complain(&format!("edge-agent notify: {error:#}"));
        Ok(Exit::Usage)
    };
    let variable = |name: &str| std::env::var(name).ok().filter(|it| !it.is_empty());
    let message = match args.content.message(&variable, now) {
        Ok(message) => message,
        Err(error) => return unusable(&error),
    };
    let receivers = match args.receivers() {
        Ok(receivers) => receivers,
        Err(error) => return unusable(&error),
    };
    if args.dry_run {
        let time = format_timestamp(message.at);
        let text = format!("{time}  {}\n\n{}", message.heading(), message.plain());
        output::print(&text)?;
        return Ok(Exit::Done);
    }
    if receivers.is_empty() {
        return unusable(&anyhow::anyhow!(
            "nobody is to be told: name --slack, --ntfy, --gitlab or --webhook"
        ));
    }
    let web = match Web::new(args.ca_file.as_deref(), Timing::default()) {
        Ok(web) => web,
        Err(error) => return unusable(&error.context("--ca-file")),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let timeout = Duration::try_from(args.timeout).context("--timeout")?;
    let all_told = runtime.block_on(tell(&receivers, &message, &web, timeout));
    Ok(match all_told {
        false if args.strict => Exit::Failed,
        _ => Exit::Done,
    })
}

/// Tells everybody at once. False when somebody could not be told.
async fn tell(receivers: &[Receiver], message: &Message, web: &Web, timeout: Duration) -> bool {
    let until = Instant::now() + timeout;
    let told = receivers.iter().map(async |receiver| {
        let name = receiver.name();
        match receiver.tell(message, web, until).await {
            Ok(()) => {
                // Without a reader it is told all the same.
                let _ = output::print(&format!("{name}: told\n"));
                true
            }
            Err(why) => {
                output::complain(&format!("edge-agent notify: {name}: not told: {why}"));
                false
            }
        }
    });
    let told = futures::future::join_all(told).await;
    told.into_iter().all(|told| told)
}

impl Args {
    fn receivers(&self) -> anyhow::Result<Vec<Receiver>> {
        let mut receivers = Vec::new();
        let slack = self.slack.iter().cloned();
        receivers.extend(slack.map(|url| Receiver::Slack { url }));
        let token = || self.ntfy_token.clone();
        let ntfy = self.ntfy.iter().cloned();
        receivers.extend(ntfy.map(|url| Receiver::Ntfy {
            url,
            token: token(),
        }));
        let token = || self.webhook_token.clone();
        let webhook = self.webhook.iter().cloned();
        receivers.extend(webhook.map(|url| Receiver::Json {
            url,
            token: token(),
        }));
        if let (Some(url), Some(project), Some(token)) = (
            &self.gitlab.gitlab,
            &self.gitlab.gitlab_project,
            &self.gitlab.gitlab_token,
        ) {
            let url = web::address(url).map_err(|why| anyhow::anyhow!("--gitlab: {why}"))?;
            receivers.push(Receiver::Gitlab(Gitlab {
                url,
                project: project.clone(),
                token: token.clone(),
                environment: self.gitlab.gitlab_environment.clone(),
            }));
        }
        Ok(receivers)
    }
}
