//! `edge-agent send`: publishes a signed envelope to its nodes and follows what becomes of it.

mod follow;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use edge_agent_core::clock::format_timestamp;
use edge_agent_core::command::envelope::{
    COMMAND_TYPE, KEYRING_TYPE, Unverified, open_result, seal,
};
use edge_agent_core::command::key::public_from_base64;
use edge_agent_core::command::payload::Command;
use edge_agent_core::command::update::{self, EVERY_NODE};
use edge_agent_core::topic::{NodeName, Topic};
use edge_agent_core::wire;
use jiff::{SignedDuration, Timestamp};

use super::order::{OrderArgs, duration};
use super::sign::KeyArgs;
use super::verify::read_envelope;
use super::{ConfigFile, Exit, output};
use crate::config;
use crate::mqtt::call::{CallError, Question, call};
use crate::mqtt::converse::{Saying, Told};
use follow::Follow;
pub use follow::{Line, Outcome, Wait};

const HELP: &str = "\
Prints one line a transition. Exit code: 0 succeeded; 1 failed; 2 wrong arguments; 3 no answer in
time; 4 refused by a node.

Example:
  edge-agent send --key drone.key --node pi-01 --cmd rollback --application shop
  edge-agent send --envelope rollback.json --broker mqtts://broker.example:8883
  edge-agent send --envelope keyring.json --node pi-01 --node pi-02";

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
            (mqtt.tls, mqtt.host, mqtt.port) =
                config::parse_broker(url).map_err(|fault| anyhow::anyhow!("--broker: {fault}"))?;
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

/// Publish a signed command and follow it to its end
#[derive(Debug, clap::Args)]
#[command(after_help = HELP)]
pub(super) struct Args {
    #[command(flatten)]
    pub broker: BrokerArgs,
    #[command(flatten)]
    config: ConfigFile,
    /// Send this signed envelope, a command or a keyring, instead of signing an order; - reads
    /// standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["cmd", "key"])]
    envelope: Option<PathBuf>,
    #[command(flatten)]
    key: KeyArgs,
    #[command(flatten)]
    order: OrderArgs,
    /// Return as soon as this is known
    #[arg(long, value_enum, default_value_t = Wait::Finished)]
    wait: Wait,
    /// How long to wait for that
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "20m")]
    wait_timeout: SignedDuration,
    /// Public key of a node, base64; without any, the broker's word is taken for each node's key
    #[arg(long = "node-key", value_name = "KEY")]
    node_keys: Vec<String>,
}

/// Opens the envelope of a result with one of the node keys (base64).
type OpenResult<'a> = &'a dyn Fn(&[u8], &[String]) -> Result<Box<wire::CommandResult>, String>;

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

