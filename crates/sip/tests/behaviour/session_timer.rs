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
    assert_eq!(solo.said(), ["refreshed", "refreshed", "refreshed"], "the far side is alive");
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
    assert_eq!(solo.said(), ["refreshed"], "it is no answer to an offer of the caller's");
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
    assert_eq!(solo.said(), ["refreshed"]);
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

#[test]
fn an_interval_that_is_too_short_for_the_far_side_is_asked_for_again_at_its_length() {
    let mut solo = Solo::new(Policy::default());
    let first = solo.dial(Invite { session_expires: Some(90), ..invite(1) });
    assert_eq!(header(&first, "Session-Expires"), "90");
    assert!(header(&first, "Supported").contains("timer"));
    solo.receive(&reply(&first, 422, "b", "Min-SE: 240\r\n", ""));
    assert_eq!(solo.said(), ["retried for the interval"]);
    assert_eq!(solo.sent_kinds(), ["ACK"]);
    solo.command(Command::Send { leg: LegId(1) });
    let second = solo.one();
    assert_eq!(all_headers(&second, "Session-Expires"), ["240"]);
    assert_eq!(header(&second, "Min-SE"), "240");
    assert_eq!(header(&second, "CSeq"), "2 INVITE");
    // A far side that wants no more than it has got already is not asked for ever.
    solo.receive(&reply(&second, 422, "b", "Min-SE: 240\r\n", ""));
    assert_eq!(solo.said(), ["ended by Peer 422"]);
    solo.assert_empty();
}

#[test]
fn a_proxy_in_between_that_wants_a_longer_interval_than_none_gets_it() {
    let mut solo = Solo::new(Policy::default());
    let first = solo.dial(invite(1));
    assert_eq!(all_headers(&first, "Session-Expires"), [""; 0]);
    solo.receive(&reply(&first, 422, "b", "Min-SE: 1800\r\n", ""));
    solo.sent();
    solo.command(Command::Send { leg: LegId(1) });
    let second = solo.one();
    assert_eq!(header(&second, "Session-Expires"), "1800");
    let extra = "Allow: UPDATE\r\nRequire: timer\r\nSession-Expires: 1800;refresher=uac\r\n";
    solo.receive(&reply(&second, 200, "b", &format!("{CONTACT}{extra}"), "answer"));
    solo.command(Command::Acknowledge { leg: LegId(1), body: None });
    solo.sent();
    solo.pass(Duration::from_secs(900));
    assert!(solo.one().starts_with("UPDATE "));
}

#[test]
fn a_refresh_that_is_too_short_is_sent_again_at_the_length_that_is_wanted() {
    for allow in ["UPDATE", "INVITE"] {
        let mut solo = Solo::new(Policy::default());
        let extra = format!("Allow: {allow}\r\nSession-Expires: 100;refresher=uac\r\n");
        solo.up(invite(1), &extra);
        solo.pass(Duration::from_secs(50));
        let refresh = solo.one();
        solo.receive(&reply(&refresh, 422, "", "Min-SE: 200\r\n", ""));
        let sent = solo.sent();
        let again = sent.last().unwrap();
        assert_eq!(header(again, "Session-Expires"), "200;refresher=uac", "{allow}");
        assert_eq!(header(again, "Min-SE"), "200");
        let extra = format!("{CONTACT}Session-Expires: 200;refresher=uac\r\n");
        solo.receive(&reply(again, 200, "", &extra, ""));
        solo.sent();
        solo.pass(Duration::from_secs(99));
        assert_eq!(solo.sent_kinds(), [""; 0], "half of 200 s");
        solo.pass(Duration::from_secs(1));
        assert_eq!(solo.sent().len(), 1);
        assert_eq!(solo.said(), ["refreshed"]);
    }
}
