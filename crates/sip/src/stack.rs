//! What every leg and registration works with: transactions, timers, random values, the way out.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::Instant,
};

use bytes::Bytes;

use crate::{
    Counters, Destination, Direction, Event, LegId, Policy, TapRecord, Transport,
    core::{CoreConfig, Output, Transmit},
    random::Random,
    tap::redacted,
    timers::Timers,
    transactions::{ClientStore, ServerStore},
};

#[derive(Debug)]
pub(crate) struct Stack {
    pub config: CoreConfig,
    /// Apart from the rest, so that judging a request does not copy every user.
    pub policy: Arc<Policy>,
    /// The time of the input that is being handled.
    pub now: Instant,
    pub clients: ClientStore,
    pub servers: ServerStore,
    pub timers: Timers,
    pub random: Random,
    pub counters: Counters,
    pub out: VecDeque<Output>,
    /// Leg by Call-ID and our tag.
    dialogs: BTreeMap<String, LegId>,
    /// The caller is behind with events: nothing optional is reported.
    pub congested: bool,
}

impl Stack {
    pub fn new(mut config: CoreConfig, seed: u64, now: Instant) -> Stack {
        let policy = Arc::new(std::mem::take(&mut config.policy));
        Stack {
            config,
            policy,
            now,
            clients: ClientStore::default(),
            servers: ServerStore::default(),
            timers: Timers::default(),
            random: Random::new(seed),
            counters: Counters::default(),
            out: VecDeque::new(),
            dialogs: BTreeMap::new(),
            congested: false,
        }
    }

    pub fn event(&mut self, event: Event) {
        self.out.push_back(Output::Event(event));
    }

    pub fn transmit(&mut self, leg: Option<LegId>, to: Destination, bytes: Bytes) {
        let Some(local) = to.local.or_else(|| self.local_for(to.addr, to.transport)) else {
            self.counters.send_failed += 1;
            return;
        };
        self.counters.messages_sent += 1;
        self.tap(TapRecord {
            leg,
            at: self.now,
            direction: Direction::Sent,
            transport: to.transport,
            local,
            remote: to.addr,
            bytes: bytes.clone(),
        });
        self.out.push_back(Output::Transmit(Transmit {
            transport: to.transport,
            local,
            remote: to.addr,
            flow: to.flow,
            tls: to.tls,
            bytes,
        }));
    }

    pub fn tap(&mut self, mut record: TapRecord) {
        if self.congested {
            self.counters.events_dropped += 1;
            return;
        }
        record.bytes = redacted(&record.bytes);
        self.event(Event::Message(record));
    }

    /// The first listener from which `remote` can be reached.
    pub fn local_for(&self, remote: SocketAddr, transport: Transport) -> Option<SocketAddr> {
        let fits = |bound: SocketAddr| bound.is_ipv4() == remote.is_ipv4();
        let mut listeners = self.config.listeners.iter();
        listeners
            .find(|listener| listener.transport == transport && fits(listener.bound))
            .map(|listener| listener.bound)
    }

    /// The destination with its listener filled in; `None` where none of ours fits it.
    pub fn resolved(&self, destination: Destination) -> Option<Destination> {
        let local = match destination.local {
            Some(local) => self.is_bound(local, destination.transport).then_some(local),
            None => self.local_for(destination.addr, destination.transport),
        };
        local.map(|local| Destination { local: Some(local), ..destination })
    }

    /// Whether a listener is bound to exactly this address.
    pub fn is_bound(&self, local: SocketAddr, transport: Transport) -> bool {
        let mut listeners = self.config.listeners.iter();
        listeners.any(|listener| listener.transport == transport && listener.bound == local)
    }

    /// What peers are told instead of the bound address.
    pub fn public(&self, local: SocketAddr, transport: Transport) -> SocketAddr {
        let mut listeners = self.config.listeners.iter();
        listeners
            .find(|listener| listener.transport == transport && listener.bound == local)
            .map_or(local, |listener| listener.public)
    }

    /// A Via value for a request of ours (RFC 3261 §8.1.1.7, RFC 3581).
    pub fn via(&self, to: Destination, branch: u64) -> String {
        let public = self.public_of(to);
        let branch = crate::message::branch(branch);
        format!("SIP/2.0/{} {public};branch={branch};rport", to.transport.name())
    }

    /// A Contact value at which requests of the dialog reach this listener.
    pub fn contact(&self, user: &str, to: Destination) -> String {
        let public = self.public_of(to);
        let uri = crate::Uri::new(user, public.ip().to_string())
            .map(|uri| uri.with_port(public.port()).to_string())
            .unwrap_or_default();
        match to.transport {
            Transport::Udp => format!("<{uri}>"),
            Transport::Tcp => format!("<{uri};transport=tcp>"),
            Transport::Tls => format!("<{uri};transport=tls>"),
        }
    }

    fn public_of(&self, to: Destination) -> SocketAddr {
        let local = to.local.or_else(|| self.local_for(to.addr, to.transport));
        self.public(local.unwrap_or(to.addr), to.transport)
    }

    pub fn add_dialog(&mut self, call_id: &str, local_tag: &str, leg: LegId) {
        self.dialogs.insert(dialog_key(call_id, local_tag), leg);
    }

    /// Whether another leg has this Call-ID and tag already.
    pub fn has_dialog(&self, call_id: &str, local_tag: &str) -> bool {
        self.dialogs.contains_key(&dialog_key(call_id, local_tag))
    }

    pub fn remove_dialog(&mut self, call_id: &str, local_tag: &str) {
        self.dialogs.remove(&dialog_key(call_id, local_tag));
    }

    pub fn dialog(&self, call_id: &str, local_tag: &str) -> Option<LegId> {
        self.dialogs.get(&dialog_key(call_id, local_tag)).copied()
    }
}

fn dialog_key(call_id: &str, local_tag: &str) -> String {
    format!("{call_id}\n{local_tag}")
}
