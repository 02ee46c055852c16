//! The whole way from a commit to the board, with the files of `config/gitops` as a team copies them. Real are
//! git, the jobs of GitLab CI (run by gitlab-ci-local), SonarQube, buildah, the container registry, the
//! broker, the agent, the gate and Argo CD; stood in for are GitLab's and Drone's own servers.

mod acts;
mod address;
mod checks;
mod copies;
mod drone;
mod gate;
mod kubelet;
mod programs;
mod project;
mod real_node;
mod receiver;
mod registry;
mod seen;
mod sonarqube;
mod stage;
mod stories;
mod web;

use std::path::Path;
use std::process::{Command, Output};

use super::Suite;

pub(crate) const SUITES: &[Suite] = &[
    ("flow_checks", checks::suite),
    // Of the stories the last one ends SonarQube.
    ("flow_real_node", real_node::suite),
    ("flow_stories", stories::suite),
];

/// Ends what the suites share.
pub(crate) fn end() {
    checks::Forge::end();
}

fn held(what: &str, done: &Output) {
    assert!(
        done.status.success(),
        "{what}:\n{}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
}

/// Runs git as somebody of the team; returns what it says.
fn git(folder: &Path, arguments: &[&str]) -> String {
    let done = Command::new("git")
        .args([
            "-c",
            "user.name=Ada Dev",
            "-c",
            "user.email=ada@example.test",
        ])
        .args([
            "-c",
            "commit.gpgsign=false",
            "-c",
            "advice.detachedHead=false",
        ])
        .args(arguments)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .output()
        .unwrap();
    held(&format!("git {arguments:?}"), &done);
    String::from_utf8(done.stdout).unwrap().trim().to_owned()
}
