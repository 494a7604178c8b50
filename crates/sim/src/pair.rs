//! Two phones without a line: for a relay of audio that is told by other means than SIP who speaks with whom. They send
//! and judge as the carrier's phones do.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use media::{Clip, Codec, Srtp};

use crate::RtpReport;
use crate::audio_leg::{AudioError, AudioLeg, Switchboard};
use crate::sounds;

/// What each of them plays, in Hz.
const TONES: [u16; 2] = [440, 880];

/// The phones' audio is at fault: the description that the relay gave, or the machine.
#[derive(Debug, thiserror::Error)]
#[error("a simulated phone's audio: {0}")]
pub struct PairError(String);

impl From<AudioError> for PairError {
    fn from(error: AudioError) -> PairError {
        PairError(error.to_string())
    }
}

/// Where pairs come from: the media threads of them all.
pub struct Pairs {
    board: Arc<Switchboard>,
    tones: [Arc<[Clip]>; 2],
}

impl Pairs {
    /// Phones on 127.0.0.1 that speak PCMA, on one media thread.
    pub fn start() -> Result<Pairs, PairError> {
        let config = media::Config { threads: 1, ..media::Config::default() };
        let board = Switchboard::start(config, vec![Codec::Pcma], Srtp::Off);
        let board = board.map_err(|error| PairError(error.to_string()))?;
        let tones = TONES.map(|hz| Arc::from([sounds::second_of(hz)]));
        Ok(Pairs { board: Arc::new(board), tones })
    }

    /// The first phone dials: a pair, and its offer.
    pub async fn dial(&self) -> Result<(Pair, Bytes), PairError> {
        let mut pair = Pair {
            first: self.board.leg(Duration::ZERO),
            second: self.board.leg(Duration::ZERO),
            tones: self.tones.clone(),
            sources: BTreeSet::new(),
        };
        let Pair { first, sources, .. } = &mut pair;
        let offer = first.offer(&mut |event| note(sources, &event)).await?;
        Ok((pair, offer))
    }
}

/// A call of two phones. Dropped, it is cut off.
pub struct Pair {
    first: AudioLeg,
    second: AudioLeg,
    tones: [Arc<[Clip]>; 2],
    sources: BTreeSet<SocketAddr>,
}

impl Pair {
    /// The second phone answers the offer that the relay made of the first one's, and plays its tone.
    pub async fn answer(&mut self, offer: Bytes) -> Result<Bytes, PairError> {
        let Pair { second, sources, tones, .. } = self;
        let answer = second.answer(offer, &mut |event| note(sources, &event)).await?;
        second.play(tones[1].clone(), u8::MAX)?;
        Ok(answer)
    }

    /// The first phone learns the answer that the relay made of the second one's, and plays its tone.
    pub fn connect(&mut self, answer: Bytes) -> Result<(), PairError> {
        self.first.remote(answer)?;
        self.first.play(self.tones[0].clone(), u8::MAX)?;
        Ok(())
    }

    /// Both hang up; what the first and the second one heard.
    pub async fn end(mut self) -> [RtpReport; 2] {
        let Pair { first, second, sources, .. } = &mut self;
        let mut reports = [RtpReport::default(), RtpReport::default()];
        for (leg, report) in [first, second].into_iter().zip(&mut reports) {
            let stats = leg.close(&mut |event| note(sources, &event)).await.unwrap_or_default();
            *report = RtpReport::of(&stats, &leg.arrivals(), sources);
        }
        reports
    }
}

fn note(sources: &mut BTreeSet<SocketAddr>, event: &media::Event) {
    if let media::Event::Negotiated { remote: Some(remote), .. } = event {
        sources.insert(*remote);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without a relay between them: each description goes to the other as it is.
    #[tokio::test]
    async fn two_phones_hear_each_other_until_they_hang_up() {
        let pairs = Pairs::start().expect("the media threads start");
        let (mut pair, offer) = pairs.dial().await.expect("it offers");
        let answer = pair.answer(offer).await.expect("it answers");
        pair.connect(answer).expect("it takes the answer");
        let mut looks = tokio::time::interval(Duration::from_millis(20));
        let heard = async {
            while pair.first.arrivals().packets < 20 || pair.second.arrivals().packets < 20 {
                looks.tick().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), heard).await.expect("both hear");
        for report in pair.end().await {
            assert!(report.packets >= 20 && report.foreign_packets == 0, "{report:?}");
            assert_eq!(report.ssrcs, 1, "{report:?}");
        }
    }

    #[tokio::test]
    async fn an_offer_that_is_none_is_an_error_that_says_so() {
        let pairs = Pairs::start().expect("the media threads start");
        let (mut pair, _) = pairs.dial().await.expect("it offers");
        let error = pair.answer(Bytes::from_static(b"not SDP")).await.expect_err("no SDP");
        assert!(error.to_string().starts_with("a simulated phone's audio: "), "{error}");
    }
}
