//! The simulated network's UDP socket: the pure SIP core of the crate `sip`, in a loop that can lose datagrams, swallow
//! those of a phone that is gone, and let an answer overtake a CANCEL. The endpoint of `sip` has no place for such
//! tricks, and should not have one.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::io;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use bytes::Bytes;
use sip::{
    Body, Command, Core, CoreConfig, CoreListener, Event, LegId, Output, Received, Transport,
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use crate::random::Random;
use crate::sniff::{Glance, glance};

/// A burst of a thousand INVITEs fits; the kernel may grant less.
const KERNEL_BUFFER: usize = 8 * 1024 * 1024;
/// Datagrams or orders handled before the others get their turn.
const BATCH: usize = 64;
/// Orders that may wait.
const QUEUE: usize = 65_536;
/// Calls of phones that are gone whose messages are still swallowed; the oldest is forgotten first.
const MAX_GONE: usize = 10_000;

/// What the owner of a phone may ask of the wire.
#[derive(Debug)]
pub(crate) enum Order {
    Sip(Command),
    /// Answer this leg when a CANCEL of this Call-ID arrives, before the core sees the CANCEL.
    AnswerOnCancel {
        leg: LegId,
        call_id: String,
        body: Option<Body>,
    },
    /// From now on nothing of this Call-ID gets through in either direction.
    Swallow {
        call_id: String,
    },
    /// The next `times` messages of this kind and Call-ID are lost, in either direction.
    Lose {
        call_id: String,
        what: Lost,
        times: u32,
    },
    /// Close the socket: what is up is cut off.
    Close,
}

/// A message that gets lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lost {
    /// The 200 to an INVITE.
    Answer,
    Bye,
}

