//! Which call an event of the media threads belongs to.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use media::{Arrivals, Clip, Codec, Ear, LegId, Media, MediaFault, PlayId, Srtp, Stats};
use tokio::sync::mpsc;

/// Events that may wait for one call: more than a leg can cause between two looks at them.
const MAILBOX: usize = 64;
/// How long the media threads may take to describe or close a leg.
const MEDIA_LIMIT: Duration = Duration::from_secs(10);

/// The media threads, shared by all phones of a carrier.
pub(crate) struct Switchboard {
    media: Media,
    mailboxes: Arc<Mailboxes>,
    next_leg: AtomicU64,
    codecs: Vec<Codec>,
    srtp: Srtp,
}

#[derive(Default)]
struct Mailboxes {
    by_leg: Mutex<HashMap<LegId, mpsc::Sender<media::Event>>>,
    /// Events that found their call's mailbox full.
    dropped: AtomicU64,
}

impl Mailboxes {
    fn deliver(&self, event: media::Event) {
        let leg = leg_of(&event);
        let refused = match self.lock().get(&leg) {
            Some(mailbox) => mailbox.try_send(event).is_err_and(|error| match error {
                mpsc::error::TrySendError::Full(_) => true,
                mpsc::error::TrySendError::Closed(_) => false,
            }),
            None => false,
        };
        if refused {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<LegId, mpsc::Sender<media::Event>>> {
        // A panic elsewhere leaves a map that is still true.
        self.by_leg.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Switchboard {
    pub fn start(
        config: media::Config,
        codecs: Vec<Codec>,
        srtp: Srtp,
    ) -> Result<Switchboard, media::StartError> {
        let mailboxes = Arc::new(Mailboxes::default());
        let sink = Arc::clone(&mailboxes);
        let media = media::start(config, Box::new(move |event| sink.deliver(event)))?;
        Ok(Switchboard { media, mailboxes, next_leg: AtomicU64::new(1), codecs, srtp })
    }

    pub fn events_dropped(&self) -> u64 {
        self.mailboxes.dropped.load(Ordering::Relaxed)
    }

    /// A leg that has no port yet; `keep` is how much of what it hears is kept.
    pub fn leg(self: &Arc<Self>, keep: Duration) -> AudioLeg {
        let leg = LegId(self.next_leg.fetch_add(1, Ordering::Relaxed));
        let (sender, events) = mpsc::channel(MAILBOX);
        self.mailboxes.lock().insert(leg, sender);
        let ear = Ear::new(keep);
        let (board, stage, srtp) = (Arc::clone(self), Stage::Unbound, self.srtp);
        AudioLeg { board, leg, events, ear, stage, srtp, plays: 0 }
    }
}

/// One phone's audio. Dropped without [`AudioLeg::close`] it closes too, without a word about its sums.
pub(crate) struct AudioLeg {
    board: Arc<Switchboard>,
    leg: LegId,
    events: mpsc::Receiver<media::Event>,
    ear: Ear,
    stage: Stage,
    /// What the phone asks for; once audio was agreed, that it stays so.
    srtp: Srtp,
    plays: u64,
}

#[derive(PartialEq)]
enum Stage {
    /// No port, nothing to close.
    Unbound,
    Bound,
    Closed,
}

/// The media threads did not answer: they are overloaded, or gone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AudioError {
    #[error(transparent)]
    Fault(#[from] MediaFault),
    #[error("the simulated phone's media threads are overloaded: use fewer calls or more threads")]
    Busy,
    #[error("the simulated phone has lost its audio before it was described")]
    Lost,
}

impl AudioLeg {
    /// Whether it was closed: no port, and no other is taken.
    pub fn is_closed(&self) -> bool {
        self.stage == Stage::Closed
    }

    /// Our answer to an offer. Events that come before it go to `meanwhile`.
    pub async fn answer(
        &mut self,
        offer: Bytes,
        meanwhile: &mut impl FnMut(media::Event),
    ) -> Result<Bytes, AudioError> {
        let (leg, codecs, srtp) = (self.leg, self.board.codecs.clone(), self.srtp);
        self.command(match self.stage {
            Stage::Unbound => media::Command::Answer { leg, offer, codecs, srtp, beside: None },
            Stage::Bound => media::Command::Reoffered { leg, sdp: offer },
            Stage::Closed => return Err(AudioError::Lost),
        })?;
        self.description(meanwhile).await
    }

    /// Our offer: the first one, or a further one in a session.
    pub async fn offer(
        &mut self,
        meanwhile: &mut impl FnMut(media::Event),
    ) -> Result<Bytes, AudioError> {
        if self.is_closed() {
            return Err(AudioError::Lost);
        }
        let (leg, codecs, srtp) = (self.leg, self.board.codecs.clone(), self.srtp);
        self.command(media::Command::Offer { leg, codecs, dtmf: true, srtp, beside: None })?;
        self.description(meanwhile).await
    }

    /// The far side's answer to our offer.
    pub fn remote(&self, sdp: Bytes) -> Result<(), AudioError> {
        self.command(media::Command::Remote { leg: self.leg, sdp })
    }

    /// Plays so many times without a gap; `PlayFinished` follows.
    pub fn play(&mut self, clips: Arc<[Clip]>, times: u8) -> Result<PlayId, AudioError> {
        self.plays += 1;
        let play = PlayId(self.plays);
        self.command(media::Command::Play { leg: self.leg, play, clips, times })?;
        Ok(play)
    }

    pub fn stop_play(&self) -> Result<(), AudioError> {
        self.command(media::Command::StopPlay { leg: self.leg })
    }

    /// `DigitsSent` follows.
    pub fn press(&self, digits: &str) -> Result<(), AudioError> {
        self.command(media::Command::SendDigits { leg: self.leg, digits: digits.to_owned() })
    }

    /// The next event; never ready where the media threads are gone, which only a shut-down brings about.
    pub async fn next(&mut self) -> media::Event {
        let Some(event) = self.events.recv().await else { return std::future::pending().await };
        if let media::Event::Negotiated { srtp, .. } = &event {
            self.srtp = if srtp.is_some() { Srtp::Required } else { Srtp::Off };
        }
        event
    }

    /// What was heard so far.
    pub fn heard(&self) -> Vec<i16> {
        self.ear.samples()
    }

    pub fn arrivals(&self) -> Arrivals {
        self.ear.arrivals()
    }

    /// Ends the leg; its sums, where it had a port. Events before that go to `meanwhile`.
    pub async fn close(&mut self, meanwhile: &mut impl FnMut(media::Event)) -> Option<Stats> {
        if std::mem::replace(&mut self.stage, Stage::Closed) != Stage::Bound {
            return None;
        }
        self.command(media::Command::Close { leg: self.leg }).ok()?;
        let closed = async {
            loop {
                match self.next().await {
                    media::Event::Closed { stats, .. }
                    | media::Event::LegPanicked { stats, .. } => {
                        return stats;
                    }
                    other => meanwhile(other),
                }
            }
        };
        tokio::time::timeout(MEDIA_LIMIT, closed).await.ok()
    }

    async fn description(
        &mut self,
        meanwhile: &mut impl FnMut(media::Event),
    ) -> Result<Bytes, AudioError> {
        let described = async {
            loop {
                match self.next().await {
                    media::Event::Offered { sdp, .. } | media::Event::Answered { sdp, .. } => {
                        return Ok(sdp);
                    }
                    media::Event::Failed { fault, .. } => return Err(AudioError::Fault(fault)),
                    other => meanwhile(other),
                }
            }
        };
        let limited = tokio::time::timeout(MEDIA_LIMIT, described).await;
        let sdp = limited.unwrap_or(Err(AudioError::Busy))?;
        if self.stage == Stage::Unbound {
            self.stage = Stage::Bound;
            self.command(media::Command::Listen { leg: self.leg, sink: self.ear.sink() })?;
        }
        Ok(sdp)
    }

    fn command(&self, command: media::Command) -> Result<(), AudioError> {
        self.board.media.command(command).map_err(|_| AudioError::Busy)
    }
}

impl Drop for AudioLeg {
    fn drop(&mut self) {
        self.board.mailboxes.lock().remove(&self.leg);
        if self.stage == Stage::Bound
            && self.command(media::Command::Close { leg: self.leg }).is_err()
        {
            tracing::warn!("a simulated phone's port stays open: the media threads are overloaded");
        }
    }
}

fn leg_of(event: &media::Event) -> LegId {
    match event {
        media::Event::Offered { leg, .. }
        | media::Event::Answered { leg, .. }
        | media::Event::Negotiated { leg, .. }
        | media::Event::Failed { leg, .. }
        | media::Event::PlayStarted { leg, .. }
        | media::Event::PlayFinished { leg, .. }
        | media::Event::PlayStopped { leg, .. }
        | media::Event::Digit { leg, .. }
        | media::Event::DigitsSent { leg }
        | media::Event::Flow { leg, .. }
        | media::Event::Bridged { leg, .. }
        | media::Event::Quiet { leg, .. }
        | media::Event::RecordingStarted { leg, .. }
        | media::Event::RecordingFailed { leg, .. }
        | media::Event::RecordingPaused { leg }
        | media::Event::RecordingResumed { leg }
        | media::Event::RecordingDone { leg, .. }
        | media::Event::Closed { leg, .. }
        | media::Event::LegPanicked { leg, .. } => *leg,
    }
}
