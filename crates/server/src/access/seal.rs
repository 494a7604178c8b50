//! Sealing of secrets that must be used again: callback shared keys, SIP passwords.
//!
//! A sealed value is `1 | key id (4) | nonce (12) | ciphertext and tag`, AES-256-GCM, and belongs to
//! one tenant and one name: moved to another row it does not open. Several keys may be live: the
//! first seals, all open, so a key is replaced by writing the new one above the old.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use engine::vocabulary::TenantId;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest::{SHA256, digest};
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};

const VERSION: u8 = 1;
const HEAD: usize = 1 + 4 + NONCE_LEN;

/// Keys for data at rest.
pub struct Sealer {
    keys: Vec<SealKey>,
}

struct SealKey {
    id: [u8; 4],
    key: LessSafeKey,
    links: hmac::Key,
}

#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error("seal key file {path}: {source}; make it readable for offhook alone")]
    File { path: String, source: std::io::Error },
    #[error("seal key line {line}: not 64 hex digits; `openssl rand -hex 32` makes one")]
    Key { line: usize },
    #[error("no seal key: write at least one line of 64 hex digits")]
    Empty,
    #[error(
        "sealed with key {0}, which is not among the configured ones: add it as a further line"
    )]
    UnknownKey(String),
    #[error("a sealed value is damaged or belongs to another row")]
    Damaged,
    #[error("the system gives no random numbers")]
    NoRandom,
}

impl Sealer {
    /// The keys of `path`, which is made with one new key and mode 0600 where it does not exist.
    pub fn from_file(path: &Path) -> Result<Sealer, SealError> {
        let failed = |source| SealError::File { path: path.display().to_string(), source };
        match fs::read_to_string(path) {
            Ok(text) => Sealer::from_text(&text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let text = format!("{}\n", super::random_hex::<32>()?);
                let mut options = fs::OpenOptions::new();
                let file = options.write(true).create_new(true).mode(0o600).open(path);
                let write = |mut file: fs::File| {
                    file.write_all(text.as_bytes())?;
                    file.sync_all()
                };
                file.and_then(write).map_err(failed)?;
                Sealer::from_text(&text)
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// One key of 64 hex digits per line; the first seals, all open.
    pub fn from_text(text: &str) -> Result<Sealer, SealError> {
        let mut keys = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let bytes = unhex(line).ok_or(SealError::Key { line: index + 1 })?;
            keys.push(SealKey::new(&bytes));
        }
        if keys.is_empty() { Err(SealError::Empty) } else { Ok(Sealer { keys }) }
    }

    /// Seals `secret` for the row (`tenant`, `name`).
    pub fn seal(&self, tenant: TenantId, name: &str, secret: &[u8]) -> Result<Vec<u8>, SealError> {
        let current = self.keys.first().expect("from_text refuses an empty list");
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| SealError::NoRandom)?;
        let mut sealed = Vec::with_capacity(HEAD + secret.len() + 16);
        sealed.push(VERSION);
        sealed.extend(current.id);
        sealed.extend(nonce);
        let mut body = secret.to_vec();
        current
            .key
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                row(tenant, name),
                &mut body,
            )
            .map_err(|_| SealError::Damaged)?;
        sealed.append(&mut body);
        Ok(sealed)
    }

    /// The secret of the row (`tenant`, `name`).
    pub fn open(&self, tenant: TenantId, name: &str, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        if sealed.len() < HEAD || sealed[0] != VERSION {
            return Err(SealError::Damaged);
        }
        let (head, body) = sealed.split_at(HEAD);
        let id = &head[1..5];
        let key = self.keys.iter().find(|key| key.id == id);
        let key = key.ok_or_else(|| SealError::UnknownKey(super::hex(id)))?;
        let nonce = Nonce::try_assume_unique_for_key(&head[5..]).map_err(|_| SealError::Damaged)?;
        let mut body = body.to_vec();
        let opened = key
            .key
            .open_in_place(nonce, row(tenant, name), &mut body)
            .map_err(|_| SealError::Damaged)?;
        Ok(opened.to_vec())
    }

    /// A signature for links that the server hands out, hex.
    pub fn sign_link(&self, link: &str) -> String {
        let current = self.keys.first().expect("from_text refuses an empty list");
        super::hex(hmac::sign(&current.links, link.as_bytes()).as_ref())
    }

