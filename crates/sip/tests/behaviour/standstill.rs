//! The process stands still, as on a machine that swaps, while the far side goes on: what came meanwhile is read before
//! anything is sent again or given up.

use std::time::Duration;

use sip::*;

use crate::world::*;

/// Longer than the far side's transactions live (64·T1).
const LONG: Duration = Duration::from_secs(36);

/// Nothing runs for so long; then the timers are looked at first, as they may be.
fn stands_still(solo: &mut Solo, time: Duration) {
    solo.now += time;
    solo.command(Command::HoldRefusals);
    assert!(solo.core.wake_at().is_none_or(|next| next > solo.now));
}

#[test]
fn no_copy_of_an_invite_leaves_before_its_answer_is_read() {
    // 32.5 s: its limit was half a second ago and is not late itself.
    for still in [2_000, 32_500, 36_000].map(Duration::from_millis) {
        let mut solo = Solo::new(Policy::default());
        let sent = solo.dial(invite(1));
        stands_still(&mut solo, still);
        assert_eq!(solo.sent_kinds(), [""; 0]);
        solo.receive(&reply(&sent, 200, "b", CONTACT, "answer"));
        assert_eq!(solo.said(), ["answered answer"]);
        solo.pass(Duration::from_secs(1));
        assert_eq!(solo.sent_kinds(), [""; 0]);
        solo.command(Command::Acknowledge { leg: LegId(1), body: None });
        assert_eq!(solo.sent_kinds(), ["ACK"]);
    }
}

#[test]
fn where_nothing_came_the_invite_is_sent_again() {
    let mut solo = Solo::new(Policy::default());
    solo.dial(invite(1));
    stands_still(&mut solo, Duration::from_secs(10));
    solo.pass(Duration::from_millis(499));
    assert_eq!(solo.sent_kinds(), [""; 0]);
    solo.pass(Duration::from_millis(1));
    assert_eq!(solo.sent_kinds(), ["INVITE"]);
    solo.pass(Duration::from_millis(999));
    assert_eq!(solo.sent_kinds(), [""; 0]);
    solo.pass(Duration::from_millis(1));
    assert_eq!(solo.sent_kinds(), ["INVITE"], "the interval has doubled");
}

#[test]
fn an_invite_that_was_not_repeated_in_its_time_is_taken_back() {
    for hung_up in [false, true] {
        let mut solo = Solo::new(Policy::default());
        let sent = solo.dial(invite(1));
        if hung_up {
            solo.hang_up(1);
        }
        stands_still(&mut solo, LONG);
        solo.pass(Duration::from_millis(500));
        assert_eq!(solo.said(), ["ended by Timeout(NoResponse)"]);
        let cancel = solo.one();
        assert_eq!(kind(&cancel), "CANCEL", "a far side that has forgotten it would ring anew");
        solo.receive(&reply(&cancel, 200, "b", "", ""));
        solo.receive(&reply(&sent, 487, "b", "", ""));
        assert_eq!(solo.sent_kinds(), ["ACK"], "its 180 was lost");
        solo.assert_empty();
    }
}

#[test]
fn a_request_that_was_not_repeated_in_its_time_gets_its_whole_time_anew() {
    let mut solo = Solo::new(Policy::default());
    let sent = solo.dial(invite(1));
    solo.receive(&reply(&sent, 180, "b", "", ""));
    solo.hang_up(1);
    let cancel = solo.one();
    stands_still(&mut solo, LONG);
    solo.pass(Duration::from_millis(500));
    assert_eq!(solo.one(), cancel, "the first was lost");
    solo.pass(Duration::from_millis(500));
    assert_eq!(solo.one(), cancel);
    solo.receive(&reply(&cancel, 200, "b", "", ""));
    solo.receive(&reply(&sent, 487, "b", "", ""));
    assert_eq!(solo.sent_kinds(), ["ACK"]);
    assert_eq!(solo.said(), ["180", "ended by Timeout(NoResponseToCancel)"]);
    solo.assert_empty();
}

