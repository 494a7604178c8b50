//! The far side: a carrier made of the same SIP core, and the people whom it rings. It knows what no
//! server may do to it: ring twice for one attempt.

use std::collections::BTreeMap;
use std::time::Duration;

use sip::{
    AcceptInvites, AcceptRegister, Body, Command, Core, DigestPolicy, DigestUser, Event,
    HangUpCause, IncomingCall, LegId, Output, OutsideRequest, Policy, Received,
};

use super::agenda::Agenda;
use super::link::{Link, Side};
use super::nature::Nature;
use super::server::{CARRIER, PASSWORD, USER, core_config};

pub struct Carrier {
    core: Core,
    todo: Agenda<(LegId, Act)>,
    /// By the leg's number, so in the order in which they came.
    pub dialogs: BTreeMap<LegId, Dialog>,
    pub takes_registrations: bool,
    /// Each phone rings for long.
    pub everyone_is_slow: bool,
}

/// One call as the far side saw it.
#[derive(Debug)]
pub struct Dialog {
    pub call_id: String,
    /// The call that it belongs to, as its Call-ID says.
    pub serial: u64,
    pub fate: Fate,
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

#[derive(Debug, Clone, Copy)]
enum Act {
    Ring,
    EarlyMedia,
    Answer,
    AnswerWithoutDescription,
    AnswerInAStrangeCodec,
    AnswerWhenCancelled,
    Refuse(u16),
    Offer,
    Digit,
    HangUp,
}

impl Carrier {
    pub fn new(seed: u64, challenges: bool, nature: &Nature) -> Carrier {
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
        Carrier {
            core: Core::new(core_config(CARRIER, policy), seed, nature.instant()),
            todo: Agenda::default(),
            dialogs: BTreeMap::new(),
            takes_registrations: true,
            everyone_is_slow: false,
        }
    }

    pub fn next(&self, nature: &Nature) -> Option<Duration> {
        let core = self.core.wake_at().map(|at| nature.since_begin(at));
        core.into_iter().chain(self.todo.next()).min()
    }

    pub fn step(&mut self, link: &mut Link, nature: &mut Nature) {
        self.core.handle_timeout(nature.instant());
        self.collect(link, nature);
        while let Some((leg, act)) = self.todo.take(nature.now) {
            self.act(leg, act, nature);
            self.collect(link, nature);
        }
    }

