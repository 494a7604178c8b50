//! Who calls the server: programs with a code, with a used one, a late one or a guess; parties of ITA
//! bindings; and strangers who try their numbers.

use std::time::Duration;

use engine::intent::AnonymousCall;

use super::agenda::Agenda;
use super::cast::{CALLERS, GUESS, PHONES, POOL, SOFTPHONE, Side};
use super::far_side::Errand;
use super::nature::{Dice, Nature};

#[derive(Default)]
pub struct Callers {
    agenda: Agenda<(Side, Errand)>,
}

/// Two parties who reach each other by calling `x`.
#[derive(Debug, Clone)]
pub struct Bound {
    pub x: String,
    pub parties: [String; 2],
}

impl Callers {
    /// Those who guess, and those who call virtual numbers that are not theirs.
    pub fn new(dice: &mut Dice) -> Callers {
        let mut callers = Callers::default();
        for _ in 0..dice.below(4) {
            let at = Duration::from_millis(dice.below(60_000));
            let errand = match dice.below(4) {
                0 => {
                    let x = POOL[dice.below(POOL.len() as u64) as usize].to_owned();
                    Errand::Virtual { x, from: format!("7{}", dice.below(10)) }
                }
                _ => Errand::Guess(format!("{GUESS}{:012}", dice.below(1_000_000_000_000))),
            };
            let side = match errand {
                Errand::Virtual { .. } => Side::Carrier,
                Errand::Code { .. } | Errand::Guess(_) => any_caller(dice),
            };
            callers.agenda.put(at, (side, errand));
        }
        callers
    }

    /// Somebody has been given a code.
    pub fn have(&mut self, call: &AnonymousCall, nature: &mut Nature) {
        let errand =
            || Errand::Code { code: call.code.clone(), valid_until_ms: call.valid_until_ms };
        let mut comes = |low, high, nature: &mut Nature| {
            let (side, at) = (any_caller(&mut nature.dice), nature.in_ms(low, high));
            self.agenda.put(at, (side, errand()));
        };
        match nature.dice.below(10) {
            // Nobody comes.
            0 => {}
            // Two at the same time.
            1 => {
                comes(1_000, 1_010, nature);
                comes(1_000, 1_010, nature);
            }
            // Once more when it is used.
            2 | 3 => {
                comes(200, 8_000, nature);
                comes(8_001, 40_000, nature);
            }
            // When it is not good any more, perhaps.
            4 => comes(60_000, 100_000, nature),
            _ => comes(200, 20_000, nature),
        }
    }

    /// Two parties are bound: one of them may call the other, perhaps when they are not bound any more.
    pub fn are_bound(&mut self, bound: &Bound, nature: &mut Nature) {
        for from in &bound.parties {
            if !nature.dice.percent(60) {
                continue;
            }
            let errand = Errand::Virtual { x: bound.x.clone(), from: from.clone() };
            let phone = PHONES.iter().position(|seat| seat.number == from);
            let side = phone.map_or(Side::Carrier, |phone| Side::Phone(phone as u8));
            debug_assert_eq!(phone.is_some(), from.starts_with(SOFTPHONE));
            let at = nature.in_ms(500, 40_000);
            self.agenda.put(at, (side, errand));
        }
    }

    pub fn next(&self) -> Option<Duration> {
        self.agenda.next()
    }

    pub fn take(&mut self, now: Duration) -> Option<(Side, Errand)> {
        self.agenda.take(now)
    }
}

fn any_caller(dice: &mut Dice) -> Side {
    Side::Caller(dice.below(CALLERS.len() as u64) as u8)
}
