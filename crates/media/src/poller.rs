//! What a media thread sleeps on: the time of its next work, its inbox, and the sockets of legs whose audio is passed on
//! as it comes.

use std::io;
use std::mem::MaybeUninit;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

use crate::command::LegId;

/// Sockets that one look can find ready; what is left is found by the next.
const READY: usize = 64;
/// In place of a leg's number, none of which is as high: they are counted up from one.
const WAKER: u64 = u64::MAX;

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
    sleep: Sleep,
    ready: Vec<LegId>,
}

/// How a sleep ends to less than a millisecond.
enum Sleep {
    /// `epoll_pwait2` takes nanoseconds.
    InEpoll,
    /// The kernel is older than 5.11, or whoever confines the process does not know that call: `poll` sleeps, on epoll.
    AroundEpoll,
}

impl Poller {
    pub(crate) fn new(waker: Arc<Waker>) -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, &waker.0, EventData::new_u64(WAKER), EventFlags::IN)?;
        Ok(Poller { waker, epoll, sleep: Sleep::InEpoll, ready: Vec::with_capacity(READY) })
    }

    /// From now on packets that come to the leg's socket wake, and so do those that wait there now. Told once: what is then
    /// left on the socket is not told again until more comes.
    pub(crate) fn watch(&self, leg: LegId, socket: &UdpSocket) -> io::Result<()> {
        let told_once = EventFlags::IN | EventFlags::ET;
        Ok(epoll::add(&self.epoll, socket, EventData::new_u64(leg.0), told_once)?)
    }

    /// The end of [`Poller::watch`].
    pub(crate) fn forget(&self, socket: &UdpSocket) {
        if let Err(error) = epoll::delete(&self.epoll, socket) {
            tracing::error!(%error, "a socket could not be left alone");
        }
    }

    /// Sleeps until a watched socket has packets or the inbox something, for `limit` at the most.
    pub(crate) fn wait(&mut self, limit: Duration) {
        let limit = Timespec {
            tv_sec: limit.as_secs() as i64,
            tv_nsec: i64::from(limit.subsec_nanos()) as _,
        };
        let looked = match self.sleep {
            Sleep::InEpoll => self.look(&limit),
            Sleep::AroundEpoll => self.sleep_around(&limit),
        };
        match looked {
            // Interrupted: the next look finds what is there.
            Ok(()) | Err(Errno::INTR) => {}
            Err(Errno::NOSYS | Errno::PERM) => self.sleep = Sleep::AroundEpoll,
            Err(error) => {
                tracing::error!(%error, "a media thread cannot sleep");
                std::thread::yield_now();
            }
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

    fn sleep_around(&mut self, limit: &Timespec) -> Result<(), Errno> {
        self.ready.clear();
        poll(&mut [PollFd::new(&self.epoll, PollFlags::IN)], Some(limit))?;
        self.look(&Timespec { tv_sec: 0, tv_nsec: 0 })
    }

    fn look(&mut self, limit: &Timespec) -> Result<(), Errno> {
        self.ready.clear();
        let mut room = [MaybeUninit::uninit(); READY];
        let (found, _) = epoll::wait(&self.epoll, &mut room, Some(limit))?;
        for event in found {
            match event.data.u64() {
                WAKER => self.waker.settle(),
                leg => self.ready.push(LegId(leg)),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn bound() -> UdpSocket {
        UdpSocket::bind("127.0.0.1:0").unwrap()
    }

    /// One for each way to sleep.
    fn pollers() -> [(Poller, Arc<Waker>); 2] {
        [Sleep::InEpoll, Sleep::AroundEpoll].map(|sleep| {
            let waker = Arc::new(Waker::new().unwrap());
            let mut poller = Poller::new(Arc::clone(&waker)).unwrap();
            poller.sleep = sleep;
            (poller, waker)
        })
    }

    #[test]
    fn a_packet_on_a_watched_socket_ends_the_sleep_and_names_its_leg_once() {
        for (mut poller, _waker) in pollers() {
            let (watched, left_alone, sender) = (bound(), bound(), bound());
            poller.watch(LegId(7), &watched).unwrap();
            poller.watch(LegId(8), &left_alone).unwrap();
            poller.forget(&left_alone);
            for _ in 0..2 {
                for socket in [&watched, &left_alone] {
                    sender.send_to(&[1], socket.local_addr().unwrap()).unwrap();
                }
                let start = Instant::now();
                poller.wait(Duration::from_secs(20));
                assert!(start.elapsed() < Duration::from_secs(10));
                assert_eq!((poller.ready_count(), poller.ready(0)), (1, LegId(7)));
                poller.wait(Duration::ZERO);
                assert_eq!(poller.ready_count(), 0, "the same packet is not told again");
            }
        }
    }

    #[test]
    fn what_waits_on_a_socket_when_it_is_first_watched_is_told() {
        for (mut poller, _waker) in pollers() {
            let (watched, sender) = (bound(), bound());
            sender.send_to(&[1], watched.local_addr().unwrap()).unwrap();
            poller.watch(LegId(7), &watched).unwrap();
            poller.wait(Duration::from_secs(20));
            assert_eq!((poller.ready_count(), poller.ready(0)), (1, LegId(7)));
        }
    }

    #[test]
    fn a_wake_from_before_the_sleep_counts_once() {
        for (mut poller, waker) in pollers() {
            waker.wake();
            waker.wake();
            let start = Instant::now();
            poller.wait(Duration::from_secs(20));
            assert!(start.elapsed() < Duration::from_secs(10));
            let start = Instant::now();
            poller.wait(Duration::from_micros(30_500));
            assert!(
                start.elapsed() >= Duration::from_micros(30_500),
                "the limit, to less than a millisecond"
            );
            assert_eq!(poller.ready_count(), 0);
        }
    }
}
