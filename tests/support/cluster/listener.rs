//! A listener whose connections can all be cut at once, as when the API server is killed.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Serves until `cut`, then ends every connection. The receiver hears when the port is free again.
pub(super) fn serve(
    listener: TcpListener,
    router: Router,
    cut: &CancellationToken,
) -> oneshot::Receiver<()> {
    let (closed, receiver) = oneshot::channel();
    let cut = cut.clone();
    let connections = CuttableListener {
        listener,
        cut: cut.clone(),
    };
    tokio::spawn(async move {
        tokio::select! {
            () = cut.cancelled() => {}
            _ = axum::serve(connections, router) => {}
        }
        // Nobody may be waiting for this.
        let _ = closed.send(());
    });
    receiver
}

struct CuttableListener {
    listener: TcpListener,
    cut: CancellationToken,
}

impl Listener for CuttableListener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        loop {
            if let Ok((stream, peer)) = self.listener.accept().await {
                let cut = Box::pin(self.cut.clone().cancelled_owned());
                return (Connection { stream, cut }, peer);
            }
            // Out of file descriptors, most likely: others need the time to close theirs.
            tokio::task::yield_now().await;
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

struct Connection {
    stream: TcpStream,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Connection {
    fn cut(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.cut.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionReset.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.cut(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.cut(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// What the server's router is made of.
pub(super) fn router(shared: Arc<super::world::Shared>) -> Router {
    Router::new()
        .fallback(super::server::answer)
        .with_state(shared)
}