#[test]
fn the_time_that_it_stood_still_is_no_part_of_the_requests() {
    let mut solo = Solo::new(Policy::default());
    let (_, _) = solo.up(invite(1), "");
    solo.hang_up(1);
    let bye = solo.one();
    // Its second copy leaves as its time would have ended.
    stands_still(&mut solo, Duration::from_millis(31_200));
    let mut copies = 0;
    for _ in 0..40 {
        solo.pass(Duration::from_secs(1));
        copies += solo.sent().iter().filter(|sent| **sent == bye).count();
    }
    assert!(copies >= 9, "{copies}");
    solo.assert_empty();

    // One whose copies had all left gets no more.
    let mut solo = Solo::new(Policy::default());
    let (_, _) = solo.up(invite(1), "");
    solo.hang_up(1);
    for _ in 0..319 {
        solo.pass(Duration::from_millis(100));
    }
    solo.sent();
    stands_still(&mut solo, Duration::from_secs(5));
    solo.pass(Duration::from_secs(10));
    assert_eq!(solo.sent_kinds(), [""; 0]);
    solo.assert_empty();
}

#[test]
fn a_target_that_was_not_asked_again_is_not_left_for_the_next() {
    let next = [Destination::new(addr("192.0.2.3:5060"), Transport::Udp)].into();
    let failover = Failover { next, ..Failover::default() };
    let mut solo = Solo::new(Policy::default());
    let sent = solo.dial(Invite { failover, ..invite(1) });
    stands_still(&mut solo, Duration::from_secs(10));
    solo.pass(Duration::from_millis(500));
    assert_eq!(solo.one(), sent, "its 180 was lost, and a copy gets it again");
    assert_eq!(solo.said(), [""; 0]);
    solo.pass(Duration::from_secs(5));
    assert_eq!(solo.said().len(), 1, "then the next one");
}

#[test]
fn who_stands_still_again_reads_first_again() {
    let mut solo = Solo::new(Policy::default());
    let sent = solo.dial(invite(1));
    stands_still(&mut solo, Duration::from_secs(10));
    stands_still(&mut solo, Duration::from_secs(15));
    assert_eq!(solo.sent_kinds(), [""; 0]);
    solo.receive(&reply(&sent, 180, "b", "", ""));
    solo.pass(Duration::from_secs(60));
    assert_eq!((solo.sent_kinds(), solo.said()), (vec![], vec!["180".to_owned()]));
}

#[test]
fn what_answers_our_cancel_meanwhile_is_heard() {
    let mut solo = Solo::new(Policy::default());
    let sent = solo.dial(invite(1));
    solo.receive(&reply(&sent, 180, "b", "", ""));
    solo.hang_up(1);
    let cancel = solo.one();
    solo.said();
    stands_still(&mut solo, LONG);
    // Somebody picked up as we cancelled: whoever gives the call up now leaves that phone in it.
    solo.receive(&reply(&cancel, 200, "b", "", ""));
    solo.receive(&reply(&sent, 200, "b", CONTACT, "answer"));
    assert_eq!(solo.sent_kinds(), ["ACK", "BYE"]);
}

#[test]
fn a_copy_of_a_request_of_the_far_side_that_waited_is_still_a_copy() {
    let mut solo = Solo::new(open());
    let incoming = request(&Outside::default());
    solo.receive(&incoming);
    let Some(Event::Incoming { leg, .. }) = solo.events.pop_back() else {
        panic!("no call came in")
    };
    solo.command(Command::Refuse { leg, status: 486, reason: None, headers: vec![] });
    solo.sent();
    stands_still(&mut solo, LONG);
    solo.receive(&incoming);
    assert!(!solo.said().iter().any(|said| said.starts_with("incoming")), "nobody rings twice");
}
