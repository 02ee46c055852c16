//! The settings: `agent.toml`, every key optional, every fault reported at once.
//!
//! [`Environment::from_process`] and [`Config::load`] are the two places that touch the world;
//! [`Config::parse`] is a function of its arguments. `config/agent.toml` tells every key, its
//! range and its default.

mod broker;
mod cluster;
mod default;
mod document;
mod environment;
mod fault;
mod files;
mod home_assistant;
mod key;
mod led;
mod notify;
mod parse;
mod print;
#[cfg(test)]
mod released_tests;
mod section;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use edge_agent_core::topic::NodeName;
use wildmatch::WildMatch;

pub use default::FILE as DEFAULT_FILE;
pub use environment::Environment;
pub use fault::{Fault, Faults};
pub use home_assistant::HomeAssistant;
pub use notify::{Notify, NotifyKind};

/// The settings of one agent, complete and checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub node: NodeName,
    pub state_directory: PathBuf,
    /// Where `status.json` goes; `None`: nowhere.
    pub runtime_directory: Option<PathBuf>,
    pub mqtt: Mqtt,
    pub cluster: Cluster,
    /// By glob over the application's topic name; see [`Config::auto_rollback`].
    pub applications: BTreeMap<String, ApplicationSettings>,
    pub commands: Commands,
    pub health: Health,
    pub outbox: Outbox,
    /// By name. Empty: the board's own `ACT` LED, where there is one.
    pub led: BTreeMap<String, Led>,
    /// `None`: no button.
    pub button: Option<Button>,
    /// Who is told of what the node does by itself, by name.
    pub notify: BTreeMap<String, Notify>,
    pub http: Http,
    /// `None`: Home Assistant is told nothing.
    pub home_assistant: Option<HomeAssistant>,
    pub log: Log,
}

/// A larger file is no settings file, but a mistake.
const MAX_FILE_BYTES: u64 = 256 << 10;

/// Reads the address of a broker: whether under TLS, host, port.
///
/// # Errors
/// What is wrong with it, in words that do not repeat it.
pub(crate) fn parse_broker(url: &str) -> Result<(bool, String, u16), String> {
    broker::parse(url).map(|broker| (broker.tls, broker.host, broker.port))
}

impl Config {
    /// Reads the settings from a file, or from [`DEFAULT_FILE`] if that is there, and looks at the
    /// files that they name.
    ///
    /// # Errors
    /// Everything that is wrong. A missing file is a fault only when it was asked for.
    pub fn load(path: Option<&Path>, environment: &Environment) -> Result<Self, Faults> {
        let (path, optional) = named(path);
        Self::load_file(path, optional, environment)
    }

    fn load_file(path: &Path, optional: bool, environment: &Environment) -> Result<Self, Faults> {
        let text = text_of(path, optional)?;
        let (config, found) = parse::read(&text, path, environment);
        let mut faults = found.faults;
        faults.extend(files::faults(found.files));
        complete(config, faults, path)
    }

    /// The LEDs alone, whatever else is wrong with the settings. What runs after the service has ended has
    /// none of its credentials any more, and a file may have been changed for the worse meanwhile.
    ///
    /// # Errors
    /// When the file cannot be read. One that is missing is a fault only when it was asked for.
    pub fn load_leds(
        path: Option<&Path>,
        environment: &Environment,
    ) -> Result<BTreeMap<String, Led>, Faults> {
        let (path, optional) = named(path);
        let text = text_of(path, optional)?;
        Ok(parse::leds(&text, path, environment))
    }

    /// Reads the settings from a text. `source` is named in the faults, and relative paths start
    /// at its directory. No file is looked at.
    ///
    /// # Errors
    /// Everything that is wrong with the text.
    pub fn parse(text: &str, source: &Path, environment: &Environment) -> Result<Self, Faults> {
        let (config, found) = parse::read(text, source, environment);
        complete(config, found.faults, source)
    }

    /// The globs over topic names of applications and whether these roll back by themselves, in
    /// the order in which they count: the glob with the most plain characters first, so that
    /// `shop-*` comes before `*`.
    #[must_use]
    pub fn auto_rollback(&self) -> Vec<(WildMatch, bool)> {
        let plain = |glob: &str| glob.chars().filter(|c| !matches!(c, '*' | '?')).count();
        let mut globs: Vec<_> = self.applications.iter().collect();
        globs.sort_by_key(|(glob, _)| Reverse(plain(glob)));
        globs
            .into_iter()
            .map(|(glob, settings)| (WildMatch::new(glob), settings.auto_rollback))
            .collect()
    }
}

/// The file to read, and whether it may be missing.
fn named(path: Option<&Path>) -> (&Path, bool) {
    match path {
        Some(path) => (path, false),
        None => (Path::new(DEFAULT_FILE), true),
    }
}

