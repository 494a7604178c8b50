//! `recvmmsg` with the kernel's arrival times: one system call empties a socket.
//!
//! The arrival time matters because sockets are emptied once per 20 ms: without it all jitter below that is invisible.
#![allow(unsafe_code, reason = "recvmmsg and its message headers have no safe wrapper here")]

use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;
use std::ptr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Datagrams taken by one call.
pub(crate) const SIZE: usize = 8;
/// Longest datagram taken whole: more than an Ethernet frame carries.
pub(crate) const LONGEST: usize = 2048;
const CONTROL: usize = 64;

/// Room for one call's datagrams; one per media thread.
pub(crate) struct Batch {
    slots: Box<[Slot; SIZE]>,
}

struct Slot {
    control: Control,
    name: libc::sockaddr_storage,
    bytes: [u8; LONGEST],
    length: usize,
    from: Option<SocketAddr>,
    arrived: Instant,
}

#[repr(align(8))]
struct Control([u8; CONTROL]);

/// One datagram.
pub(crate) struct Datagram<'a> {
    pub from: SocketAddr,
    /// The kernel's arrival time.
    pub arrived: Instant,
    pub bytes: &'a [u8],
}

/// Asks the kernel to note when each datagram comes in.
pub(crate) fn stamp_arrivals(socket: &impl AsRawFd) -> std::io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the descriptor is open, and option value and length describe a c_int that outlives the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_TIMESTAMPNS,
            ptr::from_ref(&on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

impl Batch {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        let slot = || Slot {
            control: Control([0; CONTROL]),
            // SAFETY: a sockaddr_storage is plain bytes, for which zero is a valid value.
            name: unsafe { mem::zeroed() },
            bytes: [0; LONGEST],
            length: 0,
            from: None,
            arrived: now,
        };
        Batch { slots: Box::new(std::array::from_fn(|_| slot())) }
    }

    /// Takes what waits on the socket, at most [`SIZE`] datagrams, and says how many. An error of the socket counts as
    /// nothing waiting: the next tick asks again.
    pub(crate) fn receive(&mut self, socket: &UdpSocket) -> usize {
        // SAFETY: msghdr and iovec are plain C structures for which zero is a valid value.
        let mut parts: [libc::iovec; SIZE] = unsafe { mem::zeroed() };
        // SAFETY: as above.
        let mut headers: [libc::mmsghdr; SIZE] = unsafe { mem::zeroed() };
        for ((slot, part), header) in self.slots.iter_mut().zip(&mut parts).zip(&mut headers) {
            part.iov_base = slot.bytes.as_mut_ptr().cast();
            part.iov_len = LONGEST;
            header.msg_hdr.msg_name = ptr::from_mut(&mut slot.name).cast();
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
            header.msg_hdr.msg_iov = part;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = slot.control.0.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = CONTROL as _;
        }
        // SAFETY: each header points at a name, one iovec over a whole buffer and a control buffer, all of which live in
        // `self` or on this stack past the call, with their true lengths.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                SIZE as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        let count = usize::try_from(count).unwrap_or(0);
        if count > 0 {
            let clock = Clock::now();
            for (slot, header) in self.slots.iter_mut().zip(&headers).take(count) {
                slot.read(header, &clock);
            }
        }
        count
    }

    /// The datagram at `index`, below what [`Batch::receive`] returned. One that was longer than the buffer has no bytes.
    pub(crate) fn datagram(&self, index: usize) -> Datagram<'_> {
        let slot = &self.slots[index];
        let unspecified = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));
        Datagram {
            from: slot.from.unwrap_or(unspecified),
            arrived: slot.arrived,
            bytes: &slot.bytes[..slot.length],
        }
    }
}

impl Slot {
    fn read(&mut self, header: &libc::mmsghdr, clock: &Clock) {
        let cut = header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
        self.length = if cut { 0 } else { (header.msg_len as usize).min(LONGEST) };
        self.from = address(&self.name);
        self.arrived = arrival(&header.msg_hdr).map_or(clock.instant, |at| clock.at(at));
    }
}

