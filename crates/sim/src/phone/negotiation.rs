//! Offers and answers of a phone: what its media threads describe, its line carries.

use bytes::Bytes;
use sip::{Body, Command};

use super::{Happening, Over, Phone};
use crate::audio_leg::AudioError;
use crate::sdp_edit;

impl Phone {
    /// Offers the session anew in a re-INVITE; whether the caller took it. `edit` changes the offer.
    pub(crate) async fn reinvite(&mut self, edit: fn(&[u8]) -> Bytes) -> Result<bool, Over> {
        let offer = match self.description_without_audio() {
            Some(described) => Ok(described),
            None => {
                let Phone { audio, log, .. } = self;
                audio.offer(&mut |event| log.media(&event)).await
            }
        };
        let offer = match offer {
            Ok(offer) => edit(&offer),
            Err(error) => {
                self.log.fault(&error);
                return Ok(false);
            }
        };
        let Some(answer) = self.offered(offer.clone()).await? else { return Ok(false) };
        self.log.described = Some(offer);
        self.remote(answer);
        Ok(true)
    }

    /// Where the audio is lost, what the phone goes on to say of it: it does not know.
    fn description_without_audio(&self) -> Option<Bytes> {
        if !self.audio.is_closed() {
            return None;
        }
        self.log.described.as_deref().map(sdp_edit::renewed)
    }

    /// The answer to a re-INVITE; `None`: it was refused.
    async fn offered(&mut self, offer: Bytes) -> Result<Option<Bytes>, Over> {
        self.sip(Command::Offer { leg: self.leg, body: Body::sdp(offer) })?;
        loop {
            match self.next().await? {
                Happening::OfferAnswered(answer) => return Ok(answer),
                Happening::Nothing
                | Happening::Media(_)
                | Happening::Confirmed
                | Happening::Progress(_)
                | Happening::Answered => {}
            }
        }
    }

    /// Puts the far side on hold; whether it took that.
    pub async fn hold(&mut self) -> Result<bool, Over> {
        self.reinvite(|offer| sdp_edit::with_direction(offer, "sendonly")).await
    }

    /// Takes the call back.
    pub async fn resume(&mut self) -> Result<bool, Over> {
        self.reinvite(Bytes::copy_from_slice).await
    }

    /// Refreshes the session (RFC 4028) by a re-INVITE with the description that stands, also where the audio is lost;
    /// whether that was taken.
    pub async fn refresh(&mut self) -> Result<bool, Over> {
        let Some(described) = self.log.described.clone() else { return Ok(false) };
        Ok(self.offered(described).await?.is_some())
    }

    /// Our session description: the answer to the INVITE's offer, or an offer where it had none.
    pub(crate) async fn description(&mut self) -> Result<Bytes, Over> {
        self.description_for(self.offer()).await
    }

    /// The INVITE's offer.
    pub(crate) fn offer(&self) -> Option<Bytes> {
        self.call.body.as_ref().map(|body| body.bytes.clone())
    }

    /// As [`Phone::description`], of another offer.
    pub(crate) async fn description_for(&mut self, offer: Option<Bytes>) -> Result<Bytes, Over> {
        let Phone { audio, log, .. } = self;
        if let Some(described) = &log.described {
            return Ok(described.clone());
        }
        let mut meanwhile = |event: media::Event| log.media(&event);
        let sdp = match offer {
            Some(offer) => audio.answer(offer, &mut meanwhile).await,
            None => audio.offer(&mut meanwhile).await,
        };
        match sdp {
            Ok(sdp) => {
                self.log.described = Some(sdp.clone());
                Ok(sdp)
            }
            Err(error) => {
                let status = if error == AudioError::Busy { 503 } else { 488 };
                self.log.fault(&error);
                self.refuse(status).await?;
                Err(Over)
            }
        }
    }

    /// Answers the caller's re-INVITE; without an offer in it the answer is one.
    pub(super) async fn answer_offer(&mut self, offer: Option<Bytes>) -> Result<(), Over> {
        let without_audio = self.description_without_audio();
        let Phone { audio, log, .. } = self;
        let mut meanwhile = |event: media::Event| log.media(&event);
        let sdp = match (without_audio, offer) {
            (Some(described), _) => Ok(described),
            (None, Some(offer)) => audio.answer(offer, &mut meanwhile).await,
            (None, None) => audio.offer(&mut meanwhile).await,
        };
        match sdp {
            Ok(sdp) => {
                self.log.described = Some(sdp.clone());
                let body = Some(Body::sdp(sdp));
                self.sip(Command::AnswerOffer { leg: self.leg, body })
            }
            Err(error) => {
                self.log.fault(&error);
                self.sip(Command::RefuseOffer { leg: self.leg, status: 488 })
            }
        }
    }

    pub(super) fn remote(&mut self, sdp: Bytes) {
        if self.audio.is_closed() {
            return;
        }
        if let Err(error) = self.audio.remote(sdp) {
            self.log.fault(&error);
        }
    }
}
