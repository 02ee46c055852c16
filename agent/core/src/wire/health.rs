//! The payload of `health`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Reason, Status};
use crate::clock::millis;

/// `health`: retained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Health {
    pub v: u8,
    #[serde(with = "millis")]
    pub at: Timestamp,
    pub status: Status,
    pub reasons: Vec<Reason>,
    pub boot: Option<String>,
    pub uptime_seconds: Option<u64>,
    pub cpu: Cpu,
    pub memory: Memory,
    pub disks: Vec<Disk>,
    pub temperature_celsius: Option<f64>,
    pub power: Power,
    pub storage: Storage,
    pub network: Vec<Interface>,
    pub clock: Clock,
    /// An update waits for a reboot.
    pub reboot_required: Option<bool>,
    pub k3s: K3s,
    pub agent: Agent,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cpu {
    /// Share of all cores, 0 to 1.
    pub usage: Option<f64>,
    pub load1: Option<f64>,
    pub cores: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    pub total_bytes: Option<u64>,
    pub available_bytes: Option<u64>,
    /// Share of the last minute in which everything waited for memory, 0 to 1.
    pub pressure: Option<f64>,
    /// Processes that the kernel killed for want of memory, since boot.
    pub oom_kills: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Disk {
    pub mount: String,
    pub total_bytes: u64,
    pub available_bytes: u64,
    /// Share of the files that it has room for, 0 to 1.
    pub inodes_used: Option<f64>,
    pub read_only: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Power {
    pub undervoltage: Option<bool>,
    pub throttled: Option<bool>,
    pub undervoltage_since_boot: Option<bool>,
    pub throttled_since_boot: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Storage {
    pub device: Option<String>,
    /// Share of the rated life, 0 to 1.
    pub life_used: Option<f64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Interface {
    pub interface: String,
    pub up: Option<bool>,
    pub rx_bytes: u64,
    pub tx_bytes: u64,
    /// Packets that were damaged or could not be sent, since boot.
    pub errors: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Clock {
    pub synchronized: Option<bool>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct K3s {
    pub service: Option<bool>,
    pub api: Option<bool>,
    pub node_ready: Option<bool>,
    pub memory_pressure: Option<bool>,
    pub disk_pressure: Option<bool>,
    /// Pods on this node that have not come to their end.
    pub pods: Option<u32>,
    pub pods_not_ready: Option<u32>,
    /// What the service itself has in use, its containers not among it.
    pub memory_bytes: Option<u64>,
    pub oom_kills: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Agent {
    pub version: String,
    pub rss_bytes: Option<u64>,
    pub cpu_seconds: Option<f64>,
    pub outbox: Outbox,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outbox {
    pub records: u64,
    pub bytes: u64,
    /// Since the agent started.
    pub dropped: u64,
}
