//! Digest challenges of ours (RFC 7616, RFC 8760): random nonces, each nonce count once, SHA-256
//! offered first and MD5 for old phones, the same answer for a wrong password and an unknown user.

use std::{collections::HashMap, net::IpAddr, time::Instant};

use md5::Md5;
use sha2::{Digest, Sha256};
use sipx_sip::HeaderName;

use crate::{
    DigestPolicy, DigestUser,
    guesses::{Allowance, Guesser, Guesses},
    message::{Request, text},
    nonces::{Nonces, is_equal},
    policy::hex,
    puzzled::Puzzled,
    random::Random,
};

/// Whom logins are checked against.
pub(crate) trait Directory {
    fn realm(&self) -> &str;
    fn user(&self, name: &str) -> Option<&DigestUser>;
    /// Whether this user is logged in from there: guesses of others do not lock it out.
    fn is_at(&self, name: &str, ip: IpAddr) -> bool;
}

#[derive(Debug)]
pub(crate) struct AuthServer {
    nonces: Nonces,
    guesses: Guesses,
    puzzled: Puzzled,
}

/// Of one user name from one source; of all names from one source (an office behind one address has
/// several phones); of everybody.
const ALLOWED: Allowance = Allowance { login: 10, source: 50, everybody: 1000 };

/// In the order of our preference (RFC 8760 §2.4).
const ALGORITHMS: [&str; 2] = ["SHA-256", "MD5"];
const OLD_PHONES: [&str; 1] = ["MD5"];

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Login {
    Accepted(String),
    /// Header lines of the 401.
    Challenge(Vec<(String, String)>),
}

impl Default for AuthServer {
    fn default() -> AuthServer {
        AuthServer {
            nonces: Nonces::default(),
            guesses: Guesses::new(ALLOWED),
            puzzled: Puzzled::default(),
        }
    }
}

impl AuthServer {
    /// Nothing about the user is looked at before the nonce has shown that whoever asks has heard our
    /// challenge at this address: nobody can be locked out by what is sent in his name from elsewhere.
    pub fn check(
        &mut self,
        directory: &impl Directory,
        request: &Request,
        random: &mut Random,
        now: Instant,
    ) -> Login {
        let ip = request.source.remote.ip();
        let Some(given) = text(&request.headers, &HeaderName::Authorization) else {
            let offer = match self.puzzled.has_sent(request, now) {
                true => &OLD_PHONES[..],
                false => &ALGORITHMS,
            };
            return self.challenge(directory, ip, (Stale::No, offer), random, now);
        };
        let given = Authorization::parse(&given);
        let Some(given) = given.filter(|given| given.realm == directory.realm()) else {
            return self.challenge(directory, ip, (Stale::No, &ALGORITHMS), random, now);
        };
        // Whoever took MD5 is not shown again what he may not understand.
        let offer = match given.algorithm {
            Algorithm::Md5 => &OLD_PHONES[..],
            Algorithm::Sha256 => &ALGORITHMS,
        };
        if !self.nonces.is_good(&given.nonce, given.count, ip, random, now) {
            return self.challenge(directory, ip, (Stale::Yes, offer), random, now);
        }
        // The work is done for whoever is locked, too: it takes as long, and says as little.
        let is_right = given.is_right(directory.user(&given.username), request);
        if self.is_locked(directory, &given.username, ip, now) || !is_right {
            self.count_failure(directory, given.username, ip, now);
            return self.challenge(directory, ip, (Stale::No, offer), random, now);
        }
        self.puzzled.logged_in(request);
        self.nonces.use_up(&given.nonce, given.count, now);
        Login::Accepted(given.username)
    }

    fn challenge(
        &mut self,
        directory: &impl Directory,
        ip: IpAddr,
        (stale, offer): (Stale, &[&str]),
        random: &mut Random,
        now: Instant,
    ) -> Login {
        let nonce = self.nonces.give(ip, random, now);
        let realm = directory.realm().replace(['"', '\\', '\r', '\n'], "");
        let stale = match stale {
            Stale::Yes => ", stale=true",
            Stale::No => "",
        };
        let lines = offer.iter().map(|algorithm| {
            let value = format!(
                "Digest realm=\"{realm}\", nonce=\"{nonce}\", algorithm={algorithm}, qop=\"auth\"{stale}"
            );
            ("WWW-Authenticate".to_owned(), value)
        });
        Login::Challenge(lines.collect())
    }

    fn is_locked(&self, directory: &impl Directory, user: &str, ip: IpAddr, now: Instant) -> bool {
        let locked = |guesser: Guesser| self.guesses.is_locked(&guesser, now);
        let by_others = locked(Guesser::Everybody) || locked(Guesser::Source(ip.into()));
        locked(Guesser::login(user, ip)) || (by_others && !directory.is_at(user, ip))
    }

    /// A series ends with its lock: guesses during it change nothing.
    fn count_failure(
        &mut self,
        directory: &impl Directory,
        user: String,
        ip: IpAddr,
        now: Instant,
    ) {
        if self.is_locked(directory, &user, ip, now) {
            return;
        }
        let guessers = [Guesser::Everybody, Guesser::Source(ip.into()), Guesser::login(&user, ip)];
        for guesser in guessers {
            self.guesses.count(guesser, now);
        }
    }
}

/// Whether only the nonce was wrong, as far as was looked (RFC 7616 §3.3).
#[derive(Clone, Copy)]
enum Stale {
    Yes,
    No,
}

impl Directory for DigestPolicy {
    fn realm(&self) -> &str {
        &self.realm
    }

    fn user(&self, name: &str) -> Option<&DigestUser> {
        self.users.get(name)
    }

    fn is_at(&self, _: &str, _: IpAddr) -> bool {
        false
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

    fn is_right(&self, user: Option<&DigestUser>, request: &Request) -> bool {
        let same_uri = sipx_sip::Uri::parse(self.uri.clone().into_bytes().into())
            .is_ok_and(|uri| uri.equivalent(&request.uri));
        // An unknown user costs the same work as a known one.
        let ha1 = match (user, self.algorithm) {
            (Some(user), Algorithm::Md5) => &user.ha1_md5,
            (Some(user), Algorithm::Sha256) => &user.ha1_sha256,
            (None, Algorithm::Md5) => &NOBODY[..32],
            (None, Algorithm::Sha256) => NOBODY,
        };
        let ha2 = self.algorithm.hash(&format!("{}:{}", request.method, self.uri));
        let expected = self
            .algorithm
            .hash(&format!("{ha1}:{}:{}:{}:auth:{ha2}", self.nonce, self.nc, self.cnonce));
        let given = self.response.to_ascii_lowercase();
        is_equal(expected.as_bytes(), given.as_bytes()) && user.is_some() && same_uri
    }
}

/// As long as an HA1 of SHA-256, and nobody's.
const NOBODY: &str = "0000000000000000000000000000000000000000000000000000000000000000";

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
