//! What comes in: RTP from the leg's own source, RTCP, digits. All else is counted and dropped.

use std::net::SocketAddr;

use rtp_types::RtpPacket;

use super::{Context, Leg, Told};
use crate::batch::{self, Datagram};
use crate::codec::{Codec, FRAME};
use crate::command::Arrival;
use crate::crossing::{Cargo, Packet};
use crate::event::Event;
use crate::rtp::digits::Pressed;
use crate::rtp::playout::Playout;
use crate::rtp::reception::{Head, Received};
use crate::sdp::FormatKind;
use crate::srtp::Refused;

/// Batches taken from a socket per tick: more than a far side can mean, and a bound on what a flood costs the other legs.
const BATCHES: usize = 4;

impl Leg {
    pub(crate) fn receive_rtp(&mut self, cx: &mut Context<'_>) {
        for _ in 0..BATCHES {
            let count = cx.batch.receive(&self.pair.rtp);
            // A look that finds nothing counts too: a socket that is ready without packets must not keep the thread busy.
            self.note_taken(count.max(1));
            for index in 0..count {
                let told = &mut Told { out: &mut *cx.out, crossings: &mut *cx.crossings };
                self.datagram(&cx.batch.datagram(index), told);
            }
            if count < batch::SIZE {
                return;
            }
        }
        // More may wait, of which nobody tells again: it is a flood, whose rest the next tick takes.
        self.note_taken(usize::MAX);
    }

    pub(super) fn receive_rtcp(&mut self, cx: &mut Context<'_>) {
        for _ in 0..BATCHES {
            let count = cx.batch.receive(&self.pair.rtcp);
            for index in 0..count {
                self.rtcp(&cx.batch.datagram(index));
            }
            if count < batch::SIZE {
                return;
            }
        }
    }

    /// Decrypts where the leg is encrypted: nothing below sees a packet that has not proven itself.
    pub(crate) fn datagram(&mut self, datagram: &Datagram<'_>, told: &mut Told<'_>) {
        let Some(protection) = self.secrecy.protection() else { return self.rtp(datagram, told) };
        if !self.source.may_admit(datagram.from) {
            self.counters.foreign_packets += 1;
            return;
        }
        let mut clear = [0; batch::LONGEST];
        match protection.open_rtp(datagram.bytes, &mut clear) {
            Ok(length) => self.rtp(&Datagram { bytes: &clear[..length], ..*datagram }, told),
            Err(refused) => self.refuse(refused, datagram.from),
        }
    }

    fn rtp(&mut self, datagram: &Datagram<'_>, told: &mut Told<'_>) {
        let (Ok(packet), Some(agreement)) = (RtpPacket::parse(datagram.bytes), self.agreement())
        else {
            return self.drop_invalid(datagram.from);
        };
        let (codec, receives) = (agreement.codec, agreement.direction.receives());
        // Before the source is judged: what was not agreed must not prove anybody.
        let Some(kind) = agreement.incoming(packet.payload_type()) else {
            return self.drop_invalid(datagram.from);
        };
        let head = Head {
            ssrc: packet.ssrc(),
            sequence: packet.sequence_number(),
            timestamp: packet.timestamp(),
        };
        if !self.source.admits(datagram.from, head.ssrc, head.sequence, datagram.arrived) {
            self.counters.foreign_packets += 1;
            return;
        }
        let payload = packet.payload();
        let clock = match kind {
            FormatKind::Audio(codec) => Some(codec.clock()),
            FormatKind::TelephoneEvent(_) | FormatKind::ComfortNoise | FormatKind::Unknown => None,
        };
        let received = self.reception.packet(head, payload.len(), clock, datagram.arrived);
        if received.new_stream {
            self.restart_stream(told);
        }
        let onward = Packet { head, marker: packet.marker_bit(), new_stream: received.new_stream };
        let cargo = match kind {
            FormatKind::Audio(codec) => {
                self.audio(head, codec, payload, received);
                Cargo::Audio { packet: onward, codec }
            }
            FormatKind::TelephoneEvent(clock) => {
                // Some count in the audio's clock whatever their SDP says; only Opus makes that a difference, and there
                // the SDP is right.
                let clock = if codec == Codec::Opus { clock } else { codec.clock() };
                let pressed = self.digits.packet(head.timestamp, payload, clock);
                pressed.into_iter().flatten().for_each(|pressed| self.tell_digit(pressed, told));
                Cargo::Event { packet: onward, codec, clock }
            }
            FormatKind::ComfortNoise | FormatKind::Unknown => Cargo::LeftOut(onward),
        };
        // Whoever holds the call and sends all the same is not heard.
        if let Some(to) = self.heard_by().filter(|_| receives)
            && !told.crossings.push(self.id, to, cargo, payload)
        {
            self.drop_invalid(datagram.from);
        }
    }

