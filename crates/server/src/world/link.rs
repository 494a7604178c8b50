//! The line between server and carrier: datagrams that are lost, late, doubled and out of order.

use std::time::Duration;

use sip::Transmit;

use super::agenda::Agenda;
use super::nature::Nature;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Server,
    Carrier,
}

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

pub struct Link {
    weather: Weather,
    flying: Agenda<(Side, Transmit)>,
}

impl Default for Link {
    fn default() -> Self {
        Link { weather: Weather::Fine, flying: Agenda::default() }
    }
}

impl Link {
    pub fn turn(&mut self, weather: Weather, nature: &mut Nature) {
        nature.say(format_args!("the line is {weather:?}"));
        self.weather = weather;
    }

    pub fn send(&mut self, to: Side, message: Transmit, nature: &mut Nature) {
        nature.tape.add(&message.bytes);
        let (copies, delay_ms) = match self.weather {
            Weather::Fine => (1, 20),
            Weather::Bad { lost, .. } if nature.dice.percent(lost) => (0, 1),
            Weather::Bad { doubled, delay_ms, .. } => {
                (1 + u64::from(nature.dice.percent(doubled)), delay_ms)
            }
            Weather::Cut => (0, 1),
        };
        let fate = if copies == 0 { " (lost)" } else { "" };
        nature.say(format_args!("to {to:?}: {}{fate}", in_words(&message.bytes)));
        for _ in 0..copies {
            let at = nature.in_ms(1, delay_ms);
            self.flying.put(at, (to, message.clone()));
        }
    }

    pub fn next(&self) -> Option<Duration> {
        self.flying.next()
    }

    pub fn arrived(&mut self, now: Duration) -> Option<(Side, Transmit)> {
        self.flying.take(now)
    }
}

/// First line, Call-ID and CSeq.
fn in_words(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let first = text.lines().next().unwrap_or_default();
    format!("{first} | {} | {}", header(&text, "Call-ID"), header(&text, "CSeq"))
}

/// The value of the first header of this name, as both ends write it.
pub fn header<'a>(message: &'a str, name: &str) -> &'a str {
    let mut lines = message.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(n, _)| n.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
}
