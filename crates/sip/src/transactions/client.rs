//! Client transactions.
//!
//! INVITE:  Calling ──1xx──▶ Proceeding ──2xx──▶ Accepted ──M──▶ gone
//!              └──── 300–699 ────┴──▶ Completed (ACKs by itself) ──D──▶ gone
//! others:  Trying ──final──▶ Completed ──K──▶ gone
//! B, F or a hop that takes nothing: gone, and the owner is told; what a standstill of this process kept from being sent
//! again begins anew. Where the connection was lost under it, an INVITE may
//! have arrived and is taken back; another request is sent once more over a new one.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use bytes::Bytes;

use crate::{
    Destination, Event, LegId, ProbeId, RegistrationId, Transport, TransportFault,
    dialog::surplus_dialog,
    message::Response,
    stack::Stack,
    timers::{ClientTimer, GIVE_UP, T1, T2, T4, TimerHandle, TimerKey},
    writer::Writer,
};

mod lost_connection;
mod repeated;

/// A CANCEL shares the branch of its INVITE and is a transaction of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ClientKey {
    pub branch: u64,
    pub is_cancel: bool,
}

/// Who is told of responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    Leg(LegId, Purpose),
    Registration(RegistrationId),
    Probe(ProbeId),
    /// Nobody waits for it; the leg is where its messages are shown.
    Nobody(LegId),
}

impl Owner {
    pub fn leg(self) -> Option<LegId> {
        match self {
            Owner::Leg(leg, _) | Owner::Nobody(leg) => Some(leg),
            Owner::Registration(_) | Owner::Probe(_) => None,
        }
    }
}

/// What a leg sent the request for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Invite,
    Cancel,
    Bye,
    Prack,
    Offer,
    Refresh,
    Info,
}

/// Why no final response came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    Timeout,
    /// The time of an INVITE is over, and this process stood still when copies of it were due: an answer that was lost
    /// was not asked for again.
    NotRepeated,
    Transport(TransportFault),
}

#[derive(Debug)]
pub(crate) struct NewClient {
    pub key: ClientKey,
    pub owner: Owner,
    pub is_invite: bool,
    pub bytes: Bytes,
    pub to: Destination,
}

/// In trees, which give back what a rush took.
#[derive(Debug, Default)]
pub(crate) struct ClientStore {
    live: BTreeMap<ClientKey, Client>,
    refusals: Refusals,
    /// Refusals whose ACK waits for the caller, by their leg.
    owed: BTreeMap<LegId, ClientKey>,
}

/// When the ACK of a refused INVITE leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Refusals {
    #[default]
    AcknowledgedAtOnce,
    /// When the caller has settled the leg. Until then the far side keeps its transaction, so that the
    /// same INVITE, sent again after a crash, meets the same refusal and rings nobody.
    AcknowledgedWhenSettled,
}

#[derive(Debug)]
struct Client {
    owner: Owner,
    is_invite: bool,
    bytes: Bytes,
    to: Destination,
    /// It is not sent again once that would be longer after the last time.
    longest_interval: Duration,
    /// INVITE only: the CANCEL that the far side knew nothing to cancel for.
    cancel: Option<Bytes>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Sent; Calling and Trying of the RFC, and Proceeding of other methods than INVITE.
    Sent {
        interval: Duration,
        resend: Option<TimerHandle>,
        give_up: TimerHandle,
        connections: Connections,
        /// A copy left late, or not at all, because this process stood still.
        was_late: bool,
    },
    /// INVITE only: it rings as long as it likes.
    Proceeding,
    Completed {
        ack: FinalAck,
    },
    /// 2xx by the remote tag, with the ACK where it has left. Each further fork is acknowledged and
    /// hung up here, so that no leg has to outlive its call for it.
    Accepted {
        forks: BTreeMap<String, Option<Ack>>,
    },
}

/// Over which connection a request is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Connections {
    First,
    /// The first was lost under it, and with that, perhaps, the request.
    Second,
}

#[derive(Clone, Debug)]
enum FinalAck {
    /// Only an INVITE has one.
    None,
    /// It waits for the caller.
    Owed(Bytes),
    /// Sent again for each copy of the response.
    Sent(Bytes),
}

#[derive(Clone, Debug)]
struct Ack {
    bytes: Bytes,
    to: Destination,
}

/// More forks than this are not remembered, and so not hung up.
const MAX_FORKS: usize = 16;

/// An INVITE of an earlier process is sent again within 3.5 s only: later the far side may have
/// forgotten it, and it would ring anew.
const REPEATED: Duration = Duration::from_secs(2);

