//! What a leg says: silence, clips, digits. Decides for each 20 ms; knows no sockets.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Instant;

use crate::clip::Clip;
use crate::codec::Codec;
use crate::command::{LegId, PlayId};
use crate::event::{Event, MediaFault};
use crate::inbox::Inbox;
use crate::play::{Play, Step};
use crate::prepare::{Prepared, Preparer, Request};
use crate::ringback;
use crate::rtp::digits::{self, KeyPress, KeyTick};
use crate::tone;

/// Digits that may wait on a leg.
const MAX_DIGITS: usize = 64;
/// Tone and pause of a digit in the audio, in ms.
const TONE_MS: u32 = 100;
const TONE_PAUSE_MS: u32 = 80;

/// What one leg says, and is asked to say.
pub(crate) struct Voice {
    leg: LegId,
    playing: Playing,
    keying: Keying,
    digits: VecDeque<char>,
    /// Somebody waits to hear that the digits have left.
    owes_digits_sent: bool,
    turns: u64,
}

enum Playing {
    Nothing,
    Clips {
        id: PlayId,
        play: Play,
    },
    /// Nobody is told of it.
    Ringback(Play),
}

/// How digits are on their way.
enum Keying {
    Idle,
    /// One digit as an RFC 4733 event.
    Event {
        press: KeyPress,
        start: u32,
        payload_type: u8,
        tick: u32,
    },
    /// All that waited, as audio.
    Tones(Play),
}

/// The next 20 ms.
pub(crate) enum Next<'a> {
    Silence,
    Clip { clip: &'a Clip, frame: usize },
    Key { payload_type: u8, start: u32, first: bool, payload: [u8; 4] },
}

/// What deciding needs from around.
pub(crate) struct Around<'a> {
    pub now: Instant,
    pub codec: Codec,
    /// The far side's payload type and clock for digits.
    pub events: Option<(u8, u32)>,
    /// The RTP timestamp of these 20 ms.
    pub timestamp: u32,
    pub preparer: &'a Preparer,
    pub inbox: &'a Weak<Inbox>,
    pub out: &'a mut Vec<Event>,
}

impl Voice {
    pub(crate) fn new(leg: LegId) -> Self {
        Voice {
            leg,
            playing: Playing::Nothing,
            keying: Keying::Idle,
            digits: VecDeque::new(),
            owes_digits_sent: false,
            turns: 0,
        }
    }

    /// Whether it has nothing to say, so that somebody else may be heard instead.
    pub(crate) fn is_silent(&self) -> bool {
        let keys = matches!(self.keying, Keying::Idle) && self.digits.is_empty();
        keys && matches!(self.playing, Playing::Nothing)
    }

    /// Plays a list `times` times, in place of what is playing.
    pub(crate) fn play(
        &mut self,
        id: PlayId,
        clips: Arc<[Clip]>,
        times: u8,
        out: &mut Vec<Event>,
    ) -> Result<(), MediaFault> {
        if clips.is_empty() {
            return Err(MediaFault::NothingToPlay);
        }
        self.stop(out);
        let play = Play::new(self.next_turn(), clips, times.max(1));
        self.playing = Playing::Clips { id, play };
        Ok(())
    }

    /// The ringing tone, in place of what is playing; one that runs goes on.
    pub(crate) fn ring_back(&mut self, out: &mut Vec<Event>) {
        if matches!(self.playing, Playing::Ringback(_)) {
            return;
        }
        self.stop(out);
        self.playing = Playing::Ringback(Play::endless(self.next_turn(), ringback::clip()));
    }

    pub(crate) fn stop(&mut self, out: &mut Vec<Event>) {
        match std::mem::replace(&mut self.playing, Playing::Nothing) {
            Playing::Clips { id: play, .. } => {
                out.push(Event::PlayStopped { leg: self.leg, play });
            }
            Playing::Nothing | Playing::Ringback(_) => {}
        }
    }

    pub(crate) fn send_digits(&mut self, digits: &str) -> Result<(), MediaFault> {
        if let Some(bad) = digits.chars().find(|&digit| digits::code(digit).is_none()) {
            return Err(MediaFault::BadDigit(bad));
        }
        if self.digits.len() + digits.chars().count() > MAX_DIGITS {
            return Err(MediaFault::TooManyDigits);
        }
        self.digits.extend(digits.chars());
        self.owes_digits_sent = true;
        Ok(())
    }

    /// A key that was pressed on another leg, for a far side to which it could not be passed on as an event. Where too many
    /// wait it is dropped.
    pub(crate) fn repeat_digit(&mut self, digit: char) {
        if self.digits.len() < MAX_DIGITS {
            self.digits.push_back(digit);
        }
    }

    /// Clips have been encoded.
    pub(crate) fn prepared(&mut self, prepared: &Prepared, out: &mut Vec<Event>) {
        let leg = self.leg;
        match &mut self.playing {
            Playing::Clips { play, .. } if play.turn == prepared.turn => {
                if !play.prepared() {
                    self.stop(out);
                    out.push(Event::Failed { leg, fault: MediaFault::EncoderBusy });
                }
            }
            // One that could not be encoded is asked for again at the next tick.
            Playing::Ringback(play) if play.turn == prepared.turn => drop(play.prepared()),
            Playing::Nothing | Playing::Clips { .. } | Playing::Ringback(_) => {}
        }
        if let Keying::Tones(play) = &mut self.keying
            && play.turn == prepared.turn
            && !play.prepared()
        {
            self.keying = Keying::Idle;
            out.push(Event::Failed { leg, fault: MediaFault::EncoderBusy });
        }
    }

