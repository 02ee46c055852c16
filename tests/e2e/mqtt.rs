//! As much of an MQTT 5 client as the suites need, written here and not with the agent's own
//! library, so that a fault of that library does not hide itself.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rumqttc::tokio_rustls::rustls;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};

/// How a read that finds nothing comes back.
const TICK: Duration = Duration::from_millis(100);

/// Who connects, and where to.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    pub(crate) port: u16,
    pub(crate) client_id: String,
    /// CA, certificate and key; without them the connection is plain.
    pub(crate) tls: Option<(PathBuf, PathBuf, PathBuf)>,
    pub(crate) user: Option<(String, String)>,
}

impl Login {
    pub(crate) fn plain(port: u16, client_id: &str) -> Self {
        Self {
            port,
            client_id: client_id.to_owned(),
            tls: None,
            user: None,
        }
    }
}

enum Stream {
    Plain(TcpStream),
    Tls(Box<rustls::StreamOwned<rustls::ClientConnection, TcpStream>>),
}

/// A connection that the broker has accepted.
pub(crate) struct Connection {
    stream: Stream,
    read: Vec<u8>,
    last_id: u16,
}

/// What has arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Packet {
    Publish {
        topic: String,
        payload: Vec<u8>,
        retain: bool,
        /// Zero for QoS 0.
        id: u16,
    },
    PubAck {
        reason: u8,
    },
    SubAck {
        reason: u8,
    },
    Disconnect {
        reason: u8,
    },
    Other(u8),
}

