//! The package on an emulated Raspberry Pi (`hardware/emulated`): installed as the README says, under the
//! real systemd with the unit as it is shipped; broker and cluster on this machine, the pins read from
//! outside. And what needs no board: the score of the sandbox, and that the binary starts on each Debian.

mod figures;
mod indications;
mod light;
mod machine;
mod package;
mod stage;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use edge_agent_core::indication::Indication;

use super::readme::Section;
use super::support::cluster::Behaviour;
use super::{Args, Suite, figure, wait};
use light::{ACT, RGB, wait_dark, wait_shown};
use stage::Stage;

pub(crate) const SUITES: &[Suite] = &[
    ("board_sandbox_score", sandbox_score),
    ("board_binary_on_each_debian", binary_on_each_debian),
    ("board_story", story),
];

/// An emulated board is slow, and shares its processors.
const LIMIT: Duration = Duration::from_secs(120);

/// The most that the unit may be exposed, from 0 to 10.
const SCORE: f64 = 1.2;

fn sandbox_score(_: &Args) {
    let unit = concat!(env!("CARGO_MANIFEST_DIR"), "/systemd/edge-agent.service");
    let out = Command::new("systemd-analyze")
        .args(["security", "--offline=yes", "--no-pager", unit])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    let score = said
        .rsplit_once("edge-agent.service:")
        .and_then(|(_, rest)| rest.split_whitespace().next())
        .and_then(|word| word.parse::<f64>().ok());
    let score = score.unwrap_or_else(|| panic!("systemd-analyze gave no score: {said}"));
    figure("exposure", score);
    assert!(score <= SCORE, "{score} is above {SCORE}: {said}");
}

/// Starts it, and has it resolve a name, which its C library does with others beside it.
fn binary_on_each_debian(_: &Args) {
    let parts = machine::parts();
    let unpacked = tempfile::tempdir().unwrap();
    package::unpack(&package::make(), unpacked.path());
    let binary = unpacked.path().join("usr/bin/edge-agent");
    for debian in ["debian-12", "debian-13"] {
        let root = parts.join(debian);
        std::fs::copy(&binary, root.join("usr/bin/edge-agent")).unwrap();
        let run = |arguments: &[&str]| {
            let out = Command::new("chroot")
                .arg(&root)
                .arg("/usr/bin/edge-agent")
                .args(arguments)
                .output()
                .unwrap();
            let said = [out.stdout, out.stderr].concat();
            String::from_utf8_lossy(&said).into_owned()
        };
        assert!(run(&["--version"]).starts_with("edge-agent "), "{debian}");
        std::fs::create_dir_all(root.join("tmp")).unwrap();
        let key = root.join("tmp/key");
        edge_agent::store::identity::write_private_key(&key, &stage::SEED).unwrap();
        let ping = |host: &str| {
            let broker = format!("mqtt://{host}:1");
            let order = ["--node", "pi-01", "--cmd", "ping", "--wait-timeout", "2s"];
            let arguments = [
                &["send", "--broker", &broker, "--key", "/tmp/key"],
                &order[..],
            ];
            run(&arguments.concat())
        };
        // Both fail, for reasons of their own.
        let (known, unknown) = (ping("broker.example"), ping("nowhere.invalid"));
        std::fs::remove_file(&key).unwrap();
        figure(debian, known.lines().next_back().unwrap_or_default());
        assert!(known.contains("refuse"), "{debian}: {known}");
        assert!(!unknown.contains("refuse"), "{debian}: {unknown}");
    }
}

/// From the installation to the purge, by way of every indication, a rollback and a power cut.
fn story(_: &Args) {
    let folder = tempfile::tempdir().unwrap();
    let mut stage = Stage::set(folder.path());
    let mut readme = Section::named("## On the board");
    installed_as_the_readme_says(&mut stage, &mut readme);
    configured_and_online(&mut stage);
    indications::the_others(&mut stage);
    rolled_back(&mut stage);
    link_cut(&mut stage);
    watched_over(&mut stage);
    power_cut(&mut stage, folder.path());
    package::upgraded_and_removed(&mut stage);
    package::installed_by_hand(&stage, &mut readme);
}

fn installed_as_the_readme_says(stage: &mut Stage, readme: &mut Section) {
    let machine = &stage.machine;
    readme.next("cross/package");
    let before = machine.must("cat /sys/class/leds/ACT/trigger");
    assert!(before.contains("[heartbeat]"), "{before}");
    let install = readme.next("sudo apt install ./edge-agent_");
    machine.must(&format!("cd /home/pi && {install}"));
    assert_eq!(machine.must("systemctl is-active edge-agent"), "active\n");
    assert_eq!(machine.must("systemctl is-enabled edge-agent"), "enabled\n");
    let user = machine.must("id edge-agent; getent passwd edge-agent");
    assert!(user.contains("/usr/sbin/nologin"), "{user}");
    let said = machine.must(&readme.next("edge-agent status"));
    for text in ["Raspberry Pi 3 Model B", "127.0.0.1:1883", "Shown by ACT"] {
        assert!(said.contains(text), "{said}");
    }
    // The kernel's LED, without any settings, out of the sandbox.
    wait_shown(&mut stage.machine, Indication::Offline, &[ACT]);
}

