//! The images that `cross/image/build` makes: for the machine that the binary is for, with the right entry
//! point, not root, and the same from the same binary.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

use super::super::{Args, figure};
use super::held;

const BUILD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/cross/image/build");

/// `e_machine` of the ELF header, and what a registry calls it.
const MACHINES: [(u8, &str); 2] = [(183, "arm64"), (62, "amd64")];

pub(super) fn suite(_: &Args) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for (machine, architecture) in MACHINES {
        let binary = folder.join(architecture);
        fs::write(&binary, static_binary(machine)).unwrap();
        for (kind, entry) in [
            ("agent", json!(["/edge-agent"])),
            ("drone", json!(["/edge-agent", "drone"])),
        ] {
            let [first, second] =
                ["first", "second"].map(|name| image(&folder.join(name), kind, &binary));
            assert_eq!(first.0, second.0, "two builds of one binary differ");
            let config = first.1;
            assert_eq!(config["architecture"], architecture);
            assert_eq!(config["config"]["Entrypoint"], entry);
            assert_eq!(config["config"]["User"], "65532:65532");
            figure(&format!("{kind} for {architecture}"), first.0);
        }
    }
    refusals(folder);
}

/// What cannot start is not packed.
fn refusals(folder: &Path) {
    let binary = folder.join("binary");
    let refused = |content: &[u8], says: &str| {
        fs::write(&binary, content).unwrap();
        let done = build(folder, "agent", &binary);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(!done.status.success() && said.contains(says), "{said}");
    };
    let dynamic = [static_binary(183), b"/lib/ld-linux-aarch64.so.1".to_vec()].concat();
    refused(&dynamic, "is not static");
    refused(&static_binary(40), "neither arm64 nor amd64");
    fs::remove_file(&binary).unwrap();
    let missing = build(folder, "agent", &binary);
    assert!(String::from_utf8_lossy(&missing.stderr).contains("there is no "));
    let odd = build(folder, "plugin", &binary);
    assert_eq!(odd.status.code(), Some(2), "{odd:?}");
}

/// The header of a program for that machine.
fn static_binary(machine: u8) -> Vec<u8> {
    let mut header = vec![0; 64];
    header[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    header[16] = 2;
    header[18] = machine;
    header
}

/// Builds it in a storage of its own; its digest and its configuration.
fn image(storage: &Path, kind: &str, binary: &Path) -> (String, Value) {
    held(kind, &build(storage, kind, binary));
    let layout = storage.join("layout");
    let target = format!("oci:{}", layout.display());
    let pushed = buildah(storage, &["push", "localhost/edge-agent", &target]);
    held("buildah push", &pushed);
    let read = |path: &str| -> Value {
        serde_json::from_slice(&fs::read(layout.join(path)).unwrap()).unwrap()
    };
    let blob = |digest: &Value| format!("blobs/{}", digest.as_str().unwrap().replace(':', "/"));
    let digest = read("index.json")["manifests"][0]["digest"].clone();
    let manifest = read(&blob(&digest));
    let config = read(&blob(&manifest["config"]["digest"]));
    fs::remove_dir_all(&layout).unwrap();
    (digest.as_str().unwrap().to_owned(), config)
}

fn build(storage: &Path, kind: &str, binary: &Path) -> Output {
    let mut command = Command::new(BUILD);
    command.arg(kind).arg(binary).arg("localhost/edge-agent");
    kept(storage, &mut command).output().unwrap()
}

fn buildah(storage: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new("buildah");
    command.args(arguments);
    kept(storage, &mut command).output().unwrap()
}

/// Nothing of this machine's own images is touched.
pub(crate) fn kept<'c>(storage: &Path, command: &'c mut Command) -> &'c mut Command {
    let settings = storage.join("storage.conf");
    let path = |name: &str| storage.join(name).display().to_string();
    fs::create_dir_all(storage).unwrap();
    let text = format!(
        "[storage]\ndriver = \"vfs\"\ngraphroot = \"{}\"\nrunroot = \"{}\"\n",
        path("graph"),
        path("run")
    );
    fs::write(&settings, text).unwrap();
    command
        .env("CONTAINERS_STORAGE_CONF", settings)
        .env("STORAGE_DRIVER", "vfs")
        .env("BUILDAH_ISOLATION", "chroot")
}