fn text_of(path: &Path, optional: bool) -> Result<String, Faults> {
    match read_file(path) {
        Ok(text) => Ok(text),
        Err(error) if optional && error.kind() == ErrorKind::NotFound => Ok(String::new()),
        Err(error) => {
            let fault = Fault {
                line: None,
                key: String::new(),
                message: format!("cannot be read: {error}"),
            };
            Err(Faults::new(path, vec![fault]))
        }
    }
}

fn complete(config: Option<Config>, faults: Vec<Fault>, source: &Path) -> Result<Config, Faults> {
    match config {
        Some(config) if faults.is_empty() => Ok(config),
        _ => Err(Faults::new(source, faults)),
    }
}

fn read_file(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(io::Error::other(format!(
            "it is larger than {MAX_FILE_BYTES} bytes"
        )));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = &error.as_bytes()[..valid];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        io::Error::other(format!("line {line} is not UTF-8"))
    })
}

/// The connection to the broker.
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
    /// How long the broker keeps what it could not deliver; the largest value means for ever.
    pub session_expiry_seconds: u32,
}

/// What of the cluster is watched.
#[derive(Debug, Clone, PartialEq)]
pub struct Cluster {
    pub enabled: bool,
    /// `None`: in-cluster where that is to be had, then `/etc/edge-agent/kubeconfig`.
    pub kubeconfig: Option<PathBuf>,
    /// Namespaces that hold Applications; the first one's go by their plain name.
    pub namespaces: Vec<String>,
    /// The name of this node in Kubernetes; `None`: the host name will not do, and nobody knows.
    pub node_name: Option<String>,
    /// Seconds, 30 to 86400: an application that Argo CD has not looked at for so long is `Offline`.
    pub stale_after_seconds: u64,
    /// Globs over the names of PreSync hooks that are security checks.
    pub security_hooks: Vec<String>,
}

/// What is set for the applications of one glob.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ApplicationSettings {
    /// Roll back without being told when a deploy degrades.
    pub auto_rollback: bool,
}

/// Who may command, and for how long a command may hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Commands {
    /// `None`: no commands are accepted.
    pub keyring: Option<PathBuf>,
    /// Seconds, 10 to 2592000 (30 days), from `iat` to `exp`.
    pub max_ttl_seconds: u64,
    /// Take the wall clock for synchronized whatever the system says.
    pub trust_clock: bool,
    /// Commands that are obeyed without a signature; of [`ALLOWABLE`].
    ///
    /// [`ALLOWABLE`]: edge_agent_core::command::unsigned::ALLOWABLE
    pub allow_unsigned: Vec<String>,
}

/// How the node is watched and judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Health {
    /// Seconds between two samples, 1 to 3600.
    pub interval_seconds: u64,
    /// Seconds after which health is published at the latest, 10 to 86400.
    pub report_seconds: u64,
    pub thresholds: edge_agent_core::health::Thresholds,
}

/// How much is kept of what could not be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outbox {
    /// Bytes of events that are kept at most, 64 KiB to 1 TiB.
    pub max_bytes: u64,
    /// Events that are kept at most, 100 to 100000000.
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
        pwm: Pwm,
    },
    /// Three GPIO pins, BCM numbers.
    Rgb {
        red: u8,
        green: u8,
        blue: u8,
        active_low: bool,
        pwm: Pwm,
    },
    /// `/sys/class/leds/<name>`.
    Kernel {
        name: String,
    },
    Simulated,
}

/// How a pin dims its LED.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pwm {
    /// Not at all.
    Off,
    /// By a thread that switches it, while there is something to dim.
    Software,
    /// By the processor's own PWM, on the pins that have it.
    Hardware,
}

impl Pwm {
    pub const ALL: [Self; 3] = [Self::Off, Self::Software, Self::Hardware];

    /// The name in the settings.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Software => "software",
            Self::Hardware => "hardware",
        }
    }
}

/// A button on a pin: held, it rolls back the application that changed last; tapped, it ends
/// `identify`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Button {
    /// BCM number.
    pub gpio: u8,
    /// The pin is low while the button is pressed.
    pub active_low: bool,
    pub pull: Pull,
}

/// The resistor inside the processor that keeps an open wire at a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pull {
    Up,
    Down,
    /// There is one on the board.
    None,
}

impl Pull {
    pub const ALL: [Self; 3] = [Self::Up, Self::Down, Self::None];

    /// The name in the settings.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::None => "none",
        }
    }
}

/// The local page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Http {
    /// `None`: no local page. Port 0: any free port.
    pub listen: Option<std::net::SocketAddr>,
    /// Where `/metrics` alone is served besides; `None`: nowhere.
    pub metrics_listen: Option<std::net::SocketAddr>,
}

/// The log.
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

impl Level {
    /// From the fewest words to the most.
    pub const ALL: [Self; 5] = [
        Self::Error,
        Self::Warn,
        Self::Info,
        Self::Debug,
        Self::Trace,
    ];

    /// The name in the settings.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}
