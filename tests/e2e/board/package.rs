//! The package: made, upgraded, removed and purged as Debian's users expect.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::light::{ACT, RGB, wait_dark};
use super::stage::Stage;
use crate::readme::Section;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// Makes it with `cross/package`, which takes minutes from nothing; or takes the one that
/// `EDGE_AGENT_PACKAGE` names.
pub(super) fn make() -> PathBuf {
    if let Some(made) = std::env::var_os("EDGE_AGENT_PACKAGE") {
        return PathBuf::from(made);
    }
    let mut package = Command::new(format!("{ROOT}/cross/package"));
    // What cargo says of the suite; a build with it would differ from one without, and start anew.
    let of_suite = |name: &str| {
        let starts = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_"];
        starts.iter().any(|it| name.starts_with(it))
    };
    for (name, _) in std::env::vars().filter(|(name, _)| of_suite(name)) {
        package.env_remove(name);
    }
    let made = package.stderr(Stdio::inherit()).output().unwrap();
    assert!(made.status.success(), "cross/package failed");
    let said = String::from_utf8(made.stdout).unwrap();
    let deb = PathBuf::from(said.lines().next_back().unwrap().trim());
    assert!(deb.exists(), "{said}");
    deb
}

/// Puts what is in it into a folder.
pub(super) fn unpack(deb: &Path, folder: &Path) {
    let done = Command::new("dpkg-deb")
        .arg("-x")
        .args([deb, folder])
        .status();
    assert!(done.unwrap().success());
}

/// The same package with a later version.
pub(super) fn next(deb: &Path, folder: &Path) -> PathBuf {
    let (tree, made) = (folder.join("next"), folder.join("next.deb"));
    let dpkg = |arguments: &[&Path]| {
        let done = Command::new("dpkg-deb").args(arguments).output().unwrap();
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
    };
    dpkg(&[Path::new("-R"), deb, &tree]);
    let control = tree.join("DEBIAN/control");
    let text = fs::read_to_string(&control).unwrap();
    let later = text.replacen("\nVersion: ", "\nVersion: 9:", 1);
    assert_ne!(later, text, "the package has a version");
    fs::write(control, later).unwrap();
    // The settings that it brings are others than before.
    let settings = tree.join("etc/edge-agent/agent.toml");
    let text = fs::read_to_string(&settings).unwrap();
    fs::write(settings, format!("{text}# Later.\n")).unwrap();
    dpkg(&[Path::new("-b"), &tree, &made]);
    made
}

pub(super) fn upgraded_and_removed(stage: &mut Stage) {
    let machine = &mut stage.machine;
    let key = machine.must("sha256sum /var/lib/edge-agent/node.key");
    let settings = machine.must("sha256sum /etc/edge-agent/agent.toml");
    let pid = "systemctl show --property MainPID --value edge-agent";
    let before = machine.must(pid);
    machine.must("sudo DEBIAN_FRONTEND=noninteractive apt-get install -y -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold /home/pi/next.deb");
    assert_ne!(machine.must(pid), before, "the new one runs");
    assert_eq!(machine.must("systemctl is-active edge-agent"), "active\n");
    assert_eq!(
        machine.must("sha256sum /etc/edge-agent/agent.toml"),
        settings
    );
    assert_eq!(machine.must("sha256sum /var/lib/edge-agent/node.key"), key);

    machine.must("sudo DEBIAN_FRONTEND=noninteractive apt-get remove -y edge-agent");
    wait_dark(machine, &RGB, Duration::from_secs(5));
    // The LED on the board is the kernel's again: its trigger blinks it.
    assert!(!machine.is_input(ACT));
    let gone = machine.shell("systemctl is-active edge-agent; ls /usr/bin/edge-agent");
    assert!(gone.starts_with("inactive\n"), "{gone}");
    assert!(gone.contains("No such file"), "{gone}");
    assert_eq!(
        machine.must("sha256sum /etc/edge-agent/agent.toml"),
        settings
    );
    assert_eq!(machine.must("sha256sum /var/lib/edge-agent/node.key"), key);

    machine.must("sudo DEBIAN_FRONTEND=noninteractive apt-get purge -y edge-agent");
    let left =
        machine.shell("ls -d /etc/edge-agent /var/lib/edge-agent /run/edge-agent 2>/dev/null");
    assert_eq!(left, "", "left after a purge");
    let user = machine.must("id edge-agent");
    assert!(user.contains("edge-agent"), "{user}");
}

/// The files of `systemd`, packed for the board.
pub(super) fn units(folder: &Path) -> PathBuf {
    let packed = folder.join("systemd.tar");
    let done = Command::new("tar")
        .args(["--directory", ROOT, "--create", "--file"])
        .args([&packed, Path::new("systemd")])
        .status();
    assert!(done.unwrap().success());
    packed
}

/// Without the package, with the commands as they stand in the README.
pub(super) fn installed_by_hand(stage: &Stage, readme: &mut Section) {
    let machine = &stage.machine;
    machine.must(
        "cd /home/pi && tar -xf systemd.tar && dpkg-deb -x edge-agent_*_arm64.deb unpacked && \
         cp unpacked/usr/bin/edge-agent /usr/bin/edge-agent",
    );
    // It is of whoever wrote it, and has outlived what it names.
    machine.must("rm -r /etc/systemd/system/edge-agent.service.d && systemctl daemon-reload");
    let folders = "mkdir -p /usr/share/bash-completion/completions /usr/share/man/man1";
    machine.must(folders);
    for begins in [
        "edge-agent completions bash ",
        "edge-agent man ",
        "install -m 644 systemd/edge-agent.sysusers ",
        "install -m 644 systemd/edge-agent.tmpfiles ",
        "install -m 644 systemd/edge-agent*.service ",
        "install -D -m 755 systemd/edge-agent-token ",
        "systemd-sysusers && ",
    ] {
        machine.must(&format!("cd /home/pi && {}", readme.next(begins)));
    }
    let said = machine.must(&readme.next("edge-agent status"));
    assert!(said.contains("Raspberry Pi 3 Model B"), "{said}");
    assert_eq!(machine.must("systemctl is-active edge-agent"), "active\n");
    assert_eq!(machine.must("systemctl is-enabled edge-agent"), "enabled\n");
}
