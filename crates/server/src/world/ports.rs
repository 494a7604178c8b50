//! Audio of which only the course is real: ports open, clips take their time, legs hear each other, fall
//! silent and close. What is sent and heard is of no interest here.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use media::sdp::Direction;
use media::{Codec, Command, Event, LegId, MediaFault, PlayId, Stats};

use super::nature::Nature;

#[derive(Default)]
pub struct Ports {
    open: BTreeMap<LegId, Port>,
}

#[derive(Default)]
struct Port {
    playing: Option<PlayId>,
    /// What is said of a leg comes in order.
    said_at: Duration,
    /// Legs that share a thread.
    beside: Option<LegId>,
    with: Option<LegId>,
    direction: Option<Direction>,
    /// Nothing comes from the far side any more.
    silent_from: Option<Duration>,
    watched_for: Option<Duration>,
    quiet_at: Option<Duration>,
}

impl Ports {
    /// What `media` will say to this command, and when.
    pub fn command(&mut self, command: Command, nature: &mut Nature) -> Vec<(Duration, Event)> {
        let leg = command.leg();
        match command {
            Command::Offer { beside, .. } => {
                let sdp = Bytes::from_static(b"our description");
                self.offer(leg, sdp, beside, nature)
            }
            Command::Rebind { sdp, .. } => self.offer(leg, sdp, None, nature),
            Command::Remote { sdp, .. } => self.described(leg, &sdp, nature),
            Command::Answer { offer, beside, .. } => self.answer(leg, &offer, beside, nature),
            Command::Reoffered { sdp, .. } => {
                let sdp_of_ours = Bytes::from_static(b"our answer");
                let mut events = self.described(leg, &sdp, nature);
                if let Some((at, Event::Negotiated { .. })) = events.first() {
                    let answered = Event::Answered { leg, sdp: sdp_of_ours, port: 4000 };
                    events.insert(0, (*at, answered));
                }
                events
            }
            Command::Play { play, .. } => self.play(leg, play, nature),
            Command::Close { .. } => self.close(leg, nature),
            Command::Bridge { with, .. } => self.bridge(leg, with, nature),
            Command::Forward { from, to } => self.forward(from, to, nature),
            Command::Watch { after, .. } => {
                if let Some(port) = self.open.get_mut(&leg) {
                    port.watched_for = after;
                }
                self.quiet_later(leg, nature).into_iter().collect()
            }
            Command::Ringback { .. } | Command::SendDigits { .. } => {
                let known = self.open.contains_key(&leg);
                let failed = Event::Failed { leg, fault: MediaFault::UnknownLeg };
                let at = self.say_at(leg, nature);
                if known { Vec::new() } else { vec![(at, failed)] }
            }
            Command::StopPlay { .. }
            | Command::Record { .. }
            | Command::StopRecording { .. }
            | Command::Listen { .. }
            | Command::PauseRecording { .. }
            | Command::ResumeRecording { .. }
            | Command::Unbridge { .. } => panic!("no call of this world asks for this"),
        }
    }

    /// Whether an event may still come: a leg that was closed meanwhile says nothing more.
    pub fn still_says(&self, event: &Event, now: Duration) -> bool {
        match event {
            Event::PlayStarted { leg, play, .. } | Event::PlayFinished { leg, play } => {
                self.open.get(leg).is_some_and(|port| port.playing == Some(*play))
            }
            Event::Quiet { leg, .. } => {
                let due = self.open.get(leg).and_then(|port| port.quiet_at);
                due.is_some_and(|at| at <= now)
            }
            _ => true,
        }
    }

    pub fn are_all_free(&self) -> bool {
        self.open.is_empty()
    }

    fn offer(
        &mut self,
        leg: LegId,
        sdp: Bytes,
        beside: Option<LegId>,
        nature: &mut Nature,
    ) -> Vec<(Duration, Event)> {
        let at = nature.in_ms(1, 5);
        if self.open.contains_key(&leg) {
            return vec![(at, Event::Offered { leg, sdp, port: 4000 })];
        }
        if nature.dice.percent(2) {
            return vec![(at, Event::Failed { leg, fault: MediaFault::NoPort })];
        }
        self.open.insert(leg, Port { said_at: at, beside, ..Port::default() });
        vec![(at, Event::Offered { leg, sdp, port: 4000 })]
    }

    fn answer(
        &mut self,
        leg: LegId,
        offer: &[u8],
        beside: Option<LegId>,
        nature: &mut Nature,
    ) -> Vec<(Duration, Event)> {
        let at = nature.in_ms(1, 5);
        if nature.dice.percent(2) {
            return vec![(at, Event::Failed { leg, fault: MediaFault::NoPort })];
        }
        self.open.insert(leg, Port { said_at: at, beside, ..Port::default() });
        let sdp = Bytes::from_static(b"our answer");
        let mut events = vec![(at, Event::Answered { leg, sdp, port: 4000 })];
        events.extend(self.described(leg, offer, nature));
        events
    }

