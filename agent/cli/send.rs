//! `edge-agent send`: publishes a signed envelope to its nodes and follows what becomes of it.

mod follow;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use edge_agent_core::clock::format_timestamp;
use edge_agent_core::topic::{NodeName, Topic};
use edge_agent_core::wire;
use jiff::Timestamp;
use serde::Deserialize;

use crate::config;
use crate::mqtt::call::{CallError, Heard, Question, call};
use follow::Follow;
pub use follow::{Line, Outcome, Wait};

const HELP: &str = "\
Exit codes: 0 succeeded, 1 failed, 2 usage, 3 timeout, 4 rejected by a node

Example:
  edge-agent send --envelope rollback.json --broker mqtts://broker.example:8883";

/// The largest envelope, in bytes.
const MAX_ENVELOPE: u64 = 8 * 1024;

/// How to reach the broker.
#[derive(Debug, Clone, clap::Args)]
pub struct BrokerArgs {
    /// Broker, such as mqtts://broker.example:8883 [default: mqtt://127.0.0.1:1883]
    #[arg(long, value_name = "URL")]
    pub broker: Option<String>,
    /// User name at the broker
    #[arg(long, value_name = "NAME")]
    pub username: Option<String>,
    /// File with the password
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// CA certificates of the broker, PEM [default: those of the system]
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// Client certificate, PEM
    #[arg(long, value_name = "FILE", requires = "key_file")]
    pub cert_file: Option<PathBuf>,
    /// Key of the client certificate, PEM
    #[arg(long, value_name = "FILE", requires = "cert_file")]
    pub key_file: Option<PathBuf>,
}

impl BrokerArgs {
    /// Joins the arguments with the settings of a node, if there are any; an argument counts more.
    ///
    /// # Errors
    /// When the URL is none of a broker.
    pub fn resolve(&self, settings: Option<config::Mqtt>) -> anyhow::Result<config::Mqtt> {
        let mut mqtt = settings.unwrap_or(config::Mqtt {
            host: "127.0.0.1".to_owned(),
            port: 1883,
            tls: false,
            ca_file: None,
            cert_file: None,
            key_file: None,
            username: None,
            password_file: None,
            keep_alive_seconds: 30,
            session_expiry_seconds: 0,
        });
        if let Some(url) = &self.broker {
            (mqtt.tls, mqtt.host, mqtt.port) = parse_url(url)?;
        }
        let or = |given: &Option<PathBuf>, known: Option<PathBuf>| given.clone().or(known);
        mqtt.ca_file = or(&self.ca_file, mqtt.ca_file);
        mqtt.cert_file = or(&self.cert_file, mqtt.cert_file);
        mqtt.key_file = or(&self.key_file, mqtt.key_file);
        mqtt.password_file = or(&self.password_file, mqtt.password_file);
        mqtt.username = self.username.clone().or(mqtt.username);
        Ok(mqtt)
    }
}

fn parse_url(url: &str) -> anyhow::Result<(bool, String, u16)> {
    let wrong = || format!("{url:?} is no broker: mqtt://HOST:PORT or mqtts://HOST:PORT is");
    let (scheme, rest) = url.split_once("://").with_context(wrong)?;
    let tls = match scheme {
        "mqtt" => false,
        "mqtts" => true,
        _ => bail!(wrong()),
    };
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    // An IPv6 address stands in brackets, so that its colons are not taken for the port's.
    let (host, port) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, port)) => (host, Some(port.strip_prefix(':').with_context(wrong)?)),
        None => rest
            .split_once(':')
            .map_or((rest, None), |(host, port)| (host, Some(port))),
    };
    let port = match port {
        Some(port) => port.parse().ok().with_context(wrong)?,
        None if tls => 8883,
        None => 1883,
    };
    if host.is_empty() || host.contains(['/', '@', ' ']) {
        bail!(wrong());
    }
    Ok((tls, host.to_owned(), port))
}

/// Publish a signed command and follow it to its end
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = HELP)]
pub struct Args {
    #[command(flatten)]
    pub broker: BrokerArgs,
    /// The signed envelope; - reads standard input
    #[arg(long, value_name = "FILE")]
    pub envelope: PathBuf,
    /// Return as soon as this is known
    #[arg(long, value_enum, default_value_t = Wait::Finished)]
    pub wait: Wait,
    /// How long to wait for that, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    pub timeout: u64,
    /// Public key of a node, base64; without any, the broker's word is taken for each node's key
    #[arg(long = "node-key", value_name = "KEY")]
    pub node_keys: Vec<String>,
}

