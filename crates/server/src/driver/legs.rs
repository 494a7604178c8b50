//! The two halves of a leg: `sip` carries the descriptions that `media` writes and reads. The engine
//! sees one leg that opens, is dialled, rings, talks and ends.

use std::collections::BTreeMap;

use bytes::Bytes;
use engine::action::{Dialled, Input, LegInput, PlayId};
use engine::cdr::{Cause, MediaSummary};
use engine::vocabulary::{LegId, Serial};

use super::notes::NoteKind;
use super::{Driver, cause};
use crate::recordings;

#[derive(Debug, Default)]
pub struct Legs(BTreeMap<LegId, Leg>);

#[derive(Debug)]
pub struct Leg {
    serial: Serial,
    stage: Stage,
    /// Our own description, as last sent.
    sdp: Bytes,
    /// The far side has described itself.
    described: bool,
    codec: String,
}

#[derive(Debug)]
enum Stage {
    /// A port is being bound.
    Binding(Then),
    /// With `sip`. `media`: there is a port to give back at the end.
    Signalling { media: bool, reoffer: Reoffer },
    /// `sip` is through with it; the port is given back.
    Closing { cause: Cause, sip_status: Option<u16> },
}

/// What the port is for.
#[derive(Debug)]
enum Then {
    Dial(Dialled),
    Resume(Box<sip::Wire>),
}

/// Whether the far side waits for an answer to its re-INVITE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reoffer {
    No,
    Answering,
}

impl Legs {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn add(&mut self, id: LegId, serial: Serial, stage: Stage) {
        let leg = Leg { serial, stage, sdp: Bytes::new(), described: false, codec: String::new() };
        self.0.insert(id, leg);
    }

    fn serial(&self, id: LegId) -> Option<Serial> {
        self.0.get(&id).map(|leg| leg.serial)
    }
}

const fn of_sip(leg: sip::LegId) -> LegId {
    LegId(leg.0)
}

const fn of_media(leg: media::LegId) -> LegId {
    LegId(leg.0)
}

const fn to_sip(leg: LegId) -> sip::LegId {
    sip::LegId(leg.0)
}

pub(super) const fn to_media(leg: LegId) -> media::LegId {
    media::LegId(leg.0)
}

/// What the engine asked for.
impl Driver {
    pub(super) fn open(&mut self, leg: LegId, serial: Serial, to: Dialled) {
        let codecs = self.trunks.codecs(&to.trunk);
        self.legs.add(leg, serial, Stage::Binding(Then::Dial(to)));
        self.tell_media(media::Command::Offer { leg: to_media(leg), codecs, dtmf: true });
    }

    pub(super) fn resume(&mut self, leg: LegId, serial: Serial, wire: &[u8], sdp: Vec<u8>) {
        match sip::Wire::from_bytes(wire) {
            Ok(wire) => {
                let what = "the INVITE that was out is sent again".into();
                self.note(serial, NoteKind::Recovered { what });
                self.legs.add(leg, serial, Stage::Binding(Then::Resume(Box::new(wire))));
                let sdp = Bytes::from(sdp);
                self.tell_media(media::Command::Rebind { leg: to_media(leg), sdp });
            }
            Err(error) => self.unreadable(leg, serial, &error),
        }
    }

    pub(super) fn abandon(&mut self, leg: LegId, serial: Serial, wire: &[u8]) {
        match sip::Wire::from_bytes(wire) {
            Ok(wire) => {
                let what = "the INVITE that was out is cancelled".into();
                self.note(serial, NoteKind::Recovered { what });
                self.signalling(leg, serial);
                self.tell_sip(sip::Command::Abandon { wire: Box::new(wire) });
            }
            Err(error) => self.unreadable(leg, serial, &error),
        }
    }

