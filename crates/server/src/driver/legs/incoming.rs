//! Calls from outside: whom they are for, and what the engine asks of their legs.

use std::net::IpAddr;

use engine::action::{Arrival, Input, LegInput, Origin, Refused};
use engine::cdr::Cause;
use engine::vocabulary::{LegId, Serial};
use store::crash_point;

use super::{Purpose, Reoffer, Stage, of_sip, to_media, to_sip};
use crate::driver::notes::NoteKind;
use crate::driver::trunks::CallTo;
use crate::driver::{Driver, Wanted};

/// The longest number that may be the code of an anonymous call.
const CODE_DIGITS: usize = 18;

/// Seconds after which a caller who met no free line may try again.
const TRY_AGAIN: &str = "5";

/// INVITEs of which the engine has not heard yet: more than `sip` leaves undecided.
const ARRIVING: usize = 1_024;

/// An INVITE from outside that no call has yet.
#[derive(Debug, Default)]
pub struct Arriving {
    /// Its first messages, for the timeline of the call that takes it in.
    messages: Vec<NoteKind>,
    number: String,
    source: Option<(IpAddr, Origin)>,
    offer: Option<sip::Body>,
}

impl Driver {
    /// A message of a leg that no call has. Each begins with its INVITE; what comes when it has ended is
    /// of no call any more.
    pub(super) fn note_arriving(&mut self, leg: sip::LegId, tap: &sip::TapRecord) {
        let leg = of_sip(leg);
        if let Some(arriving) = self.arriving.get_mut(&leg) {
            arriving.messages.push(NoteKind::message(tap));
        } else if tap.bytes.starts_with(b"INVITE ") && self.arriving.len() < ARRIVING {
            let messages = vec![NoteKind::message(tap)];
            self.arriving.insert(leg, Arriving { messages, ..Arriving::default() });
        }
    }

    pub(super) fn incoming(&mut self, leg: sip::LegId, request: sip::IncomingCall) {
        let id = of_sip(leg);
        let arriving = self.arriving.entry(id).or_default();
        arriving.number.clone_from(&request.request_user);
        let known = match &request.origin {
            sip::Origin::Trusted => Origin::Trunk,
            sip::Origin::User(user) => Origin::Softphone(user.clone()),
            sip::Origin::Reached => Origin::Reached,
            sip::Origin::Stranger => Origin::Claimed,
        };
        arriving.source = Some((request.source.ip(), known));
        arriving.offer = request.body;
        let x = request.request_user;
        let calls = match request.origin {
            sip::Origin::Trusted => {
                self.trunks.arrivals(request.source.ip(), &x, request.from.user())
            }
            // Not what it writes in its From: that it may choose.
            sip::Origin::User(from) => vec![CallTo { x, from }],
            sip::Origin::Stranger | sip::Origin::Reached => return self.dialled_code(id),
        };
        self.wanted.push_back(Wanted::Ask { leg: id, calls });
    }

    /// Whom the call of a trunk or of a softphone may reach. It may be the code of an anonymous call all the same.
    pub(in crate::driver) fn trunk_asked(
        &mut self,
        leg: LegId,
        request: Option<Box<engine::Request>>,
    ) {
        match (request, self.arriving.get(&leg)) {
            (Some(request), Some(Arriving { source: Some(source), .. })) => {
                let (arrival, (source, origin)) = (Arrival::Bound(request), source.clone());
                self.input(Input::Incoming { leg, arrival, source, origin });
            }
            (None, Some(_)) => self.dialled_code(leg),
            // It was cancelled meanwhile.
            (_, Some(Arriving { source: None, .. }) | None) => {}
        }
    }

    /// Whose code it is the engine knows; what can be none is turned away here.
    fn dialled_code(&mut self, leg: LegId) {
        let Some(Arriving { number, source: Some(source), .. }) = self.arriving.get(&leg) else {
            return;
        };
        let digits = (1..=CODE_DIGITS).contains(&number.len());
        if digits && number.bytes().all(|byte| byte.is_ascii_digit()) {
            let (arrival, (source, origin)) = (Arrival::Code(number.clone()), source.clone());
            self.input(Input::Incoming { leg, arrival, source, origin });
        } else {
            self.refuse(leg, Refused::Unknown);
        }
    }

