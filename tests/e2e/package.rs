//! What `cross` makes beside the board's package: the list of what is in the binary, and the same binary again.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{Args, Suite, figure};

pub(crate) const SUITES: &[Suite] = &[
    ("package_sbom", sbom),
    ("package_reproducible", reproducible),
];

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const TARGET: &str = "aarch64-unknown-linux-gnu";

/// What the command says. It gets nothing of what cargo tells a suite: a build would start anew for it.
pub(crate) fn said(
    program: impl AsRef<OsStr>,
    arguments: &[&str],
    settings: &[(&str, &Path)],
) -> String {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CARGO_")) {
        command.env_remove(name);
    }
    command.args(arguments).envs(settings.iter().copied());
    let out = command.stderr(Stdio::inherit()).output().unwrap();
    assert!(out.status.success(), "{arguments:?}: {}", out.status);
    String::from_utf8(out.stdout).unwrap()
}

/// It names every crate that is linked into the binary, with its licence and checksum, and nothing else.
fn sbom(_: &Args) {
    let path = said(format!("{ROOT}/cross/sbom"), &[TARGET], &[]);
    let text = fs::read_to_string(Path::new(ROOT).join(path.trim())).unwrap();
    let sbom: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(sbom["bomFormat"], "CycloneDX");
    assert_eq!(sbom["metadata"]["component"]["name"], "edge-agent");
    let components = sbom["components"].as_array().unwrap();
    let listed: BTreeSet<String> = components
        .iter()
        .map(|it| format!("{} v{}", text_of(it, "name"), text_of(it, "version")))
        .collect();
    assert_eq!(listed, linked());
    for component in components {
        let ours = component["name"] == "edge-agent-core";
        assert!(component["licenses"][0].is_object(), "{component}");
        assert_eq!(component["hashes"].is_null(), ours, "{component}");
    }
    assert!(!text.contains(ROOT), "it names a folder of this machine");
    figure("crates in the binary", components.len());
}

fn text_of<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap()
}

/// What cargo says is linked into the binary, beside the binary itself.
fn linked() -> BTreeSet<String> {
    let manifest = format!("{ROOT}/Cargo.toml");
    let tree = ["tree", "--locked", "--package=edge-agent", "--edges=normal"];
    let shape = ["--prefix=none", "--format={p}", "--target", TARGET];
    let from = ["--manifest-path", &manifest];
    let lines = said("cargo", &[&tree[..], &shape, &from].concat(), &[]);
    let words = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let all = lines.lines().map(words);
    all.filter(|it| !it.starts_with("edge-agent v")).collect()
}

/// Two builds of the commit, in different folders and with different folders of cargo, are the same bytes.
fn reproducible(args: &Args) {
    if !args.long {
        figure("left out", "two release builds are for --long");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let built = ["one", "the other folder"].map(|name| {
        let clone = folder.path().join(name);
        let to = clone.display().to_string();
        said("git", &["clone", "--quiet", ROOT, &to], &[]);
        let home = clone.join("target/home of cargo");
        let path = said(
            clone.join("cross/build"),
            &[TARGET],
            &[("CARGO_HOME", &home)],
        );
        fs::read(clone.join(path.lines().next_back().unwrap())).unwrap()
    });
    figure("bytes of the binary", built[0].len());
    assert!(built[0] == built[1], "two builds of one commit differ");
}
