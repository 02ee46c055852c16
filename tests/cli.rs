//! The command line as a user has it: the real binary.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What the binary answered.
struct Answer {
    code: Option<i32>,
    output: String,
    errors: String,
}

fn edge_agent() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edge-agent"));
    // Nothing of the surroundings of the test is to show; a home is where the state would go.
    command
        .env_clear()
        .env("HOME", "/home/pi")
        .stdin(Stdio::null());
    command
}

fn ask<I: IntoIterator<Item: AsRef<OsStr>>>(arguments: I) -> Answer {
    let output = edge_agent().args(arguments).output().unwrap();
    Answer {
        code: output.status.code(),
        output: String::from_utf8(output.stdout).unwrap(),
        errors: String::from_utf8(output.stderr).unwrap(),
    }
}

fn written(directory: &Path, text: &str) -> PathBuf {
    let file = directory.join("agent.toml");
    fs::write(&file, text).unwrap();
    file
}

#[test]
fn help_and_version_go_to_standard_output() {
    let help = ask(["--help"]);
    assert_eq!(help.code, Some(0), "{}", help.errors);
    assert!(help.output.contains("Exit codes:"), "{}", help.output);
    assert!(help.output.contains("Example:"), "{}", help.output);

    let version = ask(["--version"]);
    assert_eq!(version.code, Some(0));
    let start = format!("edge-agent {} (", env!("CARGO_PKG_VERSION"));
    assert!(version.output.starts_with(&start), "{}", version.output);
    assert!(version.output.contains("-linux-"), "{}", version.output);
}

#[test]
fn wrong_arguments_are_a_matter_of_usage() {
    for arguments in [
        &["frobnicate"][..],
        &["check", "--frob"],
        &[],
        &["completions"],
    ] {
        let answer = ask(arguments);
        assert_eq!(answer.code, Some(2), "{arguments:?}");
        assert_eq!(answer.output, "", "{arguments:?}");
        assert!(answer.errors.contains("Usage:"), "{}", answer.errors);
    }
    // systemd must not start it again and again.
    assert_eq!(ask(["run", "--frob"]).code, Some(64));
}

#[test]
fn a_sound_file_gives_a_summary() {
    let directory = tempfile::tempdir().unwrap();
    let text = "node = \"pi-07\"\n[mqtt]\nurl = \"mqtts://broker.example\"\n";
    let file = written(directory.path(), text);
    let answer = ask([
        OsStr::new("check"),
        OsStr::new("--config"),
        file.as_os_str(),
    ]);
    assert_eq!((answer.code, answer.errors.as_str()), (Some(0), ""));
    assert!(answer.output.contains("is in order."), "{}", answer.output);
    assert!(
        answer.output.contains("mqtts://broker.example:8883"),
        "{}",
        answer.output
    );
}

#[test]
fn all_faults_of_a_file_are_told_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let file = written(
        directory.path(),
        "node = \"a b\"\n[mqtt]\nkeep_alive_seconds = 2\nca_file = \"missing.pem\"\n\
         url = \"mqtts://broker\"\n[outbox]\nmax_byte = 1\n[log]\nlevel = 3\n",
    );
    let answer = ask([
        OsStr::new("check"),
        OsStr::new("--config"),
        file.as_os_str(),
    ]);
    assert_eq!((answer.code, answer.output.as_str()), (Some(2), ""));
    let shown = file.display();
    let told: Vec<_> = answer.errors.lines().collect();
    let expected = [
        format!("{shown}:1: node: "),
        format!("{shown}:3: mqtt.keep_alive_seconds: 2 is out of range; allowed is 5 to 3600"),
        format!("{shown}:4: mqtt.ca_file: "),
        format!("{shown}:7: outbox.max_byte: unknown key; did you mean max_bytes?"),
        format!("{shown}:9: log.level: must be a string, not an integer"),
        format!("edge-agent: 5 faults in {shown}"),
    ];
    assert_eq!(told.len(), expected.len(), "{}", answer.errors);
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.starts_with(&expected), "{told}\n{expected}");
    }
}

#[test]
fn a_missing_file_that_was_asked_for_is_a_fault() {
    let answer = ask(["check", "--config", "/nonexistent/agent.toml"]);
    assert_eq!(answer.code, Some(2));
    assert!(
        answer.errors.contains("cannot be read"),
        "{}",
        answer.errors
    );
}

/// What systemd runs after the service has ended, when its credentials are gone.
#[test]
fn leds_are_released_without_the_credentials_of_the_service() {
    let directory = tempfile::tempdir().unwrap();
    let text = "[mqtt]\nusername = \"pi-01\"\npassword_file = \"credential:mqtt-password\"\n\
                [led.deploy]\nkind = \"simulated\"\n";
    let file = written(directory.path(), text);
    let check = ask(["check".as_ref(), "--config".as_ref(), file.as_os_str()]);
    assert_eq!(check.code, Some(2), "{}", check.errors);
    let release = ask([
        "release-leds".as_ref(),
        "--config".as_ref(),
        file.as_os_str(),
    ]);
    assert_eq!((release.code, release.errors.as_str()), (Some(0), ""));
}

#[test]
fn the_printed_settings_are_a_file_that_gives_them_again() {
    let directory = tempfile::tempdir().unwrap();
    let text = "node = \"pi-07\"\n[led.a]\nkind = \"simulated\"\n";
    let print = |text: &str| {
        let file = written(directory.path(), text);
        let answer = ask([
            OsStr::new("check"),
            OsStr::new("--print"),
            OsStr::new("-c"),
            file.as_os_str(),
        ]);
        assert_eq!((answer.code, answer.errors.as_str()), (Some(0), ""));
        answer.output
    };
    let printed = print(text);
    assert!(printed.contains("keep_alive_seconds = 30"), "{printed}");
    assert!(printed.contains("[led.\"a\"]"), "{printed}");
    assert_eq!(print(&printed), printed);
}

#[test]
fn every_shell_gets_its_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let answer = ask(["completions", shell]);
        assert_eq!(answer.code, Some(0), "{shell}: {}", answer.errors);
        assert!(
            answer.output.contains("completions"),
            "{shell}: {}",
            answer.output
        );
    }
}

#[test]
fn a_reader_that_goes_away_is_no_fault() {
    for arguments in [&["completions", "bash"][..], &["--help"]] {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let output = edge_agent()
            .args(arguments)
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn();
        let output = output.unwrap().wait_with_output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            (output.status.code(), errors.as_str()),
            (Some(0), ""),
            "{arguments:?}"
        );
    }
}
