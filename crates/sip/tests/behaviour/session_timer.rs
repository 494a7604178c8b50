//! RFC 4028: refreshing where we have to, giving up where the far side should have.

use std::time::Duration;

use sip::*;

use crate::world::*;

#[test]
fn we_refresh_by_update_at_half_the_interval() {
    let mut solo = Solo::new(Policy::default());
    let extra = "Allow: INVITE, UPDATE\r\nSession-Expires: 100;refresher=uac\r\nRequire: timer\r\n";
    solo.up(invite(1), extra);
    for _ in 0..3 {
        solo.pass(Duration::from_secs(50));
        let update = solo.one();
        assert!(update.starts_with("UPDATE "));
        assert_eq!(header(&update, "Session-Expires"), "100;refresher=uac");
        solo.receive(&reply(&update, 200, "", extra, ""));
    }
    assert_eq!(solo.said(), [""; 0]);
}

#[test]
fn we_refresh_by_re_invite_where_update_is_unknown() {
    let mut solo = Solo::new(Policy::default());
    let extra = "Allow: INVITE\r\nSession-Expires: 100;refresher=uac\r\n";
    solo.up(invite(1), extra);
    solo.pass(Duration::from_secs(50));
    let refresh = solo.one();
    assert!(refresh.starts_with("INVITE ") && refresh.ends_with("\r\n\r\noffer"));
    solo.receive(&reply(&refresh, 200, "", &format!("{CONTACT}{extra}"), "answer"));
    assert_eq!(solo.sent_kinds(), ["ACK"]);
    assert_eq!(solo.said(), [""; 0], "a refresh is nothing to report");
}

#[test]
fn a_session_that_the_far_side_does_not_refresh_is_hung_up() {
    let mut solo = Solo::new(Policy::default());
    let (_, sent) = solo.up(invite(1), "Session-Expires: 120;refresher=uas\r\n");
    solo.pass(Duration::from_secs(80));
    let extra = "Session-Expires: 120;refresher=uac\r\nSupported: timer\r\n";
    solo.receive(&in_dialog(&sent, "b", "UPDATE", 5, extra, ""));
    let answer = solo.one();
    assert_eq!(header(&answer, "Session-Expires"), "120;refresher=uac");
    solo.pass(Duration::from_secs(87));
    assert!(solo.wire.is_empty());
    solo.pass(Duration::from_secs(1));
    assert_eq!(solo.sent_kinds(), ["BYE"]);
    assert_eq!(solo.said(), ["ended by Timeout(SessionExpired)"]);
}

#[test]
fn absurd_intervals_and_numbers_cost_nothing() {
    let mut solo = Solo::new(Policy::default());
    let sent = solo.dial(invite(1));
    let extra = format!("{CONTACT}Session-Expires: 18446744073709551615;refresher=uas\r\n");
    let ok = reply(&sent, 200, "b", &extra, "answer")
        .replace("CSeq: 1 INVITE", "CSeq: 2147483647 INVITE");
    solo.receive(&ok);
    solo.command(Command::Acknowledge { leg: LegId(1), body: None });
    assert_eq!(header(&solo.one(), "CSeq"), "1 ACK", "our numbers are ours");
    solo.hang_up(1);
    assert_eq!(header(&solo.one(), "CSeq"), "2 BYE");
    assert_eq!(solo.said(), ["answered answer", "ended by Us"]);
    assert_eq!(solo.core.counters().panics, 0);
}

#[test]
fn an_unanswered_refresh_ends_the_call() {
    let mut solo = Solo::new(Policy::default());
    solo.up(invite(1), "Allow: UPDATE\r\nSession-Expires: 100;refresher=uac\r\n");
    solo.pass(Duration::from_secs(50 + 32));
    assert_eq!(solo.said(), ["ended by Timeout(NoResponseInDialog)"]);
    solo.assert_empty();
}

#[test]
fn we_accept_the_callers_timer_and_refuse_one_that_is_too_short() {
    let mut solo = Solo::new(open());
    let extra = format!("{CONTACT}Supported: timer\r\nSession-Expires: 60\r\n");
    solo.receive(&request(&Outside { extra: &extra, ..Outside::default() }));
    let refusal = solo.one();
    assert_eq!((kind(&refusal).as_str(), header(&refusal, "Min-SE")), ("422", "90"));
    let extra = format!("{CONTACT}Supported: timer\r\nSession-Expires: 600\r\n");
    solo.receive(&request(&Outside { extra: &extra, cseq: 2, branch: "2", ..Outside::default() }));
    let Some(Event::Incoming { leg, .. }) = solo.events.pop_back() else {
        panic!("no call came in")
    };
    solo.sent();
    solo.command(Command::Answer { leg, body: None });
    let ok = solo.one();
    assert_eq!(header(&ok, "Session-Expires"), "600;refresher=uac");
    assert_eq!(header(&ok, "Require"), "timer");
}
