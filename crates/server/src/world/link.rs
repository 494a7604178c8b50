//! The lines between the server and everybody else: datagrams that are lost, late, doubled and out of
//! order, and the connections of `streams.rs`.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use sip::{Core, FlowId, Hop, Received, Transmit, Transport, TransportFault};

use super::agenda::Agenda;
use super::cast::Side;
use super::habits::Loss;
use super::nature::Nature;
use super::streams::{Flying, Streams};

#[derive(Debug, Clone, Copy)]
pub enum Weather {
    Fine,
    /// In percent, and ms at the most.
    Bad {
        lost: u64,
        doubled: u64,
        delay_ms: u64,
    },
    /// Nothing gets through.
    Cut,
}

/// What comes out of a line.
#[derive(Debug)]
pub enum Arrived {
    Message(Side, Received),
    /// A connection is gone.
    Lost(Side, FlowId, Hop),
    Undeliverable(Side, Hop, TransportFault),
}

pub struct Link {
    weather: Weather,
    flying: Agenda<Transmit>,
    streams: Streams,
    /// Nothing reaches them, and nothing comes from there.
    dead: BTreeSet<IpAddr>,
    /// Calls of which nothing gets through any more, by their Call-IDs.
    silent: BTreeSet<String>,
    grudges: Vec<Grudge>,
}

/// What of a call gets lost yet.
struct Grudge {
    call_id: String,
    loss: Loss,
}

impl Arrived {
    pub fn to(&self) -> Side {
        match self {
            Arrived::Message(to, _) | Arrived::Lost(to, ..) | Arrived::Undeliverable(to, ..) => *to,
        }
    }

    /// As the endpoint of `sip` hands it over.
    pub fn reach(self, core: &mut Core, now: Instant) {
        match self {
            Arrived::Message(_, received) => core.received(received, now),
            Arrived::Lost(_, flow, hop) => {
                core.flow_lost(flow, now);
                core.transport_failed(hop, TransportFault::Lost, now);
            }
            Arrived::Undeliverable(_, hop, fault) => core.transport_failed(hop, fault, now),
        }
    }
}

impl Default for Link {
    fn default() -> Self {
        Link {
            weather: Weather::Fine,
            flying: Agenda::default(),
            streams: Streams::default(),
            dead: BTreeSet::new(),
            silent: BTreeSet::new(),
            grudges: Vec::new(),
        }
    }
}

impl Link {
    pub fn turn(&mut self, weather: Weather, nature: &mut Nature) {
        nature.say(format_args!("the line is {weather:?}"));
        self.weather = weather;
    }

    pub fn is_fine(&self) -> bool {
        matches!(self.weather, Weather::Fine)
    }

    pub fn send(&mut self, message: Transmit, nature: &mut Nature) {
        nature.tape.add(&message.bytes);
        let to = Side::at(message.remote);
        let text = String::from_utf8_lossy(&message.bytes).into_owned();
        if self.swallows(&text, &message) {
            return nature.say(format_args!("to {to:?}: {} (swallowed)", in_words(&text)));
        }
        if message.transport != Transport::Udp {
            nature.say(format_args!("to {to:?}: {} ({:?})", in_words(&text), message.transport));
            let path = Path::in_weather(self.weather, nature);
            return self.streams.send(message, path, nature.now);
        }
        let (copies, delay_ms) = match self.weather {
            Weather::Fine => (1, 20),
            Weather::Bad { lost, .. } if nature.dice.percent(lost) => (0, 1),
            Weather::Bad { doubled, delay_ms, .. } => {
                (1 + u64::from(nature.dice.percent(doubled)), delay_ms)
            }
            Weather::Cut => (0, 1),
        };
        let fate = if copies == 0 { " (lost)" } else { "" };
        nature.say(format_args!("to {to:?}: {}{fate}", in_words(&text)));
        for _ in 0..copies {
            let at = nature.in_ms(1, delay_ms);
            self.flying.put(at, message.clone());
        }
    }

    /// This is what gets lost of the call.
    pub fn begrudge(&mut self, call_id: &str, loss: Loss) {
        self.grudges.push(Grudge { call_id: call_id.to_owned(), loss });
    }