impl ClientStore {
    pub fn len(&self) -> usize {
        self.live.len()
    }

    pub fn owner(&self, key: ClientKey) -> Option<Owner> {
        self.live.get(&key).map(|client| client.owner)
    }

    /// Whether a copy is due that could not leave: this process stood still.
    pub fn is_overdue(&self, key: ClientKey, now: Instant) -> bool {
        let client = self.live.get(&key);
        client.is_some_and(|client| matches!(&client.state, State::Sent { resend: Some(resend), .. } if resend.at() < now))
    }

    /// Whether a provisional response has arrived: a CANCEL may follow (RFC 3261 §9.1).
    pub fn is_proceeding(&self, key: ClientKey) -> bool {
        let client = self.live.get(&key);
        client.is_some_and(|client| matches!(client.state, State::Proceeding))
    }
}

impl Stack {
    /// Sends a request and keeps at it until something answers.
    pub fn start_client(&mut self, new: NewClient) {
        self.send_client(new, Duration::MAX);
    }

    /// Sends the INVITE of an earlier process again, as a retransmission.
    pub fn repeat_client(&mut self, new: NewClient) {
        self.send_client(new, REPEATED);
    }

    fn send_client(&mut self, new: NewClient, longest_interval: Duration) {
        let resend = (!new.to.transport.is_reliable())
            .then(|| self.client_timer(new.key, ClientTimer::Resend, T1));
        let give_up = self.client_timer(new.key, ClientTimer::GiveUp, GIVE_UP);
        self.transmit(new.owner.leg(), new.to, new.bytes.clone());
        let connections = Connections::First;
        let state = State::Sent { interval: T1, resend, give_up, connections, was_late: false };
        self.insert_client(new, longest_interval, state);
    }

    /// An INVITE of an earlier process that may be ringing: nothing is sent, what comes is heard.
    pub fn adopt_client(&mut self, new: NewClient) {
        self.insert_client(new, Duration::ZERO, State::Proceeding);
    }

    fn insert_client(&mut self, new: NewClient, longest_interval: Duration, state: State) {
        let client = Client {
            owner: new.owner,
            is_invite: new.is_invite,
            bytes: new.bytes,
            to: new.to,
            longest_interval,
            cancel: None,
            state,
        };
        self.clients.live.insert(new.key, client);
    }

    /// Gives an INVITE up that nothing has answered: it is not sent again, and what still comes is
    /// taken back. Its peer may only be slow, and nobody is to be called by two of our INVITEs.
    pub fn give_up_invite(&mut self, key: ClientKey, leg: LegId) {
        let Some(client) = self.clients.live.get_mut(&key) else {
            return;
        };
        client.owner = Owner::Nobody(leg);
        if let State::Sent { resend, .. } = &mut client.state
            && let Some(resend) = resend.take()
        {
            self.timers.cancel(resend);
        }
    }

    /// Nobody waits for an INVITE any more that rings; what still comes is taken back.
    pub fn leave_behind(&mut self, key: ClientKey, leg: LegId) {
        self.give_up_invite(key, leg);
        self.client_timer(key, ClientTimer::Forget, GIVE_UP);
    }

    /// Forgets a transaction whose outcome no longer matters.
    pub fn drop_client(&mut self, key: ClientKey) {
        let Some(client) = self.clients.live.remove(&key) else {
            return;
        };
        self.stop_resending(&client.state);
    }

    /// Feeds a response in; `Some` where its owner is to see it.
    pub fn client_response(&mut self, key: ClientKey, response: &Response) -> Option<Owner> {
        let mut client = self.clients.live.remove(&key)?;
        let owner = client.owner;
        let deliver = if client.is_invite {
            self.invite_response(key, &mut client, response)
        } else {
            self.other_response(key, &mut client, response.status)
        };
        self.clients.live.insert(key, client);
        if key.is_cancel && response.status == 481 {
            self.cancel_again(key);
        }
        deliver.then_some(owner)
    }

