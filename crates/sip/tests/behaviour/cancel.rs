//! Hanging up before the answer, and the answer that crosses it.

use std::time::Duration;

use sip::*;

use crate::world::*;

#[test]
fn cancel_waits_for_a_provisional() {
    let mut solo = Solo::new(Policy::default());
    let sent = solo.dial(invite(1));
    solo.hang_up(1);
    assert!(solo.wire.is_empty(), "RFC 3261 §9.1");
    solo.receive(&reply(&sent, 100, "", "", ""));
    let cancel = solo.one();
    assert!(cancel.starts_with("CANCEL sip:200@192.0.2.2 SIP/2.0"));
    assert_eq!(header(&cancel, "Via"), header(&sent, "Via"));
    assert_eq!(header(&cancel, "CSeq"), "1 CANCEL");
    assert_eq!(header(&cancel, "Reason"), "Q.850;cause=16");
    solo.receive(&reply(&cancel, 200, "b", "", ""));
    solo.receive(&reply(&sent, 487, "b", "", ""));
    assert_eq!(solo.sent_kinds(), ["ACK"]);
    assert_eq!(solo.said(), ["ended by Us 487"]);
    solo.assert_empty();
}

#[test]
fn an_answer_that_crosses_cancel_is_acknowledged_and_hung_up() {
    let mut solo = Solo::new(Policy::default());
    let sent = solo.dial(invite(1));
    solo.receive(&reply(&sent, 180, "b", "", ""));
    solo.hang_up(1);
    let cancel = solo.one();
    let ok = reply(&sent, 200, "b", CONTACT, "answer");
    solo.receive(&ok);
    let crossed = solo.sent();
    assert_eq!(crossed.iter().map(|m| kind(m)).collect::<Vec<_>>(), ["ACK", "BYE"]);
    solo.receive(&reply(&cancel, 481, "b", "", ""));
    assert_eq!(solo.said(), ["180", "ended by Us"]);
    solo.receive(&ok);
    assert_eq!(solo.sent_kinds(), ["ACK"], "the copy gets its ACK again");
    solo.receive(&reply(&crossed[1], 200, "", "", ""));
    assert_eq!(solo.said(), [""; 0]);
    solo.assert_empty();
}

#[test]
fn an_answer_before_any_provisional_after_hang_up_is_hung_up() {
    let mut solo = Solo::new(Policy::default());
    let sent = solo.dial(invite(1));
    solo.hang_up(1);
    solo.receive(&reply(&sent, 200, "b", CONTACT, "answer"));
    assert_eq!(solo.sent_kinds(), ["ACK", "BYE"]);
    assert_eq!(solo.said(), ["ended by Us"]);
}

#[test]
fn a_peer_that_never_finishes_after_cancel_is_given_up() {
    let mut solo = Solo::new(Policy::default());
    let sent = solo.dial(invite(1));
    solo.receive(&reply(&sent, 180, "b", "", ""));
    solo.hang_up(1);
    let cancel = solo.one();
    solo.receive(&reply(&cancel, 200, "b", "", ""));
    solo.pass(Duration::from_secs(33));
    assert_eq!(solo.said(), ["180", "ended by Timeout(NoResponseToCancel)"]);
    solo.assert_empty();
}

#[test]
fn hang_up_between_answer_and_acknowledge_sends_ack_and_bye() {
    let mut solo = Solo::new(Policy::default());
    let sent = solo.dial(invite(1));
    solo.receive(&reply(&sent, 200, "b", CONTACT, "answer"));
    solo.hang_up(1);
    assert_eq!(solo.sent_kinds(), ["ACK", "BYE"]);
    assert_eq!(solo.said(), ["answered answer", "ended by Us"]);
    solo.hang_up(1);
    assert_eq!(solo.said(), [""; 0], "ended exactly once");
}

