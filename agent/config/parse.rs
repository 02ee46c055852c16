//! The settings from the text of the file, section by section.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use edge_agent_core::command::unsigned::ALLOWABLE;
use edge_agent_core::health::{Limits, Thresholds};
use edge_agent_core::topic::NodeName;

use super::document::{Document, Found};
use super::environment::Environment;
use super::files::Purpose;
use super::led;
use super::notify;
use super::section::Section;
use super::{ApplicationSettings, Commands, Config, Health, Http, Level, Log, Mqtt, Outbox};
use super::{broker, cluster, default, home_assistant};

/// Reads the text. Without faults there are settings; with faults there may be none.
pub(super) fn read(
    text: &str,
    source: &Path,
    environment: &Environment,
) -> (Option<Config>, Found) {
    let base = source.parent().unwrap_or(Path::new(""));
    let document = Document::new(text, base, environment);
    let config = document.table().and_then(|table| {
        let mut root = Section::root(&document, &table);
        let config = config(&mut root);
        root.finish();
        config
    });
    (config, document.into_found())
}

/// The LEDs, without a look at anything else.
pub(super) fn leds(
    text: &str,
    source: &Path,
    environment: &Environment,
) -> BTreeMap<String, super::Led> {
    let base = source.parent().unwrap_or(Path::new(""));
    let document = Document::new(text, base, environment);
    let table = document.table();
    let leds = table.map(|table| {
        let mut root = Section::root(&document, &table);
        led::leds(&root.section("led"), &mut led::Taken::default())
    });
    leds.unwrap_or_default()
}

fn config(root: &mut Section<'_>) -> Option<Config> {
    let node = node(root);
    let state_directory = state_directory(root);
    let mqtt = mqtt(root.section("mqtt"));
    let cluster = cluster::read(root.section("cluster"));
    let applications = applications(&root.section("applications"));
    let commands = commands(root.section("commands"));
    let health = health(root.section("health"));
    let outbox = outbox(root.section("outbox"));
    let mut taken = led::Taken::default();
    let led = led::leds(&root.section("led"), &mut taken);
    let button = led::button(root, &mut taken);
    let notify = notify::receivers(&root.section("notify"));
    let http = http(root.section("http"));
    let home_assistant = home_assistant::read(root);
    let log = log(root.section("log"));
    Some(Config {
        node: node?,
        state_directory: state_directory?,
        runtime_directory: root.environment().default_runtime_directory(),
        mqtt,
        cluster,
        applications,
        commands,
        health,
        outbox,
        led,
        button,
        notify,
        http,
        home_assistant,
        log,
    })
}

fn node(root: &mut Section<'_>) -> Option<NodeName> {
    if let Some(name) = root.string("node") {
        return NodeName::new(name.value)
            .map_err(|error| root.fault(Some(name.line), "node", error))
            .ok();
    }
    if root.line_of("node").is_some() {
        return None;
    }
    let Some(name) = &root.environment().host_name else {
        root.fault(
            None,
            "node",
            "is not set, and the host name is not to be had",
        );
        return None;
    };
    NodeName::new(name)
        .map_err(|error| {
            let message = format!("is not set, and the host name will not do: {error}");
            root.fault(None, "node", message);
        })
        .ok()
}

fn state_directory(root: &mut Section<'_>) -> Option<PathBuf> {
    if let Some(directory) = root.path("state_directory") {
        root.note_file("state_directory", directory.clone(), Purpose::Directory);
        return Some(directory);
    }
    let directory = root.environment().default_state_directory();
    if directory.is_none() {
        let message = "is not set, and there is no home directory to put the state in";
        root.fault(None, "state_directory", message);
    }
    directory
}

