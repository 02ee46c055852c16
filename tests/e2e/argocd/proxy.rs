//! A way to the API server that counts connections.

use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Passes connections on. Dropping it leaves its thread waiting, until the process ends.
pub(crate) struct Proxy {
    pub(crate) port: u16,
    accepted: Arc<AtomicUsize>,
}

impl Proxy {
    /// A way to that port.
    pub(crate) fn to(target: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                count.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || pass(stream, target));
            }
        });
        Self { port, accepted }
    }

    /// How many connections there were.
    pub(crate) fn count(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

fn pass(client: TcpStream, target: u16) {
    let Ok(server) =
        TcpStream::connect_timeout(&([127, 0, 0, 1], target).into(), Duration::from_secs(5))
    else {
        return;
    };
    let both = (client
        .try_clone()
        .and_then(|c| Ok((c, server.try_clone()?))))
    .ok();
    let Some((mut from_client, mut to_server)) = both else {
        return;
    };
    let (mut to_client, mut from_server) = (client, server);
    std::thread::spawn(move || {
        let _ = io::copy(&mut from_client, &mut to_server);
        let _ = to_server.shutdown(Shutdown::Both);
    });
    let _ = io::copy(&mut from_server, &mut to_client);
    let _ = to_client.shutdown(Shutdown::Both);
}
