//! The loop of the endpoint's task: the canonical run loop of [`crate::Core`] over real sockets.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::AtomicU64},
    time::Instant,
};

use tokio::{
    net::UdpSocket,
    sync::{mpsc, watch},
};

use crate::{
    Event, FlowId, Hop, Limits, TlsFault, TlsSettings, Transport, TransportFault,
    connections::{Connections, Sent},
    core::{Core, Output, Received, Transmit},
    endpoint::{Order, Shared, dropped_so_far},
    handshake::{self, Opened},
    peers::Peers,
    stream::{Closed, Connection, StreamEvent, StreamLimits},
};

pub(crate) struct Driver {
    pub core: Core,
    pub sockets: Vec<(SocketAddr, Arc<UdpSocket>)>,
    /// Of peers that we have asked something.
    pub datagrams: mpsc::Receiver<Received>,
    /// Of everybody else.
    pub strangers: mpsc::Receiver<Received>,
    pub peers: Arc<Peers>,
    pub streams: mpsc::Receiver<StreamEvent>,
    /// For new connections' tasks.
    pub stream_events: mpsc::Sender<StreamEvent>,
    pub orders: mpsc::Receiver<Order>,
    pub events: mpsc::Sender<Event>,
    pub limits: Limits,
    pub stream_limits: StreamLimits,
    pub dropped: Arc<AtomicU64>,
    pub shared: Arc<Shared>,
    pub connections: Connections,
    pub tls: watch::Receiver<TlsSettings>,
    /// Events that the caller has not taken yet.
    pub backlog: VecDeque<Event>,
}

/// Inputs of one kind that are handled before the others get their turn.
const BATCH: usize = 64;
/// What strangers send is told to the caller while no more events than these wait.
const STRANGERS_EVENTS: usize = 4096;

enum Woken {
    Orders(Vec<Order>),
    Datagrams(Vec<Received>),
    Streams(Vec<StreamEvent>),
    /// A timer is due, or the caller has room again.
    Other,
    /// The last handle is gone.
    Abandoned,
}

impl Driver {
    pub async fn run(mut self) {
        loop {
            match self.wait().await {
                Woken::Orders(orders) => {
                    for order in orders {
                        match order {
                            Order::Command(command) => self.core.command(command, Instant::now()),
                            Order::ShutDown(done) => {
                                self.flush();
                                drop(self);
                                let _ = done.send(());
                                return;
                            }
                        }
                    }
                }
                Woken::Datagrams(datagrams) => {
                    for datagram in datagrams {
                        self.received(datagram);
                    }
                }
                Woken::Streams(events) => {
                    for event in events {
                        self.stream_event(event);
                        // A pipelined batch must not outgrow the writer before it is sent.
                        self.flush();
                    }
                }
                Woken::Other => self.core.handle_timeout(Instant::now()),
                Woken::Abandoned => return,
            }
            self.flush();
        }
    }

