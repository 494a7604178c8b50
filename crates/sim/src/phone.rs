//! A simulated phone in one call. What a person does with it is a sequence of awaits:
//!
//! ```no_run
//! # async fn person(phone: &mut sim::Phone) -> Result<(), sim::Over> {
//! # use std::time::Duration;
//! phone.ring_for(Duration::from_secs(2)).await?;
//! phone.answer().await?;
//! phone.press("1").await?;
//! phone.wait(Duration::from_secs(5)).await?;
//! phone.hang_up().await
//! # }
//! ```
//!
//! Between the steps the phone does what phones do by themselves: it answers re-INVITEs, notes digits, and learns that
//! the caller has hung up, which ends the sequence with [`Over`].

mod dialling;
mod finish;
mod negotiation;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use media::Clip;
use sip::{Body, Command, HangUpCause, IncomingCall, LegId};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::audio_leg::AudioLeg;
use crate::exchange::{Exchange, Line, Notice};
use crate::fork::ForkReport;
use crate::sounds;
use crate::wire::Lost;
use crate::{EndedBy, Heard, Moment};

pub(crate) use finish::Log;

/// The call has ended: whatever the phone was about to do is moot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the call is over")]
pub struct Over;

/// A phone in one call.
pub struct Phone {
    exchange: Arc<Exchange>,
    line: Line,
    leg: LegId,
    call: Box<IncomingCall>,
    notices: mpsc::Receiver<Notice>,
    audio: AudioLeg,
    side: Side,
    stage: Stage,
    offers: Offers,
    log: Log,
}

/// What becomes of re-INVITEs and UPDATEs of the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Offers {
    Answer,
    Refuse(u16),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Called,
    Caller,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing said, or ringing.
    Early,
    /// 200 sent, or received.
    Answered,
    Over,
}

/// What the phone's owner may wait for.
#[derive(Debug)]
enum Happening {
    /// Something that matters to nobody else.
    Nothing,
    Media(media::Event),
    /// ACK for our 200.
    Confirmed,
    /// The caller's answer to our re-INVITE; `None`: refused.
    OfferAnswered(Option<Bytes>),
    /// A provisional response to our INVITE.
    Progress(u16),
    /// 200 to our INVITE.
    Answered,
}

#[derive(PartialEq)]
enum Played {
    Whole,
    InPart,
}

enum Received {
    Notice(Option<Notice>),
    Media(media::Event),
    TimeIsUp,
}

impl Phone {
    pub(crate) fn new(
        exchange: Arc<Exchange>,
        line: Line,
        leg: LegId,
        call: Box<IncomingCall>,
        notices: mpsc::Receiver<Notice>,
        invite_at: Moment,
    ) -> Phone {
        let audio = exchange.audio_leg();
        let log = Log::new(invite_at);
        let (side, stage) = (Side::Called, Stage::Early);
        let offers = Offers::Answer;
        Phone { exchange, line, leg, call, notices, audio, side, stage, offers, log }
    }

    /// The caller's number: user part of From.
    pub fn caller(&self) -> &str {
        self.call.from.user()
    }

    /// The number that was dialled: user part of the Request-URI.
    pub fn number(&self) -> &str {
        &self.call.request_user
    }

    /// The INVITE, as the crate `sip` read it.
    pub fn call(&self) -> &IncomingCall {
        &self.call
    }

    /// 180, once.
    pub fn ring(&mut self) -> Result<(), Over> {
        self.sip(Command::Ring { leg: self.leg, body: None })
    }

    /// Rings for so long; zero does not ring at all.
    pub async fn ring_for(&mut self, time: Duration) -> Result<(), Over> {
        if time.is_zero() {
            return Ok(());
        }
        self.ring()?;
        self.wait(time).await
    }

    /// 183 with early media; what [`Phone::play`] plays is then heard before the answer.
    pub async fn early_media(&mut self) -> Result<(), Over> {
        let body = self.description().await?;
        self.sip(Command::Progress { leg: self.leg, body: Some(Body::sdp(body)) })
    }

