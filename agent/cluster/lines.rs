//! Reading what an API server sends without trusting its length.

use std::io;

use futures::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

/// What [`read_line`] has found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A line, without its end.
    Whole(Vec<u8>),
    /// A line beyond the limit, which was skipped.
    TooLong,
    /// Nothing more to come; the beginning of an unfinished line is dropped.
    End,
}

/// Reads one line of at most `limit` bytes.
pub(super) async fn read_line<R>(reader: &mut R, limit: usize) -> io::Result<Line>
where
    R: AsyncBufRead + Unpin,
{
    let mut line = Vec::new();
    let mut too_long = false;
    loop {
        let chunk = reader.fill_buf().await?;
        if chunk.is_empty() {
            return Ok(Line::End);
        }
        let newline = chunk.iter().position(|byte| *byte == b'\n');
        let part = &chunk[..newline.unwrap_or(chunk.len())];
        too_long |= line.len() + part.len() > limit;
        if too_long {
            line = Vec::new();
        } else {
            line.extend_from_slice(part);
        }
        let used = part.len() + usize::from(newline.is_some());
        reader.consume_unpin(used);
        match newline {
            Some(_) if too_long => return Ok(Line::TooLong),
            Some(_) => return Ok(Line::Whole(line)),
            None => {}
        }
    }
}

/// Reads all of at most `limit` bytes.
pub(super) async fn read_all<R>(reader: R, limit: usize) -> io::Result<Vec<u8>>
where
    R: AsyncBufRead + Unpin,
{
    let mut bytes = Vec::new();
    let allowed = u64::try_from(limit).unwrap_or(u64::MAX);
    reader
        .take(allowed.saturating_add(1))
        .read_to_end(&mut bytes)
        .await?;
    if bytes.len() > limit {
        let message = format!("more than {limit} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use futures::io::{BufReader, Cursor};

    use super::*;

    #[tokio::test]
    async fn lines_are_limited_and_the_next_one_is_found() {
        // A buffer of three bytes makes every line come in pieces.
        let text: &[u8] = b"abc\n\ndefghi\njk\nunfinished";
        let mut reader = BufReader::with_capacity(3, Cursor::new(text));
        let mut found = Vec::new();
        for _ in 0..5 {
            found.push(read_line(&mut reader, 5).await.unwrap());
        }
        let whole = |text: &str| Line::Whole(text.as_bytes().to_vec());
        assert_eq!(
            found,
            [
                whole("abc"),
                whole(""),
                Line::TooLong,
                whole("jk"),
                Line::End
            ]
        );
    }

    #[tokio::test]
    async fn bodies_are_limited() {
        assert_eq!(read_all(Cursor::new(b"12345"), 5).await.unwrap(), b"12345");
        assert!(read_all(Cursor::new(b"123456"), 5).await.is_err());
    }
}
