//! The programs that people already have, on what real agents say: each in a network of its own, see
//! [`crate::fence`].

mod access;
mod home_assistant;
mod prometheus;
mod telegraf;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::Suite;

pub(crate) const SUITES: &[Suite] = &[
    ("dashboards_access", access::suite),
    ("dashboards_home_assistant", home_assistant::suite),
    ("dashboards_prometheus", prometheus::suite),
    ("dashboards_telegraf", telegraf::suite),
];

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/dashboards");

/// A board that is asked for more than it has takes its time.
const LIMIT: Duration = Duration::from_secs(60);

/// The folder of a program; gets it when it is not there yet, which takes up to two minutes.
fn program(name: &str) -> PathBuf {
    let output = Command::new(format!("{HERE}/programs"))
        .arg(name)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "{name} cannot be had");
    PathBuf::from(String::from_utf8(output.stdout).unwrap().trim())
}

/// Runs a program to its end; returns what it says, on both ways, and whether it succeeded.
fn run(program: &Path, arguments: &[&str], input: &[u8]) -> (bool, String) {
    use std::io::Write;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}
