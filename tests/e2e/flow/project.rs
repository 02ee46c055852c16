//! The project `acme/shop` in GitLab: its git repository, and what GitLab CI makes of a commit, by
//! gitlab-ci-local.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Instant;

use super::super::figure;
use super::held;
use super::programs::Programs;
use super::registry::{JOB, Registry};
use super::sonarqube::SonarQube;

const APPLICATION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/gitops/application");

/// The working copy of somebody of the team.
pub(super) struct Project {
    pub(super) folder: PathBuf,
    /// Outlives the suites: modules, and what Go has built of them.
    cache: PathBuf,
    path: std::ffi::OsString,
    java: PathBuf,
}

/// How a pipeline ended.
pub(super) struct Pipeline {
    pub(super) text: String,
    pub(super) passed: bool,
}

impl Project {
    /// The application to copy, as its first commit.
    pub(super) fn new(programs: &Programs, folder: &Path) -> Self {
        let copied = Command::new("cp")
            .arg("-r")
            .arg(APPLICATION)
            .arg(folder)
            .output();
        held("cp", &copied.unwrap());
        let cache = programs.part("scanner").parent().unwrap().join("go");
        let project = Self {
            folder: folder.to_owned(),
            cache,
            path: programs.path(),
            java: programs.part("java").to_owned(),
        };
        project.git(&["init", "--quiet", "--initial-branch=main"]);
        project.git(&[
            "remote",
            "add",
            "origin",
            "https://gitlab.example/acme/shop.git",
        ]);
        project.commit("shop");
        project
    }

    /// A working copy of somebody else of the team, with all that has been committed: what SonarQube takes for
    /// new, and is stricter with, is what git says is new.
    pub(super) fn copy(&self, folder: &Path) -> Self {
        let copied = Command::new("cp")
            .arg("-r")
            .arg(&self.folder)
            .arg(folder)
            .output();
        held("cp", &copied.unwrap());
        Self {
            folder: folder.to_owned(),
            cache: self.cache.clone(),
            path: self.path.clone(),
            java: self.java.clone(),
        }
    }

    /// Commits what is there; returns the commit.
    pub(super) fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message]);
        // What a push brings about.
        self.git(&["update-ref", "refs/remotes/origin/main", "HEAD"]);
        self.git(&[
            "symbolic-ref",
            "refs/remotes/origin/HEAD",
            "refs/remotes/origin/main",
        ]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Takes the last commit back by another one.
    pub(super) fn revert(&self) -> String {
        self.git(&["revert", "--no-edit", "--no-commit", "HEAD"]);
        self.commit("take it back")
    }

    pub(super) fn write(&self, file: &str, text: &str) {
        fs::write(self.folder.join(file), text).unwrap();
    }

    /// Runs the pipeline of the commit that is checked out, with the variables that GitLab and the
    /// project's settings give its jobs.
    pub(super) fn pipeline(
        &self,
        registry: &Registry,
        sonarqube: &SonarQube,
        more: &[(&str, &str)],
    ) -> Pipeline {
        let begun = Instant::now();
        let done = self.run(registry, sonarqube, more, &[]);
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&done.stdout),
            String::from_utf8_lossy(&done.stderr)
        );
        for secret in [JOB.1, &sonarqube.token] {
            assert!(!text.contains(secret), "a secret is in the log: {text}");
        }
        figure(
            "a pipeline",
            format!("{:.0} s", begun.elapsed().as_secs_f64()),
        );
        Pipeline {
            text,
            passed: done.status.success(),
        }
    }

    /// gitlab-ci-local with arguments of its own.
    pub(super) fn run(
        &self,
        registry: &Registry,
        sonarqube: &SonarQube,
        more: &[(&str, &str)],
        arguments: &[&str],
    ) -> Output {
        let image = format!("{}/acme/shop", registry.host());
        let cache = |name: &str| self.cache.join(name).display().to_string();
        let home = self.folder.with_extension("home");
        fs::create_dir_all(&home).unwrap();
        let mut variables = vec![
            ("GOMODCACHE", cache("modules")),
            ("GOCACHE", cache("built")),
            ("CI_REGISTRY", registry.host()),
            ("CI_REGISTRY_IMAGE", image),
            ("CI_REGISTRY_USER", JOB.0.to_owned()),
            ("CI_REGISTRY_PASSWORD", JOB.1.to_owned()),
            ("CI_COMMIT_REF_PROTECTED", "true".to_owned()),
            ("SONAR_HOST_URL", sonarqube.url()),
            ("SONAR_TOKEN", sonarqube.token.clone()),
        ];
        variables.extend(
            more.iter()
                .map(|(name, value)| (*name, (*value).to_owned())),
        );
        let mut command = Command::new("gitlab-ci-local");
        command
            .args(["--force-shell-executor", "--shell-isolation", "--no-color"])
            .args(arguments);
        for (name, value) in &variables {
            command.arg("--variable").arg(format!("{name}={value}"));
        }
        command
            .current_dir(&self.folder)
            .env("PATH", &self.path)
            .env("HOME", home)
            .env("JAVA_HOME", &self.java)
            // The images of the jobs bring these by themselves.
            .env("SONAR_SCANNER_SKIP_JRE_PROVISIONING", "true")
            .env("SSL_CERT_FILE", registry.ca_file())
            .output()
            .unwrap()
    }

    pub(super) fn git(&self, arguments: &[&str]) -> String {
        super::git(&self.folder, arguments)
    }
}

impl Pipeline {
    /// Whether a job came to this end: `PASS`, `WARN` or `FAIL`.
    pub(super) fn ended(&self, job: &str, verdict: &str) -> bool {
        self.text.lines().any(|line| {
            let mut words = line.split_whitespace();
            words.next() == Some(verdict) && words.next() == Some(job)
        })
    }

    /// Whether a job ran at all.
    pub(super) fn began(&self, job: &str) -> bool {
        self.text.lines().any(|line| {
            let mut words = line.split_whitespace();
            words.next() == Some(job) && words.next() == Some("starting")
        })
    }

    /// The digest that the image was pushed under.
    pub(super) fn digest(&self) -> String {
        let found = self
            .text
            .lines()
            .find_map(|line| line.split_once("> IMAGE_DIGEST="));
        let (_, digest) = found.unwrap_or_else(|| panic!("no digest: {}", self.text));
        digest.trim().to_owned()
    }
}
