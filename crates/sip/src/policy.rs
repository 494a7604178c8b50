//! What peers may ask of us without an invitation. The default refuses everything.

use std::{collections::BTreeMap, time::Duration};

use md5::Md5;
use sha2::{Digest, Sha256};

/// What is let in from outside any dialog.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    pub accept_invites: AcceptInvites,
    pub accept_register: AcceptRegister,
    /// For [`AcceptRegister::Phones`] and [`AcceptInvites::Ask`].
    pub phones: PhonePolicy,
    /// For [`AcceptInvites::Ask`].
    pub strangers: StrangerPolicy,
}

/// Whether INVITEs become inbound legs.
#[derive(Clone, Debug, Default)]
pub enum AcceptInvites {
    /// 403.
    #[default]
    Never,
    Open,
    Digest(DigestPolicy),
    /// The caller decides: [`crate::Event::Incoming`] says as whom the far side is known
    /// ([`crate::Origin`]). In this order: an address of [`crate::Command::Trust`]; a phone of ours,
    /// which has to show its password; anybody, where the number has 1 to 18 digits and nothing else,
    /// so that it may be the code of a task. Everything else gets the 404 that a wrong code gets.
    Ask,
}

/// Whether REGISTERs become [`crate::Event::Request`].
#[derive(Clone, Debug, Default)]
pub enum AcceptRegister {
    /// 403.
    #[default]
    Never,
    Open,
    Digest(DigestPolicy),
    /// The core itself keeps who of [`crate::Command::SetUsers`] is where, and says so
    /// ([`crate::Event::Bound`]).
    Phones,
}

/// Phones that register here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhonePolicy {
    /// One for all: a user name is a number, and belongs to one phone of one tenant.
    pub realm: String,
    /// Bindings that are to live shorter are refused with 423.
    pub min_expires: Duration,
    /// The longest life of a binding, and that of one whose phone names none. It is also how long a
    /// phone over UDP may be unreachable after a restart of ours: it is back when it registers again.
    pub max_expires: Duration,
    /// Bindings of one user, at least 1; of one more the longest unrefreshed one goes.
    pub max_bindings: usize,
}

impl Default for PhonePolicy {
    fn default() -> PhonePolicy {
        PhonePolicy {
            realm: "offhook".to_owned(),
            min_expires: Duration::from_secs(60),
            max_expires: Duration::from_secs(600),
            max_bindings: 5,
        }
    }
}

/// Bounds on what those may do who show no password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StrangerPolicy {
    /// Wrong numbers ([`crate::Command::TurnAway`]) of one address (of IPv6: one /64) within five
    /// minutes; what it sends then is refused like a wrong number, until they are over.
    pub guesses_per_source: u32,
    /// Wrong numbers of all together; strangers get 503 then, until the five minutes are over. Addresses are easily
    /// forged: far above what an honest day brings, and above what the caller itself limits.
    pub guesses_in_all: u32,
    /// INVITEs that may wait for the caller's first word at a time; one more gets 503. One that waits
    /// for 10 s is refused with 480.
    pub max_undecided: usize,
}

impl Default for StrangerPolicy {
    fn default() -> StrangerPolicy {
        StrangerPolicy { guesses_per_source: 20, guesses_in_all: 100_000, max_undecided: 512 }
    }
}

/// Who may come in after a digest challenge (RFC 7616, RFC 8760).
#[derive(Clone, Debug)]
pub struct DigestPolicy {
    pub realm: String,
    pub users: BTreeMap<String, DigestUser>,
}

/// HA1 of one user in both algorithms; the password is not kept.
#[derive(Clone, PartialEq, Eq)]
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
