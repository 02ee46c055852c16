//! The flags that say what is ordered, of whom and for how long: shared by `sign` and `send`.

use anyhow::{Context as _, bail, ensure};
use clap::{Args, ValueEnum};
use edge_agent_core::command::payload::{
    Action, Command, DEFAULT_TIMEOUT, HoldMode, OnFailure, RollbackTarget,
};
use jiff::{SignedDuration, Timestamp};

use crate::store::identity::random_bytes;

/// What to order, and of whom.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct OrderArgs {
    /// What to order.
    #[arg(long, value_enum, value_name = "COMMAND")]
    pub cmd: Option<CommandName>,

    /// Node that is meant; more than once for several.
    #[arg(long, value_name = "NODE")]
    pub node: Vec<String>,

    /// Application: `name` or `namespace/name`.
    #[arg(long, value_name = "APPLICATION")]
    pub application: Option<String>,

    /// rollout: the full commit SHA to roll out.
    #[arg(long, value_name = "SHA", help_heading = "Rollout")]
    pub revision: Option<String>,

    /// rollout: digest, or reference with digest, that must run in the end; more than once for
    /// several.
    #[arg(long, value_name = "DIGEST", help_heading = "Rollout")]
    pub image: Vec<String>,

    /// rollout: how long it may take, such as 15m (the default).
    #[arg(long, value_name = "DURATION", value_parser = duration, help_heading = "Rollout")]
    pub timeout: Option<SignedDuration>,

    /// rollout: what the node does by itself when it fails.
    #[arg(long, value_enum, value_name = "WHAT", help_heading = "Rollout")]
    pub on_failure: Option<OnFailureName>,

    /// rollback: `previous` (the default), `revision:SHA` or `history:ID`.
    #[arg(long, value_name = "TARGET", value_parser = target, help_heading = "Rollback")]
    pub to: Option<RollbackTarget>,

    /// rollback: how it is kept from being undone; by default pin under auto-sync.
    #[arg(long, value_enum, value_name = "MODE", help_heading = "Rollback")]
    pub hold: Option<HoldName>,

    /// rollback: also remove what the older revision does not have.
    #[arg(long, help_heading = "Rollback")]
    pub prune: bool,

    /// rollback: even when an ApplicationSet or another Application writes the application.
    #[arg(long, help_heading = "Rollback")]
    pub allow_managed: bool,

    /// refresh: also forget the manifests that were generated before.
    #[arg(long, help_heading = "Refresh")]
    pub hard: bool,

    /// identify: how long to blink, 1 to 600 seconds (30 by default).
    #[arg(long, value_name = "SECONDS", help_heading = "Identify")]
    pub seconds: Option<u32>,

    /// How long the order may wait for the node, such as 90s or 2h.
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "10m",
          help_heading = "Envelope")]
    pub ttl: SignedDuration,

    /// Sequence; must grow for each key and application. By default the clock in milliseconds.
    #[arg(long, value_name = "NUMBER", help_heading = "Envelope")]
    pub seq: Option<u64>,

    /// Id of the command; by default a new ULID.
    #[arg(long, value_name = "ID", help_heading = "Envelope")]
    pub id: Option<String>,
}

/// The commands there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum CommandName {
    /// Bring an application to a revision and follow it until it is healthy.
    Rollout,
    /// Bring an application back and hold it there.
    Rollback,
    /// Give an application back to git.
    Resume,
    /// Have Argo CD compare an application again.
    Refresh,
    /// Blink, so that a person finds the board.
    Identify,
    /// Answer.
    Ping,
}

/// See [`OnFailure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum OnFailureName {
    /// Leave it as it is.
    None,
    /// Roll back to the previous revision.
    Rollback,
}

/// See [`HoldMode`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum HoldName {
    /// The good revision is written into the application; auto-sync goes on.
    Pin,
    /// Auto-sync is turned off.
    Pause,
}

impl CommandName {
    fn as_str(self) -> &'static str {
        match self {
            Self::Rollout => "rollout",
            Self::Rollback => "rollback",
            Self::Resume => "resume",
            Self::Refresh => "refresh",
            Self::Identify => "identify",
            Self::Ping => "ping",
        }
    }
}

