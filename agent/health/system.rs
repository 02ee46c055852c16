//! What the kernel and systemd say in files about load, the agent itself, and K3s.

use super::tree::Tree;

/// Ticks a second in `/proc/self/stat`: part of the interface to user space, the same on every
/// architecture that this runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Seconds since boot.
pub(super) fn uptime_seconds(tree: &Tree) -> Option<u64> {
    let text = tree.text("proc/uptime")?;
    text.split(['.', ' ']).next()?.parse().ok()
}

/// Load average over one minute.
pub(super) fn load1(tree: &Tree) -> Option<f64> {
    tree.text("proc/loadavg")?.split(' ').next()?.parse().ok()
}

/// Resident memory of the agent in bytes, and the CPU time that it has used in seconds.
pub(super) fn own_use(tree: &Tree) -> (Option<u64>, Option<f64>) {
    (rss_bytes(tree), cpu_seconds(tree))
}

/// From `status`, because `statm` counts pages, and those of a Pi 5 are not of 4 KiB.
fn rss_bytes(tree: &Tree) -> Option<u64> {
    let status = tree.text("proc/self/status")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    kibibytes.checked_mul(1024)
}

fn cpu_seconds(tree: &Tree) -> Option<f64> {
    let stat = tree.text("proc/self/stat")?;
    // The name of the program, in parentheses, may have anything in it.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11);
    let user: u64 = times.next()?.parse().ok()?;
    let system: u64 = times.next()?.parse().ok()?;
    Some(user.saturating_add(system) as f64 / TICKS_PER_SECOND)
}

/// Whether K3s runs, as server or as agent; `None` where it is not installed.
///
/// Its cgroup alone does not tell: the shims of its containers stay in it when K3s is stopped. So
/// systemd must also hold the unit to be active, which it shows by a link in `/run/systemd/units`.
pub(super) fn k3s_service(tree: &Tree) -> Option<bool> {
    const UNITS: [&str; 2] = ["k3s", "k3s-agent"];
    let states: Vec<bool> = UNITS
        .iter()
        .filter(|unit| installed(tree, unit))
        .map(|unit| active(tree, unit))
        .collect();
    (!states.is_empty()).then(|| states.contains(&true))
}

fn installed(tree: &Tree, unit: &str) -> bool {
    ["etc", "usr/lib", "lib", "usr/local/lib"]
        .iter()
        .any(|place| tree.exists(&format!("{place}/systemd/system/{unit}.service")))
        || populated(tree, unit)
}

fn active(tree: &Tree, unit: &str) -> bool {
    const UNITS: &str = "run/systemd/units";
    let believed =
        !tree.exists(UNITS) || tree.exists(&format!("{UNITS}/invocation:{unit}.service"));
    believed && populated(tree, unit)
}

/// Whether the unit's cgroup has a process, under cgroups of version 2, hybrid, or 1.
fn populated(tree: &Tree, unit: &str) -> bool {
    ["", "unified/"].iter().any(|version| {
        let path = format!("sys/fs/cgroup/{version}system.slice/{unit}.service/cgroup.events");
        tree.text(&path)
            .is_some_and(|events| events.lines().any(|line| line == "populated 1"))
    }) || tree
        .text(&format!(
            "sys/fs/cgroup/systemd/system.slice/{unit}.service/cgroup.procs"
        ))
        .is_some_and(|processes| !processes.is_empty())
}
