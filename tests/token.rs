//! The script that renews the token of the cluster, with a stand-in for kubectl.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Output};

const OLD: &str = "old.old.old\n";

/// A directory with a token, and a kubectl that does this.
fn scene(kubectl: &str) -> tempfile::TempDir {
    let scene = tempfile::tempdir().unwrap();
    let path = scene.path().join("kubectl");
    let script = format!("#!/bin/sh\necho \"$@\" >\"$(dirname \"$0\")/asked\"\n{kubectl}\n");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(scene.path().join("etc")).unwrap();
    fs::write(scene.path().join("etc/token"), OLD).unwrap();
    scene
}

fn renew(scene: &Path) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/edge-agent-token");
    let group = fs::metadata(scene).unwrap().gid();
    Command::new(script)
        .env("EDGE_AGENT_TOKEN", scene.join("etc/token"))
        .env("EDGE_AGENT_GROUP", group.to_string())
        .env("EDGE_AGENT_KUBECTL", scene.join("kubectl"))
        .output()
        .unwrap()
}

fn read(scene: &Path, name: &str) -> String {
    fs::read_to_string(scene.join(name)).unwrap()
}

/// The names in the directory of the token.
fn names(scene: &Path) -> Vec<String> {
    let entries = fs::read_dir(scene.join("etc")).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

#[test]
fn a_new_token_takes_the_place_of_the_old_in_one_step() {
    let scene = scene("echo eyJ.eyJ.s-_1");
    let scene = scene.path();
    let mut reader = fs::File::open(scene.join("etc/token")).unwrap();
    let output = renew(scene);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(read(scene, "etc/token"), "eyJ.eyJ.s-_1\n");
    assert_eq!(
        read(scene, "asked"),
        "--namespace argocd create token edge-agent --duration 24h\n"
    );
    let mode = fs::metadata(scene.join("etc/token")).unwrap().mode();
    assert_eq!(mode & 0o7777, 0o640);
    assert_eq!(names(scene), ["token"]);
    // Who was reading has the whole old one: it was replaced and not written over.
    let mut seen = String::new();
    reader.read_to_string(&mut seen).unwrap();
    assert_eq!(seen, OLD);
}

#[test]
fn without_a_new_one_the_old_one_stays_and_that_is_said() {
    for (kubectl, said) in [
        ("echo refused >&2; exit 1", "no token of argocd/edge-agent"),
        ("printf half.a; exit 1", "no token of argocd/edge-agent"),
        ("true", "not a token"),
        ("echo 'error: something else'", "not a token"),
        ("echo a.b.c; echo a.b.c", "not a token"),
    ] {
        let scene = scene(kubectl);
        let scene = scene.path();
        let output = renew(scene);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{kubectl}: {error}");
        assert!(
            error.contains(said) && error.contains("the old token stays"),
            "{kubectl}: {error}"
        );
        assert_eq!(read(scene, "etc/token"), OLD, "{kubectl}");
        assert_eq!(names(scene), ["token"], "{kubectl}");
    }
    let scene = scene("exit 1");
    fs::remove_file(scene.path().join("etc/token")).unwrap();
    let output = renew(scene.path());
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("there is no token yet"), "{error}");
}

/// As strict as it is: what loosens the sandbox shows here. Where systemd is not there, nothing is tried.
#[test]
fn its_service_is_confined() {
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd");
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=yes", "--no-pager", "--threshold=30"])
        .arg(units.join("edge-agent-token.service"))
        .output();
    if let Ok(output) = output {
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}{output:?}");
    }
}
