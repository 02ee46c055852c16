//! Gets the status: from the file, or with one plain HTTP request to the local page.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use axum::http::Uri;

/// A status is some kilobytes; bytes.
const MAX_STATUS: u64 = 8 * 1024 * 1024;
const TIMEOUT: Duration = Duration::from_secs(3);

/// Reads the status file.
pub(super) fn file(path: &Path) -> anyhow::Result<String> {
    let text = File::open(path)
        .and_then(limited)
        .with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text)
}

/// Asks the local page. The request is HTTP/1.0, so that the answer ends where the connection does.
pub(super) fn page(url: &str) -> anyhow::Result<String> {
    let (authority, path, port) = parts(url).with_context(|| {
        format!(
            "{url:?} is not the address of a local page; such is {}",
            super::DEFAULT_URL
        )
    })?;
    let host = authority
        .host()
        .trim_start_matches('[')
        .trim_end_matches(']');
    let answer =
        ask(host, port, authority.as_str(), &path).with_context(|| format!("cannot ask {url}"))?;
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .with_context(|| format!("{url} does not answer in HTTP"))?;
    let status = head.lines().next().unwrap_or_default();
    match status.split_once(' ') {
        Some((_, code)) if code.starts_with("200") => Ok(body.to_owned()),
        Some((_, code)) => bail!("{url} answers: {code}. {}", body.trim_end()),
        None => bail!("{url} does not answer in HTTP"),
    }
}

fn parts(url: &str) -> Option<(axum::http::uri::Authority, String, u16)> {
    let uri: Uri = url.parse().ok()?;
    if uri.scheme_str() != Some("http") {
        return None;
    }
    let authority = uri
        .authority()
        .filter(|authority| !authority.host().is_empty())?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    Some((
        authority.clone(),
        path.to_owned(),
        authority.port_u16().unwrap_or(80),
    ))
}

fn ask(host: &str, port: u16, authority: &str, path: &str) -> std::io::Result<String> {
    let mut last = std::io::Error::from(std::io::ErrorKind::NotFound);
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, TIMEOUT) {
            Ok(mut stream) => {
                stream.set_read_timeout(Some(TIMEOUT))?;
                stream.set_write_timeout(Some(TIMEOUT))?;
                write!(stream, "GET {path} HTTP/1.0\r\nHost: {authority}\r\n\r\n")?;
                return limited(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn limited(from: impl Read) -> std::io::Result<String> {
    let mut text = String::new();
    let read = from.take(MAX_STATUS + 1).read_to_string(&mut text)?;
    if u64::try_from(read).unwrap_or(u64::MAX) > MAX_STATUS {
        return Err(std::io::Error::other("it is larger than any status"));
    }
    Ok(text)
}
