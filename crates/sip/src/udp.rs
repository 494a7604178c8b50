//! UDP sockets: large kernel buffers, reads in batches, sends that never wait.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{net::UdpSocket, sync::mpsc};

use crate::{Received, Transport, peers::Peers};

/// A burst of a thousand INVITEs fits; the kernel may grant less.
const KERNEL_BUFFER: usize = 8 * 1024 * 1024;
/// Datagrams read before other tasks get their turn.
const BATCH: usize = 64;

pub(crate) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Smaller buffers than asked for lose bursts and nothing else.
    let _ = socket.set_recv_buffer_size(KERNEL_BUFFER);
    let _ = socket.set_send_buffer_size(KERNEL_BUFFER);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

/// Where datagrams go: those of peers that we have asked something, and those of everybody else.
#[derive(Clone)]
pub(crate) struct Inboxes {
    pub known: mpsc::Sender<Received>,
    pub strangers: mpsc::Sender<Received>,
    pub peers: Arc<Peers>,
    /// Datagrams that found their queue full.
    pub dropped: Arc<AtomicU64>,
}

/// Reads until the core is gone. When its queue is full a datagram is dropped and counted: its
/// sender repeats what matters.
pub(crate) async fn read(socket: Arc<UdpSocket>, local: SocketAddr, inboxes: Inboxes) {
    let Inboxes { known, strangers, peers, dropped } = inboxes;
    let mut buffer = vec![0; 65_536];
    while !known.is_closed() {
        let ready = tokio::select! {
            ready = socket.readable() => ready,
            () = known.closed() => return,
        };
        if ready.is_err() {
            tokio::task::yield_now().await;
            continue;
        }
        for _ in 0..BATCH {
            match socket.try_recv_from(&mut buffer) {
                Ok((length, remote)) => {
                    let received = Received {
                        transport: Transport::Udp,
                        local,
                        remote,
                        flow: None,
                        bytes: Bytes::copy_from_slice(&buffer[..length]),
                    };
                    let inbox = if peers.knows(remote) { &known } else { &strangers };
                    if inbox.try_send(received).is_err() {
                        dropped.fetch_add(1, Ordering::Relaxed);
                    }
                }
                // Also what ICMP reports for an earlier send: not of interest here.
                Err(_) => break,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_flood_of_strangers_takes_no_place_from_those_we_asked() {
        let bind = || bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let (ours, trunk, stranger) = (bind(), bind(), bind());
        let local = ours.local_addr().unwrap();
        let (known, mut from_known) = mpsc::channel(1);
        let (strangers, from_strangers) = mpsc::channel(3);
        let (peers, dropped) = (Arc::new(Peers::default()), Arc::new(AtomicU64::new(0)));
        peers.asked(trunk.local_addr().unwrap());
        let inboxes = Inboxes { known, strangers, peers, dropped: dropped.clone() };
        tokio::spawn(read(Arc::new(ours), local, inboxes));
        for _ in 0..10 {
            stranger.send_to(b"flood", local).await.unwrap();
        }
        trunk.send_to(b"answer", local).await.unwrap();
        let answer = from_known.recv().await.unwrap();
        assert_eq!(&answer.bytes[..], b"answer");
        assert_eq!((from_strangers.len(), dropped.load(Ordering::Relaxed)), (3, 7));
    }
}
