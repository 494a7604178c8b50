//! Stream connections: each has a reader that waits for the core and a writer that the core never
//! waits for. Whatever a peer does costs its own connection only.

use std::{io, net::SocketAddr, time::Duration};

use bytes::{Bytes, BytesMut};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
    task::AbortHandle,
    time::{Instant, timeout, timeout_at},
};

use crate::{
    FlowId, Received, Transport,
    framing::{Framed, Framer},
};

/// What the tasks of connections tell the core's task.
#[derive(Debug)]
pub(crate) enum StreamEvent {
    Accepted { stream: TcpStream, remote: SocketAddr, local: SocketAddr },
    Connected { stream: TcpStream, remote: SocketAddr, local: SocketAddr },
    ConnectFailed { remote: SocketAddr },
    Message(Received),
    Closed { flow: FlowId, why: Closed },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Closed {
    ByPeer,
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
    pub remote: SocketAddr,
    writer: mpsc::Sender<Bytes>,
    tasks: [AbortHandle; 2],
}

impl Connection {
    /// Starts reader and writer. `local` is the listener's address: what the core knows it by.
    pub fn start(
        stream: TcpStream,
        flow: FlowId,
        remote: SocketAddr,
        local: SocketAddr,
        limits: StreamLimits,
        events: mpsc::Sender<StreamEvent>,
    ) -> Connection {
        // Without it a small response waits for the peer's delayed acknowledgement.
        let _ = stream.set_nodelay(true);
        let (read, write) = stream.into_split();
        let (writer, queue) = mpsc::channel(limits.writer_queue);
        let reader =
            Reader { flow, remote, local, limits, events: events.clone(), pong: writer.clone() };
        let reading = tokio::spawn(reader.run(read));
        let writing = tokio::spawn(write_all(write, queue, flow, limits.write, events));
        Connection { remote, writer, tasks: [reading.abort_handle(), writing.abort_handle()] }
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

pub(crate) async fn accept(
    listener: TcpListener,
    local: SocketAddr,
    events: mpsc::Sender<StreamEvent>,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = events.closed() => return,
        };
        let event = match accepted {
            Ok((stream, remote)) => StreamEvent::Accepted { stream, remote, local },
            // Out of descriptors: wait until some are free instead of spinning.
            Err(_) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        if events.send(event).await.is_err() {
            return;
        }
    }
}

/// Connects within `limit`; the result goes to the core like anything else.
pub(crate) async fn connect(
    remote: SocketAddr,
    local: SocketAddr,
    limit: Duration,
    events: mpsc::Sender<StreamEvent>,
) {
    let event = match timeout(limit, TcpStream::connect(remote)).await {
        Ok(Ok(stream)) => StreamEvent::Connected { stream, remote, local },
        Ok(Err(_)) | Err(_) => StreamEvent::ConnectFailed { remote },
    };
    let _ = events.send(event).await;
}

struct Reader {
    flow: FlowId,
    remote: SocketAddr,
    local: SocketAddr,
    limits: StreamLimits,
    events: mpsc::Sender<StreamEvent>,
    pong: mpsc::Sender<Bytes>,
}

impl Reader {
    async fn run(self, mut read: OwnedReadHalf) {
        let why = self.read_all(&mut read).await;
        let flow = self.flow;
        let _ = self.events.send(StreamEvent::Closed { flow, why }).await;
    }

    async fn read_all(&self, read: &mut OwnedReadHalf) -> Closed {
        let mut framer = Framer::new(self.limits.max_message);
        let mut buffer = BytesMut::with_capacity(16 * 1024);
        let mut deadline = Instant::now() + self.limits.idle;
        loop {
            buffer.clear();
            match timeout_at(deadline, read.read_buf(&mut buffer)).await {
                Err(_) => return Closed::Silent,
                Ok(Err(_) | Ok(0)) => return Closed::ByPeer,
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
                        transport: Transport::Tcp,
                        local: self.local,
                        remote: self.remote,
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
    mut write: OwnedWriteHalf,
    mut queue: mpsc::Receiver<Bytes>,
    flow: FlowId,
    limit: Duration,
    events: mpsc::Sender<StreamEvent>,
) {
    while let Some(bytes) = queue.recv().await {
        let why = match timeout(limit, write.write_all(&bytes)).await {
            Ok(Ok(())) => continue,
            Ok(Err(_)) => Closed::ByPeer,
            Err(_) => Closed::NotReading,
        };
        let _ = events.send(StreamEvent::Closed { flow, why }).await;
        return;
    }
}
