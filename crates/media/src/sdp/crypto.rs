//! `a=crypto` lines: keys for SRTP in the session description (SDES, RFC 4568).

use crate::srtp::{KeyError, MasterKey, Suite};

/// Packets that a key may protect where its line says nothing: what SRTCP allows (RFC 3711 §9.2), at 50 a second for a year.
const LIFETIME: u64 = 1 << 31;
/// The most that a line may say.
const LONGEST_LIFETIME: u64 = 1 << 48;
/// Longest master key identifier, in bytes (RFC 4568 §9.2).
const LONGEST_MKI: usize = 128;
/// Lines of one description that are read.
const MOST_LINES: usize = 16;

/// One line that can be used. Shows no key in its `Debug`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CryptoLine {
    /// Names the line: the answer repeats the tag of the one it takes.
    pub tag: u32,
    /// What the side that says it encrypts with.
    pub key: MasterKey,
    /// Packets after which the key is worn out.
    pub lifetime: u64,
    /// What stands behind each packet to name the key; mostly empty.
    pub mki: Vec<u8>,
}

/// What a description says of keys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Crypto {
    /// In the order of preference of whoever says it.
    pub lines: Vec<CryptoLine>,
    /// Why the first of the others is of no use.
    pub refused: Option<CryptoError>,
}

/// Why a line cannot be used; whoever wrote it is at fault. Repeats nothing of the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CryptoError {
    #[error("it is not written as RFC 4568 says")]
    Syntax,
    #[error("the suite {0:?} is unknown, or too weak to be used")]
    Suite(String),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("it has several master keys, and one is what this server takes")]
    SeveralKeys,
    #[error("the key's lifetime is no number of packets from 1 to 2^48")]
    Lifetime,
    #[error("the master key identifier is no number of 1 to {LONGEST_MKI} bytes")]
    Mki,
    #[error("the session parameter {0:?} is unknown, or would weaken the protection")]
    Parameter(String),
}

impl CryptoLine {
    /// A line of ours.
    pub fn new(tag: u32, key: MasterKey) -> CryptoLine {
        CryptoLine { tag, key, lifetime: LIFETIME, mki: Vec::new() }
    }

    /// The attribute's value, for a line of ours: without lifetime and MKI.
    pub fn value(&self) -> String {
        format!("{} {} inline:{}", self.tag, self.key.suite().name(), self.key.to_base64())
    }

    /// Reads the value of an `a=crypto`.
    pub fn parse(value: &str) -> Result<CryptoLine, CryptoError> {
        let mut words = value.split_ascii_whitespace();
        let (Some(tag), Some(suite), Some(key)) = (words.next(), words.next(), words.next()) else {
            return Err(CryptoError::Syntax);
        };
        let is_tag = (1..=9).contains(&tag.len()) && tag.bytes().all(|byte| byte.is_ascii_digit());
        let tag = tag.parse().ok().filter(|_| is_tag).ok_or(CryptoError::Syntax)?;
        let suite = Suite::of_name(suite).ok_or_else(|| CryptoError::Suite(shortened(suite)))?;
        if key.contains(';') {
            return Err(CryptoError::SeveralKeys);
        }
        // RFC 4568 knows no other method.
        let mut parts = strip_prefix(key, "inline:").ok_or(CryptoError::Syntax)?.split('|');
        let key = MasterKey::from_base64(suite, parts.next().unwrap_or_default())?;
        let mut line = CryptoLine::new(tag, key);
        // Both may be missing, and a lifetime has no colon.
        let mut part = parts.next();
        if let Some(text) = part.filter(|text| !text.contains(':')) {
            line.lifetime = lifetime(text).ok_or(CryptoError::Lifetime)?;
            part = parts.next();
        }
        if let Some(text) = part {
            line.mki = mki(text).ok_or(CryptoError::Mki)?;
        }
        if parts.next().is_some() {
            return Err(CryptoError::Syntax);
        }
        match words.find(|parameter| !is_harmless(parameter)) {
            Some(parameter) => Err(CryptoError::Parameter(shortened(parameter))),
            None => Ok(line),
        }
    }
}

impl Crypto {
    /// Reads the values of a description's lines.
    pub(super) fn read<'a>(values: impl Iterator<Item = &'a str>) -> Crypto {
        let mut crypto = Crypto::default();
        for value in values.take(MOST_LINES) {
            match CryptoLine::parse(value) {
                Ok(line) => crypto.lines.push(line),
                Err(error) => {
                    crypto.refused.get_or_insert(error);
                }
            }
        }
        crypto
    }

    /// Whether it says anything of keys at all.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.refused.is_none()
    }
}

/// `2^20` or a plain number.
fn lifetime(text: &str) -> Option<u64> {
    let packets = match text.split_once('^') {
        Some(("2", power)) => 1u64.checked_shl(power.parse().ok()?)?,
        Some(_) => return None,
        None => text.parse().ok()?,
    };
    (1..=LONGEST_LIFETIME).contains(&packets).then_some(packets)
}

/// `1:4`: the number 1 in four bytes.
fn mki(text: &str) -> Option<Vec<u8>> {
    let (value, length) = text.split_once(':')?;
    let (value, length): (u64, usize) = (value.parse().ok()?, length.parse().ok()?);
    let bytes = value.to_be_bytes();
    if !(1..=LONGEST_MKI).contains(&length) {
        return None;
    }
    let spare = bytes.len().saturating_sub(length);
    if bytes[..spare].iter().any(|&byte| byte != 0) {
        return None;
    }
    let mut mki = vec![0; length.saturating_sub(bytes.len())];
    mki.extend_from_slice(&bytes[spare..]);
    Some(mki)
}

