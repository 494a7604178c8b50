//! What a simulated phone does when it is called.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A phone's behaviour. Unless it says otherwise the phone then listens until the caller hangs up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Behaviour {
    /// Rings for `ring` (zero: does not ring), then answers.
    Answer { ring: Duration },
    /// Rings for `ring`, answers, plays a tone of so many Hz, and hangs up after `talk`; `None`: never.
    Tone { ring: Duration, hz: u16, talk: Option<Duration> },
    /// Answers at once and hangs up `talk` later.
    HangUp { talk: Duration },
    /// Answers at once and presses `digits` after `wait` (RFC 4733).
    Press { wait: Duration, digits: String },
    /// Rings for `ring`, then refuses with `status` (300 to 699).
    Refuse { ring: Duration, status: u16 },
    /// Refuses at once with 503 and asks for so long a rest (Retry-After).
    Overloaded { retry_after: Duration },
    /// Sends the call on (302) to another number of the same carrier.
    Redirect { to: String },
    /// Rings until the caller gives up.
    NoAnswer,
    /// Says `100 Trying` and nothing more until the caller gives up.
    Stuck,
    /// Says nothing at all, as if the datagrams were lost.
    Dead,
    /// Answers after a second, speaks a greeting, beeps, listens, hangs up after ten more seconds.
    Voicemail,
    /// Plays ring-back tone as early media (183) for `ring`, then answers.
    EarlyMedia { ring: Duration },
    /// Answers and promises audio both ways, yet never sends a packet.
    OneWay,
    /// Answers with an address at which nobody listens: hears nothing.
    Deaf,
    /// Rings, and answers in the moment in which the caller's CANCEL arrives, ahead of it.
    CancelRace,
    /// Two phones behind a forking proxy ring and answer at the same time: two 200s with different tags.
    Forked,
    /// Answers, and sends a re-INVITE with the same session after `after`.
    Reinvite { after: Duration },
    /// Answers, puts the caller on hold after one second and takes the call back after two more.
    Hold,
    /// Answers with a session description that is legal and unusual.
    OddSdp(OddSdp),
    /// Answers, and `after` later sends and hears no audio any more; the call stays up.
    LoseAudio { after: Duration },
    /// Answers; the first 200 is lost and has to be sent again.
    AnswerLost,
    /// Answers, and hangs up `talk` later; the first BYE is lost and has to be sent again.
    ByeLost { talk: Duration },
    /// Answers, and refuses each re-INVITE with 488.
    RefuseOffers,
    /// Answers, and `after` later is gone: no audio, no answer to BYE.
    Vanish { after: Duration },
}

/// Unusual session descriptions, all seen from real carriers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OddSdp {
    /// No `s=`, no `t=`, an unknown attribute, and a declined T.38 line after the audio.
    Sparse,
    /// The answer stands in the 183; the 200 has no body.
    OnlyEarly,
    /// The answer names codecs that were not offered.
    NoCommonCodec,
    /// The 200 has no body and none came before.
    Missing,
}
