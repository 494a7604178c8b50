//! The pure core: what comes in is matched to transactions, dialogs and legs; what is to be sent
//! and reported comes out. Time is an argument.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Instant,
};

use bytes::Bytes;
use sipx_sip::Message;

use crate::{
    Command, Counters, End, EndedBy, Event, FlowId, Hop, LegId, Policy, TlsPeer, Transport,
    TransportFault,
    dialog::Dialog,
    legs::{self, Input, Leg, Outbound, Verb},
    message::Source,
    outside::Outside,
    probes::Probes,
    registrations::Registrations,
    stack::Stack,
    strangers::NOBODY_HERE,
    timers::TimerKey,
    transactions::{ClientKey, Failure, Owner},
};

mod receive;

/// A socket as the core knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoreListener {
    pub transport: Transport,
    /// The address that it is bound to.
    pub bound: SocketAddr,
    /// The address that peers are told: Via and Contact.
    pub public: SocketAddr,
}

#[derive(Clone, Debug)]
pub struct CoreConfig {
    pub listeners: Vec<CoreListener>,
    pub policy: Policy,
    /// User-Agent and Server; `None` says nothing.
    pub user_agent: Option<String>,
    /// Legs at a time above which new INVITEs get 503.
    pub max_legs: usize,
    /// Longest message in bytes, at most 65,535.
    pub max_message: usize,
}

/// One datagram, or one message framed out of a stream.
#[derive(Clone, Debug)]
pub struct Received {
    pub transport: Transport,
    /// The bound address of the listener.
    pub local: SocketAddr,
    pub remote: SocketAddr,
    /// The connection, for streams.
    pub flow: Option<FlowId>,
    pub bytes: Bytes,
}

/// One message to be sent: over `flow` where that is still open, else over any connection to
/// `remote`, else over a new one.
#[derive(Clone, Debug)]
pub struct Transmit {
    pub transport: Transport,
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub flow: Option<FlowId>,
    pub tls: Option<TlsPeer>,
    pub bytes: Bytes,
}

impl Transmit {
    pub(crate) fn hop(&self) -> Hop {
        Hop { transport: self.transport, remote: self.remote, tls: self.tls }
    }
}

#[derive(Clone, Debug)]
pub enum Output {
    Transmit(Transmit),
    Event(Event),
}

#[derive(Debug)]
pub struct Core {
    stack: Stack,
    legs: BTreeMap<LegId, Entry>,
    registrations: Registrations,
    probes: Probes,
    outside: Outside,
    inbound_legs: u64,
}

/// A leg with what the index of dialogs knows it by, which also survives a panic of the leg.
#[derive(Debug)]
struct Entry {
    leg: Leg,
    call_id: String,
    local_tag: String,
}

impl Core {
    /// `seed` makes tags, branches and nonces: from the operating system in production, fixed in
    /// simulated worlds.
    pub fn new(config: CoreConfig, seed: u64, now: Instant) -> Core {
        let mut stack = Stack::new(config, seed, now);
        // Ids of inbound legs are not those of an earlier process, whose dialogs may be on disk.
        let inbound_legs = stack.random.next() >> 2;
        let outside = Outside::new(&stack.policy);
        Core {
            stack,
            legs: BTreeMap::new(),
            registrations: Registrations::default(),
            probes: Probes::default(),
            outside,
            inbound_legs,
        }
    }

