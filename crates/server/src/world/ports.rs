//! Audio of which only the course is real: ports open, clips take their time, legs close. What is sent
//! and heard is of no interest here.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
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
}

impl Ports {
    /// What `media` will say to this command, and when.
    pub fn command(&mut self, command: Command, nature: &mut Nature) -> Vec<(Duration, Event)> {
        let leg = command.leg();
        match command {
            Command::Offer { .. } => {
                self.offer(leg, Bytes::from_static(b"our description"), nature)
            }
            Command::Rebind { sdp, .. } => self.offer(leg, sdp, nature),
            Command::Remote { sdp, .. } => self.described(leg, &sdp, nature),
            Command::Reoffered { sdp, .. } => {
                let sdp_of_ours = Bytes::from_static(b"our answer");
                let mut events = self.described(leg, &sdp, nature);
                if matches!(events[..], [(_, Event::Negotiated { .. })]) {
                    let answered = Event::Answered { leg, sdp: sdp_of_ours, port: 4000 };
                    events.insert(0, (events[0].0, answered));
                }
                events
            }
            Command::Play { play, .. } => self.play(leg, play, nature),
            Command::Close { .. } => self.close(leg, nature),
            Command::Answer { .. }
            | Command::StopPlay { .. }
            | Command::Record { .. }
            | Command::StopRecording { .. }
            | Command::SendDigits { .. }
            | Command::Listen { .. }
            | Command::Bridge { .. }
            | Command::Forward { .. }
            | Command::Unbridge { .. }
            | Command::Ringback { .. }
            | Command::PauseRecording { .. }
            | Command::ResumeRecording { .. }
            | Command::Watch { .. } => panic!("no call of this world asks for this"),
        }
    }

    /// Whether an event may still come: a leg that was closed meanwhile says nothing more.
    pub fn still_says(&self, event: &Event) -> bool {
        match event {
            Event::PlayStarted { leg, play, .. } | Event::PlayFinished { leg, play } => {
                self.open.get(leg).is_some_and(|port| port.playing == Some(*play))
            }
            _ => true,
        }
    }

    pub fn are_all_free(&self) -> bool {
        self.open.is_empty()
    }

    fn offer(&mut self, leg: LegId, sdp: Bytes, nature: &mut Nature) -> Vec<(Duration, Event)> {
        let at = nature.in_ms(1, 5);
        if nature.dice.percent(2) {
            return vec![(at, Event::Failed { leg, fault: MediaFault::NoPort })];
        }
        self.open.insert(leg, Port { playing: None, said_at: at });
        vec![(at, Event::Offered { leg, sdp, port: 4000 })]
    }

    fn described(&mut self, leg: LegId, sdp: &[u8], nature: &mut Nature) -> Vec<(Duration, Event)> {
        let event = match self.open.contains_key(&leg) {
            false => Event::Failed { leg, fault: MediaFault::UnknownLeg },
            true if sdp == b"no codec of ours" => {
                Event::Failed { leg, fault: MediaFault::NoCommonCodec }
            }
            true => Event::Negotiated {
                leg,
                codec: Codec::Pcma,
                remote: None,
                direction: media::sdp::Direction::SendRecv,
                ptime: None,
                srtp: None,
            },
        };
        vec![(self.say_at(leg, nature), event)]
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
