//! What is wrong with the settings, each fault one line for a person.

use std::fmt;
use std::path::{Path, PathBuf};

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// The line of the file, from 1; `None` when it is not about a line of it.
    pub line: Option<usize>,
    /// The path of the key, such as `mqtt.url`; empty when it is not about one key.
    pub key: String,
    /// What is wrong and what would be right. Never a secret.
    pub message: String,
}

/// Everything that is wrong with one file: at least one fault, by line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults {
    source: PathBuf,
    faults: Vec<Fault>,
}

impl Faults {
    /// Sorts the faults by line; those without a line come first.
    #[must_use]
    pub(super) fn new(source: &Path, mut faults: Vec<Fault>) -> Self {
        faults.sort();
        faults.dedup();
        Self {
            source: source.to_owned(),
            faults,
        }
    }

    /// The file that the faults are in.
    #[must_use]
    pub fn source_file(&self) -> &Path {
        &self.source
    }

    /// The faults, by line.
    #[must_use]
    pub fn as_slice(&self) -> &[Fault] {
        &self.faults
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            if index > 0 {
                formatter.write_str("\n")?;
            }
            write!(formatter, "{}", self.source.display())?;
            if let Some(line) = fault.line {
                write!(formatter, ":{line}")?;
            }
            if !fault.key.is_empty() {
                write!(formatter, ": {}", fault.key)?;
            }
            write!(formatter, ": {}", fault.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}