/// Opens the envelope of a result with one of the node keys (base64).
pub type OpenResult<'a> = &'a dyn Fn(&[u8], &[String]) -> Result<Box<wire::CommandResult>, String>;

/// What is sent, to whom, and how long to stay.
pub struct Order {
    pub nodes: Vec<NodeName>,
    /// The id of the command in the envelope.
    pub command: String,
    pub envelope: Vec<u8>,
    pub wait: Wait,
    pub timeout: Duration,
    /// Public keys of the nodes, base64. Empty: what each publishes as its `identity` is believed.
    pub node_keys: Vec<String>,
}

/// Runs the subcommand; `settings` are those of `--config`, where it is given, and `now` tells the
/// time.
///
/// # Errors
/// Faults of usage: a file that cannot be read, an envelope that holds no command, a broker that
/// cannot be reached.
pub async fn run(
    args: Args,
    settings: Option<config::Mqtt>,
    open: OpenResult<'_>,
    now: &dyn Fn() -> Timestamp,
) -> anyhow::Result<Outcome> {
    let mqtt = args.broker.resolve(settings)?;
    let envelope = read_envelope(&args.envelope)?;
    let (command, nodes) = addressees(&envelope)?;
    let order = Order {
        nodes,
        command,
        envelope,
        wait: args.wait,
        timeout: Duration::from_secs(args.timeout),
        node_keys: args.node_keys,
    };
    let tell = &mut |line: &Line| print(line, now());
    send_envelope(&mqtt, order, open, tell).await
}

/// Publishes an envelope to its nodes and follows the results until what [`Wait`] asks for is known,
/// or the time is over. `tell` gets a line for each transition.
///
/// # Errors
/// When the broker cannot be reached or refuses a topic.
pub async fn send_envelope(
    mqtt: &config::Mqtt,
    order: Order,
    open: OpenResult<'_>,
    tell: &mut dyn FnMut(&Line),
) -> anyhow::Result<Outcome> {
    let mut question = Question::default();
    for node in &order.nodes {
        if order.node_keys.is_empty() {
            question.subscribe.push(Topic::Identity.format(node));
        }
        let result = Topic::Result(order.command.clone());
        question.subscribe.push(result.format(node));
        let payload = order.envelope.clone();
        question
            .publish
            .push((Topic::Command.format(node), payload));
    }
    let timeout = order.timeout;
    let mut follow = Follow::new(order, open);
    let hear = |heard: Heard<'_>| follow.hear(heard, tell);
    match call(mqtt, question, timeout, hear).await {
        Ok(outcome) => Ok(outcome),
        Err(CallError::TimedOut { .. }) => Ok(follow.time_is_over(tell)),
        Err(error) => Err(error.into()),
    }
}

/// One line for a person: time, node, state, message.
#[expect(clippy::print_stdout, reason = "this is the output of the subcommand")]
fn print(line: &Line, now: Timestamp) {
    let time = format_timestamp(line.at.unwrap_or(now));
    println!(
        "{time}  {}  {:<11}  {}",
        line.node, line.state, line.message
    );
}

fn read_envelope(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        std::io::stdin()
            .take(MAX_ENVELOPE + 1)
            .read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path)
            .and_then(|file| file.take(MAX_ENVELOPE + 1).read_to_end(&mut bytes))
    };
    read.with_context(|| format!("cannot read the envelope {}", path.display()))?;
    if bytes.len() as u64 > MAX_ENVELOPE {
        bail!(
            "{} is larger than the {MAX_ENVELOPE} bytes of an envelope",
            path.display()
        );
    }
    Ok(bytes)
}

