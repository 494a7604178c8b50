//! Recordings as Ogg Opus (RFC 7845): a quarter of their size, for whoever takes one away.
//!
//! The two parties of a stereo recording are two streams of their own in one file (channel mapping family 1, none of them
//! coupled): what a joint encoder saves by mixing channels would let one party be heard in the other's.

use audio_codec_algorithms::decode_alaw;

use crate::codec::{Band, Codec, Encoder, FRAME};
use crate::ogg::{Pages, Part};

/// Opus counts at 48 kHz whatever is in it.
const PER_FRAME: u64 = 960;
const PER_SAMPLE: u64 = PER_FRAME / FRAME as u64;
/// Packets of 20 ms on one page: a second.
const PACKETS: usize = 50;
/// What the encoder is late by, at 48 kHz: its look-ahead at the lowest rate, 6.5 ms (RFC 7845 §5.1.1 lets a player drop it).
const PRE_SKIP: u16 = 312;

/// Makes a file of A-law at 8 kHz, piece by piece.
pub struct OpusFile {
    encoders: Vec<Encoder>,
    pages: Pages,
    on_page: usize,
    /// Interleaved A-law that is no whole frame yet.
    pending: Vec<u8>,
    /// Samples per channel that came, and those that have been encoded.
    samples: u64,
    encoded: u64,
    /// The next packet, kept back: which page is the last is known only at the end.
    held: Option<Vec<u8>>,
}

impl OpusFile {
    /// A file of one or two channels; its head is appended to `out`.
    pub fn new(channels: Channels, out: &mut Vec<u8>) -> Self {
        let mut pages = Pages::new(rand::random());
        pages.packet(&head(channels));
        pages.end_page(Part::First, 0, out);
        pages.packet(&tags());
        pages.end_page(Part::Middle, 0, out);
        let encoder = || Encoder::new(Codec::Opus, Band::Narrow);
        OpusFile {
            encoders: std::iter::repeat_with(encoder).take(channels.count()).collect(),
            pages,
            on_page: 0,
            pending: Vec::new(),
            samples: 0,
            encoded: 0,
            held: None,
        }
    }

    /// Takes A-law, the channels in turn sample by sample, cut anywhere; appends the pages that are whole to `out`.
    pub fn push(&mut self, alaw: &[u8], out: &mut Vec<u8>) {
        self.pending.extend_from_slice(alaw);
        let channels = self.encoders.len();
        let frame = FRAME * channels;
        let whole = self.pending.len() / frame * frame;
        let pending = std::mem::take(&mut self.pending);
        for frame in pending[..whole].chunks_exact(frame) {
            self.samples += FRAME as u64;
            self.frame(frame, out);
        }
        self.pending = pending[whole..].to_vec();
    }

    /// Appends the rest of the file.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        let channels = self.encoders.len();
        self.samples += (self.pending.len() / channels) as u64;
        // Silence behind the end until the encoders have given all that they were given; the last page says where it ends.
        let end = self.samples * PER_SAMPLE + u64::from(PRE_SKIP);
        while self.encoded * PER_FRAME < end {
            let mut frame = std::mem::take(&mut self.pending);
            frame.resize(FRAME * channels, crate::clip::ALAW_SILENCE);
            self.frame(&frame, out);
        }
        if let Some(last) = self.held.take() {
            self.pages.packet(&last);
        }
        self.pages.end_page(Part::Last, end, out);
    }

    fn frame(&mut self, alaw: &[u8], out: &mut Vec<u8>) {
        let channels = self.encoders.len();
        let mut packet = Vec::new();
        for (channel, encoder) in self.encoders.iter_mut().enumerate() {
            let samples: [i16; FRAME] =
                std::array::from_fn(|n| decode_alaw(alaw[n * channels + channel]));
            let mut payload = Vec::new();
            encoder.encode(&samples, &mut payload);
            if channel + 1 == channels {
                packet.append(&mut payload);
            } else {
                delimit(&payload, &mut packet);
            }
        }
        self.encoded += 1;
        let Some(before) = self.held.replace(packet) else { return };
        if self.on_page == PACKETS || !self.pages.has_room(before.len()) {
            // `encoded` counts the new one and the one before, which are not on it.
            self.pages.end_page(Part::Middle, (self.encoded - 2) * PER_FRAME, out);
            self.on_page = 0;
        }
        self.pages.packet(&before);
        self.on_page += 1;
    }
}

/// How many channels a file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channels {
    Mono,
    /// A party per channel.
    Two,
}

impl Channels {
    fn count(self) -> usize {
        match self {
            Channels::Mono => 1,
            Channels::Two => 2,
        }
    }
}

/// RFC 7845 §5.1.
fn head(channels: Channels) -> Vec<u8> {
    let mut head = b"OpusHead\x01".to_vec();
    head.push(channels.count() as u8);
    head.extend_from_slice(&PRE_SKIP.to_le_bytes());
    head.extend_from_slice(&8_000u32.to_le_bytes());
    head.extend_from_slice(&0u16.to_le_bytes());
    match channels {
        Channels::Mono => head.push(0),
        // Family 1, two streams, none coupled, the first is left and the second right.
        Channels::Two => head.extend_from_slice(&[1, 2, 0, 0, 1]),
    }
    head
}

/// RFC 7845 §5.2, without a comment.
fn tags() -> Vec<u8> {
    let vendor = b"offhook";
    let mut tags = b"OpusTags".to_vec();
    tags.extend_from_slice(&(vendor.len() as u32).to_le_bytes());
    tags.extend_from_slice(vendor);
    tags.extend_from_slice(&0u32.to_le_bytes());
    tags
}

/// A packet of one frame with its length inside (RFC 6716 appendix B), so that another stream's can follow it.
fn delimit(packet: &[u8], out: &mut Vec<u8>) {
    let Some((&kind, frame)) = packet.split_first() else { return };
    debug_assert_eq!(kind & 0b11, 0, "20 ms are one frame");
    out.push(kind);
    match frame.len() {
        length @ 0..252 => out.push(length as u8),
        length => {
            let low = 252 + (length & 0b11);
            out.extend_from_slice(&[low as u8, ((length - low) / 4) as u8]);
        }
    }
    out.extend_from_slice(frame);
}
