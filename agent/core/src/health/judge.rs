//! Compares a sample with the limits, and remembers enough not to flap.

use std::collections::BTreeMap;
use std::time::Duration;

use super::kubernetes::{K3sMemory, processes};
use super::limits::{
    celsius, held, limit_text, percent, readable, reason, relative_margin, step,
    temperature_margin, used,
};
use super::network::NetworkMemory;
use super::recent::Recent;
use super::{Disk, Limits, Power, Sample, Thresholds};
use crate::clock::Now;
use crate::wire::{Reason, Status};

/// How long the CPU has to stay at or above a limit before it counts.
const CPU_SUSTAINED: Duration = Duration::from_secs(60);
/// How long an undervoltage stays a warning after it was last seen. A dip is shorter than the time
/// between two samples, and it is the usual cause of a file system that breaks days later.
const UNDERVOLTAGE_MEMORY: Duration = Duration::from_secs(24 * 60 * 60);
/// Uptime, in seconds, up to which a clock may be unsynchronized without a word: until then the
/// network may not have been there.
const CLOCK_GRACE_SECONDS: u64 = 600;
/// How long an update may wait for its reboot before that is told.
const REBOOT_GRACE: Duration = Duration::from_secs(24 * 60 * 60);

/// What a sample was found to be.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Judgement {
    /// The worst of the reasons, or ok.
    pub status: Status,
    /// Every check that is not ok, the worst first, then by name.
    pub reasons: Vec<Reason>,
}

/// Judges samples one after the other. It remembers what it said, because a check leaves a status
/// only when its value is clearly below the limit by which it came: 3 °C, or 5 % of the limit.
#[derive(Debug, Clone)]
pub struct Judge {
    thresholds: Thresholds,
    temperature: Status,
    cpu: Sustained,
    memory: Status,
    memory_pressure: Status,
    oom_kills: Recent,
    storage: Status,
    disks: BTreeMap<String, DiskMemory>,
    undervoltage_seen: Option<Duration>,
    unsynchronized_since: Option<Duration>,
    reboot_since: Option<Duration>,
    network: NetworkMemory,
    k3s: K3sMemory,
}

/// A value that must stay high for a time before it counts.
#[derive(Debug, Clone, Default)]
struct Sustained {
    status: Status,
    warning_since: Option<Duration>,
    critical_since: Option<Duration>,
}

#[derive(Debug, Clone, Default)]
struct DiskMemory {
    fullness: Status,
    files: Status,
    was_writable: bool,
}

impl Judge {
    /// A judge that has seen nothing yet.
    #[must_use]
    pub fn new(thresholds: Thresholds) -> Self {
        Self {
            thresholds,
            temperature: Status::Ok,
            cpu: Sustained::default(),
            memory: Status::Ok,
            memory_pressure: Status::Ok,
            oom_kills: Recent::default(),
            storage: Status::Ok,
            disks: BTreeMap::new(),
            undervoltage_seen: None,
            unsynchronized_since: None,
            reboot_since: None,
            network: NetworkMemory::default(),
            k3s: K3sMemory::default(),
        }
    }

    /// Judges one sample. A value that could not be read, or is not a number, is never a reason.
    pub fn judge(&mut self, sample: &Sample, now: Now) -> Judgement {
        let mut reasons = Vec::new();
        reasons.extend(self.judge_temperature(sample));
        reasons.extend(self.judge_cpu(sample, now.monotonic));
        reasons.extend(self.judge_memory(sample));
        reasons.extend(self.judge_memory_pressure(sample));
        reasons.extend(self.judge_oom_kills(sample, now.monotonic));
        reasons.extend(self.judge_disks(&sample.disks));
        reasons.extend(self.judge_undervoltage(&sample.power, now.monotonic));
        reasons.extend(judge_throttled(&sample.power));
        reasons.extend(self.judge_storage(sample));
        reasons.extend(self.judge_clock(sample, now.monotonic));
        reasons.extend(self.judge_reboot(sample, now.monotonic));
        reasons.extend(self.network.judge(&sample.network, now.monotonic));
        let uptime = sample.uptime_seconds;
        reasons.extend(self.k3s.judge(&sample.k3s, uptime, now.monotonic));
        reasons.sort_by(|a, b| b.status.cmp(&a.status).then(a.check.cmp(&b.check)));
        let status = reasons.first().map_or(Status::Ok, |worst| worst.status);
        Judgement { status, reasons }
    }