impl OrderArgs {
    /// Makes the command, issued now.
    ///
    /// # Errors
    /// When a flag is missing, does not belong to the command, or is out of range.
    pub(super) fn to_command(&self, now: Timestamp) -> anyhow::Result<Command> {
        let cmd = self.cmd.context("say what to order: --cmd is missing")?;
        ensure!(
            !self.node.is_empty(),
            "say which node is meant: --node is missing"
        );
        self.refuse_foreign_flags(cmd)?;
        let issued_at = now.as_second();
        let milliseconds = u64::try_from(now.as_millisecond())
            .context("the clock is before 1970; set it, or the command is worth nothing")?;
        let command = Command {
            id: match &self.id {
                Some(id) => id.clone(),
                None => new_id(milliseconds)?,
            },
            audience: self.node.clone(),
            sequence: self.seq.unwrap_or(milliseconds),
            issued_at,
            expires_at: issued_at.saturating_add(self.ttl.as_secs()),
            action: self.action(cmd)?,
        };
        command
            .check()
            .map_err(|refusal| anyhow::anyhow!("no node would take this: {}", refusal.message))?;
        Ok(command)
    }

    fn action(&self, cmd: CommandName) -> anyhow::Result<Action> {
        Ok(match cmd {
            CommandName::Rollout => Action::Rollout {
                application: self.needed_application(cmd)?,
                revision: self
                    .revision
                    .clone()
                    .context("a rollout needs --revision, the full commit SHA")?,
                images: self.image.clone(),
                timeout: match self.timeout {
                    Some(timeout) => timeout.try_into().context("--timeout is negative")?,
                    None => DEFAULT_TIMEOUT,
                },
                on_failure: match self.on_failure {
                    Some(OnFailureName::Rollback) => OnFailure::Rollback,
                    Some(OnFailureName::None) | None => OnFailure::None,
                },
            },
            CommandName::Rollback => Action::Rollback {
                application: self.needed_application(cmd)?,
                to: self.to.clone().unwrap_or(RollbackTarget::Previous),
                hold: self.hold.map(|hold| match hold {
                    HoldName::Pin => HoldMode::Pin,
                    HoldName::Pause => HoldMode::Pause,
                }),
                prune: self.prune,
                allow_managed: self.allow_managed,
            },
            CommandName::Resume => Action::Resume {
                application: self.needed_application(cmd)?,
            },
            CommandName::Refresh => Action::Refresh {
                application: self.needed_application(cmd)?,
                hard: self.hard,
            },
            CommandName::Identify => Action::Identify {
                seconds: self.seconds.unwrap_or(30),
            },
            CommandName::Ping => Action::Ping,
        })
    }

    fn needed_application(&self, cmd: CommandName) -> anyhow::Result<String> {
        self.application
            .clone()
            .with_context(|| format!("{} needs --application", cmd.as_str()))
    }

    /// A flag that would be ignored is a mistake of somebody who meant something by it.
    fn refuse_foreign_flags(&self, cmd: CommandName) -> anyhow::Result<()> {
        use CommandName::{Identify, Ping, Refresh, Rollback, Rollout};
        let flags = [
            ("--revision", Rollout, self.revision.is_some()),
            ("--image", Rollout, !self.image.is_empty()),
            ("--timeout", Rollout, self.timeout.is_some()),
            ("--on-failure", Rollout, self.on_failure.is_some()),
            ("--to", Rollback, self.to.is_some()),
            ("--hold", Rollback, self.hold.is_some()),
            ("--prune", Rollback, self.prune),
            ("--allow-managed", Rollback, self.allow_managed),
            ("--hard", Refresh, self.hard),
            ("--seconds", Identify, self.seconds.is_some()),
        ];
        for (flag, owner, given) in flags {
            if given && owner != cmd {
                bail!(
                    "{flag} belongs to {}, not to {}",
                    owner.as_str(),
                    cmd.as_str()
                );
            }
        }
        if matches!(cmd, Identify | Ping) && self.application.is_some() {
            bail!(
                "{} concerns the node; --application does not belong there",
                cmd.as_str()
            );
        }
        Ok(())
    }
}

/// A ULID: sorts by time, and nobody can guess it.
pub(super) fn new_id(milliseconds: u64) -> anyhow::Result<String> {
    let random = u128::from_le_bytes(random_bytes::<16>()?);
    Ok(ulid::Ulid::from_parts(milliseconds, random).to_string())
}

pub(super) fn duration(text: &str) -> Result<SignedDuration, String> {
    let duration: SignedDuration = text
        .parse()
        .map_err(|_| "a duration is a number with a unit, such as 90s, 10m or 2h".to_owned())?;
    if duration.as_secs() < 1 || duration.subsec_nanos() != 0 {
        return Err("a duration here is in whole seconds, at least one".to_owned());
    }
    Ok(duration)
}