    /// 200. Where no audio can be agreed the call is refused with 488 instead.
    pub async fn answer(&mut self) -> Result<(), Over> {
        let body = self.description().await?;
        self.answer_with(Some(body))
    }

    /// 200 with this session description, or without any.
    pub(crate) fn answer_with(&mut self, sdp: Option<Bytes>) -> Result<(), Over> {
        let body = sdp.map(Body::sdp);
        self.sip(Command::Answer { leg: self.leg, body })?;
        self.answered();
        Ok(())
    }

    /// Refuses the call; `status` is 300 to 699.
    pub async fn refuse(&mut self, status: u16) -> Result<(), Over> {
        self.refuse_saying(status, Vec::new()).await
    }

    /// The same with headers of one's own: Retry-After, Contact.
    pub async fn refuse_saying(
        &mut self,
        status: u16,
        headers: Vec<(String, String)>,
    ) -> Result<(), Over> {
        let (leg, reason) = (self.leg, None);
        self.log.status = Some(status);
        self.sip(Command::Refuse { leg, status, reason, headers })?;
        self.until_over().await
    }

    /// Does nothing for so long: the phone hears, and answers what has to be answered.
    pub async fn wait(&mut self, time: Duration) -> Result<(), Over> {
        let until = Instant::now() + time;
        while self.next_until(Some(until)).await?.is_some() {}
        Ok(())
    }

    /// Waits until the caller has hung up or given up. Never returns `Ok`.
    pub async fn until_over(&mut self) -> Result<(), Over> {
        loop {
            self.next().await?;
        }
    }

    /// Plays a clip to its end.
    pub async fn play(&mut self, clip: &Clip) -> Result<(), Over> {
        self.play_until(clip, 1, None).await.map(drop)
    }

    /// Repeats a clip until the time is up.
    pub async fn play_for(&mut self, clip: &Clip, time: Duration) -> Result<(), Over> {
        let until = Instant::now() + time;
        while self.play_until(clip, 1, Some(until)).await? == Played::Whole {}
        self.wait(until - Instant::now()).await
    }

    /// Plays a tone of so many Hz for so long.
    pub async fn tone_for(&mut self, hz: u16, time: Duration) -> Result<(), Over> {
        let until = Instant::now() + time;
        let second = sounds::second_of(hz);
        while self.play_until(&second, u8::MAX, Some(until)).await? == Played::Whole {}
        self.wait(until - Instant::now()).await
    }

    async fn play_until(
        &mut self,
        clip: &Clip,
        times: u8,
        until: Option<Instant>,
    ) -> Result<Played, Over> {
        let clips: Arc<[Clip]> = Arc::from([clip.clone()]);
        let play = match self.audio.play(clips, times) {
            Ok(play) => play,
            Err(error) => {
                self.log.fault(&error);
                return Ok(Played::InPart);
            }
        };
        loop {
            match self.next_until(until).await? {
                Some(Happening::Media(media::Event::PlayFinished { play: ended, .. }))
                    if ended == play =>
                {
                    return Ok(Played::Whole);
                }
                Some(Happening::Media(media::Event::Failed { .. })) => return Ok(Played::InPart),
                Some(
                    Happening::Media(_)
                    | Happening::Nothing
                    | Happening::Confirmed
                    | Happening::Progress(_)
                    | Happening::Answered
                    | Happening::OfferAnswered(_),
                ) => {}
                None => {
                    if let Err(error) = self.audio.stop_play() {
                        self.log.fault(&error);
                    }
                    return Ok(Played::InPart);
                }
            }
        }
    }

