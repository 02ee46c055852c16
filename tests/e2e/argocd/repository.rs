//! A git repository that Argo CD deploys from.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a commit makes of the application.
#[derive(Debug, Clone, Default)]
pub(crate) struct Version {
    tag: String,
    pod: &'static str,
    deadline: u32,
    check: Option<(&'static str, &'static str, &'static str)>,
    more: Vec<(String, String)>,
}

impl Version {
    /// One that gets ready at once. The tag makes it another than others.
    pub(crate) fn good(tag: &str) -> Self {
        Self {
            tag: tag.to_owned(),
            deadline: 3,
            ..Self::default()
        }
    }

    /// One that gets Degraded after three seconds.
    pub(crate) fn bad(tag: &str) -> Self {
        Self {
            pod: "lab.edge-agent.test/pod: never-ready",
            ..Self::good(tag)
        }
    }

    /// One that stays Progressing for ten minutes.
    pub(crate) fn slow(tag: &str) -> Self {
        Self {
            deadline: 600,
            ..Self::bad(tag)
        }
    }

    /// With a PreSync check that fails.
    pub(crate) fn with_failing_check(mut self, name: &'static str) -> Self {
        self.check = Some((name, "fail", "300ms"));
        self
    }

    /// With a PreSync check that runs for as long as that, and then lets it pass.
    pub(crate) fn with_check(mut self, name: &'static str, lasts: &'static str) -> Self {
        self.check = Some((name, "succeed", lasts));
        self
    }

    /// With one more file.
    pub(crate) fn with(mut self, file: &str, text: &str) -> Self {
        self.more.push((file.to_owned(), text.to_owned()));
        self
    }

    /// The reference of the image that it runs.
    pub(crate) fn image(&self) -> String {
        image(&self.tag)
    }

    fn write(&self, folder: &Path) {
        let _ = fs::remove_dir_all(folder);
        fs::create_dir_all(folder).unwrap();
        let deployment = format!(
            "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: web\nspec:\n  replicas: 1\n  \
             progressDeadlineSeconds: {}\n  selector:\n    matchLabels: {{app: web}}\n  template:\n    \
             metadata:\n      labels: {{app: web}}\n      annotations: {{{}}}\n    spec:\n      \
             containers:\n        - name: web\n          image: {}\n",
            self.deadline,
            self.pod,
            self.image(),
        );
        fs::write(folder.join("deployment.yaml"), deployment).unwrap();
        if let Some((name, how, after)) = self.check {
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
        for (file, text) in &self.more {
            fs::write(folder.join(file), text).unwrap();
        }
    }
}

/// The reference of an image whose digest is made of the tag.
pub(crate) fn image(tag: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, tag.as_bytes());
    let hex: String = digest
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("example.test/web@sha256:{hex}")
}

/// A ConfigMap of that name.
pub(crate) fn config_map(name: &str) -> String {
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\ndata: {{key: value}}\n")
}

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
        version.write(&self.folder.join(folder));
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