    async fn wait(&mut self) -> Woken {
        let wake_at = self.core.wake_at().map(tokio::time::Instant::from_std);
        let sleep = async {
            match wake_at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let mut orders = Vec::new();
        let mut datagrams = Vec::new();
        let mut flood = Vec::new();
        let mut streams = Vec::new();
        let behind = !self.backlog.is_empty();
        tokio::select! {
            count = self.orders.recv_many(&mut orders, BATCH) => match count {
                0 => Woken::Abandoned,
                _ => Woken::Orders(orders),
            },
            // Without a reader the channel is closed, and would wake us for ever.
            _ = self.datagrams.recv_many(&mut datagrams, BATCH), if !self.sockets.is_empty() => {
                Woken::Datagrams(datagrams)
            }
            _ = self.strangers.recv_many(&mut flood, BATCH), if !self.sockets.is_empty() => {
                Woken::Datagrams(flood)
            }
            _ = self.streams.recv_many(&mut streams, BATCH) => Woken::Streams(streams),
            () = sleep => Woken::Other,
            permit = self.events.reserve(), if behind => {
                match permit {
                    Ok(permit) => {
                        if let Some(event) = self.backlog.pop_front() {
                            permit.send(event);
                        }
                    }
                    // Nobody listens any more.
                    Err(_) => self.backlog.clear(),
                }
                Woken::Other
            }
        }
    }

    /// The core guards its legs itself; this guards the rest against what a message could still do.
    fn received(&mut self, message: Received) {
        let core = &mut self.core;
        if catch_unwind(AssertUnwindSafe(|| core.received(message, Instant::now()))).is_err() {
            self.core.counters_mut().panics += 1;
            tracing::error!("a broken invariant of the SIP core cost a message");
        }
    }

    /// Does what the core wants done.
    fn flush(&mut self) {
        let waiting = self.events.max_capacity() - self.events.capacity();
        while let Some(output) = self.core.poll() {
            match output {
                Output::Transmit(message) => self.transmit(message),
                Output::Event(Event::Message(record))
                    if record.leg.is_none() && waiting > STRANGERS_EVENTS =>
                {
                    self.core.counters_mut().events_dropped += 1;
                }
                Output::Event(event) => self.backlog.push_back(event),
            }
        }
        while let Some(event) = self.backlog.pop_front() {
            if let Err(refused) = self.events.try_send(event) {
                if let mpsc::error::TrySendError::Full(event) = refused {
                    self.backlog.push_front(event);
                }
                break;
            }
        }
        self.core.set_congested(self.backlog.len() > self.limits.events / 2);
        let mut counters = self.core.counters();
        counters.queue_full = dropped_so_far(&self.dropped);
        self.shared.publish(counters);
    }

    fn transmit(&mut self, message: Transmit) {
        match message.transport {
            Transport::Udp => {
                if !message.bytes.starts_with(b"SIP/2.0 ") {
                    self.peers.asked(message.remote);
                }
                let mut sockets = self.sockets.iter();
                let socket = sockets.find(|(bound, _)| *bound == message.local);
                let sent = socket
                    .map(|(_, socket)| socket.try_send_to(&message.bytes, message.remote).is_ok());
                if sent != Some(true) {
                    self.core.counters_mut().send_failed += 1;
                }
            }
            Transport::Tcp | Transport::Tls => self.transmit_stream(&message),
        }
    }

    fn transmit_stream(&mut self, message: &Transmit) {
        let (queue, max) = (self.limits.writer_queue, self.limits.max_connections);
        match self.connections.send(message, queue, max) {
            Sent::Handed => {}
            Sent::Full(flow) => self.closed(flow, Closed::NotReading),
            Sent::Open => {
                self.connect(message.hop(), message.local);
            }
            Sent::Gone => self.unreachable(message.hop(), TransportFault::Lost),
            Sent::Refused => {
                self.core.counters_mut().connections_refused += 1;
                self.unreachable(message.hop(), TransportFault::Full);
            }
        }
    }

    fn connect(&mut self, hop: Hop, local: SocketAddr) {
        let is_tls = hop.transport == Transport::Tls;
        let tls = hop.tls.and_then(|peer| self.tls.borrow().peers.get(&peer).cloned());
        let tls = tls.filter(|_| is_tls);
        if is_tls && tls.is_none() {
            self.connections.opened(hop);
            self.unreachable(hop, TransportFault::Tls(TlsFault::Unnamed));
            return;
        }
        let (limit, events) = (self.limits.connect_timeout, self.stream_events.clone());
        tokio::spawn(handshake::connect(hop, local, tls, limit, events));
    }

    fn stream_event(&mut self, event: StreamEvent) {
        match event {
            StreamEvent::Message(received) => self.received(received),
            StreamEvent::Accepted { stream, hop, local } => {
                if self.connections.len() >= self.limits.max_connections {
                    self.core.counters_mut().connections_refused += 1;
                    return;
                }
                self.core.counters_mut().connections_accepted += 1;
                self.open(stream, hop, local);
            }
            StreamEvent::Connected { stream, hop, local } => {
                self.core.counters_mut().connections_opened += 1;
                let waiting = self.connections.opened(hop);
                let flow = self.open(stream, hop, local);
                let connection = self.connections.get(flow);
                let all_taken = connection
                    .is_some_and(|connection| waiting.into_iter().all(|b| connection.send(b)));
                if !all_taken {
                    self.closed(flow, Closed::NotReading);
                }
            }
            StreamEvent::ConnectFailed { hop, fault } => {
                self.core.counters_mut().connect_failed += 1;
                self.connections.opened(hop);
                if let TransportFault::Tls(fault) = fault {
                    tracing::warn!(remote = %hop.remote, %fault, "a TLS peer cannot be trusted or understood");
                }
                self.unreachable(hop, fault);
            }
            StreamEvent::HandshakeFailed { hop, fault } => {
                self.core.counters_mut().handshakes_failed += 1;
                tracing::debug!(remote = %hop.remote, %fault, "a TLS handshake of a peer failed");
            }
            StreamEvent::Closed { flow, why } => self.closed(flow, why),
        }
    }

    fn open(&mut self, stream: Opened, hop: Hop, local: SocketAddr) -> FlowId {
        let flow = self.connections.next_id();
        let (limits, events) = (self.stream_limits, self.stream_events.clone());
        let connection = Connection::start(stream, flow, hop, local, limits, events);
        self.connections.insert(flow, connection);
        flow
    }

    fn closed(&mut self, flow: FlowId, why: Closed) {
        let Some(hop) = self.connections.remove(flow) else {
            return;
        };
        let counters = self.core.counters_mut();
        match why {
            Closed::ByPeer | Closed::Tls(_) => {}
            Closed::Silent => counters.connections_timed_out += 1,
            Closed::NotReading => counters.connections_not_reading += 1,
            Closed::BadFraming => counters.connections_broken_framing += 1,
            Closed::BareLineFeed => {
                counters.bare_line_feed += 1;
                counters.connections_broken_framing += 1;
            }
            Closed::Oversize => {
                counters.oversize += 1;
                counters.connections_broken_framing += 1;
            }
        }
        tracing::debug!(flow = flow.0, ?why, "a SIP connection was closed");
        self.core.flow_lost(flow, Instant::now());
        let fault = match why {
            Closed::Tls(fault) => TransportFault::Tls(fault),
            _ => TransportFault::Lost,
        };
        self.unreachable(hop, fault);
    }

    fn unreachable(&mut self, hop: Hop, fault: TransportFault) {
        self.core.transport_failed(hop, fault, Instant::now());
    }
}
