//! What does not change while the agent runs, and what the clock is said to be.

use std::path::Path;

use super::tree::Tree;

/// Characters of a name that are kept.
const NAME_LIMIT: usize = 128;

/// What the node is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// What the board calls itself, such as `Raspberry Pi 5 Model B Rev 1.0`.
    pub model: Option<String>,
    /// The operating system, such as `Debian GNU/Linux 13 (trixie)`.
    pub os: Option<String>,
    /// The kernel's id of this boot.
    pub boot: Option<String>,
}

/// Reads what the node is from the files below `root`.
#[must_use]
pub fn identity(root: &Path) -> NodeFacts {
    let tree = Tree::new(root);
    let first = |paths: &[&str]| {
        let mut texts = paths.iter().filter_map(|path| tree.text(path));
        texts
            .find(|text| !text.is_empty())
            .map(|text| shortened(&text))
    };
    NodeFacts {
        model: first(&[
            "proc/device-tree/model",
            "sys/firmware/devicetree/base/model",
            "sys/class/dmi/id/product_name",
        ]),
        os: os_name(&tree),
        boot: first(&["proc/sys/kernel/random/boot_id"]),
    }
}

fn os_name(tree: &Tree) -> Option<String> {
    let release = tree
        .text("etc/os-release")
        .or_else(|| tree.text("usr/lib/os-release"))?;
    let name = release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))?
        .trim_matches(['"', '\'']);
    (!name.is_empty()).then(|| shortened(name))
}

fn shortened(text: &str) -> String {
    text.chars().take(NAME_LIMIT).collect()
}

/// systemd-timesyncd marks the first synchronization after boot with a file that it leaves there.
/// chrony and ntpd leave nothing that an ordinary user may read, and asking the kernel itself
/// (`adjtimex`) is closed to a service with `ProtectClock`: then nobody knows, which is no fault. A
/// drop-in for `chrony-wait.service` that touches the same file makes it known.
pub(super) fn clock_synchronized(tree: &Tree) -> Option<bool> {
    const TIMESYNC: &str = "run/systemd/timesync";
    if tree.exists(&format!("{TIMESYNC}/synchronized")) {
        Some(true)
    } else {
        tree.exists(TIMESYNC).then_some(false)
    }
}
