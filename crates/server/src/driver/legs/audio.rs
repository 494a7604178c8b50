//! What `media` says of a leg.

use bytes::Bytes;
use engine::action::{Input, LegInput, PlayId, Via};
use engine::cdr::{Cause, MediaSummary};
use engine::vocabulary::LegId;
use store::crash_point;

use super::{Closing, Leg, Purpose, Reoffer, Stage, of_media, to_media, to_sip};
use crate::driver::Driver;
use crate::driver::notes::NoteKind;

impl Driver {
    pub(in crate::driver) fn media_event(&mut self, event: media::Event) {
        use media::Event;
        match event {
            Event::Offered { leg, sdp, .. } | Event::Answered { leg, sdp, .. } => {
                self.described(of_media(leg), sdp);
            }
            Event::Negotiated { leg, codec, remote, direction, srtp, .. } => {
                let leg = of_media(leg);
                let codec = format!("{codec:?}").to_uppercase();
                if let Some(entry) = self.legs.find_mut(leg) {
                    entry.codec.clone_from(&codec);
                }
                let remote = remote.map(|remote| remote.to_string());
                let said = format!("{direction:?}");
                let srtp = srtp.map(|suite| suite.name().to_owned());
                self.note_leg(leg, NoteKind::Negotiated { codec, remote, direction: said, srtp });
                self.heard_direction(leg, direction);
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
                let leg = of_media(leg);
                if let Some(entry) = self.legs.find_mut(leg) {
                    entry.told_audio = true;
                }
                let audio = NoteKind::Audio { received, sent, packets_in, packets_out };
                self.note_leg(leg, audio);
            }
            Event::RecordingStarted { leg, .. } => {
                crash_point!("recording_begun");
                self.note_leg(of_media(leg), NoteKind::RecordingStarted);
                self.leg_input(of_media(leg), LegInput::RecordingStarted);
            }
            Event::RecordingFailed { leg, reason, .. } => {
                self.note_leg(of_media(leg), NoteKind::RecordingFailed { reason });
                self.leg_input(of_media(leg), LegInput::RecordingFailed);
            }
            Event::RecordingPaused { leg } | Event::RecordingResumed { leg } => {
                self.input(Input::RecordingSwitched { leg: of_media(leg) });
            }
            Event::RecordingDone { leg, duration_ms, .. } => {
                crash_point!("recording_closed");
                self.note_leg(of_media(leg), NoteKind::RecordingDone { duration_ms });
            }
            Event::Closed { leg, stats } => self.closed(of_media(leg), Some(&stats)),
            Event::LegPanicked { leg, stats } => self.panicked(of_media(leg), &stats),
            Event::Bridged { leg, with, relayed } => {
                let with = of_media(with).0.to_string();
                self.note_leg(of_media(leg), NoteKind::Bridged { with, relayed });
            }
            Event::Quiet { leg, silent_for } => self.quiet(of_media(leg), silent_for),
            Event::PlayStopped { .. } | Event::DigitsSent { .. } => {}
        }
    }

    /// Our description is made, as an offer or as an answer. A port that is bound for it lets the INVITE be
    /// built, the old one be sent again, or the caller be taken in; else the far side waits for it.
    fn described(&mut self, leg: LegId, sdp: Bytes) {
        let Some(entry) = self.legs.find_mut(leg) else { return self.give_back(leg) };
        entry.sdp = sdp.clone();
        let signalling = Stage::Signalling { media: true, reoffer: Reoffer::No };
        match std::mem::replace(&mut entry.stage, signalling) {
            Stage::Binding(Purpose::Dial(to)) => {
                let serial = entry.serial;
                let now = self.now.since_start;
                let invite = match &to.via {
                    Via::Trunk(trunk) => self.trunks.invite(leg, serial, (trunk, &to), sdp, now),
                    Via::Softphone(binding) => {
                        let name = self.trunks.name_attempt(serial, to.attempt);
                        self.phones.invite(leg, &to, *binding, name, sdp)
                    }
                };
                match invite {
                    Ok(invite) => self.tell_sip(sip::Command::Prepare(Box::new(invite))),
                    Err(error) => {
                        let end = sip::End {
                            status: None,
                            reason: error.to_string(),
                            by: sip::EndedBy::Transport,
                            q850: None,
                            retry_after: None,
                            was_ringing: false,
                            contacts: Vec::new(),
                        };
                        self.sip_ended(leg, &end);
                    }
                }
            }
            Stage::Binding(Purpose::Resume(wire)) => {
                let credentials = self.trunks.credentials_for(wire.remote);
                crash_point!("resume_before");
                self.tell_sip(sip::Command::Resume { wire, credentials });
            }
            Stage::Binding(Purpose::TakeIn) => self.taken_in(leg),
            // Also where the leg had lost its port: our offer has bound another.
            Stage::Signalling { reoffer: Reoffer::Awaited, .. } => {
                let body = Some(sip::Body::sdp(sdp));
                self.tell_sip(sip::Command::AnswerOffer { leg: to_sip(leg), body });
            }
            stage @ (Stage::Signalling { reoffer: Reoffer::No, .. } | Stage::Closing(_)) => {
                entry.stage = stage;
            }
        }
    }

