//! What the design promises of the source tree, checked on the source tree. Each rule is shown to
//! fail on something that breaks it.

mod rules;
mod source;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use source::Source;

/// All that may stand at the top beside dotfiles and what `.gitignore` lists.
const TOP_LEVEL: &[&str] = &[
    "Cargo.lock",
    "Cargo.toml",
    "README.md",
    "agent",
    "config",
    "cross",
    "hardware",
    "systemd",
    "tests",
];

/// What the pure core may depend on.
const CORE_DEPENDENCIES: &[&str] = &[
    "base64",
    "jiff",
    "ring",
    "serde",
    "serde_json",
    "thiserror",
    "toml",
    "ulid",
    "wildmatch",
];

/// Crates that bring a second TLS stack or provider of cryptography.
const FORBIDDEN: &[&str] = &[
    "aws-lc-rs",
    "aws-lc-sys",
    "native-tls",
    "openssl",
    "openssl-sys",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

fn toml(path: &str) -> toml::Table {
    read(path).parse().unwrap()
}

static AGENT: LazyLock<Vec<Source>> = LazyLock::new(|| Source::all(root(), "agent"));
static TESTS: LazyLock<Vec<Source>> = LazyLock::new(|| Source::all(root(), "tests"));

type Rule = fn(&[Source]) -> Vec<String>;

/// Checks that the tree keeps a rule, and that the rule sees what breaks it.
fn check(rule: Rule, trees: &[&[Source]], broken: &[(&str, &str)], sound: &[(&str, &str)]) {
    for (path, text) in broken {
        let complaints = rule(&[Source::new(path, text)]);
        assert!(
            !complaints.is_empty(),
            "the rule does not see {path}: {text}"
        );
    }
    for (path, text) in sound {
        let complaints = rule(&[Source::new(path, text)]);
        assert!(complaints.is_empty(), "{path}: {text}: {complaints:?}");
    }
    for sources in trees {
        assert!(sources.len() > 3, "there are sources to look at");
        let complaints = rule(sources);
        assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    }
}

#[test]
fn clocks_are_read_in_one_place() {
    check(
        rules::clocks_are_read_in_one_place,
        &[&AGENT],
        &[
            ("agent/a.rs", "fn f() { std::time::SystemTime::now(); }"),
            ("agent/a.rs", "fn f() { jiff::Timestamp::now(); }"),
            ("agent/a.rs", "fn f() { Instant::now(); }"),
            (
                "agent/a.rs",
                "use std::time::Instant; fn f() { Instant::now(); }",
            ),
            (
                "agent/a.rs",
                "use tokio::time::Instant; fn f() { std::time::Instant::now(); }",
            ),
            ("agent/core/src/clock.rs", "fn f() { Timestamp::now(); }"),
        ],
        &[
            ("agent/clock.rs", "fn f() { Timestamp::now(); }"),
            (
                "agent/a.rs",
                "use tokio::time::{Duration, Instant};\nfn f(used: Instant) { Instant::now(); }",
            ),
            ("agent/a.rs", "fn f() { tokio::time::Instant::now(); }"),
            (
                "agent/a.rs",
                "// SystemTime::now()\n#[cfg(test)]\nmod t { fn f() { Timestamp::now(); } }",
            ),
        ],
    );
}

#[test]
fn tasks_are_started_in_one_place() {
    check(
        rules::tasks_are_started_in_one_place,
        &[&AGENT],
        &[
            ("agent/a.rs", "fn f() { tokio::spawn(async {}); }"),
            ("agent/a.rs", "fn f() { tokio::task::spawn(async {}); }"),
            ("agent/a.rs", "fn f() { task::spawn_local(async {}); }"),
            ("agent/a.rs", "use tokio::{spawn, time};"),
        ],
        &[
            ("agent/supervisor.rs", "fn f() { tokio::spawn(async {}); }"),
            (
                "agent/supervisor/tasks.rs",
                "fn f() { tokio::spawn(async {}); }",
            ),
            (
                "agent/a.rs",
                "fn f() { tokio::task::spawn_blocking(|| {}); }",
            ),
        ],
    );
}

#[test]
fn nothing_is_unsafe() {
    check(
        rules::nothing_is_unsafe,
        &[&AGENT, &TESTS],
        &[("tests/a.rs", "fn f() { unsafe { g() } }")],
        &[(
            "agent/a.rs",
            "#![forbid(unsafe_code)] // unsafe\nconst A: &str = \"unsafe\";",
        )],
    );
}

#[test]
fn vendors_stay_in_their_folders() {
    check(
        rules::vendors_stay_in_their_folders,
        &[&AGENT],
        &[
            ("agent/a.rs", "use rumqttc::v5;"),
            ("agent/mqtt/a.rs", "fn f() -> kube::Result<()> {}"),
            ("agent/storehouse.rs", "use sled;"),
            ("agent/store/mod.rs", "use ring::digest;"),
            ("agent/core/src/wire.rs", "use ring::{digest, signature};"),
        ],
        &[
            ("agent/mqtt/a.rs", "use rumqttc::v5;"),
            ("agent/store.rs", "use sled;"),
            ("agent/store/a.rs", "mod ring;\nuse ring::Ring;"),
            ("agent/core/src/command/key.rs", "use ring::digest;"),
            ("agent/mqtt/tls.rs", "use rustls::crypto::ring;"),
            ("agent/a.rs", "fn f(kube: &str) { g(kube) }"),
        ],
    );
}

#[test]
fn the_core_is_pure() {
    check(
        rules::the_core_is_pure,
        &[&AGENT],
        &[
            ("agent/core/src/a.rs", "use std::fs::File;"),
            ("agent/core/src/a.rs", "use std::{\n    fs,\n    fmt,\n};"),
            ("agent/core/src/a.rs", "fn f() { std::thread::sleep(d); }"),
            ("agent/core/src/a.rs", "async fn f() {}"),
            ("agent/core/src/a.rs", "use tokio::sync;"),
        ],
        &[
            (
                "agent/core/src/a.rs",
                "use std::fmt; fn process(env: u8) {}",
            ),
            ("agent/a.rs", "use std::fs;"),
        ],
    );
    let manifest = toml("agent/core/Cargo.toml");
    let dependencies = manifest["dependencies"].as_table().unwrap();
    let unknown: Vec<_> = dependencies
        .keys()
        .filter(|name| !CORE_DEPENDENCIES.contains(&name.as_str()))
        .collect();
    assert!(unknown.is_empty(), "may the core depend on {unknown:?}?");
}

#[test]
fn files_are_short() {
    let (long, tests) = ("fn f() {}\n".repeat(401), "fn f() {}\n".repeat(501));
    let fine = "fn f() {}\n".repeat(400);
    check(
        rules::files_are_short,
        &[&AGENT],
        &[
            ("agent/a.rs", &long),
            ("agent/a/tests.rs", &tests),
            ("agent/main.rs", &fine[..600]),
        ],
        &[
            ("agent/a.rs", &fine),
            ("agent/a/tests.rs", &long),
            ("agent/main.rs", &fine[..590]),
        ],
    );
}

#[test]
fn names_say_what_things_are() {
    check(
        rules::names_say_what_things_are,
        &[&AGENT, &TESTS],
        &[
            ("agent/a.rs", "struct LinkManager;"),
            ("agent/a.rs", "fn event_handlers() {}"),
            ("agent/a.rs", "mod utils;"),
            ("agent/helpers/a.rs", ""),
            ("agent/misc.rs", ""),
        ],
        &[
            (
                "agent/a.rs",
                "use tokio_util::sync; use x::util::Y; // the manager\nfn uncommon(utility: u8) {}",
            ),
            ("agent/a.rs", "struct Managed; const A: &str = \"manager\";"),
        ],
    );
}

#[test]
fn there_is_one_main() {
    check(
        rules::there_is_one_main,
        &[&AGENT],
        &[("agent/a.rs", "fn main() {}")],
        &[
            ("agent/main.rs", "fn main() {}"),
            ("agent/a.rs", "fn domain() {}"),
        ],
    );
}

#[test]
fn nothing_is_left_unfinished() {
    let mark = ["// TO", "DO: later"].concat();
    check(
        rules::nothing_is_left_unfinished,
        &[&AGENT, &TESTS],
        &[
            ("agent/a.rs", "fn f() { todo!() }"),
            ("agent/a.rs", "#[ignore]\nfn f() {}"),
            ("agent/a.rs", &mark),
        ],
        &[("agent/a.rs", "/// ignore\nfn todo() {}")],
    );
}

#[test]
fn a_verified_command_is_made_in_one_place() {
    let twice = "fn f() { VerifiedCommand { a } }\nfn g() { VerifiedCommand { a } }";
    check(
        rules::a_verified_command_is_made_in_one_place,
        &[&AGENT],
        &[
            ("agent/core/src/command/envelope.rs", twice),
            ("agent/a.rs", "fn f() { VerifiedCommand { a } }"),
        ],
        &[(
            "agent/core/src/command/envelope.rs",
            "struct VerifiedCommand { a: u8 }\nfn f() -> VerifiedCommand { VerifiedCommand { a } }",
        )],
    );
}

/// The names that are not to stand at the top of the repository.
fn misplaced<'n>(names: &[&'n str], ignored: &str) -> Vec<&'n str> {
    let is_ignored = |name: &str| ignored.lines().any(|line| line.trim_matches('/') == name);
    names
        .iter()
        .copied()
        .filter(|name| !name.starts_with('.') && !TOP_LEVEL.contains(name) && !is_ignored(name))
        .collect()
}

