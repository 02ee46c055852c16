//! What a team copies from `config/gitops`, with the names of machines changed.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::super::argocd::lab::Kind;

pub(super) const GITOPS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/gitops");
pub(super) const DEPLOYMENT: &str = "apps/shop/base/deployment.yaml";
const PIPELINE: &str = include_str!("../../../config/gitops/drone/exec/.drone.yml");

/// The pipeline's key, as the guide has it made; returns the block for the keyring.
pub(super) fn make_key(folder: &Path) -> String {
    let done = Command::new(env!("CARGO_BIN_EXE_edge-agent"))
        .args(["keygen", "--out", "drone-2026.key", "--id", "drone-2026"])
        .current_dir(folder)
        .output()
        .unwrap();
    super::held("keygen", &done);
    String::from_utf8(done.stdout).unwrap()
}

pub(super) fn private(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Changes names; each of them must be there.
pub(super) fn changed(text: &str, changes: &[(&str, &str)]) -> String {
    changes.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(
            text.contains(from),
            "there is no {from:?} any more in {text}"
        );
        text.replace(from, to)
    })
}

/// Where the pods of a stage run, and what that changes in the files.
pub(super) struct Board {
    pub(super) lab: Kind,
    /// A file of the environment repository, what stands there, and what does then.
    pub(super) environment: Vec<(&'static str, &'static str, String)>,
    /// The same for the pipeline.
    pub(super) pipeline: Vec<(&'static str, &'static str)>,
}

/// The environment repository to copy.
pub(super) fn environment(folder: &Path, registry: &str, board: &Board) -> PathBuf {
    let (work, bare) = (folder.join("environment"), folder.join("environments.git"));
    let copied = Command::new("cp")
        .arg("-r")
        .arg(format!("{GITOPS}/environment"))
        .arg(&work)
        .output();
    super::held("cp", &copied.unwrap());
    let url = format!("file://{}", bare.display());
    let gitlab = ("https://gitlab.example/acme/environments.git", url.as_str());
    for (file, changes) in [
        ("argocd/project.yaml", &[gitlab][..]),
        // Two more tries, soon.
        (
            "argocd/shop.yaml",
            &[
                gitlab,
                ("limit: 5", "limit: 2"),
                ("duration: 10s, factor: 2", "duration: 5s, factor: 1"),
            ],
        ),
        (
            "apps/shop/image/kustomization.yaml",
            &[("registry.gitlab.example", registry)],
        ),
        (
            "apps/shop/overlays/pi-01/kustomization.yaml",
            &[("registry.gitlab.example", registry)],
        ),
        (
            "apps/shop/base/gate.yaml",
            &[("registry.gitlab.example", registry)],
        ),
    ] {
        let text = fs::read_to_string(work.join(file)).unwrap();
        fs::write(work.join(file), changed(&text, changes)).unwrap();
    }
    for (file, from, to) in &board.environment {
        let text = fs::read_to_string(work.join(file)).unwrap();
        fs::write(work.join(file), changed(&text, &[(from, to)])).unwrap();
    }
    super::git(&work, &["init", "--quiet", "--initial-branch=main"]);
    super::git(&work, &["add", "--all"]);
    super::git(&work, &["commit", "--quiet", "--message", "environments"]);
    super::git(
        folder,
        &[
            "clone",
            "--quiet",
            "--bare",
            "environment",
            "environments.git",
        ],
    );
    bare
}

/// The pipeline to copy.
pub(super) fn pipeline(changes: &[(&str, &str)]) -> String {
    changed(PIPELINE, changes)
}