    pub(super) fn hang_up_stored(&mut self, leg: LegId, serial: Serial, dialog: &[u8]) {
        match sip::DialogSnapshot::from_bytes(dialog) {
            Ok(dialog) => {
                let what = "the call that was up is hung up".into();
                self.note(serial, NoteKind::Recovered { what });
                self.signalling(leg, serial);
                self.tell_sip(sip::Command::HangUpDialog {
                    credentials: self.trunks.credentials_for(dialog.remote),
                    dialog: Box::new(dialog),
                    cause: sip::HangUpCause::Failure,
                });
            }
            Err(error) => self.unreadable(leg, serial, &error),
        }
    }

    pub(super) fn dial(&mut self, leg: LegId) {
        self.tell_sip(sip::Command::Send { leg: to_sip(leg) });
    }

    pub(super) fn acknowledge(&mut self, leg: LegId) {
        self.tell_sip(sip::Command::Acknowledge { leg: to_sip(leg), body: None });
    }

    pub(super) fn hang_up(&mut self, leg: LegId) {
        let Some(entry) = self.legs.0.get_mut(&leg) else { return };
        match entry.stage {
            Stage::Binding(_) => {
                entry.stage = Stage::Closing { cause: Cause::HungUp, sip_status: None };
                self.tell_media(media::Command::Close { leg: to_media(leg) });
            }
            Stage::Signalling { .. } => {
                let cause = sip::HangUpCause::Normal;
                self.tell_sip(sip::Command::HangUp { leg: to_sip(leg), cause });
            }
            Stage::Closing { .. } => {}
        }
    }

    pub(super) fn play(&mut self, leg: LegId, play: PlayId) {
        let clips = self.legs.serial(leg).and_then(|serial| self.fetched.get(&serial)).cloned();
        let Some(clips) = clips else {
            return self.leg_input(leg, LegInput::MediaFailed(Cause::Internal));
        };
        let (leg, play) = (to_media(leg), media::PlayId(play.0.into()));
        self.tell_media(media::Command::Play { leg, play, clips, times: 1 });
    }

    pub(super) fn record(&mut self, leg: LegId) {
        let intent = self.legs.serial(leg).and_then(|serial| self.engine.intent(serial));
        let Some(intent) = intent else { return };
        let path = self.directory.join(recordings::path(intent));
        let parent = path.parent().unwrap_or(&self.directory);
        if let Err(error) = std::fs::create_dir_all(parent) {
            let reason = format!("{}: {error}", parent.display());
            self.note_leg(leg, NoteKind::RecordingFailed { reason });
            return self.leg_input(leg, LegInput::RecordingFailed);
        }
        let mode = media::RecordMode::Both;
        self.tell_media(media::Command::Record { leg: to_media(leg), path, mode });
    }

    fn signalling(&mut self, leg: LegId, serial: Serial) {
        let stage = Stage::Signalling { media: false, reoffer: Reoffer::No };
        self.legs.add(leg, serial, stage);
    }

    /// A row of an older format or a damaged one: nothing can be sent for it.
    fn unreadable(&mut self, leg: LegId, serial: Serial, error: &sip::WireError) {
        tracing::error!(%serial, %error, "a stored attempt cannot be read; its call is reported as unknown");
        self.leg_input(
            leg,
            LegInput::Ended { cause: Cause::Internal, sip_status: None, media: None },
        );
    }
}

