//! A world for tests: media threads, their events in a channel, and a bare far side on a plain socket.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use media::{Clip, Codec, Command, Config, Event, LegId, Media, PlayId, Srtp};

/// Generous: reached only where something is broken.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// More events than any test makes.
const EVENTS: usize = 10_000;

pub struct World {
    pub media: Media,
    events: Receiver<Event>,
    /// Seen while another event was waited for.
    seen: Vec<Event>,
}

impl World {
    pub fn new(config: Config) -> Self {
        let (sender, events) = sync_channel(EVENTS);
        // A test that has ended listens no more.
        let sink = Box::new(move |event| drop(sender.try_send(event)));
        World { media: media::start(config, sink).unwrap(), events, seen: Vec::new() }
    }

    pub fn send(&self, command: Command) {
        self.media.command(command).unwrap();
    }

    /// Waits for the first event that `wanted` takes; others are kept for later.
    pub fn wait<T>(&mut self, what: &str, wanted: impl Fn(&Event) -> Option<T>) -> T {
        if let Some((index, found)) =
            self.seen.iter().enumerate().find_map(|(index, event)| Some((index, wanted(event)?)))
        {
            self.seen.remove(index);
            return found;
        }
        let until = Instant::now() + PATIENCE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let Ok(event) = self.events.recv_timeout(left) else {
                panic!("no {what}; seen: {:?}", self.seen);
            };
            if let Some(found) = wanted(&event) {
                return found;
            }
            self.seen.push(event);
        }
    }

    /// Events of a kind that came so far and were not waited for.
    pub fn seen(&mut self, wanted: impl Fn(&Event) -> bool) -> Vec<Event> {
        self.seen.extend(self.events.try_iter());
        self.seen.iter().filter(|event| wanted(event)).cloned().collect()
    }

    pub fn offer(&mut self, leg: LegId, codecs: &[Codec]) -> (Bytes, u16) {
        self.offer_srtp(leg, codecs, Srtp::Off)
    }

    pub fn offer_srtp(&mut self, leg: LegId, codecs: &[Codec], srtp: Srtp) -> (Bytes, u16) {
        self.send(Command::Offer { leg, codecs: codecs.to_vec(), dtmf: true, srtp, beside: None });
        self.offered(leg)
    }

    pub fn offered(&mut self, wanted: LegId) -> (Bytes, u16) {
        self.wait("Offered", |event| match event {
            Event::Offered { leg, sdp, port } if *leg == wanted => Some((sdp.clone(), *port)),
            _ => None,
        })
    }

    pub fn answered(&mut self, wanted: LegId) -> (Bytes, u16) {
        self.wait("Answered", |event| match event {
            Event::Answered { leg, sdp, port } if *leg == wanted => Some((sdp.clone(), *port)),
            _ => None,
        })
    }

    pub fn negotiated(&mut self, wanted: LegId) -> Event {
        self.wait("Negotiated", |event| match event {
            Event::Negotiated { leg, .. } if *leg == wanted => Some(event.clone()),
            _ => None,
        })
    }

    pub fn failed(&mut self, wanted: LegId) -> media::MediaFault {
        self.wait("Failed", |event| match event {
            Event::Failed { leg, fault } if *leg == wanted => Some(fault.clone()),
            _ => None,
        })
    }

    pub fn play(&self, leg: LegId, play: u64, clips: &[Clip], times: u8) {
        self.send(Command::Play { leg, play: PlayId(play), clips: Arc::from(clips), times });
    }

    pub fn play_finished(&mut self, wanted: LegId, id: u64) {
        self.wait("PlayFinished", |event| match event {
            Event::PlayFinished { leg, play } if (*leg, *play) == (wanted, PlayId(id)) => Some(()),
            _ => None,
        });
    }

    pub fn close(&mut self, wanted: LegId) -> media::Stats {
        self.send(Command::Close { leg: wanted });
        self.wait("Closed", |event| match event {
            Event::Closed { leg, stats } if *leg == wanted => Some(*stats),
            _ => None,
        })
    }

    /// Two legs of this world that talk to each other.
    pub fn pair(&mut self, a: LegId, b: LegId, codec: Codec) {
        self.pair_srtp(a, b, codec, Srtp::Off);
    }

    pub fn pair_srtp(&mut self, a: LegId, b: LegId, codec: Codec, srtp: Srtp) {
        let (offer, _) = self.offer_srtp(a, &[codec], srtp);
        self.send(Command::Answer { leg: b, offer, codecs: vec![codec], srtp, beside: None });
        let (sdp, _) = self.answered(b);
        self.send(Command::Remote { leg: a, sdp });
        self.negotiated(a);
        self.negotiated(b);
    }
}

