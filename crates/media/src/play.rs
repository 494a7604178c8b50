//! A list of clips on its way through a leg, 20 ms by 20 ms.

use std::sync::Arc;

use crate::clip::Clip;
use crate::codec::Codec;

/// A list of clips and how far it has come. The place is counted in 20 ms frames, which are the same in every codec: a
/// change of codec in the middle goes on where it was.
pub(crate) struct Play {
    /// Tells the plays of a leg apart.
    pub turn: u64,
    pub clips: Arc<[Clip]>,
    rounds: Rounds,
    is_at_start: bool,
    clip: usize,
    frame: usize,
    state: State,
}

/// How often the list is still to be played, the round that runs included.
#[derive(Clone, Copy, PartialEq)]
enum Rounds {
    Left(u8),
    Endless,
}

#[derive(Clone, Copy)]
enum State {
    /// The clips may lack the codec's packets.
    Unprepared,
    /// The encoding thread makes them.
    Encoding(Codec),
    Running,
}

/// What the next 20 ms are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Silence, until the packets are made.
    Wait,
    /// The frame that [`Play::take`] gives.
    Frame,
    /// All rounds have been played.
    Over,
    /// The packets could not be made.
    Failed,
}

impl Play {
    /// `clips` is not empty, `times` not zero.
    pub(crate) fn new(turn: u64, clips: Arc<[Clip]>, times: u8) -> Self {
        Play::of(turn, clips, Rounds::Left(times))
    }

    /// `clips` is not empty.
    pub(crate) fn endless(turn: u64, clips: Arc<[Clip]>) -> Self {
        Play::of(turn, clips, Rounds::Endless)
    }

    fn of(turn: u64, clips: Arc<[Clip]>, rounds: Rounds) -> Self {
        let state = State::Unprepared;
        Play { turn, clips, rounds, is_at_start: true, clip: 0, frame: 0, state }
    }

    /// Whether nothing of it has been taken yet.
    pub(crate) fn is_at_start(&self) -> bool {
        self.is_at_start
    }

    /// Looks at the next 20 ms. `encode` asks for the packets of a codec; false where it is too busy.
    pub(crate) fn step(&mut self, codec: Codec, encode: impl Fn(&Play, Codec) -> bool) -> Step {
        if self.rounds == Rounds::Left(0) {
            return Step::Over;
        }
        match self.state {
            State::Encoding(asked) if asked == codec => return Step::Wait,
            State::Running if self.clips[self.clip].is_prepared(codec) => return Step::Frame,
            State::Unprepared | State::Encoding(_) | State::Running => {}
        }
        if self.clips.iter().all(|clip| clip.is_prepared(codec)) {
            self.state = State::Running;
            return Step::Frame;
        }
        if encode(self, codec) {
            self.state = State::Encoding(codec);
            Step::Wait
        } else {
            Step::Failed
        }
    }

    /// The packets asked for are made; false where they are not after all.
    pub(crate) fn prepared(&mut self) -> bool {
        if let State::Encoding(codec) = self.state {
            self.state = State::Running;
            return self.clips.iter().all(|clip| clip.is_prepared(codec));
        }
        true
    }

    /// The frame after a [`Step::Frame`]; goes on to the next.
    pub(crate) fn take(&mut self) -> (&Clip, usize) {
        let taken = (self.clip, self.frame);
        self.is_at_start = false;
        self.frame += 1;
        if self.frame == self.clips[self.clip].frame_count() {
            self.frame = 0;
            self.clip += 1;
        }
        if self.clip == self.clips.len() {
            self.clip = 0;
            if let Rounds::Left(left) = &mut self.rounds {
                *left -= 1;
            }
        }
        (&self.clips[taken.0], taken.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip(frames: usize, level: i16) -> Clip {
        Clip::from_pcm(&vec![level; frames * 160], 8000).unwrap()
    }

    fn drive(play: &mut Play, codec: Codec, steps: usize) -> Vec<(u64, usize)> {
        let mut taken = Vec::new();
        for _ in 0..steps {
            match play.step(codec, |play, codec| {
                for clip in play.clips.iter() {
                    clip.prepare(codec);
                }
                true
            }) {
                Step::Frame => {
                    let (clip, frame) = play.take();
                    taken.push((clip.id(), frame));
                }
                Step::Wait => assert!(play.prepared()),
                step @ (Step::Over | Step::Failed) => panic!("{step:?} too early"),
            }
        }
        taken
    }

    #[test]
    fn the_whole_list_is_repeated_in_order_across_a_change_of_codec() {
        let (a, b) = (clip(2, 100), clip(1, 900));
        let mut play = Play::new(1, Arc::from([a.clone(), b.clone()]), 2);
        assert!(play.is_at_start());
        let mut taken = drive(&mut play, Codec::Pcmu, 3);
        assert!(!play.is_at_start());
        taken.extend(drive(&mut play, Codec::Opus, 5));
        let round = [(a.id(), 0), (a.id(), 1), (b.id(), 0)];
        assert_eq!(taken, [round, round].concat());
        assert_eq!(play.step(Codec::Opus, |_, _| panic!("all is encoded")), Step::Over);
    }

    #[test]
    fn an_endless_play_has_no_end() {
        let tone = clip(1, 100);
        let mut play = Play::endless(1, Arc::from([tone.clone()]));
        assert_eq!(drive(&mut play, Codec::Pcma, 1_000), [(tone.id(), 0)].repeat(1_000));
    }

    #[test]
    fn an_encoder_that_is_busy_or_gave_up_fails_the_play() {
        let mut play = Play::new(1, Arc::from([clip(1, 100)]), 1);
        assert_eq!(play.step(Codec::Opus, |_, _| false), Step::Failed);
        let mut play = Play::new(1, Arc::from([clip(1, 100)]), 1);
        assert_eq!(play.step(Codec::Opus, |_, _| true), Step::Wait);
        assert!(!play.prepared());
    }
}
