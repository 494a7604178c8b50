//! Against a name server of our own, over real UDP.

use super::*;

#[path = "../../tests/server/support/names.rs"]
mod names;
use names::{Answer, Names, Record};

const ALL: [Transport; 3] = [Transport::Udp, Transport::Tcp, Transport::Tls];
const DOMAIN: &str = "carrier.example";

async fn world() -> (Names, Locator) {
    let names = Names::start().await;
    let families = Families { v4: true, v6: false };
    let locator = Locator::new(&[names.address], families).unwrap();
    (names, locator)
}

fn wanted(host: &str, port: Option<u16>, transports: &[Transport]) -> Wanted {
    Wanted { host: host.to_owned(), port, transports: transports.to_vec() }
}

fn a(last: u8) -> [Record; 1] {
    [Record::a([192, 0, 2, last].into())]
}

/// Every address with its transport, in the order without chance.
async fn found(locator: &Locator, wanted: &Wanted) -> Vec<String> {
    let located = locator.locate(wanted).await.unwrap_or_else(|error| panic!("{error}"));
    let order = in_order(&located.hosts, |_| 0);
    order.iter().map(|(address, transport)| format!("{} {address}", transport.name())).collect()
}

#[tokio::test]
async fn an_address_is_where_it_says_and_nobody_is_asked() {
    let (names, locator) = world().await;
    let table = [
        ("192.0.2.7", None, Transport::Udp, "UDP 192.0.2.7:5060"),
        ("192.0.2.7", None, Transport::Tls, "TLS 192.0.2.7:5061"),
        ("2001:db8::7", Some(5080), Transport::Tcp, "TCP [2001:db8::7]:5080"),
    ];
    for (host, port, transport, expected) in table {
        assert_eq!(found(&locator, &wanted(host, port, &[transport])).await, [expected]);
    }
    assert_eq!(names.asked("192.0.2.7", 1), 0);
}

#[tokio::test]
async fn a_port_means_addresses_only() {
    let (names, locator) = world().await;
    names.records(DOMAIN, [Record::a([192, 0, 2, 1].into()), Record::a([192, 0, 2, 2].into())]);
    let mut found = found(&locator, &wanted(DOMAIN, Some(5070), &[Transport::Tcp])).await;
    found.sort();
    assert_eq!(found, ["TCP 192.0.2.1:5070", "TCP 192.0.2.2:5070"]);
    assert_eq!((names.asked(DOMAIN, 35), names.asked("_sip._tcp.carrier.example", 33)), (0, 0));
}

#[tokio::test]
async fn naptr_chooses_among_the_transports_that_there_are() {
    let (names, locator) = world().await;
    names.records(
        DOMAIN,
        [
            Record::naptr(50, 50, "s", "SIPS+D2T", "_sips._tcp.carrier.example"),
            Record::naptr(90, 60, "s", "SIP+D2U", "_sip._udp.carrier.example"),
            Record::naptr(90, 50, "S", "sip+d2t", "_sip._tcp.carrier.example"),
            Record::naptr(10, 10, "u", "E2U+sip", "nothing.example"),
            Record::naptr(10, 10, "s", "SIP+D2X", "nothing.example"),
        ],
    );
    names.records("_sips._tcp.carrier.example", [Record::srv(0, 0, 5061, "a.carrier.example")]);
    names.records("_sip._tcp.carrier.example", [Record::srv(0, 0, 5062, "a.carrier.example")]);
    names.records("_sip._udp.carrier.example", [Record::srv(0, 0, 5063, "a.carrier.example")]);
    names.records("a.carrier.example", a(9));
    let all = found(&locator, &wanted(DOMAIN, None, &ALL)).await;
    assert_eq!(all, ["TLS 192.0.2.9:5061"], "of another order than the first nothing is looked at");
    let plain = [Transport::Udp, Transport::Tcp];
    assert_eq!(
        found(&locator, &wanted(DOMAIN, None, &plain)).await,
        ["TCP 192.0.2.9:5062", "UDP 192.0.2.9:5063"]
    );
    assert_eq!(
        found(&locator, &wanted(DOMAIN, None, &[Transport::Udp])).await,
        ["UDP 192.0.2.9:5063"]
    );
}

