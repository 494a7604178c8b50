//! What `sip` says of a leg.

use std::time::Duration;

use engine::action::{Input, LegInput, Redirect, Then};
use engine::cdr::Cause;
use engine::vocabulary::{LegId, Serial};
use store::crash_point;

use super::{Closing, Leg, Reoffer, Stage, of_sip, to_media, to_sip};
use crate::driver::notes::NoteKind;
use crate::driver::{Driver, cause};

impl Driver {
    pub(in crate::driver) fn sip_event(&mut self, event: sip::Event) {
        use sip::Event;
        match event {
            Event::Prepared { leg, wire } => {
                let (leg, wire, media) = self.prepared(of_sip(leg), &wire);
                self.leg_input(leg, LegInput::Prepared { wire, media });
            }
            Event::Challenged { leg, wire } => {
                let (leg, wire, media) = self.prepared(of_sip(leg), &wire);
                self.leg_input(leg, LegInput::Challenged { wire, media });
            }
            Event::Retried { leg, wire, why } => self.retried(of_sip(leg), &wire, why),
            Event::Trying { leg } => self.leg_input(of_sip(leg), LegInput::Trying),
            Event::Provisional { leg, status, body } => {
                let leg = of_sip(leg);
                let early_media = self.describe(leg, body);
                if status == 180 || (status == 183 && early_media) {
                    self.leg_input(leg, LegInput::Ringing);
                }
                if early_media {
                    self.leg_input(leg, LegInput::EarlyMedia);
                }
            }
            Event::Answered { leg, dialog, body } => self.answered(of_sip(leg), &dialog, body),
            Event::Ended { leg, end } => self.sip_ended(of_sip(leg), &end),
            Event::Offered { leg, body } => {
                self.is_alive(leg);
                self.reoffered(of_sip(leg), body);
            }
            Event::Refreshed { leg } => self.is_alive(leg),
            Event::Confirmed { leg, body, .. } => {
                self.describe(of_sip(leg), body);
            }
            Event::Info { leg, body } => {
                self.is_alive(leg);
                if let Some(digit) = body.as_ref().and_then(digit_of_info) {
                    self.leg_input(of_sip(leg), LegInput::InfoDigit(digit));
                }
            }
            Event::Incoming { leg, request } => self.incoming(leg, *request),
            Event::Answering { leg, dialog } => {
                let dialog = dialog.to_bytes();
                self.leg_input(of_sip(leg), LegInput::Answering { dialog });
            }
            Event::Bound { user, bindings } => self.phone_bound(user, bindings),
            Event::Keep { user, bindings } => self.keep_phone(user, &bindings),
            Event::Registered { id, .. } => self.trunk_registered(id, true),
            Event::RegistrationFailed { id, failure } => self.registration_failed(id, &failure),
            Event::Probed { id, outcome } => self.trunk_probed(id, outcome),
            Event::Message(tap) => {
                sent(&tap);
                match tap.leg {
                    Some(leg) if self.notes.call_of(of_sip(leg)).is_some() => {
                        let leg = of_sip(leg);
                        self.note_leg(leg, self.note_of(leg, &tap));
                    }
                    Some(leg) if leg.is_inbound() => {
                        self.note_arriving(leg, &tap);
                    }
                    Some(_) | None => {}
                }
            }
            // The policy lets no other request in, and nobody here re-INVITEs.
            Event::Request(_)
            | Event::OfferAnswered { .. }
            | Event::OfferRefused { .. }
            | Event::NoAck { .. }
            | Event::Unregistered { .. } => {}
        }
    }

    fn registration_failed(&mut self, id: sip::RegistrationId, failure: &sip::RegistrationFailure) {
        tracing::warn!(
            trunk = %self.trunks.name_of(id), status = ?failure.status,
            reason = %failure.reason, retry_in = failure.retry_in,
            "registration failed: calls over this trunk wait"
        );
        self.trunk_registered(id, false);
        // A refusal is an answer; who gives none is left for the trunk's next target.
        let now = self.now.since_start;
        if failure.status.is_none()
            && let Some(registration) = self.trunks.registrar_failed(id, now)
        {
            self.tell_sip(sip::Command::Register(Box::new(registration)));
        }
    }

    /// A new INVITE, and to disk before it leaves.
    fn retried(&mut self, leg: LegId, wire: &sip::Wire, why: sip::Retry) {
        let reason = match why {
            sip::Retry::SessionInterval => "the far side wants a longer session interval".into(),
            sip::Retry::NextTarget { failed, why } => {
                let now = self.now.since_start;
                self.trunks.target_failed(failed, why, now);
                format!(
                    "{} {}: {why}; the next target is tried",
                    failed.transport.name(),
                    failed.addr
                )
            }
        };
        self.note_leg(leg, NoteKind::Retried { reason });
        let (leg, wire, media) = self.prepared(leg, wire);
        self.leg_input(leg, LegInput::Retried { wire, media });
    }

