use engine::action::Via;
use sip::Transport;

use super::*;
use crate::driver::numbers::Numbers;

fn host(rank: u32, port: u16) -> Host {
    let addresses = vec![SocketAddr::new([192, 0, 2, 1].into(), port)];
    Host { rank, ..Host::only(Transport::Udp, addresses) }
}

/// One trunk with two targets, at which offhook registers and which it asks for life.
fn trunks() -> Trunks {
    let credentials =
        Credentials { username: "user".into(), password: "secret".into(), realm: None };
    let trunk = Trunk {
        name: "carrier".into(),
        pace: Pace { calls_per_second: 1, concurrent_calls: 1 },
        host: "carrier.example".into(),
        port: None,
        targets: Targets::new(vec![host(1, 5061), host(2, 5062)], None),
        credentials: Some(credentials),
        from_host: "example.com".into(),
        codecs: Vec::new(),
        srtp: media::Srtp::default(),
        register: Some(300),
        numbers: Numbers::default(),
        keepalive: Some(Duration::from_secs(30)),
        session_expires: Some(1800),
        inbound: false,
    };
    Trunks::new(vec![trunk], b"secret")
}

fn invite(trunks: &Trunks, now: Duration) -> Invite {
    let name = TrunkName::from("carrier");
    let to = Dialled {
        via: Via::Trunk(name.clone()),
        called: "8899".into(),
        caller_present: "100".into(),
        attempt: 1,
        beside: None,
    };
    trunks.invite(LegId(1), Serial(7), (&name, &to), Bytes::new(), now).unwrap()
}

const START: Duration = Duration::ZERO;

#[test]
fn an_invite_names_every_target_and_those_that_failed_last() {
    let mut trunks = trunks();
    let first = invite(&trunks, START);
    assert_eq!(first.destination.addr.port(), 5061);
    assert_eq!(first.failover.next.len(), 1);
    assert_eq!(first.session_expires, Some(1800));
    trunks.target_failed(first.destination, Dead::Silent, START);
    let second = invite(&trunks, START);
    assert_eq!(second.destination.addr.port(), 5062);
    assert_eq!(second.failover.next[0].addr.port(), 5061);
    assert!(trunks.credentials_for(second.destination.addr).is_some());
}

#[test]
fn a_registrar_that_gives_no_answer_is_left_for_the_next_target() {
    let mut trunks = trunks();
    let registrations = trunks.registrations(START);
    assert_eq!(registrations[0].registrar.addr.port(), 5061);
    let next = trunks.registrar_failed(RegistrationId(0), START).expect("there is another target");
    assert_eq!(next.registrar.addr.port(), 5062);
    let moved = trunks.moved(&"carrier".into(), vec![host(1, 5062), host(2, 5063)], START);
    assert!(moved.is_none(), "the registrar is still one of its targets");
    let moved = trunks.moved(&"carrier".into(), vec![host(1, 5064)], START);
    assert_eq!(moved.expect("it is gone").registrar.addr.port(), 5064);
}

#[test]
fn a_question_without_an_answer_goes_to_the_next_target_before_the_trunk_is_given_up() {
    let mut trunks = trunks();
    let asked = trunks.probes(START);
    assert_eq!(asked[0].destination.addr.port(), 5061);
    assert!(trunks.probed(ProbeId(0), false, START).is_none(), "one is not enough");
    let again = trunks.wake_at().expect("it is asked again");
    let asked = trunks.probes(again);
    assert_eq!(asked[0].destination.addr.port(), 5062);
    assert!(trunks.probed(ProbeId(0), true, again).is_none(), "it was never out");
}
