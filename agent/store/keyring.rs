//! The keyring in force: that of the settings, or a newer one that came over the air.
//!
//! One that came over the air is kept in the state directory, beside the ledger, because the agent
//! may write nowhere else; the file that the settings name belongs to whoever provisioned the node.
//! Of the two, the one with the higher `version` counts, and that of the settings when they are
//! equal. So a person with access to the board always has the last word, by raising the version.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use edge_agent_core::command::keyring::{Keyring, MAX_KEYRING_BYTES};
use edge_agent_core::command::update::KeyringUpdate;
use edge_agent_core::event::{Delivery, Event, KeyringFault};
use tokio::sync::{mpsc, watch};
use tracing::{error, info};

/// The name of the file in the state directory.
pub const FILE_NAME: &str = "keyring.toml";

/// Why there is no keyring.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The file system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file is no keyring.
    #[error("{}: {}", path.display(), faults.join("; "))]
    Faults {
        /// The file.
        path: PathBuf,
        /// Everything that is wrong with it.
        faults: Vec<String>,
    },
}

/// The keyring in force, and the file that it is from.
#[derive(Debug, Clone, PartialEq)]
pub struct InForce {
    /// Who may command.
    pub keyring: Keyring,
    /// Where it was read.
    pub path: PathBuf,
}

/// Reads a keyring file.
///
/// # Errors
/// When it cannot be read, or with everything that is wrong with it.
pub fn read(path: &Path) -> Result<Keyring, KeyringError> {
    let text = read_text(path)?;
    Keyring::parse(&text).map_err(|faults| KeyringError::Faults {
        path: path.to_owned(),
        faults,
    })
}

/// Reads the text of a keyring file, and not more of it than one can have.
///
/// # Errors
/// When it cannot be read.
pub fn read_text(path: &Path) -> Result<String, KeyringError> {
    let limit = u64::try_from(MAX_KEYRING_BYTES).unwrap_or(u64::MAX);
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(limit.saturating_add(1)).read_to_string(&mut text))
        .map_err(|source| KeyringError::Io {
            path: path.to_owned(),
            source,
        })?;
    Ok(text)
}

/// Reads the keyring of the settings.
///
/// # Errors
/// See [`KeyringError`]; a person has to mend it.
pub fn configured(path: &Path) -> Result<InForce, KeyringError> {
    Ok(InForce {
        keyring: read(path)?,
        path: path.to_owned(),
    })
}

/// Puts the one of the state directory in the place of the configured one, if it is newer.
///
/// # Errors
/// When the stored one cannot be read. Then nobody may command: to go back to the older one would
/// give keys their rights back that were revoked.
pub fn newest(configured: InForce, state_directory: &Path) -> Result<InForce, KeyringError> {
    let path = state_directory.join(FILE_NAME);
    match read(&path) {
        Ok(keyring) if keyring.version() > configured.keyring.version() => {
            Ok(InForce { keyring, path })
        }
        Ok(_) => Ok(configured),
        Err(KeyringError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            Ok(configured)
        }
        Err(error) => Err(error),
    }
}

/// One keyring to put in force.
#[derive(Debug)]
pub struct Install {
    /// Handed back with the report.
    pub delivery: Delivery,
    /// The keyring, verified.
    pub update: Box<KeyringUpdate>,
}

/// Puts the keyrings in force that come over `installs`, each after it is on the medium, until the
/// channel closes.
///
/// # Errors
/// When a write panics, which is a fault of the agent.
pub async fn run(
    state_directory: PathBuf,
    in_force: watch::Sender<Arc<Keyring>>,
    mut installs: mpsc::Receiver<Install>,
    events: mpsc::Sender<Event>,
) -> anyhow::Result<()> {
    while let Some(Install { delivery, update }) = installs.recv().await {
        let result = install(&state_directory, &in_force, &update).await?;
        let version = update.keyring().version();
        match &result {
            Ok(()) => info!(version, "a new keyring is in force"),
            Err(fault) => error!(version, ?fault, "the new keyring is not in force"),
        }
        let event = Event::KeyringInstalled {
            delivery,
            update,
            result,
        };
        if events.send(event).await.is_err() {
            break;
        }
    }
    Ok(())
}

async fn install(
    state_directory: &Path,
    in_force: &watch::Sender<Arc<Keyring>>,
    update: &KeyringUpdate,
) -> anyhow::Result<Result<(), KeyringFault>> {
    let current = Arc::clone(&in_force.borrow());
    // Another one may have come first, and taken rights from those who signed this one.
    if let Err(refusal) = update.verify_again(&current) {
        return Ok(Err(KeyringFault::Refused(refusal)));
    }
    if *update.keyring() == *current {
        return Ok(Ok(()));
    }
    let (directory, text) = (state_directory.to_owned(), update.text().to_owned());
    let written = tokio::task::spawn_blocking(move || write(&directory, &text)).await?;
    Ok(match written {
        Ok(()) => {
            in_force.send_replace(Arc::new(update.keyring().clone()));
            Ok(())
        }
        Err(error) => Err(KeyringFault::NotWritten(error.to_string())),
    })
}

/// Writes the keyring of the state directory, whole or not at all.
fn write(directory: &Path, text: &str) -> io::Result<()> {
    let (path, new) = (
        directory.join(FILE_NAME),
        directory.join("keyring.toml.new"),
    );
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, &path)?;
    super::ledger::sync_directory(directory)
}

#[cfg(test)]
mod tests;
