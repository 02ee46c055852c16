//! What holds where the file says nothing. `config/agent.toml` tells the same to people; a test
//! compares the two.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::{Level, Pwm};

/// The file that is read when none is named.
pub const FILE: &str = "/etc/edge-agent/agent.toml";

pub(super) const BROKER_HOST: &str = "127.0.0.1";
pub(super) const MQTT_PORT: u16 = 1883;
pub(super) const MQTTS_PORT: u16 = 8883;
pub(super) const KEEP_ALIVE_SECONDS: u16 = 30;
/// A week: commands wait that long for a node that is away.
pub(super) const SESSION_EXPIRY_SECONDS: u32 = 604_800;

pub(super) const CLUSTER_ENABLED: bool = true;
pub(super) const NAMESPACES: &[&str] = &["argocd"];
pub(super) const STALE_AFTER_SECONDS: u64 = 600;
pub(super) const SECURITY_HOOKS: &[&str] = &["*scan*", "*security*", "*gate*"];

pub(super) const MAX_TTL_SECONDS: u64 = 86_400;

pub(super) const INTERVAL_SECONDS: u64 = 10;
pub(super) const REPORT_SECONDS: u64 = 300;

pub(super) const MAX_BYTES: u64 = 64 << 20;
pub(super) const MAX_RECORDS: u64 = 100_000;
pub(super) const RESERVE_BYTES: u64 = 128 << 20;

/// A thread that switches a pin waits busily for a part of each period, and flickers on a busy board.
pub(super) const PWM: Pwm = Pwm::Off;

pub(super) const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9750);

pub(super) const DISCOVERY_PREFIX: &str = "homeassistant";

pub(super) const LOG_LEVEL: Level = Level::Info;
