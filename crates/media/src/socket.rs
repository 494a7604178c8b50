//! A leg's two UDP sockets, and how a media thread empties them.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

use crate::batch::{self, Batch};

/// Receive buffer of each socket: some 80 packets, over a second of audio. It bounds what a flood can make us hold.
const RECEIVE_BUFFER: usize = 64 * 1024;
/// DSCP "expedited forwarding" (RFC 4594 §4.1): voice.
const EXPEDITED_FORWARDING: u32 = 46 << 2;
/// How often a free pair of neighbouring ports is looked for.
const ATTEMPTS: usize = 64;

/// RTP on an even port, RTCP on the odd one above (RFC 3550 §11).
pub(crate) struct Pair {
    pub port: u16,
    pub rtp: UdpSocket,
    pub rtcp: UdpSocket,
}

impl Pair {
    /// Binds the pair that begins at `port`.
    pub(crate) fn bind(ip: IpAddr, port: u16) -> io::Result<Self> {
        let above = port.checked_add(1).ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Pair { port, rtp: udp(ip, port)?, rtcp: udp(ip, above)? })
    }

    /// Binds any free pair.
    pub(crate) fn bind_any(ip: IpAddr) -> io::Result<Self> {
        let mut refused = io::Error::from(io::ErrorKind::AddrInUse);
        for _ in 0..ATTEMPTS {
            let first = udp(ip, 0)?;
            let port = first.local_addr()?.port();
            let second = match udp(ip, port ^ 1) {
                Ok(socket) => socket,
                Err(error) => {
                    refused = error;
                    continue;
                }
            };
            return Ok(match port % 2 {
                0 => Pair { port, rtp: first, rtcp: second },
                _ => Pair { port: port ^ 1, rtp: second, rtcp: first },
            });
        }
        Err(refused)
    }
}

fn udp(ip: IpAddr, port: u16) -> io::Result<UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(SocketAddr::new(ip, port)),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    socket.set_nonblocking(true)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    // Marking is a courtesy to routers: a system that refuses it still carries calls.
    let marked = match ip {
        IpAddr::V4(_) => socket.set_tos_v4(EXPEDITED_FORWARDING),
        IpAddr::V6(_) => socket.set_tclass_v6(EXPEDITED_FORWARDING),
    };
    if let Err(error) = marked {
        tracing::debug!(%error, "RTP packets leave unmarked");
    }
    batch::stamp_arrivals(&socket)?;
    socket.bind(&SocketAddr::new(ip, port).into())?;
    Ok(socket.into())
}

/// Throws away what waits on a pair; says when the last of it came.
pub(crate) fn discard(pair: &Pair, batch: &mut Batch) -> Option<std::time::Instant> {
    let rtp = last_arrival(&pair.rtp, batch);
    let rtcp = last_arrival(&pair.rtcp, batch);
    rtp.max(rtcp)
}

fn last_arrival(socket: &UdpSocket, batch: &mut Batch) -> Option<std::time::Instant> {
    let mut last = None;
    // The receive buffer bounds what waits; the count bounds a flood that comes in meanwhile.
    for _ in 0..RECEIVE_BUFFER / 1024 {
        let count = batch.receive(socket);
        last = (0..count).map(|index| batch.datagram(index).arrived).max().max(last);
        if count < batch::SIZE {
            break;
        }
    }
    last
}
