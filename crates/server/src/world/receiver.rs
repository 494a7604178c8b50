//! The one who is told by callback how each call ended: takes it, refuses it, answers late, or is away.

use std::collections::BTreeMap;
use std::time::Duration;

use store::CallbackResult;

use super::nature::Nature;
use crate::callbacks::schedule::Outcome;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Takes,
    Refuses,
    /// Says 429 and when to come again.
    AsksToWait,
    /// Takes it, but the answer comes after so many ms.
    Late(u64),
    /// Nobody is there.
    Away,
}

pub struct Receiver {
    mood: Mood,
    got: BTreeMap<String, Got>,
}

/// What came under one `webhook-id`.
#[derive(Debug, Default)]
pub struct Got {
    pub bodies: Vec<Vec<u8>>,
    /// Times that it was answered with 200.
    pub taken: u32,
}

/// An answer that is on its way back.
pub struct Answer {
    pub after: Duration,
    pub result: CallbackResult,
    pub outcome: Outcome,
}

impl Default for Receiver {
    fn default() -> Self {
        Receiver { mood: Mood::Takes, got: BTreeMap::new() }
    }
}

impl Receiver {
    pub fn turn(&mut self, mood: Mood, nature: &mut Nature) {
        nature.say(format_args!("the receiver: {mood:?}"));
        self.mood = mood;
    }

    pub fn post(&mut self, id: &str, body: Vec<u8>, nature: &mut Nature) -> Answer {
        nature.tape.add(&body);
        nature.say(format_args!("POST {id}: {:?}", self.mood));
        let (after_ms, status, retry_after) = match self.mood {
            // The time in which an attempt must be over (callbacks::client).
            Mood::Away => return no_answer(Duration::from_secs(10)),
            Mood::Takes => (5 + nature.dice.below(60), 200, None),
            Mood::Late(ms) => (ms, 200, None),
            Mood::Refuses => (5 + nature.dice.below(60), 500, None),
            Mood::AsksToWait => (5, 429, Some(Duration::from_secs(40))),
        };
        let got = self.got.entry(id.to_owned()).or_default();
        got.bodies.push(body);
        got.taken += u32::from(status == 200);
        Answer {
            after: Duration::from_millis(after_ms),
            result: CallbackResult::Reply { status, body: String::new() },
            outcome: Outcome::Answered { status, retry_after },
        }
    }

    pub fn got(&self) -> &BTreeMap<String, Got> {
        &self.got
    }
}

fn no_answer(after: Duration) -> Answer {
    let result = CallbackResult::Error { why: "nobody is there".into() };
    Answer { after, result, outcome: Outcome::Unanswered }
}
