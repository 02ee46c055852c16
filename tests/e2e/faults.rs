//! Every write, sync, rename and open of the store fails in turn, with each of the errors that a
//! medium in trouble gives. strace makes the system call fail, so that sled's own calls are among
//! them and the code is what is shipped.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::writer::{self, Said, WRITER};
use super::{Args, Suite, figure};

pub(crate) const SUITES: &[Suite] = &[("faults_of_the_store", every_call_fails_once)];

/// The calls that change something, or make a file usable.
const CALLS: &[&str] = &[
    "openat",
    "write",
    "pwrite64",
    "fdatasync",
    "fsync",
    "sync_file_range",
    "ftruncate",
    "fallocate",
    "mkdir",
    "rename",
    "renameat2",
    "unlink",
];

const ERRORS: &[&str] = &["ENOSPC", "EIO", "EROFS"];

/// Batches of one run: the outbox is closed and opened again in the middle.
const ROUNDS: &str = "8";

/// How `timeout` ends when it had to kill.
const KILLED: i32 = 137;

fn every_call_fails_once(_: &Args) {
    let dir = tempfile::tempdir().unwrap();
    let paths = find_paths(dir.path());
    let counts = count_calls(dir.path(), &paths);
    let (mut runs, mut felt, mut hung) = (0, 0, 0);
    for call in CALLS {
        let count = counts.get(*call).copied().unwrap_or(0);
        for nth in 1..=count {
            for error in ERRORS {
                match run(dir.path(), &paths, (call, nth, error)) {
                    Outcome::Quiet => {}
                    Outcome::Told => felt += 1,
                    Outcome::Hung => hung += 1,
                }
                runs += 1;
            }
        }
        figure(call, format!("{count} calls"));
    }
    assert!(counts["fdatasync"] >= 8, "{counts:?}");
    // Of every sync that fails the outbox has to tell.
    assert!(
        felt >= counts["fdatasync"] * ERRORS.len(),
        "only {felt} of {runs} were felt"
    );
    figure(
        "errors",
        format!("{runs}, of them {felt} reported by the outbox"),
    );
    figure("calls of sled that did not return", hung);
    figure("events reported as stored and not there", 0);
}

/// What an error has led to.
enum Outcome {
    /// The outbox dealt with it by itself.
    Quiet,
    /// The outbox told of it, and stored the events afterwards.
    Told,
    /// sled did not return: a fault of it, on which the agent ends and is started again.
    Hung,
}

/// Every path that a writer names, of its store and beside it.
fn find_paths(dir: &Path) -> BTreeSet<String> {
    let trace = dir.join("trace");
    let store = fresh(dir);
    let out = writer_under(&store, &BTreeSet::new(), &["-o", trace.to_str().unwrap()]);
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    let home = store.parent().unwrap().display().to_string();
    let text = fs::read_to_string(&trace).unwrap();
    let names = text.split('"').filter(|name| name.starts_with(&home));
    names.map(str::to_owned).collect()
}

/// How often one thread makes each call, without any error.
fn count_calls(dir: &Path, paths: &BTreeSet<String>) -> BTreeMap<String, usize> {
    let trace = dir.join("trace");
    let store = fresh(dir);
    let out = writer_under(&store, paths, &["-o", trace.to_str().unwrap()]);
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    let mut by_thread: BTreeMap<(String, String), usize> = BTreeMap::new();
    for line in fs::read_to_string(&trace).unwrap().lines() {
        let mut words = line.split_whitespace();
        let (Some(thread), Some(rest)) = (words.next(), words.next()) else {
            continue;
        };
        let call = rest.split('(').next().unwrap_or_default();
        *by_thread
            .entry((call.to_owned(), thread.to_owned()))
            .or_default() += 1;
    }
    let mut counts = BTreeMap::new();
    for ((call, _), count) in by_thread {
        let most: &mut usize = counts.entry(call).or_default();
        *most = (*most).max(count);
    }
    counts
}

/// One run with one error.
fn run(dir: &Path, paths: &BTreeSet<String>, (call, nth, error): (&str, usize, &str)) -> Outcome {
    let what = format!("{call} number {nth} with {error}");
    let store = fresh(dir);
    let inject = format!("inject={call}:error={error}:when={nth}");
    let out = writer_under(&store, paths, &["-o", "/dev/null", "-e", &inject]);
    let text = String::from_utf8_lossy(&out.stdout);
    let said = Said::of(&text);
    let hung = out.status.code() == Some(KILLED) || out.status.signal().is_some();
    assert!(
        out.status.success() || hung,
        "{what}: the writer did not come through:\n{text}{}",
        String::from_utf8_lossy(&out.stderr)
    );
    assert_eq!(said.damaged, 0, "{what}: one error is no damage:\n{text}");
    let verdict = writer::judge(&store, said);
    assert_eq!(verdict.unopened, None, "{what}");
    assert_eq!(verdict.lost, 0, "{what}: {said:?}");
    match (hung, said.failed) {
        (true, _) => Outcome::Hung,
        (false, 0) => Outcome::Quiet,
        (false, _) => Outcome::Told,
    }
}

fn fresh(dir: &Path) -> PathBuf {
    let home = dir.join("home");
    if home.exists() {
        fs::remove_dir_all(&home).unwrap();
    }
    fs::create_dir(&home).unwrap();
    home.join("outbox")
}

/// Runs a writer under strace, which looks at these paths only; at all of them without any.
fn writer_under(store: &Path, paths: &BTreeSet<String>, arguments: &[&str]) -> Output {
    let mut command = Command::new("timeout");
    command.args([
        "--signal=KILL",
        "10",
        "strace",
        "-f",
        "-q",
        "-e",
        &format!("trace={}", CALLS.join(",")),
    ]);
    command.args(arguments);
    for path in paths {
        command.args(["-P", path]);
    }
    command.arg(std::env::current_exe().unwrap());
    command.arg(WRITER).arg(store).arg(ROUNDS);
    command.env("RUST_BACKTRACE", "0").output().unwrap()
}