    /// Presses digits (`0`–`9`, `*`, `#`, `A`–`D`) and returns when the last has left.
    pub async fn press(&mut self, digits: &str) -> Result<(), Over> {
        if let Err(error) = self.audio.press(digits) {
            self.log.fault(&error);
            return Ok(());
        }
        loop {
            match self.next().await? {
                Happening::Media(media::Event::DigitsSent { .. }) => {
                    self.log.digits_sent.push_str(digits);
                    return Ok(());
                }
                Happening::Media(media::Event::Failed { .. }) => return Ok(()),
                Happening::Media(_)
                | Happening::Nothing
                | Happening::Confirmed
                | Happening::Progress(_)
                | Happening::Answered
                | Happening::OfferAnswered(_) => {}
            }
        }
    }

    /// Sends INFO with this body; the far side answers it by itself.
    pub fn info(&mut self, content_type: &str, text: &str) -> Result<(), Over> {
        let bytes = text.to_owned().into();
        let body = Body { content_type: content_type.to_owned(), bytes };
        self.sip(Command::Info { leg: self.leg, body })
    }

    /// Presses a digit as old phones do: by INFO (`application/dtmf-relay`).
    pub fn press_by_info(&mut self, digit: char) -> Result<(), Over> {
        self.info("application/dtmf-relay", &format!("Signal={digit}\r\nDuration=160\r\n"))?;
        self.log.digits_sent.push(digit);
        Ok(())
    }

    /// The next digit that the caller presses, also one that came while the phone did something else.
    pub async fn digit(&mut self) -> Result<char, Over> {
        loop {
            if let Some(digit) = self.log.next_digit() {
                return Ok(digit);
            }
            self.next().await?;
        }
    }

    /// What the phone has heard so far, as far as the carrier keeps audio.
    pub fn heard(&self) -> Heard {
        Heard::new(self.audio.heard())
    }

    /// Hangs up, or refuses with 480 where the call was not answered.
    pub async fn hang_up(&mut self) -> Result<(), Over> {
        self.sip(Command::HangUp { leg: self.leg, cause: HangUpCause::Normal })?;
        self.log.ended_by.get_or_insert(EndedBy::Phone);
        self.until_over().await
    }

    /// From now on the phone sends no audio and hears none, as if its network were cut; the call stays up.
    pub async fn lose_audio(&mut self) {
        let Phone { audio, log, .. } = self;
        log.stats = audio.close(&mut |event| log.media(&event)).await;
    }

    /// From now on the phone refuses each re-INVITE and UPDATE with this status, 300 to 699.
    pub fn refuse_offers(&mut self, status: u16) {
        self.offers = Offers::Refuse(status);
    }

    /// The next `times` messages of this kind are lost, in either direction. `false` over a stream, which delivers.
    pub fn lose(&self, what: Lost, times: u32) -> bool {
        self.line.lose(self.call.call_id.clone(), what, times)
    }

    /// Has the 200 sent when the caller's CANCEL arrives, ahead of it. `false` over TCP, where nothing overtakes.
    pub(crate) async fn answer_on_cancel(&mut self) -> Result<bool, Over> {
        let body = Some(Body::sdp(self.description().await?));
        let call_id = self.call.call_id.clone();
        Ok(self.line.answer_on_cancel(self.leg, call_id, body))
    }

    /// Waits for the ACK of a 200 that the line sends by itself.
    pub(crate) async fn until_confirmed(&mut self) -> Result<(), Over> {
        while !matches!(self.next().await?, Happening::Confirmed) {}
        self.answered();
        Ok(())
    }

    /// The caller gets no message of this call any more, nor does the phone. `false` over TCP.
    pub(crate) fn vanish(&mut self) -> bool {
        let gone = self.line.swallow(self.call.call_id.clone());
        if gone {
            self.log.ended_by = Some(EndedBy::Lost);
            self.stage = Stage::Over;
        }
        gone
    }

    /// A second phone answered the same INVITE: its fate goes into the report.
    pub(crate) fn note_fork(&mut self, second: watch::Receiver<ForkReport>) {
        self.log.fork = Some(second);
    }

    pub(crate) fn exchange(&self) -> &Arc<Exchange> {
        &self.exchange
    }

