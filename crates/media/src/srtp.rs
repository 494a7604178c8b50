//! SRTP and SRTCP (RFC 3711, AES-256 by RFC 6188, AES-GCM by RFC 7714).
//!
//! One direction of one leg is one *context*: [`Outbound`] for our single stream, [`Inbound`] for whatever streams the far
//! side makes under its key. Keys come from session descriptions ([`crate::sdp::CryptoLine`]). What is not here: key
//! derivation rates other than 0, 32-bit tags, unencrypted or unauthenticated packets; lines that ask for them are refused.
//!
//! Written here instead of taken from a crate, because the ones at hand accept SRTCP whose encryption bit is clear without
//! looking at its tag, or keep state for every SSRC that anybody makes up.

use std::str::FromStr;

mod inbound;
mod keys;
mod outbound;
mod replay;
mod transform;

pub use inbound::{Inbound, Refused};
pub use keys::{KeyError, MasterKey, Suite};
pub use outbound::Outbound;

/// Room that protection needs behind a packet: tag and SRTCP index.
pub const OVERHEAD: usize = 20;

/// Whether a leg's media is encrypted. Keys travel in the session description: they are as secret as its transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Srtp {
    /// Plain RTP only.
    #[default]
    Off,
    /// RTP/AVP with `a=crypto` lines: encrypted where the far side takes one of them, else plain.
    Optional,
    /// RTP/SAVP: encrypted, or no call.
    Required,
}

/// No word for [`Srtp`]: whoever wrote it is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is none of off, optional, required")]
pub struct NoSuchPolicy(String);

impl FromStr for Srtp {
    type Err = NoSuchPolicy;

    fn from_str(text: &str) -> Result<Srtp, NoSuchPolicy> {
        match text {
            "off" => Ok(Srtp::Off),
            "optional" => Ok(Srtp::Optional),
            "required" => Ok(Srtp::Required),
            _ => Err(NoSuchPolicy(text.to_owned())),
        }
    }
}

/// The length of a packet's RTP header with CSRCs and extension; `None` where it is none of version 2 or lies about it.
fn rtp_header(packet: &[u8]) -> Option<usize> {
    let first = *packet.first()?;
    if first >> 6 != 2 {
        return None;
    }
    let mut length = 12 + 4 * usize::from(first & 0x0F);
    if first & 0x10 != 0 {
        let words = packet.get(length + 2..length + 4)?;
        length += 4 + 4 * usize::from(u16::from_be_bytes([words[0], words[1]]));
    }
    (packet.len() >= length).then_some(length)
}

/// Sequence number and SSRC of a packet that has a whole header.
fn rtp_names(packet: &[u8]) -> (u16, u32) {
    (u16::from_be_bytes([packet[2], packet[3]]), word(&packet[8..12]))
}

/// The sender's SSRC of an RTCP packet of at least eight bytes.
fn rtcp_ssrc(packet: &[u8]) -> u32 {
    word(&packet[4..8])
}

fn word(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

#[cfg(test)]
mod tests;
