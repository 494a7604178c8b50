//! OPTIONS towards a trunk: whether anybody is there.

use std::time::Duration;

use sip::*;

use crate::world::*;

fn probe(id: u64, to: Destination) -> Command {
    Command::Probe(Box::new(Probe {
        id: ProbeId(id),
        destination: to,
        request_uri: Uri::parse("sip:192.0.2.2").unwrap(),
        from: Address::parse("sip:offhook@192.0.2.1").unwrap(),
        timeout: Probe::TIMEOUT,
    }))
}

fn far_side() -> Destination {
    Destination::new(addr(THEIRS), Transport::Udp)
}

#[test]
fn any_final_answer_proves_that_somebody_is_there() {
    for status in [200, 403, 404, 405, 483, 503] {
        let mut solo = Solo::new(Policy::default());
        solo.command(probe(1, far_side()));
        let asked = solo.one();
        assert!(asked.starts_with("OPTIONS sip:192.0.2.2 SIP/2.0\r\n"), "{asked}");
        solo.receive(&reply(&asked, 100, "", "", ""));
        assert_eq!(solo.said(), [""; 0], "100 proves a proxy and no trunk");
        solo.receive(&reply(&asked, status, "b", "", ""));
        solo.receive(&reply(&asked, status, "b", "", ""));
        assert_eq!(solo.said(), [format!("probed Answered {{ status: {status} }}")]);
        solo.assert_empty();
    }
}

#[test]
fn silence_is_reported_after_the_time_of_the_probe_and_what_comes_later_is_nothing() {
    let mut solo = Solo::new(Policy::default());
    solo.command(probe(1, far_side()));
    let asked = solo.one();
    solo.pass(Probe::TIMEOUT - Duration::from_millis(1));
    assert_eq!(solo.sent_kinds(), ["OPTIONS"; 3], "at 0.5, 1.5 and 3.5 s");
    assert_eq!(solo.said(), [""; 0]);
    solo.pass(Duration::from_millis(1));
    assert_eq!(solo.said(), ["probed NoResponse"]);
    solo.receive(&reply(&asked, 200, "b", "", ""));
    assert_eq!(solo.said(), [""; 0]);
    solo.assert_empty();
}

#[test]
fn a_later_question_takes_the_place_of_the_earlier() {
    let mut solo = Solo::new(Policy::default());
    solo.command(probe(1, far_side()));
    let first = solo.one();
    solo.command(probe(1, far_side()));
    let second = solo.one();
    solo.receive(&reply(&first, 503, "b", "", ""));
    solo.receive(&reply(&second, 200, "b", "", ""));
    assert_eq!(solo.said(), ["probed Answered { status: 200 }"]);
    solo.assert_empty();
}

#[test]
fn what_cannot_be_reached_is_said_at_once() {
    let mut solo = Solo::new(Policy::default());
    solo.command(probe(1, Destination::new("[2001:db8::1]:5060".parse().unwrap(), Transport::Udp)));
    assert_eq!(solo.said(), ["probed Unreachable"]);
    let tcp = Destination::new(addr(THEIRS), Transport::Tcp);
    solo.command(probe(2, tcp));
    assert_eq!(solo.sent_kinds(), ["OPTIONS"]);
    solo.lose(Transport::Tcp);
    assert_eq!(solo.said(), ["probed Unreachable"]);
    solo.assert_empty();
}
