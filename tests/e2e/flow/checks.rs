//! What a commit goes through before anybody hears of it: its tests, the analysis, the image, the registry.

use super::super::{Args, figure};
use super::drone::{Drone, TOKEN};
use super::gate;
use super::programs::Programs;
use super::project::Project;
use super::registry::Registry;
use super::sonarqube::SonarQube;

const MINUTE: std::time::Duration = std::time::Duration::from_secs(60);

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

pub(super) fn suite(_: &Args) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // Its own user passes through it.
    super::let_pass(folder);
    let programs = Programs::get();
    let mut sonarqube = SonarQube::begin(&programs, &folder.join("sonarqube"));
    let registry = Registry::start(&folder.join("registry"));
    let project = Project::new(&programs, &folder.join("shop"));
    let drone = Drone::start(&folder.join("drone"), &project.folder);
    let told = [
        ("DRONE_SERVER", drone.url()),
        ("DRONE_TOKEN", TOKEN.to_owned()),
    ];
    let told = told.each_ref().map(|(name, value)| (*name, value.as_str()));
    schema(&project, &registry, &sonarqube);
    sonarqube.wait_up();
    sonarqube.set_up();

    project.write(".drone.yml", DRONE);
    let good = project.commit("with Drone");
    let pipeline = project.pipeline(&registry, &sonarqube, &told);
    assert!(pipeline.passed, "{}", pipeline.text);
    for job in [
        "test",
        "static-analysis",
        "sonarqube",
        "binary",
        "build-image",
        "sbom",
        "manifests",
        "notify-drone",
    ] {
        assert!(pipeline.ended(job, "PASS"), "{job}: {}", pipeline.text);
    }
    let digest = pipeline.digest();
    let build = drone.ended(drone.last(), MINUTE);
    assert_eq!(
        (build.number, build.event.as_str(), build.commit.as_str()),
        (1, "custom", good.as_str())
    );
    let shown = drone.log(1, "show");
    assert!(shown.contains(&format!("{good} {digest}")), "{shown}");

    let ask =
        |digest: &str, revision: &str| gate::ask(folder, &registry, &sonarqube, digest, revision);
    let passes = ask(&digest, &good);
    assert_eq!(passes.code, Some(0), "{:#}", passes.report);
    figure(
        "the gate's checks",
        passes.report["checks"].as_array().map_or(0, Vec::len),
    );

    project.write("probe.go", BUG);
    let bad = project.commit("ask others whether they are well");
    let pipeline = project.pipeline(&registry, &sonarqube, &told);
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
    let findings = sonarqube.findings();
    assert!(
        findings
            .iter()
            .any(|rule| rule.contains("certificates-not-verified")),
        "{findings:?}"
    );

    // An image that nobody has pushed; one of another commit; the commit that SonarQube has stopped.
    let missing = ask(&format!("sha256:{}", "0".repeat(64)), &good);
    assert_eq!(missing.code, Some(1), "{:#}", missing.report);
    let other = ask(&digest, &bad);
    assert_eq!(other.code, Some(1), "{:#}", other.report);
    figure("a missing image", missing.complaints());
    figure("another commit", other.complaints());
}

/// gitlab-ci-local holds the file against GitLab's schema before it runs a job of it.
fn schema(project: &Project, registry: &Registry, sonarqube: &SonarQube) {
    let listed = project.run(registry, sonarqube, &[], &["--list"]);
    super::held("gitlab-ci-local --list", &listed);
    let file = std::fs::read_to_string(project.folder.join(".gitlab-ci.yml")).unwrap();
    project.write(
        ".gitlab-ci.yml",
        &file.replacen("    - if:", "    - iff:", 1),
    );
    let refused = project.run(registry, sonarqube, &[], &["--list"]);
    assert!(!refused.status.success(), "it takes what is no pipeline");
    project.write(".gitlab-ci.yml", &file);
}
