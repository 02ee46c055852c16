//! What a step is to do: read from its environment, every fault told at once and by the name of its
//! setting.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use edge_agent_core::command::envelope::SigningKey;
use edge_agent_core::command::payload::OnFailure;
use edge_agent_core::topic::NodeName;

use super::build::Build;
use super::keys::{NodeKeys, Trust};
use super::order::{Target, Work};
use super::secret::MemoryFile;
use super::variables::Variables;
use super::waves::{self, Reach};
use crate::cli::order::duration;
use crate::config;

/// The most nodes of one step.
const MAX_NODES: usize = 1000;
const DEFAULT_TTL: Duration = Duration::from_secs(10 * 60);
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// When a node has done what this step waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// The broker has the order.
    None,
    /// The node has taken it on.
    Accepted,
    /// The application is on the revision.
    Synced,
    /// The application is on the revision, healthy, and has stayed so.
    Healthy,
}

/// Everything that a step needs to know.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) mqtt: config::Mqtt,
    pub(super) signing_key: SigningKey,
    pub(super) key_id: String,
    pub(super) nodes: Vec<NodeName>,
    pub(super) build: Build,
    pub(super) work: Work,
    pub(super) ttl: Duration,
    pub(super) timeout: Duration,
    pub(super) wait: Wait,
    pub(super) waves: Vec<Reach>,
    pub(super) trust: Trust,
    pub(super) result_file: Option<PathBuf>,
    /// What `mqtt` names files of; they live as long as the settings.
    _secrets: Vec<MemoryFile>,
}

impl Settings {
    /// # Errors
    /// Everything that is wrong.
    pub(super) fn read(environment: &[(String, String)]) -> Result<Self, Vec<String>> {
        let mut variables = Variables::new(environment);
        let read = Self::read_from(&mut variables);
        variables.refuse_unknown();
        match read {
            Some(settings) if variables.faults.is_empty() => Ok(settings),
            _ => Err(variables.faults),
        }
    }

    fn read_from(variables: &mut Variables<'_>) -> Option<Self> {
        let build = Build::read(variables);
        let mut secrets = Vec::new();
        let mqtt = mqtt(variables, &mut secrets);
        let signing_key = signing_key(variables);
        let key_id = variables.text("key_id").unwrap_or_default().to_owned();
        let nodes = nodes(variables);
        let work = Target::read(variables, build.as_ref());
        let limits = [("ttl", DEFAULT_TTL), ("timeout", DEFAULT_TIMEOUT)];
        let [ttl, timeout] = limits.map(|(name, default)| time(variables, name, default));
        let wait = variables.choice(
            "wait",
            &[
                ("none", Wait::None),
                ("accepted", Wait::Accepted),
                ("synced", Wait::Synced),
                ("healthy", Wait::Healthy),
            ],
        );
        let wait = wait.unwrap_or(Wait::Healthy);
        let waves = read_waves(variables, wait);
        let trust = trust(variables, wait);
        let result_file = variables.text("result_file").map(PathBuf::from);
        let work = work?;
        if work.on_failure == OnFailure::Rollback && wait != Wait::Healthy {
            variables.fault(
                "on_failure",
                "with `rollback` it must be known how it ended; that needs `wait: healthy`",
            );
        }
        Some(Self {
            mqtt: mqtt?,
            signing_key: signing_key?,
            key_id,
            nodes: nodes?,
            build: build?,
            work: work.with_timeout(timeout),
            ttl,
            timeout,
            wait,
            waves: waves?,
            trust: trust?,
            result_file,
            _secrets: secrets,
        })
    }
}

fn mqtt(variables: &mut Variables<'_>, secrets: &mut Vec<MemoryFile>) -> Option<config::Mqtt> {
    let broker = variables.needed("broker").map(config::parse_broker);
    let username = variables.text("username").map(str::to_owned);
    let mut file = |variables: &mut Variables<'_>, name| file_of(variables, name, secrets);
    let password_file = file(variables, "password");
    let ca_file = file(variables, "ca_cert");
    let cert_file = file(variables, "client_cert");
    let key_file = file(variables, "client_key");
    if variables.is_set("client_cert") != variables.is_set("client_key") {
        variables.fault("client_cert", "and client_key belong together");
    }
    if variables.is_set("password") && !variables.is_set("username") {
        variables.fault("username", "is missing, and password is set");
    }
    let (tls, host, port) = match broker? {
        Ok(broker) => broker,
        Err(fault) => {
            variables.fault("broker", fault);
            return None;
        }
    };
    if !tls && (ca_file.is_some() || cert_file.is_some()) {
        variables.fault(
            "broker",
            "has certificates set, so it must begin with mqtts://",
        );
    }
    Some(config::Mqtt {
        host,
        port,
        tls,
        ca_file,
        cert_file,
        key_file,
        username,
        password_file,
        keep_alive_seconds: 30,
        session_expiry_seconds: 0,
    })
}

