//! A network of its own for a suite whose programs listen beyond loopback, or would ask the world outside:
//! the suite runs once more, as a process in a network namespace that has a loopback device and nothing else.

use std::process::Command;

/// Is set in the process within.
const WITHIN: &str = "EDGE_AGENT_FENCED";

/// Brings loopback up, and goes on as the suites.
const ENTER: &str = "ip link set lo up && exec \"$@\"";

/// Runs `suite` behind the fence. No name of another suite may contain `name`.
///
/// # Panics
///
/// When it failed in there, or the namespace could not be made.
pub(crate) fn fenced(name: &str, suite: impl FnOnce()) {
    if std::env::var_os(WITHIN).is_some() {
        return suite();
    }
    let flags = std::env::args().skip(1).filter(|word| word == "--long");
    let status = Command::new("unshare")
        .args(["--net", "--", "sh", "-c", ENTER, "sh"])
        .arg(std::env::current_exe().unwrap())
        .arg(name)
        .args(flags)
        .env(WITHIN, "1")
        .status()
        .unwrap();
    assert!(status.success(), "{name}: {status}");
}
