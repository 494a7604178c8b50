//! In which order hosts are tried (RFC 2782): by priority, and among equals by chance and weight.

use std::net::SocketAddr;

use sip::Transport;

/// One host that offers the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    /// Lower ones are tried first.
    pub rank: u32,
    /// Its share among those of the same rank.
    pub weight: u16,
    pub transport: Transport,
    /// Tried one after the other.
    pub addresses: Vec<SocketAddr>,
}

impl Host {
    /// The only one there is.
    pub fn only(transport: Transport, addresses: Vec<SocketAddr>) -> Host {
        Host { rank: 0, weight: 0, transport, addresses }
    }
}

/// Every address in the order in which it is tried. `draw(n)` gives a number from 0 to n, both
/// included.
pub fn in_order(hosts: &[Host], mut draw: impl FnMut(u32) -> u32) -> Vec<(SocketAddr, Transport)> {
    let mut left: Vec<&Host> = hosts.iter().collect();
    // Those of weight 0 stand in front of their rank, where only a drawn 0 finds them.
    left.sort_by_key(|host| (host.rank, host.weight != 0));
    let mut out = Vec::new();
    while let Some(rank) = left.first().map(|host| host.rank) {
        let equals = left.iter().take_while(|host| host.rank == rank);
        let total = equals.map(|host| u32::from(host.weight)).sum();
        let drawn = draw(total);
        let mut passed = 0;
        let chosen = left.iter().position(|host| {
            passed += u32::from(host.weight);
            passed >= drawn
        });
        let host = left.remove(chosen.unwrap_or(0));
        out.extend(host.addresses.iter().map(|address| (*address, host.transport)));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(rank: u32, weight: u16, port: u16) -> Host {
        let addresses = vec![SocketAddr::new([192, 0, 2, 1].into(), port)];
        Host { rank, weight, transport: Transport::Udp, addresses }
    }

    fn ports(hosts: &[Host], draw: impl FnMut(u32) -> u32) -> Vec<u16> {
        in_order(hosts, draw).iter().map(|(address, _)| address.port()).collect()
    }

    #[test]
    fn ranks_come_before_weights_and_weights_before_chance() {
        let hosts = [host(20, 9, 3), host(10, 0, 1), host(10, 30, 2)];
        assert_eq!(ports(&hosts, |_| 0), [1, 2, 3]);
        assert_eq!(ports(&hosts, |total| total), [2, 1, 3]);
        assert_eq!(ports(&hosts, |total| total.min(1)), [2, 1, 3], "1 of 30 is the second's");
    }

    #[test]
    fn each_gets_its_share_and_nobody_is_left_out() {
        let hosts = [host(0, 10, 1), host(0, 30, 2), host(0, 60, 3)];
        let mut first = [0; 4];
        for n in 0..=100 {
            let order = ports(&hosts, |total| n * total / 100);
            assert_eq!(order.len(), 3);
            first[usize::from(order[0])] += 1;
        }
        assert_eq!(first, [0, 11, 30, 60], "0 to 10, 11 to 40, 41 to 100");
    }

    #[test]
    fn the_addresses_of_a_host_follow_each_other() {
        let mut two = host(0, 1, 1);
        two.addresses.push("192.0.2.9:9".parse().unwrap());
        assert_eq!(ports(&[two, host(1, 1, 2)], |total| total), [1, 9, 2]);
        assert_eq!(ports(&[], |total| total), [0; 0]);
    }
}