    /// Nothing of this call gets through from now on.
    pub fn silence(&mut self, call_id: &str) {
        self.silent.insert(call_id.to_owned());
    }

    /// Whether the line has something against this call of all calls.
    pub fn wrongs(&self, call_id: &str) -> bool {
        self.silent.contains(call_id) || self.grudges.iter().any(|of| of.call_id == call_id)
    }

    /// Nobody is there; connections do not learn of it.
    pub fn bury(&mut self, ip: IpAddr) {
        self.dead.insert(ip);
    }

    /// Whether it was dead.
    pub fn revive(&mut self, ip: IpAddr) -> bool {
        self.dead.remove(&ip)
    }

    pub fn revive_all(&mut self) {
        self.dead.clear();
    }

    /// The process is gone, and every connection of it.
    pub fn hang_up(&mut self, side: Side, nature: &mut Nature) {
        self.streams.forget(side, nature.in_ms(1, 20));
    }

    pub fn come_up(&mut self, side: Side) {
        self.streams.come_up(side);
    }

    /// One of the open connections breaks: both ends hear of it, or only the first.
    pub fn break_one(&mut self, half: bool, nature: &mut Nature) {
        let (which, at) = (nature.dice.next(), nature.in_ms(1, 20));
        self.streams.break_one(which, half, at);
    }

    pub fn next(&self) -> Option<Duration> {
        self.flying.next().into_iter().chain(self.streams.next()).min()
    }

    pub fn arrived(&mut self, nature: &mut Nature) -> Option<Arrived> {
        if let Some(message) = self.flying.take(nature.now) {
            let (to, from) = (message.remote.ip(), message.local.ip());
            if self.dead.contains(&to) || self.dead.contains(&from) {
                return self.arrived(nature);
            }
            let received = Received {
                transport: message.transport,
                local: message.remote,
                remote: message.local,
                flow: None,
                bytes: message.bytes,
            };
            return Some(Arrived::Message(Side::at(message.remote), received));
        }
        while let Some(flying) = self.streams.take(nature.now) {
            let fine = Path { takes: Duration::from_millis(10), is_cut: false };
            let path = match flying {
                Flying::Opening { .. } => Path::in_weather(self.weather, nature),
                _ => fine,
            };
            if let Some(arrived) = self.streams.land(flying, path, nature.now, &self.dead) {
                return Some(arrived);
            }
        }
        None
    }

    fn swallows(&mut self, text: &str, message: &Transmit) -> bool {
        if message.transport == Transport::Udp && self.dead.contains(&message.remote.ip()) {
            return true;
        }
        let call_id = header(text, "Call-ID");
        if self.silent.contains(call_id) {
            return true;
        }
        let hit = self.grudges.iter_mut().find(|of| {
            of.loss.copies > 0
                && of.call_id == call_id
                && text.starts_with(of.loss.starts)
                && header(text, "CSeq").ends_with(of.loss.cseq)
        });
        // A connection loses nothing.
        if let (Some(grudge), Transport::Udp) = (hit, message.transport) {
            grudge.loss.copies -= 1;
            return true;
        }
        false
    }
}

/// What a connection makes of the weather: it is late, never lost.
#[derive(Debug, Clone, Copy)]
pub struct Path {
    pub takes: Duration,
    pub is_cut: bool,
}

impl Path {
    fn in_weather(weather: Weather, nature: &mut Nature) -> Path {
        let dice = &mut nature.dice;
        let (ms, is_cut) = match weather {
            Weather::Fine => (1 + dice.below(20), false),
            Weather::Bad { lost, .. } if dice.percent(lost) => (200 + dice.below(2_800), false),
            Weather::Bad { delay_ms, .. } => (1 + dice.below(delay_ms), false),
            Weather::Cut => (8_000 + dice.below(3_000), true),
        };
        Path { takes: Duration::from_millis(ms), is_cut }
    }
}

/// First line, Call-ID and CSeq.
fn in_words(text: &str) -> String {
    let first = text.lines().next().unwrap_or_default();
    format!("{first} | {} | {}", header(text, "Call-ID"), header(text, "CSeq"))
}

/// The value of the first header of this name, as both ends write it.
pub fn header<'a>(message: &'a str, name: &str) -> &'a str {
    let mut lines = message.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(n, _)| n.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
}
