//! What a media thread sleeps on: the time of its next work, its inbox, and the sockets of legs whose audio is passed on
//! as it comes.

use std::io;
use std::mem::MaybeUninit;
use std::net::UdpSocket;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use crate::command::LegId;

/// Sockets that one look can find ready; what is left is found by the next.
const READY: usize = 64;

/// Wakes one media thread from elsewhere.
pub(crate) struct Waker(OwnedFd);

impl Waker {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Waker(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    pub(crate) fn wake(&self) {
        // It fails where the counter is full, and then the thread is being woken anyway.
        let _woken = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    fn settle(&self) {
        // It fails where nobody woke.
        let _settled = rustix::io::read(&self.0, &mut [0u8; 8]);
    }
}

/// Waits for whatever comes first.
pub(crate) struct Poller {
    waker: Arc<Waker>,
    epoll: OwnedFd,
    watched: usize,
    ready: Vec<LegId>,
}

impl Poller {
    pub(crate) fn new(waker: Arc<Waker>) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Poller { waker, epoll, watched: 0, ready: Vec::with_capacity(READY) })
    }

    /// From now on a packet on the leg's socket wakes.
    pub(crate) fn watch(&mut self, leg: LegId, socket: &UdpSocket) -> io::Result<()> {
        epoll::add(&self.epoll, socket, EventData::new_u64(leg.0), EventFlags::IN)?;
        self.watched += 1;
        Ok(())
    }

    /// The end of [`Poller::watch`].
    pub(crate) fn forget(&mut self, socket: &UdpSocket) {
        match epoll::delete(&self.epoll, socket) {
            Ok(()) => self.watched -= 1,
            Err(error) => tracing::error!(%error, "a socket could not be left alone"),
        }
    }

    /// Sleeps until a watched socket has packets or the inbox something, for `limit` at the most.
    pub(crate) fn wait(&mut self, limit: Duration) {
        self.look();
        if limit.is_zero() || !self.ready.is_empty() {
            return;
        }
        // In two steps, because epoll knows only milliseconds on kernels before 5.11.
        let limit = Timespec {
            tv_sec: limit.as_secs() as i64,
            tv_nsec: i64::from(limit.subsec_nanos()) as _,
        };
        let waker = self.waker.0.as_fd();
        let mut sources = [
            PollFd::from_borrowed_fd(waker, PollFlags::IN),
            PollFd::new(&self.epoll, PollFlags::IN),
        ];
        if let Err(error) = poll(&mut sources, Some(&limit))
            && error != rustix::io::Errno::INTR
        {
            tracing::error!(%error, "a media thread cannot sleep");
            std::thread::yield_now();
        }
        if !sources[0].revents().is_empty() {
            self.waker.settle();
        }
        if !sources[1].revents().is_empty() {
            self.look();
        }
    }

    /// How many legs the last [`Poller::wait`] found packets for.
    pub(crate) fn ready_count(&self) -> usize {
        self.ready.len()
    }

    /// One of them, below that count.
    pub(crate) fn ready(&self, index: usize) -> LegId {
        self.ready[index]
    }

    fn look(&mut self) {
        self.ready.clear();
        if self.watched == 0 {
            return;
        }
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut room = [MaybeUninit::uninit(); READY];
        // Interrupted, or out of memory: the next look finds what is there.
        if let Ok((found, _)) = epoll::wait(&self.epoll, &mut room, Some(&now)) {
            self.ready.extend(found.iter().map(|event| LegId(event.data.u64())));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn bound() -> UdpSocket {
        UdpSocket::bind("127.0.0.1:0").unwrap()
    }

    fn poller() -> (Poller, Arc<Waker>) {
        let waker = Arc::new(Waker::new().unwrap());
        (Poller::new(Arc::clone(&waker)).unwrap(), waker)
    }

    #[test]
    fn a_packet_on_a_watched_socket_ends_the_sleep_and_names_its_leg() {
        let (mut poller, _waker) = poller();
        let (watched, left_alone, sender) = (bound(), bound(), bound());
        poller.watch(LegId(7), &watched).unwrap();
        poller.watch(LegId(8), &left_alone).unwrap();
        poller.forget(&left_alone);
        for socket in [&watched, &left_alone] {
            sender.send_to(&[1], socket.local_addr().unwrap()).unwrap();
        }
        let start = Instant::now();
        poller.wait(Duration::from_secs(20));
        assert!(start.elapsed() < Duration::from_secs(10));
        assert_eq!((poller.ready_count(), poller.ready(0)), (1, LegId(7)));
    }

    #[test]
    fn a_wake_from_before_the_sleep_counts_once() {
        let (mut poller, waker) = poller();
        waker.wake();
        waker.wake();
        let start = Instant::now();
        poller.wait(Duration::from_secs(20));
        assert!(start.elapsed() < Duration::from_secs(10));
        let start = Instant::now();
        poller.wait(Duration::from_millis(30));
        assert!(
            start.elapsed() >= Duration::from_millis(30),
            "the limit, to less than a millisecond"
        );
        assert_eq!(poller.ready_count(), 0);
    }
}
