//! Encryption and authentication of one packet whose index is known. Knows no streams and no windows.

use aes::cipher::{BlockEncrypt, StreamCipher as _, consts::U16};
use aes::cipher::{InnerIvInit as _, KeyInit, StreamCipherCoreWrapper};
use aes::{Aes128Enc, Aes256Enc};
use ctr::CtrCore;
use ctr::flavors::Ctr128BE;
use hmac::{Hmac, Mac as _};
use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use sha1::Sha1;

use super::keys::{MasterKey, Suite};

/// Bytes of an authentication key (RFC 3711 §4.2.1).
const AUTHENTICATION_KEY: usize = 20;

/// The longest tag.
pub(super) const LONGEST_TAG: usize = 16;

/// Session keys of one direction (RFC 3711 §4.3).
pub(super) struct Session {
    pub rtp: Cipher,
    pub rtcp: Cipher,
}

impl Session {
    pub(super) fn new(master: &MasterKey) -> Self {
        Session {
            rtp: Cipher::derived(master, [0x00, 0x01, 0x02]),
            rtcp: Cipher::derived(master, [0x03, 0x04, 0x05]),
        }
    }
}

/// Which packet of a stream it is.
#[derive(Clone, Copy)]
pub(super) enum Index {
    /// Rollover counter and sequence number: 48 bits.
    Rtp(u64),
    /// 31 bits; the packet is encrypted.
    Rtcp(u32),
}

/// The bit of the ESRTCP word that says that the packet is encrypted.
pub(super) const ENCRYPTED: u32 = 1 << 31;

impl Index {
    fn number(self) -> u64 {
        match self {
            Index::Rtp(index) => index,
            Index::Rtcp(index) => u64::from(index),
        }
    }

    /// What is authenticated besides the packet: the rollover counter, which does not travel, or the ESRTCP word.
    fn word(self) -> [u8; 4] {
        match self {
            Index::Rtp(index) => ((index >> 16) as u32).to_be_bytes(),
            Index::Rtcp(index) => (index | ENCRYPTED).to_be_bytes(),
        }
    }
}

/// A packet's tag.
pub(super) struct Tag {
    bytes: [u8; LONGEST_TAG],
    length: usize,
}

impl Tag {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// One session key with what belongs to it.
pub(super) enum Cipher {
    Counter { keystream: Keystream, salt: [u8; 14], hmac: Hmac<Sha1> },
    Gcm { key: Box<LessSafeKey>, salt: [u8; 12] },
}

impl Cipher {
    /// The session keys of three labels: encryption, authentication, salt.
    fn derived(master: &MasterKey, [encryption, authentication, salting]: [u8; 3]) -> Self {
        let prf = Keystream::new(master.key());
        let derive = |label, out: &mut [u8]| prf.derive(master.salt(), label, out);
        let mut key = [0; 32];
        let key = &mut key[..master.key().len()];
        derive(encryption, key);
        match master.suite() {
            Suite::AesCm128HmacSha1 | Suite::AesCm256HmacSha1 => {
                let (mut salt, mut authenticating) = ([0; 14], [0; AUTHENTICATION_KEY]);
                derive(salting, &mut salt);
                derive(authentication, &mut authenticating);
                Cipher::counter(key, salt, &authenticating)
            }
            Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => {
                let mut salt = [0; 12];
                derive(salting, &mut salt);
                Cipher::gcm(key, salt)
            }
        }
    }

    pub(super) fn counter(key: &[u8], salt: [u8; 14], authentication: &[u8]) -> Self {
        let hmac = <Hmac<Sha1> as KeyInit>::new_from_slice(authentication);
        let hmac = hmac.expect("HMAC takes a key of any length");
        Cipher::Counter { keystream: Keystream::new(key), salt, hmac }
    }

    pub(super) fn gcm(key: &[u8], salt: [u8; 12]) -> Self {
        let algorithm = if key.len() == 16 { &AES_128_GCM } else { &AES_256_GCM };
        let key = UnboundKey::new(algorithm, key).expect("the key is as long as its suite says");
        Cipher::Gcm { key: Box::new(LessSafeKey::new(key)), salt }
    }

