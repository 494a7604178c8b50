//! What the engine asks of a leg.

use bytes::Bytes;
use engine::RecordingSwitch;
use engine::action::{Dialled, LegInput, PlayId, Then, Via};
use engine::cdr::Cause;
use engine::vocabulary::{LegId, Serial};
use store::crash_point;

use super::{Purpose, Reoffer, Stage, to_media, to_sip};
use crate::driver::notes::NoteKind;
use crate::driver::{Driver, Wanted};

impl Driver {
    pub(in crate::driver) fn open(&mut self, leg: LegId, serial: Serial, to: Dialled) {
        let (codecs, srtp) = match &to.via {
            Via::Trunk(trunk) => (self.trunks.codecs(trunk), self.trunks.srtp(trunk)),
            Via::Softphone(_) => (self.phones.line().codecs.clone(), self.phones.line().srtp),
        };
        let waits = to.beside;
        let beside = waits.map(to_media);
        self.add_leg(leg, serial, Stage::Binding(Purpose::Dial(to)));
        if let Some(entry) = self.legs.find_mut(leg) {
            entry.dialling = Some(self.admission.dialling());
            entry.beside = waits;
            (entry.codecs, entry.srtp) = (codecs.clone(), srtp);
        }
        let leg = to_media(leg);
        self.tell_media(media::Command::Offer { leg, codecs, dtmf: true, srtp, beside });
    }

    pub(in crate::driver) fn resume(
        &mut self,
        leg: LegId,
        serial: Serial,
        wire: &[u8],
        sdp: Vec<u8>,
    ) {
        match sip::Wire::from_bytes(wire) {
            // Over a connection the same bytes are a new request: only a datagram is a retransmission.
            Ok(wire) if wire.transport.is_reliable() => self.take_back(leg, serial, wire),
            Ok(wire) => {
                self.add_leg(leg, serial, Stage::Binding(Purpose::Resume(Box::new(wire))));
                let what = "the INVITE that was out is sent again".into();
                self.note(serial, NoteKind::Recovered { what });
                let sdp = Bytes::from(sdp);
                self.tell_media(media::Command::Rebind { leg: to_media(leg), sdp });
            }
            Err(error) => self.unreadable(leg, serial, &error),
        }
    }

    pub(in crate::driver) fn abandon(&mut self, leg: LegId, serial: Serial, wire: &[u8]) {
        match sip::Wire::from_bytes(wire) {
            Ok(wire) => self.take_back(leg, serial, wire),
            Err(error) => self.unreadable(leg, serial, &error),
        }
    }

    fn take_back(&mut self, leg: LegId, serial: Serial, wire: sip::Wire) {
        self.signalling(leg, serial);
        let what = "the INVITE that was out is cancelled".into();
        self.note(serial, NoteKind::Recovered { what });
        crash_point!("abandon_before");
        self.tell_sip(sip::Command::Abandon { wire: Box::new(wire) });
    }

    pub(in crate::driver) fn hang_up_stored(&mut self, leg: LegId, serial: Serial, dialog: &[u8]) {
        match sip::DialogSnapshot::from_bytes(dialog) {
            Ok(dialog) => {
                self.signalling(leg, serial);
                let what = "the call that was up is hung up".into();
                self.note(serial, NoteKind::Recovered { what });
                crash_point!("stored_hang_up_before");
                self.tell_sip(sip::Command::HangUpDialog {
                    credentials: self.trunks.credentials_for(dialog.remote),
                    dialog: Box::new(dialog),
                    cause: sip::HangUpCause::Failure,
                });
            }
            Err(error) => self.unreadable(leg, serial, &error),
        }
    }

    pub(in crate::driver) fn dial(&mut self, leg: LegId) {
        crash_point!("invite_before");
        if let Some(entry) = self.legs.find_mut(leg) {
            entry.dialling = None;
        }
        if self.is_waited_for_in_vain(leg) {
            return;
        }
        if let Some(serial) = self.legs.serial(leg) {
            self.settle_refusals(serial);
        }
        self.tell_sip(sip::Command::Send { leg: to_sip(leg) });
    }

