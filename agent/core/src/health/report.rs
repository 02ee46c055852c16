//! Makes the payload of a judged sample, and says when it is worth sending.

use super::{Judgement, Sample};
use crate::clock::Now;
use crate::wire::{self, Health};

/// Share of all cores by which the CPU may change unsaid.
const CPU_BAND: f64 = 0.10;
/// °C by which the temperature may change unsaid.
const TEMPERATURE_BAND: f64 = 2.0;
/// Share of the memory by which what is available may change unsaid.
const MEMORY_BAND: f64 = 0.05;
/// Share of a disk by which what is available may change unsaid.
const DISK_BAND: f64 = 0.01;

/// The payload of the topic `health`. What is not a finite number is left out, and numbers are
/// rounded to what they are worth.
#[must_use]
pub fn report(
    sample: &Sample,
    judgement: &Judgement,
    now: Now,
    boot: Option<&str>,
    version: &str,
    outbox: wire::Outbox,
) -> Health {
    Health {
        v: wire::VERSION,
        at: now.wall,
        status: judgement.status,
        reasons: judgement.reasons.clone(),
        boot: boot.map(str::to_owned),
        uptime_seconds: sample.uptime_seconds,
        cpu: wire::Cpu {
            usage: rounded(sample.cpu_usage, 3),
            load1: rounded(sample.load1, 2),
            cores: sample.cores,
        },
        memory: wire::Memory {
            total_bytes: sample.memory_total,
            available_bytes: sample.memory_available,
            pressure: rounded(sample.memory_pressure, 3),
            oom_kills: sample.oom_kills,
        },
        disks: sample.disks.iter().map(disk).collect(),
        temperature_celsius: rounded(sample.temperature_celsius, 1),
        power: wire::Power {
            undervoltage: sample.power.undervoltage,
            throttled: sample.power.throttled,
            undervoltage_since_boot: sample.power.undervoltage_since_boot,
            throttled_since_boot: sample.power.throttled_since_boot,
        },
        storage: wire::Storage {
            device: sample.storage_device.clone(),
            life_used: rounded(sample.storage_life_used, 2),
        },
        network: sample.network.iter().map(interface).collect(),
        clock: wire::Clock {
            synchronized: sample.clock_synchronized,
        },
        reboot_required: sample.reboot_required,
        k3s: k3s(&sample.k3s),
        agent: wire::Agent {
            version: version.to_owned(),
            rss_bytes: sample.agent_rss_bytes,
            cpu_seconds: rounded(sample.agent_cpu_seconds, 2),
            outbox,
        },
    }
}

fn k3s(k3s: &super::K3s) -> wire::K3s {
    let view = &k3s.kubernetes;
    wire::K3s {
        service: k3s.service,
        api: view.api,
        node_ready: view.node_ready,
        memory_pressure: view.memory_pressure,
        disk_pressure: view.disk_pressure,
        pods: view.pods.as_ref().map(|pods| pods.count),
        pods_not_ready: view.pods.as_ref().map(|pods| pods.not_ready),
        memory_bytes: k3s.memory,
        oom_kills: k3s.oom_kills,
    }
}

fn disk(disk: &super::Disk) -> wire::Disk {
    wire::Disk {
        mount: disk.mount.clone(),
        total_bytes: disk.total,
        available_bytes: disk.available,
        inodes_used: disk
            .inodes
            .filter(|(total, _)| *total > 0)
            .and_then(|(total, free)| {
                rounded(Some(1.0 - free.min(total) as f64 / total as f64), 3)
            }),
        read_only: disk.read_only,
    }
}

fn interface(interface: &super::Interface) -> wire::Interface {
    wire::Interface {
        interface: interface.name.clone(),
        up: interface.up,
        rx_bytes: interface.rx,
        tx_bytes: interface.tx,
        errors: interface.errors,
    }
}

fn rounded(value: Option<f64>, decimals: i32) -> Option<f64> {
    let scale = 10_f64.powi(decimals);
    value
        .map(|value| (value * scale).round() / scale)
        .filter(|value| value.is_finite())
}

