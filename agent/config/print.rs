//! The settings in force, as a file that would give them again.

use std::fmt::Write;
use std::path::Path;

use edge_agent_core::health::Limits;
use toml::Value;

use super::{Config, Led, Mqtt, Notify, broker};

impl Config {
    /// The settings as TOML: what [`Config::parse`] reads back as the same settings. Paths stand
    /// as they were resolved; no file that they name is read, so no secret is shown.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut page = Page::default();
        page.key("node", self.node.as_str());
        page.key("state_directory", path(&self.state_directory));
        self.mqtt.print(&mut page);
        self.print_cluster(&mut page);
        self.print_health(&mut page);
        page.table("outbox");
        page.key("max_bytes", integer(self.outbox.max_bytes));
        page.key("max_records", integer(self.outbox.max_records));
        page.key("reserve_bytes", integer(self.outbox.reserve_bytes));
        for (name, led) in &self.led {
            page.table(&format!("led.{}", Value::from(name.as_str())));
            led.print(&mut page);
        }
        if let Some(button) = &self.button {
            page.table("button");
            page.key("gpio", i64::from(button.gpio));
            page.key("action", "rollback");
            page.key("active_low", button.active_low);
            page.key("pull", button.pull.as_str());
        }
        for (name, receiver) in &self.notify {
            page.table(&format!("notify.{}", Value::from(name.as_str())));
            receiver.print(&mut page);
        }
        page.table("http");
        let listen = self.http.listen.map(|address| address.to_string());
        page.key("listen", listen.unwrap_or_default());
        let metrics = self.http.metrics_listen.map(|address| address.to_string());
        page.key("metrics_listen", metrics.unwrap_or_default());
        if let Some(home_assistant) = &self.home_assistant {
            page.table("home_assistant");
            page.key("discovery", home_assistant.discovery);
            page.key("prefix", home_assistant.prefix.as_str());
            page.key("single_component", home_assistant.single_component);
        }
        page.table("log");
        page.key("level", self.log.level.as_str());
        page.0
    }

    fn print_cluster(&self, page: &mut Page) {
        page.table("cluster");
        page.key("enabled", self.cluster.enabled);
        page.path("kubeconfig", self.cluster.kubeconfig.as_deref());
        if let Some(name) = &self.cluster.node_name {
            page.key("node_name", name.as_str());
        }
        page.key("namespaces", self.cluster.namespaces.clone());
        page.key(
            "stale_after_seconds",
            integer(self.cluster.stale_after_seconds),
        );
        page.key("security_hooks", self.cluster.security_hooks.clone());
        for (glob, settings) in &self.applications {
            page.table(&format!("applications.{}", Value::from(glob.as_str())));
            page.key("auto_rollback", settings.auto_rollback);
        }
        page.table("commands");
        page.path("keyring", self.commands.keyring.as_deref());
        page.key("max_ttl_seconds", integer(self.commands.max_ttl_seconds));
        page.key("trust_clock", self.commands.trust_clock);
        page.key("allow_unsigned", self.commands.allow_unsigned.clone());
    }

    fn print_health(&self, page: &mut Page) {
        page.table("health");
        page.key("interval_seconds", integer(self.health.interval_seconds));
        page.key("report_seconds", integer(self.health.report_seconds));
        let thresholds = &self.health.thresholds;
        let mut limits = |name: &str, limits: Limits| {
            page.table(&format!("health.thresholds.{name}"));
            page.key("warning", limits.warning);
            page.key("critical", limits.critical);
        };
        limits("temperature_celsius", thresholds.temperature_celsius);
        limits("cpu_usage", thresholds.cpu_usage);
        limits("memory_used", thresholds.memory_used);
        limits("memory_pressure", thresholds.memory_pressure);
        limits("disk_used", thresholds.disk_used);
        limits("storage_life_used", thresholds.storage_life_used);
    }
}

impl Mqtt {
    /// The address of the broker, `mqtt://` or `mqtts://` with host and port.
    #[must_use]
    pub fn url(&self) -> String {
        broker::url(&self.host, self.port, self.tls)
    }

    fn print(&self, page: &mut Page) {
        page.table("mqtt");
        page.key("url", self.url());
        page.path("ca_file", self.ca_file.as_deref());
        page.path("cert_file", self.cert_file.as_deref());
        page.path("key_file", self.key_file.as_deref());
        if let Some(username) = &self.username {
            page.key("username", username.as_str());
        }
        page.path("password_file", self.password_file.as_deref());
        page.key("keep_alive_seconds", i64::from(self.keep_alive_seconds));
        page.key(
            "session_expiry_seconds",
            i64::from(self.session_expiry_seconds),
        );
    }
}

impl Notify {
    fn print(&self, page: &mut Page) {
        page.key("kind", self.kind.as_str());
        page.path("url_file", Some(&self.url_file));
        page.path("token_file", self.token_file.as_deref());
        page.path("ca_file", self.ca_file.as_deref());
        let on: Vec<&str> = self.on.iter().map(|kind| kind.as_str()).collect();
        page.key("on", on);
    }
}

impl Led {
    fn print(&self, page: &mut Page) {
        match self {
            Self::Gpio {
                pin,
                active_low,
                pwm,
            } => {
                page.key("kind", "gpio");
                page.key("pin", i64::from(*pin));
                page.key("active_low", *active_low);
                page.key("pwm", pwm.as_str());
            }
            Self::Rgb {
                red,
                green,
                blue,
                active_low,
                pwm,
            } => {
                page.key("kind", "rgb");
                page.key("red", i64::from(*red));
                page.key("green", i64::from(*green));
                page.key("blue", i64::from(*blue));
                page.key("active_low", *active_low);
                page.key("pwm", pwm.as_str());
            }
            Self::Kernel { name } => {
                page.key("kind", "kernel");
                page.key("name", name.as_str());
            }
            Self::Simulated => page.key("kind", "simulated"),
        }
    }
}

/// TOML as it grows, table by table.
#[derive(Default)]
struct Page(String);

impl Page {
    fn table(&mut self, path: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.0, "\n[{path}]");
    }

    fn key(&mut self, name: &str, value: impl Into<Value>) {
        let value: Value = value.into();
        let _ = writeln!(self.0, "{name} = {value}");
    }

    fn path(&mut self, name: &str, value: Option<&Path>) {
        if let Some(value) = value {
            self.key(name, path(value));
        }
    }
}

fn path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// TOML's integers end at `i64::MAX`; every range of the settings ends far below.
fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
