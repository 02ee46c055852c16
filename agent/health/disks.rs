//! Which disks there are, from the mount table.

use edge_agent_core::health::Disk;

use super::tree::Tree;

/// File systems that live on a disk of the node. Network file systems are not among them.
const ON_DISK: [&str; 9] = [
    "ext4", "ext3", "ext2", "btrfs", "xfs", "f2fs", "vfat", "exfat", "bcachefs",
];
/// Below these, disks are mounted on behalf of pods and come and go with them.
const OF_PODS: [&str; 3] = ["/var/lib/kubelet/", "/var/lib/rancher/", "/run/k3s/"];
/// More than a board has; the rest would only make the payload large.
const MAX_DISKS: usize = 16;

/// How large a file system is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Space {
    /// Bytes.
    pub(super) total: u64,
    /// Bytes that an unprivileged process may still write.
    pub(super) available: u64,
    /// Files that it has room for, and how many more an unprivileged process may make; `None` where
    /// their number is not fixed.
    pub(super) inodes: Option<(u64, u64)>,
}

/// One line of the mount table that is about a real disk.
#[derive(Debug, PartialEq)]
pub(super) struct Mount {
    /// `major:minor` of the device.
    device: String,
    /// What of the file system is mounted: `/` for all of it.
    part: String,
    mount: String,
    /// The device as it was named when it was mounted.
    source: String,
    /// The file system itself is read-only. That this mount of it is says nothing: systemd shows
    /// a service whose unit has `ProtectSystem=strict` every disk as read-only.
    read_only: bool,
}

/// The mounts of real disks, in the order of the table.
pub(super) fn mounts(tree: &Tree) -> Vec<Mount> {
    let table = tree.text("proc/self/mountinfo").unwrap_or_default();
    table.lines().filter_map(mount).collect()
}

/// `36 35 98:0 /part /mount rw,noatime master:1 - ext4 /dev/sda1 rw,errors=remount-ro`.
fn mount(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(2);
    let mut right = right.split(' ');
    let mount = Mount {
        device: left.next()?.to_owned(),
        part: unescaped(left.next()?),
        mount: unescaped(left.next()?),
        read_only: false,
        source: String::new(),
    };
    let kind = right.next()?;
    let source = unescaped(right.next()?);
    let read_only = right.next()?.split(',').any(|option| option == "ro");
    let real = source.starts_with("/dev/") && !source.starts_with("/dev/loop");
    let of_pods = OF_PODS.iter().any(|path| mount.mount.starts_with(path));
    (ON_DISK.contains(&kind) && real && !of_pods).then_some(Mount {
        source,
        read_only,
        ..mount
    })
}

/// The kernel writes white space and backslashes as three octal digits.
fn unescaped(text: &str) -> String {
    ["\\040", "\\011", "\\012", "\\134"]
        .iter()
        .zip([" ", "\t", "\n", "\\"])
        .fold(text.to_owned(), |text, (escape, plain)| {
            text.replace(escape, plain)
        })
}

/// One entry a device: the mount of the whole of it with the shortest path, so that bind mounts,
/// subvolumes and what a sandbox mounts again do not count twice. `space` says how large a file
/// system is and how much of it is free; one that cannot say is left out.
pub(super) fn disks(mounts: &[Mount], space: impl Fn(&str) -> Option<Space>) -> Vec<Disk> {
    let mut chosen: Vec<&Mount> = Vec::new();
    let rank = |mount: &Mount| (mount.mount != "/", mount.part != "/", mount.mount.len());
    for mount in mounts {
        match chosen.iter_mut().find(|known| known.source == mount.source) {
            Some(known) if rank(mount) < rank(known) => *known = mount,
            Some(_) => {}
            None => chosen.push(mount),
        }
    }
    chosen.sort_by(|a, b| a.mount.cmp(&b.mount));
    chosen
        .into_iter()
        .filter_map(|mount| {
            let space = space(&mount.mount)?;
            Some(Disk {
                mount: mount.mount.clone(),
                total: space.total,
                available: space.available,
                inodes: space.inodes,
                read_only: mount.read_only,
            })
        })
        .take(MAX_DISKS)
        .collect()
}

/// The whole disk, such as `mmcblk0`, that the root file system is on; through LUKS and LVM.
pub(super) fn root_device(tree: &Tree, mounts: &[Mount]) -> Option<String> {
    // What is mounted last at a place is what one sees there.
    let root = mounts.iter().rev().find(|mount| mount.mount == "/")?;
    let by_number = format!("sys/dev/block/{}", root.device);
    // btrfs has no number of a device; there the name of the source must do.
    let mut path = if tree.exists(&by_number) {
        by_number
    } else {
        let (name, _) = tree.target(&root.source)?;
        format!("sys/class/block/{name}")
    };
    // A mapped device on a mapped device on a disk is the most that is in use.
    for _ in 0..4 {
        let slaves = tree.names(&format!("{path}/slaves"));
        let Some(slave) = slaves.first() else { break };
        path = format!("sys/class/block/{slave}");
    }
    let (name, parent) = tree.target(&path)?;
    if tree.exists(&format!("{path}/partition")) {
        parent
    } else {
        Some(name)
    }
}
