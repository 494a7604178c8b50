//! Which IP addresses a callback may be sent to: the special-purpose registries of IANA (RFC 6890) as one table.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How far an address reaches, in rising order of what it takes to be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// A host on the public Internet.
    Public,
    /// Loopback, link-local, private or shared space: only where the trust-list entry says so.
    Private,
    /// Unspecified, multicast, broadcast, reserved or translated in a way that hides the destination: never.
    Never,
}

/// Classifies an address. IPv4 addresses embedded in IPv6 (mapped, NAT64, 6to4, ISATAP's relatives) count as what they
/// embed, and as at least what the surrounding range is.
pub fn reach(address: IpAddr) -> Reach {
    match canonical(address) {
        IpAddr::V4(address) => reach_v4(address),
        IpAddr::V6(address) => reach_v6(address),
    }
}

/// `::ffff:a.b.c.d` is the same destination as `a.b.c.d` for every socket, so it is the same address here.
pub fn canonical(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

const V4: &[([u8; 4], u32, Reach)] = &[
    ([0, 0, 0, 0], 8, Reach::Never), // "this network"; 0.0.0.0 connects to this host
    ([10, 0, 0, 0], 8, Reach::Private), // RFC 1918
    ([100, 64, 0, 0], 10, Reach::Private), // shared address space, RFC 6598
    ([127, 0, 0, 0], 8, Reach::Private), // loopback
    ([169, 254, 0, 0], 16, Reach::Private), // link-local, cloud metadata
    ([172, 16, 0, 0], 12, Reach::Private), // RFC 1918
    ([192, 0, 0, 0], 24, Reach::Private), // protocol assignments, RFC 6890
    ([192, 0, 2, 0], 24, Reach::Private), // documentation, RFC 5737
    ([192, 88, 99, 0], 24, Reach::Never), // 6to4 relay anycast, deprecated by RFC 7526
    ([192, 168, 0, 0], 16, Reach::Private), // RFC 1918
    ([198, 18, 0, 0], 15, Reach::Private), // benchmarking, RFC 2544
    ([198, 51, 100, 0], 24, Reach::Private), // documentation
    ([203, 0, 113, 0], 24, Reach::Private), // documentation
    ([224, 0, 0, 0], 4, Reach::Never), // multicast
    ([240, 0, 0, 0], 4, Reach::Never), // reserved, limited broadcast
];

const V6: &[([u16; 8], u32, Reach)] = &[
    ([0; 8], 96, Reach::Never), // ::, and IPv4-compatible addresses (RFC 4291, deprecated)
    ([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, Reach::Private), // local-use NAT64, RFC 8215: its length is the operator's
    ([0x100, 0, 0, 0, 0, 0, 0, 0], 64, Reach::Never),       // discard-only
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, Reach::Never), // Teredo: the destination is hidden in it
    ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, Reach::Private), // documentation
    ([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, Reach::Private), // protocol assignments, RFC 2928
    ([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, Reach::Private), // documentation, RFC 9637
    ([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16, Reach::Private), // segment routing, RFC 9602
    ([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, Reach::Private), // unique local
    ([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, Reach::Private), // link-local
    ([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, Reach::Private), // site-local, deprecated
    ([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, Reach::Never),  // multicast
];

fn reach_v4(address: Ipv4Addr) -> Reach {
    let bits = address.to_bits();
    let range = V4.iter().find(|(prefix, length, _)| {
        let mask = u32::MAX << (32 - length);
        bits & mask == u32::from_be_bytes(*prefix) & mask
    });
    range.map_or(Reach::Public, |(_, _, reach)| *reach)
}

fn reach_v6(address: Ipv6Addr) -> Reach {
    if address == Ipv6Addr::LOCALHOST {
        return Reach::Private;
    }
    let bits = address.to_bits();
    let range = V6.iter().find(|(prefix, length, _)| {
        let mask = u128::MAX << (128 - length);
        bits & mask == Ipv6Addr::from(*prefix).to_bits() & mask
    });
    let own = range.map_or(Reach::Public, |(_, _, reach)| *reach);
    embedded_v4(address).map_or(own, |embedded| own.max(reach_v4(embedded)))
}

/// The IPv4 address that a translator or tunnel on the way would send to.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = address.segments();
    let join = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match [a, b, c, d, e, f] {
        [0x64, 0xff9b, 0, 0, 0, 0] => Some(join(g, h)), // NAT64, RFC 6052
        [0, 0, 0, 0, 0xffff, 0] => Some(join(g, h)),    // IPv4-translated, RFC 2765
        [0x2002, high, low, ..] => Some(join(high, low)), // 6to4, RFC 3056
        [_, _, _, _, 0 | 0x200, 0x5efe] => Some(join(g, h)), // ISATAP, RFC 5214
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expected: Reach, addresses: &[&str]) {
        for text in addresses {
            let address: IpAddr = text.parse().unwrap();
            assert_eq!(reach(address), expected, "{text}");
        }
    }

    #[test]
    fn public_addresses_up_to_the_edges_of_the_special_ranges() {
        check(
            Reach::Public,
            &[
                "1.1.1.1",
                "9.255.255.255",
                "11.0.0.0",
                "100.63.255.255",
                "100.128.0.0",
                "126.255.255.255",
                "128.0.0.0",
                "169.253.255.255",
                "169.255.0.0",
                "172.15.255.255",
                "172.32.0.0",
                "192.0.1.0",
                "192.167.255.255",
                "192.169.0.0",
                "198.17.255.255",
                "198.20.0.0",
                "223.255.255.255",
                "2606:4700::1111",
                "2001:4860:4860::8888",
                "64:ff9b::8.8.8.8",
                "2002:808:808::1",
                "::ffff:8.8.8.8",
                "2400::1",
                "fbff::1",
            ],
        );
    }

    proptest::proptest! {
        #[test]
        fn no_spelling_of_an_address_reaches_farther(bits: u32) {
            let v4 = Ipv4Addr::from_bits(bits);
            let own = reach(v4.into());
            proptest::prop_assert_eq!(reach(v4.to_ipv6_mapped().into()), own);
            proptest::prop_assert!(reach(v4.to_ipv6_compatible().into()) > Reach::Public);
            let bits = u128::from(bits);
            for hidden in [0x64_ff9b << 96 | bits, 0x2002 << 112 | bits << 80, 0xffff << 32 | bits] {
                proptest::prop_assert!(reach(Ipv6Addr::from_bits(hidden).into()) >= own);
            }
        }
    }

    #[test]
    fn private_ranges_first_and_last() {
        check(
            Reach::Private,
            &[
                "10.0.0.0",
                "10.255.255.255",
                "100.64.0.0",
                "100.127.255.255",
                "127.0.0.1",
                "127.255.255.254",
                "169.254.169.254",
                "172.16.0.0",
                "172.31.255.255",
                "192.0.0.1",
                "192.168.0.0",
                "192.168.255.255",
                "198.18.0.0",
                "198.19.255.255",
                "::1",
                "fc00::1",
                "fdff::1",
                "fe80::1",
                "febf::1",
                "fec0::1",
                "fd00:ec2::254",
                "2001:db8::1",
                "64:ff9b:1::1",
            ],
        );
    }

    #[test]
    fn never_callable() {
        check(
            Reach::Never,
            &[
                "0.0.0.0",
                "0.1.2.3",
                "224.0.0.1",
                "239.255.255.255",
                "240.0.0.1",
                "255.255.255.255",
                "::",
                "::7f00:1",
                "ff02::1",
                "100::1",
                "2001::1",
                "192.88.99.1",
                "::ffff:0.0.0.0",
                "::ffff:255.255.255.255",
            ],
        );
    }

    #[test]
    fn what_is_embedded_counts() {
        check(
            Reach::Private,
            &[
                "::ffff:127.0.0.1",
                "::ffff:169.254.169.254",
                "64:ff9b::127.0.0.1",
                "64:ff9b::10.0.0.1",
                "2002:7f00:1::",
                "2002:a9fe:a9fe::1",
                "2002:c0a8:1::1",
                "::ffff:0:127.0.0.1",
                "2606:4700::5efe:10.0.0.1",
                "2606:4700::200:5efe:127.0.0.1",
            ],
        );
        check(Reach::Never, &["64:ff9b::0.0.0.0", "2002:e000:1::1"]);
    }
}
