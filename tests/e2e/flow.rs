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

use super::Suite;
use super::git::{git, held};

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
