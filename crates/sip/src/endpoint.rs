//! One task that runs the core, fed by every socket. It waits for nobody: datagrams that the
//! kernel does not take are dropped, a stream writer that is full costs its connection, events that
//! the caller does not fetch are kept up to what its legs can cause, and no further.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use thiserror::Error;
use tokio::{
    net::UdpSocket,
    sync::{mpsc, oneshot, watch},
};

use crate::{
    Command, Counters, Event, Policy, TlsSettings, Transport,
    core::{Core, CoreConfig, CoreListener},
    driver::Driver,
    handshake,
    peers::Peers,
    stream::{self, StreamEvent, StreamLimits},
    udp,
};

/// A socket to open. One for TLS without a certificate in [`TlsSettings::server`] opens none: it
/// says where connections of ours come from, and nobody can connect to it.
#[derive(Clone, Copy, Debug)]
pub struct Listener {
    pub transport: Transport,
    /// Port 0 takes a free one.
    pub bind: SocketAddr,
    /// What peers are told instead of the bound address; without a port the bound one.
    pub public_address: Option<(IpAddr, Option<u16>)>,
}

/// Bounds on what peers and a slow caller can take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest message in bytes, up to 65,535.
    pub max_message: usize,
    pub max_connections: usize,
    /// A connection that nothing was received on for so long is closed.
    pub idle_timeout: Duration,
    /// A message on a stream has to be complete this long after its first byte.
    pub message_timeout: Duration,
    /// Below Timer B (32 s), so that a dead peer is told apart from a silent one.
    pub connect_timeout: Duration,
    /// Connections of others have to be through their TLS handshake after so long.
    pub handshake_timeout: Duration,
    /// A write that the peer does not take for so long closes its connection.
    pub write_timeout: Duration,
    /// Messages that may wait for a peer to read; one more and its connection is closed.
    pub writer_queue: usize,
    /// Messages from sockets, and commands, that may wait for the core.
    pub queue: usize,
    /// Events that may wait for the caller before optional ones are dropped.
    pub events: usize,
    /// Legs above which new inbound calls get 503.
    pub max_legs: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_message: 65_535,
            max_connections: 4096,
            idle_timeout: Duration::from_secs(900),
            message_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(10),
            writer_queue: 1024,
            queue: 16_384,
            events: 16_384,
            max_legs: 100_000,
        }
    }
}

#[derive(Clone, Debug)]
pub struct EndpointConfig {
    pub listeners: Vec<Listener>,
    pub limits: Limits,
    pub tls: TlsSettings,
    pub policy: Policy,
    /// User-Agent and Server; `None` says nothing.
    pub user_agent: Option<String>,
    /// Random in production: branches, tags and nonces come from it.
    pub seed: u64,
}

/// Why an endpoint does not start.
#[derive(Debug, Error)]
pub enum StartError {
    #[error("cannot bind {transport} {address}: {source}; is another process using it?")]
    Bind { transport: &'static str, address: SocketAddr, source: io::Error },
    #[error("{0} is bound to every interface: set its public_address, which peers are told")]
    NoPublicAddress(SocketAddr),
    #[error("limits.{0} is out of its range")]
    Limit(&'static str),
}

/// The core has more commands waiting than `limits.queue`; try again shortly. Also returned once
/// the endpoint has been shut down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the SIP endpoint has too many commands waiting, or has been shut down")]
pub struct Busy;

/// A running endpoint. Clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct Endpoint {
    orders: mpsc::Sender<Order>,
    addresses: Arc<[(Transport, SocketAddr)]>,
    shared: Arc<Shared>,
    tls: Arc<watch::Sender<TlsSettings>>,
}

#[derive(Debug)]
pub(crate) enum Order {
    Command(Command),
    ShutDown(oneshot::Sender<()>),
}

/// Counters as the core's task last left them.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    counters: Mutex<Counters>,
}

impl Shared {
    pub fn publish(&self, counters: Counters) {
        *self.counters.lock().unwrap_or_else(PoisonError::into_inner) = counters;
    }
}

/// Datagrams of strangers that wait for the core: a burst, and no more than the core gets through in a moment.
const STRANGERS_QUEUE: usize = 4096;
/// Where SIP over TLS listens, if nothing else is said (RFC 3261 §19.1.2).
const SIPS_PORT: u16 = 5061;

/// Messages from streams that wait for the core: few, so that a peer that pipelines thousands
/// delays nobody else by more than these.
const STREAM_QUEUE: usize = 256;

