//! Digits as events, RFC 4733.

use std::time::Duration;

/// Digits of RFC 4733 §3.2 by event code.
const DIGITS: [char; 16] =
    ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '#', 'A', 'B', 'C', 'D'];
/// A digit whose end was lost ends after this many ticks of 20 ms without a packet.
const LOST_END_TICKS: u8 = 8;

/// The event code of a digit.
pub(crate) fn code(digit: char) -> Option<u8> {
    let digit = digit.to_ascii_uppercase();
    DIGITS.iter().position(|&known| known == digit).map(|code| code as u8)
}

/// A key that was pressed and released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pressed {
    pub digit: char,
    pub duration: Duration,
}

/// Gathers the packets of each digit; told once per digit, whichever of them are lost, doubled or late.
#[derive(Default)]
pub(crate) struct DigitReceiver {
    state: State,
}

#[derive(Default, Clone, Copy)]
enum State {
    #[default]
    Idle,
    /// The key is down.
    Down { timestamp: u32, digit: char, duration: Duration, quiet_ticks: u8 },
    /// The key was told; packets of this timestamp or before are repeats.
    Told { timestamp: u32 },
}

impl DigitReceiver {
    /// Takes one event packet with its RTP timestamp and the events' clock in Hz. Two keys end with it where the end of
    /// the first was lost and the second comes with its own.
    pub(crate) fn packet(
        &mut self,
        timestamp: u32,
        payload: &[u8],
        clock: u32,
    ) -> [Option<Pressed>; 2] {
        let Some(event) = Event::parse(payload, clock) else { return [None; 2] };
        let newer = |than: u32| timestamp.wrapping_sub(than).cast_signed() > 0;
        match self.state {
            State::Idle => [None, self.begin(timestamp, event)],
            State::Told { timestamp: told } if newer(told) => [None, self.begin(timestamp, event)],
            State::Told { .. } => [None; 2],
            State::Down { timestamp: down, digit, duration, .. } if down == timestamp => {
                let longest = Event { digit, duration: duration.max(event.duration), ..event };
                [None, self.begin(timestamp, longest)]
            }
            State::Down { timestamp: down, digit, duration, .. } if newer(down) => {
                [Some(Pressed { digit, duration }), self.begin(timestamp, event)]
            }
            State::Down { .. } => [None; 2],
        }
    }

    /// To be called every 20 ms.
    pub(crate) fn tick(&mut self) -> Option<Pressed> {
        let State::Down { timestamp, digit, duration, quiet_ticks } = &mut self.state else {
            return None;
        };
        *quiet_ticks += 1;
        if *quiet_ticks < LOST_END_TICKS {
            return None;
        }
        let pressed = Pressed { digit: *digit, duration: *duration };
        self.state = State::Told { timestamp: *timestamp };
        Some(pressed)
    }

    /// The stream restarted: timestamps mean nothing any more. A key that is down is told.
    pub(crate) fn restart(&mut self) -> Option<Pressed> {
        match std::mem::take(&mut self.state) {
            State::Down { digit, duration, .. } => Some(Pressed { digit, duration }),
            State::Idle | State::Told { .. } => None,
        }
    }

    fn begin(&mut self, timestamp: u32, event: Event) -> Option<Pressed> {
        if event.end {
            self.state = State::Told { timestamp };
            return Some(Pressed { digit: event.digit, duration: event.duration });
        }
        let Event { digit, duration, .. } = event;
        self.state = State::Down { timestamp, digit, duration, quiet_ticks: 0 };
        None
    }
}

#[derive(Clone, Copy)]
struct Event {
    digit: char,
    end: bool,
    duration: Duration,
}

impl Event {
    /// `None` for events that are no digits (hook flash, fax tones) and for what is too short.
    fn parse(payload: &[u8], clock: u32) -> Option<Self> {
        let &[code, flags, high, low, ..] = payload else { return None };
        let digit = *DIGITS.get(usize::from(code))?;
        let duration = u16::from_be_bytes([high, low]);
        let duration = Duration::from_secs_f64(f64::from(duration) / f64::from(clock.max(1)));
        Some(Event { digit, end: flags & 0x80 != 0, duration })
    }
}

/// How long we press a key, and how long we wait before the next, in ticks of 20 ms.
const PRESS_TICKS: u16 = 5;
const PAUSE_TICKS: u16 = 4;
/// The end is said three times (RFC 4733 §2.5.1.4).
const ENDS: u16 = 3;
/// −10 dBm0.
const VOLUME: u8 = 10;

/// One key that we press: a packet every 20 ms, all with the timestamp of the first.
#[derive(Debug, Clone)]
pub(crate) struct KeyPress {
    code: u8,
    ticks: u16,
}

/// What leaves in one tick of a key press.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyTick {
    Packet { first: bool, payload: [u8; 4] },
    Pause,
    Done,
}

impl KeyPress {
    pub(crate) fn new(code: u8) -> Self {
        KeyPress { code, ticks: 0 }
    }

