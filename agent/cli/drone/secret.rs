//! Secrets that arrive as text, for code that reads files: they stay in memory.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::PathBuf;

use rustix::fs::{MemfdFlags, memfd_create};

/// A file that is in memory only and gone with this value. Its `Debug` does not show what is in it.
#[derive(Debug)]
pub(super) struct MemoryFile(OwnedFd);

impl MemoryFile {
    /// # Errors
    /// When the system gives no memory for it.
    pub(super) fn new(text: &str) -> io::Result<Self> {
        let descriptor = memfd_create("edge-agent", MemfdFlags::CLOEXEC)?;
        let mut file = File::from(descriptor);
        file.write_all(text.as_bytes())?;
        Ok(Self(OwnedFd::from(file)))
    }

    /// Where this process can read it.
    pub(super) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_memory_reads_as_a_file_more_than_once() {
        let file = MemoryFile::new("-----BEGIN").unwrap();
        for _ in 0..2 {
            assert_eq!(std::fs::read_to_string(file.path()).unwrap(), "-----BEGIN");
        }
        assert!(!format!("{file:?}").contains("BEGIN"));
    }
}
