//! Watches the node: what it reads, how often, and what happens when reading hangs.
//!
//! A [`Probe`] reads the node once; [`run`] asks it again and again, on a thread of its own, and
//! sends [`Event::Sampled`](edge_agent_core::event::Event::Sampled). [`SystemProbe`] is the real
//! one: sysinfo for memory, CPU and the sizes of disks, and the files of the kernel for the rest.
//! What a machine does not have is `None`, so the same probe serves a Raspberry Pi and a PC.

mod board;
mod disks;
mod facts;
mod sampler;
mod sysinfo;
mod system;
mod tree;

use std::path::Path;

use edge_agent_core::health::{Power, Sample};

pub use facts::{NodeFacts, identity};
pub use sampler::run;

use sysinfo::Machine;
use tree::Tree;

/// Reads the node. It may block, and on a dead mount it may block for good: [`run`] expects that.
pub trait Probe {
    /// One reading.
    fn sample(&mut self) -> Sample;
}

/// The probe of a real Linux node.
pub struct SystemProbe {
    tree: Tree,
    machine: Machine,
    /// What the board has said about its power since the agent started. The kernel clears the
    /// firmware's own memory of it every two seconds (its driver `raspberrypi-hwmon` does).
    undervoltage_seen: bool,
    throttled_seen: bool,
}

impl SystemProbe {
    /// A probe that reads `/proc`, `/sys`, `/run` and `/etc` below `root`: `/`, or a recorded tree.
    /// Memory, CPU and the sizes of file systems are always those of this machine.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self {
            tree: Tree::new(root),
            machine: Machine::new(),
            undervoltage_seen: false,
            throttled_seen: false,
        }
    }

    fn power(&mut self) -> Power {
        let mut power = board::power(&self.tree);
        self.undervoltage_seen |= power.undervoltage == Some(true);
        self.throttled_seen |= power.throttled == Some(true);
        if self.undervoltage_seen {
            power.undervoltage_since_boot = Some(true);
        }
        if self.throttled_seen {
            power.throttled_since_boot = Some(true);
        }
        power
    }
}

impl<P: Probe + ?Sized> Probe for Box<P> {
    fn sample(&mut self) -> Sample {
        (**self).sample()
    }
}

impl Probe for SystemProbe {
    fn sample(&mut self) -> Sample {
        self.machine.refresh();
        let power = self.power();
        let tree = &self.tree;
        let mounts = disks::mounts(tree);
        let storage = disks::root_device(tree, &mounts);
        let (agent_rss_bytes, agent_cpu_seconds) = system::own_use(tree);
        Sample {
            cpu_usage: self.machine.cpu_usage(),
            load1: system::load1(tree),
            cores: self.machine.cores(),
            memory_total: self.machine.memory_total(),
            memory_available: self.machine.memory_available(),
            memory_pressure: system::memory_pressure(tree),
            oom_kills: system::oom_kills(tree),
            disks: disks::disks(&mounts, |mount| self.machine.space(mount)),
            temperature_celsius: board::temperature(tree),
            power,
            storage_life_used: storage
                .as_deref()
                .and_then(|device| board::storage_life_used(tree, device)),
            storage_device: storage,
            network: board::network(tree),
            clock_synchronized: facts::clock_synchronized(tree),
            reboot_required: system::reboot_required(tree),
            k3s: system::k3s(tree),
            uptime_seconds: system::uptime_seconds(tree),
            agent_rss_bytes,
            agent_cpu_seconds,
        }
    }
}

/// Whether the system says that its clock has been synchronized since boot; `None` when that
/// cannot be told from files below `root`, as under chrony.
#[must_use]
pub fn clock_synchronized(root: &Path) -> Option<bool> {
    facts::clock_synchronized(&Tree::new(root))
}

#[cfg(test)]
mod tests;