/// Whether an INVITE reaches a phone at all.
pub(crate) type Reaches = Box<dyn Fn(&Glance<'_>) -> bool + Send>;
pub(crate) type OnEvent = Box<dyn FnMut(Event) + Send>;

pub(crate) struct WireConfig {
    pub bind: SocketAddr,
    pub user_agent: String,
    pub policy: sip::Policy,
    pub seed: u64,
    /// Share of datagrams lost on purpose, each way: 0.0 to 1.0.
    pub loss: f32,
    pub max_legs: usize,
    pub lost: Arc<AtomicU64>,
    pub reaches: Reaches,
    pub on_event: OnEvent,
}

/// The queue of orders for one wire.
pub(crate) fn orders() -> (mpsc::Sender<Order>, mpsc::Receiver<Order>) {
    mpsc::channel(QUEUE)
}

/// Starts a wire; where it is bound. It ends by [`Order::Close`].
pub(crate) fn start(config: WireConfig, orders: mpsc::Receiver<Order>) -> io::Result<SocketAddr> {
    let socket = bind(config.bind)?;
    let bound = socket.local_addr()?;
    let listener = CoreListener { transport: Transport::Udp, bound, public: bound };
    let core_config = CoreConfig {
        listeners: vec![listener],
        policy: config.policy,
        user_agent: Some(config.user_agent),
        max_legs: config.max_legs,
        max_message: 65_535,
    };
    let wire = Wire {
        core: Core::new(core_config, config.seed, Instant::now()),
        socket,
        bound,
        orders,
        losses: Random::for_name(config.seed, "network"),
        loss: config.loss,
        lost: config.lost,
        racing: BTreeMap::new(),
        gone: HashSet::new(),
        gone_order: VecDeque::new(),
        losing: BTreeMap::new(),
        reaches: config.reaches,
        on_event: config.on_event,
    };
    tokio::spawn(wire.run());
    Ok(bound)
}

struct Wire {
    core: Core,
    socket: UdpSocket,
    bound: SocketAddr,
    orders: mpsc::Receiver<Order>,
    losses: Random,
    loss: f32,
    lost: Arc<AtomicU64>,
    racing: BTreeMap<String, (LegId, Option<Body>)>,
    gone: HashSet<String>,
    gone_order: VecDeque<String>,
    /// How many messages of a call are still to be lost.
    losing: BTreeMap<(String, Lost), u32>,
    reaches: Reaches,
    on_event: OnEvent,
}

enum Woken {
    Orders(usize),
    Readable,
    Timer,
}

impl Wire {
    async fn run(mut self) {
        let mut buffer = vec![0; 65_536];
        let mut orders = Vec::with_capacity(BATCH);
        loop {
            match self.wait(&mut orders).await {
                Woken::Orders(0) => return,
                Woken::Orders(_) => {
                    if orders.drain(..).try_for_each(|order| self.order(order)).is_break() {
                        return self.flush();
                    }
                }
                Woken::Readable => self.read(&mut buffer),
                Woken::Timer => self.core.handle_timeout(Instant::now()),
            }
            self.flush();
        }
    }

    async fn wait(&mut self, orders: &mut Vec<Order>) -> Woken {
        let wake_at = self.core.wake_at().map(tokio::time::Instant::from_std);
        let sleep = async {
            match wake_at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            count = self.orders.recv_many(orders, BATCH) => Woken::Orders(count),
            _ = self.socket.readable() => Woken::Readable,
            () = sleep => Woken::Timer,
        }
    }

    fn order(&mut self, order: Order) -> ControlFlow<()> {
        match order {
            Order::Sip(command) => self.core.command(command, Instant::now()),
            Order::AnswerOnCancel { leg, call_id, body } => {
                self.racing.insert(call_id, (leg, body));
            }
            Order::Swallow { call_id } => self.swallow(call_id),
            Order::Lose { call_id, what, times } => {
                if self.losing.len() >= MAX_GONE {
                    self.losing.pop_first();
                }
                self.losing.insert((call_id, what), times);
            }
            Order::Close => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }

    fn swallow(&mut self, call_id: String) {
        if self.gone.insert(call_id.clone()) {
            self.gone_order.push_back(call_id);
        }
        if self.gone.len() > MAX_GONE
            && let Some(oldest) = self.gone_order.pop_front()
        {
            self.gone.remove(&oldest);
        }
    }

    fn read(&mut self, buffer: &mut [u8]) {
        for _ in 0..BATCH {
            // An error is an empty socket, or what ICMP says about an earlier datagram.
            let Ok((length, remote)) = self.socket.try_recv_from(buffer) else { return };
            let now = Instant::now();
            self.arrived(&buffer[..length], remote, now);
            self.flush();
        }
    }

    fn arrived(&mut self, datagram: &[u8], remote: SocketAddr, now: Instant) {
        if self.loses() {
            return;
        }
        if let Some(seen) = glance(datagram) {
            if self.gone.contains(seen.call_id)
                || loses_one(&mut self.losing, seen.call_id, datagram)
                || (seen.method == "INVITE" && !seen.in_dialog && !(self.reaches)(&seen))
            {
                return;
            }
            if seen.method == "CANCEL"
                && let Some((leg, body)) = self.racing.remove(seen.call_id)
            {
                self.core.command(Command::Answer { leg, body }, now);
                self.flush();
            }
        }
        let received = Received {
            transport: Transport::Udp,
            local: self.bound,
            remote,
            flow: None,
            bytes: Bytes::copy_from_slice(datagram),
        };
        self.core.received(received, now);
    }

    fn flush(&mut self) {
        while let Some(output) = self.core.poll() {
            match output {
                Output::Transmit(message) => self.send(&message.bytes, message.remote),
                Output::Event(event) => {
                    if let Event::Ended { leg, .. } = &event {
                        self.racing.retain(|_, (racing, _)| racing != leg);
                    }
                    (self.on_event)(event);
                }
            }
        }
    }

    fn send(&mut self, bytes: &[u8], to: SocketAddr) {
        let is_marked = !self.gone.is_empty() || !self.losing.is_empty();
        let silent = is_marked
            && glance(bytes).is_some_and(|seen| {
                self.gone.contains(seen.call_id) || loses_one(&mut self.losing, seen.call_id, bytes)
            });
        if silent || self.loses() {
            return;
        }
        if let Err(error) = self.socket.try_send_to(bytes, to) {
            // As on any network: what is lost is sent again by whoever needs it.
            tracing::debug!(%error, "the simulated carrier lost a datagram");
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn loses(&mut self) -> bool {
        let loses = self.loss > 0.0 && self.losses.unit() < self.loss;
        if loses {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        loses
    }
}

/// Whether this message is one of those that are to be lost; then there is one less.
fn loses_one(losing: &mut BTreeMap<(String, Lost), u32>, call_id: &str, message: &[u8]) -> bool {
    let Some(what) = lost_kind(message) else { return false };
    let key = (call_id.to_owned(), what);
    let Some(left) = losing.get_mut(&key) else { return false };
    *left = left.saturating_sub(1);
    if *left == 0 {
        losing.remove(&key);
    }
    true
}

fn lost_kind(message: &[u8]) -> Option<Lost> {
    let answers_invite = || message.windows(9).any(|nine| nine == b" INVITE\r\n");
    if message.starts_with(b"BYE ") {
        Some(Lost::Bye)
    } else if message.starts_with(b"SIP/2.0 200 ") && answers_invite() {
        Some(Lost::Answer)
    } else {
        None
    }
}

fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    for granted in
        [socket.set_recv_buffer_size(KERNEL_BUFFER), socket.set_send_buffer_size(KERNEL_BUFFER)]
    {
        if let Err(error) = granted {
            tracing::debug!(%error, "smaller socket buffers than asked for: bursts may be lost");
        }
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}
