//! What becomes of a request when the connection under it breaks, and of the phone that may ring at its other end.

use std::time::Duration;

use sip::*;

use crate::world::*;

const SECOND: &str = "192.0.2.3:5060";

fn over_tcp() -> Invite {
    Invite { destination: Destination::new(addr(THEIRS), Transport::Tcp), ..invite(1) }
}

fn with_second() -> Invite {
    let next = [Destination::new(addr(SECOND), Transport::Udp)].into();
    Invite { failover: Failover { next, ..Failover::default() }, ..over_tcp() }
}

fn receive(solo: &mut Solo, text: &str) {
    solo.receive_over((Transport::Tcp, Some(FlowId(1))), THEIRS, text);
}

/// A call over TCP that rings and that we have hung up, with its INVITE; the CANCEL has left.
fn rang_and_hung_up() -> (Solo, String) {
    let mut solo = Solo::new(Policy::default());
    let sent = solo.dial(over_tcp());
    receive(&mut solo, &reply(&sent, 180, "b", "", ""));
    solo.hang_up(1);
    (solo, sent)
}

/// The only message that was sent, over TCP to the far side and over no connection in particular.
fn one_over_tcp(solo: &mut Solo) -> String {
    let message = solo.wire.back().expect("something was sent");
    assert_eq!((message.transport, message.remote), (Transport::Tcp, addr(THEIRS)));
    assert_eq!(message.flow, None);
    solo.one()
}

#[test]
fn a_cancel_whose_connection_breaks_is_sent_once_more_and_stops_the_ringing() {
    let (mut solo, sent) = rang_and_hung_up();
    let cancel = one_over_tcp(&mut solo);
    solo.break_connection();
    assert_eq!(one_over_tcp(&mut solo), cancel, "the same one: its branch says so");
    assert_eq!(solo.said(), ["180"]);
    receive(&mut solo, &reply(&cancel, 200, "b", "", ""));
    receive(&mut solo, &reply(&sent, 487, "b", "", ""));
    assert_eq!(solo.sent_kinds(), ["ACK"]);
    assert_eq!(solo.said(), ["ended by Us 487"]);
    solo.assert_empty();
}

#[test]
fn a_cancel_is_not_sent_a_third_time_and_keeps_its_limit() {
    let (mut solo, _) = rang_and_hung_up();
    solo.break_connection();
    assert_eq!(solo.sent_kinds(), ["CANCEL", "CANCEL"]);
    solo.break_connection();
    assert_eq!(solo.sent_kinds(), [""; 0]);
    assert_eq!(solo.said(), ["180", "ended by Transport"]);
    solo.assert_empty();

    let (mut solo, _) = rang_and_hung_up();
    solo.pass(Duration::from_secs(20));
    solo.break_connection();
    solo.pass(Duration::from_secs(13));
    assert_eq!(solo.said(), ["180", "ended by Timeout(NoResponseToCancel)"], "32 s from the first");
    solo.assert_empty();
}

#[test]
fn a_cancel_that_nobody_takes_a_connection_for_ends_the_leg() {
    let (mut solo, _) = rang_and_hung_up();
    solo.lose(Transport::Tcp);
    assert_eq!(solo.sent_kinds(), ["CANCEL"]);
    assert_eq!(solo.said(), ["180", "ended by Transport"]);
    solo.assert_empty();
}

#[test]
fn who_answers_though_no_cancel_came_to_him_is_acknowledged_and_hung_up() {
    let (mut solo, sent) = rang_and_hung_up();
    solo.lose(Transport::Tcp);
    assert_eq!(solo.sent_kinds(), ["CANCEL"]);
    receive(&mut solo, &reply(&sent, 200, "b", CONTACT, "answer"));
    assert_eq!(solo.sent_kinds(), ["ACK", "BYE"]);
    assert_eq!(solo.said(), ["180", "ended by Transport"]);
    solo.assert_empty();
}

#[test]
fn an_invite_that_was_lost_with_its_connection_is_taken_back_as_it_may_ring() {
    for hung_up in [false, true] {
        let mut solo = Solo::new(Policy::default());
        let sent = solo.dial(over_tcp());
        if hung_up {
            solo.hang_up(1);
            assert_eq!(solo.sent_kinds(), [""; 0], "RFC 3261 §9.1");
        }
        solo.break_connection();
        assert_eq!(solo.said(), ["ended by Transport"]);
        let cancel = one_over_tcp(&mut solo);
        assert_eq!(kind(&cancel), "CANCEL");
        assert_eq!(header(&cancel, "Via"), header(&sent, "Via"));
        receive(&mut solo, &reply(&sent, 180, "b", "", ""));
        receive(&mut solo, &reply(&cancel, 200, "b", "", ""));
        receive(&mut solo, &reply(&sent, 487, "b", "", ""));
        assert_eq!(solo.sent_kinds(), ["ACK"]);
        assert_eq!(solo.said(), [""; 0]);
        solo.assert_empty();
    }
}

