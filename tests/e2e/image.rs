//! A file system in a file: an image on a loop device, mounted for as long as it is wanted.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted file system. Dropping it unmounts it.
pub(crate) struct Mount {
    pub(crate) path: PathBuf,
}

impl Mount {
    /// Makes an ext4 of so many MiB in `image`, and mounts it at `path`.
    pub(crate) fn make(image: &Path, megabytes: u64, path: &Path) -> Self {
        File::create(image)
            .and_then(|file| file.set_len(megabytes << 20))
            .unwrap();
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(image));
        Self::image(image, path)
    }

    /// Mounts an image; its journal is played back first, as after a power cut.
    pub(crate) fn image(image: &Path, path: &Path) -> Self {
        fs::create_dir_all(path).unwrap();
        run(Command::new("mount")
            .args(["-o", "loop"])
            .arg(image)
            .arg(path));
        Self {
            path: path.to_owned(),
        }
    }

    /// A file system in memory of so many MiB.
    pub(crate) fn memory(megabytes: u64, path: &Path) -> Self {
        fs::create_dir_all(path).unwrap();
        let size = format!("size={megabytes}m");
        run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(path));
        Self {
            path: path.to_owned(),
        }
    }

    /// Lets every write to it wait until the end of what is returned.
    pub(crate) fn freeze(&self) -> Frozen<'_> {
        run(Command::new("fsfreeze").arg("-f").arg(&self.path));
        Frozen(&self.path)
    }

    /// Mounts it again as read-only, or not.
    pub(crate) fn set_read_only(&self, read_only: bool) {
        let option = if read_only {
            "remount,ro"
        } else {
            "remount,rw"
        };
        // A file system that is being written to is busy for a moment.
        super::wait(std::time::Duration::from_secs(20), option, || {
            let mut mount = Command::new("mount");
            mount.args(["-o", option]).arg(&self.path);
            mount.output().unwrap().status.success().then_some(())
        });
    }
}

/// A file system to which nothing is written.
pub(crate) struct Frozen<'m>(&'m Path);

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        // Also after a failure: whoever wants to write to it cannot even be killed.
        let _ = Command::new("fsfreeze").arg("-u").arg(self.0).status();
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily, as whoever failed may still have files open in it.
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}

fn run(command: &mut Command) {
    let out = command.output().unwrap();
    let error = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{command:?}: {error}");
}
