//! Addresses of servers.

use reqwest::Url;

/// Reads an address of a server.
///
/// # Errors
/// What is wrong with it, in words that do not repeat it: it may hold a secret.
pub(crate) fn address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text.trim()).map_err(|error| format!("is no address: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err("must be https://HOST… or http://HOST…".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a user name or password, which belong in a file".to_owned());
    }
    Ok(url)
}

/// The host of an address with its port, for a person.
pub(crate) fn host(url: &Url) -> String {
    let name = url.host_str().unwrap_or("the server");
    match url.port() {
        Some(port) => format!("{name}:{port}"),
        None => name.to_owned(),
    }
}

/// A server's address with further parts of a path behind its own, each encoded.
pub(crate) fn below(base: &Url, parts: &[&str]) -> Url {
    let mut url = base.clone();
    if let Ok(mut path) = url.path_segments_mut() {
        path.pop_if_empty().extend(parts);
    }
    url
}