    /// Whoever waits for this party has gone, which the engine hears when the port is given back; then it hangs this
    /// leg up. Until then nobody is to ring.
    fn is_waited_for_in_vain(&self, leg: LegId) -> bool {
        let waits = self.legs.find(leg).and_then(|entry| entry.beside);
        waits.is_some_and(|waits| {
            self.legs.find(waits).is_none_or(|of| matches!(of.stage, Stage::Closing(_)))
        })
    }

    pub(in crate::driver) fn acknowledge(&mut self, leg: LegId) {
        crash_point!("ack_before");
        self.tell_sip(sip::Command::Acknowledge { leg: to_sip(leg), body: None });
    }

    pub(in crate::driver) fn hang_up(&mut self, leg: LegId) {
        let Some(entry) = self.legs.find_mut(leg) else { return };
        match &entry.stage {
            Stage::Binding(Purpose::Dial(_)) => {
                entry.stage = Stage::Closing(Cause::HungUp.into());
                self.tell_media(media::Command::Close { leg: to_media(leg) });
            }
            Stage::Binding(Purpose::TakeIn) => {
                entry.stage = Stage::Signalling { media: true, reoffer: Reoffer::No };
                let cause = sip::HangUpCause::Shutdown;
                self.tell_sip(sip::Command::HangUp { leg: to_sip(leg), cause });
            }
            Stage::Binding(Purpose::Resume(wire)) => {
                let wire = wire.clone();
                entry.stage = Stage::Signalling { media: true, reoffer: Reoffer::No };
                self.tell_sip(sip::Command::Abandon { wire });
            }
            Stage::Signalling { .. } => {
                crash_point!("hang_up_before");
                let cause = sip::HangUpCause::Normal;
                self.tell_sip(sip::Command::HangUp { leg: to_sip(leg), cause });
            }
            Stage::Closing(_) => {}
        }
    }

    pub(in crate::driver) fn play(&mut self, leg: LegId, play: PlayId) {
        let clips = self.legs.serial(leg).and_then(|serial| self.fetched.get(&serial)).cloned();
        let Some(clips) = clips else {
            return self.leg_input(leg, LegInput::MediaFailed(Cause::Internal));
        };
        let (leg, play) = (to_media(leg), media::PlayId(play.0.into()));
        self.tell_media(media::Command::Play { leg, play, clips, times: 1 });
    }

    pub(in crate::driver) fn record(&mut self, leg: LegId) {
        let intent = self.legs.serial(leg).and_then(|serial| self.engine.intent(serial));
        let Some(intent) = intent else { return };
        let intent = Box::new(intent.clone());
        self.wanted.push_back(Wanted::Record { leg, intent });
    }

    pub(in crate::driver) fn switch_recording(&mut self, leg: LegId, switch: RecordingSwitch) {
        let leg = to_media(leg);
        self.tell_media(match switch {
            RecordingSwitch::Pause => media::Command::PauseRecording { leg },
            RecordingSwitch::Resume => media::Command::ResumeRecording { leg },
        });
    }

    pub(in crate::driver) fn recording_lost(&mut self, leg: LegId, reason: String) {
        if self.legs.serial(leg).is_some() {
            self.tell_media(media::Command::StopRecording { leg: to_media(leg) });
            self.note_leg(leg, NoteKind::RecordingFailed { reason });
            self.leg_input(leg, LegInput::RecordingFailed);
        }
    }

    fn signalling(&mut self, leg: LegId, serial: Serial) {
        let stage = Stage::Signalling { media: false, reoffer: Reoffer::No };
        self.add_leg(leg, serial, stage);
    }

    /// A row of an older format or a damaged one: nothing can be sent for it.
    fn unreadable(&mut self, leg: LegId, serial: Serial, error: &sip::WireError) {
        tracing::error!(%serial, %error, "a stored attempt cannot be read; its call is reported as unknown");
        self.leg_input(
            leg,
            LegInput::Ended {
                cause: Cause::Internal,
                sip_status: None,
                media: None,
                then: Then::Nothing,
            },
        );
    }
}
