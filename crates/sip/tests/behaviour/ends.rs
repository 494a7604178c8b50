//! T-23: odd ways in which far sides refuse, hang up and acknowledge.

use std::time::Duration;

use sip::*;

use crate::world::*;

#[test]
fn every_final_refusal_ends_the_leg_with_its_status() {
    for status in [
        300, 302, 400, 403, 404, 408, 480, 481, 484, 486, 487, 488, 500, 503, 504, 600, 603, 604,
        606, 699,
    ] {
        let mut solo = Solo::new(Policy::default());
        let sent = solo.dial(invite(1));
        let moved = "Contact: <sip:premium@198.51.100.1>\r\n";
        solo.receive(&reply(&sent, status, "b", moved, ""));
        assert_eq!(solo.sent_kinds(), ["ACK"], "{status}: never followed");
        assert_eq!(solo.said(), [format!("ended by Peer {status}")]);
        solo.assert_empty();
    }
}

#[test]
fn the_far_side_hangs_up_twice() {
    let mut solo = Solo::new(Policy::default());
    let (_, sent) = solo.up(invite(1), "");
    let bye = in_dialog(&sent, "b", "BYE", 5, "Reason: Q.850;cause=31\r\n", "");
    solo.receive(&bye);
    solo.receive(&bye);
    solo.receive(&in_dialog(&sent, "b", "BYE", 6, "", ""));
    assert_eq!(solo.sent_kinds(), ["200", "200", "481"]);
    assert_eq!(solo.said(), ["ended by Peer q850=31"]);
    solo.assert_empty();
}

#[test]
fn both_hang_up_at_once() {
    let mut solo = Solo::new(Policy::default());
    let (_, sent) = solo.up(invite(1), "");
    solo.hang_up(1);
    let ours = solo.one();
    solo.receive(&in_dialog(&sent, "b", "BYE", 5, "", ""));
    assert_eq!(solo.sent_kinds(), ["200"]);
    solo.receive(&reply(&ours, 481, "", "", ""));
    assert_eq!(solo.said(), ["ended by Us"]);
    solo.assert_empty();
}

#[test]
fn the_far_side_hangs_up_before_our_ack() {
    let mut solo = Solo::new(Policy::default());
    let sent = solo.dial(invite(1));
    solo.receive(&reply(&sent, 200, "b", CONTACT, "answer"));
    solo.receive(&in_dialog(&sent, "b", "BYE", 5, "", ""));
    assert_eq!(solo.sent_kinds(), ["200"]);
    solo.command(Command::Acknowledge { leg: LegId(1), body: None });
    assert_eq!(solo.said(), ["answered answer", "ended by Peer"]);
    solo.assert_empty();
}

#[test]
fn an_ack_with_another_cseq_confirms_nothing() {
    let mut solo = Solo::new(open());
    solo.receive(&request(&Outside::default()));
    let Some(Event::Incoming { leg, .. }) = solo.events.pop_back() else {
        panic!("no call came in")
    };
    solo.sent();
    solo.command(Command::Answer { leg, body: None });
    let to = header(&solo.one(), "To").to_owned();
    let ack = |cseq| {
        request(&Outside { method: "ACK", to: &to, cseq, branch: "a", ..Outside::default() })
    };
    solo.receive(&ack(9));
    solo.pass(Duration::from_millis(600));
    assert_eq!(solo.sent_kinds(), ["200"], "sent again");
    solo.receive(&ack(1));
    solo.pass(Duration::from_secs(30));
    assert!(solo.wire.is_empty());
    assert_eq!(solo.said(), ["confirmed"]);
}

#[test]
fn responses_that_belong_to_nothing_are_counted() {
    let mut solo = Solo::new(Policy::default());
    let sent = solo.dial(invite(1));
    let forged = reply(&sent, 200, "b", CONTACT, "x").replace("z9hG4bK", "z9hG4bK0");
    solo.receive(&forged);
    assert_eq!(solo.core.counters().stray_responses, 1);
    assert_eq!(solo.said(), [""; 0]);
}

#[test]
fn an_invite_after_draining_began_is_still_sent_and_hung_up_in_order() {
    let mut solo = Solo::new(Policy::default());
    solo.command(Command::Drain);
    solo.up(invite(1), "");
    solo.hang_up(1);
    assert_eq!(solo.sent_kinds(), ["BYE"]);
}