impl Connection {
    /// Connects with a clean session.
    pub(crate) fn open(login: &Login) -> io::Result<Self> {
        let tcp = TcpStream::connect(("127.0.0.1", login.port))?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(TICK))?;
        let stream = match &login.tls {
            None => Stream::Plain(tcp),
            Some(files) => Stream::Tls(Box::new(tls(tcp, files)?)),
        };
        let mut connection = Self {
            stream,
            read: Vec::new(),
            last_id: 0,
        };
        let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 5];
        body.push(0x02 | if login.user.is_some() { 0xc0 } else { 0 });
        body.extend([0, 60, 0]);
        text(&mut body, login.client_id.as_bytes());
        if let Some((name, password)) = &login.user {
            text(&mut body, name.as_bytes());
            text(&mut body, password.as_bytes());
        }
        connection.write(0x10, &body)?;
        for _ in 0..50 {
            match connection.read_raw()? {
                Some((kind, body)) if kind >> 4 == 2 => {
                    return match body.get(1) {
                        Some(0) => Ok(connection),
                        code => Err(io::Error::other(format!("CONNACK {code:?}"))),
                    };
                }
                Some((kind, _)) => return Err(io::Error::other(format!("packet {kind:#x}"))),
                None => {}
            }
        }
        Err(io::Error::other("no CONNACK"))
    }

    /// Subscribes and waits for the answer.
    pub(crate) fn subscribe(&mut self, filter: &str, qos: u8) -> io::Result<()> {
        let mut body = self.next_id().to_be_bytes().to_vec();
        body.push(0);
        text(&mut body, filter.as_bytes());
        body.push(qos);
        self.write(0x82, &body)
    }

    /// Publishes; with QoS 1 the answer comes as [`Packet::PubAck`].
    pub(crate) fn publish(
        &mut self,
        topic: &str,
        payload: &[u8],
        qos: u8,
        retain: bool,
    ) -> io::Result<()> {
        let mut body = Vec::with_capacity(payload.len() + topic.len() + 8);
        text(&mut body, topic.as_bytes());
        if qos > 0 {
            body.extend(self.next_id().to_be_bytes());
        }
        body.push(0);
        body.extend(payload);
        self.write(0x30 | (qos << 1) | u8::from(retain), &body)
    }

    pub(crate) fn ping(&mut self) -> io::Result<()> {
        self.write(0xc0, &[])
    }

    pub(crate) fn acknowledge(&mut self, id: u16) -> io::Result<()> {
        self.write(0x40, &id.to_be_bytes())
    }

    /// The next packet; `None` when nothing has arrived for a moment.
    pub(crate) fn read(&mut self) -> io::Result<Option<Packet>> {
        let Some((kind, body)) = self.read_raw()? else {
            return Ok(None);
        };
        let packet = match kind >> 4 {
            3 => publish(kind, &body).ok_or_else(|| io::Error::other("a bad PUBLISH"))?,
            4 => Packet::PubAck {
                reason: body.get(2).copied().unwrap_or(0),
            },
            9 => Packet::SubAck {
                reason: body.last().copied().unwrap_or(0xff),
            },
            14 => Packet::Disconnect {
                reason: body.first().copied().unwrap_or(0),
            },
            other => Packet::Other(other),
        };
        Ok(Some(packet))
    }

    fn next_id(&mut self) -> u16 {
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        self.last_id
    }

    fn read_raw(&mut self) -> io::Result<Option<(u8, Vec<u8>)>> {
        loop {
            if let Some((head, length)) = frame(&self.read)
                && self.read.len() >= head + length
            {
                let kind = self.read[0];
                let body = self.read[head..head + length].to_vec();
                self.read.drain(..head + length);
                return Ok(Some((kind, body)));
            }
            let mut chunk = [0; 16 * 1024];
            let result = match &mut self.stream {
                Stream::Plain(stream) => stream.read(&mut chunk),
                Stream::Tls(stream) => stream.read(&mut chunk),
            };
            match result {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => self.read.extend(&chunk[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn write(&mut self, kind: u8, body: &[u8]) -> io::Result<()> {
        let mut packet = vec![kind];
        let mut rest = body.len();
        loop {
            let byte = u8::try_from(rest % 128).unwrap_or(0);
            rest /= 128;
            packet.push(byte | if rest > 0 { 0x80 } else { 0 });
            if rest == 0 {
                break;
            }
        }
        packet.extend(body);
        match &mut self.stream {
            Stream::Plain(stream) => stream.write_all(&packet),
            Stream::Tls(stream) => stream.write_all(&packet).and_then(|()| stream.flush()),
        }
    }
}

fn tls(
    tcp: TcpStream,
    (ca, cert, key): &(PathBuf, PathBuf, PathBuf),
) -> io::Result<rustls::StreamOwned<rustls::ClientConnection, TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    let ca = CertificateDer::from_pem_file(ca).map_err(io::Error::other)?;
    roots.add(ca).map_err(io::Error::other)?;
    let chain = vec![CertificateDer::from_pem_file(cert).map_err(io::Error::other)?];
    let key = PrivateKeyDer::from_pem_file(key).map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, key)
        .map_err(io::Error::other)?;
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    let client = rustls::ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    Ok(rustls::StreamOwned::new(client, tcp))
}

fn text(body: &mut Vec<u8>, text: &[u8]) {
    body.extend(u16::try_from(text.len()).unwrap_or(0).to_be_bytes());
    body.extend(text);
}

/// The length of the head of the packet and of what follows it.
fn frame(bytes: &[u8]) -> Option<(usize, usize)> {
    let (length, size) = varint(bytes.get(1..)?)?;
    Some((1 + size, length))
}

fn varint(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, index + 1));
        }
    }
    None
}

fn publish(kind: u8, body: &[u8]) -> Option<Packet> {
    let length = usize::from(u16::from_be_bytes(body.get(..2)?.try_into().ok()?));
    let topic = String::from_utf8(body.get(2..2 + length)?.to_vec()).ok()?;
    let mut at = 2 + length;
    let id = if kind & 0x06 > 0 {
        let id = u16::from_be_bytes(body.get(at..at + 2)?.try_into().ok()?);
        at += 2;
        id
    } else {
        0
    };
    let (properties, size) = varint(body.get(at..)?)?;
    Some(Packet::Publish {
        topic,
        payload: body.get(at + size + properties..)?.to_vec(),
        retain: kind & 1 == 1,
        id,
    })
}

/// Sends a command to a node, and waits until the broker has it.
pub(crate) fn publish_command(login: &Login, node: &str, envelope: &[u8]) {
    let mut connection = Connection::open(login).unwrap();
    let topic = format!("edge/v1/{node}/command");
    connection.publish(&topic, envelope, 1, false).unwrap();
    let limit = crate::scenarios::scene::LIMIT;
    crate::scenarios::wait(limit, "the broker to take the command", || {
        connection.read().unwrap()
    });
}
