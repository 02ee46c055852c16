//! Looks at the files that the settings name: there, readable, and not open to everyone.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::fault::Fault;

/// A path that a key of the settings names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NamedFile {
    pub(super) line: Option<usize>,
    pub(super) key: String,
    pub(super) path: PathBuf,
    pub(super) purpose: Purpose,
}

/// What a path is for, and so what is asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Anybody may read it.
    Public,
    /// Not for everyone to read.
    Secret,
    /// Not for everyone to write: whoever writes it says who may command.
    Trusted,
    /// A directory, made when it is missing.
    Directory,
}

/// Looks at each file and tells what is wrong with it.
pub(super) fn faults(files: Vec<NamedFile>) -> Vec<Fault> {
    let look = |file: NamedFile| {
        let message = match file.purpose {
            Purpose::Directory => directory_fault(&file.path),
            purpose => file_fault(&file.path, purpose),
        }?;
        Some(Fault {
            line: file.line,
            key: file.key,
            message,
        })
    };
    files.into_iter().filter_map(look).collect()
}

fn directory_fault(path: &Path) -> Option<String> {
    match fs::metadata(path) {
        Ok(found) if !found.is_dir() => Some(format!("{} is not a directory", path.display())),
        Err(error) if error.kind() != ErrorKind::NotFound => Some(unreadable(path, &error)),
        _ => None,
    }
}

fn file_fault(path: &Path, purpose: Purpose) -> Option<String> {
    let shown = path.display();
    // Metadata come first: to open a pipe would wait for its other end.
    let found = match fs::metadata(path) {
        Ok(found) => found,
        Err(error) => return Some(unreadable(path, &error)),
    };
    if !found.is_file() {
        return Some(format!("{shown} is not a file"));
    }
    if found.len() == 0 {
        return Some(format!("{shown} is empty"));
    }
    let mode = found.permissions().mode();
    if purpose == Purpose::Secret && mode & 0o004 != 0 {
        return Some(format!("{shown} can be read by everyone; chmod o= {shown}"));
    }
    if purpose == Purpose::Trusted && mode & 0o002 != 0 {
        return Some(format!(
            "{shown} can be written by everyone; chmod o-w {shown}"
        ));
    }
    File::open(path).err().map(|error| unreadable(path, &error))
}

fn unreadable(path: &Path, error: &std::io::Error) -> String {
    let shown = path.display();
    match error.kind() {
        ErrorKind::NotFound => format!("{shown} does not exist"),
        ErrorKind::PermissionDenied => {
            format!("{shown} cannot be read by this user (permission denied)")
        }
        _ => format!("{shown} cannot be read: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault_of(path: &Path, purpose: Purpose) -> Option<String> {
        let file = NamedFile {
            line: Some(1),
            key: "k".to_owned(),
            path: path.to_owned(),
            purpose,
        };
        faults(vec![file]).pop().map(|fault| fault.message)
    }

    fn written(directory: &Path, name: &str, mode: u32) -> PathBuf {
        let path = directory.join(name);
        fs::write(&path, "content").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn a_secret_is_not_for_everyone_to_read() {
        let directory = tempfile::tempdir().unwrap();
        let open = written(directory.path(), "open", 0o644);
        let closed = written(directory.path(), "closed", 0o640);
        let fault = fault_of(&open, Purpose::Secret).unwrap();
        assert!(fault.contains("can be read by everyone"), "{fault}");
        assert_eq!(fault_of(&open, Purpose::Public), None);
        assert_eq!(fault_of(&closed, Purpose::Secret), None);
    }

    #[test]
    fn a_keyring_is_not_for_everyone_to_write() {
        let directory = tempfile::tempdir().unwrap();
        let open = written(directory.path(), "open", 0o646);
        let closed = written(directory.path(), "closed", 0o644);
        let fault = fault_of(&open, Purpose::Trusted).unwrap();
        assert!(fault.contains("can be written by everyone"), "{fault}");
        assert_eq!(fault_of(&closed, Purpose::Trusted), None);
    }

    #[test]
    fn what_is_missing_empty_or_no_file_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let missing = directory.path().join("missing");
        let empty = directory.path().join("empty");
        fs::write(&empty, "").unwrap();
        let told = |path: &Path, purpose| fault_of(path, purpose).unwrap();
        assert!(told(&missing, Purpose::Public).ends_with("does not exist"));
        assert!(told(&empty, Purpose::Public).ends_with("is empty"));
        assert!(told(directory.path(), Purpose::Public).ends_with("is not a file"));
        assert!(told(&empty, Purpose::Directory).ends_with("is not a directory"));
        assert_eq!(fault_of(&missing, Purpose::Directory), None);
        assert_eq!(fault_of(directory.path(), Purpose::Directory), None);
    }
}
