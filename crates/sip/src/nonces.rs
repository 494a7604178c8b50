//! Nonces of our challenges (RFC 7616 §3.3). One proves by itself that it is ours, when it was given and to whom, so
//! that a flood of requests without a password costs no memory and makes nobody else's nonce stale. Only those that
//! somebody logged in with are remembered, with the last count that was used.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    time::{Duration, Instant},
};

use crate::random::Random;

#[derive(Debug, Default)]
pub(crate) struct Nonces {
    /// What the times inside nonces count from.
    began: Option<Instant>,
    used: HashMap<String, u32>,
    /// Nonces that were logged in with and when they were given, in the order of their first use.
    first_uses: VecDeque<(u64, String)>,
    /// Whatever was given up to then is stale: its use may have been forgotten.
    forgotten_to: Option<u64>,
}

const LIFE: Duration = Duration::from_secs(300);
/// Nonces in use that are remembered; what is older than a forgotten one is stale.
const MAX_USED: usize = 20_000;

impl Nonces {
    /// A new one, only good from `ip`.
    pub fn give(&mut self, ip: IpAddr, random: &mut Random, now: Instant) -> String {
        let given = self.millis(now);
        let body = format!("{given:012x}{:016x}", random.next());
        let seal = seal(&body, ip, random);
        format!("{body}{seal}")
    }

    /// Whether a login with this nonce and count is neither too late nor a copy.
    pub fn is_good(
        &mut self,
        nonce: &str,
        count: u32,
        ip: IpAddr,
        random: &Random,
        now: Instant,
    ) -> bool {
        let Some((body, given)) = nonce.split_at_checked(BODY).and_then(|(body, sealed)| {
            let is_ours = is_equal(seal(body, ip, random).as_bytes(), sealed.as_bytes());
            let given = u64::from_str_radix(body.get(..12)?, 16).ok()?;
            is_ours.then_some((body, given))
        }) else {
            return false;
        };
        let age = self.millis(now).saturating_sub(given);
        let is_remembered = self.forgotten_to.is_none_or(|to| given > to);
        let is_next = self.used.get(body).is_none_or(|last| count > *last);
        count > 0 && u128::from(age) <= LIFE.as_millis() && is_remembered && is_next
    }

    /// Somebody logged in with it.
    pub fn use_up(&mut self, nonce: &str, count: u32, now: Instant) {
        let (Some(body), Some(given)) =
            (nonce.get(..BODY), nonce.get(..12).and_then(|hex| u64::from_str_radix(hex, 16).ok()))
        else {
            return;
        };
        let oldest = self.millis(now).saturating_sub(LIFE.as_millis() as u64);
        while let Some((first, _)) = self.first_uses.front()
            && (*first < oldest || self.first_uses.len() >= MAX_USED)
        {
            let Some((first, body)) = self.first_uses.pop_front() else { break };
            self.used.remove(&body);
            self.forgotten_to = self.forgotten_to.max(Some(first));
        }
        if self.used.insert(body.to_owned(), count).is_none() {
            self.first_uses.push_back((given, body.to_owned()));
        }
    }

    fn millis(&mut self, now: Instant) -> u64 {
        let began = *self.began.get_or_insert(now);
        now.duration_since(began).as_millis() as u64
    }
}

/// Time and chance, before the seal.
const BODY: usize = 28;

fn seal(body: &str, ip: IpAddr, random: &Random) -> String {
    random.tag_for(format!("nonce {body} {ip}").as_bytes())
}

/// In a time that does not tell where the first difference is.
pub(crate) fn is_equal(a: &[u8], b: &[u8]) -> bool {
    let difference = a.iter().zip(b).fold(0, |seen, (a, b)| seen | (a ^ b));
    a.len() == b.len() && std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting() -> (Nonces, Random, Instant, [IpAddr; 2]) {
        let ips = ["192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap()];
        (Nonces::default(), Random::new(1), Instant::now(), ips)
    }

    #[test]
    fn a_nonce_is_good_once_per_count_for_five_minutes_and_from_one_address() {
        let (mut nonces, mut random, now, [here, elsewhere]) = setting();
        let nonce = nonces.give(here, &mut random, now);
        let good = |nonces: &mut Nonces, count, ip, after| {
            nonces.is_good(&nonce, count, ip, &random, now + Duration::from_secs(after))
        };
        assert!(good(&mut nonces, 1, here, 300));
        assert!(!good(&mut nonces, 1, here, 301), "too late");
        assert!(!good(&mut nonces, 1, elsewhere, 1), "given to somebody else");
        assert!(!good(&mut nonces, 0, here, 1), "counts begin with one");
        nonces.use_up(&nonce, 2, now);
        assert!(!good(&mut nonces, 2, here, 1) && !good(&mut nonces, 1, here, 1), "copies");
        assert!(good(&mut nonces, 3, here, 1));
    }

    #[test]
    fn one_that_is_not_ours_is_not_good() {
        let (mut nonces, mut random, now, [here, _]) = setting();
        let nonce = nonces.give(here, &mut random, now);
        let other = Nonces::default().give(here, &mut Random::new(2), now);
        for bad in ["", "é".repeat(22).as_str(), &nonce[..43], &other, &format!("{nonce}0")] {
            assert!(!nonces.is_good(bad, 1, here, &random, now), "{bad:?}");
        }
        let later = nonce.replacen('0', "1", 1);
        assert!(!nonces.is_good(&later, 1, here, &random, now), "another time under the same seal");
    }

    #[test]
    fn what_had_to_be_forgotten_is_stale_rather_than_good_again() {
        let (mut nonces, mut random, now, [here, _]) = setting();
        let mut used = Vec::new();
        for second in 0..3 {
            let at = now + Duration::from_secs(second);
            used.push(nonces.give(here, &mut random, at));
        }
        let later = now + Duration::from_secs(3);
        nonces.use_up(&used[0], 1, later);
        for _ in 0..MAX_USED {
            let nonce = nonces.give(here, &mut random, later);
            nonces.use_up(&nonce, 1, later);
        }
        assert!(nonces.used.len() <= MAX_USED && nonces.first_uses.len() <= MAX_USED);
        assert!(!nonces.is_good(&used[0], 1, here, &random, later), "its use was forgotten");
        assert!(nonces.is_good(&used[1], 1, here, &random, later), "it was never used");
    }
}
