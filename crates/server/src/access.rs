//! Who may do what: generated secrets, tokens and API keys, and the sealing of secrets at rest.
//!
//! What offhook generates has 128 bits and more, so its SHA-256 is enough at rest; a slow hash on
//! every request would be a denial of service on two cores.

mod seal;
mod shared_keys;
mod tokens;

use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};

pub use seal::{SealError, Sealer};
pub use tokens::{Access, IssueError, Rights};

/// The SHA-256 under which a generated secret is stored and looked up.
pub fn sha256(secret: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, secret).as_ref());
    hash
}

/// Whether two hashes are equal, in a time that does not depend on where they differ.
pub fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    a.iter().zip(b).fold(0, |difference, (x, y)| difference | (x ^ y)) == 0
}

/// `BYTES` random bytes in hex: a token, a key, a secret.
pub fn random_hex<const BYTES: usize>() -> Result<String, SealError> {
    let mut bytes = [0; BYTES];
    SystemRandom::new().fill(&mut bytes).map_err(|_| SealError::NoRandom)?;
    Ok(hex(&bytes))
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from_digit(nibble.into(), 16).expect("a nibble is a hex digit"));
        }
    }
    text
}