    /// A port that was bound for a leg that is over.
    fn give_back(&mut self, leg: LegId) {
        self.tell_media(media::Command::Close { leg: to_media(leg) });
    }

    fn media_failed(&mut self, leg: LegId, fault: &media::MediaFault) {
        use media::MediaFault;
        self.note_leg(leg, NoteKind::MediaFault { reason: fault.to_string() });
        let cause = match fault {
            // What one command could not do is no reason to end a call.
            MediaFault::TooManyDigits | MediaFault::BadDigit(_) => return,
            MediaFault::DiskBusy | MediaFault::AlreadyRecording => {
                return self.leg_input(leg, LegInput::RecordingFailed);
            }
            MediaFault::NoPort | MediaFault::EncoderBusy | MediaFault::Bind { .. } => {
                Cause::NoResource
            }
            _ => Cause::MediaFailed,
        };
        let Some(entry) = self.legs.find_mut(leg) else { return };
        let signalling = Stage::Signalling { media: false, reoffer: Reoffer::No };
        match std::mem::replace(&mut entry.stage, signalling) {
            Stage::Binding(purpose) => self.not_bound(leg, purpose, cause),
            Stage::Signalling { media, reoffer: Reoffer::Awaited } => {
                entry.stage = Stage::Signalling { media, reoffer: Reoffer::No };
                let status = 488;
                self.tell_sip(sip::Command::RefuseOffer { leg: to_sip(leg), status });
            }
            stage @ Stage::Signalling { reoffer: Reoffer::No, .. } => {
                entry.stage = stage;
                self.leg_input(leg, LegInput::MediaFailed(cause));
            }
            // Its port was never bound, so nothing will be closed.
            stage @ Stage::Closing(_) => {
                entry.stage = stage;
                if entry.sdp.is_empty() {
                    self.closed(leg, None);
                }
            }
        }
    }

    /// The leg is over on both sides.
    pub(super) fn closed(&mut self, leg: LegId, stats: Option<&media::Stats>) {
        let Some(Leg { stage: Stage::Closing(closing), codec, told_audio, .. }) =
            self.legs.find(leg)
        else {
            return;
        };
        let (Closing { cause, sip_status, then }, told_audio) = (closing.clone(), *told_audio);
        let negotiated = stats.filter(|_| !codec.is_empty());
        let media = negotiated.map(|stats| summary(codec, stats));
        self.legs.remove(leg);
        // A call that was shorter than the time in which it is told.
        if let Some(stats) = negotiated.filter(|_| !told_audio) {
            let (packets_in, packets_out) = (stats.packets_received, stats.packets_sent);
            let (received, sent) = (packets_in > 0, packets_out > 0);
            self.note_leg(leg, NoteKind::Audio { received, sent, packets_in, packets_out });
        }
        if let Some(refused) = stats.and_then(NoteKind::refused) {
            self.note_leg(leg, refused);
        }
        self.leg_input(leg, LegInput::Ended { cause, sip_status, media, then });
    }

    /// The leg has no port, and will have none; its stage is that of signalling without media.
    fn not_bound(&mut self, leg: LegId, purpose: Purpose, cause: Cause) {
        match purpose {
            // Nothing has left.
            Purpose::Dial(_) => {
                if let Some(entry) = self.legs.find_mut(leg) {
                    entry.stage = Stage::Closing(cause.into());
                }
                self.closed(leg, None);
            }
            // The caller waits for an answer.
            Purpose::TakeIn => self.leg_input(leg, LegInput::MediaFailed(cause)),
            // Without its port the call cannot go on: what is out is taken back.
            Purpose::Resume(wire) => self.tell_sip(sip::Command::Abandon { wire }),
        }
    }

    /// `media` gave the leg up; the call goes with it, others go on.
    fn panicked(&mut self, leg: LegId, stats: &media::Stats) {
        let Some(entry) = self.legs.find_mut(leg) else { return };
        let signalling = Stage::Signalling { media: false, reoffer: Reoffer::No };
        match std::mem::replace(&mut entry.stage, signalling) {
            Stage::Binding(purpose) => self.not_bound(leg, purpose, Cause::Internal),
            Stage::Signalling { reoffer, .. } => {
                entry.stage = Stage::Signalling { media: false, reoffer };
                self.leg_input(leg, LegInput::MediaFailed(Cause::Internal));
            }
            stage @ Stage::Closing(_) => {
                entry.stage = stage;
                self.closed(leg, Some(stats));
            }
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