/// What `sip` says.
impl Driver {
    pub(super) fn sip_event(&mut self, event: sip::Event) {
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
            Event::Provisional { leg, status, body } => {
                let leg = of_sip(leg);
                let early_media = body.is_some();
                self.describe(leg, body);
                if status == 180 || (status == 183 && early_media) {
                    self.leg_input(leg, LegInput::Ringing);
                }
            }
            Event::Answered { leg, dialog, body } => self.answered(of_sip(leg), &dialog, body),
            Event::Ended { leg, end } => self.sip_ended(of_sip(leg), &end),
            Event::Offered { leg, body } => self.reoffered(of_sip(leg), body),
            Event::Confirmed { leg, body, .. } => self.describe(of_sip(leg), body),
            Event::Info { leg, body } => {
                if let Some(digit) = body.as_ref().and_then(digit_of_info) {
                    self.leg_input(of_sip(leg), LegInput::Digit(digit));
                }
            }
            Event::Registered { id, .. } => self.trunk_registered(id, true),
            Event::RegistrationFailed { id, failure } => {
                tracing::warn!(
                    trunk = %self.trunks.name_of(id), status = ?failure.status,
                    reason = %failure.reason, retry_in = failure.retry_in,
                    "registration failed: calls over this trunk wait"
                );
                self.trunk_registered(id, false);
            }
            Event::Message(tap) => {
                let serial = tap.leg.and_then(|leg| self.legs.serial(of_sip(leg)));
                if let Some(serial) = serial {
                    self.note(serial, NoteKind::message(&tap));
                }
            }
            // The policy lets no INVITE and no other request in, and nobody here re-INVITEs.
            Event::Incoming { leg, .. } => {
                let (status, reason, headers) = (403, None, Vec::new());
                self.tell_sip(sip::Command::Refuse { leg, status, reason, headers });
            }
            Event::Request(_)
            | Event::OfferAnswered { .. }
            | Event::OfferRefused { .. }
            | Event::NoAck { .. }
            | Event::Unregistered { .. } => {}
        }
    }

    fn prepared(&self, leg: LegId, wire: &sip::Wire) -> (LegId, Vec<u8>, Vec<u8>) {
        let sdp = self.legs.0.get(&leg).map(|leg| leg.sdp.to_vec()).unwrap_or_default();
        (leg, wire.to_bytes(), sdp)
    }

    /// The far side's description, early or final.
    fn describe(&mut self, leg: LegId, body: Option<sip::Body>) {
        let Some(body) = body.filter(|body| body.content_type.starts_with("application/sdp"))
        else {
            return;
        };
        if let Some(entry) = self.legs.0.get_mut(&leg) {
            entry.described = true;
            self.tell_media(media::Command::Remote { leg: to_media(leg), sdp: body.bytes });
        }
    }

    fn answered(&mut self, leg: LegId, dialog: &sip::DialogSnapshot, body: Option<sip::Body>) {
        self.describe(leg, body);
        self.leg_input(leg, LegInput::Answered { dialog: dialog.to_bytes() });
        let described = self.legs.0.get(&leg).is_some_and(|leg| leg.described);
        if !described {
            if let Some(serial) = self.legs.serial(leg) {
                let reason = "the answer has no session description".into();
                self.note(serial, NoteKind::MediaFault { reason });
            }
            self.leg_input(leg, LegInput::MediaFailed(Cause::MediaFailed));
        }
    }

    fn sip_ended(&mut self, leg: LegId, end: &sip::End) {
        let Some(entry) = self.legs.0.get_mut(&leg) else { return };
        let (cause, sip_status) = (cause::of(end), end.status);
        let has_media = matches!(entry.stage, Stage::Signalling { media: true, .. });
        entry.stage = Stage::Closing { cause, sip_status };
        let serial = entry.serial;
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

    /// A re-INVITE: a new description is answered; none asks for ours, which has not changed.
    fn reoffered(&mut self, leg: LegId, body: Option<sip::Body>) {
        let Some(entry) = self.legs.0.get_mut(&leg) else { return };
        match body {
            Some(body) => {
                if let Stage::Signalling { reoffer, .. } = &mut entry.stage {
                    *reoffer = Reoffer::Answering;
                }
                self.tell_media(media::Command::Reoffered { leg: to_media(leg), sdp: body.bytes });
            }
            None => {
                let body = Some(sip::Body::sdp(entry.sdp.clone()));
                self.tell_sip(sip::Command::AnswerOffer { leg: to_sip(leg), body });
            }
        }
    }

    fn trunk_registered(&mut self, id: sip::RegistrationId, up: bool) {
        if let Some((trunk, pace, up)) = self.trunks.set_registered(id, up) {
            self.input(Input::Trunk { trunk, pace, up });
        }
    }
}