#[test]
fn the_top_level_is_what_was_asked_for() {
    let names = ["src", "agent", ".github", "LICENSE", "target"];
    assert_eq!(misplaced(&names, "/target\n"), ["src", "LICENSE"]);
    let entries = fs::read_dir(root()).unwrap();
    let names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    assert_eq!(misplaced(&names, &read(".gitignore")), [""; 0]);
}

/// The forbidden crates in a lock file, and all versions of rustls if there are several.
fn crypto_faults(lock: &toml::Table) -> Vec<String> {
    let packages: Vec<_> = lock["package"]
        .as_array()
        .unwrap()
        .iter()
        .map(|package| {
            (
                package["name"].as_str().unwrap(),
                package["version"].as_str().unwrap(),
            )
        })
        .collect();
    let mut faults: Vec<_> = packages
        .iter()
        .filter(|(name, _)| FORBIDDEN.contains(name))
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    let rustls: Vec<_> = packages
        .iter()
        .filter(|(name, _)| *name == "rustls")
        .collect();
    if rustls.len() != 1 {
        faults.push(format!("one TLS stack, not {rustls:?}"));
    }
    faults
}

#[test]
fn there_is_one_tls_stack_and_one_provider_of_cryptography() {
    let package = |name: &str| format!("[[package]]\nname = \"{name}\"\nversion = \"1.0.0\"\n");
    let lock = |names: &[&str]| names.iter().map(|name| package(name)).collect::<String>();
    let faults = |names: &[&str]| crypto_faults(&lock(names).parse().unwrap());
    assert_eq!(faults(&["rustls", "ring"]), [""; 0]);
    assert_eq!(faults(&["rustls", "aws-lc-rs"]), ["aws-lc-rs 1.0.0"]);
    assert_eq!(faults(&["rustls", "openssl-sys"]), ["openssl-sys 1.0.0"]);
    assert_eq!(faults(&["rustls", "rustls"]).len(), 1);
    assert_eq!(crypto_faults(&toml("Cargo.lock")), [""; 0]);
}

