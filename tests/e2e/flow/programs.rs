//! The programs that `tools` provides.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

const TOOLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/flow/tools");

/// Where each of them is.
pub(super) struct Programs(BTreeMap<String, PathBuf>);

impl Programs {
    /// Gets what is missing; the first time that takes minutes.
    pub(super) fn get() -> Self {
        let done = Command::new(TOOLS).output().unwrap();
        super::held("tests/e2e/flow/tools", &done);
        let lines = String::from_utf8(done.stdout).unwrap();
        let parts = lines.lines().filter_map(|line| line.split_once(' '));
        Self(
            parts
                .map(|(part, path)| (part.to_owned(), path.into()))
                .collect(),
        )
    }

    pub(super) fn part(&self, name: &str) -> &Path {
        let found = self.0.get(name);
        found.unwrap_or_else(|| panic!("tests/e2e/flow/tools has no {name}"))
    }

    /// The variable PATH with all of them.
    pub(super) fn path(&self) -> OsString {
        let own = self.0.values().map(|part| part.join("bin"));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let others: Vec<PathBuf> = std::env::split_paths(&path).collect();
        std::env::join_paths(own.chain(others)).unwrap()
    }
}
