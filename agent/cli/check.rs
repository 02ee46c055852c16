//! `edge-agent check`: what is wrong with the settings, or what the agent would do under them.

use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;

use super::{ConfigFile, Exit, output};
use crate::config::{Config, DEFAULT_FILE, Led};

/// Check the settings, and tell what the agent would do under them
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Every fault is a line on standard error, and the exit code is 2 if there is one.

Example:
  edge-agent check --config ./agent.toml
  edge-agent check --print > effective.toml")]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigFile,
    /// Print the settings in force as TOML, defaults and resolved paths included
    #[arg(long)]
    print: bool,
}

/// # Errors
/// The faults of the settings, or that standard output cannot be written.
pub(super) fn run(args: &Args) -> anyhow::Result<Exit> {
    let config = args.config.load()?;
    if args.print {
        output::print(&config.to_toml())?;
        return Ok(Exit::Done);
    }
    let headline = match &args.config.path {
        Some(path) => format!("{} is in order.", path.display()),
        None if Path::new(DEFAULT_FILE).exists() => format!("{DEFAULT_FILE} is in order."),
        None => format!("There is no {DEFAULT_FILE}: the defaults are in force."),
    };
    output::print(&format!("{headline}\n{}", summary(&config)))?;
    Ok(Exit::Done)
}

/// What the agent would do, a line for each part, and what a person may want to think about.
fn summary(config: &Config) -> String {
    let lines = [
        ("node", config.node.as_str().to_owned()),
        ("state", config.state_directory.display().to_string()),
        ("broker", broker(config)),
        ("cluster", cluster(config)),
        ("rolls back", rolls_back(config)),
        ("commands", commands(config)),
        ("health", health(config)),
        ("outbox", outbox(config)),
        ("leds", leds(config)),
        ("button", button(config)),
        ("tells", tells(config)),
        ("page", page(config)),
        ("log", config.log.level.as_str().to_owned()),
    ];
    let mut summary = String::new();
    for (part, what) in lines {
        // Writing to a string does not fail.
        let _ = writeln!(summary, "{part:<12}{what}");
    }
    for note in notes(config) {
        let _ = writeln!(summary, "note: {note}");
    }
    summary
}

fn broker(config: &Config) -> String {
    let mqtt = &config.mqtt;
    let mut line = mqtt.url();
    if let Some(username) = &mqtt.username {
        let _ = write!(line, ", as {username:?}");
    }
    if let Some(certificate) = &mqtt.cert_file {
        let _ = write!(line, ", with the certificate {}", certificate.display());
    }
    match &mqtt.ca_file {
        Some(authority) => {
            let _ = write!(line, ", trusting {}", authority.display());
        }
        None if mqtt.tls => line.push_str(", trusting the system's authorities"),
        None => {}
    }
    line
}

fn cluster(config: &Config) -> String {
    let cluster = &config.cluster;
    if !cluster.enabled {
        return "not watched (cluster.enabled)".to_owned();
    }
    let by = match &cluster.kubeconfig {
        Some(kubeconfig) => kubeconfig.display().to_string(),
        None => "the service account or /etc/edge-agent/kubeconfig".to_owned(),
    };
    format!("watches {} by {by}", cluster.namespaces.join(", "))
}

fn rolls_back(config: &Config) -> String {
    let patterns: Vec<_> = config
        .applications
        .iter()
        .filter(|(_, settings)| settings.auto_rollback)
        .map(|(pattern, _)| pattern.as_str())
        .collect();
    if patterns.is_empty() {
        "only when commanded".to_owned()
    } else {
        format!("by itself: {}", patterns.join(", "))
    }
}

fn commands(config: &Config) -> String {
    match &config.commands.keyring {
        None => "not accepted (commands.keyring)".to_owned(),
        Some(keyring) => format!(
            "accepted by the keys of {}, valid for {} s at most",
            keyring.display(),
            config.commands.max_ttl_seconds
        ),
    }
}

fn health(config: &Config) -> String {
    format!(
        "looks every {} s, reports every {} s at the latest",
        config.health.interval_seconds, config.health.report_seconds
    )
}

fn outbox(config: &Config) -> String {
    format!(
        "keeps {} events or {} at most, and leaves {} of the disk free",
        config.outbox.max_records,
        bytes(config.outbox.max_bytes),
        bytes(config.outbox.reserve_bytes)
    )
}

/// Bytes for a person, in the largest unit that leaves a whole number.
fn bytes(count: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    units
        .into_iter()
        .find(|(bits, _)| count > 0 && count.trailing_zeros() >= *bits)
        .map_or_else(
            || format!("{count} bytes"),
            |(bits, unit)| format!("{} {unit}", count >> bits),
        )
}

fn leds(config: &Config) -> String {
    if config.led.is_empty() {
        return "the board's own ACT LED".to_owned();
    }
    let led = |(name, led): (&String, &Led)| match led {
        Led::Gpio { pin, .. } => format!("{name} (GPIO {pin})"),
        Led::Rgb {
            red, green, blue, ..
        } => format!("{name} (RGB on GPIO {red}, {green}, {blue})"),
        Led::Kernel { name: kernel } => format!("{name} (/sys/class/leds/{kernel})"),
        Led::Simulated => format!("{name} (simulated)"),
    };
    config.led.iter().map(led).collect::<Vec<_>>().join(", ")
}