impl Endpoint {
    /// Opens every listener and starts the core. Ends with the last handle or by `shut_down`.
    #[expect(clippy::unused_async, reason = "has to be called inside a runtime")]
    pub async fn start(
        config: EndpointConfig,
    ) -> Result<(Endpoint, mpsc::Receiver<Event>), StartError> {
        check(&config.limits)?;
        let limits = config.limits;
        let (asked, datagrams_in) = mpsc::channel(limits.queue);
        let (strangers, strangers_in) = mpsc::channel(limits.queue.min(STRANGERS_QUEUE));
        let (stream_events, stream_events_in) = mpsc::channel(STREAM_QUEUE);
        let (orders, orders_in) = mpsc::channel(limits.queue);
        let (events_out, events) = mpsc::channel(limits.events);
        let (dropped, peers) = (Arc::new(AtomicU64::new(0)), Arc::new(Peers::default()));
        let (tls, tls_now) = watch::channel(config.tls);
        let readers = Readers {
            limits,
            datagrams: udp::Inboxes {
                known: asked,
                strangers,
                peers: peers.clone(),
                dropped: dropped.clone(),
            },
            streams: stream_events.clone(),
            tls: tls_now.clone(),
        };
        let mut listeners = Vec::new();
        let mut sockets = Vec::new();
        for listener in &config.listeners {
            let bound = readers.open(listener, &mut sockets).map_err(|source| {
                let (transport, address) = (listener.transport.name(), listener.bind);
                StartError::Bind { transport, address, source }
            })?;
            listeners.push(known(listener, bound)?);
        }
        let addresses = listeners.iter().map(|l| (l.transport, l.bound)).collect();
        let core_config = CoreConfig {
            listeners,
            policy: config.policy,
            user_agent: config.user_agent,
            max_legs: limits.max_legs,
            max_message: limits.max_message,
        };
        let now = std::time::Instant::now();
        let shared = Arc::new(Shared::default());
        let driver = Driver {
            core: Core::new(core_config, config.seed, now),
            sockets,
            datagrams: datagrams_in,
            strangers: strangers_in,
            peers,
            streams: stream_events_in,
            stream_events,
            orders: orders_in,
            events: events_out,
            stream_limits: stream_limits(&limits),
            limits,
            dropped,
            shared: shared.clone(),
            connections: crate::connections::Connections::default(),
            tls: tls_now,
            backlog: std::collections::VecDeque::new(),
        };
        tokio::spawn(driver.run());
        let endpoint = Endpoint { orders, addresses, shared, tls: Arc::new(tls) };
        Ok((endpoint, events))
    }

    /// Queues a command; what comes of it is an event.
    pub fn command(&self, command: Command) -> Result<(), Busy> {
        self.try_command(command).map_err(|_| Busy)
    }

    /// As [`Endpoint::command`]; gives back what there is no room for, to be tried again.
    pub fn try_command(&self, command: Command) -> Result<(), Box<Command>> {
        use mpsc::error::TrySendError::{Closed, Full};
        match self.orders.try_send(Order::Command(command)) {
            Err(Full(Order::Command(command)) | Closed(Order::Command(command))) => {
                Err(Box::new(command))
            }
            Ok(()) | Err(Full(Order::ShutDown(_)) | Closed(Order::ShutDown(_))) => Ok(()),
        }
    }

    /// Transports and bound addresses, in the order of the listeners.
    pub fn local_addresses(&self) -> Vec<(Transport, SocketAddr)> {
        self.addresses.to_vec()
    }

    /// New connections use these certificates from now on; open ones stay. A listener that was
    /// started without a certificate is not opened by this.
    pub fn set_tls(&self, settings: TlsSettings) {
        self.tls.send_replace(settings);
    }

    pub fn counters(&self) -> Counters {
        *self.shared.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes every socket at once. Hang up first what should end in order.
    pub async fn shut_down(self) {
        let (done, stopped) = oneshot::channel();
        if self.orders.send(Order::ShutDown(done)).await.is_ok() {
            let _ = stopped.await;
        }
    }
}

/// What the tasks that read from sockets need.
struct Readers {
    limits: Limits,
    datagrams: udp::Inboxes,
    streams: mpsc::Sender<StreamEvent>,
    tls: watch::Receiver<TlsSettings>,
}

impl Readers {
    /// Opens a listener and starts its reader; the address that it is bound to.
    fn open(
        &self,
        listener: &Listener,
        sockets: &mut Vec<(SocketAddr, Arc<UdpSocket>)>,
    ) -> io::Result<SocketAddr> {
        let tls = match listener.transport {
            Transport::Udp => {
                let socket = Arc::new(udp::bind(listener.bind)?);
                let bound = socket.local_addr()?;
                tokio::spawn(udp::read(socket.clone(), bound, self.datagrams.clone()));
                sockets.push((bound, socket));
                return Ok(bound);
            }
            Transport::Tls if self.tls.borrow().server.is_none() => {
                let port = Some(listener.bind.port()).filter(|port| *port != 0);
                return Ok(SocketAddr::new(listener.bind.ip(), port.unwrap_or(SIPS_PORT)));
            }
            Transport::Tls => Some(self.tls.clone()),
            Transport::Tcp => None,
        };
        let socket = stream::listen(listener.bind)?;
        let bound = socket.local_addr()?;
        let (limit, events) = (self.limits.handshake_timeout, self.streams.clone());
        tokio::spawn(handshake::accept(socket, bound, tls, limit, events));
        Ok(bound)
    }
}

pub(crate) fn dropped_so_far(dropped: &AtomicU64) -> u64 {
    dropped.load(Ordering::Relaxed)
}

fn known(listener: &Listener, bound: SocketAddr) -> Result<CoreListener, StartError> {
    let public = match listener.public_address {
        Some((ip, port)) => SocketAddr::new(ip, port.unwrap_or(bound.port())),
        None if bound.ip().is_unspecified() => return Err(StartError::NoPublicAddress(bound)),
        None => bound,
    };
    Ok(CoreListener { transport: listener.transport, bound, public })
}

fn stream_limits(limits: &Limits) -> StreamLimits {
    StreamLimits {
        max_message: limits.max_message,
        idle: limits.idle_timeout,
        message: limits.message_timeout,
        write: limits.write_timeout,
        writer_queue: limits.writer_queue,
    }
}

fn check(limits: &Limits) -> Result<(), StartError> {
    let sound = [
        ("max_message", (512..=65_535).contains(&limits.max_message)),
        ("writer_queue", limits.writer_queue > 0),
        ("queue", limits.queue > 0),
        ("events", limits.events > 0),
        ("connect_timeout", limits.connect_timeout < Duration::from_secs(32)),
    ];
    match sound.iter().find(|(_, sound)| !sound) {
        Some((name, _)) => Err(StartError::Limit(name)),
        None => Ok(()),
    }
}
