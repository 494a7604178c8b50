//! The parties of the legs, as far as the engine can tell, and what the engine does with them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{CONCURRENT, Storm, TRUNKS};
use engine::action::{Action, Input, LegInput, PlayId, Redirect, Then};
use engine::cdr::Cause;
use engine::vocabulary::{LegId, Serial, Side};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leg {
    Opened,
    Prepared,
    Sent,
    Ringing,
    Answered,
    Up(Option<PlayId>),
    /// A caller from outside whom nobody has taken in or refused.
    Came,
    TakingIn,
    /// It hears ringing.
    TakenIn,
    /// Its 200 is asked for.
    Answering,
    /// Its 200 is built.
    Built,
    HungUp,
    Ended,
}

impl Leg {
    fn is_over(self) -> bool {
        matches!(self, Leg::HungUp | Leg::Ended)
    }
}

impl Storm {
    /// A caller from outside.
    pub fn comes(&mut self) -> LegId {
        self.inbound += 1;
        let leg = LegId(self.inbound);
        self.legs.insert(leg, Leg::Came);
        self.sides.insert(leg, Side::Caller);
        leg
    }

    pub fn leg_acts(&mut self) {
        let alive = self.legs.iter().filter(|(_, leg)| **leg != Leg::Ended).map(|(id, _)| *id);
        let Some(id) = self.random.pick(alive.collect()) else { return };
        let ends = self.random.chance(16);
        let input = match self.legs[&id] {
            _ if ends => self.end(id),
            Leg::Opened => self.becomes(id, Leg::Prepared, prepared()),
            Leg::Prepared | Leg::Answered | Leg::Built | Leg::Came | Leg::Ended => return,
            Leg::Sent if self.random.chance(6) => self.becomes(id, Leg::Prepared, challenged()),
            Leg::Sent if self.random.chance(3) => LegInput::Trying,
            Leg::Sent if self.random.chance(2) => self.answers(id),
            Leg::Sent => self.becomes(id, Leg::Ringing, LegInput::Ringing),
            Leg::Ringing if self.random.chance(4) => LegInput::EarlyMedia,
            Leg::Ringing => self.answers(id),
            Leg::Up(Some(play)) if self.random.chance(2) => {
                self.becomes(id, Leg::Up(None), LegInput::PlayFinished { play })
            }
            Leg::Up(_) => self.something_while_up(),
            Leg::TakingIn if self.random.chance(8) => LegInput::MediaFailed(Cause::MediaFailed),
            Leg::TakingIn => self.becomes(id, Leg::TakenIn, LegInput::TakenIn),
            Leg::TakenIn => LegInput::InfoDigit('7'),
            Leg::Answering => self.becomes(id, Leg::Built, LegInput::Answering { dialog: vec![] }),
            // The answer crosses our hang-up, or the far side lets us wait.
            Leg::HungUp if self.random.chance(4) => LegInput::Answered { dialog: vec![] },
            Leg::HungUp if self.random.chance(3) => return,
            Leg::HungUp => self.end(id),
        };
        self.input(Input::Leg { leg: id, input });
    }

    fn something_while_up(&mut self) -> LegInput {
        match self.random.below(9) {
            0 => LegInput::Digit('5'),
            1 => LegInput::RecordingStarted,
            2 => LegInput::PlayStarted,
            3 => LegInput::MediaFailed(Cause::MediaFailed),
            4 => LegInput::RecordingFailed,
            5 => LegInput::InfoDigit('6'),
            6 => LegInput::Held(self.random.chance(2)),
            7 => LegInput::Quiet,
            _ => LegInput::PlayFinished { play: PlayId(99) },
        }
    }

    fn answers(&mut self, id: LegId) -> LegInput {
        self.becomes(id, Leg::Answered, LegInput::Answered { dialog: vec![] })
    }

    fn becomes(&mut self, id: LegId, leg: Leg, input: LegInput) -> LegInput {
        self.legs.insert(id, leg);
        input
    }

    fn end(&mut self, id: LegId) -> LegInput {
        self.legs.insert(id, Leg::Ended);
        let causes = [
            Cause::Released,
            Cause::Busy,
            Cause::Declined,
            Cause::NoAnswer,
            Cause::TrunkFailed,
            Cause::NoResource,
        ];
        let cause = causes[self.random.below(causes.len() as u64) as usize];
        let route = || "backup*1,carrier*0".parse().expect("a route");
        let then = match self.random.below(8) {
            0 => Then::Rest(Duration::from_secs(self.random.below(20))),
            1 => Then::Redirect(Redirect { called: "8898".into(), route: route() }),
            _ => Then::Nothing,
        };
        let sip_status = self.random.chance(2).then_some(500);
        LegInput::Ended { cause, sip_status, media: None, then }
    }

