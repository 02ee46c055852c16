//! A proxy between the agent and its broker, that does what networks do.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;

/// How a proxy deals with what comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Mode {
    /// Passes everything on.
    Open = 0,
    /// Ends every connection at once, the ones that are there as well.
    Closed = 1,
    /// Takes everything and passes nothing on: the other side has gone without a word.
    Swallow = 2,
    /// Resets the connection in the middle of the next packet that the node sends.
    Reset = 3,
    /// Takes no new connections, and leaves the ones that are there alone.
    Shut = 4,
}

const TICK: Duration = Duration::from_millis(20);

#[derive(Default)]
struct Shared {
    mode: AtomicU8,
    stop: AtomicBool,
    connections: AtomicUsize,
    /// How many connections were reset.
    resets: AtomicU64,
}

impl Shared {
    fn is(&self, mode: Mode) -> bool {
        self.mode.load(Ordering::SeqCst) == mode as u8
    }
}

/// The proxy. Dropping it ends it.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Proxy {
    /// A proxy in front of a port of the loopback interface.
    pub(crate) fn start(to: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared::default());
        let thread = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, to, &shared)
        });
        Self {
            port,
            shared,
            thread: Some(thread),
        }
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.shared.mode.store(mode as u8, Ordering::SeqCst);
    }

    /// How many connections there have been.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn resets(&self) -> u64 {
        self.shared.resets.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn accept(listener: &TcpListener, to: u16, shared: &Arc<Shared>) {
    while !shared.stop.load(Ordering::SeqCst) {
        let Ok((node, _)) = listener.accept() else {
            std::thread::sleep(Duration::from_millis(5));
            continue;
        };
        if shared.is(Mode::Closed) || shared.is(Mode::Shut) {
            continue;
        }
        // A broker that is down ends the connection, as it should be seen by the node.
        let Ok(broker) = TcpStream::connect(("127.0.0.1", to)) else {
            continue;
        };
        shared.connections.fetch_add(1, Ordering::SeqCst);
        for stream in [&node, &broker] {
            stream.set_nonblocking(false).unwrap();
            stream.set_nodelay(true).unwrap();
            stream.set_read_timeout(Some(TICK)).unwrap();
        }
        let ends = (node.try_clone().unwrap(), broker.try_clone().unwrap());
        for (from, to, from_node) in [(node, broker, true), (ends.1, ends.0, false)] {
            let shared = Arc::clone(shared);
            std::thread::spawn(move || {
                pump(&from, &to, from_node, &shared);
                let _ = from.shutdown(Shutdown::Both);
                let _ = to.shutdown(Shutdown::Both);
            });
        }
    }
}

fn pump(mut from: &TcpStream, mut to: &TcpStream, from_node: bool, shared: &Shared) {
    let mut chunk = [0; 16 * 1024];
    while !shared.stop.load(Ordering::SeqCst) && !shared.is(Mode::Closed) {
        let count = match from.read(&mut chunk) {
            Ok(0) => return,
            Ok(count) => count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                continue;
            }
            Err(_) => return,
        };
        if shared.is(Mode::Swallow) {
            continue;
        }
        // Half of a packet, and it must be one with something in it.
        if from_node && shared.is(Mode::Reset) && count > 64 {
            let _ = to.write_all(&chunk[..count / 2]);
            for stream in [from, to] {
                let _ = set_socket_linger(stream, Some(Duration::ZERO));
            }
            shared.resets.fetch_add(1, Ordering::SeqCst);
            shared.mode.store(Mode::Open as u8, Ordering::SeqCst);
            return;
        }
        if to.write_all(&chunk[..count]).is_err() {
            return;
        }
    }
}