/// What `media` says.
impl Driver {
    pub(super) fn media_event(&mut self, event: media::Event) {
        use media::Event;
        match event {
            Event::Offered { leg, sdp, .. } => self.bound(of_media(leg), sdp),
            Event::Answered { leg, sdp, .. } => self.reoffer_answered(of_media(leg), sdp),
            Event::Negotiated { leg, codec, remote, direction, .. } => {
                let leg = of_media(leg);
                let codec = format!("{codec:?}").to_uppercase();
                if let Some(entry) = self.legs.0.get_mut(&leg) {
                    entry.codec.clone_from(&codec);
                }
                let remote = remote.map(|remote| remote.to_string());
                let direction = format!("{direction:?}");
                self.note_leg(leg, NoteKind::Negotiated { codec, remote, direction });
            }
            Event::Failed { leg, fault } => self.media_failed(of_media(leg), &fault),
            Event::PlayStarted { leg, .. } => self.leg_input(of_media(leg), LegInput::PlayStarted),
            Event::PlayFinished { leg, play } => {
                let play = PlayId(play.0 as u32);
                self.leg_input(of_media(leg), LegInput::PlayFinished { play });
            }
            Event::Digit { leg, digit, .. } => {
                self.leg_input(of_media(leg), LegInput::Digit(digit));
            }
            Event::Flow { leg, received, sent, packets_in, packets_out } => {
                let audio = NoteKind::Audio { received, sent, packets_in, packets_out };
                self.note_leg(of_media(leg), audio);
            }
            Event::RecordingStarted { leg, .. } => {
                self.note_leg(of_media(leg), NoteKind::RecordingStarted);
                self.leg_input(of_media(leg), LegInput::RecordingStarted);
            }
            Event::RecordingFailed { leg, reason, .. } => {
                self.note_leg(of_media(leg), NoteKind::RecordingFailed { reason });
                self.leg_input(of_media(leg), LegInput::RecordingFailed);
            }
            Event::RecordingDone { leg, duration_ms, .. } => {
                self.note_leg(of_media(leg), NoteKind::RecordingDone { duration_ms });
            }
            Event::Closed { leg, stats } => self.closed(of_media(leg), Some(&stats)),
            Event::LegPanicked { leg, stats } => self.panicked(of_media(leg), &stats),
            Event::PlayStopped { .. } | Event::DigitsSent { .. } => {}
        }
    }

    /// The port is bound: now the INVITE can be built, or the old one sent again.
    fn bound(&mut self, leg: LegId, sdp: Bytes) {
        let Some(entry) = self.legs.0.get_mut(&leg) else { return };
        entry.sdp = sdp.clone();
        let signalling = Stage::Signalling { media: true, reoffer: Reoffer::No };
        match std::mem::replace(&mut entry.stage, signalling) {
            Stage::Binding(Then::Dial(to)) => {
                let serial = entry.serial;
                match self.trunks.invite(leg, serial, &to, sdp) {
                    Ok(invite) => self.tell_sip(sip::Command::Prepare(Box::new(invite))),
                    Err(error) => {
                        let end = sip::End {
                            status: None,
                            reason: error.to_string(),
                            by: sip::EndedBy::Transport,
                            q850: None,
                            retry_after: None,
                            was_ringing: false,
                        };
                        self.sip_ended(leg, &end);
                    }
                }
            }
            Stage::Binding(Then::Resume(wire)) => {
                let credentials = self.trunks.credentials_for(wire.remote);
                self.tell_sip(sip::Command::Resume { wire, credentials });
            }
            stage @ (Stage::Signalling { .. } | Stage::Closing { .. }) => entry.stage = stage,
        }
    }

    fn reoffer_answered(&mut self, leg: LegId, sdp: Bytes) {
        let Some(entry) = self.legs.0.get_mut(&leg) else { return };
        entry.sdp = sdp.clone();
        if let Stage::Signalling { reoffer, .. } = &mut entry.stage {
            *reoffer = Reoffer::No;
            let body = Some(sip::Body::sdp(sdp));
            self.tell_sip(sip::Command::AnswerOffer { leg: to_sip(leg), body });
        }
    }