fn mqtt(mut section: Section<'_>) -> Mqtt {
    let address = section.text("url").map(|url| {
        broker::parse(url.value).map_err(|error| section.fault(Some(url.line), "url", error))
    });
    let address = match address {
        None => Some(broker::Broker {
            host: default::BROKER_HOST.to_owned(),
            port: default::MQTT_PORT,
            tls: false,
        }),
        Some(parsed) => parsed.ok(),
    };
    let settings = Mqtt {
        host: address
            .as_ref()
            .map_or_else(String::new, |address| address.host.clone()),
        port: address
            .as_ref()
            .map_or(default::MQTT_PORT, |address| address.port),
        tls: address.as_ref().is_some_and(|address| address.tls),
        ca_file: section.file("ca_file", Purpose::Public),
        cert_file: section.file("cert_file", Purpose::Public),
        key_file: section.file("key_file", Purpose::Secret),
        username: section.text("username").map(|name| name.value.to_owned()),
        password_file: section.file("password_file", Purpose::Secret),
        keep_alive_seconds: section.integer(
            "keep_alive_seconds",
            5..=3600,
            default::KEEP_ALIVE_SECONDS,
        ),
        session_expiry_seconds: section.integer(
            "session_expiry_seconds",
            0..=u32::MAX,
            default::SESSION_EXPIRY_SECONDS,
        ),
    };
    needs(&section, "cert_file", "key_file");
    needs(&section, "key_file", "cert_file");
    needs(&section, "username", "password_file");
    needs(&section, "password_file", "username");
    if address.is_some_and(|address| !address.tls) {
        for name in ["ca_file", "cert_file", "key_file"] {
            if let Some(line) = section.line_of(name) {
                let message = "is for TLS, but mqtt.url is not mqtts://";
                section.fault(Some(line), name, message);
            }
        }
    }
    section.finish();
    settings
}

/// Reports a key that is there without the other that belongs to it.
fn needs(section: &Section<'_>, name: &str, other: &str) {
    if let Some(line) = section.line_of(name)
        && section.line_of(other).is_none()
    {
        section.fault(Some(line), name, format!("needs {other} beside it"));
    }
}

fn applications(section: &Section<'_>) -> BTreeMap<String, ApplicationSettings> {
    let allowed =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'*' | b'?');
    let mut applications = BTreeMap::new();
    for name in section.names() {
        if name.is_empty() || !name.bytes().all(allowed) {
            let message = "is not a pattern over names of applications; \
                           those read NAME, or NAMESPACE_NAME outside the first namespace";
            section.fault(section.line_of(name), name, message);
        }
        let mut application = section.named_section(name);
        let settings = ApplicationSettings {
            auto_rollback: application.boolean("auto_rollback", false),
        };
        application.finish();
        applications.insert(name.to_owned(), settings);
    }
    applications
}

fn commands(mut section: Section<'_>) -> Commands {
    let settings = Commands {
        keyring: section.file("keyring", Purpose::Trusted),
        max_ttl_seconds: section.integer(
            "max_ttl_seconds",
            10..=2_592_000,
            default::MAX_TTL_SECONDS,
        ),
        trust_clock: section.boolean("trust_clock", false),
        allow_unsigned: allow_unsigned(&mut section),
    };
    section.finish();
    settings
}

fn allow_unsigned(section: &mut Section<'_>) -> Vec<String> {
    let name = "allow_unsigned";
    let listed = section.strings(name).unwrap_or_default();
    for command in &listed {
        if !ALLOWABLE.contains(&command.value) {
            let message = format!(
                "{:?} always needs a signature; only {} can do without",
                command.value,
                ALLOWABLE.join(", ")
            );
            section.fault(Some(command.line), name, message);
        }
    }
    let names = listed.into_iter().map(|command| command.value.to_owned());
    names.collect()
}

fn health(mut section: Section<'_>) -> Health {
    let interval_seconds = section.integer("interval_seconds", 1..=3600, default::INTERVAL_SECONDS);
    let report_seconds = section.integer("report_seconds", 10..=86_400, default::REPORT_SECONDS);
    if report_seconds < interval_seconds {
        let named = section.line_of("report_seconds");
        let line = named.or_else(|| section.line_of("interval_seconds"));
        let message = format!(
            "{report_seconds} is below health.interval_seconds ({interval_seconds}): \
             there is nothing to report between two samples"
        );
        section.fault(line, "report_seconds", message);
    }
    let thresholds = thresholds(section.section("thresholds"));
    section.finish();
    Health {
        interval_seconds,
        report_seconds,
        thresholds,
    }
}

