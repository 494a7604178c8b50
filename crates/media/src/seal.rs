//! What encrypts a recording on its way to the disk. Its owner brings it, so that `media` knows no keys.

use std::io;

use crate::codec::FRAME;
use crate::command::RecordMode;

/// 20 ms frames in one piece of a sealed file: half a second.
pub(crate) const PIECE_FRAMES: usize = 25;

/// Bytes of A-law in a whole piece, per channel.
pub const SEALED_PIECE: usize = PIECE_FRAMES * FRAME;

/// Encrypts one recording. Its file is [`head`](Seal::head), then the pieces in order, each of [`SEALED_PIECE`] bytes
/// per channel before it was sealed, then one last piece with what is left: less than a whole one, perhaps nothing.
/// A file without that last piece was cut.
///
/// Called on the thread that writes recordings.
pub trait Seal: Send + 'static {
    /// What stands in front of the pieces.
    fn head(&self, mode: RecordMode) -> Vec<u8>;
    /// Seals piece `index`, counted from 0, in place; it may become longer.
    ///
    /// # Errors
    /// Nothing of the piece may be written in clear; the recording fails.
    fn seal(&mut self, index: u32, last: bool, piece: &mut Vec<u8>) -> io::Result<()>;
}