/// Reads the id and the nodes of the command in an envelope. Nothing is verified here: the nodes do
/// that, and what they answer is signed.
fn addressees(envelope: &[u8]) -> anyhow::Result<(String, Vec<NodeName>)> {
    #[derive(Deserialize)]
    struct Envelope {
        payload: String,
    }
    #[derive(Deserialize)]
    struct Payload {
        id: String,
        aud: Vec<String>,
    }
    let envelope: Envelope =
        serde_json::from_slice(envelope).context("this is no DSSE envelope")?;
    let payload = STANDARD
        .decode(&envelope.payload)
        .or_else(|_| URL_SAFE.decode(&envelope.payload))
        .context("the payload of the envelope is not base64")?;
    let payload: Payload =
        serde_json::from_slice(&payload).context("the envelope holds no command")?;
    // The same form as a node's name, and for the same reason: it becomes a level of a topic.
    NodeName::new(&payload.id)
        .map_err(|_| anyhow::anyhow!("{:?} cannot be the id of a command", payload.id))?;
    let nodes: Vec<NodeName> = payload
        .aud
        .iter()
        .map(|name| NodeName::new(name))
        .collect::<Result<_, _>>()?;
    if nodes.is_empty() {
        bail!("the command is addressed to no node (aud)");
    }
    Ok((payload.id, nodes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn parse(args: &[&str]) -> Args {
        let args = ["send", "--envelope", "-"].iter().chain(args);
        Cli::try_parse_from(args).unwrap().args
    }

    fn envelope(payload: &str) -> Vec<u8> {
        let payload = STANDARD.encode(payload);
        serde_json::to_vec(&serde_json::json!({"payload": payload, "signatures": []})).unwrap()
    }

    #[test]
    fn urls_of_brokers() {
        let good = [
            ("mqtt://pi.lan", (false, "pi.lan", 1883)),
            ("mqtts://broker.example", (true, "broker.example", 8883)),
            ("mqtts://broker.example:1/", (true, "broker.example", 1)),
            ("mqtt://[::1]:1884", (false, "::1", 1884)),
            ("mqtt://[fe80::1]", (false, "fe80::1", 1883)),
        ];
        for (url, (tls, host, port)) in good {
            assert_eq!(
                parse_url(url).unwrap(),
                (tls, host.to_owned(), port),
                "{url}"
            );
        }
        for url in [
            "",
            "pi.lan",
            "http://x",
            "mqtt://",
            "mqtt://:1",
            "mqtt://a:b",
            "mqtt://u@h",
            "mqtt://a/b",
            "mqtt://[::1",
            "mqtt://[::1]1",
        ] {
            let error = parse_url(url).unwrap_err().to_string();
            assert!(error.contains("is no broker"), "{url}: {error}");
        }
    }

    #[test]
    fn an_argument_counts_more_than_the_settings() {
        let settings = BrokerArgs::resolve(
            &parse(&["--broker", "mqtts://a:1", "--username", "u"]).broker,
            None,
        )
        .unwrap();
        assert_eq!((settings.host.as_str(), settings.tls), ("a", true));
        let args = parse(&["--broker", "mqtt://b:2"]).broker;
        let both = args.resolve(Some(settings)).unwrap();
        assert_eq!((both.host.as_str(), both.port, both.tls), ("b", 2, false));
        assert_eq!(both.username.as_deref(), Some("u"));
    }

    #[test]
    fn the_envelope_says_whom_it_is_for() {
        let bytes = envelope(r#"{"id":"01J0","aud":["pi-01","pi-02"],"seq":1}"#);
        let (id, nodes) = addressees(&bytes).unwrap();
        assert_eq!(id, "01J0");
        assert_eq!(
            nodes.iter().map(NodeName::as_str).collect::<Vec<_>>(),
            ["pi-01", "pi-02"]
        );
    }

    #[test]
    fn envelopes_that_cannot_be_sent_are_told_apart() {
        let cases = [
            (b"{".to_vec(), "no DSSE envelope"),
            (br#"{"payload":"%"}"#.to_vec(), "not base64"),
            (envelope("[]"), "no command"),
            (
                envelope(r#"{"id":"a/b","aud":["pi"]}"#),
                "the id of a command",
            ),
            (envelope(r#"{"id":"a","aud":["+"]}"#), "cannot name a node"),
            (envelope(r#"{"id":"a","aud":[]}"#), "no node"),
        ];
        for (bytes, part) in cases {
            let error = format!("{:#}", addressees(&bytes).unwrap_err());
            assert!(error.contains(part), "{error}");
        }
    }
}