    /// Encrypts `packet` behind its first `clear` bytes; returns its tag.
    pub(super) fn seal(&self, index: Index, ssrc: u32, clear: usize, packet: &mut [u8]) -> Tag {
        match self {
            Cipher::Counter { keystream, salt, hmac } => {
                keystream.apply(&counter_iv(salt, ssrc, index), &mut packet[clear..]);
                let mac = hmac.clone().chain_update(&*packet).chain_update(index.word());
                let mut bytes = [0; LONGEST_TAG];
                bytes[..10].copy_from_slice(&mac.finalize().into_bytes()[..10]);
                Tag { bytes, length: 10 }
            }
            Cipher::Gcm { key, salt } => {
                let (head, body) = packet.split_at_mut(clear);
                let nonce = gcm_nonce(salt, ssrc, index);
                let sealed = match index {
                    Index::Rtp(_) => key.seal_in_place_separate_tag(nonce, Aad::from(&*head), body),
                    Index::Rtcp(_) => {
                        let aad = Aad::from(rtcp_aad(head, index));
                        key.seal_in_place_separate_tag(nonce, aad, body)
                    }
                };
                let tag = sealed.expect("a packet is shorter than what GCM takes");
                let mut bytes = [0; LONGEST_TAG];
                bytes.copy_from_slice(tag.as_ref());
                Tag { bytes, length: LONGEST_TAG }
            }
        }
    }

    /// Decrypts `packet` behind its first `clear` bytes; false, and `packet` is spoilt, where the tag is not its own.
    pub(super) fn open(
        &self,
        index: Index,
        ssrc: u32,
        clear: usize,
        packet: &mut [u8],
        tag: &[u8],
    ) -> bool {
        match self {
            Cipher::Counter { keystream, salt, hmac } => {
                let mac = hmac.clone().chain_update(&*packet).chain_update(index.word());
                // Compared in constant time.
                let authentic = mac.verify_truncated_left(tag).is_ok();
                if authentic {
                    keystream.apply(&counter_iv(salt, ssrc, index), &mut packet[clear..]);
                }
                authentic
            }
            Cipher::Gcm { key, salt } => {
                let Ok(tag) = tag.try_into() else { return false };
                let (head, body) = packet.split_at_mut(clear);
                let nonce = gcm_nonce(salt, ssrc, index);
                let opened = match index {
                    Index::Rtp(_) => {
                        key.open_in_place_separate_tag(nonce, Aad::from(&*head), tag, body, 0..)
                    }
                    Index::Rtcp(_) => {
                        let aad = Aad::from(rtcp_aad(head, index));
                        key.open_in_place_separate_tag(nonce, aad, tag, body, 0..)
                    }
                };
                opened.is_ok()
            }
        }
    }
}

/// Where the parts behind a packet stand. Counter mode puts its tag last, GCM right behind what it encrypts (RFC 7714 §8.2,
/// §9.2); the master key identifier (MKI) follows the ESRTCP word in both.
impl Cipher {
    /// MKI and tag behind an RTP packet.
    pub(super) fn rtp_trailer<'t>(&self, trailer: &'t [u8], tag: usize) -> (&'t [u8], &'t [u8]) {
        match self {
            Cipher::Counter { .. } => trailer.split_at(trailer.len() - tag),
            Cipher::Gcm { .. } => {
                let (tag, mki) = trailer.split_at(tag);
                (mki, tag)
            }
        }
    }