    fn audio(&mut self, head: Head, codec: Codec, payload: &[u8], received: Received) {
        if let Some(listener) = &mut self.hearing.listener {
            let Head { sequence, timestamp, .. } = head;
            listener.packet(Arrival { sequence, timestamp, delay: received.delay });
        }
        if let Some(playout) = &mut self.hearing.playout
            && !payload.is_empty()
        {
            playout.packet(head.timestamp, codec, payload);
        }
    }

    pub(crate) fn rtcp(&mut self, datagram: &Datagram<'_>) {
        let expected = match self.source.moved_to() {
            None => {
                self.agreement().and_then(|agreement| agreement.remote_rtcp) == Some(datagram.from)
            }
            // Behind NAT RTCP has a port of its own: the first one of the proven host.
            Some(source) => {
                source.ip() == datagram.from.ip()
                    && self.rtcp_source.is_none_or(|known| known == datagram.from)
            }
        };
        if !expected {
            self.counters.foreign_packets += 1;
            return;
        }
        let mut clear = [0; batch::LONGEST];
        let bytes = match self.secrecy.protection() {
            None => datagram.bytes,
            Some(protection) => match protection.open_rtcp(datagram.bytes, &mut clear) {
                Ok(length) => &clear[..length],
                Err(Refused::Malformed) => &[],
                Err(refused) => return self.refuse(refused, datagram.from),
            },
        };
        if self.far_end.packet(bytes, self.stream.ssrc, datagram.arrived) {
            self.rtcp_source = Some(datagram.from);
        } else {
            self.counters.invalid_packets += 1;
        }
    }

    pub(super) fn tell_digit(&self, pressed: Pressed, told: &mut Told<'_>) {
        let Pressed { digit, duration } = pressed;
        let duration_ms = duration.as_millis() as u32;
        told.out.push(Event::Digit { leg: self.id, digit, duration_ms });
        if let Some(to) = self.heard_by() {
            // Where there is no room, so many packets have come that a key is the least of what is lost.
            told.crossings.push(self.id, to, Cargo::Key(digit), &[]);
        }
    }

    fn restart_stream(&mut self, told: &mut Told<'_>) {
        if let Some(pressed) = self.digits.restart() {
            self.tell_digit(pressed, told);
        }
        if let Some(playout) = &mut self.hearing.playout {
            playout.restart();
        }
    }

    fn refuse(&mut self, refused: Refused, from: SocketAddr) {
        match refused {
            Refused::Malformed => self.drop_invalid(from),
            Refused::Forged => self.counters.forged_packets += 1,
            Refused::Replayed => self.counters.replayed_packets += 1,
        }
    }

    fn drop_invalid(&mut self, from: SocketAddr) {
        if self.source.destination() == Some(from) {
            self.counters.invalid_packets += 1;
        } else {
            self.counters.foreign_packets += 1;
        }
    }

    /// Plays out what the jitter buffer still holds: the leg ends, and its last word shall be heard.
    pub(super) fn hear_the_rest(&mut self) {
        let frames = self.hearing.playout.as_ref().map_or(0, Playout::remaining_frames);
        for _ in 0..frames {
            self.hearing.hear(&[crate::clip::ALAW_SILENCE; FRAME]);
        }
    }
}