    fn described(&mut self, leg: LegId, sdp: &[u8], nature: &mut Nature) -> Vec<(Duration, Event)> {
        let text = String::from_utf8_lossy(sdp);
        let held = text.contains("on hold");
        let direction = if held { Direction::RecvOnly } else { Direction::SendRecv };
        let event = match self.open.get_mut(&leg) {
            None => Event::Failed { leg, fault: MediaFault::UnknownLeg },
            Some(_) if sdp == b"no codec of ours" => {
                Event::Failed { leg, fault: MediaFault::NoCommonCodec }
            }
            Some(port) => {
                let silent = text.rsplit_once("silent after ").and_then(|(_, ms)| ms.parse().ok());
                if let Some(ms) = silent {
                    port.silent_from.get_or_insert(nature.now + Duration::from_millis(ms));
                }
                port.direction = Some(direction);
                Event::Negotiated {
                    leg,
                    codec: Codec::Pcma,
                    remote: None,
                    direction,
                    ptime: None,
                    srtp: None,
                }
            }
        };
        let mut events = vec![(self.say_at(leg, nature), event)];
        events.extend(self.quiet_later(leg, nature));
        events
    }

    /// Who is watched, held by nobody and silent is said to be, after its time.
    fn quiet_later(&mut self, leg: LegId, nature: &Nature) -> Option<(Duration, Event)> {
        let port = self.open.get_mut(&leg)?;
        port.quiet_at = None;
        let flows = port.direction.is_some_and(Direction::sends);
        let (silent_from, after) = (port.silent_from?, port.watched_for?);
        if !flows {
            return None;
        }
        let at = silent_from.max(nature.now) + after;
        port.quiet_at = Some(at);
        Some((at, Event::Quiet { leg, silent_for: after }))
    }

    /// Both are open, were made beside each other, and nobody hears two.
    fn bridge(&mut self, leg: LegId, with: LegId, nature: &mut Nature) -> Vec<(Duration, Event)> {
        let at = self.say_at(leg, nature);
        let failed = |fault| vec![(at, Event::Failed { leg, fault })];
        let (Some(one), Some(other)) = (self.open.get(&leg), self.open.get(&with)) else {
            let known = self.open.contains_key(&leg);
            return failed(if known { MediaFault::PartnerGone } else { MediaFault::UnknownLeg });
        };
        assert!(
            one.beside == Some(with) || other.beside == Some(leg),
            "legs are bridged that were not made beside each other"
        );
        assert!(one.with.is_none() && other.with.is_none(), "a leg is bridged with two");
        for (one, other) in [(leg, with), (with, leg)] {
            if let Some(port) = self.open.get_mut(&one) {
                port.with = Some(other);
            }
        }
        vec![(at, Event::Bridged { leg, with, relayed: true })]
    }

    fn forward(&mut self, from: LegId, to: LegId, nature: &mut Nature) -> Vec<(Duration, Event)> {
        let at = self.say_at(to, nature);
        let fault = match (self.open.contains_key(&from), self.open.contains_key(&to)) {
            (true, true) => return Vec::new(),
            (false, true) => MediaFault::PartnerGone,
            (_, false) => MediaFault::UnknownLeg,
        };
        vec![(at, Event::Failed { leg: to, fault })]
    }

    fn play(&mut self, leg: LegId, play: PlayId, nature: &mut Nature) -> Vec<(Duration, Event)> {
        let begins = self.say_at(leg, nature);
        let Some(port) = self.open.get_mut(&leg) else {
            return vec![(begins, Event::Failed { leg, fault: MediaFault::UnknownLeg })];
        };
        port.playing = Some(play);
        let ends = begins + Duration::from_millis(500 + nature.dice.below(5_000));
        let at = nature.instant();
        vec![
            (begins, Event::PlayStarted { leg, play, at }),
            (ends, Event::PlayFinished { leg, play }),
        ]
    }

    fn close(&mut self, leg: LegId, nature: &mut Nature) -> Vec<(Duration, Event)> {
        let at = self.say_at(leg, nature);
        let event = match self.open.remove(&leg) {
            Some(_) => Event::Closed { leg, stats: Stats::default() },
            None => Event::Failed { leg, fault: MediaFault::UnknownLeg },
        };
        vec![(at, event)]
    }

    fn say_at(&mut self, leg: LegId, nature: &mut Nature) -> Duration {
        let at = nature.in_ms(0, 3);
        match self.open.get_mut(&leg) {
            Some(port) => {
                port.said_at = port.said_at.max(at);
                port.said_at
            }
            None => at,
        }
    }
}