/// # Errors
/// Faults of usage: a key or a file that cannot be read, an envelope that holds no command, a broker
/// that cannot be reached.
pub(super) fn run(args: &Args, now: &dyn Fn() -> Timestamp) -> anyhow::Result<Exit> {
    let settings = args
        .config
        .given()
        .then(|| args.config.load())
        .transpose()?;
    let mqtt = args
        .broker
        .resolve(settings.map(|settings| settings.mqtt))?;
    let envelope = match &args.envelope {
        Some(path) => read_envelope(Some(path))?,
        None => {
            let command = args.order.to_command(now())?;
            seal(
                COMMAND_TYPE,
                &command.to_json(),
                &[(&args.key.key_id, &args.key.read()?)],
            )
        }
    };
    let (command, nodes) = addressees(&envelope, &args.order.node)?;
    let order = Order {
        nodes,
        command,
        envelope,
        wait: args.wait,
        timeout: args.wait_timeout.try_into().unwrap_or_default(),
        node_keys: args.node_keys.clone(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let tell = &mut |line: &Line| print(line, now());
    Ok(match runtime.block_on(send_envelope(&mqtt, order, tell))? {
        Outcome::Succeeded => Exit::Done,
        Outcome::Failed => Exit::Failed,
        Outcome::TimedOut => Exit::Timeout,
        Outcome::Rejected => Exit::Refused,
    })
}

/// Publishes an envelope to its nodes and follows the results until what [`Wait`] asks for is known,
/// or the time is over. `tell` gets a line for each transition.
///
/// # Errors
/// When the broker cannot be reached or refuses a topic.
pub async fn send_envelope(
    mqtt: &config::Mqtt,
    order: Order,
    tell: &mut dyn FnMut(&Line),
) -> anyhow::Result<Outcome> {
    let mut question = Question::default();
    for node in &order.nodes {
        if order.node_keys.is_empty() {
            question.subscribe.push(Topic::Identity.format(node));
        }
        let result = Topic::Result(order.command.clone()).format(node);
        question.subscribe.push(result.clone());
        question.say.push(Saying {
            topic: Topic::Command.format(node),
            payload: order.envelope.clone(),
            expiry_seconds: None,
            until: Some(result),
        });
    }
    let timeout = order.timeout;
    let mut follow = Follow::new(order, &open);
    let hear = |told: Told| follow.hear(told, tell);
    match call(mqtt, question, timeout, hear).await {
        Ok(outcome) => Ok(outcome),
        Err(CallError::TimedOut(_)) => Ok(follow.time_is_over(tell)),
        Err(error) => Err(error.into()),
    }
}

/// Opens a result with one of the node's public keys.
fn open(bytes: &[u8], keys: &[String]) -> Result<Box<wire::CommandResult>, String> {
    let keys: Vec<_> = keys
        .iter()
        .map(|key| public_from_base64(key))
        .collect::<Result<_, _>>()?;
    open_result(bytes, &keys)
        .map(Box::new)
        .map_err(|refusal| refusal.message)
}

/// One line for a person: time, node, state, message.
fn print(line: &Line, now: Timestamp) {
    let time = format_timestamp(line.at.unwrap_or(now));
    let text = format!(
        "{time}  {}  {:<11}  {}\n",
        line.node, line.state, line.message
    );
    // Without a reader the exit code still tells.
    let _ = output::print(&text);
}

/// Reads the id and the nodes of the command or keyring in an envelope; `chosen` are those of them
/// that are meant, none for all. Nothing is verified here: the nodes do that, and what they answer
/// is signed.
fn addressees(envelope: &[u8], chosen: &[String]) -> anyhow::Result<(String, Vec<NodeName>)> {
    let envelope =
        Unverified::read(envelope).map_err(|refusal| anyhow::anyhow!(refusal.message))?;
    let (id, audience) = match envelope.payload_type.as_str() {
        COMMAND_TYPE => {
            let command = Command::parse(&envelope.payload).map_err(|error| {
                anyhow::anyhow!("the envelope holds no command: {}", error.refusal)
            })?;
            (command.id, command.audience)
        }
        KEYRING_TYPE => update::addressees(&envelope.payload)
            .map_err(|refusal| anyhow::anyhow!("the envelope holds no keyring: {refusal}"))?,
        other => bail!("the envelope holds a {other}, neither a command nor a keyring"),
    };
    let everyone = audience.iter().any(|name| name == EVERY_NODE);
    let named = match chosen {
        [] if everyone => bail!(
            "the keyring is for every node, and nobody knows which there are: name them with --node"
        ),
        [] => audience,
        chosen => {
            let stranger = chosen.iter().find(|name| !audience.contains(name));
            if let Some(stranger) = stranger.filter(|_| !everyone) {
                bail!(
                    "the envelope is not for {stranger}, but for {}",
                    audience.join(", ")
                );
            }
            chosen.to_vec()
        }
    };
    let nodes = named
        .iter()
        .map(|name| NodeName::new(name))
        .collect::<Result<_, _>>()
        .context("whom the envelope is for")?;
    Ok((id, nodes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use edge_agent_core::command::key::SigningKey;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn parse(args: &[&str]) -> Args {
        let args = ["send", "--envelope", "-"].iter().chain(args);
        Cli::try_parse_from(args).unwrap().args
    }

    fn envelope(payload_type: &str, payload: &[u8]) -> Vec<u8> {
        let key = SigningKey::from_seed(&[3; 32]).unwrap();
        seal(payload_type, payload, &[("ci", &key)])
    }

    const PING: &[u8] =
        br#"{"v":1,"id":"01J0","aud":["pi-01","pi-02"],"seq":1,"iat":1,"exp":2,"cmd":"ping","args":{}}"#;

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
        let (id, nodes) = addressees(&envelope(COMMAND_TYPE, PING), &[]).unwrap();
        assert_eq!(id, "01J0");
        assert_eq!(
            nodes.iter().map(NodeName::as_str).collect::<Vec<_>>(),
            ["pi-01", "pi-02"]
        );
    }

    #[test]
    fn envelopes_that_cannot_be_sent_are_told_apart() {
        let cases = [
            (b"{".to_vec(), "not a DSSE envelope"),
            (envelope("text/plain", PING), "neither a command"),
            (envelope(COMMAND_TYPE, b"[]"), "no command"),
        ];
        for (bytes, part) in cases {
            let error = format!("{:#}", addressees(&bytes, &[]).unwrap_err());
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_keyring_goes_to_the_nodes_that_are_named() {
        let key = SigningKey::from_seed(&[3; 32]).unwrap();
        let text = format!(
            "version = 2\n[[root]]\nid = \"root\"\npublic = \"{}\"\n",
            key.public_base64()
        );
        let update = |audience: &[&str]| {
            let audience: Vec<String> = audience.iter().map(|it| (*it).to_owned()).collect();
            update::seal_update("u2", &audience, &text, &[("root", &key)]).unwrap()
        };
        let to = |envelope: &[u8], chosen: &[&str]| {
            let chosen: Vec<String> = chosen.iter().map(|it| (*it).to_owned()).collect();
            addressees(envelope, &chosen).map(|(id, nodes)| {
                let names: Vec<String> = nodes.iter().map(|it| it.as_str().to_owned()).collect();
                (id, names.join(" "))
            })
        };
        let (id, nodes) = to(&update(&["a", "b"]), &[]).unwrap();
        assert_eq!((id.as_str(), nodes.as_str()), ("u2", "a b"));
        assert_eq!(to(&update(&["a", "b"]), &["b"]).unwrap().1, "b");
        assert_eq!(to(&update(&["*"]), &["c", "d"]).unwrap().1, "c d");
        let everyone = to(&update(&["*"]), &[]).unwrap_err();
        assert!(everyone.to_string().contains("--node"), "{everyone}");
        let stranger = to(&update(&["a"]), &["c"]).unwrap_err();
        assert!(stranger.to_string().contains("not for c"), "{stranger}");
    }
}
