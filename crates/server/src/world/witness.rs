//! Watches what the server sends and hears, over all its lives: P3 is judged in the moment in which an
//! INVITE leaves.

use std::collections::BTreeMap;
use std::time::Duration;

use engine::events::EventKind;
use engine::vocabulary::Serial;
use store::Store;

use super::link::header;
use super::nature::at_once;

/// After so long without any sign of life a trunk has failed the call, and the next one may be tried.
const SILENCE: Duration = Duration::from_secs(5);

#[derive(Default)]
pub struct Witness {
    /// The attempts of each call, in the order in which they left.
    attempts: BTreeMap<Serial, Vec<Attempt>>,
    /// Which life of the server this is.
    life: u32,
}

struct Attempt {
    call_id: String,
    /// The INVITE of each CSeq, to the byte.
    invites: BTreeMap<String, Vec<u8>>,
    life: u32,
    sent_at: Duration,
    heard: Heard,
    /// Nothing was heard of it for as long as a trunk may be silent.
    was_silent: bool,
}

/// What the server heard of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Heard {
    Nothing,
    /// The far side has it.
    Alive,
    /// Also by a challenge, until it is answered.
    Refused,
    Answered,
}

impl Witness {
    pub fn server_starts(&mut self) {
        self.life += 1;
    }

    /// An INVITE leaves only when its attempt is on disk. The same attempt is the same bytes, also
    /// after a crash. A further attempt leaves only when the one before was refused, or was met by
    /// silence for five seconds in this very life of the server, and not answered since: what became
    /// of it otherwise is not known.
    pub fn server_sends(&mut self, message: &[u8], store: &Store, now: Duration) {
        let text = String::from_utf8_lossy(message);
        if !text.starts_with("INVITE ") || header(&text, "To").contains(";tag=") {
            return;
        }
        let (call_id, cseq) = (header(&text, "Call-ID"), header(&text, "CSeq").to_owned());
        let serial = serial_of(call_id);
        let events = at_once(store.events_of(serial)).expect("it is readable");
        let is_attempt = |kind: &EventKind| matches!(kind, EventKind::Dialling { .. });
        let on_disk = events.iter().any(|(_, event)| is_attempt(&event.kind));
        assert!(on_disk, "the INVITE of {serial} leaves before its attempt is on disk");
        let life = self.life;
        let attempts = self.attempts.entry(serial).or_default();
        if let Some(attempt) = attempts.iter_mut().find(|attempt| attempt.call_id == call_id) {
            let first = attempt.invites.entry(cseq).or_insert_with(|| {
                // The answer to a challenge.
                attempt.heard = Heard::Alive;
                message.to_owned()
            });
            assert_eq!(first, message, "P3: {call_id} leaves again, and is another INVITE");
            return;
        }
        for Attempt { call_id: earlier, heard, was_silent, life: then, .. } in attempts.iter() {
            let known = match heard {
                Heard::Refused => true,
                Heard::Nothing => *then == life,
                Heard::Alive => *then == life && *was_silent,
                Heard::Answered => false,
            };
            assert!(known, "P3: {call_id} is dialled; of {earlier} it is only known: {heard:?}");
        }
        attempts.push(Attempt {
            call_id: call_id.to_owned(),
            invites: BTreeMap::from([(cseq, message.to_owned())]),
            life,
            sent_at: now,
            heard: Heard::Nothing,
            was_silent: false,
        });
    }

    pub fn server_hears(&mut self, message: &[u8], now: Duration) {
        let text = String::from_utf8_lossy(message);
        let status = text.strip_prefix("SIP/2.0 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let Some(status) = status.filter(|_| header(&text, "CSeq").ends_with(" INVITE")) else {
            return;
        };
        let call_id = header(&text, "Call-ID");
        let Some(attempts) = self.attempts.get_mut(&serial_of(call_id)) else { return };
        let of_it = attempts.iter_mut().find(|attempt| attempt.call_id == call_id);
        let heard = match status {
            ..=199 => Heard::Alive,
            200..=299 => Heard::Answered,
            300_u16.. => Heard::Refused,
        };
        let Some(attempt) = of_it else { return };
        attempt.was_silent |= attempt.heard == Heard::Nothing && now >= attempt.sent_at + SILENCE;
        attempt.heard = attempt.heard.max(heard);
    }
}

/// Our Call-IDs begin with the serial.
fn serial_of(call_id: &str) -> Serial {
    let serial = call_id.split('-').next().and_then(|serial| serial.parse().ok());
    Serial(serial.unwrap_or_else(|| panic!("no serial in {call_id}")))
}
