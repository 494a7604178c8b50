//! A phone that dials: the call that the other side answers.

use std::sync::Arc;

use bytes::Bytes;
use sip::{Body, Command, IncomingCall, Invite, LegId};
use tokio::sync::mpsc;

use super::{Happening, Log, Offers, Over, Phone, Side, Stage};
use crate::Moment;
use crate::audio_leg::AudioError;
use crate::exchange::{Exchange, Line, Notice};

impl Phone {
    /// Offers its audio and sends the INVITE; `edit` changes the offer.
    pub(crate) async fn dial(
        exchange: Arc<Exchange>,
        line: Line,
        call: Box<IncomingCall>,
        mut invite: Invite,
        edit: fn(&[u8]) -> Bytes,
    ) -> Result<Phone, AudioError> {
        let notices: mpsc::Receiver<Notice> = exchange.open(&line, invite.leg);
        let log = Log::new(exchange.ledger().phone_rung(&call.call_id, Moment::now()));
        let (audio, leg): (_, LegId) = (exchange.audio_leg(), invite.leg);
        let (side, stage) = (Side::Caller, Stage::Early);
        let offers = Offers::Answer;
        let mut phone =
            Phone { exchange, line, leg, call, notices, audio, side, stage, offers, log };
        let Phone { audio, log, .. } = &mut phone;
        let offer = edit(&audio.offer(&mut |event| log.media(&event)).await?);
        log.described = Some(offer.clone());
        invite.body = Some(Body::sdp(offer));
        match phone.sip(Command::Prepare(Box::new(invite))) {
            Ok(()) => Ok(phone),
            Err(Over) => Err(AudioError::Busy),
        }
    }

    /// Waits until the phone that was dialled has answered.
    pub async fn until_answered(&mut self) -> Result<(), Over> {
        while self.stage != Stage::Answered {
            self.next().await?;
        }
        Ok(())
    }

    /// Waits for the next provisional response: 180, 183, …; 200 where the answer comes first.
    pub async fn until_ringing(&mut self) -> Result<u16, Over> {
        loop {
            match self.next().await? {
                Happening::Progress(status) => return Ok(status),
                Happening::Answered => return Ok(200),
                Happening::Nothing
                | Happening::Media(_)
                | Happening::Confirmed
                | Happening::OfferAnswered(_) => {}
            }
        }
    }
}
