//! What people do when it rings, and what comes over them while they talk. Each draws from the dice of
//! its world.

use super::cast::Charter;
use super::nature::Dice;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Ring,
    EarlyMedia,
    Answer,
    AnswerWithoutDescription,
    AnswerInAStrangeCodec,
    AnswerWhenCancelled,
    Refuse(u16),
    /// Sends the call on to a number that its tenant may call, or may not.
    Redirect {
        allowed: bool,
    },
    Offer,
    Hold,
    Digit,
    HangUp,
    /// Whoever called has waited long enough.
    GiveUp,
    /// A softphone that nobody took and that was not told to stop.
    StopRinging,
    /// The line of this one call is dead from now on.
    FallSilent,
}

/// What is done, and the ms in which it is done, at the earliest and at the latest.
pub type Plan = Vec<(Act, u64, u64)>;

/// Messages of one call that get lost besides what the weather takes: the next so many whose first line begins and whose
/// CSeq ends so.
#[derive(Debug, Clone, Copy)]
pub struct Loss {
    pub starts: &'static str,
    pub cseq: &'static str,
    pub copies: u32,
}

/// Those whom a notification rings.
pub fn of_notified(is_slow: bool, dice: &mut Dice) -> Plan {
    let first = dice.below(2_000);
    if is_slow {
        return vec![(Act::Ring, first, first)];
    }
    match dice.below(20) {
        0 => vec![(Act::Refuse(503), first, first)],
        1 => vec![(Act::Refuse(404), first, first)],
        2 => vec![(Act::Refuse(486), first, first)],
        // Nobody there, and the network says nothing either.
        3 => vec![],
        4 => vec![(Act::Ring, first, first), (Act::AnswerWhenCancelled, first + 1, first + 1)],
        5 => vec![(Act::Ring, first, first)],
        6 => vec![(Act::Ring, first, first), (Act::Refuse(603), first + 1, first + 8_000)],
        7 => vec![(Act::Answer, first, first)],
        8 => vec![(Act::AnswerWithoutDescription, first, first + 3_000)],
        9 => vec![(Act::AnswerInAStrangeCodec, first, first + 3_000)],
        10 | 11 => {
            vec![(Act::EarlyMedia, first, first), (Act::Answer, first + 1, first + 9_000)]
        }
        _ => vec![(Act::Ring, first, first), (Act::Answer, first + 1, first + 12_000)],
    }
}

/// Managers and customers: two thirds of them answer.
pub fn of_party(is_slow: bool, dice: &mut Dice) -> Plan {
    let first = dice.below(2_000);
    let ring = (Act::Ring, first, first);
    if is_slow {
        return vec![ring];
    }
    if dice.percent(60) {
        return vec![ring, (Act::Answer, first + 1, first + 8_000)];
    }
    match dice.below(3) {
        0 => vec![(Act::Redirect { allowed: dice.percent(70) }, first, first)],
        1 => vec![(Act::Refuse(480), first, first)],
        _ => of_notified(false, dice),
    }
}

/// A party that is connected.
pub fn of_talking(charter: Charter, dice: &mut Dice) -> Plan {
    let talk = match charter {
        Charter::Notifications | Charter::EveryKind => (Act::HangUp, 500, 45_000),
        // Longer than somebody is waited for who has fallen silent.
        Charter::Silence => (Act::HangUp, 60_000, 120_000),
    };
    let mut plan = vec![talk];
    if dice.percent(15) {
        plan.push((Act::Digit, 100, 4_000));
    }
    if dice.percent(10) {
        plan.push((Act::Offer, 100, 3_000));
    }
    if dice.percent(15) {
        plan.push((Act::Hold, 100, 6_000));
        plan.push((Act::Offer, 6_001, 20_000));
    }
    plan
}

/// After how many ms a party falls silent for good that is about to talk.
pub fn silence(charter: Charter, dice: &mut Dice) -> Option<u64> {
    let chance = match charter {
        Charter::Notifications => return None,
        Charter::EveryKind => 6,
        Charter::Silence => 40,
    };
    dice.percent(chance).then(|| 200 + dice.below(8_000))
}

/// What gets lost of a call that this side was called with.
pub fn loss(dice: &mut Dice) -> Option<Loss> {
    let copies = 1 + dice.below(4) as u32;
    let (starts, cseq) = match dice.below(40) {
        0 | 1 => ("SIP/2.0 200", "INVITE"),
        2 | 3 => ("BYE", "BYE"),
        4 => ("ACK", "ACK"),
        5 => ("SIP/2.0 200", "BYE"),
        6 => ("CANCEL", "CANCEL"),
        _ => return None,
    };
    Some(Loss { starts, cseq, copies })
}
