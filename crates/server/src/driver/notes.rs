//! What a timeline tells besides the events: messages, media, waits. Kept in memory while the call
//! lives and written once, a moment after its record; a crash may lose it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use engine::vocabulary::{Deadline, LegId, Serial};
use serde::{Deserialize, Serialize};

/// Notes of one call; later ones are counted, not kept.
const NOTES_PER_CALL: usize = 200;

/// How long notes are taken after a call's end.
const STAYS_OPEN: Duration = Duration::from_secs(2);

/// Bytes of one SIP message that a note keeps.
const MESSAGE_KEPT: usize = 4096;

/// One entry of a call's timeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Note {
    pub at_ms: i64,
    #[serde(flatten)]
    pub kind: NoteKind,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "note", rename_all = "snake_case")]
pub enum NoteKind {
    /// A SIP message; credentials and SRTP keys are blanked.
    Sip {
        direction: String,
        transport: String,
        local: String,
        remote: String,
        message: String,
    },
    /// What the clips of the call are.
    Clips {
        clips: usize,
        duration_ms: u64,
        took_ms: u64,
    },
    Negotiated {
        codec: String,
        remote: Option<String>,
        direction: String,
        /// The crypto suite where the audio is encrypted.
        srtp: Option<String>,
    },
    /// Whether audio flows each way, told within three seconds of the answer.
    Audio {
        received: bool,
        sent: bool,
        packets_in: u64,
        packets_out: u64,
    },
    /// Packets that came to the leg's ports and were dropped; told at its end where there were any.
    PacketsRefused {
        /// From an address that is not the far side's.
        foreign: u64,
        /// No RTP or RTCP, or nothing that was agreed.
        invalid: u64,
        /// Not made with the far side's SRTP key.
        forged: u64,
        /// A second time under SRTP.
        replayed: u64,
    },
    MediaFault {
        reason: String,
    },
    /// A new INVITE takes the place of one that failed before it rang.
    Retried {
        reason: String,
    },
    /// This leg and another hear each other. `relayed`: packets pass as they are, nothing is decoded.
    Bridged {
        with: String,
        relayed: bool,
    },
    /// Nothing at all came from the far side for so long.
    Quiet {
        seconds: u64,
    },
    RecordingStarted,
    RecordingDone {
        duration_ms: u64,
    },
    RecordingFailed {
        reason: String,
    },
    /// After a restart.
    Recovered {
        what: String,
    },
    /// The end of a leg, as SIP told it.
    LegEnded {
        by: String,
        reason: String,
        sip_status: Option<u16>,
        q850: Option<u16>,
    },
    /// The far side sent the call on to where the tenant may not call.
    RedirectRefused,
    /// More happened than is kept.
    Dropped {
        notes: usize,
    },
}

/// The notes of calls that live, and for a moment of those that have ended: the answer to a BYE
/// comes after the record.
#[derive(Debug, Default)]
pub struct Notes {
    calls: BTreeMap<Serial, OfCall>,
    /// Whose messages a leg's are, also after the leg.
    legs: BTreeMap<LegId, Serial>,
    /// Ended calls and when their notes are closed, in order.
    ending: VecDeque<(Deadline, Serial)>,
}

#[derive(Debug, Default)]
struct OfCall {
    notes: Vec<Note>,
    legs: Vec<LegId>,
}

impl Notes {
    pub fn open(&mut self, serial: Serial, leg: LegId) {
        self.calls.entry(serial).or_default().legs.push(leg);
        self.legs.insert(leg, serial);
    }

    pub fn call_of(&self, leg: LegId) -> Option<Serial> {
        self.legs.get(&leg).copied()
    }

    /// Dropped where the call's notes are not open.
    pub fn add(&mut self, serial: Serial, at_ms: i64, kind: NoteKind) {
        let Some(OfCall { notes, .. }) = self.calls.get_mut(&serial) else { return };
        if notes.len() < NOTES_PER_CALL {
            notes.push(Note { at_ms, kind });
            return;
        }
        match notes.last_mut() {
            Some(Note { kind: NoteKind::Dropped { notes }, .. }) => *notes += 1,
            _ => notes.push(Note { at_ms, kind: NoteKind::Dropped { notes: 1 } }),
        }
    }

    pub fn of(&self, serial: Serial) -> Vec<Note> {
        self.calls.get(&serial).map(|call| call.notes.clone()).unwrap_or_default()
    }

