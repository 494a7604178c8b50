//! What the owner of a leg may ask of the media threads.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::clip::Clip;
use crate::codec::Codec;
use crate::seal::Seal;
use crate::srtp::Srtp;

/// A leg's name, chosen by its owner and never used twice in a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LegId(pub u64);

/// The name of one [`Command::Play`], chosen by the owner of the leg and echoed in its events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PlayId(pub u64);

/// One thing to do for one leg. What follows is told by events that carry the same [`LegId`].
pub enum Command {
    /// Bind a port and describe it. On a leg that exists: a further offer from its port (a re-INVITE of ours).
    /// Followed by `Offered` or `Failed`.
    Offer { leg: LegId, codecs: Vec<Codec>, dtmf: bool, srtp: Srtp },
    /// Bind a port and answer the far side's offer (an inbound call, or a late offer in a 200 OK).
    /// Followed by `Answered` and `Negotiated`, or by `Failed`, after which the leg does not exist.
    Answer { leg: LegId, offer: Bytes, codecs: Vec<Codec>, srtp: Srtp },
    /// The far side's answer to our offer, provisional or final; may come again and may differ.
    /// Followed by `Negotiated` or `Failed` (the leg stays as it was).
    Remote { leg: LegId, sdp: Bytes },
    /// The far side offers anew in a running session (re-INVITE, UPDATE).
    /// Followed by `Answered` and `Negotiated`, or by `Failed` (the leg stays as it was).
    Reoffered { leg: LegId, sdp: Bytes },
    /// After a restart: bind the very port that `sdp`, our own last description of this leg, names. Followed by
    /// `Offered` with the same description; a `Remote` with the far side's SDP then brings the audio back. SRTP keys are
    /// those in `sdp`.
    Rebind { leg: LegId, sdp: Bytes },
    /// Play the clips in order, the whole list `times` times (0 counts as 1). Replaces what is playing. On a leg
    /// that is not negotiated yet it begins when that is done.
    Play { leg: LegId, play: PlayId, clips: Arc<[Clip]>, times: u8 },
    /// Silence from the next packet on. Followed by `PlayStopped` if something was playing.
    StopPlay { leg: LegId },
    /// Record into a new file (an existing one is refused): A-law WAV at 8 kHz that opens at any moment, also after a
    /// crash. With `seal` its pieces instead, one each half second. Followed by `RecordingStarted` or `RecordingFailed`.
    Record { leg: LegId, path: PathBuf, mode: RecordMode, seal: Option<Box<dyn Seal>> },
    /// Followed by `RecordingDone`.
    StopRecording { leg: LegId },
    /// Send digits (`0`–`9`, `*`, `#`, `A`–`D`): by RFC 4733 where the far side takes it, else as tones in the audio.
    /// Followed by `DigitsSent` or `Failed`.
    SendDigits { leg: LegId, digits: String },
    /// Hear what the leg receives. Replaces an earlier listener.
    Listen { leg: LegId, sink: ListenSink },
    /// Say BYE in RTCP, forget the leg, let its port rest. Followed by `Closed`.
    Close { leg: LegId },
}

impl Command {
    /// The leg that the command is for.
    pub fn leg(&self) -> LegId {
        match self {
            Command::Offer { leg, .. }
            | Command::Answer { leg, .. }
            | Command::Remote { leg, .. }
            | Command::Reoffered { leg, .. }
            | Command::Rebind { leg, .. }
            | Command::Play { leg, .. }
            | Command::StopPlay { leg }
            | Command::Record { leg, .. }
            | Command::StopRecording { leg }
            | Command::SendDigits { leg, .. }
            | Command::Listen { leg, .. }
            | Command::Close { leg } => *leg,
        }
    }
}

/// What a recording holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordMode {
    /// Stereo: left what the leg received, right what it sent.
    Both,
    /// Mono: what the leg received.
    Received,
}

/// Where a leg's received audio goes.
pub type ListenSink = Box<dyn Listen>;

/// Called on the media thread, every 20 ms: return at once, lock nothing that others hold for long.
/// A panic in here costs its leg ([`crate::Event::LegPanicked`]) and no other.
pub trait Listen: Send + 'static {
    /// The next 20 ms as 160 samples at 8 kHz, in playing order, losses filled with silence.
    fn audio(&mut self, samples: &[i16]);
    /// One RTP audio packet as it came in, before the jitter buffer.
    fn packet(&mut self, arrival: Arrival);
}

/// When a packet came, against when it was due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// RTP sequence number.
    pub sequence: u16,
    /// RTP timestamp, in units of the codec's clock.
    pub timestamp: u32,
    /// How much longer than the fastest packet so far of this source this one was on its way, by the kernel's
    /// arrival time.
    pub delay: Duration,
}
