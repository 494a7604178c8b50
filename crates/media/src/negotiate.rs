//! Offer and answer (RFC 3264): what two descriptions agree on.

use std::net::SocketAddr;
use std::time::Duration;

use crate::codec::Codec;
use crate::event::MediaFault;
use crate::sdp::{
    Audio, Description, Direction, Format, FormatKind, SdpError, Transport, is_unicast,
};

/// Payload types of our offers for digits at 8 and at 48 kHz.
const EVENTS: u8 = 101;
const EVENTS_48K: u8 = 110;

/// What a leg sends and takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Agreement {
    pub codec: Codec,
    /// The payload type that the far side wants for it.
    pub payload_type: u8,
    /// The far side's payload type and clock for digits.
    pub events: Option<(u8, u32)>,
    /// What may come in: payload types as we gave them out.
    pub receive: Vec<Format>,
    /// `None`: on hold.
    pub remote: Option<SocketAddr>,
    pub remote_rtcp: Option<SocketAddr>,
    /// Ours.
    pub direction: Direction,
    pub ptime: Option<Duration>,
}

impl Agreement {
    /// What a payload type means when it comes in.
    pub(crate) fn incoming(&self, payload_type: u8) -> Option<FormatKind> {
        let agreed = self.receive.iter().find(|format| format.payload_type == payload_type);
        match agreed {
            Some(format) => Some(format.kind),
            // Phones send comfort noise without asking.
            None if payload_type == 13 => Some(FormatKind::ComfortNoise),
            None => None,
        }
    }
}

/// The formats of an offer of ours.
pub(crate) fn offer(codecs: &[Codec], dtmf: bool) -> Vec<Format> {
    let mut formats: Vec<Format> = codecs
        .iter()
        .map(|&codec| Format { payload_type: codec.payload_type(), kind: FormatKind::Audio(codec) })
        .collect();
    let clocks = |clock| codecs.iter().any(|codec| codec.clock() == clock);
    for (payload_type, clock) in [(EVENTS, 8_000), (EVENTS_48K, 48_000)] {
        if dtmf && clocks(clock) {
            formats.push(Format { payload_type, kind: FormatKind::TelephoneEvent(clock) });
        }
    }
    formats
}

/// Our answer to an offer: the first of its codecs that is among `codecs`, and digits where it has them.
pub(crate) fn answer(
    offer: &Description,
    codecs: &[Codec],
    ipv4: bool,
) -> Result<(Agreement, Vec<Format>), MediaFault> {
    let audio = &offer.audio;
    check(audio, ipv4)?;
    let chosen = first_audio(audio, |codec| codecs.contains(&codec))?;
    let events = events_for(audio, chosen.1);
    let mut formats = vec![Format { payload_type: chosen.0, kind: FormatKind::Audio(chosen.1) }];
    formats.extend(events.map(|(payload_type, clock)| Format {
        payload_type,
        kind: FormatKind::TelephoneEvent(clock),
    }));
    Ok((agreement(audio, chosen, events, formats.clone()), formats))
}

/// The far side's answer to an offer of `offered`.
pub(crate) fn accept(
    answer: &Description,
    offered: &[Format],
    ipv4: bool,
) -> Result<Agreement, MediaFault> {
    let audio = &answer.audio;
    check(audio, ipv4)?;
    let is_offered = |kind| offered.iter().any(|format| format.kind == kind);
    let chosen = first_audio(audio, |codec| is_offered(FormatKind::Audio(codec)))?;
    let events = events_for(audio, chosen.1)
        .filter(|&(_, clock)| is_offered(FormatKind::TelephoneEvent(clock)));
    Ok(agreement(audio, chosen, events, offered.to_vec()))
}

fn check(audio: &Audio, ipv4: bool) -> Result<(), MediaFault> {
    if audio.declined {
        return Err(MediaFault::Declined);
    }
    match &audio.transport {
        Transport::Rtp | Transport::Srtp => {}
        Transport::Secure(name) => return Err(MediaFault::Encrypted(name.clone())),
        Transport::Other(_) => return Err(SdpError::NoAudio.into()),
    }
    match audio.rtp.map(|rtp| rtp.ip()) {
        Some(ip) if ip.is_ipv4() != ipv4 => Err(MediaFault::AddressFamily),
        Some(ip) if !is_unicast(ip) => Err(MediaFault::NotUnicast(ip)),
        Some(_) | None => Ok(()),
    }
}

fn first_audio(audio: &Audio, allowed: impl Fn(Codec) -> bool) -> Result<(u8, Codec), MediaFault> {
    audio
        .formats
        .iter()
        .find_map(|format| match format.kind {
            FormatKind::Audio(codec) if allowed(codec) => Some((format.payload_type, codec)),
            FormatKind::Audio(_)
            | FormatKind::TelephoneEvent(_)
            | FormatKind::ComfortNoise
            | FormatKind::Unknown => None,
        })
        .ok_or(MediaFault::NoCommonCodec)
}

/// Digits with the codec's own clock, else with any (some phones know only 8000).
fn events_for(audio: &Audio, codec: Codec) -> Option<(u8, u32)> {
    let all: Vec<(u8, u32)> = audio
        .formats
        .iter()
        .filter_map(|format| match format.kind {
            FormatKind::TelephoneEvent(clock) => Some((format.payload_type, clock)),
            FormatKind::Audio(_) | FormatKind::ComfortNoise | FormatKind::Unknown => None,
        })
        .collect();
    all.iter().find(|(_, clock)| *clock == codec.clock()).or(all.first()).copied()
}

fn agreement(
    audio: &Audio,
    (payload_type, codec): (u8, Codec),
    events: Option<(u8, u32)>,
    receive: Vec<Format>,
) -> Agreement {
    let direction = match (audio.direction.reversed(), audio.rtp) {
        (direction, Some(_)) => direction,
        // Nowhere to send to.
        (Direction::SendRecv | Direction::RecvOnly, None) => Direction::RecvOnly,
        (Direction::SendOnly | Direction::Inactive, None) => Direction::Inactive,
    };
    Agreement {
        codec,
        payload_type,
        events,
        receive,
        remote: audio.rtp,
        remote_rtcp: audio.rtcp,
        direction,
        ptime: audio.ptime,
    }
}
