//! `/run/edge-agent/status.json`: the snapshot for `edge-agent status`, on a memory file system.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use edge_agent_core::wire::Snapshot;
use tokio::time::Instant;
use tracing::warn;

/// The shortest time between two writes. The page is quicker; a person who types `status` is not.
const WRITE_EVERY: Duration = Duration::from_secs(1);

/// The file, if there is a runtime directory for it.
#[derive(Debug)]
pub(super) struct StatusFile {
    path: Option<PathBuf>,
    written: Option<Instant>,
    /// The file is older than what there is to tell.
    behind: bool,
    failed: bool,
}

impl StatusFile {
    pub(super) fn new(runtime_directory: Option<&Path>) -> Self {
        if let Some(directory) = runtime_directory {
            // systemd has made it; where it cannot be made, the first write tells.
            let _ = fs::create_dir_all(directory);
        }
        let path = runtime_directory.map(|directory| directory.join("status.json"));
        Self {
            path,
            written: None,
            behind: false,
            failed: false,
        }
    }

    /// Waits until the file may be written again, if it is behind; for ever, if it is not.
    pub(super) async fn due(&self) {
        match self.written.filter(|_| self.behind) {
            Some(at) => tokio::time::sleep_until(at + WRITE_EVERY).await,
            None => std::future::pending().await,
        }
    }

    /// Writes the snapshot, or remembers to do so if it was written within the last second. A
    /// failure is logged once: the agent does not depend on the file.
    pub(super) fn write(&mut self, snapshot: &Snapshot) {
        let Some(path) = &self.path else { return };
        self.behind = self.written.is_some_and(|at| at.elapsed() < WRITE_EVERY);
        if self.behind {
            return;
        }
        self.written = Some(Instant::now());
        match replace(path, snapshot) {
            Ok(()) => self.failed = false,
            Err(error) if !self.failed => {
                self.failed = true;
                warn!(path = %path.display(), %error, "the status file cannot be written");
            }
            Err(_) => {}
        }
    }

    /// Takes the file away, so that nobody reads the state of an agent that has gone.
    pub(super) fn remove(&self) {
        if let Some(path) = &self.path {
            // If it is not there any more, that is what is wanted.
            let _ = fs::remove_file(path);
        }
    }
}

/// Replaces the file in one step, so that a reader never sees half of it.
fn replace(path: &Path, snapshot: &Snapshot) -> std::io::Result<()> {
    let temporary = path.with_extension("json.new");
    let mut file = fs::File::create(&temporary)?;
    // For everyone on the board, whatever the umask of the service: it holds no secrets.
    file.set_permissions(fs::Permissions::from_mode(0o644))?;
    file.write_all(&serde_json::to_vec(snapshot)?)?;
    drop(file);
    fs::rename(&temporary, path)
}
