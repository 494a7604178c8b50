//! Phones that give up over a challenge because SHA-256 is offered in it, instead of taking the MD5 beside it
//! (RFC 8760 §2.4 says what they should do). They are offered MD5 alone.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    time::{Duration, Instant},
};

use sipx_sip::HeaderName;

use crate::{
    guesses::Network,
    message::{Request, text},
};

/// Who was challenged and has not logged in: such a phone comes again without a password.
#[derive(Debug, Default)]
pub(crate) struct Puzzled {
    challenged: BTreeMap<u64, (u32, Instant)>,
}

/// How long a phone may take to come again.
const MEMORY: Duration = Duration::from_secs(300);
/// Those challenged that are remembered at a time; a flood costs the others no more than their second try.
const MAX: usize = 4096;
/// Which are known for it: libre before it learnt SHA-256, as in Debian 12.
const KNOWN: [&str; 2] = ["baresip v0.", "baresip v1."];

impl Puzzled {
    /// Whether a request without a password comes from such a phone. It is remembered as challenged.
    pub fn has_sent(&mut self, request: &Request, now: Instant) -> bool {
        let agent = text(&request.headers, &HeaderName::UserAgent).unwrap_or_default();
        if KNOWN.iter().any(|known| agent.starts_with(known)) {
            return true;
        }
        if self.challenged.len() >= MAX {
            self.challenged.retain(|_, (_, at)| now.duration_since(*at) < MEMORY);
        }
        if self.challenged.len() >= MAX {
            self.challenged.pop_first();
        }
        let first = self.challenged.entry(key(request)).or_insert((request.cseq, now));
        if now.duration_since(first.1) >= MEMORY {
            *first = (request.cseq, now);
        }
        // The same number again is a copy of the network's making.
        request.cseq > first.0
    }

    /// It has found its way.
    pub fn logged_in(&mut self, request: &Request) {
        self.challenged.remove(&key(request));
    }
}

fn key(request: &Request) -> u64 {
    let mut hasher = DefaultHasher::new();
    request.call_id.hash(&mut hasher);
    Network::from(request.source.remote.ip()).hash(&mut hasher);
    hasher.finish()
}