    pub fn received(&mut self, received: Received, link: &mut Link, nature: &mut Nature) {
        self.core.received(received, nature.instant());
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

    fn collect(&mut self, link: &mut Link, nature: &mut Nature) {
        while let Some(output) = self.core.poll() {
            match output {
                Output::Transmit(message) => link.send(Side::Server, message, nature),
                Output::Event(event) => self.event(event, nature),
            }
        }
    }

    fn event(&mut self, event: Event, nature: &mut Nature) {
        match event {
            Event::Incoming { leg, request } => self.rings(leg, &request, nature),
            Event::Confirmed { leg, .. } => {
                self.settle(leg, Fate::Confirmed);
                // Whoever hears nothing more hangs up in the end.
                self.later(leg, Act::HangUp, 500, 90_000, nature);
                if nature.dice.percent(15) {
                    self.later(leg, Act::Digit, 100, 4_000, nature);
                }
                if nature.dice.percent(10) {
                    self.later(leg, Act::Offer, 100, 3_000, nature);
                }
            }
            Event::Ended { leg, end } => {
                nature.say(format_args!("carrier: leg {} ended by {:?}", leg.0 & 0xFFFF, end.by));
                if let Some(dialog) = self.dialogs.get_mut(&leg)
                    && dialog.fate == Fate::Open
                {
                    dialog.fate = Fate::Refused;
                }
            }
            Event::Offered { leg, .. } => {
                let body = Some(Body::sdp("their answer"));
                self.core.command(Command::AnswerOffer { leg, body }, nature.instant());
            }
            Event::Request(request) => self.register(&request, nature),
            Event::Prepared { .. }
            | Event::Challenged { .. }
            | Event::Provisional { .. }
            | Event::Answered { .. }
            | Event::Answering { .. }
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

    fn rings(&mut self, leg: LegId, request: &IncomingCall, nature: &mut Nature) {
        let call_id = request.call_id.clone();
        nature.say(format_args!("carrier: a call for {}, {call_id}", request.request_user));
        let serial = call_id.split('-').next().and_then(|serial| serial.parse().ok());
        let serial = serial.expect("our Call-IDs begin with the serial");
        let twice = self.dialogs.values().any(|earlier| earlier.call_id == call_id);
        assert!(!twice, "P3: one attempt rang twice");
        self.dialogs.insert(leg, Dialog { call_id, serial, fate: Fate::Open });
        let first = nature.dice.below(2_000);
        if self.everyone_is_slow {
            return self.later(leg, Act::Ring, first, first, nature);
        }
        match nature.dice.below(20) {
            0 => self.later(leg, Act::Refuse(503), first, first, nature),
            1 => self.later(leg, Act::Refuse(404), first, first, nature),
            2 => self.later(leg, Act::Refuse(486), first, first, nature),
            // Nobody there, and the network says nothing either.
            3 => {}
            4 => {
                self.later(leg, Act::Ring, first, first, nature);
                self.later(leg, Act::AnswerWhenCancelled, first + 1, first + 1, nature);
            }
            5 => self.later(leg, Act::Ring, first, first, nature),
            6 => {
                self.later(leg, Act::Ring, first, first, nature);
                self.later(leg, Act::Refuse(603), first + 1, first + 8_000, nature);
            }
            7 => self.later(leg, Act::Answer, first, first, nature),
            8 => self.later(leg, Act::AnswerWithoutDescription, first, first + 3_000, nature),
            9 => self.later(leg, Act::AnswerInAStrangeCodec, first, first + 3_000, nature),
            10 | 11 => {
                self.later(leg, Act::EarlyMedia, first, first, nature);
                self.later(leg, Act::Answer, first + 1, first + 9_000, nature);
            }
            _ => {
                self.later(leg, Act::Ring, first, first, nature);
                self.later(leg, Act::Answer, first + 1, first + 12_000, nature);
            }
        }
    }

    fn later(&mut self, leg: LegId, act: Act, low_ms: u64, high_ms: u64, nature: &mut Nature) {
        let at = nature.in_ms(low_ms, high_ms);
        self.todo.put(at, (leg, act));
    }

    fn act(&mut self, leg: LegId, act: Act, nature: &mut Nature) {
        nature.say(format_args!("carrier: leg {} {act:?}", leg.0 & 0xFFFF));
        let fate = self.dialogs.get(&leg).map(|dialog| dialog.fate);
        let body = |text: &'static str| Some(Body::sdp(text));
        let command = match act {
            Act::Ring => Command::Ring { leg, body: None },
            Act::EarlyMedia => Command::Progress { leg, body: body("their early description") },
            Act::Answer => Command::Answer { leg, body: body("their description") },
            Act::AnswerWithoutDescription => Command::Answer { leg, body: None },
            Act::AnswerInAStrangeCodec => Command::Answer { leg, body: body("no codec of ours") },
            Act::AnswerWhenCancelled => {
                Command::AnswerWhenCancelled { leg, body: body("their description") }
            }
            Act::Refuse(status) => {
                Command::Refuse { leg, status, reason: None, headers: Vec::new() }
            }
            Act::Offer => Command::Offer { leg, body: Body::sdp("their new description") },
            Act::Digit => Command::Info {
                leg,
                body: Body {
                    content_type: "application/dtmf-relay".to_owned(),
                    bytes: "Signal=5\r\nDuration=160\r\n".into(),
                },
            },
            Act::HangUp => Command::HangUp { leg, cause: HangUpCause::Normal },
        };
        match (act, fate) {
            (Act::Refuse(_), Some(Fate::Open)) => self.settle(leg, Fate::Refused),
            (
                Act::Answer
                | Act::AnswerWithoutDescription
                | Act::AnswerInAStrangeCodec
                | Act::AnswerWhenCancelled,
                Some(Fate::Open),
            ) => self.settle(leg, Fate::Answered),
            (_, _) => {}
        }
        self.core.command(command, nature.instant());
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