/// A far side that is nothing but two sockets.
pub struct Peer {
    pub rtp: UdpSocket,
    pub rtcp: UdpSocket,
}

impl Peer {
    pub fn new(ip: &str) -> Self {
        let bind = || {
            let socket = UdpSocket::bind((ip, 0)).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket
        };
        Peer { rtp: bind(), rtcp: bind() }
    }

    pub fn address(&self) -> SocketAddr {
        self.rtp.local_addr().unwrap()
    }

    /// A session description of this peer; `lines` follow the address.
    pub fn sdp(&self, formats: &str, lines: &str) -> Bytes {
        let (ip, port) = (self.address().ip(), self.address().port());
        let rtcp = self.rtcp.local_addr().unwrap().port();
        format!(
            "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
             m=audio {port} RTP/AVP {formats}\r\na=rtcp:{rtcp}\r\n{lines}"
        )
        .into()
    }

    /// The next RTP packet.
    pub fn receive(&self) -> Rtp {
        let (bytes, from) = self.receive_bytes();
        Rtp::parse(&bytes, from)
    }

    /// The next datagram on the RTP port.
    pub fn receive_bytes(&self) -> (Vec<u8>, SocketAddr) {
        let mut bytes = [0; 2048];
        let (length, from) = self.rtp.recv_from(&mut bytes).expect("an RTP packet");
        (bytes[..length].to_vec(), from)
    }
}

/// One RTP packet, read by code of the test's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rtp {
    pub from: SocketAddr,
    pub marker: bool,
    pub payload_type: u8,
    pub sequence: u16,
    pub timestamp: u32,
    pub ssrc: u32,
    pub payload: Vec<u8>,
}

impl Rtp {
    pub fn parse(bytes: &[u8], from: SocketAddr) -> Self {
        assert_eq!(bytes[0], 0x80, "version 2 and nothing optional");
        Rtp {
            from,
            marker: bytes[1] & 0x80 != 0,
            payload_type: bytes[1] & 0x7F,
            sequence: u16::from_be_bytes([bytes[2], bytes[3]]),
            timestamp: u32::from_be_bytes(bytes[4..8].try_into().unwrap()),
            ssrc: u32::from_be_bytes(bytes[8..12].try_into().unwrap()),
            payload: bytes[12..].to_vec(),
        }
    }
}

/// An RTP packet of version 2 with nothing optional.
pub fn rtp(payload_type: u8, sequence: u16, timestamp: u32, ssrc: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x80, payload_type];
    bytes.extend(sequence.to_be_bytes());
    bytes.extend(timestamp.to_be_bytes());
    bytes.extend(ssrc.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A clip of one tone.
pub fn tone(hz: f32, ms: u32) -> Clip {
    Clip::from_pcm(&media::tone::sine(hz, ms, 8000), 8000).unwrap()
}

/// How much of a stretch of audio is at `hz`, on average over its loud blocks of 20 ms.
pub fn share(samples: &[i16], hz: f32) -> f32 {
    let loud: Vec<f32> = samples
        .chunks_exact(160)
        .filter(|block| media::detect::rms(block) > 1000.0)
        .map(|block| media::detect::share(block, hz))
        .collect();
    loud.iter().sum::<f32>() / loud.len().max(1) as f32
}

/// Loud blocks of 20 ms.
pub fn loud_blocks(samples: &[i16]) -> usize {
    samples.chunks_exact(160).filter(|block| media::detect::rms(block) > 1000.0).count()
}
