//! What the far end saw of each call.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{ForkReport, Moment};

/// One call as the far end saw it, complete once it has ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CallReport {
    pub call_id: String,
    /// The caller's number: user part of From.
    pub from_user: String,
    /// The dialled number: user part of the Request-URI.
    pub to_user: String,
    /// Where the INVITE came from.
    pub source: SocketAddr,
    /// Value of `P-Asserted-Identity`, where there was one.
    pub asserted_identity: Option<String>,
    /// The user that digest authentication recognised.
    pub authenticated: Option<String>,
    /// INVITEs outside a dialog with this Call-ID that are no retransmissions of each other; an INVITE that was
    /// challenged and came again with credentials counts twice.
    pub invites: u32,
    /// The same without those that were challenged: phones that rang because of this Call-ID.
    pub dialogs: u32,
    /// Arrival of the first INVITE with this Call-ID.
    pub invite_at: Moment,
    pub answered_at: Option<Moment>,
    pub ended_at: Moment,
    pub ended_by: EndedBy,
    /// The final status that refused the INVITE, where one did.
    pub status: Option<u16>,
    /// `PCMA`, `PCMU`, `G722` or `opus`.
    pub codec: Option<String>,
    /// The crypto suite of encrypted audio, by its name in SDP; `None`: plain RTP.
    pub srtp: Option<String>,
    pub rtp: RtpReport,
    /// Digits that the phone pressed, as far as they had left.
    pub digits_sent: String,
    /// Digits that the phone received.
    pub digits_heard: String,
    /// Why audio could not be agreed or sent, in words.
    pub media_faults: Vec<String>,
    /// Where the call was forked: what became of the second phone's 200.
    pub second_answer: Option<ForkReport>,
    /// What the phone heard, where the carrier keeps audio.
    #[serde(skip)]
    pub heard: Option<Heard>,
}

/// Who ended a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    /// The phone refused or hung up.
    Phone,
    /// The caller sent CANCEL before the phone had answered.
    Cancel,
    /// The caller hung up an answered call; where the phone itself had dialled, the far side did.
    Caller,
    /// The far side refused the call that the phone had dialled.
    Refused,
    /// A message was not answered in time, or could not be delivered.
    Lost,
    /// The carrier was shut down.
    Carrier,
}

/// The audio packets that reached the phone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RtpReport {
    pub packets: u64,
    /// Packets more than 5 ms later than the 20 ms grid of their stream's fastest packet, by kernel arrival time.
    pub late_packets: u64,
    /// The worst of them, in microseconds.
    pub worst_delay_us: u64,
    /// Packets that the sequence numbers say are missing.
    pub lost: u64,
    /// Packets from an address that the caller's SDP did not name.
    pub foreign_packets: u64,
    /// Encrypted packets that the caller's key did not make, or that came a second time.
    pub unauthentic_packets: u64,
    /// Addresses that audio was taken from.
    pub sources: BTreeSet<SocketAddr>,
    /// Streams (SSRC) in sequence; 1 where nothing changed, 0 where nothing came.
    pub ssrcs: u64,
    /// Packets that the phone sent.
    pub packets_sent: u64,
    /// Of them, those that left the phone more than 5 ms after their time: whoever passes them on is not to blame.
    pub packets_sent_late: u64,
}

impl RtpReport {
    /// Of a leg's sums, how punctual its packets were, and whom it was told to hear.
    pub(crate) fn of(
        stats: &media::Stats,
        arrivals: &media::Arrivals,
        sources: &BTreeSet<SocketAddr>,
    ) -> RtpReport {
        let heard = stats.packets_received > 0;
        RtpReport {
            packets: stats.packets_received,
            late_packets: arrivals.late,
            worst_delay_us: u64::try_from(arrivals.worst.as_micros()).unwrap_or(u64::MAX),
            lost: stats.lost,
            foreign_packets: stats.foreign_packets,
            unauthentic_packets: stats.forged_packets + stats.replayed_packets,
            sources: if heard { sources.clone() } else { BTreeSet::new() },
            ssrcs: if heard { 1 + stats.ssrc_changes } else { 0 },
            packets_sent: stats.packets_sent,
            packets_sent_late: stats.late_ticks,
        }
    }
}

/// Audio that a phone received: 8 kHz, mono, losses as silence.
#[derive(Clone, PartialEq, Eq)]
pub struct Heard {
    samples: Arc<[i16]>,
}

impl Heard {
    pub fn new(samples: Vec<i16>) -> Heard {
        Heard { samples: samples.into() }
    }

    pub fn samples(&self) -> &[i16] {
        &self.samples
    }

    pub fn duration(&self) -> Duration {
        Duration::from_micros(self.samples.len() as u64 * 125)
    }

    /// How long a tone of `hz` is to be heard in it, as [`tone_time`].
    pub fn tone_time(&self, hz: f32) -> Duration {
        tone_time(&self.samples, hz)
    }

    /// A WAV file, 16-bit PCM, 8 kHz, mono.
    pub fn to_wav(&self) -> Vec<u8> {
        media::wav::pcm16_file(8_000, &self.samples)
    }
}

/// For how long a tone of `hz` (150 to 3400) is to be heard in samples at 8 kHz: the 20 ms pieces that it fills and that
/// are no silence.
pub fn tone_time(samples: &[i16], hz: f32) -> Duration {
    const PIECE: usize = 160;
    /// Root mean square; about −46 dBm0.
    const AUDIBLE: f32 = 100.0;
    let holds = |piece: &&[i16]| {
        media::detect::rms(piece) > AUDIBLE && media::detect::share(piece, hz) > 0.8
    };
    let pieces = samples.chunks_exact(PIECE).filter(holds).count();
    Duration::from_millis(20) * u32::try_from(pieces).unwrap_or(u32::MAX)
}

impl std::fmt::Debug for Heard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Heard({:?})", self.duration())
    }
}

/// Sums over all calls since start or since the last `clear`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// INVITEs that rang a phone.
    pub calls: u64,
    pub answered: u64,
    pub ended: u64,
    /// INVITE transactions outside a dialog, challenged ones included.
    pub invites: u64,
    /// Call-IDs that rang more than one phone: each is a person who was called twice.
    pub repeated_call_ids: u64,
    pub packets: u64,
    pub late_packets: u64,
    pub lost_packets: u64,
    pub registrations: u64,
    /// Reports that were dropped because more calls ended than the carrier keeps.
    pub reports_dropped: u64,
    /// Events that a call was too slow to take: the call is hung up.
    pub events_dropped: u64,
    /// Datagrams that the simulated network lost on purpose.
    pub datagrams_lost: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use media::tone;

    #[test]
    fn a_tone_is_found_for_as_long_as_it_lasts_and_no_other() {
        let half = Duration::from_millis(500);
        let quiet = tone::sine(440.0, 1000, 50);
        let heard = [tone::silence(300), tone::sine(440.0, 500, 8_000), quiet].concat();
        assert_eq!(tone_time(&heard, 440.0), half);
        assert_eq!(tone_time(&heard, 660.0), Duration::ZERO);
        let mixed = tone::mix(&[440.0, 660.0], 500, 8_000);
        assert_eq!(tone_time(&mixed, 440.0), Duration::ZERO, "two at once are neither");
        assert_eq!(tone_time(&[], 440.0), Duration::ZERO);
    }
}
