//! Legs that hear each other: what another leg has received goes out on this one.
//!
//! What the two have in common in codec passes as it comes, in places of our own stream; what they have not waits in a jitter
//! buffer and goes out, encoded anew, at this leg's ticks. Each packet decides for itself, so that a codec may change at any
//! moment on either side. Where nothing comes for a while this leg sends silence: its far side is never without RTP.

use std::net::SocketAddr;

use audio_codec_algorithms::encode_alaw;

use super::{Leg, Session, Tick};
use crate::bands::{Frame, Rebander};
use crate::clip::{self, ALAW_SILENCE};
use crate::codec::{Band, Codec, FRAME};
use crate::command::LegId;
use crate::crossing::{Cargo, Crossing, Packet};
use crate::rtp::playout::Playout;
use crate::rtp::relay::{Carries, Misplaced, Relay};
use crate::rtp::stream::{LONGEST, LONGEST_PAYLOAD, OutStream, Place};
use crate::transcode::{self, Transcoder};

/// Ticks without a packet of the other leg after which silence is sent in its place: 200 ms, more than a network holds packets
/// back and less than anybody takes for a dead line.
const SILENT_TICKS: u8 = 10;
/// Ticks after a packet of a digit in which no audio is sent beside it: its packets are 50 ms apart at the most.
const KEY_TICKS: u8 = 3;
/// Packets that a leg hands on between two of its ticks; more is a flood, and waits for the tick.
const MOST_PER_TICK: u8 = 64;

/// A leg's ties to others.
#[derive(Default)]
pub(super) struct Bridge {
    hears: Option<LegId>,
    heard_by: Option<LegId>,
    receipt: Receipt,
    taken: u8,
    way: Way,
    key: Option<Key>,
    /// What the other says, in playing order: for a transcoder, and for a recording.
    playout: Option<Playout>,
    transcoder: Option<Box<Transcoder>>,
    narrower: Rebander,
}

/// When a leg's socket is emptied.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Receipt {
    #[default]
    AtTick,
    /// As soon as something comes.
    OnArrival,
    /// As soon as something comes, were it not too much: the next tick changes back.
    Flooded,
}

/// How the other's audio goes out.
#[derive(Default)]
enum Way {
    /// It has said nothing lately.
    #[default]
    Silent,
    Relaying {
        relay: Relay,
        ticks: u8,
    },
    Transcoding {
        ticks: u8,
    },
}

/// A digit that goes out with numbers of our own.
#[derive(Clone, Copy)]
struct Key {
    /// Its time in the other's stream, and in ours.
    source: u32,
    start: u32,
    ticks: u8,
}

/// Where and as what audio is sent now.
#[derive(Clone, Copy)]
pub(super) struct Sending {
    pub codec: Codec,
    pub payload_type: u8,
    pub events: Option<(u8, u32)>,
    pub destination: SocketAddr,
}

impl Leg {
    /// From now on this leg sends what `other` receives; `None`: it is alone again.
    pub(crate) fn hear(&mut self, other: Option<LegId>) {
        if self.bridge.hears != other {
            self.bridge.hears = other;
            self.bridge.forget_the_other();
            self.stream.mark();
        }
    }

    pub(crate) fn hears(&self) -> Option<LegId> {
        self.bridge.hears
    }

    pub(crate) fn be_heard_by(&mut self, other: Option<LegId>, receipt: Receipt) {
        (self.bridge.heard_by, self.bridge.receipt) = (other, receipt);
    }

    pub(crate) fn heard_by(&self) -> Option<LegId> {
        self.bridge.heard_by
    }

    pub(crate) fn receipt(&self) -> Receipt {
        self.bridge.receipt
    }

    /// A look at the socket has brought packets; says whether it shall rest until the next tick.
    pub(crate) fn is_flooded(&self) -> bool {
        self.bridge.taken > MOST_PER_TICK
    }

    pub(super) fn note_taken(&mut self, packets: usize) {
        let packets = u8::try_from(packets).unwrap_or(u8::MAX);
        self.bridge.taken = self.bridge.taken.saturating_add(packets);
    }

    pub(super) fn forget_taken(&mut self) {
        self.bridge.taken = 0;
    }

