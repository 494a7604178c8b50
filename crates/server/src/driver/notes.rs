//! What a timeline tells besides the events: messages, media, waits. Kept in memory while the call
//! lives and written once, with its record; a crash may lose it.

use std::collections::BTreeMap;

use engine::vocabulary::Serial;
use serde::{Deserialize, Serialize};

/// Notes of one call; later ones are counted, not kept.
const NOTES_PER_CALL: usize = 200;

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
    /// A SIP message; credentials are blanked.
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
    },
    /// Whether audio flows each way, told within three seconds of the answer.
    Audio {
        received: bool,
        sent: bool,
        packets_in: u64,
        packets_out: u64,
    },
    MediaFault {
        reason: String,
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
    /// More happened than is kept.
    Dropped {
        notes: usize,
    },
}

#[derive(Debug, Default)]
pub struct Notes {
    calls: BTreeMap<Serial, Vec<Note>>,
}

impl Notes {
    pub fn add(&mut self, serial: Serial, at_ms: i64, kind: NoteKind) {
        let notes = self.calls.entry(serial).or_default();
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
        self.calls.get(&serial).cloned().unwrap_or_default()
    }

    /// As they are stored, a JSON array; `None` where there are none.
    pub fn take(&mut self, serial: Serial) -> Option<Vec<u8>> {
        let notes = self.calls.remove(&serial)?;
        Some(serde_json::to_vec(&notes).expect("notes are plain values"))
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
            message: String::from_utf8_lossy(kept).into_owned(),
        }
    }
}