    /// The next 20 ms; `tick_length` is 20 ms in units of the events' clock.
    pub(crate) fn tick(&mut self, tick_length: u32) -> KeyTick {
        let tick = self.ticks;
        self.ticks += 1;
        let packets = PRESS_TICKS + ENDS - 1;
        if tick >= packets + PAUSE_TICKS {
            return KeyTick::Done;
        }
        if tick >= packets {
            return KeyTick::Pause;
        }
        let elapsed = u32::from((tick + 1).min(PRESS_TICKS)) * tick_length;
        let [high, low] = (elapsed as u16).to_be_bytes();
        let end = if tick + 1 >= PRESS_TICKS { 0x80 } else { 0 };
        let payload = [self.code, end | VOLUME, high, low];
        KeyTick::Packet { first: tick == 0, payload }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn packet(code: u8, end: bool, duration: u16) -> [u8; 4] {
        let [high, low] = duration.to_be_bytes();
        [code, if end { 0x8A } else { 0x0A }, high, low]
    }

    fn told(receiver: &mut DigitReceiver, timestamp: u32, payload: &[u8]) -> Vec<(char, u128)> {
        let pressed = receiver.packet(timestamp, payload, 8000);
        pressed.into_iter().flatten().map(|p| (p.digit, p.duration.as_millis())).collect()
    }

    #[test]
    fn a_digit_is_told_once_at_its_end_whatever_is_repeated() {
        let mut receiver = DigitReceiver::default();
        for duration in [160, 320, 480] {
            assert_eq!(told(&mut receiver, 1000, &packet(5, false, duration)), []);
        }
        assert_eq!(told(&mut receiver, 1000, &packet(5, true, 640)), [('5', 80)]);
        assert_eq!(told(&mut receiver, 1000, &packet(5, true, 640)), []);
        assert_eq!(told(&mut receiver, 1000, &packet(5, true, 640)), []);
        assert_eq!(
            told(&mut receiver, 1000, &packet(5, false, 480)),
            [],
            "late, from before the end"
        );
        assert_eq!(told(&mut receiver, 3000, &packet(5, true, 800)), [('5', 100)], "pressed again");
    }

    #[test]
    fn a_digit_whose_end_is_lost_is_told_by_the_next_one_or_by_silence() {
        let mut receiver = DigitReceiver::default();
        told(&mut receiver, 1000, &packet(1, false, 800));
        assert_eq!(told(&mut receiver, 3000, &packet(11, true, 640)), [('1', 100), ('#', 80)]);
        told(&mut receiver, 5000, &packet(10, false, 800));
        let ticks: Vec<_> = (0..LOST_END_TICKS + 5).filter_map(|_| receiver.tick()).collect();
        assert_eq!(ticks, [Pressed { digit: '*', duration: 100 * MS }]);
        assert_eq!(told(&mut receiver, 5000, &packet(10, true, 960)), []);
    }

    #[test]
    fn what_is_no_digit_is_passed_over() {
        let mut receiver = DigitReceiver::default();
        for payload in
            [&[][..], &[1], &[1, 0x80, 0], &packet(16, true, 800), &packet(255, true, 800)]
        {
            assert_eq!(told(&mut receiver, 1000, payload), []);
        }
    }

    #[test]
    fn timestamps_may_wrap_and_a_restart_forgets_them() {
        let mut receiver = DigitReceiver::default();
        assert_eq!(told(&mut receiver, u32::MAX - 10, &packet(0, true, 800)), [('0', 100)]);
        assert_eq!(told(&mut receiver, 1600, &packet(15, true, 800)), [('D', 100)]);
        assert_eq!(receiver.restart(), None);
        assert_eq!(told(&mut receiver, 100, &packet(9, true, 800)), [('9', 100)]);
        told(&mut receiver, 9000, &packet(3, false, 160));
        assert_eq!(receiver.restart(), Some(Pressed { digit: '3', duration: 20 * MS }));
    }

    #[test]
    fn our_key_press_is_five_packets_three_ends_and_a_pause_and_reads_back() {
        let mut press = KeyPress::new(code('#').unwrap());
        let mut receiver = DigitReceiver::default();
        let (mut packets, mut ends, mut pauses, mut heard) = (0, 0, 0, Vec::new());
        loop {
            match press.tick(160) {
                KeyTick::Packet { first, payload } => {
                    assert_eq!(first, packets == 0);
                    packets += 1;
                    ends += usize::from(payload[1] & 0x80 != 0);
                    heard.extend(told(&mut receiver, 777, &payload));
                }
                KeyTick::Pause => pauses += 1,
                KeyTick::Done => break,
            }
        }
        assert_eq!((packets, ends, pauses), (7, 3, 4));
        assert_eq!(heard, [('#', 100)]);
    }

    #[test]
    fn every_digit_has_its_code_and_nothing_else_has() {
        for (expected, digit) in "0123456789*#ABCD".chars().enumerate() {
            assert_eq!(code(digit), Some(expected as u8));
        }
        assert_eq!(code('a'), Some(12));
        assert_eq!((code('x'), code(' '), code('１')), (None, None, None));
    }

    proptest::proptest! {
        #[test]
        fn any_payloads_are_survived(
            packets in proptest::collection::vec(
                (proptest::num::u32::ANY, proptest::collection::vec(proptest::num::u8::ANY, 0..6)), 0..40,
            ),
        ) {
            let mut receiver = DigitReceiver::default();
            for (timestamp, payload) in packets {
                receiver.packet(timestamp, &payload, 8000);
                receiver.tick();
            }
        }
    }
}