/// Whether `new` tells a reader of `old` something. `old` is what was published last, so that a
/// value which creeps is said as soon as it has crept out of its dead band.
///
/// What only counts up (uptime, traffic, CPU time), the memory of the agent, the load average and
/// the outbox are not worth a message by themselves: they ride along at the latest every
/// `report_seconds`.
#[must_use]
pub fn worth_publishing(old: &Health, new: &Health) -> bool {
    old.status != new.status
        || !old
            .reasons
            .iter()
            .map(what)
            .eq(new.reasons.iter().map(what))
        || old.boot != new.boot
        || old.power != new.power
        || old.clock != new.clock
        || old.reboot_required != new.reboot_required
        || k3s_condition(&old.k3s) != k3s_condition(&new.k3s)
        || old.storage != new.storage
        || old.agent.version != new.agent.version
        || left_band(old.cpu.usage, new.cpu.usage, CPU_BAND)
        || left_band(
            old.temperature_celsius,
            new.temperature_celsius,
            TEMPERATURE_BAND,
        )
        || memory_changed(&old.memory, &new.memory)
        || disks_changed(&old.disks, &new.disks)
        || network_changed(&old.network, &new.network)
}

/// A reason without its message, which has the value in it and so changes all the time.
fn what(reason: &wire::Reason) -> (&str, wire::Status) {
    (&reason.check, reason.status)
}

/// A value that appears or vanishes has left its band.
fn left_band(old: Option<f64>, new: Option<f64>, band: f64) -> bool {
    match (old, new) {
        (None, None) => false,
        // The tolerance is for values such as 0.3 - 0.2, which are just short of what they mean.
        (Some(old), Some(new)) => (old - new).abs() >= band - 1e-9,
        _ => true,
    }
}

fn memory_changed(old: &wire::Memory, new: &wire::Memory) -> bool {
    let share = |memory: &wire::Memory| {
        let total = memory.total_bytes.filter(|total| *total > 0)?;
        Some(memory.available_bytes? as f64 / total as f64)
    };
    old.total_bytes != new.total_bytes || left_band(share(old), share(new), MEMORY_BAND)
}

fn disks_changed(old: &[wire::Disk], new: &[wire::Disk]) -> bool {
    let share = |disk: &wire::Disk| {
        (disk.total_bytes > 0).then(|| disk.available_bytes as f64 / disk.total_bytes as f64)
    };
    old.len() != new.len()
        || old.iter().zip(new).any(|(old, new)| {
            old.mount != new.mount
                || old.total_bytes != new.total_bytes
                || old.read_only != new.read_only
                || left_band(share(old), share(new), DISK_BAND)
        })
}

/// What of K3s is worth a message: not its memory, which changes all the time.
fn k3s_condition(k3s: &wire::K3s) -> wire::K3s {
    wire::K3s {
        memory_bytes: None,
        oom_kills: None,
        ..k3s.clone()
    }
}

