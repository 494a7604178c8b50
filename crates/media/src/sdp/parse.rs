//! From bytes to [`Description`].

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::{
    Audio, Crypto, Description, Direction, Format, FormatKind, MAX_BYTES, MAX_MEDIA, MediaLine,
    SdpError, Transport,
};
use crate::codec::Codec;
use crate::srtp::Srtp;

/// Longest `a=ptime` that is believed; more is a mistake and counts as none.
const MAX_PTIME_MS: f32 = 200.0;

/// Reads a session description for somebody who does not encrypt.
pub fn parse(bytes: &[u8]) -> Result<Description, SdpError> {
    parse_for(Srtp::Off, bytes)
}

/// Reads a session description. Where it has its audio both encrypted and plain, `srtp` decides which one is taken.
pub fn parse_for(srtp: Srtp, bytes: &[u8]) -> Result<Description, SdpError> {
    if bytes.len() > MAX_BYTES {
        return Err(SdpError::TooLong(bytes.len()));
    }
    let session =
        sdp_types::Session::parse(bytes).map_err(|error| SdpError::Syntax(error.to_string()))?;
    if session.medias.len() > MAX_MEDIA {
        return Err(SdpError::TooManyMedia(session.medias.len()));
    }
    let chosen = choose_audio(&session.medias, srtp).ok_or(SdpError::NoAudio)?;
    let media = session
        .medias
        .iter()
        .enumerate()
        .map(|(index, media)| MediaLine {
            kind: media.media.clone(),
            proto: media.proto.clone(),
            formats: media.fmt.clone(),
            is_audio: index == chosen,
        })
        .collect();
    Ok(Description {
        session_id: session.origin.sess_id.clone(),
        version: session.origin.sess_version,
        audio: audio(&session, &session.medias[chosen])?,
        media,
    })
}

/// The first audio, not declined, of the transport that suits best, else the first audio at all.
fn choose_audio(medias: &[sdp_types::Media], srtp: Srtp) -> Option<usize> {
    let is_audio = |media: &sdp_types::Media| media.media.eq_ignore_ascii_case("audio");
    let usable = |media: &sdp_types::Media, wanted: Transport| {
        is_audio(media) && media.port != 0 && transport(media) == wanted
    };
    let first = |wanted: Transport| medias.iter().position(|media| usable(media, wanted.clone()));
    let suited = match srtp {
        Srtp::Off => first(Transport::Rtp),
        Srtp::Optional | Srtp::Required => first(Transport::Srtp).or_else(|| first(Transport::Rtp)),
    };
    suited.or_else(|| medias.iter().position(is_audio))
}

fn audio(session: &sdp_types::Session, media: &sdp_types::Media) -> Result<Audio, SdpError> {
    let declined = media.port == 0;
    let rtp = if declined { None } else { address(session, media)? };
    let rtcp = rtp.and_then(|rtp| rtcp_address(media, rtp));
    let direction = direction(&media.attributes)
        .or_else(|| direction(&session.attributes))
        .unwrap_or(Direction::SendRecv);
    Ok(Audio {
        transport: transport(media),
        rtp,
        rtcp,
        declined,
        formats: formats(media),
        direction,
        ptime: ptime(media),
        crypto: Crypto::read(values(&media.attributes, "crypto")),
    })
}

fn transport(media: &sdp_types::Media) -> Transport {
    match media.proto.to_ascii_uppercase().as_str() {
        "RTP/AVP" | "RTP/AVPF" => Transport::Rtp,
        "RTP/SAVP" | "RTP/SAVPF" => Transport::Srtp,
        secure if secure.contains("SAVP") => Transport::Secure(media.proto.clone()),
        _ => Transport::Other(media.proto.clone()),
    }
}

/// `None` for the unspecified address: an old way to say hold (RFC 3264 §8.4).
fn address(
    session: &sdp_types::Session,
    media: &sdp_types::Media,
) -> Result<Option<SocketAddr>, SdpError> {
    let connection =
        media.connections.first().or(session.connection.as_ref()).ok_or(SdpError::NoAddress)?;
    let ip = connection
        .try_address()
        .map_err(|_| SdpError::NotAnAddress(connection.connection_address.clone()))?
        .ip;
    Ok((!ip.is_unspecified()).then(|| SocketAddr::new(ip, media.port)))
}

