//! The encrypted form of a recording.
//!
//! ```text
//! "offhkrec" 1 channels 0 0 0 0 0 0 | piece 0 | piece 1 | … | last piece
//! ```
//! Each piece is AES-256-GCM under the file's own key: half a second of A-law ([`media::SEALED_PIECE`] bytes per
//! channel), the last one what was left, perhaps nothing. Nonce and associated data name the piece's place and whether
//! it is the last, the associated data also tenant, call and channels: a piece that was changed, moved, or taken from
//! another file does not open, and neither does a file whose end is missing.

use std::io;

use engine::vocabulary::{Serial, TenantId};
use media::{RecordMode, SEALED_PIECE};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

const MAGIC: &[u8; 8] = b"offhkrec";
const VERSION: u8 = 1;
/// Bytes in front of the pieces.
pub const HEAD: usize = 16;
/// Bytes that a piece grows by.
pub const TAG: usize = 16;

/// A file's own key.
pub type FileKey = [u8; 32];

#[derive(Debug, thiserror::Error)]
pub enum SealedError {
    #[error("the recording's file cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("the recording's file is damaged, was exchanged, or its end is missing")]
    Damaged,
}

/// Whether the end of a file may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The call ended in order: what is short was shortened.
    Refused,
    /// The server was killed while it was recorded: whole pieces are what there is.
    Expected,
}

/// Seals and opens the pieces of one file.
pub struct Pieces {
    key: LessSafeKey,
    tenant: TenantId,
    serial: Serial,
    channels: u8,
}

/// What [`Pieces::layout`] finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Whole pieces.
    pub whole: u32,
    /// Bytes behind them, tag included; fewer than a tag: no piece.
    pub rest: usize,
}

impl Pieces {
    pub fn new(key: &FileKey, tenant: TenantId, serial: Serial, channels: u8) -> Pieces {
        let unbound = UnboundKey::new(&AES_256_GCM, key).expect("AES-256 takes 32 bytes");
        Pieces { key: LessSafeKey::new(unbound), tenant, serial, channels }
    }

    pub fn channels(&self) -> u8 {
        self.channels
    }

    /// Bytes of a whole piece before it is sealed.
    pub fn whole(&self) -> usize {
        SEALED_PIECE * usize::from(self.channels)
    }

    /// How a file of this many bytes is divided.
    pub fn layout(&self, file: u64) -> Layout {
        let pieces = file.saturating_sub(HEAD as u64);
        let each = (self.whole() + TAG) as u64;
        let whole = u32::try_from(pieces / each).unwrap_or(u32::MAX);
        Layout { whole, rest: (pieces % each) as usize }
    }

    pub fn seal(&self, index: u32, last: bool, piece: &mut Vec<u8>) -> io::Result<()> {
        let sealed =
            self.key.seal_in_place_append_tag(nonce(index, last), self.place(index, last), piece);
        sealed.map_err(|_| io::Error::other("a piece of the recording could not be encrypted"))
    }

    /// What was sealed; the tag is cut off.
    pub fn open(&self, index: u32, last: bool, piece: &mut Vec<u8>) -> Result<(), SealedError> {
        let opened = self.key.open_in_place(nonce(index, last), self.place(index, last), piece);
        let length = opened.map_err(|_| SealedError::Damaged)?.len();
        piece.truncate(length);
        Ok(())
    }

    fn place(&self, index: u32, last: bool) -> Aad<String> {
        let Pieces { tenant, serial, channels, .. } = self;
        Aad::from(format!("recording/{}/{serial}/{channels}/{index}/{last}", tenant.0))
    }
}

impl media::Seal for Pieces {
    fn head(&self, mode: RecordMode) -> Vec<u8> {
        let channels = channels(mode);
        debug_assert_eq!(channels, self.channels, "the key was made for another mode");
        [MAGIC.as_slice(), &[VERSION, channels], &[0; HEAD - 10]].concat()
    }

    fn seal(&mut self, index: u32, last: bool, piece: &mut Vec<u8>) -> io::Result<()> {
        Pieces::seal(self, index, last, piece)
    }
}

/// How many channels the head of a file says it has.
pub fn channels_of(head: &[u8; HEAD]) -> Result<u8, SealedError> {
    match (head.starts_with(MAGIC), head[8], head[9]) {
        (true, VERSION, channels @ 1..=2) => Ok(channels),
        _ => Err(SealedError::Damaged),
    }
}

pub fn channels(mode: RecordMode) -> u8 {
    match mode {
        RecordMode::Both => 2,
        RecordMode::Received => 1,
    }
}

/// Never twice under one key: a file has one key, and a place in it one piece.
fn nonce(index: u32, last: bool) -> Nonce {
    let mut nonce = [0; NONCE_LEN];
    nonce[0] = u8::from(last);
    nonce[NONCE_LEN - 4..].copy_from_slice(&index.to_be_bytes());
    Nonce::assume_unique_for_key(nonce)
}
