//! Which thread a leg lives on.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::command::{Command, LegId};

/// Knows the thread of every leg that there is. Legs that are made beside each other share one.
pub(crate) struct Placement {
    threads: usize,
    /// As many as there are legs, whose number ports and descriptors bound.
    legs: Mutex<HashMap<LegId, usize>>,
}

impl Placement {
    pub(crate) fn new(threads: usize) -> Self {
        Placement { threads, legs: Mutex::default() }
    }

    /// The thread that a command is for, and whether the command has just given the leg its place there: it makes the leg.
    pub(crate) fn place(&self, command: &Command) -> (usize, bool) {
        let leg = command.leg();
        let beside = match command {
            Command::Offer { beside, .. } | Command::Answer { beside, .. } => *beside,
            Command::Rebind { .. } => None,
            Command::Remote { .. }
            | Command::Reoffered { .. }
            | Command::Play { .. }
            | Command::StopPlay { .. }
            | Command::Record { .. }
            | Command::StopRecording { .. }
            | Command::PauseRecording { .. }
            | Command::ResumeRecording { .. }
            | Command::SendDigits { .. }
            | Command::Listen { .. }
            | Command::Bridge { .. }
            | Command::Forward { .. }
            | Command::Unbridge { .. }
            | Command::Ringback { .. }
            | Command::Watch { .. }
            | Command::Close { .. } => return (self.thread_of(leg), false),
        };
        if self.threads == 1 {
            return (0, false);
        }
        let mut legs = self.lock();
        if let Some(known) = legs.get(&leg) {
            return (*known, false);
        }
        let beside = beside.and_then(|other| legs.get(&other).copied());
        let thread = beside.unwrap_or_else(|| self.at_home(leg));
        legs.insert(leg, thread);
        (thread, true)
    }

    /// Whether the leg exists, and on another thread than this.
    pub(crate) fn lives_elsewhere(&self, leg: LegId, thread: usize) -> bool {
        self.threads > 1 && self.lock().get(&leg).is_some_and(|known| *known != thread)
    }

    fn thread_of(&self, leg: LegId) -> usize {
        match self.threads {
            1 => 0,
            _ => self.lock().get(&leg).copied().unwrap_or_else(|| self.at_home(leg)),
        }
    }

    /// The leg is no more, or was never made.
    pub(crate) fn forget(&self, leg: LegId) {
        if self.threads > 1 {
            self.lock().remove(&leg);
        }
    }

    /// By twos: a call's legs are often numbered one after the other, and every second leg must not decide for all.
    fn at_home(&self, leg: LegId) -> usize {
        ((leg.0 / 2) % self.threads as u64) as usize
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<LegId, usize>> {
        // Nothing panics while it holds the lock.
        self.legs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::srtp::Srtp;

    fn offer(leg: u64, beside: Option<u64>) -> Command {
        let beside = beside.map(LegId);
        Command::Offer { leg: LegId(leg), codecs: vec![], dtmf: true, srtp: Srtp::Off, beside }
    }

    #[test]
    fn a_leg_goes_beside_the_other_and_stays_there_until_it_ends() {
        let placement = Placement::new(3);
        let first = placement.place(&offer(2, None)).0;
        for beside in [None, Some(3), Some(5)] {
            assert_eq!(placement.place(&offer(2, beside)), (first, false), "a further offer");
        }
        let elsewhere = (3..).find(|&leg| placement.thread_of(LegId(leg)) != first).unwrap();
        assert_eq!(placement.place(&offer(elsewhere, Some(2))), (first, true));
        assert!(!placement.lives_elsewhere(LegId(elsewhere), first));
        assert!(placement.lives_elsewhere(LegId(elsewhere), first + 1));
        assert_eq!(placement.place(&offer(elsewhere + 100, Some(elsewhere))), (first, true));
        assert_eq!(placement.place(&Command::Close { leg: LegId(elsewhere) }), (first, false));
        placement.forget(LegId(elsewhere));
        assert_ne!(placement.thread_of(LegId(elsewhere)), first);
    }

    #[test]
    fn first_legs_of_calls_with_two_are_spread() {
        let placement = Placement::new(2);
        let mut legs = [0; 2];
        for call in 0..100 {
            let (thread, _) = placement.place(&offer(call * 2, None));
            assert_eq!(placement.place(&offer(call * 2 + 1, Some(call * 2))).0, thread);
            legs[thread] += 1;
        }
        assert_eq!(legs, [50, 50]);
    }
}