    fn invite_response(
        &mut self,
        key: ClientKey,
        client: &mut Client,
        response: &Response,
    ) -> bool {
        let status = response.status;
        match &mut client.state {
            State::Sent { .. } | State::Proceeding => {
                if let (State::Sent { .. }, Owner::Leg(leg, Purpose::Invite)) =
                    (&client.state, client.owner)
                {
                    self.event(Event::Trying { leg });
                }
                self.stop_resending(&client.state);
                if let Owner::Nobody(leg) = client.owner
                    && status < 300
                {
                    self.unwanted(key, leg, client, response);
                } else if status < 200 {
                    client.state = State::Proceeding;
                } else if status < 300 {
                    let tag = response.to_tag.clone().unwrap_or_default();
                    let forks = BTreeMap::from([(tag, None)]);
                    client.state = State::Accepted { forks };
                    self.client_timer(key, ClientTimer::Forget, GIVE_UP);
                } else {
                    let ack = self.acknowledge_refusal(key, client, response);
                    client.state = State::Completed { ack };
                    let linger = linger(client.to.transport, GIVE_UP);
                    self.client_timer(key, ClientTimer::Forget, linger);
                }
                true
            }
            State::Completed { ack } => {
                if let (FinalAck::Sent(ack), true) = (&*ack, status >= 300) {
                    self.transmit(client.owner.leg(), client.to, ack.clone());
                }
                false
            }
            State::Accepted { forks } => {
                if (200..300).contains(&status) {
                    self.another_2xx(client.owner, &client.bytes, client.to, forks, response);
                }
                false
            }
        }
    }

    /// A challenge is acknowledged at once: what follows it is written before it is sent.
    fn acknowledge_refusal(
        &mut self,
        key: ClientKey,
        client: &Client,
        response: &Response,
    ) -> FinalAck {
        let ack = follow_up(&client.bytes, "ACK", Some(&response.to), None);
        let is_held = self.clients.refusals == Refusals::AcknowledgedWhenSettled
            && !client.to.transport.is_reliable()
            && !matches!(response.status, 401 | 407);
        match client.owner {
            Owner::Leg(leg, _) if is_held => {
                self.clients.owed.insert(leg, key);
                FinalAck::Owed(ack)
            }
            owner => {
                self.transmit(owner.leg(), client.to, ack.clone());
                FinalAck::Sent(ack)
            }
        }
    }

    /// From now on refusals are acknowledged by [`Stack::settle_refusal`].
    pub fn hold_refusals(&mut self) {
        self.clients.refusals = Refusals::AcknowledgedWhenSettled;
    }

    /// What the refusal of this leg means is on the caller's disk: its ACK may leave.
    pub fn settle_refusal(&mut self, leg: LegId) {
        let Some(key) = self.clients.owed.remove(&leg) else { return };
        let Some(client) = self.clients.live.get_mut(&key) else { return };
        if let State::Completed { ack: FinalAck::Owed(ack) } = &client.state {
            let (ack, to) = (ack.clone(), client.to);
            client.state = State::Completed { ack: FinalAck::Sent(ack.clone()) };
            self.transmit(Some(leg), to, ack);
        }
    }

    /// An INVITE that was given up answers after all: it is cancelled, and what was picked up is
    /// acknowledged and hung up.
    fn unwanted(&mut self, key: ClientKey, leg: LegId, client: &mut Client, response: &Response) {
        if response.status >= 200 {
            let mut forks = BTreeMap::new();
            self.another_2xx(client.owner, &client.bytes, client.to, &mut forks, response);
            client.state = State::Accepted { forks };
            self.client_timer(key, ClientTimer::Forget, GIVE_UP);
            return;
        }
        if matches!(client.state, State::Sent { .. }) {
            self.cancel_unwanted(key, leg, &client.bytes, client.to);
            client.state = State::Proceeding;
        }
    }

    /// A 2xx after the first: the same one again gets its ACK again (none before the caller has
    /// acknowledged), another fork's is acknowledged and hung up.
    fn another_2xx(
        &mut self,
        owner: Owner,
        invite: &Bytes,
        to: Destination,
        forks: &mut BTreeMap<String, Option<Ack>>,
        response: &Response,
    ) {
        let tag = response.to_tag.clone().unwrap_or_default();
        match forks.get(&tag) {
            Some(None) => {}
            Some(Some(ack)) => self.transmit(owner.leg(), ack.to, ack.bytes.clone()),
            None if forks.len() >= MAX_FORKS => {}
            None => {
                let Some(mut dialog) = surplus_dialog(self, owner, invite, to, response) else {
                    return;
                };
                let bytes = dialog.ack(self, dialog.invite_cseq, None, &[]);
                let to = dialog.destination();
                self.transmit(owner.leg(), to, bytes.clone());
                forks.insert(tag, Some(Ack { bytes, to }));
                if let Some(leg) = owner.leg() {
                    dialog.send_bye(self, Owner::Nobody(leg), None, &[]);
                }
            }
        }
    }