    /// A call has it: bind a port for what the caller offers, or offer one where it asks for that.
    pub(in crate::driver) fn take_in(&mut self, leg: LegId, serial: Serial) {
        crash_point!("code_used");
        let Some(Arriving { messages, offer, .. }) = self.arriving.remove(&leg) else {
            return tracing::error!(%serial, "a call was to take in a leg that did not come");
        };
        self.add_leg(leg, serial, Stage::Binding(Purpose::TakeIn));
        for message in messages {
            self.note(serial, message);
        }
        let line = self.phones.line();
        let (codecs, srtp) = (line.codecs.clone(), line.srtp);
        if let Some(entry) = self.legs.find_mut(leg) {
            (entry.codecs, entry.srtp) = (codecs.clone(), srtp);
        }
        let (leg, beside) = (to_media(leg), None);
        self.tell_media(match offer {
            Some(offer) => media::Command::Answer { leg, offer: offer.bytes, codecs, srtp, beside },
            None => media::Command::Offer { leg, codecs, dtmf: true, srtp, beside },
        });
    }

    pub(in crate::driver) fn ring(&mut self, leg: LegId) {
        self.tell_sip(sip::Command::Ring { leg: to_sip(leg), body: None });
    }

    /// Early media: the caller hears what the called side sends before it answers.
    pub(in crate::driver) fn progress(&mut self, leg: LegId) {
        let body = self.description(leg);
        self.tell_sip(sip::Command::Progress { leg: to_sip(leg), body });
    }

    pub(in crate::driver) fn answer(&mut self, leg: LegId) {
        let body = self.description(leg);
        self.tell_sip(sip::Command::PrepareAnswer { leg: to_sip(leg), body });
    }

    /// The 200 is built, and its dialog is on disk.
    pub(in crate::driver) fn send_answer(&mut self, leg: LegId) {
        crash_point!("answer_before");
        self.tell_sip(sip::Command::SendAnswer { leg: to_sip(leg) });
    }

    pub(in crate::driver) fn refuse(&mut self, leg: LegId, with: Refused) {
        self.arriving.remove(&leg);
        let leg = to_sip(leg);
        let mut headers = Vec::new();
        let status = match with {
            Refused::Unknown => return self.tell_sip(sip::Command::TurnAway { leg }),
            Refused::Busy => {
                headers.push(("Retry-After".to_owned(), TRY_AGAIN.to_owned()));
                503
            }
            Refused::Forbidden => 403,
            Refused::Ended(cause) => status_of(cause),
        };
        self.tell_sip(sip::Command::Refuse { leg, status, reason: None, headers });
    }

    /// Our own description, as last made.
    fn description(&self, leg: LegId) -> Option<sip::Body> {
        let sdp = &self.legs.find(leg)?.sdp;
        (!sdp.is_empty()).then(|| sip::Body::sdp(sdp.clone()))
    }

    /// The caller's port is bound.
    pub(super) fn taken_in(&mut self, leg: LegId) {
        if let Some(entry) = self.legs.find_mut(leg) {
            entry.stage = Stage::Signalling { media: true, reoffer: Reoffer::No };
        }
        self.leg_input(leg, LegInput::TakenIn);
    }
}

/// What a caller hears of a called side that ended so before it answered (RFC 3261 §21).
fn status_of(cause: Cause) -> u16 {
    match cause {
        Cause::Busy => 486,
        Cause::Declined => 603,
        Cause::NotFound => 404,
        Cause::NoResource => 503,
        Cause::MediaFailed => 488,
        Cause::TrunkFailed | Cause::TrunkRefused => 502,
        Cause::Internal => 500,
        Cause::NoAnswer
        | Cause::Unavailable
        | Cause::Released
        | Cause::HungUp
        | Cause::MediaTimeout => 480,
    }
}