fn target(text: &str) -> Result<RollbackTarget, String> {
    if text == "previous" {
        return Ok(RollbackTarget::Previous);
    }
    match text.split_once(':') {
        Some(("revision", sha)) => Ok(RollbackTarget::Revision(sha.to_owned())),
        Some(("history", id)) => id.parse().map(RollbackTarget::History).map_err(|_| {
            format!("`{id}` is no number; history ids are, see the history in Argo CD")
        }),
        _ => Err(
            "it is `previous`, `revision:` with a full commit SHA, or `history:` with an id"
                .to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        order: OrderArgs,
    }

    const SHA: &str = "0123456789abcdef0123456789abcdef01234567";

    fn order(line: &str) -> anyhow::Result<Command> {
        let words = std::iter::once("test").chain(line.split_whitespace());
        let now = "2026-11-24T12:00:00.123Z".parse()?;
        Cli::try_parse_from(words)?.order.to_command(now)
    }

    fn action(line: &str) -> Action {
        order(&format!("--node pi-01 {line}")).unwrap().action
    }

    fn fault(line: &str) -> String {
        order(line).unwrap_err().to_string()
    }

    #[test]
    fn what_surrounds_an_order() {
        let command = order("--cmd ping --node pi-01 --node pi-02").unwrap();
        assert_eq!(command.audience, ["pi-01", "pi-02"]);
        assert_eq!(command.sequence, 1_795_521_600_123);
        assert_eq!(command.issued_at, 1_795_521_600);
        assert_eq!(command.expires_at, 1_795_521_600 + 600);
        assert_eq!(command.id.len(), 26);
        let other = order("--cmd ping --node pi-01").unwrap();
        assert_ne!(command.id, other.id);
        let given = order("--cmd ping --node pi-01 --ttl 2h --seq 7 --id mine").unwrap();
        assert_eq!((given.sequence, given.id.as_str()), (7, "mine"));
        assert_eq!(given.expires_at - given.issued_at, 7200);
    }

    #[test]
    fn every_command_from_its_flags() {
        assert_eq!(
            action(&format!(
                "--cmd rollout --application shop --revision {SHA} --timeout 20m --on-failure rollback"
            )),
            Action::Rollout {
                application: "shop".to_owned(),
                revision: SHA.to_owned(),
                images: vec![],
                timeout: Duration::from_secs(1200),
                on_failure: OnFailure::Rollback,
            }
        );
        let rollback = |to, hold| Action::Rollback {
            application: "argocd/shop".to_owned(),
            to,
            hold,
            prune: false,
            allow_managed: false,
        };
        let base = "--cmd rollback --application argocd/shop";
        assert_eq!(action(base), rollback(RollbackTarget::Previous, None));
        assert_eq!(
            action(&format!("{base} --to history:7 --hold pause")),
            rollback(RollbackTarget::History(7), Some(HoldMode::Pause))
        );
        assert_eq!(
            action(&format!("{base} --to revision:{SHA} --hold pin")),
            rollback(
                RollbackTarget::Revision(SHA.to_owned()),
                Some(HoldMode::Pin)
            )
        );
        assert_eq!(action("--cmd identify"), Action::Identify { seconds: 30 });
        assert_eq!(
            action("--cmd refresh --application a --hard"),
            Action::Refresh {
                application: "a".to_owned(),
                hard: true
            }
        );
    }

    #[test]
    fn mistakes_are_told() {
        for (line, wanted) in [
            ("--node a", "--cmd is missing"),
            ("--cmd ping", "--node is missing"),
            ("--cmd ping --node a/b", "no node would take this"),
            ("--cmd rollout --node a --application b", "--revision"),
            ("--cmd resume --node a", "resume needs --application"),
            ("--cmd ping --node a --application b", "concerns the node"),
            (
                "--cmd resume --node a --application b --hard",
                "--hard belongs to refresh",
            ),
            ("--cmd identify --node a --seconds 601", "1 to 600"),
            (
                "--cmd rollback --node a --application b --to main",
                "previous",
            ),
            (
                "--cmd rollback --node a --application b --to revision:main",
                "full commit SHA",
            ),
            ("--cmd ping --node a --ttl 10", "number with a unit"),
            ("--cmd ping --node a --ttl 0s", "at least one"),
        ] {
            let fault = fault(line);
            assert!(fault.contains(wanted), "{line}: {fault}");
        }
    }
}