    /// Takes what another leg has received.
    pub(crate) fn cross(&mut self, crossing: &Crossing) {
        // It may have been on its way while the bridge was undone.
        if self.bridge.hears != Some(crossing.from) {
            return;
        }
        match crossing.cargo {
            Cargo::Audio { packet, codec } => self.cross_audio(packet, codec, crossing.payload()),
            Cargo::Event { packet, codec, clock } => {
                self.cross_event(packet, codec, clock, crossing.payload());
            }
            Cargo::LeftOut(packet) => self.bridge.leave_out(packet),
            Cargo::Key(digit) => {
                let takes_tones = self.sending().is_some_and(|sending| sending.events.is_none());
                if takes_tones {
                    self.voice.repeat_digit(digit);
                }
            }
        }
    }

    fn cross_audio(&mut self, packet: Packet, codec: Codec, payload: &[u8]) {
        let Some(sending) = self.sending() else { return self.bridge.interrupt() };
        let passes = transcode::passes(codec, sending.codec);
        if !passes || self.hearing.records_both() {
            // For a recording alone the narrow band is enough.
            let band = if passes { Band::Narrow } else { Band::shared(codec, sending.codec) };
            let playout = self.bridge.playout_in(band);
            if packet.new_stream {
                playout.restart();
            }
            if !payload.is_empty() {
                playout.packet(packet.head.timestamp, codec, payload);
            }
        } else {
            self.bridge.playout = None;
        }
        if !self.voice.is_silent() {
            self.bridge.interrupt();
        } else if passes {
            let mut changed = [0; LONGEST_PAYLOAD];
            let changed = &mut changed[..payload.len()];
            changed.copy_from_slice(payload);
            transcode::change_law(codec, sending.codec, changed);
            let carries = Carries::Audio(codec.payload_ticks(payload));
            let place = self.bridge.place(packet, carries, &mut self.stream);
            self.relay(place, sending.payload_type, changed, sending.destination);
        } else {
            self.bridge.way = Way::Transcoding { ticks: 0 };
        }
    }

    fn cross_event(&mut self, packet: Packet, codec: Codec, clock: u32, payload: &[u8]) {
        let Some(sending) = self.sending() else { return self.bridge.interrupt() };
        let (Some((payload_type, own_clock)), &[code, flags, high, low, ..]) =
            (sending.events, payload)
        else {
            return self.bridge.leave_out(packet);
        };
        if !self.voice.is_silent() {
            return self.bridge.interrupt();
        }
        let duration = u64::from(u16::from_be_bytes([high, low]));
        let duration = duration * u64::from(own_clock) / u64::from(clock.max(1));
        let [high, low] = u16::try_from(duration).unwrap_or(u16::MAX).to_be_bytes();
        let payload = [code, flags, high, low];
        if transcode::passes(codec, sending.codec) {
            let place = self.bridge.place(packet, Carries::Event, &mut self.stream);
            return self.relay(place, payload_type, &payload, sending.destination);
        }
        let Some((start, first)) = self.bridge.press(packet, self.stream.timestamp()) else {
            return;
        };
        let mut bytes = [0; LONGEST];
        let length = self.stream.event(payload_type, start, first, &payload, &mut bytes);
        self.protect_and_send(&mut bytes, length, None, sending.destination);
    }

    fn relay(
        &mut self,
        place: Option<Place>,
        payload_type: u8,
        payload: &[u8],
        destination: SocketAddr,
    ) {
        let mut bytes = [0; LONGEST];
        let written =
            place.and_then(|place| self.stream.relayed(place, payload_type, payload, &mut bytes));
        if let Some(length) = written {
            self.protect_and_send(&mut bytes, length, None, destination);
        }
    }

    /// These 20 ms of what the other says. `said` gets them for a recording.
    pub(super) fn say_the_other(
        &mut self,
        sending: Sending,
        tick: Tick,
        frame: Option<Frame>,
        said: &mut [u8; FRAME],
    ) {
        if self.hearing.records_both()
            && let Some(frame) = &frame
        {
            *said = self.bridge.said(frame);
        }
        let step = sending.codec.frame_ticks();
        if self.bridge.key_tick() {
            self.stream.advance(step);
            return;
        }
        let mut bytes = [0; LONGEST];
        let length = match self.bridge.tick() {
            Way::Relaying { .. } => {
                self.stream.advance(step);
                return;
            }
            Way::Transcoding { .. } => {
                let frame = frame.unwrap_or(Frame::silent(Band::Narrow));
                let transcoder = self.bridge.transcoder_for(sending.codec, frame.band());
                let payload = transcoder.encode(&frame);
                self.stream.audio(sending.payload_type, payload, &mut bytes)
            }
            Way::Silent => {
                self.stream.audio(sending.payload_type, clip::silence(sending.codec), &mut bytes)
            }
        };
        self.stream.advance(step);
        self.protect_and_send(&mut bytes, length, Some(tick.due), sending.destination);
    }

