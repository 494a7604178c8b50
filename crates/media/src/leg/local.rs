//! Our side of a leg's SDP session over its life.

use std::net::SocketAddr;

use bytes::Bytes;

use crate::sdp::{CryptoLine, Direction, Format, LocalDescription, MediaLine, Profile};

/// Knows what was said last, so that the version counts changes and nothing else (RFC 3264 §8).
pub(super) struct Local {
    session_id: String,
    rtp: SocketAddr,
    next_version: u64,
    last: Option<LocalDescription>,
}

impl Local {
    pub(super) fn new(rtp: SocketAddr) -> Self {
        // 62 bits, so that the number fits whatever a peer keeps it in (RFC 8866 §5.2 asks for numeric).
        let session_id = (rand::random::<u64>() >> 2).to_string();
        Local { session_id, rtp, next_version: 1, last: None }
    }

    /// A session that this process did not begin.
    pub(super) fn resumed(rtp: SocketAddr, session_id: String, version: u64) -> Self {
        Local { session_id, rtp, next_version: version.saturating_add(1), last: None }
    }

    pub(super) fn is_ipv4(&self) -> bool {
        self.rtp.is_ipv4()
    }

    pub(super) fn describe(
        &mut self,
        formats: Vec<Format>,
        direction: Direction,
        (profile, crypto): (Profile, Vec<CryptoLine>),
        answers: Vec<MediaLine>,
    ) -> Bytes {
        let mut description = LocalDescription {
            session_id: self.session_id.clone(),
            version: self.last.as_ref().map_or(self.next_version, |last| last.version),
            rtp: self.rtp,
            formats,
            direction,
            profile,
            crypto,
            answers,
        };
        if self.last.as_ref() != Some(&description) {
            description.version = self.next_version;
            self.next_version = self.next_version.saturating_add(1);
        }
        let bytes = description.to_bytes();
        self.last = Some(description);
        bytes
    }
}