    /// Decides for the next 20 ms and goes on by as much. Digits go before clips, which wait meanwhile.
    pub(crate) fn next(&mut self, around: &mut Around<'_>) -> Next<'_> {
        if let Some(key) = self.next_key(around) {
            return key;
        }
        let step = match self.step_tones(around) {
            Some(step) => step,
            None => self.step_playing(around),
        };
        if step != Step::Frame {
            return Next::Silence;
        }
        let play = match &mut self.keying {
            Keying::Tones(play) => Some(play),
            Keying::Idle | Keying::Event { .. } => match &mut self.playing {
                Playing::Clips { play, .. } | Playing::Ringback(play) => Some(play),
                Playing::Nothing => None,
            },
        };
        match play.map(Play::take) {
            Some((clip, frame)) => Next::Clip { clip, frame },
            None => Next::Silence,
        }
    }

    /// The next 20 ms of an event; also begins what follows it.
    fn next_key(&mut self, around: &mut Around<'_>) -> Option<Next<'static>> {
        loop {
            match &mut self.keying {
                Keying::Event { press, start, payload_type, tick } => match press.tick(*tick) {
                    KeyTick::Packet { first, payload } => {
                        let (payload_type, start) = (*payload_type, *start);
                        return Some(Next::Key { payload_type, start, first, payload });
                    }
                    KeyTick::Pause => return Some(Next::Silence),
                    KeyTick::Done => self.key_done(around),
                },
                Keying::Tones(_) => return None,
                Keying::Idle => self.begin_key(around)?,
            }
        }
    }

    /// Begins the next digit that waits; `None` where none does.
    fn begin_key(&mut self, around: &Around<'_>) -> Option<()> {
        let code = digits::code(*self.digits.front()?)?;
        self.keying = match around.events {
            Some((payload_type, clock)) => {
                self.digits.pop_front();
                let (press, tick) = (KeyPress::new(code), clock / 50);
                Keying::Event { press, start: around.timestamp, payload_type, tick }
            }
            None => {
                let samples: Vec<i16> = self.digits.drain(..).flat_map(tone_and_pause).collect();
                let clip = Clip::from_pcm(&samples, tone::RATE)
                    .expect("a digit makes some samples at 8 kHz");
                Keying::Tones(Play::new(self.next_turn(), Arc::from([clip]), 1))
            }
        };
        Some(())
    }

    fn step_tones(&mut self, around: &mut Around<'_>) -> Option<Step> {
        let Keying::Tones(play) = &mut self.keying else { return None };
        let leg = self.leg;
        match play.step(around.codec, |play, codec| around.encode(leg, play, codec)) {
            step @ (Step::Wait | Step::Frame) => return Some(step),
            Step::Over => self.key_done(around),
            Step::Failed => {
                self.keying = Keying::Idle;
                around.out.push(Event::Failed { leg, fault: MediaFault::EncoderBusy });
            }
        }
        None
    }

    fn step_playing(&mut self, around: &mut Around<'_>) -> Step {
        let leg = self.leg;
        let (id, play) = match &mut self.playing {
            Playing::Nothing => return Step::Wait,
            Playing::Clips { id, play } => (*id, play),
            Playing::Ringback(play) => {
                return play.step(around.codec, |play, codec| around.encode(leg, play, codec));
            }
        };
        let step = play.step(around.codec, |play, codec| around.encode(leg, play, codec));
        match step {
            Step::Wait => {}
            Step::Frame if play.is_at_start() => {
                around.out.push(Event::PlayStarted { leg, play: id, at: around.now });
            }
            Step::Frame => {}
            Step::Over => {
                self.playing = Playing::Nothing;
                around.out.push(Event::PlayFinished { leg, play: id });
            }
            Step::Failed => {
                self.stop(around.out);
                around.out.push(Event::Failed { leg, fault: MediaFault::EncoderBusy });
            }
        }
        step
    }

    fn key_done(&mut self, around: &mut Around<'_>) {
        self.keying = Keying::Idle;
        if self.digits.is_empty() && std::mem::take(&mut self.owes_digits_sent) {
            around.out.push(Event::DigitsSent { leg: self.leg });
        }
    }

    /// The number of the next play.
    fn next_turn(&mut self) -> u64 {
        self.turns += 1;
        self.turns
    }
}

impl Around<'_> {
    fn encode(&self, leg: LegId, play: &Play, codec: Codec) -> bool {
        let (turn, clips) = (play.turn, Arc::clone(&play.clips));
        self.preparer.request(Request {
            leg,
            turn,
            codec,
            clips,
            reply_to: Weak::clone(self.inbox),
        })
    }
}

fn tone_and_pause(digit: char) -> impl Iterator<Item = i16> {
    let tone = tone::digit(digit, TONE_MS).unwrap_or_default();
    tone.into_iter().chain(tone::silence(TONE_PAUSE_MS))
}
