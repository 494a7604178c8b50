//! Stream connections: each has a reader that waits for the core and a writer that the core never
//! waits for. Whatever a peer does costs its own connection only.

use std::{io, net::SocketAddr, time::Duration};

use bytes::{Bytes, BytesMut};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split},
    net::TcpListener,
    sync::mpsc,
    task::AbortHandle,
    time::{Instant, timeout, timeout_at},
};

use crate::{
    FlowId, Hop, Received, TlsFault, Transport, TransportFault,
    framing::{Framed, Framer},
    handshake::{Opened, tls_fault},
};

/// What the tasks of connections tell the core's task.
#[derive(Debug)]
pub(crate) enum StreamEvent {
    Accepted {
        stream: Opened,
        hop: Hop,
        local: SocketAddr,
    },
    Connected {
        stream: Opened,
        hop: Hop,
        local: SocketAddr,
    },
    ConnectFailed {
        hop: Hop,
        fault: TransportFault,
    },
    /// Of a connection that somebody else opened.
    HandshakeFailed {
        hop: Hop,
        fault: TlsFault,
    },
    Message(Received),
    Closed {
        flow: FlowId,
        why: Closed,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    ByPeer,
    /// The peer ended it with an alert.
    Tls(TlsFault),
    Silent,
    NotReading,
    BadFraming,
    BareLineFeed,
    Oversize,
}

/// Time limits and sizes of one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamLimits {
    pub max_message: usize,
    pub idle: Duration,
    pub message: Duration,
    pub write: Duration,
    pub writer_queue: usize,
}

/// The core's side of an open connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub hop: Hop,
    writer: mpsc::Sender<Bytes>,
    tasks: [AbortHandle; 2],
}

impl Connection {
    /// Starts reader and writer. `local` is the listener's address: what the core knows it by.
    pub fn start(
        stream: Opened,
        flow: FlowId,
        hop: Hop,
        local: SocketAddr,
        limits: StreamLimits,
        events: mpsc::Sender<StreamEvent>,
    ) -> Connection {
        let (writer, queue) = mpsc::channel(limits.writer_queue);
        let reader =
            Reader { flow, hop, local, limits, events: events.clone(), pong: writer.clone() };
        // Without TCP_NODELAY a small response waits for the peer's delayed acknowledgement.
        let tasks = match stream {
            Opened::Tcp(stream) => {
                let _ = stream.set_nodelay(true);
                let (read, write) = stream.into_split();
                [
                    tokio::spawn(reader.run(read)),
                    tokio::spawn(write_all(write, queue, flow, limits.write, events)),
                ]
            }
            Opened::Tls(stream) => {
                let _ = stream.get_ref().0.set_nodelay(true);
                let (read, write) = split(*stream);
                [
                    tokio::spawn(reader.run(read)),
                    tokio::spawn(write_all(write, queue, flow, limits.write, events)),
                ]
            }
        };
        Connection { hop, writer, tasks: tasks.map(|task| task.abort_handle()) }
    }

    /// Hands bytes to the writer; `false` where it is that far behind that the peer does not read.
    pub fn send(&self, bytes: Bytes) -> bool {
        self.writer.try_send(bytes).is_ok()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // A restart must not wait for connections of the process before to be forgotten.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    TcpListener::from_std(socket.into())
}

struct Reader {
    flow: FlowId,
    hop: Hop,
    local: SocketAddr,
    limits: StreamLimits,
    events: mpsc::Sender<StreamEvent>,
    pong: mpsc::Sender<Bytes>,
}

impl Reader {
    async fn run(self, mut read: impl AsyncRead + Unpin) {
        let why = self.read_all(&mut read).await;
        let flow = self.flow;
        let _ = self.events.send(StreamEvent::Closed { flow, why }).await;
    }

    async fn read_all(&self, read: &mut (impl AsyncRead + Unpin)) -> Closed {
        let mut framer = Framer::new(self.limits.max_message);
        let mut buffer = BytesMut::with_capacity(16 * 1024);
        let mut deadline = Instant::now() + self.limits.idle;
        loop {
            buffer.clear();
            match timeout_at(deadline, read.read_buf(&mut buffer)).await {
                Err(_) => return Closed::Silent,
                Ok(Ok(0)) => return Closed::ByPeer,
                Ok(Err(error)) => return self.broken(&error),
                Ok(Ok(_)) => {}
            }
            let was_partial = framer.is_partial();
            framer.push(&buffer);
            match self.hand_over(&mut framer).await {
                Ok(any) => {
                    // A message that was begun has to end in its own time: single bytes now and
                    // then do not keep a connection open.
                    let now = Instant::now();
                    if !framer.is_partial() {
                        deadline = now + self.limits.idle;
                    } else if any || !was_partial {
                        deadline = now + self.limits.message;
                    }
                }
                Err(why) => return why,
            }
        }
    }

    fn broken(&self, error: &io::Error) -> Closed {
        let is_tls = self.hop.transport == Transport::Tls;
        // Who breaks a TLS connection off without a word is not worth a word either.
        match tls_fault(error) {
            fault if is_tls && fault != TlsFault::Alert => Closed::Tls(fault),
            _ => Closed::ByPeer,
        }
    }

    /// Passes every complete message on, waiting for the core where it is busy: that is what slows
    /// a peer down that pipelines. `Ok` says whether there was any.
    async fn hand_over(&self, framer: &mut Framer) -> Result<bool, Closed> {
        use crate::framing::FrameError;
        let mut any = false;
        loop {
            match framer.pop() {
                Ok(None) => return Ok(any),
                Ok(Some(Framed::Ping)) => {
                    any = true;
                    // RFC 5626 §4.4.1. A full writer means that the peer does not read.
                    if self.pong.try_send(Bytes::from_static(b"\r\n")).is_err() {
                        return Err(Closed::NotReading);
                    }
                }
                Ok(Some(Framed::Message(bytes))) => {
                    any = true;
                    let message = StreamEvent::Message(Received {
                        transport: self.hop.transport,
                        local: self.local,
                        remote: self.hop.remote,
                        flow: Some(self.flow),
                        bytes,
                    });
                    if self.events.send(message).await.is_err() {
                        return Err(Closed::ByPeer);
                    }
                }
                Err(FrameError::BareLineFeed) => return Err(Closed::BareLineFeed),
                Err(FrameError::TooLong(_)) => return Err(Closed::Oversize),
                Err(FrameError::NotSip | FrameError::ContentLength) => {
                    return Err(Closed::BadFraming);
                }
            }
        }
    }
}

async fn write_all(
    mut write: impl AsyncWrite + Unpin,
    mut queue: mpsc::Receiver<Bytes>,
    flow: FlowId,
    limit: Duration,
    events: mpsc::Sender<StreamEvent>,
) {
    while let Some(bytes) = queue.recv().await {
        // TLS keeps what the socket does not take at once until it is flushed.
        let written = async {
            write.write_all(&bytes).await?;
            write.flush().await
        };
        let why = match timeout(limit, written).await {
            Ok(Ok(())) => continue,
            Ok(Err(_)) => Closed::ByPeer,
            Err(_) => Closed::NotReading,
        };
        let _ = events.send(StreamEvent::Closed { flow, why }).await;
        return;
    }
}
