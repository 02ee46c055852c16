//! How a sample becomes a judged health.
//!
//! The types are here; [`Judge`] compares them with the limits, [`report`] makes the payload of it.

mod judge;
mod kubernetes;
mod limits;
mod network;
mod recent;
mod report;

pub use judge::{Judge, Judgement};
pub use report::{report, worth_publishing};

/// One raw reading of the node. What this machine does not have, or what could not be read, is
/// `None`, never zero.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sample {
    /// Share of all cores that was busy since the sample before, 0 to 1.
    pub cpu_usage: Option<f64>,
    /// Load average over one minute.
    pub load1: Option<f64>,
    /// Logical cores.
    pub cores: Option<u32>,
    /// Bytes.
    pub memory_total: Option<u64>,
    /// Bytes that can be had without swapping.
    pub memory_available: Option<u64>,
    /// Share of the last minute in which every task that had something to do waited for memory, 0 to 1.
    pub memory_pressure: Option<f64>,
    /// Processes that the kernel has killed for want of memory since boot.
    pub oom_kills: Option<u64>,
    pub disks: Vec<Disk>,
    /// °C, of the hottest thermal zone of the CPU.
    pub temperature_celsius: Option<f64>,
    pub power: Power,
    /// The block device that holds the root file system, without `/dev/`.
    pub storage_device: Option<String>,
    /// Share of its rated life that the storage says it has used, 0 to 1.
    pub storage_life_used: Option<f64>,
    pub network: Vec<Interface>,
    pub clock_synchronized: Option<bool>,
    /// An update waits for a reboot; `None` where packages do not tell.
    pub reboot_required: Option<bool>,
    pub k3s: K3s,
    pub uptime_seconds: Option<u64>,
    /// Resident memory of the agent, bytes.
    pub agent_rss_bytes: Option<u64>,
    /// CPU time that the agent has used since it started, seconds.
    pub agent_cpu_seconds: Option<f64>,
}

/// A mounted file system on a real device.
#[derive(Debug, Clone, PartialEq)]
pub struct Disk {
    pub mount: String,
    /// Bytes.
    pub total: u64,
    /// Bytes that an unprivileged process may still write.
    pub available: u64,
    /// Files that it has room for, and how many more an unprivileged process may make; `None` on a
    /// file system that makes room for them as it goes.
    pub inodes: Option<(u64, u64)>,
    pub read_only: bool,
}

/// What the board says about its power supply.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Power {
    pub undervoltage: Option<bool>,
    pub throttled: Option<bool>,
    pub undervoltage_since_boot: Option<bool>,
    pub throttled_since_boot: Option<bool>,
}

/// A network interface other than loopback and those of containers.
#[derive(Debug, Clone, PartialEq)]
pub struct Interface {
    pub name: String,
    pub up: Option<bool>,
    /// Bytes since boot.
    pub rx: u64,
    /// Bytes since boot.
    pub tx: u64,
    /// Packets since boot, both ways.
    pub packets: Option<u64>,
    /// Packets since boot that were damaged or could not be sent, both ways.
    pub errors: Option<u64>,
}

/// What the node can see of K3s.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct K3s {
    /// The systemd unit has processes (`k3s` or `k3s-agent`).
    pub service: Option<bool>,
    /// Bytes that the unit's cgroup has in use, its containers not among them.
    pub memory: Option<u64>,
    /// Processes of the unit that the kernel has killed for want of memory.
    pub oom_kills: Option<u64>,
    /// What its API server says.
    pub kubernetes: KubernetesView,
}

/// What the API server says of this node; `None` for what it does not tell the agent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KubernetesView {
    /// It says that it is ready.
    pub api: Option<bool>,
    /// This node's condition Ready.
    pub node_ready: Option<bool>,
    /// This node's condition MemoryPressure: its pods are evicted.
    pub memory_pressure: Option<bool>,
    /// This node's condition DiskPressure: its pods are evicted.
    pub disk_pressure: Option<bool>,
    /// The pods on this node.
    pub pods: Option<Pods>,
}

/// The pods on a node that have not come to their end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pods {
    pub count: u32,
    /// Those that are not ready.
    pub not_ready: u32,
    /// One of them, as `namespace/name`.
    pub example: Option<String>,
}

/// The limits by which a sample is judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Thresholds {
    /// °C; a reading at or above is a warning or critical.
    pub temperature_celsius: Limits,
    /// Share of all cores, 0 to 1.
    pub cpu_usage: Limits,
    /// Share of memory in use, 0 to 1.
    pub memory_used: Limits,
    /// Share of the last minute in which everything waited for memory, 0 to 1.
    pub memory_pressure: Limits,
    /// Share of each disk in use, 0 to 1, and of the files that it has room for.
    pub disk_used: Limits,
    /// Share of the storage's rated life, 0 to 1.
    pub storage_life_used: Limits,
}

/// A pair of limits on a value that is better when it is lower.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Limits {
    pub warning: f64,
    pub critical: f64,
}

impl Thresholds {
    /// What is judged by when the configuration says nothing.
    ///
    /// * Temperature: a Raspberry Pi slows itself down from 80 °C and harder from 85 °C, so 75 °C
    ///   warns before anything is lost and 82 °C says that it is being lost.
    /// * CPU: high for a whole minute, since a rollout may well use all of it for some seconds.
    ///   Above 98 % the API server of K3s begins to miss its deadlines.
    /// * Memory: K3s evicts pods when about 100 MiB are left, which is 97 % of a 4 GiB board.
    /// * Memory pressure: systemd-oomd begins to kill at 60 % over ten seconds; a tenth of a whole minute
    ///   is felt by every request, and at 40 % a board does little else.
    /// * Disk: the kubelet begins to delete images at 85 % and to evict pods at 95 %.
    /// * Storage life: the device reports it in steps of a tenth; 1.0 means that its rated life is over.
    pub const DEFAULT: Self = Self {
        temperature_celsius: Limits::new(75.0, 82.0),
        cpu_usage: Limits::new(0.90, 0.98),
        memory_used: Limits::new(0.90, 0.97),
        memory_pressure: Limits::new(0.10, 0.40),
        disk_used: Limits::new(0.85, 0.95),
        storage_life_used: Limits::new(0.8, 1.0),
    };
}

impl Limits {
    /// A pair of limits; `critical` is meant to be at or above `warning`.
    #[must_use]
    pub const fn new(warning: f64, critical: f64) -> Self {
        Self { warning, critical }
    }
}