fn network_changed(old: &[wire::Interface], new: &[wire::Interface]) -> bool {
    let condition = |interface: &wire::Interface| (interface.interface.clone(), interface.up);
    !old.iter().map(condition).eq(new.iter().map(condition))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::{Disk, Interface, Pods};
    use crate::wire::{Outbox, Reason, Status};
    use std::time::Duration;

    fn now() -> Now {
        Now {
            wall: "2026-11-24T20:31:28.5Z".parse().unwrap(),
            monotonic: Duration::from_secs(5),
            synchronized: true,
        }
    }

    fn sample() -> Sample {
        Sample {
            cpu_usage: Some(0.25),
            memory_total: Some(1000),
            memory_available: Some(500),
            temperature_celsius: Some(50.04),
            disks: vec![Disk {
                mount: "/".to_owned(),
                total: 1000,
                available: 500,
                inodes: None,
                read_only: false,
            }],
            network: vec![Interface {
                name: "eth0".to_owned(),
                up: Some(true),
                rx: 1,
                tx: 2,
                packets: None,
                errors: None,
            }],
            ..Sample::default()
        }
    }

    fn health(change: impl FnOnce(&mut Sample)) -> Health {
        let mut sample = sample();
        change(&mut sample);
        report(
            &sample,
            &Judgement::default(),
            now(),
            Some("b"),
            "1",
            Outbox::default(),
        )
    }

    #[test]
    fn the_payload_has_every_value_and_null_for_what_could_not_be_read() {
        let health = health(|sample| sample.load1 = Some(f64::NAN));
        expect_test::expect![[r#"{"v":1,"at":"2026-11-24T20:31:28.500Z","status":"ok","reasons":[],"boot":"b","uptime_seconds":null,"cpu":{"usage":0.25,"load1":null,"cores":null},"memory":{"total_bytes":1000,"available_bytes":500,"pressure":null,"oom_kills":null},"disks":[{"mount":"/","total_bytes":1000,"available_bytes":500,"inodes_used":null,"read_only":false}],"temperature_celsius":50.0,"power":{"undervoltage":null,"throttled":null,"undervoltage_since_boot":null,"throttled_since_boot":null},"storage":{"device":null,"life_used":null},"network":[{"interface":"eth0","up":true,"rx_bytes":1,"tx_bytes":2,"errors":null}],"clock":{"synchronized":null},"reboot_required":null,"k3s":{"service":null,"api":null,"node_ready":null,"memory_pressure":null,"disk_pressure":null,"pods":null,"pods_not_ready":null,"memory_bytes":null,"oom_kills":null},"agent":{"version":"1","rss_bytes":null,"cpu_seconds":null,"outbox":{"records":0,"bytes":0,"dropped":0}}}"#]]
        .assert_eq(&serde_json::to_string(&health).unwrap());
    }

    #[test]
    fn a_change_within_the_dead_band_and_a_counter_are_not_worth_a_message() {
        let old = health(|_| ());
        let new = health(|sample| {
            sample.cpu_usage = Some(0.34);
            sample.temperature_celsius = Some(51.9);
            sample.memory_available = Some(549);
            sample.disks[0].available = 491;
            sample.network[0].rx = 99;
            sample.uptime_seconds = Some(7);
            sample.agent_rss_bytes = Some(9);
            sample.load1 = Some(3.0);
            sample.k3s.memory = Some(1 << 29);
        });
        assert!(!worth_publishing(&old, &new));
    }

    #[test]
    fn every_change_that_matters_is_worth_a_message() {
        type Change = (&'static str, fn(&mut Sample));
        let changes: [Change; 14] = [
            ("cpu", |s| s.cpu_usage = Some(0.35)),
            ("cpu unreadable", |s| s.cpu_usage = None),
            ("temperature", |s| s.temperature_celsius = Some(52.0)),
            ("memory", |s| s.memory_available = Some(450)),
            ("disk", |s| s.disks[0].available = 490),
            ("read-only", |s| s.disks[0].read_only = true),
            ("no disk", |s| s.disks.clear()),
            ("undervoltage", |s| s.power.undervoltage = Some(true)),
            ("clock", |s| s.clock_synchronized = Some(false)),
            ("k3s", |s| s.k3s.kubernetes.node_ready = Some(false)),
            ("pods", |s| s.k3s.kubernetes.pods = Some(Pods::default())),
            ("reboot", |s| s.reboot_required = Some(true)),
            ("interface", |s| s.network[0].up = Some(false)),
            ("life", |s| s.storage_life_used = Some(0.1)),
        ];
        let old = health(|_| ());
        for (name, change) in changes {
            assert!(worth_publishing(&old, &health(change)), "{name}");
        }
    }

    #[test]
    fn reasons_count_by_check_and_status_not_by_wording() {
        let mut old = health(|_| ());
        old.reasons = vec![Reason {
            check: "memory".to_owned(),
            status: Status::Warning,
            message: "memory 91 % used".to_owned(),
        }];
        let mut new = old.clone();
        new.reasons[0].message = "memory 92 % used".to_owned();
        assert!(!worth_publishing(&old, &new));
        new.reasons[0].status = Status::Critical;
        assert!(worth_publishing(&old, &new));
    }
}
