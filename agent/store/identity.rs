//! The node's own key, with which it signs its results. It is made on the first start and never
//! leaves the node.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use edge_agent_core::command::key::{KEY_BYTES, KeyError, SigningKey};
use ring::rand::{SecureRandom as _, SystemRandom};

/// The name of the file in the state directory.
pub const FILE_NAME: &str = "node.key";

/// Bytes of a key file; a key has about 115.
const MAX_FILE_BYTES: u64 = 1024;

/// Why a private key cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Others than the owner may read or write the file.
    #[error(
        "{} may be read or changed by others (mode {mode:04o}); if nobody has, run \
         `chmod 600 {}`, otherwise delete it and make a new one", path.display(), path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The file holds something else.
    #[error("{}: {source}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: KeyError,
    },
    /// There is a file already, and it is not overwritten.
    #[error("{} exists; a private key is never overwritten", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The system gave no random bytes.
    #[error("the system gives no random numbers, without which no key can be made")]
    Randomness,
}

/// The node's key.
#[derive(Debug)]
pub struct NodeIdentity {
    key: SigningKey,
}

impl NodeIdentity {
    /// Reads the key of a state directory, or makes one. Blocks for the time of a few disk writes.
    ///
    /// # Errors
    /// See [`IdentityError`]. A key that is there but cannot be used is never replaced: its public
    /// half may be known to others.
    pub fn load_or_create(state_directory: &Path) -> Result<Self, IdentityError> {
        let path = state_directory.join(FILE_NAME);
        match read_private_key(&path) {
            Ok(key) => Ok(Self { key }),
            Err(IdentityError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                let seed = random_bytes::<KEY_BYTES>()?;
                let key = SigningKey::from_seed(&seed).map_err(|source| IdentityError::Key {
                    path: path.clone(),
                    source,
                })?;
                write_private_key(&path, &seed)?;
                Ok(Self { key })
            }
            Err(error) => Err(error),
        }
    }

    /// What the node signs with.
    #[must_use]
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// The public half, as in the topic `identity`.
    #[must_use]
    pub fn public_base64(&self) -> String {
        self.key.public_base64()
    }
}

/// Bytes that nobody can guess, from the operating system.
///
/// # Errors
/// [`IdentityError::Randomness`] when the system gives none.
pub fn random_bytes<const N: usize>() -> Result<[u8; N], IdentityError> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| IdentityError::Randomness)?;
    Ok(bytes)
}

/// Reads a private key that only its owner may read.
///
/// # Errors
/// [`IdentityError::Exposed`], [`IdentityError::Key`] or [`IdentityError::Io`].
pub fn read_private_key(path: &Path) -> Result<SigningKey, IdentityError> {
    let io = |source| IdentityError::Io {
        action: "read",
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(io)?;
    let mode = file.metadata().map_err(io)?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(IdentityError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES)
        .read_to_end(&mut bytes)
        .map_err(io)?;
    SigningKey::from_text(&String::from_utf8_lossy(&bytes)).map_err(|source| IdentityError::Key {
        path: path.to_owned(),
        source,
    })
}

/// Writes the private key of a seed to a new file, whole or not at all, for its owner only.
///
/// # Errors
/// [`IdentityError::Exists`] when there is a file of the name already, else [`IdentityError::Io`].
pub fn write_private_key(path: &Path, seed: &[u8]) -> Result<(), IdentityError> {
    let text = SigningKey::seed_to_text(seed).map_err(|source| IdentityError::Key {
        path: path.to_owned(),
        source,
    })?;
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    let written = write_new(&temporary, &text).and_then(|()| {
        // A link, unlike a rename, does not overwrite what came into being meanwhile.
        std::fs::hard_link(&temporary, path)
    });
    // It holds a secret, so it does not stay, whatever came of it.
    let removed = std::fs::remove_file(&temporary);
    match written.and(removed) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(IdentityError::Exists {
                path: path.to_owned(),
            });
        }
        Err(source) => {
            return Err(IdentityError::Io {
                action: "create",
                path: path.to_owned(),
                source,
            });
        }
    }
    let directory = path
        .parent()
        .filter(|directory| !directory.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    super::ledger::sync_directory(directory).map_err(|source| IdentityError::Io {
        action: "sync",
        path: directory.to_owned(),
        source,
    })
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    // What an earlier start that was cut off left behind.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        let first = NodeIdentity::load_or_create(directory.path()).unwrap();
        let second = NodeIdentity::load_or_create(directory.path()).unwrap();
        assert_eq!(first.public_base64(), second.public_base64());
        let path = directory.path().join(FILE_NAME);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let files: Vec<_> = std::fs::read_dir(directory.path()).unwrap().collect();
        assert_eq!(files.len(), 1, "nothing but the key is left");
        let other = tempfile::tempdir().unwrap();
        let other = NodeIdentity::load_or_create(other.path()).unwrap();
        assert_ne!(first.key().public(), other.key().public());
    }

    #[test]
    fn a_start_that_was_cut_off_does_not_matter() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("node.key.new"), "edge-ag").unwrap();
        NodeIdentity::load_or_create(directory.path()).unwrap();
        assert!(!directory.path().join("node.key.new").exists());
    }

    #[test]
    fn a_key_that_others_may_read_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        NodeIdentity::load_or_create(directory.path()).unwrap();
        let path = directory.path().join(FILE_NAME);
        for mode in [0o640, 0o604, 0o620, 0o602] {
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(&path, permissions).unwrap();
            let error = NodeIdentity::load_or_create(directory.path()).unwrap_err();
            let text = error.to_string();
            assert!(matches!(error, IdentityError::Exposed { .. }), "{text}");
            assert!(text.contains("chmod 600"), "{text}");
        }
    }

    #[test]
    fn a_damaged_key_is_told_and_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        NodeIdentity::load_or_create(directory.path()).unwrap();
        let path = directory.path().join(FILE_NAME);
        let whole = std::fs::read(&path).unwrap();
        for length in [0, 10, whole.len() / 2] {
            std::fs::write(&path, &whole[..length]).unwrap();
            let error = NodeIdentity::load_or_create(directory.path()).unwrap_err();
            assert!(matches!(error, IdentityError::Key { .. }), "{error}");
            assert_eq!(std::fs::read(&path).unwrap(), &whole[..length]);
        }
    }

    #[test]
    fn a_private_key_is_never_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("my.key");
        write_private_key(&path, &[1; 32]).unwrap();
        let error = write_private_key(&path, &[2; 32]).unwrap_err();
        assert!(matches!(error, IdentityError::Exists { .. }), "{error}");
        let kept = read_private_key(&path).unwrap();
        let first = SigningKey::from_seed(&[1; 32]).unwrap();
        assert_eq!(kept.public(), first.public());
        assert!(!directory.path().join("my.key.new").exists());
    }
}
