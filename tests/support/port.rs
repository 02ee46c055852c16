//! Ports of the loopback interface that are kept from others until their server listens.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;

use tokio::net::TcpSocket;

/// Takes a port and keeps it from others without listening: whoever connects is refused. Port 0 takes
/// any.
pub(crate) fn hold(port: u16) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    // Connections that were cut leave the port in TIME_WAIT.
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    Ok(socket)
}

/// A port for a server that binds it by itself, or for none.
///
/// It stays held for as long as this process runs: the kernel gives it to nobody who asks for any
/// port, and a server that asks for this one (with `SO_REUSEADDR`, as servers do) gets it.
pub(crate) fn reserve() -> u16 {
    static HELD: Mutex<Vec<TcpSocket>> = Mutex::new(Vec::new());
    let socket = hold(0).expect("a free port of the loopback interface");
    let port = socket.local_addr().expect("a bound socket").port();
    HELD.lock().expect("nobody panics with it").push(socket);
    port
}