/// A file with the text of a setting, or the file that it names.
fn file_of(
    variables: &mut Variables<'_>,
    name: &'static str,
    secrets: &mut Vec<MemoryFile>,
) -> Option<PathBuf> {
    let text = variables.text(name)?;
    // A password may begin with a slash; certificates and keys are PEM, which does not.
    if name != "password" && text.starts_with('/') {
        return Some(PathBuf::from(text));
    }
    if name != "password" && !text.contains("-----BEGIN") {
        variables.fault(
            name,
            "is neither PEM (-----BEGIN …) nor a path that begins with /",
        );
        return None;
    }
    match MemoryFile::new(text) {
        Ok(file) => {
            let path = file.path();
            secrets.push(file);
            Some(path)
        }
        Err(error) => {
            variables.fault(name, format!("cannot be kept in memory: {error}"));
            None
        }
    }
}

fn signing_key(variables: &mut Variables<'_>) -> Option<SigningKey> {
    let text = variables.needed("signing_key")?;
    match SigningKey::from_text(text) {
        Ok(key) => Some(key),
        Err(error) => {
            // The error never quotes the key.
            variables.fault("signing_key", error.to_string());
            None
        }
    }
}

fn nodes(variables: &mut Variables<'_>) -> Option<Vec<NodeName>> {
    let mut names: Vec<String> = Vec::new();
    for setting in ["node", "nodes"] {
        names.extend(variables.list(setting).into_iter().map(str::to_owned));
    }
    names.extend(variables.lines_of_file("group").unwrap_or_default());
    if let Some(of_target) = nodes_of_target(variables) {
        names = of_target;
    }
    if names.is_empty() {
        variables.fault(
            "node",
            "is missing: name the nodes, or a `group` file, or `targets`",
        );
        return None;
    }
    if names.len() > MAX_NODES {
        variables.fault("node", format!("names more than {MAX_NODES} nodes"));
        return None;
    }
    let mut nodes = Vec::new();
    for name in names {
        match NodeName::new(&name) {
            Ok(node) if nodes.contains(&node) => {
                variables.fault("node", format!("names {node} twice"));
            }
            Ok(node) => nodes.push(node),
            Err(error) => variables.fault("node", error.to_string()),
        }
    }
    Some(nodes)
}

/// The nodes of the target that the build is for, where the step tells targets apart. One that it does not
/// know is a fault: somebody has mistyped it.
fn nodes_of_target(variables: &mut Variables<'_>) -> Option<Vec<String>> {
    let text = variables.text("targets")?;
    let Ok(targets) = serde_json::from_str::<BTreeMap<String, Vec<String>>>(text) else {
        let what = "is no map of lists of nodes, such as {kitchen: [pi-04]}";
        variables.fault("targets", what);
        return None;
    };
    let target = variables.build("DRONE_DEPLOY_TO")?;
    if let Some(nodes) = targets.get(target) {
        return Some(nodes.clone());
    }
    let known: Vec<&str> = targets.keys().map(String::as_str).collect();
    let target: String = target.chars().take(64).collect();
    let what = format!("has no `{target}`, only {}", known.join(", "));
    variables.fault("targets", what);
    None
}

fn time(variables: &mut Variables<'_>, name: &'static str, default: Duration) -> Duration {
    let Some(text) = variables.text(name) else {
        return default;
    };
    match duration(text.trim()).map(Duration::try_from) {
        Ok(Ok(time)) => time,
        Ok(Err(_)) => default,
        Err(fault) => {
            variables.fault(name, fault);
            default
        }
    }
}

fn read_waves(variables: &mut Variables<'_>, wait: Wait) -> Option<Vec<Reach>> {
    let items = variables.list("waves");
    if !items.is_empty() && wait != Wait::Healthy {
        variables.fault(
            "waves",
            "each begins when the one before is healthy; that needs `wait: healthy`",
        );
    }
    match waves::parse(&items) {
        Ok(waves) => Some(waves),
        Err(fault) => {
            variables.fault("waves", fault);
            None
        }
    }
}

fn trust(variables: &mut Variables<'_>, wait: Wait) -> Option<Trust> {
    let keys = variables.text("node_keys");
    let pins = variables.text("pins").map(PathBuf::from);
    if variables.is_set("node_keys") && variables.is_set("pins") {
        variables.fault("pins", "and node_keys exclude each other");
    }
    match (keys, pins) {
        (Some(keys), _) => match NodeKeys::parse(keys) {
            Ok(keys) => Some(Trust::Keys(keys)),
            Err(fault) => {
                variables.fault("node_keys", fault);
                None
            }
        },
        (None, Some(path)) => Some(Trust::Pins(path)),
        (None, None) if wait == Wait::None => Some(Trust::Keys(NodeKeys::default())),
        (None, None) => {
            if !variables.is_set("node_keys") && !variables.is_set("pins") {
                variables.fault(
                    "node_keys",
                    "is missing: without the public keys of the nodes anybody on the broker could \
                     answer in their place; they stand in the topic `identity` of each node. Or set \
                     `pins` to a file that keeps the key with which a node first answers",
                );
            }
            None
        }
    }
}

#[cfg(test)]
mod tests;
