//! Random values from a seed, so that a simulated world repeats itself.

use sha2::{Digest, Sha256};

/// A keyed generator: values cannot be foretold from earlier ones without the seed, which nonces
/// need. In production the seed comes from the operating system.
#[derive(Debug)]
pub(crate) struct Random {
    key: [u8; 32],
    counter: u64,
    block: [u8; 32],
    used: usize,
}

impl Random {
    pub fn new(seed: u64) -> Random {
        Random {
            key: Sha256::digest(seed.to_be_bytes()).into(),
            counter: 0,
            block: [0; 32],
            used: 32,
        }
    }

    pub fn next(&mut self) -> u64 {
        if self.used == 32 {
            self.counter += 1;
            let mut hash = Sha256::new();
            hash.update(self.key);
            hash.update(self.counter.to_be_bytes());
            self.block = hash.finalize().into();
            self.used = 0;
        }
        let mut word = [0; 8];
        word.copy_from_slice(&self.block[self.used..self.used + 8]);
        self.used += 8;
        u64::from_be_bytes(word)
    }

    /// 64 random bits as a token.
    pub fn token(&mut self) -> String {
        format!("{:016x}", self.next())
    }

    /// From `low` up to but not including `high`; `low < high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low)
    }

    /// A tag that depends only on the seed and `text`: what a stateless answer needs.
    pub fn tag_for(&self, text: &[u8]) -> String {
        let mut hash = Sha256::new();
        hash.update(self.key);
        hash.update(text);
        crate::policy::hex(&hash.finalize()[..8])
    }
}