fn online(stage: &mut Stage) {
    stage.configure();
    let machine = &stage.machine;
    machine.must(
        "CREDENTIALS_DIRECTORY=/etc/edge-agent edge-agent check && systemctl reload edge-agent",
    );
    let recorder = &stage.recorder;
    recorder.wait_message("presence", LIMIT, |it| it["online"] == true);
    let health = recorder.wait_message("health", LIMIT, |it| it["status"] == "ok");
    let health = health.json();
    // What the board has, and what it lacks.
    for has in [
        "/cpu/load1",
        "/memory/available_bytes",
        "/disks/0/available_bytes",
        "/temperature_celsius",
        "/power/undervoltage",
    ] {
        let value = health.pointer(has);
        assert!(value.is_some_and(|it| !it.is_null()), "{has}: {health}");
    }
    for lacks in [
        "/storage/life_used",
        "/clock/synchronized",
        "/power/throttled",
    ] {
        let value = health.pointer(lacks);
        assert!(
            value.is_none_or(serde_json::Value::is_null),
            "{lacks}: {health}"
        );
    }
    // The board's own LED has been given back.
    let trigger = stage.machine.must("cat /sys/class/leds/ACT/trigger");
    assert!(trigger.contains("[heartbeat]"), "{trigger}");
    figures::told(stage);
}

fn configured_and_online(stage: &mut Stage) {
    online(stage);
    let is_healthy = |it: &serde_json::Value| it["state"] == "Healthy";
    stage.recorder.wait_message("app/shop", LIMIT, is_healthy);
    wait_shown(&mut stage.machine, Indication::Healthy, &RGB);
}

fn rolled_back(stage: &mut Stage) {
    stage.push(2, Behaviour::Degraded);
    wait_shown(&mut stage.machine, Indication::DeployFailed, &RGB);
    let identify = stage.send(&["--cmd", "identify", "--seconds", "15"]);
    assert_eq!(identify.0, Some(0), "{}", identify.1);
    wait_shown(&mut stage.machine, Indication::Identify, &RGB);
    stage.sign_rollback();
    let sent = stage.send_signed();
    assert_eq!(sent.0, Some(0), "{}", sent.1);
    wait_shown(&mut stage.machine, Indication::Held, &RGB);
    stage.assert_results_are_signed();
}

fn link_cut(stage: &mut Stage) {
    let before = stage.recorder.messages().len();
    stage.resume();
    wait_shown(&mut stage.machine, Indication::Healthy, &RGB);
    // Something has to happen that is worth an event, and while the link is cut nobody gets in.
    let weak = "echo 1 > /sys/module/pi_devices/parameters/undervoltage";
    stage
        .machine
        .must(&format!("systemd-run --quiet --on-active=5 sh -c '{weak}'"));
    stage.machine.link(false);
    wait_shown(&mut stage.machine, Indication::Offline, &RGB);
    std::thread::sleep(Duration::from_secs(10));
    stage.machine.link(true);
    stage.wait_event(before, |event| {
        event["type"] == "edge.health.status" && event.to_string().contains("undervoltage")
    });
    wait_shown(&mut stage.machine, Indication::NodeWarning, &RGB);
}

fn watched_over(stage: &mut Stage) {
    let pid = "$(systemctl show --property MainPID --value edge-agent)";
    let restarts = |machine: &machine::Machine| {
        let said = machine.must("systemctl show --property NRestarts --value edge-agent");
        said.trim().parse::<u32>().unwrap()
    };
    // Settings with a fault change nothing, and the journal says so.
    let before = stage.machine.must(&format!("echo {pid}"));
    stage.reload_with("nonsense = 1\n");
    let machine = &mut stage.machine;
    wait(LIMIT, "the journal to name the fault", || {
        let said = machine.must("journalctl --unit edge-agent --boot --no-pager");
        said.contains("nonsense").then_some(())
    });
    machine.must("cp /tmp/agent.toml /etc/edge-agent/agent.toml");
    assert_eq!(machine.must(&format!("echo {pid}")), before);
    let begun = restarts(machine);
    assert_eq!(begun, 0, "it has ended by itself");
    machine.must(&format!("kill -STOP {pid}"));
    wait(LIMIT, "the watchdog to restart it", || {
        (restarts(machine) > begun).then_some(())
    });
    wait_shown(machine, Indication::NodeWarning, &RGB);
    // Nobody is left who could put the LEDs out, but systemd.
    machine.must(&format!("kill -KILL {pid}"));
    wait_dark(machine, &RGB, Duration::from_secs(10));
    wait_shown(machine, Indication::NodeWarning, &RGB);
}

fn power_cut(stage: &mut Stage, folder: &Path) {
    stage.broker.kill();
    stage.push(4, Behaviour::Degraded);
    let waiting = wait(LIMIT, "events to wait", || {
        let said = stage.machine.must("edge-agent status --json || true");
        let status: serde_json::Value = serde_json::from_str(&said).ok()?;
        let records = status["outbox"]["records"].as_u64()?;
        let degraded = said.contains("Degraded");
        (records >= 2 && degraded).then_some(records)
    });
    figure("events that waited when the power went", waiting);
    stage.machine.cut_power();
    let before = stage.recorder.messages().len();
    let subscriptions = stage.recorder.subscriptions();
    stage.broker.start();
    stage.recorder.wait_subscribed(subscriptions);
    figure(
        "second boot",
        format!("{:.0} s", stage.machine.boot().as_secs_f64()),
    );
    stage.wait_event(before, |event| {
        event["type"] == "edge.app.state" && event.to_string().contains("Degraded")
    });
    stage.assert_all_arrived();
    // The ledger has not forgotten.
    let patches = stage.patches();
    let again = stage.send_signed();
    figure(
        "the rollback, sent again",
        again.1.lines().next_back().unwrap_or_default(),
    );
    let older = stage.send(&["--cmd", "rollback", "--application", "shop", "--seq", "5"]);
    assert_eq!(older.0, Some(4), "{}", older.1);
    assert!(older.1.contains("replayed"), "{}", older.1);
    assert_eq!(stage.patches(), patches, "a command ran twice");
    assert!(folder.join("card").exists());
    wait_shown(&mut stage.machine, Indication::DeployFailed, &RGB);
}
