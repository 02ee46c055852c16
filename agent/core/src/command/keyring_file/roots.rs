//! The part of a keyring file that is about keyrings: its version, and who may replace it.

use toml::Table;

use super::{MAX_SIGNATURES, Reader};
use crate::command::keyring::{Key, Keyring, MAX_ROOTS, Root};
use crate::command::payload::MAX_SEQUENCE;

impl Reader {
    pub(super) fn roots(&mut self, table: &Table, keyring: &mut Keyring) {
        if let Some(version) = self.number(table, "version", MAX_SEQUENCE) {
            keyring.version = version;
        }
        for (place, entry) in self.entries(table, "root", MAX_ROOTS) {
            self.unknown_fields(&place, &entry, &["id", "public"]);
            let (id, public) = (self.id(&place, &entry), self.public(&place, &entry));
            let (Some(id), Some(public)) = (id, public) else {
                continue;
            };
            self.same_as_root(&place, &id, &public, &keyring.roots);
            keyring.roots.push(Root { id, public });
        }
        let limit = u64::try_from(MAX_SIGNATURES).unwrap_or(u64::MAX);
        if let Some(threshold) = self.number(table, "root_threshold", limit) {
            keyring.root_threshold = usize::try_from(threshold).unwrap_or(usize::MAX);
            if keyring.root_threshold > keyring.roots.len() {
                self.fault(
                    "keyring",
                    format!(
                        "`root_threshold` asks for {threshold} signatures, but there are {} entries \
                         `[[root]]`",
                        keyring.roots.len()
                    ),
                );
            }
        }
        if !keyring.roots.is_empty() && keyring.version == 0 {
            self.fault(
                "keyring",
                "with `[[root]]` it needs a `version`, a number that grows with every change",
            );
        }
    }

    fn number(&mut self, table: &Table, field: &str, limit: u64) -> Option<u64> {
        let number = table
            .get(field)?
            .as_integer()
            .and_then(|number| u64::try_from(number).ok())
            .filter(|number| (1..=limit).contains(number));
        if number.is_none() {
            self.fault(
                "keyring",
                format!("`{field}` is a whole number from 1 to {limit}"),
            );
        }
        number
    }

    /// A key that is there twice would count as two; a root key that also orders would have to be
    /// online.
    pub(super) fn duplicates(&mut self, place: &str, key: &Key, keyring: &Keyring) {
        for (index, other) in keyring.keys.iter().enumerate() {
            if other.id == key.id {
                self.fault(place, format!("has the id of key {}", index + 1));
            }
            if other.public == key.public {
                self.fault(
                    place,
                    format!(
                        "has the public key of `{}`; one key would count as two signers",
                        other.id
                    ),
                );
            }
        }
        self.same_as_root(place, &key.id, &key.public, &keyring.roots);
    }

    fn same_as_root(&mut self, place: &str, id: &str, public: &[u8; 32], roots: &[Root]) {
        for root in roots {
            if root.id == id {
                self.fault(place, format!("has the id of the root key `{id}`"));
            }
            if root.public == *public {
                self.fault(
                    place,
                    format!(
                        "has the public key of the root key `{}`; a root key signs keyrings, nothing \
                         else, and once",
                        root.id
                    ),
                );
            }
        }
    }
}