    fn judge_temperature(&mut self, sample: &Sample) -> Option<Reason> {
        let value = readable(sample.temperature_celsius);
        let limits = self.thresholds.temperature_celsius;
        self.temperature = value.map_or(Status::Ok, |value| {
            step(self.temperature, value, limits, temperature_margin)
        });
        let value = value?;
        reason("temperature_celsius", self.temperature, |status| {
            let limit = limit_text(value, limits, status, temperature_margin, celsius);
            format!("temperature {value:.1} °C, {limit}")
        })
    }

    fn judge_cpu(&mut self, sample: &Sample, now: Duration) -> Option<Reason> {
        let value = readable(sample.cpu_usage);
        let limits = self.thresholds.cpu_usage;
        let status = self.cpu.step(value, limits, now);
        let value = value?;
        reason("cpu_usage", status, |status| {
            let limit = limit_text(value, limits, status, relative_margin, percent);
            format!(
                "CPU busy for more than a minute, now {}, {limit}",
                percent(value)
            )
        })
    }

    fn judge_memory(&mut self, sample: &Sample) -> Option<Reason> {
        let value = match (sample.memory_total, sample.memory_available) {
            (Some(total), Some(available)) => used(total, available),
            _ => None,
        };
        let limits = self.thresholds.memory_used;
        self.memory = value.map_or(Status::Ok, |value| {
            step(self.memory, value, limits, relative_margin)
        });
        let value = value?;
        reason("memory", self.memory, |status| {
            let limit = limit_text(value, limits, status, relative_margin, percent);
            format!("memory {} used, {limit}", percent(value))
        })
    }

    fn judge_memory_pressure(&mut self, sample: &Sample) -> Option<Reason> {
        let value = readable(sample.memory_pressure);
        let limits = self.thresholds.memory_pressure;
        self.memory_pressure = value.map_or(Status::Ok, |value| {
            step(self.memory_pressure, value, limits, relative_margin)
        });
        let value = value?;
        reason("memory_pressure", self.memory_pressure, |status| {
            let limit = limit_text(value, limits, status, relative_margin, percent);
            format!(
                "everything waited for memory for {} of the last minute, {limit}",
                percent(value)
            )
        })
    }

    fn judge_oom_kills(&mut self, sample: &Sample, now: Duration) -> Option<Reason> {
        let count = self.oom_kills.step(sample.oom_kills, now)?;
        reason("oom_kills", Status::Warning, |_| {
            format!(
                "the kernel killed {} for want of memory within the last hour",
                processes(count)
            )
        })
    }

    fn judge_reboot(&mut self, sample: &Sample, now: Duration) -> Option<Reason> {
        if sample.reboot_required != Some(true) {
            self.reboot_since = None;
            return None;
        }
        let since = *self.reboot_since.get_or_insert(now);
        let long = now.saturating_sub(since) >= REBOOT_GRACE;
        let status = if long { Status::Warning } else { Status::Ok };
        reason("reboot", status, |_| {
            "an update has been waiting for a reboot for more than a day".to_owned()
        })
    }

    fn judge_storage(&mut self, sample: &Sample) -> Option<Reason> {
        let value = readable(sample.storage_life_used);
        let limits = self.thresholds.storage_life_used;
        // Wear does not heal: there is nothing to leave, and so no margin.
        self.storage = value.map_or(Status::Ok, |value| step(Status::Ok, value, limits, |_| 0.0));
        let value = value?;
        let device = sample.storage_device.as_deref().unwrap_or("the storage");
        reason("storage_life_used", self.storage, |status| {
            let limit = limit_text(value, limits, status, |_| 0.0, percent);
            format!(
                "{device} has used {} of its rated life, {limit}",
                percent(value)
            )
        })
    }

    fn judge_disks(&mut self, disks: &[Disk]) -> Vec<Reason> {
        self.disks
            .retain(|mount, _| disks.iter().any(|disk| disk.mount == *mount));
        let limits = self.thresholds.disk_used;
        disks
            .iter()
            .filter_map(|disk| {
                let memory = self.disks.entry(disk.mount.clone()).or_default();
                memory.judge(disk, limits)
            })
            .collect()
    }