    fn prepared(&self, leg: LegId, wire: &sip::Wire) -> (LegId, Vec<u8>, Vec<u8>) {
        let sdp = self.legs.find(leg).map(|leg| leg.sdp.to_vec()).unwrap_or_default();
        (leg, wire.to_bytes(), sdp)
    }

    /// The far side's description, early or final; whether it was one.
    fn describe(&mut self, leg: LegId, body: Option<sip::Body>) -> bool {
        let is_description = |body: &sip::Body| body.content_type.starts_with("application/sdp");
        let (Some(body), Some(entry)) = (body.filter(is_description), self.legs.find_mut(leg))
        else {
            return false;
        };
        entry.described = true;
        self.tell_media(media::Command::Remote { leg: to_media(leg), sdp: body.bytes });
        true
    }

    fn answered(&mut self, leg: LegId, dialog: &sip::DialogSnapshot, body: Option<sip::Body>) {
        self.describe(leg, body);
        self.leg_input(leg, LegInput::Answered { dialog: dialog.to_bytes() });
        let described = self.legs.find(leg).is_some_and(|leg| leg.described);
        if !described {
            if let Some(serial) = self.legs.serial(leg) {
                let reason = "the answer has no session description".into();
                self.note(serial, NoteKind::MediaFault { reason });
            }
            self.leg_input(leg, LegInput::MediaFailed(Cause::MediaFailed));
        }
    }

    pub(super) fn sip_ended(&mut self, leg: LegId, end: &sip::End) {
        self.arriving.remove(&leg);
        let Some(entry) = self.legs.find(leg) else { return };
        let (cause, sip_status) = (cause::of(end), end.status);
        // A port that is being bound is to be given back too.
        let has_media =
            matches!(entry.stage, Stage::Signalling { media: true, .. } | Stage::Binding(_));
        let serial = entry.serial;
        if sip_status.is_some() {
            self.hold_refusal(serial, leg);
        }
        let then = self.then(serial, end);
        if let Some(entry) = self.legs.find_mut(leg) {
            entry.stage = Stage::Closing(Closing { cause, sip_status, then });
        }
        self.note(
            serial,
            NoteKind::LegEnded {
                by: format!("{:?}", end.by),
                reason: end.reason.clone(),
                sip_status,
                q850: end.q850,
            },
        );
        if has_media {
            self.tell_media(media::Command::Close { leg: to_media(leg) });
        } else {
            self.closed(leg, None);
        }
    }

    /// The far side gets its ACK when the end of its leg is on disk: at once where the leg has outlived
    /// the record of its call.
    fn hold_refusal(&mut self, serial: Serial, leg: LegId) {
        if self.legs.find(leg).is_some_and(|leg| leg.outlives) {
            self.tell_sip(sip::Command::Settle { leg: to_sip(leg) });
        } else {
            self.refused.entry(serial).or_default().push(leg);
        }
    }

    /// The record of the call is on disk.
    pub(in crate::driver) fn forget(&mut self, serial: Serial) {
        self.settle_refusals(serial);
        self.legs.outlive(serial);
    }

    /// How the legs of this call ended is on disk, or its next attempt is: refusals may be
    /// acknowledged. Until then an INVITE that is sent again after a crash meets the same refusal.
    pub(in crate::driver) fn settle_refusals(&mut self, serial: Serial) {
        for leg in self.refused.remove(&serial).unwrap_or_default() {
            self.tell_sip(sip::Command::Settle { leg: to_sip(leg) });
        }
    }

    /// What a refusal asks for besides.
    fn then(&mut self, serial: Serial, end: &sip::End) -> Then {
        match (end.status, end.retry_after) {
            (Some(503), Some(seconds)) => Then::Rest(Duration::from_secs(seconds.into())),
            (Some(300..=399), _) => {
                self.redirect(serial, &end.contacts).map_or(Then::Nothing, Then::Redirect)
            }
            _ => Then::Nothing,
        }
    }

    /// Where the tenant's rules let a 3xx lead: the first of the addresses whose number the tenant may call; its host is not ours to follow,
    /// the number leaves by the tenant's own trunks.
    fn redirect(&mut self, serial: Serial, contacts: &[sip::Uri]) -> Option<Redirect> {
        let tenant = self.tenants.by_id(self.engine.intent(serial)?.tenant)?;
        let found = contacts.iter().find_map(|contact| {
            let called = contact.user().to_owned();
            let route = tenant.settings.redirect(&called, &self.fraud)?;
            Some(Redirect { called, route })
        });
        if found.is_none() {
            self.note(serial, NoteKind::RedirectRefused);
        }
        found
    }