/// A session parameter that one may pass over (RFC 4568 §6.3): a key derivation rate of none, a hint on the replay window,
/// forward error correction that comes with a stream of its own, and what its author calls optional.
fn is_harmless(parameter: &str) -> bool {
    parameter.starts_with('-') || parameter == "KDR=0" || parameter.starts_with("WSH=")
}

fn strip_prefix<'t>(text: &'t str, prefix: &str) -> Option<&'t str> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// Enough of a word to know it by.
fn shortened(word: &str) -> String {
    word.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj";

    #[test]
    fn the_examples_of_rfc_4568_are_read() {
        let line = CryptoLine::parse(&format!(
            "1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20|1:4 FEC_ORDER=FEC_SRTP"
        ));
        assert_eq!(line, Err(CryptoError::Parameter("FEC_ORDER=FEC_SRTP".into())));
        let line =
            CryptoLine::parse(&format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^20|1:4 WSH=64"))
                .unwrap();
        assert_eq!((line.tag, line.lifetime, line.mki), (1, 1 << 20, vec![0, 0, 0, 1]));
        assert_eq!(line.key.to_base64(), KEY);
    }

    #[test]
    fn lifetime_and_mki_may_each_be_missing() {
        let parse = |tail: &str| {
            let line = CryptoLine::parse(&format!("7 aes_cm_128_hmac_sha1_80 INLINE:{KEY}{tail}"));
            line.map(|line| (line.lifetime, line.mki))
        };
        assert_eq!(parse(""), Ok((LIFETIME, vec![])));
        assert_eq!(parse("|1048576"), Ok((1 << 20, vec![])));
        assert_eq!(parse("|258:2"), Ok((LIFETIME, vec![1, 2])));
        assert_eq!(parse("|5:10"), Ok((LIFETIME, vec![0, 0, 0, 0, 0, 0, 0, 0, 0, 5])));
        for tail in ["|0", "|2^49", "|2^99", "|3^2", "|", "|-1"] {
            assert_eq!(parse(tail), Err(CryptoError::Lifetime), "{tail}");
        }
        for tail in ["|256:1", "|1:0", "|1:129", "|x:4", "|2^20|4"] {
            assert_eq!(parse(tail), Err(CryptoError::Mki), "{tail}");
        }
        assert_eq!(parse("|2^20|1:1|1:1"), Err(CryptoError::Syntax));
    }

    #[test]
    fn broken_and_weak_lines_are_refused_and_their_keys_not_repeated() {
        let suite = "AES_CM_128_HMAC_SHA1_80";
        let zero = "A".repeat(40);
        let table = [
            (String::new(), CryptoError::Syntax),
            (format!("1 {suite}"), CryptoError::Syntax),
            (format!("x {suite} inline:{KEY}"), CryptoError::Syntax),
            (format!("1234567890 {suite} inline:{KEY}"), CryptoError::Syntax),
            (format!("1 {suite} prompt:{KEY}"), CryptoError::Syntax),
            (format!("1 {suite} inline:{KEY}|1:1;inline:{KEY}|2:1"), CryptoError::SeveralKeys),
            (format!("1 {suite} inline:{zero}"), KeyError::Weak.into()),
            (format!("1 {suite} inline:%%"), KeyError::NotBase64.into()),
            (
                format!("1 F8_128_HMAC_SHA1_80 inline:{KEY}"),
                CryptoError::Suite("F8_128_HMAC_SHA1_80".into()),
            ),
            (
                format!("1 AES_CM_128_HMAC_SHA1_32 inline:{KEY}"),
                CryptoError::Suite("AES_CM_128_HMAC_SHA1_32".into()),
            ),
            (
                format!("1 {suite} inline:{KEY} UNENCRYPTED_SRTP"),
                CryptoError::Parameter("UNENCRYPTED_SRTP".into()),
            ),
            (
                format!("1 {suite} inline:{KEY} UNENCRYPTED_SRTCP"),
                CryptoError::Parameter("UNENCRYPTED_SRTCP".into()),
            ),
            (
                format!("1 {suite} inline:{KEY} UNAUTHENTICATED_SRTP"),
                CryptoError::Parameter("UNAUTHENTICATED_SRTP".into()),
            ),
            (format!("1 {suite} inline:{KEY} KDR=1"), CryptoError::Parameter("KDR=1".into())),
        ];
        for (value, error) in table {
            let found = CryptoLine::parse(&value).unwrap_err();
            assert_eq!(found, error, "{value}");
            assert!(!found.to_string().contains(KEY) && !format!("{found:?}").contains(KEY));
        }
        let long = CryptoLine::parse(&format!("1 AEAD_AES_256_GCM inline:{KEY}")).unwrap_err();
        let suite = Suite::AeadAes256Gcm;
        assert_eq!(long, KeyError::Length { suite, found: 30, wanted: 44 }.into());
    }

    #[test]
    fn our_lines_are_read_as_they_were_meant_and_show_no_key() {
        for (tag, suite) in (1..).zip(Suite::ALL) {
            let line = CryptoLine::new(tag, MasterKey::random(suite));
            assert_eq!(CryptoLine::parse(&line.value()).as_ref(), Ok(&line));
            assert!(!format!("{line:?}").contains(&line.key.to_base64()[..8]));
            assert_ne!(MasterKey::random(suite), line.key);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,80}", tail in "[|:;^0-9 a-zA-Z=-]{0,40}") {
            // What it says does not matter here.
            let _ = CryptoLine::parse(&text);
            let _ = CryptoLine::parse(&format!("1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}{tail}"));
        }
    }
}