    fn judge_undervoltage(&mut self, power: &Power, now: Duration) -> Option<Reason> {
        let present = power.undervoltage == Some(true);
        let before = power.undervoltage_since_boot == Some(true);
        // When the dip was that the board remembers is not known: it counts from when we heard of it.
        if present || (before && self.undervoltage_seen.is_none()) {
            self.undervoltage_seen = Some(now);
        }
        let seen = self.undervoltage_seen?;
        let message = if present {
            "undervoltage: the power supply or its cable is too weak"
        } else if now.saturating_sub(seen) < UNDERVOLTAGE_MEMORY {
            "undervoltage within the last 24 hours: the power supply or its cable is too weak"
        } else {
            return None;
        };
        reason("undervoltage", Status::Warning, |_| message.to_owned())
    }

    fn judge_clock(&mut self, sample: &Sample, now: Duration) -> Option<Reason> {
        if sample.clock_synchronized != Some(false) {
            self.unsynchronized_since = None;
            return None;
        }
        let since = *self.unsynchronized_since.get_or_insert(now);
        let seconds = sample
            .uptime_seconds
            .unwrap_or_else(|| now.saturating_sub(since).as_secs());
        let status = if seconds > CLOCK_GRACE_SECONDS {
            Status::Warning
        } else {
            Status::Ok
        };
        reason("clock", status, |_| {
            "the clock is not synchronized, more than 10 minutes after the start: is a time server reachable?"
                .to_owned()
        })
    }
}

impl Sustained {
    fn step(&mut self, value: Option<f64>, limits: Limits, now: Duration) -> Status {
        let Some(value) = value else {
            *self = Self::default();
            return Status::Ok;
        };
        let since =
            |since: Option<Duration>, limit: f64| (value >= limit).then(|| since.unwrap_or(now));
        self.warning_since = since(self.warning_since, limits.warning);
        self.critical_since = since(self.critical_since, limits.critical);
        let long = |since: Option<Duration>| {
            since.is_some_and(|since| now.saturating_sub(since) >= CPU_SUSTAINED)
        };
        let reached = if long(self.critical_since) {
            Status::Critical
        } else if long(self.warning_since) {
            Status::Warning
        } else {
            Status::Ok
        };
        self.status = reached.max(self.status.min(held(value, limits, relative_margin)));
        self.status
    }
}

impl DiskMemory {
    fn judge(&mut self, disk: &Disk, limits: Limits) -> Option<Reason> {
        let mount = &disk.mount;
        let value = used(disk.total, disk.available);
        self.fullness = value.map_or(Status::Ok, |value| {
            step(self.fullness, value, limits, relative_margin)
        });
        let files = disk.inodes.and_then(|(total, free)| used(total, free));
        self.files = files.map_or(Status::Ok, |files| {
            step(self.files, files, limits, relative_margin)
        });
        self.was_writable |= !disk.read_only;
        // A root file system is meant to be writable even if nobody has seen it so.
        let lost = disk.read_only && (self.was_writable || mount == "/");
        let fullness = self.fullness;
        let mut facts = Vec::new();
        if lost {
            facts.push(format!(
                "{mount} has become read-only, which is how a failing disk ends"
            ));
        }
        if let Some(value) = value.filter(|_| fullness > Status::Ok) {
            let limit = limit_text(value, limits, fullness, relative_margin, percent);
            facts.push(format!("{mount} is {} full, {limit}", percent(value)));
        }
        if let Some(files) = files.filter(|_| self.files > Status::Ok) {
            let limit = limit_text(files, limits, self.files, relative_margin, percent);
            let share = percent(files);
            facts.push(format!(
                "{mount} has {share} of the files that it has room for, {limit}"
            ));
        }
        let status = if lost {
            Status::Critical
        } else {
            fullness.max(self.files)
        };
        reason(&format!("disk:{mount}"), status, |_| facts.join("; "))
    }
}

/// The firmware slows the CPU down now. That it once did says little: the temperature is judged
/// by itself, and a weak supply is remembered as undervoltage.
fn judge_throttled(power: &Power) -> Option<Reason> {
    let status = match power.throttled {
        Some(true) => Status::Warning,
        _ => Status::Ok,
    };
    reason("throttled", status, |_| {
        "the board slows its CPU down, because of heat or a weak power supply".to_owned()
    })
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
