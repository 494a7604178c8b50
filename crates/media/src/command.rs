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
    /// `beside` names a leg that this one shall hear or be heard by: only legs that were made beside each other can be
    /// bridged. It says nothing on a leg that exists. Followed by `Offered` or `Failed`.
    Offer { leg: LegId, codecs: Vec<Codec>, dtmf: bool, srtp: Srtp, beside: Option<LegId> },
    /// Bind a port and answer the far side's offer (an inbound call, or a late offer in a 200 OK); `beside` as above.
    /// Followed by `Answered` and `Negotiated`, or by `Failed`, after which the leg does not exist.
    Answer { leg: LegId, offer: Bytes, codecs: Vec<Codec>, srtp: Srtp, beside: Option<LegId> },
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
    /// that is not negotiated yet it begins when that is done. A leg that hears another hears the clips instead, and
    /// the other again after them.
    Play { leg: LegId, play: PlayId, clips: Arc<[Clip]>, times: u8 },
    /// Silence from the next packet on. Followed by `PlayStopped` if something was playing.
    StopPlay { leg: LegId },
    /// Record into a new file (an existing one is refused): A-law WAV at 8 kHz that opens at any moment, also after a
    /// crash. With `seal` its pieces instead, one each half second. Followed by `RecordingStarted` or `RecordingFailed`.
    Record { leg: LegId, path: PathBuf, mode: RecordMode, seal: Option<Box<dyn Seal>> },
    /// Followed by `RecordingDone`.
    StopRecording { leg: LegId },
    /// From the next 20 ms on the recording holds silence of the same length (card data must not be kept). Followed by
    /// `RecordingPaused`, also where nothing is recorded.
    PauseRecording { leg: LegId },
    /// The recording holds what is heard and said again. Followed by `RecordingResumed`.
    ResumeRecording { leg: LegId },
    /// Send digits (`0`–`9`, `*`, `#`, `A`–`D`): by RFC 4733 where the far side takes it, else as tones in the audio.
    /// Followed by `DigitsSent` or `Failed`.
    SendDigits { leg: LegId, digits: String },
    /// Hear what the leg receives. Replaces an earlier listener.
    Listen { leg: LegId, sink: ListenSink },
    /// From now on the two hear each other; what either plays stops (`PlayStopped`). Undoes what either heard or was
    /// heard by before, except for a `Forward` between the two, which goes on without a break. It holds as long as both
    /// legs exist; a leg whose partner has ended sends silence. Followed by `Bridged`, told once and for `leg`, or by
    /// `Failed` for `leg`.
    ///
    /// Packets of the codec that the other side takes are passed on as they come (RFC 3550 §2.3 calls it a translator),
    /// with numbers and times of our own stream; others are decoded and encoded anew, 60 ms later. Digits (RFC 4733)
    /// are passed on as events; a far side that takes none hears a tone of 100 ms as the key is released. A far side
    /// that holds the call (`sendonly`) and sends audio, its music on hold, is heard; from one that sends none comes
    /// silence.
    Bridge { leg: LegId, with: LegId },
    /// One way: `to` hears what `from` receives (early media of the called party, before it answers). What `to` plays
    /// stops. Followed by nothing, or by `Failed` for `to`.
    Forward { from: LegId, to: LegId },
    /// The leg and whom it is bridged with are alone again, and send silence until they are told to play.
    Unbridge { leg: LegId },
    /// The tone of a called party that rings, until `Play`, `StopPlay`, `Forward` or `Bridge`. Told by no event.
    Ringback { leg: LegId },
    /// Tell `Quiet` once when neither RTP nor RTCP came from the leg's own source for `after` while audio is agreed both
    /// ways: a far side that holds the call, or sends only, need say nothing. A packet or a new negotiation starts the
    /// count afresh. `None`: never, which is what a new leg has.
    Watch { leg: LegId, after: Option<Duration> },
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
            | Command::PauseRecording { leg }
            | Command::ResumeRecording { leg }
            | Command::SendDigits { leg, .. }
            | Command::Listen { leg, .. }
            | Command::Bridge { leg, .. }
            | Command::Forward { to: leg, .. }
            | Command::Unbridge { leg }
            | Command::Ringback { leg }
            | Command::Watch { leg, .. }
            | Command::Close { leg } => *leg,
        }
    }
}

/// What a recording holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordMode {
    /// Stereo: left what the leg received, right what it sent. On a bridged leg that is a party per channel.
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
    /// Where it says no, nothing is decoded for it, and [`Listen::audio`] may never be called. The answer must not change.
    fn wants_audio(&self) -> bool {
        true
    }
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