    fn media_failed(&mut self, leg: LegId, fault: &media::MediaFault) {
        self.note_leg(leg, NoteKind::MediaFault { reason: fault.to_string() });
        let cause = match fault {
            media::MediaFault::NoPort | media::MediaFault::EncoderBusy => Cause::NoResource,
            media::MediaFault::Bind { .. } => Cause::NoResource,
            _ => Cause::MediaFailed,
        };
        let Some(entry) = self.legs.0.get_mut(&leg) else { return };
        let signalling = Stage::Signalling { media: false, reoffer: Reoffer::No };
        match std::mem::replace(&mut entry.stage, signalling) {
            Stage::Binding(Then::Dial(_)) => {
                entry.stage = Stage::Closing { cause, sip_status: None };
                self.closed(leg, None);
            }
            // Without its port the call cannot go on: what is out is taken back.
            Stage::Binding(Then::Resume(wire)) => {
                self.tell_sip(sip::Command::Abandon { wire });
            }
            Stage::Signalling { media, reoffer: Reoffer::Answering } => {
                entry.stage = Stage::Signalling { media, reoffer: Reoffer::No };
                let status = 488;
                self.tell_sip(sip::Command::RefuseOffer { leg: to_sip(leg), status });
            }
            stage @ Stage::Signalling { reoffer: Reoffer::No, .. } => {
                entry.stage = stage;
                self.leg_input(leg, LegInput::MediaFailed(cause));
            }
            stage @ Stage::Closing { .. } => entry.stage = stage,
        }
    }

    /// The leg is over on both sides.
    fn closed(&mut self, leg: LegId, stats: Option<&media::Stats>) {
        let Some(Leg { stage: Stage::Closing { cause, sip_status }, codec, .. }) =
            self.legs.0.get(&leg)
        else {
            return;
        };
        let media = stats.filter(|_| !codec.is_empty()).map(|stats| summary(codec, stats));
        let (cause, sip_status) = (*cause, *sip_status);
        self.legs.0.remove(&leg);
        self.leg_input(leg, LegInput::Ended { cause, sip_status, media });
    }

    /// `media` gave the leg up; the call goes with it, others go on.
    fn panicked(&mut self, leg: LegId, stats: &media::Stats) {
        let Some(entry) = self.legs.0.get_mut(&leg) else { return };
        match &mut entry.stage {
            Stage::Closing { .. } => self.closed(leg, Some(stats)),
            Stage::Signalling { media, .. } => {
                *media = false;
                self.leg_input(leg, LegInput::MediaFailed(Cause::Internal));
            }
            Stage::Binding(_) => {
                entry.stage = Stage::Closing { cause: Cause::Internal, sip_status: None };
                self.closed(leg, None);
            }
        }
    }

    fn leg_input(&mut self, leg: LegId, input: LegInput) {
        self.input(Input::Leg { leg, input });
    }

    pub(super) fn note(&mut self, serial: Serial, kind: NoteKind) {
        if self.engine.intent(serial).is_some() {
            self.notes.add(serial, self.clock.now().unix_ms, kind);
        }
    }

    fn note_leg(&mut self, leg: LegId, kind: NoteKind) {
        if let Some(serial) = self.legs.serial(leg) {
            self.note(serial, kind);
        }
    }
}

fn summary(codec: &str, stats: &media::Stats) -> MediaSummary {
    MediaSummary {
        codec: codec.to_owned(),
        packets_sent: stats.packets_sent,
        packets_received: stats.packets_received,
        packets_lost: stats.lost,
        jitter_us: (stats.jitter_ms * 1000.0) as u32,
        late_packets: stats.late_ticks,
        mos_x100: stats.mos.map(|mos| (mos * 100.0).round() as u16),
    }
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