#[tokio::test]
async fn srv_gives_priority_weight_and_port() {
    let (names, locator) = world().await;
    names.records(
        "_sip._udp.carrier.example",
        [
            Record::srv(20, 0, 5063, "c.carrier.example"),
            Record::srv(10, 60, 5061, "a.carrier.example"),
            Record::srv(10, 40, 5062, "b.carrier.example"),
            Record::srv(5, 0, 5064, "lost.carrier.example"),
        ],
    );
    for (host, last) in [("a", 1), ("b", 2), ("c", 3)] {
        names.records(&format!("{host}.carrier.example"), a(last));
    }
    let located = locator.locate(&wanted(DOMAIN, None, &[Transport::Udp])).await.unwrap();
    let hosts = &located.hosts;
    let weights: Vec<_> = hosts.iter().map(|host| (host.rank, host.weight)).collect();
    assert_eq!(weights, [(20, 0), (10, 60), (10, 40)], "a host without an address hides no other");
    let order = in_order(hosts, |total| total);
    let ports: Vec<_> = order.iter().map(|(address, _)| address.port()).collect();
    assert_eq!(ports, [5062, 5061, 5063]);
}

#[tokio::test]
async fn a_domain_without_services_is_found_by_its_address_through_cnames() {
    let (names, locator) = world().await;
    names.records(DOMAIN, [Record::cname("edge.carrier.example")]);
    names.records("edge.carrier.example", [Record::cname("edge-1.carrier.example")]);
    names.records("edge-1.carrier.example", a(4));
    assert_eq!(found(&locator, &wanted(DOMAIN, None, &ALL)).await, ["UDP 192.0.2.4:5060"]);
}

#[tokio::test]
async fn a_domain_that_says_that_it_offers_no_sip_is_believed() {
    let (names, locator) = world().await;
    names.records(DOMAIN, a(5));
    names.records("_sip._udp.carrier.example", [Record::srv(0, 0, 0, ".")]);
    let error = locator.locate(&wanted(DOMAIN, None, &[Transport::Udp])).await.unwrap_err();
    assert!(matches!(error, LocateError::NotOffered), "{error}");
}

#[tokio::test]
async fn what_is_wrong_with_names_or_servers_is_an_error_and_takes_no_longer_than_it_must() {
    let (names, locator) = world().await;
    names.records("loop.example", [Record::cname("pool.example")]);
    names.records("pool.example", [Record::cname("loop.example")]);
    for (domain, answer) in [
        ("silent.example", Answer::Silence),
        ("garbage.example", Answer::Garbage),
        ("broken.example", Answer::Failure),
    ] {
        names.say(domain, answer.clone());
        names.say(&format!("_sip._udp.{domain}"), answer);
    }
    let within = Duration::from_secs(30);
    for domain in
        ["nowhere.example", "loop.example", "silent.example", "garbage.example", "broken.example"]
    {
        let wanted = wanted(domain, None, &[Transport::Udp]);
        let asked = tokio::time::timeout(within, locator.locate(&wanted)).await;
        let error = asked.expect("it is given up").expect_err(domain);
        let is_nowhere = matches!(error, LocateError::Nowhere);
        assert!(is_nowhere || domain != "nowhere.example", "{domain}: {error}");
    }
}

#[tokio::test]
async fn services_that_cannot_be_asked_for_are_not_taken_for_none() {
    let (names, locator) = world().await;
    // The address of the domain may be a web server's.
    names.records(DOMAIN, a(6));
    names.say("_sip._udp.carrier.example", Answer::Failure);
    let error = locator.locate(&wanted(DOMAIN, None, &[Transport::Udp])).await.unwrap_err();
    assert!(matches!(error, LocateError::NoAnswer(_)), "{error}");
}

#[tokio::test]
async fn answers_are_kept_for_as_long_as_the_shortest_of_them_says() {
    let (names, locator) = world().await;
    let srv = "_sip._udp.carrier.example";
    names.records(srv, [Record::srv(0, 0, 5060, "a.carrier.example").ttl(600)]);
    names.records("a.carrier.example", a(7).map(|record| record.ttl(5)));
    let wanted = wanted(DOMAIN, None, &[Transport::Udp]);
    let located = locator.locate(&wanted).await.unwrap();
    assert!(located.valid_for <= Duration::from_secs(5), "{:?}", located.valid_for);
    locator.locate(&wanted).await.unwrap();
    assert_eq!((names.asked(srv, 33), names.asked("a.carrier.example", 1)), (1, 1));
}