    /// Does what the engine wants of a leg, and judges it.
    pub fn of_a_leg(&mut self, action: Action) {
        match action {
            Action::Open { leg, serial, to } => {
                self.trunks.extend(to.via.trunk().map(|trunk| (leg, trunk.clone())));
                self.new_leg(leg, serial, Leg::Opened);
            }
            Action::Dial { leg } => self.dialled(leg),
            Action::Acknowledge { leg } => {
                self.is_answered_once(leg);
                self.advance(leg, Leg::Answered, Leg::Up(None));
            }
            Action::TakeIn { leg, serial } => {
                self.advance(leg, Leg::Came, Leg::TakingIn);
                assert!(self.owners.insert(leg, serial).is_none(), "a caller was taken in twice");
            }
            Action::Ring { leg } | Action::Progress { leg } => {
                self.advance(leg, Leg::TakenIn, Leg::TakenIn);
            }
            Action::Answer { leg } => self.advance(leg, Leg::TakenIn, Leg::Answering),
            Action::SendAnswer { leg } => {
                self.is_answered_once(leg);
                let callee = (self.owners[&leg], Side::Called);
                assert!(self.talking.contains(&callee), "a caller was answered for nobody");
                self.advance(leg, Leg::Built, Leg::Up(None));
            }
            Action::Play { leg, play } => self.advance(leg, Leg::Up(None), Leg::Up(Some(play))),
            Action::Bridge { leg, with } => {
                let (one, two) = (self.owners[&leg], self.owners[&with]);
                assert_eq!(one, two, "legs of two calls hear each other");
                self.bridges.push((leg, with));
            }
            Action::Record { leg }
            | Action::SwitchRecording { leg, .. }
            | Action::Ringback { leg }
            | Action::Watch { leg }
            | Action::SendDigit { leg, .. }
            | Action::Forward { to: leg, .. } => assert!(self.owners.contains_key(&leg)),
            Action::HangUp { leg } => self.told_to_end(leg),
            Action::Refuse { leg, .. } => {
                let of = self.legs[&leg];
                let answered = matches!(of, Leg::Up(_) | Leg::Built);
                assert!(!answered, "{leg:?} is refused after its answer");
                self.told_to_end(leg);
            }
            Action::Resume { leg, serial, .. } => self.new_leg(leg, serial, Leg::Sent),
            Action::Abandon { leg, serial, .. } | Action::HangUpStored { leg, serial, .. } => {
                self.new_leg(leg, serial, Leg::HungUp);
            }
            other => panic!("{other:?} is of no leg"),
        }
    }

    fn told_to_end(&mut self, leg: LegId) {
        let of = self.legs.get_mut(&leg).expect("a leg that was opened");
        assert_ne!(*of, Leg::HungUp, "{leg:?} is told to end twice");
        if *of != Leg::Ended {
            *of = Leg::HungUp;
        }
    }

    fn dialled(&mut self, leg: LegId) {
        assert!(self.attempts.contains(&leg), "an INVITE left before its attempt");
        let owner = self.owners[&leg];
        let has_caller = self
            .sides
            .iter()
            .any(|(of, side)| *side == Side::Caller && self.owners.get(of) == Some(&owner));
        if has_caller && self.sides[&leg] == Side::Called {
            let up = self.talking.contains(&(owner, Side::Caller));
            let came = self.owners.iter().any(|(of, serial)| *serial == owner && of.0 >> 63 == 1);
            assert!(up || came, "the called party is dialled before the caller is up");
        }
        self.advance(leg, Leg::Prepared, Leg::Sent);
    }

    fn is_answered_once(&mut self, leg: LegId) {
        assert!(self.dialogs.contains(&leg), "an ACK or a 200 left before its dialog");
        let party = (self.owners[&leg], self.sides[&leg]);
        assert!(self.talking.insert(party), "two legs of one party were answered");
    }

    fn new_leg(&mut self, leg: LegId, serial: Serial, state: Leg) {
        assert!(self.legs.insert(leg, state).is_none(), "a leg number was used twice");
        self.owners.insert(leg, serial);
    }

    /// The far side may have ended in the meantime; nothing else may have.
    fn advance(&mut self, leg: LegId, from: Leg, to: Leg) {
        let of = self.legs.get_mut(&leg).expect("a leg that was opened");
        if *of == from {
            *of = to;
        } else {
            assert!(of.is_over(), "{leg:?} is {of:?}, wanted {from:?}");
        }
    }

    /// No more legs and calls than the limits let; where one of two ended the other was told to.
    pub fn check_legs(&self) {
        let live = || self.legs.iter().filter(|(_, leg)| !leg.is_over()).map(|(id, _)| id);
        assert!(live().all(|id| self.legs[id] != Leg::Came), "a caller got no answer at all");
        let calls: BTreeSet<_> = live().filter_map(|id| self.owners.get(id)).collect();
        // Six were left behind by the run before, whatever the limits are.
        let most = CONCURRENT as usize + 6;
        assert!(calls.len() <= most, "{} calls at once, {most} allowed", calls.len());
        let mut over: BTreeMap<&str, usize> = BTreeMap::new();
        for trunk in live().filter_map(|id| self.trunks.get(id)) {
            *over.entry(&trunk.0).or_default() += 1;
        }
        for trunk in TRUNKS {
            let legs = over.get(trunk).copied().unwrap_or(0);
            assert!(legs <= CONCURRENT as usize, "{legs} legs over {trunk}");
        }
        if self.open.is_empty() && self.flying.is_empty() {
            for (one, two) in &self.bridges {
                let (one, two) = (self.legs[one], self.legs[two]);
                assert_eq!(
                    one.is_over(),
                    two.is_over(),
                    "one of two parties is left: {one:?} {two:?}"
                );
            }
        }
    }
}

fn prepared() -> LegInput {
    LegInput::Prepared { wire: vec![], media: vec![] }
}

fn challenged() -> LegInput {
    LegInput::Challenged { wire: vec![], media: vec![] }
}
