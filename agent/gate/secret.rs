//! Secrets: read from files or from the environment by name, sent, and never shown.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The longest secret, bytes.
const MAX_BYTES: u64 = 64 * 1024;

/// A text that no log shows.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    /// Reads a file that holds the secret and nothing else but white space around it.
    ///
    /// # Errors
    /// When it cannot be read, is too large, or holds nothing.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let text = read(path, MAX_BYTES).map_err(|error| format!("{shown}: {error}"))?;
        Self::new(&text).ok_or_else(|| format!("{shown} is empty"))
    }

    /// `None` when there is nothing in the text.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }

    /// The secret itself, to be sent.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Reads a text file, and not more of it than is sensible.
pub(crate) fn read(path: &Path, limit: u64) -> io::Result<String> {
    let mut text = String::new();
    let file = File::open(path)?;
    file.take(limit.saturating_add(1))
        .read_to_string(&mut text)?;
    if text.len() as u64 > limit {
        return Err(io::Error::other(format!("larger than {limit} bytes")));
    }
    Ok(text)
}

/// Where a secret is: `file:PATH`, a path that begins with `/`, or `env:NAME`. The secret itself is
/// refused: the arguments of a process can be seen by everybody on the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    File(PathBuf),
    Environment(String),
}

impl Source {
    /// # Errors
    /// When there is nothing. The text names the place, never what is in it.
    pub(crate) fn read(&self) -> Result<Secret, String> {
        match self {
            Self::File(path) => Secret::read(path),
            Self::Environment(name) => {
                let value = std::env::var(name).unwrap_or_default();
                Secret::new(&value).ok_or_else(|| {
                    format!(
                        "the variable {name} is not set or empty; if it comes from a secret of Drone, \
                         there is none of that name for this repository"
                    )
                })
            }
        }
    }
}

impl FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(name) = text.strip_prefix("env:") {
            let sound = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
            if name.is_empty() || !name.bytes().all(sound) {
                return Err("after env: stands the name of a variable".to_owned());
            }
            return Ok(Self::Environment(name.to_owned()));
        }
        let path = text.strip_prefix("file:").unwrap_or(text);
        if path.starts_with('/') || (path.len() < text.len() && !path.is_empty()) {
            return Ok(Self::File(PathBuf::from(path)));
        }
        Err(
            "is a secret, and arguments can be seen by everybody on the machine: put it into a file \
             and write file:PATH, or into a variable and write env:NAME"
                .to_owned(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_named_and_never_shown() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        std::fs::write(&path, "  hunter2\n").unwrap();
        let source: Source = format!("file:{}", path.display()).parse().unwrap();
        let secret = source.read().unwrap();
        assert_eq!(secret.reveal(), "hunter2");
        assert!(!format!("{secret:?} {source:?}").contains("hunter2"));
        assert_eq!(format!("{}", path.display()).parse(), Ok(source));

        std::fs::write(&path, " \n").unwrap();
        assert!(Secret::read(&path).unwrap_err().contains("is empty"));
        assert!(Secret::read(Path::new("/dev/zero")).is_err());
        let nowhere: Source = "env:EDGE_AGENT_NO_SUCH_VARIABLE".parse().unwrap();
        assert!(nowhere.read().unwrap_err().contains("NO_SUCH_VARIABLE"));
    }

    #[test]
    fn a_secret_as_an_argument_is_refused_and_not_repeated() {
        for text in [
            "https://hooks.example/T0/hunter2",
            "hunter2",
            "env:",
            "env:a b",
            "file:",
        ] {
            let error = text.parse::<Source>().unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