#[test]
fn the_far_side_cancels() {
    let mut solo = Solo::new(open());
    let call = Outside::default();
    solo.receive(&request(&call));
    assert_eq!(solo.sent_kinds(), ["100"]);
    let cancel = Outside { method: "CANCEL", extra: "Reason: Q.850;cause=26\r\n", ..call };
    solo.receive(&request(&cancel));
    assert_eq!(solo.sent_kinds(), ["200", "487"]);
    assert_eq!(solo.said(), ["incoming 100", "ended by Peer q850=26"]);
    let ack = Outside { method: "ACK", ..Outside::default() };
    solo.receive(&request(&ack));
    solo.assert_empty();
}

#[test]
fn a_cancel_that_crosses_our_answer_changes_nothing() {
    let mut solo = Solo::new(open());
    solo.receive(&request(&Outside::default()));
    let Some(Event::Incoming { leg, .. }) = solo.events.pop_back() else {
        panic!("no call came in")
    };
    solo.command(Command::Answer { leg, body: Some(Body::sdp("answer")) });
    solo.sent();
    let cancel = Outside { method: "CANCEL", ..Outside::default() };
    solo.receive(&request(&cancel));
    assert_eq!(solo.sent_kinds(), ["200"]);
    assert_eq!(solo.said(), [""; 0]);
}

#[test]
fn a_cancel_of_nothing_gets_481() {
    let mut solo = Solo::new(open());
    let cancel = Outside { method: "CANCEL", ..Outside::default() };
    solo.receive(&request(&cancel));
    assert_eq!(solo.sent_kinds(), ["481"]);
}

#[test]
fn a_simulated_carrier_answers_in_the_moment_of_the_cancel() {
    let mut solo = Solo::new(open());
    solo.receive(&request(&Outside::default()));
    let Some(Event::Incoming { leg, .. }) = solo.events.pop_back() else {
        panic!("no call came in")
    };
    solo.command(Command::Ring { leg, body: None });
    solo.command(Command::AnswerWhenCancelled { leg, body: Some(Body::sdp("late")) });
    solo.sent();
    solo.receive(&request(&Outside { method: "CANCEL", ..Outside::default() }));
    let sent = solo.sent();
    assert_eq!(header(&sent[0], "CSeq"), "1 CANCEL");
    assert_eq!((kind(&sent[1]).as_str(), header(&sent[1], "CSeq")), ("200", "1 INVITE"));
    let to = header(&sent[1], "To").to_owned();
    solo.receive(&request(&Outside { method: "ACK", to: &to, branch: "a", ..Outside::default() }));
    solo.receive(&request(&Outside {
        method: "BYE",
        to: &to,
        branch: "b",
        cseq: 2,
        ..Outside::default()
    }));
    assert_eq!(solo.said(), ["confirmed", "ended by Peer"]);
    assert_eq!(solo.sent_kinds(), ["200"]);
    solo.assert_empty();
}

#[test]
fn between_two_cores_the_race_ends_both_legs_once() {
    let mut pair = Pair::new(0, 3);
    let limit = Duration::from_secs(10);
    pair.command(0, Command::Prepare(Box::new(invite(1))));
    pair.command(0, Command::Send { leg: LegId(1) });
    let Some(Event::Incoming { leg, .. }) = pair.event(1, limit) else { panic!("no call came in") };
    pair.command(1, Command::Ring { leg, body: None });
    pair.command(1, Command::AnswerWhenCancelled { leg, body: None });
    pair.pass(Duration::from_secs(1));
    pair.command(0, Command::HangUp { leg: LegId(1), cause: HangUpCause::NoAnswer });
    pair.pass(Duration::from_secs(60));
    assert_eq!(pair.sides[0].said(), ["prepared", "180", "ended by Us"]);
    // The link may carry the BYE before the ACK; then nothing is confirmed.
    let said = pair.sides[1].said();
    let ends: Vec<_> = said.iter().filter(|event| event.starts_with("ended")).collect();
    assert_eq!(ends, ["ended by Peer q850=19"]);
    pair.pass(Duration::from_secs(60));
    for side in &pair.sides {
        assert_eq!(side.core.load(), (0, 0, 0));
    }
}