    /// A re-INVITE: a new description is answered; none asks for an offer of ours, whose answer the ACK
    /// brings.
    fn reoffered(&mut self, leg: LegId, body: Option<sip::Body>) {
        let Some(Leg { stage: Stage::Signalling { reoffer, .. }, codecs, srtp, .. }) =
            self.legs.find_mut(leg)
        else {
            return;
        };
        *reoffer = Reoffer::Awaited;
        let command = match body {
            Some(body) => media::Command::Reoffered { leg: to_media(leg), sdp: body.bytes },
            None => {
                let line = self.phones.line();
                // Of a call that was taken up after a crash only the trunk knew it.
                let (codecs, srtp) = if codecs.is_empty() {
                    (line.codecs.clone(), line.srtp)
                } else {
                    (codecs.clone(), *srtp)
                };
                let (leg, beside) = (to_media(leg), None);
                media::Command::Offer { leg, codecs, dtmf: true, srtp, beside }
            }
        };
        self.tell_media(command);
    }

    fn trunk_registered(&mut self, id: sip::RegistrationId, up: bool) {
        if let Some((trunk, pace, up)) = self.trunks.set_registered(id, up) {
            self.input(Input::Trunk { trunk, pace, up });
        }
    }

    fn trunk_probed(&mut self, id: sip::ProbeId, outcome: sip::ProbeOutcome) {
        let answered = matches!(outcome, sip::ProbeOutcome::Answered { .. });
        let now = self.now.since_start;
        if let Some((trunk, pace, up)) = self.trunks.probed(id, answered, now) {
            tracing::warn!(%trunk, up, ?outcome, "OPTIONS: the trunk's state has changed");
            self.input(Input::Trunk { trunk, pace, up });
        }
    }

    /// Asks the trunks that are due.
    pub(in crate::driver) fn probe_trunks(&mut self) {
        for probe in self.trunks.probes(self.now.since_start) {
            self.tell_sip(sip::Command::Probe(Box::new(probe)));
        }
    }
}

/// The message has been given to its socket.
fn sent(tap: &sip::TapRecord) {
    if tap.direction != sip::Direction::Sent {
        return;
    }
    match tap.bytes.split(|byte| *byte == b' ').next() {
        Some(b"INVITE") => crash_point!("invite_after"),
        Some(b"ACK") => crash_point!("ack_after"),
        Some(b"CANCEL") => crash_point!("cancel_after"),
        Some(b"BYE") => crash_point!("bye_after"),
        Some(b"SIP/2.0") if cfg!(debug_assertions) && is_answer(&tap.bytes) => {
            crash_point!("answer_after");
        }
        Some(_) | None => {}
    }
}

/// Our 200 to a caller's INVITE.
fn is_answer(message: &[u8]) -> bool {
    let head = String::from_utf8_lossy(message);
    let of_invite = |line: &str| line.starts_with("CSeq:") && line.ends_with(" INVITE");
    head.starts_with("SIP/2.0 200 ") && head.lines().any(of_invite)
}

/// `Signal=5` of application/dtmf-relay, or the bare digit of application/dtmf.
fn digit_of_info(body: &sip::Body) -> Option<char> {
    let text = std::str::from_utf8(&body.bytes).ok()?;
    let value = match body.content_type.split(';').next()?.trim() {
        "application/dtmf-relay" => {
            let line = text.lines().find_map(|line| line.trim().strip_prefix("Signal"))?;
            line.trim_start().strip_prefix('=')?.trim()
        }
        "application/dtmf" => text.trim(),
        _ => return None,
    };
    let digit = value.chars().next()?.to_ascii_uppercase();
    (value.len() == 1 && "0123456789*#ABCD".contains(digit)).then_some(digit)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn info(content_type: &str, text: &'static str) -> sip::Body {
        sip::Body { content_type: content_type.into(), bytes: Bytes::from_static(text.as_bytes()) }
    }

    #[test]
    fn digits_come_in_info_too() {
        let table = [
            ("application/dtmf-relay", "Signal=5\r\nDuration=160\r\n", Some('5')),
            ("application/dtmf-relay", "Signal= #\r\n", Some('#')),
            ("application/dtmf", "7", Some('7')),
            ("application/dtmf-relay", "Signal=55\r\n", None),
            ("application/dtmf-relay", "Duration=1", None),
            ("text/xml", "<dtmf>5</dtmf>", None),
        ];
        for (content_type, text, digit) in table {
            assert_eq!(digit_of_info(&info(content_type, text)), digit, "{text:?}");
        }
    }
}
