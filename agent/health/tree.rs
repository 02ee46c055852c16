//! Small files below a root directory. Everything that is not there is `None`: for a probe an
//! absent file is an answer, not an error.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Enough for the mount table of a node with hundreds of pods.
const LIMIT: u64 = 1024 * 1024;

pub(super) struct Tree {
    root: PathBuf,
}

impl Tree {
    pub(super) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// The text of a file, without the white space and the NUL bytes around it.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        let mut bytes = Vec::new();
        File::open(self.path(path))
            .ok()?
            .take(LIMIT)
            .read_to_end(&mut bytes)
            .ok()?;
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
        Some(text.to_owned())
    }

    /// The text of a file as a number.
    pub(super) fn number<T: FromStr>(&self, path: &str) -> Option<T> {
        self.text(path)?.parse().ok()
    }

    /// The names in a directory, sorted; empty when it is not there.
    pub(super) fn names(&self, path: &str) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.path(path)) else {
            return Vec::new();
        };
        let mut names: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }

    /// Whether something is there, be it a link that leads nowhere.
    pub(super) fn exists(&self, path: &str) -> bool {
        fs::symlink_metadata(self.path(path)).is_ok()
    }

    /// The last name of what a link leads to in the end, and of the directory around it.
    pub(super) fn target(&self, path: &str) -> Option<(String, Option<String>)> {
        let real = fs::canonicalize(self.path(path)).ok()?;
        let name = |path: &Path| Some(path.file_name()?.to_str()?.to_owned());
        Some((name(&real)?, real.parent().and_then(name)))
    }
}