    pub fn command(&mut self, command: Command, now: Instant) {
        self.handle_timeout(now);
        match command {
            Command::Prepare(invite) => {
                self.open(invite.leg, |stack| Outbound::prepare(*invite, stack));
            }
            Command::Resume { wire, credentials } => {
                self.open(wire.leg, |stack| Outbound::resume(*wire, credentials, stack));
            }
            Command::Abandon { wire } => {
                self.open(wire.leg, |stack| Outbound::abandon(*wire, stack));
            }
            Command::HangUpDialog { dialog, credentials, cause } => {
                self.open(dialog.leg, |stack| {
                    let dialog = Dialog::restored(*dialog);
                    Some(legs::hang_up_dialog(dialog, credentials, cause, stack))
                })
            }
            Command::Send { leg } => self.tell(leg, Verb::Send),
            Command::Acknowledge { leg, body } => self.tell(leg, Verb::Acknowledge(body)),
            Command::Ring { leg, body } => self.tell(leg, Verb::Provisional(180, body)),
            Command::Progress { leg, body } => self.tell(leg, Verb::Provisional(183, body)),
            Command::Answer { leg, body } => self.tell(leg, Verb::Answer(body)),
            Command::PrepareAnswer { leg, body } => self.tell(leg, Verb::PrepareAnswer(body)),
            Command::SendAnswer { leg } => self.tell(leg, Verb::SendAnswer),
            Command::TurnAway { leg } => {
                self.outside.strangers.turned_away(leg, &mut self.stack);
                self.tell(leg, Verb::refuse(NOBODY_HERE));
            }
            Command::AnswerWhenCancelled { leg, body } => {
                self.tell(leg, Verb::AnswerWhenCancelled(body));
            }
            Command::Refuse { leg, status, reason, headers } => {
                self.tell(leg, Verb::Refuse { status, reason, headers })
            }
            Command::AnswerOffer { leg, body } => self.tell(leg, Verb::AnswerOffer(body)),
            Command::RefuseOffer { leg, status } => self.tell(leg, Verb::RefuseOffer(status)),
            Command::Offer { leg, body } => self.tell(leg, Verb::Offer(body)),
            Command::HangUp { leg, cause } => self.tell(leg, Verb::HangUp(cause)),
            Command::Info { leg, body } => self.tell(leg, Verb::Info(body)),
            Command::Register(wanted) => self.registrations.register(*wanted, &mut self.stack),
            Command::Unregister { id } => self.registrations.unregister(id, &mut self.stack),
            Command::Probe(probe) => self.probes.ask(*probe, &mut self.stack),
            Command::Respond { request, status, headers, body } => {
                let stack = &mut self.stack;
                self.outside.respond(request, status, &headers, body.as_ref(), stack);
            }
            Command::HoldRefusals => self.stack.hold_refusals(),
            Command::Settle { leg } => self.stack.settle_refusal(leg),
            Command::SetUsers(users) => {
                self.outside.registrar.set_users(users, &mut self.stack);
            }
            Command::SetUser { user, login } => {
                self.outside.registrar.set_user(user, login, &mut self.stack);
            }
            Command::Restore { user, bindings } => {
                self.outside.registrar.restore(&user, bindings, &mut self.stack);
            }
            Command::Trust { sources } => self.outside.strangers.trust(sources),
            Command::Drain => self.outside.is_draining = true,
        }
    }

    /// Takes one datagram or framed message. Whatever it holds, nothing worse happens than that it
    /// is counted and dropped.
    pub fn received(&mut self, received: Received, now: Instant) {
        self.handle_timeout(now);
        self.stack.counters.messages_received += 1;
        if received.bytes.iter().all(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
            return;
        }
        if received.bytes.len() > self.stack.config.max_message {
            self.stack.counters.oversize += 1;
            return;
        }
        let limits = sipx_sip::Limits::datagram();
        let source = Source::of(&received);
        match sipx_sip::parse_datagram(received.bytes.clone(), &limits) {
            Ok(Message::Request(request)) => self.request(request, source, received.bytes),
            Ok(Message::Response(response)) => self.response(response, source, received.bytes),
            Err(_) if has_bare_line_feed(&received.bytes) => {
                self.stack.counters.bare_line_feed += 1;
            }
            Err(_) => self.stack.counters.malformed += 1,
        }
    }

    /// Messages to `hop` can no longer be delivered, or its connection broke ([`TransportFault::Lost`]): requests that
    /// nothing has answered fail. Where the connection broke, an INVITE is taken back, as it may have arrived, and
    /// another request is first sent once more over a new one.
    pub fn transport_failed(&mut self, hop: Hop, fault: TransportFault, now: Instant) {
        self.handle_timeout(now);
        for (key, owner) in self.stack.fail_clients(hop, fault) {
            self.failed(key, owner, Failure::Transport(fault));
        }
    }

    /// A connection is gone: phones that were reached over it are not any more. What was asked over it
    /// fails by [`Core::transport_failed`].
    pub fn flow_lost(&mut self, flow: FlowId, now: Instant) {
        self.handle_timeout(now);
        self.outside.registrar.flow_lost(flow, &mut self.stack);
    }