#[test]
fn a_cancel_that_came_before_its_invite_is_sent_again() {
    let mut solo = Solo::new(Policy::default());
    let sent = solo.dial(over_tcp());
    solo.break_connection();
    let cancel = one_over_tcp(&mut solo);
    receive(&mut solo, &reply(&cancel, 481, "", "", ""));
    solo.pass(Duration::from_millis(3_999));
    assert_eq!(solo.sent_kinds(), [""; 0]);
    solo.pass(Duration::from_millis(1));
    assert_eq!(one_over_tcp(&mut solo), cancel);
    receive(&mut solo, &reply(&cancel, 200, "b", "", ""));
    receive(&mut solo, &reply(&sent, 487, "b", "", ""));
    assert_eq!(solo.sent_kinds(), ["ACK"]);
    assert_eq!(solo.said(), ["ended by Transport"]);
    solo.assert_empty();
}

#[test]
fn an_invite_that_never_came_is_taken_back_for_32_seconds() {
    let mut solo = Solo::new(Policy::default());
    solo.dial(over_tcp());
    solo.break_connection();
    for _ in 0..8 {
        let cancel = one_over_tcp(&mut solo);
        receive(&mut solo, &reply(&cancel, 481, "", "", ""));
        solo.pass(Duration::from_secs(4));
    }
    assert_eq!(solo.sent_kinds(), [""; 0]);
    assert_eq!(solo.said(), ["ended by Transport"]);
    solo.assert_empty();
}

#[test]
fn an_answer_to_an_invite_that_was_taken_back_is_acknowledged_and_hung_up() {
    let mut solo = Solo::new(Policy::default());
    let sent = solo.dial(over_tcp());
    solo.break_connection();
    assert_eq!(solo.sent_kinds(), ["CANCEL"]);
    receive(&mut solo, &reply(&sent, 200, "b", CONTACT, "answer"));
    assert_eq!(solo.sent_kinds(), ["ACK", "BYE"]);
    assert_eq!(solo.said(), ["ended by Transport"]);
    solo.assert_empty();
}

#[test]
fn an_invite_that_never_left_is_not_taken_back() {
    let mut solo = Solo::new(Policy::default());
    solo.dial(over_tcp());
    solo.lose(Transport::Tcp);
    assert_eq!(solo.sent_kinds(), [""; 0]);
    assert_eq!(solo.said(), ["ended by Transport"]);
    solo.assert_empty();
}

#[test]
fn a_target_that_was_lost_with_its_invite_is_taken_back_before_the_next_is_dialled() {
    let mut solo = Solo::new(Policy::default());
    let first = solo.dial(with_second());
    solo.break_connection();
    let cancel = one_over_tcp(&mut solo);
    assert_eq!((kind(&cancel).as_str(), header(&cancel, "Via")), ("CANCEL", header(&first, "Via")));
    assert_eq!(solo.said(), [format!("retried after TCP {THEIRS}: Undeliverable(Lost)")]);
    solo.command(Command::Send { leg: LegId(1) });
    let second = solo.one();
    assert_eq!(header(&second, "CSeq"), "2 INVITE");
    receive(&mut solo, &reply(&first, 200, "late", CONTACT, "answer"));
    assert_eq!(solo.sent_kinds(), ["ACK", "BYE"], "the first has picked up after all");
    solo.receive_from(SECOND, &reply(&second, 200, "b", CONTACT, "answer"));
    assert_eq!(solo.said(), ["answered answer"]);
}

#[test]
fn a_target_that_has_answered_anything_is_never_left_for_the_next() {
    for status in [100, 180, 183] {
        for broken in [false, true] {
            let mut solo = Solo::new(Policy::default());
            let sent = solo.dial(with_second());
            receive(&mut solo, &reply(&sent, status, "b", "", ""));
            solo.said();
            if broken {
                solo.break_connection();
            } else {
                solo.lose(Transport::Tcp);
            }
            solo.pass(Duration::from_secs(120));
            assert_eq!(solo.sent_kinds(), [""; 0], "{status}: nobody is dialled or cancelled");
            assert_eq!(solo.said(), [""; 0], "{status}: its answer may come over a new connection");
            solo.hang_up(1);
            let cancel = one_over_tcp(&mut solo);
            solo.lose(Transport::Tcp);
            assert_eq!(kind(&cancel), "CANCEL");
            assert_eq!(solo.said(), ["ended by Transport"], "{status}: and not the next target");
            assert_eq!(solo.sent_kinds(), [""; 0]);
            solo.assert_empty();
        }
    }
}

#[test]
fn a_bye_whose_connection_was_dead_is_sent_once_more() {
    let mut solo = Solo::new(Policy::default());
    solo.up(over_tcp(), "");
    solo.hang_up(1);
    let bye = solo.one();
    solo.break_connection();
    assert_eq!(one_over_tcp(&mut solo), bye);
    receive(&mut solo, &reply(&bye, 200, "b", "", ""));
    solo.assert_empty();
}

#[test]
fn nothing_is_sent_again_where_the_peer_had_opened_the_connection_itself() {
    let mut solo = Solo::new(Policy::default());
    let flow = Some(FlowId(1));
    let destination = Destination { flow, ..Destination::new(addr(THEIRS), Transport::Tcp) };
    let sent = solo.dial(Invite { destination, ..invite(1) });
    receive(&mut solo, &reply(&sent, 180, "b", "", ""));
    solo.hang_up(1);
    assert_eq!(solo.sent_kinds(), ["CANCEL"]);
    solo.break_connection();
    assert_eq!(solo.sent_kinds(), [""; 0]);
    assert_eq!(solo.said(), ["180", "ended by Transport"]);
    solo.assert_empty();
}
