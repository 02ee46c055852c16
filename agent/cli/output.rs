//! Standard output and standard error, for readers that may go away.

use std::io::{self, ErrorKind, Write};

/// Writes to standard output. A reader that has gone away, such as `head`, has what it wanted:
/// that is no error.
///
/// # Errors
/// When standard output cannot be written for another reason, such as a full disk.
pub(crate) fn print(text: &str) -> io::Result<()> {
    unless_reader_is_gone(write_all(&mut io::stdout().lock(), text))
}

/// Writes a line to standard error. When that fails there is nobody left to tell.
pub(crate) fn complain(text: &str) {
    let mut stream = io::stderr().lock();
    let _ = write_all(&mut stream, text).and_then(|()| stream.write_all(b"\n"));
}

fn write_all(stream: &mut impl Write, text: &str) -> io::Result<()> {
    stream.write_all(text.as_bytes())?;
    stream.flush()
}

fn unless_reader_is_gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_reader_that_is_gone_is_forgiven() {
        let (reader, mut writer) = io::pipe().unwrap();
        drop(reader);
        assert!(write_all(&mut writer, "x").is_err());
        assert!(unless_reader_is_gone(write_all(&mut writer, "x")).is_ok());
        let full = io::Error::from(ErrorKind::StorageFull);
        assert!(unless_reader_is_gone(Err(full)).is_err());
    }
}
