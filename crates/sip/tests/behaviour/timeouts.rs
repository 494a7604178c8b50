//! Silence of the far side, each kind with its own end.

use std::time::Duration;

use sip::*;

use crate::world::*;

#[test]
fn timer_b_ends_a_call_that_nothing_answers() {
    let mut solo = Solo::new(Policy::default());
    solo.dial(invite(1));
    solo.pass(Duration::from_millis(31_900));
    assert_eq!(solo.sent().len(), 6, "at 0.5, 1.5, 3.5, 7.5, 15.5 and 31.5 s");
    assert_eq!(solo.said(), [""; 0]);
    solo.pass(Duration::from_millis(100));
    assert_eq!(solo.said(), ["ended by Timeout(NoResponse)"]);
    solo.assert_empty();
}

#[test]
fn a_ringing_phone_rings_until_it_is_hung_up() {
    let mut solo = Solo::new(Policy::default());
    let sent = solo.dial(invite(1));
    solo.receive(&reply(&sent, 180, "b", "", ""));
    solo.pass(Duration::from_secs(600));
    assert_eq!(solo.said(), ["180"]);
    assert!(solo.wire.is_empty());
}

#[test]
fn a_bye_that_nobody_answers_is_forgotten() {
    let mut solo = Solo::new(Policy::default());
    solo.up(invite(1), "");
    solo.hang_up(1);
    assert_eq!(solo.said(), ["ended by Us"]);
    solo.pass(Duration::from_secs(40));
    assert_eq!(solo.sent().len(), 11, "timer E: doubling up to 4 s, for 32 s");
    solo.assert_empty();
}

#[test]
fn an_answer_without_ack_is_reported_and_hung_up() {
    let mut solo = Solo::new(open());
    solo.receive(&request(&Outside::default()));
    let Some(Event::Incoming { leg, .. }) = solo.events.pop_back() else {
        panic!("no call came in")
    };
    solo.sent();
    solo.command(Command::Answer { leg, body: Some(Body::sdp("answer")) });
    solo.pass(Duration::from_millis(31_900));
    let oks = solo.sent_kinds();
    assert_eq!(oks.len(), 11);
    assert!(oks.iter().all(|kind| kind == "200"));
    solo.pass(Duration::from_millis(200));
    assert_eq!(solo.said(), ["no ack", "ended by Timeout(NoAck)"]);
    assert_eq!(solo.sent_kinds(), ["BYE"]);
    solo.assert_empty();
}

#[test]
fn a_callee_that_hangs_up_before_the_ack_says_bye_after_it() {
    let mut solo = Solo::new(open());
    solo.receive(&request(&Outside::default()));
    let Some(Event::Incoming { leg, .. }) = solo.events.pop_back() else {
        panic!("no call came in")
    };
    solo.sent();
    solo.command(Command::Answer { leg, body: None });
    let ok = solo.one();
    solo.command(Command::HangUp { leg, cause: HangUpCause::Normal });
    assert!(solo.wire.is_empty());
    assert_eq!(solo.said(), ["ended by Us"]);
    let to = header(&ok, "To").to_owned();
    solo.receive(&request(&Outside { method: "ACK", to: &to, branch: "a", ..Outside::default() }));
    let bye = solo.one();
    assert_eq!(kind(&bye), "BYE");
    solo.receive(&reply(&bye, 200, "", "", ""));
    solo.assert_empty();
}

#[test]
fn a_refusal_without_ack_is_repeated_and_forgotten() {
    let mut solo = Solo::new(open());
    solo.receive(&request(&Outside::default()));
    let Some(Event::Incoming { leg, .. }) = solo.events.pop_back() else {
        panic!("no call came in")
    };
    solo.sent();
    solo.command(Command::Refuse { leg, status: 486, reason: None, headers: vec![] });
    solo.pass(Duration::from_secs(40));
    assert_eq!(solo.sent().len(), 11);
    assert_eq!(solo.said(), ["ended by Us 486"]);
    solo.assert_empty();
}

#[test]
fn a_lost_connection_fails_what_nothing_has_answered_and_nothing_else() {
    let mut solo = Solo::new(Policy::default());
    let over_tcp = |leg| {
        let mut call = invite(leg);
        call.destination.transport = Transport::Tcp;
        call
    };
    let ringing = solo.dial(over_tcp(1));
    solo.receive(&reply(&ringing, 180, "b", "", ""));
    assert_eq!(solo.said(), ["180"]);
    solo.dial(over_tcp(2));
    solo.lose(Transport::Tcp);
    solo.pass(Duration::from_secs(1));
    assert_eq!(solo.said(), ["ended by Transport"]);
    assert_eq!(solo.core.load().0, 1);
}

#[test]
fn a_bye_that_cannot_be_delivered_leaves_nothing_behind() {
    let mut solo = Solo::new(Policy::default());
    let mut call = invite(1);
    call.destination.transport = Transport::Tcp;
    solo.up(call, "");
    solo.hang_up(1);
    solo.lose(Transport::Tcp);
    solo.pass(Duration::ZERO);
    assert_eq!(solo.core.load().0, 0);
    solo.assert_empty();
}
