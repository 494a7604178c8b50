//! The two halves of a leg: `sip` carries the descriptions that `media` writes and reads. The engine
//! sees one leg that opens, is dialled, rings, talks and ends.

mod asked;
mod audio;
mod hearing;
mod incoming;
mod signalling;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use engine::action::{Dialled, Input, LegInput, Then};
use engine::cdr::Cause;
use engine::vocabulary::{LegId, Serial};

pub(super) use incoming::Arriving;

use super::Driver;
use super::notes::NoteKind;
use crate::admission::UnderWay;

#[derive(Debug, Default)]
pub struct Legs {
    all: BTreeMap<LegId, Leg>,
    of_calls: BTreeSet<(Serial, LegId)>,
}

#[derive(Debug)]
pub struct Leg {
    serial: Serial,
    stage: Stage,
    /// What it may be offered anew.
    codecs: Vec<media::Codec>,
    srtp: media::Srtp,
    /// Our own description, as last sent.
    sdp: Bytes,
    /// The far side has described itself.
    described: bool,
    codec: String,
    /// The timeline has been told whether audio flows.
    told_audio: bool,
    /// Until its INVITE is out.
    dialling: Option<UnderWay>,
    /// Who waits for this party, where somebody does.
    beside: Option<LegId>,
    /// The record of its call is on disk already.
    outlives: bool,
    /// The far side has put us on hold.
    held: bool,
    /// When SIP last showed that the far side is there.
    alive_at: Option<Duration>,
}

#[derive(Debug)]
enum Stage {
    /// A port is being bound.
    Binding(Purpose),
    /// With `sip`. `media`: there is a port to give back at the end.
    Signalling { media: bool, reoffer: Reoffer },
    /// `sip` is through with it; the port is given back.
    Closing(Closing),
}

/// How the signalling ended.
#[derive(Debug, Clone)]
struct Closing {
    cause: Cause,
    sip_status: Option<u16>,
    then: Then,
}

impl From<Cause> for Closing {
    fn from(cause: Cause) -> Self {
        Closing { cause, sip_status: None, then: Then::Nothing }
    }
}

/// What the port is for.
#[derive(Debug)]
enum Purpose {
    Dial(Dialled),
    /// A call from outside.
    TakeIn,
    Resume(Box<sip::Wire>),
}

/// Whether the far side waits for an answer to its re-INVITE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reoffer {
    No,
    /// For that, or for our offer where it made none (RFC 3261 §14.2).
    Awaited,
}

impl Legs {
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub fn len(&self) -> usize {
        self.all.len()
    }

    fn add(&mut self, id: LegId, serial: Serial, stage: Stage) {
        let leg = Leg {
            serial,
            stage,
            codecs: Vec::new(),
            srtp: media::Srtp::default(),
            sdp: Bytes::new(),
            described: false,
            codec: String::new(),
            told_audio: false,
            dialling: None,
            beside: None,
            outlives: false,
            held: false,
            alive_at: None,
        };
        self.all.insert(id, leg);
        self.of_calls.insert((serial, id));
    }

    fn find(&self, id: LegId) -> Option<&Leg> {
        self.all.get(&id)
    }

    fn find_mut(&mut self, id: LegId) -> Option<&mut Leg> {
        self.all.get_mut(&id)
    }

    fn remove(&mut self, id: LegId) {
        if let Some(leg) = self.all.remove(&id) {
            self.of_calls.remove(&(leg.serial, id));
        }
    }

    /// The record of their call is on disk.
    fn outlive(&mut self, serial: Serial) {
        for (_, id) in self.of_calls.range((serial, LegId(0))..=(serial, LegId(u64::MAX))) {
            if let Some(leg) = self.all.get_mut(id) {
                leg.outlives = true;
            }
        }
    }

    fn serial(&self, id: LegId) -> Option<Serial> {
        self.all.get(&id).map(|leg| leg.serial)
    }
}

const fn of_sip(leg: sip::LegId) -> LegId {
    LegId(leg.0)
}

const fn of_media(leg: media::LegId) -> LegId {
    LegId(leg.0)
}

const fn to_sip(leg: LegId) -> sip::LegId {
    sip::LegId(leg.0)
}

const fn to_media(leg: LegId) -> media::LegId {
    media::LegId(leg.0)
}

impl Driver {
    fn leg_input(&mut self, leg: LegId, input: LegInput) {
        self.input(Input::Leg { leg, input });
    }

    pub(super) fn note(&mut self, serial: Serial, kind: NoteKind) {
        self.notes.add(serial, self.now.unix_ms, kind);
    }

    fn note_leg(&mut self, leg: LegId, kind: NoteKind) {
        if let Some(serial) = self.notes.call_of(leg) {
            self.note(serial, kind);
        }
    }

    /// A message of a leg. Keys that are pressed while the recording is paused are written down nowhere.
    fn note_of(&self, leg: LegId, tap: &sip::TapRecord) -> NoteKind {
        let paused = |serial| self.engine.is_recording_paused(serial);
        match self.notes.call_of(leg).is_some_and(paused) {
            true => NoteKind::without_keys_pressed(tap),
            false => NoteKind::message(tap),
        }
    }

    fn add_leg(&mut self, leg: LegId, serial: Serial, stage: Stage) {
        self.notes.open(serial, leg);
        self.legs.add(leg, serial, stage);
    }
}

#[cfg(test)]
mod tests;