    /// `None` where the far side may not be sent anything, or nobody knows where to.
    pub(super) fn sending(&self) -> Option<Sending> {
        let Session::Agreed { agreement, .. } = &self.session else { return None };
        let sends = agreement.direction.sends() && agreement.remote.is_some();
        let destination = self.source.destination().filter(|_| sends)?;
        Some(Sending {
            codec: agreement.codec,
            payload_type: agreement.payload_type,
            events: agreement.events,
            destination,
        })
    }
}

impl Bridge {
    /// The next 20 ms of what the other says, where they are wanted.
    pub(super) fn pull(&mut self) -> Option<Frame> {
        let playout = self.playout.as_mut()?;
        let mut frame = Frame::silent(playout.band());
        playout.pull(frame.samples_mut());
        Some(frame)
    }

    /// The same for a recording.
    pub(super) fn said(&mut self, frame: &Frame) -> [u8; FRAME] {
        let narrow = self.narrower.in_band(Band::Narrow, frame);
        let mut said = [ALAW_SILENCE; FRAME];
        for (code, sample) in said.iter_mut().zip(narrow.samples()) {
            *code = encode_alaw(*sample);
        }
        said
    }

    fn playout_in(&mut self, band: Band) -> &mut Playout {
        let kept = self.playout.take().filter(|playout| playout.band() == band);
        self.playout.insert(kept.unwrap_or_else(|| Playout::new(band)))
    }

    /// What this leg sends is another's or nothing: the other's stream begins anew when it is heard again.
    pub(super) fn interrupt(&mut self) {
        (self.way, self.key) = (Way::Silent, None);
    }

    fn forget_the_other(&mut self) {
        self.interrupt();
        self.playout = None;
        self.transcoder = None;
        self.narrower = Rebander::default();
    }

    /// The place of a packet that passes; `None` where it is too late.
    fn place(&mut self, packet: Packet, carries: Carries, stream: &mut OutStream) -> Option<Place> {
        let Packet { head, marker, new_stream } = packet;
        if let Way::Relaying { relay, ticks } = &mut self.way
            && !new_stream
        {
            match relay.place(head, marker, carries) {
                Ok(place) => {
                    *ticks = 0;
                    return Some(place);
                }
                Err(Misplaced::Late) => return None,
                Err(Misplaced::WentBack) => {}
            }
        }
        let mut relay = Relay::beginning(head, stream.sequence(), stream.timestamp());
        stream.mark();
        let place = relay.place(head, marker, carries).ok();
        self.way = Way::Relaying { relay, ticks: 0 };
        place
    }

    fn leave_out(&mut self, packet: Packet) {
        if let Way::Relaying { relay, ticks } = &mut self.way {
            if packet.new_stream {
                return self.interrupt();
            }
            // The other is there, though it says nothing that could be passed on.
            *ticks = 0;
            relay.leave_out(packet.head);
        }
    }

    /// A packet of a digit; gives the digit's time in our stream, and whether it is its first packet. `None` for one of a digit
    /// before.
    fn press(&mut self, packet: Packet, now: u32) -> Option<(u32, bool)> {
        let source = packet.head.timestamp;
        let (start, first) = match self.key {
            Some(key) if key.source == source => (key.start, false),
            Some(key)
                if !packet.new_stream && source.wrapping_sub(key.source).cast_signed() < 0 =>
            {
                return None;
            }
            Some(_) | None => (now, true),
        };
        self.key = Some(Key { source, start, ticks: KEY_TICKS });
        Some((start, first))
    }

    /// Whether a digit is on its way in place of audio.
    fn key_tick(&mut self) -> bool {
        match &mut self.key {
            Some(key) if key.ticks > 0 => {
                key.ticks -= 1;
                true
            }
            Some(_) | None => false,
        }
    }

    fn tick(&mut self) -> &Way {
        match &mut self.way {
            Way::Silent => {}
            Way::Relaying { ticks, .. } | Way::Transcoding { ticks } if *ticks < SILENT_TICKS => {
                *ticks += 1;
            }
            Way::Relaying { .. } | Way::Transcoding { .. } => self.way = Way::Silent,
        }
        &self.way
    }

    fn transcoder_for(&mut self, codec: Codec, source: Band) -> &mut Transcoder {
        let kept = self.transcoder.take().filter(|transcoder| transcoder.suits(codec, source));
        self.transcoder.insert(kept.unwrap_or_else(|| Box::new(Transcoder::new(codec, source))))
    }
}
