//! What a commit goes through before anybody hears of it: its tests, the analysis, the image, the registry.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::super::Args;
use super::address;
use super::drone::{Drone, TOKEN};
use super::gate::{self, Verdict};
use super::programs::Programs;
use super::project::{Pipeline, Project};
use super::registry::Registry;
use super::sonarqube::SonarQube;

/// All jobs of a commit on `main`.
const JOBS: [&str; 8] = [
    "test",
    "static-analysis",
    "sonarqube",
    "binary",
    "build-image",
    "sbom",
    "manifests",
    "notify-drone",
];

/// Whoever sits between the board and the other service can read and change everything.
const BUG: &str = r#"package main

import (
	"crypto/tls"
	"net/http"
)

// prober asks other services whether they are well.
func prober() *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
}
"#;

/// A pipeline of Drone that only shows what it was asked for.
const DRONE: &str = r#"kind: pipeline
type: exec
name: deploy
trigger:
  event: [custom]
steps:
  - name: show
    commands:
      - echo "$DRONE_COMMIT_SHA $IMAGE_DIGEST"
"#;

pub(super) fn suite(args: &Args) {
    Forge::with(args, |_| ());
}

/// Everything of the way up to Drone, with two commits that have gone it.
pub(super) struct Forge {
    pub(super) sonarqube: SonarQube,
    pub(super) registry: Registry,
    pub(super) project: Project,
    /// A commit that went through, and its image.
    pub(super) good: (String, String),
    /// A commit that SonarQube stopped.
    pub(super) bad: String,
    pub(super) folder: tempfile::TempDir,
}

/// The suites share one.
static FORGE: Mutex<Option<Forge>> = Mutex::new(None);

impl Forge {
    /// Does something with it; makes it first, if there is none.
    pub(super) fn with(_: &Args, act: impl FnOnce(&mut Self)) {
        let mut forge = FORGE.lock().unwrap_or_else(PoisonError::into_inner);
        act(forge.get_or_insert_with(Self::make));
    }

    /// Ends what is up.
    pub(super) fn end() {
        drop(FORGE.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    fn make() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        // SonarQube's own user passes through it.
        fs::set_permissions(path, fs::Permissions::from_mode(0o711)).unwrap();
        let programs = Programs::get();
        address::take();
        let sonarqube = SonarQube::begin(&programs, &path.join("sonarqube"));
        let mut forge = Self {
            registry: Registry::start(&path.join("registry")),
            project: Project::new(&programs, &path.join("shop")),
            sonarqube,
            good: Default::default(),
            bad: String::new(),
            folder,
        };
        forge.schema();
        forge.sonarqube.wait_up();
        forge.sonarqube.set_up();
        let drone = Drone::start(&forge.folder.path().join("drone"), DRONE);
        forge.lets_a_good_commit_through(&drone);
        forge.stops_a_bad_one(&drone);
        forge
    }

    /// The pipeline of the commit that is checked out.
    pub(super) fn pipeline(&self, drone: &Drone) -> Pipeline {
        let url = drone.url();
        let told = [("DRONE_SERVER", url.as_str()), ("DRONE_TOKEN", TOKEN)];
        self.project
            .pipeline(&self.registry, &self.sonarqube, &told)
    }

    fn gate(&self, digest: &str, revision: &str) -> Verdict {
        gate::ask(
            self.folder.path(),
            &self.registry,
            &self.sonarqube,
            digest,
            revision,
        )
    }

    /// gitlab-ci-local holds the file against GitLab's schema before it runs a job of it.
    fn schema(&self) {
        let list = || {
            self.project
                .run(&self.registry, &self.sonarqube, &[], &["--list"])
        };
        super::held("gitlab-ci-local --list", &list());
        let file = fs::read_to_string(self.project.folder.join(".gitlab-ci.yml")).unwrap();
        self.project.write(
            ".gitlab-ci.yml",
            &file.replacen("    - if:", "    - iff:", 1),
        );
        assert!(!list().status.success(), "it takes what is no pipeline");
        self.project.write(".gitlab-ci.yml", &file);
    }

    fn lets_a_good_commit_through(&mut self, drone: &Drone) {
        let good = self.project.git(&["rev-parse", "HEAD"]);
        let pipeline = self.pipeline(drone);
        assert!(pipeline.passed, "{}", pipeline.text);
        for job in JOBS {
            assert!(pipeline.ended(job, "PASS"), "{job}: {}", pipeline.text);
        }
        let digest = pipeline.digest();
        let build = drone.ended(drone.last(), Duration::from_secs(60));
        assert_eq!(
            (build.number, build.event.as_str(), &build.commit),
            (1, "custom", &good)
        );
        let shown = drone.log(1, "show");
        assert!(shown.contains(&format!("{good} {digest}")), "{shown}");
        let passes = self.gate(&digest, &good);
        assert_eq!(passes.code, Some(0), "{:#}", passes.report);
        self.good = (good, digest);
    }

    fn stops_a_bad_one(&mut self, drone: &Drone) {
        self.project.write("probe.go", BUG);
        self.bad = self.project.commit("ask others whether they are well");
        let pipeline = self.pipeline(drone);
        assert!(
            !pipeline.passed && pipeline.ended("sonarqube", "FAIL"),
            "{}",
            pipeline.text
        );
        assert!(
            pipeline.text.contains("QUALITY GATE STATUS: FAILED"),
            "{}",
            pipeline.text
        );
        for job in ["build-image", "notify-drone"] {
            assert!(!pipeline.began(job), "{job}: {}", pipeline.text);
        }
        assert_eq!(drone.last(), 1, "Drone has heard of it");
        let findings = self.sonarqube.findings();
        let is_it = |rule: &String| rule.contains("certificates-not-verified");
        assert!(findings.iter().any(is_it), "{findings:?}");

        // An image that nobody has pushed; one of another commit, which SonarQube has stopped besides.
        let (good, digest) = &self.good;
        let missing = self.gate(&format!("sha256:{}", "0".repeat(64)), good);
        assert_eq!(missing.code, Some(1), "{:#}", missing.report);
        assert!(
            missing
                .complaint("image")
                .contains("has nothing under this digest")
        );
        let other = self.gate(digest, &self.bad);
        assert_eq!(other.code, Some(1), "{:#}", other.report);
        assert!(
            other.complaint("revision").contains(good),
            "{:#}",
            other.report
        );
        assert!(
            other
                .complaint("sonarqube")
                .contains("the quality gate failed")
        );
        self.project.revert();
    }
}