    /// Fires every timer that is due, each at its own time.
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, key)) = self.stack.timers.pop(now) {
            self.stack.now = self.stack.now.max(at);
            match key {
                TimerKey::Client(key, timer) => {
                    if let Some((owner, failure)) = self.stack.client_due(key, timer, at) {
                        self.failed(key, owner, failure);
                    }
                }
                TimerKey::Server(id, timer) => self.stack.server_due(id, timer, at),
                TimerKey::Leg(leg, timer) => self.with_leg(leg, Input::Due { timer, at }),
                TimerKey::Registration(id) => self.registrations.due(id, &mut self.stack),
                TimerKey::Probe(id) => self.probes.due(id, &mut self.stack),
                TimerKey::Unanswered(id) => self.outside.unanswered(id, &mut self.stack),
                TimerKey::Undecided(leg) => self.tell(leg, Verb::refuse(480)),
                TimerKey::Binding(id) => self.outside.registrar.due(id, &mut self.stack),
            }
        }
        self.stack.now = self.stack.now.max(now);
    }

    /// When [`Core::handle_timeout`] is to be called at the latest.
    pub fn wake_at(&self) -> Option<Instant> {
        self.stack.timers.earliest()
    }

    /// What is to be done, in order; `None` when nothing is left.
    pub fn poll(&mut self) -> Option<Output> {
        self.stack.out.pop_front()
    }

    /// While the caller is behind, nothing optional is reported and no new call is let in.
    pub fn set_congested(&mut self, congested: bool) {
        self.stack.congested = congested;
    }

    pub fn counters(&self) -> Counters {
        self.stack.counters
    }

    pub(crate) fn counters_mut(&mut self) -> &mut Counters {
        &mut self.stack.counters
    }

    /// Legs, transactions and timers that are alive: zero once everything has run out.
    pub fn load(&self) -> (usize, usize, usize) {
        let transactions = self.stack.clients.len() + self.stack.servers.len();
        (self.legs.len(), transactions, self.stack.timers.len())
    }

    fn failed(&mut self, key: ClientKey, owner: Owner, failure: Failure) {
        match owner {
            Owner::Leg(leg, purpose) => self.with_leg(leg, Input::Failed { key, purpose, failure }),
            Owner::Registration(id) => {
                self.registrations.request_failed(id, failure, &mut self.stack);
            }
            Owner::Probe(id) => self.probes.request_failed(id, key, failure, &mut self.stack),
            Owner::Nobody(_) => {}
        }
    }

    fn tell(&mut self, leg: LegId, verb: Verb) {
        if leg.is_inbound() {
            self.outside.strangers.decided(leg, &mut self.stack);
        }
        self.with_leg(leg, Input::Command(verb));
    }

    /// Makes a leg with an id of the caller's.
    fn open(&mut self, id: LegId, make: impl FnOnce(&mut Stack) -> Option<Leg>) {
        if self.legs.contains_key(&id) {
            tracing::error!(leg = id.0, "the caller used a leg id twice; the command is ignored");
            return;
        }
        if let Some(leg) = make(&mut self.stack) {
            self.insert(id, leg);
        }
    }

    fn insert(&mut self, id: LegId, leg: Leg) {
        let (call_id, local_tag) = leg.identity();
        let (call_id, local_tag) = (call_id.to_owned(), local_tag.to_owned());
        let entry = Entry { leg, call_id, local_tag };
        self.legs.insert(id, entry);
    }

    /// Lets one leg handle one input. A broken invariant costs this leg and no other.
    fn with_leg(&mut self, id: LegId, input: Input) {
        let Some(entry) = self.legs.remove(&id) else {
            self.orphaned(input);
            return;
        };
        let Entry { leg, call_id, local_tag } = entry;
        let was_live = leg.is_live();
        let stack = &mut self.stack;
        match catch_unwind(AssertUnwindSafe(|| leg.handle(input, stack))) {
            Ok(Some(leg)) => {
                let entry = Entry { leg, call_id, local_tag };
                self.legs.insert(id, entry);
            }
            Ok(None) => {
                self.outside.strangers.over(id, &mut self.stack);
                self.stack.remove_dialog(&call_id, &local_tag);
            }
            Err(_) => {
                self.outside.strangers.over(id, &mut self.stack);
                self.stack.counters.panics += 1;
                self.stack.remove_dialog(&call_id, &local_tag);
                tracing::error!(leg = id.0, "a broken invariant cost this SIP leg");
                if was_live {
                    let end = End {
                        status: None,
                        reason: "internal error in the SIP core".to_owned(),
                        by: EndedBy::Core,
                        q850: None,
                        retry_after: None,
                        was_ringing: false,
                        contacts: Vec::new(),
                    };
                    self.stack.event(Event::Ended { leg: id, end });
                }
            }
        }
    }

    /// An input for a leg that is gone: a request still gets its answer.
    fn orphaned(&mut self, input: Input) {
        if let Input::Request { server: Some(server), .. } = input {
            self.stack.respond(server, 481, None, &[], None);
        }
    }
}

fn has_bare_line_feed(bytes: &[u8]) -> bool {
    let mut previous = 0;
    bytes.iter().any(|byte| {
        let bare = *byte == b'\n' && previous != b'\r';
        previous = *byte;
        bare
    })
}
