//! What we say.

use std::net::SocketAddr;

use bytes::Bytes;
use sdp_types::{Attribute, Connection, Media, Origin, Session, Time};

use super::{CryptoLine, Direction, Format, FormatKind, MediaLine};
use crate::codec::{Codec, FRAME_MS};

/// Our side of one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalDescription {
    /// `o=` id, the same for the life of a session.
    pub session_id: String,
    /// `o=` version, one more with every change.
    pub version: u64,
    /// Where the far side shall send RTP; RTCP goes one above.
    pub rtp: SocketAddr,
    pub formats: Vec<Format>,
    pub direction: Direction,
    /// What an offer's audio is carried over.
    pub profile: Profile,
    /// Our keys: all that we offer, or the one that we answer with.
    pub crypto: Vec<CryptoLine>,
    /// The media lines of the offer that this answers; empty in an offer.
    pub answers: Vec<MediaLine>,
}

/// The transport that an offer names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    Avp,
    /// Secure: the far side must encrypt.
    Savp,
}

impl Profile {
    fn name(self) -> &'static str {
        match self {
            Profile::Avp => "RTP/AVP",
            Profile::Savp => "RTP/SAVP",
        }
    }
}

impl LocalDescription {
    pub fn to_bytes(&self) -> Bytes {
        let ip = self.rtp.ip();
        let mut session =
            Session::new(Origin::with_ip_addr(&self.session_id, self.version, ip), "-");
        session.connection = Some(Connection::from_ip_addr(ip));
        session.times.push(Time::new(0, 0));
        if self.answers.is_empty() {
            session.medias.push(self.audio(self.profile.name()));
        }
        for line in &self.answers {
            session.medias.push(if line.is_audio {
                self.audio(&line.proto)
            } else {
                declined(line)
            });
        }
        let mut bytes = Vec::with_capacity(512);
        session.write(&mut bytes).expect("writing to memory does not fail");
        bytes.into()
    }

    fn audio(&self, proto: &str) -> Media {
        let formats: Vec<String> =
            self.formats.iter().map(|format| format.payload_type.to_string()).collect();
        let keys = self.crypto.iter();
        let mut attributes: Vec<Attribute> =
            keys.map(|line| Attribute::with_value("crypto", line.value())).collect();
        for format in &self.formats {
            describe(format, &mut attributes);
        }
        attributes.push(Attribute::with_value("ptime", FRAME_MS));
        attributes.push(Attribute::new(self.direction.name()));
        Media { attributes, ..media_line("audio", self.rtp.port(), proto, formats.join(" ")) }
    }
}

fn describe(format: &Format, attributes: &mut Vec<Attribute>) {
    let payload_type = format.payload_type;
    let mut attribute = |name: &str, value: String| {
        attributes.push(Attribute::with_value(name, format!("{payload_type} {value}")));
    };
    match format.kind {
        FormatKind::Audio(Codec::Opus) => {
            attribute("rtpmap", "opus/48000/2".into());
            // We decode at 8 kHz, and send at most 16.
            attribute("fmtp", "maxplaybackrate=8000;sprop-maxcapturerate=16000;stereo=0".into());
        }
        FormatKind::Audio(codec) => {
            attribute("rtpmap", format!("{}/{}", codec.name(), codec.clock()))
        }
        FormatKind::TelephoneEvent(clock) => {
            attribute("rtpmap", format!("telephone-event/{clock}"));
            attribute("fmtp", "0-15".into());
        }
        FormatKind::ComfortNoise | FormatKind::Unknown => {}
    }
}

/// Port 0: we do not take this one (RFC 3264 §6).
fn declined(line: &MediaLine) -> Media {
    media_line(&line.kind, 0, &line.proto, line.formats.clone())
}

fn media_line(kind: &str, port: u16, proto: &str, formats: String) -> Media {
    Media {
        media: kind.to_owned(),
        port,
        num_ports: None,
        proto: proto.to_owned(),
        fmt: formats,
        media_title: None,
        connections: Vec::new(),
        bandwidths: Vec::new(),
        key: None,
        attributes: Vec::new(),
    }
}
