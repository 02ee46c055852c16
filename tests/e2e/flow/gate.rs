//! `edge-agent gate` as a person runs it.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::registry::Registry;
use super::sonarqube::{PROJECT, SonarQube};

/// What it said: its exit code, and the report.
pub(super) struct Verdict {
    pub(super) code: Option<i32>,
    pub(super) report: Value,
}

/// Asks it about an image that should be from that commit.
pub(super) fn ask(
    folder: &Path,
    registry: &Registry,
    sonarqube: &SonarQube,
    digest: &str,
    revision: &str,
) -> Verdict {
    let secret = folder.join("config.json");
    fs::write(&secret, registry.pull_secret().to_string()).unwrap();
    let token = folder.join("sonar-token");
    fs::write(&token, &sonarqube.reader).unwrap();
    let done = Command::new(env!("CARGO_BIN_EXE_edge-agent"))
        .args([
            "gate",
            "--json",
            "--architecture",
            "arm64",
            "--timeout",
            "20s",
            "--revision",
            revision,
        ])
        .arg("--image")
        .arg(format!("{}/acme/shop@{digest}", registry.host()))
        .arg("--allow-registry")
        .arg(format!("{}/acme", registry.host()))
        .arg("--docker-config")
        .arg(&secret)
        .arg("--ca-file")
        .arg(registry.ca_file())
        .args(["--sonar-project", PROJECT, "--sonar-url", &sonarqube.url()])
        .arg("--sonar-token")
        .arg(&token)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&done.stderr);
    Verdict {
        code: done.status.code(),
        report: serde_json::from_slice(&done.stdout)
            .unwrap_or_else(|error| panic!("{error}: {errors}")),
    }
}

impl Verdict {
    /// Why a check did not pass.
    pub(super) fn complaint(&self, check: &str) -> &str {
        let checks = self.report["checks"].as_array().into_iter().flatten();
        let mut bad = checks.filter(|it| it["check"] == check && it["verdict"] != "passed");
        bad.next()
            .and_then(|it| it["reason"].as_str())
            .unwrap_or_default()
    }
}
