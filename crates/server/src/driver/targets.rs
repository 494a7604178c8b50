//! Where a trunk can be reached now: what DNS said of it, with those that proved dead put last.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use sip::{Dead, Destination, TlsPeer, Transport};

use crate::dns::{Host, in_order};

/// A target that failed is tried after the others for so long.
const REST: Duration = Duration::from_secs(30);
/// One that takes no TCP is not asked for it again by each long INVITE.
const NO_TCP: Duration = Duration::from_secs(600);
/// The longest rest that a target may ask for.
const LONGEST_REST: Duration = Duration::from_secs(3_600);

#[derive(Debug, Clone, Default)]
pub struct Targets {
    hosts: Vec<Host>,
    tls: Option<TlsPeer>,
    /// Until when, since the start of the process.
    resting: BTreeMap<(SocketAddr, Transport), Duration>,
}

impl Targets {
    /// `tls` is who has to be there, where that is over TLS.
    pub fn new(hosts: Vec<Host>, tls: Option<TlsPeer>) -> Targets {
        Targets { hosts, tls, resting: BTreeMap::new() }
    }

    pub fn is_known(&self) -> bool {
        !self.hosts.is_empty()
    }

    /// DNS says something new.
    pub fn moved(&mut self, hosts: Vec<Host>) {
        self.hosts = hosts;
    }

    /// Whether the trunk is at `address`, over whatever transport.
    pub fn has(&self, address: SocketAddr) -> bool {
        self.hosts.iter().any(|host| host.addresses.contains(&address))
    }

    /// Every address that it is at.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.hosts.iter().flat_map(|host| &host.addresses).map(SocketAddr::ip)
    }

    /// Every target in the order in which it is tried at `now`; `seed` stands for chance.
    pub fn in_order(&self, now: Duration, seed: u64) -> Vec<Destination> {
        let mut state = seed;
        let mut order = in_order(&self.hosts, |most| draw(&mut state, most));
        order.sort_by_key(|target| self.resting.get(target).is_some_and(|until| *until > now));
        let to = |(address, transport)| Destination {
            tls: self.tls.filter(|_| transport == Transport::Tls),
            ..Destination::new(address, transport)
        };
        order.into_iter().map(to).collect()
    }

    /// The one that is tried first.
    pub fn first(&self, now: Duration) -> Option<Destination> {
        self.in_order(now, 0).first().copied()
    }

    /// Whether long requests for it may be tried over TCP.
    pub fn takes_tcp(&self, destination: Destination, now: Duration) -> bool {
        let over_tcp = (destination.addr, Transport::Tcp);
        self.resting.get(&over_tcp).is_none_or(|until| *until <= now)
    }

    /// A target has failed a call, a registration or a question.
    pub fn failed(&mut self, failed: Destination, why: Dead, now: Duration) {
        let target = (failed.addr, failed.transport);
        let is_offered = |host: &Host| {
            host.transport == failed.transport && host.addresses.contains(&failed.addr)
        };
        let rest = match why {
            _ if !self.hosts.iter().any(is_offered) => NO_TCP,
            Dead::Unavailable { retry_after: Some(seconds) } => {
                Duration::from_secs(seconds.into()).min(LONGEST_REST)
            }
            Dead::Unavailable { retry_after: None } | Dead::Silent | Dead::Undeliverable(_) => REST,
        };
        self.resting.retain(|_, until| *until > now);
        self.resting.insert(target, now + rest);
    }
}

/// A number from 0 to `most`, both included (splitmix64).
fn draw(state: &mut u64, most: u32) -> u32 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let drawn = (mixed ^ (mixed >> 31)) % (u64::from(most) + 1);
    u32::try_from(drawn).expect("it is no more than `most`")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets() -> Targets {
        let host = |rank, port| Host {
            rank,
            ..Host::only(Transport::Udp, vec![SocketAddr::new([192, 0, 2, 1].into(), port)])
        };
        Targets::new(vec![host(1, 5061), host(2, 5062)], None)
    }

    fn ports(targets: &Targets, now: Duration) -> Vec<u16> {
        targets.in_order(now, 7).iter().map(|target| target.addr.port()).collect()
    }

    #[test]
    fn what_failed_is_tried_last_until_it_has_rested() {
        let mut targets = targets();
        let first = targets.first(Duration::ZERO).unwrap();
        assert_eq!(ports(&targets, Duration::ZERO), [5061, 5062]);
        targets.failed(first, Dead::Silent, Duration::ZERO);
        assert_eq!(ports(&targets, REST - Duration::from_millis(1)), [5062, 5061]);
        assert_eq!(ports(&targets, REST), [5061, 5062]);
        let wish = Dead::Unavailable { retry_after: Some(90) };
        targets.failed(first, wish, Duration::ZERO);
        assert_eq!(ports(&targets, Duration::from_secs(89)), [5062, 5061]);
    }

    #[test]
    fn one_that_takes_no_tcp_stays_where_it_is_for_udp() {
        let mut targets = targets();
        let first = targets.first(Duration::ZERO).unwrap();
        let tcp = Destination { transport: Transport::Tcp, ..first };
        assert!(targets.takes_tcp(first, Duration::ZERO));
        let why = Dead::Undeliverable(sip::TransportFault::Refused);
        targets.failed(tcp, why, Duration::ZERO);
        assert_eq!(ports(&targets, Duration::ZERO), [5061, 5062]);
        assert!(!targets.takes_tcp(first, NO_TCP - Duration::from_millis(1)));
        assert!(targets.takes_tcp(first, NO_TCP));
    }

    #[test]
    fn chance_is_spread_over_the_whole_range() {
        let mut seen = [0; 4];
        for seed in 0..400 {
            let mut state = seed;
            seen[draw(&mut state, 3) as usize] += 1;
        }
        assert!(seen.iter().all(|count| (60..140).contains(count)), "{seen:?}");
    }
}