#[test]
fn the_licence_is_stated_in_every_manifest() {
    let workspace = toml("Cargo.toml");
    let license = workspace["workspace"]["package"]["license"].as_str();
    assert_eq!(license, Some("MIT OR Apache-2.0"));
    for manifest in ["Cargo.toml", "agent/core/Cargo.toml"] {
        let package = &toml(manifest)["package"];
        assert_eq!(
            package["license"]["workspace"].as_bool(),
            Some(true),
            "{manifest}"
        );
        assert_eq!(package["publish"].as_bool(), Some(false), "{manifest}");
    }
}

/// The hardening that was measured; a line that goes missing makes the service weaker in silence.
const HARDENING: &str = "\
NoNewPrivileges=yes CapabilityBoundingSet= ProtectSystem=strict ProtectHome=yes PrivateTmp=yes
PrivateUsers=yes PrivateMounts=yes RemoveIPC=yes KeyringMode=private DevicePolicy=closed
ProtectKernelTunables=yes ProtectKernelModules=yes ProtectKernelLogs=yes ProtectControlGroups=yes
ProtectClock=yes ProtectHostname=yes ProtectProc=invisible RestrictNamespaces=yes
RestrictRealtime=yes RestrictSUIDSGID=yes LockPersonality=yes MemoryDenyWriteExecute=yes
SystemCallArchitectures=native SystemCallFilter=@system-service SystemCallErrorNumber=EPERM
IPAddressDeny=any StateDirectoryMode=0700 UMask=0077 MemoryHigh=48M MemoryMax=64M TasksMax=32
Type=notify WatchdogSec=30 Restart=always RestartSec=5 StartLimitIntervalSec=0 TimeoutStopSec=15
User=edge-agent SupplementaryGroups=gpio StateDirectory=edge-agent RuntimeDirectory=edge-agent";

fn missing_lines<'w>(unit: &str, wanted: &[&'w str]) -> Vec<&'w str> {
    let lines: BTreeSet<_> = unit.lines().map(str::trim).collect();
    let missing = wanted.iter().filter(|line| !lines.contains(**line));
    missing.copied().collect()
}

#[test]
fn the_unit_is_hardened_and_knows_the_exit_codes() {
    let mut wanted: Vec<_> = HARDENING.split_whitespace().collect();
    let restart = format!(
        "RestartPreventExitStatus={} {}",
        edge_agent::cli::Exit::RunUsage as u8,
        edge_agent::cli::Exit::RunConfiguration as u8
    );
    wanted.extend([
        restart.as_str(),
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
        "SystemCallFilter=~@privileged @resources",
        "ExecStart=/usr/bin/edge-agent run",
    ]);
    let unit = read("systemd/edge-agent.service");
    assert_eq!(missing_lines(&unit, &wanted), [""; 0]);
    let weaker = unit.replace("\nPrivateTmp=yes\n", "\n#PrivateTmp=yes\n");
    assert_eq!(missing_lines(&weaker, &wanted), ["PrivateTmp=yes"]);
}