    /// The call is over; what still comes within a moment is noted.
    pub fn end(&mut self, serial: Serial, now: Deadline) {
        if self.calls.contains_key(&serial) {
            self.ending.push_back((now + STAYS_OPEN, serial));
        }
    }

    /// When [`closed`](Self::closed) has something.
    pub fn wake_at(&self) -> Option<Deadline> {
        self.ending.front().map(|(due, _)| *due)
    }

    /// The next call whose notes are closed at `now`, as they are stored: a JSON array.
    pub fn closed(&mut self, now: Deadline) -> Option<(Serial, Vec<u8>)> {
        let (_, serial) = self.ending.pop_front_if(|(due, _)| *due <= now)?;
        let OfCall { notes, legs } = self.calls.remove(&serial)?;
        for leg in legs {
            self.legs.remove(&leg);
        }
        Some((serial, serde_json::to_vec(&notes).expect("notes are plain values")))
    }

    /// No ended call still waits for its notes to be closed.
    pub fn are_all_closed(&self) -> bool {
        self.ending.is_empty()
    }
}

impl NoteKind {
    pub fn message(tap: &sip::TapRecord) -> NoteKind {
        let kept = &tap.bytes[..tap.bytes.len().min(MESSAGE_KEPT)];
        NoteKind::Sip {
            direction: match tap.direction {
                sip::Direction::Received => "received".into(),
                sip::Direction::Sent => "sent".into(),
            },
            transport: tap.transport.name().into(),
            local: tap.local.to_string(),
            remote: tap.remote.to_string(),
            message: without_keys(&String::from_utf8_lossy(kept)),
        }
    }

    /// The same without its body, where that may be a key of a card's number.
    pub fn without_keys_pressed(tap: &sip::TapRecord) -> NoteKind {
        let mut kind = NoteKind::message(tap);
        if let NoteKind::Sip { message, .. } = &mut kind
            && message.starts_with("INFO ")
            && let Some(head) = message.find("\r\n\r\n")
        {
            message.truncate(head + 4);
        }
        kind
    }

    pub fn refused(stats: &media::Stats) -> Option<NoteKind> {
        let (foreign, invalid) = (stats.foreign_packets, stats.invalid_packets);
        let (forged, replayed) = (stats.forged_packets, stats.replayed_packets);
        (foreign + invalid + forged + replayed > 0).then_some(NoteKind::PacketsRefused {
            foreign,
            invalid,
            forged,
            replayed,
        })
    }
}

/// The keys of `a=crypto` lines (RFC 4568 §9.1) blanked: whoever has them can listen to a tapped call.
fn without_keys(message: &str) -> String {
    let mut blanked = String::with_capacity(message.len());
    for line in message.split_inclusive('\n') {
        let is_crypto = line.get(..9).is_some_and(|head| head.eq_ignore_ascii_case("a=crypto:"));
        let mut words = line.splitn(3, ' ');
        match (is_crypto, words.next(), words.next()) {
            (true, Some(tag), Some(suite)) => {
                let end = &line[line.trim_end_matches(['\r', '\n']).len()..];
                blanked.extend([tag, " ", suite.trim_end(), " inline:***", end]);
            }
            (true, _, _) => blanked.push_str("a=crypto:***\r\n"),
            (false, _, _) => blanked.push_str(line),
        }
    }
    blanked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_blanked_however_they_are_written_and_all_else_stays() {
        let head =
            "INVITE sip:1 SIP/2.0\r\nFrom: <sip:inline:@h>\r\n\r\nm=audio 4000 RTP/SAVP 8\r\n";
        let table = [
            (
                "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:SECRET|2^20|1:4 WSH=64\r\na=ptime:20\r\n",
                "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:***\r\na=ptime:20\r\n",
            ),
            ("A=CRYPTO:1  X  INLINE:SECRET;inline:SECRET\n", "A=CRYPTO:1  inline:***\n"),
            ("a=crypto:1 X inline:SECRET cut off: SECRET", "a=crypto:1 X inline:***"),
            ("a=crypto:SECRET\r\n", "a=crypto:***\r\n"),
            ("a=crypto:1\tX\tinline:SECRET\r\n", "a=crypto:***\r\n"),
        ];
        for (line, blanked) in table {
            assert_eq!(without_keys(&format!("{head}{line}")), format!("{head}{blanked}"));
        }
    }
}
