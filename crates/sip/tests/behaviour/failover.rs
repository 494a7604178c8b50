//! RFC 3263 §4.3: one target after the other, and never two phones for one call. RFC 3261 §18.1.1:
//! what is too long for a datagram.

use std::time::Duration;

use sip::*;

use crate::world::*;

const SECOND: &str = "192.0.2.3:5060";
const PATIENCE: Duration = Duration::from_secs(5);

fn with_second(transport: Transport) -> Invite {
    let first = Destination::new(addr(THEIRS), transport);
    let next = [Destination::new(addr(SECOND), Transport::Udp)].into();
    Invite { destination: first, failover: Failover { next, ..Failover::default() }, ..invite(1) }
}

/// What was sent to `to` since the last look.
fn sent_to(solo: &mut Solo, to: &str) -> Vec<String> {
    let all = solo.wire.drain(..);
    all.filter(|message| message.remote == addr(to)).map(|message| text(&message.bytes)).collect()
}

fn send(solo: &mut Solo) {
    solo.sent();
    solo.command(Command::Send { leg: LegId(1) });
}

#[test]
fn a_target_that_says_nothing_is_left_for_the_next_and_cancelled_if_it_wakes_up() {
    let mut solo = Solo::new(Policy::default());
    let first = solo.dial(with_second(Transport::Udp));
    solo.pass(PATIENCE - Duration::from_millis(1));
    assert_eq!(solo.said(), [""; 0]);
    solo.sent();
    solo.pass(Duration::from_millis(1));
    assert_eq!(solo.sent_kinds(), [""; 0], "not yet on disk");
    assert_eq!(solo.said(), [format!("retried after UDP {THEIRS}: Silent")]);
    send(&mut solo);
    let second = sent_to(&mut solo, SECOND).remove(0);
    assert_eq!(header(&second, "Call-ID"), header(&first, "Call-ID"));
    assert_eq!(header(&second, "From"), header(&first, "From"));
    assert_eq!(header(&second, "CSeq"), "2 INVITE");
    assert_ne!(header(&second, "Via"), header(&first, "Via"));
    solo.receive_from(SECOND, &reply(&second, 180, "b", CONTACT, ""));
    assert_eq!(solo.said(), ["180"]);
    solo.receive(&reply(&first, 180, "late", CONTACT, ""));
    assert_eq!(solo.said(), [""; 0]);
    let cancel = sent_to(&mut solo, THEIRS);
    assert_eq!(cancel.iter().map(|m| kind(m)).collect::<Vec<_>>(), ["CANCEL"]);
    assert_eq!(header(&cancel[0], "Via"), header(&first, "Via"));
    solo.receive(&reply(&cancel[0], 200, "", "", ""));
    solo.receive(&reply(&first, 487, "late", "", ""));
    assert_eq!(solo.sent_kinds(), ["ACK"]);
    solo.receive_from(SECOND, &reply(&second, 200, "b", CONTACT, "answer"));
    assert_eq!(solo.said(), ["answered answer"]);
    solo.command(Command::Acknowledge { leg: LegId(1), body: None });
    assert_eq!(header(&solo.one(), "CSeq"), "2 ACK");
    solo.hang_up(1);
    solo.assert_empty();
}

#[test]
fn a_target_that_was_left_and_is_answered_after_all_is_hung_up() {
    let mut solo = Solo::new(Policy::default());
    let first = solo.dial(with_second(Transport::Udp));
    solo.pass(PATIENCE);
    send(&mut solo);
    solo.sent();
    solo.receive(&reply(&first, 200, "late", CONTACT, "answer"));
    assert_eq!(solo.sent_kinds(), ["ACK", "BYE"]);
    solo.said();
    solo.pass(Duration::from_secs(33));
    assert_eq!(solo.said(), ["ended by Timeout(NoResponse)"], "the last one has until Timer B");
    solo.assert_empty();
}

#[test]
fn what_refuses_connections_or_is_unavailable_is_left_at_once() {
    let mut solo = Solo::new(Policy::default());
    solo.dial(with_second(Transport::Tcp));
    solo.lose(Transport::Tcp);
    assert_eq!(solo.said(), [format!("retried after TCP {THEIRS}: Undeliverable(Refused)")]);
    send(&mut solo);
    let second = sent_to(&mut solo, SECOND).remove(0);
    assert!(header(&second, "Via").starts_with("SIP/2.0/UDP"), "{second}");
    assert!(!header(&second, "Contact").contains("transport"), "{second}");

    let mut solo = Solo::new(Policy::default());
    let first = solo.dial(with_second(Transport::Udp));
    solo.receive(&reply(&first, 503, "b", "Retry-After: 7\r\n", ""));
    let why = "Unavailable { retry_after: Some(7) }";
    assert_eq!(solo.said(), [format!("retried after UDP {THEIRS}: {why}")]);
    assert_eq!(solo.sent_kinds(), ["ACK"]);
    send(&mut solo);
    let second = sent_to(&mut solo, SECOND).remove(0);
    solo.receive_from(SECOND, &reply(&second, 503, "b", "", ""));
    assert_eq!(solo.said(), ["ended by Peer 503"], "there is no third");
    solo.assert_empty();
}

