//! Git, and other programs of which only their success is asked.

use std::path::Path;
use std::process::{Command, Output};

/// # Panics
///
/// When it failed, with all that it said.
pub(crate) fn held(what: &str, done: &Output) {
    assert!(
        done.status.success(),
        "{what}:\n{}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
}

/// Runs git as somebody of the team, without the settings of whoever runs the suites; returns what it says.
pub(crate) fn git(folder: &Path, arguments: &[&str]) -> String {
    let settings = [
        "user.name=Ada Dev",
        "user.email=ada@example.test",
        "commit.gpgsign=false",
        "advice.detachedHead=false",
    ];
    let done = Command::new("git")
        .args(settings.iter().flat_map(|setting| ["-c", setting]))
        .args(arguments)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    held(&format!("git {arguments:?}"), &done);
    String::from_utf8(done.stdout).unwrap().trim().to_owned()
}
