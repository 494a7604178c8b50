//! What is sent again until the far side confirms it: our 2xx until its ACK (RFC 3261 §13.3.1.4),
//! our reliable provisional until its PRACK (RFC 3262 §3).

use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::{
    Destination, LegId,
    stack::Stack,
    timers::{GIVE_UP, LegTimer, T1, T2, TimerHandle, TimerKey},
};

#[derive(Debug)]
pub(super) struct Unconfirmed {
    leg: LegId,
    /// CSeq of the INVITE, or RSeq.
    pub number: u32,
    bytes: Bytes,
    to: Destination,
    timer: LegTimer,
    interval: Duration,
    longest: Duration,
    resend: TimerHandle,
    limit: TimerHandle,
}

impl Unconfirmed {
    /// A 2xx that has just been sent.
    pub fn answer(
        leg: LegId,
        cseq: u32,
        bytes: Bytes,
        to: Destination,
        stack: &mut Stack,
    ) -> Unconfirmed {
        let timers = (LegTimer::ResendAnswer, LegTimer::AckLimit);
        Unconfirmed::new(leg, cseq, bytes, to, timers, stack)
    }

    /// A reliable provisional that has just been sent.
    pub fn provisional(
        leg: LegId,
        rseq: u32,
        bytes: Bytes,
        to: Destination,
        stack: &mut Stack,
    ) -> Unconfirmed {
        let timers = (LegTimer::ResendProvisional, LegTimer::PrackLimit);
        Unconfirmed::new(leg, rseq, bytes, to, timers, stack)
    }

    fn new(
        leg: LegId,
        number: u32,
        bytes: Bytes,
        to: Destination,
        (timer, limit): (LegTimer, LegTimer),
        stack: &mut Stack,
    ) -> Unconfirmed {
        let resend = stack.timers.set(stack.now + T1, TimerKey::Leg(leg, timer));
        let limit = stack.timers.set(stack.now + GIVE_UP, TimerKey::Leg(leg, limit));
        Unconfirmed {
            leg,
            number,
            bytes,
            to,
            timer,
            interval: T1,
            // A 2xx levels off at T2; a provisional doubles to the end.
            longest: match timer {
                LegTimer::ResendProvisional => GIVE_UP,
                _ => T2,
            },
            resend,
            limit,
        }
    }

    pub fn resend(&mut self, at: Instant, stack: &mut Stack) {
        stack.transmit(Some(self.leg), self.to, self.bytes.clone());
        self.interval = (self.interval * 2).min(self.longest);
        let key = TimerKey::Leg(self.leg, self.timer);
        self.resend = stack.timers.set(at + self.interval, key);
    }

    pub fn stop(self, stack: &mut Stack) {
        stack.timers.cancel(self.resend);
        stack.timers.cancel(self.limit);
    }
}