fn address(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match libc::c_int::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: the kernel wrote a sockaddr_in, as the family says; a storage is large and aligned enough for it.
            let v4 = unsafe { &*ptr::from_ref(name).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddr::V4(SocketAddrV4::new(ip, u16::from_be(v4.sin_port))))
        }
        libc::AF_INET6 => {
            // SAFETY: as above, for a sockaddr_in6.
            let v6 = unsafe { &*ptr::from_ref(name).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            Some(SocketAddr::V6(SocketAddrV6::new(ip, u16::from_be(v6.sin6_port), 0, 0)))
        }
        _ => None,
    }
}

/// The time since 1970 that the kernel noted.
fn arrival(header: &libc::msghdr) -> Option<Duration> {
    // SAFETY: the header is as the kernel left it: its control buffer is alive and `msg_controllen` its filled length.
    let control = unsafe { libc::CMSG_FIRSTHDR(header).as_ref() }?;
    if control.cmsg_level != libc::SOL_SOCKET || control.cmsg_type != libc::SCM_TIMESTAMPNS {
        return None;
    }
    // SAFETY: a control message of this type carries a timespec; it may be unaligned.
    let stamp: libc::timespec = unsafe { ptr::read_unaligned(libc::CMSG_DATA(control).cast()) };
    Some(Duration::new(u64::try_from(stamp.tv_sec).ok()?, u32::try_from(stamp.tv_nsec).ok()?))
}

/// Both clocks at one moment: the kernel stamps with the one that may jump.
struct Clock {
    instant: Instant,
    since_1970: Duration,
}

impl Clock {
    fn now() -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Clock { instant: Instant::now(), since_1970 }
    }

    fn at(&self, since_1970: Duration) -> Instant {
        // What waited longer than this means that the clock was set: the arrival is then now.
        const LONGEST_WAIT: Duration = Duration::from_secs(5);
        match self.since_1970.checked_sub(since_1970) {
            Some(age) if age < LONGEST_WAIT => {
                self.instant.checked_sub(age).unwrap_or(self.instant)
            }
            Some(_) | None => self.instant,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait_for(batch: &mut Batch, socket: &UdpSocket, count: usize) -> Vec<(SocketAddr, Vec<u8>)> {
        let until = Instant::now() + Duration::from_secs(10);
        let mut taken = Vec::new();
        while taken.len() < count && Instant::now() < until {
            let received = batch.receive(socket);
            taken.extend((0..received).map(|index| {
                let datagram = batch.datagram(index);
                assert!(datagram.arrived.elapsed() < Duration::from_secs(10));
                (datagram.from, datagram.bytes.to_vec())
            }));
            std::thread::yield_now();
        }
        taken
    }

    #[test]
    fn takes_datagrams_in_order_with_their_source_over_both_ip_versions() {
        for ip in ["127.0.0.1", "::1"] {
            let Ok(receiver) = UdpSocket::bind((ip, 0)) else {
                assert_eq!(ip, "::1", "a machine without IPv4");
                continue;
            };
            stamp_arrivals(&receiver).unwrap();
            let sender = UdpSocket::bind((ip, 0)).unwrap();
            for n in 0..20u8 {
                sender.send_to(&[n], receiver.local_addr().unwrap()).unwrap();
            }
            let taken = wait_for(&mut Batch::new(), &receiver, 20);
            let expected: Vec<_> =
                (0..20u8).map(|n| (sender.local_addr().unwrap(), vec![n])).collect();
            assert_eq!(taken, expected);
        }
    }

    #[test]
    fn a_datagram_longer_than_the_buffer_is_empty_and_an_empty_socket_gives_none() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut batch = Batch::new();
        assert_eq!(batch.receive(&receiver), 0);
        sender.send_to(&[7; LONGEST + 1], receiver.local_addr().unwrap()).unwrap();
        assert_eq!(wait_for(&mut batch, &receiver, 1), [(sender.local_addr().unwrap(), vec![])]);
    }
}
