//! Digest challenges of ours (RFC 7616, RFC 8760): random nonces, each nonce count once, SHA-256
//! offered first and MD5 for old phones, the same answer for a wrong password and an unknown user.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    net::IpAddr,
    time::{Duration, Instant},
};

use md5::Md5;
use sha2::{Digest, Sha256};
use sipx_sip::HeaderName;

use crate::{
    message::{Request, text},
    policy::{DigestPolicy, hex},
    random::Random,
};

const NONCE_LIFE: Duration = Duration::from_secs(300);
const MAX_NONCES: usize = 20_000;
const MAX_FAILURES: u32 = 10;
const FAILURE_WINDOW: Duration = Duration::from_secs(300);
/// Guessers that are remembered at a time.
const MAX_GUESSERS: usize = 10_000;

#[derive(Debug, Default)]
pub(crate) struct AuthServer {
    nonces: HashMap<String, Nonce>,
    oldest_first: VecDeque<(Instant, String)>,
    failures: BTreeMap<(String, IpAddr), Failures>,
}

#[derive(Debug)]
struct Nonce {
    last_count: u32,
}

#[derive(Debug)]
struct Failures {
    count: u32,
    since: Instant,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Login {
    Accepted(String),
    /// Header lines of the 401.
    Challenge(Vec<(String, String)>),
}

impl AuthServer {
    pub fn check(
        &mut self,
        policy: &DigestPolicy,
        request: &Request,
        random: &mut Random,
        now: Instant,
    ) -> Login {
        self.forget_old(now);
        let given = text(&request.headers, &HeaderName::Authorization)
            .and_then(|value| Authorization::parse(&value));
        let Some(given) = given.filter(|given| given.realm == policy.realm) else {
            return self.challenge(policy, false, random, now);
        };
        let guesser = (given.username.clone(), request.source.remote.ip());
        if self.is_locked(&guesser, now) {
            return self.challenge(policy, false, random, now);
        }
        if !given.is_right(policy, request) {
            self.count_failure(guesser, now);
            return self.challenge(policy, false, random, now);
        }
        // The password is right; now the nonce has to be ours and its count new.
        match self.nonces.get_mut(&given.nonce) {
            Some(nonce) if given.count > nonce.last_count => {
                nonce.last_count = given.count;
                Login::Accepted(given.username)
            }
            Some(_) | None => self.challenge(policy, true, random, now),
        }
    }

    fn challenge(
        &mut self,
        policy: &DigestPolicy,
        stale: bool,
        random: &mut Random,
        now: Instant,
    ) -> Login {
        let nonce = format!("{}{}", random.token(), random.token());
        if self.nonces.len() >= MAX_NONCES
            && let Some((_, oldest)) = self.oldest_first.pop_front()
        {
            self.nonces.remove(&oldest);
        }
        self.oldest_first.push_back((now, nonce.clone()));
        self.nonces.insert(nonce.clone(), Nonce { last_count: 0 });
        let realm = policy.realm.replace(['"', '\\', '\r', '\n'], "");
        let stale = if stale { ", stale=true" } else { "" };
        let lines = ["SHA-256", "MD5"].map(|algorithm| {
            let value = format!(
                "Digest realm=\"{realm}\", nonce=\"{nonce}\", algorithm={algorithm}, qop=\"auth\"{stale}"
            );
            ("WWW-Authenticate".to_owned(), value)
        });
        Login::Challenge(lines.into())
    }

    fn forget_old(&mut self, now: Instant) {
        while let Some((issued, _)) = self.oldest_first.front()
            && now.duration_since(*issued) > NONCE_LIFE
        {
            if let Some((_, nonce)) = self.oldest_first.pop_front() {
                self.nonces.remove(&nonce);
            }
        }
    }

    fn is_locked(&self, guesser: &(String, IpAddr), now: Instant) -> bool {
        self.failures.get(guesser).is_some_and(|failures| {
            failures.count >= MAX_FAILURES && now.duration_since(failures.since) < FAILURE_WINDOW
        })
    }

