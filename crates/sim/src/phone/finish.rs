//! The end of a phone's call: what it noted becomes the report.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use media::Stats;
use sip::End;
use tokio::sync::watch;

use super::{Phone, Side, Stage};
use crate::audio_leg::AudioError;
use crate::fork::ForkReport;
use crate::{CallReport, EndedBy, Heard, Moment, RtpReport};

/// How long after a hang-up of ours its end may take: 64·T1 and a little.
const END_LIMIT: Duration = Duration::from_secs(40);
/// How long after the call's end its second phone may still be on the line.
const FORK_LIMIT: Duration = Duration::from_secs(5);
/// Faults noted per call.
const MAX_FAULTS: usize = 8;
/// Digits noted per call.
const MAX_DIGITS: usize = 256;

/// What a phone notes during its call.
pub(crate) struct Log {
    pub invite_at: Moment,
    pub answered_at: Option<Moment>,
    pub ended_by: Option<EndedBy>,
    pub status: Option<u16>,
    /// Our session description, made once.
    pub described: Option<Bytes>,
    pub digits_sent: String,
    digits_heard: String,
    /// How many of them somebody has asked for.
    digits_taken: usize,
    /// The sums of audio that ended before the call did.
    pub stats: Option<Stats>,
    pub fork: Option<watch::Receiver<ForkReport>>,
    codec: Option<media::Codec>,
    srtp: Option<media::srtp::Suite>,
    sources: BTreeSet<SocketAddr>,
    faults: Vec<String>,
}

impl Log {
    pub fn new(invite_at: Moment) -> Log {
        Log {
            invite_at,
            answered_at: None,
            ended_by: None,
            status: None,
            described: None,
            digits_sent: String::new(),
            digits_heard: String::new(),
            digits_taken: 0,
            stats: None,
            fork: None,
            codec: None,
            srtp: None,
            sources: BTreeSet::new(),
            faults: Vec::new(),
        }
    }

    pub fn media(&mut self, event: &media::Event) {
        match event {
            media::Event::Negotiated { codec, remote, srtp, .. } => {
                self.codec = Some(*codec);
                self.srtp = *srtp;
                self.sources.extend(*remote);
            }
            media::Event::Digit { digit, .. } if self.digits_heard.len() < MAX_DIGITS => {
                self.digits_heard.push(*digit);
            }
            media::Event::Failed { fault, .. } => self.fault_text(&fault.to_string()),
            media::Event::LegPanicked { .. } => self.fault_text("the phone's media leg panicked"),
            media::Event::Offered { .. }
            | media::Event::Answered { .. }
            | media::Event::PlayStarted { .. }
            | media::Event::PlayFinished { .. }
            | media::Event::PlayStopped { .. }
            | media::Event::Digit { .. }
            | media::Event::DigitsSent { .. }
            | media::Event::Flow { .. }
            | media::Event::Bridged { .. }
            | media::Event::Quiet { .. }
            | media::Event::RecordingStarted { .. }
            | media::Event::RecordingFailed { .. }
            | media::Event::RecordingPaused { .. }
            | media::Event::RecordingResumed { .. }
            | media::Event::RecordingDone { .. }
            | media::Event::Closed { .. } => {}
        }
    }

    /// A digit that came by INFO, in one of the two forms that are in use.
    pub fn info(&mut self, body: &sip::Body) {
        let text = String::from_utf8_lossy(&body.bytes);
        let digit = match body.content_type.as_str() {
            "application/dtmf-relay" => text.lines().find_map(|line| {
                let (name, value) = line.split_once('=')?;
                let is_signal = name.trim().eq_ignore_ascii_case("signal");
                is_signal.then(|| value.trim().chars().next()).flatten()
            }),
            "application/dtmf" => text.trim().chars().next(),
            _ => None,
        };
        if self.digits_heard.len() < MAX_DIGITS {
            self.digits_heard.extend(digit);
        }
    }

