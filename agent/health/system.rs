//! What the kernel and systemd say in files about load, the agent itself, and K3s.

use edge_agent_core::health::{K3s, KubernetesView};

use super::tree::Tree;

/// The units of K3s: a server, or a node of one.
const UNITS: [&str; 2] = ["k3s", "k3s-agent"];

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

/// Share of the last minute in which no task could do anything for want of memory: `full`, `avg60` of the
/// kernel's `Documentation/accounting/psi.rst`. `None` where the kernel does not account for it; on
/// Raspberry Pi OS that takes `psi=1` on its command line.
pub(super) fn memory_pressure(tree: &Tree) -> Option<f64> {
    let text = tree.text("proc/pressure/memory")?;
    let line = text.lines().find_map(|line| line.strip_prefix("full "))?;
    let mut averages = line.split(' ');
    let percent: f64 = averages
        .find_map(|word| word.strip_prefix("avg60="))?
        .parse()
        .ok()?;
    Some(percent / 100.0)
}

/// Processes that the kernel has killed for want of memory since boot, in whatever cgroup.
pub(super) fn oom_kills(tree: &Tree) -> Option<u64> {
    count(&tree.text("proc/vmstat")?, "oom_kill")
}

/// The value of a name in lines of a name and a value.
fn count(text: &str, name: &str) -> Option<u64> {
    let values = text.lines().filter_map(|line| line.split_once(' '));
    let mut named = values.filter(|(it, _)| *it == name);
    named.next()?.1.trim().parse().ok()
}

/// Whether an update waits for a reboot: packages of Debian's family leave a file in `/run`. Where there
/// is no such family, nobody tells.
pub(super) fn reboot_required(tree: &Tree) -> Option<bool> {
    let required = tree.exists("run/reboot-required");
    (required || tree.exists("etc/debian_version")).then_some(required)
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

/// What the files say of K3s; the API server is asked by the part that talks to it.
pub(super) fn k3s(tree: &Tree) -> K3s {
    let file = |file: &str| {
        let mut units = UNITS.iter();
        units.find_map(|unit| {
            tree.text(&format!("sys/fs/cgroup/system.slice/{unit}.service/{file}"))
        })
    };
    K3s {
        service: k3s_service(tree),
        memory: file("memory.current").and_then(|text| text.parse().ok()),
        oom_kills: file("memory.events").and_then(|text| count(&text, "oom_kill")),
        kubernetes: KubernetesView::default(),
    }
}

/// Whether K3s runs, as server or as agent; `None` where it is not installed.
///
/// Its cgroup alone does not tell: the shims of its containers stay in it when K3s is stopped. So
/// systemd must also hold the unit to be active, which it shows by a link in `/run/systemd/units`.
fn k3s_service(tree: &Tree) -> Option<bool> {
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
