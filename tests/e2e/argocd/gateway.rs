//! A way to the API server that can answer in its place: with an error, with half an answer, or with a
//! certificate that nobody knows.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rumqttc::tokio_rustls::rustls;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection};
use serde_json::json;

use super::lab::Lab;

/// The largest head of a request.
const MAX_HEAD: usize = 64 * 1024;

/// What becomes of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Answer {
    /// The API server answers it.
    Through,
    /// This status, of everything.
    Status(u16),
    /// This status, of watches only.
    WatchStatus(u16),
    /// The answer of the API server, cut off after so many bytes.
    CutAfter(usize),
}

/// The gateway. Dropping it leaves its thread waiting, until the process ends.
pub(crate) struct Gateway {
    pub(crate) port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    target: u16,
    /// To the API server.
    client: Arc<ClientConfig>,
    answer: Mutex<Answer>,
    /// What it shows to whoever connects.
    server: Mutex<Arc<ServerConfig>>,
    /// The connections that are open.
    open: Mutex<Vec<TcpStream>>,
    connections: AtomicUsize,
}

impl Gateway {
    /// A way to the API server of a lab, with the certificate that it has.
    pub(crate) fn to(lab: &Lab) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let certificates = lab.folder.join("certificates");
        let mut roots = RootCertStore::empty();
        for authority in CertificateDer::pem_file_iter(certificates.join("ca.crt")).unwrap() {
            roots.add(authority.unwrap()).unwrap();
        }
        let client = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let shared = Arc::new(Shared {
            target: lab.port(),
            client: Arc::new(client),
            answer: Mutex::new(Answer::Through),
            server: Mutex::new(server(
                &certificates.join("server.crt"),
                &certificates.join("server.key"),
            )),
            open: Mutex::new(Vec::new()),
            connections: AtomicUsize::new(0),
        });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                accepting.connections.fetch_add(1, Ordering::SeqCst);
                lock(&accepting.open).extend(stream.try_clone());
                let shared = Arc::clone(&accepting);
                // That a connection ends badly is what this is for.
                std::thread::spawn(move || {
                    let other = stream.try_clone();
                    let _ = shared.serve(stream);
                    // What is kept to cut it would keep it open.
                    if let Ok(stream) = other {
                        let _ = stream.shutdown(Shutdown::Both);
                    }
                });
            }
        });
        Self { port, shared }
    }

    /// From now on requests are answered so. What is open is cut.
    pub(crate) fn answer(&self, answer: Answer) {
        *lock(&self.shared.answer) = answer;
        self.cut();
    }

    /// Shows another certificate, for the same address, of an authority that nobody knows; gives back
    /// what it has shown before.
    pub(crate) fn change_certificate(&self, folder: &Path) -> Arc<ServerConfig> {
        let (certificate, key) = (folder.join("other.crt"), folder.join("other.key"));
        let done = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt"])
            .args(["ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=other"])
            .args(["-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE"])
            .arg("-keyout")
            .arg(&key)
            .arg("-out")
            .arg(&certificate)
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
        self.show(server(&certificate, &key))
    }

    /// Shows that certificate; gives back what it has shown before.
    pub(crate) fn show(&self, certificate: Arc<ServerConfig>) -> Arc<ServerConfig> {
        let before = std::mem::replace(&mut *lock(&self.shared.server), certificate);
        self.cut();
        before
    }

    /// How many connections there were. Each carries one request.
    pub(crate) fn count(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    fn cut(&self) {
        for stream in lock(&self.shared.open).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Shared {
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        let config = Arc::clone(&lock(&self.server));
        let connection = ServerConnection::new(config).map_err(io::Error::other)?;
        let mut tls = rustls::StreamOwned::new(connection, stream);
        let request = read_request(&mut tls)?;
        let watches = request.starts_with(b"GET") && {
            let line = request.split(|byte| *byte == b'\r').next();
            line.is_some_and(|line| String::from_utf8_lossy(line).contains("watch="))
        };
        let answer = *lock(&self.answer);
        match answer {
            Answer::Status(code) => refuse(&mut tls, code),
            Answer::WatchStatus(code) if watches => refuse(&mut tls, code),
            Answer::CutAfter(bytes) => self.pass(&mut tls, &request, bytes),
            Answer::Through | Answer::WatchStatus(_) => self.pass(&mut tls, &request, usize::MAX),
        }
    }

    /// Has the API server answer, and passes on so much of it.
    fn pass(&self, tls: &mut impl Write, request: &[u8], mut left: usize) -> io::Result<()> {
        let name = ServerName::try_from("127.0.0.1").map_err(io::Error::other)?;
        let connection =
            ClientConnection::new(Arc::clone(&self.client), name).map_err(io::Error::other)?;
        let stream = TcpStream::connect(("127.0.0.1", self.target))?;
        let mut server = rustls::StreamOwned::new(connection, stream);
        server.write_all(request)?;
        let mut buffer = [0; 16 * 1024];
        while left > 0 {
            let read = match server.read(&mut buffer) {
                Ok(0) | Err(_) => return Ok(()),
                Ok(read) => read.min(left),
            };
            tls.write_all(&buffer[..read])?;
            tls.flush()?;
            left -= read;
        }
        Ok(())
    }
}

/// A whole request, that asks for the connection to be closed after it.
fn read_request(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut read = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        let end = read.windows(4).position(|window| window == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8_lossy(&read[..end]).into_owned();
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                let is_length = name.eq_ignore_ascii_case("content-length");
                is_length.then(|| value.trim().parse::<usize>().ok())?
            });
            if read.len() >= end + 4 + length.unwrap_or(0) {
                let mut request = format!("{head}\r\nConnection: close\r\n\r\n").into_bytes();
                request.extend_from_slice(&read[end + 4..]);
                return Ok(request);
            }
        }
        let more = stream.read(&mut buffer)?;
        if more == 0 || read.len() > MAX_HEAD {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        read.extend_from_slice(&buffer[..more]);
    }
}

/// Answers as the API server does when something is wrong.
fn refuse(stream: &mut impl Write, code: u16) -> io::Result<()> {
    let (reason, more) = match code {
        410 => ("Expired", ""),
        429 => ("TooManyRequests", "Retry-After: 1\r\n"),
        _ => ("InternalError", ""),
    };
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "the gateway was told to refuse this", "reason": reason, "code": code,
        "details": {"retryAfterSeconds": if code == 429 { 1 } else { 0 }},
    })
    .to_string();
    write!(
        stream,
        "HTTP/1.1 {code} {reason}\r\nContent-Type: application/json\r\n{more}Content-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )?;
    stream.flush()
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn server(certificate: &Path, key: &Path) -> Arc<ServerConfig> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate)
        .unwrap()
        .collect();
    let key = PrivateKeyDer::from_pem_file(key).unwrap();
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.unwrap(), key)
        .unwrap();
    Arc::new(config)
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}