    /// Waits for the next thing that happens, and does what phones do by themselves.
    async fn next(&mut self) -> Result<Happening, Over> {
        Ok(self.next_until(None).await?.unwrap_or(Happening::Nothing))
    }

    /// As [`Phone::next`], `None` once the time is up.
    async fn next_until(&mut self, until: Option<Instant>) -> Result<Option<Happening>, Over> {
        if self.stage == Stage::Over {
            return Err(Over);
        }
        // Only receiving is cut off by the time limit: what was received is dealt with to its end.
        let received = tokio::select! {
            notice = self.notices.recv() => Received::Notice(notice),
            event = self.audio.next() => Received::Media(event),
            () = sleep_until(until) => Received::TimeIsUp,
        };
        match received {
            Received::Notice(Some(notice)) => self.noticed(notice).await.map(Some),
            Received::Notice(None) => self.over(EndedBy::Carrier).map(Some),
            Received::Media(event) => {
                self.log.media(&event);
                Ok(Some(Happening::Media(event)))
            }
            Received::TimeIsUp => Ok(None),
        }
    }

    async fn noticed(&mut self, notice: Notice) -> Result<Happening, Over> {
        match notice {
            Notice::Confirmed(sdp) => {
                self.described_by(sdp);
                Ok(Happening::Confirmed)
            }
            Notice::Offered(offer) => {
                match self.offers {
                    Offers::Answer => self.answer_offer(offer).await?,
                    Offers::Refuse(status) => {
                        self.sip(Command::RefuseOffer { leg: self.leg, status })?;
                    }
                }
                Ok(Happening::Nothing)
            }
            Notice::OfferAnswered(sdp) => Ok(Happening::OfferAnswered(sdp)),
            Notice::Progress(status, sdp) => {
                self.described_by(sdp);
                Ok(Happening::Progress(status))
            }
            Notice::Answered(sdp) => {
                self.described_by(sdp);
                self.answered();
                Ok(Happening::Answered)
            }
            Notice::Info(body) => {
                self.log.info(&body);
                Ok(Happening::Nothing)
            }
            Notice::Ended(end) => {
                if self.side == Side::Caller {
                    self.log.status = end.status;
                }
                let by = finish::ended_by(&end, self.stage == Stage::Answered, self.side);
                self.over(by)
            }
            Notice::Closing => {
                self.sip(Command::HangUp { leg: self.leg, cause: HangUpCause::Shutdown })?;
                self.log.ended_by.get_or_insert(EndedBy::Carrier);
                Ok(Happening::Nothing)
            }
        }
    }

    fn described_by(&mut self, sdp: Option<Bytes>) {
        if let Some(sdp) = sdp {
            self.remote(sdp);
        }
    }

    fn answered(&mut self) {
        self.stage = Stage::Answered;
        self.log.answered_at.get_or_insert_with(Moment::now);
    }

    fn over(&mut self, by: EndedBy) -> Result<Happening, Over> {
        self.stage = Stage::Over;
        self.log.ended_by.get_or_insert(by);
        Err(Over)
    }

    fn sip(&mut self, command: Command) -> Result<(), Over> {
        if self.stage == Stage::Over {
            return Err(Over);
        }
        if self.line.command(command) {
            return Ok(());
        }
        self.log.fault_text("the simulated carrier's SIP line is overloaded: use fewer calls");
        self.over(EndedBy::Carrier).map(drop)
    }
}

impl Drop for Phone {
    /// Also where the person on the phone panicked: no leg and no entry stays behind.
    fn drop(&mut self) {
        // A phone that vanished still has a leg: it hangs up into the void. One that is over is not heard.
        let command = Command::HangUp { leg: self.leg, cause: HangUpCause::Normal };
        if !self.line.command(command) {
            tracing::debug!("the simulated carrier's SIP line is overloaded or closed");
        }
        self.exchange.forget(&self.line, self.leg);
    }
}

async fn sleep_until(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}
