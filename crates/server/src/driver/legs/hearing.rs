//! Who hears whom: what the engine asks of two legs, and what they say of being heard.

use std::time::Duration;

use engine::action::LegInput;
use engine::vocabulary::LegId;
use store::crash_point;

use super::{of_sip, to_media};
use crate::driver::Driver;
use crate::driver::notes::NoteKind;

/// A debug build whose bridges carry nothing: with it a test shows that the demo would notice.
fn bridges_are_cut() -> bool {
    cfg!(debug_assertions) && std::env::var_os("OFFHOOK_CUT_BRIDGES").is_some()
}

impl Driver {
    pub(in crate::driver) fn ringback(&mut self, leg: LegId) {
        self.tell_media(media::Command::Ringback { leg: to_media(leg) });
    }

    pub(in crate::driver) fn forward(&mut self, from: LegId, to: LegId) {
        let (from, to) = (to_media(from), to_media(to));
        self.tell_media(media::Command::Forward { from, to });
    }

    pub(in crate::driver) fn bridge(&mut self, leg: LegId, with: LegId) {
        if bridges_are_cut() {
            return;
        }
        crash_point!("bridge_before");
        let (leg, with) = (to_media(leg), to_media(with));
        self.tell_media(media::Command::Bridge { leg, with });
    }

    pub(in crate::driver) fn watch(&mut self, leg: LegId) {
        let after = Some(self.media_timeout);
        self.tell_media(media::Command::Watch { leg: to_media(leg), after });
    }

    pub(in crate::driver) fn send_digit(&mut self, leg: LegId, digit: char) {
        let (leg, digits) = (to_media(leg), digit.to_string());
        self.tell_media(media::Command::SendDigits { leg, digits });
    }

    /// The far side has put us on hold where we may not send, and is back where we may.
    pub(super) fn heard_direction(&mut self, leg: LegId, direction: media::sdp::Direction) {
        let Some(entry) = self.legs.find_mut(leg) else { return };
        let held = !direction.sends();
        if std::mem::replace(&mut entry.held, held) != held {
            self.leg_input(leg, LegInput::Held(held));
        }
    }

    /// The far side showed by SIP that it is there (RFC 4028: a refresh of the session).
    pub(super) fn is_alive(&mut self, leg: sip::LegId) {
        let now = self.now.since_start;
        if let Some(entry) = self.legs.find_mut(of_sip(leg)) {
            entry.alive_at = Some(now);
        }
    }

    /// No packet came for the media time-out. Who refreshed the session meanwhile has all of it once more.
    pub(super) fn quiet(&mut self, leg: LegId, silent_for: Duration) {
        let Some(entry) = self.legs.find(leg) else { return };
        let now = self.now.since_start;
        if entry.alive_at.is_some_and(|at| now.saturating_sub(at) < self.media_timeout) {
            return self.watch(leg);
        }
        self.note_leg(leg, NoteKind::Quiet { seconds: silent_for.as_secs() });
        self.leg_input(leg, LegInput::Quiet);
    }
}
