//! An HTTP listener that can reset a connection, which the usual ones cannot.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use axum::{Extension, Router};
use hyper::body::{Body, Frame};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio::task::{JoinHandle, JoinSet};

/// Connections at a time; further ones wait in the kernel's backlog.
const MAX_CONNECTIONS: usize = 10_000;

pub(crate) struct Listener {
    address: SocketAddr,
    accepting: JoinHandle<Infallible>,
}

impl Listener {
    pub async fn start(address: SocketAddr, router: Router) -> std::io::Result<Listener> {
        let socket = TcpListener::bind(address).await?;
        let address = socket.local_addr()?;
        Ok(Listener { address, accepting: tokio::spawn(accept(socket, router)) })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends the accepting task and with it, because it owns them, every connection.
    pub async fn shut_down(mut self) {
        self.accepting.abort();
        match (&mut self.accepting).await {
            Ok(never) => match never {},
            Err(ended) => debug_assert!(ended.is_cancelled(), "{ended}"),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(socket: TcpListener, router: Router) -> Infallible {
    let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let permit =
            Arc::clone(&room).acquire_owned().await.expect("the semaphore is never closed");
        while connections.try_join_next().is_some() {}
        match socket.accept().await {
            Ok((stream, address)) => {
                let router = router.clone();
                connections.spawn(async move {
                    serve(stream, address, router).await;
                    drop(permit);
                });
            }
            Err(error) => {
                // Out of descriptors, most likely: give others the time to close some.
                tracing::warn!(%error, "callback receiver: cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn serve(stream: TcpStream, address: SocketAddr, router: Router) {
    let nodelay = stream.set_nodelay(true);
    let copy = stream.as_fd().try_clone_to_owned();
    let (Ok(()), Ok(descriptor)) = (nodelay, copy) else {
        tracing::debug!("callback receiver: a connection was gone before it was served");
        return;
    };
    let inner = Inner { address, descriptor, resetting: Notify::new() };
    let peer = Peer { inner: Arc::new(inner) };
    let service = TowerToHyperService::new(router.layer(Extension(peer.clone())));
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        served = connection => if let Err(error) = served {
            tracing::debug!(%error, "callback receiver: connection ended");
        },
        () = peer.inner.resetting.notified() => {}
    }
}

/// The other end of one connection.
#[derive(Clone)]
pub(crate) struct Peer {
    inner: Arc<Inner>,
}

struct Inner {
    address: SocketAddr,
    /// A second descriptor of the same socket: hyper owns the first.
    descriptor: OwnedFd,
    resetting: Notify,
}

impl Peer {
    pub fn address(&self) -> SocketAddr {
        self.inner.address
    }

    /// Closes the connection by RST: zero linger, and the task that serves it drops it.
    pub fn reset(&self) {
        if let Err(error) = SockRef::from(&self.inner.descriptor).set_linger(Some(Duration::ZERO)) {
            tracing::debug!(%error, "callback receiver: the connection closes without a reset");
        }
        self.inner.resetting.notify_one();
    }
}

pub(crate) const HALF: &[u8] = br#"{"retCode":"0","#;

/// [`HALF`] and then an error, which makes hyper close the connection.
#[derive(Default)]
pub(crate) enum HalfBody {
    #[default]
    Whole,
    Given,
    Flushed,
}

impl Body for HalfBody {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        match *self {
            HalfBody::Whole => {
                *self = HalfBody::Given;
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(HALF)))))
            }
            HalfBody::Given => {
                // hyper flushes what it has when a body is not ready; then it asks again.
                *self = HalfBody::Flushed;
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            HalfBody::Flushed => {
                Poll::Ready(Some(Err(std::io::Error::other("cut in the middle, as scripted"))))
            }
        }
    }
}