    /// ESRTCP word, MKI and tag behind an RTCP packet.
    pub(super) fn rtcp_trailer<'t>(
        &self,
        trailer: &'t [u8],
        tag: usize,
    ) -> (&'t [u8], &'t [u8], &'t [u8]) {
        match self {
            Cipher::Counter { .. } => {
                let (word, rest) = trailer.split_at(4);
                let (mki, tag) = rest.split_at(rest.len() - tag);
                (word, mki, tag)
            }
            Cipher::Gcm { .. } => {
                let (tag, rest) = trailer.split_at(tag);
                let (word, mki) = rest.split_at(4);
                (word, mki, tag)
            }
        }
    }

    /// Writes ESRTCP word and tag behind an RTCP packet of ours, which has no MKI.
    pub(super) fn append_rtcp_trailer(&self, packet: &mut Vec<u8>, index: Index, tag: &Tag) {
        match self {
            Cipher::Counter { .. } => {
                packet.extend_from_slice(&index.word());
                packet.extend_from_slice(tag.bytes());
            }
            Cipher::Gcm { .. } => {
                packet.extend_from_slice(tag.bytes());
                packet.extend_from_slice(&index.word());
            }
        }
    }
}

/// RFC 3711 §4.1.1: salt · 2^16 ⊕ SSRC · 2^64 ⊕ index · 2^16.
fn counter_iv(salt: &[u8; 14], ssrc: u32, index: Index) -> [u8; 16] {
    let mut iv = [0; 16];
    iv[..14].copy_from_slice(salt);
    xor(&mut iv[4..8], &ssrc.to_be_bytes());
    xor(&mut iv[8..14], &index.number().to_be_bytes()[2..]);
    iv
}

/// RFC 7714 §8.1 and §9.1: SSRC and index, right-justified, ⊕ salt.
fn gcm_nonce(salt: &[u8; 12], ssrc: u32, index: Index) -> Nonce {
    let mut nonce = *salt;
    xor(&mut nonce[2..6], &ssrc.to_be_bytes());
    xor(&mut nonce[6..], &index.number().to_be_bytes()[2..]);
    Nonce::assume_unique_for_key(nonce)
}

/// RFC 7714 §9.2: the first eight bytes and the ESRTCP word.
fn rtcp_aad(head: &[u8], index: Index) -> [u8; 12] {
    let mut aad = [0; 12];
    aad[..8].copy_from_slice(head);
    aad[8..].copy_from_slice(&index.word());
    aad
}

fn xor(bytes: &mut [u8], with: &[u8]) {
    bytes.iter_mut().zip(with).for_each(|(byte, with)| *byte ^= with);
}

/// AES in counter mode, keyed. Boxed: the round keys are large.
pub(super) enum Keystream {
    Aes128(Box<Aes128Enc>),
    Aes256(Box<Aes256Enc>),
}

impl Keystream {
    /// The key is 16 or 32 bytes long.
    pub(super) fn new(key: &[u8]) -> Self {
        const LENGTH: &str = "the key is as long as its suite says";
        if key.len() == 16 {
            Keystream::Aes128(Box::new(Aes128Enc::new_from_slice(key).expect(LENGTH)))
        } else {
            Keystream::Aes256(Box::new(Aes256Enc::new_from_slice(key).expect(LENGTH)))
        }
    }

    pub(super) fn apply(&self, iv: &[u8; 16], data: &mut [u8]) {
        match self {
            Keystream::Aes128(aes) => apply(&**aes, iv, data),
            Keystream::Aes256(aes) => apply(&**aes, iv, data),
        }
    }

    /// RFC 3711 §4.3.1 with a key derivation rate of 0; RFC 7714 §11 for a salt of 12 bytes.
    pub(super) fn derive(&self, salt: &[u8], label: u8, out: &mut [u8]) {
        let mut iv = [0; 16];
        iv[..salt.len()].copy_from_slice(salt);
        iv[7] ^= label;
        out.fill(0);
        self.apply(&iv, out);
    }
}

fn apply<C>(aes: &C, iv: &[u8; 16], data: &mut [u8])
where
    C: BlockEncrypt<BlockSize = U16> + aes::cipher::BlockCipher,
{
    let core = CtrCore::<&C, Ctr128BE>::inner_iv_init(aes, iv.into());
    StreamCipherCoreWrapper::from_core(core).apply_keystream(data);
}