    fn other_response(&mut self, key: ClientKey, client: &mut Client, status: u16) -> bool {
        match &mut client.state {
            State::Sent { interval, .. } if status < 200 => {
                *interval = T2;
                true
            }
            State::Sent { .. } => {
                self.stop_resending(&client.state);
                client.state = State::Completed { ack: FinalAck::None };
                let linger = linger(client.to.transport, T4);
                self.client_timer(key, ClientTimer::Forget, linger);
                true
            }
            State::Proceeding | State::Completed { .. } | State::Accepted { .. } => false,
        }
    }

    /// Sends the ACK of a 2xx and keeps it for retransmissions of that 2xx.
    pub fn send_ack(
        &mut self,
        key: ClientKey,
        leg: LegId,
        tag: &str,
        bytes: Bytes,
        to: Destination,
    ) {
        self.transmit(Some(leg), to, bytes.clone());
        if let Some(client) = self.clients.live.get_mut(&key)
            && let State::Accepted { forks } = &mut client.state
        {
            forks.insert(tag.to_owned(), Some(Ack { bytes, to }));
        }
    }

    /// A due timer; `Some` where the owner's request has failed.
    pub fn client_due(
        &mut self,
        key: ClientKey,
        timer: ClientTimer,
        at: Instant,
    ) -> Option<(Owner, Failure)> {
        match timer {
            ClientTimer::Resend => {
                self.resend_request(key, at);
                None
            }
            ClientTimer::GiveUp => self.time_is_over(key),
            ClientTimer::CancelAgain => {
                self.cancel_client_again(key);
                None
            }
            ClientTimer::Forget => {
                let leg = self.clients.live.remove(&key).and_then(|client| client.owner.leg());
                if let Some(leg) = leg
                    && self.clients.owed.get(&leg) == Some(&key)
                {
                    self.clients.owed.remove(&leg);
                }
                None
            }
        }
    }

    fn cancel_unwanted(&mut self, key: ClientKey, leg: LegId, invite: &Bytes, to: Destination) {
        self.client_timer(key, ClientTimer::Forget, GIVE_UP);
        self.cancel_client(key, leg, cancel_of(invite), to);
    }

    /// Unless it is being cancelled already.
    fn cancel_client(&mut self, key: ClientKey, leg: LegId, bytes: Bytes, to: Destination) {
        let cancel = ClientKey { branch: key.branch, is_cancel: true };
        if self.clients.live.contains_key(&cancel) {
            return;
        }
        self.start_client(NewClient {
            key: cancel,
            owner: Owner::Nobody(leg),
            is_invite: false,
            bytes,
            to,
        });
    }

    fn stop_resending(&mut self, state: &State) {
        if let State::Sent { resend, give_up, .. } = state {
            resend.iter().for_each(|handle| self.timers.cancel(*handle));
            self.timers.cancel(*give_up);
        }
    }

    fn client_timer(&mut self, key: ClientKey, timer: ClientTimer, after: Duration) -> TimerHandle {
        let at = self.now + after;
        self.timers.set(at, TimerKey::Client(key, timer))
    }
}

/// Timers D and K are zero over a transport that delivers.
fn linger(transport: Transport, unreliable: Duration) -> Duration {
    if transport.is_reliable() { Duration::ZERO } else { unreliable }
}

fn cancel_of(invite: &Bytes) -> Bytes {
    follow_up(invite, "CANCEL", None, None)
}

/// The ACK of a refused INVITE, or its CANCEL: made from the INVITE's own lines (RFC 3261 §17.1.1.3,
/// §9.1), so that it also works for bytes that an earlier process wrote.
pub(crate) fn follow_up(
    invite: &[u8],
    method: &str,
    to: Option<&str>,
    reason: Option<&str>,
) -> Bytes {
    let text = String::from_utf8_lossy(invite);
    let mut lines = text.split("\r\n");
    let uri = lines.next().and_then(|line| line.split(' ').nth(1));
    let mut writer = Writer::request(method, uri.unwrap_or_default());
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ").unwrap_or((line, ""));
        writer = match name {
            "Via" | "From" | "Call-ID" | "Max-Forwards" | "Route" => writer.header(name, value),
            "To" => writer.header(name, to.unwrap_or(value)),
            "CSeq" => {
                let number = value.split(' ').next().unwrap_or_default();
                writer.header(name, format!("{number} {method}"))
            }
            _ => writer,
        };
    }
    writer.maybe("Reason", reason).finish(None)
}
