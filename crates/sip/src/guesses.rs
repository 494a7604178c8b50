//! Wrong guesses, by who made them and in total: after so many within five minutes nobody is heard until those are over.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv6Addr},
    time::{Duration, Instant},
};

/// Whose guesses are counted together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Guesser {
    Everybody,
    Source(Network),
    /// As a datagram says, which may come from anybody.
    Claimed(Network),
    /// One user name from one source; [`Guesser::login`] makes it.
    Login(String, Network),
}

/// Bytes of a user name that are kept. Who guesses chooses the names, and there are many in memory.
const MAX_NAME: usize = 128;

impl Guesser {
    /// Names that begin with the same [`MAX_NAME`] bytes are counted as one.
    pub fn login(user: &str, source: IpAddr) -> Guesser {
        let kept = user.floor_char_boundary(MAX_NAME);
        Guesser::Login(user[..kept].to_owned(), source.into())
    }
}

/// An address as guesses are counted: of IPv6 the first 64 bits, which one subscriber has to himself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Network(IpAddr);

impl From<IpAddr> for Network {
    fn from(ip: IpAddr) -> Network {
        Network(match ip.to_canonical() {
            IpAddr::V4(ip) => IpAddr::V4(ip),
            IpAddr::V6(ip) => {
                let [a, b, c, d, ..] = ip.segments();
                IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
            }
        })
    }
}

/// Wrong guesses allowed within [`WINDOW`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowance {
    pub login: u32,
    pub source: u32,
    pub everybody: u32,
}

#[derive(Debug)]
pub(crate) struct Guesses {
    allowance: Allowance,
    tallies: BTreeMap<Guesser, Tally>,
}

#[derive(Debug)]
struct Tally {
    count: u32,
    since: Instant,
}

/// How long a guess counts, from the first of its series on.
const WINDOW: Duration = Duration::from_secs(300);
/// Guessers remembered at a time: above what [`Allowance::everybody`] lets in within a window.
const MAX_GUESSERS: usize = 20_000;

impl Guesses {
    pub fn new(allowance: Allowance) -> Guesses {
        Guesses { allowance, tallies: BTreeMap::new() }
    }

    pub fn is_locked(&self, guesser: &Guesser, now: Instant) -> bool {
        let limit = match guesser {
            Guesser::Everybody => self.allowance.everybody,
            Guesser::Source(_) | Guesser::Claimed(_) => self.allowance.source,
            Guesser::Login(..) => self.allowance.login,
        };
        let tally = self.tallies.get(guesser);
        tally.is_some_and(|tally| tally.is_fresh(now) && tally.count >= limit)
    }

    pub fn count(&mut self, guesser: Guesser, now: Instant) {
        if self.tallies.len() >= MAX_GUESSERS {
            self.tallies.retain(|_, tally| tally.is_fresh(now));
        }
        if self.tallies.len() >= MAX_GUESSERS && !self.tallies.contains_key(&guesser) {
            return;
        }
        let tally = self.tallies.entry(guesser).or_insert(Tally { count: 0, since: now });
        if !tally.is_fresh(now) {
            *tally = Tally { count: 0, since: now };
        }
        tally.count = tally.count.saturating_add(1);
    }
}

impl Tally {
    fn is_fresh(&self, now: Instant) -> bool {
        now.duration_since(self.since) < WINDOW
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_user_name_no_more_is_kept_than_its_beginning() {
        let source: IpAddr = "192.0.2.1".parse().unwrap();
        for name in ["x".repeat(60_000), "é".repeat(30_000), format!("x{}", "é".repeat(30_000))] {
            let Guesser::Login(kept, _) = Guesser::login(&name, source) else { panic!("{name}") };
            assert!(name.starts_with(&kept) && (127..=128).contains(&kept.len()), "{kept}");
        }
        assert_ne!(Guesser::login("66666666", source), Guesser::login("66666667", source));
    }

    #[test]
    fn a_subscriber_of_ipv6_is_one_source_whatever_address_he_takes() {
        let network = |text: &str| Network::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(network("2001:db8:1:2::1"), network("2001:db8:1:2:ffff::9"));
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:3::1"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
    }
}
