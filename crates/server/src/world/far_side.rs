//! A far side made of the same SIP core, with the people behind it: the carrier, a softphone, the program
//! of somebody who calls in. It knows what no server may do to it: ring twice for one attempt.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use sip::{
    AcceptInvites, AcceptRegister, Body, Command, Core, Credentials, Destination, DigestPolicy,
    DigestUser, EndedBy, Event, Failover, HangUpCause, IncomingCall, Invite, LegId, Output,
    OutsideRequest, Policy, Registration, RegistrationId, TlsPeer, Transport, Uri,
};

use super::agenda::Agenda;
use super::cast::{
    CARRIER, CUSTOMER, Charter, FRAGILE_PLACE, PASSWORD, REALM, SERVER, Seat, Side, USER, address,
};
use super::habits::{self, Act, Plan};
use super::link::{Arrived, Link};
use super::nature::Nature;
use super::server::core_config;
use super::witness::serial_of;

/// A softphone stops ringing by itself after this time.
const PHONE_RINGS: Duration = Duration::from_secs(180);

pub struct FarSide {
    pub side: Side,
    charter: Charter,
    core: Core,
    /// From where it calls, and as whom.
    address: SocketAddr,
    transport: Transport,
    number: &'static str,
    todo: Agenda<(LegId, Act)>,
    /// By the leg's number, so in the order in which they came.
    pub dialogs: BTreeMap<LegId, Dialog>,
    pub calls: BTreeMap<LegId, Call>,
    pub takes_registrations: bool,
    /// Each phone rings for long.
    pub everyone_is_slow: bool,
    /// The serials of those that answered just now.
    pub answered: Vec<u64>,
    /// Its registration, where its connection was lost.
    registers_at: Option<Duration>,
    is_home: bool,
}

/// One call as the far side saw it that was rung.
#[derive(Debug)]
pub struct Dialog {
    pub call_id: String,
    /// Where its INVITE came in.
    place: SocketAddr,
    pub began: Duration,
    /// The call that it belongs to, as its Call-ID says.
    pub serial: u64,
    pub fate: Fate,
    pub ended: Option<Ended>,
}

/// How a leg ended at the far side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    pub at: Duration,
    /// The far side itself hung up.
    pub by_itself: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Not decided here yet.
    Open,
    /// Refused by us, or taken back by the caller before an answer.
    Refused,
    /// Or it would be, by a cancel.
    Answered,
    /// Answered, and the caller confirmed it.
    Confirmed,
}

/// A call that the far side made.
#[derive(Debug)]
pub struct Call {
    pub call_id: String,
    pub errand: Errand,
    pub dialled_ms: i64,
    /// The highest status that came before a refusal.
    pub heard: u16,
    pub refused: Option<u16>,
    pub ended: Option<Ended>,
}

/// Why somebody calls the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Errand {
    /// With the code of a call that was accepted, good until then (ms since 1970).
    Code { code: String, valid_until_ms: i64 },
    /// With a code that nobody was given.
    Guess(String),
    /// To a virtual number, as this party.
    Virtual { x: String, from: String },
}

impl Errand {
    pub fn number(&self) -> &str {
        match self {
            Errand::Code { code, .. } => code,
            Errand::Guess(code) => code,
            Errand::Virtual { x, .. } => x,
        }
    }
}

impl FarSide {
    pub fn carrier(charter: Charter, seed: u64, challenges: bool, nature: &Nature) -> FarSide {
        let login = DigestPolicy {
            realm: "carrier".to_owned(),
            users: BTreeMap::from([(
                USER.to_owned(),
                DigestUser::from_password(USER, "carrier", PASSWORD),
            )]),
        };
        let policy = Policy {
            accept_invites: match challenges {
                true => AcceptInvites::Digest(login),
                false => AcceptInvites::Open,
            },
            accept_register: AcceptRegister::Open,
            ..Policy::default()
        };
        let seat = Seat { number: USER, address: CARRIER, transport: Transport::Udp };
        let places: &[&str] = match charter {
            Charter::Notifications => &[CARRIER],
            Charter::EveryKind | Charter::Silence => &[CARRIER, FRAGILE_PLACE],
        };
        let config = core_config(charter, places, policy);
        FarSide::new(Side::Carrier, charter, &seat, Core::new(config, seed, nature.instant()))
    }

