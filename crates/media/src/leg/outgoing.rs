//! What goes out: one RTP packet per tick to the leg's own source, and reports.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use audio_codec_algorithms::encode_alaw;

use super::{Context, Hearing, Leg, Session, Shared, Tick};
use crate::clip::{self, ALAW_SILENCE};
use crate::codec::FRAME;
use crate::recorder::Recording;
use crate::rtp::rtcp::Sent;
use crate::rtp::stream::LONGEST;
use crate::voice::{Around, Next};

/// A packet that leaves later than this after its tick is late.
const LATE: Duration = Duration::from_millis(5);
/// Missed ticks that a recording makes up for with silence; more only where the machine slept.
const MOST_MADE_UP: u64 = 500;

impl Leg {
    /// Ticks that the thread missed have passed all the same.
    pub(super) fn catch_up(&mut self, now: u64) {
        let missed = match self.last_tick.replace(now) {
            Some(last) => now.saturating_sub(last).saturating_sub(1),
            None => 0,
        };
        if missed == 0 {
            return;
        }
        if let Session::Agreed { agreement, .. } = &self.session {
            self.counters.skipped_ticks += missed;
            self.stream.advance((missed as u32).wrapping_mul(agreement.codec.frame_ticks()));
            self.stream.mark();
        }
        for _ in 0..missed.min(MOST_MADE_UP) {
            let said = match self.bridge.pull() {
                Some(frame) if self.hearing.records_both() => self.bridge.said(&frame),
                Some(_) | None => [ALAW_SILENCE; FRAME],
            };
            self.hearing.hear(&said);
        }
    }

    /// Sends these 20 ms and lets the listeners hear theirs.
    pub(super) fn say_and_hear(&mut self, tick: Tick, cx: &mut Context<'_>) {
        let mut said = [ALAW_SILENCE; FRAME];
        self.say(tick, &mut said, cx);
        self.hearing.hear(&said);
    }

    fn say(&mut self, tick: Tick, said: &mut [u8; FRAME], cx: &mut Context<'_>) {
        let other = self.bridge.pull();
        let Session::Agreed { agreement, .. } = &self.session else { return };
        let step = agreement.codec.frame_ticks();
        let Some(sending) = self.sending() else {
            self.bridge.interrupt();
            self.stream.advance(step);
            self.stream.mark();
            return;
        };
        if self.hears().is_some() && self.voice.is_silent() {
            return self.say_the_other(sending, tick, other, said);
        }
        self.bridge.interrupt();
        let next = self.voice.next(&mut Around {
            now: tick.due,
            codec: sending.codec,
            events: sending.events,
            timestamp: self.stream.timestamp(),
            preparer: &cx.shared.preparer,
            inbox: &cx.shared.inbox,
            out: cx.out,
        });
        let payload_type = sending.payload_type;
        let mut packet = [0u8; LONGEST];
        let length = match next {
            Next::Silence => {
                self.stream.audio(payload_type, clip::silence(sending.codec), &mut packet)
            }
            Next::Clip { clip, frame } => {
                if self.hearing.recording.is_some()
                    && let Some(alaw) = clip.alaw(frame)
                {
                    said.copy_from_slice(alaw);
                }
                let payload = clip.payload(sending.codec, frame).unwrap_or_default();
                self.stream.audio(payload_type, payload, &mut packet)
            }
            Next::Key { payload_type, start, first, payload } => {
                self.stream.event(payload_type, start, first, &payload, &mut packet)
            }
        };
        self.stream.advance(step);
        self.protect_and_send(&mut packet, length, Some(tick.due), sending.destination);
    }

    /// Sends the packet of `length` bytes at the start of `packet`, encrypted where the leg is. `due`: when it should have
    /// left, where it has a time of its own.
    pub(super) fn protect_and_send(
        &mut self,
        packet: &mut [u8; LONGEST],
        length: usize,
        due: Option<Instant>,
        destination: SocketAddr,
    ) {
        let protected = match self.secrecy.protection() {
            None => Some(length),
            Some(protection) => protection.outbound().protect_rtp(packet, length),
        };
        let Some(protected) = protected else {
            self.counters.send_errors += 1;
            return;
        };
        self.counters.late_ticks += u64::from(due.is_some_and(|due| due.elapsed() > LATE));
        match self.pair.rtp.send_to(&packet[..protected], destination) {
            Ok(_) => self.stream.sent(length.saturating_sub(12)),
            // No route, or the interface is full: the next packet is the retry.
            Err(_) => self.counters.send_errors += 1,
        }
    }

    /// Sends a report where there is somebody to report to.
    pub(super) fn send_report(&mut self, bye: bool, shared: &Shared) {
        let Some(destination) = self.rtcp_destination() else { return };
        let sent = Sent {
            ssrc: self.stream.ssrc,
            timestamp: self.stream.timestamp(),
            packets: self.stream.packets,
            bytes: self.stream.bytes,
        };
        let received = self.reception.report();
        let mut report = self.far_end.report(&sent, received, &shared.cname, bye, Instant::now());
        if let Some(protection) = self.secrecy.protection()
            && !protection.outbound().protect_rtcp(&mut report)
        {
            self.counters.send_errors += 1;
            return;
        }
        match self.pair.rtcp.send_to(&report, destination) {
            Ok(_) => self.counters.rtcp_sent += 1,
            Err(_) => self.counters.send_errors += 1,
        }
    }

    fn rtcp_destination(&self) -> Option<SocketAddr> {
        let agreement = self.agreement()?;
        agreement.remote?;
        match self.source.moved_to() {
            None => agreement.remote_rtcp,
            Some(_) if self.rtcp_source.is_some() => self.rtcp_source,
            Some(source) => Some(SocketAddr::new(source.ip(), source.port().checked_add(1)?)),
        }
    }
}

impl Hearing {
    /// Whether somebody records what is said as well.
    pub(super) fn records_both(&self) -> bool {
        self.recording.as_ref().is_some_and(Recording::takes_both)
    }

    /// 20 ms of what was received, and beside it what was said.
    pub(super) fn hear(&mut self, said: &[u8; FRAME]) {
        let Some(playout) = &mut self.playout else { return };
        let mut heard = [0i16; FRAME];
        playout.pull(&mut heard);
        if let Some(listener) = &mut self.listener {
            listener.audio(&heard);
        }
        if let Some(recording) = &mut self.recording {
            recording.push(&heard.map(encode_alaw), said);
        }
    }
}
