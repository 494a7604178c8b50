//! What peers may ask of us without an invitation. The default refuses everything.

use std::collections::BTreeMap;

use md5::Md5;
use sha2::{Digest, Sha256};

/// What is let in from outside any dialog.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    pub accept_invites: AcceptInvites,
    pub accept_register: AcceptRegister,
}

/// Whether INVITEs become inbound legs.
#[derive(Clone, Debug, Default)]
pub enum AcceptInvites {
    /// 403.
    #[default]
    Never,
    Open,
    Digest(DigestPolicy),
}

/// Whether REGISTERs become [`crate::Event::Request`].
#[derive(Clone, Debug, Default)]
pub enum AcceptRegister {
    /// 403.
    #[default]
    Never,
    Open,
    Digest(DigestPolicy),
}

/// Who may come in after a digest challenge (RFC 7616, RFC 8760).
#[derive(Clone, Debug)]
pub struct DigestPolicy {
    pub realm: String,
    pub users: BTreeMap<String, DigestUser>,
}

/// HA1 of one user in both algorithms; the password is not kept.
#[derive(Clone)]
pub struct DigestUser {
    pub(crate) ha1_md5: String,
    pub(crate) ha1_sha256: String,
}

impl DigestUser {
    /// HA1 values as lower-case hex, as they lie on disk.
    pub fn from_ha1(md5: impl Into<String>, sha256: impl Into<String>) -> DigestUser {
        DigestUser { ha1_md5: md5.into(), ha1_sha256: sha256.into() }
    }

    /// Computes both HA1 values (RFC 7616 §3.4.2).
    pub fn from_password(username: &str, realm: &str, password: &str) -> DigestUser {
        let a1 = format!("{username}:{realm}:{password}");
        DigestUser { ha1_md5: hex(&Md5::digest(&a1)), ha1_sha256: hex(&Sha256::digest(&a1)) }
    }
}

impl std::fmt::Debug for DigestUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DigestUser(…)")
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").expect("a String takes every write");
        out
    })
}
