//! The keys with which nodes sign their results: given, or pinned when a node first answers.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use edge_agent_core::command::key::{KEY_BYTES, public_from_base64};
use edge_agent_core::topic::NodeName;

use super::variables::read_bounded;

/// A public key of a node.
pub(super) type NodeKey = [u8; KEY_BYTES];

/// Where the keys of the nodes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trust {
    /// The setting `node_keys`.
    Keys(NodeKeys),
    /// The file of the setting `pins`.
    Pins(PathBuf),
}

/// Keys that were given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct NodeKeys {
    /// Any node may have these.
    any: Vec<NodeKey>,
    of: BTreeMap<String, Vec<NodeKey>>,
}

impl NodeKeys {
    /// Reads `NODE=KEY` and `KEY`, joined with commas, or a JSON object of these, as Drone makes of
    /// a YAML map.
    ///
    /// # Errors
    /// What is wrong.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut keys = Self::default();
        if text.trim_start().starts_with('{') {
            let map: BTreeMap<String, String> =
                serde_json::from_str(text).map_err(|error| error.to_string())?;
            for (node, key) in &map {
                keys.add(Some(node), key)?;
            }
            return Ok(keys);
        }
        for item in text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
        {
            // The padding of base64 has this sign too, but nothing after it.
            match item.split_once('=') {
                Some((node, key)) if !key.trim_matches('=').is_empty() => {
                    keys.add(Some(node), key)?;
                }
                _ => keys.add(None, item)?,
            }
        }
        Ok(keys)
    }

    fn add(&mut self, node: Option<&str>, key: &str) -> Result<(), String> {
        let place = node.unwrap_or("a key");
        let key = public_from_base64(key.trim()).map_err(|fault| format!("{place}: {fault}"))?;
        match node {
            Some(node) => {
                let node = NodeName::new(node.trim()).map_err(|fault| fault.to_string())?;
                self.of
                    .entry(node.as_str().to_owned())
                    .or_default()
                    .push(key);
            }
            None => self.any.push(key),
        }
        Ok(())
    }

    /// The keys that a node may have.
    pub(super) fn of(&self, node: &NodeName) -> Vec<NodeKey> {
        let own = self.of.get(node.as_str()).into_iter().flatten();
        own.chain(&self.any).copied().collect()
    }
}

/// A file with a line `NODE KEY` for each node that has answered.
#[derive(Debug)]
pub(super) struct Pins {
    path: PathBuf,
    keys: NodeKeys,
}

impl Pins {
    /// Reads the file; one that is not there is empty.
    ///
    /// # Errors
    /// When it cannot be read, or is some other file: then it is not written to either.
    pub(super) fn open(path: &Path) -> Result<Self, String> {
        const MAX_BYTES: u64 = 1024 * 1024;
        let text = match read_bounded(path, MAX_BYTES) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(format!("pins: {}: {error}", path.display())),
        };
        let mut keys = NodeKeys::default();
        let lines = text.lines().map(str::trim);
        for line in lines.filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let pinned = line
                .split_once(' ')
                .ok_or("it has a line that is no pin".to_owned())
                .and_then(|(node, key)| keys.add(Some(node), key));
            pinned.map_err(|fault| format!("pins: {}: {fault}", path.display()))?;
        }
        Ok(Self {
            path: path.to_owned(),
            keys,
        })
    }

    /// The key that a node was first seen with.
    pub(super) fn of(&self, node: &NodeName) -> Vec<NodeKey> {
        self.keys.of(node)
    }

    /// Keeps the key of a node that has none yet.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(super) fn pin(&mut self, node: &NodeName, key: &str) -> Result<(), String> {
        self.keys.add(Some(node.as_str()), key)?;
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(&self.path)
            .map_err(|error| format!("pins: {}: {error}", self.path.display()))?;
        writeln!(file, "{node} {key}")
            .and_then(|()| file.sync_all())
            .map_err(|error| format!("pins: {}: {error}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use edge_agent_core::command::envelope::SigningKey;

    use super::*;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&[seed; 32]).unwrap()
    }

    fn node(name: &str) -> NodeName {
        NodeName::new(name).unwrap()
    }

    #[test]
    fn keys_of_one_node_and_of_any() {
        let (one, two) = (key(1), key(2));
        let text = format!("pi-01={}, {}", one.public_base64(), two.public_base64());
        let keys = NodeKeys::parse(&text).unwrap();
        assert_eq!(keys.of(&node("pi-01")), [one.public(), two.public()]);
        assert_eq!(keys.of(&node("pi-02")), [two.public()]);
        let map = format!("{{\"pi-01\":\"{}\"}}", one.public_base64());
        let keys = NodeKeys::parse(&map).unwrap();
        assert_eq!(keys.of(&node("pi-01")), [one.public()]);
        assert!(keys.of(&node("pi-02")).is_empty());
        for wrong in ["pi-01=x", "x", "{", "a/b=AAAA", "{\"pi\":1}"] {
            assert!(NodeKeys::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_pin_is_kept_and_another_file_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pins");
        let mut pins = Pins::open(&path).unwrap();
        assert!(pins.of(&node("pi-01")).is_empty());
        pins.pin(&node("pi-01"), &key(1).public_base64()).unwrap();
        let again = Pins::open(&path).unwrap();
        assert_eq!(again.of(&node("pi-01")), [key(1).public()]);
        std::fs::write(&path, "root:x:0:0\n").unwrap();
        assert!(Pins::open(&path).is_err());
    }
}