    fn count_failure(&mut self, guesser: (String, IpAddr), now: Instant) {
        if self.failures.len() >= MAX_GUESSERS {
            self.failures.retain(|_, failures| now.duration_since(failures.since) < FAILURE_WINDOW);
        }
        if self.failures.len() >= MAX_GUESSERS {
            self.failures.pop_first();
        }
        let failures = self.failures.entry(guesser).or_insert(Failures { count: 0, since: now });
        if now.duration_since(failures.since) >= FAILURE_WINDOW {
            *failures = Failures { count: 0, since: now };
        }
        failures.count += 1;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Algorithm {
    Md5,
    Sha256,
}

impl Algorithm {
    fn hash(self, text: &str) -> String {
        match self {
            Algorithm::Md5 => hex(&Md5::digest(text)),
            Algorithm::Sha256 => hex(&Sha256::digest(text)),
        }
    }
}

/// An Authorization header with qop=auth; anything else is not accepted.
#[derive(Debug)]
struct Authorization {
    username: String,
    realm: String,
    nonce: String,
    uri: String,
    response: String,
    algorithm: Algorithm,
    cnonce: String,
    nc: String,
    count: u32,
}

impl Authorization {
    fn parse(value: &str) -> Option<Authorization> {
        let (scheme, rest) = value.trim().split_once(char::is_whitespace)?;
        if !scheme.eq_ignore_ascii_case("Digest") {
            return None;
        }
        let mut params = parameters(rest);
        let mut take = |name: &str| params.remove(name);
        let algorithm = match take("algorithm") {
            None => Algorithm::Md5,
            Some(name) if name.eq_ignore_ascii_case("MD5") => Algorithm::Md5,
            Some(name) if name.eq_ignore_ascii_case("SHA-256") => Algorithm::Sha256,
            Some(_) => return None,
        };
        if !take("qop")?.eq_ignore_ascii_case("auth") {
            return None;
        }
        let nc = take("nc")?;
        Some(Authorization {
            username: take("username")?,
            realm: take("realm")?,
            nonce: take("nonce")?,
            uri: take("uri")?,
            response: take("response")?,
            cnonce: take("cnonce")?,
            count: u32::from_str_radix(&nc, 16).ok()?,
            nc,
            algorithm,
        })
    }

    fn is_right(&self, policy: &DigestPolicy, request: &Request) -> bool {
        let same_uri = sipx_sip::Uri::parse(self.uri.clone().into_bytes().into())
            .is_ok_and(|uri| uri.equivalent(&request.uri));
        let user = policy.users.get(&self.username);
        // An unknown user costs the same work as a known one.
        let ha1 = match (user, self.algorithm) {
            (Some(user), Algorithm::Md5) => &user.ha1_md5,
            (Some(user), Algorithm::Sha256) => &user.ha1_sha256,
            (None, Algorithm::Md5 | Algorithm::Sha256) => "none",
        };
        let ha2 = self.algorithm.hash(&format!("{}:{}", request.method, self.uri));
        let expected = self
            .algorithm
            .hash(&format!("{ha1}:{}:{}:{}:auth:{ha2}", self.nonce, self.nc, self.cnonce));
        let given = self.response.to_ascii_lowercase();
        is_equal(expected.as_bytes(), given.as_bytes()) && user.is_some() && same_uri
    }
}

/// In a time that does not tell where the first difference is.
fn is_equal(a: &[u8], b: &[u8]) -> bool {
    let difference = a.iter().zip(b).fold(0, |seen, (a, b)| seen | (a ^ b));
    a.len() == b.len() && std::hint::black_box(difference) == 0
}

/// `name=value` pairs, quoted or not, names in lower case.
fn parameters(text: &str) -> HashMap<String, String> {
    let mut out = HashMap::new();
    let mut rest = text;
    while let Some((name, after)) = rest.split_once('=') {
        let name = name.trim_matches([',', ' ', '\t']).to_ascii_lowercase();
        let after = after.trim_start();
        let (value, left) = match after.strip_prefix('"') {
            Some(quoted) => unquoted(quoted),
            None => {
                let end = after.find(',').unwrap_or(after.len());
                (after[..end].trim().to_owned(), &after[end..])
            }
        };
        out.insert(name, value);
        rest = left;
    }
    out
}

/// The text up to the closing quote, unescaped, and what follows it.
fn unquoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, escaped)| escaped)),
            _ => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_quoted_and_plain_parameters() {
        let params = parameters(r#"username="a\"b,c", nc=00000001 ,qop=auth, uri="sip:x=y""#);
        assert_eq!(params["username"], "a\"b,c");
        assert_eq!(params["nc"], "00000001");
        assert_eq!(params["qop"], "auth");
        assert_eq!(params["uri"], "sip:x=y");
    }

    proptest! {
        #[test]
        fn never_panics(value in ".*") {
            let _ = Authorization::parse(&value);
            let _ = parameters(&value);
        }
    }
}