    /// Whether [`sign_link`](Sealer::sign_link) made `signature`, under any live key.
    pub fn verify_link(&self, link: &str, signature: &str) -> bool {
        let Some(tag) = unhex(signature) else { return false };
        self.keys.iter().any(|key| hmac::verify(&key.links, link.as_bytes(), &tag).is_ok())
    }
}

impl SealKey {
    fn new(bytes: &[u8; 32]) -> SealKey {
        let fingerprint = digest(&SHA256, bytes);
        let mut id = [0; 4];
        id.copy_from_slice(&fingerprint.as_ref()[..4]);
        let unbound = UnboundKey::new(&AES_256_GCM, bytes).expect("AES-256 takes 32 bytes");
        // One key, one purpose: links are signed under a key derived from this one.
        let derived = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, bytes), b"offhook links");
        let links = hmac::Key::new(hmac::HMAC_SHA256, derived.as_ref());
        SealKey { id, key: LessSafeKey::new(unbound), links }
    }
}

fn row(tenant: TenantId, name: &str) -> Aad<String> {
    Aad::from(format!("{}/{name}", tenant.0))
}

/// 64 hex digits as 32 bytes.
fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "0101010101010101010101010101010101010101010101010101010101010101";
    const NEW: &str = "abababababababababababababababababababababababababababababababab";

    #[test]
    fn a_sealed_value_opens_in_its_own_row_only() {
        let sealer = Sealer::from_text(OLD).unwrap();
        let sealed = sealer.seal(TenantId(1), "callback", b"s3cret").unwrap();
        assert!(!sealed.windows(6).any(|window| window == b"s3cret"));
        assert_eq!(sealer.open(TenantId(1), "callback", &sealed).unwrap(), b"s3cret");
        assert!(matches!(sealer.open(TenantId(2), "callback", &sealed), Err(SealError::Damaged)));
        assert!(matches!(sealer.open(TenantId(1), "other", &sealed), Err(SealError::Damaged)));
    }

    #[test]
    fn any_flipped_bit_and_any_truncation_is_refused() {
        let sealer = Sealer::from_text(OLD).unwrap();
        let sealed = sealer.seal(TenantId(1), "callback", b"s3cret").unwrap();
        for index in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[index] ^= 1;
            assert!(sealer.open(TenantId(1), "callback", &flipped).is_err(), "byte {index}");
            assert!(
                sealer.open(TenantId(1), "callback", &sealed[..index]).is_err(),
                "cut at {index}"
            );
        }
    }

    #[test]
    fn the_old_key_opens_while_the_new_one_seals() {
        let before = Sealer::from_text(OLD).unwrap().seal(TenantId(1), "k", b"x").unwrap();
        let rotated = Sealer::from_text(&format!("{NEW}\n{OLD}\n")).unwrap();
        assert_eq!(rotated.open(TenantId(1), "k", &before).unwrap(), b"x");
        let after = rotated.seal(TenantId(1), "k", b"x").unwrap();
        let done = Sealer::from_text(NEW).unwrap();
        assert_eq!(done.open(TenantId(1), "k", &after).unwrap(), b"x");
        assert!(matches!(done.open(TenantId(1), "k", &before), Err(SealError::UnknownKey(_))));
    }

    #[test]
    fn a_key_file_is_made_once_and_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("seal.key");
        let sealed = Sealer::from_file(&path).unwrap().seal(TenantId(1), "k", b"x").unwrap();
        assert_eq!(
            Sealer::from_file(&path).unwrap().open(TenantId(1), "k", &sealed).unwrap(),
            b"x"
        );
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, "not a key").unwrap();
        assert!(matches!(Sealer::from_file(&path), Err(SealError::Key { line: 1 })));
    }

    #[test]
    fn a_link_is_good_for_its_own_text_only() {
        let sealer = Sealer::from_text(OLD).unwrap();
        let signature = sealer.sign_link("/recordings/7.wav?expires=1");
        assert!(sealer.verify_link("/recordings/7.wav?expires=1", &signature));
        assert!(!sealer.verify_link("/recordings/8.wav?expires=1", &signature));
        assert!(!sealer.verify_link("/recordings/7.wav?expires=1", "zz"));
        assert!(
            !Sealer::from_text(NEW).unwrap().verify_link("/recordings/7.wav?expires=1", &signature)
        );
    }
}