fn thresholds(mut section: Section<'_>) -> Thresholds {
    let defaults = Thresholds::DEFAULT;
    let celsius = -50.0..=150.0;
    let share = 0.0..=1.0;
    let mut limits =
        |name, range: &RangeInclusive<f64>, default| limits(section.section(name), range, default);
    let thresholds = Thresholds {
        temperature_celsius: limits(
            "temperature_celsius",
            &celsius,
            defaults.temperature_celsius,
        ),
        cpu_usage: limits("cpu_usage", &share, defaults.cpu_usage),
        memory_used: limits("memory_used", &share, defaults.memory_used),
        memory_pressure: limits("memory_pressure", &share, defaults.memory_pressure),
        disk_used: limits("disk_used", &share, defaults.disk_used),
        storage_life_used: limits("storage_life_used", &share, defaults.storage_life_used),
    };
    section.finish();
    thresholds
}

fn limits(mut section: Section<'_>, range: &RangeInclusive<f64>, default: Limits) -> Limits {
    let limits = Limits {
        warning: section.number("warning", range.clone(), default.warning),
        critical: section.number("critical", range.clone(), default.critical),
    };
    if limits.critical < limits.warning {
        let named = section.line_of("critical");
        let line = named.or_else(|| section.line_of("warning"));
        let message = format!("{} is below warning ({})", limits.critical, limits.warning);
        section.fault(line, "critical", message);
    }
    section.finish();
    limits
}

fn outbox(mut section: Section<'_>) -> Outbox {
    const TEBIBYTE: u64 = 1 << 40;
    let settings = Outbox {
        max_bytes: section.integer("max_bytes", 65_536..=TEBIBYTE, default::MAX_BYTES),
        max_records: section.integer("max_records", 100..=100_000_000, default::MAX_RECORDS),
        reserve_bytes: section.integer("reserve_bytes", 0..=TEBIBYTE, default::RESERVE_BYTES),
    };
    section.finish();
    settings
}

fn http(mut section: Section<'_>) -> Http {
    let settings = Http {
        listen: address(&mut section, "listen", "page").unwrap_or(Some(default::LISTEN)),
        metrics_listen: address(&mut section, "metrics_listen", "metrics beside it").flatten(),
    };
    let taken = settings.metrics_listen.filter(|address| address.port() > 0);
    if taken.is_some() && taken == settings.listen {
        let line = section.line_of("metrics_listen");
        let message = "is the address of http.listen, which has /metrics already";
        section.fault(line, "metrics_listen", message);
    }
    section.finish();
    settings
}

/// An address to listen on; empty for none, `None` when it is not there or wrong.
fn address(
    section: &mut Section<'_>,
    name: &'static str,
    what: &str,
) -> Option<Option<SocketAddr>> {
    let text = section.string(name)?;
    if text.value.is_empty() {
        return Some(None);
    }
    let address = text.value.parse();
    if address.is_err() {
        let message =
            format!("must be ADDRESS:PORT, such as 127.0.0.1:9750, or \"\" for no {what}");
        section.fault(Some(text.line), name, message);
    }
    address.ok().map(Some)
}

fn log(mut section: Section<'_>) -> Log {
    let level = match section.text("level") {
        None => default::LOG_LEVEL,
        Some(text) => Level::ALL
            .into_iter()
            .find(|level| level.as_str() == text.value)
            .unwrap_or_else(|| {
                let known = Level::ALL.map(Level::as_str).join(", ");
                let message = format!("{:?} is not one of {known}", text.value);
                section.fault(Some(text.line), "level", message);
                default::LOG_LEVEL
            }),
    };
    section.finish();
    Log { level }
}