    /// A softphone, or a program that calls in; both take whatever comes.
    pub fn seated(charter: Charter, side: Side, seat: &Seat, nature: &mut Nature) -> FarSide {
        let policy = Policy { accept_invites: AcceptInvites::Open, ..Policy::default() };
        let config = core_config(charter, &[seat.address], policy);
        let core = Core::new(config, nature.dice.next(), nature.instant());
        FarSide::new(side, charter, seat, core)
    }

    fn new(side: Side, charter: Charter, seat: &Seat, core: Core) -> FarSide {
        FarSide {
            side,
            charter,
            core,
            address: address(seat.address),
            transport: seat.transport,
            number: seat.number,
            todo: Agenda::default(),
            dialogs: BTreeMap::new(),
            calls: BTreeMap::new(),
            takes_registrations: true,
            everyone_is_slow: false,
            answered: Vec::new(),
            registers_at: None,
            is_home: true,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn next(&self, nature: &Nature) -> Option<Duration> {
        let core = self.core.wake_at().map(|at| nature.since_begin(at));
        core.into_iter().chain(self.todo.next()).chain(self.registers_at).min()
    }

    pub fn step(&mut self, link: &mut Link, nature: &mut Nature) {
        self.core.handle_timeout(nature.instant());
        self.collect(link, nature);
        if self.registers_at.take_if(|at| *at <= nature.now).is_some() && !self.is_home {
            self.registers(link, nature);
        }
        while let Some((leg, act)) = self.todo.take(nature.now) {
            self.act(leg, act, link, nature);
            self.collect(link, nature);
        }
    }

    pub fn takes(&mut self, arrived: Arrived, link: &mut Link, nature: &mut Nature) {
        if let Arrived::Lost(..) = arrived {
            // As phones do whose connection to the registrar is gone.
            self.registers_at = Some(nature.in_ms(500, 3_000));
        }
        arrived.reach(&mut self.core, nature.instant());
        self.collect(link, nature);
    }

    /// What rings at a place is over there.
    pub fn stops_ringing_at(&mut self, place: SocketAddr, link: &mut Link, nature: &mut Nature) {
        let ringing = self.dialogs.iter().filter(|(_, of)| of.place == place);
        let ringing: Vec<LegId> = ringing.map(|(leg, _)| *leg).collect();
        for leg in ringing {
            self.act(leg, Act::StopRinging, link, nature);
        }
        self.collect(link, nature);
    }

    /// Legs and transactions that are alive.
    pub fn load(&self) -> (usize, usize) {
        let (legs, transactions, _) = self.core.load();
        (legs, transactions)
    }

    pub fn panics(&self) -> u64 {
        self.core.counters().panics
    }

    /// A softphone goes to work: it registers, and stays so.
    pub fn registers(&mut self, link: &mut Link, nature: &mut Nature) {
        self.is_home = false;
        let registration = Registration {
            id: RegistrationId(1),
            registrar: self.to_server(),
            aor: Uri::new(self.number, "192.0.2.1").expect("digits"),
            contact_user: self.number.to_owned(),
            credentials: self.credentials(),
            expires: 60 + nature.dice.below(60) as u32,
        };
        nature.say(format_args!("{:?} registers", self.side));
        self.core.command(Command::Register(Box::new(registration)), nature.instant());
        self.collect(link, nature);
    }

    /// It unregisters.
    pub fn goes_home(&mut self, link: &mut Link, nature: &mut Nature) {
        if !std::mem::replace(&mut self.is_home, true) {
            nature.say(format_args!("{:?} goes home", self.side));
            let command = Command::Unregister { id: RegistrationId(1) };
            self.core.command(command, nature.instant());
            self.collect(link, nature);
        }
    }

    /// Somebody here calls the server.
    pub fn dial(&mut self, errand: Errand, link: &mut Link, nature: &mut Nature) -> LegId {
        let leg = LegId(self.calls.len() as u64 + 1);
        let from = match &errand {
            Errand::Virtual { from, .. } => from.clone(),
            Errand::Code { .. } | Errand::Guess(_) => self.number.to_owned(),
        };
        nature.say(format_args!("{} calls {} as {from}", self.side.name(), errand.number()));
        let call_id = format!("{}-{}-{:x}", self.side.name(), leg.0, nature.dice.next());
        let silent = habits::silence(self.charter, &mut nature.dice);
        let uri = |user: &str| Uri::new(user, "192.0.2.1").expect("digits");
        let invite = Invite {
            leg,
            destination: self.to_server(),
            request_uri: uri(errand.number()),
            from: uri(&from).into(),
            to: uri(errand.number()).into(),
            p_asserted_identity: None,
            call_id: call_id.clone(),
            from_tag: format!("{:x}", nature.dice.next()),
            credentials: self.credentials().filter(|_| matches!(self.side, Side::Phone(_))),
            failover: Failover::default(),
            session_expires: None,
            headers: Vec::new(),
            body: Some(Body::sdp(description("the caller's offer", silent))),
        };
        let dialled_ms = nature.wall_ms();
        let (heard, refused, ended) = (0, None, None);
        let call = Call { call_id, errand, dialled_ms, heard, refused, ended };
        if let Some(loss) = habits::loss(&mut nature.dice) {
            link.begrudge(&call.call_id, loss);
        }
        self.calls.insert(leg, call);
        self.core.command(Command::Prepare(Box::new(invite)), nature.instant());
        if let Some(after) = silent {
            self.later(leg, Act::FallSilent, after, after, nature);
        }
        let patience = if nature.dice.percent(20) { 3_000 } else { 60_000 };
        self.later(leg, Act::GiveUp, 0, patience, nature);
        self.collect(link, nature);
        leg
    }

    /// Whoever has this leg leaves it now or within 60 ms.
    pub fn leaves(&mut self, leg: LegId, nature: &mut Nature) {
        self.later(leg, Act::HangUp, 0, 60, nature);
    }

    fn to_server(&self) -> Destination {
        let (local, tls) = (Some(self.address), TlsPeer(1));
        let tls = (self.transport == Transport::Tls).then_some(tls);
        Destination { local, tls, ..Destination::new(address(SERVER), self.transport) }
    }

    fn credentials(&self) -> Option<Credentials> {
        let (username, password) = (self.number.to_owned(), PASSWORD.to_owned());
        Some(Credentials { username, password, realm: Some(REALM.to_owned()) })
    }

    fn collect(&mut self, link: &mut Link, nature: &mut Nature) {
        while let Some(output) = self.core.poll() {
            match output {
                Output::Transmit(message) => link.send(message, nature),
                Output::Event(event) => self.event(event, link, nature),
            }
        }
    }

    fn event(&mut self, event: Event, link: &mut Link, nature: &mut Nature) {
        match event {
            Event::Incoming { leg, request } => self.rings(leg, &request, link, nature),
            Event::Prepared { leg, .. } | Event::Challenged { leg, .. } => {
                self.core.command(Command::Send { leg }, nature.instant());
            }
            Event::Provisional { leg, status, .. } => self.hears(leg, status),
            Event::Answered { leg, .. } => {
                self.hears(leg, 200);
                self.core.command(Command::Acknowledge { leg, body: None }, nature.instant());
                self.begins_to_talk(leg, nature);
            }
            Event::Confirmed { leg, .. } => {
                self.settle(leg, Fate::Confirmed);
                self.begins_to_talk(leg, nature);
            }
            Event::Ended { leg, end } => {
                let words = (self.side.name(), leg.0 & 0xFFFF, end.by);
                nature.say(format_args!("{}: leg {} ended by {:?}", words.0, words.1, words.2));
                let by_itself = end.by == EndedBy::Us;
                let ended = Some(Ended { at: nature.now, by_itself });
                if let Some(dialog) = self.dialogs.get_mut(&leg) {
                    dialog.ended = ended;
                    if dialog.fate == Fate::Open {
                        dialog.fate = Fate::Refused;
                    }
                }
                if let Some(call) = self.calls.get_mut(&leg) {
                    (call.ended, call.refused) = (ended, end.status);
                }
            }
            Event::Offered { leg, .. } => {
                let body = Some(Body::sdp("their answer"));
                self.core.command(Command::AnswerOffer { leg, body }, nature.instant());
            }
            Event::Request(request) => self.register(&request, nature),
            Event::Answering { .. }
            | Event::Refreshed { .. }
            | Event::Bound { .. }
            | Event::Keep { .. }
            | Event::OfferAnswered { .. }
            | Event::OfferRefused { .. }
            | Event::NoAck { .. }
            | Event::Info { .. }
            | Event::Registered { .. }
            | Event::RegistrationFailed { .. }
            | Event::Unregistered { .. }
            | Event::Retried { .. }
            | Event::Trying { .. }
            | Event::Probed { .. }
            | Event::Message(_) => {}
        }
    }

    /// Whoever hears nothing more hangs up in the end.
    fn begins_to_talk(&mut self, leg: LegId, nature: &mut Nature) {
        if self.charter.has_every_kind() {
            let plan = habits::of_talking(self.charter, &mut nature.dice);
            return self.plan(leg, plan, nature);
        }
        self.later(leg, Act::HangUp, 500, 90_000, nature);
        if nature.dice.percent(15) {
            self.later(leg, Act::Digit, 100, 4_000, nature);
        }
        if nature.dice.percent(10) {
            self.later(leg, Act::Offer, 100, 3_000, nature);
        }
    }

    fn rings(&mut self, leg: LegId, request: &IncomingCall, link: &mut Link, nature: &mut Nature) {
        let call_id = request.call_id.clone();
        let number = request.request_user.clone();
        nature.say(format_args!("{}: a call for {number}, {call_id}", self.side.name()));
        let serial = serial_of(&call_id).expect("our Call-IDs begin with the serial").0;
        let twice = self.dialogs.values().any(|earlier| earlier.call_id == call_id);
        assert!(!twice, "P3: one attempt rang twice");
        let (fate, ended, began) = (Fate::Open, None, nature.now);
        let place = request.local;
        self.dialogs.insert(leg, Dialog { call_id, place, began, serial, fate, ended });
        let plan = match self.charter {
            Charter::Notifications => habits::of_notified(self.everyone_is_slow, &mut nature.dice),
            Charter::EveryKind | Charter::Silence => {
                if let Some(loss) = habits::loss(&mut nature.dice) {
                    link.begrudge(&request.call_id, loss);
                }
                habits::of_party(self.everyone_is_slow, &mut nature.dice)
            }
        };
        self.plan(leg, plan, nature);
        if let Side::Phone(_) = self.side {
            // What a CANCEL would say cannot reach it where its connection is gone.
            self.todo.put(nature.now + PHONE_RINGS, (leg, Act::StopRinging));
        }
    }

    fn plan(&mut self, leg: LegId, plan: Plan, nature: &mut Nature) {
        for (act, low, high) in plan {
            self.later(leg, act, low, high, nature);
        }
    }

    fn later(&mut self, leg: LegId, act: Act, low_ms: u64, high_ms: u64, nature: &mut Nature) {
        let at = nature.in_ms(low_ms, high_ms);
        self.todo.put(at, (leg, act));
    }

    fn act(&mut self, leg: LegId, act: Act, link: &mut Link, nature: &mut Nature) {
        nature.say(format_args!("{}: leg {} {act:?}", self.side.name(), leg.0 & 0xFFFF));
        let fate = self.dialogs.get(&leg).map(|dialog| dialog.fate);
        let body = |text: &'static str| Some(Body::sdp(text));
        let command = match act {
            Act::Ring => Command::Ring { leg, body: None },
            Act::EarlyMedia => Command::Progress { leg, body: body("their early description") },
            Act::Answer => Command::Answer { leg, body: Some(self.answer(leg, nature)) },
            Act::AnswerWithoutDescription => Command::Answer { leg, body: None },
            Act::AnswerInAStrangeCodec => Command::Answer { leg, body: body("no codec of ours") },
            Act::AnswerWhenCancelled => {
                Command::AnswerWhenCancelled { leg, body: body("their description") }
            }
            Act::Refuse(status) => {
                Command::Refuse { leg, status, reason: None, headers: Vec::new() }
            }
            Act::Redirect { allowed } => redirect(leg, allowed),
            Act::Offer => Command::Offer { leg, body: Body::sdp("their new description") },
            Act::Hold => Command::Offer { leg, body: Body::sdp("their description on hold") },
            Act::Digit => Command::Info {
                leg,
                body: Body {
                    content_type: "application/dtmf-relay".to_owned(),
                    bytes: "Signal=5\r\nDuration=160\r\n".into(),
                },
            },
            Act::GiveUp if self.calls.get(&leg).is_some_and(|call| call.heard >= 200) => return,
            Act::HangUp | Act::GiveUp => Command::HangUp { leg, cause: HangUpCause::Normal },
            // Whoever has answered meanwhile does not hear of it.
            Act::StopRinging => {
                Command::Refuse { leg, status: 480, reason: None, headers: Vec::new() }
            }
            Act::FallSilent => return self.falls_silent(leg, link),
        };
        match (act, fate) {
            (Act::Refuse(_) | Act::Redirect { .. }, Some(Fate::Open)) => {
                self.settle(leg, Fate::Refused);
            }
            (
                Act::Answer
                | Act::AnswerWithoutDescription
                | Act::AnswerInAStrangeCodec
                | Act::AnswerWhenCancelled,
                Some(Fate::Open),
            ) => {
                self.settle(leg, Fate::Answered);
                self.answered.extend(self.dialogs.get(&leg).map(|dialog| dialog.serial));
            }
            (_, _) => {}
        }
        self.core.command(command, nature.instant());
    }

    fn answer(&mut self, leg: LegId, nature: &mut Nature) -> Body {
        let silent = habits::silence(self.charter, &mut nature.dice);
        if let Some(after) = silent {
            self.later(leg, Act::FallSilent, after, after, nature);
        }
        Body::sdp(description("their description", silent))
    }

    fn falls_silent(&self, leg: LegId, link: &mut Link) {
        let rung = self.dialogs.get(&leg).map(|dialog| &dialog.call_id);
        let call_id = rung.or_else(|| self.calls.get(&leg).map(|call| &call.call_id));
        if let Some(call_id) = call_id {
            link.silence(call_id);
        }
    }

    fn hears(&mut self, leg: LegId, status: u16) {
        if let Some(call) = self.calls.get_mut(&leg) {
            call.heard = call.heard.max(status);
        }
    }

    fn settle(&mut self, leg: LegId, fate: Fate) {
        if let Some(dialog) = self.dialogs.get_mut(&leg) {
            dialog.fate = fate;
        }
    }

    fn register(&mut self, request: &OutsideRequest, nature: &mut Nature) {
        let contact = request.headers.iter().find(|(name, _)| name == "Contact").cloned();
        let (status, headers) = match (self.takes_registrations, contact) {
            (true, Some((name, contact))) => (200, vec![(name, format!("{contact};expires=3600"))]),
            (true, None) => (400, Vec::new()),
            (false, _) => (503, vec![("Retry-After".to_owned(), "10".to_owned())]),
        };
        nature.say(format_args!("carrier: REGISTER is answered {status}"));
        let command = Command::Respond { request: request.id, status, headers, body: None };
        self.core.command(command, nature.instant());
    }
}

fn redirect(leg: LegId, allowed: bool) -> Command {
    let prefix = if allowed { CUSTOMER } else { "00" };
    let contact = format!("<sip:{prefix}77@192.0.2.99>");
    let headers = vec![("Contact".to_owned(), contact)];
    Command::Refuse { leg, status: 302, reason: None, headers }
}

/// What `ports.rs` reads: who talks, and after how many ms no more is heard.
fn description(text: &str, silent_after_ms: Option<u64>) -> String {
    match silent_after_ms {
        Some(ms) => format!("{text}, silent after {ms}"),
        None => text.to_owned(),
    }
}
