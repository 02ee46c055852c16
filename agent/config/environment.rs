//! What the settings take from the process: read once, then a value.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// The part of the process's surroundings that the settings depend on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Environment {
    /// The kernel's host name.
    pub host_name: Option<String>,
    /// `STATE_DIRECTORY` of systemd; the first, if there are several.
    pub state_directory: Option<PathBuf>,
    /// `RUNTIME_DIRECTORY` of systemd; the first, if there are several.
    pub runtime_directory: Option<PathBuf>,
    /// `CREDENTIALS_DIRECTORY` of systemd.
    pub credentials_directory: Option<PathBuf>,
    /// `XDG_STATE_HOME`, when it is absolute: the specification says to ignore it otherwise.
    pub xdg_state_home: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`, when it is absolute.
    pub xdg_runtime_directory: Option<PathBuf>,
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// The effective user is root.
    pub is_root: bool,
}

impl Environment {
    /// Reads the surroundings of this process.
    #[must_use]
    pub fn from_process() -> Self {
        let host_name = std::fs::read_to_string("/proc/sys/kernel/hostname");
        Self {
            host_name: host_name.ok().map(|name| name.trim().to_owned()),
            // The kernel gives `/proc/self` to the effective user, so no call beyond std is needed.
            is_root: std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0),
            ..Self::from_variables(|name| std::env::var_os(name))
        }
    }

    fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let directory = |name| first(&variable(name)?);
        Self {
            state_directory: directory("STATE_DIRECTORY"),
            runtime_directory: directory("RUNTIME_DIRECTORY"),
            credentials_directory: directory("CREDENTIALS_DIRECTORY"),
            xdg_state_home: directory("XDG_STATE_HOME").filter(|path| path.is_absolute()),
            xdg_runtime_directory: directory("XDG_RUNTIME_DIR").filter(|path| path.is_absolute()),
            home: directory("HOME"),
            ..Self::default()
        }
    }

    /// Where the state goes when the settings name no place; `None` when there is none to be found.
    #[must_use]
    pub(super) fn default_state_directory(&self) -> Option<PathBuf> {
        if let Some(directory) = &self.state_directory {
            return Some(directory.clone());
        }
        if self.is_root {
            return Some(PathBuf::from("/var/lib/edge-agent"));
        }
        let state_home = self
            .xdg_state_home
            .clone()
            .or_else(|| Some(self.home.as_ref()?.join(".local/state")))?;
        Some(state_home.join("edge-agent"))
    }

    /// Where files go that need not outlive a boot; `None` when there is no such place.
    #[must_use]
    pub fn default_runtime_directory(&self) -> Option<PathBuf> {
        if let Some(directory) = &self.runtime_directory {
            return Some(directory.clone());
        }
        if self.is_root {
            return Some(PathBuf::from("/run/edge-agent"));
        }
        Some(self.xdg_runtime_directory.as_ref()?.join("edge-agent"))
    }
}

/// The first of the paths in a colon-separated variable; empty counts as unset.
fn first(value: &OsString) -> Option<PathBuf> {
    std::env::split_paths(value)
        .next()
        .filter(|path| !path.as_os_str().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Environment {
        Environment::from_variables(|name| {
            let found = variables.iter().find(|(known, _)| *known == name)?;
            Some(OsString::from(found.1))
        })
    }

    #[test]
    fn systemd_directories_come_before_all_others() {
        let under_systemd = Environment {
            is_root: true,
            ..environment(&[
                ("STATE_DIRECTORY", "/var/lib/a:/var/lib/b"),
                ("RUNTIME_DIRECTORY", "/run/a"),
                ("XDG_STATE_HOME", "/home/me/state"),
            ])
        };
        assert_eq!(
            under_systemd.default_state_directory(),
            Some(PathBuf::from("/var/lib/a"))
        );
        assert_eq!(
            under_systemd.default_runtime_directory(),
            Some(PathBuf::from("/run/a"))
        );
    }

    #[test]
    fn an_ordinary_user_keeps_state_at_home() {
        let at_home = environment(&[("HOME", "/home/me"), ("XDG_STATE_HOME", "relative")]);
        assert_eq!(
            at_home.default_state_directory(),
            Some(PathBuf::from("/home/me/.local/state/edge-agent"))
        );
        assert_eq!(at_home.default_runtime_directory(), None);

        let with_xdg = environment(&[("HOME", "/home/me"), ("XDG_STATE_HOME", "/state")]);
        assert_eq!(
            with_xdg.default_state_directory(),
            Some(PathBuf::from("/state/edge-agent"))
        );
    }

    #[test]
    fn root_uses_the_system_directories() {
        let root = Environment {
            is_root: true,
            ..environment(&[("STATE_DIRECTORY", ""), ("HOME", "/root")])
        };
        assert_eq!(
            root.default_state_directory(),
            Some(PathBuf::from("/var/lib/edge-agent"))
        );
        assert_eq!(
            root.default_runtime_directory(),
            Some(PathBuf::from("/run/edge-agent"))
        );
    }

    #[test]
    fn a_process_without_a_home_has_no_place() {
        assert_eq!(environment(&[]).default_state_directory(), None);
    }

    #[test]
    fn this_process_has_a_host_name() {
        let here = Environment::from_process();
        assert!(here.host_name.is_some_and(|name| !name.is_empty()));
    }
}