fn button(config: &Config) -> String {
    config.button.map_or_else(
        || "none".to_owned(),
        |button| {
            let gpio = button.gpio;
            format!("on GPIO {gpio}, held for 5 s rolls the last change back")
        },
    )
}

fn tells(config: &Config) -> String {
    if config.notify.is_empty() {
        return "nobody but the broker ([notify.NAME])".to_owned();
    }
    let names: Vec<_> = config.notify.keys().map(String::as_str).collect();
    names.join(", ")
}

fn page(config: &Config) -> String {
    config
        .http
        .listen
        .map_or_else(|| "none".to_owned(), |address| format!("http://{address}"))
}

/// What is allowed, but worth a thought.
fn notes(config: &Config) -> Vec<String> {
    let mut notes = Vec::new();
    let mqtt = &config.mqtt;
    let address: Result<IpAddr, _> = mqtt.host.parse();
    let here = address.map_or(mqtt.host == "localhost", |address| address.is_loopback());
    if !mqtt.tls && !here {
        let what = match mqtt.username {
            Some(_) => "the password and all messages travel",
            None => "all messages travel",
        };
        notes.push(format!("mqtt.url is not mqtts://: {what} unencrypted"));
    }
    if let Some(address) = config.http.listen
        && !address.ip().is_loopback()
    {
        notes.push("http.listen: the page has no password, and others can reach it".to_owned());
    }
    if config
        .http
        .metrics_listen
        .is_some_and(|address| !address.ip().is_loopback())
    {
        notes.push("http.metrics_listen: others can read the metrics".to_owned());
    }
    if !config.commands.allow_unsigned.is_empty() {
        let what = config.commands.allow_unsigned.join(", ");
        notes.push(format!(
            "commands.allow_unsigned: whoever may write to the command topic may say {what}"
        ));
    }
    if config.commands.keyring.is_some() && !config.cluster.enabled {
        notes.push("without the cluster only identify and ping can be carried out".to_owned());
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Environment;
    use expect_test::expect;

    fn summary_of(text: &str) -> String {
        let environment = Environment {
            host_name: Some("pi-01".to_owned()),
            is_root: true,
            ..Environment::default()
        };
        let source = Path::new("/etc/edge-agent/agent.toml");
        summary(&Config::parse(text, source, &environment).unwrap())
    }

    #[test]
    fn the_defaults_say_what_they_do() {
        expect![[r"
            node        pi-01
            state       /var/lib/edge-agent
            broker      mqtt://127.0.0.1:1883
            cluster     watches argocd by the service account or /etc/edge-agent/kubeconfig
            rolls back  only when commanded
            commands    not accepted (commands.keyring)
            health      looks every 10 s, reports every 300 s at the latest
            outbox      keeps 100000 events or 64 MiB at most, and leaves 128 MiB of the disk free
            leds        the board's own ACT LED
            button      none
            tells       nobody but the broker ([notify.NAME])
            page        http://127.0.0.1:9750
            log         info
        "]]
        .assert_eq(&summary_of(""));
    }

    #[test]
    fn what_is_set_is_said_and_what_is_risky_is_noted() {
        let text = r#"
            [mqtt]
            url = "mqtt://broker.example"
            username = "pi"
            password_file = "password"
            [cluster]
            enabled = false
            [applications."shop-*"]
            auto_rollback = true
            [commands]
            keyring = "keyring.toml"
            [outbox]
            reserve_bytes = 1000
            [led.deploy]
            kind = "rgb"
            red = 17
            green = 27
            blue = 22
            [led.front]
            kind = "gpio"
            pin = 4
            [led.board]
            kind = "kernel"
            name = "ACT"
            [button]
            gpio = 5
            [notify.team]
            kind = "slack"
            url_file = "webhook"
            [http]
            listen = "0.0.0.0:9750"
        "#;
        expect![[r#"
            node        pi-01
            state       /var/lib/edge-agent
            broker      mqtt://broker.example:1883, as "pi"
            cluster     not watched (cluster.enabled)
            rolls back  by itself: shop-*
            commands    accepted by the keys of /etc/edge-agent/keyring.toml, valid for 86400 s at most
            health      looks every 10 s, reports every 300 s at the latest
            outbox      keeps 100000 events or 64 MiB at most, and leaves 1000 bytes of the disk free
            leds        board (/sys/class/leds/ACT), deploy (RGB on GPIO 17, 27, 22), front (GPIO 4)
            button      on GPIO 5, held for 5 s rolls the last change back
            tells       team
            page        http://0.0.0.0:9750
            log         info
            note: mqtt.url is not mqtts://: the password and all messages travel unencrypted
            note: http.listen: the page has no password, and others can reach it
            note: without the cluster only identify and ping can be carried out
        "#]]
        .assert_eq(&summary_of(text));
    }
}
