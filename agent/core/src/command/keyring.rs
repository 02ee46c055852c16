//! Who may command what: the keyring.

use jiff::Timestamp;
use wildmatch::WildMatch;

use super::encoding::to_hex;
use super::envelope::sha256;
use super::key::{KEY_BYTES, verifies};
use super::payload::{Action, split_application};

/// Bytes of a keyring file.
pub const MAX_KEYRING_BYTES: usize = 65_536;

/// Keys of a keyring. Every signature may have to be tried with each of them, so their number
/// bounds what one hostile envelope can cost.
pub const MAX_KEYS: usize = 64;

/// Root keys of a keyring.
pub const MAX_ROOTS: usize = 8;

/// Bytes of a fingerprint: enough that nobody finds another key with the same.
const FINGERPRINT_BYTES: usize = 8;

/// The namespace of applications that are named without one, unless told otherwise.
pub const DEFAULT_NAMESPACE: &str = "argocd";

/// The keys that a node obeys, and what each may order.
///
/// Applications are matched by globs (`*` any text, `?` one character). A glob without `/` is
/// matched against the name of the application, in whatever namespace it is. A glob with `/` is
/// matched against `namespace/name`; an application that the command names without a namespace is
/// in the default namespace (see [`Keyring::with_default_namespace`]), so that neither a right nor
/// a threshold depends on how the issuer writes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Keyring {
    /// Grows with every change; 0 where the file says nothing.
    pub(super) version: u64,
    /// The keys that may replace this keyring over the air.
    pub(super) roots: Vec<Root>,
    /// How many of them must sign.
    pub(super) root_threshold: usize,
    pub(super) keys: Vec<Key>,
    pub(super) thresholds: Vec<Threshold>,
    pub(super) default_namespace: String,
}

/// One key of a keyring.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    pub(super) id: String,
    pub(super) public: [u8; KEY_BYTES],
    pub(super) allow: Vec<&'static str>,
    pub(super) applications: Globs,
    /// The first moment at which it is no longer valid.
    pub(super) valid_until: Option<Timestamp>,
}

/// A key that orders nothing and signs keyrings; its private half is kept offline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    pub(super) id: String,
    pub(super) public: [u8; KEY_BYTES],
}

impl Root {
    /// The id, as the keyring names it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> &[u8; KEY_BYTES] {
        &self.public
    }
}

/// How many keys a class of commands needs.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Threshold {
    pub(super) cmd: &'static str,
    pub(super) applications: Globs,
    pub(super) signatures: usize,
}

/// Globs over applications.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Globs(pub(super) Vec<Glob>);

/// A glob, and whether it is over `namespace/name` or over the name alone.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Glob {
    text: String,
    pattern: WildMatch,
    qualified: bool,
}

impl Glob {
    pub(super) fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            pattern: WildMatch::new(text),
            qualified: text.contains('/'),
        }
    }
}

impl Globs {
    fn match_application(&self, namespace: &str, name: &str) -> bool {
        let qualified = format!("{namespace}/{name}");
        self.0.iter().any(|glob| {
            glob.pattern
                .matches(if glob.qualified { &qualified } else { name })
        })
    }
}

impl Key {
    /// The id, as the keyring names it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> &[u8; KEY_BYTES] {
        &self.public
    }

    /// What its sequences are counted by: its id and a fingerprint of its public half.
    #[must_use]
    pub fn counter(&self) -> String {
        let fingerprint = sha256(&self.public);
        format!("{}:{}", self.id, to_hex(&fingerprint[..FINGERPRINT_BYTES]))
    }

    /// The commands that it may order.
    #[must_use]
    pub fn allow(&self) -> &[&'static str] {
        &self.allow
    }

    /// The globs of the applications for which it may order them, as written.
    pub fn applications(&self) -> impl Iterator<Item = &str> {
        self.applications.0.iter().map(|glob| glob.text.as_str())
    }

    /// The first moment at which the key is no longer valid; `None`: it stays valid.
    #[must_use]
    pub fn valid_until(&self) -> Option<Timestamp> {
        self.valid_until
    }

    /// Whether the key is still valid at a moment.
    #[must_use]
    pub fn is_valid_at(&self, at: Timestamp) -> bool {
        self.valid_until.is_none_or(|until| at < until)
    }

    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        verifies(&self.public, message, signature)
    }
}

impl Keyring {
    /// Reads a keyring file.
    ///
    /// # Errors
    /// Every fault in it, each with the key that it is about.
    pub fn parse(toml_text: &str) -> Result<Self, Vec<String>> {
        super::keyring_file::read(toml_text, false)
    }

    /// As [`Keyring::parse`], but takes the published keys of RFC 8032. For tests and examples
    /// only: everybody knows their private halves.
    ///
    /// # Errors
    /// Every fault in it, each with the key that it is about.
    pub fn parse_allowing_test_keys(toml_text: &str) -> Result<Self, Vec<String>> {
        super::keyring_file::read(toml_text, true)
    }

    /// A keyring without keys: it obeys nobody.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            version: 0,
            roots: Vec::new(),
            root_threshold: 1,
            keys: Vec::new(),
            thresholds: Vec::new(),
            default_namespace: DEFAULT_NAMESPACE.to_owned(),
        }
    }

    /// Sets the namespace of applications that a command names without one: the first of those
    /// that the node watches. Without this call it is [`DEFAULT_NAMESPACE`].
    #[must_use]
    pub fn with_default_namespace(mut self, namespace: &str) -> Self {
        namespace.clone_into(&mut self.default_namespace);
        self
    }

    /// The version; 0 where the file has none.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The root keys, in the order of the file.
    pub fn roots(&self) -> impl Iterator<Item = &Root> {
        self.roots.iter()
    }

    /// How many root keys must sign a new keyring.
    #[must_use]
    pub fn root_threshold(&self) -> usize {
        self.root_threshold
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys, in the order of the file.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.keys.iter()
    }

    /// The keys to try for a signature: the one that it names first, then all others, because the
    /// name is only a hint.
    pub(super) fn candidates<'k, 'h>(
        &'k self,
        hint: &'h str,
    ) -> impl Iterator<Item = &'k Key> + use<'k, 'h> {
        let named = self.keys.iter().filter(move |key| key.id == hint);
        let others = self.keys.iter().filter(move |key| key.id != hint);
        named.chain(others)
    }

    pub(super) fn permits(&self, key: &Key, action: &Action) -> bool {
        key.allow.contains(&action.name()) && self.concerns(&key.applications, action)
    }

    /// How many different keys must have signed an order.
    pub(super) fn signatures_needed(&self, action: &Action) -> usize {
        self.thresholds
            .iter()
            .filter(|threshold| {
                threshold.cmd == action.name() && self.concerns(&threshold.applications, action)
            })
            .map(|threshold| threshold.signatures)
            .max()
            .unwrap_or(1)
    }

    fn concerns(&self, globs: &Globs, action: &Action) -> bool {
        action.application().is_none_or(|application| {
            let (namespace, name) = split_application(application, &self.default_namespace);
            globs.match_application(namespace, name)
        })
    }
}

#[cfg(test)]
mod tests;