    pub fn next_digit(&mut self) -> Option<char> {
        let digit = self.digits_heard.chars().nth(self.digits_taken)?;
        self.digits_taken += 1;
        Some(digit)
    }

    pub fn fault(&mut self, error: &AudioError) {
        self.fault_text(&error.to_string());
    }

    pub fn fault_text(&mut self, text: &str) {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(text.to_owned());
        }
    }
}

/// What has become of the second phone, which the caller should have let go of by now.
async fn fate(mut second: watch::Receiver<ForkReport>) -> ForkReport {
    let let_go = second.wait_for(|report| report.hung_up);
    // Past the limit, or where the second phone gave up: as far as it got.
    drop(tokio::time::timeout(FORK_LIMIT, let_go).await);
    *second.borrow()
}

/// Who ended the call, by what SIP says and whether our 200 had left.
pub(super) fn ended_by(end: &End, answered: bool, side: Side) -> EndedBy {
    match end.by {
        sip::EndedBy::Us => EndedBy::Phone,
        sip::EndedBy::Peer if answered => EndedBy::Caller,
        sip::EndedBy::Peer if side == Side::Caller => EndedBy::Refused,
        sip::EndedBy::Peer => EndedBy::Cancel,
        sip::EndedBy::Timeout(_) | sip::EndedBy::Transport | sip::EndedBy::Core => EndedBy::Lost,
    }
}

impl Phone {
    /// Ends the call where it is not over, lets go of the audio, and reports.
    pub(crate) async fn finish(self) {
        self.end().await;
    }

    /// The same for a phone that a person holds in his hand, who wants to see the report.
    pub async fn end(mut self) -> CallReport {
        let ended_early = self.stage == Stage::Over;
        let ended_at = Moment::now();
        if !ended_early && self.hang_up_within_limit().await.is_err() {
            self.log.fault_text("the caller did not let go of the call");
        }
        let ended_at = if ended_early { ended_at } else { Moment::now() };
        let stats = {
            let Phone { audio, log, .. } = &mut self;
            audio.close(&mut |event| log.media(&event)).await.or(log.stats.take())
        };
        let second_answer = match self.log.fork.take() {
            Some(second) => Some(fate(second).await),
            None => None,
        };
        let report =
            CallReport { second_answer, ..self.report(ended_at, &stats.unwrap_or_default()) };
        self.exchange.ledger().ended(report.clone());
        report
    }

    async fn hang_up_within_limit(&mut self) -> Result<(), tokio::time::error::Elapsed> {
        let ended = tokio::time::timeout(END_LIMIT, self.hang_up()).await;
        ended.map(|over| debug_assert!(over.is_err(), "a hang-up returns when the call is over"))
    }

    fn report(&self, ended_at: Moment, stats: &Stats) -> CallReport {
        let call = &self.call;
        let asserted =
            call.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("p-asserted-identity"));
        let keeps = self.exchange.keeps_audio();
        CallReport {
            call_id: call.call_id.clone(),
            from_user: call.from.user().to_owned(),
            to_user: call.request_user.clone(),
            source: call.source,
            asserted_identity: asserted.map(|(_, value)| value.clone()),
            authenticated: call.origin.user().map(str::to_owned),
            invites: 1,
            dialogs: 1,
            invite_at: self.log.invite_at,
            answered_at: self.log.answered_at,
            ended_at,
            ended_by: self.log.ended_by.unwrap_or(EndedBy::Carrier),
            status: self.log.status,
            codec: self.log.codec.map(|codec| codec.name().to_owned()),
            srtp: self.log.srtp.map(|suite| suite.name().to_owned()),
            rtp: RtpReport::of(stats, &self.audio.arrivals(), &self.log.sources),
            digits_sent: self.log.digits_sent.clone(),
            digits_heard: self.log.digits_heard.clone(),
            media_faults: self.log.faults.clone(),
            second_answer: None,
            heard: keeps.then(|| Heard::new(self.audio.heard())),
        }
    }
}
