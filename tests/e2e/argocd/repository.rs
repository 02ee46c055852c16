//! A git repository that Argo CD deploys from.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::scenarios::version::{Version, config_map};

/// The repository.
pub(crate) struct Repository {
    folder: PathBuf,
}

impl Repository {
    pub(crate) fn new(folder: PathBuf) -> Self {
        fs::create_dir_all(&folder).unwrap();
        let repository = Self { folder };
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        repository
    }

    pub(crate) fn url(&self) -> String {
        format!("file://{}", self.folder.display())
    }

    /// Commits a version; returns its revision.
    pub(crate) fn commit(&self, version: &Version) -> String {
        self.commit_to("app", version)
    }

    /// The same for another folder of the repository.
    pub(crate) fn commit_to(&self, folder: &str, version: &Version) -> String {
        write(version, &self.folder.join(folder));
        self.git(&["add", "--all", "."]);
        self.git(&[
            "commit",
            "--quiet",
            "--allow-empty",
            "--message",
            &version.tag,
        ]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Commits one file.
    pub(crate) fn commit_plain(&self, file: &str, text: &str) -> String {
        fs::write(self.folder.join(file), text).unwrap();
        self.git(&["add", "--all", "."]);
        self.git(&["commit", "--quiet", "--message", file]);
        self.git(&["rev-parse", "HEAD"])
    }

    fn git(&self, arguments: &[&str]) -> String {
        let done = Command::new("git")
            .args([
                "-c",
                "user.name=suite",
                "-c",
                "user.email=suite@example.test",
            ])
            .args(["-c", "commit.gpgsign=false"])
            .args(arguments)
            .current_dir(&self.folder)
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&done.stdout).trim().to_owned();
        assert!(
            done.status.success(),
            "git {arguments:?}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
        text
    }
}

/// Writes the manifests of a version.
fn write(version: &Version, folder: &Path) {
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder).unwrap();
    let pod = match version.stuck {
        true => "lab.edge-agent.test/pod: never-ready",
        false => "",
    };
    let deployment = format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  replicas: 1\n  \
         progressDeadlineSeconds: {}\n  selector:\n    matchLabels: {{app: web}}\n  template:\n    \
         metadata:\n      labels: {{app: web}}\n      annotations: {{{}}}\n    spec:\n      \
         containers:\n        - name: web\n          image: {}\n",
        version.deadline,
        pod,
        version.image(),
    );
    fs::write(folder.join("deployment.yaml"), deployment).unwrap();
    if let Some(check) = &version.check {
        let how = if check.passes { "succeed" } else { "fail" };
        let (name, after) = (check.name, check.lasts);
        let job = format!(
            "apiVersion: batch/v1\nkind: Job\nmetadata:\n  name: {name}\n  annotations:\n    \
             argocd.argoproj.io/hook: PreSync\n    argocd.argoproj.io/hook-delete-policy: \
             BeforeHookCreation\nspec:\n  backoffLimit: 0\n  template:\n    metadata:\n      \
             annotations:\n        lab.edge-agent.test/pod: {how}\n        \
             lab.edge-agent.test/after: {after}\n    spec:\n      restartPolicy: Never\n      \
             containers:\n        - name: check\n          image: example.test/check:1\n"
        );
        fs::write(folder.join("check.yaml"), job).unwrap();
    }
    for name in &version.config_maps {
        fs::write(folder.join(format!("{name}.yaml")), config_map(name)).unwrap();
    }
    for (file, text) in &version.files {
        fs::write(folder.join(file), text).unwrap();
    }
}
