//! The settings: `agent.toml`, every key optional, every fault reported at once.

use std::collections::BTreeMap;
use std::path::PathBuf;

use edge_agent_core::topic::NodeName;

/// The settings of one agent, complete and checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub node: NodeName,
    pub state_directory: PathBuf,
    /// Where `status.json` goes; `None`: nowhere.
    pub runtime_directory: Option<PathBuf>,
    pub mqtt: Mqtt,
    pub cluster: Cluster,
    /// By glob over the application's topic name; the first that matches counts.
    pub applications: BTreeMap<String, ApplicationSettings>,
    pub commands: Commands,
    pub health: Health,
    pub outbox: Outbox,
    /// By name.
    pub led: BTreeMap<String, Led>,
    pub http: Http,
    pub log: Log,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Mqtt {
    pub host: String,
    pub port: u16,
    /// `mqtts://`.
    pub tls: bool,
    /// CA certificates, PEM; `None` with TLS: those of the system.
    pub ca_file: Option<PathBuf>,
    pub cert_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
    pub username: Option<String>,
    pub password_file: Option<PathBuf>,
    /// Seconds, 5 to 3600.
    pub keep_alive_seconds: u16,
    pub session_expiry_seconds: u32,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Cluster {
    pub enabled: bool,
    /// `None`: in-cluster where that is to be had, then `/etc/edge-agent/kubeconfig`.
    pub kubeconfig: Option<PathBuf>,
    /// Namespaces that hold Applications; the first one's go by their plain name.
    pub namespaces: Vec<String>,
    pub stale_after_seconds: u64,
    /// Globs over the names of PreSync hooks that are security checks.
    pub security_hooks: Vec<String>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ApplicationSettings {
    pub auto_rollback: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Commands {
    /// `None`: no commands are accepted.
    pub keyring: Option<PathBuf>,
    pub max_ttl_seconds: u64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    pub interval_seconds: u64,
    pub report_seconds: u64,
    pub thresholds: edge_agent_core::health::Thresholds,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outbox {
    pub max_bytes: u64,
    pub max_records: u64,
    /// Bytes of free space on the disk that are left to others.
    pub reserve_bytes: u64,
}

/// How one LED is driven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Led {
    /// One GPIO pin, BCM number.
    Gpio {
        pin: u8,
        active_low: bool,
    },
    /// Three GPIO pins, BCM numbers.
    Rgb {
        red: u8,
        green: u8,
        blue: u8,
        active_low: bool,
    },
    /// `/sys/class/leds/<name>`.
    Kernel {
        name: String,
    },
    Simulated,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// `None`: no local page.
    pub listen: Option<std::net::SocketAddr>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    pub level: Level,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}
