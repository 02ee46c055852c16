//! A board that is made up: what its sensors read, and how that goes on.

use std::time::Duration;

use edge_agent_core::health::{Disk, Interface, K3s, KubernetesView, Pods, Power, Sample};

use super::dice::Dice;

const GIB: u64 = 1 << 30;

/// Readings that wander as those of boards do: little by little, and now and then in a spell.
#[derive(Debug)]
pub(crate) struct Board {
    memory: u64,
    disk: u64,
    /// Where the load is when nothing happens.
    calm: f64,
    cpu: f64,
    /// Share of the memory that is in use.
    used: f64,
    disk_used: f64,
    ambient: f64,
    temperature: f64,
    undervoltage: bool,
    undervoltage_seen: bool,
    life_used: f64,
    /// Something that loads it, until then.
    busy_until: Duration,
    hot_until: Duration,
    up_for: Duration,
    traffic: u64,
    last: Duration,
}

impl Board {
    pub(crate) fn new(dice: &mut Dice) -> Self {
        let calm = dice.between(0.06, 0.35);
        let (full, hot) = (dice.chance(0.03), dice.chance(0.02));
        let ambient = dice.between(36.0, 48.0) + if hot { 22.0 } else { 0.0 };
        Self {
            memory: *dice.one_of(&[2, 4, 4, 8, 8]) * GIB,
            disk: *dice.one_of(&[16, 32, 32, 64, 128]) * GIB,
            calm,
            cpu: calm,
            used: dice.between(0.35, 0.75),
            disk_used: if full {
                dice.between(0.86, 0.97)
            } else {
                dice.between(0.2, 0.7)
            },
            ambient,
            temperature: ambient + calm * 25.0,
            undervoltage: false,
            undervoltage_seen: dice.chance(0.05),
            life_used: (dice.share() * dice.share() * 9.0).floor() / 10.0,
            busy_until: Duration::ZERO,
            hot_until: Duration::ZERO,
            up_for: dice.seconds(3600.0, 40.0 * 86400.0),
            traffic: dice.number(200 * GIB),
            last: Duration::ZERO,
        }
    }

    /// The next reading, at a time since the start. A rollout loads the board.
    pub(crate) fn read(&mut self, dice: &mut Dice, at: Duration, rolls_out: bool) -> Sample {
        self.go_on(dice, at, rolls_out);
        let left = |share: f64, of: u64| whole((1.0 - share) * of as f64);
        Sample {
            cpu_usage: Some(self.cpu),
            load1: Some(self.cpu * 4.2),
            cores: Some(4),
            memory_total: Some(self.memory),
            memory_available: Some(left(self.used, self.memory)),
            memory_pressure: Some((self.used - 0.85).max(0.0)),
            oom_kills: Some(0),
            disks: vec![Disk {
                mount: "/".to_owned(),
                total: self.disk,
                available: left(self.disk_used, self.disk),
                inodes: Some((2_000_000, 1_500_000)),
                read_only: false,
            }],
            temperature_celsius: Some(self.temperature),
            power: Power {
                undervoltage: Some(self.undervoltage),
                throttled: Some(self.undervoltage),
                undervoltage_since_boot: Some(self.undervoltage_seen),
                throttled_since_boot: Some(self.undervoltage_seen),
            },
            storage_device: Some("mmcblk0".to_owned()),
            storage_life_used: Some(self.life_used),
            network: vec![Interface {
                name: "eth0".to_owned(),
                up: Some(true),
                rx: self.traffic,
                tx: self.traffic / 5,
                packets: Some(self.traffic / 700),
                errors: Some(0),
            }],
            clock_synchronized: Some(true),
            reboot_required: Some(false),
            k3s: self.k3s(),
            uptime_seconds: Some((self.up_for + at).as_secs()),
            agent_rss_bytes: Some(12_300_000),
            agent_cpu_seconds: Some((self.up_for + at).as_secs_f64() / 900.0),
        }
    }

    fn k3s(&self) -> K3s {
        K3s {
            service: Some(true),
            memory: Some(self.memory / 7),
            oom_kills: Some(0),
            kubernetes: KubernetesView {
                api: Some(true),
                node_ready: Some(true),
                memory_pressure: Some(false),
                disk_pressure: Some(self.disk_used > 0.95),
                pods: Some(Pods {
                    count: 17,
                    not_ready: 0,
                    example: None,
                }),
            },
        }
    }

    fn go_on(&mut self, dice: &mut Dice, at: Duration, rolls_out: bool) {
        let seconds = at.saturating_sub(self.last).as_secs_f64().clamp(0.1, 60.0);
        self.last = at;
        // How likely something is in these seconds that comes once in so many.
        let once_in = |dice: &mut Dice, mean: f64| dice.chance(seconds / mean);
        if once_in(dice, 2400.0) {
            self.busy_until = at + dice.seconds(20.0, 150.0);
        }
        if once_in(dice, 4.0 * 86400.0) {
            self.hot_until = at + dice.seconds(600.0, 3600.0);
        }
        let changes = if self.undervoltage {
            40.0
        } else {
            10.0 * 86400.0
        };
        if once_in(dice, changes) {
            self.undervoltage = !self.undervoltage;
            self.undervoltage_seen = true;
        }
        let busy = rolls_out || at < self.busy_until;
        let load = self.calm + if busy { 0.45 } else { 0.0 } + dice.noise() * 0.03;
        self.cpu = (self.cpu * 0.4 + load * 0.6).clamp(0.01, 0.97);
        self.used = (self.used + dice.noise() * 0.002).clamp(0.25, 0.88);
        self.disk_used = (self.disk_used + seconds * 2e-8).min(0.99);
        let hot = if at < self.hot_until { 24.0 } else { 0.0 };
        let warm = self.ambient + hot + self.cpu * 25.0;
        self.temperature += (warm - self.temperature) * 0.08 + dice.noise() * 0.2;
        self.traffic += whole(seconds * 40_000.0);
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "what is cut off is the point"
)]
fn whole(number: f64) -> u64 {
    number as u64
}