/// `a=rtcp:53020` or `a=rtcp:53020 IN IP4 126.16.64.4` (RFC 3605), else one above RTP.
fn rtcp_address(media: &sdp_types::Media, rtp: SocketAddr) -> Option<SocketAddr> {
    let Some(value) = first_value(&media.attributes, "rtcp") else {
        return Some(SocketAddr::new(rtp.ip(), rtp.port().checked_add(1)?));
    };
    let mut words = value.split_ascii_whitespace();
    let port: u16 = words.next()?.parse().ok().filter(|&port| port != 0)?;
    let ip = match words.nth(2) {
        Some(ip) => ip.parse::<IpAddr>().ok()?,
        None => rtp.ip(),
    };
    // Reports go to the host that the audio goes to: a description cannot point them at a third party.
    (ip == rtp.ip()).then(|| SocketAddr::new(ip, port))
}

fn formats(media: &sdp_types::Media) -> Vec<Format> {
    let payload_types =
        media.fmt.split_ascii_whitespace().filter_map(|word| word.parse::<u8>().ok());
    payload_types
        .filter(|&payload_type| payload_type < 128)
        .map(|payload_type| Format { payload_type, kind: format_kind(media, payload_type) })
        .collect()
}

fn format_kind(media: &sdp_types::Media, payload_type: u8) -> FormatKind {
    let mapping = values(&media.attributes, "rtpmap").find_map(|value| {
        let (number, encoding) = value.split_once(|c: char| c.is_ascii_whitespace())?;
        (number.parse() == Ok(payload_type)).then(|| encoding.trim())
    });
    match mapping {
        Some(encoding) => encoding_kind(encoding),
        None => static_kind(payload_type),
    }
}

/// The encoding of an `a=rtpmap`: name, clock and for audio the channels.
fn encoding_kind(encoding: &str) -> FormatKind {
    let mut parts = encoding.split('/');
    let name = parts.next().unwrap_or_default().to_ascii_lowercase();
    let clock: Option<u32> = parts.next().and_then(|clock| clock.parse().ok());
    let channels = parts.next();
    match (name.as_str(), clock, channels) {
        ("pcma", Some(8_000), None | Some("1")) => FormatKind::Audio(Codec::Pcma),
        ("pcmu", Some(8_000), None | Some("1")) => FormatKind::Audio(Codec::Pcmu),
        // 16000 is what its rate is and what RFC 3551 says not to write; some phones do.
        ("g722", Some(8_000 | 16_000), None | Some("1")) => FormatKind::Audio(Codec::G722),
        ("opus", Some(48_000), Some("2")) => FormatKind::Audio(Codec::Opus),
        ("telephone-event", Some(clock @ (8_000 | 16_000 | 48_000)), _) => {
            FormatKind::TelephoneEvent(clock)
        }
        ("cn", _, _) => FormatKind::ComfortNoise,
        _ => FormatKind::Unknown,
    }
}

/// RFC 3551 §6.
fn static_kind(payload_type: u8) -> FormatKind {
    match payload_type {
        0 => FormatKind::Audio(Codec::Pcmu),
        8 => FormatKind::Audio(Codec::Pcma),
        9 => FormatKind::Audio(Codec::G722),
        13 => FormatKind::ComfortNoise,
        _ => FormatKind::Unknown,
    }
}

fn direction(attributes: &[sdp_types::Attribute]) -> Option<Direction> {
    attributes.iter().find_map(|attribute| {
        match attribute.attribute.to_ascii_lowercase().as_str() {
            "sendrecv" => Some(Direction::SendRecv),
            "sendonly" => Some(Direction::SendOnly),
            "recvonly" => Some(Direction::RecvOnly),
            "inactive" => Some(Direction::Inactive),
            _ => None,
        }
    })
}

fn ptime(media: &sdp_types::Media) -> Option<Duration> {
    let ms: f32 = first_value(&media.attributes, "ptime")?.trim().parse().ok()?;
    (ms > 0.0 && ms <= MAX_PTIME_MS).then(|| Duration::from_micros((ms * 1000.0).round() as u64))
}

fn first_value<'a>(attributes: &'a [sdp_types::Attribute], name: &'a str) -> Option<&'a str> {
    values(attributes, name).next()
}

fn values<'a>(
    attributes: &'a [sdp_types::Attribute],
    name: &'a str,
) -> impl Iterator<Item = &'a str> {
    attributes
        .iter()
        .filter(move |attribute| attribute.attribute.eq_ignore_ascii_case(name))
        .filter_map(|attribute| attribute.value.as_deref())
}
