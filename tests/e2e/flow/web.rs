//! A small HTTP server for what is stood in for, with TLS where the real one has it.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

/// More than anybody here sends.
const MAX_BODY: u64 = 1 << 20;

/// What somebody asks for.
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: Vec<(String, String)>,
    /// By names in small letters.
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
}

impl Request {
    /// The first parameter of that name.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        let mut found = self.query.iter().filter(|(key, _)| key == name);
        found.next().map(|(_, value)| value.as_str())
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

/// The status of an answer, and its JSON.
pub(super) type Reply = (u16, Value);

/// Serves at an address for as long as this process runs; returns the address with its port.
pub(super) fn serve(
    address: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
    answer: impl Fn(&Request) -> Reply + Send + Sync + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind(address).unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (tls, answer) = (tls.clone(), Arc::clone(&answer));
            std::thread::spawn(move || {
                let _ = stream.set_read_timeout(Some(Duration::from_secs(30)));
                // Whoever breaks off sees what comes of it.
                let _ = match tls {
                    None => converse(stream, &*answer),
                    Some(config) => converse(secured(stream, config), &*answer),
                };
            });
        }
    });
    address
}

fn secured(
    stream: TcpStream,
    config: Arc<ServerConfig>,
) -> StreamOwned<ServerConnection, TcpStream> {
    StreamOwned::new(ServerConnection::new(config).unwrap(), stream)
}

/// Answers one request.
fn converse(stream: impl Read + Write, answer: &dyn Fn(&Request) -> Reply) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    let Some(request) = read(&mut reader)? else {
        return Ok(());
    };
    let (status, body) = answer(&request);
    let body = body.to_string();
    let stream = reader.get_mut();
    write!(
        stream,
        "HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    stream.flush()
}

fn read(reader: &mut impl std::io::BufRead) -> std::io::Result<Option<Request>> {
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let mut words = first.split_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Ok(None);
    };
    let mut headers = BTreeMap::new();
    for line in reader.by_ref().lines() {
        let line = line?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|it| it.parse().ok());
    let mut body = Vec::new();
    reader
        .take(length.unwrap_or(0).min(MAX_BODY))
        .read_to_end(&mut body)?;
    let url = Url::parse(&format!("http://server{target}")).map_err(std::io::Error::other)?;
    let query = url.query_pairs().map(|(k, v)| (k.into(), v.into()));
    Ok(Some(Request {
        method: method.to_owned(),
        path: url.path().to_owned(),
        query: query.collect(),
        headers,
        body,
    }))
}
