//! Answers to digest challenges (RFC 3261 §22, RFC 7616, RFC 8760).

use std::net::IpAddr;

use sipx_sip::{
    HeaderName, Headers,
    auth::{self, Challenge},
};

use crate::{Credentials, message::Response, random::Random};

/// One leg's or registration's way through challenges. Bounded: each realm is answered once, and
/// once more where the server says that only the nonce was stale.
#[derive(Clone, Debug)]
pub(crate) struct AuthClient {
    credentials: Option<Credentials>,
    /// Challenges from elsewhere are not answered.
    dialled: IpAddr,
    realms: Vec<Realm>,
}

#[derive(Clone, Debug)]
struct Realm {
    challenge: Challenge,
    nonce_count: u32,
    /// Answers given for the present request.
    tries: u8,
}

/// Realms between us and the far side that are answered at the same time.
const MAX_REALMS: usize = 3;

impl AuthClient {
    pub fn new(credentials: Option<Credentials>, dialled: IpAddr) -> AuthClient {
        AuthClient { credentials, dialled, realms: Vec::new() }
    }

    /// The same login for a request that no challenge is known for.
    pub fn fresh(&self) -> AuthClient {
        AuthClient::new(self.credentials.clone(), self.dialled)
    }

    /// The same login for another target of the same trunk; its challenges are its own.
    pub fn towards(&self, dialled: IpAddr) -> AuthClient {
        AuthClient::new(self.credentials.clone(), dialled)
    }

    /// A request of its own, later: known nonces are used again, and one more challenge per realm
    /// is answered.
    pub fn next_request(&mut self) {
        for realm in &mut self.realms {
            realm.tries = 0;
        }
    }

    /// Takes the challenges of a 401 or 407 to a request that went to `sent_to`; `false` where
    /// there is nothing more to say.
    pub fn challenged(&mut self, response: &Response, sent_to: IpAddr) -> bool {
        let from_proxy = match response.status {
            401 => false,
            407 => true,
            _ => return false,
        };
        let Some(credentials) = &self.credentials else {
            return false;
        };
        if response.source.remote.ip() != self.dialled || sent_to != self.dialled {
            return false;
        }
        let mut challenges = challenges(&response.headers, from_proxy);
        challenges.retain(|challenge| {
            let wanted = credentials.realm.as_ref();
            wanted.is_none_or(|realm| *realm == challenge.realm)
        });
        match auth::strongest(challenges) {
            Some(challenge) => self.take(challenge),
            None => false,
        }
    }

    /// Header lines for the next request. The digest covers its method and Request-URI.
    pub fn headers(
        &mut self,
        random: &mut Random,
        method: &str,
        uri: &str,
    ) -> Vec<(String, String)> {
        let Some(credentials) = &self.credentials else {
            return Vec::new();
        };
        let login = auth::Credentials::new(&*credentials.username, &*credentials.password);
        let lines = self.realms.iter_mut().map(|realm| {
            realm.nonce_count += 1;
            let (count, cnonce) = (realm.nonce_count, random.token());
            let value = auth::respond(&realm.challenge, &login, method, uri, count, &cnonce);
            let name =
                if realm.challenge.from_proxy { "Proxy-Authorization" } else { "Authorization" };
            (name.to_owned(), value)
        });
        lines.collect()
    }

    fn take(&mut self, challenge: Challenge) -> bool {
        let same = |known: &&mut Realm| {
            known.challenge.realm == challenge.realm
                && known.challenge.from_proxy == challenge.from_proxy
        };
        let is_full = self.realms.len() >= MAX_REALMS;
        match self.realms.iter_mut().find(same) {
            Some(known) if known.tries == 0 || (challenge.stale && known.tries == 1) => {
                known.tries += 1;
                known.nonce_count = 0;
                known.challenge = challenge;
                true
            }
            Some(_) => false,
            None if is_full => false,
            None => {
                self.realms.push(Realm { challenge, nonce_count: 0, tries: 1 });
                true
            }
        }
    }
}

fn challenges(headers: &Headers, from_proxy: bool) -> Vec<Challenge> {
    let name = if from_proxy { HeaderName::ProxyAuthenticate } else { HeaderName::WwwAuthenticate };
    let parsed =
        headers.get_all(&name).filter_map(|header| Challenge::parse(&header.value(), from_proxy));
    parsed.map(unmangled).collect()
}

/// The parser reads quoted strings byte by byte as Latin-1; realms are UTF-8 (RFC 7616 §4).
fn unmangled(mut challenge: Challenge) -> Challenge {
    fn repaired(text: String) -> String {
        let bytes: Option<Vec<u8>> = text.chars().map(|c| u8::try_from(c).ok()).collect();
        bytes.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or(text)
    }
    challenge.realm = repaired(challenge.realm);
    challenge.nonce = repaired(challenge.nonce);
    challenge.opaque = challenge.opaque.map(repaired);
    challenge
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_utf8_realm_survives() {
        let value = "Digest realm=\"Büro 电话\", nonce=\"n\", qop=\"auth\"";
        let parsed = Challenge::parse(value.as_bytes(), false).unwrap();
        assert_eq!(unmangled(parsed).realm, "Büro 电话");
    }
}
