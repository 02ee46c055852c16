//! Every command of the guide says which suite runs it, or why nobody does.

use std::fs;
use std::path::Path;

use crate::support::guide::{Command, GUIDE, commands};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// All sources of the suites.
fn sources(folder: &Path) -> String {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let text = |path: std::path::PathBuf| match path.extension() {
        _ if path.is_dir() => sources(&path),
        Some(end) if end == "rs" => fs::read_to_string(path).unwrap(),
        _ => String::new(),
    };
    entries.map(text).collect()
}

#[test]
fn every_command_of_the_guide_says_who_runs_it() {
    let commands = commands(GUIDE).unwrap();
    let suites = sources(&Path::new(ROOT).join("tests/e2e"));
    let readme = fs::read_to_string(Path::new(ROOT).join("README.md")).unwrap();
    for Command { line, suite } in &commands {
        let Some(suite) = suite else { continue };
        assert!(
            suites.contains(&format!("(\"{suite}\", ")),
            "`{line}`: there is no suite {suite}"
        );
        // These type what stands in the README.
        let is_there = !suite.starts_with("readme") || readme.contains(line);
        assert!(
            is_there,
            "`{line}` is not in the README, which {suite} goes by"
        );
    }
    let run = commands.iter().filter(|it| it.suite.is_some()).count();
    assert!(run * 2 > commands.len(), "{run} of {}", commands.len());
}

#[test]
fn a_command_without_a_mark_is_found() {
    for (text, why) in [
        (
            "```sh\nrm -r shop\n```\n",
            "nothing says who runs `rm -r shop`",
        ),
        ("```sh\nrm -r shop  # ✓\n```\n", "who runs"),
        ("```sh\nrm -r shop  # later\n```\n", "who runs"),
        ("```\nrm -r shop  # ○ no\n```\n", "no commands"),
    ] {
        let faults = commands(text).unwrap_err();
        assert!(faults[0].contains(why), "{faults:?}");
    }
    let fine = "rm\n```sh\nrm -r 'a  # b'   # ○ no\nls  # ✓ some\n```\nrm\n";
    let lines = [("rm -r 'a  # b'", None), ("ls", Some("some"))];
    let wanted = lines.map(|(line, suite)| Command { line, suite });
    assert_eq!(commands(fine), Ok(wanted.to_vec()));
}
