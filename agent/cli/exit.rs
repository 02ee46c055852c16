//! The exit codes. They are part of the outside contract: scripts, Drone and systemd read them.

use std::process::ExitCode;

use crate::config::Faults;

/// How a subcommand ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// What was asked for is done.
    Done = 0,
    /// The thing asked about failed: a rollout, a gate, a signature.
    Failed = 1,
    /// The arguments or the settings are wrong; every subcommand but `run`.
    Usage = 2,
    /// The answer did not come in time.
    Timeout = 3,
    /// The node refused the command.
    Refused = 4,
    /// `run`: the arguments are wrong (`EX_USAGE`). systemd does not restart.
    RunUsage = 64,
    /// `run`: a fault while running (`EX_SOFTWARE`). systemd restarts.
    RunFault = 70,
    /// `run`: the settings are wrong (`EX_CONFIG`). systemd does not restart.
    RunConfiguration = 78,
}

/// Whose rules the exit codes follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Caller {
    /// A person or a script.
    Shell,
    /// systemd, which must tell what a restart may mend from what it may not: `run`.
    Service,
}

impl Exit {
    /// The code for arguments that do not parse.
    pub(super) fn of_usage(caller: Caller) -> Self {
        match caller {
            Caller::Shell => Self::Usage,
            Caller::Service => Self::RunUsage,
        }
    }

    /// The code for an error that a subcommand ended with.
    pub(super) fn of_error(error: &anyhow::Error, caller: Caller) -> Self {
        match (error.is::<Faults>(), caller) {
            (true, Caller::Shell) => Self::Usage,
            (true, Caller::Service) => Self::RunConfiguration,
            (false, Caller::Shell) => Self::Failed,
            (false, Caller::Service) => Self::RunFault,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Environment};
    use std::path::Path;

    #[test]
    fn faults_of_the_settings_stop_systemd_from_restarting() {
        let faults = Config::parse("x = 1", Path::new("f"), &Environment::default()).unwrap_err();
        let settings = anyhow::Error::new(faults).context("no agent without settings");
        let other = anyhow::anyhow!("the disk is gone");
        let codes = [
            Exit::of_error(&settings, Caller::Shell),
            Exit::of_error(&settings, Caller::Service),
            Exit::of_error(&other, Caller::Shell),
            Exit::of_error(&other, Caller::Service),
        ];
        assert_eq!(codes.map(|code| code as u8), [2, 78, 1, 70]);
        assert_eq!(Exit::of_usage(Caller::Service) as u8, 64);
    }
}