#[test]
fn whoever_has_rung_or_refused_for_a_person_is_never_left_for_another() {
    for status in [486, 480, 603, 404, 500] {
        let mut solo = Solo::new(Policy::default());
        let first = solo.dial(with_second(Transport::Udp));
        solo.receive(&reply(&first, status, "b", "", ""));
        assert_eq!(solo.said(), [format!("ended by Peer {status}")]);
    }
    let mut solo = Solo::new(Policy::default());
    let first = solo.dial(with_second(Transport::Udp));
    solo.receive(&reply(&first, 180, "b", "", ""));
    solo.pass(Duration::from_secs(60));
    solo.receive(&reply(&first, 503, "b", "", ""));
    assert_eq!(solo.said(), ["180", "ended by Peer 503"]);
    solo.assert_empty();
}

#[test]
fn a_call_that_is_hung_up_before_its_next_invite_leaves_goes_nowhere() {
    let mut solo = Solo::new(Policy::default());
    solo.dial(with_second(Transport::Udp));
    solo.pass(PATIENCE);
    solo.sent();
    solo.hang_up(1);
    assert_eq!(solo.sent_kinds(), [""; 0]);
    solo.assert_empty();
}

fn large(take: LargeRequests) -> Invite {
    let failover = Failover { large: take, ..Failover::default() };
    Invite { failover, body: Some(Body::sdp("o".repeat(1000))), ..invite(1) }
}

#[test]
fn an_invite_too_long_for_a_datagram_goes_over_tcp_and_over_udp_where_that_is_refused() {
    let mut solo = Solo::new(Policy::default());
    let first = solo.dial(large(LargeRequests::Tcp));
    assert!(first.len() > 1300);
    assert!(header(&first, "Via").starts_with("SIP/2.0/TCP"));
    assert!(header(&first, "Contact").ends_with(";transport=tcp>"));
    solo.lose(Transport::Tcp);
    assert_eq!(solo.said(), [format!("retried after TCP {THEIRS}: Undeliverable(Refused)")]);
    send(&mut solo);
    assert_eq!(solo.wire[0].transport, Transport::Udp);
    let second = solo.one();
    assert!(header(&second, "Via").starts_with("SIP/2.0/UDP"));
    assert!(!header(&second, "Contact").contains("transport"));
    solo.hang_up(1);

    let mut solo = Solo::new(Policy::default());
    let first = solo.dial(large(LargeRequests::AsConfigured));
    assert!(header(&first, "Via").starts_with("SIP/2.0/UDP"));
}

#[test]
fn credentials_that_make_it_too_long_move_it_to_tcp() {
    let mut solo = Solo::new(Policy::default());
    let credentials = Credentials { username: "u".into(), password: "p".into(), realm: None };
    let mut call = large(LargeRequests::Tcp);
    call.body = Some(Body::sdp("o".repeat(750)));
    call.credentials = Some(credentials);
    let first = solo.dial(call);
    assert!(header(&first, "Via").starts_with("SIP/2.0/UDP"), "{}", first.len());
    let challenge = "WWW-Authenticate: Digest realm=\"r\", nonce=\"n\", qop=\"auth\"\r\n";
    solo.receive(&reply(&first, 401, "b", challenge, ""));
    assert_eq!(solo.said(), ["challenged"]);
    send(&mut solo);
    let second = solo.one();
    assert!(header(&second, "Via").starts_with("SIP/2.0/TCP"));
    assert!(header(&second, "Authorization").contains("nc=00000001"));
    solo.lose(Transport::Tcp);
    send(&mut solo);
    let third = solo.one();
    assert!(header(&third, "Via").starts_with("SIP/2.0/UDP"));
    assert_eq!(header(&third, "Authorization"), "", "the challenge was another connection's");
    solo.receive(&reply(&third, 401, "b", challenge, ""));
    send(&mut solo);
    let fourth = solo.one();
    assert!(header(&fourth, "Via").starts_with("SIP/2.0/UDP"), "not back to TCP");
    assert!(header(&fourth, "Authorization").contains("nc=00000001"));
}
