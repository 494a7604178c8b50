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

use crate::{Received, Transport};

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

/// Reads until the core is gone. When the core's queue is full a datagram is dropped and counted:
/// its sender repeats what matters.
pub(crate) async fn read(
    socket: Arc<UdpSocket>,
    local: SocketAddr,
    inbox: mpsc::Sender<Received>,
    dropped: Arc<AtomicU64>,
) {
    let mut buffer = vec![0; 65_536];
    while !inbox.is_closed() {
        let ready = tokio::select! {
            ready = socket.readable() => ready,
            () = inbox.closed() => return,
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
