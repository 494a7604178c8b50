//! Crypto suites and master keys.

use std::fmt;

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use rand::RngCore as _;

/// Padding is what the standard asks for and what some phones leave out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A crypto suite that is spoken here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suite {
    /// RFC 4568 §6.2.1.
    AesCm128HmacSha1,
    /// RFC 6188.
    AesCm256HmacSha1,
    /// RFC 7714.
    AeadAes128Gcm,
    /// RFC 7714.
    AeadAes256Gcm,
}

impl Suite {
    pub const ALL: [Suite; 4] = [
        Suite::AesCm128HmacSha1,
        Suite::AesCm256HmacSha1,
        Suite::AeadAes128Gcm,
        Suite::AeadAes256Gcm,
    ];

    /// The name in `a=crypto`.
    pub fn name(self) -> &'static str {
        match self {
            Suite::AesCm128HmacSha1 => "AES_CM_128_HMAC_SHA1_80",
            Suite::AesCm256HmacSha1 => "AES_256_CM_HMAC_SHA1_80",
            Suite::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Suite::AeadAes256Gcm => "AEAD_AES_256_GCM",
        }
    }

    /// Names are compared without regard to case: some phones shout them, some do not.
    pub fn of_name(name: &str) -> Option<Suite> {
        Suite::ALL.into_iter().find(|suite| suite.name().eq_ignore_ascii_case(name))
    }

    /// Bytes of the master key.
    pub(super) fn key_length(self) -> usize {
        match self {
            Suite::AesCm128HmacSha1 | Suite::AeadAes128Gcm => 16,
            Suite::AesCm256HmacSha1 | Suite::AeadAes256Gcm => 32,
        }
    }

    /// Bytes of the master salt.
    pub(super) fn salt_length(self) -> usize {
        match self {
            Suite::AesCm128HmacSha1 | Suite::AesCm256HmacSha1 => 14,
            Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => 12,
        }
    }

    /// Bytes of the tag behind each packet.
    pub(super) fn tag_length(self) -> usize {
        match self {
            Suite::AesCm128HmacSha1 | Suite::AesCm256HmacSha1 => 10,
            Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => 16,
        }
    }
}

/// Master key and salt of one direction. Its `Debug` does not show them.
#[derive(Clone, PartialEq, Eq)]
pub struct MasterKey {
    suite: Suite,
    /// Key, then salt.
    bytes: Vec<u8>,
}

/// Why a key cannot be used; whoever wrote it is at fault. Says nothing of the key itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("the key is no Base64")]
    NotBase64,
    #[error("key and salt have {found} bytes, and {suite} takes {wanted}", suite = .suite.name())]
    Length { suite: Suite, found: usize, wanted: usize },
    #[error("the key is one byte repeated: nobody drew it at random")]
    Weak,
}

impl MasterKey {
    /// A new key out of the thread's cryptographically secure generator, which the system seeds.
    pub fn random(suite: Suite) -> MasterKey {
        let mut bytes = vec![0; suite.key_length() + suite.salt_length()];
        rand::rng().fill_bytes(&mut bytes);
        MasterKey { suite, bytes }
    }

    /// Key and salt as they stand behind `inline:`.
    pub fn from_base64(suite: Suite, text: &str) -> Result<MasterKey, KeyError> {
        let bytes = BASE64.decode(text).map_err(|_| KeyError::NotBase64)?;
        let (found, wanted) = (bytes.len(), suite.key_length() + suite.salt_length());
        if found != wanted {
            return Err(KeyError::Length { suite, found, wanted });
        }
        if bytes[..suite.key_length()].iter().all(|&byte| byte == bytes[0]) {
            return Err(KeyError::Weak);
        }
        Ok(MasterKey { suite, bytes })
    }

    pub fn to_base64(&self) -> String {
        BASE64.encode(&self.bytes)
    }

    pub fn suite(&self) -> Suite {
        self.suite
    }

    pub(super) fn key(&self) -> &[u8] {
        &self.bytes[..self.suite.key_length()]
    }

    pub(super) fn salt(&self) -> &[u8] {
        &self.bytes[self.suite.key_length()..]
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({})", self.suite.name())
    }
}
